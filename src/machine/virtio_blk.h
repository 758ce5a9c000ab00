/*
 * virtio-blk: a disk image as the guest's disk.
 */
#ifndef MACHINE_VIRTIO_BLK_H
#define MACHINE_VIRTIO_BLK_H

#include "machine/pci.h"
#include "storage/disk.h"

struct virtio_blk;

/* 0, or -1 and errno. Disk and memory are borrowed until virtio_blk_free(). */
int	virtio_blk_new(struct virtio_blk **, struct disk *,
	    const struct guest_memory *, struct pci *, const struct irq *);
/* Waits for the requests in flight. */
void	virtio_blk_reset(struct virtio_blk *);
/* Waits for the disk to answer all requests, before the state is asked for. */
void	virtio_blk_settle(struct virtio_blk *);
void	virtio_blk_state(struct virtio_blk *, struct state *);
/* After the last access through the bus; waits too. NULL is allowed. */
void	virtio_blk_free(struct virtio_blk *);

#endif
