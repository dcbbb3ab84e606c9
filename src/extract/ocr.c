/* ocr.c - words out of pictures, by Tesseract; Leptonica turns and straightens. Child only, of the OCR kind.
 *
 * A picture is made grey, lit evenly if it was photographed (a shadow's edge else hides half a page), turned by quarters as Tesseract's
 * orientation model says, made larger until its letters are tall enough, straightened by up to a few degrees, recognised, and told by
 * paragraphs. Boxes go back to the picture as it came. Words that Tesseract itself hardly believes in (photographs are full of them) are
 * left out.
 */
#include "extract/ocr.h"

#include "base/mem.h"
#include "extract/picture.h"

#include <math.h>
#include <stdio.h>
#include <tesseract/capi.h>
#include <unistd.h>

enum { BELIEVED = 60, WORD_CONFIDENCE_MIN = 20, PARAGRAPH_CONFIDENCE_MIN = 30, UPSCALE_BELOW = 1600, LETTERS_MIN = 20, LETTER_MAX = 128 };
/* Pixels of a letter's height that are aimed at, and how far a picture is made larger for it. Chosen on half of the pictures that were
 * measured (docs/index.md, Reading pictures), checked on the other half. */
#define LETTER_HEIGHT 18.0
#define SCALE_MAX 3.0
#define SCALED_PIXELS_MAX 25e6

static TessBaseAPI *words, *orientation;
static char why_not[256] = "OCR is not loaded in this process";

/* ---- loading ---- */

static const char *tessdata_dir(void)
{
	static const char *const dirs[] = {"/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata",
	                                   "/usr/share/tessdata",
	                                   "/usr/local/share/tessdata"};
	const char *env = getenv("TESSDATA_PREFIX");
	if (env != NULL && access(env, R_OK) == 0)
		return env;
	for (size_t i = 0; i < HTH_COUNT(dirs); i++)
		if (access(dirs[i], R_OK) == 0)
			return dirs[i];
	return NULL;
}

static bool is_installed(const char *dir, const char *language)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s.traineddata", dir, language);
	return access(path, R_OK) == 0;
}

bool hth_picture_load_ocr(const char *languages, hth_error *err)
{
	static const char *const usual[] = {"eng", "deu", "fra", "spa", "ita"};
	const char *dir = tessdata_dir();
	char list[256] = "";
	if (dir == NULL) {
		hth_fail(err, HTH_NOT_FOUND, "no language data of Tesseract is installed (Debian: tesseract-ocr-eng, tesseract-ocr-osd)");
		snprintf(why_not, sizeof why_not, "cannot be read: %.200s", err->message);
		return false;
	}
	if (languages[0] != '\0')
		snprintf(list, sizeof list, "%s", languages);
	for (size_t i = 0; languages[0] == '\0' && i < HTH_COUNT(usual); i++)
		if (is_installed(dir, usual[i]))
			snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] != '\0' ? "+" : "", usual[i]);
	words = TessBaseAPICreate();
	if (TessBaseAPIInit3(words, dir, list) != 0) {
		TessBaseAPIDelete(words);
		words = NULL;
		hth_fail(err, HTH_NOT_FOUND, "Tesseract has no data for the languages %s in %s", list[0] != '\0' ? list : "(none)", dir);
		snprintf(why_not, sizeof why_not, "cannot be read: %.200s", err->message);
		return false;
	}
	orientation = TessBaseAPICreate();
	if (TessBaseAPIInit3(orientation, dir, "osd") != 0) { /* pages are then taken as they lie */
		TessBaseAPIDelete(orientation);
		orientation = NULL;
	}
	return true;
}

const char *hth_ocr_why_not(void) { return words != NULL ? NULL : why_not; }

/* ---- one page ---- */

typedef struct placing {
	int width, height;   /* of the picture as it came */
	int turns;           /* quarters clockwise that were applied */
	double scale, angle; /* then scaled, then turned by this many radians clockwise about the middle */
	bool is_text;        /* it lies the way that text lies, without doubt */
	int letters;         /* that it may have */
	int turned_width, turned_height; /* after turns and scaling */
} placing;

/* A point of the straightened picture, where it was in the picture as it came, as fractions. */
static void place_back(const placing *p, double x, double y, float *ret_x, float *ret_y)
{
	double cx = p->turned_width / 2.0, cy = p->turned_height / 2.0, s = sin(-p->angle), c = cos(-p->angle);
	double u = cx + (x - cx) * c - (y - cy) * s, v = cy + (x - cx) * s + (y - cy) * c;
	double fx = u / p->turned_width, fy = v / p->turned_height, swap;
	switch (p->turns) {
	case 1: /* clockwise: what was left is now above */
		swap = fx;
		fx = fy;
		fy = 1 - swap;
		break;
	case 2:
		fx = 1 - fx;
		fy = 1 - fy;
		break;
	case 3:
		swap = fx;
		fx = 1 - fy;
		fy = swap;
		break;
	default: break;
	}
	*ret_x = (float)fx;
	*ret_y = (float)fy;
}

static void place_box(const placing *p, int left, int top, int right, int bottom, float box[4])
{
	float x[4], y[4];
	place_back(p, left, top, &x[0], &y[0]);
	place_back(p, right, top, &x[1], &y[1]);
	place_back(p, left, bottom, &x[2], &y[2]);
	place_back(p, right, bottom, &x[3], &y[3]);
	box[0] = box[1] = 1;
	box[2] = box[3] = 0;
	for (int i = 0; i < 4; i++) {
		box[0] = HTH_MIN(box[0], x[i]);
		box[1] = HTH_MIN(box[1], y[i]);
		box[2] = HTH_MAX(box[2], x[i]);
		box[3] = HTH_MAX(box[3], y[i]);
	}
}

/* Quarters clockwise that make it upright. ret_sure: no guess. */
static int find_turns(PIX *pix, bool *ret_sure)
{
	int degrees = 0;
	float confidence = 0, script_confidence = 0;
	const char *script = NULL;
	if (orientation == NULL)
		return 0;
	TessBaseAPISetImage2(orientation, pix);
	TessBaseAPISetSourceResolution(orientation, 300);
	if (!TessBaseAPIDetectOrientationScript(orientation, &degrees, &confidence, &script, &script_confidence))
		return 0;
	TessBaseAPIClear(orientation);
	/* `degrees` is how far the page was turned clockwise; below this confidence it is a guess. */
	*ret_sure = confidence > 4;
	return *ret_sure ? (4 - degrees / 90 % 4) % 4 : 0;
}

/* Takes *pix where `better` is a picture. */
static bool replace(PIX **pix, PIX *better)
{
	if (better == NULL)
		return false;
	pixDestroy(pix);
	*pix = better;
	return true;
}

/* Whether paper is much darker in one place than in another: photographs are lit from somewhere, scans are not. */
static bool is_lit_unevenly(PIX *gray)
{
	PIX *map = NULL; /* how bright the background is, for each 10 by 15 pixels */
	l_float32 dark = 0, bright = 0;
	if (pixGetBackgroundGrayMap(gray, NULL, 10, 15, 60, 40, &map) != 0 || map == NULL)
		return false;
	bool known = pixGetRankValueMasked(map, NULL, 0, 0, 1, 0.05f, &dark, NULL) == 0 &&
	    pixGetRankValueMasked(map, NULL, 0, 0, 1, 0.95f, &bright, NULL) == 0;
	pixDestroy(&map);
	return known && dark < 0.75f * bright;
}

/* The middle one of the heights of what may be letters, in pixels; 0: too few of them. */
static int letter_height(PIX *gray, int *ret_letters)
{
	int heights[LETTER_MAX] = {0}, n = 0, seen = 0, middle = 0;
	PIX *binary = NULL;
	if (pixOtsuAdaptiveThreshold(gray, 2000, 2000, 0, 0, 0.1f, NULL, &binary) != 0 || binary == NULL)
		return 0;
	BOXA *boxes = pixConnCompBB(binary, 8);
	for (int i = 0; boxes != NULL && i < boxaGetCount(boxes); i++) {
		l_int32 w, h;
		if (boxaGetBoxGeometry(boxes, i, NULL, NULL, &w, &h) == 0 && h >= 5 && h < LETTER_MAX && w >= 3 && w < 6 * h) {
			heights[h]++;
			n++;
		}
	}
	while (n >= LETTERS_MIN && middle < LETTER_MAX - 1 && (seen += heights[middle]) * 2 < n)
		middle++;
	boxaDestroy(&boxes);
	pixDestroy(&binary);
	*ret_letters = n;
	return middle;
}

static double scale_for(PIX *gray, int *ret_letters)
{
	int height = letter_height(gray, ret_letters);
	double pixels = (double)pixGetWidth(gray) * pixGetHeight(gray), f = height > 0 ? LETTER_HEIGHT / height : 1;
	if (height == 0 && HTH_MAX((int)pixGetWidth(gray), (int)pixGetHeight(gray)) < UPSCALE_BELOW) /* a line or two */
		f = 2;
	f = HTH_MIN(f, SCALE_MAX);
	return pixels * f * f > SCALED_PIXELS_MAX ? sqrt(SCALED_PIXELS_MAX / pixels) : f;
}

/* Takes pix. Grey, evenly lit, upright, large enough, straight. */
static PIX *prepare(PIX *pix, placing *p)
{
	*p = (placing){.width = (int)pixGetWidth(pix), .height = (int)pixGetHeight(pix), .scale = 1};
	PIX *gray = pixConvertTo8(pix, 0);
	pixDestroy(&pix);
	if (gray == NULL)
		return NULL;
	if (is_lit_unevenly(gray))
		(void)!replace(&gray, pixBackgroundNorm(gray, NULL, NULL, 10, 15, 60, 40, 230, 2, 1));
	p->turns = find_turns(gray, &p->is_text);
	if (p->turns != 0 && !replace(&gray, pixRotateOrth(gray, p->turns)))
		p->turns = 0;
	double f = scale_for(gray, &p->letters);
	if (f > 1.15 && replace(&gray, pixScale(gray, (l_float32)f, (l_float32)f)))
		p->scale = f;
	p->turned_width = (int)pixGetWidth(gray);
	p->turned_height = (int)pixGetHeight(gray);
	l_float32 angle = 0, confidence = 0;
	PIX *binary = pixThresholdToBinary(gray, 130);
	if (binary != NULL && pixGetHeight(gray) > 200 && pixFindSkew(binary, &angle, &confidence) == 0 && confidence > 3 &&
	    fabsf(angle) > 0.3f) {
		double radians = angle * 3.14159265358979 / 180;
		PIX *straight = pixRotate(gray, (l_float32)radians, L_ROTATE_AREA_MAP, L_BRING_IN_WHITE, 0, 0);
		if (straight != NULL && (int)pixGetWidth(straight) == p->turned_width && (int)pixGetHeight(straight) == p->turned_height) {
			pixDestroy(&gray);
			gray = straight;
			p->angle = radians;
		} else {
			pixDestroy(&straight);
		}
	}
	pixDestroy(&binary);
	return gray;
}

/* The lines of one paragraph without the words that are hardly believed. A word cut at a line's end is joined. */
static void take_paragraph(TessResultIterator *it, hth_buf *text)
{
	const TessPageIterator *place = TessResultIteratorGetPageIteratorConst(it);
	do {
		char *word = TessResultIteratorGetUTF8Text(it, RIL_WORD);
		float confidence = TessResultIteratorConfidence(it, RIL_WORD);
		if (word != NULL && confidence >= WORD_CONFIDENCE_MIN) {
			if (text->len > 0 && TessPageIteratorIsAtBeginningOf(place, RIL_TEXTLINE))
				hth_buf_append_char(text, '\n');
			else if (text->len > 0)
				hth_buf_append_char(text, ' ');
			hth_buf_append_str(text, word);
		}
		TessDeleteText(word);
		if (TessPageIteratorIsAtFinalElement(place, RIL_PARA, RIL_WORD))
			break;
	} while (TessResultIteratorNext(it, RIL_WORD));
}

static bool tell_paragraphs(hth_tell *tell, uint32_t page, TessResultIterator *it, const placing *p)
{
	bool go_on = true;
	do {
		int left, top, right, bottom;
		const TessPageIterator *place = TessResultIteratorGetPageIteratorConst(it);
		if (!TessPageIteratorBoundingBox(place, RIL_PARA, &left, &top, &right, &bottom))
			continue;
		float confidence = TessResultIteratorConfidence(it, RIL_PARA), box[4];
		hth_buf text = HTH_BUF_INIT(1 << 20);
		take_paragraph(it, &text);
		place_box(p, left, top, right, bottom, box);
		if (text.len > 0 && confidence >= PARAGRAPH_CONFIDENCE_MIN)
			go_on = hth_tell_text(tell, page, HTH_ROLE_OCR, box, text.data, text.len);
		hth_buf_finish(&text);
	} while (go_on && TessResultIteratorNext(it, RIL_PARA));
	return go_on;
}

/* How many characters were read that Tesseract believes in; -1: it could not. */
static int recognise(PIX *pix, TessPageSegMode mode, int resolution)
{
	int believed = 0;
	TessBaseAPISetPageSegMode(words, mode);
	TessBaseAPISetImage2(words, pix);
	TessBaseAPISetSourceResolution(words, resolution);
	if (TessBaseAPIRecognize(words, NULL) != 0)
		return -1;
	TessResultIterator *it = TessBaseAPIGetIterator(words);
	if (it == NULL)
		return 0;
	do {
		char *word = TessResultIteratorGetUTF8Text(it, RIL_WORD);
		if (word != NULL && TessResultIteratorConfidence(it, RIL_WORD) >= BELIEVED)
			believed += (int)strlen(word);
		TessDeleteText(word);
	} while (TessResultIteratorNext(it, RIL_WORD));
	TessResultIteratorDelete(it);
	return believed;
}

bool hth_ocr_pix(hth_tell *tell, uint32_t page, PIX *pix, int dpi)
{
	placing p;
	PIX *ready = words != NULL ? prepare(pix, &p) : NULL;
	if (words == NULL)
		pixDestroy(&pix);
	if (ready == NULL)
		return true;
	int resolution = dpi > 0 ? (int)(dpi * p.scale) : 300;
	bool is_line = p.height * 6 < p.width;
	int believed = recognise(ready, is_line ? PSM_SINGLE_BLOCK : PSM_AUTO, resolution);
	/* Sometimes a whole page, framed by the desk that it lies on, is taken for a picture. */
	if (!is_line && p.is_text && believed < p.letters / 4 && recognise(ready, PSM_SINGLE_BLOCK, resolution) < believed)
		(void)recognise(ready, PSM_AUTO, resolution);
	bool go_on = true;
	TessResultIterator *it = TessBaseAPIGetIterator(words);
	if (it != NULL) {
		go_on = tell_paragraphs(tell, page, it, &p);
		TessResultIteratorDelete(it);
	}
	TessBaseAPIClear(words);
	TessBaseAPIClearAdaptiveClassifier(words);
	pixDestroy(&ready);
	return go_on;
}

bool hth_picture_ocr_surface(hth_tell *tell, uint32_t page, cairo_surface_t *surface, int dpi)
{
	int w = cairo_image_surface_get_width(surface), h = cairo_image_surface_get_height(surface);
	int stride = cairo_image_surface_get_stride(surface);
	const unsigned char *data = cairo_image_surface_get_data(surface);
	PIX *pix = pixCreate(w, h, 8);
	if (pix == NULL)
		return true;
	l_uint32 *rows = pixGetData(pix);
	l_int32 wpl = pixGetWpl(pix);
	for (int y = 0; y < h; y++) {
		const unsigned char *p = data + (size_t)y * (size_t)stride;
		l_uint32 *row = rows + (size_t)y * (size_t)wpl;
		for (int x = 0; x < w; x++, p += 4)
			SET_DATA_BYTE(row, x, (p[2] * 77 + p[1] * 150 + p[0] * 29) >> 8);
	}
	return hth_ocr_pix(tell, page, pix, dpi);
}
