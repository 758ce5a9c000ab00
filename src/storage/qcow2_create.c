/*
 * A new qcow2 image: version 3, clusters of 64 KiB, refcounts of 16 bits.
 *
 *	cluster 0	header, format and name of the base
 *	cluster 1	refcount table
 *	cluster 2	refcount block, which counts all of these
 *	cluster 3...	L1 table, all zero
 *
 * Threads: any; the file is the caller's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/create.h"
#include "storage/qcow2.h"

#define CLUSTER_BITS	16u
#define CLUSTER		(1u << CLUSTER_BITS)
#define L1_CLUSTER	3u
#define REFCOUNT_ORDER	4u

static void
put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}

static void
create_header(uint8_t *h, uint64_t size, uint32_t l1_size, const char *base,
    const char *base_format)
{
	size_t at = QCOW2_H_LENGTH_V3, n;

	memcpy(h, "QFI\xfb", 4);
	put32(h + 4, 3);
	put32(h + 20, CLUSTER_BITS);
	qcow2_put64(h + 24, 0, size);
	put32(h + 36, l1_size);
	qcow2_put64(h + 40, 0, (uint64_t)L1_CLUSTER << CLUSTER_BITS);
	qcow2_put64(h + 48, 0, 1ULL << CLUSTER_BITS);
	put32(h + 56, 1);
	put32(h + 96, REFCOUNT_ORDER);
	put32(h + 100, QCOW2_H_LENGTH_V3);
	if (base[0] == '\0')
		return;
	n = strlen(base_format);
	put32(h + at, QCOW2_EXT_BASE_FORMAT);
	put32(h + at + 4, (uint32_t)n);
	memcpy(h + at + 8, base_format, n);
	at += 8 + ((n + 7) & ~(size_t)7);
	at += 8;			/* the end of the extensions */
	n = strlen(base);
	qcow2_put64(h + 8, 0, at);
	put32(h + 16, (uint32_t)n);
	memcpy(h + at, base, n);
}

int
qcow2_create(int fd, const char *path, uint64_t size, const char *base,
    const char *base_format, struct err *err)
{
	uint64_t l1_size, l1_clusters, i;
	struct iovec iov;
	uint8_t *h;
	int error;

	l1_size = qcow2_units(size, CLUSTER_BITS * 2 - 3);
	if (l1_size > QCOW2_L1_BYTES_MAX / 8)
		return (err_set(err, "disk %s: a qcow2 image cannot be larger "
		    "than %u TiB", path, (unsigned)(((QCOW2_L1_BYTES_MAX /
		    8ULL) << (CLUSTER_BITS * 2 - 3)) >> 40)));
	if (strlen(base) > QCOW2_BASE_NAME_MAX)
		return (err_set(err, "disk %s: the path of its base is too "
		    "long", path));
	l1_clusters = qcow2_units(l1_size * 8, CLUSTER_BITS);
	iov.iov_len = L1_CLUSTER << CLUSTER_BITS;
	if ((h = calloc(1, iov.iov_len)) == NULL)
		return (err_sys(err, "disk %s", path));
	create_header(h, size, (uint32_t)l1_size, base, base_format);
	qcow2_put64(h + CLUSTER, 0, 2ULL << CLUSTER_BITS);
	for (i = 0; i < L1_CLUSTER + l1_clusters; i++)
		h[2 * CLUSTER + i * 2 + 1] = 1;
	iov.iov_base = h;
	error = raw_pwritev(fd, 0, &iov, 1);
	free(h);
	if (error == 0 && ftruncate(fd, (off_t)((L1_CLUSTER + l1_clusters) <<
	    CLUSTER_BITS)) == -1)
		error = errno;
	if (error == 0)
		return (0);
	errno = error;
	return (err_sys(err, "disk %s", path));
}
