/* zip.h - members of an archive, bounded against bombs; and the few members of an office file by name. Child only. libarchive reads. */
#ifndef HTH_EXTRACT_ZIP_H
#define HTH_EXTRACT_ZIP_H

#include "extract/tell.h"

enum { HTH_MEMBER_MAX = 64 << 20, HTH_MEMBERS_MAX = 4096 };
#define HTH_EXPANDED_MAX ((uint64_t)1 << 30) /* of one job, all archives in it together */

typedef struct hth_member {
	char *name;
	char *bytes; /* NUL after the end; NULL: could not be read */
	size_t len;
} hth_member;
typedef struct hth_members {
	hth_member *list;
	size_t n;
	bool encrypted, damaged;
} hth_members;
/* Loads the members for which want says yes, in the archive's order. False: the verdict says why (not an archive, a bomb). */
bool hth_members_load(hth_members *ret_members, hth_tell *tell, hth_source *source, bool (*want)(const char *name), hth_verdict *verdict);
const hth_member *hth_members_find(const hth_members *members, const char *name); /* NULL: not there, or without bytes */
void hth_members_finish(hth_members *members);

/* What a zip file is by its members: DOCX, ..., EPUB, or ARCHIVE. */
hth_extract_kind hth_zip_kind(const hth_source *source);

#endif
