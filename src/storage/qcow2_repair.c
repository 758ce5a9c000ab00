/*
 * Refcounts of a qcow2 image made anew, from what the tables refer to: after
 * somebody who wrote to it with lazy refcounts did not come to the end.
 *
 * Only the numbers can be wrong then; blocks and their table are in order, and
 * so are L1 and L2. Where that is not so the image is left as it is.
 *
 * Threads: that of opening.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "storage/qcow2.h"

#define CLUSTERS_MAX	(1ULL << 27)	/* 8 TiB with 64 KiB clusters */
#define ENTRIES_MAX	(1ULL << 31)	/* of all L2 tables together */

struct repair {
	struct qcow2	*r_qcow2;
	uint32_t	*r_count;	/* references to each cluster */
	uint64_t	 r_n;
	uint8_t		*r_l2;		/* a table */
	uint64_t	 r_entries;	/* looked at */
};

/* One reference more to each cluster of a range; false: that is nowhere. */
static bool
repair_count(struct repair *r, uint64_t offset, uint64_t len)
{
	unsigned bits = r->r_qcow2->q_cluster_bits;
	uint64_t c, end = qcow2_units(offset + len, bits);

	if (offset > QCOW2_OFFSET || len > QCOW2_OFFSET || end > r->r_n)
		return (false);
	for (c = offset >> bits; c < end; c++)
		if (r->r_count[c]++ == UINT32_MAX)
			return (false);
	return (true);
}

static bool
repair_l2_entry(struct repair *r, uint64_t entry)
{
	uint64_t offset;
	size_t len;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_at(r->r_qcow2, entry, &offset, &len);
		/* The last sector may be the file's half. */
		if (offset >= r->r_n << r->r_qcow2->q_cluster_bits)
			return (false);
		if (offset + len > r->r_n << r->r_qcow2->q_cluster_bits)
			len = (r->r_n << r->r_qcow2->q_cluster_bits) - offset;
		return (repair_count(r, offset, len));
	}
	offset = entry & QCOW2_OFFSET;
	if (offset == 0)
		return (true);
	return ((offset & (r->r_qcow2->q_cluster - 1)) == 0 &&
	    repair_count(r, offset, 1));
}

static bool
repair_l1_entry(struct repair *r, uint64_t entry)
{
	struct qcow2 *q = r->r_qcow2;
	uint64_t offset = entry & QCOW2_OFFSET;
	size_t i;

	if (offset == 0)
		return (true);
	/* Snapshots share tables: a small file may have very many. */
	r->r_entries += 1ULL << q->q_l2_bits;
	if ((offset & (q->q_cluster - 1)) != 0 ||
	    r->r_entries > ENTRIES_MAX || !repair_count(r, offset, 1) ||
	    qcow2_pread(q, r->r_l2, q->q_cluster, offset) != 0)
		return (false);
	for (i = 0; i < 1ULL << q->q_l2_bits; i++)
		if (!repair_l2_entry(r, qcow2_get64(r->r_l2, i)))
			return (false);
	return (true);
}

/* A snapshot's L1 table; or the table of snapshots, which is no L1. */
static int
repair_snapshot(void *arg, uint64_t offset, uint64_t len)
{
	struct repair *r = arg;
	uint8_t *l1;
	size_t i;

	if (!repair_count(r, offset, len))
		return (-1);
	if (offset == r->r_qcow2->q_h.h_snapshots_offset)
		return (0);
	if ((l1 = malloc(len)) == NULL)
		return (-1);
	if (qcow2_pread(r->r_qcow2, l1, len, offset) != 0) {
		free(l1);
		return (-1);
	}
	for (i = 0; i < len / 8; i++)
		if (!repair_l1_entry(r, qcow2_get64(l1, i)))
			break;
	free(l1);
	return (i < len / 8 ? -1 : 0);
}

static bool
repair_references(struct repair *r)
{
	struct qcow2 *q = r->r_qcow2;
	size_t i;

	if (!repair_count(r, 0, 1) ||
	    !repair_count(r, q->q_h.h_l1_offset, q->q_h.h_l1_size * 8ULL) ||
	    !repair_count(r, q->q_h.h_rt_offset, q->q_rt_size * 8) ||
	    qcow2_snapshots(q, repair_snapshot, r, NULL) == -1)
		return (false);
	for (i = 0; i < q->q_rt_size; i++)
		if (q->q_rt[i] != 0 && !repair_count(r, q->q_rt[i], 1))
			return (false);
	for (i = 0; i < q->q_h.h_l1_size; i++)
		if (!repair_l1_entry(r, q->q_l1[i]))
			return (false);
	return (true);
}

/* Makes the refcounts what was counted, in memory. */
static bool
repair_set(struct repair *r, uint64_t *changed)
{
	struct qcow2 *q = r->r_qcow2;
	uint64_t c, v, end;

	end = (uint64_t)q->q_rt_size << q->q_ref_bits;
	for (c = 0; c < r->r_n || c < end; c++) {
		/* What has no block has refcount 0. */
		if (c >= r->r_n && q->q_rt[c >> q->q_ref_bits] == 0) {
			c |= (1ULL << q->q_ref_bits) - 1;
			continue;
		}
		if (qcow2_refcount_get(q, c, &v) != 0)
			return (false);
		if (v == (c < r->r_n ? r->r_count[c] : 0))
			continue;
		if (qcow2_refcount_set(q, c, c < r->r_n ? r->r_count[c] : 0) !=
		    0)
			return (false);
		(*changed)++;
	}
	return (true);
}

int
qcow2_repair(struct qcow2 *q, struct err *err)
{
	struct repair r = { .r_qcow2 = q };
	uint64_t changed = 0;
	off_t size;
	bool good;

	/* A block device has a size too. */
	if ((size = lseek(q->q_fd, 0, SEEK_END)) == -1)
		return (err_sys(err, "disk %s", q->q_path));
	r.r_n = qcow2_units((uint64_t)size, q->q_cluster_bits);
	good = r.r_n <= CLUSTERS_MAX;
	if (good) {
		r.r_count = calloc(r.r_n + 1, sizeof(*r.r_count));
		r.r_l2 = malloc(q->q_cluster);
		if (r.r_count == NULL || r.r_l2 == NULL) {
			free(r.r_count);
			free(r.r_l2);
			return (err_sys(err, "disk %s", q->q_path));
		}
	}
	q->q_lazy = true;	/* write them all at once */
	good = good && repair_references(&r) && repair_set(&r, &changed);
	if (good && qcow2_finish_lazy(q) != 0)
		good = false;
	q->q_lazy = false;
	free(r.r_count);
	free(r.r_l2);
	if (!good)
		return (err_set(err, "disk %s was not closed in order, and "
		    "cannot be repaired here: try qemu-img check -r all %s",
		    q->q_path, q->q_path));
	log_info("disk %s was not closed in order: %" PRIu64 " refcounts "
	    "repaired", q->q_path, changed);
	return (0);
}
