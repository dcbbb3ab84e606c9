/* cfb.c - compound files: sectors in chains, a directory of entries in trees. See cfb.h. Child only, and fuzzed. */
#include "extract/cfb.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <strings.h>

enum { HEADER = 512, ENTRY = 128, MINI_SHIFT = 6, LAST_SECTOR = 0xFFFFFFFA };

struct hth_cfb {
	const char *bytes;
	size_t len;
	unsigned shift;     /* of a sector's size */
	uint32_t n_sectors; /* that the file has room for */
	uint32_t cutoff;    /* streams below this size are in the mini stream */
	uint32_t *next;     /* the allocation table: the sector after each */
	uint32_t *mini;
	size_t n_mini;
	hth_buf ministream;
	bool ministream_read;
	hth_cfb_entry *entries;
	size_t n;
};

void hth_utf16_append(hth_buf *out, const char *units, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t c = hth_le16(units + 2 * i);
		char utf8[4];
		if (c == 0)
			return;
		if (c >= 0xD800 && c < 0xDC00 && i + 1 < n) {
			uint32_t low = hth_le16(units + 2 * i + 2);
			if (low >= 0xDC00 && low < 0xE000) {
				c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
				i++;
			}
		}
		hth_buf_append(out, utf8, hth_utf8_encode(c, utf8));
	}
}

/* NULL: not wholly in the file. */
static const char *sector(const hth_cfb *c, uint32_t number)
{
	uint64_t at = ((uint64_t)number + 1) << c->shift;
	return number < LAST_SECTOR && at + (1u << c->shift) <= c->len ? c->bytes + at : NULL;
}

static uint32_t after(const hth_cfb *c, uint32_t number)
{
	return number < c->n_sectors ? c->next[number] : UINT32_MAX;
}

/* A chain's bytes, at most `want` of them; a loop is as long as the file at most. The last sector may be cut by the
 * file's end. */
static bool read_chain(const hth_cfb *c, uint32_t first, uint64_t want, hth_buf *out)
{
	size_t size = (size_t)1 << c->shift;
	uint64_t left = HTH_MIN(want, (uint64_t)c->len);
	for (uint32_t at = first, steps = 0; left > 0 && at < LAST_SECTOR && steps <= c->n_sectors;
	     at = after(c, at), steps++) {
		uint64_t place = ((uint64_t)at + 1) << c->shift;
		if (place >= c->len)
			return left < want;
		size_t n = (size_t)HTH_MIN(HTH_MIN((uint64_t)size, left), c->len - place);
		if (!hth_buf_append(out, c->bytes + place, n))
			return false;
		left -= n;
	}
	return left < want || want == 0;
}

/* ---- opening ---- */

/* The allocation table's own sectors are listed in the header, then in a chain of sectors of numbers. */
static bool load_table(hth_cfb *c)
{
	uint32_t per = (1u << c->shift) / 4, filled = 0;
	if ((c->next = hth_alloc_array(c->n_sectors + 1, sizeof *c->next)) == NULL)
		return false;
	memset(c->next, 0xFF, ((size_t)c->n_sectors + 1) * sizeof *c->next);
	const char *list = c->bytes + 0x4C;
	uint32_t n_list = 109, more = hth_le32(c->bytes + 0x44), steps = 0;
	for (;;) {
		for (uint32_t i = 0; i < n_list && filled < c->n_sectors; i++) {
			const char *s = sector(c, hth_le32(list + 4 * i));
			for (uint32_t k = 0; s != NULL && k < per && filled + k < c->n_sectors; k++)
				c->next[filled + k] = hth_le32(s + 4 * k);
			filled += HTH_MIN(per, c->n_sectors - filled);
		}
		const char *s = filled < c->n_sectors && steps++ <= c->n_sectors ? sector(c, more) : NULL;
		if (s == NULL)
			return true;
		list = s;
		n_list = per - 1;
		more = hth_le32(s + 4 * (per - 1));
	}
}

static bool load_mini(hth_cfb *c)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf table = HTH_BUF_INIT(c->len + 1);
	uint64_t want = (uint64_t)hth_le32(c->bytes + 0x40) << c->shift;
	if (want == 0 || !read_chain(c, hth_le32(c->bytes + 0x3C), want, &table))
		return true; /* only large streams then */
	c->n_mini = table.len / 4;
	if ((c->mini = hth_alloc_array(c->n_mini + 1, sizeof *c->mini)) == NULL)
		return false;
	for (size_t i = 0; i < c->n_mini; i++)
		c->mini[i] = hth_le32(table.data + 4 * i);
	return true;
}

static void take_entry(hth_cfb_entry *e, const char *raw)
{
	hth_buf name = HTH_BUF_INIT(sizeof e->name - 1);
	unsigned kind = (unsigned char)raw[0x42], bytes = hth_le16(raw + 0x40);
	*e = (hth_cfb_entry){
	    .is_folder = kind == 1 || kind == 5, .start = hth_le32(raw + 0x74), .size = hth_le64(raw + 0x78)};
	if (kind != 1 && kind != 2 && kind != 5)
		e->size = UINT64_MAX; /* empty */
	hth_utf16_append(&name, raw, HTH_MIN(bytes / 2, 31u));
	snprintf(e->name, sizeof e->name, "%s", name.data != NULL ? name.data : "");
	hth_buf_finish(&name);
}

/* Each folder's entries are a tree by left and right, under its child. What was reached once is not followed again. */
static bool link_entries(hth_cfb *c, const char *raw)
{
	typedef struct visit {
		uint32_t entry, parent;
	} visit;
	HTH_AUTO_FREE visit *stack = hth_alloc_array(3 * c->n + 4, sizeof *stack);
	size_t depth = 0;
	if (stack == NULL)
		return false;
	c->entries[0].used = true;
	stack[depth++] = (visit){hth_le32(raw + 0x4C), 0};
	while (depth > 0) {
		visit v = stack[--depth];
		if (v.entry >= c->n || c->entries[v.entry].used || c->entries[v.entry].size == UINT64_MAX)
			continue;
		hth_cfb_entry *e = &c->entries[v.entry];
		const char *r = raw + (size_t)v.entry * ENTRY;
		e->used = true;
		e->parent = v.parent;
		stack[depth++] = (visit){hth_le32(r + 0x44), v.parent};
		stack[depth++] = (visit){hth_le32(r + 0x48), v.parent};
		if (e->is_folder)
			stack[depth++] = (visit){hth_le32(r + 0x4C), v.entry};
	}
	return true;
}

static bool load_directory(hth_cfb *c)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf raw = HTH_BUF_INIT((size_t)HTH_CFB_ENTRIES_MAX * ENTRY + 1);
	(void)!read_chain(c, hth_le32(c->bytes + 0x30), (uint64_t)HTH_CFB_ENTRIES_MAX * ENTRY, &raw);
	c->n = raw.len / ENTRY;
	if (c->n == 0 || (c->entries = hth_alloc_array(c->n, sizeof *c->entries)) == NULL)
		return false;
	for (size_t i = 0; i < c->n; i++) {
		take_entry(&c->entries[i], raw.data + i * ENTRY);
		if (c->shift == 9 && c->entries[i].size != UINT64_MAX)
			c->entries[i].size &= UINT32_MAX; /* version 3: what is above is not to be trusted */
	}
	return link_entries(c, raw.data);
}

hth_cfb *hth_cfb_open(const char *bytes, size_t len)
{
	if (len < HEADER || memcmp(bytes, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", 8) != 0)
		return NULL;
	hth_cfb *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->bytes = bytes;
	c->len = len;
	c->shift = hth_le16(bytes + 0x1E);
	c->cutoff = hth_le32(bytes + 0x38);
	if ((c->shift != 9 && c->shift != 12) || hth_le16(bytes + 0x20) != MINI_SHIFT || len < (size_t)2 << c->shift) {
		free(c);
		return NULL;
	}
	c->n_sectors = (uint32_t)HTH_MIN((len - 1) >> c->shift, (size_t)UINT32_MAX / 4);
	c->ministream = HTH_BUF_INIT(len + 1);
	if (!load_table(c) || !load_mini(c) || !load_directory(c)) {
		hth_cfb_close(c);
		return NULL;
	}
	return c;
}

void hth_cfb_close(hth_cfb *c)
{
	if (c == NULL)
		return;
	hth_buf_finish(&c->ministream);
	free(c->next);
	free(c->mini);
	free(c->entries);
	free(c);
}

size_t hth_cfb_count(const hth_cfb *c)
{
	return c->n;
}
const hth_cfb_entry *hth_cfb_get(const hth_cfb *c, size_t i)
{
	return &c->entries[i];
}

uint32_t hth_cfb_find(const hth_cfb *c, uint32_t folder, const char *name)
{
	for (size_t i = 1; i < c->n; i++)
		if (c->entries[i].used && c->entries[i].parent == folder && strcasecmp(c->entries[i].name, name) == 0)
			return (uint32_t)i;
	return HTH_CFB_NONE;
}

bool hth_cfb_read(hth_cfb *c, uint32_t entry, hth_buf *out)
{
	if (entry == 0 || entry >= c->n || c->entries[entry].is_folder || !c->entries[entry].used)
		return false;
	const hth_cfb_entry *e = &c->entries[entry];
	if (e->size >= c->cutoff)
		return read_chain(c, e->start, e->size, out);
	if (!c->ministream_read) {
		c->ministream_read = true;
		(void)!read_chain(c, c->entries[0].start, c->entries[0].size, &c->ministream);
	}
	uint64_t left = e->size;
	size_t steps = 0;
	for (uint32_t at = e->start; left > 0 && steps <= c->n_mini; steps++) {
		uint64_t place = (uint64_t)at << MINI_SHIFT;
		if (at >= LAST_SECTOR || place >= c->ministream.len)
			return left < e->size;
		size_t n = (size_t)HTH_MIN(HTH_MIN((uint64_t)1 << MINI_SHIFT, left), c->ministream.len - place);
		if (!hth_buf_append(out, c->ministream.data + place, n))
			return false;
		left -= n;
		at = at < c->n_mini ? c->mini[at] : UINT32_MAX;
	}
	return left < e->size || e->size == 0;
}
