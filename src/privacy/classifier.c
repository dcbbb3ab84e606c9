/* classifier.c - one pass over a text: where something may begin, the detectors look; see classifier.h for what follows from what they
 * find. */
#include "privacy/classifier.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "privacy/detectors.h"

#include <stdio.h>

static const struct {
	const char *name, *one, *many;
} kinds[HTH_FINDING_KINDS] = {
    [HTH_FINDING_EMAIL] = {"email", "an e-mail address", "e-mail addresses"},
    [HTH_FINDING_PHONE] = {"phone", "a telephone number", "telephone numbers"},
    [HTH_FINDING_IBAN] = {"iban", "a bank account (IBAN)", "bank accounts (IBAN)"},
    [HTH_FINDING_CARD] = {"card", "a card number", "card numbers"},
    [HTH_FINDING_NATIONAL_ID] = {"national_id", "a national identifier", "national identifiers"},
    [HTH_FINDING_ADDRESS] = {"address", "a street address", "street addresses"},
    [HTH_FINDING_SECRET] = {"secret", "a key or password", "keys or passwords"},
    [HTH_FINDING_HEALTH] = {"health", "a word of health", "words of health"},
    [HTH_FINDING_MONEY] = {"money", "a word of money", "words of money"},
    [HTH_FINDING_CHILDREN] = {"children", "a word of children", "words of children"},
    [HTH_FINDING_NAME] = {"name", "a person's name", "persons' names"},
    [HTH_FINDING_UNREADABLE] = {"unreadable", "something that cannot be read here", "things that cannot be read here"},
};

const char *hth_finding_name(hth_finding_kind kind) { return (unsigned)kind < HTH_FINDING_KINDS ? kinds[kind].name : "?"; }
const char *hth_finding_words(hth_finding_kind kind) { return (unsigned)kind < HTH_FINDING_KINDS ? kinds[kind].one : "?"; }

static size_t add(hth_findings *f, hth_finding_kind kind, size_t offset, size_t len, const char *what)
{
	if (f->n < HTH_FINDINGS_MAX)
		f->items[f->n++] = (hth_finding){.kind = kind, .offset = offset, .len = len, .what = what};
	f->counts[kind]++;
	return len;
}

static void conclude(hth_findings *f)
{
	size_t topics = f->counts[HTH_FINDING_HEALTH] + f->counts[HTH_FINDING_MONEY] + f->counts[HTH_FINDING_CHILDREN];
	bool named = f->counts[HTH_FINDING_NAME] > 0;
	f->limit = HTH_PUBLIC;
	if (topics > 0)
		f->limit = named || f->own ? HTH_PRIVATE : HTH_NEIGHBOURS;
	for (unsigned kind = 0; kind < HTH_FINDING_KINDS; kind++) {
		bool topic = kind == HTH_FINDING_HEALTH || kind == HTH_FINDING_MONEY || kind == HTH_FINDING_CHILDREN ||
		    kind == HTH_FINDING_NAME;
		if (!topic && f->counts[kind] > 0)
			f->limit = HTH_PRIVATE;
	}
}

static bool is_capital(hth_text t, size_t at)
{
	unsigned char c = hth_text_at(t, at);
	return hth_is_upper_byte(c) || (c == 0xc3 && hth_text_at(t, at + 1) >= 0x80 && hth_text_at(t, at + 1) <= 0x9e);
}

/* What the word itself stands for. Returns how many bytes were taken beyond it, 0: none. */
static size_t look_at_word(hth_text t, size_t at, size_t len, hth_findings *f)
{
	const char *what = NULL;
	size_t taken;
	hth_word_kind kind = hth_word_kind_of(t.s + at, len);
	switch (kind) {
	case HTH_WORD_HEALTH:
	case HTH_WORD_MONEY:
	case HTH_WORD_CHILDREN:
		add(f, kind == HTH_WORD_HEALTH ? HTH_FINDING_HEALTH : kind == HTH_WORD_MONEY ? HTH_FINDING_MONEY : HTH_FINDING_CHILDREN, at,
		    len, "word");
		f->own |= hth_word_before(t, at, HTH_WORD_OWN, 2);
		return 0;
	case HTH_WORD_GIVEN_NAME:
		if (is_capital(t, at))
			add(f, HTH_FINDING_NAME, at, len, "given name");
		return 0;
	case HTH_WORD_TITLE: { /* Dr. Weiss, Frau M\u00fcller */
		size_t next = at + len + (hth_text_at(t, at + len) == '.');
		if (is_capital(t, at) && hth_text_at(t, next) == ' ' && is_capital(t, next + 1))
			add(f, HTH_FINDING_NAME, at, len, "title and name");
		return 0;
	}
	case HTH_WORD_PASSWORD:
		taken = hth_detect_password(t, at, len, &what);
		return taken > 0 ? add(f, HTH_FINDING_SECRET, at, taken, what) : 0;
	default: return 0;
	}
}

/* Where a word, a plus or a bracket begins. */
static size_t look_at_start(hth_text t, size_t at, hth_findings *f)
{
	unsigned char c = (unsigned char)t.s[at];
	const char *what = NULL;
	hth_finding_kind kind = HTH_FINDING_PHONE;
	size_t taken;
	bool digit = hth_is_digit_byte(c), letter = hth_is_letter_byte(c);
	if (letter && (taken = hth_detect_iban(t, at, &what)) > 0)
		return add(f, HTH_FINDING_IBAN, at, taken, what);
	if ((letter || digit) && (taken = hth_detect_lettered_id(t, at, &what)) > 0)
		return add(f, HTH_FINDING_NATIONAL_ID, at, taken, what);
	if ((digit || c == '+' || c == '(') && (taken = hth_detect_number(t, at, &kind, &what)) > 0)
		return add(f, kind, at, taken, what);
	if (hth_is_word_byte(c) && (taken = hth_detect_address(t, at, &what)) > 0)
		return add(f, HTH_FINDING_ADDRESS, at, taken, what);
	return 0;
}

static bool is_edge(unsigned char c) { return c <= ' ' || strchr("\"'`<>(){}[],;=", c) != NULL; }

static void scan(hth_text t, hth_findings *f)
{
	const char *what = NULL;
	for (size_t i = 0; i < t.len;) {
		unsigned char c = (unsigned char)t.s[i], before = i > 0 ? (unsigned char)t.s[i - 1] : ' ';
		size_t taken = 0, begin;
		if (is_edge(before) && !is_edge(c)) {
			size_t len = 0;
			while (i + len < t.len && !is_edge((unsigned char)t.s[i + len]))
				len++;
			taken = hth_detect_secret(t, i, len, &what);
			if (taken > 0)
				add(f, HTH_FINDING_SECRET, i, taken, what);
		}
		if (taken == 0 && c == '@' && (taken = hth_detect_email(t, i, &begin)) > 0) {
			add(f, HTH_FINDING_EMAIL, begin, taken, "e-mail address");
			taken -= i - begin;
		}
		if (taken == 0 && !hth_is_word_byte(before) && (hth_is_word_byte(c) || c == '+' || c == '('))
			taken = look_at_start(t, i, f);
		if (taken == 0 && hth_is_word_byte(c)) {
			size_t len = 1;
			while (i + len < t.len && (hth_is_word_byte((unsigned char)t.s[i + len]) || t.s[i + len] == '_'))
				len++;
			taken = look_at_word(t, i, len, f);
			if (taken == 0)
				taken = len;
		}
		i += taken > 0 ? taken : 1;
	}
}

void hth_classifier_scan(const char *text, size_t len, hth_findings *ret_findings)
{
	*ret_findings = (hth_findings){.limit = HTH_PUBLIC};
	if (len > HTH_CLASSIFIER_TEXT_MAX)
		add(ret_findings, HTH_FINDING_UNREADABLE, 0, len, "text longer than is looked at");
	else
		scan((hth_text){text, len}, ret_findings);
	conclude(ret_findings);
}

/* ---- requests ---- */

static unsigned hex4(const char *s)
{
	unsigned v = 0;
	for (int i = 0; i < 4; i++) {
		char c = s[i];
		if (c == '\0')
			return 0xfffd;
		v = v * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
	}
	return v;
}

/* JSON that was checked already, as a text: strings without their escapes, a colon after names, a line's end between everything else. So
 * "password": "x" reads as a person would have written it. Surrogate pairs become one character that is none of ours. */
static void append_json_text(hth_buf *out, const char *json)
{
	bool inside = false;
	for (const char *s = json; *s != '\0' && !out->failed; s++) {
		if (!inside) {
			inside = *s == '"';
			hth_buf_append_str(out, *s == ':' ? ": " : inside ? "" : *s == ' ' ? ""
			                                                                   : (hth_is_word_byte((unsigned char)*s) ||
			                                                                      *s == '.' || *s == '-') ? (char[]){*s, 0}
			                   : "\n");
			continue;
		}
		if (*s == '"') {
			inside = false;
		} else if (*s != '\\') {
			hth_buf_append_char(out, *s);
		} else if (*++s == 'u') {
			char utf8[4];
			size_t n = hth_utf8_encode(hex4(s + 1), utf8);
			hth_buf_append(out, utf8, n);
			for (int i = 0; i < 4 && s[1] != '\0'; i++)
				s++;
		} else if (*s == '\0') {
			break;
		} else {
			hth_buf_append_char(out, *s == 'n' || *s == 'r' || *s == 'b' || *s == 'f' ? '\n' : *s == 't' ? '\t' : *s);
		}
	}
	hth_buf_append_char(out, '\n');
}

static void append_line(hth_buf *out, const char *text)
{
	if (text == NULL)
		return;
	hth_buf_append_str(out, text);
	hth_buf_append_char(out, '\n');
}

void hth_classifier_scan_request(const hth_request *request, hth_findings *ret_findings)
{
	const hth_request_input *in = &request->input;
	hth_buf text = HTH_BUF_INIT(HTH_CLASSIFIER_TEXT_MAX);
	if (in->text != NULL) {
		hth_buf_append(&text, in->text, in->text_len);
		hth_buf_append_char(&text, '\n');
	}
	const char *const jsons[] = {in->messages_json, in->tools_json, in->template_json, in->settings_json, in->format_json};
	for (size_t i = 0; i < HTH_COUNT(jsons); i++)
		if (jsons[i] != NULL)
			append_json_text(&text, jsons[i]);
	const hth_request_params *params = &request->params;
	for (size_t i = 0; i < params->n_stop; i++)
		append_line(&text, params->stop[i]);
	const char *const wishes[] = {in->must_call_name, params->grammar, params->grammar_trigger, params->grammar_trigger_if};
	for (size_t i = 0; i < HTH_COUNT(wishes); i++)
		append_line(&text, wishes[i]);
	*ret_findings = (hth_findings){.limit = HTH_PUBLIC};
	if (text.failed)
		add(ret_findings, HTH_FINDING_UNREADABLE, 0, 0, "text longer than is looked at");
	else if (text.len > 0)
		scan((hth_text){text.data, text.len}, ret_findings);
	if (in->n_tokens > 0)
		add(ret_findings, HTH_FINDING_UNREADABLE, 0, 0, "token numbers instead of text");
	if (in->messages_json != NULL && (strstr(in->messages_json, "\"image_url\"") != NULL ||
	                                  strstr(in->messages_json, "\"input_audio\"") != NULL ||
	                                  strstr(in->messages_json, "\"images\"") != NULL))
		add(ret_findings, HTH_FINDING_UNREADABLE, 0, 0, "picture or sound");
	conclude(ret_findings);
	if (text.data != NULL)
		explicit_bzero(text.data, text.cap);
	hth_buf_finish(&text);
}

void hth_findings_explain(const hth_findings *findings, char *out, size_t size)
{
	size_t n = 0, left = 0, at;
	for (unsigned kind = 0; kind < HTH_FINDING_KINDS; kind++)
		left += findings->counts[kind] > 0;
	static const char *const classes[] = {"private", "neighbours", "public"};
	at = (size_t)snprintf(out, size, "%s at most%s", classes[findings->limit],
	                      left > 0 ? ", because it has " : ": nothing was found that speaks against it");
	for (unsigned kind = 0; kind < HTH_FINDING_KINDS && at < size; kind++) {
		size_t count = findings->counts[kind];
		if (count == 0)
			continue;
		const char *join = n == 0 ? "" : left == 1 ? " and " : ", ";
		if (count == 1)
			at += (size_t)snprintf(out + at, size - at, "%s%s", join, kinds[kind].one);
		else
			at += (size_t)snprintf(out + at, size - at, "%s%zu %s", join, count, kinds[kind].many);
		n++;
		left--;
	}
	if (findings->own && at < size)
		snprintf(out + at, size - at, ", said of oneself");
}
