/* pull-next-door.c - neighbours before the internet: what they say a model is, and its files from them.
 *
 * Anybody may say that a name is this or that file. It is believed where a member whom this home's owner trusts says so, or where two say
 * the same and nobody else something different; otherwise the model's source is asked what it is (a few kilobytes), and the neighbours are
 * asked for its files by SHA-256. In either case a file that does not have its SHA-256 is not kept. What neighbours gave is a file of the
 * same kind as a download that was cut: the rest of the pull goes on from it, be it only to look at it once more. Thread: the pull's.
 */
#include "pull/pull-internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool find_cancelled(void *ctx) { return hth_job_cancelled(ctx); }

/* Of the right form, as far as it is used. */
static bool is_offer(const json_t *offer)
{
	const json_t *files = json_object_get(offer, "files"), *f;
	size_t i, n = json_array_size(files);
	json_array_foreach((json_t *)(uintptr_t)files, i, f)
	{
		const char *sha256 = json_string_value(json_object_get(f, "sha256"));
		if (json_integer_value(json_object_get(f, "bytes")) <= 0 || sha256 == NULL || strlen(sha256) != 64 ||
		    strspn(sha256, "0123456789abcdef") != 64)
			return false;
	}
	return n > 0 && n <= HTH_PULL_FILES_MAX && json_is_string(json_object_get(offer, "home"));
}

static bool is_same(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "files"), json_object_get(b, "files")) &&
	    json_equal(json_object_get(a, "extras"), json_object_get(b, "extras"));
}

/* The offer that is believed, or NULL. *ret_any: one that is at least an offer. */
static const json_t *believe(const json_t *offers, const json_t **ret_any)
{
	const json_t *trusted = NULL, *first = NULL;
	size_t n = 0;
	bool agree = true, trusted_agree = true;
	for (size_t i = 0; i < json_array_size(offers); i++) {
		const json_t *o = json_array_get(offers, i);
		if (!is_offer(o))
			continue;
		n++;
		first = first != NULL ? first : o;
		agree &= is_same(first, o);
		if (json_is_true(json_object_get(o, "trusted"))) {
			trusted = trusted != NULL ? trusted : o;
			trusted_agree &= is_same(trusted, o);
		}
	}
	*ret_any = trusted != NULL ? trusted : first;
	if (trusted != NULL)
		return trusted_agree ? trusted : NULL;
	return n >= 2 && agree ? first : NULL;
}

/* What a registry would send along, of the right types; the rest is left out. */
static json_t *extras_of(const json_t *offer)
{
	const json_t *from = json_object_get(offer, "extras");
	json_t *to = json_object(), *value;
	static const char *const texts[] = {"template", "system", "license"};
	for (size_t i = 0; i < HTH_COUNT(texts); i++)
		if (json_is_string(value = json_object_get(from, texts[i])) && json_string_length(value) <= HTH_PULL_TEXT_MAX)
			json_object_set(to, texts[i], value);
	if (json_is_object(value = json_object_get(from, "params")))
		json_object_set(to, "params", value);
	if (json_is_array(value = json_object_get(from, "messages")))
		json_object_set(to, "messages", value);
	return to;
}

static hth_status find(hth_pull_job *job, json_t **ret_offers, hth_error *err)
{
	const hth_pull_neighbours *n = job->options->neighbours;
	if (n == NULL || job->ref.kind == HTH_PULL_FROM_FILE)
		return hth_fail(err, HTH_NOT_FOUND, "no neighbours can be asked");
	return n->find(n->ctx, job->ref.text, job->ref.name, find_cancelled, job, ret_offers, err);
}

hth_status hth_plan_neighbours(hth_pull_job *job, bool *ret_planned, hth_error *err)
{
	HTH_AUTO_JSON json_t *offers = NULL;
	const json_t *any, *offer;
	*ret_planned = false;
	hth_status status = find(job, &offers, err);
	if (status == HTH_CANCELLED)
		return status;
	if (status != HTH_OK || (offer = believe(offers, &any)) == NULL)
		return HTH_OK;
	const json_t *files = json_object_get(offer, "files");
	size_t n = json_array_size(files);
	for (size_t i = 0; i < n; i++) {
		const json_t *f = json_array_get(files, i);
		uint64_t bytes = (uint64_t)json_integer_value(json_object_get(f, "bytes"));
		char name[HTH_PULL_NAME_MAX + 40];
		hth_local_name(job->ref.name, (unsigned)i + 1, (unsigned)n, name);
		HTH_TRY(hth_plan_add(&job->plan, name, "", bytes, json_string_value(json_object_get(f, "sha256")), err));
		if (hth_add_overflows(job->plan.total, bytes, &job->plan.total))
			return hth_fail(err, HTH_TOO_LARGE, "the model is too large to be true");
	}
	job->plan.extras = extras_of(offer);
	*ret_planned = true;
	return HTH_OK;
}

hth_status hth_pull_ask_neighbours(const char *reference, const hth_pull_options *options, hth_pull_offer *ret_offer, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	HTH_AUTO_FREE hth_pull_job *job = hth_alloc_array(1, sizeof *job);
	HTH_AUTO_JSON json_t *offers = NULL;
	const json_t *offer = NULL, *any = NULL;
	hth_pull_offer result = {.bytes = 0};
	if (err == NULL)
		err = &own;
	if (job == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a download");
	hth_status status = hth_job_open(job, reference, options, err);
	if (status == HTH_OK)
		status = find(job, &offers, err);
	if (status == HTH_OK) {
		offer = believe(offers, &any);
		result.believed = offer != NULL;
		if (any == NULL)
			status = hth_fail(err, HTH_NOT_FOUND, "no neighbour has %s", job->ref.name);
	}
	hth_job_close(job);
	HTH_TRY(status);
	for (size_t i = 0, n = 0; i < json_array_size(offers) && n < sizeof result.homes - 80; i++) {
		const json_t *o = json_array_get(offers, i);
		if (is_offer(o) && is_same(o, any))
			n += (size_t)snprintf(result.homes + n, sizeof result.homes - n, "%s%.64s", n > 0 ? ", " : "",
			                      json_string_value(json_object_get(o, "home")));
	}
	for (size_t i = 0; i < json_array_size(json_object_get(any, "files")); i++)
		result.bytes += (uint64_t)json_integer_value(json_object_get(json_array_get(json_object_get(any, "files"), i), "bytes"));
	const char *license = json_string_value(json_object_get(json_object_get(any, "extras"), "license"));
	if (license != NULL) {
		license += strspn(license, " \t\r\n");
		snprintf(result.license, sizeof result.license, "%.*s", (int)HTH_MIN(strcspn(license, "\r\n"), sizeof result.license - 1),
		         license);
	}
	*ret_offer = result;
	return HTH_OK;
}

/* ---- files ---- */

uint64_t hth_job_have(const hth_pull_job *job, const hth_planned_file *file)
{
	char path[4600];
	struct stat partial = {0}, blocks = {0};
	hth_job_path(job, file, ".partial", path);
	if (stat(path, &partial) != 0)
		partial.st_size = 0;
	hth_job_path(job, file, ".blocks", path);
	if (stat(path, &blocks) != 0)
		blocks.st_size = 0;
	return (uint64_t)HTH_MAX(partial.st_size, blocks.st_size);
}

typedef struct teller {
	hth_pull_job *job;
	const hth_planned_file *file;
	char from[256];
	uint64_t first, bytes; /* first: that were here before */
	bool began;
} teller;

static void tell(void *ctx, uint64_t bytes, const char *from)
{
	teller *t = ctx;
	snprintf(t->from, sizeof t->from, "%s", from);
	t->job->from = t->from;
	if (!t->began)
		t->first = bytes;
	t->began = true;
	t->bytes = bytes;
	hth_job_tell(t->job, HTH_PULL_DOWNLOADING, t->file, bytes, false);
}
static bool tell_cancelled(void *ctx) { return hth_job_cancelled(((teller *)ctx)->job); }

hth_status hth_job_next_door(hth_pull_job *job, const hth_planned_file *file, hth_error *err)
{
	const hth_pull_neighbours *n = job->options->neighbours;
	char partial[4600], blocks[4600], etag[256];
	struct stat st;
	off_t moved = 0; /* bytes of a beginning from the internet that neighbours go on with */
	if (n == NULL || job->past_neighbours || file->sha256[0] == '\0' || file->bytes == 0)
		return HTH_OK;
	hth_job_path(job, file, ".partial", partial);
	hth_job_path(job, file, ".blocks", blocks);
	if (stat(partial, &st) == 0 && hth_job_state_fits(job, file, etag)) {
		if ((uint64_t)st.st_size == file->bytes)
			return HTH_OK; /* it only has to be looked at */
		off_t size = st.st_size;
		if (stat(blocks, &st) != 0 && rename(partial, blocks) == 0)
			moved = size;
	}
	teller t = {.job = job, .file = file};
	uint64_t prefix = 0;
	hth_error own = HTH_ERROR_INIT;
	hth_job_tell(job, HTH_PULL_DOWNLOADING, file, 0, true);
	hth_status status = n->fetch(n->ctx, file->name, file->bytes, file->sha256, tell, tell_cancelled, &t, &prefix, &own);
	job->from = "";
	job->next_door += t.bytes - t.first;
	if (status == HTH_CANCELLED || status == HTH_IO) {
		*err = own;
		return status;
	}
	if (status != HTH_OK && moved > 0 && t.bytes == t.first) { /* nobody had any of it: the internet goes on where it was */
		(void)!truncate(blocks, moved);
		(void)!rename(blocks, partial);
		return HTH_OK;
	}
	/* Else what there is may have gaps: it waits for a neighbour that knows which. */
	if ((status == HTH_OK || prefix > 0) && rename(blocks, partial) == 0)
		hth_job_write_state(job, file, "");
	return HTH_OK;
}
