/* settings.c - what made models bring to their requests: parameters, a system message, messages in front, a template.
 *
 * A model's record (catalog/record.h) is looked up with every request, so what was found is kept by the name that was
 * asked, until the models' folder changes. The conversation's part goes to the runner as it is, which checks it where
 * templates live. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "api/made.h"
#include "base/clock.h"
#include "catalog/record.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum { KEPT_MAX = 256 };

typedef struct kept {
	char *asked;
	json_t *record;     /* NULL: the model has none */
	char *conversation; /* JSON for the runner, or NULL */
} kept;

struct hth_settings {
	hth_node *node;
	kept kept[KEPT_MAX];
	size_t n;
	struct timespec folder_time;
};

static void forget_all(hth_settings *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->kept[i].asked);
		free(s->kept[i].conversation);
		json_decref(s->kept[i].record);
	}
	s->n = 0;
}

static const kept *look_up(hth_settings *s, const char *asked)
{
	char folder[PATH_MAX + 16];
	struct stat st = {0};
	snprintf(folder, sizeof folder, "%s/models", s->node->config->home);
	(void)!stat(folder, &st);
	/* A clock tick that has not passed yet may hold a second change. */
	bool fresh = hth_clock_unix() - st.st_mtim.tv_sec < 2;
	if (fresh || s->n == KEPT_MAX || memcmp(&s->folder_time, &st.st_mtim, sizeof st.st_mtim) != 0)
		forget_all(s);
	s->folder_time = st.st_mtim;
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->kept[i].asked, asked) == 0)
			return &s->kept[i];
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	kept k = {.asked = strdup(asked)};
	if (k.asked == NULL || hth_router_catalog(s->node->router, &catalog, NULL) != HTH_OK) {
		free(k.asked);
		return NULL;
	}
	const hth_catalog_model *model = hth_catalog_find(&catalog, asked);
	if (model != NULL)
		k.record = hth_record_of(s->node->config->home, model);
	if (k.record != NULL)
		k.conversation = hth_made_conversation(k.record);
	s->kept[s->n] = k;
	return &s->kept[s->n++];
}

void hth_settings_prepare(void *ctx, hth_request *request)
{
	hth_node *node = ctx;
	if (hth_upstreams_match(node->upstreams, request->model))
		return;
	const kept *k = look_up(node->settings, request->model);
	if (k == NULL || k->record == NULL)
		return;
	hth_made_params(k->record, &request->params);
	if (k->conversation != NULL &&
	    (request->kind == HTH_CHAT || request->kind == HTH_TOKENIZE || request->kind == HTH_RENDER))
		request->input.settings_json = strdup(k->conversation);
}

const json_t *hth_settings_record(hth_node *node, const char *name)
{
	const kept *k = look_up(node->settings, name);
	return k != NULL ? k->record : NULL;
}

hth_status hth_settings_create(hth_settings **ret_settings, hth_node *node, hth_error *err)
{
	hth_settings *s = calloc(1, sizeof *s);
	if (s == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	s->node = node;
	*ret_settings = s;
	return HTH_OK;
}

void hth_settings_destroy(hth_settings *settings)
{
	if (settings == NULL)
		return;
	forget_all(settings);
	free(settings);
}
