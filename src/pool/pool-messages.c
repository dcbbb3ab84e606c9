/* pool-messages.c - the messages' bytes; see capability.h. Pure. */
#include "base/mem.h"
#include "base/utf8.h"
#include "pool/capability.h"

#include <math.h>

enum { FORMAT = 3 };

static void put_float(hth_buf *out, float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	hth_canon_put_u32(out, bits);
}

/* A speed: positive and finite, or the message is refused. */
static float get_speed(hth_canon_reader *r)
{
	uint32_t bits = hth_canon_get_u32(r);
	float value;
	memcpy(&value, &bits, sizeof value);
	if (!(value > 0.0f) || !(value <= 1e9f) || !isnormal(value)) {
		r->failed = true;
		return 1;
	}
	return value;
}

static void put_record(hth_buf *out, const hth_capability *c)
{
	hth_canon_put_u64(out, c->number);
	hth_canon_put_u32(out, c->charter_version);
	hth_canon_put_u16(out, c->slots);
	hth_canon_put_u16(out, c->free_slots);
	hth_canon_put_u32(out, c->queued_tokens);
	hth_canon_put_bool(out, c->lends);
	hth_canon_put_bool(out, c->accepts_public);
	hth_canon_put_bool(out, c->accepts_neighbours);
	hth_canon_put_u8(out, c->n_models);
	for (size_t i = 0; i < c->n_models; i++) {
		hth_canon_put_bytes(out, c->models[i].hash, HTH_HASH_BYTES);
		put_float(out, c->models[i].prefill_tok_s);
		put_float(out, c->models[i].decode_tok_s);
	}
}

static void get_record(hth_canon_reader *r, hth_capability *c)
{
	c->number = hth_canon_get_u64(r);
	c->charter_version = hth_canon_get_u32(r);
	c->slots = hth_canon_get_u16(r);
	c->free_slots = hth_canon_get_u16(r);
	c->queued_tokens = hth_canon_get_u32(r);
	c->lends = hth_canon_get_bool(r);
	c->accepts_public = hth_canon_get_bool(r);
	c->accepts_neighbours = hth_canon_get_bool(r);
	c->n_models = hth_canon_get_u8(r);
	if (c->n_models > HTH_POOL_MODELS_MAX || c->free_slots > c->slots || c->slots > 1024)
		r->failed = true;
	for (size_t i = 0; i < c->n_models && !r->failed; i++) {
		hth_canon_get_bytes(r, c->models[i].hash, HTH_HASH_BYTES);
		c->models[i].prefill_tok_s = get_speed(r);
		c->models[i].decode_tok_s = get_speed(r);
	}
}

static void put_ids(hth_buf *out, const int32_t *ids, size_t n)
{
	hth_canon_put_u32(out, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		hth_canon_put_u32(out, (uint32_t)ids[i]);
}

static size_t get_ids(hth_canon_reader *r, int32_t *ids, size_t max)
{
	size_t n = hth_canon_get_u32(r);
	if (n > max || n * 4 > (size_t)(r->end - r->at)) {
		r->failed = true;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		ids[i] = (int32_t)hth_canon_get_u32(r);
		if (ids[i] < 0)
			r->failed = true;
	}
	return r->failed ? 0 : n;
}

static void put_tokens(hth_buf *out, const hth_pool_message *m)
{
	hth_canon_put_u32(out, m->from);
	put_ids(out, m->ids, m->n_ids);
	hth_canon_put_u32(out, m->text_from);
	hth_canon_put_blob(out, m->text, m->text_len);
	hth_canon_put_bool(out, m->has_prompt);
	if (m->has_prompt) {
		hth_canon_put_u32(out, m->prompt_tokens);
		hth_canon_put_blob(out, m->tail, m->tail_len);
	}
	hth_canon_put_bool(out, m->final);
	if (m->final) {
		hth_canon_put_u8(out, m->finish);
		hth_canon_put_u8(out, m->stop);
	}
}

/* Text and tail are shown to people and looked at by readers of answers: whole characters. A model may well say a NUL; a prompt's tail has
 * none. */
static const void *get_words(hth_canon_reader *r, size_t max, bool nul, size_t *ret_len)
{
	const unsigned char *words = hth_canon_get_blob(r, max, ret_len);
	if (r->failed || (*ret_len > 0 && ((!nul && memchr(words, '\0', *ret_len) != NULL) ||
	                                   hth_utf8_valid_prefix((const char *)words, *ret_len) != *ret_len))) {
		r->failed = true;
		*ret_len = 0;
		return NULL;
	}
	return words;
}

static void get_tokens(hth_canon_reader *r, hth_pool_message *m, int32_t *storage)
{
	m->from = hth_canon_get_u32(r);
	m->ids = storage;
	m->n_ids = get_ids(r, storage, HTH_POOL_RUN_MAX);
	m->text_from = hth_canon_get_u32(r);
	m->text = get_words(r, HTH_POOL_TEXT_MAX, true, &m->text_len);
	m->has_prompt = hth_canon_get_bool(r);
	if (m->has_prompt) {
		m->prompt_tokens = hth_canon_get_u32(r);
		m->tail = get_words(r, HTH_POOL_TAIL_MAX, false, &m->tail_len);
	}
	m->final = hth_canon_get_bool(r);
	if (m->final) {
		m->finish = hth_canon_get_u8(r);
		m->stop = hth_canon_get_u8(r);
	}
	if (m->finish > HTH_POOL_FINISH_MAX || m->stop > HTH_POOL_STOPS_MAX)
		r->failed = true;
}

void hth_pool_message_encode(const hth_pool_message *m, hth_buf *out)
{
	hth_canon_put_u8(out, FORMAT);
	hth_canon_put_u8(out, (uint8_t)m->kind);
	if (m->kind == HTH_POOL_RECORD) {
		put_record(out, &m->record);
		return;
	}
	if (m->kind == HTH_POOL_RECEIPT || m->kind == HTH_POOL_VERDICT) {
		hth_entry_put(out, &m->entry);
		return;
	}
	hth_canon_put_bytes(out, m->job.bytes, HTH_JOB_BYTES);
	switch (m->kind) {
	case HTH_POOL_ASK:
		hth_canon_put_u8(out, (uint8_t)m->audience);
		hth_canon_put_bytes(out, m->model, HTH_HASH_BYTES);
		hth_canon_put_u32(out, m->prompt_tokens);
		hth_canon_put_u32(out, m->max_tokens);
		hth_canon_put_u64(out, m->seed);
		hth_canon_put_u64(out, m->sampler);
		hth_canon_put_blob(out, m->words, m->words_len);
		put_ids(out, m->ids, m->n_ids);
		hth_canon_put_u32(out, m->text_from);
		break;
	case HTH_POOL_TOKENS: put_tokens(out, m); break;
	case HTH_POOL_ACCEPT:
	case HTH_POOL_BEAT:
	case HTH_POOL_WANT:
	case HTH_POOL_CANCEL: hth_canon_put_u32(out, m->from); break;
	case HTH_POOL_REFUSE: hth_canon_put_u8(out, (uint8_t)m->reason); break;
	default: break;
	}
}

static void get_ask(hth_canon_reader *r, hth_pool_message *m, int32_t *storage)
{
	unsigned audience = hth_canon_get_u8(r);
	if (audience != HTH_AUDIENCE_NEIGHBOURS && audience != HTH_AUDIENCE_PUBLIC)
		r->failed = true; /* above all: nothing private */
	m->audience = (hth_audience)audience;
	hth_canon_get_bytes(r, m->model, HTH_HASH_BYTES);
	m->prompt_tokens = hth_canon_get_u32(r);
	m->max_tokens = hth_canon_get_u32(r);
	m->seed = hth_canon_get_u64(r);
	m->sampler = hth_canon_get_u64(r);
	m->words = hth_canon_get_blob(r, HTH_POOL_WORDS_MAX, &m->words_len);
	m->ids = storage;
	m->n_ids = get_ids(r, storage, HTH_POOL_PREFIX_MAX);
	m->text_from = hth_canon_get_u32(r);
	if (m->max_tokens == 0 || m->max_tokens > HTH_POOL_PREFIX_MAX || m->n_ids > m->max_tokens || m->prompt_tokens > 1u << 24)
		r->failed = true;
}

hth_status hth_pool_message_decode(hth_pool_message *m, const void *bytes, size_t len, int32_t *storage, hth_error *err)
{
	if (len > HTH_POOL_MESSAGE_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a neighbour's message of %zu bytes is over the limit of %d", len,
		                HTH_POOL_MESSAGE_MAX);
	hth_canon_reader r = hth_canon_read(bytes, len);
	memset(m, 0, sizeof *m);
	if (hth_canon_get_u8(&r) != FORMAT)
		r.failed = true;
	m->kind = (hth_pool_kind)hth_canon_get_u8(&r);
	bool whole = m->kind == HTH_POOL_RECORD || m->kind == HTH_POOL_RECEIPT || m->kind == HTH_POOL_VERDICT;
	if (!whole)
		hth_canon_get_bytes(&r, m->job.bytes, HTH_JOB_BYTES);
	switch (m->kind) {
	case HTH_POOL_RECORD: get_record(&r, &m->record); break;
	case HTH_POOL_ASK: get_ask(&r, m, storage); break;
	case HTH_POOL_TOKENS: get_tokens(&r, m, storage); break;
	case HTH_POOL_ACCEPT:
	case HTH_POOL_BEAT:
	case HTH_POOL_WANT:
	case HTH_POOL_CANCEL: m->from = hth_canon_get_u32(&r); break;
	case HTH_POOL_REFUSE: {
		unsigned reason = hth_canon_get_u8(&r);
		if (reason < HTH_POOL_BUSY || reason > HTH_POOL_BROKEN)
			r.failed = true;
		m->reason = (hth_pool_reason)reason;
		break;
	}
	case HTH_POOL_RECEIPT:
	case HTH_POOL_VERDICT: hth_entry_get(&r, &m->entry); break;
	default: r.failed = true;
	}
	if (!hth_canon_end(&r))
		return hth_fail(err, HTH_BAD_FORMAT, "a neighbour's message does not follow the format");
	return HTH_OK;
}
