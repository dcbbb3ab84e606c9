/* sandbox.h - how a process that reads untrusted bytes locks itself in.
 *
 * hth_sandbox_enter is called once, after the descriptors and threads' stacks it will need exist and before the first untrusted byte is
 * read. Afterwards the process (and every thread of it) can read, write, map and poll the descriptors it has, allocate
 * up to memory_bytes, start threads, and nothing else: no socket, no new file, no exec, no fork, no ptrace, no signal to others.
 * Layers: no_new_privs; RLIMIT_AS/NPROC/CORE; closing every descriptor not in keep_fds; Landlock (no path, no TCP where the
 * kernel knows it); a seccomp allow-list that answers EPERM (or ENOSYS for clone3, so that libc falls back).
 * A kernel without Landlock is reported in ret_report and the rest still applies; without seccomp it fails.
 */
#ifndef HTH_SANDBOX_SANDBOX_H
#define HTH_SANDBOX_SANDBOX_H

#include "base/status.h"

#include <stdint.h>

typedef struct hth_sandbox_options {
	uint64_t memory_bytes; /* address space beyond the files mapped later is not known: give the whole; 0: no limit */
	const int *keep_fds;   /* descriptors that stay open besides 0, 1 and 2 */
	size_t n_keep_fds;
} hth_sandbox_options;
typedef struct hth_sandbox_report {
	int landlock_abi; /* 0: the kernel has none */
	bool seccomp;
} hth_sandbox_report;
HTH_MUST_USE hth_status hth_sandbox_enter(const hth_sandbox_options *options, hth_sandbox_report *ret_report, hth_error *err);

#endif
