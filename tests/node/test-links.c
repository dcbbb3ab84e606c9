/* Signed links: good for their document and their time, and for nothing else. */
#include "harness.h"
#include "node/signed-links.h"

#include <string.h>

static const char id[] = "0123456789abcdef0123456789abcdef";

TEST(a_link_is_good_for_its_document_until_its_time_is_over)
{
	unsigned char key[HTH_LINK_KEY_BYTES] = {7}, other[HTH_LINK_KEY_BYTES] = {8};
	hth_buf link = HTH_BUF_INIT(1000);
	char expires[32], signature[200];
	hth_link_sign(key, id, 5000, &link);
	REQUIRE(sscanf(link.data, "&expires=%31[0-9]&signature=%199[0-9a-f]", expires, signature) == 2);
	CHECK_STR(expires, "5000");
	CHECK_INT(strlen(signature), 64);
	CHECK(hth_link_is_good(key, id, expires, signature, 4999));
	CHECK(!hth_link_is_good(key, id, expires, signature, 5000));
	CHECK(!hth_link_is_good(key, id, "5001", signature, 4999));
	CHECK(!hth_link_is_good(key, id, expires, NULL, 4999));
	CHECK(!hth_link_is_good(key, id, NULL, signature, 4999));
	CHECK(!hth_link_is_good(other, id, expires, signature, 4999));
	CHECK(!hth_link_is_good(key, "1123456789abcdef0123456789abcdef", expires, signature, 4999));
	CHECK(!hth_link_is_good(key, id, "99999999999999999999999999", signature, 4999));
	CHECK(!hth_link_is_good(key, id, "-1", signature, 4999));
	for (size_t i = 0; i < strlen(signature); i++) {
		char changed[200];
		memcpy(changed, signature, sizeof changed);
		changed[i] = changed[i] == '0' ? '1' : '0';
		CHECK(!hth_link_is_good(key, id, expires, changed, 4999));
	}
	hth_buf_finish(&link);
}

TEST_MAIN()
