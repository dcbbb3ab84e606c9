/* snippet.c - the window of a passage that shows best why it was found. A word of the text is marked when any
 * language's form of it, or its plain one, was asked for. */
#include "index/snippet.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { SNIPPET_BYTES = 240, MARKS_MAX = 400, PHRASE_TERMS = 32, TERMS_MAX = 3000 };

typedef struct mark {
	size_t begin, end;
	size_t word; /* of the query */
} mark;
typedef struct marking {
	const hth_words_query *query;
	mark marks[MARKS_MAX];
	size_t n;
} marking;

static void mark_term(void *ctx, const char *term, size_t len, size_t begin, size_t end)
{
	marking *m = ctx;
	for (size_t i = 0; i < m->query->n; i++) {
		const hth_words_term *t = &m->query->terms[i];
		if (t->need == HTH_WORDS_MUST_NOT || t->len != len || memcmp(t->text, term, len) != 0)
			continue;
		for (size_t k = 0; k < m->n; k++)
			if (m->marks[k].begin == begin && m->marks[k].end == end)
				return;
		if (m->n < MARKS_MAX)
			m->marks[m->n++] = (mark){begin, end, t->word};
		return;
	}
}

/* The language of the passage is not asked for: a word counts under any. */
static void mark_all(hth_terms *terms, const char *text, marking *m)
{
	for (unsigned l = 0; l < HTH_LANGUAGE_COUNT; l++)
		if (l == HTH_LANGUAGE_NONE || (m->query->languages >> l & 1) != 0)
			hth_terms_of_text(terms, (hth_language)l, text, strlen(text), mark_term, m);
}

static int by_begin(const void *a, const void *b)
{
	const mark *x = a, *y = b;
	return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : x->end < y->end ? -1 : x->end > y->end;
}

/* Where the window begins that has the most different words, then the most words. */
static size_t best_window(const marking *m, size_t len)
{
	size_t best = 0, best_value = 0;
	for (size_t i = 0; i < m->n; i++) {
		uint64_t words = 0;
		size_t count = 0;
		for (size_t k = i; k < m->n && m->marks[k].end <= m->marks[i].begin + SNIPPET_BYTES - 60; k++) {
			words |= 1ull << (m->marks[k].word & 63);
			count++;
		}
		size_t value = (size_t)__builtin_popcountll(words) * 100 + HTH_MIN(count, (size_t)99);
		if (value > best_value) {
			best_value = value;
			best = m->marks[i].begin;
		}
	}
	size_t begin = best > 40 ? best - 40 : 0;
	if (len > SNIPPET_BYTES && begin > len - SNIPPET_BYTES)
		begin = len - SNIPPET_BYTES;
	return len > SNIPPET_BYTES ? begin : 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

size_t snippet_places(hth_terms *terms, const hth_words_query *query, const char *text, uint32_t (*ret_places)[2], size_t most)
{
	HTH_AUTO_FREE marking *m = calloc(1, sizeof *m);
	size_t n = 0;
	if (m == NULL)
		return 0;
	m->query = query;
	mark_all(terms, text, m);
	qsort(m->marks, m->n, sizeof *m->marks, by_begin);
	for (size_t i = 0; i < m->n; i++) {
		uint32_t begin = (uint32_t)m->marks[i].begin, end = (uint32_t)m->marks[i].end;
		if (n > 0 && begin < ret_places[n - 1][1])
			ret_places[n - 1][1] = HTH_MAX(ret_places[n - 1][1], end);
		else if (n < most)
			memcpy(ret_places[n++], (uint32_t[]){begin, end}, sizeof ret_places[0]);
	}
	return n;
}

hth_status snippet_make(hth_terms *terms, const hth_words_query *query, const char *text, char **ret_snippet, uint32_t (**ret_marks)[2],
                        size_t *ret_n_marks, hth_error *err)
{
	size_t len = strlen(text);
	HTH_AUTO_FREE marking *m = calloc(1, sizeof *m);
	uint32_t(*marks)[2] = calloc(MARKS_MAX, sizeof *marks);
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(4096);
	if (m == NULL || marks == NULL) {
		free(marks);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	}
	m->query = query;
	mark_all(terms, text, m);
	qsort(m->marks, m->n, sizeof *m->marks, by_begin);
	size_t begin = best_window(m, len), end = HTH_MIN(len, begin + SNIPPET_BYTES);
	/* Whole words, whole characters. */
	while (begin > 0 && begin < len && (!is_space(text[begin - 1]) || ((unsigned char)text[begin] & 0xc0) == 0x80) &&
	       (size_t)(end - begin) > SNIPPET_BYTES / 2)
		begin++;
	while (begin < len && ((unsigned char)text[begin] & 0xc0) == 0x80)
		begin++;
	size_t whole = end;
	while (end < len && whole > begin + SNIPPET_BYTES / 2 && !is_space(text[whole]))
		whole--;
	if (end < len)
		end = whole > begin + SNIPPET_BYTES / 2 ? whole : end;
	while (end < len && end > begin && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	size_t characters = 0, n_marks = 0, next = 0;
	if (begin > 0) {
		hth_buf_append_str(&out, "\xE2\x80\xA6");
		characters++;
	}
	bool space = true;
	uint32_t from = 0;
	bool inside = false;
	size_t inside_end = 0;
	for (size_t at = begin; at < end;) {
		while (next < m->n && m->marks[next].begin < at)
			next++;
		if (inside && at >= inside_end) {
			marks[n_marks][0] = from;
			marks[n_marks++][1] = (uint32_t)characters;
			inside = false;
		}
		if (!inside && next < m->n && m->marks[next].begin == at && n_marks < MARKS_MAX) {
			inside = true;
			from = (uint32_t)characters;
			inside_end = m->marks[next].end;
		} else if (inside && next < m->n && m->marks[next].begin == at) {
			inside_end = HTH_MAX(inside_end, m->marks[next].end); /* pairs of characters overlap */
		}
		uint32_t c;
		size_t step = hth_utf8_decode_lossy(text + at, end - at, &c);
		if (is_space(text[at])) {
			if (!space) {
				hth_buf_append_char(&out, ' ');
				characters++;
			}
			space = true;
		} else {
			hth_buf_append(&out, text + at, step);
			characters++;
			space = false;
		}
		at += step;
	}
	if (inside) {
		marks[n_marks][0] = from;
		marks[n_marks++][1] = (uint32_t)characters;
	}
	if (end < len)
		hth_buf_append_str(&out, "\xE2\x80\xA6");
	hth_buf_append_str(&out, "");
	*ret_snippet = out.failed ? NULL : hth_buf_steal(&out, NULL);
	if (*ret_snippet == NULL) {
		free(marks);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	}
	*ret_marks = marks;
	*ret_n_marks = n_marks;
	return HTH_OK;
}

uint64_t snippet_words(hth_terms *terms, const hth_words_query *query, const char *text)
{
	uint64_t words = 0;
	HTH_AUTO_FREE marking *m = calloc(1, sizeof *m);
	if (m == NULL)
		return 0;
	m->query = query;
	mark_all(terms, text, m);
	for (size_t i = 0; i < m->n; i++)
		words |= m->marks[i].word < 64 ? 1ull << m->marks[i].word : 0;
	return words;
}

/* --- phrases --- */

typedef struct sequence {
	uint32_t hashes[TERMS_MAX];
	size_t n, max;
} sequence;

static void add_to_sequence(void *ctx, const char *term, size_t len, size_t begin, size_t end)
{
	(void)begin, (void)end;
	sequence *s = ctx;
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)term[i]) * 16777619u;
	if (s->n < s->max)
		s->hashes[s->n++] = hash;
}

bool snippet_has_phrase(hth_terms *terms, const char *text, const char *phrase, size_t phrase_len)
{
	HTH_AUTO_FREE sequence *s = calloc(2, sizeof *s);
	if (s == NULL)
		return false;
	s[0].max = TERMS_MAX;
	s[1].max = PHRASE_TERMS;
	hth_terms_of_text(terms, HTH_LANGUAGE_NONE, text, strlen(text), add_to_sequence, &s[0]);
	hth_terms_of_text(terms, HTH_LANGUAGE_NONE, phrase, phrase_len, add_to_sequence, &s[1]);
	for (size_t i = 0; i + s[1].n <= s[0].n; i++)
		if (memcmp(s[0].hashes + i, s[1].hashes, s[1].n * sizeof *s[0].hashes) == 0)
			return true;
	return false;
}
