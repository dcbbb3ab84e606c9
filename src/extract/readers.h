/* readers.h - one reader per kind of file. Each reads the source as the open part; see tell.h. Child only. */
#ifndef HTH_EXTRACT_READERS_H
#define HTH_EXTRACT_READERS_H

#include "extract/tell.h"

/* What a source is, from its bytes first and its name's ending second. HTH_KIND_OTHER: verdict says why it is not read. */
hth_extract_kind hth_sniff(const hth_source *source, hth_verdict *verdict);
/* "pdf" of "a/Letter.PDF"; "" without one. ret: at least 16 bytes. */
void hth_name_ending(const char *name, char ret[16]);

void hth_read_plain(hth_tell *tell, hth_source *source, hth_extract_kind kind, hth_verdict *verdict); /* plain, Markdown, CSV */
void hth_read_pdf(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_image(hth_tell *tell, hth_source *source, hth_verdict *verdict);

#endif
