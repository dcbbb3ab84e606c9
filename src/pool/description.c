/* description.c - the bytes of the two letters; see description.h. Pure. */
#include "pool/description.h"

#include "base/utf8.h"

#include <string.h>

enum { FORMAT = 2, KIND_DESCRIBE = 32, KIND_DESCRIBED = 33 };
enum { HAS_TEMPLATE = 1, TOOLS = 2, THINKING = 4, ALL = 7 };

void hth_describe_encode(const unsigned char hash[HTH_HASH_BYTES], hth_buf *out)
{
	hth_canon_put_u8(out, FORMAT);
	hth_canon_put_u8(out, KIND_DESCRIBE);
	hth_canon_put_bytes(out, hash, HTH_HASH_BYTES);
}

void hth_description_encode(const hth_description *d, hth_buf *out)
{
	hth_canon_put_u8(out, FORMAT);
	hth_canon_put_u8(out, KIND_DESCRIBED);
	hth_canon_put_bytes(out, d->hash, HTH_HASH_BYTES);
	hth_canon_put_text(out, d->name);
	hth_canon_put_text(out, d->architecture);
	hth_canon_put_text(out, d->type);
	hth_canon_put_u64(out, d->n_params);
	hth_canon_put_u64(out, d->weight_bytes);
	hth_canon_put_u32(out, d->n_ctx);
	hth_canon_put_u32(out, d->n_ctx_train);
	hth_canon_put_u32(out, d->n_vocab);
	hth_canon_put_u32(out, d->n_embd);
	hth_canon_put_u32(out, d->n_layer);
	hth_canon_put_u8(out, (uint8_t)((d->has_template ? HAS_TEMPLATE : 0) | (d->tools ? TOOLS : 0) | (d->thinking ? THINKING : 0)));
	hth_canon_put_blob(out, d->chat_template, d->template_len);
}

hth_description_letter hth_description_decode(hth_description *ret_description, const void *bytes, size_t len)
{
	hth_description d = {0};
	hth_canon_reader r = hth_canon_read(bytes, len);
	unsigned format = hth_canon_get_u8(&r), kind = hth_canon_get_u8(&r);
	if (r.failed || len > HTH_DESCRIPTION_BYTES_MAX || format != FORMAT || (kind != KIND_DESCRIBE && kind != KIND_DESCRIBED))
		return HTH_NO_DESCRIPTION;
	hth_canon_get_bytes(&r, d.hash, HTH_HASH_BYTES);
	if (kind == KIND_DESCRIBED) {
		hth_canon_get_text(&r, d.name, sizeof d.name);
		hth_canon_get_text(&r, d.architecture, sizeof d.architecture);
		hth_canon_get_text(&r, d.type, sizeof d.type);
		d.n_params = hth_canon_get_u64(&r);
		d.weight_bytes = hth_canon_get_u64(&r);
		d.n_ctx = hth_canon_get_u32(&r);
		d.n_ctx_train = hth_canon_get_u32(&r);
		d.n_vocab = hth_canon_get_u32(&r);
		d.n_embd = hth_canon_get_u32(&r);
		d.n_layer = hth_canon_get_u32(&r);
		unsigned flags = hth_canon_get_u8(&r);
		d.has_template = flags & HAS_TEMPLATE;
		d.tools = flags & TOOLS;
		d.thinking = flags & THINKING;
		d.chat_template = (const char *)hth_canon_get_blob(&r, HTH_DESCRIPTION_TEMPLATE_MAX, &d.template_len);
		bool good = d.name[0] != '\0' && d.n_ctx > 0 && d.n_ctx <= 1u << 28 && d.n_vocab > 0 && d.n_vocab <= 1u << 24 &&
		    (flags & ~(unsigned)ALL) == 0;
		if (!good || r.failed || (d.template_len > 0 && (memchr(d.chat_template, '\0', d.template_len) != NULL ||
		                                                hth_utf8_valid_prefix(d.chat_template, d.template_len) != d.template_len)))
			r.failed = true;
	}
	if (!hth_canon_end(&r))
		return HTH_NO_DESCRIPTION;
	*ret_description = d;
	return kind == KIND_DESCRIBE ? HTH_DESCRIBE : HTH_DESCRIBED;
}

void hth_description_facts(const hth_description *d, unsigned char ret_facts[HTH_HASH_BYTES])
{
	hth_buf out = HTH_BUF_INIT(256);
	hth_canon_put_text(&out, d->architecture);
	hth_canon_put_u64(&out, d->n_params);
	hth_canon_put_u64(&out, d->weight_bytes);
	hth_canon_put_u32(&out, d->n_ctx_train);
	hth_canon_put_u32(&out, d->n_vocab);
	hth_canon_put_u32(&out, d->n_embd);
	hth_canon_put_u32(&out, d->n_layer);
	hth_seal_hash("hearth model facts 1", out.data, out.len, ret_facts);
	hth_buf_finish(&out);
}

const unsigned char *hth_voices_believed(const hth_voice *voices, size_t n, const unsigned char *known)
{
	const unsigned char *one[2] = {NULL, NULL}; /* of all, of the trusted */
	bool several[2] = {false, false};
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < 2 && voices[i].has_said; k++) {
			if (k == 1 && !voices[i].trusted)
				continue;
			several[k] |= one[k] != NULL && memcmp(one[k], voices[i].facts, HTH_HASH_BYTES) != 0;
			one[k] = one[k] != NULL ? one[k] : voices[i].facts;
		}
	return known != NULL ? known : !several[0] ? one[0] : !several[1] ? one[1] : NULL;
}
