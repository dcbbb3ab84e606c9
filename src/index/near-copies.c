/* near-copies.c - the set of a passage's different words, as hashes, and what two sets share. */
#include "index/near-copies.h"

#include "base/mem.h"

static void add_hash(void *ctx, const char *term, size_t len, size_t begin, size_t end)
{
	(void)begin, (void)end;
	word_set *set = ctx;
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)term[i]) * 16777619u;
	if (set->n < SET_MAX)
		set->hashes[set->n++] = hash;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

void word_set_make(word_set *set, hth_terms *terms, const char *text)
{
	set->n = 0;
	hth_terms_of_text(terms, HTH_LANGUAGE_NONE, text, strlen(text), add_hash, set);
	qsort(set->hashes, set->n, sizeof *set->hashes, by_number);
	size_t n = 0;
	for (size_t i = 0; i < set->n; i++)
		if (n == 0 || set->hashes[n - 1] != set->hashes[i])
			set->hashes[n++] = set->hashes[i];
	set->n = n;
}

bool word_sets_are_near(const word_set *a, const word_set *b)
{
	if (a->n < SET_MIN || b->n < SET_MIN)
		return false;
	size_t common = 0, i = 0, k = 0;
	while (i < a->n && k < b->n) {
		if (a->hashes[i] == b->hashes[k])
			common++, i++, k++;
		else if (a->hashes[i] < b->hashes[k])
			i++;
		else
			k++;
	}
	return common * 4 >= (a->n + b->n - common) * 3;
}
