/* template-world.h - what both template fuzzers render over, and what must hold of every rendering. */
#ifndef HTH_FUZZ_TEMPLATE_WORLD_H
#define HTH_FUZZ_TEMPLATE_WORLD_H

#include "engine/jinja/jinja.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WORLD_ARENA_BYTES = 4 << 20, WORLD_UNIX = 1767323045 };
static const hth_jinja_limits world_limits = {.max_steps = 20000, .max_output = 100000, .max_depth = 50};

static const hth_jinja_value *str(hth_jinja_arena *a, const char *s) { return hth_jinja_string(a, s, strlen(s)); }

static void set(hth_jinja_arena *a, hth_jinja_value *d, const char *key, const hth_jinja_value *v)
{
	if (!hth_jinja_dict_set(a, d, key, strlen(key), v))
		abort();
}

static hth_jinja_value *message(hth_jinja_arena *a, const char *role, const char *content)
{
	hth_jinja_value *m = hth_jinja_dict(a);
	set(a, m, "role", str(a, role));
	set(a, m, "content", str(a, content));
	return m;
}

/* A number of each kind, and none. */
static hth_jinja_value *arguments(hth_jinja_arena *a)
{
	hth_jinja_value *args = hth_jinja_dict(a);
	set(a, args, "a", hth_jinja_int(a, 7));
	set(a, args, "b", hth_jinja_float(a, 2.5));
	set(a, args, "c", hth_jinja_none(a));
	return args;
}

/* Marks are sorted, apart and inside the text; what failed says why and leaves nothing. */
static void check_rendered(hth_status status, hth_jinja_output *out, const hth_error *err)
{
	size_t end = 0;
	for (size_t i = 0; status == HTH_OK && i < out->n_input; i++) {
		if (out->input[i].begin >= out->input[i].end || out->input[i].end > out->len || (i > 0 && out->input[i].begin <= end))
			abort();
		end = out->input[i].end;
	}
	if (status != HTH_OK && (out->text != NULL || err->message[0] == '\0'))
		abort();
	hth_jinja_output_finish(out);
}

#endif
