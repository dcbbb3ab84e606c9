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
void hth_read_ooxml(hth_tell *tell, hth_source *source, hth_extract_kind kind, hth_verdict *verdict);
void hth_read_odf(hth_tell *tell, hth_source *source, hth_extract_kind kind, hth_verdict *verdict);
void hth_read_epub(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_html(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_xml(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_rtf(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_mail(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_mbox(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_archive(hth_tell *tell, hth_source *source, hth_verdict *verdict);
/* A compound file: Word, Excel, PowerPoint before 2007, Outlook's .msg; else the verdict says what it is not. */
void hth_read_ole(hth_tell *tell, hth_source *source, hth_verdict *verdict);
void hth_read_image(hth_tell *tell, hth_source *source, hth_verdict *verdict);

/* Bodies of mail and chapters of books, as text of the open part. charset: declared, or NULL. */
void hth_read_plain_bytes(hth_tell *tell, const char *bytes, size_t len, const char *charset, hth_verdict *verdict);
/* meta: tell the part's facts, too. False: the limits are reached. */
bool hth_read_html_bytes(hth_tell *tell, uint32_t number, const char *bytes, size_t len, const char *charset, bool meta,
                         hth_verdict *verdict);

/* Before the sandbox. */
void hth_mail_load(void);
void hth_sniff_load(void);

#endif
