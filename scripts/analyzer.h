/* analyzer.h - read by `make lint` in front of every file: tells the static analyzer, which looks at one file at a time, that what reports
 * a failure does not return HTH_OK. Without this it follows paths on which a failed call's outputs are used. */
#ifndef HTH_SCRIPTS_ANALYZER_H
#define HTH_SCRIPTS_ANALYZER_H

#include "base/status.h"

#define hth_fail(err, status, ...) ((void)(hth_fail)((err), (status), __VA_ARGS__), (status))
#define hth_failv(err, status, ...) ((void)(hth_failv)((err), (status), __VA_ARGS__), (status))
#define hth_fail_param(err, status, ...) ((void)(hth_fail_param)((err), (status), __VA_ARGS__), (status))
#define hth_fail_errno(err, status, ...) ((void)(hth_fail_errno)((err), (status), __VA_ARGS__), (status))
#define hth_fail_prefix(err, ...) ((void)(hth_fail_prefix)((err), __VA_ARGS__), HTH_INVALID)

#endif
