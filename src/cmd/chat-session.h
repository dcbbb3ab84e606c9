/* chat-session.h - a conversation on a terminal, and how an answer is shown there. */
#ifndef HTH_CMD_CHAT_SESSION_H
#define HTH_CMD_CHAT_SESSION_H

#include "cmd/chat.h"

/* Talks until Ctrl-D or /bye; returns the exit code. `interrupted` is what the SIGINT handler sets and the session clears. */
int hth_chat_session(const hth_invocation *in, hth_chat *chat, const char *system, const hth_chat_params *params,
                     volatile sig_atomic_t *interrupted);

/* Writes a model's text to a terminal: what could steer the terminal (escape sequences and other control characters) is left out,
 * since a model may be made to say anything. *thinking is whether the text before was reasoning (shown dim); len 0 ends it. */
void hth_chat_print(const char *text, size_t len, bool thinking, bool *was_thinking);
/* "[42 tokens, 31.0 tokens/s, first after 0.12 s]" on stderr. */
void hth_chat_print_stats(const hth_chat_stats *stats);

#endif
