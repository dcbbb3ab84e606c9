/* lines.c - see lines.h, which has the rules by their numbers. Sets of versions are bits, so that "leads to" is one look. */
#include "charter/lines.h"

#include "base/mem.h"
#include "seal/canon.h"

typedef enum ban_state { UNDECIDED, COUNTS, VOID } ban_state;
typedef struct ban { /* one home's removal by one version */
	int node;
	const hth_home_id *who;
	uint32_t since;
	ban_state state;
} ban;

bool lines_leads_to(const charter_lines *lines, int ancestor, int node) { return line_set_has(&lines->nodes[node].above, ancestor); }
static bool beside(const charter_lines *lines, int a, int b) { return !lines_leads_to(lines, a, b) && !lines_leads_to(lines, b, a); }

int lines_fork(const charter_lines *lines, int a, int b)
{
	while (!lines_leads_to(lines, a, b))
		a = lines->nodes[a].parent;
	return a;
}

int lines_find(const charter_lines *lines, const unsigned char hash[HTH_HASH_BYTES])
{
	for (int i = lines->n - 1; i >= 0; i--)
		if (memcmp(lines->nodes[i].charter->hash, hash, HTH_HASH_BYTES) == 0)
			return i;
	return LINES_NONE;
}

static bool signs(const line_node *x, const hth_home_id *who)
{
	for (size_t i = 0; i < x->n_signers; i++)
		if (hth_home_id_equal(&x->signers[i], who))
			return true;
	return false;
}

/* Whether version x has too few signatures without the homes whose removal, beside it, is in one of the two states. `but`: not counting
 * those bans that give way to this one. */
static bool gives_way(const charter_lines *lines, const ban *b, const ban *to);
static bool lacks(const charter_lines *lines, int at, const ban *bans, size_t n, ban_state least, const ban *but)
{
	const line_node *x = &lines->nodes[at];
	size_t have = x->n_signers;
	if (x->parent == LINES_NONE || x->leaves)
		return false;
	for (size_t i = 0; i < x->n_signers; i++)
		for (size_t j = 0; j < n; j++)
			if (&bans[j] != but && (bans[j].state == COUNTS || bans[j].state == least) &&
			    hth_home_id_equal(bans[j].who, &x->signers[i]) && beside(lines, bans[j].node, at) &&
			    (but == NULL || bans[j].state == COUNTS || !gives_way(lines, &bans[j], but))) {
				have--;
				break;
			}
	return have < x->needs;
}

static bool line_lacks(const charter_lines *lines, int at, const ban *bans, size_t n, ban_state least, const ban *but)
{
	for (int i = at; i != LINES_NONE; i = lines->nodes[i].parent)
		if (lacks(lines, i, bans, n, least, but))
			return true;
	return false;
}

/* Whether `by`, alone, makes the line of b void. */
static bool strikes(const charter_lines *lines, const ban *by, const ban *b)
{
	ban alone = *by;
	alone.state = COUNTS;
	return line_lacks(lines, b->node, &alone, 1, COUNTS, NULL);
}

static bool is_junior(const ban *a, const ban *b)
{
	return a->since != b->since ? a->since > b->since : hth_home_id_compare(a->who, b->who) > 0;
}

/* Rule 2. */
static bool gives_way(const charter_lines *lines, const ban *b, const ban *to) { return is_junior(to, b) && strikes(lines, to, b); }

static void decide(const charter_lines *lines, ban *bans, size_t n)
{
	for (;;) {
		bool moved = false;
		ban *last = NULL;
		for (size_t i = 0; i < n; i++) {
			ban *b = &bans[i];
			if (b->state != UNDECIDED)
				continue;
			if (line_lacks(lines, b->node, bans, n, COUNTS, NULL))
				b->state = VOID;
			else if (!line_lacks(lines, b->node, bans, n, UNDECIDED, b))
				b->state = COUNTS;
			else if (last == NULL || is_junior(b, last) ||
			         (!is_junior(last, b) &&
			          memcmp(lines->nodes[b->node].charter->hash, lines->nodes[last->node].charter->hash, HTH_HASH_BYTES) < 0))
				last = b;
			moved |= b->state != UNDECIDED;
		}
		if (!moved && last == NULL)
			return;
		if (!moved)
			last->state = COUNTS;
	}
}

static bool bridged_between(const charter_lines *lines, int from, int to)
{
	for (int i = to; i != from; i = lines->nodes[i].parent)
		if (lines->nodes[i].bridged)
			return true;
	return false;
}

/* Rule 4: whether the tip kept whom b removed, from where the two lines part, and nobody let it in again after b. */
static bool holds_against_tip(const charter_lines *lines, const ban *b)
{
	if (b->state != COUNTS || lines_leads_to(lines, b->node, lines->tip))
		return false;
	int fork = lines_fork(lines, b->node, lines->tip);
	if (bridged_between(lines, fork, lines->tip) || bridged_between(lines, fork, b->node))
		return false;
	for (int i = lines->tip;; i = lines->nodes[i].parent) {
		if (hth_charter_find(lines->nodes[i].charter, b->who) == NULL)
			return false;
		if (i == fork)
			break;
	}
	for (int i = 0; i < lines->n; i++)
		if (!lines->nodes[i].is_void && lines_leads_to(lines, b->node, i) &&
		    hth_charter_find(lines->nodes[i].charter, b->who) != NULL)
			return false;
	return true;
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(*(const unsigned char *const *)a, *(const unsigned char *const *)b, HTH_HASH_BYTES);
}

static hth_status draw_view(charter_lines *lines, const ban *bans, size_t n, hth_error *err)
{
	hth_charter *tip = lines->nodes[lines->tip].charter, *view = hth_charter_ref(tip);
	const unsigned char *hashes[LINES_MAX];
	HTH_AUTO_FREE hth_home_id *out = hth_alloc_array(n + 1, sizeof *out);
	size_t n_out = 0, n_hashes = 0;
	if (out == NULL) {
		hth_charter_unref(view);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the charter");
	}
	lines->bearing = (line_set){0};
	/* In the charter's order, so that who cannot be taken out (a charter needs its keepers) is the same one everywhere. */
	for (size_t m = 0; n > 0 && m < tip->n_members; m++) {
		bool is_out = false;
		for (size_t i = 0; i < n; i++) {
			if (!hth_home_id_equal(bans[i].who, &tip->members[m].card.id) || !holds_against_tip(lines, &bans[i]))
				continue;
			is_out = true;
			if (!line_set_has(&lines->bearing, bans[i].node) && n_hashes < HTH_COUNT(hashes)) {
				line_set_add(&lines->bearing, bans[i].node);
				hashes[n_hashes++] = lines->nodes[bans[i].node].charter->hash;
			}
		}
		hth_charter *less;
		out[n_out] = tip->members[m].card.id;
		if (is_out && hth_charter_remove_all(&less, tip, out, n_out + 1, NULL) == HTH_OK) {
			hth_charter_unref(view);
			view = less;
			n_out++;
		}
	}
	hth_charter_unref(lines->view);
	lines->view = view;
	lines->digest = 0;
	if (n_hashes > 0) {
		unsigned char all[LINES_MAX * HTH_HASH_BYTES], sum[HTH_HASH_BYTES];
		qsort(hashes, n_hashes, sizeof *hashes, by_hash);
		for (size_t i = 0; i < n_hashes; i++)
			memcpy(all + i * HTH_HASH_BYTES, hashes[i], HTH_HASH_BYTES);
		hth_seal_hash("hearth charter removals", all, n_hashes * HTH_HASH_BYTES, sum);
		memcpy(&lines->digest, sum, sizeof lines->digest);
		lines->digest |= 1;
	}
	return HTH_OK;
}

static hth_status choose(charter_lines *lines, hth_error *err)
{
	size_t n = 0, room = 0;
	for (int i = 0; i < lines->n && lines->forks > 0; i++)
		room += lines->nodes[i].n_removed;
	HTH_AUTO_FREE ban *bans = hth_alloc_array(room, sizeof *bans);
	if (bans == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the charter's versions");
	for (int i = 0; i < lines->n && lines->forks > 0; i++) {
		bool alone = true; /* nothing was made beside it */
		for (int j = 0; j < lines->n && alone; j++)
			alone = !beside(lines, i, j);
		for (size_t k = 0; !alone && k < lines->nodes[i].n_removed; k++)
			bans[n++] = (ban){i, &lines->nodes[i].removed[k], lines->nodes[i].removed_since[k], UNDECIDED};
	}
	decide(lines, bans, n);
	lines->tip = 0;
	for (int i = 0; i < lines->n; i++) {
		line_node *x = &lines->nodes[i];
		x->is_void = x->parent != LINES_NONE && (lines->nodes[x->parent].is_void || lacks(lines, i, bans, n, COUNTS, NULL));
		const hth_charter *tip = lines->nodes[lines->tip].charter;
		if (!x->is_void && (x->charter->version > tip->version ||
		                    (x->charter->version == tip->version && memcmp(x->charter->hash, tip->hash, HTH_HASH_BYTES) < 0)))
			lines->tip = i;
	}
	return draw_view(lines, bans, n, err);
}

/* ---- growing, and forgetting ---- */

static void finish_node(line_node *x)
{
	hth_charter_unref(x->charter);
	free(x->signers);
	free(x->removed);
	free(x->removed_since);
}

void lines_clear(charter_lines *lines)
{
	for (int i = 0; i < lines->n; i++)
		finish_node(&lines->nodes[i]);
	free(lines->nodes);
	hth_charter_unref(lines->view);
	*lines = (charter_lines){0};
}

static hth_status make_node(const charter_lines *lines, line_node *ret_node, int parent, hth_charter *charter, hth_error *err)
{
	line_node x = {.parent = parent};
	const hth_charter *from = parent != LINES_NONE ? lines->nodes[parent].charter : NULL;
	if (from != NULL) {
		size_t n = 0;
		for (size_t i = 0; i < from->n_members; i++)
			n += hth_charter_find(charter, &from->members[i].card.id) == NULL;
		x.removed = hth_alloc_array(n, sizeof *x.removed);
		x.removed_since = hth_alloc_array(n, sizeof *x.removed_since);
		x.signers = hth_alloc_array(HTH_MIN(charter->n_signatures + 1, (size_t)HTH_CHARTER_SIGNATURES_MAX), sizeof *x.signers);
		if (x.removed == NULL || x.removed_since == NULL || x.signers == NULL) {
			finish_node(&x);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a version of the charter");
		}
		for (size_t i = 0; n > 0 && i < from->n_members; i++)
			if (hth_charter_find(charter, &from->members[i].card.id) == NULL) {
				x.removed_since[x.n_removed] = from->members[i].since;
				x.removed[x.n_removed++] = from->members[i].card.id;
			}
		x.bridged = memcmp(charter->previous, from->hash, HTH_HASH_BYTES) != 0;
		x.needs = charter_needs(from, charter, &x.leaves);
		x.n_signers = x.leaves ? 0 : charter_signers(from, charter, x.signers);
		x.above = lines->nodes[parent].above;
	}
	x.charter = hth_charter_ref(charter);
	*ret_node = x;
	return HTH_OK;
}

static size_t bytes_of(const charter_lines *lines)
{
	size_t n = 0;
	for (int i = 0; i < lines->n; i++)
		n += sizeof(hth_charter) + lines->nodes[i].charter->n_members * sizeof(hth_member);
	return n;
}

static void keep_only(charter_lines *lines, const line_set *kept)
{
	int place[LINES_MAX] = {0}, n = 0;
	for (int i = 0; i < lines->n; i++) {
		place[i] = line_set_has(kept, i) ? n++ : LINES_NONE;
		if (place[i] == LINES_NONE)
			finish_node(&lines->nodes[i]);
		else if (place[i] != i)
			lines->nodes[place[i]] = lines->nodes[i];
	}
	lines->n = n;
	lines->forks = 0;
	for (int i = 0; i < n; i++) {
		line_node *x = &lines->nodes[i];
		x->parent = x->parent != LINES_NONE ? place[x->parent] : LINES_NONE;
		x->above = x->parent != LINES_NONE ? lines->nodes[x->parent].above : (line_set){0};
		line_set_add(&x->above, i);
		for (int j = 0; j < i; j++)
			lines->forks += x->parent != LINES_NONE && lines->nodes[j].parent == x->parent;
	}
	lines->tip = place[lines->tip];
}

/* Forgets the older half of what leads to the tip, and what grew from it; at least, what lost and holds nobody out. */
static void forget(charter_lines *lines)
{
	line_set kept = {0};
	int depth = 0, from = lines->tip;
	for (int i = lines->tip; i != LINES_NONE; i = lines->nodes[i].parent)
		depth++;
	for (int i = 0; i < depth / 2; i++)
		from = lines->nodes[from].parent;
	for (int i = 0; i < lines->n; i++)
		if (line_set_has(&lines->bearing, i))
			from = lines_fork(lines, from, i);
	for (int i = 0; i < lines->n; i++)
		if (lines_leads_to(lines, from, i))
			line_set_add(&kept, i);
	keep_only(lines, &kept);
	if (lines->n < LINES_MAX * 3 / 4 && bytes_of(lines) < (size_t)LINES_BYTES_MAX * 3 / 4)
		return;
	kept = lines->nodes[lines->tip].above; /* the places have moved: what bears is found anew by lines_add */
	keep_only(lines, &kept);
}

static hth_status make_room(charter_lines *lines, hth_error *err)
{
	if (lines->n < lines->room)
		return HTH_OK;
	int room = HTH_MIN(lines->room * 2 + 8, LINES_MAX);
	line_node *nodes = realloc(lines->nodes, (size_t)room * sizeof *nodes);
	if (nodes == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the charter's versions");
	lines->nodes = nodes;
	lines->room = room;
	return HTH_OK;
}

hth_status lines_begin(charter_lines *lines, hth_charter *charter, hth_error *err)
{
	HTH_TRY(make_room(lines, err));
	HTH_TRY(make_node(lines, &lines->nodes[0], LINES_NONE, charter, err));
	line_set_add(&lines->nodes[0].above, 0);
	lines->n = 1;
	return choose(lines, err);
}

hth_status lines_add(charter_lines *lines, int parent, hth_charter *charter, hth_error *err)
{
	if (lines->n == LINES_MAX || bytes_of(lines) > LINES_BYTES_MAX) {
		hth_charter *known = hth_charter_ref(lines->nodes[parent].charter);
		forget(lines);
		parent = lines_find(lines, hth_charter_hash(known));
		hth_charter_unref(known);
		HTH_TRY(choose(lines, err));
		if (parent == LINES_NONE || lines->n == LINES_MAX)
			return hth_fail(err, HTH_BUSY, "a version of the charter follows one that is forgotten here");
	}
	HTH_TRY(make_room(lines, err));
	int at = lines->n;
	HTH_TRY(make_node(lines, &lines->nodes[at], parent, charter, err));
	line_set_add(&lines->nodes[at].above, at);
	lines->n++;
	for (int i = 0; i < at; i++)
		lines->forks += lines->nodes[i].parent == parent;
	return choose(lines, err);
}

hth_status lines_merge(charter_lines *lines, int at, const hth_charter *copy, bool *ret_more, hth_error *err)
{
	line_node *x = &lines->nodes[at];
	bool news = false;
	*ret_more = false;
	for (size_t i = 0; i < copy->n_signatures && x->parent != LINES_NONE; i++)
		news |= !signs(x, &copy->signatures[i].id);
	if (!news || x->leaves || x->charter == copy)
		return HTH_OK;
	hth_charter *both = charter_clone(x->charter), *more = charter_clone(copy);
	if (both != NULL && more != NULL) {
		const hth_charter *from = lines->nodes[x->parent].charter;
		hth_charter_strip(more, from);
		hth_charter_merge(both, more);
		hth_home_id signers[HTH_CHARTER_SIGNATURES_MAX];
		size_t n = charter_signers(from, both, signers);
		*ret_more = n > x->n_signers;
		if (*ret_more) {
			hth_home_id *list = hth_alloc_array(n, sizeof *list);
			*ret_more = list != NULL;
			if (list != NULL) {
				memcpy(list, signers, n * sizeof *list);
				free(x->signers);
				x->signers = list;
				x->n_signers = n;
				hth_charter *old = x->charter;
				x->charter = both;
				both = old;
			}
		}
	}
	hth_charter_unref(both);
	hth_charter_unref(more);
	return *ret_more ? choose(lines, err) : HTH_OK;
}

/* ---- what was lost ---- */

const hth_member *lines_lost_admission(const charter_lines *lines, const hth_home_id *self, int *at, size_t *place)
{
	for (; *at < lines->n; (*at)++, *place = 0) {
		const line_node *x = &lines->nodes[*at];
		if (x->parent == LINES_NONE || lines_leads_to(lines, *at, lines->tip) || !signs(x, self))
			continue;
		const hth_charter *from = lines->nodes[x->parent].charter;
		for (; *place < x->charter->n_members; (*place)++) {
			const hth_member *m = &x->charter->members[*place];
			if (hth_charter_find(from, &m->card.id) != NULL ||
			    hth_charter_find(lines->nodes[lines->tip].charter, &m->card.id) != NULL)
				continue;
			bool removed = false;
			for (int i = 0; i < lines->n && !removed; i++) {
				bool later = lines_leads_to(lines, i, lines->tip) ? !lines_leads_to(lines, i, *at) : i != *at &&
				    lines_leads_to(lines, *at, i);
				for (size_t k = 0; k < lines->nodes[i].n_removed && later && !lines->nodes[i].is_void; k++)
					removed |= hth_home_id_equal(&lines->nodes[i].removed[k], &m->card.id);
			}
			if (!removed) {
				(*place)++;
				return m;
			}
		}
	}
	return NULL;
}
