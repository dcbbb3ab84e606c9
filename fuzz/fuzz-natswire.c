/* fuzz-natswire.c - what a hub sends: the first byte chooses the size of the pieces in which the rest arrives.
 * Pieces or whole, the same events must come. */
#include "base/mem.h"
#include "link/nats-wire.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct events {
	hth_wire *wire;
	uint64_t hash;
} events;

static bool mix(events *e, char kind, const void *bytes, size_t len)
{
	const unsigned char *b = bytes;
	e->hash = (e->hash ^ (uint64_t)kind ^ len << 8) * 0x100000001b3u;
	for (size_t i = 0; i < len; i++)
		e->hash = (e->hash ^ b[i]) * 0x100000001b3u;
	return true;
}
static bool on_info(void *ctx, const char *json, size_t len)
{
	((events *)ctx)->wire->in_info = false;
	return mix(ctx, 'i', json, len);
}
static bool on_message(void *ctx, const char *subject, const void *bytes, size_t len)
{
	if (len > HTH_WIRE_PAYLOAD_MAX || strlen(subject) >= HTH_WIRE_SUBJECT_MAX)
		abort();
	mix(ctx, 's', subject, strlen(subject));
	return mix(ctx, 'm', bytes, len);
}
static bool on_ping(void *ctx) { return mix(ctx, 'p', "", 0); }
static bool on_pong(void *ctx) { return mix(ctx, 'q', "", 0); }
static bool on_error(void *ctx, const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7e)
			abort();
	return mix(ctx, 'e', text, strlen(text));
}

static uint64_t feed(const uint8_t *data, size_t size, size_t piece, hth_status *ret_status)
{
	hth_wire wire;
	hth_error err;
	events e = {&wire, 0xcbf29ce484222325u};
	hth_wire_init(&wire, &(hth_wire_events){&e, on_info, on_message, on_ping, on_pong, on_error});
	*ret_status = HTH_OK;
	for (size_t at = 0; at < size && *ret_status == HTH_OK; at += piece) {
		uint8_t *copy = malloc(HTH_MIN(piece, size - at)); /* so that reading beyond the piece shows */
		if (copy == NULL)
			abort();
		memcpy(copy, data + at, HTH_MIN(piece, size - at));
		*ret_status = hth_wire_feed(&wire, copy, HTH_MIN(piece, size - at), &err);
		free(copy);
	}
	hth_wire_finish(&wire);
	return e.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_status whole, pieces;
	if (size < 2 || size > 200000)
		return 0;
	uint64_t a = feed(data + 1, size - 1, size, &whole), b = feed(data + 1, size - 1, 1u + data[0], &pieces);
	if (a != b || (whole == HTH_OK) != (pieces == HTH_OK))
		abort();
	return 0;
}
