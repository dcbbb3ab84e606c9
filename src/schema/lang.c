/* lang.c - automata and their combinations by pairs of states. */
#include "schema/lang.h"

#include "base/mem.h"
#include "base/utf8.h"

enum { STEPS_MAX = 1 << 22, LAST_CHAR = 0x10FFFF };

void hth_lang_finish(hth_lang *l)
{
	free(l->states);
	free(l->steps);
	*l = (hth_lang){0};
}

hth_status hth_lang_too_large(hth_error *err)
{
	return hth_fail(err, HTH_TOO_LARGE, "a pattern, list or length makes an automaton of over %d states",
	                HTH_LANG_STATES_MAX);
}

bool hth_lang_add_state(hth_lang *l, bool accepts)
{
	if (l->n_states >= HTH_LANG_STATES_MAX)
		return false;
	if (l->n_states == l->state_cap) {
		size_t cap = l->state_cap ? l->state_cap * 2 : 32;
		hth_lang_state *p = realloc(l->states, cap * sizeof *p);
		if (p == NULL)
			return false;
		l->states = p;
		l->state_cap = cap;
	}
	l->states[l->n_states++] = (hth_lang_state){(uint32_t)l->n_steps, 0, accepts};
	return true;
}

bool hth_lang_add_step(hth_lang *l, uint32_t lo, uint32_t hi, uint32_t to)
{
	hth_lang_state *s = &l->states[l->n_states - 1];
	/* Neighbours that lead to one place are one step. */
	if (s->n > 0 && l->steps[l->n_steps - 1].to == to && l->steps[l->n_steps - 1].hi + 1 == lo) {
		l->steps[l->n_steps - 1].hi = hi;
		return true;
	}
	if (l->n_steps >= STEPS_MAX)
		return false;
	if (l->n_steps == l->step_cap) {
		size_t cap = l->step_cap ? l->step_cap * 2 : 64;
		hth_lang_step *p = realloc(l->steps, cap * sizeof *p);
		if (p == NULL)
			return false;
		l->steps = p;
		l->step_cap = cap;
	}
	l->steps[l->n_steps++] = (hth_lang_step){lo, hi, to};
	s->n++;
	return true;
}

bool hth_lang_is_empty(const hth_lang *l)
{
	return l->n_states == 0 || (l->n_states == 1 && !l->states[0].accepts && l->states[0].n == 0);
}

static uint32_t step(const hth_lang *l, uint32_t state, uint32_t cp)
{
	const hth_lang_state *s = &l->states[state];
	for (uint32_t i = 0; i < s->n; i++) {
		const hth_lang_step *t = &l->steps[s->first + i];
		if (cp >= t->lo && cp <= t->hi)
			return t->to;
	}
	return UINT32_MAX;
}

bool hth_lang_matches(const hth_lang *l, const char *text, size_t len)
{
	uint32_t state = 0;
	if (l->n_states == 0)
		return false;
	for (size_t i = 0; i < len && state != UINT32_MAX;) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(text + i, len - i, &cp);
		state = step(l, state, cp);
	}
	return state != UINT32_MAX && l->states[state].accepts;
}

hth_status hth_lang_trim(hth_lang *l, hth_error *err)
{
	size_t n = l->n_states;
	HTH_AUTO_FREE uint32_t *map = hth_alloc_array(n, sizeof *map);
	HTH_AUTO_FREE uint32_t *queue = hth_alloc_array(n, sizeof *queue);
	HTH_AUTO_FREE uint32_t *first = hth_alloc_array(n + 1, sizeof *first);
	HTH_AUTO_FREE uint32_t *from = hth_alloc_array(l->n_steps, sizeof *from);
	HTH_AUTO_FREE bool *useful = hth_alloc_array(n, 1);
	if (map == NULL || queue == NULL || first == NULL || from == NULL || useful == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for an automaton of %zu states", n);
	/* Backwards from accepting states. */
	for (size_t i = 0; i < l->n_steps; i++)
		first[l->steps[i].to + 1]++;
	for (size_t i = 0; i < n; i++)
		first[i + 1] += first[i];
	for (size_t s = 0; s < n; s++)
		map[s] = first[s];
	for (size_t s = 0; s < n; s++)
		for (uint32_t i = 0; i < l->states[s].n; i++)
			from[map[l->steps[l->states[s].first + i].to]++] = (uint32_t)s;
	size_t head = 0, tail = 0;
	for (size_t s = 0; s < n; s++)
		if (l->states[s].accepts) {
			useful[s] = true;
			queue[tail++] = (uint32_t)s;
		}
	while (head < tail) {
		uint32_t s = queue[head++];
		for (uint32_t i = first[s]; i < first[s + 1]; i++)
			if (!useful[from[i]]) {
				useful[from[i]] = true;
				queue[tail++] = from[i];
			}
	}
	/* Forwards from the beginning over useful states, which gives them their new numbers. */
	hth_lang out = {0};
	memset(map, 0xFF, n * sizeof *map);
	head = tail = 0;
	queue[tail++] = 0;
	map[0] = 0;
	bool ok = true;
	while (head < tail && ok) {
		const hth_lang_state *s = &l->states[queue[head++]];
		ok = hth_lang_add_state(&out, s->accepts);
		for (uint32_t i = 0; i < s->n && ok; i++) {
			hth_lang_step t = l->steps[s->first + i];
			if (!useful[t.to])
				continue;
			if (map[t.to] == UINT32_MAX) {
				map[t.to] = (uint32_t)tail;
				queue[tail++] = t.to;
			}
			ok = hth_lang_add_step(&out, t.lo, t.hi, map[t.to]);
		}
	}
	hth_lang_finish(l);
	*l = out;
	return ok ? HTH_OK : hth_lang_too_large(err);
}

hth_status hth_lang_all(hth_lang *ret, hth_error *err)
{
	*ret = (hth_lang){0};
	if (!hth_lang_add_state(ret, true) || !hth_lang_add_step(ret, 0, LAST_CHAR, 0))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for an automaton");
	return HTH_OK;
}

/* Pairs of states of two automata; b's may be NONE, "fell out of b". */
enum { NONE = UINT32_MAX };
struct pairs {
	struct pair {
		uint32_t a, b;
	} * list;
	uint32_t *slots;
	size_t n, cap, n_slots;
};

static uint32_t find_pair(struct pairs *p, uint32_t a, uint32_t b)
{
	if (p->n * 2 >= p->n_slots) {
		size_t n = p->n_slots ? p->n_slots * 2 : 256;
		uint32_t *slots = hth_alloc_array(n, sizeof *slots);
		struct pair *list = realloc(p->list, n * sizeof *list);
		if (list != NULL)
			p->list = list;
		if (slots == NULL || list == NULL) {
			free(slots);
			return NONE;
		}
		for (size_t i = 0; i < p->n; i++) {
			size_t k = (p->list[i].a * 0x9E3779B1u ^ p->list[i].b * 0x85EBCA77u) & (n - 1);
			while (slots[k] != 0)
				k = (k + 1) & (n - 1);
			slots[k] = (uint32_t)i + 1;
		}
		free(p->slots);
		p->slots = slots;
		p->n_slots = n;
	}
	size_t k = (a * 0x9E3779B1u ^ b * 0x85EBCA77u) & (p->n_slots - 1);
	for (; p->slots[k] != 0; k = (k + 1) & (p->n_slots - 1))
		if (p->list[p->slots[k] - 1].a == a && p->list[p->slots[k] - 1].b == b)
			return p->slots[k] - 1;
	if (p->n >= HTH_LANG_STATES_MAX)
		return NONE;
	p->list[p->n] = (struct pair){a, b};
	p->slots[k] = (uint32_t)p->n + 1;
	return (uint32_t)p->n++;
}

/* How many steps lead out of a state. No list of steps: none out of any. */
static uint32_t n_steps(const hth_lang *l, uint32_t state)
{
	return l->steps != NULL ? l->states[state].n : 0;
}

/* The steps of one pair: a's, cut where b's begin and end. */
static bool pair_steps(hth_lang *out, struct pairs *p, const hth_lang *a, const hth_lang *b, struct pair at,
                       bool negate_b)
{
	const hth_lang_state *s = &a->states[at.a];
	for (uint32_t i = 0; i < n_steps(a, at.a); i++) {
		hth_lang_step t = a->steps[s->first + i];
		uint32_t lo = t.lo;
		while (lo <= t.hi) {
			uint32_t hi = t.hi, to_b = NONE;
			for (uint32_t k = 0; at.b != NONE && k < n_steps(b, at.b); k++) {
				hth_lang_step u = b->steps[b->states[at.b].first + k];
				if (u.hi < lo)
					continue;
				if (u.lo > lo) {
					hi = HTH_MIN(hi, u.lo - 1);
				} else {
					hi = HTH_MIN(hi, u.hi);
					to_b = u.to;
				}
				break;
			}
			if (to_b != NONE || negate_b) {
				uint32_t to = find_pair(p, t.to, to_b);
				if (to == NONE || !hth_lang_add_step(out, lo, hi, to))
					return false;
			}
			lo = hi + 1;
		}
	}
	return true;
}

hth_status hth_lang_both(hth_lang *ret, const hth_lang *a, const hth_lang *b, bool negate_b, hth_error *err)
{
	static hth_lang_state dead_state;
	static const hth_lang none = {.states = &dead_state, .n_states = 1};
	struct pairs p = {0};
	hth_lang out = {0};
	a = a->n_states > 0 ? a : &none;
	b = b->n_states > 0 ? b : &none;
	bool ok = find_pair(&p, 0, 0) == 0;
	for (size_t i = 0; i < p.n && ok; i++) {
		struct pair at = p.list[i];
		bool in_b = at.b != NONE && b->states[at.b].accepts;
		ok = hth_lang_add_state(&out, a->states[at.a].accepts && in_b != negate_b) &&
		     pair_steps(&out, &p, a, b, at, negate_b);
	}
	free(p.list);
	free(p.slots);
	hth_status status = ok ? hth_lang_trim(&out, err) : hth_lang_too_large(err);
	if (status != HTH_OK)
		hth_lang_finish(&out);
	else
		*ret = out;
	return status;
}

hth_status hth_lang_bounded(hth_lang *ret, const hth_lang *lang, int32_t min, int32_t max, hth_error *err)
{
	/* Pairs of a state and a count that stops where it no longer matters. */
	uint32_t most = max == HTH_LANG_FOREVER ? (uint32_t)min : (uint32_t)max;
	struct pairs p = {0};
	hth_lang out = {0};
	bool ok = find_pair(&p, 0, 0) == 0;
	for (size_t i = 0; i < p.n && ok; i++) {
		struct pair at = p.list[i];
		const hth_lang_state *s = &lang->states[at.a];
		ok = hth_lang_add_state(&out, s->accepts && at.b >= (uint32_t)min);
		bool more = max == HTH_LANG_FOREVER || at.b < most;
		for (uint32_t k = 0; k < s->n && ok && more; k++) {
			hth_lang_step t = lang->steps[s->first + k];
			uint32_t to = find_pair(&p, t.to, HTH_MIN(at.b + 1, most));
			ok = to != NONE && hth_lang_add_step(&out, t.lo, t.hi, to);
		}
	}
	free(p.list);
	free(p.slots);
	hth_status status = ok ? hth_lang_trim(&out, err) : hth_lang_too_large(err);
	if (status != HTH_OK)
		hth_lang_finish(&out);
	else
		*ret = out;
	return status;
}

struct suffix { /* a string from some place on */
	const char *p;
};

static int compare_suffixes(const void *a, const void *b)
{
	return strcmp(((const struct suffix *)a)->p, ((const struct suffix *)b)->p);
}

hth_status hth_lang_strings(hth_lang *ret, const char *const *strings, size_t n, hth_error *err)
{
	/* Level by level over sorted strings: a state is a range of them with a common beginning. */
	HTH_AUTO_FREE struct suffix *s = hth_alloc_array(n, sizeof *s);
	size_t most = 1; /* states: no more than beginnings of strings */
	for (size_t i = 0; i < n && most < HTH_LANG_STATES_MAX; i++)
		most += strlen(strings[i]);
	most = HTH_MIN(most, (size_t)HTH_LANG_STATES_MAX);
	HTH_AUTO_FREE struct pair *ranges = hth_alloc_array(most, sizeof *ranges);
	HTH_AUTO_FREE uint32_t *depths = hth_alloc_array(most, sizeof *depths);
	hth_lang out = {0};
	if (s == NULL || ranges == NULL || depths == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a list of %zu strings", n);
	for (size_t i = 0; i < n; i++)
		s[i].p = strings[i];
	if (n > 1)
		qsort(s, n, sizeof *s, compare_suffixes);
	size_t used = 1;
	ranges[0] = (struct pair){0, (uint32_t)n};
	for (size_t i = 0; i < used; i++) {
		uint32_t at = ranges[i].a, end = ranges[i].b, depth = depths[i];
		bool accepts = at < end && s[at].p[depth] == '\0';
		while (at < end && s[at].p[depth] == '\0')
			at++;
		bool ok = hth_lang_add_state(&out, accepts);
		while (at < end && ok) {
			uint32_t cp, other, to = at + 1;
			size_t len = hth_utf8_decode_lossy(s[at].p + depth, strlen(s[at].p + depth), &cp);
			while (to < end && s[to].p[depth] != '\0' &&
			       (hth_utf8_decode_lossy(s[to].p + depth, strlen(s[to].p + depth), &other), other == cp))
				to++;
			ok = used < most && hth_lang_add_step(&out, cp, cp, (uint32_t)used);
			if (ok) {
				depths[used] = depth + (uint32_t)len;
				ranges[used++] = (struct pair){at, to};
			}
			at = to;
		}
		if (!ok) {
			hth_lang_finish(&out);
			return hth_lang_too_large(err);
		}
	}
	*ret = out;
	return HTH_OK;
}

hth_status hth_lang_multiples(hth_lang *ret, uint32_t k, hth_error *err)
{
	hth_lang out = {0};
	/* 0: the beginning, 1: "0", 2 + r: a number whose remainder is r. */
	bool ok =
	    k + 2 < HTH_LANG_STATES_MAX && hth_lang_add_state(&out, false) && hth_lang_add_step(&out, '0', '0', 1);
	for (uint32_t d = 1; d < 10 && ok; d++)
		ok = hth_lang_add_step(&out, '0' + d, '0' + d, 2 + d % k);
	ok = ok && hth_lang_add_state(&out, true);
	for (uint32_t r = 0; r < k && ok; r++) {
		ok = hth_lang_add_state(&out, r == 0);
		for (uint32_t d = 0; d < 10 && ok; d++)
			ok = hth_lang_add_step(&out, '0' + d, '0' + d, 2 + (r * 10 + d) % k);
	}
	hth_status status = ok ? hth_lang_trim(&out, err) : hth_lang_too_large(err);
	if (status != HTH_OK)
		hth_lang_finish(&out);
	else
		*ret = out;
	return status;
}

static void emit_char(uint32_t cp, hth_buf *out)
{
	if (cp == '\\' || cp == ']' || cp == '[' || cp == '^' || cp == '-' || cp == '"')
		hth_buf_appendf(out, "\\x%02X", cp);
	else if (cp >= 0x20 && cp < 0x7F)
		hth_buf_append_char(out, (char)cp);
	else if (cp < 0x10000)
		hth_buf_appendf(out, "\\u%04X", cp);
	else
		hth_buf_appendf(out, "\\U%08X", cp);
}

static void emit_range(uint32_t lo, uint32_t hi, hth_buf *out)
{
	emit_char(lo, out);
	if (hi > lo) {
		hth_buf_append_char(out, '-');
		emit_char(hi, out);
	}
}

/* The part of [lo, hi] that stands in a JSON string as it is: all but control characters, quote and backslash. */
static void emit_unescaped(uint32_t lo, uint32_t hi, hth_buf *out)
{
	static const uint32_t holes[][2] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
	for (size_t i = 0; i < 3 && lo <= hi; i++) {
		if (hi < holes[i][0])
			break;
		if (lo > holes[i][1])
			continue;
		if (lo < holes[i][0])
			emit_range(lo, holes[i][0] - 1, out);
		lo = holes[i][1] + 1;
	}
	if (lo <= hi)
		emit_range(lo, hi, out);
}

/* Characters that JSON wants escaped; U+0000 is left out, because programs cut texts there. */
static void emit_escaped(const bool *escaped, hth_buf *out, bool *ret_any)
{
	bool all = true;
	for (unsigned c = 1; c < 128; c++)
		all = all && (escaped[c] || (c >= 0x20 && c != '"' && c != '\\'));
	if (all) {
		hth_buf_append_str(out, HTH_LANG_ESCAPE);
		*ret_any = true;
		return;
	}
	static const char shorts[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
	                                 {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
	bool any_short = false;
	*ret_any = false;
	for (size_t i = 0; i < HTH_COUNT(shorts); i++)
		if (escaped[(uint8_t)shorts[i][0]]) {
			if (!any_short)
				hth_buf_append_str(out, "\"\\\\\" [");
			any_short = true;
			emit_char((uint8_t)shorts[i][1], out);
		}
	if (any_short)
		hth_buf_append_str(out, "]");
	*ret_any = any_short;
	for (unsigned c = 1; c < 0x20; c++) {
		if (!escaped[c] || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
			continue;
		hth_buf_appendf(out, "%s\"\\\\u00%02x\"", *ret_any ? " | " : "", c);
		*ret_any = true;
	}
}

/* A rule's name. Thousands of them are written for one schema: printf would be most of the work. */
static void emit_name(const char *prefix, size_t number, hth_buf *out)
{
	char digits[24];
	size_t at = sizeof digits;
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	hth_buf_append_str(out, prefix);
	hth_buf_append(out, digits + at, sizeof digits - at);
}

static void emit_states(const hth_lang *l, const char *prefix, bool json, hth_buf *out)
{
	for (size_t s = 0; s < l->n_states; s++) {
		const hth_lang_state *state = &l->states[s];
		const char *bar = "";
		emit_name(prefix, s, out);
		hth_buf_append_str(out, " ::= ");
		if (state->accepts) {
			hth_buf_append_str(out, json ? "\"\\\"\"" : "\"\"");
			bar = " | ";
		}
		for (uint32_t i = 0; i < state->n; i++) {
			uint32_t to = l->steps[state->first + i].to;
			bool done = false, escaped[128], some_escaped = false, plain = false;
			for (uint32_t k = 0; k < i; k++)
				done |= l->steps[state->first + k].to == to;
			if (done)
				continue;
			/* All steps to one place together: those as they are in one class, then those that are escaped.
			 */
			size_t before = out->len;
			hth_buf_append_str(out, bar);
			hth_buf_append_char(out, '[');
			for (uint32_t k = i; k < state->n; k++) {
				hth_lang_step t = l->steps[state->first + k];
				if (t.to != to)
					continue;
				size_t len = out->len;
				if (json)
					emit_unescaped(t.lo, t.hi, out);
				else
					emit_range(t.lo, t.hi, out);
				plain |= out->len > len;
				for (uint32_t c = t.lo; json && c <= t.hi && c <= '\\'; c++) {
					if (c >= 0x20 && c != '"' && c != '\\')
						continue;
					if (!some_escaped)
						memset(escaped, 0, sizeof escaped);
					some_escaped = escaped[c] = true;
				}
			}
			if (plain) {
				hth_buf_append_str(out, "] ");
				emit_name(prefix, to, out);
				bar = " | ";
			} else if (!out->failed) {
				out->len = before;
			}
			if (!some_escaped)
				continue;
			before = out->len;
			bool any;
			hth_buf_append_str(out, bar);
			hth_buf_append_char(out, '(');
			emit_escaped(escaped, out, &any);
			if (any) {
				hth_buf_append_str(out, ") ");
				emit_name(prefix, to, out);
				bar = " | ";
			} else if (!out->failed) {
				out->len = before;
			}
		}
		/* Nothing at all would read as "nothing is needed". */
		hth_buf_append_str(out, *bar == '\0' ? "[]\n" : "\n");
	}
}

void hth_lang_emit_string(const hth_lang *l, const char *prefix, hth_buf *out)
{
	emit_states(l, prefix, true, out);
}
void hth_lang_emit_raw(const hth_lang *l, const char *prefix, hth_buf *out)
{
	emit_states(l, prefix, false, out);
}
