/* ollama-models.c - the model side of Ollama's API: version, tags, ps, show, delete, copy (create: ollama-create.c).
 *
 * Format: Ollama's API reference (docs/api.md). A model NAME is listed as NAME:latest, which is how Ollama's clients ask for it
 * again. The digest is the SHA-256 of the model's file, zeros while it is being computed. Thread: the loop's.
 */
#include "api/families.h"
#include "api/modelfile.h"
#include "api/ollama.h"
#include "api/wire.h"
#include "catalog/record.h"

#include <stdio.h>

void hth_ollama_write_error(hth_buf *out, int http_status, const char *type, const char *code, const hth_error *error)
{
	(void)http_status;
	(void)type;
	(void)code;
	hth_buf_append_str(out, "{\"error\":");
	hth_wire_string(out, error->message);
	hth_buf_append_char(out, '}');
}

void hth_ollama_write_times(hth_buf *out, const hth_request *r)
{
	uint64_t total = r->ended_ns - r->created_ns;
	/* What is neither waiting for a slot nor computing was waiting for the model. */
	uint64_t computing = r->usage.queue_ns + r->usage.prefill_ns + r->usage.decode_ns;
	hth_buf_appendf(out, ",\"total_duration\":%llu,\"load_duration\":%llu", (unsigned long long)total,
	                (unsigned long long)(total > computing ? total - computing : 0));
}

/* --- one model --- */

/* Clients cut it for display, so what is not known yet has its length. */
static void write_digest(hth_buf *out, const hth_api_model *m)
{
	hth_buf_appendf(out, "\"%s\"", m->sha256 != NULL ? m->sha256 : "0000000000000000000000000000000000000000000000000000000000000000");
}

static void write_parameter_size(hth_buf *out, uint64_t n)
{
	if (n >= 1000000000u)
		hth_buf_appendf(out, "\"%.1fB\"", (double)n / 1e9);
	else if (n > 0)
		hth_buf_appendf(out, "\"%.2fM\"", (double)n / 1e6);
	else
		hth_buf_append_str(out, "\"\"");
}

static const char *fact(const hth_api_model *m, const char *key)
{
	const char *text = json_string_value(json_object_get(m->facts, key));
	return text != NULL ? text : "";
}

static void write_details(hth_buf *out, const hth_api_model *m)
{
	const char *parent = json_string_value(json_object_get(m->record, "from"));
	hth_buf_append_str(out, "{\"parent_model\":");
	hth_wire_string(out, parent != NULL ? parent : "");
	hth_buf_append_str(out, ",\"format\":\"gguf\",\"family\":");
	hth_wire_string(out, fact(m, "architecture"));
	hth_buf_append_str(out, ",\"families\":");
	if (fact(m, "architecture")[0] == '\0') {
		hth_buf_append_str(out, "null");
	} else {
		hth_buf_append_char(out, '[');
		hth_wire_string(out, fact(m, "architecture"));
		hth_buf_append_char(out, ']');
	}
	hth_buf_append_str(out, ",\"parameter_size\":");
	write_parameter_size(out, (uint64_t)json_integer_value(json_object_get(m->facts, "parameters")));
	hth_buf_append_str(out, ",\"quantization_level\":");
	hth_wire_string(out, fact(m, "type"));
	hth_buf_append_char(out, '}');
}

static void write_name(hth_buf *out, const char *name)
{
	char tagged[HTH_MODEL_NAME_MAX + 8];
	snprintf(tagged, sizeof tagged, strchr(name, ':') != NULL ? "%s" : "%s:latest", name);
	hth_wire_string(out, tagged);
}

/* --- lists --- */

typedef struct listing {
	hth_buf out;
	size_t n;
} listing;

static void write_tag(void *ctx, const hth_api_model *m)
{
	listing *l = ctx;
	hth_buf_append_str(&l->out, l->n++ > 0 ? ",{\"name\":" : "{\"name\":");
	write_name(&l->out, m->name);
	hth_buf_append_str(&l->out, ",\"model\":");
	write_name(&l->out, m->name);
	hth_buf_append_str(&l->out, ",\"modified_at\":");
	hth_wire_time(&l->out, m->modified_unix);
	hth_buf_appendf(&l->out, ",\"size\":%llu,\"digest\":", (unsigned long long)m->bytes);
	write_digest(&l->out, m);
	hth_buf_append_str(&l->out, ",\"details\":");
	write_details(&l->out, m);
	hth_buf_append_char(&l->out, '}');
}

static void write_loaded(void *ctx, const hth_api_model *m)
{
	listing *l = ctx;
	if (m->info == NULL)
		return;
	hth_buf_append_str(&l->out, l->n++ > 0 ? ",{\"name\":" : "{\"name\":");
	write_name(&l->out, m->name);
	hth_buf_append_str(&l->out, ",\"model\":");
	write_name(&l->out, m->name);
	hth_buf_appendf(&l->out, ",\"size\":%llu,\"size_vram\":0,\"context_length\":%u,\"digest\":", (unsigned long long)m->loaded_bytes,
	                m->info->n_ctx);
	write_digest(&l->out, m);
	hth_buf_append_str(&l->out, ",\"details\":");
	write_details(&l->out, m);
	hth_buf_append_str(&l->out, ",\"expires_at\":");
	/* Ollama has a far year for "never". */
	hth_wire_time(&l->out, m->expires_unix > 0 ? m->expires_unix : INT64_C(10413792000));
	hth_buf_append_char(&l->out, '}');
}

static hth_status list(hth_api_job *job, hth_api_model_fn fn, hth_error *err)
{
	listing l = {.out = HTH_BUF_INIT(8 << 20)};
	hth_buf_append_str(&l.out, "{\"models\":[");
	hth_status status = job->host->each_model(job->host->ctx, fn, &l, err);
	hth_buf_append_str(&l.out, "]}");
	if (status == HTH_OK)
		hth_api_reply(job, "application/json; charset=utf-8", &l.out);
	hth_buf_finish(&l.out);
	return status;
}

static hth_status get_tags(hth_api_job *job, const json_t *body, hth_error *err)
{
	(void)body;
	return list(job, write_tag, err);
}

static hth_status get_ps(hth_api_job *job, const json_t *body, hth_error *err)
{
	(void)body;
	return list(job, write_loaded, err);
}

static hth_status get_version(hth_api_job *job, const json_t *body, hth_error *err)
{
	(void)body;
	(void)err;
	hth_buf_append_str(&job->scratch, "{\"version\":\"" HTH_OLLAMA_API_VERSION "\",\"hearth\":\"" HEARTH_VERSION "\"}");
	hth_api_reply(job, "application/json; charset=utf-8", &job->scratch);
	return HTH_OK;
}

/* --- one --- */

/* Metadata as Ollama shows it: numbers are numbers, lists (the tokenizer's) are null. The facts have every value as JSON text, or a
 * list's size in brackets. */
static void write_metadata(hth_buf *out, const json_t *metadata)
{
	const char *key;
	json_t *value;
	bool first = true;
	hth_buf_append_char(out, '{');
	json_object_foreach ((json_t *)metadata, key, value) {
		const char *text = json_string_value(value);
		HTH_AUTO_JSON json_t *parsed = NULL;
		if (strcmp(key, "tokenizer.chat_template") == 0)
			continue; /* shown as the template */
		hth_buf_append_str(out, first ? "" : ",");
		first = false;
		hth_wire_string(out, key);
		hth_buf_append_char(out, ':');
		if (text != NULL && hth_json_parse(&parsed, text, strlen(text), NULL) == HTH_OK)
			hth_json_write(parsed, out);
		else
			hth_buf_append_str(out, "null");
	}
	hth_buf_append_char(out, '}');
}

/* own: a template in place of the file's, or NULL. What it names is what it can take. */
static void write_capabilities(hth_buf *out, const hth_api_model *m, const char *own)
{
	const json_t *template = json_object_get(m->facts, "template");
	bool tools = own != NULL ? strcasestr(own, "tools") != NULL : json_is_true(json_object_get(template, "tools"));
	bool thinking = own != NULL ? strcasestr(own, "think") != NULL : json_is_true(json_object_get(template, "thinking"));
	if (json_is_true(json_object_get(m->facts, "embedding"))) {
		hth_buf_append_str(out, "[\"embedding\"]");
		return;
	}
	hth_buf_append_str(out, "[\"completion\"");
	if (tools)
		hth_buf_append_str(out, ",\"tools\"");
	if (own != NULL && strstr(own, ".Suffix") != NULL)
		hth_buf_append_str(out, ",\"insert\"");
	if (thinking)
		hth_buf_append_str(out, ",\"thinking\"");
	hth_buf_append_char(out, ']');
}

static void write_member(hth_buf *out, const char *key, const char *text)
{
	hth_buf_appendf(out, "\"%s\":", key);
	hth_wire_string(out, text != NULL ? text : "");
	hth_buf_append_char(out, ',');
}

static const char *kept(const hth_api_model *m, const char *key) { return json_string_value(json_object_get(m->record, key)); }

static void write_show(void *ctx, const hth_api_model *m)
{
	hth_buf *out = ctx;
	const json_t *metadata = json_object_get(m->facts, "metadata"), *messages = json_object_get(m->record, "messages");
	const char *quoted = json_string_value(json_object_get(metadata, "tokenizer.chat_template")), *own = kept(m, "template");
	HTH_AUTO_JSON json_t *parsed = NULL;
	if (quoted != NULL)
		(void)!hth_json_parse(&parsed, quoted, strlen(quoted), NULL);
	const char *template = own != NULL ? own : json_string_value(parsed);
	HTH_CLEANUP(hth_buf_finish) hth_buf file = HTH_BUF_INIT(16 << 20);
	HTH_CLEANUP(hth_buf_finish) hth_buf params = HTH_BUF_INIT(1 << 20);
	const char *parent = kept(m, "from");
	hth_modelfile_write(parent != NULL ? parent : m->name, m->record, template, &file);
	hth_modelfile_write_params(json_object_get(m->record, "params"), &params);
	hth_buf_append_char(out, '{');
	write_member(out, "license", kept(m, "license") != NULL ? kept(m, "license") : fact(m, "license"));
	write_member(out, "modelfile", file.failed ? "" : file.data);
	write_member(out, "parameters", params.failed ? "" : params.data);
	write_member(out, "template", template);
	if (kept(m, "system") != NULL)
		write_member(out, "system", kept(m, "system"));
	hth_buf_append_str(out, "\"details\":");
	write_details(out, m);
	if (json_is_array(messages)) {
		hth_buf_append_str(out, ",\"messages\":");
		hth_json_write(messages, out);
	}
	hth_buf_append_str(out, ",\"model_info\":");
	write_metadata(out, metadata);
	hth_buf_append_str(out, ",\"capabilities\":");
	write_capabilities(out, m, own);
	hth_buf_append_str(out, ",\"modified_at\":");
	hth_wire_time(out, m->modified_unix);
	hth_buf_append_char(out, '}');
}

static hth_status show(hth_api_job *job, const json_t *body, hth_error *err)
{
	const char *model;
	HTH_TRY(hth_ollama_model(body, &model, err));
	HTH_TRY(job->host->find_model(job->host->ctx, model, write_show, &job->scratch, err));
	hth_api_reply(job, "application/json; charset=utf-8", &job->scratch);
	return HTH_OK;
}

static void reply_nothing(hth_api_job *job)
{
	hth_buf_clear(&job->scratch);
	hth_api_reply(job, NULL, &job->scratch);
}

static hth_status delete(hth_api_job *job, const json_t *body, hth_error *err)
{
	const char *model;
	HTH_TRY(hth_ollama_model(body, &model, err));
	HTH_TRY(job->host->delete_model(job->host->ctx, model, err));
	reply_nothing(job);
	return HTH_OK;
}

static hth_status copy(hth_api_job *job, const json_t *body, hth_error *err)
{
	const char *from = NULL, *to = NULL;
	HTH_TRY(hth_json_get_string(body, "source", &from, err));
	HTH_TRY(hth_json_get_string(body, "destination", &to, err));
	if (from == NULL || to == NULL)
		return hth_fail_param(err, HTH_INVALID, from == NULL ? "source" : "destination", "source and destination are required");
	HTH_TRY(job->host->copy_model(job->host->ctx, from, to, err));
	reply_nothing(job);
	return HTH_OK;
}

#define ROW(method_, path_, fn, facts) \
	{.method = (method_), .path = (path_), .parse = (fn), .needs_facts = (facts), .write_error = hth_ollama_write_error}
static const hth_api_endpoint endpoints[] = {
    ROW("GET", "/api/version", get_version, false), ROW("GET", "/api/tags", get_tags, true),   ROW("GET", "/api/ps", get_ps, true),
    ROW("POST", "/api/show", show, true),           ROW("POST", "/api/copy", copy, false),     ROW("DELETE", "/api/delete", delete, false),
    /* POST /api/pull takes a thread: the node answers it itself (src/node/tasks.c), with this row's errors. */
    ROW("POST", "/api/pull", NULL, false),
};
const hth_api_family hth_api_ollama_models = {endpoints, HTH_COUNT(endpoints)};
