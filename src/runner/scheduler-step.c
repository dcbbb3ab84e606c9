/* scheduler-step.c - what one step computes: who gets how many rows, the call, and what the logits mean for each job.
 * Owns the batch. Thread: the scheduler's. */
#include "runner/scheduler-internal.h"

#include "base/mem.h"
#include "runner/speculation.h"

#include <math.h>

/* Breaking off a step costs everyone in it what was computed: only when waiting for its end would be felt. */
enum { BREAK_NS = 100 * 1000 * 1000 };
/* Bytes by which one token may move the end of a bound answer away: only so near its last token is each one looked at twice. */
enum { TIGHT_BYTES = 256 };
/* Up to so many tokens an answer has only just begun. */
enum { BEGUN_TOKENS = 8 };
/* Of a prompt that is computed while nothing else is, at once. */
enum { BACKGROUND_ROWS = 128 };
/* Reasoning that must be closed before the answer leaves it a part of the tokens, not only the fewest. */
enum { RESERVED_SHARE = 4, RESERVED_MAX = 1024 };

static void add_member(step_batch *b, hth_job *job, uint32_t n_rows, uint32_t n_drafts)
{
	step_member *m = &b->members[b->n_members++];
	m->job = job;
	m->n_rows = n_rows;
	m->n_drafts = n_drafts;
	m->n_wants = m->n_echo = 0;
	m->n_chosen = 0;
	m->ended = m->stuck = m->tight = false;
}

static size_t reserved_tokens(const hth_job *job, const hth_grammar_matcher *matcher)
{
	return hth_grammar_matcher_waits(matcher) ? HTH_MIN(job->max_answer / RESERVED_SHARE, (uint32_t)RESERVED_MAX) : 0;
}

bool hth_scheduler_is_near_end(const hth_job *job, size_t tokens)
{
	bool may_never_begin = hth_grammar_matcher_waits(job->matcher) && hth_grammar_may_end(job->matcher);
	size_t left = job->max_answer - job->n_answer;
	return !may_never_begin && hth_grammar_distance(job->matcher) + TIGHT_BYTES + reserved_tokens(job, job->matcher) + tokens >= left;
}

/* How many of the guesses the grammar allows, one after the other; makes the masks behind them. */
static uint32_t follow_drafts(const hth_scheduler *s, hth_job *job, const int32_t *drafts, uint32_t n)
{
	hth_grammar_matcher *at = NULL;
	size_t words = hth_scheduler_mask_words(s);
	uint32_t right = 0;
	if (n == 0 || hth_grammar_matcher_copy(&at, job->matcher, NULL) != HTH_OK)
		return 0;
	while (right < n && hth_grammar_accept(at, drafts[right])) {
		const uint32_t *mask = hth_grammar_mask(at);
		if (mask == NULL)
			break;
		memcpy(job->allowed + ++right * words, mask, words * sizeof *mask);
	}
	hth_grammar_matcher_destroy(at);
	return right;
}

static uint32_t ask_drafter(hth_scheduler *s, hth_job *job, size_t rows, uint32_t n_decoding, uint32_t max, int32_t *drafts)
{
	max = hth_speculation_ask(job->speculation, &s->pace, rows, n_decoding, max, hth_drafter_guess_ns(s->drafter));
	if (max > 0 && job->follower == 0)
		job->follower = 1 + hth_drafter_take(s->drafter, job->tokens, job->n_tokens);
	if (max == 0 || job->follower == 0)
		return 0;
	int n = hth_drafter_guess(s->drafter, job->follower - 1, job->tokens, job->n_tokens, max, drafts);
	if (n == 0) /* it took its time and knew nothing: as bad as a wrong guess */
		hth_speculation_learn(job->speculation, 1, 0);
	return (uint32_t)HTH_MAX(n, 0);
}

/* Tokens that are known already are the best guesses: several at once, as far as that changes nobody's rounding. */
static uint32_t draft_forced(const hth_scheduler *s, hth_job *job, size_t rows, int32_t *drafts)
{
	uint32_t left = job->n_forced - job->n_answer - 1, n = HTH_MIN(left, (uint32_t)HTH_DRAFT_MAX);
	if (s->n_running > 1 || !job->ask.input.weigh)
		n = rows + 1 < s->compute.exact_rows ? HTH_MIN(n, s->compute.exact_rows - (uint32_t)rows - 1) : 0;
	if (rows + 1 + n > s->compute.n_batch || (job->matcher != NULL && hth_scheduler_is_near_end(job, HTH_DRAFT_MAX)))
		return 0;
	memcpy(drafts, job->ask.input.resume + job->n_answer, n * sizeof *drafts);
	return job->matcher != NULL ? follow_drafts(s, job, drafts, n) : n;
}

static uint32_t draft(hth_scheduler *s, hth_job *job, size_t rows, uint32_t n_decoding, int32_t *drafts)
{
	if (job->n_answer < job->n_forced)
		return draft_forced(s, job, rows, drafts);
	/* Guesses for rows of logprobs would have to keep each row's rivals; not worth it. Near a bound answer's last token each is looked
	 * at by itself. */
	if (job->raw != NULL || (job->matcher != NULL && hth_scheduler_is_near_end(job, HTH_DRAFT_MAX)))
		return 0;
	uint32_t answer_left = job->max_answer - job->n_answer, room = s->compute.n_ctx - job->n_tokens;
	uint32_t max = HTH_MIN(HTH_MIN(answer_left - 1, room), (uint32_t)HTH_DRAFT_MAX);
	/* Whether to guess is decided by measured time, so where a guess may change the last bits of logits, its own or those of others in
	 * the step, an answer that is expected to come out the same each time goes without. */
	const hth_sampling *sampling = &job->ask.params.sampling;
	if (s->compute.exact_rows > 1 || sampling->seed_given || sampling->temperature == 0)
		max = rows < s->compute.exact_rows ? HTH_MIN(max, s->compute.exact_rows - (uint32_t)rows) : 0;
	if (max == 0 || rows + max > s->compute.n_batch)
		return 0;
	if (job->speculation == NULL) {
		job->speculation = malloc(sizeof *job->speculation);
		if (job->speculation == NULL)
			return 0;
		hth_speculation_init(job->speculation);
	}
	uint32_t n = hth_speculation_draft(job->speculation, &s->pace, rows, n_decoding, job->tokens, job->n_tokens, max, drafts);
	if (n == 0 && s->drafter != NULL)
		n = ask_drafter(s, job, rows, n_decoding, max, drafts);
	return job->matcher != NULL ? follow_drafts(s, job, drafts, n) : n;
}

/* A chunk ends where others wait for it to get to, and does not leave a single token for the next one: kernels for one row may
 * round differently, and chunks depend on measured time. */
static uint32_t until_boundary(const hth_scheduler *s, const hth_job *job, uint32_t n)
{
	for (uint32_t i = 0; i < s->n_running; i++) {
		const hth_job *held = s->running[i];
		if (held->state == HTH_JOB_HELD && held->leader == job && held->leader_tokens > job->n_computed)
			n = HTH_MIN(n, held->leader_tokens - job->n_computed);
	}
	return n > 2 && job->n_tokens - job->n_computed - n == 1 ? n - 1 : n;
}

static bool is_member(const step_batch *b, const hth_job *job)
{
	for (uint32_t i = 0; i < b->n_members; i++)
		if (b->members[i].job == job)
			return true;
	return false;
}

/* Shares budget rows among the prompts: half to the oldest, so that it ends; the rest to those with the least left,
 * so that short ones need not wait for long ones. */
static void add_prefills(hth_scheduler *s, step_batch *b, size_t budget, bool in_slices)
{
	for (bool first = true; budget > 0; first = false) {
		hth_job *next = NULL;
		for (uint32_t i = 0; i < s->n_running; i++) {
			hth_job *job = s->running[i];
			if (job->state != HTH_JOB_PREFILL || is_member(b, job) || hth_scheduler_rests(s, job) ||
			    (in_slices && job->echo_rows != NULL))
				continue;
			if (next == NULL || (!first && job->n_tokens - job->n_computed < next->n_tokens - next->n_computed))
				next = job;
			if (first)
				break;
		}
		if (next == NULL)
			break;
		uint32_t left = next->n_tokens - next->n_computed;
		size_t share = first ? (budget + 1) / 2 : budget;
		bool alone = true;
		for (uint32_t i = 0; i < s->n_running; i++)
			alone &= s->running[i] == next || s->running[i]->state != HTH_JOB_PREFILL;
		left = HTH_MIN(left, hth_scheduler_echo_most(s, next));
		uint32_t n = until_boundary(s, next, (uint32_t)HTH_MIN((size_t)left, alone ? budget : share));
		add_member(b, next, n, 0);
		budget -= n;
	}
	/* What the others left over goes to the oldest after all. */
	for (uint32_t i = 0; i < b->n_members && budget > 0; i++) {
		step_member *m = &b->members[i];
		if (m->job->state != HTH_JOB_PREFILL)
			continue;
		uint32_t left = HTH_MIN(m->job->n_tokens - m->job->n_computed, hth_scheduler_echo_most(s, m->job));
		m->n_rows = until_boundary(s, m->job, (uint32_t)HTH_MIN((size_t)left, m->n_rows + budget));
		break;
	}
}

/* Writes the members' rows. */
static void write_rows(step_batch *b)
{
	uint32_t wants = 0;
	b->n = 0;
	for (uint32_t i = 0; i < b->n_members; i++) {
		step_member *m = &b->members[i];
		const hth_job *job = m->job;
		m->first_want = wants;
		for (uint32_t k = 0; k < m->n_rows; k++) {
			uint32_t at = job->n_computed + k;
			/* The last known token, and the guesses behind it. */
			bool want = at + 1 >= job->n_tokens && job->max_answer > 0;
			bool echo = job->echo_rows != NULL && at + 1 < job->n_prompt;
			b->tokens[b->n++] = (hth_batch_token){.token = at < job->n_tokens ? job->tokens[at] : m->drafts[at - job->n_tokens],
			                                      .seq = (uint32_t)job->seq,
			                                      .want_logits = want || echo};
			m->n_wants += want && !echo;
			m->n_echo += echo;
		}
		wants += m->n_echo + m->n_wants;
	}
}

static hth_pace_room room(const hth_scheduler *s)
{
	hth_pace_room r = {.n_batch = s->compute.n_batch, .n_slice = s->compute.n_slice, .n_layer = s->compute.n_layer};
	for (uint32_t i = 0; i < s->n_running; i++) {
		const hth_job *job = s->running[i];
		if (hth_scheduler_rests(s, job))
			continue;
		if (job->state == HTH_JOB_DECODE) {
			r.n_decoding++;
			r.n_begun += job->n_answer <= BEGUN_TOKENS;
		} else if (job->state == HTH_JOB_PREFILL) {
			r.n_newcomers++;
			r.n_waiting += job->n_tokens - job->n_computed;
		}
	}
	return r;
}

/* Chooses the members of this step's batch, and those of a new batch in slices when there is to be one. */
static void build_batches(hth_scheduler *s)
{
	step_batch *b = &s->batch;
	hth_pace_room r = room(s);
	b->n_members = 0;
	size_t rows = r.n_decoding;
	for (uint32_t i = 0; i < s->n_running; i++) {
		hth_job *job = s->running[i];
		if (job->state != HTH_JOB_DECODE || hth_scheduler_rests(s, job))
			continue;
		uint32_t n_drafts = draft(s, job, rows, (uint32_t)r.n_decoding, b->members[b->n_members].drafts);
		add_member(b, job, 1 + n_drafts, n_drafts);
		rows += n_drafts;
	}
	if (s->slice.n == 0) {
		r.n_decoding = rows;
		hth_pace_chunk chunk = hth_pace_choose(&s->pace, &r);
		if (s->n_foreground == 0) { /* whoever comes next waits for the end of this */
			chunk.mixed = HTH_MIN(chunk.mixed, (size_t)BACKGROUND_ROWS);
			chunk.sliced = HTH_MIN(chunk.sliced, (size_t)BACKGROUND_ROWS);
		}
		for (uint32_t i = 0; i < s->n_running; i++) /* none of these in slices */
			if (s->running[i]->echo_rows != NULL && s->running[i]->state == HTH_JOB_PREFILL)
				chunk.mixed = HTH_MAX(chunk.mixed, HTH_MIN((size_t)hth_scheduler_echo_most(s, s->running[i]),
				                                           s->compute.n_batch - rows));
		add_prefills(s, b, chunk.mixed, false);
		s->slice.n_members = 0;
		add_prefills(s, &s->slice, chunk.sliced, true);
	}
	write_rows(b);
}

/* A bound answer ends whole where its tokens suffice: towards their end, a token after which they would not is not taken. */
static bool is_tight(const hth_scheduler *s, hth_job *job)
{
	if (!hth_scheduler_is_near_end(job, 0) || !hth_grammar_can_end_within(job->matcher, job->max_answer - job->n_answer))
		return false;
	if (job->spare == NULL)
		job->spare = hth_alloc_array(s->compute.n_vocab, sizeof *job->spare);
	return job->spare != NULL;
}

/* Grammars are one thread's, so the masks are made before the workers choose (those behind guesses already with the guesses). A mask is
 * good until the grammar's next use, which may be for another member, so it is copied. */
static void make_masks(const hth_scheduler *s, const step_batch *b)
{
	for (uint32_t i = 0; i < b->n_members; i++) {
		step_member *m = &b->members[i];
		hth_job *job = m->job;
		if (job->matcher == NULL || m->n_wants == 0)
			continue;
		const uint32_t *mask = hth_grammar_mask(job->matcher);
		m->stuck = mask == NULL;
		if (mask != NULL)
			memcpy(job->allowed, mask, hth_scheduler_mask_words(s) * sizeof *mask);
		m->tight = mask != NULL && is_tight(s, job);
	}
}

/* The token at a place of the answer, `row` behind the last known one: what the sampler says, or what is known. */
static int32_t draw(const hth_scheduler *s, step_member *m, float *logits, uint32_t row)
{
	hth_job *job = m->job;
	uint32_t place = job->n_answer + row;
	if (job->raw != NULL)
		memcpy(job->raw, logits, s->compute.n_vocab * sizeof *logits);
	if (job->ask.params.ignore_eos)
		for (size_t k = 0; k < s->n_end_ids; k++)
			logits[s->end_ids[k]] = -HUGE_VALF;
	const uint32_t *allowed = job->matcher != NULL ? job->allowed + row * hth_scheduler_mask_words(s) : NULL;
	hth_sampler_seek(job->sampler, place);
	int32_t token;
	if (place < job->n_forced) {
		token = job->ask.input.resume[place];
		int32_t drawn = hth_sampler_weigh(job->sampler, logits, allowed, token, &m->evidence[row].miss);
		if (row == 0)
			m->drawn = drawn;
	} else {
		token = hth_sampler_sample(job->sampler, logits, allowed);
	}
	if (job->raw != NULL)
		hth_logprobs(job->raw, s->compute.n_vocab, token, &m->logprob, m->top, job->answer.n_top);
	if (place < job->n_forced)
		m->evidence[row].logprob = m->logprob;
	return token;
}

/* Reads one member's logits: draws a token from the first, and goes on to the next row while the guess was right. */
static void choose(void *ctx, size_t task, unsigned worker)
{
	(void)worker;
	hth_scheduler *s = ctx;
	step_member *m = &s->chosen->members[task];
	hth_job *job = m->job;
	hth_scheduler_echo_read(s, m);
	for (uint32_t i = 0; i < m->n_wants && !m->stuck; i++) {
		float *logits = s->compute.logits(s->compute.ctx, m->first_want + m->n_echo + i);
		if (m->tight)
			memcpy(job->spare, logits, s->compute.n_vocab * sizeof *logits);
		int32_t token = draw(s, m, logits, i);
		/* Where a grammar leaves nothing but the end, ignore_eos cannot go on either. */
		bool known = job->n_answer + i < job->n_forced;
		if (!known && (job->matcher != NULL || !job->ask.params.ignore_eos) && hth_tokenizer_is_end(s->compute.tokenizer, token)) {
			m->ended = true;
			return;
		}
		if (!m->tight) /* else it may still change */
			hth_sampler_accept(job->sampler, token);
		m->chosen[m->n_chosen++] = token;
		if (i >= m->n_drafts || token != m->drafts[i] || job->n_answer + m->n_chosen >= job->max_answer)
			return;
	}
}

hth_usage hth_scheduler_usage(const hth_scheduler *s, const hth_job *job)
{
	uint64_t now = s->compute.now_ns(s->compute.ctx), admitted = job->admitted_ns != 0 ? job->admitted_ns : now;
	uint64_t first = job->first_ns != 0 ? job->first_ns : now;
	return (hth_usage){.prompt_tokens = job->n_prompt,
	                   .cached_tokens = HTH_MIN(job->n_cached, job->n_prompt),
	                   .answer_tokens = job->n_answer,
	                   .queue_ns = admitted - job->received_ns,
	                   .prefill_ns = first - admitted,
	                   .decode_ns = now - first};
}

static void end_answer(hth_scheduler *s, hth_job *job, hth_finish_reason reason, int stop)
{
	if (stop < 0) { /* what is held is given out, and may turn out to be a stop string after all */
		stop = hth_answer_flush(&job->answer);
		if (stop >= 0)
			reason = HTH_FINISH_STOP;
	}
	hth_done done = {.reason = reason, .stop = stop, .usage = hth_scheduler_usage(s, job)};
	hth_scheduler_end_running(s, job, &done, NULL);
}

/* Chooses once more where the token that was chosen would not let the answer end in time. */
static void keep_in_time(hth_scheduler *s, step_member *m)
{
	hth_job *job = m->job;
	hth_grammar_matcher *after = NULL;
	size_t left = job->max_answer - job->n_answer;
	if (!m->tight || m->n_chosen == 0 || hth_grammar_matcher_copy(&after, job->matcher, NULL) != HTH_OK)
		return;
	bool in_time = hth_grammar_accept(after, job->n_answer < job->n_forced ? m->drawn : m->chosen[0]);
	size_t reserved = reserved_tokens(job, after);
	in_time = in_time && left > reserved && hth_grammar_can_end_within(after, left - 1 - reserved);
	hth_grammar_matcher_destroy(after);
	const uint32_t *nearer = in_time ? NULL : hth_grammar_mask_nearer(job->matcher, left);
	if (nearer == NULL)
		return;
	memcpy(job->allowed, nearer, hth_scheduler_mask_words(s) * sizeof *nearer);
	m->chosen[0] = draw(s, m, job->spare, 0);
	m->ended = job->n_answer >= job->n_forced && hth_tokenizer_is_end(s->compute.tokenizer, m->chosen[0]);
	m->n_chosen = m->ended ? 0 : 1;
	job->hurried = true;
}

static void fail_stuck(hth_scheduler *s, hth_job *job)
{
	hth_error err;
	hth_fail(&err, HTH_UNSUPPORTED,
	         "after %u tokens no token of this model goes on as the grammar that binds the answer asks (or it allows too much at once)",
	         job->n_answer);
	hth_scheduler_end_running(s, job, NULL, &err);
}

/* After a step: what it means for one member. The job may end here. */
static void apply(hth_scheduler *s, step_member *m)
{
	hth_job *job = m->job;
	uint32_t right = 0;
	hth_scheduler_echo_tell(m);
	while (right < m->n_drafts && right < m->n_chosen && m->chosen[right] == m->drafts[right])
		right++;
	job->n_computed += m->n_rows - m->n_drafts + right;
	if (right < m->n_drafts)
		s->compute.truncate(s->compute.ctx, (uint32_t)job->seq, job->n_computed);
	if (m->n_drafts > 0 && job->n_answer >= job->n_forced) {
		hth_speculation_learn(job->speculation, HTH_MIN(m->n_drafts, m->n_chosen), right);
		s->stats.drafted += m->n_drafts;
		s->stats.drafts_taken += right;
	}
	/* Of the guesses that were right, the last may not be among the tokens yet. */
	for (uint32_t i = 0; i < m->n_chosen; i++)
		job->tokens[job->n_tokens++] = m->chosen[i];
	hth_sequences_hold(s->sequences, (uint32_t)job->seq, job->n_computed);
	if (m->n_wants == 0) {
		if (job->n_computed == job->n_tokens) /* asked for no answer: the prompt alone */
			end_answer(s, job, HTH_FINISH_LENGTH, -1);
		return;
	}
	job->state = HTH_JOB_DECODE;
	if (job->first_ns == 0)
		job->first_ns = s->compute.now_ns(s->compute.ctx);
	if (job->ask.input.weigh && m->n_chosen > 0)
		s->events.piece(s->events.ctx, job, &(hth_answer_piece){.text = "", .evidence = m->evidence, .n_evidence = m->n_chosen});
	bool whole = false; /* the grammar's sentence: nothing can follow */
	for (uint32_t i = 0; i < m->n_chosen && job->matcher != NULL && !m->stuck; i++) {
		m->stuck = !hth_grammar_accept(job->matcher, m->chosen[i]);
		if (m->tight)
			hth_sampler_accept(job->sampler, m->chosen[i]);
		bool in_it = !hth_grammar_matcher_waits(job->matcher);
		whole = !m->stuck && in_it && (hth_grammar_must_end(job->matcher) || (job->hurried && hth_grammar_may_end(job->matcher)));
	}
	if (m->stuck) {
		fail_stuck(s, job);
		return;
	}
	for (uint32_t i = 0; i < m->n_chosen; i++) {
		bool told = job->n_answer < job->n_forced && !job->ask.input.weigh;
		job->n_answer++;
		int stop = told ? hth_answer_replay(&job->answer, m->chosen[i])
		                : hth_answer_push(&job->answer, m->chosen[i], m->logprob, m->top);
		if (stop >= 0) {
			end_answer(s, job, HTH_FINISH_STOP, stop);
			return;
		}
		hth_error err;
		if (told && job->n_answer == job->n_forced && hth_scheduler_check_given(job, &err) != HTH_OK) {
			hth_scheduler_end_running(s, job, NULL, &err);
			return;
		}
	}
	if (m->ended || whole)
		end_answer(s, job, HTH_FINISH_STOP, -1);
	else if (job->n_answer >= job->max_answer)
		end_answer(s, job, HTH_FINISH_LENGTH, -1);
}

static void fail_members(hth_scheduler *s, const step_batch *b, const hth_error *err)
{
	for (uint32_t i = 0; i < b->n_members; i++) {
		hth_job *job = b->members[i].job;
		/* What the engine computed for it is not to be trusted. */
		hth_sequences_drop(s->sequences, (uint32_t)job->seq);
		job->seq = -1;
		hth_scheduler_end_running(s, job, NULL, err);
	}
}

/* What the logits say, for every member. */
static void choose_and_apply(hth_scheduler *s, step_batch *b, size_t n_rows, uint64_t ns)
{
	s->stats.steps++;
	s->stats.rows += n_rows;
	hth_pace_note(&s->pace, n_rows, ns);
	s->chosen = b;
	make_masks(s, b);
	s->compute.parallel(s->compute.ctx, b->n_members, choose, s);
	for (uint32_t i = 0; i < b->n_members; i++) {
		keep_in_time(s, &b->members[i]);
		apply(s, &b->members[i]);
	}
}

static bool begin_compute(hth_scheduler *s, const step_batch *b, bool may_break)
{
	for (uint32_t i = 0; i < b->n_members; i++)
		s->jobs[i] = b->members[i].job;
	return hth_scheduler_begin_compute(s, s->jobs, b->n_members, may_break);
}

/* Room for a batch: it is others' as a whole, or the home's own. */
static bool make_room(hth_scheduler *s, const step_batch *b)
{
	return hth_sequences_make_room(s->sequences, -1, b->members[0].job->ask.input.background);
}

/* ---- a chunk in slices ---- */

static void end_slice(hth_scheduler *s)
{
	for (uint32_t i = 0; i < s->slice.n_members; i++)
		s->slice.members[i].job->in_slice = false;
	s->slice.n = 0;
	s->slice_turn = false;
}

void hth_scheduler_drop_slice(hth_scheduler *s)
{
	s->compute.slice_drop(s->compute.ctx);
	end_slice(s);
}

/* False: memory was short or it failed, and some job has left its slot. */
static bool begin_slice(hth_scheduler *s)
{
	hth_error err = HTH_ERROR_INIT;
	hth_status status;
	write_rows(&s->slice);
	do {
		status = s->compute.slice_begin(s->compute.ctx, s->slice.tokens, s->slice.n, &err);
	} while (status == HTH_NO_MEMORY && make_room(s, &s->slice));
	if (status == HTH_OK) {
		for (uint32_t i = 0; i < s->slice.n_members; i++)
			s->slice.members[i].job->in_slice = true;
		s->slice_ns = 0;
		return true;
	}
	s->slice.n = 0;
	if (status != HTH_NO_MEMORY || !hth_scheduler_give_way(s))
		fail_members(s, &s->slice, &err);
	return false;
}

static void run_slice(hth_scheduler *s)
{
	hth_pace_room r = room(s);
	s->slice_turn = false;
	uint32_t n_layers = hth_pace_layers(&s->pace, &r, s->slice.n);
	if (!begin_compute(s, &s->slice, false))
		return; /* cancelled a moment ago: the next step drops it */
	hth_error err = HTH_ERROR_INIT;
	bool done = false;
	uint64_t begin = s->compute.busy_ns(s->compute.ctx);
	hth_status status = s->compute.slice_run(s->compute.ctx, n_layers, &s->break_off, &done, &err);
	s->slice_ns += s->compute.busy_ns(s->compute.ctx) - begin;
	hth_scheduler_finish_compute(s);
	if (status == HTH_OK && !done)
		return;
	size_t n_rows = s->slice.n;
	end_slice(s);
	if (status == HTH_CANCELLED)
		s->stats.aborted++;
	else if (status != HTH_OK)
		fail_members(s, &s->slice, &err);
	else
		choose_and_apply(s, &s->slice, n_rows, s->slice_ns);
}

/* ---- a step ---- */

bool hth_scheduler_run_batch(hth_scheduler *s)
{
	if (s->slice.n > 0 && (s->slice_turn || room(s).n_decoding == 0)) {
		run_slice(s);
		return true;
	}
	build_batches(s);
	step_batch *b = &s->batch;
	if (s->slice.n == 0 && s->slice.n_members > 0 && !begin_slice(s))
		return true; /* what was built may have lost a member */
	if (b->n == 0)
		return s->slice.n > 0;
	bool may_break = !s->broke_off && hth_pace_expect_ns(&s->pace, b->n) > BREAK_NS;
	s->broke_off = false;
	if (!begin_compute(s, b, may_break))
		return true; /* cancelled a moment ago: the next step is built without it */
	hth_error err = HTH_ERROR_INIT;
	hth_status status;
	uint64_t begin;
	do {
		begin = s->compute.busy_ns(s->compute.ctx);
		status = s->compute.decode(s->compute.ctx, b->tokens, b->n, &s->break_off, &err);
	} while (status == HTH_NO_MEMORY && make_room(s, b));
	uint64_t end = s->compute.busy_ns(s->compute.ctx);
	hth_scheduler_finish_compute(s);
	s->slice_turn = s->slice.n > 0;
	if (status == HTH_CANCELLED) {
		s->broke_off = true;
		s->stats.aborted++;
		return true;
	}
	if (status == HTH_NO_MEMORY && hth_scheduler_give_way(s))
		return true;
	if (status != HTH_OK) {
		fail_members(s, b, &err);
		return true;
	}
	choose_and_apply(s, b, b->n, end - begin);
	return true;
}
