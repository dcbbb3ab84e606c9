/* snippet.h - what is shown of a passage, and whether it has a phrase. Only this folder includes it. */
#ifndef HTH_INDEX_SNIPPET_H
#define HTH_INDEX_SNIPPET_H

#include "index/words.h"

/* About 240 bytes of the text, on one line, where most of the query's different words are; and the places of those
 * words in it, in characters. */
HTH_MUST_USE hth_status snippet_make(hth_terms *terms, const hth_words_query *query, const char *text, char **ret_snippet,
                                     uint32_t (**ret_marks)[2], size_t *ret_n_marks, hth_error *err);
/* Where the text has words of the query: bytes [begin, end), ascending and apart. How many there are, at most `most`. */
size_t snippet_places(hth_terms *terms, const hth_words_query *query, const char *text, uint32_t (*ret_places)[2], size_t most);
/* Bit i: the text has a form of the query's word i (i < 64). */
uint64_t snippet_words(hth_terms *terms, const hth_words_query *query, const char *text);
/* The phrase's words, folded but not stemmed, follow each other in the text. */
bool snippet_has_phrase(hth_terms *terms, const char *text, const char *phrase, size_t phrase_len);

#endif
