/* fuzz-json.c - any bytes as a JSON text: no crash, no leak, and what parses writes and parses again to the same tree. */
#include "json/json.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_error err = HTH_ERROR_INIT;
	json_t *json = NULL;
	if (hth_json_parse(&json, (const char *)data, size, &err) != HTH_OK) {
		if (json != NULL || err.message[0] == '\0')
			abort();
		return 0;
	}
	hth_buf out = HTH_BUF_INIT(16 * size + 64);
	if (!hth_json_write(json, &out))
		abort();
	json_t *again = NULL;
	if (hth_json_parse(&again, out.data, out.len, &err) != HTH_OK || !json_equal(json, again))
		abort();
	int64_t i = 0;
	double d = 0;
	const char *s = NULL;
	bool b = false;
	(void)!hth_json_get_int(json, "i", -5, 5, &i, &err);
	(void)!hth_json_get_number(json, "d", -5, 5, &d, &err);
	(void)!hth_json_get_string(json, "s", &s, &err);
	(void)!hth_json_get_bool(json, "b", &b, &err);
	json_decref(json);
	json_decref(again);
	hth_buf_finish(&out);
	return 0;
}
