/* lzfu.c - Outlook's compressed RTF. Child only, and fuzzed. See old-office.h; source: [MS-OXRTFCP].
 *
 * Runs of eight: a byte says which are literal and which are references into the last 4096 bytes, which begin as a text
 * that every RTF has.
 */
#include "base/mem.h"
#include "extract/old-office.h"

enum { WINDOW = 4096, PLAIN = 0x414C454D, COMPRESSED = 0x75465A4C };

static const char before[] =
    "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS "
    "Sans SerifSymbolArial"
    "Times New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

bool hth_lzfu_expand(const char *bytes, size_t len, hth_buf *out)
{
	if (len < 16)
		return false;
	size_t raw = hth_le32(bytes + 4);
	if (hth_le32(bytes + 8) == PLAIN)
		return hth_buf_append(out, bytes + 16, HTH_MIN(raw, len - 16)) && raw <= len - 16;
	if (hth_le32(bytes + 8) != COMPRESSED)
		return false;
	char window[WINDOW];
	memset(window, ' ', sizeof window);
	memcpy(window, before, sizeof before - 1);
	size_t to = sizeof before - 1, told = 0;
	for (size_t at = 16; at < len;) {
		unsigned flags = (unsigned char)bytes[at++];
		for (int bit = 0; bit < 8 && at < len; bit++, flags >>= 1) {
			if ((flags & 1) == 0) {
				window[to] = bytes[at++];
				hth_buf_append_char(out, window[to]);
				to = (to + 1) % WINDOW;
				told++;
				continue;
			}
			if (at + 2 > len)
				return false;
			unsigned pair = (unsigned)(unsigned char)bytes[at] << 8 | (unsigned char)bytes[at + 1];
			at += 2;
			size_t from = pair >> 4, n = (pair & 15) + 2;
			if (from == to) /* the end's mark */
				return told == raw;
			for (size_t i = 0; i < n; i++) {
				window[to] = window[from];
				hth_buf_append_char(out, window[to]);
				from = (from + 1) % WINDOW;
				to = (to + 1) % WINDOW;
			}
			told += n;
		}
		if (out->failed)
			return false;
	}
	return told == raw;
}
