/* cmd-show.c - `hearth show MODEL`: what is inside a model's file, and whether this machine can run it.
 *
 * Everything shown comes from an untrusted file: it is read by a locked-in process, and whatever goes to the terminal is made
 * printable first (the engine's describe function and the name check below).
 */
#include "base/mem.h"
#include "catalog/record.h"
#include "engine/gotemplate/chat-template.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"
#include "cmd/cmd-peek.h"

#include <unistd.h>

typedef struct facts {
	const hth_model_info *info;
	hth_jinja_caps caps;
	uint64_t budget;        /* what models may take here */
	uint32_t context;       /* that the plan below is for */
	uint64_t plan_bytes;    /* KV and scratch for one request of that context */
	uint64_t least;         /* what the node sets aside at least, whatever the plan */
	bool fits;
} facts;

static uint64_t plan_for(const hth_model *model, uint32_t context)
{
	return hth_session_plan_bytes(model, &(hth_session_options){.n_seq = 1, .n_ctx = context, .n_outputs = 1});
}

/* The context asked for, or the longest (halving) that fits the budget beside the weights. */
static void plan(const hth_model *model, const hth_config *config, facts *f)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	f->budget = config->memory != 0 ? config->memory : all / 100 * 80;
	f->context = config->context != 0 ? HTH_MIN(config->context, f->info->n_ctx_train) : f->info->n_ctx_train;
	f->plan_bytes = plan_for(model, f->context);
	while (config->context == 0 && f->context > 512 && f->info->weight_bytes + f->plan_bytes > f->budget) {
		f->context /= 2;
		f->plan_bytes = plan_for(model, f->context);
	}
	f->least = hth_catalog_least_bytes(f->info->file_bytes);
	f->fits = HTH_MAX(f->info->weight_bytes + f->plan_bytes, f->least) <= f->budget;
}

static void printable(const char *s, char *out, size_t out_len)
{
	size_t n = 0;
	for (; *s != '\0' && n + 1 < out_len; s++)
		out[n++] = (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s;
	out[n] = '\0';
}

static void write_json(const hth_local_model *local, const hth_model *model, const facts *f, hth_buf *out)
{
	const hth_model_info *i = f->info;
	const struct {
		const char *key, *value;
	} texts[] = {{"name", local->files.name}, {"title", i->name}, {"architecture", i->architecture}, {"type", i->type},
	             {"license", i->license}};
	hth_buf_append_char(out, '{');
	for (size_t k = 0; k < HTH_COUNT(texts); k++) {
		hth_buf_appendf(out, "\"%s\":", texts[k].key);
		hth_json_write_string(texts[k].value, strlen(texts[k].value), out);
		hth_buf_append_char(out, ',');
	}
	hth_buf_appendf(out,
	                "\"parameters\":%llu,\"file_bytes\":%llu,\"weight_bytes\":%llu,\"context\":%u,\"layers\":%u,\"width\":%u,"
	                "\"heads\":%u,\"kv_heads\":%u,\"vocabulary\":%u,\"experts\":%u,\"experts_used\":%u,\"embedding\":%s,"
	                "\"kv_bytes_per_token\":%llu,\"read_bytes_per_token\":%llu,\"tokenizer\":",
	                (unsigned long long)i->n_params, (unsigned long long)i->file_bytes, (unsigned long long)i->weight_bytes,
	                i->n_ctx_train,
	                i->n_layer, i->n_embd, i->n_head, i->n_head_kv, i->n_vocab, i->n_expert, i->n_expert_used,
	                i->embedding ? "true" : "false",
	                (unsigned long long)i->kv_bytes_per_token, (unsigned long long)i->read_bytes_per_token);
	const char *tokenizer = hth_tokenizer_model(hth_model_tokenizer(model));
	hth_json_write_string(tokenizer, strlen(tokenizer), out);
	hth_buf_appendf(out, ",\"template\":%s", i->has_template ? "" : "null");
	if (i->has_template)
		hth_buf_appendf(out, "{\"tools\":%s,\"system_role\":%s,\"parallel_tool_calls\":%s,\"thinking\":%s}",
		                f->caps.tools ? "true" : "false", f->caps.system_role ? "true" : "false",
		                f->caps.parallel_tool_calls ? "true" : "false", f->caps.thinking ? "true" : "false");
	hth_buf_appendf(out, ",\"memory\":{\"context\":%u,\"plan_bytes\":%llu,\"needed_bytes\":%llu,\"budget_bytes\":%llu,\"fits\":%s}",
	                f->context, (unsigned long long)f->plan_bytes, (unsigned long long)i->weight_bytes + f->plan_bytes,
	                (unsigned long long)f->budget, f->fits ? "true" : "false");
}

static void write_metadata_json(const hth_gguf *gguf, hth_buf *out)
{
	char value[256];
	HTH_CLEANUP(hth_buf_finish) hth_buf whole = HTH_BUF_INIT(8 << 20);
	hth_buf_append_str(out, ",\"metadata\":{");
	for (size_t i = 0; i < hth_gguf_kv_count(gguf); i++) {
		const hth_gguf_kv *kv = hth_gguf_kv_at(gguf, i);
		hth_view key = hth_gguf_kv_key(kv);
		hth_gguf_kv_describe(kv, value, sizeof value);
		hth_buf_append_str(out, i > 0 ? "," : "");
		hth_json_write_string(key.data, key.len, out);
		hth_buf_append_char(out, ':');
		char name[256];
		hth_view text;
		snprintf(name, sizeof name, "%.*s", (int)HTH_MIN(key.len, sizeof name - 1), key.data);
		/* A value is JSON text; strings (a chat template) are there whole. */
		hth_buf_clear(&whole);
		if (key.len < sizeof name && hth_gguf_kv_type(kv) == HTH_GGUF_STRING &&
		    hth_gguf_get_string(gguf, name, &text, NULL) == HTH_OK && hth_json_write_string(text.data, text.len, &whole))
			hth_json_write_string(whole.data, whole.len, out);
		else
			hth_json_write_string(value, strlen(value), out);
	}
	hth_buf_append_char(out, '}');
}

static void line(hth_buf *out, const char *label, const char *fmt, ...) HTH_PRINTF(3, 4);
static void line(hth_buf *out, const char *label, const char *fmt, ...)
{
	va_list args;
	hth_buf_appendf(out, "%s%-12s", out->len > 0 ? "\n" : "", label);
	va_start(args, fmt);
	hth_buf_appendv(out, fmt, args);
	va_end(args);
}

static void write_text(const hth_local_model *local, const facts *f, const hth_error *template_error, hth_buf *out)
{
	const hth_model_info *i = f->info;
	char a[32], b[32], c[32], text[160];
	line(out, "name", "%s", local->files.name);
	printable(i->name, text, sizeof text);
	if (*text != '\0')
		line(out, "title", "%s", text);
	printable(i->architecture, text, sizeof text);
	line(out, "family", "%s%s", text, i->embedding ? " (embeddings)" : "");
	line(out, "parameters", "%s", hth_cmd_count(i->n_params, a));
	if (i->n_expert > 0)
		line(out, "experts", "%u, of which a token uses %u", i->n_expert, i->n_expert_used);
	printable(i->type, text, sizeof text);
	line(out, "weights", "%s, %s in %zu file%s", text, hth_cmd_bytes(i->file_bytes, a), local->n_fds, local->n_fds == 1 ? "" : "s");
	line(out, "shape", "%u layers, width %u, %u heads over %u, vocabulary %u", i->n_layer, i->n_embd, i->n_head, i->n_head_kv,
	     i->n_vocab);
	line(out, "context", "%u tokens", i->n_ctx_train);
	printable(i->license, text, sizeof text);
	line(out, "licence", "%s", *text != '\0' ? text : "the file does not say");
	if (template_error != NULL)
		line(out, "template", "there is one, which cannot be used: %s", template_error->message);
	else if (!i->has_template)
		line(out, "template", "%s", i->embedding ? "none" : "none: it completes text, it was not made to chat");
	else
		line(out, "template", "chat%s%s%s", f->caps.system_role ? ", system message" : "", f->caps.tools ? ", tools" : "",
		     f->caps.thinking ? ", thinking" : "");
	line(out, "needs", "%s: %s of weights, %s for a request of %u tokens", hth_cmd_memory(i->weight_bytes + f->plan_bytes, a),
	     hth_cmd_memory(i->weight_bytes, b), hth_cmd_memory(f->plan_bytes, c), f->context);
	if (f->fits && f->context < i->n_ctx_train)
		line(out, "fits here", "yes, with %u of its %u tokens of context: models may take %s", f->context, i->n_ctx_train,
		     hth_cmd_memory(f->budget, a));
	else if (f->fits)
		line(out, "fits here", "yes: models may take %s", hth_cmd_memory(f->budget, a));
	else if (i->weight_bytes + f->plan_bytes <= f->budget)
		line(out, "fits here", "no: models may take %s, and the node sets %s aside for one of this size",
		     hth_cmd_memory(f->budget, a), hth_cmd_memory(f->least, b));
	else
		line(out, "fits here",
		     "no: models may take %s. A smaller type (`hearth quantize`), a smaller model or more memory would help",
		     hth_cmd_memory(f->budget, a));
}

static void write_metadata_text(const hth_gguf *gguf, hth_buf *out)
{
	char value[256];
	hth_buf_append_str(out, "\n");
	for (size_t i = 0; i < hth_gguf_kv_count(gguf); i++) {
		const hth_gguf_kv *kv = hth_gguf_kv_at(gguf, i);
		hth_view key = hth_gguf_kv_key(kv);
		char name[256], shown[256];
		snprintf(name, sizeof name, "%.*s", (int)HTH_MIN(key.len, sizeof name - 1), key.data);
		printable(name, shown, sizeof shown);
		hth_gguf_kv_describe(kv, value, sizeof value);
		hth_buf_appendf(out, "\n%s = %s", shown, value);
	}
}

/* What a made model has beside its weights; record may be NULL. */
static void write_made_json(const json_t *record, hth_buf *out)
{
	static const char *const keys[] = {"from", "source", "license", "system", "params", "messages", "template"};
	hth_buf_append_str(out, ",\"made\":");
	HTH_AUTO_JSON json_t *made = json_object();
	for (size_t i = 0; i < HTH_COUNT(keys); i++)
		if (json_object_get(record, keys[i]) != NULL)
			json_object_set(made, keys[i], json_object_get(record, keys[i]));
	if (record != NULL)
		hth_json_write(made, out);
	else
		hth_buf_append_str(out, "null");
}

static void write_made_text(const json_t *record, hth_buf *out)
{
	const char *from = json_string_value(json_object_get(record, "from")),
	           *source = json_string_value(json_object_get(record, "source")),
	           *system = json_string_value(json_object_get(record, "system")),
	           *template = json_string_value(json_object_get(record, "template")), *key;
	char text[160];
	json_t *value;
	if (from != NULL || source != NULL) {
		printable(from != NULL ? from : source, text, sizeof text);
		line(out, from != NULL ? "made of" : "from", "%s", text);
	}
	const char *license = json_string_value(json_object_get(record, "license"));
	if (license != NULL) {
		license += strspn(license, " \t\r\n");
		const size_t len = HTH_MIN(strcspn(license, "\r\n"), sizeof text - 1);
		memcpy(text, license, len);
		text[len] = '\0';
		for (char *c = text; *c != '\0'; c++)
			*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
		line(out, "licensed", "%s%s", text, strlen(license) > strlen(text) ? " ..." : "");
	}
	if (system != NULL) {
		printable(system, text, sizeof text);
		line(out, "system", "%s%s", text, strlen(system) >= sizeof text ? "..." : "");
	}
	json_object_foreach (json_object_get(record, "params"), key, value) {
		HTH_CLEANUP(hth_buf_finish) hth_buf shown = HTH_BUF_INIT(4096);
		char name[64];
		hth_json_write(value, &shown);
		printable(key, name, sizeof name);
		printable(shown.data != NULL ? shown.data : "", text, sizeof text);
		line(out, "parameter", "%s %s", name, text);
	}
	if (template != NULL)
		line(out, "chat form", "its own, in place of the file's%s",
		     hth_chat_template_is_jinja(template, strlen(template)) ? "" : ", in Go's language");
}

int hth_cmd_show(hth_invocation *in)
{
	bool json = false, metadata = false, remote = false;
	const hth_option options[] = {{"metadata", 0, HTH_OPTION_FLAG, &metadata, NULL, "also every entry of the file's metadata", 0, 0,
	                               NULL},
	                              {"remote", 0, HTH_OPTION_FLAG, &remote, NULL, "look where `hearth pull` would take it from", 0, 0,
	                               NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 1))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	hth_local_model local = {.n_fds = 0};
	hth_model *model = NULL;
	HTH_AUTO_JSON json_t *record = NULL;
	hth_buf out = HTH_BUF_INIT(64 << 20);
	remote = remote || hth_pull_is_remote(in->argv[0]);
	hth_status status = remote ? hth_cmd_peek_open(in, in->argv[0], &local, &err) : hth_local_open(in, in->argv[0], &local, &err);
	if (status == HTH_OK && !remote)
		record = hth_record_of(in->config.home, &local.files);
	if (status == HTH_OK)
		status = hth_local_lock_in(&local, -1, &err);
	if (status == HTH_OK)
		status = hth_local_load(&local, &model, &err);
	if (status == HTH_OK) {
		facts f = {.info = hth_model_get_info(model)};
		if (f.info->has_template)
			hth_jinja_probe(hth_model_template(model), &f.caps);
		plan(model, &in->config, &f);
		if (json) {
			write_json(&local, model, &f, &out);
			if (metadata)
				write_metadata_json(hth_model_gguf(model), &out);
			write_made_json(record, &out);
			hth_buf_append_char(&out, '}');
		} else {
			write_text(&local, &f, hth_model_template_error(model), &out);
			write_made_text(record, &out);
			if (metadata)
				write_metadata_text(hth_model_gguf(model), &out);
		}
	}
	int code = status == HTH_OK ? hth_cmd_print(in, &out) : hth_cmd_fail(in, &err);
	hth_buf_finish(&out);
	hth_model_close(model);
	hth_local_close(&local);
	return code;
}
