/* fetch-tool HOME HOSTS URL [max=BYTES] [ms=N] [public]: src/fetch as a process. Here 127.0.0.1 counts as an address that is allowed,
 * unless "public" says to use the real check; 127.0.0.2 never is. One line of JSON. */
#include "base/buf.h"
#include "base/mem.h"
#include "client/transfer.h"
#include "fetch/fetch.h"
#include "json/json.h"

#include <stdio.h>

static bool only_one(void *ctx, const char *address) { return strcmp(address, "127.0.0.1") == 0; }

int main(int argc, char **argv)
{
	hth_error err = HTH_ERROR_INIT;
	if (argc > 2 && strcmp(argv[1], "address") == 0) {
		for (int i = 2; i < argc; i++)
			printf("%d", hth_address_is_public(argv[i]));
		printf("\n");
		return 0;
	}
	if (argc < 4)
		return 2;
	hth_fetch_options o = {.home = argv[1], .hosts = argv[2], .reason = "web_fetch for a test", .address_ok = only_one};
	for (int i = 4; i < argc; i++) {
		if (strncmp(argv[i], "max=", 4) == 0)
			o.max_bytes = strtoull(argv[i] + 4, NULL, 10);
		else if (strncmp(argv[i], "ms=", 3) == 0)
			o.total_ms = (unsigned)strtoul(argv[i] + 3, NULL, 10);
		else if (strcmp(argv[i], "public") == 0)
			o.address_ok = NULL;
	}
	hth_fetch_result r;
	hth_status status = hth_fetch(argv[3], &o, &r, &err);
	json_t *links = json_array();
	for (size_t i = 0; status == HTH_OK && i < r.n_links; i++)
		json_array_append_new(links, json_pack("[s, s]", r.links[i].url, r.links[i].text));
	json_t *out = status == HTH_OK ? json_pack("{s:i, s:s, s:s%, s:b, s:s, s:s?, s:O}", "code", r.code, "type", r.type, "text", r.text,
	                                           r.len, "cut", r.cut, "url", r.url,
	                                           "title", r.title, "links", links)
	                               : json_pack("{s:s, s:s}", "status", hth_status_name(status), "message", err.message);
	hth_buf text = HTH_BUF_INIT(64 << 20);
	if (out == NULL || !hth_json_write(out, &text))
		return 2;
	puts(text.data);
	hth_buf_finish(&text);
	json_decref(links);
	json_decref(out);
	if (status == HTH_OK)
		hth_fetch_result_finish(&r);
	return status == HTH_OK ? 0 : 1;
}
