/* create-task.c - POST /api/create where more is asked than a name: what it is made from is pulled when it is not here, and quantised when
 * that is asked.
 *
 * Weights are untrusted, so it is `hearth quantize` that reads them, in a process that locks itself in; it writes a file beside the blobs,
 * which becomes the model's by a rename. A client that leaves ends the work and what it made; what was pulled stays. The work is a
 * thread's, the rest the loop's.
 */
#include "node/node-internal.h"

#include "api/ollama-create.h"
#include "base/mem.h"
#include "engine/quant/quant.h"
#include "pull/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PATH_ROOM = PATH_MAX + NAME_MAX + 64, LOOK_MS = 100, SAID_MAX = 4096 };

struct hth_create_task {
	hth_node *node;
	hth_create_wish wish;
	const char *type;                    /* to quantise to; NULL: not */
	bool pulls;
	char from[HTH_PULL_REFERENCE_MAX];   /* the model it is made from, as it is called here; "": blobs */
	char in[PATH_ROOM], made[PATH_ROOM]; /* of the quantiser; "": nothing */
};

static hth_status find_type(const char *asked, const char **ret, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf list = HTH_BUF_INIT(4096);
	for (const char *const *t = hth_quantize_ftypes(); *t != NULL; t++) {
		if (strcasecmp(*t, asked) == 0) {
			*ret = *t;
			return HTH_OK;
		}
		hth_buf_appendf(&list, list.len > 0 ? ", %s" : "%s", *t);
	}
	return hth_fail_param(err, HTH_INVALID, "quantize", "quantize: there is no type '%.40s'; there are %s", asked,
	                      list.data != NULL ? list.data : "");
}

static hth_status read_wish(hth_create_task *t, hth_exchange *exchange, hth_error *err)
{
	size_t len;
	HTH_AUTO_JSON json_t *json = NULL;
	const char *body = hth_exchange_body(exchange, &len);
	HTH_TRY(hth_json_parse(&json, body, len, err));
	if (!json_is_object(json))
		return hth_fail(err, HTH_INVALID, "the body must be a JSON object");
	HTH_TRY(hth_create_wish_read(json, &t->wish, err));
	if (t->wish.quantize != NULL)
		HTH_TRY(find_type(t->wish.quantize, &t->type, err));
	return HTH_OK;
}

static hth_status prepare(hth_create_task *t, hth_error *err)
{
	const hth_create_wish *w = &t->wish;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	if (w->from != NULL && (size_t)snprintf(t->from, sizeof t->from, "%s", w->from) >= sizeof t->from)
		return hth_fail_param(err, HTH_INVALID, "from", "from is no name of a model");
	HTH_TRY(hth_router_catalog(t->node->router, &catalog, err));
	t->pulls = w->from != NULL && hth_catalog_find(&catalog, w->from) == NULL;
	if (t->pulls || t->type != NULL)
		HTH_TRY(hth_create_check(t->node, w->model, err));
	return t->type != NULL && w->n_files > 0 ? hth_create_blob(t->node, w->files[0].digest, t->in, sizeof t->in, err) : HTH_OK;
}

hth_status hth_create_begin(hth_create_task **ret_task, hth_node *node, hth_exchange *exchange, bool *ret_work, hth_error *err)
{
	hth_create_task *t = calloc(1, sizeof *t);
	if (t == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	t->node = node;
	hth_status status = read_wish(t, exchange, err);
	if (status == HTH_OK)
		status = prepare(t, err);
	if (status != HTH_OK) {
		hth_create_destroy(t);
		return status;
	}
	*ret_work = t->pulls || t->type != NULL;
	*ret_task = t;
	return HTH_OK;
}

bool hth_create_streams(const hth_create_task *task) { return task->wish.stream; }

/* ---- the thread's ---- */

static hth_status find_weights(hth_create_task *t, hth_error *err)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	if (t->in[0] != '\0')
		return HTH_OK;
	HTH_TRY(hth_catalog_load(&catalog, t->node->config->home, err));
	const hth_catalog_model *model = hth_catalog_find(&catalog, t->from);
	if (model == NULL || strlen(model->files[0]) >= sizeof t->in)
		return hth_fail_param(err, HTH_NOT_FOUND, "from", "model '%.200s' not found", t->from);
	snprintf(t->in, sizeof t->in, "%s", model->files[0]);
	return HTH_OK;
}

static hth_status start(hth_create_task *t, pid_t *ret_pid, int *ret_said, hth_error *err)
{
	const char *program = t->node->callbacks->program != NULL ? t->node->callbacks->program : "/proc/self/exe";
	char *const argv[] = {(char *)program, (char *)"quantize", t->in, t->made, (char *)t->type, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t how;
	sigset_t none;
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot start the quantiser");
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK); /* this thread takes no signals */
	posix_spawnattr_setsigmask(&how, &none);
	int e = posix_spawn(ret_pid, program, &actions, &how, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&how);
	close(fds[1]);
	if (e != 0) {
		close(fds[0]);
		return hth_fail_errno(err, HTH_IO, e, "cannot start the quantiser");
	}
	*ret_said = fds[0];
	return HTH_OK;
}

/* What it says, until it ends or is to end. */
static void listen_to(pid_t pid, int said, const hth_pull_options *o, hth_buf *out)
{
	bool told = false;
	for (;;) {
		struct pollfd p = {.fd = said, .events = POLLIN};
		int n = poll(&p, 1, LOOK_MS);
		if (!told && o->cancelled(o->ctx))
			told = kill(pid, SIGINT) == 0;
		if (n == 0 || (n < 0 && errno == EINTR))
			continue;
		char bytes[512];
		ssize_t got = n > 0 ? read(said, bytes, sizeof bytes) : -1;
		if (got == 0 || (got < 0 && errno != EINTR))
			return;
		if (got > 0)
			hth_buf_append(out, bytes, (size_t)got); /* the first words are what matters */
	}
}

static hth_status quantize(hth_create_task *t, const hth_pull_options *o, hth_error *err)
{
	char folder[PATH_ROOM];
	pid_t pid;
	int said = -1, how = 0;
	HTH_TRY(find_weights(t, err));
	snprintf(folder, sizeof folder, "%s/models/.pull", t->node->config->home);
	if ((mkdir(t->node->config->home, 0755) != 0 && errno != EEXIST) ||
	    snprintf(t->made, sizeof t->made, "%s/models", t->node->config->home) < 0 || (mkdir(t->made, 0755) != 0 && errno != EEXIST) ||
	    (mkdir(folder, 0755) != 0 && errno != EEXIST))
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	if ((size_t)snprintf(t->made, sizeof t->made, "%s/upload-%08x.gguf", folder,
	                     (unsigned)randombytes_random()) >= PATH_MAX - sizeof ".partial")
		return hth_fail(err, HTH_INVALID, "the home folder's path is too long");
	HTH_TRY(start(t, &pid, &said, err));
	HTH_CLEANUP(hth_buf_finish) hth_buf words = HTH_BUF_INIT(SAID_MAX);
	listen_to(pid, said, o, &words);
	close(said);
	while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
		;
	if (o->cancelled(o->ctx))
		return hth_fail(err, HTH_CANCELLED, "cancelled");
	if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
		return HTH_OK;
	char *line = words.data != NULL ? words.data : (char *)"it died";
	line[strcspn(line, "\n")] = '\0';
	return hth_fail_param(err, HTH_UNSUPPORTED, "quantize", "quantising to %s: %.300s", t->type,
	                      strncmp(line, "hearth: ", 8) == 0 ? line + 8 : line);
}

hth_status hth_create_work(hth_create_task *t, const hth_pull_options *o, void (*tell)(void *ctx, const char *status), hth_error *err)
{
	char status[80];
	if (t->pulls) {
		hth_pull_result result;
		hth_status pulled = hth_pull(t->from, o, &result, err);
		if (pulled != HTH_OK) {
			snprintf(err->param, sizeof err->param, "from");
			return pulled;
		}
		snprintf(t->from, sizeof t->from, "%s", result.name);
	}
	if (t->type == NULL)
		return HTH_OK;
	snprintf(status, sizeof status, "quantizing model to %s", t->type);
	tell(o->ctx, status);
	return quantize(t, o, err);
}

/* ---- the loop's ---- */

hth_status hth_create_end(hth_create_task *t, hth_buf *out, hth_error *err)
{
	const char *from = t->from[0] != '\0' ? t->from : NULL;
	HTH_TRY(hth_create_model(t->node, &t->wish, from, t->made[0] != '\0' ? t->made : NULL, err));
	t->made[0] = '\0';
	if (t->wish.n_files > 0 && t->type != NULL) { /* it has served */
		char blob[PATH_ROOM];
		if (hth_blobs_path(t->node, t->wish.files[0].digest, blob, sizeof blob))
			unlink(blob);
	}
	hth_buf_append_str(out, !t->wish.stream ? "{\"status\":\"success\"}"
	                                        : "{\"status\":\"reading model metadata\"}\n{\"status\":\"writing "
	                                          "manifest\"}\n{\"status\":\"success\"}\n");
	return HTH_OK;
}

void hth_create_destroy(hth_create_task *t)
{
	if (t == NULL)
		return;
	if (t->made[0] != '\0')
		unlink(t->made);
	hth_create_wish_finish(&t->wish);
	free(t);
}
