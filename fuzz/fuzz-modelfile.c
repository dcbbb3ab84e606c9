/* fuzz-modelfile.c - any bytes as a Modelfile: what is accepted is in range, and written out it reads as the same
 * again. */
#include "api/made.h"
#include "api/modelfile.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_error err = HTH_ERROR_INIT;
	char *from = NULL, *from_again = NULL;
	json_t *settings = NULL, *again = NULL;
	if (hth_modelfile_parse((const char *)data, size, &from, &settings, &err) != HTH_OK) {
		if (from != NULL || settings != NULL || err.message[0] == '\0')
			abort();
		return 0;
	}
	if (hth_modelfile_check(settings, &err) != HTH_OK)
		abort();
	hth_request_params params = {.sampling = hth_sampling_defaults()};
	hth_made_params(settings, &params);
	while (params.n_stop > 0)
		free(params.stop[--params.n_stop]);
	free(hth_made_conversation(settings));
	hth_buf out = HTH_BUF_INIT(16 * size + 4096);
	hth_modelfile_write(from, settings, NULL, &out);
	if (out.failed)
		abort();
	/* Quotes inside of values have no spelling in this notation, so only what has none comes back. */
	if (memchr(data, '"', size) == NULL &&
	    hth_modelfile_parse(out.data, out.len, &from_again, &again, &err) != HTH_OK)
		abort();
	if (again != NULL && json_equal(json_object_get(again, "params"), json_object_get(settings, "params")) == 0 &&
	    json_object_get(settings, "params") != NULL)
		abort();
	hth_buf_finish(&out);
	free(from);
	free(from_again);
	json_decref(settings);
	json_decref(again);
	return 0;
}
