/* gbnf.c - reads GBNF into a network.
 *
 *   name ::= sequence | sequence ...    a rule; goes on over line ends inside parentheses and around |
 *   "text"  [a-z\n]  [^"]  .            characters; escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH
 *   ( ... )  *  +  ?  {n}  {n,}  {n,m}  groups and repetitions
 *   # comment
 *
 * Format: the GBNF guide of llama.cpp. A repetition with large bounds becomes a rule of its own that counts; with small
 * ones its part is simply read again as often as needed.
 */
#include "engine/grammar/network.h"

#include "base/mem.h"
#include "base/utf8.h"

enum {
	COPIES_MAX = 4,    /* repetitions up to here are written out */
	NESTING_MAX = 128, /* of parentheses */
	CLASS_MAX = 65536, /* ranges in one class */
	BOUND_MAX = 10000000,
};

struct parser {
	hth_network *net;
	const char *p, *end;
	const char *counted; /* up to here lines are counted */
	uint32_t line;       /* of counted */
	unsigned nesting;
	hth_error *err;
};

static uint32_t line_of(struct parser *s)
{
	for (; s->counted < s->p && s->counted < s->end; s->counted++)
		s->line += *s->counted == '\n';
	return s->line;
}

static hth_status bad(struct parser *s, const char *what)
{
	return hth_fail(s->err, HTH_INVALID, "grammar, line %u: %s", line_of(s), what);
}

static char peek(const struct parser *s)
{
	return s->p < s->end ? *s->p : '\0';
}
static bool at_end(const struct parser *s)
{
	return s->p >= s->end;
}
static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void skip_space(struct parser *s, bool lines)
{
	while (!at_end(s)) {
		char c = *s->p;
		if (c == '#')
			while (!at_end(s) && *s->p != '\n' && *s->p != '\r')
				s->p++;
		else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
			s->p++;
		else
			return;
	}
}

static hth_status parse_hex(struct parser *s, unsigned digits, uint32_t *ret_cp)
{
	uint32_t v = 0;
	for (unsigned i = 0; i < digits; i++, s->p++) {
		char c = peek(s);
		int d = c >= '0' && c <= '9'   ? c - '0'
		        : c >= 'a' && c <= 'f' ? c - 'a' + 10
		        : c >= 'A' && c <= 'F' ? c - 'A' + 10
		                               : -1;
		if (d < 0)
			return bad(s, "an escape needs more hexadecimal digits");
		v = v << 4 | (uint32_t)d;
	}
	if (v > 0x10FFFF)
		return bad(s, "an escape is past U+10FFFF");
	*ret_cp = v;
	return HTH_OK;
}

/* One character of a literal or class. */
static hth_status parse_char(struct parser *s, uint32_t *ret_cp)
{
	if (peek(s) != '\\') {
		size_t n = hth_utf8_decode(s->p, (size_t)(s->end - s->p), ret_cp);
		if (n == 0)
			return bad(s, "not UTF-8");
		s->p += n;
		return HTH_OK;
	}
	s->p++;
	if (at_end(s))
		return bad(s, "an escape is cut short");
	char c = *s->p++;
	switch (c) {
	case 'x':
		return parse_hex(s, 2, ret_cp);
	case 'u':
		return parse_hex(s, 4, ret_cp);
	case 'U':
		return parse_hex(s, 8, ret_cp);
	case 'n':
		*ret_cp = '\n';
		return HTH_OK;
	case 'r':
		*ret_cp = '\r';
		return HTH_OK;
	case 't':
		*ret_cp = '\t';
		return HTH_OK;
	case '\\':
	case '"':
	case '[':
	case ']':
	case '-':
	case '^':
		*ret_cp = (uint8_t)c;
		return HTH_OK;
	default:
		return bad(s, "an unknown escape");
	}
}

typedef struct fragment {
	uint32_t start, end;
} fragment;

static hth_status add_empty(struct parser *s, uint32_t from, uint32_t to)
{
	return hth_network_add_edge(s->net, from, (hth_net_edge){.kind = EDGE_EMPTY, .to = to}, s->err);
}

static hth_status parse_literal(struct parser *s, fragment *ret)
{
	HTH_TRY(hth_network_add_node(s->net, &ret->start, s->err));
	ret->end = ret->start;
	s->p++;
	while (peek(s) != '"' || at_end(s)) {
		uint32_t cp, node;
		char utf8[4];
		if (at_end(s) || *s->p == '\n')
			return bad(s, "a literal has no closing quote");
		HTH_TRY(parse_char(s, &cp));
		size_t n = hth_utf8_encode(cp, utf8);
		for (size_t i = 0; i < n; i++) {
			uint8_t byte = (uint8_t)utf8[i];
			HTH_TRY(hth_network_add_node(s->net, &node, s->err));
			HTH_TRY(hth_network_add_edge(s->net, ret->end, (hth_net_edge){EDGE_BYTES, byte, byte, true, node, 0},
			                             s->err));
			ret->end = node;
		}
	}
	s->p++;
	return HTH_OK;
}

static hth_status parse_class(struct parser *s, fragment *ret)
{
	size_t n = 0, cap = 0;
	HTH_AUTO_FREE hth_net_range *ranges = NULL;
	s->p++;
	bool negated = peek(s) == '^';
	s->p += negated;
	while (peek(s) != ']' || at_end(s)) {
		uint32_t first, last;
		if (at_end(s) || *s->p == '\n')
			return bad(s, "a character class has no closing bracket");
		HTH_TRY(parse_char(s, &first));
		last = first;
		if (peek(s) == '-' && s->p + 1 < s->end && s->p[1] != ']') {
			s->p++;
			HTH_TRY(parse_char(s, &last));
		}
		if (last < first)
			return bad(s, "a range in a character class runs backwards");
		if (n == cap) {
			if (n >= CLASS_MAX)
				return bad(s, "a character class has too many ranges");
			cap = cap ? cap * 2 : 16;
			hth_net_range *more = realloc(ranges, cap * sizeof *ranges);
			if (more == NULL)
				return hth_fail(s->err, HTH_NO_MEMORY, "no memory for a character class");
			ranges = more;
		}
		ranges[n++] = (hth_net_range){first, last};
	}
	s->p++;
	return hth_network_add_class(s->net, ranges, n, negated, &ret->start, &ret->end, s->err);
}

static hth_status parse_alternatives(struct parser *s, uint32_t start, uint32_t end);

static hth_status parse_reference(struct parser *s, fragment *ret)
{
	const char *name = s->p;
	while (!at_end(s) && is_name_char(*s->p))
		s->p++;
	uint32_t rule;
	HTH_TRY(hth_network_rule(s->net, name, (size_t)(s->p - name), line_of(s), &rule, s->err));
	HTH_TRY(hth_network_add_node(s->net, &ret->start, s->err));
	HTH_TRY(hth_network_add_node(s->net, &ret->end, s->err));
	return hth_network_add_edge(s->net, ret->start, (hth_net_edge){.kind = EDGE_CALL, .to = ret->end, .rule = rule}, s->err);
}

static hth_status parse_group(struct parser *s, fragment *ret)
{
	if (++s->nesting > NESTING_MAX)
		return bad(s, "parentheses are nested too deep");
	s->p++;
	skip_space(s, true);
	HTH_TRY(hth_network_add_node(s->net, &ret->start, s->err));
	HTH_TRY(hth_network_add_node(s->net, &ret->end, s->err));
	HTH_TRY(parse_alternatives(s, ret->start, ret->end));
	if (peek(s) != ')')
		return bad(s, "a group has no closing parenthesis");
	s->p++;
	s->nesting--;
	return HTH_OK;
}

static bool begins_element(char c)
{
	return c == '"' || c == '[' || c == '(' || c == '.' || is_name_char(c);
}

static hth_status parse_element(struct parser *s, fragment *ret)
{
	switch (peek(s)) {
	case '"':
		return parse_literal(s, ret);
	case '[':
		return parse_class(s, ret);
	case '(':
		return parse_group(s, ret);
	case '.':
		s->p++;
		return hth_network_add_class(s->net, NULL, 0, true, &ret->start, &ret->end, s->err);
	default:
		return parse_reference(s, ret);
	}
}

static hth_status parse_number(struct parser *s, uint32_t *ret)
{
	uint32_t v = 0;
	if (peek(s) < '0' || peek(s) > '9')
		return bad(s, "a repetition needs a number");
	while (peek(s) >= '0' && peek(s) <= '9') {
		v = v * 10 + (uint32_t)(*s->p++ - '0');
		if (v > BOUND_MAX)
			return bad(s, "a repetition is over ten million");
	}
	*ret = v;
	return HTH_OK;
}

/* What follows an element; min and max stay 1 when nothing does. */
static hth_status parse_repetition(struct parser *s, uint32_t *min, uint32_t *max)
{
	char c = peek(s);
	*min = *max = 1;
	if (c == '*' || c == '+' || c == '?') {
		s->p++;
		*min = c == '+';
		*max = c == '?' ? 1 : REPEAT_FOREVER;
		return HTH_OK;
	}
	if (c != '{')
		return HTH_OK;
	s->p++;
	skip_space(s, true);
	HTH_TRY(parse_number(s, min));
	skip_space(s, true);
	*max = *min;
	if (peek(s) == ',') {
		s->p++;
		skip_space(s, true);
		*max = REPEAT_FOREVER;
		if (peek(s) != '}')
			HTH_TRY(parse_number(s, max));
		skip_space(s, true);
	}
	if (peek(s) != '}')
		return bad(s, "a repetition has no closing brace");
	s->p++;
	if (*max < *min)
		return bad(s, "a repetition's bounds are the wrong way round");
	return HTH_OK;
}

/* Puts f after *at, where f may come again and again. */
static hth_status add_star(struct parser *s, fragment f, uint32_t *at)
{
	uint32_t head, out;
	HTH_TRY(hth_network_add_node(s->net, &head, s->err));
	HTH_TRY(hth_network_add_node(s->net, &out, s->err));
	HTH_TRY(add_empty(s, *at, head));
	HTH_TRY(add_empty(s, head, f.start));
	HTH_TRY(add_empty(s, f.end, head));
	HTH_TRY(add_empty(s, head, out));
	*at = out;
	return HTH_OK;
}

/* A rule that repeats f min to max times, called after *at. */
static hth_status add_counted(struct parser *s, fragment f, uint32_t min, uint32_t max, uint32_t *at)
{
	uint32_t rule, out;
	HTH_TRY(hth_network_rule(s->net, NULL, 0, line_of(s), &rule, s->err));
	uint32_t head = s->net->rules[rule].start;
	s->net->rules[rule].defined = true;
	s->net->nodes[head].min = min;
	s->net->nodes[head].max = max;
	HTH_TRY(add_empty(s, head, f.start));
	HTH_TRY(hth_network_add_edge(s->net, f.end, (hth_net_edge){.kind = EDGE_LOOP, .to = head}, s->err));
	HTH_TRY(hth_network_add_node(s->net, &out, s->err));
	HTH_TRY(hth_network_add_edge(s->net, *at, (hth_net_edge){.kind = EDGE_CALL, .to = out, .rule = rule}, s->err));
	*at = out;
	return HTH_OK;
}

/* Reads the element at `text` once more. */
static hth_status read_again(struct parser *s, const char *text, fragment *ret)
{
	const char *after = s->p;
	s->p = text;
	HTH_TRY(parse_element(s, ret));
	s->p = after;
	return HTH_OK;
}

static hth_status repeat(struct parser *s, const char *text, fragment f, uint32_t min, uint32_t max, uint32_t *at)
{
	if (max == 0)
		return HTH_OK;
	uint32_t bound = max == REPEAT_FOREVER ? min : max;
	if (bound > COPIES_MAX)
		return add_counted(s, f, min, max, at);
	bool fresh = true; /* f itself is still to be used */
	for (uint32_t i = 0; i < min; i++) {
		if (!fresh)
			HTH_TRY(read_again(s, text, &f));
		fresh = false;
		HTH_TRY(add_empty(s, *at, f.start));
		*at = f.end;
	}
	if (max == REPEAT_FOREVER) {
		if (!fresh)
			HTH_TRY(read_again(s, text, &f));
		return add_star(s, f, at);
	}
	if (min == max)
		return HTH_OK;
	uint32_t out;
	HTH_TRY(hth_network_add_node(s->net, &out, s->err));
	for (uint32_t i = min; i < max; i++) {
		if (!fresh)
			HTH_TRY(read_again(s, text, &f));
		fresh = false;
		HTH_TRY(add_empty(s, *at, out));
		HTH_TRY(add_empty(s, *at, f.start));
		*at = f.end;
	}
	HTH_TRY(add_empty(s, *at, out));
	*at = out;
	return HTH_OK;
}

static hth_status parse_sequence(struct parser *s, uint32_t start, uint32_t end)
{
	uint32_t at;
	HTH_TRY(hth_network_add_node(s->net, &at, s->err));
	HTH_TRY(add_empty(s, start, at));
	while (begins_element(peek(s)) && !at_end(s)) {
		const char *text = s->p;
		fragment f;
		uint32_t min, max;
		HTH_TRY(parse_element(s, &f));
		const char *after = s->p;
		skip_space(s, s->nesting > 0);
		HTH_TRY(parse_repetition(s, &min, &max));
		if (min == 1 && max == 1 && s->p == after) {
			HTH_TRY(add_empty(s, at, f.start));
			at = f.end;
		} else {
			HTH_TRY(repeat(s, text, f, min, max, &at));
		}
		skip_space(s, s->nesting > 0);
	}
	return add_empty(s, at, end);
}

static hth_status parse_alternatives(struct parser *s, uint32_t start, uint32_t end)
{
	for (;;) {
		HTH_TRY(parse_sequence(s, start, end));
		/* A | may open the next line. */
		const char *here = s->p;
		skip_space(s, true);
		if (peek(s) != '|') {
			if (s->nesting == 0)
				s->p = here;
			return HTH_OK;
		}
		s->p++;
		skip_space(s, true);
	}
}

static hth_status parse_rule(struct parser *s)
{
	const char *name = s->p;
	while (!at_end(s) && is_name_char(*s->p))
		s->p++;
	size_t len = (size_t)(s->p - name);
	if (len == 0)
		return bad(s, "a rule must begin with its name");
	skip_space(s, false);
	if (s->end - s->p < 3 || memcmp(s->p, "::=", 3) != 0)
		return bad(s, "::= must follow a rule's name");
	s->p += 3;
	skip_space(s, true);
	uint32_t rule, end;
	HTH_TRY(hth_network_rule(s->net, name, len, line_of(s), &rule, s->err));
	if (s->net->rules[rule].defined)
		return hth_fail(s->err, HTH_INVALID, "grammar, line %u: rule %.*s is defined twice", line_of(s),
		                (int)HTH_MIN(len, (size_t)60), name);
	s->net->rules[rule].defined = true;
	s->net->rules[rule].line = line_of(s);
	HTH_TRY(hth_network_add_node(s->net, &end, s->err));
	s->net->nodes[end].final = true;
	HTH_TRY(parse_alternatives(s, s->net->rules[rule].start, end));
	if (!at_end(s) && *s->p != '\n' && *s->p != '\r')
		return bad(s, "this is no part of a rule");
	return HTH_OK;
}

hth_status hth_gbnf_parse(hth_network *net, const char *text, size_t len, hth_error *err)
{
	struct parser s = {.net = net, .p = text, .end = text + len, .counted = text, .line = 1, .err = err};
	for (skip_space(&s, true); !at_end(&s); skip_space(&s, true))
		HTH_TRY(parse_rule(&s));
	return hth_network_close(net, err);
}
