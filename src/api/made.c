/* made.c - see made.h. The readers are those of clients' bodies (fields.h). Thread: any. */
#include "api/made.h"

#include "api/fields.h"

char *hth_made_conversation(const json_t *record)
{
	HTH_AUTO_JSON json_t *out = json_object();
	json_t *system = json_object_get(record, "system"), *messages = json_object_get(record, "messages"),
	       *template = json_object_get(record, "template");
	if (json_is_string(system) && json_string_length(system) > 0)
		json_object_set(out, "system", system);
	if (json_is_array(messages) && json_array_size(messages) > 0)
		json_object_set(out, "messages", messages);
	if (json_is_string(template))
		json_object_set(out, "template", template);
	char *text = NULL;
	return json_object_size(out) > 0 && hth_fields_dump(out, &text, NULL) == HTH_OK ? text : NULL;
}

void hth_made_params(const json_t *record, hth_request_params *params)
{
	static const char *const max_keys[] = {"num_predict"};
	const json_t *given = json_object_get(record, "params");
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)given, key, value)
	{
		HTH_AUTO_JSON json_t *one = json_pack("{s:O}", key, value);
		hth_request_params before = *params;
		hth_error err;
		int64_t context = 0;
		if (one == NULL || strcmp(key, "logit_bias") == 0)
			continue;
		if (hth_fields_sampling(one, params, &err) != HTH_OK)
			params->sampling = before.sampling;
		if (hth_fields_max_tokens(one, max_keys, HTH_COUNT(max_keys), params, &err) != HTH_OK)
			params->max_tokens = before.max_tokens;
		(void)!hth_fields_stop(one, "stop", params, &err); /* those up to a wrong one stay */
		if (hth_json_get_int(one, "num_ctx", 1, UINT32_MAX - 1, &context, &err) == HTH_OK && context > 0)
			params->context = (uint32_t)context;
	}
}
