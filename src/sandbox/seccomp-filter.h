/* seccomp-filter.h - the list of system calls that a locked-in process may still make. See seccomp-filter.c. */
#ifndef HTH_SANDBOX_SECCOMP_FILTER_H
#define HTH_SANDBOX_SECCOMP_FILTER_H

#include "base/status.h"

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

/* Installs the filter on every thread of the process. no_new_privs must be set. Cannot be undone. */
HTH_MUST_USE hth_status hth_seccomp_load(bool write_files, hth_error *err);

#endif
