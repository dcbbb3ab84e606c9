/* fuzz-pool.c - whatever a member sends: messages that are understood have one encoding, and a pool that receives them serves nothing
 * private, stays within its limits and can be destroyed. The input is a row of messages, each after its length in two bytes; what comes
 * between is time. */
#include "base/mem.h"
#include "pool/pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_pool *pool;
static uint64_t work;

static hth_status keep(void *ctx, const hth_entry *entry, hth_error *err)
{
	(void)ctx, (void)entry, (void)err;
	return HTH_OK;
}
static void on_send(void *ctx, const hth_home_id *to, const void *bytes, size_t len) { (void)ctx, (void)to, (void)bytes, (void)len; }
static bool on_leaves(void *ctx, uint64_t ask, const hth_home_id *to, size_t len, const char *why, bool also)
{
	return (void)ctx, (void)ask, (void)to, (void)len, (void)why, (void)also, true;
}
static void on_tokens(void *ctx, uint64_t ask, const hth_pool_run *run) { (void)ctx, (void)ask, (void)run; }
static void on_ended(void *ctx, uint64_t ask, const hth_home_id *by, bool check, uint8_t finish, uint8_t stop)
{
	(void)ctx, (void)ask, (void)by, (void)check, (void)finish, (void)stop;
}
static void on_go_home(void *ctx, uint64_t ask, size_t n, const char *why) { (void)ctx, (void)ask, (void)n, (void)why; }
static void on_failed(void *ctx, uint64_t ask) { (void)ctx, (void)ask; }
static void on_serve(void *ctx, const hth_pool_work *w)
{
	(void)ctx;
	if (w->audience != HTH_AUDIENCE_NEIGHBOURS && w->audience != HTH_AUDIENCE_PUBLIC)
		abort();
	work = w->work;
}
static void on_stop(void *ctx, uint64_t w) { (void)ctx, (void)w; }
static void on_hold(void *ctx, uint64_t w, bool held) { (void)ctx, (void)w, (void)held; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static hth_identity *anna, *ben;
	static hth_charter *charter;
	static int32_t *storage;
	hth_error err;
	if (charter == NULL) {
		unsigned char a[HTH_SEED_BYTES] = {1}, b[HTH_SEED_BYTES] = {2};
		static const hth_rules rules = {.classes = 3, .credit_line = 100, .admit_needs = 1, .change_needs = 1};
		hth_charter *first = NULL;
		storage = malloc(HTH_POOL_PREFIX_MAX * sizeof *storage);
		if (hth_identity_from_seed(&anna, a, &err) != HTH_OK || hth_identity_from_seed(&ben, b, &err) != HTH_OK ||
		    hth_charter_found(&first, "x", &rules, anna, "a", &err) != HTH_OK ||
		    hth_charter_admit(&charter, first, hth_identity_card(ben), "b", HTH_ROLE_MEMBER, &err) != HTH_OK)
			abort();
		hth_charter_unref(first);
	}
	hth_ledger *ledger = NULL;
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	hth_pool_ops ops = {NULL, on_send, on_leaves, on_tokens, on_ended, on_go_home, on_failed, on_serve, on_stop, on_hold, NULL, NULL};
	if (hth_ledger_create(&ledger, &hth_identity_card(anna)->id, hth_signer_of(anna), (hth_ledger_disk){keep, NULL}, &err) != HTH_OK ||
	    hth_pool_create(&pool, &hth_identity_card(anna)->id, &ops, ledger, &rng, &err) != HTH_OK)
		abort();
	hth_capability home = {.slots = 2, .free_slots = 2, .lends = true, .accepts_public = true, .accepts_neighbours = true,
	                       .n_models = 1};
	home.models[0] = (hth_pool_model){.prefill_tok_s = 10, .decode_tok_s = 10};
	uint64_t now = 1800000000000u;
	hth_pool_set_members(pool, charter, now);
	hth_pool_set_home(pool, &home, 0, now);
	work = 0;
	for (size_t at = 0; at + 2 <= size;) {
		size_t n = HTH_MIN((size_t)(data[at] | (data[at + 1] & 0x3f) << 8), size - at - 2);
		now += data[at + 1] >> 6 == 3 ? 3000 : data[at + 1] >> 6;
		at += 2;
		hth_pool_message m;
		if (hth_pool_message_decode(&m, data + at, n, storage, &err) == HTH_OK) {
			hth_buf again = HTH_BUF_INIT(HTH_POOL_MESSAGE_MAX);
			hth_pool_message_encode(&m, &again);
			if (again.failed || again.len != n || memcmp(again.data, data + at, n) != 0)
				abort();
			hth_buf_finish(&again);
		}
		hth_pool_receive(pool, &hth_identity_card(ben)->id, data + at, n, now);
		if (work != 0)
			hth_pool_served(pool, work, &(hth_pool_run){.ids = (int32_t[]){1, 2, 3}, .n = n % 4, .text = "abc",
			                                            .text_len = n % 3, .final = n % 7 == 0}, 5, now);
		hth_pool_tick(pool, now);
		at += n;
	}
	if (hth_pool_works(pool) > HTH_POOL_WORKS_PER_PEER)
		abort();
	hth_pool_destroy(pool);
	hth_ledger_destroy(ledger);
	return 0;
}
