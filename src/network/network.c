/*
 * The door to all kinds of networks; see network.h.
 */
#include "network/backend.h"

void
network_send(struct network *network, const void *frame, size_t len)
{
	if (len >= NETWORK_FRAME_MIN && len <= NETWORK_FRAME_MAX)
		network->nw_ops->no_send(network, frame, len);
}

void
network_poke(struct network *network)
{
	network->nw_ops->no_poke(network);
}

void
network_close(struct network *network)
{
	if (network != NULL)
		network->nw_ops->no_close(network);
}
