/* addresses.c - where a house stands: a street's word and a house number in the orders in which people write them, and British
 * postcodes. */
#include "base/mem.h"
#include "privacy/detectors.h"

typedef struct street_word {
	const char *s;
	bool ends; /* may be the end of a compound: Hauptstrasse, Dorpsstraat */
} street_word;

/* After the name: "12 Elm Street", "Hauptstr. 5". */
static const street_word after[] = {
    {"street", 0}, {"st", 0}, {"road", 0}, {"rd", 0}, {"avenue", 0}, {"ave", 0}, {"lane", 0}, {"ln", 0}, {"drive", 0}, {"boulevard", 0},
    {"blvd", 0},
    {"court", 0}, {"square", 0}, {"terrace", 0}, {"crescent", 0}, {"close", 0}, {"way", 0}, {"place", 0}, {"stra\xc3\x9f" "e", 1},
    {"strasse", 1},
    {"str", 1}, {"weg", 1}, {"gasse", 1}, {"allee", 1}, {"platz", 1}, {"ring", 1}, {"damm", 1}, {"ufer", 1}, {"straat", 1}, {"laan", 1},
    {"plein", 1}, {"gatan", 1}, {"gade", 1}, {"vej", 1},
};
/* Before it: "5 rue de la Paix", "Calle Mayor 3", "via Roma 1". */
static const char *const before[] = {"rue", "avenue", "boulevard", "chemin", "impasse", "calle", "avenida", "plaza", "paseo", "via",
                                     "viale", "piazza",
                                     "corso", "rua", "ulica", "ul", "aleja"};

typedef struct word_at {
	size_t at, len;
	char lower[40]; /* "" when longer */
	bool capital, dot, break_before; /* a dot follows; something other than a blank, comma or dot is before it */
} word_at;

static word_at word(hth_text t, size_t at)
{
	word_at w = {.at = at};
	for (unsigned gap = 0; gap < 3 && w.at < t.len && !hth_is_word_byte((unsigned char)t.s[w.at]); gap++, w.at++)
		w.break_before |= strchr(" ,.\t", t.s[w.at]) == NULL;
	while (w.at + w.len < t.len && w.len < 64 && hth_is_word_byte((unsigned char)t.s[w.at + w.len]))
		w.len++;
	unsigned char c = hth_text_at(t, w.at);
	w.capital = hth_is_upper_byte(c) || c >= 0xc3;
	w.dot = hth_text_at(t, w.at + w.len) == '.';
	if (w.len < sizeof w.lower)
		for (size_t i = 0; i < w.len; i++)
			w.lower[i] = (char)(hth_is_upper_byte((unsigned char)t.s[w.at + i]) ? t.s[w.at + i] | 32 : t.s[w.at + i]);
	return w;
}

/* 1 to 4 digits, perhaps with a letter: 12, 221b. */
static bool is_house_number(const word_at *w)
{
	size_t digits = strspn(w->lower, "0123456789");
	return digits >= 1 && digits <= 4 && (w->lower[digits] == '\0' ||
	                                      (w->lower[digits + 1] == '\0' && w->lower[digits] >= 'a' && w->lower[digits] <= 'h'));
}

static bool is_after_word(const word_at *w, bool *ret_compound)
{
	size_t n = strlen(w->lower);
	for (size_t i = 0; i < HTH_COUNT(after); i++) {
		size_t m = strlen(after[i].s);
		*ret_compound = after[i].ends && n > m + 2 && strcmp(w->lower + n - m, after[i].s) == 0;
		if (*ret_compound || strcmp(w->lower, after[i].s) == 0)
			return true;
	}
	return false;
}

static bool is_before_word(const word_at *w)
{
	for (size_t i = 0; i < HTH_COUNT(before); i++)
		if (strcmp(w->lower, before[i]) == 0)
			return true;
	return false;
}

static size_t postcode(hth_text t, size_t at) /* SW1A 1AA */
{
	word_at a = word(t, at), b = word(t, at + a.len);
	bool out = a.len >= 2 && a.len <= 4 && hth_is_letter_byte((unsigned char)t.s[a.at]) && strpbrk(a.lower, "0123456789") != NULL &&
	    a.capital &&
	           strspn(a.lower, "abcdefghijklmnopqrstuvwxyz") <= 2;
	bool in = b.len == 3 && hth_is_digit_byte((unsigned char)t.s[b.at]) && hth_is_upper_byte((unsigned char)t.s[b.at + 1]) &&
	          hth_is_upper_byte((unsigned char)t.s[b.at + 2]);
	return out && in && b.at == at + a.len + 1 && t.s[b.at - 1] == ' ' ? b.at + b.len - at : 0;
}

size_t hth_detect_address(hth_text t, size_t at, const char **ret_what)
{
	word_at w = word(t, at), x;
	bool compound;
	size_t found = 0;
	if (w.lower[0] == '\0')
		return 0;
	if (is_house_number(&w)) {
		x = word(t, w.at + w.len);
		if (is_before_word(&x) && !x.break_before) { /* 5, rue de la Paix */
			word_at y = word(t, x.at + x.len);
			found = y.len > 0 && !y.break_before ? y.at + y.len - at : 0;
		}
		for (unsigned i = 0; i < 4 && found == 0 && x.len > 0 && !x.break_before && x.capital; i++) { /* 12 Elm Street */
			if (i > 0 && is_after_word(&x, &compound))
				found = x.at + x.len - at;
			x = word(t, x.at + x.len);
		}
	} else if (is_after_word(&w, &compound) && w.capital) { /* Hauptstrasse 5; Elm Street 12 */
		x = word(t, w.at + w.len);
		if (is_house_number(&x) && !x.break_before && (compound || w.dot || strlen(w.lower) > 3))
			found = x.at + x.len - at;
	} else if (is_before_word(&w)) { /* Calle Mayor 3 */
		x = word(t, w.at + w.len);
		for (unsigned i = 0; i < 5 && found == 0 && x.len > 0 && !x.break_before; i++) {
			if (i > 0 && is_house_number(&x))
				found = x.at + x.len - at;
			x = word(t, x.at + x.len);
		}
	}
	if (found == 0)
		found = postcode(t, at);
	if (found > 0)
		*ret_what = "street address";
	return found;
}
