/* next-door-files.h - the disk's side of models from next door: reading, writing and hashing chunks on threads, so that the loop never
 * waits for a disk.
 *
 * A job is made, handed over, and comes back to the loop through `done`. Three threads, each started when it is first needed: one reads and
 * writes chunks, one looks at what an earlier try left and at whether the whole is right, one hashes whole files for neighbours, with the
 * lowest priority. Everything but the inside of the threads is on the loop's.
 */
#ifndef HTH_NODE_NEXT_DOOR_FILES_H
#define HTH_NODE_NEXT_DOOR_FILES_H

#include "blocks/chunk-list.h"
#include "loop/loop.h"
#include "store/store.h"

/* An open model file, counted: jobs hold it. */
typedef struct hth_model_file hth_model_file;
/* To read (made false) or to write. HTH_NOT_FOUND, HTH_IO. */
HTH_MUST_USE hth_status hth_model_file_open(hth_model_file **ret_file, const char *path, bool make, uint64_t bytes, hth_error *err);
hth_model_file *hth_model_file_ref(hth_model_file *file);
void hth_model_file_unref(hth_model_file *file);
bool hth_model_file_is_same(const hth_model_file *file); /* as it was when it was opened */
/* Cuts it off after the first n chunks; *ret_bytes: what is left. */
void hth_model_file_cut(hth_model_file *file, uint32_t chunks, uint64_t *ret_bytes);

typedef enum hth_file_work { HTH_FILE_READ, HTH_FILE_WRITE, HTH_FILE_SCAN, HTH_FILE_CHECK, HTH_FILE_LIST } hth_file_work;
typedef struct hth_file_job {
	hth_file_work work;
	hth_model_file *file;
	uint64_t number;  /* the caller's */
	uint32_t index;   /* READ, WRITE */
	unsigned char sha256[HTH_SHA256_BYTES]; /* CHECK, LIST */
	unsigned char *bytes; /* owned. WRITE: the chunk; READ: gets it */
	size_t len;
	unsigned char (*found)[HTH_HASH_BYTES]; /* owned. SCAN: gets the hashes of its chunks */
	uint32_t n_found;
	hth_chunk_list *list; /* owned. LIST: gets it */
	char cache[4200];     /* LIST: a file that keeps it */
	bool good;            /* it worked; CHECK: the SHA-256 is right */
	int error;            /* else errno, or 0 */
	struct hth_file_job *next, *out_next, **out_at; /* of a thread's queue; of all that are out */
} hth_file_job;

typedef struct hth_file_works hth_file_works;
/* done gets the job and everything that it still owns: hth_file_job_free. */
HTH_MUST_USE hth_status hth_file_works_create(hth_file_works **ret_works, hth_loop *loop, void (*done)(void *ctx, hth_file_job *job),
                                              void *ctx, hth_error *err);
void hth_file_works_destroy(hth_file_works *works); /* stops what runs; jobs that are out are freed, and not told */
/* NULL: no memory. */
hth_file_job *hth_file_job_new(hth_file_work work, hth_model_file *file, uint64_t number);
void hth_file_job_free(hth_file_job *job);
void hth_file_works_do(hth_file_works *works, hth_file_job *job);
/* Keeps a list where LIST looks for it. */
void hth_chunk_list_keep(const hth_chunk_list *list, const char *cache);

#endif
