/* secrets.c - what opens something: private keys, the tokens of well-known services by their beginnings, passwords that are announced, and
 * long strings that look drawn at random. */
#include "base/mem.h"
#include "privacy/detectors.h"

static const struct {
	const char *begin;
	size_t least; /* bytes in all */
	const char *what;
} tokens[] = {
    {"-----BEGIN", 10, "private key or certificate"}, {"AKIA", 20, "AWS access key"}, {"ASIA", 20, "AWS access key"},
    {"ghp_", 20, "GitHub token"},
    {"gho_", 20, "GitHub token"}, {"ghs_", 20, "GitHub token"}, {"github_pat_", 30, "GitHub token"}, {"glpat-", 20, "GitLab token"},
    {"sk-", 20, "API key"}, {"sk_live_", 20, "API key"}, {"rk_live_", 20, "API key"}, {"hf_", 20, "Hugging Face token"},
    {"xoxb-", 20, "Slack token"},
    {"xoxp-", 20, "Slack token"}, {"AIza", 30, "Google API key"}, {"eyJ", 40, "signed web token"}, {"hth-", 30, "key of a Hearth"},
    {"hearth1.", 40, "invitation to a neighbourhood"}, {"ssh-rsa", 7, "SSH key"}, {"ssh-ed25519", 11, "SSH key"},
    {"AGE-SECRET-KEY-", 30, "age key"},
};

size_t hth_detect_secret(hth_text t, size_t at, size_t len, const char **ret_what)
{
	for (size_t i = 0; i < HTH_COUNT(tokens); i++) {
		size_t n = strlen(tokens[i].begin);
		if (len >= tokens[i].least && memcmp(t.s + at, tokens[i].begin, n) == 0) {
			*ret_what = tokens[i].what;
			return len;
		}
	}
	/* Drawn at random: long, of one alphabet, with all three kinds of characters, and changing kind often. Words and paths do not. */
	if (len < 32)
		return 0;
	size_t upper = 0, lower = 0, digit = 0, changes = 0, looked = HTH_MIN(len, (size_t)128);
	unsigned before = 0;
	for (size_t i = 0; i < looked; i++) {
		unsigned char c = (unsigned char)t.s[at + i];
		unsigned kind = hth_is_digit_byte(c) ? 1 : hth_is_upper_byte(c) ? 2 : hth_is_letter_byte(c) ? 3 : 4;
		if (kind == 4 && strchr("+/_-=.", c) == NULL)
			return 0;
		digit += kind == 1;
		upper += kind == 2;
		lower += kind == 3;
		changes += kind != before;
		before = kind;
	}
	if (digit >= 3 && lower >= 3 && upper >= 3 && changes * 4 > looked) {
		*ret_what = "long random string, as keys are";
		return len;
	}
	return 0;
}

/* "password: hunter2", "my PIN is 1234", "Passwort ist ...", "pwd=...". */
size_t hth_detect_password(hth_text t, size_t at, size_t word, const char **ret_what)
{
	static const char *const links[] = {"is", "was", "ist", "war", "lautet", "est", "es", "for", "to", "of", "the", "wifi", "login"};
	size_t i = at + word, link = 0;
	bool said = false;
	for (unsigned words = 0; words < 4 && i < t.len && i - at < 96;) {
		unsigned char c = hth_text_at(t, i);
		if (c == ':' || c == '=') {
			said = true;
			i++;
		} else if (c == ' ' || c == '"' || c == '\'' || c == '`' || c == '>') {
			i++;
		} else {
			size_t n = 0;
			while (i + n < t.len && n < 64 && (unsigned char)t.s[i + n] > ' ')
				n++;
			bool linking = false;
			for (size_t k = 0; k < HTH_COUNT(links) && !linking; k++)
				linking = n == strlen(links[k]) && strncmp(t.s + i, links[k], n) == 0;
			if (linking && !(said && link > 0)) {
				said |= n >= 2 && (memcmp(t.s + i, "is", 2) == 0 || memcmp(t.s + i, "es", 2) == 0 || t.s[i] == 'w' ||
				                   t.s[i] == 'l');
				link++;
				words++;
				i += n;
				continue;
			}
			if (!said || n < 3)
				return 0;
			*ret_what = "password, PIN or key";
			return i + n - at;
		}
	}
	return 0;
}
