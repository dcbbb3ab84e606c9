/* jinja-objects.c - methods of lists, dicts, ranges and loops, and the functions every template has: range, dict, namespace,
 * cycler, joiner, raise_exception and strftime_now.
 */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

/* --- sequences --- */

static jv *seq_count(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv **items;
	uint32_t n;
	int64_t count = 0;
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		bool same = false;
		if (!hth_jj_equal(r, items[i], p[0], &same))
			return NULL;
		count += same;
	}
	return hth_jinja_int(r->arena, count);
}

static jv *seq_index(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv **items;
	uint32_t n;
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	int64_t from = 0, to = n;
	if (!hth_jj_arg_int(r, p[1], "start", &from) || !hth_jj_arg_int(r, p[2], "stop", &to))
		return NULL;
	from = from < 0 ? HTH_MAX(from + (int64_t)n, 0) : from;
	to = to < 0 ? to + (int64_t)n : HTH_MIN(to, (int64_t)n);
	for (int64_t i = from; i < to; i++) {
		bool same = false;
		if (!hth_jj_equal(r, items[i], p[0], &same))
			return NULL;
		if (same)
			return hth_jinja_int(r->arena, i);
	}
	return hth_jj_fail(r, "the value is not in the %s", hth_jj_type_name(v));
}

static jv *list_copy(jj_run *r, jv *v, jv **p, const jj_args *a) { return v; } /* nothing can change either */

static const jj_builtin list_methods[] = {
    {"copy", "", list_copy}, {"count", "value", seq_count}, {"index", "value,start?,stop?", seq_index}};
static const jj_builtin tuple_methods[] = {{"count", "value", seq_count}, {"index", "value,start?,stop?", seq_index}};

/* --- dicts --- */

static jv *dict_get(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	if (p[0]->kind == JJ_STRING && !hth_jj_charge_bytes(r, p[0]->s.len))
		return NULL;
	if (!hth_jj_hashable(p[0]))
		return hth_jj_fail(r, "unhashable type: '%s'", hth_jj_type_name(p[0]));
	jv *found = hth_jj_dict_get(r->arena, v->dict, p[0]);
	return found ? found : p[1] ? p[1] : hth_jinja_none(r->arena);
}

static jv *dict_view(jj_run *r, jv *v, char what)
{
	hth_jinja_value *view = hth_jj_new(r->arena, JJ_VIEW);
	if (view != NULL) {
		view->view.dict = v;
		view->view.what = what;
	}
	return view;
}
static jv *dict_keys(jj_run *r, jv *v, jv **p, const jj_args *a) { return dict_view(r, v, 'k'); }
static jv *dict_values(jj_run *r, jv *v, jv **p, const jj_args *a) { return dict_view(r, v, 'v'); }
static jv *dict_items(jj_run *r, jv *v, jv **p, const jj_args *a) { return dict_view(r, v, 'i'); }

static const jj_builtin dict_methods[] = {{"copy", "", list_copy},
					  {"get", "key,default?", dict_get},
					  {"items", "", dict_items},
					  {"keys", "", dict_keys},
					  {"values", "", dict_values}};

/* --- numbers --- */

static jv *float_is_integer(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	return hth_jinja_bool(r->arena, v->f == floor(v->f) && !isinf(v->f));
}
static const jj_builtin float_methods[] = {{"is_integer", "", float_is_integer}};

/* --- loops and cyclers --- */

static jv *loop_cycle(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	if (a->n_pos == 0)
		return hth_jj_fail(r, "no items for cycling given");
	return a->pos[v->loop->at % a->n_pos];
}

static jv *loop_changed(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	hth_jinja_value *now = hth_jj_seq(r->arena, JJ_TUPLE, a->n_pos);
	if (now == NULL)
		return NULL;
	for (uint32_t i = 0; i < a->n_pos; i++)
		now->list.items[i] = a->pos[i];
	bool same = false;
	if (v->loop->changed != NULL && !hth_jj_equal(r, v->loop->changed, now, &same))
		return NULL;
	v->loop->changed = now;
	return hth_jinja_bool(r->arena, !same);
}
static const jj_builtin loop_methods[] = {{"changed", "*", loop_changed}, {"cycle", "*", loop_cycle}};

jv *hth_jj_loop_attr(jj_run *r, jv *value, jv *name)
{
	const jj_loop *l = value->loop;
	const struct {
		const char *name;
		int64_t v;
	} numbers[] = {{"index", (int64_t)l->at + 1}, {"index0", l->at},
		       {"revindex", (int64_t)l->n - l->at}, {"revindex0", (int64_t)l->n - l->at - 1},
		       {"length", l->n}, {"depth", (int64_t)l->depth + 1}, {"depth0", l->depth}};
	for (size_t i = 0; i < HTH_COUNT(numbers); i++)
		if (hth_jj_is_str(name, numbers[i].name))
			return hth_jinja_int(r->arena, numbers[i].v);
	if (hth_jj_is_str(name, "first"))
		return hth_jinja_bool(r->arena, l->at == 0);
	if (hth_jj_is_str(name, "last"))
		return hth_jinja_bool(r->arena, l->at + 1 >= l->n);
	if (hth_jj_is_str(name, "previtem"))
		return l->at > 0 ? l->items[l->at - 1] : hth_jj_undefined(r, "there is no previous item");
	if (hth_jj_is_str(name, "nextitem"))
		return l->at + 1 < l->n ? l->items[l->at + 1] : hth_jj_undefined(r, "there is no next item");
	return NULL;
}

static jv *cycler_next(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	hth_jinja_value *c = (hth_jinja_value *)v; /* cyclers change by design */
	jv *item = c->list.items[c->list.at];
	c->list.at = (c->list.at + 1) % c->list.n;
	return item;
}

static jv *cycler_reset(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	((hth_jinja_value *)v)->list.at = 0;
	return hth_jinja_none(r->arena);
}
static const jj_builtin cycler_methods[] = {{"next", "", cycler_next}, {"reset", "", cycler_reset}};

const jj_builtin *hth_jj_find_method(jj_kind kind, const char *name, size_t len)
{
	switch (kind) {
	case JJ_STRING:
		return hth_jj_find_str_method(name, len);
	case JJ_LIST:
		return JJ_SEARCH(list_methods, name, len);
	case JJ_TUPLE:
	case JJ_RANGE:
		return JJ_SEARCH(tuple_methods, name, len);
	case JJ_DICT:
		return JJ_SEARCH(dict_methods, name, len);
	case JJ_FLOAT:
		return JJ_SEARCH(float_methods, name, len);
	case JJ_LOOP:
		return JJ_SEARCH(loop_methods, name, len);
	case JJ_CYCLER:
		return JJ_SEARCH(cycler_methods, name, len);
	default:
		return NULL;
	}
}

bool hth_jj_is_mutator(jj_kind kind, const char *name, size_t len)
{
	static const char *of_list[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
	static const char *of_dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
	const char **names = kind == JJ_LIST ? of_list : of_dict;
	size_t n = kind == JJ_LIST ? HTH_COUNT(of_list) : kind == JJ_DICT ? HTH_COUNT(of_dict) : 0;
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	return false;
}

/* --- functions --- */

static jv *fn_range(jj_run *r, jv *self, jv **p, const jj_args *a)
{
	int64_t v[3] = {0, 0, 1};
	for (int i = 0; i < 3; i++) {
		if (p[i] != NULL && p[i]->kind == JJ_UNDEFINED)
			return hth_jj_fail_undefined(r, p[i]);
		if (p[i] != NULL && !hth_jj_as_int(p[i], &v[i]))
			return hth_jj_fail(r, "'%s' object cannot be interpreted as an integer", hth_jj_type_name(p[i]));
	}
	hth_jinja_value *range = hth_jj_new(r->arena, JJ_RANGE);
	if (range == NULL)
		return NULL;
	range->range.start = p[1] ? v[0] : 0;
	range->range.stop = p[1] ? v[1] : v[0];
	range->range.step = v[2];
	if (v[2] == 0)
		return hth_jj_fail(r, "range() arg 3 must not be zero");
	size_t n = 0;
	hth_jj_length(range, &n);
	if (n > JJ_RANGE_MAX)
		return hth_jj_fail(r, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", JJ_RANGE_MAX);
	return range;
}

/* dict(mapping or pairs, name=value ...) into an empty dict. */
static bool fill_dict(jj_run *r, jj_dict *d, const jj_args *a, const char *what)
{
	if (a->n_pos > 1)
		return hth_jj_fail(r, "%s expected at most 1 argument, got %u", what, a->n_pos);
	if (a->n_pos == 1 && (a->pos[0]->kind == JJ_DICT || a->pos[0]->kind == JJ_NAMESPACE)) {
		const jj_dict *from = a->pos[0]->dict;
		for (uint32_t i = 0; i < from->n; i++)
			if (!hth_jj_charge(r, 1) || !hth_jj_dict_put(r->arena, d, from->entries[i].key, from->entries[i].value))
				return false;
	} else if (a->n_pos == 1) {
		jv **items, **pair;
		uint32_t n, two;
		if (!hth_jj_items(r, a->pos[0], &items, &n))
			return false;
		for (uint32_t i = 0; i < n; i++) {
			if (!hth_jj_items(r, items[i], &pair, &two))
				return false;
			if (two != 2)
				return hth_jj_fail(r, "dictionary update sequence element #%u has length %u; 2 is required", i, two);
			if (!hth_jj_hashable(pair[0]))
				return hth_jj_fail(r, "unhashable type: '%s'", hth_jj_type_name(pair[0]));
			if (!hth_jj_dict_put(r->arena, d, pair[0], pair[1]))
				return false;
		}
	}
	for (uint32_t i = 0; i < a->n_kw; i++)
		if (!hth_jj_dict_put(r->arena, d, a->kw_names[i], a->kw[i]))
			return false;
	return true;
}

static jv *fn_dict(jj_run *r, jv *self, jv **p, const jj_args *a)
{
	hth_jinja_value *v = hth_jinja_dict(r->arena);
	return v != NULL && fill_dict(r, v->dict, a, "dict") ? v : NULL;
}

static jv *fn_namespace(jj_run *r, jv *self, jv **p, const jj_args *a)
{
	hth_jinja_value *v = hth_jinja_dict(r->arena);
	if (v == NULL || !fill_dict(r, v->dict, a, "namespace"))
		return NULL;
	v->kind = JJ_NAMESPACE;
	return v;
}

static jv *fn_cycler(jj_run *r, jv *self, jv **p, const jj_args *a)
{
	if (a->n_pos == 0)
		return hth_jj_fail(r, "at least one item has to be provided");
	hth_jinja_value *v = hth_jj_seq(r->arena, JJ_CYCLER, a->n_pos);
	for (uint32_t i = 0; v != NULL && i < a->n_pos; i++)
		v->list.items[i] = a->pos[i];
	return v;
}

static jv *fn_joiner(jj_run *r, jv *self, jv **p, const jj_args *a)
{
	hth_jinja_value *v = hth_jj_new(r->arena, JJ_JOINER);
	if (v == NULL)
		return NULL;
	v->text = p[0] ? p[0] : hth_jj_str(r->arena, ", ");
	return v->text ? v : NULL;
}

static jv *fn_raise_exception(jj_run *r, jv *self, jv **p, const jj_args *a)
{
	jv *text = hth_jj_to_str(r, p[0]);
	if (text == NULL)
		return NULL;
	size_t n = strnlen(text->s.data, text->s.len);
	if (n == 0)
		return hth_jj_fail(r, "the template refused these messages and gave no reason");
	return hth_jj_fail_plain(r, HTH_INVALID, "%.*s", (int)HTH_MIN(n, (size_t)HTH_ERROR_MAX), text->s.data);
}

static jv *fn_strftime_now(jj_run *r, jv *self, jv **p, const jj_args *a)
{
	jv *format = hth_jj_need_str(r, p[0], "format");
	return format != NULL ? hth_jj_strftime(r, format) : NULL;
}

static const jj_builtin functions[] = {
    {"cycler", "*", fn_cycler},
    {"dict", "*", fn_dict},
    {"joiner", "sep?", fn_joiner},
    {"namespace", "*", fn_namespace},
    {"raise_exception", "message", fn_raise_exception},
    {"range", "start,stop?,step?", fn_range},
    {"strftime_now", "format", fn_strftime_now},
};

const jj_builtin *hth_jj_find_global(const char *name, size_t len) { return JJ_SEARCH(functions, name, len); }

/* --- the clock --- */

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
				     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

/* ISO 8601 week number and the year it belongs to. */
static int iso_week(const struct tm *t, int *ret_year)
{
	int wday = (t->tm_wday + 6) % 7, week = (t->tm_yday - wday + 10) / 7, year = t->tm_year + 1900;
	for (int pass = 0; pass < 2; pass++) {
		int y = pass == 0 ? year - 1 : year; /* the last week of that year: 52 or 53 */
		int jan1 = (y + (y - 1) / 4 - (y - 1) / 100 + (y - 1) / 400) % 7;
		bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
		int last = jan1 == 4 || (leap && jan1 == 3) ? 53 : 52;
		if (pass == 0 && week < 1) {
			*ret_year = y;
			return last;
		}
		if (pass == 1 && week > last) {
			*ret_year = y + 1;
			return 1;
		}
	}
	*ret_year = year;
	return week;
}

static void put_number(jj_builder *b, int v, int width, char pad)
{
	char text[16];
	if (pad == '-')
		snprintf(text, sizeof text, "%d", v);
	else
		snprintf(text, sizeof text, pad == '_' ? "%*d" : "%0*d", width, v);
	hth_jj_put_cstr(b, text);
}

static void put_time(jj_builder *b, const struct tm *t, int64_t unix_time, char c, char pad)
{
	int hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12, year;
	char one[3] = {'%', c, '\0'};
	switch (c) {
	case 'a':
	case 'A':
		hth_jj_put(b, days[t->tm_wday], c == 'a' ? 3 : strlen(days[t->tm_wday]), false);
		break;
	case 'b':
	case 'h':
	case 'B':
		hth_jj_put(b, months[t->tm_mon], c == 'B' ? strlen(months[t->tm_mon]) : 3, false);
		break;
	case 'C':
		put_number(b, (t->tm_year + 1900) / 100, 2, pad);
		break;
	case 'd':
	case 'e':
		put_number(b, t->tm_mday, 2, pad ? pad : c == 'e' ? '_' : '0');
		break;
	case 'f':
		put_number(b, 0, 6, '0');
		break;
	case 'g':
	case 'G':
	case 'V': {
		int week = iso_week(t, &year);
		put_number(b, c == 'V' ? week : c == 'g' ? year % 100 : year, c == 'G' ? 4 : 2, pad);
		break;
	}
	case 'H':
	case 'k':
		put_number(b, t->tm_hour, 2, pad ? pad : c == 'k' ? '_' : '0');
		break;
	case 'I':
	case 'l':
		put_number(b, hour12, 2, pad ? pad : c == 'l' ? '_' : '0');
		break;
	case 'j':
		put_number(b, t->tm_yday + 1, 3, pad);
		break;
	case 'm':
		put_number(b, t->tm_mon + 1, 2, pad);
		break;
	case 'M':
		put_number(b, t->tm_min, 2, pad);
		break;
	case 'n':
		hth_jj_put_cstr(b, "\n");
		break;
	case 'p':
		hth_jj_put_cstr(b, t->tm_hour < 12 ? "AM" : "PM");
		break;
	case 'P':
		hth_jj_put_cstr(b, t->tm_hour < 12 ? "am" : "pm");
		break;
	case 's': {
		char text[24];
		snprintf(text, sizeof text, "%lld", (long long)unix_time);
		hth_jj_put_cstr(b, text);
		break;
	}
	case 'S':
		put_number(b, t->tm_sec, 2, pad);
		break;
	case 't':
		hth_jj_put_cstr(b, "\t");
		break;
	case 'u':
		put_number(b, t->tm_wday ? t->tm_wday : 7, 1, pad);
		break;
	case 'U':
		put_number(b, (t->tm_yday + 7 - t->tm_wday) / 7, 2, pad);
		break;
	case 'w':
		put_number(b, t->tm_wday, 1, pad);
		break;
	case 'W':
		put_number(b, (t->tm_yday + 7 - (t->tm_wday + 6) % 7) / 7, 2, pad);
		break;
	case 'y':
		put_number(b, (t->tm_year + 1900) % 100, 2, pad);
		break;
	case 'Y':
		put_number(b, t->tm_year + 1900, 4, pad);
		break;
	case 'z':
	case 'Z': /* the clock has no zone, as datetime.now() has none */
		break;
	case '%':
		hth_jj_put_cstr(b, "%");
		break;
	default:
		hth_jj_put_cstr(b, one);
		break;
	}
}

jv *hth_jj_strftime(jj_run *r, jv *format)
{
	static const struct {
		char c;
		const char *as;
	} combined[] = {{'c', "%a %b %e %H:%M:%S %Y"}, {'D', "%m/%d/%y"}, {'F', "%Y-%m-%d"}, {'r', "%I:%M:%S %p"},
			{'R', "%H:%M"},		       {'T', "%H:%M:%S"}, {'x', "%m/%d/%y"}, {'X', "%H:%M:%S"}};
	struct tm t;
	time_t now = (time_t)r->now;
	jj_builder b = hth_jj_builder(r->arena);
	if (gmtime_r(&now, &t) == NULL)
		return hth_jj_fail(r, "the clock is out of range");
	if (!hth_jj_charge_bytes(r, (uint64_t)format->s.len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; i < format->s.len; i++) {
		const char *f = format->s.data;
		if (f[i] != '%' || i + 1 >= format->s.len) {
			hth_jj_put_slice(&b, format, i, i + 1);
			continue;
		}
		i++;
		char pad = '\0';
		if (i + 1 < format->s.len && strchr("-_0", f[i]) != NULL)
			pad = f[i++];
		const char *as = NULL;
		for (size_t k = 0; k < HTH_COUNT(combined); k++)
			if (combined[k].c == f[i])
				as = combined[k].as;
		if (as == NULL)
			put_time(&b, &t, r->now, f[i], pad);
		for (; as != NULL && *as != '\0'; as++) {
			if (*as == '%')
				put_time(&b, &t, r->now, *++as, '\0');
			else
				hth_jj_put(&b, as, 1, false);
		}
	}
	return hth_jj_done(&b);
}
