/* description.h - what a home tells of a model that it offers, so that others can list it, and can read the answers that it makes.
 *
 * Nobody can see from a hash what the file is, so a description is its home's word until this home has the file itself. Facts that follow
 * from the file alone (its architecture and sizes; not its name, nor how a home has set it up) must be the same from everybody: where two
 * homes' facts differ, neither is believed, unless the owner here trusts those on one side and none on the other; once the file was read
 * here, its facts are known, and who said otherwise lied.
 *
 * Two letters beside the machine's (capability.h): somebody asks what a hash of weights is, the home that has it answers. What comes is
 * bounded and untrusted: a name is text without control characters, a template is only looked at for the marks in it.
 */
#ifndef HTH_POOL_DESCRIPTION_H
#define HTH_POOL_DESCRIPTION_H

#include "seal/identity.h"

enum { HTH_DESCRIPTION_NAME_MAX = 128, HTH_DESCRIPTION_TEMPLATE_MAX = (64 << 10) - 1, HTH_DESCRIPTION_BYTES_MAX = 68 << 10 };

typedef struct hth_description {
	unsigned char hash[HTH_HASH_BYTES]; /* SHA-256 of the weights */
	char name[HTH_DESCRIPTION_NAME_MAX], architecture[64], type[16];
	uint64_t n_params, weight_bytes;
	uint32_t n_ctx, n_ctx_train, n_vocab, n_embd, n_layer;
	bool has_template, tools, thinking;
	const char *chat_template; /* borrowed; not ended by a NUL */
	size_t template_len;
} hth_description;

typedef enum hth_description_letter { HTH_NO_DESCRIPTION = 0, HTH_DESCRIBE, HTH_DESCRIBED } hth_description_letter;

enum { HTH_VOICES_MAX = 16 };
typedef struct hth_voice { /* one home's word on one file */
	hth_home_id by;
	bool has_said, trusted;
	unsigned char facts[HTH_HASH_BYTES];
	bool counted, again; /* the caller's: that it lied was held against it; it is to be asked again */
	uint64_t ask_ms; /* the caller's: not before; how often it was */
	uint32_t n_asked;
} hth_voice;
/* The hash of what follows from the file alone. */
void hth_description_facts(const hth_description *description, unsigned char ret_facts[HTH_HASH_BYTES]);
/* Which facts are believed: `known` (of the file itself; NULL: it was not read here), else what all say, else what all whom the owner
 * trusts say. NULL: nobody is believed, or nobody has said anything. Borrowed from known or voices. */
const unsigned char *hth_voices_believed(const hth_voice *voices, size_t n, const unsigned char *known);

void hth_describe_encode(const unsigned char hash[HTH_HASH_BYTES], hth_buf *out);
void hth_description_encode(const hth_description *description, hth_buf *out);
/* Which of the two it is; HTH_DESCRIBE fills only the hash. HTH_NO_DESCRIPTION: neither, or not a good one. Borrows from bytes. */
hth_description_letter hth_description_decode(hth_description *ret_description, const void *bytes, size_t len);

#endif
