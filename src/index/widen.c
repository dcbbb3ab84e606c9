/* widen.c - which terms join a query.
 *
 * A term's weight is its share of each text, times the text's score, summed, times how rare it is. Ten join; the query's own count three
 * times. Both numbers, and that five texts are looked at, were chosen on the test sets of `make bench` (docs/index.md has what they bring
 * there).
 */
#include "index/widen.h"

#include "base/mem.h"

enum { ADDED = 10, OWN_TIMES = 3, TIMES_MAX = 20 /* with 64 terms, each of the rarest, scores stay below 2^32 */, TERMS_MAX = 2048,
       SLOTS = 4096, LOOKED_UP = 192, TEXT_BYTES = 16 << 10 };

typedef struct candidate {
	char text[HTH_TERM_MAX + 1];
	uint8_t len;
	uint16_t times[WIDEN_TEXTS]; /* in each text */
	double weight;
} candidate;

typedef struct collecting {
	candidate *list;
	size_t n;
	uint16_t *slots; /* 0: free */
	size_t text, lengths[WIDEN_TEXTS];
} collecting;

static void collect(void *ctx, const char *term, size_t len, size_t begin, size_t end)
{
	(void)begin, (void)end;
	collecting *c = ctx;
	uint32_t hash = 2166136261u;
	c->lengths[c->text]++;
	if (len < 2 || len > HTH_TERM_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)term[i]) * 16777619u;
	size_t at = hash % SLOTS;
	for (; c->slots[at] != 0; at = (at + 1) % SLOTS) {
		candidate *k = &c->list[c->slots[at] - 1];
		if (k->len == len && memcmp(k->text, term, len) == 0) {
			k->times[c->text] += k->times[c->text] < UINT16_MAX;
			return;
		}
	}
	if (c->n == TERMS_MAX)
		return;
	candidate *k = &c->list[c->n++];
	k->len = (uint8_t)len;
	memcpy(k->text, term, len);
	k->times[c->text] = 1;
	c->slots[at] = (uint16_t)c->n;
}

/* Keeps those that two texts or more have. */
static void weigh_by_texts(collecting *c, const widen_text *texts)
{
	size_t kept = 0;
	for (size_t i = 0; i < c->n; i++) {
		candidate *k = &c->list[i];
		size_t n = 0;
		for (size_t t = 0; t <= c->text; t++) {
			n += k->times[t] > 0;
			k->weight += (double)k->times[t] * (double)texts[t].score / (double)(c->lengths[t] + 1);
		}
		if (n > 1)
			c->list[kept++] = *k;
	}
	c->n = kept;
}

static int heaviest_first(const void *a, const void *b)
{
	const candidate *x = a, *y = b;
	return x->weight != y->weight ? (x->weight > y->weight ? -1 : 1) : strcmp(x->text, y->text);
}

static void weigh_by_rarity(hth_words *words, collecting *c)
{
	for (size_t at = 0; at < c->n; at += HTH_WORDS_QUERY_MAX) {
		hth_words_query some = {0};
		double idf[HTH_WORDS_QUERY_MAX];
		for (size_t i = at; i < c->n && some.n < HTH_WORDS_QUERY_MAX; i++) {
			hth_words_term *t = &some.terms[some.n++];
			memcpy(t->text, c->list[i].text, sizeof t->text);
			t->len = c->list[i].len;
		}
		hth_words_rarity(words, &some, idf);
		for (size_t i = 0; i < some.n; i++)
			c->list[at + i].weight *= idf[i];
	}
}

static bool has_term(const hth_words_query *query, size_t n, const candidate *k)
{
	for (size_t i = 0; i < n; i++)
		if (query->terms[i].len == k->len && memcmp(query->terms[i].text, k->text, k->len) == 0)
			return true;
	return false;
}

static void add_best(const collecting *c, hth_words_query *query)
{
	size_t own = query->n;
	for (size_t i = 0; i < own; i++)
		query->terms[i].times = (uint8_t)HTH_MIN(query->terms[i].times * OWN_TIMES, TIMES_MAX);
	for (size_t i = 0; i < c->n && query->n < HTH_MIN(own + ADDED, (size_t)HTH_WORDS_QUERY_MAX); i++) {
		const candidate *k = &c->list[i];
		if (has_term(query, own, k) || hth_terms_is_small(query->languages, k->text, k->len))
			continue;
		hth_words_term *t = &query->terms[query->n++];
		*t = (hth_words_term){.len = k->len, .word = 63, .times = 1, .need = HTH_WORDS_MAY};
		memcpy(t->text, k->text, sizeof t->text);
	}
}

void widen_query(hth_words *words, hth_terms *terms, const widen_text *texts, size_t n, hth_words_query *query)
{
	HTH_AUTO_FREE candidate *list = hth_alloc_array(TERMS_MAX, sizeof *list);
	HTH_AUTO_FREE uint16_t *slots = hth_alloc_array(SLOTS, sizeof *slots);
	if (n < 2 || list == NULL || slots == NULL)
		return;
	collecting c = {.list = list, .slots = slots};
	for (c.text = 0;; c.text++) {
		const widen_text *t = &texts[c.text];
		hth_terms_of_text(terms, t->language, t->text, strnlen(t->text, TEXT_BYTES), collect, &c);
		if (c.text + 1 == HTH_MIN(n, (size_t)WIDEN_TEXTS))
			break;
	}
	weigh_by_texts(&c, texts);
	qsort(list, c.n, sizeof *list, heaviest_first);
	c.n = HTH_MIN(c.n, (size_t)LOOKED_UP);
	weigh_by_rarity(words, &c);
	qsort(list, c.n, sizeof *list, heaviest_first);
	add_best(&c, query);
}
