/*
 * Tables of a qcow2 image in memory: L2 tables and refcount blocks, a cluster
 * each, kept by their index in the table above them; and what an L2 entry may
 * say.
 *
 * Invariants:
 * 1. A table that the file does not have as it is, or that is being committed,
 *    is not thrown out.
 * 2. A table is at most once in memory.
 *
 * Threads: any, with q_lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

int
qcow2_pread(const struct qcow2 *q, void *buf, size_t len, uint64_t offset)
{
	struct iovec iov = { buf, len };

	return (raw_preadv(q->q_fd, offset, &iov, 1, false));
}

int
qcow2_pwrite(const struct qcow2 *q, const void *buf, size_t len,
    uint64_t offset)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return (raw_pwritev(q->q_fd, offset, &iov, 1));
}

/* --- the cache ------------------------------------------------------------ */

int
qcow2_cache_init(struct qcow2_cache *c, size_t nslots, size_t max)
{
	TAILQ_INIT(&c->qc_lru);
	c->qc_nslots = nslots;
	c->qc_max = max;
	c->qc_slot = calloc(nslots > 0 ? nslots : 1, sizeof(c->qc_slot[0]));
	return (c->qc_slot == NULL ? ENOMEM : 0);
}

static void
cache_remove(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_table *t)
{
	TAILQ_REMOVE(&c->qc_lru, t, qt_lru);
	c->qc_slot[t->qt_index] = NULL;
	c->qc_bytes -= q->q_cluster;
	free(t);
}

void
qcow2_cache_free(struct qcow2_cache *c)
{
	struct qcow2_table *t;

	if (c->qc_slot == NULL)
		return;
	while ((t = TAILQ_FIRST(&c->qc_lru)) != NULL) {
		TAILQ_REMOVE(&c->qc_lru, t, qt_lru);
		free(t);
	}
	free(c->qc_slot);
	c->qc_slot = NULL;
}

/* Throws out what was used longest ago, but always leaves a few. */
static void
cache_shrink(struct qcow2 *q, struct qcow2_cache *c)
{
	struct qcow2_table *t, *before;

	for (t = TAILQ_LAST(&c->qc_lru, qcow2_lru);
	    t != NULL && c->qc_bytes + q->q_cluster > c->qc_max &&
	    c->qc_bytes > 4 * q->q_cluster; t = before) {
		before = TAILQ_PREV(t, qcow2_lru, qt_lru);
		if (t->qt_end == 0 && t->qt_busy == 0)
			cache_remove(q, c, t);
	}
}

int
qcow2_cache_new(struct qcow2 *q, struct qcow2_cache *c, size_t index,
    uint64_t offset, struct qcow2_table **tp)
{
	struct qcow2_table *t;

	cache_shrink(q, c);
	if ((t = calloc(1, sizeof(*t) + q->q_cluster)) == NULL)
		return (ENOMEM);
	t->qt_offset = offset;
	t->qt_index = index;
	c->qc_slot[index] = t;
	c->qc_bytes += q->q_cluster;
	TAILQ_INSERT_HEAD(&c->qc_lru, t, qt_lru);
	*tp = t;
	return (0);
}

int
qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *c, size_t index,
    uint64_t offset, struct qcow2_table **tp)
{
	struct qcow2_table *t = c->qc_slot[index];
	int error;

	if (t != NULL) {
		if (t != TAILQ_FIRST(&c->qc_lru)) {
			TAILQ_REMOVE(&c->qc_lru, t, qt_lru);
			TAILQ_INSERT_HEAD(&c->qc_lru, t, qt_lru);
		}
		*tp = t;
		return (0);
	}
	if ((error = qcow2_cache_new(q, c, index, offset, &t)) != 0)
		return (error);
	error = qcow2_pread(q, t->qt_data, q->q_cluster, offset);
	if (error != 0) {
		cache_remove(q, c, t);
		return (error);
	}
	*tp = t;
	return (0);
}

void
qcow2_cache_drop(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_table *t)
{
	qcow2_cache_clean(c, t);
	cache_remove(q, c, t);
}

void
qcow2_cache_dirty(struct qcow2_cache *c, struct qcow2_table *t, size_t first,
    size_t end)
{
	if (t->qt_end == 0) {
		c->qc_ndirty++;
		t->qt_first = first;
	} else if (first < t->qt_first)
		t->qt_first = first;
	if (end > t->qt_end)
		t->qt_end = end;
}

void
qcow2_cache_clean(struct qcow2_cache *c, struct qcow2_table *t)
{
	if (t->qt_end != 0)
		c->qc_ndirty--;
	t->qt_first = t->qt_end = 0;
}

/* --- L2 ------------------------------------------------------------------- */

static int
l2_check(struct qcow2 *q, size_t index, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET;

	if ((entry & QCOW2_L1_RESERVED) != 0 ||
	    (offset & (q->q_cluster - 1)) != 0)
		return (qcow2_corrupt(q, "L1 entry %zu is %#" PRIx64, index,
		    entry));
	return (0);
}

int
qcow2_l2_get(struct qcow2 *q, uint64_t guest, struct qcow2_table **tp)
{
	size_t index = guest >> q->q_l2_bits;
	uint64_t entry = q->q_l1[index];
	int error;

	*tp = NULL;
	if ((error = l2_check(q, index, entry)) != 0)
		return (error);
	if ((entry & QCOW2_OFFSET) == 0)
		return (0);
	return (qcow2_cache_get(q, &q->q_l2, index, entry & QCOW2_OFFSET, tp));
}

/* The new table is in the file, as it must be before L1 can say so. */
static int
l2_replace(struct qcow2 *q, size_t index, struct qcow2_table *old,
    struct qcow2_table **tp)
{
	uint64_t cluster, old_entry = q->q_l1[index], n = 1;
	uint8_t *content;
	bool fresh;
	int error;

	if ((content = calloc(1, q->q_cluster)) == NULL)
		return (ENOMEM);
	if (old != NULL) {
		memcpy(content, old->qt_data, q->q_cluster);
		qcow2_cache_drop(q, &q->q_l2, old);
	}
	if ((error = qcow2_alloc(q, &cluster, &n, &fresh)) != 0)
		goto out;
	error = qcow2_pwrite(q, content, q->q_cluster,
	    cluster << q->q_cluster_bits);
	if (error == 0)
		error = qcow2_set_add(&q->q_meta, cluster);
	if (error == 0) {
		error = qcow2_cache_new(q, &q->q_l2, index,
		    cluster << q->q_cluster_bits, tp);
		if (error != 0)
			qcow2_set_remove(&q->q_meta, cluster);
	}
	if (error != 0) {
		(void)qcow2_refcount_add(q, cluster, 1, -1);
		goto out;
	}
	memcpy((*tp)->qt_data, content, q->q_cluster);
	q->q_l1[index] = cluster << q->q_cluster_bits | QCOW2_COPIED;
	qcow2_span_add(&q->q_l1_dirty, index, index + 1);
	if (old_entry & QCOW2_OFFSET) {
		cluster = (old_entry & QCOW2_OFFSET) >> q->q_cluster_bits;
		qcow2_set_remove(&q->q_meta, cluster);
		qcow2_freed_add(q, cluster, 1);
	}
out:
	free(content);
	return (error);
}

int
qcow2_l2_own(struct qcow2 *q, uint64_t guest, struct qcow2_table **tp)
{
	size_t index = guest >> q->q_l2_bits;
	int error;

	if ((error = qcow2_l2_get(q, guest, tp)) != 0)
		return (error);
	if (*tp != NULL && (q->q_l1[index] & QCOW2_COPIED) != 0)
		return (0);
	return (l2_replace(q, index, *tp, tp));
}

int
qcow2_l2_entry(struct qcow2 *q, const struct qcow2_table *t, uint64_t guest,
    uint64_t *entryp)
{
	uint64_t entry, mask = q->q_cluster - 1;

	*entryp = 0;
	if (t == NULL)
		return (0);
	entry = qcow2_get64(t->qt_data, guest & ((1ULL << q->q_l2_bits) - 1));
	*entryp = entry;
	if (entry & QCOW2_COMPRESSED)
		return (0);	/* all bits have a meaning */
	if ((entry & QCOW2_L2_RESERVED) != 0 ||
	    (entry & QCOW2_OFFSET & mask) != 0 ||
	    (q->q_h.h_version < 3 && (entry & QCOW2_ZERO) != 0) ||
	    ((entry & QCOW2_COPIED) != 0 && (entry & QCOW2_OFFSET) == 0))
		return (qcow2_corrupt(q, "L2 entry of guest cluster %" PRIu64
		    " is %#" PRIx64, guest, entry));
	return (0);
}

void
qcow2_l2_set(struct qcow2 *q, struct qcow2_table *t, uint64_t guest,
    uint64_t entry)
{
	size_t i = guest & ((1ULL << q->q_l2_bits) - 1);

	qcow2_put64(t->qt_data, i, entry);
	qcow2_cache_dirty(&q->q_l2, t, i * 8, i * 8 + 8);
}
