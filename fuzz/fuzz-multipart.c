/* fuzz-multipart.c - any bytes as a form: the first line is its boundary. Parts lie within the body, in order, and no part holds the
 * delimiter. */
#include "http/multipart.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
	const char *body, *at;
	size_t len;
	int n;
} seen;

static hth_status look(void *ctx, const hth_multipart_part *part, hth_error *err)
{
	seen *s = ctx;
	(void)err;
	if (part->data < s->at || part->data + part->len > s->body + s->len || strlen(part->name) > HTH_MULTIPART_NAME_MAX ||
	    ++s->n > HTH_MULTIPART_PARTS_MAX)
		abort();
	s->at = part->data + part->len;
	return HTH_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char type[200] = "multipart/form-data; boundary=", boundary[HTH_MULTIPART_BOUNDARY_MAX + 1];
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t n = end != NULL ? (size_t)(end - data) : 0;
	hth_error err = HTH_ERROR_INIT;
	if (n == 0 || n > 100 || memchr(data, '\0', n) != NULL)
		return 0;
	memcpy(type + strlen(type), data, n);
	if (!hth_multipart_boundary(type, boundary))
		return 0;
	if (strlen(boundary) > HTH_MULTIPART_BOUNDARY_MAX || *boundary == '\0')
		abort();
	seen s = {.body = (const char *)end + 1, .at = (const char *)end + 1, .len = size - n - 1};
	if (hth_multipart_read(s.body, s.len, boundary, look, &s, &err) != HTH_OK && err.message[0] == '\0')
		abort();
	return 0;
}
