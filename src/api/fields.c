/* fields.c - members of a request's body that several families share.
 *
 * Owns the limits on them and the wording of what is wrong. Unknown members are nobody's business here: the APIs ask that they be
 * ignored. Thread: any.
 */
#include "api/fields.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

static hth_status get_float(const json_t *object, const char *key, float *value, hth_error *err)
{
	double v = *value;
	HTH_TRY(hth_json_get_number(object, key, -1e9, 1e9, &v, err));
	*value = (float)v;
	return HTH_OK;
}

static hth_status get_int32(const json_t *object, const char *key, int32_t *value, hth_error *err)
{
	int64_t v = *value;
	HTH_TRY(hth_json_get_int(object, key, -1, INT32_MAX, &v, err));
	*value = (int32_t)v;
	return HTH_OK;
}

/* {"1234": -100, ...} */
static hth_status get_logit_bias(const json_t *object, hth_request_params *params, hth_error *err)
{
	const json_t *map = json_object_get(object, "logit_bias");
	if (map == NULL || json_is_null(map))
		return HTH_OK;
	if (!json_is_object(map))
		return hth_fail_param(err, HTH_INVALID, "logit_bias",
		                      "logit_bias is %s; it must be an object of token ids and numbers", hth_json_type_name(map));
	size_t n = json_object_size(map);
	if (n > HTH_LOGIT_BIAS_MAX)
		return hth_fail_param(err, HTH_INVALID, "logit_bias", "logit_bias has %zu entries; at most %d are allowed", n,
		                      HTH_LOGIT_BIAS_MAX);
	if (n == 0)
		return HTH_OK;
	hth_logit_bias *bias = hth_alloc_array(n, sizeof *bias);
	if (bias == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for logit_bias");
	free(params->bias);
	params->bias = bias;
	params->sampling.logit_bias = bias;
	params->sampling.n_logit_bias = 0;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)map, key, value) {
		char *end;
		errno = 0;
		long token = strtol(key, &end, 10);
		if (*key < '0' || *key > '9' || *end != '\0' || errno != 0 || token > INT32_MAX)
			return hth_fail_param(err, HTH_INVALID, "logit_bias", "the keys of logit_bias must be token ids (decimal numbers)");
		if (!json_is_number(value))
			return hth_fail_param(err, HTH_INVALID, "logit_bias", "logit_bias of token %ld is %s; it must be a number", token,
			                      hth_json_type_name(value));
		bias[params->sampling.n_logit_bias++] = (hth_logit_bias){(int32_t)token, (float)json_number_value(value)};
	}
	return HTH_OK;
}

hth_status hth_fields_sampling(const json_t *object, hth_request_params *params, hth_error *err)
{
	hth_sampling *s = &params->sampling;
	if (object == NULL)
		return HTH_OK;
	HTH_TRY(get_float(object, "temperature", &s->temperature, err));
	HTH_TRY(get_float(object, "top_p", &s->top_p, err));
	HTH_TRY(get_int32(object, "top_k", &s->top_k, err));
	if (s->top_k < 0)
		s->top_k = 0; /* -1 is how some clients switch it off */
	HTH_TRY(get_float(object, "min_p", &s->min_p, err));
	HTH_TRY(get_float(object, "typical_p", &s->typical_p, err));
	HTH_TRY(get_float(object, "repetition_penalty", &s->repeat_penalty, err));
	HTH_TRY(get_float(object, "repeat_penalty", &s->repeat_penalty, err));
	HTH_TRY(get_int32(object, "repeat_last_n", &s->repeat_last_n, err));
	HTH_TRY(get_float(object, "presence_penalty", &s->presence_penalty, err));
	HTH_TRY(get_float(object, "frequency_penalty", &s->frequency_penalty, err));
	HTH_TRY(get_int32(object, "mirostat", &s->mirostat, err));
	HTH_TRY(get_float(object, "mirostat_tau", &s->mirostat_tau, err));
	HTH_TRY(get_float(object, "mirostat_eta", &s->mirostat_eta, err));
	const json_t *seed = json_object_get(object, "seed");
	if (seed != NULL && !json_is_null(seed)) {
		/* Any integer is a seed; those past 64 bits arrive as reals. -1 is how some clients say "draw one". */
		if (!json_is_integer(seed) && !(json_is_real(seed) && floor(json_real_value(seed)) == json_real_value(seed)))
			return hth_fail_param(err, HTH_INVALID, "seed", "seed is %s; it must be an integer", hth_json_type_name(seed));
		if (json_is_integer(seed) && json_integer_value(seed) != -1) {
			s->seed = (uint64_t)json_integer_value(seed);
			s->seed_given = true;
		} else if (json_is_real(seed)) {
			s->seed = (uint64_t)fmod(fabs(json_real_value(seed)), 0x1.0p63);
			s->seed_given = true;
		}
	}
	HTH_TRY(get_logit_bias(object, params, err));
	HTH_TRY(hth_json_get_bool(object, "ignore_eos", &params->ignore_eos, err));
	return hth_sampling_check(s, err);
}

static hth_status add_stop(const json_t *string, const char *key, hth_request_params *params, hth_error *err)
{
	if (!json_is_string(string))
		return hth_fail_param(err, HTH_INVALID, key, "%s holds %s; it must be a string or an array of strings", key,
		                      hth_json_type_name(string));
	size_t len = json_string_length(string);
	if (len == 0)
		return HTH_OK; /* nothing ever ends at nothing */
	if (len > HTH_STOP_BYTES_MAX)
		return hth_fail_param(err, HTH_INVALID, key, "a string of %s has %zu bytes; at most %d are allowed", key, len,
		                      HTH_STOP_BYTES_MAX);
	if (params->n_stop == HTH_STOP_MAX)
		return hth_fail_param(err, HTH_INVALID, key, "%s has more than the %d strings allowed", key, HTH_STOP_MAX);
	HTH_TRY(hth_fields_copy(json_string_value(string), &params->stop[params->n_stop], err));
	params->n_stop++;
	return HTH_OK;
}

static void drop_stops(hth_request_params *params)
{
	while (params->n_stop > 0)
		free(params->stop[--params->n_stop]);
}

hth_status hth_fields_stop(const json_t *object, const char *key, hth_request_params *params, hth_error *err)
{
	const json_t *stop = json_object_get(object, key);
	if (stop == NULL || json_is_null(stop))
		return HTH_OK;
	drop_stops(params); /* the sender's replace the model's own */
	if (!json_is_array(stop))
		return add_stop(stop, key, params, err);
	for (size_t i = 0; i < json_array_size(stop); i++)
		HTH_TRY(add_stop(json_array_get(stop, i), key, params, err));
	return HTH_OK;
}

hth_status hth_fields_max_tokens(const json_t *object, const char *const *keys, size_t n_keys, hth_request_params *params,
                                 hth_error *err)
{
	for (size_t i = 0; i < n_keys; i++) {
		const json_t *value = json_object_get(object, keys[i]);
		if (value == NULL || json_is_null(value))
			continue;
		int64_t n = -1;
		/* -2 is Ollama's "until the context is full", which is what -1 means here. */
		HTH_TRY(hth_json_get_int(object, keys[i], -2, INT32_MAX, &n, err));
		params->max_tokens = n < 0 ? -1 : n;
		return HTH_OK;
	}
	return HTH_OK;
}

hth_status hth_fields_copy_chat(hth_request_input *to, const hth_request_input *from, hth_error *err)
{
	const struct {
		const char *from;
		char **to;
	} texts[] = {{from->messages_json, &to->messages_json}, {from->tools_json, &to->tools_json},
	             {from->template_json, &to->template_json},
	             {from->format_json, &to->format_json},     {from->must_call_name, &to->must_call_name}};
	for (size_t i = 0; i < HTH_COUNT(texts); i++)
		if (texts[i].from != NULL)
			HTH_TRY(hth_fields_copy(texts[i].from, texts[i].to, err));
	to->must_call = from->must_call;
	to->one_call = from->one_call;
	to->continue_last = from->continue_last;
	return HTH_OK;
}

hth_status hth_fields_copy_params(hth_request_params *to, const hth_request_params *from, uint64_t k, hth_error *err)
{
	uint64_t seed = to->sampling.seed;
	to->sampling = from->sampling;
	to->sampling.logit_bias = NULL;
	to->sampling.n_logit_bias = 0;
	to->max_tokens = from->max_tokens;
	to->top_logprobs = from->top_logprobs;
	to->ignore_eos = from->ignore_eos;
	to->keep_alive_s = from->keep_alive_s;
	/* The sender's seed must give n different answers, the same ones each time; without one each answer draws its own. */
	to->sampling.seed = from->sampling.seed_given ? from->sampling.seed + k : seed;
	if (from->sampling.n_logit_bias > 0) {
		to->bias = hth_alloc_array(from->sampling.n_logit_bias, sizeof *to->bias);
		if (to->bias == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for logit_bias");
		memcpy(to->bias, from->bias, from->sampling.n_logit_bias * sizeof *to->bias);
		to->sampling.logit_bias = to->bias;
		to->sampling.n_logit_bias = from->sampling.n_logit_bias;
	}
	to->context = from->context;
	drop_stops(to);
	for (size_t i = 0; i < from->n_stop; i++) {
		HTH_TRY(hth_fields_copy(from->stop[i], &to->stop[i], err));
		to->n_stop = i + 1;
	}
	if (from->grammar != NULL && !from->grammar_made)
		HTH_TRY(hth_fields_copy(from->grammar, &to->grammar, err));
	return HTH_OK;
}

hth_status hth_fields_tokens(const json_t *array, const char *name, hth_request_input *input, hth_error *err)
{
	if (!json_is_array(array))
		return hth_fail_param(err, HTH_INVALID, name, "%s is %s; it must be an array of token ids", name,
		                      hth_json_type_name(array));
	size_t n = json_array_size(array);
	if (n > HTH_API_TOKENS_MAX)
		return hth_fail_param(err, HTH_INVALID, name, "%s has %zu tokens; at most %d are taken", name, n, HTH_API_TOKENS_MAX);
	int32_t *tokens = hth_alloc_array(n, sizeof *tokens);
	if (tokens == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu tokens", n);
	for (size_t i = 0; i < n; i++) {
		const json_t *id = json_array_get(array, i);
		if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX) {
			free(tokens);
			return hth_fail_param(err, HTH_INVALID, name, "%s[%zu] is no token id: ids are integers from 0", name, i);
		}
		tokens[i] = (int32_t)json_integer_value(id);
	}
	free(input->tokens);
	input->tokens = tokens;
	input->n_tokens = n;
	return HTH_OK;
}

hth_status hth_fields_copy(const char *s, char **ret_copy, hth_error *err)
{
	char *copy = strdup(s);
	if (copy == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	*ret_copy = copy;
	return HTH_OK;
}

hth_status hth_fields_text(const json_t *string, const char *name, hth_request_input *input, hth_error *err)
{
	if (!json_is_string(string))
		return hth_fail_param(err, HTH_INVALID, name, "%s is %s; it must be a string", name, hth_json_type_name(string));
	HTH_TRY(hth_fields_copy(json_string_value(string), &input->text, err));
	input->text_len = json_string_length(string);
	return HTH_OK;
}

/* Go's notation of durations, which Ollama's clients send. */
static bool parse_duration(const char *s, double *ret_seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"s", 1}, {"m", 60}, {"h", 3600}};
	double total = 0, sign = 1;
	if (*s == '-' || *s == '+')
		sign = *s++ == '-' ? -1 : 1;
	if (*s == '\0')
		return false;
	while (*s != '\0') {
		char *end;
		if ((*s < '0' || *s > '9') && *s != '.')
			return false;
		double value = strtod(s, &end);
		if (end == s || !isfinite(value))
			return false;
		s = end;
		if (*s == '\0') { /* a bare number is seconds */
			total += value;
			break;
		}
		size_t u;
		for (u = 0; u < HTH_COUNT(units); u++) {
			if (strncmp(s, units[u].unit, strlen(units[u].unit)) == 0)
				break;
		}
		if (u == HTH_COUNT(units))
			return false;
		total += value * units[u].seconds;
		s += strlen(units[u].unit);
	}
	*ret_seconds = sign * total;
	return true;
}

hth_status hth_fields_keep_alive(const json_t *object, int64_t *ret_seconds, hth_error *err)
{
	const json_t *value = json_object_get(object, "keep_alive");
	double seconds;
	if (value == NULL || json_is_null(value))
		return HTH_OK;
	if (json_is_number(value))
		seconds = json_number_value(value);
	else if (!json_is_string(value) || !parse_duration(json_string_value(value), &seconds))
		return hth_fail_param(err, HTH_INVALID, "keep_alive",
		                      "keep_alive must be a number of seconds or a duration such as \"5m\"");
	*ret_seconds = seconds < 0 || seconds > INT32_MAX ? -1 : (int64_t)ceil(seconds);
	return HTH_OK;
}

hth_status hth_fields_dump(const json_t *json, char **ret_text, hth_error *err)
{
	hth_buf buf = HTH_BUF_INIT((size_t)256 << 20);
	if (!hth_json_write(json, &buf)) {
		hth_buf_finish(&buf);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	}
	*ret_text = hth_buf_steal(&buf, NULL);
	return HTH_OK;
}

hth_status hth_fields_refuse(const json_t *object, const char *const *keys, size_t n_keys, hth_error *err)
{
	for (size_t i = 0; i < n_keys; i++) {
		const json_t *value = json_object_get(object, keys[i]);
		bool nothing = value == NULL || json_is_null(value) || json_is_false(value) ||
		    (json_is_array(value) && json_array_size(value) == 0);
		if (!nothing)
			return hth_fail_param(err, HTH_UNSUPPORTED, keys[i], "%s is not supported", keys[i]);
	}
	return HTH_OK;
}
