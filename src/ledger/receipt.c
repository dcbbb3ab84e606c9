/* receipt.c - the bytes and hashes of receipts; see receipt.h. Pure. */
#include "ledger/receipt.h"

#include "base/mem.h"

void hth_receipt_put(hth_buf *out, const hth_receipt *r)
{
	hth_canon_put_bytes(out, r->giver.bytes, 32);
	hth_canon_put_bytes(out, r->taker.bytes, 32);
	hth_canon_put_u64(out, r->sequence);
	hth_canon_put_bytes(out, r->previous, HTH_HASH_BYTES);
	hth_canon_put_bytes(out, r->job.bytes, HTH_JOB_BYTES);
	hth_canon_put_u8(out, r->privacy);
	hth_canon_put_bytes(out, r->model, HTH_HASH_BYTES);
	hth_canon_put_u64(out, r->sampler);
	hth_canon_put_u64(out, r->seed);
	hth_canon_put_u64(out, r->issued_ms);
	hth_canon_put_u32(out, r->prompt_tokens);
	hth_canon_put_u32(out, r->answer_tokens);
	hth_canon_put_bytes(out, r->tokens, HTH_HASH_BYTES);
	hth_canon_put_u64(out, r->milliwatt_seconds);
	hth_canon_put_u32(out, r->charge);
	hth_canon_put_bool(out, r->final);
}

void hth_receipt_get(hth_canon_reader *reader, hth_receipt *r)
{
	memset(r, 0, sizeof *r);
	hth_canon_get_bytes(reader, r->giver.bytes, 32);
	hth_canon_get_bytes(reader, r->taker.bytes, 32);
	r->sequence = hth_canon_get_u64(reader);
	hth_canon_get_bytes(reader, r->previous, HTH_HASH_BYTES);
	hth_canon_get_bytes(reader, r->job.bytes, HTH_JOB_BYTES);
	r->privacy = hth_canon_get_u8(reader);
	hth_canon_get_bytes(reader, r->model, HTH_HASH_BYTES);
	r->sampler = hth_canon_get_u64(reader);
	r->seed = hth_canon_get_u64(reader);
	r->issued_ms = hth_canon_get_u64(reader);
	r->prompt_tokens = hth_canon_get_u32(reader);
	r->answer_tokens = hth_canon_get_u32(reader);
	hth_canon_get_bytes(reader, r->tokens, HTH_HASH_BYTES);
	r->milliwatt_seconds = hth_canon_get_u64(reader);
	r->charge = hth_canon_get_u32(reader);
	r->final = hth_canon_get_bool(reader);
}

void hth_receipt_hash(const hth_receipt *receipt, unsigned char ret_hash[HTH_HASH_BYTES])
{
	hth_buf bytes = HTH_BUF_INIT(HTH_RECEIPT_BYTES_MAX);
	hth_receipt_put(&bytes, receipt);
	hth_seal_hash("hearth receipt 1", bytes.data, bytes.len, ret_hash);
	hth_buf_finish(&bytes);
}

void hth_token_hash(unsigned char hash[HTH_HASH_BYTES], const int32_t *ids, size_t n)
{
	hth_buf bytes = HTH_BUF_INIT(SIZE_MAX - 1);
	hth_canon_put_bytes(&bytes, hash, HTH_HASH_BYTES);
	for (size_t i = 0; i < n; i++)
		hth_canon_put_u32(&bytes, (uint32_t)ids[i]);
	if (bytes.failed) /* no memory: a hash that nobody else gets, so the receipt is refused */
		memset(hash, 0xff, HTH_HASH_BYTES);
	else
		hth_seal_hash("hearth tokens 1", bytes.data, bytes.len, hash);
	hth_buf_finish(&bytes);
}

uint64_t hth_charge_of(uint32_t prompt_tokens, uint32_t answer_tokens) { return (uint64_t)answer_tokens + prompt_tokens / 16; }
