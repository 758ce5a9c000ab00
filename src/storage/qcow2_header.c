/*
 * The header of a qcow2 image: read once and checked against every limit, so
 * that what the other files find in struct qcow2_header can be relied on; and
 * the feature bits, which are all of it that ever changes in place.
 *
 * Threads: reading, that of opening; the bits, any with q_lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/qcow2.h"

#define FEATURES_KNOWN	(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | \
    QCOW2_INCOMPAT_COMPRESSION)
/* An entry of the table of feature names: type, bit, name. */
#define FEATURE_BYTES	48u
#define FEATURE_NAME	46

static uint32_t
be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return (be32toh(v));
}

static uint64_t
be64(const uint8_t *p)
{
	return (qcow2_get64(p, 0));
}

/* One line for all that a damaged header may say. */
static int
header_bad(const char *path, const char *what, struct err *err)
{
	return (err_set(err, "disk %s is a damaged qcow2 image (%s): try "
	    "qemu-img check -r all %s", path, what, path));
}

/* Where the extension of a kind is in the first cluster; NULL: nowhere. */
static const uint8_t *
header_extension(const uint8_t *h, size_t len, size_t at, uint32_t kind,
    uint32_t *extlen)
{
	uint32_t n;

	while (at + 8 <= len && be32(h + at) != QCOW2_EXT_END) {
		n = be32(h + at + 4);
		if (n > len - at - 8)
			return (NULL);
		if (be32(h + at) == kind) {
			*extlen = n;
			return (h + at + 8);
		}
		at += 8 + (((size_t)n + 7) & ~(size_t)7);
	}
	return (NULL);
}

/* The image's own name of a feature, if it gives one that can be printed. */
static const char *
feature_name(const uint8_t *table, uint32_t len, unsigned bit, char *name,
    size_t room)
{
	uint32_t i;
	size_t k;

	for (i = 0; table != NULL && i + FEATURE_BYTES <= len;
	    i += FEATURE_BYTES) {
		if (table[i] != 0 || table[i + 1] != bit)
			continue;
		snprintf(name, room, "%.*s", FEATURE_NAME,
		    (const char *)table + i + 2);
		for (k = 0; name[k] != '\0'; k++)
			if (name[k] < ' ' || name[k] > '~')
				name[k] = '?';
		if (k > 0)
			return (name);
	}
	snprintf(name, room, "bit %u", bit);
	return (name);
}

static int
header_features(const struct qcow2_header *h, const uint8_t *raw, size_t len,
    size_t at, const char *path, struct err *err)
{
	uint64_t unknown = h->h_incompatible & ~FEATURES_KNOWN;
	const uint8_t *table;
	char names[256] = "", name[64];
	uint32_t n = 0;
	size_t used = 0;
	unsigned bit;

	if (unknown & QCOW2_INCOMPAT_DATA_FILE)
		return (err_set(err, "disk %s is a qcow2 image with its data "
		    "in another file: convert it with qemu-img convert -O "
		    "qcow2 %s NEW", path, path));
	if (unknown & QCOW2_INCOMPAT_EXTENDED_L2)
		return (err_set(err, "disk %s is a qcow2 image with "
		    "subclusters: convert it with qemu-img convert -O qcow2 "
		    "%s NEW", path, path));
	if (unknown == 0)
		return (0);
	table = header_extension(raw, len, at, QCOW2_EXT_FEATURES, &n);
	for (bit = 0; bit < 64 && used < sizeof(names); bit++)
		if (unknown & (1ULL << bit))
			used += (size_t)snprintf(names + used,
			    sizeof(names) - used, "%s%s", used > 0 ? ", " : "",
			    feature_name(table, n, bit, name, sizeof(name)));
	return (err_set(err, "disk %s is a qcow2 image with features that are "
	    "not known here (%s): convert it with qemu-img convert -O qcow2 "
	    "%s NEW", path, names, path));
}

/* Where the tables are said to be. What is in them is for others to check. */
static int
header_tables(const struct qcow2_header *h, const char *path, struct err *err)
{
	uint64_t mask = (1ULL << h->h_cluster_bits) - 1;
	uint64_t per_l1;

	per_l1 = 1ULL << (h->h_cluster_bits * 2 - 3);
	if (h->h_size > QCOW2_SIZE_MAX)
		return (header_bad(path, "its size", err));
	if (h->h_size == 0)
		return (err_set(err, "disk %s is empty: give it a size with "
		    "qemu-img resize %s 1G", path, path));
	if (h->h_size % 512 != 0)
		return (err_set(err, "disk %s has %" PRIu64 " bytes, which is "
		    "no multiple of 512: fix it with qemu-img resize", path,
		    h->h_size));
	if (h->h_l1_size > QCOW2_L1_BYTES_MAX / 8 ||
	    h->h_l1_size < (h->h_size - 1) / per_l1 + 1)
		return (header_bad(path, "size of the L1 table", err));
	if (h->h_l1_offset == 0 || (h->h_l1_offset & mask) != 0 ||
	    h->h_l1_offset > QCOW2_OFFSET)
		return (header_bad(path, "place of the L1 table", err));
	if (h->h_rt_clusters == 0 ||
	    h->h_rt_clusters > QCOW2_RT_BYTES_MAX >> h->h_cluster_bits)
		return (header_bad(path, "size of the refcount table", err));
	if (h->h_rt_offset == 0 || (h->h_rt_offset & mask) != 0 ||
	    h->h_rt_offset > QCOW2_OFFSET)
		return (header_bad(path, "place of the refcount table", err));
	if (h->h_nsnapshots > QCOW2_SNAPSHOTS_MAX ||
	    (h->h_nsnapshots > 0 && (h->h_snapshots_offset == 0 ||
	    (h->h_snapshots_offset & mask) != 0 ||
	    h->h_snapshots_offset > QCOW2_OFFSET)))
		return (header_bad(path, "table of snapshots", err));
	return (0);
}

/* The name of the base and, in an extension, its format. */
static int
header_base(struct qcow2_header *h, const uint8_t *raw, size_t len, size_t at,
    const char *path, struct err *err)
{
	uint64_t offset = be64(raw + 8);
	uint32_t n = be32(raw + 16);
	const uint8_t *format;

	if (offset == 0)
		return (0);
	if (n > QCOW2_BASE_NAME_MAX || offset > len || n > len - offset ||
	    memchr(raw + offset, '\0', n) != NULL)
		return (header_bad(path, "name of its base", err));
	memcpy(h->h_base, raw + offset, n);
	h->h_base[n] = '\0';
	format = header_extension(raw, len, at, QCOW2_EXT_BASE_FORMAT, &n);
	if (format == NULL)
		return (0);
	if (n >= sizeof(h->h_base_format))
		return (header_bad(path, "format of its base", err));
	memcpy(h->h_base_format, format, n);
	h->h_base_format[n] = '\0';
	return (0);
}

static int
header_v3(struct qcow2_header *h, const uint8_t *raw, size_t len,
    size_t *end, const char *path, struct err *err)
{
	uint32_t hlen = be32(raw + 100);

	h->h_incompatible = be64(raw + QCOW2_H_INCOMPATIBLE);
	h->h_compatible = be64(raw + 80);
	h->h_autoclear = be64(raw + QCOW2_H_AUTOCLEAR);
	if (hlen < QCOW2_H_LENGTH_V3 || hlen % 8 != 0 || hlen > len)
		return (header_bad(path, "length of its header", err));
	*end = hlen;
	if (header_features(h, raw, len, hlen, path, err) == -1)
		return (-1);
	if (be32(raw + 96) > 6)
		return (header_bad(path, "width of refcounts", err));
	h->h_refcount_order = be32(raw + 96);
	if (h->h_incompatible & QCOW2_INCOMPAT_COMPRESSION) {
		if (hlen <= 104 || raw[104] != 1)
			return (err_set(err, "disk %s is a qcow2 image with a "
			    "compression that is not known here: convert it "
			    "with qemu-img convert -O qcow2 %s NEW", path,
			    path));
		h->h_zstd = true;
	} else if (hlen > 104 && raw[104] != 0)
		return (header_bad(path, "kind of compression", err));
	return (0);
}

static int
header_parse(struct qcow2_header *h, const uint8_t *raw, size_t len,
    const char *path, struct err *err)
{
	size_t end = QCOW2_H_LENGTH_V2;

	h->h_size = be64(raw + 24);
	h->h_l1_size = be32(raw + 36);
	h->h_l1_offset = be64(raw + 40);
	h->h_rt_offset = be64(raw + 48);
	h->h_rt_clusters = be32(raw + 56);
	h->h_nsnapshots = be32(raw + 60);
	h->h_snapshots_offset = be64(raw + 64);
	h->h_refcount_order = 4;
	if (be32(raw + 32) != 0)
		return (err_set(err, "disk %s is an encrypted qcow2 image: "
		    "decrypt it with qemu-img convert", path));
	if (h->h_version == 3 &&
	    header_v3(h, raw, len, &end, path, err) == -1)
		return (-1);
	if (header_tables(h, path, err) == -1 ||
	    header_base(h, raw, len, end, path, err) == -1)
		return (-1);
	return (0);
}

int
qcow2_header_read(struct qcow2_header *h, int fd, const char *path,
    struct err *err)
{
	uint8_t first[QCOW2_H_LENGTH_V3], *raw;
	ssize_t n;
	int ret;

	memset(h, 0, sizeof(*h));
	n = pread(fd, first, sizeof(first), 0);
	if (n < (ssize_t)QCOW2_H_LENGTH_V2)
		return (header_bad(path, "too short", err));
	if (memcmp(first, "QFI\xfb", 4) != 0)
		return (err_set(err, "disk %s is no qcow2 image, but was said "
		    "to be one", path));
	h->h_version = be32(first + 4);
	if (h->h_version != 2 && h->h_version != 3)
		return (err_set(err, "disk %s is a qcow image of version %"
		    PRIu32 ", which is not known here: convert it with "
		    "qemu-img convert -O qcow2 %s NEW", path, h->h_version,
		    path));
	if (h->h_version == 3 && n < (ssize_t)QCOW2_H_LENGTH_V3)
		return (header_bad(path, "too short", err));
	if (be32(first + 20) < QCOW2_CLUSTER_BITS_MIN ||
	    be32(first + 20) > QCOW2_CLUSTER_BITS_MAX)
		return (header_bad(path, "size of clusters", err));
	h->h_cluster_bits = be32(first + 20);
	if ((raw = calloc(1, 1UL << h->h_cluster_bits)) == NULL)
		return (err_sys(err, "disk %s", path));
	if ((n = pread(fd, raw, 1UL << h->h_cluster_bits, 0)) == -1)
		ret = err_sys(err, "disk %s", path);
	else
		ret = header_parse(h, raw, 1UL << h->h_cluster_bits, path,
		    err);
	free(raw);
	return (ret);
}

int
qcow2_header_features(struct qcow2 *q)
{
	uint8_t bits[24];

	if (q->q_h.h_version < 3)
		return (0);
	qcow2_put64(bits, 0, q->q_h.h_incompatible);
	qcow2_put64(bits, 1, q->q_h.h_compatible);
	qcow2_put64(bits, 2, q->q_h.h_autoclear);
	return (qcow2_pwrite(q, bits, sizeof(bits), QCOW2_H_INCOMPATIBLE));
}
