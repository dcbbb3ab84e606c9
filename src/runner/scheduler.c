/* scheduler.c - who runs: the queue, the slots, shared beginnings, giving way, ending. What a step computes is
 * scheduler-step.c. Owns every job between add and ended. Thread: the scheduler's, but for cancel. */
#include "runner/scheduler-internal.h"

#include "base/mem.h"

enum {
	SHARE_MIN = 8,  /* tokens: a shorter common beginning is not worth a copied page */
	HOLD_MIN = 32,  /* tokens that another job is about to compute, for which a newcomer waits */
	KV_PAGE = 32,
};

/* What it is made of; nothing runs or waits in it. */
static void release(hth_scheduler *s)
{
	hth_drafter_destroy(s->drafter);
	hth_sequences_destroy(s->sequences);
	pthread_mutex_destroy(&s->lock);
	free(s->running);
	free(s->computing);
	free(s->jobs);
	free(s->batch.members);
	free(s->batch.tokens);
	free(s->slice.members);
	free(s->slice.tokens);
	free(s->embedding);
	free(s->end_ids);
	free(s);
}

hth_status hth_scheduler_create(hth_scheduler **ret_scheduler, const hth_compute *compute, uint32_t n_slots,
                                const hth_scheduler_events *events, hth_error *err)
{
	if (n_slots == 0 || compute->n_seq <= n_slots || compute->n_batch < n_slots)
		return hth_fail(err, HTH_INTERNAL, "%u slots need more than %u sequences and a batch of more than %u", n_slots,
		                compute->n_seq, compute->n_batch);
	hth_scheduler *s = calloc(1, sizeof *s);
	if (s == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a scheduler");
	s->compute = *compute;
	s->events = *events;
	s->n_slots = n_slots;
	s->waiting_end = &s->waiting;
	pthread_mutex_init(&s->lock, NULL);
	s->running = hth_alloc_array(n_slots, sizeof *s->running);
	s->computing = hth_alloc_array(n_slots, sizeof *s->computing);
	s->jobs = hth_alloc_array(n_slots, sizeof *s->jobs);
	s->batch.members = hth_alloc_array(n_slots, sizeof *s->batch.members);
	s->batch.tokens = hth_alloc_array(compute->n_batch, sizeof *s->batch.tokens);
	s->slice.members = hth_alloc_array(n_slots, sizeof *s->slice.members);
	s->slice.tokens = hth_alloc_array(compute->n_slice, sizeof *s->slice.tokens);
	s->embedding = hth_alloc_array(compute->n_embd, sizeof *s->embedding);
	size_t n_end = 0;
	for (uint32_t i = 0; i < compute->n_vocab; i++)
		n_end += hth_tokenizer_is_end(compute->tokenizer, (int32_t)i);
	s->end_ids = hth_alloc_array(n_end, sizeof *s->end_ids);
	bool ok = s->running && s->computing && s->jobs && s->batch.members && s->batch.tokens && s->slice.members && s->slice.tokens &&
	          s->embedding && s->end_ids;
	hth_status status = ok ? hth_sequences_create(&s->sequences, &s->compute, err)
	                       : hth_fail(err, HTH_NO_MEMORY, "no memory for a scheduler of %u slots", n_slots);
	if (status == HTH_OK && compute->draft != NULL)
		status = hth_drafter_create(&s->drafter, compute->draft, err);
	if (status != HTH_OK) {
		release(s);
		return status;
	}
	for (uint32_t i = 0; i < compute->n_vocab; i++)
		if (hth_tokenizer_is_end(compute->tokenizer, (int32_t)i))
			s->end_ids[s->n_end_ids++] = (int32_t)i;
	*ret_scheduler = s;
	return HTH_OK;
}

void hth_scheduler_destroy(hth_scheduler *s)
{
	if (s == NULL)
		return;
	while (s->n_running > 0)
		hth_scheduler_end_running(s, s->running[0], NULL, NULL);
	while (s->waiting != NULL) {
		hth_job *job = s->waiting;
		s->waiting = job->next;
		s->events.ended(s->events.ctx, job, NULL, NULL);
	}
	release(s);
}

/* Into the queue, at its end or its head; those that rest for others wait behind all others. */
static void enqueue(hth_scheduler *s, hth_job *job, bool first)
{
	hth_job **at = &s->waiting;
	bool background = job->ask.input.background;
	job->state = HTH_JOB_WAITING;
	while (*at != NULL && (first ? background && !(*at)->ask.input.background : background || !(*at)->ask.input.background))
		at = &(*at)->next;
	job->next = *at;
	*at = job;
	if (job->next == NULL)
		s->waiting_end = &job->next;
	s->stats.waiting++;
}

void hth_scheduler_add(hth_scheduler *s, hth_job *job) { enqueue(s, job, false); }

hth_scheduler_stats hth_scheduler_get_stats(const hth_scheduler *s)
{
	hth_scheduler_stats stats = s->stats;
	stats.running = s->n_running;
	return stats;
}

/* ---- cancelling ---- */

void hth_scheduler_cancel(hth_scheduler *s, hth_job *job)
{
	atomic_store(&job->cancelled, true);
	pthread_mutex_lock(&s->lock);
	bool in_it = false, all = s->n_computing > 0;
	for (uint32_t i = 0; i < s->n_computing; i++) {
		in_it |= s->computing[i] == job;
		all &= atomic_load(&s->computing[i]->cancelled);
	}
	/* A step broken off is lost for everyone in it. */
	if (in_it && (all || s->may_break))
		atomic_store(&s->break_off, true);
	pthread_mutex_unlock(&s->lock);
}

bool hth_scheduler_begin_compute(hth_scheduler *s, hth_job *const *jobs, uint32_t n, bool may_break)
{
	pthread_mutex_lock(&s->lock);
	bool go = true;
	for (uint32_t i = 0; i < n; i++) {
		s->computing[i] = jobs[i];
		go &= !atomic_load(&jobs[i]->cancelled);
	}
	s->n_computing = go ? n : 0;
	s->may_break = may_break;
	atomic_store(&s->break_off, false);
	pthread_mutex_unlock(&s->lock);
	return go;
}

void hth_scheduler_finish_compute(hth_scheduler *s)
{
	pthread_mutex_lock(&s->lock);
	s->n_computing = 0;
	pthread_mutex_unlock(&s->lock);
}

static void drop_cancelled(hth_scheduler *s)
{
	for (uint32_t i = s->n_running; i-- > 0;)
		if (atomic_load(&s->running[i]->cancelled))
			hth_scheduler_end_running(s, s->running[i], NULL, NULL);
	hth_job **at = &s->waiting;
	while (*at != NULL) {
		hth_job *job = *at;
		if (!atomic_load(&job->cancelled)) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		s->stats.waiting--;
		s->events.ended(s->events.ctx, job, NULL, NULL);
	}
	s->waiting_end = at;
}

/* ---- leaving a slot ---- */

static void leave_slot(hth_scheduler *s, hth_job *job)
{
	if (job->follower > 0)
		hth_drafter_release(s->drafter, job->follower - 1);
	job->follower = 0;
	uint32_t i = 0;
	while (s->running[i] != job)
		i++;
	memmove(s->running + i, s->running + i + 1, (s->n_running - i - 1) * sizeof *s->running);
	s->n_running--;
	/* Whoever waited for its prefix goes on with what there is. */
	for (uint32_t k = 0; k < s->n_running; k++)
		if (s->running[k]->leader == job)
			s->running[k]->leader = NULL;
}

void hth_scheduler_end_running(hth_scheduler *s, hth_job *job, const hth_done *done, const hth_error *error)
{
	if (job->in_slice)
		hth_scheduler_drop_slice(s);
	if (job->seq >= 0 && job->ask.input.background)
		hth_sequences_drop(s->sequences, (uint32_t)job->seq); /* nobody would share it: see shares_nothing */
	else if (job->seq >= 0)
		hth_sequences_release(s->sequences, (uint32_t)job->seq);
	job->seq = -1;
	leave_slot(s, job);
	s->events.ended(s->events.ctx, job, done, error);
}

static void send_back(hth_scheduler *s, hth_job *job)
{
	if (job->in_slice)
		hth_scheduler_drop_slice(s);
	if (job->seq >= 0) {
		if (!job->ask.input.background)
			hth_sequences_spill(s->sequences, (uint32_t)job->seq);
		hth_sequences_drop(s->sequences, (uint32_t)job->seq);
	}
	job->seq = -1;
	job->n_computed = 0;
	leave_slot(s, job);
	enqueue(s, job, true);
	s->stats.gave_way++;
}

/* The one that came last, of those that rest for others if there are any. */
static hth_job *who_gives_way(const hth_scheduler *s, bool only_background, uint32_t *ret_n)
{
	hth_job *last = NULL;
	*ret_n = 0;
	for (uint32_t i = 0; i < s->n_running; i++) {
		hth_job *job = s->running[i];
		if ((job->seq < 0 && !only_background) || (only_background && !job->ask.input.background))
			continue;
		++*ret_n;
		bool later = last != NULL && job->serial > last->serial;
		if (last == NULL || (job->ask.input.background == last->ask.input.background ? later : job->ask.input.background))
			last = job;
	}
	return last;
}

bool hth_scheduler_give_way(hth_scheduler *s)
{
	uint32_t n;
	hth_job *last = who_gives_way(s, false, &n);
	if (n < 2)
		return false;
	send_back(s, last);
	return true;
}

/* A slot or memory for a job that others rest for. */
bool hth_scheduler_take_from_background(hth_scheduler *s)
{
	uint32_t n;
	hth_job *last = who_gives_way(s, true, &n);
	if (last != NULL)
		send_back(s, last);
	return last != NULL;
}

/* ---- taking a slot ---- */

static void on_piece(void *ctx, const hth_answer_piece *piece)
{
	hth_job *job = ctx;
	job->scheduler->events.piece(job->scheduler->events.ctx, job, piece);
}

/* Where the answer stands in what binds it. */
static hth_status start_grammar(const hth_scheduler *s, hth_job *job, hth_error *err)
{
	const char *trigger = job->ask.params.grammar_trigger;
	job->allowed = hth_alloc_array((size_t)(HTH_DRAFT_MAX + 1) * hth_scheduler_mask_words(s), sizeof *job->allowed);
	if (job->allowed == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar's masks");
	HTH_TRY(hth_grammar_matcher_create(&job->matcher, job->grammar, err));
	if (trigger != NULL)
		/* Reasoning that the prompt opened must be closed and followed by what was asked for; a call may be made or not. */
		return hth_grammar_matcher_wait(job->matcher, trigger, strlen(trigger), job->ask.params.grammar_trigger_if == NULL, err);
	/* The text that people see is what must follow the grammar. */
	if (job->at_start && hth_tokenizer_adds_space(s->compute.tokenizer))
		hth_grammar_matcher_drop_space(job->matcher);
	return HTH_OK;
}

/* What the job will look back on: sampler, text, logprobs, grammar. Once, also when it gave way meanwhile. */
static hth_status start_answer(hth_scheduler *s, hth_job *job, hth_error *err)
{
	const hth_request_params *params = &job->ask.params;
	if (params->top_logprobs >= 0 || job->ask.input.weigh) {
		job->raw = hth_alloc_array(s->compute.n_vocab, sizeof *job->raw);
		if (job->raw == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for logprobs");
	}
	if (job->grammar != NULL)
		HTH_TRY(start_grammar(s, job, err));
	HTH_TRY(hth_sampler_create(&job->sampler, &params->sampling, s->compute.n_vocab, err));
	job->scheduler = s;
	hth_status status = hth_answer_init(&job->answer, s->compute.tokenizer, job->at_start, params, on_piece, job, err);
	if (status != HTH_OK) {
		hth_sampler_destroy(job->sampler);
		job->sampler = NULL;
		return status;
	}
	job->answer.with_ids = job->ask.input.with_ids;
	for (uint32_t i = 0; i < job->n_prompt; i++)
		hth_sampler_accept(job->sampler, job->tokens[i]);
	job->started = true;
	if (hth_scheduler_echoes_rows(job))
		HTH_TRY(hth_scheduler_echo_start(s, job, on_piece, err));
	else if (job->echo != NULL)
		hth_answer_text(&job->answer, job->echo, job->echo_len);
	return HTH_OK;
}

static uint32_t common(const hth_job *a, const hth_job *b, uint32_t max)
{
	uint32_t n = HTH_MIN(max, HTH_MIN(a->n_tokens, b->n_tokens)), i = 0;
	while (i < n && a->tokens[i] == b->tokens[i])
		i++;
	return i;
}

/* A running job that will soon have computed more of this job's beginning than there is now. It may itself be held, if it came
 * before this one: so nobody waits in a circle. */
static hth_job *find_leader(const hth_scheduler *s, const hth_job *job, uint32_t max, uint32_t have, uint32_t *ret_tokens)
{
	hth_job *leader = NULL;
	uint32_t best = have + HOLD_MIN - 1;
	for (uint32_t i = 0; i < s->n_running; i++) {
		hth_job *other = s->running[i];
		if (other == job || other->state == HTH_JOB_DECODE || (other->ask.input.background && !job->ask.input.background) ||
		    (other->state == HTH_JOB_HELD && job->serial != 0 && other->serial > job->serial))
			continue;
		uint32_t n = common(other, job, max);
		if (n > best && n > other->n_computed) {
			best = n;
			leader = other;
		}
	}
	*ret_tokens = best;
	return leader;
}

/* An echo with rows computes all of its prompt itself. So does what runs for a neighbour: how soon it answers must not tell whether its
 * beginning was asked here before. */
static bool shares_nothing(const hth_job *job) { return job->echo_rows != NULL || job->ask.input.background; }

/* Looks for somebody to wait for. False: there is nobody. */
static bool hold(hth_scheduler *s, hth_job *job)
{
	uint32_t from, tokens;
	if (shares_nothing(job))
		return false;
	uint32_t have = hth_sequences_find(s->sequences, job->tokens, job->n_tokens - 1, &from);
	have = hth_sequences_find_spilled(s->sequences, job->tokens, job->n_tokens - 1, have);
	job->leader = find_leader(s, job, job->n_tokens - 1, have, &tokens);
	if (job->leader == NULL)
		return false;
	job->state = HTH_JOB_HELD;
	job->leader_tokens = tokens;
	return true;
}

/* Gives a job that has a slot its sequence, with the best beginning there is. False: no memory yet. */
static bool take_sequence(hth_scheduler *s, hth_job *job)
{
	/* The last token is always computed, because its logits are wanted; and another one where a single row may round differently
	 * from the several of the first time. */
	uint32_t from = 0, always = s->compute.exact_rows == UINT32_MAX ? 1 : 2, max = job->n_tokens > always &&
	    !shares_nothing(job) ? job->n_tokens - always : 0;
	uint32_t length = hth_sequences_find(s->sequences, job->tokens, max, &from);
	if (length < SHARE_MIN)
		length = 0;
	uint32_t spilled = hth_sequences_find_spilled(s->sequences, job->tokens, max, length);
	/* Room for what it will compute, and a page for each that runs to go on with. */
	uint32_t need = job->n_tokens - length + KV_PAGE * (s->n_running + 1);
	while (s->compute.free_tokens(s->compute.ctx) < need)
		if (!hth_sequences_make_room(s->sequences, length > 0 ? (int)from : -1, job->ask.input.background))
			break;
	bool others = false;
	for (uint32_t i = 0; i < s->n_running; i++)
		others |= s->running[i] != job && s->running[i]->seq >= 0 && !hth_scheduler_rests(s, s->running[i]);
	if ((others || job->ask.input.background) && s->compute.free_tokens(s->compute.ctx) < need)
		return false; /* somebody who runs will end and give pages back; or the room is the home's own */
	int seq = hth_sequences_take(s->sequences, from, length, job->tokens, job->ask.input.background);
	if (seq < 0)
		return false;
	if (spilled > length)
		length = hth_sequences_restore(s->sequences, (uint32_t)seq, spilled);
	job->seq = seq;
	job->n_computed = length;
	hth_sequences_hold(s->sequences, (uint32_t)seq, length);
	if (job->admitted_ns == 0) {
		job->admitted_ns = s->compute.now_ns(s->compute.ctx);
		job->n_cached = length;
	}
	job->leader = NULL;
	job->state = HTH_JOB_PREFILL;
	return true;
}

/* Others' work gives its memory back before anything goes that the home keeps. */
static void make_way(hth_scheduler *s, const hth_job *job)
{
	uint32_t from, max = job->n_tokens > 1 && !shares_nothing(job) ? job->n_tokens - 1 : 0;
	while (!job->ask.input.background) {
		uint32_t need = job->n_tokens - hth_sequences_find(s->sequences, job->tokens, max, &from) + KV_PAGE * (s->n_running + 2);
		if (s->compute.free_tokens(s->compute.ctx) >= need || !hth_scheduler_take_from_background(s))
			return;
	}
}

/* The head of the queue takes a slot. False: it must wait, or there is none. */
static bool admit_one(hth_scheduler *s)
{
	hth_job *job = s->waiting;
	if (job == NULL || hth_scheduler_rests(s, job))
		return false;
	if (s->n_running >= s->n_slots)
		return !job->ask.input.background && hth_scheduler_take_from_background(s);
	hth_error err = HTH_ERROR_INIT;
	hth_done done;
	bool over = false;
	hth_status status = HTH_OK;
	if (!job->started && job->ask.kind != HTH_EMBEDDING) {
		status = start_answer(s, job, &err);
		if (status == HTH_OK)
			status = hth_scheduler_replay(s, job, &over, &done, &err);
	}
	job->serial = 0; /* the last: it may wait for anybody */
	if (status == HTH_OK && !over && !hold(s, job)) {
		make_way(s, job);
		s->running[s->n_running++] = job;
		bool fits = take_sequence(s, job);
		s->n_running--;
		if (!fits && job->ask.input.background && s->n_running == 0) /* nobody's end would change that */
			status = hth_fail(&err, HTH_BUSY, "its %u tokens have no room beside what this home keeps for itself",
			                  job->n_tokens);
		else if (!fits)
			return !job->ask.input.background && hth_scheduler_take_from_background(s);
	}
	s->waiting = job->next;
	if (s->waiting == NULL)
		s->waiting_end = &s->waiting;
	job->next = NULL;
	s->stats.waiting--;
	if (status != HTH_OK || over) {
		s->events.ended(s->events.ctx, job, over ? &done : NULL, over ? NULL : &err);
		return true;
	}
	job->serial = ++s->serial;
	s->running[s->n_running++] = job;
	return true;
}

/* Held jobs whose shared beginning is there, or will never be. */
static void release_held(hth_scheduler *s)
{
	for (uint32_t i = 0; i < s->n_running; i++) {
		hth_job *job = s->running[i];
		if (job->state != HTH_JOB_HELD || (job->leader != NULL && job->leader->n_computed < job->leader_tokens))
			continue;
		/* What it waited for is there. Of those that were held with it, one goes on and may be the next to wait for. */
		if (!hold(s, job))
			take_sequence(s, job); /* without memory it stays held and is tried again at the next step */
	}
}

/* ---- embeddings: one at a time, between steps ---- */

static bool run_embedding(hth_scheduler *s)
{
	hth_job *job = s->waiting;
	if (job == NULL || job->ask.kind != HTH_EMBEDDING)
		return false;
	s->waiting = job->next;
	if (s->waiting == NULL)
		s->waiting_end = &s->waiting;
	s->stats.waiting--;
	hth_error err = HTH_ERROR_INIT;
	job->admitted_ns = s->compute.now_ns(s->compute.ctx);
	hth_status status = HTH_CANCELLED;
	if (hth_scheduler_begin_compute(s, &job, 1, true)) {
		do { /* a decoder embeds in pages of the same pool */
			status = s->compute.embed(s->compute.ctx, job->tokens, job->n_tokens, s->embedding, &s->break_off, &err);
		} while (status == HTH_NO_MEMORY && hth_sequences_make_room(s->sequences, -1, false));
		hth_scheduler_finish_compute(s);
	}
	if (status == HTH_OK) {
		s->events.embedding(s->events.ctx, job, s->embedding, s->compute.n_embd);
		hth_done done = {.reason = HTH_FINISH_STOP,
		                 .stop = -1,
		                 .usage = {.prompt_tokens = job->n_prompt,
		                           .queue_ns = job->admitted_ns - job->received_ns,
		                           .prefill_ns = s->compute.now_ns(s->compute.ctx) - job->admitted_ns}};
		s->events.ended(s->events.ctx, job, &done, NULL);
	} else {
		s->events.ended(s->events.ctx, job, NULL, status == HTH_CANCELLED ? NULL : &err);
	}
	return true;
}

static void count_foreground(hth_scheduler *s)
{
	s->n_foreground = 0;
	for (uint32_t i = 0; i < s->n_running; i++)
		s->n_foreground += !s->running[i]->ask.input.background;
	for (const hth_job *job = s->waiting; job != NULL; job = job->next)
		s->n_foreground += !job->ask.input.background;
	for (uint32_t i = 0; i < s->slice.n_members && s->slice.n > 0; i++) {
		if (hth_scheduler_rests(s, s->slice.members[i].job)) {
			hth_scheduler_drop_slice(s);
			break;
		}
	}
}

bool hth_scheduler_step(hth_scheduler *s)
{
	drop_cancelled(s);
	count_foreground(s);
	bool did = run_embedding(s);
	while (s->waiting != NULL && s->waiting->ask.kind != HTH_EMBEDDING && admit_one(s))
		did = true;
	release_held(s);
	did |= hth_scheduler_run_batch(s);
	return did || s->waiting != NULL || s->n_running > 0;
}
