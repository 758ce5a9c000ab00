/*
 * virtio-net: a network as the guest's Ethernet card.
 *
 * The card is made first, then the network that uses its port, then the two
 * are joined:
 *
 *	virtio_net_new(&card, loop, mac, mtu, ...);
 *	network_user_open(&network, loop, virtio_net_port(card), ...);
 *	virtio_net_connect(card, network);
 */
#ifndef MACHINE_VIRTIO_NET_H
#define MACHINE_VIRTIO_NET_H

#include "machine/pci.h"
#include "network/network.h"

struct virtio_net;

struct virtio_net_counts {	/* frames, since the card was made */
	uint64_t	vc_in, vc_out;	/* the guest got, sent */
	uint64_t	vc_lost;	/* for the guest: no room, too large */
	uint64_t	vc_refused;	/* of the guest: no frame, wrong header */
};

/* 0, or -1 and errno. Loop and memory are borrowed until virtio_net_free(). */
int	virtio_net_new(struct virtio_net **, struct loop *,
	    const uint8_t mac[6], unsigned mtu, const struct guest_memory *,
	    struct pci *, const struct irq *);
const struct network_port *virtio_net_port(struct virtio_net *);
/* Before the guest runs. The network is borrowed; it is closed by its owner
 * while the loop is not running, before virtio_net_free(). */
void	virtio_net_connect(struct virtio_net *, struct network *);
void	virtio_net_count(struct virtio_net *, struct virtio_net_counts *);
void	virtio_net_reset(struct virtio_net *);
void	virtio_net_state(struct virtio_net *, struct state *);
/* After the last access through the bus and the last run of the loop. NULL is
 * allowed. */
void	virtio_net_free(struct virtio_net *);

#endif
