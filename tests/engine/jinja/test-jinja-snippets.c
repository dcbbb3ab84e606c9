/* Small templates against what Jinja2 itself makes of them (snippets.json, written by snippets.py). */
#include "runner/template-vars.h"

#include "harness.h"

enum { NOW = 1767323045 }; /* 2026-01-02 03:04:05 */

static hth_status render(const char *source, size_t len, const json_t *vars, hth_jinja_output *out, hth_error *err)
{
	hth_jinja_template *t = NULL;
	hth_jinja_arena *arena = NULL;
	const hth_jinja_value *v = NULL;
	HTH_TRY(hth_jinja_compile(&t, source, len, err));
	hth_status status = hth_jinja_arena_create(&arena, 64 << 20, err);
	if (status == HTH_OK)
		v = vars ? hth_jinja_from_json(arena, vars, false) : hth_jinja_dict(arena);
	if (status == HTH_OK)
		status = hth_jinja_render(t, arena, v, NOW, NULL, out, err);
	hth_jinja_arena_destroy(arena);
	hth_jinja_template_destroy(t);
	return status;
}

TEST(snippets_come_out_as_jinja_has_them)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/tests/engine/jinja/snippets.json", getenv("HEARTH_SOURCE") ? getenv("HEARTH_SOURCE") : ".");
	size_t len;
	HTH_AUTO_FREE char *text = test_read_file(path, &len);
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *rows = NULL;
	REQUIRE(text != NULL);
	REQUIRE_OK(hth_json_parse(&rows, text, len, &err));
	CHECK(json_array_size(rows) > 400);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i), *t = json_object_get(row, "t"), *want = json_object_get(row, "out");
		hth_jinja_output out = {0};
		err = HTH_ERROR_INIT;
		hth_status status = render(json_string_value(t), json_string_length(t), json_object_get(row, "v"), &out, &err);
		if (want == NULL && status == HTH_OK)
			test_fail(__FILE__, __LINE__, "%s\n#   gives \"%s\" and not %s", json_string_value(t), out.text,
			          json_string_value(json_object_get(row, "error")));
		else if (want == NULL)
			CHECK(status == HTH_INVALID && err.message[0] != '\0');
		else if (status != HTH_OK)
			test_fail(__FILE__, __LINE__, "%s\n#   fails: %s", json_string_value(t), err.message);
		else if (strcmp(out.text, json_string_value(want)) != 0)
			test_fail(__FILE__, __LINE__, "%s\n#   gives \"%s\"\n#   not   \"%s\"", json_string_value(t), out.text,
			          json_string_value(want));
		if (getenv("SHOW_ERRORS") != NULL && want == NULL)
			printf("# %s\n#   %s\n#   %s\n", json_string_value(t), err.message,
			       json_string_value(json_object_get(row, "error")));
		hth_jinja_output_finish(&out);
	}
}

TEST_MAIN()
