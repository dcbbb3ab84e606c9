/* member-names.c - see member-names.h. Any thread that may write to the home's folder. */
#include "charter/member-names.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = HTH_HOME_ID_TEXT + HTH_MEMBER_NAME_MAX + 8, PATH_MAX_BYTES = 4200 };

static void path_of(char out[PATH_MAX_BYTES], const char *home, const char *end)
{
	snprintf(out, PATH_MAX_BYTES, "%s/neighbours%s", home, end);
}

size_t hth_names_load(const char *home, hth_name **ret_names)
{
	char path[PATH_MAX_BYTES], line[LINE_MAX_BYTES];
	size_t n = 0, cap = 0;
	hth_name *names = NULL;
	*ret_names = NULL;
	path_of(path, home, "");
	FILE *f = fopen(path, "re");
	while (f != NULL && n < HTH_NAMES_MAX && fgets(line, sizeof line, f) != NULL) {
		size_t len = strcspn(line, "\n");
		line[len] = '\0';
		if (len <= HTH_HOME_ID_TEXT || strspn(line, "0123456789abcdef") != HTH_HOME_ID_TEXT - 1 ||
		    line[HTH_HOME_ID_TEXT - 1] != ' ' || !hth_canon_is_text(line + HTH_HOME_ID_TEXT, len - HTH_HOME_ID_TEXT,
		                                                            HTH_MEMBER_NAME_MAX))
			continue;
		if (n == cap) {
			hth_name *more = realloc(names, (cap = cap ? 2 * cap : 16) * sizeof *names);
			if (more == NULL)
				break;
			names = more;
		}
		line[HTH_HOME_ID_TEXT - 1] = '\0';
		memcpy(names[n].id, line, HTH_HOME_ID_TEXT);
		snprintf(names[n].name, sizeof names[n].name, "%.63s", line + HTH_HOME_ID_TEXT);
		n++;
	}
	if (f != NULL)
		fclose(f);
	*ret_names = names;
	return n;
}

void hth_names_keep(const char *home, const hth_charter *charter)
{
	char path[PATH_MAX_BYTES], next[PATH_MAX_BYTES];
	hth_name *old = NULL;
	size_t n_old = hth_names_load(home, &old), n = charter != NULL ? hth_charter_member_count(charter) : 0;
	hth_name *all = hth_alloc_array(n_old + n, sizeof *all);
	bool changed = false;
	if (all != NULL && n_old > 0)
		memcpy(all, old, n_old * sizeof *all);
	free(old);
	for (size_t i = 0; all != NULL && i < n; i++) {
		const hth_member *m = hth_charter_member(charter, i);
		hth_name name = {0};
		size_t k = 0;
		hth_home_id_text(&m->card.id, name.id);
		snprintf(name.name, sizeof name.name, "%s", m->name);
		while (k < n_old && strcmp(all[k].id, name.id) != 0)
			k++;
		changed |= k == n_old || strcmp(all[k].name, name.name) != 0;
		n_old += k == n_old;
		all[k] = name;
	}
	path_of(path, home, "");
	path_of(next, home, ".new");
	FILE *f = changed ? fopen(next, "we") : NULL;
	for (size_t i = 0; f != NULL && i < n_old; i++)
		fprintf(f, "%s %s\n", all[i].id, all[i].name);
	if (f != NULL && fclose(f) == 0)
		(void)!rename(next, path);
	free(all);
}
