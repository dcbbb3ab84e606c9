/* residency.c - which models are in memory: loading, unloading, room for one by unloading others, pauses after failures.
 *
 * A model's need is known only roughly before its runner has opened it (its files, and something for the KV cache), so a runner is
 * promised a share of the budget and then says what it planned. Room is made by unloading idle models, least recently used first; while
 * all others are busy, the model waits for one of them. A runner that ends unasked is replaced at the next request; from the
 * second such end in a row a pause begins, doubling up to MAX_PAUSE_MS, and a runner that lived STEADY_MS ends the row.
 * Thread: the loop's.
 */
#include "route/route-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { FIRST_PAUSE_MS = 500, MAX_PAUSE_MS = 30000, STEADY_MS = 10000 };

static const uint64_t MIB = 1u << 20;

const char *hth_router_state_name(hth_router_state state)
{
	static const char *const names[] = {"waiting", "loading", "ready", "stopping"};
	return (unsigned)state < HTH_COUNT(names) ? names[state] : "?";
}

size_t hth_resident_active(const hth_resident *resident)
{
	return resident->runner != NULL ? hth_runner_active(resident->runner) : 0;
}

/* --- finding --- */

static hth_status copy_model(const hth_catalog_model *from, hth_catalog_model *to, hth_error *err)
{
	*to = (hth_catalog_model){.bytes = from->bytes, .modified_unix = from->modified_unix, .built_in = from->built_in,
	                          .device = from->device, .inode = from->inode};
	to->name = strdup(from->name);
	to->files = hth_alloc_array(from->n_files, sizeof *to->files);
	bool ok = to->name != NULL && to->files != NULL;
	for (; ok && to->n_files < from->n_files; to->n_files++)
		ok = (to->files[to->n_files] = strdup(from->files[to->n_files])) != NULL;
	if (ok)
		return HTH_OK;
	hth_catalog_model_finish(to);
	return hth_fail(err, HTH_NO_MEMORY, "no memory for the model's name");
}

hth_status hth_router_catalog(hth_router *router, hth_catalog *ret_catalog, hth_error *err)
{
	hth_catalog catalog = {0};
	HTH_TRY(hth_catalog_load(&catalog, router->home, err));
	const hth_catalog_model *file = &router->default_file;
	if (file->name != NULL) {
		/* The file that was named on the command line hides one of its name, in its place in the order. */
		size_t at = 0;
		while (at < catalog.n && strcmp(catalog.models[at].name, file->name) < 0)
			at++;
		hth_catalog_model copy;
		hth_status status = copy_model(file, &copy, err);
		hth_catalog_model *grown = NULL;
		if (status == HTH_OK && at < catalog.n && strcmp(catalog.models[at].name, file->name) == 0) {
			hth_catalog_model_finish(&catalog.models[at]);
			catalog.models[at] = copy;
		} else if (status == HTH_OK && (grown = realloc(catalog.models, (catalog.n + 1) * sizeof *grown)) != NULL) {
			catalog.models = grown;
			memmove(grown + at + 1, grown + at, (catalog.n - at) * sizeof *grown);
			grown[at] = copy;
			catalog.n++;
		} else if (status == HTH_OK) {
			hth_catalog_model_finish(&copy);
			status = hth_fail(err, HTH_NO_MEMORY, "no memory to list models");
		}
		if (status != HTH_OK) {
			hth_catalog_finish(&catalog);
			return status;
		}
	}
	*ret_catalog = catalog;
	return HTH_OK;
}

static bool same_weights(const hth_catalog_model *a, const hth_catalog_model *b)
{
	return a->inode != 0 && a->inode == b->inode && a->device == b->device && a->bytes == b->bytes;
}

/* Whether what r has loaded (or is loading) can answer for this model. */
static bool stands_in(const hth_resident *r, const hth_catalog_model *model, uint32_t context)
{
	if ((r->runner == NULL && r->waiters == NULL) || r->state == HTH_MODEL_STOPPING || r->stop_when_idle ||
	    !same_weights(&r->model, model))
		return false;
	if (context == HTH_ANY_CONTEXT || context == r->context)
		return true;
	const hth_runner_info *info = r->runner != NULL ? hth_runner_get_info(r->runner) : NULL;
	return info != NULL && info->n_ctx >= (context != 0 ? context : info->n_ctx_train);
}

bool hth_router_serves(const hth_router_model *loaded, const hth_catalog_model *model) { return same_weights(loaded->model, model); }

hth_status hth_resident_find(hth_router *router, const char *name, uint32_t context, hth_resident **ret_resident, char *ret_name,
                             hth_error *err)
{
	if (context == 0)
		context = router->options.context;
	for (hth_resident *r = router->residents; r != NULL; r = r->next) {
		/* A loaded model serves by its name even when its file is gone or changed; an alias goes through the catalog. */
		if (strcmp(r->model.name, name) == 0 && (r->runner != NULL || r->waiters != NULL)) {
			snprintf(ret_name, HTH_MODEL_NAME_MAX, "%s", name);
			*ret_resident = r;
			return HTH_OK;
		}
	}
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	HTH_TRY(hth_router_catalog(router, &catalog, err));
	const hth_catalog_model *found = hth_catalog_find(&catalog, name);
	if (found == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, "model", "there is no model '%.200s' here; `hearth list` shows what there is",
		                      name);
	snprintf(ret_name, HTH_MODEL_NAME_MAX, "%s", found->name);
	hth_resident *resident = router->residents;
	while (resident != NULL && strcmp(resident->model.name, found->name) != 0)
		resident = resident->next;
	if (resident != NULL && (resident->runner != NULL || resident->waiters != NULL)) {
		*ret_resident = resident;
		return HTH_OK;
	}
	/* Another name of weights that are loaded: one process serves both. */
	for (hth_resident *r = router->residents; r != NULL; r = r->next) {
		if (stands_in(r, found, context)) {
			*ret_resident = r;
			return HTH_OK;
		}
	}
	hth_catalog_model copy;
	HTH_TRY(copy_model(found, &copy, err));
	if (resident == NULL) {
		resident = calloc(1, sizeof *resident);
		if (resident == NULL) {
			hth_catalog_model_finish(&copy);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the model");
		}
		resident->router = router;
		resident->next = router->residents;
		router->residents = resident;
	} else {
		/* Another file than the one that failed gets a fresh chance. */
		if (resident->model.modified_unix != copy.modified_unix || resident->model.bytes != copy.bytes) {
			resident->failures = 0;
			resident->not_before_ms = 0;
		}
		hth_catalog_model_finish(&resident->model);
	}
	resident->model = copy;
	resident->context = context == HTH_ANY_CONTEXT ? 0 : context;
	*ret_resident = resident;
	return HTH_OK;
}

/* What the name means now: a model that was made anew while requests waited for its old runner to end has other weights, and maybe another
 * length. */
static hth_status look_again(hth_resident *resident, hth_error *err)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	hth_catalog_model copy;
	HTH_TRY(hth_router_catalog(resident->router, &catalog, err));
	const hth_catalog_model *found = hth_catalog_find(&catalog, resident->model.name);
	if (found == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, "model", "the model %s is not here any more", resident->model.name);
	HTH_TRY(copy_model(found, &copy, err));
	hth_catalog_model_finish(&resident->model);
	resident->model = copy;
	if (resident->waiters != NULL) {
		uint32_t context = resident->waiters->request->params.context;
		resident->context = context != 0 ? context : resident->router->options.context;
	}
	return HTH_OK;
}

/* --- a runner's life --- */

static void bury(hth_router *router, hth_runner *runner)
{
	hth_runner **grown = realloc(router->dead, (router->n_dead + 1) * sizeof *grown);
	if (grown == NULL)
		return; /* leaks one dead runner's small memory rather than freeing it inside its own callback */
	router->dead = grown;
	grown[router->n_dead++] = runner;
}

static void on_ready(void *ctx, hth_runner *runner)
{
	hth_resident *resident = ctx;
	const hth_runner_info *info = hth_runner_get_info(runner);
	resident->ready_ms = resident->used_ms = hth_clock_ms();
	resident->loaded_unix = hth_clock_unix();
	resident->progress = 1;
	resident->load_ms = HTH_MAX(resident->ready_ms - resident->started_ms, (uint64_t)1);
	resident->router->load_rate = resident->model.bytes * 1000 / resident->load_ms;
	if (info != NULL)
		resident->planned_bytes = info->weight_bytes + info->plan_bytes;
	hth_log(HTH_LOG_INFO, "model %s is loaded: %u slots of %u tokens, %llu MiB, in %.1f s", resident->model.name,
	        info != NULL ? info->n_slots : 0, info != NULL ? info->n_ctx : 0, (unsigned long long)(resident->planned_bytes / MIB),
	        (double)(resident->ready_ms - resident->started_ms) / 1000);
	if (resident->state == HTH_MODEL_LOADING) {
		resident->state = HTH_MODEL_READY;
		hth_waiters_place(resident);
	}
	hth_router_tick(resident->router);
}

static void on_progress(void *ctx, hth_runner *runner, float fraction)
{
	(void)runner;
	((hth_resident *)ctx)->progress = fraction;
}

static void on_idle(void *ctx, hth_runner *runner)
{
	(void)runner;
	hth_resident *resident = ctx;
	resident->used_ms = hth_clock_ms();
	/* Not here: this is inside the end of a request, which may bring the next one. */
	hth_timer_start(resident->router->timer, 0, 0);
}

static void on_exited(void *ctx, hth_runner *runner, const hth_error *reason)
{
	hth_resident *resident = ctx;
	hth_router *router = resident->router;
	hth_router_state was = resident->state;
	uint64_t now = hth_clock_ms();
	bury(router, runner);
	resident->runner = NULL;
	resident->planned_bytes = 0;
	resident->progress = 0;
	resident->loaded_unix = 0;
	resident->stop_when_idle = false;
	resident->state = HTH_MODEL_WAITS_FOR_ROOM;
	if (was == HTH_MODEL_STOPPING) {
		hth_log(HTH_LOG_INFO, "model %s is unloaded", resident->model.name);
		resident->failures = 0;
	} else {
		bool steady = was == HTH_MODEL_READY && now - resident->ready_ms >= STEADY_MS;
		resident->failures = steady ? 1 : resident->failures + 1;
		uint64_t pause = resident->failures < 2 ? 0 : (uint64_t)FIRST_PAUSE_MS << HTH_MIN(resident->failures - 2, 10u);
		resident->not_before_ms = now + HTH_MIN(pause, (uint64_t)MAX_PAUSE_MS);
		resident->last_error = *reason;
		hth_log(HTH_LOG_WARN, "model %s: its runner %s: %s", resident->model.name,
		        was == HTH_MODEL_LOADING ? "did not load it" : "died", reason->message);
	}
	if (was == HTH_MODEL_LOADING) {
		/* What is wrong with a file of ours is not the client's mistake. */
		hth_error error = *reason;
		if (error.status == HTH_BAD_FORMAT || error.status == HTH_UNSUPPORTED || error.status == HTH_INVALID ||
		    error.status == HTH_NOT_FOUND)
			error.status = HTH_IO;
		hth_fail_prefix(&error, "the model %s did not load", resident->model.name);
		hth_waiters_refuse(resident, &error);
	}
	hth_timer_start(router->timer, 0, 0);
}

void hth_resident_stop(hth_resident *resident)
{
	if (resident->runner == NULL || resident->state == HTH_MODEL_STOPPING)
		return;
	resident->state = HTH_MODEL_STOPPING;
	hth_runner_stop(resident->runner);
}

/* --- room --- */

static uint64_t used_bytes(const hth_router *router)
{
	uint64_t used = 0;
	for (const hth_resident *r = router->residents; r != NULL; r = r->next)
		used += r->runner != NULL ? r->planned_bytes : 0;
	return used;
}

/* Stops idle models until what will be free is enough; true when it is free already. */
static bool make_room(hth_router *router, uint64_t need)
{
	uint64_t used = used_bytes(router);
	if (used + need <= router->budget)
		return true;
	uint64_t leaving = 0;
	for (hth_resident *r = router->residents; r != NULL; r = r->next) {
		if (r->runner != NULL && r->state == HTH_MODEL_STOPPING)
			leaving += r->planned_bytes;
	}
	while (used - leaving + need > router->budget) {
		hth_resident *oldest = NULL;
		for (hth_resident *r = router->residents; r != NULL; r = r->next) {
			if (r->runner != NULL && r->state == HTH_MODEL_READY && hth_resident_active(r) == 0 && r->waiters == NULL &&
			    (oldest == NULL || r->used_ms < oldest->used_ms))
				oldest = r;
		}
		if (oldest == NULL)
			return false;
		hth_log(HTH_LOG_INFO, "unloading %s to make room", oldest->model.name);
		leaving += oldest->planned_bytes;
		hth_resident_stop(oldest);
	}
	return false;
}

/* Where a runner keeps what its memory has no room for: a file without a name, gone with the runner. -1: none. */
static int open_spill(const hth_router *router, uint64_t bytes)
{
	if (bytes == 0)
		return -1;
	int fd = open(router->home, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		hth_log(HTH_LOG_WARN, "`spill` has no effect: no nameless file can be made in %s: %s", router->home, strerror(errno));
	return fd;
}

/* The draft that the owner named for a model, if it is here. False: there is none. */
static bool find_draft(hth_router *router, const hth_resident *resident, hth_catalog *ret_catalog, const hth_catalog_model **ret_draft)
{
	hth_error err;
	const char *name = router->options.draft_of != NULL ? router->options.draft_of(router->options.draft_ctx, resident->model.name)
	                                                    : NULL;
	if (name == NULL || hth_router_catalog(router, ret_catalog, &err) != HTH_OK)
		return false;
	*ret_draft = hth_catalog_find(ret_catalog, name);
	if (*ret_draft == NULL)
		hth_log(HTH_LOG_WARN, "there is no model '%.200s' here to guess ahead for %s", name, resident->model.name);
	return *ret_draft != NULL;
}

hth_status hth_resident_load(hth_resident *resident, hth_error *err)
{
	hth_router *router = resident->router;
	if (resident->runner != NULL)
		return HTH_OK;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *draft = NULL;
	bool with_draft = find_draft(router, resident, &catalog, &draft);
	uint64_t draft_bytes = with_draft ? draft->bytes + draft->bytes / 8 : 0,
	    need = hth_catalog_least_bytes(resident->model.bytes) + draft_bytes;
	if (need > router->budget)
		return hth_fail(err, HTH_NO_MEMORY,
		                "the model %s needs at least %llu MiB, and all models together may use %llu MiB (the setting `memory`)",
		                resident->model.name, (unsigned long long)(need / MIB), (unsigned long long)(router->budget / MIB));
	resident->state = HTH_MODEL_WAITS_FOR_ROOM;
	if (!make_room(router, need))
		return HTH_OK;
	/* A share that leaves room for other models, and all that is left when that is little. */
	uint64_t left = router->budget - used_bytes(router);
	uint64_t promised = HTH_MIN(left, resident->model.bytes + draft_bytes + HTH_MAX(512 * MIB, router->budget / 4));
	promised = HTH_MAX(promised, need);
	static const hth_runner_events events = {.ready = on_ready, .progress = on_progress, .exited = on_exited, .idle = on_idle};
	HTH_AUTO_CLOSE int spill = open_spill(router, router->options.spill_bytes);
	const hth_runner_options options = {.program = router->program,
	                                    .name = resident->model.name,
	                                    .files = (const char *const *)resident->model.files,
	                                    .n_files = resident->model.n_files,
	                                    .draft_files = with_draft ? (const char *const *)draft->files : NULL,
	                                    .n_draft_files = with_draft ? draft->n_files : 0,
	                                    .n_slots = router->options.parallel,
	                                    .n_ctx = resident->context,
	                                    .n_threads = router->options.n_threads,
	                                    .spill_fd = spill,
	                                    .spill_bytes = spill >= 0 ? router->options.spill_bytes : 0,
	                                    .memory_bytes = promised};
	resident->progress = 0;
	resident->started_ms = hth_clock_ms();
	hth_log(HTH_LOG_INFO, "loading model %s (%llu MiB)", resident->model.name, (unsigned long long)(resident->model.bytes / MIB));
	HTH_TRY(hth_runner_start(&resident->runner, router->loop, &options, &events, resident, err));
	resident->planned_bytes = promised;
	resident->state = HTH_MODEL_LOADING;
	return HTH_OK;
}

unsigned hth_resident_eta_s(const hth_resident *r)
{
	/* What a solid disk gives, until a model has loaded here. */
	const uint64_t usual_rate = 500u << 20, rate = r->router->load_rate > 0 ? r->router->load_rate : usual_rate;
	uint64_t whole = r->load_ms > 0 ? r->load_ms : r->model.bytes / HTH_MAX(rate / 1000, (uint64_t)1), left = whole;
	if (r->runner != NULL && r->state == HTH_MODEL_LOADING) {
		uint64_t spent = hth_clock_ms() - r->started_ms;
		/* This loading's own pace, once there is one, is better than any other's. */
		if (r->progress > 0.05f)
			left = (uint64_t)((double)spent * (1 - (double)r->progress) / (double)r->progress);
		else
			left = whole > spent ? whole - spent : whole / 4;
	} else if (r->runner == NULL) {
		left += 5000; /* others must end an answer first, whose length nobody knows */
	}
	return (unsigned)HTH_MIN(left / 1000 + 1, (uint64_t)600);
}

/* --- time --- */

/* When this idle model unloads; UINT64_MAX: not by itself. */
static uint64_t unload_at_ms(const hth_resident *r)
{
	if (r->runner == NULL || r->state != HTH_MODEL_READY || hth_resident_active(r) > 0)
		return UINT64_MAX;
	if (r->stop_when_idle)
		return 0;
	return r->keep_alive_ms == UINT64_MAX ? UINT64_MAX : r->used_ms + r->keep_alive_ms;
}

void hth_router_tick(void *ctx)
{
	hth_router *router = ctx;
	uint64_t now = hth_clock_ms(), next = UINT64_MAX;
	if (router->destroying)
		return;
	for (size_t i = 0; i < router->n_dead; i++)
		hth_runner_destroy(router->dead[i]);
	router->n_dead = 0;
	for (hth_resident *r = router->residents; r != NULL; r = r->next) {
		if (unload_at_ms(r) <= now)
			hth_resident_stop(r);
		hth_waiters_expire(r, now);
		if (r->runner == NULL && r->waiters != NULL) {
			/* Room may have been made, or the old runner is gone and a new one is wanted. */
			hth_error err;
			if (look_again(r, &err) != HTH_OK || hth_resident_load(r, &err) != HTH_OK)
				hth_waiters_refuse(r, &err);
		}
		next = HTH_MIN(next, unload_at_ms(r));
		if (r->waiters != NULL)
			next = HTH_MIN(next, r->waiters->until_ms);
	}
	now = hth_clock_ms();
	if (next == UINT64_MAX)
		hth_timer_stop(router->timer);
	else
		hth_timer_start(router->timer, next > now ? next - now : 0, 0);
}

void hth_residents_destroy(hth_router *router)
{
	hth_error err;
	hth_fail(&err, HTH_BUSY, "the node is stopping");
	for (hth_resident *r = router->residents; r != NULL; r = r->next) {
		hth_waiters_refuse(r, &err);
		hth_runner_destroy(r->runner);
		r->runner = NULL;
	}
	for (size_t i = 0; i < router->n_dead; i++)
		hth_runner_destroy(router->dead[i]);
	router->n_dead = 0;
	for (hth_resident *r = router->residents, *next; r != NULL; r = next) {
		next = r->next;
		hth_catalog_model_finish(&r->model);
		free(r);
	}
	router->residents = NULL;
}

/* --- for those who ask --- */

void hth_router_each(const hth_router *router, hth_router_model_fn fn, void *ctx)
{
	uint64_t now = hth_clock_ms();
	for (const hth_resident *r = router->residents; r != NULL; r = r->next) {
		if (r->runner == NULL && r->waiters == NULL)
			continue;
		uint64_t unload = unload_at_ms(r);
		bool idle = r->runner != NULL && r->state == HTH_MODEL_READY && hth_resident_active(r) == 0;
		const hth_router_model model = {.name = r->model.name,
		                                .model = &r->model,
		                                .state = r->runner == NULL ? HTH_MODEL_WAITS_FOR_ROOM : r->state,
		                                .runner = r->runner,
		                                .info = r->runner != NULL ? hth_runner_get_info(r->runner) : NULL,
		                                .waiting = r->n_waiters,
		                                .active = hth_resident_active(r),
		                                .planned_bytes = r->planned_bytes,
		                                .loaded_unix = r->loaded_unix,
		                                .idle_s = idle ? (int64_t)((now - r->used_ms) / 1000) : -1,
		                                .unload_in_s = unload == UINT64_MAX ? -1 : unload > now
		                                ? (int64_t)((unload - now + 999) / 1000) : 0,
		                                .progress = r->progress,
		                                .eta_s = r->runner != NULL &&
		                                r->state == HTH_MODEL_LOADING ? (int64_t)hth_resident_eta_s(r) : -1};
		fn(ctx, &model);
	}
}

hth_status hth_router_stop(hth_router *router, const char *name, bool now, hth_error *err)
{
	hth_resident *resident = NULL;
	char known[HTH_MODEL_NAME_MAX];
	HTH_TRY(hth_resident_find(router, name, HTH_ANY_CONTEXT, &resident, known, err));
	if (resident->runner == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, "model", "the model %s is not loaded", resident->model.name);
	if (now || hth_resident_active(resident) == 0)
		hth_resident_stop(resident);
	else
		resident->stop_when_idle = true;
	return HTH_OK;
}

void hth_router_let_go(hth_router *router, const char *name)
{
	for (hth_resident *r = router->residents; r != NULL; r = r->next) {
		if (r->runner == NULL || strcmp(r->model.name, name) != 0)
			continue;
		if (hth_resident_active(r) == 0)
			hth_resident_stop(r);
		else
			r->stop_when_idle = true;
	}
}
