/* street-tool.c - a member that means harm, and what other tests need of a member's credentials.
 *
 *   street-tool seed HOME                       JSON: the NATS seed and key of HOME's identity, its subject, the others' subjects
 *   street-tool garbage|letters|flood|large HOME TARGET SECONDS
 *                                               logs in as HOME (whose node must not run) and sends TARGET (the beginning of an id) what no
 *                                               member should: raw bytes; well sealed letters with bodies of nonsense; as many as go
 *                                               through; as large as they can be. Prints how many.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "charter/charter.h"
#include "link/link.h"
#include "link/nkey.h"
#include "seal/envelope.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

static hth_identity *self;
static hth_charter *charter;
static hth_link_hub hub;
static hth_loop *loop;
static hth_link *link_;
static hth_inbox *inbox;
static const hth_member *target;
static uint64_t target_session, ends_ms;
static const char *mode;
static unsigned long sent;
static char pool[17], my_subject[HTH_SUBJECT_MAX], target_subject[HTH_SUBJECT_MAX];

static void die(const char *what, const hth_error *err)
{
	fprintf(stderr, "street-tool: %s: %s\n", what, err->message);
	exit(1);
}

static char *read_file(const char *home, const char *name, size_t *ret_len)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", home, name);
	FILE *f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		exit(1);
	}
	char *data = malloc(16 << 20);
	*ret_len = fread(data, 1, 16 << 20, f);
	fclose(f);
	return data;
}

/* street-state.c has the layout. */
static void read_state(const char *home)
{
	size_t len, n, blob_len;
	char *data = read_file(home, "street/state", &len), label[32];
	hth_error err;
	hth_canon_reader r = hth_canon_read(data, len);
	hth_canon_get_text(&r, label, sizeof label);
	for (int list = 0; list < 2; list++) {
		n = hth_canon_get_u16(&r);
		for (size_t i = 0; i < n; i++) {
			const unsigned char *blob = hth_canon_get_blob(&r, HTH_CHARTER_BYTES_MAX, &blob_len);
			if (list == 0 && i == n - 1 && hth_charter_decode(&charter, blob, blob_len, &err) != HTH_OK)
				die("charter", &err);
		}
	}
	hth_canon_get_blob(&r, 1 << 20, &blob_len);
	n = hth_canon_get_u16(&r);
	for (unsigned char id[32]; n > 0; n--)
		hth_canon_get_bytes(&r, id, 32);
	n = hth_canon_get_u8(&r);
	unsigned char id[32];
	if (n > 0) {
		hth_canon_get_bytes(&r, id, 32);
		hth_canon_get_text(&r, hub.address, sizeof hub.address);
		hth_canon_get_bytes(&r, hub.fingerprint, 32);
	}
	if (r.failed || charter == NULL) {
		fprintf(stderr, "street-tool: the state cannot be read\n");
		exit(1);
	}
	sodium_bin2hex(pool, sizeof pool, hth_charter_pool_id(charter), 8);
	free(data);
}

static void subject_of(const hth_home_id *id, char out[HTH_SUBJECT_MAX])
{
	char text[HTH_HOME_ID_TEXT];
	hth_home_id_text(id, text);
	snprintf(out, HTH_SUBJECT_MAX, "hearth.%s.to.%s", pool, text);
}

/* "SU...": two prefix bytes that hold seed (18 << 3) and user (20 << 3), the seed, the checksum. */
static void print_seed(const char *home)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned char seed[32], sign_seed[32], raw[36];
	size_t len;
	char *text = read_file(home, "identity.key", &len), key[HTH_NKEY_TEXT], out[59], subject[HTH_SUBJECT_MAX];
	if (sodium_hex2bin(seed, 32, strrchr(text, ' ') + 1, 64, NULL, &len, NULL) != 0)
		exit(1);
	crypto_kdf_derive_from_key(sign_seed, 32, 1, "hthident", seed);
	raw[0] = (unsigned char)((18 << 3) | ((20 << 3) >> 5));
	raw[1] = (unsigned char)(((20 << 3) & 31) << 3);
	memcpy(raw + 2, sign_seed, 32);
	uint16_t crc = 0;
	for (int i = 0; i < 34; i++) {
		crc ^= (uint16_t)(raw[i] << 8);
		for (int b = 0; b < 8; b++)
			crc = (uint16_t)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
	}
	raw[34] = (unsigned char)crc;
	raw[35] = (unsigned char)(crc >> 8);
	for (unsigned i = 0; i < 58; i++) {
		unsigned bit = i * 5, at = bit / 8, pair = (unsigned)raw[at] << 8 | (at + 1 < 36 ? raw[at + 1] : 0u);
		out[i] = alphabet[pair >> (11 - bit % 8) & 31];
	}
	out[58] = '\0';
	hth_nkey_text(hth_identity_card(self)->id.bytes, key);
	printf("{\"seed\":\"%s\",\"key\":\"%s\",\"hub\":\"%s\",\"pool\":\"%s\",\"self\":\"%s\",\"others\":[", out, key, hub.address, pool,
	       my_subject);
	const char *comma = "";
	for (size_t i = 0; i < hth_charter_member_count(charter); i++) {
		const hth_home_id *id = &hth_charter_member(charter, i)->card.id;
		if (hth_home_id_equal(id, &hth_identity_card(self)->id))
			continue;
		subject_of(id, subject);
		printf("%s\"%s\"", comma, subject);
		comma = ",";
	}
	printf("]}\n");
	free(text);
}

static uint64_t unix_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool send_letter(const void *payload, size_t len, uint64_t session)
{
	static hth_buf sealed = {.max = HTH_ENVELOPE_MAX};
	hth_error err;
	uint64_t now = unix_ms();
	hth_buf_clear(&sealed);
	const hth_letter letter = {.subject = target_subject, .issued_ms = now, .expires_ms = now + 30000, .session = session,
	                           .payload = payload, .len = len};
	if (hth_envelope_seal(&sealed, self, &target->card, &letter, &err) != HTH_OK)
		die("seal", &err);
	if (hth_link_send(link_, target_subject, sealed.data, sealed.len, &err) != HTH_OK)
		return false;
	sent++;
	return true;
}

/* One thing that no member should send; false: the queue is full. */
static bool mischief(void)
{
	static unsigned char bytes[HTH_ENVELOPE_MAX];
	hth_error err;
	if (strcmp(mode, "garbage") == 0) {
		size_t len = randombytes_uniform(10) == 0 ? randombytes_uniform(sizeof bytes) : randombytes_uniform(600);
		randombytes_buf(bytes, len);
		if (len > 0 && randombytes_uniform(2) == 0)
			bytes[0] = 1; /* the version */
		if (hth_link_send(link_, target_subject, bytes, len, &err) != HTH_OK)
			return false;
		sent++;
		return true;
	}
	if (strcmp(mode, "large") == 0) {
		randombytes_buf(bytes, 4096);
		bytes[0] = (unsigned char)(1 + randombytes_uniform(3));
		return send_letter(bytes, 490 << 10, target_session);
	}
	size_t len = strcmp(mode, "flood") == 0 ? 8 : randombytes_uniform(700);
	randombytes_buf(bytes, len);
	bytes[0] = (unsigned char)(randombytes_uniform(4) == 0 ? randombytes_uniform(256) : 1 + randombytes_uniform(3)); /* the kind */
	bytes[1] = (unsigned char)(randombytes_uniform(4) == 0 ? randombytes_uniform(256) : 1 + randombytes_uniform(9)); /* the verb */
	if (len > 6 && randombytes_uniform(2) == 0)
		memset(bytes + 2, 0, 4); /* a length that could be one */
	return send_letter(bytes, len, randombytes_uniform(8) == 0 ? 0 : target_session);
}

static void on_tick(void *ctx)
{
	(void)ctx;
	if (hth_clock_ms() >= ends_ms) {
		hth_loop_stop(loop);
		return;
	}
	if (target_session == 0 || !hth_link_is_up(link_))
		return;
	for (int i = 0; i < (strcmp(mode, "flood") == 0 ? 400 : 20); i++)
		if (!mischief())
			break;
}

static bool knows(void *ctx, const hth_home_id *id)
{
	(void)ctx;
	return hth_charter_find(charter, id) != NULL;
}

static void on_message(void *ctx, const char *subject, const void *bytes, size_t len)
{
	(void)ctx;
	hth_opened o;
	if (hth_inbox_open(inbox, subject, bytes, len, unix_ms(), &o, NULL) != HTH_OK || !hth_home_id_equal(&o.sender, &target->card.id))
		return;
	if (o.len > 10 && o.payload[0] == 1 && o.payload[1] == 1) /* its greeting */
		memcpy(&target_session, o.payload + 2, 8);
}

/* Says which session this is, or what the target writes is for the node that had these keys before. */
static void on_up(void *ctx, const hth_link_hub *h)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf hello = HTH_BUF_INIT(1024);
	(void)ctx;
	(void)h;
	hth_canon_put_u8(&hello, 1);
	hth_canon_put_u8(&hello, 1);
	hth_canon_put_u64(&hello, hth_inbox_session(inbox));
	hth_canon_put_bool(&hello, true);
	hth_canon_put_u64(&hello, 1);
	hth_canon_put_u64(&hello, 0);
	hth_canon_put_u32(&hello, 0);
	hth_canon_put_u32(&hello, hth_charter_version(charter));
	hth_canon_put_bytes(&hello, hth_charter_hash(charter), HTH_HASH_BYTES);
	hth_canon_put_u64(&hello, 0);
	(void)send_letter(hello.data, hello.len, 0);
	sent = 0;
}
static void on_down(void *ctx, const hth_link_hub *h, bool was_up, const hth_error *why)
{
	(void)ctx;
	(void)h;
	(void)was_up;
	fprintf(stderr, "street-tool: %s\n", why->message);
}
static bool sign(void *ctx, const void *nonce, size_t len, unsigned char signature[64])
{
	(void)ctx;
	return hth_identity_sign_nonce(self, nonce, len, signature);
}

int main(int argc, char **argv)
{
	hth_error err = HTH_ERROR_INIT;
	if (argc < 3 || hth_identity_load(&self, argv[2], &err) != HTH_OK)
		die("identity", &err);
	signal(SIGPIPE, SIG_IGN);
	mode = argv[1];
	read_state(argv[2]);
	subject_of(&hth_identity_card(self)->id, my_subject);
	if (strcmp(mode, "seed") == 0) {
		print_seed(argv[2]);
		return 0;
	}
	if (argc != 5)
		return 2;
	for (size_t i = 0; i < hth_charter_member_count(charter); i++) {
		char id[HTH_HOME_ID_TEXT];
		hth_home_id_text(&hth_charter_member(charter, i)->card.id, id);
		if (strncmp(id, argv[3], strlen(argv[3])) == 0)
			target = hth_charter_member(charter, i);
	}
	if (target == NULL)
		return 2;
	subject_of(&target->card.id, target_subject);
	hth_timer *tick = NULL;
	hth_link_login login = {.sign = sign};
	memcpy(login.key, hth_identity_card(self)->id.bytes, 32);
	if (hth_loop_create(&loop, &err) != HTH_OK || hth_inbox_create(&inbox, self, 4711, knows, NULL, &err) != HTH_OK ||
	    hth_link_open(&link_, loop, &login, &(hth_link_events){NULL, on_up, on_down, on_message}, &err) != HTH_OK ||
	    hth_link_subscribe(link_, my_subject, &err) != HTH_OK || hth_timer_open(&tick, loop, on_tick, NULL, &err) != HTH_OK)
		die("link", &err);
	ends_ms = hth_clock_ms() + (uint64_t)atoi(argv[4]) * 1000;
	hth_link_set_hubs(link_, &hub, 1);
	hth_timer_start(tick, 5, 5);
	hth_loop_run(loop);
	hth_timer_close(tick);
	hth_link_close(link_);
	hth_inbox_destroy(inbox);
	hth_identity_destroy(self);
	hth_charter_unref(charter);
	hth_loop_destroy(loop);
	printf("%lu\n", sent);
	return sent > 0 ? 0 : 1;
}
