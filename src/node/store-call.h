/* store-call.h - one call to /v1/files or /v1/vector_stores: what vector-stores.c and file-uploads.c share. */
#ifndef HTH_NODE_STORE_CALL_H
#define HTH_NODE_STORE_CALL_H

#include "node/node-internal.h"

#include "http/multipart.h"
#include "index/stores.h"

#include <pthread.h>

enum { STORE_PATH_PARTS = 5 };

typedef struct store_call {
	hth_holder holder; /* first: it is the exchange's user */
	hth_stores *all;
	hth_exchange *exchange; /* NULL: the client has left */
	char *path, *parts[STORE_PATH_PARTS]; /* what comes behind /v1/; path is what parts point into */
	size_t n_parts;
	char method[8];
	json_t *body; /* NULL: none */
	/* of a listing */
	int64_t limit;
	bool oldest_first;
	char *after, *before, *filter;
	/* of an upload */
	int fd;
	uint64_t bytes;
	char spool[4200], boundary[HTH_MULTIPART_BOUNDARY_MAX + 1];
	bool receiving;
	/* of a search */
	hth_store_ask ask;
	size_t asked; /* queries whose vector is known, or will not be */
	/* of a search for a model (instead of an exchange) */
	hth_found_fn fn; /* NULL: nobody waits for it any more */
	void *ctx;
	json_t *stores; /* their ids */
	bool for_model;
	/* of content that goes out */
	hth_timer *timer;
	pthread_t thread;
	bool running, wake;
	json_t *answer;
	hth_status status;
	hth_error error;
	struct store_call *prev, *next;
} store_call;

struct hth_stores {
	hth_node *node;
	hth_mailbox *mailbox;
	store_call *calls;
	size_t n;
};

/* vector-stores.c */
/* becomes the exchange's user */
HTH_MUST_USE hth_status store_call_new(hth_stores *all, hth_exchange *exchange, store_call **ret_call, hth_error *err);
void store_call_free(store_call *c);
void store_call_gone(hth_holder *holder);
void store_call_begin(store_call *c); /* its thread; from here on its status is the thread's */

/* file-uploads.c: what was received becomes a file; the call's thread. */
HTH_MUST_USE hth_status upload_keep(store_call *c, hth_error *err);

#endif
