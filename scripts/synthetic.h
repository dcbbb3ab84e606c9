/* synthetic.h - documents and questions that the benches of the index make up, the same for the same seeds.
 *
 * The text: 500,000 words with frequencies of Zipf's law (exponent 1), 300 a page, and about 40 topics a document takes a quarter of its
 * words from, so that words come in company as they do in life. Questions are 1 to 6 words of one document, the common ones (a share of the
 * 100 most frequent) included; half of them are words that people would search for (beyond the first 500).
 */
#ifndef HTH_SCRIPTS_SYNTHETIC_H
#define HTH_SCRIPTS_SYNTHETIC_H

#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

enum { VOCABULARY = 500000, PAGE_WORDS = 300, PAGES = 2, TOPICS = 40 };

/* Zipf's law with exponent 1, by inversion of its continuous form. */
static inline uint32_t zipf(hth_rng *rng)
{
	return (uint32_t)pow(VOCABULARY, hth_rng_unit(rng)) - 1;
}

/* A pronounceable word for a number, all different: syllables are its digits. */
static inline size_t spell(uint32_t number, char *out)
{
	static const char *const first[] = {"b", "d", "f", "g", "k", "l", "m",  "n",
	                                    "p", "r", "s", "t", "v", "z", "st", "tr"};
	static const char *const second[] = {"a", "e", "i", "o", "u", "ar", "en", "il"};
	size_t n = 0;
	number += 128;
	while (number > 0) {
		const char *a = first[number % 16], *b = second[number / 16 % 8];
		while (*a)
			out[n++] = *a++;
		while (*b)
			out[n++] = *b++;
		number /= 128;
	}
	return n;
}

static inline size_t make_page(hth_rng *rng, uint32_t topic, char *out, uint32_t *words)
{
	size_t n = 0;
	for (int i = 0; i < PAGE_WORDS; i++) {
		uint32_t w = zipf(rng);
		if (hth_rng_next(rng) % 4 == 0)
			w = (uint32_t)((w * 40ull + topic * 7919ull) % VOCABULARY);
		words[i] = w;
		n += spell(w, out + n);
		out[n++] = i % 12 == 11 ? '\n' : ' ';
	}
	return n;
}

/* A word of a question about this page; a telling one, where `telling` (and the page has any). */
static inline uint32_t pick_word(hth_rng *ask, const uint32_t *words, bool telling)
{
	uint32_t word = words[hth_rng_next(ask) % PAGE_WORDS];
	for (int tries = 0; telling && word < 500 && tries < 50; tries++)
		word = words[hth_rng_next(ask) % PAGE_WORDS];
	return word;
}

static inline int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static inline double resident_mb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f != NULL)
		fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

#endif
