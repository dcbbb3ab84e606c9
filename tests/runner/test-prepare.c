/* From words to tokens: the chat template or the one in its place, one BOS, answers that go on, and what is refused. The models
 * are copies of the starter model with another template. */
#include "base/mem.h"
#include "engine/gguf/gguf-writer.h"
#include "runner/prepare.h"
#include "harness.h"

#include <fcntl.h>

/* The starter model with `chat_template` (NULL: none). */
static hth_model *open_with(const char *chat_template)
{
	hth_error err = HTH_ERROR_INIT;
	char path[4096];
	snprintf(path, sizeof path, "%s/models/starter.gguf", getenv("HEARTH_SOURCE") ? getenv("HEARTH_SOURCE") : ".");
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	hth_gguf *gguf = NULL;
	if (fd < 0 || hth_gguf_open(&gguf, &fd, 1, "starter", &err) != HTH_OK)
		return NULL;
	FILE *file = tmpfile();
	hth_gguf_writer *w = NULL;
	hth_status status = file != NULL ? hth_gguf_writer_create(&w, fileno(file), &err) : HTH_IO;
	for (size_t i = 0; i < hth_gguf_kv_count(gguf) && status == HTH_OK; i++) {
		const hth_gguf_kv *kv = hth_gguf_kv_at(gguf, i);
		hth_view key = hth_gguf_kv_key(kv);
		if (key.len != strlen("tokenizer.chat_template") || memcmp(key.data, "tokenizer.chat_template", key.len) != 0)
			hth_gguf_writer_copy_kv(w, kv);
	}
	if (status == HTH_OK && chat_template != NULL)
		hth_gguf_writer_set_string(w, "tokenizer.chat_template", chat_template);
	for (size_t i = 0; i < hth_gguf_tensor_count(gguf) && status == HTH_OK; i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		char name[64] = "";
		memcpy(name, t->name.data, t->name.len);
		hth_gguf_writer_add_tensor(w, name, (hth_type)t->type, t->n_dims, t->ne);
	}
	if (status == HTH_OK)
		status = hth_gguf_writer_begin(w, &err);
	for (size_t i = 0; i < hth_gguf_tensor_count(gguf) && status == HTH_OK; i++)
		status = hth_gguf_writer_write(w, hth_gguf_tensor_at(gguf, i)->data, hth_gguf_tensor_at(gguf, i)->n_bytes, &err);
	if (status == HTH_OK)
		status = hth_gguf_writer_finish(w, &err);
	hth_gguf_writer_destroy(w);
	hth_gguf_close(gguf);
	hth_model *model = NULL;
	int copy = file != NULL ? fileno(file) : -1;
	if (status == HTH_OK)
		status = hth_model_open(&model, &copy, 1, "copy", &err);
	if (status != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
	if (file != NULL)
		fclose(file);
	return model;
}

typedef struct prepared {
	hth_model *model;
	hth_preparer *preparer;
	hth_job *job;
	hth_status status;
	hth_error err;
} prepared;

static void finish(prepared *p)
{
	hth_job_destroy(p->job);
	hth_preparer_destroy(p->preparer);
	hth_model_close(p->model);
}
#define PREPARED __attribute__((cleanup(finish))) prepared

static const char *trigger, *trigger_if, *tools; /* of the next request */
static uint32_t n_ctx = 256;

static prepared prepare(const char *chat_template, hth_request_kind kind, const char *messages, bool continue_last)
{
	prepared p = {.model = open_with(chat_template), .status = HTH_INTERNAL};
	if (p.model == NULL || hth_preparer_create(&p.preparer, p.model, n_ctx, "copy", &p.err) != HTH_OK)
		return p;
	hth_ask ask = {.kind = kind};
	ask.params.sampling = hth_sampling_defaults();
	ask.params.max_tokens = 10;
	ask.params.top_logprobs = -1;
	ask.params.grammar_trigger = trigger != NULL ? strdup(trigger) : NULL;
	ask.params.grammar_trigger_if = trigger_if != NULL ? strdup(trigger_if) : NULL;
	ask.input.messages_json = strdup(messages);
	ask.input.continue_last = continue_last;
	ask.input.tools_json = tools != NULL ? strdup(tools) : NULL;
	p.job = hth_job_create(1, &ask, 0);
	p.status = hth_prepare(p.preparer, p.job, &p.err);
	return p;
}

static unsigned count_bos(const prepared *p)
{
	unsigned n = 0;
	int32_t bos = hth_tokenizer_special(hth_model_tokenizer(p->model))->bos;
	for (uint32_t i = 0; i < p->job->n_tokens; i++)
		n += p->job->tokens[i] == bos;
	return n;
}

static void check_text(const prepared *p, const char *text)
{
	CHECK_INT(p->status, HTH_OK);
	if (p->status != HTH_OK)
		printf("# %s\n", p->err.message);
	else
		CHECK(p->job->echo != NULL && p->job->echo_len == strlen(text) && memcmp(p->job->echo, text, strlen(text)) == 0);
	if (p->job != NULL && p->job->echo != NULL && test_failures > 0)
		printf("# rendered: %.*s\n", (int)p->job->echo_len, p->job->echo);
}

static const char talk[] = "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"},"
                           "{\"role\":\"assistant\",\"content\":\"Hello!\"},{\"role\":\"user\",\"content\":\"Bye\"}]";

TEST(model_without_a_template_gets_a_transcript)
{
	PREPARED p = prepare(NULL, HTH_RENDER, talk, false);
	check_text(&p, "Be brief.\n\nUser: Hi\nAssistant: Hello!\nUser: Bye\nAssistant:");
	PREPARED chat = prepare(NULL, HTH_CHAT, talk, false);
	CHECK_INT(chat.status, HTH_OK);
	/* It ends where the next turn would begin, and that is not one of the request's own stop strings. */
	CHECK_INT(chat.job->ask.params.n_stop, 1);
	CHECK_STR(chat.job->ask.params.stop[0], "\nUser:");
	CHECK_INT(chat.job->n_stop_asked, 0);
	CHECK_INT(count_bos(&chat), 1);
}

TEST(template_that_does_not_compile_is_named_when_it_is_needed)
{
	PREPARED p = prepare("{% if %}", HTH_CHAT, talk, false);
	CHECK_INT(p.status, HTH_UNSUPPORTED);
	printf("# %s\n", p.err.message);
	CHECK(strstr(p.err.message, "chat template of copy") != NULL);
}

TEST(template_that_refuses_says_why)
{
	PREPARED p = prepare("{{ raise_exception('no system role here') }}", HTH_CHAT, talk, false);
	CHECK_INT(p.status, HTH_INVALID);
	CHECK(strstr(p.err.message, "no system role here") != NULL);
}

TEST(bos_comes_once_whoever_brings_it)
{
	PREPARED without = prepare("{% for m in messages %}{{ m.content }}{% endfor %}", HTH_CHAT, talk, false);
	PREPARED with = prepare("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}", HTH_CHAT, talk, false);
	CHECK_INT(without.status, HTH_OK);
	CHECK_INT(with.status, HTH_OK);
	CHECK_INT(count_bos(&without), 1);
	CHECK_INT(count_bos(&with), 1);
	CHECK_INT(without.job->tokens[0], with.job->tokens[0]);
}

TEST(answer_goes_on_from_the_last_message)
{
	static const char begun[] = "[{\"role\":\"user\",\"content\":\"Say yes\"},{\"role\":\"assistant\",\"content\":\"Well, \"}]";
	PREPARED p = prepare("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</end>{% endfor %}"
	                     "{% if add_generation_prompt %}<assistant>{% endif %}",
	                     HTH_RENDER, begun, true);
	check_text(&p, "<user>Say yes</end><assistant>Well,");
	PREPARED closed = prepare("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</end>{% endfor %}", HTH_RENDER, begun,
	                          false);
	check_text(&closed, "<user>Say yes</end><assistant>Well,</end>");
	/* Nothing to go on from. */
	PREPARED empty = prepare("{% for m in messages %}{{ m.content }}{% endfor %}", HTH_CHAT,
	                         "[{\"role\":\"assistant\",\"content\":\"\"}]", true);
	CHECK_INT(empty.status, HTH_INVALID);
	CHECK_STR(empty.err.param, "messages");
}

TEST(vocabularys_tokens_cannot_be_replaced_by_a_request)
{
	PREPARED p = {.model = open_with("{{ bos_token }}|{{ eos_token }}|{{ mood }}")};
	REQUIRE(p.model != NULL);
	REQUIRE(hth_preparer_create(&p.preparer, p.model, 256, "copy", &p.err) == HTH_OK);
	hth_ask ask = {.kind = HTH_RENDER};
	ask.params.sampling = hth_sampling_defaults();
	ask.params.top_logprobs = -1;
	ask.input.messages_json = strdup("[]");
	ask.input.template_json = strdup("{\"bos_token\":\"FORGED\",\"eos_token\":\"FORGED\",\"mood\":\"fine\"}");
	p.job = hth_job_create(1, &ask, 0);
	p.status = hth_prepare(p.preparer, p.job, &p.err);
	check_text(&p, "<s>|</s>|fine");
}

TEST(answer_has_room_and_no_more)
{
	PREPARED p = prepare(NULL, HTH_CHAT, talk, false);
	REQUIRE(p.status == HTH_OK);
	CHECK_INT(p.job->max_answer, 10);
	CHECK_INT(p.job->cap_tokens, p.job->n_tokens + 10);
	CHECK_INT(p.job->n_prompt, p.job->n_tokens);
}

TEST(a_trigger_counts_only_for_prompts_that_end_as_it_says)
{
	trigger = "</think>";
	trigger_if = "<think>";
	PREPARED opened = prepare("a<think>{{ '\n' }}", HTH_CHAT, "[]", false), closed = prepare("a<think></think>", HTH_CHAT, "[]", false);
	trigger_if = NULL;
	PREPARED always = prepare("a", HTH_CHAT, "[]", false);
	trigger = NULL;
	CHECK(opened.status == HTH_OK && opened.job->ask.params.grammar_trigger != NULL);
	CHECK(closed.status == HTH_OK && closed.job->ask.params.grammar_trigger == NULL);
	CHECK(always.status == HTH_OK && always.job->ask.params.grammar_trigger != NULL);
}

static void check_rendered(const char *chat_template, const char *messages, const char *want)
{
	PREPARED p = prepare(chat_template, HTH_RENDER, messages, false);
	if (p.status != HTH_OK || p.job->echo_len != strlen(want) || memcmp(p.job->echo, want, strlen(want)) != 0)
		test_fail(__FILE__, __LINE__, "%d, %s: %.*s is not %s", p.status, p.err.message,
		          p.status == HTH_OK ? (int)p.job->echo_len : 0, p.status == HTH_OK ? p.job->echo : "", want);
}

TEST(what_a_template_has_no_place_for_is_said_in_words)
{
	static const char users[] = "{% for m in messages %}{% if m.role == 'user' or m.role == 'assistant' %}[{{ m.role[0] }} {{ "
	                            "m.content }}]{% endif %}{% endfor %}";
	static const char strict[] = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}({{ "
	                             "m.content }}){% endfor %}";
	static const char knows[] = "{% for m in messages %}[{{ m.role[0] }} {{ m.content }}]{% endfor %}";
	check_rendered(users, "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"}]", "[u S\n\nU]");
	check_rendered(strict, "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"}]", "(S\n\nU)");
	check_rendered(users, "[{\"role\":\"system\",\"content\":\"S\"}]", "[u S]");
	check_rendered(knows, "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"}]", "[s S][u U]");
	tools = "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]";
	/* A small context has no room for words about tools; what was called is told all the same. */
	static const char history[] = "[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"\","
	                              "\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\",\"function\":{\"name\":\"f\","
	                              "\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"tool_call_id\":\"i\",\"content\":\"R\"},"
	                              "{\"role\":\"user\",\"content\":\"V\"}]";
	check_rendered(users, history, "[u U][a <tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":1}}\n</tool_call>][u "
	                               "<tool_response>\nR\n</tool_response>\n\nV]");
	/* A template that shows calls is left to show them. */
	static const char calls[] = "{% for m in messages %}[{{ m.role[0] }} {{ m.content }}{% for c in m.tool_calls or [] %}<{{ "
	                            "c.function.name }}>{% endfor %}]{% endfor %}";
	check_rendered(calls, history, "[u U][a <f>][t R][u V]");
	n_ctx = 4096;
	PREPARED told = prepare(users, HTH_RENDER, "[{\"role\":\"user\",\"content\":\"U\"}]", false);
	CHECK(told.status == HTH_OK && memmem(told.job->echo, told.job->echo_len,
	                                      "<tools>\n{\"type\":\"function\",\"function\":{\"name\":\"f\"}}\n</tools>", 54) != NULL);
	CHECK(told.status == HTH_OK && told.job->echo_len > 4 && memcmp(told.job->echo + told.job->echo_len - 4, "\n\nU]", 4) == 0);
	n_ctx = 256;
	tools = NULL;
}

TEST(end_of_a_chats_prompt_is_kept_in_whole_characters)
{
	PREPARED p = prepare("{{ messages[0].content }}<|assistant|><think>{{ '\\n' }}", HTH_CHAT,
	                     "[{\"role\":\"user\",\"content\":\"hi\"}]", false);
	REQUIRE(p.status == HTH_OK);
	CHECK_STR(p.job->prompt_tail, "hi<|assistant|><think>\n");
	/* 63 bytes fit: the character that begins before them is left out whole. */
	PREPARED q = prepare("{{ messages[0].content }}", HTH_CHAT,
	                     "[{\"role\":\"user\",\"content\":\"aa\xC3\xA9"
	                     "01234567890123456789012345678901234567890123456789012345678901\"}]",
	                     false);
	REQUIRE(q.status == HTH_OK);
	CHECK_STR(q.job->prompt_tail, "01234567890123456789012345678901234567890123456789012345678901");
}

TEST_MAIN()
