/* pretokenize.c - the table and the walk. See pretokenize.h.
 *
 * Patterns are those of the models' own tokenizer.json files where these are known, in PCRE2's syntax. `\s` is
 * Unicode's White_Space, which PCRE2's own \s is not quite (it has U+180E), so it is spelled out when a pattern is
 * compiled. Cuts that take quadratic time as patterns are written in C: groups of three digits from the right, and
 * trailing space.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/tokenizer/pretokenize.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/tokenizer/unicode.h"

#include <pcre2.h>
#include <stdio.h>

enum {
	MAX_STEPS = 6,
	WINDOW = 16384, /* where a match runs into a limit it is tried again on this many bytes */
	MATCH_LIMIT = 1 << 24,
	HEAP_LIMIT_KIB = 65536,
	JIT_STACK = 4 << 20,
};

/* Steps that do more than their pattern begin with '!'. */
#define TRAILING_SPACE "!" /* \s+ at the end of a piece */
/* Runs that are then cut into threes from the right; in the second, only where a word ends after the run. */
#define DIGIT_GROUPS "!\\d+"
#define DIGIT_GROUPS_WORD "!\\d++(*SKIP)\\b"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define SPACES "|\\s+(?!\\S)|\\s+"
#define LETTERS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+"
#define LLAMA3 CONTRACTIONS "|" LETTERS "|\\p{N}{1,3}|" SYMBOLS SPACES
#define QWEN2 CONTRACTIONS "|" LETTERS "|\\p{N}|" SYMBOLS SPACES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_WORDS(tail)                                                                                              \
	"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" tail
#define O200K_SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+"
#define O200K O200K_WORDS(CONTRACTIONS "?") "|\\p{N}{1,3}|" O200K_SYMBOLS SPACES
#define NOT_HAN(class) "(?:(?!\\p{Han})" class ")"
#define KIMI_UPPER NOT_HAN(UPPER)
#define KIMI_LOWER NOT_HAN(LOWER)
#define KIMI_WORDS                                                                                                     \
	"[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "*" KIMI_LOWER "+" CONTRACTIONS "?"                                        \
	"|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "+" KIMI_LOWER "*" CONTRACTIONS "?"
#define CJK3 "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define DEEPSEEK_CJK "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define DEEPSEEK3                                                                                                      \
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"            \
	"| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+" SPACES
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{0964}\\x{06D4}\\x{060C})]+"
/* DeepSeek LLM's own list of cased letters. */
#define DEEPSEEK_LETTERS                                                                                               \
	"\\s?[A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"           \
	"\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}"         \
	"\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}"                \
	"\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"              \
	"\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"              \
	"\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}"      \
	"\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}"     \
	"\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"               \
	"\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}"                \
	"\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}"                \
	"\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}"               \
	"\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"              \
	"\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"            \
	"\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"                         \
	"\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}]+"

static const struct row {
	const char *names; /* separated by spaces */
	unsigned flags;
	const char *steps[MAX_STEPS];
} table[] = {
    /* What llama.cpp has always done with files that name nothing. */
    {"default", 0, {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {"gpt-2 mpt olmo jais trillion granite-docling phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code "
     "roberta-bpe gigachat a.x-4.0 mellum modern-bert exaone4",
     0,
     {GPT2}},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", 0, {"\\p{N}", GPT2}},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     PRE_IGNORE_MERGES | PRE_ADD_BOS,
     {LLAMA3}},
    {"dbrx smaug-bpe", 0, {LLAMA3}},
    {"chatglm-bpe glm4", 0, {LLAMA3}},
    {"minicpm5", PRE_IGNORE_MERGES, {"\\p{N}{1,3}", CONTRACTIONS "|" LETTERS "|\\p{N}+|" SYMBOLS SPACES}},
    {"qwen2 stablelm2 deepseek-r1-qwen megrez hunyuan kormo f2llmv2 solar-open grok-2", 0, {QWEN2}},
    {"qwen35",
     0,
     {CONTRACTIONS
      "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+" SPACES}},
    {"ufakzeka", 0, {LETTERS "|\\p{N}|" SYMBOLS SPACES}},
    {"laguna", 0, {"[^\\n]+|\\n+", QWEN2}},
    {"bailingmoe bailingmoe2 llada-moe",
     0,
     {"'(?i:[sdmt]|ll|ve|re)|" LETTERS "|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]" SPACES}},
    {"seed-coder", 0, {CONTRACTIONS "|" LETTERS "|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+" SPACES}},
    {"exaone-moe",
     0,
     {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?"
                   "|\\s*[\\r\\n]" SPACES}},
    {"jais-2",
     0,
     {CONTRACTIONS "|" LETTERS "|\\p{N}{1,3}|" SYMBOLS
                   "|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)"
                   "|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s"}},
    {"deepseek-llm",
     0,
     {"[\\r\\n]", DEEPSEEK_LETTERS,
      "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+", TRAILING_SPACE,
      DEEPSEEK_CJK, "\\p{N}+"}},
    {"deepseek-coder", 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", 0, {"\\p{N}{1,3}", CJK3, DEEPSEEK3}},
    {"spark2_5",
     0,
     {"\\p{N}{1,3}", CJK3,
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
      "?[\\p{P}\\p{S}]+"
      "|[\\r\\n]" SPACES,
      "\\p{N}"}},
    {"youtu",
     PRE_IGNORE_MERGES,
     {"[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{"
      "FF1A}"
      "\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+|" CJK3,
      O200K_WORDS(CONTRACTIONS "?") "|\\p{N}|" O200K_SYMBOLS SPACES}},
    {"falcon", 0, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"bloom poro-chat gpt3-finnish", 0, {BLOOM}},
    {"viking", 0, {BLOOM, "\\p{N}"}},
    {"tekken", PRE_IGNORE_MERGES | PRE_ADD_BOS, {O200K_WORDS("") "|\\p{N}|" O200K_SYMBOLS SPACES}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", 0, {O200K}},
    {"granite-embed-multi-97m", PRE_IGNORE_MERGES, {O200K}},
    {"tiny_aya cohere2moe", 0, {DIGIT_GROUPS_WORD, O200K}},
    {"kimi-k2", 0, {"\\p{Han}+|" KIMI_WORDS "|\\p{N}{1,3}|" SYMBOLS SPACES}},
    {"superbpe", 0, {"\\p{N}+", DIGIT_GROUPS}},
    {"afmoe",
     0,
     {DIGIT_GROUPS,
      "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}\\x{FF65}-\\x{"
      "FF9F}"
      "\\x{2F00}-\\x{2FDF}\\x{0E00}-\\x{0E7F}\\x{0E80}-\\x{0EFF}\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-\\x{"
      "AA7F}"
      "\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+",
      DEEPSEEK3}},
    {"chameleon",
     PRE_ADD_BOS,
     {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
    {"gemma4 granite-embed-multi-311m", PRE_TEXT | PRE_FORCE_BOS | PRE_LINES_WHOLE, {"[^\\n]+|\\n+"}},
    {"sarvam-moe", PRE_TEXT, {"[^\\n]+|\\n+"}},
};

typedef enum step_kind { STEP_PATTERN, STEP_DIGITS, STEP_TRAILING_SPACE } step_kind;

struct hth_pretokenizer {
	unsigned flags;
	size_t n_steps;
	struct step {
		step_kind kind;
		pcre2_code *code;
	} steps[MAX_STEPS];
};

/* \s and \S as Unicode's White_Space. */
static bool expand_pattern(const char *pattern, hth_buf *out)
{
	static const char space[] =
	    "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
	bool in_class = false;
	for (const char *p = pattern; *p != '\0'; p++) {
		if (*p == '\\' && (p[1] == 's' || p[1] == 'S')) {
			if (!in_class)
				hth_buf_append_str(out, p[1] == 's' ? "[" : "[^");
			hth_buf_append_str(out, space);
			if (!in_class)
				hth_buf_append_char(out, ']');
			p++;
			continue;
		}
		if (*p == '[' && !in_class)
			in_class = true;
		else if (*p == ']')
			in_class = false;
		hth_buf_append_char(out, *p);
		if (*p == '\\')
			hth_buf_append_char(out, *++p);
	}
	return !out->failed;
}

static hth_status compile_step(struct step *step, const char *pattern, hth_error *err)
{
	if (pattern[0] == '!') {
		step->kind = *++pattern == '\0' ? STEP_TRAILING_SPACE : STEP_DIGITS;
		if (step->kind == STEP_TRAILING_SPACE)
			return HTH_OK;
	}
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(65536);
	if (!expand_pattern(pattern, &text))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a tokenizer pattern");
	int code;
	PCRE2_SIZE at;
	step->code = pcre2_compile((PCRE2_SPTR)text.data, text.len, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
	if (step->code == NULL) {
		char message[128] = "";
		pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
		return hth_fail(err, HTH_INTERNAL, "tokenizer pattern: %s at %zu in %s", message, (size_t)at,
		                text.data);
	}
	/* Without JIT (a sandbox that allows no new code) the interpreter gives the same pieces. */
	(void)pcre2_jit_compile(step->code, PCRE2_JIT_COMPLETE);
	return HTH_OK;
}

static bool name_in(const char *names, const char *name, size_t len)
{
	for (const char *p = names; *p != '\0';) {
		size_t n = strcspn(p, " ");
		if (n == len && memcmp(p, name, len) == 0)
			return true;
		p += n;
		p += *p == ' ';
	}
	return false;
}

bool hth_pretokenizer_name(size_t i, char out[64])
{
	for (size_t r = 0; r < HTH_COUNT(table); r++)
		for (const char *p = table[r].names; *p != '\0';) {
			size_t n = strcspn(p, " ");
			if (i-- == 0) {
				snprintf(out, 64, "%.*s", (int)n, p);
				return true;
			}
			p += n;
			p += *p == ' ';
		}
	return false;
}

hth_status hth_pretokenizer_create(hth_pretokenizer **ret_pre, const char *name, size_t name_len, hth_error *err)
{
	const struct row *row = NULL;
	for (size_t i = 0; i < HTH_COUNT(table) && row == NULL; i++)
		if (name_in(table[i].names, name, name_len))
			row = &table[i];
	if (row == NULL)
		return hth_fail(err, HTH_UNSUPPORTED,
		                "tokenizer.ggml.pre is \"%.*s\", a way of cutting text that this version does not "
		                "know; tokens would "
		                "come out wrong, so the model is not loaded",
		                (int)HTH_MIN(name_len, (size_t)64), name);
	hth_pretokenizer *pre = calloc(1, sizeof *pre);
	if (pre == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a tokenizer");
	pre->flags = row->flags;
	for (; pre->n_steps < MAX_STEPS && row->steps[pre->n_steps] != NULL; pre->n_steps++) {
		hth_status status = compile_step(&pre->steps[pre->n_steps], row->steps[pre->n_steps], err);
		if (status != HTH_OK) {
			hth_pretokenizer_destroy(pre);
			return status;
		}
	}
	*ret_pre = pre;
	return HTH_OK;
}

void hth_pretokenizer_destroy(hth_pretokenizer *pre)
{
	if (pre == NULL)
		return;
	for (size_t i = 0; i < MAX_STEPS; i++)
		pcre2_code_free(pre->steps[i].code);
	free(pre);
}

unsigned hth_pretokenizer_flags(const hth_pretokenizer *pre)
{
	return pre->flags;
}

/* One walk over one text. */
struct walk {
	const hth_pretokenizer *pre;
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	hth_piece_fn *piece;
	void *user;
	hth_error *err;
};

static hth_status split_step(struct walk *w, size_t step, const char *text, size_t len);

static hth_status give(struct walk *w, size_t step, const char *text, size_t begin, size_t end)
{
	return begin < end ? split_step(w, step, text + begin, end - begin) : HTH_OK;
}

/* The next match in text[from, len), not empty. False: none. */
static bool next_match(struct walk *w, const pcre2_code *code, const char *text, size_t len, size_t from,
                       size_t *ret_begin, size_t *ret_end)
{
	while (from < len) {
		size_t end = len;
		int rc = pcre2_match(code, (PCRE2_SPTR)text, end, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, w->data,
		                     w->context);
		if (rc == PCRE2_ERROR_NOMATCH)
			return false;
		if (rc < 0 && len - from > WINDOW) {
			/* A run so long that matching it takes too much: look at its beginning alone. */
			end = from + WINDOW;
			while (end > from && ((uint8_t)text[end] & 0xC0) == 0x80)
				end--;
			rc = pcre2_match(code, (PCRE2_SPTR)text, end, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
			                 w->data, w->context);
			if (rc == PCRE2_ERROR_NOMATCH) {
				from = end;
				continue;
			}
		}
		if (rc < 0) {
			*ret_begin = from;
			*ret_end = end;
			return true;
		}
		const PCRE2_SIZE *v = pcre2_get_ovector_pointer(w->data);
		*ret_begin = v[0];
		*ret_end = v[1];
		return true;
	}
	return false;
}

static hth_status split_pattern(struct walk *w, size_t step, const char *text, size_t len)
{
	size_t at = 0, begin, end;
	while (next_match(w, w->pre->steps[step].code, text, len, at, &begin, &end)) {
		HTH_TRY(give(w, step + 1, text, at, begin));
		HTH_TRY(give(w, step + 1, text, begin, end));
		at = end;
	}
	return give(w, step + 1, text, at, len);
}

/* The pattern finds whole runs of digits; each is cut into threes from the right. */
static hth_status split_digits(struct walk *w, size_t step, const char *text, size_t len)
{
	size_t at = 0, begin, end;
	while (next_match(w, w->pre->steps[step].code, text, len, at, &begin, &end)) {
		HTH_TRY(give(w, step + 1, text, at, begin));
		size_t count = 0;
		for (size_t i = begin; i < end; i++)
			count += ((uint8_t)text[i] & 0xC0) != 0x80;
		for (at = begin; at < end;) {
			size_t group = at;
			for (size_t take = count % 3 ? count % 3 : 3; take > 0 && at < end; take--, count--) {
				uint32_t cp;
				at += hth_utf8_decode_lossy(text + at, end - at, &cp);
			}
			HTH_TRY(give(w, step + 1, text, group, at));
		}
	}
	return give(w, step + 1, text, at, len);
}

static hth_status split_trailing_space(struct walk *w, size_t step, const char *text, size_t len)
{
	size_t last = 0; /* end of the last character that is no space */
	for (size_t i = 0; i < len;) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(text + i, len - i, &cp);
		if (!hth_unicode_is_space(cp))
			last = i;
	}
	HTH_TRY(give(w, step + 1, text, 0, last));
	return give(w, step + 1, text, last, len);
}

static hth_status split_step(struct walk *w, size_t step, const char *text, size_t len)
{
	if (step == w->pre->n_steps)
		return w->piece(w->user, text, len, w->err);
	switch (w->pre->steps[step].kind) {
	case STEP_DIGITS:
		return split_digits(w, step, text, len);
	case STEP_TRAILING_SPACE:
		return split_trailing_space(w, step, text, len);
	case STEP_PATTERN:
		break;
	}
	return split_pattern(w, step, text, len);
}

static hth_status split_runs(struct walk *w, const char *text, size_t len)
{
	while (len > 0) {
		size_t valid = hth_utf8_valid_prefix(text, len), bad = valid;
		HTH_TRY(give(w, 0, text, 0, valid));
		uint32_t cp;
		while (bad < len && hth_utf8_decode(text + bad, len - bad, &cp) == 0)
			bad++;
		if (bad > valid)
			HTH_TRY(w->piece(w->user, text + valid, bad - valid, w->err));
		text += bad;
		len -= bad;
	}
	return HTH_OK;
}

hth_status hth_pretokenizer_split(const hth_pretokenizer *pre, const char *text, size_t len, hth_piece_fn *piece,
                                  void *user, hth_error *err)
{
	struct walk w = {.pre = pre, .piece = piece, .user = user, .err = err};
	w.data = pcre2_match_data_create(1, NULL);
	w.context = pcre2_match_context_create(NULL);
	w.stack = pcre2_jit_stack_create(32768, JIT_STACK, NULL);
	hth_status status = HTH_NO_MEMORY;
	if (w.data == NULL || w.context == NULL) {
		hth_fail(err, HTH_NO_MEMORY, "no memory to cut a text into words");
	} else {
		pcre2_set_match_limit(w.context, MATCH_LIMIT);
		pcre2_set_heap_limit(w.context, HEAP_LIMIT_KIB);
		pcre2_jit_stack_assign(w.context, NULL, w.stack);
		status = split_runs(&w, text, len);
	}
	pcre2_jit_stack_free(w.stack);
	pcre2_match_context_free(w.context);
	pcre2_match_data_free(w.data);
	return status;
}
