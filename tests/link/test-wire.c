/* test-wire.c - NATS's protocol as a hub that means harm could speak it: everything is bounded, nothing but the protocol is taken. */
#include "link/nats-wire.h"
#include "link/nkey.h"

#include "harness.h"

typedef struct log_of {
	char text[4096];
	int stop_at; /* the n-th event ends the reading; 0: none does */
	int n;
} log_of;

static bool note(log_of *l, const char *what, const char *more, size_t len)
{
	size_t at = strlen(l->text);
	snprintf(l->text + at, sizeof l->text - at, "%s%.*s;", what, (int)len, more);
	return ++l->n != l->stop_at;
}
static hth_wire *current;
static bool on_info(void *ctx, const char *json, size_t len)
{
	current->in_info = false;
	return note(ctx, "info ", json, len);
}
static bool on_message(void *ctx, const char *subject, const void *bytes, size_t len)
{
	note(ctx, "to ", subject, strlen(subject));
	((log_of *)ctx)->n--;
	return note(ctx, "msg ", bytes, len);
}
static bool on_ping(void *ctx) { return note(ctx, "ping", "", 0); }
static bool on_pong(void *ctx) { return note(ctx, "pong", "", 0); }
static bool on_error(void *ctx, const char *text) { return note(ctx, "err ", text, strlen(text)); }

static hth_status feed(log_of *l, const char *bytes, size_t len, size_t step, hth_error *err)
{
	hth_wire wire;
	hth_wire_init(&wire, &(hth_wire_events){l, on_info, on_message, on_ping, on_pong, on_error});
	current = &wire;
	hth_status status = HTH_OK;
	for (size_t at = 0; at < len && status == HTH_OK; at += step)
		status = hth_wire_feed(&wire, bytes + at, len - at < step ? len - at : step, err);
	hth_wire_finish(&wire);
	return status;
}

TEST(messages_arrive_whole_however_they_are_cut)
{
	static const char text[] = "INFO {\"nonce\":\"x\"}\r\nPING\r\nMSG a.b 1 5\r\nhe\r\no\r\n"
	                           "MSG a.b 1 reply.to 0\r\n\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n";
	for (size_t step = 1; step < sizeof text; step++) {
		log_of l = {{0}, 0, 0};
		hth_error err = HTH_ERROR_INIT;
		CHECK_INT(feed(&l, text, sizeof text - 1, step, &err), HTH_OK);
		CHECK_STR(l.text, "info {\"nonce\":\"x\"};ping;to a.b;msg he\r\no;to a.b;msg ;pong;err Stale Connection;");
	}
}

TEST(what_is_not_the_protocol_is_refused)
{
	static const char *const bad[] = {
	    "HELLO\r\n", "PING\r\n" /* before INFO */, "INFO {}\r\nPING\n", "INFO {}\r\nMSG\r\n", "INFO {}\r\nMSG a 1\r\n",
	    "INFO {}\r\nMSG a 1 -1\r\n",
	    "INFO {}\r\nMSG a 1 99999999999999999999\r\n", "INFO {}\r\nMSG a 1 0x10\r\n", "INFO {}\r\nMSG a 1 2\r\nabcd",
	    "INFO {}\r\nMSG a b c d 5\r\n",
	    "INFO {}\r\nHMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", "INFO {}\r\n\r\n", "INFO {}\r\nMSG a 1 524289\r\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		log_of l = {{0}, 0, 0};
		hth_error err = HTH_ERROR_INIT;
		hth_status status = feed(&l, bad[i], strlen(bad[i]), 7, &err);
		if (status != HTH_BAD_FORMAT && status != HTH_TOO_LARGE)
			test_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
		CHECK(strstr(l.text, "msg") == NULL);
	}
	static const char nul[] = "INFO {}\r\nPI\0NG\r\n";
	log_of l = {{0}, 0, 0};
	hth_error err = HTH_ERROR_INIT;
	CHECK_INT(feed(&l, nul, sizeof nul - 1, 100, &err), HTH_BAD_FORMAT);
}

TEST(a_line_without_an_end_is_bounded)
{
	hth_wire wire;
	log_of l = {{0}, 0, 0};
	hth_error err = HTH_ERROR_INIT;
	hth_wire_init(&wire, &(hth_wire_events){&l, on_info, on_message, on_ping, on_pong, on_error});
	current = &wire;
	char chunk[4096];
	memset(chunk, 'I', sizeof chunk);
	hth_status status = HTH_OK;
	for (int i = 0; i < 1000 && status == HTH_OK; i++)
		status = hth_wire_feed(&wire, chunk, sizeof chunk, &err);
	CHECK_INT(status, HTH_BAD_FORMAT);
	CHECK(wire.in.len <= HTH_WIRE_LINE_MAX + sizeof chunk);
	hth_wire_finish(&wire);
}

TEST(a_callback_can_end_the_reading)
{
	static const char text[] = "INFO {}\r\nPING\r\nPING\r\nPING\r\n";
	log_of l = {{0}, 2, 0};
	hth_error err = HTH_ERROR_INIT;
	CHECK_INT(feed(&l, text, sizeof text - 1, sizeof text, &err), HTH_CANCELLED);
	CHECK_STR(l.text, "info {};ping;");
}

TEST(what_is_written_is_bounded_and_plain)
{
	hth_buf out = HTH_BUF_INIT(64);
	CHECK(hth_wire_publish(&out, "a.b", "hi\r\n", 4));
	CHECK_STR(out.data, "PUB a.b 4\r\nhi\r\n\r\n");
	char big[64] = {0};
	CHECK(!hth_wire_publish(&out, "a.b", big, sizeof big));
	CHECK(!out.failed);
	CHECK_INT(out.len, 17);
	hth_buf_finish(&out);
	CHECK(hth_wire_is_subject("hearth.00ff.to.AZ_-9"));
	static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "a\r\nPUB x 0", "\xc3\xa4"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!hth_wire_is_subject(bad[i]));
}

TEST_MAIN()
