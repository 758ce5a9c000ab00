/*
 * The order in which a qcow2 image gets to the disk.
 *
 * A write that needs a new place does this, each step seen by the kernel before
 * the next:
 *
 *	1. refcounts raised, in the file
 *	2. data written to the new place, in the file
 *	3. L2 (and, for a new L2 table, L1) changed, in memory only
 *
 * and a commit, which is what a flush of the guest becomes:
 *
 *	4. fdatasync: 1 and 2 are on the disk
 *	5. new entries of the refcount table; fdatasync, if there are any
 *	6. L2 and L1 as they were at 4; fdatasync
 *	7. refcounts lowered of what was unused at 4, and its place given back,
 *	   once nobody reads there any more
 *
 * So at any time, L2 on the disk points to data and refcounts that are there. A
 * VM that is killed leaves the image as of the last flush, and perhaps clusters
 * in use that nobody refers to; a host that loses power leaves the same. A
 * cluster is used again only after 7, so data on the disk is never another
 * guest cluster's.
 *
 * Under lazy refcounts the header says "dirty" before the first change. Then
 * refcounts are written at the end, or made anew (qcow2_repair.c).
 *
 * Threads: any, one after another by q_commit. Those that come while one is
 * under way share the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

/* A piece of a table, as it was when the commit began. */
struct piece {
	struct qcow2_table *p_table;	/* NULL: of L1 or refcount table */
	uint64_t	 p_offset;	/* in the file */
	size_t		 p_first, p_end;
	uint8_t		*p_bytes;
};

struct commit {
	struct piece	*c_piece;
	size_t		 c_n;
	struct piece	 c_l1, c_rt;	/* no bytes: nothing */
};

/* --- what there is to do -------------------------------------------------- */

static bool
commit_nothing(const struct qcow2 *q)
{
	return (q->q_l2.qc_ndirty == 0 && q->q_l1_dirty.qs_end == 0 &&
	    q->q_rt_dirty.qs_end == 0);
}

static int
commit_entries(struct piece *p, const uint64_t *table,
    const struct qcow2_span *s, uint64_t offset)
{
	size_t i;

	if (s->qs_end == 0)
		return (0);
	p->p_first = s->qs_first;
	p->p_end = s->qs_end;
	p->p_offset = offset + s->qs_first * 8;
	if ((p->p_bytes = malloc((s->qs_end - s->qs_first) * 8)) == NULL)
		return (ENOMEM);
	for (i = s->qs_first; i < s->qs_end; i++)
		qcow2_put64(p->p_bytes, i - s->qs_first, table[i]);
	return (0);
}

static int
commit_table(struct piece *p, struct qcow2_table *t)
{
	p->p_first = t->qt_first;
	p->p_end = t->qt_end;
	p->p_offset = t->qt_offset + t->qt_first;
	if ((p->p_bytes = malloc(t->qt_end - t->qt_first)) == NULL)
		return (ENOMEM);
	memcpy(p->p_bytes, t->qt_data + t->qt_first,
	    t->qt_end - t->qt_first);
	p->p_table = t;
	return (0);
}

static void
commit_free(struct commit *c)
{
	size_t i;

	for (i = 0; i < c->c_n; i++)
		free(c->c_piece[i].p_bytes);
	free(c->c_piece);
	free(c->c_l1.p_bytes);
	free(c->c_rt.p_bytes);
}

/* [locked] Takes what memory has and the file has not. */
static int
commit_gather(struct qcow2 *q, struct commit *c)
{
	struct qcow2_table *t;
	size_t i;

	if (commit_entries(&c->c_l1, q->q_l1, &q->q_l1_dirty,
	    q->q_h.h_l1_offset) != 0 ||
	    commit_entries(&c->c_rt, q->q_rt, &q->q_rt_dirty,
	    q->q_h.h_rt_offset) != 0)
		return (ENOMEM);
	c->c_piece = calloc(q->q_l2.qc_ndirty + 1, sizeof(*c->c_piece));
	if (c->c_piece == NULL)
		return (ENOMEM);
	TAILQ_FOREACH(t, &q->q_l2.qc_lru, qt_lru)
		if (t->qt_end != 0 &&
		    commit_table(&c->c_piece[c->c_n++], t) != 0)
			return (ENOMEM);
	for (i = 0; i < c->c_n; i++) {
		qcow2_cache_clean(&q->q_l2, c->c_piece[i].p_table);
		c->c_piece[i].p_table->qt_busy++;
	}
	q->q_l1_dirty = q->q_rt_dirty = (struct qcow2_span){ 0, 0 };
	return (0);
}

/* [locked] It has come to nothing: all is still to be done. */
static void
commit_undo(struct qcow2 *q, const struct commit *c, uint64_t rt_offset)
{
	size_t i;

	for (i = 0; i < c->c_n; i++)
		qcow2_cache_dirty(&q->q_l2, c->c_piece[i].p_table,
		    c->c_piece[i].p_first, c->c_piece[i].p_end);
	if (c->c_l1.p_bytes != NULL)
		qcow2_span_add(&q->q_l1_dirty, c->c_l1.p_first,
		    c->c_l1.p_end);
	/* A table that moved meanwhile went as a whole. */
	if (c->c_rt.p_bytes != NULL && rt_offset == q->q_h.h_rt_offset)
		qcow2_span_add(&q->q_rt_dirty, c->c_rt.p_first,
		    c->c_rt.p_end);
}

/* --- doing it ------------------------------------------------------------- */

static int
commit_write(struct qcow2 *q, const struct piece *p, size_t unit)
{
	if (p->p_bytes == NULL)
		return (0);
	return (qcow2_pwrite(q, p->p_bytes, (p->p_end - p->p_first) * unit,
	    p->p_offset));
}

static int
commit_steps(struct qcow2 *q, const struct commit *c)
{
	size_t i;
	int error;

	if ((error = raw_sync(q->q_fd)) != 0)
		return (error);
	if (c->c_rt.p_bytes != NULL &&
	    ((error = commit_write(q, &c->c_rt, 8)) != 0 ||
	    (error = raw_sync(q->q_fd)) != 0))
		return (error);
	for (i = 0; i < c->c_n && error == 0; i++)
		error = commit_write(q, &c->c_piece[i], 1);
	if (error == 0)
		error = commit_write(q, &c->c_l1, 8);
	if (error == 0)
		error = raw_sync(q->q_fd);
	return (error);
}

/*
 * [locked] What was freed before the commit began is in q_freeing and is not
 * referred to any more, except by who looked it up before now.
 */
static void
commit_release(struct qcow2 *q)
{
	unsigned old = q->q_epoch;

	if (q->q_freeing.qf_n == 0)
		return;
	q->q_epoch = !old;
	if (q->q_users[old] == 0)
		qcow2_freed_apply(q, &q->q_freeing);
	else
		q->q_waiting = true;
}

/* [q_commit] */
static int
commit_once(struct qcow2 *q)
{
	struct commit c = { 0 };
	struct qcow2_freed none;
	uint64_t number, rt_offset;
	bool took = false;
	size_t i;
	int error;

	pthread_mutex_lock(&q->q_lock);
	number = ++q->q_begun;
	rt_offset = q->q_h.h_rt_offset;
	if ((error = commit_gather(q, &c)) != 0) {
		pthread_mutex_unlock(&q->q_lock);
		commit_free(&c);
		return (error);
	}
	/* The one before may still wait for its readers. */
	if (!q->q_waiting && q->q_freeing.qf_n == 0) {
		none = q->q_freeing;
		q->q_freeing = q->q_freed;
		q->q_freed = none;
		took = true;
	}
	pthread_mutex_unlock(&q->q_lock);
	error = commit_steps(q, &c);
	pthread_mutex_lock(&q->q_lock);
	for (i = 0; i < c.c_n; i++)
		c.c_piece[i].p_table->qt_busy--;
	if (error != 0) {
		commit_undo(q, &c, rt_offset);
		for (i = 0; took && i < q->q_freeing.qf_n; i++)
			qcow2_freed_add(q, q->q_freeing.qf_range[i * 2],
			    q->q_freeing.qf_range[i * 2 + 1]);
		if (took)
			q->q_freeing.qf_n = 0;
	} else {
		q->q_good = number;
		if (took)
			commit_release(q);
	}
	pthread_mutex_unlock(&q->q_lock);
	commit_free(&c);
	return (error);
}

int
qcow2_commit(struct qcow2 *q)
{
	uint64_t before;
	bool nothing;
	int error = 0;

	pthread_mutex_lock(&q->q_lock);
	before = q->q_begun;
	nothing = commit_nothing(q) && q->q_freed.qf_n == 0;
	pthread_mutex_unlock(&q->q_lock);
	/* A corrupt image has nothing new in its tables. */
	pthread_mutex_lock(&q->q_commit);
	if (q->q_good > before)
		;		/* one that began after we came did it */
	else if (nothing && q->q_good == before)
		error = raw_sync(q->q_fd);
	else
		error = commit_once(q);
	pthread_mutex_unlock(&q->q_commit);
	return (error);
}

int
qcow2_commit_some(struct qcow2 *q)
{
	bool much;

	pthread_mutex_lock(&q->q_lock);
	much = q->q_l2.qc_ndirty * q->q_cluster > q->q_l2.qc_max / 2 ||
	    (q->q_freed.qf_n > QCOW2_FREED_MAX && !q->q_waiting);
	pthread_mutex_unlock(&q->q_lock);
	return (much ? qcow2_commit(q) : 0);
}

int
qcow2_finish_lazy(struct qcow2 *q)
{
	struct qcow2_table *t;
	int error = 0;

	TAILQ_FOREACH(t, &q->q_ref.qc_lru, qt_lru) {
		if (t->qt_end == 0)
			continue;
		error = qcow2_pwrite(q, t->qt_data + t->qt_first,
		    t->qt_end - t->qt_first, t->qt_offset + t->qt_first);
		if (error != 0)
			return (error);
		qcow2_cache_clean(&q->q_ref, t);
	}
	if ((error = raw_sync(q->q_fd)) != 0)
		return (error);
	q->q_h.h_incompatible &= ~QCOW2_INCOMPAT_DIRTY;
	if ((error = qcow2_header_features(q)) == 0)
		error = raw_sync(q->q_fd);
	return (error);
}

int
qcow2_finish(struct qcow2 *q)
{
	int error;

	if (!q->q_prepared)
		return (0);
	/* Twice: the second for what only the first one's end freed. */
	if ((error = qcow2_commit(q)) != 0 || (error = qcow2_commit(q)) != 0)
		return (error);
	if (q->q_lazy && !atomic_load(&q->q_corrupt))
		error = qcow2_finish_lazy(q);
	return (error);
}
