/*
 * What a kind of network is made of, below network.h: one table of functions a
 * kind. The struct network is the first member of the kind's own structure.
 */
#ifndef NETWORK_BACKEND_H
#define NETWORK_BACKEND_H

#include "network/network.h"

struct network_ops {
	const char	*no_name;
	/* The header is valid; NULL if it asks for nothing. */
	void	(*no_send)(struct network *, const struct network_header *,
		    const void *frame, size_t len);
	void	(*no_poke)(struct network *);
	void	(*no_close)(struct network *);
};

struct network {
	const struct network_ops *nw_ops;
	struct network_port	 nw_port;
};

#endif
