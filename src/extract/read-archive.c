/* read-archive.c - archives: every member is a part of its own kind. Bounded in members, depth, bytes and ratio (zip.c). Child only. */
#include "base/mem.h"
#include "extract/readers.h"
#include "extract/unpack.h"
#include "extract/zip.h"

#include <sys/stat.h>

/* "report.txt.gz" holds "report.txt"; "x.tgz" is no such case. */
static void name_inside(const char *name, char *out, size_t cap)
{
	const char *slash = strrchr(name, '/');
	snprintf(out, cap, "%s", slash != NULL ? slash + 1 : name);
	char *dot = strrchr(out, '.');
	if (dot != NULL && dot != out)
		*dot = '\0';
}

static bool read_member(hth_tell *tell, struct archive *a, struct archive_entry *entry, const hth_source *source, hth_verdict *verdict)
{
	char inside[256];
	const char *name = hth_unpack_name(entry);
	if (archive_format(a) == ARCHIVE_FORMAT_RAW) {
		name_inside(source->name, inside, sizeof inside);
		name = inside;
	}
	char *kept = strdup(name); /* the entry's own goes with the next header */
	if (kept == NULL || !hth_tell_part_begin(tell, kept, verdict)) {
		free(kept);
		return false;
	}
	hth_verdict inner = {.state = HTH_EXTRACT_TEXT};
	hth_buf bytes = HTH_BUF_INIT(HTH_MEMBER_MAX);
	bool go_on = true;
	hth_unpacked how = archive_entry_is_encrypted(entry) ? HTH_UNPACKED_DAMAGED : hth_unpack_member(a, tell, source->len, &bytes);
	if (archive_entry_is_encrypted(entry)) {
		hth_verdict_unreadable(&inner, "encrypted: needs a password");
	} else if (how == HTH_UNPACKED_TOO_LARGE) {
		hth_verdict_unreadable(&inner, "too large: over %d MiB when it is unpacked", HTH_MEMBER_MAX >> 20);
	} else if (how == HTH_UNPACKED_BOMB) {
		hth_verdict_unreadable(&inner, "too large: it grows far beyond its archive when it is unpacked");
		hth_verdict_partial(verdict, "grows to more than may be unpacked; what came after was not read");
		go_on = false;
	} else if (how != HTH_UNPACKED_OK && bytes.len == 0) {
		hth_verdict_unreadable(&inner, "damaged: cannot be unpacked");
	} else {
		hth_source member = {.fd = -1, .bytes = bytes.data != NULL ? bytes.data : "", .len = bytes.len, .name = kept};
		hth_read_source(tell, &member, &inner);
		if (how != HTH_UNPACKED_OK)
			hth_verdict_partial(&inner, "damaged: only a part could be unpacked");
	}
	hth_buf_finish(&bytes);
	hth_tell_part_end(tell, &inner);
	free(kept);
	return go_on && !tell->full;
}

void hth_read_archive(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_ARCHIVE});
	struct archive *a = hth_unpack_open(source, true);
	struct archive_entry *entry;
	size_t n = 0;
	int rc = a != NULL ? ARCHIVE_OK : ARCHIVE_FATAL;
	bool go_on = true;
	while (a != NULL && go_on && ((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN)) {
		/* no compression that is known: nothing to unpack */
		if (archive_format(a) == ARCHIVE_FORMAT_RAW && archive_filter_count(a) <= 1) {
			rc = ARCHIVE_FATAL;
			break;
		}
		n++;
		if (archive_entry_filetype(entry) == S_IFREG || archive_format(a) == ARCHIVE_FORMAT_RAW)
			go_on = read_member(tell, a, entry, source, verdict);
		if (archive_format(a) == ARCHIVE_FORMAT_RAW)
			break;
	}
	const char *why = a != NULL && rc == ARCHIVE_FATAL ? archive_error_string(a) : NULL;
	bool locked = a != NULL && archive_read_has_encrypted_entries(a) == 1;
	if (rc == ARCHIVE_FATAL && n == 0)
		hth_verdict_unreadable(verdict, locked ? "encrypted: needs a password" : "damaged: not a whole archive (%.150s)",
		                       why != NULL ? why : "it cannot be opened");
	else if (rc == ARCHIVE_FATAL)
		hth_verdict_partial(verdict, "damaged: only its first %zu members can be read", n);
	archive_read_free(a);
}
