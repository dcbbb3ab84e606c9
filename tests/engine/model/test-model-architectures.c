/* Each architecture against a naive double-precision computation of the same random model (reference.h). */
#include "reference.h"

enum { N_TOKENS = 75 };

#define BASE .n_embd = 64, .n_layer = 3, .n_head = 4, .n_head_kv = 2, .head_dim = 16, .n_ff = 96
#define EXPERTS .n_expert = 6, .n_used = 3, .n_ff_exp = 64

/* One batch of sequence 0: whole, or layer by layer with a decode of sequence 1 after each. */
static void compute(hth_session *session, const hth_batch_token *batch, size_t n, bool in_slices)
{
	hth_error err = HTH_ERROR_INIT;
	if (!in_slices) {
		CHECK_OK(hth_session_decode(session, batch, n, NULL, &err));
		return;
	}
	CHECK_OK(hth_session_slice_begin(session, batch, n, &err));
	for (bool done = false; !done;) {
		if (hth_session_slice_run(session, 1, NULL, &done, &err) != HTH_OK) {
			test_fail(__FILE__, __LINE__, "%s", err.message);
			return;
		}
		hth_batch_token other[3] = {{1, 1, true}, {2, 1, true}, {3, 1, true}};
		if (!done && hth_session_length(session, 1) < 30)
			CHECK_OK(hth_session_decode(session, other, 3, NULL, &err));
	}
}

/* Runs the model over some tokens in uneven batches with an F32 cache: logits must be the reference's. */
static void check(const tiny_spec *spec, uint32_t n_ctx, bool long_context)
{
	hth_error err = HTH_ERROR_INIT;
	tiny *t = tiny_make(spec);
	hth_model *model = tiny_open(t);
	hth_threads *threads = NULL;
	hth_session *session = NULL;
	hth_session_options o = {.n_seq = 2, .n_ctx = n_ctx, .n_batch = 32, .n_slice = 32, .kv_type = HTH_KV_F32};
	CHECK_OK(hth_threads_create(&threads, 2, &err));
	if (model != NULL)
		CHECK_OK(hth_session_create(&session, model, threads, &o, &err));
	if (session != NULL) {
		int32_t tokens[N_TOKENS];
		for (int i = 0; i < N_TOKENS; i++)
			tokens[i] = (int32_t)(hth_rng_next(&t->rng) % TINY_VOCAB);
		double *want = reference_logits(t, tokens, N_TOKENS, long_context), worst = 0, largest = 0;
		for (size_t at = 0, len = 1; at < N_TOKENS; at += len, len = len * 3 % 32 + 1) {
			hth_batch_token batch[32];
			len = HTH_MIN(len, N_TOKENS - at);
			for (size_t i = 0; i < len; i++)
				batch[i] = (hth_batch_token){.token = tokens[at + i], .want_logits = true};
			compute(session, batch, len, at % 2 == 1);
			for (size_t i = 0; i < len; i++)
				for (size_t c = 0; c < TINY_VOCAB; c++) {
					double w = want[(at + i) * TINY_VOCAB + c];
					worst = fmax(worst, fabs(hth_session_logits(session, i)[c] - w));
					largest = fmax(largest, fabs(w));
				}
		}
		printf("# %s: worst logit difference %.2e of %.2f\n", spec->arch, worst, largest);
		CHECK(largest > 0.5); /* the comparison is of something */
		CHECK(worst < 1e-4 * largest);
		free(want);
	}
	hth_session_destroy(session);
	hth_threads_destroy(threads);
	hth_model_close(model);
	tiny_free(t);
}

#define ARCH(test_name, ...)                                                                                           \
	TEST(test_name)                                                                                                \
	{                                                                                                              \
		const tiny_spec spec = {BASE, __VA_ARGS__};                                                            \
		check(&spec, 0, false);                                                                                \
	}

ARCH(llama_plain, .arch = "llama", .pairs = true, .no_key_length = true)
ARCH(llama_tied_with_linear_scaling, .arch = "llama", .pairs = true, .tied = true, .factor = 4, .scaling = "linear")
ARCH(llama_with_the_old_scaling_key, .arch = "llama", .pairs = true, .factor = 2, .old_factor_key = true)
ARCH(llama_with_scaling_none_ignores_the_factor, .arch = "llama", .pairs = true, .factor = 0, .scaling = "none")
ARCH(llama_with_yarn, .arch = "llama", .pairs = true, .factor = 4, .scaling = "yarn", .ctx_orig = 512, .base = 500000,
     .attn_factor = 0.9)
ARCH(llama3_factors, .arch = "llama", .pairs = true, .freq_factors = true, .base = 500000)
ARCH(llama_with_biases_and_one_head_per_kv_head, .arch = "llama", .pairs = true, .qkv_bias = true, .o_bias = true,
     .n_head = 2)
ARCH(llama_whose_heads_are_wider_than_its_embedding, .arch = "llama", .pairs = true, .head_dim = 32)
ARCH(mixtral, .arch = "llama", .pairs = true, EXPERTS, .n_ff = 64, .norm_topk = true)
ARCH(mixtral_with_a_tensor_per_expert, .arch = "llama", .pairs = true, EXPERTS, .n_ff = 64, .norm_topk = true,
     .separate_experts = true)
ARCH(mixtral_with_fused_gate_and_up, .arch = "llama", .pairs = true, EXPERTS, .n_ff = 64, .norm_topk = true,
     .fused_experts = true)
ARCH(ministral, .arch = "mistral3", .pairs = true, .temp_scale = 0.1, .temp_length = 20)
ARCH(smollm3_leaves_every_fourth_layer_unrotated, .arch = "smollm3", .pairs = true, .no_rope_step = 4, .n_layer = 5,
     .tied = true)
ARCH(qwen2, .arch = "qwen2", .qkv_bias = true, .base = 1000000)
ARCH(qwen3, .arch = "qwen3", .qk_norm = true, .head_dim = 32, .base = 1000000, .tied = true)
ARCH(qwen2moe, .arch = "qwen2moe", .qkv_bias = true, EXPERTS, .n_ff_shared = 128, .shared_gate = true)
ARCH(qwen3moe, .arch = "qwen3moe", .qk_norm = true, EXPERTS, .norm_topk = true)
ARCH(gemma, .arch = "gemma", .act = TINY_GELU_TANH, .embd_scale = 8, .tied = true)
ARCH(gemma2, .arch = "gemma2", .act = TINY_GELU_TANH, .embd_scale = 8, .tied = true, .post_norms = true, .attn_cap = 2,
     .logit_cap = 3, .window = 11, .period = 2)
ARCH(gemma2_with_default_caps, .arch = "gemma2", .act = TINY_GELU_TANH, .embd_scale = 8, .tied = true,
     .post_norms = true, .window = 40, .period = 2, .no_key_length = true, .attn_cap = 50, .logit_cap = 30,
     .caps_unwritten = true)
ARCH(gemma3, .arch = "gemma3", .act = TINY_GELU_TANH, .embd_scale = 8, .tied = true, .post_norms = true,
     .qk_norm = true, .window = 19, .period = 6, .n_layer = 7, .base = 1000000, .local_base = 10000, .factor = 8,
     .scaling = "linear")
ARCH(gemma3_of_27b_scales_by_embedding_per_head, .arch = "gemma3", .act = TINY_GELU_TANH,
     .embd_scale = 5.656854249492381, .tied = true, .post_norms = true, .qk_norm = true, .n_layer = 62, .n_embd = 32,
     .n_ff = 32, .attn_scale = 0.35355339059327373)
ARCH(phi3, .arch = "phi3", .fused_qkv = true, .fused_ffn = true, .n_rot = 12)
ARCH(gpt_oss, .arch = "gpt-oss", .qkv_bias = true, .o_bias = true, .sinks = true, .ffn_norm_is_post = true, EXPERTS,
     .n_ff = 32, .act = TINY_OAI, .softmax_after = true, .expert_bias = true, .window = 33, .period = 2, .factor = 32,
     .scaling = "yarn", .ctx_orig = 64, .base = 150000)
ARCH(granite, .arch = "granite", .pairs = true, .embd_scale = 12, .residual_scale = 0.22, .logit_scale = 8,
     .attn_scale = 0.0078125)
ARCH(granitemoe_with_a_shared_expert, .arch = "granitemoe", .pairs = true, EXPERTS, .n_ff = 64, .norm_topk = true,
     .n_ff_shared = 96, .embd_scale = 12, .residual_scale = 0.22, .logit_scale = 6, .attn_scale = 0.015625)

TEST(phi3_longrope_takes_the_factors_of_its_context)
{
	const tiny_spec spec = {BASE,
	                        .arch = "phi3",
	                        .fused_qkv = true,
	                        .fused_ffn = true,
	                        .long_factors = true,
	                        .attn_factor = 1.19,
	                        .ctx_orig = 80};
	check(&spec, 80, false);
	check(&spec, 81, true);
}

TEST_MAIN()
