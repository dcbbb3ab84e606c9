/* route-internal.h - what route.c (requests that wait for their model) and residency.c (which models are loaded) share. */
#ifndef HTH_ROUTE_ROUTE_INTERNAL_H
#define HTH_ROUTE_ROUTE_INTERNAL_H

#include "route/route.h"

/* A request that waits for its model to load. */
typedef struct hth_waiter {
	struct hth_resident *resident;
	hth_request *request; /* a reference */
	hth_router_fn fn;
	void *ctx;
	uint64_t since_ms, until_ms;
	struct hth_waiter *next;
} hth_waiter;

/* One model that is loaded, loading, waited for, or in a pause after it failed. */
typedef struct hth_resident {
	hth_router *router;
	hth_catalog_model model;
	uint32_t context;       /* what it is loaded for; 0: as the model and memory allow */
	hth_router_state state; /* meaningful while runner != NULL or waiters != NULL */
	hth_runner *runner;     /* NULL: not loaded */
	hth_waiter *waiters;    /* in order of arrival */
	size_t n_waiters;
	uint64_t planned_bytes; /* promised to the runner, then what it said that it uses */
	uint64_t started_ms, ready_ms, used_ms;
	uint64_t load_ms;       /* that its last loading took; 0: not known */
	int64_t loaded_unix;
	uint64_t keep_alive_ms; /* UINT64_MAX: for ever */
	float progress;
	bool stop_when_idle;    /* somebody asked, or another model needs the room */
	unsigned failures;      /* ends in a row that nobody asked for */
	uint64_t not_before_ms; /* the pause after them */
	hth_error last_error;
	struct hth_resident *next;
} hth_resident;

struct hth_router {
	hth_loop *loop;
	hth_router_options options;
	char *home, *program, *default_name;
	hth_catalog_model default_file; /* name NULL unless default_model is a path */
	uint64_t budget;
	uint64_t load_rate;     /* bytes a second, of the last model that loaded; 0: none has */
	hth_resident *residents;
	hth_timer *timer;
	hth_runner **dead; /* exited, to be destroyed outside their own callbacks */
	size_t n_dead;
	bool destroying;
};

/* residency.c */
/* The one that serves the name: its own, or one that has the same weights and is loaded for at least that context (0: what the node
 * is set to; HTH_ANY_CONTEXT: whatever). *ret_name (HTH_MODEL_NAME_MAX bytes) is the catalog's name for what was asked. */
enum { HTH_ANY_CONTEXT = UINT32_MAX };
HTH_MUST_USE hth_status hth_resident_find(hth_router *router, const char *name, uint32_t context, hth_resident **ret_resident,
                                          char *ret_name, hth_error *err);
/* Loads it now if there is room, or makes room; HTH_OK also when it has to wait for that. */
HTH_MUST_USE hth_status hth_resident_load(hth_resident *resident, hth_error *err);
void hth_resident_stop(hth_resident *resident);
/* Seconds until it is loaded, as far as can be said: at least 1. */
unsigned hth_resident_eta_s(const hth_resident *resident);
size_t hth_resident_active(const hth_resident *resident);
/* Does what is due (unloading, giving up waits) and sets the timer for what is next. */
void hth_router_tick(void *router);
void hth_residents_destroy(hth_router *router);

/* route.c */
void hth_waiters_place(hth_resident *resident);                         /* the model is ready */
void hth_waiters_refuse(hth_resident *resident, const hth_error *error); /* it will not be */
void hth_waiters_expire(hth_resident *resident, uint64_t now_ms);

#endif
