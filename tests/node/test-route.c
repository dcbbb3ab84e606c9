/* test-route.c - the router over a runner without a process: loading on demand, waiting, room, idle unloading, death, pauses. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "fake-runner.h"
#include "harness.h"
#include "route/route.h"

#include <sys/stat.h>
#include <unistd.h>

static struct {
	hth_loop *loop;
	hth_timer *wake;
	hth_router *router;
	char home[64];
} t;

typedef struct asked {
	hth_request *request;
	int calls;
	hth_runner *runner;
	hth_error err;
	char reason[128];
} asked;

static void on_wake(void *ctx) {}

static void make_model(const char *name, size_t bytes)
{
	char path[256];
	snprintf(path, sizeof path, "%s/models/%s.gguf", t.home, name);
	FILE *f = fopen(path, "wb");
	if (f == NULL || ftruncate(fileno(f), (off_t)bytes) != 0)
		test_fail(__FILE__, __LINE__, "cannot make %s", path);
	if (f != NULL)
		fclose(f);
}

static bool setup(hth_router_options options)
{
	hth_error err;
	char path[128];
	memset(&t, 0, sizeof t);
	fake = (fake_settings){.load_ms = 10, .piece_ms = 2, .n_pieces = 5, .weight_bytes = 1 << 20, .plan_bytes = 1 << 20};
	hth_log_set_level(HTH_LOG_ERROR);
	strcpy(t.home, "/tmp/hearth-route-XXXXXX");
	if (mkdtemp(t.home) == NULL)
		return false;
	snprintf(path, sizeof path, "%s/models", t.home);
	mkdir(path, 0700);
	make_model("alpha", 1000);
	make_model("beta", 1000);
	make_model("gamma", 1000);
	options.home = t.home;
	if (options.default_model == NULL)
		options.default_model = "alpha";
	if (options.queue == 0)
		options.queue = 4;
	if (options.load_timeout_s == 0)
		options.load_timeout_s = 10;
	if (hth_loop_create(&t.loop, &err) != HTH_OK || hth_timer_open(&t.wake, t.loop, on_wake, NULL, &err) != HTH_OK ||
	    hth_router_create(&t.router, t.loop, &options, &err) != HTH_OK) {
		test_fail(__FILE__, __LINE__, "setup: %s", err.message);
		return false;
	}
	hth_timer_start(t.wake, 1, 1);
	return true;
}
static void teardown(void)
{
	char command[160];
	hth_router_destroy(t.router);
	hth_timer_close(t.wake);
	CHECK(hth_loop_destroy(t.loop));
	CHECK_INT(fake_started, fake_destroyed);
	snprintf(command, sizeof command, "rm -rf %s", t.home);
	if (system(command) != 0)
		test_fail(__FILE__, __LINE__, "%s", command);
}
static void spin(unsigned ms)
{
	for (uint64_t until = hth_clock_ms() + ms; hth_clock_ms() < until;)
		hth_loop_run_once(t.loop, true);
}
/* what is waited for comes, on a loaded machine too, or it hangs: `ms` says how soon it does where nothing else runs */
enum { HANG_MS = 120000 };
#define WAIT(cond, ms)                                                                          \
	do {                                                                                    \
		uint64_t until_ = hth_clock_ms() + HANG_MS;                                       \
		while (!(cond) && hth_clock_ms() < until_)                                      \
			hth_loop_run_once(t.loop, true);                                        \
		if (!(cond))                                                                    \
			test_fail(__FILE__, __LINE__, "not within %d ms: %s", (int)(ms), #cond); \
	} while (0)

static void on_placed(void *ctx, hth_request *request, hth_runner *runner, const char *reason, const hth_error *why)
{
	asked *a = ctx;
	a->calls++;
	a->runner = runner;
	CHECK(request->cancel == NULL);
	if (why != NULL)
		a->err = *why;
	if (reason != NULL)
		snprintf(a->reason, sizeof a->reason, "%s", reason);
	if (runner == NULL)
		return;
	hth_error err;
	CHECK_OK(hth_request_route(request, "here", reason, &err));
	CHECK_OK(hth_runner_submit(runner, request, &err));
}
static asked *ask(const char *model, int64_t keep_alive)
{
	asked *a = calloc(1, sizeof *a);
	hth_error err;
	if (hth_request_create(&a->request, HTH_CHAT, &err) != HTH_OK)
		abort();
	snprintf(a->request->model, sizeof a->request->model, "%s", model);
	a->request->params.keep_alive_s = keep_alive;
	CHECK_OK(hth_request_admit(a->request, &err));
	CHECK_OK(hth_request_classify(a->request, HTH_PRIVATE, &err));
	hth_router_place(t.router, a->request, on_placed, a);
	return a;
}
static bool ended(const asked *a) { return hth_request_has_ended(a->request); }
static void forget(asked *a)
{
	hth_request_unref(a->request);
	free(a);
}

typedef struct seen {
	const char *name;
	hth_router_model model;
	bool there;
	size_t n;
	uint64_t used;
} seen;
static void on_model(void *ctx, const hth_router_model *m)
{
	seen *s = ctx;
	s->n++;
	s->used += m->planned_bytes;
	if (strcmp(m->name, s->name) == 0) {
		s->model = *m;
		s->there = true;
	}
}
static seen look(const char *name)
{
	seen s = {.name = name};
	hth_router_each(t.router, on_model, &s);
	return s;
}

TEST(the_first_request_loads_the_model_and_the_next_finds_it)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	unsigned before = fake_started;
	asked *a = ask("Alpha:latest", HTH_KEEP_ALIVE_DEFAULT), *b = ask("alpha.gguf", HTH_KEEP_ALIVE_DEFAULT);
	CHECK_INT(a->calls, 0);
	CHECK_INT(look("alpha").model.state, HTH_MODEL_LOADING);
	CHECK_INT(look("alpha").model.waiting, 2);
	CHECK_STR(a->request->model, "alpha");
	WAIT(ended(a) && ended(b), 2000);
	CHECK_INT(a->request->state, HTH_REQUEST_DONE);
	CHECK(strstr(a->reason, "waiting") != NULL);
	asked *c = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	CHECK_INT(c->calls, 1);
	CHECK(strstr(c->reason, "loaded") != NULL);
	WAIT(ended(c), 2000);
	CHECK_INT(fake_started - before, 1);
	seen s = look("alpha");
	CHECK(s.there && s.model.state == HTH_MODEL_READY && s.model.info != NULL);
	CHECK_INT(s.model.planned_bytes, 2 << 20);
	CHECK_INT(s.model.unload_in_s, 100);
	forget(a);
	forget(b);
	forget(c);
	teardown();
}

TEST(an_unknown_model_is_not_found_and_a_path_in_a_name_is_not_followed)
{
	if (!setup((hth_router_options){0}))
		return;
	static const char *const names[] = {"delta", "", "/etc/passwd", "../models/alpha", "./alpha.gguf"};
	for (size_t i = 0; i < HTH_COUNT(names); i++) {
		asked *a = ask(names[i], HTH_KEEP_ALIVE_DEFAULT);
		CHECK_INT(a->calls, 1);
		CHECK_INT(a->err.status, HTH_NOT_FOUND);
		CHECK_STR(a->err.param, "model");
		forget(a);
	}
	teardown();
}

TEST(a_default_model_may_be_a_file_anywhere)
{
	hth_error err;
	char path[128];
	if (!setup((hth_router_options){0}))
		return;
	snprintf(path, sizeof path, "%s/Elsewhere.gguf", t.home);
	FILE *f = fopen(path, "wb");
	fclose(f);
	hth_router_destroy(t.router);
	hth_router_options o = {.home = t.home, .default_model = path, .queue = 4, .load_timeout_s = 5};
	REQUIRE_OK(hth_router_create(&t.router, t.loop, &o, &err));
	CHECK_STR(hth_router_default_model(t.router), "elsewhere");
	asked *a = ask("elsewhere", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(a), 2000);
	CHECK_INT(a->request->state, HTH_REQUEST_DONE);
	hth_catalog catalog;
	REQUIRE_OK(hth_router_catalog(t.router, &catalog, &err));
	CHECK_INT(catalog.n >= 4, 1);
	CHECK(hth_catalog_find(&catalog, "elsewhere") != NULL);
	hth_catalog_finish(&catalog);
	forget(a);
	hth_router *none = NULL;
	o.default_model = "/nowhere/model.gguf";
	CHECK_INT(hth_router_create(&none, t.loop, &o, &err), HTH_NOT_FOUND);
	teardown();
}

TEST(a_client_that_leaves_while_its_model_loads_is_forgotten)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	fake.load_ms = 30;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT), *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT),
	    *c = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	hth_request_cancel(b->request);
	CHECK_INT(look("alpha").model.waiting, 2);
	WAIT(ended(a) && ended(c), 2000);
	CHECK_INT(b->calls, 0);
	CHECK_INT(a->calls + c->calls, 2);
	forget(a);
	forget(b);
	forget(c);
	teardown();
}

TEST(more_requests_than_slots_and_queue_are_refused_while_loading_and_after)
{
	if (!setup((hth_router_options){.keep_alive_s = 100, .queue = 3, .parallel = 2}))
		return;
	asked *a[8];
	for (int round = 0; round < 2; round++) {
		int refused = 0;
		for (int i = 0; i < 8; i++) {
			a[i] = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
			refused += a[i]->err.status == HTH_BUSY;
		}
		CHECK_INT(refused, 3); /* 2 slots and a queue of 3 */
		for (int i = 0; i < 5; i++) {
			WAIT(ended(a[i]), 2000);
			CHECK_INT(a[i]->request->state, HTH_REQUEST_DONE);
		}
		for (int i = 0; i < 8; i++)
			forget(a[i]);
	}
	teardown();
}

TEST(a_wait_that_takes_too_long_is_given_up_and_the_loading_goes_on)
{
	if (!setup((hth_router_options){.keep_alive_s = 100, .load_timeout_s = 1}))
		return;
	fake.load_ms = 1400;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	uint64_t start = hth_clock_ms();
	WAIT(a->calls == 1, 3000);
	CHECK(hth_clock_ms() - start >= 900);
	CHECK_INT(a->err.status, HTH_BUSY);
	CHECK(strstr(a->err.message, "loading") != NULL);
	asked *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(b), 3000);
	CHECK_INT(b->request->state, HTH_REQUEST_DONE);
	forget(a);
	forget(b);
	teardown();
}

TEST(an_idle_model_unloads_after_its_keep_alive)
{
	if (!setup((hth_router_options){.keep_alive_s = 1}))
		return;
	uint64_t start = hth_clock_ms();
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT), *b = ask("beta", -1), *c = ask("gamma", 0);
	WAIT(ended(a) && ended(b) && ended(c), 2000);
	WAIT(fake_find("gamma") == NULL, 500);
	WAIT(fake_find("alpha") == NULL, 2000);
	CHECK(hth_clock_ms() - start >= 1000);
	spin(300);
	CHECK(fake_find("beta") != NULL);
	CHECK_INT(look("beta").model.unload_in_s, -1);
	CHECK_INT(look("alpha").n, 1);
	forget(a);
	forget(b);
	forget(c);
	teardown();
}

TEST(room_is_made_by_unloading_the_least_recently_used_idle_model)
{
	uint64_t mib = 1 << 20;
	if (!setup((hth_router_options){.keep_alive_s = 1000, .memory_bytes = 200 * mib}))
		return;
	fake.weight_bytes = 60 * mib;
	fake.plan_bytes = 20 * mib;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(a), 2000);
	spin(5);
	asked *b = ask("beta", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(b), 2000);
	spin(5);
	forget(a);
	a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT); /* beta is now the older one */
	WAIT(ended(a), 2000);
	CHECK_INT(look("alpha").used, 160 * mib);
	asked *c = ask("gamma", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(c), 2000);
	CHECK_INT(c->request->state, HTH_REQUEST_DONE);
	CHECK(fake_find("beta") == NULL);
	CHECK(fake_find("alpha") != NULL);
	CHECK(look("alpha").used <= 200 * mib);
	CHECK(fake_last_memory <= 120 * mib);
	forget(a);
	forget(b);
	forget(c);
	teardown();
}

TEST(a_model_waits_for_room_while_the_others_are_busy)
{
	uint64_t mib = 1 << 20;
	if (!setup((hth_router_options){.keep_alive_s = 1000, .memory_bytes = 100 * mib, .load_timeout_s = 1}))
		return;
	fake.weight_bytes = 60 * mib;
	fake.piece_ms = 5;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(a->calls == 1, 2000);
	asked *b = ask("beta", HTH_KEEP_ALIVE_DEFAULT);
	spin(5);
	CHECK_INT(look("beta").model.state, HTH_MODEL_WAITS_FOR_ROOM);
	CHECK(fake_find("beta") == NULL);
	WAIT(ended(b), 2000);
	CHECK_INT(b->request->state, HTH_REQUEST_DONE);
	CHECK_INT(a->request->state, HTH_REQUEST_DONE); /* it was not cut off for b */
	fake.n_pieces = 1000;
	asked *c = ask("beta", HTH_KEEP_ALIVE_DEFAULT), *d = ask("gamma", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(d->calls == 1, 3000);
	CHECK_INT(d->err.status, HTH_BUSY);
	CHECK(strstr(d->err.message, "room") != NULL);
	hth_request_cancel(c->request);
	forget(a);
	forget(b);
	forget(c);
	forget(d);
	teardown();
}

TEST(a_model_that_can_never_fit_is_refused_with_the_numbers)
{
	if (!setup((hth_router_options){.memory_bytes = 100 << 20}))
		return;
	make_model("huge", (size_t)300 << 20);
	asked *a = ask("huge", HTH_KEEP_ALIVE_DEFAULT);
	CHECK_INT(a->calls, 1);
	CHECK_INT(a->err.status, HTH_NO_MEMORY);
	CHECK(strstr(a->err.message, "364 MiB") != NULL && strstr(a->err.message, "100 MiB") != NULL);
	forget(a);
	teardown();
}

TEST(a_runner_that_died_is_replaced_by_the_next_request)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	fake.n_pieces = 1000;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(a->request->state == HTH_REQUEST_STREAMING, 2000);
	fake_kill(fake_find("alpha"));
	CHECK_INT(a->request->state, HTH_REQUEST_FAILED);
	CHECK_INT(a->request->error.status, HTH_GONE);
	fake.n_pieces = 3;
	asked *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(b), 2000);
	CHECK_INT(b->request->state, HTH_REQUEST_DONE);
	forget(a);
	forget(b);
	teardown();
}

TEST(a_runner_that_keeps_dying_gets_growing_pauses)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	unsigned before = fake_started;
	for (int i = 0; i < 2; i++) {
		asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
		WAIT(a->request->state == HTH_REQUEST_STREAMING, 2000);
		fake_kill(fake_find("alpha"));
		forget(a);
	}
	asked *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	CHECK_INT(b->calls, 1);
	CHECK_INT(b->err.status, HTH_BUSY);
	CHECK(strstr(b->err.message, "2 times") != NULL && strstr(b->err.message, "signal 9") != NULL);
	spin(550);
	asked *c = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(c), 2000);
	CHECK_INT(c->request->state, HTH_REQUEST_DONE);
	CHECK_INT(fake_started - before, 3);
	forget(b);
	forget(c);
	teardown();
}

TEST(a_model_that_does_not_load_says_why_to_all_who_wait)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	fake.load_fails = true;
	fake.load_status = HTH_BAD_FORMAT;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT), *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(a->calls == 1 && b->calls == 1, 2000);
	CHECK_INT(a->err.status, HTH_IO); /* the client did nothing wrong */
	CHECK(strstr(a->err.message, "alpha") != NULL && strstr(a->err.message, "byte 7") != NULL);
	CHECK_STR(a->err.message, b->err.message);
	fake.load_fails = false;
	fake.start_fails = true;
	asked *c = ask("beta", HTH_KEEP_ALIVE_DEFAULT);
	CHECK_INT(c->calls, 1);
	CHECK_INT(c->err.status, HTH_IO);
	forget(a);
	forget(b);
	forget(c);
	teardown();
}

TEST(a_mended_file_is_tried_at_once)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	fake.load_fails = true;
	fake.load_status = HTH_BAD_FORMAT;
	for (int i = 0; i < 3; i++) {
		asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
		WAIT(a->calls == 1, 2000);
		forget(a);
	}
	fake.load_fails = false;
	make_model("alpha", 2000);
	asked *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(b), 1000);
	CHECK_INT(b->request->state, HTH_REQUEST_DONE);
	forget(b);
	teardown();
}

TEST(stopping_a_model_waits_for_its_answers_unless_told_not_to)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	hth_error err;
	fake.n_pieces = 20;
	CHECK_INT(hth_router_stop(t.router, "alpha", false, &err), HTH_NOT_FOUND);
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(a->request->state == HTH_REQUEST_STREAMING, 2000);
	CHECK_OK(hth_router_stop(t.router, "alpha", false, &err));
	/* Who comes now gets a new runner when the old one has gone. */
	asked *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	CHECK_INT(b->calls, 0);
	WAIT(ended(a), 2000);
	CHECK_INT(a->request->state, HTH_REQUEST_DONE);
	WAIT(b->request->state == HTH_REQUEST_STREAMING, 2000);
	CHECK_OK(hth_router_stop(t.router, "ALPHA", true, &err));
	CHECK_INT(b->request->state, HTH_REQUEST_CANCELLED);
	WAIT(look("alpha").n == 0, 1000);
	forget(a);
	forget(b);
	teardown();
}

static void second_name(const char *of, const char *name)
{
	char from[256], to[256];
	snprintf(from, sizeof from, "%s/models/%s.gguf", t.home, of);
	snprintf(to, sizeof to, "%s/models/%s.gguf", t.home, name);
	unlink(to);
	if (link(from, to) != 0)
		test_fail(__FILE__, __LINE__, "cannot link %s", to);
}

TEST(names_of_the_same_weights_share_a_runner)
{
	unsigned before = fake_started;
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	second_name("alpha", "twin");
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT), *b = ask("Twin:latest", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(a) && ended(b), 2000);
	CHECK_INT(fake_started - before, 1);
	CHECK_STR(a->request->model, "alpha");
	CHECK_STR(b->request->model, "twin"); /* the answer says what was asked */
	/* The first one's files go: its runner ends, and the second name has one of its own. */
	hth_router_let_go(t.router, "twin"); /* nothing is loaded under this name */
	spin(20);
	CHECK(fake_find("alpha") != NULL);
	hth_router_let_go(t.router, "alpha");
	WAIT(fake_find("alpha") == NULL, 1000);
	asked *c = ask("twin", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(c), 2000);
	CHECK(fake_find("twin") != NULL);
	forget(a);
	forget(b);
	forget(c);
	teardown();
}

TEST(a_name_that_was_made_anew_is_not_taken_for_its_old_weights)
{
	unsigned before = fake_started;
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	second_name("alpha", "twin");
	fake.n_pieces = 50;
	fake.piece_ms = 5;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(hth_runner_active(fake_find("alpha")) > 0, 2000);
	second_name("beta", "alpha"); /* other weights under the name, while it answers */
	hth_router_let_go(t.router, "alpha");
	fake.n_pieces = 1;
	asked *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(a) && ended(b), 4000);
	CHECK_INT(b->request->state, HTH_REQUEST_DONE);
	CHECK_INT(fake_started - before, 2);
	/* The other name still means the old weights, and the one whose weights it has now shares with it. */
	asked *c = ask("twin", HTH_KEEP_ALIVE_DEFAULT), *d = ask("beta", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(c) && ended(d), 2000);
	CHECK_INT(fake_started - before, 3);
	CHECK(fake_find("twin") != NULL && fake_find("beta") == NULL);
	forget(a);
	forget(b);
	forget(c);
	forget(d);
	teardown();
}

TEST(a_model_that_went_while_it_was_waited_for_is_not_found)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	fake.n_pieces = 40;
	fake.piece_ms = 5;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(hth_runner_active(fake_find("alpha")) > 0, 2000);
	char path[256];
	snprintf(path, sizeof path, "%s/models/alpha.gguf", t.home);
	CHECK_INT(unlink(path), 0);
	hth_router_let_go(t.router, "alpha");
	asked *b = ask("alpha", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(ended(a) && b->calls == 1, 4000);
	CHECK_INT(a->request->state, HTH_REQUEST_DONE);
	CHECK_INT(b->err.status, HTH_NOT_FOUND);
	forget(a);
	forget(b);
	teardown();
}

TEST(destroying_the_router_ends_whatever_it_holds)
{
	if (!setup((hth_router_options){.keep_alive_s = 100}))
		return;
	asked *a = ask("alpha", HTH_KEEP_ALIVE_DEFAULT), *b = ask("beta", HTH_KEEP_ALIVE_DEFAULT);
	WAIT(a->calls == 1 && b->calls == 1, 2000);
	asked *c = ask("gamma", HTH_KEEP_ALIVE_DEFAULT);
	teardown();
	CHECK_INT(c->calls, 1);
	CHECK_INT(c->err.status, HTH_BUSY);
	CHECK(ended(a) && ended(b));
	forget(a);
	forget(b);
	forget(c);
}

TEST_MAIN()
