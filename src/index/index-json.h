/* index-json.h - hits and status as the HTTP API and the command line give them.
 *
 * Hits: {"hits":[{"file":"/path","page":1 (null: it has no pages),"score":9.1,"share":0.8 (of what was asked, rare words counting
 * more),"snippet":"...","highlights":[[begin,end],...] (characters of the snippet), "type":"pdf","part":"attachment.pdf" (only of
 * attachments and members),"title","author" (where known),"date":unix, "box":[left,top,right,bottom] (fractions of the page, where
 * known),"similarity":0.7 (cosine, where vectors had a say; 0: not among the nearest),"copies":n (other files that say the same),
 * "link":"/documents/..." (the node shows it there, with what was asked for marked), "image":"/documents/....png" (the same as a picture,
 * of kinds that have one), "text":"the whole passage" (where asked for)}],"ranked_by":["words","vectors"] (or ["words"])} Status:
 * {"files":{"waiting":n,"indexed":n,"waiting_ocr":n,"unreadable":n,"excluded":n,"unchanged":n,"skipped":n},
 *   "store_files":{the same states, of vector stores' files},
 *   "documents":n,"passages":n,"pages":n,"text_bytes":n,"word_bytes":n,"cpu_seconds":x,
 *   "vectors":n (passages that have one),"vector_bytes":n,"vector_model":"whose they are","embed_model":"who makes them now, or empty",
 *   "trouble":"why nothing can be stored now, or empty","kept":bool,"idle":bool,"paused":bool,
 *   "files_per_s":x,"ocr_files_per_s":x,"seconds_left":n|null,
 *   "cost":{"watt_hours":x,"measured_by":"RAPL"|...,"currency":"USD","energy":x (its money),
 *     "pages_read":n,"cloud_pages":x,"cloud_storage":x,"cloud":x (both),
 *     "prices":{"kwh":{"value","date","source"},...}} or {"error":"why there are no prices"},
 *   "unreadable":[{"file","reason"}] (the first 100),
 *   "folders":[{"path","shared","missing","files"}]}
 */
#ifndef HTH_INDEX_INDEX_JSON_H
#define HTH_INDEX_INDEX_JSON_H

#include "base/buf.h"
#include "index/index.h"

/* Appends to a link of this document what lets a browser open it; any thread. */
typedef struct hth_index_signer {
	void (*sign)(void *ctx, const char *document, hth_buf *out);
	void *ctx;
} hth_index_signer;
/* signer: NULL: links are plain. query: what was asked, for the links; NULL: it is not marked there. */
void hth_index_write_hits(const hth_index_hits *hits, const char *query, bool with_text, const hth_index_signer *signer, hth_buf *out);
/* The path at the node (not a URL's host) where a hit is shown; image: as a picture. False: this kind has none. */
bool hth_index_write_link(const hth_index_hit *hit, const char *query, bool image, hth_buf *out);
/* index may be NULL. */
HTH_MUST_USE hth_status hth_index_write_status(const char *home, hth_index *index, hth_buf *out, hth_error *err);

#endif
