/* The interpreter's promises beyond what it renders: bounds, places in errors, marks on input, sharing. */
#include "engine/jinja/jinja.h"

#include "harness.h"

#include <pthread.h>

typedef struct run {
	hth_status status;
	hth_error err;
	hth_jinja_output out;
} run;

static const hth_jinja_value *str(hth_jinja_arena *a, const char *s) { return hth_jinja_string(a, s, strlen(s)); }

static void set(hth_jinja_arena *a, hth_jinja_value *d, const char *key, const hth_jinja_value *v)
{
	if (!hth_jinja_dict_set(a, d, key, strlen(key), v))
		test_fail(__FILE__, __LINE__, "the arena is full");
}

/* Variables: u "user<|x|>", v "two", b trusted "<s>", l ["a", "b"], n 3. */
static run render_with(const char *source, size_t len, const hth_jinja_limits *limits, size_t memory)
{
	run r = {0};
	hth_jinja_template *t = NULL;
	hth_jinja_arena *a = NULL;
	r.status = hth_jinja_compile(&t, source, len, &r.err);
	if (r.status != HTH_OK)
		return r;
	if (hth_jinja_arena_create(&a, memory, &r.err) != HTH_OK)
		abort();
	hth_jinja_value *vars = hth_jinja_dict(a), *list = hth_jinja_list(a);
	hth_jinja_list_append(a, list, str(a, "a"));
	hth_jinja_list_append(a, list, str(a, "b"));
	set(a, vars, "u", str(a, "user<|x|>"));
	set(a, vars, "v", str(a, "two"));
	set(a, vars, "b", hth_jinja_trusted_string(a, "<s>", 3));
	set(a, vars, "l", list);
	set(a, vars, "n", hth_jinja_int(a, 3));
	r.status = hth_jinja_render(t, a, vars, 0, limits, &r.out, &r.err);
	hth_jinja_arena_destroy(a);
	hth_jinja_template_destroy(t);
	return r;
}

static run render(const char *source) { return render_with(source, strlen(source), NULL, 32 << 20); }

/* The output with every input range in [ ]. */
static char *marked(const hth_jinja_output *out)
{
	static char text[4096];
	size_t n = 0, r = 0;
	for (size_t i = 0; i <= out->len && n + 4 < sizeof text; i++) {
		if (r < out->n_input && i == out->input[r].end) {
			text[n++] = ']';
			r++;
		}
		if (r < out->n_input && i == out->input[r].begin)
			text[n++] = '[';
		if (i < out->len)
			text[n++] = out->text[i];
	}
	text[n] = '\0';
	return text;
}

TEST(output_knows_which_bytes_came_from_input)
{
	static const struct {
		const char *source, *marked;
	} cases[] = {
	    {"{{ b }}plain{{ u }}", "<s>plain[user<|x|>]"},
	    {"{{ b + u + '<e>' }}", "<s>[user<|x|>]<e>"},
	    {"{{ b ~ u ~ v ~ '<e>' ~ u }}", "<s>[user<|x|>two]<e>[user<|x|>]"},
	    {"{{ u }}{{ v }}", "[user<|x|>two]"},
	    {"{{ (b ~ u ~ 'end')[2:6] }}", ">[use]"},
	    {"{{ (b ~ u ~ 'end')[3:12] }}", "[user<|x|>]"},
	    {"{{ (b ~ u)[1] }}{{ (b ~ u)[3] }}", "s[u]"},
	    {"{{ ('  ' ~ u ~ '  ') | trim }}", "[user<|x|>]"},
	    {"{{ (' a' ~ u).strip() }}", "a[user<|x|>]"},
	    {"{{ u | replace('<|x|>', '<|y|>') }}", "[user]<|y|>"},
	    {"{{ 'a-b' | replace('-', u) }}", "a[user<|x|>]b"},
	    {"{{ u | upper }}{{ ('a' ~ v) | upper }}", "[USER<|X|>]A[TWO]"},
	    {"{{ (u ~ '|tail').split('|') | join('+') }}", "[user<]+[x]+[>]+tail"},
	    {"{{ l | join('<sep>') }}", "[a]<sep>[b]"},
	    {"{{ '<sep>'.join(l) }}", "[a]<sep>[b]"},
	    {"{{ l }}", "[['a', 'b']]"},
	    {"{{ [1, 'x'] }}", "[1, 'x']"},
	    {"{{ {'a': v} | tojson }}", "[{\"a\": \"two\"}]"},
	    {"{{ {'a': 'v'} | tojson }}", "{\"a\": \"v\"}"},
	    {"{{ n }}{{ u | length }}", "39"},
	    {"{% set x %}<s>{{ u }}</s>{% endset %}{{ x }}", "<s>[user<|x|>]</s>"},
	    {"{% macro m(t) %}<{{ t }}>{% endmacro %}{{ m(v) }}{{ m('k') }}", "<[two]><k>"},
	    {"{% filter upper %}x{{ v }}{% endfilter %}", "X[TWO]"},
	    {"{{ '%s:%s' % ('k', v) }}", "k:[two]"},
	    {"{{ '{}:{}'.format('k', v) }}", "k:[two]"},
	    {"{{ v | center(7) }}", "  [two]  "},
	    {"{{ 'a\\nb' | indent(2) }}{{ v | indent(2, true) }}", "a\n  b  [two]"},
	    {"{{ v | reverse }}{{ v | first }}{{ v * 2 }}", "[owtttwotwo]"},
	    {"{{ ('<' ~ v) | escape }}", "&lt;[two]"},
	    {"{% for c in v %}{{ c }}-{% endfor %}", "[t]-[w]-[o]-"},
	    {"{% set ns = namespace(t='') %}{% for x in l %}{% set ns.t = ns.t + '<' + x + '>' %}{% endfor %}{{ ns.t }}",
	     "<[a]><[b]>"},
	    {"{{ v.partition('w')[2] }}{{ (v ~ 'k').removesuffix('k') }}", "[otwo]"},
	    {"{{ {'k': u}.k }}{{ {u: 1} | first }}", "[user<|x|>user<|x|>]"},
	    {"{{ v | default('x') }}{{ zz | default('x') }}{{ zz | default(v) }}", "[two]x[two]"},
	    {"{{ ('ab' ~ v) | truncate(4, true, '~', 0) }}", "ab[t]~"},
	    {"{{ (v ~ '/') | urlencode }}", "[two]/"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		run r = render(cases[i].source);
		if (r.status != HTH_OK)
			test_fail(__FILE__, __LINE__, "%s: %s", cases[i].source, r.err.message);
		else if (strcmp(marked(&r.out), cases[i].marked) != 0)
			test_fail(__FILE__, __LINE__, "%s gives %s, not %s", cases[i].source, marked(&r.out), cases[i].marked);
		hth_jinja_output_finish(&r.out);
	}
}

TEST(a_template_cannot_run_away)
{
	static const char *sources[] = {
	    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
	    "{% for a in range(100000) %}{{ 'x' * 100000 }}{% endfor %}",
	    "{{ 'x' * 9999999999 }}",
	    "{{ [0] * 9999999999 }}",
	    "{{ ('x' * 1000000) * 1000000 }}",
	    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
	    "{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}",
	    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	    "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
	    "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}",
	    "{% set ns = namespace(x=[], y=[]) %}{% for i in range(50000) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}"
	    "{% endfor %}{{ ns.x == ns.y }}",
	    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}",
	    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x | replace('a', ns.x) %}{% endfor %}",
	    "{% for i in range(100000) %}{{ range(100000) | list | length }}{% endfor %}",
	    "{% for i in range(100000) %}{{ range(100000) | join | length }}{% endfor %}",
	    "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ 'b' in s }}{% endfor %}",
	    "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ s.count('aa') }}{% endfor %}",
	    "{{ '%1000000000d' % 1 }}",
	    "{{ '{:999999999}'.format(1) }}",
	    "{{ 'x'.center(999999999) }}",
	    "{{ 'x' | indent(999999999) }}",
	    "{{ 'x'.ljust(999999999) }}",
	    "{{ [1] | batch(999999999, 0) | list | length }}",
	    "{{ [1] | slice(999999999) | list | length }}",
	    "{{ {'a': 1} | tojson(indent=999999999) | length > 100 and 1 // 0 }}",
	    "{% macro m() %}{{ caller() }}{% endmacro %}{% macro k() %}{% call m() %}{{ k() }}{% endcall %}{% endmacro %}{{ k() }}",
	    "{% for i in range(99999) %}{% for j in [1, 2, 3] | sort %}{% for k in [3] | map('string') %}{% endfor %}{% endfor %}"
	    "{% endfor %}{{ range(99999) | map('string') | join | length // 0 }}",
	};
	for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
		hth_jinja_limits limits = {.max_steps = 300000};
		run r = render_with(sources[i], strlen(sources[i]), &limits, 32 << 20);
		if (r.status == HTH_OK || r.err.message[0] == '\0')
			test_fail(__FILE__, __LINE__, "%s ends with \"%.60s\"", sources[i], r.out.text ? r.out.text : "");
		hth_jinja_output_finish(&r.out);
	}
}

TEST(each_limit_says_that_it_was_reached)
{
	static const struct {
		const char *source;
		hth_jinja_limits limits;
		size_t memory;
		const char *says;
	} cases[] = {
	    {"{% for i in range(1000) %}{{ i }}{% endfor %}", {.max_steps = 500}, 1 << 20,
	     "line 1: the template did not finish within 500 steps"},
	    {"{% for i in range(1000) %}{{ i }}{% endfor %}", {.max_output = 100}, 1 << 20, "over its limit of 100 bytes"},
	    {"\n{{ range(90000) | list | length }}", {0}, 1 << 20, "line 2: the template needs more memory than it may use"},
	    {"{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(20) }}", {.max_depth = 10}, 1 << 20,
	     "calls are nested deeper than 10"},
	    {"{{ u * 100000 }}", {0}, 65536, "memory"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		run r = render_with(cases[i].source, strlen(cases[i].source), &cases[i].limits, cases[i].memory);
		CHECK_INT(r.status, HTH_TOO_LARGE);
		if (strstr(r.err.message, cases[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", r.err.message, cases[i].says);
		hth_jinja_output_finish(&r.out);
	}
	hth_jinja_limits enough = {.max_depth = 30};
	run r = render_with(cases[3].source, strlen(cases[3].source), &enough, 1 << 20);
	CHECK_INT(r.status, HTH_OK);
	hth_jinja_output_finish(&r.out);
}

/* head, then `middle` n times, then tail. */
static void check_refused_when_deep(const char *head, const char *middle, size_t n, const char *tail)
{
	size_t one = strlen(middle), h = strlen(head), len = h + one * n + strlen(tail);
	char *text = malloc(len + 1);
	memcpy(text, head, h);
	for (size_t i = 0; i < n; i++)
		memcpy(text + h + i * one, middle, one);
	memcpy(text + h + n * one, tail, strlen(tail) + 1);
	run r = render_with(text, len, NULL, 64 << 20);
	if (r.status == HTH_OK || strstr(r.err.message, "deep") == NULL)
		test_fail(__FILE__, __LINE__, "%s%s...: %s", head, middle, r.status ? r.err.message : "accepted");
	hth_jinja_output_finish(&r.out);
	free(text);
}

TEST(depth_is_refused_in_the_parser_and_the_tree)
{
	check_refused_when_deep("{{ ", "(", 100000, "");
	check_refused_when_deep("{{ ", "[", 100000, "");
	check_refused_when_deep("{{ ", "{1:", 100000, "");
	check_refused_when_deep("{{ ", "-", 100000, "1 }}");
	check_refused_when_deep("{{ ", "not ", 100000, "1 }}");
	check_refused_when_deep("{{ ", "1 if 1 else ", 80000, "1 }}");
	check_refused_when_deep("", "{% if 1 %}", 50000, "");
	check_refused_when_deep("", "{% for i in [1] %}", 50000, "");
	check_refused_when_deep("", "{% set x %}", 50000, "");
	check_refused_when_deep("{% for ", "(", 100000, "");
	check_refused_when_deep("{{ 1", " + 1", 50000, " }}");
	check_refused_when_deep("{{ 'a'", "|upper", 50000, " }}");
	check_refused_when_deep("{{ l", "[:]", 50000, " }}");
	check_refused_when_deep("{{ 1", " and 1", 50000, " }}");
	check_refused_when_deep("{% set x", "|upper", 50000, " %}a{% endset %}");
	check_refused_when_deep("{{ n", "(1)", 50000, " }}");
}

TEST(long_chains_that_are_not_deep_work)
{
	char *text = malloc(400000);
	size_t n = (size_t)sprintf(text, "{{ 'a'");
	for (int i = 0; i < 20000; i++)
		n += (size_t)sprintf(text + n, " ~ 'b'");
	n += (size_t)sprintf(text + n, " }}{%% if n == 0 %%}");
	for (int i = 1; i < 5000; i++)
		n += (size_t)sprintf(text + n, "{%% elif n == %d %%}", i % 3);
	n += (size_t)sprintf(text + n, "{%% else %%}!{%% endif %%}");
	run r = render_with(text, n, NULL, 64 << 20);
	CHECK_INT(r.status, HTH_OK);
	CHECK_INT(r.out.len, 20002);
	hth_jinja_output_finish(&r.out);
	free(text);
}

TEST(errors_name_the_line_and_the_column)
{
	static const struct {
		const char *source, *message;
	} cases[] = {
	    {"a\nb {{ x.y }}", "line 2: 'x' is undefined"},
	    {"\n\n{% for i in n %}{% endfor %}", "line 3: 'int' object is not iterable"},
	    {"é {{ 1 2 }}", "line 1, column 8: expected '}}', found a number"},
	    {"{% if 1 %}\n{{ 1 }}", "line 1, column 4: the block that begins here is never closed with {% endif %}"},
	    {"\n {% wat %}", "line 2, column 5: Encountered unknown tag 'wat'."},
	    {"{{ 'a' | wat }}", "line 1, column 10: No filter named 'wat'."},
	    {"{{ raise_exception('No ' ~ v) }}", "No two"},
	    {"\n{% include 'x' %}", "line 2, column 4: {% include %} is not supported in a chat template"},
	    {"{{ 9223372036854775807 + 1 }}", "line 1: the result does not fit a 64-bit integer"},
	    {"{{ 99999999999999999999 }}", "line 1, column 4: an integer does not fit 64 bits"},
	    {"{{ 2 ** 64 }}", "line 1: the result does not fit a 64-bit integer"},
	    {"{{ [].append(1) }}", "line 1: access to attribute 'append' of 'list' object is unsafe."},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		run r = render(cases[i].source);
		CHECK_INT(r.status, HTH_INVALID);
		CHECK_STR(r.err.message, cases[i].message);
		hth_jinja_output_finish(&r.out);
	}
	run r = render_with("a\xFF", 2, NULL, 1 << 20);
	CHECK_STR(r.err.message, "the template is not valid UTF-8 at byte 1");
	char *large = calloc(1, 2 << 20);
	memset(large, 'x', 2 << 20);
	r = render_with(large, 2 << 20, NULL, 1 << 20);
	CHECK_INT(r.status, HTH_TOO_LARGE);
	free(large);
}

TEST(input_that_is_no_utf8_passes_through_unharmed)
{
	hth_error err = HTH_ERROR_INIT;
	hth_jinja_template *t = NULL;
	hth_jinja_arena *a = NULL;
	hth_jinja_output out = {0};
	const char *source = "{{ x }}|{{ x | length }}|{{ x | upper }}|{{ x[0] }}|{{ x[::-1] | length }}|{{ x.split('b') | length }}";
	REQUIRE_OK(hth_jinja_compile(&t, source, strlen(source), &err));
	REQUIRE_OK(hth_jinja_arena_create(&a, 1 << 20, &err));
	hth_jinja_value *vars = hth_jinja_dict(a);
	set(a, vars, "x", hth_jinja_string(a, "\xFF\xC3 b\xE2\x82", 6));
	CHECK_OK(hth_jinja_render(t, a, vars, 0, NULL, &out, &err));
	CHECK_STR(out.text, "\xFF\xC3 b\xE2\x82|6|\xFF\xC3 B\xE2\x82|\xFF|6|2");
	hth_jinja_output_finish(&out);
	hth_jinja_arena_destroy(a);
	hth_jinja_template_destroy(t);
}

TEST(appending_in_a_loop_costs_what_is_appended)
{
	run r = render_with("{% set ns = namespace(t='') %}{% for i in range(20000) %}{% set ns.t = ns.t + 'abcdefghij' %}{% endfor %}"
			    "{{ ns.t | length }}", strlen("{% set ns = namespace(t='') %}{% for i in range(20000) %}{% set ns.t = ns.t + "
			                                  "'abcdefghij' %}{% endfor %}{{ ns.t | length }}"),
			    NULL, 16 << 20);
	CHECK_INT(r.status, HTH_OK);
	CHECK_STR(r.out.text, "200000");
	hth_jinja_output_finish(&r.out);
}

static void *render_often(void *arg)
{
	hth_jinja_template *t = arg;
	for (int i = 0; i < 50; i++) {
		hth_error err = HTH_ERROR_INIT;
		hth_jinja_arena *a = NULL;
		hth_jinja_output out = {0};
		if (hth_jinja_arena_create(&a, 1 << 20, &err) != HTH_OK)
			return "no arena";
		hth_jinja_value *vars = hth_jinja_dict(a);
		hth_jinja_dict_set(a, vars, "k", 1, hth_jinja_int(a, i));
		char want[64];
		snprintf(want, sizeof want, "<%d>%d,0", i, i * 2);
		bool good = hth_jinja_render(t, a, vars, 0, NULL, &out, &err) == HTH_OK && strcmp(out.text, want) == 0;
		hth_jinja_output_finish(&out);
		hth_jinja_arena_destroy(a);
		if (!good)
			return "another text";
	}
	return NULL;
}

TEST(one_template_serves_many_threads)
{
	const char *source = "{% macro m(x) %}<{{ x }}>{% endmacro %}{% set ns = namespace(a=k) %}{% set ns.a = ns.a + k %}"
			     "{{ m(k) }}{{ ns.a }},{{ 'abc'.find('a') }}";
	hth_error err = HTH_ERROR_INIT;
	hth_jinja_template *t = NULL;
	REQUIRE_OK(hth_jinja_compile(&t, source, strlen(source), &err));
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, render_often, t);
	for (int i = 0; i < 4; i++) {
		void *problem;
		pthread_join(threads[i], &problem);
		CHECK_STR(problem ? problem : "", "");
	}
	hth_jinja_template_destroy(t);
}

static hth_jinja_caps probe(const char *source)
{
	hth_jinja_caps caps = {0};
	hth_error err = HTH_ERROR_INIT;
	hth_jinja_template *t = NULL;
	if (hth_jinja_compile(&t, source, strlen(source), &err) == HTH_OK)
		hth_jinja_probe(t, &caps);
	hth_jinja_template_destroy(t);
	return caps;
}

TEST(probing_tells_what_a_template_can_do)
{
	hth_jinja_caps plain = probe("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
	CHECK(plain.system_role && !plain.tools && !plain.parallel_tool_calls && !plain.thinking);
	hth_jinja_caps strict = probe("{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
				      "{{ m.content }}{% endfor %}");
	CHECK(!strict.system_role);
	hth_jinja_caps tools = probe("{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% for c in "
				     "m.tool_calls %}{{ c.function.name }}{% endfor %}{% endfor %}<think>");
	CHECK(tools.tools && tools.parallel_tool_calls && tools.thinking);
	hth_jinja_caps one = probe("{% for m in messages %}{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}"
				   "{{ raise_exception('one') }}{% endif %}{{ m.tool_calls[0].function.name }}{% endif %}{% endfor %}");
	CHECK(!one.parallel_tool_calls);
	probe("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}");
}

TEST_MAIN()
