/*
 * What a transport (virtio_pci.c) has of the device behind it (virtio.c). All
 * but virtio_enter() want the device lock.
 */
#ifndef MACHINE_VIRTIO_IMPL_H
#define MACHINE_VIRTIO_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/virtio.h"

/* Takes the device lock, once no reset is under way. */
void	virtio_enter(struct virtio *);
void	virtio_leave(struct virtio *);

/* Waits for what is in flight, with the doors shut. */
void	virtio_drain(struct virtio *);
/* A driver writes by that window: may it? */
bool	virtio_claim(struct virtio *, enum virtio_driver);
/* The driver writes the status register; 0: a reset, which may wait. */
void	virtio_status_set(struct virtio *, enum virtio_driver, uint32_t value);
/* The selected queue, NULL if there is no such. */
struct virtqueue *virtio_selected(struct virtio *);
/* There is something in a queue, if there is such a one. */
void	virtio_notify(struct virtio *, uint32_t index);

#endif
