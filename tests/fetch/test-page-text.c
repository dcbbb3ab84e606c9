/* What of a page becomes text, and what becomes of pages that nobody would write. */
#include "base/mem.h"
#include "fetch/page-text.h"
#include "harness.h"

#define PAGE(html_) page_of(html_, sizeof(html_) - 1)

static hth_page page;
static char text[1 << 20];

static const char *page_of(const char *html, size_t len)
{
	hth_error err = HTH_ERROR_INIT;
	hth_page_finish(&page);
	memset(&page, 0, sizeof page);
	/* A copy of exactly the bytes, so that a sanitizer sees any read behind them. */
	char *copy = malloc(len > 0 ? len : 1);
	memcpy(copy, html, len);
	CHECK_OK(hth_page_read(&page, copy, len, &err));
	free(copy);
	snprintf(text, sizeof text, "%s", page.text.data != NULL ? page.text.data : "");
	return text;
}

TEST(blocks_items_and_cells_become_lines)
{
	CHECK_STR(PAGE("<h1>Title</h1><p>One  two\n three.</p><p>Four<br>five</p>"),
	          "# Title\n\nOne two three.\n\nFour\nfive");
	CHECK_STR(PAGE("<ul><li>a</li><li> b <b>c</b></li></ul>end"), "- a\n- b c\n\nend");
	CHECK_STR(PAGE("<table><tr><th>x<th>y</tr><tr><td>1</td><td>2</td></tr></table>"), "x\ty\n1\t2");
	CHECK_STR(PAGE("<pre>a\n  b\n\n\n c</pre>d"), "a\n  b\n\n c\n\nd");
	CHECK_STR(PAGE("<div>a</div><div>b</div>c<hr>d"), "a\nb\nc\n\nd");
	CHECK_STR(PAGE("un<b>broken</b> wo<i>r</i>ds"), "unbroken words");
	CHECK_STR(PAGE("  \n<p>  </p>\n"), "");
	CHECK_STR(PAGE("<h6>x</h6><h2>y"), "###### x\n\n## y");
}

TEST(what_nobody_reads_is_left_out)
{
	CHECK_STR(PAGE("a<script>if (x < 3) document.write('<p>no</p>')</script>b"), "ab");
	CHECK_STR(PAGE("a<STYLE>p > b {}</sTyLe >b<!-- c <p> -- > -->d<!doctype html>e<?xml ?>f"), "abdef");
	CHECK_STR(PAGE("<svg><title>no</title><text>no</text></svg><title> A\n &amp; B </title>yes"), "yes");
	CHECK_STR(page.title, "A & B");
	CHECK_STR(PAGE("<template><p>no</p></template><textarea>no</textarea><noscript>no</noscript>x"), "x");
	CHECK_STR(PAGE("<p data-x='a>b' title=\"<i>\">text</p>"), "text");
	CHECK_STR(PAGE("<script>never closed <p>x"), "");
	CHECK_STR(PAGE("<!--> a <!---> b --> c"), "a b --> c");
}

TEST(references_become_characters)
{
	CHECK_STR(PAGE("&lt;p&gt; &amp;amp; &eacute;&#233;&#xE9; &#8212; &mdash;"),
	          "<p> &amp; \xC3\xA9\xC3\xA9\xC3\xA9 \xE2\x80\x94 \xE2\x80\x94");
	CHECK_STR(PAGE("&#x92;&#150; &#0;&#xD800;&#x110000;&#99999999999;"),
	          "\xE2\x80\x99\xE2\x80\x93 \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
	CHECK_STR(PAGE("a & b &unknown; &;&#; &#x; AT&T fish&chips &amp"),
	          "a & b &unknown; &;&#; &#x; AT&T fish&chips &amp");
	CHECK_STR(PAGE("x&nbsp;&nbsp;y&#10;z"), "x y z");
	CHECK_STR(PAGE("a < b and 1<2 <3 </ >c"), "a < b and 1<2 <3 c");
}

TEST(links_are_kept_with_their_words)
{
	PAGE("<base href='/d/'><a href=\"x.html?a=1&amp;b=2\">the <b>page</b></a> <a href='#top'>up</a> <a "
	     "name=x>none</a><a href= y >y</a><a href=' y '>again</a>"
	     "<a href=\"a b\nc\"><img alt=z></a>");
	CHECK_STR(page.base, "/d/");
	REQUIRE(page.n_links == 3);
	CHECK_STR(page.links[0].url, "x.html?a=1&b=2");
	CHECK_STR(page.links[0].text, "the page");
	CHECK_STR(page.links[1].url, "y");
	CHECK_STR(page.links[1].text, "y");
	CHECK_STR(page.links[2].url, "a%20bc");
	CHECK_STR(page.links[2].text, "");
	/* One after another, never closed, and more than are kept. */
	static char many[64 * 1024];
	size_t n = 0;
	for (int i = 0; i < 1000; i++)
		n += (size_t)snprintf(many + n, sizeof many - n, "<a href='/%d'>%d ", i, i);
	page_of(many, n);
	CHECK_INT(page.n_links, HTH_PAGE_LINKS_MAX);
	CHECK_STR(page.links[7].url, "/7");
	CHECK_STR(page.links[7].text, "7");
}

TEST(bad_pages_end)
{
	static const char *const bad[] = {"<",
	                                  "</",
	                                  "<a",
	                                  "<a href",
	                                  "<a href=",
	                                  "<a href='",
	                                  "<a href=\"x",
	                                  "<!",
	                                  "<!--",
	                                  "<!-",
	                                  "&",
	                                  "&#",
	                                  "&#x",
	                                  "&amp",
	                                  "</p",
	                                  "<p/",
	                                  "<p / a=b / >",
	                                  "<a href='x'",
	                                  "<title>",
	                                  "<title",
	                                  "</title>",
	                                  "<base href=x",
	                                  "<pre>\n\n\n\n",
	                                  "<li><li><li>",
	                                  "<td><td>"};
	for (size_t i = 0; i < HTH_COUNT(bad); i++)
		page_of(bad[i], strlen(bad[i]));
	page_of("", 0);
	/* Work is proportional to the bytes: a megabyte of openings takes no time. */
	static char openings[1 << 20];
	static const char *const parts[] = {"<a href='", "<script>", "<!--", "<p>", "&#", "</script", "<svg>"};
	for (size_t k = 0; k < HTH_COUNT(parts); k++) {
		size_t len = strlen(parts[k]);
		for (size_t i = 0; i + len < sizeof openings; i += len)
			memcpy(openings + i, parts[k], len);
		page_of(openings, sizeof openings / len * len);
	}
	hth_page_finish(&page);
}

TEST_MAIN()
