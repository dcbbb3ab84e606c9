/* special.c - see special.h. Names of end tokens are those that models are known to end a turn or an answer with; files
 * that mark such a token as ordinary text are mistaken, so it becomes a control token here. */
#include "engine/tokenizer/special.h"

#include "base/mem.h"

#include <ctype.h>

static const struct id_key {
	const char *key;
	size_t offset;
} id_keys[] = {
    {"tokenizer.ggml.bos_token_id", offsetof(hth_special_ids, bos)},
    {"tokenizer.ggml.eos_token_id", offsetof(hth_special_ids, eos)},
    {"tokenizer.ggml.eot_token_id", offsetof(hth_special_ids, eot)},
    {"tokenizer.ggml.unknown_token_id", offsetof(hth_special_ids, unk)},
    {"tokenizer.ggml.padding_token_id", offsetof(hth_special_ids, pad)},
    {"tokenizer.ggml.seperator_token_id", offsetof(hth_special_ids, sep)}, /* as the format spells it */
    {"tokenizer.ggml.separator_token_id", offsetof(hth_special_ids, sep)},
    {"tokenizer.ggml.cls_token_id", offsetof(hth_special_ids, cls)},
    {"tokenizer.ggml.mask_token_id", offsetof(hth_special_ids, mask)},
};

/* Other tokens that end a generation, by their keys. */
static const char *const end_keys[] = {"tokenizer.ggml.eom_token_id", "tokenizer.ggml.fim_pad_token_id",
                                       "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"};

/* End of turn, the surest first. */
static const char *const eot_pieces[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    ("<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>") /* DeepSeek */,
    "<end_of_utterance>",
};
static const char *const end_pieces[] = {
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "</s>",
    "<|eom_id|>",
    "[EOS]",
    "<eos>",
    "<|tool_response>",
    "[e~[",
    /* fill-in-the-middle: padding, and the borders of the next file */
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
};

static hth_status read_id(const hth_vocab *v, const hth_gguf *gguf, const char *key, int32_t *ret_id, hth_error *err)
{
	uint32_t id;
	const hth_gguf_kv *kv = hth_gguf_find(gguf, key);
	/* Some converters write -1 for "none". */
	if (kv == NULL || hth_gguf_get_u32(gguf, key, &id, NULL) != HTH_OK) {
		if (kv != NULL && (hth_gguf_kv_type(kv) == HTH_GGUF_STRING || hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY ||
		                   hth_gguf_kv_type(kv) == HTH_GGUF_F32 || hth_gguf_kv_type(kv) == HTH_GGUF_F64))
			return hth_fail(err, HTH_BAD_FORMAT, "%s must be an integer", key);
		if (kv != NULL)
			*ret_id = -1;
		return HTH_OK;
	}
	if (id == UINT32_MAX)
		*ret_id = -1;
	else if (id >= v->n)
		return hth_fail(err, HTH_BAD_FORMAT, "%s is %u, but there are only %zu tokens", key, id, v->n);
	else
		*ret_id = (int32_t)id;
	return HTH_OK;
}

hth_status hth_special_read_ids(hth_vocab *v, const hth_gguf *gguf, hth_special_ids *ids, hth_error *err)
{
	for (size_t i = 0; i < HTH_COUNT(id_keys); i++) {
		int32_t *id = (int32_t *)((char *)ids + id_keys[i].offset);
		if (*id >= 0 && (size_t)*id >= v->n)
			*id = -1;
		HTH_TRY(read_id(v, gguf, id_keys[i].key, id, err));
	}
	for (size_t i = 0; i < HTH_COUNT(end_keys); i++) {
		int32_t id = -1;
		HTH_TRY(read_id(v, gguf, end_keys[i], &id, err));
		if (id >= 0)
			v->attr[id] |= ATTR_END;
	}
	return HTH_OK;
}

static bool is_one_of(hth_view piece, const char *const *list, size_t n, size_t *ret_i)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(list[i]) == piece.len && memcmp(list[i], piece.data, piece.len) == 0) {
			*ret_i = i;
			return true;
		}
	return false;
}

static void make_control(hth_vocab *v, int32_t id)
{
	v->attr[id] = (uint16_t)((v->attr[id] & ~(ATTR_NORMAL | ATTR_USER | ATTR_UNUSED)) | ATTR_CONTROL);
}

void hth_special_detect(hth_vocab *v, hth_special_ids *ids)
{
	size_t best = HTH_COUNT(eot_pieces);
	int32_t eot = -1, end = -1, s = -1;
	bool is_return = false, is_call = false, is_flush = false, is_tool_response = false;
	for (size_t i = 0; i < v->n; i++) {
		hth_view p = v->piece[i];
		size_t k;
		if (p.len < 4 || p.len > 40 || (p.data[0] != '<' && p.data[0] != '[' && p.data[0] != '_'))
			continue;
		if (is_one_of(p, eot_pieces, HTH_COUNT(eot_pieces), &k)) {
			if (k < best) {
				best = k;
				eot = (int32_t)i;
			}
			end = strcmp(eot_pieces[k], "<|end|>") == 0 ? (int32_t)i : end;
		} else if (is_one_of(p, end_pieces, HTH_COUNT(end_pieces), &k)) {
			/* Padding is no end where it fills the batches of an encoder; there nothing is generated. */
			is_return |= k == 0;
			is_call |= k == 1 || k == 2;
			is_flush |= k == 3;
			s = k == 4 ? (int32_t)i : s;
			is_tool_response |= strcmp(end_pieces[k], "<|tool_response>") == 0;
		} else {
			continue;
		}
		v->attr[i] |= ATTR_END;
		make_control(v, (int32_t)i);
	}
	if (ids->eot < 0)
		ids->eot = eot;
	if (ids->eos >= 0)
		v->attr[ids->eos] |= ATTR_END;
	if (ids->eot >= 0)
		v->attr[ids->eot] |= ATTR_END;
	/* Harmony (gpt-oss) and Solar end a message with <|end|> and an answer with <|return|> or <|call|>. */
	if (end >= 0 && is_call && (is_return || is_flush) && end != ids->eos) {
		v->attr[end] &= (uint16_t)~ATTR_END;
		if (ids->eot == end)
			ids->eot = -1;
	}
	/* Gemma 4's </s> is HTML, not an end. */
	if (s >= 0 && is_tool_response && s != ids->eos)
		v->attr[s] = ATTR_NORMAL;
}

static bool name_has(const char *name, const char *part)
{
	return strstr(name, part) != NULL;
}

hth_status hth_special_strip_rules(hth_vocab *v, const hth_gguf *gguf, const char *pre, hth_error *err)
{
	char name[64] = "", arch[64] = "";
	hth_view view;
	if (hth_gguf_get_string(gguf, "general.name", &view, NULL) == HTH_OK)
		for (size_t i = 0; i < view.len && i + 1 < sizeof name; i++)
			name[i] = (char)tolower((unsigned char)view.data[i]);
	if (hth_gguf_get_string(gguf, "general.architecture", &view, NULL) == HTH_OK)
		memcpy(arch, view.data, HTH_MIN(view.len, sizeof arch - 1));
	(void)err;
	int32_t mask = -1;
	if (name_has(pre, "jina-v2-de") || name_has(pre, "jina-v2-es") || name_has(pre, "jina-v2-code") ||
	    name_has(arch, "nomic-bert-moe") || name_has(arch, "jina-bert-v3"))
		mask = hth_vocab_find_piece(v, "<mask>");
	else if (name_has(name, "modern-bert"))
		mask = hth_vocab_find_piece(v, "[MASK]");
	if (mask >= 0)
		v->attr[mask] |= ATTR_LSTRIP;
	/* Only the 3, not "phi-3.5", says so in its name in the files there are; both are made the same way. */
	if (name_has(name, "phi-3") || name_has(name, "phi3"))
		for (size_t i = 0; i < v->n; i++) {
			hth_view p = v->piece[i];
			static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
			size_t k;
			bool special = v->attr[i] & (ATTR_CONTROL | ATTR_UNKNOWN | ATTR_USER);
			if (special && !is_one_of(p, keep, HTH_COUNT(keep), &k))
				v->attr[i] |= ATTR_RSTRIP;
		}
	return HTH_OK;
}

static bool touches_plain(hth_special_scan *s, size_t begin, size_t end)
{
	while (s->next_plain < s->n_plain && s->plain[s->next_plain].end <= begin)
		s->next_plain++;
	for (size_t i = s->next_plain; i < s->n_plain && s->plain[i].begin < end; i++)
		if (s->plain[i].begin < s->plain[i].end && s->plain[i].end > begin)
			return true;
	return false;
}

static bool allowed(hth_special_scan *s, int32_t id, size_t begin, size_t end)
{
	uint16_t attr = s->vocab->attr[id];
	if (!(attr & ATTR_USER) && !s->parse)
		return false;
	return !(attr & (ATTR_CONTROL | ATTR_UNKNOWN | ATTR_MARKER)) || !touches_plain(s, begin, end);
}

bool hth_special_next(hth_special_scan *s, size_t from, size_t *ret_begin, size_t *ret_end, int32_t *ret_id)
{
	const hth_trie *trie = &s->vocab->special;
	if (trie->nodes == NULL)
		return false;
	for (size_t i = from; i < s->len; i++) {
		uint8_t first = (uint8_t)s->text[i];
		if (!(s->vocab->special_first[first >> 6] >> (first & 63) & 1))
			continue;
		uint32_t node = 0;
		*ret_id = -1;
		for (size_t j = i; j < s->len && (node = hth_trie_step(trie, node, (uint8_t)s->text[j])) != 0; j++) {
			int32_t id = trie->nodes[node].value;
			if (id >= 0 && allowed(s, id, i, j + 1)) {
				*ret_id = id;
				*ret_end = j + 1;
			}
		}
		if (*ret_id >= 0) {
			*ret_begin = i;
			return true;
		}
	}
	return false;
}
