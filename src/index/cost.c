/* cost.c - see cost.h. Any thread. */
#include "index/cost.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

const char *const hth_price_names[HTH_PRICE_COUNT] = {"kwh", "watts_per_core", "page_1000", "gb_month", "gb_free"};

/* Without the white space around it; writes into text. */
static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	return text;
}

static const char *cut_field(char **rest)
{
	char *field = *rest, *end = field != NULL ? strchr(field, ';') : NULL;
	*rest = end != NULL ? end + 1 : NULL;
	if (end != NULL)
		*end = '\0';
	return field != NULL ? trim(field) : "";
}

static hth_status read_line(hth_prices *p, unsigned *found, char *line, const char *path, unsigned number, hth_error *err)
{
	char *text = trim(line), *equals = strchr(text, '=');
	if (*text == '\0' || *text == '#')
		return HTH_OK;
	if (equals == NULL)
		return hth_fail(err, HTH_BAD_FORMAT, "%s:%u: a line should be NAME = NUMBER ; DATE ; SOURCE", path, number);
	*equals = '\0';
	char *name = trim(text), *rest = equals + 1, *end;
	const char *value = cut_field(&rest);
	if (strcmp(name, "currency") == 0) {
		if (strlen(value) == 0 || strlen(value) >= sizeof p->currency || strpbrk(value, "\"\\") != NULL)
			return hth_fail(err, HTH_BAD_FORMAT, "%s:%u: currency should be a short name, such as EUR", path, number);
		snprintf(p->currency, sizeof p->currency, "%s", value);
		return HTH_OK;
	}
	for (unsigned i = 0; i < HTH_PRICE_COUNT; i++) {
		if (strcmp(name, hth_price_names[i]) != 0)
			continue;
		double v = strtod(value, &end);
		if (end == value || *end != '\0' || !(v >= 0 && v < 1e9))
			return hth_fail(err, HTH_BAD_FORMAT, "%s:%u: %s should be a number from 0 on, with a point", path, number, name);
		p->list[i].value = v;
		snprintf(p->list[i].date, sizeof p->list[i].date, "%s", cut_field(&rest));
		snprintf(p->list[i].source, sizeof p->list[i].source, "%s", rest != NULL ? trim(rest) : "");
		*found |= 1u << i;
		return HTH_OK;
	}
	return hth_fail(err, HTH_BAD_FORMAT, "%s:%u: there is no price named %.40s", path, number, name);
}

/* A file that is not there has no prices. */
static hth_status read_file(hth_prices *p, unsigned *found, const char *path, hth_error *err)
{
	char line[600];
	unsigned number = 0;
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return errno == ENOENT || errno == ENOTDIR ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot read %s", path);
	hth_status status = HTH_OK;
	while (status == HTH_OK && fgets(line, sizeof line, f) != NULL)
		status = read_line(p, found, line, path, ++number, err);
	fclose(f);
	return status;
}

static bool beside_program(char out[PATH_MAX])
{
	static const char *const beside[] = {"../share/hearth/prices.conf", "../data/prices.conf"};
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	program[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(program, '/');
	for (size_t i = 0; slash != NULL && i < HTH_COUNT(beside); i++) {
		*slash = '\0';
		if ((size_t)snprintf(out, PATH_MAX, "%s/%s", program, beside[i]) < PATH_MAX && access(out, R_OK) == 0)
			return true;
	}
	return false;
}

hth_status hth_prices_load(hth_prices *ret_prices, const char *installed, const char *home, hth_error *err)
{
	hth_prices p = {.currency = "USD"};
	unsigned found = 0;
	char path[PATH_MAX];
	if (installed != NULL)
		HTH_TRY(read_file(&p, &found, installed, err));
	else if (beside_program(path))
		HTH_TRY(read_file(&p, &found, path, err));
	snprintf(path, sizeof path, "%.4000s/prices.conf", home);
	HTH_TRY(read_file(&p, &found, path, err));
	for (unsigned i = 0; i < HTH_PRICE_COUNT; i++)
		if ((found >> i & 1) == 0)
			return hth_fail(
			    err, HTH_NOT_FOUND,
			    "no price %s is known: prices.conf, which comes with the program, is not there; put one into %.200s",
			    hth_price_names[i], path);
	*ret_prices = p;
	return HTH_OK;
}

void hth_index_count_cost(const hth_index_status *s, const hth_prices *p, int64_t now_unix, hth_index_cost *ret_cost)
{
	const double month_s = 30.44 * 86400, gb = 1e9;
	double guessed = HTH_MAX(s->cpu_seconds - s->metered_cpu_seconds, 0.0);
	double kept = s->since_unix > 0 && now_unix > s->since_unix ? (double)(now_unix - s->since_unix) / month_s : 0;
	hth_index_cost c = {.watt_hours = (s->metered_joules + guessed * p->list[HTH_PRICE_WATTS].value) / 3600};
	c.energy = c.watt_hours / 1000 * p->list[HTH_PRICE_KWH].value;
	c.cloud_pages = (double)s->pages_read / 1000 * p->list[HTH_PRICE_PAGES].value;
	c.cloud_storage =
	    HTH_MAX((double)s->text_bytes / gb - p->list[HTH_PRICE_GB_FREE].value, 0.0) * kept * p->list[HTH_PRICE_GB_MONTH].value;
	c.measured_by = s->metered_cpu_seconds <= 0       ? "processor time"
	                : guessed > s->cpu_seconds * 0.01 ? "RAPL and processor time"
	                                                  : "RAPL";
	*ret_cost = c;
}
