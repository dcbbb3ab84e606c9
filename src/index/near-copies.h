/* near-copies.h - passages that say nearly the same: they share three quarters of their different words (Jaccard). Only this folder
 * includes it. */
#ifndef HTH_INDEX_NEAR_COPIES_H
#define HTH_INDEX_NEAR_COPIES_H

#include "index/terms.h"

enum { SET_MAX = 400, SET_MIN = 8 }; /* words that are looked at; with fewer different ones than SET_MIN two passages are never near */

typedef struct word_set {
	uint32_t hashes[SET_MAX];
	size_t n;
} word_set;

void word_set_make(word_set *set, hth_terms *terms, const char *text);
bool word_sets_are_near(const word_set *a, const word_set *b);

#endif
