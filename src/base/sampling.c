#include "base/sampling.h"

#include <math.h>

static hth_status range(hth_error *err, const char *name, float value, float lo, float hi)
{
	if (isfinite(value) && value >= lo && value <= hi)
		return HTH_OK;
	return hth_fail_param(err, HTH_INVALID, name, "%s must be between %g and %g, not %g", name, (double)lo,
	                      (double)hi, (double)value);
}

hth_status hth_sampling_check(const hth_sampling *s, hth_error *err)
{
	HTH_TRY(range(err, "temperature", s->temperature, 0, 100));
	HTH_TRY(range(err, "top_k", (float)s->top_k, 0, 1e9f));
	HTH_TRY(range(err, "top_p", s->top_p, 0, 1));
	HTH_TRY(range(err, "min_p", s->min_p, 0, 1));
	HTH_TRY(range(err, "typical_p", s->typical_p, 0, 1));
	HTH_TRY(range(err, "repeat_penalty", s->repeat_penalty, 0.01f, 100));
	HTH_TRY(range(err, "repeat_last_n", (float)s->repeat_last_n, -1, 1e9f));
	HTH_TRY(range(err, "presence_penalty", s->presence_penalty, -100, 100));
	HTH_TRY(range(err, "frequency_penalty", s->frequency_penalty, -100, 100));
	if (s->mirostat != 0 && s->mirostat != 2)
		return hth_fail_param(err, HTH_INVALID, "mirostat", "mirostat must be 0 (off) or 2, not %d", s->mirostat);
	HTH_TRY(range(err, "mirostat_tau", s->mirostat_tau, 0, 100));
	HTH_TRY(range(err, "mirostat_eta", s->mirostat_eta, 0, 10));
	if (s->n_logit_bias > HTH_LOGIT_BIAS_MAX)
		return hth_fail_param(err, HTH_TOO_LARGE, "logit_bias", "logit_bias has %zu entries, at most %d are allowed",
		                      s->n_logit_bias, HTH_LOGIT_BIAS_MAX);
	for (size_t i = 0; i < s->n_logit_bias; i++)
		if (!isfinite(s->logit_bias[i].bias))
			return hth_fail_param(err, HTH_INVALID, "logit_bias", "logit_bias values must be finite numbers");
	return HTH_OK;
}
