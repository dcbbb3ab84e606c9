/* street-api.c - the neighbourhood in the node: what `hearth pool` asks, and who hears of members and letters.
 *
 *   GET /hearth/pool            {"name":null|"Elm Street","members":[{"id","name","self","online","trusted","models":[..],"keeper",
 *                                "rtt_ms","not_believed":null|why}],"connected","hub","hubs":[{"address","self","connected"}],
 *                                "trouble","invitations","proposals":[{"hash","what"}]}
 *   POST /hearth/pool           {"do":"create","name":"Elm Street","listen":"HOST:PORT"} or with "hub":"HOST:PORT","fingerprint":HEX for a
 *                               nats-server of the owner's own; {"do":"hub","listen":..}; {"do":"invite","expires_s":n} ->
 *                               {"line","expires_unix"}; {"do":"join","line":..}, which answers when this home is in or is not;
 *                               {"do":"leave"}; {"do":"revoke"}; {"do":"trust"|"distrust"|"remove"|"keeper"|"unkeeper","member":NAME};
 *                               {"do":"approve","change":HASH}
 *
 * Needs the scope admin. An invitation's line is a secret: it is in no log. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/socket.h>

/* A home that waits to be let in. */
typedef struct join_call {
	hth_holder holder; /* first: it is the exchange's user */
	hth_node *node;
	hth_exchange *exchange; /* NULL: the client has left */
} join_call;

/* ---- who hears of it ---- */

static void on_members(void *ctx, const hth_charter *charter)
{
	hth_node *node = ctx;
	const hth_street_events *all[] = {&node->lending_events, &node->sharing_events};
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		if (all[i]->members != NULL)
			all[i]->members(all[i]->ctx, charter);
}

static void on_trusted(void *ctx, const hth_home_id *id, bool trusted)
{
	hth_node *node = ctx;
	const hth_street_events *all[] = {&node->lending_events, &node->sharing_events};
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		if (all[i]->trusted != NULL)
			all[i]->trusted(all[i]->ctx, id, trusted);
}

static void on_letter(void *ctx, hth_letter_kind kind, const hth_home_id *from, const void *bytes, size_t len)
{
	hth_node *node = ctx;
	const hth_street_events *to = kind == HTH_LETTER_POOL ? &node->lending_events : &node->sharing_events;
	if (to->letter != NULL)
		to->letter(to->ctx, kind, from, bytes, len);
}

static void on_connected(void *ctx, bool connected)
{
	hth_node *node = ctx;
	const hth_street_events *all[] = {&node->lending_events, &node->sharing_events};
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		if (all[i]->connected != NULL)
			all[i]->connected(all[i]->ctx, connected);
}

static void on_online(void *ctx, const hth_home_id *id, bool online)
{
	hth_node *node = ctx;
	const hth_street_events *all[] = {&node->lending_events, &node->sharing_events};
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		if (all[i]->online != NULL)
			all[i]->online(all[i]->ctx, id, online);
}

hth_status hth_street_api_start(hth_node *node, hth_error *err)
{
	const hth_street_events events = {node, on_members, on_trusted, on_letter, on_connected, on_online};
	char name[256] = "";
	snprintf(name, sizeof name, "%s", node->config->home_name);
	if (*name == '\0' && gethostname(name, sizeof name - 1) != 0)
		strcpy(name, "home");
	const hth_street_options options = {.loop = node->loop, .home = node->config->home, .home_name = name,
	                                    .program = node->callbacks->program};
	return hth_street_create(&node->street, &options, &events, err);
}

void hth_street_api_stop(hth_node *node)
{
	hth_street_destroy(node->street);
	node->street = NULL;
}

/* ---- what is asked ---- */

static void reply_json(hth_exchange *exchange, json_t *json)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(8 << 20);
	hth_error err;
	hth_json_write(json, &body);
	json_decref(json);
	if (hth_buf_check(&body, "the answer", &err) == HTH_OK)
		hth_exchange_reply(exchange, 200, "application/json; charset=utf-8", body.data, body.len);
	else
		hth_pages_error(exchange, NULL, &err);
}

typedef struct listing {
	hth_node *node;
	json_t *members;
} listing;

static void list_member(void *ctx, const hth_street_member *m)
{
	listing *l = ctx;
	char id[HTH_HOME_ID_TEXT];
	hth_home_id_text(&m->member->card.id, id);
	json_t *models = l->node->member_models != NULL ? l->node->member_models(l->node, m->self ? NULL : &m->member->card.id)
	                                                : json_array();
	const char *why = m->self ? NULL : hth_neighbours_not_believed(l->node, &m->member->card.id);
	json_array_append_new(l->members, json_pack("{s:s,s:s,s:b,s:b,s:b,s:o,s:b,s:o,s:s?}", "id", id, "name", m->member->name, "self",
	                                            m->self, "online", m->online,
	                                            "trusted", m->trusted, "models", models != NULL ? models : json_array(), "keeper",
	                                            m->member->role == HTH_ROLE_KEEPER, "rtt_ms",
	                                            m->rtt_s > 0 ? json_real(m->rtt_s * 1000) : json_null(),
	                                            "not_believed", why));
}

static json_t *status_json(hth_node *node)
{
	hth_street_state state;
	const hth_charter *charter = hth_street_charter(node->street);
	listing l = {node, json_array()};
	json_t *proposals = json_array(), *hubs = json_array();
	hth_street_each(node->street, list_member, &l);
	hth_street_describe(node->street, &state);
	for (size_t i = 0; i < state.n_proposals; i++)
		json_array_append_new(proposals, json_pack("{s:s,s:s}", "hash", state.proposals[i].hash, "what", state.proposals[i].what));
	for (size_t i = 0; i < state.n_hubs; i++)
		json_array_append_new(hubs, json_pack("{s:s,s:b,s:b}", "address", state.hubs[i].address, "self", state.hubs[i].self,
		                                      "connected", state.hubs[i].connected));
	return json_pack("{s:o,s:o,s:b,s:s,s:b,s:o,s:s,s:I,s:o,s:I,s:I}", "name",
	                 charter != NULL ? json_string(hth_charter_name(charter)) : json_null(), "members", l.members, "connected",
	                 state.connected, "hub", state.hub, "hub_running", state.hub_running, "hubs", hubs, "trouble", state.trouble,
	                 "invitations", (json_int_t)state.invitations, "proposals", proposals, "rejected", (json_int_t)state.rejected,
	                 "version",
	                 (json_int_t)(charter != NULL ? hth_charter_version(charter) : 0));
}

void hth_street_api_status(hth_node *node, hth_exchange *exchange) { reply_json(exchange, status_json(node)); }

/* This machine's address on the way to the world; nothing is sent. */
static bool own_address(char out[INET_ADDRSTRLEN])
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)}, from;
	socklen_t len = sizeof from;
	inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
	HTH_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && getsockname(fd, (struct sockaddr *)&from, &len) == 0 &&
	       inet_ntop(AF_INET, &from.sin_addr, out, INET_ADDRSTRLEN) != NULL;
}

/* "hub" and "fingerprint", or "listen"; without either this machine's address and NATS's port, if `must`. */
static hth_status read_hub(const json_t *json, bool must, char address[HTH_LINK_ADDRESS_MAX], hth_street_hub_choice *ret_hub,
                           hth_error *err)
{
	const char *listen = NULL, *hub = NULL, *fingerprint = NULL;
	char own[INET_ADDRSTRLEN];
	size_t n = 0;
	HTH_TRY(hth_json_get_string(json, "listen", &listen, err));
	HTH_TRY(hth_json_get_string(json, "hub", &hub, err));
	HTH_TRY(hth_json_get_string(json, "fingerprint", &fingerprint, err));
	if (fingerprint != NULL && sodium_hex2bin(ret_hub->fingerprint, HTH_FINGERPRINT_BYTES, fingerprint, strlen(fingerprint), ": ", &n,
	                                          NULL) != 0)
		n = 0;
	if (listen != NULL && hub != NULL)
		return hth_fail_param(err, HTH_INVALID, "hub",
		                      "either listen (a hub of this home's) or hub (one that you run) can be given");
	if (hub != NULL && (fingerprint == NULL || n != HTH_FINGERPRINT_BYTES))
		return hth_fail_param(err, HTH_INVALID, "fingerprint",
		                      "the hub's certificate must be given by its SHA-256 in hexadecimal: openssl x509 -noout -fingerprint "
		                      "-sha256 -in CERTIFICATE");
	ret_hub->external = hub != NULL;
	if (listen == NULL && hub == NULL && must) {
		if (!own_address(own))
			return hth_fail_param(err, HTH_INVALID, "listen",
			                      "this machine has no address on a network; say where neighbours reach its hub: --listen "
			                      "HOST:PORT");
		snprintf(address, HTH_LINK_ADDRESS_MAX, "%s:4222", own);
		listen = address;
	}
	const char *chosen = hub != NULL ? hub : listen;
	if (chosen != NULL && strlen(chosen) >= HTH_LINK_ADDRESS_MAX)
		return hth_fail_param(err, HTH_INVALID, "listen", "the address is too long");
	ret_hub->address = chosen;
	return HTH_OK;
}

static hth_status do_create(hth_node *node, const json_t *json, json_t **ret, hth_error *err)
{
	const char *name = NULL, *snippet = NULL;
	char address[HTH_LINK_ADDRESS_MAX];
	hth_street_hub_choice hub = {0};
	HTH_TRY(hth_json_get_string(json, "name", &name, err));
	if (name == NULL)
		return hth_fail_param(err, HTH_INVALID, "name", "name is missing");
	HTH_TRY(read_hub(json, true, address, &hub, err));
	HTH_TRY(hth_street_found(node->street, name, &hub, &snippet, err));
	*ret = json_pack("{s:s,s:s,s:o}", "name", name, "hub", hub.address, "include",
	                 snippet != NULL ? json_string(snippet) : json_null());
	return HTH_OK;
}

static hth_status do_hub(hth_node *node, const json_t *json, json_t **ret, hth_error *err)
{
	const char *snippet = NULL;
	char address[HTH_LINK_ADDRESS_MAX];
	bool off = false;
	hth_street_hub_choice hub = {0};
	HTH_TRY(hth_json_get_bool(json, "off", &off, err));
	HTH_TRY(read_hub(json, !off, address, &hub, err));
	HTH_TRY(hth_street_host(node->street, &hub, &snippet, err));
	*ret = json_pack("{s:o,s:o}", "hub", hub.address != NULL ? json_string(hub.address) : json_null(), "include",
	                 snippet != NULL ? json_string(snippet) : json_null());
	return HTH_OK;
}

static hth_status do_invite(hth_node *node, const json_t *json, json_t **ret, hth_error *err)
{
	int64_t expires_s = 0;
	uint64_t expires_ms = 0;
	char line[HTH_INVITATION_LINE_MAX];
	HTH_TRY(hth_json_get_int(json, "expires_s", 1, HTH_STREET_EXPIRES_MAX_S, &expires_s, err));
	HTH_TRY(hth_street_invite(node->street, (uint32_t)expires_s, line, &expires_ms, err));
	*ret = json_pack("{s:s,s:I}", "line", line, "expires_unix", (json_int_t)(expires_ms / 1000));
	sodium_memzero(line, sizeof line);
	return HTH_OK;
}

/* The owner's word for a home also ends what checks held against it. */
static hth_status trust(hth_node *node, const char *member, bool trusted, hth_error *err)
{
	hth_home_id id;
	HTH_TRY(hth_street_trust(node->street, member, trusted, err));
	HTH_TRY(hth_street_find(node->street, member, &id, err));
	if (trusted)
		hth_neighbours_forgive(node, &id);
	return HTH_OK;
}

static hth_status do_member(hth_node *node, const json_t *json, const char *what, json_t **ret, hth_error *err)
{
	const char *member = NULL;
	bool done = true;
	HTH_TRY(hth_json_get_string(json, "member", &member, err));
	if (member == NULL)
		return hth_fail_param(err, HTH_INVALID, "member", "member is missing: a name, or the beginning of an id");
	if (strcmp(what, "trust") == 0 || strcmp(what, "distrust") == 0)
		HTH_TRY(trust(node, member, what[0] == 't', err));
	else if (strcmp(what, "remove") == 0)
		HTH_TRY(hth_street_remove(node->street, member, &done, err));
	else
		HTH_TRY(hth_street_appoint(node->street, member, what[0] == 'k', &done, err));
	*ret = json_pack("{s:b}", "done", done);
	return HTH_OK;
}

static hth_status do_approve(hth_node *node, const json_t *json, json_t **ret, hth_error *err)
{
	const char *change = NULL;
	bool done = false;
	HTH_TRY(hth_json_get_string(json, "change", &change, err));
	HTH_TRY(hth_street_approve(node->street, change, &done, err));
	*ret = json_pack("{s:b}", "done", done);
	return HTH_OK;
}

static void on_join_gone(hth_holder *holder)
{
	join_call *c = (join_call *)holder;
	hth_street_join_forget(c->node->street, c);
	free(c);
}

static void on_joined(void *ctx, const hth_error *why_not)
{
	join_call *c = ctx;
	hth_exchange_set_user(c->exchange, NULL);
	if (why_not != NULL)
		hth_pages_error(c->exchange, NULL, why_not);
	else
		reply_json(c->exchange, status_json(c->node));
	free(c);
}

static hth_status do_join(hth_node *node, hth_exchange *exchange, const json_t *json, hth_error *err)
{
	const char *line = NULL;
	HTH_TRY(hth_json_get_string(json, "line", &line, err));
	if (line == NULL)
		return hth_fail_param(err, HTH_INVALID, "line", "line is missing: the invitation");
	join_call *c = calloc(1, sizeof *c);
	if (c == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	*c = (join_call){{on_join_gone}, node, exchange};
	hth_status status = hth_street_join(node->street, line, on_joined, c, err);
	if (status != HTH_OK) {
		free(c);
		return status;
	}
	hth_exchange_set_user(exchange, &c->holder);
	return HTH_OK;
}

static hth_status serve(hth_node *node, hth_exchange *exchange, json_t **ret, hth_error *err)
{
	size_t len;
	const char *body = hth_exchange_body(exchange, &len), *what = NULL;
	HTH_AUTO_JSON json_t *json = NULL;
	HTH_TRY(hth_json_parse(&json, body, len, err));
	if (!json_is_object(json))
		return hth_fail(err, HTH_INVALID, "the body must be a JSON object");
	HTH_TRY(hth_json_get_string(json, "do", &what, err));
	if (what == NULL)
		what = "";
	if (strcmp(what, "create") == 0)
		return do_create(node, json, ret, err);
	if (strcmp(what, "hub") == 0)
		return do_hub(node, json, ret, err);
	if (strcmp(what, "invite") == 0)
		return do_invite(node, json, ret, err);
	if (strcmp(what, "join") == 0)
		return do_join(node, exchange, json, err);
	if (strcmp(what, "approve") == 0)
		return do_approve(node, json, ret, err);
	if (strcmp(what, "revoke") == 0) {
		HTH_TRY(hth_street_revoke(node->street, err));
		*ret = json_pack("{s:b}", "done", true);
		return HTH_OK;
	}
	if (strcmp(what, "leave") == 0) {
		bool told = false;
		HTH_TRY(hth_street_leave(node->street, &told, err));
		*ret = json_pack("{s:b}", "told", told);
		return HTH_OK;
	}
	static const char *const of_members[] = {"trust", "distrust", "remove", "keeper", "unkeeper"};
	for (size_t i = 0; i < HTH_COUNT(of_members); i++)
		if (strcmp(what, of_members[i]) == 0)
			return do_member(node, json, what, ret, err);
	return hth_fail_param(err, HTH_INVALID, "do",
	                      "do must be create, hub, invite, revoke, join, leave, trust, distrust, remove, keeper, unkeeper or approve");
}

void hth_street_api_change(hth_node *node, hth_exchange *exchange)
{
	hth_error err;
	json_t *answer = NULL;
	hth_status status = serve(node, exchange, &answer, &err);
	hth_exchange_drop_body(exchange); /* it may hold an invitation */
	if (status != HTH_OK)
		hth_pages_error(exchange, NULL, &err);
	else if (answer != NULL)
		reply_json(exchange, answer);
}
