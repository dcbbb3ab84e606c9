/* names.c - the words of files' names: each file that has a document gets a passage of its own (part -1) that says how it is called, so
 * that "the boiler manual" finds boiler-manual.pdf whatever it says inside. Thread: the index's.
 *
 * A name belongs to the file, not to the content: the record's triggers (index-record.c) remove a name's passage when its file is called
 * otherwise, says something else or is gone, and here it is made again; nothing is read for that. A file that a program sent is called as
 * its sender said. A Maildir's names are its own business and say nothing.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "index/keeper.h"

#include <ctype.h>
#include <stdio.h>

enum { AT_ONCE = 300, NAME_MAX_BYTES = 600 };

static bool is_maildir(const char *path, const char *name)
{
	size_t n = (size_t)(name - path);
	return n >= 4 && (strncmp(name - 4, "cur/", 4) == 0 || strncmp(name - 4, "new/", 4) == 0 || strncmp(name - 4, "tmp/", 4) == 0) &&
	       (n == 4 || name[-5] == '/');
}

/* Whether a new word begins at c: "RentContract2019" is three. */
static bool is_joint(char before, char c)
{
	return (islower((unsigned char)before) && isupper((unsigned char)c)) ||
	       (isalpha((unsigned char)before) && isdigit((unsigned char)c)) ||
	       (isdigit((unsigned char)before) && isalpha((unsigned char)c));
}

/* The name, and once more with its joints opened where it has any. "": it says nothing. */
static void write_name(const char *path, char out[2 * NAME_MAX_BYTES])
{
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	size_t len = strlen(name), n = 0;
	out[0] = '\0';
	if (len == 0 || len >= NAME_MAX_BYTES / 2 || hth_utf8_valid_prefix(name, len) < len || is_maildir(path, name))
		return;
	memcpy(out, name, len);
	out[len] = '\0';
	for (size_t i = 1; i < len; i++)
		n += is_joint(name[i - 1], name[i]);
	if (n == 0)
		return;
	out[len++] = '\n';
	for (size_t i = 0; name[i] != '\0'; i++) {
		if (i > 0 && is_joint(name[i - 1], name[i]))
			out[len++] = ' ';
		out[len++] = name[i];
	}
	out[len] = '\0';
}

typedef struct unnamed {
	int64_t file, document, language;
	char text[2 * NAME_MAX_BYTES];
} unnamed;

static hth_status find_unnamed(hth_index *ix, unnamed *list, size_t *ret_n, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	size_t n = 0;
	/* Stemmed as what the document says is. */
	HTH_TRY(record_prepare(
	    &ix->r, &stmt, err,
	    "SELECT file.id, document, iif(folder.store IS NULL, iif(file.path = '', folder.path, file.path),"
	    "  coalesce((SELECT upload.name FROM upload WHERE link = file.path LIMIT 1), '')),"
	    " coalesce((SELECT language FROM passage WHERE document = file.document AND part >= 0 LIMIT 1), 0)"
	    " FROM file INDEXED BY file_unnamed JOIN folder ON folder.id = file.folder WHERE name = 0 AND document IS NOT NULL LIMIT ?1"));
	sqlite3_bind_int64(stmt, 1, AT_ONCE);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && n < AT_ONCE) {
		unnamed *u = &list[n++];
		u->file = sqlite3_column_int64(stmt, 0);
		u->document = sqlite3_column_int64(stmt, 1);
		u->language = sqlite3_column_int64(stmt, 3);
		write_name(record_text(stmt, 2), u->text);
	}
	*ret_n = n;
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? HTH_OK : record_fail(&ix->r, rc, "looking for names", err);
}

hth_status names_make(hth_index *ix, bool *ret_more, hth_error *err)
{
	HTH_AUTO_FREE unnamed *list = hth_alloc_array(AT_ONCE, sizeof *list);
	size_t n = 0;
	*ret_more = false;
	if (list == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for names");
	HTH_TRY(find_unnamed(ix, list, &n, err));
	for (size_t i = 0; i < n; i++) {
		int64_t passage = -1; /* none is needed */
		HTH_TRY(intake_begin(ix, err));
		if (list[i].text[0] != '\0') {
			HTH_TRY(record_do(
			    &ix->r, err, "INSERT INTO passage (document, part, page, box, language, text) VALUES (?1, -1, 0, NULL, ?2, ?3)",
			    "iis", list[i].document, list[i].language, list[i].text));
			passage = sqlite3_last_insert_rowid(ix->r.db);
		}
		HTH_TRY(record_do(&ix->r, err, "UPDATE file SET name = ?2 WHERE id = ?1", "ii", list[i].file, passage));
	}
	*ret_more = n == AT_ONCE;
	return HTH_OK;
}
