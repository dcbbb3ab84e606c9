/* cmd-options.c - parses a command's options, prints its --help, and guesses what a misspelt word meant. Main thread, no state. */
#include "cmd/cmd-options.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Edit distance (insert, delete, replace, swap of neighbours), words of up to 31 bytes. */
static unsigned distance(const char *a, const char *b)
{
	enum { MAX = 31 };
	unsigned d[MAX + 2][MAX + 2];
	size_t n = strlen(a), m = strlen(b);
	if (n > MAX || m > MAX)
		return MAX;
	for (size_t i = 0; i <= n; i++)
		d[i][0] = (unsigned)i;
	for (size_t k = 0; k <= m; k++)
		d[0][k] = (unsigned)k;
	for (size_t i = 1; i <= n; i++)
		for (size_t k = 1; k <= m; k++) {
			unsigned best = d[i - 1][k - 1] + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[k - 1]));
			best = HTH_MIN(best, d[i - 1][k] + 1);
			best = HTH_MIN(best, d[i][k - 1] + 1);
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				best = HTH_MIN(best, d[i - 2][k - 2] + 1);
			d[i][k] = best;
		}
	return d[n][m];
}

const char *hth_options_nearest(const char *word, const char *const *names)
{
	const char *best = NULL;
	unsigned least = strlen(word) < 4 ? 2 : 3; /* further away than this minus one is another word */
	for (; *names != NULL; names++) {
		unsigned d = distance(word, *names);
		if (d < least) {
			least = d;
			best = *names;
		}
	}
	return best;
}

static void print_option(const char *name, char letter, const char *value_name, const char *help)
{
	char left[64];
	char short_form[8] = "    ";
	if (letter != 0)
		snprintf(short_form, sizeof short_form, "-%c, ", letter);
	snprintf(left, sizeof left, "  %s--%s%s%s", short_form, name, value_name != NULL ? " " : "", value_name != NULL ? value_name : "");
	printf("%-30s %s\n", left, help);
}

/* A setting's name as a flag: "keep-alive". */
static const char *flag_name(size_t setting, char out[64])
{
	const char *name;
	hth_config_describe(setting, NULL, &name, NULL, 0, NULL, NULL);
	snprintf(out, 64, "%s", name);
	for (char *c = out; *c != '\0'; c++)
		*c = *c == '_' ? '-' : *c;
	return out;
}

static void print_setting(size_t i)
{
	const char *help;
	char value[64], flag[64], text[256];
	hth_config_describe(i, NULL, NULL, value, sizeof value, NULL, &help);
	snprintf(text, sizeof text, "%s%s%s%s", help, *value ? " [" : "", value, *value ? "]" : "");
	print_option(flag_name(i, flag), 0, "VALUE", text);
}

static void print_help(const hth_invocation *in, const hth_option *options, size_t n_options)
{
	const hth_command *c = in->command;
	printf("hearth %s%s%s - %s\n", c->name, *c->args ? " " : "", c->args, c->help);
	if (c->details != NULL)
		printf("\n%s\n", c->details);
	printf("\nOptions:\n");
	for (size_t i = 0; i < n_options; i++)
		print_option(options[i].name, options[i].letter, options[i].value_name, options[i].help);
	print_option("help", 'h', NULL, "this help");
	if (strstr(c->args, "--SETTING") != NULL) {
		printf("\nSettings (in hearth.conf as name = value, or in the environment as HEARTH_NAME):\n");
		for (size_t i = 0; i < hth_config_count(); i++)
			print_setting(i);
		return;
	}
	printf("\nEvery setting of hearth.conf is a flag too; `hearth config` lists them. hearth(1) has the whole manual.\n");
}

/* The letter forms are looked up by letter, the long ones by name; *ret_value is what follows in the same word, or NULL. */
static const hth_option *find(const hth_option *options, size_t n, const char *arg, const char **ret_value)
{
	*ret_value = NULL;
	for (size_t i = 0; i < n; i++) {
		const hth_option *o = &options[i];
		if (arg[1] != '-') {
			if (o->letter != arg[1] || o->letter == 0)
				continue;
			if (arg[2] == '\0')
				return o;
			if (o->kind == HTH_OPTION_FLAG)
				continue;
			*ret_value = arg + 2 + (arg[2] == '=');
			return o;
		}
		size_t len = strlen(o->name);
		if (strncmp(arg + 2, o->name, len) != 0)
			continue;
		if (arg[2 + len] == '\0')
			return o;
		if (arg[2 + len] == '=') {
			*ret_value = arg + 2 + len + 1;
			return o;
		}
	}
	return NULL;
}

static bool take_value(hth_invocation *in, const hth_option *o, const char *text)
{
	char *end;
	errno = 0;
	if (o->given != NULL)
		*o->given = true;
	switch (o->kind) {
	case HTH_OPTION_FLAG:
		*(bool *)o->value = true;
		return true;
	case HTH_OPTION_TEXT:
		*(const char **)o->value = text;
		return true;
	case HTH_OPTION_INT: {
		long long v = strtoll(text, &end, 10);
		if (*text != '\0' && *end == '\0' && errno == 0 && (double)v >= o->min && (double)v <= o->max) {
			*(int64_t *)o->value = v;
			return true;
		}
		in->exit_code = hth_cmd_usage(in, "--%s: '%s' should be a whole number from %.0f to %.0f", o->name, text, o->min, o->max);
		return false;
	}
	case HTH_OPTION_NUMBER: {
		double v = strtod(text, &end);
		if (*text != '\0' && *end == '\0' && errno == 0 && isfinite(v) && v >= o->min && v <= o->max) {
			*(double *)o->value = v;
			return true;
		}
		in->exit_code = hth_cmd_usage(in, "--%s: '%s' should be a number from %g to %g", o->name, text, o->min, o->max);
		return false;
	}
	}
	return false;
}

static void unknown(hth_invocation *in, const hth_option *options, size_t n_options, const char *arg)
{
	const char *names[64];
	char flags[HTH_CONFIG_SETTINGS_MAX][64];
	size_t n = 0;
	for (size_t i = 0; i < n_options; i++)
		names[n++] = options[i].name;
	for (size_t i = 0; i < hth_config_count() && n + 2 < HTH_COUNT(names); i++)
		names[n++] = flag_name(i, flags[i]);
	names[n++] = "help";
	names[n] = NULL;
	char word[64];
	snprintf(word, sizeof word, "%.*s", (int)HTH_MIN(strcspn(arg, "="), sizeof word - 1), arg);
	const char *near = strncmp(word, "--", 2) == 0 ? hth_options_nearest(word + 2, names) : NULL;
	in->exit_code = near != NULL ? hth_cmd_usage(in, "there is no option %s; did you mean --%s?", word, near)
	                             : hth_cmd_usage(in, "there is no option %s", word);
}

bool hth_options_take(hth_invocation *in, const hth_option *options, size_t n_options, int min_args, int max_args)
{
	if (in->wants_help) {
		print_help(in, options, n_options);
		in->exit_code = HTH_EXIT_DONE;
		return false;
	}
	int kept = 0;
	bool ended = false;
	for (int i = 0; i < in->argc; i++) {
		const char *arg = in->argv[i];
		if (!ended && strcmp(arg, "--") == 0) {
			ended = true;
			continue;
		}
		/* "-", "-5" and "- a line of a list" are words, not options. */
		bool letter = arg[0] == '-' && ((arg[1] >= 'a' && arg[1] <= 'z') || (arg[1] >= 'A' && arg[1] <= 'Z'));
		if (ended || (!letter && strncmp(arg, "--", 2) != 0)) {
			in->argv[kept++] = in->argv[i];
			continue;
		}
		const char *value;
		const hth_option *o = find(options, n_options, arg, &value);
		if (o == NULL) {
			unknown(in, options, n_options, arg);
			return false;
		}
		if (o->kind == HTH_OPTION_FLAG && value != NULL) {
			in->exit_code = hth_cmd_usage(in, "--%s takes no value", o->name);
			return false;
		}
		if (o->kind != HTH_OPTION_FLAG && value == NULL) {
			if (i + 1 >= in->argc) {
				in->exit_code = hth_cmd_usage(in, "%s needs a value: %s", arg, o->value_name);
				return false;
			}
			value = in->argv[++i];
		}
		if (!take_value(in, o, value))
			return false;
	}
	in->argc = kept;
	if (kept < min_args || kept > max_args) {
		in->exit_code = hth_cmd_usage(in, kept < min_args ? "something is missing" : "'%s' is one word too many (quote texts)",
		                              kept > max_args ? in->argv[max_args] : "");
		return false;
	}
	return true;
}
