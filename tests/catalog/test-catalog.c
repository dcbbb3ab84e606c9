#include "base/mem.h"
#include "catalog/record.h"
#include "harness.h"

#include <sys/stat.h>

static char root[200], home[256], models[256], built_in[256];
static hth_error err;

static void put(const char *folder, const char *name, size_t bytes)
{
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "wb");
	for (size_t i = 0; f != NULL && i < bytes; i++)
		fputc('x', f);
	if (f != NULL)
		fclose(f);
}

static void fresh(void)
{
	char command[1100];
	if (*root == '\0') {
		snprintf(root, sizeof root, "%s/hearth-catalog-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
		if (mkdtemp(root) == NULL)
			exit(1);
		snprintf(home, sizeof home, "%s/home", root);
		snprintf(models, sizeof models, "%s/home/models", root);
		snprintf(built_in, sizeof built_in, "%s/builtin", root);
	}
	snprintf(command, sizeof command, "rm -rf '%s' '%s' && mkdir -p '%s' '%s'", home, built_in, models, built_in);
	if (system(command) != 0)
		exit(1);
	setenv("HEARTH_BUILTIN_MODELS", built_in, 1);
	err = HTH_ERROR_INIT;
}

TEST(models_of_both_folders_are_listed_by_name)
{
	fresh();
	put(models, "Zeta-Q4_K_M.gguf", 10);
	put(models, "starter.gguf", 5);
	put(models, "notes.txt", 1);
	put(models, ".hidden.gguf", 1);
	put(models, "bad\nname.gguf", 1);
	put(models, "bad\xFFname.gguf", 1);
	put(built_in, "starter.gguf", 7);
	put(built_in, "alpha.gguf", 3);
	char folder[512];
	snprintf(folder, sizeof folder, "%s/folder.gguf", models);
	mkdir(folder, 0700);
	hth_catalog c;
	REQUIRE_OK(hth_catalog_load(&c, home, &err));
	REQUIRE(c.n == 3);
	CHECK_STR(c.models[0].name, "alpha");
	CHECK(c.models[0].built_in);
	CHECK_STR(c.models[1].name, "starter");
	CHECK(!c.models[1].built_in);
	CHECK_INT(c.models[1].bytes, 5);
	CHECK(c.models[1].modified_unix > 1500000000);
	CHECK_STR(c.models[2].name, "zeta-q4_k_m");
	CHECK(strstr(c.models[2].files[0], "/Zeta-Q4_K_M.gguf") != NULL);
	hth_catalog_finish(&c);
}

TEST(a_home_without_models_is_empty)
{
	fresh();
	hth_catalog c;
	REQUIRE_OK(hth_catalog_load(&c, "/nonexistent/home", &err));
	CHECK_INT(c.n, 0);
	hth_catalog_model m;
	CHECK_INT(hth_catalog_resolve(&c, "starter", &m, &err), HTH_NOT_FOUND);
	CHECK(strstr(err.message, "'starter'") != NULL);
	hth_catalog_finish(&c);
}

TEST(names_are_found_as_people_write_them)
{
	fresh();
	put(models, "starter.gguf", 1);
	put(models, "Qwen2.5-0.5B.gguf", 1);
	put(models, "owner--repo-q4_k_m.gguf", 1);
	hth_catalog c;
	REQUIRE_OK(hth_catalog_load(&c, home, &err));
	static const char *const good[][2] = {{"starter", "starter"}, {"Starter", "starter"}, {"starter:latest", "starter"},
	                                      {"starter.gguf", "starter"}, {"qwen2.5:0.5b", "qwen2.5-0.5b"},
	                                      {"owner/repo:Q4_K_M", "owner--repo-q4_k_m"}};
	for (size_t i = 0; i < HTH_COUNT(good); i++) {
		const hth_catalog_model *m = hth_catalog_find(&c, good[i][0]);
		CHECK_STR(m != NULL ? m->name : NULL, good[i][1]);
	}
	static const char *const bad[] = {"", "start", "../starter", "starter:7b", "/etc/passwd", ":latest"};
	for (size_t i = 0; i < HTH_COUNT(bad); i++)
		CHECK(hth_catalog_find(&c, bad[i]) == NULL);
	char longer[5000];
	memset(longer, ':', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	CHECK(hth_catalog_find(&c, longer) == NULL);
	hth_catalog_finish(&c);
}

TEST(shards_are_one_model)
{
	fresh();
	put(models, "Big-00001-of-00003.gguf", 1);
	put(models, "Big-00002-of-00003.gguf", 2);
	put(models, "Big-00003-of-00003.gguf", 4);
	put(models, "half-00001-of-00002.gguf", 1);
	put(models, "x-00001-of-99999.gguf", 1);
	hth_catalog c;
	REQUIRE_OK(hth_catalog_load(&c, home, &err));
	REQUIRE(c.n == 1);
	CHECK_STR(c.models[0].name, "big");
	REQUIRE(c.models[0].n_files == 3);
	CHECK_INT(c.models[0].bytes, 7);
	CHECK(strstr(c.models[0].files[2], "/Big-00003-of-00003.gguf") != NULL);
	char path[512];
	hth_catalog_model m;
	snprintf(path, sizeof path, "%s/Big-00001-of-00003.gguf", models);
	REQUIRE_OK(hth_catalog_resolve(&c, path, &m, &err));
	CHECK_STR(m.name, "big");
	CHECK_INT(m.n_files, 3);
	hth_catalog_model_finish(&m);
	snprintf(path, sizeof path, "%s/Big-00002-of-00003.gguf", models);
	CHECK_INT(hth_catalog_resolve(&c, path, &m, &err), HTH_CONFLICT);
	CHECK(strstr(err.message, "Big-00001-of-00003.gguf") != NULL);
	snprintf(path, sizeof path, "%s/half-00001-of-00002.gguf", models);
	CHECK_INT(hth_catalog_resolve(&c, path, &m, &err), HTH_NOT_FOUND);
	CHECK(strstr(err.message, "half-00002-of-00002.gguf") != NULL);
	hth_catalog_finish(&c);
}

TEST(a_path_or_a_name_is_resolved)
{
	fresh();
	put(models, "starter.gguf", 3);
	put(root, "Elsewhere.gguf", 9);
	hth_catalog c;
	REQUIRE_OK(hth_catalog_load(&c, home, &err));
	hth_catalog_model m;
	char path[512];
	snprintf(path, sizeof path, "%s/Elsewhere.gguf", root);
	REQUIRE_OK(hth_catalog_resolve(&c, path, &m, &err));
	CHECK_STR(m.name, "elsewhere");
	CHECK_INT(m.bytes, 9);
	CHECK(m.files[0][0] == '/');
	hth_catalog_model_finish(&m);
	REQUIRE_OK(hth_catalog_resolve(&c, "starter", &m, &err));
	CHECK_STR(m.name, "starter");
	hth_catalog_model_finish(&m);
	CHECK_INT(hth_catalog_resolve(&c, "stater", &m, &err), HTH_NOT_FOUND);
	CHECK(strstr(err.message, "there are: starter") != NULL);
	CHECK_INT(hth_catalog_resolve(&c, "./none.gguf", &m, &err), HTH_NOT_FOUND);
	CHECK_INT(hth_catalog_resolve(&c, models, &m, &err), HTH_INVALID);
	hth_catalog_finish(&c);
}

TEST(records_are_kept_and_belong_to_this_homes_files)
{
	HTH_AUTO_JSON json_t *record = json_pack("{s:s}", "from", "starter");
	REQUIRE_OK(hth_record_write(home, "made", record, &err));
	HTH_AUTO_JSON json_t *read = hth_record_read(home, "made");
	CHECK(json_equal(read, record));
	CHECK(hth_record_read(home, "../made") == NULL);
	CHECK(hth_record_read(home, "none") == NULL);
	put(models, "made.gguf", 3);
	put(root, "Made.gguf", 9);
	hth_catalog c;
	REQUIRE_OK(hth_catalog_load(&c, home, &err));
	HTH_AUTO_JSON json_t *mine = hth_record_of(home, hth_catalog_find(&c, "made"));
	CHECK(json_equal(mine, record));
	hth_catalog_model other;
	char path[512];
	snprintf(path, sizeof path, "%s/Made.gguf", root);
	REQUIRE_OK(hth_catalog_resolve(&c, path, &other, &err));
	CHECK_STR(other.name, "made");
	CHECK(hth_record_of(home, &other) == NULL);
	hth_catalog_model_finish(&other);
	hth_catalog_finish(&c);
	hth_record_remove(home, "made");
	CHECK(hth_record_read(home, "made") == NULL);
}

TEST(nothing_is_left_behind)
{
	char command[300];
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	CHECK_INT(system(command), 0);
}

TEST_MAIN()
