/* gguf.c - opening a model: maps its shards, has each one checked, and joins them into one list of tensors.
 *
 * A mapping stays valid after the descriptor is closed. It does not survive the file being cut short by somebody else:
 * touching a page that is gone raises SIGBUS; and somebody who may write the file while it is open can undo what was
 * checked. That is why models are opened in the runner, where it costs one model's requests and not the node. No locks:
 * a handle is immutable once it is returned, and any thread may read it.
 */
#include "engine/gguf/gguf.h"

#include "base/mem.h"
#include "engine/gguf/gguf-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

void hth_gguf_close(hth_gguf *gguf)
{
	if (gguf == NULL)
		return;
	for (size_t i = 0; i < gguf->n_shards; i++)
		if (gguf->shards[i].mapped)
			munmap((void *)(uintptr_t)gguf->shards[i].bytes, (size_t)gguf->shards[i].size);
	hth_gguf_parsed_finish(&(gguf_parsed){.kv = gguf->kv, .n_kv = gguf->n_kv, .kv_index = gguf->kv_index});
	free(gguf->shards);
	free(gguf->tensors);
	free(gguf->tensor_index);
	free(gguf);
}

static void close_p(hth_gguf **gguf)
{
	hth_gguf_close(*gguf);
}

static hth_status create(hth_gguf **ret_gguf, size_t n_shards, hth_error *err)
{
	hth_gguf *gguf = calloc(1, sizeof *gguf);
	gguf_shard *shards = hth_alloc_array(n_shards, sizeof *shards);
	if (gguf == NULL || shards == NULL) {
		free(gguf);
		free(shards);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to open a model file");
	}
	gguf->shards = shards;
	*ret_gguf = gguf;
	return HTH_OK;
}

static hth_status map_shard(hth_gguf *gguf, int fd, hth_error *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot look at the file");
	if (!S_ISREG(st.st_mode))
		return hth_fail(err, HTH_INVALID, "not a regular file; a model must be one, since it is mapped");
	if (st.st_size == 0)
		return hth_fail(err, HTH_BAD_FORMAT, "the file is empty");
	void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return hth_fail_errno(err, HTH_IO, errno, "cannot map the file's %" PRIu64 " bytes",
		                      (uint64_t)st.st_size);
	gguf->shards[gguf->n_shards++] = (gguf_shard){bytes, (uint64_t)st.st_size, true};
	return HTH_OK;
}

/* One of a shard's split.* numbers; `absent` when the shard does not say. */
static hth_status split_number(const gguf_parsed *parsed, const char *key, uint64_t absent, uint64_t *ret_value,
                               hth_error *err)
{
	*ret_value = absent;
	if (parsed->n_kv == 0)
		return HTH_OK;
	size_t i = hth_gguf_index_find(parsed->kv_index, parsed->n_kv, &parsed->kv->key, sizeof *parsed->kv,
	                               (hth_view){key, strlen(key)});
	return i == SIZE_MAX ? HTH_OK : hth_gguf_kv_u64(&parsed->kv[i], INT32_MAX, ret_value, err);
}

/* Checks what a shard says of its place among the others. ret_total is set by the first shard. */
static hth_status check_split(const gguf_parsed *parsed, size_t no, size_t n_shards, uint64_t *ret_total,
                              hth_error *err)
{
	uint64_t split_no, split_count, total;
	HTH_TRY(split_number(parsed, "split.no", 0, &split_no, err));
	HTH_TRY(split_number(parsed, "split.count", 1, &split_count, err));
	HTH_TRY(split_number(parsed, "split.tensors.count", UINT64_MAX, &total, err));
	if (split_count == 0) /* what some converters write into a file that is not split */
		split_count = 1;
	if (split_count != n_shards)
		return hth_fail(err, HTH_INVALID,
		                "this is part %" PRIu64 " of a model in %" PRIu64
		                " files, and %zu %s given: give all of them, "
		                "in order",
		                split_no + 1, split_count, n_shards, n_shards == 1 ? "file was" : "files were");
	if (n_shards > 1 && split_no != no)
		return hth_fail(err, HTH_INVALID,
		                "this is part %" PRIu64 " where part %zu was expected: give the files in order",
		                split_no + 1, no + 1);
	if (no == 0)
		*ret_total = total;
	return HTH_OK;
}

static hth_status index_tensors(hth_gguf *gguf, hth_error *err)
{
	gguf->tensor_index = hth_alloc_array(gguf->n_tensors, sizeof *gguf->tensor_index);
	if (gguf->tensor_index == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the tensor index");
	if (gguf->n_tensors == 0)
		return HTH_OK;
	for (size_t i = 0; i < gguf->n_tensors; i++)
		gguf->tensor_index[i] = (gguf_slot){hth_gguf_hash(gguf->tensors[i].name), (uint32_t)i};
	const void *names = &gguf->tensors->name;
	hth_gguf_index_sort(gguf->tensor_index, gguf->n_tensors, names, sizeof *gguf->tensors);
	size_t twice = hth_gguf_index_duplicate(gguf->tensor_index, gguf->n_tensors, names, sizeof *gguf->tensors);
	if (twice != 0) {
		char quoted[GGUF_QUOTE_MAX];
		return hth_fail(err, HTH_BAD_FORMAT, "tensor %s is there twice",
		                hth_gguf_quote(gguf->tensors[gguf->tensor_index[twice].i].name, quoted));
	}
	return HTH_OK;
}

static hth_status parse_shards(hth_gguf *gguf, hth_error *err)
{
	uint64_t total = UINT64_MAX;
	for (size_t i = 0; i < gguf->n_shards; i++) {
		gguf_parsed parsed;
		hth_status status = hth_gguf_parse_shard(gguf, i, &parsed, err);
		if (status == HTH_OK) {
			status = check_split(&parsed, i, gguf->n_shards, &total, err);
			if (status == HTH_OK && i == 0) { /* the model's metadata is the first shard's */
				gguf->kv = parsed.kv;
				gguf->n_kv = parsed.n_kv;
				gguf->kv_index = parsed.kv_index;
			} else {
				hth_gguf_parsed_finish(&parsed);
			}
		}
		if (status != HTH_OK)
			return gguf->n_shards > 1 ? hth_fail_prefix(err, "file %zu of %zu", i + 1, gguf->n_shards)
			                          : status;
	}
	if (gguf->n_shards > 1 && total != UINT64_MAX && total != gguf->n_tensors)
		return hth_fail(err, HTH_BAD_FORMAT, "the files hold %zu tensors together; they should hold %" PRIu64,
		                gguf->n_tensors, total);
	return index_tensors(gguf, err);
}

hth_status hth_gguf_open(hth_gguf **ret_gguf, const int *fds, size_t n_fds, const char *name, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT; /* statuses are read back from messages */
	if (err == NULL)
		err = &own;
	if (n_fds == 0 || n_fds > GGUF_MAX_SHARDS)
		return hth_fail(err, HTH_INVALID, "%s: a model has 1 to %d files, not %zu", name, GGUF_MAX_SHARDS,
		                n_fds);
	HTH_CLEANUP(close_p) hth_gguf *gguf = NULL;
	HTH_TRY(create(&gguf, n_fds, err));
	for (size_t i = 0; i < n_fds; i++)
		if (map_shard(gguf, fds[i], err) != HTH_OK)
			return hth_fail_prefix(err, "%s", name);
	if (parse_shards(gguf, err) != HTH_OK)
		return hth_fail_prefix(err, "%s", name);
	*ret_gguf = gguf;
	gguf = NULL;
	return HTH_OK;
}

hth_status hth_gguf_open_memory(hth_gguf **ret_gguf, const void *bytes, size_t len, const char *name, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	if (err == NULL)
		err = &own;
	HTH_CLEANUP(close_p) hth_gguf *gguf = NULL;
	HTH_TRY(create(&gguf, 1, err));
	gguf->shards[gguf->n_shards++] = (gguf_shard){bytes, len, false};
	if (parse_shards(gguf, err) != HTH_OK)
		return hth_fail_prefix(err, "%s", name);
	*ret_gguf = gguf;
	gguf = NULL;
	return HTH_OK;
}

uint64_t hth_gguf_file_bytes(const hth_gguf *gguf)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < gguf->n_shards; i++)
		bytes += gguf->shards[i].size;
	return bytes;
}

size_t hth_gguf_kv_count(const hth_gguf *gguf)
{
	return gguf->n_kv;
}
const hth_gguf_kv *hth_gguf_kv_at(const hth_gguf *gguf, size_t i)
{
	return &gguf->kv[i];
}
size_t hth_gguf_tensor_count(const hth_gguf *gguf)
{
	return gguf->n_tensors;
}
const hth_gguf_tensor *hth_gguf_tensor_at(const hth_gguf *gguf, size_t i)
{
	return &gguf->tensors[i];
}
