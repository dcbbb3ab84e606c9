/* What the documents cost: the meter's arithmetic, the table of prices, and that sums outlive a restart. */
#include "base/clock.h"
#include "base/mem.h"
#include "harness.h"
#include "index/cost.h"
#include "base/energy.h"
#include "index/index-json.h"

#include <ftw.h>
#include <math.h>
#include <sys/stat.h>

static hth_error err;
static char top[200];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}
static void begin(void)
{
	snprintf(top, sizeof top, "/tmp/hearth-cost-XXXXXX");
	CHECK(mkdtemp(top) != NULL);
}
static void end(void) { nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

static const char *at(const char *name)
{
	static char path[4][400];
	static unsigned n;
	snprintf(path[++n % 4], sizeof path[0], "%s/%s", top, name);
	return path[n % 4];
}
static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");
	REQUIRE(f != NULL);
	fputs(text, f);
	fclose(f);
}

TEST(the_meter_is_shared_out_by_time_and_wraps)
{
	hth_energy_meter m;
	double joules = -1;
	begin();
	hth_energy_open(&m, at("nothing"), 0, 0, 0);
	CHECK(!hth_energy_look(&m, 1000, 1, 1, &joules));
	mkdir(at("intel-rapl:0"), 0755);
	mkdir(at("intel-rapl:1"), 0755);
	put("intel-rapl:0/max_energy_range_uj", "100000000\n");
	put("intel-rapl:1/max_energy_range_uj", "100000000\n");
	put("intel-rapl:0/energy_uj", "90000000\n");
	put("intel-rapl:1/energy_uj", "1000000\n");
	hth_energy_open(&m, top, 10000, 5, 100);
	/* 20 J (over the end) and 10 J in 10 s; this work had a core half of the time, and a quarter of what all used. */
	put("intel-rapl:0/energy_uj", "10000000\n");
	put("intel-rapl:1/energy_uj", "11000000\n");
	CHECK(hth_energy_look(&m, 20000, 10, 120, &joules));
	CHECK_NEAR(joules, 30 * 0.5 * 0.25, 1e-9);
	/* Nothing was done: what the machine takes by itself is not this work's. */
	put("intel-rapl:0/energy_uj", "60000000\n");
	CHECK(hth_energy_look(&m, 90000, 10, 150, &joules));
	CHECK_NEAR(joules, 0, 1e-9);
	/* More than one core, alone: all of it. */
	put("intel-rapl:0/energy_uj", "70000000\n");
	CHECK(hth_energy_look(&m, 91000, 12, 152, &joules));
	CHECK_NEAR(joules, 10, 1e-9);
	end();
}

TEST(busy_time_is_what_is_not_idle)
{
	double tick = (double)sysconf(_SC_CLK_TCK);
	CHECK_NEAR(hth_energy_busy_seconds("cpu  100 20 30 9999 8888 1 2 3 4 5\ncpu0 1 2"), 156 / tick, 1e-9);
	CHECK_NEAR(hth_energy_busy_seconds("nonsense"), 0, 0);
}

static const char table[] = "# a comment\n\ncurrency = USD\nkwh = 0.30 ; 2025-01-02 ; somewhere; with a sign\nwatts_per_core = 10 ; "
                            "2025-01-03 ; a guess\npage_1000 = 1.5 ; 2025-01-04 ; a cloud\ngb_month = 3 ; 2025-01-05 ; another\ngb_free = "
                            "1 ; 2025-01-05 ; the same\n";

TEST(prices_come_with_the_program_and_are_edited_line_by_line)
{
	hth_prices p;
	begin();
	put("installed", table);
	REQUIRE_OK(hth_prices_load(&p, at("installed"), top, &err));
	CHECK_STR(p.currency, "USD");
	CHECK_NEAR(p.list[HTH_PRICE_KWH].value, 0.3, 1e-12);
	CHECK_STR(p.list[HTH_PRICE_KWH].date, "2025-01-02");
	CHECK_STR(p.list[HTH_PRICE_KWH].source, "somewhere; with a sign");
	put("prices.conf", "kwh = 0.41 ; 2026-02-01 ; our bill\ncurrency = EUR\n");
	REQUIRE_OK(hth_prices_load(&p, at("installed"), top, &err));
	CHECK_STR(p.currency, "EUR");
	CHECK_NEAR(p.list[HTH_PRICE_KWH].value, 0.41, 1e-12);
	CHECK_STR(p.list[HTH_PRICE_KWH].source, "our bill");
	CHECK_NEAR(p.list[HTH_PRICE_PAGES].value, 1.5, 1e-12);
	static const struct {
		const char *line, *says;
	} bad[] = {{"\nkwh : 3\n", ":2: a line should be"}, {"kwh = cheap\n", ":1: kwh should be a number"},
	           {"kwh = -1\n", "should be a number"}, {"kwh = nan\n", "should be a number"},
	           {"kw = 1\n", "no price named kw"}, {"currency = \n", "currency should be"},
	           {"currency = \"E\"\n", "currency should be"}};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		put("prices.conf", bad[i].line);
		CHECK(hth_prices_load(&p, at("installed"), top, &err) == HTH_BAD_FORMAT && strstr(err.message, bad[i].says) != NULL);
	}
	put("prices.conf", "kwh = 1\n");
	CHECK(hth_prices_load(&p, at("none"), top, &err) == HTH_NOT_FOUND && strstr(err.message, "watts_per_core") != NULL);
	end();
}

TEST(the_sums_are_those_of_the_table)
{
	hth_prices p;
	hth_index_cost c;
	begin();
	put("installed", table);
	REQUIRE_OK(hth_prices_load(&p, at("installed"), top, &err));
	/* An hour of a core guessed, 7200 J measured: 10 + 2 Wh. 3 GB, one of them free, for two months. */
	hth_index_status s = {.cpu_seconds = 5400, .metered_cpu_seconds = 1800, .metered_joules = 7200, .pages_read = 40000,
	                      .text_bytes = 3000000000, .since_unix = 1000000};
	hth_index_count_cost(&s, &p, 1000000 + (int64_t)(2 * 30.44 * 86400), &c);
	CHECK_NEAR(c.watt_hours, 12, 1e-9);
	CHECK_NEAR(c.energy, 0.0036, 1e-9);
	CHECK_NEAR(c.cloud_pages, 60, 1e-9);
	CHECK_NEAR(c.cloud_storage, 12, 1e-4);
	CHECK_STR(c.measured_by, "RAPL and processor time");
	s.metered_cpu_seconds = 5400;
	hth_index_count_cost(&s, &p, 0, &c);
	CHECK_STR(c.measured_by, "RAPL");
	CHECK_NEAR(c.watt_hours, 2, 1e-9);
	s.metered_cpu_seconds = 0;
	s.metered_joules = 0;
	hth_index_count_cost(&s, &p, 0, &c);
	CHECK_STR(c.measured_by, "processor time");
	CHECK_NEAR(c.watt_hours, 15, 1e-9);
	CHECK_NEAR(c.cloud_storage, 0, 0);
	end();
}

static void settle(hth_index *ix)
{
	for (uint64_t limit = hth_clock_ms() + 240000; !hth_index_is_idle(ix) && hth_clock_ms() < limit;)
		usleep(10000);
	CHECK(hth_index_is_idle(ix));
}

TEST(what_was_spent_outlives_a_restart_and_the_files)
{
	begin();
	hth_index_options o = {.home = at("home"), .no_ocr = true};
	char home[400], docs[400];
	snprintf(home, sizeof home, "%s", at("home"));
	snprintf(docs, sizeof docs, "%s", at("docs"));
	o.home = home;
	o.powercap = top;
	mkdir(docs, 0755);
	mkdir(at("intel-rapl:0"), 0755);
	put("intel-rapl:0/energy_uj", "5\n");
	put("docs/a.txt", "One page of words.");
	put("docs/b.txt", "Another page of others.");
	hth_index *ix;
	hth_index_status before, after;
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	REQUIRE_OK(hth_index_start(&ix, &o, &err));
	settle(ix);
	hth_index_stop(ix);
	REQUIRE_OK(hth_index_get_status(home, NULL, &before, &err));
	CHECK_INT(before.pages_read, 2);
	CHECK(before.cpu_seconds > 0 && fabs(before.metered_cpu_seconds - before.cpu_seconds) < 1e-9 && before.since_unix > 0);
	remove(at("docs/a.txt"));
	o.powercap = at("nothing");
	REQUIRE_OK(hth_index_start(&ix, &o, &err));
	settle(ix);
	put("docs/c.txt", "A third one.");
	hth_index_wake(ix);
	settle(ix);
	hth_index_stop(ix);
	REQUIRE_OK(hth_index_get_status(home, NULL, &after, &err));
	CHECK_INT(after.files[HTH_INDEX_INDEXED], 2);
	CHECK_INT(after.pages_read, 3);
	CHECK(after.cpu_seconds > before.cpu_seconds && after.metered_cpu_seconds < after.cpu_seconds);
	/* As JSON: with the home's prices, or why there are none. */
	hth_buf out = HTH_BUF_INIT(1 << 20);
	put("home/prices.conf", "kwh = x\n");
	CHECK_OK(hth_index_write_status(home, NULL, &out, &err));
	CHECK(strstr(out.data, "\"cost\":{\"error\":") != NULL);
	hth_buf_clear(&out);
	put("home/prices.conf", table);
	CHECK_OK(hth_index_write_status(home, NULL, &out, &err));
	CHECK(strstr(out.data, "\"pages_read\":3,\"cloud_pages\":0.0045") != NULL &&
	      strstr(out.data, "\"date\":\"2025-01-04\",\"source\":\"a cloud\"") != NULL);
	hth_buf_finish(&out);
	end();
}

TEST_MAIN()
