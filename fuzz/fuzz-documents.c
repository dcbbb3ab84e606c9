/* The readers of documents that are ours: RTF, EXIF, encodings, and the frames that the extractor's child sends. The first byte chooses.
 * Beside not crashing: what is told as text is UTF-8, boxes and places are in range. */
#include "base/mem.h"
#include "base/utf8.h"
#include "extract/charset.h"
#include "extract/exif.h"
#include "extract/extract-frames.h"
#include "extract/rtf.h"

#include <math.h>

static void require(bool good)
{
	if (!good)
		__builtin_trap();
}

static bool on_paragraph(void *ctx, bool row, const char *text, size_t len)
{
	(void)row;
	size_t *n = ctx;
	require(hth_utf8_valid_prefix(text, len) == len && len > 0);
	return ++*n < 1000;
}

static void on_fact(void *ctx, const char *name, const char *text)
{
	(void)ctx;
	(void)name;
	require(hth_utf8_valid_prefix(text, strlen(text)) == strlen(text));
}

static void try_frames(const uint8_t *data, size_t len)
{
	hth_frame_decoder decoder;
	hth_framing_decoder_init(&decoder, &hth_extract_frames, HTH_TO_DAEMON);
	hth_extract_scratch scratch;
	hth_extract_scratch_init(&scratch);
	hth_error err;
	hth_frame frame;
	bool have = true;
	if (hth_frame_decoder_feed(&decoder, data, len, &err) == HTH_OK)
		while (hth_frame_decoder_next(&decoder, &frame, &have, &err) == HTH_OK && have) {
			hth_extract_part part;
			hth_extract_meta meta;
			hth_extract_block block;
			hth_extract_result result;
			bool retire;
			uint32_t a, b;
			unsigned abi;
			hth_error why;
			if (hth_extract_get_part(&frame, &scratch, &part, &err) == HTH_OK)
				require(strlen(part.name) <= HTH_EXTRACT_STRING_MAX);
			if (hth_extract_get_meta(&frame, &scratch, &meta, &err) == HTH_OK)
				require(meta.kind < HTH_KIND_COUNT && (!meta.has_place || fabs(meta.latitude) <= 90));
			if (hth_extract_get_block(&frame, &scratch, &block, &err) == HTH_OK)
				require(block.len > 0 && strlen(block.text) == block.len && block.box[0] <= block.box[2]);
			if (hth_extract_get_result(&frame, &scratch, &result, &retire, &err) == HTH_OK)
				require(result.state >= HTH_EXTRACT_TEXT && result.state <= HTH_EXTRACT_EXCLUDED);
			(void)!hth_extract_get_page(&frame, &a, &b, &err);
			(void)!hth_extract_get_ready(&frame, &abi, &err);
			(void)!hth_extract_get_broken(&frame, &why, &err);
		}
	hth_extract_scratch_finish(&scratch);
	hth_frame_decoder_finish(&decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	unsigned choice = data[0];
	data++;
	len--;
	size_t n = 0;
	hth_exif exif = {0};
	hth_buf out = HTH_BUF_INIT(1 << 22);
	switch (choice % 4) {
	case 0: (void)!hth_rtf_read((const char *)data, len, &(hth_rtf_events){on_paragraph, on_fact}, &n); break;
	case 1:
		hth_exif_find(&exif, data, len);
		require(!exif.has_place || (fabs(exif.latitude) <= 90 && fabs(exif.longitude) <= 180));
		break;
	case 2: {
		static const char *const declared[] = {NULL, "shift_jis", "iso-2022-jp", "utf-7", "windows-1251", "gb18030", "no-such",
		                                       "utf-16"};
		hth_charset_decode(&out, (const char *)data, len, declared[choice / 4 % HTH_COUNT(declared)]);
		require(out.len == 0 || hth_utf8_valid_prefix(out.data, out.len) == out.len);
		(void)hth_charset_is_text((const char *)data, len);
		break;
	}
	default: try_frames(data, len); break;
	}
	hth_buf_finish(&out);
	return 0;
}
