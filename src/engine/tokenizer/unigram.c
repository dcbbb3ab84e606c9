/* unigram.c - normalises, then finds the best path (Viterbi) word by word. Where no token reaches from one word into
 * the next, the best path of a text is the best paths of its words in a row, so memory stays small however long the
 * text is.
 *
 * Sources: Kudo 2018 (arXiv 1804.10959); SentencePiece's precompiled character map: a 32-bit size, then a darts-clone
 * double array of that many bytes, then replacement strings, each ended by NUL. A unit of the array holds: bits 0-7
 * label (with bit 31 set: a value), bit 8 "a leaf follows", bit 9 "offset is in steps of 256", bits 10-30 offset.
 */
#include "engine/tokenizer/unigram.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "engine/tokenizer/merge.h"
#include "engine/tokenizer/wordpiece.h"

enum {
	MAX_CHARSMAP = 16 << 20,
	MAX_RUN = 1 << 16, /* a run without an independent place is cut there */
};

static hth_status load_charsmap(hth_unigram *u, const hth_gguf *gguf, hth_error *err)
{
	static const char key[] = "tokenizer.ggml.precompiled_charsmap";
	const hth_gguf_kv *kv = hth_gguf_find(gguf, key);
	if (kv == NULL)
		return HTH_OK;
	hth_gguf_type type = hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY ? hth_gguf_array_type(kv) : HTH_GGUF_STRING;
	if (type != HTH_GGUF_U8 && type != HTH_GGUF_I8)
		return hth_fail(err, HTH_BAD_FORMAT, "%s must be an array of bytes", key);
	size_t len = hth_gguf_array_len(kv);
	if (len == 0)
		return HTH_OK;
	if (len < 4 || len > MAX_CHARSMAP)
		return hth_fail(err, HTH_BAD_FORMAT, "%s has %zu bytes, not 4 to %d", key, len, MAX_CHARSMAP);
	size_t size = 0;
	for (size_t i = 0; i < 4; i++)
		size |= (size_t)(uint8_t)hth_gguf_array_int(kv, i) << 8 * i;
	if (size % 4 != 0 || size > len - 4)
		return hth_fail(err, HTH_BAD_FORMAT, "%s says that its table has %zu bytes, but %zu follow", key, size,
		                len - 4);
	u->n_units = size / 4;
	u->replacements_len = len - 4 - size;
	u->units = hth_alloc_array(u->n_units, sizeof *u->units);
	u->replacements = hth_alloc_array(u->replacements_len, 1);
	if (u->units == NULL || u->replacements == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %s", key);
	for (size_t i = 0; i < size; i++)
		u->units[i / 4] |= (uint32_t)(uint8_t)hth_gguf_array_int(kv, 4 + i) << 8 * (i % 4);
	for (size_t i = 0; i < u->replacements_len; i++)
		u->replacements[i] = (char)hth_gguf_array_int(kv, 4 + size + i);
	if (u->replacements_len > 0 && u->replacements[u->replacements_len - 1] != '\0')
		return hth_fail(err, HTH_BAD_FORMAT, "%s: the last replacement has no end", key);
	return HTH_OK;
}

hth_status hth_unigram_create(hth_unigram *u, const hth_vocab *v, const hth_gguf *gguf, hth_error *err)
{
	u->vocab = v;
	if (v->score == NULL)
		return hth_fail(err, HTH_BAD_FORMAT, "tokenizer.ggml.scores is missing; a unigram vocabulary needs it");
	float lowest = 0;
	bool any = false;
	for (size_t i = 0; i < v->n; i++) {
		hth_view b = hth_vocab_bytes(v, (int32_t)i);
		if ((v->attr[i] & ATTR_NORMAL) && (!any || v->score[i] < lowest)) {
			lowest = v->score[i];
			any = true;
		}
		for (size_t k = 1; k < b.len && !(v->attr[i] & ATTR_NO_TEXT); k++)
			if (b.data[k] == ' ' && b.data[k - 1] != ' ')
				u->space_inside = true;
	}
	u->unknown_score = lowest - 10.0f;
	HTH_TRY(load_charsmap(u, gguf, err));
	return hth_vocab_match_tree(v, &u->trie, err);
}

void hth_unigram_finish(hth_unigram *u)
{
	hth_trie_finish(&u->trie);
	free(u->units);
	free(u->replacements);
}

static size_t unit_offset(uint32_t unit)
{
	return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The longest prefix of text that the character map replaces; its length (0: none) and what takes its place. */
static size_t map_prefix(const hth_unigram *u, const char *text, size_t len, const char **ret_replacement)
{
	if (u->n_units == 0)
		return 0;
	size_t longest = 0, node = unit_offset(u->units[0]);
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];
		node ^= c;
		if (c == 0 || node >= u->n_units)
			break;
		uint32_t unit = u->units[node];
		if ((unit & 0x800000FFu) != c)
			break;
		node ^= unit_offset(unit);
		if (node >= u->n_units)
			break;
		if (unit >> 8 & 1) {
			uint32_t value = u->units[node] & 0x7FFFFFFFu;
			if (value < u->replacements_len) {
				longest = i + 1;
				*ret_replacement = u->replacements + value;
			}
		}
	}
	return longest;
}

/* One word at a time: the best cut of `run` so far, by end. */
struct path {
	double score;
	int32_t token;
	uint32_t from;
};

struct viterbi {
	const hth_unigram *u;
	hth_buf run; /* normalised text not yet cut */
	struct path *paths;
	size_t path_cap;
	bool last_unknown; /* the token before was unknown: unknowns in a row are one */
	hth_tokens *tokens;
	hth_error *err;
};

static hth_status reserve_paths(struct viterbi *v, size_t n)
{
	if (n <= v->path_cap)
		return HTH_OK;
	free(v->paths);
	v->paths = hth_alloc_array(n * 2, sizeof *v->paths);
	v->path_cap = v->paths ? n * 2 : 0;
	return v->paths ? HTH_OK : hth_fail(v->err, HTH_NO_MEMORY, "no memory to tokenize %zu bytes", n);
}

static void offer(struct path *at, double score, int32_t token, size_t from)
{
	if (score > at->score)
		*at = (struct path){score, token, (uint32_t)from};
}

static hth_status cut_run(struct viterbi *v)
{
	const hth_unigram *u = v->u;
	const hth_vocab *vocab = u->vocab;
	const char *text = v->run.data;
	size_t len = v->run.len;
	if (len == 0)
		return HTH_OK;
	HTH_TRY(reserve_paths(v, len + 1));
	for (size_t i = 1; i <= len; i++)
		v->paths[i] = (struct path){-1e300, u->unknown, 0};
	v->paths[0].score = 0;
	for (size_t i = 0; i < len;) {
		uint32_t cp, node = 0;
		size_t n = hth_utf8_decode_lossy(text + i, len - i, &cp);
		bool whole = false; /* some token is exactly this character */
		for (size_t j = i;
		     u->trie.nodes && j < len && (node = hth_trie_step(&u->trie, node, (uint8_t)text[j])) != 0; j++) {
			int32_t id = u->trie.nodes[node].value;
			if (id < 0)
				continue;
			whole |= j + 1 - i == n;
			/* User-defined tokens cost nothing, so that they win over any cut of the same text. */
			offer(&v->paths[j + 1],
			      v->paths[i].score + (vocab->attr[id] & ATTR_USER ? 0.0 : (double)vocab->score[id]), id,
			      i);
		}
		if (!whole)
			offer(&v->paths[i + n], v->paths[i].score + (double)u->unknown_score, u->unknown, i);
		i += n;
	}
	/* Turn the chain around in place: paths[k].from becomes where the token that begins at k ends. */
	size_t end = len, next = 0;
	while (end > 0) {
		size_t from = v->paths[end].from;
		v->paths[end].from = (uint32_t)next;
		next = end;
		end = from;
	}
	for (size_t i = next; i > 0; i = v->paths[i].from) {
		bool unknown = v->paths[i].token == u->unknown;
		if (v->paths[i].token >= 0 && !(unknown && v->last_unknown))
			HTH_TRY(hth_tokens_add(v->tokens, v->paths[i].token, v->err));
		v->last_unknown = unknown;
	}
	hth_buf_clear(&v->run);
	return HTH_OK;
}

static hth_status add_normalised(struct viterbi *v, const char *bytes, size_t len)
{
	/* A run may end only before a space that follows something else, or where it is too long. */
	bool boundary =
	    len == 1 && bytes[0] == ' ' && v->run.len > 0 && v->run.data[v->run.len - 1] != ' ' && !v->u->space_inside;
	if (boundary || v->run.len + len > MAX_RUN)
		HTH_TRY(cut_run(v));
	if (!hth_buf_append(&v->run, bytes, len))
		return hth_fail(v->err, HTH_NO_MEMORY, "no memory to tokenize a text");
	return HTH_OK;
}

/* State of white space while a text is normalised. */
struct spaces {
	bool in_word, prefixed;
};

static hth_status add_mapped(struct viterbi *v, struct spaces *s, const char *bytes, size_t len)
{
	const hth_unigram *u = v->u;
	for (size_t i = 0; i < len;) {
		uint32_t cp;
		size_t n = hth_utf8_decode_lossy(bytes + i, len - i, &cp);
		if (bytes[i] == ' ') {
			s->in_word = false;
			if (!u->remove_extra_spaces)
				HTH_TRY(add_normalised(v, " ", 1));
		} else {
			if (!s->in_word && (u->remove_extra_spaces || (u->add_space_prefix && !s->prefixed))) {
				HTH_TRY(add_normalised(v, " ", 1));
				s->prefixed = true;
			}
			s->in_word = true;
			/* A ▁ in the text cannot be told from the space that it stands for; it never counts as white
			 * space. */
			bool block = n == 3 && memcmp(bytes + i, "\xE2\x96\x81", 3) == 0;
			HTH_TRY(add_normalised(v, block ? " " : bytes + i, block ? 1 : n));
		}
		i += n;
	}
	return HTH_OK;
}

hth_status hth_unigram_encode(const hth_unigram *u, const char *text, size_t len, hth_tokens *tokens, hth_error *err)
{
	struct viterbi v = {.u = u, .run = HTH_BUF_INIT(MAX_RUN + 64), .tokens = tokens, .err = err};
	struct spaces s = {false, false};
	hth_status status = HTH_OK;
	for (size_t i = 0; i < len && status == HTH_OK;) {
		const char *replacement = NULL;
		uint32_t cp;
		size_t n = map_prefix(u, text + i, len - i, &replacement);
		if (n > 0) {
			status = add_mapped(&v, &s, replacement, strlen(replacement));
		} else {
			n = hth_utf8_decode(text + i, len - i, &cp);
			status = n > 0 ? add_mapped(&v, &s, text + i, n) : add_mapped(&v, &s, "\xEF\xBF\xBD", 3);
			n = n > 0 ? n : 1;
		}
		i += n;
	}
	if (status == HTH_OK)
		status = cut_run(&v);
	hth_buf_finish(&v.run);
	free(v.paths);
	return status;
}
