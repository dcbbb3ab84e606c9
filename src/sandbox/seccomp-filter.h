/* seccomp-filter.h - the list of system calls that a locked-in process may still make. See seccomp-filter.c. */
#ifndef HTH_SANDBOX_SECCOMP_FILTER_H
#define HTH_SANDBOX_SECCOMP_FILTER_H

#include "base/status.h"

/* Installs the filter on every thread of the process. no_new_privs must be set. Cannot be undone. */
HTH_MUST_USE hth_status hth_seccomp_load(bool write_files, hth_error *err);

#endif
