/* A process that reads documents: it may receive descriptors on one socket and open files for reading beneath two directories; nothing else
 * that test-sandbox.c forbids is possible either. One process: it enters first, then tries. */
#include "base/mem.h"
#include "sandbox/sandbox.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

static char open_dir[] = "/tmp/hearth-sandbox-open-XXXXXX", shut_dir[] = "/tmp/hearth-sandbox-shut-XXXXXX";
static char inside_path[128], shut_path[128], link_path[128];
static int pair[2] = {-1, -1}, other[2] = {-1, -1};
static hth_sandbox_report report;
static bool inside;

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* One byte with a descriptor beside it. */
static bool send_fd(int socket, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(socket, &msg, 0) == 1;
}

static int receive_fd(int socket)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char byte;
	int fd = -1;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	if (recvmsg(socket, &msg, MSG_DONTWAIT) != 1 || CMSG_FIRSTHDR(&msg) == NULL)
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
	return fd;
}

TEST(enters)
{
	hth_error err = HTH_ERROR_INIT;
	REQUIRE(mkdtemp(open_dir) != NULL && mkdtemp(shut_dir) != NULL);
	snprintf(inside_path, sizeof inside_path, "%s/font", open_dir);
	snprintf(link_path, sizeof link_path, "%s/link", open_dir);
	snprintf(shut_path, sizeof shut_path, "%s/letter", shut_dir);
	write_file(inside_path, "font");
	write_file(shut_path, "letter");
	REQUIRE(symlink(shut_path, link_path) == 0);
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, other) == 0);
	int letter = open(shut_path, O_RDONLY);
	REQUIRE(send_fd(pair[1], letter) && send_fd(other[1], letter));
	close(letter);
	int life[2];
	REQUIRE(pipe(life) == 0);
	pid_t cleaner = fork();
	REQUIRE(cleaner >= 0);
	if (cleaner == 0) { /* outlives the test and tidies up, which the test itself cannot any more */
		char c;
		close(life[1]);
		(void)!read(life[0], &c, 1);
		unlink(inside_path);
		unlink(link_path);
		unlink(shut_path);
		rmdir(open_dir);
		rmdir(shut_dir);
		_exit(0);
	}
	close(life[0]);
	int keep[] = {pair[0], other[0], life[1]};
	const char *dirs[] = {open_dir, "/nonexistent/fonts"};
	hth_sandbox_options options = {.keep_fds = keep, .n_keep_fds = HTH_COUNT(keep), .receive_fd = pair[0], .read_dirs = dirs,
	                               .n_read_dirs = 2};
	REQUIRE_OK(hth_sandbox_enter(&options, &report, &err));
	inside = true;
}

TEST(files_beneath_the_directories_can_be_read_and_only_read)
{
	REQUIRE(inside);
	if (report.landlock_abi == 0)
		SKIP("no Landlock: no path may be opened at all");
	char text[8] = "";
	int fd = open(inside_path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_INT(read(fd, text, 7), 4);
	CHECK_STR(text, "font");
	close(fd);
	CHECK(open(inside_path, O_RDWR) < 0);
	CHECK(open(inside_path, O_WRONLY | O_TRUNC) < 0);
	CHECK(open(inside_path, O_RDONLY | O_TRUNC) < 0);
	CHECK(open(inside_path, O_PATH) < 0);
	char made[160];
	snprintf(made, sizeof made, "%s/new", open_dir);
	CHECK(open(made, O_RDONLY | O_CREAT, 0600) < 0);
	CHECK(unlink(inside_path) < 0);
}

TEST(no_other_file_opens)
{
	REQUIRE(inside);
	const char *paths[] = {shut_path, link_path, "/etc/passwd", "/proc/self/mem", "/proc/self/environ", "/dev/null", "/", "."};
	for (size_t i = 0; i < HTH_COUNT(paths); i++) {
		CHECK(open(paths[i], O_RDONLY) < 0);
		CHECK(errno == EACCES || errno == EPERM);
	}
	char around[200];
	snprintf(around, sizeof around, "%s/../%s/letter", open_dir, shut_dir + 5);
	CHECK(open(around, O_RDONLY) < 0);
}

TEST(descriptors_come_in_on_one_socket_only)
{
	REQUIRE(inside);
	char text[8] = "";
	int fd = receive_fd(pair[0]);
	CHECK(fd >= 0);
	CHECK_INT(read(fd, text, 7), 6);
	CHECK_STR(text, "letter");
	CHECK_INT(receive_fd(other[0]), -1);
	CHECK_INT(errno, EPERM);
	CHECK(!send_fd(pair[0], fd));
}

TEST(no_socket_no_process_no_program)
{
	REQUIRE(inside);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) < 0);
	int more[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, more) < 0);
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	CHECK(pid < 0);
	char *argv[] = {"/bin/true", NULL};
	CHECK(execv(argv[0], argv) < 0);
	CHECK(kill(getppid(), 0) < 0);
}

TEST_MAIN()
