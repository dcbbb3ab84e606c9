/* landlock.c - rulesets of Landlock, for this process (sandbox.c) and for servers that it becomes (confine.c). See landlock-abi.h. */
#include "sandbox/landlock-abi.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

hth_status hth_landlock_create(bool network, int *ret_ruleset, int *ret_abi, hth_error *err)
{
	long abi = syscall(LL_SYS_CREATE_RULESET, NULL, (size_t)0, (unsigned)LL_CREATE_RULESET_VERSION);
	if (abi <= 0) { /* ENOSYS: not built in; EOPNOTSUPP: off at boot; EPERM: an outer filter forbids it */
		*ret_ruleset = -1;
		*ret_abi = 0;
		return HTH_OK;
	}
	ll_ruleset_attr attr = {.handled_access_fs = LL_FS_ABI1};
	if (abi >= 2)
		attr.handled_access_fs |= LL_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= LL_FS_TRUNCATE;
	if (abi >= 4 && network)
		attr.handled_access_net = LL_NET_BIND_TCP | LL_NET_CONNECT_TCP;
	if (abi >= 5)
		attr.handled_access_fs |= LL_FS_IOCTL_DEV;
	if (abi >= 6)
		attr.scoped = LL_SCOPE_ABSTRACT_UNIX_SOCKET | LL_SCOPE_SIGNAL;
	int ruleset = (int)syscall(LL_SYS_CREATE_RULESET, &attr, sizeof attr, 0u);
	if (ruleset < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make a Landlock ruleset (ABI %ld)", abi);
	*ret_ruleset = ruleset;
	*ret_abi = (int)abi;
	return HTH_OK;
}

hth_status hth_landlock_allow(int ruleset, const char *path, uint64_t access, hth_error *err)
{
	HTH_AUTO_CLOSE int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const ll_path_beneath_attr rule = {.allowed_access = access, .parent_fd = dir};
	if (dir >= 0 && syscall(LL_SYS_ADD_RULE, ruleset, (unsigned)LL_RULE_PATH_BENEATH, &rule, 0u) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot add %s to a Landlock ruleset", path);
	return HTH_OK;
}

hth_status hth_landlock_enter(int ruleset, hth_error *err)
{
	if (syscall(LL_SYS_RESTRICT_SELF, ruleset, 0u) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot enter Landlock");
	return HTH_OK;
}
