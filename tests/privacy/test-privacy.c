/* test-privacy.c - the classes' names, and that nothing leaves a home that has nobody to send to. */
#include "harness.h"
#include "privacy/privacy.h"

TEST(a_missing_header_means_private)
{
	hth_error err;
	hth_privacy_class got = HTH_PUBLIC;
	CHECK_OK(hth_privacy_parse(NULL, &got, &err));
	CHECK_INT(got, HTH_PRIVATE);
	got = HTH_PUBLIC;
	CHECK_OK(hth_privacy_parse("", &got, &err));
	CHECK_INT(got, HTH_PRIVATE);
}

TEST(each_class_is_known_by_its_name)
{
	for (int c = HTH_PRIVATE; c <= HTH_PUBLIC; c++) {
		hth_error err;
		hth_privacy_class got = HTH_PRIVATE;
		CHECK_OK(hth_privacy_parse(hth_privacy_name((hth_privacy_class)c), &got, &err));
		CHECK_INT(got, c);
	}
}

TEST(an_unknown_class_is_refused_and_nothing_is_widened)
{
	static const char *const bad[] = {"Public", "public ", "all", "neighbors", "1"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		hth_error err;
		hth_privacy_class got = HTH_PRIVATE;
		CHECK_INT(hth_privacy_parse(bad[i], &got, &err), HTH_INVALID);
		CHECK_INT(got, HTH_PRIVATE);
		CHECK_STR(err.param, "Hearth-Privacy");
	}
}

TEST(every_request_stays_home_while_there_is_nobody_to_send_to)
{
	hth_error err;
	hth_request *request = NULL;
	REQUIRE_OK(hth_request_create(&request, HTH_CHAT, &err));
	for (int wish = HTH_PRIVATE; wish <= HTH_PUBLIC; wish++)
		CHECK_INT(hth_privacy_classify(request, (hth_privacy_class)wish), HTH_PRIVATE);
	for (int class = HTH_PRIVATE; class <= HTH_PUBLIC; class++) {
		for (int audience = HTH_PRIVATE; audience <= HTH_PUBLIC; audience++) {
			hth_sealed_permit *permit = NULL;
			request->privacy = (hth_privacy_class)class;
			CHECK_INT(hth_privacy_permit(request, (hth_privacy_class)audience, &permit, &err), HTH_DENIED);
			CHECK(permit == NULL);
			CHECK(strstr(err.message, request->id) != NULL);
		}
	}
	hth_privacy_permit_destroy(NULL);
	hth_request_unref(request);
}

TEST_MAIN()
