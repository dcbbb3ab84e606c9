#include "base/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static hth_log_level current = HTH_LOG_INFO;

void hth_log_set_level(hth_log_level level) { current = level; }

void hth_log(hth_log_level level, const char *fmt, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	if (level > current)
		return;
	/* One write per line, so that lines of several threads or processes do not mix. */
	char line[1024];
	struct tm tm;
	time_t now = time(NULL);
	localtime_r(&now, &tm);
	size_t n = strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S ", &tm);
	n += (size_t)snprintf(line + n, sizeof line - n, "%s: ", names[level]);
	va_list args;
	va_start(args, fmt);
	int m = vsnprintf(line + n, sizeof line - n - 1, fmt, args);
	va_end(args);
	if (m > 0)
		n += (size_t)m < sizeof line - n - 1 ? (size_t)m : sizeof line - n - 2;
	for (size_t i = 0; i < n; i++)
		if (line[i] == '\n' || line[i] == '\r' || line[i] == '\033')
			line[i] = ' ';
	line[n++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, n);
	(void)ignored;
}
