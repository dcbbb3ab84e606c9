/* bench-search.c - measures the whole of a search, as a person's passes: the record (SQLite), the word index, widening, near copies,
 * snippets and filters. `bench-search build N HOME` makes the index of N synthetic documents of two pages (synthetic.h) in HOME,
 * `bench-search ask HOME` asks it and prints one JSON object a line, one for each filter. Part of `make bench-index`.
 *
 * The documents are given to the record as the index's intake does it, without files and their reading: for a million that would be days of
 * making PDFs. What a search touches is the same: rows of files, documents, parts and passages (cut by index/passages.h), the words of all
 * passages and of the files' names. Files lie in directories that have a half, a tenth, a hundredth and a thousandth of all, evenly mixed
 * in time, which is the hardest for a filter; nine of ten are PDFs, every hundredth plain text, the rest mail of 1,000 senders; dates are
 * of 20 years.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "index/index-record.h"
#include "index/passages.h"
#include "index/words.h"
#include "synthetic.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum { QUERIES = 1000, QUERY_BYTES = 256, BATCH = 5000, K = 10 };
enum { FIRST_DATE = 1104537600, YEAR = 31557600 };

static _Noreturn void die(const char *what, const hth_error *err)
{
	fprintf(stderr, "bench-search: %s: %s\n", what, err != NULL ? err->message : "failed");
	exit(1);
}

/* --- building --- */

typedef struct building {
	record r;
	hth_words *words;
	sqlite3_stmt *document, *part, *passage, *file, *named;
	uint64_t passage_id, text_bytes;
	uint64_t named_to; /* files up to this one have their name's passage */
} building;

static void must(hth_status status, const char *what, const hth_error *err)
{
	if (status != HTH_OK)
		die(what, err);
}

static void step(building *b, sqlite3_stmt *stmt)
{
	hth_error err = HTH_ERROR_INIT;
	if (sqlite3_step(stmt) != SQLITE_DONE) {
		(void)record_fail(&b->r, sqlite3_errcode(b->r.db), "storing", &err);
		die("the record", &err);
	}
	sqlite3_reset(stmt);
}

static void add_words(building *b, const char *text, size_t len, bool name)
{
	hth_error err = HTH_ERROR_INIT;
	hth_status (*add)(hth_words *, uint64_t, hth_language, const char *, size_t, hth_error *) = name ? hth_words_add_name
	    : hth_words_add;
	hth_status status = add(b->words, b->passage_id, HTH_LANGUAGE_NONE, text, len, &err);
	if (status == HTH_BUSY) {
		must(hth_words_commit(b->words, b->passage_id - 1, &err), "committing", &err);
		for (bool did = true; did;)
			must(hth_words_merge(b->words, false, NULL, NULL, &did, &err), "merging", &err);
		status = add(b->words, b->passage_id, HTH_LANGUAGE_NONE, text, len, &err);
	}
	must(status, "adding", &err);
}

static const char *directory_of(uint64_t chance)
{
	return chance < 500 ? "half" : chance < 600 ? "tenth" : chance < 610 ? "hundredth" : chance < 611 ? "thousandth" : "rest";
}

static void add_passages(building *b, uint64_t d, const reading *rd)
{
	for (size_t i = 0; i < rd->n_passages; i++) {
		const reading_passage *p = &rd->passages[i];
		b->passage_id++;
		record_bind_all(b->passage, "iiiiis", (int64_t)b->passage_id, (int64_t)d, (int64_t)p->part, (int64_t)p->page, p->box, "");
		sqlite3_bind_text(b->passage, 6, rd->text.data + p->at, (int)p->len, SQLITE_STATIC);
		step(b, b->passage);
		add_words(b, rd->text.data + p->at, p->len, false);
		b->text_bytes += p->len;
	}
}

static void add_document(building *b, uint64_t d, hth_rng *rng, hth_rng *facts, uint32_t *words)
{
	static char page[PAGE_WORDS * 32];
	static reading rd;
	char author[80] = "", path[120], title[80];
	uint64_t kind_chance = hth_rng_next(facts) % 100, where = hth_rng_next(facts) % 1000, who = hth_rng_next(facts) % 1000;
	int64_t date = FIRST_DATE + (int64_t)(hth_rng_next(facts) % (20ull * YEAR));
	int kind = kind_chance < 90 ? HTH_KIND_PDF : kind_chance < 91 ? HTH_KIND_PLAIN : HTH_KIND_MAIL;
	uint32_t topic = (uint32_t)(hth_rng_next(rng) % TOPICS);
	char word[64];
	word[spell((uint32_t)(hth_rng_next(facts) % VOCABULARY), word)] = '\0';
	snprintf(title, sizeof title, "About %s", word);
	if (kind == HTH_KIND_MAIL)
		snprintf(author, sizeof author, "Person %03u <person%03u@house.example>", (unsigned)who, (unsigned)who);
	reading_begin(&rd);
	reading_add_part(&rd, &(hth_extract_part){.name = ""});
	reading_add_meta(&rd, &(hth_extract_meta){.kind = (hth_extract_kind)kind, .pages = PAGES, .has_date = true, .date = date,
	                                          .title = title, .author = author,
	                                          .recipients = "", .language = "", .mail_id = ""});
	for (uint32_t p = 0; p < PAGES; p++) {
		size_t len = make_page(rng, topic, page, words);
		page[len] = '\0';
		reading_add_block(&rd, &(hth_extract_block){.page = p + 1, .has_box = true, .box = {0.1f, 0.1f, 0.9f, 0.9f}, .text = page,
		                                            .len = len});
	}
	reading_end(&rd);
	uint64_t first = b->passage_id + 1;
	unsigned char hash[32] = {0};
	hth_rng of_hash;
	hth_rng_seed(&of_hash, d);
	for (size_t i = 0; i < sizeof hash; i += 8) {
		uint64_t v = hth_rng_next(&of_hash);
		memcpy(hash + i, &v, 8);
	}
	record_bind_all(b->document, "ibi", (int64_t)d, hash, sizeof hash, (int64_t)rd.text.len);
	step(b, b->document);
	add_passages(b, d, &rd);
	record_bind_all(b->part, "iiissii", (int64_t)d, (int64_t)kind, date, title, author, (int64_t)first, (int64_t)b->passage_id);
	step(b, b->part);
	snprintf(path, sizeof path, "%s/%02u/%s-%llu.%s", directory_of(where), (unsigned)(d % 100), word, (unsigned long long)d,
	         kind == HTH_KIND_PDF ? "pdf" : kind == HTH_KIND_MAIL ? "eml" : "txt");
	record_bind_all(b->file, "isii", (int64_t)d, path, date * 1000000000, (int64_t)d);
	step(b, b->file);
}

/* Names come after a batch's texts, as they do when files are read. */
static void add_names(building *b, uint64_t to)
{
	hth_error err = HTH_ERROR_INIT;
	for (uint64_t f = b->named_to + 1; f <= to; f++) {
		HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
		must(record_prepare(&b->r, &stmt, &err, "SELECT path FROM file WHERE id = ?1"), "naming", &err);
		sqlite3_bind_int64(stmt, 1, (int64_t)f);
		if (sqlite3_step(stmt) != SQLITE_ROW)
			die("naming", NULL);
		const char *name = strrchr(record_text(stmt, 0), '/') + 1;
		b->passage_id++;
		record_bind_all(b->passage, "iiiiis", (int64_t)b->passage_id, (int64_t)f, (int64_t)-1, (int64_t)0, (int64_t)0, name);
		sqlite3_bind_null(b->passage, 5);
		step(b, b->passage);
		add_words(b, name, strlen(name), true);
		record_bind_all(b->named, "ii", (int64_t)f, (int64_t)b->passage_id);
		step(b, b->named);
	}
	b->named_to = to;
}

static void prepare(building *b, const char *home)
{
	hth_error err = HTH_ERROR_INIT;
	char folder[4096];
	(void)mkdir(home, 0700);
	must(record_open(&b->r, home, true, &err), "the record", &err);
	must(record_run(&b->r, &err, "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144;"
	                             "INSERT INTO folder (id, path, shared, added) VALUES (1, '/papers', 0, 1)"), "the record", &err);
	snprintf(folder, sizeof folder, "%s/index/words", home);
	must(hth_words_open(&b->words, folder, &(hth_words_options){.write = true}, &err), "the word index", &err);
	must(record_prepare(&b->r, &b->document, &err,
	                    "INSERT INTO document (id, hash, state, reason, pages, text_bytes) VALUES (?1, ?2, 1, '', 2, ?3)"),
	     "the record", &err);
	must(record_prepare(&b->r, &b->part, &err,
	                    "INSERT INTO part (document, number, parent, kind, date, name, title, author, first, last)"
	                                           " VALUES (?1, 0, 0, ?2, ?3, '', ?4, ?5, ?6, ?7)"), "the record", &err);
	must(record_prepare(&b->r, &b->passage, &err,
	                    "INSERT INTO passage (id, document, part, page, box, language, text) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)"),
	     "the record", &err);
	must(record_prepare(&b->r, &b->file, &err,
	                    "INSERT INTO file (id, folder, path, dev, inode, size, mtime, state, reason, document, name)"
	                                           " VALUES (?1, 1, ?2, 1, ?1, 5000, ?3, 1, '', ?4, -1)"), "the record", &err);
	must(record_prepare(&b->r, &b->named, &err, "UPDATE file SET name = ?2 WHERE id = ?1"), "the record", &err);
}

static void build(uint64_t n, const char *home)
{
	hth_error err = HTH_ERROR_INIT;
	building b = {0};
	hth_rng rng, facts, ask;
	hth_rng_seed(&rng, 42);
	hth_rng_seed(&facts, 44);
	hth_rng_seed(&ask, 43);
	prepare(&b, home);
	char path[4096];
	snprintf(path, sizeof path, "%s/queries.txt", home);
	FILE *queries = fopen(path, "w");
	if (queries == NULL)
		die(path, NULL);
	uint64_t start = hth_clock_ns(), asked = 0;
	static uint32_t words[PAGE_WORDS];
	for (uint64_t d = 1; d <= n; d++) {
		if (d % BATCH == 1)
			must(record_run(&b.r, &err, "BEGIN"), "the record", &err);
		add_document(&b, d, &rng, &facts, words);
		if (asked < QUERIES && d * QUERIES >= n * asked) {
			for (uint64_t i = 1 + hth_rng_next(&ask) % 6; i > 0; i--) {
				char word[64];
				word[spell(pick_word(&ask, words, asked % 2 == 0), word)] = '\0';
				fprintf(queries, "%s%s", word, i > 1 ? " " : "\n");
			}
			asked++;
		}
		if (d % BATCH == 0 || d == n) {
			add_names(&b, d);
			must(record_run(&b.r, &err, "COMMIT"), "the record", &err);
		}
	}
	fclose(queries);
	must(hth_words_commit(b.words, b.passage_id, &err), "committing", &err);
	for (bool did = true; did;)
		must(hth_words_merge(b.words, false, NULL, NULL, &did, &err), "merging", &err);
	hth_words_info info;
	hth_words_get_info(b.words, &info);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	struct stat st = {0};
	snprintf(path, sizeof path, "%s/index/record.db", home);
	sqlite3_stmt *all[] = {b.document, b.part, b.passage, b.file, b.named};
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		sqlite3_finalize(all[i]);
	record_close(&b.r);
	hth_words_close(b.words);
	(void)stat(path, &st);
	printf("{\"documents\":%llu,\"passages\":%llu,\"text_bytes\":%llu,\"word_bytes\":%llu,\"record_bytes\":%lld,\"build_s\":%.0f,"
	       "\"build_peak_mb\":%.0f}\n", (unsigned long long)n, (unsigned long long)b.passage_id, (unsigned long long)b.text_bytes,
	       (unsigned long long)info.bytes, (long long)st.st_size, (double)(hth_clock_ns() - start) * 1e-9,
	       (double)usage.ru_maxrss / 1e3);
}

/* --- asking --- */

typedef struct way {
	const char *name;
	size_t n; /* of the queries */
	hth_index_query query;
} way;

/* What another process takes of the processor does not count here. */
static uint64_t cpu_ns(void)
{
	struct timespec t = {0};
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void ask(const char *home)
{
	static const way ways[] = {
	    {"none", QUERIES, {0}},
	    {"a folder with half of the files", QUERIES / 2, {.folder = "/papers/half"}},
	    {"a tenth", QUERIES / 2, {.folder = "/papers/tenth"}},
	    {"a hundredth", QUERIES / 2, {.folder = "/papers/hundredth"}},
	    {"a thousandth", QUERIES / 2, {.folder = "/papers/thousandth"}},
	    {"a kind that every hundredth has", QUERIES / 2, {.type = "plain"}},
	    {"a sender of one mail in a thousand", QUERIES / 2, {.from = "person042"}},
	    {"one year of twenty", QUERIES / 2, {.after = FIRST_DATE + 5ll * YEAR, .before = FIRST_DATE + 6ll * YEAR}},
	    {"none, again", QUERIES, {0}},
	};
	hth_error err = HTH_ERROR_INIT;
	char path[4096];
	static char queries[QUERIES][QUERY_BYTES];
	static double times[QUERIES], cpu[QUERIES];
	snprintf(path, sizeof path, "%s/queries.txt", home);
	FILE *f = fopen(path, "r");
	size_t n = 0;
	for (; f != NULL && n < QUERIES && fgets(queries[n], QUERY_BYTES, f) != NULL; n++)
		queries[n][strcspn(queries[n], "\n")] = '\0';
	if (n == 0)
		die(path, NULL);
	fclose(f);
	hth_index_reader *reader;
	must(hth_index_reader_open(&reader, home, &err), "opening", &err);
	for (size_t w = 0; w < HTH_COUNT(ways); w++) {
		size_t asked = HTH_MIN(ways[w].n, n), hits_all = 0;
		double first = 0;
		for (size_t i = 0; i < asked; i++) {
			hth_index_query q = ways[w].query;
			hth_index_hits hits;
			q.text = queries[i];
			q.k = K;
			uint64_t t = hth_clock_ns(), c = cpu_ns();
			must(hth_index_search(reader, &q, &hits, &err), "searching", &err);
			times[i] = (double)(hth_clock_ns() - t) * 1e-6;
			cpu[i] = (double)(cpu_ns() - c) * 1e-6;
			first = i == 0 ? times[0] : first;
			hits_all += hits.n;
			hth_index_hits_finish(&hits);
		}
		qsort(times, asked, sizeof times[0], by_value);
		qsort(cpu, asked, sizeof cpu[0], by_value);
		printf("{\"filter\":\"%s\",\"queries\":%zu,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"cpu_p50_ms\":%.2f,\"cpu_p99_ms\":%.2f,"
		       "\"max_ms\":%.2f,\"first_ms\":%.2f,\"hits\":%.2f,\"resident_mb\":%.0f}\n", ways[w].name, asked, times[asked / 2],
		       times[asked * 99 / 100], cpu[asked / 2], cpu[asked * 99 / 100], times[asked - 1], first,
		       (double)hits_all / (double)asked, resident_mb());
		fflush(stdout);
	}
	hth_index_reader_close(reader);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "build") == 0)
		build(strtoull(argv[2], NULL, 10), argv[3]);
	else if (argc == 3 && strcmp(argv[1], "ask") == 0)
		ask(argv[2]);
	else {
		fprintf(stderr, "usage: bench-search build N HOME | ask HOME\n");
		return 2;
	}
	return 0;
}
