/* openai-models.c - GET /v1/models and GET /v1/models/NAME. Format: OpenAI's API reference, "Models", with the members that
 * Anthropic's "Models" has at the same address. Thread: the loop's. */
#include "api/wire.h"
#include "api/families.h"

typedef struct listing {
	hth_buf out;
	const char *wanted; /* NULL: all */
	size_t n;
} listing;

static void write_model(void *ctx, const hth_api_model *model)
{
	listing *l = ctx;
	if (l->wanted != NULL && strcmp(l->wanted, model->name) != 0)
		return;
	hth_buf_append_str(&l->out, l->n++ > 0 ? ",{\"id\":" : "{\"id\":");
	hth_wire_string(&l->out, model->name);
	hth_buf_appendf(&l->out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":", (long long)model->modified_unix);
	hth_wire_string(&l->out, model->owner != NULL ? model->owner : "hearth");
	if (model->owner != NULL)
		hth_buf_appendf(&l->out, ",\"privacy\":\"%s\"", model->privacy);
	hth_buf_append_str(&l->out, ",\"type\":\"model\",\"display_name\":");
	hth_wire_string(&l->out, model->name);
	hth_buf_append_str(&l->out, ",\"created_at\":");
	hth_wire_time(&l->out, model->modified_unix);
	hth_buf_append_char(&l->out, '}');
}

static hth_status answer(hth_api_job *job, listing *l, hth_error *err)
{
	if (l->wanted == NULL)
		hth_buf_append_str(&l->out, "{\"object\":\"list\",\"data\":[");
	HTH_TRY(job->host->each_model(job->host->ctx, write_model, l, err));
	if (l->wanted == NULL)
		hth_buf_append_str(&l->out, "],\"has_more\":false}");
	else if (l->n == 0)
		return hth_fail_param(err, HTH_NOT_FOUND, "model", "there is no model %.100s here; GET /v1/models lists them", l->wanted);
	hth_api_reply(job, "application/json", &l->out);
	return HTH_OK;
}

static hth_status list_models(hth_api_job *job, const json_t *body, hth_error *err)
{
	(void)body;
	listing l = {.out = HTH_BUF_INIT(4 << 20)};
	hth_status status = answer(job, &l, err);
	hth_buf_finish(&l.out);
	return status;
}

static hth_status show_model(hth_api_job *job, const json_t *body, hth_error *err)
{
	(void)body;
	listing l = {.out = HTH_BUF_INIT(4 << 20), .wanted = job->path_rest};
	hth_status status = answer(job, &l, err);
	hth_buf_finish(&l.out);
	return status;
}

static const hth_api_endpoint endpoints[] = {
    {.method = "GET", .path = "/v1/models", .parse = list_models},
    {.method = "GET", .path = "/v1/models/*", .parse = show_model},
};
const hth_api_family hth_api_openai_models = {endpoints, HTH_COUNT(endpoints)};
