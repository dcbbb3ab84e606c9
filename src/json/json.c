/* json.c - JSON text to jansson's tree and back, and typed reading of object members.
 *
 * Owns the limits (depth, duplicate keys) and the wording of errors; the tree itself is jansson's. Parsing first checks the
 * text (json-scan.c) so that what jansson can still refuse is little: a duplicate key, a real out of range, memory.
 * Nothing here keeps state; any thread may call it, a json_t belongs to one thread at a time.
 */
#include "json/json.h"

#include "base/utf8.h"
#include "json/scan.h"

#include <math.h>
#include <stdio.h>

/* jansson refuses integers past 64 bits; JSON allows them, and clients send them (a seed drawn from 64 unsigned bits). As in
 * JavaScript they become the nearest real: the copy appends an exponent to each. */
static hth_status mark_big_ints(const char *text, size_t len, size_t n, hth_buf *out, hth_error *err)
{
	out->max = len + 2 * n;
	bool in_string = false;
	size_t from = 0;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '-' || (c >= '0' && c <= '9')) {
			size_t digits = hth_json_number_len(text + i, len - i);
			if (hth_json_is_big_int(text + i, digits)) {
				hth_buf_append(out, text + from, i + digits - from);
				hth_buf_append_str(out, "e0");
				from = i + digits;
			}
			i += digits - 1;
		}
	}
	hth_buf_append(out, text + from, len - from);
	return hth_buf_check(out, "the JSON text", err);
}

hth_status hth_json_parse(json_t **ret_json, const char *text, size_t len, hth_error *err)
{
	size_t big_ints = 0;
	HTH_TRY(hth_json_scan(text, len, HTH_JSON_DEPTH_MAX, &big_ints, err));
	HTH_CLEANUP(hth_buf_finish) hth_buf copy = HTH_BUF_INIT(0);
	if (big_ints > 0) {
		HTH_TRY(mark_big_ints(text, len, big_ints, &copy, err));
		text = copy.data;
		len = copy.len;
	}
	json_error_t e;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (json != NULL) {
		*ret_json = json;
		return HTH_OK;
	}
	const char *what = "not valid JSON";
	switch (json_error_code(&e)) {
	case json_error_out_of_memory:
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the JSON text");
	case json_error_duplicate_key:
		what = "the same key twice in one object";
		break;
	case json_error_numeric_overflow:
		what = "a number is out of range";
		break;
	default:
		break;
	}
	return hth_fail(err, HTH_INVALID, "line %d, column %d: %s", e.line, e.column, what);
}

bool hth_json_write_string(const char *data, size_t len, hth_buf *out)
{
	static const char hex[] = "0123456789abcdef";
	hth_buf_append_char(out, '"');
	size_t from = 0, i = 0;
	while (i < len) {
		unsigned char c = (unsigned char)data[i];
		if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
			i++;
			continue;
		}
		uint32_t cp;
		size_t n = c >= 0x80 ? hth_utf8_decode(data + i, len - i, &cp) : 1;
		if (c >= 0x80 && n > 0) {
			i += n;
			continue;
		}
		hth_buf_append(out, data + from, i - from);
		char escape[7] = {'\\', (char)c, 0};
		switch (c) {
		case '"':
		case '\\':
			break;
		case '\b':
			escape[1] = 'b';
			break;
		case '\f':
			escape[1] = 'f';
			break;
		case '\n':
			escape[1] = 'n';
			break;
		case '\r':
			escape[1] = 'r';
			break;
		case '\t':
			escape[1] = 't';
			break;
		default:
			if (c >= 0x80)
				memcpy(escape, "\xEF\xBF\xBD", 4);
			else
				memcpy(escape, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], 0}, 7);
		}
		hth_buf_append_str(out, escape);
		from = ++i;
	}
	hth_buf_append(out, data + from, len - from);
	return hth_buf_append_char(out, '"');
}

/* The shortest decimal that reads back as the same number; always looks like a real ("1.0"). */
static bool write_real(double v, hth_buf *out)
{
	char text[40];
	if (!isfinite(v))
		return hth_buf_append_str(out, "null");
	int least = fabs(v) < 1e-300 ? 1 : 15; /* numbers near the smallest have fewer digits than 15 */
	for (int precision = least; precision <= 17; precision++) {
		snprintf(text, sizeof text - 2, "%.*g", precision, v);
		if (strtod(text, NULL) == v)
			break;
	}
	for (char *p = text; *p != '\0'; p++)
		if (*p == ',')
			*p = '.'; /* whatever locale the process runs in */
	if (strpbrk(text, ".e") == NULL)
		strcat(text, ".0");
	return hth_buf_append_str(out, text);
}

static bool write_value(const json_t *json, unsigned depth, hth_buf *out)
{
	if (depth > 512) { /* far over what parses: a tree that somebody built in a circle */
		out->failed = true;
		return false;
	}
	switch (json_typeof(json)) {
	case JSON_OBJECT: {
		const char *key;
		json_t *value;
		char comma = '{';
		json_object_foreach ((json_t *)json, key, value) {
			hth_buf_append_char(out, comma);
			hth_json_write_string(key, strlen(key), out);
			hth_buf_append_char(out, ':');
			if (!write_value(value, depth + 1, out))
				return false;
			comma = ',';
		}
		return hth_buf_append_str(out, comma == '{' ? "{}" : "}");
	}
	case JSON_ARRAY:
		hth_buf_append_char(out, '[');
		for (size_t i = 0; i < json_array_size(json); i++) {
			if (i > 0)
				hth_buf_append_char(out, ',');
			if (!write_value(json_array_get(json, i), depth + 1, out))
				return false;
		}
		return hth_buf_append_char(out, ']');
	case JSON_STRING:
		return hth_json_write_string(json_string_value(json), json_string_length(json), out);
	case JSON_INTEGER:
		return hth_buf_appendf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	case JSON_REAL:
		return write_real(json_real_value(json), out);
	case JSON_TRUE:
		return hth_buf_append_str(out, "true");
	case JSON_FALSE:
		return hth_buf_append_str(out, "false");
	default:
		return hth_buf_append_str(out, "null");
	}
}

bool hth_json_write(const json_t *json, hth_buf *out)
{
	return json == NULL ? hth_buf_append_str(out, "null") : write_value(json, 0, out);
}

const char *hth_json_type_name(const json_t *json)
{
	if (json == NULL)
		return "missing";
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	default:
		return "null";
	}
}

/* *ret_member is NULL when there is nothing to read: absent or null. */
static hth_status member(const json_t *object, const char *key, const json_t **ret_member, hth_error *err)
{
	if (!json_is_object(object))
		return hth_fail_param(err, HTH_INVALID, key, "expected an object with '%s', not %s", key,
				      hth_json_type_name(object));
	const json_t *m = json_object_get(object, key);
	*ret_member = json_is_null(m) ? NULL : m;
	return HTH_OK;
}

static hth_status wrong_type(const json_t *m, const char *key, const char *expected, hth_error *err)
{
	return hth_fail_param(err, HTH_INVALID, key, "'%s' must be %s, not %s", key, expected, hth_json_type_name(m));
}

hth_status hth_json_get_bool(const json_t *object, const char *key, bool *value, hth_error *err)
{
	const json_t *m;
	HTH_TRY(member(object, key, &m, err));
	if (m == NULL)
		return HTH_OK;
	if (!json_is_boolean(m))
		return wrong_type(m, key, "true or false", err);
	*value = json_is_true(m);
	return HTH_OK;
}

hth_status hth_json_get_int(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *value,
			    hth_error *err)
{
	const json_t *m;
	HTH_TRY(member(object, key, &m, err));
	if (m == NULL)
		return HTH_OK;
	if (!json_is_number(m))
		return wrong_type(m, key, "an integer", err);
	int64_t v;
	if (json_is_integer(m)) {
		v = json_integer_value(m);
	} else {
		/* Clients whose language has one number type send 3.0 for 3. */
		double d = json_real_value(m);
		if (d != floor(d))
			return hth_fail_param(err, HTH_INVALID, key, "'%s' must be an integer, not %g", key, d);
		if (d < -9223372036854775808.0 || d >= 9223372036854775808.0)
			return hth_fail_param(err, HTH_INVALID, key, "'%s' must be from %lld to %lld, not %g", key,
					      (long long)min, (long long)max, d);
		v = (int64_t)d;
	}
	if (v < min || v > max)
		return hth_fail_param(err, HTH_INVALID, key, "'%s' must be from %lld to %lld, not %lld", key,
				      (long long)min, (long long)max, (long long)v);
	*value = v;
	return HTH_OK;
}

hth_status hth_json_get_number(const json_t *object, const char *key, double min, double max, double *value,
			       hth_error *err)
{
	const json_t *m;
	HTH_TRY(member(object, key, &m, err));
	if (m == NULL)
		return HTH_OK;
	if (!json_is_number(m))
		return wrong_type(m, key, "a number", err);
	double v = json_number_value(m);
	if (!(v >= min && v <= max))
		return hth_fail_param(err, HTH_INVALID, key, "'%s' must be from %g to %g, not %g", key, min, max, v);
	*value = v;
	return HTH_OK;
}

/* As member(), of one type. */
static hth_status typed(const json_t *object, const char *key, json_type type, const char *expected, const json_t **ret_member,
                        hth_error *err)
{
	HTH_TRY(member(object, key, ret_member, err));
	return *ret_member == NULL || json_typeof(*ret_member) == type ? HTH_OK : wrong_type(*ret_member, key, expected, err);
}

hth_status hth_json_get_string(const json_t *object, const char *key, const char **value, hth_error *err)
{
	const json_t *m;
	HTH_TRY(typed(object, key, JSON_STRING, "a string", &m, err));
	if (m != NULL)
		*value = json_string_value(m);
	return HTH_OK;
}

hth_status hth_json_get_object(const json_t *object, const char *key, const json_t **value, hth_error *err)
{
	const json_t *m;
	HTH_TRY(typed(object, key, JSON_OBJECT, "an object", &m, err));
	if (m != NULL)
		*value = m;
	return HTH_OK;
}

hth_status hth_json_get_array(const json_t *object, const char *key, const json_t **value, hth_error *err)
{
	const json_t *m;
	HTH_TRY(typed(object, key, JSON_ARRAY, "an array", &m, err));
	if (m != NULL)
		*value = m;
	return HTH_OK;
}
