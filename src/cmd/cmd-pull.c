/* cmd-pull.c - `hearth pull NAME|URL|FILE`: brings a model home, and says before what it is and whether it fits.
 *
 * The bar is drawn on a terminal only; what goes to stdout is the result. Ctrl-C stops and keeps what has come: the next pull goes on from
 * there. The look at the model's header happens in a child that prints and is gone: this process stays free to use the network. Where the
 * neighbours have it, what they say is shown instead, and the internet is not asked.
 */
#include "base/mem.h"
#include "cmd/cmd-next-door.h"
#include "cmd/cmd-options.h"
#include "cmd/cmd-peek.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

static volatile sig_atomic_t interrupted;
static void on_interrupt(int signum)
{
	(void)signum;
	interrupted = 1;
}
static bool is_interrupted(void *ctx)
{
	(void)ctx;
	return interrupted != 0;
}

static void draw(void *ctx, const hth_pull_progress *p)
{
	bool *drawn = ctx;
	char a[32], b[32], c[32], d[32], bar[32] = "";
	struct winsize size;
	int width = ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
	if (p->phase == HTH_PULL_DONE) {
		if (*drawn)
			fprintf(stderr, "\r\033[K");
		*drawn = false;
		return;
	}
	char line[256];
	if (p->total == 0 || p->phase == HTH_PULL_ASKING) {
		snprintf(line, sizeof line, "%s %s%s", hth_pull_phase_name(p->phase), p->name,
		         p->bytes > 0 ? hth_cmd_bytes(p->bytes, a) : "");
	} else {
		enum { CELLS = 20 };
		int full = (int)((double)p->bytes / (double)p->total * CELLS);
		for (int i = 0; i < CELLS; i++)
			bar[i] = i < full ? '#' : '.';
		snprintf(line, sizeof line, "%-11s [%s] %3.0f%%  %s of %s%s%s%s%s", hth_pull_phase_name(p->phase), bar,
		         (double)p->bytes / (double)p->total * 100, hth_cmd_bytes(p->bytes, a), hth_cmd_bytes(p->total, b),
		         p->rate > 0 ? ", " : "", p->rate > 0 ? hth_cmd_bytes((uint64_t)p->rate, c) : "", p->rate > 0 ? "/s" : "",
		         p->eta_s >= 0 ? ", " : "");
		if (p->eta_s >= 0)
			snprintf(line + strlen(line), sizeof line - strlen(line), "%s left", hth_cmd_seconds((uint64_t)p->eta_s, d));
		if (p->from[0] != '\0')
			snprintf(line + strlen(line), sizeof line - strlen(line), ", from %.60s", p->from);
	}
	fprintf(stderr, "\r\033[K%.*s", width - 1, line);
	fflush(stderr);
	*drawn = true;
}

typedef enum verdict { USABLE, UNUSABLE, UNKNOWN /* it could not be looked at */ } verdict;

/* `hearth show` in a child, which locks itself in: remote before, on stderr; or of what is here, for its verdict alone. why: on
 * UNUSABLE. */
static verdict look(const hth_invocation *in, char *reference, bool remote, char *why, size_t why_len)
{
	HTH_AUTO_CLOSE int said = memfd_create("said", MFD_CLOEXEC);
	fflush(NULL);
	pid_t child = said >= 0 ? fork() : -1;
	if (child == 0) {
		char flag[] = "--remote";
		char *argv[] = {reference, remote ? flag : NULL, NULL};
		int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
		hth_invocation show = *in;
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		show.argc = remote ? 2 : 1;
		show.argv = argv;
		if (nothing < 0 || dup2(remote ? 2 : nothing, 1) < 0 || dup2(said, 2) < 0)
			_exit(1);
		int code = hth_cmd_show(&show);
		fputs(code == 0 ? "\n" : "", stdout);
		fflush(NULL);
		_exit(code == 0 ? 0 : hth_local_is_locked_in() ? 3 : 1); /* locked in, it read the file */
	}
	int status = -1;
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child <= 0 || !WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3))
		return UNKNOWN;
	static const char prefix[] = "hearth pull: ";
	char text[HTH_ERROR_MAX + sizeof prefix] = "";
	(void)!pread(said, text, sizeof text - 1, 0);
	text[strcspn(text, "\n")] = '\0';
	snprintf(why, why_len, "%.*s", (int)why_len - 1, strncmp(text, prefix, sizeof prefix - 1) == 0 ? text + sizeof prefix - 1 : text);
	return WEXITSTATUS(status) == 0 ? USABLE : UNUSABLE;
}

/* False: the neighbours do not have it, or nobody can be asked. */
static bool show_offer(const char *reference, const hth_pull_options *pull)
{
	hth_pull_offer offer;
	char size[32];
	if (hth_pull_ask_neighbours(reference, pull, &offer, NULL) != HTH_OK)
		return false;
	fprintf(stderr, "next door at %s: %s%s\n", offer.homes, hth_cmd_bytes(offer.bytes, size),
	        offer.believed ? "" : "; nobody whom you trust says so, so its source is asked what it is");
	if (offer.license[0] != '\0')
		fprintf(stderr, "its license binds you as if it came from its source: %s (`hearth show %s` has all of it then)\n",
		        offer.license, reference);
	return true;
}

int hth_cmd_pull(hth_invocation *in)
{
	bool json = false, quiet = false, drawn = false, internet = false;
	const char *name = NULL;
	const hth_option options[] = {{"name", 0, HTH_OPTION_TEXT, &name, "NAME", "keep it under this name", 0, 0, NULL},
	                              {"internet", 0, HTH_OPTION_FLAG, &internet, NULL, "do not ask the neighbours", 0, 0, NULL},
	                              {"quiet", 'q', HTH_OPTION_FLAG, &quiet, NULL, "neither look at it before nor draw a bar", 0, 0, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 1))
		return in->exit_code;
	hth_pull_options pull;
	hth_cmd_pull_options(in, &pull);
	pull.name = name;
	pull.cancelled = is_interrupted;
	if (!json && !quiet && hth_cmd_is_terminal(2)) {
		pull.progress = draw;
		pull.ctx = &drawn;
	}
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	hth_cmd_next_door door;
	hth_cmd_next_door_init(&door, in, &interrupted);
	if (!internet)
		pull.neighbours = &door.neighbours;
	hth_error err = HTH_ERROR_INIT;
	char why[HTH_ERROR_MAX];
	/* Where it cannot be looked at before (no ranges there), the pull itself will tell. */
	if (!json && !quiet && !show_offer(in->argv[0], &pull) && look(in, in->argv[0], true, why, sizeof why) == UNUSABLE) {
		hth_cmd_next_door_finish(&door);
		hth_fail(&err, HTH_UNSUPPORTED, "%.400s; nothing was pulled (--quiet brings it all the same)", why);
		return hth_cmd_fail(in, &err);
	}
	signal(SIGXFSZ, SIG_IGN);
	hth_pull_result result;
	hth_status status = hth_pull(in->argv[0], &pull, &result, &err);
	hth_cmd_next_door_finish(&door);
	if (drawn)
		fprintf(stderr, "\n");
	if (status == HTH_CANCELLED) {
		fprintf(stderr, "hearth pull: stopped; the same command goes on from here\n");
		return 130;
	}
	if (status != HTH_OK)
		return hth_cmd_fail(in, &err);
	bool unusable = look(in, result.name, false, why, sizeof why) == UNUSABLE;
	if (unusable)
		fprintf(stderr, "hearth pull: what came cannot be used: %s; `hearth rm %s` removes it\n", why, result.name);
	hth_cmd_note_other_home(in);
	int bad = unusable && !quiet ? HTH_EXIT_FAILED : HTH_EXIT_DONE;
	if (json) {
		hth_buf out = HTH_BUF_INIT(8192);
		hth_buf_append_str(&out, "{\"name\":");
		hth_json_write_string(result.name, strlen(result.name), &out);
		hth_buf_appendf(&out, ",\"bytes\":%llu,\"downloaded\":%llu", (unsigned long long)result.bytes,
		                (unsigned long long)result.downloaded);
		if (result.next_door > 0)
			hth_buf_appendf(&out, ",\"next_door\":%llu", (unsigned long long)result.next_door);
		hth_buf_append_str(&out, result.already ? ",\"already\":true}" : ",\"already\":false}");
		int code = hth_cmd_print(in, &out);
		hth_buf_finish(&out);
		return HTH_MAX(code, bad);
	}
	char size[32], part[32];
	if (result.next_door > 0)
		printf("%s of it came from next door. ", hth_cmd_bytes(result.next_door, part));
	printf("%s %s, %s.", result.name, result.already ? "is here already, and up to date" : "is here",
	       hth_cmd_bytes(result.bytes, size));
	if (unusable)
		printf("\n");
	else
		printf(" Try `hearth run %s`.\n", result.name);
	return bad;
}
