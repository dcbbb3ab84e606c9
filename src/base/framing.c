/* framing.c - framing: lengths, versions and types checked before a byte of a payload is kept. See framing.h for the layout.
 * Owns no descriptor and blocks on nothing: bytes in, frames out. Any one thread at a time. */
#include "base/framing.h"

#include "base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are written as they lie in memory");

/* One read's worth of bytes may lie behind a whole frame. */
enum { READ_SLACK = 1 << 20 };

static const hth_frame_row *find_type(const hth_frame_table *table, unsigned type)
{
	for (size_t i = 0; i < table->n_rows; i++)
		if (table->rows[i].type == type)
			return &table->rows[i];
	return NULL;
}

const char *hth_framing_type_name(const hth_frame_table *table, unsigned type)
{
	const hth_frame_row *row = find_type(table, type);
	return row != NULL ? row->name : "unknown";
}

static uint32_t load32(const unsigned char *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

void hth_framing_decoder_init(hth_frame_decoder *decoder, const hth_frame_table *table, hth_frame_direction direction)
{
	*decoder = (hth_frame_decoder){
	    .table = table, .direction = direction, .buf = HTH_BUF_INIT(table->max[direction] + HTH_FRAME_HEADER + READ_SLACK)};
}

void hth_frame_decoder_finish(hth_frame_decoder *decoder)
{
	if (decoder->buf.data != NULL)
		explicit_bzero(decoder->buf.data, decoder->buf.cap);
	hth_buf_finish(&decoder->buf);
	decoder->taken = 0;
}

hth_status hth_frame_decoder_feed(hth_frame_decoder *decoder, const void *bytes, size_t len, hth_error *err)
{
	if (decoder->taken > 0) { /* one move per read, not per frame */
		hth_buf_consume(&decoder->buf, decoder->taken);
		decoder->taken = 0;
	}
	if (hth_buf_append(&decoder->buf, bytes, len))
		return HTH_OK;
	return hth_buf_check(&decoder->buf, "what waits between daemon and child", err);
}

hth_status hth_frame_decoder_next(hth_frame_decoder *decoder, hth_frame *ret_frame, bool *ret_have, hth_error *err)
{
	const unsigned char *p = (const unsigned char *)decoder->buf.data;
	size_t have = decoder->buf.len - decoder->taken;
	if (have < HTH_FRAME_HEADER) {
		*ret_have = false;
		return HTH_OK;
	}
	p += decoder->taken;
	uint32_t len = load32(p), request = load32(p + 8);
	const hth_frame_row *row = find_type(decoder->table, p[5]);
	if (p[4] != decoder->table->version)
		return hth_fail(err, HTH_BAD_FORMAT, "a frame of version %u; this program speaks version %u", p[4],
		                decoder->table->version);
	if (row == NULL || row->direction != decoder->direction)
		return hth_fail(err, HTH_BAD_FORMAT, "a frame of type %u, which does not belong here", p[5]);
	if (p[6] != 0 || p[7] != 0 || (request != 0) != row->about_request)
		return hth_fail(err, HTH_BAD_FORMAT, "a %s frame with a bad header", row->name);
	if (len > row->max)
		return hth_fail(err, HTH_TOO_LARGE, "a %s frame of %u bytes; at most %zu are allowed", row->name, len, row->max);
	if (have - HTH_FRAME_HEADER < len) {
		*ret_have = false;
		return HTH_OK;
	}
	*ret_frame = (hth_frame){.type = row->type, .request = request, .payload = p + HTH_FRAME_HEADER, .len = len};
	*ret_have = true;
	decoder->taken += HTH_FRAME_HEADER + len;
	return HTH_OK;
}

static void put(hth_frame_writer *writer, const void *bytes, size_t len)
{
	if (!writer->failed && !hth_buf_append(writer->out, bytes, len))
		writer->failed = true;
}

void hth_framing_begin(hth_frame_writer *writer, hth_buf *out, const hth_frame_table *table, unsigned type, uint32_t request)
{
	const hth_frame_row *row = find_type(table, type);
	*writer = (hth_frame_writer){.out = out, .begin = out->len, .max = row->max};
	unsigned char header[HTH_FRAME_HEADER] = {0};
	header[4] = (unsigned char)table->version;
	header[5] = (unsigned char)type;
	memcpy(header + 8, &request, sizeof request);
	put(writer, header, sizeof header);
}

void hth_frame_put_u8(hth_frame_writer *writer, uint8_t value) { put(writer, &value, sizeof value); }
void hth_frame_put_u32(hth_frame_writer *writer, uint32_t value) { put(writer, &value, sizeof value); }
void hth_frame_put_u64(hth_frame_writer *writer, uint64_t value) { put(writer, &value, sizeof value); }
void hth_frame_put_f32(hth_frame_writer *writer, float value) { put(writer, &value, sizeof value); }

void hth_frame_put_string(hth_frame_writer *writer, const void *data, size_t len)
{
	if (len > UINT32_MAX)
		writer->failed = true;
	hth_frame_put_u32(writer, (uint32_t)len);
	if (len > 0)
		put(writer, data, len);
}

void hth_frame_put_array32(hth_frame_writer *writer, const void *values, size_t n)
{
	if (n > UINT32_MAX / 4)
		writer->failed = true;
	hth_frame_put_u32(writer, (uint32_t)n);
	if (n > 0)
		put(writer, values, n * 4);
}

bool hth_frame_end(hth_frame_writer *writer)
{
	hth_buf *out = writer->out;
	size_t len = writer->failed ? 0 : out->len - writer->begin - HTH_FRAME_HEADER;
	if (writer->failed || len > writer->max) {
		out->len = writer->begin;
		out->failed = false; /* the buffer holds whole frames only and can go on with smaller ones */
		return false;
	}
	uint32_t len32 = (uint32_t)len;
	memcpy(out->data + writer->begin, &len32, sizeof len32);
	return true;
}

static void get(hth_frame_fields *fields, void *out, size_t len)
{
	if (fields->failed || (size_t)(fields->end - fields->at) < len) {
		fields->failed = true;
		memset(out, 0, len);
		return;
	}
	memcpy(out, fields->at, len);
	fields->at += len;
}

uint8_t hth_frame_get_u8(hth_frame_fields *fields)
{
	uint8_t v;
	get(fields, &v, sizeof v);
	return v;
}
uint32_t hth_frame_get_u32(hth_frame_fields *fields)
{
	uint32_t v;
	get(fields, &v, sizeof v);
	return v;
}
uint64_t hth_frame_get_u64(hth_frame_fields *fields)
{
	uint64_t v;
	get(fields, &v, sizeof v);
	return v;
}
float hth_frame_get_f32(hth_frame_fields *fields)
{
	float v;
	get(fields, &v, sizeof v);
	return v;
}

static const unsigned char *get_counted(hth_frame_fields *fields, size_t max, size_t size, size_t *ret_n)
{
	size_t n = hth_frame_get_u32(fields);
	if (fields->failed || n > max || n > (size_t)(fields->end - fields->at) / size) {
		fields->failed = true;
		*ret_n = 0;
		return (const unsigned char *)"";
	}
	const unsigned char *at = fields->at;
	fields->at += n * size;
	*ret_n = n;
	return at;
}

const char *hth_frame_get_string(hth_frame_fields *fields, size_t max, size_t *ret_len)
{
	return (const char *)get_counted(fields, max, 1, ret_len);
}
const unsigned char *hth_frame_get_array32(hth_frame_fields *fields, size_t max, size_t *ret_n)
{
	return get_counted(fields, max, 4, ret_n);
}

bool hth_frame_fields_end(const hth_frame_fields *fields) { return !fields->failed && fields->at == fields->end; }
