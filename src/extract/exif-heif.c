/* exif-heif.c - EXIF of HEIC and AVIF pictures, where libheif has to find it. */
#include "base/mem.h"
#include "extract/exif.h"

#include <libheif/heif.h>

enum { EXIF_MAX = 4 << 20 };

void hth_exif_find_heif(hth_exif *exif, const struct heif_image_handle *handle)
{
	heif_item_id id;
	if (heif_image_handle_get_list_of_metadata_block_IDs(handle, "Exif", &id, 1) != 1)
		return;
	size_t len = heif_image_handle_get_metadata_size(handle, id);
	if (len < 12 || len > EXIF_MAX)
		return;
	HTH_AUTO_FREE unsigned char *bytes = malloc(len);
	if (bytes == NULL || heif_image_handle_get_metadata(handle, id, bytes).code != heif_error_Ok)
		return;
	/* Its first four bytes say how far the structure is away; usually "Exif\0\0" lies between. */
	size_t skip = ((size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3]) + 4;
	if (skip < len)
		hth_exif_read(exif, bytes + skip, len - skip);
}
