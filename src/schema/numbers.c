/* numbers.c - intervals of numbers as patterns over their decimal digits.
 *
 * An interval is split at zero and, for each side, by the integer part: between the bounds' integer parts any fraction
 * may follow, at a bound's own integer part only the fractions on its right side. Source: the usual digit-by-digit
 * construction.
 */
#include "schema/reading.h"

#include <math.h>
#include <stdio.h>

enum { DIGITS = 400, INT_DIGITS = 16, FRAC_DIGITS = 15 };

typedef struct decimal {
	char whole[DIGITS],
	    part[DIGITS]; /* digits before and after the point; no leading or trailing zeros but one "0" */
} decimal;

/* The shortest decimal that reads back as v (v >= 0). */
static void to_decimal(double v, decimal *d)
{
	char text[DIGITS + 32];
	int digits = 15;
	do
		snprintf(text, sizeof text, "%.*e", digits, v);
	while (digits++ < 17 && strtod(text, NULL) != v);
	/* d.ddde+xx: mantissa digits and where the point goes. */
	char mantissa[32];
	size_t n = 0;
	char *e = strchr(text, 'e');
	for (char *c = text; c < e; c++)
		if (*c != '.' && n < sizeof mantissa)
			mantissa[n++] = *c;
	int point = atoi(e + 1) + 1;
	while (n > 1 && mantissa[n - 1] == '0')
		n--;
	size_t w = 0, p = 0;
	for (int i = 0; i < point; i++)
		d->whole[w++] = i < (int)n ? mantissa[i] : '0';
	for (int i = point; i < 0 && p < DIGITS - 40; i++)
		d->part[p++] = '0';
	for (int i = point < 0 ? 0 : point; i < (int)n; i++)
		d->part[p++] = mantissa[i];
	if (w == 0)
		d->whole[w++] = '0';
	while (p > 0 && d->part[p - 1] == '0')
		p--;
	d->whole[w] = d->part[p] = '\0';
}

static void digit_class(char lo, char hi, hth_buf *out)
{
	if (lo == hi)
		hth_buf_append_char(out, lo);
	else
		hth_buf_appendf(out, "[%c-%c]", lo, hi);
}

static void any_digits(size_t min, size_t max, hth_buf *out)
{
	if (max == 0)
		return;
	if (min == 1 && max == 1)
		hth_buf_append_str(out, "\\d");
	else if (min == max)
		hth_buf_appendf(out, "\\d{%zu}", min);
	else
		hth_buf_appendf(out, "\\d{%zu,%zu}", min, max);
}

static bool all(const char *s, size_t n, char c)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] != c)
			return false;
	return true;
}

/* Strings of n digits from lo to hi. */
static void same_length(const char *lo, const char *hi, size_t n, hth_buf *out)
{
	if (n == 0)
		return;
	if (all(lo, n, '0') && all(hi, n, '9')) {
		any_digits(n, n, out);
		return;
	}
	if (lo[0] == hi[0]) {
		hth_buf_append_char(out, lo[0]);
		same_length(lo + 1, hi + 1, n - 1, out);
		return;
	}
	char zeros[DIGITS], nines[DIGITS], from = lo[0], to = hi[0];
	memset(zeros, '0', n);
	memset(nines, '9', n);
	const char *bar = "";
	hth_buf_append_str(out, "(?:");
	if (!all(lo + 1, n - 1, '0')) {
		hth_buf_append_char(out, from++);
		same_length(lo + 1, nines, n - 1, out);
		bar = "|";
	}
	bool last = !all(hi + 1, n - 1, '9');
	to = (char)(to - last);
	if (from <= to) {
		hth_buf_append_str(out, bar);
		digit_class(from, to, out);
		any_digits(n - 1, n - 1, out);
		bar = "|";
	}
	if (last) {
		hth_buf_appendf(out, "%s%c", bar, hi[0]);
		same_length(zeros, hi + 1, n - 1, out);
	}
	hth_buf_append_str(out, ")");
}

/* Integers from lo to hi (NULL: no end), digits without leading zeros. */
static void whole_range(const char *lo, const char *hi, hth_buf *out)
{
	size_t n_lo = strlen(lo), n_hi = hi ? strlen(hi) : n_lo;
	const char *bar = "";
	hth_buf_append_str(out, "(?:");
	for (size_t n = n_lo; n <= n_hi; n++) {
		char first[DIGITS], last[DIGITS];
		memset(first, '0', n);
		memset(last, '9', n);
		first[0] = '1';
		hth_buf_append_str(out, bar);
		same_length(n == n_lo ? lo : first, hi && n == n_hi ? hi : last, n, out);
		bar = "|";
	}
	if (hi == NULL) {
		hth_buf_appendf(out, "%s[1-9]", bar);
		any_digits(n_lo, n_lo > INT_DIGITS - 1 ? n_lo + 1 : INT_DIGITS - 1, out);
	}
	hth_buf_append_str(out, ")");
}

static int compare_whole(const char *a, const char *b)
{
	size_t m = strlen(a), n = strlen(b);
	return m != n ? (m > n) - (m < n) : strcmp(a, b);
}

/* a + 1 or a - 1 (a > 0). */
static void next_whole(const char *a, int by, char out[DIGITS])
{
	size_t n = strlen(a);
	memcpy(out, a, n + 1);
	for (size_t i = n; i-- > 0;) {
		char wrap = by > 0 ? '9' : '0';
		if (out[i] != wrap) {
			out[i] = (char)(out[i] + by);
			break;
		}
		out[i] = by > 0 ? '0' : '9';
		if (i == 0 && by > 0) {
			memmove(out + 1, out, n + 1);
			out[0] = '1';
		}
	}
	if (out[0] == '0' && out[1] != '\0')
		memmove(out, out + 1, strlen(out));
}

static void digits_up_to(size_t used, hth_buf *out)
{
	any_digits(0, used < FRAC_DIGITS ? FRAC_DIGITS - used : 1, out);
}

/* Digits after the point, so many of them read already, whose value is at least (above: over) 0.s. */
static void part_at_least(const char *s, size_t used, bool above, hth_buf *out)
{
	if (*s == '\0') {
		if (above)
			hth_buf_append_str(out, "0{0,14}[1-9]");
		digits_up_to(used, out);
		return;
	}
	hth_buf_append_str(out, "(?:");
	if (*s < '9') {
		digit_class((char)(*s + 1), '9', out);
		digits_up_to(used + 1, out);
		hth_buf_append_str(out, "|");
	}
	hth_buf_append_char(out, *s);
	part_at_least(s + 1, used + 1, above, out);
	hth_buf_append_str(out, ")");
}

/* ... at most (below: under) 0.s; may_end: enough digits were read. */
static void part_at_most(const char *s, size_t used, bool below, bool may_end, hth_buf *out)
{
	if (*s == '\0') {
		/* Only reached where the digits so far are those of s: then nothing but zeros. */
		hth_buf_append_str(out, below ? "[]" : "0{0,14}");
		return;
	}
	hth_buf_append_str(out, "(?:");
	const char *bar = "";
	if (*s > '0') {
		digit_class('0', (char)(*s - 1), out);
		digits_up_to(used + 1, out);
		bar = "|";
	}
	if (s[1] != '\0' || !below) {
		hth_buf_appendf(out, "%s%c", bar, *s);
		part_at_most(s + 1, used + 1, below, true, out);
	} else if (*bar == '\0') {
		hth_buf_append_str(out, "[]");
	}
	hth_buf_append_str(out, may_end ? ")?" : ")");
}

/* Between 0.lo and 0.hi. */
static void part_between(const char *lo, bool above, const char *hi, bool below, size_t used, bool may_end,
                         hth_buf *out)
{
	if (*hi == '\0') { /* then lo is at its end too */
		hth_buf_append_str(out, above || below ? "[]" : "0{0,14}");
		return;
	}
	char l = *lo ? *lo : '0', h = *hi;
	const char *rest = *lo ? lo + 1 : lo;
	hth_buf_append_str(out, "(?:");
	if (l == h) {
		hth_buf_append_char(out, l);
		part_between(rest, above, hi + 1, below, used + 1, *rest == '\0' && !above && hi[1] != '\0', out);
	} else {
		hth_buf_append_char(out, l);
		/* At lo's digit: anything above the rest of lo; where lo is at its end, nothing more is needed. */
		bool enough = *rest == '\0' && !above;
		hth_buf_append_str(out, "(?:");
		part_at_least(rest, used + 1, above, out);
		hth_buf_append_str(out, enough ? ")?" : ")");
		if (l + 1 < h) {
			hth_buf_append_str(out, "|");
			digit_class((char)(l + 1), (char)(h - 1), out);
			digits_up_to(used + 1, out);
		}
		if (hi[1] != '\0' || !below) {
			hth_buf_appendf(out, "|%c", h);
			part_at_most(hi + 1, used + 1, below, true, out);
		}
	}
	hth_buf_append_str(out, may_end ? ")?" : ")");
}

typedef struct bound {
	bool given, open; /* open: the value itself is not in */
	decimal d;
} bound;

static void add_alternative(hth_buf *out, const char **bar)
{
	hth_buf_append_str(out, *bar);
	*bar = "|";
}

/* Numbers from lo to hi, neither negative. */
static void positive_numbers(const bound *lo, const bound *hi, hth_buf *out, const char **bar)
{
	const char *any_part = "(?:\\.\\d{1,15})?";
	char from[DIGITS], to[DIGITS];
	int order = hi->given ? compare_whole(lo->d.whole, hi->d.whole) : -1;
	if (order > 0)
		return;
	if (order == 0) {
		int parts = strcmp(lo->d.part, hi->d.part);
		if (parts > 0 || (parts == 0 && (lo->open || hi->open)))
			return;
		bool whole = lo->d.part[0] == '\0' && !lo->open && !(hi->d.part[0] == '\0' && hi->open);
		add_alternative(out, bar);
		hth_buf_appendf(out, "%s(?:\\.", lo->d.whole);
		if (hi->d.part[0] == '\0')
			hth_buf_append_str(out, "0{1,15}");
		else
			part_between(lo->d.part, lo->open, hi->d.part, hi->open, 0, false, out);
		hth_buf_append_str(out, whole ? ")?" : ")");
		return;
	}
	/* At lo's integer part. */
	add_alternative(out, bar);
	if (lo->d.part[0] == '\0' && !lo->open) {
		hth_buf_appendf(out, "%s%s", lo->d.whole, any_part);
	} else {
		hth_buf_appendf(out, "%s\\.", lo->d.whole);
		part_at_least(lo->d.part, 0, lo->open, out);
	}
	/* Between the two. */
	next_whole(lo->d.whole, 1, from);
	if (!hi->given) {
		add_alternative(out, bar);
		whole_range(from, NULL, out);
		hth_buf_append_str(out, any_part);
		return;
	}
	next_whole(hi->d.whole, -1, to);
	if (compare_whole(from, to) <= 0) {
		add_alternative(out, bar);
		whole_range(from, to, out);
		hth_buf_append_str(out, any_part);
	}
	/* At hi's. */
	if (hi->d.part[0] == '\0') {
		if (!hi->open) {
			add_alternative(out, bar);
			hth_buf_appendf(out, "%s(?:\\.0{1,15})?", hi->d.whole);
		}
		return;
	}
	add_alternative(out, bar);
	hth_buf_appendf(out, "%s(?:\\.", hi->d.whole);
	part_at_most(hi->d.part, 0, hi->open, false, out);
	hth_buf_append_str(out, ")?");
}

static void positive_integers(const bound *lo, const bound *hi, hth_buf *out, const char **bar)
{
	char from[DIGITS], to[DIGITS];
	strcpy(from, lo->d.whole);
	if (lo->d.part[0] != '\0' || lo->open)
		next_whole(lo->d.whole, 1, from);
	if (hi->given) {
		strcpy(to, hi->d.whole);
		if (hi->d.part[0] == '\0' && hi->open) {
			if (strcmp(to, "0") == 0)
				return;
			next_whole(hi->d.whole, -1, to);
		}
		if (compare_whole(from, to) > 0)
			return;
	}
	add_alternative(out, bar);
	whole_range(from, hi->given ? to : NULL, out);
}

/* Numbers are written with at most 16 digits before the point: an upper bound past those bounds nothing. */
static bound make_bound(double v, bool open, double lower)
{
	bound b = {.given = v < HUGE_VAL && !(v >= 1e16 && lower < 1e16), .open = open};
	if (b.given)
		to_decimal(v, &b.d);
	return b;
}

hth_status hth_schema_number_pattern(const alternative *a, bool integers, hth_buf *out, hth_error *err)
{
	const char *bar = "";
	void (*range)(const bound *, const bound *, hth_buf *, const char **) =
	    integers ? positive_integers : positive_numbers;
	size_t before = out->len;
	hth_buf_append_str(out, "^(?:");
	size_t empty = out->len;
	if (a->min == -HUGE_VAL && a->max == HUGE_VAL && !integers) {
		hth_buf_append_str(out, "-?(?:0|[1-9]\\d{0,15})(?:\\.\\d{1,15})?(?:[eE][-+]?\\d{1,2})?");
	} else {
		if (a->max >= 0) {
			bound lo = make_bound(a->min > 0 ? a->min : 0, a->min >= 0 && a->above_min, HUGE_VAL);
			bound hi = make_bound(a->max, a->below_max, a->min);
			range(&lo, &hi, out, &bar);
		}
		if (a->min < 0) {
			/* Mirrored; zero has no sign. */
			hth_buf_appendf(out, "%s-(?:", bar);
			const char *inner = "";
			size_t begin = out->len;
			bound lo = make_bound(a->max < 0 ? -a->max : 0, a->max < 0 ? a->below_max : true, HUGE_VAL);
			bound hi = make_bound(-a->min, a->above_min, -a->max);
			range(&lo, &hi, out, &inner);
			if (out->len == begin && !out->failed)
				out->len -= strlen(bar) + 4;
			else
				hth_buf_append_str(out, ")");
		}
	}
	if (out->len == empty && !out->failed) {
		out->len = before;
		return HTH_OK;
	}
	hth_buf_append_str(out, ")$");
	return hth_buf_check(out, "a number's bounds", err);
}
