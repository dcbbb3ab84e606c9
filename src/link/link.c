/* link.c - the life of a connection: pause, resolve, connect, INFO, TLS, login, up; and from wherever it breaks back to the pause.
 *
 * Owns the socket, its TLS and the queue. One timer serves all waits: the pause between attempts, the limit of an attempt, the pings. What
 * goes wrong inside a caller's call is only noted (`broken`) and told by that timer, so that no event comes from inside a call. Thread: the
 * loop's.
 */
#include "link/link-internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "json/json.h"
#include "link/nkey.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>

enum {
	ATTEMPT_MS = 10000, CONNECT_MS = 4000, STEADY_MS = 10000,
	PING_MS = 5000, URGENT_QUIET_MS = 600, URGENT_ANSWER_MS = 900, STALL_MS = 250, BACKLOG = 64 << 10,
	PAUSE_FIRST_MS = 200, PAUSE_MAX_MS = 10000, READ_CHUNK = 16 << 10, READ_SLICE = 256 << 10, READ_NS = 2000000, NONCE_MAX = 48,
};

typedef enum link_state { LINK_PAUSE, LINK_RESOLVE, LINK_CONNECT, LINK_INFO, LINK_TLS, LINK_LOGIN, LINK_UP } link_state;

struct hth_link {
	hth_loop *loop;
	hth_link_login login;
	hth_link_events events;
	hth_link_hub hubs[HTH_LINK_HUBS_MAX];
	size_t n_hubs, next_hub; /* the one of the next attempt */
	hth_link_hub hub;        /* the one of this attempt */
	char subjects[HTH_LINK_SUBJECTS_MAX][HTH_WIRE_SUBJECT_MAX];
	unsigned n_subjects;
	link_state state;
	link_resolver *resolver;
	link_address addresses[LINK_ADDRESSES_MAX];
	size_t n_addresses, address;
	int fd;
	hth_watch *watch;
	unsigned watching;
	hth_timer *timer, *more;
	link_tls *tls;
	hth_wire wire;
	hth_buf out;
	size_t out_at; /* bytes of out that are on the wire */
	char nonce[NONCE_MAX + 1];
	unsigned attempts; /* since it was last up for a while */
	uint64_t up_ms, heard_ms;
	bool urgent, pinging;   /* pinging: nothing was heard since a ping went out */
	uint64_t pinged_ms, look_ms; /* when the ping's time began to run; when the timer is to look next */
	uint64_t taken;              /* bytes that the hub's machine had acknowledged by then */
	bool broken;
	hth_error why;
	hth_link_counts counts;
};

static void attempt(hth_link *l);
static void on_watch(void *ctx, unsigned events);
static void look_later(hth_link *l);

/* ---- the end of an attempt ---- */

static void hang_up(hth_link *l)
{
	hth_watch_close(l->watch);
	l->watch = NULL;
	link_tls_close(l->tls);
	l->tls = NULL;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	hth_timer_stop(l->more);
	hth_buf_finish(&l->out); /* whatever waited is lost: letters are dated, and whoever needs one asks again */
	l->out_at = 0;
	l->broken = l->pinging = false;
	hth_wire_reset(&l->wire);
	link_resolver_forget(l->resolver);
}

/* Every hub is tried once without a pause between, then they rest together, longer each time. */
static uint64_t pause_ms(hth_link *l)
{
	l->attempts++;
	if (l->n_hubs > 1 && l->attempts % l->n_hubs != 0)
		return 1;
	unsigned round = l->attempts / (unsigned)HTH_MAX(l->n_hubs, 1u);
	uint64_t pause = (uint64_t)PAUSE_FIRST_MS << HTH_MIN(round > 0 ? round - 1 : 0, 10u);
	pause = HTH_MIN(pause, (uint64_t)PAUSE_MAX_MS);
	return pause / 2 + randombytes_uniform((uint32_t)pause);
}

static void lose(hth_link *l, const hth_error *why)
{
	hth_error reason = *why;
	bool was_up = l->state == LINK_UP;
	if (was_up && hth_clock_ms() - l->up_ms >= STEADY_MS)
		l->attempts = 0;
	hang_up(l);
	l->state = LINK_PAUSE;
	l->counts.failures++;
	l->next_hub = l->n_hubs > 0 ? (l->next_hub + 1) % l->n_hubs : 0;
	if (l->n_hubs > 0)
		hth_timer_start(l->timer, pause_ms(l), 0);
	else
		hth_timer_stop(l->timer);
	l->events.down(l->events.ctx, &l->hub, was_up, &reason);
}

/* From inside a caller's call: told later. */
static void break_later(hth_link *l, const hth_error *why)
{
	if (l->broken)
		return;
	l->broken = true;
	l->why = *why;
	hth_timer_start(l->timer, 0, 0);
}

/* ---- bytes ---- */

static void watch_for(hth_link *l, unsigned events)
{
	if (l->watching != events)
		hth_watch_set(l->watch, events);
	l->watching = events;
}

/* Writes what is queued. False: the connection is gone, why in err. */
static bool flush(hth_link *l, hth_error *err)
{
	while (l->out_at < l->out.len) {
		size_t n = 0;
		link_io io = link_tls_write(l->tls, l->out.data + l->out_at, HTH_MIN(l->out.len - l->out_at, (size_t)READ_SLICE), &n, err);
		if (io == LINK_IO_ENDED)
			return false;
		if (io != LINK_IO_DONE) {
			watch_for(l, HTH_READABLE | HTH_WRITABLE);
			break;
		}
		l->out_at += n;
		l->counts.sent_bytes += n;
	}
	if (l->out_at == l->out.len) {
		hth_buf_clear(&l->out);
		l->out_at = 0;
		watch_for(l, HTH_READABLE);
	} else if (l->out_at > (size_t)1 << 20) {
		hth_buf_consume(&l->out, l->out_at);
		l->out_at = 0;
	}
	return true;
}

/* ---- what the hub says ---- */

/* A hub that chooses what is signed must not get a signature that says something: a nonce is a short word, and what homes sign is neither
 * (identity.h). */
static bool take_nonce(hth_link *l, const char *nonce)
{
	size_t n = strlen(nonce);
	if (n < 8 || n > NONCE_MAX || strspn(nonce, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != n)
		return false;
	memcpy(l->nonce, nonce, n + 1);
	return true;
}

static bool on_info(void *ctx, const char *text, size_t len)
{
	hth_link *l = ctx;
	HTH_AUTO_JSON json_t *json = NULL;
	const char *nonce = NULL;
	if (l->state != LINK_INFO)
		return true; /* news of the cluster; the hubs that count are those that homes announce */
	hth_error err;
	bool tls = false;
	if (hth_json_parse(&json, text, len, &err) != HTH_OK || !json_is_object(json) ||
	    hth_json_get_string(json, "nonce", &nonce, &err) != HTH_OK || hth_json_get_bool(json, "tls_required", &tls, &err) != HTH_OK) {
		hth_fail(&l->why, HTH_BAD_FORMAT, "what answers there is no hub");
		return false;
	}
	if (!tls || nonce == NULL || !take_nonce(l, nonce)) {
		hth_fail(&l->why, HTH_BAD_FORMAT,
		         "what answers there is a nats-server that does not ask for TLS and a signature: not a neighbourhood's hub");
		return false;
	}
	l->wire.in_info = false;
	return true;
}

static bool on_message(void *ctx, const char *subject, const void *bytes, size_t len)
{
	hth_link *l = ctx;
	if (l->state == LINK_UP)
		l->events.message(l->events.ctx, subject, bytes, len);
	return l->state == LINK_UP && !l->broken;
}

static bool on_ping(void *ctx)
{
	hth_link *l = ctx;
	return hth_buf_append_str(&l->out, "PONG\r\n");
}

static bool on_pong(void *ctx)
{
	hth_link *l = ctx;
	if (l->state != LINK_LOGIN)
		return true;
	l->state = LINK_UP;
	l->up_ms = hth_clock_ms();
	l->counts.connects++;
	look_later(l);
	l->events.up(l->events.ctx, &l->hub);
	return true;
}

static bool on_error(void *ctx, const char *text)
{
	hth_link *l = ctx;
	if (strncasecmp(text, "permissions violation", 21) == 0)
		return true; /* a letter to somebody who is not there any more; the connection goes on */
	bool denied = strncasecmp(text, "authorization", 13) == 0 || strncasecmp(text, "authentication", 14) == 0;
	hth_fail(&l->why, denied ? HTH_DENIED : HTH_IO, denied ? "the hub does not know this home (%s)" : "the hub says: %s", text);
	return false;
}

static void receive(hth_link *l)
{
	char chunk[READ_CHUNK];
	hth_error err;
	size_t taken = 0;
	uint64_t begin_ns = hth_clock_ns();
	for (;;) {
		size_t n = 0;
		link_io io = link_tls_read(l->tls, chunk, sizeof chunk, &n, &err);
		if (io == LINK_IO_READ || io == LINK_IO_WRITE)
			break;
		if (io == LINK_IO_ENDED) {
			lose(l, &err);
			return;
		}
		l->heard_ms = hth_clock_ms();
		l->pinging = false;
		l->counts.received_bytes += n;
		l->why = HTH_ERROR_INIT;
		hth_status status = hth_wire_feed(&l->wire, chunk, n, &err);
		if (status != HTH_OK) {
			lose(l, status == HTH_CANCELLED && l->why.status != HTH_OK ? &l->why : &err);
			return;
		}
		taken += n;
		if (taken >= READ_SLICE || hth_clock_ns() - begin_ns > READ_NS) {
			/* Others have their turn; what TLS holds already does not wake the socket. Not 0: libuv 1.44 runs a timer that is
			 * started for now by a timer within the same round, and nobody else had a turn. */
			hth_timer_start(l->more, 1, 0);
			break;
		}
	}
	if (!flush(l, &err))
		lose(l, &err);
}

static void on_more(void *ctx)
{
	hth_link *l = ctx;
	if (l->state == LINK_UP || l->state == LINK_LOGIN)
		receive(l);
}

/* ---- the steps of an attempt ---- */

static void log_in(hth_link *l)
{
	unsigned char signature[64];
	char key[HTH_NKEY_TEXT], text[sodium_base64_ENCODED_LEN(64, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
	hth_error err;
	hth_nkey_text(l->login.key, key);
	if (!l->login.sign(l->login.ctx, l->nonce, strlen(l->nonce), signature)) {
		hth_fail(&err, HTH_DENIED, "this home does not sign what the hub wants signed");
		lose(l, &err);
		return;
	}
	sodium_bin2base64(text, sizeof text, signature, sizeof signature, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	hth_buf_appendf(&l->out,
	                "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":true,\"nkey\":\"%s\",\"sig\":\"%s\","
	                "\"name\":\"hearth\",\"lang\":\"c\",\"version\":\"" HEARTH_VERSION
	                "\",\"protocol\":1,\"echo\":false,\"headers\":false,\"no_responders\":false}\r\n",
	                key, text);
	for (unsigned i = 0; i < l->n_subjects; i++)
		hth_wire_subscribe(&l->out, l->subjects[i], i + 1);
	hth_buf_append_str(&l->out, "PING\r\n");
	l->state = LINK_LOGIN;
	if (hth_buf_check(&l->out, "the login", &err) != HTH_OK || !flush(l, &err))
		lose(l, &err);
}

static void shake_hands(hth_link *l)
{
	hth_error err;
	switch (link_tls_handshake(l->tls, &err)) {
	case LINK_IO_DONE: log_in(l); break;
	case LINK_IO_READ: watch_for(l, HTH_READABLE); break;
	case LINK_IO_WRITE: watch_for(l, HTH_WRITABLE); break;
	case LINK_IO_ENDED: lose(l, &err); break;
	}
}

/* The one line that comes in the clear. It is taken to its end and not a byte further: what follows is TLS's. */
static void read_info(hth_link *l)
{
	char chunk[1024];
	hth_error err;
	ssize_t n = recv(l->fd, chunk, sizeof chunk, MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	const char *end = n > 0 ? memchr(chunk, '\n', (size_t)n) : NULL;
	if (n > 0)
		n = recv(l->fd, chunk, end != NULL ? (size_t)(end - chunk) + 1 : (size_t)n, 0);
	if (n <= 0) {
		int e = errno;
		if (n < 0)
			hth_fail_errno(&err, HTH_IO, e, "reading from the hub failed");
		else
			hth_fail(&err, HTH_GONE, "the connection was closed before the hub said anything");
		lose(l, &err);
		return;
	}
	l->why = HTH_ERROR_INIT;
	hth_status status = hth_wire_feed(&l->wire, chunk, (size_t)n, &err);
	if (status != HTH_OK) {
		lose(l, status == HTH_CANCELLED ? &l->why : &err);
		return;
	}
	if (l->wire.in_info)
		return;
	if (link_tls_open(&l->tls, l->fd, l->hub.fingerprint, &err) != HTH_OK) {
		lose(l, &err);
		return;
	}
	l->state = LINK_TLS;
	shake_hands(l);
}

static void dial(hth_link *l)
{
	hth_error err = HTH_ERROR_INIT;
	while (l->address < l->n_addresses) {
		const link_address *a = &l->addresses[l->address];
		l->fd = socket(a->name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int on = 1, patience = 20000;
		if (l->fd >= 0) {
			setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
			setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
			setsockopt(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
			if ((connect(l->fd, (const struct sockaddr *)&a->name, a->len) == 0 || errno == EINPROGRESS) &&
			    hth_watch_open(&l->watch, l->loop, l->fd, HTH_WRITABLE, on_watch, l, &err) == HTH_OK) {
				l->watching = HTH_WRITABLE;
				l->state = LINK_CONNECT;
				hth_timer_start(l->timer, l->address + 1 < l->n_addresses ? CONNECT_MS : ATTEMPT_MS, 0);
				return;
			}
		}
		hth_fail_errno(&err, HTH_IO, errno, "cannot connect");
		if (l->fd >= 0)
			close(l->fd);
		l->fd = -1;
		l->address++;
	}
	lose(l, &err);
}

static void next_address(hth_link *l, const hth_error *why)
{
	if (l->address + 1 >= l->n_addresses) {
		lose(l, why);
		return;
	}
	hth_watch_close(l->watch);
	l->watch = NULL;
	close(l->fd);
	l->fd = -1;
	l->address++;
	dial(l);
}

static void on_connected(hth_link *l)
{
	int e = 0;
	socklen_t len = sizeof e;
	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0)
		e = errno;
	if (e != 0) {
		hth_error err;
		hth_fail_errno(&err, HTH_IO, e, "cannot connect");
		next_address(l, &err);
		return;
	}
	l->state = LINK_INFO;
	/* A hub that is frozen still takes connections. */
	hth_timer_start(l->timer, l->n_hubs > 1 ? CONNECT_MS : ATTEMPT_MS, 0);
	watch_for(l, HTH_READABLE);
}

static void on_watch(void *ctx, unsigned events)
{
	hth_link *l = ctx;
	hth_error err;
	switch (l->state) {
	case LINK_CONNECT: on_connected(l); break;
	case LINK_INFO: read_info(l); break;
	case LINK_TLS: shake_hands(l); break;
	case LINK_LOGIN:
	case LINK_UP:
		if ((events & HTH_WRITABLE) != 0 && !flush(l, &err))
			lose(l, &err);
		else if ((events & (HTH_READABLE | HTH_HANGUP)) != 0)
			receive(l);
		break;
	default: break;
	}
}

static void on_resolved(void *ctx, const link_address *list, size_t n, const hth_error *why)
{
	hth_link *l = ctx;
	if (l->state != LINK_RESOLVE)
		return;
	if (n == 0) {
		lose(l, why);
		return;
	}
	memcpy(l->addresses, list, n * sizeof *list);
	l->n_addresses = n;
	l->address = 0;
	dial(l);
}

static void attempt(hth_link *l)
{
	char host[HTH_LINK_ADDRESS_MAX], port[6];
	hth_error err;
	if (l->n_hubs == 0)
		return;
	l->next_hub %= l->n_hubs;
	l->hub = l->hubs[l->next_hub];
	l->state = LINK_RESOLVE;
	hth_timer_start(l->timer, ATTEMPT_MS, 0);
	if (!hth_link_split(l->hub.address, host, port)) {
		hth_fail(&err, HTH_INVALID, "'%s' is no address of a hub", l->hub.address);
		lose(l, &err);
		return;
	}
	link_resolver_ask(l->resolver, host, port);
}

/* ---- is it still there? ---- */

static void look_later(hth_link *l)
{
	uint64_t now = hth_clock_ms();
	l->look_ms = l->pinging ? l->pinged_ms + (l->urgent ? URGENT_ANSWER_MS : PING_MS)
	                        : l->heard_ms + (l->urgent ? URGENT_QUIET_MS : PING_MS);
	l->look_ms = HTH_MAX(l->look_ms, now + 1); /* not 0: see on_more's timer */
	hth_timer_start(l->timer, l->look_ms - now, 0);
}

static size_t queued(const hth_link *l, unsigned long which)
{
	int n = 0;
	return ioctl(l->fd, which, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* False: it has not answered, or cannot be asked; why in err. */
static bool look(hth_link *l, hth_error *err)
{
	uint64_t now = hth_clock_ms();
	size_t unacked = queued(l, SIOCOUTQ), waiting = l->out.len - l->out_at + unacked;
	uint64_t taken = l->counts.sent_bytes - HTH_MIN((uint64_t)unacked, l->counts.sent_bytes);
	if (!l->pinging) {
		if (now < l->heard_ms + (l->urgent ? URGENT_QUIET_MS : PING_MS))
			return true;
		l->pinging = true;
		l->pinged_ms = now;
		l->taken = taken;
		if (hth_buf_append_str(&l->out, "PING\r\n") && flush(l, err))
			return true;
		hth_fail(err, HTH_IO, "writing to the hub failed");
		return false;
	}
	if (now < l->pinged_ms + (l->urgent ? URGENT_ANSWER_MS : PING_MS))
		return true;
	/* This process stood still itself, something is there to be read, or the ping stands in a long queue that moves: no answer can be
	 * expected yet. */
	if (now > l->look_ms + STALL_MS || queued(l, FIONREAD) > 0 || (taken > l->taken && waiting > BACKLOG)) {
		l->pinged_ms = now;
		l->taken = taken;
		return true;
	}
	hth_fail(err, HTH_TIMEOUT, "the hub has been silent for %.1f s", (double)(now - l->heard_ms) / 1000);
	return false;
}

void hth_link_urgent(hth_link *l, bool urgent)
{
	if (l->urgent == urgent)
		return;
	l->urgent = urgent;
	if (l->state == LINK_UP && !l->broken)
		look_later(l);
}

static void on_timer(void *ctx)
{
	hth_link *l = ctx;
	hth_error err;
	if (l->broken) {
		err = l->why;
		lose(l, &err);
		return;
	}
	switch (l->state) {
	case LINK_PAUSE: attempt(l); return;
	case LINK_UP:
		if (look(l, &err))
			look_later(l);
		else
			lose(l, &err);
		return;
	case LINK_CONNECT:
		hth_fail(&err, HTH_TIMEOUT, "no answer from %s", l->hub.address);
		next_address(l, &err);
		return;
	default:
		hth_fail(&err, HTH_TIMEOUT, "%s did not answer in time", l->hub.address);
		lose(l, &err);
	}
}

/* ---- for the owner ---- */

hth_status hth_link_open(hth_link **ret_link, hth_loop *loop, const hth_link_login *login, const hth_link_events *events, hth_error *err)
{
	hth_link *l = calloc(1, sizeof *l);
	if (l == NULL || sodium_init() < 0) {
		free(l);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a connection");
	}
	l->loop = loop;
	l->login = *login;
	l->events = *events;
	l->fd = -1;
	l->out = HTH_BUF_INIT(HTH_LINK_QUEUE_MAX + HTH_WIRE_PAYLOAD_MAX + 4096);
	hth_wire_init(&l->wire, &(hth_wire_events){l, on_info, on_message, on_ping, on_pong, on_error});
	hth_status status = link_resolver_open(&l->resolver, loop, on_resolved, l, err);
	if (status == HTH_OK)
		status = hth_timer_open(&l->timer, loop, on_timer, l, err);
	if (status == HTH_OK)
		status = hth_timer_open(&l->more, loop, on_more, l, err);
	if (status != HTH_OK) {
		hth_link_close(l);
		return status;
	}
	*ret_link = l;
	return HTH_OK;
}

void hth_link_close(hth_link *l)
{
	if (l == NULL)
		return;
	if (l->resolver != NULL && l->more != NULL)
		hang_up(l);
	link_resolver_close(l->resolver);
	hth_timer_close(l->timer);
	hth_timer_close(l->more);
	hth_wire_finish(&l->wire);
	hth_buf_finish(&l->out);
	free(l);
}

static bool is_at(const hth_link *l, const hth_link_hub *hub)
{
	return strcmp(hub->address, l->hub.address) == 0 && memcmp(hub->fingerprint, l->hub.fingerprint, HTH_FINGERPRINT_BYTES) == 0;
}

void hth_link_set_hubs(hth_link *l, const hth_link_hub *hubs, size_t n)
{
	l->n_hubs = HTH_MIN(n, (size_t)HTH_LINK_HUBS_MAX);
	if (n > 0)
		memcpy(l->hubs, hubs, l->n_hubs * sizeof *hubs);
	bool current_stays = false;
	for (size_t i = 0; i < l->n_hubs; i++) {
		bool same = is_at(l, &l->hubs[i]);
		if (same)
			l->next_hub = i;
		current_stays |= same;
	}
	if (l->state == LINK_PAUSE && l->n_hubs > 0) {
		hth_timer_start(l->timer, 0, 0);
	} else if (l->state != LINK_PAUSE && !current_stays) {
		hth_error err;
		hth_fail(&err, HTH_GONE, "this hub is not the neighbourhood's any more");
		l->next_hub = 0;
		l->attempts = 0;
		break_later(l, &err);
	}
}

void hth_link_retry(hth_link *l)
{
	if (l->n_hubs == 0)
		return;
	if (l->state == LINK_PAUSE) {
		l->next_hub = 0;
		hth_timer_start(l->timer, 0, 0);
	} else if (!is_at(l, &l->hubs[0])) {
		hth_error err;
		hth_fail(&err, HTH_GONE, "%s is there now, and comes first", l->hubs[0].address);
		l->next_hub = l->n_hubs - 1; /* what is lost is followed by the next one */
		l->attempts = 0;
		break_later(l, &err);
	}
}

hth_status hth_link_subscribe(hth_link *l, const char *subject, hth_error *err)
{
	if (!hth_wire_is_subject(subject) || l->n_subjects == HTH_LINK_SUBJECTS_MAX)
		return hth_fail(err, HTH_INVALID, "'%.80s' cannot be listened to", subject);
	strcpy(l->subjects[l->n_subjects++], subject);
	return HTH_OK;
}

hth_status hth_link_send(hth_link *l, const char *subject, const void *bytes, size_t len, hth_error *err)
{
	if (!hth_wire_is_subject(subject))
		return hth_fail(err, HTH_INVALID, "'%.80s' cannot be sent to", subject);
	if (len > HTH_WIRE_PAYLOAD_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a message of %zu bytes is over the limit of %d", len, HTH_WIRE_PAYLOAD_MAX);
	if (l->state != LINK_UP || l->broken)
		return hth_fail(err, HTH_BUSY, "there is no connection to the neighbourhood's hub now");
	if (l->out.len - l->out_at > HTH_LINK_QUEUE_MAX)
		return hth_fail(err, HTH_BUSY, "too much waits to be sent already");
	if (l->out_at > 0 && l->out.len + len + 512 > l->out.max) {
		hth_buf_consume(&l->out, l->out_at);
		l->out_at = 0;
	}
	if (!hth_wire_publish(&l->out, subject, bytes, len))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a message");
	hth_error why;
	if (!flush(l, &why))
		break_later(l, &why);
	return HTH_OK;
}

bool hth_link_is_up(const hth_link *l) { return l->state == LINK_UP && !l->broken; }
size_t hth_link_waiting(const hth_link *l) { return l->out.len - l->out_at; }
const hth_link_hub *hth_link_current(const hth_link *l) { return l->state == LINK_UP ? &l->hub : NULL; }
hth_link_counts hth_link_count(const hth_link *l) { return l->counts; }

bool hth_link_split(const char *address, char ret_host[HTH_LINK_ADDRESS_MAX], char ret_port[6])
{
	const char *colon = strrchr(address, ':');
	size_t len = strlen(address);
	if (colon == NULL || colon == address || len >= HTH_LINK_ADDRESS_MAX)
		return false;
	size_t digits = strspn(colon + 1, "0123456789"), host = (size_t)(colon - address);
	long port = strtol(colon + 1, NULL, 10);
	if (digits < 1 || digits > 5 || colon[1 + digits] != '\0' || port < 1 || port > 65535)
		return false;
	bool six = address[0] == '[';
	if (six && (host < 3 || address[host - 1] != ']'))
		return false;
	if (!six && memchr(address, ':', host) != NULL)
		return false;
	memcpy(ret_host, address + six, host - 2 * six);
	ret_host[host - 2 * six] = '\0';
	memcpy(ret_port, colon + 1, digits + 1);
	return true;
}
