#include "base/clock.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

typedef struct seen {
	hth_loop *loop;
	hth_watch *watch;
	hth_timer *timer;
	hth_child *child;
	hth_mailbox *mailbox;
	unsigned calls, events;
	int exit_status, term_signal, fd;
	long order[1000];
	bool in_call;
} seen;

static void on_timer(void *ctx)
{
	seen *s = ctx;
	CHECK(!s->in_call);
	s->calls++;
	hth_loop_stop(s->loop);
}

TEST(timer_fires_after_its_time_and_never_inside_the_call)
{
	hth_error err = HTH_ERROR_INIT;
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	REQUIRE_OK(hth_timer_open(&s.timer, s.loop, on_timer, &s, &err));
	uint64_t begin = hth_clock_ns();
	s.in_call = true;
	hth_timer_start(s.timer, 20, 0);
	s.in_call = false;
	hth_loop_run(s.loop);
	CHECK(hth_clock_ns() - begin >= 19000000u);
	CHECK_INT(s.calls, 1);
	CHECK(!hth_loop_run_once(s.loop, false)); /* fired once: nothing is left */
	hth_timer_start(s.timer, 1, 1);
	hth_loop_run(s.loop);
	hth_loop_run(s.loop);
	CHECK_INT(s.calls, 3);
	hth_timer_stop(s.timer);
	CHECK(!hth_loop_run_once(s.loop, true));
	hth_timer_start(s.timer, 0, 0);
	hth_timer_close(s.timer); /* due, but closed: silent */
	hth_loop_run_once(s.loop, false);
	CHECK_INT(s.calls, 3);
	CHECK(hth_loop_destroy(s.loop));
}

static void on_watch(void *ctx, unsigned events)
{
	seen *s = ctx;
	s->calls++;
	s->events |= events;
	if (events & HTH_READABLE) {
		char c;
		(void)!read(s->fd, &c, 1);
	}
	hth_loop_stop(s->loop);
}

TEST(watch_tells_readable_writable_and_hangup)
{
	hth_error err = HTH_ERROR_INIT;
	int pair[2];
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	seen s = {.fd = pair[0]};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	REQUIRE_OK(hth_watch_open(&s.watch, s.loop, pair[0], HTH_READABLE | HTH_HANGUP, on_watch, &s, &err));
	hth_loop_run_once(s.loop, false);
	CHECK_INT(s.calls, 0);
	CHECK_INT(write(pair[1], "x", 1), 1);
	hth_loop_run(s.loop);
	CHECK_INT(s.events, HTH_READABLE);
	s.events = 0;
	hth_watch_set(s.watch, HTH_WRITABLE);
	hth_loop_run(s.loop);
	CHECK_INT(s.events, HTH_WRITABLE);
	s.events = 0;
	unsigned calls = s.calls;
	hth_watch_set(s.watch, 0);
	CHECK_INT(write(pair[1], "x", 1), 1);
	CHECK(!hth_loop_run_once(s.loop, false)); /* paused: not even something to wait for */
	CHECK_INT(s.calls, calls);
	hth_watch_set(s.watch, HTH_HANGUP);
	close(pair[1]);
	hth_loop_run(s.loop);
	CHECK(s.events & HTH_HANGUP);
	hth_watch_close(s.watch);
	close(pair[0]);
	CHECK(hth_loop_destroy(s.loop));
}

TEST(watch_in_error_is_told_as_hangup)
{
	hth_error err = HTH_ERROR_INIT;
	int pipe_fds[2];
	REQUIRE(pipe2(pipe_fds, O_CLOEXEC) == 0);
	seen s = {.fd = -1};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	close(pipe_fds[0]); /* nobody reads: the write end is in error */
	REQUIRE_OK(hth_watch_open(&s.watch, s.loop, pipe_fds[1], HTH_WRITABLE, on_watch, &s, &err));
	hth_loop_run(s.loop);
	CHECK(s.events & HTH_HANGUP);
	CHECK(s.events & HTH_WRITABLE);
	hth_watch_close(s.watch);
	close(pipe_fds[1]);
	CHECK(hth_loop_destroy(s.loop));
}

static void on_exited(void *ctx, int exit_status, int term_signal)
{
	seen *s = ctx;
	s->calls++;
	s->exit_status = exit_status;
	s->term_signal = term_signal;
	hth_loop_stop(s->loop);
}

TEST(child_exit_code_and_signal_are_told_apart)
{
	hth_error err = HTH_ERROR_INIT;
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	const char *seven[] = {"/bin/sh", "-c", "exit 7", NULL};
	REQUIRE_OK(hth_child_start(&s.child, s.loop, seven, NULL, 0, on_exited, &s, &err));
	CHECK(hth_child_pid(s.child) > 0);
	hth_loop_run(s.loop);
	CHECK_INT(s.exit_status, 7);
	CHECK_INT(s.term_signal, 0);
	hth_child_signal(s.child, SIGKILL); /* after its end: no effect on anybody */
	hth_child_close(s.child);
	const char *sleeper[] = {"/bin/sleep", "60", NULL};
	REQUIRE_OK(hth_child_start(&s.child, s.loop, sleeper, NULL, 0, on_exited, &s, &err));
	hth_child_signal(s.child, SIGTERM);
	hth_loop_run(s.loop);
	CHECK_INT(s.exit_status, -1);
	CHECK_INT(s.term_signal, SIGTERM);
	CHECK_INT(s.calls, 2);
	hth_child_close(s.child);
	CHECK(hth_loop_destroy(s.loop));
}

TEST(child_that_cannot_start_is_an_error)
{
	hth_error err = HTH_ERROR_INIT;
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	const char *nothing[] = {"/nonexistent/program", NULL};
	CHECK_INT(hth_child_start(&s.child, s.loop, nothing, NULL, 0, on_exited, &s, &err), HTH_IO);
	CHECK(strstr(err.message, "/nonexistent/program") != NULL);
	CHECK(hth_loop_destroy(s.loop));
	CHECK_INT(s.calls, 0);
}

TEST(closing_a_running_child_kills_and_reaps_it)
{
	hth_error err = HTH_ERROR_INIT;
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	const char *sleeper[] = {"/bin/sleep", "60", NULL};
	REQUIRE_OK(hth_child_start(&s.child, s.loop, sleeper, NULL, 0, on_exited, &s, &err));
	pid_t pid = hth_child_pid(s.child);
	hth_child_close(s.child);
	CHECK(hth_loop_destroy(s.loop));
	CHECK_INT(s.calls, 0);
	CHECK_INT(kill(pid, 0), -1); /* not even a zombie */
	CHECK_INT(waitpid(pid, NULL, WNOHANG), -1);
}

TEST(child_gets_the_descriptors_it_was_given_and_no_other)
{
	hth_error err = HTH_ERROR_INIT;
	int out[2], leak[2];
	REQUIRE(pipe2(out, O_CLOEXEC) == 0);
	REQUIRE(pipe(leak) == 0); /* on purpose without O_CLOEXEC */
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	/* ls opens one more for the folder itself, which is the lowest free number: 5. */
	const char *argv[] = {"/bin/ls", "/proc/self/fd", NULL};
	int fds[] = {-1, out[1], 2, -1, leak[0]};
	REQUIRE_OK(hth_child_start(&s.child, s.loop, argv, fds, HTH_COUNT(fds), on_exited, &s, &err));
	hth_loop_run(s.loop);
	close(out[1]);
	char text[256] = "";
	ssize_t n = read(out[0], text, sizeof text - 1);
	text[n > 0 ? n : 0] = '\0';
	CHECK_STR(text, "0\n1\n2\n3\n4\n5\n");
	hth_child_close(s.child);
	close(out[0]);
	close(leak[0]);
	close(leak[1]);
	CHECK(hth_loop_destroy(s.loop));
}

static void on_signal(void *ctx, int signum)
{
	seen *s = ctx;
	s->calls++;
	s->term_signal = signum;
	hth_loop_stop(s->loop);
}

TEST(signal_arrives_on_the_loop)
{
	hth_error err = HTH_ERROR_INIT;
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	hth_signal *signal = NULL;
	REQUIRE_OK(hth_signal_open(&signal, s.loop, SIGUSR1, on_signal, &s, &err));
	raise(SIGUSR1);
	CHECK_INT(s.calls, 0);
	hth_loop_run(s.loop);
	CHECK_INT(s.calls, 1);
	CHECK_INT(s.term_signal, SIGUSR1);
	CHECK_INT(hth_signal_open(&(hth_signal *){NULL}, s.loop, SIGKILL, on_signal, &s, &err), HTH_IO);
	hth_signal_close(signal);
	CHECK(hth_loop_destroy(s.loop));
}

static void on_mail(void *ctx, void *mail)
{
	seen *s = ctx;
	if (s->calls < HTH_COUNT(s->order))
		s->order[s->calls] = (long)(intptr_t)mail;
	s->calls++;
	if (s->calls == HTH_COUNT(s->order))
		hth_loop_stop(s->loop);
}

static void *poster(void *ctx)
{
	seen *s = ctx;
	for (long i = 1; i <= (long)HTH_COUNT(s->order); i++)
		if (!hth_mailbox_post(s->mailbox, (void *)(intptr_t)i))
			return (void *)"refused";
	return NULL;
}

TEST(mail_from_a_thread_arrives_whole_and_in_order)
{
	hth_error err = HTH_ERROR_INIT;
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	REQUIRE_OK(hth_mailbox_open(&s.mailbox, s.loop, on_mail, &s, &err));
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, poster, &s) == 0);
	hth_loop_run(s.loop);
	void *result;
	pthread_join(thread, &result);
	CHECK(result == NULL);
	for (size_t i = 0; i < HTH_COUNT(s.order); i++)
		if (s.order[i] != (long)i + 1) {
			CHECK_INT(s.order[i], i + 1);
			break;
		}
	CHECK(hth_mailbox_post(s.mailbox, NULL));
	hth_mailbox_close(s.mailbox);
	hth_loop_run_once(s.loop, false);
	CHECK_INT(s.calls, HTH_COUNT(s.order)); /* the post left at close was dropped */
	CHECK(!hth_mailbox_post(s.mailbox, NULL));
	CHECK(hth_loop_destroy(s.loop));
}

TEST(handle_left_open_is_noticed)
{
	hth_error err = HTH_ERROR_INIT;
	seen s = {0};
	REQUIRE_OK(hth_loop_create(&s.loop, &err));
	REQUIRE_OK(hth_timer_open(&s.timer, s.loop, on_timer, &s, &err));
	CHECK(!hth_loop_destroy(s.loop));
	hth_timer_close(s.timer);
	CHECK(hth_loop_destroy(s.loop));
}

TEST_MAIN()
