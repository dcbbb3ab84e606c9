/* tokenizer.c - puts a tokenizer together from a file's metadata, and walks a text: special tokens are read first
 * (never in the words of a user), what lies between them goes to the vocabulary's own algorithm. */
#include "engine/tokenizer/tokenizer.h"

#include "base/mem.h"
#include "engine/tokenizer/merge.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/special.h"
#include "engine/tokenizer/unigram.h"
#include "engine/tokenizer/vocab.h"
#include "engine/tokenizer/wordpiece.h"

struct hth_tokenizer {
	hth_vocab vocab;
	char model[16], pre_name[64];
	hth_special_ids special;
	bool add_sep, add_space_prefix;
	unsigned pre_flags;
	hth_pretokenizer *pre; /* BPE only */
	hth_merges merges;     /* BPE only */
	hth_wordpiece wordpiece;
	hth_unigram unigram;
};

static const struct kind {
	const char *model;
	hth_vocab_kind kind;
} kinds[] = {
    {"llama", VOCAB_SPM},      {"gpt2", VOCAB_BYTES}, {"gemma4", VOCAB_TEXT},
    {"bert", VOCAB_WORDPIECE}, {"t5", VOCAB_UNIGRAM},
};

/* *ret_value stays as it is when the key is absent. */
static hth_status read_bool(const hth_gguf *gguf, const char *key, bool *ret_value, hth_error *err)
{
	hth_error ignored = HTH_ERROR_INIT;
	bool value;
	hth_status status = hth_gguf_get_bool(gguf, key, &value, &ignored);
	if (status == HTH_OK)
		*ret_value = value;
	else if (status != HTH_NOT_FOUND)
		return hth_fail(err, status, "%s", ignored.message);
	return HTH_OK;
}

static hth_status read_name(const hth_gguf *gguf, const char *key, char *out, size_t cap, hth_error *err)
{
	hth_error ignored = HTH_ERROR_INIT;
	hth_view view;
	hth_status status = hth_gguf_get_string(gguf, key, &view, &ignored);
	out[0] = '\0';
	if (status == HTH_NOT_FOUND)
		return HTH_OK;
	if (status != HTH_OK)
		return hth_fail(err, status, "%s", ignored.message);
	if (view.len >= cap || memchr(view.data, '\0', view.len) != NULL)
		return hth_fail(err, HTH_UNSUPPORTED, "%s is \"%.*s\", which this version does not know", key,
		                (int)HTH_MIN(view.len, (size_t)80), view.data);
	memcpy(out, view.data, view.len);
	out[view.len] = '\0';
	return HTH_OK;
}

static hth_status find_kind(hth_tokenizer *t, const hth_gguf *gguf, hth_vocab_kind *ret_kind, hth_error *err)
{
	HTH_TRY(read_name(gguf, "tokenizer.ggml.model", t->model, sizeof t->model, err));
	HTH_TRY(read_name(gguf, "tokenizer.ggml.pre", t->pre_name, sizeof t->pre_name, err));
	if (t->model[0] == '\0')
		return hth_fail(err, HTH_NOT_FOUND, "tokenizer.ggml.model is missing: the file has no vocabulary");
	for (size_t i = 0; i < HTH_COUNT(kinds); i++)
		if (strcmp(kinds[i].model, t->model) == 0) {
			*ret_kind = kinds[i].kind;
			return HTH_OK;
		}
	return hth_fail(err, HTH_UNSUPPORTED,
	                "tokenizer.ggml.model is \"%s\"; this version knows llama, gpt2, gemma4, bert and t5",
	                t->model);
}

/* BPE's words and merges. Sets *kind to VOCAB_TEXT where the pre-tokenizer works on plain text. */
static hth_status open_pretokenizer(hth_tokenizer *t, hth_vocab_kind *kind, hth_error *err)
{
	const char *name = *kind == VOCAB_TEXT ? "gemma4" : t->pre_name[0] ? t->pre_name : "default";
	HTH_TRY(hth_pretokenizer_create(&t->pre, name, strlen(name), err));
	t->pre_flags = hth_pretokenizer_flags(t->pre);
	if (t->pre_flags & PRE_TEXT)
		*kind = VOCAB_TEXT;
	return HTH_OK;
}

static hth_status set_defaults(hth_tokenizer *t, const hth_gguf *gguf, hth_error *err)
{
	hth_special_ids *s = &t->special;
	hth_vocab_kind kind = t->vocab.kind;
	*s = (hth_special_ids){-1, -1, -1, -1, -1, -1, -1, -1, -1, false, false};
	if (kind == VOCAB_SPM) {
		s->bos = 1;
		s->eos = 2;
		s->unk = 0;
		s->add_bos = true;
		t->add_space_prefix = true;
	} else if (kind == VOCAB_WORDPIECE) {
		s->bos = s->cls = 101;
		s->unk = 100;
		s->sep = 102;
		s->pad = 0;
		s->mask = 103;
		s->add_bos = true;
		t->add_sep = true;
	} else if (kind == VOCAB_UNIGRAM) {
		s->eos = 1;
		s->unk = 2;
		s->pad = 0;
		s->add_eos = true;
	} else {
		s->add_bos = t->pre_flags & PRE_ADD_BOS;
	}
	HTH_TRY(hth_special_read_ids(&t->vocab, gguf, s, err));
	HTH_TRY(read_bool(gguf, "tokenizer.ggml.add_bos_token", &s->add_bos, err));
	HTH_TRY(read_bool(gguf, "tokenizer.ggml.add_eos_token", &s->add_eos, err));
	HTH_TRY(read_bool(gguf, "tokenizer.ggml.add_sep_token", &t->add_sep, err));
	HTH_TRY(read_bool(gguf, "tokenizer.ggml.add_space_prefix", &t->add_space_prefix, err));
	if (t->pre_flags & PRE_FORCE_BOS)
		s->add_bos = true;
	if (kind == VOCAB_BYTES || kind == VOCAB_TEXT)
		t->add_space_prefix = false; /* BPE never adds one, whatever files say */
	if (kind == VOCAB_WORDPIECE) {
		s->add_bos = true; /* BERT's [CLS] text [SEP] is not optional */
		if (s->bos < 0)
			s->bos = s->cls;
		if (s->cls < 0)
			s->cls = s->bos;
	}
	s->add_bos = s->add_bos && s->bos >= 0;
	s->add_eos = s->add_eos && s->eos >= 0;
	t->add_sep = t->add_sep && s->sep >= 0 && kind == VOCAB_WORDPIECE;
	return HTH_OK;
}

static hth_status open_algorithm(hth_tokenizer *t, const hth_gguf *gguf, hth_error *err)
{
	hth_vocab *v = &t->vocab;
	switch (v->kind) {
	case VOCAB_BYTES:
	case VOCAB_TEXT:
		return hth_merges_load(&t->merges, v, gguf, err);
	case VOCAB_WORDPIECE: {
		HTH_TRY(hth_wordpiece_create(&t->wordpiece, v, err));
		t->wordpiece.unknown = t->special.unk;
		t->wordpiece.lower = true;
		HTH_TRY(read_bool(gguf, "tokenizer.ggml.normalizer.lowercase", &t->wordpiece.lower, err));
		t->wordpiece.strip_accents = t->wordpiece.lower;
		return read_bool(gguf, "tokenizer.ggml.normalizer.strip_accents", &t->wordpiece.strip_accents, err);
	}
	case VOCAB_UNIGRAM:
		HTH_TRY(hth_unigram_create(&t->unigram, v, gguf, err));
		t->unigram.unknown = t->special.unk;
		t->unigram.add_space_prefix = t->add_space_prefix;
		return read_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", &t->unigram.remove_extra_spaces, err);
	case VOCAB_SPM:
		if (v->score == NULL)
			return hth_fail(err, HTH_BAD_FORMAT,
			                "tokenizer.ggml.scores is missing; a SentencePiece vocabulary needs it");
		break;
	}
	return HTH_OK;
}

static int32_t find_newline(const hth_tokenizer *t)
{
	hth_tokens tokens = HTH_TOKENS_INIT(8);
	int32_t id = t->special.pad;
	if (t->vocab.kind == VOCAB_SPM && t->vocab.byte_id['\n'] >= 0)
		id = t->vocab.byte_id['\n'];
	else if (t->vocab.kind != VOCAB_WORDPIECE &&
	         hth_tokenizer_encode(t, "\n", 1, 0, NULL, 0, &tokens, NULL) == HTH_OK && tokens.len > 0)
		id = tokens.ids[tokens.len - 1];
	hth_tokens_finish(&tokens);
	return id;
}

static hth_status open_tokenizer(hth_tokenizer *t, const hth_gguf *gguf, hth_error *err)
{
	hth_vocab_kind kind = VOCAB_SPM;
	HTH_TRY(find_kind(t, gguf, &kind, err));
	if (kind == VOCAB_BYTES || kind == VOCAB_TEXT)
		HTH_TRY(open_pretokenizer(t, &kind, err));
	HTH_TRY(hth_vocab_load(&t->vocab, gguf, kind, err));
	HTH_TRY(set_defaults(t, gguf, err));
	hth_special_detect(&t->vocab, &t->special);
	HTH_TRY(hth_special_strip_rules(&t->vocab, gguf, t->pre_name, err));
	HTH_TRY(hth_vocab_index(&t->vocab, err));
	HTH_TRY(open_algorithm(t, gguf, err));
	t->special.newline = find_newline(t);
	return HTH_OK;
}

hth_status hth_tokenizer_create(hth_tokenizer **ret_tokenizer, const hth_gguf *gguf, hth_error *err)
{
	hth_tokenizer *t = calloc(1, sizeof *t);
	if (t == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a tokenizer");
	hth_status status = open_tokenizer(t, gguf, err);
	if (status != HTH_OK)
		hth_tokenizer_destroy(t);
	else
		*ret_tokenizer = t;
	return status;
}

void hth_tokenizer_destroy(hth_tokenizer *t)
{
	if (t == NULL)
		return;
	hth_vocab_finish(&t->vocab);
	hth_merges_finish(&t->merges);
	hth_pretokenizer_destroy(t->pre);
	hth_wordpiece_finish(&t->wordpiece);
	hth_unigram_finish(&t->unigram);
	free(t);
}

void hth_tokens_finish(hth_tokens *tokens)
{
	free(tokens->ids);
	*tokens = HTH_TOKENS_INIT(tokens->max);
}

bool hth_tokens_push(hth_tokens *tokens, int32_t id)
{
	if (tokens->len >= tokens->max)
		return false;
	if (tokens->len == tokens->cap) {
		size_t cap = HTH_MIN(tokens->max, tokens->cap ? tokens->cap * 2 : 64);
		int32_t *ids = realloc(tokens->ids, cap * sizeof *ids);
		if (ids == NULL)
			return false;
		tokens->ids = ids;
		tokens->cap = cap;
	}
	tokens->ids[tokens->len++] = id;
	return true;
}

/* One encode call. */
struct encoding {
	const hth_tokenizer *t;
	hth_merger merger;
	hth_buf scratch;
	hth_tokens *tokens;
	hth_error *err;
};

static hth_status encode_word(void *user, const char *word, size_t len, hth_error *err)
{
	struct encoding *e = user;
	const hth_vocab *v = &e->t->vocab;
	bool whole = e->t->pre_flags & PRE_IGNORE_MERGES;
	if ((e->t->pre_flags & PRE_LINES_WHOLE) && word[0] == '\n')
		whole = true;
	if (whole && len <= v->max_bytes) {
		int32_t id = hth_vocab_find(v, word, len);
		if (id >= 0 && (size_t)id < v->n && hth_vocab_may_match(v, id))
			return hth_tokens_add(e->tokens, id, err);
	}
	return hth_merger_encode(&e->merger, word, len, e->tokens, err);
}

/* The text as a vocabulary with ▁ for the space sees it: with the prefix, and a ▁ of the text's own as a space. */
static hth_status normalise_spaces(struct encoding *e, const char *text, size_t len, bool prefix)
{
	hth_buf_clear(&e->scratch);
	if (prefix)
		hth_buf_append_char(&e->scratch, ' ');
	while (len > 0) {
		const char *block = memmem(text, len, "\xE2\x96\x81", 3);
		size_t n = block ? (size_t)(block - text) : len;
		hth_buf_append(&e->scratch, text, n);
		if (block != NULL)
			hth_buf_append_char(&e->scratch, ' ');
		n += block ? 3 : 0;
		text += n;
		len -= n;
	}
	return hth_buf_check(&e->scratch, "the text", e->err);
}

static hth_status encode_text(struct encoding *e, const char *text, size_t len)
{
	const hth_tokenizer *t = e->t;
	if (len == 0)
		return HTH_OK;
	switch (t->vocab.kind) {
	case VOCAB_SPM:
		HTH_TRY(normalise_spaces(e, text, len, t->add_space_prefix));
		return hth_merger_encode(&e->merger, e->scratch.data, e->scratch.len, e->tokens, e->err);
	case VOCAB_BYTES:
		return hth_pretokenizer_split(t->pre, text, len, encode_word, e, e->err);
	case VOCAB_TEXT:
		HTH_TRY(normalise_spaces(e, text, len, false));
		return hth_pretokenizer_split(t->pre, e->scratch.data, e->scratch.len, encode_word, e, e->err);
	case VOCAB_WORDPIECE:
		return hth_wordpiece_encode(&t->wordpiece, text, len, e->tokens, e->err);
	case VOCAB_UNIGRAM:
		return hth_unigram_encode(&t->unigram, text, len, e->tokens, e->err);
	}
	return HTH_OK;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static hth_status encode_fragments(struct encoding *e, const char *text, size_t len, unsigned flags,
                                   const hth_span *plain, size_t n_plain)
{
	const hth_vocab *v = &e->t->vocab;
	hth_special_scan scan = {.vocab = v,
	                         .text = text,
	                         .len = len,
	                         .plain = plain,
	                         .n_plain = n_plain,
	                         .parse = flags & HTH_TOK_PARSE_SPECIAL};
	size_t done = 0, begin, end;
	int32_t id;
	while (hth_special_next(&scan, done, &begin, &end, &id)) {
		size_t text_end = begin;
		if (v->attr[id] & ATTR_LSTRIP)
			while (text_end > done && is_blank(text[text_end - 1]))
				text_end--;
		if (text_end > done)
			HTH_TRY(encode_text(e, text + done, text_end - done));
		HTH_TRY(hth_tokens_add(e->tokens, id, e->err));
		done = end;
		if (v->attr[id] & ATTR_RSTRIP)
			while (done < len && is_blank(text[done]))
				done++;
	}
	return encode_text(e, text + done, len - done);
}

hth_status hth_tokenizer_encode(const hth_tokenizer *t, const char *text, size_t len, unsigned flags,
                                const hth_span *plain, size_t n_plain, hth_tokens *tokens, hth_error *err)
{
	for (size_t i = 0; i < n_plain; i++)
		if (plain[i].begin > plain[i].end || plain[i].end > len || (i > 0 && plain[i].begin < plain[i - 1].end))
			return hth_fail(err, HTH_INVALID, "the spans of plain text are not in order within the text");
	const hth_special_ids *s = &t->special;
	size_t before = tokens->len;
	hth_status status = HTH_OK;
	struct encoding e = {.t = t, .scratch = HTH_BUF_INIT(SIZE_MAX / 4), .tokens = tokens, .err = err};
	e.merger = (hth_merger){.vocab = &t->vocab, .unknown = t->vocab.kind == VOCAB_SPM ? s->unk : -1};
	if (t->merges.slots != NULL)
		e.merger.merges = &t->merges;
	if ((flags & HTH_TOK_ADD_SPECIAL) && s->add_bos)
		status = hth_tokens_add(tokens, s->bos, err);
	if (status == HTH_OK)
		status = encode_fragments(&e, text, len, flags, plain, n_plain);
	if (status == HTH_OK && (flags & HTH_TOK_ADD_SPECIAL) && t->add_sep)
		status = hth_tokens_add(tokens, s->sep, err);
	if (status == HTH_OK && (flags & HTH_TOK_ADD_SPECIAL) && s->add_eos)
		status = hth_tokens_add(tokens, s->eos, err);
	if (status != HTH_OK)
		tokens->len = before;
	hth_merger_finish(&e.merger);
	hth_buf_finish(&e.scratch);
	return status;
}

size_t hth_tokenizer_vocab_size(const hth_tokenizer *t)
{
	return t->vocab.n;
}
const char *hth_tokenizer_model(const hth_tokenizer *t)
{
	return t->model;
}
const hth_special_ids *hth_tokenizer_special(const hth_tokenizer *t)
{
	return &t->special;
}

static bool in_vocab(const hth_tokenizer *t, int32_t id)
{
	return id >= 0 && (size_t)id < t->vocab.n;
}

bool hth_tokenizer_is_end(const hth_tokenizer *t, int32_t id)
{
	return in_vocab(t, id) && (t->vocab.attr[id] & ATTR_END);
}

bool hth_tokenizer_is_control(const hth_tokenizer *t, int32_t id)
{
	return in_vocab(t, id) && (t->vocab.attr[id] & (ATTR_CONTROL | ATTR_UNKNOWN));
}

bool hth_tokenizer_adds_space(const hth_tokenizer *t)
{
	return t->vocab.kind == VOCAB_WORDPIECE || (t->vocab.kind == VOCAB_UNIGRAM && t->unigram.remove_extra_spaces) ||
	       t->add_space_prefix;
}

hth_view hth_tokenizer_piece(const hth_tokenizer *t, int32_t id)
{
	return in_vocab(t, id) ? t->vocab.piece[id] : (hth_view){"", 0};
}

bool hth_tokenizer_bytes(const hth_tokenizer *t, int32_t id, bool show_special, hth_buf *out)
{
	if (!in_vocab(t, id) || (hth_tokenizer_is_control(t, id) && !show_special))
		return true;
	hth_view b = hth_vocab_bytes(&t->vocab, id);
	return hth_buf_append(out, b.data, b.len);
}
