/* nonces.c - two generations of hash sets per sender; see nonces.h. Nonces are random, or chosen by a member who only hurts itself with
 * collisions (a probe stops after PROBES and counts as full), so their own bytes serve as the hash. */
#include "seal/nonces.h"

#include "base/mem.h"

enum { FIRST_SLOTS = 64, SLOTS_MAX = 2 * HTH_NONCES_MAX, PROBES = 64, LARGE_SLOTS = 4096, LARGE_TOTAL = 8 << 20 };

typedef struct nonce_set {
	unsigned char (*slots)[HTH_NONCE_BYTES]; /* all zero: free; an all-zero nonce is refused */
	size_t n, n_slots;
} nonce_set;

typedef struct sender_memory {
	hth_home_id id;
	nonce_set now, before;
	uint64_t turned_ms;
} sender_memory;

struct hth_nonces {
	sender_memory *senders;
	size_t n, cap;
	uint64_t keep_ms;
	size_t large; /* slots of all sets that have more than LARGE_SLOTS: 16 bytes each */
};

static const unsigned char zero[HTH_NONCE_BYTES];

static size_t slot_of(const unsigned char *nonce, size_t n_slots)
{
	uint64_t h;
	memcpy(&h, nonce, sizeof h);
	return (size_t)h & (n_slots - 1);
}

/* The slot that holds it, or the free one where it would go; NULL: neither within PROBES. */
static unsigned char *find(const nonce_set *set, const unsigned char *nonce)
{
	size_t at = slot_of(nonce, set->n_slots);
	for (size_t i = 0; i < PROBES && i < set->n_slots; i++) {
		unsigned char *slot = set->slots[(at + i) & (set->n_slots - 1)];
		if (memcmp(slot, nonce, HTH_NONCE_BYTES) == 0 || memcmp(slot, zero, HTH_NONCE_BYTES) == 0)
			return slot;
	}
	return NULL;
}

static bool holds(const nonce_set *set, const unsigned char *nonce)
{
	if (set->n_slots == 0)
		return false;
	unsigned char *slot = find(set, nonce);
	return slot != NULL && memcmp(slot, nonce, HTH_NONCE_BYTES) == 0;
}

static void free_set(hth_nonces *nonces, nonce_set *set)
{
	if (set->n_slots > LARGE_SLOTS)
		nonces->large -= set->n_slots;
	free(set->slots);
	*set = (nonce_set){0};
}

/* Small sets are everybody's right; what busy senders have beyond is bounded together. */
static bool grow(hth_nonces *nonces, nonce_set *set)
{
	nonce_set bigger = {.n_slots = set->n_slots ? set->n_slots * 2 : FIRST_SLOTS};
	bool large = bigger.n_slots > LARGE_SLOTS;
	if (bigger.n_slots > SLOTS_MAX || (large && nonces->large + bigger.n_slots > LARGE_TOTAL))
		return false;
	bigger.slots = hth_alloc_array(bigger.n_slots, sizeof *bigger.slots);
	if (bigger.slots == NULL)
		return false;
	for (size_t i = 0; i < set->n_slots; i++) {
		if (memcmp(set->slots[i], zero, HTH_NONCE_BYTES) == 0)
			continue;
		unsigned char *slot = find(&bigger, set->slots[i]);
		if (slot == NULL) {
			free(bigger.slots);
			return false;
		}
		memcpy(slot, set->slots[i], HTH_NONCE_BYTES);
		bigger.n++;
	}
	free_set(nonces, set);
	*set = bigger;
	if (large)
		nonces->large += bigger.n_slots;
	return true;
}

static bool add(hth_nonces *nonces, nonce_set *set, const unsigned char *nonce)
{
	if (set->n >= HTH_NONCES_MAX || (set->n * 2 >= set->n_slots && !grow(nonces, set)))
		return false;
	unsigned char *slot = find(set, nonce);
	if (slot == NULL && (!grow(nonces, set) || (slot = find(set, nonce)) == NULL))
		return false;
	memcpy(slot, nonce, HTH_NONCE_BYTES);
	set->n++;
	return true;
}

hth_status hth_nonces_create(hth_nonces **ret_nonces, uint64_t keep_ms, hth_error *err)
{
	hth_nonces *nonces = calloc(1, sizeof *nonces);
	if (nonces == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to remember messages");
	nonces->keep_ms = keep_ms;
	*ret_nonces = nonces;
	return HTH_OK;
}

void hth_nonces_destroy(hth_nonces *nonces)
{
	if (nonces == NULL)
		return;
	for (size_t i = 0; i < nonces->n; i++) {
		free_set(nonces, &nonces->senders[i].now);
		free_set(nonces, &nonces->senders[i].before);
	}
	free(nonces->senders);
	free(nonces);
}

static void turn(hth_nonces *nonces, sender_memory *sender, uint64_t now_ms)
{
	if (now_ms < sender->turned_ms + nonces->keep_ms)
		return;
	bool long_ago = now_ms >= sender->turned_ms + 2 * nonces->keep_ms;
	free_set(nonces, &sender->before);
	sender->before = sender->now;
	sender->now = (nonce_set){0};
	if (long_ago)
		free_set(nonces, &sender->before);
	sender->turned_ms = now_ms;
}

/* A sender that has been silent for two turns has nothing left to remember and gives its place away. */
static sender_memory *place_of(hth_nonces *nonces, const hth_home_id *id, uint64_t now_ms)
{
	sender_memory *idle = NULL;
	for (size_t i = 0; i < nonces->n; i++) {
		sender_memory *s = &nonces->senders[i];
		if (hth_home_id_equal(&s->id, id))
			return s;
		if (idle == NULL && now_ms >= s->turned_ms + 2 * nonces->keep_ms)
			idle = s;
	}
	if (nonces->n < HTH_NONCE_SENDERS_MAX && idle == NULL) {
		if (nonces->n == nonces->cap) {
			size_t cap = nonces->cap ? nonces->cap * 2 : 8;
			sender_memory *more = realloc(nonces->senders, cap * sizeof *more);
			if (more == NULL)
				return NULL;
			nonces->senders = more;
			nonces->cap = cap;
		}
		idle = &nonces->senders[nonces->n++];
	} else if (idle != NULL) {
		free_set(nonces, &idle->now);
		free_set(nonces, &idle->before);
	}
	if (idle != NULL)
		*idle = (sender_memory){.id = *id, .turned_ms = now_ms};
	return idle;
}

hth_status hth_nonces_note(hth_nonces *nonces, const hth_home_id *sender, const unsigned char nonce[HTH_NONCE_BYTES], uint64_t now_ms,
                           hth_error *err)
{
	if (memcmp(nonce, zero, HTH_NONCE_BYTES) == 0)
		return hth_fail(err, HTH_BAD_FORMAT, "a message's nonce is all zeros");
	sender_memory *memory = place_of(nonces, sender, now_ms);
	if (memory == NULL)
		return hth_fail(err, HTH_BUSY, "too many homes have written within %llu ms", (unsigned long long)nonces->keep_ms);
	turn(nonces, memory, now_ms);
	if (holds(&memory->now, nonce) || holds(&memory->before, nonce))
		return hth_fail(err, HTH_CONFLICT, "the message was seen before: a replay");
	if (!add(nonces, &memory->now, nonce))
		return hth_fail(err, HTH_BUSY, "a home has sent more messages within %llu ms than are remembered",
		                (unsigned long long)nonces->keep_ms);
	return HTH_OK;
}
