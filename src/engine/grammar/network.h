/* network.h - a grammar as a graph: nodes joined by edges over bytes, calls of rules and empty edges. Made once by
 * gbnf.c and network.c, then immutable; states.c runs it. */
#ifndef HTH_ENGINE_GRAMMAR_NETWORK_H
#define HTH_ENGINE_GRAMMAR_NETWORK_H

#include "base/status.h"

#include <stdint.h>

enum { REPEAT_FOREVER = UINT32_MAX - 1, FAR = 1 << 24 };
#define NO_COUNTER UINT32_MAX

typedef enum edge_kind {
	EDGE_BYTES, /* lo to hi, then `to` */
	EDGE_EMPTY, /* `to` */
	EDGE_CALL,  /* rule `rule`, which is never left without a byte, then `to` */
	EDGE_LOOP,  /* one repetition more: back to the counting node `to` */
} edge_kind;

typedef struct hth_net_edge {
	uint8_t kind, lo, hi;
	bool literal; /* EDGE_BYTES: a byte of a literal, not of a class */
	uint32_t to, rule;
} hth_net_edge;

/* A counting node is the start of a rule of its own: its edges lead into the repeated part, and the rule ends there
 * once it was repeated often enough. */
typedef struct hth_net_node {
	uint32_t first, n_edges;
	uint32_t min, max; /* of a counting node; max 0: none */
	int32_t cls;       /* the edges over bytes are one character of this class; -1: they are not */
	bool final;        /* the rule may end here */
	bool tail;         /* and nothing else is here: whoever waits for a call that leads here need not wait */
} hth_net_node;

typedef struct hth_net_range {
	uint32_t first, last; /* code points */
} hth_net_range;

typedef struct hth_net_class {
	uint32_t first, n; /* in ranges: sorted, apart from each other, no surrogates */
	uint64_t hash;
	bool wide; /* holds many characters: worth knowing for the whole vocabulary */
} hth_net_class;

typedef struct hth_net_rule {
	const char *name; /* in the text, not terminated; NULL for a rule made for a repetition */
	size_t name_len;
	uint32_t start, line; /* line: where it is first used, then where it is defined */
	bool defined, nullable;
} hth_net_rule;

typedef struct hth_network {
	hth_net_node *nodes;
	hth_net_edge *edges;
	hth_net_rule *rules;
	hth_net_range *ranges;
	hth_net_class *classes;
	size_t n_nodes, n_edges, n_rules, n_ranges, n_classes;
	uint32_t root; /* start node */
	uint32_t *distance; /* per node: the fewest bytes to its rule's end, in a counted part to the end of one repetition */
	uint32_t *counter;  /* per node: the counting node in whose part it lies, or NO_COUNTER */
	bool root_nullable;
	/* While building. */
	struct hth_net_link {
		hth_net_edge edge;
		uint32_t next; /* of the same node, + 1 */
	} * links;
	uint32_t *last; /* per node: its last link, + 1 */
	size_t n_links, node_cap, link_cap, rule_cap, range_cap, class_cap;
	uint32_t *rule_slots; /* names to rules */
	size_t n_rule_slots;
} hth_network;

void hth_network_finish(hth_network *net);

/* Building. Node and rule numbers; HTH_TOO_LARGE or HTH_NO_MEMORY when there is no room. */
HTH_MUST_USE hth_status hth_network_add_node(hth_network *net, uint32_t *ret_node, hth_error *err);
HTH_MUST_USE hth_status hth_network_add_edge(hth_network *net, uint32_t from, hth_net_edge edge, hth_error *err);
HTH_MUST_USE hth_status hth_network_rule(hth_network *net, const char *name, size_t len, uint32_t line,
                                         uint32_t *ret_rule, hth_error *err);
/* One character of a class given by ranges in any order (negated: of its complement), from one new node to another. */
HTH_MUST_USE hth_status hth_network_add_class(hth_network *net, hth_net_range *ranges, size_t n, bool negated,
                                              uint32_t *ret_start, uint32_t *ret_end, hth_error *err);
/* After the last rule: checks that every rule is defined and none calls itself at its own beginning, finds what may be
 * empty, lays edges out. */
HTH_MUST_USE hth_status hth_network_close(hth_network *net, hth_error *err);

/* distance.c: the fewest bytes from each node to its rule's end. */
HTH_MUST_USE hth_status hth_network_measure(hth_network *net, hth_error *err);
/* From a node whose rule was repeated so often; FAR: no way is known. */
uint32_t hth_network_distance(const hth_network *net, uint32_t node, uint32_t count);

/* gbnf.c: the whole text. */
HTH_MUST_USE hth_status hth_gbnf_parse(hth_network *net, const char *text, size_t len, hth_error *err);

#endif
