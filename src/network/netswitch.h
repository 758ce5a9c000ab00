/*
 * A learning Ethernet switch (IEEE 802.1D's forwarding, without the spanning
 * tree: its ports are hosts). Pure: frames and times come as arguments, frames
 * go out through functions of the ports.
 *
 * 1. A frame goes to the port where its destination was seen last, or, if that
 *    is not known or a group, to all; never back.
 * 2. An address that was not seen for NETSWITCH_AGE is forgotten. A port has
 *    NETSWITCH_ADDRESSES at most: the oldest of its own goes, never another's.
 * 3. A locked port is one address: frames from others are dropped, and no other
 *    port can take that address over.
 *
 * One thread.
 */
#ifndef NETWORK_NETSWITCH_H
#define NETWORK_NETSWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "network/network.h"

#define NETSWITCH_AGE		(300 * 1000000000ull)
#define NETSWITCH_ADDRESSES	64	/* of a port */

struct netswitch;
struct netswitch_port;

struct netswitch_config {
	/* Takes a frame for the port; borrowed. May not free ports. */
	void	(*nc_send)(void *arg, const struct network_header *,
		    const void *frame, size_t len);
	void	*nc_arg;
	unsigned nc_mtu;		/* larger frames do not go there */
	bool	 nc_locked;
	uint8_t	 nc_mac[6];		/* if it is locked */
};

struct netswitch_counts {
	uint64_t nn_in, nn_out;		/* frames from and to the port */
	uint64_t nn_spoofed;		/* dropped: not from its address, */
	uint64_t nn_large;		/* too large for the port */
};

struct netswitch *netswitch_new(void);		/* NULL and errno */
void	netswitch_free(struct netswitch *);	/* no ports are left */
/* NULL and errno: ENOMEM; EEXIST: locked to another locked port's address. */
struct netswitch_port *netswitch_port_new(struct netswitch *,
	    const struct netswitch_config *);
void	netswitch_port_free(struct netswitch_port *);
/* A frame of NETWORK_FRAME_MIN bytes or more comes in at a port. Its header,
 * which is valid or NULL, goes where it goes. */
void	netswitch_frame(struct netswitch_port *, const struct network_header *,
	    const void *frame, size_t len, uint64_t now);
const struct netswitch_counts *netswitch_counts(const struct netswitch_port *);
/* The addresses seen at a port, the last one first; how many. */
size_t	netswitch_addresses(const struct netswitch_port *, uint8_t (*mac)[6],
	    size_t max, uint64_t now);

#endif
