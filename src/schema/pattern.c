/* pattern.c - ECMA-262 patterns: parsed into a nondeterministic automaton, then made deterministic.
 *
 * A match may stand anywhere, so the automaton begins with any characters and goes on with any after the match; ^ and $
 * are edges that count only at the text's beginning and end. What a set of places becomes by a character is found for
 * whole ranges of characters between which nothing changes. Once the match is complete, all else is forgotten.
 */
#include "schema/lang.h"

#include "base/mem.h"
#include "base/utf8.h"

enum {
	PLACES_MAX = 20000,
	RANGES_MAX = 4096,
	NESTING_MAX = 64,
	REPEAT_MAX = 5000,
	LAST = 0x10FFFF,
	FOREVER = -1,
};

typedef struct range {
	uint32_t lo, hi;
} range;

typedef enum place_kind { ON, CHARS, BEGIN, END, MATCH } place_kind;
/* A place: ON goes to both outs without a character, CHARS to out[0] with one. */
typedef struct place {
	place_kind kind;
	uint32_t out[2];   /* UINT32_MAX: none */
	uint32_t first, n; /* CHARS: ranges */
} place;

struct nfa {
	place *places;
	range *ranges;
	size_t n, cap, n_ranges, range_cap;
	const char *p, *end;
	unsigned nesting;
	hth_error *err;
};

typedef struct part {
	uint32_t start, end; /* end: an ON place without a way out yet */
} part;

static hth_status unsupported(struct nfa *a, const char *what)
{
	return hth_fail(a->err, HTH_UNSUPPORTED, "pattern: %s is not supported", what);
}
static hth_status invalid(struct nfa *a, const char *what)
{
	return hth_fail(a->err, HTH_INVALID, "pattern: %s", what);
}

static hth_status add_place(struct nfa *a, place_kind kind, uint32_t *ret)
{
	if (a->n >= PLACES_MAX)
		return hth_fail(a->err, HTH_TOO_LARGE, "pattern: it repeats too much (over %d places)", PLACES_MAX);
	if (a->n == a->cap) {
		size_t cap = a->cap ? a->cap * 2 : 64;
		place *more = realloc(a->places, cap * sizeof *more);
		if (more == NULL)
			return hth_fail(a->err, HTH_NO_MEMORY, "no memory for a pattern");
		a->places = more;
		a->cap = cap;
	}
	a->places[a->n] = (place){kind, {UINT32_MAX, UINT32_MAX}, 0, 0};
	*ret = (uint32_t)a->n++;
	return HTH_OK;
}

static hth_status add_range(struct nfa *a, uint32_t lo, uint32_t hi)
{
	if (a->n_ranges == a->range_cap) {
		size_t cap = a->range_cap ? a->range_cap * 2 : 64;
		range *more = cap <= (1 << 20) ? realloc(a->ranges, cap * sizeof *more) : NULL;
		if (more == NULL)
			return hth_fail(a->err, HTH_TOO_LARGE, "pattern: too many characters in classes");
		a->ranges = more;
		a->range_cap = cap;
	}
	a->ranges[a->n_ranges++] = (range){lo, hi};
	return HTH_OK;
}

static const range digit[] = {{'0', '9'}}, word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                   space[] = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                              {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}},
                   newline[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

static hth_status add_known(struct nfa *a, const range *r, size_t n, bool negated)
{
	uint32_t next = 0;
	for (size_t i = 0; i < n; i++) {
		if (!negated)
			HTH_TRY(add_range(a, r[i].lo, r[i].hi));
		else if (r[i].lo > next)
			HTH_TRY(add_range(a, next, r[i].lo - 1));
		next = r[i].hi + 1;
	}
	return negated ? add_range(a, next, LAST) : HTH_OK;
}

static int compare_ranges(const void *a, const void *b)
{
	const range *x = a, *y = b;
	return (x->lo > y->lo) - (x->lo < y->lo);
}

/* Sorts and joins the ranges from `first` on; negated: turns them into their complement. */
static hth_status tidy(struct nfa *a, size_t first, bool negated)
{
	range *r = a->ranges + first;
	size_t n = a->n_ranges - first, m = 0;
	if (n > 1)
		qsort(r, n, sizeof *r, compare_ranges);
	for (size_t i = 0; i < n; i++) {
		if (m > 0 && r[i].lo <= r[m - 1].hi + 1)
			r[m - 1].hi = HTH_MAX(r[m - 1].hi, r[i].hi);
		else
			r[m++] = r[i];
	}
	a->n_ranges = first + m;
	if (!negated)
		return HTH_OK;
	HTH_AUTO_FREE range *copy = hth_alloc_array(m, sizeof *copy);
	if (copy == NULL)
		return hth_fail(a->err, HTH_NO_MEMORY, "no memory for a pattern");
	if (m > 0)
		memcpy(copy, r, m * sizeof *copy);
	a->n_ranges = first;
	uint32_t next = 0;
	for (size_t i = 0; i < m; i++) {
		if (copy[i].lo > next)
			HTH_TRY(add_range(a, next, copy[i].lo - 1));
		next = copy[i].hi + 1;
	}
	return next <= LAST ? add_range(a, next, LAST) : HTH_OK;
}

static bool more(const struct nfa *a)
{
	return a->p < a->end;
}
static char peek(const struct nfa *a)
{
	return more(a) ? *a->p : '\0';
}

static hth_status hex(struct nfa *a, unsigned digits, uint32_t *ret)
{
	uint32_t v = 0;
	for (unsigned i = 0; i < digits; i++, a->p++) {
		char c = peek(a);
		int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
		if (d < 0)
			return invalid(a, "an escape needs hexadecimal digits");
		v = v << 4 | (uint32_t)d;
	}
	*ret = v;
	return HTH_OK;
}

static hth_status unicode_escape(struct nfa *a, uint32_t *ret)
{
	if (peek(a) == '{') {
		uint32_t v = 0;
		const char *begin = ++a->p;
		while (more(a) && *a->p != '}' && v <= LAST) {
			uint32_t d = 0;
			HTH_TRY(hex(a, 1, &d));
			v = v << 4 | d;
		}
		if (peek(a) != '}' || a->p == begin || v > LAST)
			return invalid(a, "\\u{...} is no character");
		a->p++;
		*ret = v;
		return HTH_OK;
	}
	HTH_TRY(hex(a, 4, ret));
	if (*ret >= 0xD800 && *ret < 0xDC00 && a->end - a->p >= 6 && a->p[0] == '\\' && a->p[1] == 'u') {
		uint32_t low = 0;
		a->p += 2;
		HTH_TRY(hex(a, 4, &low));
		if (low >= 0xDC00 && low < 0xE000)
			*ret = 0x10000 + ((*ret - 0xD800) << 10) + (low - 0xDC00);
	}
	return HTH_OK;
}

/* After a backslash: a class like \d (its ranges added, *ret_class) or one character. */
static hth_status escape(struct nfa *a, bool in_class, bool *ret_class, uint32_t *ret)
{
	*ret_class = true;
	char c = peek(a);
	if (!more(a))
		return invalid(a, "it ends with a backslash");
	a->p++;
	switch (c) {
	case 'd':
	case 'D':
		return add_known(a, digit, HTH_COUNT(digit), c == 'D');
	case 'w':
	case 'W':
		return add_known(a, word, HTH_COUNT(word), c == 'W');
	case 's':
	case 'S':
		return add_known(a, space, HTH_COUNT(space), c == 'S');
	case 'p':
	case 'P':
		return unsupported(a, "\\p{...}");
	case 'b':
	case 'B':
		if (!in_class || c == 'B')
			return unsupported(a, "\\b");
		break;
	case 'k':
		return unsupported(a, "a back reference");
	default:
		break;
	}
	*ret_class = false;
	if (c >= '1' && c <= '9')
		return unsupported(a, "a back reference");
	static const char from[] = "tnvfr0b", to[] = "\t\n\v\f\r\0\b";
	const char *known = strchr(from, c);
	if (known != NULL && c != '\0') {
		*ret = (uint8_t)to[known - from];
		return HTH_OK;
	}
	if (c == 'x')
		return hex(a, 2, ret);
	if (c == 'u')
		return unicode_escape(a, ret);
	if (c == 'c') {
		char letter = (char)(peek(a) | 32);
		if (letter < 'a' || letter > 'z')
			return invalid(a, "\\c needs a letter");
		a->p++;
		*ret = (uint32_t)(letter - 'a' + 1);
		return HTH_OK;
	}
	if ((c | 32) >= 'a' && (c | 32) <= 'z')
		return invalid(a, "an unknown escape");
	if ((uint8_t)c < 0x80) {
		*ret = (uint8_t)c;
		return HTH_OK;
	}
	a->p--;
	size_t n = hth_utf8_decode(a->p, (size_t)(a->end - a->p), ret);
	a->p += n;
	return n ? HTH_OK : invalid(a, "it is not UTF-8");
}

static hth_status one_char(struct nfa *a, uint32_t *ret)
{
	size_t n = more(a) ? hth_utf8_decode(a->p, (size_t)(a->end - a->p), ret) : 0;
	a->p += n;
	return n ? HTH_OK : invalid(a, "it is cut short, or not UTF-8");
}

static hth_status parse_class(struct nfa *a)
{
	size_t first = a->n_ranges;
	bool negated = peek(a) == '^', is_class;
	a->p += negated;
	while (peek(a) != ']') {
		uint32_t lo, hi;
		if (!more(a))
			return invalid(a, "a class has no closing bracket");
		is_class = false;
		if (peek(a) == '\\') {
			a->p++;
			HTH_TRY(escape(a, true, &is_class, &lo));
		} else {
			HTH_TRY(one_char(a, &lo));
		}
		if (is_class)
			continue;
		hi = lo;
		if (peek(a) == '-' && a->p + 1 < a->end && a->p[1] != ']') {
			const char *dash = a->p++;
			if (peek(a) == '\\') {
				a->p++;
				size_t before = a->n_ranges;
				HTH_TRY(escape(a, true, &is_class, &hi));
				if (is_class) {
					/* [a-\d] is a, a dash and digits. */
					a->n_ranges = before;
					a->p = dash + 1;
					HTH_TRY(add_range(a, '-', '-'));
					hi = lo;
				}
			} else {
				HTH_TRY(one_char(a, &hi));
			}
			if (hi < lo)
				return invalid(a, "a range in a class runs backwards");
		}
		HTH_TRY(add_range(a, lo, hi));
		if (a->n_ranges - first > RANGES_MAX)
			return hth_fail(a->err, HTH_TOO_LARGE, "pattern: a class has over %d ranges", RANGES_MAX);
	}
	a->p++;
	return tidy(a, first, negated);
}

static hth_status close_chars(struct nfa *a, size_t first, part *ret)
{
	HTH_TRY(add_place(a, CHARS, &ret->start));
	HTH_TRY(add_place(a, ON, &ret->end));
	a->places[ret->start].first = (uint32_t)first;
	a->places[ret->start].n = (uint32_t)(a->n_ranges - first);
	a->places[ret->start].out[0] = ret->end;
	return HTH_OK;
}

static hth_status parse_alternatives(struct nfa *a, part *ret);

static hth_status parse_group(struct nfa *a, part *ret)
{
	if (peek(a) == '?') {
		a->p++;
		char c = peek(a), d = a->p + 1 < a->end ? a->p[1] : '\0';
		if (c == '=' || c == '!' || (c == '<' && (d == '=' || d == '!')))
			return unsupported(a, "look-ahead or look-behind");
		if (c == '<')
			while (more(a) && *a->p != '>')
				a->p++;
		else if (c != ':')
			return unsupported(a, "a group with flags");
		a->p++;
	}
	if (++a->nesting > NESTING_MAX)
		return hth_fail(a->err, HTH_TOO_LARGE, "pattern: groups are nested over %d deep", NESTING_MAX);
	HTH_TRY(parse_alternatives(a, ret));
	if (peek(a) != ')')
		return invalid(a, "a group has no closing parenthesis");
	a->p++;
	a->nesting--;
	return HTH_OK;
}

static hth_status parse_atom(struct nfa *a, part *ret)
{
	size_t first = a->n_ranges;
	uint32_t cp;
	char c = *a->p;
	if (c == '(') {
		a->p++;
		return parse_group(a, ret);
	}
	if (c == '^' || c == '$') {
		a->p++;
		HTH_TRY(add_place(a, c == '^' ? BEGIN : END, &ret->start));
		HTH_TRY(add_place(a, ON, &ret->end));
		a->places[ret->start].out[0] = ret->end;
		return HTH_OK;
	}
	if (c == '[') {
		a->p++;
		HTH_TRY(parse_class(a));
		return close_chars(a, first, ret);
	}
	if (c == '.') {
		a->p++;
		HTH_TRY(add_known(a, newline, HTH_COUNT(newline), true));
		return close_chars(a, first, ret);
	}
	if (c == '*' || c == '+' || c == '?')
		return invalid(a, "nothing stands before a repetition");
	if (c == '\\') {
		bool is_class;
		a->p++;
		HTH_TRY(escape(a, false, &is_class, &cp));
		if (is_class)
			HTH_TRY(tidy(a, first, false));
		else
			HTH_TRY(add_range(a, cp, cp));
		return close_chars(a, first, ret);
	}
	HTH_TRY(one_char(a, &cp));
	HTH_TRY(add_range(a, cp, cp));
	return close_chars(a, first, ret);
}

static bool parse_number(struct nfa *a, int *ret)
{
	const char *begin = a->p;
	int v = 0;
	while (peek(a) >= '0' && peek(a) <= '9') {
		v = v > REPEAT_MAX ? v : v * 10 + (*a->p - '0');
		a->p++;
	}
	*ret = v;
	return a->p > begin;
}

/* A repetition after an atom. A brace that begins none is a character. */
static bool parse_repetition(struct nfa *a, int *min, int *max)
{
	const char *begin = a->p;
	char c = peek(a);
	if (c == '*' || c == '+' || c == '?') {
		a->p++;
		*min = c == '+';
		*max = c == '?' ? 1 : FOREVER;
	} else if (c == '{') {
		a->p++;
		bool ok = parse_number(a, min);
		*max = *min;
		if (ok && peek(a) == ',') {
			a->p++;
			if (!parse_number(a, max))
				*max = FOREVER;
		}
		if (!ok || peek(a) != '}') {
			a->p = begin;
			return false;
		}
		a->p++;
	} else {
		return false;
	}
	if (peek(a) == '?')
		a->p++; /* lazy: the same language */
	return true;
}

static hth_status again(struct nfa *a, const char *text, part *ret)
{
	const char *after = a->p;
	a->p = text;
	HTH_TRY(parse_atom(a, ret));
	a->p = after;
	return HTH_OK;
}

static hth_status repeat(struct nfa *a, const char *text, part atom, int min, int max, part *ret)
{
	if (min > REPEAT_MAX || max > REPEAT_MAX)
		return hth_fail(a->err, HTH_TOO_LARGE, "pattern: a repetition is over %d", REPEAT_MAX);
	if (max != FOREVER && max < min)
		return invalid(a, "a repetition's bounds are the wrong way round");
	HTH_TRY(add_place(a, ON, &ret->start));
	uint32_t at = ret->start;
	bool fresh = true;
	for (int i = 0; i < min; i++) {
		if (!fresh)
			HTH_TRY(again(a, text, &atom));
		fresh = false;
		a->places[at].out[0] = atom.start;
		at = atom.end;
	}
	HTH_TRY(add_place(a, ON, &ret->end));
	if (max == FOREVER) {
		uint32_t head;
		if (!fresh)
			HTH_TRY(again(a, text, &atom));
		HTH_TRY(add_place(a, ON, &head));
		a->places[at].out[0] = head;
		a->places[head].out[0] = atom.start;
		a->places[head].out[1] = ret->end;
		a->places[atom.end].out[0] = head;
		return HTH_OK;
	}
	for (int i = min; i < max; i++) {
		if (!fresh)
			HTH_TRY(again(a, text, &atom));
		fresh = false;
		a->places[at].out[0] = atom.start;
		a->places[at].out[1] = ret->end;
		at = atom.end;
	}
	a->places[at].out[0] = ret->end;
	return HTH_OK;
}

static hth_status parse_sequence(struct nfa *a, part *ret)
{
	HTH_TRY(add_place(a, ON, &ret->start));
	ret->end = ret->start;
	while (more(a) && *a->p != '|' && *a->p != ')') {
		const char *text = a->p;
		part atom, whole;
		int min, max;
		unsigned nesting = a->nesting;
		HTH_TRY(parse_atom(a, &atom));
		whole = atom;
		if (parse_repetition(a, &min, &max))
			HTH_TRY(repeat(a, text, atom, min, max, &whole));
		a->nesting = nesting;
		a->places[ret->end].out[0] = whole.start;
		ret->end = whole.end;
	}
	return HTH_OK;
}

static hth_status parse_alternatives(struct nfa *a, part *ret)
{
	HTH_TRY(parse_sequence(a, ret));
	while (peek(a) == '|') {
		part other;
		uint32_t fork, join;
		a->p++;
		HTH_TRY(parse_sequence(a, &other));
		HTH_TRY(add_place(a, ON, &fork));
		HTH_TRY(add_place(a, ON, &join));
		a->places[fork].out[0] = ret->start;
		a->places[fork].out[1] = other.start;
		a->places[ret->end].out[0] = join;
		a->places[other.end].out[0] = join;
		*ret = (part){fork, join};
	}
	return HTH_OK;
}

/* Sets of places, each once, as the states of the deterministic automaton. */
struct sets {
	const struct nfa *a;
	uint32_t *pool; /* the sets' places, one after the other */
	size_t n_pool, pool_cap;
	uint32_t *first; /* by set: n + 1 */
	uint32_t *slots;
	size_t n, n_slots;
	uint32_t *stack, *list; /* scratch: places */
	size_t n_list;
	uint32_t *mark, stamp;
	bool any; /* whatever precedes or follows: the pattern is looked for anywhere */
	uint32_t match;
	uint32_t *hashes; /* of the sets, as first: they are put into larger slots by them */
	size_t cap;       /* of first and hashes */
};

static void reach(struct sets *s, uint32_t from, bool at_begin, bool at_end)
{
	size_t depth = 0;
	s->stack[depth++] = from;
	while (depth > 0) {
		uint32_t i = s->stack[--depth];
		const place *p = &s->a->places[i];
		if (s->mark[i] == s->stamp)
			continue;
		s->mark[i] = s->stamp;
		if (p->kind == CHARS || p->kind == MATCH || p->kind == END)
			s->list[s->n_list++] = i;
		if (p->kind == CHARS || p->kind == MATCH || (p->kind == BEGIN && !at_begin) ||
		    (p->kind == END && !at_end))
			continue;
		for (int k = 0; k < 2; k++)
			if (p->out[k] != UINT32_MAX && s->mark[p->out[k]] != s->stamp)
				s->stack[depth++] = p->out[k];
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x, y;
	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

/* Room for one more set. Most patterns have few: tables for the most there may be would cost more than the pattern. */
static bool make_room(struct sets *s)
{
	if (s->n + 2 > s->cap) {
		size_t cap = s->cap > 0 ? s->cap * 2 : 64;
		uint32_t *first = realloc(s->first, cap * sizeof *first);
		if (first != NULL)
			s->first = first;
		uint32_t *hashes = realloc(s->hashes, cap * sizeof *hashes);
		if (hashes != NULL)
			s->hashes = hashes;
		if (first == NULL || hashes == NULL)
			return false;
		s->cap = cap;
	}
	if (2 * (s->n + 1) <= s->n_slots)
		return true;
	size_t n = s->n_slots > 0 ? s->n_slots * 2 : 128;
	uint32_t *slots = hth_alloc_array(n, sizeof *slots);
	if (slots == NULL)
		return false;
	for (uint32_t k = 1; k < s->n; k++) { /* the first is never looked for */
		size_t slot = s->hashes[k] & (n - 1);
		while (slots[slot] != 0)
			slot = (slot + 1) & (n - 1);
		slots[slot] = k + 1;
	}
	free(s->slots);
	s->slots = slots;
	s->n_slots = n;
	return true;
}

/* The number of the set in list; UINT32_MAX: no room. */
static uint32_t find_set(struct sets *s)
{
	if (!make_room(s))
		return UINT32_MAX;
	for (size_t i = 0; i < s->n_list; i++)
		if (s->list[i] == s->match) {
			s->list[0] = s->match; /* matched: nothing else matters any more */
			s->n_list = 1;
			break;
		}
	if (s->n_list > 1)
		qsort(s->list, s->n_list, sizeof *s->list, compare_u32);
	uint64_t h = s->n_list;
	for (size_t i = 0; i < s->n_list; i++)
		h = (h ^ s->list[i]) * 0x100000001B3u ^ h >> 29;
	uint32_t hash = (uint32_t)(h ^ h >> 32);
	size_t slot = hash & (s->n_slots - 1);
	for (; s->slots[slot] != 0; slot = (slot + 1) & (s->n_slots - 1)) {
		uint32_t k = s->slots[slot] - 1;
		if (s->first[k + 1] - s->first[k] == s->n_list &&
		    memcmp(s->pool + s->first[k], s->list, s->n_list * sizeof *s->list) == 0)
			return k;
	}
	if (s->n >= HTH_LANG_STATES_MAX || s->n_pool + s->n_list > (size_t)1 << 24)
		return UINT32_MAX;
	if (s->n_pool + s->n_list > s->pool_cap) {
		size_t cap = HTH_MAX(s->pool_cap * 2, s->n_pool + s->n_list + 256);
		uint32_t *more_pool = realloc(s->pool, cap * sizeof *more_pool);
		if (more_pool == NULL)
			return UINT32_MAX;
		s->pool = more_pool;
		s->pool_cap = cap;
	}
	if (s->n_list > 0)
		memcpy(s->pool + s->n_pool, s->list, s->n_list * sizeof *s->list);
	s->n_pool += s->n_list;
	s->slots[slot] = (uint32_t)s->n + 1;
	s->first[s->n + 1] = (uint32_t)s->n_pool;
	s->hashes[s->n] = hash;
	return (uint32_t)s->n++;
}

/* Whether a text that ends in set k is matched: now, or by a $ that may follow. */
static bool set_accepts(struct sets *s, uint32_t k, bool at_begin)
{
	s->stamp++;
	s->n_list = 0;
	for (uint32_t i = s->first[k]; i < s->first[k + 1]; i++)
		reach(s, s->pool[i], at_begin, true);
	for (size_t i = 0; i < s->n_list; i++)
		if (s->list[i] == s->match)
			return true;
	return false;
}

/* All steps of set k, in order. */
static bool set_steps(struct sets *s, uint32_t k, uint32_t start, hth_lang *out)
{
	const struct nfa *a = s->a;
	bool matched = s->first[k + 1] - s->first[k] == 1 && s->pool[s->first[k]] == s->match;
	if (matched)
		return hth_lang_add_step(out, 0, LAST, k);
	for (uint32_t lo = 0; lo <= LAST;) {
		uint32_t hi = LAST;
		s->stamp++;
		s->n_list = 0;
		for (uint32_t i = s->first[k]; i < s->first[k + 1]; i++) {
			const place *p = &a->places[s->pool[i]];
			if (p->kind != CHARS)
				continue;
			for (uint32_t r = p->first; r < p->first + p->n; r++) {
				if (a->ranges[r].hi < lo)
					continue;
				if (a->ranges[r].lo > lo) {
					hi = HTH_MIN(hi, a->ranges[r].lo - 1);
				} else {
					hi = HTH_MIN(hi, a->ranges[r].hi);
					reach(s, p->out[0], false, false);
				}
				break;
			}
		}
		reach(s, start, false, false); /* the match may begin here just as well */
		uint32_t to = find_set(s);
		if (to == UINT32_MAX || !hth_lang_add_step(out, lo, hi, to))
			return false;
		lo = hi + 1;
	}
	return true;
}

static hth_status determine(struct nfa *a, uint32_t start, uint32_t match, hth_lang *ret)
{
	struct sets s = {.a = a, .match = match};
	hth_lang out = {0};
	s.stack = hth_alloc_array(2 * a->n + 2, sizeof *s.stack);
	s.list = hth_alloc_array(a->n + 1, sizeof *s.list);
	s.mark = hth_alloc_array(a->n, sizeof *s.mark);
	s.pool_cap = a->n + 256;
	s.pool = hth_alloc_array(s.pool_cap, sizeof *s.pool);
	bool ok = make_room(&s) && s.stack && s.list && s.mark && s.pool;
	hth_status status = HTH_OK;
	if (!ok) {
		status = hth_fail(a->err, HTH_NO_MEMORY, "no memory for a pattern");
	} else {
		/* The first set is alone in knowing that it stands at the beginning: it may pass ^. */
		s.stamp++;
		reach(&s, start, true, false);
		bool matched = false;
		for (size_t i = 0; i < s.n_list; i++)
			matched |= s.list[i] == match;
		if (matched) {
			ok = hth_lang_add_state(&out, true) && hth_lang_add_step(&out, 0, LAST, 0);
		} else {
			if (s.n_list > 0)
				memcpy(s.pool, s.list, s.n_list * sizeof *s.pool);
			s.n_pool = s.n_list;
			s.first[0] = 0;
			s.first[1] = (uint32_t)s.n_pool;
			s.n = 1;
			for (uint32_t k = 0; k < s.n && ok; k++)
				ok = hth_lang_add_state(&out, set_accepts(&s, k, k == 0)) &&
				     set_steps(&s, k, start, &out);
		}
		status = ok ? hth_lang_trim(&out, a->err) : hth_lang_too_large(a->err);
	}
	free(s.first);
	free(s.hashes);
	free(s.slots);
	free(s.stack);
	free(s.list);
	free(s.mark);
	free(s.pool);
	if (status != HTH_OK)
		hth_lang_finish(&out);
	else
		*ret = out;
	return status;
}

hth_status hth_lang_pattern(hth_lang *ret_lang, const char *pattern, size_t len, hth_error *err)
{
	struct nfa a = {.p = pattern, .end = pattern + len, .err = err};
	part whole;
	uint32_t match;
	hth_status status = parse_alternatives(&a, &whole);
	if (status == HTH_OK && more(&a))
		status = invalid(&a, "a parenthesis closes nothing");
	if (status == HTH_OK)
		status = add_place(&a, MATCH, &match);
	if (status == HTH_OK) {
		a.places[whole.end].out[0] = match;
		status = determine(&a, whole.start, match, ret_lang);
	}
	free(a.places);
	free(a.ranges);
	return status;
}
