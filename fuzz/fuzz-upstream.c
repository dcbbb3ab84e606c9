/* fuzz-upstream.c - any bytes as an upstream's answer: the first byte picks what was asked, the second how its bytes
 * are cut. Whatever it says, pieces are whole texts with the rows they claim, and a failure has words. */
#include "base/mem.h"
#include "upstream/upstream-internal.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool emit(void *ctx, hth_up_event *e)
{
	size_t *n = ctx;
	if (e->kind == HTH_UP_PIECE) {
		if (e->text == NULL || strlen(e->text) != e->len ||
		    (e->n_rows > 0 && (e->rows == NULL || e->row_bytes == NULL)) || e->n_top > HTH_TOP_LOGPROBS_MAX)
			abort();
		if (e->piece == HTH_PIECE_TOOL_CALL &&
		    (e->tool_id == NULL || e->tool_name == NULL || e->tool_name[0] == '\0'))
			abort();
		size_t sum = 0;
		for (size_t i = 0; i < e->n_rows * (1 + e->n_top); i++) {
			const hth_token_logprob *row = i < e->n_rows ? &e->rows[i] : &e->top[i - e->n_rows];
			for (size_t k = 0; k < row->n_bytes; k++)
				sum += (unsigned char)row->bytes[k];
			if (!isfinite(row->logprob))
				abort();
		}
		*n += sum != 1; /* so that reading the bytes is not left out */
	} else if (e->kind == HTH_UP_EMBEDDING) {
		for (size_t i = 0; i < e->len; i++)
			if (!isfinite(e->values[i]))
				abort();
	}
	hth_up_event_free(e);
	return *n < 100000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const hth_request_kind kinds[] = {HTH_CHAT, HTH_COMPLETION, HTH_EMBEDDING, HTH_CHAT};
	size_t n = 0;
	if (size < 2)
		return 0;
	const char *bytes = (const char *)data + 2;
	size_t len = size - 2, step = data[1] % 32 == 0 ? len + 1 : data[1] % 32;
	if (data[0] % 4 == 3) {
		hth_error err = HTH_ERROR_INIT;
		const hth_transfer_head head = {.code = 100 + data[1] * 2};
		if (hth_up_http_error("u", &head, bytes, len, &err) == HTH_OK || err.message[0] == '\0')
			abort();
		return 0;
	}
	hth_up_reader reader;
	hth_up_reader_init(&reader, kinds[data[0] % 4], emit, &n);
	if (reader.kind == HTH_EMBEDDING) {
		/* The caller has it in one piece with a NUL behind. */
		(void)!hth_up_reader_whole(&reader, bytes, len);
	} else {
		for (size_t at = 0; at < len; at += step)
			if (!hth_up_reader_feed(&reader, bytes + at, HTH_MIN(step, len - at)))
				break;
	}
	if (reader.failed && reader.error.message[0] == '\0')
		abort();
	hth_up_reader_finish(&reader);
	return 0;
}
