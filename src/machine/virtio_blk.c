/*
 * The block device (virtio 1.2, 5.2): requests on one queue, each carried out
 * by the disk while the VCPU goes on.
 *
 *	readable: type, reserved, sector (16 bytes); data of a write
 *	writable: data of a read; status (1 byte, the last)
 *
 * Header, data and status may be cut into descriptors in any way.
 *
 * 1. A request is either in b_free, or in flight: between vq_pop() and
 *    vq_push(), known to the disk or on its way.
 * 2. A request answered without the disk (an error, GET_ID) is pushed by the
 *    thread that popped it.
 * 3. A driver that knows no flush gets a write-through disk (5.2.6.2): its
 *    writes are answered when a flush after them is done.
 *
 * 4. A driver that has one request under way at a time gains nothing by a
 *    thread: what the disk can do without waiting is done by the one that
 *    notifies, up to BLK_NOW_BYTES in one go. One that has many gains by
 *    fewer notifications and interrupts while they go on beside the VCPU.
 *    Which it is shows when one is under way, so each BLK_PROBE-th is.
 *
 * Threads: notify on the VCPU's; blk_done() on the disk's. Both under the
 * device lock, which guards everything here that is not [I].
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/virtio.h"
#include "machine/virtio_blk.h"

/* Features (5.2.3). */
#define BLK_F_SEG_MAX		(1ULL << 2)
#define BLK_F_RO		(1ULL << 5)
#define BLK_F_BLK_SIZE		(1ULL << 6)
#define BLK_F_FLUSH		(1ULL << 9)
#define BLK_F_TOPOLOGY		(1ULL << 10)
#define BLK_F_DISCARD		(1ULL << 13)
#define BLK_F_WRITE_ZEROES	(1ULL << 14)

/* Device configuration (5.2.4). */
struct blk_config {
	uint64_t	capacity;	/* in sectors */
	uint32_t	size_max;
	uint32_t	seg_max;
	uint16_t	cylinders;
	uint8_t		heads, sectors;
	uint32_t	blk_size;
	uint8_t		physical_block_exp, alignment_offset;
	uint16_t	min_io_size;
	uint32_t	opt_io_size;
	uint8_t		writeback, unused0;
	uint16_t	num_queues;
	uint32_t	max_discard_sectors, max_discard_seg;
	uint32_t	discard_sector_alignment;
	uint32_t	max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t		write_zeroes_may_unmap, unused1[3];
};
_Static_assert(sizeof(struct blk_config) <= VIRTIO_CONFIG_MAX, "v_config");

struct blk_header {
	uint32_t	type;
	uint32_t	reserved;
	uint64_t	sector;
};

/* What a discard or write zeroes request carries (5.2.6). */
struct blk_range {
	uint64_t	sector;
	uint32_t	num_sectors;
	uint32_t	flags;
#define BLK_RANGE_UNMAP	0x1
};

/* Status (5.2.6); the last is ours: the disk will answer. */
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2, BLK_S_LATER = 0xff };

#define SECTOR		512
#define BLK_QUEUE_SIZE	VQ_SIZE_MAX
#define BLK_RANGE_MAX	(1U << 22)	/* sectors of a range: 2 GiB */
#define BLK_ID_BYTES	20
#define BLK_NOW_BYTES	(2 * DISK_NOW_BYTES)
#define BLK_ALONE	4	/* requests in a row: one at a time */
#define BLK_PROBE	32

struct blk_request {
	struct disk_req		 q_disk;
	struct virtio_blk	*q_blk;		/* [I] */
	struct vq_chain		 q_chain;	/* less the status byte */
	uint8_t			*q_status;
	uint64_t		 q_status_gpa;
	uint64_t		 q_written;	/* bytes of data given */
	struct blk_request	*q_next;	/* in b_free */
};

struct virtio_blk {
	struct virtio		 b_virtio;
	struct disk		*b_disk;	/* [I] */
	uint64_t		 b_sectors;	/* [I] */
	struct blk_request	*b_requests;	/* [I] BLK_QUEUE_SIZE of them */
	struct blk_request	*b_free;
	unsigned		 b_inflight;
	unsigned		 b_alone;	/* so many found none in it */
	pthread_cond_t		 b_idle;	/* b_inflight is 0 */
};

static void	blk_notify(void *, struct virtqueue *);

/* --- answering ------------------------------------------------------------ */

/* Gives a request back: status byte, used ring. */
static void
blk_answer(struct blk_request *q, uint8_t status)
{
	struct virtio_blk *b = q->q_blk;
	uint64_t len = 1;

	*q->q_status = status;
	gpa_written(b->b_virtio.v_memory, q->q_status_gpa, 1);
	/* The used length promises bytes from the first on (2.7.8.2): without
	 * all of the data before it the status byte alone is not there. */
	if (q->q_written == q->q_chain.vc_wbytes)
		len += q->q_written;
	vq_push(&b->b_virtio.v_queue[0], q->q_chain.vc_head,
	    len > UINT32_MAX ? UINT32_MAX : (uint32_t)len);
	q->q_next = b->b_free;
	b->b_free = q;
	if (--b->b_inflight == 0)
		pthread_cond_broadcast(&b->b_idle);
}

/* The disk has written the chain's data buffers, perhaps not all. */
static void
blk_report_data(const struct blk_request *q)
{
	const struct vq_chain *chain = &q->q_chain;
	unsigned i, end = chain->vc_nread + chain->vc_nwrite;

	for (i = chain->vc_nread; i < end; i++)
		gpa_written(q->q_blk->b_virtio.v_memory, chain->vc_gpa[i],
		    chain->vc_iov[i].iov_len);
}

static void
blk_done(struct disk_req *d, int error)
{
	struct blk_request *q = d->dr_arg;
	struct virtio_blk *b = q->q_blk;
	struct virtio *v = &b->b_virtio;
	bool starved;

	if (d->dr_op == DISK_READ) {
		blk_report_data(q);
		q->q_written = error == 0 ? d->dr_length : 0;
	}
	pthread_mutex_lock(&v->v_lock);
	if (error == 0 && d->dr_op != DISK_READ && d->dr_op != DISK_FLUSH &&
	    !virtio_has(v, BLK_F_FLUSH)) {
		d->dr_op = DISK_FLUSH;
		d->dr_offset = d->dr_length = 0;
		d->dr_niov = 0;
		disk_submit(b->b_disk, d);
		pthread_mutex_unlock(&v->v_lock);
		return;
	}
	starved = b->b_free == NULL;
	blk_answer(q, error == 0 ? BLK_S_OK :
	    error == EOPNOTSUPP ? BLK_S_UNSUPP : BLK_S_IOERR);
	vq_interrupt(&v->v_queue[0]);
	if (starved)
		blk_notify(b, &v->v_queue[0]);
	pthread_mutex_unlock(&v->v_lock);
}

/* --- what is asked -------------------------------------------------------- */

static bool
blk_in_range(const struct virtio_blk *b, uint64_t sector, uint64_t sectors)
{
	return (sector <= b->b_sectors && sectors <= b->b_sectors - sector);
}

/* IN: the writable part of the chain is the data. */
static uint8_t
blk_in(struct blk_request *q, const struct blk_header *h)
{
	struct vq_chain *chain = &q->q_chain;
	struct disk_req *d = &q->q_disk;

	d->dr_offset = h->sector * SECTOR;
	d->dr_length = chain->vc_wbytes;
	d->dr_iov = &chain->vc_iov[chain->vc_nread];
	d->dr_niov = (int)chain->vc_nwrite;
	if (d->dr_length % SECTOR != 0 ||
	    !blk_in_range(q->q_blk, h->sector, d->dr_length / SECTOR))
		return (BLK_S_IOERR);
	return (d->dr_length == 0 ? BLK_S_OK : BLK_S_LATER);
}

/* OUT: the readable part behind the header is. */
static uint8_t
blk_out(struct blk_request *q, const struct blk_header *h)
{
	struct vq_chain *chain = &q->q_chain;
	struct disk_req *d = &q->q_disk;
	size_t skip = sizeof(*h);
	unsigned i;

	for (i = 0; skip >= chain->vc_iov[i].iov_len; ) {
		skip -= chain->vc_iov[i].iov_len;
		if (++i == chain->vc_nread)
			return (BLK_S_OK);	/* no data at all */
	}
	chain->vc_iov[i].iov_base = (uint8_t *)chain->vc_iov[i].iov_base + skip;
	chain->vc_iov[i].iov_len -= skip;
	d->dr_offset = h->sector * SECTOR;
	d->dr_length = chain->vc_rbytes - sizeof(*h);
	d->dr_iov = &chain->vc_iov[i];
	d->dr_niov = (int)(chain->vc_nread - i);
	if (d->dr_length % SECTOR != 0 || disk_readonly(q->q_blk->b_disk) ||
	    !blk_in_range(q->q_blk, h->sector, d->dr_length / SECTOR))
		return (BLK_S_IOERR);
	return (BLK_S_LATER);
}

static uint8_t
blk_flush(struct blk_request *q, const struct blk_header *h)
{
	(void)q;
	(void)h;
	return (BLK_S_LATER);
}

static uint8_t
blk_get_id(struct blk_request *q, const struct blk_header *h)
{
	char id[BLK_ID_BYTES];

	(void)h;
	disk_serial(q->q_blk->b_disk, id);
	q->q_written = chain_write(&q->q_blk->b_virtio, &q->q_chain, 0, id,
	    sizeof(id));
	return (BLK_S_OK);
}

/* DISCARD, WRITE_ZEROES: one range, as the configuration says. */
static uint8_t
blk_range(struct blk_request *q, const struct blk_header *h)
{
	struct virtio_blk *b = q->q_blk;
	struct disk_req *d = &q->q_disk;
	struct blk_range range;

	if (!(b->b_virtio.v_offered & BLK_F_DISCARD))
		return (BLK_S_UNSUPP);
	if (q->q_chain.vc_rbytes != sizeof(*h) + sizeof(range))
		return (BLK_S_IOERR);
	chain_read(&q->q_chain, sizeof(*h), &range, sizeof(range));
	if (range.flags & ~BLK_RANGE_UNMAP)
		return (BLK_S_UNSUPP);
	d->dr_unmap = (range.flags & BLK_RANGE_UNMAP) != 0;
	if (d->dr_op == DISK_DISCARD && d->dr_unmap)
		return (BLK_S_UNSUPP);
	if (range.num_sectors > BLK_RANGE_MAX ||
	    !blk_in_range(b, range.sector, range.num_sectors))
		return (BLK_S_IOERR);
	d->dr_offset = range.sector * SECTOR;
	d->dr_length = (uint64_t)range.num_sectors * SECTOR;
	return (d->dr_length == 0 ? BLK_S_OK : BLK_S_LATER);
}

/* Each prepares q_disk and says BLK_S_LATER, or is done and says how. */
static const struct blk_type {
	uint32_t	bt_type;	/* 5.2.6 */
	enum disk_op	bt_op;
	uint8_t		(*bt_fn)(struct blk_request *,
			    const struct blk_header *);
} blk_types[] = {
	{ 0,	DISK_READ,		blk_in },
	{ 1,	DISK_WRITE,		blk_out },
	{ 4,	DISK_FLUSH,		blk_flush },
	{ 8,	DISK_READ,		blk_get_id },	/* without the disk */
	{ 11,	DISK_DISCARD,		blk_range },
	{ 13,	DISK_WRITE_ZEROES,	blk_range },
};

/* Keeps the place of the status byte, and takes it off the chain. */
static void
blk_take_status(struct blk_request *q)
{
	struct vq_chain *chain = &q->q_chain;
	unsigned last = chain->vc_nread + chain->vc_nwrite - 1;
	struct iovec *iov = &chain->vc_iov[last];

	iov->iov_len--;
	chain->vc_wbytes--;
	q->q_status = (uint8_t *)iov->iov_base + iov->iov_len;
	q->q_status_gpa = chain->vc_gpa[last] + iov->iov_len;
	if (iov->iov_len == 0)
		chain->vc_nwrite--;
}

static uint8_t
blk_begin(struct blk_request *q)
{
	struct disk_req *d = &q->q_disk;
	struct blk_header h;
	size_t i;

	chain_read(&q->q_chain, 0, &h, sizeof(h));
	memset(d, 0, sizeof(*d));
	d->dr_done = blk_done;
	d->dr_arg = q;
	q->q_written = 0;
	for (i = 0; i < sizeof(blk_types) / sizeof(blk_types[0]); i++) {
		if (blk_types[i].bt_type == h.type) {
			d->dr_op = blk_types[i].bt_op;
			return (blk_types[i].bt_fn(q, &h));
		}
	}
	return (BLK_S_UNSUPP);
}

/* --- the device ----------------------------------------------------------- */

/* Has the disk do it at once, if that is possible and right. */
static bool
blk_now(struct blk_request *q, uint64_t *bytes)
{
	struct virtio_blk *b = q->q_blk;
	struct disk_req *d = &q->q_disk;

	if (b->b_inflight > 1) {
		b->b_alone = 0;
		return (false);
	}
	b->b_alone++;
	if (b->b_alone <= BLK_ALONE || b->b_alone % BLK_PROBE == 0 ||
	    d->dr_length > BLK_NOW_BYTES - *bytes ||
	    (d->dr_op == DISK_WRITE && !virtio_has(&b->b_virtio, BLK_F_FLUSH)))
		return (false);
	if (!disk_now(b->b_disk, d))
		return (false);
	*bytes += d->dr_length;
	if (d->dr_op == DISK_READ) {
		blk_report_data(q);
		q->q_written = d->dr_length;
	}
	return (true);
}

/* Takes what the queue holds. One that finds no free request leaves the rest
 * to blk_done(). */
static void
blk_notify(void *arg, struct virtqueue *vq)
{
	struct virtio_blk *b = arg;
	struct blk_request *q;
	uint64_t bytes = 0;	/* of what was done at once */
	uint8_t status;
	bool answered = false;

	do {
		vq_notify_off(vq);
		while ((q = b->b_free) != NULL &&
		    vq_pop(vq, &q->q_chain) == 1) {
			if (q->q_chain.vc_rbytes < sizeof(struct blk_header) ||
			    q->q_chain.vc_wbytes < 1) {
				virtio_broken(&b->b_virtio,
				    "request without header or status");
				return;
			}
			b->b_free = q->q_next;
			b->b_inflight++;
			blk_take_status(q);
			status = blk_begin(q);
			if (status == BLK_S_LATER && blk_now(q, &bytes))
				status = BLK_S_OK;
			if (status == BLK_S_LATER) {
				disk_submit(b->b_disk, &q->q_disk);
			} else {
				blk_answer(q, status);
				answered = true;
			}
		}
	} while (b->b_free != NULL && vq_notify_on(vq));
	if (answered)
		vq_interrupt(vq);
}

static void
blk_wait_idle(void *arg)
{
	struct virtio_blk *b = arg;

	while (b->b_inflight != 0)
		pthread_cond_wait(&b->b_idle, &b->b_virtio.v_lock);
}

static void
blk_state(void *arg, struct state *s)
{
	struct virtio_blk *b = arg;

	state_same(s, "size in sectors", b->b_sectors);
}

static const struct virtio_ops blk_ops = {
	.vo_name	= "virtio-blk",
	.vo_id		= 2,
	.vo_pci_id	= 0x1001,
	.vo_class	= 0x01,		/* mass storage, */
	.vo_subclass	= 0x80,		/* other */
	.vo_nqueues	= 1,
	.vo_queue_size	= { BLK_QUEUE_SIZE },
	.vo_features	= BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH |
			  BLK_F_TOPOLOGY,
	.vo_config_size	= sizeof(struct blk_config),
	.vo_notify	= blk_notify,
	.vo_reset	= blk_wait_idle,
	.vo_settle	= blk_wait_idle,
	.vo_state	= blk_state,
};

static void
blk_configure(struct virtio_blk *b)
{
	struct blk_config c = {
		.capacity	= b->b_sectors,
		.seg_max	= BLK_QUEUE_SIZE - 2,	/* header, status */
		.blk_size	= SECTOR,
		.physical_block_exp = 3,	/* 4 KiB: the host's pages */
		.min_io_size	= 1,
		.num_queues	= 1,
	};

	if (disk_readonly(b->b_disk)) {
		b->b_virtio.v_offered |= BLK_F_RO;
	} else {
		b->b_virtio.v_offered |= BLK_F_DISCARD | BLK_F_WRITE_ZEROES;
		c.max_discard_sectors = BLK_RANGE_MAX;
		c.max_discard_seg = 1;
		c.discard_sector_alignment = 8;
		c.max_write_zeroes_sectors = BLK_RANGE_MAX;
		c.max_write_zeroes_seg = 1;
		c.write_zeroes_may_unmap = 1;
	}
	memcpy(b->b_virtio.v_config, &c, sizeof(c));
}

int
virtio_blk_new(struct virtio_blk **bp, struct disk *disk,
    const struct guest_memory *memory, struct pci *pci, const struct irq *irq)
{
	struct virtio_blk *b;
	unsigned i;

	if ((b = calloc(1, sizeof(*b))) == NULL)
		return (-1);
	b->b_requests = calloc(BLK_QUEUE_SIZE, sizeof(*b->b_requests));
	if (b->b_requests == NULL)
		goto fail;
	for (i = 0; i < BLK_QUEUE_SIZE; i++) {
		b->b_requests[i].q_blk = b;
		b->b_requests[i].q_next = b->b_free;
		b->b_free = &b->b_requests[i];
	}
	b->b_disk = disk;
	b->b_sectors = disk_size(disk) / SECTOR;
	if (virtio_init(&b->b_virtio, &blk_ops, b, memory, pci, irq) == -1)
		goto fail;
	pthread_cond_init(&b->b_idle, NULL);
	blk_configure(b);
	*bp = b;
	return (0);
fail:
	free(b->b_requests);
	free(b);
	return (-1);
}

void
virtio_blk_reset(struct virtio_blk *b)
{
	virtio_reset(&b->b_virtio);
}

void
virtio_blk_free(struct virtio_blk *b)
{
	if (b == NULL)
		return;
	virtio_reset(&b->b_virtio);
	virtio_fini(&b->b_virtio);
	pthread_cond_destroy(&b->b_idle);
	free(b->b_requests);
	free(b);
}

void
virtio_blk_settle(struct virtio_blk *b)
{
	virtio_settle(&b->b_virtio);
}

void
virtio_blk_state(struct virtio_blk *b, struct state *s)
{
	virtio_state(&b->b_virtio, s);
}
