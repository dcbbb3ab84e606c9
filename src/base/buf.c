#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>

void hth_buf_finish(hth_buf *buf)
{
	if (buf == NULL)
		return;
	free(buf->data);
	*buf = HTH_BUF_INIT(buf->max);
}

void hth_buf_clear(hth_buf *buf)
{
	buf->len = 0;
	buf->failed = false;
	if (buf->data != NULL)
		buf->data[0] = '\0';
}

char *hth_buf_reserve(hth_buf *buf, size_t len)
{
	if (buf->failed)
		return NULL;
	if (len > buf->max - buf->len) {
		buf->failed = true;
		return NULL;
	}
	size_t need = buf->len + len + 1;
	if (need > buf->cap) {
		size_t cap = buf->cap ? buf->cap : 64;
		while (cap < need)
			cap = cap > SIZE_MAX / 2 ? need : cap * 2;
		if (cap - 1 > buf->max)
			cap = buf->max + 1;
		char *data = realloc(buf->data, cap);
		if (data == NULL) {
			buf->failed = true;
			return NULL;
		}
		buf->data = data;
		buf->cap = cap;
	}
	return buf->data + buf->len;
}

bool hth_buf_append(hth_buf *buf, const void *bytes, size_t len)
{
	char *at = hth_buf_reserve(buf, len);
	if (at == NULL)
		return false;
	if (len > 0)
		memcpy(at, bytes, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
	return true;
}

bool hth_buf_append_str(hth_buf *buf, const char *s) { return hth_buf_append(buf, s, strlen(s)); }
bool hth_buf_append_char(hth_buf *buf, char c) { return hth_buf_append(buf, &c, 1); }

bool hth_buf_appendv(hth_buf *buf, const char *fmt, va_list args)
{
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	char *at = n >= 0 ? hth_buf_reserve(buf, (size_t)n) : NULL;
	if (at != NULL) {
		vsnprintf(at, (size_t)n + 1, fmt, again);
		buf->len += (size_t)n;
	}
	va_end(again);
	return at != NULL;
}

bool hth_buf_appendf(hth_buf *buf, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	bool ok = hth_buf_appendv(buf, fmt, args);
	va_end(args);
	return ok;
}

void hth_buf_consume(hth_buf *buf, size_t len)
{
	if (len > buf->len)
		len = buf->len;
	if (len == 0)
		return;
	memmove(buf->data, buf->data + len, buf->len - len + 1);
	buf->len -= len;
}

char *hth_buf_steal(hth_buf *buf, size_t *ret_len)
{
	if (buf->data == NULL && !hth_buf_append(buf, "", 0))
		return NULL;
	char *data = buf->data;
	if (ret_len != NULL)
		*ret_len = buf->len;
	*buf = HTH_BUF_INIT(buf->max);
	return data;
}

hth_status hth_buf_check(const hth_buf *buf, const char *what, hth_error *err)
{
	if (!buf->failed)
		return HTH_OK;
	return hth_fail(err, HTH_TOO_LARGE, "%s is over its limit of %zu bytes, or memory ran out", what, buf->max);
}
