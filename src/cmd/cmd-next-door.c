/* cmd-next-door.c - see cmd-next-door.h. The node's side is node/next-door-calls.c. Where no node runs, nobody is asked. */
#include "cmd/cmd-next-door.h"

enum { FIND_MS = 15000 };

static hth_status nobody(hth_error *err) { return hth_fail(err, HTH_NOT_FOUND, "no node runs here that could ask neighbours"); }

static hth_status find(void *ctx, const char *reference, const char *name, bool (*cancelled)(void *ctx), void *cancel_ctx,
                       json_t **ret_offers, hth_error *err)
{
	hth_cmd_next_door *d = ctx;
	hth_client *client;
	(void)cancelled, (void)cancel_ctx; /* the client looks at the same flag */
	if (d->offers != NULL && strcmp(d->reference, reference) == 0) {
		*ret_offers = json_incref(d->offers);
		return HTH_OK;
	}
	HTH_AUTO_JSON json_t *body = json_pack("{s:s, s:s}", "reference", reference, "name", name), *answer = NULL;
	if (body == NULL)
		return nobody(err); /* no UTF-8: no neighbour has it either */
	HTH_TRY(hth_cmd_client(d->in, d->cancel, &client, err));
	hth_status status = hth_client_json(client, "POST", "/hearth/next-door/find", body, FIND_MS, &answer, err);
	hth_client_destroy(client);
	if (status == HTH_CANCELLED)
		return status;
	json_t *offers = json_object_get(answer, "offers");
	if (status != HTH_OK || !json_is_array(offers))
		return nobody(err);
	snprintf(d->reference, sizeof d->reference, "%s", reference);
	json_decref(d->offers);
	d->offers = json_incref(offers);
	*ret_offers = json_incref(offers);
	return HTH_OK;
}

typedef struct reader {
	void (*tell)(void *ctx, uint64_t bytes, const char *from);
	bool (*cancelled)(void *ctx);
	void *ctx;
	bool over, whole;
	uint64_t prefix;
	char error[256];
} reader;

static bool on_line(void *ctx, const char *line, size_t len)
{
	reader *r = ctx;
	HTH_AUTO_JSON json_t *json = NULL;
	if (hth_json_parse(&json, line, len, NULL) != HTH_OK)
		return true;
	const char *from = json_string_value(json_object_get(json, "from")), *error = json_string_value(json_object_get(json, "error"));
	int64_t bytes = json_integer_value(json_object_get(json, "bytes")), prefix = json_integer_value(json_object_get(json, "prefix"));
	if (bytes > 0)
		r->tell(r->ctx, (uint64_t)bytes, from != NULL ? from : "");
	if (json_is_true(json_object_get(json, "over"))) {
		r->over = true;
		r->whole = json_is_true(json_object_get(json, "whole"));
		r->prefix = prefix > 0 ? (uint64_t)prefix : 0;
		snprintf(r->error, sizeof r->error, "%s", error != NULL ? error : "");
	}
	return !r->cancelled(r->ctx);
}

static hth_status fetch(void *ctx, const char *file, uint64_t bytes, const char *sha256,
                        void (*tell)(void *ctx, uint64_t bytes, const char *from), bool (*cancelled)(void *ctx), void *tell_ctx,
                        uint64_t *ret_prefix, hth_error *err)
{
	hth_cmd_next_door *d = ctx;
	hth_client *client;
	reader r = {.tell = tell, .cancelled = cancelled, .ctx = tell_ctx};
	HTH_AUTO_JSON json_t *body = json_pack("{s:s, s:s, s:I, s:s}", "home", d->in->config.home, "file", file, "bytes", (json_int_t)bytes,
	                                       "sha256", sha256);
	if (body == NULL)
		return nobody(err);
	HTH_TRY(hth_cmd_client(d->in, d->cancel, &client, err));
	hth_status status = hth_client_stream(client, "POST", "/hearth/next-door/fetch", body, on_line, &r, err);
	hth_client_destroy(client);
	if (status == HTH_CANCELLED)
		return status;
	*ret_prefix = r.prefix;
	if (status == HTH_OK && r.whole)
		return HTH_OK;
	if (status == HTH_OK && r.error[0] != '\0')
		return hth_fail(err, HTH_IO, "%s", r.error);
	return nobody(err);
}

void hth_cmd_next_door_init(hth_cmd_next_door *d, const hth_invocation *in, const volatile sig_atomic_t *cancel)
{
	*d = (hth_cmd_next_door){.in = in, .cancel = cancel, .neighbours = {d, find, fetch}};
}

void hth_cmd_next_door_finish(hth_cmd_next_door *d) { json_decref(d->offers); }
