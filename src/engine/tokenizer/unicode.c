/* unicode.c - binary searches in generated tables, with ASCII answered first because most text is ASCII. */
#include "engine/tokenizer/unicode.h"

#include "base/mem.h"

struct code_range {
	uint32_t first, last;
};
struct case_run {
	uint32_t first, last;
	int32_t step, delta;
};
struct base_char {
	uint32_t cp, base;
};
struct base_chars {
	uint32_t cp, base[3];
	uint32_t n;
};

#include "engine/tokenizer/unicode-tables.inc"

static bool in_ranges(const struct code_range *ranges, size_t n, uint32_t cp)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (cp > ranges[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && cp >= ranges[lo].first;
}

bool hth_unicode_is_space(uint32_t cp)
{
	if (cp < 0x80)
		return cp == ' ' || (cp >= '\t' && cp <= '\r');
	return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
	       cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool hth_unicode_is_punctuation(uint32_t cp)
{
	return in_ranges(punctuation_ranges, HTH_COUNT(punctuation_ranges), cp);
}

bool hth_unicode_is_nonspacing(uint32_t cp)
{
	return cp >= 0x300 && in_ranges(nonspacing_ranges, HTH_COUNT(nonspacing_ranges), cp);
}

bool hth_unicode_is_control(uint32_t cp)
{
	if (cp < 0x80)
		return cp < 0x20 || cp == 0x7F;
	return (cp >= 0xD800 && cp < 0xE000) || in_ranges(control_ranges, HTH_COUNT(control_ranges), cp);
}

uint32_t hth_unicode_lower(uint32_t cp)
{
	if (cp < 0x80)
		return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
	size_t lo = 0, hi = HTH_COUNT(lower_runs);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (cp > lower_runs[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* Runs of step 2 (alternating capitals and small letters) may hold a neighbour run between their members. */
	for (size_t i = lo; i < HTH_COUNT(lower_runs) && i < lo + 3; i++) {
		const struct case_run *r = &lower_runs[i];
		if (cp >= r->first && cp <= r->last && (cp - r->first) % (uint32_t)r->step == 0)
			return (uint32_t)((int32_t)cp + r->delta);
	}
	return cp;
}

static size_t hangul_jamo(uint32_t cp, uint32_t out[3])
{
	/* The Unicode Standard, 3.12: L + V, and T where there is one. */
	uint32_t i = cp - 0xAC00;
	out[0] = 0x1100 + i / 588;
	out[1] = 0x1161 + i % 588 / 28;
	out[2] = 0x11A7 + i % 28;
	return i % 28 ? 3 : 2;
}

size_t hth_unicode_bases(uint32_t cp, uint32_t out[3])
{
	out[0] = cp;
	if (cp < 0xC0)
		return 1;
	if (cp >= 0xAC00 && cp < 0xD7A4)
		return hangul_jamo(cp, out);
	if (hth_unicode_is_nonspacing(cp))
		return 0;
	size_t lo = 0, hi = HTH_COUNT(base_chars);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (cp > base_chars[mid].cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < HTH_COUNT(base_chars) && base_chars[lo].cp == cp) {
		out[0] = base_chars[lo].base;
		return 1;
	}
	for (size_t i = 0; i < HTH_COUNT(base_sequences) && base_sequences[i].cp <= cp; i++)
		if (base_sequences[i].cp == cp) {
			memcpy(out, base_sequences[i].base, sizeof base_sequences[i].base);
			return base_sequences[i].n;
		}
	return 1;
}
