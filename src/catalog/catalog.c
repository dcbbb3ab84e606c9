/* catalog.c - lists the model folders and finds a model in the list by what somebody called it.
 *
 * Owns its list; keeps no descriptor open and watches nothing: whoever wants today's models loads it again (a folder of a few
 * hundred names costs well under a millisecond). Any thread, one catalog each. It never opens a model file.
 */
#include "catalog/catalog.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

void hth_catalog_model_finish(hth_catalog_model *model)
{
	free(model->name);
	for (size_t i = 0; i < model->n_files; i++)
		free(model->files[i]);
	free(model->files);
	*model = (hth_catalog_model){0};
}

void hth_catalog_finish(hth_catalog *catalog)
{
	for (size_t i = 0; i < catalog->n; i++)
		hth_catalog_model_finish(&catalog->models[i]);
	free(catalog->models);
	*catalog = (hth_catalog){0};
}

static bool ends_in_gguf(const char *name, size_t len) { return len > 5 && strcasecmp(name + len - 5, ".gguf") == 0; }

/* Whether name (without .gguf) is NAME-0000I-of-0000N. *ret_base is then the length of NAME. */
static bool shard_of(const char *name, size_t len, size_t *ret_base, unsigned *ret_i, unsigned *ret_n)
{
	enum { TAIL = sizeof "-00001-of-00002" - 1 };
	if (len <= TAIL)
		return false;
	const char *tail = name + len - TAIL;
	if (tail[0] != '-' || strncmp(tail + 6, "-of-", 4) != 0)
		return false;
	unsigned value[2] = {0, 0};
	for (int part = 0; part < 2; part++)
		for (int k = 0; k < 5; k++) {
			char c = tail[1 + part * 9 + k];
			if (c < '0' || c > '9')
				return false;
			value[part] = value[part] * 10 + (unsigned)(c - '0');
		}
	if (value[0] == 0 || value[0] > value[1])
		return false;
	*ret_base = len - TAIL;
	*ret_i = value[0];
	*ret_n = value[1];
	return true;
}

/* Printable, whole UTF-8, no longer than names may be: it will stand in listings, JSON and URLs. */
static bool name_is_fit(const char *name, size_t len)
{
	if (len == 0 || len > HTH_CATALOG_NAME_MAX || hth_utf8_valid_prefix(name, len) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return true;
}

static char *lower_copy(const char *s, size_t len)
{
	char *out = malloc(len + 1);
	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)tolower((unsigned char)s[i]);
	out[len] = '\0';
	return out;
}

/* Describes the model whose first (or only) file is folder/file. HTH_CONFLICT: it is a later shard of another's. */
static hth_status describe(const char *folder, const char *file, hth_catalog_model *ret_model, hth_error *err)
{
	size_t len = strlen(file);
	if (ends_in_gguf(file, len))
		len -= 5;
	size_t base = len;
	unsigned shard = 1, shards = 1;
	bool split = shard_of(file, len, &base, &shard, &shards);
	if (split && shard != 1)
		return hth_fail(err, HTH_CONFLICT, "%s is part %u of %u; give the first, %.*s-00001-of-%05u.gguf", file, shard, shards,
		                (int)base, file, shards);
	if (shards > HTH_CATALOG_SHARDS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "%s says it has %u parts; at most %d are read", file, shards, HTH_CATALOG_SHARDS_MAX);
	if (!name_is_fit(file, base))
		return hth_fail(err, HTH_INVALID, "the file's name is over %d bytes or no printable UTF-8; rename it",
		                HTH_CATALOG_NAME_MAX);
	hth_catalog_model model = {.name = lower_copy(file, base), .files = hth_alloc_array(shards, sizeof(char *))};
	hth_status status = model.name == NULL || model.files == NULL ? hth_fail(err, HTH_NO_MEMORY, "no memory to list models") : HTH_OK;
	for (unsigned i = 1; status == HTH_OK && i <= shards; i++) {
		char *path = NULL;
		struct stat st;
		int n = split ? asprintf(&path, "%s/%.*s-%05u-of-%05u%s", folder, (int)base, file, i, shards, file + len)
		              : asprintf(&path, "%s/%s", folder, file);
		if (n < 0) {
			status = hth_fail(err, HTH_NO_MEMORY, "no memory to list models");
			break;
		}
		model.files[model.n_files++] = path;
		if (stat(path, &st) != 0)
			status = hth_fail_errno(err, errno == ENOENT || errno == ENOTDIR ? HTH_NOT_FOUND : HTH_IO, errno, "cannot read %s",
			                        path);
		else if (!S_ISREG(st.st_mode))
			status = hth_fail(err, HTH_INVALID, "%s is not a regular file", path);
		else {
			if (i == 1) {
				model.device = st.st_dev;
				model.inode = st.st_ino;
			}
			model.bytes += (uint64_t)st.st_size;
			model.modified_unix = HTH_MAX(model.modified_unix, (int64_t)st.st_mtime);
		}
	}
	if (status != HTH_OK) {
		hth_catalog_model_finish(&model);
		return status;
	}
	*ret_model = model;
	return HTH_OK;
}

/* The first part of the set that file is a later one of speaks for all of them. */
static bool has_first_part(const char *folder, const char *file)
{
	size_t len = strlen(file) - 5, base;
	unsigned i, n;
	HTH_AUTO_FREE char *path = NULL;
	return shard_of(file, len, &base, &i, &n) && asprintf(&path, "%s/%.*s-00001-of-%05u%s", folder, (int)base, file, n,
	                                                      file + len) >= 0 && access(path, F_OK) == 0;
}

static hth_catalog_model *find_exact(const hth_catalog *catalog, const char *name)
{
	for (size_t i = 0; i < catalog->n; i++)
		if (strcmp(catalog->models[i].name, name) == 0)
			return &catalog->models[i];
	return NULL;
}

static hth_status scan(hth_catalog *catalog, const char *folder, bool built_in, hth_error *err)
{
	DIR *dir = opendir(folder);
	if (dir == NULL) {
		if (errno == ENOENT || errno == ENOTDIR)
			return HTH_OK;
		return hth_fail_errno(err, HTH_IO, errno, "cannot list %s", folder);
	}
	hth_status status = HTH_OK;
	for (struct dirent *entry; status == HTH_OK && (entry = readdir(dir)) != NULL;) {
		hth_catalog_model model;
		if (entry->d_name[0] == '.' || !ends_in_gguf(entry->d_name, strlen(entry->d_name)) ||
		    describe(folder, entry->d_name, &model, NULL) != HTH_OK)
			continue;
		model.built_in = built_in;
		hth_catalog_model *grown = NULL;
		if (find_exact(catalog, model.name) != NULL) {
			hth_catalog_model_finish(&model); /* hidden by the home's own, or the same name in another spelling */
			continue;
		}
		if (catalog->n >= HTH_CATALOG_MODELS_MAX)
			status = hth_fail(err, HTH_TOO_LARGE, "%s holds over %d models", folder, HTH_CATALOG_MODELS_MAX);
		else if ((grown = realloc(catalog->models, (catalog->n + 1) * sizeof *grown)) == NULL)
			status = hth_fail(err, HTH_NO_MEMORY, "no memory to list models");
		if (status != HTH_OK) {
			hth_catalog_model_finish(&model);
			break;
		}
		catalog->models = grown;
		catalog->models[catalog->n++] = model;
	}
	closedir(dir);
	return status;
}

/* Beside the program: PREFIX/bin/hearth has PREFIX/share/hearth/models; a build folder has ../models of the source tree. */
static bool built_in_folder(char *out, size_t out_len)
{
	const char *given = getenv("HEARTH_BUILTIN_MODELS");
	if (given != NULL) {
		snprintf(out, out_len, "%s", given);
		return *given == '/';
	}
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	if (n <= 0)
		return false;
	program[n] = '\0';
	char *slash = strrchr(program, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	static const char *const beside[] = {"../share/hearth/models", "../models"};
	for (size_t i = 0; i < HTH_COUNT(beside); i++) {
		char joined[2 * PATH_MAX], real[PATH_MAX];
		struct stat st;
		snprintf(joined, sizeof joined, "%s/%s", program, beside[i]);
		if (realpath(joined, real) != NULL && stat(real, &st) == 0 && S_ISDIR(st.st_mode)) {
			snprintf(out, out_len, "%s", real);
			return true;
		}
	}
	return false;
}

void hth_catalog_left_out(const char *home, void (*fn)(void *ctx, const char *file, const hth_error *why), void *ctx)
{
	char folder[PATH_MAX + 16];
	snprintf(folder, sizeof folder, "%s/models", home);
	DIR *dir = opendir(folder);
	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		hth_catalog_model model;
		hth_error err = HTH_ERROR_INIT;
		if (entry->d_name[0] == '.' || !ends_in_gguf(entry->d_name, strlen(entry->d_name)))
			continue;
		hth_status status = describe(folder, entry->d_name, &model, &err);
		if (status == HTH_OK)
			hth_catalog_model_finish(&model);
		else if (status != HTH_CONFLICT || !has_first_part(folder, entry->d_name))
			fn(ctx, entry->d_name, &err);
	}
	closedir(dir);
}

uint64_t hth_catalog_least_bytes(uint64_t file_bytes)
{
	return file_bytes + HTH_MAX((uint64_t)64 << 20, file_bytes / 16);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const hth_catalog_model *)a)->name, ((const hth_catalog_model *)b)->name);
}

hth_status hth_catalog_load(hth_catalog *ret_catalog, const char *home, hth_error *err)
{
	char folder[PATH_MAX + 16];
	hth_catalog catalog = {0};
	if (strlen(home) >= PATH_MAX)
		return hth_fail(err, HTH_INVALID, "the home folder's path is too long");
	snprintf(folder, sizeof folder, "%s/models", home);
	hth_status status = scan(&catalog, folder, false, err);
	if (status == HTH_OK && built_in_folder(folder, sizeof folder))
		status = scan(&catalog, folder, true, err);
	if (status != HTH_OK) {
		hth_catalog_finish(&catalog);
		return status;
	}
	if (catalog.n > 0)
		qsort(catalog.models, catalog.n, sizeof *catalog.models, by_name);
	*ret_catalog = catalog;
	return HTH_OK;
}

const hth_catalog_model *hth_catalog_find(const hth_catalog *catalog, const char *name)
{
	size_t len = strlen(name);
	if (len == 0 || len > HTH_CATALOG_NAME_MAX + sizeof ".gguf:latest")
		return NULL;
	HTH_AUTO_FREE char *asked = lower_copy(name, len);
	if (asked == NULL)
		return NULL;
	if (len > 7 && strcmp(asked + len - 7, ":latest") == 0)
		asked[len -= 7] = '\0';
	if (ends_in_gguf(asked, len))
		asked[len - 5] = '\0';
	const hth_catalog_model *found = find_exact(catalog, asked);
	if (found != NULL || strpbrk(asked, ":/") == NULL)
		return found;
	/* A file's name has no '/' (and on many disks no ':'): OWNER/REPO:TAG is kept as OWNER--REPO-TAG. */
	hth_buf spelled = HTH_BUF_INIT(2 * HTH_CATALOG_NAME_MAX + 32);
	for (const char *c = asked; *c != '\0'; c++)
		hth_buf_append_str(&spelled, *c == ':' ? "-" : *c == '/' ? "--" : (char[]){*c, '\0'});
	if (!spelled.failed)
		found = find_exact(catalog, spelled.data);
	hth_buf_finish(&spelled);
	return found;
}

static hth_status copy_model(const hth_catalog_model *from, hth_catalog_model *ret_model, hth_error *err)
{
	hth_catalog_model model = *from;
	model.name = strdup(from->name);
	model.files = hth_alloc_array(from->n_files, sizeof(char *));
	model.n_files = 0;
	bool whole = model.name != NULL && model.files != NULL;
	for (size_t i = 0; whole && i < from->n_files; i++)
		whole = (model.files[model.n_files++] = strdup(from->files[i])) != NULL;
	if (!whole) {
		hth_catalog_model_finish(&model);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to name a model");
	}
	*ret_model = model;
	return HTH_OK;
}

hth_status hth_catalog_resolve(const hth_catalog *catalog, const char *name_or_file, hth_catalog_model *ret_model, hth_error *err)
{
	bool path = strchr(name_or_file, '/') != NULL || ends_in_gguf(name_or_file, strlen(name_or_file));
	struct stat st;
	bool there_is = path && stat(name_or_file, &st) == 0;
	int stat_errno = errno;
	if (there_is) {
		/* The name is the one that was typed, since a link's target may be called anything; shards stand beside it. */
		const char *slash = strrchr(name_or_file, '/');
		HTH_AUTO_FREE char *typed_folder = strndup(name_or_file, slash != NULL ? (size_t)(slash - name_or_file) + 1 : 0);
		if (typed_folder == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory to name a model");
		HTH_AUTO_FREE char *folder = realpath(*typed_folder != '\0' ? typed_folder : ".", NULL);
		if (folder == NULL)
			return hth_fail_errno(err, HTH_IO, errno, "cannot find the folder of %s", name_or_file);
		return describe(folder, slash != NULL ? slash + 1 : name_or_file, ret_model, err);
	}
	const hth_catalog_model *found = hth_catalog_find(catalog, name_or_file);
	if (found != NULL)
		return copy_model(found, ret_model, err);
	if (path && stat_errno != ENOENT && stat_errno != ENOTDIR)
		return hth_fail_errno(err, HTH_IO, stat_errno, "cannot find %s", name_or_file);
	hth_buf there = HTH_BUF_INIT(256);
	for (size_t i = 0; i < catalog->n && !there.failed; i++)
		hth_buf_appendf(&there, "%s%s", i > 0 ? ", " : "", catalog->models[i].name);
	hth_status status;
	if (there.len > 0)
		status = hth_fail(err, HTH_NOT_FOUND, "there is no %s '%.200s'; there are: %s%s", path ? "model file" : "model",
		                  name_or_file, there.data, there.failed ? ", ... (`hearth list` shows all)" : "");
	else
		status = hth_fail(err, HTH_NOT_FOUND,
		                  "there is no %s '%.200s', nor any other; put a .gguf file into the home's models folder",
		                  path ? "model file" : "model", name_or_file);
	hth_buf_finish(&there);
	return status;
}
