/* network.c - builds and checks the graph. Characters become edges over UTF-8 bytes here, so that running knows only
 * bytes and a token may end in the middle of a character. */
#include "engine/grammar/network.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "engine/grammar/grammar.h"

enum { EDGES_MAX = 4 * HTH_GRAMMAR_NODES_MAX, RANGES_MAX = 1 << 20 };

void hth_network_finish(hth_network *net)
{
	free(net->nodes);
	free(net->edges);
	free(net->rules);
	free(net->ranges);
	free(net->classes);
	free(net->links);
	free(net->last);
	free(net->rule_slots);
	free(net->distance);
	free(net->counter);
	*net = (hth_network){0};
}

/* Room for one more element. *array is a pointer to whatever; max is its limit. */
static hth_status grow(void *array, size_t *cap, size_t n, size_t size, size_t max, const char *what, hth_error *err)
{
	if (n < *cap)
		return HTH_OK;
	if (n >= max)
		return hth_fail(err, HTH_TOO_LARGE, "the grammar has over %zu %s", max, what);
	size_t new_cap = HTH_MIN(max, *cap ? *cap * 2 : 64);
	void *old;
	memcpy(&old, array, sizeof old);
	void *p = realloc(old, new_cap * size);
	if (p == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar of %zu %s", n, what);
	memcpy(array, &p, sizeof p);
	*cap = new_cap;
	return HTH_OK;
}

hth_status hth_network_add_node(hth_network *net, uint32_t *ret_node, hth_error *err)
{
	size_t cap = net->node_cap;
	HTH_TRY(grow(&net->nodes, &cap, net->n_nodes, sizeof *net->nodes, HTH_GRAMMAR_NODES_MAX, "states", err));
	HTH_TRY(
	    grow(&net->last, &net->node_cap, net->n_nodes, sizeof *net->last, HTH_GRAMMAR_NODES_MAX, "states", err));
	net->nodes[net->n_nodes] = (hth_net_node){.cls = -1};
	net->last[net->n_nodes] = 0;
	*ret_node = (uint32_t)net->n_nodes++;
	return HTH_OK;
}

hth_status hth_network_add_edge(hth_network *net, uint32_t from, hth_net_edge edge, hth_error *err)
{
	HTH_TRY(grow(&net->links, &net->link_cap, net->n_links, sizeof *net->links, EDGES_MAX, "transitions", err));
	net->links[net->n_links] = (struct hth_net_link){edge, net->last[from]};
	net->last[from] = (uint32_t)++net->n_links;
	net->nodes[from].n_edges++;
	return HTH_OK;
}

static uint64_t hash_name(const char *s, size_t len)
{
	uint64_t h = 0xCBF29CE484222325u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)s[i]) * 0x100000001B3u;
	return h ^ h >> 31;
}

static hth_status grow_rule_slots(hth_network *net, hth_error *err)
{
	size_t n = net->n_rule_slots ? net->n_rule_slots * 2 : 256;
	uint32_t *slots = hth_alloc_array(n, sizeof *slots);
	if (slots == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar of %zu rules", net->n_rules);
	for (size_t r = 0; r < net->n_rules; r++) {
		if (net->rules[r].name == NULL)
			continue;
		size_t i = hash_name(net->rules[r].name, net->rules[r].name_len) & (n - 1);
		while (slots[i] != 0)
			i = (i + 1) & (n - 1);
		slots[i] = (uint32_t)r + 1;
	}
	free(net->rule_slots);
	net->rule_slots = slots;
	net->n_rule_slots = n;
	return HTH_OK;
}

hth_status hth_network_rule(hth_network *net, const char *name, size_t len, uint32_t line, uint32_t *ret_rule,
                            hth_error *err)
{
	if (net->n_rules * 2 >= net->n_rule_slots)
		HTH_TRY(grow_rule_slots(net, err));
	size_t i = 0;
	if (name != NULL) {
		i = hash_name(name, len) & (net->n_rule_slots - 1);
		for (; net->rule_slots[i] != 0; i = (i + 1) & (net->n_rule_slots - 1)) {
			const hth_net_rule *r = &net->rules[net->rule_slots[i] - 1];
			if (r->name_len == len && memcmp(r->name, name, len) == 0) {
				*ret_rule = net->rule_slots[i] - 1;
				return HTH_OK;
			}
		}
	}
	HTH_TRY(
	    grow(&net->rules, &net->rule_cap, net->n_rules, sizeof *net->rules, HTH_GRAMMAR_NODES_MAX, "rules", err));
	uint32_t start;
	HTH_TRY(hth_network_add_node(net, &start, err));
	net->rules[net->n_rules] = (hth_net_rule){.name = name, .name_len = len, .start = start, .line = line};
	if (name != NULL)
		net->rule_slots[i] = (uint32_t)net->n_rules + 1;
	*ret_rule = (uint32_t)net->n_rules++;
	return HTH_OK;
}

static int compare_ranges(const void *a, const void *b)
{
	const hth_net_range *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

/* Appends to net->ranges what [first, last] holds without surrogates. */
static hth_status add_range(hth_network *net, uint32_t first, uint32_t last, hth_error *err)
{
	if (first < 0xD800 && last > 0xDFFF)
		HTH_TRY(add_range(net, first, 0xD7FF, err));
	if (first < 0xE000 && last >= 0xD800) {
		if (first < 0xD800 && last <= 0xDFFF)
			last = 0xD7FF;
		else
			first = 0xE000;
	}
	if (first > last)
		return HTH_OK;
	HTH_TRY(grow(&net->ranges, &net->range_cap, net->n_ranges, sizeof *net->ranges, RANGES_MAX, "character ranges",
	             err));
	net->ranges[net->n_ranges++] = (hth_net_range){first, last};
	return HTH_OK;
}

static hth_status normalise(hth_network *net, hth_net_range *r, size_t n, bool negated, hth_error *err)
{
	if (n > 1)
		qsort(r, n, sizeof *r, compare_ranges);
	size_t m = 0;
	for (size_t i = 0; i < n; i++) {
		if (m > 0 && r[i].first <= r[m - 1].last + 1)
			r[m - 1].last = HTH_MAX(r[m - 1].last, r[i].last);
		else
			r[m++] = r[i];
	}
	if (!negated) {
		for (size_t i = 0; i < m; i++)
			HTH_TRY(add_range(net, r[i].first, r[i].last, err));
		return HTH_OK;
	}
	uint32_t next = 0;
	for (size_t i = 0; i < m; i++) {
		if (r[i].first > next)
			HTH_TRY(add_range(net, next, r[i].first - 1, err));
		next = r[i].last + 1;
	}
	return next <= 0x10FFFF ? add_range(net, next, 0x10FFFF, err) : HTH_OK;
}

/* The id of the class whose ranges stand at the end of net->ranges from `first`; they are dropped if it was known. */
static hth_status find_class(hth_network *net, size_t first, int32_t *ret_id, hth_error *err)
{
	size_t n = net->n_ranges - first;
	const hth_net_range *r = net->ranges + first;
	uint64_t h = hash_name((const char *)r, n * sizeof *r);
	for (size_t i = 0; i < net->n_classes; i++) {
		const hth_net_class *c = &net->classes[i];
		if (c->hash == h && c->n == n && n > 0 && memcmp(net->ranges + c->first, r, n * sizeof *r) == 0) {
			net->n_ranges = first;
			*ret_id = (int32_t)i;
			return HTH_OK;
		}
	}
	HTH_TRY(
	    grow(&net->classes, &net->class_cap, net->n_classes, sizeof *net->classes, 4096, "character classes", err));
	uint32_t ascii = 0;
	for (size_t i = 0; i < n && r[i].first < 0x7F; i++)
		ascii += HTH_MIN(r[i].last, 0x7Eu) - HTH_MIN(HTH_MAX(r[i].first, 0x20u), HTH_MIN(r[i].last, 0x7Eu)) + 1;
	net->classes[net->n_classes] = (hth_net_class){(uint32_t)first, (uint32_t)n, h, ascii >= 24};
	*ret_id = (int32_t)net->n_classes++;
	return HTH_OK;
}

/* One class under construction: where its characters lead, and the nodes that one, two or three bytes 80 to BF lead
 * there from. */
struct bytes {
	hth_network *net;
	uint32_t start, end, rest[4];
	hth_error *err;
};

/* The node from which n bytes of any value lead to the end. */
static hth_status rest_of(struct bytes *b, size_t n, uint32_t *ret_node)
{
	if (n == 0) {
		*ret_node = b->end;
		return HTH_OK;
	}
	if (b->rest[n] == UINT32_MAX) {
		uint32_t to, node;
		HTH_TRY(rest_of(b, n - 1, &to));
		HTH_TRY(hth_network_add_node(b->net, &node, b->err));
		HTH_TRY(hth_network_add_edge(b->net, node, (hth_net_edge){EDGE_BYTES, 0x80, 0xBF, false, to, 0}, b->err));
		b->rest[n] = node;
	}
	*ret_node = b->rest[n];
	return HTH_OK;
}

/* Characters first to last, which have the same number of bytes and, but for one byte, full ranges after it. */
static hth_status add_sequence(struct bytes *b, uint32_t first, uint32_t last)
{
	char lo[4], hi[4];
	size_t n = hth_utf8_encode(first, lo);
	hth_utf8_encode(last, hi);
	uint32_t from = b->start;
	for (size_t i = 0; i < n; i++) {
		bool full = true;
		for (size_t k = i + 1; k < n; k++)
			full = full && (uint8_t)lo[k] == 0x80 && (uint8_t)hi[k] == 0xBF;
		uint32_t to;
		if (full)
			HTH_TRY(rest_of(b, n - 1 - i, &to));
		else
			HTH_TRY(hth_network_add_node(b->net, &to, b->err));
		HTH_TRY(hth_network_add_edge(
		    b->net, from, (hth_net_edge){EDGE_BYTES, (uint8_t)lo[i], (uint8_t)hi[i], false, to, 0}, b->err));
		if (full)
			break;
		from = to;
	}
	return HTH_OK;
}

static hth_status add_characters(struct bytes *b, uint32_t first, uint32_t last)
{
	static const uint32_t longest[] = {0x7F, 0x7FF, 0xFFFF};
	for (size_t i = 0; i < 3; i++)
		if (first <= longest[i] && last > longest[i]) {
			HTH_TRY(add_characters(b, first, longest[i]));
			return add_characters(b, longest[i] + 1, last);
		}
	for (uint32_t bits = 6; last > 0x7F && bits <= 18; bits += 6) {
		uint32_t mask = (1u << bits) - 1;
		if ((first & ~mask) == (last & ~mask))
			break;
		if ((first & mask) != 0) {
			HTH_TRY(add_characters(b, first, first | mask));
			return add_characters(b, (first | mask) + 1, last);
		}
		if ((last & mask) != mask) {
			HTH_TRY(add_characters(b, first, (last & ~mask) - 1));
			return add_characters(b, last & ~mask, last);
		}
	}
	return add_sequence(b, first, last);
}

hth_status hth_network_add_class(hth_network *net, hth_net_range *ranges, size_t n, bool negated, uint32_t *ret_start,
                                 uint32_t *ret_end, hth_error *err)
{
	struct bytes b = {.net = net, .rest = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, .err = err};
	size_t first = net->n_ranges;
	int32_t id;
	HTH_TRY(hth_network_add_node(net, &b.start, err));
	HTH_TRY(hth_network_add_node(net, &b.end, err));
	HTH_TRY(normalise(net, ranges, n, negated, err));
	HTH_TRY(find_class(net, first, &id, err));
	net->nodes[b.start].cls = id;
	hth_net_class c = net->classes[id];
	for (size_t i = 0; i < c.n; i++) {
		hth_net_range r = net->ranges[c.first + i];
		HTH_TRY(add_characters(&b, r.first, r.last));
	}
	*ret_start = b.start;
	*ret_end = b.end;
	return HTH_OK;
}

static const char *shown_name(const hth_net_rule *r, char out[64])
{
	size_t n = HTH_MIN(r->name_len, (size_t)60);
	memcpy(out, r->name ? r->name : "?", r->name ? n : 1);
	out[r->name ? n : 1] = '\0';
	return out;
}

/* What a rule reaches from a node without a byte. */
struct reach {
	hth_network *net;
	uint32_t *stack, *seen; /* seen[node] == mark: visited */
	uint32_t mark;
};

/* Visits what `from` reaches without a byte; returns whether the rule's end (*ret_final) or the loop back to `head`
 * (*ret_loop) is among it, and puts the rules called at places so reached into calls (NULL: not wanted). */
static void reach_from(struct reach *w, uint32_t from, bool *ret_final, bool *ret_loop, uint32_t *calls,
                       size_t *ret_n_calls)
{
	hth_network *net = w->net;
	size_t depth = 0, n_calls = 0;
	*ret_final = *ret_loop = false;
	w->mark++;
	w->stack[depth++] = from;
	w->seen[from] = w->mark;
	while (depth > 0) {
		const hth_net_node *node = &net->nodes[w->stack[--depth]];
		*ret_final |= node->final || (node->max > 0 && node->min == 0);
		for (uint32_t i = 0; i < node->n_edges; i++) {
			const hth_net_edge *e = &net->edges[node->first + i];
			if (e->kind == EDGE_LOOP)
				*ret_loop = true;
			if (e->kind == EDGE_CALL && calls != NULL)
				calls[n_calls++] = e->rule;
			bool empty = e->kind == EDGE_EMPTY || (e->kind == EDGE_CALL && net->rules[e->rule].nullable);
			if (empty && w->seen[e->to] != w->mark) {
				w->seen[e->to] = w->mark;
				w->stack[depth++] = e->to;
			}
		}
	}
	if (ret_n_calls != NULL)
		*ret_n_calls = n_calls;
}

/* Which rules may be empty, and for those that repeat: a part that may be empty makes the least count meaningless. */
static hth_status find_nullable(hth_network *net, struct reach *w, uint32_t *queue, hth_error *err)
{
	/* Who calls whom, as lists: for each rule the rules that call it. A node does not know its rule; the rule that
	 * reaches it is found by walking from each start over all edges. */
	HTH_AUTO_FREE uint32_t *owner = hth_alloc_array(net->n_nodes, sizeof *owner);
	HTH_AUTO_FREE uint32_t *first = hth_alloc_array(net->n_rules + 1, sizeof *first);
	HTH_AUTO_FREE uint32_t *callers = hth_alloc_array(net->n_edges, sizeof *callers);
	HTH_AUTO_FREE bool *queued = hth_alloc_array(net->n_rules, sizeof *queued);
	if (owner == NULL || first == NULL || callers == NULL || queued == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to check a grammar of %zu rules", net->n_rules);
	for (size_t r = 0; r < net->n_rules; r++) {
		size_t depth = 0;
		w->stack[depth++] = net->rules[r].start;
		owner[net->rules[r].start] = (uint32_t)r + 1;
		while (depth > 0) {
			const hth_net_node *node = &net->nodes[w->stack[--depth]];
			for (uint32_t i = 0; i < node->n_edges; i++) {
				const hth_net_edge *e = &net->edges[node->first + i];
				if (e->kind == EDGE_CALL)
					first[e->rule + 1]++;
				if (owner[e->to] == 0) {
					owner[e->to] = (uint32_t)r + 1;
					w->stack[depth++] = e->to;
				}
			}
		}
	}
	for (size_t r = 0; r < net->n_rules; r++)
		first[r + 1] += first[r];
	HTH_AUTO_FREE uint32_t *fill = hth_alloc_array(net->n_rules, sizeof *fill);
	if (fill == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to check a grammar of %zu rules", net->n_rules);
	for (size_t n = 0; n < net->n_nodes; n++)
		for (uint32_t i = 0; i < net->nodes[n].n_edges; i++) {
			const hth_net_edge *e = &net->edges[net->nodes[n].first + i];
			if (e->kind == EDGE_CALL && owner[n] != 0)
				callers[first[e->rule] + fill[e->rule]++] = owner[n] - 1;
		}
	size_t head = 0, tail = 0; /* each rule stands in the queue at most once at a time: a ring of n_rules */
	for (size_t r = 0; r < net->n_rules; r++) {
		queue[tail++] = (uint32_t)r;
		queued[r] = true;
	}
	size_t waiting = net->n_rules;
	tail = 0;
	while (waiting > 0) {
		uint32_t r = queue[head];
		head = head + 1 == net->n_rules ? 0 : head + 1;
		waiting--;
		queued[r] = false;
		bool final, loop;
		if (net->rules[r].nullable)
			continue;
		reach_from(w, net->rules[r].start, &final, &loop, NULL, NULL);
		hth_net_node *start = &net->nodes[net->rules[r].start];
		if (start->max > 0 && loop) {
			start->min = 0;
			final = true;
		}
		if (!final)
			continue;
		net->rules[r].nullable = true;
		for (uint32_t i = first[r]; i < first[r + 1]; i++)
			if (!queued[callers[i]]) {
				queued[callers[i]] = true;
				queue[tail] = callers[i];
				tail = tail + 1 == net->n_rules ? 0 : tail + 1;
				waiting++;
			}
	}
	return HTH_OK;
}

/* A rule that reaches itself without a byte would never stop calling. */
static hth_status check_left_recursion(hth_network *net, struct reach *w, uint32_t *path, hth_error *err)
{
	enum { NEW, OPEN, DONE };
	HTH_AUTO_FREE uint8_t *state = hth_alloc_array(net->n_rules, 1);
	HTH_AUTO_FREE uint32_t *first = hth_alloc_array(net->n_rules + 1, sizeof *first);
	HTH_AUTO_FREE uint32_t *calls = hth_alloc_array(net->n_edges, sizeof *calls);
	HTH_AUTO_FREE uint32_t *at = hth_alloc_array(net->n_rules, sizeof *at);
	if (state == NULL || first == NULL || calls == NULL || at == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to check a grammar of %zu rules", net->n_rules);
	for (size_t r = 0; r < net->n_rules; r++) {
		bool final, loop;
		size_t n;
		reach_from(w, net->rules[r].start, &final, &loop, calls + first[r], &n);
		first[r + 1] = first[r] + (uint32_t)n;
	}
	for (size_t r = 0; r < net->n_rules; r++) {
		size_t depth = 0;
		if (state[r] != NEW)
			continue;
		path[depth++] = (uint32_t)r;
		state[r] = OPEN;
		at[r] = first[r];
		while (depth > 0) {
			uint32_t top = path[depth - 1];
			if (at[top] == first[top + 1]) {
				state[top] = DONE;
				depth--;
				continue;
			}
			uint32_t next = calls[at[top]++];
			if (state[next] == OPEN) {
				char name[64];
				while (net->rules[next].name == NULL && depth > 0)
					next = path[--depth];
				return hth_fail(
				    err, HTH_INVALID,
				    "line %u: rule %s may begin with itself; let it begin with something else",
				    net->rules[next].line, shown_name(&net->rules[next], name));
			}
			if (state[next] == NEW) {
				state[next] = OPEN;
				at[next] = first[next];
				path[depth++] = next;
			}
		}
	}
	return HTH_OK;
}

static hth_status lay_out_edges(hth_network *net, hth_error *err)
{
	net->edges = hth_alloc_array(net->n_links, sizeof *net->edges);
	if (net->edges == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu transitions", net->n_links);
	for (size_t n = 0; n < net->n_nodes; n++) {
		net->nodes[n].first = (uint32_t)net->n_edges;
		net->n_edges += net->nodes[n].n_edges;
		uint32_t i = net->nodes[n].first + net->nodes[n].n_edges;
		for (uint32_t link = net->last[n]; link != 0; link = net->links[link - 1].next)
			net->edges[--i] = net->links[link - 1].edge;
	}
	free(net->links);
	free(net->last);
	net->links = NULL;
	net->last = NULL;
	return HTH_OK;
}

/* Who leads where: the edges into each node, and the calls of each rule, as lists of edges. */
struct incoming {
	uint32_t *from; /* by edge: the node it leaves */
	uint32_t *node_first, *node_edges, *rule_first, *rule_edges;
	uint32_t *queue;
	bool *node_good, *rule_good;
	size_t head, tail;
};

/* Counts at [k + 1] become starts of lists; filling a list from its end moves its start down to where it belongs, so
 * that list k is what lies between [k + 1] and [k + 2]. */
static void count_up(uint32_t *first, size_t n)
{
	for (size_t i = 0; i < n; i++)
		first[i + 1] += first[i];
	first[n + 1] = first[n];
}

static void fill_incoming(const hth_network *net, struct incoming *in)
{
	for (size_t n = 0; n < net->n_nodes; n++)
		for (uint32_t i = net->nodes[n].first; i < net->nodes[n].first + net->nodes[n].n_edges; i++) {
			const hth_net_edge *e = &net->edges[i];
			in->from[i] = (uint32_t)n;
			in->node_first[e->to + 1]++;
			if (e->kind == EDGE_CALL)
				in->rule_first[e->rule + 1]++;
		}
	count_up(in->node_first, net->n_nodes);
	count_up(in->rule_first, net->n_rules);
	for (size_t i = net->n_edges; i-- > 0;) {
		const hth_net_edge *e = &net->edges[i];
		in->node_edges[--in->node_first[e->to + 1]] = (uint32_t)i;
		if (e->kind == EDGE_CALL)
			in->rule_edges[--in->rule_first[e->rule + 1]] = (uint32_t)i;
	}
}

static void mark_good(struct incoming *in, uint32_t node)
{
	if (!in->node_good[node]) {
		in->node_good[node] = true;
		in->queue[in->tail++] = node;
	}
}

/* Takes out what can never be finished: a text must not be led where no text goes on. */
static hth_status prune(hth_network *net, hth_error *err)
{
	struct incoming in = {0};
	HTH_AUTO_FREE uint32_t *from = in.from = hth_alloc_array(net->n_edges, sizeof *from);
	HTH_AUTO_FREE uint32_t *node_first = in.node_first = hth_alloc_array(net->n_nodes + 2, sizeof *node_first);
	HTH_AUTO_FREE uint32_t *node_edges = in.node_edges = hth_alloc_array(net->n_edges, sizeof *node_edges);
	HTH_AUTO_FREE uint32_t *rule_first = in.rule_first = hth_alloc_array(net->n_rules + 2, sizeof *rule_first);
	HTH_AUTO_FREE uint32_t *rule_edges = in.rule_edges = hth_alloc_array(net->n_edges, sizeof *rule_edges);
	HTH_AUTO_FREE uint32_t *queue = in.queue = hth_alloc_array(net->n_nodes, sizeof *queue);
	HTH_AUTO_FREE bool *node_good = in.node_good = hth_alloc_array(net->n_nodes, 1);
	HTH_AUTO_FREE bool *rule_good = in.rule_good = hth_alloc_array(net->n_rules, 1);
	HTH_AUTO_FREE uint32_t *rule_of_start = hth_alloc_array(net->n_nodes, sizeof *rule_of_start);
	if (!from || !node_first || !node_edges || !rule_first || !rule_edges || !queue || !node_good || !rule_good ||
	    !rule_of_start)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to check a grammar of %zu states", net->n_nodes);
	fill_incoming(net, &in);
	for (size_t r = 0; r < net->n_rules; r++)
		rule_of_start[net->rules[r].start] = (uint32_t)r + 1;
	for (size_t n = 0; n < net->n_nodes; n++) {
		const hth_net_node *node = &net->nodes[n];
		bool ends = node->final || (node->max > 0 && node->min == 0);
		for (uint32_t i = 0; i < node->n_edges; i++)
			ends |= net->edges[node->first + i].kind == EDGE_LOOP;
		if (ends)
			mark_good(&in, (uint32_t)n);
	}
	while (in.head < in.tail) {
		uint32_t n = queue[in.head++];
		for (uint32_t i = node_first[n + 1]; i < node_first[n + 2]; i++) {
			const hth_net_edge *e = &net->edges[node_edges[i]];
			if (e->kind != EDGE_CALL || rule_good[e->rule])
				mark_good(&in, from[node_edges[i]]);
		}
		if (rule_of_start[n] == 0)
			continue;
		uint32_t r = rule_of_start[n] - 1;
		rule_good[r] = true;
		for (uint32_t i = rule_first[r + 1]; i < rule_first[r + 2]; i++)
			if (node_good[net->edges[rule_edges[i]].to])
				mark_good(&in, from[rule_edges[i]]);
	}
	for (size_t n = 0; n < net->n_nodes; n++) {
		hth_net_node *node = &net->nodes[n];
		uint32_t kept = 0;
		for (uint32_t i = 0; i < node->n_edges; i++) {
			hth_net_edge e = net->edges[node->first + i];
			if (node_good[e.to] && (e.kind != EDGE_CALL || rule_good[e.rule]))
				net->edges[node->first + kept++] = e;
		}
		if (kept < node->n_edges && node->cls >= 0)
			node->cls = -1;
		node->n_edges = kept;
	}
	return HTH_OK;
}

/* The first node after `node` that does anything. */
static uint32_t forward(const hth_network *net, uint32_t node)
{
	for (unsigned steps = 0; steps < 64; steps++) {
		const hth_net_node *n = &net->nodes[node];
		if (n->n_edges != 1 || n->final || n->max > 0 || net->edges[n->first].kind != EDGE_EMPTY)
			break;
		node = net->edges[n->first].to;
	}
	return node;
}

static void shorten(hth_network *net)
{
	for (size_t i = 0; i < net->n_edges; i++)
		if (net->edges[i].kind != EDGE_LOOP)
			net->edges[i].to = forward(net, net->edges[i].to);
	for (size_t i = 0; i < net->n_nodes; i++)
		net->nodes[i].tail = net->nodes[i].final && net->nodes[i].n_edges == 0;
}

hth_status hth_network_close(hth_network *net, hth_error *err)
{
	char name[64];
	uint32_t root = UINT32_MAX;
	for (size_t r = 0; r < net->n_rules; r++) {
		const hth_net_rule *rule = &net->rules[r];
		if (rule->name != NULL && !rule->defined)
			return hth_fail(err, HTH_INVALID, "line %u: rule %s is used but not defined", rule->line,
			                shown_name(rule, name));
		if (rule->name != NULL && rule->name_len == 4 && memcmp(rule->name, "root", 4) == 0)
			root = (uint32_t)r;
	}
	if (root == UINT32_MAX)
		return hth_fail(err, HTH_INVALID, "the grammar has no rule named root");
	HTH_TRY(lay_out_edges(net, err));
	struct reach w = {.net = net};
	HTH_AUTO_FREE uint32_t *stack = w.stack = hth_alloc_array(net->n_nodes, sizeof *stack);
	HTH_AUTO_FREE uint32_t *seen = w.seen = hth_alloc_array(net->n_nodes, sizeof *seen);
	HTH_AUTO_FREE uint32_t *queue = hth_alloc_array(net->n_rules, sizeof *queue);
	if (stack == NULL || seen == NULL || queue == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to check a grammar of %zu states", net->n_nodes);
	HTH_TRY(find_nullable(net, &w, queue, err));
	HTH_TRY(check_left_recursion(net, &w, queue, err));
	HTH_TRY(prune(net, err));
	shorten(net);
	net->root = net->rules[root].start;
	net->root_nullable = net->rules[root].nullable;
	return hth_network_measure(net, err);
}
