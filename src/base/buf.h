/* buf.h - a growing byte buffer that is born with a cap.
 *
 * Every buffer that grows with outside input is one of these, so that no input can grow it past what its
 * creator allowed. An append that would pass the cap (or finds no memory) sets `failed`, changes nothing and
 * returns false; later appends fail too, so a chain of appends may be checked once at its end.
 * `data` is always NUL-terminated once anything was appended (the NUL is not counted in len).
 */
#ifndef HTH_BASE_BUF_H
#define HTH_BASE_BUF_H

#include "base/status.h"

#include <stdarg.h>
#include <stdint.h>

typedef struct hth_buf {
	char *data; /* NULL until the first append */
	size_t len;
	size_t cap;
	size_t max; /* len may never pass this */
	bool failed;
} hth_buf;

#define HTH_BUF_INIT(max_bytes) ((hth_buf){.max = (max_bytes)})

void hth_buf_finish(hth_buf *buf);        /* frees; buf may be used again, with its cap */
void hth_buf_clear(hth_buf *buf);         /* len = 0, failed = false; keeps the memory */
bool hth_buf_append(hth_buf *buf, const void *bytes, size_t len);
bool hth_buf_append_str(hth_buf *buf, const char *s);
bool hth_buf_append_char(hth_buf *buf, char c);
bool hth_buf_appendf(hth_buf *buf, const char *fmt, ...) HTH_PRINTF(2, 3);
bool hth_buf_appendv(hth_buf *buf, const char *fmt, va_list args);
/* Makes room for len more bytes and returns where they go, NULL on failure; then add to buf->len yourself. */
char *hth_buf_reserve(hth_buf *buf, size_t len);
/* Removes len bytes from the front. */
void hth_buf_consume(hth_buf *buf, size_t len);
/* Gives the bytes to the caller (who frees them) and empties buf. Never NULL unless failed. */
char *hth_buf_steal(hth_buf *buf, size_t *ret_len);
/* HTH_OK, or a message that names what grew too large ("answer is over 1048576 bytes"). */
hth_status hth_buf_check(const hth_buf *buf, const char *what, hth_error *err);

#endif
