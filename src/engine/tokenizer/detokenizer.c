/* detokenizer.c - tokens to text, a token at a time. A byte leaves only as part of a whole UTF-8 character; at most
 * three bytes wait for the next token, and bytes that can never become a character leave as U+FFFD. */
#include "engine/tokenizer/tokenizer.h"

#include "base/mem.h"
#include "base/utf8.h"

void hth_detokenizer_init(hth_detokenizer *d, const hth_tokenizer *tokenizer, bool at_start, bool show_special)
{
	*d = (hth_detokenizer){.tokenizer = tokenizer, .at_start = at_start, .show_special = show_special};
}

/* Appends bytes, broken ones replaced. Keeps a beginning of a character in pending unless this is the end. */
static bool put(hth_detokenizer *d, const char *bytes, size_t len, bool last, hth_buf *out)
{
	size_t keep = last ? 0 : hth_utf8_incomplete_suffix(bytes, len);
	size_t whole = len - keep;
	bool ok = true;
	for (size_t i = 0; i < whole && ok;) {
		size_t valid = hth_utf8_valid_prefix(bytes + i, whole - i);
		ok = hth_buf_append(out, bytes + i, valid);
		i += valid;
		if (i < whole) {
			/* One replacement for a character cut short, however many of its bytes are there. */
			size_t broken = 1;
			while (broken < 3 && i + broken < whole &&
			       hth_utf8_incomplete_suffix(bytes + i, broken + 1) == broken + 1)
				broken++;
			ok = ok && hth_buf_append(out, "\xEF\xBF\xBD", 3);
			i += broken;
		}
	}
	memmove(d->pending, bytes + whole, keep);
	d->n_pending = keep;
	return ok;
}

bool hth_detokenizer_push(hth_detokenizer *d, int32_t id, hth_buf *out)
{
	hth_buf bytes = HTH_BUF_INIT(1 << 20);
	bool ok = hth_buf_append(&bytes, d->pending, d->n_pending) &&
	          hth_tokenizer_bytes(d->tokenizer, id, d->show_special, &bytes);
	size_t skip = 0;
	if (ok && bytes.len > d->n_pending && d->at_start) {
		/* The space that the tokenizer put before the first word. */
		skip = hth_tokenizer_adds_space(d->tokenizer) && bytes.data[0] == ' ';
		d->at_start = false;
	}
	if (ok && bytes.len > 0)
		ok = put(d, bytes.data + skip, bytes.len - skip, false, out);
	hth_buf_finish(&bytes);
	return ok;
}

bool hth_detokenizer_flush(hth_detokenizer *d, hth_buf *out)
{
	char pending[4];
	size_t n = d->n_pending;
	memcpy(pending, d->pending, n);
	return n == 0 || put(d, pending, n, true, out);
}
