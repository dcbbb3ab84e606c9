/* cmd-ledger.c - `hearth ledger`: what homes did for each other, replayed from the receipts on disk. Every run verifies every one of
 * them. */
#include "base/clock.h"
#include "base/mem.h"
#include "charter/member-names.h"
#include "cmd/cmd-options.h"
#include "json/json.h"
#include "ledger/ledger-store.h"

typedef struct listing {
	hth_ledger *ledger;
	hth_cmd_table *table;
	hth_buf *json;
	size_t n;
	hth_name *names;
	size_t n_names;
} listing;

static const char *name_of(const listing *l, const char *id)
{
	for (size_t i = 0; i < l->n_names; i++)
		if (strcmp(l->names[i].id, id) == 0)
			return l->names[i].name;
	return "";
}

static void list_home(void *ctx, const hth_home_id *other)
{
	listing *l = ctx;
	char id[HTH_HOME_ID_TEXT], given[32], taken[32], balance[32], energy[2][32];
	uint64_t sequence[2], mws[2];
	unsigned char hash[2][HTH_HASH_BYTES];
	int64_t owed = hth_ledger_balance(l->ledger, other, (uint64_t)hth_clock_unix() * 1000);
	hth_home_id_text(other, id);
	hth_ledger_ends(l->ledger, other, sequence, hash);
	hth_ledger_energy(l->ledger, other, mws);
	if (l->json != NULL) {
		hth_buf_appendf(l->json, "%s{\"id\":\"%s\",\"name\":", l->n > 0 ? "," : "", id);
		hth_json_write_string(name_of(l, id), strlen(name_of(l, id)), l->json);
		hth_buf_appendf(l->json, ",\"given\":%llu,\"taken\":%llu,\"balance\":%lld,\"given_joules\":%.3f,\"taken_joules\":%.3f}",
		                (unsigned long long)sequence[0], (unsigned long long)sequence[1], (long long)owed, (double)mws[0] / 1000,
		                (double)mws[1] / 1000);
	} else {
		snprintf(given, sizeof given, "%llu", (unsigned long long)sequence[0]);
		snprintf(taken, sizeof taken, "%llu", (unsigned long long)sequence[1]);
		snprintf(balance, sizeof balance, "%+lld", (long long)owed);
		for (int i = 0; i < 2; i++) /* nobody knows: rather nothing than a nought */
			snprintf(energy[i], sizeof energy[i], mws[i] > 0 ? "%.3f Wh" : "-", (double)mws[i] / 3.6e6);
		hth_cmd_table_row(l->table, (const char *const[]){name_of(l, id), id, given, energy[0], taken, energy[1], balance});
	}
	l->n++;
}

static hth_status count_one(void *ctx, const void *entry, size_t len, hth_error *err)
{
	(void)entry, (void)len, (void)err;
	++*(size_t *)ctx;
	return HTH_OK;
}

/* This program only looks: it writes nothing. */
static hth_status refuse_write(void *ctx, const hth_entry *entry, hth_error *err)
{
	(void)ctx, (void)entry;
	return hth_fail(err, HTH_INTERNAL, "the ledger is only read here");
}

static int show(hth_invocation *in, hth_ledger *ledger, const hth_ledger_summary *s, bool verify, bool json)
{
	hth_cmd_table table;
	hth_buf out = HTH_BUF_INIT(16 << 20);
	HTH_AUTO_FREE hth_name *names = NULL;
	listing l = {.ledger = ledger, .table = &table, .json = json ? &out : NULL, .n_names = hth_names_load(in->config.home, &names)};
	l.names = names;
	if (json) {
		hth_buf_appendf(&out, "{\"verified\":true,\"receipts\":%llu,\"accepted\":%llu,\"refused\":%llu,\"open\":%llu,\"homes\":[",
		                (unsigned long long)s->receipts, (unsigned long long)s->accepted, (unsigned long long)s->refused,
		                (unsigned long long)s->open);
		if (ledger != NULL)
			hth_ledger_each(ledger, list_home, &l);
		hth_buf_append_str(&out, "]}");
		int code = hth_cmd_print(in, &out);
		hth_buf_finish(&out);
		return code;
	}
	if (s->receipts == 0) {
		printf("No receipts: this home has done nothing for others, and they nothing for it.\n");
		return HTH_EXIT_DONE;
	}
	if (verify) {
		printf("%llu receipts verified: every signature and every link of every chain holds. %llu accepted, %llu refused, %llu "
		       "open.\n", (unsigned long long)s->receipts, (unsigned long long)s->accepted, (unsigned long long)s->refused,
		       (unsigned long long)s->open);
		return HTH_EXIT_DONE;
	}
	hth_cmd_table_init(&table, "<<>>>>>", (const char *const[]){"name", "home", "given", "energy", "taken", "energy", "balance"});
	hth_ledger_each(ledger, list_home, &l);
	hth_cmd_table_print(&table, stdout);
	return HTH_EXIT_DONE;
}

int hth_cmd_ledger(hth_invocation *in)
{
	bool json = false;
	const hth_option options[] = {HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 1))
		return in->exit_code;
	if (in->argc == 1 && strcmp(in->argv[0], "verify") != 0)
		return hth_cmd_usage(in, "'%.60s' should be verify", in->argv[0]);
	hth_error err = HTH_ERROR_INIT;
	hth_store *store = NULL;
	hth_identity *identity = NULL;
	hth_ledger *ledger = NULL;
	hth_ledger_summary summary = {0};
	size_t n = 0;
	hth_status status = hth_store_open(&store, in->config.home, &err);
	if (status == HTH_OK)
		status = hth_store_receipt_each(store, count_one, &n, &err);
	if (status == HTH_OK && n > 0) { /* without receipts there is nothing to ask the home's keys for, and none are made */
		status = hth_identity_load(&identity, in->config.home, &err);
		if (status == HTH_OK)
			status = hth_ledger_create(&ledger, &hth_identity_card(identity)->id, hth_signer_of(identity),
			                           (hth_ledger_disk){refuse_write, NULL}, &err);
		if (status == HTH_OK)
			status = hth_ledger_load(ledger, store, &summary, &err);
	}
	int code = status == HTH_OK ? show(in, ledger, &summary, in->argc == 1, json) : hth_cmd_fail(in, &err);
	hth_ledger_destroy(ledger);
	hth_identity_destroy(identity);
	hth_store_close(store);
	return code;
}
