/* read-mail.c - mail (RFC 5322, MIME) and mbox by GMime. The words of a mail are its own part, attachments and mails within are parts.
 *
 * Of alternatives the plain one is taken where it says something, else the HTML one. What is encrypted says so; a signature's wrapper is
 * no attachment. Child only.
 */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/readers.h"

#include <gmime/gmime.h>
#include <strings.h>
#include <unistd.h>

enum { MIME_DEPTH_MAX = 32, ADDRESSES_MAX = 200 };

static void read_message(hth_tell *tell, GMimeMessage *message, hth_verdict *verdict);

void hth_mail_load(void) { g_mime_init(); }

/* ---- facts ---- */

static void put_addresses(hth_buf *out, InternetAddressList *list)
{
	int n = list != NULL ? HTH_MIN(internet_address_list_length(list), (int)ADDRESSES_MAX) : 0;
	for (int i = 0; i < n; i++) {
		InternetAddress *a = internet_address_list_get_address(list, i);
		if (INTERNET_ADDRESS_IS_GROUP(a)) {
			put_addresses(out, internet_address_group_get_members(INTERNET_ADDRESS_GROUP(a)));
			continue;
		}
		const char *name = internet_address_get_name(a), *addr = INTERNET_ADDRESS_IS_MAILBOX(a)
		    ? internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(a)) : NULL;
		hth_buf_append_str(out, out->len > 0 ? ", " : "");
		if (name != NULL && *name != '\0')
			hth_buf_appendf(out, addr != NULL && *addr != '\0' ? "%s <%s>" : "%s", name, addr);
		else if (addr != NULL)
			hth_buf_append_str(out, addr);
	}
}

static void tell_mail_facts(hth_tell *tell, GMimeMessage *message)
{
	hth_buf from = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX), to = HTH_BUF_INIT(HTH_EXTRACT_STRING_MAX);
	put_addresses(&from, g_mime_message_get_from(message));
	if (from.len == 0)
		put_addresses(&from, g_mime_message_get_sender(message));
	put_addresses(&to, g_mime_message_get_to(message));
	put_addresses(&to, g_mime_message_get_cc(message));
	GDateTime *date = g_mime_message_get_date(message);
	hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_MAIL,
	                                        .has_date = date != NULL,
	                                        .date = date != NULL ? g_date_time_to_unix(date) : 0,
	                                        .title = g_mime_message_get_subject(message),
	                                        .author = from.data,
	                                        .recipients = to.data,
	                                        .mail_id = g_mime_message_get_message_id(message)});
	hth_buf_finish(&from);
	hth_buf_finish(&to);
}

/* ---- parts ---- */

/* The decoded bytes; the caller unrefs. NULL: none. */
static GByteArray *decode(GMimePart *part)
{
	GMimeDataWrapper *content = g_mime_part_get_content(part);
	if (content == NULL)
		return NULL;
	GMimeStream *stream = g_mime_stream_mem_new();
	g_mime_data_wrapper_write_to_stream(content, stream);
	GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
	g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), FALSE);
	g_object_unref(stream);
	return bytes;
}

static bool is_attachment(GMimePart *part)
{
	GMimeContentDisposition *d = g_mime_object_get_content_disposition(GMIME_OBJECT(part));
	if (d != NULL && strcasecmp(g_mime_content_disposition_get_disposition(d), "attachment") == 0)
		return true;
	return g_mime_part_get_filename(part) != NULL;
}

static bool is_type(GMimeObject *object, const char *type, const char *subtype)
{
	GMimeContentType *t = g_mime_object_get_content_type(object);
	return t != NULL && g_mime_content_type_is_type(t, type, subtype);
}

/* Words of the mail itself. False: it has none; the same in every mode, so that parts keep their numbers. */
static bool read_words(hth_tell *tell, GMimePart *part, hth_verdict *verdict)
{
	GByteArray *bytes = decode(part);
	if (bytes == NULL || bytes->len == 0) {
		if (bytes != NULL)
			g_byte_array_unref(bytes);
		return false;
	}
	bool any = false;
	for (guint i = 0; i < bytes->len && !any; i++)
		any = !g_ascii_isspace((gchar)bytes->data[i]);
	const char *charset = g_mime_object_get_content_type_parameter(GMIME_OBJECT(part), "charset");
	if (is_type(GMIME_OBJECT(part), "text", "html"))
		(void)hth_read_html_bytes(tell, 0, (const char *)bytes->data, bytes->len, charset, false, verdict);
	else
		hth_read_plain_bytes(tell, (const char *)bytes->data, bytes->len, charset, verdict);
	g_byte_array_unref(bytes);
	return any;
}

static void read_attachment(hth_tell *tell, GMimePart *part, hth_verdict *verdict)
{
	const char *name = g_mime_part_get_filename(part);
	if (name == NULL)
		name = g_mime_object_get_content_type_parameter(GMIME_OBJECT(part), "name");
	if (is_type(GMIME_OBJECT(part), "application", "pgp-signature") || is_type(GMIME_OBJECT(part), "application", "pkcs7-signature") ||
	    is_type(GMIME_OBJECT(part), "application", "x-pkcs7-signature") || !hth_tell_part_begin(tell, name, verdict))
		return;
	hth_verdict inner = {.state = HTH_EXTRACT_TEXT};
	GByteArray *bytes = decode(part);
	if (is_type(GMIME_OBJECT(part), "application", "pkcs7-mime") || is_type(GMIME_OBJECT(part), "application", "x-pkcs7-mime")) {
		hth_verdict_unreadable(&inner, "encrypted or signed as S/MIME: what is inside cannot be read");
	} else if (bytes != NULL && bytes->len > 0) {
		hth_source source = {.fd = -1, .bytes = (const char *)bytes->data, .len = bytes->len, .name = name != NULL ? name : ""};
		hth_read_source(tell, &source, &inner);
	}
	if (bytes != NULL)
		g_byte_array_unref(bytes);
	hth_tell_part_end(tell, &inner);
}

static void read_object(hth_tell *tell, GMimeObject *object, int depth, hth_verdict *verdict);

/* Of alternatives: the plain text if it says something, else the last that says something. */
static void read_alternatives(hth_tell *tell, GMimeMultipart *multi, int depth, hth_verdict *verdict)
{
	int n = HTH_MIN(g_mime_multipart_get_count(multi), 32);
	int taken = -1;
	for (int i = 0; i < n && taken < 0; i++) {
		GMimeObject *o = g_mime_multipart_get_part(multi, i);
		if (GMIME_IS_PART(o) && is_type(o, "text", "plain") && !is_attachment(GMIME_PART(o)) &&
		    read_words(tell, GMIME_PART(o), verdict))
			taken = i;
	}
	for (int i = n - 1; i >= 0 && taken < 0; i--) {
		GMimeObject *o = g_mime_multipart_get_part(multi, i);
		if (!GMIME_IS_PART(o) || (is_type(o, "text", "html") && !is_attachment(GMIME_PART(o)))) {
			read_object(tell, o, depth + 1, verdict);
			taken = i;
		}
	}
	for (int i = 0; i < n; i++) { /* files and calendars among them are none of the alternatives */
		GMimeObject *o = g_mime_multipart_get_part(multi, i);
		bool words = GMIME_IS_PART(o) && is_type(o, "text", "*") && !is_attachment(GMIME_PART(o));
		if (i != taken && !words && (GMIME_IS_PART(o) || GMIME_IS_MESSAGE_PART(o)))
			read_object(tell, o, depth + 1, verdict);
	}
}

static void read_object(hth_tell *tell, GMimeObject *object, int depth, hth_verdict *verdict)
{
	if (object == NULL || tell->full)
		return;
	if (depth > MIME_DEPTH_MAX) {
		hth_verdict_partial(verdict, "its parts are nested more than %d deep; what lies deeper was not read", MIME_DEPTH_MAX);
		return;
	}
	if (GMIME_IS_MULTIPART_ENCRYPTED(object)) {
		hth_verdict_unreadable(verdict, "encrypted: needs its reader's key");
	} else if (GMIME_IS_MULTIPART(object)) {
		GMimeMultipart *multi = GMIME_MULTIPART(object);
		if (is_type(object, "multipart", "alternative")) {
			read_alternatives(tell, multi, depth, verdict);
			return;
		}
		int n = g_mime_multipart_get_count(multi);
		for (int i = 0; i < n && !tell->full; i++)
			read_object(tell, g_mime_multipart_get_part(multi, i), depth + 1, verdict);
	} else if (GMIME_IS_MESSAGE_PART(object)) {
		GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));
		if (inner == NULL || !hth_tell_part_begin(tell, g_mime_message_get_subject(inner), verdict))
			return;
		hth_verdict v = {.state = HTH_EXTRACT_TEXT};
		read_message(tell, inner, &v);
		hth_tell_part_end(tell, &v);
	} else if (GMIME_IS_PART(object)) {
		GMimePart *part = GMIME_PART(object);
		if ((is_type(object, "text", "plain") || is_type(object, "text", "html") || is_type(object, "message", "delivery-status") ||
		     is_type(object, "text", "rfc822-headers")) && !is_attachment(part))
			read_words(tell, part, verdict);
		else
			read_attachment(tell, part, verdict);
	}
}

static void read_message(hth_tell *tell, GMimeMessage *message, hth_verdict *verdict)
{
	tell_mail_facts(tell, message);
	GMimeObject *body = g_mime_message_get_mime_part(message);
	/* A mail that is one encrypted thing: the mail says so, not a part of it. */
	if (body != NULL && (is_type(body, "application", "pkcs7-mime") || is_type(body, "application", "x-pkcs7-mime")))
		hth_verdict_unreadable(verdict, "encrypted or signed as S/MIME: what is inside cannot be read");
	else
		read_object(tell, body, 0, verdict);
}

/* ---- files ---- */

static GMimeStream *open_stream(hth_source *source)
{
	if (source->bytes != NULL) { /* without a copy */
		GMimeStream *stream = g_mime_stream_mem_new();
		GByteArray *array = g_byte_array_new();
		g_byte_array_append(array, (const guint8 *)source->bytes, (guint)source->len);
		g_mime_stream_mem_set_byte_array(GMIME_STREAM_MEM(stream), array);
		g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), TRUE);
		return stream;
	}
	if (lseek(source->fd, 0, SEEK_SET) != 0)
		return NULL;
	GMimeStream *stream = g_mime_stream_fs_new(source->fd);
	g_mime_stream_fs_set_owner(GMIME_STREAM_FS(stream), FALSE);
	return stream;
}

void hth_read_mail(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	if (!hth_source_load(source, verdict)) {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_MAIL});
		return;
	}
	GMimeStream *stream = open_stream(source);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
	if (message != NULL) {
		read_message(tell, message, verdict);
	} else {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_MAIL});
		hth_verdict_unreadable(verdict, "damaged: a mail without headers");
	}
	if (message != NULL)
		g_object_unref(message);
	g_object_unref(parser);
	g_object_unref(stream);
}

void hth_read_mbox(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_MBOX});
	GMimeStream *stream = open_stream(source);
	if (stream == NULL) {
		hth_verdict_unreadable(verdict, "cannot be read from its beginning");
		return;
	}
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	g_mime_parser_set_format(parser, GMIME_FORMAT_MBOX);
	size_t n = 0;
	while (!g_mime_parser_eos(parser) && !tell->full) {
		GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
		if (message == NULL)
			break;
		bool go_on = hth_tell_part_begin(tell, g_mime_message_get_subject(message), verdict);
		if (go_on) {
			hth_verdict inner = {.state = HTH_EXTRACT_TEXT};
			read_message(tell, message, &inner);
			hth_tell_part_end(tell, &inner);
			n++;
		}
		g_object_unref(message);
		if (!go_on)
			break;
	}
	if (n == 0)
		hth_verdict_unreadable(verdict, "damaged: an mbox without a mail that can be read");
	g_object_unref(parser);
	g_object_unref(stream);
}
