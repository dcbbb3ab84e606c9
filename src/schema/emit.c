/* emit.c - readings into rules. Every conj that is met gets a number and a rule; a list of those still to be written
 * takes the place of recursion. Objects and lists of items become chains of small rules that end in a call of the next
 * one, so that running them needs no stack. */
#include "schema/emit.h"

#include <math.h>
#include <stdio.h>

enum {
	LITERALS_MAX = 24, /* strings of an enum that are listed one by one; more become an automaton */
};

/* What every grammar has. White space is short, so that a model cannot lose itself in it. */
static const char builtin[] =
    "ws ::= (\" \" | \"\\n\" [ \\t]{0,20})?\n"
    "escaped ::= \"\\\\\" ([\\x22\\x5Cbfnrt] | \"u00\" (\"0\" [1-7bBe-fE-F] | \"1\" [0-9a-fA-F]))\n"
    "char ::= [^\\x22\\x5C\\x00-\\x1F] | \"\\\\\" ([\\x22\\x5C/bfnrt] | \"u\" unit)\n"
    "unit ::= [1-9a-cA-CefEF] hex hex hex | [dD] [0-7] hex hex | \"0\" ([1-9a-fA-F] hex hex | \"0\" ([1-9a-fA-F] hex | "
    "\"0\" "
    "[1-9a-fA-F]))\n"
    "hex ::= [0-9a-fA-F]\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "integer ::= \"-\"? ([0-9] | [1-9] [0-9]{1,15})\n"
    "number ::= \"-\"? ([0-9] | [1-9] [0-9]{1,15}) (\".\" [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n"
    "any-list ::= \"[\" ws (any (\",\" ws any)* ws)? \"]\"\n"
    "any-pair ::= string \":\" ws any\n"
    "any-object ::= \"{\" ws (any-pair (\",\" ws any-pair)* ws)? \"}\"\n"
    "any ::= any-object | any-list | string | number | boolean | null\n";

enum { UNKNOWN, POSSIBLE, IMPOSSIBLE }; /* state of a conj */

void hth_schema_literal(const char *text, size_t len, hth_buf *out)
{
	hth_buf_append_char(out, '"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\')
			hth_buf_appendf(out, "\\%c", c);
		else if (c == '\n')
			hth_buf_append_str(out, "\\n");
		else if (c < 0x20 || c == 0x7F)
			hth_buf_appendf(out, "\\x%02X", c);
		else
			hth_buf_append_char(out, (char)c);
	}
	hth_buf_append_char(out, '"');
}

void hth_schema_json_literal(const char *s, size_t len, hth_buf *out)
{
	hth_buf text = HTH_BUF_INIT(GRAMMAR_TEXT_MAX);
	hth_json_write_string(s, len, &text);
	out->failed |= text.failed;
	hth_schema_literal(text.data ? text.data : "", text.len, out);
	hth_buf_finish(&text);
}

static hth_status no_room(hth_schema_set *s)
{
	return hth_buf_check(&s->out, "schema: its grammar", s->r.err);
}

/* The number of a conj, which is consumed. */
static hth_status number_of(hth_schema_set *s, conj *c, size_t *ret)
{
	for (size_t i = 0; i < s->n_conjs; i++)
		if (s->conjs[i].n == c->n &&
		    (c->n == 0 || memcmp((const void *)s->conjs[i].members, (const void *)c->members,
		                         c->n * sizeof(const json_t *)) == 0)) {
			hth_schema_conj_finish(c);
			*ret = i;
			return HTH_OK;
		}
	if (s->n_conjs == s->conj_cap) {
		size_t cap = s->conj_cap ? s->conj_cap * 2 : 64;
		conj *more = cap <= CONJS_MAX * 2 ? realloc(s->conjs, cap * sizeof *more) : NULL;
		unsigned char *state = more ? realloc(s->state, cap) : NULL;
		if (more != NULL)
			s->conjs = more;
		if (state != NULL)
			s->state = state;
		if (more == NULL || state == NULL) {
			hth_schema_conj_finish(c);
			return hth_fail(s->r.err, HTH_TOO_LARGE, "schema: over %d different places", CONJS_MAX);
		}
		s->conj_cap = cap;
	}
	s->state[s->n_conjs] = UNKNOWN;
	s->conjs[s->n_conjs] = *c;
	*ret = s->n_conjs++;
	*c = (conj){0};
	return HTH_OK;
}

/* Whether any alternative is left. What lies deeper (a required property that nothing satisfies) is not looked at. */
static hth_status is_possible(hth_schema_set *s, size_t number, bool *ret)
{
	if (s->state[number] == UNKNOWN) {
		alternatives a = {0};
		HTH_TRY(hth_schema_read_conj(&s->r, &s->conjs[number], &a));
		s->state[number] = a.n > 0 ? POSSIBLE : IMPOSSIBLE;
		hth_schema_alternatives_finish(&a);
	}
	*ret = s->state[number] == POSSIBLE;
	return HTH_OK;
}

/* One value, with white space where lists and objects of ours have it. */
static void emit_value(const json_t *v, hth_buf *out)
{
	const char *key;
	json_t *member;
	size_t i, n = 0;
	if (json_is_array(v)) {
		hth_buf_append_str(out, "\"[\" ws ");
		json_array_foreach((json_t *)v, i, member)
		{
			hth_buf_append_str(out, n++ ? "\",\" ws " : "");
			emit_value(member, out);
		}
		hth_buf_append_str(out, n ? "ws \"]\" " : "\"]\" ");
	} else if (json_is_object(v)) {
		hth_buf_append_str(out, "\"{\" ws ");
		json_object_foreach((json_t *)v, key, member)
		{
			hth_buf_append_str(out, n++ ? "\",\" ws " : "");
			hth_schema_json_literal(key, strlen(key), out);
			hth_buf_append_str(out, " \":\" ws ");
			emit_value(member, out);
		}
		hth_buf_append_str(out, n ? "ws \"}\" " : "\"}\" ");
	} else if (json_is_string(v)) {
		hth_schema_json_literal(json_string_value(v), json_string_length(v), out);
		hth_buf_append_char(out, ' ');
	} else {
		hth_buf text = HTH_BUF_INIT(256);
		hth_json_write(v, &text);
		hth_schema_literal(text.data ? text.data : "", text.len, out);
		hth_buf_append_char(out, ' ');
		hth_buf_finish(&text);
	}
}

static hth_status emit_string_list(struct body *b, const char *const *list, size_t n)
{
	char prefix[32];
	hth_lang l = {0};
	HTH_TRY(hth_lang_strings(&l, list, n, b->s->r.err));
	snprintf(prefix, sizeof prefix, "h%zu-", new_helper(b));
	hth_lang_emit_string(&l, prefix, &b->helpers);
	hth_lang_finish(&l);
	begin_alternative(b);
	hth_buf_appendf(&b->text, "\"\\\"\" %s0", prefix);
	return HTH_OK;
}

static hth_status emit_values(struct body *b, const alternative *a)
{
	HTH_AUTO_FREE const char **strings = hth_alloc_array(a->n_values, sizeof(char *));
	size_t n_strings = 0;
	if (strings == NULL)
		return hth_fail(b->s->r.err, HTH_NO_MEMORY, "no memory for a schema");
	for (size_t i = 0; i < a->n_values; i++)
		n_strings += json_is_string(a->values[i]);
	bool listed = n_strings <= LITERALS_MAX;
	n_strings = 0;
	for (size_t i = 0; i < a->n_values; i++) {
		bool ok;
		HTH_TRY(hth_schema_alternative_accepts(&b->s->r, a, a->values[i], &ok));
		if (!ok)
			continue;
		if (!listed && json_is_string(a->values[i])) {
			strings[n_strings++] = json_string_value(a->values[i]);
			continue;
		}
		begin_alternative(b);
		emit_value(a->values[i], &b->text);
	}
	return n_strings > 0 ? emit_string_list(b, strings, n_strings) : HTH_OK;
}

static hth_status emit_lang(struct body *b, const hth_lang *l, bool json)
{
	char prefix[32];
	if (hth_lang_is_empty(l))
		return HTH_OK;
	snprintf(prefix, sizeof prefix, "h%zu-", new_helper(b));
	if (json)
		hth_lang_emit_string(l, prefix, &b->helpers);
	else
		hth_lang_emit_raw(l, prefix, &b->helpers);
	begin_alternative(b);
	hth_buf_appendf(&b->text, "%s%s0", json ? "\"\\\"\" " : "", prefix);
	return HTH_OK;
}

static hth_status emit_strings(struct body *b, const alternative *a)
{
	bool any;
	hth_lang l = {0};
	if (a->min_length > a->max_length)
		return HTH_OK;
	HTH_TRY(hth_schema_string_lang(&b->s->r, a, &any, &l));
	if (!any) {
		hth_status status = emit_lang(b, &l, true);
		hth_lang_finish(&l);
		return status;
	}
	begin_alternative(b);
	if (a->min_length == 0 && a->max_length == NO_LIMIT)
		hth_buf_append_str(&b->text, "string");
	else if (a->max_length == NO_LIMIT)
		hth_buf_appendf(&b->text, "\"\\\"\" char{%d,} \"\\\"\"", a->min_length);
	else
		hth_buf_appendf(&b->text, "\"\\\"\" char{%d,%d} \"\\\"\"", a->min_length, a->max_length);
	return HTH_OK;
}

/* multipleOf: an automaton over digits, where the step is a whole number or a power of a tenth. */
static hth_status multiples_lang(struct body *b, const alternative *a, const json_t *multiple, bool *ret_integers,
                                 hth_lang *ret)
{
	double k = json_number_value(multiple);
	reader *r = &b->s->r;
	(void)a;
	if (k >= 1 && k <= 10000 && k == (double)(uint32_t)k) {
		hth_lang positive = {0}, signs = {0};
		*ret_integers = true;
		/* The sign in front: "-" and the digits of a multiple, by hand. */
		HTH_TRY(hth_lang_multiples(&positive, (uint32_t)k, r->err));
		bool ok = hth_lang_add_state(&signs, false) && hth_lang_add_step(&signs, '-', '-', 1);
		for (uint32_t i = 0; i < positive.states[0].n && ok; i++) {
			hth_lang_step t = positive.steps[positive.states[0].first + i];
			ok = hth_lang_add_step(&signs, t.lo, t.hi, t.to + 1);
		}
		for (size_t st = 0; st < positive.n_states && ok; st++) {
			ok = hth_lang_add_state(&signs, positive.states[st].accepts);
			for (uint32_t i = 0; i < positive.states[st].n && ok; i++) {
				hth_lang_step t = positive.steps[positive.states[st].first + i];
				ok = hth_lang_add_step(&signs, t.lo, t.hi, t.to + 1);
			}
		}
		hth_lang_finish(&positive);
		hth_status status = ok ? hth_lang_trim(&signs, r->err) : hth_lang_too_large(r->err);
		if (status != HTH_OK)
			hth_lang_finish(&signs);
		else
			*ret = signs;
		return status;
	}
	double step = 1;
	*ret_integers = false;
	for (int digits = 1; digits <= 15; digits++) {
		char pattern[64];
		step /= 10;
		if (k > step * 1.0000001 || k < step * 0.9999999)
			continue;
		snprintf(pattern, sizeof pattern, "^-?\\d+(?:\\.\\d{1,%d}0{0,15})?$", digits);
		return hth_schema_pattern_lang(r, pattern, ret);
	}
	return hth_fail(r->err, HTH_UNSUPPORTED,
	                "schema: multipleOf %g is not supported; whole numbers up to 10000 and 0.1, 0.01 ... are", k);
}

/* l without the numbers that match a pattern. */
static hth_status take_out(struct body *b, const char *pattern, hth_lang *l)
{
	hth_lang out = {0}, rest = {0};
	HTH_TRY(hth_schema_pattern_lang(&b->s->r, pattern, &out));
	hth_status status = hth_lang_both(&rest, l, &out, true, b->s->r.err);
	hth_lang_finish(&out);
	HTH_TRY(status);
	hth_lang_finish(l);
	*l = rest;
	return HTH_OK;
}

/* Excluded values, however they are spelled; with `fractions` every integer is excluded. Exponents spell anything, so
 * they go. */
static hth_status take_out_numbers(struct body *b, const alternative *a, bool fractions, hth_lang *l)
{
	HTH_TRY(take_out(b, "[eE]", l));
	if (fractions) {
		HTH_TRY(take_out(b, "^-?\\d+(?:\\.0*)?$", l));
		/* Past 15 digits a reader's double may round the fraction away. */
		char longer[512] = "^-?(?:";
		for (size_t n = 1, at = strlen(longer); n <= 16; n++)
			at += (size_t)snprintf(longer + at, sizeof longer - at, "%s\\d{%zu}\\.\\d{%zu,}", n > 1 ? "|" : "", n,
			                       n < 15 ? 16 - n : 1);
		strcat(longer, ")$");
		HTH_TRY(take_out(b, longer, l));
	}
	for (size_t i = 0; i < a->n_excluded; i++)
		for (size_t k = 0; k < json_array_size(a->excluded[i]); k++) {
			const json_t *v = json_array_get(a->excluded[i], k);
			char pattern[512], text[400];
			double d = json_number_value(v);
			if (!json_is_number(v) || fabs(d) >= 1e16)
				continue;
			int digits = d == floor(d) ? 0 : 1;
			while (snprintf(text, sizeof text, "%.*f", digits, fabs(d)),
			       digits < 30 && strtod(text, NULL) != fabs(d))
				digits++;
			char *point = strchr(text, '.');
			if (point != NULL)
				*point = '\0';
			snprintf(pattern, sizeof pattern, point ? "^%s%s\\.%s0*$" : "^%s%s(?:\\.0*)?%s$",
			         d < 0    ? "-"
			         : d == 0 ? "-?"
			                  : "",
			         text, point ? point + 1 : "");
			HTH_TRY(take_out(b, pattern, l));
		}
	return HTH_OK;
}

static hth_status emit_numbers(struct body *b, const alternative *a)
{
	bool integers = !(a->types & TYPE_NUMBER), fractions = !(a->types & TYPE_INTEGER);
	bool free_choice = a->min == -HUGE_VAL && a->max == HUGE_VAL && a->n_excluded == 0 && !fractions;
	reader *r = &b->s->r;
	if (free_choice && a->n_multiple == 0) {
		begin_alternative(b);
		hth_buf_append_str(&b->text, integers ? "integer" : "number");
		return HTH_OK;
	}
	hth_lang l = {0};
	hth_buf pattern = HTH_BUF_INIT(1 << 20);
	hth_status status = HTH_OK;
	bool by_integers = false;
	hth_lang steps[PATTERNS_MAX] = {0};
	for (size_t i = 0; i < a->n_multiple && status == HTH_OK; i++) {
		status = multiples_lang(b, a, a->multiple[i], &by_integers, &steps[i]);
		integers |= by_integers;
	}
	if (status == HTH_OK)
		status = hth_schema_number_pattern(a, integers, &pattern, r->err);
	if (status == HTH_OK && pattern.len > 0)
		status = hth_lang_pattern(&l, pattern.data, pattern.len, r->err);
	for (size_t i = 0; i < a->n_multiple && status == HTH_OK && pattern.len > 0; i++) {
		hth_lang both = {0};
		status = hth_lang_both(&both, &l, &steps[i], false, r->err);
		hth_lang_finish(&l);
		l = both;
	}
	if (status == HTH_OK && pattern.len > 0 && (fractions || a->n_excluded > 0))
		status = take_out_numbers(b, a, fractions, &l);
	if (status == HTH_OK && pattern.len > 0)
		status = emit_lang(b, &l, false);
	for (size_t i = 0; i < a->n_multiple; i++)
		hth_lang_finish(&steps[i]);
	hth_lang_finish(&l);
	hth_buf_finish(&pattern);
	return status;
}

hth_status hth_schema_rule_of(struct body *b, conj *c, size_t *ret_number, bool *ret_possible)
{
	HTH_TRY(number_of(b->s, c, ret_number));
	return is_possible(b->s, *ret_number, ret_possible);
}

void hth_schema_repeat(hth_buf *out, const char *rule, size_t number, int32_t min, int32_t max)
{
	if (max == 0)
		return;
	hth_buf_appendf(out, "(\",\" ws %s%zu)", rule, number);
	if (max == NO_LIMIT)
		hth_buf_appendf(out, min > 0 ? "{%d,} " : "* ", min);
	else
		hth_buf_appendf(out, "{%d,%d} ", min, max);
}

/* Items at and after `index`, where something may stand before them: a chain of rules for the prefix, then repetition.
 */
static hth_status emit_items(struct body *b, const alternative *a, size_t helper, size_t prefix)
{
	int32_t max = a->max_items;
	for (size_t i = 0; i <= prefix; i++) {
		conj c = {0};
		size_t number;
		bool possible;
		hth_status status = hth_schema_item_conj(&b->s->r, a, i, &c);
		if (status == HTH_OK)
			status = hth_schema_rule_of(b, &c, &number, &possible);
		hth_schema_conj_finish(&c);
		HTH_TRY(status);
		bool may_stop = i >= (size_t)a->min_items, may_go_on = possible && (max == NO_LIMIT || i < (size_t)max);
		hth_buf_appendf(&b->helpers, "h%zu-%zu ::= ", helper, i);
		if (may_stop)
			hth_buf_append_str(&b->helpers, i ? "ws \"]\"" : "\"]\"");
		if (may_go_on) {
			hth_buf_append_str(&b->helpers, may_stop ? " | " : "");
			hth_buf_append_str(&b->helpers, i ? "\",\" ws " : "");
			if (i < prefix) {
				hth_buf_appendf(&b->helpers, "v%zu h%zu-%zu", number, helper, i + 1);
			} else {
				hth_buf_appendf(&b->helpers, "v%zu ", number);
				hth_schema_repeat(&b->helpers, "v", number, less(a->min_items, i + 1), less(max, i + 1));
				hth_buf_append_str(&b->helpers, "ws \"]\"");
			}
		}
		hth_buf_append_str(&b->helpers, may_stop || may_go_on ? "\n" : "[]\n");
		if (!may_go_on) {
			/* The chain ends here; what was promised further on is never reached. */
			return HTH_OK;
		}
	}
	return HTH_OK;
}

static hth_status emit_arrays(struct body *b, const alternative *a)
{
	size_t prefix = hth_schema_prefix_length(a);
	if (a->min_items > a->max_items)
		return HTH_OK;
	if (prefix > PLACES_MAX)
		return hth_fail(b->s->r.err, HTH_TOO_LARGE, "schema: prefixItems has over %d entries", PLACES_MAX);
	if (a->n_arrays == 0 && a->min_items == 0 && a->max_items == NO_LIMIT) {
		begin_alternative(b);
		hth_buf_append_str(&b->text, "any-list");
		return HTH_OK;
	}
	/* Can the least number of items be there at all? */
	for (size_t i = 0; i < (size_t)a->min_items && i <= prefix; i++) {
		conj c = {0};
		size_t number;
		bool possible;
		hth_status status = hth_schema_item_conj(&b->s->r, a, i, &c);
		if (status == HTH_OK)
			status = hth_schema_rule_of(b, &c, &number, &possible);
		hth_schema_conj_finish(&c);
		HTH_TRY(status);
		if (!possible)
			return HTH_OK;
	}
	size_t helper = new_helper(b);
	HTH_TRY(emit_items(b, a, helper, prefix));
	begin_alternative(b);
	hth_buf_appendf(&b->text, "\"[\" ws h%zu-0", helper);
	return HTH_OK;
}

static hth_status emit_alternative(struct body *b, const alternative *a)
{
	const json_t *const words[] = {json_null(), json_true(), json_false()};
	static const char *const spelled[] = {"\"null\"", "\"true\"", "\"false\""};
	if (a->values != NULL)
		return emit_values(b, a);
	for (unsigned i = 0; i < 3; i++)
		if ((a->types & (i == 0 ? TYPE_NULL : TYPE_BOOL)) && !hth_schema_is_excluded(a, words[i])) {
			begin_alternative(b);
			hth_buf_append_str(&b->text, spelled[i]);
		}
	for (size_t i = 0; i < a->n_excluded; i++)
		for (size_t k = 0; k < json_array_size(a->excluded[i]); k++)
			if (hth_schema_type_of(json_array_get(a->excluded[i], k)) & a->types &
			    (TYPE_ARRAY | TYPE_OBJECT))
				return hth_fail(b->s->r.err, HTH_UNSUPPORTED,
				                "schema: not a certain list or object (not with const or enum) is not "
				                "supported");
	if (a->types & (TYPE_INTEGER | TYPE_NUMBER))
		HTH_TRY(emit_numbers(b, a));
	if (a->types & TYPE_STRING)
		HTH_TRY(emit_strings(b, a));
	if (a->types & TYPE_ARRAY)
		HTH_TRY(emit_arrays(b, a));
	return a->types & TYPE_OBJECT ? hth_schema_emit_objects(b, a) : HTH_OK;
}

/* The rule of one conj, and its helpers. */
static hth_status emit_conj(hth_schema_set *s, size_t number)
{
	alternatives all = {0};
	HTH_TRY(hth_schema_read_conj(&s->r, &s->conjs[number], &all));
	struct body b = {.s = s, .text = HTH_BUF_INIT(GRAMMAR_TEXT_MAX), .helpers = HTH_BUF_INIT(GRAMMAR_TEXT_MAX)};
	hth_status status = HTH_OK;
	if (s->conjs[number].n == 0) {
		hth_buf_append_str(&b.text, "any");
		b.any = true;
	}
	for (size_t i = 0; i < all.n && status == HTH_OK && s->conjs[number].n > 0; i++)
		status = emit_alternative(&b, &all.list[i]);
	hth_schema_alternatives_finish(&all);
	if (status == HTH_OK && s->n_helpers > RULES_MAX)
		status = hth_fail(s->r.err, HTH_TOO_LARGE, "schema: over %d rules", RULES_MAX);
	if (status == HTH_OK) {
		/* A place that nothing can fill refuses everything; what needs it is then refused by the grammar. */
		hth_buf_appendf(&s->out, "v%zu ::= %s\n", number, b.any ? b.text.data : "[]");
		if (b.helpers.len > 0)
			hth_buf_append(&s->out, b.helpers.data, b.helpers.len);
		s->out.failed |= b.text.failed || b.helpers.failed;
		status = no_room(s);
	}
	hth_buf_finish(&b.text);
	hth_buf_finish(&b.helpers);
	return status;
}

hth_status hth_schema_set_create(hth_schema_set **ret_set, hth_error *err)
{
	hth_schema_set *s = calloc(1, sizeof *s);
	if (s == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a schema");
	s->out = HTH_BUF_INIT(GRAMMAR_TEXT_MAX);
	hth_status status = hth_schema_reader_init(&s->r, err);
	if (status != HTH_OK)
		hth_schema_set_destroy(s);
	else
		*ret_set = s;
	return status;
}

void hth_schema_set_destroy(hth_schema_set *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n_conjs; i++)
		hth_schema_conj_finish(&s->conjs[i]);
	free(s->conjs);
	free(s->state);
	hth_buf_finish(&s->out);
	hth_schema_reader_finish(&s->r);
	free(s);
}

hth_status hth_schema_set_add(hth_schema_set *s, const json_t *schema, char ret_rule[32], hth_error *err)
{
	size_t number;
	conj c = {0};
	bool possible;
	s->r.err = err;
	const json_t **roots = realloc((void *)s->r.roots, (s->r.n_roots + 1) * sizeof(const json_t *));
	if (roots == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a schema");
	s->r.roots = roots;
	s->r.roots[s->r.n_roots++] = schema;
	hth_status status = hth_schema_conj_add(&s->r, &c, schema);
	if (status == HTH_OK)
		status = number_of(s, &c, &number);
	hth_schema_conj_finish(&c);
	HTH_TRY(status);
	HTH_TRY(is_possible(s, number, &possible));
	if (!possible)
		return hth_fail(err, HTH_INVALID, "schema: nothing satisfies it");
	for (; s->done < s->n_conjs; s->done++)
		HTH_TRY(emit_conj(s, s->done));
	snprintf(ret_rule, 32, "v%zu", number);
	return HTH_OK;
}

hth_status hth_schema_set_write(hth_schema_set *s, hth_buf *out, hth_error *err)
{
	hth_buf_append_str(out, builtin);
	if (s->out.len > 0)
		hth_buf_append(out, s->out.data, s->out.len);
	return hth_buf_check(out, "schema: its grammar", err);
}

hth_status hth_schema_grammar(const json_t *schema, hth_buf *out, hth_error *err)
{
	hth_schema_set *s = NULL;
	char rule[32];
	HTH_TRY(hth_schema_set_create(&s, err));
	hth_status status = hth_schema_set_add(s, schema, rule, err);
	if (status == HTH_OK) {
		hth_buf_appendf(out, "root ::= %s\n", rule);
		status = hth_schema_set_write(s, out, err);
	}
	hth_schema_set_destroy(s);
	return status;
}
