/* store-filters.c - the filters of a store's search: comparisons of a file's attributes, and `and` and `or` of them.
 *
 * Format: OpenAI's API reference, "Search vector store": {"type":"eq|ne|gt|gte|lt|lte|in|nin","key":...,"value":...} and
 * {"type":"and|or","filters":[...]}. What a file has no attribute for is not equal to anything, neither less nor greater.
 */
#include "index/stores-internal.h"

#include "base/mem.h"

enum { DEPTH_MAX = 8, NODES_MAX = 200, KEY_MAX = 64, VALUES_MAX = 200 };
static const char *const comparisons[] = {"eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"};

static bool is_value(const json_t *v)
{
	return json_is_string(v) || json_is_number(v) || json_is_boolean(v);
}

static hth_status check_comparison(const json_t *filter, const char *type, hth_error *err)
{
	const char *key = json_string_value(json_object_get(filter, "key"));
	const json_t *value = json_object_get(filter, "value");
	bool known = false;
	for (size_t i = 0; i < HTH_COUNT(comparisons); i++)
		known |= strcmp(type, comparisons[i]) == 0;
	if (!known)
		return hth_fail_param(err, HTH_INVALID, "filters",
		                      "a filter's type is eq, ne, gt, gte, lt, lte, in, nin, and or or, not '%.40s'", type);
	if (key == NULL || *key == '\0' || strlen(key) > KEY_MAX)
		return hth_fail_param(err, HTH_INVALID, "filters", "a filter's key is the name of an attribute, at most %d bytes", KEY_MAX);
	if (strcmp(type, "in") != 0 && strcmp(type, "nin") != 0)
		return is_value(value) ? HTH_OK : hth_fail_param(err, HTH_INVALID, "filters",
		                                                 "the filter of '%s' needs a value: a string, number or boolean", key);
	if (!json_is_array(value) || json_array_size(value) > VALUES_MAX)
		return hth_fail_param(err, HTH_INVALID, "filters", "the filter of '%s' needs an array of at most %d values", key,
		                      VALUES_MAX);
	for (size_t i = 0; i < json_array_size(value); i++)
		if (!is_value(json_array_get(value, i)))
			return hth_fail_param(err, HTH_INVALID, "filters",
			                      "the filter of '%s' has a value that is no string, number or boolean", key);
	return HTH_OK;
}

static hth_status check(const json_t *filter, int depth, int *nodes, hth_error *err)
{
	const char *type = json_string_value(json_object_get(filter, "type"));
	if (!json_is_object(filter) || type == NULL)
		return hth_fail_param(err, HTH_INVALID, "filters", "a filter is an object with a type");
	if (depth > DEPTH_MAX || ++*nodes > NODES_MAX)
		return hth_fail_param(err, HTH_INVALID, "filters", "filters are nested at most %d deep, %d in all", DEPTH_MAX, NODES_MAX);
	if (strcmp(type, "and") != 0 && strcmp(type, "or") != 0)
		return check_comparison(filter, type, err);
	const json_t *list = json_object_get(filter, "filters");
	if (!json_is_array(list))
		return hth_fail_param(err, HTH_INVALID, "filters", "a filter of type %s needs an array of filters", type);
	for (size_t i = 0; i < json_array_size(list); i++)
		HTH_TRY(check(json_array_get(list, i), depth + 1, nodes, err));
	return HTH_OK;
}

hth_status store_filter_check(const json_t *filter, hth_error *err)
{
	int nodes = 0;
	return check(filter, 1, &nodes, err);
}

static bool are_equal(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	return json_equal(a, b) != 0;
}

/* False: they cannot be compared. */
static bool order(const json_t *a, const json_t *b, int *ret_sign)
{
	if (json_is_number(a) && json_is_number(b)) {
		double x = json_number_value(a), y = json_number_value(b);
		*ret_sign = x < y ? -1 : x > y;
		return true;
	}
	if (!json_is_string(a) || !json_is_string(b))
		return false;
	*ret_sign = strcmp(json_string_value(a), json_string_value(b));
	return true;
}

static bool compare(const char *type, const json_t *has, const json_t *value)
{
	int sign = 0;
	if (strcmp(type, "eq") == 0 || strcmp(type, "ne") == 0)
		return (has != NULL && are_equal(has, value)) == (type[0] == 'e');
	if (strcmp(type, "in") == 0 || strcmp(type, "nin") == 0) {
		bool any = false;
		for (size_t i = 0; has != NULL && i < json_array_size(value); i++)
			any |= are_equal(has, json_array_get(value, i));
		return any == (type[0] == 'i');
	}
	if (has == NULL || !order(has, value, &sign))
		return false;
	return (type[0] == 'g' ? sign > 0 : sign < 0) || (type[2] == 'e' && sign == 0);
}

bool store_filter_matches(const json_t *filter, const json_t *attributes)
{
	const char *type = json_string_value(json_object_get(filter, "type"));
	bool all = strcmp(type, "and") == 0;
	if (!all && strcmp(type, "or") != 0)
		return compare(type, json_object_get(attributes, json_string_value(json_object_get(filter, "key"))),
		               json_object_get(filter, "value"));
	const json_t *list = json_object_get(filter, "filters");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (store_filter_matches(json_array_get(list, i), attributes) != all)
			return !all;
	return all;
}
