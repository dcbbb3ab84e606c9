/* sweep.h - bringing the record's files in step with a folder's, by looking at names and stat alone. Only this folder
 * includes it. */
#ifndef HTH_INDEX_SWEEP_H
#define HTH_INDEX_SWEEP_H

#include "index/index-record.h"

#include <stdatomic.h>
#include <sys/stat.h>

typedef struct sweep_result {
	uint64_t unchanged, fresh, changed, moved, removed, skipped;
	uint64_t away; /* on a disk that was mounted within the folder and is not now: kept */
	bool missing; /* the folder is not there (or another disk is mounted in its place): nothing was changed */
} sweep_result;

typedef struct sweep_hooks {
	void *ctx;
	/* A directory that was walked ("" the top), to be watched. May be NULL. */
	void (*directory)(void *ctx, int64_t folder, const char *folder_path, const char *rel);
	bool (*keep_going)(void *ctx); /* asked now and then; false ends it with HTH_CANCELLED. May be NULL. */
} sweep_hooks;

/* Walks the folder; files that are new or changed become WAITING, moved ones get their new path, and those that are
 * gone are removed with all they said. One transaction at most every few thousand files. A directory that cannot be
 * read keeps its files. */
HTH_MUST_USE hth_status sweep_folder(record *r, int64_t folder, const char *path, uint64_t file_bytes_max, const sweep_hooks *hooks,
                                     sweep_result *ret_result, hth_error *err);
/* Looks at the given paths (from the top of the folder) only. */
HTH_MUST_USE hth_status sweep_paths(record *r, int64_t folder, const char *path, uint64_t file_bytes_max, char **rels, size_t n,
                                    hth_error *err);

#endif
