/* blobs.c - weights that a client sends along for `create`: HEAD and POST /api/blobs/sha256:HEX, as Ollama's clients do
 * it.
 *
 * The body goes to models/.pull/ as it comes, hashed on the way, and becomes a blob by a rename when it is whole and is
 * what its name says. The next create that names it takes it away. A blob that nobody takes within a day goes when the
 * node starts. Who may send one is asked before its first byte is taken. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

enum { UPLOADS_MAX = 4, KEPT_S = 86400 };
static const uint64_t SPARE = 64u << 20; /* room left on the disk, as a pull leaves it */
static const char prefix[] = "/api/blobs/sha256:";

typedef struct upload {
	hth_holder holder; /* first: it is the exchange's user */
	hth_node *node;
	int fd;
	char hex[65], part[PATH_MAX + 128];
	crypto_hash_sha256_state sha;
	hth_error error; /* of the disk */
} upload;

bool hth_blobs_path(const hth_node *node, const char *digest, char *out, size_t out_len)
{
	if (strncmp(digest, "sha256:", 7) != 0 || strlen(digest) != 71 || strspn(digest + 7, "0123456789abcdef") != 64)
		return false;
	return (size_t)snprintf(out, out_len, "%s/models/.pull/sha256-%s", node->config->home, digest + 7) < out_len;
}

static void free_upload(upload *u, bool keep)
{
	if (u->fd >= 0)
		close(u->fd);
	if (!keep)
		unlink(u->part);
	u->node->n_uploads--;
	free(u);
}

static void on_gone(hth_holder *holder)
{
	upload *u = (upload *)holder;
	hth_log(HTH_LOG_INFO, "POST /api/blobs broke off%s%s", u->error.message[0] != '\0' ? ": " : "",
	        u->error.message);
	free_upload(u, false);
}

static bool take(void *ctx, const void *data, size_t len)
{
	upload *u = ctx;
	crypto_hash_sha256_update(&u->sha, data, len);
	for (const char *at = data; len > 0;) {
		ssize_t n = write(u->fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			hth_fail_errno(&u->error, HTH_IO, errno, "cannot write %s", u->part);
			return false;
		}
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* What is there of it already, and what the disk has room for. */
static hth_status begin(hth_node *node, hth_exchange *exchange, upload **ret_upload, hth_error *err)
{
	const char *path = hth_exchange_path(exchange), *length = hth_exchange_header(exchange, "Content-Length");
	char blob[PATH_MAX + 128], folder[PATH_MAX + 64];
	struct statvfs disk;
	if (!hth_blobs_path(node, path + sizeof "/api/blobs/" - 1, blob, sizeof blob))
		return hth_fail(err, HTH_INVALID, "a blob's name is sha256: and 64 hex digits");
	if (node->n_uploads >= UPLOADS_MAX)
		return hth_fail(err, HTH_BUSY, "%d uploads run already; try again when one has ended", UPLOADS_MAX);
	snprintf(folder, sizeof folder, "%s/models", node->config->home);
	(void)!mkdir(folder, 0755);
	snprintf(folder, sizeof folder, "%s/models/.pull", node->config->home);
	if (mkdir(folder, 0755) != 0 && errno != EEXIST)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	unsigned long long bytes = length != NULL ? strtoull(length, NULL, 10) : 0;
	if (statvfs(folder, &disk) == 0 &&
	    (bytes > UINT64_MAX - SPARE || bytes + SPARE > (uint64_t)disk.f_bavail * disk.f_frsize))
		return hth_fail(err, HTH_IO, "the blob has %llu bytes, more than the disk of %s has room for", bytes,
		                folder);
	upload *u = calloc(1, sizeof *u);
	if (u == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for an upload");
	u->holder.gone = on_gone;
	u->node = node;
	snprintf(u->hex, sizeof u->hex, "%s", path + sizeof prefix - 1);
	snprintf(u->part, sizeof u->part, "%s/upload-%08x.partial", folder, (unsigned)randombytes_random());
	crypto_hash_sha256_init(&u->sha);
	node->n_uploads++;
	u->fd = open(u->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (u->fd < 0) {
		hth_status status = hth_fail_errno(err, HTH_IO, errno, "cannot make %s", u->part);
		free_upload(u, false);
		return status;
	}
	*ret_upload = u;
	return HTH_OK;
}

static const hth_api_endpoint *shape(void)
{
	const char *allow;
	return hth_api_find("POST", "/api/create", &allow);
}

void hth_blobs_headers(void *ctx, hth_exchange *exchange)
{
	hth_node *node = ctx;
	hth_error err = HTH_ERROR_INIT;
	hth_caller caller;
	upload *u;
	hth_exchange_set_user(exchange, NULL);
	if (strcmp(hth_exchange_method(exchange), "POST") != 0 ||
	    strncmp(hth_exchange_path(exchange), prefix, sizeof prefix - 1) != 0)
		return;
	if (hth_guard_check(node, exchange, &caller, &err) != HTH_OK) {
		node->metrics.denied++;
		hth_keys_refuse(exchange, shape(), &caller, &err);
	} else if (begin(node, exchange, &u, &err) != HTH_OK) {
		hth_pages_error(exchange, shape(), &err);
	} else {
		hth_exchange_set_user(exchange, &u->holder);
		hth_exchange_set_sink(exchange, take, u);
	}
}

bool hth_blobs_end(hth_node *node, hth_exchange *exchange)
{
	hth_holder *holder = hth_exchange_user(exchange);
	if (holder == NULL || holder->gone != on_gone)
		return false;
	upload *u = (upload *)holder;
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[65], digest[80], blob[PATH_MAX + 128];
	hth_error err = HTH_ERROR_INIT;
	hth_exchange_set_user(exchange, NULL);
	crypto_hash_sha256_final(&u->sha, hash);
	sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
	snprintf(digest, sizeof digest, "sha256:%s", u->hex);
	bool whole = strcmp(hex, u->hex) == 0;
	if (!whole)
		hth_fail(&err, HTH_INVALID, "what came has the SHA-256 %s, not the one that its name says", hex);
	else if (!hth_blobs_path(node, digest, blob, sizeof blob) || rename(u->part, blob) != 0)
		hth_fail_errno(&err, HTH_IO, errno, "cannot keep the blob");
	free_upload(u, err.status == HTH_OK);
	if (err.status == HTH_OK)
		hth_exchange_reply(exchange, 201, NULL, "", 0);
	else
		hth_pages_error(exchange, shape(), &err);
	return true;
}

/* HEAD: 200 or 404 tells a client whether to send it. False: it is no such path. */
bool hth_blobs_look(hth_node *node, hth_exchange *exchange)
{
	const char *path = hth_exchange_path(exchange), *method = hth_exchange_method(exchange);
	char blob[PATH_MAX + 128];
	hth_error err;
	if (strncmp(path, prefix, sizeof prefix - 1) != 0)
		return false;
	if (strcmp(method, "HEAD") != 0 && strcmp(method, "GET") != 0) {
		if (strcmp(method, "POST") != 0) {
			hth_pages_wrong_method(exchange, "HEAD, POST");
			return true;
		}
		hth_fail(&err, HTH_INVALID, "the blob has no body"); /* else it would have gone to the sink */
	} else if (hth_blobs_path(node, path + sizeof "/api/blobs/" - 1, blob, sizeof blob) &&
	           access(blob, F_OK) == 0) {
		hth_exchange_reply(exchange, 200, NULL, "", 0);
		return true;
	} else {
		hth_fail(&err, HTH_NOT_FOUND, "there is no such blob");
	}
	hth_pages_error(exchange, shape(), &err);
	return true;
}

void hth_blobs_clean(const hth_node *node)
{
	char folder[PATH_MAX + 64], path[PATH_MAX + NAME_MAX + 80];
	snprintf(folder, sizeof folder, "%s/models/.pull", node->config->home);
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		struct stat st;
		if (strncmp(e->d_name, "sha256-", 7) != 0 && strncmp(e->d_name, "upload-", 7) != 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && time(NULL) - st.st_mtime > KEPT_S)
			unlink(path);
	}
	if (dir != NULL)
		closedir(dir);
}
