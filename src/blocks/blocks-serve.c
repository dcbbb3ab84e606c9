/* blocks-serve.c - the giving side: what neighbours asked for, in turns, at the owner's pace; see model-blocks.h. */
#include "blocks/blocks-internal.h"

#include "base/mem.h"

enum { SEND_AGAIN_MS = 50, WAITS_AT_MOST_MS = 60000 };

void blocks_serve_query(hth_blocks *b, const hth_home_id *from, const hth_blocks_message *query)
{
	hth_blocks_offer offer = {.n_files = 0};
	b->ops.offer(b->ops.ctx, from, query, &offer);
	uint64_t number = query->query;
	hth_blocks_message *m = &b->message; /* the query is in it: it is not needed any more */
	*m = (hth_blocks_message){.kind = HTH_BLOCKS_OFFER, .query = number, .n_files = offer.n_files, .bytes = offer.extras,
	                          .len = offer.extras_len};
	memcpy(m->files, offer.files, sizeof m->files);
	blocks_send(b, from, m);
}

static void refuse(hth_blocks *b, const hth_home_id *to, const unsigned char *sha256, hth_blocks_part part, uint32_t index,
                   hth_blocks_reason reason)
{
	hth_blocks_message m = {.kind = HTH_BLOCKS_REFUSE, .part = part, .index = index, .reason = reason};
	memcpy(m.sha256, sha256, HTH_SHA256_BYTES);
	blocks_send(b, to, &m);
}

void blocks_serve_get(hth_blocks *b, const hth_home_id *from, const hth_blocks_message *m, uint64_t now_ms)
{
	size_t mine = 0;
	for (size_t i = 0; i < b->n_orders; i++) {
		const block_order *o = &b->orders[i];
		if (!hth_home_id_equal(&o->to, from))
			continue;
		if (o->part == m->part && o->index == m->index && memcmp(o->sha256, m->sha256, HTH_SHA256_BYTES) == 0)
			return; /* it waits already */
		mine++;
	}
	if (mine >= HTH_BLOCKS_PER_PEER || b->n_orders == HTH_BLOCKS_QUEUE_MAX) {
		refuse(b, from, m->sha256, m->part, m->index, HTH_BLOCKS_BUSY);
		return;
	}
	block_order *o = &b->orders[b->n_orders++];
	*o = (block_order){.to = *from, .part = m->part, .index = m->index, .since_ms = now_ms};
	memcpy(o->sha256, m->sha256, HTH_SHA256_BYTES);
}

static void drop(hth_blocks *b, size_t i)
{
	b->n_reads -= b->orders[i].read != 0;
	memmove(&b->orders[i], &b->orders[i + 1], (--b->n_orders - i) * sizeof *b->orders); /* in order of coming */
}

void blocks_serve_peers(hth_blocks *b)
{
	for (size_t i = b->n_orders; i-- > 0;)
		if (!blocks_is_peer(b, &b->orders[i].to))
			drop(b, i);
}

void hth_blocks_read_done(hth_blocks *b, uint64_t read, const void *bytes, size_t len, uint64_t now_ms)
{
	for (size_t i = 0; i < b->n_orders; i++) {
		block_order *o = &b->orders[i];
		if (o->read != read)
			continue;
		if (bytes == NULL) {
			refuse(b, &o->to, o->sha256, o->part, o->index, HTH_BLOCKS_GONE);
			drop(b, i);
			return;
		}
		hth_blocks_message m = {.kind = HTH_BLOCKS_DATA, .part = o->part, .index = o->index, .bytes = bytes, .len = len};
		memcpy(m.sha256, o->sha256, HTH_SHA256_BYTES);
		if (blocks_send(b, &o->to, &m)) {
			b->counts.served++;
			b->counts.served_bytes += len;
			drop(b, i);
		} else { /* the link is full: read again in a moment */
			o->read = 0;
			b->n_reads--;
			b->serve_after_ms = now_ms + SEND_AGAIN_MS;
		}
		blocks_wake(b, HTH_MAX(now_ms, b->serve_after_ms));
		return;
	}
}

/* The next in turn: the first order of the home whose id follows that of the one served last, around the circle. */
static size_t next_order(const hth_blocks *b)
{
	size_t best = SIZE_MAX;
	for (size_t i = 0; i < b->n_orders; i++) {
		const hth_home_id *id = &b->orders[i].to;
		if (b->orders[i].read != 0)
			continue;
		if (best == SIZE_MAX) {
			best = i;
			continue;
		}
		bool after = hth_home_id_compare(id, &b->served_last) > 0,
		    best_after = hth_home_id_compare(&b->orders[best].to, &b->served_last) > 0;
		if (after != best_after ? after : hth_home_id_compare(id, &b->orders[best].to) < 0)
			best = i;
	}
	return best;
}

void blocks_serve_tick(hth_blocks *b, uint64_t now_ms)
{
	for (size_t i = b->n_orders; i-- > 0;)
		if (b->orders[i].read == 0 && now_ms >= b->orders[i].since_ms + WAITS_AT_MOST_MS)
			drop(b, i); /* whoever wanted it has asked elsewhere long since */
	if (now_ms < b->serve_after_ms) {
		blocks_wake(b, b->serve_after_ms);
		return;
	}
	for (size_t i; b->n_reads < BLOCKS_READS_MAX && (i = next_order(b)) != SIZE_MAX;) {
		if (!blocks_may_pass(b, &b->out, now_ms))
			return;
		block_order *o = &b->orders[i];
		o->read = ++b->next_read;
		b->n_reads++;
		b->served_last = o->to;
		const block_order copy = *o; /* it may be done before this returns */
		b->ops.read(b->ops.ctx, copy.read, &copy.to, copy.sha256, copy.part, copy.index);
	}
}
