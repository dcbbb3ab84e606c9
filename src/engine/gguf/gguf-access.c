/* gguf-access.c - names and values: the name index, typed reads, arrays, and text for people.
 *
 * Values stay in the mapped file and are copied out with memcpy: nothing there is aligned. Everything was checked when
 * the file was opened, so a read only fails when the caller wants a type or range that the file does not have.
 */
#include "engine/gguf/gguf-internal.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a (Fowler, Noll, Vo), 64 bits. Crafted collisions only cost comparisons: see gguf_slot. */
uint64_t hth_gguf_hash(hth_view name)
{
	uint64_t h = 0xCBF29CE484222325u;
	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.data[i]) * 0x100000001B3u;
	return h;
}

static const hth_view *name_at(const void *names, size_t stride, size_t i)
{
	return (const hth_view *)((const char *)names + i * stride);
}

static int compare(uint64_t hash_a, const hth_view *a, uint64_t hash_b, const hth_view *b)
{
	if (hash_a != hash_b)
		return hash_a < hash_b ? -1 : 1;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->data, b->data, a->len);
}

typedef struct sort_ctx {
	const void *names;
	size_t stride;
} sort_ctx;

static int compare_slots(const void *a, const void *b, void *ctx)
{
	const gguf_slot *x = a, *y = b;
	const sort_ctx *names = ctx;
	return compare(x->hash, name_at(names->names, names->stride, x->i), y->hash,
	               name_at(names->names, names->stride, y->i));
}

void hth_gguf_index_sort(gguf_slot *index, size_t n, const void *names, size_t stride)
{
	sort_ctx ctx = {names, stride};
	if (n > 1)
		qsort_r(index, n, sizeof *index, compare_slots, &ctx);
}

size_t hth_gguf_index_duplicate(const gguf_slot *index, size_t n, const void *names, size_t stride)
{
	sort_ctx ctx = {names, stride};
	for (size_t i = 1; i < n; i++)
		if (compare_slots(&index[i - 1], &index[i], &ctx) == 0)
			return i;
	return 0;
}

size_t hth_gguf_index_find(const gguf_slot *index, size_t n, const void *names, size_t stride, hth_view name)
{
	uint64_t hash = hth_gguf_hash(name);
	size_t low = 0, high = n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare(index[mid].hash, name_at(names, stride, index[mid].i), hash, &name);
		if (order == 0)
			return index[mid].i;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return SIZE_MAX;
}

const hth_gguf_kv *hth_gguf_find(const hth_gguf *gguf, const char *key)
{
	if (gguf->n_kv == 0)
		return NULL;
	size_t i = hth_gguf_index_find(gguf->kv_index, gguf->n_kv, &gguf->kv->key, sizeof *gguf->kv,
	                               (hth_view){key, strlen(key)});
	return i != SIZE_MAX ? &gguf->kv[i] : NULL;
}

const hth_gguf_tensor *hth_gguf_tensor_find(const hth_gguf *gguf, const char *name)
{
	if (gguf->n_tensors == 0)
		return NULL;
	size_t i = hth_gguf_index_find(gguf->tensor_index, gguf->n_tensors, &gguf->tensors->name, sizeof *gguf->tensors,
	                               (hth_view){name, strlen(name)});
	return i != SIZE_MAX ? &gguf->tensors[i] : NULL;
}

hth_view hth_gguf_kv_key(const hth_gguf_kv *kv)
{
	return kv->key;
}
hth_gguf_type hth_gguf_kv_type(const hth_gguf_kv *kv)
{
	return (hth_gguf_type)kv->type;
}

/* An integer or bool as sign and magnitude-free 64 bits: false when the type is no integer. */
static bool read_integer(const unsigned char *at, unsigned type, int64_t *ret_value, bool *ret_over)
{
	*ret_over = false;
	switch (type) {
	case HTH_GGUF_U8:
		*ret_value = *at;
		return true;
	case HTH_GGUF_BOOL:
		*ret_value = *at != 0;
		return true;
	case HTH_GGUF_I8:
		*ret_value = (int8_t)*at;
		return true;
	case HTH_GGUF_U16: {
		uint16_t v;
		memcpy(&v, at, sizeof v);
		*ret_value = v;
		return true;
	}
	case HTH_GGUF_I16: {
		int16_t v;
		memcpy(&v, at, sizeof v);
		*ret_value = v;
		return true;
	}
	case HTH_GGUF_U32: {
		uint32_t v;
		memcpy(&v, at, sizeof v);
		*ret_value = v;
		return true;
	}
	case HTH_GGUF_I32: {
		int32_t v;
		memcpy(&v, at, sizeof v);
		*ret_value = v;
		return true;
	}
	case HTH_GGUF_U64:
	case HTH_GGUF_I64:
		memcpy(ret_value, at, sizeof *ret_value);
		*ret_over = type == HTH_GGUF_U64 && *ret_value < 0; /* 2^63 and up */
		return true;
	default:
		return false;
	}
}

static bool read_float(const unsigned char *at, unsigned type, double *ret_value)
{
	if (type == HTH_GGUF_F32) {
		float f;
		memcpy(&f, at, sizeof f);
		*ret_value = (double)f;
		return true;
	}
	if (type == HTH_GGUF_F64) {
		memcpy(ret_value, at, sizeof *ret_value);
		return true;
	}
	return false;
}

static hth_status wrong_type(const hth_gguf_kv *kv, const char *wanted, hth_error *err)
{
	char quoted[GGUF_QUOTE_MAX];
	return hth_fail(err, HTH_BAD_FORMAT, "metadata %s is of type %s; it should be %s",
	                hth_gguf_quote(kv->key, quoted), hth_gguf_type_name(kv->type), wanted);
}

static hth_status wrong_value(const hth_gguf_kv *kv, const char *wanted, hth_error *err)
{
	char quoted[GGUF_QUOTE_MAX], text[64];
	hth_gguf_kv_describe(kv, text, sizeof text);
	return hth_fail(err, HTH_BAD_FORMAT, "metadata %s is %s; it should be %s", hth_gguf_quote(kv->key, quoted),
	                text, wanted);
}

static hth_status find(const hth_gguf *gguf, const char *key, const hth_gguf_kv **ret_kv, hth_error *err)
{
	*ret_kv = hth_gguf_find(gguf, key);
	return *ret_kv != NULL ? HTH_OK : hth_fail(err, HTH_NOT_FOUND, "the file has no metadata \"%s\"", key);
}

hth_status hth_gguf_kv_u64(const hth_gguf_kv *kv, uint64_t max, uint64_t *ret_value, hth_error *err)
{
	int64_t value;
	bool over;
	if (kv->type == HTH_GGUF_BOOL || !read_integer(kv->value, kv->type, &value, &over))
		return wrong_type(kv, "an integer", err);
	if ((value < 0 && !over) || (uint64_t)value > max) {
		char wanted[64];
		snprintf(wanted, sizeof wanted, "from 0 to %" PRIu64, max);
		return wrong_value(kv, wanted, err);
	}
	*ret_value = (uint64_t)value;
	return HTH_OK;
}

hth_status hth_gguf_get_u32(const hth_gguf *gguf, const char *key, uint32_t *ret_value, hth_error *err)
{
	const hth_gguf_kv *kv;
	uint64_t value;
	HTH_TRY(find(gguf, key, &kv, err));
	HTH_TRY(hth_gguf_kv_u64(kv, UINT32_MAX, &value, err));
	*ret_value = (uint32_t)value;
	return HTH_OK;
}

hth_status hth_gguf_get_u64(const hth_gguf *gguf, const char *key, uint64_t *ret_value, hth_error *err)
{
	const hth_gguf_kv *kv;
	HTH_TRY(find(gguf, key, &kv, err));
	return hth_gguf_kv_u64(kv, UINT64_MAX, ret_value, err);
}

hth_status hth_gguf_get_f32(const hth_gguf *gguf, const char *key, float *ret_value, hth_error *err)
{
	const hth_gguf_kv *kv;
	HTH_TRY(find(gguf, key, &kv, err));
	double value;
	int64_t integer;
	bool over;
	if (!read_float(kv->value, kv->type, &value)) {
		if (kv->type == HTH_GGUF_BOOL || !read_integer(kv->value, kv->type, &integer, &over))
			return wrong_type(kv, "a number", err);
		value = over ? (double)(uint64_t)integer : (double)integer;
	}
	if (!isfinite((float)value))
		return wrong_value(kv, "a finite number", err);
	*ret_value = (float)value;
	return HTH_OK;
}

hth_status hth_gguf_get_bool(const hth_gguf *gguf, const char *key, bool *ret_value, hth_error *err)
{
	const hth_gguf_kv *kv;
	HTH_TRY(find(gguf, key, &kv, err));
	int64_t value;
	bool over;
	if (!read_integer(kv->value, kv->type, &value, &over))
		return wrong_type(kv, "a bool", err);
	if (value != 0 && value != 1)
		return wrong_value(kv, "a bool (0 or 1)", err);
	*ret_value = value == 1;
	return HTH_OK;
}

hth_status hth_gguf_get_string(const hth_gguf *gguf, const char *key, hth_view *ret_value, hth_error *err)
{
	const hth_gguf_kv *kv;
	HTH_TRY(find(gguf, key, &kv, err));
	if (kv->type != HTH_GGUF_STRING)
		return wrong_type(kv, "a string", err);
	*ret_value = (hth_view){(const char *)kv->value, (size_t)kv->len};
	return HTH_OK;
}

hth_status hth_gguf_get_array(const hth_gguf *gguf, const char *key, hth_gguf_type type, const hth_gguf_kv **ret_array,
                              hth_error *err)
{
	const hth_gguf_kv *kv;
	HTH_TRY(find(gguf, key, &kv, err));
	char wanted[64];
	snprintf(wanted, sizeof wanted, "an array of %s", hth_gguf_type_name(type));
	if (kv->type != HTH_GGUF_ARRAY)
		return wrong_type(kv, wanted, err);
	if (kv->element != type)
		return wrong_value(kv, wanted, err);
	*ret_array = kv;
	return HTH_OK;
}

size_t hth_gguf_array_len(const hth_gguf_kv *array)
{
	return array->type == HTH_GGUF_ARRAY ? (size_t)array->len : 0;
}
hth_gguf_type hth_gguf_array_type(const hth_gguf_kv *array)
{
	return (hth_gguf_type)array->element;
}

/* The header's promise for a programmer's error: never reached through anything a file holds. */
static void require(bool holds)
{
	if (!holds)
		abort();
}

hth_view hth_gguf_array_string(const hth_gguf_kv *array, size_t i)
{
	require(array->type == HTH_GGUF_ARRAY && array->element == HTH_GGUF_STRING && i < array->len);
	const unsigned char *at = array->value + array->string_places[i / GGUF_STRING_STRIDE];
	uint64_t len;
	memcpy(&len, at, sizeof len);
	for (size_t left = i % GGUF_STRING_STRIDE; left > 0; left--) {
		at += sizeof len + len;
		memcpy(&len, at, sizeof len);
	}
	return (hth_view){(const char *)at + sizeof len, (size_t)len};
}

float hth_gguf_array_f32(const hth_gguf_kv *array, size_t i)
{
	double value = 0;
	require(array->type == HTH_GGUF_ARRAY && i < array->len &&
	        read_float(array->value + i * hth_gguf_scalar_size(array->element), array->element, &value));
	return (float)value;
}

int64_t hth_gguf_array_int(const hth_gguf_kv *array, size_t i)
{
	int64_t value = 0;
	bool over = false;
	require(array->type == HTH_GGUF_ARRAY && i < array->len &&
	        read_integer(array->value + i * hth_gguf_scalar_size(array->element), array->element, &value, &over));
	return over ? INT64_MAX : value;
}

/* The end of n elements, walking what has no fixed size; their nesting was bounded when the file was opened. */
static const unsigned char *skip_elements(const unsigned char *at, unsigned element, uint64_t n)
{
	if (hth_gguf_scalar_size(element) > 0)
		return at + n * hth_gguf_scalar_size(element);
	for (uint64_t i = 0; i < n; i++) {
		uint32_t inner;
		uint64_t len;
		if (element == HTH_GGUF_STRING) {
			memcpy(&len, at, sizeof len);
			at += sizeof len + len;
		} else {
			memcpy(&inner, at, sizeof inner);
			memcpy(&len, at + sizeof inner, sizeof len);
			at = skip_elements(at + sizeof inner + sizeof len, inner, len);
		}
	}
	return at;
}

size_t hth_gguf_array_bytes(const hth_gguf_kv *array)
{
	return (size_t)(skip_elements(array->value, array->element, array->len) - array->value);
}

bool hth_gguf_escape(hth_view text, size_t max_chars, char *out, size_t out_len)
{
	size_t at = 0, chars = 0, i = 0;
	while (i < text.len && chars++ < max_chars) {
		uint32_t cp = 0;
		size_t n = hth_utf8_decode(text.data + i, text.len - i, &cp);
		bool plain = n > 0 && cp >= 0x20 && cp != 0x7F && !(cp >= 0x80 && cp < 0xA0) && cp != '"' &&
		             cp != '\\' && !(cp >= 0x200B && cp <= 0x200F) && !(cp >= 0x2028 && cp <= 0x202E) &&
		             !(cp >= 0x2066 && cp <= 0x2069) && cp != 0xFEFF;
		char piece[16];
		size_t len = n;
		if (plain) {
			memcpy(piece, text.data + i, n);
		} else if (n == 1 && (cp == '"' || cp == '\\' || cp == '\n' || cp == '\t')) {
			len = (size_t)snprintf(piece, sizeof piece, "\\%c",
			                       cp == '\n'   ? 'n'
			                       : cp == '\t' ? 't'
			                                    : (char)cp);
		} else if (n > 1) {
			len = (size_t)snprintf(piece, sizeof piece, "\\u%04X", (unsigned)cp);
		} else {
			n = 1;
			len = (size_t)snprintf(piece, sizeof piece, "\\x%02X", (unsigned char)text.data[i]);
		}
		if (at + len >= out_len)
			break;
		memcpy(out + at, piece, len);
		at += len;
		i += n;
	}
	if (out_len > 0)
		out[at] = '\0';
	return i == text.len;
}

const char *hth_gguf_quote(hth_view text, char out[GGUF_QUOTE_MAX])
{
	char inner[GGUF_QUOTE_MAX - 8];
	bool whole = hth_gguf_escape(text, 80, inner, sizeof inner);
	snprintf(out, GGUF_QUOTE_MAX, "\"%s\"%s", inner, whole ? "" : "...");
	return out;
}

void hth_gguf_kv_describe(const hth_gguf_kv *kv, char *out, size_t out_len)
{
	if (out_len == 0)
		return;
	int64_t integer = 0;
	double real = 0;
	bool over = false;
	if (kv->type == HTH_GGUF_STRING) {
		char text[512];
		size_t room = HTH_MIN(sizeof text, out_len > 6 ? out_len - 5 : 1);
		bool whole = hth_gguf_escape((hth_view){(const char *)kv->value, (size_t)kv->len}, 256, text, room);
		snprintf(out, out_len, "\"%s\"%s", text, whole ? "" : "...");
	} else if (kv->type == HTH_GGUF_ARRAY) {
		bool plural = kv->len != 1 && (kv->element == HTH_GGUF_STRING || kv->element == HTH_GGUF_ARRAY);
		snprintf(out, out_len, "[%" PRIu64 " %s%s]", kv->len, hth_gguf_type_name(kv->element),
		         plural ? "s" : "");
	} else if (kv->type == HTH_GGUF_BOOL) {
		snprintf(out, out_len, "%s", *kv->value ? "true" : "false");
	} else if (read_float(kv->value, kv->type, &real)) {
		snprintf(out, out_len, "%.*g", kv->type == HTH_GGUF_F32 ? 7 : 15, real);
	} else if (read_integer(kv->value, kv->type, &integer, &over)) {
		if (over)
			snprintf(out, out_len, "%" PRIu64, (uint64_t)integer);
		else
			snprintf(out, out_len, "%" PRId64, integer);
	}
}
