/* config.c - reads the settings: one table of them, one small parser per kind of value.
 *
 * A value arrives as text from the file, the environment or a flag, and all three go through the same parser, so a bad value gets
 * the same sentence wherever it stands. Runs once, at start, on the main thread; owns no memory and keeps no state.
 * It refuses unknown names in the file (a typo must not silently leave a default in force) but leaves unknown flags to the command.
 */
#include "config/config.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct setting setting;
/* Sets the field at `at` from text; the error says what the value should be, without naming the setting. */
typedef hth_status (*parse_fn)(const setting *s, const char *text, void *at, hth_error *err);
typedef void (*format_fn)(const setting *s, const void *at, char *out, size_t out_len);

struct setting {
	const char *name;
	const char *by_default; /* NULL: worked out (home) */
	parse_fn parse;
	format_fn format;
	size_t offset, size; /* of the field in hth_config */
	uint64_t min, max;   /* of numbers */
	const char *help;
};

/* ---- kinds of values ---- */

static hth_status parse_text(const setting *s, const char *text, void *at, hth_error *err)
{
	size_t len = strlen(text);
	if (len >= s->size)
		return hth_fail(err, HTH_INVALID, "is %zu bytes long; at most %zu fit", len, s->size - 1);
	memcpy(at, text, len + 1);
	return HTH_OK;
}

/* http(s)://HOST[:PORT][/PATH], kept without a '/' at its end. */
static hth_status parse_url(const setting *s, const char *text, void *at, hth_error *err)
{
	size_t len = strlen(text);
	if ((strncmp(text, "http://", 7) != 0 || len < 8) && (strncmp(text, "https://", 8) != 0 || len < 9))
		return hth_fail(err, HTH_INVALID, "'%.200s' is no http:// or https:// address", text);
	HTH_TRY(parse_text(s, text, at, err));
	for (char *end = (char *)at + len; end[-1] == '/';)
		*--end = '\0';
	return HTH_OK;
}

static void format_text(const setting *s, const void *at, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s", (const char *)at);
}

static void format_secret(const setting *s, const void *at, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s", *(const char *)at ? "(set)" : "");
}

/* A path is kept absolute, since a daemon and its runners may work in other folders. */
static hth_status parse_path(const setting *s, const char *text, void *at, hth_error *err)
{
	char here[PATH_MAX], whole[2 * PATH_MAX];
	if (*text == '\0')
		return hth_fail(err, HTH_INVALID, "is empty; give a folder");
	if (*text == '/')
		return parse_text(s, text, at, err);
	if (getcwd(here, sizeof here) == NULL)
		return hth_fail_errno(err, HTH_IO, errno, "cannot tell the current folder for the relative path '%s'", text);
	if (strlen(text) >= PATH_MAX)
		return hth_fail(err, HTH_INVALID, "is longer than a path may be (%d bytes)", PATH_MAX);
	snprintf(whole, sizeof whole, "%s/%s", strcmp(here, "/") == 0 ? "" : here, text);
	return parse_text(s, whole, at, err);
}

static hth_status parse_path_or_none(const setting *s, const char *text, void *at, hth_error *err)
{
	return *text == '\0' ? parse_text(s, text, at, err) : parse_path(s, text, at, err);
}

/* ADDR:PORT, [V6]:PORT, ADDR, :PORT or PORT. The address is numeric: a name could mean another machine tomorrow. */
static hth_status parse_listen(const setting *s, const char *text, void *at, hth_error *err)
{
	hth_config *config = at;
	char address[sizeof config->listen_address] = "";
	const char *port = NULL;
	size_t len = strlen(text);
	if (*text == '[') {
		const char *end = strchr(text, ']');
		if (end == NULL || (end[1] != ':' && end[1] != '\0'))
			return hth_fail(err, HTH_INVALID, "'%s' should be like [::1]:4327", text);
		len = (size_t)(end - text - 1);
		text++;
		port = end[1] == ':' ? end + 2 : NULL;
	} else if (strspn(text, "0123456789") == len && len > 0) {
		port = text;
		len = 0;
	} else {
		const char *colon = strrchr(text, ':');
		if (colon != NULL && strchr(text, ':') == colon) {
			port = colon + 1;
			len = (size_t)(colon - text);
		}
	}
	if (len >= sizeof address)
		return hth_fail(err, HTH_INVALID, "has an address that is too long");
	memcpy(address, text, len);
	address[len] = '\0';
	if (len == 0 || strcasecmp(address, "localhost") == 0)
		strcpy(address, "127.0.0.1");
	else if (strcmp(address, "*") == 0)
		strcpy(address, "0.0.0.0");
	unsigned char binary[16];
	if (inet_pton(AF_INET, address, binary) != 1 && inet_pton(AF_INET6, address, binary) != 1)
		return hth_fail(err, HTH_INVALID, "'%s' is no IP address; use ADDR:PORT such as 127.0.0.1:4327 or [::1]:4327", address);
	unsigned number = 4327;
	if (port != NULL) {
		char *end;
		unsigned long n = strtoul(port, &end, 10);
		if (*port < '0' || *port > '9' || *end != '\0' || n > 65535)
			return hth_fail(err, HTH_INVALID, "'%s' is no port; it is a number from 0 (any free one) to 65535", port);
		number = (unsigned)n;
	}
	strcpy(config->listen_address, address);
	config->listen_port = (uint16_t)number;
	return HTH_OK;
}
static void format_listen(const setting *s, const void *at, char *out, size_t out_len)
{
	const hth_config *config = at;
	bool v6 = strchr(config->listen_address, ':') != NULL;
	snprintf(out, out_len, "%s%s%s:%u", v6 ? "[" : "", config->listen_address, v6 ? "]" : "", config->listen_port);
}

/* Digits ("1.5" where a unit follows), then a unit that multiplies; out of range fails with both ends of it. */
typedef struct unit {
	const char *name;
	uint64_t factor;
} unit;
static hth_status parse_number(const char *text, const unit *units, uint64_t *ret_value, hth_error *err)
{
	char known[128] = "";
	for (const unit *u = units; u->name != NULL; u++)
		if (*u->name != '\0')
			snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", *known ? ", " : "", u->name);
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno != 0)
		return *known ? hth_fail(err, HTH_INVALID, "'%.60s' should be a number and a unit, as in 5%s; units: %s", text,
		                         units[2].name, known)
		              : hth_fail(err, HTH_INVALID, "'%.60s' is no whole number", text);
	uint64_t part = 0, parts = 1;
	if (*end == '.' && *known)
		for (end++; *end >= '0' && *end <= '9'; end++)
			if (parts < 1000000) {
				part = part * 10 + (uint64_t)(*end - '0');
				parts *= 10;
			}
	while (*end == ' ')
		end++;
	for (const unit *u = units; u->name != NULL; u++) {
		uint64_t value;
		if (strcasecmp(u->name, end) != 0 || (parts > 1 && u->factor == 1))
			continue;
		if (hth_mul_overflows(n, u->factor, &value) || hth_add_overflows(value,
		                                                                 u->factor / parts * part + u->factor % parts *
		                                                                 part / parts, &value))
			return hth_fail(err, HTH_INVALID, "'%.60s' is too large", text);
		*ret_value = value;
		return HTH_OK;
	}
	return *known ? hth_fail(err, HTH_INVALID, "'%.60s' ends in a unit that is not known; known: %s", text, known)
	              : hth_fail(err, HTH_INVALID, "'%.60s' is no whole number", text);
}

static const unit no_units[] = {{"", 1}, {NULL, 0}};
static const unit byte_units[] = {{"", 1},          {"k", 1u << 10},   {"m", 1u << 20},   {"g", 1u << 30},
                                  {"t", 1ull << 40}, {"kib", 1u << 10}, {"mib", 1u << 20}, {"gib", 1u << 30},
                                  {"tib", 1ull << 40}, {"kb", 1000},    {"mb", 1000000},   {"gb", 1000000000},
                                  {"tb", 1000000000000},
                                  {NULL, 0}};
static const unit time_units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};

static hth_status in_range(const setting *s, uint64_t n, hth_error *err)
{
	if (n < s->min || n > s->max)
		return hth_fail(err, HTH_INVALID, "%llu is out of range; it may be %llu to %llu", (unsigned long long)n,
		                (unsigned long long)s->min, (unsigned long long)s->max);
	return HTH_OK;
}

/* 0 and "auto" are the same: the node chooses. */
static hth_status parse_count(const setting *s, const char *text, void *at, hth_error *err)
{
	uint64_t n = 0;
	if (s->min > 0 || strcasecmp(text, "auto") != 0)
		HTH_TRY(parse_number(text, no_units, &n, err));
	HTH_TRY(in_range(s, n, err));
	*(uint32_t *)at = (uint32_t)n;
	return HTH_OK;
}
static void format_count(const setting *s, const void *at, char *out, size_t out_len)
{
	snprintf(out, out_len, "%u", *(const uint32_t *)at);
}
static void format_auto(const setting *s, const void *at, char *out, size_t out_len)
{
	if (*(const uint32_t *)at == 0)
		snprintf(out, out_len, "auto");
	else
		format_count(s, at, out, out_len);
}

static hth_status parse_bytes(const setting *s, const char *text, void *at, hth_error *err)
{
	uint64_t n = 0;
	size_t len = strlen(text);
	if (len > 1 && text[len - 1] == '%') {
		char digits[8] = "";
		if (len - 1 < sizeof digits)
			memcpy(digits, text, len - 1);
		HTH_TRY(parse_number(digits, no_units, &n, err));
		if (n < 1 || n > 100)
			return hth_fail(err, HTH_INVALID, "'%s' should be 1%% to 100%%", text);
		n = (uint64_t)sysconf(_SC_PHYS_PAGES) / 100 * n * (uint64_t)sysconf(_SC_PAGESIZE);
	} else if (s->min > 0 || strcasecmp(text, "auto") != 0) {
		HTH_TRY(parse_number(text, byte_units, &n, err));
	}
	HTH_TRY(in_range(s, n, err));
	*(uint64_t *)at = n;
	return HTH_OK;
}
static void format_bytes(const setting *s, const void *at, char *out, size_t out_len)
{
	uint64_t n = *(const uint64_t *)at;
	static const char *const suffix[] = {"", "K", "M", "G", "T"};
	size_t i = 0;
	while (n != 0 && n % 1024 == 0 && i + 1 < HTH_COUNT(suffix)) {
		n /= 1024;
		i++;
	}
	if (n == 0 && s->min == 0)
		snprintf(out, out_len, "auto");
	else
		snprintf(out, out_len, "%llu%s", (unsigned long long)n, suffix[i]);
}

/* Bytes; "off" is none of them. */
static hth_status parse_spill(const setting *s, const char *text, void *at, hth_error *err)
{
	return parse_bytes(s, strcasecmp(text, "off") == 0 ? "0" : text, at, err);
}
static void format_spill(const setting *s, const void *at, char *out, size_t out_len)
{
	if (*(const uint64_t *)at == 0)
		snprintf(out, out_len, "off");
	else
		format_bytes(s, at, out, out_len);
}

/* Seconds; "never" (and -1, as Ollama's clients know it) only where the table's maximum is UINT32_MAX. */
static hth_status parse_duration(const setting *s, const char *text, void *at, hth_error *err)
{
	uint64_t n;
	if (s->max == UINT32_MAX && (strcasecmp(text, "never") == 0 || strcmp(text, "-1") == 0))
		n = UINT32_MAX;
	else
		HTH_TRY(parse_number(text, time_units, &n, err));
	HTH_TRY(in_range(s, n, err));
	*(uint32_t *)at = (uint32_t)n;
	return HTH_OK;
}
static void format_duration(const setting *s, const void *at, char *out, size_t out_len)
{
	uint32_t n = *(const uint32_t *)at;
	if (n == UINT32_MAX)
		snprintf(out, out_len, "never");
	else if (n != 0 && n % 3600 == 0)
		snprintf(out, out_len, "%uh", n / 3600);
	else if (n != 0 && n % 60 == 0)
		snprintf(out, out_len, "%um", n / 60);
	else
		snprintf(out, out_len, "%us", n);
}

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static hth_status parse_level(const setting *s, const char *text, void *at, hth_error *err)
{
	for (size_t i = 0; i < HTH_COUNT(level_names); i++)
		if (strcasecmp(text, level_names[i]) == 0) {
			*(int *)at = (int)i;
			return HTH_OK;
		}
	return hth_fail(err, HTH_INVALID, "'%s' should be error, warn, info or debug", text);
}
static void format_level(const setting *s, const void *at, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s", level_names[*(const int *)at]);
}

static hth_status parse_switch(const setting *s, const char *text, void *at, hth_error *err)
{
	bool on = strcmp(text, "on") == 0;
	if (!on && strcmp(text, "off") != 0)
		return hth_fail(err, HTH_INVALID, "'%.40s' should be on or off", text);
	*(uint32_t *)at = on;
	return HTH_OK;
}
static void format_switch(const setting *s, const void *at, char *out, size_t out_len)
{
	(void)s;
	snprintf(out, out_len, "%s", *(const uint32_t *)at != 0 ? "on" : "off");
}

static const char *const lend_names[] = {[HTH_LEND_NOTHING] = "off", [HTH_LEND_NEIGHBOURS] = "neighbours", [HTH_LEND_PUBLIC] = "public",
                                         [HTH_LEND_NEIGHBOURS | HTH_LEND_PUBLIC] = "on"};
static hth_status parse_lend(const setting *s, const char *text, void *at, hth_error *err)
{
	for (uint32_t i = 0; i < HTH_COUNT(lend_names); i++)
		if (strcmp(text, lend_names[i]) == 0) {
			*(uint32_t *)at = i;
			return HTH_OK;
		}
	return hth_fail(err, HTH_INVALID, "'%.40s' should be on, off, neighbours or public", text);
}
static void format_lend(const setting *s, const void *at, char *out, size_t out_len)
{
	(void)s;
	snprintf(out, out_len, "%s", lend_names[*(const uint32_t *)at]);
}

/* "22-6": hours of the day. */
static hth_status parse_hours(const setting *s, const char *text, void *at, hth_error *err)
{
	unsigned from, to;
	int n = 0;
	if (*text != '\0' && (sscanf(text, "%2u-%2u%n", &from, &to, &n) != 2 || text[n] != '\0' || from > 23 || to > 24 || from == to))
		return hth_fail(err, HTH_INVALID, "'%.40s' should be two hours of the day (22-6: from ten in the evening to six)", text);
	return parse_text(s, text, at, err);
}

static hth_status parse_class(const setting *s, const char *text, void *at, hth_error *err)
{
	if (strcmp(text, "private") != 0 && strcmp(text, "neighbours") != 0 && strcmp(text, "public") != 0)
		return hth_fail(err, HTH_INVALID, "'%.40s' should be private, neighbours or public", text);
	return parse_text(s, text, at, err);
}

/* ---- the table ---- */

#define FIELD(name) offsetof(hth_config, name), sizeof(((hth_config *)NULL)->name)
static const setting settings[] = {
    {"home", NULL, parse_path, format_text, FIELD(home), 0, 0,
     "folder of everything this node keeps (not settable in hearth.conf, which lives there)"},
    {"listen", "127.0.0.1:4327", parse_listen, format_listen, 0, sizeof(hth_config), 0, 0,
     "ADDR:PORT to listen on, and where the other commands look for the node; beyond loopback needs a key"},
    {"model", "starter", parse_text, format_text, FIELD(model), 0, 0,
     "model (name or file) that answers when a request names none"},
    {"embed_model", "", parse_text, format_text, FIELD(embed_model), 0, 0,
     "embedding model that finds documents by what they mean; empty: the only one that is here; off: none"},
    {"api_key", "", parse_text, format_secret, FIELD(api_key), 0, 0,
     "key that clients must send (Authorization: Bearer KEY); empty: none"},
    {"allowed_hosts", "", parse_text, format_text, FIELD(allowed_hosts), 0, 0,
     "further Host names that requests may carry, comma-separated"},
    {"allowed_origins", "", parse_text, format_text, FIELD(allowed_origins), 0, 0,
     "further Origins of browser pages that may ask, comma-separated"},
    {"threads", "auto", parse_count, format_auto, FIELD(threads), 0, 1024, "threads that compute; auto: one per core"},
    {"parallel", "auto", parse_count, format_auto, FIELD(parallel), 0, 256,
     "requests that one model answers at once; auto: from memory"},
    {"context", "auto", parse_count, format_auto, FIELD(context), 0, 16u << 20,
     "tokens of one request, prompt and answer; auto: the model's, as memory allows"},
    {"memory", "auto", parse_bytes, format_bytes, FIELD(memory), 0, UINT64_MAX,
     "memory for all models (bytes, 8G, 50%); auto: 80% of the machine's"},
    {"spill", "off", parse_spill, format_spill, FIELD(spill), 0, (uint64_t)INT64_MAX,
     "disk that each loaded model may use for beginnings of conversations that memory has no room for (bytes, 4G); off: none"},
    {"keep_alive", "5m", parse_duration, format_duration, FIELD(keep_alive_s), 0, UINT32_MAX,
     "unload a model after this long without a request (30s, 5m, 2h, never); 0: at once"},
    {"queue", "64", parse_count, format_count, FIELD(queue), 0, 65536, "requests that may wait for one model"},
    {"load_timeout", "2m", parse_duration, format_duration, FIELD(load_timeout_s), 1, 86400,
     "how long a request waits for its model to load"},
    {"max_body", "32M", parse_bytes, format_bytes, FIELD(max_body), 1024, 1ull << 32, "largest body of a request"},
    {"max_connections", "256", parse_count, format_count, FIELD(max_connections), 1, 65536, "connections open at once"},
    {"shutdown", "10s", parse_duration, format_duration, FIELD(shutdown_s), 0, 86400,
     "how long running answers may take to finish when the node is told to stop"},
    {"home_name", "", parse_text, format_text, FIELD(home_name), 0, 0,
     "how this home is called in a neighbourhood that it makes or joins; empty: as the machine"},
    {"default_privacy", "private", parse_class, format_text, FIELD(default_privacy), 0, 0,
     "class of requests that come without a key and name none: private, neighbours, public; privacy.MODEL for a model's"},
    {"pool_lend", "on", parse_lend, format_lend, FIELD(pool_lend), 0, 0,
     "whether neighbours may use this machine while it has nothing else to do (on, off), or for requests of one class alone (neighbours, "
     "public)"},
    {"pool_lend_hours", "", parse_hours, format_text, FIELD(pool_lend_hours), 0, 0,
     "hours of the day in which they may (22-6); empty: at any"},
    {"pool_lend_tokens", "0", parse_count, format_count, FIELD(pool_lend_tokens), 0, UINT32_MAX,
     "tokens that are made for them in a day; 0: no limit"},
    {"pool_watts", "0", parse_count, format_count, FIELD(pool_watts), 0, 1000,
     "watts of a busy processor core, for receipts where the processor has no meter that may be read; 0: they say 0"},
    {"fetch_hosts", "", parse_text, format_text, FIELD(fetch_hosts), 0, 0,
     "hosts that models may fetch pages from (web_fetch), comma-separated; empty: off"},
    {"fetch_max", "1M", parse_bytes, format_bytes, FIELD(fetch_max), 1024, 16u << 20, "bytes of a fetched page; more is cut off"},
    {"fetch_timeout", "10s", parse_duration, format_duration, FIELD(fetch_timeout_s), 1, 600, "how long fetching a page may take"},
    {"registry", "https://registry.ollama.ai", parse_url, format_text, FIELD(registry), 0, 0, "where `hearth pull NAME` asks for models"},
    {"huggingface", "https://huggingface.co", parse_url, format_text, FIELD(huggingface), 0, 0,
     "where `hearth pull hf.co/OWNER/REPO` asks for models"},
    {"ca_file", "", parse_path_or_none, format_text, FIELD(ca_file), 0, 0,
     "certificates (PEM) of CAs to trust beside the system's, for https servers of your own"},
    {"pool_share", "on", parse_switch, format_switch, FIELD(pool_share), 0, 0,
     "neighbours may fetch this home's models: those that anybody could download; others only neighbours that you trust (on, off)"},
    {"pool_rate", "off", parse_spill, format_spill, FIELD(pool_rate), 0, (uint64_t)INT64_MAX,
     "bytes a second of model files to neighbours, and from them (2M); off: as fast as the line allows while nobody waits for an answer"},
    {"log_level", "info", parse_level, format_level, FIELD(log_level), 0, 0, "error, warn, info or debug"},
};
_Static_assert(HTH_COUNT(settings) <= HTH_CONFIG_SETTINGS_MAX, "raise HTH_CONFIG_SETTINGS_MAX");

static void *field_of(hth_config *config, const setting *s) { return (char *)config + s->offset; }

/* '-' and '_' are the same in a name. */
static const setting *find_setting(const char *name, size_t len)
{
	for (size_t i = 0; i < HTH_COUNT(settings); i++) {
		const char *n = settings[i].name;
		size_t k = 0;
		while (k < len && n[k] != '\0' && (n[k] == name[k] || (n[k] == '_' && name[k] == '-')))
			k++;
		if (k == len && n[k] == '\0')
			return &settings[i];
	}
	return NULL;
}

static hth_status set(hth_config *config, const setting *s, const char *text, hth_config_source source, hth_error *err)
{
	HTH_TRY(s->parse(s, text, field_of(config, s), err));
	config->source[s - settings] = source;
	return HTH_OK;
}

/* ---- where values come from ---- */

/* The XDG base directory specification: a relative XDG_DATA_HOME is ignored. */
static hth_status default_home(hth_config *config, hth_error *err)
{
	char path[PATH_MAX + 32];
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	if (data != NULL && *data == '/') {
		snprintf(path, sizeof path, "%.*s/hearth", PATH_MAX, data);
	} else {
		if (home == NULL || *home != '/') {
			const struct passwd *user = getpwuid(getuid());
			home = user != NULL ? user->pw_dir : NULL;
		}
		if (home != NULL && *home == '/')
			snprintf(path, sizeof path, "%.*s/.local/share/hearth", PATH_MAX, home);
		else
			snprintf(path, sizeof path, "/var/lib/hearth");
	}
	return set(config, &settings[0], path, HTH_FROM_DEFAULT, err);
}

static char *trim(char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	size_t len = strlen(s);
	while (len > 0 && strchr(" \t\r", s[len - 1]) != NULL)
		s[--len] = '\0';
	return s;
}

/* URL [key=KEY] [privacy=CLASS], changed in place. */
static hth_status read_upstream(hth_config *config, const char *name, char *value, hth_error *err)
{
	static const setting url = {.size = sizeof config->upstreams->url}, key = {.size = sizeof config->upstreams->key};
	hth_config_upstream up = {.name = ""};
	size_t len = strlen(name);
	if (len == 0 || len >= sizeof up.name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return hth_fail(err, HTH_INVALID, "'%.60s' is no name for an upstream; it is made of a-z, 0-9 and '-'", name);
	for (size_t i = 0; i < config->n_upstreams; i++)
		if (strcmp(config->upstreams[i].name, name) == 0)
			return hth_fail(err, HTH_INVALID, "there are two upstreams '%s'", name);
	if (config->n_upstreams == HTH_CONFIG_UPSTREAMS_MAX)
		return hth_fail(err, HTH_INVALID, "there are more than %d upstreams", HTH_CONFIG_UPSTREAMS_MAX);
	memcpy(up.name, name, len + 1);
	for (char *save = NULL, *word = strtok_r(value, " \t", &save); word != NULL; word = strtok_r(NULL, " \t", &save)) {
		if (up.url[0] == '\0') {
			HTH_TRY(parse_url(&url, word, up.url, err));
		} else if (strncmp(word, "key=", 4) == 0) {
			HTH_TRY(parse_text(&key, word + 4, up.key, err));
		} else if (strcmp(word, "privacy=private") == 0 || strcmp(word, "privacy=neighbours") == 0 ||
		           strcmp(word, "privacy=public") == 0) {
			snprintf(up.privacy, sizeof up.privacy, "%s", word + 8);
		} else {
			return hth_fail(err, HTH_INVALID, "'%.60s' should be key=KEY or privacy=private, neighbours or public", word);
		}
	}
	if (up.url[0] == '\0')
		return hth_fail(err, HTH_INVALID, "has no address; it is like http://127.0.0.1:8080");
	config->upstreams[config->n_upstreams++] = up;
	return HTH_OK;
}

static hth_status read_class(hth_config *config, const char *name, const char *value, hth_error *err)
{
	hth_config_class *c = &config->classes[config->n_classes];
	if (config->n_classes == HTH_CONFIG_CLASSES_MAX)
		return hth_fail(err, HTH_INVALID, "there are more than %d classes of models", HTH_CONFIG_CLASSES_MAX);
	if (*name == '\0' || strlen(name) >= sizeof c->model)
		return hth_fail(err, HTH_INVALID,
		                "should be like privacy.MODEL = CLASS, with the name of a model as `hearth list` shows it");
	for (size_t i = 0; i < config->n_classes; i++)
		if (strcmp(config->classes[i].model, name) == 0)
			return hth_fail(err, HTH_INVALID, "there are two classes for '%s'", name);
	const setting in_class = {.size = sizeof c->privacy};
	HTH_TRY(parse_class(&in_class, value, c->privacy, err));
	strcpy(c->model, name);
	config->n_classes++;
	return HTH_OK;
}

static hth_status read_draft(hth_config *config, const char *name, const char *value, hth_error *err)
{
	hth_config_draft *d = &config->drafts[config->n_drafts];
	if (*name == '\0' || *value == '\0' || strlen(name) >= sizeof d->model || strlen(value) >= sizeof d->draft)
		return hth_fail(err, HTH_INVALID, "should be like draft.MODEL = SMALLER, names of models as `hearth list` shows them");
	for (size_t i = 0; i < config->n_drafts; i++)
		if (strcmp(config->drafts[i].model, name) == 0)
			return hth_fail(err, HTH_INVALID, "there are two drafts for '%s'", name);
	if (config->n_drafts == HTH_CONFIG_DRAFTS_MAX)
		return hth_fail(err, HTH_INVALID, "there are more than %d drafts", HTH_CONFIG_DRAFTS_MAX);
	strcpy(d->model, name);
	strcpy(d->draft, value);
	config->n_drafts++;
	return HTH_OK;
}

/* One line of hearth.conf, changed in place. A '#' begins a comment at the line's start or after white space. */
static hth_status read_line(hth_config *config, char *line, hth_error *err)
{
	for (char *c = line; *c != '\0'; c++)
		if (*c == '#' && (c == line || c[-1] == ' ' || c[-1] == '\t')) {
			*c = '\0';
			break;
		}
	line = trim(line);
	if (*line == '\0')
		return HTH_OK;
	char *equals = strchr(line, '=');
	if (equals == NULL)
		return hth_fail(err, HTH_INVALID, "'%.60s' is not of the form name = value", line);
	*equals = '\0';
	char *name = trim(line), *value = trim(equals + 1);
	if (strncmp(name, "upstream.", 9) == 0) {
		if (read_upstream(config, name + 9, value, err) != HTH_OK)
			return hth_fail_prefix(err, "%.60s", name);
		return HTH_OK;
	}
	if (strncmp(name, "draft.", 6) == 0) {
		if (read_draft(config, name + 6, value, err) != HTH_OK)
			return hth_fail_prefix(err, "%.60s", name);
		return HTH_OK;
	}
	if (strncmp(name, "privacy.", 8) == 0) {
		if (read_class(config, name + 8, value, err) != HTH_OK)
			return hth_fail_prefix(err, "%.60s", name);
		return HTH_OK;
	}
	const setting *s = find_setting(name, strlen(name));
	if (s == NULL)
		return hth_fail(err, HTH_INVALID, "there is no setting '%.60s'; `hearth config` lists them", name);
	if (s == &settings[0])
		return hth_fail(err, HTH_INVALID, "'home' cannot be set here: this file lives in it; use HEARTH_HOME or --home");
	if (set(config, s, value, HTH_FROM_FILE, err) != HTH_OK)
		return hth_fail_prefix(err, "%s", s->name);
	return HTH_OK;
}

static hth_status read_file(hth_config *config, hth_error *err)
{
	char path[sizeof config->home + 16];
	snprintf(path, sizeof path, "%s/hearth.conf", config->home);
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot open %s", path);
	struct stat st;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return hth_fail(err, HTH_IO, "%s is not a regular file", path);
	HTH_AUTO_FREE char *text = malloc(HTH_CONFIG_FILE_MAX + 1);
	if (text == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read %s", path);
	size_t len = 0;
	for (;;) {
		ssize_t n = read(fd, text + len, HTH_CONFIG_FILE_MAX + 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot read %s", path);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > HTH_CONFIG_FILE_MAX)
			return hth_fail(err, HTH_TOO_LARGE, "%s is over %d bytes", path, HTH_CONFIG_FILE_MAX);
	}
	text[len] = '\0';
	if (memchr(text, '\0', len) != NULL)
		return hth_fail(err, HTH_INVALID, "%s holds a NUL byte: it is no text file", path);
	unsigned number = 1;
	for (char *line = text; line != NULL; number++) {
		char *next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (read_line(config, line, err) != HTH_OK)
			return hth_fail_prefix(err, "%s, line %u", path, number);
		line = next;
	}
	return HTH_OK;
}

static hth_status read_environment(hth_config *config, hth_error *err)
{
	for (size_t i = 1; i < HTH_COUNT(settings); i++) {
		char name[64] = "HEARTH_";
		size_t n = strlen(name);
		for (const char *c = settings[i].name; *c != '\0' && n + 1 < sizeof name; c++)
			name[n++] = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
		name[n] = '\0';
		const char *value = getenv(name);
		if (value != NULL && set(config, &settings[i], value, HTH_FROM_ENVIRONMENT, err) != HTH_OK)
			return hth_fail_prefix(err, "the environment's %s", name);
	}
	return HTH_OK;
}

/* Flags once for the home (the file is looked for there) and once for the rest; only the second pass takes them out. */
static hth_status read_flags(hth_config *config, int *argc, char **argv, bool home_only, hth_error *err)
{
	int kept = 1;
	bool ended = false;
	for (int i = 1; i < *argc; i++) {
		const char *arg = argv[i];
		if (strcmp(arg, "--") == 0)
			ended = true;
		const setting *s = NULL;
		const char *equals = NULL;
		if (!ended && strncmp(arg, "--", 2) == 0) {
			equals = strchr(arg, '=');
			s = find_setting(arg + 2, equals != NULL ? (size_t)(equals - arg - 2) : strlen(arg + 2));
		}
		if (s == NULL) {
			if (!home_only)
				argv[kept] = argv[i];
			kept++;
			continue;
		}
		if (equals == NULL && i + 1 >= *argc)
			return hth_fail_param(err, HTH_INVALID, s->name, "%s needs a value", arg);
		const char *value = equals != NULL ? equals + 1 : argv[++i];
		if (home_only && s != &settings[0])
			continue;
		if (set(config, s, value, HTH_FROM_FLAG, err) != HTH_OK) {
			snprintf(err->param, sizeof err->param, "%s", s->name);
			return hth_fail_prefix(err, "--%.*s", equals != NULL ? (int)(equals - arg - 2) : 60, arg + 2);
		}
	}
	if (!home_only) {
		*argc = kept;
		argv[kept] = NULL;
	}
	return HTH_OK;
}

hth_status hth_config_load(hth_config *ret_config, int *argc, char **argv, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	if (err == NULL)
		err = &own;
	HTH_AUTO_FREE hth_config *config = hth_alloc_array(1, sizeof *config);
	if (config == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the settings");
	for (size_t i = 1; i < HTH_COUNT(settings); i++)
		HTH_TRY(set(config, &settings[i], settings[i].by_default, HTH_FROM_DEFAULT, err));
	const char *home = getenv("HEARTH_HOME");
	if (home != NULL && *home != '\0') {
		if (set(config, &settings[0], home, HTH_FROM_ENVIRONMENT, err) != HTH_OK)
			return hth_fail_prefix(err, "the environment's HEARTH_HOME");
	} else {
		HTH_TRY(default_home(config, err));
	}
	HTH_TRY(read_flags(config, argc, argv, true, err));
	HTH_TRY(read_file(config, err));
	HTH_TRY(read_environment(config, err));
	HTH_TRY(read_flags(config, argc, argv, false, err));
	*ret_config = *config;
	return HTH_OK;
}

/* ---- showing them ---- */

size_t hth_config_count(void) { return HTH_COUNT(settings); }

void hth_config_describe(size_t i, const hth_config *config, const char **ret_name, char *value, size_t value_len,
                         hth_config_source *ret_source, const char **ret_help)
{
	const setting *s = &settings[i];
	if (ret_name != NULL)
		*ret_name = s->name;
	if (ret_help != NULL)
		*ret_help = s->help;
	if (ret_source != NULL)
		*ret_source = config != NULL ? config->source[i] : HTH_FROM_DEFAULT;
	if (value == NULL || value_len == 0)
		return;
	*value = '\0';
	if (config != NULL)
		s->format(s, (const char *)config + s->offset, value, value_len);
	else if (s->by_default != NULL)
		snprintf(value, value_len, "%s", s->by_default);
}

const char *hth_config_source_name(hth_config_source source)
{
	static const char *const names[] = {"default", "file", "environment", "flag"};
	return names[source];
}

void hth_config_url(const hth_config *config, char *out, size_t out_len)
{
	const char *address = config->listen_address;
	bool v6 = strchr(address, ':') != NULL;
	if (strcmp(address, "0.0.0.0") == 0)
		address = "127.0.0.1";
	else if (strcmp(address, "::") == 0)
		address = "::1";
	snprintf(out, out_len, "http://%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", config->listen_port);
}
