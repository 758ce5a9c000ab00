/*
 * The qcow2 format: opening and closing an image, and reading what the guest
 * sees: its own clusters, compressed ones, zeroes, or those of its base.
 *
 * Invariants: qcow2.h, image.h.
 * Threads: any.
 */
#include <sys/stat.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "storage/iov.h"
#include "storage/qcow2.h"

/* What a range of the guest's disk is made of. */
enum qcow2_kind { QCOW2_IS_BASE, QCOW2_IS_ZERO, QCOW2_IS_DATA,
    QCOW2_IS_COMPRESSED };

struct qcow2_map {
	enum qcow2_kind	 mp_kind;
	uint64_t	 mp_len;	/* bytes of this kind, in a row */
	uint64_t	 mp_offset;	/* DATA: in the file */
	uint64_t	 mp_entry;	/* COMPRESSED */
};

int
qcow2_corrupt(struct qcow2 *q, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	if (atomic_exchange(&q->q_corrupt, true))
		return (EIO);
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	log_warn("disk %s is damaged (%s)%s: try qemu-img check -r all",
	    q->q_path, what, q->q_readonly ? "" : " and no longer written");
	return (EIO);
}

/* --- places in use -------------------------------------------------------- */

unsigned
qcow2_enter(struct qcow2 *q)
{
	q->q_users[q->q_epoch]++;
	return (q->q_epoch);
}

void
qcow2_leave(struct qcow2 *q, unsigned epoch)
{
	if (--q->q_users[epoch] > 0 || !q->q_waiting || epoch == q->q_epoch)
		return;
	q->q_waiting = false;
	qcow2_freed_apply(q, &q->q_freeing);
}

/* --- reading -------------------------------------------------------------- */

bool
qcow2_no_base(const struct qcow2 *q, uint64_t guest)
{
	return (q->q_base == NULL ||
	    guest << q->q_cluster_bits >= q->q_base->im_size);
}

static enum qcow2_kind
qcow2_kind(const struct qcow2 *q, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return (QCOW2_IS_COMPRESSED);
	if (entry & QCOW2_ZERO)
		return (QCOW2_IS_ZERO);
	if (entry & QCOW2_OFFSET)
		return (QCOW2_IS_DATA);
	return (q->q_base != NULL ? QCOW2_IS_BASE : QCOW2_IS_ZERO);
}

/*
 * [locked] What is at an offset, and how far the like of it goes on: at most
 * to `len` or to the end of an L2 table.
 */
static int
qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t len,
    struct qcow2_map *m)
{
	uint64_t guest = offset >> q->q_cluster_bits, in, entry, next;
	uint64_t left = (1ULL << q->q_l2_bits) -
	    (guest & ((1ULL << q->q_l2_bits) - 1));
	struct qcow2_table *t;
	int error;

	in = offset & (q->q_cluster - 1);
	if ((error = qcow2_l2_get(q, guest, &t)) != 0 ||
	    (error = qcow2_l2_entry(q, t, guest, &entry)) != 0)
		return (error);
	m->mp_kind = qcow2_kind(q, entry);
	m->mp_offset = (entry & QCOW2_OFFSET) + in;
	m->mp_entry = entry;
	m->mp_len = q->q_cluster - in;
	if (t == NULL)
		m->mp_len += (left - 1) << q->q_cluster_bits;
	while (t != NULL && m->mp_len < len && --left > 0 &&
	    m->mp_kind != QCOW2_IS_COMPRESSED) {
		/* A bad one is found out when it is its turn. */
		if (qcow2_l2_entry(q, t, ++guest, &next) != 0 ||
		    qcow2_kind(q, next) != m->mp_kind ||
		    (m->mp_kind == QCOW2_IS_DATA && (next & QCOW2_OFFSET) !=
		    m->mp_offset + m->mp_len))
			break;
		m->mp_len += q->q_cluster;
	}
	if (m->mp_len > len)
		m->mp_len = len;
	return (0);
}

static int
qcow2_read_base(struct qcow2 *q, uint64_t offset, uint64_t len,
    struct iovec *iov, int niov)
{
	struct image *base = q->q_base;
	struct iovec *cut;
	uint64_t there;
	int error, n;

	there = offset < base->im_size ? base->im_size - offset : 0;
	if (there >= len)
		return (base->im_ops->io_read(base, offset, iov, niov));
	iov_zero(iov, niov, there);
	if (there == 0)
		return (0);
	if ((cut = calloc((size_t)niov, sizeof(*cut))) == NULL)
		return (ENOMEM);
	n = iov_cut(iov, niov, 0, there, cut);
	error = base->im_ops->io_read(base, offset, cut, n);
	free(cut);
	return (error);
}

static int
qcow2_read_map(struct qcow2 *q, uint64_t offset, const struct qcow2_map *m,
    struct iovec *iov, int niov)
{
	switch (m->mp_kind) {
	case QCOW2_IS_BASE:
		return (qcow2_read_base(q, offset, m->mp_len, iov, niov));
	case QCOW2_IS_COMPRESSED:
		return (qcow2_compressed_read(q, m->mp_entry,
		    offset & (q->q_cluster - 1), iov, niov, m->mp_len));
	case QCOW2_IS_DATA:
		return (raw_preadv(q->q_fd, m->mp_offset, iov, niov, true));
	case QCOW2_IS_ZERO:
	default:
		iov_zero(iov, niov, 0);
		return (0);
	}
}

int
qcow2_read_guest(struct qcow2 *q, uint64_t offset, const struct iovec *iov,
    int niov)
{
	uint64_t done = 0, len = iov_length(iov, niov);
	struct qcow2_map m;
	struct iovec *cut;
	unsigned epoch = 0;
	int error = 0, n;

	if ((cut = calloc((size_t)niov + 1, sizeof(*cut))) == NULL)
		return (ENOMEM);
	pthread_mutex_lock(&q->q_lock);
	while (done < len) {
		error = qcow2_map(q, offset + done, len - done, &m);
		if (error != 0)
			break;
		epoch = qcow2_enter(q);
		pthread_mutex_unlock(&q->q_lock);
		n = iov_cut(iov, niov, done, m.mp_len, cut);
		error = qcow2_read_map(q, offset + done, &m, cut, n);
		done += m.mp_len;
		pthread_mutex_lock(&q->q_lock);
		qcow2_leave(q, epoch);
		if (error != 0)
			break;
	}
	pthread_mutex_unlock(&q->q_lock);
	free(cut);
	return (error);
}

/* Only what is in one piece of the file, by a table that is in memory. */
static int
qcow2_read_guest_now(struct qcow2 *q, uint64_t offset, const struct iovec *iov,
    int niov)
{
	const uint64_t len = iov_length(iov, niov);
	struct qcow2_map m = { .mp_len = 0 };
	unsigned epoch;
	int error;

	if (pthread_mutex_trylock(&q->q_lock) != 0)
		return (EAGAIN);
	if (q->q_l2.qc_slot[offset >> q->q_cluster_bits >> q->q_l2_bits] ==
	    NULL || qcow2_map(q, offset, len, &m) != 0 || m.mp_len != len ||
	    m.mp_kind != QCOW2_IS_DATA) {
		pthread_mutex_unlock(&q->q_lock);
		return (EAGAIN);
	}
	epoch = qcow2_enter(q);
	pthread_mutex_unlock(&q->q_lock);
	error = raw_preadv_now(q->q_fd, m.mp_offset, iov, niov);
	pthread_mutex_lock(&q->q_lock);
	qcow2_leave(q, epoch);
	pthread_mutex_unlock(&q->q_lock);
	return (error);
}

/* --- the table of calls --------------------------------------------------- */

static int
qcow2_io_read(struct image *im, uint64_t offset, const struct iovec *iov,
    int niov)
{
	return (qcow2_read_guest(qcow2_of(im), offset, iov, niov));
}

static int
qcow2_io_read_now(struct image *im, uint64_t offset, const struct iovec *iov,
    int niov)
{
	return (qcow2_read_guest_now(qcow2_of(im), offset, iov, niov));
}

static int
qcow2_io_write(struct image *im, uint64_t offset, const struct iovec *iov,
    int niov)
{
	return (qcow2_write_guest(qcow2_of(im), offset, iov, niov));
}

static int
qcow2_io_flush(struct image *im)
{
	return (qcow2_commit(qcow2_of(im)));
}

static int
qcow2_io_discard(struct image *im, uint64_t offset, uint64_t len)
{
	return (qcow2_discard_guest(qcow2_of(im), offset, len));
}

static int
qcow2_io_zero(struct image *im, uint64_t offset, uint64_t len, bool unmap)
{
	return (qcow2_zero_guest(qcow2_of(im), offset, len, unmap));
}

static uint64_t
qcow2_io_zeroes(struct image *im, uint64_t offset, uint64_t len)
{
	struct qcow2 *q = qcow2_of(im);
	struct image *base = q->q_base;
	struct qcow2_map m;
	uint64_t there;
	int error;

	pthread_mutex_lock(&q->q_lock);
	error = qcow2_map(q, offset, len, &m);
	pthread_mutex_unlock(&q->q_lock);
	if (error != 0)
		return (0);
	if (m.mp_kind == QCOW2_IS_ZERO)
		return (m.mp_len);
	if (m.mp_kind != QCOW2_IS_BASE)
		return (0);
	there = offset < base->im_size ? base->im_size - offset : 0;
	if (there == 0)
		return (m.mp_len);
	if (base->im_ops->io_zeroes == NULL)
		return (0);
	return (base->im_ops->io_zeroes(base, offset,
	    there < m.mp_len ? there : m.mp_len));
}

static void
qcow2_free(struct qcow2 *q)
{
	size_t i;

	if (q->q_base != NULL) {
		image_close(q->q_base);
		free(q->q_base);
	}
	qcow2_cache_free(&q->q_l2);
	qcow2_cache_free(&q->q_ref);
	for (i = 0; i < QCOW2_INFLATED; i++)
		free(q->q_inflated[i].qi_data);
	pthread_mutex_destroy(&q->q_inflate);
	pthread_mutex_destroy(&q->q_commit);
	pthread_cond_destroy(&q->q_changed);
	pthread_mutex_destroy(&q->q_lock);
	free(q->q_l1);
	free(q->q_rt);
	free(q->q_meta.qs_slot);
	free(q->q_freed.qf_range);
	free(q->q_freeing.qf_range);
	free(q);
}

static void
qcow2_io_close(struct image *im)
{
	struct qcow2 *q = qcow2_of(im);
	int error;

	if (!q->q_readonly && !im->im_abandoned &&
	    (error = qcow2_finish(q)) != 0)
		log_warn("disk %s: what was written last is lost: %s",
		    im->im_path, strerror(error));
	qcow2_free(q);
}

static const struct image_ops qcow2_ops = {
	.io_name	= "qcow2",
	.io_read	= qcow2_io_read,
	.io_read_now	= qcow2_io_read_now,
	.io_write	= qcow2_io_write,
	.io_flush	= qcow2_io_flush,
	.io_discard	= qcow2_io_discard,
	.io_zero	= qcow2_io_zero,
	.io_zeroes	= qcow2_io_zeroes,
	.io_close	= qcow2_io_close,
};

/* --- opening -------------------------------------------------------------- */

/* A table of 64-bit entries that is a whole piece of the file. */
static int
qcow2_load(struct qcow2 *q, uint64_t **table, size_t n, uint64_t offset,
    const char *what, struct err *err)
{
	size_t i;
	int error;

	if ((*table = calloc(n, sizeof(**table))) == NULL)
		return (err_sys(err, "disk %s", q->q_path));
	error = qcow2_pread(q, *table, n * 8, offset);
	if (error == EIO)
		return (err_set(err, "disk %s is a damaged qcow2 image (%s "
		    "cannot be read): try qemu-img check -r all %s",
		    q->q_path, what, q->q_path));
	if (error != 0) {
		errno = error;
		return (err_sys(err, "disk %s: %s", q->q_path, what));
	}
	for (i = 0; i < n; i++)
		(*table)[i] = be64toh((*table)[i]);
	return (0);
}

static int
qcow2_open_writable(struct qcow2 *q, struct err *err)
{
	if (q->q_h.h_incompatible & QCOW2_INCOMPAT_CORRUPT)
		return (err_set(err, "disk %s is marked as damaged: repair it "
		    "with qemu-img check -r all %s", q->q_path, q->q_path));
	q->q_rt_size = ((size_t)q->q_h.h_rt_clusters << q->q_cluster_bits) / 8;
	if (qcow2_load(q, &q->q_rt, q->q_rt_size, q->q_h.h_rt_offset,
	    "refcount table", err) == -1 ||
	    qcow2_refcount_open(q, err) == -1)
		return (-1);
	if ((q->q_h.h_incompatible & QCOW2_INCOMPAT_DIRTY) != 0 &&
	    qcow2_repair(q, err) == -1)
		return (-1);
	return (0);
}

static int
qcow2_setup(struct qcow2 *q, struct image *im, struct err *err)
{
	struct stat st;

	q->q_cluster_bits = q->q_h.h_cluster_bits;
	q->q_cluster = 1ULL << q->q_cluster_bits;
	q->q_l2_bits = q->q_cluster_bits - 3;
	q->q_ref_bits = q->q_cluster_bits + 3 - q->q_h.h_refcount_order;
	q->q_regular = fstat(q->q_fd, &st) == 0 && S_ISREG(st.st_mode);
	im->im_size = q->q_h.h_size;
	if (qcow2_cache_init(&q->q_l2, q->q_h.h_l1_size,
	    QCOW2_L2_CACHE_BYTES) != 0) {
		errno = ENOMEM;
		return (err_sys(err, "disk %s", q->q_path));
	}
	if (qcow2_load(q, &q->q_l1, q->q_h.h_l1_size, q->q_h.h_l1_offset,
	    "L1 table", err) == -1)
		return (-1);
	return (q->q_readonly ? 0 : qcow2_open_writable(q, err));
}

static int
qcow2_base(struct qcow2 *q, const struct image *im,
    const struct image_chain *chain, struct err *err)
{
	struct image *base;

	if (q->q_h.h_base[0] == '\0')
		return (0);
	if ((base = calloc(1, sizeof(*base))) == NULL)
		return (err_sys(err, "disk %s", im->im_path));
	if (image_open_base(base, im, q->q_h.h_base, q->q_h.h_base_format,
	    chain, err) == -1) {
		free(base);
		return (-1);
	}
	q->q_base = base;
	return (0);
}

int
qcow2_open(struct image *im, const struct image_chain *chain, struct err *err)
{
	struct qcow2 *q;

	if ((q = calloc(1, sizeof(*q))) == NULL)
		return (err_sys(err, "disk %s", im->im_path));
	q->q_fd = im->im_fd;
	q->q_path = im->im_path;
	q->q_readonly = im->im_readonly;
	TAILQ_INIT(&q->q_moves);
	pthread_mutex_init(&q->q_lock, NULL);
	pthread_cond_init(&q->q_changed, NULL);
	pthread_mutex_init(&q->q_commit, NULL);
	pthread_mutex_init(&q->q_inflate, NULL);
	if (qcow2_header_read(&q->q_h, im->im_fd, im->im_path, err) == -1 ||
	    qcow2_setup(q, im, err) == -1 ||
	    qcow2_base(q, im, chain, err) == -1) {
		qcow2_free(q);
		return (-1);
	}
	im->im_private = q;
	im->im_ops = &qcow2_ops;
	return (0);
}
