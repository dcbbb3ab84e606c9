/* picture.c - picture files: what their EXIF says, whether OCR may find words in them, PNG of a page with marks. See picture.h.
 * PNG, JPEG, TIFF (many pages), WebP, GIF, BMP, PNM by Leptonica; HEIC and AVIF by libheif. Child only. */
#include "extract/picture.h"

#include "base/mem.h"
#include "extract/exif.h"
#include "extract/ocr.h"
#include "extract/readers.h"

#include <glib.h>
#include <libheif/heif.h>
#include <math.h>
#include <poppler.h>

enum { SMALLEST_SIDE = 16, SMALLEST_AREA = 5000, TIFF_PAGES_MAX = 2000 };

/* ---- PNG for people ---- */

static cairo_status_t take_png(void *closure, const unsigned char *data, unsigned len)
{
	return hth_buf_append(closure, data, len) ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static void mark_box(cairo_t *cr, const float m[4], double w, double h, double fill, double line)
{
	double pad = 2;
	cairo_rectangle(cr, m[0] * w - pad, m[1] * h - pad, (m[2] - m[0]) * w + 2 * pad, (m[3] - m[1]) * h + 2 * pad);
	cairo_set_source_rgba(cr, 1, 0.85, 0, fill);
	cairo_fill_preserve(cr);
	cairo_set_source_rgba(cr, 0.9, 0.45, 0, line);
	cairo_set_line_width(cr, 2);
	cairo_stroke(cr);
}

void hth_picture_tell_png(hth_tell *tell, cairo_surface_t *surface, const float (*words)[4], size_t n_words, hth_verdict *verdict)
{
	double w = cairo_image_surface_get_width(surface), h = cairo_image_surface_get_height(surface);
	cairo_t *cr = cairo_create(surface);
	/* Where words are marked, the box around them is only a frame. */
	for (size_t i = 0; i < tell->order.n_marks; i++)
		mark_box(cr, tell->order.marks[i], w, h, n_words > 0 ? 0.08 : 0.30, 0.9);
	for (size_t i = 0; i < n_words; i++)
		mark_box(cr, words[i], w, h, 0.45, 0);
	cairo_destroy(cr);
	hth_buf png = HTH_BUF_INIT(HTH_EXTRACT_PNG_MAX);
	if (cairo_surface_write_to_png_stream(surface, take_png, &png) == CAIRO_STATUS_SUCCESS)
		hth_tell_png(tell, png.data, png.len);
	else
		hth_verdict_unreadable(verdict, "too large to show: over %d MiB as PNG", HTH_EXTRACT_PNG_MAX >> 20);
	hth_buf_finish(&png);
}

/* ---- pictures to Leptonica's ---- */

static PIX *from_rgb(const uint8_t *rgb, int width, int height, int stride)
{
	PIX *pix = pixCreate(width, height, 32);
	if (pix == NULL)
		return NULL;
	l_uint32 *rows = pixGetData(pix);
	l_int32 wpl = pixGetWpl(pix);
	for (int y = 0; y < height; y++) {
		const uint8_t *p = rgb + (size_t)y * (size_t)stride;
		l_uint32 *row = rows + (size_t)y * (size_t)wpl;
		for (int x = 0; x < width; x++, p += 3)
			composeRGBPixel(p[0], p[1], p[2], &row[x]);
	}
	return pix;
}

typedef struct picture {
	int width, height, pages;
	bool is_tiff, is_heif;
	struct heif_context *heif;
	struct heif_image_handle *handle;
} picture;

static bool is_heif(const hth_source *s)
{
	return s->len > 16 && heif_check_filetype((const uint8_t *)s->bytes, 16) == heif_filetype_yes_supported;
}

static bool open_heif(picture *p, const hth_source *s, hth_verdict *verdict)
{
	p->is_heif = true;
	p->heif = heif_context_alloc();
	struct heif_error e = heif_context_read_from_memory_without_copy(p->heif, s->bytes, (size_t)s->len, NULL);
	if (e.code == heif_error_Ok)
		e = heif_context_get_primary_image_handle(p->heif, &p->handle);
	if (e.code != heif_error_Ok) {
		hth_verdict_unreadable(verdict, "damaged: %s", e.message);
		return false;
	}
	p->width = heif_image_handle_get_width(p->handle);
	p->height = heif_image_handle_get_height(p->handle);
	p->pages = 1;
	return true;
}

static void close_picture(picture *p)
{
	if (p->handle != NULL)
		heif_image_handle_release(p->handle);
	if (p->heif != NULL)
		heif_context_free(p->heif);
}

static bool open_picture(picture *p, const hth_source *s, hth_verdict *verdict)
{
	*p = (picture){.pages = 1};
	const l_uint8 *data = (const l_uint8 *)s->bytes;
	l_int32 format = 0, bps, spp, iscmap;
	if (is_heif(s)) {
		if (!open_heif(p, s, verdict))
			return false;
	} else {
		if (pixReadHeaderMem(data, (size_t)s->len, &format, &p->width, &p->height, &bps, &spp, &iscmap) != 0 || format == IFF_PS ||
		    format == IFF_LPDF) {
			hth_verdict_unreadable(verdict, "damaged: not a whole picture, or of a kind that is not known");
			return false;
		}
		p->is_tiff = format >= IFF_TIFF && format <= IFF_TIFF_ZIP;
		if (p->is_tiff) {
			for (p->pages = 0; p->pages < TIFF_PAGES_MAX; p->pages++) {
				l_int32 w, h;
				if (readHeaderMemTiff(data, (size_t)s->len, p->pages, &w, &h, NULL, NULL, NULL, NULL, NULL) != 0)
					break;
				p->width = HTH_MAX(p->width, w);
				p->height = HTH_MAX(p->height, h);
			}

			p->pages = HTH_MAX(p->pages, 1);
		}
	}
	if (p->width <= 0 || p->height <= 0) {
		hth_verdict_unreadable(verdict, "damaged: a picture without size");
		return false;
	}
	if ((double)p->width * p->height > 3 * HTH_PICTURE_PIXELS_MAX) {
		hth_verdict_unreadable(verdict, "too large: %d x %d pixels", p->width, p->height);
		return false;
	}
	return true;
}

/* Page from 0. NULL: it cannot be read. */
static PIX *read_pix(picture *p, const hth_source *s, int page)
{
	const l_uint8 *data = (const l_uint8 *)s->bytes;
	if (p->is_heif) {
		struct heif_image *image = NULL;
		struct heif_error e = heif_decode_image(p->handle, &image, heif_colorspace_RGB, heif_chroma_interleaved_RGB, NULL);
		if (e.code != heif_error_Ok)
			return NULL;
		int stride = 0, w = heif_image_get_width(image, heif_channel_interleaved),
		    h = heif_image_get_height(image, heif_channel_interleaved);
		const uint8_t *rgb = heif_image_get_plane_readonly(image, heif_channel_interleaved, &stride);
		PIX *pix = rgb != NULL ? from_rgb(rgb, w, h, stride) : NULL;
		heif_image_release(image);
		return pix;
	}
	if (!p->is_tiff)
		return pixReadMem(data, (size_t)s->len);
	return pixReadMemTiff(data, (size_t)s->len, page);
}

/* How a camera was held: quarters clockwise to turn, from EXIF's orientation (mirrored ones are only turned). */
static int exif_turns(unsigned orientation)
{
	switch (orientation) {
	case 3: case 4: return 2;
	case 5: case 6: return 1;
	case 7: case 8: return 3;
	default: return 0;
	}
}

static cairo_surface_t *to_surface(PIX *pix)
{
	PIX *rgb = pixConvertTo32(pix);
	if (rgb == NULL)
		return NULL;
	int w = (int)pixGetWidth(rgb), h = (int)pixGetHeight(rgb);
	cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, w, h);
	if (cairo_surface_status(s) == CAIRO_STATUS_SUCCESS) {
		unsigned char *to = cairo_image_surface_get_data(s);
		int stride = cairo_image_surface_get_stride(s);
		for (int y = 0; y < h; y++)
			for (int x = 0; x < w; x++) {
				l_int32 r, g, b;
				extractRGBValues(pixGetData(rgb)[(size_t)y * (size_t)pixGetWpl(rgb) + (size_t)x], &r, &g, &b);
				uint32_t v = (uint32_t)r << 16 | (uint32_t)g << 8 | (uint32_t)b;
				memcpy(to + (size_t)y * (size_t)stride + (size_t)x * 4, &v, 4);
			}
		cairo_surface_mark_dirty(s);
	}
	pixDestroy(&rgb);
	return s;
}

static void render(hth_tell *tell, picture *p, const hth_source *source, int turns, hth_verdict *verdict)
{
	PIX *pix = (int)tell->order.page <= p->pages ? read_pix(p, source, (int)tell->order.page - 1) : NULL;
	if (pix != NULL && turns != 0) {
		PIX *turned = pixRotateOrth(pix, turns);
		pixDestroy(&pix);
		pix = turned;
	}
	/* A screen's worth: the dpi of a page that is 11 inches high. */
	double longest = 11.0 * tell->order.dpi;
	if (pix != NULL && HTH_MAX(pixGetWidth(pix), pixGetHeight(pix)) > longest) {
		l_float32 scale = (l_float32)(longest / HTH_MAX(pixGetWidth(pix), pixGetHeight(pix)));
		PIX *smaller = pixScale(pix, scale, scale);
		pixDestroy(&pix);
		pix = smaller;
	}
	cairo_surface_t *surface = pix != NULL ? to_surface(pix) : NULL;
	if (surface == NULL)
		hth_verdict_unreadable(verdict, "has no page %u that can be shown", tell->order.page);
	else
		hth_picture_tell_png(tell, surface, NULL, 0, verdict);
	if (surface != NULL)
		cairo_surface_destroy(surface);
	pixDestroy(&pix);
}

static void read_words(hth_tell *tell, picture *p, const hth_source *source, int turns, hth_verdict *verdict)
{
	int unseen = 0;
	if (hth_ocr_why_not() != NULL) {
		hth_verdict_unreadable(verdict, "%s", hth_ocr_why_not());
		return;
	}
	for (int i = 0; i < p->pages && !tell->full; i++) {
		hth_tell_page(tell, (uint32_t)i + 1);
		PIX *pix = read_pix(p, source, i);
		if (pix != NULL && turns != 0) {
			PIX *turned = pixRotateOrth(pix, turns);
			pixDestroy(&pix);
			pix = turned;
		}
		int dpi = pix != NULL ? pixGetXRes(pix) : 0;
		unseen += pix == NULL;
		if (pix != NULL && !hth_ocr_pix(tell, (uint32_t)i + 1, pix, dpi >= 70 && dpi <= 1200 ? dpi : 0))
			break;
	}
	if (unseen == p->pages)
		hth_verdict_unreadable(verdict, "damaged: its picture cannot be read");
	else if (unseen > 0)
		hth_verdict_partial(verdict, "damaged: %d of its %d pages cannot be read", unseen, p->pages);
}

void hth_read_image(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	picture p;
	hth_exif exif = {0};
	if (!hth_source_load(source, verdict)) {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_IMAGE});
		return;
	}
	bool ok = open_picture(&p, source, verdict);
	if (ok && p.is_heif)
		hth_exif_find_heif(&exif, p.handle);
	else
		hth_exif_find(&exif, (const unsigned char *)source->bytes, (size_t)source->len);
	/* libheif turns pictures as they say themselves. */
	int turns = ok && p.is_heif ? 0 : exif_turns(exif.orientation);
	hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_IMAGE,
	                                        .pages = ok ? (uint32_t)p.pages : 0,
	                                        .has_date = exif.has_date,
	                                        .date = exif.date,
	                                        .has_place = exif.has_place,
	                                        .latitude = exif.latitude,
	                                        .longitude = exif.longitude,
	                                        .title = exif.description,
	                                        .author = exif.artist});
	bool tiny = ok && (HTH_MIN(p.width, p.height) < SMALLEST_SIDE || p.width * p.height < SMALLEST_AREA);
	if (ok && hth_tell_renders_here(tell))
		render(tell, &p, source, turns, verdict);
	else if (ok && hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) && !tiny)
		for (int i = 0; i < p.pages; i++)
			hth_tell_needs_ocr(tell, (uint32_t)i + 1);
	else if (ok && hth_tell_wants(tell, HTH_EXTRACT_MODE_OCR) && !tiny)
		read_words(tell, &p, source, turns, verdict);
	close_picture(&p);
}

/* ---- before the sandbox ---- */

/* One page with a word in it, as small as a PDF gets; Poppler finds its objects by itself, there is no cross-reference table. */
static const char warm_pdf[] = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
                               "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]/Contents 4 0 R/Resources<</Font<</F 5 0 "
                               "R>>>>>>endobj\n4 0 obj<</Length 38>>stream\nBT /F 12 Tf 9 9 Td (Hearth) Tj ET     \nendstream endobj\n5 0 "
                               "obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>\n";

/* Poppler lists its tables (of Chinese, Japanese and Korean encodings) when the first document is opened and forgets them with the last;
 * within the sandbox it could not list them again. So one stays open. */
static PopplerDocument *kept_open;

void hth_picture_warm(void)
{
	GBytes *bytes = g_bytes_new_static(warm_pdf, sizeof warm_pdf - 1);
	PopplerDocument *doc = poppler_document_new_from_bytes(bytes, NULL, NULL);
	PopplerPage *page = doc != NULL ? poppler_document_get_page(doc, 0) : NULL;
	if (page != NULL) {
		cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 72, 72);
		cairo_t *cr = cairo_create(surface);
		poppler_page_render(page, cr);
		g_free(poppler_page_get_text(page));
		cairo_destroy(cr);
		cairo_surface_destroy(surface);
		g_object_unref(page);
	}
	kept_open = doc;
	g_bytes_unref(bytes);
	setMsgSeverity(L_SEVERITY_NONE);
}
