/* sandbox.c - the order in which a process locks itself in; each layer alone would already keep it from the network and the disk.
 *
 *   descriptors -> core dumps and ptrace off -> no_new_privs -> capabilities dropped -> Landlock -> memory limit -> seccomp
 *
 * seccomp comes last because the steps before it use calls that it forbids. Refuses to run with threads already there: Landlock
 * (before ABI 8) restricts the calling thread and those it starts, so an older thread would stay free.
 * RLIMIT_NPROC is not used: it counts all threads of the user, so it cannot tell a fork from a thread; seccomp can.
 */
#include "sandbox/sandbox.h"

#include "base/mem.h"
#include "sandbox/landlock-abi.h"
#include "sandbox/seccomp-filter.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KEEP_FDS_MAX = 1024 };

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return (x > y) - (x < y);
}

static void close_between(unsigned first, unsigned last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0u) == 0)
		return;
	/* Before Linux 5.9: one by one, as far as this process could have opened any. */
	struct rlimit limit = {.rlim_cur = 65536};
	getrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++)
		close((int)fd);
}

static hth_status close_others(const hth_sandbox_options *options, hth_error *err)
{
	int keep[KEEP_FDS_MAX];
	size_t n = options->n_keep_fds;
	if (n > KEEP_FDS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "%zu descriptors to keep; at most %d", n, KEEP_FDS_MAX);
	if (n > 0)
		memcpy(keep, options->keep_fds, n * sizeof *keep);
	qsort(keep, n, sizeof *keep, compare_ints);
	unsigned next = 3;
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < (int)next)
			continue;
		close_between(next, (unsigned)keep[i] - 1);
		next = (unsigned)keep[i] + 1;
	}
	close_between(next, ~0u);
	return HTH_OK;
}

/* 0 when /proc is not there to tell. */
static unsigned count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	if (dir == NULL)
		return 0;
	unsigned n = 0;
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static hth_status drop_capabilities(hth_error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	if (syscall(SYS_capset, &header, none) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot drop capabilities");
	return HTH_OK;
}

/* Takes away every access to paths, and TCP, abstract sockets and signals where the kernel knows to; only reading beneath read_dirs is
 * given back. */
static hth_status enter_landlock(const hth_sandbox_options *options, int *ret_abi, hth_error *err)
{
	HTH_AUTO_CLOSE int ruleset = -1;
	int abi;
	HTH_TRY(hth_landlock_create(true, &ruleset, &abi, err));
	*ret_abi = abi;
	if (abi == 0)
		return HTH_OK;
	for (size_t i = 0; i < options->n_read_dirs; i++)
		HTH_TRY(hth_landlock_allow(ruleset, options->read_dirs[i], LL_FS_READ_FILE | LL_FS_READ_DIR, err));
	return hth_landlock_enter(ruleset, err);
}

hth_status hth_sandbox_enter(const hth_sandbox_options *options, hth_sandbox_report *ret_report, hth_error *err)
{
	hth_sandbox_report report = {0};
	if (!HTH_SANITIZED && count_threads() > 1) /* ThreadSanitizer has a thread of its own */
		return hth_fail(err, HTH_CONFLICT, "a process must enter the sandbox before it starts threads");
	HTH_TRY(close_others(options, err));
	struct rlimit none = {0, 0};
	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot turn core dumps off");
	/* Not dumpable: no other process of this user may attach and read the words. */
	if (!HTH_SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot turn tracing off");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot set no_new_privs");
	HTH_TRY(drop_capabilities(err));
	HTH_TRY(enter_landlock(options, &report.landlock_abi, err));
	if (!HTH_SANITIZED && options->memory_bytes > 0) {
		struct rlimit memory = {options->memory_bytes, options->memory_bytes}, given;
		if (getrlimit(RLIMIT_AS, &given) == 0 &&
		    given.rlim_max < memory.rlim_max) /* whoever started the node has set a stricter one */
			memory = (struct rlimit){given.rlim_max, given.rlim_max};
		if (setrlimit(RLIMIT_AS, &memory) != 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot limit memory to %llu bytes",
			                      (unsigned long long)options->memory_bytes);
	}
	hth_seccomp_grants grants = {.write_files = options->write_files,
	                             .read_paths = options->n_read_dirs > 0 && report.landlock_abi > 0,
	                             .receive_fd = options->receive_fd};
	HTH_TRY(hth_seccomp_load(&grants, err));
	report.seccomp = true;
	*ret_report = report;
	return HTH_OK;
}
