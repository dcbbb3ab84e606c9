/* sniff.c - what a file is: its first bytes decide, its name's ending where bytes do not tell (Markdown is text), libmagic for the names of
 * what holds no text. Then its reader is called. Child only. */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/readers.h"
#include "extract/zip.h"

#include <ctype.h>
#include <magic.h>
#include <strings.h>

enum { PEEK = 64 << 10 };

static magic_t magic;

void hth_sniff_load(void)
{
	magic = magic_open(MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_TAR | MAGIC_NO_CHECK_CDF | MAGIC_NO_CHECK_TOKENS);
	if (magic != NULL && magic_load(magic, NULL) != 0) { /* files are then only told apart less well */
		magic_close(magic);
		magic = NULL;
	}
}

void hth_name_ending(const char *name, char ret[16])
{
	const char *slash = strrchr(name, '/'), *dot = strrchr(slash != NULL ? slash : name, '.');
	size_t n = 0;
	for (dot = dot != NULL ? dot + 1 : ""; n < 15 && dot[n] != '\0'; n++)
		ret[n] = (char)tolower((unsigned char)dot[n]);
	ret[n] = '\0';
}

static bool starts(const char *head, size_t n, const char *magic_bytes, size_t len)
{
	return n >= len && memcmp(head, magic_bytes, len) == 0;
}

static bool is_one_of(const char *word, const char *list)
{
	size_t n = strlen(word);
	for (const char *at = list; n > 0 && (at = strstr(at, word)) != NULL; at += n)
		if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	return false;
}

static bool is_image(const char *h, size_t n)
{
	if (n >= 12 && memcmp(h + 4, "ftyp", 4) == 0) {
		static const char *const brands[] = {"heic", "heix", "hevc", "heim", "heis", "mif1", "msf1", "avif", "avis"};
		for (size_t i = 0; i < HTH_COUNT(brands); i++)
			if (memcmp(h + 8, brands[i], 4) == 0)
				return true;
		return false;
	}
	bool pnm = n > 3 && h[0] == 'P' && h[1] >= '1' && h[1] <= '6' && (h[2] == '\n' || h[2] == '\r');
	return starts(h, n, "\x89PNG\r\n", 6) || starts(h, n, "\xFF\xD8\xFF", 3) || starts(h, n, "II*\0", 4) || starts(h, n, "MM\0*", 4) ||
	       starts(h, n, "GIF8", 4) || (starts(h, n, "BM", 2) && n > 26 && h[6] == 0 && h[7] == 0 && h[8] == 0 && h[9] == 0) ||
	       (starts(h, n, "RIFF", 4) && n > 12 && memcmp(h + 8, "WEBP", 4) == 0) || pnm || starts(h, n, "\0\0\0\x0CjP  ", 8) ||
	       starts(h, n, "\xFF\x4F\xFF\x51", 4);
}

/* ---- mail ---- */

/* "Name: ", with a name of letters, digits and hyphens. Its length, 0: none. */
static size_t header_name(const char *s, size_t n)
{
	size_t i = 0;
	while (i < n && i < 64 && (isalnum((unsigned char)s[i]) || s[i] == '-' || s[i] == '_'))
		i++;
	return i > 1 && i < n && s[i] == ':' ? i : 0;
}

/* How many well-known headers the text begins with; a line that is no header, and no continuation of one, ends them. */
static int count_mail_headers(const char *s, size_t n)
{
	static const char known[] = "received from to cc subject date message-id return-path delivered-to mime-version content-type "
	                            "reply-to sender x-mailer references in-reply-to content-transfer-encoding dkim-signature "
	                            "authentication-results x-original-to envelope-to list-id list-unsubscribe bcc x-spam-status "
	                            "user-agent";
	int count = 0;
	bool in_header = false;
	for (size_t at = 0; at < n;) {
		const char *nl = memchr(s + at, '\n', n - at);
		size_t len = nl != NULL ? (size_t)(nl - (s + at)) + 1 : n - at, name = header_name(s + at, len);
		bool blank = len == 1 || (len == 2 && s[at] == '\r');
		if (at == 0 && starts(s, n, "From ", 5))
			name = 0;
		else if (blank || (name == 0 && !(in_header && (s[at] == ' ' || s[at] == '\t'))))
			break;
		char lower[65] = "";
		for (size_t i = 0; i < name && i < 64; i++)
			lower[i] = (char)tolower((unsigned char)s[at + i]);
		count += is_one_of(lower, known);
		in_header = in_header || name > 0;
		at += len;
	}
	return count;
}

static bool is_mbox(const char *s, size_t n, const char *ending)
{
	if (!starts(s, n, "From ", 5))
		return false;
	const char *nl = memchr(s, '\n', n);
	return nl != NULL && (strcmp(ending, "mbox") == 0 || count_mail_headers(nl + 1, n - (size_t)(nl + 1 - s)) >= 2);
}

/* ---- what is not read ---- */

static hth_extract_kind sniff_ole(const char *ending, hth_verdict *verdict)
{
	if (is_one_of(ending, "msi msp mst"))
		hth_verdict_excluded(verdict, "holds no text: a program's installer");
	else if (is_one_of(ending, "db"))
		hth_verdict_excluded(verdict, "holds no text: small pictures of a folder (Thumbs.db)");
	else
		return HTH_KIND_DOC; /* which of them its streams tell */
	return HTH_KIND_OTHER;
}

/* PEM and OpenPGP in armour. Private keys are nobody's reading. */
static bool is_armour(const char *s, size_t n, hth_verdict *verdict)
{
	const char *at = memmem(s, HTH_MIN(n, (size_t)4096), "-----BEGIN ", 11);
	if (at == NULL)
		return false;
	size_t left = n - (size_t)(at - s), line = HTH_MIN(strcspn(at, "\r\n"), left);
	if (memmem(at, line, "PRIVATE KEY", 11) != NULL)
		hth_verdict_excluded(verdict, "a private key");
	else if (at == s && memmem(at, line, "PGP MESSAGE", 11) != NULL)
		hth_verdict_unreadable(verdict, "encrypted: needs its reader's key");
	else if (at == s && (memmem(at, line, "CERTIFICATE", 11) != NULL || memmem(at, line, "PUBLIC KEY", 10) != NULL))
		hth_verdict_excluded(verdict, "holds no text: a certificate or public key");
	else
		return false;
	return true;
}

/* No text in any encoding: libmagic's name for it. Documents of formats that are not read are unreadable, all else holds no text. */
static void name_binary(const char *head, size_t n, const char *ending, hth_verdict *verdict)
{
	static const char documents[] = "wpd wps wks wk1 wk3 wk4 123 pub one vsd pages numbers key wri abw sdw sxd dwg dxf djvu mobi azw "
	                                "azw3 lit oxps xps ps eps msg tnef dat ppt doc xls mdb accdb";
	const char *text = magic != NULL ? magic_buffer(magic, head, n) : NULL;
	if (text == NULL || *text == '\0' || strcmp(text, "data") == 0)
		text = "data of no known kind";
	bool document = strcasestr(text, "document") != NULL || strcasestr(text, "wordperfect") != NULL ||
	    strcasestr(text, "spreadsheet") != NULL ||
	                strcasestr(text, "transport neutral") != NULL || strcasestr(text, "mobipocket") != NULL ||
	                strcasestr(text, "lotus") != NULL ||
	                strcasestr(text, "worksheet") != NULL || strcasestr(text, "htmlhelp") != NULL;
	if (document || (is_one_of(ending, documents) && strcasestr(text, "data of no known") != NULL))
		hth_verdict_unreadable(verdict, "a format that is not read: %.180s", text);
	else
		hth_verdict_excluded(verdict, "holds no text: %.180s", text);
}

/* ---- all of it ---- */

static hth_extract_kind sniff_text(const char *head, size_t n, const char *ending, hth_verdict *verdict)
{
	const char *s = head;
	size_t left = n;
	if (starts(s, left, "\xEF\xBB\xBF", 3)) {
		s += 3;
		left -= 3;
	}
	while (left > 0 && isspace((unsigned char)*s)) {
		s++;
		left--;
	}
	if (starts(s, left, "{\\rtf", 5))
		return HTH_KIND_RTF;
	if (is_mbox(s, left, ending))
		return HTH_KIND_MBOX;
	int headers = count_mail_headers(s, left);
	if (headers >= 3 || (headers >= 1 && is_one_of(ending, "eml mht mhtml")))
		return HTH_KIND_MAIL;
	if (is_armour(s, left, verdict))
		return HTH_KIND_OTHER;
	if (is_one_of(ending, "md markdown mkd"))
		return HTH_KIND_MARKDOWN;
	size_t look = HTH_MIN(left, (size_t)2048);
	char front[2049];
	for (size_t i = 0; i < look; i++)
		front[i] = s[i] != '\0' ? s[i] : ' ';
	front[look] = '\0';
	if (strncasecmp(front, "<!doctype html", 14) == 0 || strncasecmp(front, "<html", 5) == 0 ||
	    (front[0] == '<' && strcasestr(front, "<html") != NULL) || (front[0] == '<' && is_one_of(ending, "html htm xhtml")))
		return HTH_KIND_HTML;
	if (strncmp(front, "<?xml", 5) == 0 || (front[0] == '<' && is_one_of(ending, "xml svg rss atom opml nxml fb2")))
		return HTH_KIND_XML;
	if (is_one_of(ending, "html htm xhtml"))
		return HTH_KIND_HTML;
	if (is_one_of(ending, "csv tsv"))
		return HTH_KIND_CSV;
	return HTH_KIND_PLAIN;
}

hth_extract_kind hth_sniff(const hth_source *source, hth_verdict *verdict)
{
	/* Not static: archives within archives come back here. */
	HTH_AUTO_FREE char *head = malloc(PEEK + 1);
	if (head == NULL) {
		hth_verdict_unreadable(verdict, "needs more memory than it may have");
		return HTH_KIND_OTHER;
	}
	size_t n = hth_source_peek(source, 0, head, PEEK);
	head[n] = '\0';
	char ending[16];
	hth_name_ending(source->name, ending);
	const char *pdf = memmem(head, HTH_MIN(n, (size_t)1024), "%PDF-", 5);
	if (pdf != NULL && (pdf - head < 16 || strcmp(ending, "pdf") == 0 || !hth_charset_is_text(head, HTH_MIN(n, (size_t)1024))))
		return HTH_KIND_PDF;
	if (strcmp(ending, "pdf") == 0 && memmem(head, n, " obj", 4) != NULL) /* its first line is lost */
		return HTH_KIND_PDF;
	if (starts(head, n, "{\\rtf", 5))
		return HTH_KIND_RTF;
	if (starts(head, n, "PK\3\4", 4) || starts(head, n, "PK\5\6", 4) || starts(head, n, "PK\7\10", 4))
		return hth_zip_kind(source);
	if (starts(head, n, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", 8))
		return sniff_ole(ending, verdict);
	if (is_image(head, n))
		return HTH_KIND_IMAGE;
	if (starts(head, n, "\x1F\x8B\x08", 3) || starts(head, n, "\xFD" "7zXZ", 5) || starts(head, n, "7z\xBC\xAF", 4) ||
	    starts(head, n, "\x28\xB5\x2F\xFD", 4) || starts(head, n, "\x1F\x9D", 2))
		return HTH_KIND_ARCHIVE;
	bool is_text = n == 0 || hth_charset_is_text(head, n);
	if (!is_text || is_one_of(ending, "tar")) { /* tar has a magic at 257, but many are text to the eye */
		if (n > 262 && memcmp(head + 257, "ustar", 5) == 0)
			return HTH_KIND_ARCHIVE;
		if (starts(head, n, "BZh", 3) || starts(head, n, "Rar!", 4) || starts(head, n, "MSCF", 4) || starts(head, n, "LZIP", 4))
			return HTH_KIND_ARCHIVE;
		if (n > 24 && memcmp(head + 2, "-lh", 3) == 0)
			return HTH_KIND_ARCHIVE;
	}
	if (is_text && starts(head, n, "%!PS", 4)) {
		hth_verdict_unreadable(verdict, "a format that is not read: PostScript is a program");
		return HTH_KIND_OTHER;
	}
	if (is_text)
		return sniff_text(head, n, ending, verdict);
	/* A PDF whose beginning is lost, mail with a few bytes of dirt. */
	if (strcmp(ending, "pdf") == 0)
		return HTH_KIND_PDF;
	if (is_one_of(ending, "eml") && count_mail_headers(head, n) >= 1)
		return HTH_KIND_MAIL;
	if (count_mail_headers(head, n) >= 3)
		return is_mbox(head, n, ending) ? HTH_KIND_MBOX : HTH_KIND_MAIL;
	name_binary(head, n, ending, verdict);
	return HTH_KIND_OTHER;
}

void hth_read_source(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	hth_extract_kind kind = hth_sniff(source, verdict);
	switch (kind) {
	case HTH_KIND_OTHER: hth_tell_meta(tell, &(hth_extract_meta){.kind = kind}); break;
	case HTH_KIND_PDF: hth_read_pdf(tell, source, verdict); break;
	case HTH_KIND_IMAGE: hth_read_image(tell, source, verdict); break;
	case HTH_KIND_DOCX: case HTH_KIND_XLSX: case HTH_KIND_PPTX: hth_read_ooxml(tell, source, kind, verdict); break;
	case HTH_KIND_ODT: case HTH_KIND_ODS: case HTH_KIND_ODP: hth_read_odf(tell, source, kind, verdict); break;
	case HTH_KIND_EPUB: hth_read_epub(tell, source, verdict); break;
	case HTH_KIND_HTML: hth_read_html(tell, source, verdict); break;
	case HTH_KIND_XML: hth_read_xml(tell, source, verdict); break;
	case HTH_KIND_RTF: hth_read_rtf(tell, source, verdict); break;
	case HTH_KIND_MAIL: hth_read_mail(tell, source, verdict); break;
	case HTH_KIND_MBOX: hth_read_mbox(tell, source, verdict); break;
	case HTH_KIND_DOC: case HTH_KIND_XLS: case HTH_KIND_PPT: hth_read_ole(tell, source, verdict); break;
	case HTH_KIND_ARCHIVE: hth_read_archive(tell, source, verdict); break;
	default: hth_read_plain(tell, source, kind, verdict); break;
	}
	if (tell->full)
		hth_verdict_partial(verdict, "more text than is kept of one file; the rest was not read");
	hth_source_unload(source);
}
