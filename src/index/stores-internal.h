/* stores-internal.h - what the files of stores share; nobody else includes it. */
#ifndef HTH_INDEX_STORES_INTERNAL_H
#define HTH_INDEX_STORES_INTERNAL_H

#include "index/index-record.h"
#include "index/stores.h"

/* What a store's name means. */
typedef struct store_scope {
	bool household;
	bool expired;                     /* what was in it is gone */
	int64_t folder;                   /* its row; 0: all of the household's; -1: it has expired */
	char path[HTH_INDEX_PATH_MAX];    /* "": all */
	char id[HTH_STORE_ID_MAX];
} store_scope;
HTH_MUST_USE hth_status store_find(record *r, const char *id, store_scope *ret_scope, hth_error *err);
/* HTH_NOT_FOUND: there is no index at all, so no store but the household's empty one. */
HTH_MUST_USE hth_status store_open(const char *home, record *ret_record, hth_error *err);
bool store_id_make(const char *prefix, char out[HTH_STORE_ID_MAX]); /* prefix and 24 random hex digits */
/* "HOME/files/LINK", "HOME/stores/STORE/LINK"; store NULL: the first. */
bool store_path(const char *home, const char *store, const char *link, char out[HTH_INDEX_PATH_MAX]);
HTH_MUST_USE hth_status store_read_attributes(const json_t *body, const char *key, char **ret_json, hth_error *err); /* "{}" without */
void store_remove_link(const char *home, const char *store, const char *link);
/* How far passages are found: the word index's mark. */
uint64_t store_words_mark(const char *home);
HTH_MUST_USE hth_status store_refuse_expired(const store_scope *s, hth_error *err);
/* hth_stores_expire, by a record that is open. */
HTH_MUST_USE hth_status stores_expire(record *r, const char *home, int64_t now_unix, hth_error *err);
/* It is used now. */
void store_touch(record *r, const store_scope *s);
/* What was in it goes, and with `whole` the store, too. */
HTH_MUST_USE hth_status store_empty(record *r, const char *home, const char *id, bool whole, hth_error *err);
json_t *store_counts(record *r, const char *home, const store_scope *s, const char *batch, int64_t *ret_bytes, bool *ret_busy);

/* filters */
HTH_MUST_USE hth_status store_filter_check(const json_t *filter, hth_error *err);
bool store_filter_matches(const json_t *filter, const json_t *attributes);

#endif
