/* gotemplate-converse.c - a conversation through a Go template, as Ollama does it.
 *
 * Messages of one role that follow each other become one, with an empty line between (a tool's results stay apart). A template that names
 * .Messages gets all of them at once. An older one is written for a single exchange: it is rendered whenever a turn is complete, with
 * .System, .Prompt and .Response, and the last time only up to where the answer goes on. Source: Ollama's template/template.go.
 */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"

static jv *member(gt_run *r, jv *dict, const char *key)
{
	return dict->kind == JJ_DICT ? hth_jj_dict_get_str(r->arena, dict->dict, key, strlen(key)) : NULL;
}

static jv *text_of(gt_run *r, jv *dict, const char *key) { return hth_gt_see(&hth_gt_string, member(r, dict, key)).v; }

static bool set(gt_run *r, hth_jinja_value *dict, const char *key, jv *value)
{
	return value != NULL && hth_jinja_dict_set(r->arena, dict, key, strlen(key), value);
}

/* a, an empty line, b */
static jv *joined(gt_run *r, jv *a, jv *b)
{
	jv *gap = hth_jj_str(r->arena, "\n\n"), *head = gap != NULL ? hth_jj_concat(r->arena, a, gap) : NULL;
	if (head == NULL || !hth_gt_charge_bytes(r, b->s.len))
		return NULL;
	return hth_jj_concat(r->arena, head, b);
}

static hth_jinja_value *copy_of(gt_run *r, jv *message)
{
	hth_jinja_value *copy = hth_jinja_dict(r->arena);
	for (uint32_t i = 0; copy != NULL && i < message->dict->n; i++)
		if (message->dict->entries[i].key != NULL &&
		    !hth_jj_dict_put(r->arena, copy->dict, message->dict->entries[i].key, message->dict->entries[i].value))
			return NULL;
	return copy;
}

static bool has_role(gt_run *r, jv *message, const char *role) { return hth_jj_is_str(text_of(r, message, "role"), role); }

static jv *collate(gt_run *r, jv *messages, jv **ret_system)
{
	hth_jinja_value *out = hth_jinja_list(r->arena), *last = NULL;
	jv *system = NULL;
	for (uint32_t i = 0; out != NULL && i < messages->list.n; i++) {
		jv *m = messages->list.items[i];
		if (m->kind != JJ_DICT || !hth_gt_charge(r, 1))
			continue;
		jv *content = text_of(r, m, "content");
		if (has_role(r, m, "system") && (system = system != NULL ? joined(r, system, content) : content) == NULL)
			return NULL;
		if (last != NULL && !has_role(r, m, "tool") && hth_jj_str_cmp(text_of(r, last, "role"), text_of(r, m, "role")) == 0) {
			if (!set(r, last, "content", joined(r, text_of(r, last, "content"), content)))
				return NULL;
			continue;
		}
		last = copy_of(r, m);
		if (!hth_jj_append(r->arena, out, last))
			return NULL;
	}
	*ret_system = system != NULL ? system : hth_jj_str(r->arena, "");
	return *ret_system != NULL ? out : NULL;
}

/* The data of one rendering, with what every one has: whether the answer shall be thought about. */
static hth_jinja_value *new_data(gt_run *r, jv *vars)
{
	jv *think = member(r, vars, "enable_thinking");
	bool is_set = think != NULL && think->kind == JJ_BOOL;
	hth_jinja_value *data = hth_jinja_dict(r->arena);
	bool ok = data != NULL && set(r, data, "Think", hth_jinja_bool(r->arena, is_set && think->flag)) &&
		  set(r, data, "IsThinkSet", hth_jinja_bool(r->arena, is_set)) &&
		  set(r, data, "ThinkLevel", text_of(r, vars, "reasoning_effort")) &&
		  set(r, data, "Response", hth_jj_str(r->arena, ""));
	return ok ? data : NULL;
}

static bool run(gt_run *r, jv *data, bool last)
{
	r->cut = last ? r->tmpl->cut : UINT32_MAX;
	return hth_gt_execute(r, r->tmpl->definitions[0].body, (gt_value){&hth_gt_root, data});
}

static bool whole(gt_run *r, jv *vars, jv *messages, jv *system)
{
	hth_jinja_value *data = new_data(r, vars);
	jv *tools = member(r, vars, "tools");
	return data != NULL && set(r, data, "System", system) && set(r, data, "Messages", messages) &&
	       (tools == NULL || set(r, data, "Tools", tools)) && run(r, data, false);
}

typedef struct turn {
	jv *system, *prompt, *response;
} turn;

static bool finish_turn(gt_run *r, jv *vars, turn *t, bool last)
{
	hth_jinja_value *data = new_data(r, vars);
	bool ok = data != NULL && set(r, data, "System", t->system) && set(r, data, "Prompt", t->prompt) &&
	    set(r, data, "Response", t->response) &&
		  run(r, data, last);
	*t = (turn){hth_jj_str(r->arena, ""), hth_jj_str(r->arena, ""), hth_jj_str(r->arena, "")};
	return ok && t->response != NULL;
}

static bool by_turns(gt_run *r, jv *vars, jv *messages)
{
	jv *nothing = hth_jj_str(r->arena, "");
	turn t = {nothing, nothing, nothing};
	bool ok = nothing != NULL;
	for (uint32_t i = 0; ok && i < messages->list.n; i++) {
		jv *m = messages->list.items[i], *content = text_of(r, m, "content");
		if (has_role(r, m, "system")) {
			if (t.prompt->s.len > 0 || t.response->s.len > 0)
				ok = finish_turn(r, vars, &t, false);
			t.system = content;
		} else if (has_role(r, m, "user")) {
			if (t.response->s.len > 0)
				ok = finish_turn(r, vars, &t, false);
			t.prompt = content;
		} else if (has_role(r, m, "assistant")) {
			t.response = content;
		}
	}
	return ok && finish_turn(r, vars, &t, true);
}

/* Filling in the middle: the last message is what stands before. */
static bool between(gt_run *r, jv *vars, jv *messages, jv *suffix)
{
	hth_jinja_value *data = new_data(r, vars);
	jv *last = messages->list.n > 0 ? messages->list.items[messages->list.n - 1] : NULL;
	return data != NULL && last != NULL && set(r, data, "Prompt", text_of(r, last, "content")) && set(r, data, "Suffix", suffix) &&
	    run(r, data, false);
}

bool hth_gt_converse(gt_run *r, jv *vars)
{
	jv *messages = member(r, vars, "messages"), *system, *suffix = member(r, vars, "suffix");
	if (messages == NULL || messages->kind != JJ_LIST)
		return hth_gt_fail(r, "messages is no list") != NULL;
	jv *collated = collate(r, messages, &system);
	if (collated == NULL)
		return false;
	if (suffix != NULL && suffix->kind == JJ_STRING && suffix->s.len > 0)
		return between(r, vars, collated, suffix);
	return r->tmpl->names_messages ? whole(r, vars, collated, system) : by_turns(r, vars, collated);
}
