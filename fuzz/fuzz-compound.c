/* Old Office's and Outlook's files: the compound file itself, Word's, Excel's and PowerPoint's streams, compressed RTF,
 * facts. The first byte chooses. Beside not crashing: what is told is UTF-8, and a stream is never longer than its
 * file. */
#include "base/mem.h"
#include "base/utf8.h"
#include "extract/cfb.h"
#include "extract/old-office.h"

static void require(bool good)
{
	if (!good)
		__builtin_trap();
}

static bool on_text(void *ctx, uint32_t page, hth_old_role role, const char *text, size_t len)
{
	size_t *n = ctx;
	require(len > 0 && hth_utf8_valid_prefix(text, len) == len && page <= 20000 && role <= HTH_OLD_ROW);
	return ++*n < 2000;
}

static const hth_old_events events = {on_text};

static void try_streams(hth_cfb *cfb, size_t len)
{
	for (size_t i = 0; i < hth_cfb_count(cfb) && i < 64; i++) {
		const hth_cfb_entry *e = hth_cfb_get(cfb, i);
		hth_buf out = HTH_BUF_INIT(1 << 22);
		require(hth_utf8_valid_prefix(e->name, strlen(e->name)) == strlen(e->name) &&
		        e->parent < hth_cfb_count(cfb));
		if (hth_cfb_read(cfb, (uint32_t)i, &out))
			require(out.len <= len && e->used && !e->is_folder);
		hth_buf_finish(&out);
	}
	(void)hth_cfb_find(cfb, 0, "WordDocument");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 3)
		return 0;
	unsigned choice = data[0], cut = (unsigned)data[1] << 8 | data[2];
	size_t n = 0;
	uint32_t pages;
	data += 3;
	len -= 3;
	/* Word has two streams and PowerPoint, too: the second from the cut on. */
	size_t first = HTH_MIN((size_t)cut, len);
	hth_buf a = HTH_BUF_INIT(len + 1), b = HTH_BUF_INIT(len + 1), none = HTH_BUF_INIT(1),
	        out = HTH_BUF_INIT(1 << 20);
	hth_old_facts facts;
	hth_buf_append(&a, data, choice % 6 == 1 || choice % 6 == 3 ? first : len);
	hth_buf_append(&b, data + first, len - first);
	switch (choice % 6) {
	case 0: {
		hth_cfb *cfb = hth_cfb_open((const char *)data, len);
		if (cfb != NULL)
			try_streams(cfb, len);
		hth_cfb_close(cfb);
		break;
	}
	case 1:
		(void)hth_word_read(&a, &b, &b, &events, &n);
		break;
	case 2:
		(void)hth_excel_read(&a, &events, &n, &pages);
		break;
	case 3:
		(void)hth_slides_read(&a, choice / 6 % 2 != 0 ? &none : &b, &events, &n, &pages);
		break;
	case 4:
		(void)!hth_lzfu_expand((const char *)data, len, &out);
		break;
	default:
		hth_old_facts_read(&a, &facts);
		require(hth_utf8_valid_prefix(facts.title, strlen(facts.title)) + 4 > strlen(facts.title));
	}
	hth_buf_finish(&a);
	hth_buf_finish(&b);
	hth_buf_finish(&out);
	return 0;
}
