/* widen.h - a query made wider by what its best answers have in common: pseudo-relevance feedback (Rocchio's, as Robertson and Spaerck
 * Jones weigh terms; Lavrenko and Croft, "Relevance-Based Language Models", SIGIR 2001, has the like). Terms that two or more of the best
 * texts share, and that are rare elsewhere, join the query at a third of the weight of what was asked. The wider query then orders the best
 * few hundred of the one that was asked (hth_words_rescore): it has long lists, and what has none of the asked words is not wanted. Only
 * this folder and its bench include it. */
#ifndef HTH_INDEX_WIDEN_H
#define HTH_INDEX_WIDEN_H

#include "index/words.h"

enum { WIDEN_TEXTS = 5 };

typedef struct widen_text {
	const char *text;
	hth_language language;
	float score;
} widen_text;

/* What a text says of terms is cut at 16 KiB. On no memory, or with fewer than two texts, the query stays as it is. */
void widen_query(hth_words *words, hth_terms *terms, const widen_text *texts, size_t n, hth_words_query *query);

#endif
