/*
 * Other processes' VMs, by the sockets that their servers listen on.
 *
 * 1. Whoever listens is believed only if it is our own user, or if we are
 *    root; its pid and user are the kernel's word, and what it says about
 *    itself is cut to what is possible.
 * 2. Every question has a time limit, so that a stopped or hostile process
 *    cannot hold us up.
 *
 * Any thread. See server.c for the other end.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"
#include "vmm/monitor.h"

#define MS		1000000ull
#define DESCRIBE_NS	(200 * MS)	/* for all of them together */
#define TERMINATE_NS	(2000 * MS)
#define WAIT_TRIES	20
#define WAIT_PAUSE_MS	50
#define BATCH		256

/*
 * Connects to whoever holds an id: the descriptor and who it is; or -1 and
 * ENOENT (nobody), EPERM (not for us), EAGAIN (too busy), or the host's error.
 */
static int
peer_open(uint32_t id, struct ucred *cred)
{
	struct sockaddr_un sun;
	socklen_t len = sizeof(*cred);
	unsigned sunlen = hostid_address(id, &sun);
	int fd, error = 0;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return (-1);
	if (connect(fd, (struct sockaddr *)&sun, sunlen) == -1)
		error = errno == ECONNREFUSED ? ENOENT : errno;
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &len) == -1)
		error = errno;
	else if (geteuid() != 0 && cred->uid != geteuid())
		error = EPERM;
	if (error != 0) {
		close(fd);
		errno = error;
		return (-1);
	}
	return (fd);
}

static bool
peer_ask(int fd, uint32_t command)
{
	const struct server_request sr = { SERVER_MAGIC, command };

	return (send(fd, &sr, sizeof(sr), MSG_DONTWAIT | MSG_NOSIGNAL) ==
	    (ssize_t)sizeof(sr));
}

/* An answer: 1 it is there, 0 not yet, -1 the other side has gone or is not
 * one of us. */
static int
peer_answer(int fd, struct server_reply *sp)
{
	ssize_t n = recv(fd, sp, sizeof(*sp), MSG_DONTWAIT);

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return (0);
	return (n == (ssize_t)sizeof(*sp) && sp->sp_magic == SERVER_MAGIC ?
	    1 : -1);
}

static int
ms_until(uint64_t deadline)
{
	uint64_t now = loop_now();

	return (now >= deadline ? 0 : (int)((deadline - now + MS - 1) / MS));
}

int
peer_exists(uint32_t id)
{
	struct ucred cred;
	int fd;

	if (id == 0)
		return (0);
	if ((fd = peer_open(id, &cred)) == -1)
		return (errno == EPERM || errno == EAGAIN ? EPERM : 0);
	close(fd);
	/* A VM of our own that is about to be gone. */
	return (cred.pid == getpid() ? 0 : EPERM);
}

int
peer_terminate(uint32_t id)
{
	const uint64_t deadline = loop_now() + TERMINATE_NS;
	struct server_reply sp;
	struct pollfd pfd;
	struct ucred cred;
	int answer = 0, left;

	if (id == 0)
		return (ENOENT);
	if ((pfd.fd = peer_open(id, &cred)) == -1)
		return (errno);
	pfd.events = POLLIN;
	if (!peer_ask(pfd.fd, SERVER_TERM))
		answer = -1;
	while (answer == 0 && (left = ms_until(deadline)) > 0) {
		(void)poll(&pfd, 1, left);
		answer = peer_answer(pfd.fd, &sp);
	}
	close(pfd.fd);
	if (answer == 0)
		return (ETIMEDOUT);
	/* Gone without a word: somebody else ended it first. */
	return (answer == -1 || sp.sp_error != 0 ? ENOENT : 0);
}

/*
 * Waits on one connection until its other side ends it: 0, EINTR, or what
 * peer_open() says.
 */
static int
wait_once(uint32_t id, int sigfd)
{
	struct server_reply sp;
	struct pollfd pfd[2];
	struct ucred cred;
	int error = 0;

	if ((pfd[0].fd = peer_open(id, &cred)) == -1)
		return (errno);
	pfd[0].events = POLLIN;
	pfd[1] = (struct pollfd){ .fd = sigfd, .events = POLLIN };
	if (peer_ask(pfd[0].fd, SERVER_WAIT))
		while (error == 0 && peer_answer(pfd[0].fd, &sp) >= 0) {
			if (poll(pfd, 2, -1) == -1 && errno != EINTR)
				error = errno;
			else if (pfd[1].revents != 0)
				error = EINTR;
		}
	close(pfd[0].fd);
	return (error);
}

int
peer_wait(const struct call *ca, uint32_t id)
{
	struct pollfd pfd = { .events = POLLIN };
	int error = 0, tries;

	if (id == 0)
		return (ENOENT);
	if ((pfd.fd = call_signalfd(ca)) == -1)
		return (errno);
	/*
	 * A connection that ends is the VM's end, or a process that has no
	 * room for more of them; and one that dies may lose its connections
	 * before the socket that it listens on. Asking again tells.
	 */
	for (tries = 0; error == 0 && tries < WAIT_TRIES; tries++) {
		if (tries > 1 && poll(&pfd, 1, WAIT_PAUSE_MS) > 0)
			error = EINTR;
		else
			error = wait_once(id, pfd.fd);
	}
	close(pfd.fd);
	if (error == ENOENT && tries > 1)
		return (0);
	return (error == 0 ? EAGAIN : error);
}

/* --- INFO ---------------------------------------------------------------- */

struct question {
	int		q_fd;		/* -1: done */
	bool		q_lives;	/* connected: a VM there is */
	struct ucred	q_cred;
};

/* What another process says of its VM, cut to what can be. */
static void
reply_take(struct vm_info_result *vir, const struct server_reply *sp)
{
	size_t i;

	*vir = sp->sp_info;
	vir->vir_name[sizeof(vir->vir_name) - 1] = '\0';
	if (vir->vir_ncpus > VMM_MAX_VCPUS_PER_VM)
		vir->vir_ncpus = VMM_MAX_VCPUS_PER_VM;
	for (i = 0; i < VMM_MAX_VCPUS_PER_VM; i++)
		if (vir->vir_vcpu_state[i] > VCPU_STATE_UNKNOWN)
			vir->vir_vcpu_state[i] = VCPU_STATE_UNKNOWN;
}

/* Asks n of them at once, n <= BATCH; q and vir are filled in. */
static void
describe_batch(const uint32_t *ids, size_t n, uint64_t deadline,
    struct question *q, struct vm_info_result *vir)
{
	struct pollfd pfd[BATCH];
	struct server_reply sp;
	size_t i, waiting = 0;
	int answer, left;

	for (i = 0; i < n; i++) {
		memset(&vir[i], 0, sizeof(vir[i]));
		memset(vir[i].vir_vcpu_state, VCPU_STATE_UNKNOWN,
		    sizeof(vir[i].vir_vcpu_state));
		q[i].q_fd = peer_open(ids[i], &q[i].q_cred);
		q[i].q_lives = q[i].q_fd != -1 && q[i].q_cred.pid != getpid() &&
		    peer_ask(q[i].q_fd, SERVER_INFO);
		pfd[i].fd = q[i].q_lives ? q[i].q_fd : -1;
		pfd[i].events = POLLIN;
		waiting += q[i].q_lives;
	}
	while (waiting > 0 && (left = ms_until(deadline)) > 0) {
		if (poll(pfd, n, left) <= 0)
			continue;
		for (i = 0; i < n; i++) {
			if (pfd[i].fd == -1 || pfd[i].revents == 0 ||
			    (answer = peer_answer(pfd[i].fd, &sp)) == 0)
				continue;
			pfd[i].fd = -1;
			waiting--;
			if (answer == 1 && sp.sp_error == 0)
				reply_take(&vir[i], &sp);
			else
				q[i].q_lives = false;
		}
	}
	for (i = 0; i < n; i++) {
		if (q[i].q_fd != -1)
			close(q[i].q_fd);
		vir[i].vir_id = ids[i];
		vir[i].vir_creator_pid = q[i].q_cred.pid;
	}
}

size_t
peer_describe(const uint32_t *ids, size_t n, struct vm_info_result *result)
{
	const uint64_t deadline = loop_now() + DESCRIBE_NS;
	struct question *q;
	struct vm_info_result *vir;
	size_t at, i, len, found = 0;

	q = calloc(BATCH, sizeof(*q));
	vir = calloc(BATCH, sizeof(*vir));
	for (at = 0; q != NULL && vir != NULL && at < n; at += len) {
		len = n - at < BATCH ? n - at : BATCH;
		describe_batch(ids + at, len, deadline, q, vir);
		for (i = 0; i < len; i++)
			if (q[i].q_lives)
				result[found++] = vir[i];
	}
	free(q);
	free(vir);
	return (found);
}
