/*
 * What the files of the qcow2 format share; nobody else includes this. The
 * format is that of QEMU's docs/interop/qcow2, versions 2 and 3.
 *
 *	qcow2.c			opening, closing, reading; the table of calls
 *	qcow2_header.c		the header: checked, and its bits changed
 *	qcow2_table.c		L1, L2 and refcount blocks in memory
 *	qcow2_compressed.c	compressed clusters
 *	qcow2_refcount.c	who uses which cluster; allocation
 *	qcow2_snapshot.c	what snapshots use
 *	qcow2_write.c		writing, zeroes, discard
 *	qcow2_commit.c		the order in which all that gets to the disk
 *	qcow2_repair.c		refcounts made anew
 *	qcow2_create.c		new images
 *
 * 1. Everything read from the file is hostile: an offset is checked where it is
 *    read, and no allocation is larger than a limit below says.
 * 2. What contradicts itself is told once (qcow2_corrupt()); from then on the
 *    image is not written any more. The guest gets I/O errors.
 * 3. Tables are as the file has them (big-endian), but for q_l1 and q_rt.
 * 4. q_lock guards all that is marked [m]. It is never held over the guest's
 *    data, nor over fdatasync(2) but where the refcount table moves.
 *
 * "Cluster" alone is a number of a host cluster: its offset in the file divided
 * by the size of clusters.
 */
#ifndef STORAGE_QCOW2_H
#define STORAGE_QCOW2_H

#include <sys/queue.h>

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/image.h"

/* Limits of ours; those of cluster_bits and the tables are also QEMU's. */
#define QCOW2_CLUSTER_BITS_MIN	9u
#define QCOW2_CLUSTER_BITS_MAX	21u
#define QCOW2_L1_BYTES_MAX	(32u << 20)
#define QCOW2_RT_BYTES_MAX	(8u << 20)
#define QCOW2_SIZE_MAX		(1ULL << 61)
#define QCOW2_BASE_NAME_MAX	1023u
#define QCOW2_SNAPSHOTS_MAX	65536u
#define QCOW2_L2_CACHE_BYTES	(16u << 20)
#define QCOW2_REF_CACHE_BYTES	(4u << 20)
#define QCOW2_FREED_MAX		1024u	/* ranges; then they are committed */

/* Entries of L1, L2 and refcount tables. */
#define QCOW2_COPIED		(1ULL << 63)
#define QCOW2_COMPRESSED	(1ULL << 62)
#define QCOW2_ZERO		(1ULL << 0)
#define QCOW2_OFFSET		0x00fffffffffffe00ULL
#define QCOW2_L1_RESERVED	0x7f000000000001ffULL
#define QCOW2_L2_RESERVED	0x3f000000000001feULL
#define QCOW2_RT_RESERVED	0x00000000000001ffULL

/* incompatible features */
#define QCOW2_INCOMPAT_DIRTY		(1ULL << 0)
#define QCOW2_INCOMPAT_CORRUPT		(1ULL << 1)
#define QCOW2_INCOMPAT_DATA_FILE	(1ULL << 2)
#define QCOW2_INCOMPAT_COMPRESSION	(1ULL << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2	(1ULL << 4)
/* compatible features */
#define QCOW2_COMPAT_LAZY		(1ULL << 0)

/* Offsets of what is changed in the header, and of its extensions. */
#define QCOW2_H_RT_OFFSET	48
#define QCOW2_H_INCOMPATIBLE	72
#define QCOW2_H_AUTOCLEAR	88
#define QCOW2_H_LENGTH_V2	72u
#define QCOW2_H_LENGTH_V3	104u
#define QCOW2_EXT_END		0u
#define QCOW2_EXT_BASE_FORMAT	0xe2792acau
#define QCOW2_EXT_FEATURES	0x6803f857u

/* The header, as checked by qcow2_header_read(). */
struct qcow2_header {
	uint32_t	h_version;
	unsigned	h_cluster_bits;
	uint64_t	h_size;
	uint32_t	h_l1_size;		/* entries */
	uint64_t	h_l1_offset;
	uint64_t	h_rt_offset;
	uint32_t	h_rt_clusters;
	uint32_t	h_nsnapshots;
	uint64_t	h_snapshots_offset;
	uint64_t	h_incompatible;
	uint64_t	h_compatible;
	uint64_t	h_autoclear;
	unsigned	h_refcount_order;
	bool		h_zstd;
	char		h_base[QCOW2_BASE_NAME_MAX + 1];	/* "": none */
	char		h_base_format[16];			/* "": unsaid */
};

/* A cluster of metadata in memory. */
struct qcow2_table {
	uint64_t	 qt_offset;	/* in the file */
	size_t		 qt_index;	/* in the L1 or refcount table */
	size_t		 qt_first;	/* bytes that the file has not */
	size_t		 qt_end;	/* 0: it has all */
	unsigned	 qt_busy;	/* committed just now */
	TAILQ_ENTRY(qcow2_table) qt_lru;
	uint8_t		 qt_data[];
};

/*
 * Tables by their index. What the file does not have is never thrown out, so
 * qc_bytes may exceed qc_max until the next commit.
 */
struct qcow2_cache {
	struct qcow2_table	**qc_slot;
	size_t			 qc_nslots;
	TAILQ_HEAD(qcow2_lru, qcow2_table) qc_lru;	/* last used first */
	size_t			 qc_bytes, qc_max;
	size_t			 qc_ndirty;
};

/* Clusters whose refcounts are to be lowered by one. */
struct qcow2_freed {
	uint64_t	*qf_range;	/* pairs: first, count */
	size_t		 qf_n;		/* pairs */
	size_t		 qf_room;
};

/* A write under way that gives guest clusters another place. */
struct qcow2_move {
	uint64_t	 qm_first, qm_count;	/* guest clusters */
	TAILQ_ENTRY(qcow2_move) qm_next;
};

/* Entries of a table in memory that the file does not have yet. */
struct qcow2_span {
	size_t		 qs_first, qs_end;	/* qs_end 0: none */
};

/* A set of clusters, which hold metadata (open addressing). */
struct qcow2_set {
	uint64_t	*qs_slot;	/* cluster + 1, 0: free */
	size_t		 qs_room, qs_n;
};

#define QCOW2_INFLATED	4

/* The compressed clusters that were read last. */
struct qcow2_inflated {
	uint64_t	 qi_entry;	/* of L2; 0: none */
	uint64_t	 qi_used;	/* the higher, the later */
	uint8_t		*qi_data;
};

struct qcow2 {
	int		 q_fd;			/* [I] the image's */
	char		*q_path;		/* [I] */
	bool		 q_readonly;		/* [I] */
	bool		 q_regular;		/* [I] a file, which may grow */
	struct qcow2_header q_h;		/* [I] but for rt_*, features */
	unsigned	 q_cluster_bits;	/* [I] */
	uint64_t	 q_cluster;		/* [I] its size */
	unsigned	 q_l2_bits;		/* [I] entries of an L2 table */
	unsigned	 q_ref_bits;		/* [I] entries of a block */
	struct image	*q_base;		/* [I] or NULL */
	atomic_bool	 q_corrupt;		/* [a] */
	atomic_int	 q_refused;		/* [a] fallocate modes */

	pthread_mutex_t	 q_lock;
	pthread_cond_t	 q_changed;		/* a move ended */
	uint64_t	*q_l1;			/* [m] */
	struct qcow2_span q_l1_dirty;		/* [m] */
	struct qcow2_cache q_l2;		/* [m] */
	uint64_t	*q_rt;			/* [m] refcount table */
	size_t		 q_rt_size;		/* [m] entries */
	struct qcow2_span q_rt_dirty;		/* [m] */
	struct qcow2_cache q_ref;		/* [m] */
	struct qcow2_set q_meta;		/* [m] never data */
	uint64_t	 q_hint;		/* [m] none is free below */
	uint64_t	 q_fresh;		/* [m] from here on all are
						   zero and never used */
	bool		 q_lazy;		/* [m] refcounts at the end */
	bool		 q_prepared;		/* [m] header says: written */
	TAILQ_HEAD(qcow2_moves, qcow2_move) q_moves;	/* [m] */

	/*
	 * Who uses a place in the file without the lock counts in q_users of
	 * the epoch in which he looked it up. What was freed before an epoch
	 * ended is free when its users are gone.
	 */
	unsigned	 q_epoch;		/* [m] 0 or 1 */
	unsigned	 q_users[2];		/* [m] */
	struct qcow2_freed q_freed;		/* [m] in memory only */
	struct qcow2_freed q_freeing;		/* [m] on the disk too */
	bool		 q_waiting;		/* [m] q_freeing, for the
						   users of !q_epoch */

	pthread_mutex_t	 q_commit;		/* before q_lock */
	uint64_t	 q_begun;		/* [m] commits */
	uint64_t	 q_good;		/* [m] the last one that
						   succeeded */
	pthread_mutex_t	 q_inflate;		/* for the next two */
	struct qcow2_inflated q_inflated[QCOW2_INFLATED];
	uint64_t	 q_inflations;
};

static inline struct qcow2 *
qcow2_of(const struct image *im)
{
	return (im->im_private);
}

static inline uint64_t
qcow2_get64(const uint8_t *table, size_t i)
{
	uint64_t v;

	__builtin_memcpy(&v, table + i * 8, 8);
	return (be64toh(v));
}

static inline void
qcow2_put64(uint8_t *table, size_t i, uint64_t v)
{
	v = htobe64(v);
	__builtin_memcpy(table + i * 8, &v, 8);
}

/* How many units of 2^bits hold n. */
static inline uint64_t
qcow2_units(uint64_t n, unsigned bits)
{
	return ((n >> bits) + ((n & ((1ULL << bits) - 1)) != 0));
}

static inline void
qcow2_span_add(struct qcow2_span *s, size_t first, size_t end)
{
	if (s->qs_end == 0 || first < s->qs_first)
		s->qs_first = first;
	if (end > s->qs_end)
		s->qs_end = end;
}

/* qcow2.c */

/* Tells once that the image contradicts itself, and marks it; EIO. */
int	qcow2_corrupt(struct qcow2 *, const char *, ...)
	    __attribute__((format(printf, 2, 3)));
/* [locked] From here to qcow2_leave(), places that were looked up stay. */
unsigned qcow2_enter(struct qcow2 *);
void	qcow2_leave(struct qcow2 *, unsigned epoch);
/* What the guest sees; not locked. */
int	qcow2_read_guest(struct qcow2 *, uint64_t offset, const struct iovec *,
	    int niov);
/* [locked] Does a guest cluster without an entry read as zero? */
bool	qcow2_no_base(const struct qcow2 *, uint64_t guest_cluster);

/* qcow2_header.c */

/* Reads and checks; -1 with the cause in err. */
int	qcow2_header_read(struct qcow2_header *, int fd, const char *path,
	    struct err *);
/* [locked] Writes the feature bits of q_h. */
int	qcow2_header_features(struct qcow2 *);

/* qcow2_table.c: all [locked]; an errno */

int	qcow2_cache_init(struct qcow2_cache *, size_t nslots, size_t max);
void	qcow2_cache_free(struct qcow2_cache *);
/* The table in a slot, read from the file if it is not there. */
int	qcow2_cache_get(struct qcow2 *, struct qcow2_cache *, size_t index,
	    uint64_t offset, struct qcow2_table **);
/* A table that is not in the file yet; all zero, not dirty. */
int	qcow2_cache_new(struct qcow2 *, struct qcow2_cache *, size_t index,
	    uint64_t offset, struct qcow2_table **);
void	qcow2_cache_drop(struct qcow2 *, struct qcow2_cache *,
	    struct qcow2_table *);
void	qcow2_cache_dirty(struct qcow2_cache *, struct qcow2_table *,
	    size_t first, size_t end);
void	qcow2_cache_clean(struct qcow2_cache *, struct qcow2_table *);
/* The L2 table that has a guest cluster's entry; NULL: there is none. */
int	qcow2_l2_get(struct qcow2 *, uint64_t guest_cluster,
	    struct qcow2_table **);
/* The same to be changed: made, or copied if a snapshot shares it. */
int	qcow2_l2_own(struct qcow2 *, uint64_t guest_cluster,
	    struct qcow2_table **);
/* The checked entry of a guest cluster in its table (NULL: 0). */
int	qcow2_l2_entry(struct qcow2 *, const struct qcow2_table *,
	    uint64_t guest_cluster, uint64_t *entry);
void	qcow2_l2_set(struct qcow2 *, struct qcow2_table *,
	    uint64_t guest_cluster, uint64_t entry);
/* Whole pieces of the file; reading past its end is EIO. */
int	qcow2_pread(const struct qcow2 *, void *, size_t, uint64_t offset);
int	qcow2_pwrite(const struct qcow2 *, const void *, size_t,
	    uint64_t offset);

/* qcow2_compressed.c */

/* Where a compressed cluster's bytes are. */
void	qcow2_compressed_at(const struct qcow2 *, uint64_t entry,
	    uint64_t *offset, size_t *len);
/* Part of a compressed cluster; not locked. */
int	qcow2_compressed_read(struct qcow2 *, uint64_t entry, uint64_t skip,
	    const struct iovec *, int niov, uint64_t len);

/* qcow2_refcount.c: all [locked]; an errno */

int	qcow2_refcount_open(struct qcow2 *, struct err *);
int	qcow2_refcount_get(struct qcow2 *, uint64_t cluster, uint64_t *);
/* Raises or lowers refcounts by one, at once. */
int	qcow2_refcount_add(struct qcow2 *, uint64_t first, uint64_t count,
	    int delta);
int	qcow2_refcount_set(struct qcow2 *, uint64_t cluster, uint64_t);
/* Up to *count clusters in a row, refcount 1; *count says how many. */
int	qcow2_alloc(struct qcow2 *, uint64_t *first, uint64_t *count,
	    bool *fresh);
/* For when neither memory nor disk refer to them any more. */
void	qcow2_freed_add(struct qcow2 *, uint64_t first, uint64_t count);
void	qcow2_freed_entry(struct qcow2 *, uint64_t l2_entry);
/* Lowers the refcounts of what was freed, and gives its place back. */
void	qcow2_freed_apply(struct qcow2 *, struct qcow2_freed *);
bool	qcow2_set_has(const struct qcow2_set *, uint64_t cluster);
int	qcow2_set_add(struct qcow2_set *, uint64_t cluster);
void	qcow2_set_remove(struct qcow2_set *, uint64_t cluster);

/* qcow2_snapshot.c */

/* Calls fn with offset and length of each snapshot's L1 table, and of the
 * table of snapshots itself. -1 if that did, or if the table is damaged. */
int	qcow2_snapshots(struct qcow2 *, int (*fn)(void *, uint64_t, uint64_t),
	    void *, struct err *);

/* qcow2_commit.c: not locked */

int	qcow2_commit(struct qcow2 *);
/* Commits if much has gathered. */
int	qcow2_commit_some(struct qcow2 *);
/* At the end: everything is in the file, which is marked as in order. */
int	qcow2_finish(struct qcow2 *);
/* Refcount blocks that are not in the file yet, and the end of the mark that
 * says so. */
int	qcow2_finish_lazy(struct qcow2 *);

/* qcow2_write.c: not locked */

int	qcow2_write_guest(struct qcow2 *, uint64_t offset,
	    const struct iovec *, int niov);
int	qcow2_zero_guest(struct qcow2 *, uint64_t offset, uint64_t len,
	    bool unmap);
int	qcow2_discard_guest(struct qcow2 *, uint64_t offset, uint64_t len);

/* qcow2_repair.c: at opening; -1 with the cause in err */

int	qcow2_repair(struct qcow2 *, struct err *);

#endif
