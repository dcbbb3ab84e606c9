/* bench-index.c - measures the word index: `bench-index ir FOLDER` its answers on a test set of documents, queries and
 * judgements, `bench-index scale N FOLDER` its speed and size on N synthetic documents of two pages. Each prints one
 * JSON object. Part of `make bench`.
 The text is synthetic.h's.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/widen.h"
#include "synthetic.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>

static void die(const char *what, const hth_error *err)
{
	fprintf(stderr, "bench-index: %s: %s\n", what, err != NULL ? err->message : "failed");
	exit(1);
}

/* --- retrieval quality --- */

enum { LINE_MAX_BYTES = 1 << 20, DEPTH = 100, RESCORED = 500 };
typedef struct row {
	char *fields[3];
	size_t n;
} row;

static row *read_rows(const char *folder, const char *name, size_t *ret_n)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "r");
	if (f == NULL)
		die(path, NULL);
	row *rows = NULL;
	size_t n = 0, cap = 0;
	static char line[LINE_MAX_BYTES];
	while (fgets(line, sizeof line, f) != NULL) {
		if (n == cap)
			rows = realloc(rows, (cap = cap ? cap * 2 : 1024) * sizeof *rows);
		line[strcspn(line, "\n")] = '\0';
		row *r = &rows[n++];
		*r = (row){0};
		char *at = strdup(line);
		while (at != NULL && r->n < 3) {
			r->fields[r->n++] = at;
			at = r->n < 3 ? strchr(at, '\t') : NULL;
			if (at != NULL)
				*at++ = '\0';
		}
	}
	fclose(f);
	*ret_n = n;
	return rows;
}

static int descending(const void *a, const void *b)
{
	return *(const int *)b - *(const int *)a;
}

static int grade_of(const row *qrels, size_t n, const char *query, const char *doc)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(qrels[i].fields[0], query) == 0 && strcmp(qrels[i].fields[1], doc) == 0)
			return atoi(qrels[i].fields[2]);
	return 0;
}

typedef struct measured {
	double ndcg, recall;
	size_t judged;
} measured;

/* False: nobody has judged this query. */
static bool judge(measured *m, const row *qrels, size_t n_qrels, const char *query, const row *docs, const hth_words_hit *hits, size_t n)
{
	int grades[4096];
	size_t n_rel = 0, found = 0;
	double gain = 0, ideal = 0;
	for (size_t i = 0; i < n_qrels; i++)
		if (strcmp(qrels[i].fields[0], query) == 0 && atoi(qrels[i].fields[2]) > 0 && n_rel < HTH_COUNT(grades))
			grades[n_rel++] = atoi(qrels[i].fields[2]);
	if (n_rel == 0)
		return false;
	qsort(grades, n_rel, sizeof *grades, descending);
	for (size_t i = 0; i < n; i++) {
		int grade = grade_of(qrels, n_qrels, query, docs[hits[i].id - 1].fields[0]);
		found += grade > 0;
		if (i < 10)
			gain += (exp2(grade) - 1) / log2((double)i + 2);
	}
	for (size_t i = 0; i < n_rel && i < 10; i++)
		ideal += (exp2(grades[i]) - 1) / log2((double)i + 2);
	m->ndcg += gain / ideal;
	m->recall += (double)found / (double)n_rel;
	m->judged++;
	return true;
}

static void measure_ir(const char *set, const char *folder, bool stem)
{
	hth_error err = HTH_ERROR_INIT;
	size_t n_docs, n_queries, n_qrels;
	row *docs = read_rows(set, "docs.tsv", &n_docs), *queries = read_rows(set, "queries.tsv", &n_queries),
	    *qrels = read_rows(set, "qrels.tsv", &n_qrels);
	hth_words *w;
	hth_terms *terms;
	if (hth_words_open(&w, folder, &(hth_words_options){.write = true}, &err) != HTH_OK ||
	    hth_terms_create(&terms, &err) != HTH_OK)
		die("opening", &err);
	uint32_t languages = 1u << (stem ? HTH_LANGUAGE_EN : HTH_LANGUAGE_NONE);
	static char text[2 * LINE_MAX_BYTES];
	for (size_t i = 0; i < n_docs; i++) {
		snprintf(text, sizeof text, "%s\n%s", docs[i].fields[1], docs[i].n > 2 ? docs[i].fields[2] : "");
		if (hth_words_add(w, i + 1, stem ? HTH_LANGUAGE_EN : HTH_LANGUAGE_NONE, text, strlen(text), &err) !=
		    HTH_OK)
			die("adding", &err);
	}
	if (hth_words_commit(w, n_docs, &err) != HTH_OK)
		die("committing", &err);
	static measured plain, wide;
	for (size_t q = 0; q < n_queries; q++) {
		hth_words_hit hits[DEPTH];
		size_t n;
		hth_words_query query = {0};
		hth_words_query_add(&query, terms, languages, queries[q].fields[1], strlen(queries[q].fields[1]), HTH_WORDS_MAY);
		if (hth_words_search(w, &query, DEPTH, hits, &n, &err) != HTH_OK)
			die("searching", &err);
		if (!judge(&plain, qrels, n_qrels, queries[q].fields[0], docs, hits, n))
			continue;
		/* Once more with what the best have in common, as the index's searches do. */
		widen_text texts[WIDEN_TEXTS];
		static char bodies[WIDEN_TEXTS][2 * LINE_MAX_BYTES];
		size_t n_texts = HTH_MIN(n, (size_t)WIDEN_TEXTS);
		for (size_t i = 0; i < n_texts; i++) {
			const row *d = &docs[hits[i].id - 1];
			snprintf(bodies[i], sizeof bodies[i], "%s\n%s", d->fields[1], d->n > 2 ? d->fields[2] : "");
			texts[i] = (widen_text){bodies[i], stem ? HTH_LANGUAGE_EN : HTH_LANGUAGE_NONE, hits[i].score};
		}
		static hth_words_hit best[RESCORED];
		size_t n_best;
		if (hth_words_search(w, &query, RESCORED, best, &n_best, &err) != HTH_OK)
			die("searching", &err);
		widen_query(w, terms, texts, n_texts, &query);
		if (hth_words_rescore(w, &query, best, n_best, &err) != HTH_OK)
			die("searching", &err);
		(void)judge(&wide, qrels, n_qrels, queries[q].fields[0], docs, best, HTH_MIN(n_best, (size_t)DEPTH));
	}
	double judged = (double)plain.judged;
	printf("{\"documents\":%zu,\"queries\":%zu,\"stemmed\":%s,\"ndcg_10\":%.4f,\"recall_100\":%.4f,\"wide_ndcg_10\":%.4f,"
	       "\"wide_recall_100\":%.4f}\n", n_docs, plain.judged, stem ? "true" : "false", plain.ndcg / judged, plain.recall / judged,
	       wide.ndcg / judged, wide.recall / judged);
	hth_words_close(w);
	hth_terms_destroy(terms);
	exit(0); /* what the sets took goes with the process */
}

/* --- scale --- */

enum { QUERIES = 1000 };

static void settle(hth_words *w, hth_error *err)
{
	for (bool did = true; did;)
		if (hth_words_merge(w, false, NULL, NULL, &did, err) != HTH_OK)
			die("merging", err);
}

/* The text of a page again, from where the generator was before its document. */
static const char *page_again(const hth_rng *before, uint64_t id)
{
	static char pages[WIDEN_TEXTS][PAGE_WORDS * 32];
	static uint32_t words[PAGE_WORDS];
	static size_t next;
	char *page = pages[next++ % WIDEN_TEXTS];
	hth_rng rng = before[(id - 1) / PAGES];
	uint32_t topic = (uint32_t)(hth_rng_next(&rng) % TOPICS);
	for (uint64_t p = 0; p <= (id - 1) % PAGES; p++)
		page[make_page(&rng, topic, page, words)] = '\0';
	return page;
}

/* Milliseconds of asking for the few hundred best, widening by the first five, and ordering them anew; without making up texts. */
static double ask_wide(hth_words *w, hth_terms *terms, const hth_rng *before, hth_words_query *query)
{
	hth_error err = HTH_ERROR_INIT;
	static hth_words_hit hits[RESCORED];
	widen_text texts[WIDEN_TEXTS];
	size_t n;
	uint64_t t = hth_clock_ns(), took;
	if (hth_words_search(w, query, RESCORED, hits, &n, &err) != HTH_OK)
		die("searching", &err);
	took = hth_clock_ns() - t;
	size_t n_texts = HTH_MIN(n, (size_t)WIDEN_TEXTS);
	for (size_t i = 0; i < n_texts; i++)
		texts[i] = (widen_text){page_again(before, hits[i].id), HTH_LANGUAGE_NONE, hits[i].score};
	t = hth_clock_ns();
	widen_query(w, terms, texts, n_texts, query);
	if (hth_words_rescore(w, query, hits, n, &err) != HTH_OK)
		die("searching", &err);
	return (double)(took + hth_clock_ns() - t) * 1e-6;
}

static void measure_scale(uint64_t n_docs, const char *folder)
{
	hth_error err = HTH_ERROR_INIT;
	hth_words *w;
	hth_terms *terms;
	hth_rng rng, ask;
	hth_rng_seed(&rng, 42);
	hth_rng_seed(&ask, 43);
	if (hth_words_open(&w, folder, &(hth_words_options){.write = true}, &err) != HTH_OK ||
	    hth_terms_create(&terms, &err) != HTH_OK)
		die("opening", &err);
	static char page[PAGE_WORDS * 32];
	static uint32_t words[PAGE_WORDS], asked[QUERIES][6];
	static unsigned n_asked[QUERIES];
	hth_rng *before = hth_alloc_array(n_docs, sizeof *before); /* each document */
	if (before == NULL)
		die("no memory", NULL);
	uint64_t id = 0, bytes = 0, start = hth_clock_ns(), spent = 0;
	size_t n_queries = 0;
	for (uint64_t d = 0; d < n_docs; d++) {
		before[d] = rng;
		uint32_t topic = (uint32_t)(hth_rng_next(&rng) % TOPICS);
		for (int p = 0; p < PAGES; p++) {
			uint64_t t = hth_clock_ns();
			size_t len = make_page(&rng, topic, page, words);
			spent += hth_clock_ns() - t;
			bytes += len;
			hth_status status = hth_words_add(w, ++id, HTH_LANGUAGE_NONE, page, len, &err);
			if (status == HTH_BUSY) {
				if (hth_words_commit(w, id - 1, &err) != HTH_OK)
					die("committing", &err);
				settle(w, &err);
				status = hth_words_add(w, id, HTH_LANGUAGE_NONE, page, len, &err);
			}
			if (status != HTH_OK)
				die("adding", &err);
		}
		if (n_queries < QUERIES && d * QUERIES >= n_docs * n_queries) {
			unsigned n = 1 + (unsigned)(hth_rng_next(&ask) % 6);
			for (unsigned i = 0; i < n; i++)
				asked[n_queries][i] = pick_word(&ask, words, n_queries % 2 == 0);
			n_asked[n_queries++] = n;
		}
	}
	if (hth_words_commit(w, id, &err) != HTH_OK)
		die("committing", &err);
	settle(w, &err);
	double seconds = (double)(hth_clock_ns() - start - spent) * 1e-9;
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	hth_words_info info;
	hth_words_get_info(w, &info);
	hth_words_close(w);
	if (hth_words_open(&w, folder, &(hth_words_options){0}, &err) != HTH_OK)
		die("opening", &err);
	static double times[3][QUERIES];
	for (int way = 0; way < 3; way++) {
		size_t n_way = way != 1 ? n_queries : n_queries / 10; /* scoring all is slow: fewer tell enough */
		for (size_t q = 0; q < n_way; q++) {
			hth_words_query query = {0};
			char text[256] = "";
			for (unsigned i = 0; i < n_asked[q]; i++) {
				char word[64];
				word[spell(asked[q][i], word)] = '\0';
				strcat(strcat(text, word), " ");
			}
			hth_words_hit hits[10];
			size_t n;
			uint64_t t = hth_clock_ns();
			hth_words_query_add(&query, terms, 0, text, strlen(text), HTH_WORDS_MAY);
			if (way == 2) {
				times[way][q] = ask_wide(w, terms, before, &query);
				continue;
			}
			if ((way == 0 ? hth_words_search : hth_words_search_all)(w, &query, 10, hits, &n, &err) !=
			    HTH_OK)
				die("searching", &err);
			times[way][q] = (double)(hth_clock_ns() - t) * 1e-6;
		}
		qsort(times[way], n_way, sizeof times[way][0], by_value);
	}
	printf("{\"documents\":%llu,\"pages\":%llu,\"text_bytes\":%llu,\"index_bytes\":%llu,\"bytes_per_byte\":%.3f,"
	       "\"segments\":%u,\"build_s\":%.1f,"
	       "\"documents_s\":%.0f,\"build_peak_mb\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,\"all_p50_"
	       "ms\":%.2f,\"all_p99_ms\":%.2f,\"wide_p50_ms\":%.2f,\"wide_p99_ms\":%.2f,\"resident_mb\":%.0f}\n",
	       (unsigned long long)n_docs, (unsigned long long)id, (unsigned long long)bytes,
	       (unsigned long long)info.bytes, (double)info.bytes / (double)bytes, info.segments, seconds,
	       (double)n_docs / seconds, (double)usage.ru_maxrss / 1e3, times[0][n_queries / 2],
	       times[0][n_queries * 99 / 100], times[0][n_queries - 1], times[1][n_queries / 10 / 2],
	       times[1][n_queries / 10 * 99 / 100], times[2][n_queries / 2], times[2][n_queries * 99 / 100], resident_mb());
	hth_words_close(w);
	hth_terms_destroy(terms);
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "ir") == 0)
		measure_ir(argv[2], argv[3], argc < 5);
	else if (argc == 4 && strcmp(argv[1], "scale") == 0)
		measure_scale(strtoull(argv[2], NULL, 10), argv[3]);
	else {
		fprintf(stderr, "usage: bench-index ir SET FOLDER [plain] | scale N FOLDER\n");
		return 2;
	}
	return 0;
}
