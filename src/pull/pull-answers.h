/* pull-answers.h - what the places that models come from answer, read: Hugging Face's listing of a repository, a
 * registry's manifest.
 *
 * Pure: bytes in, a choice out. Both are foreign: bounded, of the right types, digests that are digests, or refused.
 */
#ifndef HTH_PULL_PULL_ANSWERS_H
#define HTH_PULL_PULL_ANSWERS_H

#include "json/json.h"

/* ---- Hugging Face's tree of a repository ---- */

enum { HTH_HF_GROUPS_MAX = 512 };

/* A model of the repository: one file, or a set of shards. */
typedef struct hth_hf_group {
	char stem[256]; /* path without shard number and .gguf */
	unsigned n;     /* shards */
	uint64_t bytes;
	bool whole; /* all shards have been seen */
	unsigned seen;
} hth_hf_group;
/* Zero it; finish it. */
typedef struct hth_hf_listing {
	json_t *files; /* array of the tree's objects that are GGUF */
	hth_hf_group groups[HTH_HF_GROUPS_MAX];
	size_t n_groups;
} hth_hf_listing;
/* One page of the listing. HTH_BAD_FORMAT. */
HTH_MUST_USE hth_status hth_hf_listing_add(hth_hf_listing *listing, const char *body, size_t len, hth_error *err);
void hth_hf_listing_finish(hth_hf_listing *listing);
/* The model that tag (a quantisation or a file's name; "": the usual one) means. HTH_NOT_FOUND lists what there is;
 * HTH_CONFLICT: several. Borrowed from the listing. */
HTH_MUST_USE hth_status hth_hf_choose(const hth_hf_listing *listing, const char *owner, const char *repo,
                                      const char *tag, const hth_hf_group **ret_group, hth_error *err);
/* Its i-th file (from 1): path, size and SHA-256 (NULL: the listing does not say). Borrowed. HTH_NOT_FOUND. */
HTH_MUST_USE hth_status hth_hf_file(const hth_hf_listing *listing, const hth_hf_group *group, unsigned i,
                                    const char **ret_path, uint64_t *ret_bytes, const char **ret_sha256,
                                    hth_error *err);

/* ---- a registry's manifest ---- */

enum { HTH_MANIFEST_LAYERS_MAX = 64 };

typedef enum hth_layer_kind {
	HTH_LAYER_OTHER, /* projectors and what is to come: not needed to answer */
	HTH_LAYER_MODEL,
	HTH_LAYER_TEMPLATE,
	HTH_LAYER_SYSTEM,
	HTH_LAYER_PARAMS,
	HTH_LAYER_MESSAGES,
	HTH_LAYER_LICENSE
} hth_layer_kind;
typedef struct hth_layer {
	hth_layer_kind kind;
	char sha256[65];
	uint64_t bytes;
} hth_layer;
typedef struct hth_manifest {
	hth_layer layers[HTH_MANIFEST_LAYERS_MAX];
	size_t n_layers;
} hth_manifest;
/* what: the reference, for messages. Exactly one layer is a model. HTH_BAD_FORMAT, HTH_UNSUPPORTED (an adapter, several
 * models, none). */
HTH_MUST_USE hth_status hth_manifest_read(hth_manifest *ret_manifest, const char *body, size_t len, const char *what,
                                          hth_error *err);

#endif
