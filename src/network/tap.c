/*
 * A tap of the host as a network of a VM: a frame a read or write of its
 * descriptor (hosttap.h), with its struct network_header before it.
 *
 * 1. What the device has no room for stays in the tap's own queue, which drops
 *    what is more. What the host does not take is lost: it has no queue that
 *    way, and takes all unless the tap is down.
 * 2. Of a locked one, frames that do not come from the guest's own address are
 *    dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "network/backend.h"
#include "network/offload.h"

#define BURST		64	/* frames read before others have their turn */

struct tap {
	struct network	 ta_network;	/* first: see backend.h */
	int		 ta_fd;
	struct loop_fd	*ta_source;	/* NULL: the tap is gone */
	bool		 ta_locked;
	uint8_t		 ta_mac[6];
	struct network_header ta_header;	/* of the frame that came: */
	uint8_t		 ta_frame[NETWORK_FRAME_MAX];
};

static void
tap_gone(struct tap *ta)
{
	loop_fd_free(ta->ta_source);
	ta->ta_source = NULL;
	log_warn("the tap of an interface is gone (%s); the interface is "
	    "connected to nothing until the VM starts again",
	    strerror(errno));
}

/* A read of so many bytes filled ta_header and ta_frame. */
static void
tap_arrived(struct tap *ta, size_t len)
{
	const struct network_port *np = &ta->ta_network.nw_port;
	const struct network_header *nh = &ta->ta_header;

	if (len < sizeof(*nh) + NETWORK_FRAME_MIN)
		return;
	len -= sizeof(*nh);
	if (offload_valid(nh, ta->ta_frame, len))
		(void)np->np_receive(np->np_arg, offload_none(nh) ? NULL : nh,
		    ta->ta_frame, len);
}

static void
tap_events(void *arg, uint32_t events)
{
	struct tap *ta = arg;
	const struct network_port *np = &ta->ta_network.nw_port;
	const struct iovec iov[2] = {
		{ &ta->ta_header, sizeof(ta->ta_header) },
		{ ta->ta_frame, sizeof(ta->ta_frame) }
	};
	unsigned i;
	ssize_t n;

	(void)events;
	for (i = 0; i < BURST; i++) {
		if (!np->np_ready(np->np_arg)) {
			loop_fd_events(ta->ta_source, 0);
			return;
		}
		n = readv(ta->ta_fd, iov, 2);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n == -1) {
			tap_gone(ta);
			return;
		}
		tap_arrived(ta, (size_t)n);
	}
}

static void
tap_send(struct network *nw, const struct network_header *nh,
    const void *frame, size_t len)
{
	static const struct network_header none;
	const struct iovec iov[2] = {
		{ (void *)(uintptr_t)(nh != NULL ? nh : &none), sizeof(*nh) },
		{ (void *)(uintptr_t)frame, len }
	};
	struct tap *ta = (struct tap *)nw;
	const uint8_t *from = (const uint8_t *)frame + 6;
	ssize_t n;

	if (ta->ta_locked && memcmp(from, ta->ta_mac, 6) != 0)
		return;
	do {
		n = writev(ta->ta_fd, iov, 2);
	} while (n == -1 && errno == EINTR);
}

static void
tap_poke(struct network *nw)
{
	struct tap *ta = (struct tap *)nw;

	if (ta->ta_source != NULL)
		loop_fd_events(ta->ta_source, EPOLLIN);
}

static void
tap_close(struct network *nw)
{
	struct tap *ta = (struct tap *)nw;

	loop_fd_free(ta->ta_source);
	if (ta->ta_fd != -1)
		close(ta->ta_fd);
	free(ta);
}

static const struct network_ops tap_ops = {
	.no_name = "tap",
	.no_send = tap_send,
	.no_poke = tap_poke,
	.no_close = tap_close
};

int
network_tap_open(struct network **np, struct loop *loop,
    const struct network_port *port, int fd, const uint8_t *locked,
    struct err *err)
{
	struct tap *ta;

	if ((ta = calloc(1, sizeof(*ta))) == NULL)
		return (err_sys(err, "network"));
	ta->ta_network.nw_ops = &tap_ops;
	ta->ta_network.nw_port = *port;
	if (locked != NULL) {
		ta->ta_locked = true;
		memcpy(ta->ta_mac, locked, sizeof(ta->ta_mac));
	}
	if ((ta->ta_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1 ||
	    (ta->ta_source = loop_fd_new(loop, ta->ta_fd, EPOLLIN, tap_events,
	    ta)) == NULL) {
		err_sys(err, "network: cannot use the tap");
		tap_close(&ta->ta_network);
		return (-1);
	}
	*np = &ta->ta_network;
	return (0);
}
