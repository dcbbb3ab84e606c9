/* blocks-messages.c - the messages' bytes; see blocks-messages.h. Pure. */
#include "blocks/blocks-messages.h"

#include "base/mem.h"

enum { FORMAT = 1 };

static void put_files(hth_buf *out, const hth_blocks_message *m)
{
	hth_canon_put_u8(out, m->n_files);
	for (size_t i = 0; i < m->n_files; i++) {
		hth_canon_put_u64(out, m->files[i].bytes);
		hth_canon_put_bytes(out, m->files[i].sha256, HTH_SHA256_BYTES);
		hth_canon_put_bool(out, m->files[i].ready);
		hth_canon_put_bytes(out, m->files[i].root, HTH_HASH_BYTES);
	}
}

static void get_files(hth_canon_reader *r, hth_blocks_message *m)
{
	static const unsigned char none[HTH_HASH_BYTES];
	m->n_files = hth_canon_get_u8(r);
	if (m->n_files > HTH_BLOCKS_FILES_MAX)
		r->failed = true;
	for (size_t i = 0; i < m->n_files && !r->failed; i++) {
		hth_blocks_file *f = &m->files[i];
		f->bytes = hth_canon_get_u64(r);
		hth_canon_get_bytes(r, f->sha256, HTH_SHA256_BYTES);
		f->ready = hth_canon_get_bool(r);
		hth_canon_get_bytes(r, f->root, HTH_HASH_BYTES);
		if (f->bytes == 0 || f->bytes > HTH_BLOCKS_FILE_MAX || (!f->ready && memcmp(f->root, none, sizeof none) != 0))
			r->failed = true;
	}
}

void hth_blocks_message_encode(const hth_blocks_message *m, hth_buf *out)
{
	hth_canon_put_u8(out, FORMAT);
	hth_canon_put_u8(out, (uint8_t)m->kind);
	switch (m->kind) {
	case HTH_BLOCKS_QUERY:
		hth_canon_put_u64(out, m->query);
		hth_canon_put_bool(out, m->by_hash);
		if (m->by_hash) {
			hth_canon_put_bytes(out, m->sha256, HTH_SHA256_BYTES);
		} else {
			hth_canon_put_text(out, m->reference);
			hth_canon_put_text(out, m->name);
		}
		break;
	case HTH_BLOCKS_OFFER:
		hth_canon_put_u64(out, m->query);
		put_files(out, m);
		hth_canon_put_blob(out, m->bytes, m->len);
		break;
	default:
		hth_canon_put_bytes(out, m->sha256, HTH_SHA256_BYTES);
		hth_canon_put_u8(out, (uint8_t)m->part);
		hth_canon_put_u32(out, m->index);
		if (m->kind == HTH_BLOCKS_DATA)
			hth_canon_put_blob(out, m->bytes, m->len);
		if (m->kind == HTH_BLOCKS_REFUSE)
			hth_canon_put_u8(out, (uint8_t)m->reason);
	}
}

static void get_part(hth_canon_reader *r, hth_blocks_message *m)
{
	unsigned part, reason;
	hth_canon_get_bytes(r, m->sha256, HTH_SHA256_BYTES);
	part = hth_canon_get_u8(r);
	m->index = hth_canon_get_u32(r);
	if (part < HTH_PART_TOP || part > HTH_PART_CHUNK || m->index >= (uint32_t)HTH_CHUNK_PAGE * HTH_CHUNK_PAGES_MAX)
		r->failed = true;
	m->part = (hth_blocks_part)part;
	if (m->kind == HTH_BLOCKS_DATA)
		m->bytes = hth_canon_get_blob(r, HTH_CHUNK_BYTES, &m->len);
	if (m->kind == HTH_BLOCKS_REFUSE) {
		reason = hth_canon_get_u8(r);
		if (reason < HTH_BLOCKS_BUSY || reason > HTH_BLOCKS_GONE)
			r->failed = true;
		m->reason = (hth_blocks_reason)reason;
	}
}

hth_status hth_blocks_message_decode(hth_blocks_message *m, const void *bytes, size_t len, hth_error *err)
{
	if (len > HTH_BLOCKS_MESSAGE_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a neighbour's message of %zu bytes is over the limit of %d", len,
		                HTH_BLOCKS_MESSAGE_MAX);
	hth_canon_reader r = hth_canon_read(bytes, len);
	memset(m, 0, sizeof *m);
	if (hth_canon_get_u8(&r) != FORMAT)
		r.failed = true;
	m->kind = (hth_blocks_kind)hth_canon_get_u8(&r);
	switch (m->kind) {
	case HTH_BLOCKS_QUERY:
		m->query = hth_canon_get_u64(&r);
		m->by_hash = hth_canon_get_bool(&r);
		if (m->by_hash) {
			hth_canon_get_bytes(&r, m->sha256, HTH_SHA256_BYTES);
		} else {
			hth_canon_get_text(&r, m->reference, sizeof m->reference);
			hth_canon_get_text(&r, m->name, sizeof m->name);
		}
		break;
	case HTH_BLOCKS_OFFER:
		m->query = hth_canon_get_u64(&r);
		get_files(&r, m);
		m->bytes = hth_canon_get_blob(&r, HTH_BLOCKS_EXTRAS_MAX, &m->len);
		break;
	case HTH_BLOCKS_GET:
	case HTH_BLOCKS_DATA:
	case HTH_BLOCKS_REFUSE: get_part(&r, m); break;
	default: r.failed = true;
	}
	if (!hth_canon_end(&r))
		return hth_fail(err, HTH_BAD_FORMAT, "a neighbour's message about a model does not follow the format");
	return HTH_OK;
}
