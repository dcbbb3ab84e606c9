/* states.c - see states.h. The closure follows empty edges, calls, ends and loops from the places that a byte leads to
 * until only places remain where a byte is wanted. It needs no recursion: places wait in a list, and one already in it
 * is not added again, which also ends every cycle. Rules that may be empty are stepped over, so a rule that was entered
 * since the last byte never ends before the next one. */
#include "engine/grammar/states.h"

#include "base/mem.h"

static uint32_t mix(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ 0x9E3779B97F4A7C15u) * 0xFF51AFD7ED558CCDu ^ b;
	h ^= h >> 32;
	h *= 0xC4CEB9FE1A85EC53u;
	return (uint32_t)(h >> 29);
}

static bool grow(void *array, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return true;
	size_t new_cap = HTH_MAX(need, *cap ? *cap * 2 : 64);
	void *old;
	memcpy(&old, array, sizeof old);
	void *p = realloc(old, new_cap * size);
	if (p == NULL)
		return false;
	memcpy(array, &p, sizeof p);
	*cap = new_cap;
	return true;
}

static uint32_t hash_frame(const hth_frame *f)
{
	return mix((uint64_t)f->node << 32 | f->count, f->parent);
}

static bool grow_frame_slots(hth_frame_set *s)
{
	size_t n = s->n_frame_slots ? s->n_frame_slots * 2 : 1024;
	uint32_t *slots = hth_alloc_array(n, sizeof *slots);
	if (slots == NULL)
		return false;
	for (size_t f = 1; f < s->n_frames; f++) {
		size_t i = hash_frame(&s->frames[f]) & (n - 1);
		while (slots[i] != 0)
			i = (i + 1) & (n - 1);
		slots[i] = (uint32_t)f;
	}
	free(s->frame_slots);
	s->frame_slots = slots;
	s->n_frame_slots = n;
	return true;
}

/* 0 when there is no memory. */
static uint32_t intern_frame(hth_frame_set *s, uint32_t node, uint32_t count, uint32_t parent)
{
	hth_frame f = {.node = node, .count = count, .parent = parent};
	if (s->n_frames * 2 >= s->n_frame_slots && !grow_frame_slots(s))
		return 0;
	size_t i = hash_frame(&f) & (s->n_frame_slots - 1);
	for (; s->frame_slots[i] != 0; i = (i + 1) & (s->n_frame_slots - 1)) {
		const hth_frame *g = &s->frames[s->frame_slots[i]];
		if (g->node == node && g->count == count && g->parent == parent)
			return s->frame_slots[i];
	}
	if (s->n_frames == 0)
		s->n_frames = 1;
	if (!grow(&s->frames, &s->frame_cap, s->n_frames + 1, sizeof *s->frames))
		return 0;
	f.depth = parent ? s->frames[parent].depth + 1 : 0;
	f.distance = HTH_MIN(hth_network_distance(s->net, node, count) + (parent ? s->frames[parent].distance : 0), (uint32_t)FAR);
	s->frames[s->n_frames] = f;
	s->frame_slots[i] = (uint32_t)s->n_frames;
	return (uint32_t)s->n_frames++;
}

static uint32_t hash_set(const uint32_t *frames, size_t n, bool may_end)
{
	uint64_t h = may_end;
	for (size_t i = 0; i < n; i++)
		h = mix(h, frames[i]);
	return mix(h, n);
}

static bool grow_state_slots(hth_frame_set *s)
{
	size_t n = s->n_state_slots ? s->n_state_slots * 2 : 256;
	uint32_t *slots = hth_alloc_array(n, sizeof *slots);
	if (slots == NULL)
		return false;
	for (size_t k = 1; k < s->n_states; k++) {
		size_t i = hash_set(s->pool + s->states[k].first, s->states[k].n, s->states[k].may_end) & (n - 1);
		while (slots[i] != 0)
			i = (i + 1) & (n - 1);
		slots[i] = (uint32_t)k;
	}
	free(s->state_slots);
	s->state_slots = slots;
	s->n_state_slots = n;
	return true;
}

/* The state of a sorted set; DEAD for the empty one that may not end, or without memory. */
static uint32_t intern_state(hth_frame_set *s, const uint32_t *frames, size_t n, bool may_end)
{
	if (n == 0 && !may_end)
		return DEAD;
	if (s->n_states * 2 >= s->n_state_slots && !grow_state_slots(s))
		return DEAD;
	size_t i = hash_set(frames, n, may_end) & (s->n_state_slots - 1);
	for (; s->state_slots[i] != 0; i = (i + 1) & (s->n_state_slots - 1)) {
		const hth_state *g = &s->states[s->state_slots[i]];
		if (g->n == n && g->may_end == may_end &&
		    (n == 0 || memcmp(s->pool + g->first, frames, n * sizeof *frames) == 0))
			return s->state_slots[i];
	}
	if (s->n_states == 0)
		s->n_states = 1;
	if (!grow(&s->states, &s->state_cap, s->n_states + 1, sizeof *s->states) ||
	    !grow(&s->pool, &s->pool_cap, s->n_pool + n, sizeof *s->pool))
		return DEAD;
	uint32_t distance = may_end ? 0 : FAR;
	for (size_t k = 0; k < n; k++)
		distance = HTH_MIN(distance, s->frames[frames[k]].distance);
	s->states[s->n_states] =
	    (hth_state){.first = (uint32_t)s->n_pool, .n = (uint32_t)n, .may_end = may_end, .distance = distance};
	if (n > 0)
		memcpy(s->pool + s->n_pool, frames, n * sizeof *frames);
	s->n_pool += n;
	s->state_slots[i] = (uint32_t)s->n_states;
	return (uint32_t)s->n_states++;
}

static void free_set(hth_frame_set *s)
{
	for (size_t i = 1; i < s->n_states; i++) {
		free(s->states[i].next);
		free(s->states[i].mask);
	}
	free(s->frames);
	free(s->frame_slots);
	free(s->states);
	free(s->state_slots);
	free(s->pool);
	*s = (hth_frame_set){0};
}

static void visit(hth_grammar *g, uint32_t node, uint32_t count, uint32_t parent, uint32_t calls, bool looped)
{
	struct hth_visit v = {node, count, parent, calls, looped};
	size_t i = mix((uint64_t)node << 32 | count, (uint64_t)parent << 2 | (uint64_t)looped << 1 | (calls > 0)) %
	           VISIT_SLOTS;
	for (; g->visit_stamps[i] == g->visit_stamp; i = (i + 1) % VISIT_SLOTS) {
		const struct hth_visit *w = &g->visits[g->visit_slots[i]];
		if (w->node == node && w->count == count && w->parent == parent && w->looped == looped &&
		    !w->calls == !calls)
			return;
	}
	if (g->n_visits >= VISITS_MAX || !grow(&g->visits, &g->visit_cap, g->n_visits + 1, sizeof *g->visits)) {
		g->failed = true;
		return;
	}
	g->visit_stamps[i] = g->visit_stamp;
	g->visit_slots[i] = (uint32_t)g->n_visits;
	g->visits[g->n_visits++] = v;
}

/* The rule of this place ends: whoever waits for it goes on. */
static void leave(hth_grammar *g, struct hth_visit v)
{
	if (v.parent == 0) {
		g->found_end = true;
		return;
	}
	hth_frame f = g->set.frames[v.parent];
	visit(g, f.node, f.count, f.parent, 0, false);
}

static void enter(hth_grammar *g, struct hth_visit v, const hth_net_edge *e)
{
	const hth_net_rule *rule = &g->net.rules[e->rule];
	uint32_t parent = v.parent;
	if (rule->nullable)
		visit(g, e->to, v.count, v.parent, v.calls, v.looped);
	if (!g->net.nodes[e->to].tail) {
		parent = intern_frame(&g->set, e->to, v.count, v.parent);
		if (parent == 0) {
			g->failed = true;
			return;
		}
		if (g->set.frames[parent].depth > HTH_GRAMMAR_DEPTH_MAX)
			return;
	}
	visit(g, rule->start, 0, parent, v.calls + 1, false);
}

static void follow(hth_grammar *g, struct hth_visit v)
{
	const hth_net_node *node = &g->net.nodes[v.node];
	bool wants_byte = false, may_go_on = node->max == 0 || v.count < node->max;
	/* A rule entered since the last byte is not left before the next: that it may be empty was seen where it was
	 * called. */
	if (v.calls == 0 && (node->final || (node->max > 0 && v.count >= node->min)))
		leave(g, v);
	if (node->max > 0)
		v.looped = true;
	for (uint32_t i = 0; i < node->n_edges && may_go_on; i++) {
		const hth_net_edge *e = &g->net.edges[node->first + i];
		switch (e->kind) {
		case EDGE_BYTES:
			wants_byte = true;
			break;
		case EDGE_EMPTY:
			visit(g, e->to, v.count, v.parent, v.calls, v.looped);
			break;
		case EDGE_CALL:
			enter(g, v, e);
			break;
		case EDGE_LOOP: {
			const hth_net_node *head = &g->net.nodes[e->to];
			uint32_t most = head->max == REPEAT_FOREVER ? head->min : head->max;
			/* A repetition without a byte repeats nothing. */
			if (!v.looped)
				visit(g, e->to, HTH_MIN(v.count + 1, most), v.parent, v.calls, false);
			break;
		}
		}
	}
	if (!wants_byte)
		return;
	uint32_t frame = intern_frame(&g->set, v.node, v.count, v.parent);
	if (frame == 0 || !grow(&g->found, &g->found_cap, g->n_found + 1, sizeof *g->found))
		g->failed = true;
	else
		g->found[g->n_found++] = frame;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x, y;
	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

static void closure_begin(hth_grammar *g)
{
	g->n_visits = g->n_found = g->done = 0;
	g->found_end = g->failed = false;
	if (++g->visit_stamp == 0) {
		memset(g->visit_stamps, 0, VISIT_SLOTS * sizeof *g->visit_stamps);
		g->visit_stamp = 1;
	}
}

static size_t bytes_used(const hth_frame_set *s)
{
	return s->bytes + s->n_frames * (sizeof *s->frames + 8) + s->n_states * (sizeof *s->states + 8) + s->n_pool * 4;
}

/* Which bytes a new state wants. */
static void find_live(hth_grammar *g, uint32_t state)
{
	hth_state *s = &g->set.states[state];
	for (uint32_t k = 0; k < s->n; k++) {
		const hth_net_node *node = &g->net.nodes[g->set.frames[g->set.pool[s->first + k]].node];
		for (uint32_t i = 0; i < node->n_edges; i++) {
			const hth_net_edge *e = &g->net.edges[node->first + i];
			for (unsigned b = e->lo; e->kind == EDGE_BYTES && b <= e->hi; b++)
				s->live[b >> 6] |= (uint64_t)1 << (b & 63);
		}
	}
}

static uint32_t closure_end(hth_grammar *g)
{
	while (g->done < g->n_visits && !g->failed)
		follow(g, g->visits[g->done++]);
	if (g->n_found > 1)
		qsort(g->found, g->n_found, sizeof *g->found, compare_u32);
	size_t n = 0;
	for (size_t i = 0; i < g->n_found; i++)
		if (n == 0 || g->found[n - 1] != g->found[i])
			g->found[n++] = g->found[i];
	g->work += g->n_visits;
	if (g->failed || n > SET_MAX || bytes_used(&g->set) > BUDGET_MAX || g->work > WORK_MAX) {
		g->failed = true;
		return DEAD;
	}
	size_t known = g->set.n_states;
	uint32_t state = intern_state(&g->set, g->found, n, g->found_end);
	if (state != DEAD && state >= known)
		find_live(g, state);
	return state;
}

/* Remembers a step: the first few beside the state, then in a table of all bytes. */
static void remember(hth_grammar *g, uint32_t state, uint8_t byte, uint32_t to)
{
	hth_state *s = &g->set.states[state];
	if (s->next == NULL && s->n_few < FEW_STEPS) {
		s->few_bytes[s->n_few] = byte;
		s->few_to[s->n_few++] = to;
		return;
	}
	if (s->next == NULL) {
		s->next = malloc(256 * sizeof *s->next);
		if (s->next == NULL)
			return;
		g->set.bytes += 256 * sizeof *s->next;
		memset(s->next, 0xFF, 256 * sizeof *s->next); /* NOT_YET */
		for (unsigned i = 0; i < s->n_few; i++)
			s->next[s->few_bytes[i]] = (int32_t)s->few_to[i];
	}
	s->next[byte] = (int32_t)to;
}

static uint32_t take_step(hth_grammar *g, uint32_t state, uint8_t byte, bool only_literals)
{
	const hth_state *s = &g->set.states[state];
	closure_begin(g);
	for (uint32_t k = 0; k < s->n; k++) {
		hth_frame f = g->set.frames[g->set.pool[s->first + k]];
		const hth_net_node *node = &g->net.nodes[f.node];
		for (uint32_t i = 0; i < node->n_edges; i++) {
			const hth_net_edge *e = &g->net.edges[node->first + i];
			if (e->kind == EDGE_BYTES && byte >= e->lo && byte <= e->hi && (e->literal || !only_literals))
				visit(g, e->to, f.count, f.parent, 0, false);
		}
	}
	uint32_t to = closure_end(g); /* states may have moved */
	if (!g->failed && !only_literals)
		remember(g, state, byte, to);
	return to;
}

uint32_t hth_states_step_literal(hth_grammar *g, uint32_t state, uint8_t byte)
{
	const hth_state *s = &g->set.states[state];
	if (state == DEAD || !(s->live[byte >> 6] >> (byte & 63) & 1))
		return DEAD;
	bool literal = false, other = false;
	for (uint32_t k = 0; k < s->n; k++) {
		const hth_net_node *node = &g->net.nodes[g->set.frames[g->set.pool[s->first + k]].node];
		for (uint32_t i = 0; i < node->n_edges; i++) {
			const hth_net_edge *e = &g->net.edges[node->first + i];
			bool takes = e->kind == EDGE_BYTES && byte >= e->lo && byte <= e->hi;
			literal |= takes && e->literal;
			other |= takes && !e->literal;
		}
	}
	return !literal ? DEAD : other ? take_step(g, state, byte, true) : hth_states_step(g, state, byte);
}

uint32_t hth_states_step(hth_grammar *g, uint32_t state, uint8_t byte)
{
	const hth_state *s = &g->set.states[state];
	if (state == DEAD || !(s->live[byte >> 6] >> (byte & 63) & 1))
		return DEAD;
	if (s->next != NULL) {
		if (s->next[byte] != NOT_YET)
			return (uint32_t)s->next[byte];
	} else {
		for (unsigned i = 0; i < s->n_few; i++)
			if (s->few_bytes[i] == byte)
				return s->few_to[i];
	}
	return take_step(g, state, byte, false);
}

static uint32_t start_state(hth_grammar *g)
{
	g->visit_slots = hth_alloc_array(VISIT_SLOTS, sizeof *g->visit_slots);
	g->visit_stamps = hth_alloc_array(VISIT_SLOTS, sizeof *g->visit_stamps);
	if (g->visit_slots == NULL || g->visit_stamps == NULL)
		return DEAD;
	closure_begin(g);
	/* The sentence counts as called, so that it does not end before its first byte unless it may be empty. */
	visit(g, g->net.root, 0, 0, 1, false);
	g->found_end = g->net.root_nullable;
	return closure_end(g);
}

static uint32_t copy_frame(hth_frame_set *to, const hth_frame_set *from, uint32_t frame)
{
	uint32_t chain[HTH_GRAMMAR_DEPTH_MAX + 3], copy = 0;
	size_t n = 0;
	for (; frame != 0; frame = from->frames[frame].parent)
		chain[n++] = frame;
	while (n > 0) {
		const hth_frame *f = &from->frames[chain[--n]];
		copy = intern_frame(to, f->node, f->count, copy);
		if (copy == 0)
			return 0;
	}
	return copy;
}

static uint32_t copy_state(hth_grammar *g, hth_frame_set *to, const hth_frame_set *from, uint32_t state)
{
	const hth_state *s = &from->states[state];
	size_t known = to->n_states;
	if (state == DEAD || !grow(&g->found, &g->found_cap, s->n, sizeof *g->found))
		return DEAD;
	for (uint32_t i = 0; i < s->n; i++)
		if ((g->found[i] = copy_frame(to, from, from->pool[s->first + i])) == 0)
			return DEAD;
	if (s->n > 1)
		qsort(g->found, s->n, sizeof *g->found, compare_u32);
	uint32_t copy = intern_state(to, g->found, s->n, s->may_end);
	if (copy != DEAD && copy >= known)
		memcpy(to->states[copy].live, s->live, sizeof s->live);
	return copy;
}

void hth_states_settle(hth_grammar *g)
{
	g->work = 0;
	if (bytes_used(&g->set) <= BUDGET)
		return;
	hth_frame_set old = g->set;
	g->set = (hth_frame_set){.net = &g->net};
	g->start = copy_state(g, &g->set, &old, g->start);
	for (hth_grammar_matcher *m = g->matchers; m != NULL; m = m->next)
		m->state = copy_state(g, &g->set, &old, m->state);
	free_set(&old);
}

hth_status hth_grammar_compile(hth_grammar **ret_grammar, hth_grammar_vocab *vocab, const char *gbnf, size_t len,
                               hth_error *err)
{
	if (len > HTH_GRAMMAR_TEXT_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the grammar has %zu bytes, at most %d are allowed", len,
		                HTH_GRAMMAR_TEXT_MAX);
	hth_grammar *g = calloc(1, sizeof *g);
	char *text = malloc(len + 1);
	if (g == NULL || text == NULL) {
		free(g);
		free(text);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar");
	}
	memcpy(text, gbnf, len);
	text[len] = '\0';
	g->text = text;
	g->vocab = vocab;
	g->set.net = &g->net;
	hth_status status = hth_gbnf_parse(&g->net, text, len, err);
	if (status == HTH_OK && (g->start = start_state(g)) == DEAD)
		status = g->visit_stamps == NULL ? hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar")
		         : g->failed ? hth_fail(err, HTH_TOO_LARGE, "the grammar has over %d ways to begin", SET_MAX)
		                     : hth_fail(err, HTH_INVALID, "no text at all follows this grammar");
	if (status != HTH_OK)
		hth_grammar_destroy(g);
	else
		*ret_grammar = g;
	return status;
}

void hth_grammar_destroy(hth_grammar *g)
{
	if (g == NULL)
		return;
	hth_network_finish(&g->net);
	free_set(&g->set);
	free(g->visits);
	free(g->visit_slots);
	free(g->visit_stamps);
	free(g->found);
	if (g->text != NULL)
		explicit_bzero(g->text, strlen(g->text));
	free(g->text);
	free(g->trigger);
	free(g->trigger_mask);
	free(g);
}

size_t hth_grammar_bytes(const hth_grammar *g)
{
	const hth_network *net = &g->net;
	size_t words = g->vocab != NULL && g->trigger_mask != NULL ? g->vocab->n_words : 0;
	return sizeof *g + strlen(g->text) + net->n_nodes * sizeof *net->nodes + net->n_edges * sizeof *net->edges +
	       net->n_rules * sizeof *net->rules + net->n_ranges * sizeof *net->ranges + net->n_rule_slots * 4 +
	       g->visit_cap * sizeof *g->visits + (size_t)2 * VISIT_SLOTS * 4 + words * 4 + bytes_used(&g->set);
}

void hth_grammar_use_special(hth_grammar *g) { g->use_special = true; }
