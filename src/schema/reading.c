/* reading.c - keywords into alternatives. See reading.h. A keyword that constrains and is not read here is refused by
 * name, with its place; so is one that looks like a slip of the pen ("maxLenght"). Unknown words are annotations, as
 * the standard says. */
#include "schema/reading.h"

#include "schema/schema.h"

#include <math.h>
#include <stdio.h>

static const char *const annotations[] = {
    "title",           "description",   "default",     "examples", "example",     "deprecated",
    "readOnly",        "readonly",      "writeOnly",   "$schema",  "$id",         "id",
    "$comment",        "$defs",         "definitions", "$anchor",  "$vocabulary", "contentMediaType",
    "contentEncoding", "contentSchema", "nullable", /* read with type */
    "discriminator",   "externalDocs",  "xml",         "self",
};
static const char *const constraints[] = {
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "$notEnum",
    "$notPattern",
};
static const char *const refused[] = {
    "contains",         "minContains", "maxContains",   "uniqueItems",    "unevaluatedProperties",
    "unevaluatedItems", "$dynamicRef", "$recursiveRef", "$dynamicAnchor", "extends",
    "disallow",         "divisibleBy",
};

hth_status hth_schema_reader_init(reader *r, hth_error *err)
{
	*r = (reader){.err = err, .yes = json_true(), .no = json_false(), .made = json_array()};
	return r->made ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory to read a schema");
}

void hth_schema_reader_finish(reader *r)
{
	json_decref(r->made);
	free((void *)r->roots);
	*r = (reader){0};
}

static hth_status wrong(const reader *r, const json_t *schema, const char *keyword, const char *should)
{
	char place[256];
	return hth_fail(r->err, HTH_INVALID, "schema: %s at %s must be %s", keyword,
	                hth_schema_place_of(r, schema, place), should);
}

static hth_status not_done(const reader *r, const json_t *schema, const char *keyword)
{
	char place[256];
	return hth_fail(r->err, HTH_UNSUPPORTED,
	                "schema: keyword \"%s\" (at %s) is not supported; leave it out, or say it otherwise", keyword,
	                hth_schema_place_of(r, schema, place));
}

static hth_status no_memory(const reader *r)
{
	return hth_fail(r->err, HTH_NO_MEMORY, "no memory to read a schema");
}

static void alternative_finish(alternative *a)
{
	free((void *)a->values);
	a->values = NULL;
}

void hth_schema_alternatives_finish(alternatives *a)
{
	for (size_t i = 0; i < a->n; i++)
		alternative_finish(&a->list[i]);
	free(a->list);
	*a = (alternatives){0};
}

static alternative anything(void)
{
	return (alternative){.types = TYPE_ANY,
	                     .min = -HUGE_VAL,
	                     .max = HUGE_VAL,
	                     .max_length = NO_LIMIT,
	                     .max_items = NO_LIMIT,
	                     .max_properties = NO_LIMIT};
}

static hth_status push(reader *r, alternatives *to, const alternative *a)
{
	if (to->n >= ALTERNATIVES_MAX)
		return hth_fail(r->err, HTH_TOO_LARGE, "schema: anyOf, oneOf and allOf multiply to over %d cases",
		                ALTERNATIVES_MAX);
	alternative *more = realloc(to->list, (to->n + 1) * sizeof *more);
	if (more == NULL)
		return no_memory(r);
	to->list = more;
	to->list[to->n] = *a;
	if (a->values != NULL) {
		json_t **copy = hth_alloc_array(a->n_values, sizeof(json_t *));
		if (copy == NULL)
			return no_memory(r);
		memcpy((void *)copy, (void *)a->values, a->n_values * sizeof(json_t *));
		to->list[to->n].values = copy;
	}
	to->n++;
	return HTH_OK;
}

unsigned hth_schema_type_of(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_NULL:
		return TYPE_NULL;
	case JSON_TRUE:
	case JSON_FALSE:
		return TYPE_BOOL;
	case JSON_INTEGER:
		return TYPE_INTEGER;
	case JSON_REAL:
		return json_real_value(v) == floor(json_real_value(v)) ? TYPE_INTEGER : TYPE_NUMBER;
	case JSON_STRING:
		return TYPE_STRING;
	case JSON_ARRAY:
		return TYPE_ARRAY;
	case JSON_OBJECT:
		return TYPE_OBJECT;
	}
	return 0;
}

bool hth_schema_same_value(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *value;
	size_t i;
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	if (json_typeof(a) != json_typeof(b))
		return false;
	if (json_is_array(a)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		json_array_foreach((json_t *)a, i,
		                   value) if (!hth_schema_same_value(value, json_array_get(b, i))) return false;
		return true;
	}
	if (json_is_object(a)) {
		if (json_object_size(a) != json_object_size(b))
			return false;
		json_object_foreach((json_t *)a, key, value)
		{
			const json_t *other = json_object_get(b, key);
			if (other == NULL || !hth_schema_same_value(value, other))
				return false;
		}
		return true;
	}
	return json_equal(a, b);
}

/* Only the values that are also in `list` stay. */
static hth_status keep_values(reader *r, alternative *a, json_t *const *list, size_t n)
{
	if (a->values == NULL) {
		a->values = hth_alloc_array(n, sizeof(json_t *));
		if (a->values == NULL)
			return no_memory(r);
		for (size_t i = 0; i < n; i++) {
			bool again = false;
			for (size_t k = 0; k < a->n_values; k++)
				again |= hth_schema_same_value(a->values[k], list[i]);
			if (!again)
				a->values[a->n_values++] = list[i];
		}
		return HTH_OK;
	}
	size_t kept = 0;
	for (size_t i = 0; i < a->n_values; i++) {
		bool in = false;
		for (size_t k = 0; k < n; k++)
			in |= hth_schema_same_value(a->values[i], list[k]);
		if (in)
			a->values[kept++] = a->values[i];
	}
	a->n_values = kept;
	return HTH_OK;
}

static hth_status read_type(reader *r, const json_t *schema, const json_t *type, unsigned *ret)
{
	static const struct {
		const char *name;
		unsigned bits;
	} names[] = {{"null", TYPE_NULL},       {"boolean", TYPE_BOOL},
	             {"integer", TYPE_INTEGER}, {"number", TYPE_INTEGER | TYPE_NUMBER},
	             {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
	             {"object", TYPE_OBJECT},   {"any", TYPE_ANY},
	             {"$fraction", TYPE_NUMBER}};
	unsigned bits = 0;
	size_t n = json_is_array(type) ? json_array_size(type) : 1;
	for (size_t i = 0; i < n; i++) {
		const json_t *t = json_is_array(type) ? json_array_get(type, i) : type;
		bool known = false;
		for (size_t k = 0; k < HTH_COUNT(names) && json_is_string(t); k++)
			if (strcmp(json_string_value(t), names[k].name) == 0) {
				bits |= names[k].bits;
				known = true;
			}
		if (!known)
			return wrong(r, schema, "type",
			             "null, boolean, integer, number, string, array or object, or a list of them");
	}
	*ret = bits;
	return HTH_OK;
}

static hth_status read_count(reader *r, const json_t *schema, const char *key, int32_t *value, bool is_max)
{
	const json_t *v = json_object_get(schema, key);
	if (v == NULL)
		return HTH_OK;
	double d = json_number_value(v);
	if (!json_is_number(v) || d < 0 || d != floor(d))
		return wrong(r, schema, key, "an integer that is not negative");
	int32_t n = d >= NO_LIMIT ? NO_LIMIT : (int32_t)d;
	*value = is_max ? HTH_MIN(*value, n) : HTH_MAX(*value, n);
	return HTH_OK;
}

static void raise_min(alternative *a, double v, bool open)
{
	if (v > a->min || (v == a->min && open)) {
		a->min = v;
		a->above_min = open;
	}
}

static void lower_max(alternative *a, double v, bool open)
{
	if (v < a->max || (v == a->max && open)) {
		a->max = v;
		a->below_max = open;
	}
}

static hth_status read_bounds(reader *r, const json_t *s, alternative *a)
{
	static const char *const keys[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
	for (size_t i = 0; i < 4; i++) {
		const json_t *v = json_object_get(s, keys[i]);
		if (v == NULL)
			continue;
		if (i >= 2 && json_is_boolean(v)) {
			/* Draft 4: a flag on minimum or maximum. */
			const json_t *bound = json_object_get(s, keys[i - 2]);
			if (json_is_true(v) && json_is_number(bound)) {
				if (i == 2)
					raise_min(a, json_number_value(bound), true);
				else
					lower_max(a, json_number_value(bound), true);
			}
			continue;
		}
		if (!json_is_number(v))
			return wrong(r, s, keys[i], "a number");
		if (i % 2 == 0)
			raise_min(a, json_number_value(v), i == 2);
		else
			lower_max(a, json_number_value(v), i == 3);
	}
	const json_t *multiple = json_object_get(s, "multipleOf");
	if (multiple != NULL) {
		if (!json_is_number(multiple) || json_number_value(multiple) <= 0)
			return wrong(r, s, "multipleOf", "a number above 0");
		if (a->n_multiple == PATTERNS_MAX)
			return hth_fail(r->err, HTH_TOO_LARGE, "schema: over %d multipleOf bind one place",
			                PATTERNS_MAX);
		a->multiple[a->n_multiple++] = multiple;
	}
	return HTH_OK;
}

static hth_status read_strings(reader *r, const json_t *s, alternative *a)
{
	const json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
	if ((pattern != NULL && a->n_patterns == PATTERNS_MAX) || (format != NULL && a->n_formats == PATTERNS_MAX))
		return hth_fail(r->err, HTH_TOO_LARGE, "schema: over %d patterns bind one place", PATTERNS_MAX);
	if (pattern != NULL) {
		if (!json_is_string(pattern))
			return wrong(r, s, "pattern", "a string");
		a->patterns[a->n_patterns++] = json_string_value(pattern);
	}
	if (format != NULL) {
		char place[256];
		if (!json_is_string(format))
			return wrong(r, s, "format", "a string");
		const char *known = hth_schema_format(json_string_value(format));
		/* A format says something about strings only. */
		if (known == NULL && (a->types & TYPE_STRING))
			return hth_fail(r->err, HTH_UNSUPPORTED, "schema: format \"%.60s\" (at %s) is not supported",
			                json_string_value(format), hth_schema_place_of(r, s, place));
		if (known != NULL)
			a->formats[a->n_formats++] = known;
	}
	return HTH_OK;
}

static hth_status read_arrays(reader *r, const json_t *s, alternative *a)
{
	const json_t *items = json_object_get(s, "items"), *prefix = json_object_get(s, "prefixItems");
	if (json_is_array(items)) { /* before 2020-12 */
		prefix = items;
		items = json_object_get(s, "additionalItems");
	}
	if (items == NULL && prefix == NULL)
		return HTH_OK;
	if (items != NULL && !json_is_object(items) && !json_is_boolean(items))
		return wrong(r, s, "items", "a schema");
	if (prefix != NULL && !json_is_array(prefix))
		return wrong(r, s, "prefixItems", "a list of schemas");
	if (a->n_arrays == GROUPS_MAX)
		return hth_fail(r->err, HTH_TOO_LARGE, "schema: over %d schemas bind one array", GROUPS_MAX);
	a->arrays[a->n_arrays++] = (array_rules){prefix, items};
	return HTH_OK;
}

static hth_status read_objects(reader *r, const json_t *s, alternative *a)
{
	object_rules o = {json_object_get(s, "properties"), json_object_get(s, "patternProperties"),
	                  json_object_get(s, "additionalProperties"), json_object_get(s, "propertyNames")};
	const json_t *required = json_object_get(s, "required"), *name;
	size_t i;
	if ((o.properties != NULL && !json_is_object(o.properties)) ||
	    (o.pattern_properties != NULL && !json_is_object(o.pattern_properties)))
		return wrong(r, s, o.properties && !json_is_object(o.properties) ? "properties" : "patternProperties",
		             "an object of schemas");
	if (o.additional != NULL && !json_is_object(o.additional) && !json_is_boolean(o.additional))
		return wrong(r, s, "additionalProperties", "a schema");
	if (o.properties || o.pattern_properties || o.additional || o.names) {
		if (a->n_objects == GROUPS_MAX)
			return hth_fail(r->err, HTH_TOO_LARGE, "schema: over %d schemas bind one object", GROUPS_MAX);
		a->objects[a->n_objects++] = o;
	}
	if (required == NULL)
		return HTH_OK;
	if (!json_is_array(required))
		return wrong(r, s, "required", "a list of names");
	json_array_foreach((json_t *)required, i, name) if (!json_is_string(name)) return wrong(r, s, "required",
	                                                                                        "a list of names");
	if (a->n_required == GROUPS_MAX)
		return hth_fail(r->err, HTH_TOO_LARGE, "schema: over %d schemas bind one object", GROUPS_MAX);
	a->required[a->n_required++] = required;
	return HTH_OK;
}

static bool is_in(const char *key, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(key, list[i]) == 0)
			return true;
	return false;
}

/* One letter wrong, missing, too many, or two changed places. */
static bool looks_like(const char *a, const char *b)
{
	size_t m = strlen(a), n = strlen(b), i = 0, j = 0;
	while (i < m && i < n && a[i] == b[i])
		i++;
	while (j + i < m && j + i < n && a[m - 1 - j] == b[n - 1 - j])
		j++;
	size_t da = m - i - j, db = n - i - j;
	if (da <= 1 && db <= 1)
		return true;
	return da == 2 && db == 2 && a[i] == b[i + 1] && a[i + 1] == b[i];
}

bool hth_schema_is_idle_keyword(const json_t *s, const char *key, const json_t *value)
{
	if (is_in(key, annotations, HTH_COUNT(annotations)))
		return true;
	if (!is_in(key, constraints, HTH_COUNT(constraints)) && !is_in(key, refused, HTH_COUNT(refused)))
		return true;
	bool no_if = json_object_get(s, "if") == NULL;
	return (strcmp(key, "uniqueItems") == 0 && json_is_false(value)) ||
	       (strncmp(key, "unevaluated", 11) == 0 && is_yes(value)) ||
	       (strcmp(key, "not") == 0 && json_is_false(value)) ||
	       ((strcmp(key, "then") == 0 || strcmp(key, "else") == 0) && no_if) ||
	       (strcmp(key, "if") == 0 && json_object_get(s, "then") == NULL && json_object_get(s, "else") == NULL) ||
	       ((strcmp(key, "minContains") == 0 || strcmp(key, "maxContains") == 0) &&
	        json_object_get(s, "contains") == NULL) ||
	       (strncmp(key, "dependen", 8) == 0 && json_is_object(value) && json_object_size(value) == 0) ||
	       (strcmp(key, "additionalProperties") == 0 && is_yes(value)) ||
	       (strcmp(key, "propertyNames") == 0 && is_yes(value)) || strcmp(key, "additionalItems") == 0 ||
	       strcmp(key, "$dynamicAnchor") == 0;
}

static hth_status check_keywords(reader *r, const json_t *s)
{
	const char *key;
	json_t *value;
	char place[256];
	json_object_foreach((json_t *)s, key, value)
	{
		if (is_in(key, constraints, HTH_COUNT(constraints)) || is_in(key, annotations, HTH_COUNT(annotations)))
			continue;
		if (is_in(key, refused, HTH_COUNT(refused))) {
			if (!hth_schema_is_idle_keyword(s, key, value))
				return not_done(r, s, key);
			continue;
		}
		if (key[0] == '_' || key[0] == '$' || key[0] == '@' || strncmp(key, "x-", 2) == 0)
			continue;
		for (size_t i = 0; i < HTH_COUNT(constraints); i++)
			if (strlen(key) > 4 && looks_like(key, constraints[i]))
				return hth_fail(r->err, HTH_UNSUPPORTED,
				                "schema: \"%.60s\" (at %s) is no keyword; \"%s\" is", key,
				                hth_schema_place_of(r, s, place), constraints[i]);
	}
	return HTH_OK;
}

static hth_status read_own(reader *r, const json_t *s, alternative *a)
{
	const json_t *type = json_object_get(s, "type"), *values = json_object_get(s, "enum"),
	             *one = json_object_get(s, "const");
	*a = anything();
	if (type != NULL)
		HTH_TRY(read_type(r, s, type, &a->types));
	if (json_is_true(json_object_get(s, "nullable")))
		a->types |= TYPE_NULL;
	if (values != NULL && !json_is_array(values))
		return wrong(r, s, "enum", "a list of values");
	if (values != NULL) {
		size_t n = json_array_size(values);
		HTH_AUTO_FREE json_t **list = hth_alloc_array(n, sizeof(json_t *));
		if (list == NULL)
			return no_memory(r);
		for (size_t i = 0; i < n; i++)
			list[i] = json_array_get(values, i);
		HTH_TRY(keep_values(r, a, list, n));
	}
	if (one != NULL)
		HTH_TRY(keep_values(r, a, (json_t *[]){(json_t *)one}, 1));
	const json_t *excluded = json_object_get(s, "$notEnum"), *not_pattern = json_object_get(s, "$notPattern");
	if (excluded != NULL)
		a->excluded[a->n_excluded++] = excluded;
	if (not_pattern != NULL)
		a->not_patterns[a->n_not_patterns++] = json_string_value(not_pattern);
	HTH_TRY(read_count(r, s, "minLength", &a->min_length, false));
	HTH_TRY(read_count(r, s, "maxLength", &a->max_length, true));
	HTH_TRY(read_count(r, s, "minItems", &a->min_items, false));
	HTH_TRY(read_count(r, s, "maxItems", &a->max_items, true));
	HTH_TRY(read_count(r, s, "minProperties", &a->min_properties, false));
	HTH_TRY(read_count(r, s, "maxProperties", &a->max_properties, true));
	HTH_TRY(read_bounds(r, s, a));
	HTH_TRY(read_strings(r, s, a));
	HTH_TRY(read_arrays(r, s, a));
	return read_objects(r, s, a);
}

#define MERGE_LIST(field, count, max)                                                                                  \
	do {                                                                                                           \
		if (a->count + b->count > (max))                                                                       \
			return hth_fail(r->err, HTH_TOO_LARGE, "schema: over %d schemas bind one place", (int)(max));  \
		for (size_t i_ = 0; i_ < b->count; i_++)                                                               \
			a->field[a->count++] = b->field[i_];                                                           \
	} while (0)

/* a and b at once, in a. */
static hth_status merge(reader *r, alternative *a, const alternative *b)
{
	a->types &= b->types;
	if (b->values != NULL)
		HTH_TRY(keep_values(r, a, b->values, b->n_values));
	raise_min(a, b->min, b->above_min);
	lower_max(a, b->max, b->below_max);
	a->min_length = HTH_MAX(a->min_length, b->min_length);
	a->max_length = HTH_MIN(a->max_length, b->max_length);
	a->min_items = HTH_MAX(a->min_items, b->min_items);
	a->max_items = HTH_MIN(a->max_items, b->max_items);
	a->min_properties = HTH_MAX(a->min_properties, b->min_properties);
	a->max_properties = HTH_MIN(a->max_properties, b->max_properties);
	MERGE_LIST(multiple, n_multiple, PATTERNS_MAX);
	MERGE_LIST(patterns, n_patterns, PATTERNS_MAX);
	MERGE_LIST(formats, n_formats, PATTERNS_MAX);
	MERGE_LIST(not_patterns, n_not_patterns, PATTERNS_MAX);
	MERGE_LIST(excluded, n_excluded, GROUPS_MAX);
	MERGE_LIST(arrays, n_arrays, GROUPS_MAX);
	MERGE_LIST(objects, n_objects, GROUPS_MAX);
	MERGE_LIST(required, n_required, GROUPS_MAX);
	return HTH_OK;
}

static bool possible(const alternative *a)
{
	return a->types != 0 && !(a->values != NULL && a->n_values == 0);
}

/* Every pair of one of *to and one of `with`, in *to. */
static hth_status multiply(reader *r, alternatives *to, const alternatives *with)
{
	alternatives out = {0};
	hth_status status = HTH_OK;
	for (size_t i = 0; i < to->n && status == HTH_OK; i++)
		for (size_t k = 0; k < with->n && status == HTH_OK; k++) {
			status = push(r, &out, &to->list[i]);
			if (status != HTH_OK)
				break;
			status = merge(r, &out.list[out.n - 1], &with->list[k]);
			if (status == HTH_OK && !possible(&out.list[out.n - 1]))
				alternative_finish(&out.list[--out.n]);
		}
	if (status != HTH_OK) {
		hth_schema_alternatives_finish(&out);
		return status;
	}
	hth_schema_alternatives_finish(to);
	*to = out;
	return HTH_OK;
}

static hth_status read_schema(reader *r, const json_t *s, alternatives *ret);

static hth_status multiply_by(reader *r, alternatives *to, const json_t *schema)
{
	alternatives with = {0};
	hth_status status = read_schema(r, schema, &with);
	if (status == HTH_OK)
		status = multiply(r, to, &with);
	hth_schema_alternatives_finish(&with);
	return status;
}

static hth_status multiply_by_opposite(reader *r, alternatives *to, const json_t *schema)
{
	const json_t *no = NULL;
	HTH_TRY(hth_schema_negate(r, schema, &no));
	return multiply_by(r, to, no);
}

/* From every branch of a oneOf is taken what it shares with another one. */
static hth_status part_branches(reader *r, const json_t *s, const json_t *list, alternatives *branches, size_t n)
{
	HTH_AUTO_FREE bool *overlap = hth_alloc_array(n, n);
	if (overlap == NULL)
		return no_memory(r);
	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n; k++) {
			bool apart;
			HTH_TRY(hth_schema_alternatives_disjoint(r, &branches[i], &branches[k], &apart));
			overlap[i * n + k] = overlap[k * n + i] = !apart;
		}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			char place[256];
			hth_error inner = HTH_ERROR_INIT, *outer = r->err;
			if (!overlap[i * n + k])
				continue;
			r->err = &inner;
			hth_status status = multiply_by_opposite(r, &branches[i], json_array_get(list, k));
			r->err = outer;
			if (status != HTH_OK)
				return hth_fail(r->err, status,
				                "schema: oneOf (at %s): a value could be of both branch %zu and branch "
				                "%zu; use anyOf, or tell them "
				                "apart by type or by a required property with a const (%.160s)",
				                hth_schema_place_of(r, s, place), HTH_MIN(i, k), HTH_MAX(i, k),
				                inner.message);
		}
	return HTH_OK;
}

static hth_status read_choice(reader *r, const json_t *s, const char *key, alternatives *to)
{
	const json_t *list = json_object_get(s, key);
	if (list == NULL)
		return HTH_OK;
	size_t n = json_array_size(list);
	if (!json_is_array(list) || n == 0 || n > ALTERNATIVES_MAX)
		return wrong(r, s, key, "a list of 1 to 512 schemas");
	HTH_AUTO_FREE alternatives *branches = hth_alloc_array(n, sizeof *branches);
	alternatives together = {0};
	hth_status status = branches ? HTH_OK : no_memory(r);
	for (size_t i = 0; i < n && status == HTH_OK; i++) {
		/* What stands beside the list may tell its branches apart, and bounds how much they multiply. */
		for (size_t k = 0; k < to->n && status == HTH_OK; k++)
			status = push(r, &branches[i], &to->list[k]);
		if (status == HTH_OK)
			status = multiply_by(r, &branches[i], json_array_get(list, i));
	}
	if (status == HTH_OK && strcmp(key, "oneOf") == 0)
		status = part_branches(r, s, list, branches, n);
	for (size_t i = 0; branches != NULL && i < n; i++) {
		for (size_t k = 0; k < branches[i].n && status == HTH_OK; k++)
			status = push(r, &together, &branches[i].list[k]);
		hth_schema_alternatives_finish(&branches[i]);
	}
	hth_schema_alternatives_finish(to);
	*to = together;
	return status;
}

/* if, then and else: what is of both if and then, and what is not of if but of else. */
static hth_status read_condition(reader *r, const json_t *s, alternatives *to)
{
	const json_t *test = json_object_get(s, "if");
	const json_t *then = json_object_get(s, "then"), *other = json_object_get(s, "else");
	if (test == NULL || (then == NULL && other == NULL))
		return HTH_OK;
	alternatives yes = {0}, no = {0};
	hth_status status = HTH_OK;
	for (size_t i = 0; i < to->n && status == HTH_OK; i++) {
		status = push(r, &yes, &to->list[i]);
		if (status == HTH_OK)
			status = push(r, &no, &to->list[i]);
	}
	if (status == HTH_OK)
		status = multiply_by(r, &yes, test);
	if (status == HTH_OK && then != NULL)
		status = multiply_by(r, &yes, then);
	if (status == HTH_OK)
		status = multiply_by_opposite(r, &no, test);
	if (status == HTH_OK && other != NULL)
		status = multiply_by(r, &no, other);
	for (size_t i = 0; i < no.n && status == HTH_OK; i++)
		status = push(r, &yes, &no.list[i]);
	hth_schema_alternatives_finish(&no);
	hth_schema_alternatives_finish(to);
	*to = yes;
	return status;
}

/* dependentRequired, dependentSchemas, and the older dependencies: without the key, or with what it wants. */
static hth_status read_dependencies(reader *r, const json_t *s, const char *keyword, alternatives *to)
{
	const json_t *all = json_object_get(s, keyword);
	const char *key;
	json_t *wants;
	if (all != NULL && !json_is_object(all))
		return wrong(r, s, keyword, "an object");
	json_object_foreach((json_t *)all, key, wants)
	{
		json_t *with = json_is_array(wants) ? json_pack("{sO}", "required", wants) : json_incref(wants);
		json_t *either = json_pack("{s[{s{sb}}o]}", "anyOf", "properties", key, 0, with);
		if (either == NULL || json_array_append_new(r->made, either) != 0)
			return no_memory(r);
		HTH_TRY(multiply_by(r, to, either));
	}
	return HTH_OK;
}

static hth_status read_object_schema(reader *r, const json_t *s, alternatives *ret)
{
	HTH_TRY(check_keywords(r, s));
	const json_t *ref = json_object_get(s, "$ref"), *all = json_object_get(s, "allOf"), *target = NULL;
	alternative own;
	hth_status status = read_own(r, s, &own);
	if (status == HTH_OK && possible(&own))
		status = push(r, ret, &own);
	alternative_finish(&own);
	HTH_TRY(status);
	if (all != NULL) {
		if (!json_is_array(all))
			return wrong(r, s, "allOf", "a list of schemas");
		for (size_t i = 0; i < json_array_size(all); i++)
			HTH_TRY(multiply_by(r, ret, json_array_get(all, i)));
	}
	if (ref != NULL) {
		HTH_TRY(hth_schema_resolve_reference(r, s, &target));
		HTH_TRY(multiply_by(r, ret, target));
	}
	HTH_TRY(read_choice(r, s, "anyOf", ret));
	HTH_TRY(read_choice(r, s, "oneOf", ret));
	if (json_object_get(s, "not") != NULL)
		HTH_TRY(multiply_by_opposite(r, ret, json_object_get(s, "not")));
	HTH_TRY(read_condition(r, s, ret));
	HTH_TRY(read_dependencies(r, s, "dependentRequired", ret));
	HTH_TRY(read_dependencies(r, s, "dependentSchemas", ret));
	return read_dependencies(r, s, "dependencies", ret);
}

static hth_status read_schema(reader *r, const json_t *s, alternatives *ret)
{
	char place[256];
	if (json_is_true(s)) {
		alternative a = anything();
		return push(r, ret, &a);
	}
	if (json_is_false(s))
		return HTH_OK;
	if (!json_is_object(s))
		return hth_fail(r->err, HTH_INVALID, "schema: %s must be an object or a boolean",
		                hth_schema_place_of(r, s, place));
	if (r->depth >= READ_DEPTH_MAX)
		return hth_fail(r->err, HTH_INVALID,
		                "schema: references at %s lead back to themselves, or over %d deep",
		                hth_schema_place_of(r, s, place), READ_DEPTH_MAX);
	if (++r->work > 2000000)
		return hth_fail(r->err, HTH_TOO_LARGE, "schema: it takes too much work to read");
	r->depth++;
	hth_status status = read_object_schema(r, s, ret);
	r->depth--;
	return status;
}

hth_status hth_schema_read_conj(reader *r, const conj *c, alternatives *ret)
{
	alternative a = anything();
	alternatives out = {0};
	hth_status status = push(r, &out, &a);
	for (size_t i = 0; i < c->n && status == HTH_OK; i++)
		status = multiply_by(r, &out, c->members[i]);
	if (status != HTH_OK)
		hth_schema_alternatives_finish(&out);
	else
		*ret = out;
	return status;
}
