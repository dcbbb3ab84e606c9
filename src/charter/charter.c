/* charter.c - the document itself: its invariants, its bytes, its hash and its signatures. charter-change.c has what may follow what. */
#include "charter/charter.h"

#include "base/mem.h"
#include "charter/charter-internal.h"

static const char label[] = "hearth charter 1";
enum { FORMAT = 2 };

hth_charter *charter_alloc(size_t n_members)
{
	hth_charter *charter = calloc(1, sizeof *charter);
	if (charter == NULL || (charter->members = hth_alloc_array(n_members, sizeof *charter->members)) == NULL) {
		free(charter);
		return NULL;
	}
	charter->refs = 1;
	return charter;
}

hth_charter *charter_clone(const hth_charter *from)
{
	hth_charter *copy = charter_alloc(from->n_members);
	if (copy == NULL)
		return NULL;
	hth_member *members = copy->members;
	memcpy(members, from->members, from->n_members * sizeof *members);
	*copy = *from;
	copy->members = members;
	copy->refs = 1;
	return copy;
}

hth_charter *hth_charter_ref(hth_charter *charter)
{
	charter->refs++;
	return charter;
}

void hth_charter_unref(hth_charter *charter)
{
	if (charter == NULL || --charter->refs > 0)
		return;
	free(charter->members);
	free(charter);
}

const char *hth_charter_name(const hth_charter *charter) { return charter->name; }
uint32_t hth_charter_version(const hth_charter *charter) { return charter->version; }
const unsigned char *hth_charter_hash(const hth_charter *charter) { return charter->hash; }
/* The first version cannot hold its own hash: it holds zeros. */
const unsigned char *hth_charter_pool_id(const hth_charter *charter) { return charter->version == 1 ? charter->hash : charter->pool_id; }
const hth_rules *hth_charter_rules(const hth_charter *charter) { return &charter->rules; }
size_t hth_charter_member_count(const hth_charter *charter) { return charter->n_members; }
const hth_member *hth_charter_member(const hth_charter *charter, size_t i) { return &charter->members[i]; }
size_t hth_charter_signature_count(const hth_charter *charter) { return charter->n_signatures; }

/* Where id is, or where it would go. */
size_t charter_position(const hth_charter *charter, const hth_home_id *id, bool *ret_found)
{
	size_t low = 0, high = charter->n_members;
	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = hth_home_id_compare(&charter->members[middle].card.id, id);
		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const hth_member *hth_charter_find(const hth_charter *charter, const hth_home_id *id)
{
	bool found;
	size_t at = charter_position(charter, id, &found);
	return found ? &charter->members[at] : NULL;
}

/* ---- bytes ---- */

static void put_body(hth_buf *out, const hth_charter *charter)
{
	hth_canon_put_text(out, label);
	hth_canon_put_u8(out, FORMAT);
	hth_canon_put_bytes(out, charter->pool_id, sizeof charter->pool_id);
	hth_canon_put_u32(out, charter->version);
	hth_canon_put_bytes(out, charter->previous, sizeof charter->previous);
	hth_canon_put_text(out, charter->name);
	hth_canon_put_u8(out, (uint8_t)charter->rules.classes);
	hth_canon_put_u32(out, charter->rules.requests_per_hour);
	hth_canon_put_u32(out, charter->rules.credit_line);
	hth_canon_put_u8(out, (uint8_t)charter->rules.admit_needs);
	hth_canon_put_u8(out, (uint8_t)charter->rules.change_needs);
	hth_canon_put_u16(out, (uint16_t)charter->n_members);
	for (size_t i = 0; i < charter->n_members; i++) {
		hth_card_put(out, &charter->members[i].card);
		hth_canon_put_text(out, charter->members[i].name);
		hth_canon_put_u8(out, (uint8_t)charter->members[i].role);
		hth_canon_put_u32(out, charter->members[i].since);
	}
}

void hth_charter_encode(const hth_charter *charter, hth_buf *out)
{
	put_body(out, charter);
	hth_canon_put_u8(out, (uint8_t)charter->n_signatures);
	for (size_t i = 0; i < charter->n_signatures; i++) {
		hth_canon_put_bytes(out, charter->signatures[i].id.bytes, 32);
		hth_canon_put_bytes(out, charter->signatures[i].bytes, HTH_SIGNATURE_BYTES);
	}
}

static bool get_head(hth_canon_reader *r, hth_charter *head, size_t *ret_members)
{
	char what[sizeof label];
	hth_canon_get_text(r, what, sizeof what);
	if (strcmp(what, label) != 0 || hth_canon_get_u8(r) != FORMAT)
		return false;
	hth_canon_get_bytes(r, head->pool_id, sizeof head->pool_id);
	head->version = hth_canon_get_u32(r);
	hth_canon_get_bytes(r, head->previous, sizeof head->previous);
	hth_canon_get_text(r, head->name, sizeof head->name);
	head->rules.classes = hth_canon_get_u8(r);
	head->rules.requests_per_hour = hth_canon_get_u32(r);
	head->rules.credit_line = hth_canon_get_u32(r);
	head->rules.admit_needs = hth_canon_get_u8(r);
	head->rules.change_needs = hth_canon_get_u8(r);
	*ret_members = hth_canon_get_u16(r);
	return !r->failed && *ret_members <= HTH_MEMBERS_MAX;
}

static void get_rest(hth_canon_reader *r, hth_charter *charter)
{
	for (size_t i = 0; i < charter->n_members && !r->failed; i++) {
		hth_member *m = &charter->members[i];
		hth_card_get(r, &m->card);
		hth_canon_get_text(r, m->name, sizeof m->name);
		unsigned role = hth_canon_get_u8(r);
		m->role = (hth_role)role;
		m->since = hth_canon_get_u32(r);
		if (role > HTH_ROLE_KEEPER)
			r->failed = true;
	}
	charter->n_signatures = hth_canon_get_u8(r);
	if (charter->n_signatures > HTH_CHARTER_SIGNATURES_MAX)
		r->failed = true;
	for (size_t i = 0; i < charter->n_signatures && !r->failed; i++) {
		charter_signature *s = &charter->signatures[i];
		hth_canon_get_bytes(r, s->id.bytes, 32);
		hth_canon_get_bytes(r, s->bytes, HTH_SIGNATURE_BYTES);
		if (i > 0 && hth_home_id_compare(&charter->signatures[i - 1].id, &s->id) >= 0)
			r->failed = true;
	}
}

hth_status hth_charter_decode(hth_charter **ret_charter, const void *bytes, size_t len, hth_error *err)
{
	if (len > HTH_CHARTER_BYTES_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a charter of %zu bytes is over the limit of %d", len, HTH_CHARTER_BYTES_MAX);
	hth_canon_reader r = hth_canon_read(bytes, len);
	hth_charter head = {0};
	size_t n_members;
	if (!get_head(&r, &head, &n_members))
		return hth_fail(err, HTH_BAD_FORMAT, "what arrived is not a charter of format %d", FORMAT);
	hth_charter *charter = charter_alloc(n_members);
	if (charter == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a charter of %zu members", n_members);
	head.members = charter->members;
	head.n_members = n_members;
	head.refs = 1;
	*charter = head;
	get_rest(&r, charter);
	hth_status status = hth_canon_end(&r) ? charter_seal_body(charter, err)
	                                      : hth_fail(err, HTH_BAD_FORMAT, "a charter does not follow its format");
	if (status != HTH_OK) {
		hth_charter_unref(charter);
		return status;
	}
	*ret_charter = charter;
	return HTH_OK;
}

/* ---- what must hold of every charter ---- */

static hth_status check_rules(const hth_charter *charter, size_t keepers, hth_error *err)
{
	const hth_rules *rules = &charter->rules;
	if (rules->classes == 0 || rules->classes > (HTH_CHARTER_NEIGHBOURS | HTH_CHARTER_PUBLIC))
		return hth_fail(err, HTH_INVALID, "a charter must allow work of the classes neighbours, public or both");
	if (rules->admit_needs < 1 || rules->change_needs < 1 || rules->admit_needs > HTH_CHARTER_SIGNATURES_MAX ||
	    rules->change_needs > HTH_CHARTER_SIGNATURES_MAX)
		return hth_fail(err, HTH_INVALID, "a charter must ask for 1 to %d signatures", HTH_CHARTER_SIGNATURES_MAX);
	if (keepers < HTH_MAX(rules->admit_needs, rules->change_needs))
		return hth_fail(err, HTH_CONFLICT, "the charter asks for %u keepers' signatures and would have %zu keepers: appoint one, "
		                                   "or amend the rules first",
		                HTH_MAX(rules->admit_needs, rules->change_needs), keepers);
	return HTH_OK;
}

hth_status charter_seal_body(hth_charter *charter, hth_error *err)
{
	static const unsigned char zero[HTH_HASH_BYTES];
	size_t keepers = 0;
	if (charter->version == 0 || (charter->version == 1) != (memcmp(charter->previous, zero, sizeof zero) == 0) ||
	    (charter->version == 1) != (memcmp(charter->pool_id, zero, sizeof zero) == 0))
		return hth_fail(err, HTH_BAD_FORMAT, "a charter's version and the one it follows do not fit");
	if (charter->name[0] == '\0' || !hth_canon_is_text(charter->name, strlen(charter->name), HTH_POOL_NAME_MAX))
		return hth_fail(err, HTH_INVALID, "a neighbourhood needs a name of 1 to %d printable bytes", HTH_POOL_NAME_MAX - 1);
	if (charter->n_members < 1 || charter->n_members > HTH_MEMBERS_MAX || (charter->version == 1 && charter->n_members != 1))
		return hth_fail(err, HTH_TOO_LARGE, "a neighbourhood has 1 to %d members, and begins with one", HTH_MEMBERS_MAX);
	for (size_t i = 0; i < charter->n_members; i++) {
		const hth_member *m = &charter->members[i];
		if (i > 0 && hth_home_id_compare(&charter->members[i - 1].card.id, &m->card.id) >= 0)
			return hth_fail(err, HTH_BAD_FORMAT, "a charter's members are not in order, or one is there twice");
		if (m->name[0] == '\0' || !hth_canon_is_text(m->name, strlen(m->name), HTH_MEMBER_NAME_MAX))
			return hth_fail(err, HTH_INVALID, "a member needs a name of 1 to %d printable bytes", HTH_MEMBER_NAME_MAX - 1);
		if (m->since == 0 || m->since > charter->version)
			return hth_fail(err, HTH_BAD_FORMAT, "a member came in with a version that there has not been");
		keepers += m->role == HTH_ROLE_KEEPER;
	}
	HTH_TRY(check_rules(charter, keepers, err));
	hth_buf body = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX);
	put_body(&body, charter);
	hth_status status = hth_buf_check(&body, "a charter", err);
	if (status == HTH_OK)
		hth_seal_hash(label, body.data, body.len, charter->hash);
	hth_buf_finish(&body);
	return status;
}

/* ---- signatures ---- */

bool charter_signature_holds(const hth_charter *charter, const charter_signature *signature)
{
	return hth_home_verify(&signature->id, label, charter->hash, sizeof charter->hash, signature->bytes);
}

void charter_add_signature(hth_charter *charter, const charter_signature *signature)
{
	size_t at = 0;
	while (at < charter->n_signatures && hth_home_id_compare(&charter->signatures[at].id, &signature->id) < 0)
		at++;
	if (at < charter->n_signatures && hth_home_id_equal(&charter->signatures[at].id, &signature->id)) {
		if (!charter_signature_holds(charter, &charter->signatures[at])) /* somebody put a bad one under this name */
			charter->signatures[at] = *signature;
		return;
	}
	if (charter->n_signatures == HTH_CHARTER_SIGNATURES_MAX)
		return;
	memmove(&charter->signatures[at + 1], &charter->signatures[at], (charter->n_signatures - at) * sizeof *signature);
	charter->signatures[at] = *signature;
	charter->n_signatures++;
}

hth_status hth_charter_sign(hth_charter *charter, const hth_identity *identity, hth_error *err)
{
	charter_signature signature = {.id = hth_identity_card(identity)->id};
	size_t before = charter->n_signatures;
	hth_identity_sign(identity, label, charter->hash, sizeof charter->hash, signature.bytes);
	charter_add_signature(charter, &signature);
	for (size_t i = 0; i < charter->n_signatures; i++)
		if (hth_home_id_equal(&charter->signatures[i].id, &signature.id))
			return HTH_OK;
	return hth_fail(err, HTH_TOO_LARGE, "the charter has %zu signatures already, the most there may be", before);
}

void hth_charter_merge(hth_charter *charter, const hth_charter *copy)
{
	if (memcmp(charter->hash, copy->hash, sizeof charter->hash) != 0)
		return;
	for (size_t i = 0; i < copy->n_signatures; i++)
		if (charter_signature_holds(copy, &copy->signatures[i]))
			charter_add_signature(charter, &copy->signatures[i]);
}

void hth_charter_strip(hth_charter *charter, const hth_charter *from)
{
	size_t n = 0;
	for (size_t i = 0; i < charter->n_signatures; i++)
		if (hth_charter_find(from, &charter->signatures[i].id) != NULL && charter_signature_holds(charter, &charter->signatures[i]))
			charter->signatures[n++] = charter->signatures[i];
	charter->n_signatures = n;
}
