/*
 * Taps: Ethernet interfaces of the host whose other end is a descriptor. One
 * is made, or an existing one taken, and put in its place among the host's
 * interfaces; network_tap_open() then makes a VM's network of the descriptor.
 *
 * 1. A tap that is made here is gone with its last descriptor, however that is
 *    closed; so is its place in a bridge. One that existed stays.
 * 2. Making a tap and changing an interface needs CAP_NET_ADMIN. Without it, a
 *    tap can be used that exists, belongs to this user and is as it should be.
 *
 * Any thread.
 */
#ifndef NETWORK_HOSTTAP_H
#define NETWORK_HOSTTAP_H

#include <net/if.h>
#include <stdbool.h>

#include "base/err.h"

struct hosttap {
	const char	*ht_name;	/* NULL: any that is free, tapN */
	const char	*ht_bridge;	/* a bridge that it joins, or NULL */
	const char	*ht_group;	/* hostlink_group(), or NULL */
	const char	*ht_alias;	/* a description for people, or NULL */
	unsigned	 ht_mtu;	/* 0: as it is, or the bridge's */
	bool		 ht_down;	/* it shall not be up, nor the bridge */
};

/* What came of it. */
struct hosttap_opened {
	char		 ho_name[IFNAMSIZ];
	unsigned	 ho_mtu;
};

/* A descriptor, not blocking, that takes and gives a struct network_header
 * before each frame; -1 with a line in err. */
int	hosttap_open(const struct hosttap *, struct hosttap_opened *,
	    struct err *);

#endif
