/*
 * Requests whose answers come later, and the clients who wait for them.
 *
 * 1. A client has one request at a time; what it sends meanwhile waits, so that
 *    answers come in the order of the requests. Who sends more than QUEUE_MAX
 *    is not served any more. The next is taken up by the loop, not by whoever
 *    answered the one before: he may be in the middle of a VM's end.
 * 2. A request lives while somebody holds it: its client, a VM that it waits
 *    for, a question to a VM's process. It has one answer.
 *
 * The daemon's thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmd/daemon.h"

#define QUEUE_MAX	16

/* Somebody waits for a VM. */
struct waiter {
	struct request	*wa_request;
	enum request_event wa_event;
	struct waiter	*wa_next;
};

/* --- requests ----------------------------------------------------------------- */

struct request *
request_new(struct client *c)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return (NULL);
	r->r_client = c;
	r->r_holds = 1;
	if (c != NULL)
		c->c_request = r;
	return (r);
}

void
request_hold(struct request *r)
{
	if (r != NULL)
		r->r_holds++;
}

void
request_release(struct request *r)
{
	if (r == NULL || --r->r_holds > 0)
		return;
	cJSON_Delete(r->r_list);
	free(r);
}

static void	client_later(struct client *);

void
request_answer(struct request *r, cJSON *answer, const int *fds,
    unsigned nfds)
{
	struct client *c = r == NULL ? NULL : r->r_client;

	if (c == NULL) {
		cJSON_Delete(answer);
		return;
	}
	r->r_client = NULL;
	c->c_request = NULL;
	control_peer_send(c->c_peer, answer, fds, nfds);
	request_release(r);
	client_later(c);
}

int
request_list(struct request *r)
{
	r->r_list = cJSON_CreateArray();
	if (r->r_list == NULL) {
		errno = ENOMEM;
		return (-1);
	}
	return (0);
}

int
request_wait(struct request *r, struct vm *v, enum request_event event)
{
	struct waiter *wa = calloc(1, sizeof(*wa));

	if (wa == NULL)
		return (-1);
	wa->wa_request = r;
	wa->wa_event = event;
	wa->wa_next = v->v_waiters;
	v->v_waiters = wa;
	request_hold(r);
	r->r_waiting++;
	return (0);
}

static void
request_check(struct request *r)
{
	cJSON *answer;

	if (r->r_list == NULL || !r->r_ready || r->r_waiting > 0)
		return;
	answer = control_ok();
	cJSON_AddItemToObject(answer, "vms", r->r_list);
	r->r_list = NULL;
	request_answer(r, answer, NULL, 0);
}

void
request_ready(struct request *r)
{
	r->r_ready = true;
	request_check(r);
}

/* How it is with a VM, as an answer or a part of one. */
static cJSON *
waiter_result(const struct vm *v, enum request_event wanted,
    enum request_event event)
{
	cJSON *json;

	if (wanted == REQUEST_RUNS && event == REQUEST_ENDED)
		return (control_error(EIO, "%s: %s", v->v_name,
		    v->v_error[0] != '\0' ? v->v_error : "it ended at once"));
	json = control_ok();
	cJSON_AddNumberToObject(json, "id", v->v_id);
	cJSON_AddStringToObject(json, "name", v->v_name);
	if (event == REQUEST_RUNS) {
		cJSON_AddStringToObject(json, "tty", v->v_tty);
		return (json);
	}
	cJSON_AddStringToObject(json, "end", v->v_end);
	cJSON_AddStringToObject(json, "how", v->v_how);
	if (v->v_error[0] != '\0')
		cJSON_AddStringToObject(json, "why", v->v_error);
	return (json);
}

void
request_vm(struct vm *v, enum request_event event)
{
	struct waiter *wa, *found = NULL, **p = &v->v_waiters;
	struct request *r;
	cJSON *result;

	/* Answers may lead to new waiters: take out first who is served. */
	while ((wa = *p) != NULL) {
		if (wa->wa_event == event || event == REQUEST_ENDED) {
			*p = wa->wa_next;
			wa->wa_next = found;
			found = wa;
		} else
			p = &wa->wa_next;
	}
	while ((wa = found) != NULL) {
		found = wa->wa_next;
		r = wa->wa_request;
		r->r_waiting--;
		result = waiter_result(v, wa->wa_event, event);
		if (r->r_list != NULL) {
			cJSON_AddItemToArray(r->r_list, result);
			request_check(r);
		} else
			request_answer(r, result, NULL, 0);
		request_release(r);
		free(wa);
	}
}

void
request_forget(struct vm *v)
{
	struct waiter *wa;

	while ((wa = v->v_waiters) != NULL) {
		v->v_waiters = wa->wa_next;
		request_release(wa->wa_request);
		free(wa);
	}
}

/* --- clients ------------------------------------------------------------------ */

struct client *
client_new(struct daemon *d, struct control_peer *peer)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return (NULL);
	c->c_daemon = d;
	c->c_peer = peer;
	c->c_uid = control_peer_who(peer)->cc_uid;
	c->c_ngroups = control_peer_groups(peer, c->c_groups,
	    DAEMON_GROUPS_MAX);
	c->c_next = d->d_clients;
	d->d_clients = c;
	return (c);
}

void
client_gone(struct client *c)
{
	struct client **p;
	size_t i;

	for (p = &c->c_daemon->d_clients; *p != c; p = &(*p)->c_next)
		continue;
	*p = c->c_next;
	if (c->c_request != NULL) {
		c->c_request->r_client = NULL;
		request_release(c->c_request);
	}
	for (i = 0; i < c->c_nqueue; i++)
		control_message_free(&c->c_queue[i]);
	free(c->c_queue);
	free(c);
}

static void
client_do(struct client *c, struct control_message *cm)
{
	struct request *r = request_new(c);

	if (r == NULL) {
		control_peer_send(c->c_peer, control_error(ENOMEM,
		    "vmd has no memory left"), NULL, 0);
		return;
	}
	/* it may be answered, and its client's part over, before we return */
	request_hold(r);
	command_do(c, r, cm);
	request_release(r);
}

/* Its oldest message. */
static void
client_next(struct client *c)
{
	struct control_message cm = c->c_queue[0];

	memmove(c->c_queue, c->c_queue + 1,
	    --c->c_nqueue * sizeof(*c->c_queue));
	client_do(c, &cm);
	control_message_free(&cm);
}

/* The clients who may have their next request now. */
static void
clients_next(void *arg)
{
	struct daemon *d = arg;
	struct client *c;

	d->d_posted = false;
	for (c = d->d_clients; c != NULL;) {
		if (c->c_request == NULL && c->c_nqueue > 0) {
			client_next(c);
			c = d->d_clients;	/* they may be others now */
		} else
			c = c->c_next;
	}
}

/* The request before has been answered; the next is not done from there. */
static void
client_later(struct client *c)
{
	struct daemon *d = c->c_daemon;

	if (c->c_nqueue == 0 || d->d_posted)
		return;
	if (loop_post(d->d_loop, clients_next, d) == 0)
		d->d_posted = true;
	else
		control_peer_shut(c->c_peer);
}

void
client_message(struct client *c, struct control_message *cm)
{
	if (c->c_request == NULL && c->c_nqueue == 0) {
		client_do(c, cm);
		return;
	}
	if (c->c_queue == NULL)
		c->c_queue = calloc(QUEUE_MAX, sizeof(*c->c_queue));
	if (c->c_queue == NULL || c->c_nqueue == QUEUE_MAX) {
		/* an answer out of order would be taken for another's */
		log_warn("user %u asks faster than it can be answered",
		    (unsigned)c->c_uid);
		control_peer_shut(c->c_peer);
		return;
	}
	c->c_queue[c->c_nqueue++] = *cm;
	memset(cm, 0, sizeof(*cm));	/* it is the queue's now */
}
