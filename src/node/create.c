/* create.c - models made of others: a second name for the same weights, alone (copy) or with settings of its own
 * (create), of blobs that were sent along, or of a file that was made for it (create-task.c).
 *
 * A second name is a hard link, so that every name can be removed without the others noticing, and the weights go with
 * the last one; weights on another disk get a symbolic link. The settings are in the record, models/NAME.json
 * (settings.c applies them), which is written first: a record without weights is nothing, weights without their record
 * would answer wrongly. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "catalog/record.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { PATH_ROOM = PATH_MAX + NAME_MAX + 64 };

/* A name as it may stand on disk: what the catalog makes of what was asked (":" is "-", "/" is "--", no ":latest"). */
static hth_status file_name(const char *name, const char *param, char out[NAME_MAX], hth_error *err)
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
			return hth_fail_param(err, HTH_INVALID, param,
			                      "a model's name has letters, digits, '-', '_', '.', ':' and '/'");
		out[n++] = (char)tolower(c);
	}
	out[n] = '\0';
	if (n == 0 || out[0] == '.' || len > HTH_MODEL_NAME_MAX / 2)
		return hth_fail_param(err, HTH_INVALID, param, "this is no name for a model");
	return HTH_OK;
}

static void file_path(const hth_node *node, const char *name, size_t i, size_t n, const char *ending,
                      char out[PATH_ROOM])
{
	if (n == 1)
		snprintf(out, PATH_ROOM, "%s/models/%s.gguf%s", node->config->home, name, ending);
	else
		snprintf(out, PATH_ROOM, "%s/models/%s-%05zu-of-%05zu.gguf%s", node->config->home, name, i + 1, n,
		         ending);
}

/* The weights under another name, in place of whatever has that name. */
static hth_status link_files(const hth_node *node, const hth_catalog_model *model, const char *name, hth_error *err)
{
	char fresh[PATH_ROOM], path[PATH_ROOM], folder[PATH_ROOM];
	snprintf(folder, sizeof folder, "%s/models", node->config->home);
	if (mkdir(folder, 0755) != 0 &&
	    errno != EEXIST) /* a home that has only the models that came with the program */
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	for (size_t i = 0; i < model->n_files; i++) {
		file_path(node, name, i, model->n_files, ".new", fresh);
		file_path(node, name, i, model->n_files, "", path);
		unlink(fresh); /* of a process that was killed here */
		/* linkat follows a link to the file itself; another disk's file gets a symbolic link. */
		if (linkat(AT_FDCWD, model->files[i], AT_FDCWD, fresh, AT_SYMLINK_FOLLOW) != 0 &&
		    ((errno != EXDEV && errno != EPERM) || symlink(model->files[i], fresh) != 0))
			return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", fresh);
		if (rename(fresh, path) != 0) {
			int e = errno;
			unlink(fresh);
			return hth_fail_errno(err, HTH_IO, e, "cannot make %s", path);
		}
		unlink(fresh); /* rename leaves it when both are links to one file */
	}
	return HTH_OK;
}

/* Files of a made model that is being replaced and had other parts. */
static void remove_others(const hth_node *node, const hth_catalog_model *old, const char *name, size_t n_files)
{
	char path[PATH_ROOM];
	for (size_t k = 0; k < old->n_files; k++) {
		bool kept = false;
		for (size_t i = 0; i < n_files && !kept; i++) {
			file_path(node, name, i, n_files, "", path);
			kept = strcmp(path, old->files[k]) == 0;
		}
		if (!kept)
			unlink(old->files[k]);
	}
}

/* Finds what to make it from, and what has the name already; both borrowed from catalog. */
static hth_status prepare(hth_node *node, hth_catalog *catalog, const char *from, const char *param, const char *name,
                          const hth_catalog_model **ret_from, const hth_catalog_model **ret_there, hth_error *err)
{
	HTH_TRY(hth_router_catalog(node->router, catalog, err));
	*ret_from = hth_catalog_find(catalog, from);
	if (*ret_from == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, param, "model '%.200s' not found; pull it first", from);
	if (strlen(node->config->home) + NAME_MAX + sizeof "/models/.gguf.new" >= PATH_MAX)
		return hth_fail(err, HTH_INVALID, "the home folder's path is too long");
	*ret_there = hth_catalog_find(catalog, name);
	if (*ret_there != NULL && (*ret_there)->built_in && *ret_there != *ret_from)
		*ret_there = NULL; /* the home's own will hide it */
	return HTH_OK;
}

/* Whoever has the name loaded keeps it until its answers have ended; the next request gets the new one. */
static void announce(hth_node *node, const char *name, const char *from)
{
	hth_router_let_go(node->router, name);
	hth_log(HTH_LOG_INFO, "model %s is made from %s", name, from);
}

hth_status hth_create_copy(void *ctx, const char *from, const char *to, hth_error *err)
{
	hth_node *node = ctx;
	char name[NAME_MAX];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *model, *there;
	HTH_TRY(file_name(to, "destination", name, err));
	HTH_TRY(prepare(node, &catalog, from, "source", name, &model, &there, err));
	if (there == model)
		return HTH_OK;
	if (there != NULL)
		return hth_fail_param(err, HTH_CONFLICT, "destination", "there is a model %s already; delete it first",
		                      name);
	HTH_AUTO_JSON json_t *record = hth_record_of(node->config->home, model);
	if (record != NULL)
		HTH_TRY(hth_record_write(node->config->home, name, record, err));
	else
		hth_record_remove(node->config->home, name);
	HTH_TRY(link_files(node, model, name, err));
	announce(node, name, model->name);
	return HTH_OK;
}

/* Made here, not brought by a pull or by hand: making it anew may replace it. */
static bool was_made(const json_t *record)
{
	return json_object_get(record, "created_unix") != NULL && json_object_get(record, "source") == NULL;
}

/* The settings of what it is made from, with the new ones over them. */
static json_t *merge(const json_t *base, const char *from, const json_t *settings)
{
	static const char *const kept[] = {"template", "system", "license", "params", "messages"};
	json_t *record = json_pack("{s:s*, s:I}", "from", from, "created_unix", (json_int_t)hth_clock_unix());
	bool ok = record != NULL;
	for (size_t i = 0; ok && i < HTH_COUNT(kept); i++) {
		json_t *before = json_object_get(base, kept[i]), *now = json_object_get(settings, kept[i]);
		if (json_is_object(before) && json_is_object(now)) {
			HTH_AUTO_JSON json_t *both = json_copy(before);
			ok = both != NULL && json_object_update(both, now) == 0 &&
			     json_object_set(record, kept[i], both) == 0;
		} else if (now != NULL || before != NULL) {
			ok = json_object_set(record, kept[i], now != NULL ? now : before) == 0;
		}
	}
	if (ok)
		return record;
	json_decref(record);
	return NULL;
}

/* The home's own model of that name stays unless it was made here. *ret_there: borrowed from catalog, NULL: there is none. */
static hth_status check_name_free(hth_node *node, hth_catalog *catalog, const char *name, const hth_catalog_model **ret_there,
                                  hth_error *err)
{
	HTH_TRY(hth_router_catalog(node->router, catalog, err));
	const hth_catalog_model *there = hth_catalog_find(catalog, name);
	HTH_AUTO_JSON json_t *old = there != NULL ? hth_record_of(node->config->home, there) : NULL;
	if (there != NULL && !there->built_in && !was_made(old))
		return hth_fail_param(err, HTH_CONFLICT, "model",
		                      "there is a model %s already, with weights of its own; delete it first", name);
	*ret_there = there;
	return HTH_OK;
}

static hth_status check_is_gguf(const char *path, const char *shown, hth_error *err)
{
	char magic[4] = "";
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return hth_fail_param(err, HTH_NOT_FOUND, "files",
		                      "there is no blob %.80s; send it first (POST /api/blobs/%.80s)", shown, shown);
	if (read(fd, magic, sizeof magic) != (ssize_t)sizeof magic || memcmp(magic, "GGUF", 4) != 0)
		return hth_fail_param(err, HTH_UNSUPPORTED, "files",
		                      "the blob %.20s... is no GGUF file, which is the one format of weights here", shown);
	return HTH_OK;
}

/* Files of this home that nobody else names become the model's: in order, its shards. */
static hth_status take_files(hth_node *node, const char *name, char *const *paths, size_t n, const json_t *record, const char *what,
                             hth_error *err)
{
	char path[PATH_ROOM], folder[PATH_ROOM];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *there;
	HTH_TRY(check_name_free(node, &catalog, name, &there, err));
	if (record == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the record of a model");
	snprintf(folder, sizeof folder, "%s/models", node->config->home);
	if (mkdir(folder, 0755) != 0 && errno != EEXIST)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	HTH_TRY(hth_record_write(node->config->home, name, record, err));
	for (size_t i = 0; i < n; i++) {
		file_path(node, name, i, n, "", path);
		if (rename(paths[i], path) != 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
		(void)!chmod(path, 0644);
	}
	if (there != NULL && !there->built_in)
		remove_others(node, there, name, n);
	announce(node, name, what);
	return HTH_OK;
}

typedef struct path_list {
	char *at[HTH_CREATE_FILES_MAX];
} path_list;

static void free_paths(path_list *paths)
{
	for (size_t i = 0; i < HTH_CREATE_FILES_MAX; i++)
		free(paths->at[i]);
}

/* Weights that were sent along: the blobs themselves become the model's files. */
static hth_status create_of_blobs(hth_node *node, const char *name, const hth_create_wish *wish, hth_error *err)
{
	HTH_CLEANUP(free_paths) path_list paths = {0};
	for (size_t i = 0; i < wish->n_files; i++) {
		char blob[PATH_ROOM];
		HTH_TRY(hth_create_blob(node, wish->files[i].digest, blob, sizeof blob, err));
		paths.at[i] = strdup(blob);
		if (paths.at[i] == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a path");
		for (size_t k = 0; k < i; k++)
			if (strcmp(paths.at[k], paths.at[i]) == 0)
				return hth_fail_param(err, HTH_INVALID, "files", "%.60s and %.60s are the same blob", wish->files[k].name,
				                      wish->files[i].name);
	}
	HTH_AUTO_JSON json_t *record = merge(NULL, NULL, wish->settings);
	return take_files(node, name, paths.at, wish->n_files, record, "weights that were sent along", err);
}

hth_status hth_create_blob(const hth_node *node, const char *digest, char *out, size_t room, hth_error *err)
{
	if (!hth_blobs_path(node, digest, out, room))
		return hth_fail_param(err, HTH_INVALID, "files", "'%.80s' is no digest: sha256: and 64 hex digits",
		                      digest);
	return check_is_gguf(out, digest, err);
}

/* From a file that was made for it, of a model that is here or (from NULL) of a blob. */
static hth_status create_of_file(hth_node *node, const char *name, const char *from, const char *file, const json_t *settings,
                                 hth_error *err)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	HTH_TRY(hth_router_catalog(node->router, &catalog, err));
	const hth_catalog_model *model = from != NULL ? hth_catalog_find(&catalog, from) : NULL;
	HTH_AUTO_JSON json_t *base = model != NULL ? hth_record_of(node->config->home, model) : NULL;
	HTH_AUTO_JSON json_t *record = merge(base, model != NULL ? model->name : NULL, settings);
	return take_files(node, name, (char *const[]){(char *)file}, 1, record,
	                  model != NULL ? model->name : "weights that were sent along", err);
}

hth_status hth_create_check(hth_node *node, const char *to, hth_error *err)
{
	char name[NAME_MAX];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *there;
	HTH_TRY(file_name(to, "model", name, err));
	return check_name_free(node, &catalog, name, &there, err);
}

hth_status hth_create_model(hth_node *node, const hth_create_wish *wish, const char *from, const char *made, hth_error *err)
{
	const json_t *settings = wish->settings;
	char name[NAME_MAX];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_catalog_model *model, *there;
	HTH_TRY(file_name(wish->model, "model", name, err));
	if (made != NULL)
		return create_of_file(node, name, from, made, settings, err);
	if (wish->n_files > 0)
		return create_of_blobs(node, name, wish, err);
	HTH_TRY(prepare(node, &catalog, from, "from", name, &model, &there, err));
	HTH_AUTO_JSON json_t *old =
	    there != NULL && !there->built_in ? hth_record_read(node->config->home, name) : NULL;
	if (there != NULL && there != model && !there->built_in && !was_made(old))
		return hth_fail_param(err, HTH_CONFLICT, "model",
		                      "there is a model %s already, with weights of its own; delete it first", name);
	HTH_AUTO_JSON json_t *base = hth_record_of(node->config->home, model);
	HTH_AUTO_JSON json_t *record = merge(base, model->name, settings);
	if (record == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the record of a model");
	/* A pulled model that is made anew from itself stays a pulled one. */
	if (there == model && base != NULL) {
		static const char *const origin[] = {"source", "files", "pulled_unix"};
		for (size_t i = 0; i < HTH_COUNT(origin); i++)
			if (json_object_get(base, origin[i]) != NULL)
				json_object_set(record, origin[i], json_object_get(base, origin[i]));
		if (json_object_get(base, "from") == NULL)
			json_object_del(record, "from");
	}
	char folder[PATH_ROOM];
	snprintf(folder, sizeof folder, "%s/models", node->config->home);
	if (mkdir(folder, 0755) != 0 && errno != EEXIST)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	HTH_TRY(hth_record_write(node->config->home, name, record, err));
	if (there != model || model->built_in) {
		HTH_TRY(link_files(node, model, name, err));
		if (there != NULL && !there->built_in)
			remove_others(node, there, name, model->n_files);
	}
	announce(node, name, model->name);
	return HTH_OK;
}
