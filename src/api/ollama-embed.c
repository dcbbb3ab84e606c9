/* ollama-embed.c - POST /api/embed (one or many texts) and the older POST /api/embeddings (one prompt).
 * Format: Ollama's API reference (docs/api.md). Thread: the loop's. */
#include "api/families.h"
#include "api/fields.h"
#include "api/ollama.h"
#include "api/wire.h"

#include <math.h>

typedef struct embed_state {
	char *model;
	bool old; /* /api/embeddings */
	int64_t dimensions;
	struct row {
		float *values;
		size_t n;
	} *rows;
	size_t n;
} embed_state;

static void free_state(hth_api_job *job)
{
	embed_state *state = job->state;
	for (size_t i = 0; i < state->n; i++)
		free(state->rows[i].values);
	free(state->rows);
	free(state->model);
	free(state);
}

static hth_status add(hth_api_job *job, const json_t *body, const json_t *text, const char *name, const char *model, hth_error *err)
{
	hth_request *r;
	HTH_TRY(hth_api_add_request(job, HTH_EMBEDDING, model, &r, err));
	HTH_TRY(hth_fields_text(text, name, &r->input, err));
	return hth_ollama_options(body, &r->params, err);
}

static hth_status parse(hth_api_job *job, const json_t *body, bool old, hth_error *err)
{
	const char *model, *name = old ? "prompt" : "input";
	embed_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	job->state = state;
	job->free_state = free_state;
	state->old = old;
	HTH_TRY(hth_ollama_model(body, &model, err));
	HTH_TRY(hth_fields_copy(model, &state->model, err));
	HTH_TRY(hth_json_get_int(body, "dimensions", 0, 1 << 20, &state->dimensions, err));
	const json_t *input = json_object_get(body, name);
	if (!old && json_is_array(input)) {
		for (size_t i = 0; i < json_array_size(input); i++)
			HTH_TRY(add(job, body, json_array_get(input, i), name, model, err));
	} else {
		HTH_TRY(add(job, body, input, name, model, err));
	}
	if (job->n_requests == 0)
		return hth_fail_param(err, HTH_INVALID, name, "input is an empty array");
	state->rows = hth_alloc_array(job->n_requests, sizeof *state->rows);
	if (state->rows == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	state->n = job->n_requests;
	return HTH_OK;
}

static hth_status parse_embed(hth_api_job *job, const json_t *body, hth_error *err) { return parse(job, body, false, err); }
static hth_status parse_embeddings(hth_api_job *job, const json_t *body, hth_error *err) { return parse(job, body, true, err); }

static void embedding(hth_api_job *job, size_t i, const float *values, size_t n)
{
	embed_state *state = job->state;
	size_t keep = state->dimensions > 0 ? HTH_MIN((size_t)state->dimensions, n) : n;
	float *copy = hth_alloc_array(keep, sizeof *copy);
	double sum = 0;
	if (copy == NULL) {
		hth_error err;
		hth_fail(&err, HTH_NO_MEMORY, "no memory for the embedding");
		hth_api_fail(job, &err);
		return;
	}
	for (size_t k = 0; k < keep; k++)
		sum += (double)values[k] * (double)values[k];
	/* What was cut gets unit length again; the whole has it already. */
	double scale = keep < n && sum > 0 ? 1 / sqrt(sum) : 1;
	for (size_t k = 0; k < keep; k++)
		copy[k] = (float)((double)values[k] * scale);
	free(state->rows[i].values);
	state->rows[i] = (struct row){copy, keep};
}

static void write_row(hth_buf *out, const struct row *row)
{
	hth_buf_append_char(out, '[');
	for (size_t k = 0; k < row->n; k++)
		hth_buf_appendf(out, k > 0 ? ",%.9g" : "%.9g", isfinite(row->values[k]) ? (double)row->values[k] : 0.0);
	hth_buf_append_char(out, ']');
}

static void finished(hth_api_job *job)
{
	embed_state *state = job->state;
	hth_buf *out = &job->scratch;
	uint64_t prompt = 0;
	hth_buf_clear(out);
	if (state->old) {
		hth_buf_append_str(out, "{\"embedding\":");
		write_row(out, &state->rows[0]);
		hth_buf_append_char(out, '}');
		hth_api_reply(job, "application/json; charset=utf-8", out);
		return;
	}
	hth_buf_append_str(out, "{\"model\":");
	hth_wire_string(out, state->model);
	hth_buf_append_str(out, ",\"embeddings\":[");
	for (size_t i = 0; i < state->n; i++) {
		if (i > 0)
			hth_buf_append_char(out, ',');
		write_row(out, &state->rows[i]);
		prompt += job->requests[i]->usage.prompt_tokens;
	}
	hth_buf_append_char(out, ']');
	hth_ollama_write_times(out, job->requests[0]);
	hth_buf_appendf(out, ",\"prompt_eval_count\":%llu}", (unsigned long long)prompt);
	hth_api_reply(job, "application/json; charset=utf-8", out);
}

static const hth_api_writer writer = {.embedding = embedding, .finished = finished};
static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/api/embed", .parse = parse_embed, .writer = &writer, .write_error = hth_ollama_write_error},
    {.method = "POST", .path = "/api/embeddings", .parse = parse_embeddings, .writer = &writer, .write_error = hth_ollama_write_error},
};
const hth_api_family hth_api_ollama_embed = {endpoints, HTH_COUNT(endpoints)};
