/* jinja-methods.c - the methods of strings, lists, dicts and the rest that templates may call: those that change nothing.
 *
 * Strings behave as Python's, character by character and not byte by byte; every result keeps the marks of the bytes it was made
 * from. What would change a list or dict is known by name only, so that calling it can be refused clearly.
 */
#include "engine/jinja/jinja-run.h"
#include "engine/jinja/jinja-unicode.h"

#include "base/mem.h"
#include "base/utf8.h"

enum { PAD_MAX = 1000000 };

bool hth_jj_arg_int(jj_run *r, jv *v, const char *what, int64_t *ret)
{
	if (v == NULL || v->kind == JJ_NONE)
		return true;
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (!hth_jj_as_int(v, ret))
		return hth_jj_fail(r, "'%s' must be an integer, not '%s'", what, hth_jj_type_name(v));
	return true;
}

jv *hth_jj_need_str(jj_run *r, jv *v, const char *what)
{
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (v->kind != JJ_STRING)
		return hth_jj_fail(r, "'%s' must be a string, not '%s'", what, hth_jj_type_name(v));
	return v;
}

bool hth_jj_arg_str(jj_run *r, jv *v, const char *what, jv **ret)
{
	if (v == NULL)
		return true;
	if (hth_jj_need_str(r, v, what) == NULL)
		return false;
	*ret = v;
	return true;
}

/* The builder's string, with the original's markup. */
static jv *done_like(jj_builder *b, jv *s)
{
	hth_jinja_value *v = (hth_jinja_value *)hth_jj_done(b);
	if (v != NULL)
		v->markup = s->markup;
	return v;
}

static uint32_t char_before(jv *s, size_t at, size_t *ret_start)
{
	size_t start = at - 1;
	uint32_t cp;
	while (start > 0 && at - start < 4 && ((unsigned char)s->s.data[start] & 0xC0) == 0x80)
		start--;
	if (start + hth_utf8_decode_lossy(s->s.data + start, at - start, &cp) != at) {
		start = at - 1;
		cp = 0xFFFD;
	}
	*ret_start = start;
	return cp;
}

static bool in_chars(jv *chars, uint32_t cp)
{
	if (chars == NULL)
		return hth_uni_is(cp, HTH_UNI_SPACE);
	for (size_t i = 0; i < chars->s.len;) {
		uint32_t c;
		i += hth_utf8_decode_lossy(chars->s.data + i, chars->s.len - i, &c);
		if (c == cp)
			return true;
	}
	return false;
}

jv *hth_jj_strip(jj_run *r, jv *s, jv *chars, int sides)
{
	size_t begin = 0, end = s->s.len;
	uint32_t cp;
	uint64_t cost = chars ? 1 + chars->s.len / 16 : 0; /* of looking at one character */
	while ((sides & 1) && begin < end) {
		size_t n = hth_utf8_decode_lossy(s->s.data + begin, end - begin, &cp);
		if (!hth_jj_charge(r, cost))
			return NULL;
		if (!in_chars(chars, cp))
			break;
		begin += n;
	}
	while ((sides & 2) && end > begin) {
		size_t start;
		cp = char_before(s, end, &start);
		if (!hth_jj_charge(r, cost))
			return NULL;
		if (!in_chars(chars, cp))
			break;
		end = start;
	}
	return hth_jj_slice(r->arena, s, begin, end);
}

jv *hth_jj_replace(jj_run *r, jv *s, jv *old, jv *with, int64_t count)
{
	jj_builder b = hth_jj_builder(r->arena);
	if (!hth_jj_charge_bytes(r, s->s.len))
		return NULL;
	size_t at = 0;
	if (count < 0)
		count = INT64_MAX;
	if (old->s.len == 0) {
		/* Between all characters, and at both ends. */
		while (count-- > 0) {
			if (!hth_jj_charge(r, 1) || !hth_jj_put_str(&b, with))
				return NULL;
			if (at >= s->s.len)
				break;
			uint32_t cp;
			size_t n = hth_utf8_decode_lossy(s->s.data + at, s->s.len - at, &cp);
			if (!hth_jj_put_slice(&b, s, at, at + n))
				return NULL;
			at += n;
		}
		hth_jj_put_slice(&b, s, at, s->s.len);
		return done_like(&b, s);
	}
	size_t found = count > 0 ? hth_jj_find(s, old, 0) : SIZE_MAX;
	if (found == SIZE_MAX)
		return s;
	while (found != SIZE_MAX && count-- > 0) {
		if (!hth_jj_charge(r, 1) || !hth_jj_put_slice(&b, s, at, found) || !hth_jj_put_str(&b, with))
			return NULL;
		at = found + old->s.len;
		found = hth_jj_find(s, old, at);
	}
	hth_jj_put_slice(&b, s, at, s->s.len);
	return done_like(&b, s);
}

static bool is_cased(uint32_t cp)
{
	return hth_uni_is(cp, HTH_UNI_LOWER) || hth_uni_is(cp, HTH_UNI_UPPER) || hth_uni_is(cp, HTH_UNI_TITLE);
}

/* A capital sigma at the end of a word becomes the final form. */
static bool is_final_sigma(jv *s, size_t at, size_t next)
{
	uint32_t cp;
	size_t start;
	if (at == 0 || !is_cased(char_before(s, at, &start)))
		return false;
	if (next >= s->s.len)
		return true;
	hth_utf8_decode_lossy(s->s.data + next, s->s.len - next, &cp);
	return !is_cased(cp);
}

jv *hth_jj_case(jj_run *r, jv *s, jj_case to)
{
	jj_builder b = hth_jj_builder(r->arena);
	bool word = false; /* after the first letter of a word */
	if (!hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; i < s->s.len;) {
		uint32_t cp, out[3];
		size_t n = hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		hth_uni_case how = to == JJ_UPPER ? HTH_UNI_TO_UPPER : HTH_UNI_TO_LOWER;
		if (to == JJ_CAPITALIZE)
			how = i == 0 ? HTH_UNI_TO_TITLE : HTH_UNI_TO_LOWER;
		else if (to == JJ_TITLE)
			how = word ? HTH_UNI_TO_LOWER : HTH_UNI_TO_TITLE;
		else if (to == JJ_JINJA_TITLE)
			how = word ? HTH_UNI_TO_LOWER : HTH_UNI_TO_UPPER;
		else if (to == JJ_SWAP)
			how = hth_uni_is(cp, HTH_UNI_UPPER) ? HTH_UNI_TO_LOWER : HTH_UNI_TO_UPPER;
		/* Jinja's filter starts words after - ( { [ < and spaces only, Python's method after anything not a letter. */
		word = to == JJ_TITLE ? is_cased(cp) : !(hth_uni_is(cp, HTH_UNI_SPACE) || (cp < 128 && strchr("-({[<", (int)cp)));
		bool input = hth_jj_is_input(s, i, i + n);
		if (cp == 0xFFFD) {
			hth_jj_put_slice(&b, s, i, i + n);
		} else if (cp == 0x3A3 && how == HTH_UNI_TO_LOWER && is_final_sigma(s, i, i + n)) {
			hth_jj_put_cp(&b, 0x3C2, input);
		} else {
			size_t k = hth_uni_map(cp, how, out);
			for (size_t j = 0; j < k; j++)
				hth_jj_put_cp(&b, out[j], input);
		}
		if (b.failed)
			return NULL;
		i += n;
	}
	return done_like(&b, s);
}

static jv *str_upper(jj_run *r, jv *s, jv **p, const jj_args *a) { return hth_jj_case(r, s, JJ_UPPER); }
static jv *str_lower(jj_run *r, jv *s, jv **p, const jj_args *a) { return hth_jj_case(r, s, JJ_LOWER); }
static jv *str_title(jj_run *r, jv *s, jv **p, const jj_args *a) { return hth_jj_case(r, s, JJ_TITLE); }
static jv *str_capitalize(jj_run *r, jv *s, jv **p, const jj_args *a) { return hth_jj_case(r, s, JJ_CAPITALIZE); }
static jv *str_swapcase(jj_run *r, jv *s, jv **p, const jj_args *a) { return hth_jj_case(r, s, JJ_SWAP); }

static jv *strip_with(jj_run *r, jv *s, jv *arg, int sides)
{
	jv *chars = NULL;
	if (arg != NULL && arg->kind != JJ_NONE && !hth_jj_arg_str(r, arg, "chars", &chars))
		return NULL;
	return hth_jj_strip(r, s, chars, sides);
}
static jv *str_strip(jj_run *r, jv *s, jv **p, const jj_args *a) { return strip_with(r, s, p[0], 3); }
static jv *str_lstrip(jj_run *r, jv *s, jv **p, const jj_args *a) { return strip_with(r, s, p[0], 1); }
static jv *str_rstrip(jj_run *r, jv *s, jv **p, const jj_args *a) { return strip_with(r, s, p[0], 2); }

/* --- splitting --- */

static bool add_slice(jj_run *r, hth_jinja_value *list, jv *s, size_t begin, size_t end)
{
	return hth_jj_charge(r, 1) && hth_jj_append(r->arena, list, hth_jj_slice(r->arena, s, begin, end));
}

static bool space_at(jv *s, size_t at, size_t *ret_n)
{
	uint32_t cp;
	*ret_n = hth_utf8_decode_lossy(s->s.data + at, s->s.len - at, &cp);
	return hth_uni_is(cp, HTH_UNI_SPACE);
}

static hth_jinja_value *split_space(jj_run *r, jv *s, int64_t max)
{
	hth_jinja_value *list = hth_jinja_list(r->arena);
	size_t at = 0, n;
	while (list != NULL) {
		while (at < s->s.len && space_at(s, at, &n))
			at += n;
		if (at >= s->s.len)
			break;
		size_t from = at;
		if (max-- == 0) {
			jv *rest = hth_jj_slice(r->arena, s, from, s->s.len);
			rest = rest ? hth_jj_strip(r, rest, NULL, 2) : NULL;
			return hth_jj_append(r->arena, list, rest) ? list : NULL;
		}
		while (at < s->s.len && !space_at(s, at, &n))
			at += n;
		if (!add_slice(r, list, s, from, at))
			return NULL;
	}
	return list;
}

static hth_jinja_value *rsplit_space(jj_run *r, jv *s, int64_t max)
{
	hth_jinja_value *list = hth_jinja_list(r->arena);
	size_t end = s->s.len, start;
	while (list != NULL) {
		while (end > 0 && hth_uni_is(char_before(s, end, &start), HTH_UNI_SPACE))
			end = start;
		if (end == 0)
			break;
		if (max-- == 0) {
			jv *rest = hth_jj_slice(r->arena, s, 0, end);
			rest = rest ? hth_jj_strip(r, rest, NULL, 1) : NULL;
			return hth_jj_append(r->arena, list, rest) ? list : NULL;
		}
		size_t from = end;
		while (from > 0 && !hth_uni_is(char_before(s, from, &start), HTH_UNI_SPACE))
			from = start;
		if (!add_slice(r, list, s, from, end))
			return NULL;
		end = from;
	}
	return list;
}

static void reverse(hth_jinja_value *list)
{
	for (uint32_t i = 0, j = list->list.n; i + 1 < j; i++) {
		jv *swap = list->list.items[i];
		list->list.items[i] = list->list.items[--j];
		list->list.items[j] = swap;
	}
}

static hth_jinja_value *split(jj_run *r, jv *s, jv *sep, int64_t max)
{
	if (!hth_jj_charge_bytes(r, (uint64_t)s->s.len * (sep ? 1 : JJ_PER_CHAR)))
		return NULL;
	if (sep == NULL)
		return split_space(r, s, max);
	if (sep->s.len == 0)
		return hth_jj_fail(r, "empty separator");
	hth_jinja_value *list = hth_jinja_list(r->arena);
	size_t at = 0, found;
	while (list != NULL && max-- != 0 && (found = hth_jj_find(s, sep, at)) != SIZE_MAX) {
		if (!add_slice(r, list, s, at, found))
			return NULL;
		at = found + sep->s.len;
	}
	return list != NULL && add_slice(r, list, s, at, s->s.len) ? list : NULL;
}

jv *hth_jj_rsplit(jj_run *r, jv *s, jv *sep, int64_t max)
{
	if (!hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	hth_jinja_value *list = NULL;
	if (sep == NULL) {
		list = rsplit_space(r, s, max);
	} else if (sep->s.len == 0) {
		return hth_jj_fail(r, "empty separator");
	} else {
		list = hth_jinja_list(r->arena);
		size_t end = s->s.len, found;
		while (list != NULL && max-- != 0 && (found = hth_jj_rfind(s, sep, end)) != SIZE_MAX) {
			if (!add_slice(r, list, s, found + sep->s.len, end))
				return NULL;
			end = found;
		}
		if (list != NULL && !add_slice(r, list, s, 0, end))
			return NULL;
	}
	if (list != NULL)
		reverse(list);
	return list;
}

static bool split_args(jj_run *r, jv **p, jv **sep, int64_t *max)
{
	*sep = NULL;
	*max = -1;
	return ((p[0] != NULL && p[0]->kind == JJ_NONE) || hth_jj_arg_str(r, p[0], "sep", sep)) &&
	       hth_jj_arg_int(r, p[1], "maxsplit", max);
}

static jv *str_split(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	jv *sep;
	int64_t max;
	return split_args(r, p, &sep, &max) ? split(r, s, sep, max) : NULL;
}

static jv *str_rsplit(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	jv *sep;
	int64_t max;
	return split_args(r, p, &sep, &max) ? hth_jj_rsplit(r, s, sep, max) : NULL;
}

hth_jinja_value *hth_jj_splitlines(jj_run *r, jv *s, bool keep)
{
	hth_jinja_value *list = hth_jinja_list(r->arena);
	if (!hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	size_t from = 0;
	for (size_t i = 0; list != NULL && i < s->s.len;) {
		uint32_t cp;
		size_t end = i;
		i += hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		if (!((cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029))
			continue;
		if (cp == '\r' && i < s->s.len && s->s.data[i] == '\n')
			i++;
		if (!add_slice(r, list, s, from, keep ? i : end))
			return NULL;
		from = i;
	}
	return list == NULL || from >= s->s.len || add_slice(r, list, s, from, s->s.len) ? list : NULL;
}

static jv *str_splitlines(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	return hth_jj_splitlines(r, s, p[0] != NULL && hth_jj_truth(p[0]));
}

static jv *partition(jj_run *r, jv *s, jv *arg, bool last)
{
	jv *sep = hth_jj_need_str(r, arg, "sep");
	if (sep == NULL)
		return NULL;
	if (sep->s.len == 0)
		return hth_jj_fail(r, "empty separator");
	hth_jinja_value *t = hth_jj_seq(r->arena, JJ_TUPLE, 3);
	if (t == NULL || !hth_jj_charge_bytes(r, (uint64_t)s->s.len * (last ? JJ_PER_CHAR : 1)))
		return NULL;
	size_t at = last ? hth_jj_rfind(s, sep, s->s.len) : hth_jj_find(s, sep, 0);
	jv *empty = hth_jj_str(r->arena, "");
	t->list.items[0] = at == SIZE_MAX ? (last ? empty : s) : hth_jj_slice(r->arena, s, 0, at);
	t->list.items[1] = at == SIZE_MAX ? empty : sep;
	t->list.items[2] = at == SIZE_MAX ? (last ? s : empty) : hth_jj_slice(r->arena, s, at + sep->s.len, s->s.len);
	return t->list.items[0] && t->list.items[1] && t->list.items[2] ? t : NULL;
}
static jv *str_partition(jj_run *r, jv *s, jv **p, const jj_args *a) { return partition(r, s, p[0], false); }
static jv *str_rpartition(jj_run *r, jv *s, jv **p, const jj_args *a) { return partition(r, s, p[0], true); }

/* --- searching --- */

/* [start, end) in characters, as Python reads them, to bytes. False also when start is past the end: nothing is there. */
static bool byte_range(jj_run *r, jv *s, jv **bounds, size_t *begin, size_t *end, bool *empty)
{
	int64_t n = s->s.chars, from = 0, to = n;
	if (!hth_jj_arg_int(r, bounds[0], "start", &from) || !hth_jj_arg_int(r, bounds[1], "end", &to))
		return false;
	from = from < 0 ? HTH_MAX(from + n, 0) : from;
	to = to < 0 ? HTH_MAX(to + n, 0) : HTH_MIN(to, n);
	*empty = from > to;
	if (*empty)
		return true;
	*begin = hth_jj_char_at(s, (size_t)from);
	*end = hth_jj_char_at(s, (size_t)to);
	return hth_jj_charge_bytes(r, s->s.len * 4ull);
}

static jv *find_in(jj_run *r, jv *s, jv **p, bool last, bool must)
{
	jv *sub = hth_jj_need_str(r, p[0], "sub");
	size_t begin, end, at = SIZE_MAX;
	bool empty;
	if (sub == NULL || !byte_range(r, s, p + 1, &begin, &end, &empty))
		return NULL;
	if (last && !hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	if (!empty) {
		hth_jinja_value within = *s;
		within.s.len = (uint32_t)end;
		at = last ? hth_jj_rfind(&within, sub, end) : hth_jj_find(&within, sub, begin);
		if (at != SIZE_MAX && at < begin)
			at = SIZE_MAX;
	}
	if (at == SIZE_MAX)
		return must ? hth_jj_fail(r, "substring not found") : hth_jinja_int(r->arena, -1);
	size_t index = s->s.chars == s->s.len ? at : hth_jj_count_chars(s->s.data, at);
	return hth_jinja_int(r->arena, (int64_t)index);
}
static jv *str_find(jj_run *r, jv *s, jv **p, const jj_args *a) { return find_in(r, s, p, false, false); }
static jv *str_rfind(jj_run *r, jv *s, jv **p, const jj_args *a) { return find_in(r, s, p, true, false); }
static jv *str_index(jj_run *r, jv *s, jv **p, const jj_args *a) { return find_in(r, s, p, false, true); }
static jv *str_rindex(jj_run *r, jv *s, jv **p, const jj_args *a) { return find_in(r, s, p, true, true); }

static jv *str_count(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	jv *sub = hth_jj_need_str(r, p[0], "sub");
	size_t begin = 0, end = 0;
	bool empty;
	int64_t n = 0;
	if (sub == NULL || !byte_range(r, s, p + 1, &begin, &end, &empty))
		return NULL;
	if (empty)
		return hth_jinja_int(r->arena, 0);
	if (sub->s.len == 0)
		return hth_jinja_int(r->arena, (int64_t)hth_jj_count_chars(s->s.data + begin, end - begin) + 1);
	hth_jinja_value within = *s;
	within.s.len = (uint32_t)end;
	for (size_t at = begin; (at = hth_jj_find(&within, sub, at)) != SIZE_MAX; at += sub->s.len) {
		if (!hth_jj_charge(r, 1))
			return NULL;
		n++;
	}
	return hth_jinja_int(r->arena, n);
}

static jv *affix(jj_run *r, jv *s, jv **p, bool at_end)
{
	size_t begin = 0, end = 0;
	bool empty;
	if (p[0]->kind != JJ_STRING && p[0]->kind != JJ_TUPLE)
		return p[0]->kind == JJ_UNDEFINED
			   ? hth_jj_fail_undefined(r, p[0])
			   : hth_jj_fail(r, "%s first arg must be str or a tuple of str, not %s",
					 at_end ? "endswith" : "startswith", hth_jj_type_name(p[0]));
	if (!byte_range(r, s, p + 1, &begin, &end, &empty))
		return NULL;
	uint32_t n = p[0]->kind == JJ_TUPLE ? p[0]->list.n : 1;
	bool yes = false;
	for (uint32_t i = 0; !empty && !yes && i < n; i++) {
		jv *x = p[0]->kind == JJ_TUPLE ? p[0]->list.items[i] : p[0];
		if (x->kind != JJ_STRING)
			return hth_jj_fail(r, "tuple for %s must only contain str, not %s", at_end ? "endswith" : "startswith",
					   hth_jj_type_name(x));
		yes = x->s.len <= end - begin &&
		      memcmp(s->s.data + (at_end ? end - x->s.len : begin), x->s.data, x->s.len) == 0;
	}
	return hth_jinja_bool(r->arena, yes);
}
static jv *str_startswith(jj_run *r, jv *s, jv **p, const jj_args *a) { return affix(r, s, p, false); }
static jv *str_endswith(jj_run *r, jv *s, jv **p, const jj_args *a) { return affix(r, s, p, true); }

static jv *str_removeprefix(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	jv *x = hth_jj_need_str(r, p[0], "prefix");
	if (x == NULL)
		return NULL;
	bool yes = x->s.len <= s->s.len && memcmp(s->s.data, x->s.data, x->s.len) == 0;
	return yes ? hth_jj_slice(r->arena, s, x->s.len, s->s.len) : s;
}

static jv *str_removesuffix(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	jv *x = hth_jj_need_str(r, p[0], "suffix");
	if (x == NULL)
		return NULL;
	bool yes = x->s.len <= s->s.len && memcmp(s->s.data + s->s.len - x->s.len, x->s.data, x->s.len) == 0;
	return yes ? hth_jj_slice(r->arena, s, 0, s->s.len - x->s.len) : s;
}

static jv *str_replace(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	jv *old = hth_jj_need_str(r, p[0], "old"), *with = hth_jj_need_str(r, p[1], "new");
	int64_t count = -1;
	if (old == NULL || with == NULL || !hth_jj_arg_int(r, p[2], "count", &count))
		return NULL;
	if (s->markup && (with = hth_jj_escape(r, with)) == NULL)
		return NULL;
	return hth_jj_replace(r, s, old, with, count);
}

/* --- joining, padding, formatting --- */

jv *hth_jj_join(jj_run *r, jv *sep, jv *const *items, uint32_t n, bool any_type)
{
	jj_builder b = hth_jj_builder(r->arena);
	for (uint32_t i = 0; i < n; i++) {
		if (i > 0 && !hth_jj_put_str(&b, sep))
			return NULL;
		if (!any_type && items[i]->kind != JJ_STRING)
			return hth_jj_fail(r, "sequence item %u: expected str instance, %s found", i, hth_jj_type_name(items[i]));
		jv *text = items[i];
		if (sep->markup && !any_type && text->kind == JJ_STRING && (text = hth_jj_escape(r, text)) == NULL)
			return NULL;
		if (!hth_jj_put_text(r, &b, text))
			return NULL;
	}
	return hth_jj_done(&b);
}

static jv *str_join(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	jv **items;
	uint32_t n;
	if (!hth_jj_items(r, p[0], &items, &n))
		return NULL;
	jv *joined = hth_jj_join(r, s, items, n, false);
	if (joined != NULL && s->markup)
		((hth_jinja_value *)joined)->markup = true;
	return joined;
}

jv *hth_jj_pad(jj_run *r, jv *s, int64_t width, jv *fill, int align)
{
	if (width <= (int64_t)s->s.chars)
		return s;
	if (width > PAD_MAX)
		return hth_jj_fail(r, "a width of %lld is over the limit of %d", (long long)width, PAD_MAX);
	int64_t pad = width - s->s.chars, before = align > 0 ? pad : align < 0 ? 0 : pad / 2 + (pad & width & 1);
	jj_builder b = hth_jj_builder(r->arena);
	if (!hth_jj_charge(r, (uint64_t)pad / 64))
		return NULL;
	for (int64_t i = 0; i < before; i++)
		hth_jj_put_str(&b, fill);
	hth_jj_put_str(&b, s);
	for (int64_t i = before; i < pad; i++)
		hth_jj_put_str(&b, fill);
	return done_like(&b, s);
}

static jv *pad_args(jj_run *r, jv *s, jv **p, int align)
{
	jv *fill = hth_jj_str(r->arena, " ");
	int64_t width = 0;
	if (fill == NULL || !hth_jj_arg_int(r, p[0], "width", &width) || !hth_jj_arg_str(r, p[1], "fillchar", &fill))
		return NULL;
	if (fill->s.chars != 1)
		return hth_jj_fail(r, "The fill character must be exactly one character long");
	return hth_jj_pad(r, s, width, fill, align);
}
static jv *str_center(jj_run *r, jv *s, jv **p, const jj_args *a) { return pad_args(r, s, p, 0); }
static jv *str_ljust(jj_run *r, jv *s, jv **p, const jj_args *a) { return pad_args(r, s, p, -1); }
static jv *str_rjust(jj_run *r, jv *s, jv **p, const jj_args *a) { return pad_args(r, s, p, 1); }

static jv *str_zfill(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	int64_t width = 0;
	jv *zero = hth_jj_str(r->arena, "0");
	if (zero == NULL || !hth_jj_arg_int(r, p[0], "width", &width))
		return NULL;
	bool sign = s->s.len > 0 && (s->s.data[0] == '-' || s->s.data[0] == '+');
	jv *digits = sign ? hth_jj_slice(r->arena, s, 1, s->s.len) : s;
	digits = digits ? hth_jj_pad(r, digits, width - sign, zero, 1) : NULL;
	if (digits == NULL || !sign)
		return digits;
	jv *first = hth_jj_slice(r->arena, s, 0, 1);
	return first ? hth_jj_concat(r->arena, first, digits) : NULL;
}

static jv *str_expandtabs(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	int64_t size = 8, column = 0;
	jj_builder b = hth_jj_builder(r->arena);
	if (!hth_jj_arg_int(r, p[0], "tabsize", &size) || !hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; i < s->s.len && !b.failed;) {
		uint32_t cp;
		size_t n = hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		if (cp == '\t') {
			int64_t spaces = size > 0 && size <= 1000 ? size - column % size : 0;
			for (int64_t k = 0; k < spaces; k++)
				hth_jj_put(&b, " ", 1, hth_jj_is_input(s, i, i + 1));
			column += spaces;
		} else {
			hth_jj_put_slice(&b, s, i, i + n);
			column = cp == '\n' || cp == '\r' ? 0 : column + 1;
		}
		i += n;
	}
	return done_like(&b, s);
}

static jv *str_format(jj_run *r, jv *s, jv **p, const jj_args *a) { return hth_jj_str_format(r, s, a); }

static jv *str_format_map(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	if (p[0]->kind != JJ_DICT)
		return hth_jj_fail(r, "format_map() needs a mapping, not '%s'", hth_jj_type_name(p[0]));
	jj_args args = {.n_kw = p[0]->dict->n};
	args.kw_names = hth_jj_alloc(r->arena, (args.n_kw + 1) * sizeof *args.kw_names);
	args.kw = hth_jj_alloc(r->arena, (args.n_kw + 1) * sizeof *args.kw);
	if (args.kw_names == NULL || args.kw == NULL)
		return NULL;
	args.n_kw = 0;
	for (uint32_t i = 0; i < p[0]->dict->n; i++) {
		if (p[0]->dict->entries[i].key->kind != JJ_STRING)
			continue;
		args.kw_names[args.n_kw] = p[0]->dict->entries[i].key;
		args.kw[args.n_kw++] = p[0]->dict->entries[i].value;
	}
	return hth_jj_str_format(r, s, &args);
}

/* --- asking --- */

/* At least one character and all of a class. */
static jv *all_of(jj_run *r, jv *s, hth_uni_class c)
{
	bool yes = s->s.len > 0;
	if (!hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; yes && i < s->s.len;) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		yes = hth_uni_is(cp, c);
	}
	return hth_jinja_bool(r->arena, yes);
}
static jv *str_isalpha(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_of(r, s, HTH_UNI_ALPHA); }
static jv *str_isdigit(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_of(r, s, HTH_UNI_DIGIT); }
static jv *str_isdecimal(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_of(r, s, HTH_UNI_DECIMAL); }
static jv *str_isnumeric(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_of(r, s, HTH_UNI_NUMERIC); }
static jv *str_isalnum(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_of(r, s, HTH_UNI_ALNUM); }
static jv *str_isspace(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_of(r, s, HTH_UNI_SPACE); }
static jv *str_isprintable(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	return s->s.len == 0 ? hth_jinja_bool(r->arena, true) : all_of(r, s, HTH_UNI_PRINTABLE);
}
static jv *str_isascii(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	bool yes = true;
	for (size_t i = 0; yes && i < s->s.len; i++)
		yes = (unsigned char)s->s.data[i] < 0x80;
	return hth_jinja_bool(r->arena, yes);
}

/* Every letter that has a case has this one, and there is such a letter. */
static jv *all_cased(jj_run *r, jv *s, hth_uni_class wanted)
{
	bool any = false, ok = true;
	if (!hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; ok && i < s->s.len;) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		if (is_cased(cp)) {
			any = true;
			ok = hth_uni_is(cp, wanted);
		}
	}
	return hth_jinja_bool(r->arena, any && ok);
}
static jv *str_islower(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_cased(r, s, HTH_UNI_LOWER); }
static jv *str_isupper(jj_run *r, jv *s, jv **p, const jj_args *a) { return all_cased(r, s, HTH_UNI_UPPER); }

static jv *str_istitle(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	bool any = false, ok = true, word = false;
	if (!hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; ok && i < s->s.len;) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		bool upper = hth_uni_is(cp, HTH_UNI_UPPER) || hth_uni_is(cp, HTH_UNI_TITLE), cased = is_cased(cp);
		ok = !cased || upper != word;
		any |= cased;
		word = cased;
	}
	return hth_jinja_bool(r->arena, any && ok);
}

static jv *str_isidentifier(jj_run *r, jv *s, jv **p, const jj_args *a)
{
	bool yes = s->s.len > 0;
	for (size_t i = 0; yes && i < s->s.len;) {
		uint32_t cp;
		size_t n = hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		yes = cp == '_' || hth_uni_is(cp, i == 0 ? HTH_UNI_ALPHA : HTH_UNI_ALNUM);
		i += n;
	}
	return hth_jinja_bool(r->arena, yes);
}

static const jj_builtin str_methods[] = {
    {"capitalize", "", str_capitalize},
    {"casefold", "", str_lower},
    {"center", "width,fillchar?", str_center},
    {"count", "sub,start?,end?", str_count},
    {"endswith", "suffix,start?,end?", str_endswith},
    {"expandtabs", "tabsize?", str_expandtabs},
    {"find", "sub,start?,end?", str_find},
    {"format", "*", str_format},
    {"format_map", "mapping", str_format_map},
    {"index", "sub,start?,end?", str_index},
    {"isalnum", "", str_isalnum},
    {"isalpha", "", str_isalpha},
    {"isascii", "", str_isascii},
    {"isdecimal", "", str_isdecimal},
    {"isdigit", "", str_isdigit},
    {"isidentifier", "", str_isidentifier},
    {"islower", "", str_islower},
    {"isnumeric", "", str_isnumeric},
    {"isprintable", "", str_isprintable},
    {"isspace", "", str_isspace},
    {"istitle", "", str_istitle},
    {"isupper", "", str_isupper},
    {"join", "iterable", str_join},
    {"ljust", "width,fillchar?", str_ljust},
    {"lower", "", str_lower},
    {"lstrip", "chars?", str_lstrip},
    {"partition", "sep", str_partition},
    {"removeprefix", "prefix", str_removeprefix},
    {"removesuffix", "suffix", str_removesuffix},
    {"replace", "old,new,count?", str_replace},
    {"rfind", "sub,start?,end?", str_rfind},
    {"rindex", "sub,start?,end?", str_rindex},
    {"rjust", "width,fillchar?", str_rjust},
    {"rpartition", "sep", str_rpartition},
    {"rsplit", "sep?,maxsplit?", str_rsplit},
    {"rstrip", "chars?", str_rstrip},
    {"split", "sep?,maxsplit?", str_split},
    {"splitlines", "keepends?", str_splitlines},
    {"startswith", "prefix,start?,end?", str_startswith},
    {"strip", "chars?", str_strip},
    {"swapcase", "", str_swapcase},
    {"title", "", str_title},
    {"upper", "", str_upper},
    {"zfill", "width", str_zfill},
};

const jj_builtin *hth_jj_find_str_method(const char *name, size_t len) { return JJ_SEARCH(str_methods, name, len); }
