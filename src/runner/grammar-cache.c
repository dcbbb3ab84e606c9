/* grammar-cache.c - see grammar-cache.h. Owns the vocabulary and the grammars; the lock guards the table alone and is held for
 * moments, never while a grammar is compiled or run. A grammar's size is only looked at while nobody uses it. */
#include "runner/grammar-cache.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>

enum {
	ENTRIES_MAX = 1088,     /* more than all jobs of a runner */
	KEPT_MAX = 32,          /* that nobody uses */
	KEPT_BYTES = 96 << 20,  /* of those */
	ALL_BYTES = 384 << 20,  /* of those in use, as large as they were when they came */
};

typedef struct cache_entry {
	hth_grammar *grammar; /* NULL: free */
	char *text;
	size_t len;
	bool special;
	unsigned users;
	size_t bytes;
	uint64_t used;
} cache_entry;

struct hth_grammar_cache {
	const hth_tokenizer *tokenizer;
	hth_grammar_vocab *vocab; /* made under make_lock, then never changed but by the scheduler's thread */
	pthread_mutex_t make_lock, lock;
	cache_entry entries[ENTRIES_MAX];
	size_t n; /* entries that were ever used */
	uint64_t tick, compiled, found;
};

hth_status hth_grammar_cache_create(hth_grammar_cache **ret_cache, const hth_tokenizer *tokenizer, hth_error *err)
{
	hth_grammar_cache *c = calloc(1, sizeof *c);
	if (c == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for grammars");
	c->tokenizer = tokenizer;
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->make_lock, NULL);
	*ret_cache = c;
	return HTH_OK;
}

static void drop(cache_entry *e)
{
	hth_grammar_destroy(e->grammar);
	if (e->text != NULL)
		explicit_bzero(e->text, e->len);
	free(e->text);
	*e = (cache_entry){0};
}

void hth_grammar_cache_destroy(hth_grammar_cache *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n; i++)
		drop(&c->entries[i]);
	hth_grammar_vocab_destroy(c->vocab);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->make_lock);
	free(c);
}

/* ---- with the lock held ---- */

static cache_entry *find(hth_grammar_cache *c, const char *text, size_t len, bool special)
{
	for (size_t i = 0; i < c->n; i++) {
		cache_entry *e = &c->entries[i];
		if (e->grammar != NULL && e->len == len && e->special == special && memcmp(e->text, text, len) == 0)
			return e;
	}
	return NULL;
}

static hth_grammar *take(hth_grammar_cache *c, cache_entry *e)
{
	e->users++;
	e->used = ++c->tick;
	return e->grammar;
}

static hth_grammar_cache_stats count(const hth_grammar_cache *c)
{
	hth_grammar_cache_stats stats = {.compiled = c->compiled, .found = c->found};
	for (size_t i = 0; i < c->n; i++) {
		const cache_entry *e = &c->entries[i];
		stats.kept += e->grammar != NULL && e->users == 0;
		stats.in_use += e->users > 0;
		stats.bytes += e->bytes;
	}
	return stats;
}

static bool drop_oldest(hth_grammar_cache *c)
{
	cache_entry *oldest = NULL;
	for (size_t i = 0; i < c->n; i++) {
		cache_entry *e = &c->entries[i];
		if (e->grammar != NULL && e->users == 0 && (oldest == NULL || e->used < oldest->used))
			oldest = e;
	}
	if (oldest != NULL)
		drop(oldest);
	return oldest != NULL;
}

static void keep_within_bounds(hth_grammar_cache *c)
{
	for (;;) {
		size_t n = 0, bytes = 0;
		for (size_t i = 0; i < c->n; i++) {
			const cache_entry *e = &c->entries[i];
			n += e->grammar != NULL && e->users == 0;
			bytes += e->users == 0 ? e->bytes : 0;
		}
		if ((n <= KEPT_MAX && bytes <= KEPT_BYTES) || !drop_oldest(c))
			return;
	}
}

/* A place for one more of this size. NULL: what is in use takes it all. */
static cache_entry *make_place(hth_grammar_cache *c, size_t bytes)
{
	while (count(c).bytes + bytes > ALL_BYTES)
		if (!drop_oldest(c))
			return NULL;
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i].grammar == NULL)
			return &c->entries[i];
	if (c->n == ENTRIES_MAX)
		return drop_oldest(c) ? make_place(c, bytes) : NULL;
	return &c->entries[c->n++];
}

/* ---- borrowing ---- */

static hth_status add(hth_grammar_cache *c, hth_grammar *grammar, char *text, size_t len, bool special, hth_grammar **ret_grammar,
                      hth_error *err)
{
	size_t bytes = hth_grammar_bytes(grammar);
	pthread_mutex_lock(&c->lock);
	cache_entry *e = make_place(c, bytes);
	if (e != NULL) {
		*e = (cache_entry){.grammar = grammar, .text = text, .len = len, .special = special, .bytes = bytes};
		c->compiled++;
		*ret_grammar = take(c, e);
	}
	pthread_mutex_unlock(&c->lock);
	if (e != NULL)
		return HTH_OK;
	hth_grammar_destroy(grammar);
	explicit_bzero(text, len);
	free(text);
	return hth_fail(err, HTH_BUSY, "the grammars of running requests take all the memory that they may (%d MiB); try again later",
	                ALL_BYTES >> 20);
}

static hth_status compile(hth_grammar_cache *c, const char *gbnf, size_t len, bool special, hth_grammar **ret_grammar, hth_error *err)
{
	if (c->vocab == NULL)
		HTH_TRY(hth_grammar_vocab_create(&c->vocab, c->tokenizer, err));
	char *text = malloc(len + 1);
	if (text == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar");
	memcpy(text, gbnf, len + 1);
	hth_grammar *grammar;
	hth_status status = hth_grammar_compile(&grammar, c->vocab, gbnf, len, err);
	if (status != HTH_OK) {
		explicit_bzero(text, len);
		free(text);
		snprintf(err->param, sizeof err->param, "grammar");
		return hth_fail_prefix(err, "the grammar");
	}
	if (special)
		hth_grammar_use_special(grammar);
	return add(c, grammar, text, len, special, ret_grammar, err);
}

hth_status hth_grammar_cache_borrow(hth_grammar_cache *c, const char *gbnf, bool special, hth_grammar **ret_grammar, hth_error *err)
{
	size_t len = strlen(gbnf);
	hth_status status = HTH_OK;
	pthread_mutex_lock(&c->make_lock);
	pthread_mutex_lock(&c->lock);
	cache_entry *e = find(c, gbnf, len, special);
	if (e != NULL) {
		c->found++;
		*ret_grammar = take(c, e);
	}
	pthread_mutex_unlock(&c->lock);
	if (e == NULL)
		status = compile(c, gbnf, len, special, ret_grammar, err);
	pthread_mutex_unlock(&c->make_lock);
	return status;
}

void hth_grammar_cache_give_back(hth_grammar_cache *c, hth_grammar *grammar)
{
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->n; i++) {
		cache_entry *e = &c->entries[i];
		if (e->grammar != grammar || --e->users > 0)
			continue;
		e->bytes = hth_grammar_bytes(grammar);
		keep_within_bounds(c);
		break;
	}
	pthread_mutex_unlock(&c->lock);
}

hth_grammar_cache_stats hth_grammar_cache_get_stats(hth_grammar_cache *c)
{
	pthread_mutex_lock(&c->lock);
	hth_grammar_cache_stats stats = count(c);
	pthread_mutex_unlock(&c->lock);
	return stats;
}
