/* cmd-ask.c - `hearth ask QUESTION`: an answer from the household's documents, with what it rests on.
 *
 * The best passages are searched; what has less than ASK_LEAST per cent of the question's words, rare ones counting more, speaks of
 * something else (docs/index.md has the measurement), and when nothing is left the answer is that nothing is there: no model is asked. Else
 * the node's model is told to answer from the passages alone and to cite them by number; invented citations are taken out (api/context.h).
 * Without a node, or with a model too small to be of use at this (TINY), the passages themselves are the answer, and it is said why. --with
 * asks any model.
 */
#include "api/context.h"
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "cmd/cmd-search.h"

#include <math.h>

enum { ASK_PASSAGES = 6, ASK_LEAST = 45, ASK_TOKENS = 600, ASK_TIMEOUT_MS = 600000 };
/* Parameters. Smaller models repeat words of the passages without answering, and cite anything. */
#define TINY 400e6

typedef struct answer {
	const json_t *hits;
	hth_context *context;
	hth_citer *citer;
	hth_buf text;      /* the answer without what was invented; nothing: there is none */
	const char *model; /* that answered; NULL: none */
	char model_name[256];
	char why[HTH_ERROR_MAX]; /* there is no answer of a model; "" */
} answer;

static const char *text_of(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	return value != NULL ? value : "";
}

static hth_status take_hits(answer *a, hth_error *err)
{
	const json_t *hit;
	size_t i, k;
	HTH_TRY(hth_context_create(&a->context, err));
	HTH_TRY(hth_citer_create(&a->citer, a->context, err));
	json_array_foreach(a->hits, i, hit)
	{
		const json_t *box = json_object_get(hit, "box");
		hth_context_passage p = {.file = text_of(hit, "file"),
		                         .part = text_of(hit, "part"),
		                         .text = text_of(hit, "text"),
		                         .snippet = text_of(hit, "snippet"),
		                         .link = text_of(hit, "link"),
		                         .page = (uint32_t)json_integer_value(json_object_get(hit, "page")),
		                         .has_box = json_array_size(box) == 4};
		for (k = 0; p.has_box && k < 4; k++)
			p.box[k] = (float)json_number_value(json_array_get(box, k));
		HTH_TRY(hth_context_add(a->context, &p, err));
	}
	return HTH_OK;
}

/* "4.70M", "1.2B" as /api/show has it; 0: not known. */
static double parameters_of(const char *size)
{
	char *end;
	double n = strtod(size, &end);
	return *end == 'B' ? n * 1e9 : *end == 'M' ? n * 1e6 : 0;
}

/* The node's default model, if it is of use at this. */
static bool choose_model(hth_client *client, answer *a)
{
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *status = NULL;
	HTH_AUTO_JSON json_t *facts = NULL;
	/* Who may not see the node's state may still ask its default model: it is then not known what that is. */
	if (hth_client_json(client, "GET", "/hearth/status", NULL, 30000, &status, &err) == HTH_OK)
		snprintf(a->model_name, sizeof a->model_name, "%s", text_of(status, "default_model"));
	if (a->model_name[0] == '\0')
		return true;
	HTH_AUTO_JSON json_t *ask = json_pack("{s:s}", "model", a->model_name);
	if (ask == NULL || hth_client_json(client, "POST", "/api/show", ask, 60000, &facts, &err) != HTH_OK)
		return true; /* of another server: not known, not small */
	double n = parameters_of(text_of(json_object_get(facts, "details"), "parameter_size"));
	if (n == 0 || n >= TINY)
		return true;
	snprintf(a->why, sizeof a->why,
	         "the model %.100s has %.0f million parameters, too few to answer from documents (%.0f million or more can); --with MODEL "
	         "asks it all the same",
	         a->model_name, n / 1e6, TINY / 1e6);
	a->model_name[0] = '\0';
	return false;
}

static json_t *make_request(const answer *a, const char *question)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(4 << 20);
	hth_context_ask(a->context, question, &text);
	if (text.failed)
		return NULL;
	json_t *request = json_pack("{s:[{s:s,s:s}],s:f,s:i}", "messages", "role", "user", "content", text.data, "temperature", 0.0,
	                            "max_tokens", ASK_TOKENS);
	if (request != NULL && a->model_name[0] != '\0')
		json_object_set_new(request, "model", json_string(a->model_name));
	return request;
}

static void ask_model(hth_client *client, const char *question, answer *a)
{
	/* The passages are in the question already, and stay at home, whatever this key's defaults are. */
	static const char *const headers[] = {"Hearth-Privacy: private", "Hearth-Context: none", NULL};
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *out = NULL;
	HTH_AUTO_JSON json_t *request = make_request(a, question);
	hth_client_set_headers(client, headers);
	hth_status status = HTH_INVALID;
	while (request != NULL &&
	       (status = hth_client_json(client, "POST", "/v1/chat/completions", request, ASK_TIMEOUT_MS, &out, &err)) == HTH_TOO_LARGE &&
	       hth_context_count(a->context) > 1) {
		hth_context_limit(a->context, hth_context_count(a->context) / 2); /* half of them may fit into its context */
		json_decref(request);
		request = make_request(a, question);
	}
	if (status != HTH_OK) {
		snprintf(a->why, sizeof a->why, "no model answered: %.*s", (int)sizeof a->why - 30,
		         request == NULL ? "the passages are no text" : err.message);
		return;
	}
	const char *said = text_of(json_object_get(json_array_get(json_object_get(out, "choices"), 0), "message"), "content");
	while (*said == ' ' || *said == '\n')
		said++;
	snprintf(a->model_name, sizeof a->model_name, "%s", text_of(out, "model"));
	hth_citer_feed(a->citer, said, strlen(said), &a->text);
	hth_citer_finish(a->citer, &a->text);
	if (a->text.len == 0 || a->text.failed)
		snprintf(a->why, sizeof a->why, "the model %.100s said nothing", a->model_name);
	else
		a->model = a->model_name;
}

/* The passages, numbered as they were given to the model; only_cited: those that it cites. */
static json_t *list_places(const answer *a, bool only_cited)
{
	static const char *const keys[] = {"file", "part", "page", "box", "link", "image", "snippet"};
	HTH_CLEANUP(hth_buf_finish) hth_buf cited = HTH_BUF_INIT(16 << 20);
	HTH_AUTO_JSON json_t *marks = NULL;
	json_t *list = json_array();
	hth_buf_append_char(&cited, '[');
	hth_citer_write_json(a->citer, HTH_CITE_PLAIN, &cited);
	hth_buf_append_char(&cited, ']');
	if (list == NULL || cited.failed || hth_json_parse(&marks, cited.data, cited.len, NULL) != HTH_OK)
		return list;
	for (size_t i = 0; i < json_array_size(a->hits); i++) {
		const json_t *hit = json_array_get(a->hits, i), *mark;
		bool is_cited = false;
		size_t k;
		json_array_foreach(marks, k, mark) is_cited |= json_integer_value(json_object_get(mark, "number")) == (json_int_t)i + 1;
		if (only_cited && !is_cited)
			continue;
		json_t *place = json_pack("{s:I}", "number", (json_int_t)i + 1);
		for (k = 0; place != NULL && k < HTH_COUNT(keys); k++)
			if (json_object_get(hit, keys[k]) != NULL)
				json_object_set(place, keys[k], json_object_get(hit, keys[k]));
		json_array_append_new(list, place);
	}
	return list;
}

static int print_data(const hth_invocation *in, const answer *a, const json_t *citations, const json_t *passages)
{
	HTH_AUTO_JSON json_t *out =
	    json_pack("{s:s?,s:b,s:s?,s:s?,s:O,s:O,s:I}", "answer", a->model != NULL ? a->text.data : NULL, "found",
	              json_array_size(a->hits) > 0, "model", a->model, "reason", a->why[0] != '\0' ? a->why : NULL, "citations", citations,
	              "passages", passages, "invented", (json_int_t)hth_citer_dropped(a->citer));
	return hth_search_print_json(in, out);
}

static void print_places(const json_t *places)
{
	const json_t *place;
	size_t i;
	json_array_foreach(places, i, place)
	{
		printf("[%lld] ", (long long)json_integer_value(json_object_get(place, "number")));
		hth_search_print_place(place);
		printf("\n");
	}
}

static void print_words(const answer *a, const json_t *citations, const json_t *passages)
{
	if (json_array_size(a->hits) == 0) {
		printf("Nothing in the indexed documents speaks of that.\n");
		return;
	}
	if (a->model == NULL) {
		hth_search_print_hits(a->hits);
		fflush(stdout);
		if (a->why[0] != '\0')
			fprintf(stderr, "hearth ask: these are the passages themselves; %s\n", a->why);
		return;
	}
	hth_search_print_plain(a->text.data);
	printf("\n\n");
	if (json_array_size(citations) == 0)
		printf("It cites none of the passages that it was given:\n");
	print_places(json_array_size(citations) > 0 ? citations : passages);
}

static void answer_finish(answer *a)
{
	hth_citer_destroy(a->citer);
	hth_context_destroy(a->context);
	hth_buf_finish(&a->text);
}

int hth_cmd_ask(hth_invocation *in)
{
	bool json = false;
	const char *model = NULL;
	hth_search_ask search = {.k = ASK_PASSAGES, .least = ASK_LEAST, .with_text = true};
	const hth_option options[] = {
	    {"with", 'm', HTH_OPTION_TEXT, &model, "MODEL", "the model that answers, however small; default: the node's", 0, 0, NULL},
	    {"k", 'k', HTH_OPTION_INT, &search.k, "N", "from the N best passages; default 6", 1, 20, NULL},
	    {"folder", 0, HTH_OPTION_TEXT, &search.folder, "DIR", "only files within it", 0, 0, NULL},
	    HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 1))
		return in->exit_code;
	search.query = in->argv[0];
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *found = NULL;
	hth_client *client;
	if (hth_search_run(in, &search, &found, &client, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	HTH_CLEANUP(answer_finish) answer a = {.hits = json_object_get(found, "hits"), .text = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX)};
	hth_status status = take_hits(&a, &err);
	if (status == HTH_OK && json_array_size(a.hits) > 0) {
		snprintf(a.model_name, sizeof a.model_name, "%s", model != NULL ? model : "");
		if (client == NULL)
			snprintf(a.why, sizeof a.why, "no node runs, so there is no model to ask (`hearth serve`)");
		else if (model != NULL || choose_model(client, &a))
			ask_model(client, search.query, &a);
	}
	hth_client_destroy(client);
	if (status != HTH_OK)
		return hth_cmd_fail(in, &err);
	/* Without a model's answer all passages are it. */
	HTH_AUTO_JSON json_t *citations = list_places(&a, a.model != NULL);
	HTH_AUTO_JSON json_t *passages = list_places(&a, false);
	if (json)
		return print_data(in, &a, citations, passages);
	print_words(&a, citations, passages);
	return HTH_EXIT_DONE;
}
