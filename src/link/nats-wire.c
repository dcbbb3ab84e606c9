/* nats-wire.c - see nats-wire.h. */
#include "link/nats-wire.h"

#include "base/mem.h"

#include <stdio.h>
#include <strings.h>

enum { ERROR_MAX = 200 };

void hth_wire_init(hth_wire *wire, const hth_wire_events *events)
{
	*wire = (hth_wire){.events = *events, .in = HTH_BUF_INIT(2 * HTH_WIRE_PAYLOAD_MAX + HTH_WIRE_LINE_MAX), .in_info = true};
}

void hth_wire_reset(hth_wire *wire)
{
	hth_buf_clear(&wire->in);
	wire->in_info = true;
}

void hth_wire_finish(hth_wire *wire) { hth_buf_finish(&wire->in); }

static hth_status no_protocol(hth_error *err) { return hth_fail(err, HTH_BAD_FORMAT, "the hub does not speak NATS's protocol"); }

/* The next word of a line; NULL: none. */
static char *next_word(char **at)
{
	char *word = *at + strspn(*at, " \t");
	if (*word == '\0')
		return NULL;
	char *end = word + strcspn(word, " \t");
	*at = end;
	if (*end != '\0') {
		*end = '\0';
		*at = end + 1;
	}
	return word;
}

/* MSG subject id [reply] size. *ret_size: of the payload that follows. */
static hth_status read_head(char *line, char **ret_subject, size_t *ret_size, hth_error *err)
{
	char *words[5], *at = line;
	size_t n = 0;
	while (n < HTH_COUNT(words) && (words[n] = next_word(&at)) != NULL)
		n++;
	if (n < 3 || n > 4 || strlen(words[0]) >= HTH_WIRE_SUBJECT_MAX)
		return no_protocol(err);
	const char *digits = words[n - 1];
	if (*digits < '0' || *digits > '9' || strlen(digits) > 9 || digits[strspn(digits, "0123456789")] != '\0')
		return no_protocol(err);
	*ret_size = (size_t)strtoul(digits, NULL, 10);
	*ret_subject = words[0];
	if (*ret_size > HTH_WIRE_PAYLOAD_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the hub sent a message of %zu bytes; at most %d are taken", *ret_size,
		                HTH_WIRE_PAYLOAD_MAX);
	return HTH_OK;
}

static bool tell_error(hth_wire *wire, const char *text)
{
	char plain[ERROR_MAX + 1];
	size_t n = 0;
	for (text += strspn(text, " '"); *text != '\0' && n < ERROR_MAX; text++)
		plain[n++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
	while (n > 0 && (plain[n - 1] == '\'' || plain[n - 1] == ' '))
		n--;
	plain[n] = '\0';
	return wire->events.error(wire->events.ctx, plain);
}

/* One line, NUL in the place of its end. *ret_used: bytes after the line that belong to it; SIZE_MAX: they are not all here yet. */
static hth_status take_line(hth_wire *wire, char *line, size_t len, const char *rest, size_t rest_len, size_t *ret_used, hth_error *err)
{
	bool go_on = true;
	*ret_used = 0;
	bool is_info = strncasecmp(line, "INFO ", 5) == 0;
	if (strlen(line) != len || (wire->in_info && !is_info))
		return no_protocol(err);
	if (is_info) {
		go_on = wire->events.info(wire->events.ctx, line + 5, len - 5);
	} else if (strncasecmp(line, "MSG ", 4) == 0) {
		char *subject = NULL;
		size_t size = 0;
		char head[HTH_WIRE_SUBJECT_MAX + 300]; /* kept whole in the buffer: the payload may have to be waited for */
		if (len - 4 >= sizeof head)
			return no_protocol(err);
		memcpy(head, line + 4, len - 4 + 1);
		HTH_TRY(read_head(head, &subject, &size, err));
		if (rest_len < size + 2) {
			*ret_used = SIZE_MAX;
			return HTH_OK;
		}
		if (rest[size] != '\r' || rest[size + 1] != '\n')
			return no_protocol(err);
		*ret_used = size + 2;
		go_on = wire->events.message(wire->events.ctx, subject, rest, size);
	} else if (strcasecmp(line, "PING") == 0) {
		go_on = wire->events.ping(wire->events.ctx);
	} else if (strcasecmp(line, "PONG") == 0) {
		go_on = wire->events.pong(wire->events.ctx);
	} else if (strncasecmp(line, "-ERR", 4) == 0) {
		go_on = tell_error(wire, line + 4);
	} else if (strcasecmp(line, "+OK") != 0) {
		return no_protocol(err);
	}
	return go_on ? HTH_OK : hth_fail(err, HTH_CANCELLED, "reading was ended");
}

hth_status hth_wire_feed(hth_wire *wire, const void *bytes, size_t len, hth_error *err)
{
	hth_buf *in = &wire->in;
	if (!hth_buf_append(in, bytes, len))
		return hth_fail(err, HTH_TOO_LARGE, "the hub sends more than it may at once");
	size_t at = 0;
	hth_status status = HTH_OK;
	while (status == HTH_OK && at < in->len) {
		char *line = in->data + at, *end = memchr(line, '\n', HTH_MIN(in->len - at, (size_t)HTH_WIRE_LINE_MAX));
		if (end == NULL) {
			if (in->len - at >= HTH_WIRE_LINE_MAX)
				status = no_protocol(err);
			break;
		}
		size_t line_len = (size_t)(end - line), used, after = at + line_len + 1;
		if (line_len == 0 || line[line_len - 1] != '\r') {
			status = no_protocol(err);
			break;
		}
		line[--line_len] = '\0';
		status = take_line(wire, line, line_len, in->data + after, in->len - after, &used, err);
		if (used == SIZE_MAX) {
			line[line_len] = '\r';
			break;
		}
		at = after + used;
	}
	if (status == HTH_OK)
		hth_buf_consume(in, at);
	return status;
}

bool hth_wire_is_subject(const char *subject)
{
	size_t len = strlen(subject);
	if (len == 0 || len >= HTH_WIRE_SUBJECT_MAX || subject[0] == '.' || subject[len - 1] == '.' || strstr(subject, "..") != NULL)
		return false;
	return strspn(subject, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == len;
}

bool hth_wire_publish(hth_buf *out, const char *subject, const void *bytes, size_t len)
{
	char head[HTH_WIRE_SUBJECT_MAX + 32];
	int n = snprintf(head, sizeof head, "PUB %s %zu\r\n", subject, len);
	if (n < 0 || (size_t)n >= sizeof head || out->max - out->len < (size_t)n + len + 2 ||
	    hth_buf_reserve(out, (size_t)n + len + 2) == NULL)
		return false;
	return hth_buf_append(out, head, (size_t)n) && hth_buf_append(out, bytes, len) && hth_buf_append(out, "\r\n", 2);
}

bool hth_wire_subscribe(hth_buf *out, const char *subject, unsigned id) { return hth_buf_appendf(out, "SUB %s %u\r\n", subject, id); }
