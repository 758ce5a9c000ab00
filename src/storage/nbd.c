/*
 * Disks on a server that speaks NBD, by libnbd: remote ones, and of any format
 * that a server knows.
 *
 * Invariants:
 * 1. One thread of ours (the "link") alone calls libnbd after opening. The
 *    calls of the image queue a command and wait for it; so there are as many
 *    under way as threads in these calls.
 * 2. A command is queued, under way or done. When the connection breaks, those
 *    under way are queued again: all of them may be done twice. A new
 *    connection is tried until the command has waited for NBD_PATIENCE; then
 *    it fails.
 * 3. A server that comes back may have lost what it had not flushed, so the
 *    flush after a break fails, if anything had been written since the last.
 *
 * Threads: any; those of the image block.
 */
#include <sys/eventfd.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "storage/image.h"
#include "storage/iov.h"
#include "storage/libnbd.h"

#define SECTOR		512u
#define SECOND		1000000000ULL
#define NBD_PATIENCE	(30 * SECOND)
#define NBD_CONNECT	(10 * SECOND)	/* for one try */
#define NBD_PAUSE	(SECOND / 2)	/* between tries */
#define NBD_DATA_MAX	(16u << 20)	/* of one command */
#define NBD_RANGE_MAX	(1u << 30)

enum nbd_kind { NBD_READ, NBD_WRITE, NBD_FLUSH, NBD_TRIM, NBD_ZERO };

struct nbd_cmd {
	enum nbd_kind	 nc_kind;
	uint64_t	 nc_offset, nc_len;
	void		*nc_buf;
	uint32_t	 nc_flags;
	uint64_t	 nc_deadline;
	uint64_t	 nc_covers;	/* FLUSH: so many writes */
	struct nbd	*nc_nbd;
	bool		 nc_done;	/* [m] */
	int		 nc_error;	/* [m] */
	struct nbd_cmd	*nc_next;	/* [m] in the queue */
};

struct nbd {
	struct libnbd	 n_lib;		/* [I] */
	const char	*n_uri;		/* [I] the image's */
	uint64_t	 n_size;	/* [I] */
	bool		 n_readonly;	/* [I] */
	bool		 n_flush, n_trim, n_zero;	/* [I] it knows how */
	uint64_t	 n_data_max;	/* [I] */
	int		 n_wake;	/* [I] eventfd */
	pthread_t	 n_thread;	/* [I] */

	pthread_mutex_t	 n_lock;
	pthread_cond_t	 n_done;
	struct nbd_cmd	*n_queue;	/* [m] first in */
	struct nbd_cmd	**n_tail;	/* [m] */
	bool		 n_closing;	/* [m] */
	uint64_t	 n_written;	/* [m] writes done */
	uint64_t	 n_flushed;	/* [m] of them, flushed */
	bool		 n_unsure;	/* [m] others were, and it broke */

	/* the link's own */
	struct nbd_handle *n_handle;	/* NULL: there is no connection */
	bool		 n_ready;	/* it is made */
	bool		 n_broken;	/* a command says so */
	uint64_t	 n_since;	/* of the try under way, or the last */
};

static struct nbd *
nbd_of(struct image *im)
{
	return (im->im_private);
}

/* --- commands ------------------------------------------------------------- */

/* [locked] */
static void
nbd_enqueue(struct nbd *n, struct nbd_cmd *c)
{
	c->nc_next = NULL;
	*n->n_tail = c;
	n->n_tail = &c->nc_next;
}

/* [locked] */
static void
nbd_finish(struct nbd *n, struct nbd_cmd *c, int error)
{
	if (c->nc_kind == NBD_FLUSH && error == 0) {
		n->n_flushed = c->nc_covers;
		if (n->n_unsure)
			error = EIO;
		n->n_unsure = false;
	} else if (c->nc_kind == NBD_WRITE || c->nc_kind == NBD_ZERO)
		n->n_written++;
	c->nc_error = error;
	c->nc_done = true;
	pthread_cond_broadcast(&n->n_done);
}

/* libnbd calls this on the link's thread, once for each command. */
static int
nbd_completed(void *arg, int *error)
{
	struct nbd_cmd *c = arg;
	struct nbd *n = c->nc_nbd;

	pthread_mutex_lock(&n->n_lock);
	if (*error == ENOTCONN || *error == ESHUTDOWN) {
		n->n_broken = true;
		nbd_enqueue(n, c);
	} else
		nbd_finish(n, c, *error);
	pthread_mutex_unlock(&n->n_lock);
	return (1);		/* libnbd need not keep it */
}

static int64_t
nbd_issue(struct nbd_handle *h, struct nbd_cmd *c)
{
	const struct libnbd *lib = &c->nc_nbd->n_lib;
	nbd_completion_callback done = { .callback = nbd_completed,
	    .user_data = c };

	switch (c->nc_kind) {
	case NBD_READ:
		return (lib->nbd_aio_pread(h, c->nc_buf, c->nc_len,
		    c->nc_offset, done, c->nc_flags));
	case NBD_WRITE:
		return (lib->nbd_aio_pwrite(h, c->nc_buf, c->nc_len,
		    c->nc_offset, done, c->nc_flags));
	case NBD_TRIM:
		return (lib->nbd_aio_trim(h, c->nc_len, c->nc_offset, done,
		    c->nc_flags));
	case NBD_ZERO:
		return (lib->nbd_aio_zero(h, c->nc_len, c->nc_offset, done,
		    c->nc_flags));
	case NBD_FLUSH:
	default:
		return (lib->nbd_aio_flush(h, done, c->nc_flags));
	}
}

/* Queues a command and waits for it. */
static int
nbd_do(struct nbd *n, enum nbd_kind kind, uint64_t offset, void *buf,
    uint64_t len, uint32_t flags)
{
	struct nbd_cmd c = { .nc_kind = kind, .nc_offset = offset,
	    .nc_len = len, .nc_buf = buf, .nc_flags = flags, .nc_nbd = n,
	    .nc_deadline = loop_now() + NBD_PATIENCE };
	uint64_t one = 1;

	pthread_mutex_lock(&n->n_lock);
	c.nc_covers = n->n_written;
	nbd_enqueue(n, &c);
	pthread_mutex_unlock(&n->n_lock);
	if (write(n->n_wake, &one, sizeof(one)) != sizeof(one))
		log_warn("disk %s: eventfd: %s", n->n_uri, strerror(errno));
	pthread_mutex_lock(&n->n_lock);
	while (!c.nc_done)
		pthread_cond_wait(&n->n_done, &n->n_lock);
	pthread_mutex_unlock(&n->n_lock);
	return (c.nc_error);
}

/* --- the link ------------------------------------------------------------- */

static void
link_down(struct nbd *n)
{
	if (n->n_handle == NULL)
		return;
	if (n->n_ready) {
		LOG_GUEST("disk %s: the server is gone; trying again",
		    n->n_uri);
		pthread_mutex_lock(&n->n_lock);
		n->n_unsure |= n->n_written != n->n_flushed;
		pthread_mutex_unlock(&n->n_lock);
	}
	/* its commands are queued again */
	n->n_lib.nbd_close(n->n_handle);
	n->n_handle = NULL;
	n->n_ready = n->n_broken = false;
	n->n_since = loop_now();
}

static void
link_up(struct nbd *n)
{
	n->n_since = loop_now();
	if ((n->n_handle = n->n_lib.nbd_create()) != NULL &&
	    n->n_lib.nbd_aio_connect_uri(n->n_handle, n->n_uri) == -1)
		link_down(n);
}

/* Is what came back what had gone? */
static bool
link_same(struct nbd *n)
{
	int64_t size = n->n_lib.nbd_get_size(n->n_handle);

	if (size >= 0 && (uint64_t)size == n->n_size &&
	    (n->n_readonly || n->n_lib.nbd_is_read_only(n->n_handle) == 0))
		return (true);
	LOG_GUEST("disk %s: the server came back with another disk",
	    n->n_uri);
	return (false);
}

static void
link_issue(struct nbd *n)
{
	struct nbd_cmd *c;

	while (!n->n_broken) {
		pthread_mutex_lock(&n->n_lock);
		if ((c = n->n_queue) != NULL &&
		    (n->n_queue = c->nc_next) == NULL)
			n->n_tail = &n->n_queue;
		pthread_mutex_unlock(&n->n_lock);
		if (c == NULL)
			return;
		/* It is libnbd's from here on, unless that refuses it. */
		if (nbd_issue(n->n_handle, c) != -1)
			continue;
		pthread_mutex_lock(&n->n_lock);
		if (n->n_lib.nbd_aio_is_dead(n->n_handle) == 1 ||
		    n->n_lib.nbd_aio_is_closed(n->n_handle) == 1) {
			n->n_broken = true;
			nbd_enqueue(n, c);
		} else
			nbd_finish(n, c, n->n_lib.nbd_get_errno() > 0 ?
			    n->n_lib.nbd_get_errno() : EIO);
		pthread_mutex_unlock(&n->n_lock);
	}
}

/* Commands that have waited too long for a connection. */
static void
link_expire(struct nbd *n, uint64_t now)
{
	struct nbd_cmd *c, **prev;

	pthread_mutex_lock(&n->n_lock);
	for (prev = &n->n_queue; (c = *prev) != NULL; ) {
		if (now < c->nc_deadline) {
			prev = &c->nc_next;
			continue;
		}
		*prev = c->nc_next;
		nbd_finish(n, c, EIO);
	}
	n->n_tail = prev;
	pthread_mutex_unlock(&n->n_lock);
}

/* Waits until the server or a command wants something. */
static void
link_wait(struct nbd *n, int timeout)
{
	struct pollfd p[2] = { { .fd = n->n_wake, .events = POLLIN },
	    { .fd = -1 } };
	unsigned direction;
	uint64_t count;

	if (n->n_handle != NULL) {
		p[1].fd = n->n_lib.nbd_aio_get_fd(n->n_handle);
		direction = n->n_lib.nbd_aio_get_direction(n->n_handle);
		if (direction & LIBNBD_AIO_DIRECTION_READ)
			p[1].events |= POLLIN;
		if (direction & LIBNBD_AIO_DIRECTION_WRITE)
			p[1].events |= POLLOUT;
	}
	if (poll(p, 2, timeout) == -1)
		return;
	if (p[0].revents & POLLIN)
		(void)!read(n->n_wake, &count, sizeof(count));
	if (n->n_handle == NULL || p[1].revents == 0)
		return;
	/* The state may change with each of them. */
	if ((p[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
	    (n->n_lib.nbd_aio_get_direction(n->n_handle) &
	    LIBNBD_AIO_DIRECTION_READ) != 0)
		(void)n->n_lib.nbd_aio_notify_read(n->n_handle);
	else if ((p[1].revents & (POLLOUT | POLLHUP | POLLERR)) != 0 &&
	    (n->n_lib.nbd_aio_get_direction(n->n_handle) &
	    LIBNBD_AIO_DIRECTION_WRITE) != 0)
		(void)n->n_lib.nbd_aio_notify_write(n->n_handle);
	if ((p[1].revents & POLLNVAL) != 0)
		n->n_broken = true;
}

/* What the connection has come to. */
static void
link_state(struct nbd *n, uint64_t now)
{
	bool wanted;

	pthread_mutex_lock(&n->n_lock);
	wanted = n->n_queue != NULL;
	pthread_mutex_unlock(&n->n_lock);
	if (n->n_handle == NULL) {
		if (wanted && now >= n->n_since + NBD_PAUSE)
			link_up(n);
		return;
	}
	if (n->n_broken || n->n_lib.nbd_aio_is_dead(n->n_handle) == 1 ||
	    n->n_lib.nbd_aio_is_closed(n->n_handle) == 1) {
		link_down(n);
	} else if (!n->n_ready &&
	    n->n_lib.nbd_aio_is_connecting(n->n_handle) == 0 &&
	    (n->n_lib.nbd_aio_is_ready(n->n_handle) == 1 ||
	    n->n_lib.nbd_aio_is_processing(n->n_handle) == 1)) {
		if (link_same(n)) {
			n->n_ready = true;
			log_info("disk %s: the server is back", n->n_uri);
		} else
			link_down(n);
	} else if (!n->n_ready && now >= n->n_since + NBD_CONNECT)
		link_down(n);
}

static void *
link_thread(void *arg)
{
	struct nbd *n = arg;
	bool closing, waiting;
	uint64_t now;

	for (;;) {
		now = loop_now();
		link_state(n, now);
		if (n->n_ready)
			link_issue(n);
		else
			link_expire(n, now);
		pthread_mutex_lock(&n->n_lock);
		closing = n->n_closing;
		waiting = n->n_queue != NULL;
		pthread_mutex_unlock(&n->n_lock);
		if (closing)
			break;
		if (n->n_ready && !n->n_broken)
			link_wait(n, -1);
		else if (!n->n_broken)
			link_wait(n, waiting || n->n_handle != NULL ?
			    (int)(NBD_PAUSE / 1000000) : -1);
	}
	return (NULL);
}

/* --- the table of calls --------------------------------------------------- */

/* Data in pieces that the server takes; several buffers by way of one. */
static int
nbd_move(struct nbd *n, enum nbd_kind kind, uint64_t offset,
    const struct iovec *iov, int niov)
{
	uint64_t len = iov_length(iov, niov), done, piece;
	uint8_t *buf = niov == 1 ? iov->iov_base : malloc(len);
	int error = 0;

	if (buf == NULL)
		return (ENOMEM);
	if (niov != 1 && kind == NBD_WRITE)
		iov_gather(iov, niov, buf, len);
	for (done = 0; done < len && error == 0; done += piece) {
		piece = len - done < n->n_data_max ? len - done :
		    n->n_data_max;
		error = nbd_do(n, kind, offset + done, buf + done, piece, 0);
	}
	if (niov != 1) {
		if (kind == NBD_READ && error == 0)
			iov_scatter(iov, niov, buf, len);
		free(buf);
	}
	return (error);
}

static int
nbd_io_read(struct image *im, uint64_t offset, const struct iovec *iov,
    int niov)
{
	return (nbd_move(nbd_of(im), NBD_READ, offset, iov, niov));
}

static int
nbd_io_write(struct image *im, uint64_t offset, const struct iovec *iov,
    int niov)
{
	return (nbd_move(nbd_of(im), NBD_WRITE, offset, iov, niov));
}

static int
nbd_io_flush(struct image *im)
{
	struct nbd *n = nbd_of(im);

	return (n->n_flush ? nbd_do(n, NBD_FLUSH, 0, NULL, 0, 0) : 0);
}

static int
nbd_range(struct nbd *n, enum nbd_kind kind, uint64_t offset, uint64_t len,
    uint32_t flags)
{
	uint64_t done, piece;
	int error = 0;

	for (done = 0; done < len && error == 0; done += piece) {
		piece = len - done < NBD_RANGE_MAX ? len - done :
		    NBD_RANGE_MAX;
		error = nbd_do(n, kind, offset + done, NULL, piece, flags);
	}
	return (error);
}

static int
nbd_io_discard(struct image *im, uint64_t offset, uint64_t len)
{
	struct nbd *n = nbd_of(im);

	/* It is a hint. */
	return (n->n_trim ? nbd_range(n, NBD_TRIM, offset, len, 0) : 0);
}

static int
nbd_io_zero(struct image *im, uint64_t offset, uint64_t len, bool unmap)
{
	struct nbd *n = nbd_of(im);
	uint64_t done, piece;
	void *zeros;
	int error = 0;

	if (n->n_zero)
		return (nbd_range(n, NBD_ZERO, offset, len, unmap ? 0 :
		    LIBNBD_CMD_FLAG_NO_HOLE));
	piece = len < 1 << 20 ? len : 1 << 20;
	if ((zeros = calloc(1, piece)) == NULL)
		return (ENOMEM);
	for (done = 0; done < len && error == 0; done += piece) {
		if (piece > len - done)
			piece = len - done;
		error = nbd_do(n, NBD_WRITE, offset + done, zeros, piece, 0);
	}
	free(zeros);
	return (error);
}

static void
nbd_free(struct nbd *n)
{
	if (n->n_handle != NULL)
		n->n_lib.nbd_close(n->n_handle);
	if (n->n_wake != -1)
		close(n->n_wake);
	pthread_cond_destroy(&n->n_done);
	pthread_mutex_destroy(&n->n_lock);
	free(n);
}

static void
nbd_io_close(struct image *im)
{
	struct nbd *n = nbd_of(im);
	uint64_t one = 1;

	if (n->n_flush && !n->n_readonly && n->n_written != n->n_flushed &&
	    nbd_do(n, NBD_FLUSH, 0, NULL, 0, 0) != 0)
		log_warn("disk %s: what was written last may be lost",
		    n->n_uri);
	pthread_mutex_lock(&n->n_lock);
	n->n_closing = true;
	pthread_mutex_unlock(&n->n_lock);
	(void)!write(n->n_wake, &one, sizeof(one));
	pthread_join(n->n_thread, NULL);
	/* The server is told; it need not answer. */
	if (n->n_handle != NULL && n->n_ready)
		(void)n->n_lib.nbd_aio_disconnect(n->n_handle, 0);
	nbd_free(n);
}

static const struct image_ops nbd_ops = {
	.io_name	= "nbd",
	.io_read	= nbd_io_read,
	.io_write	= nbd_io_write,
	.io_flush	= nbd_io_flush,
	.io_discard	= nbd_io_discard,
	.io_zero	= nbd_io_zero,
	.io_close	= nbd_io_close,
};

/* --- opening -------------------------------------------------------------- */

static int
nbd_measure(struct nbd *n, struct image *im, struct err *err)
{
	struct nbd_handle *h = n->n_handle;
	int64_t size = n->n_lib.nbd_get_size(h), min, max;

	if (size == -1)
		return (err_set(err, "disk %s: %s", n->n_uri,
		    n->n_lib.nbd_get_error()));
	if (size == 0 || size % SECTOR != 0)
		return (err_set(err, "disk %s has %" PRId64 " bytes, which "
		    "is no multiple of %u: have the server offer another",
		    n->n_uri, size, SECTOR));
	min = n->n_lib.nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	max = n->n_lib.nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);
	if (min > SECTOR)
		return (err_set(err, "disk %s: the server insists on blocks "
		    "of %" PRId64 " bytes, but those of a disk have %u",
		    n->n_uri, min, SECTOR));
	if (n->n_lib.nbd_is_read_only(h) == 1 && !im->im_readonly)
		return (err_set(err, "disk %s is read-only: have the server "
		    "offer it for writing", n->n_uri));
	im->im_size = n->n_size = (uint64_t)size;
	n->n_data_max = max > SECTOR && max < NBD_DATA_MAX ?
	    (uint64_t)max & ~(uint64_t)(SECTOR - 1) : NBD_DATA_MAX;
	n->n_flush = n->n_lib.nbd_can_flush(h) == 1;
	n->n_trim = n->n_lib.nbd_can_trim(h) == 1;
	n->n_zero = n->n_lib.nbd_can_zero(h) == 1;
	return (0);
}

/* Signals are for the thread that called us; faults stay with their cause. */
static int
nbd_start(struct nbd *n, struct err *err)
{
	sigset_t all, old;
	int error;

	if ((n->n_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) == -1)
		return (err_sys(err, "disk %s", n->n_uri));
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	error = pthread_create(&n->n_thread, NULL, link_thread, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == 0)
		return (0);
	errno = error;
	return (err_sys(err, "disk %s: cannot start a thread", n->n_uri));
}

int
nbd_image_open(struct image *im, struct err *err)
{
	struct nbd *n;
	int ret;

	if ((n = calloc(1, sizeof(*n))) == NULL)
		return (err_sys(err, "disk %s", im->im_path));
	n->n_uri = im->im_path;
	n->n_readonly = im->im_readonly;
	n->n_wake = -1;
	n->n_tail = &n->n_queue;
	pthread_mutex_init(&n->n_lock, NULL);
	pthread_cond_init(&n->n_done, NULL);
	if (libnbd_load(&n->n_lib, err) == -1)
		ret = -1;
	else if ((n->n_handle = n->n_lib.nbd_create()) == NULL ||
	    n->n_lib.nbd_connect_uri(n->n_handle, n->n_uri) == -1)
		ret = err_set(err, "disk %s: %s", n->n_uri,
		    n->n_lib.nbd_get_error());
	else
		ret = nbd_measure(n, im, err);
	n->n_ready = ret == 0;
	if (ret == -1 || nbd_start(n, err) == -1) {
		nbd_free(n);
		return (-1);
	}
	im->im_private = n;
	im->im_ops = &nbd_ops;
	return (0);
}
