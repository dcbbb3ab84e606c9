/* identifiers.c - what names somebody by its form, most of it by check digits: e-mail, IBAN, cards, telephones, national identifiers.
 *
 * Sources: ISO 13616 (IBAN lengths), ISO 7064 (mod 97-10 and mod 11,10), ISO/IEC 7812 (Luhn), and the authorities' own descriptions of
 * the national numbers. A number that fits a check by chance keeps a text at home for nothing; numbers whose check is weak (one digit) and
 * whose form is plain must therefore be written as people write them, or follow a word that announces them.
 */
#include "base/mem.h"
#include "privacy/detectors.h"

#include <stdlib.h>

size_t hth_detect_email(hth_text t, size_t at, size_t *ret_begin)
{
	size_t begin = at, end = at + 1, last_dot = 0;
	while (begin > 0 && at - begin < 64) {
		unsigned char c = (unsigned char)t.s[begin - 1];
		if (!hth_is_word_byte(c) && c != '.' && c != '_' && c != '%' && c != '+' && c != '-')
			break;
		begin--;
	}
	while (end < t.len && end - at < 254) {
		unsigned char c = (unsigned char)t.s[end];
		if (!hth_is_word_byte(c) && c != '.' && c != '-')
			break;
		if (c == '.' && hth_is_letter_byte(hth_text_at(t, end + 1)) && hth_is_letter_byte(hth_text_at(t, end + 2)))
			last_dot = end;
		end++;
	}
	if (begin == at || last_dot <= at + 1)
		return 0;
	*ret_begin = begin;
	return end - begin;
}

/* ---- IBAN ---- */

static const struct {
	char country[3];
	unsigned char len;
	const char *what;
} ibans[] = {
#define IBAN(c, n) {#c, n, "IBAN of " #c}
    IBAN(AD, 24), IBAN(AE, 23), IBAN(AL, 28), IBAN(AT, 20), IBAN(BA, 20), IBAN(BE, 16), IBAN(BG, 22), IBAN(BR, 29), IBAN(CH, 21),
    IBAN(CY, 28),
    IBAN(CZ, 24), IBAN(DE, 22), IBAN(DK, 18), IBAN(EE, 20), IBAN(ES, 24), IBAN(FI, 18), IBAN(FR, 27), IBAN(GB, 22), IBAN(GE, 22),
    IBAN(GI, 23),
    IBAN(GR, 27), IBAN(HR, 21), IBAN(HU, 28), IBAN(IE, 22), IBAN(IL, 23), IBAN(IS, 26), IBAN(IT, 27), IBAN(LI, 21), IBAN(LT, 20),
    IBAN(LU, 20),
    IBAN(LV, 21), IBAN(MC, 27), IBAN(MD, 24), IBAN(ME, 22), IBAN(MK, 19), IBAN(MT, 31), IBAN(NL, 18), IBAN(NO, 15), IBAN(PL, 28),
    IBAN(PT, 25),
    IBAN(RO, 24), IBAN(RS, 22), IBAN(SA, 24), IBAN(SE, 24), IBAN(SI, 19), IBAN(SK, 24), IBAN(SM, 27), IBAN(TR, 26), IBAN(UA, 29),
#undef IBAN
};

size_t hth_detect_iban(hth_text t, size_t at, const char **ret_what)
{
	char s[34];
	size_t n = 0, end = at, want = 0, row = 0;
	if (!hth_is_digit_byte(hth_text_at(t, at + 2)) || !hth_is_digit_byte(hth_text_at(t, at + 3)))
		return 0;
	for (; row < HTH_COUNT(ibans); row++)
		if ((hth_text_at(t, at) & ~32u) == (unsigned char)ibans[row].country[0] &&
		    (hth_text_at(t, at + 1) & ~32u) == (unsigned char)ibans[row].country[1])
			break;
	if (row == HTH_COUNT(ibans))
		return 0;
	want = ibans[row].len;
	for (; n < want && end - at < 60; end++) {
		unsigned char c = hth_text_at(t, end);
		if (c == ' ' || c == '-')
			continue;
		if (!hth_is_digit_byte(c) && !hth_is_letter_byte(c))
			return 0;
		s[n++] = (char)(hth_is_digit_byte(c) ? c : c & ~32u);
	}
	if (n != want || hth_is_word_byte(hth_text_at(t, end)))
		return 0;
	unsigned rest = 0;
	for (size_t i = 0; i < n; i++) { /* the first four go last */
		char c = s[(i + 4) % n];
		rest = hth_is_digit_byte((unsigned char)c) ? (rest * 10 + (unsigned)(c - '0')) % 97
		                                           : (rest * 100 + (unsigned)(c - 'A' + 10)) % 97;
	}
	if (rest != 1)
		return 0;
	*ret_what = ibans[row].what;
	return end - at;
}

/* ---- numbers ---- */

enum { GROUPS_MAX = 10, DIGITS_MAX = 20 };
typedef struct number {
	unsigned char d[DIGITS_MAX]; /* values, not characters */
	size_t n;                    /* digits so far */
	size_t groups, size[GROUPS_MAX];
	char separators[GROUPS_MAX]; /* before each group but the first; '(' where a bracket is among them */
	bool plus, bracket;
	size_t end;
} number;

static bool luhn(const unsigned char *d, size_t n)
{
	unsigned sum = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned v = d[n - 1 - i] * (1u + i % 2);
		sum += v > 9 ? v - 9 : v;
	}
	return sum % 10 == 0;
}

static uint64_t value(const unsigned char *d, size_t n)
{
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + d[i];
	return v;
}

static unsigned weighted(const unsigned char *d, size_t n, const char *weights)
{
	unsigned sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += d[i] * (unsigned)(weights[i] - '0');
	return sum;
}

static bool is_date(unsigned month, unsigned day) { return month >= 1 && month <= 12 && day >= 1 && day <= 31; }

static bool separated_by(const number *x, const char *allowed)
{
	for (size_t i = 1; i < x->groups; i++)
		if (strchr(allowed, x->separators[i]) == NULL)
			return false;
	return true;
}

static bool grouped(const number *x, const char *sizes)
{
	for (size_t i = 0; i < x->groups; i++)
		if (sizes[i] == '\0' || x->size[i] != (size_t)(sizes[i] - '0'))
			return false;
	return sizes[x->groups] == '\0';
}

static bool is_card(const number *x)
{
	uint64_t four = value(x->d, 4);
	bool issuer = x->d[0] == 4 || (four >= 5100 && four <= 5599) || (four >= 2221 && four <= 2720) || four / 100 == 34 ||
	    four / 100 == 37 ||
	              four == 6011 || four / 100 == 65 || four / 100 == 62 || four / 100 == 35 || four / 100 == 36 || four / 100 == 30 ||
	              four / 100 == 38 ||
	              four / 100 == 50 || four / 100 == 67;
	bool form = x->groups == 1 || grouped(x, "4444") || grouped(x, "465") || grouped(x, "464") || grouped(x, "44443");
	return x->n >= 13 && x->n <= 19 && issuer && form && separated_by(x, " -") && luhn(x->d, x->n);
}

/* German tax identification number: ISO 7064 mod 11,10, and among the first ten digits one stands twice or three times. */
static bool is_german_tax_id(const number *x)
{
	unsigned seen[10] = {0}, doubled = 0, product = 10;
	for (size_t i = 0; i < 10; i++) {
		if (++seen[x->d[i]] == 2)
			doubled++;
		unsigned sum = (x->d[i] + product) % 10;
		product = (sum == 0 ? 10 : sum) * 2 % 11;
	}
	return x->d[0] != 0 && doubled == 1 && (11 - product) % 10 == x->d[10];
}

static bool is_aadhaar(const number *x) /* Verhoeff 1969 */
{
	static const unsigned char d[10][11] = {"0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
	                                        "5987604321", "6598710432", "7659821043", "8765932104", "9876543210"};
	static const unsigned char p[8][11] = {"0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901",
	                                       "2793806415", "7046913258"};
	unsigned c = 0;
	for (size_t i = 0; i < 12; i++)
		c = d[c][p[i % 8][x->d[11 - i]] - '0'] - '0';
	return x->d[0] >= 2 && c == 0 && (x->groups == 1 || grouped(x, "444"));
}

static bool is_cpf(const number *x)
{
	unsigned first = weighted(x->d, 9, ":98765432") * 10 % 11 % 10, second = weighted(x->d, 10, ";:98765432") * 10 % 11 % 10;
	return grouped(x, "3332") && first == x->d[9] && second == x->d[10];
}

static bool is_ean13(const number *x) { return (10 - weighted(x->d, 12, "131313131313") % 10) % 10 == x->d[12]; }

static const char *national_id(const number *x, bool announced)
{
	switch (x->n) {
	case 9:
		if (grouped(x, "324") && separated_by(x, "- ") && value(x->d, 3) != 0 && value(x->d, 3) != 666 && x->d[0] != 9 &&
		    value(x->d + 3, 2) != 0 && value(x->d + 5, 4) != 0)
			return "US social security number";
		if (announced && (weighted(x->d, 8, "98765432") + 10 * x->d[8]) % 11 == 0)
			return "Dutch BSN";
		return NULL;
	case 10:
		if ((grouped(x, "64") || announced) && is_date((unsigned)value(x->d + 2, 2), (unsigned)value(x->d + 4, 2)) &&
		    luhn(x->d, 10))
			return "Swedish personal number";
		if ((grouped(x, "334") || announced) && separated_by(x, " ") && (11 - weighted(x->d, 9, ":98765432") % 11) % 11 == x->d[9])
			return "British NHS number";
		return NULL;
	case 11:
		if (is_cpf(x))
			return "Brazilian CPF";
		if ((x->groups == 1 || grouped(x, "22333") || grouped(x, "2333")) && is_german_tax_id(x))
			return "German tax number";
		if (x->groups == 1 && (10 - weighted(x->d, 10, "1379137913") % 10) % 10 == x->d[10] &&
		    is_date((unsigned)(value(x->d + 2, 2) % 20), (unsigned)value(x->d + 4, 2)))
			return "Polish PESEL";
		if ((x->groups == 1 || grouped(x, "22232")) && is_date((unsigned)value(x->d + 2, 2), (unsigned)value(x->d + 4, 2)) &&
		    (97 - value(x->d, 9) % 97 == value(x->d + 9, 2) || 97 - (value(x->d, 9) + 2000000000u) % 97 == value(x->d + 9, 2)))
			return "Belgian national number";
		return NULL;
	case 12: return is_aadhaar(x) ? "Indian Aadhaar number" : NULL;
	case 13: return value(x->d, 3) == 756 && (x->groups == 1 || grouped(x, "3442")) && is_ean13(x) ? "Swiss AHV number" : NULL;
	case 15:
		if (x->d[0] >= 1 && x->d[0] <= 2 && is_date((unsigned)value(x->d + 3, 2), 1) &&
		    97 - value(x->d, 13) % 97 == value(x->d + 13, 2))
			return "French NIR";
		return NULL;
	default: return NULL;
	}
}

static bool is_phone(const number *x, bool announced)
{
	bool date = x->groups >= 3 && x->size[0] <= 2 && x->size[1] <= 2 && x->size[2] == 4;
	if (x->n > 15 || date)
		return false;
	if (x->plus)
		return x->n >= 8 && x->d[0] != 0;
	if (announced && x->n >= 6)
		return true;
	if (grouped(x, "334") || (x->d[0] == 1 && grouped(x, "1334")))
		return x->groups > 1 && separated_by(x, " -.(") && x->d[x->d[0] == 1 && x->n == 11] >= 2;
	return x->d[0] == 0 && ((x->d[1] == 0 && x->n >= 10) || (x->n >= 9 && x->n <= 13 && x->groups > 1 && x->groups <= 6) ||
	                        (x->n == 11 && x->d[1] != 0));
}

/* Takes the next group; false: there is none within two separators. */
static bool next_group(hth_text t, number *x)
{
	size_t at = x->end, skipped = 0;
	char separator = 0;
	for (; skipped < 3; at++, skipped++) {
		unsigned char c = hth_text_at(t, at);
		if (hth_is_digit_byte(c) || c == 0 || strchr(" -./()", c) == NULL)
			break;
		if (separator == 0 || c == '(' || c == ')')
			separator = (char)(c == ')' ? '(' : c);
	}
	if ((x->groups > 0 && skipped == 0) || !hth_is_digit_byte(hth_text_at(t, at)) || x->groups == GROUPS_MAX)
		return false;
	size_t n = 0;
	while (hth_is_digit_byte(hth_text_at(t, at + n)) && x->n + n < DIGITS_MAX)
		n++;
	if (hth_is_word_byte(hth_text_at(t, at + n)))
		return false; /* a longer number, or letters: none of ours */
	for (size_t i = 0; i < n; i++)
		x->d[x->n++] = (unsigned char)(t.s[at + i] - '0');
	x->separators[x->groups] = separator;
	x->size[x->groups++] = n;
	x->end = at + n;
	return true;
}

size_t hth_detect_number(hth_text t, size_t at, hth_finding_kind *ret_kind, const char **ret_what)
{
	unsigned char first = hth_text_at(t, at);
	number x = {.end = at, .plus = first == '+', .bracket = first == '('};
	size_t found = 0;
	/* A plain number after a point or comma is a fraction. */
	if (at >= 2 && (t.s[at - 1] == '.' || t.s[at - 1] == ',') && hth_is_digit_byte((unsigned char)t.s[at - 2]))
		return 0;
	if (x.plus || x.bracket)
		x.end++;
	int announced_phone = -1, announced_id = -1; /* looked up when needed, once */
	while (next_group(t, &x)) {
		if (x.n < 6)
			continue;
		if (announced_phone < 0) {
			announced_phone = hth_word_before(t, at, HTH_WORD_PHONE, 3);
			announced_id = hth_word_before(t, at, HTH_WORD_ID, 3);
		}
		const char *what = NULL;
		if (!x.plus && is_card(&x)) {
			*ret_kind = HTH_FINDING_CARD;
			*ret_what = "card number";
			found = x.end - at;
		} else if (!x.plus && (what = national_id(&x, announced_id)) != NULL) {
			*ret_kind = HTH_FINDING_NATIONAL_ID;
			*ret_what = what;
			found = x.end - at;
		} else if (is_phone(&x, announced_phone) && (found == 0 || *ret_kind == HTH_FINDING_PHONE)) {
			*ret_kind = HTH_FINDING_PHONE;
			*ret_what = "telephone number";
			found = x.end - at;
		}
		if (found > 0 && *ret_kind != HTH_FINDING_PHONE) /* a telephone number goes on as long as it can */
			break;
	}
	return found;
}

/* ---- identifiers with letters ---- */

static size_t collect_alnum(hth_text t, size_t at, const char *skip, char *to, size_t max, size_t *ret_end)
{
	size_t n = 0, i = at;
	for (; i < at + 2 * max && n < max; i++) {
		unsigned char c = hth_text_at(t, i);
		if (c != 0 && strchr(skip, c) != NULL)
			continue;
		if (!hth_is_digit_byte(c) && !hth_is_letter_byte(c))
			break;
		to[n++] = (char)(hth_is_digit_byte(c) ? c : c & ~32u);
	}
	*ret_end = i;
	return hth_is_word_byte(hth_text_at(t, i)) ? 0 : n;
}

/* As "DLDDLL": D a digit, L a letter. */
static bool shaped(const char *s, const char *shape)
{
	for (; *shape != '\0'; s++, shape++)
		if (*shape == 'D' ? !hth_is_digit_byte((unsigned char)*s) : !hth_is_upper_byte((unsigned char)*s))
			return false;
	return true;
}

static bool is_dni(const char *s, size_t n)
{
	static const char letters[] = "TRWAGMYFPDXBNJZSQVHLCKE";
	char digits[10] = {0};
	if (n != 9)
		return false;
	if (shaped(s, "DDDDDDDDL"))
		memcpy(digits, s, 8);
	else if (shaped(s, "LDDDDDDDL") && s[0] >= 'X' && s[0] <= 'Z') {
		digits[0] = (char)('0' + s[0] - 'X');
		memcpy(digits + 1, s + 1, 7);
	} else
		return false;
	return letters[strtoul(digits, NULL, 10) % 23] == s[8];
}

static bool is_codice_fiscale(const char *s, size_t n)
{
	static const unsigned char odd[] = {1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
	if (n != 16 || !shaped(s, "LLLLLLDDLDDLDDDL"))
		return false;
	unsigned sum = 0;
	for (size_t i = 0; i < 15; i++) {
		unsigned v = hth_is_digit_byte((unsigned char)s[i]) ? (unsigned)(s[i] - '0') : (unsigned)(s[i] - 'A');
		sum += i % 2 == 0 ? odd[v] : v;
	}
	return sum % 26 == (unsigned)(s[15] - 'A');
}

static bool is_nino(const char *s, size_t n)
{
	return n == 9 && shaped(s, "LLDDDDDDL") && s[8] <= 'D' && strchr("DFIQUV", s[0]) == NULL && strchr("DFIQUVO", s[1]) == NULL &&
	       memcmp(s, "BG", 2) != 0 && memcmp(s, "GB", 2) != 0 && memcmp(s, "NK", 2) != 0 && memcmp(s, "KN", 2) != 0 &&
	       memcmp(s, "TN", 2) != 0 &&
	       memcmp(s, "NT", 2) != 0 && memcmp(s, "ZZ", 2) != 0;
}

/* 131052-308T: a date, a sign for the century, three digits, a check character. */
static bool is_finnish(hth_text t, size_t at)
{
	static const char checks[] = "0123456789ABCDEFHJKLMNPRSTUVWXY";
	char s[11];
	if (at + 11 > t.len || hth_is_word_byte(hth_text_at(t, at + 11)))
		return false;
	memcpy(s, t.s + at, 11);
	if (!shaped(s, "DDDDDD") || !shaped(s + 7, "DDD") || strchr("-+ABCDEFYXWVU", s[6]) == NULL)
		return false;
	unsigned day = (unsigned)(s[0] - '0') * 10 + (unsigned)(s[1] - '0'), month = (unsigned)(s[2] - '0') * 10 + (unsigned)(s[3] - '0');
	char digits[10] = {0};
	memcpy(digits, s, 6);
	memcpy(digits + 6, s + 7, 3);
	return is_date(month, day) && checks[strtoul(digits, NULL, 10) % 31] == s[10];
}

size_t hth_detect_lettered_id(hth_text t, size_t at, const char **ret_what)
{
	char s[20];
	size_t end, n;
	if (is_finnish(t, at)) {
		*ret_what = "Finnish personal identity code";
		return 11;
	}
	n = collect_alnum(t, at, "", s, 16, &end);
	if (is_codice_fiscale(s, n)) {
		*ret_what = "Italian codice fiscale";
		return end - at;
	}
	n = collect_alnum(t, at, " -.", s, 9, &end);
	if (is_dni(s, n)) {
		*ret_what = "Spanish DNI or NIE";
		return end - at;
	}
	if (is_nino(s, n)) {
		*ret_what = "British national insurance number";
		return end - at;
	}
	return 0;
}
