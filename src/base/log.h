/* log.h - what a program tells its owner while it runs: one line per event on stderr.
 * Libraries (engine, base) never call this. Never pass text that came from a prompt, a document or an answer:
 * ids, names, counts and times only. */
#ifndef HTH_BASE_LOG_H
#define HTH_BASE_LOG_H

#include "base/status.h"

typedef enum hth_log_level { HTH_LOG_ERROR, HTH_LOG_WARN, HTH_LOG_INFO, HTH_LOG_DEBUG } hth_log_level;

void hth_log_set_level(hth_log_level level); /* default HTH_LOG_INFO */
void hth_log(hth_log_level level, const char *fmt, ...) HTH_PRINTF(2, 3);

#endif
