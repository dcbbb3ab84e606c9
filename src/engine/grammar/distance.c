/* distance.c - how many bytes a sentence still takes at least: from each node of the network to the end of its rule.
 *
 * A rule's own length is the distance of its start, so distances are found by going through all nodes again and again
 * until none becomes shorter. What is found is always a way that exists; where a large grammar needs more rounds than it gets, a
 * distance is only longer than it must be.
 */
#include "engine/grammar/network.h"

#include "base/mem.h"

enum { ROUNDS_MAX = 200, WORK_MAX_EDGES = 100 << 20 };

static uint32_t add(uint32_t a, uint32_t b) { return HTH_MIN(a + b, (uint32_t)FAR); }

/* A repetition so often that its bytes are over FAR is as good as none. */
static uint32_t times(uint32_t n, uint32_t bytes)
{
	return bytes == 0 || n == 0 ? 0 : n >= FAR / bytes ? (uint32_t)FAR : n * bytes;
}

uint32_t hth_network_distance(const hth_network *net, uint32_t node, uint32_t count)
{
	uint32_t head = net->counter[node];
	if (head == NO_COUNTER)
		return net->distance[node];
	uint32_t min = net->nodes[head].min, once = net->distance[head];
	if (node == head)
		return times(min > count ? min - count : 0, once);
	return add(net->distance[node], times(min > count + 1 ? min - count - 1 : 0, once));
}

/* Which nodes lie in the part that a counting rule repeats. */
static void find_counters(hth_network *net, uint32_t *stack)
{
	for (size_t i = 0; i < net->n_nodes; i++)
		net->counter[i] = NO_COUNTER;
	for (size_t r = 0; r < net->n_rules; r++) {
		uint32_t head = net->rules[r].start;
		size_t depth = 0;
		if (net->nodes[head].max == 0)
			continue;
		net->counter[head] = head;
		stack[depth++] = head;
		while (depth > 0) {
			const hth_net_node *node = &net->nodes[stack[--depth]];
			for (uint32_t i = 0; i < node->n_edges; i++) {
				uint32_t to = net->edges[node->first + i].to;
				if (net->counter[to] != NO_COUNTER)
					continue;
				net->counter[to] = head;
				stack[depth++] = to;
			}
		}
	}
}

static uint32_t over_edge(const hth_network *net, const hth_net_edge *e)
{
	switch (e->kind) {
	case EDGE_BYTES: return add(1, net->distance[e->to]);
	case EDGE_EMPTY: return net->distance[e->to];
	case EDGE_LOOP: return 0;
	default: { /* a call */
		const hth_net_rule *rule = &net->rules[e->rule];
		uint32_t own = rule->nullable ? 0 : hth_network_distance(net, rule->start, 0);
		return add(own, net->distance[e->to]);
	}
	}
}

hth_status hth_network_measure(hth_network *net, hth_error *err)
{
	net->distance = hth_alloc_array(net->n_nodes, sizeof *net->distance);
	net->counter = hth_alloc_array(net->n_nodes, sizeof *net->counter);
	HTH_AUTO_FREE uint32_t *stack = hth_alloc_array(net->n_nodes, sizeof *stack);
	if (net->distance == NULL || net->counter == NULL || stack == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar of %zu states", net->n_nodes);
	find_counters(net, stack);
	for (size_t i = 0; i < net->n_nodes; i++)
		net->distance[i] = net->nodes[i].final ? 0 : FAR;
	bool shorter = true;
	/* From the last to the first: a literal's nodes follow each other. */
	for (size_t round = 0; shorter && round < ROUNDS_MAX && round * net->n_edges < WORK_MAX_EDGES; round++) {
		shorter = false;
		for (size_t i = net->n_nodes; i-- > 0;) {
			const hth_net_node *node = &net->nodes[i];
			for (uint32_t k = 0; k < node->n_edges; k++) {
				uint32_t d = over_edge(net, &net->edges[node->first + k]);
				if (d < net->distance[i]) {
					net->distance[i] = d;
					shorter = true;
				}
			}
		}
	}
	return HTH_OK;
}
