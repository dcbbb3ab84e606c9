/* negate.c - the schema of everything that another schema does not allow, written as a schema again, where its keywords
 * have simple opposites. It serves not, if/then/else, dependencies, and a oneOf whose branches overlap. Three keywords
 * exist only here: $notEnum, $notPattern, and the type $fraction (numbers that are no integers).
 *
 * A schema with several keywords is not satisfied when one of them is not: the opposite is an anyOf of opposites. */
#include "schema/reading.h"

#include "schema/schema.h"

/* Keeps a made schema until the reader is finished; NULL stays NULL. */
static json_t *keep(reader *r, json_t *made)
{
	if (made != NULL && json_array_append_new(r->made, made) != 0)
		return NULL;
	return made;
}

static hth_status no_memory(const reader *r)
{
	return hth_fail(r->err, HTH_NO_MEMORY, "no memory to read a schema");
}

static hth_status refuse(const reader *r, const json_t *s, const char *keyword)
{
	char place[256];
	return hth_fail(
	    r->err, HTH_UNSUPPORTED,
	    "schema: the opposite of keyword \"%s\" (at %s) is needed here (by not, oneOf or if) and is not supported",
	    keyword, hth_schema_place_of(r, s, place));
}

static json_t *opposite_type(const json_t *type)
{
	static const char *const names[] = {"null", "boolean", "integer", "$fraction", "string", "array", "object"};
	json_t *list = json_array();
	size_t n = json_is_array(type) ? json_array_size(type) : 1;
	for (size_t i = 0; i < HTH_COUNT(names); i++) {
		bool in = false;
		for (size_t k = 0; k < n; k++) {
			const char *t = json_string_value(json_is_array(type) ? json_array_get(type, k) : type);
			in |= t != NULL && (strcmp(t, names[i]) == 0 || strcmp(t, "any") == 0 ||
			                    (strcmp(t, "number") == 0 && (i == 2 || i == 3)));
		}
		if (!in)
			json_array_append_new(list, json_string(names[i]));
	}
	return json_pack("{so}", "type", list);
}

/* An anyOf of the list, with a type; nothing when the list is empty. The list is taken. */
static json_t *one_of_these(const char *type, json_t *list)
{
	if (json_array_size(list) == 0) {
		json_decref(list);
		return json_false();
	}
	return json_pack("{ssso}", "type", type, "anyOf", list);
}

/* {"type": type, key: value}; value's reference is taken. */
static json_t *typed(const char *type, const char *key, json_t *value)
{
	return json_pack("{ssso}", "type", type, key, value);
}

static hth_status opposite_count(reader *r, const json_t *s, const char *key, const char *type, const char *other,
                                 json_t **ret)
{
	const json_t *v = json_object_get(s, key);
	if (!json_is_integer(v))
		return refuse(r, s, key);
	bool is_min = strncmp(key, "min", 3) == 0;
	json_int_t n = json_integer_value(v) + (is_min ? -1 : 1);
	*ret = n < 0 ? json_false() : typed(type, other, json_integer(n));
	return HTH_OK;
}

static hth_status opposite_properties(reader *r, const json_t *properties, json_t **ret)
{
	json_t *list = json_array(), *schema;
	const char *key;
	hth_status status = HTH_OK;
	json_object_foreach((json_t *)properties, key, schema)
	{
		const json_t *no;
		if (is_yes(schema))
			continue;
		status = hth_schema_negate(r, schema, &no);
		if (status != HTH_OK)
			break;
		json_array_append_new(list, json_pack("{s[s]s{sO}}", "required", key, "properties", key, no));
	}
	if (status == HTH_OK)
		*ret = one_of_these("object", list);
	else
		json_decref(list);
	return status;
}

static json_t *opposite_required(const json_t *names)
{
	json_t *list = json_array(), *name;
	size_t i;
	json_array_foreach((json_t *)names, i, name)
	    json_array_append_new(list, json_pack("{s{sb}}", "properties", json_string_value(name), 0));
	return one_of_these("object", list);
}

/* Some item of the prefix is wrong, or (items false) there is one too many. */
static hth_status opposite_items(reader *r, const json_t *s, json_t **ret)
{
	const json_t *items = json_object_get(s, "items"), *prefix = json_object_get(s, "prefixItems");
	if (json_is_array(items)) {
		prefix = items;
		items = json_object_get(s, "additionalItems");
	}
	if (items != NULL && !json_is_boolean(items) && !is_yes(items))
		return refuse(r, s, "items");
	json_t *list = json_array();
	size_t n = json_array_size(prefix);
	hth_status status = HTH_OK;
	for (size_t i = 0; i < n && status == HTH_OK; i++) {
		const json_t *no, *schema = json_array_get(prefix, i);
		if (is_yes(schema))
			continue;
		status = hth_schema_negate(r, schema, &no);
		if (status != HTH_OK)
			break;
		json_t *before = json_array();
		for (size_t k = 0; k < i; k++)
			json_array_append_new(before, json_true());
		json_array_append(before, (json_t *)no);
		json_array_append_new(list, json_pack("{sIso}", "minItems", (json_int_t)i + 1, "prefixItems", before));
	}
	if (json_is_false(items))
		json_array_append_new(list, json_pack("{sI}", "minItems", (json_int_t)n + 1));
	if (status == HTH_OK)
		*ret = one_of_these("array", list);
	else
		json_decref(list);
	return status;
}

/* The opposites of all schemas in a list, under `key`. */
static hth_status opposite_list(reader *r, const json_t *list, const char *key, json_t **ret)
{
	json_t *out = json_array(), *schema;
	size_t i;
	json_array_foreach((json_t *)list, i, schema)
	{
		const json_t *no;
		hth_status status = hth_schema_negate(r, schema, &no);
		if (status != HTH_OK) {
			json_decref(out);
			return status;
		}
		json_array_append(out, (json_t *)no);
	}
	*ret = json_array_size(out) > 0 ? json_pack("{so}", key, out) : (json_decref(out), json_false());
	return HTH_OK;
}

/* What does not satisfy one keyword; *ret stays NULL where every value satisfies it. */
static hth_status opposite(reader *r, const json_t *s, const char *key, json_t *v, json_t **ret)
{
	static const struct {
		const char *key, *type, *other;
	} turned[] = {{"minimum", "number", "exclusiveMaximum"},
	              {"maximum", "number", "exclusiveMinimum"},
	              {"exclusiveMinimum", "number", "maximum"},
	              {"exclusiveMaximum", "number", "minimum"}},
	  counts[] = {{"minLength", "string", "maxLength"},
	              {"maxLength", "string", "minLength"},
	              {"minItems", "array", "maxItems"},
	              {"maxItems", "array", "minItems"},
	              {"minProperties", "object", "maxProperties"},
	              {"maxProperties", "object", "minProperties"}};
	for (size_t i = 0; i < HTH_COUNT(turned); i++)
		if (strcmp(key, turned[i].key) == 0) {
			if (!json_is_number(v))
				return refuse(r, s, key);
			*ret = typed(turned[i].type, turned[i].other, json_incref(v));
			return HTH_OK;
		}
	for (size_t i = 0; i < HTH_COUNT(counts); i++)
		if (strcmp(key, counts[i].key) == 0)
			return opposite_count(r, s, key, counts[i].type, counts[i].other, ret);
	if (strcmp(key, "type") == 0)
		*ret = opposite_type(v);
	else if (strcmp(key, "enum") == 0)
		*ret = json_pack("{sO}", "$notEnum", v);
	else if (strcmp(key, "const") == 0)
		*ret = json_pack("{s[O]}", "$notEnum", v);
	else if (strcmp(key, "pattern") == 0)
		*ret = typed("string", "$notPattern", json_incref(v));
	else if (strcmp(key, "format") == 0 && json_is_string(v) && hth_schema_format(json_string_value(v)) != NULL)
		*ret = typed("string", "$notPattern", json_string(hth_schema_format(json_string_value(v))));
	else if (strcmp(key, "required") == 0)
		*ret = opposite_required(v);
	else if (strcmp(key, "properties") == 0)
		return opposite_properties(r, v, ret);
	else if (strcmp(key, "prefixItems") == 0 || strcmp(key, "items") == 0)
		/* With both, once is enough. */
		return strcmp(key, "items") == 0 && json_object_get(s, "prefixItems") ? HTH_OK
		                                                                      : opposite_items(r, s, ret);
	else if (strcmp(key, "anyOf") == 0 || strcmp(key, "allOf") == 0)
		return opposite_list(r, v, strcmp(key, "anyOf") == 0 ? "allOf" : "anyOf", ret);
	else if (strcmp(key, "not") == 0)
		*ret = json_incref(v);
	else if (strcmp(key, "$notEnum") == 0)
		*ret = json_pack("{sO}", "enum", v);
	else if (strcmp(key, "$notPattern") == 0)
		*ret = typed("string", "pattern", json_incref(v));
	else if (hth_schema_is_idle_keyword(s, key, v))
		return HTH_OK;
	else
		return refuse(r, s, key);
	return *ret == NULL ? no_memory(r) : HTH_OK;
}

static hth_status negate_object(reader *r, const json_t *s, json_t **ret)
{
	json_t *list = json_array(), *value;
	const char *key;
	hth_status status = list ? HTH_OK : no_memory(r);
	json_object_foreach((json_t *)s, key, value)
	{
		json_t *one = NULL;
		if (status != HTH_OK)
			break;
		if (strcmp(key, "$ref") == 0) {
			const json_t *target, *no;
			status = hth_schema_resolve_reference(r, s, &target);
			if (status == HTH_OK)
				status = hth_schema_negate(r, target, &no);
			if (status == HTH_OK)
				json_array_append(list, (json_t *)no);
			continue;
		}
		status = opposite(r, s, key, value, &one);
		if (status == HTH_OK && one != NULL)
			json_array_append_new(list, one);
	}
	if (status != HTH_OK)
		json_decref(list);
	else
		*ret = json_array_size(list) > 0 ? json_pack("{so}", "anyOf", list) : (json_decref(list), json_false());
	return status;
}

hth_status hth_schema_negate(reader *r, const json_t *s, const json_t **ret)
{
	json_t *made = NULL;
	if (json_is_boolean(s) || is_yes(s)) {
		*ret = is_yes(s) ? r->no : r->yes;
		return HTH_OK;
	}
	if (r->depth >= READ_DEPTH_MAX)
		return refuse(r, s, "$ref");
	r->depth++;
	hth_status status = json_is_object(s) ? negate_object(r, s, &made) : refuse(r, s, "not");
	r->depth--;
	HTH_TRY(status);
	*ret = keep(r, made);
	return *ret ? HTH_OK : no_memory(r);
}
