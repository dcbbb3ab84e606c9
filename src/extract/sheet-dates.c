/* sheet-dates.c - days as Excel counts them. For old and new workbooks alike; see old-office.h. */
#include "extract/old-office.h"

#include <string.h>
#include <time.h>

/* A format code is a date's if it has years, months or days outside quotes and brackets. */
bool hth_sheet_is_date_code(const char *code)
{
	for (; *code != '\0'; code++) {
		if (*code == '"' || *code == '[') {
			const char *end = strchr(code + 1, *code == '"' ? '"' : ']');
			if (end == NULL)
				return false;
			code = end;
		} else if (*code == '\\' && code[1] != '\0') {
			code++;
		} else if (strchr("yYdD", *code) != NULL) {
			return true;
		}
	}
	return false;
}

/* Days since 1899-12-30, as Excel counts on Windows; its invented 29 February 1900 is before what matters. */
bool hth_sheet_put_date(hth_buf *out, double serial, bool since_1904)
{
	char date[32];
	struct tm tm;
	serial += since_1904 ? 1462 : 0;
	if (!(serial >= 1 && serial < 2958466))
		return false;
	time_t t = (time_t)((serial - 25569) * 86400 + 0.5);
	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(date, sizeof date, serial == (double)(int64_t)serial ? "%Y-%m-%d" : "%Y-%m-%d %H:%M", &tm) == 0)
		return false;
	return hth_buf_append_str(out, date);
}
