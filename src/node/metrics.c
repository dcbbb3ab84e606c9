/* metrics.c - the node's counters, as Prometheus reads them and as the command line does. Formats: Prometheus text exposition
 * 0.0.4; the JSON is documented in node.h. Names and numbers only, never a word of a request. Thread: the loop's. */
#include "node/node-internal.h"

#include "base/clock.h"
#include "privacy/privacy.h"

#include <dirent.h>
#include <stdio.h>

static const double bounds[HTH_HISTOGRAM_BUCKETS] = {0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 120};

void hth_histogram_add(hth_histogram *h, double seconds)
{
	size_t i = 0;
	while (i < HTH_HISTOGRAM_BUCKETS && seconds > bounds[i])
		i++;
	h->counts[i]++;
	h->total++;
	h->sum += seconds;
}

static void write_histogram(hth_buf *out, const char *name, const char *help, const hth_histogram *h)
{
	uint64_t below = 0;
	hth_buf_appendf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
	for (size_t i = 0; i < HTH_HISTOGRAM_BUCKETS; i++) {
		below += h->counts[i];
		hth_buf_appendf(out, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i], (unsigned long long)below);
	}
	hth_buf_appendf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name, (unsigned long long)h->total, name,
	                h->sum, name, (unsigned long long)h->total);
}

static void write_one(hth_buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	hth_buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name, (unsigned long long)value);
}

/* Resident bytes of this process. */
static uint64_t resident_bytes(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void)
{
	uint64_t n = 0;
	DIR *dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* without the one that counts */
}

/* A label's value: quoted, with what must be escaped. */
static void write_label(hth_buf *out, const char *s)
{
	hth_buf_append_char(out, '"');
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			hth_buf_append_char(out, '\\');
		if (*s == '\n')
			hth_buf_append_str(out, "\\n");
		else
			hth_buf_append_char(out, *s);
	}
	hth_buf_append_char(out, '"');
}

/* One gauge of all models; Prometheus wants the lines of a metric together. */
typedef struct gauge {
	hth_buf *out;
	const char *name;
	uint64_t (*value)(const hth_router_model *model);
} gauge;

static uint64_t model_active(const hth_router_model *m) { return m->active; }
static uint64_t model_waiting(const hth_router_model *m) { return m->waiting; }
static uint64_t model_slots(const hth_router_model *m) { return m->info != NULL ? m->info->n_slots : 0; }
static uint64_t model_planned(const hth_router_model *m) { return m->planned_bytes; }
static uint64_t model_resident(const hth_router_model *m) { return m->runner != NULL ? hth_runner_memory_bytes(m->runner) : 0; }

static void write_gauge(void *ctx, const hth_router_model *model)
{
	gauge *g = ctx;
	hth_buf_appendf(g->out, "%s{model=", g->name);
	write_label(g->out, model->name);
	hth_buf_appendf(g->out, ",state=\"%s\"} %llu\n", hth_router_state_name(model->state), (unsigned long long)g->value(model));
}

void hth_metrics_write(hth_node *node, hth_buf *out)
{
	const hth_metrics *m = &node->metrics;
	hth_buf_append_str(out, "# HELP hearth_build_info What runs.\n# TYPE hearth_build_info gauge\n"
	                        "hearth_build_info{version=\"" HEARTH_VERSION "\"} 1\n");
	hth_buf_appendf(out,
	                "# HELP hearth_requests_total Requests that have ended, by how.\n# TYPE hearth_requests_total counter\n"
	                "hearth_requests_total{outcome=\"done\"} %llu\nhearth_requests_total{outcome=\"failed\"} %llu\n"
	                "hearth_requests_total{outcome=\"cancelled\"} %llu\nhearth_requests_total{outcome=\"refused\"} %llu\n",
	                (unsigned long long)m->done, (unsigned long long)m->failed, (unsigned long long)m->cancelled,
	                (unsigned long long)m->refused);
	hth_buf_appendf(out,
	                "# HELP hearth_tokens_total Tokens, by kind; cached ones are a part of the prompt's.\n# TYPE hearth_tokens_total "
	                "counter\nhearth_tokens_total{kind=\"prompt\"} %llu\nhearth_tokens_total{kind=\"cached\"} "
	                "%llu\nhearth_tokens_total{kind=\"answer\"} %llu\n",
	                (unsigned long long)m->prompt_tokens, (unsigned long long)m->cached_tokens, (unsigned long long)m->answer_tokens);
	write_one(out, "hearth_requests_active", "gauge", "Requests that wait or run.", m->active);
	write_one(out, "hearth_denied_total", "counter", "Calls turned away for their host, origin or key.", m->denied);
	write_one(out, "hearth_connections", "gauge", "Open HTTP connections.", hth_http_connections(node->http));
	write_one(out, "hearth_memory_budget_bytes", "gauge", "What all models together may use.", hth_router_budget(node->router));
	write_histogram(out, "hearth_first_result_seconds", "From admitting a request to its first result.", &m->first_result);
	write_histogram(out, "hearth_request_seconds", "From admitting a request to its end.", &m->duration);
	static const struct {
		const char *name, *help;
		uint64_t (*value)(const hth_router_model *model);
	} gauges[] = {{"hearth_model_requests_active", "Requests that a model has.", model_active},
	              {"hearth_model_requests_waiting", "Requests that wait for a model to load.", model_waiting},
	              {"hearth_model_slots", "Requests that a model computes at once.", model_slots},
	              {"hearth_model_planned_bytes", "Memory that a model was given.", model_planned},
	              {"hearth_model_resident_bytes", "Memory that a model's process has resident.", model_resident}};
	for (size_t i = 0; i < HTH_COUNT(gauges); i++) {
		gauge g = {out, gauges[i].name, gauges[i].value};
		hth_buf_appendf(out, "# HELP %s %s\n# TYPE %s gauge\n", gauges[i].name, gauges[i].help, gauges[i].name);
		hth_router_each(node->router, write_gauge, &g);
	}
	hth_neighbours_write_metrics(node, out);
	write_one(out, "process_resident_memory_bytes", "gauge", "Resident memory of the daemon, without its runners.", resident_bytes());
	write_one(out, "process_open_fds", "gauge", "Open descriptors of the daemon.", open_descriptors());
	write_one(out, "process_start_time_seconds", "gauge", "When the node was started.", (uint64_t)node->started_unix);
}

/* --- GET /hearth/status --- */

typedef struct sums {
	hth_buf *out; /* NULL: only sums */
	uint64_t used, waiting;
	size_t n;
} sums;

static void write_or_null(hth_buf *out, const char *key, int64_t value)
{
	if (value < 0)
		hth_buf_appendf(out, ",\"%s\":null", key);
	else
		hth_buf_appendf(out, ",\"%s\":%lld", key, (long long)value);
}

static void write_runner(void *ctx, const hth_router_model *m)
{
	sums *s = ctx;
	s->used += m->planned_bytes;
	s->waiting += m->waiting;
	if (s->out == NULL)
		return;
	hth_buf *out = s->out;
	static const hth_runner_info none = {.architecture = ""};
	const hth_runner_info *info = m->info != NULL ? m->info : &none;
	hth_buf_append_str(out, s->n++ > 0 ? ",{\"model\":" : "{\"model\":");
	hth_json_write_string(m->name, strlen(m->name), out);
	hth_buf_appendf(out,
	                ",\"state\":\"%s\",\"pid\":%ld,\"active\":%zu,\"waiting\":%zu,\"slots\":%u,\"context\":%u,"
	                "\"memory_bytes\":%llu,\"planned_bytes\":%llu,\"progress\":%.3f,\"architecture\":",
	                hth_router_state_name(m->state), m->runner != NULL ? (long)hth_runner_pid(m->runner) : 0L, m->active, m->waiting,
	                info->n_slots, info->n_ctx, (unsigned long long)model_resident(m), (unsigned long long)m->planned_bytes,
	                (double)m->progress);
	hth_json_write_string(info->architecture, strlen(info->architecture), out);
	hth_buf_append_str(out, ",\"type\":");
	hth_json_write_string(info->type, strlen(info->type), out);
	hth_buf_appendf(out, ",\"parameters\":%llu,\"loaded_unix\":%lld", (unsigned long long)info->n_params, (long long)m->loaded_unix);
	write_or_null(out, "idle_s", m->idle_s);
	write_or_null(out, "unload_in_s", m->unload_in_s);
	write_or_null(out, "eta_s", m->eta_s);
	hth_buf_appendf(out, ",\"landlock_abi\":%d,\"kernels\":", info->landlock_abi);
	hth_json_write_string(info->kernels, strlen(info->kernels), out);
	hth_buf_append_char(out, '}');
}

static void write_upstream(void *ctx, const hth_upstream_state *u)
{
	sums *s = ctx;
	const struct {
		const char *key, *text;
	} texts[] = {{"name", u->name}, {"url", u->url}, {"privacy", hth_privacy_name(u->privacy)}, {"error", u->error}};
	hth_buf_append_char(s->out, s->n++ > 0 ? ',' : ' ');
	for (size_t i = 0; i < HTH_COUNT(texts); i++) {
		hth_buf_appendf(s->out, "%c\"%s\":", i == 0 ? '{' : ',', texts[i].key);
		hth_json_write_string(texts[i].text, strlen(texts[i].text), s->out);
	}
	hth_buf_appendf(s->out, ",\"state\":\"%s\",\"since_unix\":%lld,\"models\":%zu,\"active\":%zu}",
	                !u->checked ? "unknown" : u->answers ? "answers" : "silent", (long long)u->since_unix, u->models, u->active);
}

/* Newest first. */
static void write_routes(const hth_node *node, hth_buf *out)
{
	for (size_t i = 0; i < HTH_MIN(node->n_routed, (size_t)HTH_ROUTED_KEPT); i++) {
		const hth_routed *r = &node->routed[(node->n_routed - 1 - i) % HTH_ROUTED_KEPT];
		const struct {
			const char *key, *text;
		} texts[] = {{"id", r->id}, {"model", r->model}, {"by", r->served_by}, {"why", r->reason}};
		hth_buf_appendf(out, "%s{\"at_unix\":%lld", i > 0 ? "," : "", (long long)r->at_unix);
		for (size_t k = 0; k < HTH_COUNT(texts); k++) {
			hth_buf_appendf(out, ",\"%s\":", texts[k].key);
			hth_json_write_string(texts[k].text, strlen(texts[k].text), out);
		}
		hth_buf_append_char(out, '}');
	}
}

void hth_status_write(hth_node *node, hth_buf *out)
{
	const hth_metrics *m = &node->metrics;
	sums s = {0};
	hth_router_each(node->router, write_runner, &s);
	hth_buf_appendf(out, "{\"version\":\"" HEARTH_VERSION
	                "\",\"pid\":%ld,\"address\":\"%s\",\"started_unix\":%lld,\"uptime_s\":%llu,\"home\":", (long)getpid(),
	                node->address, (long long)node->started_unix, (unsigned long long)((hth_clock_ms() - node->started_ms) / 1000));
	hth_json_write_string(node->config->home, strlen(node->config->home), out);
	hth_buf_append_str(out, ",\"default_model\":");
	const char *name = hth_router_default_model(node->router);
	hth_json_write_string(name, strlen(name), out);
	hth_buf_appendf(out,
	                ",\"stopping\":%s,\"resident_bytes\":%llu,\"memory\":{\"budget_bytes\":%llu,\"used_bytes\":%llu},"
	                "\"requests\":{\"active\":%llu,\"waiting\":%llu,\"done\":%llu,\"failed\":%llu,\"cancelled\":%llu,\"refused\":%llu},"
	                "\"tokens\":{\"prompt\":%llu,\"cached\":%llu,\"answer\":%llu},\"connections\":%zu,\"runners\":[",
	                node->stopping ? "true" : "false", (unsigned long long)resident_bytes(),
	                (unsigned long long)hth_router_budget(node->router), (unsigned long long)s.used, (unsigned long long)m->active,
	                (unsigned long long)s.waiting, (unsigned long long)m->done, (unsigned long long)m->failed,
	                (unsigned long long)m->cancelled, (unsigned long long)m->refused, (unsigned long long)m->prompt_tokens,
	                (unsigned long long)m->cached_tokens, (unsigned long long)m->answer_tokens, hth_http_connections(node->http));
	s = (sums){.out = out};
	hth_router_each(node->router, write_runner, &s);
	hth_buf_append_str(out, "],\"upstreams\":[");
	s = (sums){.out = out};
	hth_upstreams_states(node->upstreams, write_upstream, &s);
	hth_buf_append_str(out, "],\"routes\":[");
	write_routes(node, out);
	hth_buf_append_str(out, "],\"neighbours\":");
	hth_neighbours_write_status(node, out);
	hth_buf_append_char(out, '}');
}
