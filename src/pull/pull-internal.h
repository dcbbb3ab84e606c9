/* pull-internal.h - what the files of this folder share: a reference taken apart, a plan of what to fetch, one job. */
#ifndef HTH_PULL_PULL_INTERNAL_H
#define HTH_PULL_PULL_INTERNAL_H

#include "client/transfer.h"
#include "json/json.h"
#include "pull/pull.h"
#include "store/store.h"

enum { HTH_PULL_ANSWER_MAX = 16 << 20, HTH_PULL_TEXT_MAX = 1 << 20 };

typedef enum hth_pull_kind { HTH_PULL_FROM_FILE, HTH_PULL_FROM_URL, HTH_PULL_FROM_HF, HTH_PULL_FROM_REGISTRY } hth_pull_kind;

typedef struct hth_reference {
	hth_pull_kind kind;
	char text[HTH_PULL_REFERENCE_MAX]; /* canonical: what is kept as the model's source */
	char name[HTH_PULL_NAME_MAX + 8];  /* of the model here, lower-case */
	char base[512];                    /* registry: scheme and host; Hugging Face: its base URL */
	char owner[128], repo[128];        /* Hugging Face; a registry's namespace and name */
	char tag[160];                     /* quant or file; tag ("" or "latest" when none was given) */
} hth_reference;

typedef struct hth_planned_file {
	char name[HTH_PULL_NAME_MAX + 40]; /* here: NAME.gguf or NAME-0000I-of-0000N.gguf */
	char *url;                         /* or path; owned */
	uint64_t bytes;                    /* 0: not known before it is asked for */
	char sha256[65];                   /* hex; "" : the source does not say */
	char etag[256];                    /* of a plain URL: what it was when asked */
} hth_planned_file;

typedef struct hth_plan {
	hth_planned_file files[HTH_PULL_FILES_MAX];
	size_t n_files;
	uint64_t total; /* 0: not known */
	json_t *extras; /* owned object: template, system, params, license; or NULL */
} hth_plan;

/* One pull that runs. */
typedef struct hth_pull_job {
	const hth_pull_options *options;
	hth_reference ref;
	hth_plan plan;
	hth_store *store;            /* egress; NULL: this home's record cannot be opened (then nothing is fetched) */
	char folder[4096], partial[4096]; /* models, models/.pull */
	char secret[4096];           /* an Authorization header, or "" */
	char reason[256];
	uint64_t done_bytes;         /* of files that are whole */
	uint64_t downloaded, next_door;
	const char *from;            /* who gives just now, or "" */
	bool by_neighbours;          /* the plan is: its files have no URL */
	bool past_neighbours;        /* they did not have all of it: the rest is the source's */
	uint64_t last_told_ms, rate_ms, rate_bytes;
	double rate;
} hth_pull_job;

/* pull-reference.c */
HTH_MUST_USE hth_status hth_reference_parse(const char *text, const hth_pull_options *options, hth_reference *ret_ref, hth_error *err);
/* NAME-0000I-of-0000N, without .gguf. */
bool hth_shard_split(const char *stem, size_t len, size_t *ret_base, unsigned *ret_i, unsigned *ret_n);
/* A file of the model: NAME.gguf, or the i-th (from 1) of n. */
void hth_local_name(const char *name, unsigned i, unsigned n, char out[HTH_PULL_NAME_MAX + 40]);

/* pull-plan.c, pull-registry.c */
HTH_MUST_USE hth_status hth_plan_make(hth_pull_job *job, hth_error *err);
void hth_plan_finish(hth_plan *plan);
HTH_MUST_USE hth_status hth_plan_registry(hth_pull_job *job, hth_error *err);
HTH_MUST_USE hth_status hth_plan_add(hth_plan *plan, const char *name, const char *url, uint64_t bytes, const char *sha256, hth_error *err);
/* A token for what answered 401. */
HTH_MUST_USE hth_status hth_registry_login(hth_pull_job *job, const hth_transfer_head *head, hth_error *err);
void hth_sha256_hex(const void *data, size_t len, char out[65]);
/* A small answer, retried after cuts; codes other than 2xx are errors (401: HTH_UNAUTHORIZED). *ret_head (may be NULL) is
 * filled then, too. */
HTH_MUST_USE hth_status hth_job_get(hth_pull_job *job, const char *url, const char *accept, size_t max, hth_transfer_head *ret_head,
                                    char **ret_body, size_t *ret_len, hth_error *err);
hth_status hth_job_http_error(const hth_pull_job *job, const hth_transfer_head *head, hth_error *err);

/* pull-next-door.c */
/* What the neighbours say the model is. *ret_planned: the plan is made of it; else the source has to be asked. */
HTH_MUST_USE hth_status hth_plan_neighbours(hth_pull_job *job, bool *ret_planned, hth_error *err);
/* Whatever the neighbours have of it; HTH_OK also when that is nothing. */
HTH_MUST_USE hth_status hth_job_next_door(hth_pull_job *job, const hth_planned_file *file, hth_error *err);
/* Bytes that have come of a file, from wherever. */
uint64_t hth_job_have(const hth_pull_job *job, const hth_planned_file *file);

/* pull-download.c */
void hth_job_path(const hth_pull_job *job, const hth_planned_file *file, const char *ending, char out[4600]);
void hth_job_write_state(const hth_pull_job *job, const hth_planned_file *file, const char *etag);
bool hth_job_state_fits(const hth_pull_job *job, const hth_planned_file *file, char ret_etag[256]);
HTH_MUST_USE hth_status hth_job_download(hth_pull_job *job, hth_planned_file *file, hth_error *err);
HTH_MUST_USE hth_status hth_job_copy(hth_pull_job *job, hth_planned_file *file, hth_error *err);
HTH_MUST_USE hth_status hth_job_room(const hth_pull_job *job, uint64_t needed, hth_error *err);

/* pull.c */
HTH_MUST_USE hth_status hth_job_open(hth_pull_job *job, const char *reference, const hth_pull_options *options, hth_error *err);
void hth_job_close(hth_pull_job *job);
bool hth_job_cancelled(void *job);
void hth_job_hop(void *job, const hth_transfer_hop *hop);
void hth_job_tell(hth_pull_job *job, hth_pull_phase phase, const hth_planned_file *file, uint64_t file_bytes, bool now);
/* Sleeps unless cancelled. */
HTH_MUST_USE hth_status hth_job_pause(hth_pull_job *job, uint64_t ms, hth_error *err);

#endif
