/* sniff.c - what a file is: its first bytes decide, its name's ending where bytes do not tell (Markdown is text), libmagic for the names of
 * what holds no text. Then its reader is called. Child only. */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/readers.h"

#include <ctype.h>
#include <strings.h>

enum { PEEK = 64 << 10 };

void hth_name_ending(const char *name, char ret[16])
{
	const char *slash = strrchr(name, '/'), *dot = strrchr(slash != NULL ? slash : name, '.');
	size_t n = 0;
	for (dot = dot != NULL ? dot + 1 : ""; n < 15 && dot[n] != '\0'; n++)
		ret[n] = (char)tolower((unsigned char)dot[n]);
	ret[n] = '\0';
}

static bool starts(const char *head, size_t n, const char *magic, size_t len) { return n >= len && memcmp(head, magic, len) == 0; }

static bool is_image(const char *h, size_t n)
{
	if (n >= 12 && memcmp(h + 4, "ftyp", 4) == 0) {
		static const char *const brands[] = {"heic", "heix", "hevc", "heim", "heis", "mif1", "msf1", "avif", "avis"};
		for (size_t i = 0; i < HTH_COUNT(brands); i++)
			if (memcmp(h + 8, brands[i], 4) == 0)
				return true;
		return false;
	}
	bool pnm = n > 3 && h[0] == 'P' && h[1] >= '1' && h[1] <= '6' && (h[2] == '\n' || h[2] == ' ' || h[2] == '\r');
	return starts(h, n, "\x89PNG\r\n", 6) || starts(h, n, "\xFF\xD8\xFF", 3) || starts(h, n, "II*\0", 4) || starts(h, n, "MM\0*", 4) ||
	       starts(h, n, "GIF8", 4) || (starts(h, n, "BM", 2) && n > 26 && h[6] == 0 && h[7] == 0) ||
	       (starts(h, n, "RIFF", 4) && n > 12 && memcmp(h + 8, "WEBP", 4) == 0) || pnm || starts(h, n, "\0\0\0\x0CjP  ", 8);
}

hth_extract_kind hth_sniff(const hth_source *source, hth_verdict *verdict)
{
	static char head[PEEK + 1];
	size_t n = hth_source_peek(source, 0, head, PEEK);
	head[n] = '\0';
	char ending[16];
	hth_name_ending(source->name, ending);
	if (memmem(head, HTH_MIN(n, (size_t)1024), "%PDF-", 5) != NULL)
		return HTH_KIND_PDF;
	if (is_image(head, n))
		return HTH_KIND_IMAGE;
	if (!hth_charset_is_text(head, n)) {
		hth_verdict_excluded(verdict, "not a kind of file that holds text");
		return HTH_KIND_OTHER;
	}
	if (strcmp(ending, "md") == 0 || strcmp(ending, "markdown") == 0)
		return HTH_KIND_MARKDOWN;
	if (strcmp(ending, "csv") == 0 || strcmp(ending, "tsv") == 0)
		return HTH_KIND_CSV;
	return HTH_KIND_PLAIN;
}

void hth_read_source(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	hth_extract_kind kind = hth_sniff(source, verdict);
	switch (kind) {
	case HTH_KIND_OTHER: hth_tell_meta(tell, &(hth_extract_meta){.kind = kind}); break;
	case HTH_KIND_PDF: hth_read_pdf(tell, source, verdict); break;
	case HTH_KIND_IMAGE: hth_read_image(tell, source, verdict); break;
	default: hth_read_plain(tell, source, kind, verdict); break;
	}
	if (tell->full)
		hth_verdict_partial(verdict, "more text than is kept of one file; the rest was not read");
	hth_source_unload(source);
}
