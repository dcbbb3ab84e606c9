/* cmd-pool.c - `hearth pool`: the neighbourhood, from its making to leaving it. The node does all of it (node/street-api.c); here is only
 * what a person types and sees. */
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "cmd/qr.h"

#include <time.h>

enum { JOIN_MS = 60000, ASK_MS = 30000 };

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	return value != NULL ? value : "";
}
static bool is(const json_t *object, const char *key) { return json_is_true(json_object_get(object, key)); }

static hth_status ask(const hth_invocation *in, const char *method, const json_t *body, unsigned timeout_ms, json_t **ret_json,
                      hth_error *err)
{
	hth_client *client;
	HTH_TRY(hth_cmd_client(in, NULL, &client, err));
	hth_status status = hth_client_json(client, method, "/hearth/pool", body, timeout_ms, ret_json, err);
	bool reached = hth_client_reached(client);
	hth_client_destroy(client);
	if (status != HTH_OK && !reached) {
		hth_error why = *err;
		return hth_fail(err, why.status, "the node must be running, it keeps the neighbourhood: start `hearth serve` (%.300s)",
		                why.message);
	}
	if (status == HTH_OK && !json_is_object(*ret_json)) {
		json_decref(*ret_json);
		return hth_fail(err, HTH_BAD_FORMAT, "the node's answer is not of the form that was expected");
	}
	return status;
}

/* {"name","members":[{"id","name","self","online","trusted","models"}]}: no more, so that it can be relied upon. */
static int print_json_status(const hth_invocation *in, const json_t *status)
{
	static const char *const keys[] = {"id", "name", "self", "online", "trusted", "models"};
	HTH_AUTO_JSON json_t *out = json_object();
	json_t *members = json_array(), *m;
	size_t i;
	json_array_foreach(json_object_get(status, "members"), i, m) {
		json_t *copy = json_object();
		for (size_t k = 0; k < HTH_COUNT(keys); k++)
			json_object_set(copy, keys[k], json_object_get(m, keys[k]));
		json_array_append_new(members, copy);
	}
	json_object_set(out, "name", json_object_get(status, "name"));
	json_object_set_new(out, "members", members);
	HTH_CLEANUP(hth_buf_finish) hth_buf buf = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	hth_json_write(out, &buf);
	return hth_cmd_print(in, &buf);
}

static void print_status(const json_t *status)
{
	size_t i;
	json_t *m;
	if (!json_is_string(json_object_get(status, "name"))) {
		printf("This home is in no neighbourhood. `hearth pool create NAME` makes one, `hearth pool join LINE` takes up an "
		       "invitation.\n");
		if (*text(status, "trouble") != '\0')
			printf("%s.\n", text(status, "trouble"));
		return;
	}
	printf("%s, %zu home%s, ", text(status, "name"), json_array_size(json_object_get(status, "members")),
	       json_array_size(json_object_get(status, "members")) == 1 ? "" : "s");
	if (is(status, "connected"))
		printf("connected through %s\n", text(status, "hub"));
	else
		printf("not connected%s%s\n", *text(status, "trouble") != '\0' ? ": " : "", text(status, "trouble"));
	if (json_array_size(json_object_get(status, "hubs")) > 1) /* one is what it is connected through, or not */
		json_array_foreach(json_object_get(status, "hubs"), i, m)
			printf("%s%s%s", i == 0 ? "Its hubs: " : ", ", text(m, "address"), is(m, "self") ? " (hosted here)" : "");
	printf(json_array_size(json_object_get(status, "hubs")) > 1 ? "; either can be lost\n\n" : "\n");
	hth_cmd_table table;
	hth_cmd_table_init(&table, "<<<<><", (const char *const[]){"home", "id", "state", "trusted", "away", "models"});
	json_array_foreach(json_object_get(status, "members"), i, m) {
		char state[64], away[32] = "", models[200] = "";
		size_t k;
		json_t *model;
		snprintf(state, sizeof state, "%s%s%s", is(m, "self") ? "this home" : is(m, "online") ? "online" : "silent",
		         is(m, "keeper") ? ", keeper" : "", *text(m, "not_believed") != '\0' ? ", not believed" : "");
		if (json_is_number(json_object_get(m, "rtt_ms")))
			snprintf(away, sizeof away, "%.1f ms", json_number_value(json_object_get(m, "rtt_ms")));
		json_array_foreach(json_object_get(m, "models"), k, model)
			snprintf(models + strlen(models), sizeof models - strlen(models), "%s%.60s", k > 0 ? ", " : "",
			         json_string_value(model));
		hth_cmd_table_row(&table, (const char *const[]){text(m, "name"), "", state,
		                                                is(m, "self") ? "" : is(m, "trusted") ? "yes" : "no", away, models});
		char id[13];
		snprintf(id, sizeof id, "%.12s", text(m, "id"));
		free(table.cells[(table.n_rows - 1) * table.n_columns + 1]);
		table.cells[(table.n_rows - 1) * table.n_columns + 1] = strdup(id);
	}
	hth_cmd_table_print(&table, stdout);
	json_array_foreach(json_object_get(status, "members"), i, m)
		if (*text(m, "not_believed") != '\0')
			printf("\n%s is not asked any more: %s. `hearth pool trust %s` believes it again.\n", text(m, "name"),
			       text(m, "not_believed"), text(m, "name"));
	json_int_t out = json_integer_value(json_object_get(status, "invitations"));
	if (out > 0)
		printf("\n%lld invitation%s out.\n", (long long)out, out == 1 ? " is" : "s are");
	if (is(status, "connected") && *text(status, "trouble") != '\0')
		printf("\n%s.\n", text(status, "trouble"));
	json_array_foreach(json_object_get(status, "proposals"), i, m)
		printf("\nA change waits for keepers' signatures: it %s. `hearth pool approve %.8s` signs it.\n", text(m, "what"),
		       text(m, "hash"));
}

static int show_status(hth_invocation *in, bool json)
{
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *status = NULL;
	if (ask(in, "GET", NULL, ASK_MS, &status, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (json)
		return print_json_status(in, status);
	print_status(status);
	return HTH_EXIT_DONE;
}

/* nats-server takes an included path from its configuration's folder on, also one that begins with '/'. */
static void say_include(const json_t *answer)
{
	if (json_is_string(json_object_get(answer, "include")))
		printf("Your nats-server's configuration must have the line\n  include \"../../../../../../../..%s\"\n(from its own folder "
		       "up to the root, and down again), max_payload: 524288, and tls with the certificate of that fingerprint; it must "
		       "read the file again\n(nats-server --signal reload) whenever hearth's log says so.\n", text(answer, "include"));
}

static void say(const char *what, const json_t *answer, const char *arg)
{
	char when[64] = "";
	bool done = is(answer, "done");
	if (strcmp(what, "create") == 0) {
		printf("%s is there; its hub is at %s. `hearth pool invite` lets another home in.\n", text(answer, "name"),
		       text(answer, "hub"));
		say_include(answer);
	} else if (strcmp(what, "hub") == 0) {
		if (json_is_string(json_object_get(answer, "hub")))
			printf("This home hosts a hub at %s.\n", text(answer, "hub"));
		else
			printf("This home hosts no hub.\n");
		say_include(answer);
	} else if (strcmp(what, "invite") == 0) {
		time_t t = (time_t)json_integer_value(json_object_get(answer, "expires_unix"));
		struct tm tm;
		if (localtime_r(&t, &tm) != NULL)
			strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
		printf("%s\n", text(answer, "line"));
		fflush(stdout);
		if (hth_cmd_is_terminal(1))
			hth_qr_print(text(answer, "line"), stdout);
		fprintf(stderr, "One home may come in with this line, until %s. Whoever has it can: hand it over like a key.\n", when);
	} else if (strcmp(what, "join") == 0) {
		print_status(answer);
	} else if (strcmp(what, "leave") == 0) {
		printf(is(answer, "told") ? "This home has left; its neighbours were told.\n"
		                          : "This home has left. There was no connection, so nobody could be told: a keeper should remove "
		                            "it (`hearth pool remove`).\n");
	} else if (strcmp(what, "revoke") == 0) {
		printf("No invitation is out any more.\n");
	} else if (!done) {
		printf("It waits for the signatures of other keepers (`hearth pool status`).\n");
	} else if (strcmp(what, "trust") == 0) {
		printf("%s may be asked with what is for trusted neighbours.\n", arg);
	} else if (strcmp(what, "distrust") == 0) {
		printf("%s is asked with public requests only.\n", arg);
	} else if (strcmp(what, "remove") == 0) {
		printf("%s is not a member any more.\n", arg);
	} else {
		printf("Done.\n");
	}
}

/* "90", "30m", "24h", "7d" in seconds; 0: it is none. */
static int64_t seconds(const char *span)
{
	char *end;
	long long n = strtoll(span, &end, 10);
	int64_t unit = *end == 'd' ? 86400 : *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
	if (*span < '0' || *span > '9' || n <= 0 || n > 30 * 86400 || (*end != '\0' && (strchr("smhd", *end) == NULL || end[1] != '\0')))
		return 0;
	return n * unit <= 30 * 86400 ? n * unit : 0;
}

typedef struct verb {
	const char *name, *key; /* key: of its argument in the body; NULL: it takes none */
	bool optional;
} verb;
static const verb verbs[] = {{"create", "name", false}, {"invite", NULL, false}, {"join", "line", true}, {"leave", NULL, false},
                             {"hub", NULL, false},
                             {"trust", "member", false}, {"distrust", "member", false}, {"remove", "member", false},
                             {"keeper", "member", false},
                             {"unkeeper", "member", false}, {"approve", "change", true}, {"revoke", NULL, false}};

int hth_cmd_pool(hth_invocation *in)
{
	bool json = false, off = false;
	const char *at = NULL, *hub = NULL, *fingerprint = NULL, *expires = NULL;
	const hth_option options[] = {{"listen", 0, HTH_OPTION_TEXT, &at, "HOST:PORT",
	                               "create, hub: where neighbours reach this home's hub", 0, 0, NULL},
	                              {"hub", 0, HTH_OPTION_TEXT, &hub, "HOST:PORT", "create, hub: a nats-server that you run yourself", 0,
	                               0, NULL},
	                              {"fingerprint", 0, HTH_OPTION_TEXT, &fingerprint, "HEX", "SHA-256 of that server's certificate", 0, 0,
	                               NULL},
	                              {"expires", 0, HTH_OPTION_TEXT, &expires, "TIME", "invite: 30m, 24h, 7d; default a day", 0, 0, NULL},
	                              {"off", 0, HTH_OPTION_FLAG, &off, NULL, "hub: host none any more", 0, 0, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 2))
		return in->exit_code;
	const char *what = in->argv[0], *arg = in->argc > 1 ? in->argv[1] : NULL;
	char line[1024] = "";
	if (strcmp(what, "status") == 0)
		return arg == NULL ? show_status(in, json) : hth_cmd_usage(in, "status takes no argument");
	const verb *v = NULL;
	for (size_t i = 0; i < HTH_COUNT(verbs); i++)
		if (strcmp(what, verbs[i].name) == 0)
			v = &verbs[i];
	if (v == NULL)
		return hth_cmd_usage(in, "'%.60s' should be create, invite, join, leave, status, "
		                         "trust, distrust, remove, keeper, unkeeper, approve, revoke or hub", what);
	if (arg != NULL && v->key == NULL)
		return hth_cmd_usage(in, "%s takes no argument", what);
	if (arg == NULL && v->key != NULL && !v->optional)
		return hth_cmd_usage(in, strcmp(what, "create") == 0 ? "create takes the neighbourhood's name"
		                                                     : "%s takes a member's name, or the beginning of its id", what);
	int64_t expires_s = expires != NULL ? seconds(expires) : 0;
	if (expires != NULL && expires_s == 0)
		return hth_cmd_usage(in, "--expires %.40s should be a time of up to 30 days: 30m, 24h, 7d", expires);
	/* a line that is not to be seen in the list of processes */
	if (strcmp(what, "join") == 0 && (arg == NULL || strcmp(arg, "-") == 0)) {
		if (fgets(line, sizeof line, stdin) == NULL)
			return hth_cmd_usage(in, "join takes the invitation, or reads it from standard input");
		arg = line;
	}
	HTH_AUTO_JSON json_t *body = json_pack("{s:s}", "do", what), *answer = NULL;
	if (arg != NULL)
		json_object_set_new(body, v->key, json_string(arg));
	if (at != NULL)
		json_object_set_new(body, "listen", json_string(at));
	if (hub != NULL)
		json_object_set_new(body, "hub", json_string(hub));
	if (fingerprint != NULL)
		json_object_set_new(body, "fingerprint", json_string(fingerprint));
	if (expires_s > 0)
		json_object_set_new(body, "expires_s", json_integer(expires_s));
	if (off)
		json_object_set_new(body, "off", json_true());
	hth_error err = HTH_ERROR_INIT;
	if (ask(in, "POST", body, strcmp(what, "join") == 0 ? JOIN_MS : ASK_MS, &answer, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (!json) {
		say(what, answer, arg != NULL ? arg : "");
		return HTH_EXIT_DONE;
	}
	if (strcmp(what, "join") == 0)
		return print_json_status(in, answer);
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	hth_json_write(answer, &out);
	return hth_cmd_print(in, &out);
}
