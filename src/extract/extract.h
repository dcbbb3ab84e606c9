/* extract.h - what a file says: text with its places, facts about it, its parts; or why not. The daemon's side.
 *
 * The daemon opens a file and submits the descriptor; a child process (`hearth-extract`, beside the hearth program or in libexec) that has
 * locked itself in (src/sandbox: no path, no network, no new process, no writes, bounded memory) reads it with the libraries that know
 * its format. What the child says is checked as if the file had said it. A child that crashes, hangs or eats its memory is killed and the
 * next one goes on where it was: a file costs at most itself. Every job ends exactly once, in a state with a reason made for people.
 *
 * One job:   part(0)  meta(0)?  block(0)*  [ part(1)  meta(1)?  block(1)*  part_end(1) ]*  block(0)*  end
 * Part 0 is the file itself; members of archives and attachments of mail are parts 1, 2, ... in the order of the file, each within its
 * parent (depth first); the numbers are the same whenever the same bytes are read. Text comes in blocks (a paragraph, a row, a
 * heading) in reading order. A second try after a crash calls restart first: all that was told of this job is void.
 *
 * Three modes. TEXT: what is written in the file as text. OCR: what can be read from the pictures of it (pages that TEXT mode told as
 * needing it, images); it tells parts again, by the same numbers, and only the blocks that OCR read. RENDER: one page as PNG with boxes
 * marked. Order of work: RENDER, TEXT, then OCR in a child of its own at the lowest priority, which hth_extractor_pause_ocr stops at once.
 *
 * Everything here is called on the loop's thread, callbacks too, never from inside the call that asked for them (but hth_extractor_destroy
 * ends the jobs that are left before it returns). Callbacks may call back, also cancel and destroy. Strings are UTF-8 without NUL
 * inside, checked, and borrowed for the length of a callback.
 */
#ifndef HTH_EXTRACT_EXTRACT_H
#define HTH_EXTRACT_EXTRACT_H

#include "loop/loop.h"

#include <stdint.h>

/* Raised when more kinds of files can be read than before: whoever keeps what was told tries again what could not be read. */
enum { HTH_EXTRACT_READS = 2 };

/* What one job may tell at most. A document that has more ends as `partial`, with the reason. */
enum {
	HTH_EXTRACT_PARTS_MAX = 1000000,     /* members, attachments, an mbox's mails, at any depth */
	HTH_EXTRACT_DEPTH_MAX = 8,           /* a mail in an archive in a mail ... */
	HTH_EXTRACT_PAGES_MAX = 20000,
	HTH_EXTRACT_BLOCK_MAX = 16 << 10,    /* bytes of text in one block; longer paragraphs come as several */
	HTH_EXTRACT_BLOCKS_MAX = 4000000,
	HTH_EXTRACT_TEXT_MAX = 256 << 20,    /* bytes of text */
	HTH_EXTRACT_STRING_MAX = 4 << 10,    /* a name, a title, a list of recipients: cut there */
	HTH_EXTRACT_REASON_MAX = 256,
	HTH_EXTRACT_MARKS_MAX = 256,
	HTH_EXTRACT_WORDS_MAX = 1000,        /* bytes of words to mark */
	HTH_EXTRACT_PNG_MAX = 64 << 20,
	HTH_EXTRACT_QUEUE_MAX = 4096,        /* jobs that wait; a descriptor each, so keep fewer there */
};

typedef enum hth_extract_state {
	HTH_EXTRACT_TEXT = 1,    /* read: its text is what was told (there may be none: an empty file) */
	HTH_EXTRACT_NEEDS_OCR,   /* read, but there are pages or pictures without text: `ocr_pages`. Not in OCR mode. */
	HTH_EXTRACT_UNREADABLE,  /* could not be read: the reason says why */
	HTH_EXTRACT_EXCLUDED,    /* not a kind of file that holds text (music, programs, fonts, keys ...) */
} hth_extract_state;
const char *hth_extract_state_name(hth_extract_state state); /* "text", "needs-ocr", "unreadable", "excluded" */

typedef enum hth_extract_kind {
	HTH_KIND_UNKNOWN = 0,
	HTH_KIND_PLAIN, HTH_KIND_MARKDOWN, HTH_KIND_HTML, HTH_KIND_XML, HTH_KIND_CSV, HTH_KIND_RTF, HTH_KIND_PDF,
	HTH_KIND_DOCX, HTH_KIND_XLSX, HTH_KIND_PPTX, HTH_KIND_ODT, HTH_KIND_ODS, HTH_KIND_ODP, HTH_KIND_EPUB,
	HTH_KIND_MAIL, HTH_KIND_MBOX, HTH_KIND_ARCHIVE, HTH_KIND_IMAGE, HTH_KIND_OTHER,
	HTH_KIND_DOC, HTH_KIND_XLS, HTH_KIND_PPT, /* last, because the numbers are stored */
	HTH_KIND_COUNT
} hth_extract_kind;
const char *hth_extract_kind_name(hth_extract_kind kind);        /* "pdf", "docx", "mail", ...; "unknown" for what is no kind */
hth_extract_kind hth_extract_kind_from_name(const char *name);   /* HTH_KIND_UNKNOWN: no such kind */

typedef struct hth_extract_part {
	uint32_t id, parent; /* 0: the file itself (its parent is 0) */
	const char *name;    /* the member's path or the attachment's name; the hint for part 0; "" unknown */
} hth_extract_part;

/* Facts about a part, told once, before its first block unless it is told late by its format. "" and 0: not known. */
typedef struct hth_extract_meta {
	uint32_t part;
	hth_extract_kind kind;
	uint32_t pages;          /* pages, slides, sheets; 0: has none */
	bool has_date, has_place;
	int64_t date;            /* seconds since 1970 UTC: sent, taken, last changed according to the document itself */
	double latitude, longitude; /* degrees, north and east positive (EXIF) */
	const char *title;       /* a mail's subject */
	const char *author;      /* a mail's sender, "Name <address>" */
	const char *recipients;  /* a mail's To and Cc, with commas between */
	const char *language;    /* BCP 47, as the document says it: "de", "en-GB" */
	const char *mail_id;     /* a mail's Message-ID without <>; a Maildir's copies share it */
} hth_extract_meta;

typedef enum hth_extract_role {
	HTH_ROLE_BODY = 0, HTH_ROLE_HEADING, HTH_ROLE_ROW, /* cells with tabs between */
	HTH_ROLE_OCR, /* read from a picture */
	HTH_ROLE_COUNT
} hth_extract_role;

typedef struct hth_extract_block {
	uint32_t part;
	uint32_t page;       /* 1-based page, slide or sheet; 0: the part has no pages */
	hth_extract_role role;
	bool has_box;
	float box[4];        /* left, top, right, bottom as fractions of the page as it is shown, 0 to 1, from its top left corner */
	const char *text;    /* not empty; NUL-terminated */
	size_t len;          /* <= HTH_EXTRACT_BLOCK_MAX */
} hth_extract_block;

/* How the file or one part of it ended. */
typedef struct hth_extract_result {
	uint32_t part;
	hth_extract_state state;
	/* only a part was read (a limit, a damaged page, a crash half way): the reason says why; what came counts */
	bool partial;
	bool changed;            /* of the file, not of parts: it was written to while it was read; submit it again later */
	bool cancelled;          /* by hth_extractor_destroy, or readers were killed as they began (memory is short): nobody's fault, state
	                          * is UNREADABLE; submit it again some day */
	bool killed;             /* somebody killed its reader, twice (memory was short, perhaps): another day it may be read */
	const char *reason;      /* "" with TEXT and not partial; else for people: "encrypted: needs a password", "damaged: ..." */
	const uint32_t *ocr_pages; /* 1-based pages of this part without text, ascending; an image's is 1 */
	size_t n_ocr_pages;
} hth_extract_result;

/* What a job tells. Any but `end` may be NULL. */
typedef struct hth_extract_sink {
	void (*part)(void *ctx, const hth_extract_part *part);
	void (*meta)(void *ctx, const hth_extract_meta *meta);
	void (*block)(void *ctx, const hth_extract_block *block);
	void (*part_end)(void *ctx, const hth_extract_result *result); /* of parts 1 and up */
	void (*png)(void *ctx, const void *bytes, size_t len);         /* RENDER: the whole image, once */
	void (*restart)(void *ctx);                                    /* all that was told before is void */
	void (*end)(void *ctx, const hth_extract_result *result);      /* exactly once, last; the job is gone after it */
} hth_extract_sink;

typedef struct hth_extractor_options {
	const char *program;   /* path of hearth-extract; NULL: found beside this program, in ../libexec/hearth, or as $HEARTH_EXTRACT */
	const char *languages; /* of OCR, as Tesseract names them: "eng+deu"; NULL: those that are installed of eng, deu, fra, spa, ita */
	uint64_t memory_bytes; /* a child's address space while it reads one file; 0: 1 GiB */
	uint32_t seconds;      /* of CPU time a file may take (OCR: a page); waiting included, thirty times that; 0: 60 */
	uint32_t n_workers;    /* children that read text side by side; 0: 1 */
	bool foreground;       /* a person waits for all of it: children run at normal priority, not a low one */
	uint64_t file_bytes_max; /* larger files end UNREADABLE as too large; 0: 2 GiB */
} hth_extractor_options;

typedef struct hth_extractor hth_extractor;
typedef struct hth_extract_job hth_extract_job;

/* Starts no process yet. HTH_NOT_FOUND: no hearth-extract; the message says where it was looked for. */
HTH_MUST_USE hth_status hth_extractor_create(hth_extractor **ret_extractor, hth_loop *loop, const hth_extractor_options *options,
                                             hth_error *err);
/* Ends every job (UNREADABLE, cancelled) and the children. NULL is fine. */
void hth_extractor_destroy(hth_extractor *extractor);

typedef enum hth_extract_mode { HTH_EXTRACT_MODE_TEXT = 1, HTH_EXTRACT_MODE_OCR, HTH_EXTRACT_MODE_RENDER } hth_extract_mode;

typedef struct hth_extract_ask {
	hth_extract_mode mode;
	const char *name;      /* the file's name: its ending is a hint where bytes do not tell; NULL: none */
	bool urgent;           /* before the others of its mode: somebody waits for it */
	/* RENDER */
	uint32_t part, page;   /* page 1-based; an image has page 1. A part that cannot be rendered ends UNREADABLE. */
	uint32_t dpi;          /* 36 to 300; 0: 110. A page is made smaller where it would have over 40 million pixels. */
	const float (*marks)[4]; /* boxes as in blocks; copied */
	size_t n_marks;
	const char *words;       /* whole words to mark where the page says them in text, each ended by a line end; NULL: none */
} hth_extract_ask;

/* Queues a job on a regular file open for reading; takes the descriptor, also on failure. Its offset does not matter.
 * HTH_BUSY: HTH_EXTRACT_QUEUE_MAX jobs wait. ret_job may be NULL; it is valid until end was called. */
HTH_MUST_USE hth_status hth_extractor_submit(hth_extractor *extractor, int fd, const hth_extract_ask *ask, const hth_extract_sink *sink,
                                             void *ctx, hth_extract_job **ret_job, hth_error *err);
/* No callback of this job comes any more, `end` neither. */
void hth_extractor_cancel(hth_extractor *extractor, hth_extract_job *job);
/* While somebody waits for an answer: OCR stops where it is, and goes on when told. Its time limits stand still. */
void hth_extractor_pause_ocr(hth_extractor *extractor, bool pause);

typedef struct hth_extractor_counts {
	uint32_t waiting, running, waiting_ocr, running_ocr;
	uint64_t ended, restarts; /* jobs; children that had to be killed or died */
	double cpu_seconds;       /* of all children, ended jobs only */
} hth_extractor_counts;
void hth_extractor_get_counts(const hth_extractor *extractor, hth_extractor_counts *ret_counts);

#endif
