/* extract-host.c - the daemon's side of the extractor: the queue, the children, their limits, and what becomes of a job whose child died.
 *
 * A slot is one child and the job that it reads. Slots 0 to n_workers-1 take TEXT and RENDER, the last one OCR. Children start when there
 * is work, end after IDLE_MS without any or when they say that they want to (memory that libraries did not give back), and are killed
 * when a file takes too long. A job whose child dies is tried once more in a fresh child if that child had read other files before
 * (they may be to blame) or was killed from outside; otherwise what it told so far counts as a part, or the file is unreadable.
 *
 * Callbacks may cancel jobs and destroy the extractor: `depth` counts who is inside, and the memory goes when the last one leaves; the
 * pump (a timer at 0 ms) starts jobs, so that submit calls nobody back. Thread: the loop's.
 */
#include "extract/extract-host.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	READ_BYTES = 64 << 10,
	READS_PER_TURN = 8,
	TICK_MS = 200,
	IDLE_MS = 30000,
	JOBS_PER_CHILD = 400, /* then a fresh one: libraries leak */
	START_MS = 120000,
	WALL_FACTOR = 30, /* a busy machine must not be held against a file; only what waits for ever must end */
	STARTS_MAX = 3, /* children in a row that died before they were ready */
};

/* ---- the queue ---- */

static void push_job(hth_extractor *x, hth_extract_job *job)
{
	hth_extract_job **at = job->order.mode == HTH_EXTRACT_MODE_OCR ? &x->ocr : &x->text;
	while (*at != NULL && (*at)->rank <= job->rank)
		at = &(*at)->next;
	job->next = *at;
	*at = job;
	x->n_waiting++;
}

static hth_extract_job *pop_job(hth_extractor *x, bool ocr)
{
	hth_extract_job **head = ocr ? &x->ocr : &x->text, *job = *head;
	if (job != NULL) {
		*head = job->next;
		job->next = NULL;
		x->n_waiting--;
	}
	return job;
}

static void free_job(hth_extract_job *job)
{
	if (job == NULL)
		return;
	if (job->fd >= 0)
		close(job->fd);
	hth_buf_finish(&job->png);
	free(job);
}

static bool file_changed(const hth_extract_job *job)
{
	struct stat st;
	return fstat(job->fd, &st) != 0 || st.st_size != job->st.st_size || st.st_mtim.tv_sec != job->st.st_mtim.tv_sec ||
	       st.st_mtim.tv_nsec != job->st.st_mtim.tv_nsec;
}

/* The job is in no list any more. Calls its end; x may be destroyed by it. */
static void end_job(hth_extractor *x, hth_extract_job *job, hth_extract_result result)
{
	x->n_ended++;
	result.part = 0;
	if (!result.cancelled && file_changed(job)) {
		result.changed = true;
		if (result.reason == NULL || result.reason[0] == '\0')
			result.reason = "changed while it was read; it will be read again";
	}
	if (result.reason == NULL)
		result.reason = "";
	if (!job->cancelled)
		job->sink.end(job->ctx, &result);
	free_job(job);
}

typedef enum fault {
	FAULT_FILE,
	FAULT_NOBODY, /* it was not begun, or we stop */
	FAULT_KILLER,
} fault;

static void end_job_why(hth_extractor *x, hth_extract_job *job, fault whose, const char *fmt, ...) HTH_PRINTF(4, 5);
static void end_job_why(hth_extractor *x, hth_extract_job *job, fault whose, const char *fmt, ...)
{
	hth_error why;
	va_list args;
	va_start(args, fmt);
	hth_failv(&why, HTH_GONE, fmt, args);
	va_end(args);
	why.message[HTH_EXTRACT_REASON_MAX - 1 - hth_utf8_incomplete_suffix(why.message, HTH_EXTRACT_REASON_MAX - 1)] = '\0';
	/* What was told counts, unless it is a render, which is whole or nothing. */
	bool part = whose != FAULT_NOBODY && job->n_blocks > 0 && job->order.mode != HTH_EXTRACT_MODE_RENDER;
	end_job(x, job,
	        (hth_extract_result){.state = part ? HTH_EXTRACT_TEXT : HTH_EXTRACT_UNREADABLE,
	                             .partial = part,
	                             .cancelled = whose == FAULT_NOBODY,
	                             .killed = whose == FAULT_KILLER,
	                             .reason = why.message});
}

/* ---- children ---- */

static uint64_t cpu_ns(const slot *s)
{
	clockid_t clock;
	struct timespec t;
	if (s->child == NULL || clock_getcpuclockid(hth_child_pid(s->child), &clock) != 0 || clock_gettime(clock, &t) != 0)
		return s->cpu_last_ns;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void close_child(slot *s)
{
	hth_watch_close(s->watch);
	s->watch = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	hth_child_close(s->child); /* SIGKILL, which also ends one that is stopped */
	s->child = NULL;
	hth_frame_decoder_finish(&s->decoder);
	s->ready = s->stopped = false;
	s->n_jobs = 0;
	s->cpu_last_ns = 0;
}

static void on_watch(void *ctx, unsigned events);
static void on_exited(void *ctx, int exit_status, int term_signal);

static hth_status start_child(slot *s, hth_error *err)
{
	hth_extractor *x = s->x;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make a socket pair for the extractor");
	s->fd = pair[0];
	hth_framing_decoder_init(&s->decoder, &hth_extract_frames, HTH_TO_DAEMON);
	char memory[24], version[8];
	snprintf(memory, sizeof memory, "%llu", (unsigned long long)x->memory_bytes);
	snprintf(version, sizeof version, "%d", HTH_EXTRACT_FRAMES_VERSION);
	const char *argv[] = {x->program, version, s->ocr ? "ocr" : "text", memory, x->languages, x->foreground ? "0" : s->ocr ? "19" : "5",
	                      NULL};
	int fds[] = {-1, -1, HTH_SANITIZED || getenv("HEARTH_EXTRACT_STDERR") != NULL ? 2 : -1, pair[1]};
	_Static_assert(HTH_EXTRACT_SOCKET == 3, "the socket's place in fds");
	hth_status status = hth_watch_open(&s->watch, x->loop, s->fd, HTH_READABLE, on_watch, s, err);
	if (status == HTH_OK)
		status = hth_child_start(&s->child, x->loop, argv, fds, HTH_COUNT(fds), on_exited, s, err);
	close(pair[1]);
	s->started_ms = s->idle_since_ms = hth_clock_ms();
	if (status != HTH_OK)
		close_child(s);
	return status;
}

/* One frame with the file's descriptor beside it. The child has read all that came before, so the socket has room. */
static bool send_job(slot *s)
{
	hth_buf frame = HTH_BUF_INIT(64 << 10);
	bool ok = hth_extract_put_order(&frame, s->job->id, &s->job->order);
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = frame.data, .iov_len = frame.len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &s->job->fd, sizeof(int));
	ok = ok && sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)frame.len;
	hth_buf_finish(&frame);
	return ok;
}

static void set_stopped(slot *s, bool stop)
{
	if (s->child == NULL || s->stopped == stop)
		return;
	hth_child_signal(s->child, stop ? SIGSTOP : SIGCONT);
	s->stopped = stop;
	if (!stop)
		s->tick_ms = hth_clock_ms();
}

static void begin_job(slot *s)
{
	hth_extract_job *job = s->job;
	s->cpu_begin_ns = s->cpu_limit_from_ns = s->cpu_last_ns = cpu_ns(s);
	s->wall_ms = 0;
	s->tick_ms = hth_clock_ms();
	s->extra_ms = 0;
	job->n_blocks = 0;
	job->text_bytes = 0;
	job->n_pages_told = 0;
	job->next_part = 0;
	job->depth = 0;
	job->meta_told = false;
	hth_buf_clear(&job->png);
	s->sent = true;
	if (!send_job(s))
		hth_child_signal(s->child, SIGKILL); /* its end tells what becomes of the job */
}

typedef enum blame {
	BLAME_FILE,    /* the file it read, or one before it */
	BLAME_LIMIT,   /* the file, surely: it took too long */
	BLAME_OUTSIDE, /* killed by somebody else: the kernel short of memory, a person */
} blame;

/* The child is gone or must go, with the job in its hands. `why` is for people. */
static void lose_child(slot *s, blame by, const char *why)
{
	hth_extractor *x = s->x;
	hth_extract_job *job = s->job;
	bool had_others = s->n_jobs > 0, was_ready = s->ready, was_sent = s->sent;
	x->n_restarts++;
	s->job = NULL;
	s->sent = false;
	if (job != NULL && was_sent)
		x->cpu_ns += cpu_ns(s) - s->cpu_begin_ns;
	close_child(s);
	s->n_bad_starts = was_ready ? 0 : s->n_bad_starts + 1;
	if (job == NULL)
		return;
	bool again = !was_sent ? s->n_bad_starts < STARTS_MAX
	                       : job->tries == 0 && (by == BLAME_OUTSIDE || (by == BLAME_FILE && had_others));
	if (job->cancelled) {
		free_job(job);
	} else if (again) {
		job->tries += was_sent;
		job->rank = 0; /* it was at the front already */
		if (was_sent && job->told && job->sink.restart != NULL)
			job->sink.restart(job->ctx);
		job->told = false;
		if (job->cancelled || x->destroyed)
			free_job(job);
		else
			push_job(x, job);
	} else if (!was_sent) { /* killed from outside: nobody's fault, and it may start later */
		end_job_why(x, job, by == BLAME_OUTSIDE ? FAULT_NOBODY : FAULT_FILE, "the extractor cannot start: %s", why);
	} else {
		end_job_why(x, job, by == BLAME_OUTSIDE ? FAULT_KILLER : FAULT_FILE, "%s%s",
		            job->n_blocks > 0 ? "only a part was read: " : "", why);
	}
}

/* ---- what the child says ---- */

static hth_status on_page(slot *s, const hth_frame *frame, hth_error *err)
{
	uint32_t part, page;
	hth_extract_job *job = s->job;
	HTH_TRY(hth_extract_get_page(frame, &part, &page, err));
	if (!hth_extract_is_open(job, part) || ++job->n_pages_told > 4 * HTH_EXTRACT_PAGES_MAX)
		return hth_extract_out_of_place(frame, err);
	if (job->order.mode == HTH_EXTRACT_MODE_OCR) { /* limits are for a page */
		s->cpu_limit_from_ns = cpu_ns(s);
		s->wall_ms = 0;
	} else { /* a long document gets longer: a quarter second a page with the usual limit */
		s->extra_ms += (uint64_t)s->x->seconds * 1000 / 240;
	}
	return HTH_OK;
}

static hth_status on_end(slot *s, const hth_frame *frame, hth_error *err)
{
	hth_extractor *x = s->x;
	hth_extract_job *job = s->job;
	hth_extract_result result;
	bool retire;
	HTH_TRY(hth_extract_get_result(frame, &x->scratch, &result, &retire, err));
	bool render = job->order.mode == HTH_EXTRACT_MODE_RENDER;
	if (result.part != 0 || job->depth != 1 || (render && result.state == HTH_EXTRACT_TEXT && job->png.len == 0))
		return hth_extract_out_of_place(frame, err);
	uint64_t now = cpu_ns(s);
	x->cpu_ns += now - s->cpu_begin_ns;
	s->cpu_last_ns = now;
	s->n_jobs++;
	s->job = NULL;
	s->sent = false;
	s->idle_since_ms = hth_clock_ms();
	if (retire || s->n_jobs >= JOBS_PER_CHILD)
		close_child(s);
	if (render && result.state == HTH_EXTRACT_TEXT && job->sink.png != NULL && !job->cancelled)
		job->sink.png(job->ctx, job->png.data, job->png.len);
	if (x->destroyed)
		free_job(job);
	else
		end_job(x, job, result);
	return HTH_OK;
}

static hth_status on_frame(slot *s, const hth_frame *frame, hth_error *err)
{
	hth_extractor *x = s->x;
	hth_extract_job *job = s->job;
	unsigned abi;
	if (frame->type == HTH_EXTRACT_FRAME_READY && !s->ready) {
		HTH_TRY(hth_extract_get_ready(frame, &abi, err));
		s->ready = true;
		s->n_bad_starts = 0;
		if (job != NULL)
			begin_job(s);
		return HTH_OK;
	}
	if (frame->type == HTH_EXTRACT_FRAME_BROKEN && !s->ready) {
		HTH_TRY(hth_extract_get_broken(frame, &s->broken, err));
		return HTH_OK;
	}
	if (job == NULL || !s->sent || frame->request != job->id)
		return hth_extract_out_of_place(frame, err);
	switch (frame->type) {
	case HTH_EXTRACT_FRAME_PAGE: return on_page(s, frame, err);
	case HTH_EXTRACT_FRAME_END: return on_end(s, frame, err);
	default: return hth_extract_hear(x, job, frame, err);
	}
}

static void enter(hth_extractor *x) { x->depth++; }
static void leave(hth_extractor *x)
{
	if (--x->depth == 0 && x->destroyed) {
		hth_extract_scratch_finish(&x->scratch);
		free(x);
	} else if (!x->destroyed) {
		hth_timer_start(x->pump, 0, 0);
	}
}

/* One read and the frames in it. False: nothing more to read now, or ever. */
static bool read_some(slot *s)
{
	char bytes[READ_BYTES];
	hth_child *child = s->child;
	ssize_t n = s->fd >= 0 ? recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT) : 0;
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) { /* it ended, or closed its end: on_exited follows */
		if (s->watch != NULL)
			hth_watch_set(s->watch, 0);
		if (s->child != NULL)
			hth_child_signal(s->child, SIGKILL);
		return false;
	}
	hth_error err = HTH_ERROR_INIT;
	hth_status status = hth_frame_decoder_feed(&s->decoder, bytes, (size_t)n, &err);
	explicit_bzero(bytes, (size_t)n);
	/* A callback may cancel the job, which closes the child, or destroy everything. */
	while (status == HTH_OK && !s->x->destroyed && s->child == child && child != NULL) {
		hth_frame frame;
		bool have;
		status = hth_frame_decoder_next(&s->decoder, &frame, &have, &err);
		if (status != HTH_OK || !have)
			break;
		status = on_frame(s, &frame, &err);
	}
	bool same = !s->x->destroyed && s->child == child && child != NULL;
	if (same && status != HTH_OK) {
		char why[HTH_ERROR_MAX];
		snprintf(why, sizeof why, "the reader went wrong on it (%.200s)", err.message);
		lose_child(s, BLAME_FILE, why);
	}
	return same && status == HTH_OK;
}

static void on_watch(void *ctx, unsigned events)
{
	slot *s = ctx;
	hth_extractor *x = s->x;
	enter(x);
	if (events & (HTH_READABLE | HTH_HANGUP))
		for (int i = 0; i < READS_PER_TURN && read_some(s); i++)
			;
	leave(x);
}

static void on_exited(void *ctx, int exit_status, int term_signal)
{
	slot *s = ctx;
	hth_extractor *x = s->x;
	hth_child *child = s->child;
	enter(x);
	while (!x->destroyed && s->child == child && read_some(s))
		; /* what it said before it died counts */
	if (!x->destroyed && s->child == child) {
		char why[HTH_ERROR_MAX];
		if (s->broken.status != HTH_OK)
			snprintf(why, sizeof why, "%s", s->broken.message);
		else if (exit_status == HTH_EXTRACT_EXIT_MEMORY)
			snprintf(why, sizeof why, "needs more than %llu MiB of memory to read",
			         (unsigned long long)(x->memory_bytes >> 20));
		else if (term_signal == SIGKILL)
			snprintf(why, sizeof why, "its reader was killed twice; perhaps the machine ran out of memory");
		else if (term_signal != 0)
			snprintf(why, sizeof why, "damaged: its reader crashed (%s)", strsignal(term_signal));
		else if (!s->ready)
			snprintf(why, sizeof why, "%.300s ended with exit code %d before it was ready", x->program, exit_status);
		else
			snprintf(why, sizeof why, "damaged: its reader gave up (exit code %d)", exit_status);
		bool idle = s->job == NULL;
		if (idle) /* nobody's file: it retired */
			close_child(s);
		else
			lose_child(s, term_signal == SIGKILL ? BLAME_OUTSIDE : BLAME_FILE, why);
	}
	leave(x);
}

/* ---- time ---- */

static void check_limits(slot *s)
{
	hth_extractor *x = s->x;
	uint64_t now = hth_clock_ms();
	if (s->child == NULL || s->stopped)
		return;
	if (s->job == NULL) {
		if (now - s->idle_since_ms > IDLE_MS)
			close_child(s);
		return;
	}
	if (!s->ready) {
		if (now - s->started_ms > START_MS)
			lose_child(s, BLAME_LIMIT, "it was not ready after two minutes");
		return;
	}
	s->wall_ms += HTH_MIN(now - s->tick_ms, (uint64_t)1000); /* a machine that slept must not be held against a file */
	s->tick_ms = now;
	s->cpu_last_ns = cpu_ns(s);
	uint64_t limit_ms = (uint64_t)x->seconds * 1000 + HTH_MIN(s->extra_ms, (uint64_t)x->seconds * 20000);
	bool cpu = s->cpu_last_ns - s->cpu_limit_from_ns > limit_ms * 1000000, wall = s->wall_ms > limit_ms * WALL_FACTOR;
	if (!cpu && !wall)
		return;
	char why[128];
	snprintf(why, sizeof why, "%s took longer than %llu s", s->job->order.mode == HTH_EXTRACT_MODE_OCR ? "reading a page"
	         : "reading it", (unsigned long long)(cpu ? limit_ms : limit_ms * WALL_FACTOR) / 1000);
	lose_child(s, BLAME_LIMIT, why);
}

static void on_tick(void *ctx)
{
	hth_extractor *x = ctx;
	enter(x);
	bool any = false;
	for (size_t i = 0; i < x->n_slots && !x->destroyed; i++) {
		check_limits(&x->slots[i]);
		any = any || (!x->destroyed && x->slots[i].child != NULL);
	}
	if (!any && !x->destroyed) {
		hth_timer_stop(x->tick);
		x->ticking = false;
	}
	leave(x);
}

static void on_pump(void *ctx)
{
	hth_extractor *x = ctx;
	enter(x);
	bool stuck = false;
	for (size_t i = 0; i < x->n_slots && !x->destroyed; i++) {
		slot *s = &x->slots[i];
		if (s->job != NULL || (s->ocr && x->paused))
			continue;
		hth_extract_job *job = pop_job(x, s->ocr);
		if (job == NULL)
			continue;
		if ((uint64_t)job->st.st_size > x->file_bytes_max) {
			end_job_why(x, job, FAULT_FILE, "too large: %llu MiB, more than %llu", (unsigned long long)job->st.st_size >> 20,
			            (unsigned long long)x->file_bytes_max >> 20);
			stuck = true;
			continue;
		}
		s->job = job;
		s->sent = false;
		if (s->child == NULL) {
			s->broken = HTH_ERROR_INIT;
			hth_error err = HTH_ERROR_INIT;
			if (start_child(s, &err) != HTH_OK) {
				s->job = NULL;
				end_job_why(x, job, FAULT_FILE, "the extractor cannot start: %s", err.message);
				stuck = true;
				continue;
			}
		} else if (s->ready) {
			begin_job(s);
		}
		if (!x->ticking) {
			hth_timer_start(x->tick, TICK_MS, TICK_MS);
			x->ticking = true;
		}
	}
	x->depth--; /* not leave(): the pump must not wake itself for ever */
	if (x->destroyed) {
		x->depth++;
		leave(x);
	} else if (stuck) {
		hth_timer_start(x->pump, 0, 0);
	}
}

/* ---- the public part ---- */

hth_status hth_extractor_create(hth_extractor **ret_extractor, hth_loop *loop, const hth_extractor_options *options, hth_error *err)
{
	hth_extractor *x = calloc(1, sizeof *x);
	if (x == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for an extractor");
	x->loop = loop;
	x->foreground = options->foreground;
	x->memory_bytes = options->memory_bytes ? options->memory_bytes : (uint64_t)1 << 30;
	x->seconds = options->seconds ? HTH_MIN(options->seconds, 3600u) : 60;
	x->file_bytes_max = options->file_bytes_max ? options->file_bytes_max : (uint64_t)2 << 30;
	snprintf(x->languages, sizeof x->languages, "%s", options->languages != NULL ? options->languages : "");
	x->n_slots = HTH_MIN(options->n_workers ? options->n_workers : 1u, (unsigned)SLOTS_MAX - 1) + 1;
	for (size_t i = 0; i < x->n_slots; i++)
		x->slots[i] = (slot){.x = x, .fd = -1, .ocr = i + 1 == x->n_slots};
	hth_extract_scratch_init(&x->scratch);
	hth_status status = hth_extract_find_program(x->program, sizeof x->program, options->program, err);
	if (status == HTH_OK)
		status = hth_timer_open(&x->pump, loop, on_pump, x, err);
	if (status == HTH_OK)
		status = hth_timer_open(&x->tick, loop, on_tick, x, err);
	if (status != HTH_OK) {
		hth_extractor_destroy(x);
		return status;
	}
	*ret_extractor = x;
	return HTH_OK;
}

void hth_extractor_destroy(hth_extractor *x)
{
	if (x == NULL || x->destroyed)
		return;
	enter(x);
	x->destroyed = true;
	hth_timer_close(x->pump);
	hth_timer_close(x->tick);
	for (size_t i = 0; i < x->n_slots; i++) {
		slot *s = &x->slots[i];
		hth_extract_job *job = s->job;
		s->job = NULL;
		close_child(s);
		if (job != NULL)
			end_job_why(x, job, FAULT_NOBODY, "reading it was stopped");
	}
	for (int ocr = 0; ocr < 2; ocr++)
		for (hth_extract_job *job; (job = pop_job(x, ocr)) != NULL;)
			end_job_why(x, job, FAULT_NOBODY, "reading it was stopped");
	leave(x);
}

hth_status hth_extractor_submit(hth_extractor *x, int fd, const hth_extract_ask *ask, const hth_extract_sink *sink, void *ctx,
                                hth_extract_job **ret_job, hth_error *err)
{
	hth_extract_job *job = calloc(1, sizeof *job);
	if (job == NULL) {
		close(fd);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for one more file to read");
	}
	*job = (hth_extract_job){.fd = fd, .sink = *sink, .ctx = ctx, .png = HTH_BUF_INIT(HTH_EXTRACT_PNG_MAX)};
	hth_status status = x->destroyed ? hth_fail(err, HTH_GONE, "the extractor is ending") : hth_extract_check_ask(x, ask, job, err);
	if (status != HTH_OK) {
		free_job(job);
		return status;
	}
	if (++x->last_id == 0)
		x->last_id = 1;
	job->id = x->last_id;
	job->rank = ask->mode == HTH_EXTRACT_MODE_RENDER ? 1 : ask->urgent ? 2 : 3;
	push_job(x, job);
	if (x->depth == 0)
		hth_timer_start(x->pump, 0, 0);
	if (ret_job != NULL)
		*ret_job = job;
	return HTH_OK;
}

void hth_extractor_cancel(hth_extractor *x, hth_extract_job *job)
{
	job->cancelled = true;
	for (size_t i = 0; i < x->n_slots; i++)
		if (x->slots[i].job == job) {
			slot *s = &x->slots[i];
			if (!s->sent) { /* its child is only starting: it serves the next one */
				s->job = NULL;
				s->idle_since_ms = hth_clock_ms();
			} else {
				s->job = NULL;
				s->sent = false;
				close_child(s);
			}
			free_job(job);
			if (x->depth == 0)
				hth_timer_start(x->pump, 0, 0);
			return;
		}
	for (int ocr = 0; ocr < 2; ocr++)
		for (hth_extract_job **at = ocr ? &x->ocr : &x->text; *at != NULL; at = &(*at)->next)
			if (*at == job) {
				*at = job->next;
				x->n_waiting--;
				free_job(job);
				return;
			}
	/* Neither: it is ending right now, and who holds it frees it. */
}

void hth_extractor_pause_ocr(hth_extractor *x, bool pause)
{
	x->paused = pause;
	for (size_t i = 0; i < x->n_slots; i++)
		if (x->slots[i].ocr && (x->slots[i].job != NULL || !pause))
			set_stopped(&x->slots[i], pause);
	if (!pause && x->depth == 0)
		hth_timer_start(x->pump, 0, 0);
}

void hth_extractor_get_counts(const hth_extractor *x, hth_extractor_counts *ret_counts)
{
	hth_extractor_counts c = {.ended = x->n_ended, .restarts = x->n_restarts, .cpu_seconds = (double)x->cpu_ns / 1e9};
	for (const hth_extract_job *job = x->text; job != NULL; job = job->next)
		c.waiting++;
	for (const hth_extract_job *job = x->ocr; job != NULL; job = job->next)
		c.waiting_ocr++;
	for (size_t i = 0; i < x->n_slots; i++)
		if (x->slots[i].job != NULL)
			*(x->slots[i].ocr ? &c.running_ocr : &c.running) += 1;
	*ret_counts = c;
}
