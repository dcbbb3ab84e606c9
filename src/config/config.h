/* config.h - every setting of the node: its default, $HEARTH_HOME/hearth.conf, the environment, the flag; the last one given wins.
 *
 * hearth.conf has lines `name = value`, '#' comments; an unknown name or a bad value is an error with file and line.
 * Lines `upstream.NAME = ...`, `draft.MODEL = SMALLER` and `privacy.MODEL = CLASS` belong to the file alone. Every setting has a flag
 * --name (with '-' for '_'). `hearth config` prints the effective ones with where each came from.
 */
#ifndef HTH_CONFIG_CONFIG_H
#define HTH_CONFIG_CONFIG_H

#include "base/status.h"

#include <stdint.h>

/* Where a value came from, in rising order of strength. */
typedef enum hth_config_source { HTH_FROM_DEFAULT, HTH_FROM_FILE, HTH_FROM_ENVIRONMENT, HTH_FROM_FLAG } hth_config_source;

enum { HTH_CONFIG_SETTINGS_MAX = 48, HTH_CONFIG_FILE_MAX = 64 * 1024 };

/* A line `upstream.NAME = URL [key=KEY] [privacy=CLASS]` of hearth.conf: a server of the OpenAI API that the owner runs. */
enum { HTH_CONFIG_UPSTREAMS_MAX = 16 };
typedef struct hth_config_upstream {
	char name[32], url[512], key[256], privacy[16]; /* privacy "": private on this machine, public elsewhere */
} hth_config_upstream;

/* A line `privacy.MODEL = CLASS`: of requests for this model that name no class. */
enum { HTH_CONFIG_CLASSES_MAX = 32 };
typedef struct hth_config_class {
	char model[256], privacy[16];
} hth_config_class;

/* A line `draft.MODEL = SMALLER`: the model that guesses ahead for another. */
enum { HTH_CONFIG_DRAFTS_MAX = 16 };
typedef struct hth_config_draft {
	char model[256], draft[256];
} hth_config_draft;

enum hth_config_lend { HTH_LEND_NOTHING = 0, HTH_LEND_NEIGHBOURS = 1, HTH_LEND_PUBLIC = 2 };

typedef struct hth_config {
	char home[4096];         /* $HEARTH_HOME, absolute */
	char listen_address[64]; /* "127.0.0.1" */
	uint16_t listen_port;    /* 4327; 0: any */
	char model[4096];        /* the model that answers when a request names none; "starter" */
	char api_key[256];       /* "" : none needed; demanded beyond loopback */
	char allowed_hosts[1024];   /* extra Host names, comma-separated */
	char allowed_origins[1024]; /* extra Origins of browsers, comma-separated */
	char embed_model[256];   /* gives documents their vectors; "": the one embedding model that is here; "off": none */
	uint32_t threads;        /* 0: one per core */
	uint32_t parallel;       /* requests at once per model; 0: chosen */
	uint32_t context;        /* tokens per request; 0: the model's, as memory allows */
	uint64_t memory;         /* bytes for all models; 0: 80% of the machine's */
	uint64_t spill;          /* bytes of each model's KV cache that may lie on disk; 0: none */
	uint32_t keep_alive_s;   /* unload an idle model after this; 0: at once; UINT32_MAX: never */
	uint32_t queue;          /* requests that may wait per model */
	uint32_t load_timeout_s; /* how long a request waits for its model to load */
	uint64_t max_body;       /* bytes of a request's body */
	uint32_t max_connections;
	uint32_t shutdown_s;     /* SIGTERM: how long running answers may take to finish */
	int log_level;           /* hth_log_level */
	char home_name[64];      /* how neighbours call this home; "": the machine's name */
	uint32_t pool_lend;      /* classes of requests for which neighbours may use this home's idle machine: bits of hth_config_lend */
	char pool_lend_hours[16]; /* when: "22-6"; "": at any hour */
	uint32_t pool_lend_tokens; /* that are made for others in a day; 0: no limit */
	uint32_t pool_watts;     /* of a busy core, where there is no meter; 0: not known */
	char fetch_hosts[2048];  /* hosts that POST /hearth/fetch may ask, comma-separated; "": off */
	uint64_t fetch_max;      /* bytes of a page */
	uint32_t fetch_timeout_s;
	char registry[512];      /* where `hearth pull NAME` asks: a base URL */
	char ca_file[4096];      /* PEM; "": the system's CAs alone */
	char huggingface[512];   /* where hf.co/... is: a base URL */
	uint32_t pool_share;     /* 0 or 1: models may be fetched by neighbours (node/next-door.h says which by whom) */
	uint64_t pool_rate;      /* bytes a second of model files to neighbours, and from them; 0: no limit */
	hth_config_upstream upstreams[HTH_CONFIG_UPSTREAMS_MAX];
	size_t n_upstreams;
	hth_config_draft drafts[HTH_CONFIG_DRAFTS_MAX];
	size_t n_drafts;
	/* "private", "neighbours" or "public": of requests without a key that name no class, of models without one of their own */
	char default_privacy[16];
	hth_config_class classes[HTH_CONFIG_CLASSES_MAX];
	size_t n_classes;
	hth_config_source source[HTH_CONFIG_SETTINGS_MAX]; /* of the i-th setting */
} hth_config;

/* Reads default, file and environment (HEARTH_NAME), then takes the flags it knows (--name VALUE or --name=VALUE, up to a
 * lone "--") out of argv, whose first element is skipped (*argc shrinks). An unknown flag stays. HTH_INVALID names the place: the
 * flag, the variable, or file and line. */
HTH_MUST_USE hth_status hth_config_load(hth_config *ret_config, int *argc, char **argv, hth_error *err);
size_t hth_config_count(void);
/* The i-th setting: its name ("keep_alive"), its value as text that the file would take (keys are shown as "(set)"), its source, one line
 * of help. Any ret_ may be NULL. */
void hth_config_describe(size_t i, const hth_config *config, const char **ret_name, char *value, size_t value_len,
                         hth_config_source *ret_source, const char **ret_help);
const char *hth_config_source_name(hth_config_source source); /* "default", "file", "environment", "flag" */
/* "listen" as a client reaches it: "http://127.0.0.1:4327", "http://[::1]:4327"; the any-address becomes loopback. */
void hth_config_url(const hth_config *config, char *out, size_t out_len);

#endif
