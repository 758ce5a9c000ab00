/*
 * The split virtqueue (virtio 1.2, 2.7), the device's side.
 *
 *	descriptors	avail (driver's)	used (device's)
 *	0  addr,len,	0  flags, idx		0  flags, idx
 *	   flags,next	4  ring[size]		4  ring[size]: id, len
 *	16 ...		   used_event		   avail_event
 *
 * The driver owns descriptors and the avail ring, and may change both while we
 * look: it is another thread, and hostile.
 *
 * 1. What is read from guest memory is read once into a local; the local is
 *    checked and used.
 * 2. A walk along a chain is bounded by the queue's size, and by VQ_CHAIN_MAX
 *    within an indirect table.
 * 3. Every address of an enabled queue was checked when it was enabled; guest
 *    RAM neither moves nor ends while the machine lives.
 * 4. A rule broken by the driver ends in virtio_broken(), never elsewhere.
 *
 * Threads: any, with the device lock held.
 */
#include <assert.h>
#include <string.h>

#include "machine/virtio.h"

/* A descriptor (2.7.5). */
struct vring_desc {
	uint64_t	vd_addr;
	uint32_t	vd_len;
	uint16_t	vd_flags;
#define VRING_DESC_NEXT		1
#define VRING_DESC_WRITE	2
#define VRING_DESC_INDIRECT	4
	uint16_t	vd_next;
};

struct vring_used_elem {
	uint32_t	vu_id;
	uint32_t	vu_len;
};

#define VRING_IDX		2	/* offsets in both rings */
#define VRING_RING		4
#define VRING_NO_INTERRUPT	1	/* avail flags (2.7.7) */
#define VRING_NO_NOTIFY		1	/* used flags (2.7.10) */

/* A chain may hold no more than this in all (2.7.5.2). */
#define VQ_BYTES_MAX		(1ULL << 32)

static_assert(sizeof(struct vring_desc) == 16, "virtio 1.2, 2.7.5");
static_assert(sizeof(struct vring_used_elem) == 8, "virtio 1.2, 2.7.8");

/* --- the ring's words ----------------------------------------------------- */

/* An aligned 16-bit word of a ring, for good: no second look. */
static uint16_t
ring_load(const uint8_t *host, size_t offset)
{
	return (__atomic_load_n((const uint16_t *)(const void *)(host + offset),
	    __ATOMIC_ACQUIRE));
}

static void
used_store(struct virtqueue *vq, size_t offset, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)(vq->vq_used_host + offset),
	    value, __ATOMIC_RELEASE);
	gpa_written(vq->vq_dev->v_memory, vq->vq_used + offset, 2);
}

/* Orders our last store to the ring before our next load from it. */
static void
ring_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static size_t
avail_event_offset(const struct virtqueue *vq)
{
	return (VRING_RING + (size_t)vq->vq_size *
	    sizeof(struct vring_used_elem));
}

static size_t
used_event_offset(const struct virtqueue *vq)
{
	return (VRING_RING + (size_t)vq->vq_size * sizeof(uint16_t));
}

/* --- life ----------------------------------------------------------------- */

static bool
size_valid(const struct virtqueue *vq)
{
	const unsigned size = vq->vq_size;

	return (size != 0 && size <= vq->vq_size_max &&
	    (size & (size - 1)) == 0);
}

/* Finds the queue in RAM; NULL, or what is wrong with it. */
static const char *
vq_find(struct virtqueue *vq)
{
	const struct guest_memory *gm = vq->vq_dev->v_memory;
	const size_t size = vq->vq_size;

	if (!size_valid(vq))
		return ("queue size is not a power of two in range");
	if (vq->vq_desc % 16 != 0 || vq->vq_avail % 2 != 0 ||
	    vq->vq_used % 4 != 0)
		return ("queue is misaligned");
	/* The event words belong to the rings whether negotiated or not. */
	vq->vq_desc_host = gpa_host(gm, vq->vq_desc,
	    size * sizeof(struct vring_desc));
	vq->vq_avail_host = gpa_host(gm, vq->vq_avail,
	    used_event_offset(vq) + 2);
	vq->vq_used_host = gpa_host(gm, vq->vq_used,
	    avail_event_offset(vq) + 2);
	if (vq->vq_desc_host == NULL || vq->vq_avail_host == NULL ||
	    vq->vq_used_host == NULL)
		return ("queue is outside of memory");
	return (NULL);
}

bool
vq_enable(struct virtqueue *vq)
{
	const char *why;

	if ((why = vq_find(vq)) != NULL) {
		virtio_broken(vq->vq_dev, why);
		return (false);
	}
	vq->vq_last_avail = 0;
	vq->vq_used_idx = 0;
	vq->vq_signalled = 0;
	vq->vq_enabled = true;
	return (true);
}

void
vq_reset(struct virtqueue *vq)
{
	vq->vq_enabled = false;
	vq->vq_size = vq->vq_size_max;
	vq->vq_desc = vq->vq_avail = vq->vq_used = 0;
	vq->vq_desc_host = vq->vq_avail_host = vq->vq_used_host = NULL;
	vq->vq_last_avail = vq->vq_used_idx = vq->vq_signalled = 0;
}

void
vq_state(struct virtqueue *live, struct state *s)
{
	struct virtqueue vq = *live;
	const char *why;

	state_u16(s, &vq.vq_size);
	state_bool(s, &vq.vq_enabled);
	state_u64(s, &vq.vq_desc);
	state_u64(s, &vq.vq_avail);
	state_u64(s, &vq.vq_used);
	state_u16(s, &vq.vq_last_avail);
	state_u16(s, &vq.vq_used_idx);
	state_u16(s, &vq.vq_signalled);
	if (!state_loaded(s))
		return;
	if (vq.vq_enabled && (why = vq_find(&vq)) != NULL)
		state_bad(s, why);
	else
		*live = vq;
}

/* --- taking chains -------------------------------------------------------- */

static void
desc_copy(struct vring_desc *desc, const uint8_t *table, unsigned i)
{
	memcpy(desc, table + (size_t)i * sizeof(*desc), sizeof(*desc));
	/* The copy is what counts: the compiler must not look again. */
	__asm__ volatile("" : "+m"(*desc) : : "memory");
}

/* One buffer more for the chain; NULL, or what is wrong with it. */
static const char *
chain_add(const struct guest_memory *gm, struct vq_chain *chain,
    const struct vring_desc *desc)
{
	unsigned n = chain->vc_nread + chain->vc_nwrite;
	void *host;

	if (desc->vd_len == 0)
		return (NULL);
	if ((host = gpa_host(gm, desc->vd_addr, desc->vd_len)) == NULL)
		return ("buffer outside of memory");
	chain->vc_iov[n].iov_base = host;
	chain->vc_iov[n].iov_len = desc->vd_len;
	chain->vc_gpa[n] = desc->vd_addr;
	if (desc->vd_flags & VRING_DESC_WRITE) {
		chain->vc_nwrite++;
		chain->vc_wbytes += desc->vd_len;
	} else if (chain->vc_nwrite != 0) {
		return ("readable buffer after a writable one");
	} else {
		chain->vc_nread++;
		chain->vc_rbytes += desc->vd_len;
	}
	if (chain->vc_rbytes + chain->vc_wbytes > VQ_BYTES_MAX)
		return ("chain of more than 4 GiB");
	return (NULL);
}

/* Walks the chain that begins at its head; NULL, or what is wrong with it. */
static const char *
chain_walk(struct virtqueue *vq, struct vq_chain *chain)
{
	struct virtio *v = vq->vq_dev;
	const uint8_t *table = vq->vq_desc_host;
	unsigned i = chain->vc_head, n = vq->vq_size, count = 0;
	bool indirect = false;
	struct vring_desc desc;
	const char *why;

	for (;;) {
		desc_copy(&desc, table, i);
		if (desc.vd_flags & VRING_DESC_INDIRECT) {
			if (!virtio_has(v, VIRTIO_F_INDIRECT_DESC))
				return ("indirect descriptor not negotiated");
			if (indirect)
				return ("nested indirect descriptor");
			if (desc.vd_flags & VRING_DESC_NEXT)
				return ("indirect descriptor with a next one");
			if (desc.vd_len == 0 || desc.vd_len % sizeof(desc) != 0)
				return ("indirect table of odd length");
			table = gpa_host(v->v_memory, desc.vd_addr,
			    desc.vd_len);
			if (table == NULL)
				return ("indirect table outside of memory");
			n = desc.vd_len / sizeof(desc);
			i = 0;
			indirect = true;
			continue;
		}
		if (++count > (indirect ? VQ_CHAIN_MAX : vq->vq_size))
			return (indirect ? "chain too long" : "chain loops");
		if ((why = chain_add(v->v_memory, chain, &desc)) != NULL)
			return (why);
		if (!(desc.vd_flags & VRING_DESC_NEXT))
			return (NULL);
		if ((i = desc.vd_next) >= n)
			return ("next descriptor out of range");
	}
}

int
vq_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	uint16_t head, pending;
	const char *why;

	if (!vq->vq_enabled || !virtio_ready(vq->vq_dev))
		return (0);
	pending = (uint16_t)(ring_load(vq->vq_avail_host, VRING_IDX) -
	    vq->vq_last_avail);
	if (pending == 0)
		return (0);
	if (pending > vq->vq_size) {
		virtio_broken(vq->vq_dev, "available index jumped");
		return (-1);
	}
	head = ring_load(vq->vq_avail_host, VRING_RING +
	    2 * (size_t)(vq->vq_last_avail & (vq->vq_size - 1)));
	if (head >= vq->vq_size) {
		virtio_broken(vq->vq_dev, "available descriptor out of range");
		return (-1);
	}
	chain->vc_head = head;
	chain->vc_nread = chain->vc_nwrite = 0;
	chain->vc_rbytes = chain->vc_wbytes = 0;
	if ((why = chain_walk(vq, chain)) != NULL) {
		virtio_broken(vq->vq_dev, why);
		return (-1);
	}
	vq->vq_last_avail++;
	return (1);
}

void
vq_unpop(struct virtqueue *vq)
{
	vq->vq_last_avail--;
}

unsigned
vq_available(struct virtqueue *vq)
{
	if (!vq->vq_enabled || !virtio_ready(vq->vq_dev))
		return (0);
	return ((uint16_t)(ring_load(vq->vq_avail_host, VRING_IDX) -
	    vq->vq_last_avail));
}

bool
vq_empty(struct virtqueue *vq)
{
	return (vq_available(vq) == 0);
}

/* --- giving chains back --------------------------------------------------- */

void
vq_put(struct virtqueue *vq, unsigned n, uint16_t head, uint32_t len)
{
	struct vring_used_elem elem = { .vu_id = head, .vu_len = len };
	size_t offset;

	if (!vq->vq_enabled)
		return;
	offset = VRING_RING + sizeof(elem) *
	    (size_t)((vq->vq_used_idx + n) & (unsigned)(vq->vq_size - 1));
	memcpy(vq->vq_used_host + offset, &elem, sizeof(elem));
	gpa_written(vq->vq_dev->v_memory, vq->vq_used + offset, sizeof(elem));
}

void
vq_publish(struct virtqueue *vq, unsigned count)
{
	if (!vq->vq_enabled)
		return;
	vq->vq_used_idx = (uint16_t)(vq->vq_used_idx + count);
	/* The release store orders data and elements before the index. */
	used_store(vq, VRING_IDX, vq->vq_used_idx);
}

void
vq_push(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	vq_put(vq, 0, head, len);
	vq_publish(vq, 1);
}

/* --- who tells whom ------------------------------------------------------- */

/* Has the driver asked to be told of what was pushed since we last asked?
 * (2.7.7.2, 2.7.10) */
static bool
vq_wants_interrupt(struct virtqueue *vq)
{
	uint16_t event, now = vq->vq_used_idx, old = vq->vq_signalled;

	vq->vq_signalled = now;
	if (now == old)
		return (false);
	ring_fence();
	if (!virtio_has(vq->vq_dev, VIRTIO_F_EVENT_IDX))
		return (!(ring_load(vq->vq_avail_host, 0) &
		    VRING_NO_INTERRUPT));
	event = ring_load(vq->vq_avail_host, used_event_offset(vq));
	return ((uint16_t)(now - event - 1) < (uint16_t)(now - old));
}

void
vq_interrupt(struct virtqueue *vq)
{
	if (vq->vq_enabled && virtio_ready(vq->vq_dev) &&
	    vq_wants_interrupt(vq))
		virtio_interrupt(vq->vq_dev, VIRTIO_ISR_QUEUE);
}

bool
vq_notify_beyond(struct virtqueue *vq, unsigned count)
{
	if (!vq->vq_enabled)
		return (false);
	if (virtio_has(vq->vq_dev, VIRTIO_F_EVENT_IDX))
		used_store(vq, avail_event_offset(vq),
		    (uint16_t)(vq->vq_last_avail + count));
	else
		used_store(vq, 0, 0);
	ring_fence();
	return (vq_available(vq) > count);
}

bool
vq_notify_on(struct virtqueue *vq)
{
	return (vq_notify_beyond(vq, 0));
}

void
vq_notify_off(struct virtqueue *vq)
{
	/* With event indices it is enough not to move avail_event on. */
	if (vq->vq_enabled && !virtio_has(vq->vq_dev, VIRTIO_F_EVENT_IDX))
		used_store(vq, 0, VRING_NO_NOTIFY);
}

/* --- a chain's bytes ------------------------------------------------------ */

size_t
chain_read(const struct vq_chain *chain, size_t offset, void *buf, size_t len)
{
	size_t done = 0, n;
	unsigned i;

	for (i = 0; i < chain->vc_nread && done < len; i++) {
		const struct iovec *iov = &chain->vc_iov[i];

		if (offset >= iov->iov_len) {
			offset -= iov->iov_len;
			continue;
		}
		n = iov->iov_len - offset;
		if (n > len - done)
			n = len - done;
		memcpy((uint8_t *)buf + done, (uint8_t *)iov->iov_base + offset,
		    n);
		done += n;
		offset = 0;
	}
	return (done);
}

size_t
chain_write(const struct virtio *v, const struct vq_chain *chain, size_t offset,
    const void *buf, size_t len)
{
	unsigned i, end = chain->vc_nread + chain->vc_nwrite;
	size_t done = 0, n;

	for (i = chain->vc_nread; i < end && done < len; i++) {
		const struct iovec *iov = &chain->vc_iov[i];

		if (offset >= iov->iov_len) {
			offset -= iov->iov_len;
			continue;
		}
		n = iov->iov_len - offset;
		if (n > len - done)
			n = len - done;
		memcpy((uint8_t *)iov->iov_base + offset,
		    (const uint8_t *)buf + done, n);
		gpa_written(v->v_memory, chain->vc_gpa[i] + offset, n);
		done += n;
		offset = 0;
	}
	return (done);
}
