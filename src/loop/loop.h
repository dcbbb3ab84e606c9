/* loop.h - the one event loop of the daemon (libuv hidden): watched descriptors, timers, child processes, signals, and
 * the mailbox through which other threads hand work to it.
 *
 * Everything here is called on the loop's thread, except hth_mailbox_post. Callbacks never run inside the call that asked for
 * them. Handles are freed by their close functions, which take NULL; after close returns no callback of that handle runs
 * any more. hth_loop_destroy fails loudly (returns false, the loop lives on) when a handle was left open: a free test of clean
 * shutdown. Open watches, timers that are started, signals, mailboxes and running children keep hth_loop_run going.
 */
#ifndef HTH_LOOP_LOOP_H
#define HTH_LOOP_LOOP_H

#include "base/status.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct hth_loop hth_loop;
HTH_MUST_USE hth_status hth_loop_create(hth_loop **ret_loop, hth_error *err);
bool hth_loop_destroy(hth_loop *loop); /* runs pending closes; false: handles were still open */
void hth_loop_run(hth_loop *loop);     /* until hth_loop_stop, or nothing is left to wait for */
bool hth_loop_run_once(hth_loop *loop, bool wait); /* one turn; false: nothing is left to wait for */
void hth_loop_stop(hth_loop *loop);

/* Watches a descriptor that stays owned by the caller (close the watch before the descriptor) and becomes non-blocking. One
 * watch per descriptor. Level-triggered: fn is called again while the condition holds. A descriptor in error (its peer is
 * gone) is told once with every event asked for and HTH_HANGUP, and the watch is then paused. */
enum { HTH_READABLE = 1, HTH_WRITABLE = 2, HTH_HANGUP = 4 };
typedef struct hth_watch hth_watch;
typedef void (*hth_watch_fn)(void *ctx, unsigned events);
HTH_MUST_USE hth_status hth_watch_open(hth_watch **ret_watch, hth_loop *loop, int fd, unsigned events, hth_watch_fn fn,
                                       void *ctx, hth_error *err);
void hth_watch_set(hth_watch *watch, unsigned events); /* 0 pauses */
void hth_watch_close(hth_watch *watch);

typedef struct hth_timer hth_timer;
typedef void (*hth_timer_fn)(void *ctx);
HTH_MUST_USE hth_status hth_timer_open(hth_timer **ret_timer, hth_loop *loop, hth_timer_fn fn, void *ctx, hth_error *err);
void hth_timer_start(hth_timer *timer, uint64_t after_ms, uint64_t repeat_ms); /* repeat 0: once; restarts */
void hth_timer_stop(hth_timer *timer);
void hth_timer_close(hth_timer *timer);

/* A child process with this one's environment, default signal dispositions and mask. argv[0] is the program's path. fds[i]
 * becomes descriptor i of the child (-1: /dev/null); all else is closed. exit_status is -1 when term_signal is not 0. The
 * callback runs once; close after it (or before: kills). */
typedef struct hth_child hth_child;
typedef void (*hth_child_fn)(void *ctx, int exit_status, int term_signal);
HTH_MUST_USE hth_status hth_child_start(hth_child **ret_child, hth_loop *loop, const char *const argv[], const int *fds,
                                        size_t n_fds, hth_child_fn fn, void *ctx, hth_error *err);
pid_t hth_child_pid(const hth_child *child);
void hth_child_signal(hth_child *child, int signum);
void hth_child_close(hth_child *child); /* SIGKILL when still running; reaped by the loop */

typedef struct hth_signal hth_signal;
typedef void (*hth_signal_fn)(void *ctx, int signum);
HTH_MUST_USE hth_status hth_signal_open(hth_signal **ret_signal, hth_loop *loop, int signum, hth_signal_fn fn, void *ctx,
                                        hth_error *err);
void hth_signal_close(hth_signal *signal);

/* Any thread posts; fn runs on the loop's thread, in order of posting. Posts left at close are dropped (their mail stays the
 * poster's). A post after close returns false; it must not come after hth_loop_destroy. */
typedef struct hth_mailbox hth_mailbox;
typedef void (*hth_mail_fn)(void *ctx, void *mail);
HTH_MUST_USE hth_status hth_mailbox_open(hth_mailbox **ret_mailbox, hth_loop *loop, hth_mail_fn fn, void *ctx,
                                         hth_error *err);
bool hth_mailbox_post(hth_mailbox *mailbox, void *mail); /* false: no memory, or closing */
void hth_mailbox_close(hth_mailbox *mailbox);

#endif
