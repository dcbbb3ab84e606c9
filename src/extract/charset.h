/* charset.h - text of any encoding to UTF-8. The order of trust: a byte order mark, UTF-8 that is valid, what the document declares,
 * UTF-16 by its zeros, Windows-1252. Source of the tables: Unicode's mappings; the labels are WHATWG's habit (ISO-8859-1 means
 * Windows-1252). */
#ifndef HTH_EXTRACT_CHARSET_H
#define HTH_EXTRACT_CHARSET_H

#include "base/buf.h"

/* Appends the text as valid UTF-8; what cannot be read becomes U+FFFD. declared: a charset's name, or NULL. Returns the name of what was
 * used. A buffer that gets full sets out->failed, as always. */
const char *hth_charset_decode(hth_buf *out, const char *bytes, size_t len, const char *declared);
/* The same without doubt: the bytes are of that charset, whatever they look like. An unknown charset is Windows-1252. */
void hth_charset_decode_as(hth_buf *out, const char *bytes, size_t len, const char *charset);
/* The same by the number of a Windows code page (1252, 932, 65001 ...; 0 or unknown: 1252). */
void hth_charset_decode_page(hth_buf *out, const char *bytes, size_t len, int page);
/* False: zeros and control characters say that this is no text in any encoding that is known here. Looks at the first 64 KiB. */
bool hth_charset_is_text(const char *bytes, size_t len);
/* Opens the converters that may be wanted, and leaves them open: inside the sandbox libc could not load them. */
void hth_charset_preload(void);

#endif
