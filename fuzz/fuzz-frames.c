/* fuzz-frames.c - both directions of the runner's socket: whatever bytes come, decoding ends in frames or one error, and
 * a request that was understood is written back as the very bytes it was read from. */
#include "base/mem.h"
#include "runner/runner-messages.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_piece_storage storage;

static void to_runner(const hth_frame *frame)
{
	hth_error err;
	hth_ask ask;
	if (frame->type != HTH_FRAME_SUBMIT || hth_message_get_submit(frame, &ask, &err) != HTH_OK)
		return;
	hth_buf out = HTH_BUF_INIT(HTH_FRAME_SUBMIT_MAX + HTH_FRAME_HEADER);
	if (!hth_message_put_submit(&out, frame->request, ask.kind, &ask.input, &ask.params) ||
	    out.len - HTH_FRAME_HEADER != frame->len || memcmp(out.data + HTH_FRAME_HEADER, frame->payload, frame->len) != 0)
		abort();
	hth_buf_finish(&out);
	hth_ask_finish(&ask);
}

static void to_daemon(const hth_frame *frame)
{
	hth_error err, error;
	hth_runner_info info;
	hth_answer_piece piece;
	hth_done done;
	float fraction, *values;
	uint32_t n_tokens;
	char tail[HTH_PROMPT_TAIL_MAX];
	const unsigned char *ids;
	size_t n;
	bool more;
	hth_status status = HTH_OK;
	switch (frame->type) {
	case HTH_FRAME_PROGRESS: status = hth_message_get_progress(frame, &fraction, &err); break;
	case HTH_FRAME_READY: status = hth_message_get_ready(frame, &info, &err); break;
	case HTH_FRAME_BROKEN:
	case HTH_FRAME_FAIL: status = hth_message_get_error(frame, &error, &err); break;
	case HTH_FRAME_PROMPT: status = hth_message_get_prompt(frame, tail, &n_tokens, &err); break;
	case HTH_FRAME_PIECE: status = hth_message_get_piece(frame, &storage, &piece, &err); break;
	case HTH_FRAME_TOKENS: status = hth_message_get_tokens(frame, &ids, &n, &more, &err); break;
	case HTH_FRAME_EMBEDDING:
		status = hth_message_get_embedding(frame, &values, &n, &err);
		if (status == HTH_OK)
			free(values);
		break;
	case HTH_FRAME_DONE: status = hth_message_get_done(frame, &done, &err); break;
	default: abort(); /* the decoder lets nothing else through in this direction */
	}
	(void)status;
}

/* The first byte: bit 0 is the direction, the rest how many bytes come at a time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	hth_frame_direction direction = data[0] & 1 ? HTH_TO_DAEMON : HTH_TO_RUNNER;
	size_t step = (size_t)(data[0] >> 1) + 1;
	hth_frame_decoder decoder;
	hth_frame_decoder_init(&decoder, direction);
	hth_error err;
	bool broken = false;
	for (size_t at = 1; at < size && !broken; at += step) {
		size_t n = HTH_MIN(step, size - at);
		broken = hth_frame_decoder_feed(&decoder, data + at, n, &err) != HTH_OK;
		bool have = !broken;
		while (have && !broken) {
			hth_frame frame;
			broken = hth_frame_decoder_next(&decoder, &frame, &have, &err) != HTH_OK;
			if (broken || !have)
				break;
			if (direction == HTH_TO_RUNNER)
				to_runner(&frame);
			else
				to_daemon(&frame);
		}
	}
	hth_frame_decoder_finish(&decoder);
	return 0;
}
