/* capacity.c - what this home has to lend and to compare with: its models by the hash of their weights, how fast each was, and how busy it
 * is.
 *
 * Speeds are measured by the runner, answer by answer, smoothed, and kept in $HEARTH_HOME/speeds (a line for each model: hash, prefill,
 * decode). A model that never ran here is taken to be slow for its size. Models come from the catalog, looked at every few seconds; those
 * whose hash is not known yet (digests.c computes it in the background) are not offered. Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

enum { LOOK_EVERY_MS = 3000, SAVE_EVERY_MS = 60000, KEPT_MAX = 256, LEAST_PREFILL = 16, LEAST_DECODE = 8, USUAL_ANSWER = 256 };
#define GUESS_BYTES_PER_S 4e9 /* of weights, read once a token: what a modest machine does */
#define GUESS_PREFILL 4.0     /* times as fast as decoding */

typedef struct hth_kept_speed {
	unsigned char hash[HTH_HASH_BYTES];
	double prefill, decode;
} kept_speed;

static double clamp(double x, double low, double high) { return !(x > low) ? low : x > high ? high : x; }

/* ---- speeds ---- */

static void speeds_path(const hth_neighbours *nb, char out[4200], const char *end)
{
	snprintf(out, 4200, "%s/speeds%s", nb->node->config->home, end);
}

void hth_capacity_load(hth_neighbours *nb)
{
	char path[4200], line[256], hex[80];
	speeds_path(nb, path, "");
	nb->speeds = hth_alloc_array(KEPT_MAX, sizeof *nb->speeds);
	FILE *f = fopen(path, "re");
	while (f != NULL && nb->speeds != NULL && nb->n_speeds < KEPT_MAX && fgets(line, sizeof line, f) != NULL) {
		kept_speed k;
		size_t n;
		if (sscanf(line, "%79s %lf %lf", hex, &k.prefill, &k.decode) == 3 &&
		    sodium_hex2bin(k.hash, sizeof k.hash, hex, strlen(hex), NULL, &n, NULL) == 0 && n == sizeof k.hash && k.prefill > 0 &&
		    k.decode > 0 && isfinite(k.prefill) && isfinite(k.decode))
			nb->speeds[nb->n_speeds++] = k;
	}
	if (f != NULL)
		fclose(f);
}

void hth_capacity_save(hth_neighbours *nb)
{
	char path[4200], next[4200], hex[2 * HTH_HASH_BYTES + 1];
	if (!nb->speeds_changed)
		return;
	nb->speeds_changed = false;
	nb->saved_ms = hth_clock_ms();
	speeds_path(nb, path, "");
	speeds_path(nb, next, ".new");
	FILE *f = fopen(next, "we");
	if (f == NULL)
		return; /* they are measured again */
	for (size_t i = 0; i < nb->n_speeds; i++) {
		sodium_bin2hex(hex, sizeof hex, nb->speeds[i].hash, HTH_HASH_BYTES);
		fprintf(f, "%s %.3f %.3f\n", hex, nb->speeds[i].prefill, nb->speeds[i].decode);
	}
	if (fclose(f) == 0)
		(void)!rename(next, path);
}

static kept_speed *kept_of(hth_neighbours *nb, const unsigned char hash[HTH_HASH_BYTES], bool make)
{
	for (size_t i = 0; i < nb->n_speeds; i++)
		if (memcmp(nb->speeds[i].hash, hash, HTH_HASH_BYTES) == 0)
			return &nb->speeds[i];
	if (!make || nb->speeds == NULL)
		return NULL;
	if (nb->n_speeds == KEPT_MAX)
		memmove(nb->speeds, nb->speeds + 1, --nb->n_speeds * sizeof *nb->speeds);
	kept_speed *k = &nb->speeds[nb->n_speeds++];
	*k = (kept_speed){0};
	memcpy(k->hash, hash, HTH_HASH_BYTES);
	return k;
}

static double smooth(double old, double now) { return clamp(old > 0 ? 0.8 * old + 0.2 * now : now, 1e-3, 1e8); }

void hth_capacity_measured(hth_neighbours *nb, const char *name, const hth_usage *u)
{
	hth_own_model *m = hth_capacity_find(nb, name);
	uint32_t computed = u->prompt_tokens - HTH_MIN(u->cached_tokens, u->prompt_tokens);
	/* Looked for last: an entry that was made and then not filled would say that this home is the slowest there is. */
	kept_speed *k = m != NULL && u->answer_tokens >= LEAST_DECODE && u->decode_ns > 0 ? kept_of(nb, m->hash, true) : NULL;
	if (k == NULL)
		return;
	k->decode = smooth(k->decode, (u->answer_tokens - 1) * 1e9 / (double)u->decode_ns);
	if (computed >= LEAST_PREFILL && u->prefill_ns > 0)
		k->prefill = smooth(k->prefill, computed * 1e9 / (double)u->prefill_ns);
	else if (k->prefill == 0)
		k->prefill = GUESS_PREFILL * k->decode;
	m->decode = k->decode;
	m->prefill = k->prefill;
	m->measured = nb->speeds_changed = true;
}

/* ---- models ---- */

typedef struct look {
	hth_neighbours *nb;
	uint64_t used;
	const hth_own_model *outdated; /* its runner has other weights than its file now */
} look;

static void see_loaded(void *ctx, const hth_router_model *loaded)
{
	look *l = ctx;
	l->used += loaded->planned_bytes;
	for (size_t i = 0; i < l->nb->n_models; i++) {
		hth_own_model *m = &l->nb->models[i];
		const hth_catalog_model on_disk = {.device = m->device, .inode = m->inode, .bytes = m->bytes};
		if (strcmp(m->name, loaded->name) != 0)
			continue;
		if (!hth_router_serves(loaded, &on_disk)) {
			l->outdated = m;
			continue;
		}
		m->room = true;
		m->ready = loaded->info != NULL && loaded->state == HTH_MODEL_READY;
		m->active = (uint32_t)(loaded->active + loaded->waiting);
		m->slots = loaded->info != NULL ? loaded->info->n_slots : 1;
		if (loaded->info == NULL || m->info != NULL)
			continue;
		m->info = malloc(sizeof *m->info);
		if (m->info != NULL)
			*m->info = *loaded->info;
	}
}

static bool fill(hth_neighbours *nb, hth_own_model *m, const hth_catalog_model *from)
{
	size_t n;
	const char *hex = hth_digests_get(nb->node->digests, from);
	*m = (hth_own_model){.bytes = from->bytes, .device = from->device, .inode = from->inode, .slots = 1};
	if (hex == NULL || sodium_hex2bin(m->hash, sizeof m->hash, hex, strlen(hex), NULL, &n, NULL) != 0 || n != sizeof m->hash)
		return false;
	snprintf(m->name, sizeof m->name, "%s", from->name);
	const kept_speed *k = kept_of(nb, m->hash, false);
	m->measured = k != NULL;
	m->decode = k != NULL ? k->decode : clamp(GUESS_BYTES_PER_S / (double)HTH_MAX(from->bytes, (uint64_t)1), 0.1, 200);
	m->prefill = k != NULL ? k->prefill : GUESS_PREFILL * m->decode;
	return true;
}

void hth_capacity_refresh(hth_neighbours *nb, bool now)
{
	uint64_t ms = hth_clock_ms();
	if (nb->looked_ms == 0 || now || ms >= nb->looked_ms + LOOK_EVERY_MS) {
		HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
		hth_own_model old[HTH_CAPACITY_MODELS_MAX];
		size_t n_old = nb->n_models;
		nb->looked_ms = ms;
		if (hth_router_catalog(nb->node->router, &catalog, NULL) != HTH_OK)
			return;
		memcpy(old, nb->models, n_old * sizeof *old);
		nb->n_models = 0;
		for (size_t i = 0; i < catalog.n && nb->n_models < HTH_CAPACITY_MODELS_MAX; i++) {
			hth_own_model *m = &nb->models[nb->n_models];
			if (!fill(nb, m, &catalog.models[i]))
				continue;
			nb->n_models++;
			for (size_t k = 0; k < n_old; k++) {
				if (old[k].info != NULL && memcmp(old[k].hash, m->hash, HTH_HASH_BYTES) == 0) {
					m->info = old[k].info;
					old[k].info = NULL;
					break;
				}
			}
		}
		for (size_t k = 0; k < n_old; k++)
			free(old[k].info);
	}
	for (size_t i = 0; i < nb->n_models; i++) {
		nb->models[i].ready = nb->models[i].room = false;
		nb->models[i].active = 0;
	}
	look l = {.nb = nb};
	hth_router_each(nb->node->router, see_loaded, &l);
	if (l.outdated != NULL) /* a neighbour is promised the weights that its hash names */
		hth_router_let_go(nb->node->router, l.outdated->name);
	uint64_t budget = hth_router_budget(nb->node->router);
	for (size_t i = 0; i < nb->n_models; i++)
		nb->models[i].room |= l.used + nb->models[i].bytes + nb->models[i].bytes / 4 + (64u << 20) <= budget;
	if (ms >= nb->saved_ms + SAVE_EVERY_MS)
		hth_capacity_save(nb);
}

/* By any of its names, as the catalog knows them. */
hth_own_model *hth_capacity_find(hth_neighbours *nb, const char *name)
{
	for (size_t i = 0; i < nb->n_models; i++)
		if (strcmp(nb->models[i].name, name) == 0)
			return &nb->models[i];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	if (hth_router_catalog(nb->node->router, &catalog, NULL) != HTH_OK)
		return NULL;
	const hth_catalog_model *found = hth_catalog_find(&catalog, name);
	for (size_t i = 0; found != NULL && i < nb->n_models; i++)
		if (strcmp(nb->models[i].name, found->name) == 0)
			return &nb->models[i];
	return NULL;
}

hth_own_model *hth_capacity_find_hash(hth_neighbours *nb, const unsigned char hash[HTH_HASH_BYTES])
{
	for (size_t i = 0; i < nb->n_models; i++)
		if (memcmp(nb->models[i].hash, hash, HTH_HASH_BYTES) == 0)
			return &nb->models[i];
	return NULL;
}

/* ---- how it stands ---- */

size_t hth_capacity_own_active(const hth_neighbours *nb)
{
	uint64_t all = nb->node->metrics.active;
	return all > nb->n_abroad ? (size_t)(all - nb->n_abroad) : 0;
}

/* Whether the owner lends at this hour: "22-6" is from ten in the evening to six in the morning. */
static bool is_hour(const char *hours)
{
	unsigned from, to;
	time_t now = (time_t)hth_clock_unix();
	struct tm t;
	if (sscanf(hours, "%u-%u", &from, &to) != 2 || localtime_r(&now, &t) == NULL)
		return true;
	unsigned hour = (unsigned)t.tm_hour;
	return from <= to ? hour >= from && hour < to : hour >= from || hour < to;
}

static bool lends(hth_neighbours *nb)
{
	const hth_config *c = nb->node->config;
	int64_t day = hth_clock_unix() / 86400;
	if (day != nb->lent_day) {
		nb->lent_day = day;
		nb->lent_tokens = 0;
	}
	return c->pool_lend && is_hour(c->pool_lend_hours) && (c->pool_lend_tokens == 0 || nb->lent_tokens < c->pool_lend_tokens) &&
	    !nb->own_first &&
	       !nb->node->stopping;
}

static double wait_of(const hth_neighbours *nb, const hth_own_model *m)
{
	if (m == NULL)
		return 0;
	double load = m->ready ? 0 : 0.5 + (double)m->bytes / 500e6;
	/* Others' work gives way, so it does not count. */
	uint32_t own = m->active > nb->n_lent_running ? m->active - (uint32_t)nb->n_lent_running : 0;
	return load + (own >= m->slots ? (own - m->slots + 1) * USUAL_ANSWER / m->decode / m->slots : 0);
}

void hth_capacity_tell(hth_neighbours *nb, const hth_own_model *model)
{
	hth_capability c = {.slots = 1, .lends = lends(nb), .accepts_public = (nb->node->config->pool_lend & HTH_LEND_PUBLIC) != 0,
	                    .accepts_neighbours = (nb->node->config->pool_lend & HTH_LEND_NEIGHBOURS) != 0};
	for (size_t i = 0; i < nb->n_models && c.n_models < HTH_POOL_MODELS_MAX; i++) {
		const hth_own_model *m = &nb->models[i];
		bool twice = false;
		for (size_t k = 0; k < c.n_models; k++)
			twice |= memcmp(c.models[k].hash, m->hash, HTH_HASH_BYTES) == 0;
		if (twice || !m->room || (m->info != NULL && m->info->embedding))
			continue;
		hth_pool_model *p = &c.models[c.n_models++];
		memcpy(p->hash, m->hash, HTH_HASH_BYTES);
		p->prefill_tok_s = (float)clamp(m->prefill, 1e-3, 1e8);
		p->decode_tok_s = (float)clamp(m->decode, 1e-3, 1e8);
		c.slots = (uint16_t)HTH_MAX(c.slots, HTH_MIN(m->slots, (uint32_t)HTH_LEND_SLOTS_MAX));
	}
	bool own = hth_capacity_own_active(nb) > 0;
	c.free_slots = own || nb->n_lent >= c.slots ? 0 : (uint16_t)(c.slots - nb->n_lent);
	c.queued_tokens = (uint32_t)((own ? USUAL_ANSWER : 0) + (nb->n_lent >= c.slots ? (nb->n_lent - c.slots + 1) * USUAL_ANSWER : 0));
	hth_pool_set_home(nb->pool, &c, wait_of(nb, model), hth_neighbours_now_ms(nb));
}
