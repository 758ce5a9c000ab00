/*
 * The door to all kinds of networks; see network.h.
 */
#include <string.h>
#include <sys/random.h>

#include "network/backend.h"
#include "network/offload.h"

void
network_send(struct network *network, const struct network_header *nh,
    const void *frame, size_t len)
{
	if (len < NETWORK_FRAME_MIN || len > NETWORK_FRAME_MAX ||
	    !offload_valid(nh, frame, len))
		return;
	network->nw_ops->no_send(network, offload_none(nh) ? NULL : nh, frame,
	    len);
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

void
network_mac_choose(uint8_t mac[6])
{
	static const uint8_t range[4] = { 0xfe, 0xe1, 0xbb, 0xd1 };

	memcpy(mac, range, sizeof(range));
	if (getrandom(mac + 4, 2, GRND_NONBLOCK) != 2)
		mac[4] = mac[5] = 1;
}
