/* prepare-settings.h - what a made model (catalog/record.h) puts around a conversation: messages in front, a template
 * of its own. */
#ifndef HTH_RUNNER_PREPARE_SETTINGS_H
#define HTH_RUNNER_PREPARE_SETTINGS_H

#include "engine/gotemplate/chat-template.h"
#include "json/json.h"

/* The last template that a request brought, compiled: requests of one made model bring the same one every time. */
typedef struct hth_given_template {
	char *source;
	hth_chat_template compiled;
	hth_jinja_caps caps;
} hth_given_template;
void hth_given_template_finish(hth_given_template *given);

/* settings: the JSON object {"system","messages","template"} of a request; every member may be absent. The system
 * message goes in front unless the conversation brings one, the messages after it. *tmpl and *caps are replaced by the given
 * template's, borrowed until the next call. HTH_INVALID: the template does not compile, with its place. */
HTH_MUST_USE hth_status hth_prepare_settings(hth_given_template *given, const char *settings, json_t *messages,
                                             hth_chat_template *tmpl, const hth_jinja_caps **caps, hth_error *err);

#endif
