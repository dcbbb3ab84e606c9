/* sandbox.h - how a process that reads untrusted bytes locks itself in.
 *
 * hth_sandbox_enter is called once, after the descriptors it will need exist and before it starts threads or reads the first
 * untrusted byte. Afterwards the process (and every thread of it) can read, write, map and poll the descriptors it has,
 * allocate up to memory_bytes, start threads, and nothing else: no socket, no new file, no exec, no fork, no ptrace, no signal to
 * others, no executable memory. What is refused fails with EPERM and the process lives on.
 * Layers: closing every descriptor not in keep_fds; no core dump, no tracing; RLIMIT_AS; no_new_privs; no capabilities;
 * Landlock (no path; no TCP, abstract socket or signal where the kernel knows those: ABI 4 and 6); a seccomp allow-list
 * (ENOSYS for clone3, so that libc falls back to clone, whose flags can be checked; SIGSYS is taken for fstat).
 * A kernel without Landlock is reported in ret_report and the rest still applies; without seccomp it fails.
 * In a build with a sanitizer there is no RLIMIT_AS (shadow memory), tracing stays possible and pipes may be made;
 * leave such a process with _exit: LeakSanitizer's check would have to fork and trace.
 */
#ifndef HTH_SANDBOX_SANDBOX_H
#define HTH_SANDBOX_SANDBOX_H

#include "base/status.h"

#include <stdint.h>

/* True in a build with AddressSanitizer or ThreadSanitizer: their shadow memory needs terabytes of address space. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HTH_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HTH_SANITIZED 1
#endif
#endif
#ifndef HTH_SANITIZED
#define HTH_SANITIZED 0
#endif

typedef struct hth_sandbox_options {
	uint64_t memory_bytes; /* address space, all mappings of files included; 0: no limit */
	const int *keep_fds;   /* descriptors that stay open besides 0, 1 and 2 */
	size_t n_keep_fds;
	/* files that are open for writing may be written at any place and resized (hearth quantize, a runner's spill) */
	bool write_files;
	int receive_fd;        /* a Unix socket on which descriptors may be received (recvmsg); 0: none */
	/* Directories of the system (fonts) whose files may still be opened for reading. Needs Landlock, which is what keeps all other
	 * paths shut: without it, none may. Ones that do not exist are skipped. */
	const char *const *read_dirs;
	size_t n_read_dirs;
} hth_sandbox_options;
typedef struct hth_sandbox_report {
	int landlock_abi; /* 0: the kernel has none */
	bool seccomp;
} hth_sandbox_report;
/* HTH_CONFLICT: the process has threads already. After any other failure some layers are on: exit. */
HTH_MUST_USE hth_status hth_sandbox_enter(const hth_sandbox_options *options, hth_sandbox_report *ret_report, hth_error *err);

/* For a server that this process is about to become (exec): from now on it may execute and read what lies in program_dirs, read what lies
 * in read_dirs, and touch no other file, nor write any; it gains no rights. Its sockets stay. Directories that do not exist are skipped;
 * where the kernel has no Landlock, only the rights are given up. */
HTH_MUST_USE hth_status hth_sandbox_confine_files(const char *const *program_dirs, size_t n_programs, const char *const *read_dirs,
                                                  size_t n_reads, hth_error *err);

#endif
