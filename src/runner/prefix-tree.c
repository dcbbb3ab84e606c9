/* prefix-tree.c - see prefix-tree.h. Owns the nodes and their runs. Thread: the scheduler's. */
#include "runner/prefix-tree.h"

#include "base/mem.h"

typedef struct node {
	struct node *parent, *child, *next; /* first child; next child of the same parent */
	int32_t *run;
	uint32_t n, cap;
	uint32_t refs; /* sequences that hold it: they go on below it or end here */
	uint32_t seq;  /* one of them */
} node;

struct hth_prefix_tree {
	node root;
	node **at;        /* per sequence: the node at whose end it ends */
	uint32_t *length; /* per sequence */
	uint32_t n_seq, n_nodes;
};

hth_status hth_prefix_tree_create(hth_prefix_tree **ret_tree, uint32_t n_seq, hth_error *err)
{
	hth_prefix_tree *t = calloc(1, sizeof *t);
	node **at = hth_alloc_array(n_seq, sizeof *at);
	uint32_t *length = hth_alloc_array(n_seq, sizeof *length);
	if (t == NULL || at == NULL || length == NULL) {
		free(t);
		free(at);
		free(length);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a tree of %u sequences", n_seq);
	}
	*t = (hth_prefix_tree){.at = at, .length = length, .n_seq = n_seq};
	for (uint32_t i = 0; i < n_seq; i++)
		at[i] = &t->root;
	*ret_tree = t;
	return HTH_OK;
}

static void free_node(hth_prefix_tree *t, node *x)
{
	if (x->run != NULL)
		explicit_bzero(x->run, x->n * sizeof *x->run);
	free(x->run);
	free(x);
	t->n_nodes--;
}

void hth_prefix_tree_destroy(hth_prefix_tree *t)
{
	if (t == NULL)
		return;
	for (uint32_t i = 0; i < t->n_seq; i++)
		hth_prefix_tree_cut(t, i, 0);
	free(t->at);
	free(t->length);
	free(t);
}

static bool append(node *x, const int32_t *tokens, uint32_t n)
{
	if (n > x->cap - x->n) {
		uint32_t cap = HTH_MAX(x->cap + x->cap / 2, HTH_MAX(x->n + n, 32u));
		int32_t *run = malloc(cap * sizeof *run);
		if (run == NULL)
			return false;
		if (x->n > 0) {
			memcpy(run, x->run, x->n * sizeof *run);
			explicit_bzero(x->run, x->n * sizeof *run);
		}
		free(x->run);
		x->run = run;
		x->cap = cap;
	}
	if (n > 0)
		memcpy(x->run + x->n, tokens, n * sizeof *tokens);
	x->n += n;
	return true;
}

static node *new_node(hth_prefix_tree *t, node *parent, const int32_t *run, uint32_t n)
{
	node *x = calloc(1, sizeof *x);
	if (x == NULL || !append(x, run, n)) {
		free(x);
		return NULL;
	}
	x->parent = parent;
	x->next = parent->child;
	parent->child = x;
	t->n_nodes++;
	return x;
}

static void unlink_node(node *x)
{
	node **link = &x->parent->child;
	while (*link != x)
		link = &(*link)->next;
	*link = x->next;
}

/* Cuts x after its first n tokens (0 < n < x->n): the rest becomes its only child, with all that was below. */
static bool split(hth_prefix_tree *t, node *x, uint32_t n)
{
	node *below = x->child;
	x->child = NULL;
	node *rest = new_node(t, x, x->run + n, x->n - n);
	if (rest == NULL) {
		x->child = below;
		return false;
	}
	rest->child = below;
	for (node *c = below; c != NULL; c = c->next)
		c->parent = rest;
	rest->refs = x->refs;
	rest->seq = x->seq;
	explicit_bzero(x->run + n, (x->n - n) * sizeof *x->run);
	x->n = n;
	for (uint32_t i = 0; i < t->n_seq; i++)
		if (t->at[i] == x)
			t->at[i] = rest;
	return true;
}

/* Undoes a split that nobody needs any more: x's only child takes part in every sequence that x does. */
static void join_if_alone(hth_prefix_tree *t, node *x)
{
	node *below = x->child;
	if (below == NULL || below->next != NULL || below->refs != x->refs || !append(x, below->run, below->n))
		return;
	x->child = below->child;
	for (node *c = x->child; c != NULL; c = c->next)
		c->parent = x;
	for (uint32_t i = 0; i < t->n_seq; i++)
		if (t->at[i] == below)
			t->at[i] = x;
	free_node(t, below);
}

static node *find_child(const node *x, int32_t token)
{
	node *c = x->child;
	while (c != NULL && c->run[0] != token)
		c = c->next;
	return c;
}

static uint32_t common(const int32_t *a, uint32_t na, const int32_t *b, uint32_t nb)
{
	uint32_t n = HTH_MIN(na, nb), i = 0;
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

bool hth_prefix_tree_extend(hth_prefix_tree *t, uint32_t seq, const int32_t *tokens, uint32_t n)
{
	while (t->length[seq] < n) {
		node *x = t->at[seq];
		uint32_t at = t->length[seq], left = n - at;
		if (x != &t->root && x->refs == 1) { /* its own leaf: it grows, as with every token of an answer */
			if (!append(x, tokens + at, left))
				return false;
			t->length[seq] = n;
			return true;
		}
		node *c = find_child(x, tokens[at]);
		if (c == NULL) {
			c = new_node(t, x, tokens + at, left);
			if (c == NULL)
				return false;
			c->seq = seq;
		} else {
			uint32_t same = common(c->run, c->n, tokens + at, left);
			if (same < c->n && !split(t, c, same))
				return false;
		}
		c->refs++;
		t->at[seq] = c;
		t->length[seq] += c->n;
	}
	return true;
}

/* The sequence does not hold x any more, and nothing below it. */
static void leave_node(hth_prefix_tree *t, node *x, uint32_t seq)
{
	if (--x->refs == 0) {
		unlink_node(x);
		free_node(t, x);
		return;
	}
	if (x->seq == seq && x->child != NULL) {
		x->seq = x->child->seq; /* children were put right first */
	} else if (x->seq == seq) {
		for (uint32_t i = 0; i < t->n_seq; i++)
			if (i != seq && t->at[i] == x)
				x->seq = i;
	}
	join_if_alone(t, x);
}

void hth_prefix_tree_cut(hth_prefix_tree *t, uint32_t seq, uint32_t n)
{
	while (t->length[seq] > n) {
		node *x = t->at[seq];
		uint32_t begin = t->length[seq] - x->n;
		if (begin < n && x->refs == 1) { /* its own leaf becomes shorter */
			explicit_bzero(x->run + (n - begin), (x->n - (n - begin)) * sizeof *x->run);
			x->n = n - begin;
			t->length[seq] = n;
			return;
		}
		/* Without memory to split a run that others hold, the sequence gives up more of it than asked. */
		if (begin < n && split(t, x, n - begin))
			x = t->at[seq];
		node *parent = x->parent;
		t->length[seq] -= x->n;
		t->at[seq] = parent;
		leave_node(t, x, seq);
	}
}

uint32_t hth_prefix_tree_length(const hth_prefix_tree *t, uint32_t seq) { return t->length[seq]; }

void hth_prefix_tree_copy(const hth_prefix_tree *t, uint32_t seq, int32_t *ret_tokens)
{
	uint32_t end = t->length[seq];
	for (const node *x = t->at[seq]; x != &t->root; x = x->parent) {
		end -= x->n;
		memcpy(ret_tokens + end, x->run, x->n * sizeof *x->run);
	}
}

uint32_t hth_prefix_tree_find(const hth_prefix_tree *t, const int32_t *tokens, uint32_t n, uint32_t *ret_seq)
{
	const node *x = &t->root;
	uint32_t length = 0;
	while (length < n) {
		const node *c = find_child(x, tokens[length]);
		if (c == NULL)
			break;
		uint32_t same = common(c->run, c->n, tokens + length, n - length);
		length += same;
		*ret_seq = c->seq;
		if (same < c->n)
			break;
		x = c;
	}
	return length;
}

bool hth_prefix_tree_covered(const hth_prefix_tree *t, uint32_t seq)
{
	return t->at[seq] == &t->root || t->at[seq]->refs > 1;
}

bool hth_prefix_tree_covers(const hth_prefix_tree *t, uint32_t longer, uint32_t seq)
{
	const node *x = t->at[longer];
	while (x != &t->root && x != t->at[seq])
		x = x->parent;
	return x == t->at[seq];
}

uint32_t hth_prefix_tree_nodes(const hth_prefix_tree *t) { return t->n_nodes; }

static bool holds(const hth_prefix_tree *t, uint32_t seq, const node *x)
{
	for (const node *y = t->at[seq]; y != &t->root; y = y->parent)
		if (y == x)
			return true;
	return false;
}

static bool check_below(const hth_prefix_tree *t, const node *x, uint32_t *nodes)
{
	for (const node *c = x->child; c != NULL; c = c->next) {
		uint32_t refs = 0;
		for (uint32_t i = 0; i < t->n_seq; i++)
			refs += holds(t, i, c);
		for (const node *d = c->next; d != NULL; d = d->next)
			if (d->run[0] == c->run[0])
				return false;
		++*nodes;
		if (c->parent != x || c->n == 0 || refs == 0 || refs != c->refs || !holds(t, c->seq, c) || !check_below(t, c, nodes))
			return false;
	}
	return true;
}

bool hth_prefix_tree_check(const hth_prefix_tree *t)
{
	uint32_t nodes = 0;
	for (uint32_t i = 0; i < t->n_seq; i++) {
		uint32_t length = 0;
		for (const node *x = t->at[i]; x != &t->root; x = x->parent)
			length += x->n;
		if (length != t->length[i])
			return false;
	}
	return check_below(t, &t->root, &nodes) && nodes == t->n_nodes;
}
