/* status.h - how anything in Hearth says that it failed.
 *
 * Functions that can fail return a hth_status and, where a person may have to read why, fill a caller-owned
 * hth_error. Outputs are named `ret_*` and are untouched on failure. Libraries never print; programs do.
 * One table (status.c) maps a status to the HTTP code, the API error type and the exit code.
 */
#ifndef HTH_BASE_STATUS_H
#define HTH_BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define HTH_MUST_USE __attribute__((warn_unused_result))
#define HTH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef enum hth_status {
	HTH_OK = 0,
	HTH_INVALID,      /* the caller's input is wrong: a request, an argument, a value */
	HTH_TOO_LARGE,    /* the input is well formed but over a limit */
	HTH_NOT_FOUND,    /* no such model, file, key, route */
	HTH_DENIED,       /* not allowed: key, host, origin, sandbox */
	HTH_UNAUTHORIZED, /* no key or an unknown one */
	HTH_CONFLICT,     /* not in this state: already running, already there */
	HTH_BAD_FORMAT,   /* a file or frame does not follow its format */
	HTH_UNSUPPORTED,  /* well formed, but something Hearth does not do */
	HTH_NO_MEMORY,    /* an allocation failed or a budget is used up */
	HTH_IO,           /* the operating system refused a read, write or open */
	HTH_BUSY,         /* no room now: try again later */
	HTH_TIMEOUT,
	HTH_CANCELLED, /* the one who asked went away */
	HTH_GONE,      /* the runner (or peer) that did the work died */
	HTH_INTERNAL,  /* a bug of ours */
	HTH_STATUS_COUNT
} hth_status;

enum { HTH_ERROR_MAX = 512 };

/* What went wrong, for a person: what, where, and what to do. Plain struct, no ownership.
 * `param` names the field of a request that is at fault ("" when none). */
typedef struct hth_error {
	hth_status status;
	char message[HTH_ERROR_MAX];
	char param[64];
	unsigned retry_s; /* of HTH_BUSY: when it is worth trying again; 0: not known */
} hth_error;

#define HTH_ERROR_INIT ((hth_error){.status = HTH_OK})

/* Fills err (which may be NULL) and returns status, so that callers write `return hth_fail(...)`.
 * The message is cut at HTH_ERROR_MAX - 1 bytes, never inside a UTF-8 character. */
hth_status hth_fail(hth_error *err, hth_status status, const char *fmt, ...) HTH_PRINTF(3, 4);
hth_status hth_failv(hth_error *err, hth_status status, const char *fmt, va_list args);
/* As hth_fail, naming the request field at fault. */
hth_status hth_fail_param(hth_error *err, hth_status status, const char *param, const char *fmt, ...)
    HTH_PRINTF(4, 5);
/* As hth_fail with ": strerror(errno_value)" appended. */
hth_status hth_fail_errno(hth_error *err, hth_status status, int errno_value, const char *fmt, ...)
    HTH_PRINTF(4, 5);
/* Puts "prefix: " before the message that err already holds, and returns its status. */
hth_status hth_fail_prefix(hth_error *err, const char *fmt, ...) HTH_PRINTF(2, 3);

const char *hth_status_name(hth_status status);       /* "invalid", "not_found", ... */
int hth_status_http(hth_status status);               /* 200, 400, 404, ... */
const char *hth_status_api_type(hth_status status);   /* "invalid_request_error", ... */
int hth_status_exit(hth_status status);               /* 0 or 1; wrong usage (2) is the command line's own */

/* `HTH_TRY(call)` returns the call's status from the enclosing function unless it is HTH_OK. */
#define HTH_TRY(call)                               \
	do {                                        \
		hth_status try_status_ = (call);    \
		if (try_status_ != HTH_OK)          \
			return try_status_;         \
	} while (0)

#endif
