/* gotemplate-types.c - the types of what Ollama gives its templates, and data seen through them.
 *
 * The data are a request's own messages and tools (jinja's values, made from JSON); nothing is converted. A type says under which name Go
 * knows a member, and that a missing one is "" or an empty list and not an error. Source of the names and the order of members in JSON:
 * Ollama's api/types.go and template/template.go.
 */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"

static const hth_jinja_value zero_none = {.kind = JJ_NONE}, zero_string = {.kind = JJ_STRING, .s = {.data = ""}},
    zero_bool = {.kind = JJ_BOOL},
			     zero_int = {.kind = JJ_INT}, zero_float = {.kind = JJ_FLOAT}, zero_list = {.kind = JJ_LIST};
static jj_dict zero_entries;
static const hth_jinja_value zero_map = {.kind = JJ_DICT, .dict = &zero_entries};

const gt_type hth_gt_any = {GT_C_ANY, "interface {}", &hth_gt_any, NULL, 0, false, false};
const gt_type hth_gt_string = {GT_C_STRING, "string", NULL, NULL, 0, false, false};
const gt_type hth_gt_bool = {GT_C_BOOL, "bool", NULL, NULL, 0, false, false};
const gt_type hth_gt_int = {GT_C_INT, "int", NULL, NULL, 0, false, false};
const gt_type hth_gt_float = {GT_C_FLOAT, "float64", NULL, NULL, 0, false, false};

#define STRUCT(name, fields, json, open) {GT_C_STRUCT, name, NULL, fields, HTH_COUNT(fields), json, open}
#define LIST(name, item, json) {GT_C_LIST, name, item, NULL, 0, json, false}
#define MAP(name, item, json) {GT_C_MAP, name, item, NULL, 0, json, false}

static const gt_type strings = LIST("[]string", &hth_gt_string, false), anys = LIST("[]interface {}", &hth_gt_any, false);
/* "string", or several of them */
static const gt_type words = {GT_C_WORDS, "api.PropertyType", &hth_gt_string, NULL, 0, false, false};

static const gt_type property, properties;
static const gt_type any_of = LIST("[]api.ToolProperty", &property, false);
static const gt_field property_fields[] = {
    {"AnyOf", "anyOf", NULL, &any_of, false},
    {"Type", "type", NULL, &words, false},
    {"Items", "items", NULL, &hth_gt_any, false},
    {"Description", "description", NULL, &hth_gt_string, false},
    {"Enum", "enum", NULL, &anys, false},
    {"Properties", "properties", NULL, &properties, false},
    {"Required", "required", NULL, &strings, false},
};
static const gt_type property = STRUCT("api.ToolProperty", property_fields, true, true);
static const gt_type properties = MAP("map[string]api.ToolProperty", &property, true);

static const gt_field parameters_fields[] = {
    {"Type", "type", NULL, &hth_gt_string, true},
    {"Defs", "$defs", NULL, &hth_gt_any, false},
    {"Items", "items", NULL, &hth_gt_any, false},
    {"Required", "required", NULL, &strings, false},
    {"Properties", "properties", NULL, &properties, true},
};
static const gt_type parameters = STRUCT("api.ToolFunctionParameters", parameters_fields, true, true);
static const gt_field function_fields[] = {
    {"Name", "name", NULL, &hth_gt_string, true},
    {"Description", "description", NULL, &hth_gt_string, false},
    {"Parameters", "parameters", NULL, &parameters, true},
};
static const gt_type function = STRUCT("api.ToolFunction", function_fields, true, false);
static const gt_field tool_fields[] = {
    {"Type", "type", NULL, &hth_gt_string, true},
    {"Items", "items", NULL, &hth_gt_any, false},
    {"Function", "function", NULL, &function, true},
};
static const gt_type tool = STRUCT("api.Tool", tool_fields, true, false);
static const gt_type tools = LIST("api.Tools", &tool, true);

static const gt_type arguments = MAP("map[string]interface {}", &hth_gt_any, true);
static const gt_field call_function_fields[] = {
    {"Index", "index", NULL, &hth_gt_int, false},
    {"Name", "name", NULL, &hth_gt_string, true},
    {"Arguments", "arguments", NULL, &arguments, true},
};
static const gt_type call_function = STRUCT("api.ToolCallFunction", call_function_fields, true, false);
static const gt_field call_fields[] = {
    {"ID", "id", NULL, &hth_gt_string, false},
    {"Function", "function", NULL, &call_function, true},
};
static const gt_type call = STRUCT("api.ToolCall", call_fields, true, false);
static const gt_type calls = LIST("[]api.ToolCall", &call, false);
static const gt_field message_fields[] = {
    {"Role", "role", NULL, &hth_gt_string, true},
    {"Content", "content", NULL, &hth_gt_string, true},
    {"Thinking", "reasoning_content", "thinking", &hth_gt_string, false},
    {"Images", "images", NULL, &anys, false},
    {"ToolCalls", "tool_calls", NULL, &calls, false},
    {"ToolName", "tool_name", "name", &hth_gt_string, false},
    {"ToolCallID", "tool_call_id", NULL, &hth_gt_string, false},
};
static const gt_type message = STRUCT("api.Message", message_fields, true, false);
static const gt_type messages = LIST("[]*api.Message", &message, false);

static const gt_field root_fields[] = {
    {"System", "System", NULL, &hth_gt_string, false},       {"Messages", "Messages", NULL, &messages, false},
    {"Tools", "Tools", NULL, &tools, false},                 {"Response", "Response", NULL, &hth_gt_string, false},
    {"Prompt", "Prompt", NULL, &hth_gt_any, false},          {"Suffix", "Suffix", NULL, &hth_gt_any, false},
    {"Think", "Think", NULL, &hth_gt_bool, false},           {"ThinkLevel", "ThinkLevel", NULL, &hth_gt_string, false},
    {"IsThinkSet", "IsThinkSet", NULL, &hth_gt_bool, false},
};
const gt_type hth_gt_root = STRUCT("map[string]interface {}", root_fields, false, true);

gt_value hth_gt_see(const gt_type *type, jv *v)
{
	jj_kind kind = v != NULL ? (jj_kind)v->kind : JJ_NONE;
	switch (type->class) {
	case GT_C_ANY:
		return (gt_value){type, kind == JJ_UNDEFINED || kind > JJ_DICT || kind == JJ_TUPLE || v == NULL ? &zero_none : v};
	case GT_C_STRING:
		return (gt_value){type, kind == JJ_STRING ? v : &zero_string};
	case GT_C_BOOL:
		return (gt_value){type, kind == JJ_BOOL ? v : &zero_bool};
	case GT_C_INT:
		return (gt_value){type, kind == JJ_INT ? v : &zero_int};
	case GT_C_FLOAT:
		return (gt_value){type, kind == JJ_FLOAT || kind == JJ_INT ? v : &zero_float};
	case GT_C_LIST:
		return (gt_value){type, kind == JJ_LIST ? v : &zero_list};
	case GT_C_WORDS:
		return (gt_value){type, kind == JJ_STRING || kind == JJ_LIST ? v : &zero_string};
	default:
		/* A call's arguments may be text that is no JSON object: it stands as it is. */
		if (kind == JJ_STRING && type == &arguments)
			return (gt_value){&hth_gt_string, v};
		return (gt_value){type, kind == JJ_DICT ? v : &zero_map};
	}
}

gt_value hth_gt_nil(gt_run *r)
{
	(void)r;
	return (gt_value){&hth_gt_any, &zero_none};
}

gt_value hth_gt_truth_value(gt_run *r, bool b) { return (gt_value){&hth_gt_bool, hth_jinja_bool(r->arena, b)}; }

gt_value hth_gt_int_value(gt_run *r, int64_t i) { return (gt_value){&hth_gt_int, hth_jinja_int(r->arena, i)}; }

gt_value hth_gt_string_value(jv *s) { return (gt_value){&hth_gt_string, s}; }

gt_class hth_gt_class_of(gt_value v)
{
	if (v.type->class == GT_C_WORDS)
		return v.v->kind == JJ_STRING ? GT_C_STRING : GT_C_LIST;
	if (v.type->class != GT_C_ANY)
		return v.type->class;
	switch (v.v->kind) {
	case JJ_BOOL:
		return GT_C_BOOL;
	case JJ_INT:
	case JJ_FLOAT:
		return GT_C_FLOAT;
	case JJ_STRING:
		return GT_C_STRING;
	case JJ_LIST:
		return GT_C_LIST;
	case JJ_DICT:
		return GT_C_MAP;
	default:
		return GT_C_ANY;
	}
}

bool hth_gt_is_nil(gt_value v) { return hth_gt_class_of(v) == GT_C_ANY; }

bool hth_gt_truth(gt_value v)
{
	switch (hth_gt_class_of(v)) {
	case GT_C_BOOL:
		return v.v->flag;
	case GT_C_INT:
	case GT_C_FLOAT:
		return v.v->kind == JJ_INT ? v.v->i != 0 : v.v->f != 0;
	case GT_C_STRING:
		return v.v->s.len > 0;
	case GT_C_LIST:
		return v.v->list.n > 0;
	case GT_C_MAP:
		return v.v->dict->n > 0;
	case GT_C_STRUCT:
		return true;
	default:
		return false;
	}
}

const char *hth_gt_type_name(gt_value v)
{
	static const char *const names[] = {"<nil>", "string", "bool", "int", "float64", "[]interface {}", "map[string]interface {}"};
	return v.type->class == GT_C_ANY ? names[hth_gt_class_of(v)] : v.type->name;
}

gt_value hth_gt_item_of(gt_value list, uint32_t i)
{
	const gt_type *item = list.type->item != NULL ? list.type->item : &hth_gt_any;
	return hth_gt_see(item, list.v->list.items[i]);
}

static bool is(gt_name name, const char *text) { return name.len == strlen(text) && memcmp(name.data, text, name.len) == 0; }

/* Go's methods on the types here. */
static gt_value method_of(gt_run *r, gt_value v, gt_name name)
{
	if (is(name, "String") && (v.type->prints_json || v.type->class == GT_C_WORDS)) {
		jj_builder b = hth_jj_builder(r->arena);
		return hth_gt_put_plain(r, &b, v) ? hth_gt_string_value(hth_jj_done(&b)) : hth_gt_none();
	}
	if (is(name, "ToTypeScriptType") && v.type == &property) {
		const char *text = hth_gt_typescript(r, v);
		return text != NULL ? hth_gt_string_value(hth_jj_str(r->arena, text)) : hth_gt_none();
	}
	hth_gt_fail(r, "can't evaluate field %.*s in type %s", (int)HTH_MIN(name.len, 60u), name.data, hth_gt_type_name(v));
	return hth_gt_none();
}

gt_value hth_gt_field_of(gt_run *r, gt_value v, gt_name name)
{
	if (hth_gt_is_nil(v)) {
		hth_gt_fail(r, "nil has no .%.*s", (int)HTH_MIN(name.len, 60u), name.data);
		return hth_gt_none();
	}
	gt_class class = hth_gt_class_of(v);
	for (uint32_t i = 0; class == GT_C_STRUCT && i < v.type->n_fields; i++) {
		const gt_field *f = &v.type->fields[i];
		if (!is(name, f->name))
			continue;
		jv *member = hth_jj_dict_get_str(r->arena, v.v->dict, f->key, strlen(f->key));
		if (member == NULL && f->key2 != NULL)
			member = hth_jj_dict_get_str(r->arena, v.v->dict, f->key2, strlen(f->key2));
		/* The root is a map: a name that is not in it is nil, whatever its type would be. */
		return member == NULL && v.type == &hth_gt_root ? hth_gt_nil(r) : hth_gt_see(f->type, member);
	}
	if (v.type == &hth_gt_root)
		return hth_gt_nil(r);
	if (class != GT_C_MAP)
		return method_of(r, v, name);
	jv *member = hth_jj_dict_get_str(r->arena, v.v->dict, name.data, name.len);
	if (member == NULL && v.type->prints_json && is(name, "String"))
		return method_of(r, v, name);
	return hth_gt_see(v.type->item, member);
}

static int by_key(const void *a, const void *b)
{
	const jj_entry *x = a, *y = b;
	return x->key->kind == JJ_STRING && y->key->kind == JJ_STRING ? hth_jj_str_cmp(x->key, y->key) : 0;
}

bool hth_gt_sorted(gt_run *r, jv *dict, const jj_entry **ret_entries, uint32_t *ret_n)
{
	const jj_dict *d = dict->dict;
	jj_entry *sorted = hth_jj_alloc(r->arena, d->n * sizeof *sorted);
	if (sorted == NULL || !hth_gt_charge(r, d->n))
		return false;
	uint32_t n = 0;
	for (uint32_t i = 0; i < d->n; i++)
		if (d->entries[i].key != NULL && d->entries[i].key->kind == JJ_STRING)
			sorted[n++] = d->entries[i];
	qsort(sorted, n, sizeof *sorted, by_key);
	*ret_entries = sorted;
	*ret_n = n;
	return true;
}

/* --- toTypeScriptType --- */

static const char *typescript_of(const char *type, size_t len)
{
	static const char *const map[][2] = {{"string", "string"},   {"number", "number"},  {"integer", "number"},
					     {"boolean", "boolean"}, {"array", "any[]"},    {"object", "Record<string, any>"},
					     {"null", "null"}};
	for (size_t i = 0; i < HTH_COUNT(map); i++)
		if (strlen(map[i][0]) == len && memcmp(map[i][0], type, len) == 0)
			return map[i][1];
	return "any";
}

static bool put_typescript(gt_run *r, jj_builder *b, gt_value v)
{
	if (v.type != &property)
		return hth_jj_put_cstr(b, "any");
	if (!hth_gt_deeper(r))
		return false;
	gt_value several = hth_gt_see(&any_of, hth_jj_dict_get_str(r->arena, v.v->dict, "anyOf", 5));
	gt_value type = hth_gt_see(&words, hth_jj_dict_get_str(r->arena, v.v->dict, "type", 4));
	bool ok = hth_gt_charge(r, 1 + several.v->list.n);
	for (uint32_t i = 0; ok && i < several.v->list.n; i++)
		ok = hth_jj_put_cstr(b, i > 0 ? " | " : "") && put_typescript(r, b, hth_gt_item_of(several, i));
	if (ok && several.v->list.n == 0 && type.v->kind == JJ_STRING)
		ok = hth_jj_put_cstr(b, typescript_of(type.v->s.data, type.v->s.len));
	for (uint32_t i = 0; ok && several.v->list.n == 0 && type.v->kind == JJ_LIST && i < type.v->list.n; i++) {
		gt_value one = hth_gt_item_of(type, i);
		ok = hth_jj_put_cstr(b, i > 0 ? " | " : "") && hth_jj_put_cstr(b, typescript_of(one.v->s.data, one.v->s.len));
	}
	r->level--;
	return ok;
}

const char *hth_gt_typescript(gt_run *r, gt_value v)
{
	jj_builder b = hth_jj_builder(r->arena);
	if (!put_typescript(r, &b, v) || !hth_jj_put(&b, "", 1, false))
		return NULL;
	return b.data;
}
