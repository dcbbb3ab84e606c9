/* answer-reader.c - see answer-reader.h. Owns a parser and the rows of log probabilities whose text has not come out yet. Refuses nothing:
 * what makes no sense as a call is content. Thread: the loop's. */
#include "api/answer-reader.h"

#include "api/binding.h"
#include "api/toolcalls.h"

enum { ROW_BYTES_MAX = 256 << 20 };

/* One token's rows, waiting: [begin, end) is its text in the bytes of the answer. */
typedef struct span {
	uint64_t begin, end;
} span;

struct hth_answer_reader {
	const hth_request *request;
	size_t i;
	hth_toolcalls_style style;
	hth_answer_reader_fn fn;
	void *ctx;
	json_t *tools;
	hth_toolcalls *parser; /* from the first piece on */
	uint64_t fed;          /* bytes of text so far */
	bool content, other;   /* which events the last piece brought */
	uint32_t reasoning_tokens;
	/* Rows that wait: spans, tokens and n_top rivals of each; their bytes are offsets into `bytes` until they are given out. */
	span *spans;
	hth_token_logprob *rows, *top;
	size_t n_rows, cap_rows, n_top;
	hth_buf bytes;
};

hth_status hth_answer_reader_create(hth_answer_reader **ret_reader, hth_request *request, size_t i, const hth_runner_info *info,
                                    hth_binding_cache *cache, hth_answer_reader_fn fn, void *ctx, hth_error *err)
{
	HTH_AUTO_JSON json_t *settings = NULL;
	/* A made model may have a template of its own. */
	if (request->input.settings_json != NULL)
		HTH_TRY(hth_json_parse(&settings, request->input.settings_json, strlen(request->input.settings_json), err));
	const char *source = json_string_value(json_object_get(settings, "template"));
	if (source == NULL)
		source = info->chat_template;
	hth_toolcalls_style style = hth_toolcalls_detect(source, strlen(source));
	HTH_TRY(hth_binding_apply(request, &style, source, cache, err));
	request->params.special_text = style.format != HTH_TOOLCALLS_GENERIC || info->thinking || request->input.tools_json != NULL;
	hth_answer_reader *r = calloc(1, sizeof *r);
	if (r == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read an answer");
	*r = (hth_answer_reader){.request = request, .i = i, .style = style, .fn = fn, .ctx = ctx, .bytes = HTH_BUF_INIT(ROW_BYTES_MAX)};
	*ret_reader = r;
	return HTH_OK;
}

void hth_answer_reader_destroy(hth_answer_reader *r)
{
	if (r == NULL)
		return;
	hth_toolcalls_destroy(r->parser);
	json_decref(r->tools);
	if (r->bytes.data != NULL)
		explicit_bzero(r->bytes.data, r->bytes.cap);
	hth_buf_finish(&r->bytes);
	free(r->spans);
	free(r->rows);
	free(r->top);
	free(r);
}

/* --- rows --- */

static bool make_room(hth_answer_reader *r, size_t n)
{
	if (r->n_rows + n <= r->cap_rows)
		return true;
	size_t cap = HTH_MAX(r->cap_rows * 2, r->n_rows + n);
	span *spans = realloc(r->spans, cap * sizeof *spans);
	if (spans != NULL)
		r->spans = spans;
	hth_token_logprob *rows = realloc(r->rows, cap * sizeof *rows);
	if (rows != NULL)
		r->rows = rows;
	hth_token_logprob *top = realloc(r->top, HTH_MAX(cap * r->n_top, (size_t)1) * sizeof *top);
	if (top != NULL)
		r->top = top;
	if (spans == NULL || rows == NULL || top == NULL)
		return false;
	r->cap_rows = cap;
	return true;
}

static hth_token_logprob keep_bytes(hth_answer_reader *r, const hth_token_logprob *row)
{
	hth_token_logprob copy = *row;
	copy.bytes = (const char *)(uintptr_t)r->bytes.len;
	hth_buf_append(&r->bytes, row->bytes, row->n_bytes);
	return copy;
}

static bool keep_rows(hth_answer_reader *r, const hth_answer_piece *piece)
{
	size_t n_top = piece->top != NULL ? piece->n_top : 0;
	if (r->n_rows == 0 && n_top != r->n_top) {
		r->n_top = n_top;
		r->cap_rows = 0; /* the room for rivals depends on it */
	}
	if (n_top != r->n_top || !make_room(r, piece->n_logprobs))
		return false;
	uint64_t at = r->fed, end = r->fed + piece->len;
	for (size_t k = 0; k < piece->n_logprobs; k++) {
		/* A token's bytes and its text differ where SPM has a space in front or a character spans tokens: the last token takes the
		 * rest. */
		uint64_t to = k + 1 == piece->n_logprobs ? end : HTH_MIN(end, at + piece->logprobs[k].n_bytes);
		r->spans[r->n_rows] = (span){at, to};
		r->rows[r->n_rows] = keep_bytes(r, &piece->logprobs[k]);
		for (size_t t = 0; t < n_top; t++)
			r->top[r->n_rows * n_top + t] = keep_bytes(r, &piece->top[k * n_top + t]);
		r->n_rows++;
		at = to;
	}
	return !r->bytes.failed;
}

static void drop_rows(hth_answer_reader *r, size_t n)
{
	r->n_rows -= n;
	memmove(r->spans, r->spans + n, r->n_rows * sizeof *r->spans);
	memmove(r->rows, r->rows + n, r->n_rows * sizeof *r->rows);
	memmove(r->top, r->top + n * r->n_top, r->n_rows * r->n_top * sizeof *r->top);
	if (r->n_rows == 0)
		hth_buf_clear(&r->bytes);
}

static void restore_bytes(const hth_answer_reader *r, hth_token_logprob *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rows[i].bytes = (r->bytes.data != NULL ? r->bytes.data : "") + (uintptr_t)rows[i].bytes;
}

/* --- events --- */

/* Content [at, at + len) with the rows of its tokens; rows before it were of marks. */
static void give_content(hth_answer_reader *r, const char *text, size_t len, uint64_t at)
{
	r->content = true;
	size_t gone = 0, n = 0;
	while (gone < r->n_rows && r->spans[gone].end <= at && r->spans[gone].begin < at)
		gone++;
	if (gone > 0)
		drop_rows(r, gone);
	while (n < r->n_rows && (r->spans[n].begin < at + len || (len == 0 && r->spans[n].end <= at)))
		n++;
	hth_answer_piece piece = {.text = text, .len = len, .logprobs = r->rows, .n_logprobs = n, .top = r->n_top > 0 ? r->top : NULL,
	                          .n_top = r->n_top};
	if (n > 0) {
		restore_bytes(r, r->rows, n);
		restore_bytes(r, r->top, n * r->n_top);
	}
	r->fn(r->ctx, r->i, &(hth_api_event){.kind = HTH_EVENT_CONTENT, .text = text, .len = len, .piece = n > 0 ? &piece : NULL});
	if (n > 0)
		drop_rows(r, n);
}

static void on_content(void *ctx, const char *text, size_t len, uint64_t at) { give_content(ctx, text, len, at); }

static void on_reasoning(void *ctx, const char *text, size_t len)
{
	hth_answer_reader *r = ctx;
	r->other = true;
	r->fn(r->ctx, r->i, &(hth_api_event){.kind = HTH_EVENT_REASONING, .text = text, .len = len});
}

static void on_call(void *ctx, size_t index, const char *id, const char *name)
{
	hth_answer_reader *r = ctx;
	r->other = true;
	r->fn(r->ctx, r->i, &(hth_api_event){.kind = HTH_EVENT_TOOL_CALL, .text = "", .tool_index = index, .tool_id = id,
	                                     .tool_name = name});
}

static void on_arguments(void *ctx, size_t index, const char *text, size_t len)
{
	hth_answer_reader *r = ctx;
	r->other = true;
	r->fn(r->ctx, r->i, &(hth_api_event){.kind = HTH_EVENT_TOOL_ARGUMENTS, .text = text, .len = len, .tool_index = index});
}

/* --- pieces --- */

static hth_status begin(hth_answer_reader *r, hth_error *err)
{
	const hth_request *request = r->request;
	const char *tools = request->input.tools_json;
	if (tools != NULL)
		HTH_TRY(hth_json_parse(&r->tools, tools, strlen(tools), err));
	const hth_toolcalls_options options = {
	    .calls = tools != NULL,
	    .bound = tools != NULL && request->params.grammar_trigger != NULL && request->params.grammar_trigger_if == NULL,
	    .starts_in_reasoning = hth_toolcalls_prompt_thinks(&r->style, request->prompt_tail, strlen(request->prompt_tail)),
	    .tools = r->tools,
	    /* "req-" and random digits */
	    .seed = strtoull(request->id + 4, NULL, 16)};
	const hth_toolcalls_sink sink = {r, on_content, on_reasoning, on_call, on_arguments};
	return hth_toolcalls_create(&r->parser, &r->style, &options, &sink, err);
}

hth_status hth_answer_reader_piece(hth_answer_reader *r, const hth_answer_piece *piece, hth_error *err)
{
	if (r->parser == NULL)
		HTH_TRY(begin(r, err));
	r->content = r->other = false;
	if (piece->n_logprobs > 0 && !keep_rows(r, piece))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for log probabilities");
	r->fed += piece->len;
	if (!hth_toolcalls_feed(r->parser, piece->text, piece->len))
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read an answer");
	if (r->other && !r->content) {
		r->reasoning_tokens += hth_toolcalls_count(r->parser) == 0 ? piece->n_tokens : 0;
		if (r->n_rows > 0)
			drop_rows(r, r->n_rows); /* they were of reasoning, a call, or their marks */
	}
	return HTH_OK;
}

void hth_answer_reader_end(hth_answer_reader *r, bool complete)
{
	if (r->parser == NULL)
		return;
	r->content = r->other = false;
	hth_toolcalls_end(r->parser, complete);
	/* Tokens without text at the end of content are the client's too. */
	size_t n = 0;
	while (n < r->n_rows && r->spans[n].end > r->spans[n].begin)
		n++;
	if (n < r->n_rows && !r->other) {
		drop_rows(r, n);
		give_content(r, "", 0, r->fed);
	}
}

uint32_t hth_answer_reader_reasoning_tokens(const hth_answer_reader *r) { return r->reasoning_tokens; }
