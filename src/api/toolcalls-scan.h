/* toolcalls-scan.h - private to toolcalls: JSON read byte by byte, and calls written in other notations. */
#ifndef HTH_API_TOOLCALLS_SCAN_H
#define HTH_API_TOOLCALLS_SCAN_H

#include "json/json.h"

/* One JSON value, a byte at a time. */
typedef struct hth_json_step {
	uint8_t state;
	uint8_t depth;
	uint8_t hex, literal;
	const char *word;
	uint64_t objects; /* bit d: the bracket at depth d is { */
	char number;
} hth_json_step;

typedef enum hth_step_result {
	HTH_STEP_MORE,   /* the byte belongs to the value, which goes on */
	HTH_STEP_DONE,   /* the byte ends the value */
	HTH_STEP_BEFORE, /* the value ended before this byte (numbers end that way) */
	HTH_STEP_BAD     /* no JSON value goes on like this */
} hth_step_result;
/* A zeroed struct is ready for a value's first byte (white space before it is taken). */
hth_step_result hth_json_step_byte(hth_json_step *s, char c);

/* {"name": ..., "arguments": ...} read as it arrives. Offsets are into the text that hth_call_object_scan is given, which must
 * begin with the object and only ever grow. */
typedef enum hth_call_phase {
	HTH_CALL_START,
	HTH_CALL_KEY,    /* before a key or } */
	HTH_CALL_IN_KEY,
	HTH_CALL_COLON,
	HTH_CALL_VALUE,
	HTH_CALL_AFTER,  /* before , or } */
	HTH_CALL_DONE,
	HTH_CALL_BAD
} hth_call_phase;

typedef struct hth_call_object {
	hth_call_phase phase;
	size_t at;                   /* the next byte to read */
	size_t key, key_end;         /* with quotes */
	size_t value;
	hth_json_step step;
	size_t name, name_end;       /* a string with quotes; name_end 0: not seen */
	size_t args, args_end;       /* args_end 0: not ended; args 0: not seen */
	size_t inner;                /* {"function": {...}}: the inner object begins here */
	size_t first_key, first_key_end; /* for {"tool": {...}} */
	unsigned members;
} hth_call_object;
/* Reads on to the end of text, or to the object's end (phase DONE or BAD; at is then past it, or at the bad byte). */
void hth_call_object_scan(hth_call_object *o, const char *text, size_t len);

/* f(a=1, b="x") to a name and JSON arguments; reads one call at text, returns how many bytes it has, 0 when it is none. */
size_t hth_python_call(const char *text, size_t len, hth_buf *name, hth_buf *args);
/* call:f{k:<|"|>v<|"|>,n:1} likewise. */
size_t hth_gemma_call(const char *text, size_t len, hth_buf *name, hth_buf *args);

#endif
