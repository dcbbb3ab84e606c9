/* pull-peek.c - the beginnings of a model's files, into unlinked files with holes where the weights would be.
 *
 * Nothing here reads what it fetched: that is for a process that has locked itself in. Thread: the caller's.
 */
#include "pull/pull-internal.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef struct taker {
	hth_pull_job *job;
	int fd;
	uint64_t at, end;
	bool bad;
} taker;

static bool take_head(void *ctx, const hth_transfer_head *head)
{
	taker *t = ctx;
	t->bad = !(head->code == 206 && head->range_from == (int64_t)t->at) && !(head->code == 200 && t->at == 0);
	return !t->bad;
}
static bool take_data(void *ctx, const void *data, size_t len)
{
	taker *t = ctx;
	size_t n = (size_t)HTH_MIN((uint64_t)len, t->end - t->at);
	if (pwrite(t->fd, data, n, (off_t)t->at) != (ssize_t)n)
		return false;
	t->at += n;
	return t->at < t->end;
}
static bool take_cancelled(void *ctx) { return hth_job_cancelled(((taker *)ctx)->job); }
static void take_hop(void *ctx, const hth_transfer_hop *hop) { hth_job_hop(((taker *)ctx)->job, hop); }

static hth_status take(hth_pull_job *job, const hth_planned_file *file, int fd, uint64_t from, uint64_t end, hth_error *err)
{
	char range[80];
	snprintf(range, sizeof range, "Range: bytes=%llu-%llu", (unsigned long long)from, (unsigned long long)end - 1);
	const char *const headers[] = {range};
	bool own = *job->ref.base != '\0' && strncmp(file->url, job->ref.base, strlen(job->ref.base)) == 0;
	taker t = {.job = job, .fd = fd, .at = from, .end = end};
	const hth_transfer transfer = {.url = file->url, .headers = headers, .n_headers = 1, .secret = own &&
	                               job->secret[0] != '\0' ? job->secret : NULL,
	                               .max_redirects = 5, .stall_s = 30, .head = take_head, .data = take_data, .hop = take_hop,
	                               .cancelled = take_cancelled, .ctx = &t};
	hth_transfer_head head = {0};
	hth_status status = hth_transfer_run(&transfer, &head, err);
	if (t.at == t.end)
		return HTH_OK;
	if (t.bad && head.code / 100 != 2)
		return hth_job_http_error(job, &head, err);
	if (t.bad)
		return hth_fail(err, HTH_UNSUPPORTED, "%s gives no parts of a file, so the model cannot be looked at before it is pulled",
		                head.host);
	return status != HTH_OK ? status : hth_fail(err, HTH_GONE, "%s ended before the file's header was whole", head.host);
}

static int open_nameless(const char *folder)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("hearth-head", MFD_CLOEXEC);
}

static hth_status peek(hth_pull_job *job, uint64_t limit, hth_pull_head *head, hth_error *err)
{
	HTH_TRY(hth_plan_make(job, err));
	snprintf(head->name, sizeof head->name, "%s", job->ref.name);
	head->bytes = 0;
	uint64_t had = head->fetched;
	for (size_t i = 0; i < job->plan.n_files; i++) {
		const hth_planned_file *f = &job->plan.files[i];
		uint64_t want = HTH_MIN(i == 0 ? limit : limit / 4, f->bytes);
		if (f->bytes == 0)
			return hth_fail(err, HTH_UNSUPPORTED,
			                "the server does not say how large %s is, so it cannot be looked at before it is pulled", f->name);
		if (i == head->n_fds) {
			int fd = open_nameless(job->partial);
			if (fd < 0)
				return hth_fail_errno(err, HTH_IO, errno, "cannot write into %s", job->partial);
			head->fds[head->n_fds++] = fd;
			if (ftruncate(fd, (off_t)f->bytes) != 0)
				return hth_fail_errno(err, HTH_IO, errno, "cannot make room for a header in %s", job->partial);
		}
		/* Later calls go on where the earlier one ended: both know how far that was. */
		uint64_t from = had > 0 ? HTH_MIN(i == 0 ? had : had / 4, f->bytes) : 0;
		if (from < want)
			HTH_TRY(take(job, f, head->fds[i], from, want, err));
		head->bytes += f->bytes;
	}
	head->fetched = limit;
	return HTH_OK;
}

hth_status hth_pull_peek(const char *reference, const hth_pull_options *options, uint64_t limit, hth_pull_head *head, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	if (err == NULL)
		err = &own;
	HTH_AUTO_FREE hth_pull_job *job = hth_alloc_array(1, sizeof *job);
	if (job == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
	hth_status status = hth_job_open(job, reference, options, err);
	if (status == HTH_OK && job->ref.kind == HTH_PULL_FROM_FILE)
		status = hth_fail(err, HTH_INVALID, "%s is a file of this machine", job->ref.text);
	if (status == HTH_OK)
		status = peek(job, limit, head, err);
	hth_job_close(job);
	return status;
}

void hth_pull_head_close(hth_pull_head *head)
{
	for (size_t i = 0; i < head->n_fds; i++)
		close(head->fds[i]);
	head->n_fds = 0;
}
