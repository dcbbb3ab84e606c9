/* sequences.c - see sequences.h.
 * Owns a copy of the tokens of every kept sequence (running ones are the jobs'). Thread: the scheduler's. */
#include "runner/sequences.h"

#include "base/mem.h"

enum {
	KEEP_MIN = 16, /* tokens: what is shorter is computed again faster than it is looked after */
	CUT_MIN = 256, /* tokens taken off the end of what was kept, when room is needed */
};

typedef enum seq_state { SEQ_FREE, SEQ_RUNNING, SEQ_KEPT } seq_state;
typedef struct seq_entry {
	seq_state state;
	const int32_t *tokens;
	int32_t *own; /* KEPT: tokens, owned */
	uint32_t n;
	uint64_t used; /* tick of the last use */
} seq_entry;

struct hth_sequences {
	const hth_compute *compute;
	seq_entry *entries;
	uint32_t n;
	uint64_t tick;
};

hth_status hth_sequences_create(hth_sequences **ret_sequences, const hth_compute *compute, hth_error *err)
{
	hth_sequences *s = calloc(1, sizeof *s);
	seq_entry *entries = hth_alloc_array(compute->n_seq, sizeof *entries);
	if (s == NULL || entries == NULL) {
		free(s);
		free(entries);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %u sequences", compute->n_seq);
	}
	*s = (hth_sequences){.compute = compute, .entries = entries, .n = compute->n_seq};
	*ret_sequences = s;
	return HTH_OK;
}

static void forget(hth_sequences *s, uint32_t seq)
{
	seq_entry *e = &s->entries[seq];
	if (e->own != NULL)
		explicit_bzero(e->own, e->n * sizeof *e->own);
	free(e->own);
	*e = (seq_entry){.state = SEQ_FREE};
}

void hth_sequences_drop(hth_sequences *s, uint32_t seq)
{
	s->compute->truncate(s->compute->ctx, seq, 0);
	forget(s, seq);
}

void hth_sequences_destroy(hth_sequences *s)
{
	if (s == NULL)
		return;
	for (uint32_t i = 0; i < s->n; i++)
		forget(s, i);
	free(s->entries);
	free(s);
}

static uint32_t common(const int32_t *a, uint32_t na, const int32_t *b, uint32_t nb)
{
	uint32_t n = HTH_MIN(na, nb), i = 0;
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

uint32_t hth_sequences_find(hth_sequences *s, const int32_t *tokens, uint32_t n, uint32_t *ret_seq)
{
	uint32_t best = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		const seq_entry *e = &s->entries[i];
		if (e->state == SEQ_FREE || e->n <= best)
			continue;
		uint32_t length = common(e->tokens, e->n, tokens, n);
		if (length > best) {
			best = length;
			*ret_seq = i;
		}
	}
	if (best > 0)
		s->entries[*ret_seq].used = ++s->tick;
	return best;
}

static int oldest_kept(const hth_sequences *s, int but)
{
	int oldest = -1;
	for (uint32_t i = 0; i < s->n; i++)
		if (s->entries[i].state == SEQ_KEPT && (int)i != but &&
		    (oldest < 0 || s->entries[i].used < s->entries[oldest].used))
			oldest = (int)i;
	return oldest;
}

int hth_sequences_take(hth_sequences *s, uint32_t from, uint32_t length, const int32_t *tokens)
{
	int seq = -1;
	if (length > 0 && s->entries[from].state == SEQ_KEPT && s->entries[from].n == length) {
		forget(s, from); /* its pages stay: the job goes on where that one ended */
		seq = (int)from;
	} else {
		for (uint32_t i = 0; i < s->n && seq < 0; i++)
			if (s->entries[i].state == SEQ_FREE)
				seq = (int)i;
		if (seq < 0) {
			seq = oldest_kept(s, length > 0 ? (int)from : -1);
			if (seq < 0 && length > 0) { /* only `from` itself is left: cut it to what is shared */
				seq = oldest_kept(s, -1);
				if (seq != (int)from)
					return -1;
				s->compute->truncate(s->compute->ctx, from, length);
				forget(s, from);
				length = 0; /* nothing to share with itself */
				s->entries[seq].n = 0;
			} else if (seq < 0) {
				return -1;
			} else {
				hth_sequences_drop(s, (uint32_t)seq);
			}
		}
		if (length > 0)
			s->compute->share(s->compute->ctx, (uint32_t)seq, from, length);
	}
	s->entries[seq] = (seq_entry){.state = SEQ_RUNNING, .tokens = tokens, .used = ++s->tick};
	return seq;
}

void hth_sequences_hold(hth_sequences *s, uint32_t seq, uint32_t n) { s->entries[seq].n = n; }

bool hth_sequences_make_room(hth_sequences *s, int but)
{
	int seq = oldest_kept(s, but);
	if (seq < 0)
		return false;
	/* From the end: the beginning is what the next prompt is most likely to share. */
	seq_entry *e = &s->entries[seq];
	uint32_t cut = HTH_MAX(e->n / 4, (uint32_t)CUT_MIN);
	if (e->n < cut + KEEP_MIN) {
		hth_sequences_drop(s, (uint32_t)seq);
		return true;
	}
	e->n -= cut;
	explicit_bzero(e->own + e->n, cut * sizeof *e->own);
	s->compute->truncate(s->compute->ctx, (uint32_t)seq, e->n);
	return true;
}

void hth_sequences_release(hth_sequences *s, uint32_t seq)
{
	seq_entry *e = &s->entries[seq];
	int32_t *own = e->n >= KEEP_MIN ? malloc(e->n * sizeof *own) : NULL;
	if (own == NULL) {
		hth_sequences_drop(s, seq);
		return;
	}
	memcpy(own, e->tokens, e->n * sizeof *own);
	/* A conversation's earlier turn is the beginning of its later one: keep the longer. */
	for (uint32_t i = 0; i < s->n; i++) {
		const seq_entry *o = &s->entries[i];
		if (i == seq || o->state != SEQ_KEPT)
			continue;
		uint32_t length = common(o->tokens, o->n, own, e->n);
		if (length == o->n) {
			hth_sequences_drop(s, i);
		} else if (length == e->n) {
			s->entries[i].used = ++s->tick;
			explicit_bzero(own, e->n * sizeof *own);
			free(own);
			hth_sequences_drop(s, seq);
			return;
		}
	}
	e->own = own;
	e->tokens = own;
	e->state = SEQ_KEPT;
	e->used = ++s->tick;
}
