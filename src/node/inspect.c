/* inspect.c - what the models' files say of themselves, for listings.
 *
 * The daemon never reads inside a model file: a file is untrusted input. It asks `hearth show FILE --json --metadata`, which locks
 * itself in before it reads, and takes its JSON. One at a time, once per file (until it changes), only when somebody asks.
 * A file that cannot be described is remembered as such. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

enum { OUTPUT_MAX = 8 << 20, DESCRIBE_MS = 10000, KEPT_MAX = 1024 };

typedef struct known {
	char *path;
	uint64_t bytes;
	int64_t modified_unix;
	json_t *facts; /* an object; empty when the file could not be described */
} known;

typedef struct waiting {
	hth_inspect_fn fn;
	void *ctx;
	struct waiting *next;
} waiting;

struct hth_inspector {
	hth_node *node;
	known *known;
	size_t n_known;
	waiting *waiting;
	/* The one that is being described. */
	hth_child *child;
	hth_watch *watch;
	hth_timer *timer; /* its time limit; and "look for the next one" */
	int fd;           /* its output; -1: none */
	hth_buf output;
	known now;
	bool exited, closed;
};

static void look_for_next(hth_inspector *in);

static void forget(known *k)
{
	free(k->path);
	json_decref(k->facts);
	*k = (known){0};
}

static const known *find(const hth_inspector *in, const char *path, uint64_t bytes, int64_t modified_unix)
{
	for (size_t i = 0; i < in->n_known; i++) {
		const known *k = &in->known[i];
		if (k->bytes == bytes && k->modified_unix == modified_unix && strcmp(k->path, path) == 0)
			return k;
	}
	return NULL;
}

const json_t *hth_inspector_facts(const hth_inspector *in, const hth_catalog_model *model)
{
	const known *k = model->n_files > 0 ? find(in, model->files[0], model->bytes, model->modified_unix) : NULL;
	return k != NULL ? k->facts : NULL;
}

/* --- describing one --- */

static void remember(hth_inspector *in, json_t *facts)
{
	/* An older answer about the same path goes; so does the oldest of all when there are too many. */
	for (size_t i = 0; i < in->n_known; i++) {
		if (strcmp(in->known[i].path, in->now.path) == 0 || in->n_known >= KEPT_MAX) {
			forget(&in->known[i]);
			memmove(&in->known[i], &in->known[i + 1], (in->n_known - i - 1) * sizeof *in->known);
			in->n_known--;
			break;
		}
	}
	known *grown = realloc(in->known, (in->n_known + 1) * sizeof *grown);
	if (grown == NULL) {
		json_decref(facts);
		forget(&in->now);
		return;
	}
	in->known = grown;
	in->now.facts = facts;
	grown[in->n_known++] = in->now;
	in->now = (known){0};
}

static void end_of_one(hth_inspector *in)
{
	json_t *facts = NULL;
	hth_error err = HTH_ERROR_INIT;
	if (in->output.data == NULL || in->output.failed ||
	    hth_json_parse(&facts, in->output.data, in->output.len, &err) != HTH_OK || !json_is_object(facts)) {
		hth_log(HTH_LOG_WARN, "the model file %s could not be described", in->now.path);
		json_decref(facts);
		facts = json_object();
	}
	hth_watch_close(in->watch);
	in->watch = NULL;
	if (in->fd >= 0)
		close(in->fd);
	in->fd = -1;
	hth_child_close(in->child);
	in->child = NULL;
	hth_buf_finish(&in->output);
	remember(in, facts);
	look_for_next(in);
}

static void on_output(void *ctx, unsigned events)
{
	(void)events;
	hth_inspector *in = ctx;
	for (;;) {
		char *at = hth_buf_reserve(&in->output, 65536);
		if (at == NULL) {
			hth_child_signal(in->child, SIGKILL); /* more than a description can be */
			in->closed = true;
			break;
		}
		ssize_t n = read(in->fd, at, 65536);
		if (n > 0) {
			in->output.len += (size_t)n;
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		in->closed = true;
		break;
	}
	hth_watch_set(in->watch, 0);
	if (in->exited)
		end_of_one(in);
}

static void on_child_exit(void *ctx, int exit_status, int term_signal)
{
	(void)term_signal;
	hth_inspector *in = ctx;
	in->exited = true;
	if (exit_status != 0) {
		in->output.failed = true;
		in->closed = true;
	}
	if (in->closed)
		end_of_one(in);
}

static void on_timer(void *ctx)
{
	hth_inspector *in = ctx;
	if (in->child != NULL)
		hth_child_signal(in->child, SIGKILL);
	else
		look_for_next(in);
}

static bool start_one(hth_inspector *in, const hth_catalog_model *model)
{
	const char *program = in->node->callbacks->program != NULL ? in->node->callbacks->program : "/proc/self/exe";
	const char *argv[] = {program, "show", "--json", "--metadata", "--", model->files[0], NULL};
	int pipe_fds[2];
	in->now = (known){.path = strdup(model->files[0]), .bytes = model->bytes, .modified_unix = model->modified_unix};
	if (in->now.path == NULL || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		forget(&in->now);
		return false;
	}
	in->exited = in->closed = false;
	in->output = HTH_BUF_INIT(OUTPUT_MAX);
	const int fds[3] = {-1, pipe_fds[1], -1};
	/* The child's end must block as programs expect. */
	fcntl(pipe_fds[1], F_SETFL, 0);
	hth_status status = hth_child_start(&in->child, in->node->loop, argv, fds, 3, on_child_exit, in, NULL);
	close(pipe_fds[1]);
	in->fd = pipe_fds[0];
	if (status == HTH_OK)
		status = hth_watch_open(&in->watch, in->node->loop, in->fd, HTH_READABLE, on_output, in, NULL);
	if (status == HTH_OK) {
		hth_timer_start(in->timer, DESCRIBE_MS, 0);
		return true;
	}
	hth_child_close(in->child);
	in->child = NULL;
	close(in->fd);
	in->fd = -1;
	forget(&in->now);
	return false;
}

/* --- all --- */

static void tell_all(hth_inspector *in)
{
	waiting *list = in->waiting;
	in->waiting = NULL;
	while (list != NULL) {
		waiting *next = list->next;
		list->fn(list->ctx);
		free(list);
		list = next;
	}
}

static void look_for_next(hth_inspector *in)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	hth_timer_stop(in->timer);
	if (in->waiting == NULL)
		return;
	if (hth_router_catalog(in->node->router, &catalog, NULL) == HTH_OK) {
		for (size_t i = 0; i < catalog.n; i++) {
			if (hth_inspector_facts(in, &catalog.models[i]) == NULL && start_one(in, &catalog.models[i]))
				return;
		}
	}
	tell_all(in);
}

void hth_inspector_refresh(hth_inspector *in, hth_inspect_fn fn, void *ctx)
{
	waiting *w = calloc(1, sizeof *w);
	if (w == NULL) {
		fn(ctx);
		return;
	}
	w->fn = fn;
	w->ctx = ctx;
	w->next = in->waiting;
	in->waiting = w;
	if (in->child == NULL)
		look_for_next(in);
}

void hth_inspector_forget(hth_inspector *in, void *ctx)
{
	for (waiting **at = &in->waiting; *at != NULL;) {
		waiting *w = *at;
		if (w->ctx == ctx) {
			*at = w->next;
			free(w);
		} else {
			at = &w->next;
		}
	}
}

hth_status hth_inspector_create(hth_inspector **ret_inspector, hth_node *node, hth_error *err)
{
	hth_inspector *in = calloc(1, sizeof *in);
	if (in == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to list models");
	in->node = node;
	in->fd = -1;
	hth_status status = hth_timer_open(&in->timer, node->loop, on_timer, in, err);
	if (status != HTH_OK) {
		free(in);
		return status;
	}
	*ret_inspector = in;
	return HTH_OK;
}

void hth_inspector_destroy(hth_inspector *in)
{
	if (in == NULL)
		return;
	hth_watch_close(in->watch);
	if (in->fd >= 0)
		close(in->fd);
	hth_child_close(in->child);
	hth_timer_close(in->timer);
	while (in->waiting != NULL) {
		waiting *next = in->waiting->next;
		free(in->waiting);
		in->waiting = next;
	}
	for (size_t i = 0; i < in->n_known; i++)
		forget(&in->known[i]);
	free(in->known);
	forget(&in->now);
	hth_buf_finish(&in->output);
	free(in);
}
