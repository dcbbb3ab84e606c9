/* terms.h - what words a text has, as the index knows them: split, stemmed by the rules of the text's language, and
 * folded.
 *
 * A word is a run of letters, marks and digits. It is put in lower case, stemmed (Snowball, http://snowballstem.org),
 * then folded: accents and vowel points go, compatibility forms and digits of other scripts become plain (Unicode NFKD
 * and case folding). So "Häuser" in a German text, "häuser" and "HAUS" are one term. Scripts that are written without
 * spaces (Han, kana, Hangul, Thai, ...) become single characters and overlapping pairs. A hyphen at a line's end joins
 * its word again. Short pieces around an apostrophe (l', 's, 't) are dropped.
 *
 * A query's language is not known, so it is stemmed by the rules of every language that the index has seen.
 * One handle belongs to one thread.
 */
#ifndef HTH_INDEX_TERMS_H
#define HTH_INDEX_TERMS_H

#include "base/status.h"

#include <stdint.h>

/* Bytes of a term; what is longer is cut. */
enum { HTH_TERM_MAX = 63 };

/* Languages with a stemmer. HTH_LANGUAGE_NONE: words are folded alone. The numbers are stored: never change one. */
typedef enum hth_language {
	HTH_LANGUAGE_NONE,
	HTH_LANGUAGE_EN,
	HTH_LANGUAGE_DE,
	HTH_LANGUAGE_FR,
	HTH_LANGUAGE_ES,
	HTH_LANGUAGE_IT,
	HTH_LANGUAGE_PT,
	HTH_LANGUAGE_NL,
	HTH_LANGUAGE_DA,
	HTH_LANGUAGE_SV,
	HTH_LANGUAGE_NO,
	HTH_LANGUAGE_FI,
	HTH_LANGUAGE_HU,
	HTH_LANGUAGE_RO,
	HTH_LANGUAGE_RU,
	HTH_LANGUAGE_TR,
	HTH_LANGUAGE_COUNT
} hth_language;

hth_language hth_language_of_code(const char *code); /* "en", "de", ...; HTH_LANGUAGE_NONE when unknown */
/* By the most frequent small words of each, in the first few KiB. `otherwise` when none stands out. */
hth_language hth_language_detect(const char *text, size_t len, hth_language otherwise);

/* Whether a term is one of the small words of a language of the mask, which say little of what a question is about. */
bool hth_terms_is_small(uint32_t languages, const char *term, size_t len);

typedef struct hth_terms hth_terms;
HTH_MUST_USE hth_status hth_terms_create(hth_terms **ret_terms, hth_error *err);
void hth_terms_destroy(hth_terms *terms);

/* A term and the bytes [begin, end) of the text that it stands for. `term` is borrowed for the call. */
typedef void (*hth_term_fn)(void *ctx, const char *term, size_t len, size_t begin, size_t end);
/* Every term of a document's text (any bytes; what is no UTF-8 separates words). */
void hth_terms_of_text(hth_terms *terms, hth_language language, const char *text, size_t len, hth_term_fn fn, void *ctx);
/* The terms to look for: each word under every language of the mask (bit i: language i; bit 0: unstemmed), once each.
 * Terms of one word have one `word` number, in order. Paired scripts give pairs only, or one character that stands
 * alone. */
typedef void (*hth_query_term_fn)(void *ctx, const char *term, size_t len, size_t word);
void hth_terms_of_query(hth_terms *terms, uint32_t languages, const char *text, size_t len, hth_query_term_fn fn, void *ctx);

#endif
