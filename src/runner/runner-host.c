/* runner-host.c - the daemon's side of a runner: starts the child, passes requests in and answers out, and notices every way in
 * which a child can end or misbehave.
 *
 * The child may be in the hands of a hostile model file, so nothing it says is taken for granted: frames are checked
 * (runner-messages.h), an answer must fit its request's kind, and amounts are limited. A child that breaks the protocol is
 * killed; its requests fail with HTH_GONE, the daemon goes on.
 *
 * Owns the child, its socket and a reference to each request that it has. Callbacks may call back into this file, even to
 * destroy the runner: `depth` counts who is inside, and the memory goes when the last one leaves. Thread: the loop's.
 */
#include "runner/runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/grammar/grammar.h"
#include "engine/kernels/threads.h"
#include "runner/runner-child.h"
#include "runner/runner-messages.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	REQUESTS_MAX = HTH_RUNNER_JOBS_MAX,
	INDEX_BITS = 10,
	OUT_MAX = 2 * HTH_FRAME_SUBMIT_MAX,
	READ_BYTES = 64 << 10,
	READS_PER_TURN = 8, /* then the loop's other customers have their turn */
	STOP_MS = 2000,
};
/* More text than any answer has; a child that sends more is not answering. */
#define ANSWER_BYTES_MAX ((uint64_t)256 << 20)
_Static_assert(REQUESTS_MAX == 1 << INDEX_BITS, "a request's number holds its place in the table");

typedef struct entry {
	hth_request *request; /* NULL: free */
	uint32_t generation;  /* counts the table place's users, so that a late frame is not taken for the next one's */
	int32_t *tokens;      /* of a tokenisation, while its parts come */
	size_t n_tokens;
	uint64_t text_bytes;
	bool has_prompt; /* its end was told */
	bool has_result; /* tokens or embedding: one per request */
} entry;

struct hth_runner {
	hth_loop *loop;
	hth_runner_events events;
	void *ctx;
	char name[HTH_MODEL_NAME_MAX];
	hth_child *child;
	pid_t pid;
	int fd;
	hth_watch *watch;
	hth_timer *timer;
	hth_frame_decoder decoder;
	hth_buf out;
	size_t out_at; /* bytes of out that were written */
	entry entries[REQUESTS_MAX];
	uint32_t next_place;
	size_t n_active;
	hth_runner_info info;
	bool ready, stopping, gone, destroyed;
	hth_error reason; /* why it must end, when we know before the child has ended */
	unsigned depth;
	hth_piece_storage storage; /* scratch */
};

/* ---- being inside ---- */

static void enter(hth_runner *r) { r->depth++; }

static void free_runner(hth_runner *r)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		free(r->entries[i].tokens);
	hth_frame_decoder_finish(&r->decoder);
	if (r->out.data != NULL)
		explicit_bzero(r->out.data, r->out.cap);
	hth_buf_finish(&r->out);
	free(r->storage.rows);
	free(r);
}

static void leave(hth_runner *r)
{
	if (--r->depth == 0 && r->destroyed)
		free_runner(r);
}

/* ---- writing ---- */

static void watch_what_is_needed(hth_runner *r)
{
	if (r->watch != NULL)
		hth_watch_set(r->watch, HTH_READABLE | (r->out.len > r->out_at ? HTH_WRITABLE : 0));
}

/* Writes as much as the socket takes. A dead child is noticed by reading; here its errors are only silence. */
static void flush(hth_runner *r)
{
	while (r->fd >= 0 && r->out_at < r->out.len) {
		ssize_t n = send(r->fd, r->out.data + r->out_at, r->out.len - r->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		r->out_at += (size_t)n;
	}
	if (r->out_at == r->out.len) {
		if (r->out.data != NULL)
			explicit_bzero(r->out.data, r->out.len);
		hth_buf_clear(&r->out);
		r->out_at = 0;
		if (r->out.cap > 1 << 20) /* a large request's buffer is not kept for the next small one */
			hth_buf_finish(&r->out);
	} else if (r->out_at > 1 << 20) {
		hth_buf_consume(&r->out, r->out_at);
		r->out_at = 0;
	}
	watch_what_is_needed(r);
}

/* ---- the requests it has ---- */

static uint32_t id_of(const hth_runner *r, const entry *e)
{
	return e->generation << INDEX_BITS | (uint32_t)(e - r->entries);
}

static entry *find_id(hth_runner *r, uint32_t id)
{
	entry *e = &r->entries[id & (REQUESTS_MAX - 1)];
	return e->request != NULL && id_of(r, e) == id ? e : NULL;
}

static entry *find_request(hth_runner *r, const hth_request *request)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		if (r->entries[i].request == request)
			return &r->entries[i];
	return NULL;
}

/* Takes the request out of the table; the caller ends it and drops the reference. */
static hth_request *take_out(hth_runner *r, entry *e)
{
	hth_request *request = e->request;
	free(e->tokens);
	*e = (entry){.generation = (e->generation + 1) & (UINT32_MAX >> INDEX_BITS)};
	if (e->generation == 0)
		e->generation = 1; /* a number is never 0 */
	request->cancel = NULL;
	request->cancel_ctx = NULL;
	r->n_active--;
	return request;
}

static void tell_idle(hth_runner *r)
{
	if (r->n_active == 0 && !r->gone && !r->destroyed && !r->stopping && r->events.idle != NULL)
		r->events.idle(r->ctx, r);
}

static void on_cancel(void *ctx, hth_request *request)
{
	hth_runner *r = ctx;
	entry *e = find_request(r, request);
	if (e == NULL)
		return;
	enter(r);
	uint32_t id = id_of(r, e);
	take_out(r, e);
	if (!r->gone && hth_message_put_empty(&r->out, HTH_FRAME_CANCEL, id))
		flush(r);
	hth_request_unref(request);
	tell_idle(r);
	leave(r);
}

static void fail_all(hth_runner *r, const hth_error *error)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		if (r->entries[i].request == NULL)
			continue;
		hth_request *request = take_out(r, &r->entries[i]);
		hth_request_fail(request, error);
		hth_request_unref(request);
	}
}

hth_status hth_runner_submit(hth_runner *r, hth_request *request, hth_error *err)
{
	if (r->gone || r->stopping || r->destroyed || r->reason.status != HTH_OK)
		return hth_fail(err, HTH_GONE, "the runner of %s is ending; try again", r->name);
	if (r->n_active >= REQUESTS_MAX)
		return hth_fail(err, HTH_BUSY, "%d requests wait for %s already; try again later", REQUESTS_MAX, r->name);
	const char *trigger = request->params.grammar_trigger;
	if (request->params.grammar != NULL && strlen(request->params.grammar) > HTH_GRAMMAR_TEXT_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the grammar that binds the answer is over %d MiB", HTH_GRAMMAR_TEXT_MAX >> 20);
	if (trigger != NULL && strlen(trigger) > HTH_TRIGGER_BYTES_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the text after which a grammar begins is over %d bytes", HTH_TRIGGER_BYTES_MAX);
	if (request->state != HTH_REQUEST_ROUTED) /* says what it is instead */
		return hth_request_run(request, err);
	entry *e = &r->entries[r->next_place];
	while (e->request != NULL)
		e = &r->entries[r->next_place = (r->next_place + 1) % REQUESTS_MAX];
	r->next_place = (r->next_place + 1) % REQUESTS_MAX;
	if (e->generation == 0)
		e->generation = 1;
	if (!hth_message_put_submit(&r->out, id_of(r, e), request->kind, &request->input, &request->params)) {
		if (r->out.len > r->out_at)
			return hth_fail(err, HTH_BUSY, "the runner of %s is still taking in other requests; try again later", r->name);
		return hth_fail(err, HTH_TOO_LARGE, "the request is over %d MiB, more than a runner takes", HTH_FRAME_SUBMIT_MAX >> 20);
	}
	HTH_TRY(hth_request_run(request, err));
	e->request = hth_request_ref(request);
	request->cancel = on_cancel;
	request->cancel_ctx = r;
	r->n_active++;
	flush(r);
	return HTH_OK;
}

/* ---- reading ---- */

/* The child does what no honest runner does: it is ended, and that is why. */
static void give_up(hth_runner *r, const hth_error *why)
{
	if (r->reason.status != HTH_OK)
		return;
	hth_fail(&r->reason, HTH_GONE, "the runner of %s broke the rules and was stopped: %s", r->name, why->message);
	if (r->child != NULL)
		hth_child_signal(r->child, SIGKILL);
}

static hth_status out_of_place(const hth_frame *frame, hth_error *err)
{
	return hth_fail(err, HTH_BAD_FORMAT, "a %s frame out of place", hth_frame_type_name(frame->type));
}

static hth_status on_piece(hth_runner *r, entry *e, const hth_frame *frame, hth_error *err)
{
	hth_answer_piece piece;
	HTH_TRY(hth_message_get_piece(frame, &r->storage, &piece, err));
	e->text_bytes += piece.len + 1;
	if (e->request->kind == HTH_EMBEDDING || e->text_bytes > ANSWER_BYTES_MAX)
		return out_of_place(frame, err);
	hth_request_piece(e->request, &piece);
	return HTH_OK;
}

static hth_status on_prompt(entry *e, const hth_frame *frame, hth_error *err)
{
	if ((e->request->kind != HTH_CHAT && !e->request->input.with_ids) || e->has_prompt || e->request->state != HTH_REQUEST_RUNNING)
		return out_of_place(frame, err);
	e->has_prompt = true;
	return hth_message_get_prompt(frame, e->request->prompt_tail, &e->request->usage.prompt_tokens, err);
}

static hth_status on_tokens(entry *e, const hth_frame *frame, hth_error *err)
{
	const unsigned char *ids;
	size_t n;
	bool more;
	HTH_TRY(hth_message_get_tokens(frame, &ids, &n, &more, err));
	if (e->request->kind != HTH_TOKENIZE || e->has_result || (e->n_tokens + n) * sizeof *e->tokens > ANSWER_BYTES_MAX)
		return out_of_place(frame, err);
	if (n > 0) {
		int32_t *grown = realloc(e->tokens, (e->n_tokens + n) * sizeof *grown);
		if (grown == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu tokens", e->n_tokens + n);
		memcpy(grown + e->n_tokens, ids, n * sizeof *grown);
		e->tokens = grown;
		e->n_tokens += n;
	}
	if (more)
		return HTH_OK;
	e->has_result = true;
	/* The callback may cancel, which frees the entry: hold what is passed on. */
	int32_t *tokens = e->tokens;
	size_t n_tokens = e->n_tokens;
	e->tokens = NULL;
	hth_request_tokens(e->request, tokens, n_tokens);
	free(tokens);
	return HTH_OK;
}

static hth_status on_embedding(hth_runner *r, entry *e, const hth_frame *frame, hth_error *err)
{
	HTH_AUTO_FREE float *values = NULL;
	size_t n;
	HTH_TRY(hth_message_get_embedding(frame, &values, &n, err));
	if (e->request->kind != HTH_EMBEDDING || e->has_result || n != r->info.n_embd)
		return out_of_place(frame, err);
	e->has_result = true;
	hth_request_embedding(e->request, values, n);
	return HTH_OK;
}

static hth_status on_done(hth_runner *r, entry *e, const hth_frame *frame, hth_error *err)
{
	hth_done done;
	HTH_TRY(hth_message_get_done(frame, &done, err));
	bool needs_result = e->request->kind == HTH_TOKENIZE || e->request->kind == HTH_EMBEDDING;
	if (done.stop >= (int)e->request->params.n_stop || (needs_result && !e->has_result))
		return out_of_place(frame, err);
	hth_request *request = take_out(r, e);
	if (done.stop >= 0)
		request->stop_hit = strdup(request->params.stop[done.stop]); /* without memory it is only not named */
	hth_request_done(request, done.reason, &done.usage);
	hth_request_unref(request);
	tell_idle(r);
	return HTH_OK;
}

static hth_status on_fail(hth_runner *r, entry *e, const hth_frame *frame, hth_error *err)
{
	hth_error error;
	HTH_TRY(hth_message_get_error(frame, &error, err));
	hth_request *request = take_out(r, e);
	hth_request_fail(request, &error);
	hth_request_unref(request);
	tell_idle(r);
	return HTH_OK;
}

static hth_status on_life(hth_runner *r, const hth_frame *frame, hth_error *err)
{
	if (r->ready)
		return out_of_place(frame, err);
	float fraction;
	switch (frame->type) {
	case HTH_FRAME_PROGRESS:
		HTH_TRY(hth_message_get_progress(frame, &fraction, err));
		if (r->events.progress != NULL)
			r->events.progress(r->ctx, r, fraction);
		return HTH_OK;
	case HTH_FRAME_READY:
		HTH_TRY(hth_message_get_ready(frame, &r->info, err));
		r->ready = true;
		r->events.ready(r->ctx, r);
		return HTH_OK;
	default: /* broken: it says why and ends by itself */
		return hth_message_get_error(frame, &r->reason, err);
	}
}

static hth_status on_frame(hth_runner *r, const hth_frame *frame, hth_error *err)
{
	if (frame->request == 0)
		return on_life(r, frame, err);
	if (!r->ready && frame->type != HTH_FRAME_FAIL)
		return out_of_place(frame, err);
	entry *e = find_id(r, frame->request);
	if (e == NULL) /* it was cancelled while this was on its way */
		return HTH_OK;
	switch (frame->type) {
	case HTH_FRAME_PROMPT: return on_prompt(e, frame, err);
	case HTH_FRAME_PIECE: return on_piece(r, e, frame, err);
	case HTH_FRAME_TOKENS: return on_tokens(e, frame, err);
	case HTH_FRAME_EMBEDDING: return on_embedding(r, e, frame, err);
	case HTH_FRAME_DONE: return on_done(r, e, frame, err);
	default: return on_fail(r, e, frame, err);
	}
}

/* One read and the frames in it. False: nothing more to read now, or ever. */
static bool read_some(hth_runner *r)
{
	char bytes[READ_BYTES];
	ssize_t n = recv(r->fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	hth_error err = HTH_ERROR_INIT;
	if (n <= 0) {
		hth_watch_close(r->watch);
		r->watch = NULL;
		/* A child that ended is reaped in a moment; one that only closed its end is of no use. */
		if (!r->gone)
			hth_child_signal(r->child, SIGKILL);
		return false;
	}
	hth_status status = hth_frame_decoder_feed(&r->decoder, bytes, (size_t)n, &err);
	explicit_bzero(bytes, (size_t)n);
	while (status == HTH_OK && !r->destroyed && r->reason.status == HTH_OK) {
		hth_frame frame;
		bool have;
		status = hth_frame_decoder_next(&r->decoder, &frame, &have, &err);
		if (status != HTH_OK || !have)
			break;
		status = on_frame(r, &frame, &err);
	}
	if (status != HTH_OK && !r->destroyed)
		give_up(r, &err);
	return status == HTH_OK && !r->destroyed && r->reason.status == HTH_OK;
}

static void on_watch(void *ctx, unsigned events)
{
	hth_runner *r = ctx;
	enter(r);
	if (events & HTH_WRITABLE)
		flush(r);
	if (events & (HTH_READABLE | HTH_HANGUP))
		for (int i = 0; i < READS_PER_TURN && read_some(r); i++)
			;
	/* A child that must end is not listened to any more. */
	if (!r->destroyed && r->reason.status != HTH_OK && r->watch != NULL)
		hth_watch_set(r->watch, 0);
	leave(r);
}

/* ---- the end ---- */

static void on_exited(void *ctx, int exit_status, int term_signal)
{
	hth_runner *r = ctx;
	enter(r);
	/* What it said before it died counts, up to the last whole frame. */
	for (int i = 0; i < 64 && r->watch != NULL && r->reason.status == HTH_OK && read_some(r); i++)
		;
	if (r->destroyed) {
		leave(r);
		return;
	}
	r->gone = true;
	hth_watch_close(r->watch);
	r->watch = NULL;
	hth_timer_stop(r->timer);
	hth_error reason = r->reason, told = HTH_ERROR_INIT;
	if (reason.status == HTH_OK && r->stopping)
		hth_fail(&reason, HTH_CANCELLED, "the runner of %s was stopped", r->name);
	else if (reason.status == HTH_OK && term_signal != 0)
		hth_fail(&reason, HTH_GONE, "the runner of %s was killed by signal %d (%s%s)", r->name, term_signal, strsignal(term_signal),
		         term_signal == SIGKILL ? "; perhaps the machine ran out of memory" : "");
	else if (reason.status == HTH_OK)
		hth_fail(&reason, HTH_GONE, "the runner of %s ended by itself with exit code %d", r->name, exit_status);
	if (r->ready || reason.status == HTH_GONE || reason.status == HTH_CANCELLED)
		hth_fail(&told, HTH_GONE, "the model's process died while it had this request: %s; try again", reason.message);
	else
		told = reason; /* it could not load, and that is the answer to whoever waited for it */
	fail_all(r, &told);
	if (!r->destroyed)
		r->events.exited(r->ctx, r, &reason);
	leave(r);
}

static void on_stop_time(void *ctx)
{
	hth_runner *r = ctx;
	if (!r->gone && r->child != NULL)
		hth_child_signal(r->child, SIGKILL);
}

void hth_runner_stop(hth_runner *r)
{
	if (r->stopping || r->gone || r->destroyed)
		return;
	enter(r);
	r->stopping = true;
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		if (r->entries[i].request != NULL)
			hth_request_cancel(r->entries[i].request);
	if (!r->destroyed) {
		if (hth_message_put_empty(&r->out, HTH_FRAME_QUIT, 0))
			flush(r);
		hth_timer_start(r->timer, STOP_MS, 0);
	}
	leave(r);
}

void hth_runner_destroy(hth_runner *r)
{
	if (r == NULL || r->destroyed)
		return;
	enter(r);
	r->destroyed = true;
	hth_child_close(r->child);
	r->child = NULL;
	hth_watch_close(r->watch);
	r->watch = NULL;
	hth_timer_close(r->timer);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	hth_error told;
	hth_fail(&told, HTH_GONE, "the runner of %s was stopped while it had this request", r->name);
	fail_all(r, &told);
	leave(r);
}

/* ---- the beginning ---- */

static hth_status open_file(int *ret_fd, const char *path, hth_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return hth_fail_errno(err, errno == ENOENT ? HTH_NOT_FOUND : errno == EACCES ? HTH_DENIED : HTH_IO, errno,
		                      "cannot open the model file %s", path);
	struct stat st;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return hth_fail(err, HTH_BAD_FORMAT, "the model file %s is not a file", path);
	}
	*ret_fd = fd;
	return HTH_OK;
}

/* The sandbox cannot read what tells real cores from second hyperthreads, so the count is made here. */
static unsigned count_cores(void)
{
	static unsigned cores;
	hth_threads *threads = NULL;
	if (cores == 0 && hth_threads_create(&threads, 0, NULL) == HTH_OK)
		cores = hth_threads_count(threads);
	hth_threads_destroy(threads);
	return cores;
}

static hth_status start_child(hth_runner *r, const hth_runner_options *options, const int *fds, size_t n_fds, hth_error *err)
{
	char numbers[8][24];
	unsigned threads = options->n_threads > 0 ? options->n_threads : count_cores();
	snprintf(numbers[0], sizeof numbers[0], "%d", HTH_FRAME_VERSION);
	snprintf(numbers[1], sizeof numbers[1], "%zu", options->n_files);
	snprintf(numbers[2], sizeof numbers[2], "%u", options->n_slots);
	snprintf(numbers[3], sizeof numbers[3], "%u", options->n_ctx);
	snprintf(numbers[4], sizeof numbers[4], "%u", threads);
	snprintf(numbers[5], sizeof numbers[5], "%llu", (unsigned long long)options->memory_bytes);
	snprintf(numbers[6], sizeof numbers[6], "%llu", (unsigned long long)options->spill_bytes);
	snprintf(numbers[7], sizeof numbers[7], "%zu", options->n_draft_files);
	const char *argv[] = {options->program != NULL ? options->program : "/proc/self/exe",
	                      "__runner", numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6],
	                      numbers[7], r->name, NULL};
	return hth_child_start(&r->child, r->loop, argv, fds, n_fds, on_exited, r, err);
}

hth_status hth_runner_start(hth_runner **ret_runner, hth_loop *loop, const hth_runner_options *options,
                            const hth_runner_events *events, void *ctx, hth_error *err)
{
	if (options->n_files == 0 || options->n_files > HTH_RUNNER_FILES_MAX ||
	    options->n_draft_files > HTH_RUNNER_FILES_MAX - options->n_files)
		return hth_fail(err, HTH_INVALID, "a model of %zu files, and %zu of its draft; 1 to %d are possible", options->n_files,
		                options->n_draft_files, HTH_RUNNER_FILES_MAX);
	hth_runner *r = calloc(1, sizeof *r);
	if (r == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a runner");
	*r = (hth_runner){.loop = loop, .events = *events, .ctx = ctx, .fd = -1, .out = HTH_BUF_INIT(OUT_MAX)};
	hth_frame_decoder_init(&r->decoder, HTH_TO_DAEMON);
	snprintf(r->name, sizeof r->name, "%s", options->name);

	/* What becomes the child's 0, 1, 2, socket, files, the draft's files, spill. Its words on stderr are for those who debug it: a
	 * model in command of the process must not write to the owner's terminal or log. */
	int fds[HTH_RUNNER_FIRST_FILE + HTH_RUNNER_FILES_MAX + 1];
	size_t n_fds = HTH_RUNNER_FIRST_FILE;
	fds[0] = fds[1] = -1;
	fds[2] = HTH_SANITIZED || getenv("HEARTH_RUNNER_STDERR") != NULL ? 2 : -1;
	int pair[2] = {-1, -1};
	hth_status status = HTH_OK;
	for (size_t i = 0; i < options->n_files + options->n_draft_files && status == HTH_OK; i++) {
		status = open_file(&fds[n_fds], i < options->n_files ? options->files[i] : options->draft_files[i - options->n_files], err);
		n_fds += status == HTH_OK;
	}
	if (status == HTH_OK && options->spill_bytes > 0) {
		fds[n_fds] = fcntl(options->spill_fd, F_DUPFD_CLOEXEC, 3);
		if (fds[n_fds] < 0)
			status = hth_fail_errno(err, HTH_IO, errno, "cannot hand a file down to a runner");
		n_fds += status == HTH_OK;
	}
	if (status == HTH_OK && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		status = hth_fail_errno(err, HTH_IO, errno, "cannot make a socket pair for a runner");
	fds[HTH_RUNNER_SOCKET] = pair[1];
	r->fd = pair[0];
	if (status == HTH_OK)
		status = hth_timer_open(&r->timer, loop, on_stop_time, r, err);
	if (status == HTH_OK) /* makes our end non-blocking; the child's end is its own */
		status = hth_watch_open(&r->watch, loop, r->fd, HTH_READABLE, on_watch, r, err);
	if (status == HTH_OK)
		status = start_child(r, options, fds, n_fds, err);
	for (size_t i = HTH_RUNNER_FIRST_FILE; i < n_fds; i++)
		close(fds[i]);
	if (pair[1] >= 0)
		close(pair[1]);
	if (status != HTH_OK) {
		hth_runner_destroy(r);
		return status;
	}
	r->pid = hth_child_pid(r->child);
	*ret_runner = r;
	return HTH_OK;
}

/* ---- what others may know ---- */

const hth_runner_info *hth_runner_get_info(const hth_runner *r) { return r->ready ? &r->info : NULL; }
const char *hth_runner_name(const hth_runner *r) { return r->name; }
pid_t hth_runner_pid(const hth_runner *r) { return r->pid; }
size_t hth_runner_active(const hth_runner *r) { return r->n_active; }

uint64_t hth_runner_memory_bytes(const hth_runner *r)
{
	if (r->gone)
		return 0;
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/statm", (long)r->pid);
	FILE *f = fopen(path, "re");
	unsigned long long total = 0, resident = 0;
	if (f != NULL) {
		if (fscanf(f, "%llu %llu", &total, &resident) != 2)
			resident = 0;
		fclose(f);
	}
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
