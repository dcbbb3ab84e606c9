/* loop-mailbox.c - how other threads hand work to the loop's thread.
 *
 * A locked list and one wake-up. The lock also orders posting against closing, so a post never reaches a closed libuv handle.
 * The memory of a closed mailbox stays with its loop, because a thread may still hold its address: a late post returns false.
 * Threads: post from any; the rest on the loop's own.
 */
#include "loop/loop-internal.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct mail_node {
	struct mail_node *next;
	void *mail;
} mail_node;

struct hth_mailbox {
	uv_async_t uv;
	hth_mailbox *next;
	hth_mail_fn fn;
	void *ctx;
	pthread_mutex_t lock; /* guards the fields below */
	mail_node *first, **last;
	bool closed;
};

static void free_nodes(mail_node *node)
{
	while (node != NULL) {
		mail_node *next = node->next;
		free(node);
		node = next;
	}
}

static mail_node *take_all(hth_mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mail_node *node = mailbox->first;
	mailbox->first = NULL;
	mailbox->last = &mailbox->first;
	pthread_mutex_unlock(&mailbox->lock);
	return node;
}

static void on_async(uv_async_t *uv)
{
	hth_mailbox *mailbox = (hth_mailbox *)uv;
	mail_node *node = take_all(mailbox);
	while (node != NULL && !mailbox->closed) { /* only this thread writes closed: no lock to read it here */
		mail_node *next = node->next;
		void *mail = node->mail;
		free(node);
		node = next;
		mailbox->fn(mailbox->ctx, mail);
	}
	free_nodes(node);
}

hth_status hth_mailbox_open(hth_mailbox **ret_mailbox, hth_loop *loop, hth_mail_fn fn, void *ctx, hth_error *err)
{
	hth_mailbox *mailbox = calloc(1, sizeof *mailbox);
	if (mailbox == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a mailbox");
	int rc = uv_async_init(&loop->uv, &mailbox->uv, on_async);
	if (rc != 0) {
		free(mailbox);
		return hth_fail_uv(err, rc, "cannot make a mailbox");
	}
	pthread_mutex_init(&mailbox->lock, NULL);
	mailbox->fn = fn;
	mailbox->ctx = ctx;
	mailbox->last = &mailbox->first;
	mailbox->next = loop->mailboxes;
	loop->mailboxes = mailbox;
	*ret_mailbox = mailbox;
	return HTH_OK;
}

bool hth_mailbox_post(hth_mailbox *mailbox, void *mail)
{
	mail_node *node = malloc(sizeof *node);
	if (node == NULL)
		return false;
	node->next = NULL;
	node->mail = mail;
	pthread_mutex_lock(&mailbox->lock);
	bool open = !mailbox->closed;
	if (open) {
		*mailbox->last = node;
		mailbox->last = &node->next;
		uv_async_send(&mailbox->uv);
	}
	pthread_mutex_unlock(&mailbox->lock);
	if (!open)
		free(node);
	return open;
}

void hth_mailbox_close(hth_mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	pthread_mutex_lock(&mailbox->lock);
	mailbox->closed = true;
	pthread_mutex_unlock(&mailbox->lock);
	free_nodes(take_all(mailbox));
	uv_close((uv_handle_t *)&mailbox->uv, NULL);
}

void hth_mailbox_free_all(hth_loop *loop)
{
	while (loop->mailboxes != NULL) {
		hth_mailbox *mailbox = loop->mailboxes;
		loop->mailboxes = mailbox->next;
		pthread_mutex_destroy(&mailbox->lock);
		free(mailbox);
	}
}
