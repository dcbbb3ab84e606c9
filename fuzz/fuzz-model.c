/* fuzz-model.c - any bytes as a model: refused with a message, or it computes and embeds within what it planned. The
 * GGUF reader has its own fuzzer; this one is after parameters and shapes that do not agree, and what a pass makes of
 * any weights. */
#include "engine/engine.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_PLAN = 64 << 20, MAX_LAYERS = 32 };

static void require(int holds)
{
	if (!holds)
		abort();
}

static void compute(const hth_model *model, hth_threads *threads)
{
	const hth_model_info *info = hth_model_get_info(model);
	hth_session_options options = {
	    .n_seq = 2, .n_ctx = info->n_ctx_train < 70 ? info->n_ctx_train : 70, .n_batch = 40, .n_outputs = 3};
	hth_error err = HTH_ERROR_INIT;
	hth_session *session;
	if (info->n_layer > MAX_LAYERS || hth_session_plan_bytes(model, &options) > MAX_PLAN)
		return;
	if (hth_session_create(&session, model, threads, &options, &err) != HTH_OK) {
		require(err.message[0] != '\0');
		return;
	}
	if (!info->embedding) {
		hth_batch_token batch[38];
		for (size_t i = 0; i < 38; i++)
			batch[i] = (hth_batch_token){
			    .token = (int32_t)(i * 31 % info->n_vocab), .seq = i % 3 == 2, .want_logits = i > 35};
		size_t n = options.n_ctx < 38 ? options.n_ctx : 38;
		hth_status status = hth_session_decode(session, batch, n, NULL, &err);
		require(status == HTH_OK);
		hth_session_share(session, 1, 0, 5);
		require(hth_session_decode(session, batch + 2, hth_session_length(session, 1) < options.n_ctx, NULL,
		                           &err) == HTH_OK);
	}
	float *embedding = calloc(info->n_embd, sizeof *embedding);
	require(embedding != NULL);
	if (hth_session_embed(session, (const int32_t[]){0, (int32_t)info->n_vocab - 1, 0},
	                      options.n_ctx < 3 ? options.n_ctx : 3, embedding, NULL, &err) != HTH_OK)
		require(err.message[0] != '\0');
	free(embedding);
	hth_session_destroy(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static hth_threads *threads;
	hth_error err = HTH_ERROR_INIT;
	hth_gguf *gguf;
	hth_model *model;
	if (threads == NULL)
		require(hth_threads_create(&threads, 1, &err) == HTH_OK);
	if (hth_gguf_open_memory(&gguf, data, size, "input", &err) != HTH_OK)
		return 0;
	if (hth_model_open_gguf(&model, gguf, &err) != HTH_OK) {
		require(err.message[0] != '\0');
		return 0;
	}
	compute(model, threads);
	hth_model_close(model);
	return 0;
}
