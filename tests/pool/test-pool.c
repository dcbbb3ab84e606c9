/* test-pool.c - the pool's decisions one by one, its messages, and two homes whose link this test holds in its hand. */
#include "harness.h"
#include "base/mem.h"
#include "pool/description.h"
#include "pool/pool.h"
#include "privacy/privacy.h"

#include <math.h>

static hth_error err;
static const uint64_t T0 = 20000ull * 86400000;

/* ---- placement ---- */

static hth_capability record_of(float prefill, float decode, unsigned free_slots, uint32_t queued)
{
	hth_capability c = {.slots = 2, .free_slots = (uint16_t)free_slots, .queued_tokens = queued, .lends = true, .accepts_public = true,
	                    .accepts_neighbours = true, .n_models = 1};
	c.models[0] = (hth_pool_model){.prefill_tok_s = prefill, .decode_tok_s = decode};
	return c;
}

TEST(a_request_goes_where_it_ends_soonest_and_stays_when_in_doubt)
{
	hth_capability fast = record_of(1000, 100, 1, 0), slow = record_of(10, 1, 2, 0), full = record_of(1000, 100, 0, 100000);
	hth_standing well = {.speed = 1}, caught = {.caught = true}, avoided = {.avoid_until_ms = 5000};
	hth_place_home home = {.has_model = true, .prefill_tok_s = 100, .decode_tok_s = 10};
	hth_place_ask ask = {.prompt_tokens = 100, .answer_tokens = 100, .audience = HTH_AUDIENCE_NEIGHBOURS}; /* home: 11 s, fast: 1.1 s */
	hth_place_peer peers[2] = {{&slow, &well, 0.01, true, true}, {&fast, &well, 0.01, true, true}};
	double seconds;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), 1);
	CHECK_NEAR(seconds, 1.12, 1e-6);
	peers[1].record = &full;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), HTH_PLACE_HOME);
	CHECK_NEAR(seconds, 11, 1e-6);
	peers[1].record = &fast;
	peers[1].trusted = false;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), HTH_PLACE_HOME);
	ask.audience = HTH_AUDIENCE_PUBLIC;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), 1);
	peers[1].fresh = false;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), HTH_PLACE_HOME);
	peers[1].fresh = true;
	peers[1].standing = &caught;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), HTH_PLACE_HOME);
	peers[1].standing = &avoided;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), HTH_PLACE_HOME);
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 5000, &seconds), 1);
	/* A gain that is within the margin is no reason to go. */
	hth_capability same = record_of(110, 11, 1, 0);
	peers[1] = (hth_place_peer){&same, &well, 0.01, true, true};
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), HTH_PLACE_HOME);
	home.wait_s = 30;
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), 1);
	home.has_model = false;
	memset(ask.model, 1, sizeof ask.model);
	CHECK_INT(hth_place_choose(&ask, &home, peers, 2, 1000, &seconds), HTH_PLACE_NOWHERE);
}

TEST(ones_own_come_first_then_credit_and_nobody_waits_for_ever)
{
	hth_waiting w[3] = {{false, 1, 1000}, {false, -1, 1000}, {true, 0, 5000}};
	CHECK_INT(hth_queue_next(w, 0, 5000), -1);
	CHECK_INT(hth_queue_next(w, 3, 5000), 2);
	CHECK_INT(hth_queue_next(w, 2, 5000), 0);
	w[0].since_ms = 5000 + 3 * HTH_QUEUE_PATIENCE_MS; /* who comes with credit long after still waits behind the free rider */
	CHECK_INT(hth_queue_next(w, 2, 5000 + 3 * HTH_QUEUE_PATIENCE_MS), 1);
}

TEST(checks_become_rare_but_never_none_and_one_failure_is_the_end)
{
	hth_standing s = {0};
	CHECK_NEAR(hth_standing_check_share(&s), 1, 1e-9);
	double last = 2;
	for (int i = 0; i < 1000; i++) {
		CHECK(hth_standing_check_share(&s) <= last && hth_standing_check_share(&s) >= HTH_CHECK_SHARE_MIN);
		last = hth_standing_check_share(&s);
		hth_standing_ended_well(&s, 1);
	}
	CHECK_NEAR(last, HTH_CHECK_SHARE_MIN, 1e-9);
	CHECK(hth_standing_wants_check(&s, 0.01) && !hth_standing_wants_check(&s, 0.99));
	/* The bound that standing.h states: with these shares, 146 answers escape with probability under 0.01. */
	CHECK(pow(1 - HTH_CHECK_SHARE_MIN, 146) < 0.01);
	CHECK(hth_standing_usable(&s, 0));
	hth_standing_broke_off(&s, 1000);
	CHECK(!hth_standing_usable(&s, 2999) && hth_standing_usable(&s, 3000));
	for (int i = 0; i < 50; i++)
		hth_standing_broke_off(&s, 1000);
	CHECK(hth_standing_usable(&s, 601000));
	hth_standing_weighed(&s, 64, 64);
	hth_standing_ended_well(&s, 1);
	CHECK(!hth_standing_usable(&s, UINT64_MAX));
}

TEST(a_few_misses_are_no_lie_and_many_are_soon_one)
{
	hth_rng rng;
	hth_rng_seed(&rng, 5);
	hth_standing honest = {0}, liar = {0};
	for (int answer = 0; answer < 10000; answer++) {
		uint32_t misses = 0;
		for (int i = 0; i < 64; i++)
			misses += hth_rng_unit(&rng) < HTH_MISS_HONEST;
		hth_standing_weighed(&honest, 64, misses);
	}
	CHECK(!honest.caught);
	int answers = 0;
	for (; !liar.caught && answers < 1000; answers++) {
		uint32_t misses = 0;
		for (int i = 0; i < 64; i++)
			misses += hth_rng_unit(&rng) < 2 * HTH_MISS_LIAR;
		hth_standing_weighed(&liar, 64, misses);
	}
	CHECK(answers <= 8);
}

/* ---- messages ---- */

TEST(messages_are_read_back_and_private_is_no_audience)
{
	static int32_t storage[HTH_POOL_PREFIX_MAX];
	int32_t ids[3] = {1, 2, 70000};
	hth_buf out = HTH_BUF_INIT(HTH_POOL_MESSAGE_MAX), again = HTH_BUF_INIT(HTH_POOL_MESSAGE_MAX);
	hth_pool_message ask = {.kind = HTH_POOL_ASK, .audience = HTH_AUDIENCE_PUBLIC, .prompt_tokens = 5, .max_tokens = 9,
	                        .words = "hello", .words_len = 5, .ids = ids, .n_ids = 3}, m;
	hth_pool_message_encode(&ask, &out);
	REQUIRE_OK(hth_pool_message_decode(&m, out.data, out.len, storage, &err));
	CHECK(m.n_ids == 3 && memcmp(m.ids, ids, sizeof ids) == 0 && m.words_len == 5 && m.max_tokens == 9);
	hth_pool_message_encode(&m, &again);
	CHECK(again.len == out.len && memcmp(again.data, out.data, out.len) == 0);
	for (size_t i = 0; i < out.len; i++)
		CHECK_INT(hth_pool_message_decode(&m, out.data, i, storage, &err), HTH_BAD_FORMAT);
	out.data[2 + HTH_JOB_BYTES] = HTH_PRIVATE;
	CHECK_INT(hth_pool_message_decode(&m, out.data, out.len, storage, &err), HTH_BAD_FORMAT);
	/* A model may say any character, also none that is seen; half a one is no text. */
	static const struct {
		const char *text, *tail;
		hth_status status;
	} texts[] = {{"a\0b", "end", HTH_OK}, {"\xc3\xa4z", "end", HTH_OK}, {"a\xc3z", "end", HTH_BAD_FORMAT},
	             {"abc", "e\0d", HTH_BAD_FORMAT}};
	for (size_t i = 0; i < HTH_COUNT(texts); i++) {
		hth_buf_clear(&out);
		hth_pool_message_encode(&(hth_pool_message){.kind = HTH_POOL_TOKENS, .ids = ids, .n_ids = 3, .text = texts[i].text,
		                                            .text_len = 3, .has_prompt = true,
		                                            .prompt_tokens = 1, .tail = texts[i].tail, .tail_len = 3}, &out);
		CHECK_INT(hth_pool_message_decode(&m, out.data, out.len, storage, &err), texts[i].status);
		CHECK(texts[i].status != HTH_OK || (m.text_len == 3 && memcmp(m.text, texts[i].text, 3) == 0));
	}
	hth_pool_message record = {.kind = HTH_POOL_RECORD, .record = record_of(100, 10, 1, 7)};
	for (int i = 0; i < 4; i++) {
		static const float bad[] = {0, -1, INFINITY, NAN};
		record.record.models[0].decode_tok_s = bad[i];
		hth_buf_clear(&out);
		hth_pool_message_encode(&record, &out);
		CHECK_INT(hth_pool_message_decode(&m, out.data, out.len, storage, &err), HTH_BAD_FORMAT);
	}
	hth_buf_finish(&out);
	hth_buf_finish(&again);
}

/* ---- two homes ---- */

typedef struct letter {
	int to;
	size_t len;
	unsigned char bytes[2048];
} letter;
typedef struct party {
	int index;
	hth_identity *identity;
	hth_ledger *ledger;
	hth_pool *pool;
	hth_rng rng;
	int32_t answer[256];
	size_t n, n_text;
	char text[256];
	uint32_t prompt_tokens;
	uint8_t finish, stop;
	int ended, home, failed, stopped;
	hth_pool_work work;
	int works;
	bool no_record;
	int left, also, began_home, stopped_home, now_by;
	int32_t prefix[64];
} party;
static party p[3];
static letter letters[512];
static size_t n_letters, taken;
static bool cut; /* nothing arrives */

static hth_status keep(void *ctx, const hth_entry *entry, hth_error *e)
{
	(void)ctx, (void)entry, (void)e;
	return HTH_OK;
}
static void on_send(void *ctx, const hth_home_id *to, const void *bytes, size_t len)
{
	(void)ctx;
	if (cut || n_letters == HTH_COUNT(letters) || len > sizeof letters[0].bytes)
		return;
	letter *l = &letters[n_letters++];
	for (l->to = 0; !hth_home_id_equal(to, &hth_identity_card(p[l->to].identity)->id); l->to++)
		;
	l->len = len;
	memcpy(l->bytes, bytes, len);
	l->to += 10 * ((party *)ctx)->index;
}
static bool on_leaves(void *ctx, uint64_t ask, const hth_home_id *to, size_t len, const char *why, bool also)
{
	if (also)
		((party *)ctx)->also++;
	else
		CHECK((why != NULL) == (((party *)ctx)->left++ > 0));
	CHECK(ask == 1 && len > 0 && !hth_home_id_equal(to, &hth_identity_card(((party *)ctx)->identity)->id));
	return !((party *)ctx)->no_record;
}
static void on_tokens(void *ctx, uint64_t ask, const hth_pool_run *run)
{
	party *x = ctx;
	CHECK_INT(ask, 1);
	for (size_t i = 0; i < run->n && x->n < HTH_COUNT(x->answer); i++)
		x->answer[x->n++] = run->ids[i];
	for (size_t i = 0; i < run->text_len && x->n_text + 1 < sizeof x->text; i++)
		x->text[x->n_text++] = ((const char *)run->text)[i];
	if (run->has_prompt) {
		CHECK(run->tail_len == 4 && memcmp(run->tail, "end>", 4) == 0);
		x->prompt_tokens = run->prompt_tokens;
	}
}
static void on_ended(void *ctx, uint64_t ask, const hth_home_id *by, bool check, uint8_t finish, uint8_t stop)
{
	party *x = ctx;
	(void)ask, (void)by, (void)check;
	x->ended++;
	x->finish = finish;
	x->stop = stop;
}
static void on_go_home(void *ctx, uint64_t ask, size_t n, const char *why)
{
	(void)ask, (void)why;
	party *x = ctx;
	CHECK_INT(n, x->n);
	x->home++;
}
static void on_failed(void *ctx, uint64_t ask)
{
	(void)ask;
	((party *)ctx)->failed++;
}
static void on_serve(void *ctx, const hth_pool_work *work)
{
	party *x = ctx;
	x->work = *work;
	x->works++;
	memcpy(x->prefix, work->prefix, HTH_MIN(work->n_prefix, HTH_COUNT(x->prefix)) * sizeof *x->prefix);
}
static void on_stop(void *ctx, uint64_t work)
{
	(void)work;
	((party *)ctx)->stopped++;
}
static void on_hold(void *ctx, uint64_t work, bool held) { (void)ctx, (void)work, (void)held; }

static void on_now_by(void *ctx, uint64_t ask, const hth_home_id *by)
{
	(void)by;
	CHECK_INT(ask, 1);
	((party *)ctx)->now_by++;
}
static bool on_also_home(void *ctx, uint64_t ask, size_t n, bool begin)
{
	party *x = ctx;
	CHECK_INT(ask, 1);
	CHECK_INT(n, x->n);
	*(begin ? &x->began_home : &x->stopped_home) += 1;
	return true;
}

static void deliver(uint64_t now)
{
	for (; taken < n_letters; taken++) {
		const letter *l = &letters[taken];
		hth_pool_receive(p[l->to % 10].pool, &hth_identity_card(p[l->to / 10].identity)->id, l->bytes, l->len, now);
	}
	n_letters = taken = 0;
}

static void tick(uint64_t now)
{
	for (int i = 0; i < 3; i++)
		hth_pool_tick(p[i].pool, now);
	deliver(now);
}

/* Three homes know each other; 0 is slow, 1 and 2 are fast. */
static uint32_t credit_line = 1000;
static void street_init(void)
{
	const hth_rules rules = {.classes = 3, .credit_line = credit_line, .admit_needs = 1, .change_needs = 1, .requests_per_hour = 100};
	hth_charter *charter = NULL, *next = NULL;
	memset(p, 0, sizeof p);
	n_letters = taken = 0;
	cut = false;
	hth_privacy_add_audience(HTH_NEIGHBOURS);
	hth_privacy_add_audience(HTH_PUBLIC);
	for (int i = 0; i < 3; i++) {
		unsigned char seed[HTH_SEED_BYTES] = {(unsigned char)(i + 1)};
		hth_pool_ops ops = {&p[i], on_send, on_leaves, on_tokens, on_ended, on_go_home, on_failed, on_serve, on_stop, on_hold,
		                    on_now_by, on_also_home};
		p[i].index = i;
		hth_rng_seed(&p[i].rng, 1);
		if (hth_identity_from_seed(&p[i].identity, seed, &err) != HTH_OK ||
		    hth_ledger_create(&p[i].ledger, &hth_identity_card(p[i].identity)->id, hth_signer_of(p[i].identity),
		                      (hth_ledger_disk){keep, NULL}, &err) != HTH_OK ||
		    hth_pool_create(&p[i].pool, &hth_identity_card(p[i].identity)->id, &ops, p[i].ledger, &p[i].rng, &err) != HTH_OK ||
		    (charter == NULL ? hth_charter_found(&next, "x", &rules, p[i].identity, "a", &err)
		                     : hth_charter_admit(&next, charter, hth_identity_card(p[i].identity), "b", HTH_ROLE_MEMBER,
		                                         &err)) != HTH_OK)
			abort();
		hth_charter_unref(charter);
		charter = next;
	}
	for (int i = 0; i < 3; i++) {
		hth_capability c = i == 0 ? record_of(20, 2, 2, 0) : record_of(1000, 100, 2, 0);
		hth_pool_set_members(p[i].pool, charter, T0);
		hth_pool_set_home(p[i].pool, &c, 0, T0);
	}
	hth_charter_unref(charter);
	tick(T0);
}

static void street_finish(void)
{
	for (int i = 0; i < 3; i++) {
		hth_pool_destroy(p[i].pool);
		hth_ledger_destroy(p[i].ledger);
		hth_identity_destroy(p[i].identity);
	}
}

/* A token's text is a letter; what comes with the last is the end of a text that a stop string cut off. */
static void make(party *x, const int32_t *ids, size_t n, const char *text, bool final, uint64_t now)
{
	hth_pool_run run = {.ids = ids, .n = n, .text = text, .text_len = strlen(text), .has_prompt = true, .prompt_tokens = 64,
	                    .tail = "end>", .tail_len = 4,
	                    .final = final, .finish = final ? 1 : 0, .stop = final ? 2 : 0};
	hth_pool_served(x->pool, x->work.work, &run, 100, now);
}

static hth_neighbour_permit *permit(hth_privacy_class class)
{
	hth_request *request = NULL;
	hth_neighbour_permit *made = NULL;
	if (hth_request_create(&request, HTH_COMPLETION, &err) != HTH_OK)
		abort();
	request->privacy = class;
	request->input.text = strdup("tell me of the sea");
	request->input.text_len = strlen(request->input.text);
	hth_status status = hth_privacy_permit_neighbours(request, &made, &err);
	CHECK_INT(status, class == HTH_PRIVATE ? HTH_DENIED : HTH_OK);
	hth_request_unref(request);
	return made;
}

static uint32_t most_prompt = 1000, most_tokens = 6;
static hth_status ask(hth_privacy_class class, uint64_t now)
{
	static const unsigned char model[HTH_HASH_BYTES];
	hth_pool_ask_options o = {.ask = 1, .model = model, .prompt_tokens = 32, .max_tokens = most_tokens, .expected_tokens = 100,
	                          .most_prompt_tokens = most_prompt, .seed = 9};
	hth_status status = hth_pool_ask(p[0].pool, permit(class), &o, now, &err);
	deliver(now);
	return status;
}

TEST(a_private_request_gets_no_permit)
{
	street_init();
	CHECK(permit(HTH_PRIVATE) == NULL);
	street_finish();
}

TEST(an_answer_from_next_door_is_whole_and_paid_for)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	street_init();
	CHECK_INT(ask(HTH_NEIGHBOURS, T0), HTH_CONFLICT); /* nobody is trusted with that, so it stays */
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	int who = p[1].works ? 1 : 2;
	REQUIRE(p[who].works == 1);
	make(&p[who], made, 4, "fgh", false, T0 + 10);
	make(&p[who], made + 4, 2, "ijk", true, T0 + 20);
	deliver(T0 + 20);
	CHECK(p[0].ended == 1 && p[0].n == 6 && memcmp(p[0].answer, made, sizeof made) == 0);
	CHECK_STR(p[0].text, "fghijk");
	CHECK(p[0].prompt_tokens == 64 && p[0].finish == 1 && p[0].stop == 2);
	CHECK_INT(hth_ledger_balance(p[who].ledger, &hth_identity_card(p[0].identity)->id, T0), 0);
	tick(T0 + 39);
	CHECK(hth_pool_works(p[who].pool) == 0 && hth_pool_next_ms(p[who].pool) <= T0 + 40);
	tick(T0 + 40); /* receipts are in no token's way */
	const hth_home_id *server = &hth_identity_card(p[who].identity)->id, *asker = &hth_identity_card(p[0].identity)->id;
	CHECK_INT(hth_ledger_balance(p[0].ledger, server, T0), -(6 + 4)); /* 64 tokens of prompt, by its count */
	CHECK_INT(hth_ledger_balance(p[who].ledger, asker, T0), 6 + 4);
	uint64_t gave[2], took[2];
	hth_ledger_energy(p[who].ledger, asker, gave);
	hth_ledger_energy(p[0].ledger, server, took);
	CHECK(gave[0] == 200 && gave[1] == 0 && took[0] == 0 && took[1] == 200); /* a hundred with each part of it */
	CHECK(hth_pool_asks(p[0].pool) == 0 && hth_pool_works(p[who].pool) == 0);
	street_finish();
}

TEST(letters_in_any_order_make_the_same_answer)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	street_init();
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	party *server = p[1].works ? &p[1] : &p[2];
	for (int i = 0; i < 6; i++)
		make(server, made + i, 1, i == 0 ? "" : i == 1 ? "fg" : (char[]){(char)('f' + i), '\0'}, i == 5, T0 + 1);
	/* Backwards, twice each; the receipt first of all. */
	letter kept[16];
	size_t n = HTH_MIN(n_letters, HTH_COUNT(kept));
	memcpy(kept, letters, n * sizeof *kept);
	n_letters = 0;
	for (size_t i = n; i-- > 0;)
		for (int twice = 0; twice < 2; twice++)
			hth_pool_receive(p[0].pool, &hth_identity_card(server->identity)->id, kept[i].bytes, kept[i].len,
			                 T0 + 2 + 300 * (n - i));
	deliver(T0 + 3000); /* what was asked for again */
	deliver(T0 + 3000);
	CHECK(p[0].ended == 1 && p[0].n == 6 && memcmp(p[0].answer, made, sizeof made) == 0);
	CHECK_STR(p[0].text, "fghijk");
	CHECK(p[0].prompt_tokens == 64 && p[0].finish == 1 && p[0].stop == 2);
	street_finish();
}

TEST(a_server_that_falls_silent_is_left_within_two_seconds_and_another_goes_on_from_there)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	street_init();
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	party *first = p[1].works ? &p[1] : &p[2], *second = first == &p[1] ? &p[2] : &p[1];
	make(first, made, 2, "f", false, T0 + 100);
	deliver(T0 + 100);
	CHECK_INT(p[0].n, 2);
	/* Its tokens are expected every 14 ms (100 a second, and nobody is quite what it says). */
	hth_pool_tick(p[0].pool, T0 + 100 + 1813);
	CHECK_INT(hth_pool_get_counts(p[0].pool)->failed_over, 0);
	hth_pool_tick(p[0].pool, T0 + 100 + 1814);
	deliver(T0 + 2100);
	CHECK_INT(hth_pool_get_counts(p[0].pool)->silent, 1);
	CHECK_INT(hth_pool_get_counts(p[0].pool)->failed_over, 1);
	REQUIRE(second->works == 1);
	CHECK(second->work.n_prefix == 2 && second->prefix[0] == 5 && second->prefix[1] == 6 && second->work.seed == 9 &&
	      second->work.text_bytes == 1);
	/* The first one wakes up and goes on: nobody listens. */
	make(first, made + 2, 2, "ghi", false, T0 + 2200);
	deliver(T0 + 2200);
	CHECK_INT(p[0].n, 2);
	CHECK_INT(first->stopped, 1);
	make(second, made + 2, 4, "ghijk", true, T0 + 2300);
	deliver(T0 + 2300);
	CHECK(p[0].ended == 1 && p[0].n == 6 && memcmp(p[0].answer, made, sizeof made) == 0);
	CHECK_STR(p[0].text, "fghijk");
	CHECK(p[0].prompt_tokens == 64 && p[0].finish == 1 && p[0].stop == 2);
	street_finish();
}

TEST(one_that_beats_but_makes_nothing_is_left_too_and_home_is_the_last_resort)
{
	street_init();
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	for (uint64_t t = 0; t < 60000 && p[0].home == 0; t += 100)
		tick(T0 + t); /* both beat, neither makes a token */
	CHECK_INT(p[0].home, 1);
	CHECK(hth_pool_get_counts(p[0].pool)->slow >= 2 && hth_pool_get_counts(p[0].pool)->silent == 0);
	CHECK(p[0].ended == 0 && hth_pool_asks(p[0].pool) == 0);
	street_finish();
}

TEST(what_may_not_be_asked_is_refused)
{
	street_init();
	hth_capability none = record_of(1000, 100, 2, 0);
	none.accepts_public = false;
	for (int i = 1; i < 3; i++)
		hth_pool_set_home(p[i].pool, &none, 0, T0); /* they changed their minds; home 0 has not heard of it yet */
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	for (int i = 0; i < 4; i++)
		deliver(T0);
	CHECK(p[1].works + p[2].works == 0 && p[0].home == 1);
	CHECK(hth_pool_get_counts(p[0].pool)->refused_class == 2);
	street_finish();
}

TEST(removal_ends_what_runs_and_strangers_are_not_heard)
{
	street_init();
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	party *server = p[1].works ? &p[1] : &p[2];
	hth_pool_set_members(server->pool, NULL, T0 + 1);
	CHECK_INT(server->stopped, 1);
	uint64_t bad = hth_pool_get_counts(server->pool)->bad_messages;
	hth_pool_receive(server->pool, &hth_identity_card(p[0].identity)->id, "\1\1", 2, T0 + 2);
	CHECK_INT(hth_pool_get_counts(server->pool)->bad_messages, bad + 1);
	cut = true;
	hth_pool_set_members(p[0].pool, NULL, T0 + 3);
	CHECK_INT(p[0].home, 1); /* without neighbours, home does it */
	street_finish();
}

TEST(who_counts_more_prompt_than_there_can_be_is_left)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	street_init();
	most_prompt = 63;
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	most_prompt = 1000;
	party *first = p[1].works ? &p[1] : &p[2], *second = first == &p[1] ? &p[2] : &p[1];
	make(first, made, 2, "fg", false, T0 + 100);
	deliver(T0 + 100);
	CHECK(p[0].n == 0 && second->works == 1 && second->work.n_prefix == 0);
	street_finish();
}

TEST(words_that_cannot_be_put_on_record_do_not_leave)
{
	street_init();
	p[0].no_record = true;
	CHECK_INT(ask(HTH_PUBLIC, T0), HTH_IO);
	CHECK(p[1].works + p[2].works == 0 && hth_pool_asks(p[0].pool) == 0);
	street_finish();
}

/* ---- late, slow, and without a hub ---- */

/* One token every `every` ms from `from` on, until `to`; when the ask was left, or 0. */
static uint64_t trickle(party *server, uint64_t from, uint64_t to, uint64_t every)
{
	for (uint64_t t = from; t <= to; t++) {
		if ((t - from) % every == 0 && server->stopped == 0)
			make(server, &(int32_t){7}, 1, "x", false, t);
		tick(t);
		if (hth_pool_get_counts(p[0].pool)->failed_over > 0)
			return t;
	}
	return 0;
}

TEST(a_slow_home_is_better_than_none)
{
	street_init();
	hth_capability none = record_of(1000, 100, 2, 0);
	none.lends = false;
	hth_pool_set_home(p[2].pool, &none, 0, T0);
	tick(T0 + 2500);
	none.n_models = 0;
	hth_pool_set_home(p[0].pool, &none, 0, T0 + 2500);
	most_tokens = 100;
	REQUIRE_OK(ask(HTH_PUBLIC, T0 + 3000));
	most_tokens = 6;
	CHECK_INT(trickle(&p[1], T0 + 3010, T0 + 3500, 10), 0);
	CHECK_INT(trickle(&p[1], T0 + 4500, T0 + 40000, 1000), 0); /* a hundred times slower, and nobody else has it */
	CHECK_INT(hth_pool_asks(p[0].pool), 1);
	CHECK(p[0].n > 80);
	hth_pool_tick(p[0].pool, T0 + 42500); /* but one that says nothing is left */
	CHECK_INT(hth_pool_get_counts(p[0].pool)->silent, 1);
	street_finish();
}

static party *server_of(party **ret_other)
{
	party *first = p[1].works ? &p[1] : &p[2];
	*ret_other = first == &p[1] ? &p[2] : &p[1];
	return first;
}

TEST(one_that_becomes_a_hundred_times_slower_is_left_within_two_seconds_and_one_that_becomes_four_times_slower_is_not)
{
	party *other;
	most_tokens = 300;
	for (int hundred = 0; hundred < 2; hundred++) {
		street_init();
		REQUIRE_OK(ask(HTH_PUBLIC, T0));
		party *first = server_of(&other);
		uint64_t last = T0 + 500;
		CHECK_INT(trickle(first, T0 + 10, last, 10), 0);
		if (!hundred) {
			CHECK_INT(trickle(first, last + 40, last + 5000, 40), 0);
		} else {
			/* 1.8 s and a token's time, and the one that came after a second paid for four such times, by then of 11 ms. */
			CHECK_INT(trickle(first, last + 1000, last + 5000, 1000) - last, 1854);
			CHECK_INT(hth_pool_get_counts(p[0].pool)->slow, 1);
			/* It was thought of 0.9 s before that, for nothing; and then in earnest. */
			CHECK(other->works == 2 && other->stopped == 1 && other->work.n_prefix == 51);
		}
		street_finish();
	}
	most_tokens = 6;
}

TEST(an_answer_that_is_late_is_begun_elsewhere_too_and_the_first_that_delivers_goes_on)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	const hth_home_id *asker;
	for (int second_wins = 0; second_wins < 2; second_wins++) {
		party *late, *second;
		street_init();
		REQUIRE_OK(ask(HTH_PUBLIC, T0));
		late = server_of(&second);
		/* It said 32 ms, and is taken to be at 0.7 of what it says; of one that was never seen a second and half of that more is
		 * borne. */
		tick(T0 + 1066);
		CHECK(second->works == 0 && p[0].also == 0);
		tick(T0 + 1068);
		REQUIRE(second->works == 1 && p[0].also == 1);
		CHECK_INT(hth_pool_get_counts(p[0].pool)->hedged, 1);
		CHECK_INT(hth_pool_asks(p[0].pool), 1);
		party *winner = second_wins ? second : late, *loser = second_wins ? late : second;
		make(winner, made, 4, "fgh", false, T0 + 1100);
		tick(T0 + 1100);
		CHECK(loser->stopped == 1 && p[0].now_by == second_wins);
		make(loser, made, 4, "fgh", false, T0 + 1101); /* it had been made already: nobody listens */
		make(winner, made + 4, 2, "ijk", true, T0 + 1200);
		tick(T0 + 1200);
		tick(T0 + 1220);
		CHECK(p[0].ended == 1 && p[0].n == 6 && memcmp(p[0].answer, made, sizeof made) == 0);
		CHECK_STR(p[0].text, "fghijk");
		/* Both are paid: one for its tokens and the prompt as it counted it, one for having read the prompt. */
		asker = &hth_identity_card(p[0].identity)->id;
		CHECK_INT(hth_ledger_balance(winner->ledger, asker, T0), 6 + 64 / 16);
		CHECK_INT(hth_ledger_balance(loser->ledger, asker, T0), 32 / 16);
		CHECK_INT(hth_ledger_balance(p[0].ledger, &hth_identity_card(loser->identity)->id, T0), -32 / 16);
		CHECK(hth_pool_asks(p[0].pool) == 0 && hth_pool_works(loser->pool) == 0 && hth_pool_works(winner->pool) == 0);
		CHECK_INT(hth_pool_get_counts(p[0].pool)->failed_over, 0);
		CHECK_INT(hth_pool_get_counts(p[0].pool)->hedges_won, second_wins);
		street_finish();
	}
}

TEST(the_second_takes_over_when_the_first_is_left)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	party *first, *second;
	street_init();
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	first = server_of(&second);
	make(first, made, 2, "fg", false, T0 + 100);
	tick(T0 + 100);
	tick(T0 + 100 + 915); /* half of the time after which it is left */
	REQUIRE(second->works == 1);
	CHECK(second->work.n_prefix == 2 && second->prefix[1] == 6);
	hth_pool_yield(first->pool, first->work.work, T0 + 1100);
	deliver(T0 + 1100);
	CHECK(p[0].now_by == 1 && second->works == 1 && hth_pool_asks(p[0].pool) == 1);
	make(second, made + 2, 4, "hijk", true, T0 + 1200);
	deliver(T0 + 1200);
	CHECK(p[0].ended == 1 && p[0].n == 6 && memcmp(p[0].answer, made, sizeof made) == 0);
	CHECK_STR(p[0].text, "fghijk");
	street_finish();
}

TEST(home_is_a_second_too_and_the_client_may_leave_in_the_midst_of_it)
{
	static const int32_t made[1] = {5};
	for (int how = 0; how < 3; how++) {
		party *first, *other;
		street_init();
		uint64_t begin = T0 + 2500;
		hth_capability none = record_of(1000, 100, 2, 0);
		none.lends = false;
		hth_pool_set_home(p[2].pool, &none, 0, T0);
		tick(begin); /* it says so */
		REQUIRE_OK(ask(HTH_PUBLIC, begin));
		first = server_of(&other);
		for (uint64_t t = 0; t < 1500 && p[0].began_home == 0; t += 50)
			tick(begin + t);
		REQUIRE(first == &p[1] && p[0].began_home == 1);
		if (how == 0) { /* home is first */
			CHECK(hth_pool_home_delivers(p[0].pool, 1, begin + 1600));
			CHECK(!hth_pool_home_delivers(p[0].pool, 1, begin + 1600));
		} else if (how == 1) {
			make(first, made, 1, "f", false, begin + 1600);
			deliver(begin + 1600);
			CHECK(p[0].stopped_home == 1 && p[0].n == 1);
			CHECK(!hth_pool_home_delivers(p[0].pool, 1, begin + 1600));
			hth_pool_cancel(p[0].pool, 1, begin + 1700);
		} else {
			hth_pool_cancel(p[0].pool, 1, begin + 1700);
			CHECK(!hth_pool_home_delivers(p[0].pool, 1, begin + 1700));
		}
		tick(begin + 1700);
		tick(begin + 1720);
		CHECK(first->stopped == 1 && hth_pool_asks(p[0].pool) == 0 && hth_pool_works(first->pool) == 0);
		/* Read for nothing: paid by the guess of whoever asked. Left by the client: what arrived counts. */
		CHECK_INT(hth_ledger_balance(first->ledger, &hth_identity_card(p[0].identity)->id, T0),
		          how == 0 ? 2 : how == 1 ? 1 + 4 : 0);
		street_finish();
	}
}

TEST(seconds_are_one_in_twenty_and_none_for_a_home_that_owes)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	for (int owes = 0; owes < 2; owes++) {
		uint64_t now = T0;
		credit_line = owes ? 8 : 100000;
		street_init();
		for (int i = 0; i < 45; i++, now += 3000) {
			party *first, *second;
			hth_capability free_again = record_of(1000, 100, 2, 0), none = free_again;
			none.lends = false;
			for (int k = 1; k < 3; k++) {
				hth_pool_set_home(p[k].pool, &none, 0, now);
				hth_pool_set_home(p[k].pool, &free_again, 0, now);
			}
			tick(now);
			p[1].works = p[2].works = p[0].left = 0;
			p[0].n = 0;
			REQUIRE_OK(ask(HTH_PUBLIC, now));
			first = server_of(&second);
			if (i > 0 || !owes)
				for (uint64_t t = 0; t <= 1500; t += 100)
					tick(now + t);
			make(first, made, 6, "x", true, now + 1600);
			for (int k = 0; k < 3; k++)
				deliver(now + 1600);
			CHECK_INT(p[0].n, 6);
		}
		/* Each is later than the ones before by less than usual once that is known: the first few are what counts. */
		CHECK(hth_pool_get_counts(p[0].pool)->hedged >= !owes &&
		      hth_pool_get_counts(p[0].pool)->hedged <= 1 + 45 / HTH_POOL_HEDGE_ONE_IN);
		CHECK(!owes || hth_pool_get_counts(p[0].pool)->hedged <= 1);
		street_finish();
	}
	credit_line = 1000;
}

TEST(without_a_hub_home_does_it_and_nobody_is_blamed)
{
	static const int32_t made[6] = {5, 6, 7, 8, 9, 10};
	party *first, *other;
	street_init();
	REQUIRE_OK(ask(HTH_PUBLIC, T0));
	first = server_of(&other);
	make(first, made, 2, "fg", false, T0 + 100);
	deliver(T0 + 100);
	/* A short break: what was lost meanwhile is asked for. */
	hth_pool_set_link(p[0].pool, false, T0 + 110);
	make(first, made + 2, 2, "hi", false, T0 + 120);
	n_letters = 0;
	hth_pool_set_link(p[0].pool, true, T0 + 500);
	for (int i = 0; i < 2; i++)
		deliver(T0 + 510);
	CHECK_INT(p[0].n, 4);
	/* A long one. */
	hth_pool_set_link(p[0].pool, false, T0 + 600);
	hth_pool_tick(p[0].pool, T0 + 510 + 2000);
	CHECK_INT(p[0].home, 1);
	CHECK_INT(ask(HTH_PUBLIC, T0 + 3000), HTH_CONFLICT);
	hth_pool_set_link(p[0].pool, true, T0 + 3100);
	p[1].works = p[2].works = p[0].left = 0;
	p[0].n = 0;
	REQUIRE_OK(ask(HTH_PUBLIC, T0 + 3100));
	CHECK_INT(p[1].works + p[2].works, 1);
	street_finish();
}

TEST(a_description_is_believed_while_nobody_says_otherwise)
{
	hth_description d = {.name = "a", .architecture = "llama", .n_params = 7, .weight_bytes = 9, .n_ctx = 1, .n_vocab = 2,
	                     .n_layer = 3}, lie = d;
	hth_voice v[4] = {{.has_said = true}, {.has_said = true}, {.has_said = true}, {.has_said = false}};
	unsigned char truth[HTH_HASH_BYTES], lied[HTH_HASH_BYTES];
	hth_description_facts(&d, truth);
	strcpy(d.name, "b"); /* what a home calls it, and how it has set it up, is its own */
	d.n_ctx = 4096;
	d.tools = true;
	hth_description_facts(&d, v[0].facts);
	CHECK(memcmp(truth, v[0].facts, sizeof truth) == 0);
	lie.n_params = 70;
	hth_description_facts(&lie, lied);
	memcpy(v[1].facts, truth, sizeof truth);
	memcpy(v[2].facts, lied, sizeof lied);
	memcpy(v[3].facts, lied, sizeof lied); /* it was not heard yet */
	CHECK(hth_voices_believed(v, 0, NULL) == NULL && hth_voices_believed(&v[3], 1, NULL) == NULL);
	CHECK(memcmp(hth_voices_believed(&v[2], 2, NULL), lied, sizeof lied) == 0); /* one word is all there is */
	CHECK(memcmp(hth_voices_believed(v, 2, NULL), truth, sizeof truth) == 0);
	CHECK(hth_voices_believed(v, 4, NULL) == NULL); /* two against one are not more: homes cost nothing to make */
	v[2].trusted = true;
	CHECK(memcmp(hth_voices_believed(v, 4, NULL), lied, sizeof lied) == 0);
	v[0].trusted = true;
	CHECK(hth_voices_believed(v, 4, NULL) == NULL);
	CHECK(hth_voices_believed(v, 4, truth) == truth); /* the file itself */
}

TEST_MAIN()
