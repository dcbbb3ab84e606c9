/* fuzz-answers.c - any bytes as what a source of models answers: first byte even, a registry's manifest; odd, Hugging
 * Face's listing, asked for one of several tags. What is accepted must have the form that the rest of the pull relies
 * on. */
#include "base/mem.h"
#include "pull/pull-answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void manifest(const char *data, size_t size)
{
	hth_error err = HTH_ERROR_INIT;
	hth_manifest m;
	size_t models = 0;
	if (hth_manifest_read(&m, data, size, "a/b:c", &err) != HTH_OK) {
		if (err.message[0] == '\0')
			abort();
		return;
	}
	for (size_t i = 0; i < m.n_layers; i++) {
		models += m.layers[i].kind == HTH_LAYER_MODEL;
		if (strlen(m.layers[i].sha256) != 64 || strspn(m.layers[i].sha256, "0123456789abcdef") != 64)
			abort();
	}
	if (models != 1 || m.n_layers > HTH_MANIFEST_LAYERS_MAX)
		abort();
}

static void listing(const char *data, size_t size)
{
	static const char *const tags[] = {"", "Q4_K_M", "q8_0", "model", "dir/model-00001-of-00002.gguf", "x.gguf"};
	hth_error err = HTH_ERROR_INIT;
	hth_hf_listing *l = calloc(1, sizeof *l);
	size_t half = size / 2;
	/* One page, or two of which the first is cut anywhere. */
	bool ok = hth_hf_listing_add(l, data, size, &err) == HTH_OK;
	if (!ok)
		(void)!hth_hf_listing_add(l, data, half, &err);
	for (size_t t = 0; t < HTH_COUNT(tags); t++) {
		const hth_hf_group *g = NULL;
		if (hth_hf_choose(l, "o", "r", tags[t], &g, &err) != HTH_OK) {
			if (g != NULL || err.message[0] == '\0')
				abort();
			continue;
		}
		if (!g->whole || g->n == 0)
			abort();
		for (unsigned i = 1; i <= g->n && i < 100; i++) {
			const char *path = NULL, *sha256;
			uint64_t bytes;
			if (hth_hf_file(l, g, i, &path, &bytes, &sha256, &err) == HTH_OK &&
			    (path == NULL || strncmp(path, g->stem, strlen(g->stem)) != 0))
				abort();
		}
	}
	hth_hf_listing_finish(l);
	free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	(data[0] % 2 == 0 ? manifest : listing)((const char *)data + 1, size - 1);
	return 0;
}
