/* Forms: their parts, names with quotes in them, and what is broken. */
#include "harness.h"
#include "http/multipart.h"

static hth_error err;
static char seen[2000];

static hth_status note(void *ctx, const hth_multipart_part *part, hth_error *e)
{
	(void)ctx, (void)e;
	size_t n = strlen(seen);
	snprintf(seen + n, sizeof seen - n, "%s%s|%s|%.*s", n > 0 ? "\n" : "", part->name, part->filename != NULL ? part->filename : "-",
	         (int)part->len, part->data);
	return strcmp(part->name, "stop") == 0 ? HTH_CANCELLED : HTH_OK;
}

static hth_status read_form(const char *body)
{
	seen[0] = '\0';
	return hth_multipart_read(body, strlen(body), "b", note, NULL, &err);
}

TEST(boundaries_are_read_as_clients_write_them)
{
	char b[HTH_MULTIPART_BOUNDARY_MAX + 1];
	CHECK(hth_multipart_boundary("multipart/form-data; boundary=abc", b));
	CHECK_STR(b, "abc");
	CHECK(hth_multipart_boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b;c\"", b));
	CHECK_STR(b, "a b;c");
	CHECK(hth_multipart_boundary("multipart/form-data;boundary=----formdata-undici-0123; x=y", b));
	CHECK_STR(b, "----formdata-undici-0123");
	CHECK(!hth_multipart_boundary("multipart/form-data", b));
	CHECK(!hth_multipart_boundary("multipart/form-data; boundary=", b));
	CHECK(!hth_multipart_boundary("application/json; boundary=abc", b));
	CHECK(!hth_multipart_boundary(NULL, b));
	CHECK(!hth_multipart_boundary("multipart/form-data; "
	                              "boundary=01234567890123456789012345678901234567890123456789012345678901234567890", b));
}

TEST(parts_come_with_their_names_and_bytes)
{
	CHECK_OK(read_form("--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nx\r\n--b\r\nContent-Type: "
	                   "text/plain\r\ncontent-disposition: form-data; filename=\"a \\\"%22b.txt\"; "
	                   "name=file\r\n\r\nline\r\n--c\r\n\r\n--b--\r\nepilogue"));
	CHECK_STR(seen, "purpose|-|x\nfile|a \"\"b.txt|line\r\n--c\r\n");
	CHECK_OK(read_form("preamble\r\n--b \r\nContent-Disposition: form-data; name=a; filename=\"\"\r\n\r\n\r\n--b--"));
	CHECK_STR(seen, "a||");
	CHECK_OK(read_form("--b\r\nContent-Disposition: form-data; filename=\"; name=no\"; name=yes\r\n\r\nx\r\n--b--"));
	CHECK_STR(seen, "yes|; name=no|x");
	CHECK_OK(read_form("--b--"));
	CHECK_INT(read_form("--b\r\nContent-Disposition: form-data; name=stop\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; "
	                    "name=a\r\n\r\n\r\n--b--"), HTH_CANCELLED);
	CHECK_STR(seen, "stop|-|");
}

TEST(broken_forms_are_refused)
{
	static const char *const broken[] = {"", "x", "--b", "--bX\r\n", "--b\r\n", "--b\r\n\r\n", "--b\r\n\r\nx\r\n--b--",
	                                     "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
	                                     "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx",
	                                     "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b",
	                                     "--b\nContent-Disposition: form-data; name=a\n\nx\n--b--"};
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		hth_status status = read_form(broken[i]);
		if (status != HTH_INVALID)
			test_fail(__FILE__, __LINE__, "form %zu ends with %d", i, (int)status);
	}
}

TEST_MAIN()
