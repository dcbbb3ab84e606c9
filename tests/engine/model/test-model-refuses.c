/* Files that follow GGUF but are no model: each is refused, saying what is wrong, and nothing is left behind. */
#include "tiny.h"

#define LLAMA                                                                                                          \
	.arch = "llama", .n_embd = 32, .n_layer = 2, .n_head = 4, .n_head_kv = 2, .head_dim = 8, .n_ff = 32,           \
	.pairs = true
#define MOE LLAMA, .n_expert = 4, .n_used = 2, .n_ff_exp = 32

/* What open says of the file; HTH_OK when it opens. */
static hth_status verdict(tiny *t, hth_error *err)
{
	hth_model *model = NULL;
	int fd = tiny_write(t);
	hth_status status = fd < 0 ? HTH_INTERNAL : hth_model_open(&model, &fd, 1, "file", err);
	hth_model_close(model);
	return status;
}

static void refuse(tiny *t, hth_status want, const char *part)
{
	hth_error err = HTH_ERROR_INIT;
	hth_status status = verdict(t, &err);
	if (status != want || strstr(err.message, part) == NULL)
		test_fail(__FILE__, __LINE__, "%s (%s), not %s with \"%s\"", hth_status_name(status), err.message,
		          hth_status_name(want), part);
	tiny_free(t);
}

static void refuse_key(const char *suffix, char kind, double value, hth_status want)
{
	const tiny_spec spec = {LLAMA, .wrong = kind, .wrong_suffix = suffix, .wrong_value = value};
	refuse(tiny_make(&spec), want, suffix);
}

TEST(wrong_numbers)
{
	static const char *const required[] = {"context_length",      "embedding_length",
	                                       "block_count",         "attention.head_count",
	                                       "feed_forward_length", "attention.layer_norm_rms_epsilon"};
	for (size_t i = 0; i < HTH_COUNT(required); i++) {
		refuse_key(required[i], '-', 0, HTH_BAD_FORMAT);
		refuse_key(required[i], 's', 0, HTH_BAD_FORMAT);
	}
	static const char *const positive[] = {
	    "context_length",          "embedding_length",     "block_count",           "attention.head_count",
	    "attention.head_count_kv", "attention.key_length", "attention.value_length"};
	for (size_t i = 0; i < HTH_COUNT(positive); i++) {
		refuse_key(positive[i], 'u', 0, HTH_BAD_FORMAT);
		refuse_key(positive[i], 'u', 4294967295.0, HTH_BAD_FORMAT);
		refuse_key(positive[i], 'f', 1, HTH_BAD_FORMAT);
	}
	refuse_key("attention.head_count", 'a', 4, HTH_UNSUPPORTED); /* layers that differ */
	refuse_key("rope.dimension_count", 'u', 7, HTH_BAD_FORMAT);
	refuse_key("rope.dimension_count", 'u', 10, HTH_BAD_FORMAT);
	refuse_key("rope.freq_base", 'f', 0, HTH_BAD_FORMAT);
	refuse_key("rope.freq_base", 'f', NAN, HTH_BAD_FORMAT);
	refuse_key("rope.scaling.factor", 'f', -1, HTH_BAD_FORMAT);
	refuse_key("rope.scaling.type", 's', 0, HTH_UNSUPPORTED);
	refuse_key("attention.layer_norm_rms_epsilon", 'f', NAN, HTH_BAD_FORMAT);
	refuse_key("attention.layer_norm_rms_epsilon", 'f', -1, HTH_BAD_FORMAT);
	refuse_key("pooling_type", 'u', 5, HTH_BAD_FORMAT);
	refuse_key("pooling_type", 'u', 4, HTH_UNSUPPORTED);
	refuse_key("expert_count", 'u', 100000, HTH_BAD_FORMAT);
}

TEST(numbers_that_do_not_agree)
{
	const tiny_spec heads = {LLAMA, .wrong = 'u', .wrong_suffix = "attention.head_count_kv", .wrong_value = 3};
	refuse(tiny_make(&heads), HTH_BAD_FORMAT, "share 3 KV heads");
	const tiny_spec split = {LLAMA, .no_key_length = true, .wrong = 'u', .wrong_suffix = "attention.head_count",
	                         .wrong_value = 6};
	refuse(tiny_make(&split), HTH_BAD_FORMAT, "not split evenly");
	const tiny_spec values = {LLAMA, .wrong = 'u', .wrong_suffix = "attention.value_length", .wrong_value = 16};
	refuse(tiny_make(&values), HTH_UNSUPPORTED, "values of 16");
	const tiny_spec unused = {LLAMA, .wrong = 'u', .wrong_suffix = "expert_count", .wrong_value = 4};
	refuse(tiny_make(&unused), HTH_BAD_FORMAT, "expert_used_count");
	const tiny_spec used = {MOE, .wrong = 'u', .wrong_suffix = "expert_used_count", .wrong_value = 5};
	refuse(tiny_make(&used), HTH_BAD_FORMAT, "expert_used_count");
	/* Parameters that the tensors belie. */
	static const struct {
		const char *suffix, *tensor;
		double value;
	} lies[] = {{"embedding_length", "token_embd.weight", 64},
	            {"block_count", "blk.2.attn_norm.weight", 3},
	            {"block_count", "blk.2.attn_norm.weight", 1024},
	            {"attention.head_count", "blk.0.attn_q.weight", 8},
	            {"attention.head_count_kv", "blk.0.attn_k.weight", 4},
	            {"feed_forward_length", "blk.0.ffn_gate.weight", 64}};
	for (size_t i = 0; i < HTH_COUNT(lies); i++) {
		const tiny_spec spec = {LLAMA, .wrong = 'u', .wrong_suffix = lies[i].suffix,
		                        .wrong_value = lies[i].value};
		refuse(tiny_make(&spec), HTH_BAD_FORMAT, lies[i].tensor);
	}
	const tiny_spec experts = {MOE, .wrong = 'u', .wrong_suffix = "expert_count", .wrong_value = 8};
	refuse(tiny_make(&experts), HTH_BAD_FORMAT, "ffn_gate_inp");
}

/* Each tensor of several models in turn: missing, and with a row or a column too few. */
TEST(every_tensor_is_checked)
{
	const tiny_spec specs[] = {
	    {LLAMA},
	    {MOE},
	    {MOE, .separate_experts = true},
	    {MOE, .fused_experts = true},
	    {LLAMA, .arch = "phi3", .fused_qkv = true, .fused_ffn = true},
	    {LLAMA, .arch = "qwen3", .qk_norm = true, .qkv_bias = true},
	    {MOE, .arch = "qwen2moe", .n_ff = 64, .n_ff_shared = 32, .shared_gate = true},
	    {MOE, .arch = "gpt-oss", .n_ff = 64, .sinks = true, .expert_bias = true, .ffn_norm_is_post = true,
	     .window = 8, .period = 2},
	    {LLAMA, .arch = "gemma2", .post_norms = true, .tied = true},
	};
	for (size_t s = 0; s < HTH_COUNT(specs); s++) {
		tiny *probe = tiny_make(&specs[s]);
		size_t n = probe->n_tensors;
		hth_error err = HTH_ERROR_INIT;
		CHECK_OK(verdict(probe, &err));
		tiny_free(probe);
		for (size_t i = 0; i < 3 * n; i++) {
			tiny *t = tiny_make(&specs[s]);
			tiny_tensor *x = &t->tensors[i / 3];
			char name[64];
			snprintf(name, sizeof name, "%s", x->name);
			bool optional =
			    strstr(name, "bias") != NULL || strcmp(name, "output.weight") == 0; /* tied, then */
			size_t largest = x->ne[2] > 1 ? 2 : x->ne[1] > 1 ? 1 : 0;
			if (i % 3 == 0)
				snprintf(x->name, sizeof x->name, "unknown");
			else
				x->ne[i % 3 == 1 ? 0 : largest]--;
			const char *wanted = i % 3 == 0 ? "missing" : name;
			hth_status status = verdict(t, &err);
			if (optional && i % 3 == 0)
				CHECK_INT(status, HTH_OK);
			else if (status == HTH_OK || strstr(err.message, wanted) == NULL)
				test_fail(__FILE__, __LINE__, "%s without %s (%zu): %s, %s", specs[s].arch, name, i % 3,
				          hth_status_name(status), err.message);
			tiny_free(t);
		}
	}
}

TEST(other_things_wrong)
{
	hth_error err = HTH_ERROR_INIT;
	const tiny_spec unknown = {LLAMA, .arch = "mamba"};
	refuse(tiny_make(&unknown), HTH_UNSUPPORTED, "mamba");
	const tiny_spec plain = {LLAMA, .freq_factors = true, .qkv_bias = true};
	tiny *t = tiny_make(&plain);
	for (size_t i = 0; i < t->n_tensors; i++)
		if (strcmp(t->tensors[i].name, "rope_freqs.weight") == 0)
			t->tensors[i].data[2] = 0;
	refuse(t, HTH_BAD_FORMAT, "rope factor 2");
	/* Vectors may be stored in other types; NaN weights compute to something and break nothing. */
	t = tiny_make(&plain);
	for (size_t i = 0; i < t->n_tensors; i++) {
		if (t->tensors[i].ne[1] == 1)
			t->tensors[i].type = HTH_F16;
		else
			for (size_t j = 0; j < t->tensors[i].ne[0] * t->tensors[i].ne[1]; j += 5)
				t->tensors[i].data[j] = j % 2 ? NAN : INFINITY;
	}
	hth_model *model = tiny_open(t);
	hth_threads *threads = NULL;
	hth_session *session = NULL;
	CHECK_OK(hth_threads_create(&threads, 1, &err));
	CHECK_OK(hth_session_create(&session, model, threads, NULL, &err));
	CHECK_OK(hth_session_decode(session, (hth_batch_token[]){{.token = 5}, {.token = 6, .want_logits = true}}, 2,
	                            NULL, &err));
	hth_session_destroy(session);
	hth_threads_destroy(threads);
	hth_model_close(model);
	tiny_free(t);
}

TEST(a_template_that_does_not_compile_is_told_and_harmless)
{
	hth_error err = HTH_ERROR_INIT;
	const tiny_spec good = {LLAMA, .chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"};
	const tiny_spec bad = {LLAMA, .chat_template = "{% for m in messages %}{{ m.content "};
	tiny *t = tiny_make(&good);
	hth_model *model = tiny_open(t);
	REQUIRE(model != NULL);
	CHECK(hth_model_get_info(model)->has_template && hth_model_template(model) != NULL &&
	      hth_model_template_error(model) == NULL);
	hth_model_close(model);
	tiny_free(t);
	t = tiny_make(&bad);
	model = tiny_open(t);
	REQUIRE(model != NULL);
	CHECK(!hth_model_get_info(model)->has_template && hth_model_template(model) == NULL);
	REQUIRE(hth_model_template_error(model) != NULL);
	CHECK(strstr(hth_model_template_error(model)->message, "line") != NULL);
	hth_model_close(model);
	tiny_free(t);
	CHECK_INT(hth_model_open(&model, (const int[]){-1}, 1, "none", &err) != HTH_OK, 1);
}

TEST_MAIN()
