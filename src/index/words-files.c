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

#include <stdio.h>

enum { PARTS_MAX = 4096, MANIFEST_MAX = 1 << 20, GONE_MAX = 1 << 30 };

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

hth_status gone_write(hth_words *words, const part *p, hth_error *err)
{
	char path[4200];
	gone_path(words, p->s->number, p->generation, path);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(GONE_MAX);
	hth_buf_append(&bytes, p->gone->bits, ((size_t)p->gone->n_bits + 63) / 64 * 8);
	return disk_put(&words->disk, path, &bytes, err);
}

static hth_status gone_read(hth_words *words, part *p, hth_error *err)
{
	char path[4200];
	gone_path(words, p->s->number, p->generation, path);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(GONE_MAX);
	HTH_TRY(disk_get(path, &bytes, NULL, err));
	gone *g = gone_create(p->s->header->n_texts, NULL);
	if (g == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	size_t len = ((size_t)g->n_bits + 63) / 64 * 8;
	if (bytes.len != len) {
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
	const manifest_header h = {"HTHWMANI", SEGMENT_FORMAT, (uint32_t)v->n, v->mark, v->last_id, v->next_number, v->languages};
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(MANIFEST_MAX);
	hth_buf_append(&bytes, &h, sizeof h);
	for (size_t i = 0; i < v->n; i++) {
		const manifest_part p = {v->parts[i].s->number, v->parts[i].generation};
		hth_buf_append(&bytes, &p, sizeof p);
	}
	return disk_put_manifest(&words->disk, words->folder, &bytes, err);
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
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(MANIFEST_MAX);
	HTH_TRY(disk_get(path, &bytes, NULL, err));
	manifest_header h;
	if (bytes.len < sizeof h)
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged", path);
	memcpy(&h, bytes.data, sizeof h);
	if (memcmp(h.magic, "HTHWMANI", 8) != 0 || h.format != SEGMENT_FORMAT || h.n > PARTS_MAX ||
	    bytes.len != sizeof h + h.n * sizeof(manifest_part))
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

static bool is_left_over(const void *ctx, const char *name)
{
	const view *v = ctx;
	unsigned number, generation;
	int used = 0;
	bool words = sscanf(name, "%8u.words%n", &number, &used) == 1 && used > 0 && name[used] == '\0';
	if (!words) {
		used = 0;
		if (sscanf(name, "%8u.%u.gone%n", &number, &generation, &used) != 2 || used == 0 || name[used] != '\0')
			return strcmp(name, "MANIFEST.new") == 0; /* what is not ours stays */
	}
	for (size_t i = 0; i < v->n; i++)
		if (v->parts[i].s->number == number && (words || v->parts[i].generation == generation))
			return false;
	return true;
}

void leftovers_remove(hth_words *words, const view *v) { (void)disk_sweep(&words->disk, words->folder, is_left_over, v, NULL); }

static bool is_ours(const void *ctx, const char *name)
{
	size_t n = strlen(name);
	return strncmp(name, "MANIFEST", 8) == 0 || (n > 6 && strcmp(name + n - 6, ".words") == 0) ||
	    (n > 5 && strcmp(name + n - 5, ".gone") == 0);
}

hth_status hth_words_erase(const char *folder, hth_error *err) { return disk_sweep(&(disk){0}, folder, is_ours, NULL, err); }
