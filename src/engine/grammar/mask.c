/* mask.c - which tokens may follow a state.
 *
 * The plain way walks the whole token tree beside the automaton. The quick way is for the places where most of the
 * vocabulary may follow, inside a string: there every character of some class leads to the same next state, so of the
 * tokens made of that class only the number of characters matters (is there a length limit?), which was found once for
 * the whole vocabulary; only where a token leaves the class (a quote, a backslash) is it followed byte by byte.
 */
#include "engine/grammar/states.h"

#include "base/mem.h"
#include "base/utf8.h"

static void set_token(const hth_grammar_vocab *v, uint32_t *mask, int32_t token)
{
	for (; token >= 0; token = v->twin[token])
		mask[token / 32] |= 1u << (token % 32);
}

/* All tokens at and below `from`, whose byte leads from `state`. */
static void walk_tree(hth_grammar *g, uint32_t from, uint32_t state, uint32_t *mask)
{
	hth_grammar_vocab *v = g->vocab;
	uint32_t *at = v->depth_state;
	at[v->nodes[from].depth - 1] = state;
	for (uint32_t i = from, end = v->nodes[from].end; i < end;) {
		const hth_token_node *node = &v->nodes[i];
		uint32_t to = hth_states_step(g, at[node->depth - 1], node->byte);
		if (to == DEAD) {
			i = node->end;
			continue;
		}
		at[node->depth] = to;
		set_token(v, mask, node->token);
		i++;
	}
}

static void walk_all(hth_grammar *g, uint32_t state, uint32_t *mask)
{
	const hth_grammar_vocab *v = g->vocab;
	for (uint32_t i = 1; i < v->n_nodes; i = v->nodes[i].end)
		walk_tree(g, i, state, mask);
}

/* Bytes that begin a character of the class. */
static void first_bytes(const hth_class_info *info, bool out[256])
{
	memset(out, 0, 256);
	for (size_t i = 0; i < info->n_ranges; i++) {
		char lo[4], hi[4];
		hth_utf8_encode(info->ranges[i].first, lo);
		hth_utf8_encode(info->ranges[i].last, hi);
		for (unsigned b = (uint8_t)lo[0]; b <= (uint8_t)hi[0]; b++)
			out[b] = true;
	}
}

typedef enum uniform {
	MIXED,   /* some characters of the class lead elsewhere than others */
	ALL,     /* every character of the class leads to the same state */
	NOTHING, /* none of its characters may follow */
} uniform;

/* How the class's characters leave a state: by frames that want exactly this class, or not at all. */
static uniform class_at(const hth_grammar *g, uint32_t state, int32_t cls, const bool first[256])
{
	const hth_state *s = &g->set.states[state];
	uniform found = NOTHING;
	for (uint32_t k = 0; k < s->n; k++) {
		const hth_net_node *node = &g->net.nodes[g->set.frames[g->set.pool[s->first + k]].node];
		if (node->cls == cls) {
			found = ALL;
			continue;
		}
		for (uint32_t i = 0; i < node->n_edges; i++) {
			const hth_net_edge *e = &g->net.edges[node->first + i];
			for (unsigned b = e->lo; e->kind == EDGE_BYTES && b <= e->hi; b++)
				if (first[b])
					return MIXED;
		}
	}
	return found;
}

static uint32_t step_char(hth_grammar *g, uint32_t state, uint32_t cp)
{
	char utf8[4];
	size_t n = hth_utf8_encode(cp, utf8);
	for (size_t i = 0; i < n; i++)
		state = hth_states_step(g, state, (uint8_t)utf8[i]);
	return state;
}

/* The wide class of which every character leads the same way from here; -1: none. */
static int32_t wide_class(const hth_grammar *g, uint32_t state)
{
	const hth_state *s = &g->set.states[state];
	for (uint32_t k = 0; k < s->n; k++) {
		int32_t cls = g->net.nodes[g->set.frames[g->set.pool[s->first + k]].node].cls;
		if (cls >= 0 && g->net.classes[cls].wide)
			return cls;
	}
	return -1;
}

/* False when the quick way is not open. */
static bool quick_mask(hth_grammar *g, uint32_t state, uint32_t *mask)
{
	int32_t cls = wide_class(g, state);
	const hth_class_info *info = cls >= 0 ? hth_class_info_get(g->vocab, &g->net, &g->net.classes[cls]) : NULL;
	if (info == NULL)
		return false;
	bool first[256];
	uint32_t after[256]; /* the state after so many characters of the class */
	unsigned room = 0;   /* how many may follow; more than any token has counts as all */
	first_bytes(info, first);
	after[0] = state;
	for (;;) {
		uniform u = class_at(g, after[room], cls, first);
		if (u == MIXED)
			return false;
		if (u == NOTHING || room >= info->longest)
			break;
		uint32_t next = step_char(g, after[room], info->ranges[0].first);
		if (next == DEAD)
			return false;
		if (next == after[room]) {
			for (unsigned k = room + 1; k < 256; k++)
				after[k] = next;
			room = 255;
			break;
		}
		after[++room] = next;
	}
	memcpy(mask, info->inside, g->vocab->n_words * sizeof *mask);
	for (size_t i = 0; i < info->n_inside; i++) {
		int32_t t = info->by_length[i];
		if (info->length[t] <= room)
			break;
		mask[t / 32] &= ~(1u << (t % 32));
	}
	for (size_t i = 0; i < info->n_exits; i++)
		if (info->exits[i].chars <= room)
			walk_tree(g, info->exits[i].node, after[info->exits[i].chars], mask);
	return true;
}

const uint32_t *hth_states_mask(hth_grammar *g, uint32_t state)
{
	if (state == DEAD)
		return NULL;
	const hth_grammar_vocab *v = g->vocab;
	uint32_t *mask = g->set.states[state].mask;
	if (mask == NULL) {
		mask = hth_alloc_array(v->n_words, sizeof *mask);
		if (mask == NULL)
			return NULL;
		if (!quick_mask(g, state, mask)) {
			memset(mask, 0, v->n_words * sizeof *mask);
			walk_all(g, state, mask);
		}
		if (g->set.states[state].may_end)
			for (size_t i = 0; i < v->n_words; i++)
				mask[i] |= v->ends[i];
		g->set.states[state].mask = mask;
		g->set.bytes += v->n_words * sizeof *mask;
	}
	for (size_t i = 0; i < v->n_words; i++)
		if (mask[i] != 0)
			return mask;
	return NULL;
}
