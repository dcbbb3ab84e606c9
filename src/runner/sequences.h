/* sequences.h - which tokens each of the engine's sequences holds: those of running jobs, and those kept of ended ones so that
 * the next prompt with the same beginning need not compute it again.
 *
 * The KV pages themselves are the engine's, counted and shared between sequences (hth_session_share). Here is who holds what
 * (prefix-tree.h), which sequence is the best beginning for a prompt, and what goes first when room is needed (least
 * recently used, its end before its beginning). What was computed for neighbours is not kept, and what the home has used in the last five
 * minutes does not go for their sake: some sequences stay free for them, and other memory that is not free is not theirs. What goes is
 * written to disk when there is a place for it (spill.h), and brought back when a prompt begins with it.
 */
#ifndef HTH_RUNNER_SEQUENCES_H
#define HTH_RUNNER_SEQUENCES_H

#include "runner/compute.h"

typedef struct hth_sequences hth_sequences;
HTH_MUST_USE hth_status hth_sequences_create(hth_sequences **ret_sequences, const hth_compute *compute, hth_error *err);
void hth_sequences_destroy(hth_sequences *sequences); /* wipes what it kept */

/* How many of the first tokens some sequence holds, at most n; *ret_seq: which one. 0: none. */
uint32_t hth_sequences_find(hth_sequences *sequences, const int32_t *tokens, uint32_t n, uint32_t *ret_seq);
/* How many of the first tokens, at most n, are on disk and worth bringing back (whole pages); `have` of them memory holds. have: none. */
uint32_t hth_sequences_find_spilled(hth_sequences *sequences, const int32_t *tokens, uint32_t n, uint32_t have);
/* Brings a job's sequence, which holds less, up to its first n tokens from disk. Returns how many it holds now. */
uint32_t hth_sequences_restore(hth_sequences *sequences, uint32_t seq, uint32_t n);
/* A sequence for a job whose prompt's first `length` tokens `from` holds (length 0: from is not read). Takes over `from`
 * when it is kept and holds nothing more, else shares. lent: it is for a neighbour, and only a free one is taken, or one that the home has
 * not used for five minutes. -1: every sequence runs, or none is free. tokens is borrowed until release. */
int hth_sequences_take(hth_sequences *sequences, uint32_t from, uint32_t length, const int32_t *tokens, bool lent);
/* The sequence now holds the first n of its job's tokens (more, or fewer after a truncation). */
void hth_sequences_hold(hth_sequences *sequences, uint32_t seq, uint32_t n);
/* The job ended: what it computed is kept for later, or dropped if that is worth nothing. */
void hth_sequences_release(hth_sequences *sequences, uint32_t seq);
/* Keeps what the job has computed on disk, when there is a place for it. */
void hth_sequences_spill(hth_sequences *sequences, uint32_t seq);
/* The job gives its memory back at once. */
void hth_sequences_drop(hth_sequences *sequences, uint32_t seq);
/* Frees some KV pages: the end of what was kept longest without use, but not `but` (-1: none). lent: for a neighbour, as above. False:
 * nothing that may go is kept. */
bool hth_sequences_make_room(hth_sequences *sequences, int but, bool lent);

#endif
