/* watch.c - inotify tells which paths to look at again; whatever it misses, the next sweep finds. Thread: the index's.
 *
 * Events are gathered until half a second passed without one (at most three seconds), because programs write a file in
 * many steps. A change among directories (made, moved, gone) makes their folder walked as a whole. Where the system
 * gives no more watches, sweeps are all there is.
 */
#include "index/keeper.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { QUIET_MS = 500, LATEST_MS = 3000 };

static void mark_dirty(hth_index *ix, int64_t folder)
{
	for (size_t i = 0; i < ix->n_dirty; i++)
		if (ix->dirty[i] == folder)
			return;
	int64_t *more = realloc(ix->dirty, (ix->n_dirty + 1) * sizeof *more);
	if (more == NULL) {
		ix->overflowed = true;
		return;
	}
	ix->dirty = more;
	more[ix->n_dirty++] = folder;
}

static void note_path(hth_index *ix, int64_t folder, const char *rel, const char *name)
{
	char path[HTH_INDEX_PATH_MAX];
	if ((size_t)snprintf(path, sizeof path, "%s%s%s", rel, rel[0] != '\0' ? "/" : "", name) >= sizeof path)
		return;
	for (size_t i = ix->n_events; i-- > 0 && ix->n_events - i < 16;)
		if (ix->events[i].folder == folder && strcmp(ix->events[i].rel, path) == 0)
			return;
	event_path *more = ix->n_events < EVENT_PATHS_MAX ? realloc(ix->events, (ix->n_events + 1) * sizeof *more) : NULL;
	if (more == NULL) {
		mark_dirty(ix, folder);
		return;
	}
	ix->events = more;
	if ((more[ix->n_events].rel = strdup(path)) == NULL) {
		mark_dirty(ix, folder);
		return;
	}
	more[ix->n_events++].folder = folder;
}

static void on_event(hth_index *ix, const struct inotify_event *e)
{
	if ((e->mask & IN_Q_OVERFLOW) != 0) {
		ix->overflowed = true;
		return;
	}
	if (e->wd < 0 || (size_t)e->wd >= ix->n_watched || ix->watched[e->wd].rel == NULL)
		return;
	watched *w = &ix->watched[e->wd];
	if ((e->mask & IN_IGNORED) != 0) { /* the directory is gone */
		free(w->rel);
		w->rel = NULL;
		return;
	}
	if (e->len == 0 || (e->mask & IN_ISDIR) != 0 || strcmp(e->name, ".hearthignore") == 0)
		mark_dirty(ix, w->folder);
	else
		note_path(ix, w->folder, w->rel, e->name);
}

static void on_readable(void *ctx, unsigned events)
{
	(void)events;
	hth_index *ix = ctx;
	_Alignas(struct inotify_event) char bytes[16384];
	ssize_t n;
	atomic_store(&ix->idle, false); /* before they are taken: who asks in between finds them in one place or the other */
	while ((n = read(ix->inotify, bytes, sizeof bytes)) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(bytes + at);
			on_event(ix, e);
			at += (ssize_t)(sizeof *e + e->len);
		}
		ix->last_event_ms = hth_clock_ms();
		if (ix->first_event_ms == 0)
			ix->first_event_ms = ix->last_event_ms;
	}
}

hth_status watch_start(hth_index *ix, hth_error *err)
{
	ix->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (ix->inotify < 0)
		return HTH_OK; /* the user's instances are used up: sweeps remain */
	return hth_watch_open(&ix->watch, ix->loop, ix->inotify, HTH_READABLE, on_readable, ix, err);
}

static void clear_events(hth_index *ix)
{
	for (size_t i = 0; i < ix->n_events; i++)
		free(ix->events[i].rel);
	ix->n_events = ix->n_dirty = 0;
	ix->first_event_ms = ix->last_event_ms = 0;
	ix->overflowed = false;
}

void watch_stop(hth_index *ix)
{
	hth_watch_close(ix->watch);
	if (ix->inotify >= 0)
		close(ix->inotify);
	clear_events(ix);
	for (size_t i = 0; i < ix->n_watched; i++)
		free(ix->watched[i].rel);
	free(ix->watched);
	free(ix->events);
	free(ix->dirty);
}

void watch_directory(void *ctx, int64_t folder, const char *folder_path, const char *rel)
{
	hth_index *ix = ctx;
	char path[HTH_INDEX_PATH_MAX];
	if (ix->inotify < 0 || !record_path(path, folder_path, rel))
		return;
	int wd = inotify_add_watch(ix->inotify, path,
	                           IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF);
	if (wd < 0)
		return;
	if ((size_t)wd >= ix->n_watched) {
		size_t n = HTH_MAX((size_t)wd + 1, ix->n_watched * 2);
		watched *more = realloc(ix->watched, n * sizeof *more);
		if (more == NULL) {
			inotify_rm_watch(ix->inotify, wd);
			return;
		}
		memset(more + ix->n_watched, 0, (n - ix->n_watched) * sizeof *more);
		ix->watched = more;
		ix->n_watched = n;
	}
	watched *w = &ix->watched[wd];
	if (w->rel != NULL && w->folder == folder && strcmp(w->rel, rel) == 0)
		return;
	free(w->rel);
	w->folder = folder;
	w->rel = strdup(rel);
}

void watch_forget_folder(hth_index *ix, int64_t folder)
{
	for (size_t i = 0; i < ix->n_watched; i++) {
		if (ix->watched[i].rel == NULL || ix->watched[i].folder != folder)
			continue;
		inotify_rm_watch(ix->inotify, (int)i);
		free(ix->watched[i].rel);
		ix->watched[i].rel = NULL;
	}
}

bool watch_has_unread(const hth_index *ix)
{
	int n = 0;
	return ix->inotify >= 0 && ioctl(ix->inotify, FIONREAD, &n) == 0 && n > 0;
}

bool watch_has_events(const hth_index *ix)
{
	return ix->first_event_ms != 0;
}

bool watch_is_due(const hth_index *ix)
{
	uint64_t now = hth_clock_ms();
	return watch_has_events(ix) && (now - ix->last_event_ms >= QUIET_MS || now - ix->first_event_ms >= LATEST_MS);
}

static bool is_dirty(const hth_index *ix, int64_t folder)
{
	for (size_t i = 0; i < ix->n_dirty; i++)
		if (ix->dirty[i] == folder)
			return true;
	return ix->overflowed;
}

static hth_status handle_folder(hth_index *ix, int64_t folder, const char *path, hth_error *err)
{
	if (is_dirty(ix, folder))
		return keeper_sweep(ix, folder, path, err);
	char **rels = NULL;
	size_t n = 0;
	for (size_t i = 0; i < ix->n_events; i++)
		n += ix->events[i].folder == folder;
	if (n == 0)
		return HTH_OK;
	if ((rels = hth_alloc_array(n, sizeof *rels)) == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to look at what changed");
	n = 0;
	for (size_t i = 0; i < ix->n_events; i++)
		if (ix->events[i].folder == folder)
			rels[n++] = ix->events[i].rel;
	hth_status status = sweep_paths(&ix->r, folder, path, ix->file_bytes_max, rels, n, err);
	free(rels);
	return status;
}

hth_status watch_handle(hth_index *ix, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&ix->r, &stmt, err, "SELECT id, path FROM folder WHERE removed = 0 ORDER BY id"));
	/* Copied: the sweep changes the table that is read. */
	struct {
		int64_t id;
		char *path;
	} list[256];
	size_t n = 0;
	while (n < HTH_COUNT(list) && sqlite3_step(stmt) == SQLITE_ROW) {
		list[n].id = sqlite3_column_int64(stmt, 0);
		list[n++].path = strdup(record_text(stmt, 1));
	}
	sqlite3_reset(stmt);
	hth_status status = HTH_OK;
	for (size_t i = 0; i < n; i++) {
		if (status == HTH_OK && list[i].path != NULL)
			status = handle_folder(ix, list[i].id, list[i].path, err);
		free(list[i].path);
	}
	clear_events(ix);
	return status;
}
