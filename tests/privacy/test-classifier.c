/* test-classifier.c - what keeps a text at home and what does not. Numbers are the published examples of their formats. */
#include "harness.h"
#include "base/mem.h"
#include "base/rng.h"
#include "privacy/classifier.h"
#include "privacy/privacy.h"

static hth_error err;

static hth_findings look(const char *text)
{
	hth_findings f;
	hth_classifier_scan(text, strlen(text), &f);
	for (size_t i = 0; i < f.n; i++)
		CHECK(f.items[i].offset + f.items[i].len <= strlen(text) && f.items[i].what != NULL);
	return f;
}

/* Exactly the kinds of a string of letters: Email Phone Iban Card National Address Secret Health Money cHildren(k) naMe(m). */
static void has(const char *text, const char *kinds, hth_privacy_class limit, const char *file, int line)
{
	static const char letters[] = "epicnashokmu";
	hth_findings f = look(text);
	char got[HTH_FINDING_KINDS + 1];
	size_t n = 0;
	for (unsigned kind = 0; kind < HTH_FINDING_KINDS; kind++)
		if (f.counts[kind] > 0)
			got[n++] = letters[kind];
	got[n] = '\0';
	if (strcmp(got, kinds) != 0 || f.limit != limit)
		test_fail(file, line, "\"%s\" has [%s] and is %s, not [%s] and %s", text, got, hth_privacy_name(f.limit), kinds,
		          hth_privacy_name(limit));
}
#define HAS(text, kinds, limit) has(text, kinds, limit, __FILE__, __LINE__)

TEST(everyday_questions_stay_public)
{
	static const char *const texts[] = {
	    "", "Why is the sky blue?", "Write a poem about the sea in 12 lines.", "What is 3.14159265358979 times 2?",
	    "Translate: der Hund schl\xc3\xa4" "ft.",
	    "In 2024 the population was 8,100,000,000.", "Version 10.0.19045.3803 of the driver",
	    "for (int i = 0; i < 100; i++) printf(\"%d\\n\", i);",
	    "The meeting was on 05.12.2024 at 10:30, see page 112.", "https://example.org/a/b?c=1234567890",
	    "It kind of works; what way is best?",
	    "Follow @hearth for news. Twitter handle: @nobody", "Order 12345678 has 3 items at 19.99 each.",
	    "SELECT id FROM users WHERE id = 42;",
	    "ISBN 978-3-16-148410-0 is a book.", "192.168.0.1 and 10.0.0.255 are local",
	    "commit 8420e51 model: families of Llama's shape share one pass",
	    "Beethoven's 9th in D minor, Op. 125", "The driver took 12 of them, and 5 more came by.",
	    "the token is a unit of text in a language model? No.",
	    "2^31 = 2147483648, 10! = 3628800", "0123456789 are the digits", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
	};
	for (size_t i = 0; i < HTH_COUNT(texts); i++)
		HAS(texts[i], "", HTH_PUBLIC);
}

TEST(addresses_of_people_are_found)
{
	HAS("write to anna.schmidt+x@mail.example.org, please", "e", HTH_PRIVATE);
	HAS("<a@b.de>", "e", HTH_PRIVATE);
	HAS("j\xc3\xbcrgen@m\xc3\xbcller.de", "e", HTH_PRIVATE);
	HAS("a@b and user@localhost and @x.org", "", HTH_PUBLIC);
	static const char *const phones[] = {"+49 30 901820", "+1 (212) 555-0123", "(212) 555-0123", "call 212-555-0123 now",
	                                     "030 / 90 18 20 33", "0041 44 123 45 67",
	                                     "Tel.: 901820", "phone number 5550123", "+4915112345678", "ring me: 020 7946 0958",
	                                     "06 12 34 56 78"};
	for (size_t i = 0; i < HTH_COUNT(phones); i++)
		HAS(phones[i], "p", HTH_PRIVATE);
	static const char *const houses[] = {"I live at 12 Elm Street", "221b Baker Street, London", "Hauptstra\xc3\x9f" "e 5, Berlin",
	                                     "Lange Gasse 12",
	                                     "Marktplatz 3", "5, rue de la Paix", "Calle Mayor 3", "via Giuseppe Verdi 10",
	                                     "Dorpsstraat 17", "Schillerstr. 4a",
	                                     "postcode SW1A 1AA", "1600 Pennsylvania Avenue"};
	for (size_t i = 0; i < HTH_COUNT(houses); i++)
		HAS(houses[i], "a", HTH_PRIVATE);
	HAS("there are 5 roads and 12 streets in this place; one way or the other", "", HTH_PUBLIC);
}

TEST(numbers_are_told_by_their_check_digits)
{
	static const struct {
		const char *good, *bad, *kind;
	} numbers[] = {
	    {"4111 1111 1111 1111", "4111 1111 1111 1112", "c"}, {"5500005555555559", "5500005555555558", "c"},
	    {"3782 822463 10005", "3782 822463 10006", "c"},
	    {"4111-1111-1111-1111 12/27", "4111-1111-1111-1113 12/27", "c"},
	    {"DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 01", "i"},
	    {"GB82WEST12345698765432", "GB82WEST12345698765433", "i"},
	    {"FR14 2004 1010 0505 0001 3M02 606", "FR14 2004 1010 0505 0001 3M02 607", "i"},
	    {"078-05-1120", "000-05-1120", "n"}, {"86 095 742 719", "86 095 742 718", "n"}, {"86095742719", "86095742718", "n"},
	    {"2 55 08 14 168 025 38", "2 55 08 14 168 025 39", "n"}, {"12345678Z", "12345678A", "n"}, {"X1234567L", "X1234567M", "n"},
	    {"RSSMRA85T10A562S", "RSSMRA85T10A562T", "n"}, {"AB 12 34 56 C", "BG 12 34 56 C", "n"}, {"943 476 5919", "943 476 5918", "n"},
	    {"BSN 111222333", "BSN 111222334", "n"}, {"44051401359", "44051401358", "n"}, {"756.9217.0769.85", "756.9217.0769.86", "n"},
	    {"85.07.30-033.28", "85.07.30-033.29", "n"}, {"811228-9874", "811228-9875", "n"}, {"131052-308T", "131052-308U", "n"},
	    {"111.444.777-35", "111.444.777-36", "n"}, {"2341 2341 2346", "2341 2341 2347", "n"},
	};
	for (size_t i = 0; i < HTH_COUNT(numbers); i++) {
		char text[128];
		snprintf(text, sizeof text, "it is %s.", numbers[i].good);
		HAS(text, numbers[i].kind, HTH_PRIVATE);
		snprintf(text, sizeof text, "it is %s.", numbers[i].bad);
		hth_findings f = look(text);
		if (f.counts[HTH_FINDING_CARD] + f.counts[HTH_FINDING_IBAN] + f.counts[HTH_FINDING_NATIONAL_ID] > 0)
			test_fail(__FILE__, __LINE__, "\"%s\" was taken for %s", text, f.items[0].what);
	}
}

TEST(what_opens_something_is_found)
{
	static const char *const texts[] = {
	    "-----BEGIN OPENSSH PRIVATE KEY-----", "AKIAIOSFODNN7EXAMPLE", "key=sk-proj-abcdefghijklmnopqrst",
	    "token ghp_abcdefghijklmnopqrstuvwxyz0123",
	    "the wifi password is hunter2", "password: \"correct horse\"", "Mein Passwort lautet geheim123", "PIN = 4711", "pwd=secret99",
	    "my passcode is 80321",
	    "contrase\xc3\xb1" "a: abc123", "Zx9Qm2Lk8Vb3Nn7Cc1Xs5Dd4Ff6Gg0Hh2Jj", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIx.abc",
	};
	for (size_t i = 0; i < HTH_COUNT(texts); i++)
		HAS(texts[i], "s", HTH_PRIVATE);
	static const char *const fine[] = {"How do I choose a good password?", "I forgot my password", "the secret of happiness",
	                                   "password managers are useful",
	                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	                                   "/usr/share/doc/some-long-package-name/examples/readme",
	                                   "a-very-long-hyphenated-name-of-something-2024-edition", "What does PIN mean?"};
	for (size_t i = 0; i < HTH_COUNT(fine); i++)
		HAS(fine[i], "", HTH_PUBLIC);
}

TEST(topics_keep_from_the_public_and_with_a_name_at_home)
{
	HAS("How is diabetes treated?", "h", HTH_NEIGHBOURS);
	HAS("How do mortgages work?", "o", HTH_NEIGHBOURS);
	HAS("Games for toddlers on a rainy day", "k", HTH_NEIGHBOURS);
	HAS("my salary is too low", "o", HTH_PRIVATE);
	HAS("Our daughter starts next week", "k", HTH_PRIVATE);
	HAS("Meine Hypothek l\xc3\xa4uft aus", "o", HTH_PRIVATE);
	HAS("Anna has cancer", "hm", HTH_PRIVATE);
	HAS("cancer, as Dr. Weiss said", "hm", HTH_PRIVATE);
	HAS("KRANKENHAUS", "h", HTH_NEIGHBOURS);
	HAS("Wie hilft man einem S\xc3\x84UGLING?", "k", HTH_NEIGHBOURS);
	HAS("Peter and Susan went for a walk", "m", HTH_PUBLIC); /* a name alone says nothing of anybody */
	HAS("mark the items as done; it will be grace time", "", HTH_PUBLIC);
	hth_findings f = look("Anna's salary: write to a@b.de or c@d.de");
	char text[256];
	hth_findings_explain(&f, text, sizeof text);
	CHECK_STR(text, "private at most, because it has 2 e-mail addresses, a word of money and a person's name");
	f = look("nothing");
	hth_findings_explain(&f, text, sizeof text);
	CHECK_STR(text, "public at most: nothing was found that speaks against it");
}

TEST(a_text_and_what_surrounds_it_only_tighten)
{
	/* Adding words never widens. */
	static const char *const parts[] = {"Why is the sky blue?", "How is diabetes treated?", "Anna", "my", "a@b.de", "PIN: 4711",
	                                    "12 Elm Street", "4111111111111111", "\xff\xfe", "\n"};
	hth_rng rng;
	hth_rng_seed(&rng, 3);
	for (int i = 0; i < 2000; i++) {
		char text[512] = "";
		int last = HTH_PUBLIC;
		for (int j = 0; j < 6; j++) {
			strcat(text, parts[hth_rng_next(&rng) % HTH_COUNT(parts)]);
			strcat(text, "\n");
			int limit = (int)look(text).limit;
			CHECK(limit <= last);
			last = limit;
		}
	}
}

TEST(long_and_hostile_texts_are_read_in_bounded_time_or_not_at_all)
{
	static const char *const repeated[] = {"1 ", "4111 ", "@", "a@", "a.b@c.", "A1 ", "password ", "password: ", "12 Elm ", "DE89 ",
	                                       "+", "(1) ", "my son ", "\xc3\x84", "Ab1+", "rue "};
	char *text = malloc(HTH_CLASSIFIER_TEXT_MAX + 1);
	for (size_t i = 0; i < HTH_COUNT(repeated); i++) {
		size_t n = strlen(repeated[i]), len = 0;
		for (; len + n <= HTH_CLASSIFIER_TEXT_MAX / 4; len += n)
			memcpy(text + len, repeated[i], n);
		hth_findings f;
		hth_classifier_scan(text, len, &f); /* the test's own limit of time is what is asserted */
		CHECK(f.n <= HTH_FINDINGS_MAX);
	}
	memset(text, 'a', HTH_CLASSIFIER_TEXT_MAX + 1);
	hth_findings f;
	hth_classifier_scan(text, HTH_CLASSIFIER_TEXT_MAX + 1, &f);
	CHECK(f.limit == HTH_PRIVATE && f.counts[HTH_FINDING_UNREADABLE] == 1);
	hth_classifier_scan(text, HTH_CLASSIFIER_TEXT_MAX, &f);
	CHECK_INT(f.limit, HTH_PUBLIC);
	free(text);
}

/* ---- requests ---- */

static hth_privacy_class class_of(const char *messages, const char *text, hth_privacy_class wish)
{
	hth_request *request = NULL;
	if (hth_request_create(&request, messages ? HTH_CHAT : HTH_COMPLETION, &err) != HTH_OK)
		abort();
	if (messages != NULL)
		request->input.messages_json = strdup(messages);
	if (text != NULL) {
		request->input.text = strdup(text);
		request->input.text_len = strlen(text);
	}
	hth_privacy_class got = hth_privacy_classify(request, wish);
	hth_request_unref(request);
	return got;
}

TEST(a_request_gets_no_wider_a_class_than_its_words_allow)
{
	hth_privacy_add_audience(HTH_PUBLIC);
	CHECK_INT(class_of("[{\"role\":\"user\",\"content\":\"Why is the sky blue?\"}]", NULL, HTH_PUBLIC), HTH_PUBLIC);
	CHECK_INT(class_of("[{\"role\":\"user\",\"content\":\"Why is the sky blue?\"}]", NULL, HTH_PRIVATE), HTH_PRIVATE);
	CHECK_INT(class_of("[{\"role\":\"user\",\"content\":\"How is diabetes treated?\"}]", NULL, HTH_PUBLIC), HTH_NEIGHBOURS);
	CHECK_INT(class_of("[{\"role\":\"user\",\"content\":\"pay to\\nDE89370400440532013000\"}]", NULL, HTH_PUBLIC), HTH_PRIVATE);
	/* escapes hide nothing */
	CHECK_INT(class_of("[{\"role\":\"user\",\"content\":\"a\\u0040b.de\"}]", NULL, HTH_NEIGHBOURS), HTH_PRIVATE);
	CHECK_INT(class_of("[{\"role\":\"tool\",\"content\":\"ok\",\"password\":\"hunter2\"}]", NULL, HTH_PUBLIC), HTH_PRIVATE);
	CHECK_INT(class_of("[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:\"}}]}]", NULL,
	                   HTH_PUBLIC), HTH_PRIVATE);
	CHECK_INT(class_of(NULL, "call me: +49 30 901820", HTH_PUBLIC), HTH_PRIVATE);
	CHECK_INT(class_of(NULL, "once upon a time", HTH_PUBLIC), HTH_PUBLIC);
	hth_request *request = NULL;
	REQUIRE_OK(hth_request_create(&request, HTH_COMPLETION, &err));
	request->input.tokens = calloc(4, sizeof(int32_t));
	request->input.n_tokens = 4;
	CHECK_INT(hth_privacy_classify(request, HTH_PUBLIC), HTH_PRIVATE); /* nobody can read these here */
	hth_sealed_permit *permit = NULL;
	CHECK_INT(hth_privacy_permit(request, HTH_PUBLIC, &permit, &err), HTH_DENIED);
	CHECK(strstr(err.message, "cannot be read here") != NULL); /* it says why, without the words */
	hth_request_unref(request);
}

TEST_MAIN()
