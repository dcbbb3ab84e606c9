/* nats-wire.h - the lines of NATS's client protocol, read and written: bytes in, events out.
 *
 * The hub is not trusted, so what it sends is bounded before it is kept: a control line by HTH_WIRE_LINE_MAX, a payload by
 * HTH_WIRE_PAYLOAD_MAX. Whatever is not the protocol is an error, after which the connection is to be dropped. No input or output of its
 * own; one thread. Source: docs.nats.io, "Client Protocol" (INFO, CONNECT, PUB, SUB, MSG, PING, PONG, +OK, -ERR).
 */
#ifndef HTH_LINK_NATS_WIRE_H
#define HTH_LINK_NATS_WIRE_H

#include "base/buf.h"

enum { HTH_WIRE_LINE_MAX = 32 << 10, HTH_WIRE_PAYLOAD_MAX = 512 << 10, HTH_WIRE_SUBJECT_MAX = 192 };

typedef struct hth_wire_events {
	void *ctx;
	/* A callback that returns false ends the reading: hth_wire_feed returns at once with HTH_CANCELLED. */
	bool (*info)(void *ctx, const char *json, size_t len);
	bool (*message)(void *ctx, const char *subject, const void *bytes, size_t len);
	bool (*ping)(void *ctx);
	bool (*pong)(void *ctx);
	bool (*error)(void *ctx, const char *text); /* what -ERR says, at most 200 printable bytes */
} hth_wire_events;

typedef struct hth_wire {
	hth_wire_events events;
	hth_buf in;   /* what is not a whole line or message yet */
	bool in_info; /* only INFO is taken: what comes before TLS is no one's word */
} hth_wire;

void hth_wire_init(hth_wire *wire, const hth_wire_events *events);
void hth_wire_reset(hth_wire *wire); /* a new connection */
void hth_wire_finish(hth_wire *wire);
/* HTH_BAD_FORMAT, HTH_TOO_LARGE: drop the connection; HTH_CANCELLED: a callback said so. */
HTH_MUST_USE hth_status hth_wire_feed(hth_wire *wire, const void *bytes, size_t len, hth_error *err);

/* Writing. False: out is full; nothing was appended. */
bool hth_wire_publish(hth_buf *out, const char *subject, const void *bytes, size_t len);
bool hth_wire_subscribe(hth_buf *out, const char *subject, unsigned id);
/* Tokens of [A-Za-z0-9_-] between dots; what may be published to. */
bool hth_wire_is_subject(const char *subject);

#endif
