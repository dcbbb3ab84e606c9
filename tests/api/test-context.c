/* test-context.c - citations in an answer: what is kept, what is taken out, wherever the answer's pieces are cut. */
#include "api/context.h"
#include "base/mem.h"
#include "harness.h"

static hth_error err;

static hth_context *two_passages(void)
{
	hth_context *c = NULL;
	CHECK_OK(hth_context_create(&c, &err));
	const hth_context_passage a = {.file = "/papers/lease.pdf", .page = 2, .text = "The deposit is 2400.", .snippet = "deposit",
	                               .document = "aa", .link = "/documents/aa/page/2",
	                               .has_box = true, .box = {0.1f, 0.2f, 0.3f, 0.4f}};
	const hth_context_passage b = {.file = "/papers/box.mbox", .part = "quote.txt", .text = "740 euros", .snippet = "740"};
	CHECK_OK(hth_context_add(c, &a, &err));
	CHECK_OK(hth_context_add(c, &b, &err));
	return c;
}

/* The answer in pieces of `step` bytes (0: at once), read. */
static hth_citer *read_answer(const hth_context *c, const char *answer, size_t step, hth_buf *out)
{
	hth_citer *citer = NULL;
	CHECK_OK(hth_citer_create(&citer, c, &err));
	size_t len = strlen(answer);
	for (size_t at = 0; at < len; at += step > 0 ? step : len)
		hth_citer_feed(citer, answer + at, HTH_MIN(step > 0 ? step : len, len - at), out);
	hth_citer_finish(citer, out);
	return citer;
}

TEST(marks_are_kept_resolved_or_taken_out)
{
	static const struct {
		const char *says, *shown;
		size_t cited, dropped;
	} cases[] = {
	    {"2400 [1].", "2400 [1].", 1, 0},
	    {"2400[1][2]", "2400[1][2]", 2, 0},
	    {"both [1, 2] and [1; 2]", "both [1][2] and [1][2]", 2, 0},
	    {"no [3]. no [0] no [1,9]", "no. no no [1]", 1, 3},
	    {"[7] first", " first", 0, 1},
	    {"[lease.pdf, page 2] and [LEASE.pdf, p. 2] and [/papers/lease.pdf, page 2]", "[1] and [1] and [1]", 1, 0},
	    {"[lease.pdf] [quote.txt] [box.mbox]", "[1] [2] [2]", 2, 0},
	    {"[lease.pdf, page 3] [other.pdf, page 1] [other.pdf, Seite 1]", "", 0, 3},
	    {"a [note], [x](http://y/), [2024], [12 apples], [], [ ]", "a [note], [x](http://y/), [2024], [12 apples], [], [ ]", 0, 0},
	    {"`a[9]` b[9] ```\nc[9]\n``` d[9]", "`a[9]` b ```\nc[9]\n``` d", 0, 2},
	    {"open [1", "open [1", 0, 0},
	    {"line [\n1] and [[1]]", "line [\n1] and [[1]]", 1, 0},
	    {"two  spaces [1] stay  ", "two  spaces [1] stay  ", 1, 0},
	    {"h\xC3\xA9 [1]", "h\xC3\xA9 [1]", 1, 0},
	    {"", "", 0, 0},
	};
	hth_context *c = two_passages();
	for (size_t i = 0; i < HTH_COUNT(cases); i++)
		for (size_t step = 0; step < 8; step++) {
			hth_buf out = HTH_BUF_INIT(10000);
			hth_citer *citer = read_answer(c, cases[i].says, step, &out);
			CHECK_STR(out.data != NULL ? out.data : "", cases[i].shown);
			CHECK_INT(hth_citer_cited(citer), cases[i].cited);
			CHECK_INT(hth_citer_dropped(citer), cases[i].dropped);
			hth_citer_destroy(citer);
			hth_buf_finish(&out);
		}
	hth_context_destroy(c);
}

TEST(a_bracket_that_never_ends_is_let_through)
{
	char text[2000] = "[";
	memset(text + 1, 'x', sizeof text - 2);
	hth_context *c = two_passages();
	hth_buf out = HTH_BUF_INIT(10000);
	hth_citer *citer = NULL;
	CHECK_OK(hth_citer_create(&citer, c, &err));
	hth_citer_feed(citer, text, 1000, &out);
	CHECK(out.len > 600); /* it is not held back for ever */
	hth_citer_feed(citer, text + 1000, strlen(text) - 1000, &out);
	hth_citer_finish(citer, &out);
	CHECK_STR(out.data, text);
	hth_citer_destroy(citer);
	hth_buf_finish(&out);
	hth_context_destroy(c);
}

TEST(what_was_cited_is_listed_and_told_as_data)
{
	hth_context *c = two_passages();
	hth_buf out = HTH_BUF_INIT(10000);
	hth_citer *citer = read_answer(c, "\xC3\xA9 [1] and [2][1]", 1, &out);
	hth_buf_clear(&out);
	hth_citer_write_sources(citer, &out);
	CHECK_STR(out.data, "\n\n[1] /papers/lease.pdf, page 2\n[2] /papers/box.mbox (quote.txt)");
	hth_buf_clear(&out);
	CHECK(hth_citer_write_json(citer, HTH_CITE_PLAIN, &out));
	CHECK_STR(out.data, "{\"number\":1,\"file\":\"/papers/lease.pdf\",\"page\":2,\"box\":[0.1000,0.2000,0.3000,0.4000],"
	                    "\"document\":\"aa\",\"link\":\"/documents/aa/page/2\",\"snippet\":\"deposit\"},{\"number\":2,"
	                    "\"file\":\"/papers/box.mbox\",\"part\":\"quote.txt\",\"page\":null,\"snippet\":\"740\"}");
	hth_buf_clear(&out);
	CHECK(hth_citer_write_json(citer, HTH_CITE_OPENAI, &out));
	/* In characters: each mark, where it stands. */
	CHECK(strstr(out.data, "{\"type\":\"file_citation\",\"index\":2,\"file_id\":\"aa\",\"filename\":\"lease.pdf\"") == out.data);
	CHECK(strstr(out.data, "\"index\":10,") != NULL && strstr(out.data, "\"index\":13,") != NULL);
	hth_citer_destroy(citer);
	hth_buf_clear(&out);
	citer = read_answer(c, "nothing [9]", 0, &out);
	hth_buf_clear(&out);
	hth_citer_write_sources(citer, &out);
	CHECK(!hth_citer_write_json(citer, HTH_CITE_OPENAI, &out) && out.len == 0);
	hth_citer_destroy(citer);
	hth_buf_finish(&out);
	hth_context_destroy(c);
}

TEST(a_context_has_a_limit)
{
	hth_context *c = two_passages();
	const hth_context_passage p = {.file = "f", .text = "t"};
	while (hth_context_count(c) < HTH_CONTEXT_PASSAGES_MAX)
		REQUIRE_OK(hth_context_add(c, &p, &err));
	CHECK_INT(hth_context_add(c, &p, &err), HTH_TOO_LARGE);
	hth_context_destroy(c);
}

TEST_MAIN()
