/* seccomp-filter.h - the list of system calls that a locked-in process may still make. See seccomp-filter.c. */
#ifndef HTH_SANDBOX_SECCOMP_FILTER_H
#define HTH_SANDBOX_SECCOMP_FILTER_H

#include "base/status.h"

/* What is allowed beside the list. */
typedef struct hth_seccomp_grants {
	bool write_files; /* pwrite, ftruncate, fallocate */
	bool read_paths;  /* openat for reading: only where Landlock says which paths */
	int receive_fd;   /* recvmsg on this descriptor; 0: none */
} hth_seccomp_grants;
/* Installs the filter on every thread of the process. no_new_privs must be set. Cannot be undone. */
HTH_MUST_USE hth_status hth_seccomp_load(const hth_seccomp_grants *grants, hth_error *err);

#endif
