/*
 * virtio-scsi: a host adapter with one CD-ROM drive.
 */
#ifndef MACHINE_VIRTIO_SCSI_H
#define MACHINE_VIRTIO_SCSI_H

#include "machine/pci.h"
#include "storage/disk.h"

struct virtio_scsi;

/* 0, or -1 and errno. Disk and memory are borrowed until virtio_scsi_free(). */
int	virtio_scsi_new(struct virtio_scsi **, struct disk *,
	    const struct guest_memory *, struct pci *, const struct irq *);
void	virtio_scsi_reset(struct virtio_scsi *);
/* Waits for the disc to answer all requests, before the state is asked for. */
void	virtio_scsi_settle(struct virtio_scsi *);
void	virtio_scsi_state(struct virtio_scsi *, struct state *);
/* After the last access through the bus. NULL is allowed. */
void	virtio_scsi_free(struct virtio_scsi *);

#endif
