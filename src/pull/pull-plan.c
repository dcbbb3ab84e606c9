/* pull-plan.c - what to fetch: asks a source which files a model has, how large they are and what they hash to.
 *
 * A plain URL is asked for its first bytes, which tell its size and whether it is GGUF at all. Hugging Face lists a repository with sizes
 * and SHA-256 (its tree API); one quantisation of it is chosen here. Projectors for pictures (mmproj) and importance matrices are
 * no models of their own and are passed over. The registry's part is pull-registry.c. Thread: the pull's.
 */
#include "pull/pull-internal.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

enum { HF_PAGES_MAX = 10, HF_GROUPS_MAX = 512 };

void hth_plan_finish(hth_plan *plan)
{
	for (size_t i = 0; i < plan->n_files; i++)
		free(plan->files[i].url);
	json_decref(plan->extras);
	*plan = (hth_plan){0};
}

hth_status hth_plan_add(hth_plan *plan, const char *name, const char *url, uint64_t bytes, const char *sha256, hth_error *err)
{
	if (plan->n_files == HTH_PULL_FILES_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the model has more than %d files", HTH_PULL_FILES_MAX);
	hth_planned_file *f = &plan->files[plan->n_files];
	*f = (hth_planned_file){.bytes = bytes, .url = strdup(url)};
	if (f->url == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
	snprintf(f->name, sizeof f->name, "%s", name);
	if (sha256 != NULL) {
		if (strlen(sha256) != 64 || strspn(sha256, "0123456789abcdef") != 64) {
			free(f->url);
			return hth_fail(err, HTH_BAD_FORMAT, "the source gives '%.80s' as a file's SHA-256, which it is not", sha256);
		}
		memcpy(f->sha256, sha256, 65);
	}
	plan->n_files++;
	return HTH_OK;
}

/* ---- a file of this machine ---- */

static hth_status plan_file(hth_pull_job *job, hth_error *err)
{
	const char *path = job->ref.text;
	size_t len = strlen(path), base = 0;
	unsigned first, n = 1;
	bool gguf = len > 5 && strcasecmp(path + len - 5, ".gguf") == 0;
	bool split = gguf && hth_shard_split(path, len - 5, &base, &first, &n);
	if (!split)
		n = 1;
	for (unsigned i = 1; i <= n; i++) {
		char *at = NULL, *real, name[HTH_PULL_NAME_MAX + 40], tag[sizeof job->plan.files[0].etag];
		struct stat st;
		if ((split ? asprintf(&at, "%.*s-%05u-of-%05u%s", (int)base, path, i, n, path + len - 5) : asprintf(&at, "%s", path)) < 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a copy");
		real = realpath(at, NULL);
		int e = errno;
		bool ok = real != NULL && stat(real, &st) == 0;
		hth_status status = HTH_OK;
		if (!ok)
			status = hth_fail_errno(err, HTH_NOT_FOUND, real == NULL ? e : errno, "cannot read %.300s", at);
		else if (!S_ISREG(st.st_mode))
			status = hth_fail(err, HTH_INVALID, "%.300s is not a regular file", at);
		if (status == HTH_OK) {
			hth_local_name(job->ref.name, i, n, name);
			status = hth_plan_add(&job->plan, name, real, (uint64_t)st.st_size, NULL, err);
		}
		if (status == HTH_OK) {
			snprintf(tag, sizeof tag, "changed %lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
			memcpy(job->plan.files[job->plan.n_files - 1].etag, tag, sizeof tag);
			if (i == 1)
				snprintf(job->ref.text, sizeof job->ref.text, "%s", real);
			job->plan.total += (uint64_t)st.st_size;
		}
		free(at);
		free(real);
		HTH_TRY(status);
		path = job->ref.text;
		len = strlen(path);
		if (split && !hth_shard_split(path, len - HTH_MIN(len, (size_t)5), &base, &first, &n))
			return hth_fail(err, HTH_INVALID, "%.300s leads to a file that is no shard; give the file itself", path);
	}
	return HTH_OK;
}

/* ---- a plain URL ---- */

typedef struct probe {
	hth_pull_job *job;
	hth_transfer_head head;
	char magic[4];
	size_t n;
	bool enough;
} probe;
static bool probe_head(void *ctx, const hth_transfer_head *head)
{
	((probe *)ctx)->head = *head;
	return true;
}
static bool probe_data(void *ctx, const void *data, size_t len)
{
	probe *p = ctx;
	size_t take = HTH_MIN(len, sizeof p->magic - p->n);
	memcpy(p->magic + p->n, data, take);
	p->n += take;
	p->enough = p->n == sizeof p->magic;
	return !p->enough;
}
static bool probe_cancelled(void *ctx) { return hth_job_cancelled(((probe *)ctx)->job); }
static void probe_hop(void *ctx, const hth_transfer_hop *hop) { hth_job_hop(((probe *)ctx)->job, hop); }

static hth_status probe_url(hth_pull_job *job, const char *url, probe *p, hth_error *err)
{
	static const char *const headers[] = {"Range: bytes=0-3"};
	unsigned pause = job->options->retry_ms != 0 ? job->options->retry_ms : 500;
	for (int tries = 1;; tries++) {
		*p = (probe){.job = job};
		const hth_transfer t = {.url = url, .headers = headers, .n_headers = 1, .max_redirects = 5, .stall_s = job->options->stall_s != 0 ? job->options->stall_s : 30,
		                        .head = probe_head, .data = probe_data, .hop = probe_hop, .cancelled = probe_cancelled, .ctx = p};
		hth_status status = hth_transfer_run(&t, NULL, err);
		if (p->enough && p->head.code / 100 == 2)
			return HTH_OK;
		if (p->enough)
			status = HTH_OK; /* an error's page, which we stopped reading */
		bool again = status == HTH_GONE || status == HTH_TIMEOUT || (status == HTH_OK && (p->head.code >= 500 || p->head.code == 429));
		if (again && tries < 4) {
			HTH_TRY(hth_job_pause(job, (uint64_t)pause << tries, err));
			continue;
		}
		HTH_TRY(status);
		return p->head.code / 100 == 2 ? HTH_OK : hth_job_http_error(job, &p->head, err);
	}
}

static hth_status plan_url(hth_pull_job *job, hth_error *err)
{
	const char *url = job->ref.text;
	size_t path = strcspn(strstr(url, "://") + 3, "?#") + (size_t)(strstr(url, "://") + 3 - url), base = 0;
	unsigned first, n = 1;
	bool split = path > 5 && strncasecmp(url + path - 5, ".gguf", 5) == 0 && hth_shard_split(url, path - 5, &base, &first, &n);
	if (!split)
		n = 1;
	for (unsigned i = 1; i <= n; i++) {
		HTH_AUTO_FREE char *at = NULL;
		char name[HTH_PULL_NAME_MAX + 40];
		probe p;
		if ((split ? asprintf(&at, "%.*s-%05u-of-%05u%s", (int)base, url, i, n, url + path - 5) : asprintf(&at, "%s", url)) < 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
		HTH_TRY(probe_url(job, at, &p, err));
		if (!p.enough || memcmp(p.magic, "GGUF", 4) != 0)
			return hth_fail(err, HTH_BAD_FORMAT, "%.300s is no GGUF file", at);
		int64_t size = p.head.code == 206 ? p.head.range_total : p.head.length;
		hth_local_name(job->ref.name, i, n, name);
		HTH_TRY(hth_plan_add(&job->plan, name, at, size > 0 ? (uint64_t)size : 0, NULL, err));
		hth_planned_file *f = &job->plan.files[job->plan.n_files - 1];
		memcpy(f->etag, p.head.etag, sizeof f->etag);
		job->plan.total += f->bytes;
	}
	for (size_t i = 0; i < job->plan.n_files; i++)
		if (job->plan.files[i].bytes == 0)
			job->plan.total = 0;
	return HTH_OK;
}

/* ---- Hugging Face ---- */

/* A model of the repository: one file, or a set of shards. */
typedef struct group {
	char stem[256]; /* path without shard number and .gguf */
	unsigned n;     /* shards */
	uint64_t bytes;
	bool whole;     /* all shards have been seen */
	unsigned seen;
} group;
typedef struct listing {
	json_t *files; /* array of the tree's objects that are GGUF */
	group groups[HF_GROUPS_MAX];
	size_t n_groups;
} listing;

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static void note(listing *l, const char *path, uint64_t bytes)
{
	size_t len = strlen(path), base;
	unsigned i, n = 1;
	if (len < 6 || len >= sizeof l->groups[0].stem || strcasecmp(path + len - 5, ".gguf") != 0 || strcasestr(base_of(path), "mmproj") != NULL ||
	    strcasestr(base_of(path), "imatrix") != NULL)
		return;
	len -= 5;
	if (hth_shard_split(path, len, &base, &i, &n))
		len = base;
	else
		n = 1;
	group *g = NULL;
	for (size_t k = 0; k < l->n_groups && g == NULL; k++)
		if (l->groups[k].n == n && strlen(l->groups[k].stem) == len && memcmp(l->groups[k].stem, path, len) == 0)
			g = &l->groups[k];
	if (g == NULL) {
		if (l->n_groups == HF_GROUPS_MAX)
			return;
		g = &l->groups[l->n_groups++];
		*g = (group){.n = n};
		memcpy(g->stem, path, len);
		g->stem[len] = '\0';
	}
	g->bytes += bytes;
	g->whole = ++g->seen == n;
}

/* Whether the word stands in the path on its own: Q4_K is not in Q4_K_M. */
static bool has_word(const char *path, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = path; (p = strcasestr(p, word)) != NULL; p++)
		if ((p == path || strchr("-._/", p[-1]) != NULL) && strchr("-./", p[n]) != NULL) /* or its end */
			return true;
	return false;
}

static bool is_asked_file(const group *g, const char *tag)
{
	size_t len = strlen(tag);
	char stem[256];
	if (len > 5 && strcasecmp(tag + len - 5, ".gguf") == 0)
		len -= 5;
	size_t base;
	unsigned i, n;
	if (hth_shard_split(tag, len, &base, &i, &n))
		len = base;
	snprintf(stem, sizeof stem, "%.*s", (int)len, tag);
	return strcmp(stem, g->stem) == 0 || strcmp(stem, base_of(g->stem)) == 0;
}

/* Smaller is better: the usual choice first, then what is near it in size, then larger, then smaller. */
static const char *const preferred[] = {"Q4_K_M", "Q4_K_S", "Q4_K", "Q4_K_L", "Q5_K_M", "Q4_0", "IQ4_XS", "IQ4_NL", "Q5_K_S", "Q5_0", "Q6_K", "Q8_0",
                                        "MXFP4", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "BF16", "F16", "F32"};

static hth_status choose(const hth_pull_job *job, const listing *l, const group **ret_group, hth_error *err)
{
	const group *found = NULL;
	const char *tag = job->ref.tag;
	size_t matches = 0;
	for (size_t w = 0; found == NULL && w < HTH_COUNT(preferred); w++) {
		const char *word = *tag != '\0' ? tag : preferred[w];
		for (size_t i = 0; i < l->n_groups; i++)
			if (l->groups[i].whole && ((*tag != '\0' && is_asked_file(&l->groups[i], tag)) || has_word(l->groups[i].stem, word))) {
				if (found == NULL)
					found = &l->groups[i];
				matches++;
			}
		if (*tag != '\0')
			break;
	}
	if (found == NULL && *tag == '\0' && l->n_groups == 1 && l->groups[0].whole) {
		found = &l->groups[0];
		matches = 1;
	}
	hth_buf there = HTH_BUF_INIT(300);
	for (size_t i = 0; i < l->n_groups && !there.failed; i++)
		if (l->groups[i].whole && found == NULL)
			hth_buf_appendf(&there, "%s%s", there.len > 0 ? ", " : "", base_of(l->groups[i].stem));
	hth_status status = HTH_OK;
	if (l->n_groups == 0)
		status = hth_fail(err, HTH_NOT_FOUND, "%s has no GGUF files; look for a repository of the model with GGUF in its name", job->ref.text);
	else if (found == NULL)
		status = hth_fail(err, HTH_NOT_FOUND, "%s: none of its files is %s; there are: %s%s", job->ref.text, *tag ? "that" : "of a usual type",
		                  there.data != NULL ? there.data : "none that is whole", there.failed ? ", ..." : "");
	else if (matches > 1)
		status = hth_fail(err, HTH_CONFLICT, "%s/%s has %zu models of that type; name one after a ':', as in hf.co/%s/%s:%.100s.gguf", job->ref.owner,
		                  job->ref.repo, matches, job->ref.owner, job->ref.repo, base_of(found->stem));
	else
		*ret_group = found;
	hth_buf_finish(&there);
	return status;
}

static hth_status read_page(listing *l, const char *body, size_t len, hth_error *err)
{
	HTH_AUTO_JSON json_t *page = NULL;
	if (hth_json_parse(&page, body, len, NULL) != HTH_OK || !json_is_array(page))
		return hth_fail(err, HTH_BAD_FORMAT, "Hugging Face's listing is not what it should be (no JSON array)");
	size_t i;
	json_t *entry;
	json_array_foreach(page, i, entry) {
		const char *path = json_string_value(json_object_get(entry, "path")), *type = json_string_value(json_object_get(entry, "type"));
		json_int_t size = json_integer_value(json_object_get(entry, "size"));
		size_t n = path != NULL ? strlen(path) : 0;
		if (type == NULL || strcmp(type, "file") != 0 || n < 6 || strcasecmp(path + n - 5, ".gguf") != 0 || size <= 0)
			continue;
		note(l, path, (uint64_t)size);
		if (json_array_append(l->files, entry) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a listing");
	}
	return HTH_OK;
}

static hth_status list_hf(hth_pull_job *job, listing *l, hth_error *err)
{
	char url[HTH_TRANSFER_URL_MAX];
	snprintf(url, sizeof url, "%s/api/models/%s/%s/tree/main?recursive=true", job->ref.base, job->ref.owner, job->ref.repo);
	for (int page = 0; page < HF_PAGES_MAX && *url != '\0'; page++) {
		hth_transfer_head head;
		HTH_AUTO_FREE char *body = NULL;
		size_t len;
		HTH_TRY(hth_job_get(job, url, "application/json", HTH_PULL_ANSWER_MAX, &head, &body, &len, err));
		HTH_TRY(read_page(l, body, len, err));
		/* The next page is of the same server: a listing cannot send us elsewhere. */
		bool own = strncmp(head.next, job->ref.base, strlen(job->ref.base)) == 0 && head.next[strlen(job->ref.base)] == '/';
		snprintf(url, sizeof url, "%s", own ? head.next : "");
	}
	return HTH_OK;
}

static hth_status add_group(hth_pull_job *job, const listing *l, const group *g, hth_error *err)
{
	for (unsigned i = 1; i <= g->n; i++) {
		char path[300], name[HTH_PULL_NAME_MAX + 40], url[HTH_TRANSFER_URL_MAX];
		const json_t *found = NULL;
		json_t *entry;
		size_t k;
		if (g->n > 1)
			snprintf(path, sizeof path, "%s-%05u-of-%05u", g->stem, i, g->n);
		else
			snprintf(path, sizeof path, "%s", g->stem);
		json_array_foreach(l->files, k, entry) {
			const char *p = json_string_value(json_object_get(entry, "path"));
			if (strncmp(p, path, strlen(path)) == 0 && strcasecmp(p + strlen(path), ".gguf") == 0)
				found = entry;
		}
		if (found == NULL)
			return hth_fail(err, HTH_NOT_FOUND, "%s: %s.gguf is not there", job->ref.text, path);
		HTH_AUTO_FREE char *escaped = hth_url_escape_path(json_string_value(json_object_get(found, "path")));
		if (escaped == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
		snprintf(url, sizeof url, "%s/%s/%s/resolve/main/%s", job->ref.base, job->ref.owner, job->ref.repo, escaped);
		hth_local_name(job->ref.name, i, g->n, name);
		const json_t *lfs = json_object_get(found, "lfs");
		uint64_t bytes = (uint64_t)json_integer_value(json_object_get(found, "size"));
		HTH_TRY(hth_plan_add(&job->plan, name, url, bytes, json_string_value(json_object_get(lfs, "oid")), err));
		job->plan.total += bytes;
	}
	return HTH_OK;
}

static hth_status plan_hf(hth_pull_job *job, hth_error *err)
{
	const char *token = job->options->hf_token;
	if (token != NULL && (strlen(token) > 512 || strpbrk(token, "\r\n \t") != NULL))
		return hth_fail(err, HTH_INVALID, "HF_TOKEN is no token: it has white space in it, or is too long");
	if (token != NULL && *token != '\0')
		snprintf(job->secret, sizeof job->secret, "Authorization: Bearer %s", token);
	HTH_AUTO_FREE listing *l = hth_alloc_array(1, sizeof *l);
	if (l == NULL || (l->files = json_array()) == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a listing");
	const group *g = NULL;
	hth_status status = list_hf(job, l, err);
	if (status == HTH_OK)
		status = choose(job, l, &g, err);
	if (status == HTH_OK)
		status = add_group(job, l, g, err);
	json_decref(l->files);
	return status;
}

hth_status hth_plan_make(hth_pull_job *job, hth_error *err)
{
	switch (job->ref.kind) {
	case HTH_PULL_FROM_FILE:
		return plan_file(job, err);
	case HTH_PULL_FROM_URL:
		return plan_url(job, err);
	case HTH_PULL_FROM_HF:
		return plan_hf(job, err);
	default:
		return hth_plan_registry(job, err);
	}
}
