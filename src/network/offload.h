/*
 * The work that a frame's header leaves to others (network.h): checksums to
 * fill in, large TCP packets to cut. What a network card's "checksum offload"
 * and "TSO" do, by virtio 1.2, 5.1.6.
 *
 * 1. Headers are a guest's or another process's: offload_valid() is asked
 *    before anything else here, which relies on it.
 * 2. Pure, but for what a struct offload_cut keeps between calls. Any thread.
 */
#ifndef NETWORK_OFFLOAD_H
#define NETWORK_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "network/network.h"

/* A segment carries that much or more: a bound to what one packet becomes. */
#define OFFLOAD_GSO_MIN		8
/* Ethernet with a VLAN tag, IPv6 with other headers, TCP with options. */
#define OFFLOAD_HEADERS_MAX	256

/* Can a frame bear its header? Only then it may be used; NULL can. */
bool	offload_valid(const struct network_header *, const void *frame,
	    size_t len);

/* Nothing is left to do. */
static inline bool
offload_none(const struct network_header *nh)
{
	return (nh == NULL || (nh->nh_flags == 0 &&
	    nh->nh_gso_type == NETWORK_GSO_NONE));
}

static inline bool
offload_large(const struct network_header *nh)
{
	return (nh != NULL && nh->nh_gso_type != NETWORK_GSO_NONE);
}

/* Bytes of a large packet's headers: Ethernet's, IP's and TCP's. */
size_t	offload_headers(const struct network_header *, const void *frame,
	    size_t len);
/* Bytes of the largest frame on a wire that the frame becomes. */
size_t	offload_wire_size(const struct network_header *, const void *frame,
	    size_t len);

/* Fills in the checksum of a frame that needs it, as a whole. */
void	offload_checksum(const struct network_header *, void *frame,
	    size_t len);

/* A large packet on its way to become segments. */
struct offload_cut {
	const uint8_t	*oc_frame;	/* borrowed until the last segment */
	size_t		 oc_len, oc_done;	/* done: bytes of payload */
	size_t		 oc_l3, oc_l4, oc_payload;	/* offsets */
	size_t		 oc_size;	/* payload of a segment */
	bool		 oc_ipv6;
};

void	offload_cut(struct offload_cut *, const struct network_header *,
	    const void *frame, size_t len);
/* Makes the next segment, complete; its length, 0 after the last. */
size_t	offload_next(struct offload_cut *, void *segment, size_t size);

/* The Internet checksum's sum (RFC 1071) of bytes, added to another; folded
 * and complemented. */
uint32_t offload_sum(const void *, size_t len, uint32_t sum);
uint16_t offload_fold(uint32_t sum);

#endif
