/* schema.h - JSON Schema to a grammar (engine/grammar's GBNF): every text of the grammar is JSON that the schema
 * allows.
 *
 * Draft 2020-12, and what older drafts spell otherwise where it is clear (definitions, items as a list, nullable,
 * boolean exclusiveMinimum). Done: type, enum, const, properties, required, additionalProperties, patternProperties,
 * propertyNames, minProperties, maxProperties, items, prefixItems, minItems, maxItems, minLength, maxLength, pattern,
 * minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, anyOf, oneOf (where its branches exclude each
 * other), allOf, $ref within the document, recursion, and format (see hth_schema_format). Everything else that
 * constrains is refused by name, with its place.
 *
 * The grammar is narrower than the schema in known ways, so that what a model writes is well behaved: properties come
 * in the schema's order (declared ones, then required ones, then others), numbers have at most 16 digits before and 15
 * after the point and bounded ones no exponent, an integer is not written 1.0, characters are escaped only where JSON
 * must, white space is short. What it cannot know: that keys beyond the declared ones are not repeated.
 */
#ifndef HTH_SCHEMA_SCHEMA_H
#define HTH_SCHEMA_SCHEMA_H

#include "base/buf.h"
#include "json/json.h"

/* Appends a whole grammar (with its `root`). HTH_UNSUPPORTED: names the keyword and where it stands; HTH_INVALID: the
 * schema is wrong, or allows nothing; HTH_TOO_LARGE. err->param stays as the caller set it. */
HTH_MUST_USE hth_status hth_schema_grammar(const json_t *schema, hth_buf *out, hth_error *err);
/* As hth_schema_grammar, but the rules alone, named `name` and `name-...`, so that several schemas share one grammar:
 * begin once, add each schema, end once. */
typedef struct hth_schema_set hth_schema_set;
HTH_MUST_USE hth_status hth_schema_set_create(hth_schema_set **ret_set, hth_error *err);
/* The rule's name is written to ret_rule: refer to it in text of your own. schema is borrowed until destroy. */
HTH_MUST_USE hth_status hth_schema_set_add(hth_schema_set *set, const json_t *schema, char ret_rule[32],
                                           hth_error *err);
/* Appends all rules. */
HTH_MUST_USE hth_status hth_schema_set_write(hth_schema_set *set, hth_buf *out, hth_error *err);
void hth_schema_set_destroy(hth_schema_set *set);
/* Appends text as a GBNF literal. */
void hth_schema_literal(const char *text, size_t len, hth_buf *out);

/* Whether value is allowed, by the same reading of the schema (for enum, and for tests). */
HTH_MUST_USE hth_status hth_schema_accepts(const json_t *schema, const json_t *value, bool *ret_accepts,
                                           hth_error *err);

/* The pattern of a format, NULL for one that is not known. */
const char *hth_schema_format(const char *name);

#endif
