/*
 * Network interfaces of the host, asked for and changed by rtnetlink(7): what a
 * tap needs to have its place. Changing needs CAP_NET_ADMIN in the network
 * namespace that this thread is in.
 *
 * Any thread.
 */
#ifndef NETWORK_HOSTLINK_H
#define NETWORK_HOSTLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct hostlink {
	int		 hl_index;
	int		 hl_master;	/* of which it is a port; 0: of none */
	unsigned	 hl_flags;	/* IFF_* */
	unsigned	 hl_mtu;
	unsigned	 hl_group;
	bool		 hl_bridge;	/* it is a bridge */
	uint8_t		 hl_mac[6];
};

/* A socket for what follows, to be closed; -1 and errno. */
int	hostlink_open(void);
/* 0, or -1 and errno: ENODEV if there is none of this name. */
int	hostlink_get(int fd, const char *name, struct hostlink *);
/* 0, or -1 and errno. */
int	hostlink_set_up(int fd, int index, bool up);
int	hostlink_set_mtu(int fd, int index, unsigned mtu);
int	hostlink_set_master(int fd, int index, int master);
int	hostlink_set_group(int fd, int index, unsigned group);
int	hostlink_set_alias(int fd, int index, const char *alias);
int	hostlink_set_mac(int fd, int index, const uint8_t mac[6]);

/* The number of a group of interfaces, by its name in iproute2's table; -1
 * with a line in err. */
int	hostlink_group(const char *name, unsigned *group, struct err *);

#endif
