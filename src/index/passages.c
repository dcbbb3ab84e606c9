/* passages.c - from blocks to passages. Thread: the index's. */
#include "index/passages.h"

#include "base/mem.h"
#include "base/utf8.h"

void reading_begin(reading *r)
{
	reading_finish(r);
	r->text = HTH_BUF_INIT((size_t)2 * HTH_EXTRACT_TEXT_MAX);
	r->places = HTH_BUF_INIT((size_t)PLACE_BYTES * HTH_EXTRACT_BLOCKS_MAX); /* past it, passages have only their box */
}

void reading_finish(reading *r)
{
	hth_buf_finish(&r->text);
	hth_buf_finish(&r->places);
	for (size_t i = 0; i < r->n_parts; i++) {
		free(r->parts[i].name);
		free(r->parts[i].title);
		free(r->parts[i].author);
		free(r->parts[i].recipients);
	}
	free(r->parts);
	free(r->passages);
	*r = (reading){0};
}

static reading_part *part_of(reading *r, uint32_t number)
{
	/* Depth first, and mostly the newest. */
	for (size_t i = r->n_parts; i-- > 0;)
		if (r->parts[i].number == number)
			return &r->parts[i];
	if (r->n_parts == r->cap_parts) {
		size_t cap = r->cap_parts > 0 ? r->cap_parts * 2 : 4;
		reading_part *more = realloc(r->parts, cap * sizeof *more);
		if (more == NULL) {
			r->no_memory = true;
			return NULL;
		}
		r->parts = more;
		r->cap_parts = cap;
	}
	reading_part *p = &r->parts[r->n_parts++];
	*p = (reading_part){.number = number, .first = 1};
	return p;
}

static void set(reading *r, char **to, const char *from)
{
	if (from == NULL || from[0] == '\0')
		return;
	free(*to);
	if ((*to = strdup(from)) == NULL)
		r->no_memory = true;
}

void reading_add_part(reading *r, const hth_extract_part *part)
{
	reading_part *p = part_of(r, part->id);
	if (p == NULL)
		return;
	p->parent = part->parent;
	if (part->id != 0) /* the file's own name is its path's, which may change */
		set(r, &p->name, part->name);
}

void reading_add_meta(reading *r, const hth_extract_meta *meta)
{
	reading_part *p = part_of(r, meta->part);
	if (p == NULL)
		return;
	p->kind = (int)meta->kind;
	p->pages = meta->pages;
	p->date = meta->has_date ? meta->date : 0;
	set(r, &p->title, meta->title);
	set(r, &p->author, meta->author);
	set(r, &p->recipients, meta->recipients);
}

int64_t reading_pack_box(const float box[4])
{
	uint64_t packed = 0;
	for (int i = 0; i < 4; i++) {
		float v = box[i] > 0 ? HTH_MIN(box[i], 1.0f) : 0; /* a NaN becomes 0 */
		packed = packed << 16 | (uint64_t)(v * 32767 + 0.5f);
	}
	return (int64_t)packed; /* 15 bits of each 16: never negative */
}

bool reading_unpack_box(int64_t packed, float ret_box[4])
{
	if (packed < 0)
		return false;
	for (int i = 0; i < 4; i++)
		ret_box[i] = (float)((uint64_t)packed >> (48 - 16 * i) & 0xffff) / 32767;
	return true;
}

static void close_passage(reading *r)
{
	if (!r->open)
		return;
	r->open = false;
	r->now.len = r->text.len - r->now.at;
	r->now.box = r->has_box ? reading_pack_box(r->box) : -1;
	r->now.places_len = r->places.len - r->now.places_at;
	if (r->now.len == 0)
		return;
	if (r->n_passages == r->cap_passages) {
		size_t cap = r->cap_passages > 0 ? r->cap_passages * 2 : 16;
		reading_passage *more = realloc(r->passages, cap * sizeof *more);
		if (more == NULL) {
			r->no_memory = true;
			return;
		}
		r->passages = more;
		r->cap_passages = cap;
	}
	reading_part *p = part_of(r, r->now.part);
	if (p != NULL) {
		if (p->first > p->last)
			p->first = r->n_passages;
		p->last = r->n_passages;
		if (r->n_passages == 0)
			p->first = 0, p->last = 0;
	}
	r->passages[r->n_passages++] = r->now;
}

static void open_passage(reading *r, uint32_t part, uint32_t page)
{
	r->now = (reading_passage){.part = part, .page = page, .at = r->text.len, .places_at = r->places.len};
	r->open = true;
	r->has_box = false;
	reading_part *p = part_of(r, part);
	if (p == NULL || p->named)
		return;
	p->named = true;
	const char *lines[] = {p->title, p->author, p->recipients, p->name};
	for (size_t i = 0; i < HTH_COUNT(lines); i++)
		if (lines[i] != NULL)
			hth_buf_appendf(&r->text, "%.400s\n", lines[i]);
}

void reading_get_place(const unsigned char place[PLACE_BYTES], uint32_t *ret_at, float ret_box[4])
{
	uint64_t packed = 0;
	for (int i = 7; i >= 0; i--)
		packed = packed << 8 | place[2 + i];
	*ret_at = (uint32_t)(place[0] | place[1] << 8);
	(void)reading_unpack_box((int64_t)(packed & INT64_MAX), ret_box);
}

static void widen_box(reading *r, const hth_extract_block *b, size_t at)
{
	if (!b->has_box)
		return;
	uint64_t packed = (uint64_t)reading_pack_box(b->box);
	unsigned char place[PLACE_BYTES] = {(unsigned char)at, (unsigned char)(at >> 8)};
	for (int i = 0; i < 8; i++)
		place[2 + i] = (unsigned char)(packed >> 8 * i);
	hth_buf_append(&r->places, place, sizeof place);
	if (!r->has_box) {
		memcpy(r->box, b->box, sizeof r->box);
		r->has_box = true;
		return;
	}
	r->box[0] = HTH_MIN(r->box[0], b->box[0]);
	r->box[1] = HTH_MIN(r->box[1], b->box[1]);
	r->box[2] = HTH_MAX(r->box[2], b->box[2]);
	r->box[3] = HTH_MAX(r->box[3], b->box[3]);
}

/* How much of a long text goes into one passage: up to a sentence's end, else a space, else a character's end. */
static size_t cut(const char *text, size_t len, size_t goal)
{
	if (len <= PASSAGE_MAX)
		return len;
	for (size_t i = goal; i > goal / 2; i--)
		if ((text[i - 1] == '.' || text[i - 1] == '!' || text[i - 1] == '?' || text[i - 1] == '\n') &&
		    (text[i] == ' ' || text[i] == '\n'))
			return i;
	for (size_t i = goal; i > goal / 2; i--)
		if (text[i] == ' ' || text[i] == '\n' || text[i] == '\t')
			return i;
	return goal - hth_utf8_incomplete_suffix(text, goal);
}

void reading_add_block(reading *r, const hth_extract_block *b)
{
	reading_part *p = part_of(r, b->part);
	if (p != NULL)
		p->says = true;
	size_t have = r->open ? r->text.len - r->now.at : 0;
	if (r->open && (r->now.part != b->part || r->now.page != b->page || have + b->len > PASSAGE_MAX || have >= PASSAGE_GOAL ||
	                (b->role == HTH_ROLE_HEADING && have > PASSAGE_GOAL / 3)))
		close_passage(r);
	for (size_t at = 0; at < b->len;) {
		if (!r->open)
			open_passage(r, b->part, b->page);
		else
			hth_buf_append_char(&r->text, '\n');
		size_t n = cut(b->text + at, b->len - at, PASSAGE_GOAL);
		widen_box(r, b, r->text.len - r->now.at);
		hth_buf_append(&r->text, b->text + at, n);
		at += n;
		if (at < b->len)
			close_passage(r);
		while (at < b->len && (b->text[at] == ' ' || b->text[at] == '\n'))
			at++;
	}
}

void reading_end(reading *r)
{
	close_passage(r);
	/* A part that says nothing may still have a name worth finding: a picture sent as "boiler-plate.jpg", a mail
	 * with only a subject. */
	for (size_t i = 0; i < r->n_parts; i++) {
		reading_part *p = &r->parts[i];
		r->pages += p->pages > 0 ? p->pages : p->says; /* what holds other things is no page, nor is what says nothing */
		if (p->named || (p->title == NULL && p->author == NULL && p->name == NULL))
			continue;
		open_passage(r, p->number, 0);
		close_passage(r);
	}
	r->no_memory |= r->text.failed;
}
