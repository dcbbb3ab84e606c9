/* matcher.c - one sequence on its way through a grammar, and the wait for a text after which the grammar begins.
 *
 * A matcher that waits allows every token but those that would complete the awaited text and go on with something that no
 * sentence begins with. Which those are is known for all tokens that hold the whole text (found once per grammar and text);
 * when a beginning of it stands already, the tokens that bring the rest of it are looked at as well.
 */
#include "engine/grammar/states.h"

#include "base/mem.h"

static hth_status add_matcher(hth_grammar_matcher **ret_matcher, hth_grammar *g, uint32_t state, hth_error *err)
{
	hth_grammar_matcher *m = calloc(1, sizeof *m);
	if (m == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to follow a grammar");
	m->grammar = g;
	m->state = state;
	m->next = g->matchers;
	if (g->matchers != NULL)
		g->matchers->prev = m;
	g->matchers = m;
	*ret_matcher = m;
	return HTH_OK;
}

hth_status hth_grammar_matcher_create(hth_grammar_matcher **ret_matcher, hth_grammar *g, hth_error *err)
{
	return add_matcher(ret_matcher, g, g->start, err);
}

hth_status hth_grammar_matcher_copy(hth_grammar_matcher **ret_matcher, const hth_grammar_matcher *m, hth_error *err)
{
	struct hth_grammar_wait *wait = NULL;
	if (m->wait != NULL) {
		wait = malloc(sizeof *wait);
		if (wait == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory to follow a grammar");
		*wait = *m->wait;
	}
	hth_grammar_matcher *copy = NULL;
	hth_status status = add_matcher(&copy, m->grammar, m->state, err);
	if (status != HTH_OK) {
		free(wait);
		return status;
	}
	copy->wait = wait;
	copy->drop_space = m->drop_space;
	*ret_matcher = copy;
	return HTH_OK;
}

void hth_grammar_matcher_destroy(hth_grammar_matcher *m)
{
	if (m == NULL)
		return;
	if (m->next != NULL)
		m->next->prev = m->prev;
	if (m->prev != NULL)
		m->prev->next = m->next;
	else
		m->grammar->matchers = m->next;
	free(m->wait);
	free(m->own);
	free(m);
}

void hth_grammar_matcher_reset(hth_grammar_matcher *m)
{
	m->state = m->grammar->start;
	if (m->wait != NULL) {
		m->wait->matched = 0;
		m->wait->over = false;
	}
}

void hth_grammar_matcher_drop_space(hth_grammar_matcher *m) { m->drop_space = true; }

hth_status hth_grammar_matcher_wait(hth_grammar_matcher *m, const char *text, size_t len, bool may_end, hth_error *err)
{
	if (len == 0 || len > HTH_GRAMMAR_TRIGGER_MAX)
		return hth_fail(err, HTH_INVALID, "the text after which a grammar begins has %zu bytes; 1 to %d are possible", len,
		                HTH_GRAMMAR_TRIGGER_MAX);
	struct hth_grammar_wait *w = calloc(1, sizeof *w);
	if (w == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to follow a grammar");
	memcpy(w->text, text, len);
	w->len = (uint16_t)len;
	w->may_end = may_end;
	for (size_t i = 1, k = 0; i < len; i++) {
		while (k > 0 && w->text[i] != w->text[k])
			k = w->border[k - 1];
		k += w->text[i] == w->text[k];
		w->border[i] = (uint8_t)k;
	}
	free(m->wait);
	m->wait = w;
	return HTH_OK;
}

bool hth_grammar_matcher_waits(const hth_grammar_matcher *m) { return m->wait != NULL && !m->wait->over; }

/* Looks for the text in what goes on after its first `matched` bytes. Returns how many bytes were looked at; *matched is
 * the whole text's length when it is there, and then it ends with the last byte looked at. */
static size_t look_for(const struct hth_grammar_wait *w, const char *bytes, size_t len, size_t *matched)
{
	size_t k = *matched, i = 0;
	while (i < len && k < w->len) {
		while (k > 0 && bytes[i] != w->text[k])
			k = w->border[k - 1];
		k += bytes[i] == w->text[k];
		i++;
	}
	*matched = k;
	return i;
}

/* ---- going on ---- */

static bool run(hth_grammar_matcher *m, uint32_t before, const char *bytes, size_t len)
{
	uint32_t stood = m->state, state = before;
	for (size_t i = 0; i < len; i++) {
		state = hth_states_step(m->grammar, state, (uint8_t)bytes[i]);
		if (state == DEAD)
			return false;
		if (i % 256 == 255) {
			/* Long texts may fill the budget; what must survive a settling is what matchers hold. */
			m->state = state;
			hth_grammar_matcher keep = {.grammar = m->grammar, .next = m->grammar->matchers, .state = stood};
			m->grammar->matchers = &keep;
			hth_states_settle(m->grammar);
			m->grammar->matchers = keep.next;
			stood = keep.state;
			state = m->state;
			m->state = stood;
		}
	}
	m->state = state;
	hth_states_settle(m->grammar);
	return true;
}

bool hth_grammar_accept_bytes(hth_grammar_matcher *m, const char *bytes, size_t len)
{
	struct hth_grammar_wait *w = m->wait;
	if (!hth_grammar_matcher_waits(m))
		return run(m, m->state, bytes, len);
	size_t matched = w->matched, seen = look_for(w, bytes, len, &matched);
	if (matched == w->len && !run(m, m->grammar->start, bytes + seen, len - seen))
		return false;
	w->matched = (uint16_t)matched;
	w->over = matched == w->len;
	return true;
}

/* The state after a control token, which only literals may spell. */
static uint32_t after_special(hth_grammar_matcher *m, int32_t token)
{
	hth_grammar *g = m->grammar;
	const hth_grammar_vocab *v = g->vocab;
	uint32_t state = g->use_special ? m->state : DEAD;
	hth_view bytes = hth_token_bytes(v, token);
	bool listed = false; /* in order of bytes, but a walk is short and rare */
	for (size_t i = 0; i < v->n_special && state != DEAD && !listed; i++)
		listed = v->special[i] == token;
	if (!listed)
		return DEAD;
	for (size_t i = 0; i < bytes.len && state != DEAD; i++)
		state = hth_states_step_literal(g, state, (uint8_t)bytes.data[i]);
	return state;
}

/* A control token in the middle of text that must be followed by another one: it would lead the answer past that. */
static bool is_out_of_place(const struct hth_grammar_wait *w, hth_view bytes)
{
	size_t matched = w->matched;
	look_for(w, bytes.data, bytes.len, &matched);
	return !w->may_end && matched == 0;
}

static bool accept_special(hth_grammar_matcher *m, int32_t token)
{
	hth_grammar *g = m->grammar;
	bool is_end = hth_token_bit(g->vocab->ends, token);
	if (is_end && hth_grammar_may_end(m))
		return true;
	if (hth_grammar_matcher_waits(m)) {
		hth_view bytes = hth_token_bytes(g->vocab, token);
		if (is_end || is_out_of_place(m->wait, bytes))
			return false;
		return hth_grammar_accept_bytes(m, bytes.data, bytes.len);
	}
	uint32_t state = after_special(m, token);
	if (state == DEAD || (is_end && !g->set.states[state].may_end))
		return false;
	m->state = state;
	hth_states_settle(g);
	return true;
}

bool hth_grammar_accept(hth_grammar_matcher *m, int32_t token)
{
	const hth_grammar_vocab *v = m->grammar->vocab;
	if (v == NULL || token < 0 || (size_t)token >= v->n)
		return false;
	bool special = hth_token_bit(v->special_bits, token), ok;
	if (special) {
		ok = accept_special(m, token);
	} else {
		hth_view bytes = hth_token_bytes(v, token);
		size_t skip = m->drop_space && bytes.len > 0 && bytes.data[0] == ' ';
		ok = bytes.len > 0 && bytes.len <= TOKEN_DEPTH_MAX && hth_grammar_accept_bytes(m, bytes.data + skip, bytes.len - skip);
	}
	m->drop_space = m->drop_space && (!ok || hth_token_bit(v->ends, token));
	return ok;
}

/* ---- masks ---- */

static bool completes_badly(hth_grammar *g, const struct hth_grammar_wait *w, size_t matched, int32_t token)
{
	hth_view bytes = hth_token_bytes(g->vocab, token);
	size_t seen = look_for(w, bytes.data, bytes.len, &matched);
	uint32_t state = g->start;
	for (; matched == w->len && seen < bytes.len && state != DEAD; seen++)
		state = hth_states_step(g, state, (uint8_t)bytes.data[seen]);
	return state == DEAD;
}

/* Decides the tokens that begin with the text's bytes from `from` on: among them are all that complete what stands. */
static void decide_completing(hth_grammar *g, const struct hth_grammar_wait *w, size_t from, uint32_t *mask)
{
	const hth_grammar_vocab *v = g->vocab;
	uint32_t node = 0, k = 1;
	for (size_t i = from; i < w->len; i++) {
		uint32_t end = v->nodes[node].end;
		for (k = node + 1; k < end && v->nodes[k].byte != (uint8_t)w->text[i];)
			k = v->nodes[k].end;
		if (k >= end)
			return;
		node = k;
	}
	for (; k < v->nodes[node].end; k++)
		for (int32_t t = v->nodes[k].token; t >= 0; t = v->twin[t]) {
			uint32_t bit = 1u << (t % 32);
			mask[t / 32] = completes_badly(g, w, w->matched, t) ? mask[t / 32] & ~bit : mask[t / 32] | bit;
		}
}

/* Control tokens: each is looked at. */
static void decide_special(hth_grammar *g, const struct hth_grammar_wait *w, size_t matched, uint32_t *mask)
{
	const hth_grammar_vocab *v = g->vocab;
	for (int32_t i = 0; (size_t)i < v->n_words; i++)
		for (uint32_t bits = v->special_bits[i] & ~v->ends[i]; bits != 0; bits &= bits - 1) {
			int32_t t = i * 32 + __builtin_ctz(bits);
			bool no = completes_badly(g, w, matched, t) || is_out_of_place(w, hth_token_bytes(v, t));
			mask[i] = no ? mask[i] & ~(1u << (t % 32)) : mask[i] | 1u << (t % 32);
		}
}

/* What may come while nothing of the text stands. Found once for a text. */
static const uint32_t *far_mask(hth_grammar *g, const struct hth_grammar_wait *w)
{
	const hth_grammar_vocab *v = g->vocab;
	if (g->trigger != NULL && g->trigger_len == w->len && memcmp(g->trigger, w->text, w->len) == 0)
		return g->trigger_mask;
	char *text = malloc(w->len);
	uint32_t *mask = g->trigger_mask != NULL ? g->trigger_mask : hth_alloc_array(v->n_words, sizeof *mask);
	if (text == NULL || mask == NULL) {
		free(text);
		if (mask != g->trigger_mask)
			free(mask);
		return NULL;
	}
	memcpy(text, w->text, w->len);
	memcpy(mask, v->all, v->n_words * sizeof *mask);
	free(g->trigger);
	g->trigger = text;
	g->trigger_len = w->len;
	g->trigger_mask = mask;
	for (int32_t t = 0; (size_t)t < v->n; t++) {
		hth_view bytes = hth_token_bytes(v, t);
		if (hth_token_bit(v->special_bits, t))
			continue;
		bool no_text = bytes.len == 0 || bytes.len > TOKEN_DEPTH_MAX; /* text is what is waited for */
		if (no_text || (bytes.len > w->len && memmem(bytes.data, bytes.len, w->text, w->len) != NULL &&
		                completes_badly(g, w, 0, t)))
			mask[t / 32] &= ~(1u << (t % 32));
	}
	struct hth_grammar_wait far = *w;
	far.may_end = true; /* the mask is for both kinds */
	decide_special(g, &far, 0, mask);
	return mask;
}

static uint32_t *own_mask(hth_grammar_matcher *m)
{
	if (m->own == NULL)
		m->own = hth_alloc_array(m->grammar->vocab->n_words, sizeof *m->own);
	return m->own;
}

static const uint32_t *waiting_mask(hth_grammar_matcher *m)
{
	hth_grammar *g = m->grammar;
	const struct hth_grammar_wait *w = m->wait;
	const uint32_t *far = far_mask(g, w);
	if (far == NULL || (w->matched == 0 && w->may_end))
		return far;
	uint32_t *mask = own_mask(m);
	if (mask == NULL)
		return NULL;
	memcpy(mask, far, g->vocab->n_words * sizeof *mask);
	/* Every end of what stands that is a beginning of the text. */
	for (size_t k = w->matched; k > 0; k = w->border[k - 1])
		decide_completing(g, w, k, mask);
	decide_special(g, w, w->matched, mask);
	for (size_t i = 0; i < g->vocab->n_words && !w->may_end; i++)
		mask[i] &= ~g->vocab->ends[i];
	return mask;
}

const uint32_t *hth_grammar_mask(hth_grammar_matcher *m)
{
	hth_grammar *g = m->grammar;
	hth_states_settle(g);
	if (g->vocab == NULL)
		return NULL;
	if (hth_grammar_matcher_waits(m))
		return waiting_mask(m);
	if (!m->drop_space)
		return hth_states_mask(g, m->state);
	uint32_t *mask = own_mask(m);
	return mask != NULL && m->state != DEAD && hth_states_mask_without_space(g, m->state, mask) ? mask : NULL;
}

/* ---- towards the end ---- */

size_t hth_grammar_distance(const hth_grammar_matcher *m)
{
	const hth_grammar *g = m->grammar;
	if (hth_grammar_matcher_waits(m))
		return m->wait->may_end ? 0 : (size_t)(m->wait->len - m->wait->matched) + g->set.states[g->start].distance;
	return g->set.states[m->state].distance;
}

/* The control token that is all of what is still waited for; -1: none. */
static int32_t whole_rest(const hth_grammar *g, const struct hth_grammar_wait *w)
{
	const hth_grammar_vocab *v = g->vocab;
	for (size_t i = 0; i < v->n_special; i++) {
		hth_view bytes = hth_token_bytes(v, v->special[i]);
		if (bytes.len == (size_t)(w->len - w->matched) && memcmp(bytes.data, w->text + w->matched, bytes.len) == 0 &&
		    !hth_token_bit(v->ends, v->special[i]))
			return v->special[i];
	}
	return -1;
}

/* Bytes: a longer way is not looked for with real tokens, which takes time at each step. */
enum { STEPS_BYTES_MAX = 1024 };

bool hth_grammar_can_end_within(hth_grammar_matcher *m, size_t tokens)
{
	hth_grammar *g = m->grammar;
	uint32_t state = m->state;
	size_t n = 0;
	if (hth_grammar_distance(m) <= tokens)
		return true;
	if (g->vocab == NULL || state == DEAD || hth_grammar_distance(m) > STEPS_BYTES_MAX)
		return false;
	if (hth_grammar_matcher_waits(m)) {
		n = whole_rest(g, m->wait) >= 0 ? 1 : (size_t)(m->wait->len - m->wait->matched);
		state = g->start;
	}
	/* The longest step each time: not always the fewest, but they are there. */
	for (; n < tokens && !g->set.states[state].may_end; n++)
		if (hth_states_farthest(g, state, &state) < 0)
			return false;
	return g->set.states[state].may_end;
}

/* Tokens that are the next bytes of the text that must come; the one that is all of it where nothing else is short enough. */
static bool waiting_nearer(hth_grammar *g, const struct hth_grammar_wait *w, bool only_longest, uint32_t *mask)
{
	const hth_grammar_vocab *v = g->vocab;
	int32_t whole = whole_rest(g, w);
	bool any = whole >= 0;
	memset(mask, 0, v->n_words * sizeof *mask);
	if (any)
		mask[whole / 32] |= 1u << (whole % 32);
	uint32_t node = 0;
	for (size_t i = w->matched; i < w->len && !(whole >= 0 && only_longest); i++) {
		uint32_t k = node + 1, end = v->nodes[node].end;
		while (k < end && v->nodes[k].byte != (uint8_t)w->text[i])
			k = v->nodes[k].end;
		if (k >= end)
			break;
		node = k;
		for (int32_t t = v->nodes[k].token; t >= 0; t = v->twin[t]) {
			mask[t / 32] |= 1u << (t % 32);
			any = true;
		}
	}
	return any;
}

const uint32_t *hth_grammar_mask_nearer(hth_grammar_matcher *m, size_t tokens)
{
	hth_grammar *g = m->grammar;
	hth_states_settle(g);
	uint32_t *mask = g->vocab != NULL ? own_mask(m) : NULL;
	if (mask == NULL || m->state == DEAD)
		return NULL;
	if (hth_grammar_matcher_waits(m))
		return waiting_nearer(g, m->wait, hth_grammar_distance(m) > tokens, mask) ? mask : NULL;
	if (!hth_states_mask_nearer(g, m->state, mask))
		return NULL;
	if (hth_grammar_distance(m) > tokens) {
		uint32_t state;
		int32_t farthest = hth_states_farthest(g, m->state, &state);
		memset(mask, 0, g->vocab->n_words * sizeof *mask);
		mask[farthest / 32] |= 1u << (farthest % 32);
	}
	return mask;
}

bool hth_grammar_may_end(const hth_grammar_matcher *m)
{
	if (hth_grammar_matcher_waits(m))
		return m->wait->may_end;
	return m->state != DEAD && m->grammar->set.states[m->state].may_end;
}

bool hth_grammar_must_end(const hth_grammar_matcher *m)
{
	return !hth_grammar_matcher_waits(m) && hth_grammar_may_end(m) && m->grammar->set.states[m->state].n == 0;
}
