/* emit-objects.c - an object's rules: its declared properties as a chain, the pairs beyond them, and how many there may be. */
#include "schema/emit.h"

#include <stdio.h>

/* The declared properties of an alternative, in order. */
struct property {
	const char *name;
	size_t rule;
	bool required;
};
struct properties {
	struct property *list;
	size_t n, cap;
	bool impossible; /* a required one cannot be */
};

static hth_status add_property(struct body *b, const alternative *a, const char *name, bool required,
                               struct properties *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->list[i].name, name) == 0) {
			p->list[i].required |= required;
			return HTH_OK;
		}
	conj c = {0};
	size_t number;
	bool possible;
	hth_status status = hth_schema_property_conj(&b->s->r, a, name, &c);
	if (status == HTH_OK)
		status = hth_schema_rule_of(b, &c, &number, &possible);
	hth_schema_conj_finish(&c);
	HTH_TRY(status);
	if (!possible && required)
		p->impossible = true;
	if (p->n >= PLACES_MAX)
		return hth_fail(b->s->r.err, HTH_TOO_LARGE, "schema: an object has over %d properties", PLACES_MAX);
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		struct property *more = realloc(p->list, p->cap * sizeof *more);
		if (more == NULL)
			return hth_fail(b->s->r.err, HTH_NO_MEMORY, "no memory for a schema");
		p->list = more;
	}
	/* A declared one that cannot be is still declared: other keys may not take its name. */
	p->list[p->n++] = (struct property){name, possible ? number : SIZE_MAX, required};
	return HTH_OK;
}

static hth_status list_properties(struct body *b, const alternative *a, struct properties *p)
{
	const char *key;
	json_t *value;
	size_t i;
	/* Which are required is known first, so that an impossible one is seen as such. */
	for (size_t g = 0; g < a->n_objects; g++)
		json_object_foreach((json_t *)a->objects[g].properties, key, value)
		{
			bool required = false;
			for (size_t k = 0; k < a->n_required; k++)
				for (i = 0; i < json_array_size(a->required[k]); i++)
					required |=
					    strcmp(json_string_value(json_array_get(a->required[k], i)), key) == 0;
			HTH_TRY(add_property(b, a, key, required, p));
		}
	for (size_t k = 0; k < a->n_required; k++)
		json_array_foreach((json_t *)a->required[k], i, value)
		    HTH_TRY(add_property(b, a, json_string_value(value), true, p));
	return HTH_OK;
}

/* The strings that one alternative allows; a: not NULL. */
static hth_status strings_lang(reader *r, const alternative *a, hth_lang *ret)
{
	if (a->values != NULL) {
		size_t n = 0;
		HTH_AUTO_FREE const char **list = hth_alloc_array(a->n_values, sizeof(char *));
		if (list == NULL)
			return hth_fail(r->err, HTH_NO_MEMORY, "no memory for a schema");
		for (size_t i = 0; i < a->n_values; i++)
			if (json_is_string(a->values[i]))
				list[n++] = json_string_value(a->values[i]);
		return hth_lang_strings(ret, list, n, r->err);
	}
	if (!(a->types & TYPE_STRING))
		return HTH_OK;
	bool any = false;
	HTH_TRY(hth_schema_string_lang(r, a, &any, ret));
	if (!any)
		return HTH_OK;
	hth_lang every = {0};
	hth_status status = hth_lang_all(&every, r->err);
	if (status == HTH_OK)
		status = hth_lang_bounded(ret, &every, a->min_length, a->max_length == NO_LIMIT ? HTH_LANG_FOREVER : a->max_length, r->err);
	hth_lang_finish(&every);
	return status;
}

/* The names that a propertyNames schema allows. */
static hth_status names_lang(reader *r, const json_t *names, hth_lang *ret)
{
	conj c = {0};
	alternatives may = {0};
	hth_status status = hth_schema_conj_add(r, &c, names);
	if (status == HTH_OK)
		status = hth_schema_read_conj(r, &c, &may);
	hth_schema_conj_finish(&c);
	/* One alternative is an intersection; several would be a union, which names hardly ever are. */
	if (status == HTH_OK && may.n > 1)
		status = hth_fail(r->err, HTH_UNSUPPORTED, "schema: propertyNames with anyOf or oneOf is not supported");
	if (status == HTH_OK && may.n == 1)
		status = strings_lang(r, &may.list[0], ret);
	hth_schema_alternatives_finish(&may);
	return status;
}

/* Keys that are not declared, match exactly these patterns, and are names as propertyNames wants them. */
static hth_status key_lang(struct body *b, const alternative *a, const struct properties *p, unsigned matched,
                           size_t n_patterns, hth_lang *ret)
{
	reader *r = &b->s->r;
	hth_lang l = {0}, next = {0};
	HTH_AUTO_FREE const char **names = hth_alloc_array(p->n, sizeof(char *));
	if (names == NULL)
		return hth_fail(r->err, HTH_NO_MEMORY, "no memory for a schema");
	for (size_t i = 0; i < p->n; i++)
		names[i] = p->list[i].name;
	HTH_TRY(hth_lang_all(&l, r->err));
	hth_status status = HTH_OK;
	if (p->n > 0) {
		hth_lang declared = {0};
		status = hth_lang_strings(&declared, names, p->n, r->err);
		if (status == HTH_OK)
			status = hth_lang_both(&next, &l, &declared, true, r->err);
		hth_lang_finish(&declared);
		hth_lang_finish(&l);
		l = next;
	}
	for (size_t i = 0; i < n_patterns && status == HTH_OK; i++) {
		hth_lang pattern = {0};
		next = (hth_lang){0};
		status = hth_schema_pattern_lang(r, hth_schema_pattern_at(a, i), &pattern);
		if (status == HTH_OK)
			status = hth_lang_both(&next, &l, &pattern, !(matched >> i & 1), r->err);
		hth_lang_finish(&pattern);
		hth_lang_finish(&l);
		l = next;
	}
	for (size_t g = 0; g < a->n_objects && status == HTH_OK; g++) {
		hth_lang names_may = {0};
		if (a->objects[g].names == NULL)
			continue;
		next = (hth_lang){0};
		status = names_lang(r, a->objects[g].names, &names_may);
		if (status == HTH_OK)
			status = hth_lang_both(&next, &l, &names_may, false, r->err);
		hth_lang_finish(&names_may);
		hth_lang_finish(&l);
		l = next;
	}
	if (status != HTH_OK)
		hth_lang_finish(&l);
	else
		*ret = l;
	return status;
}

/* A rule `h<helper>` for one pair beyond the declared ones; *ret_any: there are such pairs. */
static hth_status emit_extra_pair(struct body *b, const alternative *a, const struct properties *p, size_t helper,
                                  bool *ret_any)
{
	size_t n_patterns = 0;
	while (hth_schema_pattern_at(a, n_patterns) != NULL)
		n_patterns++;
	if (n_patterns > 4)
		return hth_fail(b->s->r.err, HTH_UNSUPPORTED,
		                "schema: over 4 patternProperties in one object are not supported");
	hth_buf text = HTH_BUF_INIT(65536);
	*ret_any = false;
	hth_status status = HTH_OK;
	for (unsigned matched = 0; matched < 1u << n_patterns && status == HTH_OK; matched++) {
		conj c = {0};
		size_t number = 0;
		bool possible = false, bound = p->n > 0 || n_patterns > 0;
		for (size_t g = 0; g < a->n_objects; g++)
			bound |= a->objects[g].names != NULL;
		status = hth_schema_additional_conj(&b->s->r, a, matched, &c);
		if (status == HTH_OK)
			status = hth_schema_rule_of(b, &c, &number, &possible);
		hth_schema_conj_finish(&c);
		if (status != HTH_OK || !possible)
			continue;
		if (!bound) {
			hth_buf_appendf(&text, "%sstring \":\" ws v%zu", text.len ? " | " : "", number);
			continue;
		}
		hth_lang keys = {0};
		char prefix[32];
		status = key_lang(b, a, p, matched, n_patterns, &keys);
		if (status == HTH_OK && !hth_lang_is_empty(&keys)) {
			snprintf(prefix, sizeof prefix, "h%zu-", new_helper(b));
			hth_lang_emit_string(&keys, prefix, &b->helpers);
			hth_buf_appendf(&text, "%s\"\\\"\" %s0 \":\" ws v%zu", text.len ? " | " : "", prefix, number);
		}
		hth_lang_finish(&keys);
	}
	*ret_any = text.len > 0;
	if (status == HTH_OK && *ret_any)
		hth_buf_appendf(&b->helpers, "h%zu ::= %s\n", helper, text.data);
	hth_buf_finish(&text);
	return status;
}

/* The chain: rule h<helper>-<i>-<c> stands before declared property i with c pairs written (c stops where it no longer
 * matters). */
static void emit_chain(struct body *b, const alternative *a, const struct properties *p, size_t helper, size_t extra,
                       bool any_extra)
{
	hth_buf *out = &b->helpers;
	bool limited = a->max_properties != NO_LIMIT;
	size_t most = limited ? (size_t)a->max_properties : HTH_MAX((size_t)a->min_properties, (size_t)1);
	for (size_t i = 0; i <= p->n; i++)
		for (size_t c = 0; c <= most && c <= i; c++) {
			/* Past `most` only where it is no limit: then it means "that many or more". */
			size_t next = HTH_MIN(c + 1, most);
			bool room = !limited || c < most, written = false;
			hth_buf_appendf(out, "h%zu-%zu-%zu ::= ", helper, i, c);
			const char *comma = c > 0 ? "\",\" ws " : "";
			if (i < p->n) {
				const struct property *q = &p->list[i];
				if (q->rule != SIZE_MAX && room) {
					hth_buf_append_str(out, comma);
					hth_schema_json_literal(q->name, strlen(q->name), out);
					hth_buf_appendf(out, " \":\" ws v%zu h%zu-%zu-%zu", q->rule, helper, i + 1,
					                next);
					written = true;
				}
				if (!q->required) {
					hth_buf_appendf(out, "%sh%zu-%zu-%zu", written ? " | " : "", helper, i + 1, c);
					written = true;
				}
			} else {
				int32_t need = less(a->min_properties, c),
				        may = limited ? (int32_t)(most - c) : NO_LIMIT;
				if (need == 0) {
					hth_buf_append_str(out, c > 0 ? "ws \"}\"" : "\"}\"");
					written = true;
				}
				if (any_extra && may > 0 && (may == NO_LIMIT || need <= may)) {
					hth_buf_appendf(out, "%s%sh%zu ", written ? " | " : "", comma, extra);
					hth_schema_repeat(out, "h", extra, less(need, 1), less(may, 1));
					hth_buf_append_str(out, "ws \"}\"");
					written = true;
				}
			}
			hth_buf_append_str(out, written ? "\n" : "[]\n");
		}
}

hth_status hth_schema_emit_objects(struct body *b, const alternative *a)
{
	struct properties p = {0};
	bool any_extra = false;
	size_t required = 0;
	if (a->min_properties > a->max_properties)
		return HTH_OK;
	if (a->n_objects == 0 && a->n_required == 0 && a->min_properties == 0 && a->max_properties == NO_LIMIT) {
		begin_alternative(b);
		hth_buf_append_str(&b->text, "any-object");
		return HTH_OK;
	}
	hth_status status = list_properties(b, a, &p);
	for (size_t i = 0; i < p.n; i++)
		required += p.list[i].required;
	size_t extra = new_helper(b), helper = new_helper(b);
	if (status == HTH_OK && !p.impossible)
		status = emit_extra_pair(b, a, &p, extra, &any_extra);
	size_t most = a->max_properties != NO_LIMIT ? (size_t)a->max_properties : (size_t)a->min_properties;
	if (status == HTH_OK && (p.n + 1) * (HTH_MIN(most, p.n) + 1) > RULES_MAX)
		status = hth_fail(b->s->r.err, HTH_TOO_LARGE,
		                  "schema: minProperties or maxProperties of an object with %zu properties", p.n);
	/* Nothing to write where a required property cannot be, or the counts cannot be met. */
	bool impossible =
	    p.impossible || required > (size_t)a->max_properties || (!any_extra && (size_t)a->min_properties > p.n);
	if (status == HTH_OK && !impossible) {
		emit_chain(b, a, &p, helper, extra, any_extra);
		begin_alternative(b);
		hth_buf_appendf(&b->text, "\"{\" ws h%zu-0-0", helper);
	}
	free(p.list);
	return status;
}
