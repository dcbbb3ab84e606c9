/* cmd-quantize.c - `hearth quantize IN OUT TYPE`.
 *
 * The input is untrusted, so a child locks itself in and does the work, writing to OUT.partial, which was opened before; the parent
 * only waits, and then gives the file its name or takes it away. So OUT is whole or not there, whatever happens.
 */
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <strings.h>
#include <sys/wait.h>

static void show_progress(void *ctx, const char *tensor, uint64_t done, uint64_t total)
{
	char a[32], b[32];
	fprintf(stderr, "\r\033[K%s of %s  %s", hth_cmd_bytes(done, a), hth_cmd_bytes(total, b), tensor);
	if (done >= total)
		fprintf(stderr, "\r\033[K");
}

static hth_status quantize(const hth_local_model *local, int out_fd, const char *ftype, unsigned n_threads, hth_error *err)
{
	bool requantized = false;
	hth_gguf *gguf;
	HTH_TRY(hth_local_lock_in(local, out_fd, err));
	HTH_TRY(hth_gguf_open(&gguf, local->fds, local->n_fds, local->files.name, err));
	hth_quantize_options options = {.ftype = ftype, .n_threads = n_threads, .ret_requantized = &requantized};
	if (hth_cmd_is_terminal(2))
		options.progress = show_progress;
	hth_status status = hth_quantize_file(gguf, out_fd, &options, err);
	hth_gguf_close(gguf);
	if (status == HTH_OK && requantized)
		fprintf(stderr,
		        "hearth quantize: %s is quantised already; going on from rounded weights loses more than from the original\n",
		        local->files.name);
	return status;
}

static int list_types(const hth_invocation *in, bool json)
{
	hth_buf out = HTH_BUF_INIT(64 << 10);
	hth_buf_append_str(&out, json ? "{\"types\":[" : "");
	for (const char *const *t = hth_quantize_ftypes(); *t != NULL; t++)
		hth_buf_appendf(&out, json ? "%s\"%s\"" : "%s%s", t == hth_quantize_ftypes() ? "" : json ? "," : "\n", *t);
	hth_buf_append_str(&out, json ? "]}" : "");
	int code = hth_cmd_print(in, &out);
	hth_buf_finish(&out);
	return code;
}

/* The spelling that the engine knows, whatever the case; NULL when it knows none. */
static const char *find_type(const char *asked)
{
	for (const char *const *t = hth_quantize_ftypes(); *t != NULL; t++)
		if (strcasecmp(*t, asked) == 0)
			return *t;
	return NULL;
}

static hth_status check_output(const hth_local_model *local, const char *path, hth_error *err)
{
	struct stat out, in;
	if (stat(path, &out) != 0)
		return HTH_OK;
	if (!S_ISREG(out.st_mode))
		return hth_fail(err, HTH_INVALID, "%s is there and is no file", path);
	for (size_t i = 0; i < local->n_fds; i++)
		if (fstat(local->fds[i], &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
			return hth_fail(err, HTH_INVALID, "%s is the input itself; give the output another name", path);
	return HTH_OK;
}

/* An interrupt ends the child, and the parent tidies up. It may come at any time from here on: to both (a terminal's) or to the parent
 * alone. */
static volatile sig_atomic_t interrupted;
static volatile pid_t working;

static void on_interrupt(int signum)
{
	interrupted = signum;
	if (working > 0)
		kill(working, SIGINT);
}

/* Waits for the child and puts its file in place. The child has said already what went wrong. */
static int finish(const hth_invocation *in, pid_t child, int out_fd, const char *partial, const char *path)
{
	hth_error err = HTH_ERROR_INIT;
	int how = 0;
	while (waitpid(child, &how, 0) < 0 && errno == EINTR)
		;
	bool done = WIFEXITED(how) && WEXITSTATUS(how) == HTH_EXIT_DONE;
	struct stat st = {0};
	if (done && (fsync(out_fd) != 0 || fstat(out_fd, &st) != 0 || rename(partial, path) != 0)) {
		hth_fail_errno(&err, HTH_IO, errno, "cannot finish %s", path);
		done = false;
	} else if (!done && WIFSIGNALED(how)) {
		hth_fail(&err, HTH_CANCELLED, WTERMSIG(how) == SIGINT ? "stopped; nothing was written"
		                                                      : "the work died of signal %d; nothing was written",
		         WTERMSIG(how));
	}
	if (!done) {
		unlink(partial);
		return err.status != HTH_OK ? hth_cmd_fail(in, &err) : HTH_EXIT_FAILED;
	}
	char size[32];
	fprintf(stderr, "%s is written, %s.\n", path, hth_cmd_bytes((uint64_t)st.st_size, size));
	return HTH_EXIT_DONE;
}

int hth_cmd_quantize(hth_invocation *in)
{
	bool list = false, json = false;
	const hth_option options[] = {{"list", 0, HTH_OPTION_FLAG, &list, NULL, "the types there are", 0, 0, NULL}, HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 3))
		return in->exit_code;
	if (list)
		return list_types(in, json);
	if (in->argc != 3)
		return hth_cmd_usage(in, "something is missing");
	const char *path = in->argv[1], *ftype = find_type(in->argv[2]);
	if (ftype == NULL) {
		const char *near = hth_options_nearest(in->argv[2], hth_quantize_ftypes());
		return hth_cmd_usage(in, "there is no type '%s'%s%s%s (--list shows all)", in->argv[2], near ? "; did you mean " : "",
		                     near ? near : "", near ? "?" : "");
	}
	hth_error err = HTH_ERROR_INIT;
	char partial[PATH_MAX + 16];
	if (snprintf(partial, sizeof partial, "%s.partial", path) >= PATH_MAX)
		return hth_cmd_usage(in, "the output's path is too long");
	hth_local_model local;
	if (hth_local_open(in, in->argv[0], &local, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	int code;
	HTH_AUTO_CLOSE int fd = -1;
	signal(SIGINT, on_interrupt);
	if (check_output(&local, path, &err) != HTH_OK)
		code = hth_cmd_fail(in, &err);
	else if ((fd = open(partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666)) < 0) {
		hth_fail_errno(&err, HTH_IO, errno, "cannot write %s", partial);
		code = hth_cmd_fail(in, &err);
	} else {
		fflush(NULL);
		pid_t child = fork();
		if (child == 0) {
			signal(SIGINT, SIG_DFL);
			if (interrupted)
				raise(SIGINT);
			hth_status status = quantize(&local, fd, ftype, in->config.threads, &err);
			if (status != HTH_OK)
				hth_cmd_fail(in, &err);
			_exit(hth_status_exit(status));
		}
		if (child < 0) {
			hth_fail_errno(&err, HTH_IO, errno, "cannot start a process");
			unlink(partial);
			code = hth_cmd_fail(in, &err);
		} else {
			working = child;
			if (interrupted)
				kill(child, SIGINT);
			code = finish(in, child, fd, partial, path);
		}
	}
	hth_local_close(&local);
	return code;
}
