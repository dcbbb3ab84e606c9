/* The index as a whole: real files, the real extractor, and what is found. Argument of the program's environment:
 * HEARTH_EXTRACT. */
#include "base/clock.h"
#include "base/mem.h"
#include "harness.h"
#include "index/index.h"
#include "index/stores.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static hth_error err;
static char top[200], home[300], docs[300];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	chmod(path, 0700);
	return remove(path);
}
static void begin(void)
{
	snprintf(top, sizeof top, "%s/hearth-index-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	CHECK(mkdtemp(top) != NULL);
	snprintf(home, sizeof home, "%s/home", top);
	snprintf(docs, sizeof docs, "%s/docs", top);
	mkdir(docs, 0755);
}
static void end(void)
{
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(const char *name)
{
	static char path[8][600];
	static unsigned n;
	snprintf(path[++n % 8], sizeof path[0], "%s/%s", docs, name);
	return path[n % 8];
}
static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");
	if (f == NULL) {
		test_fail(__FILE__, __LINE__, "cannot write %s", name);
		return;
	}
	fputs(text, f);
	fclose(f);
}

static hth_index *keep(void)
{
	hth_index *ix = NULL;
	const hth_index_options o = {.home = home, .no_ocr = true};
	CHECK_OK(hth_index_start(&ix, &o, &err));
	return ix;
}
static bool settle(hth_index *ix)
{
	uint64_t limit = hth_clock_ms() + 240000;
	while (!hth_index_is_idle(ix) && hth_clock_ms() < limit)
		usleep(10000);
	return hth_index_is_idle(ix);
}
static hth_index_status status_of(hth_index *ix)
{
	hth_index_status s = {0};
	CHECK_OK(hth_index_get_status(home, ix, &s, &err));
	return s;
}

static hth_index_hits found;
static size_t find(hth_index_query q)
{
	hth_index_reader *reader;
	hth_index_hits_finish(&found);
	CHECK_OK(hth_index_reader_open(&reader, home, &err));
	CHECK_OK(hth_index_search(reader, &q, &found, &err));
	hth_index_reader_close(reader);
	return found.n;
}
static size_t find_text(const char *text)
{
	return find((hth_index_query){.text = text});
}
static const char *first_file(void)
{
	const char *slash = found.n > 0 ? strrchr(found.list[0].file, '/') : NULL;
	return slash != NULL ? slash + 1 : "nothing";
}

TEST(files_are_found_by_what_they_say_and_follow_their_changes)
{
	begin();
	put("boiler.txt", "The boiler was serviced in March. Its pressure valve must be replaced next winter.");
	put("garden.txt", "Tomatoes want sun and a lot of water; basil stands beside them.");
	mkdir(at("sub"), 0755);
	put("sub/lease.md", "# Lease\n\nThe rent of 740 euros is due on the third day of each month.");
	put(".hidden.txt", "boiler hidden");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	hth_index_status s = status_of(ix);
	CHECK_INT(s.files[HTH_INDEX_INDEXED], 3);
	CHECK_INT(s.skipped, 1);
	CHECK_INT(find_text("pressure valves boilers"), 1);
	CHECK_STR(first_file(), "boiler.txt");
	CHECK(found.n == 1 && found.list[0].page == 0 && found.list[0].n_marks == 3 && found.list[0].score > 0);
	CHECK_INT(find_text("rent"), 1);
	CHECK_STR(first_file(), "lease.md");
	/* changed: the new text is found, the old one is not */
	put("garden.txt", "Now only potatoes grow there.");
	put("new.txt", "An entirely new sheet about telescopes.");
	CHECK(rename(at("sub/lease.md"), at("sub/contract.md")) == 0);
	CHECK(unlink(at("boiler.txt")) == 0);
	uint64_t limit = hth_clock_ms() + 240000;
	while ((find_text("telescopes") == 0 || find_text("boiler") > 0) && hth_clock_ms() < limit)
		usleep(50000);
	CHECK(settle(ix));
	CHECK_INT(find_text("telescopes"), 1);
	CHECK_INT(find_text("tomatoes"), 0);
	CHECK_INT(find_text("potatoes"), 1);
	CHECK_INT(find_text("boiler"), 0);
	CHECK_INT(find_text("rent"), 1);
	CHECK_STR(first_file(), "contract.md");
	CHECK_INT(status_of(ix).documents, 3);
	hth_index_stop(ix);
	end();
}

static void wait_until(hth_index_query q, size_t n)
{
	uint64_t limit = hth_clock_ms() + 240000;
	while (find(q) != n && hth_clock_ms() < limit)
		usleep(20000);
	CHECK_INT(find(q), n);
}

TEST(filters_follow_files_that_move_change_and_go)
{
	begin();
	char sub[600], other[600], single[600];
	mkdir(at("sub"), 0755);
	mkdir(at("other"), 0755);
	mkdir(at("subway"), 0755);
	snprintf(sub, sizeof sub, "%s", at("sub"));
	snprintf(other, sizeof other, "%s", at("other"));
	snprintf(single, sizeof single, "%s", at("other/lease.md"));
	put("sub/lease.md", "The rent of 740 euros is due on the third day.");
	put("subway/map.txt", "Rent a bicycle where the line ends.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	const hth_index_query in_sub = {.text = "rent", .folder = sub}, in_other = {.text = "rent", .folder = other},
	    in_single = {.text = "rent", .folder = single};
	CHECK_INT(find((hth_index_query){.text = "rent"}), 2);
	CHECK_INT(find(in_sub), 1);
	CHECK_STR(first_file(), "lease.md");
	CHECK_INT(find(in_other), 0);
	CHECK_INT(find(in_single), 0);
	CHECK(rename(at("sub/lease.md"), single) == 0);
	wait_until(in_other, 1);
	CHECK_INT(find(in_sub), 0);
	CHECK_INT(find(in_single), 1);
	put("sub/second.txt", "No rent is asked for the second garage.");
	wait_until(in_sub, 1);
	CHECK_STR(first_file(), "second.txt");
	put("sub/second.txt", "Nothing of that kind any more.");
	wait_until(in_sub, 0);
	CHECK(unlink(single) == 0);
	wait_until(in_other, 0);
	/* A file's own time where its text has none, and its change. */
	const hth_index_query old = {.text = "bicycle", .before = 1000000000};
	CHECK_INT(find(old), 0);
	const struct timespec long_ago[2] = {{.tv_sec = 900000000}, {.tv_sec = 900000000}};
	CHECK(utimensat(AT_FDCWD, at("subway/map.txt"), long_ago, 0) == 0); /* not watched: the next walk sees it */
	hth_index_stop(ix);
	REQUIRE((ix = keep()) != NULL);
	wait_until(old, 1);
	CHECK_INT(find((hth_index_query){.text = "bicycle", .after = 1000000000}), 0);
	/* Another record in the place of this one is not taken for it. */
	hth_index_stop(ix);
	REQUIRE_OK(hth_index_folder_remove(home, docs, &err));
	CHECK_INT(find((hth_index_query){.text = "bicycle", .folder = docs}), 0);
	end();
	begin();
	put("map.txt", "A bicycle stands here.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	REQUIRE((ix = keep()) != NULL);
	CHECK(settle(ix));
	CHECK_INT(find((hth_index_query){.text = "bicycle", .folder = docs}), 1);
	hth_index_stop(ix);
	end();
}

TEST(a_move_costs_no_reading_and_a_copy_shares_its_document)
{
	begin();
	mkdir(at("a"), 0755);
	mkdir(at("b"), 0755);
	put("a/one.txt", "The quick summary of the insurance policy number 4711.");
	put("a/two.txt", "A second paper about the car's inspection.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	hth_index_stop(ix);
	/* While nobody looks: a folder is renamed, a file copied. A file that cannot be read any more shows that it is
	 * not read again. */
	CHECK(rename(at("a"), at("c")) == 0);
	put("b/copy.txt", "A second paper about the car's inspection.");
	chmod(at("c/one.txt"), 0);
	ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	hth_index_status s = status_of(ix);
	CHECK_INT(s.files[HTH_INDEX_INDEXED], 3);
	CHECK_INT(s.documents, 2);
	CHECK_INT(find_text("insurance policy"), 1);
	CHECK(found.n == 1 && strstr(found.list[0].file, "/c/one.txt") != NULL);
	CHECK_INT(find_text("inspection"), 1);
	CHECK(found.n == 1 && found.list[0].n_copies == 1);
	hth_index_stop(ix);
	end();
}

static bool home_has(const char *word)
{
	char command[700];
	snprintf(command, sizeof command, "grep -rqa %s %s/index", word, home);
	return system(command) == 0;
}

TEST(a_removed_folder_leaves_no_trace)
{
	begin();
	put("diary.txt", "Xylophonequartett is a word that nobody else writes.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	CHECK_INT(hth_index_folder_add(home, at("diary.txt"), false, &err), HTH_CONFLICT);
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK_INT(find_text("xylophonequartett"), 1);
	CHECK(home_has("ylophonequartett"));
	struct stat st;
	char path[400];
	snprintf(path, sizeof path, "%s/index/record.db", home);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	snprintf(path, sizeof path, "%s/index", home);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700);
	REQUIRE_OK(hth_index_folder_remove(home, docs, &err));
	CHECK_INT(find_text("xylophonequartett"), 0); /* at once */
	CHECK_INT(hth_index_folder_remove(home, docs, &err), HTH_NOT_FOUND);
	hth_index_wake(ix);
	CHECK(settle(ix));
	hth_index_hits_finish(&found);
	uint64_t limit = hth_clock_ms() + 240000;
	while (home_has("ylophonequartett") && hth_clock_ms() < limit)
		usleep(100000);
	CHECK(!home_has("ylophonequartett"));
	CHECK(!home_has("diary.txt"));
	hth_index_stop(ix);
	end();
}

TEST(a_folder_that_vanishes_keeps_what_it_said)
{
	begin();
	put("note.txt", "The passport number is in the blue folder.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	char away[400];
	snprintf(away, sizeof away, "%s/away", top);
	CHECK(rename(docs, away) == 0);
	hth_index_wake(ix);
	CHECK(settle(ix));
	CHECK_INT(status_of(ix).missing_folders, 1);
	CHECK_INT(find_text("passport"), 1);
	CHECK(rename(away, docs) == 0);
	hth_index_wake(ix);
	CHECK(settle(ix));
	CHECK_INT(status_of(ix).missing_folders, 0);
	CHECK_INT(status_of(ix).unchanged, 1);
	hth_index_stop(ix);
	end();
}

TEST(ignore_rules_and_links_and_odd_files_are_passed_by)
{
	begin();
	put(".hearthignore", "*.log\n/build\n# remark\ndrafts/\n!keep.log\n");
	mkdir(at("build"), 0755);
	mkdir(at("sub"), 0755);
	mkdir(at("sub/drafts"), 0755);
	mkdir(at("sub/build"), 0755);
	put("build/out.txt", "needle one");
	put("run.log", "needle two");
	put("keep.log", "needle three");
	put("sub/drafts/x.txt", "needle four");
	put("sub/build/y.txt", "needle five");
	CHECK(symlink("/etc/passwd", at("link.txt")) == 0);
	CHECK(mkfifo(at("pipe"), 0600) == 0);
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK_INT(find_text("needle"), 2);
	CHECK_INT(status_of(ix).files[HTH_INDEX_INDEXED], 2);
	hth_index_stop(ix);
	end();
}

TEST(queries_have_phrases_musts_and_filters)
{
	begin();
	put("a.txt", "The white house stands near the old mill.");
	put("b.txt", "The house is white with snow, the mill is closed.");
	put("c.md", "A white sheet of paper. No building at all.");
	put("mail.eml", "From: Anna Smith <anna@example.org>\nTo: me@example.org\nSubject: Holiday plans\nDate: Mon, 3 "
	                "Jun 2024 10:00:00 +0000\n"
	                "Content-Type: text/plain\n\nLet us rent the house with the white door.\n");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK(find_text("white house") >= 3);
	CHECK_INT(find_text("\"white house\""), 1);
	CHECK_STR(first_file(), "a.txt");
	CHECK_INT(find_text("white -house"), 1);
	CHECK_STR(first_file(), "c.md");
	CHECK_INT(find_text("white +snow"), 1);
	CHECK_INT(find((hth_index_query){.text = "white", .type = "markdown"}), 1);
	CHECK_INT(find((hth_index_query){.text = "white", .folder = "/nowhere"}), 0);
	CHECK_INT(find((hth_index_query){.text = "white", .shared_only = true}), 0);
	CHECK_INT(find((hth_index_query){.text = "white", .k = 2}), 2);
	if (find((hth_index_query){.text = "white", .type = "mail"}) == 1) { /* where the extractor reads mail */
		CHECK_INT(find((hth_index_query){.text = "white", .from = "anna"}), 1);
		CHECK_INT(find((hth_index_query){.text = "house", .after = 1717000000, .before = 1718000000}), 1);
		CHECK_INT(find_text("holiday plans"), 1);
	}
	hth_index_reader *reader;
	hth_index_hits none;
	REQUIRE_OK(hth_index_reader_open(&reader, home, &err));
	CHECK_INT(hth_index_search(reader, &(hth_index_query){.text = " -house"}, &none, &err), HTH_INVALID);
	CHECK_INT(hth_index_search(reader, &(hth_index_query){.text = "..."}, &none, &err), HTH_INVALID);
	hth_index_reader_close(reader);
	CHECK_INT(find_text("zebra"), 0);
	hth_index_stop(ix);
	end();
}

TEST(a_filter_reaches_beyond_the_best_ten_thousand_passages)
{
	begin();
	FILE *f = fopen(at("many.txt"), "w");
	REQUIRE(f != NULL);
	for (int i = 0; i < 11000; i++) { /* each line ends a passage of its own: longer than what one takes */
		fprintf(f, "common ");
		for (int k = 0; k < 95; k++)
			fprintf(f, "filler%06d ", (i * 131 + k * 7) % 1000000);
		fprintf(f, "\n\n");
	}
	fclose(f);
	char text[3000] = "common ";
	for (int k = 0; k < 90; k++)
		sprintf(text + strlen(text), "stuffing%d words%d ", k, k);
	put("other.md", text);
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK(status_of(ix).passages > 10001);
	CHECK_INT(find((hth_index_query){.text = "common", .type = "markdown"}), 1);
	CHECK_STR(first_file(), "other.md");
	CHECK_INT(find((hth_index_query){.text = "common", .type = "markdown", .folder = docs}), 1);
	CHECK_INT(find((hth_index_query){.text = "common", .type = "pdf"}), 0);
	hth_index_stop(ix);
	end();
}

TEST(what_the_best_passages_share_decides_among_the_rest)
{
	begin();
	put("a.txt", "The boiler, boiler of the house: its thermostat and the burner were set in May.");
	put("b.txt", "Boiler service: a boiler whose thermostat clicks wants a new burner soon.");
	put("c.txt", "A boiler, and again a boiler. Thermostat and burner came from the same maker.");
	put("music.txt", "Somebody wrote a sonata on the word boiler, with a cadenza for the flute.");
	put("letter.txt", "My aunt sends her regards, asks about our old boiler and knows a man who mends any thermostat.");
	put("other.txt", "A thermostat and a burner are sold in the shop at the corner of the street.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK_INT(find_text("boiler"), 5); /* the shop speaks of no boiler */
	size_t letter = 9, music = 9;
	for (size_t i = 0; i < found.n; i++) {
		letter = strstr(found.list[i].file, "letter.txt") != NULL ? i : letter;
		music = strstr(found.list[i].file, "music.txt") != NULL ? i : music;
		CHECK(found.list[i].share > 0.99 && strstr(found.list[i].snippet, "oiler") != NULL);
	}
	CHECK(letter < music && music == 4); /* although it has more words around its one "boiler" */
	CHECK_INT(find_text("boiler -sonata"), 4);
	CHECK_INT(find_text("+sonata boiler"), 1);
	hth_index_stop(ix);
	end();
}

TEST(a_store_goes_so_many_days_after_it_was_last_used)
{
	begin();
	put("boiler.txt", "The boiler was serviced in March.");
	HTH_AUTO_JSON json_t *body = json_pack("{s:s, s:{s:s, s:i}}", "name", "weekly", "expires_after", "anchor", "last_active_at", "days",
	                                       7), *store = NULL, *file = NULL,
	                     *later = NULL, *gone = NULL;
	char folder[600], spool[800];
	REQUIRE_OK(hth_uploads_folder(home, folder, sizeof folder, &err) == HTH_OK ? HTH_OK
	                                                                           : (mkdir(home, 0700),
	                                                                              hth_uploads_folder(home, folder, sizeof folder,
	    &err)));
	snprintf(spool, sizeof spool, "%s/.spool", folder);
	CHECK(rename(at("boiler.txt"), spool) == 0);
	REQUIRE_OK(hth_uploads_put(home, spool, "boiler.txt", "assistants", &file, &err));
	REQUIRE_OK(hth_stores_create(home, body, &store, &err));
	const char *id = json_string_value(json_object_get(store, "id"));
	HTH_AUTO_JSON json_t *one = json_pack("{s:O}", "file_id", json_object_get(file, "id")), *added = NULL;
	REQUIRE_OK(hth_store_files_add(home, id, one, &added, &err));
	int64_t active = json_integer_value(json_object_get(store, "last_active_at"));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	const hth_index_query q = {.text = "boiler", .store = id};
	CHECK_OK(hth_stores_expire(home, active + 7 * 86400 - 1, &err));
	CHECK_INT(find(q), 1);
	REQUIRE_OK(hth_stores_get(home, id, &later, &err));
	CHECK_STR(json_string_value(json_object_get(later, "status")), "completed");
	CHECK_OK(hth_stores_expire(home, active + 7 * 86400, &err));
	CHECK_INT(find(q), 0);
	REQUIRE_OK(hth_stores_get(home, id, &gone, &err));
	CHECK_STR(json_string_value(json_object_get(gone, "status")), "expired");
	CHECK_INT(json_integer_value(json_object_get(json_object_get(gone, "file_counts"), "total")), 0);
	CHECK_INT(hth_store_files_add(home, id, one, &added, &err), HTH_INVALID);
	/* All traces go; the file itself stays until its sender deletes it. */
	hth_index_wake(ix);
	uint64_t limit = hth_clock_ms() + 30000;
	while (status_of(ix).passages > 0 && hth_clock_ms() < limit)
		usleep(20000);
	CHECK_INT(status_of(ix).passages, 0);
	HTH_AUTO_JSON json_t *kept = NULL;
	CHECK_OK(hth_uploads_get(home, json_string_value(json_object_get(file, "id")), &kept, &err));
	CHECK_OK(hth_stores_delete(home, id, &err));
	CHECK_INT(hth_stores_get(home, id, &later, &err), HTH_NOT_FOUND);
	hth_index_stop(ix);
	end();
}

TEST(near_copies_are_one_hit)
{
	begin();
	const char *letter = "%s, we write to tell you that the water supply of your street will be interrupted on "
	                     "Tuesday between eight and noon because "
	                     "the main pipe must be replaced. Please keep a few bottles ready. With kind regards, the "
	                     "waterworks of the town.";
	char text[600];
	snprintf(text, sizeof text, letter, "Dear Mrs Miller");
	put("scan1.txt", text);
	snprintf(text, sizeof text, letter, "Dear Mr Jones");
	put("scan2.txt", text);
	put("other.txt", "The water supply of plants: pour on Tuesday.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK_INT(find_text("water supply interrupted Tuesday"), 2);
	CHECK(found.n == 2 && found.list[0].n_copies == 1 && found.list[1].n_copies == 0);
	hth_index_stop(ix);
	end();
}

TEST(another_process_may_not_keep_the_same_index)
{
	begin();
	hth_index *ix = keep(), *second = NULL;
	REQUIRE(ix != NULL);
	CHECK_INT(hth_index_start(&second, &(hth_index_options){.home = home}, &err), HTH_BUSY);
	hth_index_stop(ix);
	CHECK_INT(find_text("anything"), 0);
	end();
}

/* A child keeps the index and is killed at some moment; every file that was counted as indexed is found. */
TEST(a_kill_at_any_moment_loses_no_indexed_document)
{
	begin();
	enum { FILES = 60 };
	for (int i = 0; i < FILES; i++) {
		char name[32], text[400];
		snprintf(name, sizeof name, "f%02d.txt", i);
		snprintf(
		    text, sizeof text,
		    "Common text of all, and the mark unique%02dword. Some more words to make it longer than a line.",
		    i);
		put(name, text);
	}
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	fflush(stdout);
	for (int round = 0; round < 8; round++) {
		pid_t pid = fork();
		if (pid == 0) {
			hth_index *ix = NULL;
			if (hth_index_start(&ix, &(hth_index_options){.home = home, .no_ocr = true}, &err) != HTH_OK)
				_exit(1);
			for (;;)
				pause();
		}
		usleep(50000 + 90000u * (unsigned)round);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		/* What the record calls indexed has its passages, and no passage is without a document. */
		hth_index_status s = status_of(NULL);
		CHECK_INT(s.passages, s.files[HTH_INDEX_INDEXED]);
		CHECK_INT(s.documents, s.files[HTH_INDEX_INDEXED]);
	}
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK_INT(status_of(ix).files[HTH_INDEX_INDEXED], FILES);
	for (int i = 0; i < FILES; i++) {
		char word[32];
		snprintf(word, sizeof word, "unique%02dword", i);
		CHECK_INT(find_text(word), 1);
	}
	hth_index_stop(ix);
	end();
}

TEST(a_file_that_changes_while_it_is_read_ends_with_its_last_text)
{
	begin();
	put("busy.txt", "version zero");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	for (int i = 1; i <= 25; i++) {
		char text[64];
		snprintf(text, sizeof text, "version number%d%s", i, i == 25 ? " lastwords" : "");
		put("busy.txt", text);
		usleep(30000);
	}
	uint64_t limit = hth_clock_ms() + 240000;
	while (find_text("lastwords") == 0 && hth_clock_ms() < limit)
		usleep(100000);
	CHECK_INT(find_text("lastwords"), 1);
	CHECK(settle(ix));
	CHECK_INT(find_text("version"), 1);
	CHECK_INT(status_of(ix).documents, 1);
	hth_index_stop(ix);
	end();
}

TEST(a_full_disk_is_survived)
{
	begin();
	/* A limit on the size of files stands for the disk: writes beyond it fail. */
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit old, small;
	getrlimit(RLIMIT_FSIZE, &old);
	static char text[400000];
	for (int i = 0; i < 3; i++) {
		char name[16];
		size_t n = 0;
		snprintf(name, sizeof name, "big%d.txt", i);
		for (int w = 0; n < sizeof text - 32; w++)
			n += (size_t)snprintf(text + n, 32, "word%d%c", w * 7 + i, w % 12 == 11 ? '\n' : ' ');
		put(name, text);
	}
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	small = old;
	small.rlim_cur = 600000;
	setrlimit(RLIMIT_FSIZE, &small);
	hth_index *ix = keep();
	REQUIRE(ix != NULL);
	uint64_t limit = hth_clock_ms() + 60000;
	while (status_of(ix).trouble[0] == '\0' && hth_clock_ms() < limit)
		usleep(20000);
	CHECK(status_of(ix).trouble[0] != '\0'); /* its owner is told why it does not go on */
	CHECK(!hth_index_is_idle(ix));
	hth_index_stop(ix);
	setrlimit(RLIMIT_FSIZE, &old);
	ix = keep();
	REQUIRE(ix != NULL);
	CHECK(settle(ix));
	CHECK_INT(status_of(ix).files[HTH_INDEX_INDEXED], 3);
	CHECK_STR(status_of(ix).trouble, "");
	CHECK(find_text("word70") > 0);
	hth_index_stop(ix);
	hth_index_hits_finish(&found);
	end();
}

TEST_MAIN()
