/* test-ledger-store.c - the ledger on a real database: a process that dies at any of its writes leaves one that replays, and agrees with
 * the other home. */
#include "harness.h"
#include "base/mem.h"
#include "ledger/ledger-store.h"

#include <sys/wait.h>
#include <unistd.h>

static hth_error err;
static const uint64_t T0 = 20000ull * 86400000;
enum { RECEIPTS = 3 };

typedef struct party {
	char home[64];
	hth_identity *identity;
	hth_store *store;
	hth_ledger *ledger;
	hth_ledger_summary summary;
} party;

static long writes_left; /* of the whole process, both homes */
static bool die_after;   /* the last write happens */

static hth_status dying_put(void *ctx, const hth_entry *entry, hth_error *e)
{
	if (writes_left == 0 && !die_after)
		_exit(9);
	hth_ledger_disk disk = hth_ledger_disk_of(ctx);
	hth_status status = disk.put(disk.ctx, entry, e);
	if (writes_left-- == 0)
		_exit(9);
	return status;
}

static bool open_party(party *p)
{
	hth_ledger_disk disk = {dying_put, NULL};
	if (hth_store_open(&p->store, p->home, &err) != HTH_OK)
		return false;
	disk.ctx = p->store;
	return hth_ledger_create(&p->ledger, &hth_identity_card(p->identity)->id, hth_signer_of(p->identity), disk, &err) == HTH_OK &&
	       hth_ledger_load(p->ledger, p->store, &p->summary, &err) == HTH_OK;
}

static void close_party(party *p)
{
	hth_ledger_destroy(p->ledger);
	hth_store_close(p->store);
	p->ledger = NULL;
	p->store = NULL;
}

static void exchange(party *giver, party *taker)
{
	hth_receipt totals = {.taker = hth_identity_card(taker->identity)->id, .privacy = 2, .issued_ms = T0, .answer_tokens = 5,
	                      .charge = 5};
	hth_counted counted = {.known = true, .answer_tokens = 5, .now_ms = T0};
	hth_entry proposal, verdict;
	if (hth_ledger_propose(giver->ledger, &totals, &proposal, &err) == HTH_OK &&
	    hth_ledger_consider(taker->ledger, &hth_identity_card(giver->identity)->id, &proposal, &counted, &verdict, &err) == HTH_OK)
		(void)!hth_ledger_answered(giver->ledger, &totals.taker, &verdict, &err);
}

TEST(a_process_killed_at_any_write_loses_no_signed_receipt)
{
	for (int when = 0; when < RECEIPTS * 3 * 2; when++) {
		party p[2] = {0};
		for (int i = 0; i < 2; i++) {
			unsigned char seed[HTH_SEED_BYTES] = {(unsigned char)(i + 1)};
			strcpy(p[i].home, "/tmp/hearth-ledger-XXXXXX");
			REQUIRE(mkdtemp(p[i].home) != NULL);
			REQUIRE_OK(hth_identity_from_seed(&p[i].identity, seed, &err));
		}
		pid_t pid = fork();
		if (pid == 0) {
			writes_left = when / 2;
			die_after = when % 2;
			if (!open_party(&p[0]) || !open_party(&p[1]))
				_exit(1);
			for (int i = 0; i < RECEIPTS; i++)
				exchange(&p[i % 2], &p[1 - i % 2]);
			_exit(0);
		}
		int status;
		waitpid(pid, &status, 0);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
		writes_left = -1;
		REQUIRE(open_party(&p[0]) && open_party(&p[1]));
		for (int i = 0; i < 2; i++) { /* what is open is sent again; the job is forgotten, so it may be refused */
			hth_entry open, verdict;
			if (!hth_ledger_open(p[i].ledger, &hth_identity_card(p[1 - i].identity)->id, &open))
				continue;
			CHECK_OK(hth_ledger_consider(p[1 - i].ledger, &hth_identity_card(p[i].identity)->id, &open, &(hth_counted){0},
			                             &verdict, &err));
			CHECK_OK(hth_ledger_answered(p[i].ledger, &hth_identity_card(p[1 - i].identity)->id, &verdict, &err));
		}
		exchange(&p[0], &p[1]); /* and the chains go on */
		int64_t balance = hth_ledger_balance(p[0].ledger, &hth_identity_card(p[1].identity)->id, T0);
		CHECK_INT(hth_ledger_balance(p[1].ledger, &hth_identity_card(p[0].identity)->id, T0), -balance);
		close_party(&p[0]);
		close_party(&p[1]);
		REQUIRE(open_party(&p[0]));
		CHECK_INT(hth_ledger_balance(p[0].ledger, &hth_identity_card(p[1].identity)->id, T0), balance);
		CHECK(p[0].summary.open == 0 && p[0].summary.accepted > 0 &&
		      p[0].summary.receipts == p[0].summary.accepted + p[0].summary.refused);
		close_party(&p[0]);
		for (int i = 0; i < 2; i++) {
			char command[80];
			hth_identity_destroy(p[i].identity);
			snprintf(command, sizeof command, "rm -r %.60s", p[i].home);
			CHECK_INT(system(command), 0);
		}
	}
}

TEST_MAIN()
