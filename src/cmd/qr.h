/* qr.h - a text as a QR code on a terminal. */
#ifndef HTH_CMD_QR_H
#define HTH_CMD_QR_H

#include <stdio.h>

/* Two rows of the code per line of text, with its quiet zone, in black on white whatever the terminal's colours. Prints nothing when the
 * text is too long for one, or the terminal narrower than the code. */
void hth_qr_print(const char *text, FILE *out);

#endif
