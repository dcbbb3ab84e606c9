/* pull-tool HOME REFERENCE [registry=URL] [huggingface=URL] [token=T] [name=N] [nofiles] [stop=BYTES] [peek=BYTES] [rm] [offers=JSON]
 * [gives=FILE] [prefix=BYTES] - src/pull as a process, so that tests can start two, kill one and look at the disk. offers: what the
 * neighbours say; gives: the bytes that they have, of which prefix arrive. One line of JSON on stdout; exit code 0 or 1. */
#include "base/mem.h"
#include "json/json.h"
#include "pull/pull.h"

#include <stdio.h>
#include <sys/stat.h>

static uint64_t stop_at = UINT64_MAX;
static bool stop;
static unsigned phases[8];
static char last_sha[65];
static uint64_t last_total;

static void progress(void *ctx, const hth_pull_progress *p)
{
	phases[p->phase]++;
	if (p->bytes >= stop_at)
		stop = true;
	snprintf(last_sha, sizeof last_sha, "%s", p->sha256);
	last_total = p->total;
	fprintf(stderr, "%s %llu/%llu\n", hth_pull_phase_name(p->phase), (unsigned long long)p->bytes, (unsigned long long)p->total);
}
static bool cancelled(void *ctx) { return stop; }

/* ---- neighbours, as told ---- */

static const char *offers_text, *gives;
static uint64_t prefix = UINT64_MAX;
static unsigned finds, fetches;

static hth_status find(void *ctx, const char *reference, const char *name, bool (*c)(void *ctx), void *cancel_ctx, json_t **ret_offers,
                       hth_error *err)
{
	const char *home = ctx;
	(void)home, (void)reference, (void)name, (void)c, (void)cancel_ctx;
	finds++;
	return hth_json_parse(ret_offers, offers_text, strlen(offers_text), err);
}

static hth_status fetch(void *ctx, const char *file, uint64_t bytes, const char *sha256,
                        void (*tell)(void *ctx, uint64_t bytes, const char *from), bool (*c)(void *ctx), void *tell_ctx,
                        uint64_t *ret_prefix, hth_error *err)
{
	char path[4096];
	uint64_t n = HTH_MIN(bytes, prefix);
	(void)c, (void)sha256;
	fetches++;
	FILE *from = gives != NULL ? fopen(gives, "rb") : NULL;
	if (from == NULL)
		return hth_fail(err, HTH_NOT_FOUND, "nobody has it");
	snprintf(path, sizeof path, "%s/models/.pull/%s.blocks", (const char *)ctx, file);
	FILE *to = fopen(path, "wb");
	tell(tell_ctx, 0, "Elm");
	for (uint64_t i = 0; i < n; i++)
		putc(getc(from), to);
	tell(tell_ctx, n, "Elm, Oak");
	fclose(from);
	fclose(to);
	*ret_prefix = n;
	return n == bytes ? HTH_OK : hth_fail(err, HTH_NOT_FOUND, "nobody has it any more");
}

static bool is(const char *arg, const char *key, const char **ret)
{
	size_t n = strlen(key);
	if (strncmp(arg, key, n) != 0 || arg[n] != '=')
		return false;
	*ret = arg + n + 1;
	return true;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	hth_pull_options o = {.home = argv[1], .retry_ms = 5, .stall_s = 2, .progress = progress, .cancelled = cancelled};
	const char *value, *peek = NULL;
	bool rm = false;
	for (int i = 3; i < argc; i++) {
		if (is(argv[i], "registry", &value))
			o.registry = value;
		else if (is(argv[i], "huggingface", &value))
			o.huggingface = value;
		else if (is(argv[i], "token", &value))
			o.hf_token = value;
		else if (is(argv[i], "name", &value))
			o.name = value;
		else if (is(argv[i], "stop", &value))
			stop_at = strtoull(value, NULL, 10);
		else if (is(argv[i], "offers", &value))
			offers_text = value;
		else if (is(argv[i], "gives", &value))
			gives = value;
		else if (is(argv[i], "prefix", &value))
			prefix = strtoull(value, NULL, 10);
		else if (is(argv[i], "peek", &value))
			peek = value;
		else if (strcmp(argv[i], "nofiles") == 0)
			o.no_files = true;
		else if (strcmp(argv[i], "rm") == 0)
			rm = true;
		else
			return 2;
	}
	const hth_pull_neighbours neighbours = {argv[1], find, fetch};
	if (offers_text != NULL)
		o.neighbours = &neighbours;
	hth_error err = HTH_ERROR_INIT;
	hth_pull_result r = {.bytes = 0};
	hth_pull_head head = {.n_fds = 0};
	hth_status status;
	json_t *out;
	if (rm) {
		status = hth_pull_remove(argv[1], argv[2], &r.bytes, &err);
		out = json_pack("{s:I}", "freed", (json_int_t)r.bytes);
	} else if (peek != NULL) {
		uint64_t limit = strtoull(peek, NULL, 10);
		status = hth_pull_peek(argv[2], &o, limit / 2, &head, &err); /* in two steps, as a caller that wants more */
		if (status == HTH_OK)
			status = hth_pull_peek(argv[2], &o, limit, &head, &err);
		out = json_pack("{s:s, s:I, s:[]}", "name", head.name, "bytes", (json_int_t)head.bytes, "files");
		for (size_t i = 0; i < head.n_fds; i++) {
			struct stat st;
			char first[5] = "";
			fstat(head.fds[i], &st);
			if (pread(head.fds[i], first, 4, 0) != 4)
				return 2;
			uint64_t held = 0; /* up to the last byte that is not zero */
			char block[4096];
			for (off_t at = 0; at < st.st_size; at += (off_t)sizeof block) {
				ssize_t n = pread(head.fds[i], block, sizeof block, at);
				for (ssize_t k = 0; k < n; k++)
					if (block[k] != 0)
						held = (uint64_t)(at + k + 1);
			}
			json_array_append_new(json_object_get(out, "files"),
			                      json_pack("{s:s, s:I, s:I}", "magic", first, "size", (json_int_t)st.st_size, "held",
			                                (json_int_t)held));
		}
		hth_pull_head_close(&head);
	} else {
		status = hth_pull(argv[2], &o, &r, &err);
		out = json_pack("{s:s, s:I, s:I, s:b, s:i, s:i, s:i, s:i, s:I, s:i, s:i}", "name", r.name, "bytes", (json_int_t)r.bytes,
		                "downloaded", (json_int_t)r.downloaded, "already", r.already, "waited", (int)phases[HTH_PULL_WAITING],
		                "paused", (int)phases[HTH_PULL_PAUSED], "downloading", (int)phases[HTH_PULL_DOWNLOADING], "done",
		                (int)phases[HTH_PULL_DONE], "next_door", (json_int_t)r.next_door, "finds", (int)finds,
		                "fetches", (int)fetches);
	}
	if (status != HTH_OK) {
		json_decref(out);
		out = json_pack("{s:s, s:s}", "status", hth_status_name(status), "message", err.message);
	}
	hth_buf text = HTH_BUF_INIT(1 << 20);
	hth_json_write(out, &text);
	puts(text.data);
	hth_buf_finish(&text);
	json_decref(out);
	return status == HTH_OK ? 0 : 1;
}
