/*
 * Arbitrary bytes as a qcow2 image, that a guest then reads and writes: what
 * was written is read again, or there was an error.
 */
#include "fuzzers.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "storage/image.h"

#define PIECE	8192u

static void
no_log(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	MUST(strchr(line, '\n') == NULL);
}

static int
transfer(struct image *im, uint64_t at, uint8_t *bytes, bool write)
{
	const struct iovec iov = { .iov_base = bytes, .iov_len = PIECE };

	if (write)
		return (im->im_ops->io_write(im, at, &iov, 1));
	return (im->im_ops->io_read(im, at, &iov, 1));
}

static void
use_at(struct image *im, uint64_t at)
{
	static uint8_t zero[PIECE], got[PIECE], bytes[PIECE];

	(void)transfer(im, at, got, false);
	if (im->im_readonly)
		return;
	memset(bytes, 0x5a, sizeof(bytes));
	if (transfer(im, at, bytes, true) == 0 &&
	    transfer(im, at, got, false) == 0)
		MUST(memcmp(bytes, got, PIECE) == 0);
	if (im->im_ops->io_zero(im, at, PIECE, true) == 0 &&
	    transfer(im, at, got, false) == 0)
		MUST(memcmp(zero, got, PIECE) == 0);
	(void)im->im_ops->io_discard(im, at, PIECE);
}

void
fuzz_qcow2(const uint8_t *data, size_t len)
{
	struct image im;
	struct err err;
	uint64_t end;
	int fd;

	/* a base would be a file of the host's */
	if (len >= 20 && (data[8] | data[9] | data[10] | data[11] | data[12] |
	    data[13] | data[14] | data[15]) != 0)
		return;
	log_set_sink(no_log, NULL);
	fd = fuzz_file(data, len);
	if (image_open_fd(&im, fd, "fuzz", IMAGE_QCOW2, &err) == -1) {
		MUST(strchr(err.e_text, '\n') == NULL);
		return;
	}
	end = im.im_size - im.im_size % 512;
	if (end >= PIECE) {
		use_at(&im, 0);
		use_at(&im, (end - PIECE) / 1024 * 512);
		use_at(&im, end - PIECE);
		(void)im.im_ops->io_flush(&im);
		use_at(&im, 0);
	}
	image_close(&im);
}

/* --- seeds ---------------------------------------------------------------- */

static void
put32(uint8_t *p, uint32_t n)
{
	n = htobe32(n);
	memcpy(p, &n, sizeof(n));
}

static void
put64(uint8_t *p, uint64_t n)
{
	n = htobe64(n);
	memcpy(p, &n, sizeof(n));
}

/* Clusters 0 to 3: header, refcount table, refcount block, L1. */
size_t
fuzz_qcow2_seed(uint8_t *image, unsigned version, unsigned bits, uint64_t size)
{
	const uint64_t cluster = 1ULL << bits;
	const uint64_t covered = cluster * (cluster / 8);
	unsigned i;

	memset(image, 0, 4 * cluster);
	memcpy(image, "QFI\xfb", 4);
	put32(image + 4, version);
	put32(image + 20, bits);
	put64(image + 24, size);
	put32(image + 36, (uint32_t)((size + covered - 1) / covered));
	put64(image + 40, 3 * cluster);
	put64(image + 48, cluster);
	put32(image + 56, 1);
	if (version == 3) {
		put32(image + 96, 4);
		put32(image + 100, 104);
	}
	put64(image + cluster, 2 * cluster);
	for (i = 0; i < 4; i++)
		image[2 * cluster + 2 * i + 1] = 1;
	return (4 * cluster);
}
