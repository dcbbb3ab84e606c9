/* runner-child.h - what the files of the runner's own side share. */
#ifndef HTH_RUNNER_RUNNER_CHILD_H
#define HTH_RUNNER_RUNNER_CHILD_H

#include "runner/plan.h"
#include "runner/prepare.h"
#include "runner/scheduler.h"

#include <pthread.h>

/* The descriptors that the daemon gives to the child, and what it says on the command line. */
enum { HTH_RUNNER_SOCKET = 3, HTH_RUNNER_FIRST_FILE = 4, HTH_RUNNER_FILES_MAX = 256 };
enum { HTH_RUNNER_JOBS_MAX = 1024 };

/* Frames on their way to the daemon. Any thread; a frame is written whole. */
typedef struct hth_outbox {
	pthread_mutex_t lock;
	hth_buf buf;
	int fd;
} hth_outbox;
void hth_outbox_init(hth_outbox *outbox, int fd);
/* put(out, arg) appends frames; what does not fit into a frame is dropped and false returned. */
bool hth_outbox_put(hth_outbox *outbox, bool (*put)(hth_buf *out, void *arg), void *arg);
/* Writes what waits; blocks while the daemon is slow. Ends the process when the daemon is gone. */
void hth_outbox_flush(hth_outbox *outbox);

/* A queue of jobs between two threads. */
typedef struct hth_job_queue {
	pthread_mutex_t lock;
	pthread_cond_t more;
	hth_job *first, **last;
} hth_job_queue;
void hth_job_queue_init(hth_job_queue *queue);
void hth_job_queue_push(hth_job_queue *queue, hth_job *job);
/* All that wait, in order; NULL when none do and wait is false. */
hth_job *hth_job_queue_take(hth_job_queue *queue, bool wait);

typedef struct hth_runner_child {
	char name[HTH_MODEL_NAME_MAX];
	hth_plan_wish wish;
	uint32_t n_threads;
	size_t n_files, n_draft_files; /* the draft's descriptors come after the model's */
	uint64_t spill_bytes; /* 0: the daemon gave no file for it; else that is the descriptor after those */
	int landlock_abi;
	hth_outbox outbox;
	hth_job_queue asked; /* reader -> preparer */
	hth_job_queue ready; /* preparer -> scheduler */
	hth_preparer *preparer;
	pthread_mutex_t lock; /* guards the jobs and the scheduler's being there */
	hth_scheduler *scheduler;
	hth_job *jobs[HTH_RUNNER_JOBS_MAX]; /* all that live, wherever they are */
	size_t n_jobs;
} hth_runner_child;

/* Ends the process; clean enough for a sanitizer's report. */
_Noreturn void hth_child_exit(int code);
/* A job's end: out of the table, freed. */
void hth_child_free_job(hth_runner_child *child, hth_job *job);
void hth_child_fail(hth_runner_child *child, uint32_t id, const hth_error *error);
/* Threads: the reader of the socket, and the one that prepares. */
void *hth_child_reader(void *child);
void *hth_child_preparer(void *child);

#endif
