/*
 * A virtio device behind a transitional PCI function (virtio 1.2, 4.1): the
 * part that all devices share. virtio_pci.c is the transport, virtqueue.c the
 * ring; a device (virtio_blk.c ...) gives a struct virtio_ops and works on
 * chains.
 *
 * The life of a request: the guest's notify -> vo_notify(queue) on the VCPU's
 * thread, device lock held -> vq_pop() copies and checks a chain -> the device
 * works -> vq_push() -> vq_interrupt().
 */
#ifndef MACHINE_VIRTIO_H
#define MACHINE_VIRTIO_H

#include <pthread.h>
#include <sys/uio.h>

#include "machine/pci.h"

#define VIRTIO_QUEUES_MAX	4
#define VQ_CHAIN_MAX		1024	/* descriptors in a chain, all told */

struct virtio;

struct virtqueue {
	struct virtio	*vq_dev;
	uint16_t	 vq_index;
	uint16_t	 vq_size_max;	/* power of two */
	uint16_t	 vq_size;	/* in force */
	bool		 vq_enabled;
	uint64_t	 vq_desc, vq_avail, vq_used;	/* gpa */
	uint16_t	 vq_last_avail;	/* next to take */
	uint16_t	 vq_used_idx;	/* next to give */
	uint16_t	 vq_signalled;	/* vq_used_idx at the last interrupt */
	bool		 vq_signalled_valid;
	uint16_t	 vq_vector;
};

/* A descriptor chain, copied once and checked: iovecs into guest RAM. */
struct vq_chain {
	uint16_t	 vc_head;
	struct iovec	 vc_iov[VQ_CHAIN_MAX];	/* device-readable first */
	uint64_t	 vc_gpa[VQ_CHAIN_MAX];	/* of each iovec */
	unsigned	 vc_nread, vc_nwrite;
	uint64_t	 vc_rbytes, vc_wbytes;
};

struct virtio_ops {
	const char	*vo_name;
	uint16_t	 vo_id;		/* virtio device id: 1 net, 2 blk, 4 rng */
	uint8_t		 vo_class, vo_subclass;
	unsigned	 vo_nqueues;
	uint16_t	 vo_queue_size[VIRTIO_QUEUES_MAX];
	uint64_t	 vo_features;	/* device-specific bits offered */
	uint32_t	 vo_config_size;
	/* device lock held in all of these */
	void	(*vo_notify)(void *arg, struct virtqueue *);
	void	(*vo_reset)(void *arg);	/* returns when no request is in flight
					   that could still touch guest memory */
	void	(*vo_config_write)(void *arg, uint32_t offset, uint8_t value);
	/* the driver set DRIVER_OK; features are final */
	void	(*vo_start)(void *arg);
};

struct virtio {
	pthread_mutex_t	 v_lock;	/* the device lock */
	const struct virtio_ops *v_ops;
	void		*v_arg;
	const struct guest_memory *v_memory;
	struct pci_function v_pci;
	struct virtqueue v_queue[VIRTIO_QUEUES_MAX];
	uint8_t		 v_config[64];	/* device configuration, little-endian */
	uint64_t	 v_features;	/* accepted by the driver */
	uint8_t		 v_status;
	uint8_t		 v_isr;
	/* the transport's own, virtio_pci.c */
	uint32_t	 v_device_select, v_driver_select;
	uint16_t	 v_queue_select;
	uint8_t		 v_generation;
	bool		 v_legacy;	/* driver came through the legacy window */
};

/* Makes v a function on the bus. v and v_arg stay where they are. */
int	virtio_init(struct virtio *, const struct virtio_ops *, void *arg,
	    const struct guest_memory *, struct pci *, const struct irq *);
void	virtio_fini(struct virtio *);
void	virtio_reset(struct virtio *);
/*
 * The guest broke the rules: DEVICE_NEEDS_RESET is set, the queues stop until
 * reset, one line is logged. Lock held.
 */
void	virtio_broken(struct virtio *, const char *why);
bool	virtio_ready(const struct virtio *);	/* DRIVER_OK, not broken */
void	virtio_config_changed(struct virtio *);

/* Lock held for all of these. */
/* 1: chain filled in, 0: ring empty, -1: broken (virtio_broken() was called) */
int	vq_pop(struct virtqueue *, struct vq_chain *);
/* Returns a chain with len bytes written by the device. */
void	vq_push(struct virtqueue *, uint16_t head, uint32_t len);
/* Puts back the chain popped last. */
void	vq_unpop(struct virtqueue *);
/* Interrupts the guest if it asked to be told of what was pushed. */
void	vq_interrupt(struct virtqueue *);
/* Asks for (or not) notifications of new buffers; vq_notify_on() returns true
 * if buffers came in meanwhile and the caller should look again. */
bool	vq_notify_on(struct virtqueue *);
void	vq_notify_off(struct virtqueue *);
bool	vq_empty(struct virtqueue *);

/* Copies out of/into a chain's readable/writable part; returns bytes copied. */
size_t	chain_read(const struct vq_chain *, size_t offset, void *, size_t);
size_t	chain_write(const struct virtio *, const struct vq_chain *,
	    size_t offset, const void *, size_t);

#endif
