/* upstream-internal.h - what upstream.c (servers, threads, the loop's side) and upstream-wire.c (bytes) share. */
#ifndef HTH_UPSTREAM_UPSTREAM_INTERNAL_H
#define HTH_UPSTREAM_UPSTREAM_INTERNAL_H

#include "client/transfer.h"
#include "json/json.h"
#include "upstream/upstream.h"

/* What a thread tells the loop, in order. Owned by the queue it is in. */
typedef enum hth_up_kind { HTH_UP_PIECE, HTH_UP_EMBEDDING, HTH_UP_HOP, HTH_UP_END } hth_up_kind;
typedef struct hth_up_event {
	struct hth_up_event *next;
	hth_up_kind kind;
	hth_piece_kind piece;
	char *text; /* owned; piece, or the host of a hop */
	size_t len;
	char *tool_id, *tool_name; /* owned */
	size_t tool_index;
	hth_token_logprob *rows, *top; /* owned; of a piece: n_rows tokens, n_top rivals of each; their bytes point into row_bytes */
	size_t n_rows, n_top;
	char *row_bytes; /* owned */
	float *values; /* owned; an embedding */
	json_t *models; /* owned array of strings */
	uint64_t sent, received;
	hth_finish_reason finish;
	hth_usage usage;
	hth_error error; /* of the end; HTH_OK: done */
} hth_up_event;

/* The request as a body of the OpenAI API, and its path below the base URL. HTH_UNSUPPORTED names what cannot be asked. */
HTH_MUST_USE hth_status hth_up_write(const hth_request *request, const char *model, hth_buf *ret_body, const char **ret_path,
                                     hth_error *err);

/* An answer being read. emit takes the event (false: no memory; reading then ends). */
typedef struct hth_up_reader {
	hth_request_kind kind;
	bool (*emit)(void *ctx, hth_up_event *event);
	void *ctx;
	hth_buf line;  /* of a stream */
	bool done;     /* [DONE] or a finish reason has come */
	bool failed;   /* error is set */
	hth_finish_reason finish;
	hth_usage usage;
	hth_error error;
} hth_up_reader;
void hth_up_reader_init(hth_up_reader *reader, hth_request_kind kind, bool (*emit)(void *ctx, hth_up_event *event), void *ctx);
bool hth_up_reader_feed(hth_up_reader *reader, const char *data, size_t len); /* a stream's bytes; false: stop */
/* A whole answer (embeddings). */
bool hth_up_reader_whole(hth_up_reader *reader, const char *data, size_t len);
void hth_up_reader_finish(hth_up_reader *reader);
/* An answer that is an error. */
hth_status hth_up_http_error(const char *upstream, const hth_transfer_head *head, const char *body, size_t len, hth_error *err);
void hth_up_event_free(hth_up_event *event);

#endif
