/* page-text.h - HTML as plain text: what a person would read of a page, its title, and where its links lead.
 *
 * No tree is built and no memory but the outputs' is taken, so nothing on a page can make this slow or large: one pass,
 * work proportional to the bytes. It follows the HTML standard's tokenizer in what matters (attributes in quotes,
 * comments, raw text elements, character references) and nothing of its tree construction. Scripts, styles and what is
 * drawn are left out.
 */
#ifndef HTH_FETCH_PAGE_TEXT_H
#define HTH_FETCH_PAGE_TEXT_H

#include "base/buf.h"

enum { HTH_PAGE_LINKS_MAX = 200, HTH_PAGE_URL_MAX = 2048, HTH_PAGE_TITLE_MAX = 300, HTH_PAGE_LINK_TEXT_MAX = 120 };

typedef struct hth_page_link {
	char *url; /* as the page spells it, character references resolved */
	char *text;
} hth_page_link;

typedef struct hth_page {
	hth_buf text; /* UTF-8; headings with '#', items with '-', cells between tabs, blocks with an empty line between
	                 them */
	char title[HTH_PAGE_TITLE_MAX];
	char base[HTH_PAGE_URL_MAX]; /* <base href>; "": none */
	hth_page_link links[HTH_PAGE_LINKS_MAX];
	size_t n_links;
} hth_page;

/* html: valid UTF-8 without NUL (fetch.c sees to it). *page must be zeroed; finish it also after a failure.
 * HTH_NO_MEMORY. */
HTH_MUST_USE hth_status hth_page_read(hth_page *page, const char *html, size_t len, hth_error *err);
void hth_page_finish(hth_page *page);

#endif
