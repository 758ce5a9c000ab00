/*
 * virtio-rng: random bytes from the host for the guest.
 */
#ifndef MACHINE_VIRTIO_RNG_H
#define MACHINE_VIRTIO_RNG_H

#include "machine/pci.h"

struct virtio_rng;

/* 0, or -1 and errno. The memory is borrowed until virtio_rng_free(). */
int	virtio_rng_new(struct virtio_rng **, const struct guest_memory *,
	    struct pci *, const struct irq *);
void	virtio_rng_reset(struct virtio_rng *);
void	virtio_rng_state(struct virtio_rng *, struct state *);
/* After the last access through the bus. NULL is allowed. */
void	virtio_rng_free(struct virtio_rng *);

#endif
