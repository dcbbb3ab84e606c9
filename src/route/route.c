/* route.c - from a request to the runner that serves it, at once or after its model has loaded.
 *
 * Owns the waiting: who waits for which model, since when and until when. Which models are loaded is residency.c. Refuses more
 * waiting requests than the queue allows and waits that take too long; both say what to do. Thread: the loop's.
 */
#include "route/route-internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

/* --- waiters --- */

/* Takes the first waiter out of the list; the request is no longer ours to cancel. */
static hth_waiter *pop(hth_resident *resident)
{
	hth_waiter *w = resident->waiters;
	if (w != NULL) {
		resident->waiters = w->next;
		resident->n_waiters--;
		w->request->cancel = NULL;
		w->request->cancel_ctx = NULL;
	}
	return w;
}

/* Answers and frees a waiter. fn may do anything, also ask for another place. */
static void answer(hth_waiter *w, hth_runner *runner, const char *reason, const hth_error *err)
{
	w->fn(w->ctx, w->request, runner, reason, err);
	hth_request_unref(w->request);
	free(w);
}

/* The client left while its model was loading. */
static void on_cancel(void *ctx, hth_request *request)
{
	hth_waiter *w = ctx;
	hth_resident *resident = w->resident;
	for (hth_waiter **at = &resident->waiters; *at != NULL; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			resident->n_waiters--;
			hth_request_unref(request);
			free(w);
			return;
		}
	}
}

static hth_status add_waiter(hth_resident *resident, hth_request *request, hth_router_fn fn, void *ctx, hth_error *err)
{
	hth_waiter *w = calloc(1, sizeof *w);
	if (w == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	w->resident = resident;
	w->request = hth_request_ref(request);
	w->fn = fn;
	w->ctx = ctx;
	w->since_ms = hth_clock_ms();
	w->until_ms = w->since_ms + (uint64_t)resident->router->options.load_timeout_s * 1000;
	request->cancel = on_cancel;
	request->cancel_ctx = w;
	hth_waiter **at = &resident->waiters;
	while (*at != NULL)
		at = &(*at)->next;
	*at = w;
	resident->n_waiters++;
	return HTH_OK;
}

void hth_waiters_place(hth_resident *resident)
{
	hth_waiter *w;
	while (resident->state == HTH_MODEL_READY && resident->runner != NULL && (w = pop(resident)) != NULL) {
		char reason[128];
		snprintf(reason, sizeof reason, "this home, after waiting %.1f s for the model to load",
		         (double)(hth_clock_ms() - w->since_ms) / 1000);
		answer(w, resident->runner, reason, NULL);
	}
}

void hth_waiters_refuse(hth_resident *resident, const hth_error *error)
{
	hth_waiter *w;
	const hth_error copy = *error; /* it may live in the resident */
	/* Only those that wait now: an answer may make a new request wait. */
	for (size_t n = resident->n_waiters; n > 0 && (w = pop(resident)) != NULL; n--)
		answer(w, NULL, NULL, &copy);
}

void hth_waiters_expire(hth_resident *resident, uint64_t now_ms)
{
	/* All wait equally long, so the first is the oldest. */
	while (resident->waiters != NULL && now_ms >= resident->waiters->until_ms) {
		hth_error err = HTH_ERROR_INIT;
		unsigned eta = hth_resident_eta_s(resident);
		if (resident->runner == NULL || resident->state == HTH_MODEL_STOPPING)
			hth_fail(&err, HTH_BUSY, "the model %s has to wait until models that are busy make room; try again in %u s",
			         resident->model.name, eta);
		else
			hth_fail(&err, HTH_BUSY, "the model %s is still loading (%.0f%%, about %u s left); try again in %u s",
			         resident->model.name, (double)resident->progress * 100, eta, eta);
		err.retry_s = eta;
		answer(pop(resident), NULL, NULL, &err);
	}
}

/* --- placing --- */

static void set_keep_alive(hth_resident *resident, const hth_request *request)
{
	int64_t s = request->params.keep_alive_s;
	uint32_t configured = resident->router->options.keep_alive_s;
	if (s == HTH_KEEP_ALIVE_DEFAULT)
		resident->keep_alive_ms = configured == UINT32_MAX ? UINT64_MAX : (uint64_t)configured * 1000;
	else
		resident->keep_alive_ms = s < 0 ? UINT64_MAX : (uint64_t)s * 1000;
}

/* *ret_runner stays NULL when the request waits. */
static hth_status place(hth_router *router, hth_request *request, hth_router_fn fn, void *ctx, hth_runner **ret_runner,
                        hth_error *err)
{
	hth_resident *resident;
	char name[HTH_MODEL_NAME_MAX];
	HTH_TRY(hth_resident_find(router, request->model, request->params.context, &resident, name, err));
	memcpy(request->model, name, sizeof request->model);
	resident->used_ms = hth_clock_ms();
	size_t active = hth_resident_active(resident), slots = router->options.parallel > 0 ? router->options.parallel : 1;
	const hth_runner_info *info = resident->runner != NULL ? hth_runner_get_info(resident->runner) : NULL;
	if (info != NULL)
		slots = info->n_slots;
	if (active + resident->n_waiters >= slots + router->options.queue)
		return hth_fail(err, HTH_BUSY, "the model %s has %zu requests already, as many as it may have; try again in a moment",
		                resident->model.name, active + resident->n_waiters);
	set_keep_alive(resident, request);
	if (resident->runner != NULL && resident->state == HTH_MODEL_READY && !resident->stop_when_idle) {
		*ret_runner = resident->runner;
		return HTH_OK;
	}
	if (resident->runner == NULL) {
		uint64_t now = hth_clock_ms();
		if (now < resident->not_before_ms) {
			*err = resident->last_error;
			err->status = HTH_BUSY;
			err->retry_s = (unsigned)((resident->not_before_ms - now + 999) / 1000);
			return hth_fail_prefix(err, "the model %s failed %u times in a row and is tried again in %llu s; last",
			                       resident->model.name, resident->failures,
			                       (unsigned long long)(resident->not_before_ms - now + 999) / 1000);
		}
		/* Waits first: loading may fail at once, and then refuses all who wait. */
		HTH_TRY(add_waiter(resident, request, fn, ctx, err));
		if (hth_resident_load(resident, err) != HTH_OK)
			hth_waiters_refuse(resident, err);
	} else {
		HTH_TRY(add_waiter(resident, request, fn, ctx, err));
	}
	hth_router_tick(router);
	return HTH_OK;
}

void hth_router_place(hth_router *router, hth_request *request, hth_router_fn fn, void *ctx)
{
	hth_error err = HTH_ERROR_INIT;
	hth_runner *runner = NULL;
	hth_request_ref(request);
	if (place(router, request, fn, ctx, &runner, &err) != HTH_OK)
		fn(ctx, request, NULL, NULL, &err);
	else if (runner != NULL)
		fn(ctx, request, runner, "this home, where the model is loaded", NULL);
	hth_request_unref(request);
}

/* --- the router --- */

static uint64_t machine_budget(void)
{
	struct sysinfo info;
	if (sysinfo(&info) != 0)
		return (uint64_t)4 << 30;
	return (uint64_t)info.totalram * info.mem_unit / 5 * 4;
}

static hth_status name_default(hth_router *router, const char *model, hth_error *err)
{
	bool is_path = strchr(model, '/') != NULL || (strlen(model) > 5 && strcmp(model + strlen(model) - 5, ".gguf") == 0);
	hth_catalog catalog = {0};
	if (is_path) {
		hth_status status = hth_catalog_load(&catalog, router->home, err);
		if (status == HTH_OK)
			status = hth_catalog_resolve(&catalog, model, &router->default_file, err);
		hth_catalog_finish(&catalog);
		HTH_TRY(status);
		model = router->default_file.name;
	}
	router->default_name = strdup(model);
	return router->default_name == NULL ? hth_fail(err, HTH_NO_MEMORY, "no memory for the router") : HTH_OK;
}

hth_status hth_router_create(hth_router **ret_router, hth_loop *loop, const hth_router_options *options, hth_error *err)
{
	hth_router *router = calloc(1, sizeof *router);
	if (router == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the router");
	router->loop = loop;
	router->options = *options;
	router->home = strdup(options->home);
	router->program = options->program != NULL ? strdup(options->program) : NULL;
	router->budget = options->memory_bytes > 0 ? options->memory_bytes : machine_budget();
	hth_status status = HTH_OK;
	if (router->home == NULL || (options->program != NULL && router->program == NULL))
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for the router");
	if (status == HTH_OK)
		status = name_default(router, options->default_model, err);
	if (status == HTH_OK)
		status = hth_timer_open(&router->timer, loop, hth_router_tick, router, err);
	if (status != HTH_OK) {
		hth_router_destroy(router);
		return status;
	}
	/* The strings of the caller may go. */
	router->options.home = router->home;
	router->options.program = router->program;
	router->options.default_model = router->default_name;
	*ret_router = router;
	return HTH_OK;
}

void hth_router_destroy(hth_router *router)
{
	if (router == NULL)
		return;
	router->destroying = true;
	hth_residents_destroy(router);
	hth_timer_close(router->timer);
	hth_catalog_model_finish(&router->default_file);
	free(router->dead);
	free(router->default_name);
	free(router->program);
	free(router->home);
	free(router);
}

const char *hth_router_default_model(const hth_router *router) { return router->default_name; }
uint64_t hth_router_budget(const hth_router *router) { return router->budget; }
