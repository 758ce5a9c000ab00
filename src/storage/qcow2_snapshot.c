/*
 * Internal snapshots of a qcow2 image: they are kept, not offered. What they
 * use is known from the refcounts, but for the table that lists them and their
 * L1 tables, which are looked for here.
 *
 * Threads: that of opening.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

/* An entry: fixed part, then extra data, id and name, to a multiple of 8. */
#define SNAPSHOT_BYTES	40u
#define SNAPSHOT_EXTRA	1024u	/* more is no entry */
#define SNAPSHOT_L1_MAX	(256u << 20)	/* bytes, of all together */

int
qcow2_snapshots(struct qcow2 *q, int (*fn)(void *, uint64_t, uint64_t),
    void *arg, struct err *err)
{
	uint64_t at = q->q_h.h_snapshots_offset, l1, sum = 0;
	uint8_t s[SNAPSHOT_BYTES];
	uint32_t i, l1_size, extra;
	uint16_t id, name;
	int error = 0;

	for (i = 0; i < q->q_h.h_nsnapshots; i++) {
		if ((error = qcow2_pread(q, s, sizeof(s), at)) != 0)
			break;
		l1 = qcow2_get64(s, 0);
		memcpy(&l1_size, s + 8, 4);
		memcpy(&id, s + 12, 2);
		memcpy(&name, s + 14, 2);
		memcpy(&extra, s + 36, 4);
		l1_size = be32toh(l1_size);
		extra = be32toh(extra);
		if ((l1 & (q->q_cluster - 1)) != 0 || l1 > QCOW2_OFFSET ||
		    l1_size > QCOW2_L1_BYTES_MAX / 8 ||
		    extra > SNAPSHOT_EXTRA ||
		    (sum += l1_size * 8ULL) > SNAPSHOT_L1_MAX) {
			error = EIO;
			break;
		}
		if (l1_size > 0 && fn(arg, l1, l1_size * 8ULL) == -1)
			return (-1);
		at += (SNAPSHOT_BYTES + (uint64_t)extra + be16toh(id) +
		    be16toh(name) + 7) & ~7ULL;
	}
	if (error == 0 && at > q->q_h.h_snapshots_offset)
		return (fn(arg, q->q_h.h_snapshots_offset,
		    at - q->q_h.h_snapshots_offset));
	if (error == 0)
		return (0);
	return (err_set(err, "disk %s is a damaged qcow2 image (snapshot %"
	    PRIu32 "): try qemu-img check -r all %s", q->q_path, i,
	    q->q_path));
}
