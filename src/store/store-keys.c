/* store-keys.c - API keys. The text of a key is shown once and kept nowhere: the table holds BLAKE2b(text) under a secret of this home,
 * so a stolen copy of the table alone cannot be searched, and a lookup by hash tells a guesser nothing by its time. */
#include "base/clock.h"
#include "base/mem.h"
#include "store/store-internal.h"

#include <ctype.h>

enum { KEY_HASH_BYTES = 32, KEYS_MAX = 10000, LAST_USED_GRAIN_S = 3600 };

hth_status store_load_secret(hth_store *store, hth_error *err)
{
	unsigned char fresh[sizeof store->key_secret];
	randombytes_buf(fresh, sizeof fresh);
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *insert = NULL;
	HTH_TRY(store_prepare(store, "INSERT OR IGNORE INTO secret (name, value) VALUES ('key-hash', ?1)", &insert, err));
	sqlite3_bind_blob(insert, 1, fresh, sizeof fresh, SQLITE_TRANSIENT);
	int rc = sqlite3_step(insert);
	sodium_memzero(fresh, sizeof fresh);
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "making the home's secret", err);
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *read = NULL;
	HTH_TRY(store_prepare(store, "SELECT value FROM secret WHERE name = 'key-hash'", &read, err));
	rc = sqlite3_step(read);
	if (rc != SQLITE_ROW)
		return store_fail(store, rc, "reading the home's secret", err);
	if (sqlite3_column_bytes(read, 0) != (int)sizeof store->key_secret)
		return hth_fail(err, HTH_BAD_FORMAT, "the home's secret in hearth.db has a wrong length; restore a backup");
	memcpy(store->key_secret, sqlite3_column_blob(read, 0), sizeof store->key_secret);
	return HTH_OK;
}

static void hash_key(const hth_store *store, const char *text, unsigned char ret_hash[KEY_HASH_BYTES])
{
	crypto_generichash(ret_hash, KEY_HASH_BYTES, (const unsigned char *)text, strlen(text), store->key_secret,
	                   sizeof store->key_secret);
}

static hth_status check_new_key(const hth_key *key, hth_error *err)
{
	size_t n = strnlen(key->name, sizeof key->name);
	if (n == 0 || n == sizeof key->name)
		return hth_fail(err, HTH_INVALID, "a key's name must have 1 to %d characters", HTH_KEY_NAME_MAX - 1);
	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)key->name[i]))
			return hth_fail(err, HTH_INVALID, "a key's name may hold printable ASCII characters without spaces only");
	if (key->scopes == 0 || (key->scopes & ~(unsigned)HTH_SCOPE_ALL) != 0)
		return hth_fail(err, HTH_INVALID, "a key needs at least one of the scopes chat, embed, admin, documents");
	if (key->context && (key->scopes & HTH_SCOPE_DOCUMENTS) == 0)
		return hth_fail(err, HTH_INVALID, "a key whose chats are given documents needs the scope documents");
	if (key->privacy < 0 || key->privacy > 2)
		return hth_fail(err, HTH_INVALID, "a key's privacy class must be private, neighbours or public");
	return HTH_OK;
}

hth_status hth_store_key_add(hth_store *store, const hth_key *key, char ret_text[HTH_KEY_TEXT_MAX], hth_error *err)
{
	HTH_TRY(check_new_key(key, err));
	unsigned char random[32], hash[KEY_HASH_BYTES];
	randombytes_buf(random, sizeof random);
	char text[HTH_KEY_TEXT_MAX] = "hth-";
	sodium_bin2base64(text + 4, sizeof text - 4, random, sizeof random, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(random, sizeof random);
	hash_key(store, text, hash);

	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store, "INSERT INTO key (name, hash, scopes, per_minute, privacy, created, context) VALUES (?1, ?2, ?3, ?4, "
	                             "?5, ?6, ?7)",
	                      &stmt, err));
	sqlite3_bind_text(stmt, 1, key->name, -1, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 2, hash, sizeof hash, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, key->scopes);
	sqlite3_bind_int64(stmt, 4, key->per_minute);
	sqlite3_bind_int(stmt, 5, key->privacy);
	sqlite3_bind_int64(stmt, 6, hth_clock_unix());
	sqlite3_bind_int(stmt, 7, key->context);
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_CONSTRAINT) {
		sodium_memzero(text, sizeof text);
		return hth_fail(err, HTH_CONFLICT, "there is already a key named %s; remove it first or choose another name", key->name);
	}
	if (rc != SQLITE_DONE) {
		sodium_memzero(text, sizeof text);
		return store_fail(store, rc, "adding a key", err);
	}
	memcpy(ret_text, text, sizeof text);
	sodium_memzero(text, sizeof text);
	return HTH_OK;
}

hth_status hth_store_key_remove(hth_store *store, const char *name, hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store, "DELETE FROM key WHERE name = ?1", &stmt, err));
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "removing a key", err);
	if (sqlite3_changes(store->db) == 0)
		return hth_fail(err, HTH_NOT_FOUND, "there is no key named %s; `hearth key list` shows them", name);
	return HTH_OK;
}

#define KEY_COLUMNS "id, name, scopes, per_minute, privacy, created, last_used, context"

static void read_key(sqlite3_stmt *stmt, hth_key *key)
{
	*key = (hth_key){.id = sqlite3_column_int64(stmt, 0),
	                 .scopes = (unsigned)sqlite3_column_int64(stmt, 2) & HTH_SCOPE_ALL,
	                 .per_minute = (uint32_t)sqlite3_column_int64(stmt, 3),
	                 .privacy = sqlite3_column_int(stmt, 4),
	                 .created_unix = sqlite3_column_int64(stmt, 5),
	                 .last_used_unix = sqlite3_column_int64(stmt, 6),
	                 .context = sqlite3_column_int(stmt, 7) != 0};
	snprintf(key->name, sizeof key->name, "%s", (const char *)sqlite3_column_text(stmt, 1));
}

hth_status hth_store_key_list(hth_store *store, hth_key **ret_keys, size_t *ret_n, hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store, "SELECT " KEY_COLUMNS " FROM key ORDER BY name LIMIT ?1", &stmt, err));
	sqlite3_bind_int(stmt, 1, KEYS_MAX);
	HTH_AUTO_FREE hth_key *keys = NULL;
	size_t n = 0, cap = 0;
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (n == cap) {
			cap = cap ? cap * 2 : 8;
			hth_key *more = realloc(keys, cap * sizeof *keys);
			if (more == NULL)
				return hth_fail(err, HTH_NO_MEMORY, "no memory to list the keys");
			keys = more;
		}
		read_key(stmt, &keys[n++]);
	}
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "listing the keys", err);
	*ret_keys = keys;
	*ret_n = n;
	keys = NULL;
	return HTH_OK;
}

static void note_use(hth_store *store, const hth_key *key)
{
	int64_t now = hth_clock_unix();
	if (now - key->last_used_unix < LAST_USED_GRAIN_S)
		return;
	sqlite3_stmt *stmt = NULL;
	if (store_prepare(store, "UPDATE key SET last_used = ?1 WHERE id = ?2", &stmt, NULL) == HTH_OK) {
		sqlite3_bind_int64(stmt, 1, now);
		sqlite3_bind_int64(stmt, 2, key->id);
		(void)sqlite3_step(stmt); /* only shown to the owner: losing it is no reason to refuse a request */
	}
	sqlite3_finalize(stmt);
}

hth_status hth_store_key_find(hth_store *store, const char *text, hth_key *ret_key, hth_error *err)
{
	if (strnlen(text, HTH_KEY_TEXT_MAX) >= HTH_KEY_TEXT_MAX)
		return hth_fail(err, HTH_UNAUTHORIZED, "this API key is not known here");
	unsigned char hash[KEY_HASH_BYTES];
	hash_key(store, text, hash);
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store, "SELECT " KEY_COLUMNS " FROM key WHERE hash = ?1", &stmt, err));
	sqlite3_bind_blob(stmt, 1, hash, sizeof hash, SQLITE_STATIC);
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_DONE)
		return hth_fail(err, HTH_UNAUTHORIZED, "this API key is not known here");
	if (rc != SQLITE_ROW)
		return store_fail(store, rc, "looking up an API key", err);
	read_key(stmt, ret_key);
	note_use(store, ret_key);
	return HTH_OK;
}

hth_status hth_store_key_count(hth_store *store, size_t *ret_n, hth_error *err)
{
	if (store->count_keys == NULL)
		HTH_TRY(store_prepare(store, "SELECT count(*) FROM key", &store->count_keys, err));
	int rc = sqlite3_step(store->count_keys);
	int64_t n = rc == SQLITE_ROW ? sqlite3_column_int64(store->count_keys, 0) : 0;
	hth_status status = rc == SQLITE_ROW ? HTH_OK : store_fail(store, rc, "counting the keys", err);
	sqlite3_reset(store->count_keys); /* so that others may write */
	if (status == HTH_OK)
		*ret_n = (size_t)n;
	return status;
}
