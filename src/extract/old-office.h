/* old-office.h - what Word, Excel and PowerPoint of 1993 to 2003 wrote into compound files (cfb.h), as text. Readers of
 * ours over bytes in memory: the libraries that read these formats are parts of office suites, or programs, and the
 * sandbox starts none. Sources: [MS-DOC], [MS-XLS], [MS-PPT]; nothing is executed, and text that was deleted or belongs
 * to fields' codes is left out where the format tells it apart. */
#ifndef HTH_EXTRACT_OLD_OFFICE_H
#define HTH_EXTRACT_OLD_OFFICE_H

#include "extract/cfb.h"

typedef enum hth_old_role { HTH_OLD_BODY, HTH_OLD_HEADING, HTH_OLD_ROW } hth_old_role;
typedef struct hth_old_events {
	/* A paragraph, a sheet's name or a slide's line, a row with tabs between its cells. page: sheet or slide from
	 * 1; 0: none. UTF-8; never empty. False: stop. */
	bool (*text)(void *ctx, uint32_t page, hth_old_role role, const char *text, size_t len);
} hth_old_events;

typedef enum hth_old_end {
	HTH_OLD_DONE,
	HTH_OLD_PARTIAL,   /* damaged on the way: what came was told */
	HTH_OLD_ENCRYPTED, /* nothing was told */
	HTH_OLD_DAMAGED,   /* the same */
	HTH_OLD_TOO_OLD,   /* the same: a version before those that are read */
} hth_old_end;

/* doc: the stream WordDocument; table0, table1: 0Table and 1Table, or empty. Word 6 to 2003. */
hth_old_end hth_word_read(const hth_buf *doc, const hth_buf *table0, const hth_buf *table1,
                          const hth_old_events *events, void *ctx);
/* book: the stream Workbook or Book. Excel 5 to 2003. ret_sheets: how many. */
hth_old_end hth_excel_read(const hth_buf *book, const hth_old_events *events, void *ctx, uint32_t *ret_sheets);
/* slides: PowerPoint Document; user: Current User, or empty. PowerPoint 97 to 2003. ret_slides: how many. */
hth_old_end hth_slides_read(const hth_buf *slides, const hth_buf *user, const hth_old_events *events, void *ctx,
                            uint32_t *ret_slides);

/* What SummaryInformation says; "" and 0 are not known. Source: [MS-OLEPS]. */
typedef struct hth_old_facts {
	char title[512], author[256];
	int64_t date; /* last saved, else made: seconds since 1970 */
} hth_old_facts;
void hth_old_facts_read(const hth_buf *summary, hth_old_facts *ret);
/* A FILETIME as seconds since 1970; 0: none that makes sense. */
int64_t hth_old_time(uint64_t filetime);

/* Outlook's compressed RTF ([MS-OXRTFCP]) to RTF, appended. False: it is none, or damaged; what came is appended. */
bool hth_lzfu_expand(const char *bytes, size_t len, hth_buf *out);

/* Whether Excel's format code shows days, months or years. */
bool hth_sheet_is_date_code(const char *code);
/* Appends a serial number of days as a date (and time of day, where it has one). since_1904: of a Macintosh's workbook.
 * False: out of range. */
bool hth_sheet_put_date(hth_buf *out, double serial, bool since_1904);

#endif
