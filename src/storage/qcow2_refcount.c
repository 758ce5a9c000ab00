/*
 * Who uses which cluster of a qcow2 file: refcounts, in blocks of one cluster
 * that a table points to; allocation; and giving back.
 *
 * Invariants:
 * 1. A refcount is raised in the file before anything in the file points to the
 *    cluster, and lowered after nothing does (qcow2_commit.c). So what is
 *    killed at any time leaves clusters that nobody uses, never ones that two
 *    do. Under lazy refcounts blocks go to the file at the end, and the header
 *    says until then that they are to be made anew.
 * 2. No cluster below q_hint is free.
 * 3. q_meta has each cluster of metadata that the active tables reach. None of
 *    them is ever allocated or written as data, whatever the refcounts say.
 *
 * Threads: any, with q_lock.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "storage/qcow2.h"

/* --- entries of a block --------------------------------------------------- */

static uint64_t
ref_max(const struct qcow2 *q)
{
	unsigned order = q->q_h.h_refcount_order;

	return (order == 6 ? UINT64_MAX : (1ULL << (1u << order)) - 1);
}

static uint64_t
ref_load(const struct qcow2 *q, const uint8_t *block, size_t i)
{
	unsigned order = q->q_h.h_refcount_order, per;
	uint16_t v16;
	uint32_t v32;

	switch (order) {
	case 3:
		return (block[i]);
	case 4:
		memcpy(&v16, block + i * 2, 2);
		return (be16toh(v16));
	case 5:
		memcpy(&v32, block + i * 4, 4);
		return (be32toh(v32));
	case 6:
		return (qcow2_get64(block, i));
	default:	/* several in a byte, the lowest bits first */
		per = 8u >> order;
		return ((block[i / per] >> ((i % per) << order)) &
		    ((1u << (1u << order)) - 1));
	}
}

static void
ref_store(const struct qcow2 *q, uint8_t *block, size_t i, uint64_t v)
{
	unsigned order = q->q_h.h_refcount_order, per, shift, mask;
	uint16_t v16 = htobe16((uint16_t)v);
	uint32_t v32 = htobe32((uint32_t)v);

	switch (order) {
	case 3:
		block[i] = (uint8_t)v;
		break;
	case 4:
		memcpy(block + i * 2, &v16, 2);
		break;
	case 5:
		memcpy(block + i * 4, &v32, 4);
		break;
	case 6:
		qcow2_put64(block, i, v);
		break;
	default:
		per = 8u >> order;
		shift = (unsigned)(i % per) << order;
		mask = (1u << (1u << order)) - 1;
		block[i / per] = (uint8_t)((block[i / per] & ~(mask << shift)) |
		    ((unsigned)v << shift));
		break;
	}
}

/* --- the set of metadata -------------------------------------------------- */

static size_t
set_place(const struct qcow2_set *s, uint64_t cluster)
{
	return ((size_t)((cluster * 0x9e3779b97f4a7c15ULL) >> 20) &
	    (s->qs_room - 1));
}

bool
qcow2_set_has(const struct qcow2_set *s, uint64_t cluster)
{
	size_t i;

	if (s->qs_room == 0)
		return (false);
	for (i = set_place(s, cluster); s->qs_slot[i] != 0;
	    i = (i + 1) & (s->qs_room - 1))
		if (s->qs_slot[i] == cluster + 1)
			return (true);
	return (false);
}

static void
set_put(struct qcow2_set *s, uint64_t cluster)
{
	size_t i = set_place(s, cluster);

	while (s->qs_slot[i] != 0)
		i = (i + 1) & (s->qs_room - 1);
	s->qs_slot[i] = cluster + 1;
	s->qs_n++;
}

/* EEXIST: it is in there. */
int
qcow2_set_add(struct qcow2_set *s, uint64_t cluster)
{
	struct qcow2_set bigger = { NULL, 0, 0 };
	size_t i;

	if (qcow2_set_has(s, cluster))
		return (EEXIST);
	if (s->qs_n * 2 >= s->qs_room) {
		bigger.qs_room = s->qs_room > 0 ? s->qs_room * 2 : 64;
		bigger.qs_slot = calloc(bigger.qs_room,
		    sizeof(bigger.qs_slot[0]));
		if (bigger.qs_slot == NULL)
			return (ENOMEM);
		for (i = 0; i < s->qs_room; i++)
			if (s->qs_slot[i] != 0)
				set_put(&bigger, s->qs_slot[i] - 1);
		free(s->qs_slot);
		*s = bigger;
	}
	set_put(s, cluster);
	return (0);
}

void
qcow2_set_remove(struct qcow2_set *s, uint64_t cluster)
{
	size_t i, hole, mask = s->qs_room - 1, home;

	if (!qcow2_set_has(s, cluster))
		return;
	for (i = set_place(s, cluster); s->qs_slot[i] != cluster + 1; )
		i = (i + 1) & mask;
	/* What was displaced by it moves up. */
	for (hole = i, i = (i + 1) & mask; s->qs_slot[i] != 0;
	    i = (i + 1) & mask) {
		home = set_place(s, s->qs_slot[i] - 1);
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		s->qs_slot[hole] = s->qs_slot[i];
		hole = i;
	}
	s->qs_slot[hole] = 0;
	s->qs_n--;
}

/* --- refcounts ------------------------------------------------------------ */

/* The block that has a cluster's refcount; NULL: there is none. */
static int
ref_block(struct qcow2 *q, uint64_t cluster, struct qcow2_table **tp)
{
	uint64_t index = cluster >> q->q_ref_bits;

	*tp = NULL;
	if (index >= q->q_rt_size || q->q_rt[index] == 0)
		return (0);
	return (qcow2_cache_get(q, &q->q_ref, index, q->q_rt[index], tp));
}

int
qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *v)
{
	struct qcow2_table *t;
	int error;

	*v = 0;
	if ((error = ref_block(q, cluster, &t)) == 0 && t != NULL)
		*v = ref_load(q, t->qt_data,
		    cluster & ((1ULL << q->q_ref_bits) - 1));
	return (error);
}

/* The refcounts from first to end of a block have changed. */
static int
ref_changed(struct qcow2 *q, struct qcow2_table *t, size_t first, size_t end)
{
	unsigned order = q->q_h.h_refcount_order;
	size_t from, to;

	from = (first << order) / 8;
	to = ((end << order) + 7) / 8;
	if (q->q_lazy) {
		qcow2_cache_dirty(&q->q_ref, t, from, to);
		return (0);
	}
	return (qcow2_pwrite(q, t->qt_data + from, to - from,
	    t->qt_offset + from));
}

/* Within one block. */
static int
ref_add_block(struct qcow2 *q, struct qcow2_table *t, size_t first, size_t end,
    int delta)
{
	uint64_t v, wrong = delta < 0 ? 0 : ref_max(q);
	size_t i;
	int error;

	for (i = first; i < end; i++)
		if (ref_load(q, t->qt_data, i) == wrong)
			return (qcow2_corrupt(q, "refcount of cluster %" PRIu64
			    " is %" PRIu64, (t->qt_index << q->q_ref_bits) + i,
			    wrong));
	for (i = first; i < end; i++) {
		v = ref_load(q, t->qt_data, i);
		ref_store(q, t->qt_data, i, delta < 0 ? v - 1 : v + 1);
	}
	if ((error = ref_changed(q, t, first, end)) == 0)
		return (0);
	for (i = first; i < end; i++) {
		v = ref_load(q, t->qt_data, i);
		ref_store(q, t->qt_data, i, delta < 0 ? v + 1 : v - 1);
	}
	return (error);
}

int
qcow2_refcount_add(struct qcow2 *q, uint64_t first, uint64_t count, int delta)
{
	uint64_t mask = (1ULL << q->q_ref_bits) - 1, n;
	struct qcow2_table *t;
	int error;

	for (; count > 0; first += n, count -= n) {
		n = mask + 1 - (first & mask);
		if (n > count)
			n = count;
		if ((error = ref_block(q, first, &t)) != 0)
			return (error);
		if (t == NULL)
			return (qcow2_corrupt(q, "cluster %" PRIu64 " has no "
			    "refcount", first));
		error = ref_add_block(q, t, first & mask, (first & mask) + n,
		    delta);
		if (error != 0)
			return (error);
	}
	return (0);
}

int
qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t v)
{
	size_t i = cluster & ((1ULL << q->q_ref_bits) - 1);
	struct qcow2_table *t;
	int error;

	if ((error = ref_block(q, cluster, &t)) != 0)
		return (error);
	if (t == NULL || v > ref_max(q))
		return (EIO);
	ref_store(q, t->qt_data, i, v);
	return (ref_changed(q, t, i, i + 1));
}

/* --- growing -------------------------------------------------------------- */

static void
ref_used(struct qcow2 *q, uint64_t end)
{
	if (end > q->q_fresh)
		q->q_fresh = end;
}

/*
 * A block for a part of the file that has none yet; `cluster` is free and in
 * this part, and becomes the block. The table is told with the next commit,
 * before anything points into this part.
 */
static int
ref_block_new(struct qcow2 *q, uint64_t cluster)
{
	size_t index = cluster >> q->q_ref_bits;
	struct qcow2_table *t;
	int error;

	if ((error = qcow2_set_add(&q->q_meta, cluster)) != 0)
		return (error != EEXIST ? error : qcow2_corrupt(q, "metadata "
		    "at cluster %" PRIu64 " is free", cluster));
	error = qcow2_cache_new(q, &q->q_ref, index,
	    cluster << q->q_cluster_bits, &t);
	if (error == 0) {
		ref_store(q, t->qt_data,
		    cluster & ((1ULL << q->q_ref_bits) - 1), 1);
		error = qcow2_pwrite(q, t->qt_data, q->q_cluster,
		    t->qt_offset);
		if (error != 0)
			qcow2_cache_drop(q, &q->q_ref, t);
	}
	if (error != 0) {
		qcow2_set_remove(&q->q_meta, cluster);
		return (error);
	}
	q->q_rt[index] = cluster << q->q_cluster_bits;
	qcow2_span_add(&q->q_rt_dirty, index, index + 1);
	ref_used(q, cluster + 1);
	return (0);
}

/* A larger refcount table, and the blocks that count it. */
struct ref_area {
	uint64_t	ra_first;	/* cluster: blocks, then the table */
	uint64_t	ra_blocks, ra_table;	/* clusters */
	uint64_t	ra_entries;
};

static int
ref_area_plan(const struct qcow2 *q, struct ref_area *a)
{
	uint64_t end, need;

	a->ra_first = (uint64_t)q->q_rt_size << q->q_ref_bits;
	if (a->ra_first < q->q_fresh)
		a->ra_first = q->q_fresh;
	a->ra_blocks = 1;
	a->ra_entries = q->q_rt_size + q->q_rt_size / 2;
	for (;;) {
		a->ra_table = qcow2_units(a->ra_entries * 8,
		    q->q_cluster_bits);
		end = a->ra_first + a->ra_blocks + a->ra_table;
		need = ((end - 1) >> q->q_ref_bits) + 1;
		if (need <= a->ra_entries && a->ra_blocks ==
		    need - (a->ra_first >> q->q_ref_bits))
			break;
		a->ra_blocks = need - (a->ra_first >> q->q_ref_bits);
		if (need > a->ra_entries)
			a->ra_entries = need;
		if (a->ra_entries * 8 > QCOW2_RT_BYTES_MAX)
			return (EFBIG);
	}
	a->ra_entries = (a->ra_table << q->q_cluster_bits) / 8;
	return (a->ra_table << q->q_cluster_bits > QCOW2_RT_BYTES_MAX ?
	    EFBIG : 0);
}

static int
ref_area_write(struct qcow2 *q, const struct ref_area *a, const uint64_t *rt)
{
	uint64_t base, c, end = a->ra_first + a->ra_blocks + a->ra_table, i;
	uint8_t *buf;
	size_t n = a->ra_table << q->q_cluster_bits;
	int error = 0;

	if ((buf = calloc(1, n > q->q_cluster ? n : q->q_cluster)) == NULL)
		return (ENOMEM);
	for (i = 0; i < a->ra_blocks && error == 0; i++) {
		base = ((a->ra_first >> q->q_ref_bits) + i) << q->q_ref_bits;
		memset(buf, 0, q->q_cluster);
		for (c = base; c < base + (1ULL << q->q_ref_bits); c++)
			if (c >= a->ra_first && c < end)
				ref_store(q, buf, c - base, 1);
		error = qcow2_pwrite(q, buf, q->q_cluster,
		    (a->ra_first + i) << q->q_cluster_bits);
	}
	for (i = 0; i < a->ra_entries; i++)
		qcow2_put64(buf, i, rt[i]);
	if (error == 0)
		error = qcow2_pwrite(q, buf, n,
		    (a->ra_first + a->ra_blocks) << q->q_cluster_bits);
	if (error == 0)
		error = raw_sync(q->q_fd);
	if (error == 0) {
		qcow2_put64(buf, 0,
		    (a->ra_first + a->ra_blocks) << q->q_cluster_bits);
		*(uint32_t *)(void *)(buf + 8) = htobe32((uint32_t)a->ra_table);
		error = qcow2_pwrite(q, buf, 12, QCOW2_H_RT_OFFSET);
	}
	if (error == 0)
		error = raw_sync(q->q_fd);
	free(buf);
	return (error);
}

/* Doubles what can be counted, about. Seldom: a table of one cluster is enough
 * for 16 TiB with the usual 64 KiB clusters. */
static int
ref_table_grow(struct qcow2 *q)
{
	uint64_t *rt, i, old, nold = q->q_h.h_rt_clusters;
	struct qcow2_table **slot;
	struct ref_area a;
	int error;

	if ((error = ref_area_plan(q, &a)) != 0)
		return (error);
	if ((rt = calloc(a.ra_entries, sizeof(*rt))) == NULL)
		return (ENOMEM);
	slot = reallocarray(q->q_ref.qc_slot, a.ra_entries, sizeof(*slot));
	if (slot == NULL) {
		free(rt);
		return (ENOMEM);
	}
	q->q_ref.qc_slot = slot;
	for (i = q->q_rt_size; i < a.ra_entries; i++)
		slot[i] = NULL;
	q->q_ref.qc_nslots = a.ra_entries;
	memcpy(rt, q->q_rt, q->q_rt_size * sizeof(*rt));
	for (i = 0; i < a.ra_blocks; i++)
		rt[(a.ra_first >> q->q_ref_bits) + i] =
		    (a.ra_first + i) << q->q_cluster_bits;
	if ((error = ref_area_write(q, &a, rt)) != 0) {
		free(rt);
		return (error);
	}
	free(q->q_rt);
	q->q_rt = rt;
	q->q_rt_size = a.ra_entries;
	q->q_rt_dirty = (struct qcow2_span){ 0, 0 };
	old = q->q_h.h_rt_offset >> q->q_cluster_bits;
	q->q_h.h_rt_offset = (a.ra_first + a.ra_blocks) << q->q_cluster_bits;
	q->q_h.h_rt_clusters = (uint32_t)a.ra_table;
	for (i = 0; i < a.ra_blocks + a.ra_table && error == 0; i++)
		error = qcow2_set_add(&q->q_meta, a.ra_first + i);
	ref_used(q, a.ra_first + a.ra_blocks + a.ra_table);
	for (i = 0; i < nold; i++)
		qcow2_set_remove(&q->q_meta, old + i);
	if (error == 0)
		error = qcow2_refcount_add(q, old, nold, -1);
	if (old < q->q_hint)
		q->q_hint = old;
	return (error);
}

/* --- allocation ----------------------------------------------------------- */

/* The first free cluster from q_hint on, which has a refcount. */
static int
ref_find_free(struct qcow2 *q, uint64_t *cluster, struct qcow2_table **tp)
{
	uint64_t c = q->q_hint, mask = (1ULL << q->q_ref_bits) - 1;
	int error;

	for (;;) {
		if (c > QCOW2_OFFSET >> q->q_cluster_bits)
			return (EFBIG);
		if (c >> q->q_ref_bits >= q->q_rt_size) {
			if ((error = ref_table_grow(q)) != 0)
				return (error);
			continue;
		}
		if ((error = ref_block(q, c, tp)) != 0)
			return (error);
		if (*tp == NULL) {
			if ((error = ref_block_new(q, c)) != 0)
				return (error);
			continue;
		}
		do {
			if (ref_load(q, (*tp)->qt_data, c & mask) == 0) {
				*cluster = q->q_hint = c;
				return (0);
			}
		} while ((++c & mask) != 0);
	}
}

int
qcow2_alloc(struct qcow2 *q, uint64_t *first, uint64_t *count, bool *fresh)
{
	uint64_t c, n, mask = (1ULL << q->q_ref_bits) - 1;
	struct qcow2_table *t;
	int error;

	if (atomic_load(&q->q_corrupt))
		return (EIO);
	if ((error = ref_find_free(q, &c, &t)) != 0)
		return (error);
	for (n = 0; n < *count && ((c + n) & mask) >= (c & mask); n++) {
		if (ref_load(q, t->qt_data, (c + n) & mask) != 0)
			break;
		if (qcow2_set_has(&q->q_meta, c + n))
			return (qcow2_corrupt(q, "metadata at cluster %" PRIu64
			    " is free", c + n));
	}
	error = ref_add_block(q, t, c & mask, (c & mask) + n, 1);
	if (error != 0)
		return (error);
	*first = c;
	*count = n;
	*fresh = q->q_regular && c >= q->q_fresh;
	q->q_hint = c + n;
	ref_used(q, c + n);
	return (0);
}

/* --- giving back ---------------------------------------------------------- */

void
qcow2_freed_add(struct qcow2 *q, uint64_t first, uint64_t count)
{
	struct qcow2_freed *f = &q->q_freed;
	uint64_t *range, *last;
	size_t room;

	if (f->qf_n > 0) {
		last = f->qf_range + (f->qf_n - 1) * 2;
		if (last[0] + last[1] == first) {
			last[1] += count;
			return;
		}
	}
	if (f->qf_n == f->qf_room) {
		room = f->qf_room > 0 ? f->qf_room * 2 : 64;
		range = reallocarray(f->qf_range, room, 2 * sizeof(*range));
		if (range == NULL)
			return;		/* they stay in use, by nobody */
		f->qf_range = range;
		f->qf_room = room;
	}
	f->qf_range[f->qf_n * 2] = first;
	f->qf_range[f->qf_n * 2 + 1] = count;
	f->qf_n++;
}

void
qcow2_freed_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset, first, last;
	size_t len;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_at(q, entry, &offset, &len);
		first = offset >> q->q_cluster_bits;
		last = (offset + len - 1) >> q->q_cluster_bits;
		qcow2_freed_add(q, first, last - first + 1);
	} else if (entry & QCOW2_OFFSET)
		qcow2_freed_add(q, (entry & QCOW2_OFFSET) >>
		    q->q_cluster_bits, 1);
}

static void
ref_punch(struct qcow2 *q, uint64_t first, uint64_t count)
{
	if (count == 0)
		return;
	if (first < q->q_hint)
		q->q_hint = first;
	(void)raw_allocate(q->q_fd, &q->q_refused, FALLOC_FL_PUNCH_HOLE,
	    first << q->q_cluster_bits, count << q->q_cluster_bits);
}

void
qcow2_freed_apply(struct qcow2 *q, struct qcow2_freed *f)
{
	uint64_t c, end, v, from;
	int error = 0;
	size_t i;

	for (i = 0; i < f->qf_n && error == 0; i++) {
		c = from = f->qf_range[i * 2];
		end = c + f->qf_range[i * 2 + 1];
		if ((error = qcow2_refcount_add(q, c, end - c, -1)) != 0)
			break;
		for (; c < end; c++) {
			if (qcow2_refcount_get(q, c, &v) == 0 && v == 0 &&
			    !qcow2_set_has(&q->q_meta, c))
				continue;
			ref_punch(q, from, c - from);
			from = c + 1;
		}
		ref_punch(q, from, c - from);
	}
	if (error != 0 && error != EIO)
		LOG_GUEST("disk %s: space is not given back: %s", q->q_path,
		    strerror(error));
	f->qf_n = 0;
}

/* --- opening -------------------------------------------------------------- */

static int
meta_add(struct qcow2 *q, uint64_t offset, uint64_t len, struct err *err)
{
	uint64_t c, end = qcow2_units(offset + len, q->q_cluster_bits);
	int error;

	for (c = offset >> q->q_cluster_bits; c < end; c++) {
		if ((error = qcow2_set_add(&q->q_meta, c)) == 0)
			continue;
		errno = error;
		if (error != EEXIST)
			return (err_sys(err, "disk %s", q->q_path));
		return (err_set(err, "disk %s is a damaged qcow2 image (two "
		    "tables in cluster %" PRIu64 "): try qemu-img check -r "
		    "all %s", q->q_path, c, q->q_path));
	}
	return (0);
}

struct meta_snapshots {
	struct qcow2	*ms_qcow2;
	struct err	*ms_err;
};

static int
meta_snapshot(void *arg, uint64_t offset, uint64_t len)
{
	struct meta_snapshots *ms = arg;

	return (meta_add(ms->ms_qcow2, offset, len, ms->ms_err));
}

int
qcow2_refcount_open(struct qcow2 *q, struct err *err)
{
	struct meta_snapshots ms = { q, err };
	uint64_t mask = q->q_cluster - 1;
	struct stat st;
	size_t i;

	if (fstat(q->q_fd, &st) == -1)
		return (err_sys(err, "disk %s", q->q_path));
	q->q_fresh = qcow2_units((uint64_t)st.st_size, q->q_cluster_bits);
	if (qcow2_cache_init(&q->q_ref, q->q_rt_size,
	    QCOW2_REF_CACHE_BYTES) != 0) {
		errno = ENOMEM;
		return (err_sys(err, "disk %s", q->q_path));
	}
	if (meta_add(q, 0, 1, err) == -1 ||
	    meta_add(q, q->q_h.h_l1_offset, q->q_h.h_l1_size * 8ULL, err) ==
	    -1 || meta_add(q, q->q_h.h_rt_offset, q->q_rt_size * 8, err) ==
	    -1 || qcow2_snapshots(q, meta_snapshot, &ms, err) == -1)
		return (-1);
	for (i = 0; i < q->q_rt_size; i++) {
		if (q->q_rt[i] == 0)
			continue;
		if ((q->q_rt[i] & mask) != 0 || q->q_rt[i] > QCOW2_OFFSET)
			return (err_set(err, "disk %s is a damaged qcow2 "
			    "image (refcount block at %#" PRIx64 "): try "
			    "qemu-img check -r all %s", q->q_path, q->q_rt[i],
			    q->q_path));
		if (meta_add(q, q->q_rt[i], 1, err) == -1)
			return (-1);
	}
	for (i = 0; i < q->q_h.h_l1_size; i++)
		if ((q->q_l1[i] & QCOW2_OFFSET) != 0 &&
		    meta_add(q, q->q_l1[i] & QCOW2_OFFSET, 1, err) == -1)
			return (-1);
	return (0);
}
