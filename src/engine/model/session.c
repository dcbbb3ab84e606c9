/* session.c - the state of sequences that are computed together, and the batch that moves them on.
 *
 * A session belongs to one thread; kernels use its pool. Everything is allocated by create in one piece beside the KV
 * pages and the activations' 8-bit forms, so that no token allocates. R = n_batch rows, O = n_outputs rows of logits,
 * P = R * n_expert_used pairs; each part is rounded up to 64 bytes:
 *
 *   | x R*embd | rope tables 2 * R*rot | tokens R | runs R | output runs R | outputs R | row_of R | logits_row R |
 *   | the same of S = n_slice rows, for the batch in slices |
 *   | h R*embd | q R*heads*dim | k R*kv*dim | v R*kv*dim | att R*heads*dim |
 *   | gate max(R*ff, P*ff_exp) | up the same | logits O*vocab |
 *   | attention: scratch per worker | partial results |
 *   | seq_run n_seq + 1 | experts: router R*experts | pair P*embd | pair_weight P | aside R*embd |
 *   | experts: pair_expert P | pair_row P | pair_slot P | pair_iota P | first E+1 | jobs 2E |
 *
 * A batch in slices is a second pass that keeps between its slices only what pass.h says; everything else it borrows
 * from the first, whose batches run in between.
 *
 * Sequence n_seq is the session's own: embeddings of a decoder are computed in it, then it is emptied.
 */
#include "engine/engine.h"

#include "base/mem.h"
#include "engine/model/model-arch.h"

#include <math.h>

enum { MAX_SEQ = 1 << 16, MAX_BATCH = 1 << 16, DEFAULT_BATCH = 512 };

/* A batch on its way: its pass, and which row is which. */
typedef struct lane {
	hth_pass pass; /* its pointers into work; set for each batch */
	uint32_t n_batch;
	int32_t *tokens;
	hth_run *runs, *output_runs;
	uint32_t *outputs, *row_of, *logits_row;
	size_t n_runs; /* that have their pages */
	const hth_batch_token *batch; /* of an open batch in slices: the caller's ... */
	size_t n;                     /* ... and its length; 0: none is open */
} lane;

struct hth_session {
	const hth_model *model;
	hth_threads *threads;
	uint32_t n_seq, n_ctx, n_batch, n_outputs;
	hth_kv kv;
	unsigned char *work;
	lane whole, sliced;
	uint32_t *seq_run; /* n_seq + 1: 1 + the run of a sequence in the batch being planned; 0 otherwise */
	const lane *logits_of; /* the batch whose logits are there */
	size_t n_logits;
};

/* The plan: what create allocates, from the model and the options with their defaults filled in. */
typedef struct plan {
	hth_session_options o;
	uint32_t n_outputs;
	hth_kv_shape kv;
	size_t max_cols, gated_ff, pair_cols, n_pairs; /* of acts, ff_acts (0: none) and pair_acts */
	size_t row_one_in, pair_one_in; /* an expert has one in so many rows, and pairs */
	bool has_shared;
	uint64_t ff; /* floats of gate, and of up */
	unsigned n_workers;
} plan;

static hth_status make_plan(const hth_model *m, const hth_session_options *options, unsigned n_workers, plan *ret,
                            hth_error *err)
{
	const hth_params *p = &m->params;
	plan pl = {.o = options ? *options : (hth_session_options){0}, .n_workers = n_workers};
	hth_session_options *o = &pl.o;
	o->n_seq = o->n_seq ? o->n_seq : 1;
	o->n_ctx = o->n_ctx ? o->n_ctx : p->n_ctx_train;
	if (o->n_batch == 0) /* an encoder sees a whole text at once */
		o->n_batch =
		    p->causal ? HTH_MIN(o->n_ctx, (uint32_t)DEFAULT_BATCH) : HTH_MIN(o->n_ctx, (uint32_t)MAX_BATCH);
	o->n_slice = p->causal ? HTH_MIN(o->n_slice, o->n_batch) : 0;
	if (o->n_seq > MAX_SEQ || o->n_batch > MAX_BATCH || o->n_ctx > HTH_MAX_CTX)
		return hth_fail(err, HTH_INVALID,
		                "a session takes at most %d sequences, %d tokens a batch and %d tokens of context",
		                MAX_SEQ, MAX_BATCH, HTH_MAX_CTX);
	if (m->position_embd.rows > 0 && o->n_ctx > m->position_embd.rows)
		return hth_fail(err, HTH_INVALID, "this model knows %zu positions, so its context cannot be %u",
		                m->position_embd.rows, o->n_ctx);
	uint64_t n_kv = o->n_kv ? o->n_kv : (uint64_t)o->n_seq * hth_round_up(o->n_ctx, HTH_KV_PAGE);
	uint64_t n_pages = (n_kv + HTH_KV_PAGE - 1) / HTH_KV_PAGE;
	if (n_pages > UINT32_MAX / 2)
		return hth_fail(err, HTH_INVALID, "a KV cache of %llu tokens is more than Hearth counts",
		                (unsigned long long)n_kv);
	pl.n_outputs = HTH_MIN(o->n_outputs ? o->n_outputs : o->n_batch, o->n_batch);
	/* An encoder keeps nothing between layers: one layer's keys and values are enough, exact ones. */
	pl.kv = (hth_kv_shape){.type = p->causal ? o->kv_type : HTH_KV_F32,
	                       .n_layer = p->causal ? p->n_layer : 1,
	                       .n_head = p->n_head_kv,
	                       .head_dim = p->head_dim,
	                       .n_pages = (uint32_t)n_pages,
	                       .n_seq = o->n_seq + 1,
	                       .n_ctx = o->n_ctx};

	size_t ff = 0, ff_exp = 0;
	for (uint32_t i = 0; i < p->n_layer; i++) {
		const hth_layer *l = &m->layers[i];
		ff = HTH_MAX(ff, HTH_MAX(l->up.rows, l->shexp_up.rows));
		ff_exp = l->up_exps ? HTH_MAX(ff_exp, l->up_exps[0].rows) : ff_exp;
		pl.has_shared |= l->shexp_up.rows > 0;
		pl.gated_ff = hth_layer_gates_in_tiles(l) ? HTH_MAX(pl.gated_ff, l->up.rows) : pl.gated_ff;
	}
	pl.n_pairs = (size_t)o->n_batch * p->n_expert_used;
	pl.pair_cols = ff_exp;
	pl.pair_one_in = HTH_MAX(p->n_expert, 1u);
	pl.row_one_in = pl.n_pairs > 0 ? (p->n_expert + p->n_expert_used - 1) / p->n_expert_used : 1;
	pl.ff = HTH_MAX((uint64_t)o->n_batch * ff, (uint64_t)pl.n_pairs * ff_exp);
	pl.max_cols = HTH_MAX(HTH_MAX((size_t)p->n_embd, (size_t)p->n_head * p->head_dim), ff);
	*ret = pl;
	return HTH_OK;
}

/* Hands out the parts of the workspace: first with base NULL to measure, then again to place. */
typedef struct carve {
	unsigned char *base;
	uint64_t used;
} carve;

static void *part(carve *c, uint64_t n, size_t size)
{
	void *at = c->base ? c->base + c->used : NULL;
	c->used += (n * size + 63) / 64 * 64;
	return at;
}

static void lay_out_rows(lane *l, uint64_t rows, const hth_params *p, carve *c)
{
	l->n_batch = (uint32_t)rows;
	l->pass.x = part(c, rows * p->n_embd, sizeof(float));
	for (int i = 0; i < 2; i++)
		l->pass.rope_table[i] = part(c, rows * p->n_rot, sizeof(float));
	l->tokens = part(c, rows, sizeof *l->tokens);
	l->runs = part(c, rows, sizeof *l->runs);
	l->output_runs = part(c, rows, sizeof *l->output_runs);
	l->outputs = part(c, rows, sizeof *l->outputs);
	l->row_of = part(c, rows, sizeof *l->row_of);
	l->logits_row = part(c, rows, sizeof *l->logits_row);
}

static void lay_out(hth_session *s, const hth_model *m, const plan *pl, carve *c)
{
	const hth_params *p = &m->params;
	hth_pass *w = &s->whole.pass;
	uint64_t rows = pl->o.n_batch, nq = (uint64_t)p->n_head * p->head_dim,
	         nkv = (uint64_t)p->n_head_kv * p->head_dim;
	lay_out_rows(&s->whole, rows, p, c);
	lay_out_rows(&s->sliced, pl->o.n_slice, p, c);
	w->h = part(c, rows * p->n_embd, sizeof(float));
	w->q = part(c, rows * nq, sizeof(float));
	w->k = part(c, rows * nkv, sizeof(float));
	w->v = part(c, rows * nkv, sizeof(float));
	w->att = part(c, rows * nq, sizeof(float));
	w->gate = part(c, pl->ff, sizeof(float));
	w->up = part(c, pl->ff, sizeof(float));
	w->logits = part(c, p->causal ? (uint64_t)pl->n_outputs * p->n_vocab : 0, sizeof(float));
	w->scratch_len = hth_attention_scratch_len(p);
	w->scratch = part(c, (uint64_t)pl->n_workers * w->scratch_len, sizeof(float));
	w->partial = part(c, hth_attention_partial_len(p, pl->n_workers), sizeof(float));
	s->seq_run = part(c, pl->kv.n_seq, sizeof *s->seq_run);
	if (pl->n_pairs == 0)
		return;
	w->router = part(c, rows * p->n_expert, sizeof(float));
	w->pair = part(c, HTH_MAX(pl->n_pairs, rows) * p->n_embd, sizeof(float));
	w->pair_weight = part(c, pl->n_pairs, sizeof(float));
	w->aside = part(c, pl->has_shared ? rows * p->n_embd : 0, sizeof(float));
	w->pair_expert = part(c, pl->n_pairs, sizeof(uint32_t));
	w->pair_row = part(c, pl->n_pairs, sizeof(uint32_t));
	w->pair_slot = part(c, pl->n_pairs, sizeof(uint32_t));
	w->pair_iota = part(c, pl->n_pairs, sizeof(uint32_t));
	w->expert_first = part(c, p->n_expert + 1, sizeof(uint32_t));
	w->expert_jobs = part(c, 2 * (uint64_t)p->n_expert, sizeof(hth_matmul));
}

static uint64_t plan_bytes(const hth_model *m, const plan *pl, uint64_t *ret_work)
{
	hth_session probe = {0};
	carve c = {0};
	lay_out(&probe, m, pl, &c);
	*ret_work = c.used;
	uint64_t all = hth_kv_plan(&pl->kv), acts = hth_acts_plan_bytes(pl->o.n_batch, pl->max_cols, pl->row_one_in);
	if (pl->gated_ff > 0)
		acts += hth_acts_plan_bytes(pl->o.n_batch, pl->gated_ff, 1);
	if (pl->n_pairs > 0)
		acts += hth_acts_plan_bytes(pl->n_pairs, pl->pair_cols, pl->pair_one_in);
	if (hth_add_overflows(all, c.used, &all) || hth_add_overflows(all, acts, &all))
		return UINT64_MAX;
	return all;
}

uint64_t hth_session_plan_bytes(const hth_model *model, const hth_session_options *options)
{
	plan pl;
	uint64_t work;
	if (make_plan(model, options, (unsigned)HTH_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L), &pl, NULL) != HTH_OK)
		return UINT64_MAX;
	return plan_bytes(model, &pl, &work);
}

hth_status hth_session_create(hth_session **ret_session, const hth_model *model, hth_threads *threads,
                              const hth_session_options *options, hth_error *err)
{
	plan pl;
	uint64_t work_bytes;
	HTH_TRY(make_plan(model, options, hth_threads_count(threads), &pl, err));
	uint64_t all = plan_bytes(model, &pl, &work_bytes);
	hth_session *s = calloc(1, sizeof *s);
	if (s == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a session");
	*s = (hth_session){.model = model,
	                   .threads = threads,
	                   .n_seq = pl.o.n_seq,
	                   .n_ctx = pl.o.n_ctx,
	                   .n_batch = pl.o.n_batch,
	                   .n_outputs = pl.n_outputs};
	hth_status status = hth_kv_init(&s->kv, &pl.kv, err);
	s->work = status == HTH_OK && all <= SIZE_MAX / 2 ? hth_alloc_large(work_bytes) : NULL;
	if (status == HTH_OK && s->work == NULL)
		status = hth_fail(err, HTH_NO_MEMORY,
		                  "a session with batches of %u tokens needs %llu MiB, which could not be allocated; "
		                  "use smaller batches",
		                  pl.o.n_batch, (unsigned long long)(all >> 20));
	if (status == HTH_OK) {
		lay_out(s, model, &pl, &(carve){.base = s->work});
		status = hth_acts_create(&s->whole.pass.acts, pl.o.n_batch, pl.max_cols, pl.row_one_in, err);
	}
	if (status == HTH_OK && pl.gated_ff > 0)
		status = hth_acts_create(&s->whole.pass.ff_acts, pl.o.n_batch, pl.gated_ff, 1, err);
	if (status == HTH_OK && pl.n_pairs > 0)
		status = hth_acts_create(&s->whole.pass.pair_acts, pl.n_pairs, pl.pair_cols, pl.pair_one_in, err);
	if (status != HTH_OK) {
		hth_session_destroy(s);
		return status;
	}
	memset(s->seq_run, 0, pl.kv.n_seq * sizeof *s->seq_run);
	hth_pass *w = &s->whole.pass;
	for (size_t i = 0; i < pl.n_pairs; i++)
		w->pair_iota[i] = (uint32_t)i;
	w->model = model;
	w->threads = threads;
	w->kv = &s->kv;
	w->rope_long = model->rope_long.n_rot > 0 && s->n_ctx > model->params.rope_ctx_orig;
	w->stop_layer = UINT32_MAX;
	const hth_pass own = s->sliced.pass;
	s->sliced.pass = *w;
	s->sliced.pass.x = own.x;
	memcpy(s->sliced.pass.rope_table, own.rope_table, sizeof own.rope_table);
	*ret_session = s;
	return HTH_OK;
}

void hth_session_destroy(hth_session *session)
{
	if (session == NULL)
		return;
	hth_kv_finish(&session->kv);
	hth_acts_destroy(session->whole.pass.acts);
	hth_acts_destroy(session->whole.pass.ff_acts);
	hth_acts_destroy(session->whole.pass.pair_acts);
	free(session->work);
	free(session);
}

uint32_t hth_session_n_ctx(const hth_session *session)
{
	return session->n_ctx;
}
uint32_t hth_session_n_batch(const hth_session *session)
{
	return session->n_batch;
}
uint32_t hth_session_exact_rows(const hth_session *session)
{
	const hth_model *m = session->model;
	if (m->params.n_expert > 0 || !hth_attention_is_exact(&m->params, hth_threads_count(session->threads)))
		return 1;
	size_t n = hth_matrix_exact_tokens(&m->output);
	for (uint32_t i = 0; i < m->params.n_layer; i++) {
		const hth_layer *l = &m->layers[i];
		const hth_matrix *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
		for (size_t k = 0; k < HTH_COUNT(all); k++)
			if (all[k]->rows > 0)
				n = HTH_MIN(n, hth_matrix_exact_tokens(all[k]));
	}
	return (uint32_t)HTH_MIN(n, (size_t)UINT32_MAX);
}
uint32_t hth_session_n_outputs(const hth_session *session) { return session->n_outputs; }

uint32_t hth_session_n_slice(const hth_session *session)
{
	return session->sliced.n_batch;
}
uint32_t hth_session_n_seq(const hth_session *session)
{
	return session->n_seq;
}
uint32_t hth_session_length(const hth_session *session, uint32_t seq)
{
	return session->kv.lengths[seq];
}
void hth_session_truncate(hth_session *session, uint32_t seq, uint32_t length)
{
	hth_kv_truncate(&session->kv, seq, length);
}
void hth_session_share(hth_session *session, uint32_t dst, uint32_t src, uint32_t length)
{
	hth_kv_share(&session->kv, dst, src, length);
}
size_t hth_session_page_bytes(const hth_session *session)
{
	return session->kv.page_bytes;
}
const void *hth_session_page(const hth_session *session, uint32_t seq, uint32_t i)
{
	return session->kv.data + hth_kv_page(&session->kv, seq, i * HTH_KV_PAGE) * session->kv.page_bytes;
}
void *hth_session_page_append(hth_session *session, uint32_t seq)
{
	hth_kv *kv = &session->kv;
	uint32_t length = kv->lengths[seq];
	if (length % HTH_KV_PAGE != 0 || length + HTH_KV_PAGE > session->n_ctx || !hth_kv_prepare(kv, seq, HTH_KV_PAGE))
		return NULL;
	hth_kv_commit(kv, seq, HTH_KV_PAGE);
	return kv->data + hth_kv_page(kv, seq, length) * kv->page_bytes;
}
uint32_t hth_session_free_tokens(const hth_session *session)
{
	return session->kv.n_free * HTH_KV_PAGE;
}

float *hth_session_logits(hth_session *session, size_t i)
{
	return i < session->n_logits
	           ? session->whole.pass.logits + (size_t)session->logits_of->logits_row[i] * session->model->params.n_vocab
	           : NULL;
}

/* Turns a batch into rows ordered by sequence: runs, tokens, wanted rows. Checks everything but memory. */
static hth_status plan_rows(hth_session *s, lane *l, const hth_batch_token *tokens, size_t n, hth_error *err)
{
	hth_pass *p = &l->pass;
	hth_status status = HTH_OK;
	p->n_runs = 0;
	p->n_outputs = p->n_output_runs = 0;
	for (size_t i = 0; i < n && status == HTH_OK; i++) {
		uint32_t seq = tokens[i].seq;
		if (tokens[i].token < 0 || (uint32_t)tokens[i].token >= s->model->params.n_vocab)
			status = hth_fail(err, HTH_INVALID, "token %d is not in the vocabulary of %u", tokens[i].token,
			                  s->model->params.n_vocab);
		else if (seq > s->n_seq)
			status = hth_fail(err, HTH_INVALID, "there is no sequence %u", seq);
		else {
			if (s->seq_run[seq] == 0) {
				l->runs[p->n_runs++] = (hth_run){.seq = seq, .pos = s->kv.lengths[seq]};
				s->seq_run[seq] = (uint32_t)p->n_runs;
			}
			l->runs[s->seq_run[seq] - 1].n++;
			p->n_outputs += tokens[i].want_logits;
		}
	}
	uint32_t row = 0;
	for (size_t i = 0; i < p->n_runs; i++) {
		hth_run *run = &l->runs[i];
		s->seq_run[run->seq] = 0;
		run->row = row;
		row += run->n;
		run->end = run->pos + run->n;
		if (status == HTH_OK && (uint64_t)run->pos + run->n > s->n_ctx)
			status = hth_fail(err, HTH_TOO_LARGE,
			                  "%u tokens after the %u already there do not fit in a context of %u", run->n,
			                  run->pos, s->n_ctx);
	}
	if (status == HTH_OK && !p->hidden_only && p->n_outputs > s->n_outputs)
		status = hth_fail(err, HTH_TOO_LARGE, "%zu tokens want logits, but the session was made for %u",
		                  p->n_outputs, s->n_outputs);
	HTH_TRY(status);

	/* seq_run counts each run's rows while they are handed out, and is zero again at the end. */
	for (size_t i = 0; i < p->n_runs; i++)
		s->seq_run[l->runs[i].seq] = l->runs[i].row;
	for (size_t i = 0; i < n; i++) {
		uint32_t at = s->seq_run[tokens[i].seq]++;
		l->row_of[i] = at;
		l->tokens[at] = tokens[i].token;
		l->logits_row[at] = tokens[i].want_logits; /* a flag per row, for the next loop */
	}
	for (size_t i = 0; i < p->n_runs; i++)
		s->seq_run[l->runs[i].seq] = 0;
	uint32_t n_out = 0;
	for (size_t i = 0; i < p->n_runs; i++) {
		const hth_run *run = &l->runs[i];
		hth_run *last = NULL; /* neighbours of a run stay one run */
		for (uint32_t r = run->row; r < run->row + run->n; r++) {
			if (!l->logits_row[r]) {
				last = NULL;
				continue;
			}
			l->outputs[n_out] = r;
			if (last == NULL) {
				last = &l->output_runs[p->n_output_runs++];
				*last = (hth_run){
				    .seq = run->seq, .row = n_out, .pos = run->pos + (r - run->row), .end = run->end};
			}
			last->n++;
			n_out++;
		}
	}
	return HTH_OK;
}

/* In the caller's order: where the logits of the i-th token that wants them are. Rows are looked up in `outputs`,
 * rising. */
static void map_logits(hth_session *s, lane *l, const hth_batch_token *tokens, size_t n)
{
	s->n_logits = 0;
	s->logits_of = l;
	for (size_t i = 0; i < n; i++) {
		if (!tokens[i].want_logits)
			continue;
		size_t lo = 0, hi = l->pass.n_outputs;
		while (hi - lo > 1) {
			size_t mid = lo + (hi - lo) / 2;
			if (l->outputs[mid] <= l->row_of[i])
				lo = mid;
			else
				hi = mid;
		}
		l->logits_row[s->n_logits++] = (uint32_t)lo;
	}
}

/* Checks a batch, gives its sequences their pages and its pass its rows. After a failure nothing has changed. */
static hth_status begin_batch(hth_session *s, lane *l, const hth_batch_token *tokens, size_t n, hth_error *err)
{
	hth_pass *p = &l->pass;
	if (n > l->n_batch)
		return hth_fail(err, HTH_TOO_LARGE, "%zu tokens in a batch, but the session was made for %u", n, l->n_batch);
	HTH_TRY(plan_rows(s, l, tokens, n, err));
	l->n_runs = 0;
	while (l->n_runs < p->n_runs && hth_kv_prepare(&s->kv, l->runs[l->n_runs].seq, l->runs[l->n_runs].n))
		l->n_runs++;
	if (l->n_runs < p->n_runs) {
		hth_fail(err, HTH_NO_MEMORY, "the KV cache of %llu tokens is full (%u free); end or cut other sequences first",
		         (unsigned long long)s->kv.shape.n_pages * HTH_KV_PAGE, s->kv.n_free * HTH_KV_PAGE);
		for (size_t i = 0; i < l->n_runs; i++)
			hth_kv_abandon(&s->kv, l->runs[i].seq);
		return HTH_NO_MEMORY;
	}
	p->n_rows = n;
	p->tokens = l->tokens;
	p->runs = l->runs;
	p->outputs = l->outputs;
	p->output_runs = l->output_runs;
	p->first_layer = 0;
	return HTH_OK;
}

static void end_batch(hth_session *s, lane *l, const hth_batch_token *tokens, size_t n, bool done)
{
	for (size_t i = 0; i < l->n_runs; i++) {
		if (done)
			hth_kv_commit(&s->kv, l->runs[i].seq, l->runs[i].n);
		else
			hth_kv_abandon(&s->kv, l->runs[i].seq);
	}
	if (done)
		map_logits(s, l, tokens, n);
}

/* One batch, all or nothing. */
static hth_status run_batch(hth_session *s, const hth_batch_token *tokens, size_t n, const atomic_bool *cancel, hth_error *err)
{
	lane *l = &s->whole;
	s->n_logits = 0;
	if (n == 0)
		return HTH_OK;
	HTH_TRY(begin_batch(s, l, tokens, n, err));
	l->pass.cancel = cancel;
	hth_status status = s->model->arch->forward(&l->pass);
	if (status == HTH_CANCELLED)
		hth_fail(err, HTH_CANCELLED, "cancelled");
	end_batch(s, l, tokens, n, status == HTH_OK);
	return status;
}

static hth_status check_batch(const hth_session *s, const hth_batch_token *tokens, size_t n, hth_error *err)
{
	if (!s->model->params.causal)
		return hth_fail(err, HTH_UNSUPPORTED, "%s is an embedding model: it has no next token", s->model->info.name);
	for (size_t i = 0; i < n; i++) {
		if (tokens[i].seq >= s->n_seq)
			return hth_fail(err, HTH_INVALID, "there is no sequence %u: the session was made for %u", tokens[i].seq, s->n_seq);
		for (size_t k = 0; s->sliced.n > 0 && k < s->sliced.n_runs; k++)
			if (s->sliced.runs[k].seq == tokens[i].seq)
				return hth_fail(err, HTH_INTERNAL, "sequence %u is being computed in slices", tokens[i].seq);
	}
	return HTH_OK;
}

hth_status hth_session_decode(hth_session *session, const hth_batch_token *tokens, size_t n, const atomic_bool *cancel,
                              hth_error *err)
{
	HTH_TRY(check_batch(session, tokens, n, err));
	session->whole.pass.hidden_only = false;
	return run_batch(session, tokens, n, cancel, err);
}

hth_status hth_session_slice_begin(hth_session *session, const hth_batch_token *tokens, size_t n, hth_error *err)
{
	lane *l = &session->sliced;
	if (l->n > 0 || n == 0)
		return hth_fail(err, HTH_INTERNAL, l->n > 0 ? "a batch in slices is open already" : "a batch in slices without tokens");
	HTH_TRY(check_batch(session, tokens, n, err));
	HTH_TRY(begin_batch(session, l, tokens, n, err));
	l->batch = tokens;
	l->n = n;
	return HTH_OK;
}

hth_status hth_session_slice_run(hth_session *session, uint32_t n_layers, const atomic_bool *cancel, bool *ret_done, hth_error *err)
{
	lane *l = &session->sliced;
	hth_pass *p = &l->pass;
	uint32_t all = session->model->params.n_layer;
	if (l->n == 0)
		return hth_fail(err, HTH_INTERNAL, "no batch in slices is open");
	bool last = n_layers >= all - p->first_layer;
	p->stop_layer = last ? UINT32_MAX : p->first_layer + HTH_MAX(n_layers, 1u);
	p->cancel = cancel;
	hth_status status = session->model->arch->forward(p);
	session->n_logits = 0;
	if (status == HTH_CANCELLED && p->layer == p->stop_layer) {
		p->first_layer = p->stop_layer;
		*ret_done = false;
		return HTH_OK;
	}
	end_batch(session, l, l->batch, l->n, status == HTH_OK);
	l->n = 0;
	if (status == HTH_CANCELLED)
		return hth_fail(err, HTH_CANCELLED, "cancelled");
	*ret_done = true;
	return status;
}

void hth_session_slice_drop(hth_session *session)
{
	if (session->sliced.n > 0)
		end_batch(session, &session->sliced, NULL, 0, false);
	session->sliced.n = 0;
}

/* Adds the hidden states of a batch to the pooled vector, as the pooling asks: the batch holds positions [at, at + n)
 * of total. */
static void pool(const hth_session *s, size_t at, size_t n, size_t total, float *sum)
{
	size_t n_embd = s->model->params.n_embd;
	const float *h = s->whole.pass.h;
	switch (s->model->params.pooling) {
	case HTH_POOL_CLS:
		if (at == 0)
			memcpy(sum, h, n_embd * sizeof *sum);
		break;
	case HTH_POOL_LAST:
		if (at + n == total)
			memcpy(sum, h + (n - 1) * n_embd, n_embd * sizeof *sum);
		break;
	case HTH_POOL_NONE:
	case HTH_POOL_MEAN:
		for (size_t r = 0; r < n; r++)
			for (size_t i = 0; i < n_embd; i++)
				sum[i] += h[r * n_embd + i];
		break;
	}
}

hth_status hth_session_embed(hth_session *session, const int32_t *tokens, size_t n, float *ret_embedding,
                             const atomic_bool *cancel, hth_error *err)
{
	size_t n_embd = session->model->params.n_embd, step = session->n_batch;
	uint32_t seq = session->n_seq;
	if (n == 0)
		return hth_fail(err, HTH_INVALID, "there is no text to embed");
	if (n > session->n_ctx || (n > step && !session->model->params.causal))
		return hth_fail(err, HTH_TOO_LARGE, "the text has %zu tokens; this model embeds up to %zu at once", n,
		                session->model->params.causal ? (size_t)session->n_ctx
		                                              : HTH_MIN((size_t)session->n_ctx, step));
	/* The batch, and the sum while it grows, are on the heap: embedding is one call per text, not per token. */
	HTH_AUTO_FREE hth_batch_token *batch = hth_alloc_array(HTH_MIN(n, step), sizeof *batch);
	HTH_AUTO_FREE float *sum = hth_alloc_array(n_embd, sizeof *sum);
	if (batch == NULL || sum == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to embed %zu tokens", n);
	hth_status status = HTH_OK;
	session->whole.pass.hidden_only = true;
	for (size_t at = 0; at < n && status == HTH_OK; at += step) {
		size_t len = HTH_MIN(step, n - at);
		for (size_t i = 0; i < len; i++)
			batch[i] = (hth_batch_token){.token = tokens[at + i], .seq = seq, .want_logits = true};
		status = run_batch(session, batch, len, cancel, err);
		if (status == HTH_OK)
			pool(session, at, len, n, sum);
	}
	session->whole.pass.hidden_only = false;
	session->n_logits = 0;
	hth_kv_truncate(&session->kv, seq, 0);
	HTH_TRY(status);
	double norm = 0;
	for (size_t i = 0; i < n_embd; i++)
		norm += (double)sum[i] * sum[i];
	double scale = norm > 0 ? 1 / sqrt(norm) : 0;
	for (size_t i = 0; i < n_embd; i++)
		ret_embedding[i] = (float)(sum[i] * scale);
	return HTH_OK;
}
