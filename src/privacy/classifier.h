/* classifier.h - what in a text speaks against letting others read it. It may only tighten a class, and it explains itself.
 *
 * It looks for what can be recognised by form (addresses of e-mail and of houses, telephone numbers, IBANs, card numbers and national
 * identifiers by their check digits, keys, passwords) and for words of health, money and children in English, German, French and Spanish.
 * What names somebody or opens something keeps a text private. A topic alone keeps it from the public; a topic together with a name, or
 * said of oneself ("my salary"), keeps it private. It does not understand texts: what it does not see is no proof that nothing is there, so
 * the default class stays private and this is a second line, never the first.
 *
 * Pure; one pass, with bounded work at each byte. Texts over HTH_CLASSIFIER_TEXT_MAX are not read and are private.
 */
#ifndef HTH_PRIVACY_CLASSIFIER_H
#define HTH_PRIVACY_CLASSIFIER_H

#include "request/request.h"

typedef enum hth_finding_kind {
	HTH_FINDING_EMAIL, HTH_FINDING_PHONE, HTH_FINDING_IBAN, HTH_FINDING_CARD, HTH_FINDING_NATIONAL_ID, HTH_FINDING_ADDRESS,
	    HTH_FINDING_SECRET,
	HTH_FINDING_HEALTH, HTH_FINDING_MONEY, HTH_FINDING_CHILDREN, HTH_FINDING_NAME, HTH_FINDING_UNREADABLE, HTH_FINDING_KINDS
} hth_finding_kind;

enum { HTH_FINDINGS_MAX = 64, HTH_CLASSIFIER_TEXT_MAX = 1 << 20 };

typedef struct hth_finding {
	hth_finding_kind kind;
	size_t offset, len; /* bytes of the text */
	const char *what;   /* a constant: "IBAN of DE", "password" */
} hth_finding;

typedef struct hth_findings {
	hth_finding items[HTH_FINDINGS_MAX]; /* in order; counts goes on where items is full */
	size_t n, counts[HTH_FINDING_KINDS];
	bool own;                /* a topic is said of oneself */
	hth_privacy_class limit; /* the widest class that the text may have */
} hth_findings;

void hth_classifier_scan(const char *text, size_t len, hth_findings *ret_findings);
/* All words of a request: texts, messages, tools. Tokens and parts that are no text cannot be read and make it private. */
void hth_classifier_scan_request(const hth_request *request, hth_findings *ret_findings);

const char *hth_finding_name(hth_finding_kind kind); /* "email", "national_id": for machines */
const char *hth_finding_words(hth_finding_kind kind); /* "an e-mail address" */
/* One sentence: "private, because it has an e-mail address and 2 telephone numbers". Never quotes the text. */
void hth_findings_explain(const hth_findings *findings, char *out, size_t size);

#endif
