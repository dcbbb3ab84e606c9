/* formats.c - formats as patterns: RFC 3339 dates and times, RFC 4122 UUIDs, RFC 5321 mailboxes (the dotted form), host
 * names, addresses, URIs and ISO 8601 durations. Dates are real ones, leap years included. */
#include "schema/schema.h"

#define DATE                                                                                                           \
	"(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)"                 \
	"|02-(?:0[1-9]|1\\d|2[0-8]))|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"       \
	"-02-29)"
#define TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:[Zz]|[-+](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 BYTE "\\." BYTE "\\." BYTE "\\." BYTE
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                                           \
	"(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32 "|(?:(?:" H16        \
	":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16  \
	":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16          \
	")?::" H16 "|(?:(?:" H16 ":){0,6}" H16 ")?::)"
#define LABEL "[0-9A-Za-z](?:[-0-9A-Za-z]{0,61}[0-9A-Za-z])?"
#define ATOM "[-A-Za-z0-9!#$%&'*+/=?^_`{|}~]+"
#define UCHAR "(?:[-A-Za-z0-9._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
#define CLOCK "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)"

#define SCHEME "[A-Za-z][-A-Za-z0-9+.]*:"
#define AUTHORITY                                                                                                      \
	"//(?:(?:[-A-Za-z0-9._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*@)?(?:\\[" IPV6                                          \
	"\\]|(?:[-A-Za-z0-9._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::\\d*)?(?:/" UCHAR "*)*"
#define ROOTED "(?:/(?:" UCHAR "+(?:/" UCHAR "*)*)?)?"
#define QUERY_FRAGMENT "(?:\\?(?:" UCHAR "|[/?])*)?(?:#(?:" UCHAR "|[/?])*)?"
#define URI SCHEME "(?:" AUTHORITY "|" ROOTED "|" UCHAR "+(?:/" UCHAR "*)*)"
#define RELATIVE AUTHORITY "|" ROOTED "|(?:[-A-Za-z0-9._~!$&'()*+,;=@]|%[0-9A-Fa-f]{2})+(?:/" UCHAR "*)*"
#define BASE64 "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
#define POINTER "(?:/(?:[^~/]|~[01])*)*"

static const struct {
	const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "[Tt]" TIME "$"},
    {"duration", "^P(?:\\d+W|(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)(?:" CLOCK ")?|" CLOCK ")$"},
    {"uuid", "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"},
    {"email", "^" ATOM "(?:\\." ATOM ")*@" LABEL "(?:\\." LABEL ")*$"},
    {"hostname", "^" LABEL "(?:\\." LABEL ")*$"},
    {"ipv4", "^" IPV4 "$"},
    {"ipv6", "^" IPV6 "$"},
    {"uri", "^" URI QUERY_FRAGMENT "$"},
    {"url", "^" URI QUERY_FRAGMENT "$"},
    {"uri-reference", "^(?:" URI "|" RELATIVE ")" QUERY_FRAGMENT "$"},
    {"byte", BASE64},
    {"base64", BASE64},
    {"password", ""}, /* OpenAPI: says how to show it */
    {"binary", ""},
    {"json-pointer", "^" POINTER "$"},
    {"relative-json-pointer", "^(?:0|[1-9]\\d*)(?:#|" POINTER ")$"},
};

const char *hth_schema_format(const char *name)
{
	for (size_t i = 0; i < HTH_COUNT(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return formats[i].pattern;
	return NULL;
}
