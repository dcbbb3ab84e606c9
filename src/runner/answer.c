/* answer.c - stop strings over text that arrives in crumbs; see answer.h.
 * Owns the held text and the rows that wait with it. Refuses to grow: what is held is shorter than the longest stop
 * string plus one token's text. Thread: the scheduler's. */
#include "runner/answer.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "runner/runner-messages.h"

/* A piece with so many rows, each with 20 rivals of so many bytes, stays under a frame's size. */
enum { ROWS_MAX = 512, ROWS_PER_PIECE = 32, ROW_BYTES_MAX = 256, HELD_MAX = 16 << 20 };

struct hth_answer_row {
	int32_t token;
	float logprob;
	uint64_t begin, end; /* of the token's text, in bytes of the answer */
	hth_logprob top[HTH_TOP_LOGPROBS_MAX];
};

hth_status hth_answer_init(hth_answer *answer, const hth_tokenizer *tokenizer, bool at_start, const hth_request_params *params,
                           hth_answer_fn fn, void *ctx, hth_error *err)
{
	*answer = (hth_answer){.tokenizer = tokenizer,
	                       .stop = params->stop,
	                       .n_stop = params->n_stop,
	                       .fn = fn,
	                       .ctx = ctx,
	                       .held = HTH_BUF_INIT(HELD_MAX),
	                       .with_logprobs = params->top_logprobs >= 0,
	                       .n_top = params->top_logprobs > 0 ? (size_t)params->top_logprobs : 0};
	hth_detokenizer_init(&answer->detokenizer, tokenizer, at_start, params->special_text);
	if (answer->with_logprobs) {
		answer->rows = hth_alloc_array(ROWS_MAX, sizeof *answer->rows);
		if (answer->rows == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for logprobs");
	}
	return HTH_OK;
}

void hth_answer_finish(hth_answer *answer)
{
	if (answer->held.data != NULL)
		explicit_bzero(answer->held.data, answer->held.cap);
	hth_buf_finish(&answer->held);
	free(answer->rows);
	answer->rows = NULL;
}

/* One row as the wire has it: bytes appended to store, whose growth may move them, so offsets until all are there. */
static void fill(const hth_tokenizer *tokenizer, hth_token_logprob *out, int32_t token, float logprob, hth_buf *store)
{
	size_t begin = store->len;
	*out = (hth_token_logprob){.token = token, .logprob = logprob};
	if (!hth_tokenizer_bytes(tokenizer, token, true, store))
		store->failed = false;
	out->n_bytes = HTH_MIN(store->len - begin, (size_t)ROW_BYTES_MAX);
	out->bytes = (const char *)(uintptr_t)begin;
}

/* Gives out n rows (at most ROWS_PER_PIECE) with some text. */
static void give_rows(hth_answer *answer, const char *text, size_t len, size_t n)
{
	hth_token_logprob chosen[ROWS_PER_PIECE], top[ROWS_PER_PIECE * HTH_TOP_LOGPROBS_MAX];
	hth_buf store = HTH_BUF_INIT(4 << 20);
	size_t n_top = answer->n_top;
	for (size_t i = 0; i < n; i++) {
		const hth_answer_row *row = &answer->rows[i];
		fill(answer->tokenizer, &chosen[i], row->token, row->logprob, &store);
		for (size_t k = 0; k < n_top; k++)
			fill(answer->tokenizer, &top[i * n_top + k], row->top[k].token, row->top[k].logprob, &store);
	}
	const char *base = store.data != NULL ? store.data : "";
	for (size_t i = 0; i < n; i++)
		chosen[i].bytes = base + (uintptr_t)chosen[i].bytes;
	for (size_t i = 0; i < n * n_top; i++)
		top[i].bytes = base + (uintptr_t)top[i].bytes;
	answer->fn(answer->ctx, &(hth_answer_piece){.text = text,
	                                            .len = len,
	                                            .n_tokens = answer->n_tokens,
	                                            .ids = answer->with_ids && answer->n_tokens > 0 ? &answer->id : NULL,
	                                            .n_ids = answer->with_ids ? answer->n_tokens : 0,
	                                            .logprobs = n > 0 ? chosen : NULL,
	                                            .n_logprobs = n,
	                                            .top = n > 0 && n_top > 0 ? top : NULL,
	                                            .n_top = n > 0 ? n_top : 0});
	answer->n_tokens = 0;
	hth_buf_finish(&store);
	answer->n_rows -= n;
	if (n > 0)
		memmove(answer->rows, answer->rows + n, answer->n_rows * sizeof *answer->rows);
}

/* Longest prefix of s of at most max bytes that ends between characters. */
static size_t cut(const char *s, size_t len, size_t max)
{
	if (len <= max)
		return len;
	return max - hth_utf8_incomplete_suffix(s, max);
}

void hth_answer_split(const char *text, size_t len, hth_answer_fn fn, void *ctx)
{
	while (len > 0) {
		size_t n = cut(text, len, HTH_PIECE_TEXT_MAX);
		fn(ctx, &(hth_answer_piece){.text = text, .len = n});
		text += n;
		len -= n;
	}
}

/* Gives out the first len bytes of what is held, and the rows of tokens that began in them. */
static void give(hth_answer *answer, size_t len, bool all_rows)
{
	const char *text = answer->held.data != NULL ? answer->held.data : "";
	uint64_t end = answer->given + len;
	size_t rows = 0;
	while (rows < answer->n_rows && (all_rows || answer->rows[rows].end <= end || (len > 0 && answer->rows[rows].begin < end)))
		rows++;
	if (len == 0 && rows == 0)
		return;
	size_t at = answer->skip > answer->given ? (size_t)HTH_MIN((uint64_t)len, answer->skip - answer->given) : 0;
	while (at < len || rows > 0) {
		size_t n = cut(text + at, len - at, HTH_PIECE_TEXT_MAX), r = HTH_MIN(rows, (size_t)ROWS_PER_PIECE);
		give_rows(answer, text + at, n, r);
		at += n;
		rows -= r;
	}
	answer->given = end;
	if (len > 0)
		hth_buf_consume(&answer->held, len);
}

/* The first place where any stop string stands, or SIZE_MAX; and how many bytes at the end may still become one. */
static size_t find_stop(const hth_answer *answer, int *ret_which, size_t *ret_maybe)
{
	const char *text = answer->held.data;
	size_t len = answer->held.len, first = SIZE_MAX, maybe = 0;
	*ret_which = -1;
	for (size_t i = 0; i < answer->n_stop; i++) {
		const char *stop = answer->stop[i];
		size_t n = strlen(stop);
		const char *at = len >= n && n > 0 ? memmem(text, len, stop, n) : NULL;
		if (at != NULL && (size_t)(at - text) < first) {
			first = (size_t)(at - text);
			*ret_which = (int)i;
		}
		for (size_t k = HTH_MIN(len, n > 0 ? n - 1 : 0); k > maybe; k--)
			if (memcmp(text + len - k, stop, k) == 0)
				maybe = k;
	}
	*ret_maybe = maybe;
	return first;
}

static int give_what_is_safe(hth_answer *answer)
{
	int which = -1;
	size_t maybe = 0;
	size_t stop_at = answer->held.len > 0 ? find_stop(answer, &which, &maybe) : SIZE_MAX;
	if (stop_at != SIZE_MAX) {
		/* Rows of tokens that lie wholly in the stop string or behind it are nobody's business. */
		size_t keep = 0;
		while (keep < answer->n_rows && answer->rows[keep].begin < answer->given + stop_at)
			keep++;
		answer->n_rows = keep;
		give(answer, stop_at, true);
		return which;
	}
	give(answer, answer->held.len - maybe, false);
	return -1;
}

static void take(hth_answer *answer, int32_t token)
{
	/* An end that was not taken for one (ignore_eos) has no text, whatever is shown of other special tokens. */
	bool has_text = !answer->detokenizer.show_special || !hth_tokenizer_is_end(answer->tokenizer, token);
	if (has_text && !hth_detokenizer_push(&answer->detokenizer, token, &answer->held))
		answer->held.failed = false; /* no memory for one token's text: the text has a gap, the answer goes on */
}

/* Tokens whose text is still held, or that have none. */
static void give_tokens(hth_answer *answer)
{
	if (answer->n_tokens > 0)
		give_rows(answer, "", 0, 0);
	while (answer->of_prompt && answer->n_rows > 0)
		give_rows(answer, "", 0, HTH_MIN(answer->n_rows, (size_t)ROWS_PER_PIECE));
}

int hth_answer_replay(hth_answer *answer, int32_t token)
{
	take(answer, token);
	return give_what_is_safe(answer);
}

int hth_answer_push(hth_answer *answer, int32_t token, float logprob, const hth_logprob *top)
{
	uint64_t begin = answer->given + answer->held.len;
	answer->n_tokens += !answer->of_prompt;
	answer->id = token;
	take(answer, token);
	if (answer->with_logprobs && answer->n_rows < ROWS_MAX) {
		hth_answer_row *row = &answer->rows[answer->n_rows++];
		*row = (hth_answer_row){.token = token, .logprob = logprob, .begin = begin, .end = answer->given + answer->held.len};
		if (answer->n_top > 0)
			memcpy(row->top, top, answer->n_top * sizeof *top);
	}
	int stop = give_what_is_safe(answer);
	if (answer->with_ids)
		give_tokens(answer);
	return stop;
}

int hth_answer_flush(hth_answer *answer)
{
	if (!hth_detokenizer_flush(&answer->detokenizer, &answer->held))
		answer->held.failed = false;
	int which = give_what_is_safe(answer);
	if (which >= 0)
		return which;
	give(answer, answer->held.len, true);
	give_tokens(answer);
	return -1;
}

void hth_answer_text(hth_answer *answer, const char *text, size_t len) { hth_answer_split(text, len, answer->fn, answer->ctx); }
