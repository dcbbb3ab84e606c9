/* Pictures made here and read back: turned by quarters, in several formats, with EXIF. The words must come out, and their boxes must lie
 * where they were drawn in the picture as it came. */
#include "base/buf.h"
#include "base/mem.h"
#include "extract/extract.h"
#include "harness.h"

#include <cairo.h>
#include <leptonica/allheaders.h>
#include <libheif/heif.h>
#include <unistd.h>

/* What these two keep until the process ends; this test's own memory is watched. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libx265\nleak:libfontconfig\n"; }

typedef struct told {
	hth_loop *loop;
	hth_extract_meta meta;
	hth_extract_result end;
	char reason[HTH_EXTRACT_REASON_MAX];
	uint32_t first_ocr_page;
	hth_buf text;
	float top_box[4], low_box[4]; /* of the blocks with these words */
	uint32_t low_page;
} told;

static void on_meta(void *ctx, const hth_extract_meta *meta) { ((told *)ctx)->meta = *meta; }
static void on_block(void *ctx, const hth_extract_block *block)
{
	told *t = ctx;
	hth_buf_append(&t->text, block->text, block->len);
	hth_buf_append_char(&t->text, '\n');
	if (strstr(block->text, "Electricity") != NULL)
		memcpy(t->top_box, block->box, sizeof t->top_box);
	if (strstr(block->text, "Thursday") != NULL) {
		memcpy(t->low_box, block->box, sizeof t->low_box);
		t->low_page = block->page;
	}
}
static void on_end(void *ctx, const hth_extract_result *result)
{
	told *t = ctx;
	t->end = *result;
	snprintf(t->reason, sizeof t->reason, "%s", result->reason);
	t->first_ocr_page = result->n_ocr_pages > 0 ? result->ocr_pages[0] : 0;
	hth_loop_stop(t->loop);
}

/* The bytes as a file through TEXT, then OCR. */
static told read_picture(const void *bytes, size_t len, uint32_t *ret_n_ocr)
{
	static const hth_extract_sink sink = {.meta = on_meta, .block = on_block, .end = on_end};
	static const hth_extract_mode modes[] = {HTH_EXTRACT_MODE_TEXT, HTH_EXTRACT_MODE_OCR};
	char program[4096];
	hth_error err = HTH_ERROR_INIT;
	snprintf(program, sizeof program, "%s/hearth-extract", getenv("HEARTH_BUILD") ? getenv("HEARTH_BUILD") : "build");
	told t = {.text = HTH_BUF_INIT(1 << 20)};
	hth_extractor *x = NULL;
	if (hth_loop_create(&t.loop, &err) != HTH_OK ||
	    hth_extractor_create(&x, t.loop, &(hth_extractor_options){.program = program, .languages = "eng", .foreground = true},
	                         &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
	for (int i = 0; x != NULL && i < 2; i++) {
		char path[] = "/tmp/hearth-picture-XXXXXX";
		int fd = mkstemp(path);
		unlink(path);
		CHECK(write(fd, bytes, len) == (ssize_t)len);
		CHECK_OK(hth_extractor_submit(x, fd, &(hth_extract_ask){.mode = modes[i]}, &sink, &t, NULL, &err));
		hth_loop_run(t.loop);
		if (i == 0)
			*ret_n_ocr = t.end.state == HTH_EXTRACT_NEEDS_OCR ? (uint32_t)t.end.n_ocr_pages : 0;
	}
	hth_extractor_destroy(x);
	for (int i = 0; i < 3000 && !hth_loop_destroy(t.loop); i++)
		usleep(20000);
	return t;
}

/* A letter of 1000 x 1400 with a heading near its top and a line near its end. */
static PIX *draw_letter(void)
{
	static const char *const lines[] = {"Electricity account for the year", "", "Dear customer, thank you for reading your meter.",
	                                    "In the past year your household has used 2,417 units,",
	                                    "which is fewer than in the year before. The balance of",
	                                    "84.20 will be paid back to your bank account within",
	                                    "two weeks. Nothing else needs to be done by you.", "", "", "", "", "", "", "",
	                                    "The next reading is on a Thursday in November."};
	int w = 1000, h = 1400;
	cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, w, h);
	cairo_t *cr = cairo_create(s);
	cairo_set_source_rgb(cr, 1, 1, 1);
	cairo_paint(cr);
	cairo_set_source_rgb(cr, 0, 0, 0);
	cairo_select_font_face(cr, "DejaVu Serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
	cairo_set_font_size(cr, 30);
	for (size_t i = 0; i < HTH_COUNT(lines); i++) {
		cairo_move_to(cr, 80, 150 + 60 * (double)i);
		cairo_show_text(cr, lines[i]);
	}
	cairo_destroy(cr);
	cairo_surface_flush(s);
	PIX *pix = pixCreate(w, h, 32);
	for (int y = 0; y < h; y++)
		memcpy((char *)pixGetData(pix) + (size_t)y * (size_t)pixGetWpl(pix) * 4,
		       cairo_image_surface_get_data(s) + y * cairo_image_surface_get_stride(s), (size_t)w * 4);
	cairo_surface_destroy(s);
	/* cairo's pixels are xRGB, Leptonica's RGBx: grey does not care about the order once it is shifted. */
	PIX *gray = pixCreate(w, h, 8);
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++)
			pixSetPixel(gray, x, y, pixGetData(pix)[y * pixGetWpl(pix) + x] & 255);
	pixDestroy(&pix);
	return gray;
}

static void check_words(const told *t)
{
	static const char *const words[] = {"Electricity account", "2,417", "84.20", "Thursday in November"};
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		if (t->text.data == NULL || strstr(t->text.data, words[i]) == NULL)
			test_fail(__FILE__, __LINE__, "no \"%s\" in: %.300s", words[i], t->text.data != NULL ? t->text.data : "(nothing)");
}

TEST(letters_turned_by_quarters)
{
	PIX *letter = draw_letter();
	/* Where the heading's box must have its middle: near the top, the right, the end, the left. */
	static const float middle_top[4][2] = {{0.35f, 0.10f}, {0.90f, 0.35f}, {0.65f, 0.90f}, {0.10f, 0.65f}};
	for (int turns = 0; turns < 4; turns++) {
		PIX *turned = pixRotateOrth(letter, turns);
		l_uint8 *png = NULL;
		size_t len = 0;
		CHECK(pixWriteMemPng(&png, &len, turned, 0) == 0);
		uint32_t n = 0;
		told t = read_picture(png, len, &n);
		CHECK_INT(n, 1);
		CHECK_INT(t.meta.kind, HTH_KIND_IMAGE);
		CHECK_INT(t.end.state, HTH_EXTRACT_TEXT);
		check_words(&t);
		float x = (t.top_box[0] + t.top_box[2]) / 2, y = (t.top_box[1] + t.top_box[3]) / 2;
		CHECK_NEAR(x, middle_top[turns][0], 0.06);
		CHECK_NEAR(y, middle_top[turns][1], 0.06);
		hth_buf_finish(&t.text);
		lept_free(png);
		pixDestroy(&turned);
	}
	pixDestroy(&letter);
}

TEST(a_crooked_letter_is_straightened_and_boxes_follow)
{
	PIX *letter = draw_letter();
	PIX *crooked = pixRotate(letter, 0.06f, L_ROTATE_AREA_MAP, L_BRING_IN_WHITE, 0, 0);
	l_uint8 *png = NULL;
	size_t len = 0;
	CHECK(pixWriteMemPng(&png, &len, crooked, 0) == 0);
	uint32_t n = 0;
	told t = read_picture(png, len, &n);
	check_words(&t);
	/* The line near the end was turned about the middle of the page: by 0.06 radians, from (0.43, 0.70). */
	double cx = 0.43 * 1000 - 500, cy = 0.70 * 1400 - 700;
	double x = (500 + cx * cos(0.06) - cy * sin(0.06)) / 1000, y = (700 + cx * sin(0.06) + cy * cos(0.06)) / 1400;
	CHECK_NEAR((t.low_box[0] + t.low_box[2]) / 2, x, 0.05);
	CHECK_NEAR((t.low_box[1] + t.low_box[3]) / 2, y, 0.02);
	hth_buf_finish(&t.text);
	lept_free(png);
	pixDestroy(&crooked);
	pixDestroy(&letter);
}

/* As a telephone sees it: on a dark table, small, lit from one side, with the shadow of whoever holds it. */
TEST(a_photographed_letter_is_read_through_its_shadow)
{
	PIX *letter = draw_letter();
	PIX *small = pixScale(letter, 0.6f, 0.6f), *photo = pixAddBorder(small, 60, 70);
	int w = (int)pixGetWidth(photo), h = (int)pixGetHeight(photo);
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			l_uint32 v;
			pixGetPixel(photo, x, y, &v);
			double light = (0.95 - 0.55 * x / w) * (x > w / 2 + (h / 2 - y) / 3 ? 0.65 : 1);
			pixSetPixel(photo, x, y, (l_uint32)(12 + 0.85 * light * v));
		}
	l_uint8 *png = NULL;
	size_t len = 0;
	uint32_t n = 0;
	srand(1);
	PIX *soft = pixBlockconvGray(photo, NULL, 1, 1), *grainy = pixAddGaussianNoise(soft, 6);
	CHECK(pixWriteMemPng(&png, &len, grainy, 0) == 0);
	told t = read_picture(png, len, &n);
	check_words(&t);
	hth_buf_finish(&t.text);
	lept_free(png);
	pixDestroy(&grainy);
	pixDestroy(&soft);
	pixDestroy(&photo);
	pixDestroy(&small);
	pixDestroy(&letter);
}

TEST(tiff_of_two_pages)
{
	PIX *letter = draw_letter(), *empty = pixCreate(1000, 1400, 8);
	pixSetAll(empty);
	char path[] = "/tmp/hearth-tiff-XXXXXX";
	close(mkstemp(path));
	CHECK(pixWriteTiff(path, empty, IFF_TIFF_LZW, "w") == 0 && pixWriteTiff(path, letter, IFF_TIFF_LZW, "a") == 0);
	size_t len = 0;
	HTH_AUTO_FREE char *tiff = test_read_file(path, &len);
	unlink(path);
	uint32_t n = 0;
	told t = read_picture(tiff, len, &n);
	CHECK_INT(t.meta.pages, 2);
	CHECK_INT(n, 2);
	check_words(&t);
	CHECK_INT(t.low_page, 2);
	hth_buf_finish(&t.text);
	pixDestroy(&letter);
	pixDestroy(&empty);
}

static struct heif_error take(struct heif_context *context, const void *data, size_t size, void *out)
{
	(void)context;
	hth_buf_append(out, data, size);
	return (struct heif_error){heif_error_Ok, heif_suberror_Unspecified, ""};
}

TEST(heic_with_time_and_place)
{
	PIX *letter = draw_letter();
	int w = (int)pixGetWidth(letter), h = (int)pixGetHeight(letter), stride = 0;
	struct heif_context *context = heif_context_alloc();
	struct heif_encoder *encoder = NULL;
	if (heif_context_get_encoder_for_format(context, heif_compression_HEVC, &encoder).code != heif_error_Ok) {
		heif_context_free(context);
		pixDestroy(&letter);
		SKIP("libheif cannot write HEIC here");
	}
	struct heif_image *image = NULL;
	struct heif_image_handle *handle = NULL;
	heif_image_create(w, h, heif_colorspace_RGB, heif_chroma_interleaved_RGB, &image);
	heif_image_add_plane(image, heif_channel_interleaved, w, h, 8);
	uint8_t *rgb = heif_image_get_plane(image, heif_channel_interleaved, &stride);
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			l_uint32 v;
			pixGetPixel(letter, x, y, &v);
			memset(rgb + y * stride + x * 3, (int)v, 3);
		}
	CHECK_INT(heif_context_encode_image(context, image, encoder, NULL, &handle).code, heif_error_Ok);
	size_t exif_len = 0;
	char path[4096];
	snprintf(path, sizeof path, "%s/tests/corpus/documents/exif-tiff", getenv("HEARTH_SOURCE") ? getenv("HEARTH_SOURCE") : ".");
	HTH_AUTO_FREE char *exif = test_read_file(path, &exif_len); /* its first byte is the fuzzer's */
	CHECK(exif != NULL && heif_context_add_exif_metadata(context, handle, exif + 1, (int)exif_len - 1).code == heif_error_Ok);
	hth_buf file = HTH_BUF_INIT(16 << 20);
	struct heif_writer writer = {.writer_api_version = 1, .write = take};
	CHECK_INT(heif_context_write(context, &writer, &file).code, heif_error_Ok);
	heif_image_handle_release(handle);
	heif_image_release(image);
	heif_encoder_release(encoder);
	heif_context_free(context);
	uint32_t n = 0;
	told t = read_picture(file.data, file.len, &n);
	CHECK_INT(n, 1);
	check_words(&t);
	CHECK(t.meta.has_date && t.meta.has_place);
	CHECK_INT(t.meta.date, 1715953510); /* 2024-05-17 13:45:10 */
	CHECK_NEAR(t.meta.latitude, 52.52, 0.001);
	CHECK_NEAR(t.meta.longitude, 13.40, 0.001);
	hth_buf_finish(&t.text);
	hth_buf_finish(&file);
	pixDestroy(&letter);
}

static void stop_loop(void *loop) { hth_loop_stop(loop); }

TEST(ocr_that_is_paused_waits_and_goes_on)
{
	static const hth_extract_sink sink = {.meta = on_meta, .block = on_block, .end = on_end};
	char program[4096];
	hth_error err = HTH_ERROR_INIT;
	snprintf(program, sizeof program, "%s/hearth-extract", getenv("HEARTH_BUILD") ? getenv("HEARTH_BUILD") : "build");
	PIX *letter = draw_letter();
	l_uint8 *png = NULL;
	size_t len = 0;
	CHECK(pixWriteMemPng(&png, &len, letter, 0) == 0);
	told t = {.text = HTH_BUF_INIT(1 << 20)}, other = {.text = HTH_BUF_INIT(1 << 20)};
	hth_extractor *x = NULL;
	hth_timer *timer = NULL;
	REQUIRE_OK(hth_loop_create(&t.loop, &err));
	REQUIRE_OK(hth_timer_open(&timer, t.loop, stop_loop, t.loop, &err));
	REQUIRE_OK(hth_extractor_create(&x, t.loop, &(hth_extractor_options){.program = program, .languages = "eng", .foreground = true},
	                                &err));
	other.loop = t.loop;
	char path[] = "/tmp/hearth-picture-XXXXXX";
	int fd = mkstemp(path), text = dup(fd);
	unlink(path);
	CHECK(write(fd, png, len) == (ssize_t)len);
	CHECK_OK(hth_extractor_submit(x, fd, &(hth_extract_ask){.mode = HTH_EXTRACT_MODE_OCR}, &sink, &t, NULL, &err));
	hth_timer_start(timer, 300, 0); /* its child starts */
	hth_loop_run(t.loop);
	bool ended_already = t.end.state != 0;
	hth_extractor_pause_ocr(x, true);
	CHECK_OK(hth_extractor_submit(x, text, &(hth_extract_ask){.mode = HTH_EXTRACT_MODE_TEXT}, &sink, &other, NULL, &err));
	hth_loop_run(t.loop); /* what is no OCR goes on */
	CHECK_INT(other.end.state, HTH_EXTRACT_NEEDS_OCR);
	hth_timer_start(timer, 1500, 0);
	hth_loop_run(t.loop);
	hth_extractor_counts counts;
	hth_extractor_get_counts(x, &counts);
	CHECK(ended_already || counts.running_ocr + counts.waiting_ocr == 1);
	CHECK(ended_already || t.end.state == 0);
	hth_extractor_pause_ocr(x, false);
	if (!ended_already)
		hth_loop_run(t.loop);
	check_words(&t);
	hth_timer_close(timer);
	hth_extractor_destroy(x);
	for (int i = 0; i < 3000 && !hth_loop_destroy(t.loop); i++)
		usleep(20000);
	hth_buf_finish(&t.text);
	lept_free(png);
	pixDestroy(&letter);
}

TEST_MAIN()
