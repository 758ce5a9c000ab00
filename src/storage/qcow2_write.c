/*
 * Writing to a qcow2 image: in place where the guest cluster has a place that
 * is its own, else to a new one (a "move"), which gets what the write does not
 * cover from where it was: a base, a compressed cluster, a snapshot's. And
 * zeroes and discard, which only change entries.
 *
 * Invariants:
 * 1. A guest cluster is in at most one move. Whoever wants to change the entry
 *    of one that is, waits.
 * 2. L2 gets the new place when the data is there, and the old one is given
 *    back with the commit after that (qcow2_commit.c).
 * 3. No write goes to a cluster of metadata.
 *
 * Threads: any.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/iov.h"
#include "storage/qcow2.h"

#define MOVE_BYTES_MAX	(4u << 20)

/* What one call of write has to do yet. */
struct writing {
	const struct iovec *w_iov;
	int		 w_niov;
	struct iovec	*w_cut;		/* room for two more than w_niov */
	uint64_t	 w_skip;	/* bytes done */
	uint64_t	 w_offset;	/* the guest's */
	uint64_t	 w_len;
};

/* --- before anything ------------------------------------------------------ */

/* [locked] The header says that the image is written, if it has to. */
static int
write_prepare(struct qcow2 *q)
{
	int error;

	if (atomic_load(&q->q_corrupt)) {
		if (q->q_h.h_version >= 3 && q->q_prepared &&
		    !(q->q_h.h_incompatible & QCOW2_INCOMPAT_CORRUPT)) {
			q->q_h.h_incompatible |= QCOW2_INCOMPAT_CORRUPT;
			(void)qcow2_header_features(q);
		}
		return (EIO);
	}
	if (q->q_prepared)
		return (0);
	q->q_lazy = q->q_h.h_version >= 3 &&
	    (q->q_h.h_compatible & QCOW2_COMPAT_LAZY) != 0;
	if (q->q_lazy || q->q_h.h_autoclear != 0) {
		q->q_h.h_autoclear = 0;
		if (q->q_lazy)
			q->q_h.h_incompatible |= QCOW2_INCOMPAT_DIRTY;
		if ((error = qcow2_header_features(q)) != 0 ||
		    (error = raw_sync(q->q_fd)) != 0)
			return (error);
	}
	q->q_prepared = true;
	return (0);
}

/* [locked] Waits until none of these guest clusters is in a move. */
static void
move_wait(struct qcow2 *q, uint64_t first, uint64_t count)
{
	struct qcow2_move *m;

again:
	TAILQ_FOREACH(m, &q->q_moves, qm_next)
		if (first < m->qm_first + m->qm_count &&
		    m->qm_first < first + count) {
			pthread_cond_wait(&q->q_changed, &q->q_lock);
			goto again;
		}
}

static bool
move_has(const struct qcow2 *q, uint64_t guest)
{
	const struct qcow2_move *m;

	TAILQ_FOREACH(m, &q->q_moves, qm_next)
		if (guest >= m->qm_first && guest < m->qm_first + m->qm_count)
			return (true);
	return (false);
}

/* --- in place ------------------------------------------------------------- */

static bool
entry_in_place(uint64_t entry)
{
	return ((entry & (QCOW2_COPIED | QCOW2_COMPRESSED | QCOW2_ZERO)) ==
	    QCOW2_COPIED);
}

static int
check_place(struct qcow2 *q, uint64_t entry)
{
	uint64_t cluster = (entry & QCOW2_OFFSET) >> q->q_cluster_bits;

	if (qcow2_set_has(&q->q_meta, cluster))
		return (qcow2_corrupt(q, "data at cluster %" PRIu64 ", which "
		    "holds metadata", cluster));
	return (0);
}

/* [locked] The first entries of a range that are in place and in a row. */
static int
write_in_place(struct qcow2 *q, struct writing *w, struct qcow2_table *t,
    uint64_t entry)
{
	uint64_t guest = w->w_offset >> q->q_cluster_bits, next, len, offset;
	uint64_t in = w->w_offset & (q->q_cluster - 1);
	uint64_t mask = (1ULL << q->q_l2_bits) - 1;
	unsigned epoch;
	int error, n;

	if ((error = check_place(q, entry)) != 0)
		return (error);
	offset = (entry & QCOW2_OFFSET) + in;
	for (len = q->q_cluster - in; len < w->w_len; len += q->q_cluster)
		if ((++guest & mask) == 0 ||
		    qcow2_l2_entry(q, t, guest, &next) != 0 ||
		    !entry_in_place(next) ||
		    (next & QCOW2_OFFSET) != offset + len ||
		    check_place(q, next) != 0)
			break;
	if (len > w->w_len)
		len = w->w_len;
	epoch = qcow2_enter(q);
	pthread_mutex_unlock(&q->q_lock);
	n = iov_cut(w->w_iov, w->w_niov, w->w_skip, len, w->w_cut);
	error = raw_pwritev(q->q_fd, offset, w->w_cut, n);
	pthread_mutex_lock(&q->q_lock);
	qcow2_leave(q, epoch);
	w->w_skip += len;
	w->w_offset += len;
	w->w_len -= len;
	return (error);
}

/* --- to a new place ------------------------------------------------------- */

/* A move, and what is written around the guest's bytes. */
struct moving {
	struct qcow2_move mv_move;
	uint64_t	 mv_first;	/* host cluster */
	bool		 mv_fresh;	/* it reads as zero */
	bool		 mv_own;	/* had it before, as zeroes */
	uint64_t	 mv_len;	/* of the guest's bytes */
	struct iovec	 mv_head, mv_tail;	/* no base: nothing */
};

/* Bytes that the guest has at an offset, in a buffer of their own. */
static int
moving_fill(struct qcow2 *q, struct iovec *piece, uint64_t offset, size_t len)
{
	if (len == 0)
		return (0);
	piece->iov_len = len;
	if ((piece->iov_base = malloc(len)) == NULL)
		return (ENOMEM);
	return (qcow2_read_guest(q, offset, piece, 1));
}

/* [locked] Does the guest cluster read as zero, as far as entries tell? */
static bool
entry_is_zero(const struct qcow2 *q, uint64_t guest, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return (false);
	if (entry & QCOW2_ZERO)
		return (true);
	return ((entry & QCOW2_OFFSET) == 0 && qcow2_no_base(q, guest));
}

/* [locked] How many guest clusters from the first on move the same way. */
static uint64_t
moving_count(struct qcow2 *q, const struct qcow2_table *t, uint64_t guest,
    uint64_t entry, uint64_t max)
{
	uint64_t mask = (1ULL << q->q_l2_bits) - 1, n, next;
	bool own = (entry & QCOW2_COPIED) != 0;

	for (n = 1; n < max && ((guest + n) & mask) != 0; n++) {
		if (qcow2_l2_entry(q, t, guest + n, &next) != 0 ||
		    entry_in_place(next) || move_has(q, guest + n))
			break;
		if (own != ((next & QCOW2_COPIED) != 0 &&
		    (next & QCOW2_COMPRESSED) == 0))
			break;
		if (own && ((next & QCOW2_OFFSET) != (entry & QCOW2_OFFSET) +
		    (n << q->q_cluster_bits) || check_place(q, next) != 0))
			break;
	}
	return (n);
}

/* Not locked: head and tail from the old place, then all to the new one. */
static int
moving_copy(struct qcow2 *q, struct writing *w, struct moving *mv,
    bool zero_head, bool zero_tail)
{
	uint64_t offset, end, stop, guest;
	int error, n = 0;

	guest = mv->mv_move.qm_first << q->q_cluster_bits;
	stop = guest + (mv->mv_move.qm_count << q->q_cluster_bits);
	end = w->w_offset + mv->mv_len;
	offset = mv->mv_first << q->q_cluster_bits;
	if (w->w_offset > guest && !(zero_head && mv->mv_fresh)) {
		error = moving_fill(q, &mv->mv_head, guest,
		    w->w_offset - guest);
		if (error != 0)
			return (error);
		w->w_cut[n++] = mv->mv_head;
	} else
		offset += w->w_offset - guest;
	n += iov_cut(w->w_iov, w->w_niov, w->w_skip, mv->mv_len,
	    w->w_cut + n);
	if (end < stop && !(zero_tail && mv->mv_fresh)) {
		/* What is behind the disk's end reads as what it may. */
		error = moving_fill(q, &mv->mv_tail, end, stop - end);
		if (error != 0)
			return (error);
		w->w_cut[n++] = mv->mv_tail;
	}
	return (raw_pwritev(q->q_fd, offset, w->w_cut, n));
}

/* [locked] The data is there: so say the entries. */
static int
moving_end(struct qcow2 *q, const struct moving *mv)
{
	uint64_t guest = mv->mv_move.qm_first, i, old;
	struct qcow2_table *t;
	int error;

	if ((error = qcow2_l2_own(q, guest, &t)) != 0)
		return (error);
	for (i = 0; i < mv->mv_move.qm_count; i++) {
		if ((error = qcow2_l2_entry(q, t, guest + i, &old)) != 0)
			return (error);
		if (!mv->mv_own)
			qcow2_freed_entry(q, old);
		qcow2_l2_set(q, t, guest + i, QCOW2_COPIED |
		    (mv->mv_first + i) << q->q_cluster_bits);
	}
	return (0);
}

/* [locked] Nothing refers to the new place, and nothing will. */
static void
moving_undo(struct qcow2 *q, const struct moving *mv)
{
	if (mv->mv_own)
		return;
	if (qcow2_refcount_add(q, mv->mv_first, mv->mv_move.qm_count, -1) ==
	    0 && mv->mv_first < q->q_hint)
		q->q_hint = mv->mv_first;
}

/* [locked] */
static int
write_move(struct qcow2 *q, struct writing *w, uint64_t entry)
{
	uint64_t guest = w->w_offset >> q->q_cluster_bits, n, last;
	uint64_t in = w->w_offset & (q->q_cluster - 1);
	struct moving mv = { 0 };
	struct qcow2_table *t;
	bool zero_head, zero_tail;
	unsigned epoch;
	int error;

	if ((error = qcow2_l2_own(q, guest, &t)) != 0)
		return (error);
	n = qcow2_units(in + w->w_len, q->q_cluster_bits);
	if (n > MOVE_BYTES_MAX >> q->q_cluster_bits)
		n = MOVE_BYTES_MAX >> q->q_cluster_bits;
	n = moving_count(q, t, guest, entry, n);
	mv.mv_own = (entry & QCOW2_COPIED) != 0 &&
	    (entry & QCOW2_COMPRESSED) == 0;
	if (mv.mv_own) {
		if ((error = check_place(q, entry)) != 0)
			return (error);
		mv.mv_first = (entry & QCOW2_OFFSET) >> q->q_cluster_bits;
	} else {
		error = qcow2_alloc(q, &mv.mv_first, &n, &mv.mv_fresh);
		if (error != 0)
			return (error);
	}
	mv.mv_move.qm_first = guest;
	mv.mv_move.qm_count = n;
	mv.mv_len = (n << q->q_cluster_bits) - in;
	if (mv.mv_len > w->w_len)
		mv.mv_len = w->w_len;
	zero_head = entry_is_zero(q, guest, entry);
	zero_tail = qcow2_l2_entry(q, t, guest + n - 1, &last) == 0 &&
	    entry_is_zero(q, guest + n - 1, last);
	TAILQ_INSERT_TAIL(&q->q_moves, &mv.mv_move, qm_next);
	epoch = qcow2_enter(q);
	pthread_mutex_unlock(&q->q_lock);
	error = moving_copy(q, w, &mv, zero_head, zero_tail);
	free(mv.mv_head.iov_base);
	free(mv.mv_tail.iov_base);
	pthread_mutex_lock(&q->q_lock);
	if (error == 0)
		error = moving_end(q, &mv);
	if (error != 0)
		moving_undo(q, &mv);
	TAILQ_REMOVE(&q->q_moves, &mv.mv_move, qm_next);
	pthread_cond_broadcast(&q->q_changed);
	qcow2_leave(q, epoch);
	w->w_skip += mv.mv_len;
	w->w_offset += mv.mv_len;
	w->w_len -= mv.mv_len;
	return (error);
}

/* [locked] */
static int
write_some(struct qcow2 *q, struct writing *w)
{
	uint64_t guest = w->w_offset >> q->q_cluster_bits, entry;
	struct qcow2_table *t;
	int error;

	move_wait(q, guest, 1);
	if ((error = write_prepare(q)) != 0 ||
	    (error = qcow2_l2_get(q, guest, &t)) != 0 ||
	    (error = qcow2_l2_entry(q, t, guest, &entry)) != 0)
		return (error);
	if (t != NULL && entry_in_place(entry) &&
	    (q->q_l1[guest >> q->q_l2_bits] & QCOW2_COPIED) != 0)
		return (write_in_place(q, w, t, entry));
	return (write_move(q, w, entry));
}

int
qcow2_write_guest(struct qcow2 *q, uint64_t offset, const struct iovec *iov,
    int niov)
{
	struct writing w = { .w_iov = iov, .w_niov = niov,
	    .w_offset = offset, .w_len = iov_length(iov, niov) };
	int error = 0;

	if ((w.w_cut = calloc((size_t)niov + 2, sizeof(*w.w_cut))) == NULL)
		return (ENOMEM);
	pthread_mutex_lock(&q->q_lock);
	while (w.w_len > 0 && error == 0)
		error = write_some(q, &w);
	pthread_mutex_unlock(&q->q_lock);
	free(w.w_cut);
	return (error != 0 ? error : qcow2_commit_some(q));
}

/* --- zeroes and discard --------------------------------------------------- */

/*
 * [locked] What the entry of a guest cluster becomes that is to read as zero;
 * false: that cannot be said by an entry. A place of its own is kept if the
 * guest wants that (unmap not set), or else given back.
 */
static bool
zero_entry(const struct qcow2 *q, uint64_t guest, uint64_t old, bool unmap,
    uint64_t *entry)
{
	bool own = (old & QCOW2_COPIED) != 0 && !(old & QCOW2_COMPRESSED);

	if (!unmap && own && q->q_h.h_version >= 3)
		*entry = old | QCOW2_ZERO;
	else if (qcow2_no_base(q, guest))
		*entry = 0;
	else if (q->q_h.h_version >= 3)
		*entry = QCOW2_ZERO;
	else
		return (false);
	return (true);
}

/* [locked] Whole guest clusters that share an L2 table. *count says how many
 * are done; ENOTSUP: the next must be written. */
static int
zero_clusters(struct qcow2 *q, uint64_t first, uint64_t *count, bool unmap)
{
	uint64_t n = *count, old, new;
	struct qcow2_table *t;
	int error;

	*count = 0;
	move_wait(q, first, n);
	if ((error = write_prepare(q)) != 0 ||
	    (error = qcow2_l2_get(q, first, &t)) != 0)
		return (error);
	if (t == NULL && qcow2_no_base(q, first)) {
		*count = n;
		return (0);
	}
	if ((error = qcow2_l2_own(q, first, &t)) != 0)
		return (error);
	for (; *count < n; first++, (*count)++) {
		if ((error = qcow2_l2_entry(q, t, first, &old)) != 0)
			return (error);
		if (entry_is_zero(q, first, old) &&
		    (!unmap || (old & QCOW2_OFFSET) == 0))
			continue;
		if (!zero_entry(q, first, old, unmap, &new))
			return (ENOTSUP);
		if ((old & QCOW2_COMPRESSED) != 0 ||
		    (old & QCOW2_OFFSET) != (new & QCOW2_OFFSET))
			qcow2_freed_entry(q, old);
		qcow2_l2_set(q, t, first, new);
	}
	return (0);
}

/* Zeroes by hand, within a cluster: nothing if that reads as zero anyway. */
static int
zero_write(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	uint64_t guest = offset >> q->q_cluster_bits, entry;
	struct qcow2_table *t;
	struct iovec iov = { NULL, len };
	bool is_zero;
	int error;

	pthread_mutex_lock(&q->q_lock);
	move_wait(q, guest, 1);
	if ((error = qcow2_l2_get(q, guest, &t)) == 0)
		error = qcow2_l2_entry(q, t, guest, &entry);
	is_zero = error == 0 && entry_is_zero(q, guest, entry);
	pthread_mutex_unlock(&q->q_lock);
	if (error != 0 || is_zero)
		return (error);
	if ((iov.iov_base = calloc(1, len)) == NULL)
		return (ENOMEM);
	error = qcow2_write_guest(q, offset, &iov, 1);
	free(iov.iov_base);
	return (error);
}

/* Guest clusters from first to end; `write`: where entries cannot say it. */
static int
zero_range(struct qcow2 *q, uint64_t first, uint64_t end, bool unmap,
    bool write)
{
	uint64_t n, size = q->q_h.h_size, at, len;
	int error;

	while (first < end) {
		n = ((first >> q->q_l2_bits) + 1) << q->q_l2_bits;
		n = (n < end ? n : end) - first;
		pthread_mutex_lock(&q->q_lock);
		error = zero_clusters(q, first, &n, unmap);
		pthread_mutex_unlock(&q->q_lock);
		first += n;
		if (error == ENOTSUP) {
			at = first++ << q->q_cluster_bits;
			len = size - at < q->q_cluster ? size - at :
			    q->q_cluster;
			error = write ? zero_write(q, at, len) : 0;
		}
		if (error == 0)
			error = qcow2_commit_some(q);
		if (error != 0)
			return (error);
	}
	return (0);
}

int
qcow2_zero_guest(struct qcow2 *q, uint64_t offset, uint64_t len, bool unmap)
{
	uint64_t mask = q->q_cluster - 1, end = offset + len, n;
	int error;

	if ((offset & mask) != 0) {
		n = q->q_cluster - (offset & mask);
		if (n > len)
			n = len;
		if ((error = zero_write(q, offset, n)) != 0 || n == len)
			return (error);
		offset += n;
	}
	/* The disk may end within its last cluster. */
	if ((end & mask) != 0 && end != q->q_h.h_size) {
		n = end & mask;
		if ((error = zero_write(q, end - n, n)) != 0)
			return (error);
		end -= n;
	}
	return (zero_range(q, offset >> q->q_cluster_bits,
	    qcow2_units(end, q->q_cluster_bits), unmap, true));
}

int
qcow2_discard_guest(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	uint64_t first, end;

	first = qcow2_units(offset, q->q_cluster_bits);
	if (offset + len == q->q_h.h_size)
		end = qcow2_units(offset + len, q->q_cluster_bits);
	else
		end = (offset + len) >> q->q_cluster_bits;
	return (first < end ? zero_range(q, first, end, true, false) : 0);
}
