/* context.h - passages of the household's documents that a model answers from, and the citations in its answer.
 *
 * Passages are numbered from 1 in the order in which they are added. The model is told to cite them as [1]; a *citer* reads the answer as
 * it comes and lets such marks through only where the passage exists: what a model has invented ([9] of six passages, [letter.pdf, page 3]
 * of a letter it never saw) is taken out and counted. [file, page] of a passage that it was given becomes its number. Code between
 * backticks is left alone. What it cited is listed at the answer's end, and as data for programs.
 *
 * Thread: the caller's. Passages are wiped when they go.
 */
#ifndef HTH_API_CONTEXT_H
#define HTH_API_CONTEXT_H

#include "base/buf.h"

#include <stdint.h>

enum { HTH_CONTEXT_PASSAGES_MAX = 64 };

/* One passage; strings are copied. part, link, document, snippet may be NULL. */
typedef struct hth_context_passage {
	const char *file, *part, *text, *snippet, *document, *link;
	uint32_t page; /* 0: it has none */
	bool has_box;
	float box[4];
} hth_context_passage;

typedef struct hth_context hth_context;
HTH_MUST_USE hth_status hth_context_create(hth_context **ret_context, hth_error *err);
void hth_context_destroy(hth_context *context);
/* HTH_TOO_LARGE: there are HTH_CONTEXT_PASSAGES_MAX. */
HTH_MUST_USE hth_status hth_context_add(hth_context *context, const hth_context_passage *passage, hth_error *err);
size_t hth_context_count(const hth_context *context);
void hth_context_limit(hth_context *context, size_t n); /* forgets all but the first n */

/* Passages from number `from` (0-based) on, for a model: "[1] (lease.pdf, page 2)\n...\n". */
void hth_context_write(const hth_context *context, size_t from, hth_buf *out);
/* All of them with what to do with them, and then the question: a user's message. */
void hth_context_ask(const hth_context *context, const char *question, hth_buf *out);

typedef struct hth_citer hth_citer;
/* context is borrowed; it may grow while the answer comes. */
HTH_MUST_USE hth_status hth_citer_create(hth_citer **ret_citer, const hth_context *context, hth_error *err);
void hth_citer_destroy(hth_citer *citer);
/* The next bytes of the answer; what may be shown of them, and of what was held back before, goes to out. At most a bracket's content is
 * held back. */
void hth_citer_feed(hth_citer *citer, const char *text, size_t len, hth_buf *out);
void hth_citer_finish(hth_citer *citer, hth_buf *out); /* the answer has ended */
size_t hth_citer_cited(const hth_citer *citer);        /* different passages */
size_t hth_citer_dropped(const hth_citer *citer);      /* marks that were taken out */
/* "\n\n[1] /path/lease.pdf, page 2\n[3] ...": nothing when nothing was cited. */
void hth_citer_write_sources(const hth_citer *citer, hth_buf *out);

typedef enum hth_citation_style {
	HTH_CITE_PLAIN,    /* {"number","file","part","page"|null,"box","document","link","snippet"}, each cited passage once */
	HTH_CITE_OPENAI,   /* the same with "type":"file_citation","index" (of the mark, in characters),"file_id","filename"; each mark */
	HTH_CITE_ANTHROPIC /* {"type":"search_result_location","cited_text","source","title","search_result_index",...} */
} hth_citation_style;
/* The members of a JSON array, with commas between; false: there are none. */
bool hth_citer_write_json(const hth_citer *citer, hth_citation_style style, hth_buf *out);

#endif
