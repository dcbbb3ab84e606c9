/* The daemon's side of the extractor with real children: what is told, in which order, and what becomes of jobs whose child is killed,
 * hangs, or is not wanted any more. The program is the one in the build folder. */
#include "base/buf.h"
#include "base/mem.h"
#include "extract/extract.h"
#include "sandbox/sandbox.h"
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct told {
	hth_loop *loop;
	hth_extractor *x;
	hth_extract_job *job;
	unsigned parts, metas, part_ends, ends, restarts;
	hth_extract_result end;
	char reason[HTH_EXTRACT_REASON_MAX], part_reasons[4096], title[256];
	hth_extract_kind kind;
	hth_buf text;
	uint64_t png_bytes, png_sum;
	char png_head[8];
	int order, *clock; /* when it ended, among others */
	void (*on_first_block)(struct told *t);
	int touch_fd;
} told;

static void on_part(void *ctx, const hth_extract_part *part)
{
	told *t = ctx;
	CHECK_INT(part->id, t->parts);
	t->parts++;
	if (t->touch_fd > 0) {
		CHECK(ftruncate(t->touch_fd, 5) == 0);
		t->touch_fd = -1;
	}
}
static void on_meta(void *ctx, const hth_extract_meta *meta)
{
	told *t = ctx;
	t->metas++;
	if (meta->part == 0) {
		t->kind = meta->kind;
		snprintf(t->title, sizeof t->title, "%s", meta->title);
	}
}
static void on_block(void *ctx, const hth_extract_block *block)
{
	told *t = ctx;
	CHECK_INT(strlen(block->text), block->len);
	bool first = t->text.len == 0;
	hth_buf_append(&t->text, block->text, block->len);
	hth_buf_append_char(&t->text, '\n');
	if (first && t->on_first_block != NULL)
		t->on_first_block(t);
}
static void on_part_end(void *ctx, const hth_extract_result *result)
{
	told *t = ctx;
	t->part_ends++;
	CHECK(result->part > 0);
	snprintf(t->part_reasons + strlen(t->part_reasons), sizeof t->part_reasons - strlen(t->part_reasons), "%s;", result->reason);
}
static void on_png(void *ctx, const void *bytes, size_t len)
{
	told *t = ctx;
	t->png_bytes = len;
	for (size_t i = 0; i < len; i++)
		t->png_sum = t->png_sum * 31 + ((const unsigned char *)bytes)[i];
	memcpy(t->png_head, bytes, HTH_MIN(len, sizeof t->png_head));
}
static void on_restart(void *ctx)
{
	told *t = ctx;
	t->restarts++;
	t->parts = t->metas = t->part_ends = 0;
	hth_buf_clear(&t->text);
	t->on_first_block = NULL;
}
static void on_end(void *ctx, const hth_extract_result *result)
{
	told *t = ctx;
	t->ends++;
	t->end = *result;
	snprintf(t->reason, sizeof t->reason, "%s", result->reason);
	if (t->clock != NULL)
		t->order = ++*t->clock;
	if (t->loop != NULL)
		hth_loop_stop(t->loop);
}
static const hth_extract_sink sink = {on_part, on_meta, on_block, on_part_end, on_png, on_restart, on_end};

typedef struct bench {
	hth_loop *loop;
	hth_extractor *x;
} bench;

static bool setup(bench *b, hth_extractor_options options)
{
	static char program[4096];
	hth_error err = HTH_ERROR_INIT;
	snprintf(program, sizeof program, "%s/hearth-extract", getenv("HEARTH_BUILD") ? getenv("HEARTH_BUILD") : "build");
	options.program = program;
	*b = (bench){0};
	if (hth_loop_create(&b->loop, &err) != HTH_OK || hth_extractor_create(&b->x, b->loop, &options, &err) != HTH_OK) {
		test_fail(__FILE__, __LINE__, "%s", err.message);
		return false;
	}
	return true;
}
static void teardown(bench *b)
{
	hth_extractor_destroy(b->x);
	for (int i = 0; i < 3000 && !hth_loop_destroy(b->loop); i++)
		usleep(20000); /* children that were killed are reaped */
}

static int file_with(const void *bytes, size_t len)
{
	char path[] = "/tmp/hearth-extract-XXXXXX";
	int fd = mkstemp(path);
	unlink(path);
	CHECK_INT(write(fd, bytes, len), len);
	return fd;
}
static int read_only(int fd)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int ro = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return ro;
}
static told begin(bench *b, bool stop)
{
	return (told){.loop = stop ? b->loop : NULL, .x = b->x, .text = HTH_BUF_INIT(64 << 20), .touch_fd = -1};
}
static void submit(bench *b, told *t, int fd, hth_extract_ask ask)
{
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_extractor_submit(b->x, fd, &ask, &sink, t, &t->job, &err));
}
static void run_file(bench *b, told *t, const void *bytes, size_t len, const char *name, hth_extract_mode mode)
{
	submit(b, t, read_only(file_with(bytes, len)), (hth_extract_ask){.mode = mode, .name = name, .page = 1});
	hth_loop_run(b->loop);
	CHECK_INT(t->ends, 1);
}

/* This process's children that are extractors; the first's pid, 0: none. */
static pid_t find_child(void)
{
	DIR *dir = opendir("/proc");
	pid_t found = 0;
	for (struct dirent *e; dir != NULL && found == 0 && (e = readdir(dir)) != NULL;) {
		char path[300], line[512] = "";
		snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
		FILE *f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "re") : NULL;
		if (f == NULL)
			continue;
		int pid, parent;
		char state;
		if (fgets(line, sizeof line, f) != NULL && sscanf(line, "%d (hearth-extract) %c %d", &pid, &state, &parent) == 3 &&
		    parent == getpid() && state != 'Z')
			found = pid;
		fclose(f);
	}
	closedir(dir);
	return found;
}

/* A PDF of n pages; each says "page N", `extra` goes into every page's content. */
static char *make_pdf(int n, const char *extra, const char *objects, size_t *ret_len)
{
	hth_buf b = HTH_BUF_INIT(64 << 20);
	hth_buf_append_str(&b, "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count ");
	hth_buf_appendf(&b, "%d/Kids[", n);
	for (int i = 0; i < n; i++)
		hth_buf_appendf(&b, "%d 0 R ", 10 + 2 * i);
	hth_buf_append_str(&b, "]>>endobj\n3 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n");
	hth_buf_append_str(&b, objects);
	for (int i = 0; i < n; i++) {
		char content[512];
		snprintf(content, sizeof content, "BT /F 12 Tf 72 700 Td (This is page %d of a letter) Tj ET %s", i + 1, extra);
		hth_buf_appendf(&b, "%d 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F 3 0 R>>"
		                    "/XObject<</X 4 0 R>>>>>>endobj\n%d 0 obj<</Length %zu>>stream\n%s\nendstream endobj\n",
		                10 + 2 * i, 11 + 2 * i, 11 + 2 * i, strlen(content), content);
	}
	hth_buf_append_str(&b, "trailer<</Root 1 0 R>>\n");
	return hth_buf_steal(&b, ret_len);
}

TEST(plain_text_comes_in_blocks)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	told t = begin(&b, true);
	static const char text[] = "First paragraph,\nof two lines.\n\n\xC3\xA4rger & caf\xE9\n";
	run_file(&b, &t, text, sizeof text - 1, "note.txt", HTH_EXTRACT_MODE_TEXT);
	CHECK_INT(t.end.state, HTH_EXTRACT_TEXT);
	CHECK_INT(t.kind, HTH_KIND_PLAIN);
	CHECK_INT(t.parts, 1);
	CHECK(t.text.data != NULL && strstr(t.text.data, "of two lines.\n") != NULL);
	CHECK_STR(t.reason, "");
	hth_buf_finish(&t.text);
	t = begin(&b, true);
	run_file(&b, &t, "", 0, "empty", HTH_EXTRACT_MODE_TEXT);
	CHECK_INT(t.end.state, HTH_EXTRACT_TEXT);
	CHECK_INT(t.text.len, 0);
	teardown(&b);
}

TEST(the_child_is_locked_in)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	told t = begin(&b, true);
	run_file(&b, &t, "x", 1, "x.txt", HTH_EXTRACT_MODE_TEXT);
	char path[64], line[256], seen[4] = {0};
	snprintf(path, sizeof path, "/proc/%d/status", (int)find_child());
	FILE *f = fopen(path, "re");
	REQUIRE(f != NULL);
	while (fgets(line, sizeof line, f) != NULL) {
		seen[0] |= strcmp(line, "NoNewPrivs:\t1\n") == 0;
		seen[1] |= strcmp(line, "Seccomp:\t2\n") == 0;
		seen[2] |= strcmp(line, "CapEff:\t0000000000000000\n") == 0;
	}
	fclose(f);
	CHECK(seen[0] && seen[1] && seen[2]);
	hth_buf_finish(&t.text);
	teardown(&b);
}

TEST(pdf_pages_and_boxes_and_pictures_of_pages)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	size_t len;
	HTH_AUTO_FREE char *pdf = make_pdf(3, "", "", &len);
	told t = begin(&b, true);
	run_file(&b, &t, pdf, len, "letter.pdf", HTH_EXTRACT_MODE_TEXT);
	CHECK_INT(t.end.state, HTH_EXTRACT_TEXT);
	CHECK_STR(t.text.data, "This is page 1 of a letter\nThis is page 2 of a letter\nThis is page 3 of a letter\n");
	hth_buf_finish(&t.text);
	t = begin(&b, true);
	run_file(&b, &t, pdf, len, "letter.pdf", HTH_EXTRACT_MODE_RENDER);
	CHECK_INT(t.end.state, HTH_EXTRACT_TEXT);
	CHECK(t.png_bytes > 500 && memcmp(t.png_head, "\x89PNG\r\n\x1A\n", 8) == 0);
	uint64_t unmarked = t.png_sum;
	t = begin(&b, true);
	const float mark[1][4] = {{0.1f, 0.1f, 0.5f, 0.15f}};
	submit(&b, &t, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_RENDER, .page = 1, .marks = mark,
	                                                                 .n_marks = 1});
	hth_loop_run(b.loop);
	CHECK(t.png_bytes > 500 && t.png_sum != unmarked);
	t = begin(&b, true);
	submit(&b, &t, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_RENDER, .page = 9});
	hth_loop_run(b.loop);
	CHECK_INT(t.end.state, HTH_EXTRACT_UNREADABLE);
	CHECK(strstr(t.reason, "page 9") != NULL);
	teardown(&b);
}

static void kill_child(told *t)
{
	(void)t;
	pid_t pid = find_child();
	CHECK(pid > 1 && kill(pid, SIGKILL) == 0);
}

TEST(a_child_killed_half_way_costs_nothing)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	size_t len;
	HTH_AUTO_FREE char *pdf = make_pdf(300, "", "", &len);
	told t = begin(&b, true), after = begin(&b, true);
	t.on_first_block = kill_child;
	t.loop = NULL;
	submit(&b, &t, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	submit(&b, &after, read_only(file_with("next", 4)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	hth_loop_run(b.loop);
	CHECK_INT(t.ends, 1);
	CHECK_INT(t.restarts, 1);
	CHECK_INT(t.end.state, HTH_EXTRACT_TEXT);
	CHECK(!t.end.partial);
	CHECK(t.text.data != NULL && strstr(t.text.data, "page 300 of") != NULL && strstr(t.text.data, "page 1 of") == t.text.data + 8);
	CHECK_STR(after.text.data, "next\n");
	hth_extractor_counts counts;
	hth_extractor_get_counts(b.x, &counts);
	CHECK_INT(counts.ended, 2);
	CHECK_INT(counts.restarts, 1);
	hth_buf_finish(&t.text);
	hth_buf_finish(&after.text);
	teardown(&b);
}

/* Forms that draw each other ten times, ten deep: nobody lives to see the end. */
static char *make_endless(int pages, size_t *ret_len)
{
	hth_buf objects = HTH_BUF_INIT(1 << 20);
	for (int i = 4; i < 9; i++)
		hth_buf_appendf(&objects,
		                "%d 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<</XObject<</X %d 0 R>>>>/Length "
		                "159>>stream\n/X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X "
		                "Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do /X Do\nendstream endobj\n",
		                i, i + 1);
	hth_buf_append_str(&objects,
	                   "9 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 612 792]/Length 11>>stream\n0 0 9 9 re f\nendstream endobj\n");
	char *pdf = make_pdf(pages, "/X Do", objects.data, ret_len);
	hth_buf_finish(&objects);
	return pdf;
}

TEST(a_file_that_takes_too_long_ends_and_the_next_is_read)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){.seconds = 1}))
		return;
	size_t len;
	HTH_AUTO_FREE char *pdf = make_endless(1, &len);
	told t = begin(&b, false), after = begin(&b, true);
	submit(&b, &t, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT, .name = "endless.pdf"});
	submit(&b, &after, read_only(file_with("next", 4)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	hth_loop_run(b.loop);
	CHECK_INT(t.ends, 1);
	CHECK_INT(t.end.state, HTH_EXTRACT_UNREADABLE);
	CHECK_STR(t.reason, "reading it took longer than 1 s");
	CHECK_STR(after.text.data, "next\n");
	hth_buf_finish(&after.text);
	teardown(&b);
}

TEST(a_file_that_is_too_large_for_memory_says_so)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){.memory_bytes = 48 << 20, .file_bytes_max = 128 << 20}))
		return;
	told t = begin(&b, true);
	int fd = file_with("plain words\n", 12);
	CHECK(ftruncate(fd, 256 << 20) == 0);
	submit(&b, &t, read_only(fd), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	hth_loop_run(b.loop);
	CHECK_INT(t.end.state, HTH_EXTRACT_UNREADABLE);
	CHECK_STR(t.reason, "too large: 256 MiB, more than 128");
	t = begin(&b, true);
	size_t len = 100 << 20;
	HTH_AUTO_FREE char *words = malloc(len);
	REQUIRE(words != NULL);
	memset(words, 'w', len);
	for (size_t i = 9; i < len; i += 10)
		words[i] = ' ';
	run_file(&b, &t, words, len, "words.txt", HTH_EXTRACT_MODE_TEXT);
	if (!HTH_SANITIZED) {
		CHECK_INT(t.end.state, HTH_EXTRACT_UNREADABLE);
		CHECK(strstr(t.reason, "memory") != NULL);
	}
	hth_buf_finish(&t.text);
	teardown(&b);
}

TEST(a_file_that_changes_is_told)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	told t = begin(&b, true);
	int fd = file_with("these words will be cut while they are read", 43);
	t.touch_fd = dup(fd);
	int keep = t.touch_fd;
	submit(&b, &t, read_only(fd), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	hth_loop_run(b.loop);
	close(keep);
	CHECK(t.end.changed);
	CHECK(t.reason[0] != '\0');
	hth_buf_finish(&t.text);
	teardown(&b);
}

TEST(urgent_work_goes_first_and_pages_before_it)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	size_t len;
	HTH_AUTO_FREE char *pdf = make_pdf(1, "", "", &len);
	told t[4];
	int clock = 0;
	for (int i = 0; i < 4; i++) {
		t[i] = begin(&b, false);
		t[i].clock = &clock;
	}
	t[1].loop = b.loop; /* the last to end */
	for (int i = 0; i < 2; i++)
		submit(&b, &t[i], read_only(file_with("words", 5)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	submit(&b, &t[2], read_only(file_with("words", 5)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT, .urgent = true});
	submit(&b, &t[3], read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_RENDER, .page = 1});
	hth_loop_run(b.loop);
	CHECK_INT(t[3].order, 1);
	CHECK_INT(t[2].order, 2);
	CHECK_INT(t[0].order, 3);
	CHECK_INT(t[1].order, 4);
	for (int i = 0; i < 4; i++)
		hth_buf_finish(&t[i].text);
	teardown(&b);
}

static void cancel_it(told *t) { hth_extractor_cancel(t->x, t->job); }

TEST(a_cancelled_job_says_nothing_more)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	size_t len;
	HTH_AUTO_FREE char *pdf = make_pdf(200, "", "", &len);
	told running = begin(&b, false), waiting = begin(&b, false), last = begin(&b, true);
	running.on_first_block = cancel_it;
	submit(&b, &running, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	submit(&b, &waiting, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	submit(&b, &last, read_only(file_with("last", 4)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	hth_extractor_cancel(b.x, waiting.job);
	hth_loop_run(b.loop);
	CHECK_INT(running.ends, 0);
	CHECK_STR(running.text.data, "This is page 1 of a letter\n");
	CHECK_INT(waiting.ends, 0);
	CHECK_INT(waiting.parts, 0);
	CHECK_STR(last.text.data, "last\n");
	hth_buf_finish(&running.text);
	hth_buf_finish(&last.text);
	teardown(&b);
}

static void destroy_all(told *t) { hth_extractor_destroy(t->x); }

TEST(destroying_it_ends_every_job_once)
{
	bench b;
	if (!setup(&b, (hth_extractor_options){0}))
		return;
	size_t len;
	HTH_AUTO_FREE char *pdf = make_pdf(200, "", "", &len);
	told running = begin(&b, true), waiting = begin(&b, false);
	running.on_first_block = destroy_all;
	submit(&b, &running, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT});
	submit(&b, &waiting, read_only(file_with(pdf, len)), (hth_extract_ask){.mode = HTH_EXTRACT_MODE_OCR});
	hth_loop_run(b.loop);
	CHECK_INT(running.ends, 1);
	CHECK_INT(waiting.ends, 1);
	CHECK(running.end.cancelled && waiting.end.cancelled);
	CHECK_INT(running.end.state, HTH_EXTRACT_UNREADABLE);
	b.x = NULL;
	hth_buf_finish(&running.text);
	teardown(&b);
}

TEST(a_missing_program_is_told)
{
	hth_error err = HTH_ERROR_INIT;
	hth_loop *loop;
	hth_extractor *x = NULL;
	REQUIRE_OK(hth_loop_create(&loop, &err));
	CHECK_INT(hth_extractor_create(&x, loop, &(hth_extractor_options){.program = "/nonexistent/hearth-extract"}, &err), HTH_NOT_FOUND);
	CHECK(strstr(err.message, "/nonexistent/hearth-extract") != NULL);
	CHECK(hth_loop_destroy(loop));
	/* A program that is none of ours ends the job, not the daemon. */
	REQUIRE_OK(hth_loop_create(&loop, &err));
	REQUIRE_OK(hth_extractor_create(&x, loop, &(hth_extractor_options){.program = "/bin/true"}, &err));
	bench b = {loop, x};
	told t = begin(&b, true);
	run_file(&b, &t, "x", 1, "x", HTH_EXTRACT_MODE_TEXT);
	CHECK_INT(t.end.state, HTH_EXTRACT_UNREADABLE);
	CHECK(strstr(t.reason, "cannot start") != NULL);
	teardown(&b);
}

TEST_MAIN()
