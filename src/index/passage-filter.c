/* passage-filter.c - filters, as a set of passages that searches look into while they read their lists. Any thread, one at a time.
 *
 * The record tells what a passage is of, but not fast enough: a sender's mails may be a thousand in a million, and asking it passage by
 * passage takes seconds. So what filters ask for is kept in memory, once for all readers of a process:
 *
 *   runs     passages of one part of a document, which follow each other: with the part's kind, date and sender (32 bytes each)
 *   files    by their row: document, directory, time of change (16 bytes each)
 *   names    directories and senders, each once
 *
 * From these a set is made in one pass over the files and one over the runs (some 10 ms for a million documents), and kept until another
 * filter is asked for or something has changed. What has changed is read from the record before each use: passages are only ever added (ids
 * are not used twice; those of removed ones are found nowhere), parts never change, and files' rows leave their number in the table
 * file_change. Whoever is too far behind that table, or sees another record, reads all anew.
 */
#include "index/passage-filter.h"

#include "base/mem.h"
#include "extract/extract.h"

#include <pthread.h>
#include <stdio.h>
#include <strings.h>

enum { PARTS_MAX = 100000, NO_NAME = 0, FIRST_SLOTS = 1024, DEPTH_MAX = 10 };

/* --- names: each once, by number --- */

typedef struct names {
	char **list; /* owned; number 0 is "" */
	uint32_t n, cap;
	uint32_t *slots; /* number + 1; 0: free */
	uint32_t n_slots;
} names;

static uint32_t hash_of(const char *s)
{
	uint32_t hash = 2166136261u;
	for (; *s != '\0'; s++)
		hash = (hash ^ (unsigned char)*s) * 16777619u;
	return hash ^ hash >> 15;
}

static bool grow_slots(names *t)
{
	uint32_t n = t->n_slots > 0 ? t->n_slots * 2 : FIRST_SLOTS;
	uint32_t *slots = calloc(n, sizeof *slots);
	if (slots == NULL)
		return false;
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t at = hash_of(t->list[i]) & (n - 1);
		while (slots[at] != 0)
			at = (at + 1) & (n - 1);
		slots[at] = i + 1;
	}
	free(t->slots);
	t->slots = slots;
	t->n_slots = n;
	return true;
}

static bool name_number(names *t, const char *text, uint32_t *ret_number)
{
	if (t->n * 4 >= t->n_slots * 3 && !grow_slots(t))
		return false;
	uint32_t at = hash_of(text) & (t->n_slots - 1);
	for (; t->slots[at] != 0; at = (at + 1) & (t->n_slots - 1))
		if (strcmp(t->list[t->slots[at] - 1], text) == 0) {
			*ret_number = t->slots[at] - 1;
			return true;
		}
	if (t->n == t->cap) {
		uint32_t cap = t->cap > 0 ? t->cap * 2 : 256;
		char **more = realloc(t->list, cap * sizeof *more);
		if (more == NULL)
			return false;
		t->list = more;
		t->cap = cap;
	}
	if ((t->list[t->n] = strdup(text)) == NULL)
		return false;
	*ret_number = t->n++;
	t->slots[at] = t->n;
	return true;
}

static void names_finish(names *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		free(t->list[i]);
	free(t->list);
	free(t->slots);
	*t = (names){0};
}

/* --- the table --- */

typedef struct run {
	uint64_t first;
	int64_t date; /* 0: the file's */
	uint32_t n, document, author;
	uint8_t kind;
} run;

typedef struct file {
	int64_t changed;
	uint32_t document, directory; /* document 0: there is none */
} file;

typedef struct table {
	char home[HTH_INDEX_PATH_MAX];
	int64_t identity; /* the record's */
	bool loaded;
	int64_t last_change, last_passage;
	uint64_t version; /* counts what was read */
	run *runs;
	size_t n_runs, cap_runs;
	file *files; /* by row */
	size_t n_files;
	uint32_t documents_end; /* one more than the greatest */
	names directories; /* "FOLDER-ROW/REL" */
	names authors;
	/* The last set that was made. */
	hth_buf key;
	uint64_t *bits, n_bits;
} table;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static table shared;

static void forget(table *t)
{
	free(t->runs);
	free(t->files);
	names_finish(&t->directories);
	names_finish(&t->authors);
	hth_buf_finish(&t->key);
	free(t->bits);
	*t = (table){.version = t->version + 1};
}

static hth_status no_memory(hth_error *err)
{
	return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
}

/* --- reading the record: passages --- */

typedef struct part_facts {
	uint32_t number, parent, author;
	int64_t date;
	uint8_t kind;
} part_facts;

typedef struct loading {
	table *t;
	record *r;
	sqlite3_stmt *parts, *passages;
	int parts_rc;
	int64_t after; /* passages up to this one are known */
	part_facts *list;
	size_t n, cap;
} loading;

static void loading_finish(loading *l)
{
	sqlite3_finalize(l->parts);
	sqlite3_finalize(l->passages);
	free(l->list);
}

/* The parts of one document; the statement stands at the first of the next then. */
static hth_status take_parts(loading *l, int64_t document, hth_error *err)
{
	l->n = 0;
	for (; l->parts_rc == SQLITE_ROW && sqlite3_column_int64(l->parts, 0) <= document; l->parts_rc = sqlite3_step(l->parts)) {
		if (sqlite3_column_int64(l->parts, 0) < document || l->n >= PARTS_MAX)
			continue;
		if (l->n == l->cap) {
			size_t cap = l->cap > 0 ? l->cap * 2 : 16;
			part_facts *more = realloc(l->list, cap * sizeof *more);
			if (more == NULL)
				return no_memory(err);
			l->list = more;
			l->cap = cap;
		}
		part_facts *p = &l->list[l->n++];
		*p = (part_facts){.number = (uint32_t)sqlite3_column_int64(l->parts, 1),
		                  .parent = (uint32_t)sqlite3_column_int64(l->parts, 2),
		                  .kind = (uint8_t)sqlite3_column_int(l->parts, 3),
		                  .date = sqlite3_column_int64(l->parts, 4)};
		if (!name_number(&l->t->authors, record_text(l->parts, 5), &p->author))
			return no_memory(err);
	}
	return l->parts_rc == SQLITE_ROW || l->parts_rc == SQLITE_DONE ? HTH_OK
	                                                               : record_fail(l->r, l->parts_rc, "reading what filters ask for",
	                                                                             err);
}

static const part_facts *part_of(const loading *l, uint32_t number)
{
	size_t low = 0, high = l->n;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (l->list[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low < l->n && l->list[low].number == number ? &l->list[low] : NULL;
}

/* As a hit has them: an attachment has its mail's sender and date when it has none of its own. */
static void resolve(const loading *l, uint32_t number, run *to)
{
	to->date = 0;
	to->author = NO_NAME;
	to->kind = HTH_KIND_UNKNOWN;
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		const part_facts *p = part_of(l, number);
		if (p == NULL)
			break;
		to->kind = depth == 0 ? p->kind : to->kind;
		to->date = to->date != 0 ? to->date : p->date;
		to->author = to->author != NO_NAME ? to->author : p->author;
		if (number == 0)
			break;
		number = p->parent;
	}
}

static hth_status add_run(table *t, const run *facts, int64_t id, hth_error *err)
{
	if (t->n_runs > 0) {
		run *last = &t->runs[t->n_runs - 1];
		if (last->document == facts->document && last->first + last->n == (uint64_t)id && last->kind == facts->kind &&
		    last->date == facts->date && last->author == facts->author) {
			last->n++;
			return HTH_OK;
		}
	}
	if (t->n_runs == t->cap_runs) {
		size_t cap = t->cap_runs > 0 ? t->cap_runs + t->cap_runs / 2 : 1024;
		run *more = realloc(t->runs, cap * sizeof *more);
		if (more == NULL)
			return no_memory(err);
		t->runs = more;
		t->cap_runs = cap;
	}
	t->runs[t->n_runs] = *facts;
	t->runs[t->n_runs].first = (uint64_t)id;
	t->runs[t->n_runs++].n = 1;
	return HTH_OK;
}

/* The passages of documents from..to that are not known yet. A name's passage comes first (part -1) and is shown as the document's first
 * passage, so it has that one's facts. */
static hth_status load_passages(loading *l, int64_t from, int64_t to, hth_error *err)
{
	table *t = l->t;
	HTH_AUTO_FREE int64_t *named = NULL;
	size_t n_named = 0, cap_named = 0;
	int64_t document = 0, first = 0, last = l->after;
	uint32_t first_part = 0;
	record_bind_all(l->parts, "ii", from, to);
	record_bind_all(l->passages, "ii", from, to);
	l->parts_rc = sqlite3_step(l->parts);
	for (;;) {
		int rc = sqlite3_step(l->passages);
		if (rc != SQLITE_ROW && rc != SQLITE_DONE)
			return record_fail(l->r, rc, "reading what filters ask for", err);
		int64_t of = rc == SQLITE_ROW ? sqlite3_column_int64(l->passages, 0) : -1,
		    part = rc == SQLITE_ROW ? sqlite3_column_int64(l->passages, 1) : 0,
		        id = rc == SQLITE_ROW ? sqlite3_column_int64(l->passages, 2) : 0;
		if (of != document) {
			run r = {.document = (uint32_t)document};
			resolve(l, first_part, &r);
			for (size_t i = 0; i < n_named; i++)
				HTH_TRY(add_run(t, &r, named[i], err));
			n_named = 0;
			first = 0;
			first_part = 0;
			document = of;
			if (of < 0)
				break;
			HTH_TRY(take_parts(l, document, err));
		}
		if (part >= 0 && (first == 0 || id < first)) {
			first = id;
			first_part = (uint32_t)part;
		}
		if (id <= l->after)
			continue;
		last = HTH_MAX(last, id);
		if (part < 0) {
			if (n_named == cap_named) {
				cap_named = cap_named > 0 ? cap_named * 2 : 16;
				int64_t *more = realloc(named, cap_named * sizeof *more);
				if (more == NULL)
					return no_memory(err);
				named = more;
			}
			named[n_named++] = id;
			continue;
		}
		run r = {.document = (uint32_t)of};
		resolve(l, (uint32_t)part, &r);
		HTH_TRY(add_run(t, &r, id, err));
	}
	sqlite3_reset(l->parts);
	sqlite3_reset(l->passages);
	t->last_passage = HTH_MAX(t->last_passage, last);
	return HTH_OK;
}

static hth_status load_new_passages(table *t, record *r, bool all, hth_error *err)
{
	HTH_CLEANUP(loading_finish) loading l = {.t = t, .r = r, .after = t->last_passage};
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	int64_t before = t->last_passage;
	HTH_TRY(record_prepare(r, &l.parts, err,
	                       "SELECT document, number, parent, kind, date, author FROM part WHERE document BETWEEN ?1 AND ?2 ORDER BY "
	                       "document, number"));
	HTH_TRY(record_prepare(r, &l.passages, err,
	                       "SELECT document, part, id FROM passage INDEXED BY passage_part WHERE document BETWEEN ?1 AND ?2 ORDER BY "
	                       "document, part, id"));
	if (all)
		return load_passages(&l, 0, INT64_MAX, err);
	HTH_TRY(record_prepare(r, &stmt, err, "SELECT DISTINCT document FROM passage NOT INDEXED WHERE id > ?1 ORDER BY 1"));
	sqlite3_bind_int64(stmt, 1, before);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t document = sqlite3_column_int64(stmt, 0);
		HTH_TRY(load_passages(&l, document, document, err));
	}
	t->version += t->last_passage != before;
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "reading what filters ask for", err);
}

/* --- reading the record: files --- */

/* Columns: id, folder, path, document, mtime. */
static hth_status take_file(table *t, sqlite3_stmt *stmt, hth_error *err)
{
	int64_t id = sqlite3_column_int64(stmt, 0), document = sqlite3_column_int64(stmt, 3);
	char directory[HTH_INDEX_PATH_MAX + 32];
	const char *path = record_text(stmt, 2), *slash = strrchr(path, '/');
	if (id <= 0 || id > UINT32_MAX || document < 0 || document >= UINT32_MAX)
		return HTH_OK;
	if ((size_t)id >= t->n_files) {
		size_t n = HTH_MAX((size_t)id + 1, t->n_files + t->n_files / 2);
		file *more = realloc(t->files, n * sizeof *more);
		if (more == NULL)
			return no_memory(err);
		memset(more + t->n_files, 0, (n - t->n_files) * sizeof *more);
		t->files = more;
		t->n_files = n;
	}
	file *f = &t->files[id];
	*f = (file){.document = (uint32_t)document, .changed = sqlite3_column_int64(stmt, 4) / 1000000000};
	snprintf(directory, sizeof directory, "%lld/%.*s", (long long)sqlite3_column_int64(stmt, 1),
	         slash != NULL ? (int)HTH_MIN(slash - path, 4000) : 0, path);
	t->documents_end = HTH_MAX(t->documents_end, f->document + 1);
	return name_number(&t->directories, directory, &f->directory) ? HTH_OK : no_memory(err);
}

static hth_status load_files(table *t, record *r, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, "SELECT id, folder, path, coalesce(document, 0), mtime FROM file"));
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		HTH_TRY(take_file(t, stmt, err));
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "reading what filters ask for", err);
}

static hth_status load_changed_files(table *t, record *r, int64_t last, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL, *row = NULL;
	if (last <= t->last_change)
		return HTH_OK;
	HTH_TRY(record_prepare(r, &stmt, err, "SELECT DISTINCT file FROM file_change WHERE seq > ?1"));
	HTH_TRY(record_prepare(r, &row, err, "SELECT id, folder, path, coalesce(document, 0), mtime FROM file WHERE id = ?1"));
	sqlite3_bind_int64(stmt, 1, t->last_change);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(stmt, 0);
		sqlite3_reset(row);
		sqlite3_bind_int64(row, 1, id);
		if (sqlite3_step(row) == SQLITE_ROW)
			HTH_TRY(take_file(t, row, err));
		else if (id > 0 && (uint64_t)id < t->n_files)
			t->files[id] = (file){0};
	}
	t->last_change = last;
	t->version++;
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "reading what filters ask for", err);
}

/* Within a transaction: what is read is of one moment. */
static hth_status bring_up_to_date(table *t, record *r, const char *home, hth_error *err)
{
	int64_t first = 0, last = 0, identity = 0;
	uint32_t number;
	HTH_TRY(record_int(r, &identity, 0, err, "SELECT CAST(value AS INTEGER) FROM total WHERE name = 'identity'", ""));
	HTH_TRY(record_int(r, &first, 0, err, "SELECT min(seq) FROM file_change", ""));
	HTH_TRY(record_int(r, &last, 0, err, "SELECT max(seq) FROM file_change", ""));
	/* Another reader may have seen more already. */
	bool same = t->loaded && strcmp(t->home, home) == 0 && t->identity == identity &&
	    (last <= t->last_change || first <= t->last_change + 1);
	if (same) {
		HTH_TRY(load_changed_files(t, r, last, err));
		return load_new_passages(t, r, false, err);
	}
	forget(t);
	if (!name_number(&t->directories, "", &number) || !name_number(&t->authors, "", &number))
		return no_memory(err);
	HTH_TRY(load_files(t, r, err));
	HTH_TRY(load_new_passages(t, r, true, err));
	snprintf(t->home, sizeof t->home, "%s", home);
	t->identity = identity;
	t->last_change = last;
	t->loaded = true;
	return HTH_OK;
}

/* --- making a set --- */

typedef struct making {
	table *t;
	record *r;
	const hth_index_query *q;
	bool *directories;         /* by number: wanted */
	uint64_t *files;           /* bits by row, that are wanted whatever their directory is; NULL: none */
	uint64_t *only_files;      /* bits by row: only these; NULL: all */
	uint64_t *documents;       /* bits: a wanted file has it */
	uint64_t *documents_dated; /* the same, of files whose time of change is wanted */
	bool *authors;             /* NULL: all */
	int kind;                  /* -1: all */
} making;

static void making_finish(making *m)
{
	free(m->directories);
	free(m->files);
	free(m->only_files);
	free(m->documents);
	free(m->documents_dated);
	free(m->authors);
}

static bool has_bit(const uint64_t *bits, uint64_t i)
{
	return (bits[i / 64] >> (i % 64) & 1) != 0;
}

static uint64_t *bits_create(uint64_t n)
{
	return hth_alloc_array((n + 63) / 64, sizeof(uint64_t));
}

static bool is_under(const char *path, const char *folder)
{
	size_t n = strlen(folder);
	while (n > 1 && folder[n - 1] == '/')
		n--;
	return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* A filter that names a file, not a folder of files. */
static hth_status want_file(making *m, int64_t folder, const char *folder_path, hth_error *err)
{
	size_t n = strlen(folder_path);
	int64_t id = 0;
	if (m->q->folder == NULL || strncmp(m->q->folder, folder_path, n) != 0 || m->q->folder[n] != '/')
		return HTH_OK;
	HTH_TRY(record_int(m->r, &id, 0, err, "SELECT id FROM file WHERE folder = ?1 AND path = ?2", "is", folder, m->q->folder + n + 1));
	if (id <= 0 || (uint64_t)id >= m->t->n_files)
		return HTH_OK;
	if (m->files == NULL && (m->files = bits_create(m->t->n_files)) == NULL)
		return no_memory(err);
	m->files[id / 64] |= UINT64_C(1) << (id % 64);
	return HTH_OK;
}

static hth_status want_accepted(making *m, int64_t folder, const char *folder_path, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(m->r, &stmt, err, "SELECT id, path FROM file WHERE folder = ?1"));
	sqlite3_bind_int64(stmt, 1, folder);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		char path[HTH_INDEX_PATH_MAX];
		int64_t id = sqlite3_column_int64(stmt, 0);
		if (id > 0 && (uint64_t)id < m->t->n_files && record_path(path, folder_path, record_text(stmt, 1)) &&
		    m->q->accept(m->q->accept_ctx, path))
			m->only_files[id / 64] |= UINT64_C(1) << (id % 64);
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(m->r, rc, "filtering a search", err);
}

/* The directories of one folder, and single files. */
static hth_status want_folder(making *m, int64_t folder, const char *folder_path, hth_error *err)
{
	char prefix[32], path[HTH_INDEX_PATH_MAX];
	const table *t = m->t;
	size_t n = (size_t)snprintf(prefix, sizeof prefix, "%lld/", (long long)folder);
	for (uint32_t i = 0; i < t->directories.n; i++) {
		const char *name = t->directories.list[i];
		if (strncmp(name, prefix, n) == 0 && record_path(path, folder_path, name + n))
			m->directories[i] = m->q->folder == NULL || *m->q->folder == '\0' || is_under(path, m->q->folder);
	}
	HTH_TRY(want_file(m, folder, folder_path, err));
	return m->only_files != NULL ? want_accepted(m, folder, folder_path, err) : HTH_OK;
}

static hth_status want_folders(making *m, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(m->r, &stmt, err, "SELECT id, path FROM folder WHERE removed = 0 AND store IS ?1 AND (?2 = 0 OR shared)"));
	record_bind_all(stmt, "si", m->q->store, (int64_t)m->q->shared_only);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		HTH_TRY(want_folder(m, sqlite3_column_int64(stmt, 0), record_text(stmt, 1), err));
	return rc == SQLITE_DONE ? HTH_OK : record_fail(m->r, rc, "filtering a search", err);
}

static bool is_dated(const making *m, int64_t date)
{
	return (m->q->after == 0 || date >= m->q->after) && (m->q->before == 0 || date < m->q->before);
}

static void want_documents(making *m)
{
	for (size_t i = 0; i < m->t->n_files; i++) {
		const file *f = &m->t->files[i];
		if (f->document == 0 || (m->only_files != NULL && !has_bit(m->only_files, i)) ||
		    (!m->directories[f->directory] && (m->files == NULL || !has_bit(m->files, i))))
			continue;
		m->documents[f->document / 64] |= UINT64_C(1) << (f->document % 64);
		if (is_dated(m, f->changed))
			m->documents_dated[f->document / 64] |= UINT64_C(1) << (f->document % 64);
	}
}

static void set_bits(uint64_t *bits, uint64_t first, uint64_t n)
{
	for (uint64_t id = first; id < first + n;) {
		uint64_t some = HTH_MIN(64 - id % 64, first + n - id);
		bits[id / 64] |= (some == 64 ? ~UINT64_C(0) : (UINT64_C(1) << some) - 1) << (id % 64);
		id += some;
	}
}

static void want_passages(const making *m, uint64_t *bits)
{
	const table *t = m->t;
	for (size_t i = 0; i < t->n_runs; i++) {
		const run *r = &t->runs[i];
		if (r->document >= t->documents_end || (m->kind >= 0 && r->kind != m->kind) ||
		    (m->authors != NULL && !m->authors[r->author]))
			continue;
		bool dated = r->date == 0 || is_dated(m, r->date);
		if (dated && has_bit(r->date != 0 ? m->documents : m->documents_dated, r->document))
			set_bits(bits, r->first, r->n);
	}
}

static hth_status make(making *m, uint64_t **ret_bits, hth_error *err)
{
	table *t = m->t;
	const hth_index_query *q = m->q;
	m->directories = hth_alloc_array(t->directories.n, sizeof *m->directories);
	m->documents = bits_create(t->documents_end);
	m->documents_dated = bits_create(t->documents_end);
	m->kind = q->type != NULL && *q->type ? (int)hth_extract_kind_from_name(q->type) : -1;
	if (m->directories == NULL || m->documents == NULL || m->documents_dated == NULL)
		return no_memory(err);
	if (q->accept != NULL && (m->only_files = bits_create(t->n_files)) == NULL)
		return no_memory(err);
	if (q->from != NULL && *q->from) {
		if ((m->authors = hth_alloc_array(t->authors.n, sizeof *m->authors)) == NULL)
			return no_memory(err);
		for (uint32_t i = 0; i < t->authors.n; i++)
			m->authors[i] = i != NO_NAME && strcasestr(t->authors.list[i], q->from) != NULL;
	}
	HTH_TRY(want_folders(m, err));
	want_documents(m);
	uint64_t *bits = bits_create((uint64_t)t->last_passage + 1);
	if (bits == NULL)
		return no_memory(err);
	want_passages(m, bits);
	*ret_bits = bits;
	return HTH_OK;
}

/* What a set depends on. */
static hth_status write_key(const table *t, record *r, const hth_index_query *q, hth_buf *key, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, "SELECT id, shared, store FROM folder WHERE removed = 0"));
	const char *texts[] = {q->folder, q->type, q->from, q->store};
	hth_buf_appendf(key, "%llu %lld %lld %d", (unsigned long long)t->version, (long long)q->after, (long long)q->before,
	                q->shared_only);
	for (size_t i = 0; i < HTH_COUNT(texts); i++)
		hth_buf_appendf(key, " %s%zu:%s", texts[i] != NULL ? "" : "-", texts[i] != NULL ? strlen(texts[i]) : 0,
		                texts[i] != NULL ? texts[i] : "");
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		hth_buf_appendf(key, " %lld,%d,%s", (long long)sqlite3_column_int64(stmt, 0), sqlite3_column_int(stmt, 1),
		                record_text(stmt, 2));
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "filtering a search", err);
}

static hth_status make_or_take(table *t, record *r, const char *home, const hth_index_query *q, hth_words_set *ret_set, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf key = HTH_BUF_INIT(1 << 20);
	HTH_CLEANUP(making_finish) making m = {.t = t, .r = r, .q = q};
	HTH_TRY(bring_up_to_date(t, r, home, err));
	HTH_TRY(write_key(t, r, q, &key, err));
	uint64_t n = (uint64_t)t->last_passage + 1;
	bool keeps = q->accept == NULL && !key.failed;
	if (!keeps || t->bits == NULL || t->n_bits != n || t->key.len != key.len || memcmp(t->key.data, key.data, key.len) != 0) {
		uint64_t *bits = NULL;
		HTH_TRY(make(&m, &bits, err));
		free(t->bits);
		t->bits = bits;
		t->n_bits = n;
		hth_buf_finish(&t->key);
		t->key = HTH_BUF_INIT(1 << 20);
		if (keeps)
			hth_buf_append(&t->key, key.data, key.len);
	}
	uint64_t *copy = bits_create(n);
	if (copy == NULL)
		return no_memory(err);
	memcpy(copy, t->bits, (n + 63) / 64 * sizeof *copy);
	*ret_set = (hth_words_set){copy, n};
	return HTH_OK;
}

hth_status passage_filter_make(record *r, const char *home, const hth_index_query *q, hth_words_set *ret_set, hth_error *err)
{
	pthread_mutex_lock(&mutex);
	hth_status status = make_or_take(&shared, r, home, q, ret_set, err);
	if (status != HTH_OK)
		forget(&shared);
	pthread_mutex_unlock(&mutex);
	return status;
}
