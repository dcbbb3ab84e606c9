/* blocks-find.c - who has a model? Everybody is asked, twice where no answer comes; see model-blocks.h. */
#include "blocks/blocks-internal.h"

#include "base/mem.h"

#include <stdio.h>

enum { AGAIN_MS = 1000 };

void blocks_find_free(block_find *f)
{
	if (f == NULL)
		return;
	free(f->waiting);
	free(f);
}

static void drop(hth_blocks *b, size_t i)
{
	blocks_find_free(b->finds[i]);
	b->finds[i] = b->finds[--b->n_finds];
}

static void ask(hth_blocks *b, block_find *f, uint64_t now_ms)
{
	hth_blocks_message *m = &b->message;
	*m = (hth_blocks_message){.kind = HTH_BLOCKS_QUERY, .query = f->query};
	memcpy(m->reference, f->reference, sizeof m->reference);
	memcpy(m->name, f->name, sizeof m->name);
	for (size_t i = 0; i < f->n_waiting; i++)
		blocks_send(b, &f->waiting[i], m);
	f->asked_ms = now_ms;
}

hth_status hth_blocks_find(hth_blocks *b, uint64_t find, const char *reference, const char *name, uint64_t now_ms, hth_error *err)
{
	if (b->n_peers == 0)
		return hth_fail(err, HTH_NOT_FOUND, "no neighbour is there to be asked");
	if (b->n_finds == HTH_BLOCKS_FINDS_MAX)
		return hth_fail(err, HTH_BUSY, "the neighbours are being asked for %d models already", HTH_BLOCKS_FINDS_MAX);
	if (strlen(reference) >= HTH_BLOCKS_REFERENCE_MAX || strlen(name) >= HTH_BLOCKS_NAME_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the model's name is too long to ask neighbours for it");
	block_find *f = calloc(1, sizeof *f);
	if (f == NULL || (f->waiting = calloc(b->n_peers, sizeof *f->waiting)) == NULL) {
		blocks_find_free(f);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to ask neighbours");
	}
	f->number = find;
	f->query = ++b->next_query;
	f->begun_ms = now_ms;
	snprintf(f->reference, sizeof f->reference, "%s", reference);
	snprintf(f->name, sizeof f->name, "%s", name);
	f->n_waiting = b->n_peers;
	memcpy(f->waiting, b->peers, b->n_peers * sizeof *f->waiting);
	b->finds[b->n_finds++] = f;
	ask(b, f, now_ms);
	blocks_wake(b, now_ms);
	return HTH_OK;
}

void hth_blocks_find_cancel(hth_blocks *b, uint64_t find)
{
	for (size_t i = b->n_finds; i-- > 0;)
		if (b->finds[i]->number == find)
			drop(b, i);
}

void blocks_find_offer(hth_blocks *b, const hth_home_id *from, const hth_blocks_message *m)
{
	for (size_t i = 0; i < b->n_finds; i++) {
		block_find *f = b->finds[i];
		for (size_t k = 0; k < f->n_waiting && f->query == m->query; k++) {
			if (!hth_home_id_equal(&f->waiting[k], from))
				continue;
			f->waiting[k] = f->waiting[--f->n_waiting];
			if (m->n_files > 0) {
				hth_blocks_offer offer = {.n_files = m->n_files, .extras = m->bytes, .extras_len = m->len};
				memcpy(offer.files, m->files, sizeof offer.files);
				b->ops.found(b->ops.ctx, f->number, from, &offer);
			}
			return;
		}
	}
}

void blocks_find_tick(hth_blocks *b, uint64_t now_ms)
{
	for (size_t i = b->n_finds; i-- > 0;) {
		block_find *f = b->finds[i];
		if (f->n_waiting == 0 || now_ms >= f->begun_ms + HTH_BLOCKS_FIND_MS) {
			uint64_t number = f->number;
			drop(b, i);
			b->ops.find_ended(b->ops.ctx, number);
			continue;
		}
		if (now_ms >= f->asked_ms + AGAIN_MS)
			ask(b, f, now_ms);
		blocks_wake(b, HTH_MIN(f->asked_ms + AGAIN_MS, f->begun_ms + HTH_BLOCKS_FIND_MS));
	}
}
