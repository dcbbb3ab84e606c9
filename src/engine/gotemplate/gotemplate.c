/* gotemplate.c - the front door: compile, render, and the bounds that every rendering keeps. A rendering owns nothing but its output. */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { TREE_MAX = 32 << 20, SOURCE_MAX = 4 << 20, OUTPUT_DEFAULT = 16 << 20, STEPS_DEFAULT = 10 * 1000 * 1000, DEPTH_DEFAULT = 100,
       DEPTH_MOST = 1000, LEVELS_PER_CALL = 32 };

hth_status hth_gotemplate_compile(hth_gotemplate **ret_template, const char *source, size_t len, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	hth_jinja_arena *arena = NULL;
	if (len > SOURCE_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the template has %zu bytes, over %d", len, SOURCE_MAX);
	HTH_TRY(hth_jinja_arena_create(&arena, TREE_MAX, err));
	hth_gotemplate *t = hth_jj_alloc(arena, sizeof *t);
	char *copy = hth_jj_alloc(arena, len + 1);
	if (t == NULL || copy == NULL) {
		hth_jinja_arena_destroy(arena);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to compile a template");
	}
	if (len > 0)
		memcpy(copy, source, len);
	*t = (hth_gotemplate){.arena = arena, .source = copy, .source_len = len};
	if (!hth_gt_parse(t, &own)) {
		hth_jinja_arena_destroy(arena);
		if (err != NULL)
			*err = own;
		return own.status;
	}
	*ret_template = t;
	return HTH_OK;
}

void hth_gotemplate_destroy(hth_gotemplate *tmpl)
{
	if (tmpl != NULL)
		hth_jinja_arena_destroy(tmpl->arena);
}

const char *hth_gotemplate_source(const hth_gotemplate *tmpl, size_t *ret_len)
{
	*ret_len = tmpl->source_len;
	return tmpl->source;
}

bool hth_gotemplate_takes_suffix(const hth_gotemplate *tmpl) { return tmpl->names_suffix; }

void *hth_gt_fail(gt_run *r, const char *fmt, ...)
{
	char what[HTH_ERROR_MAX];
	if (r->failed)
		return NULL;
	r->failed = true;
	va_list args;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	hth_fail(r->err, HTH_INVALID, "line %u: %s", r->line, what);
	return NULL;
}

static bool out_of(gt_run *r, const char *what, unsigned long long limit)
{
	if (!r->failed)
		hth_fail(r->err, HTH_TOO_LARGE, "line %u: the template needs more than %llu %s", r->line, limit, what);
	r->failed = true;
	return false;
}

bool hth_gt_charge(gt_run *r, uint64_t cost)
{
	r->steps += cost;
	return r->steps <= r->max_steps || out_of(r, "steps", r->max_steps);
}

bool hth_gt_charge_bytes(gt_run *r, uint64_t bytes) { return bytes < 256 || hth_gt_charge(r, bytes / 256); }

bool hth_gt_deeper(gt_run *r)
{
	if (r->level >= r->max_level)
		return out_of(r, "levels of blocks and values inside each other", r->max_level);
	r->level++;
	return true;
}

hth_status hth_gotemplate_render(const hth_gotemplate *tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars, int64_t now_unix,
				 const hth_jinja_limits *limits, hth_jinja_output *ret_output, hth_error *err)
{
	static const hth_jinja_limits defaults = {0};
	hth_error own = HTH_ERROR_INIT;
	if (limits == NULL)
		limits = &defaults;
	if (vars == NULL || vars->kind != JJ_DICT)
		return hth_fail(err, HTH_INVALID, "a template's data must be a dict");
	jj_builder out = hth_jj_builder(arena);
	out.max = limits->max_output ? limits->max_output : OUTPUT_DEFAULT;
	unsigned depth = limits->max_depth ? HTH_MIN(limits->max_depth, (unsigned)DEPTH_MOST) : DEPTH_DEFAULT;
	gt_run r = {.tmpl = tmpl,
		    .arena = arena,
		    .out = &out,
		    .err = &own,
		    .line = 1,
		    .max_steps = limits->max_steps ? limits->max_steps : STEPS_DEFAULT,
		    .max_calls = depth,
		    .max_level = depth * LEVELS_PER_CALL,
		    .cut = tmpl->end,
		    .now = now_unix};
	bool conversation = hth_jj_dict_get_str(arena, vars->dict, "messages", 8) != NULL;
	bool ok = conversation ? hth_gt_converse(&r, vars) : hth_gt_execute(&r, tmpl->definitions[0].body, (gt_value){&hth_gt_any, vars});
	if (ok && !out.failed && !out.too_long)
		return hth_jj_give_output(&out, ret_output, err);
	if (!r.failed && out.too_long)
		hth_fail(&own, HTH_TOO_LARGE, "the rendered template is over its limit of %zu bytes", out.max);
	else if (!r.failed)
		hth_fail(&own, HTH_TOO_LARGE, "line %u: the template needs more memory than it may use", r.line);
	if (err != NULL)
		*err = own;
	return own.status;
}
