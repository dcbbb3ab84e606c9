/* extract-hear.c - what a child says about its job: checked against what it has said before, counted, and told to the job's sink.
 *
 * A child may be in the hands of a hostile file. Each frame is well formed already (extract-frames.h); here it must also come in its place:
 * parts nest and count up, blocks belong to the part that is open, amounts stay within extract.h. After a sink was called nothing of the
 * job may be touched: it may be gone. Thread: the loop's.
 */
#include "extract/extract-host.h"

hth_status hth_extract_out_of_place(const hth_frame *frame, hth_error *err)
{
	return hth_fail(err, HTH_BAD_FORMAT, "a %s frame out of place", hth_framing_type_name(&hth_extract_frames, frame->type));
}

bool hth_extract_is_open(const hth_extract_job *job, uint32_t part)
{
	return job->depth > 0 && job->open[job->depth - 1] == part;
}

static hth_status on_part(hth_extractor *x, hth_extract_job *job, const hth_frame *frame, hth_error *err)
{
	hth_extract_part part;
	HTH_TRY(hth_extract_get_part(frame, &x->scratch, &part, err));
	if (part.id != job->next_part || job->depth > HTH_EXTRACT_DEPTH_MAX || (part.id > 0 && !hth_extract_is_open(job, part.parent)) ||
	    (part.id == 0 && part.parent != 0))
		return hth_extract_out_of_place(frame, err);
	job->next_part++;
	job->open[job->depth++] = part.id;
	job->meta_told = false;
	job->told = true;
	if (job->sink.part != NULL)
		job->sink.part(job->ctx, &part);
	return HTH_OK;
}

static hth_status on_meta(hth_extractor *x, hth_extract_job *job, const hth_frame *frame, hth_error *err)
{
	hth_extract_meta meta;
	HTH_TRY(hth_extract_get_meta(frame, &x->scratch, &meta, err));
	if (!hth_extract_is_open(job, meta.part) || job->meta_told)
		return hth_extract_out_of_place(frame, err);
	job->meta_told = true;
	if (job->sink.meta != NULL)
		job->sink.meta(job->ctx, &meta);
	return HTH_OK;
}

static hth_status on_block(hth_extractor *x, hth_extract_job *job, const hth_frame *frame, hth_error *err)
{
	hth_extract_block block;
	HTH_TRY(hth_extract_get_block(frame, &x->scratch, &block, err));
	job->text_bytes += block.len;
	if (!hth_extract_is_open(job, block.part) || job->order.mode == HTH_EXTRACT_MODE_RENDER ||
	    ++job->n_blocks > HTH_EXTRACT_BLOCKS_MAX || job->text_bytes > HTH_EXTRACT_TEXT_MAX)
		return hth_extract_out_of_place(frame, err);
	if (job->sink.block != NULL)
		job->sink.block(job->ctx, &block);
	return HTH_OK;
}

static hth_status on_part_end(hth_extractor *x, hth_extract_job *job, const hth_frame *frame, hth_error *err)
{
	hth_extract_result result;
	bool retire;
	HTH_TRY(hth_extract_get_result(frame, &x->scratch, &result, &retire, err));
	if (result.part == 0 || !hth_extract_is_open(job, result.part) || retire)
		return hth_extract_out_of_place(frame, err);
	job->depth--;
	job->meta_told = true; /* of the part around it: its own came before its parts */
	if (job->sink.part_end != NULL)
		job->sink.part_end(job->ctx, &result);
	return HTH_OK;
}

static hth_status on_png(hth_extract_job *job, const hth_frame *frame, hth_error *err)
{
	hth_frame_fields f = hth_frame_read(frame);
	size_t len;
	const char *bytes = hth_frame_get_string(&f, HTH_EXTRACT_PNG_CHUNK, &len);
	if (!hth_frame_fields_end(&f) || job->order.mode != HTH_EXTRACT_MODE_RENDER)
		return hth_extract_out_of_place(frame, err);
	hth_buf_append(&job->png, bytes, len);
	return hth_buf_check(&job->png, "a rendered page", err);
}

hth_status hth_extract_hear(hth_extractor *x, hth_extract_job *job, const hth_frame *frame, hth_error *err)
{
	switch (frame->type) {
	case HTH_EXTRACT_FRAME_PART: return on_part(x, job, frame, err);
	case HTH_EXTRACT_FRAME_META: return on_meta(x, job, frame, err);
	case HTH_EXTRACT_FRAME_BLOCK: return on_block(x, job, frame, err);
	case HTH_EXTRACT_FRAME_PART_END: return on_part_end(x, job, frame, err);
	case HTH_EXTRACT_FRAME_PNG: return on_png(job, frame, err);
	default: return hth_extract_out_of_place(frame, err);
	}
}
