/* test-travel.c - a request's way to another home and back: nothing is lost, nothing else is taken for one, and whatever text travels was
 * looked at. */
#include "harness.h"
#include "base/mem.h"
#include "privacy/privacy.h"
#include "privacy/travel.h"

static hth_error err;

static hth_request *full(void)
{
	hth_request *r = NULL;
	if (hth_request_create(&r, HTH_CHAT, &err) != HTH_OK)
		abort();
	r->input.messages_json = strdup("[{\"role\":\"user\",\"content\":\"h\xC3\xA9llo\"}]");
	r->input.tools_json = strdup("[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"description\":\"looks\"}}]");
	r->input.template_json = strdup("{\"enable_thinking\":false}");
	r->input.settings_json = strdup("{\"system\":\"Be brief.\"}");
	r->params.sampling.temperature = 0.7f;
	r->params.sampling.repeat_penalty = 1.1f;
	r->params.sampling.seed = 0x123456789abcdefu;
	r->params.sampling.seed_given = true;
	r->params.bias = calloc(2, sizeof *r->params.bias);
	r->params.bias[0] = (hth_logit_bias){5, -100};
	r->params.bias[1] = (hth_logit_bias){9, 1.5f};
	r->params.sampling.logit_bias = r->params.bias;
	r->params.sampling.n_logit_bias = 2;
	r->params.stop[r->params.n_stop++] = strdup("\n\n");
	r->params.grammar = strdup("root ::= \"{}\"");
	r->params.grammar_trigger = strdup("<tool_call>");
	r->params.grammar_trigger_if = strdup("<think>");
	r->params.special_text = r->params.ignore_eos = true;
	r->params.max_tokens = 77;
	return r;
}

TEST(a_request_comes_back_as_it_left)
{
	hth_request *r = full(), *got = NULL;
	hth_buf out = HTH_BUF_INIT(HTH_TRAVEL_MAX), again = HTH_BUF_INIT(HTH_TRAVEL_MAX);
	REQUIRE_OK(hth_travel_check(r, &err));
	hth_travel_put(r, &out);
	REQUIRE_OK(hth_travel_get(out.data, out.len, &got, &err));
	CHECK_STR(got->input.messages_json, r->input.messages_json);
	CHECK_STR(got->input.settings_json, r->input.settings_json);
	CHECK_STR(got->params.grammar_trigger_if, "<think>");
	CHECK_STR(got->params.stop[0], "\n\n");
	CHECK(got->params.sampling.seed == r->params.sampling.seed && got->params.sampling.seed_given && got->params.ignore_eos &&
	      got->params.special_text);
	CHECK(got->params.max_tokens == 77 && got->params.sampling.n_logit_bias == 2 && got->params.bias[1].token == 9);
	CHECK(got->state == HTH_REQUEST_NEW && got->privacy == HTH_PRIVATE && got->model[0] == '\0' && strcmp(got->id, r->id) != 0);
	CHECK(hth_travel_sampler(got) == hth_travel_sampler(r));
	got->params.sampling.top_k++;
	CHECK(hth_travel_sampler(got) != hth_travel_sampler(r));
	got->params.sampling.top_k--;
	hth_travel_put(got, &again);
	CHECK(again.len == out.len && memcmp(again.data, out.data, out.len) == 0);
	hth_request_unref(got);
	for (size_t n = 0; n < out.len; n++) {
		char *copy = malloc(n ? n : 1);
		memcpy(copy, out.data, n);
		CHECK_INT(hth_travel_get(copy, n, &got, &err), HTH_BAD_FORMAT);
		free(copy);
	}
	hth_request_unref(r);
	hth_buf_finish(&out);
	hth_buf_finish(&again);
}

TEST(numbers_out_of_range_are_refused)
{
	hth_request *r = full(), *got = NULL;
	hth_buf out = HTH_BUF_INIT(HTH_TRAVEL_MAX);
	r->params.sampling.temperature = -3;
	hth_travel_put(r, &out);
	CHECK_INT(hth_travel_get(out.data, out.len, &got, &err), HTH_INVALID);
	r->params.sampling.temperature = 1;
	r->params.max_tokens = -7;
	hth_buf_clear(&out);
	hth_travel_put(r, &out);
	CHECK_INT(hth_travel_get(out.data, out.len, &got, &err), HTH_BAD_FORMAT);
	free(r->input.messages_json);
	r->input.messages_json = NULL; /* a chat without words */
	r->params.max_tokens = 7;
	hth_buf_clear(&out);
	hth_travel_put(r, &out);
	CHECK_INT(hth_travel_get(out.data, out.len, &got, &err), HTH_BAD_FORMAT);
	hth_request_unref(r);
	hth_buf_finish(&out);
}

TEST(what_no_other_home_does_stays_and_says_why)
{
	for (int i = 0; i < 7; i++) {
		hth_request *r = full();
		static const char *const why[] = {"logprobs", "echo", "beginning is given", "token numbers", "mirostat", "picture",
		                                  "no answer"};
		int32_t *tokens = calloc(1, sizeof *tokens);
		CHECK_OK(hth_travel_check(r, &err));
		switch (i) {
		case 0: r->params.top_logprobs = 0; break;
		case 1: r->input.echo = true; break;
		case 2: r->input.continue_last = true; break;
		case 3:
			r->input.tokens = tokens;
			r->input.n_tokens = 1;
			tokens = NULL;
			break;
		case 4: r->params.sampling.mirostat = 2; break;
		case 5:
			free(r->input.messages_json);
			r->input.messages_json = strdup("[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]");
			break;
		default: r->kind = HTH_EMBEDDING;
		}
		CHECK_INT(hth_travel_check(r, &err), HTH_UNSUPPORTED);
		CHECK(strstr(err.message, why[i]) != NULL);
		free(tokens);
		hth_request_unref(r);
	}
}

/* A secret in any place that travels, or that what travels is made of, keeps the request at home. */
TEST(every_text_that_travels_was_looked_at)
{
	static const char secret[] = "mail anna@example.org";
	hth_privacy_add_audience(HTH_PUBLIC);
	hth_privacy_add_audience(HTH_NEIGHBOURS);
	hth_request *plain = full();
	CHECK_INT(hth_privacy_classify(plain, HTH_PUBLIC), HTH_PUBLIC);
	hth_request_unref(plain);
	for (int i = 0; i < 10; i++) {
		hth_request *r = full();
		char json[128];
		snprintf(json, sizeof json, i == 0 || i == 1 ? "[{\"role\":\"user\",\"description\":\"%s\"}]" : "{\"description\":\"%s\"}",
		         secret);
		char **const places[] = {&r->input.messages_json,   &r->input.tools_json,  &r->input.template_json,
		                         &r->input.settings_json, &r->input.format_json,     &r->params.stop[0],    &r->params.grammar,
		                         &r->params.grammar_trigger, &r->params.grammar_trigger_if, &r->input.must_call_name};
		free(*places[i]);
		*places[i] = strdup(i < 5 ? json : secret);
		CHECK_INT(hth_privacy_classify(r, HTH_PUBLIC), HTH_PRIVATE);
		hth_request_unref(r);
	}
}

TEST_MAIN()
