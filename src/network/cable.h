/*
 * Frames over a local SOCK_SEQPACKET socket, one a packet: what connects a VM
 * to a switch in another process. Before each frame stands its struct
 * network_header.
 *
 * 1. Nobody waits for anybody: what the other side does not take waits in a
 *    queue of CABLE_FRAMES frames and CABLE_BYTES bytes; more is dropped.
 * 2. When the other side goes, cb_gone is called once, from the loop; sending
 *    is then without effect.
 *
 * The loop's thread.
 */
#ifndef NETWORK_CABLE_H
#define NETWORK_CABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"
#include "network/network.h"

#define CABLE_FRAMES	512u
#define CABLE_BYTES	(4u << 20)

struct cable;

struct cable_ops {
	/* A frame of NETWORK_FRAME_MIN to NETWORK_FRAME_MAX bytes came, with a
	 * header that is valid, or NULL. */
	void	(*cb_frame)(void *arg, const struct network_header *,
		    const void *frame, size_t len);
	/* Is there room for one? NULL: always. cable_go_on() when there is
	 * again. */
	bool	(*cb_ready)(void *arg);
	/* May free the cable. */
	void	(*cb_gone)(void *arg);
};

/* Takes the descriptor over in any case; NULL and errno. */
struct cable *cable_new(struct loop *, int fd, const struct cable_ops *,
	    void *arg);
void	cable_free(struct cable *);
void	cable_send(struct cable *, const struct network_header *,
	    const void *frame, size_t len);
void	cable_go_on(struct cable *);

#endif
