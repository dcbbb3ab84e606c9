/* cmd-model.c - opens a model's files, locks the process in, loads the model: in this order and no other. Main thread. */
#include "cmd/cmd-model.h"

#include "base/mem.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static bool locked_in;

hth_status hth_local_open(const hth_invocation *in, const char *name_or_file, hth_local_model *ret_model, hth_error *err)
{
	hth_catalog catalog;
	HTH_TRY(hth_catalog_load(&catalog, in->config.home, err));
	hth_local_model model = {.n_fds = 0};
	hth_status status = hth_catalog_resolve(&catalog, name_or_file, &model.files, err);
	hth_catalog_finish(&catalog);
	if (status != HTH_OK)
		return status;
	for (; model.n_fds < model.files.n_files; model.n_fds++) {
		const char *path = model.files.files[model.n_fds];
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0) {
			status = hth_fail_errno(err, HTH_IO, errno, "cannot open %s", path);
			hth_local_close(&model);
			return status;
		}
		model.fds[model.n_fds] = fd;
	}
	*ret_model = model;
	return HTH_OK;
}

void hth_local_close(hth_local_model *model)
{
	for (size_t i = 0; i < model->n_fds; i++)
		close(model->fds[i]);
	model->n_fds = 0;
	hth_catalog_model_finish(&model->files);
}

hth_status hth_local_lock_in(const hth_local_model *model, int also, hth_error *err)
{
	int keep[HTH_CATALOG_SHARDS_MAX + 1];
	size_t n = 0;
	for (size_t i = 0; model != NULL && i < model->n_fds; i++)
		keep[n++] = model->fds[i];
	if (also >= 0)
		keep[n++] = also;
	hth_sandbox_report report;
	HTH_TRY(hth_sandbox_enter(&(hth_sandbox_options){.keep_fds = keep, .n_keep_fds = n, .write_files = also >= 0}, &report, err));
	locked_in = true;
	return HTH_OK;
}

bool hth_local_is_locked_in(void) { return locked_in; }

hth_status hth_local_load(const hth_local_model *model, hth_model **ret_model, hth_error *err)
{
	return hth_model_open(ret_model, model->fds, model->n_fds, model->files.name, err);
}

hth_status hth_local_load_vocabulary(const hth_local_model *model, hth_gguf **ret_gguf, hth_tokenizer **ret_tokenizer, hth_error *err)
{
	hth_gguf *gguf;
	HTH_TRY(hth_gguf_open(&gguf, model->fds, model->n_fds, model->files.name, err));
	hth_status status = hth_tokenizer_create(ret_tokenizer, gguf, err);
	if (status != HTH_OK) {
		hth_gguf_close(gguf);
		return status;
	}
	*ret_gguf = gguf;
	return HTH_OK;
}
