/* fuzz-schema.c - a JSON Schema, a zero byte, and choices: the schema is refused with a message or becomes a grammar
 * that compiles; a walk through the grammar that follows the choices never gets stuck, and a sentence it finishes is
 * JSON. */
#include "engine/grammar/grammar.h"
#include "schema/schema.h"

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 8192)
		return 0;
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	size_t len = zero ? (size_t)(zero - data) : size, n_choices = zero ? size - len - 1 : 0;
	json_t *schema = NULL;
	hth_error err = HTH_ERROR_INIT;
	if (hth_json_parse(&schema, (const char *)data, len, &err) != HTH_OK)
		return 0;
	hth_buf text = HTH_BUF_INIT(1 << 20), out = HTH_BUF_INIT(1 << 16);
	hth_grammar *g = NULL;
	hth_grammar_matcher *m = NULL;
	if (hth_schema_grammar(schema, &text, &err) == HTH_OK &&
	    hth_grammar_compile(&g, NULL, text.data, text.len, &err) == HTH_OK) {
		check(hth_grammar_matcher_create(&m, g, &err) == HTH_OK);
		for (size_t i = 0; i < n_choices && !hth_grammar_must_end(m); i++) {
			/* The chosen byte, or the next that is allowed. */
			unsigned tries = 0;
			char c = (char)zero[1 + i];
			while (tries < 256 && !hth_grammar_accept_bytes(m, &c, 1)) {
				c++;
				tries++;
			}
			check(tries < 256 || hth_grammar_may_end(m));
			if (tries == 256 || !hth_buf_append_char(&out, c))
				break;
		}
		if (hth_grammar_may_end(m) && out.len > 0) {
			json_error_t e;
			json_t *v = json_loadb(out.data, out.len, JSON_DECODE_ANY, &e);
			check(v != NULL);
			json_decref(v);
		}
	} else {
		check(err.message[0] != '\0');
	}
	hth_grammar_matcher_destroy(m);
	hth_grammar_destroy(g);
	hth_buf_finish(&text);
	hth_buf_finish(&out);
	json_decref(schema);
	return 0;
}
