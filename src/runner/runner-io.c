/* runner-io.c - the runner's two helper threads and what lies between them and the scheduler.
 *
 *   socket ─> reader ─> asked ─> preparer ─> ready ─> scheduler (main thread) ─┐
 *     ^                             └────────> outbox <────────────────────────┘
 *     └──────────────────────────────────────────┘
 *
 * The reader only reads, so a cancellation is seen at once, whatever is being computed or tokenised. It ends the process when
 * the daemon is gone, has said quit, or does not follow the protocol. */
#include "runner/runner-child.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <poll.h>

enum { OUTBOX_MAX = 4 << 20, FLUSH_AT = 64 << 10, READ_BYTES = 64 << 10 };

_Noreturn void hth_child_exit(int code)
{
#if defined(__SANITIZE_THREAD__)
	exit(code); /* prints its summary and sets its exit code */
#else
	_exit(code);
#endif
}

/* ---- outbox ---- */

void hth_outbox_init(hth_outbox *outbox, int fd)
{
	*outbox = (hth_outbox){.buf = HTH_BUF_INIT(OUTBOX_MAX), .fd = fd};
	pthread_mutex_init(&outbox->lock, NULL);
}

static void flush_locked(hth_outbox *outbox)
{
	size_t at = 0;
	while (at < outbox->buf.len) {
		ssize_t n = write(outbox->fd, outbox->buf.data + at, outbox->buf.len - at);
		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){.fd = outbox->fd, .events = POLLOUT}, 1, -1);
			continue;
		}
		hth_child_exit(0); /* the daemon has closed its end: nobody is left to answer to */
	}
	if (outbox->buf.data != NULL)
		explicit_bzero(outbox->buf.data, outbox->buf.len);
	hth_buf_clear(&outbox->buf);
}

bool hth_outbox_put(hth_outbox *outbox, bool (*put)(hth_buf *out, void *arg), void *arg)
{
	pthread_mutex_lock(&outbox->lock);
	bool ok = put(&outbox->buf, arg);
	if (!ok && outbox->buf.len > 0) { /* perhaps only the box was full */
		flush_locked(outbox);
		ok = put(&outbox->buf, arg);
	}
	if (outbox->buf.len > FLUSH_AT)
		flush_locked(outbox);
	pthread_mutex_unlock(&outbox->lock);
	return ok;
}

void hth_outbox_flush(hth_outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	flush_locked(outbox);
	pthread_mutex_unlock(&outbox->lock);
}

/* ---- queues ---- */

void hth_job_queue_init(hth_job_queue *queue)
{
	*queue = (hth_job_queue){.first = NULL};
	queue->last = &queue->first;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->more, NULL);
}

void hth_job_queue_push(hth_job_queue *queue, hth_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&queue->lock);
	*queue->last = job;
	queue->last = &job->next;
	pthread_cond_signal(&queue->more);
	pthread_mutex_unlock(&queue->lock);
}

hth_job *hth_job_queue_take(hth_job_queue *queue, bool wait)
{
	pthread_mutex_lock(&queue->lock);
	while (wait && queue->first == NULL)
		pthread_cond_wait(&queue->more, &queue->lock);
	hth_job *first = queue->first;
	queue->first = NULL;
	queue->last = &queue->first;
	pthread_mutex_unlock(&queue->lock);
	return first;
}

/* ---- jobs ---- */

void hth_child_free_job(hth_runner_child *child, hth_job *job)
{
	pthread_mutex_lock(&child->lock);
	for (size_t i = 0; i < child->n_jobs; i++)
		if (child->jobs[i] == job) {
			child->jobs[i] = child->jobs[--child->n_jobs];
			break;
		}
	pthread_mutex_unlock(&child->lock);
	hth_job_destroy(job);
}

typedef struct fail_message {
	uint32_t id;
	const hth_error *error;
} fail_message;
static bool put_fail(hth_buf *out, void *arg)
{
	const fail_message *m = arg;
	return hth_message_put_error(out, HTH_FRAME_FAIL, m->id, m->error);
}

void hth_child_fail(hth_runner_child *child, uint32_t id, const hth_error *error)
{
	hth_outbox_put(&child->outbox, put_fail, &(fail_message){id, error});
	hth_outbox_flush(&child->outbox);
}

/* ---- the reader ---- */

static void on_submit(hth_runner_child *child, const hth_frame *frame)
{
	hth_error err = HTH_ERROR_INIT;
	hth_ask ask = {0};
	if (hth_message_get_submit(frame, &ask, &err) != HTH_OK) {
		hth_child_fail(child, frame->request, &err);
		return;
	}
	hth_job *job = hth_job_create(frame->request, &ask, hth_clock_ns());
	if (job == NULL) {
		hth_ask_finish(&ask);
		hth_fail(&err, HTH_NO_MEMORY, "no memory for one more request");
		hth_child_fail(child, frame->request, &err);
		return;
	}
	pthread_mutex_lock(&child->lock);
	bool room = child->n_jobs < HTH_RUNNER_JOBS_MAX;
	for (size_t i = 0; i < child->n_jobs; i++)
		if (child->jobs[i]->id == job->id)
			hth_child_exit(3); /* a number twice: the daemon has lost count */
	if (room)
		child->jobs[child->n_jobs++] = job;
	pthread_mutex_unlock(&child->lock);
	if (room) {
		hth_job_queue_push(&child->asked, job);
		return;
	}
	hth_job_destroy(job);
	hth_fail(&err, HTH_BUSY, "%d requests wait already; try again later", HTH_RUNNER_JOBS_MAX);
	hth_child_fail(child, frame->request, &err);
}

static void on_cancel(hth_runner_child *child, uint32_t id)
{
	pthread_mutex_lock(&child->lock);
	for (size_t i = 0; i < child->n_jobs; i++) {
		hth_job *job = child->jobs[i];
		if (job->id != id)
			continue;
		if (child->scheduler != NULL)
			hth_scheduler_cancel(child->scheduler, job);
		else
			atomic_store(&job->cancelled, true);
		break;
	}
	pthread_mutex_unlock(&child->lock);
}

void *hth_child_reader(void *ctx)
{
	hth_runner_child *child = ctx;
	hth_frame_decoder decoder;
	hth_frame_decoder_init(&decoder, HTH_TO_RUNNER);
	static char bytes[READ_BYTES];
	for (;;) {
		ssize_t n = read(HTH_RUNNER_SOCKET, bytes, sizeof bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			hth_child_exit(0);
		hth_error err;
		if (hth_frame_decoder_feed(&decoder, bytes, (size_t)n, &err) != HTH_OK)
			hth_child_exit(3);
		explicit_bzero(bytes, (size_t)n);
		for (;;) {
			hth_frame frame;
			bool have;
			if (hth_frame_decoder_next(&decoder, &frame, &have, &err) != HTH_OK)
				hth_child_exit(3);
			if (!have)
				break;
			if (frame.type == HTH_FRAME_SUBMIT)
				on_submit(child, &frame);
			else if (frame.type == HTH_FRAME_CANCEL)
				on_cancel(child, frame.request);
			else
				hth_child_exit(0); /* quit */
		}
	}
}

/* ---- the preparer, and the answers that need no computing ---- */

typedef struct piece_message {
	uint32_t id;
	const hth_answer_piece *piece;
} piece_message;
static bool put_piece(hth_buf *out, void *arg)
{
	const piece_message *m = arg;
	return hth_message_put_piece(out, m->id, m->piece);
}
typedef struct piece_target {
	hth_runner_child *child;
	uint32_t id;
} piece_target;
static void send_piece(void *ctx, const hth_answer_piece *piece)
{
	piece_target *t = ctx;
	hth_outbox_put(&t->child->outbox, put_piece, &(piece_message){t->id, piece});
}

typedef struct tokens_message {
	uint32_t id;
	const int32_t *ids;
	size_t n;
	bool more;
} tokens_message;
static bool put_tokens(hth_buf *out, void *arg)
{
	const tokens_message *m = arg;
	return hth_message_put_tokens(out, m->id, m->ids, m->n, m->more);
}

typedef struct done_message {
	uint32_t id;
	const hth_done *done;
} done_message;
static bool put_done(hth_buf *out, void *arg)
{
	const done_message *m = arg;
	return hth_message_put_done(out, m->id, m->done);
}

/* The vocabulary's spelling of each token, one piece each; what is not UTF-8 there is shown as U+FFFD. */
static void send_spellings(hth_runner_child *child, const hth_job *job, const hth_tokenizer *tokenizer)
{
	hth_buf text = HTH_BUF_INIT(HTH_PIECE_TEXT_MAX);
	for (uint32_t i = 0; i < job->n_tokens; i++) {
		hth_view piece = hth_tokenizer_piece(tokenizer, job->tokens[i]);
		hth_buf_clear(&text);
		for (size_t at = 0; at < piece.len;) {
			uint32_t cp;
			char utf8[4];
			at += hth_utf8_decode_lossy(piece.data + at, piece.len - at, &cp);
			if (!hth_buf_append(&text, utf8, hth_utf8_encode(cp, utf8)))
				break;
		}
		hth_answer_piece answer = {.text = text.data != NULL ? text.data : "", .len = text.len, .n_tokens = 1};
		hth_outbox_put(&child->outbox, put_piece, &(piece_message){job->id, &answer});
	}
	hth_buf_finish(&text);
}

static bool put_prompt(hth_buf *out, void *arg)
{
	const hth_job *job = arg;
	return hth_message_put_prompt(out, job->id, job->prompt_tail, job->n_tokens);
}

static void answer_at_once(hth_runner_child *child, hth_job *job, const hth_tokenizer *tokenizer)
{
	if (job->ask.kind == HTH_TOKENIZE) {
		size_t at = 0;
		do {
			size_t n = HTH_MIN((size_t)HTH_TOKENS_FRAME_MAX, job->n_tokens - at);
			tokens_message m = {job->id, job->tokens + at, n, at + n < job->n_tokens};
			hth_outbox_put(&child->outbox, put_tokens, &m);
			at += n;
		} while (at < job->n_tokens);
		if (job->ask.input.with_pieces)
			send_spellings(child, job, tokenizer);
	} else {
		piece_target target = {child, job->id};
		hth_answer_split(job->echo, job->echo_len, send_piece, &target);
	}
	hth_done done = {.reason = HTH_FINISH_STOP,
	                 .stop = -1,
	                 .usage = {.prompt_tokens = job->n_tokens, .prefill_ns = hth_clock_ns() - job->received_ns}};
	hth_outbox_put(&child->outbox, put_done, &(done_message){job->id, &done});
	hth_outbox_flush(&child->outbox);
}

void *hth_child_preparer(void *ctx)
{
	hth_runner_child *child = ctx;
	for (;;) {
		hth_job *job = hth_job_queue_take(&child->asked, true);
		while (job != NULL) {
			hth_job *next = job->next;
			hth_error err = HTH_ERROR_INIT;
			hth_status status = atomic_load(&job->cancelled) ? HTH_CANCELLED : hth_prepare(child->preparer, job, &err);
			bool runs = job->ask.kind == HTH_CHAT || job->ask.kind == HTH_COMPLETION || job->ask.kind == HTH_EMBEDDING;
			if (status == HTH_OK && runs) {
				if (job->ask.kind == HTH_CHAT || job->ask.input.with_ids)
					hth_outbox_put(&child->outbox, put_prompt, job);
				hth_job_queue_push(&child->ready, job);
			} else {
				if (status == HTH_OK)
					answer_at_once(child, job, hth_preparer_tokenizer(child->preparer));
				else if (!atomic_load(&job->cancelled))
					hth_child_fail(child, job->id, &err);
				hth_child_free_job(child, job);
			}
			job = next;
		}
	}
}
