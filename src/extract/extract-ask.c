/* extract-ask.c - what may be asked of the extractor, and where its program lies. */
#include "extract/extract-host.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

static bool is_program(const char *path) { return path[0] != '\0' && access(path, X_OK) == 0; }

hth_status hth_extract_find_program(char *ret_path, size_t cap, const char *wish, hth_error *err)
{
	const char *env = getenv("HEARTH_EXTRACT");
	if (wish == NULL && env != NULL && *env != '\0')
		wish = env;
	if (wish != NULL) {
		snprintf(ret_path, cap, "%s", wish);
		return is_program(ret_path) ? HTH_OK : hth_fail(err, HTH_NOT_FOUND, "no program %s, which reads documents", wish);
	}
	char self[2048] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash = n > 0 ? strrchr(self, '/') : NULL;
	if (slash == NULL)
		return hth_fail(err, HTH_NOT_FOUND, "cannot find out where this program lies, and hearth-extract beside it");
	*slash = '\0';
	snprintf(ret_path, cap, "%s/hearth-extract", self);
	if (is_program(ret_path))
		return HTH_OK;
	snprintf(ret_path, cap, "%s/../libexec/hearth-extract", self);
	if (is_program(ret_path))
		return HTH_OK;
	return hth_fail(err, HTH_NOT_FOUND, "no hearth-extract, which reads documents, in %s or beside it in libexec; "
	                "install it, or set HEARTH_EXTRACT to its path", self);
}

hth_status hth_extract_check_ask(const hth_extractor *x, const hth_extract_ask *ask, hth_extract_job *job, hth_error *err)
{
	if (x->n_waiting >= HTH_EXTRACT_QUEUE_MAX)
		return hth_fail(err, HTH_BUSY, "%d files wait to be read already; try again later", HTH_EXTRACT_QUEUE_MAX);
	if (fstat(job->fd, &job->st) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot look at the file to read");
	if (!S_ISREG(job->st.st_mode))
		return hth_fail(err, HTH_INVALID, "only regular files can be read");
	hth_extract_order *o = &job->order;
	o->mode = ask->mode;
	if (ask->mode == HTH_EXTRACT_MODE_RENDER) {
		if (ask->page < 1 || ask->page > HTH_EXTRACT_PAGES_MAX)
			return hth_fail(err, HTH_INVALID, "page %u; pages begin with 1 and end with %d", ask->page, HTH_EXTRACT_PAGES_MAX);
		if (ask->dpi != 0 && (ask->dpi < 36 || ask->dpi > 300))
			return hth_fail(err, HTH_INVALID, "%u dots per inch; 36 to 300 are possible", ask->dpi);
		if (ask->n_marks > HTH_EXTRACT_MARKS_MAX)
			return hth_fail(err, HTH_TOO_LARGE, "%zu marks; at most %d", ask->n_marks, HTH_EXTRACT_MARKS_MAX);
		o->part = ask->part;
		o->page = ask->page;
		o->dpi = ask->dpi ? ask->dpi : 110;
		o->n_marks = ask->n_marks;
		for (size_t i = 0; i < ask->n_marks; i++)
			for (int k = 0; k < 4; k++) {
				float v = ask->marks[i][k];
				o->marks[i][k] = v >= 0 ? HTH_MIN(v, 1.0f) : 0;
			}
		for (size_t i = 0; i < o->n_marks; i++)
			for (int k = 0; k < 2; k++)
				o->marks[i][k + 2] = HTH_MAX(o->marks[i][k], o->marks[i][k + 2]);
	}
	if (ask->mode == HTH_EXTRACT_MODE_RENDER && ask->words != NULL) {
		if (strlen(ask->words) > HTH_EXTRACT_WORDS_MAX)
			return hth_fail(err, HTH_TOO_LARGE, "words to mark have at most %d bytes", HTH_EXTRACT_WORDS_MAX);
		snprintf(o->words, sizeof o->words, "%s", ask->words);
	}
	size_t len = ask->name != NULL ? strlen(ask->name) : 0, skip = len > sizeof o->name - 1 ? len - (sizeof o->name - 1) : 0;
	while (skip < len && ((unsigned char)ask->name[skip] & 0xC0) == 0x80)
		skip++;
	snprintf(o->name, sizeof o->name, "%s", len > 0 ? ask->name + skip : "");
	return HTH_OK;
}
