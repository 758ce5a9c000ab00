/*
 * A VM's console (console.h): one writer, the machine, and any number of
 * readers, who may come and go: the terminal (pty), and sockets.
 *
 * 1. The last CONSOLE_KEPT bytes that the machine has written are kept in a
 *    ring. A reader is a place in the stream of all that was ever written; a
 *    newcomer's is the oldest byte that is kept. Who is left behind by more
 *    than the ring skips what is gone: the machine never waits.
 * 2. The terminal is such a reader, too. We keep its other side open, so that
 *    nobody's closing it ends it.
 * 3. What readers write goes to the machine in the order in which it came.
 *    While the machine takes none, CONSOLE_INPUT bytes are held, and then the
 *    readers are not read.
 *
 * All on the thread of the loop.
 */
#include "vmd/console.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vmd/protocol.h"

#define CONSOLE_KEPT	PROTOCOL_CONSOLE_KEPT	/* a power of two */
#define CONSOLE_INPUT	4096u
#define CONSOLE_CHUNK	16384u	/* taken from the machine at once */

struct reader {
	struct reader	*r_next;
	struct console	*r_console;
	int		 r_fd;		/* non-blocking */
	bool		 r_tty;		/* else a socket */
	struct loop_fd	*r_source;
	uint64_t	 r_at;		/* next byte that it gets */
};

struct console {
	struct loop	*c_loop;	/* NULL: not started */
	int		 c_machine;	/* the machine's end */
	int		 c_fd;		/* ours, non-blocking */
	struct loop_fd	*c_source;
	int		 c_slave;	/* of the terminal */
	char		 c_tty[64];
	struct reader	*c_readers;	/* the terminal is the last */
	unsigned	 c_nreaders;
	uint64_t	 c_end;		/* bytes ever written */
	uint8_t		 c_kept[CONSOLE_KEPT];	/* the last of them */
	uint8_t		 c_input[CONSOLE_INPUT];
	size_t		 c_ninput;
};

/* --- to the readers ----------------------------------------------------------- */

static void
reader_free(struct reader *r)
{
	struct reader **at = &r->r_console->c_readers;

	while (*at != r)
		at = &(*at)->r_next;
	*at = r->r_next;
	r->r_console->c_nreaders--;
	loop_fd_free(r->r_source);
	close(r->r_fd);
	free(r);
}

/* What of the reader is of interest now. */
static void
reader_watch(struct reader *r)
{
	const struct console *c = r->r_console;

	if (r->r_source != NULL)
		loop_fd_events(r->r_source,
		    (c->c_ninput < CONSOLE_INPUT ? (uint32_t)EPOLLIN : 0) |
		    (r->r_at < c->c_end ? (uint32_t)EPOLLOUT : 0));
}

/* Gives the reader what it takes; false: it is gone, and freed. */
static bool
reader_feed(struct reader *r)
{
	const struct console *c = r->r_console;
	size_t at, len;
	ssize_t n;

	if (c->c_end - r->r_at > CONSOLE_KEPT)
		r->r_at = c->c_end - CONSOLE_KEPT;
	while (r->r_at < c->c_end) {
		at = r->r_at % CONSOLE_KEPT;
		len = CONSOLE_KEPT - at;
		if (len > c->c_end - r->r_at)
			len = c->c_end - r->r_at;
		n = r->r_tty ? write(r->r_fd, c->c_kept + at, len) :
		    send(r->r_fd, c->c_kept + at, len, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN)
			break;
		if (n == -1) {
			reader_free(r);
			return (false);
		}
		r->r_at += (size_t)n;
	}
	reader_watch(r);
	return (true);
}

static void
keep(struct console *c, const uint8_t *bytes, size_t len)
{
	size_t at, n;

	while (len > 0) {
		at = c->c_end % CONSOLE_KEPT;
		n = CONSOLE_KEPT - at < len ? CONSOLE_KEPT - at : len;
		memcpy(c->c_kept + at, bytes, n);
		c->c_end += n;
		bytes += n;
		len -= n;
	}
}

/* Takes what the machine has written, up to a bound; was there any? */
static bool
machine_output(struct console *c)
{
	uint8_t bytes[CONSOLE_CHUNK];
	struct reader *r, *next;
	ssize_t n;

	do
		n = read(c->c_fd, bytes, sizeof(bytes));
	while (n == -1 && errno == EINTR);
	if (n <= 0)
		return (false);
	keep(c, bytes, (size_t)n);
	for (r = c->c_readers; r != NULL; r = next) {
		next = r->r_next;
		(void)reader_feed(r);
	}
	return (true);
}

/* --- to the machine ----------------------------------------------------------- */

/* Sends what is held; whether there is room now decides who is read. */
static void
machine_input(struct console *c)
{
	struct reader *r;
	size_t sent = 0;
	ssize_t n;

	while (sent < c->c_ninput) {
		n = send(c->c_fd, c->c_input + sent, c->c_ninput - sent,
		    MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			break;
		sent += (size_t)n;
	}
	memmove(c->c_input, c->c_input + sent, c->c_ninput - sent);
	c->c_ninput -= sent;
	loop_fd_events(c->c_source, (uint32_t)EPOLLIN |
	    (c->c_ninput > 0 ? (uint32_t)EPOLLOUT : 0));
	for (r = c->c_readers; r != NULL; r = r->r_next)
		reader_watch(r);
}

static void
on_machine(void *arg, uint32_t events)
{
	struct console *c = arg;

	if (events & EPOLLIN)
		(void)machine_output(c);
	if (events & EPOLLOUT)
		machine_input(c);
}

static void
on_reader(void *arg, uint32_t events)
{
	struct reader *r = arg;
	struct console *c = r->r_console;
	ssize_t n;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = CONSOLE_INPUT - c->c_ninput == 0 ? -1 : read(r->r_fd,
		    c->c_input + c->c_ninput, CONSOLE_INPUT - c->c_ninput);
		if (n == 0 || (n == -1 && (events & (EPOLLHUP | EPOLLERR)))) {
			reader_free(r);
			return;
		}
		if (n > 0) {
			c->c_ninput += (size_t)n;
			machine_input(c);
		}
	}
	if (events & EPOLLOUT)
		(void)reader_feed(r);
}

/* --- readers ------------------------------------------------------------------ */

static int
reader_watched(struct reader *r)
{
	r->r_source = loop_fd_new(r->r_console->c_loop, r->r_fd, EPOLLIN,
	    on_reader, r);
	return (r->r_source == NULL ? -1 : 0);
}

/* fd, non-blocking, becomes a reader's: NULL and errno. */
static struct reader *
reader_new(struct console *c, int fd, bool tty)
{
	struct reader *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return (NULL);
	r->r_console = c;
	r->r_fd = fd;
	r->r_tty = tty;
	r->r_at = c->c_end > CONSOLE_KEPT ? c->c_end - CONSOLE_KEPT : 0;
	if (c->c_loop != NULL && reader_watched(r) == -1) {
		free(r);
		return (NULL);
	}
	r->r_next = c->c_readers;
	c->c_readers = r;
	c->c_nreaders++;
	return (r);
}

int
console_attach(struct console *c)
{
	int fd[2], error;
	struct reader *r;

	if (c->c_nreaders > CONSOLE_READERS) {
		errno = EUSERS;
		return (-1);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == -1)
		return (-1);
	if (fcntl(fd[0], F_SETFL, O_NONBLOCK) == -1 ||
	    (r = reader_new(c, fd[0], false)) == NULL) {
		error = errno;
		close(fd[0]);
		close(fd[1]);
		errno = error;
		return (-1);
	}
	(void)reader_feed(r);
	return (fd[1]);
}

/* --- life --------------------------------------------------------------------- */

/* The terminal is its owner's. Who may not give it away has it himself, which
 * is what was wanted unless he is to be somebody else. */
static void
tty_give(int slave, const struct config_owner *owner)
{
	(void)fchmod(slave, owner->co_group_set ? 0660 : 0620);
	if (fchown(slave, owner->co_user_set ? owner->co_user : (uid_t)-1,
	    owner->co_group_set ? owner->co_group : (gid_t)-1) == -1)
		return;
}

static int
tty_new(struct console *c, const struct config_owner *owner, struct err *err)
{
	struct termios raw;
	int master;

	if (openpty(&master, &c->c_slave, NULL, NULL, NULL) == -1)
		return (err_sys(err, "cannot make a terminal for the console"));
	(void)fcntl(master, F_SETFD, FD_CLOEXEC);
	(void)fcntl(c->c_slave, F_SETFD, FD_CLOEXEC);
	if (fcntl(master, F_SETFL, O_NONBLOCK) == -1 ||
	    ttyname_r(c->c_slave, c->c_tty, sizeof(c->c_tty)) != 0 ||
	    tcgetattr(c->c_slave, &raw) == -1 ||
	    reader_new(c, master, true) == NULL) {
		close(master);
		return (err_sys(err, "cannot set the console's terminal up"));
	}
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	(void)tcsetattr(c->c_slave, TCSANOW, &raw);
	tty_give(c->c_slave, owner);
	return (0);
}

struct console *
console_new(const struct config_owner *owner, struct err *err)
{
	struct console *c;
	int fd[2];

	if ((c = calloc(1, sizeof(*c))) == NULL) {
		err_sys(err, "cannot make a console");
		return (NULL);
	}
	c->c_machine = c->c_fd = c->c_slave = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == -1) {
		err_sys(err, "cannot make a console");
		console_free(c);
		return (NULL);
	}
	c->c_machine = fd[0];
	c->c_fd = fd[1];
	if (fcntl(c->c_fd, F_SETFL, O_NONBLOCK) == -1 ||
	    tty_new(c, owner, err) == -1) {
		console_free(c);
		return (NULL);
	}
	return (c);
}

int
console_fd(const struct console *c)
{
	return (c->c_machine);
}

int
console_start(struct console *c, struct loop *loop, struct err *err)
{
	struct reader *r;

	c->c_loop = loop;
	c->c_source = loop_fd_new(loop, c->c_fd, EPOLLIN, on_machine, c);
	if (c->c_source == NULL)
		return (err_sys(err, "cannot watch the console"));
	for (r = c->c_readers; r != NULL; r = r->r_next)
		if (reader_watched(r) == -1)
			return (err_sys(err, "cannot watch the console"));
	return (0);
}

const char *
console_tty(const struct console *c)
{
	return (c->c_tty);
}

void
console_free(struct console *c)
{
	if (c == NULL)
		return;
	while (c->c_fd != -1 && machine_output(c))
		;
	while (c->c_readers != NULL)
		reader_free(c->c_readers);
	loop_fd_free(c->c_source);
	if (c->c_slave != -1)
		close(c->c_slave);
	if (c->c_fd != -1)
		close(c->c_fd);
	if (c->c_machine != -1)
		close(c->c_machine);
	free(c);
}
