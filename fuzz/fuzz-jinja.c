/* fuzz-jinja.c - any bytes as a chat template: compiled and rendered over a small conversation within small bounds. Marks must stay
 * sorted and inside the output.
 */
#include "engine/jinja/jinja.h"
#include "template-world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_jinja_value *variables(hth_jinja_arena *a)
{
	hth_jinja_value *vars = hth_jinja_dict(a), *messages = hth_jinja_list(a), *args = arguments(a);
	hth_jinja_value *assistant = message(a, "assistant", "<think>\nso\n</think> \xC3\xA9\xF0\x9F\x99\x82 \xFF");
	set(a, assistant, "tool_calls", args);
	hth_jinja_list_append(a, messages, message(a, "system", "Be brief."));
	hth_jinja_list_append(a, messages, message(a, "user", "Hi, there"));
	hth_jinja_list_append(a, messages, assistant);
	set(a, vars, "messages", messages);
	set(a, vars, "m", args);
	set(a, vars, "s", str(a, "a,b \xC3\xA9"));
	set(a, vars, "n", hth_jinja_int(a, 3));
	set(a, vars, "t", hth_jinja_bool(a, true));
	set(a, vars, "bos_token", hth_jinja_trusted_string(a, "<s>", 3));
	return vars;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_error err = HTH_ERROR_INIT;
	hth_jinja_template *t = NULL;
	if (hth_jinja_compile(&t, (const char *)data, size, &err) != HTH_OK) {
		if (t != NULL || err.message[0] == '\0')
			abort();
		return 0;
	}
	hth_jinja_arena *a = NULL;
	hth_jinja_output out = {0};
	if (hth_jinja_arena_create(&a, WORLD_ARENA_BYTES, &err) != HTH_OK)
		abort();
	hth_status status = hth_jinja_render(t, a, variables(a), WORLD_UNIX, &world_limits, &out, &err);
	check_rendered(status, &out, &err);
	hth_jinja_arena_destroy(a);
	hth_jinja_template_destroy(t);
	return 0;
}
