/* seccomp-filter.c - the allow-list: what computing on descriptors one already has needs, and nothing that reaches further.
 *
 * Everything not named here fails with EPERM and the process lives on, so that a library that merely tries something gets an
 * ordinary error. Two answers differ: clone3 says ENOSYS (its flags are behind a pointer that a filter cannot read; libc then
 * uses clone, whose flags it can), and newfstatat with AT_EMPTY_PATH is caught, because glibc 2.33 and later writes
 * fstat(fd) as newfstatat(fd, "", ...), while allowing that call would allow a stat of any path: the handler below
 * looks at the path, which a filter cannot, and makes the plain fstat for the empty one.
 *
 * No mapping is ever executable after this (W^X): PCRE2's JIT then gets no memory, and its matching is interpreted.
 * Refuses: exec, fork, sockets (and sendmsg/recvmsg, which pass descriptors), any path, ioctl (TIOCSTI on an inherited
 * terminal), signals to others, ptrace and process_vm_*, io_uring, memfd, userfaultfd, bpf, keys, namespaces, mounts.
 */
#include "sandbox/seccomp-filter.h"

#include "base/mem.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

static const int always[] = {
    /* descriptors that are open */
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(close),
    SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(fadvise64), SCMP_SYS(readahead),
    /* memory; mmap and mprotect are below */
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mlock), SCMP_SYS(mlock2),
    SCMP_SYS(munlock), SCMP_SYS(mincore), SCMP_SYS(membarrier),
    /* threads; clone is below */
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(exit),
    SCMP_SYS(exit_group), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
    /* signals of its own */
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    /* time, randomness, its own usage */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
    SCMP_SYS(time), SCMP_SYS(getrandom), SCMP_SYS(getrusage), SCMP_SYS(times), SCMP_SYS(sysinfo), SCMP_SYS(getrlimit),
    SCMP_SYS(uname),
};

/* For a process that makes a file: at any place of it, and its size. */
static const int writing[] = {SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(fallocate)};

#if HTH_SANITIZED
/* Sanitizers only: they check whether memory can be read by writing it into a pipe, and ask who they are when they report. */
static const int sanitizer_extra[] = {SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
                                      SCMP_SYS(getgid), SCMP_SYS(getegid)};
#endif

/* newfstatat(fd, "", buf, AT_EMPTY_PATH) is fstat(fd, buf); with any other path it is refused. The two calls fill the same
 * struct on x86_64 and aarch64. Async-signal-safe: registers, one byte of the path and one system call. */
static void on_sigsys(int signum, siginfo_t *info, void *context)
{
	(void)signum;
	ucontext_t *uc = context;
	int saved_errno = errno;
#if defined(__x86_64__)
	long fd = uc->uc_mcontext.gregs[REG_RDI], path = uc->uc_mcontext.gregs[REG_RSI], buf = uc->uc_mcontext.gregs[REG_RDX];
#elif defined(__aarch64__)
	long fd = (long)uc->uc_mcontext.regs[0], path = (long)uc->uc_mcontext.regs[1], buf = (long)uc->uc_mcontext.regs[2];
#else
#error "the sandbox knows the registers of x86_64 and aarch64 only"
#endif
	long result = -EPERM;
	if (info->si_syscall == SYS_newfstatat && path != 0 && *(const char *)path == '\0')
		result = syscall(SYS_fstat, fd, buf) == 0 ? 0 : -errno;
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = result;
#else
	uc->uc_mcontext.regs[0] = (unsigned long)result;
#endif
	errno = saved_errno;
}

/* What pthread_create asks for must be there, and nothing beside it but where to put ids. */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
#define THREAD_FLAGS_MAY (CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_DETACHED)

static int add_rules(scmp_filter_ctx ctx, const hth_seccomp_grants *grants)
{
	int rc = 0;
	for (size_t i = 0; i < HTH_COUNT(always) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, always[i], 0);
	for (size_t i = 0; grants->write_files && i < HTH_COUNT(writing) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, writing[i], 0);
#if HTH_SANITIZED
	for (size_t i = 0; i < HTH_COUNT(sanitizer_extra) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, sanitizer_extra[i], 0);
#endif
#define RULE(...) rc = rc != 0 ? rc : seccomp_rule_add(ctx, __VA_ARGS__)
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
	     SCMP_A0(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)THREAD_FLAGS_MAY, (scmp_datum_t)THREAD_FLAGS));
	RULE(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	RULE(SCMP_ACT_TRAP, SCMP_SYS(newfstatat), 1, SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
	/* abort() and raise(): a signal to this very process. */
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	/* Descriptor and status flags; not F_SETOWN and F_SETSIG, which send signals. */
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFL));
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_SETFL));
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFD));
	/* Names of threads and of mappings (newer glibc's malloc). */
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA));
	if (grants->receive_fd > 0)
		RULE(SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)grants->receive_fd));
	if (grants->read_paths) /* not to write, make or empty a file, and not O_PATH */
		RULE(SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
		     SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | O_TMPFILE | O_PATH, O_RDONLY));
	/* Its own limits, to read. */
	RULE(SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
#undef RULE
	return rc;
}

hth_status hth_seccomp_load(const hth_seccomp_grants *grants, hth_error *err)
{
	struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
	if (sigaction(SIGSYS, &action, NULL) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot handle SIGSYS");
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (ctx == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a seccomp filter");
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary search: the list is long */
	if (rc == 0)
		rc = add_rules(ctx, grants);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc != 0)
		return hth_fail_errno(err, HTH_UNSUPPORTED, rc < 0 ? -rc : rc,
		                      "the kernel did not take the seccomp filter, and without it a runner cannot lock itself in "
		                      "(under systemd, SystemCallFilter must name seccomp)");
	return HTH_OK;
}
