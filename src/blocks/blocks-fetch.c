/* blocks-fetch.c - the asking side: one file, several sources; see model-blocks.h.
 *
 * A fetch asks everybody whether they have the file, goes by the root that most of them name, fetches the list (top, pages) and the chunks.
 * What is not answered in time goes to others; what is wrong ends its sender's part in it.
 */
#include "blocks/blocks-internal.h"

#include "base/mem.h"

enum {
	CHOOSE_MS = 1500, NOBODY_MS = 4000, QUESTION_MS = 1000, QUESTION_MAX_MS = 15000, NOT_READY_MS = 2000, READY_PATIENCE_MS = 300000,
	LOST_FIRST_MS = 5000, LOST_MIN_MS = 2000, LOST_MAX_MS = 20000, BACK_MS = 500, BACK_MAX_MS = 30000, TWICE_MS = 500, EASY_MS = 100,
	    RECENT_MS = 5000,
};

void blocks_fetch_free(block_fetch *f)
{
	if (f == NULL)
		return;
	hth_chunk_list_destroy(f->list);
	free(f->page_state);
	free(f->chunk_state);
	free(f->found);
	free(f->sources);
	free(f);
}

static block_fetch *find_fetch(const hth_blocks *b, uint64_t number)
{
	for (size_t i = 0; i < b->n_fetches; i++)
		if (b->fetches[i]->number == number)
			return b->fetches[i];
	return NULL;
}

static void drop(hth_blocks *b, block_fetch *f)
{
	for (size_t i = 0; i < b->n_fetches; i++)
		if (b->fetches[i] == f)
			b->fetches[i] = b->fetches[--b->n_fetches];
	blocks_fetch_free(f);
}

static void end(hth_blocks *b, block_fetch *f, hth_blocks_end how)
{
	uint64_t number = f->number;
	uint32_t prefix = f->prefix;
	drop(b, f);
	b->ops.ended(b->ops.ctx, number, how, prefix);
}

static block_source *find_source(block_fetch *f, const hth_home_id *id)
{
	for (size_t i = 0; i < f->n_sources; i++)
		if (hth_home_id_equal(&f->sources[i].id, id))
			return &f->sources[i];
	return NULL;
}

/* Of the root that is gone by. */
static bool gives(const block_fetch *f, const block_source *s)
{
	return f->rooted && s->ready && !s->left && memcmp(s->root, f->root, HTH_HASH_BYTES) == 0;
}

/* ---- what is asked for ---- */

static void ask_whether(hth_blocks *b, block_fetch *f, block_source *s, uint64_t now_ms)
{
	hth_blocks_message *m = &b->message;
	*m = (hth_blocks_message){.kind = HTH_BLOCKS_QUERY, .query = f->query, .by_hash = true};
	memcpy(m->sha256, f->list->sha256, HTH_SHA256_BYTES);
	blocks_send(b, &s->id, m);
	s->asked_ms = now_ms;
	s->ask_every_ms = s->offered ? (uint64_t)NOT_READY_MS : s->ask_every_ms == 0 ? (uint64_t)QUESTION_MS
	                                                                             : HTH_MIN(s->ask_every_ms * 2,
	                                                                                       (uint64_t)QUESTION_MAX_MS);
}

static void set_state(block_fetch *f, hth_blocks_part part, uint32_t index, block_state state)
{
	if (part == HTH_PART_PAGE)
		f->page_state[index] = (unsigned char)state;
	if (part != HTH_PART_CHUNK)
		return;
	f->chunk_state[index] = (unsigned char)state;
	if (state == BLOCK_MISSING)
		f->cursor = HTH_MIN(f->cursor, index);
	while (f->prefix < f->list->n_chunks && f->chunk_state[f->prefix] == BLOCK_HERE)
		f->prefix++;
}

static bool is_asked(const block_fetch *f, hth_blocks_part part, uint32_t index)
{
	for (size_t i = 0; i < f->n_asked; i++)
		if (f->asked[i].part == part && f->asked[i].index == index)
			return true;
	return false;
}

static void forget_asked(block_fetch *f, size_t i)
{
	const block_asked a = f->asked[i];
	f->sources[a.source].out--;
	f->asked[i] = f->asked[--f->n_asked];
	bool here = a.part == HTH_PART_CHUNK ? f->chunk_state[a.index] == BLOCK_HERE : a.part == HTH_PART_PAGE &&
	    f->page_state[a.index] == BLOCK_HERE;
	if (!here && !is_asked(f, a.part, a.index))
		set_state(f, a.part, a.index, BLOCK_MISSING);
}

/* A source is asked for nothing any more: it has gone, or lied. */
static void leave(hth_blocks *b, block_fetch *f, block_source *s, bool lied)
{
	s->left = true;
	for (size_t i = f->n_asked; i-- > 0;)
		if (&f->sources[f->asked[i].source] == s)
			forget_asked(f, i);
	if (lied)
		b->ops.lied(b->ops.ctx, &s->id);
}

/* The last ones are asked of two: a source that falls silent now would keep everybody waiting. */
static bool worth_twice(const block_fetch *f, size_t source, uint64_t now_ms, uint32_t *ret_index)
{
	const block_asked *oldest = NULL;
	for (size_t i = 0; i < f->n_asked; i++) {
		const block_asked *a = &f->asked[i];
		size_t copies = 0;
		for (size_t k = 0; k < f->n_asked; k++)
			copies += f->asked[k].part == a->part && f->asked[k].index == a->index;
		const block_source *s = &f->sources[a->source];
		if (a->part == HTH_PART_CHUNK && a->source != source && copies == 1 &&
		    now_ms >= a->at_ms + TWICE_MS + (uint64_t)(2 * s->smooth_ms) && (oldest == NULL || a->at_ms < oldest->at_ms))
			oldest = a;
	}
	if (oldest == NULL)
		return false;
	*ret_index = oldest->index;
	return true;
}

static bool next_need(block_fetch *f, size_t source, uint64_t now_ms, hth_blocks_part *ret_part, uint32_t *ret_index)
{
	if (!f->topped) {
		*ret_part = HTH_PART_TOP;
		*ret_index = 0;
		return !is_asked(f, HTH_PART_TOP, 0);
	}
	for (uint32_t p = 0; f->pages < f->list->n_pages && p < f->list->n_pages; p++)
		if (f->page_state[p] == BLOCK_MISSING) {
			*ret_part = HTH_PART_PAGE;
			*ret_index = p;
			return true;
		}
	*ret_part = HTH_PART_CHUNK;
	while (f->cursor < f->list->n_chunks && f->chunk_state[f->cursor] == BLOCK_HERE &&
	       f->page_state[f->cursor / HTH_CHUNK_PAGE] == BLOCK_HERE)
		f->cursor++;
	for (uint32_t i = f->cursor; i < f->list->n_chunks && f->page_state[i / HTH_CHUNK_PAGE] == BLOCK_HERE; i++)
		if (f->chunk_state[i] == BLOCK_MISSING) {
			*ret_index = i;
			return true;
		}
	return worth_twice(f, source, now_ms, ret_index);
}

static bool ask_for(hth_blocks *b, block_fetch *f, size_t source, uint64_t now_ms)
{
	block_source *s = &f->sources[source];
	hth_blocks_part part;
	uint32_t index;
	if (!next_need(f, source, now_ms, &part, &index) || !blocks_may_pass(b, &b->in, now_ms))
		return false;
	b->counts.again += is_asked(f, part, index);
	hth_blocks_message m = {.kind = HTH_BLOCKS_GET, .part = part, .index = index};
	memcpy(m.sha256, f->list->sha256, HTH_SHA256_BYTES);
	f->asked[f->n_asked++] = (block_asked){(uint32_t)source, index, part, now_ms};
	s->out++;
	set_state(f, part, index, BLOCK_ASKED);
	blocks_send(b, &s->id, &m); /* what is not sent is lost, as on the way */
	return true;
}

static void pump(hth_blocks *b, block_fetch *f, uint64_t now_ms)
{
	bool more = true;
	while (more) {
		more = false;
		for (size_t k = 0; k < f->n_sources && f->n_asked < BLOCKS_ASKED_MAX && f->n_asked + f->unstored < BLOCKS_UNSTORED_MAX;
		     k++) {
			size_t i = (f->turn + k) % f->n_sources;
			const block_source *s = &f->sources[i];
			if (!gives(f, s) || s->away || now_ms < s->back_ms || s->out >= (uint32_t)s->window)
				continue;
			more |= ask_for(b, f, i, now_ms);
		}
		f->turn++;
	}
}

/* ---- beginning ---- */

hth_status hth_blocks_fetch(hth_blocks *b, uint64_t fetch, uint64_t bytes, const unsigned char sha256[HTH_SHA256_BYTES],
                            const unsigned char (*found)[HTH_HASH_BYTES], uint32_t n_found, uint64_t now_ms, hth_error *err)
{
	if (b->n_peers == 0)
		return hth_fail(err, HTH_NOT_FOUND, "no neighbour is there to be asked");
	if (b->n_fetches == HTH_BLOCKS_FETCHES_MAX)
		return hth_fail(err, HTH_BUSY, "%d files are being fetched from neighbours already", HTH_BLOCKS_FETCHES_MAX);
	block_fetch *f = calloc(1, sizeof *f);
	if (f == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a model of neighbours");
	hth_status status = hth_chunk_list_create(&f->list, bytes, sha256, err);
	if (status != HTH_OK) {
		blocks_fetch_free(f);
		return status;
	}
	f->number = fetch;
	f->query = ++b->next_query;
	f->begun_ms = f->heard_ms = now_ms;
	f->n_found = HTH_MIN(n_found, f->list->n_chunks);
	f->page_state = calloc(f->list->n_pages, 1);
	f->chunk_state = calloc(f->list->n_chunks, 1);
	f->found = calloc(f->list->n_chunks, sizeof *f->found);
	f->sources = calloc(HTH_BLOCKS_SOURCES_MAX, sizeof *f->sources);
	if (f->page_state == NULL || f->chunk_state == NULL || f->found == NULL || f->sources == NULL) {
		blocks_fetch_free(f);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a model of neighbours");
	}
	if (f->n_found > 0)
		memcpy(f->found, found, (size_t)f->n_found * sizeof *f->found);
	b->fetches[b->n_fetches++] = f;
	blocks_fetch_peers(b, now_ms);
	blocks_wake(b, now_ms);
	return HTH_OK;
}

void blocks_fetch_peers(hth_blocks *b, uint64_t now_ms)
{
	for (size_t i = 0; i < b->n_fetches; i++) {
		block_fetch *f = b->fetches[i];
		for (size_t k = 0; k < f->n_sources; k++)
			f->sources[k].away = !blocks_is_peer(b,
			                                     &f->sources[k].id); /* it may come back: nothing that it said is forgotten */
		for (size_t k = 0; k < b->n_peers && f->n_sources < HTH_BLOCKS_SOURCES_MAX; k++)
			if (find_source(f, &b->peers[k]) == NULL) {
				block_source *s = &f->sources[f->n_sources++];
				*s = (block_source){.id = b->peers[k], .window = 2};
				ask_whether(b, f, s, now_ms);
			}
	}
}

void hth_blocks_cancel(hth_blocks *b, uint64_t fetch)
{
	block_fetch *f = find_fetch(b, fetch);
	if (f != NULL)
		drop(b, f);
}

/* ---- what comes back ---- */

void blocks_fetch_offer(hth_blocks *b, const hth_home_id *from, const hth_blocks_message *m, uint64_t now_ms)
{
	for (size_t i = 0; i < b->n_fetches; i++) {
		block_fetch *f = b->fetches[i];
		block_source *s = f->query == m->query ? find_source(f, from) : NULL;
		if (s == NULL || s->left || s->ready)
			continue; /* its first word counts */
		if (m->n_files != 1 || m->files[0].bytes != f->list->bytes ||
		    memcmp(m->files[0].sha256, f->list->sha256, HTH_SHA256_BYTES) != 0) {
			s->left = true;
			continue;
		}
		s->offered = true;
		s->ready = m->files[0].ready;
		s->ask_every_ms = NOT_READY_MS;
		memcpy(s->root, m->files[0].root, HTH_HASH_BYTES);
		f->heard_ms = s->ready || now_ms < f->begun_ms + READY_PATIENCE_MS ? now_ms : f->heard_ms;
	}
}

static void taken(block_fetch *f, block_source *s, hth_blocks_part part, uint32_t index, uint64_t now_ms)
{
	bool asked = false;
	s->gave_ms = now_ms;
	s->silent = 0;
	for (size_t i = f->n_asked; i-- > 0;) {
		const block_asked a = f->asked[i];
		if (a.part != part || a.index != index)
			continue;
		if (&f->sources[a.source] == s) {
			double took = HTH_MAX(1.0, (double)(now_ms - a.at_ms));
			asked = true;
			/* lines change: what was best is forgotten slowly */
			s->best_ms = s->best_ms == 0 ? took : HTH_MIN(s->best_ms * 1.001, took);
			s->smooth_ms = s->smooth_ms == 0 ? took : 0.8 * s->smooth_ms + 0.2 * took;
			if (took <= 2 * s->best_ms + EASY_MS)
				s->window = HTH_MIN((double)HTH_BLOCKS_WINDOW_MAX, s->window + (s->window < 4 ? 1 : 2 / s->window));
			else
				s->window = HTH_MAX(1.0, s->window - 0.5);
		}
		forget_asked(f, i);
	}
	if (!asked) /* late: slower than was thought */
		s->smooth_ms = HTH_MIN((double)LOST_MAX_MS, HTH_MAX(s->smooth_ms, (double)LOST_MIN_MS) * 1.5);
}

static void take_page(block_fetch *f, uint32_t page)
{
	f->pages++;
	f->page_state[page] = BLOCK_HERE;
	uint32_t first = page * HTH_CHUNK_PAGE, last = HTH_MIN(first + HTH_CHUNK_PAGE, f->list->n_chunks);
	for (uint32_t i = first; i < last; i++)
		if (i < f->n_found && memcmp(f->found[i], f->list->chunks[i], HTH_HASH_BYTES) == 0) {
			size_t size = hth_chunk_size(f->list->bytes, i);
			f->here++;
			f->had_bytes += size;
			f->bytes += size;
			set_state(f, HTH_PART_CHUNK, i, BLOCK_HERE);
		}
}

typedef enum taking { WRONG, OLD, NEW } taking;
static taking take(hth_blocks *b, block_fetch *f, const hth_blocks_message *m)
{
	hth_chunk_list *list = f->list;
	switch (m->part) {
	case HTH_PART_TOP:
		if (f->topped)
			return OLD;
		if (!hth_chunk_list_take_top(list, f->root, m->bytes, m->len))
			return WRONG;
		f->topped = true;
		return NEW;
	case HTH_PART_PAGE:
		if (!f->topped || m->index >= list->n_pages || f->page_state[m->index] == BLOCK_HERE)
			return OLD; /* nobody asked for that, or it came twice */
		if (!hth_chunk_list_take_page(list, m->index, m->bytes, m->len))
			return WRONG;
		take_page(f, m->index);
		return NEW;
	case HTH_PART_CHUNK: break;
	}
	unsigned char hash[HTH_HASH_BYTES];
	if (m->index >= list->n_chunks || f->page_state[m->index / HTH_CHUNK_PAGE] != BLOCK_HERE || f->chunk_state[m->index] == BLOCK_HERE)
		return OLD;
	if (m->len != hth_chunk_size(list->bytes, m->index))
		return WRONG;
	hth_chunk_hash(m->bytes, m->len, hash);
	if (memcmp(hash, list->chunks[m->index], sizeof hash) != 0)
		return WRONG;
	f->here++;
	f->unstored++;
	f->bytes += m->len;
	b->counts.fetched_bytes += m->len;
	set_state(f, HTH_PART_CHUNK, m->index, BLOCK_HERE);
	b->ops.store(b->ops.ctx, f->number, m->index, m->bytes, m->len);
	return NEW;
}

static void refused(hth_blocks *b, block_fetch *f, block_source *s, const hth_blocks_message *m, uint64_t now_ms)
{
	b->counts.refused++;
	if (m->reason == HTH_BLOCKS_GONE) {
		leave(b, f, s, false);
		return;
	}
	for (size_t i = f->n_asked; i-- > 0;)
		if (&f->sources[f->asked[i].source] == s && f->asked[i].part == m->part && f->asked[i].index == m->index)
			forget_asked(f, i);
	s->window = HTH_MAX(1.0, s->window / 2);
	s->back_ms = now_ms + BACK_MS;
}

void blocks_fetch_data(hth_blocks *b, const hth_home_id *from, const hth_blocks_message *m, uint64_t now_ms)
{
	for (size_t i = 0; i < b->n_fetches; i++) {
		block_fetch *f = b->fetches[i];
		block_source *s = memcmp(f->list->sha256, m->sha256, HTH_SHA256_BYTES) == 0 ? find_source(f, from) : NULL;
		if (s == NULL || !gives(f, s) || f->checking)
			continue;
		if (m->kind == HTH_BLOCKS_REFUSE) {
			refused(b, f, s, m, now_ms);
			continue;
		}
		switch (take(b, f, m)) {
		case NEW: f->heard_ms = now_ms; /* fall through */
		case OLD: taken(f, s, m->part, m->index, now_ms); break;
		case WRONG:
			b->counts.wrong_parts++;
			leave(b, f, s, true);
			break;
		}
	}
}

void hth_blocks_stored(hth_blocks *b, uint64_t fetch, uint64_t now_ms)
{
	block_fetch *f = find_fetch(b, fetch);
	if (f != NULL && f->unstored > 0)
		f->unstored--;
	blocks_wake(b, now_ms);
}

void hth_blocks_checked(hth_blocks *b, uint64_t fetch, bool good, uint64_t now_ms)
{
	block_fetch *f = find_fetch(b, fetch);
	if (f == NULL || !f->checking)
		return;
	if (good) {
		end(b, f, HTH_BLOCKS_WHOLE);
		return;
	}
	/* Every chunk was what the root says, and the file is not the one that was meant. */
	for (size_t i = 0; i < f->n_sources; i++)
		if (gives(f, &f->sources[i]))
			leave(b, f, &f->sources[i], true);
	memcpy(f->found, f->list->chunks, (size_t)f->list->n_chunks * sizeof *f->found);
	f->n_found = f->list->n_chunks;
	memset(f->page_state, BLOCK_MISSING, f->list->n_pages);
	memset(f->chunk_state, BLOCK_MISSING, f->list->n_chunks);
	f->rooted = f->topped = f->checking = false;
	f->pages = f->here = f->cursor = f->prefix = 0;
	f->bytes = f->had_bytes = 0;
	f->heard_ms = now_ms;
	blocks_wake(b, now_ms);
}

/* ---- time ---- */

static void choose_root(block_fetch *f, uint64_t now_ms)
{
	size_t best = SIZE_MAX, most = 0, open = 0;
	for (size_t i = 0; i < f->n_sources; i++) {
		const block_source *s = &f->sources[i];
		size_t n = 0;
		open += !s->left && !s->ready;
		for (size_t k = 0; k < f->n_sources && s->ready && !s->left; k++)
			n += f->sources[k].ready && !f->sources[k].left && memcmp(f->sources[k].root, s->root, HTH_HASH_BYTES) == 0;
		if (n > most) {
			most = n;
			best = i;
		}
	}
	if (best == SIZE_MAX || (open > 0 && now_ms < f->begun_ms + CHOOSE_MS))
		return;
	memcpy(f->root, f->sources[best].root, HTH_HASH_BYTES);
	f->rooted = true;
}

static void lose(hth_blocks *b, block_fetch *f, uint64_t now_ms)
{
	for (size_t i = f->n_asked; i-- > 0;) {
		block_source *s = &f->sources[f->asked[i].source];
		uint64_t allowed = s->smooth_ms == 0 ? (uint64_t)LOST_FIRST_MS
		                                     : (uint64_t)HTH_MIN(HTH_MAX(4 * s->smooth_ms, (double)LOST_MIN_MS),
		                                                         (double)LOST_MAX_MS);
		if (now_ms < f->asked[i].at_ms + allowed) {
			blocks_wake(b, f->asked[i].at_ms + allowed);
			continue;
		}
		b->counts.timeouts++;
		s->silent++;
		s->window = HTH_MAX(1.0, s->window / 2);
		if (s->silent >= 3) /* one may be lost; three in a row are silence */
			s->back_ms = now_ms + HTH_MIN((uint64_t)BACK_MS << HTH_MIN(s->silent, 6u), (uint64_t)BACK_MAX_MS);
		forget_asked(f, i);
	}
}

/* False: it is over. */
static bool go_on(hth_blocks *b, block_fetch *f, uint64_t now_ms)
{
	size_t open = 0, offered = 0;
	for (size_t i = 0; i < f->n_sources; i++) {
		block_source *s = &f->sources[i];
		open += !s->left;
		offered += !s->left && s->offered;
		if (s->left || s->ready || s->away)
			continue;
		if (now_ms >= s->asked_ms + s->ask_every_ms)
			ask_whether(b, f, s, now_ms);
		blocks_wake(b, s->asked_ms + s->ask_every_ms);
	}
	if (f->topped && f->here == f->list->n_chunks) {
		if (f->unstored == 0 && !f->checking) {
			f->checking = true;
			b->ops.check(b->ops.ctx, f->number);
		}
		return true;
	}
	uint64_t until = offered == 0 && f->here == 0 ? f->begun_ms + NOBODY_MS : f->heard_ms + HTH_BLOCKS_PATIENCE_MS;
	if (open == 0 || now_ms >= until) {
		end(b, f, HTH_BLOCKS_NOBODY);
		return false;
	}
	blocks_wake(b, until);
	if (!f->rooted)
		choose_root(f, now_ms);
	if (!f->rooted && offered > 0)
		blocks_wake(b, HTH_MAX(f->begun_ms + CHOOSE_MS, now_ms + 1));
	return true;
}

void blocks_fetch_tick(hth_blocks *b, uint64_t now_ms)
{
	for (size_t i = b->n_fetches; i-- > 0;) {
		block_fetch *f = b->fetches[i];
		lose(b, f, now_ms);
		if (!go_on(b, f, now_ms) || f->checking)
			continue;
		pump(b, f, now_ms);
		for (size_t k = 0; k < f->n_sources; k++)
			if (gives(f, &f->sources[k]) && f->sources[k].back_ms > now_ms)
				blocks_wake(b, f->sources[k].back_ms);
		if (f->n_asked > 0)
			blocks_wake(b, now_ms + TWICE_MS);
	}
}

bool hth_blocks_get_progress(const hth_blocks *b, uint64_t fetch, uint64_t now_ms, hth_blocks_progress *ret_progress)
{
	const block_fetch *f = find_fetch(b, fetch);
	if (f == NULL)
		return false;
	*ret_progress = (hth_blocks_progress){.bytes = f->bytes, .had = f->had_bytes, .prefix = f->prefix};
	for (size_t i = 0; i < f->n_sources; i++)
		if (f->sources[i].gave_ms > 0 && !f->sources[i].left && now_ms < f->sources[i].gave_ms + RECENT_MS)
			ret_progress->from[ret_progress->sources++] = f->sources[i].id;
	return true;
}

const hth_chunk_list *hth_blocks_list(const hth_blocks *b, uint64_t fetch)
{
	const block_fetch *f = find_fetch(b, fetch);
	return f != NULL && f->topped && f->pages == f->list->n_pages ? f->list : NULL;
}
