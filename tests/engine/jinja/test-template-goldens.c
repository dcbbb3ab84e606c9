/* Chat templates that models ship, rendered as the reference renders them, to the last byte; or refused where it refuses. */
#include "runner/template-vars.h"

#include "harness.h"

#include <dirent.h>
#include <time.h>

static json_t *read_json(const char *path)
{
	size_t len;
	char *text = test_read_file(path, &len);
	json_t *json = NULL;
	hth_error err = HTH_ERROR_INIT;
	if (text == NULL || hth_json_parse(&json, text, len, &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", path, text ? err.message : "cannot be read");
	free(text);
	return json;
}

static int64_t case_now(const json_t *vars)
{
	struct tm t = {0};
	const char *now = json_string_value(json_object_get(vars, "now"));
	if (now == NULL || strptime(now, "%Y-%m-%dT%H:%M:%S", &t) == NULL)
		return 0;
	return (int64_t)timegm(&t);
}

static void show_difference(const char *name, const char *ours, const char *theirs)
{
	size_t i = 0;
	while (ours[i] != '\0' && ours[i] == theirs[i])
		i++;
	size_t from = i > 60 ? i - 60 : 0;
	test_fail(__FILE__, __LINE__, "%s differs at byte %zu: ...%.100s<<< not ...%.100s<<<", name, i, ours + from,
	          theirs + from);
}

static void check_case(const char *name, const hth_jinja_template *t, const json_t *vars, const json_t *expected)
{
	hth_error err = HTH_ERROR_INIT;
	hth_jinja_arena *arena = NULL;
	const hth_jinja_value *v = NULL;
	hth_jinja_output out = {0};
	REQUIRE_OK(hth_jinja_arena_create(&arena, 64 << 20, &err));
	CHECK_OK(hth_template_vars(&v, arena, vars, &err));
	hth_status status = hth_jinja_render(t, arena, v, case_now(vars), NULL, &out, &err);
	const char *text = json_string_value(json_object_get(expected, "text"));
	if (text == NULL) {
		if (status != HTH_INVALID || err.message[0] == '\0')
			test_fail(__FILE__, __LINE__, "%s should fail with: %s", name,
			          json_string_value(json_object_get(expected, "error")));
	} else if (status != HTH_OK) {
		test_fail(__FILE__, __LINE__, "%s: %s", name, err.message);
	} else if (strcmp(out.text, text) != 0) {
		show_difference(name, out.text, text);
	}
	hth_jinja_output_finish(&out);
	hth_jinja_arena_destroy(arena);
}

static void check_template(const char *dir, const char *file, const json_t *cases)
{
	char path[4500];
	snprintf(path, sizeof path, "%s/%.*s.json", dir, (int)(strlen(file) - strlen(".jinja")), file);
	HTH_AUTO_JSON json_t *expected = read_json(path);
	snprintf(path, sizeof path, "%s/%s", dir, file);
	size_t len;
	HTH_AUTO_FREE char *source = test_read_file(path, &len);
	REQUIRE(expected != NULL && source != NULL);
	hth_error err = HTH_ERROR_INIT;
	hth_jinja_template *t = NULL;
	if (hth_jinja_compile(&t, source, len, &err) != HTH_OK) {
		test_fail(__FILE__, __LINE__, "%s: %s", file, err.message);
		return;
	}
	const char *key;
	json_t *want;
	json_object_foreach (json_object_get(expected, "cases"), key, want) {
		char name[400];
		snprintf(name, sizeof name, "%s, %s", file, key);
		check_case(name, t, json_object_get(cases, key), want);
	}
	hth_jinja_template_destroy(t);
}

TEST(shipped_templates_render_as_the_reference_does)
{
	const char *path = test_shared("goldens/templates/cases.json");
	if (path == NULL)
		SKIP("no ../shared");
	char dir[4096];
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
	HTH_AUTO_JSON json_t *cases = read_json(path);
	DIR *d = opendir(dir);
	REQUIRE(cases != NULL && d != NULL);
	int n = 0;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		const char *dot = strrchr(e->d_name, '.');
		if (dot != NULL && strcmp(dot, ".jinja") == 0) {
			check_template(dir, e->d_name, cases);
			n++;
		}
	}
	closedir(d);
	CHECK(n >= 28);
}

TEST_MAIN()
