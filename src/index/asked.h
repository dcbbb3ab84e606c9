/* asked.h - a query as somebody wrote it: its words, phrases and signs, and how much of it a passage has. Only this folder includes it. */
#ifndef HTH_INDEX_ASKED_H
#define HTH_INDEX_ASKED_H

#include "index/words.h"

/* Quoted parts are phrases: their words must be there, and in this order. */
typedef struct phrase {
	const char *text;
	size_t len;
} phrase;
typedef struct asked {
	hth_words_query words;
	phrase phrases[8];
	size_t n_phrases;
	size_t n_positive;
	bool exact; /* it has a phrase, a must or a must-not: nothing is added to it */
	double rarity[64]; /* of each word */
	double all;
} asked;

/* Adds the text's words; phrases are borrowed from it. *a is zeroed before. */
void asked_parse(asked *a, hth_terms *terms, uint32_t languages, const char *text);
/* How rare each word is: as its most common form. words NULL: nothing is known. */
void asked_weigh(asked *a, hth_words *words);
/* Whether a text has what must be there, and nothing that must not: the word index has seen to it for what it found. */
bool asked_is_met(const asked *a, hth_terms *terms, const char *text);
/* 0 to 1: how much of what was asked a text has; the words of its file's name are also its own. path may be NULL. */
double asked_share(const asked *a, hth_terms *terms, const char *text, const char *path);

#endif
