/* The record of a home: keys that are never kept as themselves, a log of what left, and damage that is said plainly. */
#include "harness.h"
#include "store/store.h"

#include <sqlite3.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[64];

static void fresh_home(void)
{
	snprintf(home, sizeof home, "/tmp/hearth-store-XXXXXX");
	if (mkdtemp(home) == NULL)
		abort();
}

static void drop_home(void)
{
	static const char *const names[] = {"hearth.db", "hearth.db-wal", "hearth.db-shm"};
	char path[128];
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", home, names[i]);
		unlink(path);
	}
	rmdir(home);
}

static hth_key named(const char *name, unsigned scopes)
{
	hth_key key = {.scopes = scopes};
	snprintf(key.name, sizeof key.name, "%s", name);
	return key;
}

TEST(a_key_is_found_by_its_text_alone_and_outlives_the_process)
{
	fresh_home();
	hth_error err = HTH_ERROR_INIT;
	hth_store *store = NULL;
	REQUIRE_OK(hth_store_open(&store, home, &err));
	hth_key laptop = named("laptop", HTH_SCOPE_CHAT), phone = named("phone", HTH_SCOPE_CHAT | HTH_SCOPE_EMBED);
	phone.per_minute = 30;
	phone.privacy = 1;
	char a[HTH_KEY_TEXT_MAX], b[HTH_KEY_TEXT_MAX];
	REQUIRE_OK(hth_store_key_add(store, &laptop, a, &err));
	REQUIRE_OK(hth_store_key_add(store, &phone, b, &err));
	CHECK_INT(strlen(a), 47);
	CHECK(strcmp(a, b) != 0);
	CHECK_INT(hth_store_key_add(store, &phone, b + 0, &err), HTH_CONFLICT);
	hth_store_close(store);

	REQUIRE_OK(hth_store_open(&store, home, &err));
	hth_key found;
	CHECK_OK(hth_store_key_find(store, b, &found, &err));
	CHECK_STR(found.name, "phone");
	CHECK_INT(found.scopes, HTH_SCOPE_CHAT | HTH_SCOPE_EMBED);
	CHECK_INT(found.per_minute, 30);
	CHECK_INT(found.privacy, 1);
	a[10] = a[10] == 'x' ? 'y' : 'x';
	CHECK_INT(hth_store_key_find(store, a, &found, &err), HTH_UNAUTHORIZED);
	CHECK(strstr(err.message, a) == NULL);
	CHECK_INT(hth_store_key_find(store, "", &found, &err), HTH_UNAUTHORIZED);
	hth_key *keys;
	size_t n;
	CHECK_OK(hth_store_key_list(store, &keys, &n, &err));
	CHECK_INT(n, 2);
	CHECK_STR(keys[0].name, "laptop");
	CHECK(keys[1].last_used_unix > 0);
	free(keys);
	CHECK_OK(hth_store_key_remove(store, "phone", &err));
	CHECK_INT(hth_store_key_remove(store, "phone", &err), HTH_NOT_FOUND);
	CHECK_INT(hth_store_key_find(store, b, &found, &err), HTH_UNAUTHORIZED);
	hth_store_close(store);
	drop_home();
}

TEST(the_database_is_the_owners_alone_and_holds_no_key)
{
	fresh_home();
	hth_error err = HTH_ERROR_INIT;
	hth_store *store = NULL;
	REQUIRE_OK(hth_store_open(&store, home, &err));
	hth_key key = named("laptop", HTH_SCOPE_ALL);
	char text[HTH_KEY_TEXT_MAX], path[128];
	REQUIRE_OK(hth_store_key_add(store, &key, text, &err));
	hth_store_close(store);
	snprintf(path, sizeof path, "%s/hearth.db", home);
	struct stat st;
	REQUIRE(stat(path, &st) == 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	size_t n;
	char *bytes = test_read_file(path, &n);
	REQUIRE(bytes != NULL);
	CHECK(memmem(bytes, n, text, strlen(text)) == NULL);
	CHECK(memmem(bytes, n, "laptop", 6) != NULL);
	free(bytes);
	drop_home();
}

/* Whether another process finds this one's lock on the database file (SQLite's shared bytes, 510 from 2^30 + 2). */
static bool is_locked(const char *path)
{
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510};
		int fd = open(path, O_RDWR);
		_exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 7 : 0);
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

TEST(a_second_handle_in_the_process_leaves_the_first_ones_lock)
{
	fresh_home();
	hth_error err;
	hth_store *first, *second;
	char path[128];
	size_t n;
	snprintf(path, sizeof path, "%s/hearth.db", home);
	REQUIRE_OK(hth_store_open(&first, home, &err));
	CHECK_OK(hth_store_key_count(first, &n, &err));
	CHECK(is_locked(path));
	REQUIRE_OK(hth_store_open(&second, home, &err));
	CHECK(is_locked(path));
	hth_store_close(second);
	CHECK(is_locked(path)); /* without it another process would take the WAL away from under us */
	hth_store_close(first);
	drop_home();
}

TEST(a_key_needs_a_name_a_scope_and_a_known_class)
{
	fresh_home();
	hth_error err = HTH_ERROR_INIT;
	hth_store *store = NULL;
	REQUIRE_OK(hth_store_open(&store, home, &err));
	char text[HTH_KEY_TEXT_MAX];
	hth_key bad[] = {named("", HTH_SCOPE_CHAT), named("two words", HTH_SCOPE_CHAT), named("none", 0), named("extra", 16),
	                 named("class", HTH_SCOPE_CHAT)};
	bad[4].privacy = 7;
	for (size_t i = 0; i < 5; i++)
		CHECK_INT(hth_store_key_add(store, &bad[i], text, &err), HTH_INVALID);
	size_t n = 9;
	CHECK_OK(hth_store_key_count(store, &n, &err));
	CHECK_INT(n, 0);
	hth_store_close(store);
	drop_home();
}

TEST(the_egress_log_keeps_what_left_and_what_was_refused)
{
	fresh_home();
	hth_error err = HTH_ERROR_INIT;
	hth_store *store = NULL;
	REQUIRE_OK(hth_store_open(&store, home, &err));
	for (int i = 0; i < 5; i++) {
		hth_egress e = {.at_unix = 1000 + i, .kind = "pull", .host = "models.example", .received_bytes = 1ull << 40,
		                .allowed = i != 3};
		snprintf(e.reason, sizeof e.reason, "model number %d", i);
		CHECK_OK(hth_store_egress_add(store, &e, &err));
	}
	hth_egress *list;
	size_t n;
	REQUIRE_OK(hth_store_egress_list(store, 3, &list, &n, &err));
	CHECK_INT(n, 3);
	CHECK_STR(list[0].reason, "model number 4");
	CHECK(list[0].allowed);
	CHECK(!list[1].allowed);
	CHECK_INT(list[2].received_bytes, 1ll << 40);
	free(list);
	hth_store_close(store);
	drop_home();
}

/* Runs sql on the home's database behind the store's back. */
static void tamper(const char *sql)
{
	char path[600];
	sqlite3 *db = NULL;
	snprintf(path, sizeof path, "%s/hearth.db", home);
	CHECK(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(db);
}

TEST(what_is_changed_in_the_egress_log_shows)
{
	static const char *const changes[] = {"UPDATE egress SET host = 'elsewhere' WHERE id = 3",
	                                      "UPDATE egress SET sent = 0 WHERE id = 5", "DELETE FROM egress WHERE id = 2",
	                                      "UPDATE egress SET class = 'public' WHERE id = 4",
	                                      "UPDATE egress SET hash = NULL WHERE id = 4",
	                                      "UPDATE egress SET allowed = 0 WHERE id = 2", "UPDATE egress SET host = 'x' WHERE id = 1",
	                                      "DELETE FROM egress WHERE id = 1"};
	for (size_t change = 0; change <= sizeof changes / sizeof changes[0]; change++) {
		fresh_home();
		hth_error err = HTH_ERROR_INIT;
		hth_store *store = NULL;
		uint64_t n = 99;
		unsigned char head[32], later[32];
		REQUIRE_OK(hth_store_open(&store, home, &err));
		CHECK_OK(hth_store_egress_verify(store, &n, head, &err));
		CHECK_INT(n, 0);
		for (int i = 0; i < 5; i++) {
			hth_egress e = {.at_unix = 1000 + i, .kind = "upstream", .host = "models.example", .reason = "r", .sent_bytes = 10,
			                .allowed = true, .privacy = "neighbours"};
			CHECK_OK(hth_store_egress_add(store, &e, &err));
		}
		CHECK_OK(hth_store_egress_verify(store, &n, head, &err));
		CHECK_INT(n, 5);
		if (change < sizeof changes / sizeof changes[0]) {
			tamper(changes[change]);
			CHECK_INT(hth_store_egress_verify(store, &n, later, &err), HTH_BAD_FORMAT);
		} else { /* the end cut off: only the hash that somebody kept tells */
			tamper("DELETE FROM egress WHERE id = 5");
			CHECK_OK(hth_store_egress_verify(store, &n, later, &err));
			CHECK(memcmp(head, later, sizeof head) != 0);
		}
		hth_store_close(store);
		drop_home();
	}
}

TEST(two_processes_that_start_together_share_one_schema)
{
	fresh_home();
	pid_t pids[4];
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			hth_error err = HTH_ERROR_INIT;
			hth_store *store = NULL;
			if (hth_store_open(&store, home, &err) != HTH_OK)
				_exit(1);
			char name[16], text[HTH_KEY_TEXT_MAX];
			snprintf(name, sizeof name, "key%d", i);
			hth_key key = named(name, HTH_SCOPE_CHAT);
			hth_status status = hth_store_key_add(store, &key, text, &err);
			hth_store_close(store);
			_exit(status != HTH_OK);
		}
	}
	for (int i = 0; i < 4; i++) {
		int status = -1;
		waitpid(pids[i], &status, 0);
		CHECK_INT(status, 0);
	}
	hth_error err = HTH_ERROR_INIT;
	hth_store *store = NULL;
	REQUIRE_OK(hth_store_open(&store, home, &err));
	size_t n = 0;
	CHECK_OK(hth_store_key_count(store, &n, &err));
	CHECK_INT(n, 4);
	hth_store_close(store);
	drop_home();
}

TEST(a_damaged_or_unreachable_database_is_said_plainly)
{
	fresh_home();
	hth_error err = HTH_ERROR_INIT;
	hth_store *store = NULL;
	char path[128];
	snprintf(path, sizeof path, "%s/hearth.db", home);
	FILE *f = fopen(path, "wb");
	for (int i = 0; i < 2000; i++)
		fputs("this is no database ", f);
	fclose(f);
	CHECK_INT(hth_store_open(&store, home, &err), HTH_BAD_FORMAT);
	CHECK(strstr(err.message, "damaged") != NULL);
	drop_home();
	CHECK_INT(hth_store_open(&store, "/proc/no-such-home", &err), HTH_IO);
	CHECK(strstr(err.message, "/proc/no-such-home") != NULL);
	CHECK(store == NULL);
}

TEST_MAIN()
