/* confine.c - for a server that this program starts: which files it may touch, before it becomes that server. Landlock alone; it keeps its
 * sockets. */
#include "sandbox/sandbox.h"

#include "base/mem.h"
#include "sandbox/landlock-abi.h"

#include <errno.h>
#include <sys/prctl.h>

hth_status hth_sandbox_confine_files(const char *const *program_dirs, size_t n_programs, const char *const *read_dirs, size_t n_reads,
                                     hth_error *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot give up gaining rights");
	HTH_AUTO_CLOSE int ruleset = -1;
	int abi;
	HTH_TRY(hth_landlock_create(false, &ruleset, &abi, err));
	if (abi == 0)
		return HTH_OK;
	for (size_t i = 0; i < n_programs; i++)
		HTH_TRY(hth_landlock_allow(ruleset, program_dirs[i], LL_FS_EXECUTE | LL_FS_READ_FILE | LL_FS_READ_DIR, err));
	for (size_t i = 0; i < n_reads; i++)
		HTH_TRY(hth_landlock_allow(ruleset, read_dirs[i], LL_FS_READ_FILE | LL_FS_READ_DIR, err));
	return hth_landlock_enter(ruleset, err);
}
