/* cmd-key.c - `hearth key add NAME | list | rm NAME`: who may ask this node.
 *
 * A key is shown once, when it is made; the home keeps only a hash of it. A running node knows of the change at the next request. */
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "privacy/privacy.h"
#include "store/store.h"

#include <time.h>

static const struct {
	const char *name;
	unsigned scope;
} scopes[] = {{"chat", HTH_SCOPE_CHAT}, {"embed", HTH_SCOPE_EMBED}, {"admin", HTH_SCOPE_ADMIN}, {"documents", HTH_SCOPE_DOCUMENTS},
              {"all", HTH_SCOPE_ALL}};

static bool read_scopes(const char *text, unsigned *ret_scopes)
{
	*ret_scopes = 0;
	while (*text != '\0') {
		size_t n = strcspn(text, ","), i = 0;
		while (i < HTH_COUNT(scopes) && (strlen(scopes[i].name) != n || strncmp(scopes[i].name, text, n) != 0))
			i++;
		if (i == HTH_COUNT(scopes))
			return false;
		*ret_scopes |= scopes[i].scope;
		text += n + (text[n] == ',');
	}
	return *ret_scopes != 0;
}

static const char *scope_names(unsigned set, char out[32])
{
	out[0] = '\0';
	for (size_t i = 0; i < HTH_COUNT(scopes) - 1; i++)
		if (set & scopes[i].scope)
			snprintf(out + strlen(out), 32 - strlen(out), "%s%s", *out ? "," : "", scopes[i].name);
	return out;
}

static const char *day(int64_t unix_time, char out[32])
{
	time_t t = (time_t)unix_time;
	struct tm tm;
	if (unix_time == 0 || localtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d", &tm) == 0)
		snprintf(out, 32, "never");
	return out;
}

static int list(hth_invocation *in, hth_store *store, bool json)
{
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE hth_key *keys = NULL;
	size_t n;
	char a[32], b[32], c[32], rate[32];
	if (hth_store_key_list(store, &keys, &n, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (json) {
		hth_buf out = HTH_BUF_INIT(16 << 20);
		hth_buf_append_str(&out, "{\"keys\":[");
		for (size_t i = 0; i < n; i++) {
			hth_buf_append_str(&out, i > 0 ? ",{\"name\":" : "{\"name\":");
			hth_json_write_string(keys[i].name, strlen(keys[i].name), &out);
			hth_buf_append_str(&out, ",\"scopes\":[");
			for (size_t k = 0, said = 0; k < HTH_COUNT(scopes) - 1; k++)
				if (keys[i].scopes & scopes[k].scope)
					hth_buf_appendf(&out, "%s\"%s\"", said++ > 0 ? "," : "", scopes[k].name);
			hth_buf_appendf(&out, "],\"per_minute\":%u,\"privacy\":\"%s\",\"context\":\"%s\",\"created_unix\":%lld,"
			                      "\"last_used_unix\":%lld}", keys[i].per_minute,
			                hth_privacy_name((hth_privacy_class)keys[i].privacy), keys[i].context ? "documents" : "none",
			                (long long)keys[i].created_unix, (long long)keys[i].last_used_unix);
		}
		hth_buf_append_str(&out, "]}");
		int code = hth_cmd_print(in, &out);
		hth_buf_finish(&out);
		return code;
	}
	if (n == 0) {
		printf("There is no key. `hearth key add NAME` makes one; until then whoever reaches the node may ask it.\n");
		return HTH_EXIT_DONE;
	}
	hth_cmd_table table;
	hth_cmd_table_init(&table, "<<><<<<", (const char *const[]){"name", "scopes", "a minute", "privacy", "context", "made",
	                                                            "last used"});
	for (size_t i = 0; i < n; i++) {
		snprintf(rate, sizeof rate, "%u", keys[i].per_minute);
		hth_cmd_table_row(&table, (const char *const[]){keys[i].name, scope_names(keys[i].scopes, a),
		                                                keys[i].per_minute > 0 ? rate : "any",
		                                                hth_privacy_name((hth_privacy_class)keys[i].privacy),
		                                                keys[i].context ? "documents" : "", day(keys[i].created_unix, b),
		                                                day(keys[i].last_used_unix, c)});
	}
	hth_cmd_table_print(&table, stdout);
	return HTH_EXIT_DONE;
}

static int add(hth_invocation *in, hth_store *store, const hth_key *key, bool json)
{
	hth_error err = HTH_ERROR_INIT;
	char text[HTH_KEY_TEXT_MAX];
	if (hth_store_key_add(store, key, text, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (json) {
		hth_buf out = HTH_BUF_INIT(1024);
		hth_buf_append_str(&out, "{\"name\":");
		hth_json_write_string(key->name, strlen(key->name), &out);
		hth_buf_appendf(&out, ",\"key\":\"%s\"}", text);
		int code = hth_cmd_print(in, &out);
		hth_buf_finish(&out);
		return code;
	}
	printf("%s\n", text);
	fprintf(stderr, "This is the only time it is shown. Clients send it as `Authorization: Bearer KEY`.\n");
	size_t n = 0;
	if (hth_store_key_count(store, &n, NULL) == HTH_OK && n == 1 && in->config.api_key[0] == '\0')
		fprintf(stderr,
		        "It is the first: from now on the node asks every program for a key, but not the commands of this home's owner.\n");
	return HTH_EXIT_DONE;
}

int hth_cmd_key(hth_invocation *in)
{
	bool json = false, context = false;
	const char *scope = NULL, *privacy = NULL;
	int64_t per_minute = 0;
	const hth_option options[] = {{"scope", 0, HTH_OPTION_TEXT, &scope, "LIST",
	                               "what it may do: chat, embed, admin, documents, all; default chat,embed", 0, 0, NULL},
	                              {"per-minute", 0, HTH_OPTION_INT, &per_minute, "N", "requests a minute; 0: any number", 0, 1e6, NULL},
	                              {"with-documents", 0, HTH_OPTION_FLAG, &context, NULL,
	                               "its chats are given what the indexed documents say; needs the scope documents", 0, 0, NULL},
	                              {"privacy", 0, HTH_OPTION_TEXT, &privacy, "CLASS",
	                               "class of its requests: private, neighbours, public", 0, 0, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 2))
		return in->exit_code;
	const char *what = in->argv[0], *name = in->argc > 1 ? in->argv[1] : NULL;
	bool is_list = strcmp(what, "list") == 0, is_add = strcmp(what, "add") == 0, is_rm = strcmp(what, "rm") == 0;
	if (!is_list && !is_add && !is_rm)
		return hth_cmd_usage(in, "'%.60s' should be add, list or rm", what);
	if (is_list != (name == NULL))
		return hth_cmd_usage(in, is_list ? "list takes no name" : "%s takes the key's name", what);
	hth_key key = {.scopes = HTH_SCOPE_CHAT | HTH_SCOPE_EMBED, .per_minute = (uint32_t)per_minute};
	hth_privacy_class class = HTH_PRIVATE;
	if (scope != NULL && !read_scopes(scope, &key.scopes))
		return hth_cmd_usage(in, "--scope '%.60s' should be of chat, embed, admin, documents, all, with commas between", scope);
	if (privacy != NULL && hth_privacy_parse(privacy, &class, NULL) != HTH_OK)
		return hth_cmd_usage(in, "--privacy '%.60s' should be private, neighbours or public", privacy);
	key.context = context;
	if (context && (key.scopes & HTH_SCOPE_DOCUMENTS) == 0)
		return hth_cmd_usage(in, "--with-documents needs the scope documents: --scope chat,documents");
	key.privacy = (int)class;
	if (name != NULL && strlen(name) >= sizeof key.name)
		return hth_cmd_usage(in, "a key's name has at most %zu bytes", sizeof key.name - 1);
	snprintf(key.name, sizeof key.name, "%s", name != NULL ? name : "");
	hth_error err = HTH_ERROR_INIT;
	hth_store *store;
	if (hth_store_open(&store, in->config.home, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	int code;
	if (is_list) {
		code = list(in, store, json);
	} else if (is_add) {
		code = add(in, store, &key, json);
	} else if (hth_store_key_remove(store, name, &err) != HTH_OK) {
		code = hth_cmd_fail(in, &err);
	} else {
		printf(json ? "{\"removed\":true}\n" : "The key is removed; whoever has it is refused from now on.\n");
		code = HTH_EXIT_DONE;
	}
	hth_store_close(store);
	if (!is_list && code == HTH_EXIT_DONE)
		hth_cmd_note_other_home(in);
	return code;
}
