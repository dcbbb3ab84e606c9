/* next-door-files.c - see next-door-files.h. */
#include "node/next-door-files.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 3, BLOCK = 1 << 20, LARGE = 256 << 20 };

struct hth_model_file {
	int fd;
	unsigned refs;
	uint64_t bytes;
	hth_file_identity identity;
	/* Of a file that is being fetched; the threads' (a CHECK comes after the last WRITE). Its SHA-256 grows with its beginning, so that
	 * in the end it is there. */
	crypto_hash_sha256_state sha;
	uint32_t hashed, n_chunks; /* chunks that are in sha */
	bool stale;                /* one of them was written again */
	unsigned char *written;    /* by chunk */
};

typedef struct worker {
	hth_file_works *works;
	pthread_t thread;
	bool started, low;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	hth_file_job *first, **last;
} worker;

struct hth_file_works {
	hth_mailbox *mailbox;
	void (*done)(void *ctx, hth_file_job *job);
	void *ctx;
	atomic_bool stop;
	hth_file_job *out; /* handed over, and not come back */
	worker workers[THREADS];
};

/* ---- files ---- */

hth_status hth_model_file_open(hth_model_file **ret_file, const char *path, bool make, uint64_t bytes, hth_error *err)
{
	struct stat st;
	hth_model_file *f = calloc(1, sizeof *f);
	if (f == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a model's file");
	f->refs = 1;
	f->fd = make ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644)
	             : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int e = errno;
	if (f->fd < 0 || fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		hth_model_file_unref(f);
		return hth_fail_errno(err, e == ENOENT ? HTH_NOT_FOUND : HTH_IO, e, "cannot open %.300s", path);
	}
	f->identity = hth_file_identity_of(&st);
	f->bytes = make ? bytes : (uint64_t)st.st_size;
	if (make) {
		f->n_chunks = hth_chunk_count(bytes);
		f->written = calloc(f->n_chunks, 1);
		crypto_hash_sha256_init(&f->sha);
		if (f->written == NULL) {
			hth_model_file_unref(f);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a model's file");
		}
	}
	*ret_file = f;
	return HTH_OK;
}

hth_model_file *hth_model_file_ref(hth_model_file *f)
{
	f->refs++;
	return f;
}

void hth_model_file_unref(hth_model_file *f)
{
	if (f == NULL || --f->refs > 0)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f->written);
	free(f);
}

bool hth_model_file_is_same(const hth_model_file *f)
{
	struct stat st;
	if (fstat(f->fd, &st) != 0 || st.st_nlink == 0)
		return false;
	const hth_file_identity now = hth_file_identity_of(&st);
	return memcmp(&now, &f->identity, sizeof now) == 0;
}

void hth_model_file_cut(hth_model_file *f, uint32_t chunks, uint64_t *ret_bytes)
{
	*ret_bytes = HTH_MIN((uint64_t)chunks * HTH_CHUNK_BYTES, f->bytes);
	if (ftruncate(f->fd, (off_t)*ret_bytes) != 0)
		*ret_bytes = 0;
}

/* ---- the threads' side ---- */

static ssize_t read_at(int fd, void *to, size_t len, uint64_t at)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static void read_chunk(hth_file_job *j)
{
	size_t len = j->index < hth_chunk_count(j->file->bytes) ? hth_chunk_size(j->file->bytes, j->index) : 0;
	j->bytes = len > 0 ? malloc(len) : NULL;
	j->good = j->bytes != NULL && read_at(j->file->fd, j->bytes, len, (uint64_t)j->index * HTH_CHUNK_BYTES) == (ssize_t)len;
	j->len = len;
}

/* Takes into the file's SHA-256 whatever follows its beginning; chunk `index` is at hand. */
static void hash_on(hth_model_file *f, uint32_t index, const void *bytes, size_t len, unsigned char *block)
{
	f->stale |= index < f->hashed;
	f->written[index] = 1;
	while (!f->stale && f->hashed < f->n_chunks && f->written[f->hashed]) {
		size_t size = hth_chunk_size(f->bytes, f->hashed);
		if (f->hashed == index)
			crypto_hash_sha256_update(&f->sha, bytes, len);
		else if (read_at(f->fd, block, size, (uint64_t)f->hashed * HTH_CHUNK_BYTES) == (ssize_t)size)
			crypto_hash_sha256_update(&f->sha, block, size);
		else
			f->stale = true;
		f->hashed++;
	}
}

static void write_chunk(hth_file_job *j, unsigned char *block)
{
	for (size_t done = 0; done < j->len;) {
		ssize_t n = pwrite(j->file->fd, j->bytes + done, j->len - done, (off_t)((uint64_t)j->index * HTH_CHUNK_BYTES + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			j->error = errno;
			return;
		}
		done += (size_t)n;
	}
	j->good = true;
	hash_on(j->file, j->index, j->bytes, j->len, block);
}

static void scan(hth_file_works *w, hth_file_job *j, unsigned char *block)
{
	hth_model_file *f = j->file;
	uint64_t there = HTH_MIN(f->identity.bytes, f->bytes);
	uint32_t n = hth_chunk_count(there);
	j->good = true;
	j->found = n > 0 ? calloc(n, sizeof *j->found) : NULL;
	for (uint32_t i = 0; i < n && j->found != NULL && !atomic_load(&w->stop); i++) {
		size_t size = hth_chunk_size(f->bytes, i);
		ssize_t got = read_at(f->fd, block, size, (uint64_t)i * HTH_CHUNK_BYTES);
		if (got != (ssize_t)size)
			break; /* the last one of a shorter beginning */
		hth_chunk_hash(block, size, j->found[i]);
		hash_on(f, i, block, size, block);
		j->n_found = i + 1;
	}
}

static bool hash_whole(hth_file_works *w, hth_model_file *f, hth_chunk_list *list, unsigned char sha256[HTH_SHA256_BYTES],
                       unsigned char *block)
{
	crypto_hash_sha256_state sha;
	uint32_t n = hth_chunk_count(f->bytes);
	crypto_hash_sha256_init(&sha);
	for (uint32_t i = 0; i < n; i++) {
		size_t size = hth_chunk_size(f->bytes, i);
		if (atomic_load(&w->stop) || read_at(f->fd, block, size, (uint64_t)i * HTH_CHUNK_BYTES) != (ssize_t)size)
			return false;
		if (list != NULL)
			hth_chunk_hash(block, size, list->chunks[i]);
		else
			crypto_hash_sha256_update(&sha, block, size);
		if (f->bytes > LARGE && list != NULL) /* what was only read for this must not push a loaded model out of memory */
			(void)!posix_fadvise(f->fd, (off_t)((uint64_t)i * HTH_CHUNK_BYTES), (off_t)size, POSIX_FADV_DONTNEED);
	}
	if (list == NULL)
		crypto_hash_sha256_final(&sha, sha256);
	return true;
}

static void check(hth_file_works *w, hth_file_job *j, unsigned char *block)
{
	hth_model_file *f = j->file;
	unsigned char have[HTH_SHA256_BYTES];
	if (!f->stale && f->hashed == f->n_chunks) {
		crypto_hash_sha256_state copy = f->sha;
		crypto_hash_sha256_final(&copy, have);
	} else if (!hash_whole(w, f, NULL, have, block)) {
		return;
	}
	f->stale = true; /* should it be written to again, it is read again */
	j->good = memcmp(have, j->sha256, sizeof have) == 0;
}

/* A kept list: its chunks' hashes, then its root, which says whether they are whole. */
static bool read_list(hth_chunk_list *list, const char *cache)
{
	unsigned char root[HTH_HASH_BYTES];
	size_t len = (size_t)list->n_chunks * HTH_HASH_BYTES;
	HTH_AUTO_CLOSE int fd = open(cache, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || read_at(fd, list->chunks, len, 0) != (ssize_t)len || read_at(fd, root, sizeof root, len) != (ssize_t)sizeof root)
		return false;
	hth_chunk_list_seal(list);
	(void)!futimens(fd, NULL); /* those not used for longest go first */
	return memcmp(root, list->root, sizeof root) == 0;
}

void hth_chunk_list_keep(const hth_chunk_list *list, const char *cache)
{
	char fresh[4300];
	size_t len = (size_t)list->n_chunks * HTH_HASH_BYTES;
	snprintf(fresh, sizeof fresh, "%s.new", cache);
	HTH_AUTO_CLOSE int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* One that cannot be kept is made again. */
	if (fd < 0 || write(fd, list->chunks, len) != (ssize_t)len || write(fd, list->root, HTH_HASH_BYTES) != HTH_HASH_BYTES ||
	    rename(fresh, cache) != 0)
		unlink(fresh);
}

static void make_list(hth_file_works *w, hth_file_job *j, unsigned char *block)
{
	if (hth_chunk_list_create(&j->list, j->file->bytes, j->sha256, NULL) != HTH_OK)
		return;
	j->good = read_list(j->list, j->cache);
	if (!j->good && hash_whole(w, j->file, j->list, NULL, block)) {
		hth_chunk_list_seal(j->list);
		hth_chunk_list_keep(j->list, j->cache);
		j->good = true;
	}
}

static void *worker_main(void *ctx)
{
	worker *me = ctx;
	hth_file_works *w = me->works;
	unsigned char *block = malloc(HTH_CHUNK_BYTES);
	if (me->low) {
		(void)!setpriority(PRIO_PROCESS, 0, 19);
		(void)!syscall(SYS_ioprio_set, 1, 0, 3 << 13); /* idle */
	}
	for (;;) {
		pthread_mutex_lock(&me->mutex);
		while (me->first == NULL && !atomic_load(&w->stop))
			pthread_cond_wait(&me->wake, &me->mutex);
		hth_file_job *j = atomic_load(&w->stop) ? NULL : me->first;
		if (j != NULL && (me->first = j->next) == NULL)
			me->last = &me->first;
		pthread_mutex_unlock(&me->mutex);
		if (j == NULL)
			break;
		switch (block != NULL ? (int)j->work : -1) {
		case HTH_FILE_READ: read_chunk(j); break;
		case HTH_FILE_WRITE: write_chunk(j, block); break;
		case HTH_FILE_SCAN: scan(w, j, block); break;
		case HTH_FILE_CHECK: check(w, j, block); break;
		case HTH_FILE_LIST: make_list(w, j, block); break;
		default: j->error = ENOMEM;
		}
		if (!hth_mailbox_post(w->mailbox, j))
			break;
	}
	free(block);
	return NULL;
}

/* ---- the loop's side ---- */

hth_file_job *hth_file_job_new(hth_file_work work, hth_model_file *file, uint64_t number)
{
	hth_file_job *j = calloc(1, sizeof *j);
	if (j == NULL)
		return NULL;
	j->work = work;
	j->file = hth_model_file_ref(file);
	j->number = number;
	return j;
}

void hth_file_job_free(hth_file_job *j)
{
	if (j == NULL)
		return;
	hth_model_file_unref(j->file);
	hth_chunk_list_destroy(j->list);
	free(j->found);
	free(j->bytes);
	free(j);
}

static bool start(worker *me)
{
	sigset_t every, before;
	if (me->started)
		return true;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	me->started = pthread_create(&me->thread, NULL, worker_main, me) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return me->started;
}

void hth_file_works_do(hth_file_works *w, hth_file_job *j)
{
	worker *me = &w->workers[j->work == HTH_FILE_LIST ? 2 : j->work == HTH_FILE_SCAN || j->work == HTH_FILE_CHECK ? 1 : 0];
	j->out_next = w->out;
	j->out_at = &w->out;
	if (w->out != NULL)
		w->out->out_at = &j->out_next;
	w->out = j;
	if (!start(me)) {
		j->error = EAGAIN;
		(void)!hth_mailbox_post(w->mailbox, j); /* without memory for that, too, the job is never heard of, as if the disk hung */
		return;
	}
	pthread_mutex_lock(&me->mutex);
	j->next = NULL;
	*me->last = j;
	me->last = &j->next;
	pthread_cond_signal(&me->wake);
	pthread_mutex_unlock(&me->mutex);
}

static void on_mail(void *ctx, void *mail)
{
	hth_file_works *w = ctx;
	hth_file_job *j = mail;
	*j->out_at = j->out_next;
	if (j->out_next != NULL)
		j->out_next->out_at = j->out_at;
	w->done(w->ctx, j);
}

hth_status hth_file_works_create(hth_file_works **ret_works, hth_loop *loop, void (*done)(void *ctx, hth_file_job *job), void *ctx,
                                 hth_error *err)
{
	hth_file_works *w = calloc(1, sizeof *w);
	if (w == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for models' files");
	w->done = done;
	w->ctx = ctx;
	atomic_init(&w->stop, false);
	for (int i = 0; i < THREADS; i++) {
		worker *me = &w->workers[i];
		me->works = w;
		me->low = i == 2;
		me->last = &me->first;
		pthread_mutex_init(&me->mutex, NULL);
		pthread_cond_init(&me->wake, NULL);
	}
	hth_status status = hth_mailbox_open(&w->mailbox, loop, on_mail, w, err);
	if (status != HTH_OK) {
		hth_file_works_destroy(w);
		return status;
	}
	*ret_works = w;
	return HTH_OK;
}

void hth_file_works_destroy(hth_file_works *w)
{
	if (w == NULL)
		return;
	atomic_store(&w->stop, true);
	for (int i = 0; i < THREADS; i++) {
		worker *me = &w->workers[i];
		pthread_mutex_lock(&me->mutex);
		pthread_cond_signal(&me->wake);
		pthread_mutex_unlock(&me->mutex);
		if (me->started)
			pthread_join(me->thread, NULL);
		pthread_cond_destroy(&me->wake);
		pthread_mutex_destroy(&me->mutex);
	}
	for (hth_file_job *j; (j = w->out) != NULL;) {
		w->out = j->out_next;
		hth_file_job_free(j);
	}
	hth_mailbox_close(w->mailbox);
	free(w);
}
