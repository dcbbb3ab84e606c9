/* trie.c - builds the tree level by level from sorted keys: a node is a range of keys with a common prefix. */
#include "engine/tokenizer/trie.h"

#include "base/mem.h"

static int compare_entries(const void *a, const void *b)
{
	const hth_trie_entry *x = a, *y = b;
	size_t n = HTH_MIN(x->key.len, y->key.len);
	int c = n ? memcmp(x->key.data, y->key.data, n) : 0;
	if (c == 0)
		c = (x->key.len > y->key.len) - (x->key.len < y->key.len);
	return c ? c : (x->value > y->value) - (x->value < y->value);
}

/* The range of sorted keys below a node, and how many bytes of them the path to it has read. */
struct range {
	uint32_t begin, end, depth;
};

static size_t count_nodes(const hth_trie_entry *entries, size_t n)
{
	size_t count = 1;
	for (size_t i = 0; i < n; i++) {
		size_t common = 0;
		if (i > 0) {
			size_t m = HTH_MIN(entries[i].key.len, entries[i - 1].key.len);
			while (common < m && entries[i].key.data[common] == entries[i - 1].key.data[common])
				common++;
		}
		count += entries[i].key.len - common;
	}
	return count;
}

hth_status hth_trie_build(hth_trie *ret_trie, hth_trie_entry *entries, size_t n, hth_error *err)
{
	*ret_trie = (hth_trie){0};
	qsort(entries, n, sizeof *entries, compare_entries);
	while (n > 0 && entries[0].key.len == 0) {
		entries++;
		n--;
	}
	if (n == 0)
		return HTH_OK;
	size_t n_nodes = count_nodes(entries, n);
	if (n_nodes >= UINT32_MAX || n >= UINT32_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the vocabulary is too large for a prefix tree (%zu nodes)",
		                n_nodes);
	hth_trie_node *nodes = hth_alloc_array(n_nodes, sizeof *nodes);
	HTH_AUTO_FREE struct range *ranges = hth_alloc_array(n_nodes, sizeof *ranges);
	if (nodes == NULL || ranges == NULL) {
		free(nodes);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a prefix tree of %zu nodes", n_nodes);
	}
	ranges[0] = (struct range){0, (uint32_t)n, 0};
	size_t used = 1;
	for (size_t i = 0; i < used; i++) {
		struct range r = ranges[i];
		nodes[i].value = -1;
		while (r.begin < r.end && entries[r.begin].key.len == r.depth) {
			if (nodes[i].value < 0)
				nodes[i].value = entries[r.begin].value;
			r.begin++;
		}
		nodes[i].children = (uint32_t)used;
		while (r.begin < r.end) {
			uint8_t label = (uint8_t)entries[r.begin].key.data[r.depth];
			uint32_t end = r.begin + 1;
			while (end < r.end && (uint8_t)entries[end].key.data[r.depth] == label)
				end++;
			nodes[used].label = label;
			ranges[used++] = (struct range){r.begin, end, r.depth + 1};
			nodes[i].n_children++;
			r.begin = end;
		}
	}
	ret_trie->nodes = nodes;
	ret_trie->n_nodes = used;
	return HTH_OK;
}

void hth_trie_finish(hth_trie *trie)
{
	free(trie->nodes);
	*trie = (hth_trie){0};
}
