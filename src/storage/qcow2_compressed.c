/*
 * Compressed clusters of a qcow2 image: a raw deflate stream or a zstd frame at
 * any byte of the file, as long as a whole number of sectors says, of which
 * the last may be the next one's too. Never written here: a write gives the
 * guest cluster a place of its own.
 *
 * The last few are kept, because a guest reads a cluster in pieces. A place in
 * the file is only reused after its entry is gone from L2, and what is written
 * there then is never compressed, so an entry always stands for the same bytes.
 *
 * Threads: any, without q_lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "storage/iov.h"
#include "storage/qcow2.h"

#define SECTOR	512u

void
qcow2_compressed_at(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
    size_t *len)
{
	unsigned x = 62 - (q->q_cluster_bits - 8);
	uint64_t sectors;

	*offset = entry & ((1ULL << x) - 1);
	sectors = ((entry & ~QCOW2_COPIED & ~QCOW2_COMPRESSED) >> x) + 1;
	*len = sectors * SECTOR - (*offset & (SECTOR - 1));
}

/* The stream ends where the cluster is full; what follows is not its own. */
static bool
inflate_zlib(uint8_t *out, size_t outlen, const uint8_t *in, size_t inlen)
{
	z_stream z;
	int ret;

	memset(&z, 0, sizeof(z));
	if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
		return (false);
	z.next_in = (uint8_t *)(uintptr_t)in;
	z.avail_in = (uInt)inlen;
	z.next_out = out;
	z.avail_out = (uInt)outlen;
	ret = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return (z.avail_out == 0 && (ret == Z_STREAM_END || ret == Z_OK ||
	    ret == Z_BUF_ERROR));
}

static bool
inflate_zstd(uint8_t *out, size_t outlen, const uint8_t *in, size_t inlen)
{
	ZSTD_outBuffer o = { out, outlen, 0 };
	ZSTD_inBuffer i = { in, inlen, 0 };
	ZSTD_DStream *z = ZSTD_createDStream();
	size_t before, ret = 1;

	if (z == NULL)
		return (false);
	while (o.pos < o.size && ret != 0) {
		before = i.pos + o.pos;
		ret = ZSTD_decompressStream(z, &o, &i);
		if (ZSTD_isError(ret) || i.pos + o.pos == before)
			break;
	}
	ZSTD_freeDStream(z);
	return (o.pos == o.size);
}

static int
inflate_cluster(struct qcow2 *q, uint64_t entry, uint8_t *out)
{
	struct iovec iov;
	uint64_t offset;
	bool good;
	int error;

	qcow2_compressed_at(q, entry, &offset, &iov.iov_len);
	if (offset > QCOW2_OFFSET)
		return (qcow2_corrupt(q, "compressed cluster at %#" PRIx64,
		    offset));
	if ((iov.iov_base = malloc(iov.iov_len)) == NULL)
		return (ENOMEM);
	/* The file may end within the last sector. */
	error = raw_preadv(q->q_fd, offset, &iov, 1, true);
	if (error == 0) {
		if (q->q_h.h_zstd)
			good = inflate_zstd(out, q->q_cluster, iov.iov_base,
			    iov.iov_len);
		else
			good = inflate_zlib(out, q->q_cluster, iov.iov_base,
			    iov.iov_len);
		if (!good)
			error = qcow2_corrupt(q, "compressed cluster at %#"
			    PRIx64 " cannot be decompressed", offset);
	}
	free(iov.iov_base);
	return (error);
}

/* [q_inflate] Takes the buffer in exchange for one that is used no more. */
static uint8_t *
inflated_keep(struct qcow2 *q, uint64_t entry, uint8_t *buf)
{
	struct qcow2_inflated *i, *oldest = &q->q_inflated[0];
	uint8_t *old;

	for (i = q->q_inflated; i < q->q_inflated + QCOW2_INFLATED; i++)
		if (i->qi_used < oldest->qi_used)
			oldest = i;
	old = oldest->qi_data;
	*oldest = (struct qcow2_inflated){ entry, ++q->q_inflations, buf };
	return (old);
}

static bool
inflated_find(struct qcow2 *q, uint64_t entry, uint64_t skip,
    const struct iovec *iov, int niov, uint64_t len)
{
	struct qcow2_inflated *i;
	bool found = false;

	pthread_mutex_lock(&q->q_inflate);
	for (i = q->q_inflated; i < q->q_inflated + QCOW2_INFLATED; i++) {
		if (i->qi_entry != entry)
			continue;
		i->qi_used = ++q->q_inflations;
		iov_scatter(iov, niov, i->qi_data + skip, len);
		found = true;
		break;
	}
	pthread_mutex_unlock(&q->q_inflate);
	return (found);
}

int
qcow2_compressed_read(struct qcow2 *q, uint64_t entry, uint64_t skip,
    const struct iovec *iov, int niov, uint64_t len)
{
	uint8_t *buf;
	int error;

	if (inflated_find(q, entry, skip, iov, niov, len))
		return (0);
	if ((buf = malloc(q->q_cluster)) == NULL)
		return (ENOMEM);
	if ((error = inflate_cluster(q, entry, buf)) == 0) {
		iov_scatter(iov, niov, buf + skip, len);
		/* The whole of it is not asked for again. */
		if (len < q->q_cluster) {
			pthread_mutex_lock(&q->q_inflate);
			buf = inflated_keep(q, entry, buf);
			pthread_mutex_unlock(&q->q_inflate);
		}
	}
	free(buf);
	return (error);
}
