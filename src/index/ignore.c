/* ignore.c - .hearthignore. Bounded: a file of at most 64 KiB, 500 patterns. */
#include "index/ignore.h"

#include "base/mem.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { FILE_MAX = 64 << 10, PATTERNS_MAX = 500 };

typedef struct pattern {
	const char *text;
	bool negated, folders_only, whole_path;
} pattern;

struct ignore_rules {
	int refs;
	ignore_rules *above;
	size_t rel_len; /* of the folder that has the file */
	pattern *patterns;
	size_t n;
	char *file;
};

static void parse(ignore_rules *r, char *text)
{
	for (char *line = text; line != NULL && *line != '\0' && r->n < PATTERNS_MAX;) {
		char *end = strchr(line, '\n'), *next = end != NULL ? end + 1 : NULL;
		if (end != NULL)
			*end = '\0';
		size_t len = strlen(line);
		while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
			line[--len] = '\0';
		pattern p = {.text = line};
		if (*p.text == '!') {
			p.negated = true;
			p.text++;
			len--;
		}
		if (len > 0 && *p.text != '#') {
			if (p.text[len - 1] == '/') {
				p.folders_only = true;
				((char *)(uintptr_t)p.text)[len - 1] = '\0';
			}
			p.whole_path = strchr(p.text, '/') != NULL;
			p.text += *p.text == '/';
			if (*p.text != '\0')
				r->patterns[r->n++] = p;
		}
		line = next;
	}
}

ignore_rules *ignore_enter(ignore_rules *above, int dir_fd, const char *rel)
{
	if (above != NULL)
		above->refs++;
	HTH_AUTO_CLOSE int fd = openat(dir_fd, ".hearthignore", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return above;
	ignore_rules *r = calloc(1, sizeof *r);
	char *text = calloc(1, FILE_MAX + 1);
	pattern *patterns = hth_alloc_array(PATTERNS_MAX, sizeof *patterns);
	ssize_t n = r != NULL && text != NULL && patterns != NULL ? read(fd, text, FILE_MAX) : -1;
	if (n <= 0) {
		free(r);
		free(text);
		free(patterns);
		return above;
	}
	*r = (ignore_rules){.refs = 1, .above = above, .rel_len = strlen(rel), .patterns = patterns, .file = text};
	parse(r, text);
	return r;
}

void ignore_release(ignore_rules *r)
{
	while (r != NULL && --r->refs == 0) {
		ignore_rules *above = r->above;
		free(r->patterns);
		free(r->file);
		free(r);
		r = above;
	}
}

/* A Maildir has cur, new and tmp (cr.yp.to/proto/maildir.html); name: a folder in dir_fd, or "." */
static bool is_maildir(int dir_fd, const char *name)
{
	char path[NAME_MAX + 8];
	struct stat st;
	static const char *const parts[] = {"cur", "new"};
	for (size_t i = 0; i < HTH_COUNT(parts); i++)
		if ((size_t)snprintf(path, sizeof path, "%s/%s", name, parts[i]) >= sizeof path ||
		    fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
			return false;
	return true;
}

bool ignore_matches(const ignore_rules *rules, int dir_fd, const char *rel, const char *name, bool is_folder)
{
	if (name[0] == '.' && !(is_folder && is_maildir(dir_fd, ".") && is_maildir(dir_fd, name)))
		return true;
	if (is_folder && strcmp(name, "tmp") == 0 && is_maildir(dir_fd, "."))
		return true;
	/* The nearest file's last word counts. */
	for (const ignore_rules *r = rules; r != NULL; r = r->above) {
		const char *from_here = rel + r->rel_len + (r->rel_len > 0);
		for (size_t i = r->n; i-- > 0;) {
			const pattern *p = &r->patterns[i];
			if (p->folders_only && !is_folder)
				continue;
			if (fnmatch(p->text, p->whole_path ? from_here : name, p->whole_path ? FNM_PATHNAME : 0) == 0)
				return !p->negated;
		}
	}
	return false;
}
