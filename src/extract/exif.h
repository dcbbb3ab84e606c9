/* exif.h - what a camera wrote into a picture: when, where, held how. Source: CIPA DC-008 (Exif 2.32), TIFF 6.0, JFIF/JPEG's markers. */
#ifndef HTH_EXTRACT_EXIF_H
#define HTH_EXTRACT_EXIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hth_exif {
	bool has_date, has_place;
	int64_t date; /* seconds since 1970; the camera's clock with its offset if it told one, else taken as UTC */
	double latitude, longitude;
	unsigned orientation; /* 1 to 8, 0: not told */
	char description[256], artist[128];
} hth_exif;
/* Reads a TIFF structure ("II*\0" or "MM\0*"). Untouched where nothing is told. Never reads outside; loops end. */
void hth_exif_read(hth_exif *exif, const unsigned char *tiff, size_t len);
/* Finds the structure in a JPEG, PNG, WebP or TIFF file and reads it. */
void hth_exif_find(hth_exif *exif, const unsigned char *file, size_t len);
struct heif_image_handle;
void hth_exif_find_heif(hth_exif *exif, const struct heif_image_handle *handle);

#endif
