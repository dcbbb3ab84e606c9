/* landlock-abi.h - Landlock's kernel interface up to ABI 7, written out because Debian 12's <linux/landlock.h> stops at ABI 2.
 * Numbers from the kernel's include/uapi/linux/landlock.h; the system calls have one number on every architecture. */
#ifndef HTH_SANDBOX_LANDLOCK_ABI_H
#define HTH_SANDBOX_LANDLOCK_ABI_H

#include "base/status.h"

#include <stdint.h>

enum { LL_SYS_CREATE_RULESET = 444, LL_SYS_ADD_RULE = 445, LL_SYS_RESTRICT_SELF = 446 };
enum { LL_CREATE_RULESET_VERSION = 1 };

/* Which accesses a ruleset takes away. A kernel takes a longer struct than it knows if the rest is zero. */
typedef struct ll_ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* ABI 4, Linux 6.7 */
	uint64_t scoped;             /* ABI 6, Linux 6.12 */
} ll_ruleset_attr;

/* A rule that gives back accesses beneath a directory. */
enum { LL_RULE_PATH_BENEATH = 1 };
typedef struct __attribute__((packed)) ll_path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} ll_path_beneath_attr;

#define LL_FS_EXECUTE (UINT64_C(1) << 0)
#define LL_FS_READ_FILE (UINT64_C(1) << 2)
#define LL_FS_READ_DIR (UINT64_C(1) << 3)
#define LL_FS_ABI1 ((UINT64_C(1) << 13) - 1) /* execute, write, read, read_dir, remove_*, make_* (Linux 5.13) */
#define LL_FS_REFER (UINT64_C(1) << 13)      /* ABI 2, Linux 5.19 */
#define LL_FS_TRUNCATE (UINT64_C(1) << 14)   /* ABI 3, Linux 6.2 */
#define LL_FS_IOCTL_DEV (UINT64_C(1) << 15)  /* ABI 5, Linux 6.10 */
#define LL_NET_BIND_TCP (UINT64_C(1) << 0)
#define LL_NET_CONNECT_TCP (UINT64_C(1) << 1)
#define LL_SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0)
#define LL_SCOPE_SIGNAL (UINT64_C(1) << 1)

/* landlock.c: a ruleset that takes away every access to paths, and abstract sockets and signals to others where the kernel knows to; with
 * network, TCP, too. *ret_ruleset is the caller's to close; -1, with *ret_abi 0, where the kernel has no Landlock, or may not use it. */
HTH_MUST_USE hth_status hth_landlock_create(bool network, int *ret_ruleset, int *ret_abi, hth_error *err);
/* Gives accesses beneath a directory back; none where it cannot be opened. */
HTH_MUST_USE hth_status hth_landlock_allow(int ruleset, const char *path, uint64_t access, hth_error *err);
/* This process is bound by it from now on, and all that it starts. */
HTH_MUST_USE hth_status hth_landlock_enter(int ruleset, hth_error *err);

#endif
