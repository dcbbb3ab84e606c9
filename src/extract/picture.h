/* picture.h - pictures in the child: reading them, words out of them (Tesseract), PNG of them with marks. */
#ifndef HTH_EXTRACT_PICTURE_H
#define HTH_EXTRACT_PICTURE_H

#include "extract/tell.h"

#include <cairo.h>

#define HTH_PICTURE_PIXELS_MAX 40e6

/* Loads Tesseract with these languages ("eng+deu"; "": what is installed of a few), before the sandbox. False: err says what is missing;
 * the child then reads no pictures. Only in the child that does OCR. */
HTH_MUST_USE bool hth_picture_load_ocr(const char *languages, hth_error *err);
/* Draws something with text once, so that fonts and converters are loaded before the sandbox. */
void hth_picture_warm(void);

/* Tells the words of one page, by paragraphs with boxes: turned upright and deskewed first, boxes are those of the page as it came.
 * False: stop (limits). */
bool hth_picture_ocr_surface(hth_tell *tell, uint32_t page, cairo_surface_t *surface, int dpi);
/* Marks the order's boxes on the surface, and those of words (fractions of the page, as boxes are), and tells it as PNG. */
void hth_picture_tell_png(hth_tell *tell, cairo_surface_t *surface, const float (*words)[4], size_t n_words, hth_verdict *verdict);

#endif
