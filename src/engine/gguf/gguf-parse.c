/* gguf-parse.c - one shard's bytes, read once from front to back and checked as they come.
 *
 * This file believes nothing: every read goes through take(), which compares with what is left (never adds to a
 * position); every count is held against the bytes that its entries need at least, before anything is allocated for it;
 * every product is checked. Tables grow with the entries that were really there, so memory follows the file's bytes.
 * Only headers are touched, and pages of a mapped header are given back while it goes on, so that a hostile file of any
 * size costs little memory. What the numbers mean for a model (shapes, counts of layers) is the model's to check.
 */
#include "engine/gguf/gguf-internal.h"

#include "base/mem.h"
#include "engine/quant/quant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

typedef struct cursor {
	const unsigned char *bytes;
	uint64_t size, pos;
	uint64_t dropped; /* mapped pages before this were given back */
	bool mapped;
	hth_error *err;
} cursor;

static const struct {
	const char *name;
	size_t size;
} value_types[] = {
    [HTH_GGUF_U8] = {"u8", 1},       [HTH_GGUF_I8] = {"i8", 1},     [HTH_GGUF_U16] = {"u16", 2},
    [HTH_GGUF_I16] = {"i16", 2},     [HTH_GGUF_U32] = {"u32", 4},   [HTH_GGUF_I32] = {"i32", 4},
    [HTH_GGUF_F32] = {"f32", 4},     [HTH_GGUF_BOOL] = {"bool", 1}, [HTH_GGUF_STRING] = {"string", 0},
    [HTH_GGUF_ARRAY] = {"array", 0}, [HTH_GGUF_U64] = {"u64", 8},   [HTH_GGUF_I64] = {"i64", 8},
    [HTH_GGUF_F64] = {"f64", 8},
};

size_t hth_gguf_scalar_size(uint32_t type)
{
	return type < HTH_COUNT(value_types) ? value_types[type].size : 0;
}
const char *hth_gguf_type_name(uint32_t type)
{
	return type < HTH_COUNT(value_types) ? value_types[type].name : "unknown type";
}

/* The next n bytes; false with an error that says where the file stops short. */
static bool take(cursor *c, uint64_t n, const unsigned char **ret_at, const char *what)
{
	if (n > c->size - c->pos) {
		hth_fail(c->err, HTH_BAD_FORMAT,
		         "%s at byte %" PRIu64 " needs %" PRIu64 " bytes, but the file ends at byte %" PRIu64
		         ": it is cut short or damaged",
		         what, c->pos, n, c->size);
		return false;
	}
	if (c->pos + n > GGUF_MAX_HEADER) {
		hth_fail(c->err, HTH_TOO_LARGE, "%s at byte %" PRIu64 " takes the header past its limit of %d MiB",
		         what, c->pos, GGUF_MAX_HEADER >> 20);
		return false;
	}
	*ret_at = c->bytes + c->pos;
	c->pos += n;
	enum { DROP_STEP = 8 << 20 };
	if (c->mapped && c->pos - c->dropped >= 2 * DROP_STEP) {
		madvise((void *)(uintptr_t)(c->bytes + c->dropped), DROP_STEP, MADV_DONTNEED);
		c->dropped += DROP_STEP;
	}
	return true;
}

static bool take_u32(cursor *c, uint32_t *ret, const char *what)
{
	const unsigned char *at;
	if (!take(c, sizeof *ret, &at, what))
		return false;
	memcpy(ret, at, sizeof *ret);
	return true;
}

static bool take_u64(cursor *c, uint64_t *ret, const char *what)
{
	const unsigned char *at;
	if (!take(c, sizeof *ret, &at, what))
		return false;
	memcpy(ret, at, sizeof *ret);
	return true;
}

static bool take_string(cursor *c, hth_view *ret, const char *what)
{
	uint64_t len;
	const unsigned char *at;
	if (!take_u64(c, &len, what) || !take(c, len, &at, what))
		return false;
	*ret = (hth_view){(const char *)at, (size_t)len};
	return true;
}

/* Makes room for one more; NULL when there is no memory. */
static void *grow(void **table, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return (char *)*table + n * size;
	size_t new_cap = *cap ? *cap * 2 : 32;
	void *bigger = realloc(*table, new_cap * size);
	if (bigger == NULL)
		return NULL;
	*table = bigger;
	*cap = new_cap;
	return (char *)bigger + n * size;
}

/* Magic of files that people try to load instead; a line of help for each. */
static hth_status refuse_magic(const cursor *c)
{
	static const struct {
		const char *magic, *what;
	} known[] = {
	    {"ggml", "a GGML file from before GGUF; convert it again from the original model"},
	    {"lmgg", "a GGML file from before GGUF; convert it again from the original model"},
	    {"fmgg", "a GGML file from before GGUF; convert it again from the original model"},
	    {"tjgg", "a GGJT file from before GGUF; convert it again from the original model"},
	    {"vers", "a Git LFS pointer, not the model itself; fetch it with git lfs pull, or download the file"},
	    {"PK\x03\x04", "a ZIP or PyTorch file; Hearth reads GGUF"},
	    {"<!DO", "a web page; the download saved a page instead of the model"},
	    {"<htm", "a web page; the download saved a page instead of the model"},
	    {"FUGG", "a big-endian GGUF file; Hearth reads little-endian ones"},
	};
	for (size_t i = 0; i < HTH_COUNT(known) && c->size >= 4; i++)
		if (memcmp(c->bytes, known[i].magic, 4) == 0)
			return hth_fail(c->err, HTH_UNSUPPORTED, "this is %s", known[i].what);
	if (c->size > 9 && c->bytes[8] == '{')
		return hth_fail(c->err, HTH_UNSUPPORTED, "this looks like a safetensors file; Hearth reads GGUF");
	return hth_fail(c->err, HTH_BAD_FORMAT, "not a GGUF file: it does not begin with \"GGUF\"");
}

static hth_status check_version(cursor *c)
{
	const unsigned char *magic;
	if (c->size < 4 || !take(c, 4, &magic, "the magic") || memcmp(magic, "GGUF", 4) != 0)
		return refuse_magic(c);
	uint32_t version;
	if (!take_u32(c, &version, "the version"))
		return c->err->status;
	if (version != 0 && (version & 0xFFFF) == 0)
		return hth_fail(c->err, HTH_UNSUPPORTED,
		                "this GGUF file is big-endian (version field 0x%08" PRIX32
		                "); Hearth reads little-endian ones",
		                version);
	if (version == 1)
		return hth_fail(
		    c->err, HTH_UNSUPPORTED,
		    "this GGUF file is of version 1, which was only used for some weeks in 2023; Hearth reads 2 "
		    "and 3: get a newer conversion of the model");
	if (version != 2 && version != 3)
		return hth_fail(c->err, HTH_UNSUPPORTED,
		                "this GGUF file is of version %" PRIu32 "; Hearth reads 2 and 3", version);
	return HTH_OK;
}

/* Steps over an array's elements. Its own nesting is bounded, and every element takes bytes of the file, so the work is
 * linear in the header. ret_places may be NULL (nested arrays get no index). */
static hth_status parse_array(cursor *c, const char *what, unsigned depth, uint8_t *ret_element, uint64_t *ret_len,
                              uint32_t **ret_places)
{
	uint32_t element;
	uint64_t len;
	if (!take_u32(c, &element, what) || !take_u64(c, &len, what))
		return c->err->status;
	if (element >= HTH_COUNT(value_types))
		return hth_fail(c->err, HTH_BAD_FORMAT,
		                "%s at byte %" PRIu64 " is an array of unknown type %" PRIu32 " (0 to %zu are known)",
		                what, c->pos - 12, element, HTH_COUNT(value_types) - 1);
	uint64_t least = element == HTH_GGUF_STRING ? 8 : element == HTH_GGUF_ARRAY ? 12 : value_types[element].size;
	if (len > (c->size - c->pos) / least)
		return hth_fail(c->err, HTH_BAD_FORMAT,
		                "%s at byte %" PRIu64 " is an array of %" PRIu64
		                " elements (%s), more than the %" PRIu64 " bytes left in the file can hold",
		                what, c->pos - 12, len, value_types[element].name, c->size - c->pos);
	*ret_element = (uint8_t)element;
	*ret_len = len;
	if (element == HTH_GGUF_STRING) {
		HTH_AUTO_FREE uint32_t *places = NULL;
		size_t cap = 0, n = 0;
		const unsigned char *first = c->bytes + c->pos;
		for (uint64_t i = 0; i < len; i++) {
			if (ret_places != NULL && i % GGUF_STRING_STRIDE == 0) {
				uint32_t *place = grow((void **)&places, n++, &cap, sizeof *places);
				if (place == NULL)
					return hth_fail(c->err, HTH_NO_MEMORY, "no memory to index %s", what);
				*place = (uint32_t)(c->bytes + c->pos - first);
			}
			hth_view s;
			if (!take_string(c, &s, what))
				return hth_fail_prefix(c->err, "string %" PRIu64 " of %" PRIu64, i, len);
		}
		if (ret_places != NULL) {
			*ret_places = places;
			places = NULL;
		}
		return HTH_OK;
	}
	if (element == HTH_GGUF_ARRAY) {
		if (depth + 1 >= GGUF_MAX_NESTING)
			return hth_fail(c->err, HTH_TOO_LARGE, "%s at byte %" PRIu64 " nests arrays more than %d deep",
			                what, c->pos - 12, GGUF_MAX_NESTING);
		for (uint64_t i = 0; i < len; i++) {
			uint8_t inner_element;
			uint64_t inner_len;
			HTH_TRY(parse_array(c, what, depth + 1, &inner_element, &inner_len, NULL));
		}
		return HTH_OK;
	}
	const unsigned char *items;
	return take(c, len * value_types[element].size, &items, what) ? HTH_OK : c->err->status;
}

static hth_status parse_value(cursor *c, hth_gguf_kv *kv, const char *what)
{
	uint32_t type;
	if (!take_u32(c, &type, what))
		return c->err->status;
	if (type >= HTH_COUNT(value_types))
		return hth_fail(c->err, HTH_BAD_FORMAT,
		                "%s at byte %" PRIu64 " has unknown type %" PRIu32 " (0 to %zu are known)", what,
		                c->pos - 4, type, HTH_COUNT(value_types) - 1);
	kv->type = (uint8_t)type;
	if (type == HTH_GGUF_STRING) {
		hth_view s;
		if (!take_string(c, &s, what))
			return c->err->status;
		kv->value = (const unsigned char *)s.data;
		kv->len = s.len;
		return HTH_OK;
	}
	if (type == HTH_GGUF_ARRAY) {
		uint64_t start = c->pos;
		uint32_t *places = NULL;
		HTH_TRY(parse_array(c, what, 0, &kv->element, &kv->len, &places));
		kv->value = c->bytes + start + 12;
		kv->string_places = places;
		return HTH_OK;
	}
	if (!take(c, value_types[type].size, &kv->value, what))
		return c->err->status;
	if (type == HTH_GGUF_BOOL && *kv->value > 1)
		return hth_fail(c->err, HTH_BAD_FORMAT, "%s at byte %" PRIu64 " is a bool of value %u, neither 0 nor 1",
		                what, c->pos - 1, *kv->value);
	return HTH_OK;
}

static hth_status parse_kv(cursor *c, gguf_parsed *parsed, uint64_t i)
{
	char what[GGUF_QUOTE_MAX + 32], quoted[GGUF_QUOTE_MAX];
	snprintf(what, sizeof what, "the key of metadata entry %" PRIu64, i);
	uint64_t at = c->pos, len;
	if (!take_u64(c, &len, what))
		return c->err->status;
	if (len == 0)
		return hth_fail(c->err, HTH_BAD_FORMAT, "%s at byte %" PRIu64 " is empty", what, at);
	if (len > GGUF_MAX_KEY)
		return hth_fail(c->err, HTH_BAD_FORMAT,
		                "%s at byte %" PRIu64 " is %" PRIu64 " bytes long; keys have at most %d", what, at, len,
		                GGUF_MAX_KEY);
	const unsigned char *key;
	if (!take(c, len, &key, what))
		return c->err->status;
	hth_gguf_kv kv = {.key = {(const char *)key, (size_t)len}};
	snprintf(what, sizeof what, "metadata %s", hth_gguf_quote(kv.key, quoted));
	HTH_TRY(parse_value(c, &kv, what));
	hth_gguf_kv *entry = grow((void **)&parsed->kv, parsed->n_kv, &parsed->kv_cap, sizeof *parsed->kv);
	gguf_slot *slot = grow((void **)&parsed->kv_index, parsed->n_kv, &parsed->index_cap, sizeof *parsed->kv_index);
	if (entry == NULL || slot == NULL) {
		free((void *)(uintptr_t)kv.string_places);
		return hth_fail(c->err, HTH_NO_MEMORY, "no memory for the metadata index");
	}
	*entry = kv;
	/* Hashed now, while the key's page is here: sorting then touches keys of equal hash only. */
	*slot = (gguf_slot){hth_gguf_hash(kv.key), (uint32_t)parsed->n_kv++};
	return HTH_OK;
}

static hth_status index_kv(gguf_parsed *parsed, hth_error *err)
{
	if (parsed->n_kv == 0)
		return HTH_OK;
	hth_gguf_index_sort(parsed->kv_index, parsed->n_kv, &parsed->kv->key, sizeof *parsed->kv);
	size_t twice = hth_gguf_index_duplicate(parsed->kv_index, parsed->n_kv, &parsed->kv->key, sizeof *parsed->kv);
	if (twice != 0) {
		char quoted[GGUF_QUOTE_MAX];
		return hth_fail(err, HTH_BAD_FORMAT, "metadata %s is there twice",
		                hth_gguf_quote(parsed->kv[parsed->kv_index[twice].i].key, quoted));
	}
	return HTH_OK;
}

static hth_status find_alignment(const gguf_parsed *parsed, uint64_t *ret_alignment, hth_error *err)
{
	static const char key[] = "general.alignment";
	*ret_alignment = GGUF_DEFAULT_ALIGNMENT;
	if (parsed->n_kv == 0)
		return HTH_OK;
	size_t i = hth_gguf_index_find(parsed->kv_index, parsed->n_kv, &parsed->kv->key, sizeof *parsed->kv,
	                               (hth_view){key, sizeof key - 1});
	if (i == SIZE_MAX)
		return HTH_OK;
	uint64_t value;
	HTH_TRY(hth_gguf_kv_u64(&parsed->kv[i], UINT32_MAX, &value, err));
	if (value < GGUF_MIN_ALIGNMENT || value > GGUF_MAX_ALIGNMENT || (value & (value - 1)) != 0)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "metadata \"%s\" is %" PRIu64 "; it must be a power of two from %d to %d", key, value,
		                GGUF_MIN_ALIGNMENT, GGUF_MAX_ALIGNMENT);
	*ret_alignment = value;
	return HTH_OK;
}

/* Bytes of the tensor's data; checks type, block and products. */
static hth_status tensor_bytes(hth_gguf_tensor *t, const char *what, hth_error *err)
{
	const hth_type_traits *traits = hth_type_get(t->type);
	if (traits == NULL) {
		bool removed = t->type == 4 || t->type == 5 || (t->type >= 31 && t->type <= 33) ||
		               (t->type >= 36 && t->type <= 38);
		return hth_fail(err, HTH_UNSUPPORTED, "%s is of type %" PRIu32 ", which %s", what, t->type,
		                removed ? "was removed from GGUF: get a newer conversion of the model"
		                        : "this version of Hearth does not know");
	}
	if (t->ne[0] % traits->block_elems != 0)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "%s has rows of %" PRIu64 " elements, not a multiple of %s's block of %" PRIu32, what,
		                t->ne[0], traits->name, traits->block_elems);
	uint64_t bytes = t->ne[0] / traits->block_elems;
	bool wraps = hth_mul_overflows(bytes, traits->block_bytes, &bytes);
	uint64_t elements = t->ne[0];
	for (unsigned d = 1; d < 4; d++) {
		wraps |= hth_mul_overflows(bytes, t->ne[d], &bytes);
		wraps |= hth_mul_overflows(elements, t->ne[d], &elements);
	}
	if (wraps || elements > INT64_MAX || bytes > INT64_MAX)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "%s has impossible dimensions %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64, what,
		                t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
	t->n_bytes = bytes;
	return HTH_OK;
}

static hth_status parse_tensor(cursor *c, hth_gguf_tensor *ret_tensor, uint64_t *ret_offset, uint64_t i)
{
	char what[GGUF_QUOTE_MAX + 64], quoted[GGUF_QUOTE_MAX];
	snprintf(what, sizeof what, "the name of tensor %" PRIu64, i);
	uint64_t at = c->pos, len;
	if (!take_u64(c, &len, what))
		return c->err->status;
	if (len == 0 || len > GGUF_MAX_NAME)
		return hth_fail(c->err, HTH_BAD_FORMAT,
		                "%s at byte %" PRIu64 " is %" PRIu64 " bytes long; names have 1 to %d", what, at, len,
		                GGUF_MAX_NAME);
	const unsigned char *name;
	if (!take(c, len, &name, what))
		return c->err->status;
	hth_gguf_tensor t = {.name = {(const char *)name, (size_t)len}, .ne = {1, 1, 1, 1}};
	snprintf(what, sizeof what, "tensor %s (byte %" PRIu64 ")", hth_gguf_quote(t.name, quoted), at);
	if (!take_u32(c, &t.n_dims, what))
		return c->err->status;
	if (t.n_dims < 1 || t.n_dims > 4)
		return hth_fail(c->err, HTH_BAD_FORMAT, "%s has %" PRIu32 " dimensions; 1 to 4 are possible", what,
		                t.n_dims);
	for (uint32_t d = 0; d < t.n_dims; d++) {
		if (!take_u64(c, &t.ne[d], what))
			return c->err->status;
		if (t.ne[d] == 0 || t.ne[d] > INT64_MAX)
			return hth_fail(c->err, HTH_BAD_FORMAT, "%s has %" PRId64 " elements in dimension %" PRIu32,
			                what, (int64_t)t.ne[d], d);
	}
	if (!take_u32(c, &t.type, what) || !take_u64(c, ret_offset, what))
		return c->err->status;
	HTH_TRY(tensor_bytes(&t, what, c->err));
	*ret_tensor = t;
	return HTH_OK;
}

static int by_offset(const void *a, const void *b)
{
	const gguf_place *x = a, *y = b;
	return x->offset != y->offset ? (x->offset > y->offset) - (x->offset < y->offset)
	                              : (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* Gives each of the shard's n tensors its data: inside the file, aligned, over nobody else's. */
static hth_status place_tensors(hth_gguf *gguf, size_t n, gguf_place *places, const cursor *c, uint64_t alignment)
{
	if (n == 0)
		return HTH_OK;
	char quoted[GGUF_QUOTE_MAX], other[GGUF_QUOTE_MAX];
	uint64_t start = (c->pos + alignment - 1) & ~(alignment - 1); /* pos is at most GGUF_MAX_HEADER */
	if (start > c->size)
		return hth_fail(c->err, HTH_BAD_FORMAT,
		                "the tensors' data begins at byte %" PRIu64 ", but the file ends at byte %" PRIu64
		                ": it is cut short or damaged",
		                start, c->size);
	uint64_t room = c->size - start;
	for (size_t i = 0; i < n; i++) {
		hth_gguf_tensor *t = &gguf->tensors[places[i].tensor];
		uint64_t offset = places[i].offset;
		if (offset % alignment != 0)
			return hth_fail(c->err, HTH_BAD_FORMAT,
			                "tensor %s has its data at offset %" PRIu64
			                ", not a multiple of the alignment %" PRIu64,
			                hth_gguf_quote(t->name, quoted), offset, alignment);
		if (offset > room || t->n_bytes > room - offset)
			return hth_fail(c->err, HTH_BAD_FORMAT,
			                "tensor %s needs %" PRIu64 " bytes at offset %" PRIu64
			                ", but the file has %" PRIu64 " bytes of data: it is cut short or damaged",
			                hth_gguf_quote(t->name, quoted), t->n_bytes, offset, room);
		t->data = c->bytes + start + offset;
	}
	qsort(places, n, sizeof *places, by_offset);
	for (size_t i = 1; i < n; i++) {
		const hth_gguf_tensor *a = &gguf->tensors[places[i - 1].tensor], *b = &gguf->tensors[places[i].tensor];
		if (places[i].offset - places[i - 1].offset < a->n_bytes)
			return hth_fail(c->err, HTH_BAD_FORMAT,
			                "the data of tensors %s and %s overlap (offsets %" PRIu64 " and %" PRIu64 ")",
			                hth_gguf_quote(a->name, quoted), hth_gguf_quote(b->name, other),
			                places[i - 1].offset, places[i].offset);
	}
	return HTH_OK;
}

static hth_status parse_counts(cursor *c, size_t tensors_before, uint64_t *ret_tensors, uint64_t *ret_kv)
{
	/* The least an entry takes: key length, one byte of key, type, one byte; and name length, a byte, dims, type,
	 * offset. */
	enum { LEAST_KV = 14, LEAST_TENSOR = 33 };
	if (!take_u64(c, ret_tensors, "the number of tensors") ||
	    !take_u64(c, ret_kv, "the number of metadata entries"))
		return c->err->status;
	uint64_t left = c->size - c->pos;
	if (*ret_tensors > left / LEAST_TENSOR || *ret_kv > left / LEAST_KV)
		return hth_fail(c->err, HTH_BAD_FORMAT,
		                "the header claims %" PRIu64 " tensors and %" PRIu64
		                " metadata entries, more than the %" PRIu64 " bytes of the file can hold",
		                *ret_tensors, *ret_kv, c->size);
	if (*ret_tensors > GGUF_MAX_TENSORS - tensors_before || *ret_kv > GGUF_MAX_KV)
		return hth_fail(c->err, HTH_TOO_LARGE,
		                "the header has %" PRIu64 " tensors and %" PRIu64
		                " metadata entries; Hearth takes %d and %d",
		                *ret_tensors, *ret_kv, GGUF_MAX_TENSORS, GGUF_MAX_KV);
	return HTH_OK;
}

void hth_gguf_parsed_finish(gguf_parsed *parsed)
{
	for (size_t i = 0; i < parsed->n_kv; i++)
		free((void *)(uintptr_t)parsed->kv[i].string_places);
	free(parsed->kv);
	free(parsed->kv_index);
	*parsed = (gguf_parsed){0};
}

static hth_status parse(hth_gguf *gguf, cursor *c, gguf_parsed *parsed)
{
	uint64_t n_tensors = 0, n_kv = 0, alignment = 0;
	HTH_TRY(check_version(c));
	HTH_TRY(parse_counts(c, gguf->n_tensors, &n_tensors, &n_kv));
	for (uint64_t i = 0; i < n_kv; i++)
		HTH_TRY(parse_kv(c, parsed, i));
	HTH_TRY(index_kv(parsed, c->err));
	HTH_TRY(find_alignment(parsed, &alignment, c->err));
	size_t places_cap = 0;
	HTH_AUTO_FREE gguf_place *places = NULL;
	for (uint64_t i = 0; i < n_tensors; i++) {
		hth_gguf_tensor tensor;
		uint64_t offset = 0;
		HTH_TRY(parse_tensor(c, &tensor, &offset, i));
		hth_gguf_tensor *t =
		    grow((void **)&gguf->tensors, gguf->n_tensors, &gguf->tensor_cap, sizeof *gguf->tensors);
		gguf_place *place = grow((void **)&places, i, &places_cap, sizeof *places);
		if (t == NULL || place == NULL)
			return hth_fail(c->err, HTH_NO_MEMORY, "no memory for the tensor index");
		*t = tensor;
		*place = (gguf_place){offset, (uint32_t)gguf->n_tensors++};
	}
	return place_tensors(gguf, n_tensors, places, c, alignment);
}

hth_status hth_gguf_parse_shard(hth_gguf *gguf, size_t no, gguf_parsed *ret_parsed, hth_error *err)
{
	const gguf_shard *shard = &gguf->shards[no];
	/* A message is always needed here: statuses are read back from it. */
	hth_error own = HTH_ERROR_INIT;
	cursor c = {
	    .bytes = shard->bytes, .size = shard->size, .mapped = shard->mapped, .err = err != NULL ? err : &own};
	gguf_parsed parsed = {0};
	hth_status status = parse(gguf, &c, &parsed);
	if (status != HTH_OK) {
		hth_gguf_parsed_finish(&parsed);
		return status;
	}
	*ret_parsed = parsed;
	return HTH_OK;
}
