/* read-msg.c - Outlook's .msg: properties as streams of a compound file, attachments and messages within as folders.
 * Child only. See read-msg.h.
 *
 * The plain body is told where there is one, else the HTML, else what the compressed RTF says; attachments are parts,
 * as in other mail. Source: [MS-OXMSG], [MS-OXPROPS].
 */
#include "extract/read-msg.h"

#include "base/mem.h"
#include "extract/charset.h"
#include "extract/old-office.h"
#include "extract/readers.h"
#include "extract/rtf.h"

#include <stdio.h>
#include <strings.h>

enum {
	SUBJECT = 0x0037,
	SENT = 0x0039,
	SENDER_NAME = 0x0C1A,
	SENDER_MAIL = 0x0C1F,
	SENDER_SMTP = 0x5D01,
	DELIVERED = 0x0E06,
	RECIPIENT_NAME = 0x3001,
	RECIPIENT_MAIL = 0x3003,
	RECIPIENT_SMTP = 0x39FE,
	BODY = 0x1000,
	RTF = 0x1009,
	HTML = 0x1013,
	MAIL_ID = 0x1035,
	DATA = 0x3701,
	SHORT_NAME = 0x3704,
	LONG_NAME = 0x3707,
	DISPLAY_NAME = 0x3001,
	INTERNET_PAGE = 0x3FDE,
	MESSAGE_PAGE = 0x3FFD,
	T_LONG = 0x0003,
	T_8BIT = 0x001E,
	T_WIDE = 0x001F,
	T_TIME = 0x0040,
	T_OBJECT = 0x000D,
	T_BYTES = 0x0102,
	RECIPIENTS_MAX = 200,
	HEAD_TOP = 32,
	HEAD_WITHIN = 24,
};

typedef struct message {
	hth_tell *tell;
	hth_cfb *cfb;
	uint32_t folder;
	int page; /* code page of 8-bit text */
	int64_t date;
} message;

static bool find(const message *m, uint32_t folder, unsigned id, unsigned type, hth_buf *out)
{
	char name[32];
	snprintf(name, sizeof name, "__substg1.0_%04X%04X", id, type);
	uint32_t at = hth_cfb_find(m->cfb, folder, name);
	return at != HTH_CFB_NONE && hth_cfb_read(m->cfb, at, out) && out->len > 0;
}

/* A property that is text, as UTF-8. False: it is not there, or empty. */
static bool text_of(const message *m, uint32_t folder, unsigned id, hth_buf *out)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf raw = HTH_BUF_INIT(HTH_SOURCE_LOAD_MAX);
	size_t before = out->len;
	if (find(m, folder, id, T_WIDE, &raw))
		hth_utf16_append(out, raw.data, raw.len / 2);
	else if (find(m, folder, id, T_8BIT, &raw))
		hth_charset_decode_page(out, raw.data, strnlen(raw.data, raw.len), m->page);
	return out->len > before;
}

/* What has a fixed size lies in one stream: after a head, 16 bytes each. */
static void read_fixed(message *m)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf raw = HTH_BUF_INIT(1 << 20);
	uint32_t at = hth_cfb_find(m->cfb, m->folder, "__properties_version1.0");
	int64_t delivered = 0;
	if (at == HTH_CFB_NONE || !hth_cfb_read(m->cfb, at, &raw))
		return;
	for (size_t i = m->folder == 0 ? HEAD_TOP : HEAD_WITHIN; i + 16 <= raw.len; i += 16) {
		unsigned type = hth_le16(raw.data + i), id = hth_le16(raw.data + i + 2);
		if (type == T_TIME && id == SENT)
			m->date = hth_old_time(hth_le64(raw.data + i + 8));
		else if (type == T_TIME && id == DELIVERED)
			delivered = hth_old_time(hth_le64(raw.data + i + 8));
		else if (type == T_LONG && (id == MESSAGE_PAGE || (id == INTERNET_PAGE && m->page == 0)))
			m->page = (int)(hth_le32(raw.data + i + 8) & 0xFFFF);
	}
	if (m->date == 0)
		m->date = delivered;
}

static void put_person(const message *m, uint32_t folder, unsigned name, unsigned smtp, unsigned mail, hth_buf *out)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf who = HTH_BUF_INIT(1024);
	HTH_CLEANUP(hth_buf_finish) hth_buf where = HTH_BUF_INIT(1024);
	(void)!text_of(m, folder, name, &who);
	if (!text_of(m, folder, smtp, &where))
		(void)!text_of(m, folder, mail, &where);
	if (where.len > 0 &&
	    strchr(where.data, '@') == NULL) /* an address within an Exchange server means nothing outside */
		hth_buf_clear(&where);
	if (who.len == 0 && where.len == 0)
		return;
	hth_buf_append_str(out, out->len > 0 ? ", " : "");
	if (who.len > 0 && where.len > 0 && strcasecmp(who.data, where.data) != 0)
		hth_buf_appendf(out, "%s <%s>", who.data, where.data);
	else
		hth_buf_append_str(out, who.len > 0 ? who.data : where.data);
}

static void tell_facts(const message *m)
{
	hth_buf subject = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX), from = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX),
	        to = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX), id = HTH_BUF_INIT(1024);
	(void)!text_of(m, m->folder, SUBJECT, &subject);
	put_person(m, m->folder, SENDER_NAME, SENDER_SMTP, SENDER_MAIL, &from);
	int n = 0;
	for (size_t i = 1; i < hth_cfb_count(m->cfb) && n < RECIPIENTS_MAX; i++) {
		const hth_cfb_entry *e = hth_cfb_get(m->cfb, i);
		if (e->used && e->is_folder && e->parent == m->folder &&
		    strncmp(e->name, "__recip_version1.0_", 19) == 0) {
			put_person(m, (uint32_t)i, RECIPIENT_NAME, RECIPIENT_SMTP, RECIPIENT_MAIL, &to);
			n++;
		}
	}
	const char *mail_id = "";
	if (text_of(m, m->folder, MAIL_ID, &id)) {
		if (id.data[id.len - 1] == '>')
			id.data[--id.len] = '\0';
		mail_id = id.data + (id.data[0] == '<');
	}
	hth_tell_meta(m->tell, &(hth_extract_meta){.kind = HTH_KIND_MAIL,
	                                           .has_date = m->date != 0,
	                                           .date = m->date,
	                                           .title = subject.data != NULL ? subject.data : "",
	                                           .author = from.data != NULL ? from.data : "",
	                                           .recipients = to.data != NULL ? to.data : "",
	                                           .mail_id = mail_id});
	hth_buf_finish(&subject);
	hth_buf_finish(&from);
	hth_buf_finish(&to);
	hth_buf_finish(&id);
}

static bool on_paragraph(void *ctx, bool row, const char *text, size_t len)
{
	return hth_tell_text(ctx, 0, row ? HTH_ROLE_ROW : HTH_ROLE_BODY, NULL, text, len);
}

static void read_body(const message *m, hth_verdict *verdict)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf raw = HTH_BUF_INIT(HTH_SOURCE_LOAD_MAX);
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(HTH_SOURCE_LOAD_MAX);
	if (text_of(m, m->folder, BODY, &text) && strspn(text.data, " \t\r\n") < text.len) {
		hth_read_plain_bytes(m->tell, text.data, text.len, "UTF-8", verdict);
	} else if (find(m, m->folder, HTML, T_BYTES, &raw)) {
		(void)hth_read_html_bytes(m->tell, 0, raw.data, raw.len, NULL, false, verdict);
	} else if (find(m, m->folder, HTML, T_WIDE, &raw)) {
		hth_buf_clear(&text);
		hth_utf16_append(&text, raw.data, raw.len / 2);
		if (text.len > 0)
			(void)hth_read_html_bytes(m->tell, 0, text.data, text.len, "UTF-8", false, verdict);
	} else if (find(m, m->folder, RTF, T_BYTES, &raw)) {
		hth_buf_clear(&text);
		if (!hth_lzfu_expand(raw.data, raw.len, &text))
			hth_verdict_partial(verdict, "damaged: only a part of its text can be read");
		if (text.len > 0)
			(void)!hth_rtf_read(text.data, text.len, &(hth_rtf_events){on_paragraph, NULL}, m->tell);
	}
}

static void read_message(hth_tell *tell, hth_cfb *cfb, uint32_t folder, int page, hth_verdict *verdict);

/* False: stop. */
static bool read_attachment(const message *m, uint32_t folder, hth_verdict *verdict)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf name = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(HTH_SOURCE_LOAD_MAX);
	char inner_name[32];
	hth_verdict inner = {.state = HTH_EXTRACT_TEXT};
	if (!text_of(m, folder, LONG_NAME, &name) && !text_of(m, folder, SHORT_NAME, &name))
		(void)!text_of(m, folder, DISPLAY_NAME, &name);
	if (!hth_tell_part_begin(m->tell, name.data, verdict))
		return false;
	snprintf(inner_name, sizeof inner_name, "__substg1.0_%04X%04X", DATA, T_OBJECT);
	uint32_t within = hth_cfb_find(m->cfb, folder, inner_name);
	if (find(m, folder, DATA, T_BYTES, &bytes)) {
		hth_source source = {
		    .fd = -1, .bytes = bytes.data, .len = bytes.len, .name = name.data != NULL ? name.data : ""};
		hth_read_source(m->tell, &source, &inner);
	} else if (within != HTH_CFB_NONE && hth_cfb_find(m->cfb, within, "__properties_version1.0") != HTH_CFB_NONE) {
		read_message(m->tell, m->cfb, within, m->page, &inner);
	} else if (within != HTH_CFB_NONE) {
		hth_verdict_unreadable(&inner, "a format that is not read: an object within a message");
	}
	hth_tell_part_end(m->tell, &inner);
	return !m->tell->full;
}

static void read_message(hth_tell *tell, hth_cfb *cfb, uint32_t folder, int page, hth_verdict *verdict)
{
	message m = {.tell = tell, .cfb = cfb, .folder = folder, .page = page};
	read_fixed(&m);
	tell_facts(&m);
	read_body(&m, verdict);
	for (size_t i = 1; i < hth_cfb_count(cfb); i++) {
		const hth_cfb_entry *e = hth_cfb_get(cfb, i);
		if (e->used && e->is_folder && e->parent == folder &&
		    strncmp(e->name, "__attach_version1.0_", 20) == 0 && !read_attachment(&m, (uint32_t)i, verdict))
			return;
	}
}

void hth_msg_read(hth_tell *tell, hth_cfb *cfb, hth_verdict *verdict)
{
	read_message(tell, cfb, 0, 0, verdict);
}
