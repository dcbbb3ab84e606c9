/* ocr.h - words out of a Leptonica picture. See ocr.c; loading is in picture.h. */
#ifndef HTH_EXTRACT_OCR_H
#define HTH_EXTRACT_OCR_H

#include "extract/tell.h"

#include <leptonica/allheaders.h>

/* Takes the picture. dpi 0: not known. False: stop (limits). */
bool hth_ocr_pix(hth_tell *tell, uint32_t page, PIX *pix, int dpi);
/* NULL: OCR is loaded here; else why not, as a reason for people. */
const char *hth_ocr_why_not(void);

#endif
