/* http.c - the server: its listening socket, the drive of libmicrohttpd by the loop, connections and their limits.
 *
 * libmicrohttpd has no thread here. Its epoll descriptor is watched by the loop; after every run it is asked for how long it may
 * sleep. It knows an idle timeout per connection, which one byte now and then resets; the deadlines that matter against slow
 * senders are therefore ours (a tick once a second). A connection is closed from our side by shutting its socket down, which
 * libmicrohttpd then notices like any hang-up. Refuses: more connections than allowed (see http.h for who gives way),
 * requests that are not whole in time. Thread: the loop's.
 */
#include "http/http-internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
	LINGER_MS = 2000,
	RUNS_AT_ONCE = 16,      /* turns of libmicrohttpd before other handles of the loop get theirs */
	UNREAD_RESPONSE_S = 300, /* a response must be taken within this of its end, however slowly */
	DESTROY_FLUSH_MS = 500
};

static hth_http_conn *conn_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info == NULL ? NULL : info->socket_context;
}

static void format_client(const struct sockaddr *address, char out[INET6_ADDRSTRLEN])
{
	out[0] = '\0';
	if (address == NULL)
		return;
	if (address->sa_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out, INET6_ADDRSTRLEN);
	} else if (address->sa_family == AF_INET6) {
		const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
		if (IN6_IS_ADDR_V4MAPPED(a))
			inet_ntop(AF_INET, (const char *)a + 12, out, INET6_ADDRSTRLEN);
		else
			inet_ntop(AF_INET6, a, out, INET6_ADDRSTRLEN);
	}
}

/* --- the drive --- */

static void run(hth_http *http)
{
	http->in_run = true;
	if (http->overflowed) {
		http->overflowed = false;
		for (hth_http_conn *c = http->first; c != NULL; c = c->next) {
			if (c->exchange != NULL && c->exchange->overflow)
				hth_exchange_abandon(c->exchange);
		}
	}
	MHD_UNSIGNED_LONG_LONG timeout = 0;
	enum MHD_Result has_timeout = MHD_NO;
	for (int i = 0; i < RUNS_AT_ONCE; i++) {
		http->again = false;
		MHD_run(http->mhd);
		has_timeout = MHD_get_timeout(http->mhd, &timeout);
		if (!http->again && (has_timeout == MHD_NO || timeout > 0))
			break;
	}
	http->in_run = false;
	if (http->overflowed || http->again)
		hth_timer_start(http->run_timer, 0, 0);
	else if (has_timeout == MHD_YES)
		hth_timer_start(http->run_timer, timeout, 0);
	else
		hth_timer_stop(http->run_timer);
}

void hth_http_run_soon(hth_http *http)
{
	/* MHD_get_timeout does not count connections that were resumed inside the run. */
	if (http->in_run)
		http->again = true;
	else
		hth_timer_start(http->run_timer, 0, 0);
}

static void on_epoll(void *ctx, unsigned events)
{
	(void)events;
	run(ctx);
}
static void on_run_timer(void *ctx) { run(ctx); }

/* --- connections --- */

void hth_conn_shut(hth_http_conn *conn)
{
	if (conn->doomed)
		return;
	conn->doomed = true;
	shutdown(conn->fd, SHUT_RDWR);
	hth_http_run_soon(conn->http);
}

static bool is_busy(const hth_http_conn *conn)
{
	return conn->exchange != NULL && conn->exchange->state != HTH_EX_RECEIVING;
}

/* libmicrohttpd may not see the end of a connection that came together with its last bytes: it reads these, waits for more, and is not
 * told again. Nothing unread, and nothing to come: whoever it was has left without a whole request. */
static bool has_left(const hth_http_conn *conn)
{
	char byte;
	ssize_t n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static void on_tick(void *ctx)
{
	hth_http *http = ctx;
	uint64_t now = hth_clock_ms();
	for (hth_http_conn *c = http->first; c != NULL; c = c->next) {
		uint64_t allowed_s;
		if (!is_busy(c))
			allowed_s = c->receiving || c->fresh ? http->options.receive_s
			                                     : (uint64_t)http->options.idle_s + http->options.receive_s;
		else if (c->exchange->state == HTH_EX_FINISHED)
			allowed_s = UNREAD_RESPONSE_S;
		else
			continue;
		if (now - c->since_ms > allowed_s * 1000 || (!is_busy(c) && !c->doomed && has_left(c)))
			hth_conn_shut(c);
	}
	bool lingering = false;
	for (size_t i = 0; i < HTH_LINGER_MAX; i++) {
		hth_linger *l = &http->linger[i];
		if (l->fd >= 0 && now >= l->until_ms) {
			hth_watch_close(l->watch);
			close(l->fd);
			l->watch = NULL;
			l->fd = -1;
		}
		lingering |= l->fd >= 0;
	}
	if (http->n_conns == 0 && !lingering) {
		hth_timer_stop(http->tick_timer);
		http->ticking = false;
	}
}

static void start_ticking(hth_http *http)
{
	if (!http->ticking && http->tick_timer != NULL) {
		http->ticking = true;
		hth_timer_start(http->tick_timer, 1000, 1000);
	}
}

/* Makes room for one more connection of `client`; false: everybody is busy. */
static enum MHD_Result on_accept_policy(void *cls, const struct sockaddr *address, socklen_t address_len)
{
	(void)address_len;
	hth_http *http = cls;
	char client[INET6_ADDRSTRLEN];
	format_client(address, client);
	size_t all = 0, same = 0;
	hth_http_conn *oldest = NULL, *oldest_same = NULL;
	for (hth_http_conn *c = http->first; c != NULL; c = c->next) {
		if (c->doomed)
			continue;
		bool mine = strcmp(c->client, client) == 0;
		all++;
		same += mine;
		if (is_busy(c))
			continue;
		if (oldest == NULL || c->since_ms < oldest->since_ms)
			oldest = c;
		if (mine && (oldest_same == NULL || c->since_ms < oldest_same->since_ms))
			oldest_same = c;
	}
	hth_http_conn *victim = NULL;
	if (same >= http->options.max_per_client)
		victim = oldest_same;
	else if (all >= http->options.max_connections)
		victim = oldest;
	else
		return MHD_YES;
	if (victim == NULL)
		return MHD_NO;
	hth_conn_shut(victim);
	return MHD_YES;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
	hth_http *http = cls;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		hth_http_conn *conn = calloc(1, sizeof *conn);
		*socket_context = conn;
		if (conn == NULL)
			return; /* the access callback closes a connection without context */
		conn->http = http;
		conn->mhd = mhd;
		conn->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		format_client(MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr, conn->client);
		conn->since_ms = hth_clock_ms();
		conn->fresh = true;
		conn->prev = http->last;
		*(http->last != NULL ? &http->last->next : &http->first) = conn;
		http->last = conn;
		http->n_conns++;
		/* A streamed token must not wait for the next one, and a peer whose machine vanished must be noticed. */
		int on = 1;
		setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
		setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){30}, sizeof(int));
		setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){10}, sizeof(int));
		setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){3}, sizeof(int));
		start_ticking(http);
		return;
	}
	hth_http_conn *conn = *socket_context;
	if (conn == NULL)
		return;
	*(conn->prev != NULL ? &conn->prev->next : &http->first) = conn->next;
	*(conn->next != NULL ? &conn->next->prev : &http->last) = conn->prev;
	http->n_conns--;
	*socket_context = NULL;
	free(conn);
}

/* The first line of a request has come. */
static void *on_first_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	(void)cls;
	(void)uri;
	hth_http_conn *conn = conn_of(mhd);
	if (conn != NULL) {
		/* A new connection's clock runs since it connected. */
		if (!conn->fresh)
			conn->since_ms = hth_clock_ms();
		conn->receiving = true;
	}
	return NULL;
}

/* --- lingering: a client that is refused while it still sends must be able to read why. Closing a socket with unread bytes
 * resets the connection, which may destroy the response on its way; so a second descriptor of the same socket reads and
 * drops what comes until the client stops or time is up. --- */

static void on_linger(void *ctx, unsigned events)
{
	(void)events;
	hth_linger *l = ctx;
	static char sink[65536]; /* what lands here is never looked at */
	for (int i = 0; i < 16; i++) {
		ssize_t n = recv(l->fd, sink, sizeof sink, MSG_DONTWAIT);
		if (n > 0)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		hth_watch_close(l->watch);
		close(l->fd);
		l->watch = NULL;
		l->fd = -1;
		return;
	}
}

void hth_http_linger(hth_http *http, int fd)
{
	for (size_t i = 0; i < HTH_LINGER_MAX; i++) {
		hth_linger *l = &http->linger[i];
		if (l->fd >= 0)
			continue;
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return;
		if (hth_watch_open(&l->watch, http->loop, copy, HTH_READABLE, on_linger, l, NULL) != HTH_OK) {
			close(copy);
			return;
		}
		l->http = http;
		l->fd = copy;
		l->until_ms = hth_clock_ms() + LINGER_MS;
		start_ticking(http);
		return;
	}
	/* Too many at once: this one may see a reset instead of its answer. */
}

/* --- start and end --- */

static hth_status open_socket(const hth_http_options *options, int *ret_fd, uint16_t *ret_port, hth_error *err)
{
	const char *address = strcmp(options->address, "localhost") == 0 ? "127.0.0.1" : options->address;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(options->port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(options->port)};
	struct sockaddr *where;
	socklen_t len;
	if (inet_pton(AF_INET, address, &four.sin_addr) == 1) {
		where = (struct sockaddr *)&four;
		len = sizeof four;
	} else if (inet_pton(AF_INET6, address, &six.sin6_addr) == 1) {
		where = (struct sockaddr *)&six;
		len = sizeof six;
	} else {
		return hth_fail(err, HTH_INVALID, "%s is not an address to listen on: give numbers, as 127.0.0.1 or ::1", address);
	}
	HTH_AUTO_CLOSE int fd = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make a socket");
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, where, len) != 0 || listen(fd, 512) != 0) {
		int e = errno;
		if (e == EADDRINUSE)
			return hth_fail(err, HTH_CONFLICT,
			                "%s port %u is taken: another program (or another node) listens there; choose another with "
			                "--listen",
			                address, options->port);
		return hth_fail_errno(err, HTH_IO, e, "cannot listen on %s port %u", address, options->port);
	}
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} bound = {.v6 = {0}};
	socklen_t bound_len = sizeof bound;
	if (getsockname(fd, &bound.any, &bound_len) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot read back the port");
	*ret_port = ntohs(bound.any.sa_family == AF_INET ? bound.v4.sin_port : bound.v6.sin6_port);
	*ret_fd = hth_take_fd(&fd);
	return HTH_OK;
}

static void set_defaults(hth_http_options *o)
{
	o->max_body = o->max_body ? o->max_body : 32u << 20;
	/* libmicrohttpd maps pools over 32 KiB afresh for each connection: dear */
	o->max_header = o->max_header ? o->max_header : 16u << 10;
	o->max_buffered = o->max_buffered ? o->max_buffered : 128u << 20;
	o->max_connections = o->max_connections ? o->max_connections : 256;
	o->max_per_client = o->max_per_client ? o->max_per_client : 128;
	o->idle_s = o->idle_s ? o->idle_s : 30;
	o->receive_s = o->receive_s ? o->receive_s : 30;
	o->max_unsent = o->max_unsent ? o->max_unsent : 8u << 20;
}

hth_status hth_http_start(hth_http **ret_http, hth_loop *loop, const hth_http_options *options,
                          const hth_http_handler *handler, void *ctx, hth_error *err)
{
	hth_http *http = calloc(1, sizeof *http);
	if (http == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the HTTP server");
	http->loop = loop;
	http->options = *options;
	set_defaults(&http->options);
	http->handler = *handler;
	http->ctx = ctx;
	for (size_t i = 0; i < HTH_LINGER_MAX; i++)
		http->linger[i].fd = -1;
	int fd = -1;
	hth_status status = open_socket(options, &fd, &http->port, err);
	if (status != HTH_OK) {
		free(http);
		return status;
	}
	/* Our own limit makes room before libmicrohttpd's is reached; its slack covers sockets that are shut but not yet cleaned up.
	 * The pool holds a request's headers, its table of them and the response's. */
	http->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, on_accept_policy, http,
	                             hth_exchange_access, http,
	                             MHD_OPTION_LISTEN_SOCKET, fd,
	                             MHD_OPTION_CONNECTION_LIMIT, http->options.max_connections + 64,
	                             MHD_OPTION_CONNECTION_TIMEOUT, http->options.idle_s,
	                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, http->options.max_header + ((size_t)16 << 10),
	                             MHD_OPTION_NOTIFY_COMPLETED, hth_exchange_completed, http,
	                             MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
	                             MHD_OPTION_URI_LOG_CALLBACK, on_first_line, http,
	                             MHD_OPTION_STRICT_FOR_CLIENT, 1,
	                             MHD_OPTION_END);
	if (http->mhd == NULL) {
		close(fd);
		free(http);
		return hth_fail(err, HTH_IO, "the HTTP server did not start");
	}
	http->accepting = true;
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || info->epoll_fd < 0)
		status = hth_fail(err, HTH_INTERNAL, "this libmicrohttpd has no epoll");
	if (status == HTH_OK)
		status = hth_timer_open(&http->run_timer, loop, on_run_timer, http, err);
	if (status == HTH_OK)
		status = hth_timer_open(&http->tick_timer, loop, on_tick, http, err);
	if (status == HTH_OK)
		status = hth_watch_open(&http->epoll_watch, loop, info->epoll_fd, HTH_READABLE, on_epoll, http, err);
	if (status != HTH_OK) {
		hth_http_destroy(http);
		return status;
	}
	run(http);
	*ret_http = http;
	return HTH_OK;
}

uint16_t hth_http_port(const hth_http *http) { return http->port; }
size_t hth_http_connections(const hth_http *http) { return http->n_conns; }

void hth_http_stop_accepting(hth_http *http)
{
	if (!http->accepting)
		return;
	http->accepting = false;
	int fd = MHD_quiesce_daemon(http->mhd);
	if (fd != MHD_INVALID_SOCKET)
		close(fd);
}

/* Gives finished responses a moment to leave. */
static void flush_responses(hth_http *http)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	uint64_t until = hth_clock_ms() + DESTROY_FLUSH_MS;
	for (;;) {
		MHD_run(http->mhd);
		bool sending = false;
		for (hth_http_conn *c = http->first; c != NULL; c = c->next)
			sending |= c->exchange != NULL && !c->doomed;
		if (!sending || hth_clock_ms() >= until)
			return;
		MHD_UNSIGNED_LONG_LONG timeout;
		if (MHD_get_timeout(http->mhd, &timeout) == MHD_YES && timeout == 0)
			continue;
		poll(&(struct pollfd){.fd = info->epoll_fd, .events = POLLIN}, 1, 20);
	}
}

void hth_http_destroy(hth_http *http)
{
	if (http == NULL)
		return;
	http->destroying = true;
	http->in_run = true; /* nobody will run the timer any more */
	hth_http_stop_accepting(http);
	for (hth_http_conn *c = http->first; c != NULL; c = c->next) {
		if (c->exchange == NULL || c->exchange->state == HTH_EX_RECEIVING)
			hth_conn_shut(c);
		else if (c->exchange->state == HTH_EX_HANDLED || c->exchange->state == HTH_EX_BEGUN)
			hth_exchange_abandon(c->exchange);
	}
	flush_responses(http);
	hth_watch_close(http->epoll_watch);
	hth_timer_close(http->run_timer);
	hth_timer_close(http->tick_timer);
	http->run_timer = http->tick_timer = NULL;
	for (size_t i = 0; i < HTH_LINGER_MAX; i++) {
		if (http->linger[i].fd >= 0) {
			hth_watch_close(http->linger[i].watch);
			close(http->linger[i].fd);
		}
	}
	MHD_stop_daemon(http->mhd);
	free(http);
}
