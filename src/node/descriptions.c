/* descriptions.c - what neighbours say that their models are, what of it is believed, and what this home says of its own;
 * pool/description.h has the rules.
 *
 * Every home that offers a hash of weights is asked what it is, the first of them at once, the others now and then: a second opinion costs
 * a letter. A model about which homes differ is not offered here until one side is believed. When this home has read the file itself,
 * whoever said otherwise is held to it: twice, and it has no standing. Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/node-internal.h"

#include <stdio.h>

/* whoever does not answer may be loading the model to do so, or never will */
enum { EVERY_MS = 2000, AGAIN_FIRST_MS = 5000, AGAIN_MS = 600000 };
static const double LIE_DOUBT = HTH_DOUBT_MAX * 0.6;

const hth_far_model *hth_neighbours_far_model(const hth_neighbours *nb, const char *name, const unsigned char *hash)
{
	for (size_t i = 0; i < nb->n_far; i++) /* by name: of those that are offered */
		if (name != NULL ? !nb->far[i]->disputed && strcmp(nb->far[i]->info.name, name) == 0
		                 : memcmp(nb->far[i]->hash, hash, HTH_HASH_BYTES) == 0)
			return nb->far[i];
	return NULL;
}

static hth_far_model *find_far(const hth_neighbours *nb, const unsigned char *hash)
{
	return (hth_far_model *)(uintptr_t)hth_neighbours_far_model(nb, NULL, hash);
}

/* ---- asking ---- */

/* NULL: there are as many as are listened to. */
static hth_voice *voice_of(hth_far_model *far, const hth_home_id *by)
{
	for (size_t i = 0; i < far->n_voices; i++)
		if (hth_home_id_equal(&far->voices[i].by, by))
			return &far->voices[i];
	if (far->n_voices == HTH_VOICES_MAX)
		return NULL;
	hth_voice *v = &far->voices[far->n_voices++];
	*v = (hth_voice){.by = *by};
	return v;
}

typedef struct asking {
	hth_neighbours *nb;
	bool second; /* opinions of what somebody has described */
} asking;

/* One question each: the next with the next record or tick. */
static void ask_peer(void *ctx, const hth_pool_peer_view *peer)
{
	const asking *a = ctx;
	hth_neighbours *nb = a->nb;
	unsigned char bytes[64];
	hth_error err;
	uint64_t now = hth_clock_ms();
	for (size_t i = 0; peer->fresh && peer->record != NULL && i < peer->record->n_models; i++) {
		const unsigned char *hash = peer->record->models[i].hash;
		hth_far_model *far = find_far(nb, hash);
		if ((far != NULL) != a->second)
			continue;
		hth_voice *v = far != NULL ? voice_of(far, peer->id) : NULL;
		if (far != NULL && (v == NULL || (v->has_said && !v->again) || now < v->ask_ms))
			continue;
		hth_buf out = HTH_BUF_INIT(sizeof bytes);
		hth_describe_encode(hash, &out);
		if (hth_street_send(nb->node->street, HTH_LETTER_POOL, peer->id, out.data, out.len, &err) == HTH_OK) {
			nb->described_ms = now;
			if (v != NULL) {
				v->ask_ms = now + HTH_MIN((uint64_t)AGAIN_FIRST_MS << HTH_MIN(v->n_asked, 16u), (uint64_t)AGAIN_MS);
				v->n_asked++;
			}
		}
		hth_buf_finish(&out);
		return;
	}
}

static void judge_all(hth_neighbours *nb);

void hth_descriptions_ask(hth_neighbours *nb)
{
	if (hth_clock_ms() < nb->described_ms + EVERY_MS)
		return;
	hth_pool_each_peer(nb->pool, hth_neighbours_now_ms(nb), ask_peer, &(asking){nb, false});
	hth_descriptions_weigh(nb);
}

void hth_descriptions_weigh(hth_neighbours *nb)
{
	nb->judged_ms = hth_clock_ms();
	hth_pool_each_peer(nb->pool, hth_neighbours_now_ms(nb), ask_peer, &(asking){nb, true});
	judge_all(nb);
}

void hth_descriptions_tick(hth_neighbours *nb)
{
	if (hth_clock_ms() >= HTH_MAX(nb->described_ms, nb->judged_ms) + EVERY_MS)
		hth_descriptions_weigh(nb);
}

/* ---- this home's own ---- */

/* What a file holds is known when it was loaded once; it is, for whoever asks, where there is room. */
static void warmed_up(void *ctx, hth_request *request)
{
	((hth_neighbours *)ctx)->warming = NULL;
	hth_request_unref(request);
}

static void warm_placed(void *ctx, hth_request *request, hth_runner *runner, const char *reason, const hth_error *why_not)
{
	hth_error err;
	(void)ctx, (void)reason;
	if (runner == NULL)
		hth_request_fail(request, why_not);
	else /* it is loaded, and that is all that was wanted */
		hth_request_fail(request, (hth_fail(&err, HTH_CANCELLED, "nothing is asked"), &err));
}

static void warm_up(hth_neighbours *nb, const hth_own_model *m)
{
	static const hth_request_sink sink = {.ended = warmed_up};
	hth_error err;
	hth_request *request = NULL;
	if (nb->warming != NULL || !m->room || !nb->node->config->pool_lend || hth_request_create(&request, HTH_TOKENIZE, &err) != HTH_OK)
		return;
	snprintf(request->model, sizeof request->model, "%s", m->name);
	request->sink = &sink;
	request->sink_ctx = nb;
	nb->warming = request;
	hth_request_ref(request);
	if (hth_request_admit(request, &err) == HTH_OK && hth_request_classify(request, HTH_PRIVATE, &err) == HTH_OK)
		hth_router_place(nb->node->router, request, warm_placed, nb);
	else
		hth_request_fail(request, &err);
	hth_request_unref(request);
}

/* Borrows from info. */
static hth_description description_of(const hth_runner_info *i)
{
	hth_description d = {.n_params = i->n_params, .weight_bytes = i->weight_bytes, .n_ctx = i->n_ctx, .n_ctx_train = i->n_ctx_train,
	                     .n_vocab = i->n_vocab,
	                     .n_embd = i->n_embd, .n_layer = i->n_layer, .has_template = i->has_template, .tools = i->tools,
	                     .thinking = i->thinking,
	                     .chat_template = i->chat_template, .template_len = strlen(i->chat_template)};
	snprintf(d.architecture, sizeof d.architecture, "%s", i->architecture);
	snprintf(d.type, sizeof d.type, "%s", i->type);
	return d;
}

void hth_descriptions_give(hth_neighbours *nb, const hth_home_id *to, const unsigned char hash[HTH_HASH_BYTES])
{
	hth_error err;
	const hth_own_model *m = hth_capacity_find_hash(nb, hash);
	if (m == NULL)
		return;
	if (m->info == NULL) {
		warm_up(nb, m); /* they will ask again */
		return;
	}
	hth_description d = description_of(m->info);
	memcpy(d.hash, hash, HTH_HASH_BYTES);
	snprintf(d.name, sizeof d.name, "%.127s", m->name);
	hth_buf out = HTH_BUF_INIT(HTH_DESCRIPTION_BYTES_MAX);
	hth_description_encode(&d, &out);
	if (!out.failed && hth_street_send(nb->node->street, HTH_LETTER_POOL, to, out.data, out.len, &err) != HTH_OK)
		hth_log(HTH_LOG_DEBUG, "a description was not sent to %s: %s", hth_neighbours_name(nb, to), err.message);
	hth_buf_finish(&out);
}

/* ---- what others say ---- */

typedef struct record_search {
	const unsigned char *hash;
	bool found;
} record_search;
static void look_for_record(void *ctx, const hth_pool_peer_view *peer)
{
	record_search *s = ctx;
	s->found |= peer->fresh && hth_capability_model(peer->record, s->hash) != NULL;
}

/* What nobody has any more goes, so that its name is free for its successor and its place for another. */
static void drop_gone(hth_neighbours *nb)
{
	for (size_t i = nb->n_far; i-- > 0;) {
		record_search s = {.hash = nb->far[i]->hash};
		hth_pool_each_peer(nb->pool, hth_neighbours_now_ms(nb), look_for_record, &s);
		if (s.found)
			continue;
		free(nb->far[i]);
		memmove(&nb->far[i], &nb->far[i + 1], (--nb->n_far - i) * sizeof nb->far[0]);
	}
}

typedef struct presence {
	hth_far_model *far;
	bool here[HTH_VOICES_MAX];
} presence;
static void look_for_voice(void *ctx, const hth_pool_peer_view *peer)
{
	presence *p = ctx;
	for (size_t i = 0; i < p->far->n_voices; i++)
		if (hth_home_id_equal(&p->far->voices[i].by, peer->id)) {
			p->here[i] = true;
			p->far->voices[i].trusted = peer->trusted && !peer->standing->caught;
		}
}

/* Whose word on this file counts, now that another has spoken, or the file was read here. */
static const unsigned char *judge(hth_neighbours *nb, hth_far_model *far)
{
	presence p = {.far = far};
	size_t n = 0;
	const hth_own_model *own = hth_capacity_find_hash(nb, far->hash);
	bool known = own != NULL && own->info != NULL, was = far->disputed;
	hth_pool_each_peer(nb->pool, hth_neighbours_now_ms(nb), look_for_voice, &p);
	for (size_t i = 0; i < far->n_voices; i++)
		if (p.here[i]) /* who is a member no more has no say */
			far->voices[n++] = far->voices[i];
	far->n_voices = n;
	if (known) {
		const hth_description d = description_of(own->info);
		hth_description_facts(&d, far->known);
	}
	const unsigned char *believed = hth_voices_believed(far->voices, far->n_voices, known ? far->known : NULL);
	far->disputed = far->n_voices > 0 && (believed == NULL || memcmp(believed, far->facts, HTH_HASH_BYTES) != 0);
	if (far->disputed && believed == NULL && !was)
		hth_log(HTH_LOG_WARN, "neighbours differ about what the model %s is: it is not offered here until one side is believed "
		                      "(`hearth pool trust`)", far->info.name);
	for (size_t i = 0; i < far->n_voices; i++) {
		hth_voice *v = &far->voices[i];
		bool right = believed != NULL && memcmp(believed, v->facts, HTH_HASH_BYTES) == 0;
		if (v->has_said && known && !right && !v->counted) {
			v->counted = true;
			hth_standings_lied(nb, &v->by, LIE_DOUBT, "what it said that a model's file holds is not what the file holds");
		}
		if (v->has_said && right && far->disputed && !v->again) { /* what was kept is another's word: its own is needed */
			v->again = true;
			v->ask_ms = v->n_asked = 0;
		}
	}
	return believed;
}

static void judge_all(hth_neighbours *nb)
{
	for (size_t i = 0; i < nb->n_far; i++)
		if (nb->far[i]->n_voices > 1 || hth_capacity_find_hash(nb, nb->far[i]->hash) != NULL)
			judge(nb, nb->far[i]);
}

void hth_descriptions_keep(hth_neighbours *nb, const hth_home_id *from, const hth_description *d)
{
	drop_gone(nb);
	hth_far_model *far = find_far(nb, d->hash);
	bool first = far == NULL;
	if (first) {
		if (nb->n_far == HTH_DESCRIPTIONS_MAX || (far = calloc(1, sizeof *far)) == NULL)
			return;
		memcpy(far->hash, d->hash, HTH_HASH_BYTES);
		nb->far[nb->n_far++] = far;
	}
	hth_voice *v = voice_of(far, from);
	if (v == NULL || (v->has_said && !v->again))
		return; /* its first word counts: a later one cannot change what requests were made for */
	unsigned char facts[HTH_HASH_BYTES];
	v->has_said = true;
	v->again = false;
	hth_description_facts(d, facts);
	memcpy(v->facts, facts, sizeof facts);
	if (first)
		memcpy(far->facts, facts, sizeof facts);
	const unsigned char *believed = judge(nb, far);
	if (!first && (!far->disputed || believed == NULL || memcmp(believed, facts, sizeof facts) != 0))
		return;
	far->from = *from;
	far->heard_unix = hth_clock_unix();
	memcpy(far->facts, facts, sizeof facts);
	far->disputed = false;
	far->info = (hth_runner_info){.n_params = d->n_params, .weight_bytes = d->weight_bytes, .n_ctx = d->n_ctx,
	                              .n_ctx_train = d->n_ctx_train, .n_slots = 1,
	                              .n_embd = d->n_embd, .n_vocab = d->n_vocab, .n_layer = d->n_layer, .has_template = d->has_template,
	                              .tools = d->tools,
	                              .thinking = d->thinking};
	snprintf(far->info.name, sizeof far->info.name, "%s", d->name);
	snprintf(far->info.architecture, sizeof far->info.architecture, "%s", d->architecture);
	snprintf(far->info.type, sizeof far->info.type, "%s", d->type);
	if (d->template_len > 0)
		memcpy(far->info.chat_template, d->chat_template, d->template_len);
	if (first)
		hth_log(HTH_LOG_INFO, "%s offers the model %s", hth_neighbours_name(nb, from), d->name);
}
