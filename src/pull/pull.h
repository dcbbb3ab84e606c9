/* pull.h - brings a model home: into $HEARTH_HOME/models, whole, checked and under a name that the catalog finds.
 *
 * Blocking; any thread (the command line calls it directly; hth_pull_hub runs it on a thread of the daemon's). A reference is
 *   a path            "./x.gguf", "/data/x.gguf", "~" is the shell's       copied (reflink, hard link, copy)
 *   an http(s) URL    to a GGUF file, or to the first of its shards
 *   Hugging Face      hf.co/OWNER/REPO[:QUANT or FILE.gguf], huggingface.co/...
 *   a registry        NAME[:TAG], NS/NAME[:TAG], HOST/NS/NAME[:TAG]        the manifest and blobs that Ollama's registries serve
 *
 * What arrives is written to models/.pull/FILE.partial beside a .state that says what it is, so that a cut, a crash or a cancel loses
 * nothing: the next pull asks for the rest (Range, If-Range) and starts over only where the server has something else by now.
 * Neighbours are asked first (options.neighbours): what the model is where one whom this home trusts says so, or two agree; its files, by
 * SHA-256, in any case. SHA-256 is checked wherever the source tells it; a file that does not match is removed. Names from outside are made
 * of letters, digits, '.', '-' and '_' only. The files appear in models/ by rename, when all of them are whole. Two pulls of one model,
 * also in two processes, download once: the second waits for the first. Where it came from, and what a registry sends along (template,
 * system, parameters, license), is kept in models/NAME.json.
 *
 * Every connection goes to the home's egress log. Hugging Face's token goes to its own host only.
 */
#ifndef HTH_PULL_PULL_H
#define HTH_PULL_PULL_H

#include "base/status.h"

#include <stdint.h>

enum { HTH_PULL_NAME_MAX = 160, HTH_PULL_FILES_MAX = 64, HTH_PULL_REFERENCE_MAX = 2048 };

#define HTH_PULL_REGISTRY "https://registry.ollama.ai"
#define HTH_PULL_HUGGINGFACE "https://huggingface.co"

typedef enum hth_pull_phase {
	HTH_PULL_ASKING,      /* what is there, and how large */
	HTH_PULL_WAITING,     /* somebody else is pulling it: their progress */
	HTH_PULL_DOWNLOADING, /* or copying */
	HTH_PULL_PAUSED,      /* cut off; tries again in a moment */
	HTH_PULL_VERIFYING,
	HTH_PULL_DONE
} hth_pull_phase;
const char *hth_pull_phase_name(hth_pull_phase phase); /* "asking", "waiting", "downloading", ... */

typedef struct hth_pull_progress {
	hth_pull_phase phase;
	const char *name, *file; /* the model; the file it is at, as it will be called here */
	uint64_t bytes, total;   /* of all files; total 0: not known */
	uint64_t file_bytes, file_total;
	double rate;             /* bytes a second, of the last few seconds; 0: not known */
	int64_t eta_s;           /* -1: not known */
	const char *sha256;      /* of the file, in hex; "" where the source does not say */
	const char *from;        /* neighbours that give it just now: "Elm, Oak"; "": the internet, or nobody */
} hth_pull_progress;

/* Whoever can ask this home's neighbours. Called on the pull's thread; blocking. */
typedef struct hth_pull_neighbours {
	void *ctx;
	/* What they offer under a reference, or else under a model's name here: [{"home","trusted","files":[{"bytes","sha256"}],"extras"}],
	 * the caller's to decref. HTH_NOT_FOUND: nobody can be asked. */
	hth_status (*find)(void *ctx, const char *reference, const char *name, bool (*cancelled)(void *ctx), void *cancel_ctx,
	                   struct json_t **ret_offers, hth_error *err);
	/* HTH_OK: all of a file is at models/.pull/FILE.blocks, checked; HTH_NOT_FOUND: nobody has it (any more); *ret_prefix > 0: it was
	 * cut to that many bytes, which are right; 0: it is as it was. tell: bytes that are here, and who gives. */
	hth_status (*fetch)(void *ctx, const char *file, uint64_t bytes, const char *sha256,
	                    void (*tell)(void *ctx, uint64_t bytes, const char *from), bool (*cancelled)(void *ctx), void *tell_ctx,
	                    uint64_t *ret_prefix, hth_error *err);
} hth_pull_neighbours;

typedef struct hth_pull_options {
	const char *home;
	const char *registry, *huggingface; /* base URLs; NULL: the real ones */
	const char *hf_token;               /* NULL or "": none */
	const char *name;                   /* keep it under this name; NULL: made from the reference */
	bool no_files;                      /* a reference from outside (the API): paths are refused */
	const hth_pull_neighbours *neighbours; /* asked before the internet; NULL: none */
	unsigned retry_ms;                  /* the first pause after a cut, doubling up to 64 times this; 0: 500 */
	unsigned stall_s;                   /* a connection silent for so long counts as cut; 0: 30 */
	void (*progress)(void *ctx, const hth_pull_progress *progress); /* ten times a second at most, and at each change of phase */
	bool (*cancelled)(void *ctx);
	void *ctx;
} hth_pull_options;

typedef struct hth_pull_result {
	char name[HTH_PULL_NAME_MAX + 8];
	uint64_t bytes;      /* of the model */
	uint64_t downloaded; /* of this call, over the network or copied */
	uint64_t next_door;  /* of those, from neighbours */
	bool already;        /* it was here, and is what the source has now */
} hth_pull_result;

/* HTH_NOT_FOUND: the source has no such model; HTH_CONFLICT: another model has the name; HTH_IO with the numbers: the disk has no room;
 * HTH_BAD_FORMAT: not GGUF, or a wrong checksum (nothing is left of it); HTH_GONE, HTH_TIMEOUT: cut more often than it is worth (what
 * came is kept for the next try); HTH_CANCELLED (the same). */
HTH_MUST_USE hth_status hth_pull(const char *reference, const hth_pull_options *options, hth_pull_result *ret_result, hth_error *err);

/* What the neighbours say of a model, before it is pulled. */
typedef struct hth_pull_offer {
	char homes[256];   /* that have it: "Elm, Oak" */
	uint64_t bytes;
	char license[160]; /* its first line; "" */
	/* a trusted neighbour says so, or two agree and nobody says otherwise; else the source is asked what the model is, and they for its
	 * files */
	bool believed;
} hth_pull_offer;
/* HTH_NOT_FOUND: none has it, or nobody can be asked. */
HTH_MUST_USE hth_status hth_pull_ask_neighbours(const char *reference, const hth_pull_options *options, hth_pull_offer *ret_offer,
                                                hth_error *err);

/* Whether a word means a model elsewhere rather than one that is here: an http(s) URL, or hf.co/ or huggingface.co/ in front. */
bool hth_pull_is_remote(const char *reference);

/* --- before pulling ------------------------------------------------------------------------------------------------- */

/* The beginnings of a model's files, which hold its metadata, fetched into unlinked files that have the whole files' sizes (and
 * holes instead of weights): what opens a model can open these. Untrusted bytes: to be read by a locked-in process. */
typedef struct hth_pull_head {
	char name[HTH_PULL_NAME_MAX + 8];
	uint64_t bytes;   /* of the whole model */
	uint64_t fetched; /* the limit that was fetched up to */
	int fds[HTH_PULL_FILES_MAX];
	size_t n_fds;
} hth_pull_head;
/* limit: bytes of the first file (of each later one a quarter). A caller that finds a header longer than that asks again with more:
 * head is then one that this function made before, and only what is missing is fetched. Zero *head at first. */
HTH_MUST_USE hth_status hth_pull_peek(const char *reference, const hth_pull_options *options, uint64_t limit, hth_pull_head *head,
                                      hth_error *err);
void hth_pull_head_close(hth_pull_head *head);

/* --- removing ------------------------------------------------------------------------------------------------------- */

/* Removes a model of this home (files and what is kept about it). HTH_NOT_FOUND; HTH_DENIED: it came with the program. A model that
 * is loaded stays readable to its runner. *ret_bytes (may be NULL): what was freed. */
HTH_MUST_USE hth_status hth_pull_remove(const char *home, const char *name, uint64_t *ret_bytes, hth_error *err);

#endif
