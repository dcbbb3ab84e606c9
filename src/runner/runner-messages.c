/* runner-messages.c - the payloads, field by field: each put and its get stand together so that one is read against the other.
 * Owns nothing but what a get hands out. Refuses everything that is not exactly the message. Any thread. */
#include "runner/runner-messages.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "engine/grammar/grammar.h"

#include <math.h>

static hth_status bad(const hth_frame *frame, hth_error *err)
{
	return hth_fail(err, HTH_BAD_FORMAT, "a %s frame whose %zu bytes make no sense", hth_frame_type_name(frame->type),
	                frame->len);
}

/* Copies text for people into a fixed field: cut between characters, control characters and bad bytes become '?'. What
 * comes from a model file must not reach a terminal raw. */
static void copy_clean(char *out, size_t out_len, const char *s, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len;) {
		uint32_t cp;
		size_t l = hth_utf8_decode_lossy(s + i, len - i, &cp);
		char c[4] = "?";
		size_t cl = cp < 0x20 || (cp >= 0x7F && cp < 0xA0) ? 1 : hth_utf8_encode(cp, c);
		if (n + cl >= out_len)
			break;
		memcpy(out + n, c, cl);
		n += cl;
		i += l;
	}
	out[n] = '\0';
}

static void get_clean(hth_frame_fields *f, char *out, size_t out_len)
{
	size_t len;
	const char *s = hth_frame_get_string(f, HTH_ERROR_MAX, &len);
	copy_clean(out, out_len, s, len);
}

static void put_cstring(hth_frame_writer *w, const char *s) { hth_frame_put_string(w, s, strlen(s)); }

/* A string that may be absent: a byte that says so before it. */
static void put_optional(hth_frame_writer *w, const char *s)
{
	hth_frame_put_u8(w, s != NULL);
	if (s != NULL)
		put_cstring(w, s);
}

static char *get_optional(hth_frame_fields *f, size_t max)
{
	uint8_t there = hth_frame_get_u8(f);
	if (there > 1)
		f->failed = true;
	if (there != 1)
		return NULL;
	size_t len;
	const char *s = hth_frame_get_string(f, max, &len);
	char *copy = f->failed || memchr(s, '\0', len) != NULL ? NULL : malloc(len + 1);
	if (copy == NULL) {
		f->failed = true;
		return NULL;
	}
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

/* ---- submit ---- */

enum { ASK_ADD_SPECIAL = 1, ASK_PARSE_SPECIAL = 2, ASK_WITH_PIECES = 4, ASK_CONTINUE_LAST = 8, ASK_ECHO = 16,
       ASK_IGNORE_EOS = 32, ASK_SEED_GIVEN = 64, ASK_SPECIAL_TEXT = 128 };
/* The second byte of them. */
enum { ASK_WEIGH = 1, ASK_BACKGROUND = 2, ASK_WITH_IDS = 4, ASK_MORE = 7 };

void hth_ask_finish(hth_ask *ask)
{
	if (ask == NULL)
		return;
	hth_request_input_finish(&ask->input);
	hth_request_params_finish(&ask->params);
	*ask = (hth_ask){0};
}

bool hth_message_put_submit(hth_buf *out, uint32_t id, hth_request_kind kind, const hth_request_input *input,
                            const hth_request_params *params)
{
	const hth_sampling *s = &params->sampling;
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_SUBMIT, id);
	hth_frame_put_u8(&w, (uint8_t)kind);
	hth_frame_put_u8(&w, (uint8_t)((input->add_special ? ASK_ADD_SPECIAL : 0) | (input->parse_special ? ASK_PARSE_SPECIAL : 0) |
	                               (input->with_pieces ? ASK_WITH_PIECES : 0) | (input->continue_last ? ASK_CONTINUE_LAST : 0) |
	                               (input->echo ? ASK_ECHO : 0) | (params->ignore_eos ? ASK_IGNORE_EOS : 0) |
	                               (s->seed_given ? ASK_SEED_GIVEN : 0) | (params->special_text ? ASK_SPECIAL_TEXT : 0)));
	hth_frame_put_f32(&w, s->temperature);
	hth_frame_put_u32(&w, (uint32_t)s->top_k);
	hth_frame_put_f32(&w, s->top_p);
	hth_frame_put_f32(&w, s->min_p);
	hth_frame_put_f32(&w, s->typical_p);
	hth_frame_put_f32(&w, s->repeat_penalty);
	hth_frame_put_u32(&w, (uint32_t)s->repeat_last_n);
	hth_frame_put_f32(&w, s->presence_penalty);
	hth_frame_put_f32(&w, s->frequency_penalty);
	hth_frame_put_u32(&w, (uint32_t)s->mirostat);
	hth_frame_put_f32(&w, s->mirostat_tau);
	hth_frame_put_f32(&w, s->mirostat_eta);
	hth_frame_put_u64(&w, s->seed);
	hth_frame_put_u32(&w, (uint32_t)s->n_logit_bias);
	for (size_t i = 0; i < s->n_logit_bias; i++) {
		hth_frame_put_u32(&w, (uint32_t)s->logit_bias[i].token);
		hth_frame_put_f32(&w, s->logit_bias[i].bias);
	}
	hth_frame_put_u64(&w, (uint64_t)params->max_tokens);
	hth_frame_put_u32(&w, (uint32_t)params->top_logprobs);
	hth_frame_put_u32(&w, (uint32_t)params->n_stop);
	for (size_t i = 0; i < params->n_stop; i++)
		put_cstring(&w, params->stop[i]);
	put_optional(&w, params->grammar);
	put_optional(&w, params->grammar_trigger);
	put_optional(&w, input->messages_json);
	put_optional(&w, input->tools_json);
	put_optional(&w, input->template_json);
	put_optional(&w, input->settings_json);
	hth_frame_put_u8(&w, input->text != NULL);
	if (input->text != NULL)
		hth_frame_put_string(&w, input->text, input->text_len);
	hth_frame_put_array32(&w, input->tokens, input->n_tokens);
	put_optional(&w, params->grammar_trigger_if);
	hth_frame_put_u8(&w, (uint8_t)((input->weigh ? ASK_WEIGH : 0) | (input->background ? ASK_BACKGROUND : 0) | (input->with_ids
	    ? ASK_WITH_IDS : 0)));
	hth_frame_put_u64(&w, input->resume_bytes);
	hth_frame_put_array32(&w, input->resume, input->n_resume);
	return hth_frame_end(&w);
}

static void get_sampling(hth_frame_fields *f, hth_ask *ask)
{
	hth_sampling *s = &ask->params.sampling;
	s->temperature = hth_frame_get_f32(f);
	s->top_k = (int32_t)hth_frame_get_u32(f);
	s->top_p = hth_frame_get_f32(f);
	s->min_p = hth_frame_get_f32(f);
	s->typical_p = hth_frame_get_f32(f);
	s->repeat_penalty = hth_frame_get_f32(f);
	s->repeat_last_n = (int32_t)hth_frame_get_u32(f);
	s->presence_penalty = hth_frame_get_f32(f);
	s->frequency_penalty = hth_frame_get_f32(f);
	s->mirostat = (int32_t)hth_frame_get_u32(f);
	s->mirostat_tau = hth_frame_get_f32(f);
	s->mirostat_eta = hth_frame_get_f32(f);
	s->seed = hth_frame_get_u64(f);
	size_t n = hth_frame_get_u32(f);
	if (n > HTH_LOGIT_BIAS_MAX)
		f->failed = true;
	if (n == 0 || f->failed)
		return;
	ask->params.bias = hth_alloc_array(n, sizeof *ask->params.bias);
	if (ask->params.bias == NULL) {
		f->failed = true;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		ask->params.bias[i].token = (int32_t)hth_frame_get_u32(f);
		ask->params.bias[i].bias = hth_frame_get_f32(f);
	}
	s->logit_bias = ask->params.bias;
	s->n_logit_bias = n;
}

/* Caller frees; NULL: none, or failed. */
static int32_t *get_ids(hth_frame_fields *f, size_t *ret_n)
{
	size_t n;
	const unsigned char *bytes = hth_frame_get_array32(f, HTH_FRAME_SUBMIT_MAX / 4, &n);
	*ret_n = 0;
	if (n == 0 || f->failed)
		return NULL;
	int32_t *ids = hth_alloc_array(n, sizeof *ids);
	if (ids == NULL) {
		f->failed = true;
		return NULL;
	}
	memcpy(ids, bytes, n * sizeof *ids);
	*ret_n = n;
	return ids;
}

static void get_input(hth_frame_fields *f, hth_request_input *input)
{
	input->messages_json = get_optional(f, HTH_FRAME_SUBMIT_MAX);
	input->tools_json = get_optional(f, HTH_FRAME_SUBMIT_MAX);
	input->template_json = get_optional(f, HTH_FRAME_SUBMIT_MAX);
	input->settings_json = get_optional(f, HTH_FRAME_SUBMIT_MAX);
	uint8_t there = hth_frame_get_u8(f);
	if (there > 1)
		f->failed = true;
	size_t n;
	if (there == 1) {
		const char *text = hth_frame_get_string(f, HTH_FRAME_SUBMIT_MAX, &n);
		input->text = f->failed ? NULL : malloc(n + 1);
		if (input->text == NULL) {
			f->failed = true;
			return;
		}
		memcpy(input->text, text, n);
		input->text[n] = '\0';
		input->text_len = n;
	}
	input->tokens = get_ids(f, &input->n_tokens);
}

static void get_resume(hth_frame_fields *f, hth_request_input *input)
{
	uint8_t more = hth_frame_get_u8(f);
	if ((more & ~ASK_MORE) != 0)
		f->failed = true;
	input->weigh = more & ASK_WEIGH;
	input->background = more & ASK_BACKGROUND;
	input->with_ids = more & ASK_WITH_IDS;
	input->resume_bytes = hth_frame_get_u64(f);
	input->resume = get_ids(f, &input->n_resume);
}

hth_status hth_message_get_submit(const hth_frame *frame, hth_ask *ret_ask, hth_error *err)
{
	hth_ask ask = {0};
	hth_frame_fields f = hth_frame_read(frame);
	uint8_t kind = hth_frame_get_u8(&f), flags = hth_frame_get_u8(&f);
	if (kind > HTH_RENDER)
		f.failed = true;
	ask.kind = (hth_request_kind)kind;
	ask.input.add_special = flags & ASK_ADD_SPECIAL;
	ask.input.parse_special = flags & ASK_PARSE_SPECIAL;
	ask.input.with_pieces = flags & ASK_WITH_PIECES;
	ask.input.continue_last = flags & ASK_CONTINUE_LAST;
	ask.input.echo = flags & ASK_ECHO;
	ask.params.ignore_eos = flags & ASK_IGNORE_EOS;
	ask.params.special_text = flags & ASK_SPECIAL_TEXT;
	get_sampling(&f, &ask);
	ask.params.sampling.seed_given = flags & ASK_SEED_GIVEN;
	ask.params.max_tokens = (int64_t)hth_frame_get_u64(&f);
	ask.params.top_logprobs = (int32_t)hth_frame_get_u32(&f);
	if (ask.params.max_tokens < -1 || ask.params.top_logprobs < -1 || ask.params.top_logprobs > HTH_TOP_LOGPROBS_MAX)
		f.failed = true;
	size_t n_stop = hth_frame_get_u32(&f);
	if (n_stop > HTH_STOP_MAX)
		f.failed = true;
	for (size_t i = 0; i < n_stop && !f.failed; i++) {
		size_t len;
		const char *s = hth_frame_get_string(&f, HTH_STOP_BYTES_MAX, &len);
		if (len == 0 || memchr(s, '\0', len) != NULL || hth_utf8_valid_prefix(s, len) != len ||
		    (ask.params.stop[i] = strndup(s, len)) == NULL)
			f.failed = true;
		else
			ask.params.n_stop++;
	}
	ask.params.grammar = get_optional(&f, HTH_GRAMMAR_TEXT_MAX);
	ask.params.grammar_trigger = get_optional(&f, HTH_TRIGGER_BYTES_MAX);
	get_input(&f, &ask.input);
	ask.params.grammar_trigger_if = get_optional(&f, HTH_TRIGGER_BYTES_MAX);
	get_resume(&f, &ask.input);
	const char *const triggers[] = {ask.params.grammar_trigger, ask.params.grammar_trigger_if};
	for (size_t i = 0; i < HTH_COUNT(triggers); i++)
		if (triggers[i] != NULL && hth_utf8_valid_prefix(triggers[i], strlen(triggers[i])) != strlen(triggers[i]))
			f.failed = true;
	hth_status status = hth_frame_fields_end(&f) ? hth_sampling_check(&ask.params.sampling, err) : bad(frame, err);
	if (status != HTH_OK) {
		hth_ask_finish(&ask);
		return status;
	}
	*ret_ask = ask;
	return HTH_OK;
}

bool hth_message_put_empty(hth_buf *out, hth_frame_type type, uint32_t id)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, type, id);
	return hth_frame_end(&w);
}

/* ---- progress, ready ---- */

bool hth_message_put_progress(hth_buf *out, float fraction)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_PROGRESS, 0);
	hth_frame_put_f32(&w, fraction);
	return hth_frame_end(&w);
}

hth_status hth_message_get_progress(const hth_frame *frame, float *ret_fraction, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	float fraction = hth_frame_get_f32(&f);
	if (!hth_frame_fields_end(&f) || !(fraction >= 0 && fraction <= 1))
		return bad(frame, err);
	*ret_fraction = fraction;
	return HTH_OK;
}

enum { INFO_EMBEDDING = 1, INFO_TEMPLATE = 2, INFO_TOOLS = 4, INFO_THINKING = 8, INFO_FLAGS = 15 };

bool hth_message_put_ready(hth_buf *out, const hth_runner_info *info)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_READY, 0);
	put_cstring(&w, info->name);
	put_cstring(&w, info->architecture);
	put_cstring(&w, info->type);
	put_cstring(&w, info->license);
	put_cstring(&w, info->kernels);
	hth_frame_put_u64(&w, info->n_params);
	hth_frame_put_u64(&w, info->weight_bytes);
	hth_frame_put_u64(&w, info->plan_bytes);
	hth_frame_put_u32(&w, info->n_ctx);
	hth_frame_put_u32(&w, info->n_ctx_train);
	hth_frame_put_u32(&w, info->n_slots);
	hth_frame_put_u32(&w, info->n_embd);
	hth_frame_put_u32(&w, info->n_vocab);
	hth_frame_put_u32(&w, info->n_layer);
	hth_frame_put_u32(&w, (uint32_t)info->landlock_abi);
	put_cstring(&w, info->chat_template);
	hth_frame_put_u8(&w, (uint8_t)((info->embedding ? INFO_EMBEDDING : 0) | (info->has_template ? INFO_TEMPLATE : 0) |
	                               (info->tools ? INFO_TOOLS : 0) | (info->thinking ? INFO_THINKING : 0)));
	return hth_frame_end(&w);
}

hth_status hth_message_get_ready(const hth_frame *frame, hth_runner_info *ret_info, hth_error *err)
{
	hth_runner_info info = {0};
	hth_frame_fields f = hth_frame_read(frame);
	get_clean(&f, info.name, sizeof info.name);
	get_clean(&f, info.architecture, sizeof info.architecture);
	get_clean(&f, info.type, sizeof info.type);
	get_clean(&f, info.license, sizeof info.license);
	get_clean(&f, info.kernels, sizeof info.kernels);
	info.n_params = hth_frame_get_u64(&f);
	info.weight_bytes = hth_frame_get_u64(&f);
	info.plan_bytes = hth_frame_get_u64(&f);
	info.n_ctx = hth_frame_get_u32(&f);
	info.n_ctx_train = hth_frame_get_u32(&f);
	info.n_slots = hth_frame_get_u32(&f);
	info.n_embd = hth_frame_get_u32(&f);
	info.n_vocab = hth_frame_get_u32(&f);
	info.n_layer = hth_frame_get_u32(&f);
	uint32_t abi = hth_frame_get_u32(&f);
	size_t template_len;
	const char *chat_template = hth_frame_get_string(&f, sizeof ret_info->chat_template - 1, &template_len);
	uint8_t flags = hth_frame_get_u8(&f);
	info.landlock_abi = (int)abi;
	info.embedding = flags & INFO_EMBEDDING;
	info.has_template = flags & INFO_TEMPLATE;
	info.tools = flags & INFO_TOOLS;
	info.thinking = flags & INFO_THINKING;
	if (!hth_frame_fields_end(&f) || abi > 1000 || (flags & ~INFO_FLAGS) != 0 || info.n_slots == 0 || info.n_slots > 4096 ||
	    info.n_ctx == 0 || info.n_ctx > 1u << 28 || info.n_embd == 0 || info.n_embd > HTH_EMBEDDING_MAX || info.n_vocab == 0 ||
	    info.n_vocab > 1u << 24 || memchr(chat_template, '\0', template_len) != NULL ||
	    hth_utf8_valid_prefix(chat_template, template_len) != template_len)
		return bad(frame, err);
	memcpy(info.chat_template, chat_template, template_len);
	*ret_info = info;
	return HTH_OK;
}

/* ---- errors ---- */

bool hth_message_put_error(hth_buf *out, hth_frame_type type, uint32_t id, const hth_error *error)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, type, id);
	hth_frame_put_u8(&w, (uint8_t)error->status);
	put_cstring(&w, error->message);
	put_cstring(&w, error->param);
	return hth_frame_end(&w);
}

hth_status hth_message_get_error(const hth_frame *frame, hth_error *ret_error, hth_error *err)
{
	hth_error error = HTH_ERROR_INIT;
	hth_frame_fields f = hth_frame_read(frame);
	uint8_t status = hth_frame_get_u8(&f);
	get_clean(&f, error.message, sizeof error.message);
	get_clean(&f, error.param, sizeof error.param);
	if (!hth_frame_fields_end(&f) || status == HTH_OK || status >= HTH_STATUS_COUNT)
		return bad(frame, err);
	error.status = (hth_status)status;
	*ret_error = error;
	return HTH_OK;
}

/* ---- answers ---- */

bool hth_message_put_prompt(hth_buf *out, uint32_t id, const char *tail, uint32_t n_tokens)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_PROMPT, id);
	put_cstring(&w, tail);
	hth_frame_put_u32(&w, n_tokens);
	return hth_frame_end(&w);
}

hth_status hth_message_get_prompt(const hth_frame *frame, char ret_tail[HTH_PROMPT_TAIL_MAX], uint32_t *ret_n_tokens, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	size_t len;
	const char *tail = hth_frame_get_string(&f, HTH_PROMPT_TAIL_MAX - 1, &len);
	uint32_t n_tokens = hth_frame_get_u32(&f);
	if (!hth_frame_fields_end(&f) || memchr(tail, '\0', len) != NULL || hth_utf8_valid_prefix(tail, len) != len)
		return bad(frame, err);
	memcpy(ret_tail, tail, len);
	ret_tail[len] = '\0';
	*ret_n_tokens = n_tokens;
	return HTH_OK;
}

static void put_logprob(hth_frame_writer *w, const hth_token_logprob *row)
{
	hth_frame_put_u32(w, (uint32_t)row->token);
	hth_frame_put_f32(w, row->logprob);
	hth_frame_put_string(w, row->bytes, row->n_bytes);
}

bool hth_message_put_piece(hth_buf *out, uint32_t id, const hth_answer_piece *piece)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_PIECE, id);
	hth_frame_put_u32(&w, piece->n_tokens);
	hth_frame_put_string(&w, piece->text, piece->len);
	hth_frame_put_u32(&w, (uint32_t)piece->n_logprobs);
	hth_frame_put_u32(&w, (uint32_t)(piece->n_logprobs > 0 ? piece->n_top : 0));
	for (size_t i = 0; i < piece->n_logprobs; i++) {
		put_logprob(&w, &piece->logprobs[i]);
		for (size_t k = 0; k < piece->n_top; k++)
			put_logprob(&w, &piece->top[i * piece->n_top + k]);
	}
	hth_frame_put_array32(&w, piece->ids, piece->n_ids);
	hth_frame_put_u32(&w, (uint32_t)piece->n_evidence);
	for (size_t i = 0; i < piece->n_evidence; i++) {
		hth_frame_put_f32(&w, piece->evidence[i].miss);
		hth_frame_put_f32(&w, piece->evidence[i].logprob);
	}
	return hth_frame_end(&w);
}

static void get_logprob(hth_frame_fields *f, hth_token_logprob *row)
{
	row->token = (int32_t)hth_frame_get_u32(f);
	row->logprob = hth_frame_get_f32(f);
	row->bytes = hth_frame_get_string(f, HTH_PIECE_TEXT_MAX, &row->n_bytes);
	/* A token that the model rules out has minus infinity; a NaN or a probability over 1 is nobody's logprob. */
	if (!(row->logprob <= 1e-3f) || row->token < 0)
		f->failed = true;
}

static void get_ids_and_evidence(hth_frame_fields *f, hth_piece_storage *storage, hth_answer_piece *piece)
{
	const unsigned char *ids = hth_frame_get_array32(f, HTH_PIECE_TOKENS_MAX, &piece->n_ids);
	if (!f->failed && piece->n_ids > 0) {
		memcpy(storage->ids, ids, piece->n_ids * sizeof *storage->ids);
		piece->ids = storage->ids;
	}
	piece->n_evidence = hth_frame_get_u32(f);
	if (piece->n_evidence > HTH_PIECE_EVIDENCE_MAX)
		f->failed = true;
	for (size_t i = 0; i < piece->n_evidence && !f->failed; i++) {
		hth_token_evidence *e = &storage->evidence[i];
		e->miss = hth_frame_get_f32(f);
		e->logprob = hth_frame_get_f32(f);
		if (!(e->miss >= 0 && e->miss <= 1) || !(e->logprob <= 1e-3f))
			f->failed = true;
	}
	piece->evidence = piece->n_evidence > 0 ? storage->evidence : NULL;
	/* Tokens that are told are among those that were taken. */
	if (piece->n_ids > piece->n_tokens)
		f->failed = true;
}

hth_status hth_message_get_piece(const hth_frame *frame, hth_piece_storage *storage, hth_answer_piece *ret_piece, hth_error *err)
{
	hth_answer_piece piece = {0};
	hth_frame_fields f = hth_frame_read(frame);
	piece.n_tokens = hth_frame_get_u32(&f);
	piece.text = hth_frame_get_string(&f, HTH_PIECE_TEXT_MAX, &piece.len);
	size_t n = hth_frame_get_u32(&f), n_top = hth_frame_get_u32(&f);
	if (f.failed || n > HTH_PIECE_TOKENS_MAX || n_top > HTH_TOP_LOGPROBS_MAX || (n == 0 && n_top != 0) ||
	    hth_utf8_valid_prefix(piece.text, piece.len) != piece.len)
		return bad(frame, err);
	if (n > 0) {
		size_t need = n * (1 + n_top);
		if (need > (size_t)(f.end - f.at) / 12) /* the least that a row takes */
			return bad(frame, err);
		if (need > storage->cap) {
			hth_token_logprob *grown = realloc(storage->rows, need * sizeof *grown);
			if (grown == NULL)
				return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu logprobs", need);
			storage->rows = grown;
			storage->cap = need;
		}
		hth_token_logprob *rows = storage->rows, *top = rows + n;
		for (size_t i = 0; i < n; i++) {
			get_logprob(&f, &rows[i]);
			for (size_t k = 0; k < n_top; k++)
				get_logprob(&f, &top[i * n_top + k]);
		}
		piece.logprobs = rows;
		piece.n_logprobs = n;
		piece.top = n_top > 0 ? top : NULL;
		piece.n_top = n_top;
	}
	get_ids_and_evidence(&f, storage, &piece);
	if (!hth_frame_fields_end(&f))
		return bad(frame, err);
	*ret_piece = piece;
	return HTH_OK;
}

bool hth_message_put_tokens(hth_buf *out, uint32_t id, const int32_t *ids, size_t n, bool more)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_TOKENS, id);
	hth_frame_put_u8(&w, more);
	hth_frame_put_array32(&w, ids, n);
	return hth_frame_end(&w);
}

hth_status hth_message_get_tokens(const hth_frame *frame, const unsigned char **ret_ids, size_t *ret_n, bool *ret_more,
                                  hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	uint8_t more = hth_frame_get_u8(&f);
	size_t n;
	const unsigned char *ids = hth_frame_get_array32(&f, HTH_TOKENS_FRAME_MAX, &n);
	/* A part that says "more" brings something, or a stream of them would never end. */
	if (!hth_frame_fields_end(&f) || more > 1 || (more && n == 0))
		return bad(frame, err);
	*ret_ids = ids;
	*ret_n = n;
	*ret_more = more;
	return HTH_OK;
}

bool hth_message_put_embedding(hth_buf *out, uint32_t id, const float *values, size_t n)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_EMBEDDING, id);
	hth_frame_put_array32(&w, values, n);
	return hth_frame_end(&w);
}

hth_status hth_message_get_embedding(const hth_frame *frame, float **ret_values, size_t *ret_n, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	size_t n;
	const unsigned char *bytes = hth_frame_get_array32(&f, HTH_EMBEDDING_MAX, &n);
	if (!hth_frame_fields_end(&f) || n == 0)
		return bad(frame, err);
	HTH_AUTO_FREE float *values = hth_alloc_array(n, sizeof *values);
	if (values == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for an embedding of %zu numbers", n);
	memcpy(values, bytes, n * sizeof *values);
	for (size_t i = 0; i < n; i++)
		if (!isfinite(values[i]))
			return bad(frame, err);
	*ret_values = values;
	values = NULL;
	*ret_n = n;
	return HTH_OK;
}

bool hth_message_put_done(hth_buf *out, uint32_t id, const hth_done *done)
{
	hth_frame_writer w;
	hth_frame_begin(&w, out, HTH_FRAME_DONE, id);
	hth_frame_put_u8(&w, (uint8_t)done->reason);
	hth_frame_put_u32(&w, done->usage.prompt_tokens);
	hth_frame_put_u32(&w, done->usage.cached_tokens);
	hth_frame_put_u32(&w, done->usage.answer_tokens);
	hth_frame_put_u64(&w, done->usage.queue_ns);
	hth_frame_put_u64(&w, done->usage.prefill_ns);
	hth_frame_put_u64(&w, done->usage.decode_ns);
	hth_frame_put_u32(&w, (uint32_t)(done->stop + 1));
	return hth_frame_end(&w);
}

hth_status hth_message_get_done(const hth_frame *frame, hth_done *ret_done, hth_error *err)
{
	hth_done done = {0};
	hth_frame_fields f = hth_frame_read(frame);
	uint8_t reason = hth_frame_get_u8(&f);
	done.usage.prompt_tokens = hth_frame_get_u32(&f);
	done.usage.cached_tokens = hth_frame_get_u32(&f);
	done.usage.answer_tokens = hth_frame_get_u32(&f);
	done.usage.queue_ns = hth_frame_get_u64(&f);
	done.usage.prefill_ns = hth_frame_get_u64(&f);
	done.usage.decode_ns = hth_frame_get_u64(&f);
	uint32_t stop = hth_frame_get_u32(&f);
	if (!hth_frame_fields_end(&f) || reason > HTH_FINISH_LENGTH || stop > HTH_STOP_MAX ||
	    done.usage.cached_tokens > done.usage.prompt_tokens)
		return bad(frame, err);
	done.stop = (int)stop - 1;
	done.reason = (hth_finish_reason)reason;
	*ret_done = done;
	return HTH_OK;
}
