/* ignore.h - which names a folder's walk passes by. Only this folder includes it.
 *
 * Hidden names (with a dot first) always, but for the folders of a Maildir (.Archive); a Maildir's tmp, where messages
 * are on their way in. And what a .hearthignore in the same folder or one above it says, a pattern a line as in
 * .gitignore: `*.log` a name anywhere below, `/drafts` or `a/b` a path from the file's own folder, a `/` at the end only
 * folders, `!` takes back, `#` a remark.
 */
#ifndef HTH_INDEX_IGNORE_H
#define HTH_INDEX_IGNORE_H

#include "base/status.h"

typedef struct ignore_rules ignore_rules; /* of one folder, with those above it */

/* The rules below `above` (may be NULL) with those that the folder open as dir_fd has; the same rules when it has none.
 * `rel` is the folder's path, "" at the top. Counted: release each. NULL: no memory, or none and no rules above. */
ignore_rules *ignore_enter(ignore_rules *above, int dir_fd, const char *rel);
void ignore_release(ignore_rules *rules);
/* rel is the path from the top; name its last component, in the folder open as dir_fd. */
bool ignore_matches(const ignore_rules *rules, int dir_fd, const char *rel, const char *name, bool is_folder);

#endif
