/* jinja-filters.h - private to jinja: the filters on sequences (jinja-sequences.c), for the table in jinja-filters.c. */
#ifndef HTH_ENGINE_JINJA_JINJA_FILTERS_H
#define HTH_ENGINE_JINJA_JINJA_FILTERS_H

#include "engine/jinja/jinja-run.h"

#define JJ_FILTER(name) jv *hth_jj_f_##name(jj_run *r, jv *v, jv **p, const jj_args *a)
JJ_FILTER(batch);
JJ_FILTER(dictsort);
JJ_FILTER(first);
JJ_FILTER(groupby);
JJ_FILTER(items);
JJ_FILTER(join);
JJ_FILTER(last);
JJ_FILTER(length);
JJ_FILTER(list);
JJ_FILTER(map);
JJ_FILTER(max);
JJ_FILTER(min);
JJ_FILTER(reject);
JJ_FILTER(rejectattr);
JJ_FILTER(reverse);
JJ_FILTER(select);
JJ_FILTER(selectattr);
JJ_FILTER(slice);
JJ_FILTER(sort);
JJ_FILTER(sum);
JJ_FILTER(unique);

#endif
