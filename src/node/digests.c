/* digests.c - the SHA-256 of models' files, as listings show it, without ever making anybody wait for the reading of a
 * large file.
 *
 * A file is read once in its life, by a thread with the lowest priority for processor and disk, one file at a time and
 * only after somebody has listed models; a file that was pulled is known from then. What is known stays in the home's
 * record, by device, inode, size and time: a file that changes is another one. A model of several files has the SHA-256
 * of their digests' hex, one after the other. Except for the thread, all on the loop's.
 */
#include "node/node-internal.h"

#include "base/log.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { KNOWN_MAX = 4096, BLOCK = 1 << 20, LARGE = 256 << 20 };

typedef struct known_file {
	hth_file_identity file;
	char sha256[65]; /* "": it cannot be read */
} known_file;

struct hth_digests {
	hth_node *node;
	hth_store *store;
	hth_mailbox *mailbox;
	known_file *known;
	size_t n_known;
	char combined[65];
	/* The one that is being read. */
	bool busy;
	pthread_t thread;
	atomic_bool cancelled;
	int fd;
	known_file now;
};

/* ---- the thread's side ---- */

static void *thread_main(void *ctx)
{
	hth_digests *d = ctx;
	crypto_hash_sha256_state sha;
	unsigned char hash[crypto_hash_sha256_BYTES], *block = malloc(BLOCK);
	bool whole = block != NULL;
	uint64_t at = 0;
	bool large = d->now.file.bytes > LARGE;
	(void)!setpriority(PRIO_PROCESS, 0, 19);       /* of this thread alone, on Linux */
	(void)!syscall(SYS_ioprio_set, 1, 0, 3 << 13); /* idle: only while nobody else wants the disk */
	crypto_hash_sha256_init(&sha);
	while (whole && !atomic_load(&d->cancelled)) {
		ssize_t n = read(d->fd, block, BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		whole = n >= 0;
		if (n <= 0)
			break;
		crypto_hash_sha256_update(&sha, block, (size_t)n);
		/* What was only read for this must not push a loaded model out of memory (pages that are mapped stay).
		 */
		if (large)
			(void)!posix_fadvise(d->fd, (off_t)at, n, POSIX_FADV_DONTNEED);
		at += (uint64_t)n;
	}
	crypto_hash_sha256_final(&sha, hash);
	struct stat st;
	/* A file that somebody writes to meanwhile is none of these bytes. */
	if (whole && at == d->now.file.bytes && fstat(d->fd, &st) == 0 &&
	    hth_file_identity_of(&st).modified_ns == d->now.file.modified_ns)
		sodium_bin2hex(d->now.sha256, sizeof d->now.sha256, hash, sizeof hash);
	free(block);
	(void)!hth_mailbox_post(d->mailbox, d);
	return NULL;
}

/* ---- the loop's side ---- */

static const known_file *remember(hth_digests *d, const known_file *k)
{
	if (d->n_known == KNOWN_MAX)
		d->n_known = 0;
	if (d->known == NULL && (d->known = hth_alloc_array(KNOWN_MAX, sizeof *d->known)) == NULL)
		return NULL;
	d->known[d->n_known] = *k;
	return &d->known[d->n_known++];
}

static void start(hth_digests *d, const char *path, const hth_file_identity *file)
{
	d->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	d->now = (known_file){.file = *file};
	if (d->fd < 0) {
		remember(d, &d->now);
		return;
	}
	atomic_store(&d->cancelled, false);
	sigset_t every, before;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	d->busy = pthread_create(&d->thread, NULL, thread_main, d) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!d->busy)
		close(d->fd);
}

/* NULL: not known (yet). */
static const char *of_file(hth_digests *d, const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return NULL;
	known_file k = {.file = hth_file_identity_of(&st)};
	for (size_t i = 0; i < d->n_known; i++)
		if (memcmp(&d->known[i].file, &k.file, sizeof k.file) == 0)
			return d->known[i].sha256[0] != '\0' ? d->known[i].sha256 : NULL;
	if (hth_store_digest_find(d->store, &k.file, k.sha256, NULL) == HTH_OK) {
		const known_file *kept = remember(d, &k);
		return kept != NULL ? kept->sha256 : NULL;
	}
	if (!d->busy)
		start(d, path, &k.file);
	return NULL;
}

const char *hth_digests_file(hth_digests *d, const char *path) { return of_file(d, path); }

const char *hth_digests_get(hth_digests *d, const hth_catalog_model *model)
{
	if (model->n_files == 1)
		return of_file(d, model->files[0]);
	crypto_hash_sha256_state sha;
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_init(&sha);
	for (size_t i = 0; i < model->n_files; i++) {
		const char *hex = of_file(d, model->files[i]);
		if (hex == NULL)
			return NULL;
		crypto_hash_sha256_update(&sha, (const unsigned char *)hex, 64);
	}
	crypto_hash_sha256_final(&sha, hash);
	return sodium_bin2hex(d->combined, sizeof d->combined, hash, sizeof hash);
}

static void on_mail(void *ctx, void *mail)
{
	hth_digests *d = ctx;
	(void)mail;
	hth_error err;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	pthread_join(d->thread, NULL);
	close(d->fd);
	d->busy = false;
	remember(d, &d->now);
	if (d->now.sha256[0] != '\0' && hth_store_digest_put(d->store, &d->now.file, d->now.sha256, &err) != HTH_OK)
		hth_log(HTH_LOG_WARN, "%s", err.message);
	/* The next one. */
	if (hth_router_catalog(d->node->router, &catalog, NULL) == HTH_OK)
		for (size_t i = 0; i < catalog.n && !d->busy; i++)
			hth_digests_get(d, &catalog.models[i]);
}

hth_status hth_digests_create(hth_digests **ret_digests, hth_node *node, hth_error *err)
{
	hth_digests *d = calloc(1, sizeof *d);
	if (d == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	d->node = node;
	atomic_init(&d->cancelled, false);
	hth_status status = hth_store_open(&d->store, node->config->home, err);
	if (status == HTH_OK)
		status = hth_mailbox_open(&d->mailbox, node->loop, on_mail, d, err);
	if (status != HTH_OK) {
		hth_digests_destroy(d);
		return status;
	}
	*ret_digests = d;
	return HTH_OK;
}

void hth_digests_destroy(hth_digests *d)
{
	if (d == NULL)
		return;
	if (d->busy) {
		atomic_store(&d->cancelled, true);
		pthread_join(d->thread, NULL);
		close(d->fd);
	}
	hth_mailbox_close(d->mailbox);
	hth_store_close(d->store);
	free(d->known);
	free(d);
}
