/*
 * The network device (virtio 1.2, 5.1): a receive and a transmit queue, no
 * offloads; receive buffers may be merged.
 *
 * 1. Frames move on the loop's thread only. A notify on the VCPU's thread
 *    wakes it by n_wake, a timer that is due at once.
 * 2. The network is called without the device lock: it may hand us a frame
 *    before it returns. The frame on its way out is in n_out, which belongs
 *    to the loop's thread.
 * 3. While the network holds frames back (np_ready said no), notifications of
 *    new receive buffers are on.
 *
 * Threads: see 1; the device lock guards all but [I] and [o].
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "machine/virtio.h"
#include "machine/virtio_net.h"

/* Features (5.1.3). */
#define NET_F_MAC		(1ULL << 5)
#define NET_F_MRG_RXBUF		(1ULL << 15)
#define NET_F_STATUS		(1ULL << 16)

/* Device configuration (5.1.4). */
struct net_config {
	uint8_t		mac[6];
	uint16_t	status;
#define NET_S_LINK_UP	1
};

/* What stands before each frame (5.1.6). */
struct net_header {
	uint8_t		flags, gso_type;
	uint16_t	hdr_len, gso_size, csum_start, csum_offset;
	uint16_t	num_buffers;	/* not of an old driver without merging */
};
#define NET_HEADER_OLD		offsetof(struct net_header, num_buffers)
_Static_assert(sizeof(struct net_header) == 12, "virtio 1.2, 5.1.6");

/* Frames in a row before the loop looks after others. */
#define NET_BURST		64

enum { NET_RX, NET_TX, NET_NQUEUES };

struct virtio_net {
	struct virtio		 n_virtio;
	struct loop		*n_loop;	/* [I] */
	struct loop_timer	*n_wake;	/* [I] */
	struct network		*n_network;	/* [I] */
	struct network_port	 n_port;	/* [I] */
	struct vq_chain		 n_first;	/* of a frame being received */
	struct vq_chain		 n_chain;
	uint8_t			 n_out[NETWORK_FRAME_MAX];	/* [o] */
};

static size_t
net_header_size(const struct virtio_net *n)
{
	if (virtio_has(&n->n_virtio, VIRTIO_F_VERSION_1 | NET_F_MRG_RXBUF))
		return (sizeof(struct net_header));
	return (NET_HEADER_OLD);
}

/* --- guest to network ----------------------------------------------------- */

/* Copies the frame out of a chain; 0 if it is none that we could send. */
static size_t
net_take(struct virtio_net *n, const struct vq_chain *chain)
{
	struct net_header h = { 0 };
	size_t header = net_header_size(n), len;

	if (chain->vc_rbytes < header + NETWORK_FRAME_MIN ||
	    chain->vc_rbytes > header + sizeof(n->n_out))
		return (0);
	chain_read(chain, 0, &h, header);
	/* Checksums to fill in and large packets were not agreed on. */
	if (h.flags != 0 || h.gso_type != 0)
		return (0);
	len = (size_t)chain->vc_rbytes - header;
	return (chain_read(chain, header, n->n_out, len));
}

/*
 * One frame of the transmit queue, into n_out. Returns whether the queue had
 * one; *len is 0 if it was dropped.
 */
static bool
net_next(struct virtio_net *n, size_t *len)
{
	struct virtqueue *vq = &n->n_virtio.v_queue[NET_TX];
	int popped;

	vq_notify_off(vq);
	while ((popped = vq_pop(vq, &n->n_chain)) == 0)
		if (!vq_notify_on(vq))
			break;
	if (popped != 1)
		return (false);
	*len = net_take(n, &n->n_chain);
	vq_push(vq, n->n_chain.vc_head, 0);
	return (true);
}

static void
net_transmit(struct virtio_net *n)
{
	struct virtio *v = &n->n_virtio;
	size_t len;
	bool more;
	int i;

	for (i = 0; i < NET_BURST; i++) {
		pthread_mutex_lock(&v->v_lock);
		more = net_next(n, &len);
		if (!more || i == NET_BURST - 1)
			vq_interrupt(&v->v_queue[NET_TX]);
		pthread_mutex_unlock(&v->v_lock);
		if (!more)
			return;
		if (len != 0 && n->n_network != NULL)
			network_send(n->n_network, n->n_out, len);
	}
	loop_timer_set(n->n_wake, 0);
}

/* --- network to guest ----------------------------------------------------- */

/* Room for a frame? If not, the guest will tell us of new buffers. */
static bool
net_room(struct virtio_net *n)
{
	struct virtqueue *vq = &n->n_virtio.v_queue[NET_RX];

	return (!vq_empty(vq) || vq_notify_on(vq));
}

/*
 * Spreads header and frame over as many chains as they need. False when there
 * are not enough, or no merging was agreed on; the queue is then as before.
 */
static bool
net_give(struct virtio_net *n, const uint8_t *frame, size_t len)
{
	struct virtio *v = &n->n_virtio;
	struct virtqueue *vq = &v->v_queue[NET_RX];
	struct net_header h = { .num_buffers = 1 };
	size_t header = net_header_size(n), done = 0, put;
	struct vq_chain *chain = &n->n_first;
	uint16_t count = 0;

	do {
		if (vq_pop(vq, chain) != 1)
			goto undo;
		count++;
		if (chain->vc_wbytes < (count == 1 ? header : 1)) {
			virtio_broken(v, "receive buffer without room");
			return (false);
		}
		put = 0;
		if (count == 1)
			put = chain_write(v, chain, 0, &h, header);
		if (chain->vc_wbytes - put < len - done &&
		    !virtio_has(v, NET_F_MRG_RXBUF))
			goto undo;
		put += chain_write(v, chain, put, frame + done, len - done);
		done += put - (count == 1 ? header : 0);
		vq_put(vq, count - 1u, chain->vc_head, (uint32_t)put);
		chain = &n->n_chain;
	} while (done < len);
	if (count > 1)
		chain_write(v, &n->n_first, NET_HEADER_OLD, &count,
		    sizeof(count));
	vq_publish(vq, count);
	vq_interrupt(vq);
	return (true);
undo:
	while (count-- > 0)
		vq_unpop(vq);
	return (false);
}

static bool
net_receive(void *arg, const void *frame, size_t len)
{
	struct virtio_net *n = arg;
	bool taken;

	if (len < NETWORK_FRAME_MIN || len > NETWORK_FRAME_MAX)
		return (false);
	pthread_mutex_lock(&n->n_virtio.v_lock);
	taken = net_room(n) && net_give(n, frame, len);
	pthread_mutex_unlock(&n->n_virtio.v_lock);
	return (taken);
}

static bool
net_ready(void *arg)
{
	struct virtio_net *n = arg;
	bool room;

	pthread_mutex_lock(&n->n_virtio.v_lock);
	room = net_room(n);
	pthread_mutex_unlock(&n->n_virtio.v_lock);
	return (room);
}

/* --- the device ----------------------------------------------------------- */

/* On the loop: the guest has given buffers to one queue or both. */
static void
net_wake(void *arg)
{
	struct virtio_net *n = arg;

	if (n->n_network != NULL && net_ready(n))
		network_poke(n->n_network);
	net_transmit(n);
}

static void
net_notify(void *arg, struct virtqueue *vq)
{
	struct virtio_net *n = arg;

	vq_notify_off(vq);
	loop_timer_set(n->n_wake, 0);
}

/* An old driver may give the card another address. */
static void
net_config_write(void *arg, uint32_t offset, uint8_t value)
{
	struct virtio_net *n = arg;

	if (n->n_virtio.v_driver == VIRTIO_LEGACY &&
	    offset < sizeof(((struct net_config *)0)->mac))
		n->n_virtio.v_config[offset] = value;
}

static const struct virtio_ops net_ops = {
	.vo_name	= "virtio-net",
	.vo_id		= 1,
	.vo_pci_id	= 0x1000,
	.vo_class	= 0x02,		/* network, */
	.vo_subclass	= 0x00,		/* Ethernet */
	.vo_nqueues	= NET_NQUEUES,
	.vo_queue_size	= { [NET_RX] = 256, [NET_TX] = 256 },
	.vo_features	= NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS,
	.vo_config_size	= sizeof(struct net_config),
	.vo_notify	= net_notify,
	.vo_config_write = net_config_write,
};

int
virtio_net_new(struct virtio_net **np, struct loop *loop, const uint8_t mac[6],
    const struct guest_memory *memory, struct pci *pci, const struct irq *irq)
{
	struct net_config c = { .status = NET_S_LINK_UP };
	struct virtio_net *n;

	if ((n = calloc(1, sizeof(*n))) == NULL)
		return (-1);
	n->n_loop = loop;
	n->n_port = (struct network_port){ .np_receive = net_receive,
	    .np_ready = net_ready, .np_arg = n };
	if ((n->n_wake = loop_timer_new(loop, net_wake, n)) == NULL ||
	    virtio_init(&n->n_virtio, &net_ops, n, memory, pci, irq) == -1) {
		loop_timer_free(n->n_wake);
		free(n);
		return (-1);
	}
	memcpy(c.mac, mac, sizeof(c.mac));
	memcpy(n->n_virtio.v_config, &c, sizeof(c));
	*np = n;
	return (0);
}

const struct network_port *
virtio_net_port(struct virtio_net *n)
{
	return (&n->n_port);
}

void
virtio_net_connect(struct virtio_net *n, struct network *network)
{
	n->n_network = network;
}

void
virtio_net_reset(struct virtio_net *n)
{
	virtio_reset(&n->n_virtio);
}

void
virtio_net_free(struct virtio_net *n)
{
	if (n == NULL)
		return;
	loop_timer_free(n->n_wake);
	virtio_fini(&n->n_virtio);
	free(n);
}
