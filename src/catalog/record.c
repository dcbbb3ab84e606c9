/* record.c - reads and writes models/NAME.json; see record.h. Holds nothing between calls. Any thread. */
#include "catalog/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

static bool path_of(const char *home, const char *name, const char *ending, char out[PATH_MAX])
{
	return strchr(name, '/') == NULL &&
	       (size_t)snprintf(out, PATH_MAX, "%s/models/%s%s", home, name, ending) < PATH_MAX;
}

json_t *hth_record_read(const char *home, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	if (!path_of(home, name, ".json", path))
		return NULL;
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    st.st_size > HTH_RECORD_BYTES_MAX)
		return NULL;
	HTH_AUTO_FREE char *text = malloc((size_t)st.st_size);
	json_t *record = NULL;
	if (text == NULL || read(fd, text, (size_t)st.st_size) != st.st_size ||
	    hth_json_parse(&record, text, (size_t)st.st_size, NULL) != HTH_OK)
		return NULL;
	if (!json_is_object(record)) {
		json_decref(record);
		return NULL;
	}
	return record;
}

json_t *hth_record_of(const char *home, const hth_catalog_model *model)
{
	size_t n = strlen(home);
	if (model->built_in || model->n_files == 0 || strncmp(model->files[0], home, n) != 0 ||
	    strncmp(model->files[0] + n, "/models/", 8) != 0)
		return NULL;
	return hth_record_read(home, model->name);
}

static bool write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

hth_status hth_record_write(const char *home, const char *name, const json_t *record, hth_error *err)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	if (!path_of(home, name, ".json", path) || !path_of(home, name, ".json.new", fresh))
		return hth_fail(err, HTH_INVALID, "the model's name or the home folder's path is too long");
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(HTH_RECORD_BYTES_MAX);
	if (!hth_json_write(record, &text))
		return hth_fail(err, HTH_TOO_LARGE, "what is kept about the model %s is over %d MiB", name,
		                HTH_RECORD_BYTES_MAX >> 20);
	unlink(fresh); /* of a process that was killed here */
	HTH_AUTO_CLOSE int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || !write_all(fd, text.data, text.len) || fsync(fd) != 0 || rename(fresh, path) != 0) {
		int e = errno;
		unlink(fresh);
		return hth_fail_errno(err, HTH_IO, e, "cannot write %s", path);
	}
	return HTH_OK;
}

void hth_record_remove(const char *home, const char *name)
{
	char path[PATH_MAX];
	if (path_of(home, name, ".json", path))
		unlink(path);
}
