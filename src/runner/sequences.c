/* sequences.c - see sequences.h.
 * Owns the tree of what every sequence holds. Thread: the scheduler's. */
#include "runner/sequences.h"

#include "base/mem.h"
#include "runner/prefix-tree.h"
#include "runner/spill.h"

enum {
	KEEP_MIN = 16, /* tokens: what is shorter is computed again faster than it is looked after */
	RESTORE_MIN = 2 * HTH_SPILL_PAGE, /* tokens that disk must have beyond memory */
	FREE_SHARE = 8, FREE_MAX = 4, /* of so many sequences one is not filled with what is kept, so that neighbours' work finds one */
	CUT_MIN = 256, /* tokens taken off the end of what was kept, when room is needed */
};
/* Kept for the home's sake alone: as long as a model that nobody asks stays in memory by default. */
static const uint64_t OWN_NS = 300ull * 1000000000;

typedef enum seq_state { SEQ_FREE, SEQ_RUNNING, SEQ_KEPT } seq_state;
typedef struct seq_entry {
	seq_state state;
	const int32_t *tokens; /* RUNNING: the job's */
	uint64_t used;         /* tick of the last use */
	uint64_t used_ns;      /* when that was */
} seq_entry;

struct hth_sequences {
	const hth_compute *compute;
	hth_prefix_tree *tree;
	seq_entry *entries;
	uint32_t n;
	uint64_t tick;
	int32_t *tokens; /* with a spill: scratch for one sequence's, n_ctx */
};

hth_status hth_sequences_create(hth_sequences **ret_sequences, const hth_compute *compute, hth_error *err)
{
	hth_sequences *s = calloc(1, sizeof *s);
	seq_entry *entries = hth_alloc_array(compute->n_seq, sizeof *entries);
	int32_t *tokens = hth_alloc_array(compute->spill != NULL ? compute->n_ctx : 1, sizeof *tokens);
	hth_prefix_tree *tree = NULL;
	hth_status status = s != NULL && entries != NULL && tokens != NULL ? hth_prefix_tree_create(&tree, compute->n_seq, err)
	                                                 : hth_fail(err, HTH_NO_MEMORY, "no memory for %u sequences", compute->n_seq);
	if (status != HTH_OK) {
		free(s);
		free(entries);
		free(tokens);
		return status;
	}
	*s = (hth_sequences){.compute = compute, .tree = tree, .entries = entries, .n = compute->n_seq, .tokens = tokens};
	*ret_sequences = s;
	return HTH_OK;
}

void hth_sequences_destroy(hth_sequences *s)
{
	if (s == NULL)
		return;
	hth_prefix_tree_destroy(s->tree);
	free(s->entries);
	free(s->tokens);
	free(s);
}

void hth_sequences_drop(hth_sequences *s, uint32_t seq)
{
	s->compute->truncate(s->compute->ctx, seq, 0);
	hth_prefix_tree_cut(s->tree, seq, 0);
	s->entries[seq] = (seq_entry){.state = SEQ_FREE};
}

/* ---- disk ---- */

typedef struct page_of {
	const hth_compute *compute;
	uint32_t seq;
} page_of;
static const void *page_from(void *ctx, uint32_t i)
{
	const page_of *p = ctx;
	return p->compute->page(p->compute->ctx, p->seq, i);
}
static void *page_into(void *ctx, uint32_t i)
{
	(void)i; /* pages are appended in order */
	const page_of *p = ctx;
	return p->compute->page_append(p->compute->ctx, p->seq);
}

void hth_sequences_spill(hth_sequences *s, uint32_t seq)
{
	if (s->compute->spill == NULL)
		return;
	uint32_t n = hth_prefix_tree_length(s->tree, seq);
	hth_prefix_tree_copy(s->tree, seq, s->tokens);
	hth_spill_put(s->compute->spill, s->tokens, n, page_from, &(page_of){s->compute, seq});
	explicit_bzero(s->tokens, n * sizeof *s->tokens);
}

uint32_t hth_sequences_find_spilled(hth_sequences *s, const int32_t *tokens, uint32_t n, uint32_t have)
{
	uint32_t there = s->compute->spill != NULL ? hth_spill_find(s->compute->spill, tokens, n) * HTH_SPILL_PAGE : 0;
	return there >= have + RESTORE_MIN ? there : have;
}

uint32_t hth_sequences_restore(hth_sequences *s, uint32_t seq, uint32_t n)
{
	uint32_t first = hth_prefix_tree_length(s->tree, seq) / HTH_SPILL_PAGE;
	s->compute->truncate(s->compute->ctx, seq, first * HTH_SPILL_PAGE);
	uint32_t end = hth_spill_get(s->compute->spill, s->entries[seq].tokens, first, n / HTH_SPILL_PAGE, page_into,
	                             &(page_of){s->compute, seq});
	/* A page that was made room for may not have been read. */
	s->compute->truncate(s->compute->ctx, seq, end * HTH_SPILL_PAGE);
	hth_sequences_hold(s, seq, end * HTH_SPILL_PAGE);
	return end * HTH_SPILL_PAGE;
}

/* ---- finding and taking ---- */

static void touch(hth_sequences *s, uint32_t seq)
{
	s->entries[seq].used = ++s->tick;
	s->entries[seq].used_ns = s->compute->now_ns(s->compute->ctx);
}

uint32_t hth_sequences_find(hth_sequences *s, const int32_t *tokens, uint32_t n, uint32_t *ret_seq)
{
	uint32_t length = hth_prefix_tree_find(s->tree, tokens, n, ret_seq);
	if (length >= KEEP_MIN) /* not the token that every text begins with */
		touch(s, *ret_seq);
	return length;
}

/* lent: for a neighbour, who may have only what the home has not used for long. */
static int oldest_kept(const hth_sequences *s, int but, bool lent)
{
	int oldest = -1;
	const uint64_t now = lent ? s->compute->now_ns(s->compute->ctx) : 0;
	for (uint32_t i = 0; i < s->n; i++)
		if (s->entries[i].state == SEQ_KEPT && (int)i != but && (!lent || now - s->entries[i].used_ns >= OWN_NS) &&
		    (oldest < 0 || s->entries[i].used < s->entries[oldest].used))
			oldest = (int)i;
	return oldest;
}

static int give_up_oldest(hth_sequences *s, int but, bool lent)
{
	int seq = oldest_kept(s, but, lent);
	if (seq >= 0) {
		hth_sequences_spill(s, (uint32_t)seq);
		hth_sequences_drop(s, (uint32_t)seq);
	}
	return seq;
}

/* A sequence that nobody uses, made free if it must be and may be; -1: none. */
static int free_sequence(hth_sequences *s, int but, bool lent)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->entries[i].state == SEQ_FREE)
			return (int)i;
	return give_up_oldest(s, but, lent);
}

int hth_sequences_take(hth_sequences *s, uint32_t from, uint32_t length, const int32_t *tokens, bool lent)
{
	int seq;
	bool kept = length > 0 && s->entries[from].state == SEQ_KEPT;
	if (kept && !lent && hth_prefix_tree_length(s->tree, from) == length) {
		seq = (int)from; /* its pages stay: the job goes on where that one ended */
	} else {
		seq = free_sequence(s, length > 0 ? (int)from : -1, lent);
		if (seq < 0 && kept && !lent) { /* only `from` itself is left: it is cut to what is shared, and taken over */
			seq = (int)from;
			s->compute->truncate(s->compute->ctx, from, length);
			hth_prefix_tree_cut(s->tree, from, length);
		} else if (seq < 0) {
			return -1;
		} else if (length > 0) {
			s->compute->share(s->compute->ctx, (uint32_t)seq, from, length);
		}
	}
	s->entries[seq] = (seq_entry){.state = SEQ_RUNNING, .tokens = tokens};
	touch(s, (uint32_t)seq);
	hth_sequences_hold(s, (uint32_t)seq, length);
	return seq;
}

void hth_sequences_hold(hth_sequences *s, uint32_t seq, uint32_t n)
{
	hth_prefix_tree_cut(s->tree, seq, n);
	/* Without memory the tree knows less than is there: less is shared, nothing is wrong. */
	(void)hth_prefix_tree_extend(s->tree, seq, s->entries[seq].tokens, n);
}

bool hth_sequences_make_room(hth_sequences *s, int but, bool lent)
{
	int oldest = oldest_kept(s, but, lent);
	if (oldest < 0)
		return false;
	/* From the end: the beginning is what the next prompt is most likely to share. */
	hth_sequences_spill(s, (uint32_t)oldest);
	uint32_t seq = (uint32_t)oldest, n = hth_prefix_tree_length(s->tree, seq), cut = HTH_MAX(n / 4, (uint32_t)CUT_MIN);
	if (n < cut + KEEP_MIN) {
		hth_sequences_drop(s, seq);
		return true;
	}
	hth_prefix_tree_cut(s->tree, seq, n - cut);
	s->compute->truncate(s->compute->ctx, seq, hth_prefix_tree_length(s->tree, seq));
	return true;
}

void hth_sequences_release(hth_sequences *s, uint32_t seq)
{
	uint32_t n = hth_prefix_tree_length(s->tree, seq);
	if (n < KEEP_MIN || hth_prefix_tree_covered(s->tree, seq)) {
		hth_sequences_drop(s, seq);
		return;
	}
	s->entries[seq] = (seq_entry){.state = SEQ_KEPT};
	touch(s, seq);
	s->compute->truncate(s->compute->ctx, seq, n);
	/* A conversation's earlier turns are the beginning of this one: kept once. */
	for (uint32_t i = 0; i < s->n; i++)
		if (i != seq && s->entries[i].state == SEQ_KEPT && hth_prefix_tree_covers(s->tree, seq, i))
			hth_sequences_drop(s, i);
	uint32_t n_kept = 0;
	for (uint32_t i = 0; i < s->n; i++)
		n_kept += s->entries[i].state == SEQ_KEPT;
	if (n_kept > s->n - HTH_MIN(s->n / FREE_SHARE, (uint32_t)FREE_MAX))
		give_up_oldest(s, (int)seq, false);
}
