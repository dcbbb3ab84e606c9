/* words-search.c - the k best texts. Any thread.
 *
 * Texts are looked at in windows of 4096. For each term the blocks that touch the window give a bound on what it can
 * add there. A window whose bounds together cannot beat the k-th best so far is skipped unread. Otherwise the terms are
 * split as MaxScore has it (Turtle and Flood, 1995; with block maxima: Ding and Suel, 2011): those whose bounds
 * together stay below the k-th best cannot bring in a text alone, so only the other lists are read, summed into an
 * array (a term at a time, which keeps the loops short), and the rest is looked up for the texts that may still win.
 *
 * Scores are whole numbers (1/65536), so the order of summing changes nothing, and hth_words_search_all, which scores
 * every match, must and does give the same texts with the same scores. Equal scores rank by id; texts come in that
 * order, so an equal newcomer loses.
 */
#include "base/mem.h"
#include "index/words-internal.h"

#include <math.h>

/* How often a word of a query counts at most: 64 terms, each of the rarest, then stay below 2^32. */
/* FEW: so many texts of a window are quicker looked up than its lists are summed. */
enum { WINDOW = 4096, ONE = 65536, TIMES_MAX = 8, FEW = 48 };

/* A query's term, in the whole index. */
typedef struct weighed {
	const hth_words_term *term;
	double weight; /* idf * (k1 + 1) * ONE, as often as the query has it; 0: only its presence matters */
	uint32_t need_bit;
} weighed;

typedef struct list {
	const weighed *term;
	cursor cursor;
	float weight;
	uint32_t bound; /* in the window */
} list;

typedef struct search {
	const hth_words_query *query;
	const view *view;
	weighed terms[HTH_WORDS_QUERY_MAX];
	size_t n_terms;
	uint32_t must, must_not; /* bits of words */
	float k_flat, k_len, average;
	struct ranked {
		uint32_t score;
		uint64_t id;
	} * heap; /* the worst on top */
	size_t n, k;
} search;

/* --- the k best --- */

static bool is_worse(const struct ranked *a, const struct ranked *b)
{
	return a->score != b->score ? a->score < b->score : a->id > b->id;
}

static void sift_down(struct ranked *heap, size_t n, size_t at)
{
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= n)
			return;
		if (child + 1 < n && is_worse(&heap[child + 1], &heap[child]))
			child++;
		if (!is_worse(&heap[child], &heap[at]))
			return;
		struct ranked t = heap[at];
		heap[at] = heap[child];
		heap[child] = t;
		at = child;
	}
}

static void offer(search *q, uint32_t score, uint64_t id)
{
	struct ranked r = {score, id};
	if (q->n < q->k) {
		size_t at = q->n++;
		q->heap[at] = r;
		while (at > 0 && is_worse(&q->heap[at], &q->heap[(at - 1) / 2])) {
			struct ranked t = q->heap[at];
			q->heap[at] = q->heap[(at - 1) / 2];
			q->heap[(at - 1) / 2] = t;
			at = (at - 1) / 2;
		}
	} else if (is_worse(&q->heap[0], &r)) {
		q->heap[0] = r;
		sift_down(q->heap, q->n, 0);
	}
}

/* A text must score more than this. */
static uint32_t threshold(const search *q)
{
	return q->n < q->k ? 0 : q->heap[0].score;
}

static int best_first(const void *a, const void *b)
{
	return is_worse(a, b) ? 1 : is_worse(b, a) ? -1 : 0;
}

/* --- scores --- */

static inline uint32_t contribution(const search *q, float weight, uint32_t tf, uint16_t length)
{
	float f = (float)tf;
	return (uint32_t)(weight * (f / (f + (q->k_flat + q->k_len * (float)length))) + 0.5f);
}

/* From a stored bound to one on contributions (segment.h); a little more, for what floats round. */
static uint32_t bound_on(const search *q, const list *l, uint16_t stored)
{
	double s = stored / 65535.0, r = (double)l->cursor.s->header->average / q->average;
	if (s <= 0)
		return 0;
	if (r < 1)
		s = 1 / (1 + r * (1 / s - 1));
	return (uint32_t)((double)l->weight * s * 1.000001) + 2;
}

static uint64_t count_texts(const view *v, const hth_words_term *t)
{
	uint64_t df = 0;
	for (size_t p = 0; p < v->n; p++) {
		const segment_term *found = segment_find(v->parts[p].s, t->text, t->len);
		df += found != NULL ? found->df : 0;
	}
	return df;
}

static double idf_of(const view *v, uint64_t df)
{
	double n = (double)v->n_texts;
	return log(1 + (n - (double)df + 0.5) / ((double)df + 0.5));
}

void hth_words_rarity(hth_words *words, const hth_words_query *query, double ret_idf[HTH_WORDS_QUERY_MAX])
{
	view *v = view_take(words);
	/* A household's first dozen texts say nothing of how rare words are; a word that they have not would weigh four times one that they
	 * have. */
	enum { LEAST_TEXTS = 1000 };
	double n = (double)HTH_MAX(v->n_texts, (uint64_t)LEAST_TEXTS);
	for (size_t i = 0; i < query->n; i++) {
		double df = (double)count_texts(v, &query->terms[i]);
		ret_idf[i] = log(1 + (n - df + 0.5) / (df + 0.5));
	}
	view_release(v);
}

static hth_status prepare(search *q, const view *v, const hth_words_query *query, size_t k, hth_error *err)
{
	if (k == 0 || k > HTH_WORDS_K_MAX)
		return hth_fail(err, HTH_INVALID, "a search gives 1 to %d texts", HTH_WORDS_K_MAX);
	if (query->n > HTH_WORDS_QUERY_MAX)
		return hth_fail(err, HTH_INVALID, "a query has at most %d terms", HTH_WORDS_QUERY_MAX);
	q->view = v;
	q->query = query;
	q->k = k;
	q->average = v->n_texts > 0 && v->terms_total > 0 ? (float)((double)v->terms_total / (double)v->n_texts) : 1.0f;
	q->k_flat = BM25_K1 * (1 - BM25_B);
	q->k_len = BM25_K1 * BM25_B / q->average;
	for (size_t i = 0; i < query->n; i++) {
		const hth_words_term *t = &query->terms[i];
		uint64_t df = count_texts(v, t);
		uint32_t bit = t->need != HTH_WORDS_MAY ? 1u << (t->word & 31) : 0;
		q->must |= t->need == HTH_WORDS_MUST ? bit : 0;
		q->must_not |= t->need == HTH_WORDS_MUST_NOT ? bit : 0;
		if (df == 0)
			continue;
		double idf = idf_of(v, df);
		q->terms[q->n_terms++] = (weighed){t, t->need == HTH_WORDS_MUST_NOT ? 0 : idf * t->times * (BM25_K1 + 1.0) * ONE, bit};
	}
	q->heap = hth_alloc_array(k, sizeof *q->heap);
	return q->heap != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
}

uint64_t hth_words_set_count(const hth_words_set *set, uint64_t first, uint64_t last, uint64_t enough)
{
	uint64_t count = 0;
	if (set->n == 0 || first >= set->n || first > last)
		return 0;
	last = HTH_MIN(last, set->n - 1);
	for (uint64_t at = first / 64; at <= last / 64 && count < enough; at++) {
		uint64_t bits = set->bits[at];
		if (at == first / 64)
			bits &= ~UINT64_C(0) << (first % 64);
		if (at == last / 64)
			bits &= ~UINT64_C(0) >> (63 - last % 64);
		count += (uint64_t)__builtin_popcountll(bits);
	}
	return HTH_MIN(count, enough);
}

static bool is_wanted(const search *q, uint64_t id)
{
	return q->query->only == NULL || hth_words_set_has(q->query->only, id);
}

static size_t open_lists(search *q, const part *p, list *lists)
{
	size_t n = 0;
	for (size_t i = 0; i < q->n_terms; i++) {
		const segment_term *t = segment_find(p->s, q->terms[i].term->text, q->terms[i].term->len);
		if (t == NULL)
			continue;
		list *l = &lists[n++];
		l->term = &q->terms[i];
		l->weight = (float)q->terms[i].weight;
		l->bound = 0;
		cursor_open(&l->cursor, p->s, t);
	}
	return n;
}

/* --- a window --- */

/* What the list can add to a text of [from, to). */
static uint32_t bound_in_window(const search *q, list *l, uint32_t from, uint32_t to, bool *ret_present)
{
	cursor *c = &l->cursor;
	*ret_present = false;
	if (c->blocks == NULL) {
		*ret_present = c->n > 0 && c->docs[0] >= from && c->docs[0] < to;
		return *ret_present ? bound_on(q, l, c->bound) : 0;
	}
	while (c->shallow < c->n_blocks && c->blocks[c->shallow].last < from)
		c->shallow++;
	uint16_t stored = 0;
	for (uint32_t b = c->shallow; b < c->n_blocks; b++) {
		uint32_t begin = b > 0 ? c->blocks[b - 1].last + 1 : 0;
		if (begin >= to)
			break;
		/* A block of a rare term spans many windows and touches few: it is read once, and asked. */
		if (b == c->shallow && c->blocks[b].last >= to && c->blocks[b].last - begin > 2 * WINDOW) {
			if (!cursor_decode(c, b))
				break;
			while (c->pos < c->n && c->docs[c->pos] < from)
				c->pos++;
			if (c->pos >= c->n || c->docs[c->pos] >= to)
				break;
		}
		stored = HTH_MAX(stored, c->blocks[b].bound);
	}
	*ret_present = stored > 0;
	return stored > 0 ? bound_on(q, l, stored) : 0;
}

typedef struct window {
	uint32_t sums[WINDOW];
	uint32_t words[WINDOW]; /* which needed words are there; used when some are */
	uint64_t touched[WINDOW / 64];
} window;

/* Adds all of the list's texts in [from, to). */
static void sum_list(const search *q, list *l, window *w, uint32_t from, uint32_t to, bool needs)
{
	cursor *c = &l->cursor;
	const uint16_t *lengths = c->s->lengths;
	bool more = cursor_seek(c, from);
	while (more) {
		const uint32_t *tfs = cursor_tfs(c);
		uint32_t i = c->pos;
		for (; i < c->n && c->docs[i] < to; i++) {
			uint32_t at = c->docs[i] - from;
			w->sums[at] += contribution(q, l->weight, tfs[i] + 1, lengths[c->docs[i]]);
			w->touched[at / 64] |= 1ull << (at % 64);
			if (needs)
				w->words[at] |= l->term->need_bit;
		}
		c->pos = i;
		more = i == c->n && c->blocks != NULL && c->shallow + 1 < c->n_blocks && cursor_seek(c, c->docs[c->n - 1] + 1);
	}
}

static void search_window(search *q, const part *p, list **order, size_t n, window *w, uint32_t from, uint32_t to)
{
	bool needs = (q->must | q->must_not) != 0;
	uint32_t low = 0, bar = threshold(q);
	size_t first = 0; /* order[0, first) cannot beat the bar together */
	while (first < n && low + order[first]->bound <= bar)
		low += order[first++]->bound;
	if (first == n)
		return;
	for (size_t i = first; i < n; i++)
		sum_list(q, order[i], w, from, to, needs);
	for (size_t i = 0; i < WINDOW / 64; i++) {
		uint64_t bits = w->touched[i];
		w->touched[i] = 0;
		for (; bits != 0; bits &= bits - 1) {
			uint32_t at = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(bits), doc = from + at, sum = w->sums[at],
			         words = w->words[at];
			w->sums[at] = 0;
			w->words[at] = 0;
			bar = threshold(q);
			uint32_t rest = low;
			bool lost = (uint64_t)sum + rest <= bar;
			for (size_t k = first; !lost && k-- > 0;) {
				list *l = order[k];
				rest -= l->bound;
				if (cursor_seek(&l->cursor, doc) && l->cursor.docs[l->cursor.pos] == doc) {
					sum += contribution(q, l->weight, cursor_tfs(&l->cursor)[l->cursor.pos] + 1, p->s->lengths[doc]);
					words |= l->term->need_bit;
				}
				lost = (uint64_t)sum + rest <= bar;
			}
			if (lost || is_gone(p->gone, doc) || (needs && ((words & q->must) != q->must || (words & q->must_not) != 0)))
				continue;
			uint64_t id = p->s->header->first_id + p->s->ids[doc];
			if (sum > 0 && is_wanted(q, id))
				offer(q, sum, id);
		}
	}
}

/* A window of which a filter wants only a few texts: each is looked up, and no list is read through. */
static void search_few(search *q, const part *p, list **order, size_t n, uint32_t from, uint32_t to)
{
	const hth_words_set *only = q->query->only;
	const segment *s = p->s;
	for (uint32_t doc = from; doc < to; doc++) {
		uint64_t id = s->header->first_id + s->ids[doc], word = id / 64;
		if (id >= only->n)
			return;
		uint64_t bits = only->bits[word] >> (id % 64);
		if ((bits & 1) == 0) {
			/* On to the next wanted id. */
			while (bits == 0 && ++word < (only->n + 63) / 64)
				bits = only->bits[word];
			if (bits == 0)
				return;
			id = (word == id / 64 ? id : word * 64) + (uint64_t)__builtin_ctzll(bits);
			uint32_t next = segment_number_of(s, id);
			doc = HTH_MAX(next, doc + 1) - 1;
			continue;
		}
		uint32_t sum = 0, words = 0;
		for (size_t i = 0; i < n; i++) {
			cursor *c = &order[i]->cursor;
			if (!cursor_seek(c, doc) || c->docs[c->pos] != doc)
				continue;
			sum += contribution(q, order[i]->weight, cursor_tfs(c)[c->pos] + 1, s->lengths[doc]);
			words |= order[i]->term->need_bit;
		}
		if (sum > threshold(q) && !is_gone(p->gone, doc) && (words & q->must) == q->must && (words & q->must_not) == 0)
			offer(q, sum, id);
	}
}

/* How many texts of [from, to) a filter wants, at most one more than FEW; without a filter as many. */
static uint64_t count_wanted(const search *q, const part *p, uint32_t from, uint32_t to)
{
	const segment *s = p->s;
	return q->query->only == NULL ? FEW + 1
	                              : hth_words_set_count(q->query->only, s->header->first_id + s->ids[from],
	                                                    s->header->first_id + s->ids[to - 1], FEW + 1);
}

static void search_part(search *q, const part *p, list *lists, window *w)
{
	size_t n = open_lists(q, p, lists);
	uint32_t n_texts = p->s->header->n_texts;
	for (uint32_t from = 0; from < n_texts && n > 0;) {
		uint32_t to = HTH_MIN(from + WINDOW, n_texts), next = UINT32_MAX;
		list *order[HTH_WORDS_QUERY_MAX];
		size_t n_order = 0;
		uint64_t total = 0, wanted = count_wanted(q, p, from, to);
		if (wanted == 0) {
			from = to;
			continue;
		}
		for (size_t i = 0; i < n; i++) {
			bool present;
			lists[i].bound = bound_in_window(q, &lists[i], from, to, &present);
			if (lists[i].weight == 0)
				lists[i].bound = 0;
			if (!present)
				continue;
			total += lists[i].bound;
			size_t at = n_order++;
			for (; at > 0 && order[at - 1]->bound > lists[i].bound; at--)
				order[at] = order[at - 1];
			order[at] = &lists[i];
		}
		if (n_order > 0 && (q->n < q->k || total > threshold(q)) && wanted <= FEW)
			search_few(q, p, order, n_order, from, to);
		else if (n_order > 0 && (q->n < q->k || total > threshold(q)))
			search_window(q, p, order, n_order, w, from, to);
		if (n_order == 0) {
			/* On to the first window that has anything. */
			for (size_t i = 0; i < n; i++) {
				const cursor *c = &lists[i].cursor;
				if (c->blocks == NULL ? c->n > 0 && c->docs[0] >= to : c->shallow < c->n_blocks) {
					uint32_t begin = c->blocks == NULL ? c->docs[0]
					                 : c->shallow > 0  ? c->blocks[c->shallow - 1].last + 1
					                                   : 0;
					if (c->blocks != NULL && c->decoded == c->shallow && c->pos < c->n)
						begin = c->docs[c->pos];
					next = HTH_MIN(next, begin);
				}
			}
			if (next == UINT32_MAX)
				break;
		}
		from = next != UINT32_MAX && next > to ? next : to;
	}
}

static void give(search *q, hth_words_hit *hits, size_t *ret_n)
{
	qsort(q->heap, q->n, sizeof *q->heap, best_first);
	for (size_t i = 0; i < q->n; i++)
		hits[i] = (hth_words_hit){q->heap[i].id, (float)q->heap[i].score / ONE};
	*ret_n = q->n;
}

hth_status hth_words_search(hth_words *words, const hth_words_query *query, size_t k, hth_words_hit *hits, size_t *ret_n, hth_error *err)
{
	search q = {0};
	HTH_CLEANUP(view_release_p) view *v = view_take(words);
	HTH_AUTO_FREE list *lists = hth_alloc_array(query->n, sizeof *lists);
	HTH_AUTO_FREE window *w = calloc(1, sizeof *w);
	if (lists == NULL || w == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	HTH_TRY(prepare(&q, v, query, k, err));
	for (size_t i = 0; i < v->n && q.n_terms > 0; i++)
		search_part(&q, &v->parts[i], lists, w);
	give(&q, hits, ret_n);
	free(q.heap);
	return HTH_OK;
}

/* --- others' texts --- */

typedef struct rescored {
	uint64_t id;
	uint32_t score, doc; /* doc: in its part */
} rescored;

static int by_id(const void *a, const void *b)
{
	const rescored *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int by_score(const void *a, const void *b)
{
	const rescored *x = a, *y = b;
	return x->score != y->score ? (x->score > y->score ? -1 : 1) : by_id(a, b);
}

/* texts: ascending, of this part. */
static void rescore_part(search *q, const part *p, list *lists, rescored *texts, size_t n)
{
	size_t n_lists = open_lists(q, p, lists);
	for (size_t i = 0; i < n_lists; i++) {
		cursor *c = &lists[i].cursor;
		for (size_t k = 0; k < n; k++) {
			uint32_t doc = texts[k].doc;
			if (doc == UINT32_MAX)
				continue;
			if (!cursor_seek(c, doc))
				break;
			if (c->docs[c->pos] == doc)
				texts[k].score += contribution(q, lists[i].weight, cursor_tfs(c)[c->pos] + 1, p->s->lengths[doc]);
		}
	}
}

hth_status hth_words_rescore(hth_words *words, const hth_words_query *query, hth_words_hit *hits, size_t n, hth_error *err)
{
	search q = {0};
	HTH_CLEANUP(view_release_p) view *v = view_take(words);
	HTH_AUTO_FREE list *lists = hth_alloc_array(query->n, sizeof *lists);
	HTH_AUTO_FREE rescored *texts = hth_alloc_array(n, sizeof *texts);
	if (lists == NULL || texts == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	if (n == 0)
		return HTH_OK;
	HTH_TRY(prepare(&q, v, query, 1, err));
	free(q.heap);
	for (size_t i = 0; i < n; i++)
		texts[i] = (rescored){.id = hits[i].id};
	qsort(texts, n, sizeof *texts, by_id);
	for (size_t i = 0, from = 0; i < v->n; i++) {
		const segment *s = v->parts[i].s;
		size_t to = from;
		for (; to < n; to++) {
			uint32_t doc = segment_number_of(s, texts[to].id);
			if (doc == s->header->n_texts)
				break; /* of a later part */
			bool there = s->header->first_id + s->ids[doc] == texts[to].id && !is_gone(v->parts[i].gone, doc);
			texts[to].doc = there ? doc : UINT32_MAX;
		}
		rescore_part(&q, &v->parts[i], lists, texts + from, to - from);
		from = to;
	}
	qsort(texts, n, sizeof *texts, by_score);
	for (size_t i = 0; i < n; i++)
		hits[i] = (hth_words_hit){texts[i].id, (float)texts[i].score / ONE};
	return HTH_OK;
}

/* --- the reference --- */

static void score_part(search *q, const part *p, list *lists, uint32_t *sums, uint32_t *present)
{
	size_t n = open_lists(q, p, lists);
	for (size_t i = 0; i < n; i++) {
		cursor *c = &lists[i].cursor;
		for (uint32_t b = 0; b < c->n_blocks && cursor_decode(c, b); b++) {
			const uint32_t *tfs = cursor_tfs(c);
			for (uint32_t k = 0; k < c->n; k++) {
				sums[c->docs[k]] += contribution(q, lists[i].weight, tfs[k] + 1, p->s->lengths[c->docs[k]]);
				present[c->docs[k]] |= lists[i].term->need_bit;
			}
		}
	}
	for (uint32_t doc = 0; doc < p->s->header->n_texts; doc++) {
		uint64_t id = p->s->header->first_id + p->s->ids[doc];
		if (sums[doc] > 0 && !is_gone(p->gone, doc) && (present[doc] & q->must) == q->must && (present[doc] & q->must_not) == 0 &&
		    is_wanted(q, id))
			offer(q, sums[doc], id);
	}
}

hth_status hth_words_search_all(hth_words *words, const hth_words_query *query, size_t k, hth_words_hit *hits, size_t *ret_n,
                                hth_error *err)
{
	search q = {0};
	HTH_CLEANUP(view_release_p) view *v = view_take(words);
	HTH_AUTO_FREE list *lists = hth_alloc_array(query->n, sizeof *lists);
	if (lists == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	HTH_TRY(prepare(&q, v, query, k, err));
	for (size_t i = 0; i < v->n; i++) {
		uint32_t n = v->parts[i].s->header->n_texts;
		HTH_AUTO_FREE uint32_t *sums = hth_alloc_array(n, sizeof *sums);
		HTH_AUTO_FREE uint32_t *present = hth_alloc_array(n, sizeof *present);
		if (sums == NULL || present == NULL) {
			free(q.heap);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
		}
		score_part(&q, &v->parts[i], lists, sums, present);
	}
	give(&q, hits, ret_n);
	free(q.heap);
	return HTH_OK;
}

/* --- queries --- */

typedef struct adding {
	hth_words_query *query;
	hth_words_need need;
	size_t first_word;
} adding;

static void add_term(void *ctx, const char *term, size_t len, size_t word)
{
	adding *a = ctx;
	hth_words_query *q = a->query;
	size_t number = a->first_word + word;
	if (number > 255 || (a->need != HTH_WORDS_MAY && number > 31))
		return;
	for (size_t i = 0; i < q->n; i++)
		if (q->terms[i].len == len && memcmp(q->terms[i].text, term, len) == 0 &&
		    (a->need == HTH_WORDS_MAY || q->terms[i].need == a->need)) {
			q->terms[i].times += q->terms[i].times < TIMES_MAX;
			return;
		}
	if (q->n == HTH_WORDS_QUERY_MAX)
		return;
	hth_words_term *t = &q->terms[q->n++];
	*t = (hth_words_term){.times = 1, .len = (uint8_t)len, .word = (uint8_t)number, .need = (uint8_t)a->need};
	memcpy(t->text, term, len);
}

void hth_words_query_add(hth_words_query *query, hth_terms *terms, uint32_t languages, const char *text, size_t len, hth_words_need need)
{
	adding a = {query, need, 0};
	query->languages |= languages;
	for (size_t i = 0; i < query->n; i++)
		a.first_word = HTH_MAX(a.first_word, query->terms[i].word + (size_t)1);
	hth_terms_of_query(terms, languages, text, len, add_term, &a);
}
