/* pull-answers.c - see pull-answers.h. Any thread. */
#include "pull/pull-answers.h"

#include "pull/pull-internal.h"

#include <stdio.h>
#include <strings.h>

/* ---- Hugging Face ---- */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static void note(hth_hf_listing *l, const char *path, uint64_t bytes)
{
	size_t len = strlen(path), base;
	unsigned i, n = 1;
	if (len < 6 || len >= sizeof l->groups[0].stem || strcasecmp(path + len - 5, ".gguf") != 0 ||
	    strcasestr(base_of(path), "mmproj") != NULL || strcasestr(base_of(path), "imatrix") != NULL)
		return;
	len -= 5;
	if (hth_shard_split(path, len, &base, &i, &n))
		len = base;
	else
		n = 1;
	hth_hf_group *g = NULL;
	for (size_t k = 0; k < l->n_groups && g == NULL; k++)
		if (l->groups[k].n == n && strlen(l->groups[k].stem) == len &&
		    memcmp(l->groups[k].stem, path, len) == 0)
			g = &l->groups[k];
	if (g == NULL) {
		if (l->n_groups == HTH_HF_GROUPS_MAX)
			return;
		g = &l->groups[l->n_groups++];
		*g = (hth_hf_group){.n = n};
		memcpy(g->stem, path, len);
		g->stem[len] = '\0';
	}
	g->bytes += bytes;
	g->whole = ++g->seen == n;
}

/* Whether the word stands in the path on its own: Q4_K is not in Q4_K_M. */
static bool has_word(const char *path, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = path; (p = strcasestr(p, word)) != NULL; p++)
		if ((p == path || strchr("-._/", p[-1]) != NULL) && strchr("-./", p[n]) != NULL) /* or its end */
			return true;
	return false;
}

static bool is_asked_file(const hth_hf_group *g, const char *tag)
{
	size_t len = strlen(tag);
	char stem[256];
	if (len > 5 && strcasecmp(tag + len - 5, ".gguf") == 0)
		len -= 5;
	size_t base;
	unsigned i, n;
	if (hth_shard_split(tag, len, &base, &i, &n))
		len = base;
	snprintf(stem, sizeof stem, "%.*s", (int)len, tag);
	return strcmp(stem, g->stem) == 0 || strcmp(stem, base_of(g->stem)) == 0;
}

/* Smaller is better: the usual choice first, then what is near it in size, then larger, then smaller. */
static const char *const preferred[] = {"Q4_K_M", "Q4_K_S", "Q4_K", "Q4_K_L", "Q5_K_M", "Q4_0",  "IQ4_XS",
                                        "IQ4_NL", "Q5_K_S", "Q5_0", "Q6_K",   "Q8_0",   "MXFP4", "Q3_K_L",
                                        "Q3_K_M", "Q3_K_S", "Q2_K", "BF16",   "F16",    "F32"};

hth_status hth_hf_choose(const hth_hf_listing *l, const char *owner, const char *repo, const char *tag,
                         const hth_hf_group **ret_group, hth_error *err)
{
	const hth_hf_group *found = NULL;
	size_t matches = 0;
	for (size_t w = 0; found == NULL && w < HTH_COUNT(preferred); w++) {
		const char *word = *tag != '\0' ? tag : preferred[w];
		for (size_t i = 0; i < l->n_groups; i++)
			if (l->groups[i].whole && ((*tag != '\0' && is_asked_file(&l->groups[i], tag)) ||
			                           has_word(l->groups[i].stem, word))) {
				if (found == NULL)
					found = &l->groups[i];
				matches++;
			}
		if (*tag != '\0')
			break;
	}
	if (found == NULL && *tag == '\0' && l->n_groups == 1 && l->groups[0].whole) {
		found = &l->groups[0];
		matches = 1;
	}
	hth_buf there = HTH_BUF_INIT(300);
	for (size_t i = 0; i < l->n_groups && !there.failed; i++)
		if (l->groups[i].whole && found == NULL)
			hth_buf_appendf(&there, "%s%s", there.len > 0 ? ", " : "", base_of(l->groups[i].stem));
	hth_status status = HTH_OK;
	if (l->n_groups == 0)
		status = hth_fail(err, HTH_NOT_FOUND,
		                  "%s/%s has no GGUF files; look for a repository of the model with GGUF in its name",
		                  owner, repo);
	else if (found == NULL)
		status = hth_fail(err, HTH_NOT_FOUND, "%s/%s: none of its files is %s; there are: %s%s", owner, repo,
		                  *tag ? "that" : "of a usual type",
		                  there.data != NULL ? there.data : "none that is whole", there.failed ? ", ..." : "");
	else if (matches > 1)
		status =
		    hth_fail(err, HTH_CONFLICT,
		             "%s/%s has %zu models of that type; name one after a ':', as in hf.co/%s/%s:%.100s.gguf",
		             owner, repo, matches, owner, repo, base_of(found->stem));
	else
		*ret_group = found;
	hth_buf_finish(&there);
	return status;
}

hth_status hth_hf_listing_add(hth_hf_listing *l, const char *body, size_t len, hth_error *err)
{
	HTH_AUTO_JSON json_t *page = NULL;
	if (l->files == NULL && (l->files = json_array()) == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a listing");
	if (hth_json_parse(&page, body, len, NULL) != HTH_OK || !json_is_array(page))
		return hth_fail(err, HTH_BAD_FORMAT, "Hugging Face's listing is not what it should be (no JSON array)");
	size_t i;
	json_t *entry;
	json_array_foreach(page, i, entry)
	{
		const char *path = json_string_value(json_object_get(entry, "path")),
		           *type = json_string_value(json_object_get(entry, "type"));
		json_int_t size = json_integer_value(json_object_get(entry, "size"));
		size_t n = path != NULL ? strlen(path) : 0;
		if (type == NULL || strcmp(type, "file") != 0 || n < 6 || strcasecmp(path + n - 5, ".gguf") != 0 ||
		    size <= 0)
			continue;
		note(l, path, (uint64_t)size);
		if (json_array_append(l->files, entry) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a listing");
	}
	return HTH_OK;
}

void hth_hf_listing_finish(hth_hf_listing *l)
{
	json_decref(l->files);
	l->files = NULL;
	l->n_groups = 0;
}

hth_status hth_hf_file(const hth_hf_listing *l, const hth_hf_group *g, unsigned i, const char **ret_path,
                       uint64_t *ret_bytes, const char **ret_sha256, hth_error *err)
{
	char path[300];
	json_t *entry;
	size_t k;
	if (g->n > 1)
		snprintf(path, sizeof path, "%s-%05u-of-%05u", g->stem, i, g->n);
	else
		snprintf(path, sizeof path, "%s", g->stem);
	json_array_foreach(l->files, k, entry)
	{
		const char *p = json_string_value(json_object_get(entry, "path"));
		if (strncmp(p, path, strlen(path)) != 0 || strcasecmp(p + strlen(path), ".gguf") != 0)
			continue;
		*ret_path = p;
		*ret_bytes = (uint64_t)json_integer_value(json_object_get(entry, "size"));
		*ret_sha256 = json_string_value(json_object_get(json_object_get(entry, "lfs"), "oid"));
		return HTH_OK;
	}
	return hth_fail(err, HTH_NOT_FOUND, "%s.gguf is not in the listing", path);
}

/* ---- a registry ---- */

static hth_status read_layer(const json_t *from, hth_layer *ret, const char *what, hth_error *err)
{
	static const struct {
		const char *suffix;
		hth_layer_kind kind;
	} kinds[] = {{".model", HTH_LAYER_MODEL},   {".template", HTH_LAYER_TEMPLATE}, {".system", HTH_LAYER_SYSTEM},
	             {".params", HTH_LAYER_PARAMS}, {".messages", HTH_LAYER_MESSAGES}, {".license", HTH_LAYER_LICENSE}};
	const char *type = json_string_value(json_object_get(from, "mediaType")),
	           *digest = json_string_value(json_object_get(from, "digest"));
	json_int_t size = json_integer_value(json_object_get(from, "size"));
	if (type == NULL || digest == NULL || size < 0 || strncmp(digest, "sha256:", 7) != 0 || strlen(digest) != 71 ||
	    strspn(digest + 7, "0123456789abcdef") != 64)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "the registry's manifest of %s has a layer without type, size or SHA-256", what);
	const char *dot = strrchr(type, '.');
	if (dot != NULL && strcmp(dot, ".adapter") == 0)
		return hth_fail(err, HTH_UNSUPPORTED, "%s is an adapter for another model, which Hearth does not do",
		                what);
	*ret = (hth_layer){.bytes = (uint64_t)size};
	memcpy(ret->sha256, digest + 7, sizeof ret->sha256);
	for (size_t i = 0; dot != NULL && i < HTH_COUNT(kinds); i++)
		if (strcmp(dot, kinds[i].suffix) == 0)
			ret->kind = kinds[i].kind;
	return HTH_OK;
}

hth_status hth_manifest_read(hth_manifest *ret_manifest, const char *body, size_t len, const char *what, hth_error *err)
{
	HTH_AUTO_JSON json_t *manifest = NULL;
	hth_manifest out = {.n_layers = 0};
	size_t i, models = 0;
	json_t *layer;
	if (hth_json_parse(&manifest, body, len, NULL) != HTH_OK || !json_is_array(json_object_get(manifest, "layers")))
		return hth_fail(err, HTH_BAD_FORMAT, "what the registry has as %s is no manifest", what);
	const json_t *layers = json_object_get(manifest, "layers");
	if (json_array_size(layers) > HTH_MANIFEST_LAYERS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the manifest of %s has more than %d layers", what,
		                HTH_MANIFEST_LAYERS_MAX);
	json_array_foreach(layers, i, layer)
	{
		HTH_TRY(read_layer(layer, &out.layers[out.n_layers], what, err));
		models += out.layers[out.n_layers++].kind == HTH_LAYER_MODEL;
	}
	if (models != 1)
		return hth_fail(err, HTH_UNSUPPORTED, "%s has %s in its manifest", what,
		                models == 0 ? "no model" : "more than one model");
	*ret_manifest = out;
	return HTH_OK;
}
