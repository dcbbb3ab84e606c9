/* jinja.c - the interpreter's front door: compile, render, and the bounds that every rendering keeps.
 *
 * A rendering owns nothing but its output: values are the arena's, the tree is the template's. Steps, recursion, memory and output
 * are counted; running out of any of them ends the rendering with an error that says which.
 */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"

#include <stdio.h>

enum { OUTPUT_DEFAULT = 16 * 1024 * 1024, STEPS_DEFAULT = 10 * 1000 * 1000, DEPTH_DEFAULT = 200, DEPTH_MOST = 1000 };

void hth_jj_note_plain(jj_run *r, hth_status status, const char *fmt, ...)
{
	if (r->failed)
		return;
	r->failed = true;
	va_list args;
	va_start(args, fmt);
	hth_failv(r->err, status, fmt, args);
	va_end(args);
}

void hth_jj_note(jj_run *r, const char *fmt, ...)
{
	char what[HTH_ERROR_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	hth_jj_note_plain(r, HTH_INVALID, "line %u: %s", r->at ? r->at->line : 1, what);
}

bool hth_jj_charge(jj_run *r, uint64_t cost)
{
	r->steps += cost;
	if (r->steps <= r->max_steps)
		return true;
	return hth_jj_fail_plain(r, HTH_TOO_LARGE, "line %u: the template did not finish within %llu steps",
				 r->at ? r->at->line : 1, (unsigned long long)r->max_steps);
}

bool hth_jj_charge_bytes(jj_run *r, uint64_t bytes) { return bytes < 256 || hth_jj_charge(r, bytes / 256); }

bool hth_jj_deeper(jj_run *r)
{
	if (r->level >= r->max_level)
		return hth_jj_fail_plain(r, HTH_TOO_LARGE, "line %u: expressions, blocks and calls are nested deeper than %u",
					 r->at ? r->at->line : 1, r->max_level);
	r->level++;
	return true;
}

void hth_jj_note_undefined(jj_run *r, jv *undefined)
{
	hth_jj_note(r, "%.*s", (int)HTH_MIN(undefined->text->s.len, 400u), undefined->text->s.data);
}

jv *hth_jj_undefined(jj_run *r, const char *fmt, ...)
{
	char text[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	hth_jinja_value *v = hth_jj_new(r->arena, JJ_UNDEFINED);
	if (v == NULL)
		return NULL;
	v->text = hth_jinja_trusted_string(r->arena, text, strlen(text));
	return v->text ? v : NULL;
}

const char *hth_jinja_source(const hth_jinja_template *tmpl, size_t *ret_len)
{
	*ret_len = tmpl->source_len;
	return tmpl->source;
}

hth_status hth_jinja_compile(hth_jinja_template **ret_template, const char *source, size_t len, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	hth_jinja_arena *arena = NULL;
	HTH_TRY(hth_jinja_arena_create(&arena, JJ_TREE_MAX, err));
	jj_parser *p = calloc(1, sizeof *p);
	hth_jinja_template *t = hth_jj_alloc(arena, sizeof *t);
	hth_status status = HTH_NO_MEMORY;
	if (p == NULL || t == NULL || (p->names = hth_jinja_dict(arena)) == NULL) {
		hth_fail(&own, HTH_NO_MEMORY, "no memory to compile the template");
		goto fail;
	}
	t->arena = arena;
	p->tmpl = t;
	p->err = &own;
	status = hth_jj_lexer_init(&p->lx, arena, source, len, &own);
	if (status != HTH_OK)
		goto fail;
	t->source = p->lx.text;
	t->source_len = p->lx.len;
	if (hth_jj_name_id(p, "loop", 4, &t->id_loop) && hth_jj_name_id(p, "caller", 6, &t->id_caller) &&
	    hth_jj_name_id(p, "varargs", 7, &t->id_varargs) && hth_jj_name_id(p, "kwargs", 6, &t->id_kwargs))
		t->body = hth_jj_parse_template(p);
	if (t->body != NULL) {
		t->n_names = p->names->dict->n;
		t->names = hth_jj_alloc(arena, t->n_names * sizeof *t->names);
	}
	if (t->names == NULL) {
		if (own.status == HTH_OK)
			hth_fail(&own, HTH_TOO_LARGE, "the template is too large to compile");
		status = own.status;
		goto fail;
	}
	for (uint32_t i = 0; i < t->n_names; i++)
		t->names[i] = p->names->dict->entries[i].key;
	free(p);
	*ret_template = t;
	return HTH_OK;
fail:
	free(p);
	hth_jinja_arena_destroy(arena);
	if (err != NULL)
		*err = own;
	return status;
}

void hth_jinja_template_destroy(hth_jinja_template *tmpl)
{
	if (tmpl != NULL)
		hth_jinja_arena_destroy(tmpl->arena);
}

void hth_jinja_output_finish(hth_jinja_output *output)
{
	if (output == NULL)
		return;
	free(output->text);
	free(output->input);
	*output = (hth_jinja_output){0};
}

hth_status hth_jj_give_output(const jj_builder *b, hth_jinja_output *ret_output, hth_error *err)
{
	hth_jinja_output out = {.len = b->len, .n_input = b->n_marks};
	out.text = malloc(out.len + 1);
	out.input = hth_alloc_array(out.n_input, sizeof *out.input);
	if (out.text == NULL || out.input == NULL) {
		hth_jinja_output_finish(&out);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the rendered template");
	}
	if (out.len > 0)
		memcpy(out.text, b->data, out.len);
	out.text[out.len] = '\0';
	for (size_t i = 0; i < out.n_input; i++) {
		out.input[i].begin = b->marks[i].begin;
		out.input[i].end = b->marks[i].end;
	}
	*ret_output = out;
	return HTH_OK;
}

hth_status hth_jinja_render(const hth_jinja_template *tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars,
			    int64_t now_unix, const hth_jinja_limits *limits, hth_jinja_output *ret_output, hth_error *err)
{
	static const hth_jinja_limits defaults = {0};
	hth_error own = HTH_ERROR_INIT;
	if (limits == NULL)
		limits = &defaults;
	if (vars == NULL || vars->kind != JJ_DICT)
		return hth_fail(err, HTH_INVALID, "a template's variables must be a dict");
	jj_builder out = hth_jj_builder(arena);
	out.max = limits->max_output ? limits->max_output : OUTPUT_DEFAULT;
	unsigned depth = limits->max_depth ? HTH_MIN(limits->max_depth, (unsigned)DEPTH_MOST) : DEPTH_DEFAULT;
	jj_run r = {.arena = arena,
		    .tmpl = tmpl,
		    .vars = vars,
		    .out = &out,
		    .err = &own,
		    .max_steps = limits->max_steps ? limits->max_steps : STEPS_DEFAULT,
		    .max_calls = depth,
		    .max_level = depth * JJ_LEVELS_PER_CALL,
		    .now = now_unix};
	r.globals = hth_jj_alloc(arena, tmpl->n_names * sizeof *r.globals);
	r.scope = hth_jj_alloc(arena, sizeof *r.scope);
	jj_flow flow = r.globals != NULL && r.scope != NULL ? hth_jj_exec(&r, tmpl->body) : JJ_FAILED;
	if (flow != JJ_FAILED && !out.failed && !out.too_long)
		return hth_jj_give_output(&out, ret_output, err);
	if (!r.failed && out.too_long)
		hth_fail(&own, HTH_TOO_LARGE, "the rendered template is over its limit of %zu bytes", out.max);
	else if (!r.failed)
		hth_fail(&own, HTH_TOO_LARGE, "line %u: the template needs more memory than it may use",
			 r.at ? r.at->line : 1);
	if (err != NULL)
		*err = own;
	return own.status;
}
