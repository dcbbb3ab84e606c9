/* frames.h - the frames between the daemon and a runner. Their layout, and what is refused from a header alone: base/framing.h.
 *
 * What each type's payload holds is in runner-messages.h. Either side treats the other as hostile: the daemon because a model file may
 * own the runner, the runner because it costs nothing.
 */
#ifndef HTH_RUNNER_FRAMES_H
#define HTH_RUNNER_FRAMES_H

#include "base/framing.h"

enum { HTH_FRAME_VERSION = 2 };
enum { HTH_FRAME_SUBMIT_MAX = 64 << 20, HTH_FRAME_ANSWER_MAX = 1 << 20 };

typedef enum hth_frame_type {
	/* daemon to runner */
	HTH_FRAME_SUBMIT = 1, /* a request */
	HTH_FRAME_CANCEL = 2, /* nobody wants this request's answer any more; no frame about it need follow */
	HTH_FRAME_QUIT = 3,   /* end now */
	/* runner to daemon */
	HTH_FRAME_PROGRESS = 64, /* of loading */
	HTH_FRAME_READY = 65,    /* the model is open: what it is */
	HTH_FRAME_BROKEN = 66,   /* the runner cannot serve, and why; it exits */
	HTH_FRAME_PIECE = 67,    /* of an answer */
	HTH_FRAME_TOKENS = 68,   /* a part of a tokenisation */
	HTH_FRAME_EMBEDDING = 69,
	HTH_FRAME_DONE = 70, /* a request's good end */
	HTH_FRAME_FAIL = 71, /* a request's bad end */
	HTH_FRAME_PROMPT = 72, /* how a prompt ends, and its tokens; of chats, and with ids; at most once, before the first piece */
} hth_frame_type;

extern const hth_frame_table hth_runner_frames;

static inline void hth_frame_decoder_init(hth_frame_decoder *decoder, hth_frame_direction direction)
{
	hth_framing_decoder_init(decoder, &hth_runner_frames, direction);
}
static inline void hth_frame_begin(hth_frame_writer *writer, hth_buf *out, hth_frame_type type, uint32_t request)
{
	hth_framing_begin(writer, out, &hth_runner_frames, type, request);
}
static inline const char *hth_frame_type_name(unsigned type) { return hth_framing_type_name(&hth_runner_frames, type); }

#endif
