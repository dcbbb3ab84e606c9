/* loop-internal.h - what the files of this folder share: the loop with its few counters. */
#ifndef HTH_LOOP_LOOP_INTERNAL_H
#define HTH_LOOP_LOOP_INTERNAL_H

#include "loop/loop.h"

#include <uv.h>

struct hth_loop {
	uv_loop_t uv;
	unsigned n_dying;         /* children that were closed before they ended: killed, not reaped yet */
	hth_mailbox *mailboxes;   /* all that were ever opened: a late post must find memory, so they go with the loop */
};

void hth_mailbox_free_all(hth_loop *loop);
/* hth_fail with uv_strerror(code) appended. */
hth_status hth_fail_uv(hth_error *err, int code, const char *what);

#endif
