/* standings.c - what checks found of neighbours, beyond a restart: $HEARTH_HOME/standings, a line for each home against which something
 * speaks.
 *
 *   ID DOUBT CAUGHT_UNIX WHY          caught 0: it is still believed; why: what the check said that ended its standing
 *
 * A home that was caught stays so when this one restarts, and when it leaves the neighbourhood and is let in again: it is known by its key.
 * Only the owner's word (`hearth pool trust NAME`) ends that. What is lost with power is found again by the next check. Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

static hth_kept_standing *find(hth_neighbours *nb, const hth_home_id *id)
{
	for (size_t i = 0; i < nb->n_standings; i++)
		if (hth_home_id_equal(&nb->standings[i].id, id))
			return &nb->standings[i];
	return NULL;
}

/* NULL: there is no room, and everybody in it was caught. */
static hth_kept_standing *make(hth_neighbours *nb, const hth_home_id *id)
{
	hth_kept_standing *k = find(nb, id);
	for (size_t i = 0; k == NULL && nb->n_standings == HTH_STANDINGS_MAX && i < nb->n_standings; i++)
		if (nb->standings[i].caught_unix == 0)
			nb->standings[i] = nb->standings[--nb->n_standings];
	if (k == NULL && nb->n_standings < HTH_STANDINGS_MAX) {
		k = &nb->standings[nb->n_standings++];
		*k = (hth_kept_standing){.id = *id};
	}
	return k;
}

static void path_of(const hth_neighbours *nb, char out[4200], const char *end)
{
	snprintf(out, 4200, "%s/standings%s", nb->node->config->home, end);
}

void hth_standings_load(hth_neighbours *nb)
{
	char path[4200], line[512], id[HTH_HOME_ID_TEXT];
	path_of(nb, path, "");
	FILE *f = fopen(path, "re");
	while (f != NULL && nb->n_standings < HTH_STANDINGS_MAX && fgets(line, sizeof line, f) != NULL) {
		hth_kept_standing k = {0};
		int at = 0;
		size_t n;
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%64s %lf %" SCNd64 "%n", id, &k.doubt, &k.caught_unix, &at) != 3 || at == 0 ||
		    sodium_hex2bin(k.id.bytes, sizeof k.id.bytes, id, strlen(id), NULL, &n, NULL) != 0 || n != sizeof k.id.bytes ||
		    !(k.doubt >= 0 && k.doubt < 1e9))
			continue;
		snprintf(k.why, sizeof k.why, "%s", line[at] == ' ' ? line + at + 1 : "");
		if (find(nb, &k.id) == NULL)
			nb->standings[nb->n_standings++] = k;
	}
	if (f != NULL)
		fclose(f);
}

static void save(hth_neighbours *nb)
{
	char path[4200], next[4200], id[HTH_HOME_ID_TEXT];
	path_of(nb, path, "");
	path_of(nb, next, ".new");
	FILE *f = fopen(next, "we");
	if (f == NULL) {
		hth_log(HTH_LOG_WARN, "what was found of neighbours cannot be kept: %s cannot be written", next);
		return;
	}
	for (size_t i = 0; i < nb->n_standings; i++) {
		hth_home_id_text(&nb->standings[i].id, id);
		fprintf(f, "%s %.3f %" PRId64 " %s\n", id, nb->standings[i].doubt, nb->standings[i].caught_unix, nb->standings[i].why);
	}
	if (fclose(f) == 0)
		(void)!rename(next, path);
}

void hth_standings_apply(hth_neighbours *nb)
{
	for (size_t i = 0; i < nb->n_standings; i++)
		hth_pool_set_doubt(nb->pool, &nb->standings[i].id, nb->standings[i].doubt, nb->standings[i].caught_unix != 0);
}

void hth_standings_weighed(hth_neighbours *nb, const hth_home_id *id, size_t tokens, size_t misses, const char *what)
{
	const char *name = hth_neighbours_name(nb, id);
	hth_log(misses * 8 > tokens ? HTH_LOG_WARN : HTH_LOG_INFO,
	        "%zu of %zu tokens that %s made are not what this home would have chosen%s", misses, tokens, name, what);
	const hth_standing *s = hth_pool_weighed(nb->pool, id, (uint32_t)tokens, (uint32_t)misses, hth_neighbours_now_ms(nb));
	hth_kept_standing *k = s != NULL && (s->doubt > 0 || find(nb, id) != NULL) ? make(nb, id) : NULL;
	if (k == NULL)
		return;
	bool changed = k->doubt != s->doubt;
	k->doubt = s->doubt;
	if (s->caught && k->caught_unix == 0) {
		k->caught_unix = hth_clock_unix();
		snprintf(k->why, sizeof k->why, "at last %zu of %zu tokens were not what this home would have chosen%s", misses, tokens,
		         what);
		hth_log(HTH_LOG_WARN, "%s is not asked any more: %s (`hearth pool trust` believes it again)", name, k->why);
		changed = true;
	}
	if (changed)
		save(nb);
}

void hth_standings_lied(hth_neighbours *nb, const hth_home_id *id, double doubt, const char *why)
{
	hth_kept_standing *k = make(nb, id);
	hth_log(HTH_LOG_WARN, "%s is believed less: %s", hth_neighbours_name(nb, id), why);
	if (k == NULL)
		return;
	k->doubt += doubt;
	if (k->doubt > HTH_DOUBT_MAX && k->caught_unix == 0) {
		k->caught_unix = hth_clock_unix();
		snprintf(k->why, sizeof k->why, "%s", why);
		hth_log(HTH_LOG_WARN, "%s is not asked any more: %s (`hearth pool trust` believes it again)", hth_neighbours_name(nb, id),
		        why);
	}
	hth_pool_set_doubt(nb->pool, id, k->doubt, k->caught_unix != 0);
	save(nb);
}

const char *hth_neighbours_not_believed(hth_node *node, const hth_home_id *id)
{
	const hth_kept_standing *k = node->neighbours != NULL ? find(node->neighbours, id) : NULL;
	return k != NULL && k->caught_unix != 0 ? k->why : NULL;
}

void hth_neighbours_forgive(hth_node *node, const hth_home_id *id)
{
	hth_neighbours *nb = node->neighbours;
	hth_kept_standing *k = nb != NULL ? find(nb, id) : NULL;
	if (k == NULL)
		return;
	if (k->caught_unix != 0)
		hth_log(HTH_LOG_INFO, "%s is believed again: its owner here says so", hth_neighbours_name(nb, id));
	hth_pool_set_doubt(nb->pool, id, 0, false);
	*k = nb->standings[--nb->n_standings];
	save(nb);
}
