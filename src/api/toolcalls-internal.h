/* toolcalls-internal.h - private to toolcalls: the parser's state, shared by the core (toolcalls.c), the bodies of calls
 * (toolcalls-bodies.c, toolcalls-params.c) and the table of families (toolcalls-formats.c).
 */
#ifndef HTH_API_TOOLCALLS_INTERNAL_H
#define HTH_API_TOOLCALLS_INTERNAL_H

#include "api/toolcalls-scan.h"
#include "api/toolcalls.h"
#include "base/rng.h"

typedef enum hth_tc_state {
	HTH_TC_CONTENT,
	HTH_TC_REASONING,
	HTH_TC_JSON_NEXT,   /* before a call object, or a list of them */
	HTH_TC_JSON_OBJECT,
	HTH_TC_ARGS,        /* one JSON object, the arguments of the call that has begun */
	HTH_TC_CLOSING,     /* white space and the marks that may follow a call */
	HTH_TC_FUNCTION,    /* before <function= */
	HTH_TC_FUNCTION_BODY,
	HTH_TC_GLM_NAME,
	HTH_TC_GLM_NEXT,
	HTH_TC_INVOKE_NEXT,
	HTH_TC_INVOKE_BODY,
	HTH_TC_VALUE,       /* the text of one parameter */
	HTH_TC_MISTRAL,
	HTH_TC_DEEPSEEK,
	HTH_TC_KIMI,
	HTH_TC_WHOLE,       /* Gemma, Python: read when its end is there */
	HTH_TC_PYTHON_TAG,
	HTH_TC_FUNCTIONARY_HEAD,
	HTH_TC_HARMONY_HEAD,
	HTH_TC_HARMONY_BODY,
	HTH_TC_STATE_COUNT
} hth_tc_state;

enum { HTH_TC_MARKS_MAX = 12, HTH_TC_CLOSERS_MAX = 4 };

/* What opens something in content. */
typedef struct hth_tc_mark {
	const char *text;
	hth_tc_state to;
	const char *closers[HTH_TC_CLOSERS_MAX]; /* what may follow the calls */
	bool strong; /* nobody writes this in prose: it ends reasoning too */
} hth_tc_mark;

typedef struct hth_tc_family {
	const char *name;
	hth_tc_mark marks[HTH_TC_MARKS_MAX];
	const char *noise[6]; /* marks around content that say nothing */
	bool bare;            /* a call object may stand alone at the start of the answer */
} hth_tc_family;
extern const hth_tc_family hth_tc_families[HTH_TOOLCALLS_FORMAT_COUNT];

struct hth_toolcalls {
	hth_toolcalls_style style;
	hth_toolcalls_options options;
	hth_toolcalls_sink sink;
	const hth_tc_family *family;
	hth_rng rng;
	hth_tc_state state;
	hth_buf text;   /* from the first byte not emitted */
	uint64_t base;  /* bytes fed before text */
	size_t at;      /* read up to here */
	size_t mark;    /* where the call (with its opening mark) begins: what a fallback gives back */
	bool ended, complete;
	bool said;      /* content other than white space, or a call, is out */
	bool drop_space; /* white space that comes next is between marks */
	bool no_bare;

	/* the call in progress */
	size_t count;      /* calls begun */
	bool started;      /* count - 1 is open */
	bool in_list, bare;
	unsigned in_section; /* calls of this opening mark */
	const char *const *closers;
	hth_tc_state after_closing;
	hth_call_object object;
	size_t object_at, sent; /* sent: arguments are out up to here, from object_at */
	hth_json_step step;
	size_t args_from;
	bool args_begun;

	/* parameters */
	char key[128];
	const char *value_close;
	hth_tc_state after_value;
	bool trim_newlines, value_begun, value_open, any_param;
	int as_text; /* 1: text, 0: JSON, -1: as the schema or the value says */
	char tool[128]; /* the name of the call in progress */
	const char *invoke_prefix;

	/* harmony */
	enum { HTH_TC_TO_CONTENT, HTH_TC_TO_REASONING, HTH_TC_TO_CALL } channel;
};

typedef struct hth_toolcalls tcp;

/* A step gives false when it needs more text (or, at the end, when it is through). */
typedef bool (*hth_tc_step)(tcp *p);
extern const hth_tc_step hth_tc_steps[HTH_TC_STATE_COUNT];

/* --- core --- */
void hth_tc_content(tcp *p, const char *text, size_t len);
void hth_tc_reasoning(tcp *p, const char *text, size_t len);
/* Begins a call; id NULL: made here. False when there are too many or the name is none (the caller falls back). */
bool hth_tc_begin(tcp *p, const char *name, size_t name_len, const char *id, size_t id_len);
void hth_tc_args(tcp *p, const char *text, size_t len);
/* Everything from p->mark up to `to` was no call after all: content. */
bool hth_tc_fall_back(tcp *p, size_t to);
/* To CLOSING with these marks, then on to `next`. */
bool hth_tc_close(tcp *p, const char *const *closers, hth_tc_state next);
/* Unread text. */
static inline const char *hth_tc_rest(const tcp *p, size_t *len)
{
	*len = p->text.len - p->at;
	return p->text.data ? p->text.data + p->at : "";
}
bool hth_tc_skip_space(tcp *p); /* false when the text ends there */
/* 1: the unread text begins with s (and p->at is moved past it), 0: it does not, -1: too little text to know. */
int hth_tc_take(tcp *p, const char *s);
/* Offset of needle in the text at or after from, SIZE_MAX when it is not there. */
size_t hth_tc_find(const tcp *p, size_t from, const char *needle);
/* How many bytes at the end of text may be the beginning of needle. */
size_t hth_tc_partial(const char *text, size_t len, const char *needle);
bool hth_tc_known_tool(const tcp *p, const char *name, size_t len);
/* The declared type of a tool's parameter is text: 1 yes, 0 no, -1 not known. */
int hth_tc_param_is_text(const tcp *p, const char *tool, const char *key);

/* --- bodies --- */
bool hth_tc_step_json_next(tcp *p);
bool hth_tc_step_json_object(tcp *p);
bool hth_tc_step_args(tcp *p);
bool hth_tc_step_mistral(tcp *p);
bool hth_tc_step_deepseek(tcp *p);
bool hth_tc_step_kimi(tcp *p);
bool hth_tc_step_whole(tcp *p);
bool hth_tc_step_python_tag(tcp *p);
bool hth_tc_step_functionary_head(tcp *p);
bool hth_tc_step_function(tcp *p);
bool hth_tc_step_function_body(tcp *p);
bool hth_tc_step_glm_name(tcp *p);
bool hth_tc_step_glm_next(tcp *p);
bool hth_tc_step_invoke_next(tcp *p);
bool hth_tc_step_invoke_body(tcp *p);
bool hth_tc_step_value(tcp *p);
bool hth_tc_step_harmony_head(tcp *p);
bool hth_tc_step_harmony_body(tcp *p);
/* To ARGS: the JSON object at p->at streams as the arguments of the call that has begun. */
void hth_tc_stream_args(tcp *p, const char *const *closers, hth_tc_state next);

#endif
