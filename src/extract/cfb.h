/* cfb.h - compound files (OLE2): the folders and streams in which old Microsoft Office and Outlook keep a document. By
 * a reader of ours: Debian's libgsf does it as part of a library that opens files, and what is wanted is a few hundred
 * lines over bytes in memory, fuzzed.
 *
 * Every number of the file is checked where it is used; chains that loop end. Source: [MS-CFB]. */
#ifndef HTH_EXTRACT_CFB_H
#define HTH_EXTRACT_CFB_H

#include "base/buf.h"

enum { HTH_CFB_ENTRIES_MAX = 65536, HTH_CFB_NONE = UINT32_MAX };

typedef struct hth_cfb hth_cfb;
typedef struct hth_cfb_entry {
	char name[100];       /* UTF-8, at most 31 characters of the file's UTF-16 */
	bool is_folder, used; /* used: reachable from the top */
	uint32_t parent;      /* 0: the top, which is entry 0 */
	uint64_t size;        /* bytes of a stream, as the file says */
	uint32_t start;       /* first sector */
} hth_cfb_entry;

/* The bytes must outlive it. NULL: none, or so damaged that nothing can be found in it. */
hth_cfb *hth_cfb_open(const char *bytes, size_t len);
void hth_cfb_close(hth_cfb *cfb); /* NULL is fine */
size_t hth_cfb_count(const hth_cfb *cfb);
const hth_cfb_entry *hth_cfb_get(const hth_cfb *cfb, size_t i);
/* An entry of that folder by its name, letters' case aside; HTH_CFB_NONE: there is none. */
uint32_t hth_cfb_find(const hth_cfb *cfb, uint32_t folder, const char *name);
/* Appends a stream's bytes; as much as can be followed where its chain is broken. False: nothing of it, or out is full.
 */
bool hth_cfb_read(hth_cfb *cfb, uint32_t entry, hth_buf *out);

/* Little-endian numbers at p. */
static inline uint32_t hth_le16(const void *p)
{
	const uint8_t *b = p;
	return (uint32_t)b[0] | (uint32_t)b[1] << 8;
}
static inline uint32_t hth_le32(const void *p)
{
	return hth_le16(p) | hth_le16((const uint8_t *)p + 2) << 16;
}
static inline uint64_t hth_le64(const void *p)
{
	return hth_le32(p) | (uint64_t)hth_le32((const uint8_t *)p + 4) << 32;
}
/* Appends UTF-16LE as UTF-8, up to n units or the first zero; lone surrogates become U+FFFD. */
void hth_utf16_append(hth_buf *out, const char *units, size_t n);

#endif
