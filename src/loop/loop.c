/* loop.c - the loop itself, watched descriptors, timers and signals: thin clothes over libuv, whose types stay in this folder.
 *
 * Every handle here is one allocation that begins with its libuv handle. Closing it marks it closed (so that no callback
 * passes any more) and hands the memory to libuv, which gives it back one turn later. Refuses: handles left open at the end
 * (hth_loop_destroy returns false, and then leaks the loop on purpose: freeing it under open handles would be worse).
 * Thread: the loop's own.
 */
#include "loop/loop-internal.h"

#include "base/clock.h"

#include <stdlib.h>

/* How long destroy waits for children that it has killed: they die at once unless the kernel holds them in a system call. */
enum { DYING_WAIT_MS = 5000 };

hth_status hth_fail_uv(hth_error *err, int code, const char *what)
{
	return hth_fail(err, code == UV_ENOMEM ? HTH_NO_MEMORY : HTH_IO, "%s: %s", what, uv_strerror(code));
}

hth_status hth_loop_create(hth_loop **ret_loop, hth_error *err)
{
	hth_loop *loop = calloc(1, sizeof *loop);
	if (loop == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for an event loop");
	int rc = uv_loop_init(&loop->uv);
	if (rc != 0) {
		free(loop);
		return hth_fail_uv(err, rc, "cannot make an event loop");
	}
	*ret_loop = loop;
	return HTH_OK;
}

bool hth_loop_destroy(hth_loop *loop)
{
	if (loop == NULL)
		return true;
	uint64_t until = hth_clock_ms() + DYING_WAIT_MS;
	/* One turn that does not wait runs every pending close; killed children need a few more, with a little patience. */
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	while (loop->n_dying > 0 && hth_clock_ms() < until) {
		uv_sleep(1);
		uv_run(&loop->uv, UV_RUN_NOWAIT);
	}
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	if (uv_loop_close(&loop->uv) != 0)
		return false;
	hth_mailbox_free_all(loop);
	free(loop);
	return true;
}

void hth_loop_run(hth_loop *loop) { uv_run(&loop->uv, UV_RUN_DEFAULT); }
bool hth_loop_run_once(hth_loop *loop, bool wait) { return uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0; }
void hth_loop_stop(hth_loop *loop) { uv_stop(&loop->uv); }

/* All handles below begin with their libuv handle, so one callback frees them. */
static void on_closed_free(uv_handle_t *handle) { free(handle); }

struct hth_watch {
	uv_poll_t uv;
	hth_watch_fn fn;
	void *ctx;
	unsigned events;
	bool closed;
};

static void on_poll(uv_poll_t *uv, int status, int uv_events)
{
	hth_watch *watch = (hth_watch *)uv;
	if (watch->closed || watch->events == 0)
		return;
	unsigned events;
	if (status != 0) {
		/* libuv has stopped polling: the descriptor is in error (for a pipe or socket: its peer is gone). Whoever
		 * reads or writes it next gets the errno. */
		events = watch->events | HTH_HANGUP;
		watch->events = 0;
	} else {
		events = (uv_events & UV_READABLE ? HTH_READABLE : 0) | (uv_events & UV_WRITABLE ? HTH_WRITABLE : 0) |
		         (uv_events & UV_DISCONNECT ? HTH_HANGUP : 0);
	}
	watch->fn(watch->ctx, events);
}

hth_status hth_watch_open(hth_watch **ret_watch, hth_loop *loop, int fd, unsigned events, hth_watch_fn fn, void *ctx,
                          hth_error *err)
{
	hth_watch *watch = calloc(1, sizeof *watch);
	if (watch == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to watch a descriptor");
	int rc = uv_poll_init(&loop->uv, &watch->uv, fd);
	if (rc != 0) {
		free(watch);
		return hth_fail_uv(err, rc, "cannot watch a descriptor");
	}
	watch->fn = fn;
	watch->ctx = ctx;
	hth_watch_set(watch, events);
	*ret_watch = watch;
	return HTH_OK;
}

void hth_watch_set(hth_watch *watch, unsigned events)
{
	if (watch->events == events)
		return;
	watch->events = events;
	if (events == 0) {
		uv_poll_stop(&watch->uv);
		return;
	}
	uv_poll_start(&watch->uv,
	              (events & HTH_READABLE ? UV_READABLE : 0) | (events & HTH_WRITABLE ? UV_WRITABLE : 0) |
	                  (events & HTH_HANGUP ? UV_DISCONNECT : 0),
	              on_poll);
}

void hth_watch_close(hth_watch *watch)
{
	if (watch == NULL)
		return;
	watch->closed = true;
	uv_close((uv_handle_t *)&watch->uv, on_closed_free);
}

struct hth_timer {
	uv_timer_t uv;
	hth_timer_fn fn;
	void *ctx;
	bool closed;
};

static void on_timer(uv_timer_t *uv)
{
	hth_timer *timer = (hth_timer *)uv;
	if (!timer->closed)
		timer->fn(timer->ctx);
}

hth_status hth_timer_open(hth_timer **ret_timer, hth_loop *loop, hth_timer_fn fn, void *ctx, hth_error *err)
{
	hth_timer *timer = calloc(1, sizeof *timer);
	if (timer == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a timer");
	uv_timer_init(&loop->uv, &timer->uv); /* cannot fail */
	timer->fn = fn;
	timer->ctx = ctx;
	*ret_timer = timer;
	return HTH_OK;
}

void hth_timer_start(hth_timer *timer, uint64_t after_ms, uint64_t repeat_ms)
{
	/* libuv counts from the clock it read at the start of this turn; a callback that took long would shorten the wait. */
	uv_update_time(timer->uv.loop);
	uv_timer_start(&timer->uv, on_timer, after_ms, repeat_ms);
}

void hth_timer_stop(hth_timer *timer) { uv_timer_stop(&timer->uv); }

void hth_timer_close(hth_timer *timer)
{
	if (timer == NULL)
		return;
	timer->closed = true;
	uv_close((uv_handle_t *)&timer->uv, on_closed_free);
}

struct hth_signal {
	uv_signal_t uv;
	hth_signal_fn fn;
	void *ctx;
	bool closed;
};

static void on_signal(uv_signal_t *uv, int signum)
{
	hth_signal *signal = (hth_signal *)uv;
	if (!signal->closed)
		signal->fn(signal->ctx, signum);
}

hth_status hth_signal_open(hth_signal **ret_signal, hth_loop *loop, int signum, hth_signal_fn fn, void *ctx, hth_error *err)
{
	hth_signal *signal = calloc(1, sizeof *signal);
	if (signal == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a signal handler");
	int rc = uv_signal_init(&loop->uv, &signal->uv);
	if (rc != 0) {
		free(signal);
		return hth_fail_uv(err, rc, "cannot wait for a signal");
	}
	signal->fn = fn;
	signal->ctx = ctx;
	rc = uv_signal_start(&signal->uv, on_signal, signum);
	if (rc != 0) {
		hth_signal_close(signal);
		return hth_fail_uv(err, rc, "cannot wait for a signal");
	}
	*ret_signal = signal;
	return HTH_OK;
}

void hth_signal_close(hth_signal *signal)
{
	if (signal == NULL)
		return;
	signal->closed = true;
	uv_close((uv_handle_t *)&signal->uv, on_closed_free);
}
