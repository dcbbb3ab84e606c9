/* own-tool.c - see own-tool.h. Owns what a model has said in the round that runs: its words, which the client has seen,
 * and its call, which not. Thread: the loop's. */
#include "api/own-tool.h"

#include "api/fields.h"

#include <stdio.h>

static const struct {
	const char *name, *what, *argument, *argument_is, *example;
} kinds[] = {
    [HTH_OWN_TOOL_FETCH] = {"web_fetch",
                            "Fetches a web page and returns its text. Only pages of these hosts can be fetched: ", "url",
                            "the page's http or https address", "https://..."},
    [HTH_OWN_TOOL_DOCUMENTS] = {"search_documents",
                                "Searches the household's own documents and returns the best passages, each with its file "
                                "and page. Answer from them and cite them as [file, page]; say so when they do not answer "
                                "the question.",
                                "query", "words to look for", "rental contract deposit"},
};
enum { ARGUMENTS_MAX = 16 << 10, WORDS_MAX = 1 << 20, HOSTS_SHOWN = 500 };

struct hth_own_tool {
	hth_own_tool_kind kind;
	unsigned rounds;
	hth_usage earlier;
	/* Of this round. */
	hth_buf words, arguments;
	char id[64];
	bool called;          /* the first call of ours is in arguments; more of them in one answer are passed over */
	bool others;          /* the client's tools were called, too */
	bool taking, keeping; /* the call that is coming is ours, and is the first */
	size_t n_ours;
	char *url; /* owned */
};

static void begin_round(hth_own_tool *t)
{
	hth_buf *all[] = {&t->words, &t->arguments};
	for (size_t i = 0; i < HTH_COUNT(all); i++) {
		if (all[i]->data != NULL)
			explicit_bzero(all[i]->data, all[i]->len);
		hth_buf_clear(all[i]);
	}
	t->called = t->others = t->taking = t->keeping = false;
	t->n_ours = 0;
}

void hth_own_tool_destroy(hth_own_tool *t)
{
	if (t == NULL)
		return;
	begin_round(t);
	hth_buf_finish(&t->words);
	hth_buf_finish(&t->arguments);
	if (t->url != NULL)
		explicit_bzero(t->url, strlen(t->url));
	free(t->url);
	free(t);
}

hth_status hth_own_tool_offer(hth_own_tool **ret_tool, hth_own_tool_kind kind, hth_request *request, const char *detail,
                              hth_error *err)
{
	HTH_AUTO_JSON json_t *tools = NULL;
	json_t *one;
	size_t i;
	char what[HOSTS_SHOWN + 400], *text;
	const char *name_of_ours = kinds[kind].name;
	if (request->kind != HTH_CHAT)
		return hth_fail_param(err, HTH_INVALID, "Hearth-Tools", "%s is for conversations", name_of_ours);
	if (request->input.tools_json != NULL)
		HTH_TRY(hth_json_parse(&tools, request->input.tools_json, strlen(request->input.tools_json), err));
	else
		tools = json_array();
	json_array_foreach(tools, i, one)
	{
		const char *name = json_string_value(json_object_get(json_object_get(one, "function"), "name"));
		if (name != NULL && strcmp(name, name_of_ours) == 0)
			return hth_fail_param(
			    err, HTH_INVALID, "tools",
			    "there is a tool %s already; leave it out, or leave Hearth-Tools out", name_of_ours);
	}
	snprintf(what, sizeof what, "%s%.*s", kinds[kind].what, HOSTS_SHOWN, detail);
	one = json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:{s:{s:s, s:s}}, s:[s]}}}", "type", "function", "function", "name",
	                name_of_ours, "description", what, "parameters", "type", "object", "properties", kinds[kind].argument, "type",
	                "string", "description", kinds[kind].argument_is, "required",
	                kinds[kind].argument);
	if (one == NULL || json_array_append_new(tools, one) != 0)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a tool");
	HTH_TRY(hth_fields_dump(tools, &text, err));
	hth_own_tool *t = calloc(1, sizeof *t);
	if (t == NULL) {
		free(text);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a tool");
	}
	*t = (hth_own_tool){.kind = kind, .words = HTH_BUF_INIT(WORDS_MAX), .arguments = HTH_BUF_INIT(ARGUMENTS_MAX)};
	free(request->input.tools_json);
	request->input.tools_json = text;
	*ret_tool = t;
	return HTH_OK;
}

bool hth_own_tool_take(hth_own_tool *t, hth_api_event *e)
{
	switch (e->kind) {
	case HTH_EVENT_TOOL_CALL:
		t->taking = strcmp(e->tool_name, kinds[t->kind].name) == 0;
		t->keeping = t->taking && !t->called;
		if (t->keeping) {
			t->called = true;
			snprintf(t->id, sizeof t->id, "%s", e->tool_id != NULL ? e->tool_id : "");
		}
		t->n_ours += t->taking;
		t->others |= !t->taking;
		break;
	case HTH_EVENT_TOOL_ARGUMENTS:
		if (t->keeping)
			hth_buf_append(&t->arguments, e->text, e->len);
		break;
	case HTH_EVENT_CONTENT:
		hth_buf_append(&t->words, e->text, e->len); /* past its cap the model goes on without them */
		return false;
	default:
		return false;
	}
	if (!t->taking)
		e->tool_index -= HTH_MIN(t->n_ours, e->tool_index);
	return t->taking;
}

hth_own_tool_kind hth_own_tool_which(const hth_own_tool *t) { return t->kind; }

bool hth_own_tool_waits(const hth_own_tool *t)
{
	return t->called && !t->others;
}

hth_status hth_own_tool_url(hth_own_tool *t, const char **ret_url, hth_error *err)
{
	HTH_AUTO_JSON json_t *arguments = NULL;
	if (t->rounds >= HTH_OWN_TOOL_ROUNDS_MAX)
		return hth_fail(err, HTH_INVALID,
		                "%s was called %d times already, which is the most for one answer; answer with what you have",
		                kinds[t->kind].name, HTH_OWN_TOOL_ROUNDS_MAX);
	const char *url = NULL;
	if (!t->arguments.failed && t->arguments.len > 0 &&
	    hth_json_parse(&arguments, t->arguments.data, t->arguments.len, NULL) == HTH_OK)
		url = json_string_value(json_object_get(arguments, kinds[t->kind].argument));
	if (url == NULL || *url == '\0')
		return hth_fail(err, HTH_INVALID, "the call has no %s; call %s with {\"%s\": \"%s\"}", kinds[t->kind].argument,
		                kinds[t->kind].name, kinds[t->kind].argument, kinds[t->kind].example);
	free(t->url);
	t->url = NULL;
	HTH_TRY(hth_fields_copy(url, &t->url, err));
	*ret_url = t->url;
	return HTH_OK;
}

static hth_status copy_if(const char *from, char **to, hth_error *err)
{
	return from == NULL ? HTH_OK : hth_fields_copy(from, to, err);
}

/* As a JSON string; bytes that are no UTF-8 (a message that was cut inside of a character) become U+FFFD. */
static json_t *words_of(const char *bytes, size_t len)
{
	json_t *string = json_stringn(bytes != NULL ? bytes : "", len);
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(6 * len + 16);
	if (string == NULL && hth_json_write_string(bytes, len, &text))
		(void)!hth_json_parse(&string, text.data, text.len, NULL);
	return string;
}

static hth_status fill(const hth_own_tool *t, const hth_request *before, const char *result, size_t len,
                       hth_request *next, hth_error *err)
{
	HTH_AUTO_JSON json_t *messages = NULL;
	HTH_AUTO_JSON json_t *arguments = NULL;
	const hth_request_input *from = &before->input;
	hth_request_input *to = &next->input;
	HTH_TRY(hth_json_parse(&messages, from->messages_json, strlen(from->messages_json), err));
	if (t->arguments.len == 0 || hth_json_parse(&arguments, t->arguments.data, t->arguments.len, NULL) != HTH_OK ||
	    !json_is_object(arguments)) {
		json_decref(arguments);
		arguments = json_object();
	}
	json_t *call = json_pack("{s:o, s:s, s:{s:s, s:O}}", "id", words_of(t->id, strlen(t->id)), "type", "function",
	                         "function", "name", kinds[t->kind].name, "arguments", arguments);
	json_t *answer = json_pack("{s:s, s:o, s:[o]}", "role", "assistant", "content",
	                           words_of(t->words.data, t->words.len), "tool_calls", call);
	json_t *page = json_pack("{s:s, s:o, s:s, s:o}", "role", "tool", "tool_call_id", words_of(t->id, strlen(t->id)),
	                         "name", kinds[t->kind].name, "content", words_of(result, len));
	if (json_array_append_new(messages, answer) != 0 || json_array_append_new(messages, page) != 0)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a page");
	HTH_TRY(hth_fields_dump(messages, &to->messages_json, err));
	HTH_TRY(copy_if(from->tools_json, &to->tools_json, err));
	HTH_TRY(copy_if(from->template_json, &to->template_json, err));
	HTH_TRY(copy_if(from->settings_json, &to->settings_json, err));
	HTH_TRY(copy_if(from->format_json, &to->format_json, err));
	/* A call that had to be has been: must_call is not copied. */
	HTH_TRY(hth_fields_copy_params(&next->params, &before->params, 0, err));
	if (next->params.max_tokens > 0) /* of the whole answer */
		next->params.max_tokens =
		    HTH_MAX(next->params.max_tokens - (int64_t)before->usage.answer_tokens, (int64_t)1);
	snprintf(next->model, sizeof next->model, "%s", before->model);
	return HTH_OK;
}

hth_status hth_own_tool_next(hth_own_tool *t, const hth_request *before, const char *result, size_t len,
                             hth_request **ret_next, hth_error *err)
{
	hth_request *next;
	HTH_TRY(hth_request_create(&next, HTH_CHAT, err));
	hth_status status = fill(t, before, result, len, next, err);
	if (status != HTH_OK) {
		hth_request_unref(next);
		return status;
	}
	t->rounds++;
	hth_own_tool_add_usage(&(hth_own_tool){.earlier = before->usage}, &t->earlier);
	begin_round(t);
	*ret_next = next;
	return HTH_OK;
}

unsigned hth_own_tool_rounds(const hth_own_tool *t)
{
	return t->rounds;
}

void hth_own_tool_add_usage(const hth_own_tool *t, hth_usage *usage)
{
	usage->prompt_tokens += t->earlier.prompt_tokens;
	usage->cached_tokens += t->earlier.cached_tokens;
	usage->answer_tokens += t->earlier.answer_tokens;
	usage->queue_ns += t->earlier.queue_ns;
	usage->prefill_ns += t->earlier.prefill_ns;
	usage->decode_ns += t->earlier.decode_ns;
}
