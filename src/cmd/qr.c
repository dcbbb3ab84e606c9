/* qr.c - see qr.h. libqrencode makes the squares; half-block characters make them square. */
#include "cmd/qr.h"

#include <qrencode.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum { QUIET = 2 };

static bool is_dark(const QRcode *code, int x, int y)
{
	return x >= 0 && y >= 0 && x < code->width && y < code->width && (code->data[y * code->width + x] & 1) != 0;
}

void hth_qr_print(const char *text, FILE *out)
{
	struct winsize size;
	QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
	if (code == NULL)
		return;
	if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_col >= code->width + 2 * QUIET) {
		for (int y = -QUIET; y < code->width + QUIET; y += 2) {
			fputs("\033[30;107m", out);
			for (int x = -QUIET; x < code->width + QUIET; x++) {
				bool top = is_dark(code, x, y), bottom = is_dark(code, x, y + 1);
				fputs(top && bottom ? "\u2588" : top ? "\u2580" : bottom ? "\u2584" : " ", out);
			}
			fputs("\033[0m\n", out);
		}
	}
	QRcode_free(code);
}
