/* blocks-messages.h - what homes write to each other about model files, as plain values.
 *
 * They travel inside envelopes, which say who wrote them. A question (QUERY) is answered by an OFFER, also where there is nothing to offer;
 * a GET by DATA or REFUSE. Each is bounded before anything is believed, and has one encoding (canon.h).
 */
#ifndef HTH_BLOCKS_BLOCKS_MESSAGES_H
#define HTH_BLOCKS_BLOCKS_MESSAGES_H

#include "blocks/chunk-list.h"

enum { HTH_BLOCKS_FILES_MAX = 64, HTH_BLOCKS_REFERENCE_MAX = 2048, HTH_BLOCKS_NAME_MAX = 200, HTH_BLOCKS_EXTRAS_MAX = 256 << 10,
       HTH_BLOCKS_MESSAGE_MAX = 300 << 10 };

typedef enum hth_blocks_kind { HTH_BLOCKS_QUERY = 1, HTH_BLOCKS_OFFER, HTH_BLOCKS_GET, HTH_BLOCKS_DATA, HTH_BLOCKS_REFUSE } hth_blocks_kind;
typedef enum hth_blocks_part { HTH_PART_TOP = 1, HTH_PART_PAGE, HTH_PART_CHUNK } hth_blocks_part;
/* GONE: it is not here, or not for this reader */
typedef enum hth_blocks_reason { HTH_BLOCKS_BUSY = 1, HTH_BLOCKS_GONE } hth_blocks_reason;

typedef struct hth_blocks_file {
	uint64_t bytes;
	unsigned char sha256[HTH_SHA256_BYTES];
	bool ready; /* its chunks are hashed: root says what they are; else ask again in a while */
	unsigned char root[HTH_HASH_BYTES];
} hth_blocks_file;

typedef struct hth_blocks_message {
	hth_blocks_kind kind;
	uint64_t query;                                /* QUERY, OFFER: the asker's number for it */
	bool by_hash;                                  /* QUERY: for one file, by SHA-256; else by reference and name */
	char reference[HTH_BLOCKS_REFERENCE_MAX];      /* as pull.h writes one down: what the model's source calls it */
	char name[HTH_BLOCKS_NAME_MAX];                /* what it is called at home */
	uint8_t n_files;                               /* OFFER: of the model, in order; 0: nothing */
	hth_blocks_file files[HTH_BLOCKS_FILES_MAX];
	unsigned char sha256[HTH_SHA256_BYTES];        /* QUERY by hash, GET, DATA, REFUSE */
	hth_blocks_part part;                          /* GET, DATA, REFUSE */
	uint32_t index;
	hth_blocks_reason reason;                      /* REFUSE */
	const void *bytes;                             /* OFFER: what is kept beside the model, as JSON; DATA. Borrowed */
	size_t len;
} hth_blocks_message;

void hth_blocks_message_encode(const hth_blocks_message *message, hth_buf *out);
/* HTH_BAD_FORMAT, HTH_TOO_LARGE. */
HTH_MUST_USE hth_status hth_blocks_message_decode(hth_blocks_message *ret_message, const void *bytes, size_t len, hth_error *err);

#endif
