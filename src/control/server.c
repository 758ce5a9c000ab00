/*
 * Connections on a loop, and the server that accepts them; see control.h.
 *
 * 1. A packet is sent at once or waits in its peer's queue, in order. The
 *    queue is bounded by CONTROL_UNREAD.
 * 2. A peer that is to end because of what it did is shut down; the loop then
 *    finds its end like any other. So co_gone is only ever called by the
 *    handler of the connection, or by control_server_free().
 * 3. A handler reads one packet: after co_message the peer may be gone.
 *
 * The loop's thread.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "control/control.h"
#include "control/packet.h"

#define ACCEPT_AGAIN_NS	100000000ull

struct packet {
	struct packet	*pk_next;
	char		*pk_text;
	size_t		 pk_len;
	int		 pk_fd[CONTROL_FDS];
	unsigned	 pk_nfds;
};

struct control_peer {
	struct loop	*pe_loop;	/* [I] */
	const struct control_ops *pe_ops;
	void		*pe_arg;	/* [I] */
	void		*pe_data;	/* the user's */
	struct control_credentials pe_who;	/* [I] */
	int		 pe_fd;		/* [I] */
	struct loop_fd	*pe_source;
	bool		 pe_dead;	/* shut down, its end is to come */
	struct packet	*pe_queue, **pe_tail;
	size_t		 pe_unread;	/* bytes in the queue */
	struct control_server *pe_server;	/* NULL: nobody's */
	struct control_peer *pe_next;	/* cs_peers */
};

struct control_server {
	struct loop	*cs_loop;	/* [I] */
	const struct control_ops *cs_ops;	/* [I] */
	void		*cs_arg;	/* [I] */
	char		*cs_path;	/* [I] NULL: not its own */
	dev_t		 cs_dev;	/* [I] of the socket file, */
	ino_t		 cs_ino;	/* [I] if it was bound */
	bool		 cs_bound;	/* [I] */
	int		 cs_fd;		/* [I] */
	struct loop_fd	*cs_source;
	struct loop_timer *cs_again;	/* accepting goes on */
	struct control_peer *cs_peers;
	unsigned	 cs_npeers;
};

/* --- sending ---------------------------------------------------------------- */

static void
packet_free(struct packet *pk)
{
	unsigned i;

	for (i = 0; i < pk->pk_nfds; i++)
		close(pk->pk_fd[i]);
	cJSON_free(pk->pk_text);
	free(pk);
}

static void
peer_drop_queue(struct control_peer *pe)
{
	struct packet *pk;

	while ((pk = pe->pe_queue) != NULL) {
		pe->pe_queue = pk->pk_next;
		packet_free(pk);
	}
	pe->pe_tail = &pe->pe_queue;
	pe->pe_unread = 0;
}

void
control_peer_shut(struct control_peer *pe)
{
	pe->pe_dead = true;
	peer_drop_queue(pe);
	loop_fd_events(pe->pe_source, EPOLLIN);
	(void)shutdown(pe->pe_fd, SHUT_RDWR);
}

/* Sends what waits, as far as the peer takes it. */
static void
peer_flush(struct control_peer *pe)
{
	struct packet *pk;

	while ((pk = pe->pe_queue) != NULL) {
		if (packet_send(pe->pe_fd, pk->pk_text, pk->pk_len, pk->pk_fd,
		    pk->pk_nfds, MSG_DONTWAIT) == -1) {
			if (errno == EPIPE || errno == ECONNRESET) {
				/* it is gone, and what it said before that
				 * is still to be read */
				peer_drop_queue(pe);
				break;
			}
			if (errno != EAGAIN) {
				control_peer_shut(pe);
				return;
			}
			break;
		}
		pe->pe_unread -= pk->pk_len;
		if ((pe->pe_queue = pk->pk_next) == NULL)
			pe->pe_tail = &pe->pe_queue;
		packet_free(pk);
	}
	loop_fd_events(pe->pe_source, EPOLLIN |
	    (pe->pe_queue != NULL ? (uint32_t)EPOLLOUT : 0));
}

/* A packet of it; NULL and errno. The object stays the caller's. */
static struct packet *
packet_new(const cJSON *json, const int *fds, unsigned nfds)
{
	struct packet *pk;
	int fd, error;

	if (nfds > CONTROL_FDS) {
		errno = EINVAL;
		return (NULL);
	}
	if ((pk = calloc(1, sizeof(*pk))) == NULL)
		return (NULL);
	if ((pk->pk_text = packet_text(json, &pk->pk_len)) == NULL)
		goto fail;
	while (pk->pk_nfds < nfds) {
		fd = fcntl(fds[pk->pk_nfds], F_DUPFD_CLOEXEC, 0);
		if (fd == -1)
			goto fail;
		pk->pk_fd[pk->pk_nfds++] = fd;
	}
	return (pk);
fail:
	error = errno;
	packet_free(pk);
	errno = error;
	return (NULL);
}

void
control_peer_send(struct control_peer *pe, cJSON *json, const int *fds,
    unsigned nfds)
{
	struct packet *pk;

	if (pe->pe_dead) {
		cJSON_Delete(json);
		return;
	}
	pk = packet_new(json, fds, nfds);
	if (pk == NULL)
		log_warn("a message could not be sent: %s", strerror(errno));
	cJSON_Delete(json);
	/* Without its answer the other side would wait for ever. */
	if (pk == NULL || pe->pe_unread + pk->pk_len > CONTROL_UNREAD) {
		if (pk != NULL)
			packet_free(pk);
		control_peer_shut(pe);
		return;
	}
	*pe->pe_tail = pk;
	pe->pe_tail = &pk->pk_next;
	pe->pe_unread += pk->pk_len;
	if (pe->pe_queue == pk)
		peer_flush(pe);
}

/* --- peers ------------------------------------------------------------------ */

const struct control_credentials *
control_peer_who(const struct control_peer *pe)
{
	return (&pe->pe_who);
}

int
control_peer_hold(const struct control_peer *pe)
{
	return (fcntl(pe->pe_fd, F_DUPFD_CLOEXEC, 0));
}

size_t
control_peer_groups(const struct control_peer *pe, gid_t *groups, size_t max)
{
	socklen_t len;

	if (max == 0)
		return (0);
	groups[0] = pe->pe_who.cc_gid;
	len = (socklen_t)((max - 1) * sizeof(*groups));
	if (getsockopt(pe->pe_fd, SOL_SOCKET, SO_PEERGROUPS, groups + 1,
	    &len) == -1)
		len = 0;	/* more than that: the first one counts */
	return (1 + len / sizeof(*groups));
}

void **
control_peer_data(struct control_peer *pe)
{
	return (&pe->pe_data);
}

/* Takes it out of its server, who may then accept again. */
static void
peer_unlink(struct control_peer *pe)
{
	struct control_server *cs = pe->pe_server;
	struct control_peer **p;

	if (cs == NULL)
		return;
	for (p = &cs->cs_peers; *p != pe; p = &(*p)->pe_next)
		assert(*p != NULL);
	*p = pe->pe_next;
	cs->cs_npeers--;
	pe->pe_server = NULL;
}

void
control_peer_ops(struct control_peer *pe, const struct control_ops *ops)
{
	pe->pe_ops = ops;
}

void
control_peer_free(struct control_peer *pe)
{
	if (pe == NULL)
		return;
	peer_unlink(pe);
	peer_drop_queue(pe);
	loop_fd_free(pe->pe_source);
	close(pe->pe_fd);
	free(pe);
}

static void
peer_gone(struct control_peer *pe)
{
	/* Nothing more is sent to it, nor does it count as connected. */
	pe->pe_dead = true;
	if (pe->pe_ops->co_gone != NULL)
		pe->pe_ops->co_gone(pe->pe_arg, pe);
	control_peer_free(pe);
}

static void
peer_event(void *arg, uint32_t events)
{
	struct control_peer *pe = arg;
	struct control_message cm;
	int n;

	if (events & EPOLLOUT)
		peer_flush(pe);
	if ((events & ~(uint32_t)EPOLLOUT) == 0)
		return;
	n = packet_receive(pe->pe_fd, &cm, MSG_DONTWAIT);
	if (n == -1 && errno == EAGAIN)
		return;
	if (n != 1) {
		peer_gone(pe);
		return;
	}
	if (!pe->pe_dead)
		pe->pe_ops->co_message(pe->pe_arg, pe, &cm);
	control_message_free(&cm);
}

struct control_peer *
control_peer_new(struct loop *loop, int fd, const struct control_ops *ops,
    void *arg, struct err *err)
{
	struct control_peer *pe;
	struct ucred ucred;
	socklen_t len = sizeof(ucred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &len) == -1) {
		err_sys(err, "cannot tell who connects");
		close(fd);
		return (NULL);
	}
	if ((pe = calloc(1, sizeof(*pe))) == NULL) {
		err_sys(err, "cannot keep a connection");
		close(fd);
		return (NULL);
	}
	pe->pe_loop = loop;
	pe->pe_ops = ops;
	pe->pe_arg = arg;
	pe->pe_fd = fd;
	pe->pe_who = (struct control_credentials){ .cc_uid = ucred.uid,
		.cc_gid = ucred.gid, .cc_pid = ucred.pid };
	pe->pe_tail = &pe->pe_queue;
	pe->pe_source = loop_fd_new(loop, fd, EPOLLIN, peer_event, pe);
	if (pe->pe_source == NULL) {
		err_sys(err, "cannot watch a connection");
		close(fd);
		free(pe);
		return (NULL);
	}
	return (pe);
}

/* --- the server --------------------------------------------------------------- */

/* May this user have one more connection? */
static bool
server_has_room(const struct control_server *cs, uid_t uid)
{
	const struct control_peer *pe;
	unsigned n = 0;

	if (uid == 0 || uid == geteuid())
		return (cs->cs_npeers < CONTROL_PEERS);
	for (pe = cs->cs_peers; pe != NULL; pe = pe->pe_next)
		n += pe->pe_who.cc_uid == uid;
	/* others leave room for those who may do everything */
	return (n < CONTROL_PEERS_USER && cs->cs_npeers < CONTROL_PEERS / 2);
}

static void
server_accept(void *arg, uint32_t events)
{
	struct control_server *cs = arg;
	struct control_peer *pe;
	int fd;

	(void)events;
	fd = accept4(cs->cs_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd == -1) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS) {
			loop_fd_events(cs->cs_source, 0);
			loop_timer_set(cs->cs_again, loop_now() +
			    ACCEPT_AGAIN_NS);
		}
		return;
	}
	pe = control_peer_new(cs->cs_loop, fd, cs->cs_ops, cs->cs_arg, NULL);
	if (pe == NULL)
		return;
	if (!server_has_room(cs, pe->pe_who.cc_uid)) {
		control_peer_free(pe);
		return;
	}
	pe->pe_server = cs;
	pe->pe_next = cs->cs_peers;
	cs->cs_peers = pe;
	cs->cs_npeers++;
}

static void
server_again(void *arg)
{
	struct control_server *cs = arg;

	loop_fd_events(cs->cs_source, EPOLLIN);
}

/* Nobody listens at a socket file that is there: it goes. */
static int
server_clear(const char *path, const struct sockaddr_un *sun, struct err *err)
{
	struct stat st;
	int fd, error;

	if (lstat(path, &st) == -1)
		return (errno == ENOENT ? 0 : err_sys(err, "%s", path));
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return (err_set(err, "%s is there and is no socket; move it "
		    "away", path));
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return (err_sys(err, "cannot make a socket"));
	error = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == -1 ?
	    errno : 0;
	close(fd);
	/* any other answer comes from somebody, a busy one included */
	if (error != ECONNREFUSED && error != ENOENT) {
		errno = EADDRINUSE;
		return (err_set(err, "%s: somebody serves there", path));
	}
	if (error == ECONNREFUSED && unlink(path) == -1 && errno != ENOENT)
		return (err_sys(err, "%s", path));
	return (0);
}

/* The folder is locked. */
static int
listen_locked(const char *path, mode_t mode, struct err *err)
{
	struct sockaddr_un sun;
	int fd, error;

	if (packet_address(&sun, path, err) == -1 ||
	    server_clear(path, &sun, err) == -1)
		return (-1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return (err_sys(err, "cannot make a socket"));
	/* The file is never more open than this, whatever the umask. */
	(void)fchmod(fd, mode);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0) {
		if (chmod(path, mode) == 0 && listen(fd, SOMAXCONN) == 0)
			return (fd);
		error = errno;
		(void)unlink(path);
		errno = error;
	}
	err_sys(err, "%s", path);
	error = errno;
	close(fd);
	errno = error;
	return (-1);
}

int
control_listen(const char *path, mode_t mode, struct err *err)
{
	char *copy = strdup(path);
	int dir, fd = -1, ret, error;

	if (copy == NULL)
		return (err_sys(err, "cannot listen"));
	dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (dir == -1)
		return (err_sys(err, "%s", path));
	/* Of several who come at once, one finds the path free. */
	while ((ret = flock(dir, LOCK_EX)) == -1 && errno == EINTR)
		continue;
	if (ret == -1)
		err_sys(err, "%s", path);
	else
		fd = listen_locked(path, mode, err);
	error = errno;
	close(dir);
	errno = error;
	return (fd);
}

struct control_server *
control_server_take(struct loop *loop, int fd, const struct control_ops *ops,
    void *arg, struct err *err)
{
	struct control_server *cs;
	int error;

	if ((cs = calloc(1, sizeof(*cs))) == NULL) {
		err_sys(err, "cannot make a server");
		close(fd);
		return (NULL);
	}
	cs->cs_loop = loop;
	cs->cs_ops = ops;
	cs->cs_arg = arg;
	cs->cs_fd = fd;
	cs->cs_source = loop_fd_new(loop, fd, EPOLLIN, server_accept, cs);
	cs->cs_again = loop_timer_new(loop, server_again, cs);
	if (cs->cs_source == NULL || cs->cs_again == NULL) {
		err_sys(err, "cannot make a server");
		error = errno;
		control_server_free(cs);
		errno = error;
		return (NULL);
	}
	return (cs);
}

struct control_server *
control_server_new(struct loop *loop, const char *path, mode_t mode,
    const struct control_ops *ops, void *arg, struct err *err)
{
	struct control_server *cs;
	struct stat st;
	int fd;

	if ((fd = control_listen(path, mode, err)) == -1)
		return (NULL);
	cs = control_server_take(loop, fd, ops, arg, err);
	if (cs == NULL) {
		(void)unlink(path);
		return (NULL);
	}
	/* without these the file stays, and is found stale by the next one */
	if ((cs->cs_path = strdup(path)) != NULL && stat(path, &st) == 0) {
		cs->cs_dev = st.st_dev;
		cs->cs_ino = st.st_ino;
		cs->cs_bound = true;
	}
	return (cs);
}

void
control_server_free(struct control_server *cs)
{
	struct stat st;

	if (cs == NULL)
		return;
	while (cs->cs_peers != NULL)
		peer_gone(cs->cs_peers);
	loop_fd_free(cs->cs_source);
	loop_timer_free(cs->cs_again);
	/* before it stops listening: a path without a listener is free */
	if (cs->cs_bound && lstat(cs->cs_path, &st) == 0 &&
	    st.st_dev == cs->cs_dev && st.st_ino == cs->cs_ino)
		(void)unlink(cs->cs_path);
	if (cs->cs_fd != -1)
		close(cs->cs_fd);
	free(cs->cs_path);
	free(cs);
}
