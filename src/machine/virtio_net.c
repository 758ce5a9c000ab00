/*
 * The network device (virtio 1.2, 5.1): a receive and a transmit queue.
 * Checksums may be left to others and TCP packets be larger than the MTU, both
 * ways; receive buffers may be merged.
 *
 * 1. Frames move on the loop's thread only. A notify on the VCPU's thread
 *    wakes it by n_wake, a timer that is due at once.
 * 2. The network is called without the device lock: it may hand us a frame
 *    before it returns. The frame on its way out is in n_out, which belongs
 *    to the loop's thread.
 * 3. While the network holds frames back (np_ready said no), notifications of
 *    new receive buffers are on. A frame that was taken and needs more buffers
 *    than there were waits for them in n_held; np_ready says no meanwhile.
 * 4. Networks hand us all that network.h allows; what the driver did not agree
 *    to is done here, in n_work, which belongs to the loop's thread.
 *
 * Threads: see 1; the device lock guards all but [I] and [o].
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "machine/virtio.h"
#include "machine/virtio_net.h"
#include "network/offload.h"

/* Features (5.1.3). */
#define NET_F_CSUM		(1ULL << 0)	/* we fill in checksums */
#define NET_F_GUEST_CSUM	(1ULL << 1)	/* so does the driver */
#define NET_F_MTU		(1ULL << 3)
#define NET_F_MAC		(1ULL << 5)
#define NET_F_GUEST_TSO4	(1ULL << 7)	/* it takes large packets */
#define NET_F_GUEST_TSO6	(1ULL << 8)
#define NET_F_GUEST_ECN		(1ULL << 9)
#define NET_F_HOST_TSO4		(1ULL << 11)	/* we take large packets */
#define NET_F_HOST_TSO6		(1ULL << 12)
#define NET_F_HOST_ECN		(1ULL << 13)
#define NET_F_MRG_RXBUF		(1ULL << 15)
#define NET_F_STATUS		(1ULL << 16)

/* Device configuration (5.1.4). */
struct net_config {
	uint8_t		mac[6];
	uint16_t	status;
#define NET_S_LINK_UP	1
	uint16_t	pairs;		/* without a meaning here */
	uint16_t	mtu;
};
_Static_assert(sizeof(struct net_config) == 12, "virtio 1.2, 5.1.4");

/* What stands before each frame (5.1.6). */
struct net_header {
	struct network_header offload;
	uint16_t	num_buffers;	/* not of an old driver without merging */
};
#define NET_HEADER_OLD		offsetof(struct net_header, num_buffers)
_Static_assert(sizeof(struct net_header) == 12, "virtio 1.2, 5.1.6");

/* What a large packet takes of either side. */
static const struct net_gso {
	uint8_t		type;		/* without NETWORK_GSO_ECN */
	uint64_t	host, guest;
} net_gso[] = {
	{ NETWORK_GSO_TCPV4,	NET_F_HOST_TSO4, NET_F_GUEST_TSO4 },
	{ NETWORK_GSO_TCPV6,	NET_F_HOST_TSO6, NET_F_GUEST_TSO6 },
};

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
	struct network_header	 n_out_header;	/* [o] of n_out */
	uint8_t			 n_out[NETWORK_FRAME_MAX];	/* [o] */
	uint8_t			 n_work[NETWORK_FRAME_MAX];	/* [o] */
	unsigned		 n_mtu;		/* [I] */
	struct virtio_net_counts n_counts;
	struct offload_cut	 n_cut;		/* of a packet being cut */
	struct network_header	 n_held_header;
	size_t			 n_held_len;	/* 0: none waits */
	bool			 n_held_cut;	/* it goes on by n_cut */
	unsigned		 n_short;	/* buffers that were too few */
	uint8_t			 n_held[NETWORK_FRAME_MAX];
};

static size_t
net_header_size(const struct virtio_net *n)
{
	if (virtio_has(&n->n_virtio, VIRTIO_F_VERSION_1 | NET_F_MRG_RXBUF))
		return (sizeof(struct net_header));
	return (NET_HEADER_OLD);
}

/* Did the driver agree to what a header asks for, in one direction? */
static bool
net_agreed(const struct virtio_net *n, const struct network_header *nh,
    bool to_guest)
{
	const struct virtio *v = &n->n_virtio;
	uint8_t type = nh->nh_gso_type & (uint8_t)~NETWORK_GSO_ECN;
	size_t i;

	if ((nh->nh_flags & NETWORK_NEEDS_CSUM) != 0 &&
	    !virtio_has(v, to_guest ? NET_F_GUEST_CSUM : NET_F_CSUM))
		return (false);
	if (nh->nh_gso_type == NETWORK_GSO_NONE)
		return (true);
	if ((nh->nh_gso_type & NETWORK_GSO_ECN) != 0 &&
	    !virtio_has(v, to_guest ? NET_F_GUEST_ECN : NET_F_HOST_ECN))
		return (false);
	for (i = 0; i < sizeof(net_gso) / sizeof(net_gso[0]); i++)
		if (net_gso[i].type == type)
			return (virtio_has(v, to_guest ? net_gso[i].guest :
			    net_gso[i].host));
	return (false);
}

/* --- guest to network ----------------------------------------------------- */

/* Copies the frame out of a chain; 0 if it is none that we could send. */
static size_t
net_take(struct virtio_net *n, const struct vq_chain *chain)
{
	struct network_header *nh = &n->n_out_header;
	size_t header = net_header_size(n), len;

	if (chain->vc_rbytes < header + NETWORK_FRAME_MIN ||
	    chain->vc_rbytes > header + sizeof(n->n_out))
		return (0);
	chain_read(chain, 0, nh, sizeof(*nh));
	/* the others are not for us to understand (5.1.6.2) */
	nh->nh_flags &= NETWORK_NEEDS_CSUM;
	if (!net_agreed(n, nh, false))
		return (0);
	len = (size_t)chain->vc_rbytes - header;
	chain_read(chain, header, n->n_out, len);
	return (offload_valid(nh, n->n_out, len) ? len : 0);
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
	if (*len == 0)
		n->n_counts.vc_refused++;
	else
		n->n_counts.vc_out++;
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
			network_send(n->n_network, &n->n_out_header, n->n_out,
			    len);
	}
	loop_timer_set(n->n_wake, 0);
}

/* --- network to guest ----------------------------------------------------- */

enum net_given { NET_GIVEN, NET_DROPPED, NET_NO_ROOM };

/*
 * Spreads header and frame over as many chains as they need, if merging was
 * agreed on. If there are not enough, the queue is then as before; a frame for
 * which there never will be is dropped.
 */
static enum net_given
net_give(struct virtio_net *n, const struct network_header *nh,
    const uint8_t *frame, size_t len)
{
	struct virtio *v = &n->n_virtio;
	struct virtqueue *vq = &v->v_queue[NET_RX];
	struct net_header h = { .offload = *nh, .num_buffers = 1 };
	size_t header = net_header_size(n), done = 0, put;
	struct vq_chain *chain = &n->n_first;
	enum net_given why = NET_DROPPED;
	uint16_t count = 0;
	int popped;

	do {
		if ((popped = vq_pop(vq, chain)) != 1) {
			if (popped == 0 && count < vq->vq_size)
				why = NET_NO_ROOM;
			n->n_short = count;
			goto undo;
		}
		count++;
		if (chain->vc_wbytes < (count == 1 ? header : 1)) {
			virtio_broken(v, "receive buffer without room");
			return (NET_DROPPED);
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
	n->n_counts.vc_in++;
	return (NET_GIVEN);
undo:
	while (count-- > 0)
		vq_unpop(vq);
	return (why);
}

/* The rest of a packet too large for the driver, as frames for it. */
static enum net_given
net_give_cut(struct virtio_net *n)
{
	struct network_header each = { 0 };
	struct offload_cut before;
	enum net_given given;
	size_t len;

	if (virtio_has(&n->n_virtio, NET_F_GUEST_CSUM))
		each.nh_flags = NETWORK_DATA_VALID;
	for (;;) {
		before = n->n_cut;
		len = offload_next(&n->n_cut, n->n_work, sizeof(n->n_work));
		if (len == 0)
			return (NET_GIVEN);
		given = net_give(n, &each, n->n_work, len);
		if (given != NET_GIVEN) {
			n->n_cut = before;
			return (given);
		}
	}
}

/* A frame with its header as the driver may have them. */
static enum net_given
net_deliver(struct virtio_net *n, const struct network_header *nh,
    const uint8_t *frame, size_t len)
{
	struct network_header h = *nh;

	n->n_held_cut = false;
	if (!net_agreed(n, &h, true)) {
		if (offload_large(&h)) {
			offload_cut(&n->n_cut, &h, frame, len);
			n->n_held_cut = true;
			return (net_give_cut(n));
		}
		frame = memcpy(n->n_work, frame, len);
		offload_checksum(&h, n->n_work, len);
		h = (struct network_header){ 0 };
	}
	if (!virtio_has(&n->n_virtio, NET_F_GUEST_CSUM))
		h.nh_flags = 0;
	if (offload_large(&h))
		h.nh_hdr_len = (uint16_t)offload_headers(&h, frame, len);
	return (net_give(n, &h, frame, len));
}

/* The frame that waits; false: it goes on waiting, and we hear of buffers. */
static bool
net_resume(struct virtio_net *n)
{
	struct virtqueue *vq = &n->n_virtio.v_queue[NET_RX];
	enum net_given given;
	unsigned i;

	for (i = 0; i < VQ_SIZE_MAX; i++) {
		given = n->n_held_cut ? net_give_cut(n) : net_deliver(n,
		    &n->n_held_header, n->n_held, n->n_held_len);
		if (given != NET_NO_ROOM) {
			n->n_counts.vc_lost += given == NET_DROPPED;
			n->n_held_len = 0;
			vq_interrupt(vq);
			return (true);
		}
		if (!vq_notify_beyond(vq, n->n_short))
			break;
	}
	vq_interrupt(vq);
	return (false);
}

/* Keeps a frame for which there was no room. */
static void
net_hold(struct virtio_net *n, const struct network_header *nh,
    const uint8_t *frame, size_t len)
{
	n->n_held_header = *nh;
	memcpy(n->n_held, frame, len);
	n->n_held_len = len;
	n->n_cut.oc_frame = n->n_held;
	(void)net_resume(n);
}

/* Room for a frame? If not, the guest will tell us of new buffers. */
static bool
net_room(struct virtio_net *n)
{
	struct virtqueue *vq = &n->n_virtio.v_queue[NET_RX];

	if (n->n_held_len != 0 && !net_resume(n))
		return (false);
	return (!vq_empty(vq) || vq_notify_on(vq));
}

/* Is a frame larger than what a driver was told that it can expect? */
static bool
net_too_large(const struct virtio_net *n, const struct network_header *nh,
    const uint8_t *frame, size_t len)
{
	size_t most = n->n_mtu + NETWORK_FRAME_MIN;

	if (!virtio_has(&n->n_virtio, NET_F_MTU))
		return (false);
	if (frame[12] == 0x81 && frame[13] == 0)	/* a VLAN's tag */
		most += 4;
	return (len > most && offload_wire_size(nh, frame, len) > most);
}

static bool
net_receive(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	static const struct network_header none;
	enum net_given given = NET_DROPPED;
	struct virtio_net *n = arg;

	if (len < NETWORK_FRAME_MIN || len > NETWORK_FRAME_MAX ||
	    !offload_valid(nh, frame, len))
		return (false);
	if (nh == NULL)
		nh = &none;
	pthread_mutex_lock(&n->n_virtio.v_lock);
	if (net_room(n) && !net_too_large(n, nh, frame, len))
		given = net_deliver(n, nh, frame, len);
	if (given == NET_NO_ROOM)
		net_hold(n, nh, frame, len);
	if (given == NET_DROPPED)
		n->n_counts.vc_lost++;
	else
		vq_interrupt(&n->n_virtio.v_queue[NET_RX]);
	pthread_mutex_unlock(&n->n_virtio.v_lock);
	return (given != NET_DROPPED);
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

/* What waits for buffers was for a driver that is no more. */
static void
net_stop(void *arg)
{
	struct virtio_net *n = arg;

	n->n_held_len = 0;
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

/* Buffers may be there of which the loop has not been told. A frame that waited
 * is lost. */
static void
net_state(void *arg, struct state *s)
{
	struct virtio_net *n = arg;

	state_bytes(s, n->n_virtio.v_config,
	    sizeof(((struct net_config *)0)->mac));
	if (state_loaded(s)) {
		n->n_held_len = 0;
		loop_timer_set(n->n_wake, 0);
	}
}

static const struct virtio_ops net_ops = {
	.vo_name	= "virtio-net",
	.vo_id		= 1,
	.vo_pci_id	= 0x1000,
	.vo_class	= 0x02,		/* network, */
	.vo_subclass	= 0x00,		/* Ethernet */
	.vo_nqueues	= NET_NQUEUES,
	.vo_queue_size	= { [NET_RX] = 256, [NET_TX] = 256 },
	.vo_features	= NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU |
	    NET_F_MAC | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 |
	    NET_F_GUEST_ECN | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 |
	    NET_F_HOST_ECN | NET_F_MRG_RXBUF | NET_F_STATUS,
	.vo_config_size	= sizeof(struct net_config),
	.vo_notify	= net_notify,
	.vo_reset	= net_stop,
	.vo_config_write = net_config_write,
	.vo_state	= net_state,
};

int
virtio_net_new(struct virtio_net **np, struct loop *loop, const uint8_t mac[6],
    unsigned mtu, const struct guest_memory *memory, struct pci *pci,
    const struct irq *irq)
{
	struct net_config c = { .status = NET_S_LINK_UP,
		.mtu = (uint16_t)mtu };
	struct virtio_net *n;

	if ((n = calloc(1, sizeof(*n))) == NULL)
		return (-1);
	n->n_loop = loop;
	n->n_mtu = mtu;
	n->n_port = (struct network_port){ .np_receive = net_receive,
	    .np_ready = net_ready, .np_arg = n, .np_mtu = mtu };
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
virtio_net_count(struct virtio_net *n, struct virtio_net_counts *counts)
{
	pthread_mutex_lock(&n->n_virtio.v_lock);
	*counts = n->n_counts;
	pthread_mutex_unlock(&n->n_virtio.v_lock);
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

void
virtio_net_state(struct virtio_net *n, struct state *s)
{
	virtio_state(&n->n_virtio, s);
}
