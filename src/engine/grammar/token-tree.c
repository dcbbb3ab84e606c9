/* token-tree.c - see token-tree.h. */
#include "engine/grammar/token-tree.h"

#include "base/mem.h"
#include "base/utf8.h"

struct sorter {
	const char *bytes;
	const uint32_t *at;
};

static int compare_tokens(const void *a, const void *b, void *context)
{
	const struct sorter *s = context;
	int32_t x, y;
	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	size_t m = s->at[x + 1] - s->at[x], n = s->at[y + 1] - s->at[y];
	int c = memcmp(s->bytes + s->at[x], s->bytes + s->at[y], HTH_MIN(m, n));
	return c ? c : m != n ? (m > n) - (m < n) : (x > y) - (x < y);
}

static hth_status read_tokens(hth_grammar_vocab *v, hth_error *err)
{
	hth_buf bytes = HTH_BUF_INIT((size_t)512 << 20);
	bool ok = hth_buf_append_char(&bytes, '\0');
	for (size_t i = 0; i < v->n && ok; i++) {
		v->at[i] = (uint32_t)bytes.len;
		int32_t id = (int32_t)i;
		uint32_t bit = 1u << (i % 32);
		v->all[i / 32] |= bit;
		if (hth_tokenizer_is_end(v->tokenizer, id))
			v->ends[i / 32] |= bit;
		if (hth_tokenizer_is_end(v->tokenizer, id) || hth_tokenizer_is_control(v->tokenizer, id))
			v->special_bits[i / 32] |= bit;
		ok = hth_tokenizer_bytes(v->tokenizer, id, true, &bytes);
	}
	v->at[v->n] = (uint32_t)bytes.len;
	if (!ok) {
		hth_buf_finish(&bytes);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the tokens of a grammar's vocabulary");
	}
	v->bytes = hth_buf_steal(&bytes, NULL);
	return HTH_OK;
}

static size_t length_of(const hth_grammar_vocab *v, int32_t t)
{
	return v->at[t + 1] - v->at[t];
}

size_t hth_token_common(const hth_grammar_vocab *v, int32_t a, int32_t b)
{
	size_t n = HTH_MIN(length_of(v, a), length_of(v, b)), i = 0;
	while (i < n && v->bytes[v->at[a] + i] == v->bytes[v->at[b] + i])
		i++;
	return i;
}

static hth_status build_tree(hth_grammar_vocab *v, const int32_t *order, size_t n, hth_error *err)
{
	size_t n_nodes = 1;
	for (size_t i = 0; i < n; i++)
		n_nodes += length_of(v, order[i]) - (i ? hth_token_common(v, order[i - 1], order[i]) : 0);
	v->nodes = hth_alloc_array(n_nodes, sizeof *v->nodes);
	if (v->nodes == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar's vocabulary of %zu nodes", n_nodes);
	uint32_t path[TOKEN_DEPTH_MAX + 1]; /* the open nodes, by depth */
	size_t depth = 0, used = 1;
	path[0] = 0;
	v->nodes[0].token = -1;
	for (size_t i = 0; i < n; i++) {
		int32_t t = order[i];
		size_t len = length_of(v, t), common = i ? hth_token_common(v, order[i - 1], t) : 0;
		if (i > 0 && common == len && length_of(v, order[i - 1]) == len) {
			v->twin[t] = v->nodes[used - 1].token;
			v->nodes[used - 1].token = t;
			continue;
		}
		for (; depth > common; depth--)
			v->nodes[path[depth]].end = (uint32_t)used;
		for (; depth < len; depth++) {
			v->nodes[used] =
			    (hth_token_node){0, -1, (uint16_t)(depth + 1), (uint8_t)v->bytes[v->at[t] + depth]};
			path[depth + 1] = (uint32_t)used++;
		}
		v->nodes[used - 1].token = t;
	}
	for (; depth > 0; depth--)
		v->nodes[path[depth]].end = (uint32_t)used;
	v->nodes[0].end = (uint32_t)used;
	v->n_nodes = used;
	return HTH_OK;
}

/* A text's beginning, an unknown word and padding are no part of any answer, whatever a literal says. */
static hth_status list_special(hth_grammar_vocab *v, hth_error *err)
{
	const hth_special_ids *ids = hth_tokenizer_special(v->tokenizer);
	size_t n = 0;
	for (size_t i = 0; i < v->n_words; i++)
		n += (size_t)__builtin_popcount(v->special_bits[i]);
	v->special = hth_alloc_array(n, sizeof *v->special);
	if (v->special == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar's vocabulary of %zu tokens", v->n);
	for (int32_t t = 0; (size_t)t < v->n; t++) {
		size_t len = length_of(v, t);
		bool never = !hth_token_bit(v->ends, t) && (t == ids->bos || t == ids->unk || t == ids->pad);
		if (hth_token_bit(v->special_bits, t) && !never && len > 0 && len <= TOKEN_DEPTH_MAX)
			v->special[v->n_special++] = t;
	}
	return HTH_OK;
}

hth_status hth_grammar_vocab_create(hth_grammar_vocab **ret_vocab, const hth_tokenizer *tokenizer, hth_error *err)
{
	hth_grammar_vocab *v = calloc(1, sizeof *v);
	hth_status status = HTH_NO_MEMORY;
	if (v == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar's vocabulary");
	v->tokenizer = tokenizer;
	v->n = hth_tokenizer_vocab_size(tokenizer);
	v->n_words = (v->n + 31) / 32;
	v->at = hth_alloc_array(v->n + 1, sizeof *v->at);
	v->ends = hth_alloc_array(v->n_words, sizeof *v->ends);
	v->all = hth_alloc_array(v->n_words, sizeof *v->all);
	v->special_bits = hth_alloc_array(v->n_words, sizeof *v->special_bits);
	v->twin = hth_alloc_array(v->n, sizeof *v->twin);
	HTH_AUTO_FREE int32_t *order = hth_alloc_array(v->n, sizeof *order);
	if (v->at == NULL || v->ends == NULL || v->all == NULL || v->special_bits == NULL || v->twin == NULL || order == NULL)
		hth_fail(err, status, "no memory for a grammar's vocabulary of %zu tokens", v->n);
	else
		status = read_tokens(v, err);
	if (status == HTH_OK) {
		size_t n = 0;
		for (size_t i = 0; i < v->n; i++) {
			size_t len = length_of(v, (int32_t)i);
			v->twin[i] = -1;
			if (len > 0 && len <= TOKEN_DEPTH_MAX && !hth_token_bit(v->special_bits, (int32_t)i))
				order[n++] = (int32_t)i;
		}
		struct sorter s = {v->bytes, v->at};
		qsort_r(order, n, sizeof *order, compare_tokens, &s);
		status = build_tree(v, order, n, err);
	}
	if (status == HTH_OK)
		status = list_special(v, err);
	if (status == HTH_OK) {
		struct sorter s = {v->bytes, v->at};
		qsort_r(v->special, v->n_special, sizeof *v->special, compare_tokens, &s);
	}
	if (status != HTH_OK)
		hth_grammar_vocab_destroy(v);
	else
		*ret_vocab = v;
	return status;
}

static void info_destroy(hth_class_info *info)
{
	if (info == NULL)
		return;
	free(info->ranges);
	free(info->inside);
	free(info->by_length);
	free(info->length);
	free(info->exits);
	free(info);
}

void hth_grammar_vocab_destroy(hth_grammar_vocab *v)
{
	if (v == NULL)
		return;
	for (size_t i = 0; i < v->n_classes; i++)
		info_destroy(v->classes[i]);
	free(v->bytes);
	free(v->at);
	free(v->nodes);
	free(v->twin);
	free(v->ends);
	free(v->all);
	free(v->special_bits);
	free(v->special);
	free(v);
}

size_t hth_grammar_mask_words(const hth_grammar_vocab *v)
{
	return v->n_words;
}

static bool in_class(const hth_class_info *info, uint32_t cp)
{
	size_t lo = 0, hi = info->n_ranges;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (cp > info->ranges[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < info->n_ranges && cp >= info->ranges[lo].first;
}

/* Whether some character of the class begins with these 1 to 3 bytes, which are no whole character. */
static bool may_begin(const hth_class_info *info, const uint8_t *bytes, size_t n)
{
	size_t whole = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : 2;
	uint32_t cp = bytes[0] & (0xFFu >> (whole + 1)), span = 0;
	if (bytes[0] < 0xC2 || bytes[0] > 0xF4 || n >= whole)
		return false;
	for (size_t i = 1; i < n; i++) {
		if ((bytes[i] & 0xC0) != 0x80)
			return false;
		cp = cp << 6 | (bytes[i] & 0x3F);
	}
	for (size_t i = n; i < whole; i++) {
		cp <<= 6;
		span = span << 6 | 0x3F;
	}
	/* Overlong forms and what is past the last character are not in any range. */
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t first = HTH_MAX(cp, least[whole]), last = cp + span;
	for (size_t i = 0; i < info->n_ranges; i++)
		if (info->ranges[i].first <= last && info->ranges[i].last >= first)
			return true;
	return false;
}

struct walk {
	uint8_t chars[TOKEN_DEPTH_MAX + 1],
	    begun[TOKEN_DEPTH_MAX + 1]; /* by depth: whole characters, bytes of the next */
	uint8_t pending[TOKEN_DEPTH_MAX + 1][4];
};

static bool add_exit(hth_class_info *info, size_t *cap, uint32_t node, uint8_t chars, uint8_t first)
{
	if (info->n_exits == *cap) {
		*cap = *cap ? *cap * 2 : 1024;
		struct hth_class_exit *more = realloc(info->exits, *cap * sizeof *more);
		if (more == NULL)
			return false;
		info->exits = more;
	}
	info->exits[info->n_exits++] = (struct hth_class_exit){node, chars, first};
	info->longest = HTH_MAX(info->longest, (unsigned)chars);
	return true;
}

static bool walk_class(const hth_grammar_vocab *v, hth_class_info *info)
{
	HTH_AUTO_FREE struct walk *w = hth_alloc_array(1, sizeof *w);
	size_t exit_cap = 0;
	uint8_t first = 0;
	if (w == NULL)
		return false;
	for (uint32_t i = 1; i < v->n_nodes;) {
		const hth_token_node *node = &v->nodes[i];
		size_t d = node->depth;
		first = d == 1 ? node->byte : first;
		uint8_t *pending = w->pending[d], begun = w->begun[d - 1];
		uint32_t cp;
		memcpy(pending, w->pending[d - 1], 4);
		pending[begun] = node->byte;
		begun++;
		size_t n = hth_utf8_decode((const char *)pending, begun, &cp);
		bool whole = n == begun, ok = whole ? in_class(info, cp) : may_begin(info, pending, begun);
		if (!ok || w->chars[d - 1] == 254) {
			if (begun == 1 && !add_exit(info, &exit_cap, i, w->chars[d - 1], first))
				return false;
			i = node->end;
			continue;
		}
		w->chars[d] = (uint8_t)(w->chars[d - 1] + whole);
		w->begun[d] = whole ? 0 : begun;
		for (int32_t t = node->token; t >= 0; t = v->twin[t]) {
			info->inside[t / 32] |= 1u << (t % 32);
			info->length[t] = (uint8_t)(w->chars[d - 1] + 1);
			info->longest = HTH_MAX(info->longest, info->length[t]);
			info->n_inside++;
		}
		i++;
	}
	return true;
}

/* Puts the exits of one byte together, in the order of the tree. */
static bool sort_exits(const hth_grammar_vocab *v, hth_class_info *info)
{
	struct hth_class_exit *sorted = hth_alloc_array(info->n_exits, sizeof *sorted);
	uint32_t fill[256];
	if (sorted == NULL)
		return false;
	for (size_t i = 0; i < info->n_exits; i++)
		info->exits_of[v->nodes[info->exits[i].node].byte + 1]++;
	for (size_t b = 0; b < 256; b++) {
		fill[b] = info->exits_of[b];
		info->exits_of[b + 1] += info->exits_of[b];
	}
	for (size_t i = 0; i < info->n_exits; i++)
		sorted[fill[v->nodes[info->exits[i].node].byte]++] = info->exits[i];
	free(info->exits);
	info->exits = sorted;
	return true;
}

static bool sort_by_length(const hth_grammar_vocab *v, hth_class_info *info)
{
	size_t starts[257] = {0};
	info->by_length = hth_alloc_array(info->n_inside, sizeof *info->by_length);
	if (info->by_length == NULL)
		return false;
	for (size_t t = 0; t < v->n; t++)
		if (info->length[t] > 0)
			starts[256 - info->length[t]]++;
	for (size_t k = 1; k < 257; k++)
		starts[k] += starts[k - 1];
	for (size_t t = v->n; t-- > 0;)
		if (info->length[t] > 0)
			info->by_length[--starts[256 - info->length[t]]] = (int32_t)t;
	return true;
}

const hth_class_info *hth_class_info_get(hth_grammar_vocab *v, const hth_network *net, const hth_net_class *cls)
{
	const hth_net_range *ranges = net->ranges + cls->first;
	for (size_t i = 0; i < v->n_classes; i++) {
		hth_class_info *c = v->classes[i];
		if (c->hash == cls->hash && c->n_ranges == cls->n &&
		    memcmp(c->ranges, ranges, cls->n * sizeof *ranges) == 0) {
			c->last_use = ++v->uses;
			return c;
		}
	}
	hth_class_info *info = calloc(1, sizeof *info);
	bool ok = info != NULL;
	if (ok) {
		info->hash = cls->hash;
		info->n_ranges = cls->n;
		info->ranges = hth_alloc_array(cls->n, sizeof *info->ranges);
		info->inside = hth_alloc_array(v->n_words, sizeof *info->inside);
		info->length = hth_alloc_array(v->n, 1);
		ok = info->ranges != NULL && info->inside != NULL && info->length != NULL;
	}
	if (ok) {
		memcpy(info->ranges, ranges, cls->n * sizeof *ranges);
		ok = walk_class(v, info) && sort_by_length(v, info) && sort_exits(v, info);
	}
	if (!ok) {
		info_destroy(info);
		return NULL;
	}
	size_t at = v->n_classes;
	if (at == CLASSES_MAX) {
		for (size_t i = at = 0; i < CLASSES_MAX; i++)
			at = v->classes[i]->last_use < v->classes[at]->last_use ? i : at;
		info_destroy(v->classes[at]);
	} else {
		v->n_classes++;
	}
	info->last_use = ++v->uses;
	v->classes[at] = info;
	return info;
}
