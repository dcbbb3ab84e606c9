/* words-internal.h - what the files of the word index share; nobody else includes it. */
#ifndef HTH_INDEX_WORDS_INTERNAL_H
#define HTH_INDEX_WORDS_INTERNAL_H

#include "index/segment.h"

#include <pthread.h>

/* Which texts of a segment are removed. Never changes once it is in a view. */
typedef struct gone {
	atomic_int refs;
	uint32_t n_bits, count;
	uint64_t bits[];
} gone;

typedef struct part {
	segment *s;
	gone *gone;          /* NULL: none */
	uint32_t generation; /* of its gone-file; 0: none */
} part;

/* The index as of one commit. Counted; holds its segments open although newer commits may have removed their files. */
typedef struct view {
	atomic_int refs;
	uint64_t mark, last_id;
	uint32_t next_number, languages;
	uint64_t n_texts, n_gone, terms_total; /* texts and terms with the removed ones */
	size_t n;
	part parts[];
} view;

/* Texts that wait for a commit: a table from terms to their postings. */
typedef struct buffer {
	struct buffer_term *table;
	size_t n_slots, n_terms;
	char **arenas;
	size_t n_arenas, arena_at;
	uint64_t *ids;
	uint16_t *lengths;
	size_t n_texts, cap_texts;
	uint64_t bytes, terms_total;
	uint32_t languages;
	bool failed; /* no memory in the middle of a text */
	uint32_t text_len;
} buffer;
/* The text counts as at least least_terms long. */
HTH_MUST_USE hth_status buffer_add(buffer *b, hth_terms *terms, uint64_t id, hth_language language, const char *text, size_t len,
                                   uint32_t least_terms, hth_error *err);
HTH_MUST_USE hth_status buffer_write(buffer *b, const disk *d, const char *path, hth_error *err);
void buffer_clear(buffer *b);

struct hth_words {
	char folder[4000];
	bool write;
	uint64_t buffer_max;
	disk disk;
	int lock_fd;
	hth_terms *terms;
	buffer buffer;
	uint64_t last_id;
	uint32_t number;   /* of the next file: none is used twice, not even after a commit that failed */
	uint64_t *removed; /* ranges that wait for a commit: first, last, ... */
	size_t n_removed, cap_removed;
	pthread_mutex_t mutex; /* guards the pointer below */
	view *view;
};

static inline bool is_gone(const gone *g, uint32_t n)
{
	return g != NULL && (g->bits[n / 64] >> (n % 64) & 1) != 0;
}
gone *gone_create(uint32_t n_bits, const gone *like); /* NULL: no memory */
void gone_release(gone *g);
view *view_create(size_t n_parts); /* with no parts yet; NULL: no memory */
view *view_take(hth_words *words); /* the newest, to be released */
void view_release(view *v);
static inline void view_release_p(view **v)
{
	view_release(*v);
}
void view_sum(view *v); /* sets the totals from the parts */
/* Makes `next` what is searched; takes it over. */
void view_set(hth_words *words, view *next);
/* Commits `next`: the manifest, then the files that nobody names any more, then what is searched. Takes it over on
 * success. */
HTH_MUST_USE hth_status view_publish(hth_words *words, view *next, hth_error *err);

/* Writes the manifest that names the view's parts: the moment of a commit. */
HTH_MUST_USE hth_status manifest_write(hth_words *words, const view *v, hth_error *err);
HTH_MUST_USE hth_status manifest_read(hth_words *words, view **ret_view, hth_error *err);
/* Writes the part's gone-file as its generation. */
HTH_MUST_USE hth_status gone_write(hth_words *words, const part *p, hth_error *err);
/* Removes files that the view does not name. */
void leftovers_remove(hth_words *words, const view *v);
void segment_path(const hth_words *words, uint32_t number, char out[4200]);

#endif
