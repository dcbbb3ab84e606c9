/* passage-filter.h - which passages a query's filters let through, as a set of their ids. Only this folder includes it. */
#ifndef HTH_INDEX_PASSAGE_FILTER_H
#define HTH_INDEX_PASSAGE_FILTER_H

#include "index/index-record.h"
#include "index/words.h"

/* The set for q's filters (folder, type, from, after, before, shared_only, store, accept), as of now. It may let through a few more than
 * the filters do (a file of several parts, a date that is the file's): each hit is looked at again. Any thread. The caller frees the
 * bits. */
HTH_MUST_USE hth_status passage_filter_make(record *r, const char *home, const hth_index_query *q, hth_words_set *ret_set, hth_error *err);

#endif
