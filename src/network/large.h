/*
 * Large TCP packets by IPv4 between a guest and a TCP of ours that knows
 * nothing of segments to be cut by others: it is made to believe in a network
 * of large packets, the guest in one of its MTU. Pure.
 */
#ifndef NETWORK_LARGE_H
#define NETWORK_LARGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "network/network.h"

#define LARGE_HEADERS	40	/* IPv4's and TCP's, without options */

/* Is this frame one that opens a connection? */
bool	large_opens(const void *frame, size_t len);
/*
 * If such a frame, whose checksum is right, says that segments for its sender
 * may have `usual` bytes or more, it says `large` then.
 */
void	large_open(void *frame, size_t len, unsigned usual, unsigned large);
/*
 * Makes the header of a frame that is to be cut into segments of that many
 * bytes, with what it needs in the frame; false: it is no whole TCP packet.
 */
bool	large_header(struct network_header *, void *frame, size_t len,
	    unsigned usual);

#endif
