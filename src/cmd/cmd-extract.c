/* cmd-extract.c - `hearth extract`: what the index would read from files, or a page of one as a picture. Needs no node.
 *
 * The files are read by the same sandboxed child as the index's. People get the text; --json gives one object a file (JSON Lines) with
 * every part, block, page and box. Several files are queued at once and answered in the order of the command line.
 */
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "extract/extract.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>

enum { QUEUED_MAX = 16, OUT_MAX = 1 << 30 };

typedef struct extraction extraction;
typedef struct extracted {
	extraction *all;
	const char *path;
	bool ended, wants_ocr, in_ocr, failed;
	hth_buf out;
} extracted;

struct extraction {
	hth_invocation *in;
	hth_loop *loop;
	hth_extractor *extractor;
	bool json, ocr;
	int64_t page, dpi;
	const char *output;
	extracted *files;
	size_t n_files, next, printed, running;
	int code;
};

static void submit(extracted *f, hth_extract_mode mode);

static void put_string(hth_buf *out, const char *key, const char *value)
{
	if (value[0] == '\0')
		return;
	hth_buf_appendf(out, ",\"%s\":", key);
	hth_json_write_string(value, strlen(value), out);
}

/* JSON is a flat list of events in the order in which they came: it needs no memory of parts, and jq can group them. */
static void begin_event(extracted *f, const char *what, uint32_t part)
{
	hth_buf_appendf(&f->out, "%s{\"%s\":%u", f->out.len > 0 ? "," : "", what, part);
}

static void on_part(void *ctx, const hth_extract_part *part)
{
	extracted *f = ctx;
	if (f->in_ocr)
		return;
	if (f->all->json) {
		begin_event(f, "part", part->id);
		hth_buf_appendf(&f->out, ",\"parent\":%u", part->parent);
		put_string(&f->out, "name", part->name);
		hth_buf_append_char(&f->out, '}');
	} else if (part->id > 0) {
		hth_buf_appendf(&f->out, "\n---- %s ----\n", part->name[0] != '\0' ? part->name : "a part without a name");
	}
}

static void on_meta(void *ctx, const hth_extract_meta *meta)
{
	extracted *f = ctx;
	if (f->in_ocr)
		return;
	if (f->all->json) {
		begin_event(f, "meta", meta->part);
		put_string(&f->out, "kind", hth_extract_kind_name(meta->kind));
		if (meta->pages > 0)
			hth_buf_appendf(&f->out, ",\"pages\":%u", meta->pages);
		if (meta->has_date)
			hth_buf_appendf(&f->out, ",\"date\":%lld", (long long)meta->date);
		if (meta->has_place)
			hth_buf_appendf(&f->out, ",\"place\":[%.6f,%.6f]", meta->latitude, meta->longitude);
		put_string(&f->out, "title", meta->title);
		put_string(&f->out, "author", meta->author);
		put_string(&f->out, "recipients", meta->recipients);
		put_string(&f->out, "language", meta->language);
		put_string(&f->out, "mail_id", meta->mail_id);
		hth_buf_append_char(&f->out, '}');
		return;
	}
	if (meta->title[0] != '\0')
		hth_buf_appendf(&f->out, "%s\n", meta->title);
	if (meta->author[0] != '\0')
		hth_buf_appendf(&f->out, "%s\n", meta->author);
	if (meta->has_place)
		hth_buf_appendf(&f->out, "%.5f, %.5f\n", meta->latitude, meta->longitude);
}

static void on_block(void *ctx, const hth_extract_block *block)
{
	static const char *const roles[HTH_ROLE_COUNT] = {"body", "heading", "row", "ocr"};
	extracted *f = ctx;
	if (!f->all->json) {
		hth_buf_appendf(&f->out, "%s%s\n", block->role == HTH_ROLE_ROW ? "" : "\n", block->text);
		return;
	}
	begin_event(f, "block", block->part);
	hth_buf_appendf(&f->out, ",\"role\":\"%s\"", roles[block->role]);
	if (block->page > 0)
		hth_buf_appendf(&f->out, ",\"page\":%u", block->page);
	if (block->has_box)
		hth_buf_appendf(&f->out, ",\"box\":[%.4f,%.4f,%.4f,%.4f]", block->box[0], block->box[1], block->box[2], block->box[3]);
	hth_buf_append_str(&f->out, ",\"text\":");
	hth_json_write_string(block->text, block->len, &f->out);
	hth_buf_append_char(&f->out, '}');
}

static void put_result(extracted *f, const hth_extract_result *r)
{
	if (!f->all->json) {
		if (r->reason[0] != '\0' && r->part > 0)
			hth_buf_appendf(&f->out, "[%s]\n", r->reason);
		return;
	}
	begin_event(f, "end", r->part);
	hth_buf_appendf(&f->out, ",\"state\":\"%s\"", hth_extract_state_name(r->state));
	if (r->partial)
		hth_buf_append_str(&f->out, ",\"partial\":true");
	if (r->changed)
		hth_buf_append_str(&f->out, ",\"changed\":true");
	put_string(&f->out, "reason", r->reason);
	for (size_t i = 0; i < r->n_ocr_pages; i++)
		hth_buf_appendf(&f->out, "%s%u", i == 0 ? ",\"ocr_pages\":[" : ",", r->ocr_pages[i]);
	hth_buf_append_str(&f->out, r->n_ocr_pages > 0 ? "]}" : "}");
}

static void on_part_end(void *ctx, const hth_extract_result *result)
{
	extracted *f = ctx;
	f->wants_ocr = f->wants_ocr || result->state == HTH_EXTRACT_NEEDS_OCR;
	if (!f->in_ocr)
		put_result(f, result);
}

static void on_restart(void *ctx)
{
	extracted *f = ctx;
	hth_buf_clear(&f->out);
}

static void on_png(void *ctx, const void *bytes, size_t len)
{
	extracted *f = ctx;
	FILE *out = strcmp(f->all->output, "-") == 0 ? stdout : fopen(f->all->output, "wb");
	bool ok = out != NULL && fwrite(bytes, 1, len, out) == len;
	if (out != NULL && out != stdout)
		ok = fclose(out) == 0 && ok;
	if (!ok) {
		fprintf(stderr, "hearth extract: cannot write %s: %s\n", f->all->output, strerror(errno));
		f->failed = true;
	}
}

static void print_ready(extraction *all)
{
	for (; all->printed < all->n_files && all->files[all->printed].ended; all->printed++) {
		extracted *f = &all->files[all->printed];
		if (all->json && all->page == 0) {
			hth_buf line = HTH_BUF_INIT(1 << 16);
			hth_json_write_string(f->path, strlen(f->path), &line);
			printf("{\"file\":%s,\"events\":[%s]}\n", line.data != NULL ? line.data : "\"\"",
			       f->out.data != NULL ? f->out.data : "");
			hth_buf_finish(&line);
		} else if (f->out.len > 0) {
			if (all->n_files > 1)
				printf("==== %s ====\n", f->path);
			fwrite(f->out.data, 1, f->out.len, stdout);
		}
		hth_buf_finish(&f->out);
		if (f->failed)
			all->code = HTH_EXIT_FAILED;
	}
}

static void submit_more(extraction *all)
{
	while (all->next < all->n_files && all->running < QUEUED_MAX)
		submit(&all->files[all->next++], all->page > 0 ? HTH_EXTRACT_MODE_RENDER : HTH_EXTRACT_MODE_TEXT);
}

static void on_end(void *ctx, const hth_extract_result *result)
{
	extracted *f = ctx;
	extraction *all = f->all;
	all->running--;
	put_result(f, result);
	f->wants_ocr = f->wants_ocr || result->state == HTH_EXTRACT_NEEDS_OCR;
	if (f->wants_ocr && all->ocr && !f->in_ocr) {
		f->in_ocr = true;
		submit(f, HTH_EXTRACT_MODE_OCR);
		return;
	}
	if (!all->json && result->reason[0] != '\0')
		fprintf(stderr, "hearth extract: %s: %s: %s\n", f->path, hth_extract_state_name(result->state), result->reason);
	else if (!all->json && f->wants_ocr && !all->ocr)
		fprintf(stderr, "hearth extract: %s: has pages or pictures without text; --ocr reads them\n", f->path);
	f->failed = f->failed || result->state == HTH_EXTRACT_UNREADABLE;
	f->ended = true;
	print_ready(all);
	submit_more(all);
	if (all->printed == all->n_files)
		hth_loop_stop(all->loop);
}

static void submit(extracted *f, hth_extract_mode mode)
{
	extraction *all = f->all;
	static const hth_extract_sink sink = {on_part, on_meta, on_block, on_part_end, on_png, on_restart, on_end};
	hth_error err = HTH_ERROR_INIT;
	hth_extract_ask ask = {.mode = mode, .name = f->path, .page = (uint32_t)all->page, .dpi = (uint32_t)all->dpi};
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	hth_status status = HTH_OK;
	if (fd < 0)
		status = hth_fail_errno(&err, HTH_IO, errno, "cannot open it");
	else
		status = hth_extractor_submit(all->extractor, fd, &ask, &sink, f, NULL, &err);
	if (status == HTH_OK) {
		all->running++;
		return;
	}
	if (all->json)
		put_result(f, &(hth_extract_result){.state = HTH_EXTRACT_UNREADABLE, .reason = err.message});
	else
		fprintf(stderr, "hearth extract: %s: %s\n", f->path, err.message);
	f->failed = f->ended = true;
	print_ready(all);
}

int hth_cmd_extract(hth_invocation *in)
{
	extraction all = {.in = in, .dpi = 110};
	const char *languages = NULL;
	int64_t seconds = 0, memory = 0;
	const hth_option options[] = {
	    HTH_OPTION_JSON(&all.json),
	    {"ocr", 0, HTH_OPTION_FLAG, &all.ocr, NULL, "also read pages and pictures without text", 0, 0, NULL},
	    {"languages", 'l', HTH_OPTION_TEXT, &languages, "LIST", "of OCR: eng+deu", 0, 0, NULL},
	    {"page", 'p', HTH_OPTION_INT, &all.page, "N", "write page N as PNG instead", 1, HTH_EXTRACT_PAGES_MAX, NULL},
	    {"output", 'o', HTH_OPTION_TEXT, &all.output, "FILE", "where to write it (- for standard output)", 0, 0, NULL},
	    {"dpi", 0, HTH_OPTION_INT, &all.dpi, "N", "its dots per inch (110)", 36, 300, NULL},
	    {"seconds", 0, HTH_OPTION_INT, &seconds, "N", "processor time for a file, or a page of OCR (60)", 1, 3600, NULL},
	    {"memory", 0, HTH_OPTION_INT, &memory, "MIB", "memory for a file (1024)", 16, 65536, NULL},
	};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 100000))
		return in->exit_code;
	if ((all.page > 0) != (all.output != NULL) || (all.page > 0 && (in->argc != 1 || all.ocr)))
		return hth_cmd_usage(in, "--page and --output go together, for one file and without --ocr");
	hth_error err = HTH_ERROR_INIT;
	hth_extractor_options wishes = {.foreground = true, .languages = languages, .seconds = (uint32_t)seconds,
	                                .memory_bytes = (uint64_t)memory << 20};
	all.n_files = (size_t)in->argc;
	all.files = hth_alloc_array(all.n_files, sizeof *all.files);
	hth_status status = all.files != NULL ? hth_loop_create(&all.loop, &err)
	                                      : hth_fail(&err, HTH_NO_MEMORY, "no memory for a list of files");
	if (status == HTH_OK)
		status = hth_extractor_create(&all.extractor, all.loop, &wishes, &err);
	if (status == HTH_OK) {
		for (size_t i = 0; i < all.n_files; i++)
			all.files[i] = (extracted){.all = &all, .path = in->argv[i], .out = HTH_BUF_INIT(OUT_MAX)};
		submit_more(&all);
		if (all.printed < all.n_files)
			hth_loop_run(all.loop);
	} else {
		all.code = hth_cmd_fail(in, &err);
	}
	hth_extractor_destroy(all.extractor);
	if (all.loop != NULL)
		(void)!hth_loop_destroy(all.loop);
	free(all.files);
	if (fflush(stdout) != 0)
		all.code = HTH_EXIT_FAILED;
	return all.code;
}
