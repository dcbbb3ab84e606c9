/* spill.h - beginnings of prompts that memory has no room for, on disk: pages of the KV cache in one file, found again by their
 * tokens.
 *
 * A page (32 tokens, all layers) is a slot of the file. It is known by its own tokens and by the page before it, so what is found is
 * exactly what was computed for these tokens after those. The least recently used slot is overwritten first; a page is always
 * used after those that follow it, so no chain loses its beginning before its end.
 *
 * The file has no name (the daemon unlinks it, or never names it), is readable by its owner alone and ends with the process. It is not
 * encrypted: it is memory that happens to lie on a disk, as swap is.
 */
#ifndef HTH_RUNNER_SPILL_H
#define HTH_RUNNER_SPILL_H

#include "base/status.h"

#include <stdint.h>

enum { HTH_SPILL_PAGE = 32 /* tokens */ };
typedef struct hth_spill hth_spill;

/* A file open for reading and writing, of which at most `bytes` are used. fd is borrowed. HTH_TOO_LARGE: not one page fits. */
HTH_MUST_USE hth_status hth_spill_create(hth_spill **ret_spill, int fd, uint64_t bytes, size_t page_bytes, hth_error *err);
void hth_spill_destroy(hth_spill *spill); /* wipes what it knows; takes NULL */

/* How many of the pages of tokens[0, n) are there, from the first on. */
uint32_t hth_spill_find(hth_spill *spill, const int32_t *tokens, uint32_t n);
/* Writes the pages of tokens[0, n) that are not there yet; page(ctx, i) gives the i-th one's bytes. Returns how many are there now:
 * fewer when the disk is full or the file too small. */
uint32_t hth_spill_put(hth_spill *spill, const int32_t *tokens, uint32_t n, const void *(*page)(void *ctx, uint32_t i), void *ctx);
/* Reads pages [first, end) of tokens (which find has found): page(ctx, i) gives where to; NULL stops. Returns the page it came to. */
uint32_t hth_spill_get(hth_spill *spill, const int32_t *tokens, uint32_t first, uint32_t end, void *(*page)(void *ctx, uint32_t i),
                       void *ctx);

#endif
