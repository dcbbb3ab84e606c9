/* merge.c - see merge.h. A text is first cut where no string of the vocabulary has those two bytes side by side: no
 * merge can ever cross such a place, so the parts are independent and stay short (words, mostly). */
#include "engine/tokenizer/merge.h"

#include "base/mem.h"
#include "base/utf8.h"

enum { SCAN_MAX = 32 }; /* symbols up to which scanning beats the heap */

static size_t merge_hash(const hth_merges *m, int32_t left, int32_t right)
{
	uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ m->seed;
	h *= 0xFF51AFD7ED558CCDu;
	h ^= h >> 32;
	h *= 0xC4CEB9FE1A85EC53u;
	return (size_t)(h >> 20) & (m->n_slots - 1);
}

static struct hth_merge_slot *merge_slot(const hth_merges *m, int32_t left, int32_t right)
{
	size_t i = merge_hash(m, left, right);
	while (m->slots[i].left >= 0 && (m->slots[i].left != left || m->slots[i].right != right))
		i = (i + 1) & (m->n_slots - 1);
	return &m->slots[i];
}

/* One half of a merge as bytes, in out. False when it is not of the alphabet: then no text can ever hold it. */
static bool merge_half(const hth_vocab *v, hth_view half, hth_buf *out)
{
	if (v->kind == VOCAB_BYTES)
		return hth_vocab_decode_alphabet(half, out);
	for (size_t i = 0; i < half.len;) {
		bool block = half.len - i >= 3 && memcmp(half.data + i, "\xE2\x96\x81", 3) == 0;
		if (!hth_buf_append_char(out, block ? ' ' : half.data[i]))
			return false;
		i += block ? 3 : 1;
	}
	return true;
}

hth_status hth_merges_load(hth_merges *m, hth_vocab *v, const hth_gguf *gguf, hth_error *err)
{
	const hth_gguf_kv *list;
	HTH_TRY(hth_gguf_get_array(gguf, "tokenizer.ggml.merges", HTH_GGUF_STRING, &list, err));
	size_t n = hth_gguf_array_len(list);
	if (n > VOCAB_MAX_MERGES)
		return hth_fail(err, HTH_TOO_LARGE, "tokenizer.ggml.merges has %zu entries, at most %d are allowed", n,
		                VOCAB_MAX_MERGES);
	m->seed = v->seed;
	m->n_slots = 16;
	while (m->n_slots < n + n / 2)
		m->n_slots *= 2;
	m->slots = hth_alloc_array(m->n_slots, sizeof *m->slots);
	if (m->slots == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu merges", n);
	for (size_t i = 0; i < m->n_slots; i++)
		m->slots[i].left = -1;
	HTH_CLEANUP(hth_buf_finish) hth_buf both = HTH_BUF_INIT(2 * VOCAB_MAX_PIECE);
	for (size_t i = 0; i < n; i++) {
		hth_view line = hth_gguf_array_string(list, i);
		/* The first half may itself begin with a space. */
		const char *space = line.len > 1 ? memchr(line.data + 1, ' ', line.len - 1) : NULL;
		if (space == NULL || space == line.data + line.len - 1 || line.len > VOCAB_MAX_PIECE)
			return hth_fail(err, HTH_BAD_FORMAT,
			                "tokenizer.ggml.merges[%zu] is not two tokens with a space between", i);
		hth_view a = {line.data, (size_t)(space - line.data)}, b = {space + 1, line.len - a.len - 1};
		hth_buf_clear(&both);
		if (!merge_half(v, a, &both))
			continue;
		size_t middle = both.len;
		if (!merge_half(v, b, &both))
			continue;
		int32_t left = hth_vocab_intern(v, both.data, middle);
		int32_t right = hth_vocab_intern(v, both.data + middle, both.len - middle);
		int32_t joined = hth_vocab_intern(v, both.data, both.len);
		if (left < 0 || right < 0 || joined < 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu merges", n);
		/* A merge cannot make a special token out of words. */
		if (!hth_vocab_may_match(v, left) || !hth_vocab_may_match(v, right) || !hth_vocab_may_match(v, joined))
			continue;
		struct hth_merge_slot *slot = merge_slot(m, left, right);
		if (slot->left < 0) {
			*slot = (struct hth_merge_slot){left, right, (uint32_t)i, joined};
			m->n++;
			hth_vocab_note_match(v, hth_vocab_bytes(v, joined));
		}
	}
	return HTH_OK;
}

void hth_merges_finish(hth_merges *m)
{
	free(m->slots);
}

void hth_merger_finish(hth_merger *m)
{
	free(m->symbols);
	free(m->heap);
	m->symbols = NULL;
	m->heap = NULL;
}

hth_status hth_tokens_add(hth_tokens *tokens, int32_t id, hth_error *err)
{
	if (hth_tokens_push(tokens, id))
		return HTH_OK;
	if (tokens->len >= tokens->max)
		return hth_fail(err, HTH_TOO_LARGE, "the text is over %zu tokens", tokens->max);
	return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu tokens", tokens->len + 1);
}

/* The same order as the scores', the highest first, as an unsigned number. */
static uint32_t score_priority(float score)
{
	uint32_t bits;
	memcpy(&bits, &score, sizeof bits);
	return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

/* Whether two neighbours join; then what they become and how soon. */
static bool joins(const hth_merger *m, const char *text, const hth_merge_symbol *a, const hth_merge_symbol *b,
                  int32_t *ret_id, uint32_t *ret_priority)
{
	if (m->merges != NULL) {
		if (a->id < 0 || b->id < 0)
			return false;
		const struct hth_merge_slot *slot = merge_slot(m->merges, a->id, b->id);
		if (slot->left < 0)
			return false;
		*ret_id = slot->joined;
		*ret_priority = slot->rank;
		return true;
	}
	if (a->len + b->len > m->vocab->max_bytes)
		return false;
	int32_t id = hth_vocab_find(m->vocab, text + a->begin, a->len + b->len);
	if (!hth_vocab_may_match(m->vocab, id))
		return false;
	*ret_id = id;
	*ret_priority = m->vocab->score ? score_priority(m->vocab->score[id]) : 0;
	return true;
}

static hth_status emit(const hth_merger *m, const char *text, const hth_merge_symbol *s, hth_tokens *tokens,
                       hth_error *err)
{
	const hth_vocab *v = m->vocab;
	if (s->id >= 0 && (size_t)s->id < v->n)
		return hth_tokens_add(tokens, s->id, err);
	/* No token spells it: byte by byte. Where ▁ is the space, its bytes are ▁'s. */
	for (uint32_t i = 0; i < s->len; i++) {
		const char *byte = text + s->begin + i;
		size_t n = 1;
		if (v->kind != VOCAB_BYTES && *byte == ' ') {
			byte = "\xE2\x96\x81";
			n = 3;
		}
		for (size_t k = 0; k < n; k++) {
			int32_t id = v->byte_id[(uint8_t)byte[k]];
			if (id < 0)
				id = m->unknown;
			if (id >= 0)
				HTH_TRY(hth_tokens_add(tokens, id, err));
		}
	}
	return HTH_OK;
}

/* Cuts text into its smallest symbols. Returns how many; room for len of them is there. */
static size_t make_symbols(const hth_merger *m, const char *text, size_t len, hth_merge_symbol *symbols)
{
	const hth_vocab *v = m->vocab;
	size_t n = 0;
	for (size_t i = 0; i < len;) {
		uint32_t cp;
		size_t k = v->kind == VOCAB_BYTES ? 1 : hth_utf8_decode_lossy(text + i, len - i, &cp);
		int32_t id;
		if (v->kind == VOCAB_BYTES) {
			id = v->byte_id[(uint8_t)text[i]];
		} else {
			id = hth_vocab_find(v, text + i, k);
			id = hth_vocab_may_match(v, id) ? id : -1;
		}
		symbols[n] = (hth_merge_symbol){(uint32_t)i, (uint32_t)k, id, (int32_t)n - 1, (int32_t)n + 1};
		n++;
		i += k;
	}
	if (n > 0)
		symbols[n - 1].next = -1;
	return n;
}

static void scan_pair(const hth_merger *m, const char *text, const hth_merge_symbol *s, uint32_t *order, int32_t *id)
{
	uint32_t priority;
	*order = UINT32_MAX;
	/* The very last priority is given up to mean "none": no file has 2^32 merges, no score is that NaN. */
	if (joins(m, text, s, s + 1, id, &priority))
		*order = priority;
}

static hth_status encode_by_scan(hth_merger *m, const char *text, size_t len, hth_tokens *tokens, hth_error *err)
{
	hth_merge_symbol s[SCAN_MAX];
	uint32_t order[SCAN_MAX];
	int32_t id[SCAN_MAX];
	size_t n = make_symbols(m, text, len, s);
	for (size_t i = 0; i + 1 < n; i++)
		scan_pair(m, text, &s[i], &order[i], &id[i]);
	while (n > 1) {
		size_t best = 0;
		for (size_t i = 1; i + 1 < n; i++)
			if (order[i] < order[best])
				best = i;
		if (order[best] == UINT32_MAX)
			break;
		s[best].len += s[best + 1].len;
		s[best].id = id[best];
		n--;
		memmove(&s[best + 1], &s[best + 2], (n - best - 1) * sizeof *s);
		memmove(&order[best], &order[best + 1], (n - best - 1) * sizeof *order);
		memmove(&id[best], &id[best + 1], (n - best - 1) * sizeof *id);
		if (best + 1 < n)
			scan_pair(m, text, &s[best], &order[best], &id[best]);
		if (best > 0)
			scan_pair(m, text, &s[best - 1], &order[best - 1], &id[best - 1]);
	}
	for (size_t i = 0; i < n; i++)
		HTH_TRY(emit(m, text, &s[i], tokens, err));
	return HTH_OK;
}

static void heap_push(hth_merger *m, hth_merge_candidate c)
{
	size_t i = m->heap_len++;
	while (i > 0 && m->heap[(i - 1) / 2].order > c.order) {
		m->heap[i] = m->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	m->heap[i] = c;
}

static hth_merge_candidate heap_pop(hth_merger *m)
{
	hth_merge_candidate top = m->heap[0], c = m->heap[--m->heap_len];
	size_t i = 0, child;
	while ((child = 2 * i + 1) < m->heap_len) {
		if (child + 1 < m->heap_len && m->heap[child + 1].order < m->heap[child].order)
			child++;
		if (m->heap[child].order >= c.order)
			break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = c;
	return top;
}

static void heap_consider(hth_merger *m, const char *text, int32_t left, int32_t right)
{
	int32_t id;
	uint32_t priority;
	if (left < 0 || right < 0)
		return;
	const hth_merge_symbol *a = &m->symbols[left], *b = &m->symbols[right];
	if (joins(m, text, a, b, &id, &priority))
		heap_push(m, (hth_merge_candidate){(uint64_t)priority << 32 | (uint32_t)left, (uint32_t)right,
		                                   a->len + b->len, id});
}

static hth_status encode_by_heap(hth_merger *m, const char *text, size_t len, hth_tokens *tokens, hth_error *err)
{
	if (m->symbol_cap < len) {
		free(m->symbols);
		free(m->heap);
		/* Every merge removes a symbol and adds at most two candidates: 3 n hold them all. */
		m->symbols = hth_alloc_array(len, sizeof *m->symbols);
		m->heap = hth_alloc_array(3 * len, sizeof *m->heap);
		m->symbol_cap = m->symbols && m->heap ? len : 0;
		if (m->symbol_cap == 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory to tokenize %zu bytes", len);
	}
	size_t n = make_symbols(m, text, len, m->symbols);
	m->heap_len = 0;
	for (size_t i = 0; i + 1 < n; i++)
		heap_consider(m, text, (int32_t)i, (int32_t)i + 1);
	while (m->heap_len > 0) {
		hth_merge_candidate c = heap_pop(m);
		int32_t at = (int32_t)(uint32_t)c.order;
		hth_merge_symbol *a = &m->symbols[at], *b = &m->symbols[c.right];
		/* Outdated: one of the two has since joined another. */
		if (a->len == 0 || b->len == 0 || a->next != (int32_t)c.right || a->len + b->len != c.len)
			continue;
		a->len = c.len;
		a->id = c.id;
		a->next = b->next;
		b->len = 0;
		if (b->next >= 0)
			m->symbols[b->next].prev = at;
		heap_consider(m, text, a->prev, at);
		heap_consider(m, text, at, a->next);
	}
	for (int32_t i = n ? 0 : -1; i >= 0; i = m->symbols[i].next)
		HTH_TRY(emit(m, text, &m->symbols[i], tokens, err));
	return HTH_OK;
}

/* Where the independent part that begins at text ends. */
static size_t part_end(const hth_merger *m, const char *text, size_t len)
{
	const hth_vocab *v = m->vocab;
	size_t limit = HTH_MIN(len, (size_t)MERGE_MAX_RUN);
	for (size_t i = 1; i < limit; i++)
		if (!v->adjacent[(uint8_t)text[i - 1]][(uint8_t)text[i]] &&
		    (v->kind == VOCAB_BYTES || ((uint8_t)text[i] & 0xC0) != 0x80))
			return i;
	/* A cut in the middle of a run must not part a character. */
	while (limit < len && limit > MERGE_MAX_RUN - 4 && ((uint8_t)text[limit] & 0xC0) == 0x80)
		limit--;
	return limit;
}

hth_status hth_merger_encode(hth_merger *m, const char *text, size_t len, hth_tokens *tokens, hth_error *err)
{
	while (len > 0) {
		size_t end = part_end(m, text, len);
		if (end <= SCAN_MAX)
			HTH_TRY(encode_by_scan(m, text, end, tokens, err));
		else
			HTH_TRY(encode_by_heap(m, text, end, tokens, err));
		text += end;
		len -= end;
	}
	return HTH_OK;
}
