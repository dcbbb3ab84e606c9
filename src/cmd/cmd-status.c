/* cmd-status.c - what the node tells about itself: `hearth status`, `hearth ps`, and `hearth stop`, which unloads a model.
 * All three ask GET /hearth/status or POST /hearth/stop (node.h has their JSON). */
#include "base/mem.h"
#include "cmd/cmd-options.h"

static int64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_is_number(value) ? (int64_t)json_number_value(value) : 0;
}
static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	return value != NULL ? value : "";
}

static hth_status ask(const hth_invocation *in, const char *method, const char *path, const json_t *body, json_t **ret_json, hth_error *err)
{
	hth_client *client;
	HTH_TRY(hth_cmd_client(in, NULL, &client, err));
	hth_status status = hth_client_json(client, method, path, body, 30000, ret_json, err);
	hth_client_destroy(client);
	if (status == HTH_OK && !json_is_object(*ret_json)) {
		json_decref(*ret_json);
		return hth_fail(err, HTH_BAD_FORMAT, "the node's answer is not of the form that was expected");
	}
	return status;
}

static int print_json(const hth_invocation *in, const json_t *json)
{
	hth_buf out = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	hth_json_write(json, &out);
	int code = hth_cmd_print(in, &out);
	hth_buf_finish(&out);
	return code;
}

static void print_runners(const json_t *runners)
{
	hth_cmd_table table;
	hth_cmd_table_init(&table, "<<>>>><", (const char *const[]){"model", "state", "memory", "context", "active", "pid", "unloads"});
	size_t i;
	json_t *r;
	json_array_foreach(runners, i, r) {
		char memory[32], context[32], active[48], pid[32], when[48] = "when idle long enough", span[32];
		snprintf(context, sizeof context, "%lld", (long long)number(r, "context"));
		snprintf(active, sizeof active, "%lld/%lld", (long long)number(r, "active"), (long long)number(r, "slots"));
		snprintf(pid, sizeof pid, "%lld", (long long)number(r, "pid"));
		if (json_is_number(json_object_get(r, "unload_in_s")))
			snprintf(when, sizeof when, "in %s", hth_cmd_seconds((uint64_t)HTH_MAX(number(r, "unload_in_s"), 0), span));
		else if (json_is_number(json_object_get(r, "idle_s")))
			snprintf(when, sizeof when, "never");
		char state[48];
		snprintf(state, sizeof state, "%s", text(r, "state"));
		if (strcmp(state, "loading") == 0) {
			snprintf(state, sizeof state, "loading %.0f%%", json_number_value(json_object_get(r, "progress")) * 100);
			snprintf(when, sizeof when, "is there in %s", hth_cmd_seconds((uint64_t)HTH_MAX(number(r, "eta_s"), 0), span));
		}
		hth_cmd_table_row(&table, (const char *const[]){text(r, "model"), state,
		                                            hth_cmd_memory((uint64_t)number(r, "memory_bytes"), memory), context, active,
		                                            pid, when});
	}
	hth_cmd_table_print(&table, stdout);
}

static void print_upstreams(const json_t *upstreams)
{
	hth_cmd_table table;
	size_t i;
	json_t *u;
	if (json_array_size(upstreams) == 0)
		return;
	printf("\n");
	hth_cmd_table_init(&table, "<<<>><", (const char *const[]){"upstream", "state", "for", "models", "active", "address"});
	json_array_foreach(upstreams, i, u) {
		char models[32], active[32], where[700];
		snprintf(models, sizeof models, "%lld", (long long)number(u, "models"));
		snprintf(active, sizeof active, "%lld", (long long)number(u, "active"));
		snprintf(where, sizeof where, "%.400s%s%.200s", text(u, "url"), *text(u, "error") != '\0' ? ": " : "", text(u, "error"));
		hth_cmd_table_row(&table, (const char *const[]){text(u, "name"), text(u, "state"), text(u, "privacy"), models, active,
		                                                where});
	}
	hth_cmd_table_print(&table, stdout);
}

/* Who is next door, and what went there lately, and why. */
static void print_neighbours(const json_t *neighbours, const json_t *routes)
{
	const json_t *homes = json_object_get(neighbours, "homes");
	hth_cmd_table table;
	size_t i, shown = 0;
	json_t *h;
	if (json_array_size(homes) == 0)
		return;
	printf("\n");
	hth_cmd_table_init(&table, "<<<>>", (const char *const[]){"neighbour", "lends", "trusted", "models", "free"});
	json_array_foreach(homes, i, h) {
		char models[32], places[48];
		snprintf(models, sizeof models, "%lld", (long long)number(h, "models"));
		snprintf(places, sizeof places, "%lld/%lld", (long long)number(h, "free_slots"), (long long)number(h, "slots"));
		bool caught = json_is_true(json_object_get(h, "caught")), heard = json_is_true(json_object_get(h, "heard"));
		hth_cmd_table_row(&table, (const char *const[]){text(h, "name"),
		                                                caught ? "not believed" : !heard ? "silent"
		                                                                                 : json_is_true(json_object_get(h, "lends"))
		                                                ? "yes" : "not now",
		                                                json_is_true(json_object_get(h, "trusted")) ? "yes" : "no", models,
		                                                places});
	}
	hth_cmd_table_print(&table, stdout);
	json_array_foreach(homes, i, h)
		if (json_is_true(json_object_get(h, "caught")))
			printf("\n%s is not asked any more: %s\n", text(h, "name"), text(h, "why"));
	json_array_foreach(routes, i, h) {
		if (strstr(text(h, "why"), "next door") == NULL && strstr(text(h, "why"), "was left") == NULL)
			continue;
		printf("%s%s  %s: %s\n", shown == 0 ? "\n" : "", text(h, "id"), text(h, "model"), text(h, "why"));
		if (++shown == 5)
			break;
	}
}

int hth_cmd_status(hth_invocation *in)
{
	bool json = false;
	const hth_option options[] = {HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 0))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *s = NULL;
	if (ask(in, "GET", "/hearth/status", NULL, &s, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (json)
		return print_json(in, s);
	const json_t *memory = json_object_get(s, "memory"), *requests = json_object_get(s, "requests"),
	    *tokens = json_object_get(s, "tokens");
	char a[32], b[32], c[32];
	printf("The node answers at http://%s, version %s, process %lld, since %s%s.\n", text(s, "address"), text(s, "version"),
	       (long long)number(s, "pid"), hth_cmd_seconds((uint64_t)number(s, "uptime_s"), a),
	       json_is_true(json_object_get(s, "stopping")) ? "; it is stopping" : "");
	printf("home      %s\n", text(s, "home"));
	printf("model     %s unless a request names another\n", text(s, "default_model"));
	printf("memory    %s of %s given to models\n", hth_cmd_memory((uint64_t)number(memory, "used_bytes"), a),
	       hth_cmd_memory((uint64_t)number(memory, "budget_bytes"), b));
	printf("requests  %lld running, %lld waiting; %lld done, %lld failed, %lld cancelled, %lld refused; %lld connections open\n",
	       (long long)number(requests, "active"), (long long)number(requests, "waiting"), (long long)number(requests, "done"),
	       (long long)number(requests, "failed"), (long long)number(requests, "cancelled"), (long long)number(requests, "refused"),
	       (long long)number(s, "connections"));
	printf("tokens    %s read (%s of them from the cache), %s written\n", hth_cmd_count((uint64_t)number(tokens, "prompt"), a),
	       hth_cmd_count((uint64_t)number(tokens, "cached"), b), hth_cmd_count((uint64_t)number(tokens, "answer"), c));
	print_upstreams(json_object_get(s, "upstreams"));
	print_neighbours(json_object_get(s, "neighbours"), json_object_get(s, "routes"));
	const json_t *runners = json_object_get(s, "runners");
	if (json_array_size(runners) > 0) {
		printf("\n");
		print_runners(runners);
	}
	return HTH_EXIT_DONE;
}

int hth_cmd_ps(hth_invocation *in)
{
	bool json = false;
	const hth_option options[] = {HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 0))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *s = NULL;
	if (ask(in, "GET", "/hearth/status", NULL, &s, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	json_t *runners = json_object_get(s, "runners");
	if (json) {
		HTH_AUTO_JSON json_t *out = json_pack("{s:O?}", "models", runners);
		return print_json(in, out);
	}
	if (json_array_size(runners) == 0)
		printf("No model is loaded; the first request for one loads it.\n");
	else
		print_runners(runners);
	return HTH_EXIT_DONE;
}

int hth_cmd_stop(hth_invocation *in)
{
	bool now = false, json = false;
	const hth_option options[] = {{"now", 0, HTH_OPTION_FLAG, &now, NULL, "cut running answers off", 0, 0, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 1))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *body = json_pack("{s:s,s:b}", "model", in->argv[0], "now", now);
	if (body == NULL)
		return hth_cmd_usage(in, "a model's name is UTF-8 text");
	HTH_AUTO_JSON json_t *answer = NULL;
	if (ask(in, "POST", "/hearth/stop", body, &answer, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (json)
		return print_json(in, answer);
	printf("%s unloads%s.\n", in->argv[0], now ? "" : " as soon as its running answers have ended");
	return HTH_EXIT_DONE;
}
