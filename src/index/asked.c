/* asked.c - reading a query: words, "phrases", +must, -must_not; and what its words weigh. */
#include "index/asked.h"

#include "base/mem.h"
#include "index/snippet.h"

enum { TELLING = 8 };

void asked_parse(asked *a, hth_terms *terms, uint32_t languages, const char *text)
{
	for (const char *at = text; *at != '\0';) {
		at += strspn(at, " \t\r\n");
		hth_words_need need = *at == '+' ? HTH_WORDS_MUST : *at == '-' ? HTH_WORDS_MUST_NOT : HTH_WORDS_MAY;
		at += need != HTH_WORDS_MAY;
		size_t n, before = a->words.n;
		const char *word = at;
		if (*at == '"') {
			word = at + 1;
			n = strcspn(word, "\"");
			at = word + n + (word[n] == '"');
			if (need == HTH_WORDS_MAY)
				need = HTH_WORDS_MUST;
			if (need == HTH_WORDS_MUST && a->n_phrases < HTH_COUNT(a->phrases) && n > 0)
				a->phrases[a->n_phrases++] = (phrase){word, n};
		} else {
			n = strcspn(at, " \t\r\n");
			at += n;
		}
		hth_words_query_add(&a->words, terms, languages, word, n, need);
		a->exact |= need != HTH_WORDS_MAY;
		if (need != HTH_WORDS_MUST_NOT)
			a->n_positive += a->words.n - before;
	}
}

void asked_weigh(asked *a, hth_words *words)
{
	double idf[HTH_WORDS_QUERY_MAX];
	if (words == NULL)
		return;
	hth_words_rarity(words, &a->words, idf);
	for (size_t i = 0; i < a->words.n; i++) {
		const hth_words_term *t = &a->words.terms[i];
		if (t->need != HTH_WORDS_MUST_NOT && t->word < 64)
			a->rarity[t->word] = a->rarity[t->word] > 0 ? HTH_MIN(a->rarity[t->word], idf[i]) : idf[i];
	}
	/* Small words of a question ("what is the ...") count only when it has no others. */
	uint64_t small = 0, large = 0;
	for (size_t i = 0; i < a->words.n; i++) {
		const hth_words_term *t = &a->words.terms[i];
		if (t->need != HTH_WORDS_MUST_NOT && t->word < 64)
			*(hth_terms_is_small(a->words.languages, t->text, t->len) ? &small : &large) |= 1ull << t->word;
	}
	for (size_t i = 0; i < HTH_COUNT(a->rarity); i++) {
		if ((large & ~small) != 0 && (small >> i & 1) != 0)
			a->rarity[i] = 0;
	}
	/* No passage has all words of a long question: the most telling ones are its measure. */
	double most[TELLING];
	size_t n = 0;
	for (size_t i = 0; i < HTH_COUNT(a->rarity); i++) {
		size_t at = n < TELLING ? n++ : TELLING;
		for (; at > 0 && most[at - 1] < a->rarity[i]; at--)
			if (at < TELLING)
				most[at] = most[at - 1];
		if (at < TELLING)
			most[at] = a->rarity[i];
	}
	for (size_t i = 0; i < n; i++)
		a->all += most[i];
}

bool asked_is_met(const asked *a, hth_terms *terms, const char *text)
{
	uint64_t must = 0, unmet = 0;
	hth_words_query not = {.languages = a->words.languages};
	for (size_t i = 0; i < a->words.n; i++) {
		const hth_words_term *t = &a->words.terms[i];
		if (t->need == HTH_WORDS_MUST && t->word < 64)
			must |= UINT64_C(1) << t->word;
		if (t->need != HTH_WORDS_MUST_NOT)
			continue;
		not.terms[not.n] = *t;
		not.terms[not.n++].need = HTH_WORDS_MAY;
	}
	if (must != 0)
		unmet = must & ~snippet_words(terms, &a->words, text);
	return unmet == 0 && (not.n == 0 || snippet_words(terms, &not, text) == 0);
}

double asked_share(const asked *a, hth_terms *terms, const char *text, const char *path)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;
	uint64_t words = snippet_words(terms, &a->words, text) | (slash != NULL ? snippet_words(terms, &a->words, slash + 1) : 0);
	double has = 0;
	for (size_t i = 0; i < HTH_COUNT(a->rarity); i++)
		has += words >> i & 1 ? a->rarity[i] : 0;
	return a->all > 0 ? HTH_MIN(has / a->all, 1.0) : 0;
}
