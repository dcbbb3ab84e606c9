/* openai-embeddings.c - POST /v1/embeddings.
 *
 * Format: OpenAI's API reference, "Embeddings". Each text is a request of its own. `dimensions` keeps the first so many numbers
 * and scales them back to unit length, which is what models trained for it (Matryoshka, arXiv 2205.13147) expect. base64 is the
 * array of little-endian 32-bit floats, which the official Node client asks for by default. Thread: the loop's.
 */
#include "api/wire.h"
#include "api/families.h"
#include "api/fields.h"

#include <math.h>

typedef struct embeddings_state {
	bool base64;
	int64_t dimensions; /* 0: all */
	struct vector {
		float *values;
		size_t n;
	} *vectors;
	size_t n;
} embeddings_state;

static void free_state(hth_api_job *job)
{
	embeddings_state *state = job->state;
	for (size_t i = 0; i < state->n; i++)
		free(state->vectors[i].values);
	free(state->vectors);
	free(state);
}

static hth_status add_input(hth_api_job *job, const json_t *input, const char *model, hth_error *err)
{
	hth_request *r;
	HTH_TRY(hth_api_add_request(job, HTH_EMBEDDING, model, &r, err));
	if (json_is_array(input))
		HTH_TRY(hth_fields_tokens(input, "input", &r->input, err));
	else
		HTH_TRY(hth_fields_text(input, "input", &r->input, err));
	if (r->input.text_len == 0 && r->input.n_tokens == 0)
		return hth_fail_param(err, HTH_INVALID, "input", "input[%zu] is empty", job->n_requests - 1);
	return HTH_OK;
}

static hth_status parse_embeddings(hth_api_job *job, const json_t *body, hth_error *err)
{
	embeddings_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	job->state = state;
	job->free_state = free_state;
	const char *model = NULL, *format = "float";
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	HTH_TRY(hth_json_get_string(body, "encoding_format", &format, err));
	HTH_TRY(hth_json_get_int(body, "dimensions", 1, 1 << 20, &state->dimensions, err));
	state->base64 = strcmp(format, "base64") == 0;
	if (!state->base64 && strcmp(format, "float") != 0)
		return hth_fail_param(err, HTH_INVALID, "encoding_format", "encoding_format must be float or base64");
	const json_t *input = json_object_get(body, "input");
	if (json_is_array(input) && json_array_size(input) == 0)
		return hth_fail_param(err, HTH_INVALID, "input", "input is an empty array");
	if (json_is_string(input) || (json_is_array(input) && json_is_integer(json_array_get(input, 0)))) {
		HTH_TRY(add_input(job, input, model, err));
	} else if (json_is_array(input)) {
		for (size_t i = 0; i < json_array_size(input); i++)
			HTH_TRY(add_input(job, json_array_get(input, i), model, err));
	} else {
		return hth_fail_param(err, HTH_INVALID, "input", "input is %s; it must be a string or an array of strings or token ids",
		                      hth_json_type_name(input));
	}
	int64_t keep_alive = HTH_KEEP_ALIVE_DEFAULT;
	HTH_TRY(hth_fields_keep_alive(body, &keep_alive, err));
	for (size_t i = 0; i < job->n_requests; i++)
		job->requests[i]->params.keep_alive_s = keep_alive;
	state->vectors = hth_alloc_array(job->n_requests, sizeof *state->vectors);
	if (state->vectors == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	state->n = job->n_requests;
	hth_wire_make_id(job, "embd-");
	return HTH_OK;
}

static void embedding(hth_api_job *job, size_t i, const float *values, size_t n)
{
	embeddings_state *state = job->state;
	if (state->dimensions > (int64_t)n) {
		hth_error err;
		hth_fail_param(&err, HTH_INVALID, "dimensions", "dimensions is %lld, but this model's embeddings have %zu",
		               (long long)state->dimensions, n);
		hth_api_fail(job, &err);
		return;
	}
	float *copy = hth_alloc_array(n, sizeof *copy);
	if (copy == NULL) {
		hth_error err;
		hth_fail(&err, HTH_NO_MEMORY, "no memory for the embedding");
		hth_api_fail(job, &err);
		return;
	}
	memcpy(copy, values, n * sizeof *copy);
	if (state->dimensions > 0 && (size_t)state->dimensions < n) {
		n = (size_t)state->dimensions;
		double sum = 0;
		for (size_t k = 0; k < n; k++)
			sum += (double)copy[k] * (double)copy[k];
		for (size_t k = 0; k < n && sum > 0; k++)
			copy[k] = (float)((double)copy[k] / sqrt(sum));
	}
	free(state->vectors[i].values);
	state->vectors[i].values = copy;
	state->vectors[i].n = n;
}

static void write_base64(hth_buf *out, const unsigned char *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *to = hth_buf_reserve(out, (len + 2) / 3 * 4 + 2);
	if (to == NULL)
		return;
	char *start = to;
	*to++ = '"';
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = left > 1 ? digits[v >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[v & 63] : '=';
	}
	*to++ = '"';
	*to = '\0';
	out->len += (size_t)(to - start);
}

static void finished(hth_api_job *job)
{
	embeddings_state *state = job->state;
	hth_buf *out = &job->scratch;
	uint64_t prompt = 0;
	hth_buf_clear(out);
	hth_buf_append_str(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < state->n; i++) {
		const struct vector *v = &state->vectors[i];
		hth_buf_appendf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i > 0 ? "," : "", i);
		if (state->base64) {
			/* The machines that Hearth runs on are little-endian. */
			write_base64(out, (const unsigned char *)v->values, v->n * sizeof *v->values);
		} else {
			for (size_t k = 0; k < v->n; k++)
				hth_buf_appendf(out, k == 0 ? "[%.9g" : ",%.9g", isfinite(v->values[k]) ? (double)v->values[k] : 0.0);
			hth_buf_append_str(out, v->n > 0 ? "]" : "[]");
		}
		hth_buf_append_char(out, '}');
		prompt += job->requests[i]->usage.prompt_tokens;
	}
	hth_buf_append_str(out, "],\"model\":");
	hth_wire_string(out, job->requests[0]->model);
	hth_buf_appendf(out, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}", (unsigned long long)prompt,
	                (unsigned long long)prompt);
	hth_api_reply(job, "application/json", out);
}

static const hth_api_writer writer = {.embedding = embedding, .finished = finished};

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/v1/embeddings", .parse = parse_embeddings, .writer = &writer},
    {.method = "POST", .path = "/embeddings", .parse = parse_embeddings, .writer = &writer},
};
const hth_api_family hth_api_openai_embeddings = {endpoints, HTH_COUNT(endpoints)};
