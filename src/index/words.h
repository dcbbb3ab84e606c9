/* words.h - the word index: which texts have which words, ranked by BM25, kept in mapped files that never change.
 *
 * A text is a passage with a number (its id) that rises and is never used again. Texts are added in memory and become
 * searchable, and durable, with hth_words_commit, which writes them as one *segment* (segment.h has the layout) and
 * then names it in the manifest. Segments are merged in tiers by hth_words_merge: as few as the logarithm of what there
 * is. A removed text is a bit beside its segment until a merge leaves it out.
 *
 * What a crash can do: a file is written, synced and only then named by the manifest, which is replaced by one rename.
 * So at every moment the index is as of some commit; files that no manifest names are removed when a writer opens it.
 * The manifest carries the caller's `mark` (up to where its own record has been indexed), from which the caller goes
 * on.
 *
 * Score of a text d for a query q (Robertson et al., Okapi at TREC-3, 1994; idf as Lucene has it, never negative):
 *   sum over t in q of  ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) * (k1 + 1) * f / (f + k1 * (1 - b + b * |d| / avg|d|)),
 * k1 = 1.2, b = 0.75 f: how often t is in d; n_t: texts that have t; |d|: terms of d; a term counts as often as the
 * query has it. Each summand is rounded to 1/65536, so that a sum does not depend on its order.
 *
 * Threads: one handle has one writing thread (add, remove, commit, merge); any number of threads search it at the same
 * time and see the last commit. One process writes (a lock file says so); others open it for reading and see new
 * commits with hth_words_refresh.
 */
#ifndef HTH_INDEX_WORDS_H
#define HTH_INDEX_WORDS_H

#include "index/terms.h"

typedef struct hth_words hth_words;

/* Seam for tests: called before every step that changes the disk ("write", "sync", "rename", "remove"); false makes it
 * fail. */
typedef bool (*hth_words_step_fn)(void *ctx, const char *step);

typedef struct hth_words_options {
	bool write;             /* false: only search */
	uint64_t buffer_bytes;  /* memory for texts that are not committed; 0: 64 MiB */
	hth_words_step_fn step; /* NULL */
	void *step_ctx;
} hth_words_options;

/* Opens the index in `folder` (made, 0700, when writing). HTH_BUSY: another process writes it. HTH_NOT_FOUND: reading,
 * and nothing there. HTH_BAD_FORMAT: a file is damaged or of another version (the caller starts afresh with
 * hth_words_erase; texts are in its record). */
HTH_MUST_USE hth_status hth_words_open(hth_words **ret_words, const char *folder, const hth_words_options *options, hth_error *err);
/* What was not committed is lost. */
void hth_words_close(hth_words *words);
/* Removes every file of an index that is not open. */
HTH_MUST_USE hth_status hth_words_erase(const char *folder, hth_error *err);

/* Adds a text. id must be greater than every id before. When the buffer is full HTH_BUSY: commit, and add again. */
HTH_MUST_USE hth_status hth_words_add(hth_words *words, uint64_t id, hth_language language, const char *text, size_t len, hth_error *err);
/* The same for what is no text but names one: it counts as long as a usual passage, so that it neither makes them seem long nor comes
 * before them for being short. */
HTH_MUST_USE hth_status hth_words_add_name(hth_words *words, uint64_t id, hth_language language, const char *text, size_t len,
                                           hth_error *err);
/* Removes texts first..last (inclusive), committed or not; ids that are not there are ignored. Durable with the next
 * commit. */
HTH_MUST_USE hth_status hth_words_remove(hth_words *words, uint64_t first, uint64_t last, hth_error *err);
/* Makes all that was added and removed durable and searchable. After a failure nothing has changed, and it may be tried
 * again. */
HTH_MUST_USE hth_status hth_words_commit(hth_words *words, uint64_t mark, hth_error *err);
uint64_t hth_words_mark(const hth_words *words);
/* The greatest id that was ever added, committed or not. */
uint64_t hth_words_last(const hth_words *words);
/* Bytes of memory that wait to be committed. */
uint64_t hth_words_pending(const hth_words *words);

/* Merges one run of segments that are due, if any (*ret_did tells). purge: also rewrites a segment that has a removed
 * text, so that nothing of it stays. keep_going (may be NULL) is asked often; false ends the merge with HTH_CANCELLED
 * and no change. */
HTH_MUST_USE hth_status hth_words_merge(hth_words *words, bool purge, bool (*keep_going)(void *ctx), void *ctx, bool *ret_did,
                                        hth_error *err);
/* Takes up what another process has committed. Cheap when nothing has changed. Any thread, but no two at once. */
HTH_MUST_USE hth_status hth_words_refresh(hth_words *words, hth_error *err);

typedef struct hth_words_info {
	uint64_t texts, removed; /* committed; removed are not among texts, and still in the files */
	uint64_t terms_total;    /* terms of all texts, each as often as it is there */
	uint64_t bytes;          /* of files */
	uint32_t segments;
	uint32_t languages; /* bit i: a text of hth_language i was added */
} hth_words_info;
void hth_words_get_info(hth_words *words, hth_words_info *ret_info);

/* --- Searching --- */

enum { HTH_WORDS_QUERY_MAX = 64, HTH_WORDS_K_MAX = 10000 };

typedef enum hth_words_need { HTH_WORDS_MAY, HTH_WORDS_MUST, HTH_WORDS_MUST_NOT } hth_words_need;
typedef struct hth_words_term {
	char text[HTH_TERM_MAX + 1];
	uint8_t len;
	uint8_t word;  /* terms of one number (0 to 31 where need is not MAY) are forms of one word: any of them meets
	                  its need */
	uint8_t times; /* in the query */
	uint8_t need;  /* hth_words_need; the same for all terms of a word */
} hth_words_term;

/* A set of ids: those below n whose bit is set. */
typedef struct hth_words_set {
	const uint64_t *bits; /* (n + 63) / 64 */
	uint64_t n;
} hth_words_set;
static inline bool hth_words_set_has(const hth_words_set *set, uint64_t id)
{
	return id < set->n && (set->bits[id / 64] >> (id % 64) & 1) != 0;
}
/* How many ids of first..last (inclusive) are in it, at most `enough`: counting ends there. */
uint64_t hth_words_set_count(const hth_words_set *set, uint64_t first, uint64_t last, uint64_t enough);

typedef struct hth_words_query {
	hth_words_term terms[HTH_WORDS_QUERY_MAX];
	size_t n;
	uint32_t languages; /* that its words were stemmed for */
	const hth_words_set *only; /* only these texts; NULL: all. Borrowed. */
} hth_words_query;

typedef struct hth_words_hit {
	uint64_t id;
	float score;
} hth_words_hit;

/* Appends the words of `text` with one need, as many as there is room for (a repeated term counts as often). */
void hth_words_query_add(hth_words_query *query, hth_terms *terms, uint32_t languages, const char *text, size_t len, hth_words_need need);

/* How rare each of the query's terms is: the formula's ln(...), with at least a thousand texts. What no text has is rarest. */
void hth_words_rarity(hth_words *words, const hth_words_query *query, double ret_idf[HTH_WORDS_QUERY_MAX]);
/* The k best texts, best first, equal ones by id. hits has room for k (at most HTH_WORDS_K_MAX). */
HTH_MUST_USE hth_status hth_words_search(hth_words *words, const hth_words_query *query, size_t k, hth_words_hit *hits, size_t *ret_n,
                                         hth_error *err);
/* Scores these texts (any order, at most HTH_WORDS_K_MAX) by another query, and orders them by that. Needs and ranges are not looked at; a
 * text that has none of its terms, or is gone, scores 0. */
HTH_MUST_USE hth_status hth_words_rescore(hth_words *words, const hth_words_query *query, hth_words_hit *hits, size_t n, hth_error *err);
/* The same as hth_words_search by scoring every match: the reference that tests hold hth_words_search against. */
HTH_MUST_USE hth_status hth_words_search_all(hth_words *words, const hth_words_query *query, size_t k, hth_words_hit *hits, size_t *ret_n,
                                             hth_error *err);

#endif
