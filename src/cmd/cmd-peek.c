/* cmd-peek.c - fetches as much of a remote model's files as their header takes, without reading a byte of it in this process.
 *
 * How long a header is only the header tells, and that is untrusted: a child locks itself in, tries to open the files and says with its
 * exit code whether it could. When it could not, more is fetched. Main thread, before anything else has been started.
 */
#include "cmd/cmd-peek.h"

#include "base/mem.h"
#include "client/transfer.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <sys/wait.h>

void hth_cmd_pull_options(const hth_invocation *in, hth_pull_options *ret_options)
{
	hth_transfer_trust(in->config.ca_file);
	*ret_options = (hth_pull_options){.home = in->config.home, .registry = in->config.registry, .huggingface = in->config.huggingface,
	                                  .hf_token = getenv("HF_TOKEN")};
}

static bool opens(const hth_pull_head *head)
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		hth_sandbox_report report;
		hth_gguf *gguf;
		if (hth_sandbox_enter(&(hth_sandbox_options){.keep_fds = head->fds, .n_keep_fds = head->n_fds}, &report, NULL) != HTH_OK)
			_exit(2);
		_exit(hth_gguf_open(&gguf, head->fds, head->n_fds, head->name, NULL) == HTH_OK ? 0 : 1);
	}
	int status = -1;
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

hth_status hth_cmd_peek_open(const hth_invocation *in, const char *reference, hth_local_model *ret_model, hth_error *err)
{
	hth_pull_options options;
	hth_pull_head head = {.n_fds = 0};
	hth_cmd_pull_options(in, &options);
	/* A header is mostly its vocabulary: 1 to 10 MB. What is longer than the last step is told by the engine's own error. */
	for (uint64_t limit = 4 << 20; limit <= 64 << 20; limit *= 4) {
		hth_status status = hth_pull_peek(reference, &options, limit, &head, err);
		if (status != HTH_OK) {
			hth_pull_head_close(&head);
			return status;
		}
		if (limit >= head.bytes || opens(&head))
			break;
	}
	hth_local_model model = {.n_fds = head.n_fds};
	model.files.name = strdup(head.name);
	model.files.bytes = head.bytes;
	memcpy(model.fds, head.fds, head.n_fds * sizeof *head.fds);
	if (model.files.name == NULL) {
		hth_pull_head_close(&head);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a model's name");
	}
	*ret_model = model;
	return HTH_OK;
}
