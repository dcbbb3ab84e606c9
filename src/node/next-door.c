/* next-door.c - the machine of blocks/ in the node; see next-door.h. Thread: the loop's.
 *
 * A callback of the machine may not call it: what a callback learns is noted, and done when the machine's function has returned (settle).
 */
#include "node/next-door.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/record.h"
#include "node/next-door-files.h"
#include "node/node-internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

enum { SHARED_MAX = 32, CALLS_MAX = 16, TELL_MS = 100, QUIET_MS = 5000, ROW_MS = 60000, PATH_ROOM = 4200 };

typedef struct member {
	hth_home_id id;
	char name[HTH_MEMBER_NAME_MAX];
	bool online, trusted;
	/* Since the last row of the egress log. */
	uint64_t sent, received, first_ms, last_ms;
	char what[128];
} member;

typedef struct shared_file { /* of this home, that somebody asked for */
	unsigned char sha256[HTH_SHA256_BYTES];
	hth_model_file *file;
	hth_chunk_list *list; /* NULL: being made */
	bool listing, anybody; /* anybody: not only for trusted members */
	char name[HTH_BLOCKS_NAME_MAX];
	uint64_t used_ms;
} shared_file;

typedef struct door_call {
	uint64_t number;
	bool fetch, started, ending, over, told; /* ending: the machine's part is over */
	/* find */
	hth_next_door_found_fn found_fn;
	json_t *offers;
	/* fetch */
	hth_next_door_state_fn state_fn;
	void *ctx;
	hth_model_file *file;
	uint64_t bytes, told_ms;
	unsigned char sha256[HTH_SHA256_BYTES];
	uint32_t unwritten, prefix;
	hth_blocks_end end;
	char error[160];
	hth_next_door_state state;
} door_call;

struct hth_next_door {
	hth_node *node;
	hth_street *street; /* NULL: none */
	hth_blocks *blocks;
	hth_file_works *works;
	hth_timer *timer;
	hth_store *store; /* egress */
	member *members;
	size_t n_members;
	shared_file shared[SHARED_MAX];
	size_t n_shared;
	door_call *calls[CALLS_MAX];
	size_t n_calls;
	uint64_t next_call;
	hth_buf extras;
	bool settling;
};

static void settle(hth_next_door *d);

static member *find_member(const hth_next_door *d, const hth_home_id *id)
{
	for (size_t i = 0; i < d->n_members; i++)
		if (hth_home_id_equal(&d->members[i].id, id))
			return &d->members[i];
	return NULL;
}

static door_call *find_call(const hth_next_door *d, uint64_t number)
{
	for (size_t i = 0; i < d->n_calls; i++)
		if (d->calls[i]->number == number)
			return d->calls[i];
	return NULL;
}

/* ---- the egress log ---- */

static void write_row(hth_next_door *d, member *m)
{
	hth_egress e = {.at_unix = hth_clock_unix(), .kind = "blocks", .sent_bytes = m->sent, .received_bytes = m->received,
	                .allowed = true};
	snprintf(e.host, sizeof e.host, "%.60s (%02x%02x%02x%02x)", m->name, m->id.bytes[0], m->id.bytes[1], m->id.bytes[2],
	         m->id.bytes[3]);
	snprintf(e.reason, sizeof e.reason, "model files%s%s", m->what[0] ? ": " : "", m->what);
	m->sent = m->received = m->first_ms = 0;
	m->what[0] = '\0';
	/* It has left; a log that is full or locked is told by the next command that reads it. */
	(void)!hth_store_egress_add(d->store, &e, NULL);
}

/* Rows for neighbours that are quiet, or have not had one for long. Returns when the next is due. */
static uint64_t write_rows(hth_next_door *d, uint64_t now_ms, bool all)
{
	uint64_t next = UINT64_MAX;
	for (size_t i = 0; i < d->n_members; i++) {
		member *m = &d->members[i];
		if (m->sent == 0 && m->received == 0)
			continue;
		uint64_t due = HTH_MIN(m->last_ms + QUIET_MS, m->first_ms + ROW_MS);
		if (all || now_ms >= due)
			write_row(d, m);
		else
			next = HTH_MIN(next, due);
	}
	return next;
}

static void count(hth_next_door *d, member *m, uint64_t sent, uint64_t received)
{
	m->last_ms = hth_clock_ms();
	if (m->sent == 0 && m->received == 0)
		m->first_ms = m->last_ms;
	m->sent += sent;
	m->received += received;
	hth_street_told(d->street, sent, received);
}

static bool on_send(void *ctx, const hth_home_id *to, const void *bytes, size_t len)
{
	hth_next_door *d = ctx;
	member *m = find_member(d, to);
	if (d->street == NULL || m == NULL || hth_street_send(d->street, HTH_LETTER_BLOCKS, to, bytes, len, NULL) != HTH_OK)
		return false;
	count(d, m, len, 0);
	return true;
}

/* ---- what this home has ---- */

static bool hex_of(const char *text, unsigned char sha256[HTH_SHA256_BYTES])
{
	size_t n = 0;
	return strlen(text) == 2 * HTH_SHA256_BYTES && sodium_hex2bin(sha256, HTH_SHA256_BYTES, text, strlen(text), NULL, &n, NULL) == 0 &&
	    n == HTH_SHA256_BYTES;
}

static void drop_shared(hth_next_door *d, shared_file *f)
{
	hth_model_file_unref(f->file);
	hth_chunk_list_destroy(f->list);
	*f = d->shared[--d->n_shared];
}

static shared_file *find_shared(hth_next_door *d, const unsigned char *sha256)
{
	for (size_t i = 0; i < d->n_shared; i++)
		if (memcmp(d->shared[i].sha256, sha256, HTH_SHA256_BYTES) == 0)
			return &d->shared[i];
	return NULL;
}

static void list_path(const hth_next_door *d, const unsigned char *sha256, char out[PATH_ROOM])
{
	char hex[2 * HTH_SHA256_BYTES + 1];
	sodium_bin2hex(hex, sizeof hex, sha256, HTH_SHA256_BYTES);
	hth_next_door_list_path(d->node, hex, out, PATH_ROOM);
}

/* Ready to be given from, or on the way there. NULL: it cannot be read. */
static shared_file *share(hth_next_door *d, const unsigned char *sha256, const char *path, const char *name, bool anybody)
{
	shared_file *f = find_shared(d, sha256);
	if (f != NULL && !hth_model_file_is_same(f->file)) {
		drop_shared(d, f);
		f = NULL;
	}
	if (f == NULL) {
		if (d->n_shared == SHARED_MAX) {
			shared_file *oldest = &d->shared[0];
			for (size_t i = 1; i < d->n_shared; i++)
				if (d->shared[i].used_ms < oldest->used_ms)
					oldest = &d->shared[i];
			drop_shared(d, oldest);
		}
		hth_model_file *file = NULL;
		if (hth_model_file_open(&file, path, false, 0, NULL) != HTH_OK)
			return NULL;
		f = &d->shared[d->n_shared++];
		*f = (shared_file){.file = file};
		memcpy(f->sha256, sha256, HTH_SHA256_BYTES);
	}
	f->anybody |= anybody; /* one file, several names */
	f->used_ms = hth_clock_ms();
	snprintf(f->name, sizeof f->name, "%s", name);
	if (f->list == NULL && !f->listing) {
		hth_file_job *job = hth_file_job_new(HTH_FILE_LIST, f->file, 0);
		if (job == NULL)
			return NULL;
		memcpy(job->sha256, sha256, HTH_SHA256_BYTES);
		list_path(d, sha256, job->cache);
		f->listing = true;
		hth_file_works_do(d->works, job);
	}
	return f;
}

static bool offer_file(hth_next_door *d, const hth_catalog_model *model, size_t i, bool anybody, hth_blocks_offer *offer)
{
	struct stat st;
	unsigned char sha256[HTH_SHA256_BYTES];
	const char *hex = hth_digests_file(d->node->digests, model->files[i]);
	if (hex == NULL || !hex_of(hex, sha256) || stat(model->files[i], &st) != 0 || st.st_size <= 0 ||
	    (uint64_t)st.st_size > HTH_BLOCKS_FILE_MAX)
		return false;
	const shared_file *f = share(d, sha256, model->files[i], model->name, anybody);
	if (f == NULL)
		return false;
	hth_blocks_file *to = &offer->files[offer->n_files++];
	*to = (hth_blocks_file){.bytes = (uint64_t)st.st_size, .ready = f->list != NULL};
	memcpy(to->sha256, sha256, sizeof sha256);
	if (f->list != NULL)
		memcpy(to->root, f->list->root, HTH_HASH_BYTES);
	return true;
}

/* What came along with the model from its source. */
static void write_extras(hth_next_door *d, const json_t *record, hth_blocks_offer *offer)
{
	static const char *const keys[] = {"template", "system", "params", "messages", "license"};
	HTH_AUTO_JSON json_t *extras = json_object();
	for (size_t i = 0; i < HTH_COUNT(keys); i++)
		if (json_object_get(record, keys[i]) != NULL)
			json_object_set(extras, keys[i], json_object_get(record, keys[i]));
	hth_buf_clear(&d->extras);
	if (extras == NULL || !hth_json_write(extras, &d->extras))
		return; /* too much of it: the model itself is what counts */
	offer->extras = d->extras.data;
	offer->extras_len = d->extras.len;
}

static bool by_hash(hth_next_door *d, const hth_catalog_model *model, bool anybody, const hth_blocks_message *query,
                    hth_blocks_offer *offer)
{
	for (size_t i = 0; i < model->n_files; i++) {
		unsigned char sha256[HTH_SHA256_BYTES];
		const char *hex = hth_digests_file(d->node->digests, model->files[i]);
		if (hex != NULL && hex_of(hex, sha256) && memcmp(sha256, query->sha256, sizeof sha256) == 0)
			return offer_file(d, model, i, anybody, offer);
	}
	return false;
}

static bool by_name(hth_next_door *d, const hth_catalog_model *model, const json_t *record, const char *source, bool anybody,
                    const hth_blocks_message *query, hth_blocks_offer *offer)
{
	bool same_source = source != NULL && strcmp(source, query->reference) == 0;
	if (!same_source && (strcmp(model->name, query->name) != 0 || (source != NULL && source[0] != '/')))
		return false; /* a name alone says which only where there is no source to tell it from */
	if (model->n_files > HTH_BLOCKS_FILES_MAX)
		return false;
	for (size_t i = 0; i < model->n_files; i++)
		if (!offer_file(d, model, i, anybody, offer)) {
			offer->n_files = 0;
			return false;
		}
	write_extras(d, record, offer);
	return true;
}

static void on_offer(void *ctx, const hth_home_id *from, const hth_blocks_message *query, hth_blocks_offer *offer)
{
	hth_next_door *d = ctx;
	const member *m = find_member(d, from);
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	if (m == NULL || !d->node->config->pool_share || hth_router_catalog(d->node->router, &catalog, NULL) != HTH_OK)
		return;
	for (size_t i = 0; i < catalog.n; i++) {
		const hth_catalog_model *model = &catalog.models[i];
		const json_t *record = model->built_in ? NULL : hth_settings_record(d->node, model->name);
		const char *source = json_string_value(json_object_get(record, "source"));
		bool anybody = model->built_in || (source != NULL && source[0] != '/');
		if ((!anybody && !m->trusted) || (json_object_get(record, "from") != NULL && !query->by_hash))
			continue;
		if (query->by_hash ? by_hash(d, model, anybody, query, offer) : by_name(d, model, record, source, anybody, query, offer))
			return;
	}
}

static void on_read(void *ctx, uint64_t read, const hth_home_id *to, const unsigned char sha256[HTH_SHA256_BYTES], hth_blocks_part part,
                    uint32_t index)
{
	hth_next_door *d = ctx;
	member *m = find_member(d, to);
	shared_file *f = find_shared(d, sha256);
	uint64_t now = hth_clock_ms();
	size_t len = 0;
	const void *bytes = NULL;
	if (m == NULL || f == NULL || f->list == NULL || !d->node->config->pool_share || !(f->anybody || m->trusted) ||
	    !hth_model_file_is_same(f->file)) {
		hth_blocks_read_done(d->blocks, read, NULL, 0, now);
		return;
	}
	f->used_ms = now;
	snprintf(m->what, sizeof m->what, "%.100s", f->name);
	hth_file_job *job;
	if (part == HTH_PART_TOP && index == 0) {
		bytes = f->list->pages;
		len = (size_t)f->list->n_pages * HTH_HASH_BYTES;
	} else if (part == HTH_PART_PAGE && index < f->list->n_pages) {
		bytes = hth_chunk_list_page(f->list, index, &len);
	} else if (part == HTH_PART_CHUNK && index < f->list->n_chunks && (job = hth_file_job_new(HTH_FILE_READ, f->file, read)) != NULL) {
		job->index = index;
		hth_file_works_do(d->works, job);
		return;
	}
	hth_blocks_read_done(d->blocks, read, bytes, len, now);
}

/* ---- what this home asks for: the machine's callbacks ---- */

static void on_found(void *ctx, uint64_t find, const hth_home_id *from, const hth_blocks_offer *offer)
{
	hth_next_door *d = ctx;
	door_call *c = find_call(d, find);
	const member *m = find_member(d, from);
	char id[HTH_HOME_ID_TEXT], hex[2 * HTH_SHA256_BYTES + 1];
	if (c == NULL || m == NULL)
		return;
	hth_home_id_text(from, id);
	HTH_AUTO_JSON json_t *extras = NULL, *files = json_array();
	if (offer->extras_len > 0 && (hth_json_parse(&extras, offer->extras, offer->extras_len, NULL) != HTH_OK || !json_is_object(extras)))
		return; /* nobody who is in order sends that */
	for (size_t i = 0; i < offer->n_files; i++) {
		sodium_bin2hex(hex, sizeof hex, offer->files[i].sha256, HTH_SHA256_BYTES);
		json_array_append_new(files, json_pack("{s:I, s:s}", "bytes", (json_int_t)offer->files[i].bytes, "sha256", hex));
	}
	json_array_append_new(c->offers, json_pack("{s:s, s:s, s:b, s:O, s:o}", "home", m->name, "id", id, "trusted", (int)m->trusted,
	                                           "files", files, "extras", extras != NULL ? json_incref(extras) : json_object()));
}

static void on_find_ended(void *ctx, uint64_t find)
{
	door_call *c = find_call(ctx, find);
	if (c != NULL)
		c->over = true;
}

static void on_store(void *ctx, uint64_t fetch, uint32_t index, const void *bytes, size_t len)
{
	hth_next_door *d = ctx;
	door_call *c = find_call(d, fetch);
	if (c == NULL)
		return;
	hth_file_job *job = hth_file_job_new(HTH_FILE_WRITE, c->file, fetch);
	if (job == NULL || (job->bytes = malloc(len)) == NULL) {
		hth_file_job_free(job);
		snprintf(c->error, sizeof c->error, "no memory for a model of neighbours");
		return;
	}
	memcpy(job->bytes, bytes, len);
	job->len = len;
	job->index = index;
	c->unwritten++;
	hth_file_works_do(d->works, job);
}

static void on_check(void *ctx, uint64_t fetch)
{
	hth_next_door *d = ctx;
	door_call *c = find_call(d, fetch);
	hth_file_job *job = c != NULL ? hth_file_job_new(HTH_FILE_CHECK, c->file, fetch) : NULL;
	if (job == NULL) {
		if (c != NULL)
			snprintf(c->error, sizeof c->error, "no memory for a model of neighbours");
		return;
	}
	memcpy(job->sha256, c->sha256, HTH_SHA256_BYTES);
	hth_file_works_do(d->works, job);
}

static void on_ended(void *ctx, uint64_t fetch, hth_blocks_end end, uint32_t prefix)
{
	door_call *c = find_call(ctx, fetch);
	if (c == NULL)
		return;
	c->ending = true;
	c->end = end;
	c->prefix = prefix;
}

static void on_lied(void *ctx, const hth_home_id *from)
{
	const member *m = find_member(ctx, from);
	hth_log(HTH_LOG_WARN, "%s sent something else than the model that it had said: it is asked no more for this one",
	        m != NULL ? m->name : "a neighbour");
}

/* ---- calls ---- */

static void free_call(hth_next_door *d, door_call *c)
{
	for (size_t i = 0; i < d->n_calls; i++)
		if (d->calls[i] == c)
			d->calls[i] = d->calls[--d->n_calls];
	json_decref(c->offers);
	hth_model_file_unref(c->file);
	free(c);
}

static void names_of(const hth_next_door *d, const hth_blocks_progress *p, char out[256])
{
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < p->sources && n < 180; i++) {
		const member *m = find_member(d, &p->from[i]);
		if (m != NULL)
			n += (size_t)snprintf(out + n, 256 - n, "%s%s", n > 0 ? ", " : "", m->name);
	}
}

static void tell(hth_next_door *d, door_call *c, bool now)
{
	uint64_t ms = hth_clock_ms();
	hth_blocks_progress p;
	if ((!now && ms < c->told_ms + TELL_MS) || !hth_blocks_get_progress(d->blocks, c->number, ms, &p))
		return;
	c->told_ms = ms;
	c->state = (hth_next_door_state){.bytes = p.bytes};
	names_of(d, &p, c->state.from);
	c->state_fn(c->ctx, &c->state);
}

/* True: it is over and freed. */
static bool end_if_due(hth_next_door *d, door_call *c)
{
	if (!c->fetch) {
		if (!c->over)
			return false;
		c->found_fn(c->ctx, c->offers);
		free_call(d, c);
		return true;
	}
	if (c->error[0] != '\0' && !c->ending) {
		hth_blocks_cancel(d->blocks, c->number);
		c->ending = true;
		c->end = HTH_BLOCKS_NOBODY;
	}
	if (!c->ending || c->unwritten > 0)
		return false;
	c->state = (hth_next_door_state){.over = true, .whole = c->end == HTH_BLOCKS_WHOLE && c->error[0] == '\0',
	                                 .error = c->error[0] ? c->error : NULL};
	if (c->state.whole)
		c->state.bytes = c->state.prefix = c->bytes;
	else if (c->error[0] == '\0' && c->prefix > 0)
		hth_model_file_cut(c->file, c->prefix, &c->state.prefix);
	c->state_fn(c->ctx, &c->state);
	free_call(d, c);
	return true;
}

/* After every function of the machine: what its callbacks noted, and the time it wants to be called again. */
static void settle(hth_next_door *d)
{
	uint64_t now = hth_clock_ms(), next;
	if (d->settling)
		return;
	d->settling = true;
	for (size_t i = d->n_calls; i-- > 0;)
		if (i < d->n_calls)
			end_if_due(d, d->calls[i]);
	next = HTH_MIN(hth_blocks_next_ms(d->blocks), write_rows(d, now, false));
	if (next == UINT64_MAX)
		hth_timer_stop(d->timer);
	else
		hth_timer_start(d->timer, next > now ? next - now : 1, 0);
	d->settling = false;
}

static void on_timer(void *ctx)
{
	hth_next_door *d = ctx;
	hth_blocks_tick(d->blocks, hth_clock_ms());
	settle(d);
}

static void on_job(void *ctx, hth_file_job *job)
{
	hth_next_door *d = ctx;
	uint64_t now = hth_clock_ms();
	door_call *c = job->work != HTH_FILE_READ && job->work != HTH_FILE_LIST ? find_call(d, job->number) : NULL;
	shared_file *f;
	hth_error err = HTH_ERROR_INIT;
	switch (job->work) {
	case HTH_FILE_READ: hth_blocks_read_done(d->blocks, job->number, job->good ? job->bytes : NULL, job->good ? job->len : 0,
	                                         now); break;
	case HTH_FILE_LIST:
		f = find_shared(d, job->sha256);
		if (f == NULL || f->file != job->file)
			break;
		f->listing = false;
		if (job->good) {
			f->list = job->list;
			job->list = NULL;
			hth_next_door_clean_lists(d->node, false);
		}
		break;
	case HTH_FILE_WRITE:
		if (c == NULL || c->file != job->file)
			break;
		c->unwritten--;
		if (!job->good)
			snprintf(c->error, sizeof c->error, "cannot write the model's file: %s", strerror(job->error));
		hth_blocks_stored(d->blocks, c->number, now);
		tell(d, c, false);
		break;
	case HTH_FILE_SCAN:
		if (c == NULL || c->file != job->file)
			break;
		if (hth_blocks_fetch(d->blocks, c->number, c->bytes, c->sha256, (const unsigned char (*)[HTH_HASH_BYTES])job->found,
		                     job->n_found, now, &err) != HTH_OK) {
			c->ending = true;
			c->end = HTH_BLOCKS_NOBODY;
		}
		break;
	case HTH_FILE_CHECK:
		if (c == NULL || c->file != job->file)
			break;
		if (job->good && hth_blocks_list(d->blocks, c->number) != NULL) { /* it can be given on at once */
			char path[PATH_ROOM];
			list_path(d, c->sha256, path);
			hth_chunk_list_keep(hth_blocks_list(d->blocks, c->number), path);
			hth_next_door_clean_lists(d->node, false);
		}
		hth_blocks_checked(d->blocks, c->number, job->good, now);
		break;
	}
	hth_file_job_free(job);
	hth_blocks_tick(d->blocks, now);
	settle(d);
}

static hth_status new_call(hth_next_door *d, void *ctx, door_call **ret_call, hth_error *err)
{
	if (d->street == NULL)
		return hth_fail(err, HTH_NOT_FOUND, "this home is in no neighbourhood");
	if (d->n_calls == CALLS_MAX)
		return hth_fail(err, HTH_BUSY, "the neighbours are being asked for %d models already", CALLS_MAX);
	door_call *c = calloc(1, sizeof *c);
	if (c == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to ask neighbours");
	c->number = ++d->next_call;
	c->ctx = ctx;
	d->calls[d->n_calls++] = c;
	*ret_call = c;
	return HTH_OK;
}

hth_status hth_next_door_find(hth_next_door *d, const char *reference, const char *name, hth_next_door_found_fn fn, void *ctx,
                              uint64_t *ret_call, hth_error *err)
{
	door_call *c;
	HTH_TRY(new_call(d, ctx, &c, err));
	c->found_fn = fn;
	c->offers = json_array();
	hth_status status = hth_blocks_find(d->blocks, c->number, reference, name, hth_clock_ms(), err);
	if (status != HTH_OK) {
		free_call(d, c);
		return status;
	}
	*ret_call = c->number;
	settle(d);
	return HTH_OK;
}

hth_status hth_next_door_fetch(hth_next_door *d, const char *file, uint64_t bytes, const char *sha256, hth_next_door_state_fn fn, void *ctx,
                               uint64_t *ret_call, hth_error *err)
{
	char path[PATH_ROOM];
	unsigned char hash[HTH_SHA256_BYTES];
	if (strchr(file, '/') != NULL || file[0] == '.' || file[0] == '\0' || strlen(file) > HTH_BLOCKS_NAME_MAX || !hex_of(sha256, hash) ||
	    bytes == 0 || bytes > HTH_BLOCKS_FILE_MAX)
		return hth_fail(err, HTH_INVALID, "a file's plain name, its size and its SHA-256 are needed to ask neighbours for it");
	for (size_t i = 0; i < d->n_calls; i++)
		if (d->calls[i]->fetch && memcmp(d->calls[i]->sha256, hash, sizeof hash) == 0)
			return hth_fail(err, HTH_BUSY, "this file is being fetched from neighbours already");
	door_call *c;
	HTH_TRY(new_call(d, ctx, &c, err));
	c->fetch = true;
	c->state_fn = fn;
	c->bytes = bytes;
	memcpy(c->sha256, hash, sizeof hash);
	snprintf(path, sizeof path, "%.3900s/models/.pull/%s.blocks", d->node->config->home, file);
	hth_status status = hth_model_file_open(&c->file, path, true, bytes, err);
	hth_file_job *job = status == HTH_OK ? hth_file_job_new(HTH_FILE_SCAN, c->file, c->number) : NULL;
	if (status == HTH_OK && job == NULL)
		status = hth_fail(err, HTH_NO_MEMORY, "no memory to ask neighbours");
	if (status != HTH_OK) {
		free_call(d, c);
		return status;
	}
	hth_file_works_do(d->works, job);
	*ret_call = c->number;
	return HTH_OK;
}

void hth_next_door_cancel(hth_next_door *d, uint64_t call)
{
	door_call *c = find_call(d, call);
	if (c == NULL)
		return;
	if (c->fetch)
		hth_blocks_cancel(d->blocks, call);
	else
		hth_blocks_find_cancel(d->blocks, call);
	free_call(d, c); /* what is being written finishes: the job holds the file */
	settle(d);
}

/* ---- the street ---- */

static void add_member(void *ctx, const hth_street_member *m)
{
	hth_next_door *d = ctx;
	if (m->self || d->n_members == HTH_MEMBERS_MAX)
		return;
	member *to = &d->members[d->n_members++];
	*to = (member){.id = m->member->card.id, .online = m->online, .trusted = m->trusted};
	snprintf(to->name, sizeof to->name, "%s", m->member->name);
}

void hth_next_door_members(hth_next_door *d, hth_street *street)
{
	hth_home_id ids[HTH_BLOCKS_SOURCES_MAX];
	size_t n = 0, n_before = d->n_members;
	member *before = d->members;
	d->members = hth_alloc_array(HTH_MEMBERS_MAX, sizeof *d->members);
	d->n_members = 0;
	d->street = street != NULL && hth_street_charter(street) != NULL ? street : NULL;
	if (d->street != NULL && d->members != NULL)
		hth_street_each(d->street, add_member, d);
	for (size_t i = 0; i < n_before; i++) {
		member *now = find_member(d, &before[i].id);
		if (now != NULL) {
			now->sent = before[i].sent;
			now->received = before[i].received;
			now->first_ms = before[i].first_ms;
			now->last_ms = before[i].last_ms;
			memcpy(now->what, before[i].what, sizeof now->what);
		} else if (before[i].sent > 0 || before[i].received > 0) {
			write_row(d, &before[i]);
		}
	}
	free(before);
	for (size_t i = 0; d->members != NULL && i < d->n_members && n < HTH_BLOCKS_SOURCES_MAX; i++)
		if (d->members[i].online)
			ids[n++] = d->members[i].id;
	hth_blocks_set_peers(d->blocks, ids, n, hth_clock_ms());
	hth_next_door_rest(d->node);
	if (n > 0 && n_before == 0 && d->node->config->pool_share) { /* whoever asks by SHA-256 should find them */
		HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
		if (hth_router_catalog(d->node->router, &catalog, NULL) == HTH_OK)
			for (size_t i = 0; i < catalog.n; i++)
				hth_digests_get(d->node->digests, &catalog.models[i]);
	}
	settle(d);
}

void hth_next_door_letter(hth_next_door *d, const hth_home_id *from, const void *bytes, size_t len)
{
	uint64_t now = hth_clock_ms();
	member *m = find_member(d, from);
	if (m == NULL || d->street == NULL)
		return;
	count(d, m, 0, len);
	hth_blocks_receive(d->blocks, from, bytes, len, now);
	hth_blocks_tick(d->blocks, now);
	settle(d);
}

void hth_next_door_rest(hth_node *node)
{
	hth_next_door *d = node->next_door;
	if (d != NULL)
		hth_blocks_set_pace(d->blocks, node->config->pool_rate, node->metrics.active > 0, hth_clock_ms());
	if (d != NULL)
		settle(d);
}

/* street.h's events. Each says that something about the members has changed; what it is now, the street is asked. */
static void refresh(hth_next_door *d) { hth_next_door_members(d, d->node->street); }
static void on_members(void *ctx, const hth_charter *charter)
{
	(void)charter;
	refresh(ctx);
}
static void on_trusted(void *ctx, const hth_home_id *id, bool trusted)
{
	(void)id, (void)trusted;
	refresh(ctx);
}
static void on_letter(void *ctx, hth_letter_kind kind, const hth_home_id *from, const void *bytes, size_t len)
{
	(void)kind;
	hth_next_door_letter(ctx, from, bytes, len);
}
static void on_online(void *ctx, const hth_home_id *id, bool online)
{
	(void)id, (void)online;
	refresh(ctx);
}

/* ---- beginning and end ---- */

hth_status hth_next_door_create(hth_next_door **ret_door, hth_node *node, hth_error *err)
{
	hth_next_door *d = calloc(1, sizeof *d);
	if (d == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	const hth_blocks_ops ops = {d, on_send, on_offer, on_read, on_found, on_find_ended, on_store, on_check, on_ended, on_lied};
	d->node = node;
	d->extras = HTH_BUF_INIT(HTH_BLOCKS_EXTRAS_MAX);
	hth_status status = hth_blocks_create(&d->blocks, &ops, err);
	if (status == HTH_OK)
		status = hth_store_open(&d->store, node->config->home, err);
	if (status == HTH_OK)
		status = hth_file_works_create(&d->works, node->loop, on_job, d, err);
	if (status == HTH_OK)
		status = hth_timer_open(&d->timer, node->loop, on_timer, d, err);
	if (status != HTH_OK) {
		hth_next_door_destroy(d);
		return status;
	}
	hth_next_door_clean_lists(node, true);
	hth_next_door_clean_abandoned(node);
	node->sharing_events = (hth_street_events){d, on_members, on_trusted, on_letter, NULL, on_online};
	*ret_door = d;
	return HTH_OK;
}

void hth_next_door_destroy(hth_next_door *d)
{
	if (d == NULL)
		return;
	hth_file_works_destroy(d->works);
	hth_timer_close(d->timer);
	if (d->store != NULL)
		write_rows(d, 0, true);
	while (d->n_calls > 0)
		free_call(d, d->calls[0]);
	while (d->n_shared > 0)
		drop_shared(d, &d->shared[0]);
	hth_blocks_destroy(d->blocks);
	hth_store_close(d->store);
	hth_buf_finish(&d->extras);
	free(d->members);
	free(d);
}
