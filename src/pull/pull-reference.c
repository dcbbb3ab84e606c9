/* pull-reference.c - takes a reference apart: which source it means, and under which name the model will be kept.
 *
 * The name is the reference as the catalog spells it ('/' becomes "--", ':' becomes '-', a tag "latest" is left out), so that what was
 * pulled as hf.co/OWNER/REPO:Q4_K_M is found when a client asks for just that. Every byte of a name that is not a letter, digit,
 * '.', '-' or '_' is replaced, and none begins with a dot: nothing from outside chooses a folder. Pure; any thread.
 */
#include "pull/pull-internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

bool hth_shard_split(const char *stem, size_t len, size_t *ret_base, unsigned *ret_i, unsigned *ret_n)
{
	enum { TAIL = sizeof "-00001-of-00002" - 1 };
	unsigned v[2] = {0, 0};
	if (len <= TAIL)
		return false;
	const char *t = stem + len - TAIL;
	if (t[0] != '-' || strncmp(t + 6, "-of-", 4) != 0)
		return false;
	for (int part = 0; part < 2; part++)
		for (int k = 0; k < 5; k++) {
			char c = t[1 + part * 9 + k];
			if (c < '0' || c > '9')
				return false;
			v[part] = v[part] * 10 + (unsigned)(c - '0');
		}
	if (v[0] == 0 || v[0] > v[1])
		return false;
	*ret_base = len - TAIL;
	*ret_i = v[0];
	*ret_n = v[1];
	return true;
}

void hth_local_name(const char *name, unsigned i, unsigned n, char out[HTH_PULL_NAME_MAX + 40])
{
	if (n > 1)
		snprintf(out, HTH_PULL_NAME_MAX + 40, "%.*s-%05u-of-%05u.gguf", HTH_PULL_NAME_MAX, name, i, n);
	else
		snprintf(out, HTH_PULL_NAME_MAX + 40, "%.*s.gguf", HTH_PULL_NAME_MAX, name);
}

static bool plain(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-", c) != NULL; }

/* A part of a registry's or Hugging Face's path: plain characters, not "." or "..". */
static bool part_is_fit(const char *s, size_t len, size_t max)
{
	if (len == 0 || len >= max || s[0] == '.' || s[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!plain(s[i]) || s[i] == '\0')
			return false;
	return true;
}

static hth_status make_name(const char *from, size_t len, char out[HTH_PULL_NAME_MAX + 8], hth_error *err)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		char c = from[i];
		if (n + 2 >= HTH_PULL_NAME_MAX)
			return hth_fail(err, HTH_TOO_LARGE, "'%.60s...' is too long for a model's name; give a shorter one with --name",
			                from);
		if (c == '/') {
			out[n++] = '-';
			out[n++] = '-';
		} else if (plain(c) && !(n == 0 && (c == '.' || c == '-'))) {
			out[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		} else {
			out[n] = n == 0 ? '_' : '-';
			n++;
		}
	}
	out[n] = '\0';
	if (n > 5 && strcmp(out + n - 5, ".gguf") == 0)
		out[n - 5] = '\0';
	if (out[0] == '\0')
		return hth_fail(err, HTH_INVALID, "there is no name for the model in '%.200s'; give one with --name", from);
	return HTH_OK;
}

static bool ends_in_gguf(const char *s) { return strlen(s) > 5 && strcasecmp(s + strlen(s) - 5, ".gguf") == 0; }

static bool is_loopback(const char *host)
{
	size_t n = strcspn(host, ":");
	if (strncmp(host, "[::1]", 5) == 0)
		return host[5] == '\0' || host[5] == ':';
	return (n == 9 && strncasecmp(host, "localhost", 9) == 0) || (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n);
}

/* Of a file's name (path or URL): the model's name, without the shard's number. */
static hth_status name_of_file(const char *file, size_t len, hth_reference *ref, hth_error *err)
{
	size_t base;
	unsigned i, n;
	if (len > 5 && strncasecmp(file + len - 5, ".gguf", 5) == 0)
		len -= 5;
	if (hth_shard_split(file, len, &base, &i, &n)) {
		if (i != 1)
			return hth_fail(err, HTH_INVALID, "'%.200s' is part %u of %u; give the first", file, i, n);
		len = base;
	}
	return make_name(file, len, ref->name, err);
}

static hth_status parse_hf(const char *rest, const hth_pull_options *options, hth_reference *ref, hth_error *err)
{
	ref->kind = HTH_PULL_FROM_HF;
	snprintf(ref->base, sizeof ref->base, "%s", options->huggingface != NULL &&
	         *options->huggingface ? options->huggingface : HTH_PULL_HUGGINGFACE);
	size_t owner = strcspn(rest, "/");
	const char *repo = rest[owner] == '/' ? rest + owner + 1 : "";
	size_t n = strcspn(repo, ":/");
	/* The page of one file, and of the list of files, as a browser's address line has them. */
	static const char blob[] = "/blob/main/";
	const char *after = repo + n, *file = strncmp(after, blob, sizeof blob - 1) == 0 ? after + sizeof blob - 1 : NULL;
	bool whole = strcmp(after, "/") == 0 || strcmp(after, "/tree/main") == 0;
	if (!part_is_fit(rest, owner, sizeof ref->owner) || !part_is_fit(repo, n, sizeof ref->repo) ||
	    (*after == '/' && !whole && (file == NULL || *file == '\0')))
		return hth_fail(err, HTH_INVALID, "a model of Hugging Face is hf.co/OWNER/REPO, hf.co/OWNER/REPO:QUANT or "
		                                  "hf.co/OWNER/REPO:FILE.gguf, not '%.200s'",
		                ref->text);
	memcpy(ref->owner, rest, owner);
	memcpy(ref->repo, repo, n);
	const char *tag = *after == ':' ? after + 1 : file != NULL ? file : "";
	if (*tag != '\0' && strcmp(tag, "latest") != 0) {
		/* A file may lie in a folder of the repository; it is compared with its listing, never made a path here. */
		if (strlen(tag) >= sizeof ref->tag)
			return hth_fail(err, HTH_TOO_LARGE, "'%.60s...' is too long for a quantisation or a file", tag);
		snprintf(ref->tag, sizeof ref->tag, "%s", tag);
	}
	snprintf(ref->text, sizeof ref->text, "hf.co/%s/%s%s%s", ref->owner, ref->repo, *ref->tag ? ":" : "", ref->tag);
	return make_name(ref->text, strlen(ref->text), ref->name, err);
}

static hth_status parse_registry(const char *text, const hth_pull_options *options, hth_reference *ref, hth_error *err)
{
	ref->kind = HTH_PULL_FROM_REGISTRY;
	char copy[HTH_PULL_REFERENCE_MAX];
	snprintf(copy, sizeof copy, "%s", text);
	snprintf(ref->base, sizeof ref->base, "%s", options->registry != NULL &&
	         *options->registry ? options->registry : HTH_PULL_REGISTRY);
	char *slash = strrchr(copy, '/'), *last = slash != NULL ? slash + 1 : copy, *colon = strchr(last, ':');
	const char *tag = "latest";
	if (colon != NULL) {
		*colon = '\0';
		tag = colon + 1;
	}
	if (slash != NULL)
		*slash = '\0';
	const char *ns = "library", *host = NULL;
	if (slash != NULL) {
		char *second = strchr(copy, '/');
		if (second != NULL) {
			*second = '\0';
			host = copy;
			ns = second + 1;
		} else {
			ns = copy;
		}
	}
	char url[600];
	if (host != NULL) {
		snprintf(url, sizeof url, "%s://%.400s", is_loopback(host) ? "http" : "https", host);
		if (strpbrk(host, "@?#\\% ") != NULL || !hth_url_split(url, NULL, NULL, NULL))
			return hth_fail(err, HTH_INVALID, "'%.200s' is no registry's host", host);
		snprintf(ref->base, sizeof ref->base, "%.500s", url);
	}
	if (!part_is_fit(ns, strlen(ns), sizeof ref->owner) || !part_is_fit(last, strlen(last), sizeof ref->repo) ||
	    !part_is_fit(tag, strlen(tag), sizeof ref->tag))
		return hth_fail(err, HTH_INVALID,
		                "'%.200s' is neither NAME[:TAG] of a registry, nor hf.co/OWNER/REPO[:QUANT], nor a URL, nor a file that is "
		                "here", text);
	snprintf(ref->owner, sizeof ref->owner, "%s", ns);
	snprintf(ref->repo, sizeof ref->repo, "%s", last);
	snprintf(ref->tag, sizeof ref->tag, "%s", tag);
	char spelled[HTH_PULL_REFERENCE_MAX + 8];
	bool latest = strcmp(tag, "latest") == 0;
	snprintf(spelled, sizeof spelled, "%s%s%s%s%s%s%s", host != NULL ? host : "", host != NULL ? "/" : "",
	         host == NULL && strcmp(ns, "library") == 0 ? "" : ns, host == NULL && strcmp(ns, "library") == 0 ? "" : "/", last,
	         latest ? "" : ":",
	         latest ? "" : tag);
	snprintf(ref->text, sizeof ref->text, "%.*s", HTH_PULL_REFERENCE_MAX - 1, spelled);
	return make_name(spelled, strlen(spelled), ref->name, err);
}

bool hth_pull_is_remote(const char *r)
{
	return strncasecmp(r, "http://", 7) == 0 || strncasecmp(r, "https://", 8) == 0 || strncasecmp(r, "hf.co/", 6) == 0 ||
	       strncasecmp(r, "huggingface.co/", 15) == 0;
}

static hth_status parse_url(const char *text, hth_reference *ref, hth_error *err)
{
	char host[HTH_TRANSFER_HOST_MAX];
	ref->kind = HTH_PULL_FROM_URL;
	if (!hth_url_split(text, NULL, host, NULL))
		return hth_fail(err, HTH_INVALID, "'%.200s' is no http:// or https:// address", text);
	const char *path = strchr(strstr(text, "://") + 3, '/');
	size_t len = path != NULL ? strcspn(path, "?#") : 0, from = len;
	while (from > 0 && path[from - 1] != '/')
		from--;
	if (len == from)
		return hth_fail(err, HTH_INVALID, "'%.200s' names no file", text);
	return name_of_file(path + from, len - from, ref, err);
}

hth_status hth_reference_parse(const char *text, const hth_pull_options *options, hth_reference *ret_ref, hth_error *err)
{
	hth_reference ref = {0};
	size_t len = strlen(text);
	if (len == 0 || len >= HTH_PULL_REFERENCE_MAX)
		return hth_fail(err, HTH_INVALID, "a model's name is 1 to %d bytes long", HTH_PULL_REFERENCE_MAX - 1);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return hth_fail(err, HTH_INVALID, "the model's name has a control character in it");
	snprintf(ref.text, sizeof ref.text, "%s", text);
	struct stat st;
	bool path = text[0] == '/' || text[0] == '.' || (ends_in_gguf(text) && !hth_pull_is_remote(text));
	hth_status status;
	/* A page of Hugging Face, as copied from a browser, means the repository. */
	static const char *const hf[] = {"hf.co/", "huggingface.co/", "https://hf.co/", "https://huggingface.co/"};
	const char *rest = NULL;
	for (size_t i = 0; i < HTH_COUNT(hf); i++)
		if (strncasecmp(text, hf[i], strlen(hf[i])) == 0 && (i < 2 || strstr(text, "/resolve/") == NULL))
			rest = text + strlen(hf[i]);
	if (rest != NULL)
		status = parse_hf(rest, options, &ref, err);
	else if (hth_pull_is_remote(text))
		status = parse_url(text, &ref, err);
	else if (path || (!options->no_files && strchr(text, '/') != NULL && stat(text, &st) == 0 && S_ISREG(st.st_mode))) {
		if (options->no_files)
			return hth_fail(err, HTH_DENIED, "files of this machine are added by its owner, with `hearth pull FILE`");
		ref.kind = HTH_PULL_FROM_FILE;
		const char *slash = strrchr(text, '/');
		const char *file = slash != NULL ? slash + 1 : text;
		status = name_of_file(file, strlen(file), &ref, err);
	} else
		status = parse_registry(text, options, &ref, err);
	if (status != HTH_OK)
		return status;
	if (options->name != NULL && *options->name != '\0')
		HTH_TRY(make_name(options->name, strlen(options->name), ref.name, err));
	*ret_ref = ref;
	return HTH_OK;
}
