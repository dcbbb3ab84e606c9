/* simulation.c - a discrete-event simulation of homes that lend to each other.
 *
 * What goes wrong, all from the seed: homes lose power (at random, and in the middle of a ledger's write, before or after it happened) and
 * come back; a street's hub goes down; single homes are cut off; a home freezes for seconds, or computes a hundred times slower; letters
 * are lost, doubled, delayed past later ones; homes leave, are removed and come back, by charters that two keepers change at once
 * (simulation-members.c); some homes lie: they make up tokens, boast of speed, or send garbage.
 * What is checked: no private word is in any letter, and no word for trusted homes reaches another; every request ends exactly once,
 * with its right tokens without gap or repeat (unless a liar served it, and then a liar is caught within the stated number of answers);
 * nobody waits for ever; after the dust has settled both ends of every chain agree, every disk replays, and each pair's credit is the same
 * with opposite signs.
 *
 * An engine is simple on purpose: a number of slots, each with the home's prefill and decode speed. Waiting is from the request to its
 * first token, less the prompt's own time at home: what the queue cost.
 */
#include "simulation-internal.h"

#include "privacy/privacy.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { CHUNK = 32, CHUNK_MS = 800, RESTART_MIN_MS = 3000, RESTART_MAX_MS = 60000, SETTLE_MS = 900000, WAIT_LIMIT_MS = 6 * 3600000 };
static const uint64_t START = 20000ull * 86400000;
static const char private_mark[] = "~never-leaves-home", street_mark[] = "~for-trusted-homes";

static sim *s; /* one simulation at a time: the callbacks' contexts are homes */

void sim_problem(const char *fmt, ...)
{
	if (!s->result->good)
		return;
	va_list args;
	va_start(args, fmt);
	s->result->good = false;
	int n = snprintf(s->result->problem, sizeof s->result->problem, "at %.3f s: ", (double)(s->now - START) / 1000);
	vsnprintf(s->result->problem + n, sizeof s->result->problem - (size_t)n, fmt, args);
	va_end(args);
}

double sim_unit(void) { return hth_rng_unit(&s->rng); }
uint64_t sim_between(uint64_t low, uint64_t high) { return low + hth_rng_next(&s->rng) % (high - low + 1); }
double sim_exponential(double mean) { return -mean * log(1 - sim_unit()); }
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}
/* An answer's text: a row of letters; token i stands for none to three of them. */
static char letter_at(uint64_t seed, uint32_t at) { return (char)('a' + mix(seed ^ (at + 1) * 0xD1342543DE82EF95u) % 26); }
static int32_t truth(uint64_t seed, uint32_t i);
static uint32_t text_of(uint64_t seed, uint32_t tokens)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < tokens; i++)
		n += (uint32_t)truth(seed, i) % 4;
	return n;
}
static int32_t truth(uint64_t seed, uint32_t i) { return (int32_t)(mix(seed + i * 0x9E3779B97F4A7C15u) & 0x7fff); }

/* ---- events ---- */

static bool before(const sim_key *a, const sim_key *b) { return a->at != b->at ? a->at < b->at : a->order < b->order; }

void sim_push(sim_event e)
{
	if (s->n_heap == s->cap_heap) {
		s->cap_heap = s->cap_heap ? s->cap_heap * 2 : 1024;
		s->heap = realloc(s->heap, s->cap_heap * sizeof *s->heap);
		s->events = realloc(s->events, s->cap_heap * sizeof *s->events);
		s->free_places = realloc(s->free_places, s->cap_heap * sizeof *s->free_places);
		if (s->heap == NULL || s->events == NULL || s->free_places == NULL)
			abort();
		for (size_t i = s->n_heap; i < s->cap_heap; i++)
			s->free_places[i] = (uint32_t)i;
	}
	sim_key key = {.at = e.at, .order = s->order++, .place = s->free_places[s->n_heap]};
	s->events[key.place] = e;
	size_t i = s->n_heap++;
	for (; i > 0 && before(&key, &s->heap[(i - 1) / 4]); i = (i - 1) / 4)
		s->heap[i] = s->heap[(i - 1) / 4];
	s->heap[i] = key;
}

static sim_event pop(void)
{
	sim_key first = s->heap[0], last = s->heap[--s->n_heap];
	size_t i = 0;
	for (size_t child; (child = 4 * i + 1) < s->n_heap; i = child) {
		for (size_t c = child + 1, end = HTH_MIN(child + 4, s->n_heap); c < end; c++)
			if (before(&s->heap[c], &s->heap[child]))
				child = c;
		if (!before(&s->heap[child], &last))
			break;
		s->heap[i] = s->heap[child];
	}
	s->heap[i] = last;
	s->free_places[s->n_heap] = first.place;
	return s->events[first.place];
}

static void at(uint64_t when, event_kind kind, uint32_t home, uint64_t number)
{
	sim_push((sim_event){.at = when, .kind = (uint8_t)kind, .home = home, .number = number, .epoch = s->homes[home].epoch});
}

/* ---- who is who ---- */

static size_t slot_of(const hth_home_id *id)
{
	uint64_t h;
	memcpy(&h, id->bytes, sizeof h);
	return (size_t)mix(h) & s->by_id_mask;
}

sim_home *sim_home_of(const hth_home_id *id)
{
	for (size_t i = slot_of(id);; i = (i + 1) & s->by_id_mask) {
		if (s->by_id[i] == 0)
			return NULL;
		if (hth_home_id_equal(&s->homes[s->by_id[i] - 1].id, id))
			return &s->homes[s->by_id[i] - 1];
	}
}

static bool trusts(const sim_home *a, const sim_home *b) { return mix((uint64_t)a->index * 1000003 + b->index) % 4 != 0; }

/* ---- signatures: the stand-in depends on the signer's secret, the label and every byte ---- */

static void fake_mac(uint64_t secret, const char *label, const void *bytes, size_t len, unsigned char out[HTH_SIGNATURE_BYTES])
{
	uint64_t h = secret ^ len;
	for (; *label != '\0'; label++)
		h = (h ^ (unsigned char)*label) * 0x100000001B3u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001B3u;
	for (size_t i = 0; i < HTH_SIGNATURE_BYTES; i += 8) {
		h = mix(h + i + 1);
		memcpy(out + i, &h, 8);
	}
}
static void fake_sign(void *ctx, const char *label, const void *bytes, size_t len, unsigned char out[HTH_SIGNATURE_BYTES])
{
	fake_mac(((sim_home *)ctx)->secret, label, bytes, len, out);
}
static bool fake_verify(void *ctx, const hth_home_id *id, const char *label, const void *bytes, size_t len,
                        const unsigned char sig[HTH_SIGNATURE_BYTES])
{
	(void)ctx;
	unsigned char want[HTH_SIGNATURE_BYTES];
	const sim_home *signer = sim_home_of(id);
	if (signer == NULL)
		return false;
	fake_mac(signer->secret, label, bytes, len, want);
	return memcmp(want, sig, sizeof want) == 0;
}

/* ---- disk ---- */

hth_signer sim_signer_of(sim_home *h)
{
	return s->o.real_keys ? hth_signer_of(h->identity) : (hth_signer){fake_sign, fake_verify, h};
}

hth_status sim_disk_put(void *ctx, const hth_entry *entry, hth_error *err)
{
	sim_home *h = ctx;
	if (h->dead)
		return hth_fail(err, HTH_IO, "no power");
	bool dies = s->o.faults && s->now < s->end && hth_rng_next(&h->rng) % 1500 == 0, late = hth_rng_next(&h->rng) & 1;
	if (dies) {
		h->dead = true;
		s->result->write_crashes++;
		if (!late)
			return hth_fail(err, HTH_IO, "no power");
	}
	bool given = hth_home_id_equal(&entry->receipt.giver, &h->id);
	size_t *last = &h->disk.last[sim_home_of(given ? &entry->receipt.taker : &entry->receipt.giver)->index % s->o.street][given],
	    i = *last;
	if (i == 0 || h->disk.entries[i - 1].receipt.sequence != entry->receipt.sequence) {
		if (h->disk.n == h->disk.cap) {
			h->disk.cap = h->disk.cap ? h->disk.cap * 2 : 16;
			h->disk.entries = realloc(h->disk.entries, h->disk.cap * sizeof *h->disk.entries);
			if (h->disk.entries == NULL)
				abort();
		}
		*last = i = ++h->disk.n;
	}
	h->disk.entries[i - 1] = *entry;
	return dies ? hth_fail(err, HTH_IO, "no power") : HTH_OK;
}

/* ---- link ---- */

bool sim_is_cut(const sim_home *from, const sim_home *to)
{
	return from->dead || s->now < from->cut_until || s->now < to->cut_until || s->now < s->hub_down_until[from->street] ||
	    sim_members_apart(from, to) || (s->o.faults && sim_unit() < 0.001);
}

uint64_t sim_delay(const sim_home *from, const sim_home *to)
{
	return 5 + mix((uint64_t)(from->index ^ to->index) * 77) % 40 + (uint64_t)sim_exponential(3);
}

static void send_letter(void *ctx, const hth_home_id *to_id, const void *bytes, size_t len)
{
	sim_home *from = ctx, *to = sim_home_of(to_id);
	s->result->messages++;
	s->result->bytes += len;
	bool marked = memchr(bytes, '~', len) != NULL; /* most letters have no words at all */
	if (marked && memmem(bytes, len, private_mark, sizeof private_mark - 1) != NULL)
		sim_problem("home %u sent private words to home %u", from->index, to->index);
	if (marked && memmem(bytes, len, street_mark, sizeof street_mark - 1) != NULL && !trusts(from, to))
		sim_problem("home %u sent words for trusted homes to home %u, which it does not trust", from->index, to->index);
	if (sim_is_cut(from, to))
		return;
	for (int copies = s->o.faults && sim_unit() < 0.0005 ? 2 : 1; copies > 0; copies--) {
		sim_event e = {.at = s->now + sim_delay(from, to), .kind = E_LETTER, .home = to->index,
		               .from = from->index, .len = (uint32_t)len, .bytes = malloc(len ? len : 1)};
		memcpy(e.bytes, bytes, len);
		if (from->liar == GARBLES && sim_unit() < 0.2 && len > 0)
			e.bytes[hth_rng_next(&s->rng) % len] ^= (unsigned char)(1 << hth_rng_next(&s->rng) % 8);
		sim_push(e);
	}
}

/* ---- requests ---- */

static void end_request(sim_request *r, request_state state)
{
	if (++r->ends != 1)
		sim_problem("request %zu ended %u times", (size_t)(r - s->requests), r->ends);
	r->state = (uint8_t)state;
	if (state != R_DONE)
		return;
	if (r->have != r->tokens)
		sim_problem("request %zu ended with %u of %u tokens", (size_t)(r - s->requests), r->have, r->tokens);
	const sim_home *h = &s->homes[r->home];
	double wait = (double)(r->first_ms - r->arrived_ms) / 1000 - r->prompt / h->prefill;
	s->waits[r - s->requests] = (float)(wait > 0 ? wait : 0);
}

/* ---- engines ---- */

static void report(sim_home *h);

static double speed_of(const sim_home *h, double speed) { return s->now < h->slow_until ? speed / 100 : speed; }

static size_t running(const sim_home *h, bool own_only)
{
	size_t n = 0;
	for (size_t i = 0; i < h->n_jobs; i++)
		n += h->jobs[i].running && (h->jobs[i].own || !own_only);
	return n;
}

static sim_job *find_job(sim_home *h, bool own, uint64_t id)
{
	for (size_t i = 0; i < h->n_jobs; i++)
		if (h->jobs[i].own == own && h->jobs[i].id == id)
			return &h->jobs[i];
	return NULL;
}

static void drop_job(sim_home *h, sim_job *j) { *j = h->jobs[--h->n_jobs]; }

/* Tokens go out as they are made; a simulation has them in parts of some tenths of a second. */
static uint32_t chunk_of(const sim_home *h) { return (uint32_t)HTH_MIN(h->decode * CHUNK_MS / 1000, (double)CHUNK); }

static void next_chunk(sim_home *h, sim_job *j, double seconds)
{
	j->serial = ++s->serial;
	at(s->now + 1 + (uint64_t)(seconds * 1000), E_CHUNK, h->index, j->serial);
}

static void start_job(sim_home *h, sim_job *j)
{
	j->running = true;
	if (j->own && !j->beside)
		s->requests[j->id].state = R_RUNNING;
	next_chunk(h, j, (j->prompt + j->made) / speed_of(h, h->prefill));
}

/* Fills free slots; one's own take the place of neighbours'. */
static void schedule(sim_home *h)
{
	for (;;) {
		hth_waiting waiting[128];
		size_t index[128], n = 0;
		for (size_t i = 0; i < h->n_jobs && n < HTH_COUNT(waiting); i++) {
			sim_job *j = &h->jobs[i];
			if (j->running)
				continue;
			waiting[n] = (hth_waiting){.own = j->own, .since_ms = j->since_ms,
			                           .standing = j->own ? 1 : hth_pool_work_standing(h->pool, j->id, s->now)};
			index[n++] = i;
		}
		int next = hth_queue_next(waiting, n, s->now);
		if (next < 0)
			break;
		sim_job *j = &h->jobs[index[next]];
		if (running(h, false) < h->slots) {
			start_job(h, j);
			continue;
		}
		if (!j->own || running(h, true) == h->slots)
			break;
		size_t latest = SIZE_MAX; /* the neighbour's that began last has lost least */
		for (size_t i = 0; i < h->n_jobs; i++)
			if (h->jobs[i].running && !h->jobs[i].own && (latest == SIZE_MAX || h->jobs[i].since_ms > h->jobs[latest].since_ms))
				latest = i;
		uint64_t work = h->jobs[latest].id;
		drop_job(h, &h->jobs[latest]);
		hth_pool_yield(h->pool, work, s->now);
	}
	report(h);
}

static double own_wait_s(const sim_home *h)
{
	double work = 0;
	size_t own = 0;
	for (size_t i = 0; i < h->n_jobs; i++) {
		const sim_job *j = &h->jobs[i];
		if (!j->own)
			continue;
		own++;
		/* a home knows what it is asked for, and guesses well enough */
		work += (j->running ? 0 : j->prompt / h->prefill) + (j->tokens - j->made) / h->decode;
	}
	return own < h->slots ? 0 : work / h->slots;
}

static void report(sim_home *h)
{
	if (h->pool == NULL)
		return;
	double boast = h->liar == BOASTS ? 10 : 1;
	size_t own_waiting = 0, queued = 0, busy = running(h, false);
	for (size_t i = 0; i < h->n_jobs; i++) {
		own_waiting += h->jobs[i].own && !h->jobs[i].running;
		queued += h->jobs[i].tokens - h->jobs[i].made;
	}
	hth_capability c = {.slots = (uint16_t)h->slots, .free_slots = (uint16_t)(h->slots - HTH_MIN(busy, h->slots)),
	                    .queued_tokens = (uint32_t)queued,
	                    .lends = own_waiting == 0 && running(h, true) < h->slots, .accepts_public = true, .accepts_neighbours = true,
	                    .n_models = 1};
	c.models[0] = (hth_pool_model){.prefill_tok_s = (float)(h->prefill * boast), .decode_tok_s = (float)(h->decode * boast)};
	hth_pool_set_home(h->pool, &c, own_wait_s(h), s->now);
}

static void add_job(sim_home *h, sim_job job)
{
	if (h->n_jobs == h->cap_jobs) {
		h->cap_jobs = h->cap_jobs ? h->cap_jobs * 2 : 8;
		h->jobs = realloc(h->jobs, h->cap_jobs * sizeof *h->jobs);
		if (h->jobs == NULL)
			abort();
	}
	job.since_ms = s->now;
	h->jobs[h->n_jobs++] = job;
}

static void run_at_home(sim_home *h, uint64_t number)
{
	sim_request *r = &s->requests[number];
	r->state = R_QUEUED;
	s->result->at_home++;
	add_job(h, (sim_job){.own = true, .id = number, .prompt = r->prompt, .tokens = r->tokens, .made = r->have, .seed = r->seed});
}

/* ---- the pool's callbacks ---- */

static bool on_leaves(void *ctx, uint64_t number, const hth_home_id *to, size_t words_len, const char *why, bool also)
{
	(void)why, (void)also;
	sim_request *r = &s->requests[number];
	(void)ctx;
	r->touched |= sim_home_of(to)->liar == GARBLES;
	if (r->privacy == HTH_PRIVATE || words_len == 0 || sim_home_of(to) == &s->homes[r->home])
		sim_problem("request %zu of class %u is about to leave", (size_t)number, r->privacy);
	return true;
}

static void on_tokens(void *ctx, uint64_t number, const hth_pool_run *run)
{
	sim_home *h = ctx;
	sim_request *r = &s->requests[number];
	if (r->state != R_ABROAD || r->home != h->index)
		sim_problem("tokens for request %zu, which is not abroad", (size_t)number);
	if (r->first_ms == 0)
		r->first_ms = s->now;
	for (size_t i = 0; i < run->n; i++)
		r->tainted |= run->ids[i] != truth(r->seed, r->have + (uint32_t)i);
	r->have += (uint32_t)run->n;
	for (size_t i = 0; i < run->text_len && !r->tainted && !r->garbled; i++)
		r->garbled = ((const char *)run->text)[i] != letter_at(r->seed, r->text + (uint32_t)i);
	r->text += (uint32_t)run->text_len;
	if (r->have > r->tokens)
		sim_problem("request %zu has more tokens than were asked for", (size_t)number);
}

static void on_ended(void *ctx, uint64_t number, const hth_home_id *served_by, bool check, uint8_t finish, uint8_t stop)
{
	sim_home *h = ctx;
	sim_request *r = &s->requests[number];
	sim_home *peer = sim_home_of(served_by);
	bool garbled = h->liar == GARBLES; /* what its own letters asked for is its own fault */
	if (!r->tainted && !garbled && !r->touched && (finish != 2 || stop != 0 || r->garbled || r->text != text_of(r->seed, r->tokens)))
		sim_problem("request %zu ended with %u bytes of text, right up to there: %d; %u were to come", (size_t)number, r->text,
		            !r->garbled, text_of(r->seed, r->tokens));
	if (r->have != r->tokens && (garbled || peer->liar == GARBLES)) {
		r->tainted = true;
		r->have = r->tokens;
	}
	if (r->tainted && !garbled) {
		if (check && peer->liar != HONEST) {
			s->result->caught_liars++;
			at(s->now + 1, E_DONE, h->index, (uint64_t)peer->index); /* the verdict of the check, a moment later */
		} else if (peer->liar != HONEST) {
			s->result->falsified++;
			uint32_t *count = &h->falsified_by_peer[peer->index % s->o.street];
			if (++*count > s->result->worst_falsified)
				s->result->worst_falsified = *count;
		}
	}
	if (hth_membership_find(h->membership, served_by) == NULL)
		sim_problem("home %u takes an answer of home %u, which is no member", h->index, peer->index);
	s->result->abroad++;
	end_request(r, R_DONE);
}

static void on_go_home(void *ctx, uint64_t number, size_t n, const char *why)
{
	(void)why;
	sim_home *h = ctx;
	sim_job *begun = find_job(h, true, number);
	if (s->requests[number].have != n)
		sim_problem("request %zu comes home with %zu tokens, and %u were told", (size_t)number, n, s->requests[number].have);
	if (begun != NULL) {
		begun->beside = false;
		s->requests[number].state = R_RUNNING;
		s->result->at_home++;
		return;
	}
	run_at_home(h, number);
	at(s->now, E_WAKE, h->index, 0); /* scheduled in a moment: callbacks do not call back */
}

static bool on_also_home(void *ctx, uint64_t number, size_t n, bool begin)
{
	sim_home *h = ctx;
	sim_request *r = &s->requests[number];
	sim_job *j = find_job(h, true, number);
	at(s->now, E_WAKE, h->index, 0);
	if (!begin) {
		if (j == NULL || !j->beside)
			sim_problem("request %zu was not begun at home", (size_t)number);
		else
			drop_job(h, j);
		return true;
	}
	if (j != NULL || r->have != n)
		sim_problem("request %zu is begun twice at home, or not where it stands", (size_t)number);
	if (running(h, false) >= h->slots)
		return false;
	add_job(h, (sim_job){.own = true, .beside = true, .id = number, .prompt = r->prompt, .tokens = r->tokens, .made = r->have,
	                     .seed = r->seed});
	return true;
}

static void on_failed(void *ctx, uint64_t number)
{
	(void)ctx;
	sim_problem("request %zu failed although its home has the model", (size_t)number);
}

static void on_serve(void *ctx, const hth_pool_work *w)
{
	sim_home *h = ctx;
	for (size_t i = 0; i < w->n_prefix; i++) /* what another made so far is this answer's beginning */
		if (w->prefix[i] < 0)
			sim_problem("a prefix has a token that is none");
	add_job(h, (sim_job){.own = false, .id = w->work, .prompt = w->prompt_tokens, .tokens = w->max_tokens,
	                     .made = (uint32_t)w->n_prefix, .text = w->text_bytes,
	                     .seed = w->seed});
	at(s->now, E_WAKE, h->index, 0);
}

static void on_stop(void *ctx, uint64_t work)
{
	sim_home *h = ctx;
	sim_job *j = find_job(h, false, work);
	if (j != NULL)
		drop_job(h, j);
	at(s->now, E_WAKE, h->index, 0);
}

static void on_hold(void *ctx, uint64_t work, bool held)
{
	sim_home *h = ctx;
	sim_job *j = find_job(h, false, work);
	if (j == NULL)
		return;
	j->held = held;
	if (!held && j->waiting_chunk) {
		j->waiting_chunk = false;
		next_chunk(h, j, chunk_of(h) / speed_of(h, h->decode));
	}
}

/* ---- what happens ---- */

static void chunk(sim_home *h, uint64_t serial)
{
	sim_job *j = NULL;
	for (size_t i = 0; i < h->n_jobs && j == NULL; i++)
		if (h->jobs[i].running && h->jobs[i].serial == serial)
			j = &h->jobs[i];
	if (j == NULL)
		return;
	if (j->own) { /* nobody interrupts it: its first token, then its last */
		sim_request *r = &s->requests[j->id];
		if (j->beside) { /* its first token: it, or what a neighbour makes */
			if (!hth_pool_home_delivers(h->pool, j->id, s->now)) {
				sim_problem("request %llu was faster at home, and that did not count", (unsigned long long)j->id);
				return;
			}
			j->beside = false;
			r->state = R_RUNNING;
			s->result->at_home++;
		}
		if (!j->begun) {
			j->begun = true;
			if (r->first_ms == 0)
				r->first_ms = s->now;
			next_chunk(h, j, (j->tokens - j->made) / speed_of(h, h->decode));
			return;
		}
		if (r->have != j->made)
			sim_problem("request %llu has %u tokens at home and %u elsewhere", (unsigned long long)j->id, j->made, r->have);
		r->have = r->tokens;
		end_request(r, R_DONE);
		drop_job(h, j);
		schedule(h);
		return;
	}
	if (j->held) {
		j->waiting_chunk = true;
		return;
	}
	int32_t ids[CHUNK];
	uint32_t n = HTH_MIN(chunk_of(h), j->tokens - j->made);
	for (uint32_t i = 0; i < n; i++)
		ids[i] = h->liar == MAKES_UP ? truth(j->seed, j->made + i) ^ 1 : truth(j->seed, j->made + i);
	j->made += n;
	bool final = j->made == j->tokens, begins = !j->begun;
	uint64_t work = j->id;
	for (uint32_t lag = final ? 0 : 1; j->n_counted + lag < j->made; j->n_counted++)
		j->counted += (uint32_t)truth(j->seed, j->n_counted) % 4;
	uint32_t out = j->counted, n_text = 0, prompt = j->prompt;
	char text[CHUNK * 4 + 4];
	j->begun = true;
	while (j->text < out && n_text < sizeof text)
		text[n_text++] = letter_at(j->seed, j->text++);
	if (final)
		drop_job(h, j);
	else
		next_chunk(h, j, chunk_of(h) / speed_of(h, h->decode));
	hth_pool_run run = {.ids = ids, .n = n, .text = text, .text_len = n_text, .has_prompt = begins, .prompt_tokens = prompt,
	                    .tail = ">", .tail_len = 1,
	                    .final = final, .finish = final ? 2 : 0};
	hth_pool_served(h->pool, work, &run, n * 1000, s->now);
	if (final)
		schedule(h);
}

static hth_neighbour_permit *permit_for(const sim_request *r, size_t number)
{
	hth_error err;
	hth_request *request = NULL;
	hth_neighbour_permit *permit = NULL;
	char text[64];
	snprintf(text, sizeof text, "%s %zu", r->privacy == HTH_PRIVATE ? private_mark : r->privacy == HTH_NEIGHBOURS ? street_mark
	         : "for everybody", number);
	if (hth_request_create(&request, HTH_COMPLETION, &err) != HTH_OK)
		abort();
	request->input.text = strdup(text);
	request->input.text_len = strlen(text);
	request->privacy = (hth_privacy_class)r->privacy;
	hth_status status = hth_privacy_permit_neighbours(request, &permit, &err);
	if ((status == HTH_OK) != (r->privacy != HTH_PRIVATE))
		sim_problem("a permit for a request of class %d: %s", r->privacy, hth_status_name(status));
	hth_request_unref(request);
	return permit;
}

static void new_request(sim_home *h)
{
	if (s->n_requests == s->cap_requests) {
		s->cap_requests = s->cap_requests ? s->cap_requests * 2 : 4096;
		s->requests = realloc(s->requests, s->cap_requests * sizeof *s->requests);
		s->waits = realloc(s->waits, s->cap_requests * sizeof *s->waits);
		if (s->requests == NULL || s->waits == NULL)
			abort();
	}
	size_t number = s->n_requests++;
	sim_request *r = &s->requests[number];
	double kind = sim_unit();
	*r = (sim_request){.home = h->index, .prompt = 100 + (uint32_t)sim_exponential(1400),
	                   .tokens = 20 + (uint32_t)HTH_MIN(sim_exponential(480), 4000.0),
	                   .seed = hth_rng_next(&s->rng), .arrived_ms = s->now,
	                   .privacy = kind < 0.3 ? HTH_PRIVATE : kind < 0.7 ? HTH_NEIGHBOURS : HTH_PUBLIC};
	r->expected = (uint32_t)(r->tokens * (0.5 + sim_unit()));
	s->waits[number] = -1;
	s->result->requests++;
	hth_neighbour_permit *permit = s->o.alone ? NULL : permit_for(r, number);
	if (permit != NULL) {
		static const unsigned char model[HTH_HASH_BYTES];
		hth_pool_ask_options o = {.ask = number, .model = model, .prompt_tokens = r->prompt, .max_tokens = r->tokens,
		                          .expected_tokens = r->expected, .seed = r->seed};
		r->state = R_ABROAD;
		if (hth_pool_ask(h->pool, permit, &o, s->now, NULL) == HTH_OK)
			return;
	}
	run_at_home(h, number);
	schedule(h);
}

void sim_members_changed(sim_home *h)
{
	size_t first = (size_t)h->street * s->o.street;
	if (h->pool == NULL)
		return;
	hth_pool_set_members(h->pool, hth_membership_charter(h->membership), s->now);
	for (size_t i = first; i < first + s->o.street && i < s->o.homes; i++)
		hth_pool_trust(h->pool, &s->homes[i].id, trusts(h, &s->homes[i]));
	sim_models_members(h);
}

static void bring_up(sim_home *h)
{
	hth_error err = HTH_ERROR_INIT;
	hth_pool_ops ops = {h, send_letter, on_leaves, on_tokens, on_ended, on_go_home, on_failed, on_serve, on_stop, on_hold, NULL,
	                    on_also_home};
	h->up = true;
	h->dead = false;
	h->epoch++;
	if (hth_ledger_create(&h->ledger, &h->id, sim_signer_of(h), (hth_ledger_disk){sim_disk_put, h}, &err) != HTH_OK ||
	    hth_pool_create(&h->pool, &h->id, &ops, h->ledger, &h->rng, &err) != HTH_OK)
		abort();
	for (size_t i = 0; i < h->disk.n; i++)
		if (hth_ledger_replay(h->ledger, &h->disk.entries[i], &err) != HTH_OK)
			sim_problem("home %u cannot read its ledger: %s", h->index, err.message);
	if (!s->o.alone) {
		sim_members_changed(h);
		hth_pool_settle(h->pool);
	}
	report(h);
	sim_models_up(h);
}

static void take_down(sim_home *h)
{
	s->result->crashes++;
	h->up = h->dead = false;
	h->epoch++;
	hth_pool_destroy(h->pool);
	hth_ledger_destroy(h->ledger);
	h->pool = NULL;
	h->ledger = NULL;
	h->n_jobs = 0;
	sim_models_down(h);
	for (size_t i = s->n_requests; i-- > 0 && s->requests[i].arrived_ms + WAIT_LIMIT_MS > s->now;)
		if (s->requests[i].home == h->index && s->requests[i].ends == 0)
			end_request(&s->requests[i], R_LOST);
	at(s->now + sim_between(RESTART_MIN_MS, RESTART_MAX_MS), E_UP, h->index, 0);
}

static void wake_pool(sim_home *h)
{
	uint64_t next = hth_pool_next_ms(h->pool);
	if (next == UINT64_MAX || (next >= h->wake_ms && h->wake_ms > s->now))
		return;
	h->wake_ms = HTH_MAX(next, s->now + 1);
	at(h->wake_ms, E_WAKE, h->index, 1);
}

static double arrival_mean_ms(const sim_home *h)
{
	/* An average request's time in a slot, against the slots that there are. Homes ask for different shares of what they have. */
	double seconds = 1500 / h->prefill + 500 / h->decode, share = 0.2 + 1.6 * (double)(mix(h->index + 99) % 1000) / 1000;
	return 3 * seconds * 1000 / (h->slots * s->o.load * share); /* they come in threes */
}

static void fault(sim_home *h, const sim_event *e)
{
	static const double mean_hours[] = {[E_DOWN] = 24, [E_CUT] = 12, [E_HUB] = 12, [E_FREEZE] = 8, [E_SLOW] = 8};
	if (s->now >= s->end)
		return; /* the dust may settle */
	switch ((event_kind)e->kind) {
	case E_CUT: h->cut_until = s->now + sim_between(1000, 300000); break;
	case E_HUB: s->hub_down_until[h->street] = s->now + sim_between(1000, 300000); break;
	case E_FREEZE: h->frozen_until = s->now + sim_between(500, 20000); break;
	case E_SLOW: h->slow_until = s->now + sim_between(10000, 120000); break;
	default: h->dead = h->up; break;
	}
	at(s->now + 1 + (uint64_t)sim_exponential(mean_hours[e->kind] * 3600000), (event_kind)e->kind, h->index, 0);
}

static void happen(sim_event *e)
{
	sim_home *h = &s->homes[e->home];
	s->result->events++;
	bool for_this_life = e->kind != E_WAKE && e->kind != E_CHUNK && e->kind != E_DONE ? true : e->epoch == h->epoch;
	if (h->frozen_until > s->now && (e->kind == E_LETTER || e->kind == E_WAKE || e->kind == E_CHUNK || e->kind == E_ARRIVE ||
	                                 e->kind >= E_CHANGE)) {
		e->at = h->frozen_until; /* it happens when the home thaws */
		sim_push(*e);
		return;
	}
	if (e->kind == E_MODELS) {
		sim_models_event(h, e);
		if (h->dead)
			take_down(h);
		return;
	}
	if (sim_members_event(s, h, e)) {
		if (h->up)
			wake_pool(h);
		return;
	}
	switch ((event_kind)e->kind) {
	case E_ARRIVE:
		if (s->now < s->end) {
			for (int i = 1 + (int)(hth_rng_next(&s->rng) % 5); h->up && i > 0; i--)
				new_request(h);
			at(s->now + 1 + (uint64_t)sim_exponential(arrival_mean_ms(h)), E_ARRIVE, h->index, 0);
		}
		break;
	case E_LETTER:
		if (h->up)
			hth_pool_receive(h->pool, &s->homes[e->from].id, e->bytes, e->len, s->now);
		free(e->bytes);
		break;
	case E_WAKE:
		if (h->up && for_this_life) {
			if (e->number == 0)
				schedule(h);
			else
				hth_pool_tick(h->pool, s->now);
		}
		break;
	case E_CHUNK:
		if (h->up && for_this_life)
			chunk(h, e->number);
		break;
	case E_DONE:
		if (h->up && for_this_life)
			hth_pool_weighed(h->pool, &s->homes[e->number].id, 64, 64, s->now); /* 64 tokens, none of them what it should be */
		break;
	case E_UP:
		if (!h->up)
			bring_up(h);
		break;
	default: fault(h, e); break;
	}
	if (h->dead)
		take_down(h);
	else if (h->up)
		wake_pool(h);
}

/* ---- beginning and end ---- */

static void make_homes(void)
{
	/* mini PC to gaming PC, with a model that is large for them */
	static const double speeds[][2] = {{50, 5}, {100, 9}, {200, 15}, {500, 30}};
	size_t streets = (s->o.homes + s->o.street - 1) / s->o.street;
	for (s->by_id_mask = 16; s->by_id_mask < 3 * s->o.homes; s->by_id_mask *= 2)
		;
	s->by_id = calloc(s->by_id_mask--, sizeof *s->by_id);
	s->homes = calloc(s->o.homes, sizeof *s->homes);
	s->charters = calloc(streets, sizeof *s->charters);
	s->hub_down_until = calloc(streets, sizeof *s->hub_down_until);
	s->apart_until = calloc(streets, sizeof *s->apart_until);
	hth_error err = HTH_ERROR_INIT;
	for (uint32_t i = 0; i < s->o.homes; i++) {
		sim_home *h = &s->homes[i];
		unsigned char seed[HTH_SEED_BYTES] = {0};
		uint64_t secret = hth_rng_next(&s->rng);
		memcpy(seed, &secret, sizeof secret);
		const double *speed = speeds[mix(i * 3 + 1) % HTH_COUNT(speeds)];
		hth_identity *identity = NULL;
		if (hth_identity_from_seed(&identity, seed, &err) != HTH_OK)
			abort();
		*h = (sim_home){.id = hth_identity_card(identity)->id, .index = i, .street = (uint32_t)(i / s->o.street), .secret = secret,
		                .prefill = speed[0],
		                .decode = speed[1], .slots = 1 + (uint32_t)(mix(i * 7 + 5) % 3)};
		if (s->o.faults && mix(i * 11 + 3) % 16 == 0)
			h->liar = (liar_kind)(1 + mix(i) % 3);
		s->result->liars += h->liar == MAKES_UP;
		hth_rng_seed(&h->rng, secret ^ 1);
		size_t slot = slot_of(&h->id);
		while (s->by_id[slot] != 0)
			slot = (slot + 1) & s->by_id_mask;
		s->by_id[slot] = i + 1;
		static const hth_rules rules = {.classes = 3, .credit_line = 50000, .admit_needs = 1, .change_needs = 1};
		hth_charter **charter = &s->charters[h->street], *next = NULL;
		hth_status status = *charter == NULL ? hth_charter_found(&next, "a street", &rules, identity, "home", &err)
		                                     : hth_charter_admit(&next, *charter, hth_identity_card(identity), "home",
		                                                         i % s->o.street == 1 ? HTH_ROLE_KEEPER : HTH_ROLE_MEMBER, &err);
		if (status != HTH_OK)
			abort();
		hth_charter_unref(*charter);
		*charter = next;
		if (s->o.real_keys)
			h->identity = identity;
		else
			hth_identity_destroy(identity);
	}
}

static int compare_floats(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static void run_until(uint64_t end)
{
	while (s->n_heap > 0 && s->heap[0].at <= end && s->result->good) {
		sim_event e = pop();
		s->now = e.at;
		happen(&e);
	}
	s->now = end;
}

void simulate(const sim_options *options, sim_result *ret_result)
{
	sim whole = {.o = *options, .now = START, .result = ret_result};
	clock_t began = clock();
	s = &whole;
	*ret_result = (sim_result){.good = true};
	s->end = START + (uint64_t)(options->hours * 3600000);
	hth_rng_seed(&s->rng, options->seed);
	hth_privacy_add_audience(HTH_NEIGHBOURS);
	hth_privacy_add_audience(HTH_PUBLIC);
	make_homes();
	if (!s->o.alone)
		sim_members_begin(s);
	if (!s->o.alone && s->o.faults)
		sim_models_begin(s);
	for (uint32_t i = 0; i < s->o.homes; i++) {
		bring_up(&s->homes[i]);
		wake_pool(&s->homes[i]);
		at(START + (uint64_t)sim_exponential(arrival_mean_ms(&s->homes[i])), E_ARRIVE, i, 0);
		if (options->faults)
			for (int kind = E_DOWN; kind <= E_SLOW; kind++)
				if (kind != E_UP && (kind != E_HUB || i % s->o.street == 0))
					at(START + (uint64_t)(sim_unit() * 24 * 3600000), (event_kind)kind, i, 0);
	}
	run_until(s->end);
	/* Queues empty themselves; then, with everybody there, what is open is settled. */
	for (int i = 0; i < 40 && s->result->good; i++) {
		if (!s->o.alone)
			sim_members_restore(s);
		run_until(s->now + SETTLE_MS);
		bool busy = !s->o.alone && (!sim_members_agree(s) || sim_models_busy(s));
		for (size_t j = 0; j < s->o.homes; j++)
			busy |= !s->homes[j].up || s->homes[j].n_jobs > 0 ||
			    (s->homes[j].pool != NULL && hth_pool_asks(s->homes[j].pool) > 0);
		if (!busy)
			break;
	}
	s->o.faults = false; /* the last letters arrive */
	for (int i = 0; i < 3 && s->result->good && !s->o.alone; i++) {
		for (size_t j = 0; j < s->o.homes; j++)
			if (s->homes[j].up)
				hth_pool_settle(s->homes[j].pool);
		run_until(s->now + 120000);
	}
	s->o.faults = options->faults;
	if (s->result->good)
		sim_check_end(s);
	if (s->result->good && s->n_requests > 0) {
		qsort(s->waits, s->n_requests, sizeof *s->waits, compare_floats);
		s->result->wait_p95_s = (double)s->waits[s->n_requests * 95 / 100];
	}
	sim_members_end(s);
	sim_models_end(s);
	for (size_t i = 0; i < s->n_heap; i++)
		free(s->events[s->heap[i].place].kind == E_LETTER ? s->events[s->heap[i].place].bytes : NULL);
	for (size_t i = 0; i < s->o.homes; i++) {
		hth_pool_destroy(s->homes[i].pool);
		hth_ledger_destroy(s->homes[i].ledger);
		hth_identity_destroy(s->homes[i].identity);
		free(s->homes[i].disk.entries);
		free(s->homes[i].jobs);
		hth_charter_unref(i % s->o.street == 0 ? s->charters[i / s->o.street] : NULL);
	}
	void *all[] = {s->heap, s->events, s->free_places, s->homes, s->charters, s->hub_down_until, s->apart_until, s->requests, s->by_id,
	               s->waits};
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		free(all[i]);
	ret_result->cpu_s = (double)(clock() - began) / CLOCKS_PER_SEC;
	s = NULL;
}
