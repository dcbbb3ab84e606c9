/* cmd-doctor.c - `hearth doctor`: looks at everything that Hearth stands on, and says what to do where something is not right.
 *
 * Each check tries the thing itself where that is harmless: a child process locks itself in as a runner does, each model's file
 * is read by such a child. Nothing is changed on this machine. A note costs speed or comfort; a problem keeps something from
 * working, and makes the exit code 1.
 */
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"
#include "engine/kernels/kernels.h"
#include "link/hub.h"
#include "sandbox/sandbox.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef enum finding_state { FINE, NOTE, PROBLEM } finding_state;

typedef struct doctor {
	const hth_invocation *in;
	bool json;
	hth_buf out; /* with --json; else findings are printed as they come */
	unsigned count[3];
} doctor;

enum { TEXT_MAX = 800, MODEL_SECONDS = 20 };

static void report(doctor *d, finding_state state, const char *subject, const char *what, const char *advice)
{
	static const char *const names[] = {"ok", "note", "problem"};
	static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
	d->count[state]++;
	if (d->json) {
		const char *const fields[] = {"subject", subject, "state", names[state], "what", what, "advice", advice};
		hth_buf_append_str(&d->out, d->count[FINE] + d->count[NOTE] + d->count[PROBLEM] > 1 ? ",{" : "{");
		for (size_t i = 0; i < HTH_COUNT(fields); i += 2) {
			hth_buf_appendf(&d->out, "%s\"%s\":", i > 0 ? "," : "", fields[i]);
			hth_json_write_string(fields[i + 1], strlen(fields[i + 1]), &d->out);
		}
		hth_buf_append_str(&d->out, "}");
		return;
	}
	bool colour = hth_cmd_colors(1);
	printf("%s%-8s%s %-11s %s\n", colour ? colours[state] : "", names[state], colour ? "\033[0m" : "", subject, what);
	if (*advice != '\0')
		printf("%21s-> %s\n", "", advice);
	fflush(stdout);
}

static void check_processor(doctor *d)
{
	hth_error err = HTH_ERROR_INIT;
	hth_threads *threads = NULL;
	if (hth_threads_create(&threads, d->in->config.threads, &err) != HTH_OK) {
		report(d, PROBLEM, "processor", err.message, "set a smaller `threads`");
		return;
	}
	char what[TEXT_MAX];
	const char *kernels = hth_kernels_name();
	snprintf(what, sizeof what, "%u thread%s, kernels %s", hth_threads_count(threads), hth_threads_count(threads) == 1 ? "" : "s",
	         kernels);
	hth_threads_destroy(threads);
	if (strcmp(kernels, "c") == 0)
		report(d, NOTE, "processor", what, "without AVX2 or NEON answers are several times slower; if this is a virtual machine, "
		                                   "give it the host's processor type");
	else
		report(d, FINE, "processor", what, "");
}

static uint64_t available_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long long kib = 0;
	while (f != NULL && kib == 0 && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "MemAvailable: %llu", &kib) != 1)
			kib = 0;
	if (f != NULL)
		fclose(f);
	return kib * 1024;
}

static void check_memory(doctor *d)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), free_now = available_memory();
	uint64_t budget = d->in->config.memory != 0 ? d->in->config.memory : all / 100 * 80;
	char a[32], b[32], c[32], what[TEXT_MAX];
	snprintf(what, sizeof what, "%s, of which models may take %s; %s are available now", hth_cmd_memory(all, a),
	         hth_cmd_memory(budget, b), hth_cmd_memory(free_now, c));
	if (budget > all)
		report(d, PROBLEM, "memory", what, "the setting `memory` is more than this machine has");
	else if (free_now != 0 && free_now < budget / 2)
		report(d, NOTE, "memory", what, "other programs hold much of it: models may have to be read from the disk again and again");
	else
		report(d, FINE, "memory", what, "");
}

/* Runs fn in a child process with a pipe to write its answer to; *ret_text is what it wrote. False: it did not end well in time. */
static bool in_child(int (*fn)(const doctor *d, const void *arg, int out), const doctor *d, const void *arg, char *ret_text, size_t len,
                     int *ret_code)
{
	int ends[2];
	*ret_text = '\0';
	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	pid_t pid = fork();
	if (pid == 0) {
		alarm(MODEL_SECONDS);
		_exit(fn(d, arg, ends[1]));
	}
	close(ends[1]);
	size_t n = 0;
	ssize_t got;
	while (pid > 0 && n + 1 < len && ((got = read(ends[0], ret_text + n, len - 1 - n)) > 0 || (got < 0 && errno == EINTR)))
		n += got > 0 ? (size_t)got : 0;
	ret_text[n] = '\0';
	close(ends[0]);
	int status = 0;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return false;
	*ret_code = WEXITSTATUS(status);
	return true;
}

static void say(int out, const char *text)
{
	ssize_t ignored = write(out, text, strlen(text));
	(void)ignored;
}

static int lock_in(const doctor *d, const void *arg, int out)
{
	hth_error err = HTH_ERROR_INIT;
	hth_sandbox_report r;
	char text[TEXT_MAX];
	if (hth_sandbox_enter(&(hth_sandbox_options){.keep_fds = &out, .n_keep_fds = 1}, &r, &err) != HTH_OK) {
		say(out, err.message);
		return 1;
	}
	snprintf(text, sizeof text, r.landlock_abi > 0 ? "models run locked in: seccomp and Landlock (ABI %d)"
	                                               : "models run locked in with seccomp alone",
	         r.landlock_abi);
	say(out, text);
	return r.landlock_abi > 0 ? 0 : 2;
}

static void check_sandbox(doctor *d)
{
	char what[TEXT_MAX];
	int code = 1;
	if (!in_child(lock_in, d, NULL, what, sizeof what, &code) || code == 1)
		report(d, PROBLEM, "sandbox", *what != '\0' ? what : "a process that locks itself in dies",
		       "no model can be run: this kernel (or container) must allow seccomp");
	else if (code == 2)
		report(d, NOTE, "sandbox", what,
		       "this kernel has no Landlock (5.13 and later, and `lsm=` must name it): one layer of two is missing");
	else
		report(d, FINE, "sandbox", what, "");
}

/* The record, where there is one: opening would make it. What is not well is in err. */
static bool open_record(const char *home, hth_store **ret_store, hth_error *err)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof path, "%s/hearth.db", home);
	return access(path, F_OK) == 0 && hth_store_open(ret_store, home, err) == HTH_OK;
}

static bool has_keys(const char *home)
{
	hth_store *store;
	size_t n = 0;
	if (!open_record(home, &store, NULL))
		return false;
	(void)!hth_store_key_count(store, &n, NULL);
	hth_store_close(store);
	return n > 0;
}

static void check_home(doctor *d)
{
	hth_error err = HTH_ERROR_INIT;
	hth_store *store;
	const char *home = d->in->config.home;
	char what[TEXT_MAX + 4200], free_text[32];
	struct stat st;
	struct statvfs fs;
	if (stat(home, &st) != 0 && errno == ENOENT) {
		snprintf(what, sizeof what, "%s is not there yet", home);
		report(d, FINE, "home", what, "");
		return;
	}
	if (stat(home, &st) != 0 || !S_ISDIR(st.st_mode) || access(home, R_OK | W_OK | X_OK) != 0 || statvfs(home, &fs) != 0) {
		snprintf(what, sizeof what, "%s cannot be used: %s", home, errno != 0 ? strerror(errno) : "it is no folder");
		report(d, PROBLEM, "home", what, "give this user the right to write there, or set HEARTH_HOME to another folder");
		return;
	}
	if (open_record(home, &store, &err))
		hth_store_close(store);
	else if (err.status != HTH_OK)
		report(d, PROBLEM, "record", err.message, "");
	uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
	snprintf(what, sizeof what, "%s, %s free on its disk", home, hth_cmd_bytes(room, free_text));
	if ((st.st_mode & 022) != 0)
		report(d, PROBLEM, "home", what, "other users may write into it: chmod go-w it, or they can change what this node does");
	else if (room < 100u * 1000 * 1000)
		report(d, PROBLEM, "home", what,
		       "the disk is full: keys, the index and what leaves the house can no longer be written down");
	else if (room < 1000u * 1000 * 1000)
		report(d, NOTE, "home", what, "a model of a useful size takes some gigabytes");
	else
		report(d, FINE, "home", what, "");
}

static void check_address(doctor *d)
{
	const hth_config *c = &d->in->config;
	char what[TEXT_MAX];
	bool loopback = strncmp(c->listen_address, "127.", 4) == 0 || strcmp(c->listen_address, "::1") == 0;
	snprintf(what, sizeof what, "port %u of %s: %s", c->listen_port, c->listen_address,
	         loopback ? "this machine only" : "everyone who can reach it and has the key");
	if (!loopback && c->api_key[0] == '\0' && !has_keys(c->home))
		report(d, PROBLEM, "address", what,
		       "beyond this machine the node refuses to start without a key: `hearth key add NAME`, or `api_key`");
	else if (!loopback)
		report(d, NOTE, "address", what,
		       "words travel unencrypted there: on a network you do not trust, put a proxy with TLS in front");
	else
		report(d, FINE, "address", what, "");
}

static void check_node(doctor *d)
{
	hth_error err = HTH_ERROR_INIT;
	hth_client *client = NULL;
	json_t *s = NULL;
	char what[TEXT_MAX + 64], url[128];
	hth_config_url(&d->in->config, url, sizeof url);
	if (hth_cmd_client(d->in, NULL, &client, &err) != HTH_OK) {
		report(d, PROBLEM, "node", err.message, "");
		return;
	}
	hth_status status = hth_client_json(client, "GET", "/hearth/status", NULL, 5000, &s, &err);
	const char *version = json_string_value(json_object_get(s, "version"));
	if (status != HTH_OK && !hth_client_reached(client)) {
		snprintf(what, sizeof what, "nobody answers at %s", url);
		report(d, NOTE, "node", what, "start it with `hearth serve`, or `systemctl enable --now hearth`");
	} else if (status == HTH_DENIED || status == HTH_UNAUTHORIZED) {
		snprintf(what, sizeof what, "%s answers, but not to us: %s", url, err.message);
		report(d, NOTE, "node", what, "set `api_key` for this user as the node has it");
	} else if (version == NULL) {
		snprintf(what, sizeof what, "something that is not Hearth answers at %s", url);
		report(d, PROBLEM, "node", what, "stop that program, or set `listen` to another port");
	} else if (strcmp(version, HEARTH_VERSION) != 0) {
		snprintf(what, sizeof what, "version %.40s answers at %s, and this program is %s", version, url, HEARTH_VERSION);
		report(d, NOTE, "node", what, "restart the node");
	} else {
		const char *home = json_string_value(json_object_get(s, "home"));
		bool ours = home == NULL || strcmp(home, d->in->config.home) == 0;
		snprintf(what, sizeof what, "answers at %s, version %s%s%.200s", url, version, ours ? "" : ", from another home: ",
		         ours ? "" : home);
		report(d, ours ? FINE : NOTE, "node", what, ours ? ""
		                                                 : "its models, keys and documents are there, not in yours; set "
		                                                   "HEARTH_HOME, with the right to write there, to manage them");
	}
	json_decref(s);
	hth_client_destroy(client);
}

/* 0: fits; 1: cannot be opened; 2: too large for this machine. */
static int read_model(const doctor *d, const void *arg, int out)
{
	hth_error err = HTH_ERROR_INIT;
	hth_local_model local = {.n_fds = 0};
	hth_model *model = NULL;
	char text[TEXT_MAX];
	if (hth_local_open(d->in, arg, &local, &err) != HTH_OK || hth_local_lock_in(&local, out, &err) != HTH_OK ||
	    hth_local_load(&local, &model, &err) != HTH_OK) {
		say(out, err.message);
		return 1;
	}
	const hth_model_info *info = hth_model_get_info(model);
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t budget = d->in->config.memory != 0 ? d->in->config.memory : all / 100 * 80;
	uint32_t context = HTH_MIN(info->n_ctx_train, 2048u);
	uint64_t needs = info->weight_bytes + hth_session_plan_bytes(model,
	                                                             &(hth_session_options){.n_seq = 1, .n_ctx = context, .n_outputs = 1});
	char a[32], b[32], c[32];
	bool fits = HTH_MAX(needs, hth_catalog_least_bytes(info->file_bytes)) <= budget;
	snprintf(text, sizeof text, "%s parameters, %s: %s with %u tokens of context%s%s", hth_cmd_count(info->n_params, a),
	         hth_cmd_bytes(info->file_bytes, b), hth_cmd_memory(needs, c), context, fits ? "" : ", more than models may take here",
	         hth_model_template_error(model) != NULL ? "; its chat template cannot be used" : "");
	say(out, text);
	return !fits ? 2 : hth_model_template_error(model) != NULL ? 3 : 0;
}

static void left_out(void *ctx, const char *file, const hth_error *why)
{
	char what[TEXT_MAX];
	snprintf(what, sizeof what, "%.200s is not listed: %.280s", file, why->message);
	for (char *c = what; *c != '\0'; c++)
		*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
	report(ctx, NOTE, "model", what, "bring what is missing, or remove the file");
}

static void check_models(doctor *d)
{
	hth_error err = HTH_ERROR_INIT;
	hth_catalog catalog;
	char what[TEXT_MAX + HTH_CATALOG_NAME_MAX + 8], text[TEXT_MAX];
	if (hth_catalog_load(&catalog, d->in->config.home, &err) != HTH_OK) {
		report(d, PROBLEM, "models", err.message, "");
		return;
	}
	for (size_t i = 0; i < catalog.n; i++) {
		int code = 1;
		bool ended = in_child(read_model, d, catalog.models[i].name, text, sizeof text, &code);
		bool named = ended && code == 1; /* errors name the model themselves */
		snprintf(what, sizeof what, "%s%s%s", named ? "" : catalog.models[i].name, named ? "" : ": ",
		         ended ? text : "the process that read it died");
		if (!ended || code == 1)
			report(d, PROBLEM, "model", what,
			       "fetch it again with `hearth pull` if its download is at fault, or remove it with `hearth rm`");
		else if (code == 2)
			report(d, NOTE, "model", what, "a smaller type (`hearth quantize`), a smaller model or more memory would help");
		else
			report(d, code == 0 ? FINE : NOTE, "model", what,
			       code == 0 ? "" : "it completes text, but cannot chat; `hearth show` says why");
	}
	hth_catalog_left_out(d->in->config.home, left_out, d);
	hth_catalog_model chosen = {0};
	if (catalog.n == 0)
		report(d, PROBLEM, "models", "there is none", "bring one home with `hearth pull`");
	else if (hth_catalog_resolve(&catalog, d->in->config.model, &chosen, &err) != HTH_OK)
		report(d, PROBLEM, "models", err.message, "set `model` to one of them");
	hth_catalog_model_finish(&chosen);
	hth_catalog_finish(&catalog);
}

static void check_clock(doctor *d)
{
	enum { YEAR_2025 = 1735689600 };
	if (time(NULL) < YEAR_2025)
		report(d, PROBLEM, "clock", "this machine's clock stands before 2025", "set it: downloads over TLS fail until then");
}

/* What a home that hosts a neighbourhood's hub runs. */
static void check_hub(doctor *d)
{
	hth_error err = HTH_ERROR_INIT;
	char version[32], what[TEXT_MAX];
	unsigned major = 0, minor = 0, patch = 0;
	if (hth_hub_version(version, &err) != HTH_OK) {
		bool missing = err.status == HTH_NOT_FOUND;
		report(d, missing ? FINE : NOTE, "hub",
		       missing ? "no nats-server here: only a home that hosts a neighbourhood's hub needs one" : err.message, "");
		return;
	}
	sscanf(version, "%u.%u.%u", &major, &minor, &patch);
	if (major < 2 || (major == 2 && minor < 9)) {
		snprintf(what, sizeof what, "nats-server %s is older than what a hub was tried with (2.9)", version);
		report(d, NOTE, "hub", what, "install Debian 12's");
		return;
	}
	/* Fixed in 2.11.16, 2.12.7 and 2.14: what a leaf node publishes is not checked against its permissions. */
	bool fixed = major > 2 || minor >= 14 || (minor == 12 && patch >= 7) || (minor == 11 && patch >= 16) || minor == 13;
	snprintf(what, sizeof what, "nats-server %s%s", version,
	         fixed ? "" : ": it does not check what leaf nodes publish, so neighbours are clients, and a hub of Hearth's making opens "
	                      "no leaf, WebSocket, MQTT or monitoring port");
	report(d, FINE, "hub", what, "");
}

int hth_cmd_doctor(hth_invocation *in)
{
	doctor d = {.in = in, .out = HTH_BUF_INIT(16 << 20)};
	const hth_option options[] = {HTH_OPTION_JSON(&d.json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 0))
		return in->exit_code;
	hth_buf_append_str(&d.out, "{\"checks\":[");
	/* Those that fork come before the first thread of this process. */
	check_sandbox(&d);
	check_models(&d);
	check_hub(&d);
	check_home(&d);
	check_address(&d);
	check_clock(&d);
	check_memory(&d);
	check_processor(&d);
	check_node(&d);
	hth_buf_appendf(&d.out, "],\"problems\":%u,\"notes\":%u}", d.count[PROBLEM], d.count[NOTE]);
	int code = HTH_EXIT_DONE;
	if (d.json)
		code = hth_cmd_print(in, &d.out);
	else if (d.count[PROBLEM] + d.count[NOTE] == 0)
		printf("\nAll is well.\n");
	else
		printf("\n%u problem%s, %u note%s.\n", d.count[PROBLEM], d.count[PROBLEM] == 1 ? "" : "s", d.count[NOTE],
		       d.count[NOTE] == 1 ? "" : "s");
	hth_buf_finish(&d.out);
	return code == HTH_EXIT_DONE && d.count[PROBLEM] > 0 ? HTH_EXIT_FAILED : code;
}
