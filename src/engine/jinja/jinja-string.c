/* jinja-string.c - strings that remember which of their bytes came from input.
 *
 * A string is bytes, a count of characters and marks. Slicing shares the bytes; the builder is how every other operation makes a
 * new string, so marks are kept in one place. Bytes that are no UTF-8 count as one character each and are passed on as they are.
 */
#include "engine/jinja/jinja-value.h"

#include "base/mem.h"
#include "base/utf8.h"

size_t hth_jj_count_chars(const char *data, size_t len)
{
	size_t i = 0, n = 0;
	while (i < len) {
		uint32_t cp;
		i += (unsigned char)data[i] < 0x80 ? 1 : hth_utf8_decode_lossy(data + i, len - i, &cp);
		n++;
	}
	return n;
}

size_t hth_jj_char_at(jv *s, size_t index)
{
	if (s->s.chars == s->s.len || index == 0)
		return index;
	if (index >= s->s.chars)
		return s->s.len;
	size_t at = 0;
	while (index-- > 0 && at < s->s.len) {
		uint32_t cp;
		at += hth_utf8_decode_lossy(s->s.data + at, s->s.len - at, &cp);
	}
	return at;
}

/* The first mark that ends after `at`. */
static uint32_t first_mark(jv *s, size_t at)
{
	uint32_t lo = 0, hi = s->s.n_marks;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		if (s->s.marks[mid].end <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool hth_jj_is_input(jv *s, size_t begin, size_t end)
{
	if (s->taint != JJ_MIXED || begin >= end)
		return s->taint == JJ_INPUT && begin < end;
	uint32_t m = first_mark(s, begin);
	return m < s->s.n_marks && s->s.marks[m].begin < end;
}

jv *hth_jj_slice(hth_jinja_arena *arena, jv *s, size_t begin, size_t end)
{
	if (begin == 0 && end == s->s.len)
		return s;
	hth_jinja_value *v = hth_jj_new(arena, JJ_STRING);
	if (v == NULL)
		return NULL;
	v->markup = s->markup;
	v->s.data = s->s.data + begin;
	v->s.len = (uint32_t)(end - begin);
	v->s.chars = s->s.chars == s->s.len ? v->s.len : (uint32_t)hth_jj_count_chars(v->s.data, v->s.len);
	v->taint = v->s.len == 0 ? JJ_TRUSTED : s->taint;
	if (v->taint != JJ_MIXED)
		return v;
	uint32_t first = first_mark(s, begin), last = first;
	while (last < s->s.n_marks && s->s.marks[last].begin < end)
		last++;
	if (first == last) {
		v->taint = JJ_TRUSTED;
		return v;
	}
	if (s->s.marks[first].begin <= begin && s->s.marks[first].end >= end) {
		v->taint = JJ_INPUT;
		return v;
	}
	jj_mark *marks = hth_jj_alloc(arena, (last - first) * sizeof *marks);
	if (marks == NULL)
		return NULL;
	for (uint32_t i = first; i < last; i++) {
		marks[i - first].begin = (uint32_t)(HTH_MAX(s->s.marks[i].begin, begin) - begin);
		marks[i - first].end = (uint32_t)(HTH_MIN(s->s.marks[i].end, end) - begin);
	}
	v->s.marks = marks;
	v->s.n_marks = last - first;
	return v;
}

int hth_jj_str_cmp(jv *a, jv *b)
{
	size_t n = HTH_MIN(a->s.len, b->s.len);
	int c = n > 0 ? memcmp(a->s.data, b->s.data, n) : 0;
	return c != 0 ? c : (a->s.len > b->s.len) - (a->s.len < b->s.len);
}

size_t hth_jj_find(jv *s, jv *needle, size_t from)
{
	if (from > s->s.len || needle->s.len > s->s.len - from)
		return SIZE_MAX;
	if (needle->s.len == 0)
		return from;
	const char *p = memmem(s->s.data + from, s->s.len - from, needle->s.data, needle->s.len);
	return p ? (size_t)(p - s->s.data) : SIZE_MAX;
}

size_t hth_jj_rfind(jv *s, jv *needle, size_t end)
{
	if (needle->s.len > end)
		return SIZE_MAX;
	for (size_t at = end - needle->s.len + 1; at-- > 0;)
		if (needle->s.len == 0 || memcmp(s->s.data + at, needle->s.data, needle->s.len) == 0)
			return at;
	return SIZE_MAX;
}

/* --- builder --- */

jj_builder hth_jj_builder(hth_jinja_arena *arena) { return (jj_builder){.arena = arena}; }

static bool grow(jj_builder *b, size_t more)
{
	if (b->failed || b->too_long)
		return false;
	if (b->max != 0 && more > b->max - b->len) {
		b->too_long = true;
		return false;
	}
	if (more <= b->cap - b->len)
		return true;
	size_t cap = HTH_MAX((size_t)b->cap * 2, (size_t)b->len + more);
	cap = HTH_MAX(cap, (size_t)64);
	char *data = cap < INT32_MAX ? hth_jj_alloc(b->arena, cap) : NULL;
	if (data == NULL) {
		b->failed = true;
		return false;
	}
	if (b->len > 0)
		memcpy(data, b->data, b->len);
	b->data = data;
	b->cap = (uint32_t)cap;
	return true;
}

static bool add_mark(jj_builder *b, uint32_t begin, uint32_t end)
{
	if (begin == end)
		return true;
	if (b->n_marks > 0 && b->marks[b->n_marks - 1].end == begin) {
		b->marks[b->n_marks - 1].end = end;
		return true;
	}
	if (b->n_marks == b->cap_marks) {
		uint32_t cap = b->cap_marks ? b->cap_marks * 2 : 2;
		jj_mark *marks = cap < INT32_MAX / 8 ? hth_jj_alloc(b->arena, cap * sizeof *marks) : NULL;
		if (marks == NULL) {
			b->failed = true;
			return false;
		}
		if (b->n_marks > 0)
			memcpy(marks, b->marks, b->n_marks * sizeof *marks);
		b->marks = marks;
		b->cap_marks = cap;
	}
	b->marks[b->n_marks++] = (jj_mark){begin, end};
	return true;
}

bool hth_jj_put(jj_builder *b, const char *data, size_t len, bool input)
{
	if (len == 0)
		return !b->failed;
	if (!grow(b, len))
		return false;
	memcpy(b->data + b->len, data, len);
	b->len += (uint32_t)len;
	return !input || add_mark(b, b->len - (uint32_t)len, b->len);
}

bool hth_jj_put_cstr(jj_builder *b, const char *s) { return hth_jj_put(b, s, strlen(s), false); }

bool hth_jj_put_slice(jj_builder *b, jv *s, size_t begin, size_t end)
{
	uint32_t at = b->len;
	if (!hth_jj_put(b, s->s.data + begin, end - begin, s->taint == JJ_INPUT))
		return false;
	if (s->taint != JJ_MIXED)
		return true;
	for (uint32_t i = first_mark(s, begin); i < s->s.n_marks && s->s.marks[i].begin < end; i++)
		if (!add_mark(b, at + (uint32_t)(HTH_MAX(s->s.marks[i].begin, begin) - begin),
			      at + (uint32_t)(HTH_MIN(s->s.marks[i].end, end) - begin)))
			return false;
	return true;
}

bool hth_jj_put_str(jj_builder *b, jv *s) { return hth_jj_put_slice(b, s, 0, s->s.len); }

bool hth_jj_put_cp(jj_builder *b, uint32_t cp, bool input)
{
	char bytes[4];
	return hth_jj_put(b, bytes, hth_utf8_encode(cp, bytes), input);
}

void hth_jj_mark_all(jj_builder *b)
{
	b->n_marks = 0;
	add_mark(b, 0, b->len);
}

jv *hth_jj_done(jj_builder *b)
{
	if (b->failed || b->too_long)
		return NULL;
	hth_jinja_value *v = (hth_jinja_value *)hth_jj_str_borrow(b->arena, b->data ? b->data : "", b->len, JJ_TRUSTED);
	if (v == NULL || b->n_marks == 0)
		return v;
	if (b->n_marks == 1 && b->marks[0].begin == 0 && b->marks[0].end == b->len) {
		v->taint = JJ_INPUT;
		return v;
	}
	v->taint = JJ_MIXED;
	v->s.marks = b->marks;
	v->s.n_marks = b->n_marks;
	return v;
}

jv *hth_jj_concat(hth_jinja_arena *arena, jv *a, jv *b)
{
	if (a->s.len == 0 && !a->markup)
		return b;
	if (b->s.len == 0)
		return a;
	jj_tail *tail = a->s.tail;
	uint32_t len = a->s.len + b->s.len;
	if (len >= INT32_MAX)
		return NULL;
	if (tail == NULL || a->s.data + a->s.len != tail->data + tail->used || tail->cap - tail->used < b->s.len) {
		tail = hth_jj_alloc(arena, sizeof *tail);
		if (tail == NULL)
			return NULL;
		/* A first concatenation takes little room to spare, one on top of another takes half as much again. */
		tail->cap = a->s.tail ? len + len / 2 : len + 16;
		tail->data = hth_jj_alloc(arena, tail->cap);
		if (tail->data == NULL)
			return NULL;
		memcpy(tail->data, a->s.data, a->s.len);
		tail->used = a->s.len;
	}
	memcpy(tail->data + tail->used, b->s.data, b->s.len);
	tail->used += b->s.len;
	hth_jinja_value *v = hth_jj_new(arena, JJ_STRING);
	if (v == NULL)
		return NULL;
	v->s.data = tail->data + tail->used - len;
	v->s.len = len;
	v->s.chars = a->s.chars + b->s.chars;
	v->s.tail = tail;
	v->taint = a->taint;
	if (a->taint == b->taint && a->taint != JJ_MIXED)
		return v;
	jj_builder marks = hth_jj_builder(arena); /* only for its marks */
	uint32_t n = (a->taint == JJ_MIXED ? a->s.n_marks : 1) + (b->taint == JJ_MIXED ? b->s.n_marks : 1);
	marks.marks = hth_jj_alloc(arena, n * sizeof *marks.marks);
	marks.cap_marks = n;
	if (marks.marks == NULL)
		return NULL;
	for (int side = 0; side < 2; side++) {
		jv *s = side == 0 ? a : b;
		uint32_t base = side == 0 ? 0 : a->s.len;
		if (s->taint == JJ_INPUT)
			add_mark(&marks, base, base + s->s.len);
		for (uint32_t i = 0; s->taint == JJ_MIXED && i < s->s.n_marks; i++)
			add_mark(&marks, base + s->s.marks[i].begin, base + s->s.marks[i].end);
	}
	v->taint = JJ_MIXED;
	v->s.marks = marks.marks;
	v->s.n_marks = marks.n_marks;
	return v;
}
