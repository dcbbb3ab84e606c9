/* confine.c - for a server that this program starts: which files it may touch, before it becomes that server. Landlock alone; it keeps its sockets. */
#include "sandbox/sandbox.h"

#include "base/mem.h"
#include "sandbox/landlock-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define LL_FS_EXECUTE (UINT64_C(1) << 0)

static hth_status allow(int ruleset, const char *path, uint64_t access, hth_error *err)
{
	HTH_AUTO_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot open %s", path);
	const ll_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
	if (syscall(LL_SYS_ADD_RULE, ruleset, (unsigned)LL_RULE_PATH_BENEATH, &rule, 0u) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot allow reading in %s", path);
	return HTH_OK;
}

hth_status hth_sandbox_confine_files(const char *const *program_dirs, size_t n_programs, const char *const *read_dirs, size_t n_reads, hth_error *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot give up gaining rights");
	long abi = syscall(LL_SYS_CREATE_RULESET, NULL, (size_t)0, (unsigned)LL_CREATE_RULESET_VERSION);
	if (abi <= 0)
		return HTH_OK;
	ll_ruleset_attr attr = {.handled_access_fs = LL_FS_ABI1};
	if (abi >= 2)
		attr.handled_access_fs |= LL_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= LL_FS_TRUNCATE;
	if (abi >= 5)
		attr.handled_access_fs |= LL_FS_IOCTL_DEV;
	if (abi >= 6)
		attr.scoped = LL_SCOPE_ABSTRACT_UNIX_SOCKET | LL_SCOPE_SIGNAL;
	HTH_AUTO_CLOSE int ruleset = (int)syscall(LL_SYS_CREATE_RULESET, &attr, sizeof attr, 0u);
	if (ruleset < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make a Landlock ruleset (ABI %ld)", abi);
	for (size_t i = 0; i < n_programs; i++)
		HTH_TRY(allow(ruleset, program_dirs[i], LL_FS_EXECUTE | LL_FS_READ_FILE | LL_FS_READ_DIR, err));
	for (size_t i = 0; i < n_reads; i++)
		HTH_TRY(allow(ruleset, read_dirs[i], LL_FS_READ_FILE | LL_FS_READ_DIR, err));
	if (syscall(LL_SYS_RESTRICT_SELF, ruleset, 0u) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot enter Landlock (ABI %ld)", abi);
	return HTH_OK;
}
