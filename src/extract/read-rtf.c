/* read-rtf.c - RTF as a part: rtf.h's paragraphs become blocks. Child only. */
#include "extract/readers.h"
#include "extract/rtf.h"

#include <stdio.h>

typedef struct facts {
	char title[512], author[256];
} facts;

static bool skip_paragraph(void *ctx, bool row, const char *text, size_t len)
{
	(void)ctx;
	(void)row;
	(void)text;
	(void)len;
	return false; /* facts stand before the first */
}

static void take_fact(void *ctx, const char *name, const char *text)
{
	facts *f = ctx;
	if (name[0] == 't')
		snprintf(f->title, sizeof f->title, "%.511s", text);
	else
		snprintf(f->author, sizeof f->author, "%.255s", text);
}

static bool tell_paragraph(void *ctx, bool row, const char *text, size_t len)
{
	return hth_tell_text(ctx, 0, row ? HTH_ROLE_ROW : HTH_ROLE_BODY, NULL, text, len);
}

void hth_read_rtf(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	facts f = {0};
	bool loaded = hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) && hth_source_load(source, verdict);
	if (loaded)
		(void)!hth_rtf_read(source->bytes, (size_t)source->len, &(hth_rtf_events){skip_paragraph, take_fact}, &f);
	hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_RTF, .title = f.title, .author = f.author});
	uint64_t before = tell->n_blocks;
	if (loaded && !hth_rtf_read(source->bytes, (size_t)source->len, &(hth_rtf_events){tell_paragraph, NULL}, tell)) {
		if (tell->n_blocks == before)
			hth_verdict_unreadable(verdict, "damaged: an RTF file that ends at its beginning");
		else
			hth_verdict_partial(verdict, "damaged: it ends early");
	}
}
