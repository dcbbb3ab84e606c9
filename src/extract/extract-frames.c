/* extract-frames.c - payloads of the extractor's frames, written and read. See extract-frames.h.
 * Whatever a get function returns was checked: a hostile child can tell lies, but only well-formed ones. */
#include "extract/extract-frames.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>

enum {
	SMALL_MAX = 64,
	TEXT_FRAME_MAX = 64 << 10,
	RESULT_FRAME_MAX = 128 << 10, /* a reason and a number for every page */
	PNG_FRAME_MAX = HTH_EXTRACT_PNG_CHUNK + 64,
};
_Static_assert(RESULT_FRAME_MAX > HTH_EXTRACT_PAGES_MAX * 4 + HTH_EXTRACT_REASON_MAX + 64, "every page may need OCR");
_Static_assert(TEXT_FRAME_MAX > HTH_EXTRACT_STRING_MAX * 6 + 256 && TEXT_FRAME_MAX > HTH_EXTRACT_BLOCK_MAX + 64, "meta and blocks fit");

static const hth_frame_row rows[] = {
    {HTH_EXTRACT_FRAME_JOB, HTH_TO_CHILD, TEXT_FRAME_MAX, true, "job"},
    {HTH_EXTRACT_FRAME_READY, HTH_TO_DAEMON, SMALL_MAX, false, "ready"},
    {HTH_EXTRACT_FRAME_BROKEN, HTH_TO_DAEMON, 4096, false, "broken"},
    {HTH_EXTRACT_FRAME_PART, HTH_TO_DAEMON, TEXT_FRAME_MAX, true, "part"},
    {HTH_EXTRACT_FRAME_META, HTH_TO_DAEMON, TEXT_FRAME_MAX, true, "meta"},
    {HTH_EXTRACT_FRAME_BLOCK, HTH_TO_DAEMON, TEXT_FRAME_MAX, true, "block"},
    {HTH_EXTRACT_FRAME_PART_END, HTH_TO_DAEMON, RESULT_FRAME_MAX, true, "part-end"},
    {HTH_EXTRACT_FRAME_PNG, HTH_TO_DAEMON, PNG_FRAME_MAX, true, "png"},
    {HTH_EXTRACT_FRAME_PAGE, HTH_TO_DAEMON, SMALL_MAX, true, "page"},
    {HTH_EXTRACT_FRAME_END, HTH_TO_DAEMON, RESULT_FRAME_MAX, true, "end"},
};
const hth_frame_table hth_extract_frames = {
    .rows = rows, .n_rows = HTH_COUNT(rows), .version = HTH_EXTRACT_FRAMES_VERSION, .max = {TEXT_FRAME_MAX, PNG_FRAME_MAX}};

/* ---- names ---- */

const char *hth_extract_state_name(hth_extract_state state)
{
	static const char *const names[] = {"none", "text", "needs-ocr", "unreadable", "excluded"};
	return (unsigned)state < HTH_COUNT(names) ? names[state] : "none";
}

static const char *const kinds[HTH_KIND_COUNT] = {
    [HTH_KIND_UNKNOWN] = "unknown", [HTH_KIND_PLAIN] = "plain", [HTH_KIND_MARKDOWN] = "markdown", [HTH_KIND_HTML] = "html",
    [HTH_KIND_XML] = "xml", [HTH_KIND_CSV] = "csv", [HTH_KIND_RTF] = "rtf", [HTH_KIND_PDF] = "pdf", [HTH_KIND_DOCX] = "docx",
    [HTH_KIND_XLSX] = "xlsx", [HTH_KIND_PPTX] = "pptx", [HTH_KIND_ODT] = "odt", [HTH_KIND_ODS] = "ods", [HTH_KIND_ODP] = "odp",
    [HTH_KIND_EPUB] = "epub", [HTH_KIND_MAIL] = "mail", [HTH_KIND_MBOX] = "mbox", [HTH_KIND_ARCHIVE] = "archive",
    [HTH_KIND_IMAGE] = "image", [HTH_KIND_OTHER] = "other", [HTH_KIND_DOC] = "doc", [HTH_KIND_XLS] = "xls", [HTH_KIND_PPT] = "ppt"};

const char *hth_extract_kind_name(hth_extract_kind kind) { return (unsigned)kind < HTH_KIND_COUNT ? kinds[kind] : "unknown"; }

hth_extract_kind hth_extract_kind_from_name(const char *name)
{
	for (unsigned i = 1; i < HTH_KIND_COUNT; i++)
		if (strcmp(kinds[i], name) == 0)
			return (hth_extract_kind)i;
	return HTH_KIND_UNKNOWN;
}

/* ---- writing ---- */

static void begin(hth_frame_writer *w, hth_buf *out, unsigned type, uint32_t job)
{
	hth_framing_begin(w, out, &hth_extract_frames, type, job);
}
static void put_text(hth_frame_writer *w, const char *text) { hth_frame_put_string(w, text ? text : "", text ? strlen(text) : 0); }
static void put_double(hth_frame_writer *w, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof bits);
	hth_frame_put_u64(w, bits);
}

bool hth_extract_put_order(hth_buf *out, uint32_t job, const hth_extract_order *order)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_JOB, job);
	hth_frame_put_u8(&w, (uint8_t)order->mode);
	hth_frame_put_u32(&w, order->part);
	hth_frame_put_u32(&w, order->page);
	hth_frame_put_u32(&w, order->dpi);
	put_text(&w, order->name);
	hth_frame_put_array32(&w, order->marks, order->n_marks * 4);
	put_text(&w, order->words);
	return hth_frame_end(&w);
}

bool hth_extract_put_ready(hth_buf *out, unsigned landlock_abi)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_READY, 0);
	hth_frame_put_u8(&w, (uint8_t)landlock_abi);
	return hth_frame_end(&w);
}

bool hth_extract_put_broken(hth_buf *out, const char *why)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_BROKEN, 0);
	put_text(&w, why);
	return hth_frame_end(&w);
}

bool hth_extract_put_part(hth_buf *out, uint32_t job, const hth_extract_part *part)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_PART, job);
	hth_frame_put_u32(&w, part->id);
	hth_frame_put_u32(&w, part->parent);
	put_text(&w, part->name);
	return hth_frame_end(&w);
}

bool hth_extract_put_meta(hth_buf *out, uint32_t job, const hth_extract_meta *meta)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_META, job);
	hth_frame_put_u32(&w, meta->part);
	hth_frame_put_u8(&w, (uint8_t)meta->kind);
	hth_frame_put_u32(&w, meta->pages);
	hth_frame_put_u8(&w, (uint8_t)((meta->has_date ? 1 : 0) | (meta->has_place ? 2 : 0)));
	hth_frame_put_u64(&w, (uint64_t)meta->date);
	put_double(&w, meta->latitude);
	put_double(&w, meta->longitude);
	put_text(&w, meta->title);
	put_text(&w, meta->author);
	put_text(&w, meta->recipients);
	put_text(&w, meta->language);
	put_text(&w, meta->mail_id);
	return hth_frame_end(&w);
}

bool hth_extract_put_block(hth_buf *out, uint32_t job, const hth_extract_block *block)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_BLOCK, job);
	hth_frame_put_u32(&w, block->part);
	hth_frame_put_u32(&w, block->page);
	hth_frame_put_u8(&w, (uint8_t)block->role);
	hth_frame_put_u8(&w, block->has_box);
	for (int i = 0; i < 4; i++)
		hth_frame_put_f32(&w, block->has_box ? block->box[i] : 0);
	hth_frame_put_string(&w, block->text, block->len);
	return hth_frame_end(&w);
}

bool hth_extract_put_result(hth_buf *out, hth_extract_frame type, uint32_t job, const hth_extract_result *result, bool retire)
{
	hth_frame_writer w;
	begin(&w, out, type, job);
	hth_frame_put_u32(&w, result->part);
	hth_frame_put_u8(&w, (uint8_t)result->state);
	hth_frame_put_u8(&w, (uint8_t)((result->partial ? 1 : 0) | (retire ? 2 : 0)));
	put_text(&w, result->reason);
	hth_frame_put_array32(&w, result->ocr_pages, result->n_ocr_pages);
	return hth_frame_end(&w);
}

bool hth_extract_put_png(hth_buf *out, uint32_t job, const void *bytes, size_t len)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_PNG, job);
	hth_frame_put_string(&w, bytes, len);
	return hth_frame_end(&w);
}

bool hth_extract_put_page(hth_buf *out, uint32_t job, uint32_t part, uint32_t page)
{
	hth_frame_writer w;
	begin(&w, out, HTH_EXTRACT_FRAME_PAGE, job);
	hth_frame_put_u32(&w, part);
	hth_frame_put_u32(&w, page);
	return hth_frame_end(&w);
}

/* ---- reading ---- */

void hth_extract_scratch_init(hth_extract_scratch *scratch)
{
	*scratch = (hth_extract_scratch){.strings = HTH_BUF_INIT(TEXT_FRAME_MAX + 64)};
}

void hth_extract_scratch_finish(hth_extract_scratch *scratch)
{
	if (scratch->strings.data != NULL)
		explicit_bzero(scratch->strings.data, scratch->strings.cap);
	hth_buf_finish(&scratch->strings);
	free(scratch->pages);
	scratch->pages = NULL;
}

static hth_status nonsense(const hth_frame *frame, hth_error *err)
{
	return hth_fail(err, HTH_BAD_FORMAT, "a %s frame whose %zu bytes make no sense",
	                hth_framing_type_name(&hth_extract_frames, frame->type), frame->len);
}

/* All strings of one message: its scratch is emptied and given room for the whole payload first, so that no string moves. */
static bool start_strings(hth_extract_scratch *scratch, const hth_frame *frame)
{
	hth_buf_clear(&scratch->strings);
	return hth_buf_reserve(&scratch->strings, frame->len + 16) != NULL;
}

static const char *get_text(hth_frame_fields *f, hth_extract_scratch *scratch, size_t max, size_t *ret_len)
{
	size_t len;
	const char *s = hth_frame_get_string(f, max, &len);
	if (memchr(s, '\0', len) != NULL || hth_utf8_valid_prefix(s, len) != len)
		f->failed = true;
	if (f->failed)
		return "";
	size_t at = scratch->strings.len;
	if (!hth_buf_append(&scratch->strings, s, len) || !hth_buf_append_char(&scratch->strings, '\0')) {
		f->failed = true;
		return "";
	}
	if (ret_len != NULL)
		*ret_len = len;
	return scratch->strings.data + at;
}

static bool is_box(const float box[4])
{
	for (int i = 0; i < 4; i++)
		if (!(box[i] >= 0 && box[i] <= 1)) /* NaN fails too */
			return false;
	return box[0] <= box[2] && box[1] <= box[3];
}

hth_status hth_extract_get_order(const hth_frame *frame, hth_extract_order *ret_order, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	*ret_order = (hth_extract_order){.mode = (hth_extract_mode)hth_frame_get_u8(&f)};
	ret_order->part = hth_frame_get_u32(&f);
	ret_order->page = hth_frame_get_u32(&f);
	ret_order->dpi = hth_frame_get_u32(&f);
	size_t len, n;
	const char *name = hth_frame_get_string(&f, sizeof ret_order->name - 1, &len);
	memcpy(ret_order->name, name, len);
	const unsigned char *marks = hth_frame_get_array32(&f, HTH_EXTRACT_MARKS_MAX * 4, &n);
	memcpy(ret_order->marks, marks, n * 4);
	ret_order->n_marks = n / 4;
	const char *words = hth_frame_get_string(&f, sizeof ret_order->words - 1, &len);
	memcpy(ret_order->words, words, len);
	bool ok = hth_frame_fields_end(&f) && n % 4 == 0 && ret_order->mode >= HTH_EXTRACT_MODE_TEXT &&
	          ret_order->mode <= HTH_EXTRACT_MODE_RENDER && ret_order->dpi <= 300;
	for (size_t i = 0; i < ret_order->n_marks; i++)
		ok = ok && is_box(ret_order->marks[i]);
	return ok ? HTH_OK : nonsense(frame, err);
}

hth_status hth_extract_get_ready(const hth_frame *frame, unsigned *ret_landlock_abi, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	*ret_landlock_abi = hth_frame_get_u8(&f);
	return hth_frame_fields_end(&f) ? HTH_OK : nonsense(frame, err);
}

hth_status hth_extract_get_broken(const hth_frame *frame, hth_error *ret_why, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	size_t len;
	const char *s = hth_frame_get_string(&f, HTH_ERROR_MAX, &len);
	if (!hth_frame_fields_end(&f) || memchr(s, '\0', len) != NULL || hth_utf8_valid_prefix(s, len) != len)
		return nonsense(frame, err);
	hth_fail(ret_why, HTH_UNSUPPORTED, "%.*s", (int)len, s);
	return HTH_OK;
}

hth_status hth_extract_get_part(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_part *ret_part, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	if (!start_strings(scratch, frame))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a part's name");
	ret_part->id = hth_frame_get_u32(&f);
	ret_part->parent = hth_frame_get_u32(&f);
	ret_part->name = get_text(&f, scratch, HTH_EXTRACT_STRING_MAX, NULL);
	return hth_frame_fields_end(&f) && ret_part->id <= HTH_EXTRACT_PARTS_MAX ? HTH_OK : nonsense(frame, err);
}

static double get_double(hth_frame_fields *f)
{
	uint64_t bits = hth_frame_get_u64(f);
	double v;
	memcpy(&v, &bits, sizeof v);
	return v;
}

hth_status hth_extract_get_meta(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_meta *ret_meta, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	if (!start_strings(scratch, frame))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for what a document says of itself");
	ret_meta->part = hth_frame_get_u32(&f);
	unsigned kind = hth_frame_get_u8(&f);
	ret_meta->kind = (hth_extract_kind)kind;
	ret_meta->pages = hth_frame_get_u32(&f);
	unsigned flags = hth_frame_get_u8(&f);
	ret_meta->has_date = flags & 1;
	ret_meta->has_place = flags & 2;
	ret_meta->date = (int64_t)hth_frame_get_u64(&f);
	ret_meta->latitude = get_double(&f);
	ret_meta->longitude = get_double(&f);
	ret_meta->title = get_text(&f, scratch, HTH_EXTRACT_STRING_MAX, NULL);
	ret_meta->author = get_text(&f, scratch, HTH_EXTRACT_STRING_MAX, NULL);
	ret_meta->recipients = get_text(&f, scratch, HTH_EXTRACT_STRING_MAX, NULL);
	ret_meta->language = get_text(&f, scratch, HTH_EXTRACT_STRING_MAX, NULL);
	ret_meta->mail_id = get_text(&f, scratch, HTH_EXTRACT_STRING_MAX, NULL);
	bool place_ok = fabs(ret_meta->latitude) <= 90 && fabs(ret_meta->longitude) <= 180; /* false for NaN */
	bool ok = hth_frame_fields_end(&f) && kind < HTH_KIND_COUNT && flags < 4 && (place_ok || !ret_meta->has_place);
	return ok ? HTH_OK : nonsense(frame, err);
}

hth_status hth_extract_get_block(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_block *ret_block, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	if (!start_strings(scratch, frame))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a block of text");
	ret_block->part = hth_frame_get_u32(&f);
	ret_block->page = hth_frame_get_u32(&f);
	unsigned role = hth_frame_get_u8(&f);
	ret_block->role = (hth_extract_role)role;
	unsigned has_box = hth_frame_get_u8(&f);
	ret_block->has_box = has_box;
	for (int i = 0; i < 4; i++)
		ret_block->box[i] = hth_frame_get_f32(&f);
	ret_block->len = 0;
	ret_block->text = get_text(&f, scratch, HTH_EXTRACT_BLOCK_MAX, &ret_block->len);
	bool ok = hth_frame_fields_end(&f) && role < HTH_ROLE_COUNT && has_box < 2 && is_box(ret_block->box) && ret_block->len > 0 &&
	          ret_block->page <= HTH_EXTRACT_PAGES_MAX;
	return ok ? HTH_OK : nonsense(frame, err);
}

hth_status hth_extract_get_result(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_result *ret_result,
                                  bool *ret_retire, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	hth_buf_clear(&scratch->strings);
	if (scratch->pages == NULL)
		scratch->pages = hth_alloc_array(HTH_EXTRACT_PAGES_MAX, sizeof *scratch->pages);
	if (scratch->pages == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a list of pages");
	*ret_result = (hth_extract_result){.part = hth_frame_get_u32(&f)};
	unsigned state = hth_frame_get_u8(&f), flags = hth_frame_get_u8(&f);
	ret_result->state = (hth_extract_state)state;
	ret_result->partial = flags & 1;
	*ret_retire = flags & 2;
	ret_result->reason = get_text(&f, scratch, HTH_EXTRACT_REASON_MAX, NULL);
	size_t n;
	const unsigned char *pages = hth_frame_get_array32(&f, HTH_EXTRACT_PAGES_MAX, &n);
	memcpy(scratch->pages, pages, n * 4);
	ret_result->ocr_pages = scratch->pages;
	ret_result->n_ocr_pages = n;
	bool ok = hth_frame_fields_end(&f) && state >= HTH_EXTRACT_TEXT && state <= HTH_EXTRACT_EXCLUDED && flags < 4;
	for (size_t i = 0; i < n; i++)
		ok = ok && scratch->pages[i] > (i > 0 ? scratch->pages[i - 1] : 0) && scratch->pages[i] <= HTH_EXTRACT_PAGES_MAX;
	ok = ok && (state == HTH_EXTRACT_NEEDS_OCR) == (n > 0) && (state < HTH_EXTRACT_UNREADABLE || ret_result->reason[0] != '\0');
	return ok ? HTH_OK : nonsense(frame, err);
}

hth_status hth_extract_get_page(const hth_frame *frame, uint32_t *ret_part, uint32_t *ret_page, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	*ret_part = hth_frame_get_u32(&f);
	*ret_page = hth_frame_get_u32(&f);
	return hth_frame_fields_end(&f) && *ret_page <= HTH_EXTRACT_PAGES_MAX ? HTH_OK : nonsense(frame, err);
}
