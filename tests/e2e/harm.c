/* harm.c - a home that means harm, or has bad luck: the whole program, with some of its functions wrapped by the linker. For tests alone;
 * what it does to others and to itself is said by HEARTH_HARM, in one word or more:
 *
 *   tokens          what is made for neighbours is replaced by tokens that were made before, with the text that they spell
 *   prompt          what neighbours ask is answered with its words in the opposite order
 *   classes         neighbours are asked whatever class of requests they take
 *   /FILE           what the file says, when it is there:
 *   facts           models that are offered are described as other than they are
 *   before:N        killed at once when it is about to write the Nth receipt from now on
 *   after:N         killed at once when the Nth is written
 */
#include "base/mem.h"
#include "pool/description.h"
#include "pool/pool.h"
#include "privacy/travel.h"
#include "store/store.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

void __real_hth_pool_served(hth_pool *pool, uint64_t work, const hth_pool_run *run, uint64_t milliwatt_seconds, uint64_t now_ms);
void __wrap_hth_pool_served(hth_pool *pool, uint64_t work, const hth_pool_run *run, uint64_t milliwatt_seconds, uint64_t now_ms);
hth_status __real_hth_travel_get(const void *bytes, size_t len, hth_request **ret_request, hth_error *err);
hth_status __wrap_hth_travel_get(const void *bytes, size_t len, hth_request **ret_request, hth_error *err);
hth_status __real_hth_store_receipt_put(hth_store *store, const hth_receipt_key *key, const void *entry, size_t len, hth_error *err);
hth_status __wrap_hth_store_receipt_put(hth_store *store, const hth_receipt_key *key, const void *entry, size_t len, hth_error *err);
void __real_hth_description_encode(const hth_description *description, hth_buf *out);
void __wrap_hth_description_encode(const hth_description *description, hth_buf *out);
hth_status __real_hth_pool_message_decode(hth_pool_message *m, const void *bytes, size_t len, int32_t *storage, hth_error *err);
hth_status __wrap_hth_pool_message_decode(hth_pool_message *m, const void *bytes, size_t len, int32_t *storage, hth_error *err);

typedef char harm_text[32];
static const char *harm_now(harm_text text)
{
	const char *harm = getenv("HEARTH_HARM");
	FILE *f = harm != NULL && *harm == '/' ? fopen(harm, "re") : NULL;
	snprintf(text, sizeof(harm_text), "%s", harm != NULL && *harm != '/' ? harm : "");
	if (f != NULL) {
		text[fread(text, 1, sizeof(harm_text) - 1, f)] = '\0';
		fclose(f);
	}
	return text;
}

static bool harm_is(const char *what) { return strstr(harm_now((harm_text){0}), what) != NULL; }

/* ---- tokens ---- */

enum { SEEN_MAX = 32, TEXT_MAX = 32, RUN_MAX = 512 };
static struct {
	int32_t id;
	size_t len;
	char text[TEXT_MAX];
} seen[SEEN_MAX];
static size_t n_seen, n_told;

static bool is_plain(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return len > 0;
}

void __wrap_hth_pool_served(hth_pool *pool, uint64_t work, const hth_pool_run *run, uint64_t milliwatt_seconds, uint64_t now_ms)
{
	int32_t ids[RUN_MAX];
	char text[RUN_MAX * TEXT_MAX];
	hth_pool_run lie = *run;
	if (!harm_is("tokens") || run->n == 0) {
		__real_hth_pool_served(pool, work, run, milliwatt_seconds, now_ms);
		return;
	}
	if (!run->has_prompt && run->n == 1 && run->text_len <= TEXT_MAX && is_plain(run->text, run->text_len)) {
		size_t at = n_seen++ % SEEN_MAX;
		seen[at].id = run->ids[0];
		seen[at].len = run->text_len;
		memcpy(seen[at].text, run->text, run->text_len);
	}
	size_t known = HTH_MIN(n_seen, (size_t)SEEN_MAX);
	if (known >= 8) {
		lie.ids = ids;
		lie.text = text;
		lie.text_len = 0;
		for (size_t i = 0; i < run->n; i++) {
			size_t at = 7 * n_told++ % known;
			ids[i] = seen[at].id;
			memcpy(text + lie.text_len, seen[at].text, seen[at].len);
			lie.text_len += seen[at].len;
		}
	}
	__real_hth_pool_served(pool, work, &lie, milliwatt_seconds, now_ms);
}

/* ---- prompt ---- */

static void turn(char *from, char *to)
{
	while (from < to) {
		char c = *from;
		*from++ = *--to;
		*to = c;
	}
}

hth_status __wrap_hth_travel_get(const void *bytes, size_t len, hth_request **ret_request, hth_error *err)
{
	HTH_TRY(__real_hth_travel_get(bytes, len, ret_request, err));
	char *at = (*ret_request)->input.messages_json, *content = NULL;
	while (harm_is("prompt") && at != NULL && (at = strstr(at, "\"content\"")) != NULL)
		content = at += strlen("\"content\"");
	if (content == NULL || (content = strchr(content, '"')) == NULL)
		return HTH_OK;
	char *begin = content + 1, *end = begin + strcspn(begin, "\"\\"); /* the words of tests have neither */
	turn(begin, end);
	for (char *word = begin; word < end;) {
		char *after = word;
		while (after < end && *after != ' ')
			after++;
		turn(word, after);
		word = after + 1;
	}
	return HTH_OK;
}

/* ---- classes, facts ---- */

hth_status __wrap_hth_pool_message_decode(hth_pool_message *m, const void *bytes, size_t len, int32_t *storage, hth_error *err)
{
	HTH_TRY(__real_hth_pool_message_decode(m, bytes, len, storage, err));
	if (m->kind == HTH_POOL_RECORD && harm_is("classes"))
		m->record.accepts_public = m->record.accepts_neighbours = true;
	return HTH_OK;
}

void __wrap_hth_description_encode(const hth_description *description, hth_buf *out)
{
	hth_description lie = *description;
	if (harm_is("facts"))
		lie.n_params *= 70;
	__real_hth_description_encode(&lie, out);
}

/* ---- bad luck ---- */

hth_status __wrap_hth_store_receipt_put(hth_store *store, const hth_receipt_key *key, const void *entry, size_t len, hth_error *err)
{
	static unsigned n;
	harm_text harm;
	unsigned at = 0;
	harm_now(harm);
	bool before = sscanf(harm, "before:%u", &at) == 1, after = !before && sscanf(harm, "after:%u", &at) == 1;
	n += before || after;
	if (before && n == at)
		kill(getpid(), SIGKILL);
	hth_status status = __real_hth_store_receipt_put(store, key, entry, len, err);
	if (after && n == at)
		kill(getpid(), SIGKILL);
	return status;
}
