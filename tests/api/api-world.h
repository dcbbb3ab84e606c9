/* api-world.h - a call, its requests' results given by hand, and everything that went out of it; for tests of the wire formats without a
 * server. */
#ifndef HTH_TESTS_API_WORLD_H
#define HTH_TESTS_API_WORLD_H

#include "api/api.h"
#include "api/response-store.h"
#include "harness.h"

/* One call, and everything that went out of it. */
static struct {
	hth_api_job *job;
	hth_error err;
	hth_buf out, headers;
	int status;
	bool begun, finished;
} t;

static inline void out_header(void *ctx, const char *name, const char *value) { hth_buf_appendf(&t.headers, "%s: %s\n", name, value); }
static inline void out_reply(void *ctx, int status, const char *type, const void *body, size_t len)
{
	CHECK(!t.finished && !t.begun);
	t.status = status;
	t.finished = true;
	hth_buf_append(&t.out, body, len);
}
static inline void out_begin(void *ctx, int status, const char *type)
{
	CHECK(!t.begun && !t.finished);
	t.begun = true;
	t.status = status;
}
static inline void out_send(void *ctx, const void *data, size_t len)
{
	CHECK(t.begun && !t.finished);
	hth_buf_append(&t.out, data, len);
}
static inline void out_finish(void *ctx)
{
	CHECK(t.begun && !t.finished);
	t.finished = true;
}
static inline hth_status each_model(void *ctx, hth_api_model_fn fn, void *fn_ctx, hth_error *err)
{
	fn(fn_ctx, &(hth_api_model){.name = "a\"b", .modified_unix = 7});
	return HTH_OK;
}

static hth_response_store *store;

static inline hth_status call(const char *method, const char *path, const char *body)
{
	static hth_api_host host = {.default_model = "starter", .each_model = each_model};
	host.responses = store;
	static const hth_api_out out = {NULL, out_header, out_reply, out_begin, out_send, out_finish};
	const char *allow = NULL;
	hth_api_job_destroy(t.job);
	hth_buf_finish(&t.out);
	hth_buf_finish(&t.headers);
	memset(&t, 0, sizeof t);
	t.out = t.headers = HTH_BUF_INIT(1 << 24);
	const hth_api_endpoint *endpoint = hth_api_find(method, path, &allow);
	if (endpoint == NULL)
		return HTH_NOT_FOUND;
	return hth_api_parse(&t.job, endpoint, &host, &out, path, body, strlen(body), &t.err);
}
static inline void over(void)
{
	hth_api_job_destroy(t.job);
	hth_buf_finish(&t.out);
	hth_buf_finish(&t.headers);
	memset(&t, 0, sizeof t);
}
static inline hth_request *request(size_t i) { return t.job->requests[i]; }
static inline bool sent(const char *text) { return t.out.data != NULL && strstr(t.out.data, text) != NULL; }
static inline hth_answer_piece words(const char *s) { return (hth_answer_piece){.text = s, .len = strlen(s), .n_tokens = 1}; }

static inline void say(const char *s)
{
	hth_answer_piece piece = words(s);
	hth_api_piece(t.job, 0, &piece);
}
/* Request 0 is served by a model with this chat template, and begins to answer. */
static inline void placed(const char *chat_template)
{
	static hth_runner_info info;
	snprintf(info.chat_template, sizeof info.chat_template, "%s", chat_template);
	hth_error err;
	CHECK_OK(hth_api_placed(t.job, 0, &info, &err));
	hth_api_started(t.job, 0);
}
static inline void done(hth_finish_reason reason)
{
	request(0)->finish_reason = reason;
	hth_api_done(t.job, 0);
	CHECK(t.finished);
}
/* The texts come out in this order; ends with NULL. */
static inline void check_order(const char *const *texts)
{
	const char *at = t.out.data != NULL ? t.out.data : "";
	for (; *texts != NULL; texts++) {
		const char *found = strstr(at, *texts);
		if (found == NULL) {
			test_fail(__FILE__, __LINE__, "%s is missing or out of order in %s", *texts, t.out.data);
			return;
		}
		at = found + strlen(*texts);
	}
}
#define ORDER(...) check_order((const char *const[]){__VA_ARGS__, NULL})

#endif
