/* jinja-arena.c - the memory of one rendering and the values that outsiders put in it.
 *
 * One bump allocator: chunks that grow, a limit on their sum, everything freed at once. Owns hashing and the ordered dicts too,
 * since values are made from them. One arena belongs to one thread at a time.
 */
#include "engine/jinja/jinja-value.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <time.h>

enum { CHUNK_FIRST = 8 * 1024, CHUNK_MAX = 1024 * 1024, INDEX_FROM = 9 };

typedef struct chunk {
	struct chunk *next;
	size_t size, used;
	_Alignas(16) char data[];
} chunk;

struct hth_jinja_arena {
	chunk *chunks; /* the newest first */
	size_t total, max;
	uint64_t seed; /* for hashing: a guest must not be able to collide keys */
	bool full;
	hth_jinja_value none, yes, no;
};

hth_status hth_jinja_arena_create(hth_jinja_arena **ret_arena, size_t max_bytes, hth_error *err)
{
	hth_jinja_arena *a = calloc(1, sizeof *a);
	if (a == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a template's values");
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	a->max = max_bytes;
	a->seed = ((uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec ^ (uint64_t)(uintptr_t)a) * 0x9E3779B97F4A7C15u;
	a->none.kind = JJ_NONE;
	a->yes = (hth_jinja_value){.kind = JJ_BOOL, .flag = true};
	a->no = (hth_jinja_value){.kind = JJ_BOOL};
	*ret_arena = a;
	return HTH_OK;
}

void hth_jinja_arena_destroy(hth_jinja_arena *arena)
{
	if (arena == NULL)
		return;
	for (chunk *c = arena->chunks, *next; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	free(arena);
}

bool hth_jj_arena_full(const hth_jinja_arena *arena) { return arena->full; }

void *hth_jj_alloc(hth_jinja_arena *a, size_t size)
{
	if (a->full || size > a->max) {
		a->full = true;
		return NULL;
	}
	size = hth_round_up(size ? size : 1, 16);
	chunk *c = a->chunks;
	if (c == NULL || c->size - c->used < size) {
		size_t want = c == NULL ? CHUNK_FIRST : HTH_MIN(c->size * 2, (size_t)CHUNK_MAX);
		want = HTH_MAX(want, size);
		if (want > a->max - a->total)
			want = size;
		c = size > a->max - a->total ? NULL : malloc(sizeof *c + want);
		if (c == NULL) {
			a->full = true;
			return NULL;
		}
		c->size = want;
		c->used = 0;
		a->total += want;
		/* A chunk made for one large thing goes behind the current one, whose rest is still of use. */
		if (a->chunks != NULL && want == size && a->chunks->size - a->chunks->used > 256) {
			c->next = a->chunks->next;
			a->chunks->next = c;
		} else {
			c->next = a->chunks;
			a->chunks = c;
		}
	}
	void *p = c->data + c->used;
	c->used += size;
	memset(p, 0, size);
	return p;
}

hth_jinja_value *hth_jj_new(hth_jinja_arena *arena, jj_kind kind)
{
	hth_jinja_value *v = hth_jj_alloc(arena, sizeof *v);
	if (v != NULL)
		v->kind = kind;
	return v;
}

const hth_jinja_value *hth_jinja_none(hth_jinja_arena *arena) { return &arena->none; }
const hth_jinja_value *hth_jinja_bool(hth_jinja_arena *arena, bool value) { return value ? &arena->yes : &arena->no; }

const hth_jinja_value *hth_jinja_int(hth_jinja_arena *arena, int64_t value)
{
	hth_jinja_value *v = hth_jj_new(arena, JJ_INT);
	if (v != NULL)
		v->i = value;
	return v;
}

const hth_jinja_value *hth_jinja_float(hth_jinja_arena *arena, double value)
{
	hth_jinja_value *v = hth_jj_new(arena, JJ_FLOAT);
	if (v != NULL)
		v->f = value;
	return v;
}

jv *hth_jj_str_borrow(hth_jinja_arena *arena, const char *data, size_t len, jj_taint taint)
{
	hth_jinja_value *v = len < INT32_MAX ? hth_jj_new(arena, JJ_STRING) : NULL;
	if (v == NULL) {
		arena->full = true;
		return NULL;
	}
	v->taint = len == 0 ? JJ_TRUSTED : taint;
	v->s.data = data;
	v->s.len = (uint32_t)len;
	v->s.chars = (uint32_t)hth_jj_count_chars(data, len);
	return v;
}

jv *hth_jj_str(hth_jinja_arena *arena, const char *cstr)
{
	return hth_jj_str_borrow(arena, cstr, strlen(cstr), JJ_TRUSTED);
}

static jv *str_copy(hth_jinja_arena *arena, const char *data, size_t len, jj_taint taint)
{
	char *copy = hth_jj_alloc(arena, len);
	if (copy == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, data, len);
	return hth_jj_str_borrow(arena, copy, len, taint);
}

const hth_jinja_value *hth_jinja_string(hth_jinja_arena *arena, const char *data, size_t len)
{
	return str_copy(arena, data, len, JJ_INPUT);
}

const hth_jinja_value *hth_jinja_trusted_string(hth_jinja_arena *arena, const char *data, size_t len)
{
	return str_copy(arena, data, len, JJ_TRUSTED);
}

hth_jinja_value *hth_jj_seq(hth_jinja_arena *arena, jj_kind kind, size_t n)
{
	hth_jinja_value *v = n < INT32_MAX ? hth_jj_new(arena, kind) : NULL;
	if (v == NULL) {
		arena->full = true;
		return NULL;
	}
	v->list.items = n > 0 ? hth_jj_alloc(arena, n * sizeof *v->list.items) : NULL;
	if (n > 0 && v->list.items == NULL)
		return NULL;
	v->list.n = v->list.cap = (uint32_t)n;
	return v;
}

hth_jinja_value *hth_jinja_list(hth_jinja_arena *arena) { return hth_jj_seq(arena, JJ_LIST, 0); }

hth_jinja_value *hth_jinja_dict(hth_jinja_arena *arena)
{
	hth_jinja_value *v = hth_jj_new(arena, JJ_DICT);
	if (v == NULL)
		return NULL;
	v->dict = hth_jj_alloc(arena, sizeof *v->dict);
	return v->dict == NULL ? NULL : v;
}

bool hth_jj_append(hth_jinja_arena *arena, hth_jinja_value *list, jv *item)
{
	if (item == NULL)
		return false;
	if (list->list.n == list->list.cap) {
		uint32_t cap = list->list.cap < 4 ? 4 : list->list.cap * 2;
		jv **items = cap < INT32_MAX ? hth_jj_alloc(arena, cap * sizeof *items) : NULL;
		if (items == NULL)
			return false;
		if (list->list.n > 0)
			memcpy(items, list->list.items, list->list.n * sizeof *items);
		list->list.items = items;
		list->list.cap = cap;
	}
	list->list.items[list->list.n++] = item;
	return true;
}

bool hth_jinja_list_append(hth_jinja_arena *arena, hth_jinja_value *list, const hth_jinja_value *item)
{
	return hth_jj_append(arena, list, item);
}

bool hth_jinja_dict_set(hth_jinja_arena *arena, hth_jinja_value *dict, const char *key, size_t key_len,
			const hth_jinja_value *item)
{
	if (item == NULL)
		return false;
	jv *k = hth_jinja_string(arena, key, key_len);
	return k != NULL && hth_jj_dict_put(arena, dict->dict, k, item);
}

/* --- dicts --- */

/* Numbers that are equal hash equal: true, 1 and 1.0 are one key. */
static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0xFF51AFD7ED558CCDu;
	return h ^ h >> 32;
}

static uint64_t hash_bytes(uint64_t h, const char *data, size_t len)
{
	uint64_t word = 0;
	h = mix(h, len);
	for (; len >= 8; data += 8, len -= 8) {
		memcpy(&word, data, 8);
		h = mix(h, word);
	}
	word = 0;
	if (len > 0)
		memcpy(&word, data, len);
	return mix(h, word);
}

static uint64_t hash(uint64_t seed, jv *key)
{
	switch (key->kind) {
	case JJ_STRING:
		return hash_bytes(seed, key->s.data, key->s.len);
	case JJ_BOOL:
		return mix(seed + 1, key->flag);
	case JJ_INT:
		return mix(seed + 1, (uint64_t)key->i);
	case JJ_FLOAT:
		if (key->f == floor(key->f) && fabs(key->f) < 9e18)
			return mix(seed + 1, (uint64_t)(int64_t)key->f);
		return hash_bytes(seed + 2, (const char *)&key->f, sizeof key->f);
	case JJ_TUPLE: {
		uint64_t h = seed + 3;
		for (uint32_t i = 0; i < key->list.n; i++)
			h = mix(h, hash(seed, key->list.items[i]));
		return h;
	}
	default:
		return mix(seed + 4, key->kind);
	}
}

static bool hashable_to(jv *key, int depth)
{
	switch (key->kind) {
	case JJ_NONE:
	case JJ_UNDEFINED:
	case JJ_BOOL:
	case JJ_INT:
	case JJ_FLOAT:
	case JJ_STRING:
		return true;
	case JJ_TUPLE:
		for (uint32_t i = 0; i < key->list.n; i++)
			if (depth == 0 || !hashable_to(key->list.items[i], depth - 1))
				return false;
		return true;
	default:
		return false;
	}
}

bool hth_jj_hashable(jv *key) { return hashable_to(key, 8); }

bool hth_jj_key_eq(jv *a, jv *b)
{
	if (a == b)
		return true;
	if (a->kind == JJ_STRING || b->kind == JJ_STRING)
		return a->kind == b->kind && a->s.len == b->s.len && memcmp(a->s.data, b->s.data, a->s.len) == 0;
	if (a->kind == JJ_TUPLE || b->kind == JJ_TUPLE) {
		if (a->kind != b->kind || a->list.n != b->list.n)
			return false;
		for (uint32_t i = 0; i < a->list.n; i++)
			if (!hth_jj_key_eq(a->list.items[i], b->list.items[i]))
				return false;
		return true;
	}
	bool number_a = a->kind >= JJ_BOOL && a->kind <= JJ_FLOAT, number_b = b->kind >= JJ_BOOL && b->kind <= JJ_FLOAT;
	if (!number_a || !number_b)
		return a->kind == b->kind && a->kind <= JJ_NONE;
	int64_t ia = a->kind == JJ_BOOL ? a->flag : a->i, ib = b->kind == JJ_BOOL ? b->flag : b->i;
	if (a->kind != JJ_FLOAT && b->kind != JJ_FLOAT)
		return ia == ib;
	return (a->kind == JJ_FLOAT ? a->f : (double)ia) == (b->kind == JJ_FLOAT ? b->f : (double)ib);
}

static const jj_entry *dict_find(const jj_dict *d, uint64_t h, jv *key)
{
	if (d->index == NULL) {
		for (uint32_t i = 0; i < d->n; i++)
			if (d->entries[i].hash == h && hth_jj_key_eq(d->entries[i].key, key))
				return &d->entries[i];
		return NULL;
	}
	for (uint32_t at = (uint32_t)h & (d->index_cap - 1); d->index[at] != 0; at = (at + 1) & (d->index_cap - 1)) {
		const jj_entry *e = &d->entries[d->index[at] - 1];
		if (e->hash == h && hth_jj_key_eq(e->key, key))
			return e;
	}
	return NULL;
}

static void index_add(jj_dict *d, uint32_t number)
{
	uint32_t at = (uint32_t)d->entries[number].hash & (d->index_cap - 1);
	while (d->index[at] != 0)
		at = (at + 1) & (d->index_cap - 1);
	d->index[at] = number + 1;
}

bool hth_jj_dict_put(hth_jinja_arena *arena, jj_dict *d, jv *key, jv *value)
{
	uint64_t h = hash(arena->seed, key);
	jj_entry *e = (jj_entry *)dict_find(d, h, key);
	if (e != NULL) {
		e->value = value;
		return true;
	}
	if (d->n == d->cap) {
		uint32_t cap = d->cap < 4 ? 4 : d->cap * 2;
		jj_entry *entries = cap < INT32_MAX / 2 ? hth_jj_alloc(arena, cap * sizeof *entries) : NULL;
		if (entries == NULL)
			return false;
		if (d->n > 0)
			memcpy(entries, d->entries, d->n * sizeof *entries);
		d->entries = entries;
		d->cap = cap;
		if (cap > INDEX_FROM) {
			uint32_t *index = hth_jj_alloc(arena, (size_t)cap * 2 * sizeof *index);
			if (index == NULL)
				return false;
			d->index = index;
			d->index_cap = cap * 2;
			for (uint32_t i = 0; i < d->n; i++)
				index_add(d, i);
		}
	}
	d->entries[d->n] = (jj_entry){.key = key, .value = value, .hash = h};
	if (d->index != NULL)
		index_add(d, d->n);
	d->n++;
	return true;
}

jv *hth_jj_dict_get(const hth_jinja_arena *arena, const jj_dict *dict, jv *key)
{
	const jj_entry *e = dict_find(dict, hash(arena->seed, key), key);
	return e ? e->value : NULL;
}

jv *hth_jj_dict_get_str(const hth_jinja_arena *arena, const jj_dict *dict, const char *key, size_t len)
{
	hth_jinja_value k = {.kind = JJ_STRING, .s = {.data = key, .len = (uint32_t)len}};
	return hth_jj_dict_get(arena, dict, &k);
}
