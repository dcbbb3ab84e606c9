/* extract-frames.h - what the daemon and its extractor child say to each other, in the frames of base/framing.h.
 *
 * The daemon sends JOB with the file's descriptor beside the frame's first byte (SCM_RIGHTS), one job at a time; the child answers with
 * PART, META, BLOCK, PART_END, PNG, PAGE in the order that extract.h draws, then END. A get function checks one payload by itself
 * (lengths, UTF-8 without NUL, ranges); that frames follow each other sensibly is the receiver's to check.
 */
#ifndef HTH_EXTRACT_EXTRACT_FRAMES_H
#define HTH_EXTRACT_EXTRACT_FRAMES_H

#include "base/framing.h"
#include "extract/extract.h"

enum { HTH_EXTRACT_FRAMES_VERSION = 2, HTH_EXTRACT_SOCKET = 3, HTH_EXTRACT_PNG_CHUNK = 256 << 10 };
/* Exit codes of the child that the daemon understands. */
enum { HTH_EXTRACT_EXIT_MEMORY = 77, HTH_EXTRACT_EXIT_PROTOCOL = 3 };

typedef enum hth_extract_frame {
	HTH_EXTRACT_FRAME_JOB = 1,
	HTH_EXTRACT_FRAME_READY = 64,  /* locked in: u8 Landlock ABI */
	HTH_EXTRACT_FRAME_BROKEN = 65, /* cannot lock itself in, or has no libraries' data: a string, why */
	HTH_EXTRACT_FRAME_PART = 66,
	HTH_EXTRACT_FRAME_META = 67,
	HTH_EXTRACT_FRAME_BLOCK = 68,
	HTH_EXTRACT_FRAME_PART_END = 69,
	HTH_EXTRACT_FRAME_PNG = 70,    /* the next bytes of the image */
	HTH_EXTRACT_FRAME_PAGE = 71,   /* a page is being read: u32 part, u32 page. Time limits count from here (OCR) or grow (TEXT). */
	HTH_EXTRACT_FRAME_END = 72,
} hth_extract_frame;
extern const hth_frame_table hth_extract_frames;

typedef struct hth_extract_order {
	hth_extract_mode mode;
	uint32_t part, page, dpi;
	char name[256]; /* the end of a longer one */
	float marks[HTH_EXTRACT_MARKS_MAX][4];
	size_t n_marks;
	char words[HTH_EXTRACT_WORDS_MAX + 1];
} hth_extract_order;

/* put: false when the frame did not fit into out. */
bool hth_extract_put_order(hth_buf *out, uint32_t job, const hth_extract_order *order);
bool hth_extract_put_ready(hth_buf *out, unsigned landlock_abi);
bool hth_extract_put_broken(hth_buf *out, const char *why);
bool hth_extract_put_part(hth_buf *out, uint32_t job, const hth_extract_part *part);
bool hth_extract_put_meta(hth_buf *out, uint32_t job, const hth_extract_meta *meta);
bool hth_extract_put_block(hth_buf *out, uint32_t job, const hth_extract_block *block);
/* type: PART_END or END; retire: the child ends itself after this job. */
bool hth_extract_put_result(hth_buf *out, hth_extract_frame type, uint32_t job, const hth_extract_result *result, bool retire);
bool hth_extract_put_png(hth_buf *out, uint32_t job, const void *bytes, size_t len);
bool hth_extract_put_page(hth_buf *out, uint32_t job, uint32_t part, uint32_t page);

/* Where the strings and pages of what was read are kept until the next get with the same scratch. */
typedef struct hth_extract_scratch {
	hth_buf strings;
	uint32_t *pages;
} hth_extract_scratch;
void hth_extract_scratch_init(hth_extract_scratch *scratch);
void hth_extract_scratch_finish(hth_extract_scratch *scratch);

HTH_MUST_USE hth_status hth_extract_get_order(const hth_frame *frame, hth_extract_order *ret_order, hth_error *err);
HTH_MUST_USE hth_status hth_extract_get_ready(const hth_frame *frame, unsigned *ret_landlock_abi, hth_error *err);
HTH_MUST_USE hth_status hth_extract_get_broken(const hth_frame *frame, hth_error *ret_why, hth_error *err);
HTH_MUST_USE hth_status hth_extract_get_part(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_part *ret_part,
                                             hth_error *err);
HTH_MUST_USE hth_status hth_extract_get_meta(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_meta *ret_meta,
                                             hth_error *err);
HTH_MUST_USE hth_status hth_extract_get_block(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_block *ret_block,
                                              hth_error *err);
HTH_MUST_USE hth_status hth_extract_get_result(const hth_frame *frame, hth_extract_scratch *scratch, hth_extract_result *ret_result,
                                               bool *ret_retire, hth_error *err);
HTH_MUST_USE hth_status hth_extract_get_page(const hth_frame *frame, uint32_t *ret_part, uint32_t *ret_page, hth_error *err);

#endif
