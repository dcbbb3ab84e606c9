/* vocab.c - loads and indexes a vocabulary. Everything that comes from the file is checked here once: lengths, types,
 * finite scores, ids. The hash is seeded per vocabulary so that no file can be made whose lookups are slow. */
#include "engine/tokenizer/vocab.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

static const char lower_block[] = "\xE2\x96\x81"; /* ▁ U+2581, how SentencePiece writes a space */

static uint64_t hash_bytes(const char *bytes, size_t len, uint64_t seed)
{
	uint64_t h = seed ^ len * 0x9E3779B97F4A7C15u;
	while (len > 0) {
		uint64_t v = 0;
		size_t n = HTH_MIN(len, (size_t)8);
		memcpy(&v, bytes, n);
		h = (h ^ v) * 0xFF51AFD7ED558CCDu;
		h ^= h >> 32;
		bytes += n;
		len -= n;
	}
	h *= 0xC4CEB9FE1A85EC53u;
	return h ^ h >> 29;
}

/* GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the 68 others for U+0100 upward in their order. */
static bool plain_in_alphabet(unsigned byte)
{
	return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

static int alphabet_byte(uint32_t cp)
{
	if (cp < 0x100)
		return plain_in_alphabet(cp) ? (int)cp : -1;
	if (cp < 0x100 + 33)
		return (int)(cp - 0x100); /* 00 to 20 */
	if (cp < 0x100 + 33 + 34)
		return (int)(cp - 0x100 - 33 + 0x7F); /* 7F to A0 */
	return cp == 0x100 + 67 ? 0xAD : -1;
}

bool hth_vocab_decode_alphabet(hth_view piece, hth_buf *out)
{
	for (size_t i = 0; i < piece.len;) {
		uint32_t cp;
		size_t n = hth_utf8_decode(piece.data + i, piece.len - i, &cp);
		int byte = n ? alphabet_byte(cp) : -1;
		if (byte < 0 || !hth_buf_append_char(out, (char)byte))
			return false;
		i += n;
	}
	return true;
}

static bool append_unblocked(hth_buf *out, hth_view piece)
{
	for (size_t i = 0; i < piece.len;) {
		bool block = piece.len - i >= 3 && memcmp(piece.data + i, lower_block, 3) == 0;
		if (!hth_buf_append_char(out, block ? ' ' : piece.data[i]))
			return false;
		i += block ? 3 : 1;
	}
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	                              : -1;
}

/* "<0x0A>" is 10; -1 for anything else. */
static int byte_piece(hth_view piece)
{
	if (piece.len != 6 || memcmp(piece.data, "<0x", 3) != 0 || piece.data[5] != '>')
		return -1;
	int hi = hex_digit(piece.data[3]), lo = hex_digit(piece.data[4]);
	return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

bool hth_vocab_is_marker(hth_view p)
{
	while (p.len >= 3 && memcmp(p.data, lower_block, 3) == 0)
		p = (hth_view){p.data + 3, p.len - 3};
	if (p.data == NULL || p.len < 3)
		return false;
	char first = p.data[0], last = p.data[p.len - 1];
	return (first == '<' && last == '>') || (first == '[' && last == ']') ||
	       memmem(p.data, p.len, "<|", 2) != NULL || memmem(p.data, p.len, "|>", 2) != NULL;
}

static hth_status append_bytes(hth_vocab *v, size_t id, hth_error *err)
{
	hth_view piece = v->piece[id];
	size_t before = v->bytes.len;
	bool ok = true;
	int byte = v->attr[id] & ATTR_BYTE ? byte_piece(piece) : -1;
	if ((v->attr[id] & ATTR_BYTE) && byte < 0)
		v->attr[id] = ATTR_NORMAL; /* some files call GPT-2's one-character pieces bytes */
	if (byte >= 0) {
		ok = hth_buf_append_char(&v->bytes, (char)byte);
	} else if (v->attr[id] & (ATTR_CONTROL | ATTR_UNKNOWN)) {
		ok = hth_buf_append(&v->bytes, piece.data, piece.len);
	} else if (v->kind != VOCAB_BYTES) {
		ok = append_unblocked(&v->bytes, piece);
	} else if ((v->attr[id] & ATTR_USER) || !hth_vocab_decode_alphabet(piece, &v->bytes)) {
		/* Text outside the alphabet is a token added by hand: its piece is its text. */
		v->bytes.len = before;
		ok = !v->bytes.failed && hth_buf_append(&v->bytes, piece.data, piece.len);
		if (!(v->attr[id] & ATTR_USER))
			v->attr[id] |= ATTR_NO_TEXT;
	}
	v->at[id + 1] = (uint32_t)v->bytes.len;
	return ok ? HTH_OK
	          : hth_fail(err, HTH_TOO_LARGE, "the vocabulary's tokens are over %zu bytes together", v->bytes.max);
}

static hth_status load_types(hth_vocab *v, const hth_gguf *gguf, hth_error *err)
{
	static const uint16_t attr_of_type[] = {ATTR_NORMAL, ATTR_NORMAL, ATTR_UNKNOWN, ATTR_CONTROL,
	                                        ATTR_USER,   ATTR_UNUSED, ATTR_BYTE};
	const hth_gguf_kv *kv = hth_gguf_find(gguf, "tokenizer.ggml.token_type");
	if (kv == NULL) {
		for (size_t i = 0; i < v->n; i++)
			v->attr[i] = ATTR_NORMAL;
		return HTH_OK;
	}
	hth_gguf_type type = hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY ? hth_gguf_array_type(kv) : HTH_GGUF_STRING;
	if (type == HTH_GGUF_STRING || type == HTH_GGUF_ARRAY || type == HTH_GGUF_F32 || type == HTH_GGUF_F64)
		return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.token_type must be an array of integers");
	if (hth_gguf_array_len(kv) < v->n)
		return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.token_type has %zu entries for %zu tokens",
		                hth_gguf_array_len(kv), v->n);
	for (size_t i = 0; i < v->n; i++) {
		int64_t t = hth_gguf_array_int(kv, i);
		if (t < 0 || t >= (int64_t)HTH_COUNT(attr_of_type))
			return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.token_type[%zu] is %lld, not 0 to 6", i,
			                (long long)t);
		v->attr[i] = attr_of_type[t];
	}
	return HTH_OK;
}

static hth_status load_scores(hth_vocab *v, const hth_gguf *gguf, hth_error *err)
{
	const hth_gguf_kv *kv = hth_gguf_find(gguf, "tokenizer.ggml.scores");
	if (kv == NULL)
		return HTH_OK;
	hth_gguf_type type = hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY ? hth_gguf_array_type(kv) : HTH_GGUF_STRING;
	if (type != HTH_GGUF_F32 && type != HTH_GGUF_I32)
		return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.scores must be an array of float32");
	if (hth_gguf_array_len(kv) < v->n)
		return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.scores has %zu entries for %zu tokens",
		                hth_gguf_array_len(kv), v->n);
	v->score = hth_alloc_array(v->n, sizeof *v->score);
	if (v->score == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu token scores", v->n);
	for (size_t i = 0; i < v->n; i++) {
		float s = type == HTH_GGUF_F32 ? hth_gguf_array_f32(kv, i) : (float)hth_gguf_array_int(kv, i);
		if (!(s >= -3.4e38f && s <= 3.4e38f))
			return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.scores[%zu] is not a finite number", i);
		v->score[i] = s + 0.0f; /* no -0 */
	}
	return HTH_OK;
}

hth_status hth_vocab_load(hth_vocab *v, const hth_gguf *gguf, hth_vocab_kind kind, hth_error *err)
{
	const hth_gguf_kv *tokens;
	HTH_TRY(hth_gguf_get_array(gguf, "tokenizer.ggml.tokens", HTH_GGUF_STRING, &tokens, err));
	v->kind = kind;
	v->n = v->n_all = hth_gguf_array_len(tokens);
	if (v->n == 0)
		return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.tokens is empty");
	if (v->n > VOCAB_MAX_TOKENS)
		return hth_fail(err, HTH_TOO_LARGE, "tokenizer.ggml.tokens has %zu entries, at most %d are allowed",
		                v->n, VOCAB_MAX_TOKENS);
	v->seed = hth_clock_ns() * 0x9E3779B97F4A7C15u ^ (uintptr_t)v;
	v->at_cap = v->n + 1;
	v->at = hth_alloc_array(v->at_cap, sizeof *v->at);
	v->piece = hth_alloc_array(v->n, sizeof *v->piece);
	v->attr = hth_alloc_array(v->n, sizeof *v->attr);
	if (v->at == NULL || v->piece == NULL || v->attr == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a vocabulary of %zu tokens", v->n);
	HTH_TRY(load_types(v, gguf, err));
	HTH_TRY(load_scores(v, gguf, err));
	v->bytes = HTH_BUF_INIT((size_t)256 << 20);
	if (!hth_buf_append_char(&v->bytes, '\0')) /* so that data is never NULL */
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a vocabulary of %zu tokens", v->n);
	v->at[0] = 1;
	for (size_t i = 0; i < v->n; i++) {
		v->piece[i] = hth_gguf_array_string(tokens, i);
		if (v->piece[i].len > VOCAB_MAX_PIECE)
			return hth_fail(err, HTH_TOO_LARGE,
			                "tokenizer.ggml.tokens[%zu] has %zu bytes, at most %d are allowed", i,
			                v->piece[i].len, VOCAB_MAX_PIECE);
	}
	return HTH_OK;
}

/* Where the bytes are or would go. */
static size_t find_slot(const hth_vocab *v, const char *bytes, size_t len, uint32_t *ret_tag)
{
	uint64_t h = hash_bytes(bytes, len, v->seed);
	*ret_tag = (uint32_t)(h >> 32);
	size_t i = h & (v->n_slots - 1);
	while (v->slots[i] != 0) {
		if (v->slot_tags[i] == *ret_tag) {
			hth_view b = hth_vocab_bytes(v, (int32_t)(v->slots[i] - 1));
			if (b.len == len && memcmp(b.data, bytes, len) == 0)
				return i;
		}
		i = (i + 1) & (v->n_slots - 1);
	}
	return i;
}

int32_t hth_vocab_find(const hth_vocab *v, const char *bytes, size_t len)
{
	uint32_t tag;
	if (len == 0 || v->n_slots == 0)
		return -1;
	return (int32_t)v->slots[find_slot(v, bytes, len, &tag)] - 1;
}

static bool grow_slots(hth_vocab *v)
{
	size_t n = v->n_slots ? v->n_slots * 2 : 1024;
	while (n < v->n_all * 2)
		n *= 2;
	uint32_t *slots = hth_alloc_array(n, sizeof *slots), *tags = hth_alloc_array(n, sizeof *tags);
	if (slots == NULL || tags == NULL) {
		free(slots);
		free(tags);
		return false;
	}
	uint32_t *old = v->slots;
	size_t n_old = v->n_slots;
	free(v->slot_tags);
	v->slots = slots;
	v->slot_tags = tags;
	v->n_slots = n;
	for (size_t i = 0; i < n_old; i++)
		if (old[i] != 0) {
			hth_view b = hth_vocab_bytes(v, (int32_t)(old[i] - 1));
			uint32_t tag;
			size_t slot = find_slot(v, b.data, b.len, &tag);
			v->slots[slot] = old[i];
			v->slot_tags[slot] = tag;
		}
	free(old);
	return true;
}

/* Puts id under its bytes unless another token has them already. */
static bool insert(hth_vocab *v, int32_t id)
{
	if ((v->n_used + 1) * 2 > v->n_slots && !grow_slots(v))
		return false;
	hth_view b = hth_vocab_bytes(v, id);
	uint32_t tag;
	size_t slot = b.len ? find_slot(v, b.data, b.len, &tag) : SIZE_MAX;
	if (slot != SIZE_MAX && v->slots[slot] == 0) {
		v->slots[slot] = (uint32_t)id + 1;
		v->slot_tags[slot] = tag;
		v->n_used++;
	}
	return true;
}

int32_t hth_vocab_intern(hth_vocab *v, const char *bytes, size_t len)
{
	int32_t id = hth_vocab_find(v, bytes, len);
	if (id >= 0 || len == 0)
		return id;
	if (v->n_all + 2 > v->at_cap) {
		size_t cap = v->at_cap * 2;
		uint32_t *at = realloc(v->at, cap * sizeof *at);
		if (at == NULL)
			return -1;
		v->at = at;
		v->at_cap = cap;
	}
	if (v->n_all >= VOCAB_MAX_TOKENS + (size_t)VOCAB_MAX_MERGES || !hth_buf_append(&v->bytes, bytes, len))
		return -1;
	id = (int32_t)v->n_all++;
	v->at[v->n_all] = (uint32_t)v->bytes.len;
	return insert(v, id) ? id : -1;
}

void hth_vocab_note_match(hth_vocab *v, hth_view b)
{
	v->max_bytes = HTH_MAX(v->max_bytes, b.len);
	for (size_t i = 1; i < b.len; i++)
		v->adjacent[(uint8_t)b.data[i - 1]][(uint8_t)b.data[i]] = true;
}

static hth_status index_special(hth_vocab *v, hth_error *err)
{
	size_t n = 0;
	for (size_t i = 0; i < v->n; i++)
		n += (v->attr[i] & (ATTR_CONTROL | ATTR_UNKNOWN | ATTR_USER)) != 0;
	HTH_AUTO_FREE hth_trie_entry *entries = hth_alloc_array(n, sizeof *entries);
	if (entries == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu special tokens", n);
	n = 0;
	for (size_t i = 0; i < v->n; i++) {
		hth_view b = hth_vocab_bytes(v, (int32_t)i);
		if (!(v->attr[i] & (ATTR_CONTROL | ATTR_UNKNOWN | ATTR_USER)) || b.len == 0 ||
		    b.len > VOCAB_MAX_SPECIAL)
			continue;
		entries[n++] = (hth_trie_entry){b, (int32_t)i};
		v->special_first[(uint8_t)b.data[0] >> 6] |= (uint64_t)1 << ((uint8_t)b.data[0] & 63);
	}
	return hth_trie_build(&v->special, entries, n, err);
}

/* Files whose converter forgot the types still spell their byte tokens "<0x0A>". */
static void find_byte_tokens(hth_vocab *v)
{
	if (v->kind != VOCAB_SPM && v->kind != VOCAB_TEXT)
		return;
	for (size_t i = 0; i < v->n; i++)
		if (v->attr[i] & ATTR_BYTE)
			return;
	for (size_t i = 0; i < v->n; i++)
		if (v->attr[i] == ATTR_NORMAL && byte_piece(v->piece[i]) >= 0)
			v->attr[i] = ATTR_BYTE;
}

hth_status hth_vocab_index(hth_vocab *v, hth_error *err)
{
	find_byte_tokens(v);
	for (size_t i = 0; i < v->n; i++) {
		HTH_TRY(append_bytes(v, i, err));
		size_t len = v->at[i + 1] - v->at[i];
		/* A control token of one character is also that character's only token. */
		if ((v->attr[i] & (ATTR_CONTROL | ATTR_UNKNOWN)) && !(v->kind == VOCAB_BYTES && len == 1))
			v->attr[i] |= ATTR_NO_TEXT;
		if ((v->attr[i] & ATTR_USER) && hth_vocab_is_marker(v->piece[i]))
			v->attr[i] |= ATTR_MARKER | ATTR_NO_TEXT;
		/* Where ▁ is the space, a piece with a plain space is never met by a text. */
		if (v->kind != VOCAB_BYTES && !(v->attr[i] & (ATTR_BYTE | ATTR_USER)) && v->piece[i].len > 0 &&
		    memchr(v->piece[i].data, ' ', v->piece[i].len) != NULL)
			v->attr[i] |= ATTR_NO_TEXT;
	}
	memset(v->byte_id, -1, sizeof v->byte_id);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < v->n; i++) {
			hth_view b = hth_vocab_bytes(v, (int32_t)i);
			if (v->attr[i] & ATTR_BYTE) {
				if (b.len == 1 && v->byte_id[(uint8_t)b.data[0]] < 0)
					v->byte_id[(uint8_t)b.data[0]] = (int32_t)i;
			} else if (!!(v->attr[i] & ATTR_NO_TEXT) == pass) {
				if (!insert(v, (int32_t)i))
					return hth_fail(err, HTH_NO_MEMORY, "no memory for the index of %zu tokens",
					                v->n);
				if (pass == 0)
					hth_vocab_note_match(v, b);
			}
		}
	if (v->kind == VOCAB_BYTES)
		for (int b = 0; b < 256; b++) {
			char c = (char)b;
			int32_t id = hth_vocab_find(v, &c, 1);
			v->byte_id[b] = hth_vocab_may_match(v, id) ? id : -1;
		}
	return index_special(v, err);
}

int32_t hth_vocab_find_piece(const hth_vocab *v, const char *piece)
{
	size_t len = strlen(piece);
	for (size_t i = 0; i < v->n; i++)
		if (v->piece[i].len == len && memcmp(v->piece[i].data, piece, len) == 0)
			return (int32_t)i;
	return -1;
}

void hth_vocab_finish(hth_vocab *v)
{
	free(v->piece);
	free(v->attr);
	free(v->score);
	free(v->at);
	free(v->slots);
	free(v->slot_tags);
	hth_buf_finish(&v->bytes);
	hth_trie_finish(&v->special);
}
