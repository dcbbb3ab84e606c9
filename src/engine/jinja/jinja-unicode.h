/* jinja-unicode.h - private to jinja: what Python's string methods know about characters. */
#ifndef HTH_ENGINE_JINJA_JINJA_UNICODE_H
#define HTH_ENGINE_JINJA_JINJA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hth_uni_class {
	HTH_UNI_ALPHA,
	HTH_UNI_DECIMAL,
	HTH_UNI_DIGIT,
	HTH_UNI_NUMERIC,
	HTH_UNI_ALNUM,
	HTH_UNI_SPACE,
	HTH_UNI_PRINTABLE,
	HTH_UNI_LOWER,
	HTH_UNI_UPPER,
	HTH_UNI_TITLE, /* title case and not upper case: the digraphs */
} hth_uni_class;

/* How Python's str.isalpha and its like classify one character. */
bool hth_uni_is(uint32_t cp, hth_uni_class c);

typedef enum hth_uni_case { HTH_UNI_TO_UPPER, HTH_UNI_TO_LOWER, HTH_UNI_TO_TITLE } hth_uni_case;
/* The full mapping: one character becomes up to three. Returns how many. */
size_t hth_uni_map(uint32_t cp, hth_uni_case to, uint32_t out[3]);

#endif
