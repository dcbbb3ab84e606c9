/* model-blocks.c - the machine's frame: whom it deals with, pace, and who handles which message; see model-blocks.h. */
#include "blocks/blocks-internal.h"

#include "base/mem.h"

enum { BUSY_EVERY_MS = 250 };

hth_status hth_blocks_create(hth_blocks **ret_blocks, const hth_blocks_ops *ops, hth_error *err)
{
	hth_blocks *b = calloc(1, sizeof *b);
	if (b == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for models of neighbours");
	b->ops = *ops;
	b->next_ms = UINT64_MAX;
	b->text = HTH_BUF_INIT(HTH_BLOCKS_MESSAGE_MAX);
	*ret_blocks = b;
	return HTH_OK;
}

void hth_blocks_destroy(hth_blocks *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < b->n_fetches; i++)
		blocks_fetch_free(b->fetches[i]);
	for (size_t i = 0; i < b->n_finds; i++)
		blocks_find_free(b->finds[i]);
	hth_buf_finish(&b->text);
	free(b);
}

const hth_blocks_counts *hth_blocks_get_counts(const hth_blocks *b) { return &b->counts; }
uint64_t hth_blocks_next_ms(const hth_blocks *b) { return b->next_ms; }

void blocks_wake(hth_blocks *b, uint64_t at_ms) { b->next_ms = HTH_MIN(b->next_ms, at_ms); }

bool blocks_is_peer(const hth_blocks *b, const hth_home_id *id)
{
	for (size_t i = 0; i < b->n_peers; i++)
		if (hth_home_id_equal(&b->peers[i], id))
			return true;
	return false;
}

bool blocks_send(hth_blocks *b, const hth_home_id *to, const hth_blocks_message *message)
{
	hth_buf_clear(&b->text);
	hth_blocks_message_encode(message, &b->text);
	return !b->text.failed && b->ops.send(b->ops.ctx, to, b->text.data, b->text.len);
}

/* ---- pace ---- */

bool blocks_may_pass(hth_blocks *b, block_pace *pace, uint64_t now_ms)
{
	double rate = b->bytes_s > 0 ? (double)b->bytes_s : 1e18, slow = (double)HTH_CHUNK_BYTES * 1000 / BUSY_EVERY_MS;
	if (b->busy)
		rate = HTH_MIN(rate, slow);
	double most = HTH_MAX(rate / 4, (double)HTH_CHUNK_BYTES); /* a quarter of a second's worth may go at once */
	pace->room = HTH_MIN(most, pace->room + rate * (double)(now_ms - HTH_MIN(pace->at_ms, now_ms)) / 1000);
	pace->at_ms = now_ms;
	if (pace->room < HTH_CHUNK_BYTES) {
		blocks_wake(b, now_ms + 1 + (uint64_t)((HTH_CHUNK_BYTES - pace->room) * 1000 / rate));
		return false;
	}
	pace->room -= HTH_CHUNK_BYTES;
	return true;
}

void hth_blocks_set_pace(hth_blocks *b, uint64_t bytes_s, bool busy, uint64_t now_ms)
{
	b->bytes_s = bytes_s;
	b->busy = busy;
	blocks_wake(b, now_ms);
}

/* ---- who, and what they write ---- */

void hth_blocks_set_peers(hth_blocks *b, const hth_home_id *ids, size_t n, uint64_t now_ms)
{
	b->n_peers = HTH_MIN(n, (size_t)HTH_BLOCKS_SOURCES_MAX);
	if (b->n_peers > 0)
		memcpy(b->peers, ids, b->n_peers * sizeof *ids);
	blocks_serve_peers(b);
	blocks_fetch_peers(b, now_ms);
	blocks_wake(b, now_ms);
}

void hth_blocks_receive(hth_blocks *b, const hth_home_id *from, const void *bytes, size_t len, uint64_t now_ms)
{
	hth_blocks_message *m = &b->message;
	if (!blocks_is_peer(b, from) || hth_blocks_message_decode(m, bytes, len, NULL) != HTH_OK) {
		b->counts.bad_messages++;
		return;
	}
	switch (m->kind) {
	case HTH_BLOCKS_QUERY: blocks_serve_query(b, from, m); break;
	case HTH_BLOCKS_GET: blocks_serve_get(b, from, m, now_ms); break;
	case HTH_BLOCKS_OFFER:
		blocks_find_offer(b, from, m);
		blocks_fetch_offer(b, from, m, now_ms);
		break;
	case HTH_BLOCKS_DATA:
	case HTH_BLOCKS_REFUSE: blocks_fetch_data(b, from, m, now_ms); break;
	}
	blocks_wake(b, now_ms);
}

uint64_t hth_blocks_tick(hth_blocks *b, uint64_t now_ms)
{
	b->next_ms = UINT64_MAX;
	blocks_find_tick(b, now_ms);
	blocks_fetch_tick(b, now_ms);
	blocks_serve_tick(b, now_ms);
	return b->next_ms;
}
