/* references.c - where schemas stand and how they refer to each other: JSON pointers, anchors, ids; and sets of
 * schemas, in which a schema that only refers is its target. Nothing outside the documents is ever looked at. */
#include "schema/reading.h"

#include <stdio.h>

static hth_status wrong_reference(const reader *r, const json_t *schema)
{
	char place[256];
	return hth_fail(r->err, HTH_INVALID, "schema: $ref at %s must be a string",
	                hth_schema_place_of(r, schema, place));
}

static bool find_place(const json_t *at, const json_t *node, char *out, size_t cap, size_t len, unsigned depth)
{
	if (at == node)
		return true;
	if (depth > HTH_JSON_DEPTH_MAX)
		return false;
	const char *key;
	json_t *value;
	size_t i;
	if (json_is_object(at)) {
		json_object_foreach((json_t *)at, key, value)
		{
			int n = snprintf(out + len, cap - len, "/%s", key);
			if (n > 0 && len + (size_t)n < cap &&
			    find_place(value, node, out, cap, len + (size_t)n, depth + 1))
				return true;
		}
	} else if (json_is_array(at)) {
		json_array_foreach((json_t *)at, i, value)
		{
			int n = snprintf(out + len, cap - len, "/%zu", i);
			if (n > 0 && len + (size_t)n < cap &&
			    find_place(value, node, out, cap, len + (size_t)n, depth + 1))
				return true;
		}
	}
	out[len] = '\0';
	return false;
}

const char *hth_schema_place_of(const reader *r, const json_t *node, char out[256])
{
	for (size_t i = 0; i < r->n_roots; i++) {
		strcpy(out, "#");
		if (find_place(r->roots[i], node, out, 256, 1, 0))
			return out;
	}
	strcpy(out, "the schema");
	return out;
}

static int from_hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* A JSON pointer inside a URI fragment. */
static const json_t *follow_pointer(const json_t *at, const char *pointer)
{
	while (at != NULL && *pointer == '/') {
		char key[512];
		size_t n = 0;
		for (pointer++; *pointer != '\0' && *pointer != '/'; pointer++) {
			char c = *pointer;
			if (c == '%' && from_hex(pointer[1]) >= 0 && from_hex(pointer[2]) >= 0) {
				c = (char)(from_hex(pointer[1]) << 4 | from_hex(pointer[2]));
				pointer += 2;
			}
			if (c == '~' && (pointer[1] == '0' || pointer[1] == '1')) {
				c = pointer[1] == '0' ? '~' : '/';
				pointer++;
			}
			if (n + 1 >= sizeof key)
				return NULL;
			key[n++] = c;
		}
		key[n] = '\0';
		at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10)) : json_object_get(at, key);
	}
	return *pointer == '\0' ? at : NULL;
}

/* The schema that calls itself by this $anchor or $id. */
static const json_t *find_named(const json_t *at, const char *keyword, const char *name, size_t len, unsigned depth)
{
	const char *key;
	json_t *value;
	size_t i;
	if (depth > HTH_JSON_DEPTH_MAX)
		return NULL;
	const char *mine = json_string_value(json_object_get(at, keyword));
	if (mine != NULL && strlen(mine) == len && memcmp(mine, name, len) == 0)
		return at;
	const json_t *found = NULL;
	if (json_is_object(at)) {
		json_object_foreach((json_t *)at, key, value)
		{
			if (found == NULL && strcmp(key, "enum") != 0 && strcmp(key, "const") != 0)
				found = find_named(value, keyword, name, len, depth + 1);
		}
	} else if (json_is_array(at)) {
		json_array_foreach((json_t *)at, i, value)
		{
			if (found == NULL)
				found = find_named(value, keyword, name, len, depth + 1);
		}
	}
	return found;
}

/* ---- URIs: RFC 3986, as far as schemas need it ---- */

enum { URI_MAX = 1024 };

static size_t scheme_length(const char *uri)
{
	size_t n = strspn(uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
	return n > 0 && uri[n] == ':' ? n + 1 : 0;
}

/* Where the path begins: behind scheme and authority. */
static size_t path_begin(const char *uri)
{
	size_t n = scheme_length(uri);
	return strncmp(uri + n, "//", 2) == 0 ? n + 2 + strcspn(uri + n + 2, "/?#") : n;
}

/* Takes "." and ".." out of a URI's path, in place (section 5.2.4). */
static void remove_dots(char *uri)
{
	char *path = uri + path_begin(uri), *out = path, *in = path;
	while (*in != '\0' && *in != '?') {
		size_t n = strcspn(in + (*in == '/'), "/?") + (*in == '/');
		const char *segment = in + (*in == '/');
		size_t len = n - (*in == '/');
		bool dot = len == 1 && segment[0] == '.', dots = len == 2 && segment[0] == '.' && segment[1] == '.';
		if (dots)
			while (out > path && *--out != '/')
				;
		if (!dot && !dots) {
			memmove(out, in, n);
			out += n;
		} else if (in[n] != '/' && *in == '/') {
			*out++ = '/'; /* what it named is a folder */
		}
		in += n;
	}
	memmove(out, in, strlen(in) + 1);
}

/* What ref means where base holds, without its fragment (section 5.2.2). False: too long. */
static bool join(const char *base, const char *ref, char out[URI_MAX])
{
	size_t len = strcspn(ref, "#"), keep = strlen(base);
	if (scheme_length(ref) > 0)
		keep = 0;
	else if (strncmp(ref, "//", 2) == 0)
		keep = scheme_length(base);
	else if (*ref == '/')
		keep = path_begin(base);
	else if (*ref == '?')
		keep = strcspn(base, "?");
	else if (len > 0) {
		keep = strcspn(base, "?");
		while (keep > path_begin(base) && base[keep - 1] != '/')
			keep--;
	}
	if (keep + len >= URI_MAX)
		return false;
	memmove(out, base, keep);
	memcpy(out + keep, ref, len);
	out[keep + len] = '\0';
	if (len > 0)
		remove_dots(out);
	return true;
}

/* Beside a $ref an $id counts since 2019-09; before, $ref stood alone, and so it does where nothing is said. */
static bool has_id(const json_t *root, const json_t *s)
{
	const char *draft = json_string_value(json_object_get(root, "$schema"));
	bool recent = draft != NULL && (strstr(draft, "2019-09") != NULL || strstr(draft, "2020-12") != NULL);
	return recent || json_object_get(s, "$ref") == NULL;
}

/* Walks through a document's schemas with the URI that holds in each. Looks for the schema `node` (NULL: for the one whose own URI is
 * `wanted`) and leaves its URI in base. NULL: it is not there. */
static const json_t *walk_uris(const json_t *root, const json_t *at, const json_t *node, const char *wanted, char base[URI_MAX],
                               unsigned depth)
{
	char here[URI_MAX];
	const char *key, *id = json_string_value(json_object_get(at, "$id"));
	json_t *value;
	size_t i;
	if (id == NULL) /* draft 4 */
		id = json_string_value(json_object_get(at, "id"));
	bool named = id != NULL && *id != '#' && has_id(root, at) && join(base, id, here);
	if (!named)
		snprintf(here, sizeof here, "%s", base);
	if (at == node || (wanted != NULL && (named || depth == 0) && strcmp(here, wanted) == 0)) {
		memcpy(base, here, sizeof here);
		return at;
	}
	const json_t *found = NULL;
	if (depth > HTH_JSON_DEPTH_MAX)
		return NULL;
	if (json_is_object(at)) {
		json_object_foreach((json_t *)at, key, value)
		{
			bool data = strcmp(key, "enum") == 0 || strcmp(key, "const") == 0 || strcmp(key, "default") == 0 ||
			    strcmp(key, "examples") == 0;
			if (found == NULL && !data)
				found = walk_uris(root, value, node, wanted, here, depth + 1);
		}
	} else if (json_is_array(at)) {
		json_array_foreach((json_t *)at, i, value)
		{
			if (found == NULL)
				found = walk_uris(root, value, node, wanted, here, depth + 1);
		}
	}
	if (found != NULL)
		memcpy(base, here, sizeof here);
	return found;
}

static bool has_ids_inside(const json_t *at, unsigned depth)
{
	const char *key;
	json_t *value;
	size_t i;
	bool has = depth > 0 && (json_is_string(json_object_get(at, "$id")) || json_is_string(json_object_get(at, "id")));
	if (depth > HTH_JSON_DEPTH_MAX)
		return has;
	if (json_is_object(at)) {
		json_object_foreach((json_t *)at, key, value) has = has || has_ids_inside(value, depth + 1);
	} else if (json_is_array(at)) {
		json_array_foreach((json_t *)at, i, value) has = has || has_ids_inside(value, depth + 1);
	}
	return has;
}

/* The schema that a reference's URI names, fragment aside. NULL: it is in none of the documents. */
static const json_t *find_resource(const reader *r, const json_t *s, const char *ref, const json_t **ret_root)
{
	char base[URI_MAX], wanted[URI_MAX];
	for (size_t i = 0; i < r->n_roots; i++) {
		base[0] = '\0';
		if (walk_uris(r->roots[i], r->roots[i], s, NULL, base, 0) == NULL)
			continue;
		*ret_root = r->roots[i];
		if (!join(base, ref, wanted))
			return NULL;
		for (size_t k = 0; k < r->n_roots; k++) { /* its own document first */
			base[0] = '\0';
			const json_t *root = r->roots[(i + k) % r->n_roots], *found = walk_uris(root, root, NULL, wanted, base, 0);
			if (found != NULL)
				return found;
		}
	}
	return NULL;
}

static hth_status resolve(reader *r, const json_t *s, const char *ref, const json_t **ret)
{
	const char *hash = strchr(ref, '#');
	const json_t *found = NULL, *root = r->n_roots == 1 ? r->roots[0] : NULL, *base = NULL;
	if (root != NULL && r->ids == IDS_UNKNOWN)
		r->ids = has_ids_inside(root, 0) ? IDS_SOME : IDS_NONE;
	if (root == NULL || r->ids == IDS_SOME || hash != ref) /* else the usual: nothing to look for */
		base = find_resource(r, s, ref, &root);
	if (base == NULL && hash == ref)
		base = root; /* a schema that was made here and stands in no document */
	if (base != NULL) {
		const char *fragment = hash ? hash + 1 : "";
		if (*fragment == '\0' || *fragment == '/') {
			found = follow_pointer(base, fragment);
			if (found == NULL && hash == ref && root != NULL) /* an id by the way, where none was meant */
				found = follow_pointer(root, fragment);
		} else {
			found = find_named(base, "$anchor", fragment, strlen(fragment), 0);
			if (found == NULL) /* before 2019-09 */
				found = find_named(base, "$id", hash, strlen(hash), 0);
			if (found == NULL)
				found = find_named(base, "id", hash, strlen(hash), 0);
		}
	}
	if (found == NULL || !(json_is_object(found) || json_is_boolean(found)))
		return hth_fail(r->err, base ? HTH_INVALID : HTH_UNSUPPORTED,
		                "schema: $ref \"%.200s\" %s; only schemas within the document can be referred to", ref,
		                base ? "leads to no schema" : "leads elsewhere");
	*ret = found;
	return HTH_OK;
}

/* A schema that says nothing but $ref is what it refers to: recursion comes back to the same place. */
static hth_status skip_references(reader *r, const json_t **schema)
{
	for (unsigned hops = 0; hops < 32; hops++) {
		const json_t *ref = json_object_get(*schema, "$ref");
		const char *key;
		json_t *value;
		bool alone = json_is_string(ref);
		json_object_foreach((json_t *)*schema, key, value)
		{
			if (strcmp(key, "$ref") != 0 && !hth_schema_is_idle_keyword(*schema, key, value))
				alone = false;
		}
		if (!alone)
			return HTH_OK;
		HTH_TRY(resolve(r, *schema, json_string_value(ref), schema));
	}
	return HTH_OK;
}

hth_status hth_schema_conj_add(reader *r, conj *c, const json_t *schema)
{
	size_t at = 0;
	HTH_TRY(skip_references(r, &schema));
	if (is_yes(schema))
		return HTH_OK;
	while (at < c->n && c->members[at] < schema)
		at++;
	if (at < c->n && c->members[at] == schema)
		return HTH_OK;
	if (c->n >= MEMBERS_MAX)
		return hth_fail(r->err, HTH_TOO_LARGE, "schema: over %d schemas bind one place", MEMBERS_MAX);
	const json_t **more = realloc((void *)c->members, (c->n + 1) * sizeof(const json_t *));
	if (more == NULL)
		return hth_fail(r->err, HTH_NO_MEMORY, "no memory to read a schema");
	c->members = more;
	memmove((void *)&more[at + 1], (const void *)&more[at], (c->n - at) * sizeof(const json_t *));
	more[at] = schema;
	c->n++;
	return HTH_OK;
}

hth_status hth_schema_resolve_reference(reader *r, const json_t *s, const json_t **ret)
{
	const json_t *ref = json_object_get(s, "$ref");
	if (!json_is_string(ref))
		return wrong_reference(r, s);
	return resolve(r, s, json_string_value(ref), ret);
}

void hth_schema_conj_finish(conj *c)
{
	free((void *)c->members);
	*c = (conj){0};
}
