#include "base/status.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int http;
	const char *api_type;
	int exit_code;
} table[HTH_STATUS_COUNT] = {
    [HTH_OK] = {"ok", 200, "", 0},
    [HTH_INVALID] = {"invalid", 400, "invalid_request_error", 1},
    [HTH_TOO_LARGE] = {"too_large", 413, "invalid_request_error", 1},
    [HTH_NOT_FOUND] = {"not_found", 404, "not_found_error", 1},
    [HTH_DENIED] = {"denied", 403, "permission_error", 1},
    [HTH_UNAUTHORIZED] = {"unauthorized", 401, "authentication_error", 1},
    [HTH_CONFLICT] = {"conflict", 409, "invalid_request_error", 1},
    [HTH_BAD_FORMAT] = {"bad_format", 400, "invalid_request_error", 1},
    [HTH_UNSUPPORTED] = {"unsupported", 400, "invalid_request_error", 1},
    [HTH_NO_MEMORY] = {"no_memory", 503, "overloaded_error", 1},
    [HTH_IO] = {"io", 500, "api_error", 1},
    [HTH_BUSY] = {"busy", 503, "overloaded_error", 1},
    [HTH_TIMEOUT] = {"timeout", 504, "api_error", 1},
    [HTH_CANCELLED] = {"cancelled", 499, "api_error", 1},
    [HTH_GONE] = {"gone", 502, "api_error", 1},
    [HTH_INTERNAL] = {"internal", 500, "api_error", 1},
};

static unsigned row(hth_status status)
{
	return (unsigned)status < HTH_STATUS_COUNT ? (unsigned)status : HTH_INTERNAL;
}

const char *hth_status_name(hth_status status) { return table[row(status)].name; }
int hth_status_http(hth_status status) { return table[row(status)].http; }
const char *hth_status_api_type(hth_status status) { return table[row(status)].api_type; }
int hth_status_exit(hth_status status) { return table[row(status)].exit_code; }

/* Drops the bytes of a UTF-8 character that vsnprintf cut in two. */
static void trim_cut_character(char *s)
{
	size_t n = strlen(s);
	size_t back = 0;
	while (back < 3 && back < n && ((unsigned char)s[n - 1 - back] & 0xC0) == 0x80)
		back++;
	if (back >= n)
		return;
	unsigned char lead = (unsigned char)s[n - 1 - back];
	size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
	if (want > back + 1)
		s[n - 1 - back] = '\0';
}

hth_status hth_failv(hth_error *err, hth_status status, const char *fmt, va_list args)
{
	if (err == NULL)
		return status;
	err->status = status;
	err->param[0] = '\0';
	err->retry_s = 0;
	int n = vsnprintf(err->message, sizeof err->message, fmt, args);
	if (n >= (int)sizeof err->message)
		trim_cut_character(err->message);
	return status;
}

hth_status hth_fail(hth_error *err, hth_status status, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	hth_failv(err, status, fmt, args);
	va_end(args);
	return status;
}

hth_status hth_fail_param(hth_error *err, hth_status status, const char *param, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	hth_failv(err, status, fmt, args);
	va_end(args);
	if (err != NULL)
		snprintf(err->param, sizeof err->param, "%s", param);
	return status;
}

hth_status hth_fail_errno(hth_error *err, hth_status status, int errno_value, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	hth_failv(err, status, fmt, args);
	va_end(args);
	if (err != NULL) {
		size_t n = strlen(err->message);
		snprintf(err->message + n, sizeof err->message - n, ": %s", strerror(errno_value));
	}
	return status;
}

hth_status hth_fail_prefix(hth_error *err, const char *fmt, ...)
{
	if (err == NULL)
		return HTH_INTERNAL;
	char rest[HTH_ERROR_MAX];
	memcpy(rest, err->message, sizeof rest);
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(err->message, sizeof err->message, fmt, args);
	va_end(args);
	if (n >= 0 && n < (int)sizeof err->message)
		snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", rest);
	trim_cut_character(err->message);
	return err->status;
}
