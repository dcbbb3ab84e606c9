/* modelfile.c - see modelfile.h. Format: Ollama's documentation (docs/modelfile.md). Text from a client: bounded, and
 * every failure names its line. Pure; any thread. */
#include "api/modelfile.h"

#include "api/fields.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

typedef enum param_kind { PARAM_APPLIED, PARAM_STOP, PARAM_CONTEXT, PARAM_PREDICT, PARAM_IGNORED } param_kind;
static const struct {
	const char *name;
	param_kind kind;
} known[] = {{"temperature", PARAM_APPLIED},
             {"top_p", PARAM_APPLIED},
             {"top_k", PARAM_APPLIED},
             {"min_p", PARAM_APPLIED},
             {"typical_p", PARAM_APPLIED},
             {"repeat_penalty", PARAM_APPLIED},
             {"repeat_last_n", PARAM_APPLIED},
             {"presence_penalty", PARAM_APPLIED},
             {"frequency_penalty", PARAM_APPLIED},
             {"mirostat", PARAM_APPLIED},
             {"mirostat_tau", PARAM_APPLIED},
             {"mirostat_eta", PARAM_APPLIED},
             {"seed", PARAM_APPLIED},
             {"stop", PARAM_STOP},
             {"num_ctx", PARAM_CONTEXT},
             {"num_predict", PARAM_PREDICT},
             /* Of another engine's memory and threads: the node chooses these itself. */
             {"num_keep", PARAM_IGNORED},
             {"num_batch", PARAM_IGNORED},
             {"num_gpu", PARAM_IGNORED},
             {"main_gpu", PARAM_IGNORED},
             {"num_thread", PARAM_IGNORED},
             {"use_mmap", PARAM_IGNORED},
             {"use_mlock", PARAM_IGNORED},
             {"low_vram", PARAM_IGNORED},
             {"numa", PARAM_IGNORED},
             {"f16_kv", PARAM_IGNORED},
             {"penalize_newline", PARAM_IGNORED},
             {"tfs_z", PARAM_IGNORED},
             {"draft_num_predict", PARAM_IGNORED}};

static int find_param(const char *name)
{
	for (size_t i = 0; i < HTH_COUNT(known); i++)
		if (strcmp(known[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* ---- checking ---- */

static hth_status check_param(const char *name, const json_t *value, hth_error *err)
{
	static const char *const max_keys[] = {"num_predict"};
	int at = find_param(name);
	if (at < 0)
		return hth_fail_param(err, HTH_INVALID, name, "there is no parameter '%.60s'", name);
	HTH_AUTO_JSON json_t *one = json_pack("{s:O}", name, value);
	hth_request_params params = {.sampling = hth_sampling_defaults()};
	int64_t context = 0;
	hth_status status = one == NULL ? hth_fail(err, HTH_NO_MEMORY, "no memory for a parameter") : HTH_OK;
	if (status == HTH_OK && known[at].kind == PARAM_APPLIED)
		status = hth_fields_sampling(one, &params, err);
	else if (status == HTH_OK && known[at].kind == PARAM_STOP)
		status = hth_fields_stop(one, "stop", &params, err);
	else if (status == HTH_OK && known[at].kind == PARAM_PREDICT)
		status = hth_fields_max_tokens(one, max_keys, 1, &params, err);
	else if (status == HTH_OK && known[at].kind == PARAM_CONTEXT)
		status = hth_json_get_int(one, "num_ctx", 1, UINT32_MAX - 1, &context, err);
	while (params.n_stop > 0)
		free(params.stop[--params.n_stop]);
	return status;
}

static hth_status check_messages(const json_t *messages, hth_error *err)
{
	size_t i;
	json_t *m;
	if (!json_is_array(messages) || json_array_size(messages) > HTH_MODELFILE_MESSAGES_MAX)
		return hth_fail_param(err, HTH_INVALID, "messages", "messages must be an array of at most %d messages",
		                      HTH_MODELFILE_MESSAGES_MAX);
	json_array_foreach((json_t *)messages, i, m)
	{
		const char *role = json_string_value(json_object_get(m, "role"));
		if (role == NULL ||
		    (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
			return hth_fail_param(err, HTH_INVALID, "messages",
			                      "messages[%zu].role must be system, user or assistant", i);
		if (!json_is_string(json_object_get(m, "content")))
			return hth_fail_param(err, HTH_INVALID, "messages", "messages[%zu].content must be a string",
			                      i);
	}
	return HTH_OK;
}

hth_status hth_modelfile_check(const json_t *settings, hth_error *err)
{
	static const char *const texts[] = {"template", "system", "license"};
	const json_t *params = json_object_get(settings, "params"), *messages = json_object_get(settings, "messages");
	for (size_t i = 0; i < HTH_COUNT(texts); i++) {
		const json_t *text = json_object_get(settings, texts[i]);
		if (text != NULL && (!json_is_string(text) || json_string_length(text) > HTH_MODELFILE_MAX))
			return hth_fail_param(err, HTH_INVALID, texts[i], "%s must be a string of at most %d bytes",
			                      texts[i], HTH_MODELFILE_MAX);
	}
	if (params != NULL && !json_is_object(params))
		return hth_fail_param(err, HTH_INVALID, "parameters", "parameters is %s; it must be an object",
		                      hth_json_type_name(params));
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)params, key, value) HTH_TRY(check_param(key, value, err));
	return messages != NULL ? check_messages(messages, err) : HTH_OK;
}

/* ---- reading ---- */

typedef struct reader {
	const char *at, *end;
	unsigned line;
	hth_error *err;
} reader;

static hth_status wrong(const reader *r, unsigned line, const char *what)
{
	char param[32];
	snprintf(param, sizeof param, "modelfile");
	return hth_fail_param(r->err, HTH_INVALID, param, "line %u of the Modelfile: %s", line, what);
}

static void skip_blanks(reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

/* Spaces, empty lines and comments before an instruction. */
static void skip_lines(reader *r)
{
	for (;;) {
		skip_blanks(r);
		if (r->at < r->end && *r->at == '#')
			while (r->at < r->end && *r->at != '\n')
				r->at++;
		if (r->at == r->end || *r->at != '\n')
			return;
		r->at++;
		r->line++;
	}
}

static void take_word(reader *r, char *out, size_t room)
{
	size_t n = 0;
	skip_blanks(r);
	for (; r->at < r->end && !isspace((unsigned char)*r->at); r->at++)
		if (n + 1 < room)
			out[n++] = *r->at;
	out[n] = '\0';
}

/* A value to the line's end, in "..." or in """...""". */
static hth_status take_value(reader *r, json_t **ret, hth_error *err)
{
	unsigned line = r->line;
	skip_blanks(r);
	const char *from = r->at, *to;
	if (r->end - r->at >= 3 && memcmp(r->at, "\"\"\"", 3) == 0) {
		from += 3;
		to = memmem(from, (size_t)(r->end - from), "\"\"\"", 3);
		if (to == NULL)
			return wrong(r, line, "the value in \"\"\" does not end");
		for (const char *c = from; c < to; c++)
			r->line += *c == '\n';
		r->at = to + 3;
	} else if (r->at < r->end && *r->at == '"') {
		from++;
		to = memchr(from, '"', (size_t)(r->end - from));
		const char *line_end = memchr(from, '\n', (size_t)(r->end - from));
		if (to == NULL || (line_end != NULL && line_end < to))
			return wrong(r, line, "the value in quotes does not end; use three quotes for several lines");
		r->at = to + 1;
	} else {
		while (r->at < r->end && *r->at != '\n')
			r->at++;
		to = r->at;
		while (to > from && isspace((unsigned char)to[-1]))
			to--;
	}
	skip_blanks(r);
	if (r->at < r->end && *r->at != '\n')
		return wrong(r, line, "there is something after the value's end");
	*ret = json_stringn(from, (size_t)(to - from));
	if (*ret == NULL || memchr(from, '\0', (size_t)(to - from)) != NULL) {
		json_decref(*ret);
		*ret = NULL;
		return wrong(r, line, "the value is no UTF-8 text");
	}
	(void)err;
	return HTH_OK;
}

/* A parameter's text as the value that it is meant to be. Takes value. */
static json_t *typed(const char *name, json_t *value)
{
	const char *text = json_string_value(value);
	char *end;
	json_t *out = NULL;
	if (strcmp(name, "stop") == 0)
		return value;
	long long i = strtoll(text, &end, 10);
	if (end != text && *end == '\0') {
		out = json_integer(i);
	} else {
		double d = strtod(text, &end);
		if (end != text && *end == '\0' && isfinite(d))
			out = json_real(d);
		else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
			out = json_boolean(*text == 't');
	}
	if (out == NULL)
		return value;
	json_decref(value);
	return out;
}

static hth_status take_parameter(reader *r, json_t *params, hth_error *err)
{
	char name[64];
	unsigned line = r->line;
	json_t *value;
	take_word(r, name, sizeof name);
	for (char *c = name; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	HTH_TRY(take_value(r, &value, err));
	value = typed(name, value);
	json_t *before = json_object_get(params, name);
	bool stop = strcmp(name, "stop") == 0;
	if (stop && before != NULL) {
		json_array_append_new(before, value);
	} else {
		HTH_AUTO_JSON json_t *list = stop ? json_pack("[o]", value) : value;
		hth_status status = check_param(name, list, err);
		if (status != HTH_OK)
			return hth_fail_prefix(err, "line %u of the Modelfile", line);
		json_object_set(params, name, list);
	}
	return HTH_OK;
}

static hth_status take_instruction(reader *r, json_t *from, json_t *settings, hth_error *err)
{
	char word[32], role[32];
	unsigned line = r->line;
	json_t *value = NULL;
	take_word(r, word, sizeof word);
	if (strcasecmp(word, "PARAMETER") == 0)
		return take_parameter(r, json_object_get(settings, "params"), err);
	if (strcasecmp(word, "ADAPTER") == 0)
		return hth_fail_param(err, HTH_UNSUPPORTED, "modelfile",
		                      "line %u of the Modelfile: adapters are not supported; merge the adapter into the weights first",
		                      line);
	if (strcasecmp(word, "MESSAGE") == 0) {
		take_word(r, role, sizeof role);
		HTH_TRY(take_value(r, &value, err));
		json_array_append_new(json_object_get(settings, "messages"),
		                      json_pack("{s:s, s:o}", "role", role, "content", value));
		return HTH_OK;
	}
	const char *key = strcasecmp(word, "FROM") == 0       ? "from"
	                  : strcasecmp(word, "SYSTEM") == 0   ? "system"
	                  : strcasecmp(word, "TEMPLATE") == 0 ? "template"
	                  : strcasecmp(word, "LICENSE") == 0  ? "license"
	                                                      : NULL;
	if (key == NULL)
		return wrong(r, line, "it begins with none of FROM, PARAMETER, SYSTEM, TEMPLATE, LICENSE, MESSAGE");
	HTH_TRY(take_value(r, &value, err));
	const json_t *before = json_object_get(settings, key);
	if (strcmp(key, "license") == 0 && before != NULL) {
		json_t *both = json_sprintf("%s\n\n%s", json_string_value(before), json_string_value(value));
		json_decref(value);
		value = both;
	}
	json_object_set_new(*key == 'f' ? from : settings, key, value);
	return HTH_OK;
}

hth_status hth_modelfile_parse(const char *text, size_t len, char **ret_from, json_t **ret_settings, hth_error *err)
{
	hth_error own;
	if (err == NULL)
		err = &own;
	if (len > HTH_MODELFILE_MAX)
		return hth_fail_param(err, HTH_TOO_LARGE, "modelfile",
		                      "the Modelfile has %zu bytes; at most %d are read", len, HTH_MODELFILE_MAX);
	reader r = {.at = text, .end = text + len, .line = 1, .err = err};
	HTH_AUTO_JSON json_t *from = json_object();
	HTH_AUTO_JSON json_t *settings = json_pack("{s:{}, s:[]}", "params", "messages");
	if (from == NULL || settings == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a Modelfile");
	for (skip_lines(&r); r.at < r.end; skip_lines(&r))
		HTH_TRY(take_instruction(&r, from, settings, err));
	const char *base = json_string_value(json_object_get(from, "from"));
	if (base == NULL || *base == '\0')
		return hth_fail_param(err, HTH_INVALID, "modelfile", "the Modelfile has no FROM");
	if (json_object_size(json_object_get(settings, "params")) == 0)
		json_object_del(settings, "params");
	if (json_array_size(json_object_get(settings, "messages")) == 0)
		json_object_del(settings, "messages");
	HTH_TRY(hth_modelfile_check(settings, err));
	HTH_TRY(hth_fields_copy(base, ret_from, err));
	*ret_settings = json_incref(settings);
	return HTH_OK;
}

/* ---- writing ---- */

static void write_param(const char *name, const json_t *value, const char *before, hth_buf *out)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(4096);
	const char *words = json_string_value(value);
	hth_buf_appendf(out, "%s%-30s ", before, name);
	/* The notation has quotes and no escapes. */
	if (words != NULL)
		hth_buf_appendf(out, strpbrk(words, "\"\n") == NULL ? "\"%s\"\n" : "\"\"\"%s\"\"\"\n", words);
	else if (hth_json_write(value, &text))
		hth_buf_appendf(out, "%s\n", text.data);
}

static void write_params(const json_t *params, const char *before, hth_buf *out)
{
	const char *key;
	json_t *value, *one;
	size_t i;
	json_object_foreach((json_t *)params, key, value)
	{
		if (!json_is_array(value))
			write_param(key, value, before, out);
		json_array_foreach(value, i, one) write_param(key, one, before, out);
	}
}

void hth_modelfile_write_params(const json_t *params, hth_buf *out)
{
	size_t begin = out->len;
	write_params(params, "", out);
	if (out->len > begin && !out->failed)
		out->data[--out->len] = '\0';
}

static void write_text(const char *word, const char *text, hth_buf *out)
{
	if (text == NULL || *text == '\0')
		return;
	bool plain = strpbrk(text, "\n\"") == NULL && !isspace((unsigned char)*text) &&
	             !isspace((unsigned char)text[strlen(text) - 1]);
	hth_buf_appendf(out, plain ? "%s %s\n" : "%s \"\"\"%s\"\"\"\n", word, text);
}

void hth_modelfile_write(const char *from, const json_t *record, const char *template, hth_buf *out)
{
	const char *own = json_string_value(json_object_get(record, "template"));
	size_t i;
	json_t *m;
	hth_buf_appendf(out, "FROM %s\n", from);
	write_text("TEMPLATE", own != NULL ? own : template, out);
	write_text("SYSTEM", json_string_value(json_object_get(record, "system")), out);
	write_params(json_object_get(record, "params"), "PARAMETER ", out);
	json_array_foreach(json_object_get(record, "messages"), i, m)
	{
		char word[64];
		const char *role = json_string_value(json_object_get(m, "role"));
		snprintf(word, sizeof word, "MESSAGE %.40s", role != NULL ? role : "user");
		write_text(word, json_string_value(json_object_get(m, "content")), out);
	}
	write_text("LICENSE", json_string_value(json_object_get(record, "license")), out);
}
