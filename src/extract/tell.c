/* tell.c - the child's side: frames of what readers find, cleaned and counted. See tell.h. One thread; writes block until the daemon
 * reads. */
#include "extract/tell.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { FLUSH_AT = 64 << 10, OUT_MAX = 1 << 20 };

/* ---- verdicts ---- */

static void set_reason(hth_verdict *v, const char *fmt, va_list args)
{
	char text[2 * HTH_EXTRACT_REASON_MAX];
	vsnprintf(text, sizeof text, fmt, args);
	hth_buf clean = HTH_BUF_INIT(sizeof v->reason - 1);
	for (size_t at = 0, len = strlen(text); at < len;) {
		uint32_t cp;
		char utf8[4];
		at += hth_utf8_decode_lossy(text + at, len - at, &cp);
		if (!hth_buf_append(&clean, utf8, hth_utf8_encode(cp < ' ' ? ' ' : cp, utf8)))
			break;
	}
	snprintf(v->reason, sizeof v->reason, "%s", clean.data != NULL ? clean.data : "?");
	hth_buf_finish(&clean);
}

void hth_verdict_unreadable(hth_verdict *v, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	*v = (hth_verdict){.state = HTH_EXTRACT_UNREADABLE};
	set_reason(v, fmt, args);
	va_end(args);
}

void hth_verdict_excluded(hth_verdict *v, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	*v = (hth_verdict){.state = HTH_EXTRACT_EXCLUDED};
	set_reason(v, fmt, args);
	va_end(args);
}

void hth_verdict_partial(hth_verdict *v, const char *fmt, ...)
{
	if (v->partial || v->state >= HTH_EXTRACT_UNREADABLE)
		return;
	va_list args;
	va_start(args, fmt);
	v->partial = true;
	set_reason(v, fmt, args);
	va_end(args);
}

/* ---- sources ---- */

size_t hth_source_peek(const hth_source *source, uint64_t at, void *bytes, size_t len)
{
	if (at >= source->len)
		return 0;
	len = (size_t)HTH_MIN((uint64_t)len, source->len - at);
	if (source->bytes != NULL) {
		memcpy(bytes, source->bytes + at, len);
		return len;
	}
	size_t done = 0;
	while (done < len) {
		ssize_t n = pread(source->fd, (char *)bytes + done, len - done, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

bool hth_source_load(hth_source *source, hth_verdict *verdict)
{
	if (source->bytes != NULL)
		return true;
	if (source->len > HTH_SOURCE_LOAD_MAX) {
		hth_verdict_unreadable(verdict, "too large: %llu MiB; files of this kind are read up to %d MiB",
		                       (unsigned long long)(source->len >> 20), HTH_SOURCE_LOAD_MAX >> 20);
		return false;
	}
	char *bytes = malloc((size_t)source->len + 1);
	if (bytes == NULL) {
		hth_verdict_unreadable(verdict, "needs more memory than it may have");
		return false;
	}
	/* Shorter now than it was: what is there is read; the daemon sees that the file changed. */
	source->len = hth_source_peek(source, 0, bytes, (size_t)source->len);
	bytes[source->len] = '\0';
	source->bytes = source->owned = bytes;
	return true;
}

void hth_source_unload(hth_source *source)
{
	free(source->owned);
	if (source->owned != NULL)
		source->bytes = NULL;
	source->owned = NULL;
}

/* ---- frames ---- */

void hth_tell_init(hth_tell *tell, int fd)
{
	*tell = (hth_tell){.fd = fd, .out = HTH_BUF_INIT(OUT_MAX), .text = HTH_BUF_INIT(HTH_EXTRACT_BLOCK_MAX)};
}

void hth_tell_flush(hth_tell *tell)
{
	for (size_t at = 0; at < tell->out.len;) {
		ssize_t n = write(tell->fd, tell->out.data + at, tell->out.len - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0); /* the daemon has closed its end */
		at += (size_t)n;
	}
	hth_buf_clear(&tell->out);
}

/* One message is far smaller than what is left after a flush. */
static void sent(hth_tell *tell, bool ok)
{
	if (!ok)
		_exit(HTH_EXTRACT_EXIT_PROTOCOL);
	if (tell->out.len > FLUSH_AT)
		hth_tell_flush(tell);
}

void hth_tell_begin(hth_tell *tell, uint32_t job, const hth_extract_order *order)
{
	tell->job = job;
	tell->order = *order;
	tell->next_part = 0;
	tell->depth = 0;
	tell->n_blocks = tell->text_bytes = tell->expanded = 0;
	tell->full = tell->rendered = tell->took_fd = false;
}

/* Copies text as clean UTF-8 without control characters into buf; stops where buf is full. */
static void clean_string(hth_buf *buf, const char *text)
{
	bool space = true;
	for (size_t at = 0, len = text ? strlen(text) : 0; at < len;) {
		uint32_t cp;
		char utf8[4];
		at += hth_utf8_decode_lossy(text + at, len - at, &cp);
		if (cp <= ' ' || cp == 0x7F || cp == 0xA0) {
			space = true;
			continue;
		}
		if ((space && buf->len > 0 && !hth_buf_append_char(buf, ' ')) || !hth_buf_append(buf, utf8, hth_utf8_encode(cp, utf8)))
			break;
		space = false;
	}
	if (buf->data == NULL) {
		buf->failed = false;
		hth_buf_append(buf, "", 0);
	}
}

static hth_tell_level *here(hth_tell *tell) { return &tell->levels[tell->depth - 1]; }

bool hth_tell_part_begin(hth_tell *tell, const char *name, hth_verdict *verdict)
{
	if (tell->depth > HTH_EXTRACT_DEPTH_MAX) {
		hth_verdict_partial(verdict, "nested more than %d deep; what lies deeper was not read", HTH_EXTRACT_DEPTH_MAX);
		return false;
	}
	if (tell->next_part > HTH_EXTRACT_PARTS_MAX) {
		hth_verdict_partial(verdict, "more than %d parts; the others were not read", HTH_EXTRACT_PARTS_MAX);
		return false;
	}
	hth_buf clean = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX);
	clean_string(&clean, name);
	hth_extract_part part = {.id = tell->next_part++, .parent = tell->depth > 0 ? here(tell)->part : 0, .name = clean.data};
	tell->levels[tell->depth++] = (hth_tell_level){.part = part.id};
	sent(tell, hth_extract_put_part(&tell->out, tell->job, &part));
	hth_tell_flush(tell); /* what came before is safe, should this part be the reader's last */
	hth_buf_finish(&clean);
	return true;
}

static void end_part(hth_tell *tell, hth_verdict *v, hth_extract_frame type, bool retire)
{
	hth_tell_level *level = here(tell);
	if (v->state == 0)
		v->state = HTH_EXTRACT_TEXT;
	if (v->state == HTH_EXTRACT_TEXT && level->n_ocr_pages > 0)
		v->state = HTH_EXTRACT_NEEDS_OCR;
	hth_extract_result result = {.part = level->part, .state = v->state, .partial = v->partial, .reason = v->reason};
	if (v->state == HTH_EXTRACT_NEEDS_OCR) {
		result.ocr_pages = level->ocr_pages;
		result.n_ocr_pages = level->n_ocr_pages;
	}
	sent(tell, hth_extract_put_result(&tell->out, type, tell->job, &result, retire));
	free(level->ocr_pages);
	tell->depth--;
}

void hth_tell_part_end(hth_tell *tell, hth_verdict *verdict) { end_part(tell, verdict, HTH_EXTRACT_FRAME_PART_END, false); }
void hth_tell_end(hth_tell *tell, hth_verdict *verdict, bool retire)
{
	end_part(tell, verdict, HTH_EXTRACT_FRAME_END, retire);
	hth_tell_flush(tell);
}

void hth_tell_meta(hth_tell *tell, const hth_extract_meta *meta)
{
	if (here(tell)->meta_told)
		return;
	here(tell)->meta_told = true;
	hth_extract_meta m = *meta;
	m.part = here(tell)->part;
	const char **strings[] = {&m.title, &m.author, &m.recipients, &m.language, &m.mail_id};
	hth_buf clean[HTH_COUNT(strings)];
	for (size_t i = 0; i < HTH_COUNT(strings); i++) {
		clean[i] = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX);
		clean_string(&clean[i], *strings[i]);
		*strings[i] = clean[i].data;
	}
	if (!(m.latitude >= -90 && m.latitude <= 90 && m.longitude >= -180 && m.longitude <= 180))
		m.has_place = false;
	if (!m.has_place)
		m.latitude = m.longitude = 0;
	if (m.pages > HTH_EXTRACT_PAGES_MAX)
		m.pages = HTH_EXTRACT_PAGES_MAX;
	sent(tell, hth_extract_put_meta(&tell->out, tell->job, &m));
	for (size_t i = 0; i < HTH_COUNT(strings); i++)
		hth_buf_finish(&clean[i]);
}

static bool put_block(hth_tell *tell, uint32_t page, hth_extract_role role, const float *box)
{
	hth_buf *b = &tell->text;
	while (b->len > 0 && (b->data[b->len - 1] == ' ' || b->data[b->len - 1] == '\n' || b->data[b->len - 1] == '\t'))
		b->data[--b->len] = '\0';
	if (b->len == 0)
		return true;
	if (tell->n_blocks >= HTH_EXTRACT_BLOCKS_MAX || tell->text_bytes + b->len > HTH_EXTRACT_TEXT_MAX || page > HTH_EXTRACT_PAGES_MAX) {
		tell->full = true;
		return false;
	}
	hth_extract_block block = {.part = here(tell)->part, .page = page, .role = role, .text = b->data, .len = b->len};
	if (box != NULL) {
		block.has_box = true;
		for (int i = 0; i < 4; i++)
			block.box[i] = box[i] >= 0 ? HTH_MIN(box[i], 1.0f) : 0;
		block.box[2] = HTH_MAX(block.box[2], block.box[0]);
		block.box[3] = HTH_MAX(block.box[3], block.box[1]);
	}
	tell->n_blocks++;
	tell->text_bytes += b->len;
	sent(tell, hth_extract_put_block(&tell->out, tell->job, &block));
	hth_buf_clear(b);
	return true;
}

/* Control characters; what would split words unseen: soft hyphen, zero width space, marks of direction, byte order mark, noncharacters. The
 * joiners stay: some scripts are spelled with them. */
static bool is_invisible(uint32_t cp)
{
	bool control = (cp < ' ' && cp != '\n' && cp != '\t') || (cp >= 0x7F && cp < 0xA0);
	bool marks = cp == 0x200B || cp == 0x200E || cp == 0x200F || (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2060 && cp <= 0x2069);
	return control || marks || cp == 0xAD || cp == 0xFEFF || cp == 0xFFFE || cp == 0xFFFF;
}

/* "exam-" and not "A4-" or " -". */
static bool ends_in_hyphen(const hth_buf *b)
{
	return b->len > 2 && b->data[b->len - 1] == '-' && b->data[b->len - 2] >= 'a' && b->data[b->len - 2] <= 'z';
}

bool hth_tell_text(hth_tell *tell, uint32_t page, hth_extract_role role, const float *box, const char *text, size_t len)
{
	if (tell->full)
		return false;
	if (tell->order.mode != (role == HTH_ROLE_OCR ? HTH_EXTRACT_MODE_OCR : HTH_EXTRACT_MODE_TEXT))
		return true;
	hth_buf *b = &tell->text;
	hth_buf_clear(b);
	unsigned newlines = 0;
	for (size_t at = 0; at < len;) {
		uint32_t cp;
		char utf8[4];
		at += hth_utf8_decode_lossy(text + at, len - at, &cp);
		if (cp == '\r')
			cp = at < len && text[at] == '\n' ? 0 : '\n';
		if (cp == '\f' || cp == '\v' || cp == 0x2028 || cp == 0x2029 || cp == 0x85)
			cp = '\n';
		if (cp == 0xA0)
			cp = ' ';
		if (is_invisible(cp))
			continue;
		bool blank = cp == ' ' || cp == '\n' || cp == '\t';
		if (cp == '\n' && page > 0 && ends_in_hyphen(b) && at < len && (text[at] >= 'a' && text[at] <= 'z')) {
			b->data[--b->len] = '\0'; /* a word that the line's end has cut */
			continue;
		}
		if (blank && b->len == 0)
			continue;
		if (cp == ' ' && b->data[b->len - 1] == ' ')
			continue;
		newlines = cp == '\n' ? newlines + 1 : blank ? newlines : 0;
		if (newlines > 2)
			continue;
		/* Cut long ones between words, in the last sixteenth if there is a place. */
		if ((blank && b->len > HTH_EXTRACT_BLOCK_MAX - HTH_EXTRACT_BLOCK_MAX / 16) || b->len + 4 > HTH_EXTRACT_BLOCK_MAX) {
			if (!put_block(tell, page, role, box))
				return false;
			if (blank)
				continue;
		}
		hth_buf_append(b, utf8, hth_utf8_encode(cp, utf8));
	}
	return put_block(tell, page, role, box);
}

void hth_tell_needs_ocr(hth_tell *tell, uint32_t page)
{
	hth_tell_level *level = here(tell);
	if (tell->order.mode != HTH_EXTRACT_MODE_TEXT || page == 0 || page > HTH_EXTRACT_PAGES_MAX ||
	    (level->n_ocr_pages > 0 && level->ocr_pages[level->n_ocr_pages - 1] >= page))
		return;
	if (level->n_ocr_pages == level->cap_ocr_pages) {
		size_t cap = level->cap_ocr_pages ? level->cap_ocr_pages * 2 : 16;
		uint32_t *grown = realloc(level->ocr_pages, cap * sizeof *grown);
		if (grown == NULL)
			return;
		level->ocr_pages = grown;
		level->cap_ocr_pages = cap;
	}
	level->ocr_pages[level->n_ocr_pages++] = page;
}

void hth_tell_page(hth_tell *tell, uint32_t page)
{
	sent(tell, hth_extract_put_page(&tell->out, tell->job, here(tell)->part, HTH_MIN(page, (uint32_t)HTH_EXTRACT_PAGES_MAX)));
	/* OCR: the clock starts anew for this page. And what was read is safe, should this page be the reader's last. */
	hth_tell_flush(tell);
}

void hth_tell_png(hth_tell *tell, const void *bytes, size_t len)
{
	for (size_t at = 0; at < len; at += HTH_EXTRACT_PNG_CHUNK)
		sent(tell, hth_extract_put_png(&tell->out, tell->job, (const char *)bytes + at,
		                               HTH_MIN(len - at, (size_t)HTH_EXTRACT_PNG_CHUNK)));
	tell->rendered = len > 0;
}

bool hth_tell_renders_here(const hth_tell *tell)
{
	return tell->order.mode == HTH_EXTRACT_MODE_RENDER && tell->levels[tell->depth - 1].part == tell->order.part;
}
