/* unpack.h - libarchive on a source, for zip.c and read-archive.c. */
#ifndef HTH_EXTRACT_UNPACK_H
#define HTH_EXTRACT_UNPACK_H

#include "extract/tell.h"

#include <archive.h>
#include <archive_entry.h>

/* any: every format and compression; else zip only. NULL: it is none. The source must outlive it. */
struct archive *hth_unpack_open(const hth_source *source, bool any);
const char *hth_unpack_name(struct archive_entry *entry);

typedef enum hth_unpacked { HTH_UNPACKED_OK, HTH_UNPACKED_DAMAGED, HTH_UNPACKED_TOO_LARGE, HTH_UNPACKED_BOMB,
                            HTH_UNPACKED_NO_MEMORY } hth_unpacked;
/* The current member into out (its cap is the member's). packed_len: of the archive, for the ratio. */
hth_unpacked hth_unpack_member(struct archive *a, hth_tell *tell, uint64_t packed_len, hth_buf *out);

#endif
