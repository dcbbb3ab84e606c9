/* street-state.c - what a home keeps of its neighbourhood on disk: one file, written whole under another name, synced, and put in its
 * place.
 *
 *   label text | n u16, charters as blobs, those that are followed first | n u16, proposals as blobs | book blob | n u16, trusted ids | n
 *   u8, hubs: home 32, address text, fingerprint 32, certificate blob | own hub: address text, external bool, fingerprint 32 | n u8, doors:
 *   key 32, inviter 32, expires u64, closes u64
 *
 * It holds no secret: invitations are kept as hashes, the doors' keys are public halves.
 */
#include "street/street-internal.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static const char label[] = "hearth street 2";

typedef struct writing {
	hth_buf *out, charter;
	unsigned n;
} writing;

static void put_charter(void *ctx, const hth_charter *charter, bool bridge)
{
	writing *w = ctx;
	(void)bridge;
	hth_buf_clear(&w->charter);
	hth_charter_encode(charter, &w->charter);
	hth_canon_put_blob(w->out, w->charter.data, w->charter.len);
	w->out->failed |= w->charter.failed;
	w->n++;
}

static void encode(hth_street *s, hth_buf *out)
{
	writing w = {.out = out, .charter = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX)};
	hth_canon_put_text(out, label);
	size_t at = out->len;
	hth_canon_put_u16(out, 0);
	hth_membership_each(s->membership, put_charter, &w);
	if (!out->failed) {
		out->data[at] = (char)(w.n & 0xFF);
		out->data[at + 1] = (char)(w.n >> 8);
	}
	size_t n = hth_membership_proposal_count(s->membership);
	hth_canon_put_u16(out, (uint16_t)n);
	for (size_t i = 0; i < n; i++)
		put_charter(&w, hth_membership_proposal(s->membership, i), false);
	hth_buf_finish(&w.charter);
	hth_buf book = HTH_BUF_INIT(64 << 10);
	hth_invitation_book_encode(s->book, &book);
	out->failed |= book.failed;
	hth_canon_put_blob(out, book.data, book.len);
	hth_buf_finish(&book);
	hth_canon_put_u16(out, (uint16_t)s->n_trust);
	for (size_t i = 0; i < s->n_trust; i++)
		hth_canon_put_bytes(out, s->trust[i].bytes, 32);
	hth_canon_put_u8(out, (uint8_t)s->n_hubs);
	for (size_t i = 0; i < s->n_hubs; i++) {
		hth_canon_put_bytes(out, s->hubs[i].home.bytes, 32);
		hth_canon_put_text(out, s->hubs[i].address);
		hth_canon_put_bytes(out, s->hubs[i].fingerprint, HTH_FINGERPRINT_BYTES);
		hth_canon_put_blob(out, s->hubs[i].certificate, s->hubs[i].certificate_len);
	}
	hth_canon_put_text(out, s->hub_address);
	hth_canon_put_bool(out, s->hub_external);
	hth_canon_put_bytes(out, s->hub_fingerprint, HTH_FINGERPRINT_BYTES);
	hth_canon_put_u8(out, (uint8_t)s->n_doors);
	for (size_t i = 0; i < s->n_doors; i++) {
		hth_canon_put_bytes(out, s->doors[i].key, 32);
		hth_canon_put_bytes(out, s->doors[i].inviter.bytes, 32);
		hth_canon_put_u64(out, s->doors[i].expires_ms);
		hth_canon_put_u64(out, s->doors[i].closes_ms);
	}
}

hth_status street_save(hth_street *s, hth_error *err)
{
	char path[4096], temporary[4096];
	if (s->leaving) /* what is on disk is gone already */
		return HTH_OK;
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(STREET_STATE_MAX);
	encode(s, &out);
	HTH_TRY(hth_buf_check(&out, "the neighbourhood's record", err));
	snprintf(path, sizeof path, "%s/street/state", s->home);
	snprintf(temporary, sizeof temporary, "%s/street/state.new", s->home);
	unlink(temporary);
	HTH_AUTO_CLOSE int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", temporary);
	for (size_t at = 0; at < out.len;) {
		ssize_t n = write(fd, out.data + at, out.len - at);
		if (n <= 0 && errno != EINTR) {
			int e = n == 0 ? ENOSPC : errno;
			unlink(temporary);
			return hth_fail_errno(err, HTH_IO, e, "cannot write %s", temporary);
		}
		at += n > 0 ? (size_t)n : 0;
	}
	if (fsync(fd) != 0 || rename(temporary, path) != 0) {
		int e = errno;
		unlink(temporary);
		return hth_fail_errno(err, HTH_IO, e, "cannot write %s", path);
	}
	snprintf(path, sizeof path, "%s/street", s->home);
	HTH_AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir >= 0 && fsync(dir) == 0 ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot write %s durably", path);
}

void street_erase(hth_street *s)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/street/state", s->home);
	unlink(path);
	snprintf(path, sizeof path, "%s/street", s->home);
	HTH_AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		(void)!fsync(dir);
}

/* The charters in their order, through the same door as at any other time. */
static hth_status read_charters(hth_street *s, hth_canon_reader *r, hth_error *err)
{
	for (int list = 0; list < 2; list++) {
		size_t n = hth_canon_get_u16(r);
		for (size_t i = 0; i < n && !r->failed; i++) {
			size_t len;
			hth_charter *charter;
			hth_charter_outcome outcome;
			const unsigned char *bytes = hth_canon_get_blob(r, HTH_CHARTER_BYTES_MAX, &len);
			if (r->failed)
				break;
			HTH_TRY(hth_charter_decode(&charter, bytes, len, err));
			hth_status status = hth_membership_charter(s->membership) == NULL
			    ? hth_membership_adopt(s->membership, charter, err)
			                                                                  : hth_membership_bridge(s->membership, charter,
			                                                                      &outcome, err);
			hth_charter_unref(charter);
			if (status != HTH_OK && list == 0)
				return status;
		}
	}
	return HTH_OK;
}

static hth_status decode(hth_street *s, const void *bytes, size_t len, hth_error *err)
{
	char what[sizeof label];
	size_t blob_len;
	hth_canon_reader r = hth_canon_read(bytes, len);
	hth_canon_get_text(&r, what, sizeof what);
	if (strcmp(what, label) != 0)
		return hth_fail(err, HTH_BAD_FORMAT, "it is not the record of a neighbourhood, or a newer program's");
	HTH_TRY(read_charters(s, &r, err));
	const unsigned char *book = hth_canon_get_blob(&r, 64 << 10, &blob_len);
	if (!r.failed)
		HTH_TRY(hth_invitation_book_decode(&s->book, book, blob_len, err));
	size_t n = hth_canon_get_u16(&r);
	s->trust = hth_alloc_array(n + 1, sizeof *s->trust);
	if (s->trust == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the neighbourhood");
	for (; s->n_trust < n && !r.failed; s->n_trust++)
		hth_canon_get_bytes(&r, s->trust[s->n_trust].bytes, 32);
	n = hth_canon_get_u8(&r);
	for (size_t i = 0; i < n && n <= STREET_HUBS_MAX; i++) {
		street_hub *h = &s->hubs[s->n_hubs++];
		hth_canon_get_bytes(&r, h->home.bytes, 32);
		hth_canon_get_text(&r, h->address, sizeof h->address);
		hth_canon_get_bytes(&r, h->fingerprint, HTH_FINGERPRINT_BYTES);
		const unsigned char *der = hth_canon_get_blob(&r, HTH_HUB_CERTIFICATE_MAX, &h->certificate_len);
		if (h->certificate_len > 0)
			memcpy(h->certificate, der, h->certificate_len);
	}
	hth_canon_get_text(&r, s->hub_address, sizeof s->hub_address);
	s->hub_external = hth_canon_get_bool(&r);
	hth_canon_get_bytes(&r, s->hub_fingerprint, HTH_FINGERPRINT_BYTES);
	n = hth_canon_get_u8(&r);
	for (size_t i = 0; i < n && n <= STREET_DOORS_MAX; i++) {
		street_door *d = &s->doors[s->n_doors++];
		hth_canon_get_bytes(&r, d->key, 32);
		hth_canon_get_bytes(&r, d->inviter.bytes, 32);
		d->expires_ms = hth_canon_get_u64(&r);
		d->closes_ms = hth_canon_get_u64(&r);
	}
	return hth_canon_end(&r) ? HTH_OK : hth_fail(err, HTH_BAD_FORMAT, "it is damaged");
}

hth_status street_load(hth_street *s, hth_error *err)
{
	char path[4096];
	struct stat st;
	snprintf(path, sizeof path, "%s/street/state", s->home);
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return HTH_OK;
	if (fd < 0 || fstat(fd, &st) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot open %s", path);
	if (st.st_size > STREET_STATE_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "%s is larger than it can be", path);
	HTH_AUTO_FREE char *bytes = malloc((size_t)st.st_size + 1);
	if (bytes == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the neighbourhood");
	size_t len = 0;
	for (ssize_t n; len < (size_t)st.st_size && (n = read(fd, bytes + len, (size_t)st.st_size - len)) > 0;)
		len += (size_t)n;
	if (decode(s, bytes, len, err) != HTH_OK) {
		hth_error why = *err;
		return hth_fail(err, why.status, "%s cannot be read (%.200s): restore it from a backup, or move it away and join your "
		                                 "neighbourhood anew", path,
		                why.message);
	}
	return HTH_OK;
}
