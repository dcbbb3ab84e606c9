/* extract-host.h - what the daemon's side keeps: jobs, slots with a child each, the extractor. Of extract-host.c, -hear.c and -ask.c
 * only. */
#ifndef HTH_EXTRACT_EXTRACT_HOST_H
#define HTH_EXTRACT_EXTRACT_HOST_H

#include "extract/extract-frames.h"

#include <sys/stat.h>

enum { SLOTS_MAX = 17 };

struct hth_extract_job {
	hth_extract_job *next;
	uint32_t id;
	int rank; /* smaller goes first: 0 again after a crash, 1 render, 2 urgent, 3 others */
	int fd;
	struct stat st; /* when it was submitted */
	hth_extract_order order;
	hth_extract_sink sink;
	void *ctx;
	unsigned tries;
	bool told;      /* something was told since it last began */
	bool cancelled; /* nothing more may be told */
	/* what it has told in this try */
	uint64_t n_blocks, text_bytes, n_pages_told;
	uint32_t next_part, open[HTH_EXTRACT_DEPTH_MAX + 2];
	size_t depth; /* of open */
	bool meta_told;
	hth_buf png;
};

typedef struct slot {
	hth_extractor *x;
	bool ocr;
	hth_child *child; /* NULL: none */
	int fd;
	hth_watch *watch;
	hth_frame_decoder decoder;
	bool ready, stopped, sent;
	hth_error broken;
	hth_extract_job *job;
	unsigned n_jobs, n_bad_starts;
	uint64_t started_ms, idle_since_ms;
	uint64_t cpu_begin_ns, cpu_limit_from_ns, cpu_last_ns, wall_ms, tick_ms, extra_ms;
} slot;

struct hth_extractor {
	hth_loop *loop;
	hth_timer *pump, *tick;
	bool ticking, paused, destroyed, foreground;
	unsigned depth;
	char program[2100], languages[256];
	uint64_t memory_bytes, file_bytes_max;
	uint32_t seconds, last_id;
	slot slots[SLOTS_MAX];
	size_t n_slots, n_waiting;
	hth_extract_job *text, *ocr;
	hth_extract_scratch scratch;
	uint64_t n_ended, n_restarts, cpu_ns;
};

/* One frame about a job, but for its pages and its end, which are the slot's. */
HTH_MUST_USE hth_status hth_extract_hear(hth_extractor *x, hth_extract_job *job, const hth_frame *frame, hth_error *err);
hth_status hth_extract_out_of_place(const hth_frame *frame, hth_error *err);
bool hth_extract_is_open(const hth_extract_job *job, uint32_t part);
/* Makes the order of an ask, for a job whose descriptor is there; looks at the file. */
HTH_MUST_USE hth_status hth_extract_check_ask(const hth_extractor *x, const hth_extract_ask *ask, hth_extract_job *job, hth_error *err);
HTH_MUST_USE hth_status hth_extract_find_program(char *ret_path, size_t cap, const char *wish, hth_error *err);

#endif
