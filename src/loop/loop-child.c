/* loop-child.c - child processes: started with exactly the descriptors asked for, reaped by the loop, never left as zombies.
 *
 * Owns the pid until the process was waited for. Refuses to leak: every descriptor of this process above 2 is marked
 * close-on-exec before the fork, whoever opened it and however, so that a child gets what it was given and nothing else.
 * Thread: the loop's own.
 */
#include "loop/loop-internal.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CHILD_FDS_MAX = 1024 };

struct hth_child {
	uv_process_t uv;
	hth_loop *loop;
	hth_child_fn fn;
	void *ctx;
	bool exited, closed;
};

static void on_closed_free(uv_handle_t *handle) { free(handle); }

static void on_exit_cb(uv_process_t *uv, int64_t exit_status, int term_signal)
{
	hth_child *child = (hth_child *)uv;
	child->exited = true;
	if (child->closed) {
		child->loop->n_dying--;
		uv_close((uv_handle_t *)uv, on_closed_free);
		return;
	}
	child->fn(child->ctx, term_signal != 0 ? -1 : (int)exit_status, term_signal);
}

/* close_range(CLOSE_RANGE_CLOEXEC) is Linux 5.11; before it, by /proc. */
static hth_status mark_all_cloexec(hth_error *err)
{
	if (syscall(SYS_close_range, 3u, ~0u, (unsigned)CLOSE_RANGE_CLOEXEC) == 0)
		return HTH_OK;
	DIR *dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return hth_fail_errno(err, HTH_IO, errno, "cannot list this process's descriptors before starting a child");
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);
		if (fd > 2)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	closedir(dir);
	return HTH_OK;
}

hth_status hth_child_start(hth_child **ret_child, hth_loop *loop, const char *const argv[], const int *fds, size_t n_fds,
                           hth_child_fn fn, void *ctx, hth_error *err)
{
	if (n_fds > CHILD_FDS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "%zu descriptors for one child; at most %d", n_fds, CHILD_FDS_MAX);
	HTH_TRY(mark_all_cloexec(err));
	HTH_AUTO_CLOSE int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot open /dev/null");
	/* Below 3 a missing entry would mean "inherit"; a child that was promised nothing gets /dev/null there. */
	size_t n_stdio = HTH_MAX(n_fds, (size_t)3);
	HTH_AUTO_FREE uv_stdio_container_t *stdio = hth_alloc_array(n_stdio, sizeof *stdio);
	hth_child *child = calloc(1, sizeof *child);
	if (stdio == NULL || child == NULL) {
		free(child);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to start %s", argv[0]);
	}
	for (size_t i = 0; i < n_stdio; i++) {
		stdio[i].flags = UV_INHERIT_FD;
		stdio[i].data.fd = i < n_fds && fds[i] >= 0 ? fds[i] : null_fd;
	}
	child->loop = loop;
	child->fn = fn;
	child->ctx = ctx;
	uv_process_options_t options = {
	    .exit_cb = on_exit_cb,
	    .file = argv[0],
	    .args = (char **)(uintptr_t)argv, /* libuv's prototype lacks the const; it does not write */
	    .stdio_count = (int)n_stdio,
	    .stdio = stdio,
	};
	int rc = uv_spawn(&loop->uv, &child->uv, &options);
	if (rc != 0) {
		uv_close((uv_handle_t *)&child->uv, on_closed_free);
		return hth_fail(err, rc == UV_ENOMEM || rc == UV_EAGAIN ? HTH_NO_MEMORY : HTH_IO, "cannot start %s: %s", argv[0],
		                uv_strerror(rc));
	}
	*ret_child = child;
	return HTH_OK;
}

pid_t hth_child_pid(const hth_child *child) { return (pid_t)child->uv.pid; }

void hth_child_signal(hth_child *child, int signum)
{
	if (!child->exited) /* afterwards the number may belong to somebody else */
		uv_process_kill(&child->uv, signum);
}

void hth_child_close(hth_child *child)
{
	if (child == NULL)
		return;
	child->closed = true;
	if (child->exited) {
		uv_close((uv_handle_t *)&child->uv, on_closed_free);
		return;
	}
	uv_process_kill(&child->uv, SIGKILL);
	child->loop->n_dying++; /* on_exit_cb frees it when the kernel has given it back */
}
