/*
 * The server: answers other processes about this process's VMs, on the one
 * thread that the monitor has, which is the clock's, too.
 *
 * 1. The thread exists while there is a listener: the first VM starts it, and
 *    it goes by itself when the last VM has gone. A CREATE meanwhile starts a
 *    new one; server_now is the one that takes listeners.
 * 2. Listeners and connections are changed under server_lock, so that fork(2)
 *    finds them whole: the child closes its copies, else a VM's socket would
 *    outlive its process. Their loop sources belong to the thread alone.
 * 3. Only our own user and root are served.
 *
 * server_add(), server_drop(): any thread. Everything else: the thread, which
 * blocks all signals.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "vmm/monitor.h"

#define CONNECTIONS_MAX	256	/* a VM */
#define RETRY_NS	100000000ull

struct connection {
	struct listener	*co_listener;
	int		 co_fd;
	struct loop_fd	*co_source;
	struct connection *co_next;
};

struct listener {
	struct server	*li_server;
	uint32_t	 li_id;
	int		 li_fd;
	struct loop_fd	*li_source;	/* NULL until the thread knows it */
	bool		 li_dropped;
	unsigned	 li_nconnections;
	struct connection *li_connections;
	struct listener	*li_next;
};

struct server {
	struct loop	*se_loop;
	struct loop_timer *se_sync;	/* fires when listeners changed */
	struct loop_timer *se_clock;
	struct listener	*se_listeners;
};

static pthread_mutex_t server_lock = PTHREAD_MUTEX_INITIALIZER;
static struct server *server_now;	/* server_lock */
static pthread_once_t server_once = PTHREAD_ONCE_INIT;

/* --- fork ---------------------------------------------------------------- */

static void
server_fork_prepare(void)
{
	pthread_mutex_lock(&server_lock);
}

static void
server_fork_parent(void)
{
	pthread_mutex_unlock(&server_lock);
}

static void
server_fork_child(void)
{
	struct connection *co;
	struct listener *li;

	if (server_now != NULL)
		for (li = server_now->se_listeners; li != NULL;
		    li = li->li_next) {
			close(li->li_fd);
			for (co = li->li_connections; co != NULL;
			    co = co->co_next)
				close(co->co_fd);
		}
	server_now = NULL;
	pthread_mutex_unlock(&server_lock);
}

static void
server_once_init(void)
{
	/* Handlers run last one first, and the server's lock is the outer. */
	clock_init();
	pthread_atfork(server_fork_prepare, server_fork_parent,
	    server_fork_child);
}

/* --- connections --------------------------------------------------------- */

static void
connection_free(struct connection *co)
{
	struct listener *li = co->co_listener;
	struct connection **p;

	loop_fd_free(co->co_source);
	pthread_mutex_lock(&server_lock);
	for (p = &li->li_connections; *p != co; p = &(*p)->co_next)
		continue;
	*p = co->co_next;
	li->li_nconnections--;
	close(co->co_fd);
	pthread_mutex_unlock(&server_lock);
	free(co);
}

/* A request, or the end of the connection. */
static void
connection_event(void *arg, uint32_t events)
{
	struct connection *co = arg;
	struct listener *li = co->co_listener;
	struct server_request sr;
	struct server_reply sp;
	ssize_t n;

	(void)events;
	n = recv(co->co_fd, &sr, sizeof(sr), MSG_DONTWAIT);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof(sr) || sr.sr_magic != SERVER_MAGIC) {
		connection_free(co);
		return;
	}
	memset(&sp, 0, sizeof(sp));
	sp.sp_magic = SERVER_MAGIC;
	switch (sr.sr_command) {
	case SERVER_INFO:
		sp.sp_error = (uint32_t)vm_describe(li->li_id, &sp.sp_info);
		break;
	case SERVER_TERM:
		sp.sp_error = (uint32_t)vm_terminate(li->li_id);
		break;
	case SERVER_WAIT:
		break;
	default:
		sp.sp_error = EINVAL;
		break;
	}
	/* The other side waits for this one message: there is room. */
	if (send(co->co_fd, &sp, sizeof(sp), MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    (ssize_t)sizeof(sp))
		connection_free(co);
}

/* May that process have something of ours done? */
static bool
connection_allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	    (cred.uid == geteuid() || cred.uid == 0));
}

static void
listener_event(void *arg, uint32_t events)
{
	struct listener *li = arg;
	struct connection *co;
	int fd;

	(void)events;
	pthread_mutex_lock(&server_lock);
	fd = accept4(li->li_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd == -1) {
		/* Out of descriptors: again in a while, without spinning. */
		if (errno == EMFILE || errno == ENFILE) {
			loop_fd_events(li->li_source, 0);
			loop_timer_set(li->li_server->se_sync,
			    loop_now() + RETRY_NS);
		}
		pthread_mutex_unlock(&server_lock);
		return;
	}
	co = NULL;
	if (!li->li_dropped && connection_allowed(fd) &&
	    li->li_nconnections < CONNECTIONS_MAX)
		co = calloc(1, sizeof(*co));
	if (co != NULL) {
		co->co_listener = li;
		co->co_fd = fd;
		co->co_next = li->li_connections;
		li->li_connections = co;
		li->li_nconnections++;
	} else
		close(fd);
	pthread_mutex_unlock(&server_lock);
	if (co == NULL)
		return;
	co->co_source = loop_fd_new(li->li_server->se_loop, fd, EPOLLIN,
	    connection_event, co);
	if (co->co_source == NULL)
		connection_free(co);
}

/* --- listeners ----------------------------------------------------------- */

/* The first listener whose VM has ended, or NULL. */
static struct listener *
server_dropped(struct server *se)
{
	struct listener *li;

	pthread_mutex_lock(&server_lock);
	for (li = se->se_listeners; li != NULL; li = li->li_next)
		if (li->li_dropped)
			break;
	pthread_mutex_unlock(&server_lock);
	return (li);
}

static void
listener_free(struct listener *li)
{
	struct listener **p;

	while (li->li_connections != NULL)
		connection_free(li->li_connections);
	loop_fd_free(li->li_source);
	pthread_mutex_lock(&server_lock);
	for (p = &li->li_server->se_listeners; *p != li; p = &(*p)->li_next)
		continue;
	*p = li->li_next;
	close(li->li_fd);
	pthread_mutex_unlock(&server_lock);
	free(li);
}

/*
 * Brings the loop's sources in line with the listeners; the last one gone,
 * ends the thread.
 */
static void
server_sync(void *arg)
{
	struct server *se = arg;
	struct listener *li;

	while ((li = server_dropped(se)) != NULL)
		listener_free(li);
	pthread_mutex_lock(&server_lock);
	for (li = se->se_listeners; li != NULL; li = li->li_next) {
		if (li->li_source == NULL)
			li->li_source = loop_fd_new(se->se_loop, li->li_fd,
			    EPOLLIN, listener_event, li);
		else
			loop_fd_events(li->li_source, EPOLLIN);
	}
	if (se->se_listeners == NULL) {
		if (server_now == se)
			server_now = NULL;
		loop_stop(se->se_loop);
	}
	pthread_mutex_unlock(&server_lock);
}

static void
server_free(struct server *se)
{
	clock_stop(se->se_clock);
	loop_timer_free(se->se_sync);
	loop_free(se->se_loop);
	free(se);
}

static void *
server_main(void *arg)
{
	struct server *se = arg;

	(void)loop_run(se->se_loop);
	server_free(se);
	return (NULL);
}

/* A new server with its thread, which inherits that signals are blocked. */
static struct server *
server_new(void)
{
	struct server *se;
	pthread_attr_t attr;
	pthread_t thread;
	int error = ENOMEM;

	if ((se = calloc(1, sizeof(*se))) == NULL)
		return (NULL);
	if ((se->se_loop = loop_new()) != NULL &&
	    (se->se_sync = loop_timer_new(se->se_loop, server_sync, se)) !=
	    NULL && (se->se_clock = clock_start(se->se_loop)) != NULL &&
	    pthread_attr_init(&attr) == 0) {
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		error = pthread_create(&thread, &attr, server_main, se);
		pthread_attr_destroy(&attr);
	}
	if (error != 0) {
		server_free(se);
		return (NULL);
	}
	pthread_setname_np(thread, "vmm");
	return (se);
}

int
server_add(uint32_t id, int fd)
{
	struct listener *li;

	pthread_once(&server_once, server_once_init);
	li = calloc(1, sizeof(*li));
	pthread_mutex_lock(&server_lock);
	if (li != NULL && server_now == NULL)
		server_now = server_new();
	if (li == NULL || server_now == NULL) {
		close(fd);
		pthread_mutex_unlock(&server_lock);
		free(li);
		return (ENOMEM);
	}
	li->li_server = server_now;
	li->li_id = id;
	li->li_fd = fd;
	li->li_next = server_now->se_listeners;
	server_now->se_listeners = li;
	loop_timer_set(server_now->se_sync, 0);
	pthread_mutex_unlock(&server_lock);
	return (0);
}

void
server_drop(uint32_t id)
{
	struct listener *li;

	pthread_mutex_lock(&server_lock);
	li = server_now != NULL ? server_now->se_listeners : NULL;
	while (li != NULL && (li->li_id != id || li->li_dropped))
		li = li->li_next;
	if (li != NULL) {
		li->li_dropped = true;
		/* Nobody finds it from now on, whenever the thread closes it */
		shutdown(li->li_fd, SHUT_RDWR);
		loop_timer_set(server_now->se_sync, 0);
	}
	pthread_mutex_unlock(&server_lock);
}
