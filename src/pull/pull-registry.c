/* pull-registry.c - a model in an Ollama-style registry: a manifest (OCI distribution) whose layers are blobs by SHA-256.
 *
 * One layer is the model (GGUF); small ones are its template, system message, parameters and license, which are kept in
 * NAME.json. A registry that wants a token says where (WWW-Authenticate: Bearer realm, service, scope); it is asked for there once,
 * never over http where the registry itself is https. Thread: the pull's.
 */
#include "pull/pull-answers.h"
#include "pull/pull-internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <strings.h>

static const char manifest_types[] =
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";

/* The value of key="..." in a challenge. */
static bool parameter(const char *challenge, const char *key, char *out, size_t out_len)
{
	size_t n = strlen(key);
	for (const char *p = challenge; (p = strcasestr(p, key)) != NULL; p += n) {
		if (p != challenge && strchr(" ,\t", p[-1]) == NULL)
			continue;
		if (p[n] != '=' || p[n + 1] != '"')
			continue;
		const char *v = p + n + 2, *end = strchr(v, '"');
		if (end == NULL || (size_t)(end - v) >= out_len)
			return false;
		memcpy(out, v, (size_t)(end - v));
		out[end - v] = '\0';
		return true;
	}
	return false;
}

static hth_status login(hth_pull_job *job, const hth_transfer_head *head, hth_error *err)
{
	char realm[512], service[256] = "", scope[512] = "", url[2600];
	if (strncasecmp(head->challenge, "Bearer ", 7) != 0 || !parameter(head->challenge + 7, "realm", realm, sizeof realm))
		return hth_fail(err, HTH_DENIED, "the registry %s asks for a login of a kind that Hearth does not know", head->host);
	parameter(head->challenge + 7, "service", service, sizeof service);
	parameter(head->challenge + 7, "scope", scope, sizeof scope);
	if (strncmp(job->ref.base, "https://", 8) == 0 && strncasecmp(realm, "https://", 8) != 0)
		return hth_fail(err, HTH_DENIED, "the registry %s asks for a login without https, which is not done", head->host);
	HTH_AUTO_FREE char *s = hth_url_escape_path(service), *c = hth_url_escape_path(scope);
	if (s == NULL || c == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a login");
	snprintf(url, sizeof url, "%s%sservice=%.700s&scope=%.1200s", realm, strchr(realm, '?') != NULL ? "&" : "?", s, c);
	HTH_AUTO_FREE char *body = NULL;
	size_t len;
	job->secret[0] = '\0';
	HTH_TRY(hth_job_get(job, url, "application/json", 64 << 10, NULL, &body, &len, err));
	HTH_AUTO_JSON json_t *json = NULL;
	const char *token = NULL;
	if (hth_json_parse(&json, body, len, NULL) == HTH_OK) {
		token = json_string_value(json_object_get(json, "token"));
		if (token == NULL)
			token = json_string_value(json_object_get(json, "access_token"));
	}
	if (token == NULL || strlen(token) > sizeof job->secret - 64 || strpbrk(token, "\r\n") != NULL)
		return hth_fail(err, HTH_DENIED, "the registry's login gave no token");
	snprintf(job->secret, sizeof job->secret, "Authorization: Bearer %s", token);
	return HTH_OK;
}

/* An answer of the registry, with a login when it asks for one. */
static hth_status ask(hth_pull_job *job, const char *url, const char *accept, size_t max, char **ret_body, size_t *ret_len, hth_error *err)
{
	for (int tries = 0;; tries++) {
		hth_transfer_head head;
		hth_status status = hth_job_get(job, url, accept, max, &head, ret_body, ret_len, err);
		if (status != HTH_UNAUTHORIZED || tries > 0)
			return status;
		HTH_TRY(login(job, &head, err));
	}
}

static hth_status keep_text(hth_pull_job *job, const char *key, const char *digest, uint64_t bytes, hth_error *err)
{
	char url[1200];
	HTH_AUTO_FREE char *body = NULL;
	size_t len;
	if (bytes > HTH_PULL_TEXT_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the model's %s is %llu bytes; at most %d are kept", key, (unsigned long long)bytes,
		                HTH_PULL_TEXT_MAX);
	snprintf(url, sizeof url, "%s/v2/%s/%s/blobs/%s", job->ref.base, job->ref.owner, job->ref.repo, digest);
	HTH_TRY(ask(job, url, "*/*", HTH_PULL_TEXT_MAX, &body, &len, err));
	char hex[65];
	hth_sha256_hex(body, len, hex);
	if (strcmp(hex, digest + 7) != 0)
		return hth_fail(err, HTH_BAD_FORMAT, "the model's %s does not have the SHA-256 that the registry says; try again", key);
	json_t *value = NULL;
	bool params = strcmp(key, "params") == 0;
	if (params || strcmp(key, "messages") == 0) {
		if (hth_json_parse(&value, body, len, NULL) != HTH_OK || !(params ? json_is_object(value) : json_is_array(value))) {
			json_decref(value);
			return hth_fail(err, HTH_BAD_FORMAT, "the model's %s are no JSON %s", params ? "parameters" : "messages",
			                params ? "object" : "array");
		}
	} else {
		value = json_stringn(body, len);
	}
	json_t *before = json_object_get(job->plan.extras, key);
	if (value != NULL && before != NULL && json_is_string(before) && json_is_string(value)) /* several licenses */
		json_object_set_new(job->plan.extras, key, json_sprintf("%s\n\n%s", json_string_value(before), json_string_value(value)));
	else if (value != NULL)
		json_object_set(job->plan.extras, key, value);
	json_decref(value); /* a text that is no UTF-8 is left out */
	return HTH_OK;
}

static hth_status take_layer(hth_pull_job *job, const hth_layer *layer, hth_error *err)
{
	static const char *const keys[] = {[HTH_LAYER_TEMPLATE] = "template", [HTH_LAYER_SYSTEM] = "system", [HTH_LAYER_PARAMS] = "params",
	                                   [HTH_LAYER_MESSAGES] = "messages", [HTH_LAYER_LICENSE] = "license"};
	char digest[80];
	snprintf(digest, sizeof digest, "sha256:%s", layer->sha256);
	if (layer->kind == HTH_LAYER_OTHER)
		return HTH_OK;
	if (layer->kind != HTH_LAYER_MODEL)
		return keep_text(job, keys[layer->kind], digest, layer->bytes, err);
	char url[1200], name[HTH_PULL_NAME_MAX + 40];
	snprintf(url, sizeof url, "%s/v2/%s/%s/blobs/%s", job->ref.base, job->ref.owner, job->ref.repo, digest);
	hth_local_name(job->ref.name, 1, 1, name);
	job->plan.total = layer->bytes;
	return hth_plan_add(&job->plan, name, url, layer->bytes, layer->sha256, err);
}

hth_status hth_plan_registry(hth_pull_job *job, hth_error *err)
{
	char url[1200];
	HTH_AUTO_FREE char *body = NULL;
	size_t len;
	snprintf(url, sizeof url, "%s/v2/%s/%s/manifests/%s", job->ref.base, job->ref.owner, job->ref.repo, job->ref.tag);
	hth_status status = ask(job, url, manifest_types, 1 << 20, &body, &len, err);
	if (status == HTH_NOT_FOUND)
		return hth_fail(err, HTH_NOT_FOUND, "the registry %s has no model '%s' with the tag '%s'", strstr(job->ref.base, "://") + 3,
		                job->ref.repo, job->ref.tag);
	HTH_TRY(status);
	hth_manifest manifest;
	HTH_TRY(hth_manifest_read(&manifest, body, len, job->ref.text, err));
	job->plan.extras = json_object();
	for (size_t i = 0; i < manifest.n_layers; i++)
		HTH_TRY(take_layer(job, &manifest.layers[i], err));
	return HTH_OK;
}

hth_status hth_registry_login(hth_pull_job *job, const hth_transfer_head *head, hth_error *err) { return login(job, head, err); }
