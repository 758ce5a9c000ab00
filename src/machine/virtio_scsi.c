/*
 * The SCSI host adapter (virtio 1.2, 5.6) with one target, whose logical unit 0
 * is a CD-ROM drive (scsi_cd.h).
 *
 *	queue 0	control: task management; asynchronous notification
 *	queue 1	events: there are none
 *	queue 2	requests
 *		readable: lun, id, attributes, CDB; data to the device
 *		writable: response with sense; data from the device
 *
 * The sizes of CDB and sense are the standard's defaults and stay so.
 *
 * 1. A request is either in s_free, or in flight: between vq_pop() and
 *    vq_push(), being read by the disk.
 * 2. Control requests are answered when no request is in flight: so a task
 *    that is to be aborted has ended, whichever it was.
 *
 * Threads: notify on the VCPU's; scsi_done() on the disk's. Both under the
 * device lock, which guards everything here that is not [I].
 */
#include "machine/virtio_scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/scsi_cd.h"
#include "machine/virtio.h"

enum { QUEUE_CONTROL, QUEUE_EVENT, QUEUE_REQUEST, QUEUES };

#define REQUESTS	64		/* in flight at most */
#define REQUEST_QUEUE	128
#define SENSE_SIZE	96
#define CDB_SIZE	SCSI_CDB_MAX

/* Device configuration (5.6.4). */
struct scsi_config {
	uint32_t	num_queues, seg_max, max_sectors, cmd_per_lun;
	uint32_t	event_info_size, sense_size, cdb_size;
	uint16_t	max_channel, max_target;
	uint32_t	max_lun;
};
_Static_assert(sizeof(struct scsi_config) == 36, "5.6.4");

/* A request and its response (5.6.6.1). */
struct scsi_request_head {
	uint8_t		lun[8];
	uint64_t	id;
	uint8_t		task_attr, prio, crn;
	uint8_t		cdb[CDB_SIZE];
} __attribute__((packed));
struct scsi_response {
	uint32_t	sense_len;
	uint32_t	residual;
	uint16_t	status_qualifier;
	uint8_t		status;
	uint8_t		response;
	uint8_t		sense[SENSE_SIZE];
} __attribute__((packed));

enum { SCSI_S_OK = 0, SCSI_S_OVERRUN = 1, SCSI_S_BAD_TARGET = 3,
    SCSI_S_FUNCTION_REJECTED = 11 };

/* Control requests (5.6.6.2): all begin with these. */
struct scsi_control {
	uint32_t	type;
#define CONTROL_TASK		0
#define CONTROL_AN_QUERY	1
#define CONTROL_AN_SUBSCRIBE	2
	uint32_t	subtype;	/* of CONTROL_TASK */
	uint8_t		lun[8];
} __attribute__((packed));
#define TASK_SUBTYPES	8

struct scsi_request {
	struct disk_req		 q_disk;
	struct virtio_scsi	*q_scsi;	/* [I] */
	struct vq_chain		 q_chain;
	struct iovec		 q_data[VQ_CHAIN_MAX];	/* behind the response */
	struct scsi_answer	 q_answer;
	uint64_t		 q_given;	/* bytes of data */
	struct scsi_request	*q_next;	/* in s_free */
};

struct virtio_scsi {
	struct virtio		 s_virtio;
	struct disk		*s_disk;	/* [I] */
	struct scsi_cd		 s_cd;
	struct scsi_request	*s_requests;	/* [I] REQUESTS of them */
	struct scsi_request	*s_free;
	unsigned		 s_inflight;
	pthread_cond_t		 s_idle;	/* s_inflight is 0 */
	struct vq_chain		 s_control;	/* the one being answered */
};

static void	scsi_notify(void *, struct virtqueue *);

/* --- answering ------------------------------------------------------------ */

/* What of the writable part is for data. */
static uint64_t
data_room(const struct scsi_request *q)
{
	return (q->q_chain.vc_wbytes - sizeof(struct scsi_response));
}

static void
scsi_answer(struct scsi_request *q, uint8_t response)
{
	struct virtio_scsi *s = q->q_scsi;
	const uint64_t left = data_room(q) - q->q_given;
	struct scsi_response r = { .response = response,
		.status = (uint8_t)q->q_answer.sa_status,
		.residual = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left };
	uint64_t len = sizeof(r) + q->q_given;

	if (q->q_answer.sa_status == SCSI_CHECK_CONDITION) {
		r.sense_len = SCSI_SENSE_SIZE;
		memcpy(r.sense, q->q_answer.sa_sense, SCSI_SENSE_SIZE);
	}
	chain_write(&s->s_virtio, &q->q_chain, 0, &r, sizeof(r));
	vq_push(&s->s_virtio.v_queue[QUEUE_REQUEST], q->q_chain.vc_head,
	    len > UINT32_MAX ? UINT32_MAX : (uint32_t)len);
	q->q_next = s->s_free;
	s->s_free = q;
	if (--s->s_inflight == 0)
		pthread_cond_broadcast(&s->s_idle);
}

/* The disk has written the data buffers, perhaps not all. */
static void
report_data(const struct scsi_request *q)
{
	const struct vq_chain *chain = &q->q_chain;
	unsigned i, end = chain->vc_nread + chain->vc_nwrite;

	for (i = chain->vc_nread; i < end; i++)
		gpa_written(q->q_scsi->s_virtio.v_memory, chain->vc_gpa[i],
		    chain->vc_iov[i].iov_len);
}

static void
scsi_done(struct disk_req *d, int error)
{
	struct scsi_request *q = d->dr_arg;
	struct virtio_scsi *s = q->q_scsi;
	struct virtio *v = &s->s_virtio;
	bool starved;

	report_data(q);
	pthread_mutex_lock(&v->v_lock);
	starved = s->s_free == NULL;
	if (error != 0)
		scsi_cd_medium_error(&q->q_answer);
	else
		q->q_given = d->dr_length;
	scsi_answer(q, SCSI_S_OK);
	vq_interrupt(&v->v_queue[QUEUE_REQUEST]);
	if (starved)
		scsi_notify(s, &v->v_queue[QUEUE_REQUEST]);
	if (s->s_inflight == 0)
		scsi_notify(s, &v->v_queue[QUEUE_CONTROL]);
	pthread_mutex_unlock(&v->v_lock);
}

/* --- requests ------------------------------------------------------------- */

/* The number of a logical unit of our target; -1: another target. */
static int
lun_of(const uint8_t lun[8])
{
	/* 1, target, a LUN of the flat or the peripheral format */
	if (lun[0] != 1 || lun[1] != 0)
		return (-1);
	return ((lun[2] & 0x3f) << 8 | lun[3]);
}

/* The first len bytes of the place for data, as an iovec; how many parts. */
static int
data_iov(struct scsi_request *q, uint64_t len)
{
	const struct vq_chain *chain = &q->q_chain;
	unsigned i, end = chain->vc_nread + chain->vc_nwrite;
	size_t skip = sizeof(struct scsi_response), part;
	int n = 0;

	for (i = chain->vc_nread; i < end && len > 0; i++) {
		part = chain->vc_iov[i].iov_len;
		if (skip >= part) {
			skip -= part;
			continue;
		}
		part -= skip;
		if (part > len)
			part = len;
		q->q_data[n].iov_base =
		    (uint8_t *)chain->vc_iov[i].iov_base + skip;
		q->q_data[n++].iov_len = part;
		skip = 0;
		len -= part;
	}
	return (n);
}

/* A read that has room, by the disk. */
static void
scsi_read(struct scsi_request *q)
{
	struct disk_req *d = &q->q_disk;

	memset(d, 0, sizeof(*d));
	d->dr_op = DISK_READ;
	d->dr_offset = q->q_answer.sa_offset;
	d->dr_length = q->q_answer.sa_length;
	d->dr_iov = q->q_data;
	d->dr_niov = data_iov(q, d->dr_length);
	d->dr_done = scsi_done;
	d->dr_arg = q;
	disk_submit(q->q_scsi->s_disk, d);
}

/* Carries a request out; true if it is answered already. */
static bool
scsi_begin(struct scsi_request *q)
{
	struct virtio_scsi *s = q->q_scsi;
	struct scsi_answer *a = &q->q_answer;
	struct scsi_request_head h;
	size_t len;
	int lun;

	chain_read(&q->q_chain, 0, &h, sizeof(h));
	q->q_given = 0;
	if ((lun = lun_of(h.lun)) == -1) {
		memset(a, 0, sizeof(*a));
		scsi_answer(q, SCSI_S_BAD_TARGET);
		return (true);
	}
	scsi_cd_command(&s->s_cd, (unsigned)lun, h.cdb, a);
	if (a->sa_length > data_room(q)) {
		scsi_answer(q, SCSI_S_OVERRUN);
		return (true);
	}
	if (a->sa_length > 0) {
		scsi_read(q);
		return (false);
	}
	len = a->sa_len < data_room(q) ? a->sa_len : (size_t)data_room(q);
	q->q_given = chain_write(&s->s_virtio, &q->q_chain,
	    sizeof(struct scsi_response), a->sa_data, len);
	scsi_answer(q, SCSI_S_OK);
	return (true);
}

/* Takes what the queue holds. One that finds no free request leaves the rest
 * to scsi_done(). */
static void
request_notify(struct virtio_scsi *s, struct virtqueue *vq)
{
	struct scsi_request *q;
	bool answered = false;

	do {
		vq_notify_off(vq);
		while ((q = s->s_free) != NULL &&
		    vq_pop(vq, &q->q_chain) == 1) {
			if (q->q_chain.vc_rbytes <
			    sizeof(struct scsi_request_head) ||
			    q->q_chain.vc_wbytes <
			    sizeof(struct scsi_response)) {
				virtio_broken(&s->s_virtio,
				    "request or response too short");
				return;
			}
			s->s_free = q->q_next;
			s->s_inflight++;
			if (scsi_begin(q))
				answered = true;
		}
	} while (s->s_free != NULL && vq_notify_on(vq));
	if (answered)
		vq_interrupt(vq);
}

/* --- control -------------------------------------------------------------- */

/* Answers one; false if it is malformed. No request is in flight. */
static bool
control_answer(struct virtio_scsi *s, struct virtqueue *vq)
{
	struct vq_chain *chain = &s->s_control;
	struct scsi_control h;
	uint8_t answer[5] = { 0 };	/* AN: the events, then the response */
	uint8_t response = SCSI_S_OK;
	size_t len = 1;

	if (chain->vc_rbytes < sizeof(h) || chain->vc_wbytes < 1)
		return (false);
	chain_read(chain, 0, &h, sizeof(h));
	if (h.type == CONTROL_TASK) {
		if (h.subtype >= TASK_SUBTYPES)
			response = SCSI_S_FUNCTION_REJECTED;
		else if (lun_of(h.lun) == -1)
			response = SCSI_S_BAD_TARGET;
	} else if (h.type == CONTROL_AN_QUERY ||
	    h.type == CONTROL_AN_SUBSCRIBE)
		len = sizeof(answer);
	else
		response = SCSI_S_FUNCTION_REJECTED;
	answer[len - 1] = response;
	vq_push(vq, chain->vc_head, (uint32_t)chain_write(&s->s_virtio, chain,
	    0, answer, len));
	return (true);
}

static void
control_notify(struct virtio_scsi *s, struct virtqueue *vq)
{
	bool answered = false;

	do {
		vq_notify_off(vq);
		while (s->s_inflight == 0 && vq_pop(vq, &s->s_control) == 1) {
			if (!control_answer(s, vq)) {
				virtio_broken(&s->s_virtio,
				    "control request too short");
				return;
			}
			answered = true;
		}
	} while (s->s_inflight == 0 && vq_notify_on(vq));
	if (answered)
		vq_interrupt(vq);
}

/* --- the device ----------------------------------------------------------- */

static void
scsi_notify(void *arg, struct virtqueue *vq)
{
	switch (vq->vq_index) {
	case QUEUE_CONTROL:
		control_notify(arg, vq);
		break;
	case QUEUE_REQUEST:
		request_notify(arg, vq);
		break;
	}
}

static void
scsi_wait_idle(void *arg)
{
	struct virtio_scsi *s = arg;

	while (s->s_inflight != 0)
		pthread_cond_wait(&s->s_idle, &s->s_virtio.v_lock);
}

static void
scsi_reset(void *arg)
{
	struct virtio_scsi *s = arg;

	scsi_wait_idle(s);
	s->s_cd.cd_locked = false;
}

static void
scsi_state(void *arg, struct state *st)
{
	struct virtio_scsi *s = arg;

	scsi_cd_state(&s->s_cd, st);
}

static const struct virtio_ops scsi_ops = {
	.vo_name	= "virtio-scsi",
	.vo_id		= 8,
	.vo_pci_id	= 0x1004,
	.vo_class	= 0x01,		/* mass storage, */
	.vo_subclass	= 0x00,		/* SCSI */
	.vo_nqueues	= QUEUES,
	.vo_queue_size	= { 16, 16, REQUEST_QUEUE },
	.vo_config_size	= sizeof(struct scsi_config),
	.vo_notify	= scsi_notify,
	.vo_reset	= scsi_reset,
	.vo_settle	= scsi_wait_idle,
	.vo_state	= scsi_state,
};

int
virtio_scsi_new(struct virtio_scsi **sp, struct disk *disk,
    const struct guest_memory *memory, struct pci *pci, const struct irq *irq)
{
	const struct scsi_config c = {
		.num_queues	= 1,
		.seg_max	= REQUEST_QUEUE - 2,	/* request, response */
		.max_sectors	= 0xffff,
		.cmd_per_lun	= REQUESTS / 2,
		.event_info_size = 16,
		.sense_size	= SENSE_SIZE,
		.cdb_size	= CDB_SIZE
	};
	struct virtio_scsi *s;
	char serial[20];
	unsigned i;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return (-1);
	s->s_requests = calloc(REQUESTS, sizeof(*s->s_requests));
	if (s->s_requests == NULL)
		goto fail;
	for (i = 0; i < REQUESTS; i++) {
		s->s_requests[i].q_scsi = s;
		s->s_requests[i].q_next = s->s_free;
		s->s_free = &s->s_requests[i];
	}
	s->s_disk = disk;
	disk_serial(disk, serial);
	scsi_cd_init(&s->s_cd, disk_size(disk), serial);
	if (virtio_init(&s->s_virtio, &scsi_ops, s, memory, pci, irq) == -1)
		goto fail;
	pthread_cond_init(&s->s_idle, NULL);
	memcpy(s->s_virtio.v_config, &c, sizeof(c));
	*sp = s;
	return (0);
fail:
	free(s->s_requests);
	free(s);
	return (-1);
}

void
virtio_scsi_reset(struct virtio_scsi *s)
{
	virtio_reset(&s->s_virtio);
}

void
virtio_scsi_free(struct virtio_scsi *s)
{
	if (s == NULL)
		return;
	virtio_reset(&s->s_virtio);
	virtio_fini(&s->s_virtio);
	pthread_cond_destroy(&s->s_idle);
	free(s->s_requests);
	free(s);
}

void
virtio_scsi_settle(struct virtio_scsi *s)
{
	virtio_settle(&s->s_virtio);
}

void
virtio_scsi_state(struct virtio_scsi *s, struct state *st)
{
	virtio_state(&s->s_virtio, st);
}
