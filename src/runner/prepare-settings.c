/* prepare-settings.c - see prepare-settings.h. Runs in the sandbox: what a registry sent along is as foreign as a model
 * file. Thread: the preparer's. */
#include "runner/prepare-settings.h"

void hth_given_template_finish(hth_given_template *given)
{
	hth_chat_template_finish(&given->compiled);
	free(given->source);
	*given = (hth_given_template){0};
}

static hth_status take_template(hth_given_template *given, const char *source, hth_error *err)
{
	if (given->source != NULL && strcmp(given->source, source) == 0)
		return HTH_OK;
	hth_chat_template compiled;
	if (hth_chat_template_compile(&compiled, source, strlen(source), err) != HTH_OK)
		return hth_fail_prefix(err, "the template that this model was made with cannot be used");
	hth_given_template_finish(given);
	given->compiled = compiled;
	hth_chat_template_probe(compiled, &given->caps);
	given->source = strdup(source);
	return given->source != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a template");
}

hth_status hth_prepare_settings(hth_given_template *given, const char *settings, json_t *messages,
                                hth_chat_template *tmpl, const hth_jinja_caps **caps, hth_error *err)
{
	HTH_AUTO_JSON json_t *object = NULL;
	HTH_TRY(hth_json_parse(&object, settings, strlen(settings), err));
	const char *source = json_string_value(json_object_get(object, "template"));
	const char *role = json_string_value(json_object_get(json_array_get(messages, 0), "role"));
	json_t *system = json_object_get(object, "system"), *before = json_object_get(object, "messages");
	size_t at = 0, n = json_array_size(before);
	bool ok = true;
	if (json_is_string(system) && json_string_length(system) > 0 && (role == NULL || strcmp(role, "system") != 0)) {
		ok = json_array_insert_new(messages, 0, json_pack("{s:s, s:O}", "role", "system", "content", system)) ==
		     0;
		at = 1;
	} else if (role != NULL && strcmp(role, "system") == 0) {
		at = 1; /* the conversation's own comes first */
	}
	for (size_t i = 0; ok && i < n; i++) {
		json_t *message = json_array_get(before, i);
		if (json_is_string(json_object_get(message, "role")) &&
		    json_is_string(json_object_get(message, "content")))
			ok = json_array_insert(messages, at++, message) == 0;
	}
	if (!ok)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
	if (source != NULL && *source != '\0') {
		HTH_TRY(take_template(given, source, err));
		*tmpl = given->compiled;
		*caps = &given->caps;
	}
	return HTH_OK;
}
