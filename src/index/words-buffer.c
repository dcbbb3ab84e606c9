/* words-buffer.c - texts in memory, until a commit writes them as a segment. Thread: the index's writing one.
 *
 * An open hash table holds each term once, in an arena; its postings are variable-length numbers (distance of the text,
 * then frequency) in a block of their own that doubles. Clearing frees everything: a segment's worth of small pieces
 * goes at once.
 */
#include "base/mem.h"
#include "index/words-internal.h"

enum { ARENA_BYTES = 1 << 20, FIRST_POSTINGS = 12 };

typedef struct buffer_term {
	const char *text; /* in an arena; NULL: a free slot */
	uint32_t hash;
	uint8_t len;
	uint32_t df;
	uint32_t text_number, tf; /* of the newest text, not yet among the postings */
	uint32_t last;            /* number of the last text among the postings, plus one */
	uint8_t *postings;
	uint32_t used, cap;
} buffer_term;

static char *arena_take(buffer *b, size_t len)
{
	if (b->n_arenas == 0 || b->arena_at + len > ARENA_BYTES) {
		char **more = realloc(b->arenas, (b->n_arenas + 1) * sizeof *more);
		if (more == NULL)
			return NULL;
		b->arenas = more;
		if ((more[b->n_arenas] = malloc(ARENA_BYTES)) == NULL)
			return NULL;
		b->n_arenas++;
		b->arena_at = 0;
		b->bytes += ARENA_BYTES;
	}
	char *at = b->arenas[b->n_arenas - 1] + b->arena_at;
	b->arena_at += len;
	return at;
}

static bool grow_table(buffer *b)
{
	size_t n = b->n_slots > 0 ? b->n_slots * 2 : 1 << 12;
	buffer_term *table = calloc(n, sizeof *table);
	if (table == NULL)
		return false;
	for (size_t i = 0; i < b->n_slots; i++) {
		if (b->table[i].text == NULL)
			continue;
		size_t at = b->table[i].hash & (n - 1);
		while (table[at].text != NULL)
			at = (at + 1) & (n - 1);
		table[at] = b->table[i];
	}
	free(b->table);
	b->table = table;
	b->bytes += (n - b->n_slots) * sizeof *table;
	b->n_slots = n;
	return true;
}

static buffer_term *term_of(buffer *b, const char *text, size_t len)
{
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 16777619u;
	hash ^= hash >> 15;
	if (b->n_terms * 4 >= b->n_slots * 3 && !grow_table(b))
		return NULL;
	size_t at = hash & (b->n_slots - 1);
	for (; b->table[at].text != NULL; at = (at + 1) & (b->n_slots - 1))
		if (b->table[at].hash == hash && b->table[at].len == len && memcmp(b->table[at].text, text, len) == 0)
			return &b->table[at];
	char *copy = arena_take(b, len);
	if (copy == NULL)
		return NULL;
	memcpy(copy, text, len);
	b->table[at] = (buffer_term){.text = copy, .hash = hash, .len = (uint8_t)len};
	b->n_terms++;
	return &b->table[at];
}

static uint32_t put_number(uint8_t *out, uint32_t v)
{
	uint32_t n = 0;
	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

static uint32_t get_number(const uint8_t **at)
{
	uint32_t v = 0;
	for (unsigned shift = 0;; shift += 7) {
		uint8_t byte = *(*at)++;
		v |= (uint32_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
}

/* Puts the newest text among the postings. */
static bool settle(buffer *b, buffer_term *t)
{
	if (t->tf == 0)
		return true;
	if (t->used + 10 > t->cap) {
		uint32_t cap = t->cap > 0 ? t->cap * 2 : FIRST_POSTINGS;
		uint8_t *more = realloc(t->postings, cap);
		if (more == NULL)
			return false;
		b->bytes += cap - t->cap + (t->cap == 0 ? 16 : 0);
		t->postings = more;
		t->cap = cap;
	}
	t->used += put_number(t->postings + t->used, t->text_number - t->last);
	t->used += put_number(t->postings + t->used, t->tf);
	t->last = t->text_number + 1;
	t->df++;
	t->tf = 0;
	return true;
}

static void on_term(void *ctx, const char *text, size_t len, size_t begin, size_t end)
{
	(void)begin;
	(void)end;
	buffer *b = ctx;
	if (b->failed)
		return;
	buffer_term *t = term_of(b, text, len);
	if (t == NULL || (t->tf > 0 && t->text_number != b->n_texts && !settle(b, t))) {
		b->failed = true;
		return;
	}
	t->text_number = (uint32_t)b->n_texts;
	t->tf++;
	b->text_len++;
}

hth_status buffer_add(buffer *b, hth_terms *terms, uint64_t id, hth_language language, const char *text, size_t len, uint32_t least_terms,
                      hth_error *err)
{
	if (b->failed)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	if (b->n_texts == b->cap_texts) {
		size_t cap = b->cap_texts > 0 ? b->cap_texts * 2 : 1024;
		uint64_t *ids = realloc(b->ids, cap * sizeof *ids);
		if (ids != NULL)
			b->ids = ids;
		uint16_t *lengths = ids != NULL ? realloc(b->lengths, cap * sizeof *lengths) : NULL;
		if (lengths == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
		b->lengths = lengths;
		b->bytes += (cap - b->cap_texts) * 10;
		b->cap_texts = cap;
	}
	b->text_len = 0;
	hth_terms_of_text(terms, language, text, len, on_term, b);
	if (b->failed)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	b->ids[b->n_texts] = id;
	b->text_len = HTH_MAX(b->text_len, least_terms);
	b->lengths[b->n_texts++] = (uint16_t)HTH_MIN(b->text_len, 65535u);
	b->terms_total += HTH_MIN(b->text_len, 65535u);
	b->languages |= 1u << language;
	return HTH_OK;
}

static int by_text(const void *a, const void *b)
{
	const buffer_term *x = *(const buffer_term *const *)a, *y = *(const buffer_term *const *)b;
	int order = memcmp(x->text, y->text, HTH_MIN(x->len, y->len));
	return order != 0 ? order : (int)x->len - (int)y->len;
}

hth_status buffer_write(buffer *b, const disk *d, const char *path, hth_error *err)
{
	if (b->failed)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	HTH_AUTO_FREE buffer_term **sorted = hth_alloc_array(b->n_terms, sizeof *sorted);
	HTH_AUTO_FREE uint32_t *docs = hth_alloc_array(b->n_texts, sizeof *docs);
	HTH_AUTO_FREE uint32_t *tfs = hth_alloc_array(b->n_texts, sizeof *tfs);
	if (sorted == NULL || docs == NULL || tfs == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	size_t n = 0;
	for (size_t i = 0; i < b->n_slots; i++) {
		if (b->table[i].text == NULL)
			continue;
		if (!settle(b, &b->table[i]))
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
		sorted[n++] = &b->table[i];
	}
	qsort(sorted, n, sizeof *sorted, by_text);
	HTH_CLEANUP(segment_writer_close_p) segment_writer *w = NULL;
	HTH_TRY(segment_writer_open(&w, d, path, b->ids, b->lengths, (uint32_t)b->n_texts, b->terms_total, b->languages, err));
	for (size_t i = 0; i < n; i++) {
		const uint8_t *at = sorted[i]->postings;
		uint32_t next = 0;
		for (uint32_t k = 0; k < sorted[i]->df; k++) {
			docs[k] = next + get_number(&at);
			tfs[k] = get_number(&at);
			next = docs[k] + 1;
		}
		HTH_TRY(segment_writer_term(w, sorted[i]->text, sorted[i]->len, docs, tfs, sorted[i]->df, err));
	}
	return segment_writer_finish(w, err);
}

void buffer_clear(buffer *b)
{
	for (size_t i = 0; i < b->n_slots; i++)
		free(b->table[i].postings);
	for (size_t i = 0; i < b->n_arenas; i++)
		free(b->arenas[i]);
	free(b->table);
	free(b->arenas);
	free(b->ids);
	free(b->lengths);
	*b = (buffer){0};
}
