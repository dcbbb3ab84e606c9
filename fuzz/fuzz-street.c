/* fuzz-street.c - what is inside a member's sealed letters: greetings, charters, questions, hubs, doors, knocks and answers to knocking,
 * from any bytes.
 *
 * A real street (on a disk of its own, with fixed keys, so that a corpus can hold charters that are signed) that never connects. The input
 * is a row of letters: a byte (bit 0: Ben, a keeper, else Cid, a member; bit 1: names this start's session; bit 2: to the door; bits 3 and
 * 4: the kind; bit 5: Dan, nobody), a length in two bytes, the letter. Each is sealed as its sender would and handed to the street. It
 * stays a street that this home can go on with: it is in its own charter or has none, and the list of neighbours is the charter's. */
#include "base/mem.h"
#include "street/street-internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_loop *loop;
static hth_street *street;
static hth_identity *ben, *cid, *dan;
static char home[128];
static uint32_t version;

static void must(hth_status status, const hth_error *err)
{
	if (status != HTH_OK) {
		fprintf(stderr, "fuzz-street: %s\n", err->message);
		abort();
	}
}

static void clean(void)
{
	static const char *const names[] = {"street/state", "street/state.new", "street", "identity.key", "hearth.db", "hearth.db-wal",
	                                    "hearth.db-shm", ""};
	char path[256];
	for (size_t i = 0; i < HTH_COUNT(names); i++) {
		snprintf(path, sizeof path, "%s/%s", home, names[i]);
		(void)!remove(path);
	}
}

static void finish(void)
{
	hth_street_destroy(street);
	hth_identity_destroy(ben);
	hth_identity_destroy(cid);
	hth_identity_destroy(dan);
	hth_loop_destroy(loop);
	clean();
}

static void admit(const hth_identity *who, const char *name, hth_role role)
{
	hth_error err;
	hth_charter *draft = NULL;
	bool done;
	must(hth_charter_admit(&draft, hth_membership_base(street->membership), hth_identity_card(who), name, role, &err), &err);
	must(street_change(street, draft, &done, &err), &err);
}

static void letter(void *ctx, hth_letter_kind kind, const hth_home_id *from, const void *bytes, size_t len)
{
	(void)ctx, (void)bytes, (void)len;
	if ((kind != HTH_LETTER_POOL && kind != HTH_LETTER_BLOCKS) || hth_membership_find(street->membership, from) == NULL)
		abort();
}

static void begin(void)
{
	static const unsigned char seeds[][HTH_SEED_BYTES] = {{1}, {2}, {3}, {4}};
	static const hth_rules rules = {.classes = 3, .requests_per_hour = 600, .credit_line = 1000, .admit_needs = 1, .change_needs = 1};
	const hth_street_events events = {.letter = letter};
	char path[256];
	hth_error err;
	if (loop == NULL) {
		must(hth_loop_create(&loop, &err), &err);
		must(hth_identity_from_seed(&ben, seeds[1], &err), &err);
		must(hth_identity_from_seed(&cid, seeds[2], &err), &err);
		must(hth_identity_from_seed(&dan, seeds[3], &err), &err);
		snprintf(home, sizeof home, "%s/fuzz-street-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		if (mkdtemp(home) == NULL)
			abort();
		atexit(finish);
		snprintf(path, sizeof path, "%s/identity.key", home);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || dprintf(fd, "hearth identity 1 01%062d\n", 0) < 0 || close(fd) != 0) /* seeds[0] */
			abort();
	}
	hth_street_destroy(street);
	hth_charter *charter = NULL;
	const hth_street_options options = {.loop = loop, .home = home, .home_name = "Anna", .program = "none"};
	snprintf(path, sizeof path, "%s/street/state", home);
	(void)!remove(path);
	must(hth_street_create(&street, &options, &events, &err), &err);
	must(hth_charter_found(&charter, "Elm", &rules, street->identity, "Anna", &err), &err);
	must(hth_membership_adopt(street->membership, charter, &err), &err);
	hth_charter_unref(charter);
	admit(ben, "Ben", HTH_ROLE_KEEPER);
	admit(cid, "Cid", HTH_ROLE_MEMBER);
	static const unsigned char secret[HTH_SECRET_BYTES] = {7}; /* somebody is invited */
	must(hth_invitation_book_add(street->book, secret, UINT64_MAX, street_unix_ms(), &err), &err);
	street->n_doors = 1;
	street->doors[0] = (street_door){.key = {9}, .inviter = *hth_street_self(street), .expires_ms = UINT64_MAX};
	strcpy(street->hub_address, "127.0.0.1:1"); /* of a hub that does not open: lists of doors are for who hosts one */
	version = hth_membership_standing(street->membership).version;
}

static void give(uint8_t how, const uint8_t *data, size_t len)
{
	const hth_charter *charter = hth_membership_charter(street->membership);
	unsigned char payload[1 + UINT16_MAX];
	char subject[HTH_SUBJECT_MAX];
	hth_error err;
	uint64_t now = street_unix_ms();
	bool door = how & 4;
	payload[0] = door || (how >> 3 & 3) == 0 ? HTH_LETTER_STREET : (unsigned char)(how >> 3 & 3);
	if (len > 0)
		memcpy(payload + 1, data, len);
	street_subject(hth_charter_pool_id(charter), door ? "door" : "to", hth_street_self(street)->bytes, subject);
	const hth_letter l = {.subject = subject, .issued_ms = now, .expires_ms = now + 30000,
	                      .session = how & 2 ? hth_inbox_session(street->inbox) : 0,
	                      .payload = payload, .len = len + 1};
	HTH_CLEANUP(hth_buf_finish) hth_buf sealed = HTH_BUF_INIT(HTH_ENVELOPE_MAX);
	must(hth_envelope_seal(&sealed, how & 32 ? dan : how & 1 ? ben : cid, hth_identity_card(street->identity), &l, &err), &err);
	street->knocks = 0;
	street_message(street, subject, sealed.data, sealed.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (street == NULL)
		begin();
	while (size >= 3 && hth_membership_charter(street->membership) != NULL) {
		size_t len = HTH_MIN((size_t)(data[1] | data[2] << 8), size - 3);
		give(data[0], data + 3, len);
		data += 3 + len;
		size -= 3 + len;
	}
	const hth_charter *charter = hth_membership_charter(street->membership);
	if (charter != NULL && (hth_membership_find(street->membership, hth_street_self(street)) == NULL ||
	                        street->n_peers + 1 != hth_charter_member_count(charter)))
		abort();
	/* The next input finds the street as this one did. */
	if (charter == NULL || hth_membership_standing(street->membership).version != version || street->n_hubs > 0 ||
	    street->n_doors != 1 || hth_membership_proposal_count(street->membership) > 0)
		begin();
	return 0;
}
