/* next-door-lists.c - what models from next door leave on the disk, and how it goes: lists of chunks, and files that were never fetched to
 * their end.
 *
 * models/.chunks keeps a list of hashes for each file that was given or fetched (32 bytes for 256 KiB of it), so that it need not be hashed
 * again. At start those are removed whose file is here no more; at any time the ones not used for longest, beyond LISTS_MAX or LISTS_BYTES.
 * models/.pull/FILE.blocks is the beginning of a file, from which a pull goes on; one that nothing was added to for a fortnight is removed
 * at start.
 */
#include "node/next-door.h"

#include "base/clock.h"
#include "base/log.h"
#include "node/node-internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { LISTS_MAX = 64, LISTS_BYTES = 64 << 20, SCANNED_MAX = 4096, ABANDONED_S = 14 * 24 * 3600 };

void hth_next_door_list_path(const hth_node *node, const char *sha256, char *out, size_t size)
{
	snprintf(out, size, "%.4000s/models/.chunks", node->config->home);
	(void)!mkdir(out, 0700);
	snprintf(out, size, "%.4000s/models/.chunks/%.64s", node->config->home, sha256);
}

static bool is_list(const char *name) { return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64; }

/* 1: a file of this home has it; 0: none has; -1: some are not hashed yet, so nobody can say. */
static int is_here(hth_node *node, const hth_catalog *catalog, const char *sha256)
{
	bool all = true;
	for (size_t i = 0; i < catalog->n; i++)
		for (size_t k = 0; k < catalog->models[i].n_files; k++) {
			const char *hex = hth_digests_file(node->digests, catalog->models[i].files[k]);
			if (hex != NULL && strcmp(hex, sha256) == 0)
				return 1;
			all &= hex != NULL;
		}
	return all ? 0 : -1;
}

typedef struct kept {
	char name[65];
	int64_t used_ns;
	off_t bytes;
} kept;

static int oldest_first(const void *a, const void *b)
{
	const kept *x = a, *y = b;
	return x->used_ns != y->used_ns ? (x->used_ns < y->used_ns ? -1 : 1) : strcmp(x->name, y->name);
}

void hth_next_door_clean_lists(hth_node *node, bool at_start)
{
	char path[4200];
	snprintf(path, sizeof path, "%.4000s/models/.chunks", node->config->home);
	DIR *dir = opendir(path);
	kept *list = dir != NULL ? calloc(SCANNED_MAX, sizeof *list) : NULL;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	bool known = at_start && hth_router_catalog(node->router, &catalog, NULL) == HTH_OK;
	size_t n = 0;
	off_t bytes = 0;
	struct dirent *entry;
	while (list != NULL && n < SCANNED_MAX && (entry = readdir(dir)) != NULL) {
		struct stat st;
		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			continue;
		/* While it runs, another thread may be writing one under another name. */
		if (is_list(entry->d_name) ? known && is_here(node, &catalog, entry->d_name) == 0 : at_start) {
			(void)!unlinkat(dirfd(dir), entry->d_name, 0);
			continue;
		}
		if (!is_list(entry->d_name))
			continue;
		list[n] = (kept){.used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, .bytes = st.st_size};
		memcpy(list[n++].name, entry->d_name, 64);
		bytes += st.st_size;
	}
	if (n > 0)
		qsort(list, n, sizeof *list, oldest_first);
	for (size_t i = 0; i < n && (n - i > LISTS_MAX || bytes > LISTS_BYTES); i++) {
		(void)!unlinkat(dirfd(dir), list[i].name, 0);
		bytes -= list[i].bytes;
	}
	free(list);
	if (dir != NULL)
		closedir(dir);
}

void hth_next_door_clean_abandoned(const hth_node *node)
{
	static const char end[] = ".blocks";
	char path[4200];
	snprintf(path, sizeof path, "%.4000s/models/.pull", node->config->home);
	DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		struct stat st;
		size_t len = strlen(entry->d_name);
		if (len < sizeof end || strcmp(entry->d_name + len - (sizeof end - 1), end) != 0 ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) ||
		    st.st_mtime + ABANDONED_S > hth_clock_unix())
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			hth_log(HTH_LOG_INFO, "removed %.200s, the beginning of a model that nobody has gone on fetching for a fortnight",
			        entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
}
