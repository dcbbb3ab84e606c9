/* embedder.c - vectors of passages and of queries, by the embedding model that this home has: which one that is, and asking it.
 *
 * The model is the one that the setting embed_model names, else the one embedding model of the catalog; with several and no setting none is
 * used, and the log says so once. Its vectors are kept by the SHA-256 of its file and by what is put in front of texts (models of some
 * families are trained with words that tell a passage from a query), so another file, or another way of asking, makes them all again.
 *
 * Passages come in batches from the index's thread (index.h). They are computed as background work, a few at a time; when anybody waits for
 * an answer the rest of the batch goes back undone. A model that is not loaded is not loaded for them where that would push out another. A
 * text that is longer than the model's context is cut in half until it fits.
 *
 * A query has QUERY_MS: then the search goes on with words alone (a model that loads meanwhile is there for the next). Requests of both
 * kinds are private and never leave this machine. Except for on_batch, all on the loop's thread.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "index/index.h"

#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>

enum { LOOK_MS = 10000, LOOK_SOON_MS = 500, QUERY_MS = 1500, WINDOW = 4, CUT_LEAST = 32, QUERIES_MAX = 32 };

/* What models of a family want in front of a text: from the families' model cards. */
typedef struct family {
	const char *architecture, *name; /* a part of the name; NULL: any */
	const char *document, *query;
} family;
static const family families[] = {
    {"nomic-bert", NULL, "search_document: ", "search_query: "},
    {"bert", "e5-", "passage: ", "query: "},
    {"bert", "mxbai", "", "Represent this sentence for searching relevant passages: "},
    {"bert", "arctic-embed", "", "Represent this sentence for searching relevant passages: "},
    {"bert", "bge-", "", "Represent this sentence for searching relevant passages: "},
    {NULL, NULL, "", ""},
};

typedef struct query_wait {
	hth_embedder *all;
	hth_request *request;
	hth_timer *timer;
	hth_embedded_fn fn; /* NULL: nobody waits any more */
	void *ctx;
	uint8_t key[HTH_INDEX_KEY_BYTES];
	struct query_wait *next;
} query_wait;

struct hth_embedder {
	hth_node *node;
	hth_mailbox *mailbox;
	hth_timer *timer;
	hth_index *index; /* NULL: not kept */
	/* The model; name "": none. */
	char name[HTH_INDEX_MODEL_MAX];
	uint8_t key[HTH_INDEX_KEY_BYTES];
	const family *family;
	bool inspecting, told;
	/* The batch. */
	_Atomic(hth_index_batch *) arrived;
	hth_index_batch *batch;
	hth_request *running[HTH_INDEX_BATCH_MAX];
	size_t cut[HTH_INDEX_BATCH_MAX]; /* bytes of the text that are asked with */
	size_t next, in_flight;
	bool resting, give_back, ending;
	pid_t runner;      /* that computes the batch; 0: not known yet */
	double cpu_before; /* seconds of its processors when the batch began there */
	query_wait *queries;
	size_t n_queries;
};

/* --- which model --- */

static bool contains(const char *text, const char *part)
{
	return part == NULL || strcasestr(text, part) != NULL;
}

static const family *family_of(const char *architecture, const char *name)
{
	const family *f = families;
	while (f->architecture != NULL && !(strcmp(architecture, f->architecture) == 0 && contains(name, f->name)))
		f++;
	return f;
}

static bool embeds(hth_embedder *e, const hth_catalog_model *model)
{
	return json_is_true(json_object_get(hth_inspector_facts(e->node->inspector, model), "embedding"));
}

/* NULL: none. */
static const hth_catalog_model *choose(hth_embedder *e, const hth_catalog *catalog)
{
	const char *wanted = e->node->config->embed_model;
	const hth_catalog_model *found = NULL;
	if (strcmp(wanted, "off") == 0)
		return NULL;
	if (wanted[0] != '\0') {
		found = hth_catalog_find(catalog, wanted);
		bool fits = found != NULL && embeds(e, found);
		if (!fits && !e->told)
			hth_log(HTH_LOG_WARN, "embed_model: %s is no embedding model that is here; documents are found by words alone",
			        wanted);
		e->told = !fits;
		return fits ? found : NULL;
	}
	for (size_t i = 0; i < catalog->n; i++) {
		const hth_catalog_model *m = &catalog->models[i];
		if (!embeds(e, m) || (found != NULL && found->device == m->device && found->inode == m->inode))
			continue;
		if (found != NULL) {
			if (!e->told)
				hth_log(HTH_LOG_INFO, "there are several embedding models (%s, %s, ...); the setting embed_model says "
				                      "which one is for documents",
				        found->name, m->name);
			e->told = true;
			return NULL;
		}
		found = m;
	}
	return found;
}

static void use(hth_embedder *e, const char *name, const char *sha256, const family *f)
{
	hth_index_embedder with = {.embed = NULL};
	crypto_generichash_state state;
	snprintf(with.model, sizeof with.model, "%s", name);
	crypto_generichash_init(&state, NULL, 0, sizeof with.key);
	crypto_generichash_update(&state, (const unsigned char *)sha256, strlen(sha256) + 1);
	crypto_generichash_update(&state, (const unsigned char *)f->document, strlen(f->document) + 1);
	crypto_generichash_update(&state, (const unsigned char *)f->query, strlen(f->query) + 1);
	crypto_generichash_final(&state, with.key, sizeof with.key);
	if (strcmp(e->name, with.model) == 0 && memcmp(e->key, with.key, sizeof with.key) == 0)
		return;
	memcpy(e->name, with.model, sizeof e->name);
	memcpy(e->key, with.key, sizeof e->key);
	e->family = f;
	with.embed = hth_embedder_on_batch;
	with.ctx = e;
	hth_log(HTH_LOG_INFO, "documents get vectors from %s", e->name);
	hth_index_set_embedder(e->index, &with);
}

static void use_none(hth_embedder *e)
{
	if (e->name[0] == '\0')
		return;
	e->name[0] = '\0';
	if (e->index != NULL)
		hth_index_set_embedder(e->index, NULL);
}

static void on_inspected(void *ctx)
{
	hth_embedder *e = ctx;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	e->inspecting = false;
	if (e->index == NULL || hth_router_catalog(e->node->router, &catalog, NULL) != HTH_OK)
		return;
	const hth_catalog_model *model = choose(e, &catalog);
	if (model == NULL) {
		use_none(e);
		return;
	}
	const char *sha256 = hth_digests_get(e->node->digests, model);
	if (sha256 == NULL) { /* it is being read */
		hth_timer_start(e->timer, LOOK_SOON_MS, LOOK_MS);
		return;
	}
	const char *architecture = json_string_value(json_object_get(hth_inspector_facts(e->node->inspector, model), "architecture"));
	use(e, model->name, sha256, family_of(architecture != NULL ? architecture : "", model->name));
}

static void look(void *ctx)
{
	hth_embedder *e = ctx;
	if (e->index == NULL || e->inspecting || e->node->stopping)
		return;
	e->inspecting = true;
	hth_inspector_refresh(e->node->inspector, on_inspected, e);
}

/* --- one text --- */

static hth_status make_request(hth_embedder *e, const char *before, const char *text, size_t len, const hth_request_sink *sink, void *ctx,
                               bool background, hth_request **ret_request, hth_error *err)
{
	hth_request *r;
	HTH_TRY(hth_request_create(&r, HTH_EMBEDDING, err));
	snprintf(r->model, sizeof r->model, "%s", e->name);
	size_t n = strlen(before);
	r->input.text = malloc(n + len + 1);
	if (r->input.text == NULL) {
		hth_request_unref(r);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a vector");
	}
	memcpy(r->input.text, before, n);
	memcpy(r->input.text + n, text, len);
	r->input.text[n + len] = '\0';
	r->input.text_len = n + len;
	r->input.add_special = true;
	r->input.background = background;
	r->sink = sink;
	r->sink_ctx = ctx;
	hth_status status = hth_request_admit(r, err);
	if (status == HTH_OK)
		status = hth_request_classify(r, HTH_PRIVATE, err);
	if (status != HTH_OK) {
		hth_request_unref(r);
		return status;
	}
	*ret_request = r;
	return HTH_OK;
}

/* Of a process and its threads (proc(5), /proc/PID/stat); 0: it is gone. */
static double cpu_seconds_of(pid_t pid)
{
	char path[64], text[1024];
	unsigned long long user = 0, kernel = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
	text[n > 0 ? n : 0] = '\0';
	const char *after = strrchr(text, ')'); /* the name may hold anything */
	if (after == NULL || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel) != 2)
		return 0;
	return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* What a batch takes of the runner's processors counts as the documents' cost. Nobody else is served meanwhile: the batch rests then. */
static void count_from_here(hth_embedder *e, hth_runner *runner)
{
	if (e->batch == NULL || hth_runner_pid(runner) == e->runner)
		return;
	e->runner = hth_runner_pid(runner);
	e->cpu_before = cpu_seconds_of(e->runner);
}

static void on_placed(void *ctx, hth_request *request, hth_runner *runner, const char *reason, const hth_error *why_not)
{
	hth_error err;
	if (runner != NULL && request->input.background)
		count_from_here(ctx, runner);
	if (runner == NULL)
		hth_request_fail(request, why_not);
	else if (hth_request_route(request, "here", reason, &err) != HTH_OK || hth_runner_submit(runner, request, &err) != HTH_OK)
		hth_request_fail(request, &err);
}

typedef struct room {
	hth_embedder *e;
	const hth_catalog_model *model;
	uint64_t planned;
	bool loaded;
} room;

static void count_room(void *ctx, const hth_router_model *loaded)
{
	room *r = ctx;
	r->planned += loaded->planned_bytes;
	r->loaded |= hth_router_serves(loaded, r->model);
}

/* Whether it is loaded, or can be beside what is. */
static bool has_room(hth_embedder *e)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	if (e->name[0] == '\0' || hth_router_catalog(e->node->router, &catalog, NULL) != HTH_OK)
		return false;
	room r = {.e = e, .model = hth_catalog_find(&catalog, e->name)};
	if (r.model == NULL)
		return false;
	hth_router_each(e->node->router, count_room, &r);
	return r.loaded || r.planned + r.model->bytes + r.model->bytes / 4 + (64u << 20) <= hth_router_budget(e->node->router);
}

/* --- batches --- */

void hth_embedder_on_batch(void *ctx, hth_index_batch *batch)
{
	hth_embedder *e = ctx;
	atomic_store(&e->arrived, batch);
	(void)!hth_mailbox_post(e->mailbox, e);
}

static void go_on(hth_embedder *e);

static size_t number_of(const hth_embedder *e, const hth_request *request)
{
	size_t i = 0;
	while (i < HTH_INDEX_BATCH_MAX && e->running[i] != request)
		i++;
	return i;
}

static void on_vector(void *ctx, hth_request *request, const float *values, size_t n)
{
	hth_embedder *e = ctx;
	size_t i = number_of(e, request);
	hth_index_batch *b = e->batch;
	if (b == NULL || i >= b->n || n == 0 || n > 1 << 16 || (b->n_dims != 0 && b->n_dims != n))
		return;
	b->passages[i].vector = hth_alloc_array(n, sizeof *values);
	if (b->passages[i].vector == NULL)
		return;
	memcpy(b->passages[i].vector, values, n * sizeof *values);
	b->n_dims = n;
}

static hth_status ask(hth_embedder *e, size_t i, hth_error *err);

static void on_passage_ended(void *ctx, hth_request *request)
{
	hth_embedder *e = ctx;
	size_t i = number_of(e, request);
	hth_error err;
	if (i == HTH_INDEX_BATCH_MAX)
		return;
	e->running[i] = NULL;
	e->in_flight--;
	hth_status why = request->state == HTH_REQUEST_FAILED ? request->error.status : HTH_OK;
	hth_request_unref(request);
	if (e->ending || e->batch == NULL)
		return;
	if (why == HTH_TOO_LARGE && e->cut[i] > CUT_LEAST) {
		const char *text = e->batch->passages[i].text;
		e->cut[i] /= 2;
		e->cut[i] -= hth_utf8_incomplete_suffix(text, e->cut[i]);
		if (ask(e, i, &err) != HTH_OK)
			e->give_back = true;
	} else if (why == HTH_TOO_LARGE || why == HTH_INVALID) {
		e->batch->passages[i].hopeless = true;
	} else if (why != HTH_OK) {
		e->give_back = true; /* the model could not be loaded, or is gone: it is tried again later */
	}
	go_on(e);
}

static const hth_request_sink passage_sink = {.embedding = on_vector, .ended = on_passage_ended};

static hth_status ask(hth_embedder *e, size_t i, hth_error *err)
{
	HTH_TRY(make_request(e, e->family->document, e->batch->passages[i].text, e->cut[i], &passage_sink, e, true, &e->running[i], err));
	e->in_flight++;
	hth_router_place(e->node->router, e->running[i], on_placed, e);
	return HTH_OK;
}

static void go_on(hth_embedder *e)
{
	hth_error err;
	while (e->batch != NULL && !e->give_back && !e->resting && e->in_flight < WINDOW && e->next < e->batch->n) {
		size_t i = e->next++;
		e->cut[i] = strlen(e->batch->passages[i].text);
		if (ask(e, i, &err) != HTH_OK)
			e->give_back = true;
	}
	if (e->batch == NULL || e->in_flight > 0 || (e->next < e->batch->n && !e->give_back && !e->resting))
		return;
	hth_index_batch *done = e->batch;
	e->batch = NULL;
	double cpu = e->runner > 0 ? cpu_seconds_of(e->runner) - e->cpu_before : 0;
	done->cpu_seconds = HTH_MAX(cpu, 0.0);
	e->runner = 0;
	hth_index_embedded(e->index, done);
}

static void on_mail(void *ctx, void *mail)
{
	(void)mail;
	hth_embedder *e = ctx;
	hth_index_batch *batch = atomic_exchange(&e->arrived, NULL);
	if (batch == NULL)
		return;
	if (e->index == NULL) {
		hth_index_batch_free(batch);
		return;
	}
	e->batch = batch;
	e->next = 0;
	e->give_back = memcmp(batch->key, e->key, sizeof e->key) != 0 || e->node->stopping || !has_room(e);
	go_on(e);
}

static void cancel_batch(hth_embedder *e)
{
	for (size_t i = 0; i < HTH_INDEX_BATCH_MAX; i++)
		if (e->running[i] != NULL)
			hth_request_cancel(e->running[i]);
}

void hth_embedder_rest(hth_embedder *e, bool rest)
{
	if (e->resting == rest)
		return;
	e->resting = rest;
	if (rest)
		cancel_batch(e);
	go_on(e);
}

/* --- queries --- */

static void free_query(query_wait *q)
{
	query_wait **at = &q->all->queries;
	while (*at != NULL && *at != q)
		at = &(*at)->next;
	if (*at == q)
		*at = q->next;
	q->all->n_queries--;
	hth_timer_close(q->timer);
	hth_request_unref(q->request);
	free(q);
}

static void answer(query_wait *q, const float *values, size_t n)
{
	hth_embedded_fn fn = q->fn;
	q->fn = NULL;
	if (fn != NULL)
		fn(q->ctx, values, n, q->key);
}

static void on_query_vector(void *ctx, hth_request *request, const float *values, size_t n)
{
	(void)request;
	answer(ctx, values, n);
}

static void on_query_ended(void *ctx, hth_request *request)
{
	(void)request;
	answer(ctx, NULL, 0);
	free_query(ctx);
}

static const hth_request_sink query_sink = {.embedding = on_query_vector, .ended = on_query_ended};

static void on_late(void *ctx)
{
	query_wait *q = ctx;
	hth_request_cancel(q->request); /* its end answers */
}

void hth_embedder_query(hth_embedder *e, const char *text, hth_embedded_fn fn, void *ctx)
{
	hth_error err;
	query_wait *q = e->name[0] != '\0' && e->n_queries < QUERIES_MAX && has_room(e) ? calloc(1, sizeof *q) : NULL;
	if (q == NULL) {
		fn(ctx, NULL, 0, NULL);
		return;
	}
	q->all = e;
	q->fn = fn;
	q->ctx = ctx;
	memcpy(q->key, e->key, sizeof q->key);
	if (hth_timer_open(&q->timer, e->node->loop, on_late, q, &err) != HTH_OK ||
	    make_request(e, e->family->query, text, strlen(text), &query_sink, q, false, &q->request, &err) != HTH_OK) {
		hth_timer_close(q->timer);
		free(q);
		fn(ctx, NULL, 0, NULL);
		return;
	}
	q->next = e->queries;
	e->queries = q;
	e->n_queries++;
	hth_timer_start(q->timer, QUERY_MS, 0);
	hth_router_place(e->node->router, q->request, on_placed, e);
}

void hth_embedder_forget(hth_embedder *e, void *ctx)
{
	for (query_wait *q = e->queries; q != NULL; q = q->next)
		if (q->ctx == ctx)
			q->fn = NULL;
}

/* --- life --- */

void hth_embedder_attach(hth_embedder *e, hth_index *index)
{
	e->index = index;
	if (index == NULL)
		use_none(e);
	else
		hth_timer_start(e->timer, 0, LOOK_MS);
}

hth_status hth_embedder_create(hth_embedder **ret_embedder, hth_node *node, hth_error *err)
{
	hth_embedder *e = calloc(1, sizeof *e);
	if (e == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	e->node = node;
	e->family = &families[HTH_COUNT(families) - 1];
	atomic_init(&e->arrived, NULL);
	hth_status status = hth_mailbox_open(&e->mailbox, node->loop, on_mail, e, err);
	if (status == HTH_OK)
		status = hth_timer_open(&e->timer, node->loop, look, e, err);
	if (status != HTH_OK) {
		hth_embedder_destroy(e);
		return status;
	}
	*ret_embedder = e;
	return HTH_OK;
}

void hth_embedder_destroy(hth_embedder *e)
{
	if (e == NULL)
		return;
	e->ending = true;
	e->index = NULL;
	for (query_wait *q = e->queries; q != NULL; q = q->next)
		q->fn = NULL;
	while (e->queries != NULL)
		hth_request_cancel(e->queries->request);
	cancel_batch(e);
	hth_index_batch_free(e->batch);
	hth_index_batch_free(atomic_load(&e->arrived));
	hth_timer_close(e->timer);
	hth_mailbox_close(e->mailbox);
	free(e);
}
