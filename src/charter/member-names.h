/* member-names.h - how the homes that this one has met are called, for whoever lists them without asking the node: $HEARTH_HOME/neighbours,
 * a line for each: its id and its name. Former members stay, as their receipts do. What is in the charter is what counts; this is only for
 * reading. */
#ifndef HTH_CHARTER_MEMBER_NAMES_H
#define HTH_CHARTER_MEMBER_NAMES_H

#include "charter/charter.h"

enum { HTH_NAMES_MAX = 4096 };

typedef struct hth_name {
	char id[HTH_HOME_ID_TEXT];
	char name[HTH_MEMBER_NAME_MAX];
} hth_name;
/* *ret_names is the caller's to free; none where there is no file, or no memory. Lines that are none are left out. */
size_t hth_names_load(const char *home, hth_name **ret_names);
/* The charter's members are called so from now on. Writes only what changed; failing is silent, since nothing depends on it. */
void hth_names_keep(const char *home, const hth_charter *charter);

#endif
