/* terms.c - splitting, stemming and folding (terms.h says what becomes of a word).
 *
 * Words repeat, and a stemmer costs more than all the rest: a small table remembers what words became. Characters
 * beyond ASCII are looked up in sorted tables made from Unicode's data (scripts/fold-tables.py).
 */
#include "index/terms.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <libstemmer.h>

typedef enum char_kind { SEPARATOR, WORD, PAIRED, IGNORED } char_kind;
struct kind_run {
	uint32_t first, last;
	unsigned char kind;
};
struct fold_entry {
	uint32_t from, lower;
	uint16_t at, len;
};
#include "index/fold-tables.inc"

/* Words longer than this are cut before stemming; a cache entry holds shorter ones only. */
enum { WORD_MAX = 120, CACHED_MAX = 22, CACHE_SLOTS = 1 << 14 };

typedef struct cached {
	unsigned char language, word_len, term_len;
	char word[CACHED_MAX], term[CACHED_MAX];
} cached;

struct hth_terms {
	struct sb_stemmer *stemmers[HTH_LANGUAGE_COUNT];
	cached *cache;
};

/* --- languages --- */

static const struct {
	const char *code, *stemmer;
	const char *small; /* frequent words that others of the list have not, or seldom */
} languages[HTH_LANGUAGE_COUNT] = {
    [HTH_LANGUAGE_NONE] = {"", NULL, ""},
    [HTH_LANGUAGE_EN] = {"en", "english",
                         " the of and to is that for it with was be by are this which from have you not what when where who how why does "
                         "do did there a an in on at as or my our your their its his her "},
    [HTH_LANGUAGE_DE] = {"de", "german",
                         " der die und das ist nicht den von zu mit dem ein eine auf für sich im auch wird oder wer wie wann warum wo "
                         "welche welcher hat ist wurde sind mein unser ihr an bei "},
    [HTH_LANGUAGE_FR] = {"fr", "french", " le les des et est une dans que pour qui sur pas par plus au avec ce sont cette vous "},
    [HTH_LANGUAGE_ES] = {"es", "spanish", " el los las y es una por con del que para se su al lo como más pero fue este "},
    [HTH_LANGUAGE_IT] = {"it", "italian", " il di che è per non una sono con della del gli nel alla anche più dei questo ma dal "},
    [HTH_LANGUAGE_PT] = {"pt", "portuguese", " o os do da em um uma não para com é que no na ao mais dos como foi pelo "},
    [HTH_LANGUAGE_NL] = {"nl", "dutch", " het een van en dat niet zijn op te voor met ook aan er maar wordt naar bij deze hij "},
    [HTH_LANGUAGE_DA] = {"da", "danish", " og det er af til på ikke med som der jeg har blev også efter hvor kan være vil nogle "},
    [HTH_LANGUAGE_SV] = {"sv", "swedish", " och det är att som på av inte för jag har till med ett från också efter när eller vara "},
    [HTH_LANGUAGE_NO] = {"no", "norwegian", " og det er av til på ikke med som jeg har ble også etter hvor kan være vil noen fra "},
    [HTH_LANGUAGE_FI] = {"fi", "finnish", " ja on ei se että hän oli ovat mutta myös joka kun niin tai ole sen mukaan jos vain olla "},
    [HTH_LANGUAGE_HU] = {"hu", "hungarian", " a az és hogy nem egy van meg is ezt volt csak mint már vagy ez ki kell lehet azt "},
    [HTH_LANGUAGE_RO] = {"ro", "romanian", " și în de la cu nu este pe care sunt din că mai pentru fi au sau prin lui ale "},
    [HTH_LANGUAGE_RU] = {"ru", "russian", " и в не на что с по как это из за от для его все был так но бы к "},
    [HTH_LANGUAGE_TR] = {"tr", "turkish", " ve bir bu için ile da de olarak çok daha olan gibi kadar sonra değil her ne var en ben "},
};

hth_language hth_language_of_code(const char *code)
{
	for (unsigned i = 1; i < HTH_LANGUAGE_COUNT; i++)
		if (strcmp(code, languages[i].code) == 0)
			return (hth_language)i;
	return HTH_LANGUAGE_NONE;
}

bool hth_terms_is_small(uint32_t mask, const char *term, size_t len)
{
	if (len > 12)
		return false;
	char padded[16] = " ";
	memcpy(padded + 1, term, len);
	memcpy(padded + 1 + len, " ", 2);
	for (unsigned l = 1; l < HTH_LANGUAGE_COUNT; l++)
		if ((mask >> l & 1) != 0 && strstr(languages[l].small, padded) != NULL)
			return true;
	return false;
}

/* --- characters --- */

static char_kind kind_of(uint32_t c)
{
	if (c < 0x80)
		return (c | 0x20) - 'a' < 26 || c - '0' < 10 ? WORD : SEPARATOR;
	size_t low = 0, high = HTH_COUNT(kind_runs);
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (c > kind_runs[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	return low < HTH_COUNT(kind_runs) && c >= kind_runs[low].first ? (char_kind)kind_runs[low].kind : SEPARATOR;
}

static const struct fold_entry *entry_of(uint32_t c)
{
	size_t low = 0, high = HTH_COUNT(fold_entries);
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (c > fold_entries[mid].from)
			low = mid + 1;
		else
			high = mid;
	}
	return low < HTH_COUNT(fold_entries) && fold_entries[low].from == c ? &fold_entries[low] : NULL;
}

/* Appends what of `add` fits whole. */
static size_t put(char *out, size_t at, size_t max, const char *add, size_t n)
{
	if (at + n > max)
		return at;
	memcpy(out + at, add, n);
	return at + n;
}

static size_t put_folded(char *out, size_t at, size_t max, uint32_t c, const char *bytes, size_t n)
{
	if (c < 0x80) {
		char low = (char)(c - 'A' < 26 ? c | 0x20 : c);
		return put(out, at, max, &low, 1);
	}
	const struct fold_entry *e = entry_of(c);
	return e != NULL ? put(out, at, max, (const char *)fold_pool + e->at, e->len) : put(out, at, max, bytes, n);
}

static size_t put_lower(char *out, size_t at, size_t max, uint32_t c, const char *bytes, size_t n)
{
	if (c < 0x80) {
		char low = (char)(c - 'A' < 26 ? c | 0x20 : c);
		return put(out, at, max, &low, 1);
	}
	const struct fold_entry *e = entry_of(c);
	if (e == NULL || e->lower == c)
		return put(out, at, max, bytes, n);
	char low[4];
	return put(out, at, max, low, hth_utf8_encode(e->lower, low));
}

/* --- a word becomes a term --- */

static size_t fold_word(const char *word, size_t len, char out[HTH_TERM_MAX])
{
	size_t n = 0;
	for (size_t i = 0, step; i < len; i += step) {
		uint32_t c;
		step = hth_utf8_decode_lossy(word + i, len - i, &c);
		if (kind_of(c) != IGNORED)
			n = put_folded(out, n, HTH_TERM_MAX, c, word + i, step);
	}
	return n;
}

static struct sb_stemmer *stemmer_of(hth_terms *terms, hth_language language)
{
	if (language == HTH_LANGUAGE_NONE || (unsigned)language >= HTH_LANGUAGE_COUNT)
		return NULL;
	if (terms->stemmers[language] == NULL)
		terms->stemmers[language] = sb_stemmer_new(languages[language].stemmer, "UTF_8");
	return terms->stemmers[language];
}

/* word is in lower case. */
static size_t make_term(hth_terms *terms, hth_language language, const char *word, size_t len, char out[HTH_TERM_MAX])
{
	uint32_t hash = 2166136261u ^ (uint32_t)language;
	bool cacheable = len <= CACHED_MAX;
	cached *slot = NULL;
	if (cacheable) {
		for (size_t i = 0; i < len; i++)
			hash = (hash ^ (unsigned char)word[i]) * 16777619u;
		slot = &terms->cache[(hash ^ hash >> 15) % CACHE_SLOTS];
		if (slot->word_len == len && slot->language == (unsigned char)language && memcmp(slot->word, word, len) == 0) {
			memcpy(out, slot->term, slot->term_len);
			return slot->term_len;
		}
	}
	struct sb_stemmer *stemmer = stemmer_of(terms, language);
	const char *stem = word;
	size_t stem_len = len;
	if (stemmer != NULL) {
		const sb_symbol *s = sb_stemmer_stem(stemmer, (const sb_symbol *)word, (int)len);
		int n = s != NULL ? sb_stemmer_length(stemmer) : 0;
		if (n > 0) {
			stem = (const char *)s;
			stem_len = (size_t)n;
		}
	}
	size_t n = fold_word(stem, stem_len, out);
	if (cacheable && n <= CACHED_MAX) {
		*slot = (cached){.language = (unsigned char)language, .word_len = (unsigned char)len, .term_len = (unsigned char)n};
		memcpy(slot->word, word, len);
		memcpy(slot->term, out, n);
	}
	return n;
}

/* --- splitting --- */

/* What the splitter finds: a word in lower case, or one character of a paired script. */
typedef struct splitter {
	void (*word)(void *ctx, const char *lower, size_t len, size_t begin, size_t end);
	/* previous: where the character before it begins when it is of the same run, else SIZE_MAX; last: nothing of
	 * the run follows. */
	void (*paired)(void *ctx, size_t previous, size_t begin, size_t end, bool last);
	void *ctx;
} splitter;

static bool is_apostrophe(uint32_t c)
{
	return c == '\'' || c == 0x2019 || c == 0x02BC;
}

static char_kind kind_at(const char *text, size_t len, size_t at, uint32_t *ret_c, size_t *ret_step)
{
	*ret_c = 0;
	*ret_step = 1;
	if (at >= len)
		return SEPARATOR;
	*ret_step = hth_utf8_decode(text + at, len - at, ret_c);
	if (*ret_step == 0) {
		*ret_step = 1;
		*ret_c = 0xFFFD;
		return SEPARATOR;
	}
	return is_apostrophe(*ret_c) ? SEPARATOR : kind_of(*ret_c);
}

/* "exam-" at a line's end, "ple" on the next: where the word goes on, or 0. */
static size_t continues_at(const char *text, size_t len, size_t at)
{
	if (at >= len || text[at] != '-')
		return 0;
	size_t i = at + 1;
	while (i < len && (text[i] == ' ' || text[i] == '\r'))
		i++;
	if (i >= len || text[i] != '\n')
		return 0;
	i++;
	while (i < len && (text[i] == ' ' || text[i] == '\t'))
		i++;
	uint32_t c;
	size_t step;
	if (kind_at(text, len, i, &c, &step) != WORD || (c < 0x80 && c - 'a' >= 26))
		return 0;
	const struct fold_entry *e = c >= 0x80 ? entry_of(c) : NULL;
	return e == NULL || e->lower == c ? i : 0;
}

static void split(const char *text, size_t len, const splitter *to)
{
	char word[WORD_MAX];
	size_t i = 0, step;
	uint32_t c;
	size_t word_end = SIZE_MAX; /* of the last word, when nothing but an apostrophe has followed it */
	bool after_apostrophe = false;
	while (i < len) {
		char_kind kind = kind_at(text, len, i, &c, &step);
		if (kind == PAIRED) {
			size_t previous = SIZE_MAX;
			while (kind == PAIRED) {
				size_t begin = i;
				i += step;
				while ((kind = kind_at(text, len, i, &c, &step)) == IGNORED)
					i += step;
				to->paired(to->ctx, previous, begin, i, kind != PAIRED);
				previous = begin;
			}
			after_apostrophe = false;
			continue;
		}
		if (kind != WORD) {
			after_apostrophe = kind == SEPARATOR && is_apostrophe(c) && word_end == i;
			i += step;
			continue;
		}
		size_t begin = i, n = 0, n_chars = 0, end = i;
		while (kind == WORD || kind == IGNORED) {
			if (kind == WORD) {
				n = put_lower(word, n, sizeof word, c, text + i, step);
				n_chars++;
			}
			i += step;
			end = i;
			kind = kind_at(text, len, i, &c, &step);
			if (kind == SEPARATOR && c == '-') {
				size_t on = continues_at(text, len, i);
				if (on > 0) {
					i = on;
					kind = kind_at(text, len, i, &c, &step);
				}
			}
		}
		bool before_apostrophe = kind == SEPARATOR && i < len && is_apostrophe(c) && n_chars == 1;
		bool tail = after_apostrophe && n_chars <= 2 && n <= 2;
		after_apostrophe = false;
		word_end = i;
		if (n > 0 && !tail && !(before_apostrophe && word[0] >= 'a'))
			to->word(to->ctx, word, n, begin, end);
	}
}

/* --- documents --- */

typedef struct text_run {
	hth_terms *terms;
	hth_language language;
	const char *text;
	hth_term_fn fn;
	void *ctx;
} text_run;

static void text_word(void *ctx, const char *lower, size_t len, size_t begin, size_t end)
{
	text_run *r = ctx;
	char term[HTH_TERM_MAX];
	size_t n = make_term(r->terms, r->language, lower, len, term);
	if (n > 0)
		r->fn(r->ctx, term, n, begin, end);
}

static void text_paired(void *ctx, size_t previous, size_t begin, size_t end, bool last)
{
	(void)last;
	text_run *r = ctx;
	char term[HTH_TERM_MAX];
	size_t n = fold_word(r->text + begin, end - begin, term);
	if (n > 0)
		r->fn(r->ctx, term, n, begin, end);
	if (previous == SIZE_MAX)
		return;
	n = fold_word(r->text + previous, end - previous, term);
	if (n > 0)
		r->fn(r->ctx, term, n, previous, end);
}

void hth_terms_of_text(hth_terms *terms, hth_language language, const char *text, size_t len, hth_term_fn fn, void *ctx)
{
	text_run run = {terms, language, text, fn, ctx};
	split(text, len, &(splitter){text_word, text_paired, &run});
}

/* --- queries --- */

typedef struct query_run {
	hth_terms *terms;
	uint32_t languages;
	const char *text;
	hth_query_term_fn fn;
	void *ctx;
	size_t word;
} query_run;

static void query_word(void *ctx, const char *lower, size_t len, size_t begin, size_t end)
{
	(void)begin;
	(void)end;
	query_run *r = ctx;
	char seen[HTH_LANGUAGE_COUNT][HTH_TERM_MAX];
	size_t seen_len[HTH_LANGUAGE_COUNT], n_seen = 0;
	uint32_t mask = r->languages != 0 ? r->languages : 1u << HTH_LANGUAGE_NONE;
	for (unsigned l = 0; l < HTH_LANGUAGE_COUNT; l++) {
		if ((mask >> l & 1) == 0)
			continue;
		char *term = seen[n_seen];
		size_t n = make_term(r->terms, (hth_language)l, lower, len, term), i = 0;
		while (i < n_seen && (seen_len[i] != n || memcmp(seen[i], term, n) != 0))
			i++;
		if (n == 0 || i < n_seen)
			continue;
		seen_len[n_seen++] = n;
		r->fn(r->ctx, term, n, r->word);
	}
	r->word++;
}

static void query_paired(void *ctx, size_t previous, size_t begin, size_t end, bool last)
{
	query_run *r = ctx;
	char term[HTH_TERM_MAX];
	if (previous == SIZE_MAX && !last)
		return;
	size_t from = previous != SIZE_MAX ? previous : begin, n = fold_word(r->text + from, end - from, term);
	if (n > 0)
		r->fn(r->ctx, term, n, r->word++);
}

void hth_terms_of_query(hth_terms *terms, uint32_t mask, const char *text, size_t len, hth_query_term_fn fn, void *ctx)
{
	query_run run = {terms, mask, text, fn, ctx, 0};
	split(text, len, &(splitter){query_word, query_paired, &run});
}

/* --- which language --- */

typedef struct detection {
	unsigned counts[HTH_LANGUAGE_COUNT], words;
} detection;

static void count_word(void *ctx, const char *lower, size_t len, size_t begin, size_t end)
{
	(void)begin;
	(void)end;
	detection *d = ctx;
	d->words++;
	if (len > 12)
		return;
	char padded[16] = " ";
	memcpy(padded + 1, lower, len);
	memcpy(padded + 1 + len, " ", 2);
	for (unsigned l = 1; l < HTH_LANGUAGE_COUNT; l++)
		d->counts[l] += strstr(languages[l].small, padded) != NULL;
}

static void skip_paired(void *ctx, size_t previous, size_t begin, size_t end, bool last)
{
	(void)ctx, (void)previous, (void)begin, (void)end, (void)last;
}

hth_language hth_language_detect(const char *text, size_t len, hth_language otherwise)
{
	detection d = {0};
	split(text, HTH_MIN(len, (size_t)4096), &(splitter){count_word, skip_paired, &d});
	unsigned best = 0, second = 0;
	for (unsigned l = 1; l < HTH_LANGUAGE_COUNT; l++) {
		if (d.counts[l] > d.counts[best] || best == 0) {
			second = best;
			best = l;
		} else if (d.counts[l] > d.counts[second] || second == 0) {
			second = l;
		}
	}
	/* A tenth of running text is such words; fewer is a list, a table or another language. */
	bool clear = d.counts[best] >= 2 && d.counts[best] * 12 >= d.words && d.counts[best] > d.counts[second];
	return clear ? (hth_language)best : otherwise;
}

/* --- life --- */

hth_status hth_terms_create(hth_terms **ret_terms, hth_error *err)
{
	hth_terms *terms = calloc(1, sizeof *terms);
	if (terms == NULL || (terms->cache = calloc(CACHE_SLOTS, sizeof *terms->cache)) == NULL) {
		free(terms);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the index's words");
	}
	*ret_terms = terms;
	return HTH_OK;
}

void hth_terms_destroy(hth_terms *terms)
{
	if (terms == NULL)
		return;
	for (size_t i = 0; i < HTH_LANGUAGE_COUNT; i++)
		if (terms->stemmers[i] != NULL)
			sb_stemmer_delete(terms->stemmers[i]);
	free(terms->cache);
	free(terms);
}
