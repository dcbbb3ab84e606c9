/* cmd-config.c - `hearth config`: every setting, its value, where it came from. */
#include "base/mem.h"
#include "cmd/cmd-options.h"

int hth_cmd_config(hth_invocation *in)
{
	bool json = false;
	const hth_option options[] = {HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 0))
		return in->exit_code;
	hth_buf out = HTH_BUF_INIT(1 << 20);
	hth_cmd_table table;
	if (!json)
		hth_cmd_table_init(&table, "<<<<", (const char *const[]){"setting", "value", "from", "what it is"});
	hth_buf_append_str(&out, "{\"settings\":[");
	for (size_t i = 0; i < hth_config_count(); i++) {
		const char *name, *help;
		char value[4200];
		hth_config_source source;
		hth_config_describe(i, &in->config, &name, value, sizeof value, &source, &help);
		if (!json) {
			hth_cmd_table_row(&table, (const char *const[]){name, value, hth_config_source_name(source), help});
			continue;
		}
		hth_buf_appendf(&out, "%s{\"name\":\"%s\",\"value\":", i > 0 ? "," : "", name);
		hth_json_write_string(value, strlen(value), &out);
		hth_buf_appendf(&out, ",\"source\":\"%s\",\"help\":", hth_config_source_name(source));
		hth_json_write_string(help, strlen(help), &out);
		hth_buf_append_char(&out, '}');
	}
	hth_buf_append_str(&out, "],\"upstreams\":[");
	for (size_t i = 0; i < in->config.n_upstreams; i++) {
		const hth_config_upstream *u = &in->config.upstreams[i];
		const char *privacy = u->privacy[0] != '\0' ? u->privacy : "private on this machine, else public";
		if (!json) {
			char name[64], value[900];
			snprintf(name, sizeof name, "upstream.%s", u->name);
			snprintf(value, sizeof value, "%s%s%s%s", u->url, u->key[0] != '\0' ? " key=(set)" : "",
			         u->privacy[0] != '\0' ? " privacy=" : "", u->privacy);
			hth_cmd_table_row(&table, (const char *const[]){name, value, "file", "a server of the OpenAI API as a backend"});
			continue;
		}
		hth_buf_append_str(&out, i > 0 ? ",{\"name\":" : "{\"name\":");
		hth_json_write_string(u->name, strlen(u->name), &out);
		hth_buf_append_str(&out, ",\"url\":");
		hth_json_write_string(u->url, strlen(u->url), &out);
		hth_buf_appendf(&out, ",\"key\":%s,\"privacy\":\"%s\"}", u->key[0] != '\0' ? "\"(set)\"" : "null", privacy);
	}
	hth_buf_append_str(&out, "],\"drafts\":[");
	for (size_t i = 0; i < in->config.n_drafts; i++) {
		const hth_config_draft *d = &in->config.drafts[i];
		if (!json) {
			char name[300];
			snprintf(name, sizeof name, "draft.%s", d->model);
			hth_cmd_table_row(&table, (const char *const[]){name, d->draft, "file", "a smaller model that guesses ahead"});
			continue;
		}
		hth_buf_append_str(&out, i > 0 ? ",{\"model\":" : "{\"model\":");
		hth_json_write_string(d->model, strlen(d->model), &out);
		hth_buf_append_str(&out, ",\"draft\":");
		hth_json_write_string(d->draft, strlen(d->draft), &out);
		hth_buf_append_char(&out, '}');
	}
	hth_buf_append_str(&out, "],\"classes\":[");
	for (size_t i = 0; i < in->config.n_classes; i++) {
		const hth_config_class *c = &in->config.classes[i];
		if (!json) {
			char name[300];
			snprintf(name, sizeof name, "privacy.%s", c->model);
			hth_cmd_table_row(&table, (const char *const[]){name, c->privacy, "file",
			                                                "class of requests for this model that name none"});
			continue;
		}
		hth_buf_append_str(&out, i > 0 ? ",{\"model\":" : "{\"model\":");
		hth_json_write_string(c->model, strlen(c->model), &out);
		hth_buf_appendf(&out, ",\"privacy\":\"%s\"}", c->privacy);
	}
	hth_buf_append_str(&out, "],\"file\":");
	char path[4200];
	snprintf(path, sizeof path, "%s/hearth.conf", in->config.home);
	hth_json_write_string(path, strlen(path), &out);
	hth_buf_append_char(&out, '}');
	int code = HTH_EXIT_DONE;
	if (json) {
		code = hth_cmd_print(in, &out);
	} else {
		hth_cmd_table_print(&table, stdout);
		printf("\nTheir file is %s (name = value on each line); each is also a flag (--name VALUE)\n"
		       "and an environment variable (HEARTH_NAME).\n", path);
	}
	hth_buf_finish(&out);
	return code;
}
