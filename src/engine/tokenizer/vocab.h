/* vocab.h - the vocabulary of a GGUF file: what every token spells, is worth and is for. Shared by the four tokenizers.
 *
 * Two spellings of a token: its *piece* is what the file says ("▁the", "Ġthe", "<0x0A>"), its *bytes* are what it
 * stands for in a text (" the", "\n"). Matching and answering work on bytes, so a text is never rewritten to a
 * vocabulary's alphabet. A few strings that only merges name have no token; they get ids from n upward and are spelled
 * byte by byte on output.
 */
#ifndef HTH_ENGINE_TOKENIZER_VOCAB_H
#define HTH_ENGINE_TOKENIZER_VOCAB_H

#include "base/buf.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/trie.h"

typedef enum hth_vocab_kind {
	VOCAB_SPM,       /* "llama": pieces with ▁ for a space, scores, byte tokens */
	VOCAB_BYTES,     /* "gpt2": pieces in the byte-to-character alphabet of GPT-2, merges */
	VOCAB_TEXT,      /* BPE over plain UTF-8 with ▁ for a space and byte tokens ("gemma4") */
	VOCAB_WORDPIECE, /* "bert" */
	VOCAB_UNIGRAM    /* "t5" */
} hth_vocab_kind;

enum { /* attributes of a token */
       ATTR_NORMAL = 1,
       ATTR_UNKNOWN = 2,
       ATTR_CONTROL = 4,
       ATTR_USER = 8, /* user-defined: read in any text before everything else */
       ATTR_UNUSED = 16,
       ATTR_BYTE = 32,
       ATTR_LSTRIP = 64,   /* takes the white space before it along */
       ATTR_RSTRIP = 128,  /* and after it */
       ATTR_MARKER = 256,  /* user-defined, but shaped like markup: not read in a user's words */
       ATTR_END = 512,     /* ends a generation */
       ATTR_NO_TEXT = 1024 /* merges and matches never produce it: only a special match does */
};

enum {
	VOCAB_MAX_TOKENS = 1 << 22,
	VOCAB_MAX_MERGES = 1 << 23,
	VOCAB_MAX_PIECE = 65535,  /* bytes of one piece */
	VOCAB_MAX_SPECIAL = 1024, /* bytes of a token that special matching looks for */
};

typedef struct hth_vocab {
	hth_vocab_kind kind;
	size_t n;        /* tokens */
	size_t n_all;    /* tokens and strings that only merges name */
	hth_view *piece; /* n, borrowed from the file */
	uint16_t *attr;  /* n */
	float *score;    /* n, NULL when the file has none; finite */
	hth_buf bytes;   /* the bytes of all ids, one after the other */
	uint32_t *at;    /* where an id's bytes begin: at least n_all + 1 */
	size_t at_cap;
	size_t max_bytes;     /* of the longest string that a text can match */
	int32_t byte_id[256]; /* the token of one byte, -1 for none */
	/* Open addressing over the ids' bytes; a slot holds id + 1, 0 when free. */
	uint32_t *slots, *slot_tags;
	size_t n_slots, n_used;
	uint64_t seed;
	hth_trie special;          /* control, unknown and user-defined tokens as a text spells them */
	uint64_t special_first[4]; /* the bytes that one of them begins with */
	bool adjacent[256][256];   /* some string that a text can match has these two bytes side by side */
} hth_vocab;

/* Reads tokens, types and scores. kind decides how pieces become bytes. */
HTH_MUST_USE hth_status hth_vocab_load(hth_vocab *ret_vocab, const hth_gguf *gguf, hth_vocab_kind kind, hth_error *err);
/* After the attributes are final: fills the hash table, byte_id, adjacent and the special tree. */
HTH_MUST_USE hth_status hth_vocab_index(hth_vocab *vocab, hth_error *err);
void hth_vocab_finish(hth_vocab *vocab);

static inline hth_view hth_vocab_bytes(const hth_vocab *vocab, int32_t id)
{
	return (hth_view){vocab->bytes.data + vocab->at[id], vocab->at[id + 1] - vocab->at[id]};
}
/* The id whose bytes these are, -1 for none. May be an ATTR_NO_TEXT token or, from n upward, a string without a token.
 */
int32_t hth_vocab_find(const hth_vocab *vocab, const char *bytes, size_t len);
/* Finds the bytes or gives them an id from n_all upward; -1 when memory or room is out. */
int32_t hth_vocab_intern(hth_vocab *vocab, const char *bytes, size_t len);
/* The token whose piece is exactly this, -1 for none (a linear search: for creation only). */
int32_t hth_vocab_find_piece(const hth_vocab *vocab, const char *piece);
/* Marks that text may match these bytes (adjacent, max_bytes). */
void hth_vocab_note_match(hth_vocab *vocab, hth_view bytes);
/* A piece of GPT-2's alphabet as bytes, appended to out. False when a character is none of the alphabet's. */
bool hth_vocab_decode_alphabet(hth_view piece, hth_buf *out);
static inline bool hth_vocab_may_match(const hth_vocab *vocab, int32_t id)
{
	return id >= 0 && ((size_t)id >= vocab->n || !(vocab->attr[id] & ATTR_NO_TEXT));
}
/* A user-defined token that looks like markup ("<think>", "[TOOL]"). */
bool hth_vocab_is_marker(hth_view piece);

#endif
