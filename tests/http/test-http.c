/* test-http.c - the server on a real loop against raw sockets of the same thread: answers, streams, leaving clients, limits. */
#include "base/clock.h"
#include "base/mem.h"
#include "harness.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_HELD = 64 };

/* The server under test and what its handler saw. The handler answers by path. */
static struct {
	hth_loop *loop;
	hth_http *http;
	hth_timer *wake; /* so that run_once always returns */
	hth_exchange *held[MAX_HELD];
	int n_held, handled, gone;
	size_t body_len;
	char body_start[64], method[16], query[64], header[64];
	bool leave_open;
} t;

static void handle(void *ctx, hth_exchange *ex)
{
	const char *path = hth_exchange_path(ex);
	t.handled++;
	size_t len;
	const char *body = hth_exchange_body(ex, &len);
	t.body_len = len;
	snprintf(t.body_start, sizeof t.body_start, "%.*s", (int)(len < 60 ? len : 60), body);
	snprintf(t.method, sizeof t.method, "%s", hth_exchange_method(ex));
	const char *q = hth_exchange_query(ex, "q"), *h = hth_exchange_header(ex, "x-test");
	snprintf(t.query, sizeof t.query, "%s", q ? q : "");
	snprintf(t.header, sizeof t.header, "%s", h ? h : "");
	if (strcmp(path, "/now") == 0) {
		hth_exchange_add_header(ex, "X-Answer", "yes");
		hth_exchange_add_header(ex, "X-Split", "a\r\nEvil: b");
		hth_exchange_reply(ex, 200, "text/plain", "hello", 5);
	} else if (strcmp(path, "/big") == 0) {
		static char big[3 << 20];
		memset(big, 'b', sizeof big);
		hth_exchange_reply(ex, 200, "text/plain", big, sizeof big);
	} else if (strcmp(path, "/stream-now") == 0) {
		hth_exchange_begin(ex, 200, "text/event-stream");
		hth_exchange_send(ex, "one\n", 4);
		hth_exchange_send(ex, "two\n", 4);
		hth_exchange_finish(ex);
	} else if (t.n_held < MAX_HELD) {
		t.held[t.n_held++] = ex;
		hth_exchange_set_user(ex, &t);
		hth_exchange_drop_body(ex);
	} else {
		hth_exchange_reply(ex, 500, "text/plain", "full", 4);
	}
}
static void gone(void *ctx, hth_exchange *ex)
{
	t.gone++;
	for (int i = 0; i < t.n_held; i++) {
		if (t.held[i] == ex)
			t.held[i] = NULL;
	}
}
static void on_wake(void *ctx) {}

static bool setup(const hth_http_options *options)
{
	memset(&t, 0, sizeof t);
	hth_error err;
	static const hth_http_handler handler = {handle, gone};
	hth_http_options o = options ? *options : (hth_http_options){0};
	if (o.address == NULL)
		o.address = "127.0.0.1";
	if (hth_loop_create(&t.loop, &err) != HTH_OK || hth_timer_open(&t.wake, t.loop, on_wake, NULL, &err) != HTH_OK ||
	    hth_http_start(&t.http, t.loop, &o, &handler, NULL, &err) != HTH_OK) {
		test_fail(__FILE__, __LINE__, "setup: %s", err.message);
		return false;
	}
	hth_timer_start(t.wake, 1, 1);
	return true;
}
static void teardown(void)
{
	hth_http_destroy(t.http);
	hth_timer_close(t.wake);
	CHECK(hth_loop_destroy(t.loop));
}
static void spin(int ms)
{
	for (uint64_t until = hth_clock_ms() + (uint64_t)ms; hth_clock_ms() < until;)
		hth_loop_run_once(t.loop, true);
}
/* what is waited for comes, on a loaded machine too, or it hangs: `ms` says how soon it does where nothing else runs */
enum { HANG_MS = 120000 };
#define WAIT(cond, ms)                                                                          \
	do {                                                                                    \
		uint64_t until_ = hth_clock_ms() + HANG_MS;                                       \
		while (!(cond) && hth_clock_ms() < until_)                                      \
			hth_loop_run_once(t.loop, true);                                        \
		if (!(cond))                                                                    \
			test_fail(__FILE__, __LINE__, "not within %d ms: %s", (int)(ms), #cond); \
	} while (0)

/* --- a raw client --- */
typedef struct client {
	int fd;
	char in[1 << 16];
	size_t len, total; /* kept, received */
	bool eof;
} client;

static client *dial(const char *from)
{
	client *c = calloc(1, sizeof *c);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET};
	inet_pton(AF_INET, from ? from : "127.0.0.1", &a.sin_addr);
	bind(c->fd, (struct sockaddr *)&a, sizeof a);
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	a.sin_port = htons(hth_http_port(t.http));
	if (connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
		test_fail(__FILE__, __LINE__, "connect: %s", strerror(errno));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	return c;
}
static void hang_up(client *c)
{
	close(c->fd);
	free(c);
}
/* Sends all of it, running the loop while the socket is full; false when the server has closed. */
static bool put(client *c, const char *data, size_t len)
{
	uint64_t until = hth_clock_ms() + 120000;
	for (size_t at = 0; at < len && hth_clock_ms() < until;) {
		ssize_t n = send(c->fd, data + at, len - at, MSG_NOSIGNAL);
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			hth_loop_run_once(t.loop, true);
		else
			return false;
	}
	return true;
}
static bool put_str(client *c, const char *s) { return put(c, s, strlen(s)); }
static void take(client *c)
{
	for (;;) {
		char buf[65536];
		ssize_t n = recv(c->fd, buf, sizeof buf, 0);
		if (n <= 0) {
			c->eof |= n == 0 || errno != EAGAIN;
			return;
		}
		c->total += (size_t)n;
		size_t room = sizeof c->in - 1 - c->len;
		size_t keep = (size_t)n < room ? (size_t)n : room;
		memcpy(c->in + c->len, buf, keep);
		c->len += keep;
	}
}
static bool got(client *c, const char *what)
{
	take(c);
	return strstr(c->in, what) != NULL;
}
static bool closed(client *c)
{
	take(c);
	return c->eof;
}
static int open_fds(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: here\r\n\r\n"

TEST(a_whole_answer_with_headers_query_and_keep_alive)
{
	if (!setup(NULL))
		return;
	client *c = dial(NULL);
	put_str(c, "GET /now?q=a%20b HTTP/1.1\r\nHost: here\r\nX-Test: v\r\n\r\n");
	WAIT(got(c, "hello"), 2000);
	CHECK(got(c, "HTTP/1.1 200 OK") && got(c, "Content-Type: text/plain") && got(c, "X-Answer: yes"));
	CHECK(!got(c, "Evil"));
	CHECK_STR(t.query, "a b");
	CHECK_STR(t.header, "v");
	memset(c->in, 0, sizeof c->in);
	c->len = 0;
	put_str(c, "POST /now HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody");
	WAIT(got(c, "hello"), 2000);
	CHECK_STR(t.body_start, "body");
	CHECK_STR(t.method, "POST");
	CHECK_INT(hth_http_connections(t.http), 1);
	hang_up(c);
	WAIT(hth_http_connections(t.http) == 0, 2000);
	teardown();
}

TEST(head_has_no_body_and_pipelined_requests_are_answered_in_order)
{
	if (!setup(NULL))
		return;
	client *c = dial(NULL);
	/* The paths as clients with a slash or an address too many spell them. */
	put_str(c, "HEAD /now HTTP/1.1\r\nHost: here\r\n\r\n" GET("//stream-now/") GET("http://here//now"));
	WAIT(t.handled == 3 && got(c, "hello"), 2000);
	CHECK(got(c, "Content-Length: 5"));
	CHECK(strstr(c->in, "one\n") < strstr(c->in, "hello"));
	CHECK(strstr(c->in, "hello") == strstr(strstr(c->in, "two\n"), "hello"));
	hang_up(c);
	teardown();
}

TEST(a_stream_goes_out_piece_by_piece_at_once)
{
	if (!setup(NULL))
		return;
	client *c = dial(NULL);
	put_str(c, GET("/hold"));
	WAIT(t.n_held == 1, 2000);
	hth_exchange_add_header(t.held[0], "Hearth-Request-Id", "req-1");
	hth_exchange_begin(t.held[0], 200, "text/event-stream");
	WAIT(got(c, "Hearth-Request-Id: req-1"), 500);
	CHECK(hth_exchange_begun(t.held[0]));
	unsigned quick = 0;
	for (int i = 0; i < 20; i++) {
		char piece[32], want[32];
		snprintf(piece, sizeof piece, "data: %d\n\n", i);
		uint64_t before = hth_clock_ms();
		hth_exchange_send(t.held[0], piece, strlen(piece));
		snprintf(want, sizeof want, "data: %d\n", i);
		WAIT(got(c, want), 500);
		quick += hth_clock_ms() - before < 35;
	}
	CHECK(quick >= 3); /* Nagle or a delayed acknowledgement would make each 40 ms late; another process only some */
	hth_exchange_finish(t.held[0]);
	WAIT(got(c, "\r\n0\r\n\r\n"), 500);
	CHECK_INT(t.gone, 0);
	/* The connection lives on. */
	put_str(c, GET("/now"));
	WAIT(got(c, "hello"), 1000);
	hang_up(c);
	teardown();
}

TEST(a_waiting_client_that_leaves_is_noticed)
{
	if (!setup(NULL))
		return;
	for (int streaming = 0; streaming < 2; streaming++) {
		client *c = dial(NULL);
		put_str(c, GET("/hold"));
		WAIT(t.n_held == 1 + streaming, 2000);
		hth_exchange *ex = t.held[streaming];
		if (streaming) {
			hth_exchange_begin(ex, 200, "text/plain");
			hth_exchange_send(ex, "x", 1);
			WAIT(got(c, "x\r\n"), 500);
		}
		hang_up(c);
		WAIT(t.gone == 1 + streaming, 1000);
		WAIT(hth_http_connections(t.http) == 0, 1000);
	}
	teardown();
}

TEST(a_client_that_resets_or_half_closes_while_it_waits_counts_as_gone)
{
	if (!setup(NULL))
		return;
	client *c = dial(NULL);
	put_str(c, GET("/hold"));
	WAIT(t.n_held == 1, 2000);
	struct linger hard = {1, 0};
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	hang_up(c);
	WAIT(t.gone == 1, 500);
	c = dial(NULL);
	put_str(c, GET("/hold"));
	WAIT(t.n_held == 2, 2000);
	shutdown(c->fd, SHUT_WR);
	WAIT(t.gone == 2, 500);
	WAIT(closed(c), 500);
	hang_up(c);
	/* Answered inside handle, it still gets its answer. */
	c = dial(NULL);
	put_str(c, GET("/now"));
	shutdown(c->fd, SHUT_WR);
	WAIT(got(c, "hello"), 500);
	hang_up(c);
	teardown();
}

TEST(a_request_cut_off_in_the_middle_is_never_handled)
{
	if (!setup(NULL))
		return;
	static const char *const cuts[] = {"", "GE", "GET /now HTTP/1.1\r\nHo",
	                                   "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n12"};
	for (size_t i = 0; i < HTH_COUNT(cuts); i++) {
		client *c = dial(NULL);
		put_str(c, cuts[i]);
		spin(5);
		hang_up(c);
	}
	WAIT(hth_http_connections(t.http) == 0, 1000);
	CHECK_INT(t.handled, 0);
	CHECK_INT(t.gone, 0);
	teardown();
}

TEST(garbage_gets_an_error_or_a_closed_connection)
{
	if (!setup(NULL))
		return;
	static const char *const bad[] = {"\r\n\r\n\r\nnonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
	                                  "GET /now HTTP/1.1\r\n\r\n",
	                                  "POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	                                  "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
	                                  "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc",
	                                  "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\nTransfer-Encoding: "
	                                  "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	                                  "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n"};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		client *c = dial(NULL);
		put_str(c, bad[i]);
		WAIT(closed(c) || got(c, "HTTP/1.1 4"), 1000);
		CHECK(!got(c, "hello"));
		hang_up(c);
	}
	CHECK_INT(t.handled, 0);
	teardown();
}

TEST(a_body_over_the_limit_is_refused_before_it_is_received)
{
	if (!setup(&(hth_http_options){.max_body = 1000}))
		return;
	client *c = dial(NULL);
	put_str(c, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
	WAIT(got(c, "HTTP/1.1 413") && got(c, "request_too_large"), 1000);
	CHECK(!got(c, "100 Continue"));
	hang_up(c);
	/* One that sends without asking can still read the answer: its bytes are swallowed for a while. */
	c = dial(NULL);
	put_str(c, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n");
	static char junk[8000000];
	CHECK(put(c, junk, sizeof junk));
	WAIT(got(c, "HTTP/1.1 413"), 1000);
	hang_up(c);
	/* Exactly the limit is fine, and Expect: 100-continue is answered. */
	c = dial(NULL);
	put_str(c, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
	WAIT(got(c, "100 Continue"), 1000);
	put(c, junk, 1000);
	WAIT(got(c, "hello"), 1000);
	CHECK_INT(t.body_len, 1000);
	hang_up(c);
	CHECK_INT(t.handled, 1);
	teardown();
}

TEST(a_chunked_body_over_the_limit_is_refused_at_its_end_and_an_endless_one_is_cut)
{
	if (!setup(&(hth_http_options){.max_body = 1000}))
		return;
	client *c = dial(NULL);
	put_str(c, "POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	char chunk[600];
	int head = snprintf(chunk, sizeof chunk, "1f4\r\n");
	memset(chunk + head, 'x', 500);
	memcpy(chunk + head + 500, "\r\n", 2);
	for (int i = 0; i < 4; i++)
		put(c, chunk, (size_t)head + 502);
	put_str(c, "0\r\n\r\n");
	WAIT(got(c, "HTTP/1.1 413"), 1000);
	hang_up(c);
	c = dial(NULL);
	put_str(c, "POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 40 && put(c, chunk, (size_t)head + 502); i++)
		spin(1);
	WAIT(closed(c), 1000);
	hang_up(c);
	c = dial(NULL);
	put_str(c, "POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
	WAIT(got(c, "hello"), 1000);
	CHECK_STR(t.body_start, "abcde");
	hang_up(c);
	CHECK_INT(t.handled, 1);
	teardown();
}

TEST(a_client_that_leaves_with_its_last_bytes_is_not_kept)
{
	static const char *const parts[] = {"P", "POST /now HTTP/1.1\r\n", "POST /now HTTP/1.1\r\nHost: h\r\nContent-Len",
	                                    "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
	                                    "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"};
	if (!setup(NULL))
		return;
	/* The bytes and the end are there before the server looks. */
	for (size_t i = 0; i < HTH_COUNT(parts); i++) {
		client *c = dial(NULL);
		put_str(c, parts[i]);
		hang_up(c);
	}
	spin(50);
	WAIT(hth_http_connections(t.http) == 0, 4000); /* its own deadline would be 30 s */
	CHECK_INT(t.handled, 0);
	teardown();
}

TEST(all_bodies_together_are_limited)
{
	if (!setup(&(hth_http_options){.max_body = 1000, .max_buffered = 1500}))
		return;
	static char body[1000];
	client *a = dial(NULL), *b = dial(NULL), *d = dial(NULL);
	put_str(a, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
	put(a, body, 900);
	spin(20);
	put_str(b, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
	WAIT(got(b, "HTTP/1.1 503") && got(b, "Retry-After: 1"), 1000);
	put(a, body, 100);
	WAIT(got(a, "hello"), 1000);
	put_str(d, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
	put(d, body, 1000);
	WAIT(got(d, "hello"), 1000);
	hang_up(a);
	hang_up(b);
	hang_up(d);
	teardown();
}

TEST(headers_over_the_limit_get_431)
{
	if (!setup(&(hth_http_options){.max_header = 4096}))
		return;
	client *c = dial(NULL);
	static char big[9000];
	memset(big, 'h', sizeof big);
	put_str(c, "GET /now HTTP/1.1\r\nHost: h\r\nX-Big: ");
	put(c, big, 5000);
	put_str(c, "\r\n\r\n");
	WAIT(got(c, "HTTP/1.1 431"), 1000);
	hang_up(c);
	/* Endless headers are cut by libmicrohttpd's pool. */
	c = dial(NULL);
	put_str(c, "GET /now HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 8 && put_str(c, "X-Big: ") && put(c, big, sizeof big) && put_str(c, "\r\n"); i++)
		spin(1);
	WAIT(closed(c) || got(c, "HTTP/1.1 431"), 1000);
	hang_up(c);
	c = dial(NULL);
	put_str(c, "GET /now HTTP/1.1\r\nHost: h\r\nX-Big: ");
	put(c, big, 3000);
	put_str(c, "\r\n\r\n");
	WAIT(got(c, "hello"), 1000);
	hang_up(c);
	CHECK_INT(t.handled, 1);
	teardown();
}

TEST(slow_connections_give_way_to_those_who_ask)
{
	if (!setup(&(hth_http_options){.max_connections = 60, .max_per_client = 40, .receive_s = 60}))
		return;
	enum { SLOW = 200 };
	static client *slow[SLOW];
	int before = open_fds();
	for (int i = 0; i < SLOW; i++) {
		slow[i] = dial(NULL);
		put_str(slow[i], "GET /no");
		if (i % 10 == 0)
			spin(2);
	}
	spin(30);
	CHECK(hth_http_connections(t.http) <= 60);
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < SLOW; k++)
			send(slow[k]->fd, "w", 1, MSG_NOSIGNAL);
		client *c = dial(NULL);
		put_str(c, GET("/now"));
		WAIT(got(c, "hello"), 1000);
		hang_up(c);
	}
	/* Those that wait for an answer are not crowded out. */
	client *c = dial("127.0.0.2");
	put_str(c, GET("/hold"));
	WAIT(t.n_held == 1, 1000);
	for (int i = 0; i < SLOW; i++) {
		hang_up(slow[i]);
		slow[i] = dial(i % 2 ? NULL : "127.0.0.3");
		spin(1);
	}
	CHECK_INT(t.gone, 0);
	hth_exchange_reply(t.held[0], 200, "text/plain", "still here", 10);
	WAIT(got(c, "still here"), 1000);
	hang_up(c);
	for (int i = 0; i < SLOW; i++)
		hang_up(slow[i]);
	WAIT(hth_http_connections(t.http) == 0, 2000);
	CHECK(open_fds() <= before);
	teardown();
}

TEST(when_everybody_is_busy_a_new_connection_is_refused)
{
	if (!setup(&(hth_http_options){.max_connections = 4}))
		return;
	client *busy[4];
	for (int i = 0; i < 4; i++) {
		busy[i] = dial(NULL);
		put_str(busy[i], GET("/hold"));
	}
	WAIT(t.n_held == 4, 1000);
	client *c = dial(NULL);
	put_str(c, GET("/now"));
	WAIT(closed(c), 1000);
	CHECK(!got(c, "hello"));
	hang_up(c);
	for (int i = 0; i < 4; i++) {
		hth_exchange_reply(t.held[i], 200, "text/plain", "done", 4);
		WAIT(got(busy[i], "done"), 1000);
		hang_up(busy[i]);
	}
	CHECK_INT(t.gone, 0);
	teardown();
}

TEST(a_request_must_be_whole_in_time_even_when_bytes_keep_coming)
{
	if (!setup(&(hth_http_options){.receive_s = 1, .idle_s = 1}))
		return;
	client *head = dial(NULL), *body = dial(NULL), *silent = dial(NULL), *waits = dial(NULL);
	put_str(head, "GET /now HTTP/1.1\r\nX: ");
	put_str(body, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
	put_str(waits, GET("/hold"));
	uint64_t start = hth_clock_ms();
	while (hth_clock_ms() - start < HANG_MS && !(closed(head) && closed(body) && closed(silent))) {
		send(head->fd, "x", 1, MSG_NOSIGNAL);
		send(body->fd, "x", 1, MSG_NOSIGNAL);
		spin(100);
	}
	CHECK(closed(head) && closed(body) && closed(silent));
	CHECK(!closed(waits));
	CHECK_INT(t.handled, 1);
	hth_exchange_reply(t.held[0], 200, "text/plain", "patience", 8);
	WAIT(got(waits, "patience"), 1000);
	hang_up(head);
	hang_up(body);
	hang_up(silent);
	hang_up(waits);
	teardown();
}

TEST(a_client_that_does_not_read_its_stream_counts_as_gone)
{
	if (!setup(&(hth_http_options){.max_unsent = 100000}))
		return;
	client *c = dial(NULL);
	put_str(c, GET("/hold"));
	WAIT(t.n_held == 1, 1000);
	hth_exchange_begin(t.held[0], 200, "text/plain");
	static char piece[10000];
	memset(piece, 'p', sizeof piece);
	size_t sent = 0;
	for (int i = 0; i < 5000 && t.held[0] != NULL; i++) {
		hth_exchange_send(t.held[0], piece, sizeof piece);
		CHECK_INT(t.held[0] == NULL, 0); /* never inside the call */
		sent += sizeof piece;
		hth_loop_run_once(t.loop, true);
	}
	CHECK_INT(t.gone, 1);
	CHECK(sent < 20000000); /* what the kernel's buffers take, and the limit */
	WAIT(hth_http_connections(t.http) == 0, 2000);
	hang_up(c);
	teardown();
}

TEST(a_long_stream_and_a_long_answer_arrive_whole)
{
	if (!setup(NULL))
		return;
	client *c = dial(NULL), *d = dial(NULL);
	put_str(c, GET("/hold"));
	put_str(d, GET("/big"));
	WAIT(t.n_held == 1, 1000);
	hth_exchange_begin(t.held[0], 200, "text/plain");
	static char piece[7001];
	memset(piece, 'p', sizeof piece);
	for (int i = 0; i < 300; i++) {
		hth_exchange_send(t.held[0], piece, sizeof piece);
		hth_loop_run_once(t.loop, false);
		take(c);
		take(d);
	}
	hth_exchange_finish(t.held[0]);
	put_str(c, GET("/now"));
	WAIT((take(c), c->total) > 300 * sizeof piece + 500 && (take(d), d->total) > (3 << 20), 3000);
	CHECK_INT(t.gone, 0);
	hang_up(c);
	hang_up(d);
	teardown();
}

TEST(stopping_tells_every_open_exchange_once_and_lets_finished_answers_out)
{
	if (!setup(NULL))
		return;
	client *c[4];
	for (int i = 0; i < 4; i++)
		c[i] = dial(NULL);
	put_str(c[0], GET("/hold"));
	WAIT(t.n_held == 1, 1000);
	put_str(c[1], GET("/hold"));
	WAIT(t.n_held == 2, 1000);
	hth_exchange_begin(t.held[1], 200, "text/plain");
	hth_exchange_send(t.held[1], "begun", 5);
	WAIT(got(c[1], "begun"), 1000);
	put_str(c[2], GET("/hold"));
	WAIT(t.n_held == 3, 1000);
	put_str(c[3], "GET /ha");
	spin(5);
	hth_http_stop_accepting(t.http);
	hth_exchange_reply(t.held[2], 200, "text/plain", "last words", 10);
	hth_http_destroy(t.http);
	CHECK_INT(t.gone, 2);
	CHECK(got(c[2], "last words"));
	for (int i = 0; i < 4; i++) {
		CHECK(closed(c[i]));
		hang_up(c[i]);
	}
	hth_timer_close(t.wake);
	CHECK(hth_loop_destroy(t.loop));
}

TEST(an_address_that_is_taken_or_none_is_said)
{
	if (!setup(NULL))
		return;
	hth_error err = HTH_ERROR_INIT;
	hth_http *second = NULL;
	static const hth_http_handler handler = {handle, gone};
	hth_http_options o = {.address = "127.0.0.1", .port = hth_http_port(t.http)};
	CHECK_INT(hth_http_start(&second, t.loop, &o, &handler, NULL, &err), HTH_CONFLICT);
	CHECK(strstr(err.message, "taken") != NULL);
	o = (hth_http_options){.address = "example.org"};
	CHECK_INT(hth_http_start(&second, t.loop, &o, &handler, NULL, &err), HTH_INVALID);
	CHECK(second == NULL);
	teardown();
}

TEST_MAIN()
