/* Small templates and whole conversations against what Go's text/template makes of them (goldens.json, written by goldens.go). */
#include "engine/gotemplate/gotemplate.h"
#include "runner/template-vars.h"

#include "harness.h"

enum { NOW = 1767323045 }; /* 2026-01-02 03:04:05 */

static hth_status render(const char *source, const json_t *vars, hth_jinja_output *out, hth_error *err)
{
	hth_gotemplate *t = NULL;
	hth_jinja_arena *arena = NULL;
	const hth_jinja_value *v = NULL;
	HTH_TRY(hth_gotemplate_compile(&t, source, strlen(source), err));
	hth_status status = hth_jinja_arena_create(&arena, 64 << 20, err);
	if (status == HTH_OK)
		v = hth_jinja_from_json(arena, vars, false);
	if (status == HTH_OK)
		status = hth_gotemplate_render(t, arena, v, NOW, NULL, out, err);
	hth_jinja_arena_destroy(arena);
	hth_gotemplate_destroy(t);
	return status;
}

static json_t *goldens(void)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/tests/engine/gotemplate/goldens.json", getenv("HEARTH_SOURCE") ? getenv("HEARTH_SOURCE") : ".");
	size_t len;
	HTH_AUTO_FREE char *text = test_read_file(path, &len);
	hth_error err = HTH_ERROR_INIT;
	json_t *all = NULL;
	if (text == NULL || hth_json_parse(&all, text, len, &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", path, text ? err.message : "cannot be read");
	return all;
}

static void check(const char *name, const char *source, const json_t *vars, const json_t *row)
{
	const char *want = json_string_value(json_object_get(row, "out"));
	hth_jinja_output out = {0};
	hth_error err = HTH_ERROR_INIT;
	hth_status status = render(source, vars, &out, &err);
	if (want == NULL && status == HTH_OK)
		test_fail(__FILE__, __LINE__, "%s\n#   gives \"%s\" and not: %s", name, out.text,
		          json_string_value(json_object_get(row, "error")));
	else if (want == NULL)
		CHECK(status == HTH_INVALID && strncmp(err.message, "line ", 5) == 0);
	else if (status != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s\n#   fails: %s", name, err.message);
	else if (strcmp(out.text, want) != 0)
		test_fail(__FILE__, __LINE__, "%s\n#   gives \"%s\"\n#   not   \"%s\"", name, out.text, want);
	if (getenv("SHOW_ERRORS") != NULL && want == NULL)
		printf("# %s\n#   %s\n#   %s\n", name, err.message, json_string_value(json_object_get(row, "error")));
	hth_jinja_output_finish(&out);
}

TEST(snippets_come_out_as_go_has_them)
{
	HTH_AUTO_JSON json_t *all = goldens();
	const json_t *rows = json_object_get(all, "snippets"), *data = json_object_get(all, "data");
	CHECK(json_array_size(rows) > 150);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *source = json_string_value(json_object_get(row, "t"));
		check(source, source, data, row);
	}
}

TEST(conversations_come_out_as_go_has_them)
{
	HTH_AUTO_JSON json_t *all = goldens();
	const json_t *rows = json_object_get(all, "chats");
	CHECK(json_array_size(rows) >= 64);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		char name[200];
		const json_t *row = json_array_get(rows, i);
		const char *template = json_string_value(json_object_get(row, "t")),
		    *conversation = json_string_value(json_object_get(row, "name"));
		snprintf(name, sizeof name, "%s: %s", template, conversation);
		check(name, json_string_value(json_object_get(json_object_get(all, "templates"), template)),
		      json_object_get(json_object_get(all, "conversations"), conversation), row);
	}
}

TEST_MAIN()
