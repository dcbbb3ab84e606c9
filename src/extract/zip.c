/* zip.c - archives through libarchive: opening, loading members within limits, what kind of office file a zip is. See zip.h.
 *
 * Against bombs three limits: of one member, of all that a job expands, and of the ratio (a member may grow a thousandfold only while
 * it is small). libarchive's filters that would start other programs cannot: the sandbox forbids it.
 */
#include "extract/zip.h"

#include "base/mem.h"
#include "extract/unpack.h"

#include <errno.h>

enum { CHUNK = 128 << 10, RATIO_MAX = 1000, RATIO_FREE = 16 << 20, SNIFF_MEMBERS = 200 };

/* ---- libarchive reads from a source ---- */

typedef struct feed {
	const hth_source *source;
	uint64_t at;
	char bytes[CHUNK];
} feed;

static la_ssize_t on_read(struct archive *a, void *data, const void **ret)
{
	(void)a;
	feed *f = data;
	size_t n = hth_source_peek(f->source, f->at, f->bytes, sizeof f->bytes);
	f->at += n;
	*ret = f->bytes;
	return (la_ssize_t)n;
}

static la_int64_t on_seek(struct archive *a, void *data, la_int64_t offset, int whence)
{
	(void)a;
	feed *f = data;
	int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (int64_t)f->at : (int64_t)f->source->len;
	if (base + offset < 0)
		return ARCHIVE_FATAL;
	f->at = (uint64_t)(base + offset);
	return (la_int64_t)f->at;
}

static la_int64_t on_skip(struct archive *a, void *data, la_int64_t request)
{
	(void)a;
	feed *f = data;
	uint64_t left = f->source->len - HTH_MIN(f->at, f->source->len);
	uint64_t n = request < 0 ? 0 : HTH_MIN((uint64_t)request, left);
	f->at += n;
	return (la_int64_t)n;
}

static int on_close(struct archive *a, void *data)
{
	(void)a;
	free(data);
	return ARCHIVE_OK;
}

struct archive *hth_unpack_open(const hth_source *source, bool any)
{
	struct archive *a = archive_read_new();
	feed *f = calloc(1, sizeof *f);
	if (a == NULL || f == NULL) {
		free(f);
		archive_read_free(a);
		return NULL;
	}
	f->source = source;
	if (any) {
		archive_read_support_filter_all(a);
		archive_read_support_format_all(a);
		archive_read_support_format_raw(a); /* x.gz that holds one file */
	} else {
		archive_read_support_format_zip(a);
	}
	archive_read_set_read_callback(a, on_read);
	archive_read_set_seek_callback(a, on_seek);
	archive_read_set_skip_callback(a, on_skip);
	archive_read_set_close_callback(a, on_close);
	archive_read_set_callback_data(a, f);
	if (archive_read_open1(a) != ARCHIVE_OK) {
		archive_read_free(a); /* closes, too */
		return NULL;
	}
	return a;
}

const char *hth_unpack_name(struct archive_entry *entry)
{
	const char *name = archive_entry_pathname_utf8(entry);
	if (name == NULL)
		name = archive_entry_pathname(entry);
	return name != NULL ? name : "";
}

hth_unpacked hth_unpack_member(struct archive *a, hth_tell *tell, uint64_t packed_len, hth_buf *out)
{
	hth_buf_clear(out);
	for (;;) {
		char *room = hth_buf_reserve(out, CHUNK);
		if (room == NULL)
			return out->len + CHUNK > out->max ? HTH_UNPACKED_TOO_LARGE : HTH_UNPACKED_NO_MEMORY;
		la_ssize_t n = archive_read_data(a, room, CHUNK);
		if (n < 0)
			return n == ARCHIVE_RETRY ? HTH_UNPACKED_DAMAGED : archive_errno(a) == ENOMEM ? HTH_UNPACKED_NO_MEMORY
			    : HTH_UNPACKED_DAMAGED;
		if (n == 0)
			break;
		out->len += (size_t)n;
		tell->expanded += (uint64_t)n;
		if (tell->expanded > HTH_EXPANDED_MAX || (out->len > RATIO_FREE && out->len / RATIO_MAX > packed_len))
			return HTH_UNPACKED_BOMB;
	}
	hth_buf_append(out, "", 0);
	return HTH_UNPACKED_OK;
}

/* ---- office files ---- */

bool hth_members_load(hth_members *ret, hth_tell *tell, hth_source *source, bool (*want)(const char *name), hth_verdict *verdict)
{
	*ret = (hth_members){0};
	struct archive *a = hth_unpack_open(source, false);
	if (a == NULL) {
		hth_verdict_unreadable(verdict, "damaged: not a whole zip file");
		return false;
	}
	struct archive_entry *entry;
	int rc = ARCHIVE_OK;
	bool ok = true;
	while (ok && ret->n < HTH_MEMBERS_MAX && ((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN)) {
		const char *name = hth_unpack_name(entry);
		if (!want(name))
			continue;
		if (ret->n % 64 == 0) {
			hth_member *grown = realloc(ret->list, (ret->n + 64) * sizeof *grown);
			if (grown == NULL)
				break;
			ret->list = grown;
		}
		hth_member *m = &ret->list[ret->n];
		*m = (hth_member){.name = strdup(name)};
		if (m->name == NULL)
			break;
		ret->n++;
		if (archive_entry_is_encrypted(entry)) {
			ret->encrypted = true;
			continue;
		}
		hth_buf bytes = HTH_BUF_INIT(HTH_MEMBER_MAX);
		hth_unpacked how = hth_unpack_member(a, tell, source->len, &bytes);
		if (how == HTH_UNPACKED_BOMB || how == HTH_UNPACKED_TOO_LARGE) {
			hth_verdict_unreadable(verdict, "too large: it grows to more than %d MiB when it is unpacked",
			                       how == HTH_UNPACKED_BOMB ? (int)HTH_MIN(tell->expanded >> 20, HTH_EXPANDED_MAX >> 20)
			                                                : HTH_MEMBER_MAX >> 20);
			ok = false;
		}
		ret->damaged = ret->damaged || how == HTH_UNPACKED_DAMAGED;
		if (ok && how != HTH_UNPACKED_NO_MEMORY && bytes.len > 0)
			m->bytes = hth_buf_steal(&bytes, &m->len);
		hth_buf_finish(&bytes);
	}
	ret->damaged = ret->damaged || rc == ARCHIVE_FATAL;
	archive_read_free(a);
	if (!ok)
		hth_members_finish(ret);
	return ok;
}

const hth_member *hth_members_find(const hth_members *members, const char *name)
{
	while (*name == '/')
		name++;
	for (size_t i = 0; i < members->n; i++)
		if (strcmp(members->list[i].name, name) == 0 && members->list[i].bytes != NULL)
			return &members->list[i];
	return NULL;
}

void hth_members_finish(hth_members *members)
{
	for (size_t i = 0; i < members->n; i++) {
		free(members->list[i].name);
		free(members->list[i].bytes);
	}
	free(members->list);
	*members = (hth_members){0};
}

static hth_extract_kind kind_of_mimetype(const char *type)
{
	static const struct {
		const char *type;
		hth_extract_kind kind;
	} rows[] = {{"application/vnd.oasis.opendocument.text", HTH_KIND_ODT},
	            {"application/vnd.oasis.opendocument.spreadsheet", HTH_KIND_ODS},
	            {"application/vnd.oasis.opendocument.presentation", HTH_KIND_ODP},
	            {"application/vnd.oasis.opendocument.graphics", HTH_KIND_ODP},
	            {"application/vnd.sun.xml.writer", HTH_KIND_ODT}, {"application/vnd.sun.xml.calc", HTH_KIND_ODS},
	            {"application/vnd.sun.xml.impress", HTH_KIND_ODP}, {"application/epub+zip", HTH_KIND_EPUB}};
	for (size_t i = 0; i < HTH_COUNT(rows); i++)
		if (strncmp(type, rows[i].type, strlen(rows[i].type)) == 0)
			return rows[i].kind;
	return HTH_KIND_ARCHIVE;
}

hth_extract_kind hth_zip_kind(const hth_source *source)
{
	struct archive *a = hth_unpack_open(source, false);
	struct archive_entry *entry;
	hth_extract_kind kind = HTH_KIND_ARCHIVE;
	for (int i = 0, rc; a != NULL && kind == HTH_KIND_ARCHIVE && i < SNIFF_MEMBERS &&
	                    ((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN);
	     i++) {
		const char *name = hth_unpack_name(entry);
		while (*name == '/')
			name++;
		if (strcmp(name, "mimetype") == 0) {
			char type[80] = "";
			la_ssize_t n = archive_read_data(a, type, sizeof type - 1);
			type[n > 0 ? n : 0] = '\0';
			kind = kind_of_mimetype(type);
		} else if (strcmp(name, "word/document.xml") == 0 || strcmp(name, "word/document2.xml") == 0) {
			kind = HTH_KIND_DOCX;
		} else if (strcmp(name, "xl/workbook.xml") == 0) {
			kind = HTH_KIND_XLSX;
		} else if (strcmp(name, "ppt/presentation.xml") == 0) {
			kind = HTH_KIND_PPTX;
		} else if (strcmp(name, "META-INF/container.xml") == 0) {
			kind = HTH_KIND_EPUB;
		}
	}
	archive_read_free(a);
	return kind;
}
