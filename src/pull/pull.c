/* pull.c - a pull from its reference to models in place: plan, lock, room, files, rename, record.
 *
 * The lock is a file (models/.pull/NAME.lock) under flock, so that it ends with its process. Whoever finds it taken watches the
 * partial files grow and, when the lock comes free, finds the model there. Renames come last and in one go; NAME.json, which says what the
 * files are, after them. Thread: the caller's.
 */
#include "pull/pull-internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/record.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

const char *hth_pull_phase_name(hth_pull_phase phase)
{
	static const char *const names[] = {"asking", "waiting", "downloading", "paused", "verifying", "done"};
	return (unsigned)phase < HTH_COUNT(names) ? names[phase] : "?";
}

/* ---- a job ---- */

static hth_status make_folder(const char *path, hth_error *err)
{
	char part[4096];
	for (size_t i = 1; path[i - 1] != '\0'; i++)
		if (path[i] == '/' || path[i] == '\0') {
			snprintf(part, sizeof part, "%.*s", (int)i, path);
			if (mkdir(part, 0755) != 0 && errno != EEXIST)
				return hth_fail_errno(err, HTH_IO, errno, "cannot make the folder %s", part);
			if (path[i] == '\0')
				break;
		}
	return HTH_OK;
}

hth_status hth_job_open(hth_pull_job *job, const char *reference, const hth_pull_options *options, hth_error *err)
{
	*job = (hth_pull_job){.options = options, .from = ""};
	if (sodium_init() < 0)
		return hth_fail(err, HTH_IO, "the system gives no random numbers");
	HTH_TRY(hth_reference_parse(reference, options, &job->ref, err));
	if (strlen(options->home) > sizeof job->folder - 64)
		return hth_fail(err, HTH_INVALID, "the home folder's path is too long");
	snprintf(job->folder, sizeof job->folder, "%s/models", options->home);
	snprintf(job->partial, sizeof job->partial, "%s/models/.pull", options->home);
	snprintf(job->reason, sizeof job->reason, "model %.240s", job->ref.kind == HTH_PULL_FROM_URL ? job->ref.name : job->ref.text);
	HTH_TRY(make_folder(job->partial, err));
	if (job->ref.kind != HTH_PULL_FROM_FILE)
		return hth_store_open(&job->store, options->home, err);
	return HTH_OK;
}

void hth_job_close(hth_pull_job *job)
{
	hth_plan_finish(&job->plan);
	hth_store_close(job->store);
	job->store = NULL;
	sodium_memzero(job->secret, sizeof job->secret);
}

bool hth_job_cancelled(void *ctx)
{
	const hth_pull_job *job = ctx;
	return job->options->cancelled != NULL && job->options->cancelled(job->options->ctx);
}

void hth_job_hop(void *ctx, const hth_transfer_hop *hop)
{
	hth_pull_job *job = ctx;
	hth_egress e = {.at_unix = hth_clock_unix(), .kind = "pull", .sent_bytes = hop->sent_bytes, .received_bytes = hop->received_bytes,
	                .allowed = hop->allowed};
	snprintf(e.host, sizeof e.host, "%s", hop->host);
	snprintf(e.reason, sizeof e.reason, "%s", job->reason);
	/* The connection has happened; a log that is full or locked is told by the next command that reads it. */
	(void)!hth_store_egress_add(job->store, &e, NULL);
}

void hth_job_tell(hth_pull_job *job, hth_pull_phase phase, const hth_planned_file *file, uint64_t file_bytes, bool now)
{
	uint64_t ms = hth_clock_ms();
	if (job->options->progress == NULL || (!now && ms - job->last_told_ms < 100))
		return;
	job->last_told_ms = ms;
	uint64_t bytes = job->done_bytes + file_bytes;
	if (job->rate_ms == 0 || bytes < job->rate_bytes) {
		job->rate_ms = ms;
		job->rate_bytes = bytes;
	} else if (ms - job->rate_ms >= 500) { /* smoothed over a few seconds */
		double now_rate = (double)(bytes - job->rate_bytes) * 1000 / (double)(ms - job->rate_ms);
		job->rate = job->rate == 0 ? now_rate : job->rate * 0.7 + now_rate * 0.3;
		job->rate_ms = ms;
		job->rate_bytes = bytes;
	}
	hth_pull_progress p = {.phase = phase, .name = job->ref.name, .file = file != NULL ? file->name : "", .bytes = bytes,
	                       .total = job->plan.total,
	                       .file_bytes = file_bytes, .file_total = file != NULL ? file->bytes : 0, .rate = job->rate, .eta_s = -1,
	                       .sha256 = file != NULL ? file->sha256 : "", .from = job->from};
	if (p.total > bytes && p.rate > 1)
		p.eta_s = (int64_t)((double)(p.total - bytes) / p.rate + 0.5);
	job->options->progress(job->options->ctx, &p);
}

hth_status hth_job_pause(hth_pull_job *job, uint64_t ms, hth_error *err)
{
	for (uint64_t end = hth_clock_ms() + ms;;) {
		if (hth_job_cancelled(job))
			return hth_fail(err, HTH_CANCELLED, "stopped");
		uint64_t now = hth_clock_ms();
		if (now >= end)
			return HTH_OK;
		usleep((useconds_t)HTH_MIN(end - now, (uint64_t)50) * 1000);
	}
}

hth_status hth_job_http_error(const hth_pull_job *job, const hth_transfer_head *head, hth_error *err)
{
	int code = head->code;
	if ((code == 401 || code == 403) && job->ref.kind == HTH_PULL_FROM_HF)
		return hth_fail(err, code == 401 ? HTH_UNAUTHORIZED : HTH_DENIED,
		                "%s: Hugging Face wants a login for it (or has no such model); set HF_TOKEN to a token of an account that "
		                "may read it", job->ref.text);
	if (code == 401 || code == 403)
		return hth_fail(err, code == 401 ? HTH_UNAUTHORIZED : HTH_DENIED, "%s does not give %.200s to us (HTTP status %d)",
		                head->host, job->ref.text, code);
	if (code == 404 || code == 410)
		return hth_fail(err, HTH_NOT_FOUND, "%s has no %.200s", head->host, job->ref.text);
	if (code == 429 || code == 503)
		return hth_fail(err, HTH_BUSY, "%s is too busy now (HTTP status %d); try again later", head->host, code);
	return hth_fail(err, HTH_GONE, "%s answered with HTTP status %d", head->host, code);
}

static bool get_cancelled(void *ctx) { return hth_job_cancelled(ctx); }

hth_status hth_job_get(hth_pull_job *job, const char *url, const char *accept, size_t max, hth_transfer_head *ret_head, char **ret_body,
                       size_t *ret_len, hth_error *err)
{
	char header[256];
	snprintf(header, sizeof header, "Accept: %s", accept);
	const char *const headers[] = {header};
	bool own = *job->ref.base != '\0' && strncmp(url, job->ref.base, strlen(job->ref.base)) == 0;
	const hth_transfer t = {.url = url, .headers = headers, .n_headers = 1, .secret = own &&
	                        job->secret[0] != '\0' ? job->secret : NULL, .max_bytes = max,
	                        .max_redirects = 5, .stall_s = job->options->stall_s != 0 ? job->options->stall_s : 30, .hop = hth_job_hop,
	                        .cancelled = get_cancelled, .ctx = job};
	uint64_t pause = job->options->retry_ms != 0 ? job->options->retry_ms : 500;
	for (int tries = 0;; tries++) {
		hth_transfer_head head = {0};
		char *body = NULL;
		size_t len = 0;
		hth_status status = hth_transfer_get(&t, &head, &body, &len, err);
		if (ret_head != NULL)
			*ret_head = head;
		if (status == HTH_OK && head.code / 100 == 2) {
			*ret_body = body;
			*ret_len = len;
			return HTH_OK;
		}
		free(body);
		bool again = status == HTH_GONE || status == HTH_TIMEOUT || (status == HTH_OK && (head.code >= 500 || head.code == 429));
		if (!again || tries >= 3)
			return status != HTH_OK ? status : hth_job_http_error(job, &head, err);
		HTH_TRY(hth_job_pause(job, head.retry_after_s > 0 ? (uint64_t)HTH_MIN(head.retry_after_s, (int64_t)60) * 1000
		                                                  : pause << tries, err));
	}
}

/* ---- what is here ---- */

/* *ret_here: the very model is here. HTH_CONFLICT: another one of that name is. */
static hth_status look(const hth_pull_job *job, bool *ret_here, hth_error *err)
{
	HTH_AUTO_JSON json_t *record = hth_record_read(job->options->home, job->ref.name);
	const char *source = json_string_value(json_object_get(record, "source"));
	*ret_here = false;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	HTH_TRY(hth_catalog_load(&catalog, job->options->home, err));
	const hth_catalog_model *model = NULL;
	for (size_t i = 0; i < catalog.n; i++)
		if (strcmp(catalog.models[i].name, job->ref.name) == 0 && !catalog.models[i].built_in)
			model = &catalog.models[i];
	if (model == NULL)
		return HTH_OK;
	if (source == NULL || strcmp(source, job->ref.text) != 0)
		return hth_fail(err, HTH_CONFLICT, "there is a model '%s' already, from %.200s; remove it (`hearth rm %s`) or keep this "
		                                   "one under another name (--name)",
		                job->ref.name, source != NULL ? source : json_object_get(record, "from") != NULL ? "`create`" : "elsewhere",
		                job->ref.name);
	const json_t *files = json_object_get(record, "files");
	if (json_array_size(files) != job->plan.n_files || model->n_files != job->plan.n_files)
		return HTH_OK;
	for (size_t i = 0; i < job->plan.n_files; i++) {
		const hth_planned_file *f = &job->plan.files[i];
		const json_t *kept = json_array_get(files, i);
		const char *sha = json_string_value(json_object_get(kept, "sha256")),
		    *etag = json_string_value(json_object_get(kept, "etag"));
		struct stat st;
		if (sha == NULL || etag == NULL || stat(model->files[i], &st) != 0 ||
		    st.st_size != json_integer_value(json_object_get(kept, "bytes")) || (f->bytes > 0 && (uint64_t)st.st_size != f->bytes))
			return HTH_OK;
		if (f->sha256[0] != '\0' ? strcmp(f->sha256, sha) != 0 : f->etag[0] == '\0' || strcmp(f->etag, etag) != 0)
			return HTH_OK;
	}
	*ret_here = true;
	return HTH_OK;
}

static hth_status write_record(const hth_pull_job *job, hth_error *err)
{
	HTH_AUTO_JSON json_t *record = json_pack("{s:s, s:I, s:[]}", "source", job->ref.text, "pulled_unix", (json_int_t)hth_clock_unix(),
	                                         "files");
	for (size_t i = 0; record != NULL && i < job->plan.n_files; i++) {
		const hth_planned_file *f = &job->plan.files[i];
		json_array_append_new(json_object_get(record, "files"),
		                      json_pack("{s:s, s:I, s:s, s:s}", "name", f->name, "bytes", (json_int_t)f->bytes, "sha256",
		                                                                  f->sha256, "etag", f->etag));
	}
	if (record != NULL && job->plan.extras != NULL)
		json_object_update(record, job->plan.extras);
	if (record == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the record of a model");
	return hth_record_write(job->options->home, job->ref.name, record, err);
}

/* ---- one download for many ---- */

static hth_status take_lock(hth_pull_job *job, int *ret_fd, bool *ret_waited, hth_error *err)
{
	char path[4600];
	snprintf(path, sizeof path, "%s/%s.lock", job->partial, job->ref.name);
	*ret_waited = false;
	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot write %s", path);
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			struct stat mine, there;
			/* Its last holder may have removed it under us. */
			if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino) {
				*ret_fd = fd;
				return HTH_OK;
			}
			close(fd);
			continue;
		}
		int e = errno;
		close(fd);
		if (e != EWOULDBLOCK && e != EINTR)
			return hth_fail_errno(err, HTH_IO, e, "cannot lock %s", path);
		*ret_waited = true;
		uint64_t bytes = 0;
		for (size_t i = 0; i < job->plan.n_files; i++)
			bytes += hth_job_have(job, &job->plan.files[i]);
		hth_job_tell(job, HTH_PULL_WAITING, job->plan.n_files > 0 ? &job->plan.files[0] : NULL, bytes, false);
		HTH_TRY(hth_job_pause(job, 100, err));
	}
}

static void drop_lock(const hth_pull_job *job, int fd)
{
	char path[4600];
	snprintf(path, sizeof path, "%s/%s.lock", job->partial, job->ref.name);
	unlink(path);
	close(fd);
}

/* What an older pull of the same model left under other file names (other shards). */
static void remove_old(const hth_pull_job *job)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	if (hth_catalog_load(&catalog, job->options->home, NULL) != HTH_OK)
		return;
	for (size_t i = 0; i < catalog.n; i++) {
		const hth_catalog_model *m = &catalog.models[i];
		if (m->built_in || strcmp(m->name, job->ref.name) != 0)
			continue;
		for (size_t k = 0; k < m->n_files; k++) {
			const char *base = strrchr(m->files[k], '/') + 1;
			bool kept = false;
			for (size_t f = 0; f < job->plan.n_files; f++)
				kept |= strcmp(base, job->plan.files[f].name) == 0;
			if (!kept)
				unlink(m->files[k]);
		}
	}
}

static hth_status put_in_place(hth_pull_job *job, hth_error *err)
{
	remove_old(job);
	for (size_t i = 0; i < job->plan.n_files; i++) {
		char from[4600], to[4600];
		snprintf(from, sizeof from, "%s/%s.partial", job->partial, job->plan.files[i].name);
		snprintf(to, sizeof to, "%s/%s", job->folder, job->plan.files[i].name);
		if (rename(from, to) != 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot move %s into %s", job->plan.files[i].name, job->folder);
		struct stat st;
		const char *sha = job->plan.files[i].sha256;
		if (sha[0] != '\0' && job->store != NULL && stat(to, &st) == 0) { /* it was checked as it came: nobody need read it again */
			const hth_file_identity file = hth_file_identity_of(&st);
			(void)!hth_store_digest_put(job->store, &file, sha, NULL);
		}
		snprintf(from, sizeof from, "%s/%s.state", job->partial, job->plan.files[i].name);
		unlink(from);
		snprintf(from, sizeof from, "%s/%s.blocks", job->partial, job->plan.files[i].name);
		unlink(from);
	}
	HTH_TRY(write_record(job, err));
	HTH_AUTO_CLOSE int folder = open(job->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0)
		(void)!fsync(folder);
	return HTH_OK;
}

/* What is still to come of the plan: all room is asked for before the first byte. */
static uint64_t missing(const hth_pull_job *job)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < job->plan.n_files; i++) {
		uint64_t want = job->plan.files[i].bytes, have = HTH_MIN(hth_job_have(job, &job->plan.files[i]), want);
		if (hth_add_overflows(sum, want - have, &sum))
			return UINT64_MAX;
	}
	return sum;
}

/* The neighbours had said what the model is, and do not have all of it any more: its source is asked after all. */
static hth_status ask_source(hth_pull_job *job, hth_error *err)
{
	hth_plan_finish(&job->plan);
	job->by_neighbours = false;
	job->past_neighbours = true;
	job->done_bytes = 0;
	hth_job_tell(job, HTH_PULL_ASKING, NULL, 0, true);
	hth_status status = hth_plan_make(job, err);
	return status == HTH_OK ? status
	                        : hth_fail_prefix(err, "the neighbours do not have all of it any more, and its source does not help");
}

static hth_status bring(hth_pull_job *job, hth_pull_result *result, hth_error *err)
{
	HTH_TRY(look(job, &result->already, err));
	if (result->already)
		return HTH_OK;
	bool local = job->ref.kind == HTH_PULL_FROM_FILE;
	if (!local)
		HTH_TRY(hth_job_room(job, missing(job), err));
	for (size_t i = 0; i < job->plan.n_files; i++) {
		hth_planned_file *f = &job->plan.files[i];
		if (!local)
			HTH_TRY(hth_job_next_door(job, f, err));
		if (job->by_neighbours && hth_job_have(job, f) < f->bytes) {
			HTH_TRY(ask_source(job, err));
			i = SIZE_MAX; /* from the first file on: what is whole is only looked at */
			continue;
		}
		HTH_TRY(local ? hth_job_copy(job, f, err) : hth_job_download(job, f, err));
		job->done_bytes += f->bytes;
	}
	return put_in_place(job, err);
}

hth_status hth_pull(const char *reference, const hth_pull_options *options, hth_pull_result *ret_result, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	if (err == NULL)
		err = &own;
	HTH_AUTO_FREE hth_pull_job *job = hth_alloc_array(1, sizeof *job);
	if (job == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
	hth_pull_result result = {.bytes = 0};
	hth_status status = hth_job_open(job, reference, options, err);
	if (status == HTH_OK) {
		hth_job_tell(job, HTH_PULL_ASKING, NULL, 0, true);
		status = hth_plan_neighbours(job, &job->by_neighbours, err);
		if (status == HTH_OK && !job->by_neighbours)
			status = hth_plan_make(job, err);
	}
	int lock = -1;
	bool waited = false;
	if (status == HTH_OK)
		status = take_lock(job, &lock, &waited, err);
	if (status == HTH_OK) {
		status = bring(job, &result, err);
		drop_lock(job, lock);
	}
	if (status == HTH_OK) {
		snprintf(result.name, sizeof result.name, "%s", job->ref.name);
		for (size_t i = 0; i < job->plan.n_files; i++)
			result.bytes += job->plan.files[i].bytes;
		job->plan.total = result.bytes;
		job->done_bytes = result.bytes;
		result.downloaded = job->downloaded + job->next_door;
		result.next_door = job->next_door;
		hth_job_tell(job, HTH_PULL_DONE, NULL, 0, true);
		*ret_result = result;
	}
	hth_job_close(job);
	return status;
}

/* ---- removing ---- */

hth_status hth_pull_remove(const char *home, const char *name, uint64_t *ret_bytes, hth_error *err)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	HTH_TRY(hth_catalog_load(&catalog, home, err));
	const hth_catalog_model *model = hth_catalog_find(&catalog, name);
	if (model == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, "model", "there is no model '%.200s' here; `hearth list` shows what there is",
		                      name);
	if (model->built_in)
		return hth_fail_param(err, HTH_DENIED, "model", "the model %s came with the program and is not removed by it", model->name);
	/* The record first: without it the files are still a model, without them it is nothing. */
	hth_record_remove(home, model->name);
	uint64_t freed = 0;
	struct stat st;
	for (size_t i = 0; i < model->n_files; i++)
		if (lstat(model->files[i], &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) /* else other names keep the bytes */
			freed += (uint64_t)st.st_size;
	for (size_t i = 0; i < model->n_files; i++)
		if (unlink(model->files[i]) != 0 && errno != ENOENT)
			return hth_fail_errno(err, HTH_IO, errno, "cannot remove %s", model->files[i]);
	if (ret_bytes != NULL)
		*ret_bytes = freed;
	return HTH_OK;
}
