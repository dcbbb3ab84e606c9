/* multipart.c - form data: delimiters, part headers, names. A part ends at the first CRLF "--" boundary, whatever its headers say of its
 * length. */
#include "http/multipart.h"

#include "base/mem.h"

#include <stdio.h>
#include <strings.h>

bool hth_multipart_boundary(const char *type, char out[HTH_MULTIPART_BOUNDARY_MAX + 1])
{
	if (type == NULL || strncasecmp(type, "multipart/form-data", 19) != 0)
		return false;
	for (const char *at = type + 19; (at = strchr(at, ';')) != NULL;) {
		at += 1 + strspn(at + 1, " \t");
		if (strncasecmp(at, "boundary=", 9) != 0)
			continue;
		at += 9;
		bool quoted = *at == '"';
		at += quoted;
		size_t n = strcspn(at, quoted ? "\"" : "; \t");
		if (n == 0 || n > HTH_MULTIPART_BOUNDARY_MAX)
			return false;
		memcpy(out, at, n);
		out[n] = '\0';
		return true;
	}
	return false;
}

/* The next `what` at or behind at; NULL: none. memmem over a long body is linear in glibc. */
static const char *find(const char *at, const char *end, const char *what, size_t len)
{
	return at <= end ? memmem(at, (size_t)(end - at), what, len) : NULL;
}

/* A parameter's value out of "form-data; name=\"a\"; filename=\"b\"": quoted, with \" and what browsers write for it, %22. */
static bool read_parameter(const char *line, size_t len, const char *name, char out[HTH_MULTIPART_NAME_MAX + 1])
{
	size_t name_len = strlen(name), n = 0;
	for (size_t i = 0; i + name_len + 1 < len; i++) {
		if (line[i] == '"') { /* over a value that is not asked for */
			for (i++; i < len && line[i] != '"'; i++)
				i += line[i] == '\\';
			continue;
		}
		if (line[i] != ';')
			continue;
		size_t at = i + 1;
		while (at < len && (line[at] == ' ' || line[at] == '\t'))
			at++;
		if (len - at <= name_len || strncasecmp(line + at, name, name_len) != 0 || line[at + name_len] != '=')
			continue;
		at += name_len + 1;
		bool quoted = at < len && line[at] == '"';
		for (at += quoted; at < len && line[at] != (quoted ? '"' : ';'); at++) {
			char c = line[at];
			if (quoted && c == '\\' && at + 1 < len && (line[at + 1] == '"' || line[at + 1] == '\\'))
				c = line[++at];
			else if (quoted && c == '%' && len - at > 2 && line[at + 1] == '2' && line[at + 2] == '2')
				c = '"', at += 2;
			if (n == HTH_MULTIPART_NAME_MAX || c == '\0')
				return false;
			out[n++] = c;
		}
		out[n] = '\0';
		return true;
	}
	return false;
}

static hth_status read_headers(const char *at, const char *end, char name[HTH_MULTIPART_NAME_MAX + 1],
                               char filename[HTH_MULTIPART_NAME_MAX + 1], bool *ret_file, hth_error *err)
{
	static const char wanted[] = "content-disposition:";
	*ret_file = false;
	while (at < end) {
		const char *line_end = find(at, end, "\r\n", 2);
		if (line_end == NULL)
			line_end = end;
		size_t len = (size_t)(line_end - at);
		if (len >= sizeof wanted - 1 && strncasecmp(at, wanted, sizeof wanted - 1) == 0) {
			if (!read_parameter(at, len, "name", name))
				return hth_fail(err, HTH_INVALID, "a part of the form has no name, or one that is too long");
			*ret_file = read_parameter(at, len, "filename", filename);
			return HTH_OK;
		}
		at = line_end + 2;
	}
	return hth_fail(err, HTH_INVALID, "a part of the form has no Content-Disposition");
}

hth_status hth_multipart_read(const void *body, size_t len, const char *boundary, hth_multipart_fn fn, void *ctx, hth_error *err)
{
	char delimiter[HTH_MULTIPART_BOUNDARY_MAX + 8], name[HTH_MULTIPART_NAME_MAX + 1], filename[HTH_MULTIPART_NAME_MAX + 1];
	const char *at = body, *end = at + len;
	size_t n = (size_t)snprintf(delimiter, sizeof delimiter, "\r\n--%s", boundary);
	/* The first has no line before it, or a preamble. */
	if (len >= n - 2 && memcmp(at, delimiter + 2, n - 2) == 0)
		at += n - 2;
	else if ((at = find(at, end, delimiter, n)) != NULL)
		at += n;
	else
		return hth_fail(err, HTH_INVALID, "the form has no part: its boundary is not in it");
	for (int parts = 0;; parts++) {
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;
		if (end - at >= 2 && memcmp(at, "--", 2) == 0)
			return HTH_OK;
		if (end - at < 2 || memcmp(at, "\r\n", 2) != 0)
			return hth_fail(err, HTH_INVALID, "the form breaks off");
		if (parts == HTH_MULTIPART_PARTS_MAX)
			return hth_fail(err, HTH_INVALID, "the form has more than %d parts", HTH_MULTIPART_PARTS_MAX);
		const char *most = HTH_MIN((size_t)(end - at), (size_t)HTH_MULTIPART_HEADERS_MAX) + at,
		    *headers_end = find(at, most, "\r\n\r\n", 4);
		if (headers_end == NULL)
			return hth_fail(err, HTH_INVALID, "a part of the form has no end of its headers within %d bytes",
			                HTH_MULTIPART_HEADERS_MAX);
		const char *data = headers_end + 4, *next = find(headers_end + 2, end, delimiter, n);
		if (next == NULL)
			return hth_fail(err, HTH_INVALID, "the form breaks off within a part");
		bool file;
		HTH_TRY(read_headers(at + 2, headers_end, name, filename, &file, err));
		/* An empty part's delimiter begins with the line end of its headers. */
		hth_multipart_part part = {name, file ? filename : NULL, data, next > data ? (size_t)(next - data) : 0};
		HTH_TRY(fn(ctx, &part, err));
		at = next + n;
	}
}
