/* pull-plan.c - what to fetch: asks a source which files a model has, how large they are and what they hash to.
 *
 * A plain URL is asked for its first bytes, which tell its size and whether it is GGUF at all. Hugging Face lists a repository with sizes
 * and SHA-256 (its tree API); pull-answers.c reads that and chooses. The registry's part is pull-registry.c. Thread: the pull's.
 */
#include "pull/pull-answers.h"
#include "pull/pull-internal.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

enum { HF_PAGES_MAX = 10 };

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
		const hth_transfer t = {.url = url, .headers = headers, .n_headers = 1, .max_redirects = 5,
		                        .stall_s = job->options->stall_s != 0 ? job->options->stall_s : 30,
		                        .head = probe_head, .data = probe_data, .hop = probe_hop, .cancelled = probe_cancelled, .ctx = p};
		hth_status status = hth_transfer_run(&t, NULL, err);
		if (p->enough && p->head.code / 100 == 2)
			return HTH_OK;
		if (p->enough)
			status = HTH_OK; /* an error's page, which we stopped reading */
		bool again = status == HTH_GONE || status == HTH_TIMEOUT ||
		    (status == HTH_OK && (p->head.code >= 500 || p->head.code == 429));
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

static hth_status list_hf(hth_pull_job *job, hth_hf_listing *l, hth_error *err)
{
	char url[HTH_TRANSFER_URL_MAX];
	snprintf(url, sizeof url, "%s/api/models/%s/%s/tree/main?recursive=true", job->ref.base, job->ref.owner, job->ref.repo);
	for (int page = 0; page < HF_PAGES_MAX && *url != '\0'; page++) {
		hth_transfer_head head;
		HTH_AUTO_FREE char *body = NULL;
		size_t len;
		HTH_TRY(hth_job_get(job, url, "application/json", HTH_PULL_ANSWER_MAX, &head, &body, &len, err));
		HTH_TRY(hth_hf_listing_add(l, body, len, err));
		/* The next page is of the same server: a listing cannot send us elsewhere. */
		bool own = strncmp(head.next, job->ref.base, strlen(job->ref.base)) == 0 && head.next[strlen(job->ref.base)] == '/';
		snprintf(url, sizeof url, "%s", own ? head.next : "");
	}
	return HTH_OK;
}

static hth_status add_group(hth_pull_job *job, const hth_hf_listing *l, const hth_hf_group *g, hth_error *err)
{
	for (unsigned i = 1; i <= g->n; i++) {
		char name[HTH_PULL_NAME_MAX + 40], url[HTH_TRANSFER_URL_MAX];
		const char *path, *sha256;
		uint64_t bytes;
		if (hth_hf_file(l, g, i, &path, &bytes, &sha256, err) != HTH_OK)
			return hth_fail_prefix(err, "%s", job->ref.text);
		HTH_AUTO_FREE char *escaped = hth_url_escape_path(path);
		if (escaped == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
		snprintf(url, sizeof url, "%s/%s/%s/resolve/main/%s", job->ref.base, job->ref.owner, job->ref.repo, escaped);
		hth_local_name(job->ref.name, i, g->n, name);
		HTH_TRY(hth_plan_add(&job->plan, name, url, bytes, sha256, err));
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
	HTH_AUTO_FREE hth_hf_listing *l = hth_alloc_array(1, sizeof *l);
	if (l == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a listing");
	const hth_hf_group *g = NULL;
	hth_status status = list_hf(job, l, err);
	if (status == HTH_OK)
		status = hth_hf_choose(l, job->ref.owner, job->ref.repo, job->ref.tag, &g, err);
	if (status == HTH_OK)
		status = add_group(job, l, g, err);
	hth_hf_listing_finish(l);
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
