/* read-in.h - brings a model's weights from the disk into memory, and says how far it is. */
#ifndef HTH_RUNNER_READ_IN_H
#define HTH_RUNNER_READ_IN_H

#include "engine/gguf/gguf.h"
#include "engine/kernels/threads.h"

/* Touches every page of the tensors' data, in the file's order, so that the first request need not wait for the disk
 * page by page. progress (done and all bytes) is called when at least one more of a hundred parts is there; not at all
 * when a large model is in the page cache, and then all workers share what is left to do. HTH_IO: the disk cannot read
 * them. */
HTH_MUST_USE hth_status hth_read_in(const hth_gguf *gguf, hth_threads *threads,
                                    void (*progress)(void *ctx, uint64_t done, uint64_t all), void *ctx,
                                    hth_error *err);

#endif
