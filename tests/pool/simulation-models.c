/* simulation-models.c - models from next door in the simulated streets: the real block machine, while homes lose power, vanish, freeze and
 * lie.
 *
 * A few homes of each street have a model, others come to want it and fetch it, often several at a time from several; a home that lost
 * power goes on from what was on its disk (and a chunk that was being written is damaged); a fetch that found nobody is tried again later.
 * One home in six gives bits that are flipped, a whole list that is another file's, chunks that are cut short, or says yes and then
 * nothing. Checked: a file that is whole is the file; every fetch ends, and in bounded time once its home is up; a home that was caught
 * lying is asked for nothing more of that fetch, nor is any home once it is over; and who wants a model has it in the end.
 */
#include "simulation-internal.h"

#include "blocks/model-blocks.h"

enum {
	MODEL_BYTES = 5 * HTH_CHUNK_BYTES + 77777, CHUNKS = 6, WANT_HOURS = 12, AGAIN_MS = 600000, FETCH_LIMIT_MS = 3600000, FETCH = 1,
	M_LETTER = 1, M_WAKE, M_READ, M_STORED, M_CHECK, M_WANT, M_POWER,
};
typedef enum giver { GIVES, FLIPS_BITS, OTHER_FILE, CUTS_SHORT, GIVES_NOTHING, GIVERS } giver;

struct sim_models {
	hth_blocks *blocks; /* NULL: it has nothing to do, or the home is down */
	unsigned char *disk; /* of a fetch; NULL: none, or it is whole */
	unsigned char (*found)[HTH_HASH_BYTES];
	bool has, wants, fetching, whole_before;
	uint64_t began_ms, wake_ms;
	uint64_t lied; /* by place in the street */
};

static sim *w;
static unsigned char *truth, *other; /* the model; what those of another list give */
static unsigned char sha256[HTH_SHA256_BYTES];
static hth_chunk_list *lists[2];

static giver giver_of(const sim_home *h)
{
	uint64_t x = (h->index * 0x9E3779B97F4A7C15u) >> 33;
	return !w->o.faults || x % 6 != 0 ? GIVES : (giver)(1 + x / 6 % (GIVERS - 1));
}

static void push(sim_home *h, int what, uint64_t at, uint64_t number, uint32_t from, const void *bytes, size_t len)
{
	sim_event e = {.at = at, .kind = E_MODELS, .home = h->index, .from = from, .len = (uint32_t)len,
	               .number = number << 3 | (unsigned)what, .epoch = h->epoch};
	if (bytes != NULL && (e.bytes = malloc(len ? len : 1)) != NULL)
		memcpy(e.bytes, bytes, len);
	sim_push(e);
}

static void wake(sim_home *h)
{
	struct sim_models *m = h->models;
	uint64_t next = m->blocks != NULL ? hth_blocks_next_ms(m->blocks) : UINT64_MAX;
	if (next == UINT64_MAX || (next >= m->wake_ms && m->wake_ms > w->now))
		return;
	m->wake_ms = HTH_MAX(next, w->now + 1);
	push(h, M_WAKE, m->wake_ms, 0, h->index, NULL, 0);
}

/* ---- what the machine tells ---- */

static uint32_t place_of(const sim_home *h) { return h->index % (uint32_t)w->o.street; }

static bool on_send(void *ctx, const hth_home_id *to, const void *bytes, size_t len)
{
	sim_home *h = ctx, *there = sim_home_of(to);
	hth_blocks_message *m = malloc(sizeof *m);
	if (hth_blocks_message_decode(m, bytes, len, NULL) != HTH_OK)
		sim_problem("home %u says something about a model that makes no sense", h->index);
	else if (m->kind == HTH_BLOCKS_GET && (!h->models->fetching || (h->models->lied >> place_of(there) & 1) != 0))
		sim_problem("home %u asks home %u for a chunk %s", h->index, there->index,
		            h->models->fetching ? "though it lied" : "of a fetch that is over");
	free(m);
	if (hth_membership_find(h->membership, to) == NULL || sim_is_cut(h, there))
		return true;
	push(there, M_LETTER, w->now + sim_delay(h, there) + len / 5000, 0, h->index, bytes, len);
	return true;
}

static void on_offer(void *ctx, const hth_home_id *from, const hth_blocks_message *query, hth_blocks_offer *offer)
{
	const sim_home *h = ctx;
	(void)from;
	if (!h->models->has || !query->by_hash || memcmp(query->sha256, sha256, sizeof sha256) != 0)
		return;
	offer->n_files = 1;
	offer->files[0] = (hth_blocks_file){.bytes = MODEL_BYTES, .ready = true};
	memcpy(offer->files[0].sha256, sha256, sizeof sha256);
	memcpy(offer->files[0].root, lists[giver_of(h) == OTHER_FILE]->root, HTH_HASH_BYTES);
}

static void on_read(void *ctx, uint64_t read, const hth_home_id *to, const unsigned char hash[HTH_SHA256_BYTES], hth_blocks_part part,
                    uint32_t index)
{
	sim_home *h = ctx;
	(void)to;
	giver lie = giver_of(h);
	const hth_chunk_list *list = lists[lie == OTHER_FILE];
	const unsigned char *from = NULL;
	size_t len = 0;
	if (!h->models->has || memcmp(hash, sha256, sizeof sha256) != 0)
		;
	else if (part == HTH_PART_TOP)
		from = list->pages[0], len = (size_t)list->n_pages * HTH_HASH_BYTES;
	else if (part == HTH_PART_PAGE && index < list->n_pages)
		from = hth_chunk_list_page(list, index, &len);
	else if (part == HTH_PART_CHUNK && index < list->n_chunks)
		from = (lie == OTHER_FILE ? other : truth) + (size_t)index * HTH_CHUNK_BYTES, len = hth_chunk_size(MODEL_BYTES, index);
	if (lie == GIVES_NOTHING && part == HTH_PART_CHUNK)
		return;
	if (from != NULL && lie == CUTS_SHORT && part == HTH_PART_CHUNK)
		len /= 2;
	sim_event e = {.at = w->now + 1 + len / 200000, .kind = E_MODELS, .home = h->index, .number = read << 3 | M_READ, .epoch = h->epoch,
	               .len = (uint32_t)len};
	if (from != NULL) {
		e.bytes = malloc(len);
		memcpy(e.bytes, from, len);
		if (lie == FLIPS_BITS && part == HTH_PART_CHUNK && sim_unit() < 0.5)
			e.bytes[sim_between(0, len - 1)] ^= 4;
	}
	sim_push(e);
}

static void on_found(void *ctx, uint64_t find, const hth_home_id *from, const hth_blocks_offer *offer)
{
	(void)ctx, (void)find, (void)from, (void)offer;
}
static void on_find_ended(void *ctx, uint64_t find) { (void)ctx, (void)find; }

static void on_store(void *ctx, uint64_t fetch, uint32_t index, const void *bytes, size_t len)
{
	sim_home *h = ctx;
	(void)fetch;
	memcpy(h->models->disk + (size_t)index * HTH_CHUNK_BYTES, bytes, len);
	hth_chunk_hash(bytes, len, h->models->found[index]);
	push(h, M_STORED, w->now + 2, index, h->index, NULL, 0);
}

static void on_check(void *ctx, uint64_t fetch)
{
	(void)fetch;
	push(ctx, M_CHECK, w->now + 5, 0, 0, NULL, 0);
}

static void on_ended(void *ctx, uint64_t fetch, hth_blocks_end end, uint32_t prefix)
{
	sim_home *h = ctx;
	struct sim_models *m = h->models;
	(void)fetch;
	m->fetching = false;
	if (end != HTH_BLOCKS_WHOLE) {
		if (memcmp(m->disk, truth, (size_t)prefix * HTH_CHUNK_BYTES) != 0 &&
		    memcmp(m->disk, other, (size_t)prefix * HTH_CHUNK_BYTES) != 0)
			sim_problem("home %u was told that the first %u chunks of a model are right", h->index, prefix);
		push(h, M_WANT, w->now + AGAIN_MS, 0, 0, NULL, 0);
		return;
	}
	if (memcmp(m->disk, truth, MODEL_BYTES) != 0)
		sim_problem("home %u has a model that is not what its hash says", h->index);
	w->result->fetched++;
	m->has = true;
	m->wants = false;
	free(m->disk);
	free(m->found);
	m->disk = NULL;
	m->found = NULL;
}

static void on_lied(void *ctx, const hth_home_id *from)
{
	sim_home *h = ctx, *there = sim_home_of(from);
	giver lie = giver_of(there);
	if (lie != FLIPS_BITS && lie != OTHER_FILE && lie != CUTS_SHORT)
		sim_problem("home %u says that home %u lied about a model, and it did not", h->index, there->index);
	h->models->lied |= (uint64_t)1 << place_of(there);
	w->result->models_lied++;
}

/* ---- a home's life ---- */

static void set_peers(sim_home *h)
{
	hth_home_id ids[STREET_MAX];
	size_t n = 0, first = h->index - place_of(h);
	for (size_t i = first; i < first + w->o.street && i < w->o.homes; i++)
		if (i != h->index && hth_membership_find(h->membership, &w->homes[i].id) != NULL)
			ids[n++] = w->homes[i].id;
	hth_blocks_set_peers(h->models->blocks, ids, n, w->now);
}

static void open_blocks(sim_home *h)
{
	const hth_blocks_ops ops = {h, on_send, on_offer, on_read, on_found, on_find_ended, on_store, on_check, on_ended, on_lied};
	if (h->models->blocks != NULL)
		return;
	if (hth_blocks_create(&h->models->blocks, &ops, NULL) != HTH_OK)
		abort();
	set_peers(h);
}

static void want(sim_home *h)
{
	struct sim_models *m = h->models;
	if (m->has || m->fetching || !h->up || (!m->wants && w->now >= w->end))
		return;
	m->wants = true;
	open_blocks(h);
	if (m->disk == NULL) {
		m->disk = calloc(1, MODEL_BYTES);
		m->found = calloc(CHUNKS, sizeof *m->found);
		w->result->wanted++;
	} else {
		w->result->resumed++;
	}
	m->lied = 0;
	if (hth_blocks_fetch(m->blocks, FETCH, MODEL_BYTES, sha256, (const unsigned char(*)[HTH_HASH_BYTES])m->found, CHUNKS, w->now,
	                     NULL) != HTH_OK) {
		push(h, M_WANT, w->now + AGAIN_MS, 0, 0, NULL, 0); /* there is nobody just now */
		return;
	}
	m->fetching = true;
	m->began_ms = w->now;
	/* In the middle of it this home, or one that gives, may lose power. */
	uint64_t luck = sim_between(0, 7);
	sim_home *who = luck < 2 ? h : &w->homes[h->index - place_of(h) + sim_between(0, w->o.street - 1) / 6 * 6];
	if (luck < 4 && w->now < w->end && who->index < w->o.homes)
		push(who, M_POWER, w->now + sim_between(300, 2500), 0, 0, NULL, 0);
}

void sim_models_down(sim_home *h)
{
	struct sim_models *m = h->models;
	if (m == NULL)
		return;
	hth_blocks_destroy(m->blocks);
	m->blocks = NULL;
	if (m->fetching) { /* what was being written is not what was meant */
		uint32_t i = (uint32_t)sim_between(0, CHUNKS - 1);
		m->disk[(size_t)i * HTH_CHUNK_BYTES + 5] ^= 1;
		hth_chunk_hash(m->disk + (size_t)i * HTH_CHUNK_BYTES, hth_chunk_size(MODEL_BYTES, i), m->found[i]);
	}
	m->fetching = false;
	m->wake_ms = 0;
}

void sim_models_up(sim_home *h)
{
	if (h->models != NULL && h->models->wants)
		want(h);
	if (h->models != NULL)
		wake(h);
}

void sim_models_members(sim_home *h)
{
	if (h->models == NULL || h->models->blocks == NULL)
		return;
	set_peers(h);
	wake(h);
}

void sim_models_event(sim_home *h, sim_event *e)
{
	struct sim_models *m = h->models;
	int what = (int)(e->number & 7);
	uint64_t number = e->number >> 3;
	bool here = h->up && (what == M_LETTER || what == M_WANT || e->epoch == h->epoch);
	if (here && what == M_POWER) {
		h->dead = true;
	} else if (here && what == M_WANT) {
		want(h);
	} else if (here && what == M_LETTER) {
		open_blocks(h);
		hth_blocks_receive(m->blocks, &w->homes[e->from].id, e->bytes, e->len, w->now);
	} else if (here && m->blocks != NULL) {
		if (what == M_READ)
			hth_blocks_read_done(m->blocks, number, e->bytes, e->len, w->now);
		else if (what == M_STORED)
			hth_blocks_stored(m->blocks, FETCH, w->now);
		else if (what == M_CHECK && m->fetching)
			hth_blocks_checked(m->blocks, FETCH, memcmp(m->disk, truth, MODEL_BYTES) == 0, w->now);
	}
	if (here && m->blocks != NULL && !h->dead)
		hth_blocks_tick(m->blocks, w->now);
	if (m->fetching && w->now > m->began_ms + FETCH_LIMIT_MS)
		sim_problem("home %u has been fetching a model for an hour", h->index);
	free(e->bytes);
	if (h->up && !h->dead)
		wake(h);
}

/* ---- beginning and end ---- */

void sim_models_begin(sim *s)
{
	w = s;
	hth_rng rng;
	hth_rng_seed(&rng, s->o.seed);
	truth = malloc(MODEL_BYTES + 8);
	other = malloc(MODEL_BYTES);
	memset(sha256, 0xA5, sizeof sha256); /* the whole is compared with the truth: any name will do */
	for (size_t i = 0; i < MODEL_BYTES; i += 8) {
		uint64_t x = hth_rng_next(&rng);
		memcpy(truth + i, &x, 8);
	}
	memcpy(other, truth, MODEL_BYTES);
	other[MODEL_BYTES / 2] ^= 0x55;
	for (int which = 0; which < 2; which++) {
		if (hth_chunk_list_create(&lists[which], MODEL_BYTES, sha256, NULL) != HTH_OK)
			abort();
		for (uint32_t i = 0; i < CHUNKS; i++)
			hth_chunk_hash((which ? other : truth) + (size_t)i * HTH_CHUNK_BYTES, hth_chunk_size(MODEL_BYTES, i),
			               lists[which]->chunks[i]);
		hth_chunk_list_seal(lists[which]);
	}
	for (uint32_t i = 0; i < s->o.homes; i++) {
		sim_home *h = &s->homes[i];
		if ((h->models = calloc(1, sizeof *h->models)) == NULL)
			abort();
		h->models->has = giver_of(h) != GIVES || place_of(h) % 6 == 0; /* liars say so */
		if (!h->models->has && i % 2 == 0)
			push(h, M_WANT, s->now + (uint64_t)sim_exponential(WANT_HOURS * 3600000.0), 0, 0, NULL, 0);
	}
}

bool sim_models_busy(const sim *s)
{
	for (size_t i = 0; i < s->o.homes; i++)
		if (s->homes[i].models != NULL && s->homes[i].models->wants)
			return true;
	return false;
}

void sim_models_check(sim *s)
{
	for (size_t i = 0; i < s->o.homes; i++)
		if (s->homes[i].models != NULL && s->homes[i].models->wants)
			sim_problem("home %zu wants a model that its neighbours have, and does not get it", i);
}

void sim_models_end(sim *s)
{
	for (size_t i = 0; i < s->n_heap; i++)
		if (s->events[s->heap[i].place].kind == E_MODELS)
			free(s->events[s->heap[i].place].bytes);
	for (size_t i = 0; i < s->o.homes; i++) {
		struct sim_models *m = s->homes[i].models;
		if (m == NULL)
			continue;
		hth_blocks_destroy(m->blocks);
		free(m->disk);
		free(m->found);
		free(m);
	}
	free(truth);
	free(other);
	hth_chunk_list_destroy(lists[0]);
	hth_chunk_list_destroy(lists[1]);
	truth = other = NULL;
	lists[0] = lists[1] = NULL;
}
