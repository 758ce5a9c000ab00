/*
 * The entropy device (virtio 1.2, 5.4): each buffer on its only queue comes
 * back full of the host's random bytes.
 *
 * Threads: all on the VCPU's, under the device lock; getrandom(2) does not
 * wait once the host has booted.
 */
#include <sys/random.h>

#include <errno.h>
#include <stdlib.h>

#include "machine/virtio.h"
#include "machine/virtio_rng.h"

/* A request gets no more than this, so that a notify stays short. */
#define RNG_BYTES_MAX	65536

struct virtio_rng {
	struct virtio	 r_virtio;
	struct vq_chain	 r_chain;
};

/* Fills the chain; returns how many bytes, 0 if the host has none to give. */
static uint32_t
rng_fill(struct virtio_rng *r)
{
	struct vq_chain *chain = &r->r_chain;
	uint8_t buf[256];
	size_t total, done, n;
	ssize_t got;

	total = chain->vc_wbytes < RNG_BYTES_MAX ? chain->vc_wbytes :
	    RNG_BYTES_MAX;
	for (done = 0; done < total; done += n) {
		n = total - done < sizeof(buf) ? total - done : sizeof(buf);
		got = getrandom(buf, n, 0);
		if (got == -1 && errno != EINTR)
			break;
		n = got == -1 ? 0 : (size_t)got;
		chain_write(&r->r_virtio, chain, done, buf, n);
	}
	return ((uint32_t)done);
}

static void
rng_notify(void *arg, struct virtqueue *vq)
{
	struct virtio_rng *r = arg;
	uint32_t len;

	do {
		vq_notify_off(vq);
		while (vq_pop(vq, &r->r_chain) == 1) {
			if ((len = rng_fill(r)) == 0) {
				/* At least a byte is due (5.4.6.2). */
				virtio_broken(&r->r_virtio,
				    r->r_chain.vc_wbytes == 0 ?
				    "no room for random bytes" :
				    "the host gives no random bytes");
				return;
			}
			vq_push(vq, r->r_chain.vc_head, len);
		}
	} while (vq_notify_on(vq));
	vq_interrupt(vq);
}

static const struct virtio_ops rng_ops = {
	.vo_name	= "virtio-rng",
	.vo_id		= 4,
	.vo_pci_id	= 0x1005,
	.vo_class	= 0x00,
	.vo_subclass	= 0xff,		/* no class says it: unclassified */
	.vo_nqueues	= 1,
	.vo_queue_size	= { 16 },
	.vo_notify	= rng_notify,
};

int
virtio_rng_new(struct virtio_rng **rp, const struct guest_memory *memory,
    struct pci *pci, const struct irq *irq)
{
	struct virtio_rng *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return (-1);
	if (virtio_init(&r->r_virtio, &rng_ops, r, memory, pci, irq) == -1) {
		free(r);
		return (-1);
	}
	*rp = r;
	return (0);
}

void
virtio_rng_reset(struct virtio_rng *r)
{
	virtio_reset(&r->r_virtio);
}

void
virtio_rng_free(struct virtio_rng *r)
{
	if (r == NULL)
		return;
	virtio_fini(&r->r_virtio);
	free(r);
}

void
virtio_rng_state(struct virtio_rng *r, struct state *s)
{
	virtio_state(&r->r_virtio, s);
}
