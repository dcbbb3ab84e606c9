/* read-pdf.c - PDF: text with page and box, attached files, which pages are pictures, and pages drawn (for OCR and for people).
 *
 * Poppler gives a page's text in reading order with a rectangle per character; lines are cut out of it and lines that belong together
 * become one block. A page without text that is not blank when drawn small needs OCR. Child only. Poppler's scripts and actions are
 * never run: this uses its text and drawing only.
 */
#include "base/mem.h"
#include "extract/picture.h"
#include "extract/readers.h"

#include <math.h>
#include <poppler.h>

enum {
	FEW_CHARACTERS = 24,      /* less than this on a page that is mostly a picture: the picture holds the words */
	ATTACHMENT_MAX = 64 << 20,
	GLANCE_PIXELS = 400,      /* the longer side of the small drawing that tells whether a page is blank */
};

typedef struct line {
	size_t begin, end; /* bytes of the page's text */
	double box[4];     /* points */
	double height;     /* of its characters, mean */
	size_t n_chars;
} line;

/* ---- text ---- */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

enum { RIGHT_TO_LEFT = 0x202B, END_OF_DIRECTION = 0x202C };

static bool is_direction_mark(gunichar c) { return (c >= 0x202A && c <= 0x202E) || c == 0x200E || c == 0x200F; }

/* Cuts the page's text at its line ends; boxes are the union of the characters'. Returns the lines' number. */
static size_t cut_lines(const char *text, const PopplerRectangle *rects, guint n_rects, line **ret_lines)
{
	size_t n = 0, cap = 0, at = 0;
	line *lines = NULL, l = {0};
	guint i = 0;
	bool any = false;
	double heights = 0;
	for (;; i++) {
		gunichar c = text[at] != '\0' ? g_utf8_get_char(text + at) : 0;
		size_t next = c != 0 ? (size_t)(g_utf8_next_char(text + at) - text) : at;
		if (is_direction_mark(c)) { /* in the text, not among the boxes */
			at = next;
			i--;
			continue;
		}
		if (c == 0 || c == '\n') {
			l.end = at;
			if (any) {
				if (n == cap) {
					cap = cap ? cap * 2 : 64;
					line *grown = realloc(lines, cap * sizeof *grown);
					if (grown == NULL)
						break;
					lines = grown;
				}
				l.height = heights / (double)l.n_chars;
				lines[n++] = l;
			}
			l = (line){.begin = next};
			any = false;
			heights = 0;
			if (c == 0)
				break;
		} else if (i < n_rects && !g_unichar_isspace(c)) {
			const PopplerRectangle *r = &rects[i];
			double x1 = HTH_MIN(r->x1, r->x2), x2 = HTH_MAX(r->x1, r->x2), y1 = HTH_MIN(r->y1, r->y2),
			    y2 = HTH_MAX(r->y1, r->y2);
			if (!any) {
				memcpy(l.box, (double[]){x1, y1, x2, y2}, sizeof l.box);
			} else {
				l.box[0] = HTH_MIN(l.box[0], x1);
				l.box[1] = HTH_MIN(l.box[1], y1);
				l.box[2] = HTH_MAX(l.box[2], x2);
				l.box[3] = HTH_MAX(l.box[3], y2);
			}
			any = true;
			l.n_chars++;
			heights += y2 - y1;
		}
		at = next;
	}
	*ret_lines = lines;
	return n;
}

/* Whether b goes on where a ended: below it, near, overlapping in width, of the same size. */
static bool belongs(const double block[4], const line *a, const line *b)
{
	double gap = b->box[1] - a->box[3], overlap = HTH_MIN(block[2], b->box[2]) - HTH_MAX(block[0], b->box[0]);
	double size = HTH_MAX(a->height, b->height);
	if (b->box[1] + size / 2 < a->box[1] || gap > 0.75 * size || fabs(a->height - b->height) > 0.2 * size)
		return false;
	if (fabs(b->box[1] - a->box[1]) < size / 2) /* beside it: a row of a table */
		return b->box[0] - a->box[2] < 3 * size;
	return overlap > 0;
}

/* Poppler puts marks of direction around words that are written from the right; where one such word follows another without a space it has
 * lost it. A ligature of lam and a form of alef comes turned round: where the article stands before it that is plain, since no word has
 * such a row. */
static void append_text(hth_buf *out, const char *text, size_t len)
{
	gunichar before = 0;
	for (const char *at = text; at < text + len;) {
		gunichar c = g_utf8_get_char(at);
		const char *next = g_utf8_next_char(at);
		if (c == RIGHT_TO_LEFT && before == END_OF_DIRECTION)
			hth_buf_append_char(out, ' ');
		if (!is_direction_mark(c) && next + 4 <= text + len && c == 0x0627 && next[0] == '\xD8' &&
		    strchr("\xA2\xA3\xA5", next[1]) != NULL && memcmp(next + 2, "\xD9\x84", 2) == 0) {
			hth_buf_append(out, at, 2);
			hth_buf_append(out, next + 2, 2);
			hth_buf_append(out, next, 2);
			next += 4;
		} else if (!is_direction_mark(c)) {
			hth_buf_append(out, at, (size_t)(next - at));
		}
		before = c;
		at = next;
	}
}

static bool tell_block(hth_tell *tell, uint32_t page, const char *text, const line *lines, size_t first, size_t last, const double box[4],
                       double width, double height, double usual)
{
	float fractions[4] = {(float)(box[0] / width), (float)(box[1] / height), (float)(box[2] / width), (float)(box[3] / height)};
	size_t chars = 0;
	for (size_t i = first; i <= last; i++)
		chars += lines[i].n_chars;
	bool heading = lines[first].height > 1.25 * usual && chars < 200 && last - first < 3;
	size_t len = lines[last].end - lines[first].begin;
	hth_buf clean = HTH_BUF_INIT(2 * len + 1);
	append_text(&clean, text + lines[first].begin, len);
	bool go_on = hth_tell_text(tell, page, heading ? HTH_ROLE_HEADING : HTH_ROLE_BODY, fractions, clean.data != NULL ? clean.data : "",
	                           clean.len);
	hth_buf_finish(&clean);
	return go_on;
}

static bool tell_page_text(hth_tell *tell, uint32_t number, const char *text, const line *lines, size_t n, double width, double height)
{
	double *sizes = hth_alloc_array(n, sizeof *sizes);
	if (sizes == NULL || n == 0) {
		free(sizes);
		return true;
	}
	for (size_t i = 0; i < n; i++)
		sizes[i] = lines[i].height;
	qsort(sizes, n, sizeof *sizes, compare_doubles);
	double usual = sizes[n / 2], box[4];
	free(sizes);
	size_t first = 0;
	memcpy(box, lines[0].box, sizeof box);
	for (size_t i = 1; i <= n; i++) {
		if (i < n && belongs(box, &lines[i - 1], &lines[i]) && lines[i].end - lines[first].begin < HTH_EXTRACT_BLOCK_MAX / 4) {
			box[0] = HTH_MIN(box[0], lines[i].box[0]);
			box[1] = HTH_MIN(box[1], lines[i].box[1]);
			box[2] = HTH_MAX(box[2], lines[i].box[2]);
			box[3] = HTH_MAX(box[3], lines[i].box[3]);
			continue;
		}
		if (!tell_block(tell, number, text, lines, first, i - 1, box, width, height, usual))
			return false;
		first = i;
		if (i < n)
			memcpy(box, lines[i].box, sizeof box);
	}
	return true;
}

/* Notes that a reader has put onto a page. */
static void tell_notes(hth_tell *tell, PopplerPage *page, uint32_t number)
{
	GList *all = poppler_page_get_annot_mapping(page);
	for (GList *at = all; at != NULL; at = at->next) {
		PopplerAnnotMapping *m = at->data;
		PopplerAnnotType type = poppler_annot_get_annot_type(m->annot);
		if (type == POPPLER_ANNOT_LINK || type == POPPLER_ANNOT_WIDGET || type == POPPLER_ANNOT_POPUP ||
		    type == POPPLER_ANNOT_FREE_TEXT)
			continue;
		gchar *contents = poppler_annot_get_contents(m->annot);
		if (contents != NULL && *contents != '\0')
			hth_tell_text(tell, number, HTH_ROLE_BODY, NULL, contents, strlen(contents));
		g_free(contents);
	}
	poppler_page_free_annot_mapping(all);
}

/* ---- drawing ---- */

static cairo_surface_t *draw_page(PopplerPage *page, double dpi)
{
	double width, height;
	poppler_page_get_size(page, &width, &height);
	double scale = dpi / 72;
	if (!(width > 0 && height > 0 && width < 1e6 && height < 1e6))
		return NULL;
	double pixels = width * height * scale * scale;
	if (pixels > HTH_PICTURE_PIXELS_MAX)
		scale *= sqrt(HTH_PICTURE_PIXELS_MAX / pixels);
	int w = (int)ceil(width * scale), h = (int)ceil(height * scale);
	if (w < 1 || h < 1 || w > 32000 || h > 32000)
		return NULL;
	cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, w, h);
	cairo_t *cr = cairo_create(surface);
	cairo_set_source_rgb(cr, 1, 1, 1);
	cairo_paint(cr);
	cairo_scale(cr, scale, scale);
	poppler_page_render(page, cr);
	bool ok = cairo_status(cr) == CAIRO_STATUS_SUCCESS;
	cairo_destroy(cr);
	if (!ok || cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS) {
		cairo_surface_destroy(surface);
		return NULL;
	}
	cairo_surface_flush(surface);
	return surface;
}

/* Drawn small, has it anything but its background? */
static bool is_blank(PopplerPage *page)
{
	double width, height;
	poppler_page_get_size(page, &width, &height);
	double longer = HTH_MAX(width, height);
	cairo_surface_t *s = longer > 0 ? draw_page(page, 72 * GLANCE_PIXELS / longer) : NULL;
	if (s == NULL)
		return true;
	int w = cairo_image_surface_get_width(s), h = cairo_image_surface_get_height(s), stride = cairo_image_surface_get_stride(s);
	const unsigned char *data = cairo_image_surface_get_data(s);
	uint32_t corner;
	memcpy(&corner, data, 4);
	size_t other = 0;
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			const unsigned char *p = data + (size_t)y * (size_t)stride + (size_t)x * 4;
			int d = abs(p[0] - (int)(corner & 255)) + abs(p[1] - (int)(corner >> 8 & 255)) +
			    abs(p[2] - (int)(corner >> 16 & 255));
			other += d > 96;
		}
	cairo_surface_destroy(s);
	return other < 12;
}

static bool is_mostly_picture(PopplerPage *page)
{
	double width, height, covered = 0;
	poppler_page_get_size(page, &width, &height);
	GList *images = poppler_page_get_image_mapping(page);
	for (GList *at = images; at != NULL; at = at->next) {
		const PopplerRectangle *r = &((PopplerImageMapping *)at->data)->area;
		covered += fabs((r->x2 - r->x1) * (r->y2 - r->y1));
	}
	poppler_page_free_image_mapping(images);
	return covered > 0.4 * width * height;
}

/* ---- the document ---- */

static bool wants_words_of_picture(PopplerPage *page, size_t n_chars)
{
	return n_chars == 0 ? !is_blank(page) : n_chars < FEW_CHARACTERS && is_mostly_picture(page);
}

static bool read_page(hth_tell *tell, PopplerPage *page, uint32_t number)
{
	char *text = poppler_page_get_text(page);
	PopplerRectangle *rects = NULL;
	guint n_rects = 0;
	line *lines = NULL;
	double width, height;
	poppler_page_get_size(page, &width, &height);
	size_t n = 0, chars = 0;
	bool go_on = true;
	if (text != NULL && *text != '\0' && poppler_page_get_text_layout(page, &rects, &n_rects))
		n = cut_lines(text, rects, n_rects, &lines);
	for (size_t i = 0; i < n; i++)
		chars += lines[i].n_chars;
	if (hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT)) {
		if (n > 0 && width > 0 && height > 0)
			go_on = tell_page_text(tell, number, text, lines, n, width, height);
		tell_notes(tell, page, number);
		if (wants_words_of_picture(page, chars))
			hth_tell_needs_ocr(tell, number);
	} else if (wants_words_of_picture(page, chars)) {
		hth_tell_page(tell, number);
		cairo_surface_t *surface = draw_page(page, 300);
		if (surface != NULL) {
			go_on = hth_picture_ocr_surface(tell, number, surface, 300);
			cairo_surface_destroy(surface);
		}
	}
	free(lines);
	g_free(rects);
	g_free(text);
	return go_on;
}

static gboolean take_attachment(const gchar *bytes, gsize count, gpointer data, GError **error)
{
	hth_buf *buf = data;
	if (hth_buf_append(buf, bytes, count))
		return TRUE;
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "too large");
	return FALSE;
}

static void read_attachments(hth_tell *tell, PopplerDocument *doc, hth_verdict *verdict)
{
	GList *all = poppler_document_has_attachments(doc) ? poppler_document_get_attachments(doc) : NULL;
	for (GList *at = all; at != NULL && !tell->full; at = at->next) {
		PopplerAttachment *a = at->data;
		if (!hth_tell_part_begin(tell, a->name, verdict))
			break;
		hth_verdict inner = {.state = HTH_EXTRACT_TEXT};
		hth_buf bytes = HTH_BUF_INIT(ATTACHMENT_MAX);
		if (poppler_attachment_save_to_callback(a, take_attachment, &bytes, NULL) && bytes.data != NULL) {
			hth_source source = {.fd = -1, .bytes = bytes.data, .len = bytes.len, .name = a->name != NULL ? a->name : ""};
			hth_read_source(tell, &source, &inner);
		} else if (bytes.failed) {
			hth_verdict_unreadable(&inner, "too large: an attached file over %d MiB", ATTACHMENT_MAX >> 20);
		}
		hth_buf_finish(&bytes);
		hth_tell_part_end(tell, &inner);
	}
	g_list_free_full(all, g_object_unref);
}

static PopplerDocument *open_document(hth_source *source, hth_verdict *verdict)
{
	GError *error = NULL;
	PopplerDocument *doc = NULL;
	if (source->bytes == NULL && source->fd >= 0) {
		doc = poppler_document_new_from_fd(source->fd, NULL, &error);
		source->fd = -1; /* poppler has taken it, also on failure */
	} else {
		GBytes *bytes = g_bytes_new_static(source->bytes, (gsize)source->len);
		doc = poppler_document_new_from_bytes(bytes, NULL, &error);
		g_bytes_unref(bytes);
	}
	if (doc == NULL) {
		if (g_error_matches(error, POPPLER_ERROR, POPPLER_ERROR_ENCRYPTED))
			hth_verdict_unreadable(verdict, "encrypted: needs a password");
		else
			hth_verdict_unreadable(verdict, "damaged: not a whole PDF (%s)",
			                       error != NULL ? error->message : "no reason was given");
		g_clear_error(&error);
	}
	return doc;
}

static void tell_facts(hth_tell *tell, PopplerDocument *doc, int n_pages)
{
	gchar *title = poppler_document_get_title(doc), *author = poppler_document_get_author(doc);
	GDateTime *made = poppler_document_get_creation_date_time(doc);
	if (made == NULL)
		made = poppler_document_get_modification_date_time(doc);
	hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_PDF,
	                                        .pages = (uint32_t)HTH_MAX(n_pages, 0),
	                                        .has_date = made != NULL,
	                                        .date = made != NULL ? g_date_time_to_unix(made) : 0,
	                                        .title = title,
	                                        .author = author});
	if (made != NULL)
		g_date_time_unref(made);
	g_free(title);
	g_free(author);
}

/* The bytes of a word at text that is one of `words` (each ended by a line end), letters' case aside; 0: it is none. */
static size_t match_word(const char *text, const char *words)
{
	for (const char *word = words; *word != '\0'; word += strcspn(word, "\n"), word += *word == '\n') {
		const char *t = text, *w = word;
		while (*w != '\0' && *w != '\n' && *t != '\0' &&
		       g_unichar_tolower(g_utf8_get_char(t)) == g_unichar_tolower(g_utf8_get_char(w))) {
			t = g_utf8_next_char(t);
			w = g_utf8_next_char(w);
		}
		if (t > text && (*w == '\0' || *w == '\n') && !g_unichar_isalnum(g_utf8_get_char(t)))
			return (size_t)(t - text);
	}
	return 0;
}

/* Boxes of the order's words on the page. */
static size_t find_words(const hth_tell *tell, PopplerPage *page, float boxes[][4], size_t most)
{
	char *text = tell->order.words[0] != '\0' ? poppler_page_get_text(page) : NULL;
	PopplerRectangle *rects = NULL;
	guint n_rects = 0;
	double width, height;
	size_t n = 0;
	poppler_page_get_size(page, &width, &height);
	if (text != NULL && width > 0 && height > 0 && poppler_page_get_text_layout(page, &rects, &n_rects)) {
		bool inside = false;
		guint i = 0;
		for (const char *at = text; *at != '\0' && i < n_rects && n < most;) {
			size_t len = inside ? 0 : match_word(at, tell->order.words);
			if (len == 0) {
				inside = g_unichar_isalnum(g_utf8_get_char(at));
				i += !is_direction_mark(g_utf8_get_char(at));
				at = g_utf8_next_char(at);
				continue;
			}
			double box[4] = {width, height, 0, 0};
			for (const char *end = at + len; at < end && i < n_rects; at = g_utf8_next_char(at)) {
				if (is_direction_mark(g_utf8_get_char(at)))
					continue;
				box[0] = HTH_MIN(box[0], HTH_MIN(rects[i].x1, rects[i].x2));
				box[1] = HTH_MIN(box[1], HTH_MIN(rects[i].y1, rects[i].y2));
				box[2] = HTH_MAX(box[2], HTH_MAX(rects[i].x1, rects[i].x2));
				box[3] = HTH_MAX(box[3], HTH_MAX(rects[i].y1, rects[i].y2));
				i++;
			}
			if (box[0] < box[2] && box[1] < box[3])
				memcpy(boxes[n++], (float[]){(float)(box[0] / width), (float)(box[1] / height), (float)(box[2] / width),
				                             (float)(box[3] / height)},
				       sizeof boxes[0]);
		}
	}
	g_free(rects);
	g_free(text);
	return n;
}

static void render(hth_tell *tell, PopplerDocument *doc, hth_verdict *verdict)
{
	static float words[HTH_EXTRACT_MARKS_MAX][4];
	PopplerPage *page = poppler_document_get_page(doc, (int)tell->order.page - 1);
	cairo_surface_t *surface = page != NULL ? draw_page(page, tell->order.dpi) : NULL;
	if (surface == NULL)
		hth_verdict_unreadable(verdict, "has no page %u that can be drawn", tell->order.page);
	else
		hth_picture_tell_png(tell, surface, words, find_words(tell, page, words, HTH_COUNT(words)), verdict);
	if (surface != NULL)
		cairo_surface_destroy(surface);
	if (page != NULL)
		g_object_unref(page);
}

void hth_read_pdf(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	PopplerDocument *doc = open_document(source, verdict);
	if (doc == NULL) {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_PDF});
		return;
	}
	int n = poppler_document_get_n_pages(doc), unseen = 0;
	tell_facts(tell, doc, n);
	if (n <= 0)
		hth_verdict_unreadable(verdict, "damaged: a PDF without pages");
	if (n > HTH_EXTRACT_PAGES_MAX)
		hth_verdict_partial(verdict, "only the first %d of %d pages were read", HTH_EXTRACT_PAGES_MAX, n);
	if (hth_tell_renders_here(tell)) {
		render(tell, doc, verdict);
	} else if (!hth_tell_wants(tell, HTH_EXTRACT_MODE_RENDER)) {
		for (int i = 0; i < HTH_MIN(n, (int)HTH_EXTRACT_PAGES_MAX); i++) {
			if (hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT))
				hth_tell_page(tell, (uint32_t)i + 1);
			PopplerPage *page = poppler_document_get_page(doc, i);
			bool go_on = page == NULL || read_page(tell, page, (uint32_t)i + 1);
			unseen += page == NULL;
			if (page != NULL)
				g_object_unref(page);
			if (!go_on)
				break;
		}
		if (n > 0 && unseen == HTH_MIN(n, (int)HTH_EXTRACT_PAGES_MAX))
			hth_verdict_unreadable(verdict, "damaged: none of its %d pages can be read", n);
		else if (unseen > 0)
			hth_verdict_partial(verdict, "damaged: %d of its %d pages cannot be read", unseen, n);
	}
	read_attachments(tell, doc, verdict);
	g_object_unref(doc);
}
