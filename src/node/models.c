/* models.c - the models on disk, as the APIs list and delete them (create.c makes new ones).
 *
 * Only files in the home's own models folder are ever touched: what came with the program, and a file that was named on the
 * command line, are somebody else's. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "catalog/record.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

typedef struct listing {
	const hth_catalog_model *model;
	hth_api_model_fn fn;
	void *fn_ctx;
	hth_api_model seen;
} listing;

static void add_loaded(void *ctx, const hth_router_model *loaded)
{
	listing *l = ctx;
	if (!hth_router_serves(loaded, l->model) || loaded->info == NULL)
		return;
	l->seen.info = loaded->info;
	l->seen.loaded_bytes = loaded->planned_bytes;
	l->seen.expires_unix = loaded->unload_in_s < 0 ? 0 : hth_clock_unix() + loaded->unload_in_s;
}

static void show_model(hth_node *node, const hth_catalog_model *model, hth_api_model_fn fn, void *fn_ctx)
{
	listing l = {.model = model, .fn = fn, .fn_ctx = fn_ctx};
	l.seen = (hth_api_model){.name = model->name,
	                         .bytes = model->bytes,
	                         .modified_unix = model->modified_unix,
	                         .record = model->built_in ? NULL : hth_settings_record(node, model->name),
	                         .sha256 = hth_digests_get(node->digests, model),
	                         .facts = hth_inspector_facts(node->inspector, model)};
	hth_router_each(node->router, add_loaded, &l);
	fn(fn_ctx, &l.seen);
}

/* A model of a server of the owner's: no file of this home. */
typedef struct upstream_listing {
	hth_api_model_fn fn;
	void *fn_ctx;
	const char *only; /* NULL: all */
	bool found;
} upstream_listing;
static void show_upstream_model(void *ctx, const hth_upstream_model *model)
{
	upstream_listing *l = ctx;
	if (l->only != NULL && strcmp(l->only, model->name) != 0)
		return;
	l->found = true;
	l->fn(l->fn_ctx, &(hth_api_model){.name = model->name});
}

static hth_status each_model(void *ctx, hth_api_model_fn fn, void *fn_ctx, hth_error *err)
{
	hth_node *node = ctx;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	HTH_TRY(hth_router_catalog(node->router, &catalog, err));
	for (size_t i = 0; i < catalog.n; i++)
		show_model(node, &catalog.models[i], fn, fn_ctx);
	upstream_listing l = {.fn = fn, .fn_ctx = fn_ctx};
	hth_upstreams_each(node->upstreams, show_upstream_model, &l);
	hth_neighbours_each_model(node, fn, fn_ctx);
	return HTH_OK;
}

/* A model that only a neighbour has. */
typedef struct neighbour_listing {
	hth_api_model_fn fn;
	void *fn_ctx;
	const char *only;
	bool found;
} neighbour_listing;
static void show_neighbour_model(void *ctx, const hth_api_model *model)
{
	neighbour_listing *l = ctx;
	if (strcmp(l->only, model->name) != 0)
		return;
	l->found = true;
	l->fn(l->fn_ctx, model);
}

static hth_status find(hth_node *node, hth_catalog *catalog, const char *name, const hth_catalog_model **ret_model, hth_error *err)
{
	HTH_TRY(hth_router_catalog(node->router, catalog, err));
	*ret_model = hth_catalog_find(catalog, name);
	if (*ret_model == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, "model", "model '%.200s' not found", name);
	return HTH_OK;
}

static hth_status find_model(void *ctx, const char *name, hth_api_model_fn fn, void *fn_ctx, hth_error *err)
{
	hth_node *node = ctx;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *model;
	upstream_listing l = {.fn = fn, .fn_ctx = fn_ctx, .only = name};
	hth_upstreams_each(node->upstreams, show_upstream_model, &l);
	if (l.found)
		return HTH_OK;
	hth_status status = find(node, &catalog, name, &model, err);
	if (status == HTH_NOT_FOUND) {
		neighbour_listing n = {.fn = fn, .fn_ctx = fn_ctx, .only = name};
		hth_neighbours_each_model(node, show_neighbour_model, &n);
		return n.found ? HTH_OK : status;
	}
	HTH_TRY(status);
	show_model(node, model, fn, fn_ctx);
	return HTH_OK;
}

static hth_status models_folder(const hth_node *node, char out[PATH_MAX], hth_error *err)
{
	if ((size_t)snprintf(out, PATH_MAX, "%s/models/", node->config->home) >= PATH_MAX)
		return hth_fail(err, HTH_INVALID, "the home folder's path is too long");
	return HTH_OK;
}

static hth_status delete_model(void *ctx, const char *name, hth_error *err)
{
	hth_node *node = ctx;
	char folder[PATH_MAX];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *model;
	HTH_TRY(find(node, &catalog, name, &model, err));
	HTH_TRY(models_folder(node, folder, err));
	for (size_t i = 0; i < model->n_files; i++) {
		if (model->built_in || strncmp(model->files[i], folder, strlen(folder)) != 0)
			return hth_fail_param(err, HTH_DENIED, "model", "the model %s is not in this home's models folder, and stays",
			                      model->name);
	}
	/* It may be answering: it unloads when it has finished, from the bytes that it still holds. */
	hth_router_let_go(node->router, model->name);
	for (size_t i = 0; i < model->n_files; i++) {
		if (unlink(model->files[i]) != 0 && errno != ENOENT)
			return hth_fail_errno(err, HTH_IO, errno, "cannot delete %s", model->files[i]);
	}
	hth_record_remove(node->config->home, model->name);
	hth_log(HTH_LOG_INFO, "model %s is deleted", model->name);
	return HTH_OK;
}

void hth_models_init(hth_node *node)
{
	node->api_host = (hth_api_host){.ctx = node,
	                                .default_model = hth_router_default_model(node->router),
	                                .responses = node->responses,
	                                .bindings = node->bindings,
	                                .each_model = each_model,
	                                .find_model = find_model,
	                                .delete_model = delete_model,
	                                .copy_model = hth_create_copy,
	                                .prepare_request = hth_settings_prepare};
}
