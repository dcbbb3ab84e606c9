/* measure-weigh.c - how many tokens of an answer that one machine made another would not have chosen: the figures behind HTH_MISS_*
 * (pool/standing.h).
 *
 *   measure-weigh MODEL ROW OTHER-MODEL OTHER-ROW ANSWERS TEMPERATURE TOKENS
 *
 * MODEL answers with the kernels of ROW (c, avx2, avx512), ANSWERS times; OTHER-MODEL weighs with those of OTHER-ROW. Prints the tokens,
 * and how many were missed by more than 0.01, 0.02, 0.05, 0.1 and 0.2. No test: docs/neighbourhood.md has what it printed. */
#include "runner-world.h"

enum { ANSWERS_MAX = 256, ANSWER_MAX = 512 };

typedef struct kept {
	hth_request *request;
	int32_t ids[ANSWER_MAX];
	float miss[ANSWER_MAX];
	size_t n_ids, n_miss;
	bool ended;
} kept;

static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	kept *k = ctx;
	(void)request;
	for (size_t i = 0; i < piece->n_ids && k->n_ids < ANSWER_MAX; i++)
		k->ids[k->n_ids++] = piece->ids[i];
	for (size_t i = 0; i < piece->n_evidence && k->n_miss < ANSWER_MAX; i++)
		k->miss[k->n_miss++] = piece->evidence[i].miss;
}
static void on_ended(void *ctx, hth_request *request)
{
	(void)request;
	((kept *)ctx)->ended = true;
}
static const hth_request_sink sink = {.piece = on_piece, .ended = on_ended};

static const char *const words[] = {"I would like to book a table for two.", "What's the weather like?", "I want to see a movie tonight.",
                                    "Book me a hotel in Paris.",
                                    "Order a large coffee please", "Hello", "Add an event to my calendar for Monday",
                                    "Find me a bus to Chicago",
                                    "Play some music", "I need a doctor", "Can you help me to rent a car?", "What is on my bank account?"};

static hth_request *ask(kept *k, int i, float temperature, int tokens)
{
	told t = {0};
	hth_request *request = new_chat(&t, words[(size_t)i % HTH_COUNT(words)], tokens);
	request->sink = &sink;
	request->sink_ctx = k;
	request->input.with_ids = true;
	request->params.sampling.temperature = temperature;
	request->params.sampling.seed = (uint64_t)i + 1;
	request->params.ignore_eos = true;
	return k->request = request;
}

static bool open_row(world *w, const char *model, const char *row)
{
	hth_error err = HTH_ERROR_INIT;
	setenv("HEARTH_KERNELS", row, 1);
	*w = (world){0};
	if (world_start(w, "model", model, (hth_runner_options){.n_slots = 1, .n_ctx = 512}, &err) != HTH_OK)
		return false;
	WORLD_UNTIL(w, w->n_ready > 0 || w->n_exited > 0, 60000);
	return w->n_ready > 0;
}

static int measure(char **argv)
{
	static kept made[ANSWERS_MAX], weighed;
	int n = atoi(argv[5]), tokens = atoi(argv[7]);
	float temperature = (float)atof(argv[6]);
	hth_error err = HTH_ERROR_INIT;
	world w;
	if (n < 1 || n > ANSWERS_MAX || tokens < 1 || tokens > ANSWER_MAX || !open_row(&w, argv[1], argv[2]))
		return 1;
	for (int i = 0; i < n; i++) {
		if (hth_runner_submit(w.runner, ask(&made[i], i, temperature, tokens), &err) != HTH_OK)
			return 1;
		WORLD_UNTIL(&w, made[i].ended, 600000);
	}
	world_finish(&w);
	if (!open_row(&w, argv[3], argv[4]))
		return 1;
	static const float limits[] = {0, 0.01f, 0.02f, 0.05f, 0.1f, 0.2f};
	size_t all = 0, over[HTH_COUNT(limits)] = {0};
	for (int i = 0; i < n; i++) {
		weighed = (kept){0};
		hth_request *request = ask(&weighed, i, temperature, tokens);
		request->input.resume = calloc(made[i].n_ids, sizeof(int32_t));
		memcpy(request->input.resume, made[i].ids, made[i].n_ids * sizeof(int32_t));
		request->input.n_resume = made[i].n_ids;
		request->input.weigh = true;
		if (hth_runner_submit(w.runner, request, &err) != HTH_OK)
			return 1;
		WORLD_UNTIL(&w, weighed.ended, 600000);
		all += weighed.n_miss;
		for (size_t k = 0; k < weighed.n_miss; k++)
			for (size_t l = 0; l < HTH_COUNT(limits); l++)
				over[l] += weighed.miss[k] > limits[l];
		hth_request_unref(request);
		hth_request_unref(made[i].request);
	}
	world_finish(&w);
	printf("%s %s by %s %s, temperature %s: %zu tokens;", argv[1], argv[2], argv[3], argv[4], argv[6], all);
	for (size_t l = 0; l < HTH_COUNT(limits); l++)
		printf(" >%g: %zu (%.2f%%)", (double)limits[l], over[l], all ? 100.0 * (double)over[l] / (double)all : 0.0);
	printf("\n");
	return 0;
}

static void no_harness(void)
{
	(void)test_last, (void)test_skip_reason;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "__runner") == 0)
		return hth_runner_main(argc, argv);
	no_harness();
	if (argc != 8) {
		fprintf(stderr, "measure-weigh MODEL ROW OTHER-MODEL OTHER-ROW ANSWERS TEMPERATURE TOKENS\n");
		return 2;
	}
	return measure(argv);
}
