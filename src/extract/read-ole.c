/* read-ole.c - compound files as parts: which program wrote it, then its reader (old-office.h, read-msg.c). Child only.
 */
#include "extract/read-msg.h"

#include "base/mem.h"
#include "extract/old-office.h"
#include "extract/readers.h"

static bool on_text(void *ctx, uint32_t page, hth_old_role role, const char *text, size_t len)
{
	static const hth_extract_role roles[] = {HTH_ROLE_BODY, HTH_ROLE_HEADING, HTH_ROLE_ROW};
	return hth_tell_text(ctx, page, roles[role], NULL, text, len);
}

static const hth_old_events events = {on_text};

static void read_stream(hth_cfb *cfb, const char *name, hth_buf *out)
{
	uint32_t at = hth_cfb_find(cfb, 0, name);
	if (at != HTH_CFB_NONE)
		(void)!hth_cfb_read(cfb, at, out);
}

static void conclude(hth_old_end end, const char *program, const char *since, hth_verdict *verdict)
{
	switch (end) {
	case HTH_OLD_DONE:
		break;
	case HTH_OLD_PARTIAL:
		hth_verdict_partial(verdict, "damaged: only a part of it can be read");
		break;
	case HTH_OLD_ENCRYPTED:
		hth_verdict_unreadable(verdict, "encrypted: needs a password");
		break;
	case HTH_OLD_TOO_OLD:
		hth_verdict_unreadable(verdict, "a format that is not read: %s before %s; save it in a newer one",
		                       program, since);
		break;
	default:
		hth_verdict_unreadable(verdict, "damaged: not a whole %s file", program);
		break;
	}
}

typedef struct office {
	hth_extract_kind kind;
	const char *stream, *program, *since;
} office;

static void read_office(hth_tell *tell, hth_cfb *cfb, const office *which, const hth_buf *bytes, hth_verdict *verdict)
{
	size_t max = HTH_SOURCE_LOAD_MAX;
	HTH_CLEANUP(hth_buf_finish) hth_buf a = HTH_BUF_INIT(max);
	HTH_CLEANUP(hth_buf_finish) hth_buf b = HTH_BUF_INIT(max);
	hth_old_facts facts;
	uint32_t pages = 0;
	read_stream(cfb, "\005SummaryInformation", &a);
	hth_old_facts_read(&a, &facts);
	hth_buf_clear(&a);
	hth_extract_meta meta = {.kind = which->kind,
	                         .title = facts.title,
	                         .author = facts.author,
	                         .has_date = facts.date != 0,
	                         .date = facts.date};
	if (!hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT)) {
		hth_tell_meta(tell, &meta);
		return;
	}
	hth_old_end end;
	if (which->kind == HTH_KIND_DOC) {
		hth_tell_meta(tell, &meta);
		read_stream(cfb, "0Table", &a);
		read_stream(cfb, "1Table", &b);
		end = hth_word_read(bytes, &a, &b, &events, tell);
	} else { /* how many pages is known at the end */
		if (which->kind == HTH_KIND_PPT)
			read_stream(cfb, "Current User", &a);
		end = which->kind == HTH_KIND_PPT ? hth_slides_read(bytes, &a, &events, tell, &pages)
		                                  : hth_excel_read(bytes, &events, tell, &pages);
		meta.pages = pages;
		hth_tell_meta(tell, &meta);
	}
	conclude(end, which->program, which->since, verdict);
}

void hth_read_ole(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	static const office programs[] = {{HTH_KIND_DOC, "WordDocument", "Word", "6"},
	                                  {HTH_KIND_XLS, "Workbook", "Excel", "5"},
	                                  {HTH_KIND_XLS, "Book", "Excel", "5"},
	                                  {HTH_KIND_PPT, "PowerPoint Document", "PowerPoint", "97"}};
	hth_cfb *cfb = hth_source_load(source, verdict) ? hth_cfb_open(source->bytes, (size_t)source->len) : NULL;
	bool encrypted = cfb != NULL && hth_cfb_find(cfb, 0, "EncryptedPackage") != HTH_CFB_NONE, read = false;
	for (size_t i = 0; cfb != NULL && !encrypted && i < HTH_COUNT(programs) && !read; i++) {
		uint32_t at = hth_cfb_find(cfb, 0, programs[i].stream);
		if (at == HTH_CFB_NONE || hth_cfb_get(cfb, at)->is_folder)
			continue;
		HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(HTH_SOURCE_LOAD_MAX);
		(void)!hth_cfb_read(cfb, at, &bytes);
		read_office(tell, cfb, &programs[i], &bytes, verdict);
		read = true;
	}
	if (cfb != NULL && !encrypted && !read && hth_cfb_find(cfb, 0, "__properties_version1.0") != HTH_CFB_NONE) {
		hth_msg_read(tell, cfb, verdict);
		read = true;
	}
	if (!read) {
		char ending[16];
		hth_name_ending(source->name, ending);
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_OTHER});
		if (encrypted)
			hth_verdict_unreadable(verdict, "encrypted: needs a password");
		else if (cfb == NULL && verdict->state < HTH_EXTRACT_UNREADABLE)
			hth_verdict_unreadable(verdict, "damaged: not a whole compound file (old Microsoft Office)");
		else if (cfb != NULL)
			hth_verdict_unreadable(verdict,
			                       "a format that is not read: a compound file%s%s; save it in a newer one",
			                       ending[0] != '\0' ? ", ." : "", ending);
	}
	hth_cfb_close(cfb);
}
