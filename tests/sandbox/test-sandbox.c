/* One process: the first tests run free, then it enters the sandbox, and the rest shows from inside what still works and what does
 * not. That the later tests run at all shows that a refusal does not kill. */
#include "base/mem.h"
#include "base/clock.h"
#include "sandbox/sandbox.h"
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Inside, LeakSanitizer cannot do its check at exit (it forks and traces); the code under test allocates nothing. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

enum { MEMORY = 512 << 20 };
static int file_fd = -1, lost_fd = -1, pair[2] = {-1, -1}, tcp_fd = -1;
static pid_t other;
static hth_sandbox_report report;
static bool inside;
#define NEED_INSIDE() REQUIRE(inside)

static void *wait_for_byte(void *fd)
{
	char c;
	return read(*(int *)fd, &c, 1) == 1 ? NULL : "no byte";
}

TEST(entering_with_threads_is_refused)
{
	if (HTH_SANITIZED)
		SKIP("a sanitizer may have threads of its own");
	hth_error err = HTH_ERROR_INIT;
	int fds[2];
	REQUIRE(pipe(fds) == 0);
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, wait_for_byte, &fds[0]) == 0);
	CHECK_INT(hth_sandbox_enter(&(hth_sandbox_options){0}, &report, &err), HTH_CONFLICT);
	CHECK_INT(write(fds[1], "x", 1), 1);
	pthread_join(thread, NULL);
	close(fds[0]);
	close(fds[1]);
}

TEST(enters)
{
	hth_error err = HTH_ERROR_INIT;
	int life[2];
	REQUIRE(pipe(life) == 0);
	other = fork();
	REQUIRE(other >= 0);
	if (other == 0) { /* a neighbour process to aim at: ends when this one does, and the pipe with it */
		char c;
		close(life[1]);
		(void)!read(life[0], &c, 1);
		_exit(0);
	}
	file_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	lost_fd = open("/dev/null", O_RDWR);
	tcp_fd = socket(AF_INET, SOCK_STREAM, 0);
	REQUIRE(file_fd >= 0 && lost_fd >= 0 && tcp_fd >= 0);
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	int keep[] = {pair[1], file_fd, pair[0], tcp_fd, life[1]};
	hth_sandbox_options options = {.memory_bytes = MEMORY, .keep_fds = keep, .n_keep_fds = HTH_COUNT(keep)};
	REQUIRE_OK(hth_sandbox_enter(&options, &report, &err));
	CHECK(report.seccomp);
	printf("# Landlock ABI %d\n", report.landlock_abi);
	inside = true;
}

TEST(other_descriptors_are_closed)
{
	NEED_INSIDE();
	CHECK(fcntl(lost_fd, F_GETFD) == -1 && errno == EBADF);
	CHECK(fcntl(file_fd, F_GETFD) >= 0);
	CHECK(fcntl(pair[0], F_GETFD) >= 0);
}

TEST(kept_descriptors_read_write_poll_and_map)
{
	NEED_INSIDE();
	CHECK_INT(write(pair[0], "hello", 5), 5);
	struct pollfd p = {.fd = pair[1], .events = POLLIN};
	CHECK_INT(poll(&p, 1, 1000), 1);
	char text[8] = "";
	CHECK_INT(read(pair[1], text, sizeof text), 5);
	CHECK_STR(text, "hello");
	CHECK_INT(poll(&p, 1, 0), 0);
	struct stat st = {0};
	CHECK_INT(fstat(file_fd, &st), 0); /* glibc may make a newfstatat of it */
	CHECK(st.st_size > 1000);
	CHECK(fstat(lost_fd, &st) == -1 && errno == EBADF);
	CHECK_INT(lseek(file_fd, 0, SEEK_END), st.st_size);
	char magic[4];
	CHECK_INT(pread(file_fd, magic, 4, 0), 4);
	char *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, file_fd, 0);
	REQUIRE(map != MAP_FAILED);
	CHECK(memcmp(map, "\177ELF", 4) == 0);
	CHECK_INT(madvise(map, (size_t)st.st_size, MADV_WILLNEED), 0);
	CHECK_INT(munmap(map, (size_t)st.st_size), 0);
}

static atomic_int counter;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *ctx)
{
	(void)ctx;
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&lock);
		char *p = malloc((size_t)(i * 37 % 5000 + 1));
		if (p != NULL) {
			p[0] = (char)i;
			atomic_fetch_add(&counter, 1);
		}
		free(p);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

TEST(threads_locks_memory_and_clocks_work)
{
	NEED_INSIDE();
	pthread_t threads[4];
	for (size_t i = 0; i < HTH_COUNT(threads); i++)
		REQUIRE(pthread_create(&threads[i], NULL, work, NULL) == 0);
	for (size_t i = 0; i < HTH_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(counter, 4000);
	void *volatile big = malloc(64 << 20);
	CHECK(big != NULL);
	free(big);
	uint64_t t = hth_clock_ns();
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	CHECK(hth_clock_ns() > t);
	CHECK(hth_clock_unix() > 1700000000);
	unsigned char random[8];
	CHECK_INT(syscall(SYS_getrandom, random, sizeof random, 0), 8);
	cpu_set_t set;
	CHECK_INT(sched_getaffinity(0, sizeof set, &set), 0);
}

static volatile sig_atomic_t got_signal;
static void on_usr1(int signum) { got_signal = signum; }

TEST(signals_to_itself_work)
{
	NEED_INSIDE();
	signal(SIGUSR1, on_usr1);
	CHECK_INT(raise(SIGUSR1), 0);
	CHECK_INT(got_signal, SIGUSR1);
}

TEST(status_shows_the_layers)
{
	NEED_INSIDE();
	CHECK_INT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), -1); /* even asking is not on the list */
	struct rlimit limit;
	CHECK_INT(getrlimit(RLIMIT_CORE, &limit), 0);
	CHECK_INT(limit.rlim_max, 0);
	if (!HTH_SANITIZED) {
		CHECK_INT(getrlimit(RLIMIT_AS, &limit), 0);
		CHECK_INT(limit.rlim_max, MEMORY);
	}
}

TEST(memory_beyond_the_limit_is_refused)
{
	NEED_INSIDE();
	if (HTH_SANITIZED)
		SKIP("a sanitizer's shadow memory leaves no room for a limit");
	CHECK(mmap(NULL, (size_t)MEMORY + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	CHECK_INT(errno, ENOMEM);
	struct rlimit more = {(rlim_t)MEMORY * 2, (rlim_t)MEMORY * 2};
	CHECK(setrlimit(RLIMIT_AS, &more) == -1 && errno == EPERM);
}

/* Each is a call that must fail with EPERM; none of them may have an effect. */
#define DENIED(call)                                                                                    \
	do {                                                                                            \
		errno = 0;                                                                              \
		long denied_r_ = (long)(call);                                                          \
		int denied_e_ = errno;                                                                  \
		if (denied_r_ != -1 || denied_e_ != EPERM)                                              \
			test_fail(__FILE__, __LINE__, "%s gave %ld with errno %d (%s)", #call, denied_r_, \
			          denied_e_, strerror(denied_e_));                                      \
	} while (0)

TEST(no_path_can_be_opened_or_looked_at)
{
	NEED_INSIDE();
	struct stat st;
	char text[16];
	DENIED(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY, 0));
	DENIED(open("/etc/passwd", O_RDONLY));
	DENIED(open("hearth-sandbox-made-a-file", O_WRONLY | O_CREAT, 0600));
	DENIED(syscall(437 /* openat2 */, AT_FDCWD, "/etc/passwd", NULL, (size_t)0));
#ifdef SYS_open
	DENIED(syscall(SYS_open, "/etc/passwd", O_RDONLY, 0));
	DENIED(syscall(SYS_stat, "/etc/passwd", &st));
	DENIED(syscall(SYS_unlink, "/nonexistent"));
#endif
	DENIED(stat("/etc/passwd", &st));
	DENIED(fstatat(AT_FDCWD, "/etc/passwd", &st, AT_EMPTY_PATH)); /* the way fstat goes, but with a path */
	DENIED(syscall(SYS_statx, AT_FDCWD, "/etc/passwd", 0, 0, &st));
	DENIED(syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", text, sizeof text));
	DENIED(syscall(SYS_unlinkat, AT_FDCWD, "/nonexistent", 0));
	DENIED(syscall(SYS_mkdirat, AT_FDCWD, "/nonexistent", 0700));
	DENIED(syscall(SYS_faccessat, AT_FDCWD, "/etc/passwd", R_OK));
	DENIED(chdir("/"));
	DENIED(chroot("/"));
	DENIED(ftruncate(file_fd, 0));
	DENIED(syscall(SYS_pwrite64, file_fd, "x", 1, 0));
	DENIED(syscall(SYS_name_to_handle_at, AT_FDCWD, "/", NULL, NULL, 0));
}

TEST(no_socket_can_be_made_or_used_to_reach_out)
{
	NEED_INSIDE();
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int more[2];
	DENIED(socket(AF_INET, SOCK_STREAM, 0));
	DENIED(socket(AF_INET6, SOCK_DGRAM, 0));
	DENIED(socket(AF_UNIX, SOCK_STREAM, 0));
	DENIED(socket(AF_NETLINK, SOCK_RAW, 0));
	DENIED(socketpair(AF_UNIX, SOCK_STREAM, 0, more));
	DENIED(connect(tcp_fd, (struct sockaddr *)&address, sizeof address)); /* not even with a socket that it had */
	DENIED(bind(tcp_fd, (struct sockaddr *)&address, sizeof address));
	DENIED(listen(tcp_fd, 1));
	DENIED(accept(tcp_fd, NULL, NULL));
	DENIED(sendto(pair[0], "x", 1, 0, NULL, 0));
	DENIED(sendmsg(pair[0], &(struct msghdr){0}, 0)); /* would pass descriptors */
	DENIED(recvmsg(pair[0], &(struct msghdr){0}, 0));
	DENIED(dup(pair[0]));
	DENIED(ioctl(0, 0x5412 /* TIOCSTI */, "x"));
}

TEST(no_process_can_be_started)
{
	NEED_INSIDE();
	char *argv[] = {"/bin/true", NULL};
	DENIED(execve("/bin/true", argv, NULL));
	DENIED(syscall(SYS_execveat, file_fd, "", argv, NULL, AT_EMPTY_PATH));
	/* The checks of clone's flags; a thread's flags with one more each. */
	long thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	DENIED(syscall(SYS_clone, (long)SIGCHLD, 0, 0, 0, 0));
	DENIED(syscall(SYS_clone, (long)CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0));
	DENIED(syscall(SYS_clone, (long)CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	DENIED(syscall(SYS_clone, thread | CLONE_NEWNET, 0, 0, 0, 0));
	DENIED(syscall(SYS_clone, thread | CLONE_PTRACE, 0, 0, 0, 0));
	DENIED(syscall(SYS_clone, thread & ~(long)CLONE_THREAD, 0, 0, 0, 0));
#ifdef SYS_fork
	DENIED(syscall(SYS_fork));
	DENIED(syscall(SYS_vfork));
#endif
	errno = 0;
	CHECK(syscall(435 /* clone3 */, NULL, (size_t)0) == -1 && errno == ENOSYS);
	DENIED(fork());
	DENIED(unshare(CLONE_NEWUSER));
	DENIED(setns(0, 0));
}

TEST(no_other_process_can_be_touched)
{
	NEED_INSIDE();
	DENIED(kill(other, SIGTERM));
	DENIED(kill(other, 0));
	DENIED(syscall(SYS_tgkill, other, other, SIGTERM));
	DENIED(syscall(SYS_tkill, other, SIGTERM));
	DENIED(syscall(SYS_rt_sigqueueinfo, other, SIGTERM, NULL));
	DENIED(syscall(424 /* pidfd_send_signal */, 0, SIGTERM, NULL, 0));
	DENIED(syscall(434 /* pidfd_open */, other, 0));
	DENIED(ptrace(PTRACE_ATTACH, other, 0, 0));
	DENIED(ptrace(PTRACE_TRACEME, 0, 0, 0));
	DENIED(syscall(SYS_process_vm_readv, other, NULL, 0, NULL, 0, 0));
	DENIED(syscall(SYS_process_vm_writev, other, NULL, 0, NULL, 0, 0));
	DENIED(fcntl(pair[0], F_SETOWN, other)); /* SIGIO to it */
	DENIED(syscall(SYS_setpriority, PRIO_PROCESS, other, 1));
	DENIED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

TEST(no_memory_becomes_executable)
{
	NEED_INSIDE();
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(page != MAP_FAILED);
	DENIED(mprotect(page, 4096, PROT_READ | PROT_EXEC));
	DENIED(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	DENIED(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file_fd, 0));
	DENIED(syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */));
	DENIED(syscall(SYS_memfd_create, "x", 0));
	CHECK_INT(mprotect(page, 4096, PROT_READ), 0);
	munmap(page, 4096);
}

TEST(no_kernel_machinery)
{
	NEED_INSIDE();
	char params[256] = {0};
	DENIED(syscall(425 /* io_uring_setup */, 4, params));
	DENIED(syscall(426 /* io_uring_enter */, 0, 0, 0, 0, NULL, (size_t)0));
	DENIED(mount("none", "/", "tmpfs", 0, NULL));
	DENIED(umount2("/", MNT_DETACH));
	DENIED(syscall(SYS_pivot_root, "/", "/"));
	DENIED(syscall(SYS_bpf, 0, params, sizeof params));
	DENIED(syscall(SYS_perf_event_open, params, 0, -1, -1, 0));
	DENIED(syscall(SYS_userfaultfd, 0));
	DENIED(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
	DENIED(syscall(SYS_init_module, params, 0L, ""));
	DENIED(syscall(SYS_reboot, 0, 0, 0, NULL));
	DENIED(setuid(0));
	DENIED(syscall(SYS_capset, params, params));
	DENIED(syscall(SYS_seccomp, 0, 0, NULL));
	DENIED(syscall(SYS_inotify_init1, 0));
	DENIED(syscall(SYS_mq_open, "/x", O_CREAT, 0600, NULL));
	DENIED(syscall(SYS_shmget, 0, 4096L, 0600));
}

static void *try_in_thread(void *ctx)
{
	(void)ctx;
	return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM &&
	                       syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY, 0) == -1 && errno == EPERM
	               ? NULL
	               : "it could";
}

TEST(new_threads_are_locked_in_too)
{
	NEED_INSIDE();
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, try_in_thread, NULL) == 0);
	void *result;
	pthread_join(thread, &result);
	CHECK(result == NULL);
}

TEST_MAIN()
