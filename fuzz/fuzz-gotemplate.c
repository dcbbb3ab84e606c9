/* fuzz-gotemplate.c - any bytes as a chat template in Go's language: compiled and rendered over a small conversation, and over plain data,
 * within small bounds. Marks must stay sorted and inside the output.
 */
#include "engine/gotemplate/gotemplate.h"
#include "template-world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_jinja_value *tools(hth_jinja_arena *a)
{
	hth_jinja_value *list = hth_jinja_list(a), *tool = hth_jinja_dict(a), *function = hth_jinja_dict(a),
	    *parameters = hth_jinja_dict(a);
	hth_jinja_value *properties = hth_jinja_dict(a), *place = hth_jinja_dict(a), *types = hth_jinja_list(a);
	hth_jinja_list_append(a, types, str(a, "string"));
	hth_jinja_list_append(a, types, str(a, "null"));
	set(a, place, "type", types);
	set(a, place, "minimum", hth_jinja_float(a, 1e-9));
	set(a, properties, "place", place);
	set(a, parameters, "properties", properties);
	set(a, parameters, "required", types);
	set(a, function, "name", str(a, "weather"));
	set(a, function, "parameters", parameters);
	set(a, tool, "function", function);
	hth_jinja_list_append(a, list, tool);
	return list;
}

static hth_jinja_value *variables(hth_jinja_arena *a, bool conversation)
{
	hth_jinja_value *vars = hth_jinja_dict(a), *messages = hth_jinja_list(a), *args = arguments(a), *calls = hth_jinja_list(a);
	hth_jinja_value *call = hth_jinja_dict(a), *function = hth_jinja_dict(a);
	set(a, function, "name", str(a, "weather"));
	set(a, function, "arguments", args);
	set(a, call, "function", function);
	hth_jinja_list_append(a, calls, call);
	hth_jinja_value *assistant = message(a, "assistant", "<think>\nso\n</think> \xC3\xA9\xF0\x9F\x99\x82 \xFF");
	set(a, assistant, "tool_calls", calls);
	hth_jinja_list_append(a, messages, message(a, "system", "Be brief."));
	hth_jinja_list_append(a, messages, message(a, "user", "Hi, there"));
	hth_jinja_list_append(a, messages, message(a, "user", "<&>\"\\"));
	hth_jinja_list_append(a, messages, assistant);
	hth_jinja_list_append(a, messages, message(a, "user", "more"));
	if (conversation)
		set(a, vars, "messages", messages);
	set(a, vars, "tools", tools(a));
	set(a, vars, "enable_thinking", hth_jinja_bool(a, true));
	set(a, vars, "m", args);
	set(a, vars, "l", messages);
	set(a, vars, "s", str(a, "a,b \xC3\xA9"));
	set(a, vars, "n", hth_jinja_int(a, 3));
	set(a, vars, "t", hth_jinja_bool(a, true));
	return vars;
}

static void render(const hth_gotemplate *t, bool conversation)
{
	hth_error err = HTH_ERROR_INIT;
	hth_jinja_arena *a = NULL;
	hth_jinja_output out = {0};
	if (hth_jinja_arena_create(&a, WORLD_ARENA_BYTES, &err) != HTH_OK)
		abort();
	hth_status status = hth_gotemplate_render(t, a, variables(a, conversation), WORLD_UNIX, &world_limits, &out, &err);
	check_rendered(status, &out, &err);
	hth_jinja_arena_destroy(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_error err = HTH_ERROR_INIT;
	hth_gotemplate *t = NULL;
	if (hth_gotemplate_compile(&t, (const char *)data, size, &err) != HTH_OK) {
		if (t != NULL || err.message[0] == '\0')
			abort();
		return 0;
	}
	render(t, true);
	render(t, false);
	hth_gotemplate_destroy(t);
	return 0;
}
