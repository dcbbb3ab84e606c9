/* topics.c - the words that make a text be about health, money or children, name a person, or announce what follows. English, German,
 * French, Spanish; stems where a word bends. Words are compared in lower case, Latin letters with accents included.
 *
 * The lists are short on purpose: words that are mostly said of oneself or one's family, few that every second text has. */
#include "base/mem.h"
#include "privacy/detectors.h"

#include <pthread.h>

/* A star at the end: any word that begins so. */
static const struct {
	hth_word_kind kind;
	const char *words;
} lists[] = {
    {HTH_WORD_HEALTH,
     "diagnos* cancer tumor* tumour* chemo* diabet* insulin depress* anxiety bipolar schizo* psychiatr* psychother* therapist antidepress* "
     "hiv aids pregnan* miscarr* abortion medication* medicine* prescri* dosage surgery surgeon biopsy hospital* clinic patient* symptom* "
     "disease* illness* sick asthma epilep* dementia alzheimer* parkinson* autis* adhd infect* cholesterol migraine* allerg* vaccin* "
     "stroke cardio* doctor* fever krank* krebs diabetes schwanger* fehlgeburt abtreibung medikament* rezept tabletten arzt \xc3\xa4rztin "
     "\xc3\xa4rzte krankenhaus klinik operation therapie blutdruck demenz allergie* impfung fieber befund maladie* malade* enceinte "
     "grossesse m\xc3\xa9" "decin* h\xc3\xb4pital ordonnance m\xc3\xa9"
     "dicament* chirurgie d\xc3\xa9pression enfermedad* embaraz* m\xc3\xa9" "dico* m\xc3\xa9"
     "dica hospital receta medicamento* cirug\xc3\xad* depresi\xc3\xb3n"},
    {HTH_WORD_MONEY,
     "salary salaries wage wages payslip* paycheck* mortgage* debt debts loan loans overdraft bankrupt* creditor* savings pension* "
     "inherit* alimony iban payroll income invoice* tax taxes gehalt gehalts* lohn lohn* hypothek* schulden kredit* konto kontostand "
     "kontonummer steuererkl\xc3\xa4rung steuerbescheid rente erbe erbschaft insolvenz salaire* dette* hypoth\xc3\xa8que pr\xc3\xaat "
     "retraite h\xc3\xa9ritage imp\xc3\xb4t* salario sueldo deuda* hipoteca pr\xc3\xa9stamo jubilaci\xc3\xb3n herencia impuesto*"},
    {HTH_WORD_CHILDREN,
     "son sons daughter* child children kid kids toddler* baby babies newborn kindergarten preschool nursery custody paediatric* "
     "pediatric* grandson* granddaughter* grandchild* stepson stepdaughter sohn s\xc3\xb6hne tochter t\xc3\xb6"
     "chter kinder kindes enkel enkelin s\xc3\xa4ugling kita kinderarzt sorgerecht fils fille filles enfant* b\xc3\xa9"
     "b\xc3\xa9 cr\xc3\xa8" "che hijo hijos hija hijas ni\xc3\xb1o* ni\xc3\xb1" "a* beb\xc3\xa9 guarder\xc3\xad" "a"},
    {HTH_WORD_OWN, "my our i'm i've mine mein meine meinen meinem meiner meines unser unsere unseren unserem mon ma mes notre nos mi mis "
                   "nuestro nuestra"},
    {HTH_WORD_TITLE, "mr mrs ms miss dr prof herr frau monsieur madame mme se\xc3\xb1or se\xc3\xb1ora sra"},
    {HTH_WORD_PASSWORD, "password* passwd pwd passphrase passcode pin passwort kennwort secret token apikey api_key contrase\xc3\xb1"
     "a clave"},
    {HTH_WORD_PHONE, "phone telephone tel mobile cell fax call telefon handy mobil anrufen t\xc3\xa9l\xc3\xa9phone portable tel\xc3\xa9"
     "fono m\xc3\xb3vil whatsapp"},
    {HTH_WORD_ID, "bsn burgerservicenummer sofi nhs personnummer ssn"},
    {HTH_WORD_GIVEN_NAME,
     "james mary robert patricia john jennifer michael linda david elizabeth william barbara richard susan joseph jessica thomas sarah "
     "charles karen christopher lisa daniel nancy matthew betty anthony margaret mark sandra donald ashley steven kimberly paul emily "
     "andrew donna joshua michelle kenneth carol kevin amanda brian melissa george deborah edward stephanie ronald rebecca timothy laura "
     "jason helen jeffrey sharon ryan cynthia jacob kathleen gary amy nicholas angela eric anna jonathan emma larry olivia justin samantha "
     "scott brandon benjamin sophia samuel grace oliver harry jack noah leo lucas liam mia ava isabella charlotte amelia evelyn abigail "
     "ella chloe lily tom ben max carl peter hans klaus j\xc3\xbcrgen wolfgang uwe stefan andreas markus sabine petra monika claudia heike "
     "birgit ursula renate karin brigitte lukas jonas finn felix paula lena hannah marie jean pierre michel philippe alain nathalie "
     "isabelle sylvie fran\xc3\xa7ois jos\xc3\xa9 carlos juan luis miguel pedro pablo maria mar\xc3\xad"
     "a carmen ana luc\xc3\xad"
     "a elena marta fatima mohammed muhammad ahmed ali omar aisha wei li ivan olga natasha giulia marco giovanni francesca"},
};

enum { ENTRIES_MAX = 1024, LOWER_MAX = 40 };
typedef struct word_entry {
	const char *s;
	unsigned char len;
	bool stem;
	unsigned char kind;
} word_entry;

static word_entry entries[ENTRIES_MAX]; /* by first byte */
static uint16_t first[257];

static void each_word(void (*fn)(word_entry entry, uint16_t *places), uint16_t *places)
{
	for (size_t i = 0; i < HTH_COUNT(lists); i++) {
		for (const char *s = lists[i].words; *s != '\0';) {
			size_t n = strcspn(s, " ");
			bool stem = n > 0 && s[n - 1] == '*';
			if (n > 0)
				fn((word_entry){.s = s, .len = (unsigned char)(n - stem), .stem = stem,
				                .kind = (unsigned char)lists[i].kind}, places);
			s += n + (s[n] == ' ');
		}
	}
}

static void count_entry(word_entry entry, uint16_t *places) { places[(unsigned char)entry.s[0] + 1]++; }
static void place_entry(word_entry entry, uint16_t *places)
{
	uint16_t at = places[(unsigned char)entry.s[0]]++;
	if (at < ENTRIES_MAX)
		entries[at] = entry;
}

static void build(void)
{
	uint16_t places[257];
	each_word(count_entry, first);
	for (size_t i = 0; i < 256; i++)
		first[i + 1] = (uint16_t)(first[i + 1] + first[i]);
	memcpy(places, first, sizeof places);
	each_word(place_entry, places);
}

hth_word_kind hth_word_kind_of(const char *word, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, build);
	char lower[LOWER_MAX];
	if (len == 0 || len >= sizeof lower)
		return HTH_WORD_NONE;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)word[i];
		/* U+00C0 to U+00DE, but for the sign of multiplication: their small letters are 0x20 further. */
		bool latin = i > 0 && (unsigned char)word[i - 1] == 0xc3 && c >= 0x80 && c <= 0x9e && c != 0x97;
		lower[i] = (char)(hth_is_upper_byte(c) ? c | 32 : latin ? c + 0x20 : c);
	}
	unsigned char f = (unsigned char)lower[0];
	for (uint16_t i = first[f]; i < first[f + 1]; i++) {
		const word_entry *e = &entries[i];
		if ((e->stem ? len >= e->len : len == e->len) && memcmp(lower, e->s, e->len) == 0)
			return (hth_word_kind)e->kind;
	}
	return HTH_WORD_NONE;
}

bool hth_word_before(hth_text t, size_t at, hth_word_kind kind, unsigned back)
{
	size_t stop = at > 48 ? at - 48 : 0, i = at;
	for (unsigned words = 0; words <= back && i > stop; words++) {
		while (i > stop && !hth_is_word_byte((unsigned char)t.s[i - 1]))
			i--;
		size_t end = i;
		while (i > stop && (hth_is_word_byte((unsigned char)t.s[i - 1]) || t.s[i - 1] == '\''))
			i--;
		if (hth_word_kind_of(t.s + i, end - i) == kind)
			return true;
	}
	return false;
}
