/* record.h - what this home keeps about a model beside its files: models/NAME.json.
 *
 * A pull writes where the model came from and what the registry sent along; `create` writes what somebody asked for.
 * The members: source      a reference ("llama3.2:1b") as pull.h has it; absent where the model is not from outside
 *   from        the model that this one was made from by `create`; its weights are hard links to that one's
 *   files       [{"name","bytes","sha256","etag"}] of a pull
 *   template    a chat template in place of the file's own, in Jinja or in Go's language (engine/gotemplate/chat-template.h)
 *   system, license   texts
 *   params      object of sampling parameters and "num_ctx", as Ollama's Modelfiles name them
 *   messages    [{"role","content"}] that every conversation begins with
 * A registry's words and a client's are both foreign: whoever uses a member checks it. Any thread.
 */
#ifndef HTH_CATALOG_RECORD_H
#define HTH_CATALOG_RECORD_H

#include "catalog/catalog.h"
#include "json/json.h"

enum { HTH_RECORD_BYTES_MAX = 8 << 20 };

/* name: as the catalog has it. NULL: there is none, or it is no record. The caller's to decref. */
json_t *hth_record_read(const char *home, const char *name);
/* The same for a model of the catalog; NULL also for one whose file is not in this home's folder, though a record may
 * have its name. */
json_t *hth_record_of(const char *home, const hth_catalog_model *model);
/* Replaces it in one step, durably. HTH_IO, HTH_TOO_LARGE. */
HTH_MUST_USE hth_status hth_record_write(const char *home, const char *name, const json_t *record, hth_error *err);
void hth_record_remove(const char *home, const char *name);

#endif
