/* read-msg.h - Outlook's messages within compound files. Child only. */
#ifndef HTH_EXTRACT_READ_MSG_H
#define HTH_EXTRACT_READ_MSG_H

#include "extract/cfb.h"
#include "extract/tell.h"

/* Reads the whole file as one message, the open part. */
void hth_msg_read(hth_tell *tell, hth_cfb *cfb, hth_verdict *verdict);

#endif
