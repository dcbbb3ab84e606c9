/* test-answers.c - answers told apart (reasoning, content, tool calls) as each family of APIs writes them, streamed and whole. */
#include "api-world.h"

#define HERMES "{% if tools %}<tool_call>{% endif %}<think>"
#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}]"
#define FLAT_TOOLS "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}]"
#define SCHEMA_TOOLS "\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}]"

/* An answer with everything in it, in crumbs that cut marks. */
static void say_everything(void)
{
	static const char *const crumbs[] = {"<th", "ink>\nh", "m\n</thi", "nk>\n\nWell", ".\n<tool_", "call>\n{\"name\": \"f\", \"argu",
	                                     "ments\": {\"a\"", ": 1}}\n</tool_call>",
	                                     "\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"};
	for (size_t i = 0; i < HTH_COUNT(crumbs); i++)
		say(crumbs[i]);
}

TEST(chat_streams_reasoning_content_and_calls_as_deltas)
{
	CHECK_INT(call("POST", "/v1/chat/completions", "{\"stream\":true," USER "," TOOLS "}"), HTH_OK);
	placed(HERMES);
	CHECK(request(0)->params.special_text);
	say_everything();
	done(HTH_FINISH_STOP);
	ORDER("\"delta\":{\"role\":\"assistant\",\"content\":\"\"}", "\"delta\":{\"reasoning_content\":\"h\"}",
	      "\"delta\":{\"reasoning_content\":\"m\"}",
	      "\"delta\":{\"content\":\"Well\"}", "\"delta\":{\"content\":\".\"}", "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_",
	      "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}",
	      "\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]}",
	      "{\"index\":0,\"function\":{\"arguments\":\": 1}\"}}", "{\"index\":1,\"id\":\"call_",
	      "{\"index\":1,\"function\":{\"arguments\":\"{}\"}}",
	      "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]}", "data: [DONE]");
	CHECK(!sent("<"));
	over();
}

TEST(a_whole_chat_answer_keeps_them_apart)
{
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER "," TOOLS "}"), HTH_OK);
	placed(HERMES);
	say_everything();
	done(HTH_FINISH_STOP);
	ORDER("\"message\":{\"role\":\"assistant\",\"content\":\"Well.\",\"refusal\":null,\"reasoning_content\":\"hm\","
	      "\"tool_calls\":[{\"id\":\"call_",
	      "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}},{\"id\":\"call_",
	      "\"arguments\":\"{}\"}}]},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}");
	/* Two calls are two ids. */
	const char *first = strstr(t.out.data, "call_"), *second = strstr(first + 1, "call_");
	CHECK(second != NULL && strncmp(first, second, 29) != 0);
	over();
	/* Cut off in a call: not a call that was made. */
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER "," TOOLS "}"), HTH_OK);
	placed(HERMES);
	say("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": ");
	done(HTH_FINISH_LENGTH);
	CHECK(sent("\"finish_reason\":\"length\""));
	over();
}

TEST(without_tools_what_looks_like_a_call_is_content)
{
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER "}"), HTH_OK);
	placed("<tool_call>");
	say("<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>");
	done(HTH_FINISH_STOP);
	CHECK(sent("\"content\":\"<tool_call>{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": {}}</tool_call>\""));
	CHECK(sent("\"finish_reason\":\"stop\""));
	over();
	/* A model whose template has no marks shows no special tokens. */
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER "}"), HTH_OK);
	placed("<|user|>");
	CHECK(!request(0)->params.special_text);
	over();
}

TEST(reasoning_that_the_prompt_opened_is_reasoning)
{
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER "}"), HTH_OK);
	placed(HERMES);
	snprintf(request(0)->prompt_tail, sizeof request(0)->prompt_tail, "<|im_start|>assistant\n<think>\n");
	say("so</think>");
	say("yes");
	done(HTH_FINISH_STOP);
	CHECK(sent("\"content\":\"yes\",\"refusal\":null,\"reasoning_content\":\"so\""));
	over();
}

TEST(a_call_that_the_sampler_was_bound_to_is_one_also_in_reasoning)
{
	static const char text[] = "<think>so <tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER "," TOOLS "}"), HTH_OK);
	placed(HERMES);
	CHECK_STR(request(0)->params.grammar_trigger, "<tool_call>");
	say(text);
	done(HTH_FINISH_STOP);
	CHECK(sent("\"reasoning_content\":\"so\"") && sent("\"name\":\"f\"") && sent("\"finish_reason\":\"tool_calls\""));
	over();
	/* A client's own grammar has nothing to do with calls. */
	CHECK_INT(call("POST", "/v1/chat/completions", "{\"grammar\":\"root ::= [a-z]\"," USER "," TOOLS "}"), HTH_OK);
	placed(HERMES);
	say(text);
	done(HTH_FINISH_STOP);
	CHECK(!sent("tool_calls"));
	over();
}

TEST(pieces_of_an_upstream_are_told_apart_already)
{
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER "," TOOLS "}"), HTH_OK);
	hth_api_started(t.job, 0);
	say("<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>");
	hth_answer_piece made = {.kind = HTH_PIECE_TOOL_CALL, .text = "", .tool_id = "id1", .tool_name = "g"};
	hth_api_piece(t.job, 0, &made);
	made = (hth_answer_piece){.kind = HTH_PIECE_TOOL_ARGUMENTS, .text = "{}", .len = 2};
	hth_api_piece(t.job, 0, &made);
	done(HTH_FINISH_STOP);
	CHECK(sent("\"content\":\"<tool_call>{"));
	CHECK(sent("\"tool_calls\":[{\"id\":\"id1\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]"));
	over();
}

static void say_with_logprob(const char *s, float logprob)
{
	hth_answer_piece piece = words(s);
	const hth_token_logprob row = {1, logprob, s, strlen(s)}, top[] = {{1, logprob, s, strlen(s)}, {2, -9, "other", 5}};
	piece.logprobs = &row;
	piece.n_logprobs = 1;
	piece.top = top;
	piece.n_top = 2;
	hth_api_piece(t.job, 0, &piece);
}

TEST(log_probabilities_stay_with_the_content_they_belong_to)
{
	CHECK_INT(call("POST", "/v1/chat/completions", "{\"stream\":true,\"logprobs\":true,\"top_logprobs\":2," USER "," TOOLS "}"),
	          HTH_OK);
	placed(HERMES);
	static const char *const crumbs[] = {"<think>", "secret", "</think>", "\n\n", "a", " <to", "ol>", " b", "\n", "<tool_call>",
	                                     "{\"name\": \"f\", \"arguments\": {", "}}", "</tool_call>"};
	for (size_t i = 0; i < HTH_COUNT(crumbs); i++)
		say_with_logprob(crumbs[i], -(float)i);
	done(HTH_FINISH_STOP);
	ORDER("\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-4,",
	      "{\"token\":\"other\",\"logprob\":-9,",
	      "\"delta\":{\"content\":\" <tool>\"},\"logprobs\":{\"content\":[{\"token\":\" <to\",\"logprob\":-5,",
	      "{\"token\":\"ol>\",\"logprob\":-6,",
	      "\"delta\":{\"content\":\" b\"},\"logprobs\":{\"content\":[{\"token\":\" b\",\"logprob\":-7,");
	CHECK(!sent("\"logprob\":-1,") && !sent("\"logprob\":-2,") && !sent("\"logprob\":-10") && !sent("\"logprob\":-12"));
	over();
}

TEST(ollama_sends_thinking_and_whole_calls_with_arguments_as_objects)
{
	CHECK_INT(call("POST", "/api/chat", "{\"model\":\"m\"," USER "," TOOLS "}"), HTH_OK);
	placed(HERMES);
	say_everything();
	done(HTH_FINISH_STOP);
	ORDER("\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"h\"},\"done\":false}\n", "\"thinking\":\"m\"",
	      "\"content\":\"Well\"", "\"content\":\".\"",
	      "\"content\":\"\",\"tool_calls\":[{\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{\"a\": 1}}}]},\"done\":false}\n",
	      "\"tool_calls\":[{\"function\":{\"index\":1,\"name\":\"f\",\"arguments\":{}}}]},\"done\":false}\n",
	      "\"done\":true,\"done_reason\":\"stop\"");
	over();
	CHECK_INT(call("POST", "/api/chat", "{\"model\":\"m\",\"stream\":false," USER "," TOOLS "}"), HTH_OK);
	placed(HERMES);
	say_everything();
	done(HTH_FINISH_STOP);
	CHECK(sent("\"content\":\"Well.\",\"thinking\":\"hm\",\"tool_calls\":[{\"function\":{\"index\":0,\"name\":\"f\","
	           "\"arguments\":{\"a\": 1}}},{\"function\":{\"index\":1,"));
	over();
}

TEST(a_call_that_was_cut_is_not_one_that_was_made)
{
	static const char cut[] = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": ";
	for (int stream = 0; stream < 2; stream++) {
		CHECK_INT(call("POST", "/api/chat", stream ? "{\"model\":\"m\"," USER "," TOOLS "}"
		                                           : "{\"model\":\"m\",\"stream\":false," USER "," TOOLS "}"), HTH_OK);
		placed(HERMES);
		say(cut);
		done(HTH_FINISH_LENGTH);
		CHECK(!sent("tool_calls") && sent("\"done_reason\":\"length\""));
		over();
	}
	CHECK_INT(call("POST", "/v1/responses", "{\"input\":\"x\"," FLAT_TOOLS "}"), HTH_OK);
	placed(HERMES);
	say(cut);
	done(HTH_FINISH_LENGTH);
	CHECK(sent("\"status\":\"incomplete\",\"model\"") && sent("\"type\":\"function_call\",\"status\":\"incomplete\"") &&
	      sent("\"arguments\":\"{\\\"a\\\": \""));
	over();
	CHECK_INT(call("POST", "/v1/chat/completions", "{" USER ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\\\"b\"}}]}"),
	          HTH_INVALID);
	CHECK_STR(t.err.param, "tools");
	over();
}

TEST(anthropic_streams_blocks_in_order)
{
	CHECK_INT(call("POST", "/v1/messages", "{\"max_tokens\":9,\"stream\":true," USER "," SCHEMA_TOOLS "}"), HTH_OK);
	placed(HERMES);
	say_everything();
	done(HTH_FINISH_STOP);
	ORDER("event: message_start", "\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}",
	      "\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"h\"}",
	      "\"thinking\":\"m\"", "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}",
	      "\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}",
	      "\"delta\":{\"type\":\"text_delta\",\"text\":\"Well\"}", "\"content_block_stop\",\"index\":1",
	      "\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"",
	      "\"name\":\"f\",\"input\":{}}", "\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\"\"}",
	      "\"partial_json\":\": 1}\"", "\"content_block_stop\",\"index\":2",
	      "\"index\":3,\"content_block\":{\"type\":\"tool_use\"", "\"content_block_stop\",\"index\":3",
	      "\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null}", "event: message_stop");
	over();
	CHECK_INT(call("POST", "/v1/messages", "{\"max_tokens\":9," USER "," SCHEMA_TOOLS "}"), HTH_OK);
	placed(HERMES);
	say_everything();
	done(HTH_FINISH_STOP);
	ORDER("\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},{\"type\":\"text\",\"text\":\"Well.\"},"
	      "{\"type\":\"tool_use\",\"id\":\"",
	      "\"name\":\"f\",\"input\":{\"a\": 1}},{\"type\":\"tool_use\"", "\"stop_reason\":\"tool_use\"");
	over();
}

TEST(responses_sends_items_in_the_official_order)
{
	CHECK_INT(call("POST", "/v1/responses", "{\"stream\":true,\"input\":\"x\"," FLAT_TOOLS "}"), HTH_OK);
	placed(HERMES);
	say_everything();
	done(HTH_FINISH_STOP);
	ORDER("event: response.created\n", "event: response.in_progress\n", "event: response.output_item.added\n",
	      "\"output_index\":0,\"item\":{\"id\":\"rs_", "\"type\":\"reasoning\"",
	      "event: response.content_part.added\n", "\"part\":{\"type\":\"reasoning_text\",\"text\":\"\"}",
	      "event: response.reasoning_text.delta\n", "event: response.reasoning_text.done\n",
	      "\"text\":\"hm\"", "event: response.content_part.done\n", "event: response.output_item.done\n",
	      "event: response.output_item.added\n",
	      "\"output_index\":1,\"item\":{\"id\":\"msg_", "event: response.content_part.added\n", "event: response.output_text.delta\n",
	      "event: response.output_text.done\n",
	      "event: response.content_part.done\n", "event: response.output_item.done\n", "event: response.output_item.added\n",
	      "\"output_index\":2,\"item\":{\"id\":\"fc_",
	      "\"type\":\"function_call\",\"status\":\"in_progress\"", "event: response.function_call_arguments.delta\n",
	      "event: response.function_call_arguments.done\n",
	      "\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"", "event: response.output_item.done\n", "\"output_index\":3",
	      "event: response.completed\n", "\"output\":[{\"id\":\"rs_",
	      "{\"id\":\"msg_", "{\"id\":\"fc_", "{\"id\":\"fc_");
	over();
}

TEST(how_much_to_think_reaches_the_template)
{
	static const char *const cases[][3] = {
	    {"/v1/chat/completions", "{" USER ",\"reasoning_effort\":\"none\"}", "{\"enable_thinking\":false}"},
	    {"/v1/chat/completions", "{" USER ",\"reasoning_effort\":\"low\"}", "{\"reasoning_effort\":\"low\"}"},
	    {"/v1/responses", "{\"input\":\"x\",\"reasoning\":{\"effort\":\"high\"}}", "{\"reasoning_effort\":\"high\"}"},
	    {"/v1/messages", "{\"max_tokens\":9," USER ",\"thinking\":{\"type\":\"disabled\"}}", "{\"enable_thinking\":false}"},
	    {"/v1/messages", "{\"max_tokens\":9," USER ",\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"max\"}}",
	     "{\"enable_thinking\":true,\"reasoning_effort\":\"max\"}"},
	    {"/api/chat", "{\"model\":\"m\"," USER ",\"think\":\"low\"}", "{\"enable_thinking\":true,\"reasoning_effort\":\"low\"}"},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		CHECK_INT(call("POST", cases[i][0], cases[i][1]), HTH_OK);
		CHECK_STR(request(0)->input.template_json, cases[i][2]);
		over();
	}
}

TEST_MAIN()
