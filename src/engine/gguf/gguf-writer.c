/* gguf-writer.c - a GGUF file written front to back; the header is kept in memory until begin, the data never is. */
#include "engine/gguf/gguf-writer.h"

#include "base/buf.h"
#include "base/mem.h"
#include "engine/gguf/gguf-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

typedef struct name_place {
	size_t at, len; /* where the name lies in its buffer */
} name_place;

typedef struct name_list {
	name_place *names;
	size_t n, cap;
} name_list;

struct hth_gguf_writer {
	int fd;
	hth_buf kv, infos;
	name_list keys, tensors;
	uint64_t *tensor_bytes;
	size_t tensor_cap;
	uint64_t data_bytes; /* of all declared tensors, each padded */
	hth_error failed;    /* what went wrong first while declaring */
	bool begun;
	uint64_t at;    /* next byte of the file */
	uint64_t left;  /* bytes still missing of the current tensor */
	size_t current; /* tensor */
};

hth_status hth_gguf_writer_create(hth_gguf_writer **ret_writer, int fd, hth_error *err)
{
	hth_gguf_writer *w = calloc(1, sizeof *w);
	if (w == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to write a model file");
	w->fd = fd;
	w->kv = HTH_BUF_INIT(GGUF_MAX_HEADER);
	w->infos = HTH_BUF_INIT(GGUF_MAX_HEADER);
	*ret_writer = w;
	return HTH_OK;
}

void hth_gguf_writer_destroy(hth_gguf_writer *w)
{
	if (w == NULL)
		return;
	hth_buf_finish(&w->kv);
	hth_buf_finish(&w->infos);
	free(w->keys.names);
	free(w->tensors.names);
	free(w->tensor_bytes);
	free(w);
}

static bool add_name(hth_gguf_writer *w, name_list *list, size_t at, size_t len)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 64;
		name_place *names = realloc(list->names, cap * sizeof *names);
		if (names == NULL) {
			hth_fail(&w->failed, HTH_NO_MEMORY, "no memory for the header of a model file");
			return false;
		}
		list->names = names;
		list->cap = cap;
	}
	list->names[list->n++] = (name_place){at, len};
	return true;
}

static void put(hth_buf *buf, const void *bytes, size_t len)
{
	hth_buf_append(buf, bytes, len);
}
static void put_u32(hth_buf *buf, uint32_t v)
{
	put(buf, &v, sizeof v);
}
static void put_u64(hth_buf *buf, uint64_t v)
{
	put(buf, &v, sizeof v);
}
static void put_string(hth_buf *buf, const char *s, size_t len)
{
	put_u64(buf, len);
	put(buf, s, len);
}

/* Begins an entry: its key and type. False when nothing more is taken. */
static bool key(hth_gguf_writer *w, const char *name, size_t len, uint32_t type)
{
	if (w->failed.status != HTH_OK)
		return false;
	if (len == 0 || len > GGUF_MAX_KEY || w->keys.n >= GGUF_MAX_KV) {
		hth_fail(&w->failed, HTH_INVALID, "metadata key of %zu bytes, or more than %d entries", len,
		         GGUF_MAX_KV);
		return false;
	}
	if (!add_name(w, &w->keys, w->kv.len + sizeof(uint64_t), len))
		return false;
	put_string(&w->kv, name, len);
	put_u32(&w->kv, type);
	return true;
}

static void scalar(hth_gguf_writer *w, const char *name, hth_gguf_type type, const void *value)
{
	if (key(w, name, strlen(name), type))
		put(&w->kv, value, hth_gguf_scalar_size(type));
}

void hth_gguf_writer_set_u32(hth_gguf_writer *w, const char *name, uint32_t v)
{
	scalar(w, name, HTH_GGUF_U32, &v);
}
void hth_gguf_writer_set_u64(hth_gguf_writer *w, const char *name, uint64_t v)
{
	scalar(w, name, HTH_GGUF_U64, &v);
}
void hth_gguf_writer_set_i32(hth_gguf_writer *w, const char *name, int32_t v)
{
	scalar(w, name, HTH_GGUF_I32, &v);
}
void hth_gguf_writer_set_f32(hth_gguf_writer *w, const char *name, float v)
{
	scalar(w, name, HTH_GGUF_F32, &v);
}

void hth_gguf_writer_set_bool(hth_gguf_writer *w, const char *name, bool v)
{
	uint8_t byte = v;
	scalar(w, name, HTH_GGUF_BOOL, &byte);
}

void hth_gguf_writer_set_string(hth_gguf_writer *w, const char *name, const char *value)
{
	if (key(w, name, strlen(name), HTH_GGUF_STRING))
		put_string(&w->kv, value, strlen(value));
}

void hth_gguf_writer_set_strings(hth_gguf_writer *w, const char *name, const hth_view *values, size_t n)
{
	if (!key(w, name, strlen(name), HTH_GGUF_ARRAY))
		return;
	put_u32(&w->kv, HTH_GGUF_STRING);
	put_u64(&w->kv, n);
	for (size_t i = 0; i < n; i++)
		put_string(&w->kv, values[i].data, values[i].len);
}

void hth_gguf_writer_set_array(hth_gguf_writer *w, const char *name, hth_gguf_type type, const void *values, size_t n)
{
	size_t size = hth_gguf_scalar_size(type);
	if (size == 0) {
		if (w->failed.status == HTH_OK)
			hth_fail(&w->failed, HTH_INVALID, "metadata \"%s\": an array of %s is not set this way", name,
			         hth_gguf_type_name(type));
		return;
	}
	if (!key(w, name, strlen(name), HTH_GGUF_ARRAY))
		return;
	put_u32(&w->kv, type);
	put_u64(&w->kv, n);
	put(&w->kv, values, n * size);
}

void hth_gguf_writer_copy_kv(hth_gguf_writer *w, const hth_gguf_kv *kv)
{
	if (!key(w, kv->key.data, kv->key.len, kv->type))
		return;
	if (kv->type == HTH_GGUF_STRING)
		put_string(&w->kv, (const char *)kv->value, (size_t)kv->len);
	else if (kv->type == HTH_GGUF_ARRAY)
		/* Its type and length lie right before its elements. */
		put(&w->kv, kv->value - 12, hth_gguf_array_bytes(kv) + 12);
	else
		put(&w->kv, kv->value, hth_gguf_scalar_size(kv->type));
}

void hth_gguf_writer_add_tensor(hth_gguf_writer *w, const char *name, hth_type type, uint32_t n_dims,
                                const uint64_t *ne)
{
	if (w->failed.status != HTH_OK)
		return;
	size_t len = strlen(name);
	const hth_type_traits *traits = hth_type_get(type);
	bool bad = len == 0 || len > GGUF_MAX_NAME || traits == NULL || n_dims < 1 || n_dims > 4 || w->begun ||
	           w->tensors.n >= GGUF_MAX_TENSORS;
	uint64_t bytes = bad ? 0 : traits->block_bytes;
	for (uint32_t d = 0; d < n_dims && !bad; d++) {
		bad |= ne[d] == 0 || (d == 0 && ne[0] % traits->block_elems != 0);
		bad |= hth_mul_overflows(bytes, d == 0 ? ne[0] / traits->block_elems : ne[d], &bytes);
	}
	uint64_t end = 0;
	bad |= bytes > INT64_MAX || hth_add_overflows(w->data_bytes, bytes, &end) || end > INT64_MAX;
	if (bad) {
		hth_fail(&w->failed, HTH_INVALID, "tensor \"%.80s\": an impossible name, type or shape", name);
		return;
	}
	if (w->tensors.n == w->tensor_cap) {
		size_t cap = w->tensor_cap ? w->tensor_cap * 2 : 64;
		uint64_t *list = realloc(w->tensor_bytes, cap * sizeof *list);
		if (list == NULL) {
			hth_fail(&w->failed, HTH_NO_MEMORY, "no memory for the header of a model file");
			return;
		}
		w->tensor_bytes = list;
		w->tensor_cap = cap;
	}
	w->tensor_bytes[w->tensors.n] = bytes;
	if (!add_name(w, &w->tensors, w->infos.len + sizeof(uint64_t), len))
		return;
	put_string(&w->infos, name, len);
	put_u32(&w->infos, n_dims);
	for (uint32_t d = 0; d < n_dims; d++)
		put_u64(&w->infos, ne[d]);
	put_u32(&w->infos, type);
	put_u64(&w->infos, w->data_bytes);
	w->data_bytes = hth_round_up(end, GGUF_DEFAULT_ALIGNMENT);
}

static hth_status check_unique(const name_list *list, const hth_buf *buf, const char *what, hth_error *err)
{
	HTH_AUTO_FREE hth_view *views = hth_alloc_array(list->n, sizeof *views);
	HTH_AUTO_FREE gguf_slot *index = hth_alloc_array(list->n, sizeof *index);
	if (views == NULL || index == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the header of a model file");
	for (size_t i = 0; i < list->n; i++) {
		views[i] = (hth_view){buf->data + list->names[i].at, list->names[i].len};
		index[i] = (gguf_slot){hth_gguf_hash(views[i]), (uint32_t)i};
	}
	hth_gguf_index_sort(index, list->n, views, sizeof *views);
	size_t twice = hth_gguf_index_duplicate(index, list->n, views, sizeof *views);
	if (twice == 0)
		return HTH_OK;
	char quoted[GGUF_QUOTE_MAX];
	return hth_fail(err, HTH_INVALID, "%s %s is there twice", what, hth_gguf_quote(views[index[twice].i], quoted));
}

static hth_status write_all(hth_gguf_writer *w, const void *bytes, size_t len, hth_error *err)
{
	const char *at = bytes;
	while (len > 0) {
		ssize_t n = pwrite(w->fd, at, len, (off_t)w->at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return hth_fail_errno(err, HTH_IO, n < 0 ? errno : ENOSPC,
			                      "cannot write byte %" PRIu64 " of the model file", w->at);
		at += n;
		len -= (size_t)n;
		w->at += (uint64_t)n;
	}
	return HTH_OK;
}

static hth_status write_padding(hth_gguf_writer *w, hth_error *err)
{
	static const char zeros[GGUF_DEFAULT_ALIGNMENT];
	return write_all(w, zeros, hth_round_up(w->at, GGUF_DEFAULT_ALIGNMENT) - w->at, err);
}

hth_status hth_gguf_writer_begin(hth_gguf_writer *w, hth_error *err)
{
	if (w->begun)
		return hth_fail(err, HTH_CONFLICT, "this model file was begun already");
	if (w->failed.status != HTH_OK)
		return hth_fail(err, w->failed.status, "%s", w->failed.message);
	HTH_TRY(hth_buf_check(&w->kv, "the model file's metadata", err));
	HTH_TRY(hth_buf_check(&w->infos, "the model file's list of tensors", err));
	HTH_TRY(check_unique(&w->keys, &w->kv, "metadata", err));
	HTH_TRY(check_unique(&w->tensors, &w->infos, "tensor", err));
	struct {
		char magic[4];
		uint32_t version;
		uint64_t n_tensors, n_kv;
	} head = {{'G', 'G', 'U', 'F'}, 3, w->tensors.n, w->keys.n};
	uint64_t header = sizeof head + w->kv.len + w->infos.len;
	if (header > GGUF_MAX_HEADER)
		return hth_fail(err, HTH_TOO_LARGE, "the model file's header of %" PRIu64 " bytes is over %d MiB",
		                header, GGUF_MAX_HEADER >> 20);
	uint64_t file_bytes = hth_round_up(header, GGUF_DEFAULT_ALIGNMENT) + w->data_bytes;
	if (fallocate(w->fd, 0, 0, (off_t)file_bytes) != 0 && (errno == ENOSPC || errno == EFBIG || errno == EDQUOT))
		return hth_fail_errno(err, HTH_IO, errno, "no room for a model file of %" PRIu64 " bytes",
		                      file_bytes);
	w->begun = true;
	HTH_TRY(write_all(w, &head, sizeof head, err));
	HTH_TRY(write_all(w, w->kv.data, w->kv.len, err));
	HTH_TRY(write_all(w, w->infos.data, w->infos.len, err));
	w->left = w->tensors.n > 0 ? w->tensor_bytes[0] : 0;
	return write_padding(w, err);
}

hth_status hth_gguf_writer_write(hth_gguf_writer *w, const void *bytes, size_t len, hth_error *err)
{
	if (!w->begun || len > w->left)
		return hth_fail(err, HTH_INVALID, "%zu bytes of tensor data where %" PRIu64 " are missing", len,
		                w->left);
	HTH_TRY(write_all(w, bytes, len, err));
	w->left -= len;
	if (w->left > 0 || len == 0)
		return HTH_OK;
	w->current++;
	w->left = w->current < w->tensors.n ? w->tensor_bytes[w->current] : 0;
	return write_padding(w, err);
}

hth_status hth_gguf_writer_finish(hth_gguf_writer *w, hth_error *err)
{
	if (!w->begun || w->current != w->tensors.n)
		return hth_fail(err, HTH_INVALID, "the model file lacks the data of %zu of %zu tensors",
		                w->tensors.n - w->current, w->tensors.n);
	if (ftruncate(w->fd, (off_t)w->at) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot set the model file's size");
	return HTH_OK;
}
