/* ollama-create.c - POST /api/create, its body: a model of another, with parameters, a system message, a template and
 * first messages.
 *
 * Format: Ollama's API reference (docs/api.md). Both forms: members of the body ("from", "parameters", "system", ...)
 * and the older "modelfile" text, whose words stand under the members'. The new name shares the weights' file, has them
 * quantised, or takes blobs that were sent before (src/node/blobs.c). What Hearth does not do (adapters) is refused by name.
 * Thread: the loop's.
 */
#include "api/families.h"
#include "api/fields.h"
#include "api/modelfile.h"
#include "api/ollama-create.h"
#include "api/ollama.h"
#include "api/wire.h"
#include "engine/gotemplate/chat-template.h"

#include <stddef.h>

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
	    {"adapters", "adapters are not supported; merge the adapter into the weights first"},
	    {"splits", "splits mean nothing here; send all shards as files"},
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

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static hth_status add_file(hth_create_wish *wish, const char *name, const char *digest, hth_error *err)
{
	if (digest == NULL || strncmp(digest, "sha256:", 7) != 0)
		return hth_fail_param(err, HTH_INVALID, "files", "files must give a blob's digest, sha256:..., for each file's name");
	HTH_TRY(hth_fields_copy(name, &wish->files[wish->n_files].name, err));
	wish->n_files++;
	return hth_fields_copy(digest, &wish->files[wish->n_files - 1].digest, err);
}

/* "files": {"model.gguf": "sha256:..."}, blobs that were sent before; several are shards of one model. */
static hth_status read_files(const json_t *body, hth_create_wish *wish, hth_error *err)
{
	const json_t *files = json_object_get(body, "files");
	const char *name;
	json_t *value;
	if (!is_given(files))
		return HTH_OK;
	if (!json_is_object(files) || json_object_size(files) > HTH_CREATE_FILES_MAX)
		return hth_fail_param(err, HTH_INVALID, "files", "files must be an object of at most %d files' names and digests",
		                      HTH_CREATE_FILES_MAX);
	json_object_foreach((json_t *)files, name, value) HTH_TRY(add_file(wish, name, json_string_value(value), err));
	_Static_assert(offsetof(hth_create_wish, files[0].name) == offsetof(hth_create_wish, files), "a file's name comes first");
	qsort(wish->files, wish->n_files, sizeof wish->files[0], by_name);
	return HTH_OK;
}

void hth_create_wish_finish(hth_create_wish *wish)
{
	for (size_t i = 0; i < wish->n_files; i++) {
		free(wish->files[i].name);
		free(wish->files[i].digest);
	}
	free(wish->model);
	free(wish->from);
	free(wish->quantize);
	json_decref(wish->settings);
	*wish = (hth_create_wish){0};
}

hth_status hth_create_wish_read(const json_t *body, hth_create_wish *ret_wish, hth_error *err)
{
	const char *model, *from = NULL, *modelfile = NULL, *quantize = NULL;
	HTH_AUTO_FREE char *from_file = NULL;
	hth_create_wish *w = ret_wish;
	*w = (hth_create_wish){.stream = true};
	HTH_TRY(hth_ollama_model(body, &model, err));
	HTH_TRY(hth_json_get_bool(body, "stream", &w->stream, err));
	HTH_TRY(hth_json_get_string(body, "from", &from, err));
	HTH_TRY(hth_json_get_string(body, "modelfile", &modelfile, err));
	HTH_TRY(hth_json_get_string(body, "quantization", &quantize, err)); /* what older clients call it */
	HTH_TRY(hth_json_get_string(body, "quantize", &quantize, err));
	HTH_TRY(refuse_others(body, err));
	HTH_TRY(read_files(body, w, err));
	if (modelfile != NULL && modelfile[0] != '\0')
		HTH_TRY(hth_modelfile_parse(modelfile, strlen(modelfile), &from_file, &w->settings, err));
	else if ((w->settings = json_object()) == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a model's settings");
	if (from == NULL || from[0] == '\0')
		from = from_file;
	if (from != NULL && strncmp(from, "@sha256:", 8) == 0 && w->n_files == 0)
		HTH_TRY(add_file(w, "model.gguf", from + 1, err)); /* a blob, as older clients name it in their Modelfile */
	if (from == NULL && w->n_files == 0)
		return hth_fail_param(err, HTH_INVALID, "from", "from is missing: the model that the new one is made of");
	if (quantize != NULL && quantize[0] != '\0' && w->n_files > 1)
		return hth_fail_param(err, HTH_UNSUPPORTED, "quantize",
		                      "quantize takes one file; make the model of its %zu files first, then another from it", w->n_files);
	HTH_TRY(hth_fields_copy(model, &w->model, err));
	if (w->n_files == 0)
		HTH_TRY(hth_fields_copy(from, &w->from, err));
	if (quantize != NULL && quantize[0] != '\0')
		HTH_TRY(hth_fields_copy(quantize, &w->quantize, err));
	HTH_TRY(read_members(body, w->settings, err));
	HTH_TRY(hth_modelfile_check(w->settings, err));
	return check_template(json_string_value(json_object_get(w->settings, "template")), err);
}

/* The node answers: its weights may have to be pulled or quantised first, which takes a thread. */
static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/api/create", .parse = NULL, .write_error = hth_ollama_write_error}};
const hth_api_family hth_api_ollama_create = {endpoints, HTH_COUNT(endpoints)};
