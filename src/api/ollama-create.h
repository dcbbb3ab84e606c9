/* ollama-create.h - what POST /api/create asks, read and checked; the node does it (node/create.c, node/create-task.c). */
#ifndef HTH_API_OLLAMA_CREATE_H
#define HTH_API_OLLAMA_CREATE_H

#include "json/json.h"

enum { HTH_CREATE_FILES_MAX = 64 };

typedef struct hth_create_wish {
	char *model;    /* the new name, as asked */
	char *from;     /* a model, here or elsewhere; NULL where files are given */
	char *quantize; /* a type of `hearth quantize`, as asked; NULL: as the weights are */
	struct {
		char *name, *digest; /* "sha256:HEX": a blob that was sent before */
	} files[HTH_CREATE_FILES_MAX]; /* in the order of their names: shards */
	size_t n_files;
	json_t *settings; /* members of catalog/record.h, checked */
	bool stream;
} hth_create_wish;
void hth_create_wish_finish(hth_create_wish *wish);

/* HTH_INVALID and HTH_UNSUPPORTED name the member at fault. Finish *ret_wish afterwards, whatever came back. */
HTH_MUST_USE hth_status hth_create_wish_read(const json_t *body, hth_create_wish *ret_wish, hth_error *err);

#endif
