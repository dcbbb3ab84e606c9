/* cmd-render.c - `hearth render TEMPLATE CASE.json`: what a model would read. The template is in Jinja or, as Ollama's are, in Go's
 * language: its first words tell.
 *
 * CASE is an object of the template's variables (messages, tools, add_generation_prompt, bos_token, ...) and `now`, the clock that
 * strftime_now reads. A file whose values are all such objects holds several: --case names one. The template is as untrusted as the
 * model that brings it, so it is compiled and rendered by a locked-in process.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"
#include "engine/gotemplate/chat-template.h"
#include "runner/template-vars.h"

#include <time.h>

enum { TEMPLATE_MAX = 4 << 20, CASE_MAX = 64 << 20 };

/* "2026-01-02T03:04:05" (as UTC), or seconds. */
static hth_status read_now(const json_t *now, int64_t *ret_unix, hth_error *err)
{
	struct tm tm = {0};
	if (now == NULL || json_is_null(now)) {
		*ret_unix = hth_clock_unix();
		return HTH_OK;
	}
	if (json_is_integer(now)) {
		*ret_unix = json_integer_value(now);
		return HTH_OK;
	}
	const char *text = json_string_value(now);
	const char *end = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0))
		return hth_fail_param(err, HTH_INVALID, "now", "now should be like \"2026-01-02T03:04:05\", or seconds since 1970");
	*ret_unix = timegm(&tm);
	return HTH_OK;
}

static hth_status choose_case(const json_t *all, const char *name, const json_t **ret_case, hth_error *err)
{
	if (!json_is_object(all))
		return hth_fail(err, HTH_INVALID, "the case is %s; it should be an object", hth_json_type_name(all));
	if (name == NULL) {
		*ret_case = all;
		return HTH_OK;
	}
	const json_t *one = json_object_get(all, name);
	if (!json_is_object(one))
		return hth_fail(err, HTH_NOT_FOUND, "there is no case '%s' in the file", name);
	*ret_case = one;
	return HTH_OK;
}

static hth_status render(const char *source, size_t source_len, const char *text, size_t text_len, const char *name,
                         hth_jinja_output *ret_output, hth_error *err)
{
	HTH_AUTO_JSON json_t *all = NULL;
	const json_t *one = NULL;
	int64_t now = 0;
	if (hth_json_parse(&all, text, text_len, err) != HTH_OK)
		return hth_fail_prefix(err, "the case");
	HTH_TRY(choose_case(all, name, &one, err));
	HTH_TRY(read_now(json_object_get(one, "now"), &now, err));
	hth_chat_template tmpl;
	hth_jinja_arena *arena;
	HTH_TRY(hth_chat_template_compile(&tmpl, source, source_len, err));
	hth_status status = hth_jinja_arena_create(&arena, (size_t)256 << 20, err);
	if (status == HTH_OK) {
		const hth_jinja_value *vars;
		status = hth_template_vars(&vars, arena, one, err);
		if (status == HTH_OK)
			status = hth_chat_template_render(tmpl, arena, vars, now, NULL, ret_output, err);
		hth_jinja_arena_destroy(arena);
	}
	hth_chat_template_finish(&tmpl);
	return status;
}

int hth_cmd_render(hth_invocation *in)
{
	const char *name = NULL;
	const hth_option options[] = {{"case", 'c', HTH_OPTION_TEXT, &name, "NAME", "the file holds several cases by name: render this one",
	                               0, 0, NULL}};
	if (!hth_options_take(in, options, HTH_COUNT(options), 2, 2))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE char *source = NULL;
	HTH_AUTO_FREE char *text = NULL;
	size_t source_len = 0, text_len = 0;
	hth_jinja_output output = {0};
	hth_status status = hth_cmd_read_file(in->argv[0], TEMPLATE_MAX, &source, &source_len, &err);
	if (status == HTH_OK)
		status = hth_cmd_read_file(in->argv[1], CASE_MAX, &text, &text_len, &err);
	if (status == HTH_OK)
		status = hth_local_lock_in(NULL, -1, &err);
	if (status == HTH_OK)
		status = render(source, source_len, text, text_len, name, &output, &err);
	if (status == HTH_OK && (fwrite(output.text, 1, output.len, stdout) != output.len || fflush(stdout) != 0))
		status = hth_fail(&err, HTH_IO, "the text cannot be written");
	int code = status == HTH_OK ? HTH_EXIT_DONE : hth_cmd_fail(in, &err);
	hth_jinja_output_finish(&output);
	return code;
}
