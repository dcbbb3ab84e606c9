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

TEST(a_permit_is_for_one_request_and_one_audience_within_its_class)
{
	hth_error err;
	hth_request *request = NULL, *other = NULL;
	REQUIRE_OK(hth_request_create(&request, HTH_CHAT, &err));
	REQUIRE_OK(hth_request_create(&other, HTH_CHAT, &err));
	hth_privacy_add_audience(HTH_NEIGHBOURS);
	CHECK_INT(hth_privacy_classify(request, HTH_PUBLIC), HTH_NEIGHBOURS);
	CHECK_INT(hth_privacy_classify(request, HTH_PRIVATE), HTH_PRIVATE);
	hth_sealed_permit *permit = NULL;
	request->privacy = HTH_PRIVATE;
	CHECK_INT(hth_privacy_permit(request, HTH_NEIGHBOURS, &permit, &err), HTH_DENIED);
	request->privacy = HTH_NEIGHBOURS;
	CHECK_INT(hth_privacy_permit(request, HTH_PUBLIC, &permit, &err), HTH_DENIED);
	CHECK_INT(hth_privacy_permit(request, HTH_PRIVATE, &permit, &err), HTH_DENIED); /* nobody is trusted that much */
	CHECK(permit == NULL && !hth_privacy_permit_covers(NULL, request, HTH_NEIGHBOURS));
	REQUIRE_OK(hth_privacy_permit(request, HTH_NEIGHBOURS, &permit, &err));
	CHECK(hth_privacy_permit_covers(permit, request, HTH_NEIGHBOURS));
	CHECK(!hth_privacy_permit_covers(permit, request, HTH_PUBLIC));
	CHECK(!hth_privacy_permit_covers(permit, other, HTH_NEIGHBOURS));
	hth_privacy_permit_destroy(permit);
	hth_request_unref(request);
	hth_request_unref(other);
}

TEST_MAIN()
