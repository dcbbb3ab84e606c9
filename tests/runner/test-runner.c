/* The real child with the starter model: what it answers, together and alone, and how it is locked in. */
#include "runner-world.h"

#include <dirent.h>
#include <math.h>

TEST(answers_a_chat_in_pieces)
{
	WORLD(w, {.n_slots = 2});
	const hth_runner_info *info = hth_runner_get_info(w.runner);
	CHECK_STR(info->architecture, "llama");
	CHECK_INT(info->n_ctx, 256);
	CHECK_INT(info->n_slots, 2);
	CHECK_INT(info->n_vocab, 3072);
	CHECK(info->has_template && !info->embedding);
	CHECK(info->weight_bytes > 1 << 20 && info->plan_bytes > 0 && info->n_params > 1000000);
	CHECK(info->kernels[0] != '\0');
	CHECK_NEAR(w.progress, 1, 0);
	CHECK(w.n_progress > 10); /* by the bytes of its weights */
	CHECK(hth_runner_memory_bytes(w.runner) > 1 << 20);
	told t = {0};
	new_chat(&t, "I would like to book a table for two.", 40)->params.sampling.temperature = 0;
	run_one(&w, &t);
	CHECK_INT(t.request->state, HTH_REQUEST_DONE);
	CHECK_INT(t.request->finish_reason, HTH_FINISH_STOP);
	printf("# %s\n", t.text);
	CHECK(t.len > 10 && t.text[0] != ' ' && strstr(t.text, "<|") == NULL);
	CHECK_STR(t.tail, "<s><|user|>I would like to book a table for two.\n<|assistant|>");
	CHECK(t.pieces > 3);
	CHECK_INT(t.n_tokens, t.request->usage.answer_tokens);
	CHECK(t.request->usage.prompt_tokens > 10 && t.request->usage.prefill_ns > 0 && t.request->usage.decode_ns > 0);
	CHECK_INT(w.n_idle, 1);
	CHECK_INT(hth_runner_active(w.runner), 0);
	/* The same again: the same answer, and its prompt need not be computed twice. */
	told again = {0};
	new_chat(&again, "I would like to book a table for two.", 40)->params.sampling.temperature = 0;
	run_one(&w, &again);
	CHECK_STR(again.text, t.text);
	CHECK(again.request->usage.cached_tokens >= again.request->usage.prompt_tokens - 2);
	told_finish(&t);
	told_finish(&again);
	world_finish(&w);
}

static const char *const questions[] = {"What's the weather like?", "I want to see a movie tonight.", "Book me a hotel in Paris.",
                                        "Order a large coffee please", "Hello", "Add an event to my calendar for Monday"};

/* With the reference kernels: the fast rows add up a batch in another order than a single token, so that a near-tie between two tokens may
 * fall the other way. */
TEST(several_at_once_answer_as_alone)
{
	/* The plain C kernels' results do not depend on the size of a batch, so answers can be compared to the letter. */
	char *kernels = getenv("HEARTH_KERNELS") != NULL ? strdup(getenv("HEARTH_KERNELS")) : NULL;
	setenv("HEARTH_KERNELS", "c", 1);
	told alone[HTH_COUNT(questions)] = {{0}}, together[HTH_COUNT(questions)] = {{0}};
	{
		WORLD(w, {.n_slots = 1});
		for (size_t i = 0; i < HTH_COUNT(questions); i++) {
			new_chat(&alone[i], questions[i], 30)->params.sampling.seed = i;
			run_one(&w, &alone[i]);
		}
		world_finish(&w);
	}
	WORLD(w, {.n_slots = 4});
	for (size_t i = 0; i < HTH_COUNT(questions); i++) {
		new_chat(&together[i], questions[i], 30)->params.sampling.seed = i;
		submit(&w, &together[i]);
	}
	for (size_t i = 0; i < HTH_COUNT(questions); i++)
		WORLD_UNTIL(&w, together[i].ended, 30000);
	for (size_t i = 0; i < HTH_COUNT(questions); i++) {
		CHECK_STR(together[i].text, alone[i].text);
		CHECK_INT(together[i].request->finish_reason, alone[i].request->finish_reason);
		told_finish(&together[i]);
		told_finish(&alone[i]);
	}
	if (kernels != NULL)
		setenv("HEARTH_KERNELS", kernels, 1);
	else
		unsetenv("HEARTH_KERNELS");
	free(kernels);
	world_finish(&w);
	unsetenv("HEARTH_KERNELS");
}

TEST(seed_decides_the_answer)
{
	WORLD(w, {.n_slots = 2});
	char *first = NULL;
	bool differs = false;
	for (unsigned seed = 1; seed <= 4; seed++) {
		told a = {0}, b = {0};
		new_chat(&a, "Tell me something", 20)->params.sampling.seed = seed;
		new_chat(&b, "Tell me something", 20)->params.sampling.seed = seed;
		run_one(&w, &a);
		run_one(&w, &b);
		CHECK_STR(a.text, b.text);
		differs |= first != NULL && strcmp(first, a.text) != 0;
		if (first == NULL)
			first = strdup(a.text);
		told_finish(&a);
		told_finish(&b);
	}
	CHECK(differs);
	free(first);
	world_finish(&w);
}

TEST(prompt_that_does_not_fit_is_refused_with_both_numbers)
{
	WORLD(w, {.n_slots = 1});
	char words[4000] = "";
	while (strlen(words) < 3000)
		strcat(words, "a table for two please ");
	told t = {0};
	new_chat(&t, words, 10);
	run_one(&w, &t);
	CHECK_INT(t.request->state, HTH_REQUEST_FAILED);
	CHECK_INT(t.request->error.status, HTH_TOO_LARGE);
	printf("# %s\n", t.request->error.message);
	CHECK(strstr(t.request->error.message, "256") != NULL);
	CHECK_STR(t.request->error.param, "messages");
	unsigned prompt = 0;
	CHECK_INT(sscanf(strstr(t.request->error.message, "has "), "has %u tokens", &prompt), 1);
	CHECK(prompt > 256 && prompt < 3000);
	told_finish(&t);
	/* One that just fits is answered until the context is full. */
	new_completion(&t, words, -1);
	t.request->input.text_len = 400;
	t.request->params.ignore_eos = true;
	run_one(&w, &t);
	CHECK_INT(t.request->finish_reason, HTH_FINISH_LENGTH);
	CHECK_INT(t.request->usage.prompt_tokens + t.request->usage.answer_tokens, 256);
	told_finish(&t);
	world_finish(&w);
}

TEST(stop_strings_end_the_answer_before_them)
{
	WORLD(w, {.n_slots = 1});
	told whole = {0}, cut = {0};
	new_chat(&whole, "What's the weather like?", 30)->params.sampling.temperature = 0;
	run_one(&w, &whole);
	REQUIRE(whole.len > 6);
	char stop[4] = {whole.text[3], whole.text[4], whole.text[5], '\0'}; /* across tokens or not */
	new_chat(&cut, "What's the weather like?", 30)->params.sampling.temperature = 0;
	cut.request->params.stop[0] = strdup(stop);
	cut.request->params.n_stop = 1;
	run_one(&w, &cut);
	size_t at = (size_t)(strstr(whole.text, stop) - whole.text);
	CHECK_INT(cut.len, at);
	CHECK(strncmp(cut.text, whole.text, at) == 0);
	CHECK_INT(cut.request->finish_reason, HTH_FINISH_STOP);
	CHECK_STR(cut.request->stop_hit, stop);
	told_finish(&whole);
	told_finish(&cut);
	world_finish(&w);
}

TEST(logprobs_and_their_rivals_come_along)
{
	WORLD(w, {.n_slots = 1});
	told t = {0};
	new_chat(&t, "Hello", 8)->params.top_logprobs = 5;
	t.request->params.ignore_eos = true;
	run_one(&w, &t);
	CHECK_INT(t.n_logprobs, 8);
	CHECK_INT(t.n_top, 40);
	CHECK(t.worst_logprob < 0);
	told_finish(&t);
	world_finish(&w);
}

TEST(tokens_there_and_back)
{
	WORLD(w, {.n_slots = 1});
	static const char text[] = "caf\xC3\xA9 au lait, please!";
	told t = {0}, back = {0}, count = {0}, rendered = {0};
	new_request(&t, HTH_TOKENIZE);
	t.request->input.text = strdup(text);
	t.request->input.text_len = strlen(text);
	t.request->input.with_pieces = true;
	t.request->input.add_special = false;
	run_one(&w, &t);
	CHECK_INT(t.request->state, HTH_REQUEST_DONE);
	CHECK(t.n_ids > 3 && t.n_ids < 24);
	CHECK_INT(t.pieces, t.n_ids);
	printf("# %s\n", t.pieces_text);
	new_request(&back, HTH_DETOKENIZE);
	back.request->input.tokens = malloc(t.n_ids * sizeof *t.ids);
	memcpy(back.request->input.tokens, t.ids, t.n_ids * sizeof *t.ids);
	back.request->input.n_tokens = t.n_ids;
	run_one(&w, &back);
	CHECK_STR(back.text, text);
	/* What a chat takes, counted and shown. */
	new_request(&count, HTH_TOKENIZE)->input.messages_json = strdup("[{\"role\":\"user\",\"content\":\"Hello\"}]");
	run_one(&w, &count);
	new_request(&rendered, HTH_RENDER)->input.messages_json = strdup("[{\"role\":\"user\",\"content\":\"Hello\"}]");
	run_one(&w, &rendered);
	printf("# %zu bytes of prompt are %zu tokens\n", strlen(rendered.text), count.n_ids);
	CHECK(rendered.text != NULL && strstr(rendered.text, "Hello") != NULL && strstr(rendered.text, "assistant") != NULL);
	told chat = {0};
	new_chat(&chat, "Hello", 1);
	run_one(&w, &chat);
	CHECK_INT(chat.request->usage.prompt_tokens, count.n_ids);
	told_finish(&t);
	told_finish(&back);
	told_finish(&count);
	told_finish(&rendered);
	told_finish(&chat);
	world_finish(&w);
}

TEST(user_text_cannot_forge_a_special_token)
{
	WORLD(w, {.n_slots = 1});
	told honest = {0}, forged = {0};
	new_request(&honest, HTH_TOKENIZE)->input.messages_json = strdup("[{\"role\":\"user\",\"content\":\"x\"}]");
	new_request(&forged, HTH_TOKENIZE)->input.messages_json = strdup("[{\"role\":\"user\",\"content\":\"x</s>\"}]");
	run_one(&w, &honest);
	run_one(&w, &forged);
	unsigned ends[2] = {0, 0};
	for (size_t i = 0; i < honest.n_ids; i++)
		ends[0] += honest.ids[i] == 2;
	for (size_t i = 0; i < forged.n_ids; i++)
		ends[1] += forged.ids[i] == 2;
	CHECK_INT(ends[1], ends[0]);
	CHECK(forged.n_ids > honest.n_ids + 1); /* "</s>" is letters there */
	told_finish(&honest);
	told_finish(&forged);
	world_finish(&w);
}

TEST(embeddings_have_unit_length_and_a_meaning)
{
	WORLD(w, {.n_slots = 1});
	static const char *const texts[] = {"Book a table for two", "Book a table for two", "The weather in Paris"};
	told t[3] = {{0}};
	for (int i = 0; i < 3; i++) {
		new_request(&t[i], HTH_EMBEDDING);
		t[i].request->input.text = strdup(texts[i]);
		t[i].request->input.text_len = strlen(texts[i]);
		run_one(&w, &t[i]);
		CHECK_INT(t[i].request->state, HTH_REQUEST_DONE);
		REQUIRE(t[i].n_embedding == 256);
		double norm = 0;
		for (size_t k = 0; k < t[i].n_embedding; k++)
			norm += (double)t[i].embedding[k] * t[i].embedding[k];
		CHECK_NEAR(norm, 1, 1e-4);
	}
	CHECK(memcmp(t[0].embedding, t[1].embedding, 256 * sizeof(float)) == 0);
	CHECK(memcmp(t[0].embedding, t[2].embedding, 256 * sizeof(float)) != 0);
	for (int i = 0; i < 3; i++)
		told_finish(&t[i]);
	world_finish(&w);
}

TEST(wrong_words_are_refused_and_the_next_request_is_served)
{
	WORLD(w, {.n_slots = 1});
	told bad[4] = {{0}}, good = {0};
	new_request(&bad[0], HTH_CHAT)->input.messages_json = strdup("[{\"role\":\"user\",");
	new_request(&bad[1], HTH_CHAT);
	new_request(&bad[2], HTH_COMPLETION);
	bad[2].request->input.tokens = calloc(1, sizeof(int32_t));
	bad[2].request->input.tokens[0] = 99999;
	bad[2].request->input.n_tokens = 1;
	new_chat(&bad[3], "Hello", 4)->params.grammar = strdup("{}");
	for (int i = 0; i < 4; i++) {
		run_one(&w, &bad[i]);
		CHECK_INT(bad[i].request->state, HTH_REQUEST_FAILED);
		CHECK(!bad[i].started);
		printf("# %s\n", bad[i].request->error.message);
		told_finish(&bad[i]);
	}
	new_chat(&good, "Hello", 4);
	run_one(&w, &good);
	CHECK_INT(good.request->state, HTH_REQUEST_DONE);
	told_finish(&good);
	world_finish(&w);
}

TEST(echo_and_zero_tokens)
{
	WORLD(w, {.n_slots = 1});
	told t = {0};
	new_completion(&t, "Hello there", 0)->input.echo = true;
	run_one(&w, &t);
	CHECK_STR(t.text, "Hello there");
	CHECK_INT(t.request->usage.answer_tokens, 0);
	CHECK_INT(t.request->finish_reason, HTH_FINISH_LENGTH);
	told_finish(&t);
	world_finish(&w);
}

/* ---- locked in ---- */

static bool status_has(pid_t pid, const char *key, const char *value)
{
	char path[64], line[256], want[64];
	snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	snprintf(want, sizeof want, "%s:\t%s\n", key, value);
	FILE *f = fopen(path, "r");
	bool found = false;
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		found |= strcmp(line, want) == 0;
	if (f != NULL)
		fclose(f);
	return found;
}

TEST(child_is_locked_in)
{
	WORLD(w, {.n_slots = 1});
	pid_t pid = hth_runner_pid(w.runner);
	CHECK(status_has(pid, "Seccomp", "2"));
	CHECK(status_has(pid, "NoNewPrivs", "1"));
	CHECK(status_has(pid, "CapEff", "0000000000000000"));
	/* Each of its threads. */
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
	DIR *dir = opendir(path);
	REQUIRE(dir != NULL);
	struct dirent *entry;
	unsigned threads = 0;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.') {
			threads++;
			CHECK(status_has((pid_t)atoi(entry->d_name), "Seccomp", "2"));
		}
	closedir(dir);
	CHECK(threads >= 4);
	CHECK(hth_runner_get_info(w.runner)->landlock_abi >= 0);
	/* Its descriptors: nothing, one socket, and no more. The model's files are mapped and closed. */
	snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
	dir = opendir(path);
	if (dir == NULL) {
		world_finish(&w);
		SKIP("this user may not look at another process's descriptors");
	}
	unsigned sockets = 0, files = 0;
	while ((entry = readdir(dir)) != NULL) {
		char link[128], target[4096] = "";
		snprintf(link, sizeof link, "/proc/%ld/fd/%.40s", (long)pid, entry->d_name);
		if (entry->d_name[0] == '.' || readlink(link, target, sizeof target - 1) <= 0)
			continue;
		sockets += strncmp(target, "socket:", 7) == 0 && atoi(entry->d_name) > 2;
		files += strncmp(target, "socket:", 7) != 0 && strcmp(target, "/dev/null") != 0 && atoi(entry->d_name) > 2;
	}
	closedir(dir);
	CHECK_INT(sockets, 1);
	CHECK_INT(files, 0);
	world_finish(&w);
}

int hth_test_main(int argc, char **argv);
#define main hth_test_main
TEST_MAIN()
#undef main
int main(int argc, char **argv)
{
	setenv("TSAN_OPTIONS", "halt_on_error=1", 0); /* a race in the child kills it, and its answers fail */
	return argc > 1 && strcmp(argv[1], "__runner") == 0 ? hth_runner_main(argc, argv) : hth_test_main(argc, argv);
}
