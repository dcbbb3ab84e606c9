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
static void first_bytes(const hth_network *net, int32_t cls, bool out[256])
{
	const hth_net_class *c = &net->classes[cls];
	memset(out, 0, 256);
	for (size_t i = 0; i < c->n; i++) {
		char lo[4], hi[4];
		hth_utf8_encode(net->ranges[c->first + i].first, lo);
		hth_utf8_encode(net->ranges[c->first + i].last, hi);
		for (unsigned b = (uint8_t)lo[0]; b <= (uint8_t)hi[0]; b++)
			out[b] = true;
	}
}

static bool in_class(const hth_network *net, int32_t cls, uint32_t cp)
{
	const hth_net_class *c = &net->classes[cls];
	for (size_t i = 0; i < c->n; i++)
		if (cp >= net->ranges[c->first + i].first && cp <= net->ranges[c->first + i].last)
			return true;
	return false;
}

/* The two classes have the same characters past ASCII. */
static bool same_beyond_ascii(const hth_network *net, int32_t a, int32_t b)
{
	const hth_net_class *x = &net->classes[a], *y = &net->classes[b];
	size_t i = 0, k = 0;
	while (i < x->n && net->ranges[x->first + i].last < 0x80)
		i++;
	while (k < y->n && net->ranges[y->first + k].last < 0x80)
		k++;
	if (x->n - i != y->n - k)
		return false;
	for (; i < x->n; i++, k++) {
		hth_net_range p = net->ranges[x->first + i], q = net->ranges[y->first + k];
		if (p.last != q.last || HTH_MAX(p.first, 0x80u) != HTH_MAX(q.first, 0x80u))
			return false;
	}
	return true;
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

enum { EXCEPTIONS_MAX = 16 };

/* A place inside a run of characters of one class. */
struct run {
	int32_t cls;
	uint32_t after[256]; /* the state after so many characters of the class */
	unsigned room;       /* how many may follow; 255: any number */
	bool except[256];    /* bytes of the class with which a token must not begin: they lead elsewhere */
	unsigned n_except;
};

/* A first character may be of a smaller class than those after it ("any key but the declared ones": some letters begin
 * a declared one). Finds both, and what lies between them. False when there is no run here. */
static bool begin_run(hth_grammar *g, uint32_t state, struct run *r)
{
	int32_t cls = wide_class(g, state);
	bool first[256];
	if (cls < 0)
		return false;
	uint32_t next = step_char(g, state, g->net.ranges[g->net.classes[cls].first].first);
	int32_t wider = next == DEAD ? cls : wide_class(g, next);
	*r = (struct run){.cls = cls};
	r->after[0] = state;
	r->after[1] = next;
	first_bytes(&g->net, cls, first);
	if (wider >= 0 && wider != cls && same_beyond_ascii(&g->net, cls, wider)) {
		for (uint32_t c = 0; c < 0x80; c++) {
			bool in = in_class(&g->net, cls, c), in_wider = in_class(&g->net, wider, c);
			r->except[c] = in_wider && !in;
			r->n_except += in_wider && !in;
			if (in && !in_wider)
				r->n_except = EXCEPTIONS_MAX + 1;
		}
		if (r->n_except <= EXCEPTIONS_MAX) {
			r->cls = wider;
		} else {
			memset(r->except, 0, sizeof r->except);
			r->n_except = 0;
		}
	}
	return next != DEAD && class_at(g, state, cls, first) == ALL;
}

/* Follows the run as far as any token goes. False when its characters do not all lead one way. */
static bool follow_run(hth_grammar *g, struct run *r, unsigned longest)
{
	bool first[256];
	uint32_t any = g->net.ranges[g->net.classes[r->cls].first].first;
	first_bytes(&g->net, r->cls, first);
	while (r->except[any & 0x7F] && any < 0x80)
		any++;
	for (r->room = 1; r->room <= longest && r->room < 255; r->room++) {
		uint32_t here = r->after[r->room];
		uniform u = class_at(g, here, r->cls, first);
		if (u == MIXED)
			return false;
		if (u == NOTHING)
			return true;
		uint32_t next = step_char(g, here, any);
		if (next == DEAD)
			return false;
		if (next == here) {
			for (unsigned k = r->room + 1; k < 256; k++)
				r->after[k] = next;
			r->room = 255;
			return true;
		}
		r->after[r->room + 1] = next;
	}
	return true;
}

/* Tokens all of the class, no longer than the run, and not beginning with an exception. */
static void tokens_inside(const hth_grammar_vocab *v, const hth_class_info *info, const struct run *r, uint32_t *mask)
{
	memcpy(mask, info->inside, v->n_words * sizeof *mask);
	for (size_t i = 0; i < info->n_inside; i++) {
		int32_t t = info->by_length[i];
		if (info->length[t] <= r->room)
			break;
		mask[t / 32] &= ~(1u << (t % 32));
	}
	for (uint32_t i = 1; i < v->n_nodes && r->n_except > 0; i = v->nodes[i].end)
		for (uint32_t k = i; r->except[v->nodes[i].byte] && k < v->nodes[i].end; k++)
			for (int32_t t = v->nodes[k].token; t >= 0; t = v->twin[t])
				mask[t / 32] &= ~(1u << (t % 32));
}

/* False when the quick way is not open. */
static bool quick_mask(hth_grammar *g, uint32_t state, uint32_t *mask)
{
	hth_grammar_vocab *v = g->vocab;
	struct run r;
	if (!begin_run(g, state, &r))
		return false;
	const hth_class_info *info = hth_class_info_get(v, &g->net, &g->net.classes[r.cls]);
	if (info == NULL || !follow_run(g, &r, info->longest))
		return false;
	tokens_inside(v, info, &r, mask);
	/* Bytes that leave the class and are wanted somewhere on the way. */
	uint64_t live[4] = {0};
	for (unsigned k = 0; k <= r.room; k++) {
		for (int w = 0; w < 4; w++)
			live[w] |= g->set.states[r.after[k]].live[w];
		if (k > 1 && r.after[k] == r.after[k - 1])
			break;
	}
	for (unsigned b = 0; b < 256; b++)
		for (uint32_t i = info->exits_of[b]; (live[b >> 6] >> (b & 63) & 1) && i < info->exits_of[b + 1]; i++) {
			const struct hth_class_exit *e = &info->exits[i];
			if (e->chars <= r.room && !(e->chars > 0 && r.except[e->first]))
				walk_tree(g, e->node, r.after[e->chars], mask);
		}
	for (uint32_t i = 1; i < v->n_nodes && r.n_except > 0; i = v->nodes[i].end)
		if (r.except[v->nodes[i].byte])
			walk_tree(g, i, state, mask);
	return true;
}

/* Control tokens that literals spell from here on, and end tokens that do so as the last of the sentence. */
static void special_tokens(hth_grammar *g, uint32_t state, uint32_t *mask)
{
	hth_grammar_vocab *v = g->vocab;
	uint32_t *at = v->depth_state;
	size_t known = 0; /* at[0] to at[known] are of the last token's bytes; only the last of them may be DEAD */
	at[0] = state;
	for (size_t i = 0; i < v->n_special; i++) {
		int32_t t = v->special[i];
		hth_view bytes = hth_token_bytes(v, t);
		known = i > 0 ? HTH_MIN(known, hth_token_common(v, v->special[i - 1], t)) : 0;
		for (; known < bytes.len && at[known] != DEAD; known++)
			at[known + 1] = hth_states_step_literal(g, at[known], (uint8_t)bytes.data[known]);
		if (known < bytes.len || at[known] == DEAD)
			continue;
		if (!hth_token_bit(v->ends, t) || g->set.states[at[known]].may_end)
			mask[t / 32] |= 1u << (t % 32);
	}
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
		if (g->work > WORK_MAX) {
			free(mask);
			return NULL;
		}
		if (g->set.states[state].may_end)
			for (size_t i = 0; i < v->n_words; i++)
				mask[i] |= v->ends[i];
		if (g->use_special)
			special_tokens(g, state, mask);
		g->set.states[state].mask = mask;
		g->set.bytes += v->n_words * sizeof *mask;
	}
	for (size_t i = 0; i < v->n_words; i++)
		if (mask[i] != 0)
			return mask;
	return NULL;
}

bool hth_states_mask_without_space(hth_grammar *g, uint32_t state, uint32_t *mask)
{
	hth_grammar_vocab *v = g->vocab;
	const uint32_t *usual = hth_states_mask(g, state);
	if (usual == NULL && g->set.states[state].mask == NULL)
		return false;
	memcpy(mask, g->set.states[state].mask, v->n_words * sizeof *mask);
	for (uint32_t i = 1; i < v->n_nodes; i = v->nodes[i].end) {
		if (v->nodes[i].byte != ' ')
			continue;
		for (uint32_t k = i; k < v->nodes[i].end; k++)
			for (int32_t t = v->nodes[k].token; t >= 0; t = v->twin[t])
				mask[t / 32] &= ~(1u << (t % 32));
		set_token(v, mask, v->nodes[i].token);
		for (uint32_t k = i + 1; k < v->nodes[i].end; k = v->nodes[k].end)
			walk_tree(g, k, state, mask);
	}
	for (size_t i = 0; i < v->n_words; i++)
		if (mask[i] != 0)
			return true;
	return false;
}

/* ---- towards the end ---- */

typedef struct nearer {
	uint32_t *mask;   /* NULL: only the farthest is wanted */
	int32_t farthest; /* -1: none yet */
	uint32_t distance, state;
} nearer;

static void take_nearer(const hth_grammar *g, nearer *n, int32_t token, uint32_t state)
{
	uint32_t distance = g->set.states[state].distance;
	if (n->mask != NULL)
		set_token(g->vocab, n->mask, token);
	if (n->farthest < 0 || distance < n->distance) {
		n->farthest = token;
		n->distance = distance;
		n->state = state;
	}
}

static void walk_nearer(hth_grammar *g, uint32_t from, nearer *n)
{
	hth_grammar_vocab *v = g->vocab;
	uint32_t *at = v->depth_state;
	at[0] = from;
	for (uint32_t i = 1; i < v->n_nodes;) {
		const hth_token_node *node = &v->nodes[i];
		uint32_t before = at[node->depth - 1], to = hth_states_step(g, before, node->byte);
		if (to == DEAD || g->set.states[to].distance >= g->set.states[before].distance) {
			i = node->end;
			continue;
		}
		at[node->depth] = to;
		if (node->token >= 0)
			take_nearer(g, n, node->token, to);
		i++;
	}
}

static void special_nearer(hth_grammar *g, uint32_t from, nearer *n)
{
	const hth_grammar_vocab *v = g->vocab;
	for (size_t i = 0; i < v->n_special && g->use_special; i++) {
		hth_view bytes = hth_token_bytes(v, v->special[i]);
		uint32_t state = from;
		for (size_t k = 0; k < bytes.len && state != DEAD; k++)
			state = hth_states_step_literal(g, state, (uint8_t)bytes.data[k]);
		bool is_end = hth_token_bit(v->ends, v->special[i]);
		if (state == DEAD || g->set.states[state].distance >= g->set.states[from].distance ||
		    (is_end && !g->set.states[state].may_end))
			continue;
		take_nearer(g, n, v->special[i], state);
	}
}

bool hth_states_mask_nearer(hth_grammar *g, uint32_t state, uint32_t *mask)
{
	const hth_grammar_vocab *v = g->vocab;
	nearer n = {.mask = mask, .farthest = -1};
	memset(mask, 0, v->n_words * sizeof *mask);
	if (g->set.states[state].may_end) {
		memcpy(mask, v->ends, v->n_words * sizeof *mask);
		return true;
	}
	walk_nearer(g, state, &n);
	special_nearer(g, state, &n);
	return n.farthest >= 0;
}

int32_t hth_states_farthest(hth_grammar *g, uint32_t state, uint32_t *ret_state)
{
	nearer n = {.farthest = -1};
	walk_nearer(g, state, &n);
	special_nearer(g, state, &n);
	*ret_state = n.state;
	return n.farthest;
}
