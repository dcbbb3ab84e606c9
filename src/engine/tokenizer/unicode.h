/* unicode.h - what the tokenizers ask about one character. Categories, decompositions and cases are Unicode's own
 * (unicode-tables.inc says which version); white space is the property White_Space. */
#ifndef HTH_ENGINE_TOKENIZER_UNICODE_H
#define HTH_ENGINE_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool hth_unicode_is_space(uint32_t cp);
bool hth_unicode_is_punctuation(uint32_t cp); /* any category P */
bool hth_unicode_is_nonspacing(uint32_t cp);  /* category Mn: accents and their kin */
bool hth_unicode_is_control(uint32_t cp);     /* Cc, Cf, Co and surrogates */
uint32_t hth_unicode_lower(uint32_t cp);      /* simple lower case; cp itself where it has none */
/* Canonical decomposition of cp without its nonspacing marks: 0 to 3 characters; returns how many. */
size_t hth_unicode_bases(uint32_t cp, uint32_t out[3]);

#endif
