/* documents-in.c - the household's documents in a call: passages put into its conversation, and what its answers cite.
 *
 * The node finds the passages (node/verbs.c); here is only what they do to the requests and to the bytes. Thread: the loop's. */
#include "api/answer-reader.h"
#include "api/api.h"
#include "api/fields.h"

#include <stdio.h>

enum { MESSAGE_MAX = 4 << 20 };

static bool is_bound(const hth_request *r)
{
	return r->input.format_json != NULL || r->params.grammar != NULL;
}

hth_status hth_api_use_documents(hth_api_job *job, hth_error *err)
{
	if (job->n_requests == 0 || job->requests[0]->kind != HTH_CHAT)
		return hth_fail(err, HTH_INVALID, "documents are for conversations");
	if (job->context != NULL)
		return HTH_OK;
	HTH_TRY(hth_context_create(&job->context, err));
	job->citers = hth_alloc_array(job->n_requests, sizeof(hth_citer *));
	if (job->citers == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for documents");
	/* Brackets of JSON are none of ours. */
	for (size_t i = 0; i < job->n_requests; i++)
		if (!is_bound(job->requests[i]))
			HTH_TRY(hth_citer_create(&job->citers[i], job->context, err));
	return HTH_OK;
}

/* The user's last message but `skip`. Borrowed from messages; NULL: there is none. */
static json_t *last_of_user(const json_t *messages, size_t skip)
{
	for (size_t i = json_array_size(messages); i-- > 0;) {
		json_t *message = json_array_get(messages, i);
		const char *role = json_string_value(json_object_get(message, "role"));
		if (role != NULL && strcmp(role, "user") == 0 && skip-- == 0)
			return message;
	}
	return NULL;
}

static const char *words_of(const json_t *message)
{
	return json_string_value(json_object_get(message, "content"));
}

static hth_status read_messages(const hth_request *r, json_t **ret_messages, hth_error *err)
{
	const char *text = r->input.messages_json != NULL ? r->input.messages_json : "[]";
	return hth_json_parse(ret_messages, text, strlen(text), err);
}

char *hth_api_question(const hth_api_job *job, bool with_before)
{
	HTH_AUTO_JSON json_t *messages = NULL;
	if (job->n_requests == 0 || read_messages(job->requests[0], &messages, NULL) != HTH_OK)
		return NULL;
	const char *last = words_of(last_of_user(messages, 0)), *before = with_before ? words_of(last_of_user(messages, 1)) : "";
	if (last == NULL || *last == '\0' || before == NULL || (with_before && *before == '\0'))
		return NULL;
	size_t len = strlen(last) + strlen(before) + 2;
	char *both = malloc(len);
	if (both != NULL)
		snprintf(both, len, "%s%s%s", last, with_before ? "\n" : "", before);
	return both;
}

static hth_status put_passages(const hth_api_job *job, hth_request *r, hth_error *err)
{
	HTH_AUTO_JSON json_t *messages = NULL;
	HTH_TRY(read_messages(r, &messages, err));
	json_t *message = last_of_user(messages, 0);
	const char *words = words_of(message);
	if (words == NULL)
		return HTH_OK;
	hth_buf text = HTH_BUF_INIT(MESSAGE_MAX + strlen(words));
	hth_context_ask(job->context, words, &text);
	hth_status status = hth_buf_check(&text, "the message with its passages", err);
	/* A passage is checked UTF-8; what was cut may not be. */
	json_t *content = status == HTH_OK ? json_stringn(text.data, text.len) : NULL;
	if (status == HTH_OK && (content == NULL || json_object_set_new(message, "content", content) != 0))
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for documents");
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	hth_buf_finish(&text);
	HTH_TRY(status);
	char *whole;
	HTH_TRY(hth_fields_dump(messages, &whole, err));
	explicit_bzero(r->input.messages_json, strlen(r->input.messages_json));
	free(r->input.messages_json);
	r->input.messages_json = whole;
	return HTH_OK;
}

hth_status hth_api_put_passages(hth_api_job *job, hth_error *err)
{
	if (job->n_requests == 1 && job->plain_messages == NULL)
		HTH_TRY(hth_fields_copy(job->requests[0]->input.messages_json, &job->plain_messages, err));
	for (size_t i = 0; i < job->n_requests; i++)
		HTH_TRY(put_passages(job, job->requests[i], err));
	return HTH_OK;
}

static hth_status ask_again(const hth_api_job *job, const hth_request *before, hth_request *next, hth_error *err)
{
	snprintf(next->model, sizeof next->model, "%s", before->model);
	if (job->host->prepare_request != NULL)
		job->host->prepare_request(job->host->ctx, next);
	HTH_TRY(hth_fields_copy_chat(&next->input, &before->input, err));
	HTH_TRY(hth_fields_copy_params(&next->params, &before->params, 0, err));
	free(next->input.messages_json);
	next->input.messages_json = NULL;
	HTH_TRY(hth_fields_copy(job->plain_messages, &next->input.messages_json, err));
	return put_passages(job, next, err);
}

bool hth_api_fewer_passages(hth_api_job *job)
{
	hth_request *next;
	if (job->plain_messages == NULL || job->begun || job->finished || hth_context_count(job->context) < 2 ||
	    hth_request_create(&next, HTH_CHAT, NULL) != HTH_OK)
		return false;
	hth_context_limit(job->context, hth_context_count(job->context) / 2);
	if (ask_again(job, job->requests[0], next, NULL) != HTH_OK) {
		hth_request_unref(next);
		return false;
	}
	if (job->readers != NULL) {
		hth_answer_reader_destroy(job->readers[0]);
		job->readers[0] = NULL;
	}
	hth_request_unref(job->requests[0]);
	job->requests[0] = next;
	return true;
}

bool hth_api_write_citations(const hth_api_job *job, size_t i, const char *key, hth_citation_style style, hth_buf *out)
{
	if (job->citers == NULL || job->citers[i] == NULL || hth_citer_cited(job->citers[i]) == 0)
		return false;
	hth_buf_appendf(out, ",\"%s\":[", key);
	hth_citer_write_json(job->citers[i], style, out);
	hth_buf_append_char(out, ']');
	return true;
}
