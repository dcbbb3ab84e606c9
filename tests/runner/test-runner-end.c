/* Every way in which requests and runners end: cancelled, killed, stopped, lied to. */
#include "runner-world.h"

#include "runner/runner-messages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* ---- cancelling ---- */

/* How long until another request has the only slot, as the client of that other request sees it. */
static double ms_until_free(world *w, told *next)
{
	WORLD_UNTIL(w, next->started, 20000);
	return (double)(next->first_ns - next->submitted_ns) / 1e6;
}

TEST(cancelled_while_decoding_frees_the_slot)
{
	WORLD(w, {.n_slots = 1});
	told t = {0}, next = {0};
	new_chat(&t, "Hello", -1)->params.ignore_eos = true;
	submit(&w, &t);
	WORLD_UNTIL(&w, t.pieces >= 3, 20000);
	hth_request_cancel(t.request);
	CHECK_INT(t.request->state, HTH_REQUEST_CANCELLED);
	CHECK_INT(hth_runner_active(w.runner), 0);
	unsigned pieces = t.pieces;
	new_chat(&next, "What's the weather like?", 4);
	submit(&w, &next);
	double ms = ms_until_free(&w, &next);
	printf("# the next request's first token came after %.1f ms\n", ms);
	CHECK(ms < (HTH_SANITIZED ? 2000 : 200));
	CHECK_INT(t.pieces, pieces); /* nothing more was heard of it */
	WORLD_UNTIL(&w, next.ended, 20000);
	told_finish(&t);
	told_finish(&next);
	world_finish(&w);
}

TEST(cancelled_in_the_middle_of_a_long_prefill_frees_the_slot)
{
	WORLD(w, {.n_slots = 1});
	/* The starter model's context is short, so many long prompts stand in line for the one slot: all are cancelled. */
	told t[40] = {{0}}, next = {0};
	for (size_t i = 0; i < HTH_COUNT(t); i++) {
		new_completion(&t[i], "", 1);
		hth_request_input *input = &t[i].request->input;
		free(input->text);
		input->text = NULL;
		input->n_tokens = 250;
		input->tokens = malloc(250 * sizeof *input->tokens);
		for (int k = 0; k < 250; k++)
			input->tokens[k] = 300 + (k * 31 + (int)i * 17) % 2500;
		submit(&w, &t[i]);
	}
	WORLD_UNTIL(&w, t[0].ended, 20000);
	for (size_t i = 1; i < HTH_COUNT(t); i++)
		hth_request_cancel(t[i].request);
	new_chat(&next, "Hello", 2);
	submit(&w, &next);
	double ms = ms_until_free(&w, &next);
	printf("# the next request's first token came after %.1f ms\n", ms);
	CHECK(ms < (HTH_SANITIZED ? 2000 : 200));
	unsigned cancelled = 0;
	for (size_t i = 0; i < HTH_COUNT(t); i++) {
		cancelled += t[i].request->state == HTH_REQUEST_CANCELLED;
		told_finish(&t[i]);
	}
	CHECK(cancelled >= HTH_COUNT(t) / 2);
	WORLD_UNTIL(&w, next.ended, 20000);
	told_finish(&next);
	world_finish(&w);
}

static void cancel_yourself(told *t)
{
	if (t->pieces == 2)
		hth_request_cancel(t->request);
}

TEST(cancelled_from_its_own_piece_ends_there)
{
	WORLD(w, {.n_slots = 2});
	told t = {.on_piece = cancel_yourself}, other = {0};
	new_chat(&t, "Hello", 50)->params.ignore_eos = true;
	new_chat(&other, "Hello there", 50);
	submit(&w, &t);
	submit(&w, &other);
	WORLD_UNTIL(&w, t.ended && other.ended, 20000);
	CHECK_INT(t.request->state, HTH_REQUEST_CANCELLED);
	CHECK_INT(t.pieces, 2);
	CHECK_INT(other.request->state, HTH_REQUEST_DONE);
	told_finish(&t);
	told_finish(&other);
	world_finish(&w);
}

TEST(more_requests_than_slots_are_answered_in_turn)
{
	WORLD(w, {.n_slots = 2});
	told t[60] = {{0}};
	for (size_t i = 0; i < HTH_COUNT(t); i++) {
		new_chat(&t[i], "Hello", 3 + (int)i % 5);
		submit(&w, &t[i]);
		if (i % 7 == 3)
			hth_request_cancel(t[i].request);
	}
	for (size_t i = 0; i < HTH_COUNT(t); i++) {
		WORLD_UNTIL(&w, t[i].ended, 30000);
		CHECK_INT(t[i].request->state, i % 7 == 3 ? HTH_REQUEST_CANCELLED : HTH_REQUEST_DONE);
		told_finish(&t[i]);
	}
	CHECK_INT(hth_runner_active(w.runner), 0);
	world_finish(&w);
}

/* ---- dying ---- */

TEST(killed_in_the_middle_of_an_answer_fails_it_and_a_new_runner_works)
{
	WORLD(w, {.n_slots = 2});
	told t = {0}, waiting = {0}, again = {0};
	new_chat(&t, "Hello", -1)->params.ignore_eos = true;
	submit(&w, &t);
	WORLD_UNTIL(&w, t.pieces >= 2, 20000);
	new_chat(&waiting, "Hello", 4);
	submit(&w, &waiting);
	pid_t pid = hth_runner_pid(w.runner);
	CHECK_INT(kill(pid, SIGKILL), 0);
	WORLD_UNTIL(&w, w.n_exited > 0, 5000);
	CHECK(t.ended && waiting.ended);
	CHECK_INT(t.request->state, HTH_REQUEST_FAILED);
	CHECK_INT(t.request->error.status, HTH_GONE);
	printf("# %s\n", t.request->error.message);
	CHECK(strstr(t.request->error.message, "starter") != NULL && strstr(t.request->error.message, "signal 9") != NULL);
	CHECK_INT(w.reason.status, HTH_GONE);
	CHECK_INT(hth_runner_active(w.runner), 0);
	CHECK_INT(hth_runner_memory_bytes(w.runner), 0);
	/* Submitting to the dead is an error, not a signal. */
	hth_error err = HTH_ERROR_INIT;
	new_chat(&again, "Hello", 4);
	CHECK_INT(hth_runner_submit(w.runner, again.request, &err), HTH_GONE);
	hth_runner_destroy(w.runner);
	CHECK_INT(kill(pid, 0), -1);
	REQUIRE_OK(world_start(&w, "starter", starter_path(), (hth_runner_options){.n_slots = 1}, &err));
	WORLD_UNTIL(&w, w.n_ready > 0, 20000);
	run_one(&w, &again);
	CHECK_INT(again.request->state, HTH_REQUEST_DONE);
	told_finish(&t);
	told_finish(&waiting);
	told_finish(&again);
	world_finish(&w);
}

TEST(destroyed_with_requests_fails_them)
{
	WORLD(w, {.n_slots = 1});
	told t = {0};
	new_chat(&t, "Hello", -1)->params.ignore_eos = true;
	submit(&w, &t);
	WORLD_UNTIL(&w, t.started, 20000);
	pid_t pid = hth_runner_pid(w.runner);
	hth_runner_destroy(w.runner);
	w.runner = NULL;
	CHECK(t.ended);
	CHECK_INT(t.request->error.status, HTH_GONE);
	CHECK_INT(w.n_exited, 0);
	told_finish(&t);
	world_finish(&w);
	CHECK_INT(kill(pid, 0), -1);
}

static void destroy_from_within(told *t)
{
	world *w = t->ctx;
	hth_runner_destroy(w->runner);
	w->runner = NULL;
}

TEST(destroyed_from_a_callback_is_safe)
{
	WORLD(w, {.n_slots = 1});
	told t = {.on_piece = destroy_from_within, .ctx = &w};
	new_chat(&t, "Hello", 20);
	submit(&w, &t);
	WORLD_UNTIL(&w, t.ended, 20000);
	CHECK_INT(t.request->error.status, HTH_GONE);
	CHECK_INT(t.pieces, 1);
	told_finish(&t);
	world_finish(&w);
	/* ... and from `exited`, as owners do. */
	hth_error err = HTH_ERROR_INIT;
	world v = {.destroy_on_exit = true};
	REQUIRE_OK(world_start(&v, "starter", starter_path(), (hth_runner_options){.n_slots = 1}, &err));
	WORLD_UNTIL(&v, v.n_ready > 0, 20000);
	kill(hth_runner_pid(v.runner), SIGSEGV);
	WORLD_UNTIL(&v, v.n_exited > 0, 5000);
	CHECK(strstr(v.reason.message, "signal 11") != NULL || HTH_SANITIZED); /* ASan turns it into an exit code */
	world_finish(&v);
}

TEST(stop_cancels_and_ends_the_child)
{
	WORLD(w, {.n_slots = 1});
	told t = {0}, waiting = {0};
	new_chat(&t, "Hello", -1)->params.ignore_eos = true;
	submit(&w, &t);
	new_chat(&waiting, "Hello", 4);
	submit(&w, &waiting);
	WORLD_UNTIL(&w, t.started, 20000);
	hth_runner_stop(w.runner);
	CHECK_INT(t.request->state, HTH_REQUEST_CANCELLED);
	CHECK_INT(waiting.request->state, HTH_REQUEST_CANCELLED);
	WORLD_UNTIL(&w, w.n_exited > 0, 3000);
	CHECK_INT(w.reason.status, HTH_CANCELLED);
	CHECK_INT(w.n_exited, 1);
	told_finish(&t);
	told_finish(&waiting);
	world_finish(&w);
}

/* 'R', 'S', 'T' (stopped), 'Z' (zombie), or 0: gone. */
static char process_state(pid_t pid)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	FILE *f = fopen(path, "r");
	const char *end = f != NULL && fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
	if (f != NULL)
		fclose(f);
	return end != NULL && end[1] != '\0' ? end[2] : 0;
}

TEST(child_that_does_not_stop_is_killed)
{
	WORLD(w, {.n_slots = 1});
	pid_t pid = hth_runner_pid(w.runner);
	kill(pid, SIGSTOP); /* deaf, once it has arrived */
	for (int i = 0; i < 60000 && process_state(pid) != 'T'; i++)
		usleep(1000);
	uint64_t begin = hth_clock_ms();
	hth_runner_stop(w.runner);
	WORLD_UNTIL(&w, w.n_exited > 0, 5000);
	CHECK(hth_clock_ms() - begin >= 1900);
	world_finish(&w);
}

TEST(child_does_not_outlive_its_daemon)
{
	/* A process between starts a runner and is killed: the runner notices by its socket. */
	int out[2];
	REQUIRE(pipe2(out, O_CLOEXEC) == 0);
	pid_t between = fork();
	if (between == 0) {
		world w = {0};
		hth_error err = HTH_ERROR_INIT;
		alarm(300);
		if (world_start(&w, "starter", starter_path(), (hth_runner_options){.n_slots = 1}, &err) != HTH_OK)
			_exit(1);
		while (w.n_ready == 0 && w.n_exited == 0)
			hth_loop_run_once(w.loop, true);
		pid_t pid = hth_runner_pid(w.runner);
		(void)!write(out[1], &pid, sizeof pid);
		for (;;)
			pause();
	}
	pid_t runner = 0;
	CHECK_INT(read(out[0], &runner, sizeof runner), sizeof runner);
	CHECK(runner > 1 && kill(runner, 0) == 0);
	kill(between, SIGKILL);
	waitpid(between, NULL, 0);
	bool gone = false;
	for (int i = 0; i < 6000 && !gone; i++) {
		char state = process_state(runner);
		gone = state == 0 || state == 'Z';
		usleep(10000);
	}
	CHECK(gone);
	close(out[0]);
	close(out[1]);
}

/* ---- not even starting ---- */

TEST(missing_and_unreadable_files_are_named)
{
	hth_error err = HTH_ERROR_INIT;
	world w = {0};
	CHECK_INT(world_start(&w, "x", "/nonexistent/model.gguf", (hth_runner_options){0}, &err), HTH_NOT_FOUND);
	CHECK(strstr(err.message, "/nonexistent/model.gguf") != NULL);
	CHECK_INT(world_start(&w, "x", "/dev", (hth_runner_options){0}, &err), HTH_BAD_FORMAT);
	CHECK_INT(world_start(&w, "x", "/dev/null", (hth_runner_options){0}, &err), HTH_BAD_FORMAT);
	CHECK(w.runner == NULL);
	world_finish(&w);
}

static const char *make_file(const char *name, size_t keep, size_t flip)
{
	static char path[4096];
	const char *dir = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/hearth-test-%ld-%s", dir ? dir : "/tmp", (long)getpid(), name);
	size_t len = 0;
	char *data = test_read_file(starter_path(), &len);
	FILE *f = fopen(path, "wb");
	if (data == NULL || f == NULL)
		return "/dev/null";
	if (flip > 0)
		data[flip] = (char)(data[flip] ^ 0xFF);
	fwrite(data, 1, HTH_MIN(keep, len), f);
	fclose(f);
	free(data);
	return path;
}

TEST(bad_model_file_is_a_clear_error_to_whoever_waits)
{
	static const struct {
		const char *name;
		size_t keep, flip;
	} cases[] = {{"empty", 0, 0}, {"magic", 1 << 20, 1}, {"cut", 100000, 0}, {"counts", 1 << 20, 15}};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		hth_error err = HTH_ERROR_INIT;
		world w = {0};
		const char *path = make_file(cases[i].name, cases[i].keep, cases[i].flip);
		REQUIRE_OK(world_start(&w, "broken", path, (hth_runner_options){0}, &err));
		told t = {0};
		new_chat(&t, "Hello", 4);
		submit(&w, &t); /* before it is known to be bad */
		WORLD_UNTIL(&w, w.n_exited > 0, 10000);
		printf("# %s\n", w.reason.message);
		CHECK_INT(w.n_ready, 0);
		CHECK_INT(w.reason.status, HTH_BAD_FORMAT);
		CHECK(strstr(w.reason.message, "broken") != NULL);
		CHECK_INT(t.request->state, HTH_REQUEST_FAILED);
		CHECK_INT(t.request->error.status, HTH_BAD_FORMAT);
		told_finish(&t);
		world_finish(&w);
		unlink(path);
	}
}

TEST(model_that_does_not_fit_in_memory_says_both_numbers)
{
	hth_error err = HTH_ERROR_INIT;
	world w = {0};
	REQUIRE_OK(world_start(&w, "starter", starter_path(), (hth_runner_options){.memory_bytes = 3 << 20}, &err));
	WORLD_UNTIL(&w, w.n_exited > 0, 10000);
	printf("# %s\n", w.reason.message);
	CHECK_INT(w.reason.status, HTH_NO_MEMORY);
	CHECK(strstr(w.reason.message, "3 MiB") != NULL);
	world_finish(&w);
	/* With a little more it opens, with as many slots as fit. */
	REQUIRE_OK(world_start(&w, "starter", starter_path(), (hth_runner_options){.memory_bytes = 40 << 20}, &err));
	WORLD_UNTIL(&w, w.n_exited > 0 || w.n_ready > 0, 10000);
	CHECK_INT(w.n_ready, 1);
	const hth_runner_info *info = hth_runner_get_info(w.runner);
	CHECK(info != NULL && info->weight_bytes + info->plan_bytes <= 40 << 20);
	if (info != NULL)
		printf("# in 40 MiB: %u slots of %u tokens\n", info->n_slots, info->n_ctx);
	world_finish(&w);
}

/* ---- a child that a model has taken over ---- */

static void put(const hth_buf *out)
{
	size_t at = 0;
	while (at < out->len) {
		ssize_t n = write(3, out->data + at, out->len - at);
		if (n <= 0)
			_exit(0);
		at += (size_t)n;
	}
}

/* The liar's main: what it does is in the model's name. */
static int lie(const char *what)
{
	hth_buf out = HTH_BUF_INIT(16 << 20);
	hth_runner_info info = {.name = "liar", .n_ctx = 100, .n_slots = 1, .n_embd = 4, .n_vocab = 10};
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(what, "lie:noise") == 0) {
		for (int i = 0; i < 1000; i++)
			hth_buf_append_char(&out, (char)(i * 131));
		put(&out);
		pause();
	}
	bool ok = hth_message_put_ready(&out, &info);
	put(&out);
	hth_buf_clear(&out);
	if (strcmp(what, "lie:closes") == 0) {
		close(3);
		pause();
	}
	if (strcmp(what, "lie:exits") == 0)
		_exit(7);
	if (strcmp(what, "lie:deaf") == 0) /* takes nothing in */
		pause();
	/* Reads the request's frame to learn its number. */
	unsigned char header[HTH_FRAME_HEADER];
	uint32_t id = 0;
	if (read(3, header, sizeof header) == sizeof header)
		memcpy(&id, header + 8, sizeof id);
	hth_answer_piece piece = {.text = "a", .len = 1, .n_tokens = 1};
	if (strcmp(what, "lie:utf8") == 0)
		ok &= hth_message_put_piece(&out, id, &(hth_answer_piece){.text = "\xC3", .len = 1});
	else if (strcmp(what, "lie:ready-again") == 0)
		ok &= hth_message_put_ready(&out, &info);
	else if (strcmp(what, "lie:embedding") == 0)
		ok &= hth_message_put_embedding(&out, id, (float[]){1, 2, 3, 4}, 4);
	else if (strcmp(what, "lie:prompt-again") == 0)
		ok &= hth_message_put_prompt(&out, id, "a", 7) && hth_message_put_prompt(&out, id, "b", 7);
	else if (strcmp(what, "lie:prompt-late") == 0)
		ok &= hth_message_put_piece(&out, id, &piece) && hth_message_put_prompt(&out, id, "a", 7);
	else if (strcmp(what, "lie:stop") == 0)
		ok &= hth_message_put_done(&out, id, &(hth_done){.stop = 3});
	else if (strcmp(what, "lie:others") == 0)
		ok &= hth_message_put_piece(&out, id + 1, &piece) && hth_message_put_done(&out, id + 5, &(hth_done){.stop = -1}) &&
		      hth_message_put_piece(&out, id, &piece) && hth_message_put_done(&out, id, &(hth_done){.stop = -1}) &&
		      hth_message_put_piece(&out, id, &piece) && hth_message_put_done(&out, id, &(hth_done){.stop = -1});
	else if (strcmp(what, "lie:half") == 0) {
		ok &= hth_message_put_piece(&out, id, &piece);
		out.len -= 2;
		put(&out);
		_exit(0);
	} else if (strcmp(what, "lie:flood") == 0) {
		char big[HTH_PIECE_TEXT_MAX];
		memset(big, 'x', sizeof big);
		piece.text = big;
		piece.len = sizeof big;
		for (;;) {
			hth_buf_clear(&out);
			ok &= hth_message_put_piece(&out, id, &piece);
			put(&out);
		}
	}
	if (!ok)
		_exit(9);
	put(&out);
	pause();
	return 0;
}

static void meet_liar(const char *what, hth_status status, const char *says)
{
	hth_error err = HTH_ERROR_INIT;
	world w = {0};
	REQUIRE_OK(world_start(&w, what, starter_path(), (hth_runner_options){0}, &err));
	told t = {0};
	new_chat(&t, "Hello", 4);
	submit(&w, &t);
	WORLD_UNTIL(&w, w.n_exited > 0, 20000);
	CHECK(t.ended);
	CHECK_INT(w.reason.status, status);
	if (strstr(w.reason.message, says) == NULL)
		CHECK_STR(w.reason.message, says);
	CHECK_INT(t.request->error.status, HTH_GONE);
	told_finish(&t);
	world_finish(&w);
}

TEST(liars_are_stopped_and_the_daemon_goes_on)
{
	meet_liar("lie:noise", HTH_GONE, "broke the rules");
	meet_liar("lie:utf8", HTH_GONE, "broke the rules");
	meet_liar("lie:ready-again", HTH_GONE, "out of place");
	meet_liar("lie:embedding", HTH_GONE, "out of place");
	meet_liar("lie:prompt-again", HTH_GONE, "out of place");
	meet_liar("lie:prompt-late", HTH_GONE, "out of place");
	meet_liar("lie:stop", HTH_GONE, "out of place");
	meet_liar("lie:closes", HTH_GONE, "signal 9");
	meet_liar("lie:exits", HTH_GONE, "exit code 7");
	meet_liar("lie:half", HTH_GONE, "exit code 0");
	meet_liar("lie:flood", HTH_GONE, "out of place");
}

TEST(frames_about_nobody_are_ignored)
{
	hth_error err = HTH_ERROR_INIT;
	world w = {0};
	REQUIRE_OK(world_start(&w, "lie:others", starter_path(), (hth_runner_options){0}, &err));
	told t = {0};
	new_chat(&t, "Hello", 4);
	run_one(&w, &t);
	CHECK_INT(t.request->state, HTH_REQUEST_DONE);
	CHECK_STR(t.text, "a");
	hth_loop_run_once(w.loop, false);
	CHECK_INT(w.n_exited, 0);
	told_finish(&t);
	world_finish(&w);
}

TEST(child_that_takes_nothing_in_does_not_grow_the_daemon)
{
	hth_error err = HTH_ERROR_INIT;
	world w = {0};
	REQUIRE_OK(world_start(&w, "lie:deaf", starter_path(), (hth_runner_options){0}, &err));
	WORLD_UNTIL(&w, w.n_ready > 0, 10000);
	told t[12] = {{0}};
	unsigned taken = 0, refused = 0;
	for (size_t i = 0; i < HTH_COUNT(t); i++) {
		hth_request *request = new_completion(&t[i], "", 1);
		free(request->input.text);
		request->input.text_len = 20 << 20;
		request->input.text = calloc(1, request->input.text_len + 1);
		hth_status status = hth_runner_submit(w.runner, request, &err);
		taken += status == HTH_OK;
		refused += status == HTH_BUSY;
	}
	printf("# %u of %zu requests of 20 MiB taken, then: %s\n", taken, HTH_COUNT(t), err.message);
	CHECK(taken >= 3 && taken <= 7);
	CHECK_INT(taken + refused, HTH_COUNT(t));
	hth_runner_destroy(w.runner);
	w.runner = NULL;
	for (size_t i = 0; i < HTH_COUNT(t); i++)
		told_finish(&t[i]);
	world_finish(&w);
}

int hth_test_main(int argc, char **argv);
#define main hth_test_main
TEST_MAIN()
#undef main
int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "__runner") == 0)
		return strncmp(argv[argc - 1], "lie:", 4) == 0 ? lie(argv[argc - 1]) : hth_runner_main(argc, argv);
	setenv("TSAN_OPTIONS", "halt_on_error=1", 0); /* a race in the child kills it, and its answers fail */
	return hth_test_main(argc, argv);
}
