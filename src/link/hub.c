/* hub.c - nats-server's configuration and its life; see hub.h. */
#include "link/hub-internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "link/nkey.h"
#include "sandbox/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PAUSE_FIRST_MS = 500, PAUSE_MAX_MS = 30000, STEADY_MS = 30000, LINE_MAX_BYTES = 1024, CONNECTIONS_SPARE = 256 };

struct hth_hub {
	hth_loop *loop;
	hth_hub_options options;
	char folder[4000], name[64], program[4096];
	char address[HTH_LINK_ADDRESS_MAX], host[HTH_LINK_ADDRESS_MAX], port[6]; /* as others reach it */
	char bind[HTH_LINK_ADDRESS_MAX], near[HTH_LINK_ADDRESS_MAX + 10];
	hub_certificate certificate;
	hth_hub_peer peer;
	bool has_peer, has_users;
	size_t n_users;
	hth_child *child;
	hth_watch *watch;
	hth_timer *timer;
	int pipe;
	char line[LINE_MAX_BYTES];
	size_t line_len;
	bool ready, reload, failing; /* reload: its users changed before it was ready; failing: a start was in vain */
	bool renewed;                /* it was told to end, to be started with another configuration: its ports are free once it has */
	uint64_t started_ms;
	unsigned failures;
	char trouble[300];
};

/* ---- configuration ---- */

/* What goes between quotes in nats-server's configuration; nothing of ours needs an escape, and what does is refused. */
static bool is_plain(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\' || *text == '$' || *text == 0x7f)
			return false;
	return true;
}

static void write_rules(hth_buf *out, const char *what, const char (*subjects)[200], size_t n)
{
	hth_buf_appendf(out, "%s: {allow: [", what);
	for (size_t i = 0; i < n; i++)
		hth_buf_appendf(out, "%s\"%s\"", i > 0 ? ", " : "", subjects[i]);
	hth_buf_append_str(out, "]}");
}

static hth_status write_users(hth_hub *hub, const hth_hub_user *users, size_t n, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(4 << 20);
	hth_buf_append_str(&out, "# Written by hearth, and written again whenever the neighbourhood changes.\nauthorization {\n  timeout: "
	                         "5\n  users: [\n");
	for (size_t i = 0; i < n; i++) {
		const hth_hub_user *u = &users[i];
		char key[HTH_NKEY_TEXT];
		if (u->n_publish == 0 || u->n_subscribe == 0 || u->n_publish > HTH_HUB_RULES_MAX || u->n_subscribe > HTH_HUB_RULES_MAX)
			return hth_fail(err, HTH_INTERNAL, "a hub's user without a list would be allowed everything");
		hth_nkey_text(u->key, key);
		hth_buf_appendf(&out, "    {nkey: %s, permissions: {", key);
		write_rules(&out, "publish", u->publish, u->n_publish);
		hth_buf_append_str(&out, ", ");
		write_rules(&out, "subscribe", u->subscribe, u->n_subscribe);
		hth_buf_append_str(&out, "}}\n");
	}
	hth_buf_append_str(&out, "  ]\n}\n");
	hth_buf_appendf(&out, "max_connections: %zu\n", n * 4 + CONNECTIONS_SPARE);
	HTH_TRY(hth_buf_check(&out, "the hub's list of users", err));
	return hub_write_file(hub->folder, "users.conf", out.data, out.len, err);
}

static hth_status write_cluster(hth_hub *hub, hth_buf *out, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf pem = HTH_BUF_INIT(64 << 10);
	char host[HTH_LINK_ADDRESS_MAX], port[6];
	if (!hub_certificate_pem(hub->peer.certificate, hub->peer.certificate_len, &pem))
		return hth_fail(err, HTH_BAD_FORMAT, "the other hub's certificate is none");
	if (!hth_link_split(hub->peer.route, host, port) || !is_plain(hub->peer.route) ||
	    strspn(hub->peer.password, "0123456789abcdef") != strlen(hub->peer.password))
		return hth_fail(err, HTH_BAD_FORMAT, "the other hub's address is none");
	HTH_TRY(hub_write_file(hub->folder, "peers.crt", pem.data, pem.len, err));
	long own = strtol(hub->port, NULL, 10) + 1;
	hth_buf_appendf(out,
	                "cluster {\n  name: \"hearth\"\n  listen: \"%s%s%s:%ld\"\n  no_advertise: true\n"
	                "  tls {cert_file: \"%s/hub.crt\", key_file: \"%s/hub.key\", ca_file: \"%s/peers.crt\", verify: true, timeout: 5}\n"
	                "  authorization {user: \"hub\", password: \"%s\", timeout: 5}\n  routes: [\"nats-route://hub:%s@%s\"]\n}\n",
	                strchr(hub->bind, ':') != NULL ? "[" : "", hub->bind, strchr(hub->bind, ':') != NULL ? "]" : "", own, hub->folder,
	                hub->folder,
	                hub->folder, hub->peer.password, hub->peer.password, hub->peer.route);
	return HTH_OK;
}

static hth_status write_configuration(hth_hub *hub, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(64 << 10);
	bool six = strchr(hub->bind, ':') != NULL;
	hth_buf_appendf(&out,
	                "# Written by hearth at each start of the hub.\n"
	                "server_name: \"%s\"\nlisten: \"%s%s%s:%s\"\ntls {cert_file: \"%s/hub.crt\", key_file: \"%s/hub.key\", timeout: "
	                "5}\nno_system_account: true\nmax_payload: %d\nmax_control_line: 1024\nmax_pending: %d\nmax_subscriptions: "
	                "8\nping_interval: \"15s\"\nping_max: 2\nwrite_deadline: \"5s\"\nlogtime: false\ninclude \"users.conf\"\n",
	                hub->name, six ? "[" : "", hub->bind, six ? "]" : "", hub->port, hub->folder, hub->folder, 512 << 10, 16 << 20);
	if (hub->has_peer)
		HTH_TRY(write_cluster(hub, &out, err));
	HTH_TRY(hth_buf_check(&out, "the hub's configuration", err));
	return hub_write_file(hub->folder, "nats.conf", out.data, out.len, err);
}

/* ---- where it listens ---- */

/* 0, or the errno of binding there. */
static int try_bind(const char *host, const char *port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)strtoul(port, NULL, 10))};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = six.sin6_port};
	bool is_six = strchr(host, ':') != NULL;
	if (inet_pton(is_six ? AF_INET6 : AF_INET, host, is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr) != 1)
		return EINVAL;
	HTH_AUTO_CLOSE int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	if (fd < 0)
		return errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (is_six)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	return bind(fd, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four, is_six ? sizeof six : sizeof four) == 0 ? 0 : errno;
}

static hth_status choose_bind(hth_hub *hub, hth_error *err)
{
	bool six = strchr(hub->host, ':') != NULL;
	strcpy(hub->bind, strcasecmp(hub->host, "localhost") == 0 ? "127.0.0.1" : hub->host);
	int e = try_bind(hub->bind, hub->port);
	if (e == EINVAL || e == EADDRNOTAVAIL) { /* a name, or the router's address */
		strcpy(hub->bind, six ? "::" : "0.0.0.0");
		e = try_bind(hub->bind, hub->port);
	}
	bool any = strcmp(hub->bind, "::") == 0 || strcmp(hub->bind, "0.0.0.0") == 0;
	const char *near = any ? six ? "::1" : "127.0.0.1" : hub->bind;
	snprintf(hub->near, sizeof hub->near, strchr(near, ':') != NULL ? "[%s]:%s" : "%s:%s", near, hub->port);
	if (e == EADDRINUSE)
		return hth_fail(err, HTH_CONFLICT, "port %s is in use by another program: give the hub another one (--listen HOST:PORT)",
		                hub->port);
	if (e != 0)
		return hth_fail_errno(err, HTH_IO, e, "cannot listen at %s", hub->address);
	return HTH_OK;
}

/* ---- the process ---- */

hth_status hth_hub_find_server(char *ret_path, size_t path_size, hth_error *err)
{
	const char *path = getenv("PATH");
	HTH_CLEANUP(hth_buf_finish) hth_buf folders = HTH_BUF_INIT(64 << 10);
	hth_buf_appendf(&folders, "%s:/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin", path != NULL ? path : "");
	if (hth_buf_check(&folders, "PATH", err) != HTH_OK)
		return err->status;
	char *rest = folders.data, *folder;
	while ((folder = strsep(&rest, ":")) != NULL) {
		if (*folder != '/')
			continue;
		if ((size_t)snprintf(ret_path, path_size, "%s/nats-server", folder) < path_size && access(ret_path, X_OK) == 0)
			return HTH_OK;
	}
	return hth_fail(err, HTH_NOT_FOUND, "nats-server is not installed here, and the hub is one: apt install nats-server");
}

hth_status hth_hub_version(char ret_version[32], hth_error *err)
{
	char path[4096], text[128] = "";
	int ends[2];
	HTH_TRY(hth_hub_find_server(path, sizeof path, err));
	if (pipe2(ends, O_CLOEXEC) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot ask nats-server for its version");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], 1);
		execl(path, path, "--version", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	size_t n = 0;
	ssize_t got;
	while (n + 1 < sizeof text && (got = read(ends[0], text + n, sizeof text - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(ends[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	const char *v = strstr(text, ": v");
	size_t len = v != NULL ? strspn(v + 3, "0123456789.") : 0;
	if (len == 0 || len > 31)
		return hth_fail(err, HTH_BAD_FORMAT, "%s does not tell its version", path);
	memcpy(ret_version, v + 3, len);
	ret_version[len] = '\0';
	return HTH_OK;
}

int hth_hub_main(int argc, char **argv)
{
	char path[4096], home[4200];
	hth_error err = HTH_ERROR_INIT;
	if (argc != 4)
		return 2;
	/* The signal is for when the parent's thread ends; if it ended before this line, nobody would be told. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != (pid_t)strtol(argv[3], NULL, 10))
		return 1;
	if (hth_hub_find_server(path, sizeof path, &err) != HTH_OK) {
		fprintf(stderr, "[FTL] %s\n", err.message);
		return 1;
	}
	snprintf(home, sizeof home, "HOME=%s", argv[2]);
	*strrchr(home, '/') = '\0';
	/* It faces the world and needs none of this home's files but its own. */
	char folder[4096];
	snprintf(folder, sizeof folder, "%s", path);
	*strrchr(folder, '/') = '\0';
	const char *const programs[] = {"/usr", "/lib", "/lib64", folder},
	    *const reads[] = {home + strlen("HOME="), "/etc", "/proc/self", "/sys/fs/cgroup"};
	if (hth_sandbox_confine_files(programs, HTH_COUNT(programs), reads, HTH_COUNT(reads), &err) != HTH_OK) {
		fprintf(stderr, "[FTL] %s\n", err.message);
		return 1;
	}
	char *const args[] = {path, (char *)(uintptr_t)"-c", argv[2], NULL},
	    *const env[] = {home, (char *)(uintptr_t)"GOMEMLIMIT=512MiB", NULL};
	execve(path, args, env); /* nothing of this process's environment: it may hold keys */
	return 1;
}

static void say(hth_hub *hub, bool bad, const char *line)
{
	if (hub->options.says != NULL)
		hub->options.says(hub->options.ctx, bad, line);
}

/* A line of nats-server's: "[PID] [LVL] text", or "nats-server: text" when it does not like its configuration. */
static void take_line(hth_hub *hub, char *line)
{
	for (char *p = line; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	bool bad = strstr(line, "[ERR]") != NULL || strstr(line, "[WRN]") != NULL || strstr(line, "[FTL]") != NULL ||
	    strncmp(line, "nats-server:", 12) == 0;
	if (strstr(line, "Server is ready") != NULL || strstr(line, "Reloaded server configuration") != NULL) {
		bool first = !hub->ready;
		hub->ready = true;
		hub->failing = false;
		hub->trouble[0] = '\0';
		if (first && hub->reload)
			hth_child_signal(hub->child, SIGHUP);
		else if (hub->options.ready != NULL)
			hub->options.ready(hub->options.ctx);
		if (first)
			hub->reload = false;
	}
	if (strstr(line, "password") != NULL || strstr(line, "nats-route://") != NULL) /* the other hub's */
		return;
	char *text = strstr(line, "] ");
	if (text != NULL && text[2] == '[' && strlen(text) > 7)
		text += 7; /* the level, too: `bad` says it */
	else
		text = line;
	text += strspn(text, " ");
	if (bad && !hub->ready)
		snprintf(hub->trouble, sizeof hub->trouble, "nats-server: %.250s", text);
	say(hub, bad, text);
}

static void on_output(void *ctx, unsigned events)
{
	hth_hub *hub = ctx;
	(void)events;
	char chunk[4096];
	ssize_t n = read(hub->pipe, chunk, sizeof chunk);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hth_watch_set(hub->watch, 0);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (chunk[i] != '\n') {
			if (hub->line_len + 1 < sizeof hub->line)
				hub->line[hub->line_len++] = chunk[i];
			continue;
		}
		hub->line[hub->line_len] = '\0';
		hub->line_len = 0;
		take_line(hub, hub->line);
	}
}

static void let_go(hth_hub *hub)
{
	hth_watch_close(hub->watch);
	hub->watch = NULL;
	if (hub->pipe >= 0)
		close(hub->pipe);
	hub->pipe = -1;
	hth_child_close(hub->child);
	hub->child = NULL;
	hub->ready = hub->reload = false;
	hub->line_len = 0;
}

static void start_later(hth_hub *hub)
{
	uint64_t pause = (uint64_t)PAUSE_FIRST_MS << HTH_MIN(hub->failures, 10u);
	hub->failures++;
	hub->failing = true;
	hth_timer_start(hub->timer, HTH_MIN(pause, (uint64_t)PAUSE_MAX_MS), 0);
}

static void on_ended(void *ctx, int exit_status, int term_signal)
{
	hth_hub *hub = ctx;
	char line[400];
	if (hub->renewed) {
		hub->renewed = false;
		let_go(hub);
		hth_timer_start(hub->timer, 1, 0);
		return;
	}
	while (hub->watch != NULL && hub->pipe >= 0) { /* its last words */
		char byte;
		ssize_t n = read(hub->pipe, &byte, 1);
		if (n != 1)
			break;
		if (byte == '\n') {
			hub->line[hub->line_len] = '\0';
			hub->line_len = 0;
			take_line(hub, hub->line);
		} else if (hub->line_len + 1 < sizeof hub->line) {
			hub->line[hub->line_len++] = byte;
		}
	}
	if (hth_clock_ms() - hub->started_ms >= STEADY_MS)
		hub->failures = 0;
	if (term_signal != 0)
		snprintf(line, sizeof line, "the hub's nats-server was ended by signal %d; it is started again", term_signal);
	else
		snprintf(line, sizeof line, "the hub's nats-server ended with code %d%s%s; it is started again", exit_status,
		         hub->trouble[0] != '\0' ? ": " : "", hub->trouble);
	let_go(hub);
	say(hub, true, line);
	if (hub->trouble[0] == '\0')
		snprintf(hub->trouble, sizeof hub->trouble, "nats-server has ended");
	start_later(hub);
}

static hth_status start(hth_hub *hub, hth_error *err)
{
	char file[4096], parent[16];
	int ends[2];
	HTH_TRY(choose_bind(hub, err));
	HTH_TRY(write_configuration(hub, err));
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot start the hub");
	fcntl(ends[1], F_SETFL, 0);
	snprintf(file, sizeof file, "%s/nats.conf", hub->folder);
	snprintf(parent, sizeof parent, "%ld", (long)getpid());
	const char *const argv[] = {hub->program, "__hub", file, parent, NULL};
	const int fds[] = {-1, ends[1], ends[1]};
	hth_status status = hth_child_start(&hub->child, hub->loop, argv, fds, HTH_COUNT(fds), on_ended, hub, err);
	close(ends[1]);
	hub->pipe = ends[0];
	if (status == HTH_OK)
		status = hth_watch_open(&hub->watch, hub->loop, hub->pipe, HTH_READABLE, on_output, hub, err);
	if (status != HTH_OK)
		let_go(hub);
	hub->started_ms = hth_clock_ms();
	return status;
}

static void on_start_timer(void *ctx)
{
	hth_hub *hub = ctx;
	hth_error err;
	if (hub->child != NULL || start(hub, &err) == HTH_OK)
		return;
	if (strcmp(hub->trouble, err.message) != 0)
		say(hub, true, err.message);
	snprintf(hub->trouble, sizeof hub->trouble, "%.299s", err.message);
	start_later(hub);
}

/* ---- for the owner ---- */

hth_status hth_hub_open(hth_hub **ret_hub, hth_loop *loop, const hth_hub_options *options, hth_error *err)
{
	hth_hub *hub = calloc(1, sizeof *hub);
	if (hub == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a hub");
	hub->loop = loop;
	hub->options = *options;
	hub->pipe = -1;
	hth_status status = HTH_OK;
	char path[4096];
	if (!hth_link_split(options->address, hub->host, hub->port) || !is_plain(options->address))
		status = hth_fail(err, HTH_INVALID, "'%.100s' is no address of a hub: HOST:PORT, as the neighbours reach it",
		                  options->address);
	else if (strcmp(hub->port, "65535") == 0)
		status = hth_fail(err, HTH_INVALID, "the hub's port must be under 65535: the next one is for a second hub");
	else if (strlen(options->folder) >= sizeof hub->folder || strlen(options->name) >= sizeof hub->name ||
	         !is_plain(options->folder) || !is_plain(options->name))
		status = hth_fail(err, HTH_INVALID, "nats-server's configuration cannot hold the path %.200s", options->folder);
	if (status == HTH_OK) {
		strcpy(hub->folder, options->folder);
		strcpy(hub->name, options->name);
		snprintf(hub->program, sizeof hub->program, "%s", options->program != NULL ? options->program : "/proc/self/exe");
		snprintf(hub->address, sizeof hub->address, "%s", options->address);
		snprintf(hub->near, sizeof hub->near, "%s", options->address);
		status = hth_timer_open(&hub->timer, loop, on_start_timer, hub, err);
	}
	if (status == HTH_OK && !options->external)
		status = hth_hub_find_server(path, sizeof path, err);
	if (status == HTH_OK && options->external && mkdir(hub->folder, 0700) != 0 && errno != EEXIST)
		status = hth_fail_errno(err, HTH_IO, errno, "cannot make %s", hub->folder);
	if (status == HTH_OK && !options->external)
		status = hub_certificate_load(&hub->certificate, hub->folder, hub->host, err);
	if (status == HTH_OK && !options->external)
		status = choose_bind(hub, err);
	if (status != HTH_OK) {
		hth_hub_close(hub);
		return status;
	}
	*ret_hub = hub;
	return HTH_OK;
}

void hth_hub_close(hth_hub *hub)
{
	if (hub == NULL)
		return;
	let_go(hub);
	hth_timer_close(hub->timer);
	explicit_bzero(&hub->peer, sizeof hub->peer);
	free(hub);
}

hth_status hth_hub_set_users(hth_hub *hub, const hth_hub_user *users, size_t n, hth_error *err)
{
	HTH_TRY(write_users(hub, users, n, err));
	hub->has_users = true;
	if (hub->options.external)
		return HTH_OK;
	if (hub->child == NULL && !hub->failing)
		return start(hub, err);
	if (hub->child != NULL && hub->ready)
		hth_child_signal(hub->child, SIGHUP);
	else
		hub->reload = true; /* before it is ready, the signal would end it */
	return HTH_OK;
}

static bool is_same_peer(const hth_hub_peer *a, const hth_hub_peer *b)
{
	return strcmp(a->route, b->route) == 0 && a->certificate_len == b->certificate_len &&
	       memcmp(a->certificate, b->certificate, a->certificate_len) == 0 && strcmp(a->password, b->password) == 0;
}

void hth_hub_set_peer(hth_hub *hub, const hth_hub_peer *peer)
{
	if (peer == NULL ? !hub->has_peer : hub->has_peer && is_same_peer(peer, &hub->peer))
		return;
	hub->has_peer = peer != NULL;
	if (peer != NULL)
		hub->peer = *peer;
	if (hub->child != NULL && !hub->renewed) { /* routes are read at the start alone */
		hub->renewed = true;
		hub->ready = false;
		hth_child_signal(hub->child, SIGKILL);
	}
}

const unsigned char *hth_hub_fingerprint(const hth_hub *hub) { return hub->certificate.fingerprint; }
const unsigned char *hth_hub_certificate(const hth_hub *hub, size_t *ret_len)
{
	*ret_len = hub->certificate.len;
	return hub->certificate.der;
}
const char *hth_hub_near(const hth_hub *hub) { return hub->near; }
bool hth_hub_is_running(const hth_hub *hub) { return hub->ready; }
pid_t hth_hub_pid(const hth_hub *hub) { return hub->child != NULL ? hth_child_pid(hub->child) : 0; }
const char *hth_hub_trouble(const hth_hub *hub) { return hub->trouble; }
