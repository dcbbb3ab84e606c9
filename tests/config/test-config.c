#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "harness.h"

#include <sys/stat.h>

static char home[256];

/* A fresh home whose hearth.conf is `text` (NULL: none), and an environment without our variables. */
static void fresh(const char *text)
{
	if (*home == '\0') {
		snprintf(home, sizeof home, "%s/hearth-config-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
		if (mkdtemp(home) == NULL)
			exit(1);
	}
	char path[300];
	snprintf(path, sizeof path, "%s/hearth.conf", home);
	remove(path);
	for (size_t i = 0; i < hth_config_count(); i++) {
		const char *name;
		char variable[64] = "HEARTH_";
		hth_config_describe(i, NULL, &name, NULL, 0, NULL, NULL);
		for (size_t k = 0; name[k] != '\0'; k++)
			variable[7 + k] = (char)(name[k] == '_' ? '_' : name[k] - 32), variable[8 + k] = '\0';
		unsetenv(variable);
	}
	setenv("HEARTH_HOME", home, 1);
	if (text == NULL)
		return;
	FILE *f = fopen(path, "wb");
	fputs(text, f);
	fclose(f);
}

static hth_config config;
static hth_error err;
static char *args[16];
static int n_args;
static hth_status load(const char *a, const char *b, const char *c, const char *d)
{
	static char copies[4][4200];
	const char *given[] = {a, b, c, d};
	n_args = 0;
	args[n_args++] = (char *)"hearth";
	for (int i = 0; i < 4 && given[i] != NULL; i++) {
		snprintf(copies[i], sizeof copies[i], "%s", given[i]);
		args[n_args++] = copies[i];
	}
	args[n_args] = NULL;
	err = HTH_ERROR_INIT;
	return hth_config_load(&config, &n_args, args, &err);
}
static const char *value_of(const char *wanted, hth_config_source *ret_source)
{
	static char value[4200];
	for (size_t i = 0; i < hth_config_count(); i++) {
		const char *name;
		hth_config_describe(i, &config, &name, value, sizeof value, ret_source, NULL);
		if (strcmp(name, wanted) == 0)
			return value;
	}
	return NULL;
}

TEST(defaults_are_those_of_the_contract)
{
	fresh(NULL);
	REQUIRE_OK(load(NULL, NULL, NULL, NULL));
	CHECK_STR(config.listen_address, "127.0.0.1");
	CHECK_INT(config.listen_port, 4327);
	CHECK_STR(config.model, "starter");
	CHECK_STR(config.home, home);
	CHECK_INT(config.keep_alive_s, 300);
	CHECK_INT(config.max_body, 32 << 20);
	CHECK_INT(config.log_level, HTH_LOG_INFO);
	hth_config_source source;
	CHECK_STR(value_of("threads", &source), "auto");
	CHECK_INT(source, HTH_FROM_DEFAULT);
}

TEST(home_follows_xdg)
{
	fresh(NULL);
	unsetenv("HEARTH_HOME");
	setenv("XDG_DATA_HOME", "/somewhere/data", 1);
	REQUIRE_OK(load(NULL, NULL, NULL, NULL));
	CHECK_STR(config.home, "/somewhere/data/hearth");
	setenv("XDG_DATA_HOME", "relative", 1);
	setenv("HOME", "/somewhere/person", 1);
	REQUIRE_OK(load(NULL, NULL, NULL, NULL));
	CHECK_STR(config.home, "/somewhere/person/.local/share/hearth");
	unsetenv("XDG_DATA_HOME");
	REQUIRE_OK(load("--home", "sub", NULL, NULL));
	CHECK(config.home[0] == '/' && strstr(config.home, "/sub") != NULL);
}

TEST(the_stronger_source_wins)
{
	fresh("# comment\nmodel = from-file # comment\nthreads=3\nkeep-alive = 90\nqueue = 7\r\n\n");
	setenv("HEARTH_THREADS", "4", 1);
	setenv("HEARTH_QUEUE", "8", 1);
	REQUIRE_OK(load("--queue", "9", NULL, NULL));
	hth_config_source source;
	CHECK_STR(value_of("model", &source), "from-file");
	CHECK_INT(source, HTH_FROM_FILE);
	CHECK_STR(value_of("threads", &source), "4");
	CHECK_INT(source, HTH_FROM_ENVIRONMENT);
	CHECK_STR(value_of("queue", &source), "9");
	CHECK_INT(source, HTH_FROM_FLAG);
	CHECK_STR(value_of("keep_alive", &source), "90s");
	CHECK_INT(n_args, 1);
}

TEST(only_known_flags_are_taken_out)
{
	fresh(NULL);
	REQUIRE_OK(load("--temp", "--keep-alive=never", "text", "-n"));
	CHECK_INT(n_args, 4);
	CHECK_STR(args[1], "--temp");
	CHECK_STR(args[2], "text");
	CHECK_STR(args[3], "-n");
	CHECK(args[4] == NULL);
	CHECK_INT(config.keep_alive_s, UINT32_MAX);
	REQUIRE_OK(load("--", "--queue", "5", NULL));
	CHECK_INT(n_args, 4);
	CHECK_INT(config.queue, 64);
}

TEST(listen_takes_every_way_of_writing_an_address)
{
	static const struct {
		const char *text, *address;
		int port;
		const char *url;
	} good[] = {{"0.0.0.0:80", "0.0.0.0", 80, "http://127.0.0.1:80"}, {"[::1]:9", "::1", 9, "http://[::1]:9"},
	            {"::1", "::1", 4327, "http://[::1]:4327"},            {"9000", "127.0.0.1", 9000, "http://127.0.0.1:9000"},
	            {":0", "127.0.0.1", 0, "http://127.0.0.1:0"},         {"localhost:5", "127.0.0.1", 5, "http://127.0.0.1:5"},
	            {"10.1.2.3", "10.1.2.3", 4327, "http://10.1.2.3:4327"}, {"*:1", "0.0.0.0", 1, "http://127.0.0.1:1"},
	            {"[::]:7", "::", 7, "http://[::1]:7"}};
	fresh(NULL);
	for (size_t i = 0; i < HTH_COUNT(good); i++) {
		char url[128];
		CHECK_OK(load("--listen", good[i].text, NULL, NULL));
		CHECK_STR(config.listen_address, good[i].address);
		CHECK_INT(config.listen_port, good[i].port);
		hth_config_url(&config, url, sizeof url);
		CHECK_STR(url, good[i].url);
	}
	static const char *const bad[] = {"nowhere:1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "[::1", "1.2.3.4:5:6",
	                                  "127.0.0.1:-1"};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		CHECK_INT(load("--listen", bad[i], NULL, NULL), HTH_INVALID);
		CHECK(strncmp(err.message, "--listen: ", 10) == 0);
	}
}

TEST(units_and_ranges)
{
	fresh(NULL);
	REQUIRE_OK(load("--memory=8G", "--keep-alive=2h", "--max-body=64k", "--load-timeout=90s"));
	CHECK_INT(config.memory, 8ll << 30);
	CHECK_INT(config.keep_alive_s, 7200);
	CHECK_INT(config.max_body, 65536);
	CHECK_INT(config.load_timeout_s, 90);
	CHECK_STR(value_of("memory", NULL), "8G");
	CHECK_STR(value_of("keep_alive", NULL), "2h");
	REQUIRE_OK(load("--memory=50%", NULL, NULL, NULL));
	CHECK_NEAR((double)config.memory, 0.5 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE), 1e6);
	REQUIRE_OK(load("--memory=1.5G", "--keep-alive=1.5h", "--max-body=0.25 M", NULL));
	CHECK_INT(config.memory, 3ll << 29);
	CHECK_INT(config.keep_alive_s, 5400);
	CHECK_INT(config.max_body, 262144);
	CHECK_INT(config.pool_lend, HTH_LEND_NEIGHBOURS | HTH_LEND_PUBLIC);
	REQUIRE_OK(load("--pool-lend=neighbours", NULL, NULL, NULL));
	CHECK_INT(config.pool_lend, HTH_LEND_NEIGHBOURS);
	CHECK_STR(value_of("pool_lend", NULL), "neighbours");
	REQUIRE_OK(load("--pool-lend=off", NULL, NULL, NULL));
	CHECK_INT(config.pool_lend, HTH_LEND_NOTHING);
	static const char *const bad[] = {"--memory=1.5", "--memory=1.G.", "--threads=1.5", "--pool-lend=1", "--pool-lend=private",
	                                  "--memory=8Q", "--memory=-1", "--memory=101%", "--threads=-1", "--threads=5000", "--threads=2x",
	                                  "--threads=",
	                                  "--max-body=1", "--load-timeout=0", "--load-timeout=never", "--log-level=loud",
	                                  "--memory=99999999999999999999", "--memory=20000000000G", "--home="};
	for (size_t i = 0; i < HTH_COUNT(bad); i++)
		if (load(bad[i], NULL, NULL, NULL) != HTH_INVALID)
			test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
	CHECK_INT(load("--threads", NULL, NULL, NULL), HTH_INVALID);
	CHECK(strstr(err.message, "needs a value") != NULL);
}

TEST(a_bad_file_is_refused_with_its_line)
{
	static const struct {
		const char *text, *says;
	} bad[] = {{"threads = 2\nthread = 3\n", "line 2: there is no setting 'thread'"},
	           {"\n\nnonsense", "line 3: 'nonsense' is not of the form name = value"},
	           {"threads = many\n", "line 1: threads: 'many' is no whole number"},
	           {"home = /x\n", "line 1: 'home' cannot be set here"}};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		fresh(bad[i].text);
		CHECK_INT(load(NULL, NULL, NULL, NULL), HTH_INVALID);
		if (strstr(err.message, bad[i].says) == NULL || strstr(err.message, "/hearth.conf") == NULL)
			test_fail(__FILE__, __LINE__, "says: %s", err.message);
	}
	char *big = malloc(HTH_CONFIG_FILE_MAX + 10);
	memset(big, '\n', HTH_CONFIG_FILE_MAX + 9);
	big[HTH_CONFIG_FILE_MAX + 9] = '\0';
	fresh(big);
	CHECK_INT(load(NULL, NULL, NULL, NULL), HTH_TOO_LARGE);
	free(big);
	fresh(NULL);
	setenv("HEARTH_THREADS", "x", 1);
	CHECK_INT(load(NULL, NULL, NULL, NULL), HTH_INVALID);
	CHECK(strstr(err.message, "HEARTH_THREADS") != NULL);
}

TEST(a_key_is_never_shown)
{
	fresh("api_key = hunter2#x\n");
	REQUIRE_OK(load(NULL, NULL, NULL, NULL));
	CHECK_STR(config.api_key, "hunter2#x");
	CHECK_STR(value_of("api_key", NULL), "(set)");
}

TEST(every_shown_value_is_taken_back)
{
	fresh(NULL);
	REQUIRE_OK(load(NULL, NULL, NULL, NULL));
	hth_config first = config;
	hth_buf text = HTH_BUF_INIT(65536);
	for (size_t i = 1; i < hth_config_count(); i++) {
		const char *name, *help;
		char value[4200];
		hth_config_describe(i, &first, &name, value, sizeof value, NULL, &help);
		CHECK(help != NULL && *help != '\0');
		hth_buf_appendf(&text, "%s = %s\n", name, value);
	}
	fresh(text.data);
	hth_buf_finish(&text);
	REQUIRE_OK(load(NULL, NULL, NULL, NULL));
	memset(first.source, 0, sizeof first.source);
	memset(config.source, 0, sizeof config.source);
	CHECK(memcmp(&first, &config, sizeof config) == 0);
}

TEST(nothing_is_left_behind)
{
	char path[300];
	snprintf(path, sizeof path, "%s/hearth.conf", home);
	remove(path);
	CHECK_INT(rmdir(home), 0);
}

TEST_MAIN()
