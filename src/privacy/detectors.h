/* detectors.h - the classifier's detectors; nobody else includes it. Each looks at text[at..len) where something may begin, within a
 * bounded number of bytes, and returns how many bytes it takes, 0 when nothing is there. *ret_what is set to a constant when something
 * is. */
#ifndef HTH_PRIVACY_DETECTORS_H
#define HTH_PRIVACY_DETECTORS_H

#include "privacy/classifier.h"

typedef struct hth_text {
	const char *s;
	size_t len;
} hth_text;

/* ASCII letters and digits, and every byte of a character beyond ASCII. */
static inline bool hth_is_word_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}
static inline bool hth_is_digit_byte(unsigned char c) { return c >= '0' && c <= '9'; }
static inline bool hth_is_upper_byte(unsigned char c) { return c >= 'A' && c <= 'Z'; }
static inline bool hth_is_letter_byte(unsigned char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
static inline unsigned char hth_text_at(hth_text t, size_t i) { return i < t.len ? (unsigned char)t.s[i] : 0; }

/* identifiers.c. at: the '@'; *ret_begin: where the address begins. */
size_t hth_detect_email(hth_text t, size_t at, size_t *ret_begin);
/* at: the first byte of a word, or a '+' or '(' where no word is before it. */
size_t hth_detect_iban(hth_text t, size_t at, const char **ret_what);
size_t hth_detect_number(hth_text t, size_t at, hth_finding_kind *ret_kind, const char **ret_what);
size_t hth_detect_lettered_id(hth_text t, size_t at, const char **ret_what);
/* secrets.c. at: the first byte after a blank or quote; len: up to the next one. */
size_t hth_detect_secret(hth_text t, size_t at, size_t len, const char **ret_what);
/* at: a word that may announce a password. */
size_t hth_detect_password(hth_text t, size_t at, size_t word, const char **ret_what);
/* addresses.c */
size_t hth_detect_address(hth_text t, size_t at, const char **ret_what);

/* topics.c: what a word stands for. */
typedef enum hth_word_kind {
	HTH_WORD_NONE, HTH_WORD_HEALTH, HTH_WORD_MONEY, HTH_WORD_CHILDREN, HTH_WORD_OWN, HTH_WORD_GIVEN_NAME, HTH_WORD_TITLE,
	    HTH_WORD_PASSWORD,
	HTH_WORD_PHONE, HTH_WORD_ID
} hth_word_kind;
hth_word_kind hth_word_kind_of(const char *word, size_t len);
/* The same for the word before `at` and up to `back` words before that, within 48 bytes: whether one is of this kind. */
bool hth_word_before(hth_text t, size_t at, hth_word_kind kind, unsigned back);

#endif
