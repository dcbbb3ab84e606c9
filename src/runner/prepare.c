/* prepare.c - see prepare.h. Owns the default template and the last one that a request brought. Thread: the preparer's. */
#include "runner/prepare.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "json/json.h"
#include "runner/fold.h"
#include "runner/prepare-settings.h"
#include "runner/template-vars.h"

enum {
	TOKENS_MAX = 16 << 20,
	ARENA_MAX = 256 << 20,
	TEXT_MAX = 64 << 20,
};

static const char chatml[] =
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
static const char transcript[] =
    "{%- for message in messages %}"
    "{%- if message.role == 'system' %}{{- message.content + '\\n\\n' }}"
    "{%- elif message.role == 'assistant' %}{{- 'Assistant: ' + message.content + '\\n' }}"
    "{%- else %}{{- 'User: ' + message.content + '\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- 'Assistant:' }}{%- endif %}";
static const char transcript_stop[] = "\nUser:";

struct hth_preparer {
	const hth_model *model;
	const hth_tokenizer *tokenizer;
	hth_chat_template tmpl; /* the model's, or own */
	hth_chat_template own;
	hth_jinja_caps caps; /* what tmpl can do */
	const char *stop; /* that the template needs; NULL: none */
	hth_grammar_cache *grammars;
	uint32_t n_ctx;
	hth_given_template *given; /* the only thing that changes after create */
	char name[HTH_MODEL_NAME_MAX];
};

static bool is_one_special(const hth_tokenizer *tokenizer, const char *text)
{
	hth_tokens tokens = HTH_TOKENS_INIT(64);
	bool one = hth_tokenizer_encode(tokenizer, text, strlen(text), HTH_TOK_PARSE_SPECIAL, NULL, 0, &tokens, NULL) == HTH_OK &&
	           tokens.len == 1 && hth_tokenizer_is_control(tokenizer, tokens.ids[0]);
	hth_tokens_finish(&tokens);
	return one;
}

hth_status hth_preparer_create(hth_preparer **ret_preparer, const hth_model *model, uint32_t n_ctx, const char *name, hth_error *err)
{
	hth_preparer *p = calloc(1, sizeof *p);
	if (p == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the model's template");
	p->given = calloc(1, sizeof *p->given);
	if (p->given == NULL) {
		free(p);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the model's template");
	}
	p->model = model;
	p->tokenizer = hth_model_tokenizer(model);
	p->n_ctx = n_ctx;
	snprintf(p->name, sizeof p->name, "%s", name);
	p->tmpl.jinja = hth_model_template(model);
	hth_status made = hth_grammar_cache_create(&p->grammars, p->tokenizer, err);
	if (made != HTH_OK) {
		hth_preparer_destroy(p);
		return made;
	}
	if (p->tmpl.jinja == NULL && hth_model_template_error(model) == NULL) {
		bool im = is_one_special(p->tokenizer, "<|im_start|>") && is_one_special(p->tokenizer, "<|im_end|>");
		const char *source = im ? chatml : transcript;
		hth_status status = hth_chat_template_compile(&p->own, source, strlen(source), err);
		if (status != HTH_OK) {
			hth_preparer_destroy(p);
			return status;
		}
		p->tmpl = p->own;
		p->stop = im ? NULL : transcript_stop;
	}
	if (!hth_chat_template_is_none(p->tmpl))
		hth_chat_template_probe(p->tmpl, &p->caps);
	*ret_preparer = p;
	return HTH_OK;
}

void hth_preparer_destroy(hth_preparer *preparer)
{
	if (preparer == NULL)
		return;
	hth_chat_template_finish(&preparer->own);
	hth_given_template_finish(preparer->given);
	free(preparer->given);
	hth_grammar_cache_destroy(preparer->grammars);
	free(preparer);
}

hth_chat_template hth_preparer_template(const hth_preparer *preparer) { return preparer->tmpl; }
const hth_jinja_caps *hth_preparer_caps(const hth_preparer *preparer) { return &preparer->caps; }
const hth_tokenizer *hth_preparer_tokenizer(const hth_preparer *preparer) { return preparer->tokenizer; }

/* ---- rendering ---- */

/* Where the last message's words end in the rendered text, when they are the beginning of the answer. */
static hth_status cut_after_last(const json_t *messages, hth_jinja_output *out, hth_error *err)
{
	size_t n = json_array_size(messages);
	const json_t *last = n > 0 ? json_array_get(messages, n - 1) : NULL;
	const char *content = json_string_value(json_object_get(last, "content"));
	size_t len = content != NULL ? strlen(content) : 0;
	/* Templates trim; what the answer goes on with is the text up to its last word. */
	while (len > 0 && strchr(" \t\r\n", content[len - 1]) != NULL)
		len--;
	const char *found = NULL;
	for (const char *at = out->text; len > 0 && (at = memmem(at, out->len - (size_t)(at - out->text), content, len)) != NULL; at++)
		found = at;
	if (found == NULL)
		return hth_fail_param(err, HTH_INVALID, "messages", "the last message must have text for the answer to go on with");
	out->len = (size_t)(found - out->text) + len;
	size_t keep = 0;
	while (keep < out->n_input && out->input[keep].begin < out->len)
		keep++;
	out->n_input = keep;
	if (keep > 0)
		out->input[keep - 1].end = HTH_MIN(out->input[keep - 1].end, out->len);
	return HTH_OK;
}

/* The object of variables that templates expect, as transformers' apply_chat_template has them. */
static json_t *collect_vars(const hth_preparer *p, const hth_request_input *input, json_t *messages, json_t *tools, json_t *extra)
{
	json_t *vars = json_object();
	const char *key;
	json_t *value;
	bool ok = vars != NULL;
	json_object_foreach(extra, key, value)
	{
		/* *_token strings are trusted, so they come from the vocabulary alone. */
		size_t len = strlen(key);
		if (len < 6 || strcmp(key + len - 6, "_token") != 0)
			ok &= json_object_set(vars, key, value) == 0;
	}
	const hth_special_ids *special = hth_tokenizer_special(p->tokenizer);
	const struct {
		const char *name;
		int32_t id;
	} ids[] = {{"bos_token", special->bos}, {"eos_token", special->eos}, {"unk_token", special->unk}, {"pad_token", special->pad}};
	for (size_t i = 0; i < HTH_COUNT(ids) && ok; i++) {
		hth_view piece = ids[i].id >= 0 ? hth_tokenizer_piece(p->tokenizer, ids[i].id) : (hth_view){"", 0};
		json_t *text = json_stringn(piece.data, piece.len); /* NULL for a vocabulary that spells it in bad UTF-8 */
		ok = json_object_set_new(vars, ids[i].name, text != NULL ? text : json_string("")) == 0;
	}
	ok = ok && json_object_set(vars, "messages", messages) == 0;
	if (tools != NULL)
		ok = ok && json_object_set(vars, "tools", tools) == 0;
	ok = ok && json_object_set_new(vars, "add_generation_prompt", json_boolean(!input->continue_last)) == 0;
	if (ok)
		return vars;
	json_decref(vars);
	return NULL;
}

/* What the template cannot say. A model that was taught no tools is told of them where that leaves room for the rest: in a small context
 * the words would be all there is, and calls are bound without them. */
static hth_status fold(const hth_preparer *p, const hth_jinja_caps *caps, json_t *messages, const json_t *tools, hth_error *err)
{
	if (json_array_size(tools) == 0 || caps->tools)
		return hth_fold_messages(messages, NULL, caps, err);
	HTH_CLEANUP(hth_buf_finish) hth_buf words = HTH_BUF_INIT(TEXT_MAX);
	hth_tokens tokens = HTH_TOKENS_INIT(TOKENS_MAX);
	hth_status status = hth_fold_tools(tools, &words, err);
	if (status == HTH_OK)
		status = hth_tokenizer_encode(p->tokenizer, words.data, words.len, 0, NULL, 0, &tokens, err);
	if (status == HTH_OK)
		status = hth_fold_messages(messages, tokens.len <= p->n_ctx / 4 ? words.data : NULL, caps, err);
	hth_tokens_finish(&tokens);
	return status;
}

static hth_status render(const hth_preparer *p, const hth_request_input *input, hth_jinja_output *ret_out, hth_error *err)
{
	HTH_AUTO_JSON json_t *messages = NULL;
	hth_chat_template tmpl = p->tmpl;
	const hth_jinja_caps *caps = &p->caps;
	HTH_AUTO_JSON json_t *tools = NULL;
	HTH_AUTO_JSON json_t *extra = NULL;
	HTH_TRY(hth_json_parse(&messages, input->messages_json, strlen(input->messages_json), err));
	if (input->settings_json != NULL)
		HTH_TRY(hth_prepare_settings(p->given, input->settings_json, messages, &tmpl, &caps, err));
	if (hth_chat_template_is_none(tmpl)) {
		const hth_error *why = hth_model_template_error(p->model);
		return hth_fail(err, HTH_UNSUPPORTED, "the chat template of %s cannot be used: %s", p->name, why->message);
	}
	if (input->tools_json != NULL)
		HTH_TRY(hth_json_parse(&tools, input->tools_json, strlen(input->tools_json), err));
	if (input->template_json != NULL)
		HTH_TRY(hth_json_parse(&extra, input->template_json, strlen(input->template_json), err));
	const char *suffix = json_string_value(json_object_get(extra, "suffix"));
	if (suffix != NULL && suffix[0] != '\0' && (tmpl.go == NULL || !hth_gotemplate_takes_suffix(tmpl.go)))
		return hth_fail_param(err, HTH_UNSUPPORTED, "suffix",
		                      "the template of %s has no place for a suffix (.Suffix): it cannot fill in the middle", p->name);
	HTH_TRY(fold(p, caps, messages, tools, err));
	HTH_AUTO_JSON json_t *object = collect_vars(p, input, messages, tools, extra);
	if (object == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to render %s's chat template", p->name);
	hth_jinja_arena *arena = NULL;
	HTH_TRY(hth_jinja_arena_create(&arena, ARENA_MAX, err));
	const hth_jinja_value *vars = NULL;
	hth_status status = hth_template_vars(&vars, arena, object, err);
	if (status == HTH_OK)
		status = hth_chat_template_render(tmpl, arena, vars, hth_clock_unix(), NULL, ret_out, err);
	hth_jinja_arena_destroy(arena);
	if (status == HTH_OK && input->continue_last) {
		status = cut_after_last(messages, ret_out, err);
		if (status != HTH_OK)
			hth_jinja_output_finish(ret_out);
	}
	return status;
}

/* ---- tokens ---- */

/* BOS where the vocabulary asks for one and the text does not bring it; never an EOS: an answer follows. */
static hth_status push_bos(const hth_preparer *p, hth_tokens *tokens, const char *text, size_t len, hth_error *err)
{
	const hth_special_ids *special = hth_tokenizer_special(p->tokenizer);
	if (!special->add_bos || special->bos < 0)
		return HTH_OK;
	hth_view bos = hth_tokenizer_piece(p->tokenizer, special->bos);
	if (bos.len > 0 && len >= bos.len && memcmp(text, bos.data, bos.len) == 0)
		return HTH_OK;
	return hth_tokens_push(tokens, special->bos) ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a prompt's tokens");
}

static hth_status encode_chat(const hth_preparer *p, const hth_jinja_output *out, hth_tokens *tokens, hth_error *err)
{
	HTH_AUTO_FREE hth_span *plain = hth_alloc_array(out->n_input, sizeof *plain);
	if (plain == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a prompt");
	for (size_t i = 0; i < out->n_input; i++)
		plain[i] = (hth_span){out->input[i].begin, out->input[i].end};
	HTH_TRY(push_bos(p, tokens, out->text, out->len, err));
	return hth_tokenizer_encode(p->tokenizer, out->text, out->len, HTH_TOK_PARSE_SPECIAL, plain, out->n_input, tokens, err);
}

static hth_status encode_text(const hth_preparer *p, const hth_ask *ask, hth_tokens *tokens, hth_error *err)
{
	const hth_request_input *input = &ask->input;
	unsigned flags = input->parse_special ? HTH_TOK_PARSE_SPECIAL : 0;
	if (ask->kind == HTH_COMPLETION) {
		if (input->add_special)
			HTH_TRY(push_bos(p, tokens, input->parse_special ? input->text : "", input->parse_special ? input->text_len : 0,
			                 err));
	} else if (input->add_special) {
		flags |= HTH_TOK_ADD_SPECIAL;
	}
	return hth_tokenizer_encode(p->tokenizer, input->text, input->text_len, flags, NULL, 0, tokens, err);
}

static hth_status copy_tokens(const hth_preparer *p, const hth_request_input *input, hth_tokens *tokens, hth_error *err)
{
	size_t n_vocab = hth_tokenizer_vocab_size(p->tokenizer);
	for (size_t i = 0; i < input->n_tokens; i++) {
		if (input->tokens[i] < 0 || (size_t)input->tokens[i] >= n_vocab)
			return hth_fail_param(err, HTH_INVALID, "prompt", "token %d at place %zu is not in the vocabulary of %zu",
			                      input->tokens[i], i, n_vocab);
		if (!hth_tokens_push(tokens, input->tokens[i]))
			return hth_fail(err, HTH_TOO_LARGE, "%zu tokens are more than one request may bring", input->n_tokens);
	}
	return HTH_OK;
}

/* Whole characters, and as a C string: what a NUL in somebody's words cuts off is not needed. */
static void keep_tail(hth_job *job, const char *text, size_t len)
{
	if (len == 0)
		return;
	size_t begin = len > HTH_PROMPT_TAIL_MAX - 1 ? len - (HTH_PROMPT_TAIL_MAX - 1) : 0;
	while (begin < len && ((uint8_t)text[begin] & 0xC0) == 0x80)
		begin++;
	const char *nul = memrchr(text + begin, '\0', len - begin);
	if (nul != NULL)
		begin = (size_t)(nul + 1 - text);
	memcpy(job->prompt_tail, text + begin, len - begin);
	job->prompt_tail[len - begin] = '\0';
}

/* A trigger for prompts that end in a certain way does not count for others: their grammar begins with the answer. */
static void settle_trigger(hth_job *job)
{
	hth_request_params *params = &job->ask.params;
	const char *wanted = params->grammar_trigger_if;
	size_t len = strlen(job->prompt_tail), n = wanted != NULL ? strlen(wanted) : 0;
	while (len > 0 && strchr(" \n\t", job->prompt_tail[len - 1]) != NULL)
		len--;
	if (wanted == NULL || (len >= n && memcmp(job->prompt_tail + len - n, wanted, n) == 0))
		return;
	free(params->grammar_trigger);
	params->grammar_trigger = NULL;
}

/* ---- the checks and what the scheduler needs ---- */

static hth_status check_fits(const hth_preparer *p, const hth_job *job, hth_error *err)
{
	const char *param = job->ask.kind == HTH_CHAT ? "messages" : job->ask.kind == HTH_EMBEDDING ? "input" : "prompt";
	if (job->n_tokens == 0)
		return hth_fail_param(err, HTH_INVALID, param, "there is no text: the prompt has no token");
	bool wants_answer = job->ask.kind != HTH_EMBEDDING && job->ask.params.max_tokens != 0;
	if (job->n_tokens + wants_answer > p->n_ctx)
		return hth_fail_param(err, HTH_TOO_LARGE, param,
		                      "the prompt has %u tokens and the context of %s is %u%s; shorten the prompt%s", job->n_tokens,
		                      p->name, p->n_ctx,
		                      wants_answer ? ", of which the answer needs at least one" : "",
		                      p->n_ctx < hth_model_get_info(p->model)->n_ctx_train ? " or give the model a longer context" : "");
	return HTH_OK;
}

static hth_status make_room_for_answer(const hth_preparer *p, hth_job *job, hth_error *err)
{
	uint32_t room = p->n_ctx - job->n_tokens;
	const hth_request_input *input = &job->ask.input;
	int64_t wish = input->weigh ? (int64_t)input->n_resume : job->ask.params.max_tokens;
	job->max_answer = wish < 0 || wish > room ? room : (uint32_t)wish;
	if (input->n_resume > job->max_answer)
		return hth_fail(err, HTH_INVALID, "an answer of at most %u tokens cannot go on after %zu", job->max_answer,
		                input->n_resume);
	for (size_t i = 0; i < input->n_resume; i++)
		if (input->resume[i] < 0 || (size_t)input->resume[i] >= hth_tokenizer_vocab_size(p->tokenizer))
			return hth_fail(err, HTH_INVALID, "token %d of the answer so far is not in the vocabulary of %s", input->resume[i],
			                p->name);
	job->n_forced = (uint32_t)input->n_resume;
	job->cap_tokens = job->n_tokens + job->max_answer;
	int32_t *grown = realloc(job->tokens, HTH_MAX(job->cap_tokens, 1u) * sizeof *grown);
	if (grown == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a prompt of %u tokens", job->n_tokens);
	job->tokens = grown;
	return HTH_OK;
}

/* Text for people from tokens: whole characters, control tokens left out. */
static hth_status detokenize(const hth_preparer *p, hth_job *job, hth_error *err)
{
	hth_buf text = HTH_BUF_INIT(TEXT_MAX);
	hth_detokenizer detokenizer;
	hth_detokenizer_init(&detokenizer, p->tokenizer, true, job->ask.input.parse_special);
	for (uint32_t i = 0; i < job->n_tokens; i++)
		hth_detokenizer_push(&detokenizer, job->tokens[i], &text);
	hth_detokenizer_flush(&detokenizer, &text);
	hth_status status = hth_buf_check(&text, "the text", err);
	if (status == HTH_OK && text.len > 0)
		job->echo = hth_buf_steal(&text, &job->echo_len);
	hth_buf_finish(&text);
	return status;
}

static hth_status add_stop(const hth_preparer *p, hth_job *job, hth_error *err)
{
	hth_request_params *params = &job->ask.params;
	job->n_stop_asked = params->n_stop;
	if (p->stop == NULL || job->ask.kind != HTH_CHAT || params->n_stop >= HTH_STOP_MAX)
		return HTH_OK;
	params->stop[params->n_stop] = strdup(p->stop);
	if (params->stop[params->n_stop] == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a stop string");
	params->n_stop++;
	return HTH_OK;
}

static hth_status check_can(const hth_preparer *p, const hth_job *job, hth_error *err)
{
	const hth_ask *ask = &job->ask;
	const hth_model_info *info = hth_model_get_info(p->model);
	bool answers = ask->kind == HTH_CHAT || ask->kind == HTH_COMPLETION;
	if (answers && info->embedding)
		return hth_fail_param(err, HTH_UNSUPPORTED, "model", "%s is an embedding model: it cannot answer", p->name);
	if (ask->input.n_resume > 0 && (ask->input.echo || ask->params.top_logprobs >= 0 || !answers))
		return hth_fail(err, HTH_UNSUPPORTED, "an answer with logprobs or an echo, or none at all, cannot be gone on with");
	bool needs_messages = ask->kind == HTH_CHAT || ask->kind == HTH_RENDER;
	if (needs_messages && ask->input.messages_json == NULL)
		return hth_fail_param(err, HTH_INVALID, "messages", "there are no messages");
	if (!needs_messages && ask->input.messages_json == NULL && ask->input.text == NULL && ask->input.tokens == NULL &&
	    ask->kind != HTH_DETOKENIZE)
		return hth_fail(err, HTH_INVALID, "there is neither text nor tokens");
	for (size_t i = 0; i < ask->params.sampling.n_logit_bias; i++)
		if (ask->params.bias[i].token < 0 || (uint32_t)ask->params.bias[i].token >= info->n_vocab)
			return hth_fail_param(err, HTH_INVALID, "logit_bias", "token %d is not in the vocabulary of %u",
			                      ask->params.bias[i].token, info->n_vocab);
	return HTH_OK;
}

hth_status hth_prepare(const hth_preparer *p, hth_job *job, hth_error *err)
{
	const hth_ask *ask = &job->ask;
	HTH_TRY(check_can(p, job, err));
	hth_tokens tokens = HTH_TOKENS_INIT(TOKENS_MAX);
	hth_jinja_output out = {0};
	hth_status status;
	if (ask->input.messages_json != NULL && ask->kind != HTH_COMPLETION && ask->kind != HTH_EMBEDDING) {
		status = render(p, &ask->input, &out, err);
		if (status == HTH_OK && ask->kind != HTH_RENDER)
			status = encode_chat(p, &out, &tokens, err);
	} else if (ask->input.tokens != NULL) {
		status = copy_tokens(p, &ask->input, &tokens, err);
	} else if (ask->input.text != NULL) {
		status = encode_text(p, ask, &tokens, err);
	} else {
		status = HTH_OK; /* nothing to detokenise */
	}
	if (status == HTH_OK && ask->kind == HTH_CHAT && hth_utf8_valid_prefix(out.text, out.len) == out.len)
		keep_tail(job, out.text, out.len);
	settle_trigger(job);
	if (status == HTH_OK && ask->kind == HTH_RENDER) {
		job->echo = out.text;
		job->echo_len = out.len;
		out.text = NULL;
	}
	if (out.text != NULL)
		explicit_bzero(out.text, out.len);
	hth_jinja_output_finish(&out);
	if (status != HTH_OK || tokens.len > UINT32_MAX) {
		hth_tokens_finish(&tokens);
		return status;
	}
	job->tokens = tokens.ids;
	job->n_tokens = job->n_prompt = job->cap_tokens = (uint32_t)tokens.len;
	if (ask->kind == HTH_DETOKENIZE)
		return detokenize(p, job, err);
	if (ask->kind == HTH_TOKENIZE || ask->kind == HTH_RENDER)
		return HTH_OK;
	HTH_TRY(check_fits(p, job, err));
	if (ask->kind == HTH_EMBEDDING)
		return HTH_OK;
	if (ask->input.echo && ask->params.top_logprobs < 0) /* else the scheduler gives it back by tokens */
		HTH_TRY(detokenize(p, job, err));
	/* After a special token ("<|assistant|>") a new text begins, and SPM's space before its first word is not part of it. */
	job->at_start = hth_tokenizer_is_control(p->tokenizer, job->tokens[job->n_tokens - 1]);
	HTH_TRY(add_stop(p, job, err));
	if (ask->params.grammar != NULL) {
		HTH_TRY(hth_grammar_cache_borrow(p->grammars, ask->params.grammar, ask->params.special_text, &job->grammar, err));
		job->grammars = p->grammars;
	}
	return make_room_for_answer(p, job, err);
}
