/* words.c - the word index as a whole: opening it, its commits, and which segments a search sees.
 *
 * A *view* is the index as of one commit; it never changes. A search takes the newest and keeps it as long as it lasts;
 * a commit makes the next one out of the parts of the last. Pending texts (words-buffer.c) and removals wait outside
 * until then, so a commit that fails changes nothing.
 */
#include "index/words.h"

#include "base/mem.h"
#include "index/words-internal.h"
#include "index/writer-lock.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* --- views --- */

gone *gone_create(uint32_t n_bits, const gone *like)
{
	gone *g = calloc(1, sizeof *g + ((size_t)n_bits + 63) / 64 * 8);
	if (g == NULL)
		return NULL;
	atomic_init(&g->refs, 1);
	g->n_bits = n_bits;
	if (like != NULL) {
		g->count = like->count;
		memcpy(g->bits, like->bits, ((size_t)n_bits + 63) / 64 * 8);
	}
	return g;
}

void gone_release(gone *g)
{
	if (g != NULL && atomic_fetch_sub(&g->refs, 1) == 1)
		free(g);
}

view *view_create(size_t n_parts)
{
	view *v = calloc(1, sizeof *v + n_parts * sizeof *v->parts);
	if (v == NULL)
		return NULL;
	atomic_init(&v->refs, 1);
	v->next_number = 1;
	v->n = n_parts;
	return v;
}

view *view_take(hth_words *words)
{
	pthread_mutex_lock(&words->mutex);
	view *v = words->view;
	atomic_fetch_add(&v->refs, 1);
	pthread_mutex_unlock(&words->mutex);
	return v;
}

void view_release(view *v)
{
	if (v == NULL || atomic_fetch_sub(&v->refs, 1) > 1)
		return;
	for (size_t i = 0; i < v->n; i++) {
		segment_release(v->parts[i].s);
		gone_release(v->parts[i].gone);
	}
	free(v);
}

void view_sum(view *v)
{
	v->n_texts = v->n_gone = v->terms_total = 0;
	for (size_t i = 0; i < v->n; i++) {
		v->n_texts += v->parts[i].s->header->n_texts;
		v->terms_total += v->parts[i].s->header->terms_total;
		v->n_gone += v->parts[i].gone != NULL ? v->parts[i].gone->count : 0;
	}
}

void view_set(hth_words *words, view *next)
{
	pthread_mutex_lock(&words->mutex);
	view *old = words->view;
	words->view = next;
	pthread_mutex_unlock(&words->mutex);
	view_release(old);
}

hth_status view_publish(hth_words *words, view *next, hth_error *err)
{
	next->next_number = words->number;
	view_sum(next);
	HTH_TRY(manifest_write(words, next, err));
	leftovers_remove(words, next);
	view_set(words, next);
	return HTH_OK;
}

/* --- life --- */

/* A writer may remove a segment between our reading of the manifest and of it. */
static hth_status read_newest(hth_words *words, view **ret_view, hth_error *err)
{
	hth_status status = HTH_OK;
	char manifest[4200];
	snprintf(manifest, sizeof manifest, "%s/MANIFEST", words->folder);
	for (int i = 0; i < 10; i++) {
		status = manifest_read(words, ret_view, err);
		if (status != HTH_NOT_FOUND || access(manifest, F_OK) != 0)
			return status;
	}
	return hth_fail(err, HTH_BAD_FORMAT, "a part of the index in %s is missing", words->folder);
}

hth_status hth_words_open(hth_words **ret_words, const char *folder, const hth_words_options *options, hth_error *err)
{
	hth_words *words = calloc(1, sizeof *words);
	if (words == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	pthread_mutex_init(&words->mutex, NULL);
	words->lock_fd = -1;
	words->write = options->write;
	words->buffer_max = options->buffer_bytes > 0 ? options->buffer_bytes : 64u << 20;
	words->disk = (disk){options->step, options->step_ctx};
	hth_status status = HTH_OK;
	if ((size_t)snprintf(words->folder, sizeof words->folder, "%s", folder) >= sizeof words->folder)
		status = hth_fail(err, HTH_INVALID, "the path of the index is too long");
	if (status == HTH_OK && words->write)
		status = writer_lock(&words->lock_fd, words->folder, "index", err);
	if (status == HTH_OK)
		status = hth_terms_create(&words->terms, err);
	if (status == HTH_OK) {
		status = read_newest(words, &words->view, err);
		if (status == HTH_NOT_FOUND && words->write)
			status =
			    (words->view = view_create(0)) != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	}
	if (status != HTH_OK) {
		hth_words_close(words);
		return status;
	}
	words->last_id = words->view->last_id;
	words->number = words->view->next_number;
	if (words->write)
		leftovers_remove(words, words->view);
	*ret_words = words;
	return HTH_OK;
}

void hth_words_close(hth_words *words)
{
	if (words == NULL)
		return;
	buffer_clear(&words->buffer);
	hth_terms_destroy(words->terms);
	view_release(words->view);
	free(words->removed);
	if (words->lock_fd >= 0)
		close(words->lock_fd);
	pthread_mutex_destroy(&words->mutex);
	free(words);
}

hth_status hth_words_refresh(hth_words *words, hth_error *err)
{
	view *next;
	hth_status status = read_newest(words, &next, err);
	if (status != HTH_OK)
		return status;
	view_set(words, next);
	return HTH_OK;
}

/* --- changes --- */

static hth_status add(hth_words *words, uint64_t id, hth_language language, const char *text, size_t len, uint32_t least_terms,
                      hth_error *err)
{
	if (!words->write)
		return hth_fail(err, HTH_CONFLICT, "the index was opened for searching");
	if (id <= words->last_id)
		return hth_fail(err, HTH_CONFLICT, "text %llu is not after text %llu of the index", (unsigned long long)id,
		                (unsigned long long)words->last_id);
	if (words->buffer.bytes >= words->buffer_max || words->buffer.n_texts >= UINT32_MAX / 2 ||
	    (words->buffer.n_texts > 0 && id - words->buffer.ids[0] > UINT32_MAX))
		return hth_fail(err, HTH_BUSY, "the index's buffer is full");
	HTH_TRY(buffer_add(&words->buffer, words->terms, id, language, text, len, least_terms, err));
	words->last_id = id;
	return HTH_OK;
}

hth_status hth_words_add(hth_words *words, uint64_t id, hth_language language, const char *text, size_t len, hth_error *err)
{
	return add(words, id, language, text, len, 0, err);
}

hth_status hth_words_add_name(hth_words *words, uint64_t id, hth_language language, const char *text, size_t len, hth_error *err)
{
	enum { PASSAGE_TERMS = 150 };
	return add(words, id, language, text, len, PASSAGE_TERMS, err);
}

hth_status hth_words_remove(hth_words *words, uint64_t first, uint64_t last, hth_error *err)
{
	if (first > last)
		return HTH_OK;
	if (words->n_removed > 0 && words->removed[words->n_removed - 1] + 1 == first) {
		words->removed[words->n_removed - 1] = last;
		return HTH_OK;
	}
	if (words->n_removed + 2 > words->cap_removed) {
		size_t cap = words->cap_removed > 0 ? words->cap_removed * 2 : 64;
		uint64_t *more = realloc(words->removed, cap * sizeof *more);
		if (more == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
		words->removed = more;
		words->cap_removed = cap;
	}
	words->removed[words->n_removed++] = first;
	words->removed[words->n_removed++] = last;
	return HTH_OK;
}

uint64_t hth_words_mark(const hth_words *words)
{
	return words->view->mark;
}
uint64_t hth_words_last(const hth_words *words)
{
	return words->last_id;
}
uint64_t hth_words_pending(const hth_words *words)
{
	return words->buffer.bytes;
}

/* Marks what was removed in one part; its file is written when anything was. */
static hth_status remove_from(hth_words *words, part *p, hth_error *err)
{
	const segment *s = p->s;
	gone *changed = NULL;
	for (size_t i = 0; i < words->n_removed; i += 2) {
		uint32_t from = segment_number_of(s, words->removed[i]), to = segment_number_of(s, words->removed[i + 1] + 1);
		for (uint32_t n = from; n < to; n++) {
			if (is_gone(changed != NULL ? changed : p->gone, n))
				continue;
			if (changed == NULL && (changed = gone_create(s->header->n_texts, p->gone)) == NULL)
				return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
			changed->bits[n / 64] |= 1ull << (n % 64);
			changed->count++;
		}
	}
	if (changed == NULL)
		return HTH_OK;
	gone_release(p->gone);
	p->gone = changed;
	p->generation = words->number++;
	return gone_write(words, p, err);
}

hth_status hth_words_commit(hth_words *words, uint64_t mark, hth_error *err)
{
	if (!words->write)
		return hth_fail(err, HTH_CONFLICT, "the index was opened for searching");
	const view *now = words->view;
	bool fresh = words->buffer.n_texts > 0;
	if (!fresh && words->n_removed == 0 && mark == now->mark)
		return HTH_OK;
	HTH_CLEANUP(view_release_p) view *next = view_create(now->n + fresh);
	if (next == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	next->n = 0;
	for (size_t i = 0; i < now->n; i++) {
		part *p = &next->parts[next->n++];
		*p = now->parts[i];
		atomic_fetch_add(&p->s->refs, 1);
		if (p->gone != NULL)
			atomic_fetch_add(&p->gone->refs, 1);
	}
	next->languages = now->languages | words->buffer.languages;
	next->last_id = words->last_id;
	next->mark = mark;
	if (fresh) {
		char path[4200];
		uint32_t number = words->number++;
		segment_path(words, number, path);
		HTH_TRY(buffer_write(&words->buffer, &words->disk, path, err));
		HTH_TRY(segment_open(&next->parts[next->n].s, path, number, err));
		next->n++;
	}
	for (size_t i = 0; i < next->n; i++)
		HTH_TRY(remove_from(words, &next->parts[i], err));
	HTH_TRY(view_publish(words, next, err));
	next = NULL;
	buffer_clear(&words->buffer);
	words->n_removed = 0;
	return HTH_OK;
}

void hth_words_get_info(hth_words *words, hth_words_info *ret_info)
{
	view *v = view_take(words);
	*ret_info = (hth_words_info){.texts = v->n_texts - v->n_gone,
	                             .removed = v->n_gone,
	                             .terms_total = v->terms_total,
	                             .segments = (uint32_t)v->n,
	                             .languages = v->languages};
	for (size_t i = 0; i < v->n; i++)
		ret_info->bytes += v->parts[i].s->header->file_len;
	view_release(v);
}
