/* file-uploads.c - POST /v1/files: the body goes to $HEARTH_HOME/files as it comes, and is taken apart when it is whole. Who sends it, how
 * much and whether the disk has room is asked before its first byte is taken. Thread: the loop's, but for upload_keep.
 */
#include "node/store-call.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { UPLOADS_AT_ONCE = 4, FORM_MAX = 1 << 20 };
static const uint64_t SPARE = 64u << 20; /* room left on the disk */

/* --- the call's thread --- */

typedef struct form {
	const store_call *c;
	const uint8_t *map;
	char purpose[64], name[HTH_MULTIPART_NAME_MAX + 1];
	bool has_file;
	size_t at, len; /* of the file, in the body */
} form;

static hth_status take_part(void *ctx, const hth_multipart_part *part, hth_error *err)
{
	form *f = ctx;
	if (strcmp(part->name, "purpose") == 0) {
		if (part->len >= sizeof f->purpose)
			return hth_fail_param(err, HTH_INVALID, "purpose", "the purpose is too long");
		memcpy(f->purpose, part->data, part->len);
		f->purpose[part->len] = '\0';
	} else if (strcmp(part->name, "file") == 0 && part->filename != NULL) {
		if (f->has_file)
			return hth_fail_param(err, HTH_INVALID, "file", "one file at a time");
		f->has_file = true;
		const char *base = strrchr(part->filename, '/');
		snprintf(f->name, sizeof f->name, "%s", base != NULL && base[1] != '\0' ? base + 1 : part->filename);
		f->at = (size_t)(part->data - (const char *)f->map);
		f->len = part->len;
	}
	return HTH_OK;
}

static hth_status copy_file(const form *f, const char *path, hth_error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	hth_status status = HTH_OK;
	for (size_t done = 0; done < f->len && status == HTH_OK;) {
		ssize_t n = write(fd, f->map + f->at + done, HTH_MIN(f->len - done, (size_t)1 << 20));
		if (n < 0 && errno != EINTR)
			status = hth_fail_errno(err, HTH_IO, errno, "cannot keep the file");
		done += n > 0 ? (size_t)n : 0;
	}
	if (status == HTH_OK && fsync(fd) != 0)
		status = hth_fail_errno(err, HTH_IO, errno, "cannot keep the file");
	close(fd);
	return status;
}

hth_status upload_keep(store_call *c, hth_error *err)
{
	char path[4300];
	form f = {.c = c};
	void *map = c->bytes > 0 ? mmap(NULL, c->bytes, PROT_READ, MAP_PRIVATE, c->fd, 0) : MAP_FAILED;
	if (map == MAP_FAILED)
		return hth_fail_param(err, HTH_INVALID, "file", "the body is empty; it must be a form with a file and a purpose");
	f.map = map;
	hth_status status = hth_multipart_read(map, c->bytes, c->boundary, take_part, &f, err);
	if (status == HTH_OK && !f.has_file)
		status = hth_fail_param(err, HTH_INVALID, "file", "file is missing: a part of the form with a file name");
	if (status == HTH_OK && f.purpose[0] == '\0')
		status = hth_fail_param(err, HTH_INVALID, "purpose", "purpose is missing");
	snprintf(path, sizeof path, "%s.file", c->spool);
	if (status == HTH_OK)
		status = copy_file(&f, path, err);
	if (status == HTH_OK)
		status = hth_uploads_put(c->all->node->config->home, path, f.name, f.purpose, &c->answer, err);
	(void)unlink(path); /* where it was not taken */
	munmap(map, c->bytes);
	return status;
}

/* --- receiving --- */

static bool receive(void *ctx, const void *data, size_t len)
{
	store_call *c = ctx;
	if (c->bytes + len > HTH_UPLOAD_BYTES_MAX + FORM_MAX)
		return false;
	for (const char *at = data; len > 0;) {
		ssize_t n = write(c->fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
		c->bytes += (uint64_t)n;
	}
	return true;
}

static hth_status begin_upload(hth_stores *all, hth_exchange *exchange, store_call **ret_call, hth_error *err)
{
	char folder[4100], boundary[HTH_MULTIPART_BOUNDARY_MAX + 1];
	const char *length = hth_exchange_header(exchange, "Content-Length");
	unsigned long long bytes = length != NULL ? strtoull(length, NULL, 10) : 0;
	struct statvfs disk;
	size_t others = 0;
	for (const store_call *c = all->calls; c != NULL; c = c->next)
		others += c->receiving;
	if (others >= UPLOADS_AT_ONCE)
		return hth_fail(err, HTH_BUSY, "%d files are being sent already; try again when one has ended", UPLOADS_AT_ONCE);
	if (!hth_multipart_boundary(hth_exchange_header(exchange, "Content-Type"), boundary))
		return hth_fail_param(err, HTH_INVALID, "file", "a file is sent as multipart/form-data, with the parts file and purpose");
	if (bytes > HTH_UPLOAD_BYTES_MAX + FORM_MAX)
		return hth_fail_param(err, HTH_INVALID, "file", "a file has at most %llu MiB",
		                      (unsigned long long)(HTH_UPLOAD_BYTES_MAX >> 20));
	HTH_TRY(hth_uploads_folder(all->node->config->home, folder, sizeof folder, err));
	if (statvfs(folder, &disk) == 0 && 2 * bytes + SPARE > (uint64_t)disk.f_bavail * disk.f_frsize)
		return hth_fail(err, HTH_IO, "the disk of %s has no room for %llu bytes", folder, bytes);
	store_call *c = NULL;
	HTH_TRY(store_call_new(all, exchange, &c, err));
	c->receiving = true;
	memcpy(c->boundary, boundary, sizeof boundary);
	snprintf(c->spool, sizeof c->spool, "%s/.upload-%08x%08x", folder, randombytes_random(), randombytes_random());
	c->fd = open(c->spool, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->fd < 0) {
		hth_status status = hth_fail_errno(err, HTH_IO, errno, "cannot make %s", c->spool);
		hth_exchange_set_user(exchange, NULL);
		store_call_free(c);
		return status;
	}
	*ret_call = c;
	return HTH_OK;
}

bool hth_stores_headers(hth_node *node, hth_exchange *exchange)
{
	hth_error err = HTH_ERROR_INIT;
	hth_caller caller;
	store_call *c = NULL;
	if (strcmp(hth_exchange_method(exchange), "POST") != 0 || strcmp(hth_exchange_path(exchange), "/v1/files") != 0)
		return false;
	hth_exchange_set_user(exchange, NULL);
	if (hth_guard_check(node, exchange, &caller, &err) != HTH_OK) {
		node->metrics.denied++;
		hth_keys_refuse(exchange, NULL, &caller, &err);
	} else if (begin_upload(node->stores, exchange, &c, &err) != HTH_OK) {
		hth_pages_error(exchange, NULL, &err);
	} else {
		hth_exchange_set_sink(exchange, receive, c);
	}
	return true;
}

bool hth_stores_end(hth_node *node, hth_exchange *exchange)
{
	(void)node;
	hth_holder *holder = hth_exchange_user(exchange);
	if (holder == NULL || holder->gone != store_call_gone)
		return false;
	store_call *c = (store_call *)holder;
	store_call_begin(c);
	return true;
}
