/* framing.h - the bytes between the daemon and a child process: frames over a stream socket pair.
 *
 *    0        4         5      6        8            12
 *   +--------+---------+------+--------+------------+------------------+
 *   | length | version | type | zero   | about      | length bytes ... |     all integers little-endian
 *   | u32    | u8      | u8   | u16    | u32        |                  |
 *   +--------+---------+------+--------+------------+------------------+
 *
 * length counts the payload only, and each type has a largest one; a frame that claims more, has another version, a type
 * that this direction does not know, or bytes where zeros must be is refused from its header alone, before anything is
 * allocated for it. `about` is the number that the daemon gave to the piece of work (a request, a job), 0 where a frame is about none.
 *
 * A payload is a row of fields without names: u8, u32, u64, f32 (its bits), strings (u32 length, then the bytes). Which types there are
 * is a table of whoever speaks: runner/frames.h, extract/extract-frames.h. Either side treats the other as hostile.
 */
#ifndef HTH_BASE_FRAMING_H
#define HTH_BASE_FRAMING_H

#include "base/buf.h"

#include <stdint.h>

enum { HTH_FRAME_HEADER = 12 };

typedef enum hth_frame_direction { HTH_TO_CHILD, HTH_TO_DAEMON, HTH_TO_RUNNER = HTH_TO_CHILD } hth_frame_direction;

typedef struct hth_frame_row {
	unsigned type;
	hth_frame_direction direction;
	size_t max;         /* bytes of payload */
	bool about_request; /* its number is not 0; otherwise it is */
	const char *name;
} hth_frame_row;
typedef struct hth_frame_table {
	const hth_frame_row *rows;
	size_t n_rows;
	unsigned version;
	size_t max[2]; /* the largest payload by direction */
} hth_frame_table;

/* payload is borrowed from the decoder until its next call. */
typedef struct hth_frame {
	unsigned type;
	uint32_t request;
	const unsigned char *payload;
	size_t len;
} hth_frame;

/* ---- decoding: bytes in as they come, whole frames out ---- */
typedef struct hth_frame_decoder {
	const hth_frame_table *table;
	hth_frame_direction direction;
	hth_buf buf;
	size_t taken; /* bytes at the front of buf that were handed out already */
} hth_frame_decoder;
void hth_framing_decoder_init(hth_frame_decoder *decoder, const hth_frame_table *table, hth_frame_direction direction);
void hth_frame_decoder_finish(hth_frame_decoder *decoder); /* wipes what it held */
/* Takes bytes. HTH_TOO_LARGE: more than a largest frame and a read's worth wait (call next until it has none). */
HTH_MUST_USE hth_status hth_frame_decoder_feed(hth_frame_decoder *decoder, const void *bytes, size_t len, hth_error *err);
/* The next whole frame; *ret_have false: more bytes are needed. HTH_BAD_FORMAT, HTH_TOO_LARGE: the stream is broken for good. */
HTH_MUST_USE hth_status hth_frame_decoder_next(hth_frame_decoder *decoder, hth_frame *ret_frame, bool *ret_have,
                                               hth_error *err);

/* ---- encoding: appends one frame to a buffer, or nothing ---- */
typedef struct hth_frame_writer {
	hth_buf *out;
	size_t begin;
	size_t max;
	bool failed;
} hth_frame_writer;
void hth_framing_begin(hth_frame_writer *writer, hth_buf *out, const hth_frame_table *table, unsigned type, uint32_t request);
void hth_frame_put_u8(hth_frame_writer *writer, uint8_t value);
void hth_frame_put_u32(hth_frame_writer *writer, uint32_t value);
void hth_frame_put_u64(hth_frame_writer *writer, uint64_t value);
void hth_frame_put_f32(hth_frame_writer *writer, float value);
void hth_frame_put_string(hth_frame_writer *writer, const void *data, size_t len);
/* count, then n 32-bit values as they lie in memory (Hearth runs on little-endian machines only). */
void hth_frame_put_array32(hth_frame_writer *writer, const void *values, size_t n);
/* False: the frame would pass its type's size or out's cap; out is as before begin. */
HTH_MUST_USE bool hth_frame_end(hth_frame_writer *writer);

/* ---- reading a payload: after the first field that is not there, everything reads as zero and `failed` stays ---- */
typedef struct hth_frame_fields {
	const unsigned char *at, *end;
	bool failed;
} hth_frame_fields;
static inline hth_frame_fields hth_frame_read(const hth_frame *frame)
{
	return (hth_frame_fields){.at = frame->payload, .end = frame->payload + frame->len};
}
uint8_t hth_frame_get_u8(hth_frame_fields *fields);
uint32_t hth_frame_get_u32(hth_frame_fields *fields);
uint64_t hth_frame_get_u64(hth_frame_fields *fields);
float hth_frame_get_f32(hth_frame_fields *fields);
/* Borrowed from the payload, not NUL-terminated; "" on failure. */
const char *hth_frame_get_string(hth_frame_fields *fields, size_t max, size_t *ret_len);
/* Borrowed and unaligned: copy with memcpy. */
const unsigned char *hth_frame_get_array32(hth_frame_fields *fields, size_t max, size_t *ret_n);
/* True when every field was there and nothing is left. */
bool hth_frame_fields_end(const hth_frame_fields *fields);

const char *hth_framing_type_name(const hth_frame_table *table, unsigned type); /* "unknown" */

#endif
