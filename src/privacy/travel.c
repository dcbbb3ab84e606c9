/* travel.c - the bytes of a request for another home; see travel.h. Each put and its get stand together. Pure. */
#include "privacy/travel.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "seal/identity.h"

enum { FORMAT = 1, GRAMMAR_MAX = 256 << 10 };
enum { ADD_SPECIAL = 1, PARSE_SPECIAL = 2, IGNORE_EOS = 4, SEED_GIVEN = 8, SPECIAL_TEXT = 16, ALL_FLAGS = 31 };

hth_status hth_travel_check(const hth_request *request, hth_error *err)
{
	const hth_request_input *in = &request->input;
	const char *what = NULL;
	if (request->kind != HTH_CHAT && request->kind != HTH_COMPLETION)
		what = "no answer of a model";
	else if (in->n_tokens > 0)
		what = "a prompt of token numbers";
	else if (in->continue_last)
		what = "an answer whose beginning is given";
	else if (in->echo)
		what = "an echo of the prompt";
	else if (request->params.top_logprobs >= 0)
		what = "logprobs";
	else if (request->params.sampling.mirostat != 0)
		what = "mirostat, which cannot go on from an answer's tokens";
	else if (in->n_resume > 0 || in->weigh)
		what = "a part of an answer";
	else if (in->messages_json != NULL && (strstr(in->messages_json, "\"image_url\"") != NULL ||
	                                       strstr(in->messages_json, "\"images\"") != NULL ||
	                                       strstr(in->messages_json, "\"input_audio\"") != NULL))
		what = "a picture or sound";
	return what == NULL ? HTH_OK : hth_fail(err, HTH_UNSUPPORTED, "request %s stays home: %s", request->id, what);
}

/* ---- fields ---- */

static void put_float(hth_buf *out, float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	hth_canon_put_u32(out, bits);
}

static float get_float(hth_canon_reader *r)
{
	uint32_t bits = hth_canon_get_u32(r);
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static void put_text(hth_buf *out, const char *text)
{
	hth_canon_put_bool(out, text != NULL);
	if (text != NULL)
		hth_canon_put_blob(out, text, strlen(text));
}

/* UTF-8 without NUL, ended by one; NULL: there is none, or the reader has failed. */
static char *get_text(hth_canon_reader *r, size_t max)
{
	if (!hth_canon_get_bool(r))
		return NULL;
	size_t len;
	const unsigned char *bytes = hth_canon_get_blob(r, max, &len);
	if (r->failed || (len > 0 && (memchr(bytes, '\0', len) != NULL || hth_utf8_valid_prefix((const char *)bytes, len) != len))) {
		r->failed = true;
		return NULL;
	}
	char *text = malloc(len + 1);
	if (text == NULL) {
		r->failed = true;
		return NULL;
	}
	if (len > 0)
		memcpy(text, bytes, len);
	text[len] = '\0';
	return text;
}

/* A prompt that no template makes: any bytes. */
static void put_prompt(hth_buf *out, const hth_request_input *in)
{
	hth_canon_put_bool(out, in->text != NULL);
	if (in->text != NULL)
		hth_canon_put_blob(out, in->text, in->text_len);
}

static void get_prompt(hth_canon_reader *r, hth_request_input *in)
{
	if (!hth_canon_get_bool(r))
		return;
	size_t len;
	const unsigned char *bytes = hth_canon_get_blob(r, HTH_TRAVEL_MAX, &len);
	in->text = r->failed ? NULL : malloc(len + 1);
	if (in->text == NULL) {
		r->failed = true;
		return;
	}
	if (len > 0)
		memcpy(in->text, bytes, len);
	in->text[len] = '\0';
	in->text_len = len;
}

static void put_sampling(hth_buf *out, const hth_sampling *s)
{
	put_float(out, s->temperature);
	hth_canon_put_u32(out, (uint32_t)s->top_k);
	put_float(out, s->top_p);
	put_float(out, s->min_p);
	put_float(out, s->typical_p);
	put_float(out, s->repeat_penalty);
	hth_canon_put_u32(out, (uint32_t)s->repeat_last_n);
	put_float(out, s->presence_penalty);
	put_float(out, s->frequency_penalty);
	hth_canon_put_u16(out, (uint16_t)s->n_logit_bias);
	for (size_t i = 0; i < s->n_logit_bias; i++) {
		hth_canon_put_u32(out, (uint32_t)s->logit_bias[i].token);
		put_float(out, s->logit_bias[i].bias);
	}
}

static void get_sampling(hth_canon_reader *r, hth_request_params *params)
{
	hth_sampling *s = &params->sampling;
	s->temperature = get_float(r);
	s->top_k = (int32_t)hth_canon_get_u32(r);
	s->top_p = get_float(r);
	s->min_p = get_float(r);
	s->typical_p = get_float(r);
	s->repeat_penalty = get_float(r);
	s->repeat_last_n = (int32_t)hth_canon_get_u32(r);
	s->presence_penalty = get_float(r);
	s->frequency_penalty = get_float(r);
	size_t n = hth_canon_get_u16(r);
	if (n > HTH_LOGIT_BIAS_MAX || n * 8 > (size_t)(r->end - r->at))
		r->failed = true;
	if (n == 0 || r->failed)
		return;
	params->bias = hth_alloc_array(n, sizeof *params->bias);
	if (params->bias == NULL) {
		r->failed = true;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		params->bias[i].token = (int32_t)hth_canon_get_u32(r);
		params->bias[i].bias = get_float(r);
	}
	s->logit_bias = params->bias;
	s->n_logit_bias = n;
}

static void put_params(hth_buf *out, const hth_request_params *params)
{
	put_sampling(out, &params->sampling);
	hth_canon_put_u64(out, params->sampling.seed);
	hth_canon_put_u64(out, (uint64_t)params->max_tokens);
	hth_canon_put_u8(out, (uint8_t)params->n_stop);
	for (size_t i = 0; i < params->n_stop; i++)
		hth_canon_put_blob(out, params->stop[i], strlen(params->stop[i]));
	put_text(out, params->grammar);
	put_text(out, params->grammar_trigger);
	put_text(out, params->grammar_trigger_if);
}

static void get_params(hth_canon_reader *r, hth_request_params *params)
{
	get_sampling(r, params);
	params->sampling.seed = hth_canon_get_u64(r);
	params->max_tokens = (int64_t)hth_canon_get_u64(r);
	size_t n_stop = hth_canon_get_u8(r);
	if (n_stop > HTH_STOP_MAX || params->max_tokens < -1 || params->max_tokens > INT32_MAX)
		r->failed = true;
	for (size_t i = 0; i < n_stop && !r->failed; i++) {
		size_t len;
		const unsigned char *s = hth_canon_get_blob(r, HTH_STOP_BYTES_MAX, &len);
		if (r->failed || len == 0 || memchr(s, '\0', len) != NULL || hth_utf8_valid_prefix((const char *)s, len) != len ||
		    (params->stop[i] = strndup((const char *)s, len)) == NULL)
			r->failed = true;
		else
			params->n_stop++;
	}
	params->grammar = get_text(r, GRAMMAR_MAX);
	params->grammar_trigger = get_text(r, HTH_TRIGGER_BYTES_MAX);
	params->grammar_trigger_if = get_text(r, HTH_TRIGGER_BYTES_MAX);
}

/* ---- the whole ---- */

void hth_travel_put(const hth_request *request, hth_buf *out)
{
	const hth_request_input *in = &request->input;
	const hth_request_params *params = &request->params;
	hth_canon_put_u8(out, FORMAT);
	hth_canon_put_u8(out, (uint8_t)request->kind);
	hth_canon_put_u8(out, (uint8_t)((in->add_special ? ADD_SPECIAL : 0) | (in->parse_special ? PARSE_SPECIAL : 0) | (params->ignore_eos
	    ? IGNORE_EOS : 0) |
	                                (params->sampling.seed_given ? SEED_GIVEN : 0) | (params->special_text ? SPECIAL_TEXT : 0)));
	put_text(out, in->messages_json);
	put_text(out, in->tools_json);
	put_text(out, in->template_json);
	put_text(out, in->settings_json);
	put_prompt(out, in);
	put_params(out, params);
}

hth_status hth_travel_get(const void *bytes, size_t len, hth_request **ret_request, hth_error *err)
{
	hth_canon_reader r = hth_canon_read(bytes, len);
	unsigned format = hth_canon_get_u8(&r), kind = hth_canon_get_u8(&r), flags = hth_canon_get_u8(&r);
	if (len > HTH_TRAVEL_MAX || format != FORMAT || (kind != HTH_CHAT && kind != HTH_COMPLETION) || (flags & ~(unsigned)ALL_FLAGS) != 0)
		return hth_fail(err, HTH_BAD_FORMAT, "a neighbour's request is of a kind or format that is not known here");
	hth_request *request = NULL;
	HTH_TRY(hth_request_create(&request, (hth_request_kind)kind, err));
	hth_request_input *in = &request->input;
	in->add_special = flags & ADD_SPECIAL;
	in->parse_special = flags & PARSE_SPECIAL;
	in->messages_json = get_text(&r, HTH_TRAVEL_MAX);
	in->tools_json = get_text(&r, HTH_TRAVEL_MAX);
	in->template_json = get_text(&r, HTH_TRAVEL_MAX);
	in->settings_json = get_text(&r, HTH_TRAVEL_MAX);
	get_prompt(&r, in);
	get_params(&r, &request->params);
	request->params.ignore_eos = flags & IGNORE_EOS;
	request->params.special_text = flags & SPECIAL_TEXT;
	request->params.sampling.seed_given = flags & SEED_GIVEN;
	bool has_prompt = kind == HTH_CHAT ? in->messages_json != NULL && in->text == NULL : in->text != NULL && in->messages_json == NULL;
	hth_status status = hth_canon_end(&r) && has_prompt ? hth_sampling_check(&request->params.sampling, err)
	                                                    : hth_fail(err, HTH_BAD_FORMAT,
	                                                               "a neighbour's request does not follow the format");
	if (status == HTH_OK)
		*ret_request = request;
	else
		hth_request_unref(request);
	return status;
}

uint64_t hth_travel_sampler(const hth_request *request)
{
	unsigned char hash[HTH_HASH_BYTES];
	hth_buf bytes = HTH_BUF_INIT(64 << 10);
	put_sampling(&bytes, &request->params.sampling);
	hth_seal_hash("sampler", bytes.data, bytes.len, hash);
	hth_buf_finish(&bytes);
	uint64_t number;
	memcpy(&number, hash, sizeof number);
	return number;
}
