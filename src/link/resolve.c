/* resolve.c - names to addresses: numbers at once, names on a thread, since the system's resolver blocks for as long as it likes. */
#include "link/link-internal.h"

#include "base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>

typedef struct question {
	char host[HTH_LINK_ADDRESS_MAX], port[6];
	link_address list[LINK_ADDRESSES_MAX];
	size_t n;
	hth_error error;
} question;

struct link_resolver {
	hth_mailbox *mailbox;
	link_resolved_fn fn;
	void *ctx;
	pthread_t thread;
	bool running; /* there is a thread to join */
	bool wanted;  /* its answer is */
	question asked, next;
	bool has_next;
};

static void look_up(question *q, int flags)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags}, *found = NULL;
	q->n = 0;
	int rc = getaddrinfo(q->host, q->port, &hints, &found);
	if (rc != 0) {
		hth_fail(&q->error, HTH_IO, "cannot find %s: %s", q->host, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		return;
	}
	for (struct addrinfo *a = found; a != NULL && q->n < LINK_ADDRESSES_MAX; a = a->ai_next) {
		memcpy(&q->list[q->n].name, a->ai_addr, a->ai_addrlen);
		q->list[q->n++].len = a->ai_addrlen;
	}
	freeaddrinfo(found);
}

static void *resolver_main(void *ctx)
{
	link_resolver *r = ctx;
	look_up(&r->asked, 0);
	(void)!hth_mailbox_post(r->mailbox, r);
	return NULL;
}

static void start(link_resolver *r)
{
	r->asked = r->next;
	r->has_next = false;
	look_up(&r->asked, AI_NUMERICHOST);
	if (r->asked.n > 0) {
		(void)!hth_mailbox_post(r->mailbox, r);
		return;
	}
	sigset_t every, before;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	r->running = pthread_create(&r->thread, NULL, resolver_main, r) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r->running) {
		hth_fail(&r->asked.error, HTH_NO_MEMORY, "no thread to find %s", r->asked.host);
		(void)!hth_mailbox_post(r->mailbox, r);
	}
}

static void on_found(void *ctx, void *mail)
{
	link_resolver *r = ctx;
	(void)mail;
	if (r->running)
		pthread_join(r->thread, NULL);
	r->running = false;
	question answer = r->asked;
	bool wanted = r->wanted && !r->has_next;
	if (r->has_next)
		start(r);
	else if (wanted)
		r->wanted = false;
	if (wanted)
		r->fn(r->ctx, answer.list, answer.n, &answer.error);
}

hth_status link_resolver_open(link_resolver **ret_resolver, hth_loop *loop, link_resolved_fn fn, void *ctx, hth_error *err)
{
	link_resolver *r = calloc(1, sizeof *r);
	if (r == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a connection");
	r->fn = fn;
	r->ctx = ctx;
	hth_status status = hth_mailbox_open(&r->mailbox, loop, on_found, r, err);
	if (status != HTH_OK) {
		free(r);
		return status;
	}
	*ret_resolver = r;
	return HTH_OK;
}

void link_resolver_close(link_resolver *r)
{
	if (r == NULL)
		return;
	if (r->running)
		pthread_join(r->thread, NULL);
	hth_mailbox_close(r->mailbox);
	free(r);
}

void link_resolver_ask(link_resolver *r, const char *host, const char *port)
{
	bool busy = r->wanted || r->running;
	r->next = (question){.n = 0};
	strcpy(r->next.host, host);
	strcpy(r->next.port, port);
	r->has_next = true;
	r->wanted = true;
	if (!busy)
		start(r);
}

void link_resolver_forget(link_resolver *r)
{
	/* `wanted` stays while a post is on its way, so that the next question does not overtake it; its answer then goes nowhere. */
	r->has_next = false;
	if (r->running)
		r->wanted = false;
}
