/* ollama-create.c - POST /api/create: a model of one that is here, with parameters, a system message, a template and
 * first messages.
 *
 * Format: Ollama's API reference (docs/api.md). Both forms: members of the body ("from", "parameters", "system", ...)
 * and the older "modelfile" text, whose words stand under the members'. The new name shares the weights' file, or takes
 * a blob that was sent before (src/node/blobs.c). What Hearth does not do (quantising on the way, adapters) is refused
 * by name. Thread: the loop's.
 */
#include "api/families.h"
#include "api/fields.h"
#include "api/modelfile.h"
#include "api/ollama.h"
#include "api/wire.h"
#include "catalog/record.h"
#include "engine/gotemplate/chat-template.h"

static bool is_given(const json_t *value)
{
	return value != NULL && !json_is_null(value) && !(json_is_string(value) && json_string_length(value) == 0) &&
	       !(json_is_object(value) && json_object_size(value) == 0) &&
	       !(json_is_array(value) && json_array_size(value) == 0);
}

static hth_status refuse_others(const json_t *body, hth_error *err)
{
	static const struct {
		const char *key, *why;
	} others[] = {
	    {"quantize",
	     "quantising while creating is not supported; use `hearth quantize`, which makes a file of its own"},
	    {"quantization",
	     "quantising while creating is not supported; use `hearth quantize`, which makes a file of its own"},
	    {"adapters", "adapters are not supported"},
	    {"splits", "weights in several files are not supported; `hearth pull` takes them"},
	    {"path", "a path of the client's machine means nothing here; send the Modelfile's text as modelfile"}};
	for (size_t i = 0; i < HTH_COUNT(others); i++)
		if (is_given(json_object_get(body, others[i].key)))
			return hth_fail_param(err, HTH_UNSUPPORTED, others[i].key, "%s: %s", others[i].key,
			                      others[i].why);
	return HTH_OK;
}

/* The body's own members over those of its Modelfile. */
static hth_status read_members(const json_t *body, json_t *settings, hth_error *err)
{
	static const char *const texts[] = {"template", "system"};
	json_t *license = json_object_get(body, "license"), *params = json_object_get(body, "parameters"),
	       *messages = json_object_get(body, "messages"), *one;
	size_t k;
	bool ok = true;
	for (size_t i = 0; i < HTH_COUNT(texts); i++)
		if (is_given(json_object_get(body, texts[i])))
			ok &= json_object_set(settings, texts[i], json_object_get(body, texts[i])) == 0;
	if (json_is_array(license)) {
		HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(2 * HTH_MODELFILE_MAX);
		json_array_foreach(license, k, one)
		{
			if (!json_is_string(one))
				return hth_fail_param(err, HTH_INVALID, "license",
				                      "license must be a string or an array of strings");
			hth_buf_append_str(&text, k > 0 ? "\n\n" : "");
			hth_buf_append_str(&text, json_string_value(one));
		}
		if (text.len > 0)
			ok &= json_object_set_new(settings, "license", json_stringn(text.data, text.len)) == 0;
	} else if (is_given(license)) {
		ok &= json_object_set(settings, "license", license) == 0;
	}
	json_t *before = json_object_get(settings, "params");
	if (is_given(params) && json_is_object(before) && json_is_object(params))
		ok &= json_object_update(before, params) == 0;
	else if (is_given(params))
		ok &= json_object_set(settings, "params", params) == 0;
	if (is_given(messages))
		ok &= json_object_set(settings, "messages", messages) == 0;
	return ok ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a model's settings");
}

/* A template that would fail with every request is better refused now. */
static hth_status check_template(const char *text, hth_error *err)
{
	hth_chat_template compiled;
	if (text == NULL)
		return HTH_OK;
	if (hth_chat_template_compile(&compiled, text, strlen(text), err) != HTH_OK) {
		err->status = HTH_INVALID;
		snprintf(err->param, sizeof err->param, "template");
		return hth_fail_prefix(err, "template");
	}
	hth_chat_template_finish(&compiled);
	return HTH_OK;
}

/* "files": {"model.gguf": "sha256:..."}, a blob that was sent before. */
static hth_status read_file(const json_t *body, const char **ret_digest, hth_error *err)
{
	const json_t *files = json_object_get(body, "files");
	const char *name, *digest = NULL;
	json_t *value;
	if (!is_given(files))
		return HTH_OK;
	if (!json_is_object(files) || json_object_size(files) != 1)
		return hth_fail_param(
		    err, HTH_UNSUPPORTED, "files",
		    "files must be an object with one GGUF file; `hearth pull` takes models of several");
	json_object_foreach((json_t *)files, name, value) digest = json_string_value(value);
	if (digest == NULL || strncmp(digest, "sha256:", 7) != 0)
		return hth_fail_param(err, HTH_INVALID, "files", "files must give a blob's digest, sha256:...");
	*ret_digest = digest;
	return HTH_OK;
}

static void say(hth_buf *out, bool stream, const char *status)
{
	if (!stream)
		return;
	hth_buf_append_str(out, "{\"status\":");
	hth_wire_string(out, status);
	hth_buf_append_str(out, "}\n");
}

static hth_status create(hth_api_job *job, const json_t *body, hth_error *err)
{
	const char *model, *from = NULL, *modelfile = NULL, *file = NULL;
	HTH_AUTO_FREE char *from_file = NULL;
	HTH_AUTO_JSON json_t *settings = NULL;
	bool stream = true;
	HTH_TRY(hth_ollama_model(body, &model, err));
	HTH_TRY(hth_json_get_bool(body, "stream", &stream, err));
	HTH_TRY(hth_json_get_string(body, "from", &from, err));
	HTH_TRY(hth_json_get_string(body, "modelfile", &modelfile, err));
	HTH_TRY(refuse_others(body, err));
	HTH_TRY(read_file(body, &file, err));
	if (modelfile != NULL && modelfile[0] != '\0')
		HTH_TRY(hth_modelfile_parse(modelfile, strlen(modelfile), &from_file, &settings, err));
	else if ((settings = json_object()) == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a model's settings");
	if (from == NULL || from[0] == '\0')
		from = from_file;
	if (file != NULL)
		from = file;
	else if (from != NULL && strncmp(from, "@sha256:", 8) == 0)
		from++; /* a blob, as older clients name it in their Modelfile */
	if (from == NULL)
		return hth_fail_param(err, HTH_INVALID, "from",
		                      "from is missing: the model that the new one is made of");
	HTH_TRY(read_members(body, settings, err));
	HTH_TRY(hth_modelfile_check(settings, err));
	const char *template = json_string_value(json_object_get(settings, "template"));
	HTH_TRY(check_template(template, err));
	HTH_TRY(job->host->create_model(job->host->ctx, model, from, settings, err));
	hth_buf *out = &job->scratch;
	say(out, stream, "reading model metadata");
	say(out, stream, "using the weights of the model it is made of");
	say(out, stream, "writing manifest");
	say(out, stream, "success");
	if (!stream)
		hth_buf_append_str(out, "{\"status\":\"success\"}");
	hth_api_reply(job, stream ? "application/x-ndjson" : "application/json; charset=utf-8", out);
	return HTH_OK;
}

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/api/create", .parse = create, .write_error = hth_ollama_write_error}};
const hth_api_family hth_api_ollama_create = {endpoints, HTH_COUNT(endpoints)};
