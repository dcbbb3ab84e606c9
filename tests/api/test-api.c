/* test-api.c - what bodies become, and the exact bytes that results become, without a server. */
#include "api-world.h"
#include "api/fields.h"
#include "api/messages.h"

TEST(a_conversation_is_put_into_the_one_shape_that_templates_read)
{
	CHECK_INT(call("POST", "/v1/chat/completions",
	               "{\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"be "
	               "\"},{\"type\":\"text\",\"text\":\"brief\"}],\"x\":1},{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"hm\","
	               "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": "
	               "[1]}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}]}"),
	          HTH_OK);
	CHECK_STR(request(0)->input.messages_json,
	          "[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"hm\","
	          "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1]}}}]},"
	          "{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"c1\"}]");
	CHECK_STR(request(0)->model, "starter");
	over();
}

TEST(sampling_and_limits_reach_the_request)
{
	CHECK_INT(call("POST", "/v1/chat/completions",
	               "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":2,\"seed\":5,\"temperature\":0.25,"
	               "\"top_p\":0.5,\"top_k\":-1,\"min_p\":0.125,\"stop\":[\"A\",\"\",\"B\"],\"max_tokens\":9,"
	               "\"max_completion_tokens\":3,\"logit_bias\":{\"7\":-100},\"presence_penalty\":0.5,\"frequency_penalty\":-0.5,"
	               "\"repetition_penalty\":1.5,\"ignore_eos\":true,\"logprobs\":true,\"top_logprobs\":4,\"keep_alive\":\"1m30s\","
	               "\"reasoning_effort\":\"low\",\"chat_template_kwargs\":{\"k\":1},\"tools\":[{\"type\":\"function\","
	               "\"function\":{\"name\":\"f\"}}]}"),
	          HTH_OK);
	REQUIRE(t.job != NULL);
	CHECK_INT(t.job->n_requests, 2);
	for (size_t i = 0; i < 2; i++) {
		const hth_request_params *p = &request(i)->params;
		CHECK_NEAR(p->sampling.temperature, 0.25, 0);
		CHECK_NEAR(p->sampling.top_p, 0.5, 0);
		CHECK_INT(p->sampling.top_k, 0);
		CHECK_NEAR(p->sampling.min_p, 0.125, 0);
		CHECK_NEAR(p->sampling.presence_penalty, 0.5, 0);
		CHECK_NEAR(p->sampling.frequency_penalty, -0.5, 0);
		CHECK_NEAR(p->sampling.repeat_penalty, 1.5, 0);
		CHECK_INT(p->sampling.seed, 5 + i); /* n answers differ, and are the same each time */
		CHECK(p->sampling.seed_given && p->ignore_eos);
		CHECK_INT(p->n_stop, 2);
		CHECK_STR(p->stop[1], "B");
		CHECK_INT(p->max_tokens, 3);
		CHECK_INT(p->top_logprobs, 4);
		CHECK_INT(p->keep_alive_s, 90);
		CHECK_INT(p->sampling.n_logit_bias, 1);
		CHECK(p->sampling.logit_bias == p->bias && p->bias != request(1 - i)->params.bias);
		CHECK_INT(p->bias[0].token, 7);
		CHECK_STR(request(i)->model, "m");
		CHECK_STR(request(i)->input.template_json, "{\"k\":1,\"reasoning_effort\":\"low\"}");
		CHECK_STR(request(i)->input.tools_json, "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]");
	}
	over();
	/* tool_choice none leaves the tools out. */
	CHECK_INT(call("POST", "/v1/chat/completions",
	               "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tool_choice\":\"none\",\"tools\":[{\"type\":\"function\","
	               "\"function\":{\"name\":\"f\"}}]}"),
	          HTH_OK);
	CHECK(request(0)->input.tools_json == NULL);
	over();
}

TEST(keep_alive_is_understood_as_ollama_writes_it)
{
	static const struct {
		const char *json;
		int64_t want;
	} cases[] = {{"{}", 99},          {"{\"keep_alive\":null}", 99}, {"{\"keep_alive\":0}", 0},      {"{\"keep_alive\":-1}", -1},
	             {"{\"keep_alive\":2.5}", 3}, {"{\"keep_alive\":\"5m\"}", 300}, {"{\"keep_alive\":\"1h30m\"}", 5400},
	             {"{\"keep_alive\":\"-1m\"}", -1}, {"{\"keep_alive\":\"500ms\"}", 1}, {"{\"keep_alive\":\"10\"}", 10}};
	static const char *const bad[] = {"{\"keep_alive\":\"\"}", "{\"keep_alive\":\"5 m\"}", "{\"keep_alive\":\"5x\"}",
	                                  "{\"keep_alive\":\"m\"}",
	                                  "{\"keep_alive\":true}", "{\"keep_alive\":\"inf\"}", "{\"keep_alive\":\"-\"}"};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		hth_error err;
		HTH_AUTO_JSON json_t *json = NULL;
		int64_t got = 99;
		REQUIRE_OK(hth_json_parse(&json, cases[i].json, strlen(cases[i].json), &err));
		CHECK_OK(hth_fields_keep_alive(json, &got, &err));
		CHECK_INT(got, cases[i].want);
	}
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		hth_error err;
		HTH_AUTO_JSON json_t *json = NULL;
		int64_t got = 99;
		REQUIRE_OK(hth_json_parse(&json, bad[i], strlen(bad[i]), &err));
		CHECK_INT(hth_fields_keep_alive(json, &got, &err), HTH_INVALID);
		CHECK_INT(got, 99);
	}
}

TEST(log_probabilities_are_bytes_where_they_are_no_characters)
{
	CHECK_INT(call("POST", "/v1/chat/completions",
	               "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"logprobs\":true,\"top_logprobs\":2,\"stream\":true}"),
	          HTH_OK);
	const hth_token_logprob rows[] = {{5, -0.5f, "\xc3", 1}, {6, -1.25f, "\xa9", 1}};
	const hth_token_logprob top[] = {{5, -0.5f, "\xc3", 1}, {9, -2, "\"", 1}, {6, -1.25f, "\xa9", 1}, {8, -INFINITY, "z", 1}};
	hth_answer_piece piece = {.text = "\xc3\xa9", .len = 2, .n_tokens = 2, .logprobs = rows, .n_logprobs = 2, .top = top, .n_top = 2};
	hth_api_started(t.job, 0);
	hth_api_piece(t.job, 0, &piece);
	CHECK(sent("\"delta\":{\"content\":\"\xc3\xa9\"},\"logprobs\":{\"content\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,"
	           "\"bytes\":[195],\"top_logprobs\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[195]},{\"token\":\"\\\"\","
	           "\"logprob\":-2,\"bytes\":[34]}]},{\"token\":\"\xef\xbf\xbd\",\"logprob\":-1.25,\"bytes\":[169],"
	           "\"top_logprobs\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-1.25,\"bytes\":[169]},{\"token\":\"z\",\"logprob\":-9999,"
	           "\"bytes\":[122]}]}],\"refusal\":null},\"finish_reason\":null"));
	hth_api_done(t.job, 0);
	CHECK(t.finished);
	over();
	/* The older form, with offsets in characters. */
	CHECK_INT(call("POST", "/v1/completions", "{\"prompt\":\"x\",\"logprobs\":2}"), HTH_OK);
	hth_api_started(t.job, 0);
	hth_api_piece(t.job, 0, &piece);
	hth_answer_piece plain = words("b");
	plain.logprobs = &(hth_token_logprob){4, -3, "b", 1};
	plain.n_logprobs = 1;
	hth_api_piece(t.job, 0, &plain);
	hth_api_done(t.job, 0);
	CHECK(sent("\"text\":\"\xc3\xa9" "b\",\"logprobs\":{\"tokens\":[\"\xef\xbf\xbd\",\"\xef\xbf\xbd\",\"b\"],\"token_logprobs\":[-0.5,"
	                                 "-1.25,-3],"));
	CHECK(sent("\"text_offset\":[0,1,1]"));
	over();
}

TEST(one_failure_fails_the_call_and_nothing_follows_it)
{
	hth_error gone;
	hth_fail(&gone, HTH_GONE, "the runner died");
	hth_answer_piece piece = words("a");
	/* Before the first byte: a plain error with its own status. */
	CHECK_INT(call("POST", "/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":true}"), HTH_OK);
	hth_api_fail(t.job, &gone);
	CHECK_INT(t.status, 502);
	CHECK_STR(t.out.data,
	          "{\"error\":{\"message\":\"the runner died\",\"type\":\"api_error\",\"param\":null,\"code\":\"runner_died\"}}");
	/* In the middle: an event that says so, and the end. */
	CHECK_INT(call("POST", "/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":true,\"n\":2}"),
	          HTH_OK);
	hth_api_started(t.job, 0);
	hth_api_piece(t.job, 0, &piece);
	hth_api_fail(t.job, &gone);
	CHECK(t.finished);
	CHECK(sent("\"content\":\"a\""));
	CHECK(sent("\n\ndata: {\"error\":{\"message\":\"the runner died\""));
	CHECK(!sent("[DONE]"));
	size_t len = t.out.len;
	hth_api_piece(t.job, 1, &piece);
	hth_api_done(t.job, 0);
	hth_api_done(t.job, 1);
	hth_api_fail(t.job, &gone);
	CHECK_INT(t.out.len, len);
	/* A prompt that does not fit is the client's to mend: 400. */
	CHECK_INT(call("POST", "/v1/completions", "{\"prompt\":\"x\"}"), HTH_OK);
	hth_fail(&gone, HTH_TOO_LARGE, "the prompt has 600 tokens, the context 512");
	hth_api_fail(t.job, &gone);
	CHECK_INT(t.status, 400);
	CHECK(sent("context_length_exceeded"));
	CHECK_INT(call("POST", "/v1/messages", "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"), HTH_OK);
	hth_fail(&gone, HTH_TOO_LARGE, "the prompt has 600 tokens, the context 512");
	hth_api_fail(t.job, &gone);
	CHECK(sent("\"message\":\"prompt is too long: the prompt has 600"));
	/* Come back later. */
	CHECK_INT(call("POST", "/v1/embeddings", "{\"input\":\"x\"}"), HTH_OK);
	hth_fail(&gone, HTH_BUSY, "busy");
	hth_api_fail(t.job, &gone);
	CHECK_INT(t.status, 503);
	CHECK(strstr(t.headers.data, "Retry-After: 1") != NULL);
	over();
}

TEST(embeddings_come_in_order_and_in_both_encodings)
{
	CHECK_INT(call("POST", "/v1/embeddings", "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}"), HTH_OK);
	hth_api_embedding(t.job, 1, (float[]){1, -2}, 2);
	hth_api_done(t.job, 1);
	hth_api_embedding(t.job, 0, (float[]){0.5f}, 1);
	CHECK(!t.finished);
	hth_api_done(t.job, 0);
	CHECK(sent("[{\"object\":\"embedding\",\"index\":0,\"embedding\":\"AAAAPw==\"},{\"object\":\"embedding\",\"index\":1,"
	           "\"embedding\":\"AACAPwAAAMA=\"}]"));
	CHECK_INT(call("POST", "/v1/embeddings", "{\"input\":\"a\",\"dimensions\":2}"), HTH_OK);
	hth_api_embedding(t.job, 0, (float[]){0.3f, 0.4f, 0.866f}, 3);
	hth_api_done(t.job, 0);
	CHECK(sent("\"embedding\":[0.600000024,0.800000012]"));
	CHECK_INT(call("POST", "/v1/embeddings", "{\"input\":\"a\",\"dimensions\":4}"), HTH_OK);
	hth_api_embedding(t.job, 0, (float[]){0.3f, 0.4f, 0.866f}, 3);
	CHECK_INT(t.status, 400);
	over();
}

TEST(pieces_of_a_tokenisation_stand_beside_their_ids)
{
	CHECK_INT(call("POST", "/tokenize", "{\"content\":\"a\\\"b\",\"with_pieces\":true}"), HTH_OK);
	CHECK(request(0)->input.with_pieces && !request(0)->input.add_special && request(0)->input.parse_special);
	hth_answer_piece a = words("a"), b = words("\"b");
	hth_api_tokens(t.job, 0, (int32_t[]){3, 4}, 2);
	hth_api_piece(t.job, 0, &a);
	hth_api_piece(t.job, 0, &b);
	hth_api_done(t.job, 0);
	CHECK_STR(t.out.data, "{\"tokens\":[{\"id\":3,\"piece\":\"a\"},{\"id\":4,\"piece\":\"\\\"b\"}],\"count\":2}");
	over();
}

TEST(anthropics_blocks_become_messages_and_events_come_in_order)
{
	CHECK_INT(call("POST", "/v1/messages",
	               "{\"max_tokens\":5,\"stream\":true,\"system\":[{\"type\":\"text\",\"text\":\"s\"}],\"messages\":[{\"role\":\"user\","
	               "\"content\":\"a\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\"},"
	               "{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"x\":1}}]},"
	               "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"c\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i\","
	               "\"content\":[{\"type\":\"text\",\"text\":\"r\"}]}]}]}"),
	          HTH_OK);
	REQUIRE(t.job != NULL);
	CHECK_STR(request(0)->input.messages_json,
	          "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
	          "\"content\":\"b\",\"reasoning_content\":\"t\",\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\","
	          "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]},{\"role\":\"tool\",\"tool_call_id\":\"i\",\"content\":\"r\"},"
	          "{\"role\":\"user\",\"content\":\"c\"}]");
	hth_answer_piece piece = words("hi");
	hth_api_started(t.job, 0);
	hth_api_piece(t.job, 0, &piece);
	hth_api_done(t.job, 0);
	CHECK(t.finished);
	static const char *const order[] = {"event: message_start", "event: content_block_start", "\"text\":\"hi\"",
	                                    "event: content_block_stop",
	                                    "event: message_delta", "event: message_stop"};
	const char *at = t.out.data;
	for (size_t i = 0; i < HTH_COUNT(order); i++) {
		const char *found = at != NULL ? strstr(at, order[i]) : NULL;
		if (found == NULL)
			test_fail(__FILE__, __LINE__, "%s is missing or out of order", order[i]);
		at = found;
	}
	over();
}

TEST(a_response_can_be_gone_on_with_without_its_instructions)
{
	hth_error err;
	char body[256], id[48];
	REQUIRE_OK(hth_response_store_create(&store, &err));
	CHECK_INT(call("POST", "/v1/responses", "{\"input\":\"one\",\"instructions\":\"be brief\"}"), HTH_OK);
	CHECK_STR(request(0)->input.messages_json,
	          "[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"one\"}]");
	hth_answer_piece piece = words("two");
	hth_api_started(t.job, 0);
	hth_api_piece(t.job, 0, &piece);
	hth_api_done(t.job, 0);
	snprintf(id, sizeof id, "%s", t.job->id);
	snprintf(body, sizeof body, "{\"input\":\"three\",\"previous_response_id\":\"%s\"}", id);
	CHECK_INT(call("POST", "/v1/responses", body), HTH_OK);
	REQUIRE(t.job != NULL);
	CHECK_STR(request(0)->input.messages_json,
	          "[{\"role\":\"user\",\"content\":\"one\"},{\"role\":\"assistant\",\"content\":\"two\"},{\"role\":\"user\","
	          "\"content\":\"three\"}]");
	/* What was not to be stored, or is deleted, is not there. */
	CHECK(hth_response_store_delete(store, id));
	CHECK(!hth_response_store_delete(store, id));
	CHECK_INT(call("POST", "/v1/responses", body), HTH_NOT_FOUND);
	CHECK_STR(t.err.param, "previous_response_id");
	CHECK_INT(call("POST", "/v1/responses", "{\"input\":\"one\",\"store\":false}"), HTH_OK);
	hth_api_started(t.job, 0);
	hth_api_done(t.job, 0);
	CHECK(hth_response_store_messages(store, t.job->id) == NULL);
	over();
	hth_response_store_destroy(store);
	store = NULL;
}

TEST(the_store_of_responses_is_bounded_and_forgets_the_oldest)
{
	hth_error err;
	char id[32];
	REQUIRE_OK(hth_response_store_create(&store, &err));
	for (int i = 0; i < 600; i++) {
		snprintf(id, sizeof id, "resp_%d", i);
		hth_response_store_put(store, id, "[]", "{}");
		CHECK(hth_response_store_messages(store, "resp_0") != NULL); /* used again and again, it stays */
	}
	CHECK(hth_response_store_messages(store, "resp_1") == NULL);
	CHECK_STR(hth_response_store_response(store, "resp_599"), "{}");
	/* One that is too large by itself is not kept, and pushes nothing out. */
	char *big = calloc(1, (20u << 20) + 1);
	REQUIRE(big != NULL);
	memset(big, 'x', 20u << 20);
	hth_response_store_put(store, "resp_big", big, "{}");
	CHECK(hth_response_store_messages(store, "resp_big") == NULL);
	CHECK(hth_response_store_messages(store, "resp_599") != NULL);
	free(big);
	hth_response_store_destroy(store);
	store = NULL;
}

TEST(paths_and_methods)
{
	const char *allow = NULL;
	CHECK(hth_api_find("GET", "/v1/models", &allow) != NULL);
	CHECK(hth_api_find("HEAD", "/v1/models", &allow) != NULL);
	CHECK(hth_api_find("GET", "/v1/models/", &allow) == NULL);
	CHECK(hth_api_find("GET", "/v1/models/a/b", &allow) != NULL);
	allow = NULL;
	CHECK(hth_api_find("POST", "/v1/nothing", &allow) == NULL);
	CHECK(allow == NULL);
	CHECK(hth_api_find("GET", "/v1/embeddings", &allow) == NULL);
	CHECK_STR(allow, "POST");
	CHECK_INT(call("GET", "/v1/models", ""), HTH_OK);
	CHECK_STR(t.out.data, "{\"object\":\"list\",\"data\":[{\"id\":\"a\\\"b\",\"object\":\"model\",\"created\":7,"
	                      "\"owned_by\":\"hearth\",\"type\":\"model\",\"display_name\":\"a\\\"b\","
	                      "\"created_at\":\"1970-01-01T00:00:07.000000000Z\"}],\"has_more\":false}");
	over();
}

TEST(one_call_asks_for_at_most_so_many_answers)
{
	hth_buf body = HTH_BUF_INIT(1 << 20);
	hth_buf_append_str(&body, "{\"input\":[\"x\"");
	for (int i = 0; i < HTH_API_REQUESTS_MAX; i++)
		hth_buf_append_str(&body, ",\"x\"");
	hth_buf_append_str(&body, "]}");
	CHECK_INT(call("POST", "/v1/embeddings", body.data), HTH_INVALID);
	CHECK(strstr(t.err.message, "2048") != NULL);
	hth_buf_finish(&body);
	over();
}

TEST_MAIN()
