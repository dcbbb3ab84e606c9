/* file-search.c - the tool file_search of POST /v1/responses: vector stores are searched for the user's last words before the model
 * answers, and the answer cites what was found (context.h).
 *
 * Format: OpenAI's API reference, "Responses", file_search and file_search_call. There the model decides whether to search, and for what;
 * here the node searches once, before it asks the model, so that small models, which seldom call tools well, answer from the files too. The
 * node does the searching (node/verbs.c); here is what the tool says, and how it is shown. Thread: the loop's.
 */
#include "api/fields.h"
#include "api/responses.h"
#include "api/wire.h"

enum { STORES_MAX = 8 };

void hth_file_search_finish(hth_response_state *state)
{
	json_decref(state->search);
	json_decref(state->found);
	if (state->searched_for != NULL)
		explicit_bzero(state->searched_for, strlen(state->searched_for));
	free(state->searched_for);
}

hth_status hth_file_search_take(hth_response_state *state, const json_t *tool, size_t i, hth_error *err)
{
	const json_t *stores = json_object_get(tool, "vector_store_ids"), *id;
	size_t k;
	if (state->search != NULL)
		return hth_fail_param(err, HTH_INVALID, "tools", "tools[%zu] is a second file_search; one may search several vector stores",
		                      i);
	if (!json_is_array(stores) || json_array_size(stores) == 0 || json_array_size(stores) > STORES_MAX)
		return hth_fail_param(err, HTH_INVALID, "tools",
		                      "tools[%zu].vector_store_ids must be an array of 1 to %d vector stores' ids", i, STORES_MAX);
	json_array_foreach ((json_t *)stores, k, id)
		if (!json_is_string(id))
			return hth_fail_param(err, HTH_INVALID, "tools", "tools[%zu].vector_store_ids[%zu] is %s; it must be a string", i,
			                      k, hth_json_type_name(id));
	state->search = json_deep_copy(tool);
	return state->search != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
}

const json_t *hth_file_search_choice(hth_response_state *state, const json_t *choice, size_t n_functions)
{
	const char *word = json_string_value(choice), *type = json_string_value(json_object_get(choice, "type"));
	if (state->search == NULL)
		return choice;
	if (word != NULL && strcmp(word, "none") == 0) {
		json_decref(state->search);
		state->search = NULL;
		return choice;
	}
	/* The search is made in any case; without functions there is nothing else that could be called. */
	bool met = (type != NULL && strcmp(type, "file_search") == 0) ||
	    (word != NULL && strcmp(word, "required") == 0 && n_functions == 0);
	return met ? NULL : choice;
}

const json_t *hth_api_file_search(const hth_api_job *job)
{
	return job->endpoint->writer == &hth_responses_writer ? ((const hth_response_state *)job->state)->search : NULL;
}

static json_t *as_result(const json_t *found)
{
	const json_t *content = json_object_get(found, "content"), *part;
	hth_buf text = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	size_t i;
	json_array_foreach ((json_t *)content, i, part) {
		const char *words = json_string_value(json_object_get(part, "text"));
		hth_buf_append_str(&text, words != NULL ? words : "");
	}
	json_t *result = json_pack("{s:O*, s:O*, s:O*, s:O*, s:s%}", "file_id", json_object_get(found, "file_id"), "filename",
	                           json_object_get(found, "filename"), "score", json_object_get(found, "score"), "attributes",
	                           json_object_get(found, "attributes"), "text", text.data != NULL ? text.data : "", text.len);
	hth_buf_finish(&text);
	return result;
}

hth_status hth_api_file_search_done(hth_api_job *job, const char *query, const json_t *results, hth_error *err)
{
	hth_response_state *state = job->state;
	size_t i;
	const json_t *one;
	json_t *found = json_array();
	json_array_foreach ((json_t *)results, i, one)
		if (json_array_append_new(found, as_result(one)) != 0) {
			json_decref(found);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for what was found");
		}
	state->found = found;
	return hth_fields_copy(query, &state->searched_for, err);
}

void hth_file_search_write_item(hth_buf *out, const hth_response_state *state, const char *id, bool open)
{
	hth_buf_appendf(out, "{\"id\":\"%s\",\"type\":\"file_search_call\",\"status\":\"%s\",\"queries\":[", id,
	                open ? "in_progress" : "completed");
	if (!open)
		hth_wire_string(out, state->searched_for);
	hth_buf_append_str(out, "],\"results\":");
	if (open || !state->show_results)
		hth_buf_append_str(out, "null");
	else
		hth_json_write(state->found, out);
	hth_buf_append_char(out, '}');
}
