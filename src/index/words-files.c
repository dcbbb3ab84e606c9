/* words-files.c - the files of the word index beside its segments: the manifest, which texts are gone, and what no
 * commit names.
 *
 *   MANIFEST          struct manifest_header, then n of struct manifest_part, then a checksum of all before it
 *   NNNNNNNN.words    a segment
 *   NNNNNNNN.G.gone   which of its texts are removed, as of generation G: bits, then their checksum
 *   lock              held (flock) by the process that writes
 */
#include "base/mem.h"
#include "index/words-internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PARTS_MAX = 4096 };

typedef struct manifest_header {
	char magic[8]; /* "HTHWMANI" */
	uint32_t format, n;
	uint64_t mark, last_id;
	uint32_t next_number, languages;
} manifest_header;
typedef struct manifest_part {
	uint32_t number, generation;
} manifest_part;

void segment_path(const hth_words *words, uint32_t number, char out[4200])
{
	snprintf(out, 4200, "%s/%08u.words", words->folder, number);
}
static void gone_path(const hth_words *words, uint32_t number, uint32_t generation, char out[4200])
{
	snprintf(out, 4200, "%s/%08u.%u.gone", words->folder, number, generation);
}

/* Writes a small file whole and synced, under its final name when `name` is no replacement of one that is in use. */
static hth_status write_file(hth_words *words, const char *path, const hth_buf *bytes, hth_error *err)
{
	HTH_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	hth_status status = disk_write(&words->disk, fd, path, bytes->data, bytes->len, err);
	if (status == HTH_OK)
		status = disk_sync(&words->disk, fd, path, err);
	if (status != HTH_OK)
		disk_remove(&words->disk, path);
	return status;
}

static hth_status read_file(const char *path, size_t max, hth_buf *out, hth_error *err)
{
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hth_fail_errno(err, errno == ENOENT ? HTH_NOT_FOUND : HTH_IO, errno, "cannot open %s", path);
	*out = HTH_BUF_INIT(max);
	for (;;) {
		char *room = hth_buf_reserve(out, 65536);
		ssize_t n = room != NULL ? read(fd, room, 65536) : -1;
		if (n < 0)
			return hth_fail(err, room != NULL ? HTH_IO : HTH_BAD_FORMAT, "cannot read %s", path);
		if (n == 0)
			return HTH_OK;
		out->len += (size_t)n;
	}
}

static bool seal(hth_buf *bytes)
{
	uint64_t sum = disk_checksum(bytes->data, bytes->len);
	return hth_buf_append(bytes, &sum, sizeof sum);
}
static bool is_sealed(const hth_buf *bytes)
{
	uint64_t sum;
	if (bytes->len < sizeof sum)
		return false;
	memcpy(&sum, bytes->data + bytes->len - sizeof sum, sizeof sum);
	return sum == disk_checksum(bytes->data, bytes->len - sizeof sum);
}

hth_status gone_write(hth_words *words, const part *p, hth_error *err)
{
	char path[4200];
	gone_path(words, p->s->number, p->generation, path);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT((size_t)1 << 30);
	if (!hth_buf_append(&bytes, p->gone->bits, ((size_t)p->gone->n_bits + 63) / 64 * 8) || !seal(&bytes))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	return write_file(words, path, &bytes, err);
}

static hth_status gone_read(hth_words *words, part *p, hth_error *err)
{
	char path[4200];
	gone_path(words, p->s->number, p->generation, path);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = {0};
	HTH_TRY(read_file(path, (size_t)1 << 30, &bytes, err));
	gone *g = gone_create(p->s->header->n_texts, NULL);
	if (g == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	size_t len = ((size_t)g->n_bits + 63) / 64 * 8;
	if (bytes.len != len + 8 || !is_sealed(&bytes)) {
		gone_release(g);
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged", path);
	}
	memcpy(g->bits, bytes.data, len);
	for (size_t i = 0; i < len / 8; i++)
		g->count += (uint32_t)__builtin_popcountll(g->bits[i]);
	p->gone = g;
	return HTH_OK;
}

hth_status manifest_write(hth_words *words, const view *v, hth_error *err)
{
	char path[4200], fresh[4200];
	snprintf(path, sizeof path, "%s/MANIFEST", words->folder);
	snprintf(fresh, sizeof fresh, "%s/MANIFEST.new", words->folder);
	const manifest_header h = {"HTHWMANI", SEGMENT_FORMAT, (uint32_t)v->n, v->mark, v->last_id, v->next_number, v->languages};
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(1 << 20);
	hth_buf_append(&bytes, &h, sizeof h);
	for (size_t i = 0; i < v->n; i++) {
		const manifest_part p = {v->parts[i].s->number, v->parts[i].generation};
		hth_buf_append(&bytes, &p, sizeof p);
	}
	if (bytes.failed || !seal(&bytes))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	HTH_TRY(disk_sync_folder(&words->disk, words->folder, err)); /* the names of the new files, before they are named here */
	HTH_TRY(write_file(words, fresh, &bytes, err));
	HTH_TRY(disk_rename(&words->disk, fresh, path, err));
	/* A failure now leaves it open whether the old or the new one is there after a power cut; both are whole, and
	 * the old one's files are removed only after the next commit. */
	return disk_sync_folder(&words->disk, words->folder, err);
}

static hth_status open_parts(hth_words *words, const manifest_part *parts, view *v, hth_error *err)
{
	view *old = words->view != NULL ? view_take(words) : NULL;
	hth_status status = HTH_OK;
	for (size_t i = 0; status == HTH_OK && i < v->n; i++) {
		part *p = &v->parts[i];
		p->generation = parts[i].generation;
		for (size_t k = 0; old != NULL && k < old->n; k++) {
			if (old->parts[k].s->number != parts[i].number)
				continue;
			p->s = old->parts[k].s;
			atomic_fetch_add(&p->s->refs, 1);
			if (old->parts[k].generation == p->generation && (p->gone = old->parts[k].gone) != NULL)
				atomic_fetch_add(&p->gone->refs, 1);
		}
		char path[4200];
		segment_path(words, parts[i].number, path);
		if (p->s == NULL)
			status = segment_open(&p->s, path, parts[i].number, err);
		if (status == HTH_OK && p->generation > 0 && p->gone == NULL)
			status = gone_read(words, p, err);
	}
	view_release(old);
	return status;
}

hth_status manifest_read(hth_words *words, view **ret_view, hth_error *err)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/MANIFEST", words->folder);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = {0};
	HTH_TRY(read_file(path, 1 << 20, &bytes, err));
	manifest_header h;
	if (bytes.len < sizeof h + 8 || !is_sealed(&bytes))
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged", path);
	memcpy(&h, bytes.data, sizeof h);
	if (memcmp(h.magic, "HTHWMANI", 8) != 0 || h.format != SEGMENT_FORMAT || h.n > PARTS_MAX ||
	    bytes.len != sizeof h + h.n * sizeof(manifest_part) + 8)
		return hth_fail(err, HTH_BAD_FORMAT, "%s is of another version", path);
	view *v = view_create(h.n);
	if (v == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	v->mark = h.mark;
	v->last_id = h.last_id;
	v->next_number = h.next_number;
	v->languages = h.languages;
	HTH_AUTO_FREE manifest_part *parts = hth_alloc_array(h.n, sizeof *parts);
	hth_status status = parts != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	if (status == HTH_OK) {
		memcpy(parts, bytes.data + sizeof h, h.n * sizeof *parts);
		status = open_parts(words, parts, v, err);
	}
	if (status != HTH_OK) {
		view_release(v);
		return status;
	}
	view_sum(v);
	*ret_view = v;
	return HTH_OK;
}

static bool is_named(const char *name, const view *v)
{
	unsigned number, generation;
	int used = 0;
	if (sscanf(name, "%8u.words%n", &number, &used) == 1 && used > 0 && name[used] == '\0') {
		for (size_t i = 0; i < v->n; i++)
			if (v->parts[i].s->number == number)
				return true;
		return false;
	}
	used = 0;
	if (sscanf(name, "%8u.%u.gone%n", &number, &generation, &used) == 2 && used > 0 && name[used] == '\0') {
		for (size_t i = 0; i < v->n; i++)
			if (v->parts[i].s->number == number && v->parts[i].generation == generation)
				return true;
		return false;
	}
	return strcmp(name, "MANIFEST.new") != 0; /* what is not ours stays */
}

void leftovers_remove(hth_words *words, const view *v)
{
	DIR *dir = opendir(words->folder);
	if (dir == NULL)
		return;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		char path[4300];
		snprintf(path, sizeof path, "%s/%s", words->folder, e->d_name);
		if (!is_named(e->d_name, v))
			disk_remove(&words->disk, path);
	}
	closedir(dir);
}

hth_status hth_words_erase(const char *folder, hth_error *err)
{
	DIR *dir = opendir(folder);
	if (dir == NULL)
		return errno == ENOENT ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot read %s", folder);
	hth_status status = HTH_OK;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		size_t n = strlen(e->d_name);
		bool ours = strncmp(e->d_name, "MANIFEST", 8) == 0 || (n > 6 && strcmp(e->d_name + n - 6, ".words") == 0) ||
		            (n > 5 && strcmp(e->d_name + n - 5, ".gone") == 0);
		if (ours && unlinkat(dirfd(dir), e->d_name, 0) != 0)
			status = hth_fail_errno(err, HTH_IO, errno, "cannot remove %s/%s", folder, e->d_name);
	}
	closedir(dir);
	return status;
}
