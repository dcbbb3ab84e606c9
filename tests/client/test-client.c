/* The client against a server of a few lines: a thread that answers each connection with the next script's bytes. */
#include "base/clock.h"
#include "client/client.h"
#include "harness.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct server {
	int listener;
	const char *answer; /* the whole answer; sent in pieces of `piece` bytes */
	size_t repeat;      /* the answer's last line this many times more */
	const char *repeated;
	size_t piece;
	bool hang;          /* after the answer, wait for the client to leave */
	char got[4096];     /* the request's bytes */
	bool left;          /* the client closed while we waited */
	pthread_t thread;
	char url[64];
} server;

static void send_all(int fd, const char *data, size_t len, size_t piece)
{
	while (len > 0) {
		ssize_t n = send(fd, data, piece != 0 && piece < len ? piece : len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static void *serve(void *p)
{
	server *s = p;
	struct pollfd ready = {.fd = s->listener, .events = POLLIN};
	if (poll(&ready, 1, 10000) != 1)
		return NULL;
	int fd = accept(s->listener, NULL, NULL);
	size_t got = 0;
	for (;;) {
		ssize_t n = recv(fd, s->got + got, sizeof s->got - 1 - got, 0);
		if (n <= 0)
			break;
		got += (size_t)n;
		s->got[got] = '\0';
		char *body = strstr(s->got, "\r\n\r\n");
		if (body == NULL)
			continue;
		char *length = strstr(s->got, "Content-Length: ");
		if ((size_t)(body + 4 - s->got) + (length != NULL ? strtoul(length + 16, NULL, 10) : 0) <= got)
			break;
	}
	send_all(fd, s->answer, strlen(s->answer), s->piece);
	for (size_t i = 0; i < s->repeat; i++)
		send_all(fd, s->repeated, strlen(s->repeated), 0);
	if (s->hang) {
		struct pollfd gone = {.fd = fd, .events = POLLIN};
		char c;
		s->left = poll(&gone, 1, 10000) == 1 && recv(fd, &c, 1, 0) <= 0;
	}
	close(fd);
	return NULL;
}

static bool start(server *s)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s->listener, (struct sockaddr *)&address, len) != 0 || listen(s->listener, 4) != 0 ||
	    getsockname(s->listener, (struct sockaddr *)&address, &len) != 0)
		return false;
	snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
	return pthread_create(&s->thread, NULL, serve, s) == 0;
}
static void stop(server *s)
{
	pthread_join(s->thread, NULL);
	close(s->listener);
}

static hth_error err;
static hth_client *client_of(const char *url, const char *key, const volatile sig_atomic_t *cancel)
{
	hth_client *client = NULL;
	err = HTH_ERROR_INIT;
	if (hth_client_create(&client, &(hth_client_options){.base_url = url, .api_key = key, .cancel = cancel}, &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
	return client;
}

#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

TEST(json_goes_out_and_comes_back)
{
	server s = {.answer = OK_JSON "{\"a\":[1,2]}", .piece = 7};
	REQUIRE(start(&s));
	hth_client *client = client_of(s.url, "secret", NULL);
	HTH_AUTO_JSON json_t *body = json_pack("{s:s}", "q", "x");
	HTH_AUTO_JSON json_t *answer = NULL;
	CHECK_OK(hth_client_json(client, "POST", "/p", body, 5000, &answer, &err));
	CHECK_INT(json_array_size(json_object_get(answer, "a")), 2);
	CHECK(hth_client_reached(client));
	stop(&s);
	CHECK(strncmp(s.got, "POST /p HTTP/1.1\r\n", 18) == 0);
	CHECK(strstr(s.got, "Authorization: Bearer secret\r\n") != NULL);
	CHECK(strstr(s.got, "\r\n\r\n{\"q\":\"x\"}") != NULL);
	hth_client_destroy(client);
}

TEST(errors_of_the_server_are_its_words)
{
	static const struct {
		const char *answer, *says;
		hth_status status;
	} cases[] = {
	    {"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n{\"error\":{\"message\":\"no such model\",\"param\":\"model\"}}",
	     "no such model", HTH_NOT_FOUND},
	    {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{\"error\":{\"message\":\"300 of "
	     "256\",\"code\":\"context_length_exceeded\"}}", "300 of 256", HTH_TOO_LARGE},
	    {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{\"error\":\"plain words\"}", "plain words", HTH_INVALID},
	    {"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n", "wants a key", HTH_UNAUTHORIZED},
	    {"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n<html>", "HTTP status 503", HTH_BUSY},
	    {OK_JSON "<html>hello", "no Hearth node", HTH_BAD_FORMAT},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"a\":", "broke before", HTH_GONE},
	    {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n", "HTTP status 302", HTH_INVALID},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		server s = {.answer = cases[i].answer};
		REQUIRE(start(&s));
		hth_client *client = client_of(s.url, NULL, NULL);
		json_t *answer = NULL;
		CHECK_INT(hth_client_json(client, "GET", "/", NULL, 5000, &answer, &err), cases[i].status);
		if (strstr(err.message, cases[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "says: %s", err.message);
		CHECK(hth_client_reached(client));
		stop(&s);
		hth_client_destroy(client);
	}
}

TEST(nobody_there_is_said_with_what_to_do)
{
	server s = {.answer = ""};
	REQUIRE(start(&s));
	char url[64];
	snprintf(url, sizeof url, "%s", s.url);
	hth_client *client = client_of(url, NULL, NULL);
	json_t *answer = NULL;
	CHECK_INT(hth_client_json(client, "GET", "/", NULL, 5000, &answer, &err), HTH_GONE);
	stop(&s);
	CHECK_INT(hth_client_json(client, "GET", "/", NULL, 5000, &answer, &err), HTH_GONE);
	CHECK(!hth_client_reached(client));
	CHECK(strstr(err.message, "hearth serve") != NULL);
	hth_client_destroy(client);
	CHECK_INT(hth_client_create(&client, &(hth_client_options){.base_url = "file:///etc/passwd"}, &err), HTH_INVALID);
}

typedef struct lines {
	char text[256];
	size_t n, stop_at;
} lines;
static bool take_line(void *ctx, const char *line, size_t len)
{
	lines *l = ctx;
	if (l->n < 10)
		snprintf(l->text + strlen(l->text), sizeof l->text - strlen(l->text), "[%.*s]", (int)len, line);
	return ++l->n != l->stop_at;
}

TEST(lines_arrive_whole_however_they_were_cut)
{
	for (size_t piece = 1; piece < 9; piece++) {
		server s = {.answer = OK_JSON "data: one\r\n\r\ndata:two\nlast", .piece = piece};
		REQUIRE(start(&s));
		hth_client *client = client_of(s.url, NULL, NULL);
		lines l = {.text = ""};
		CHECK_OK(hth_client_stream(client, "POST", "/", NULL, take_line, &l, &err));
		CHECK_STR(l.text, "[data: one][][data:two][last]");
		stop(&s);
		hth_client_destroy(client);
	}
	const char *data;
	size_t len;
	CHECK(hth_sse_data("data: x", 7, &data, &len) && len == 1 && *data == 'x');
	CHECK(hth_sse_data("data:", 5, &data, &len) && len == 0);
	CHECK(!hth_sse_data(": comment", 9, &data, &len));
}

TEST(a_stream_stops_when_its_reader_says_so)
{
	server s = {.answer = OK_JSON "a\nb\nc\nd\n", .hang = true};
	REQUIRE(start(&s));
	hth_client *client = client_of(s.url, NULL, NULL);
	lines l = {.stop_at = 2};
	CHECK_INT(hth_client_stream(client, "GET", "/", NULL, take_line, &l, &err), HTH_CANCELLED);
	CHECK_STR(l.text, "[a][b]");
	hth_client_destroy(client);
	stop(&s);
	CHECK(s.left);
}

static volatile sig_atomic_t interrupted;
static void *interrupt_soon(void *p)
{
	usleep(50000);
	interrupted = 1;
	return NULL;
}
TEST(cancel_ends_the_wait_and_the_connection)
{
	server s = {.answer = OK_JSON "a\n", .hang = true};
	REQUIRE(start(&s));
	hth_client *client = client_of(s.url, NULL, &interrupted);
	pthread_t thread;
	pthread_create(&thread, NULL, interrupt_soon, NULL);
	lines l = {.text = ""};
	CHECK_INT(hth_client_stream(client, "GET", "/", NULL, take_line, &l, &err), HTH_CANCELLED); /* or it would wait for ever */
	pthread_join(thread, NULL);
	hth_client_destroy(client);
	stop(&s);
	CHECK(s.left);
}

TEST(an_endless_line_or_answer_is_cut_off)
{
	char *kilobyte = malloc(1025);
	memset(kilobyte, 'x', 1024);
	kilobyte[1024] = '\0';
	server s = {.answer = OK_JSON, .repeat = HTH_CLIENT_LINE_MAX / 1024 + 512, .repeated = kilobyte};
	REQUIRE(start(&s));
	hth_client *client = client_of(s.url, NULL, NULL);
	lines l = {.text = ""};
	CHECK_INT(hth_client_stream(client, "GET", "/", NULL, take_line, &l, &err), HTH_TOO_LARGE);
	CHECK_INT(l.n, 0);
	hth_client_destroy(client);
	stop(&s);
	free(kilobyte);
}

TEST(a_silent_server_times_out)
{
	server s = {.answer = "", .hang = true};
	REQUIRE(start(&s));
	hth_client *client = client_of(s.url, NULL, NULL);
	json_t *answer = NULL;
	CHECK_INT(hth_client_json(client, "GET", "/", NULL, 200, &answer, &err), HTH_TIMEOUT);
	hth_client_destroy(client);
	stop(&s);
}

TEST_MAIN()
