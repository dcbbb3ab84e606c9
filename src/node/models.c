/* models.c - the models on disk, as the APIs list, delete and copy them.
 *
 * Only files in the home's own models folder are ever touched: what came with the program, and a file that was named on the
 * command line, are somebody else's. A copy is a second name (a hard link) for the same bytes. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

typedef struct listing {
	const hth_node *node;
	const hth_catalog_model *model;
	hth_api_model_fn fn;
	void *fn_ctx;
	hth_api_model seen;
} listing;

static void add_loaded(void *ctx, const hth_router_model *loaded)
{
	listing *l = ctx;
	if (strcmp(loaded->name, l->model->name) != 0 || loaded->info == NULL)
		return;
	l->seen.info = loaded->info;
	l->seen.loaded_bytes = loaded->planned_bytes;
	l->seen.expires_unix = loaded->unload_in_s < 0 ? 0 : hth_clock_unix() + loaded->unload_in_s;
}

static void show_model(hth_node *node, const hth_catalog_model *model, hth_api_model_fn fn, void *fn_ctx)
{
	listing l = {.node = node, .model = model, .fn = fn, .fn_ctx = fn_ctx};
	l.seen = (hth_api_model){.name = model->name,
	                         .bytes = model->bytes,
	                         .modified_unix = model->modified_unix,
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
	return HTH_OK;
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
	HTH_TRY(find(node, &catalog, name, &model, err));
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
			return hth_fail_param(err, HTH_DENIED, "model", "the model %s is not in this home's models folder, and stays", model->name);
	}
	/* It may be answering: it unloads when it has finished, from the bytes that it still holds. */
	if (hth_router_stop(node->router, model->name, false, NULL) == HTH_OK)
		hth_log(HTH_LOG_INFO, "unloading %s, which is being deleted", model->name);
	for (size_t i = 0; i < model->n_files; i++) {
		if (unlink(model->files[i]) != 0 && errno != ENOENT)
			return hth_fail_errno(err, HTH_IO, errno, "cannot delete %s", model->files[i]);
	}
	char record[PATH_MAX + NAME_MAX]; /* what a pull has kept about it */
	snprintf(record, sizeof record, "%s%s.json", folder, model->name);
	unlink(record);
	hth_log(HTH_LOG_INFO, "model %s is deleted", model->name);
	return HTH_OK;
}

/* A name as it may stand on disk: what the catalog makes of what was asked (":" is "-", "/" is "--", no ":latest"). */
static hth_status file_name(const char *name, char out[NAME_MAX], hth_error *err)
{
	size_t n = 0, len = strlen(name);
	if (len > 7 && strcmp(name + len - 7, ":latest") == 0)
		len -= 7;
	for (size_t i = 0; i < len && n + 2 < NAME_MAX - 24; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c == '/')
			out[n++] = '-';
		if (c == '/' || c == ':')
			c = '-';
		if (!isalnum(c) && strchr("-_.", c) == NULL)
			return hth_fail_param(err, HTH_INVALID, "destination", "a model's name has letters, digits, '-', '_', '.', ':' and '/'");
		out[n++] = (char)tolower(c);
	}
	out[n] = '\0';
	if (n == 0 || out[0] == '.' || len > HTH_MODEL_NAME_MAX / 2)
		return hth_fail_param(err, HTH_INVALID, "destination", "this is no name for a model");
	return HTH_OK;
}

static hth_status copy_model(void *ctx, const char *from, const char *to, hth_error *err)
{
	hth_node *node = ctx;
	char folder[PATH_MAX], name[NAME_MAX], path[PATH_MAX + NAME_MAX];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *model;
	HTH_TRY(find(node, &catalog, from, &model, err));
	HTH_TRY(file_name(to, name, err));
	HTH_TRY(models_folder(node, folder, err));
	const hth_catalog_model *there = hth_catalog_find(&catalog, name);
	if (there == model)
		return HTH_OK;
	if (there != NULL && !there->built_in)
		return hth_fail_param(err, HTH_CONFLICT, "destination", "there is a model %s already; delete it first", name);
	for (size_t i = 0; i < model->n_files; i++) {
		if (model->n_files == 1)
			snprintf(path, sizeof path, "%s%s.gguf", folder, name);
		else
			snprintf(path, sizeof path, "%s%s-%05zu-of-%05zu.gguf", folder, name, i + 1, model->n_files);
		/* linkat follows a link to the file itself; another disk's file gets a symbolic link. */
		if (linkat(AT_FDCWD, model->files[i], AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0 &&
		    ((errno != EXDEV && errno != EPERM) || symlink(model->files[i], path) != 0))
			return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	}
	return HTH_OK;
}

void hth_models_init(hth_node *node)
{
	node->api_host = (hth_api_host){.ctx = node,
	                                .default_model = hth_router_default_model(node->router),
	                                .responses = node->responses,
	                                .each_model = each_model,
	                                .find_model = find_model,
	                                .delete_model = delete_model,
	                                .copy_model = copy_model};
}
