/* Token ids of the reference engine, for real vocabularies and for the text of the engine's goldens. */
#include "base/mem.h"
#include "engine/tokenizer/tokenizer.h"
#include "harness.h"

#include <fcntl.h>
#include <glob.h>

typedef struct opened {
	hth_gguf *gguf;
	hth_tokenizer *tokenizer;
} opened;

static void opened_close(opened *o)
{
	hth_tokenizer_destroy(o->tokenizer);
	hth_gguf_close(o->gguf);
}

static bool opened_open(opened *o, const char *path)
{
	hth_error err = HTH_ERROR_INIT;
	*o = (opened){0};
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || hth_gguf_open(&o->gguf, &fd, 1, path, &err) != HTH_OK ||
	    hth_tokenizer_create(&o->tokenizer, o->gguf, &err) != HTH_OK) {
		test_fail(__FILE__, __LINE__, "%s: %s", path, err.message);
		return false;
	}
	return true;
}

/* The numbers of a text, up to `stop` or its end. */
static size_t parse_ids(const char *s, char stop, int32_t *ids, size_t max)
{
	size_t n = 0;
	while (*s != '\0' && *s != stop && n < max) {
		char *end;
		long v = strtol(s, &end, 10);
		if (end == s) {
			s++;
			continue;
		}
		ids[n++] = (int32_t)v;
		s = end;
	}
	return n;
}

static bool same_ids(const char *what, const char *text, const hth_tokens *got, const int32_t *want, size_t n_want)
{
	bool same = got->len == n_want && (n_want == 0 || memcmp(got->ids, want, n_want * sizeof *want) == 0);
	if (!same) {
		test_fail(__FILE__, __LINE__, "%s: other tokens for \"%s\"", what, text);
		printf("#   got ");
		for (size_t i = 0; i < got->len; i++)
			printf(" %d", got->ids[i]);
		printf("\n#   want");
		for (size_t i = 0; i < n_want; i++)
			printf(" %d", want[i]);
		printf("\n");
	}
	return same;
}

static void check_vocabulary(const char *path, char *input)
{
	char out_path[4096];
	opened o;
	snprintf(out_path, sizeof out_path, "%s.out", path);
	HTH_AUTO_FREE char *out = test_read_file(out_path, NULL);
	HTH_AUTO_FREE int32_t *want = malloc(65536 * sizeof *want);
	if (out == NULL || want == NULL || !opened_open(&o, path)) {
		test_fail(__FILE__, __LINE__, "cannot read %s", path);
		return;
	}
	static const char separator[] = "\n__ggml_vocab_test__\n";
	char *line = out, *text = input;
	for (;;) {
		char *end = strstr(text, separator);
		size_t len = end ? (size_t)(end - text) : strlen(text);
		char *line_end = strchr(line, '\n');
		if (line_end == NULL)
			break;
		size_t n = parse_ids(line, '\n', want, 65536);
		hth_tokens tokens = HTH_TOKENS_INIT(65536);
		hth_error err = HTH_ERROR_INIT;
		CHECK_OK(hth_tokenizer_encode(o.tokenizer, text, len, 0, NULL, 0, &tokens, &err));
		char shown[80];
		snprintf(shown, sizeof shown, "%.*s", (int)HTH_MIN(len, sizeof shown - 1), text);
		same_ids(path, shown, &tokens, want, n);
		hth_tokens_finish(&tokens);
		line = line_end + 1;
		if (end == NULL)
			break;
		text = end + strlen(separator);
	}
	opened_close(&o);
}

static void each_vocabulary(void (*check)(const char *path, char *input))
{
	char pattern[4096];
	const char *input_path = test_shared("goldens/tokenizers/input.txt");
	if (input_path == NULL)
		SKIP("no ../shared");
	snprintf(pattern, sizeof pattern, "%.*s/*.gguf", (int)(strlen(input_path) - strlen("/input.txt")), input_path);
	HTH_AUTO_FREE char *input = test_read_file(input_path, NULL);
	glob_t found;
	REQUIRE(input != NULL && glob(pattern, 0, NULL, &found) == 0);
	CHECK(found.gl_pathc >= 5);
	for (size_t i = 0; i < found.gl_pathc; i++)
		check(found.gl_pathv[i], input);
	globfree(&found);
}

TEST(real_vocabularies_give_the_reference_tokens)
{
	each_vocabulary(check_vocabulary);
}

static void check_engine_model(const char *path, const char *json_path, char *text)
{
	opened o;
	HTH_AUTO_FREE char *json = test_read_file(json_path, NULL);
	HTH_AUTO_FREE int32_t *want = malloc(4096 * sizeof *want);
	const char *list = json ? strstr(json, "\"tokens\":") : NULL;
	if (list == NULL || want == NULL) {
		test_fail(__FILE__, __LINE__, "%s has no tokens", json_path);
		return;
	}
	size_t n = parse_ids(strchr(list, '['), ']', want, 4096);
	if (!opened_open(&o, path))
		return;
	hth_tokens tokens = HTH_TOKENS_INIT(4096);
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_tokenizer_encode(o.tokenizer, text, strlen(text), HTH_TOK_ADD_SPECIAL, NULL, 0, &tokens, &err));
	CHECK(tokens.len >= n);
	tokens.len = HTH_MIN(tokens.len, n);
	CHECK(n > 10);
	same_ids(path, "text.txt", &tokens, want, n);
	hth_tokens_finish(&tokens);
	opened_close(&o);
}

TEST(engine_goldens_have_the_reference_tokens)
{
	char pattern[4096];
	const char *text_path = test_shared("goldens/engine/text.txt");
	if (text_path == NULL)
		SKIP("no ../shared");
	snprintf(pattern, sizeof pattern, "%.*s/*.json", (int)(strlen(text_path) - strlen("/text.txt")), text_path);
	HTH_AUTO_FREE char *text = test_read_file(text_path, NULL);
	glob_t found;
	REQUIRE(text != NULL && glob(pattern, 0, NULL, &found) == 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char path[4096];
		snprintf(path, sizeof path, "%.*s.gguf", (int)strlen(found.gl_pathv[i]) - 5, found.gl_pathv[i]);
		check_engine_model(path, found.gl_pathv[i], text);
	}
	globfree(&found);
}

TEST(the_starter_model_has_the_reference_tokens)
{
	char model[4096], golden[4096];
	const char *p = test_shared("goldens/engine/text.txt");
	if (p == NULL)
		SKIP("no ../shared");
	HTH_AUTO_FREE char *text = test_read_file(p, NULL);
	p = test_shared("models/starter.golden.json");
	REQUIRE(p != NULL && text != NULL);
	snprintf(golden, sizeof golden, "%s", p);
	snprintf(model, sizeof model, "%s/models/starter.gguf",
	         getenv("HEARTH_SOURCE") ? getenv("HEARTH_SOURCE") : ".");
	check_engine_model(model, golden, text);
}

TEST_MAIN()
