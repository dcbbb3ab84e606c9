#include "base/mem.h"
#include "runner/runner-messages.h"
#include "harness.h"

enum { OUT_MAX = 80 << 20 };

/* A request with something in every field. */
static hth_logit_bias biases[] = {{5, -100}, {70000, 1.5f}};
static int32_t ids[] = {1, 2, 300000};
static void full_ask(hth_request_input *input, hth_request_params *params)
{
	*input = (hth_request_input){.messages_json = "[{\"role\":\"user\",\"content\":\"h\xC3\xA9\"}]",
	                             .tools_json = "[]",
	                             .template_json = "{}",
	                             .settings_json = "{\"system\":\"Be brief.\"}",
	                             .text = "a\0b",
	                             .text_len = 3,
	                             .tokens = ids,
	                             .n_tokens = 3,
	                             .add_special = true,
	                             .with_pieces = true,
	                             .echo = true,
	                             .resume = ids,
	                             .n_resume = 2,
	                             .resume_bytes = 7,
	                             .background = true,
	                             .with_ids = true};
	*params = (hth_request_params){.sampling = hth_sampling_defaults(),
	                               .max_tokens = 48,
	                               .stop = {"\n\n", "</s>"},
	                               .n_stop = 2,
	                               .top_logprobs = 3,
	                               .ignore_eos = true,
	                               .grammar = "root ::= \"{}\"",
	                               .grammar_trigger = "<tool_call>",
	                               .grammar_trigger_if = "<think>",
	                               .special_text = true};
	params->sampling.seed = 0x123456789ABCDEFu;
	params->sampling.seed_given = true;
	params->sampling.logit_bias = biases;
	params->sampling.n_logit_bias = HTH_COUNT(biases);
}

static hth_frame only_frame(hth_frame_decoder *decoder, hth_frame_direction direction, const hth_buf *out)
{
	hth_error err = HTH_ERROR_INIT;
	hth_frame frame = {0};
	bool have = false;
	hth_frame_decoder_init(decoder, direction);
	CHECK_OK(hth_frame_decoder_feed(decoder, out->data, out->len, &err));
	CHECK_OK(hth_frame_decoder_next(decoder, &frame, &have, &err));
	CHECK(have);
	return frame;
}

TEST(request_arrives_as_it_was_sent)
{
	hth_error err = HTH_ERROR_INIT;
	hth_request_input input;
	hth_request_params params;
	full_ask(&input, &params);
	hth_buf out = HTH_BUF_INIT(OUT_MAX);
	REQUIRE(hth_message_put_submit(&out, 77, HTH_COMPLETION, &input, &params));
	hth_frame_decoder decoder;
	hth_frame frame = only_frame(&decoder, HTH_TO_RUNNER, &out);
	CHECK_INT(frame.type, HTH_FRAME_SUBMIT);
	CHECK_INT(frame.request, 77);
	hth_ask ask;
	REQUIRE_OK(hth_message_get_submit(&frame, &ask, &err));
	CHECK_INT(ask.kind, HTH_COMPLETION);
	CHECK_STR(ask.input.messages_json, input.messages_json);
	CHECK_STR(ask.input.settings_json, input.settings_json);
	CHECK_INT(ask.input.text_len, 3);
	CHECK(memcmp(ask.input.text, "a\0b", 4) == 0);
	CHECK_INT(ask.input.tokens[2], 300000);
	CHECK(ask.input.add_special && !ask.input.parse_special && ask.input.with_pieces && ask.input.echo);
	CHECK(!ask.input.continue_last && ask.params.ignore_eos && ask.params.sampling.seed_given);
	CHECK_INT(ask.params.sampling.seed, 0x123456789ABCDEF);
	CHECK_NEAR(ask.params.sampling.top_p, 0.95, 1e-6);
	CHECK_INT(ask.params.sampling.repeat_last_n, 64);
	CHECK_INT(ask.params.sampling.logit_bias[1].token, 70000);
	CHECK_INT(ask.params.max_tokens, 48);
	CHECK_INT(ask.params.n_stop, 2);
	CHECK_STR(ask.params.stop[1], "</s>");
	CHECK_STR(ask.params.grammar, params.grammar);
	CHECK_STR(ask.params.grammar_trigger, params.grammar_trigger);
	CHECK_STR(ask.params.grammar_trigger_if, params.grammar_trigger_if);
	CHECK(ask.params.special_text);
	/* and from there to the same bytes again */
	hth_buf again = HTH_BUF_INIT(OUT_MAX);
	CHECK(hth_message_put_submit(&again, 77, ask.kind, &ask.input, &ask.params));
	CHECK_INT(again.len, out.len);
	CHECK(memcmp(again.data, out.data, out.len) == 0);
	hth_ask_finish(&ask);
	hth_buf_finish(&again);
	hth_buf_finish(&out);
	hth_frame_decoder_finish(&decoder);
}

TEST(request_cut_anywhere_is_refused)
{
	hth_error err = HTH_ERROR_INIT;
	hth_request_input input;
	hth_request_params params;
	full_ask(&input, &params);
	hth_buf out = HTH_BUF_INIT(OUT_MAX);
	REQUIRE(hth_message_put_submit(&out, 1, HTH_CHAT, &input, &params));
	size_t len = out.len - HTH_FRAME_HEADER;
	for (size_t n = 0; n < len; n++) {
		char *copy = malloc(n ? n : 1); /* exactly as long, so that ASan sees a byte read past its end */
		memcpy(copy, out.data + HTH_FRAME_HEADER, n);
		hth_frame frame = {.type = HTH_FRAME_SUBMIT, .request = 1, .payload = (unsigned char *)copy, .len = n};
		hth_ask ask;
		if (hth_message_get_submit(&frame, &ask, &err) != HTH_BAD_FORMAT) {
			CHECK_INT(n, -1);
			break;
		}
		free(copy);
	}
	hth_buf_append_char(&out, 0);
	hth_frame frame = {.type = HTH_FRAME_SUBMIT,
	                   .request = 1,
	                   .payload = (unsigned char *)out.data + HTH_FRAME_HEADER,
	                   .len = len + 1};
	hth_ask ask;
	CHECK_INT(hth_message_get_submit(&frame, &ask, &err), HTH_BAD_FORMAT); /* a byte too many */
	hth_buf_finish(&out);
}

TEST(frames_come_out_whole_however_the_bytes_come_in)
{
	hth_error err = HTH_ERROR_INIT;
	hth_buf out = HTH_BUF_INIT(OUT_MAX);
	hth_done done = {.reason = HTH_FINISH_LENGTH,
	                 .usage = {.prompt_tokens = 10, .cached_tokens = 4, .answer_tokens = 3, .decode_ns = 1u << 31},
	                 .stop = 1};
	hth_answer_piece piece = {.text = "h\xC3\xA9llo", .len = 6, .n_tokens = 2};
	int32_t tokens[] = {7, 8};
	float values[] = {0.6f, -0.8f};
	CHECK(hth_message_put_progress(&out, 0.5f));
	CHECK(hth_message_put_piece(&out, 9, &piece));
	CHECK(hth_message_put_tokens(&out, 10, tokens, 2, false));
	CHECK(hth_message_put_embedding(&out, 11, values, 2));
	CHECK(hth_message_put_done(&out, 9, &done));
	static const hth_frame_type expected[] = {HTH_FRAME_PROGRESS, HTH_FRAME_PIECE, HTH_FRAME_TOKENS, HTH_FRAME_EMBEDDING,
	                                          HTH_FRAME_DONE};
	for (size_t step = 1; step <= out.len; step = step < 8 ? step + 1 : step * 3) {
		hth_frame_decoder decoder;
		hth_frame_decoder_init(&decoder, HTH_TO_DAEMON);
		size_t n = 0;
		for (size_t at = 0; at < out.len; at += step) {
			REQUIRE_OK(hth_frame_decoder_feed(&decoder, out.data + at, HTH_MIN(step, out.len - at), &err));
			for (;;) {
				hth_frame frame;
				bool have;
				REQUIRE_OK(hth_frame_decoder_next(&decoder, &frame, &have, &err));
				if (!have)
					break;
				REQUIRE(n < HTH_COUNT(expected));
				CHECK_INT(frame.type, expected[n++]);
				if (frame.type == HTH_FRAME_DONE) {
					hth_done got;
					CHECK_OK(hth_message_get_done(&frame, &got, &err));
					CHECK_INT(got.reason, HTH_FINISH_LENGTH);
					CHECK_INT(got.usage.cached_tokens, 4);
					CHECK_INT(got.usage.decode_ns, 1u << 31);
					CHECK_INT(got.stop, 1);
				}
			}
		}
		CHECK_INT(n, HTH_COUNT(expected));
		hth_frame_decoder_finish(&decoder);
	}
	hth_buf_finish(&out);
}

/* Each is one header that must be refused before its payload comes. */
TEST(bad_headers_are_refused_at_once)
{
	static const struct {
		unsigned char header[HTH_FRAME_HEADER];
		hth_frame_direction direction;
		hth_status status;
	} cases[] = {
	    {{0, 0, 0, 0, 1, 2, 0, 0, 1, 0, 0, 0}, HTH_TO_RUNNER, HTH_BAD_FORMAT},             /* version */
	    {{0, 0, 0, 0, 2, 9, 0, 0, 1, 0, 0, 0}, HTH_TO_RUNNER, HTH_BAD_FORMAT},             /* type */
	    {{0, 0, 0, 0, 2, 67, 0, 0, 1, 0, 0, 0}, HTH_TO_RUNNER, HTH_BAD_FORMAT},            /* wrong way */
	    {{0, 0, 0, 0, 2, 1, 0, 0, 1, 0, 0, 0}, HTH_TO_DAEMON, HTH_BAD_FORMAT},             /* wrong way */
	    {{0, 0, 0, 0, 2, 2, 1, 0, 1, 0, 0, 0}, HTH_TO_RUNNER, HTH_BAD_FORMAT},             /* zeros */
	    {{0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0}, HTH_TO_RUNNER, HTH_BAD_FORMAT},             /* cancels nobody */
	    {{0, 0, 0, 0, 2, 3, 0, 0, 1, 0, 0, 0}, HTH_TO_RUNNER, HTH_BAD_FORMAT},             /* quit of somebody */
	    {{1, 0, 0, 0, 2, 2, 0, 0, 1, 0, 0, 0}, HTH_TO_RUNNER, HTH_TOO_LARGE},              /* cancel with bytes */
	    {{1, 0, 0, 4, 2, 1, 0, 0, 1, 0, 0, 0}, HTH_TO_RUNNER, HTH_TOO_LARGE},              /* 64 MiB and one */
	    {{0xFF, 0xFF, 0xFF, 0xFF, 2, 67, 0, 0, 1, 0, 0, 0}, HTH_TO_DAEMON, HTH_TOO_LARGE}, /* 4 GiB */
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		hth_error err = HTH_ERROR_INIT;
		hth_frame_decoder decoder;
		hth_frame_decoder_init(&decoder, cases[i].direction);
		CHECK_OK(hth_frame_decoder_feed(&decoder, cases[i].header, HTH_FRAME_HEADER, &err));
		hth_frame frame;
		bool have = false;
		CHECK_INT(hth_frame_decoder_next(&decoder, &frame, &have, &err), cases[i].status);
		CHECK(err.message[0] != '\0');
		hth_frame_decoder_finish(&decoder);
	}
}

TEST(decoder_holds_a_bounded_number_of_bytes)
{
	hth_error err = HTH_ERROR_INIT;
	hth_frame_decoder decoder;
	hth_frame_decoder_init(&decoder, HTH_TO_DAEMON);
	HTH_AUTO_FREE char *zeros = calloc(1, 1 << 20);
	hth_status status = HTH_OK;
	int fed = 0;
	for (; fed < 100 && status == HTH_OK; fed++)
		status = hth_frame_decoder_feed(&decoder, zeros, 1 << 20, &err);
	CHECK_INT(status, HTH_TOO_LARGE);
	CHECK(fed <= 3);
	hth_frame_decoder_finish(&decoder);
}

TEST(frame_that_does_not_fit_leaves_no_trace)
{
	hth_buf out = HTH_BUF_INIT(100);
	CHECK(hth_message_put_progress(&out, 0.25f));
	size_t len = out.len;
	char text[200];
	memset(text, 'x', sizeof text);
	hth_answer_piece piece = {.text = text, .len = sizeof text};
	CHECK(!hth_message_put_piece(&out, 1, &piece));
	CHECK_INT(out.len, len);
	CHECK(hth_message_put_progress(&out, 0.5f)); /* and there is room for a smaller one */
	hth_buf_finish(&out);
	hth_buf big = HTH_BUF_INIT(OUT_MAX);
	HTH_AUTO_FREE char *huge = calloc(1, HTH_FRAME_SUBMIT_MAX + 1);
	hth_request_input input = {.text = huge, .text_len = HTH_FRAME_SUBMIT_MAX};
	hth_request_params params = {.sampling = hth_sampling_defaults(), .max_tokens = -1, .top_logprobs = -1};
	CHECK(!hth_message_put_submit(&big, 1, HTH_COMPLETION, &input, &params)); /* over the type's own size */
	CHECK_INT(big.len, 0);
	hth_buf_finish(&big);
}

TEST(logprobs_arrive_row_by_row)
{
	hth_error err = HTH_ERROR_INIT;
	hth_token_logprob chosen[] = {{5, -0.5f, "ab", 2}, {6, -INFINITY, "\xC3", 1}};
	hth_token_logprob top[] = {{5, -0.5f, "ab", 2}, {9, -1.5f, "", 0}, {7, -0.1f, "x", 1}, {6, -INFINITY, "\xC3", 1}};
	hth_answer_piece piece = {.text = "ab", .len = 2, .n_tokens = 2, .logprobs = chosen, .n_logprobs = 2, .top = top, .n_top = 2};
	hth_buf out = HTH_BUF_INIT(OUT_MAX);
	REQUIRE(hth_message_put_piece(&out, 3, &piece));
	hth_frame_decoder decoder;
	hth_frame frame = only_frame(&decoder, HTH_TO_DAEMON, &out);
	static hth_piece_storage storage;
	hth_answer_piece got = {0};
	REQUIRE_OK(hth_message_get_piece(&frame, &storage, &got, &err));
	CHECK_INT(got.n_logprobs, 2);
	CHECK_INT(got.n_top, 2);
	CHECK_INT(got.logprobs[1].token, 6);
	CHECK(isinf(got.logprobs[1].logprob));
	CHECK_INT(got.top[1].token, 9);
	CHECK_INT(got.top[2].token, 7);
	CHECK_INT(got.top[3].n_bytes, 1);
	free(storage.rows);
	storage = (hth_piece_storage){0};
	hth_buf_finish(&out);
	hth_frame_decoder_finish(&decoder);
}

/* What a runner that a model has taken over might send. */
TEST(daemon_refuses_values_no_honest_runner_sends)
{
	hth_error err = HTH_ERROR_INIT;
	hth_frame_decoder decoder;
	hth_frame frame;
	static hth_piece_storage storage;
	hth_answer_piece got;
	hth_buf out = HTH_BUF_INIT(OUT_MAX);
#define ONE(put)                                                   \
	hth_buf_clear(&out);                                       \
	CHECK(put);                                                \
	frame = only_frame(&decoder, HTH_TO_DAEMON, &out)
	ONE(hth_message_put_piece(&out, 1, &(hth_answer_piece){.text = "a\xC3", .len = 2}));
	CHECK_INT(hth_message_get_piece(&frame, &storage, &got, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	hth_token_logprob nan = {1, NAN, "", 0};
	ONE(hth_message_put_piece(&out, 1, &(hth_answer_piece){.text = "", .logprobs = &nan, .n_logprobs = 1}));
	CHECK_INT(hth_message_get_piece(&frame, &storage, &got, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	float infinite[] = {1, INFINITY}, *values;
	size_t n;
	ONE(hth_message_put_embedding(&out, 1, infinite, 2));
	CHECK_INT(hth_message_get_embedding(&frame, &values, &n, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	hth_done done;
	ONE(hth_message_put_done(&out, 1, &(hth_done){.stop = 16}));
	CHECK_INT(hth_message_get_done(&frame, &done, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	ONE(hth_message_put_done(&out, 1, &(hth_done){.stop = -1, .usage = {.prompt_tokens = 1, .cached_tokens = 2}}));
	CHECK_INT(hth_message_get_done(&frame, &done, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	hth_error error;
	ONE(hth_message_put_error(&out, HTH_FRAME_FAIL, 1, &(hth_error){.status = HTH_OK, .message = "fine"}));
	CHECK_INT(hth_message_get_error(&frame, &error, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	ONE(hth_message_put_error(&out, HTH_FRAME_FAIL, 1, &(hth_error){.status = HTH_IO, .message = "\x1B[2Jboo\xFF \xC3\xA9"}));
	CHECK_OK(hth_message_get_error(&frame, &error, &err));
	CHECK_STR(error.message, "?[2Jboo\xEF\xBF\xBD \xC3\xA9"); /* nothing that a terminal obeys */
	hth_frame_decoder_finish(&decoder);
	hth_runner_info info = {.n_ctx = 0, .n_slots = 1, .n_embd = 1, .n_vocab = 1};
	ONE(hth_message_put_ready(&out, &info));
	CHECK_INT(hth_message_get_ready(&frame, &info, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	info = (hth_runner_info){.n_ctx = 1, .n_slots = 1, .n_embd = 1, .n_vocab = 1};
	memset(info.chat_template, 'a', sizeof info.chat_template - 1);
	ONE(hth_message_put_ready(&out, &info));
	info.chat_template[0] = '\0';
	CHECK_OK(hth_message_get_ready(&frame, &info, &err));
	CHECK_INT(strlen(info.chat_template), HTH_CHAT_TEMPLATE_MAX - 1);
	hth_frame_decoder_finish(&decoder);
	snprintf(info.chat_template, sizeof info.chat_template, "{{ '\xC3' }}");
	ONE(hth_message_put_ready(&out, &info));
	CHECK_INT(hth_message_get_ready(&frame, &info, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	float fraction;
	ONE(hth_message_put_progress(&out, NAN));
	CHECK_INT(hth_message_get_progress(&frame, &fraction, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	const unsigned char *bytes;
	bool more;
	ONE(hth_message_put_tokens(&out, 1, NULL, 0, true));
	CHECK_INT(hth_message_get_tokens(&frame, &bytes, &n, &more, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	char tail[HTH_PROMPT_TAIL_MAX];
	uint32_t n_tokens = 0;
	ONE(hth_message_put_prompt(&out, 1, "<think>\n", 7));
	CHECK_OK(hth_message_get_prompt(&frame, tail, &n_tokens, &err));
	CHECK_STR(tail, "<think>\n");
	CHECK_INT(n_tokens, 7);
	hth_frame_decoder_finish(&decoder);
	ONE(hth_message_put_prompt(&out, 1, "a\xC3", 7));
	CHECK_INT(hth_message_get_prompt(&frame, tail, &n_tokens, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
	ONE(hth_message_put_prompt(&out, 1, "0123456789012345678901234567890123456789012345678901234567890123", 7)); /* one too many */
	CHECK_INT(hth_message_get_prompt(&frame, tail, &n_tokens, &err), HTH_BAD_FORMAT);
	hth_frame_decoder_finish(&decoder);
#undef ONE
	free(storage.rows);
	storage = (hth_piece_storage){0};
	hth_buf_finish(&out);
}

TEST_MAIN()
