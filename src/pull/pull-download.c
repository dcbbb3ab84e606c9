/* pull-download.c - one file, from the outside to models/.pull/FILE.partial, whole and checked.
 *
 * FILE.state beside it says what the bytes are of: URL, size, SHA-256, ETag. A partial file is gone on with only when all of these
 * still hold; where there is no SHA-256 to find a mixture out, only when the server has a strong ETag (If-Range, RFC 9110). What a
 * server says about ranges is checked, not believed: a wrong start or total means starting over. The hash is taken as bytes
 * come, and over the old part once when a download is gone on with. Thread: the pull's.
 */
#include "pull/pull-internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { TRIES_WITHOUT_PROGRESS = 6, TRIES_MAX = 500, BLOCK = 1 << 20 };
static const uint64_t SPARE = 64u << 20; /* room left on the disk */

typedef struct sink {
	hth_pull_job *job;
	hth_planned_file *file;
	int fd;
	uint64_t at; /* bytes that are in the file */
	crypto_hash_sha256_state sha;
	hth_transfer_head head;
	bool restart;      /* what the server has is not what we have the beginning of */
	hth_status status; /* what ended it from inside a callback */
	hth_error *err;
} sink;

static void to_hex(const unsigned char *bytes, char out[65])
{
	sodium_bin2hex(out, 65, bytes, 32);
}

void hth_sha256_hex(const void *data, size_t len, char out[65])
{
	unsigned char hash[32];
	crypto_hash_sha256(hash, data, len);
	to_hex(hash, out);
}

/* ---- room ---- */

static bool free_bytes(const char *folder, uint64_t *ret)
{
	struct statvfs v;
	return statvfs(folder, &v) == 0 && !hth_mul_overflows(v.f_bavail, v.f_frsize, ret);
}

static const char *human(uint64_t n, char out[32])
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)n;
	size_t i = 0;
	for (; v >= 1000 && i + 1 < HTH_COUNT(units); i++)
		v /= 1000;
	snprintf(out, 32, i == 0 ? "%.0f %s" : "%.1f %s", v, units[i]);
	return out;
}

hth_status hth_job_room(const hth_pull_job *job, uint64_t needed, hth_error *err)
{
	uint64_t there;
	char a[32], b[32], c[32];
	if (!free_bytes(job->folder, &there) || needed == 0)
		return HTH_OK;
	if (needed > UINT64_MAX - SPARE || needed + SPARE > there)
		return hth_fail(err, HTH_IO, "%s needs %s more on the disk of %s, which has %s free (%s are left for everything else); "
		                             "free some, e.g. with `hearth rm MODEL`",
		                job->ref.name, human(needed, a), job->folder, human(there, b), human(SPARE, c));
	return HTH_OK;
}

/* ---- state ---- */

void hth_job_path(const hth_pull_job *job, const hth_planned_file *file, const char *ending, char out[4600])
{
	snprintf(out, 4600, "%s/%s%s", job->partial, file->name, ending);
}

void hth_job_write_state(const hth_pull_job *job, const hth_planned_file *file, const char *etag)
{
	char path[4600];
	hth_job_path(job, file, ".state", path);
	HTH_AUTO_JSON json_t *state = json_pack("{s:s, s:I, s:s, s:s}", "url", file->url, "bytes", (json_int_t)file->bytes, "sha256",
	                                        file->sha256, "etag", etag);
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(64 << 10);
	if (state == NULL || !hth_json_write(state, &text))
		return;
	HTH_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* A state that could not be written costs the next pull its beginning, nothing else. */
	if (fd >= 0 && write(fd, text.data, text.len) != (ssize_t)text.len)
		(void)!ftruncate(fd, 0);
}

bool hth_job_state_fits(const hth_pull_job *job, const hth_planned_file *file, char ret_etag[256])
{
	char path[4600], text[16 << 10];
	hth_job_path(job, file, ".state", path);
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
	HTH_AUTO_JSON json_t *state = NULL;
	if (n <= 0 || hth_json_parse(&state, text, (size_t)n, NULL) != HTH_OK)
		return false;
	const char *url = json_string_value(json_object_get(state, "url")), *sha = json_string_value(json_object_get(state, "sha256")),
	           *etag = json_string_value(json_object_get(state, "etag"));
	if (url == NULL || sha == NULL || etag == NULL || strcmp(sha, file->sha256) != 0 ||
	    (uint64_t)json_integer_value(json_object_get(state, "bytes")) != file->bytes)
		return false;
	/* With a hash it does not matter where the bytes came from. */
	if (*sha == '\0' && (strcmp(url, file->url) != 0 || etag[0] != '"' || (file->etag[0] != '\0' && strcmp(etag, file->etag) != 0)))
		return false;
	snprintf(ret_etag, 256, "%s", etag);
	return true;
}

static void discard(const hth_pull_job *job, const hth_planned_file *file)
{
	char path[4600];
	hth_job_path(job, file, ".partial", path);
	unlink(path);
	hth_job_path(job, file, ".state", path);
	unlink(path);
	hth_job_path(job, file, ".blocks", path);
	unlink(path);
}

/* ---- bytes ---- */

static hth_status write_all(sink *s, const char *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(s->fd, data + done, len - done, (off_t)(s->at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
			char a[32], b[32];
			return hth_fail(s->err, HTH_IO, "the disk of %s is full: %s of %s have come; free some and pull again, it goes on "
			                                "from there", s->job->folder,
			                human(s->at, a), s->file->bytes > 0 ? human(s->file->bytes, b) : "the file");
		}
		if (n < 0)
			return hth_fail_errno(s->err, HTH_IO, errno, "cannot write to %s", s->job->partial);
		done += (size_t)n;
	}
	return HTH_OK;
}

static void start_over(sink *s)
{
	s->at = 0;
	(void)!ftruncate(s->fd, 0);
	crypto_hash_sha256_init(&s->sha);
}

static bool on_head(void *ctx, const hth_transfer_head *head)
{
	sink *s = ctx;
	s->head = *head;
	if (head->code == 206) {
		if (head->range_from != (int64_t)s->at || (s->file->bytes > 0 && head->range_total >= 0 &&
		                                           head->range_total != (int64_t)s->file->bytes)) {
			s->restart = true;
			return false;
		}
	} else if (head->code == 200) {
		if (s->at > 0)
			start_over(s);
		if (head->length >= 0 && s->file->bytes > 0 && head->length != (int64_t)s->file->bytes) {
			s->status = hth_fail(s->err, HTH_BAD_FORMAT, "%s has %lld bytes where %llu were announced", head->host,
			                     (long long)head->length, (unsigned long long)s->file->bytes);
			return false;
		}
		if (head->length > 0 && s->file->bytes == 0) {
			s->file->bytes = (uint64_t)head->length;
			s->status = hth_job_room(s->job, s->file->bytes, s->err);
			if (s->status != HTH_OK)
				return false;
		}
	} else {
		return head->code / 100 != 2;
	}
	hth_job_write_state(s->job, s->file, head->etag);
	return true;
}

static bool on_data(void *ctx, const void *data, size_t len)
{
	sink *s = ctx;
	if (s->head.code != 200 && s->head.code != 206)
		return true; /* an error's page */
	if (s->file->bytes > 0 && s->at + len > s->file->bytes) {
		s->status = hth_fail(s->err, HTH_BAD_FORMAT, "%s sends more than the %llu bytes that were announced", s->head.host,
		                     (unsigned long long)s->file->bytes);
		return false;
	}
	s->status = write_all(s, data, len);
	if (s->status != HTH_OK)
		return false;
	crypto_hash_sha256_update(&s->sha, data, len);
	s->at += len;
	s->job->downloaded += len;
	hth_job_tell(s->job, HTH_PULL_DOWNLOADING, s->file, s->at, false);
	return true;
}

static bool on_cancelled(void *ctx) { return hth_job_cancelled(((sink *)ctx)->job); }
static void on_hop(void *ctx, const hth_transfer_hop *hop) { hth_job_hop(((sink *)ctx)->job, hop); }

/* The hash of what an earlier pull left. */
static hth_status hash_old(sink *s, hth_error *err)
{
	HTH_AUTO_FREE char *block = malloc(BLOCK);
	if (block == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
	for (uint64_t from = 0; from < s->at;) {
		ssize_t n = pread(s->fd, block, HTH_MIN(s->at - from, (uint64_t)BLOCK), (off_t)from);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return hth_fail_errno(err, HTH_IO, n < 0 ? errno : EIO, "cannot read what came earlier in %s", s->job->partial);
		crypto_hash_sha256_update(&s->sha, (const unsigned char *)block, (size_t)n);
		from += (uint64_t)n;
		if (hth_job_cancelled(s->job))
			return hth_fail(err, HTH_CANCELLED, "stopped");
		hth_job_tell(s->job, HTH_PULL_VERIFYING, s->file, from, false);
	}
	return HTH_OK;
}

/* One try. *ret_again: worth another. */
static hth_status try_once(sink *s, const char *etag, bool *ret_again, uint64_t *ret_after_ms, hth_error *err)
{
	hth_pull_job *job = s->job;
	char range[64], condition[320];
	const char *headers[2];
	size_t n = 0;
	if (s->at > 0) {
		snprintf(range, sizeof range, "Range: bytes=%llu-", (unsigned long long)s->at);
		headers[n++] = range;
		if (s->file->sha256[0] == '\0') {
			snprintf(condition, sizeof condition, "If-Range: %s", etag);
			headers[n++] = condition;
		}
	}
	uint64_t there = 0;
	free_bytes(job->folder, &there);
	bool own = strncmp(s->file->url, job->ref.base, strlen(job->ref.base)) == 0 && *job->ref.base != '\0';
	s->restart = false;
	s->status = HTH_OK;
	s->head = (hth_transfer_head){.retry_after_s = -1};
	const hth_transfer t = {.url = s->file->url,
	                        .headers = headers,
	                        .n_headers = n,
	                        .secret = own && job->secret[0] != '\0' ? job->secret : NULL,
	                        .max_bytes = s->file->bytes > 0 ? 0 : there > SPARE ? there - SPARE : 1,
	                        .max_redirects = 5,
	                        .stall_s = job->options->stall_s != 0 ? job->options->stall_s : 30,
	                        .head = on_head,
	                        .data = on_data,
	                        .hop = on_hop,
	                        .cancelled = on_cancelled,
	                        .ctx = s};
	hth_error own_err = HTH_ERROR_INIT;
	hth_status status = hth_transfer_run(&t, NULL, &own_err);
	if (s->status != HTH_OK)
		return s->status; /* err is filled */
	*ret_again = true;
	*ret_after_ms = 0;
	int code = s->head.code;
	if (s->restart || (code == 416 && s->head.range_total != (int64_t)s->at)) {
		start_over(s);
		return hth_fail(err, HTH_GONE, "%s does not go on where the download was cut", s->head.host);
	}
	if (code == 416)
		return HTH_OK; /* all of it had come */
	if (status == HTH_OK && (code == 200 || code == 206)) {
		if (s->file->bytes == 0 || s->at == s->file->bytes)
			return HTH_OK;
		return hth_fail(err, HTH_GONE, "%s ended after %llu of %llu bytes", s->head.host, (unsigned long long)s->at,
		                (unsigned long long)s->file->bytes);
	}
	if (status == HTH_GONE || status == HTH_TIMEOUT) {
		*err = own_err;
		return status;
	}
	*ret_again = status == HTH_OK && (code >= 500 || code == 429 || code == 408);
	if (s->head.retry_after_s > 0)
		*ret_after_ms = (uint64_t)HTH_MIN(s->head.retry_after_s, (int64_t)60) * 1000;
	if (status == HTH_OK && code == 401 && job->ref.kind == HTH_PULL_FROM_REGISTRY && own) {
		*ret_again = true; /* a token lasts minutes, a download hours */
		HTH_TRY(hth_registry_login(job, &s->head, err));
		return hth_fail(err, HTH_UNAUTHORIZED, "%s does not take the token that it gave", s->head.host);
	}
	if (status != HTH_OK) {
		*err = own_err;
		return status;
	}
	return hth_job_http_error(job, &s->head, err);
}

static hth_status fetch(sink *s, hth_error *err)
{
	hth_pull_job *job = s->job;
	uint64_t first = job->options->retry_ms != 0 ? job->options->retry_ms : 500;
	char etag[256] = "";
	struct stat st;
	if (fstat(s->fd, &st) == 0 && st.st_size > 0 && hth_job_state_fits(job, s->file, etag) &&
	    (s->file->bytes == 0 || (uint64_t)st.st_size <= s->file->bytes))
		s->at = (uint64_t)st.st_size;
	else
		(void)!ftruncate(s->fd, 0);
	crypto_hash_sha256_init(&s->sha);
	HTH_TRY(hash_old(s, err));
	if (s->file->bytes > 0 && s->at == s->file->bytes)
		return HTH_OK;
	HTH_TRY(hth_job_room(job, s->file->bytes > s->at ? s->file->bytes - s->at : 0, err));
	unsigned idle = 0;
	for (unsigned tries = 0;; tries++) {
		uint64_t before = s->at, after_ms = 0;
		bool again = false;
		hth_job_tell(job, HTH_PULL_DOWNLOADING, s->file, s->at, true);
		hth_status status = try_once(s, etag, &again, &after_ms, err);
		if (status == HTH_OK || !again)
			return status;
		if (s->head.etag[0] == '"')
			memcpy(etag, s->head.etag, sizeof etag);
		else if (s->file->sha256[0] == '\0' && s->at > 0)
			start_over(s); /* nothing could tell a mixture from the file */
		idle = s->at > before ? 0 : idle + 1;
		if (idle >= TRIES_WITHOUT_PROGRESS || tries >= TRIES_MAX)
			return status;
		hth_job_tell(job, HTH_PULL_PAUSED, s->file, s->at, true);
		HTH_TRY(hth_job_pause(job, after_ms > 0 ? after_ms : first << HTH_MIN(idle, 6u), err));
	}
}

hth_status hth_job_download(hth_pull_job *job, hth_planned_file *file, hth_error *err)
{
	char path[4600], hex[65];
	unsigned char hash[32];
	hth_job_path(job, file, ".partial", path);
	HTH_AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot write %s", path);
	sink s = {.job = job, .file = file, .fd = fd, .err = err};
	hth_status status = fetch(&s, err);
	if (status == HTH_BAD_FORMAT)
		discard(job, file);
	HTH_TRY(status);
	hth_job_tell(job, HTH_PULL_VERIFYING, file, s.at, true);
	crypto_hash_sha256_final(&s.sha, hash);
	to_hex(hash, hex);
	char magic[4] = "";
	if (file->sha256[0] != '\0' && strcmp(hex, file->sha256) != 0) {
		discard(job, file);
		return hth_fail(err, HTH_BAD_FORMAT, "%s came damaged: its SHA-256 is %s, where the source says %s; nothing was kept, pull "
		                                     "again", file->name, hex, file->sha256);
	}
	if (pread(fd, magic, 4, 0) != 4 || memcmp(magic, "GGUF", 4) != 0) {
		discard(job, file);
		return hth_fail(err, HTH_BAD_FORMAT, "what came as %s is no GGUF file; nothing was kept", file->name);
	}
	if (fsync(fd) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot write %s", path);
	memcpy(file->sha256, hex, sizeof hex);
	file->bytes = s.at;
	if (s.head.etag[0] != '\0' && file->etag[0] == '\0')
		memcpy(file->etag, s.head.etag, sizeof file->etag);
	return HTH_OK;
}

/* ---- a file of this machine ---- */

hth_status hth_job_copy(hth_pull_job *job, hth_planned_file *file, hth_error *err)
{
	char path[4600], magic[4] = "";
	HTH_AUTO_CLOSE int from = open(file->url, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (from < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot open %.300s", file->url);
	if (pread(from, magic, 4, 0) != 4 || memcmp(magic, "GGUF", 4) != 0)
		return hth_fail(err, HTH_BAD_FORMAT, "%.300s is no GGUF file", file->url);
	hth_job_path(job, file, ".partial", path);
	discard(job, file);
	HTH_AUTO_CLOSE int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (to < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot write %s", path);
	if (ioctl(to, FICLONE, from) == 0)
		return HTH_OK;
	unlink(path);
	if (link(file->url, path) == 0)
		return HTH_OK;
	HTH_AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	HTH_AUTO_FREE char *block = malloc(BLOCK);
	if (fd < 0 || block == NULL)
		return hth_fail_errno(err, HTH_IO, errno, "cannot write %s", path);
	hth_status status = hth_job_room(job, file->bytes, err);
	sink s = {.job = job, .file = file, .fd = fd, .err = err};
	while (status == HTH_OK) {
		ssize_t n = read(from, block, BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			status = hth_fail_errno(err, HTH_IO, errno, "cannot read %.300s", file->url);
		if (n <= 0)
			break;
		status = write_all(&s, block, (size_t)n);
		s.at += (size_t)n;
		job->downloaded += (uint64_t)n;
		hth_job_tell(job, HTH_PULL_DOWNLOADING, file, s.at, false);
		if (status == HTH_OK && hth_job_cancelled(job))
			status = hth_fail(err, HTH_CANCELLED, "stopped");
	}
	if (status == HTH_OK && fsync(fd) != 0)
		status = hth_fail_errno(err, HTH_IO, errno, "cannot write %s", path);
	if (status == HTH_OK && s.at != file->bytes)
		status = hth_fail(err, HTH_IO, "%.300s changed while it was copied", file->url);
	if (status != HTH_OK)
		discard(job, file);
	return status;
}
