/*
 * Frames over a socket; see cable.h.
 */
#include "network/cable.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "network/offload.h"

#define BURST		64	/* frames read before others have their turn */
#define SOCKET_BUFFER	(1 << 20)

struct frame {
	struct frame	*fr_next;
	struct network_header fr_header;
	size_t		 fr_len;
	uint8_t		 fr_data[];
};

struct cable {
	const struct cable_ops *cb_ops;	/* [I] */
	void		*cb_arg;	/* [I] */
	int		 cb_fd;		/* [I] */
	struct loop_fd	*cb_source;
	bool		 cb_dead;	/* the other side is gone */
	bool		 cb_full;	/* we wait until there is room */
	bool		 cb_taking;	/* a handler runs: who frees it leaves */
	bool		 cb_over;	/* the memory to take() */
	struct frame	*cb_queue, **cb_tail;
	unsigned	 cb_frames;
	size_t		 cb_bytes;
	struct network_header cb_header;	/* of the frame that came: */
	uint8_t		 cb_frame[NETWORK_FRAME_MAX + 1];
};

static void
watch(struct cable *cb)
{
	loop_fd_events(cb->cb_source, cb->cb_dead ? 0 :
	    (cb->cb_full ? 0 : (uint32_t)EPOLLIN) |
	    (cb->cb_queue != NULL ? (uint32_t)EPOLLOUT : 0));
}

/* --- out ------------------------------------------------------------------------ */

static void
drop_queue(struct cable *cb)
{
	struct frame *fr;

	while ((fr = cb->cb_queue) != NULL) {
		cb->cb_queue = fr->fr_next;
		free(fr);
	}
	cb->cb_tail = &cb->cb_queue;
	cb->cb_frames = 0;
	cb->cb_bytes = 0;
}

/* False: the other side takes no more now. */
static bool
put(struct cable *cb, const struct network_header *nh, const void *frame,
    size_t len)
{
	static const struct network_header none;
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)(nh != NULL ? nh : &none), sizeof(*nh) },
		{ (void *)(uintptr_t)frame, len }
	};
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	do {
		n = sendmsg(cb->cb_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n == -1 && errno == EINTR);
	/* of other errors, its end is found by reading; else it is lost */
	return (n != -1 || (errno != EAGAIN && errno != ENOBUFS));
}

static void
flush(struct cable *cb)
{
	struct frame *fr;

	while ((fr = cb->cb_queue) != NULL && put(cb, &fr->fr_header,
	    fr->fr_data, fr->fr_len)) {
		if ((cb->cb_queue = fr->fr_next) == NULL)
			cb->cb_tail = &cb->cb_queue;
		cb->cb_frames--;
		cb->cb_bytes -= fr->fr_len;
		free(fr);
	}
}

void
cable_send(struct cable *cb, const struct network_header *nh,
    const void *frame, size_t len)
{
	struct frame *fr;

	if (cb->cb_dead || (cb->cb_queue == NULL && put(cb, nh, frame, len)))
		return;
	if (cb->cb_frames == CABLE_FRAMES ||
	    cb->cb_bytes + len > CABLE_BYTES ||
	    (fr = malloc(sizeof(*fr) + len)) == NULL)
		return;
	fr->fr_next = NULL;
	fr->fr_header = nh != NULL ? *nh : (struct network_header){ 0 };
	fr->fr_len = len;
	memcpy(fr->fr_data, frame, len);
	*cb->cb_tail = fr;
	cb->cb_tail = &fr->fr_next;
	cb->cb_frames++;
	cb->cb_bytes += len;
	watch(cb);
}

/* --- in ---------------------------------------------------------------------------- */

/* The other side is gone, or has lost its mind. */
static void
gone(struct cable *cb)
{
	cb->cb_dead = true;
	drop_queue(cb);
	watch(cb);
	cb->cb_ops->cb_gone(cb->cb_arg);
}

/* A packet of so many bytes is in cb_header and cb_frame. */
static void
arrived(struct cable *cb, size_t len)
{
	const struct network_header *nh = &cb->cb_header;

	if (len < sizeof(*nh) + NETWORK_FRAME_MIN ||
	    len > sizeof(*nh) + NETWORK_FRAME_MAX)
		return;
	len -= sizeof(*nh);
	if (offload_valid(nh, cb->cb_frame, len))
		cb->cb_ops->cb_frame(cb->cb_arg, offload_none(nh) ? NULL : nh,
		    cb->cb_frame, len);
}

static void
take(struct cable *cb)
{
	struct iovec iov[2] = {
		{ &cb->cb_header, sizeof(cb->cb_header) },
		{ cb->cb_frame, sizeof(cb->cb_frame) }
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	unsigned i;
	ssize_t n;

	cb->cb_taking = true;
	for (i = 0; i < BURST && !cb->cb_over; i++) {
		if (cb->cb_ops->cb_ready != NULL &&
		    !cb->cb_ops->cb_ready(cb->cb_arg)) {
			cb->cb_full = true;
			break;
		}
		n = recvmsg(cb->cb_fd, &msg, MSG_DONTWAIT);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			gone(cb);
			break;
		}
		arrived(cb, (size_t)n);
	}
	cb->cb_taking = false;
	if (cb->cb_over)
		free(cb);
	else
		watch(cb);
}

static void
on_event(void *arg, uint32_t events)
{
	struct cable *cb = arg;

	if (events & EPOLLOUT) {
		flush(cb);
		watch(cb);
	}
	if (events & ~(uint32_t)EPOLLOUT)
		take(cb);
}

void
cable_go_on(struct cable *cb)
{
	if (!cb->cb_full)
		return;
	cb->cb_full = false;
	watch(cb);
}

/* --- life ---------------------------------------------------------------------------- */

struct cable *
cable_new(struct loop *loop, int fd, const struct cable_ops *ops, void *arg)
{
	const int size = SOCKET_BUFFER;
	struct cable *cb;
	int error;

	if ((cb = calloc(1, sizeof(*cb))) == NULL) {
		error = errno;
		close(fd);
		errno = error;
		return (NULL);
	}
	/* as far as the host lets us: a burst should fit */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	cb->cb_ops = ops;
	cb->cb_arg = arg;
	cb->cb_fd = fd;
	cb->cb_tail = &cb->cb_queue;
	cb->cb_source = loop_fd_new(loop, fd, EPOLLIN, on_event, cb);
	if (cb->cb_source == NULL) {
		error = errno;
		cable_free(cb);
		errno = error;
		return (NULL);
	}
	return (cb);
}

void
cable_free(struct cable *cb)
{
	if (cb == NULL)
		return;
	drop_queue(cb);
	loop_fd_free(cb->cb_source);
	close(cb->cb_fd);
	if (cb->cb_taking)
		cb->cb_over = true;
	else
		free(cb);
}
