/* chat-template.h - a chat template in either of the languages that models come with: Jinja (in GGUF files) or Go's (from Ollama's registry
 * and Modelfiles). What is common to both: compile, render, what it can do. */
#ifndef HTH_ENGINE_GOTEMPLATE_CHAT_TEMPLATE_H
#define HTH_ENGINE_GOTEMPLATE_CHAT_TEMPLATE_H

#include "engine/gotemplate/gotemplate.h"

/* One of the two, or none. A plain pair: whoever compiled it finishes it, others hold a copy. */
typedef struct hth_chat_template {
	const hth_jinja_template *jinja;
	const hth_gotemplate *go;
} hth_chat_template;

/* Which language a source is in, by its first words that tell. */
bool hth_chat_template_is_jinja(const char *source, size_t len);
/* Compiles in the language that it is in. Errors as hth_jinja_compile. */
HTH_MUST_USE hth_status hth_chat_template_compile(hth_chat_template *ret_template, const char *source, size_t len, hth_error *err);
void hth_chat_template_finish(hth_chat_template *tmpl);
static inline bool hth_chat_template_is_none(hth_chat_template tmpl) { return tmpl.jinja == NULL && tmpl.go == NULL; }

/* As hth_jinja_source, hth_jinja_render, hth_jinja_probe; vars are those of a Jinja chat template for both. */
const char *hth_chat_template_source(hth_chat_template tmpl, size_t *ret_len);
HTH_MUST_USE hth_status hth_chat_template_render(hth_chat_template tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars,
                                                 int64_t now_unix, const hth_jinja_limits *limits, hth_jinja_output *ret_output,
                                                 hth_error *err);
void hth_chat_template_probe(hth_chat_template tmpl, hth_jinja_caps *ret_caps);

#endif
