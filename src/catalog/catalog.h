/* catalog.h - which models this home has on disk, by name.
 *
 * A model is a GGUF file (or the first of its shards NAME-00001-of-0000N.gguf) in $HEARTH_HOME/models or in the folder that came with the
 * program (PREFIX/share/hearth/models, the source tree's models/ in a build folder). Its name is the file's name
 * without .gguf, lower-case; ':' and '/' are allowed in asked names where a file of that spelling exists with '-' or '--'.
 * Where the folder of built-in models is not beside the program, $HEARTH_BUILTIN_MODELS names it (tests).
 * Files whose name is no printable UTF-8, and sets of shards that are not whole, are not listed.
 * Nothing here reads inside a model file: that is the runner's job.
 */
#ifndef HTH_CATALOG_CATALOG_H
#define HTH_CATALOG_CATALOG_H

#include "base/status.h"

#include <stdint.h>

enum { HTH_CATALOG_SHARDS_MAX = 64, HTH_CATALOG_MODELS_MAX = 4096, HTH_CATALOG_NAME_MAX = 200 };

typedef struct hth_catalog_model {
	char *name;
	char **files; /* absolute paths, in shard order */
	size_t n_files;
	uint64_t bytes; /* of all files */
	int64_t modified_unix;
	bool built_in; /* came with the program */
	uint64_t device, inode; /* of the first file: names that share both share their weights */
} hth_catalog_model;

typedef struct hth_catalog {
	hth_catalog_model *models; /* sorted by name; home's own hide built-in ones of the same name */
	size_t n;
} hth_catalog;

/* Scans the folders. A folder that does not exist is an empty one. */
HTH_MUST_USE hth_status hth_catalog_load(hth_catalog *ret_catalog, const char *home, hth_error *err);
void hth_catalog_finish(hth_catalog *catalog);
/* Finds by name ("starter", "Starter", "starter:latest", "starter.gguf"). NULL: not there. */
const hth_catalog_model *hth_catalog_find(const hth_catalog *catalog, const char *name);
/* What the person typed: a name in the catalog, or a path (has '/' or ends in .gguf) to a file. Fills *ret_model (finish with
 * hth_catalog_model_finish). A path that exists wins over a name. HTH_NOT_FOUND lists what there is. Only for what this home's owner
 * typed: names that came over a network go to hth_catalog_find, which never touches a path. */
HTH_MUST_USE hth_status hth_catalog_resolve(const hth_catalog *catalog, const char *name_or_file,
                                            hth_catalog_model *ret_model, hth_error *err);
void hth_catalog_model_finish(hth_catalog_model *model);
/* Files of home's models folder that look like models and are not listed, and why: parts of a set that is not whole, dangling links, names
 * that cannot be names. */
void hth_catalog_left_out(const char *home, void (*fn)(void *ctx, const char *file, const hth_error *why), void *ctx);
/* What the node sets aside at least for a model whose files have so many bytes: they, and room for a request. */
uint64_t hth_catalog_least_bytes(uint64_t file_bytes);

#endif
