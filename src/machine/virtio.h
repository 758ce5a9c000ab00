/*
 * A virtio device behind a transitional PCI function (virtio 1.2, 4.1): the
 * part that all devices share. virtio.c is the device as its driver finds it,
 * virtio_pci.c the transport, virtqueue.c the ring; a device (virtio_blk.c ...)
 * gives a struct virtio_ops and works on chains.
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
#define VIRTIO_CONFIG_MAX	64
#define VQ_SIZE_MAX		256
#define VQ_CHAIN_MAX		256	/* descriptors in a chain, all told */

/* Feature bits of the transport and the ring (virtio 1.2, 6). */
#define VIRTIO_F_ANY_LAYOUT		(1ULL << 27)	/* legacy drivers only */
#define VIRTIO_F_INDIRECT_DESC		(1ULL << 28)
#define VIRTIO_F_EVENT_IDX		(1ULL << 29)
#define VIRTIO_F_VERSION_1		(1ULL << 32)

/* Device status (virtio 1.2, 2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE	0x01
#define VIRTIO_STATUS_DRIVER		0x02
#define VIRTIO_STATUS_DRIVER_OK		0x04
#define VIRTIO_STATUS_FEATURES_OK	0x08
#define VIRTIO_STATUS_NEEDS_RESET	0x40
#define VIRTIO_STATUS_FAILED		0x80

/* ISR status (virtio 1.2, 4.1.4.5). */
#define VIRTIO_ISR_QUEUE		0x01
#define VIRTIO_ISR_CONFIG		0x02

struct virtio;

struct virtqueue {
	struct virtio	*vq_dev;
	uint16_t	 vq_index;
	uint16_t	 vq_size_max;	/* power of two */
	uint16_t	 vq_size;	/* in force */
	bool		 vq_enabled;	/* the addresses below were checked */
	uint64_t	 vq_desc, vq_avail, vq_used;	/* gpa */
	uint8_t		*vq_desc_host, *vq_avail_host, *vq_used_host;
	uint16_t	 vq_last_avail;	/* next to take */
	uint16_t	 vq_used_idx;	/* next to give */
	uint16_t	 vq_signalled;	/* vq_used_idx at vq_interrupt() */
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
	uint16_t	 vo_vendor;	/* PCI vendor; 0: virtio's */
	uint16_t	 vo_pci_id;	/* the transitional PCI device id */
	uint8_t		 vo_class, vo_subclass;
	unsigned	 vo_nqueues;
	uint16_t	 vo_queue_size[VIRTIO_QUEUES_MAX];
	uint64_t	 vo_features;	/* device-specific bits offered */
	uint32_t	 vo_config_size;
	/* Device lock held in all of these. NULL: nothing to do. */
	void	(*vo_notify)(void *arg, struct virtqueue *);
	/* Returns when no request is in flight that could still touch guest
	 * memory. It may wait on a condition with the device lock: nothing is
	 * popped meanwhile. Also when a legacy driver takes a queue away. */
	void	(*vo_reset)(void *arg);
	/* The driver is about to read that much of the configuration. */
	void	(*vo_config_read)(void *arg, uint32_t offset, unsigned size);
	/* The driver stored a byte of the configuration. */
	void	(*vo_config_write)(void *arg, uint32_t offset, uint8_t value);
	/* the driver set DRIVER_OK; features are final */
	void	(*vo_start)(void *arg);
	/* Returns when no request is in flight, as vo_reset, but the queues go
	 * on: what the driver has put there is carried out, too. */
	void	(*vo_settle)(void *arg);
	/* Saves or loads what is the device's own, requests in flight not
	 * being among it. */
	void	(*vo_state)(void *arg, struct state *);
};

/* Which window the driver came through since the last reset. */
enum virtio_driver { VIRTIO_NO_DRIVER, VIRTIO_LEGACY, VIRTIO_MODERN };

struct virtio {
	pthread_mutex_t	 v_lock;	/* the device lock; guards what follows */
	const struct virtio_ops *v_ops;		/* [I] */
	void		*v_arg;			/* [I] */
	const struct guest_memory *v_memory;	/* [I] */
	uint64_t	 v_offered;	/* [I] features, after the device is made */
	struct pci_function v_pci;
	struct virtqueue v_queue[VIRTIO_QUEUES_MAX];
	/* device configuration, little-endian */
	uint8_t		 v_config[VIRTIO_CONFIG_MAX];
	uint64_t	 v_features;	/* accepted by the driver */
	uint8_t		 v_status;
	uint8_t		 v_isr;
	enum virtio_driver v_driver;
	bool		 v_resetting;	/* vo_reset is waiting; doors are shut */
	pthread_cond_t	 v_reset_done;
	/* the transport's own registers, virtio_pci.c */
	uint32_t	 v_device_select, v_driver_select;
	uint16_t	 v_queue_select;
	uint8_t		 v_generation;
	uint8_t		 v_cap_pci_cfg;	/* [I] its offset */
};

/*
 * Makes v a function on the bus; 0, or -1 and errno. v and arg stay where they
 * are. Every feature of the ops is offered; the device may change v_offered
 * and fill in v_config before the guest runs.
 */
int	virtio_init(struct virtio *, const struct virtio_ops *, void *arg,
	    const struct guest_memory *, struct pci *, const struct irq *);
/* Takes it off the bus, after the last access through that. */
void	virtio_fini(struct virtio *);
/* As the machine's reset does. Takes the lock. */
void	virtio_reset(struct virtio *);

/*
 * Waits for what is in flight; no VCPU runs. Then the transport, the queues
 * and the device's own state may be saved or loaded. Both take the lock.
 */
void	virtio_settle(struct virtio *);
void	virtio_state(struct virtio *, struct state *);

/* The lock is held for all of the following. */

/*
 * The guest broke the rules: DEVICE_NEEDS_RESET is set, the queues stop until
 * reset, one line is logged (a bounded number of times).
 */
void	virtio_broken(struct virtio *, const char *why);
/* The driver is at work, nothing is broken and no reset is under way. */
bool	virtio_ready(const struct virtio *);
void	virtio_config_changed(struct virtio *);
/* Raises the interrupt for a VIRTIO_ISR_* cause. */
void	virtio_interrupt(struct virtio *, uint8_t cause);

static inline bool
virtio_has(const struct virtio *v, uint64_t feature)
{
	return ((v->v_features & feature) != 0);
}

/*
 * Checks size and addresses and puts the queue to work; a queue that is not in
 * RAM or misaligned is the guest's fault: virtio_broken(), false.
 */
bool	vq_enable(struct virtqueue *);
void	vq_reset(struct virtqueue *);
/* Does not touch the queue when what is loaded is not good. */
void	vq_state(struct virtqueue *, struct state *);
/* 1: chain filled in, 0: ring empty, -1: broken (virtio_broken() was called) */
int	vq_pop(struct virtqueue *, struct vq_chain *);
/* Returns a chain with len bytes written by the device. */
void	vq_push(struct virtqueue *, uint16_t head, uint32_t len);
/*
 * The same for several chains that the driver must see at once: vq_put() the
 * n-th (from 0), then vq_publish() them all.
 */
void	vq_put(struct virtqueue *, unsigned n, uint16_t head, uint32_t len);
void	vq_publish(struct virtqueue *, unsigned count);
/* Puts back the chain popped last and not put back yet. */
void	vq_unpop(struct virtqueue *);
/* Interrupts the guest if it asked to be told of what was pushed. */
void	vq_interrupt(struct virtqueue *);
/* Asks for (or not) notifications of new buffers; vq_notify_on() returns true
 * if buffers came in meanwhile and the caller should look again. */
bool	vq_notify_on(struct virtqueue *);
void	vq_notify_off(struct virtqueue *);
bool	vq_empty(struct virtqueue *);
/* The same for when there are more than so many chains. */
bool	vq_notify_beyond(struct virtqueue *, unsigned count);
/* Chains to be taken; the guest may say more than there can be. */
unsigned vq_available(struct virtqueue *);

/* Copies out of/into a chain's readable/writable part; returns bytes copied. */
size_t	chain_read(const struct vq_chain *, size_t offset, void *, size_t);
size_t	chain_write(const struct virtio *, const struct vq_chain *,
	    size_t offset, const void *, size_t);

#endif
