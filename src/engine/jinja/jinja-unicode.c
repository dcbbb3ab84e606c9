/* jinja-unicode.c - character classes and case mapping over the tables, by binary search. ASCII never reaches a table. */
#include "engine/jinja/jinja-unicode.h"

#include "base/mem.h"

#include "engine/jinja/jinja-unicode-tables.inc"

static bool in_set(const uint32_t *set, size_t n, uint32_t cp)
{
	size_t lo = 0, hi = n / 2;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		uint32_t first = set[2 * mid] & 0x7FFFFFFF, last = set[2 * mid + 1];
		if (cp < first)
			hi = mid;
		else if (cp > last)
			lo = mid + 1;
		else
			return !(set[2 * mid] >> 31) || ((cp - first) & 1) == 0;
	}
	return false;
}
#define IN_SET(set, cp) in_set(set, HTH_COUNT(set), cp)

static bool is_space(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 32) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
	       (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
	       cp == 0x3000;
}

bool hth_uni_is(uint32_t cp, hth_uni_class c)
{
	bool ascii = cp < 0x80;
	bool digit = cp >= '0' && cp <= '9', lower = cp >= 'a' && cp <= 'z', upper = cp >= 'A' && cp <= 'Z';
	switch (c) {
	case HTH_UNI_ALPHA:
		return ascii ? lower || upper : IN_SET(set_alpha, cp);
	case HTH_UNI_DECIMAL:
		return ascii ? digit : IN_SET(set_decimal, cp);
	case HTH_UNI_DIGIT:
		return ascii ? digit : IN_SET(set_digit, cp);
	case HTH_UNI_NUMERIC:
		return ascii ? digit : IN_SET(set_numeric, cp);
	case HTH_UNI_ALNUM:
		return ascii ? lower || upper || digit : IN_SET(set_alpha, cp) || IN_SET(set_numeric, cp);
	case HTH_UNI_SPACE:
		return is_space(cp);
	case HTH_UNI_PRINTABLE:
		return ascii ? cp >= 32 && cp < 127 : !IN_SET(set_unprintable, cp);
	case HTH_UNI_LOWER:
		return ascii ? lower : IN_SET(set_lower, cp);
	case HTH_UNI_UPPER:
		return ascii ? upper : IN_SET(set_upper, cp);
	case HTH_UNI_TITLE:
		return !ascii && IN_SET(set_title, cp);
	}
	return false;
}

static uint32_t map_one(const uint32_t *map, size_t n, uint32_t cp)
{
	size_t lo = 0, hi = n / 3;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		uint32_t first = map[3 * mid] & 0x7FFFFFFF, last = map[3 * mid + 1];
		if (cp < first)
			hi = mid;
		else if (cp > last)
			lo = mid + 1;
		else
			return map[3 * mid] >> 31 && ((cp - first) & 1) ? cp : cp + map[3 * mid + 2];
	}
	return cp;
}

static size_t map_special(const uint16_t *list, size_t n, uint32_t cp, uint32_t out[3])
{
	for (size_t i = 0; i < n; i += 4)
		if (list[i] == cp) {
			size_t k = 0;
			while (k < 3 && list[i + 1 + k] != 0) {
				out[k] = list[i + 1 + k];
				k++;
			}
			return k;
		}
	return 0;
}

size_t hth_uni_map(uint32_t cp, hth_uni_case to, uint32_t out[3])
{
	size_t n = 0;
	if (cp < 0x80) {
		bool change = to == HTH_UNI_TO_LOWER ? cp >= 'A' && cp <= 'Z' : cp >= 'a' && cp <= 'z';
		out[0] = change ? cp ^ 32 : cp;
		return 1;
	}
	if (to == HTH_UNI_TO_LOWER) {
		if (cp == 0x130) { /* the one whose lower case is two characters */
			out[0] = 'i';
			out[1] = 0x307;
			return 2;
		}
		out[0] = map_one(map_to_lower, HTH_COUNT(map_to_lower), cp);
		return 1;
	}
	if (to == HTH_UNI_TO_TITLE)
		n = map_special(special_title, HTH_COUNT(special_title), cp, out);
	if (n == 0)
		n = map_special(special_upper, HTH_COUNT(special_upper), cp, out);
	if (n > 0)
		return n;
	out[0] = map_one(map_to_upper, HTH_COUNT(map_to_upper), cp);
	return 1;
}
