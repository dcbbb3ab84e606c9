/* old-slides.c - the text of PowerPoint 97 to 2003 presentations. Child only, and fuzzed. See old-office.h.
 *
 * The stream is a list of records, some of which hold others. Every save appends what changed and a directory of where
 * each object now lies, so the newest directory that knows an object counts: slides that were removed stay in the file
 * and must not be told. The document's list of slides has their outline text; what stands in boxes lies with the slide
 * itself.
 */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/old-office.h"

enum {
	HEAD = 8,
	DEPTH_MAX = 32,
	OBJECTS_MAX = 1 << 20,
	EDITS_MAX = 4096,
	SLIDES_MAX = 20000,
	DOCUMENT = 0x03E8,
	SLIDE_ATOM = 0x03F3,
	SLIDE_LIST = 0x0FF0,
	TEXT_CHARS = 0x0FA0,
	TEXT_BYTES = 0x0FA8,
	TEXT_HEADER = 0x0F9F,
	NOTES_ATOM = 0x03F1,
	USER_EDIT = 0x0FF5,
	DIRECTORY = 0x1772,
	COMMENT_TEXT = 0x0FBA,
	COMMENT = 0x2EE0,
};

typedef struct slides {
	const char *bytes;
	size_t len;
	const hth_old_events *events;
	void *ctx;
	uint32_t *place; /* of each object */
	size_t n_places;
	uint32_t page;
	uint32_t *ids; /* of the slides, in their order: notes name theirs by it */
	uint32_t n_ids;
	bool title, stopped, broken;
	hth_buf text;
} slides;

typedef struct record {
	unsigned instance, type;
	bool holds_others;
	size_t body, end;
} record;

/* The record at a place, cut to what is around it. */
static bool record_at(const slides *s, size_t at, size_t end, record *ret)
{
	if (at + HEAD > end || end > s->len)
		return false;
	unsigned first = hth_le16(s->bytes + at);
	size_t len = hth_le32(s->bytes + at + 4);
	*ret = (record){.instance = first >> 4,
	                .type = hth_le16(s->bytes + at + 2),
	                .holds_others = (first & 15) == 15,
	                .body = at + HEAD};
	ret->end = ret->body + HTH_MIN(len, end - ret->body);
	return true;
}

/* ---- telling ---- */

static void tell_lines(slides *s)
{
	for (size_t at = 0; at < s->text.len && !s->stopped;) {
		size_t n = strcspn(s->text.data + at, "\r\n");
		size_t from = at, len = n;
		while (len > 0 && (unsigned char)s->text.data[from] <= ' ')
			from++, len--;
		while (len > 0 && (unsigned char)s->text.data[from + len - 1] <= ' ')
			len--;
		if (len > 0)
			s->stopped = !s->events->text(s->ctx, s->page, s->title ? HTH_OLD_HEADING : HTH_OLD_BODY,
			                              s->text.data + from, len);
		at += n + 1;
	}
	hth_buf_clear(&s->text);
}

static void tell_text(slides *s, const record *r)
{
	const char *p = s->bytes + r->body;
	size_t len = r->end - r->body;
	if (r->type == TEXT_BYTES)
		hth_charset_decode_as(&s->text, p, len, "windows-1252");
	else
		hth_utf16_append(&s->text, p, len / 2);
	/* Within a paragraph lines end with a vertical tab. */
	for (size_t i = 0; i < s->text.len; i++)
		if (s->text.data[i] == '\v')
			s->text.data[i] = ' ';
	if (s->text.len > 0)
		tell_lines(s);
}

/* All text within [at, end). */
static void tell_within(slides *s, size_t at, size_t end, unsigned depth, bool in_comment)
{
	record r;
	while (!s->stopped && record_at(s, at, end, &r)) {
		if (r.type == TEXT_HEADER && r.end - r.body >= 4) {
			uint32_t kind = hth_le32(s->bytes + r.body);
			s->title = kind == 0 || kind == 6; /* a title, a centred one */
		} else if (r.type == TEXT_CHARS || r.type == TEXT_BYTES || (in_comment && r.type == COMMENT_TEXT)) {
			tell_text(s, &r);
		} else if (r.holds_others && depth < DEPTH_MAX) {
			tell_within(s, r.body, r.end, depth + 1, in_comment || r.type == COMMENT);
		}
		at = r.end;
	}
}

/* ---- objects ---- */

static void take_directory(slides *s, size_t at)
{
	record r;
	if (!record_at(s, at, s->len, &r) || r.type != DIRECTORY)
		return;
	for (size_t p = r.body; p + 4 <= r.end;) {
		uint32_t head = hth_le32(s->bytes + p), first = head & 0xFFFFF, n = head >> 20;
		p += 4;
		for (uint32_t i = 0; i < n && p + 4 <= r.end; i++, p += 4)
			if (first + i < s->n_places &&
			    s->place[first + i] == UINT32_MAX) /* newer saves are read first */
				s->place[first + i] = hth_le32(s->bytes + p);
	}
}

/* From the newest save back. The document's number; 0: not found. */
static uint32_t load_objects(slides *s, uint32_t newest)
{
	uint32_t document = 0;
	size_t at = newest;
	record r;
	for (int i = 0; i < EDITS_MAX && record_at(s, at, s->len, &r) && r.type == USER_EDIT && r.end - r.body >= 20;
	     i++) {
		const char *p = s->bytes + r.body;
		if (document == 0)
			document = hth_le32(p + 16);
		take_directory(s, hth_le32(p + 12));
		uint32_t before = hth_le32(p + 8);
		if (before == 0 || before >= at)
			break;
		at = before;
	}
	return document;
}

static bool object(const slides *s, uint32_t number, record *ret)
{
	return number < s->n_places && s->place[number] != UINT32_MAX && record_at(s, s->place[number], s->len, ret);
}

/* The slide that notes belong to; 0: not known. */
static uint32_t page_of_notes(const slides *s, const record *notes)
{
	record r;
	for (size_t at = notes->body; record_at(s, at, notes->end, &r); at = r.end)
		if (r.type == NOTES_ATOM && r.end - r.body >= 4)
			for (uint32_t i = 0; i < s->n_ids; i++)
				if (s->ids[i] == hth_le32(s->bytes + r.body))
					return i + 1;
	return 0;
}

/* The list of slides or of notes: each atom names an object, the outline text that belongs to it follows. */
static void tell_list(slides *s, const record *list, bool notes)
{
	record r, next, object_record;
	size_t at = list->body, stop;
	for (uint32_t n = 0; !s->stopped && n < SLIDES_MAX && record_at(s, at, list->end, &r); at = r.end) {
		if (r.type != SLIDE_ATOM || r.end - r.body < 4)
			continue;
		bool found = object(s, hth_le32(s->bytes + r.body), &object_record);
		s->broken |= !found;
		n++;
		if (!notes && r.end - r.body >= 16)
			s->ids[s->n_ids++] = hth_le32(s->bytes + r.body + 12);
		s->page = !notes ? n : found ? page_of_notes(s, &object_record) : 0;
		s->title = false;
		for (stop = r.end; record_at(s, stop, list->end, &next) && next.type != SLIDE_ATOM;)
			stop = next.end;
		tell_within(s, r.end, stop, 0, false);
		s->title = false;
		if (found)
			tell_within(s, object_record.body, object_record.end, 0, false);
		r.end = stop;
	}
}

static void find_newest(const slides *s, uint32_t *ret)
{
	record r;
	for (size_t at = 0; record_at(s, at, s->len, &r); at = r.end)
		if (r.type == USER_EDIT)
			*ret = (uint32_t)at;
}

hth_old_end hth_slides_read(const hth_buf *stream, const hth_buf *user, const hth_old_events *events, void *ctx,
                            uint32_t *ret_slides)
{
	slides s = {.bytes = stream->data,
	            .len = HTH_MIN(stream->len, (size_t)UINT32_MAX),
	            .events = events,
	            .ctx = ctx,
	            .n_places = OBJECTS_MAX};
	uint32_t newest = UINT32_MAX;
	record document, list;
	*ret_slides = 0;
	if (s.len < HEAD)
		return HTH_OLD_DAMAGED;
	if (user->len >= 20) {
		if (hth_le32(user->data + 12) == 0xF3D1C4DF)
			return HTH_OLD_ENCRYPTED;
		newest = hth_le32(user->data + 16);
	} else {
		find_newest(&s, &newest);
	}
	s.place = hth_alloc_array(s.n_places, sizeof *s.place);
	s.ids = hth_alloc_array(SLIDES_MAX, sizeof *s.ids);
	s.text = HTH_BUF_INIT(s.len * 3 + 64);
	if (s.place == NULL || s.ids == NULL) {
		s.broken = true;
	} else {
		memset(s.place, 0xFF, s.n_places * sizeof *s.place);
		if (object(&s, load_objects(&s, newest), &document) && document.type == DOCUMENT) {
			for (int notes = 0; notes < 2; notes++)
				for (size_t at = document.body; record_at(&s, at, document.end, &list); at = list.end)
					if (list.type == SLIDE_LIST &&
					    list.instance == (notes ? 2u : 0u)) /* 1 is the masters' */
						tell_list(&s, &list, notes != 0);
		} else { /* its directory is lost: all text there is, of removed slides too */
			s.broken = true;
			tell_within(&s, 0, s.len, 0, false);
		}
	}
	*ret_slides = s.n_ids;
	free(s.place);
	free(s.ids);
	hth_buf_finish(&s.text);
	return s.broken ? HTH_OLD_PARTIAL : HTH_OLD_DONE;
}
