/* disk.h - the steps with which an index changes the disk: written whole, synced, only then named by the manifest, which is replaced by one
 * rename. Each is a step that a test can make fail. What the words and the vectors have in common of their files; only this folder includes
 * it.
 */
#ifndef HTH_INDEX_DISK_H
#define HTH_INDEX_DISK_H

#include "base/buf.h"
#include "index/words.h" /* hth_words_step_fn */

typedef struct disk {
	hth_words_step_fn step;
	void *ctx;
} disk;
hth_status disk_write(const disk *d, int fd, const char *path, const void *bytes, size_t len, hth_error *err);
hth_status disk_sync(const disk *d, int fd, const char *path, hth_error *err);
hth_status disk_sync_folder(const disk *d, const char *folder, hth_error *err);
hth_status disk_rename(const disk *d, const char *from, const char *to, hth_error *err);
void disk_remove(const disk *d, const char *path);     /* a leftover is removed at the next open */
uint64_t disk_checksum(const void *bytes, size_t len); /* FNV-1a, 64 bits: against damage, not against malice */

/* Small files with a checksum of all before it at their end. */
/* Appends the checksum and writes the file, synced; removed again where that fails. */
HTH_MUST_USE hth_status disk_put(const disk *d, const char *path, hth_buf *bytes, hth_error *err);
/* Appends the file to bytes, which are empty and whose cap is the most that is read, without its checksum, which is also told (ret_sum may
 * be NULL). HTH_NOT_FOUND; HTH_BAD_FORMAT: damaged, or larger. */
HTH_MUST_USE hth_status disk_get(const char *path, hth_buf *bytes, uint64_t *ret_sum, hth_error *err);
/* Replaces FOLDER/MANIFEST, behind the names of the files that it names: the moment of a commit. */
HTH_MUST_USE hth_status disk_put_manifest(const disk *d, const char *folder, hth_buf *bytes, hth_error *err);
/* Removes the files of a folder that `drop` chooses; a folder that is not there has none. HTH_IO: one stays, or the folder cannot be
 * read. */
hth_status disk_sweep(const disk *d, const char *folder, bool (*drop)(const void *ctx, const char *name), const void *ctx, hth_error *err);

#endif
