/* fuzz-page.c - any bytes as a page: no crash, no leak, and what comes out is UTF-8 within its limits. */
#include "base/mem.h"
#include "base/utf8.h"
#include "fetch/page-text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* fetch.c hands over valid UTF-8 without NUL. */
	if (size > 1 << 16 || hth_utf8_valid_prefix((const char *)data, size) != size ||
	    memchr(data, '\0', size) != NULL)
		return 0;
	hth_page *page = calloc(1, sizeof *page);
	hth_error err = HTH_ERROR_INIT;
	if (page == NULL || hth_page_read(page, (const char *)data, size, &err) != HTH_OK)
		abort();
	const hth_buf *t = &page->text;
	if (t->len > 0 && hth_utf8_valid_prefix(t->data, t->len) != t->len)
		abort();
	if (hth_utf8_valid_prefix(page->title, strlen(page->title)) != strlen(page->title))
		abort();
	for (size_t i = 0; i < page->n_links; i++) {
		const hth_page_link *l = &page->links[i];
		if (strlen(l->url) >= HTH_PAGE_URL_MAX || strpbrk(l->url, "\r\n\t ") != NULL ||
		    hth_utf8_valid_prefix(l->text, strlen(l->text)) != strlen(l->text))
			abort();
	}
	hth_page_finish(page);
	free(page);
	return 0;
}
