/* frames.c - which frames pass between the daemon and a runner, in which direction, and how large each may be. */
#include "runner/frames.h"

#include "base/mem.h"

enum { SMALL_MAX = 128, ERROR_MAX = 4096, READY_MAX = 68 << 10 };

static const hth_frame_row rows[] = {
    {HTH_FRAME_SUBMIT, HTH_TO_RUNNER, HTH_FRAME_SUBMIT_MAX, true, "submit"},
    {HTH_FRAME_CANCEL, HTH_TO_RUNNER, 0, true, "cancel"},
    {HTH_FRAME_QUIT, HTH_TO_RUNNER, 0, false, "quit"},
    {HTH_FRAME_PROGRESS, HTH_TO_DAEMON, SMALL_MAX, false, "progress"},
    {HTH_FRAME_READY, HTH_TO_DAEMON, READY_MAX, false, "ready"},
    {HTH_FRAME_BROKEN, HTH_TO_DAEMON, ERROR_MAX, false, "broken"},
    {HTH_FRAME_PIECE, HTH_TO_DAEMON, HTH_FRAME_ANSWER_MAX, true, "piece"},
    {HTH_FRAME_TOKENS, HTH_TO_DAEMON, HTH_FRAME_ANSWER_MAX, true, "tokens"},
    {HTH_FRAME_EMBEDDING, HTH_TO_DAEMON, HTH_FRAME_ANSWER_MAX, true, "embedding"},
    {HTH_FRAME_DONE, HTH_TO_DAEMON, ERROR_MAX, true, "done"},
    {HTH_FRAME_FAIL, HTH_TO_DAEMON, ERROR_MAX, true, "fail"},
    {HTH_FRAME_PROMPT, HTH_TO_DAEMON, SMALL_MAX, true, "prompt"},
};
const hth_frame_table hth_runner_frames = {
    .rows = rows, .n_rows = HTH_COUNT(rows), .version = HTH_FRAME_VERSION, .max = {HTH_FRAME_SUBMIT_MAX, HTH_FRAME_ANSWER_MAX}};
