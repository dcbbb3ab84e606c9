/* sampling.h - how the next token is chosen: the vocabulary that a request and the engine share.
 * Plain values; hth_sampling_defaults() is "greedy off, everything else off". */
#ifndef HTH_BASE_SAMPLING_H
#define HTH_BASE_SAMPLING_H

#include "base/status.h"

#include <stdint.h>

enum { HTH_LOGIT_BIAS_MAX = 1024, HTH_TOP_LOGPROBS_MAX = 20 };

typedef struct hth_logit_bias {
	int32_t token;
	float bias; /* added to the logit; -100 or less forbids */
} hth_logit_bias;

typedef struct hth_sampling {
	float temperature;        /* 0: greedy */
	int32_t top_k;            /* 0: off */
	float top_p;              /* 1: off */
	float min_p;              /* 0: off */
	float typical_p;          /* 1: off */
	float repeat_penalty;     /* 1: off; > 1 discourages tokens of the last repeat_last_n */
	int32_t repeat_last_n;    /* 0: off, -1: whole context */
	float presence_penalty;   /* 0: off */
	float frequency_penalty;  /* 0: off */
	int32_t mirostat;         /* 0: off, 2: mirostat v2 (arXiv 2007.14966) */
	float mirostat_tau;       /* target surprise, nats*log2: 5.0 */
	float mirostat_eta;       /* learning rate: 0.1 */
	uint64_t seed;            /* used when seed_given; else drawn by whoever admits the request */
	bool seed_given;
	const hth_logit_bias *logit_bias; /* borrowed from whoever owns this struct; NULL when none */
	size_t n_logit_bias;              /* at most HTH_LOGIT_BIAS_MAX */
} hth_sampling;

static inline hth_sampling hth_sampling_defaults(void)
{
	return (hth_sampling){.temperature = 0.8f,
	                      .top_k = 40,
	                      .top_p = 0.95f,
	                      .min_p = 0.05f,
	                      .typical_p = 1.0f,
	                      .repeat_penalty = 1.0f,
	                      .repeat_last_n = 64,
	                      .mirostat_tau = 5.0f,
	                      .mirostat_eta = 0.1f};
}

/* Checks every field's range; a failure names the field in err->param. */
hth_status hth_sampling_check(const hth_sampling *sampling, hth_error *err);

#endif
