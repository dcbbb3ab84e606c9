/* store.h - the record of one home: what must outlive the process, in $HEARTH_HOME/hearth.db (SQLite, WAL).
 *
 * Several processes may have it open (the daemon, a command line); every change is one transaction, durable when the call returns.
 * It holds no prompt and no answer. Calls block for milliseconds; a locked database is waited for up to 5 s, then HTH_BUSY.
 * One handle belongs to one thread.
 */
#ifndef HTH_STORE_STORE_H
#define HTH_STORE_STORE_H

#include "base/status.h"

#include <stdint.h>
#include <sys/stat.h>

typedef struct hth_store hth_store;

/* Opens or makes home's database (mode 0600) and brings an older schema up to date. A newer schema than this program knows,
 * or a damaged file, is refused with what to do. */
HTH_MUST_USE hth_status hth_store_open(hth_store **ret_store, const char *home, hth_error *err);
void hth_store_close(hth_store *store);

/* --- API keys: kept as keyed hashes (BLAKE2b), never as themselves --------------------------------------------------- */

enum { HTH_KEY_NAME_MAX = 64, HTH_KEY_TEXT_MAX = 64 };
enum { HTH_SCOPE_CHAT = 1, HTH_SCOPE_EMBED = 2, HTH_SCOPE_ADMIN = 4, HTH_SCOPE_DOCUMENTS = 8, HTH_SCOPE_ALL = 15 };

typedef struct hth_key {
	int64_t id;
	char name[HTH_KEY_NAME_MAX];
	unsigned scopes;        /* HTH_SCOPE_* */
	uint32_t per_minute;    /* requests a minute; 0: no limit */
	int privacy;            /* default class of its requests: hth_privacy_class as a number */
	bool context;           /* its chats are given the best passages of the household's documents; needs HTH_SCOPE_DOCUMENTS */
	int64_t created_unix, last_used_unix; /* last_used: 0 when never; kept to the hour */
} hth_key;

/* Makes a key named key->name (unique, 1 to 63 printable characters) with key's scopes, limit and class, and gives its text
 * ("hth-" and 43 characters, 256 random bits) this one time. HTH_CONFLICT: the name is taken. */
HTH_MUST_USE hth_status hth_store_key_add(hth_store *store, const hth_key *key, char ret_text[HTH_KEY_TEXT_MAX], hth_error *err);
HTH_MUST_USE hth_status hth_store_key_remove(hth_store *store, const char *name, hth_error *err);
/* All keys, by name. *ret_keys is the caller's to free. */
HTH_MUST_USE hth_status hth_store_key_list(hth_store *store, hth_key **ret_keys, size_t *ret_n, hth_error *err);
/* The key that `text` is: HTH_UNAUTHORIZED when there is none. Time does not depend on how much of a key was right: what is looked
 * up is a hash under a secret of this home. */
HTH_MUST_USE hth_status hth_store_key_find(hth_store *store, const char *text, hth_key *ret_key, hth_error *err);
HTH_MUST_USE hth_status hth_store_key_count(hth_store *store, size_t *ret_n, hth_error *err);

/* --- Egress: every connection that this home opened to the outside, and why ------------------------------------------ */

typedef struct hth_egress {
	int64_t at_unix;
	char kind[16];    /* "pull", "fetch", "upstream" */
	char host[256];
	char reason[256]; /* "model llama3.2:1b", "web_fetch for req-...": never a prompt's text */
	uint64_t sent_bytes, received_bytes;
	bool allowed;     /* false: asked for and refused */
	char privacy[16]; /* class of the words that left, "": none did */
} hth_egress;
HTH_MUST_USE hth_status hth_store_egress_add(hth_store *store, const hth_egress *egress, hth_error *err);
/* Each entry's hash is over itself and the hash before it, so what was changed or taken out of the middle shows. HTH_BAD_FORMAT: and where.
 * ret_head: the newest entry's hash (zeros: none), for whoever keeps it elsewhere: that also shows an end that was cut off. Entries that
 * have become too old are dropped; the chain is verified from the oldest that is there. */
HTH_MUST_USE hth_status hth_store_egress_verify(hth_store *store, uint64_t *ret_entries, unsigned char ret_head[32], hth_error *err);
/* The newest `limit` entries, newest first. *ret_list is the caller's to free. */
HTH_MUST_USE hth_status hth_store_egress_list(hth_store *store, size_t limit, hth_egress **ret_list, size_t *ret_n, hth_error *err);

/* --- Digests of model files, which take minutes to compute and are the same as long as the file is ---------------------- */

typedef struct hth_file_identity {
	uint64_t device, inode, bytes;
	int64_t modified_ns;
} hth_file_identity;
static inline hth_file_identity hth_file_identity_of(const struct stat *st)
{
	return (hth_file_identity){st->st_dev, st->st_ino, (uint64_t)st->st_size,
	                           (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec};
}
/* sha256: 64 hex digits. */
HTH_MUST_USE hth_status hth_store_digest_put(hth_store *store, const hth_file_identity *file, const char sha256[65], hth_error *err);
/* HTH_NOT_FOUND. */
HTH_MUST_USE hth_status hth_store_digest_find(hth_store *store, const hth_file_identity *file, char ret_sha256[65], hth_error *err);

/* --- Receipts of work between homes: entries of ledger/, by chain ------------------------------------------------------ */

enum { HTH_STORE_RECEIPT_MAX = 1024 };
typedef struct hth_receipt_key {
	unsigned char giver[32], taker[32]; /* the homes' ids */
	uint64_t sequence;
} hth_receipt_key;
/* Writes an entry in the place of the one that was there. */
HTH_MUST_USE hth_status hth_store_receipt_put(hth_store *store, const hth_receipt_key *key, const void *entry, size_t len, hth_error *err);
/* Every entry, each chain in order; ends with the first status of fn that is not HTH_OK. entry is borrowed during the call. */
HTH_MUST_USE hth_status hth_store_receipt_each(hth_store *store, hth_status (*fn)(void *ctx, const void *entry, size_t len, hth_error *err),
                                               void *ctx, hth_error *err);

#endif
