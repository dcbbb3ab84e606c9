/* template-vars.c - JSON to a chat template's values. Knows both the JSON folder and the template engine, so that neither has to
 * know the other. Runs in whichever process renders.
 */
#include "runner/template-vars.h"

#include <string.h>

static const hth_jinja_value *convert_string(hth_jinja_arena *arena, const json_t *json, bool trusted)
{
	const char *s = json_string_value(json);
	size_t n = json_string_length(json);
	return trusted ? hth_jinja_trusted_string(arena, s, n) : hth_jinja_string(arena, s, n);
}

/* A role that no template takes for anything but a role: it may stand where the template's own text does. */
static bool is_usual_role(const json_t *json)
{
	static const char *roles[] = {"system", "user", "assistant", "tool", "developer"};
	for (size_t i = 0; json_is_string(json) && i < HTH_COUNT(roles); i++)
		if (strcmp(json_string_value(json), roles[i]) == 0)
			return true;
	return false;
}

static const hth_jinja_value *convert(hth_jinja_arena *arena, const json_t *json, bool trusted, unsigned depth)
{
	if (json == NULL || depth > 2 * HTH_JSON_DEPTH_MAX)
		return hth_jinja_none(arena);
	switch (json_typeof(json)) {
	case JSON_OBJECT: {
		hth_jinja_value *dict = hth_jinja_dict(arena);
		const char *key;
		size_t key_len;
		json_t *value;
		if (dict == NULL)
			return NULL;
		json_object_keylen_foreach((json_t *)json, key, key_len, value)
		{
			bool role = key_len == 4 && memcmp(key, "role", 4) == 0 && is_usual_role(value);
			if (!hth_jinja_dict_set(arena, dict, key, key_len, convert(arena, value, trusted || role, depth + 1)))
				return NULL;
		}
		return dict;
	}
	case JSON_ARRAY: {
		hth_jinja_value *list = hth_jinja_list(arena);
		for (size_t i = 0; list != NULL && i < json_array_size(json); i++)
			if (!hth_jinja_list_append(arena, list, convert(arena, json_array_get(json, i), trusted, depth + 1)))
				return NULL;
		return list;
	}
	case JSON_STRING:
		return convert_string(arena, json, trusted);
	case JSON_INTEGER:
		return hth_jinja_int(arena, json_integer_value(json));
	case JSON_REAL:
		return hth_jinja_float(arena, json_real_value(json));
	case JSON_TRUE:
	case JSON_FALSE:
		return hth_jinja_bool(arena, json_is_true(json));
	default:
		return hth_jinja_none(arena);
	}
}

const hth_jinja_value *hth_jinja_from_json(hth_jinja_arena *arena, const json_t *json, bool trusted)
{
	return convert(arena, json, trusted, 0);
}

static bool is_token_name(const char *key)
{
	size_t n = strlen(key);
	return n > 6 && strcmp(key + n - 6, "_token") == 0;
}

hth_status hth_template_vars(const hth_jinja_value **ret_vars, hth_jinja_arena *arena, const json_t *vars, hth_error *err)
{
	if (!json_is_object(vars))
		return hth_fail(err, HTH_INVALID, "a template's variables must be an object, not %s", hth_json_type_name(vars));
	hth_jinja_value *dict = hth_jinja_dict(arena);
	const char *key;
	json_t *value;
	bool ok = dict != NULL;
	json_object_foreach ((json_t *)vars, key, value)
		ok = ok && hth_jinja_dict_set(arena, dict, key, strlen(key), convert(arena, value, is_token_name(key), 0));
	if (ok && json_object_get(vars, "add_generation_prompt") == NULL)
		ok = hth_jinja_dict_set(arena, dict, "add_generation_prompt", 21, hth_jinja_bool(arena, false));
	if (!ok)
		return hth_fail(err, HTH_TOO_LARGE, "the messages need more memory than a template may use");
	*ret_vars = dict;
	return HTH_OK;
}
