/* test-link.c - connections to a real nats-server, kept by hub.c: who may log in, what each may say and hear, and what happens when it
 * dies. */
#include "link/hub.h"
#include "link/nkey.h"
#include "sandbox/sandbox.h"

#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* This program is also what the hub starts. */
__attribute__((constructor)) static void maybe_hub(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "__hub") == 0)
		_exit(hth_hub_main(argc, argv));
	signal(SIGPIPE, SIG_IGN);
}

enum { WAIT_MS = 30000, GOT_MAX = 64 };

typedef struct person {
	unsigned char key[32], secret[64];
	hth_link *link;
	int up, down, n_got;
	hth_status why;
	char got[GOT_MAX][80];
	size_t got_bytes;
} person;

static hth_loop *loop;
static char folder[64];
static hth_hub *hub;
static int ready;
static char said[4000];
static bool late;

static void on_up(void *ctx, const hth_link_hub *h)
{
	(void)h;
	((person *)ctx)->up++;
}
static void on_down(void *ctx, const hth_link_hub *h, bool was_up, const hth_error *why)
{
	person *p = ctx;
	(void)h;
	p->down += was_up;
	p->why = why->status;
}
static void on_message(void *ctx, const char *subject, const void *bytes, size_t len)
{
	person *p = ctx;
	p->got_bytes += len;
	if (p->n_got < GOT_MAX)
		snprintf(p->got[p->n_got++], sizeof p->got[0], "%s=%.*s", subject, (int)(len < 40 ? len : 40), (const char *)bytes);
}
static bool sign(void *ctx, const void *nonce, size_t len, unsigned char signature[64])
{
	return crypto_sign_detached(signature, NULL, nonce, len, ((person *)ctx)->secret) == 0;
}
static void on_ready(void *ctx)
{
	(void)ctx;
	ready++;
}
static void on_says(void *ctx, bool bad, const char *line)
{
	(void)ctx;
	if (bad)
		snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", line);
}
static void on_late(void *ctx)
{
	(void)ctx;
	late = true;
}

/* Turns the loop until the condition holds or WAIT_MS are over. */
#define UNTIL(cond)                                                                   \
	do {                                                                          \
		hth_timer *timer_;                                                    \
		late = false;                                                         \
		if (hth_timer_open(&timer_, loop, on_late, NULL, NULL) != HTH_OK)     \
			abort();                                                      \
		hth_timer_start(timer_, WAIT_MS, 0);                                  \
		while (!(cond) && !late)                                              \
			hth_loop_run_once(loop, true);                                \
		hth_timer_close(timer_);                                              \
		if (!(cond))                                                          \
			test_fail(__FILE__, __LINE__, "not in time: %s\n# hub: %s", #cond, said); \
	} while (0)

static void turn(unsigned ms) /* what should not happen has this long to happen */
{
	hth_timer *timer;
	late = false;
	if (hth_timer_open(&timer, loop, on_late, NULL, NULL) != HTH_OK)
		abort();
	hth_timer_start(timer, ms, 0);
	while (!late)
		hth_loop_run_once(loop, true);
	hth_timer_close(timer);
}

static int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		abort();
	close(fd);
	return ntohs(a.sin_port);
}

static char address[64];

static bool begin(void)
{
	hth_error err = HTH_ERROR_INIT;
	char path[300];
	if (hth_hub_find_server(path, sizeof path, &err) != HTH_OK)
		return false;
	strcpy(folder, "/tmp/hearth-link-XXXXXX");
	said[0] = '\0';
	ready = 0;
	if (mkdtemp(folder) == NULL || hth_loop_create(&loop, &err) != HTH_OK)
		abort();
	snprintf(address, sizeof address, "127.0.0.1:%d", free_port());
	const hth_hub_options options = {.folder = folder, .address = address, .name = "hearth-test", .says = on_says, .ready = on_ready};
	if (hth_hub_open(&hub, loop, &options, &err) != HTH_OK) {
		printf("# %s\n", err.message);
		abort();
	}
	return true;
}

static void end(void)
{
	hth_hub_close(hub);
	hub = NULL;
	CHECK(hth_loop_destroy(loop));
	char command[200];
	snprintf(command, sizeof command, "rm -rf %s", folder);
	if (system(command) != 0)
		printf("# %s stays\n", folder);
}

static void born(person *p, unsigned char n)
{
	unsigned char seed[32] = {n};
	*p = (person){.why = HTH_OK};
	crypto_sign_seed_keypair(p->key, p->secret, seed);
}

static void join(person *p, const char *subject, const unsigned char *fingerprint)
{
	hth_error err = HTH_ERROR_INIT;
	hth_link_login login = {.sign = sign, .ctx = p};
	memcpy(login.key, p->key, 32);
	if (hth_link_open(&p->link, loop, &login, &(hth_link_events){p, on_up, on_down, on_message}, &err) != HTH_OK ||
	    hth_link_subscribe(p->link, subject, &err) != HTH_OK)
		abort();
	hth_link_hub h;
	strcpy(h.address, address);
	memcpy(h.fingerprint, fingerprint, 32);
	hth_link_set_hubs(p->link, &h, 1);
}

static hth_hub_user user(const person *p, const char *publish, const char *subscribe)
{
	hth_hub_user u = {.n_publish = 1, .n_subscribe = 1};
	memcpy(u.key, p->key, 32);
	strcpy(u.publish[0], publish);
	strcpy(u.subscribe[0], subscribe);
	return u;
}

static hth_hub_user members[2];

/* Ann, and Ben where somebody is, at the hub, which lets in members[]. */
static void meet(person *ann, person *ben)
{
	hth_error err = HTH_ERROR_INIT;
	born(ann, 1);
	members[0] = user(ann, "elm.to.*", "elm.to.ann");
	if (ben != NULL) {
		born(ben, 2);
		members[1] = user(ben, "elm.to.*", "elm.to.ben");
	}
	CHECK_INT(hth_hub_set_users(hub, members, ben != NULL ? 2 : 1, &err), HTH_OK);
	join(ann, "elm.to.ann", hth_hub_fingerprint(hub));
	if (ben != NULL)
		join(ben, "elm.to.ben", hth_hub_fingerprint(hub));
	UNTIL(ann->up == 1 && (ben == NULL || ben->up == 1));
}

TEST(members_write_to_each_other_and_nowhere_else)
{
	person ann, ben, eve;
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	born(&ann, 1);
	born(&ben, 2);
	born(&eve, 3);
	hth_hub_user users[] = {user(&ann, "elm.to.*", "elm.to.ann"), user(&ben, "elm.to.*", "elm.to.ben"),
	                        user(&eve, "elm.door.ann", "elm.guest.eve")};
	CHECK_INT(hth_hub_set_users(hub, users, 3, &err), HTH_OK);
	join(&ann, "elm.to.ann", hth_hub_fingerprint(hub));
	join(&ben, "elm.to.ben", hth_hub_fingerprint(hub));
	join(&eve, "elm.to.ann", hth_hub_fingerprint(hub)); /* asks to hear what is Ann's */
	UNTIL(ann.up == 1 && ben.up == 1 && eve.up == 1);
	CHECK_INT(hth_link_send(ann.link, "elm.to.ben", "hello", 5, &err), HTH_OK);
	UNTIL(ben.n_got == 1);
	CHECK_STR(ben.got[0], "elm.to.ben=hello");
	/* Eve may neither say this to Ben nor hear what Ben says to Ann. The last letter shows that the others have had their time. */
	CHECK_INT(hth_link_send(eve.link, "elm.to.ben", "eve was here", 12, &err), HTH_OK);
	turn(300);
	CHECK_INT(hth_link_send(ben.link, "elm.to.ann", "secret", 6, &err), HTH_OK);
	CHECK_INT(hth_link_send(ann.link, "elm.to.ben", "bye", 3, &err), HTH_OK);
	UNTIL(ben.n_got >= 2 && ann.n_got >= 1);
	CHECK_STR(ben.got[1], "elm.to.ben=bye");
	CHECK_STR(ann.got[0], "elm.to.ann=secret");
	CHECK_INT(eve.n_got, 0);
	/* A whole envelope's size, and more than that. */
	static char big[(512 << 10) + 1];
	CHECK_INT(hth_link_send(ann.link, "elm.to.ben", big, (512 << 10) - 1, &err), HTH_OK);
	UNTIL(ben.got_bytes > 512 << 10);
	CHECK_INT(hth_link_send(ann.link, "elm.to.ben", big, sizeof big, &err), HTH_TOO_LARGE);
	CHECK_INT(hth_link_send(ann.link, "elm.to.*", "x", 1, &err), HTH_INVALID);
	hth_link_close(ann.link);
	hth_link_close(ben.link);
	hth_link_close(eve.link);
	end();
}

TEST(only_the_right_certificate_and_the_right_key_get_in)
{
	person ann, mallory;
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	born(&ann, 1);
	born(&mallory, 4);
	unsigned char other[32];
	memcpy(other, hth_hub_fingerprint(hub), 32);
	other[31] ^= 1;
	hth_hub_user users[] = {user(&ann, "elm.to.*", "elm.to.ann")};
	CHECK_INT(hth_hub_set_users(hub, users, 1, &err), HTH_OK);
	UNTIL(ready > 0);
	join(&ann, "elm.to.ann", other);
	UNTIL(ann.why == HTH_UNAUTHORIZED);
	CHECK_INT(ann.up, 0);
	join(&mallory, "elm.to.ann", hth_hub_fingerprint(hub));
	UNTIL(mallory.why == HTH_DENIED);
	CHECK_INT(mallory.up, 0);
	CHECK_INT(hth_link_send(mallory.link, "elm.to.ann", "x", 1, &err), HTH_BUSY);
	hth_link_close(ann.link);
	hth_link_close(mallory.link);
	end();
}

TEST(who_is_taken_off_the_list_is_cut_off_at_once_and_others_stay)
{
	person ann, ben;
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	meet(&ann, &ben);
	CHECK_INT(hth_hub_set_users(hub, members, 1, &err), HTH_OK);
	UNTIL(ben.down == 1 && ben.why == HTH_DENIED);
	turn(500);
	CHECK_INT(ben.up, 1);
	CHECK_INT(ann.down, 0);
	CHECK_INT(hth_hub_set_users(hub, members, 2, &err), HTH_OK);
	UNTIL(ben.up == 2); /* it went on trying */
	hth_link_close(ann.link);
	hth_link_close(ben.link);
	end();
}

TEST(a_killed_server_is_started_again_and_everybody_comes_back)
{
	person ann;
	if (!begin())
		SKIP("nats-server is not installed");
	meet(&ann, NULL);
	pid_t before = hth_hub_pid(hub);
	REQUIRE(before > 0);
	kill(before, SIGKILL);
	UNTIL(ann.down == 1);
	UNTIL(ann.up == 2);
	CHECK(hth_hub_pid(hub) != before);
	CHECK(hth_hub_is_running(hub));
	hth_link_close(ann.link);
	end();
}

TEST(a_frozen_server_is_left_when_somebody_waits)
{
	person ann, ben;
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	meet(&ann, &ben);
	hth_link_urgent(ann.link, true);
	uint64_t heard = hth_link_count(ann.link).received_bytes;
	UNTIL(hth_link_count(ann.link).received_bytes >= heard + 2 * strlen("PONG\r\n")); /* it is asked, and answers */
	int down = ann.down, up = ann.up;
	kill(hth_hub_pid(hub), SIGSTOP);
	UNTIL(ann.down > down);
	CHECK_INT(ann.why, HTH_TIMEOUT);
	CHECK_INT(ben.down, 0); /* nobody waits there: it is given more time */
	CHECK_INT(hth_link_send(ann.link, "elm.to.ben", "x", 1, &err), HTH_BUSY);
	kill(hth_hub_pid(hub), SIGCONT);
	UNTIL(ann.up > up);
	hth_link_urgent(ann.link, false);
	CHECK_INT(hth_link_send(ann.link, "elm.to.ben", "hello", 5, &err), HTH_OK);
	UNTIL(ben.n_got == 1);
	hth_link_close(ann.link);
	hth_link_close(ben.link);
	end();
}

TEST(when_one_hub_freezes_another_is_there_at_once)
{
	person ann;
	hth_error err = HTH_ERROR_INIT;
	char other_folder[100];
	hth_link_hub both[2];
	hth_hub *other = NULL;
	if (!begin())
		SKIP("nats-server is not installed");
	born(&ann, 1);
	hth_hub_user users[] = {user(&ann, "elm.to.*", "elm.to.ann")};
	snprintf(other_folder, sizeof other_folder, "%s/other", folder);
	strcpy(both[0].address, address);
	memcpy(both[0].fingerprint, hth_hub_fingerprint(hub), 32);
	snprintf(both[1].address, sizeof both[1].address, "127.0.0.1:%d", free_port());
	const hth_hub_options options = {.folder = other_folder, .address = both[1].address, .name = "hearth-other", .says = on_says,
	                                 .ready = on_ready};
	REQUIRE(hth_hub_open(&other, loop, &options, &err) == HTH_OK);
	memcpy(both[1].fingerprint, hth_hub_fingerprint(other), 32);
	CHECK_INT(hth_hub_set_users(hub, users, 1, &err), HTH_OK);
	CHECK_INT(hth_hub_set_users(other, users, 1, &err), HTH_OK);
	UNTIL(ready >= 2);
	join(&ann, "elm.to.ann", both[0].fingerprint);
	hth_link_set_hubs(ann.link, both, 2);
	UNTIL(ann.up == 1);
	CHECK_STR(hth_link_current(ann.link)->address, both[0].address);
	hth_link_urgent(ann.link, true);
	kill(hth_hub_pid(hub), SIGSTOP);
	UNTIL(hth_link_current(ann.link) != NULL && strcmp(hth_link_current(ann.link)->address, both[1].address) == 0);
	CHECK(ann.down >= 1 && ann.up >= 2);
	kill(hth_hub_pid(hub), SIGCONT);
	hth_link_close(ann.link);
	hth_hub_close(other);
	end();
}

TEST(what_a_frozen_server_does_not_take_waits_in_a_bounded_queue)
{
	person ann;
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	meet(&ann, NULL);
	/* What cannot be sent waits in a bounded queue, and is then refused. */
	kill(hth_hub_pid(hub), SIGSTOP);
	static char big[500 << 10];
	hth_status status = HTH_OK;
	int n = 0;
	for (; n < 200 && status == HTH_OK; n++)
		status = hth_link_send(ann.link, "elm.to.ben", big, sizeof big, &err);
	CHECK_INT(status, HTH_BUSY);
	CHECK(hth_link_waiting(ann.link) <= HTH_LINK_QUEUE_MAX + sizeof big + 1000);
	kill(hth_hub_pid(hub), SIGCONT);
	UNTIL(hth_link_waiting(ann.link) == 0);
	CHECK_INT(hth_link_send(ann.link, "elm.to.ben", "x", 1, &err), HTH_OK);
	hth_link_close(ann.link);
	end();
}

TEST(a_taken_port_is_said_clearly)
{
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	REQUIRE(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	char taken[64], other[100];
	snprintf(taken, sizeof taken, "127.0.0.1:%d", ntohs(a.sin_port));
	snprintf(other, sizeof other, "%s/other", folder);
	hth_hub *second = NULL;
	CHECK_INT(hth_hub_open(&second, loop, &(hth_hub_options){.folder = other, .address = taken, .name = "x"}, &err), HTH_CONFLICT);
	CHECK(strstr(err.message, "in use") != NULL && strstr(err.message, "--listen") != NULL);
	close(fd);
	static const char *const bad[] = {"", "nonsense", "host", "host:", "host:0", "host:99999", ":4222", "a\"b:4222", "::1:4222"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_INT(hth_hub_open(&second, loop, &(hth_hub_options){.folder = other, .address = bad[i], .name = "x"}, &err),
		          HTH_INVALID);
	end();
}

TEST(keys_are_for_the_owner_alone_and_are_made_once)
{
	char path[200];
	struct stat st;
	unsigned char first[32];
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	memcpy(first, hth_hub_fingerprint(hub), 32);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/hub.%s", folder, i == 0 ? "key" : "crt");
		CHECK(stat(path, &st) == 0 && (st.st_mode & 077) == 0);
	}
	hth_hub *again;
	REQUIRE(hth_hub_open(&again, loop, &(hth_hub_options){.folder = folder, .address = address, .name = "x"}, &err) == HTH_OK);
	CHECK(memcmp(first, hth_hub_fingerprint(again), 32) == 0);
	hth_hub_close(again);
	/* Half written: a new pair, not a server that cannot start. */
	snprintf(path, sizeof path, "%s/hub.key", folder);
	REQUIRE(truncate(path, 10) == 0);
	REQUIRE(hth_hub_open(&again, loop, &(hth_hub_options){.folder = folder, .address = address, .name = "x"}, &err) == HTH_OK);
	CHECK(memcmp(first, hth_hub_fingerprint(again), 32) != 0);
	hth_hub_close(again);
	end();
}

TEST(what_the_server_may_read_is_its_folder_and_the_systems)
{
	char inside[100], outside[100], program[] = "/usr";
	strcpy(folder, "/tmp/hearth-link-XXXXXX");
	strcpy(outside, "/tmp/hearth-link-XXXXXX");
	REQUIRE(mkdtemp(folder) != NULL);
	int fd = mkstemp(outside);
	REQUIRE(fd >= 0);
	close(fd);
	snprintf(inside, sizeof inside, "%s/file", folder);
	fd = open(inside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0);
	close(fd);
	pid_t pid = fork();
	if (pid == 0) {
		const char *const programs[] = {program}, *const reads[] = {folder, "/nowhere"};
		hth_error err = HTH_ERROR_INIT;
		if (hth_sandbox_confine_files(programs, 1, reads, 2, &err) != HTH_OK)
			_exit(10);
		if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
			_exit(11);
		bool landlock = syscall(444, NULL, (size_t)0, 1u) > 0;
		if (!landlock)
			_exit(0);
		_exit(open(inside, O_RDONLY | O_CLOEXEC) < 0 ? 1 : open(inside, O_WRONLY | O_CLOEXEC) >= 0 ? 2
		      : open(outside, O_RDONLY | O_CLOEXEC) >= 0 ? 3
		      : access("/usr/bin/env", X_OK) != 0 ? 4 : 0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), 0);
	unlink(inside);
	unlink(outside);
	rmdir(folder);
}

TEST(a_user_without_a_list_is_refused)
{
	person ann;
	hth_error err = HTH_ERROR_INIT;
	if (!begin())
		SKIP("nats-server is not installed");
	born(&ann, 1);
	hth_hub_user u = user(&ann, "elm.to.*", "elm.to.ann");
	u.n_subscribe = 0;
	CHECK_INT(hth_hub_set_users(hub, &u, 1, &err), HTH_INTERNAL);
	end();
}

TEST_MAIN()
