/* multipart.h - a body of multipart/form-data taken apart in memory (RFC 7578, RFC 2046 5.1). Nothing is copied; parts point into the
 * body. */
#ifndef HTH_HTTP_MULTIPART_H
#define HTH_HTTP_MULTIPART_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { HTH_MULTIPART_PARTS_MAX = 64, HTH_MULTIPART_HEADERS_MAX = 8192, HTH_MULTIPART_NAME_MAX = 1024, HTH_MULTIPART_BOUNDARY_MAX = 70 };

typedef struct hth_multipart_part {
	const char *name, *filename; /* ended by NUL, borrowed during the call; filename NULL: a plain field */
	const char *data;
	size_t len;
} hth_multipart_part;

/* The boundary of a Content-Type; false: it is not multipart/form-data with one. */
bool hth_multipart_boundary(const char *content_type, char out[HTH_MULTIPART_BOUNDARY_MAX + 1]);
/* Calls fn for each part in order; what fn returns ends it unless it is HTH_OK. HTH_INVALID: broken, or over a limit. */
typedef hth_status (*hth_multipart_fn)(void *ctx, const hth_multipart_part *part, hth_error *err);
HTH_MUST_USE hth_status hth_multipart_read(const void *body, size_t len, const char *boundary, hth_multipart_fn fn, void *ctx,
                                           hth_error *err);

#endif
