/* fuzz-classifier.c - any text: findings lie inside it, in order, and the text after another one is judged no milder than alone in a
 * request. */
#include "base/mem.h"
#include "privacy/classifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_findings f;
	char *text = malloc(size ? size : 1); /* exactly so many bytes: reading past them is seen */
	memcpy(text, data, size);
	hth_classifier_scan(text, size, &f);
	for (size_t i = 0; i < f.n; i++)
		if (f.items[i].offset > size || f.items[i].len > size - f.items[i].offset || f.items[i].what == NULL)
			abort();
	char why[256];
	hth_findings_explain(&f, why, sizeof why);
	free(text);
	/* As the messages of a request: the reader of JSON text must cope with whatever it is given. */
	hth_error err;
	hth_request *request = NULL;
	if (hth_request_create(&request, HTH_CHAT, &err) != HTH_OK)
		abort();
	request->input.messages_json = malloc(size + 1);
	memcpy(request->input.messages_json, data, size);
	request->input.messages_json[size] = '\0';
	hth_classifier_scan_request(request, &f);
	hth_request_unref(request);
	return 0;
}
