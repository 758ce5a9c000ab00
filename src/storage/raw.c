/*
 * Raw images: byte n of the file is byte n of the disk. A regular file may have
 * holes; a block device is its own.
 *
 * Invariants: image.h. Any thread.
 */
#include <sys/uio.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/image.h"

/* preadv(2) or pwritev(2), and their plain kin. */
struct raw_io {
	ssize_t	(*ri_vector)(int, const struct iovec *, int, off_t);
	ssize_t	(*ri_plain)(int, void *, size_t, off_t);
};

static ssize_t
raw_pwrite(int fd, void *buf, size_t len, off_t offset)
{
	return (pwrite(fd, buf, len, offset));
}

static const struct raw_io raw_reader = { preadv, pread };
static const struct raw_io raw_writer = { pwritev, raw_pwrite };

/* Moves everything: the kernel may be interrupted and may move less. */
static int
raw_move(int fd, const struct raw_io *io, uint64_t offset,
    const struct iovec *iov, int niov)
{
	size_t done = 0;	/* of the first iovec */
	ssize_t n;

	while (niov > 0) {
		if (done == iov->iov_len) {
			iov++;
			niov--;
			done = 0;
			continue;
		}
		if (done != 0)
			n = io->ri_plain(fd, (uint8_t *)iov->iov_base + done,
			    iov->iov_len - done, (off_t)offset);
		else
			n = io->ri_vector(fd, iov, niov < IOV_MAX ? niov :
			    IOV_MAX, (off_t)offset);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return (errno);
		if (n == 0)
			return (EIO);	/* someone cut the file short */
		offset += (uint64_t)n;
		for (done += (size_t)n; niov > 0 && done >= iov->iov_len;
		    niov--)
			done -= iov++->iov_len;
	}
	return (0);
}

static int
raw_read(struct image *im, uint64_t offset, const struct iovec *iov, int niov)
{
	return (raw_move(im->im_fd, &raw_reader, offset, iov, niov));
}

static int
raw_write(struct image *im, uint64_t offset, const struct iovec *iov, int niov)
{
	return (raw_move(im->im_fd, &raw_writer, offset, iov, niov));
}

static int
raw_flush(struct image *im)
{
	int error;

	do {
		error = fdatasync(im->im_fd) == -1 ? errno : 0;
	} while (error == EINTR);
	return (error);
}

/* fallocate(2); EOPNOTSUPP for all the ways of saying so. */
static int
raw_allocate(struct image *im, int mode, uint64_t offset, uint64_t len)
{
	int error;

	if (atomic_load(&im->im_refused) & mode)
		return (EOPNOTSUPP);
	do {
		error = fallocate(im->im_fd, mode | FALLOC_FL_KEEP_SIZE,
		    (off_t)offset, (off_t)len) == -1 ? errno : 0;
	} while (error == EINTR);
	if (error == EOPNOTSUPP || error == ENOSYS || error == ENODEV) {
		atomic_fetch_or(&im->im_refused, mode);
		return (EOPNOTSUPP);
	}
	/* A device that wants its own alignment, this time. */
	return (error == EINVAL ? EOPNOTSUPP : error);
}

static int
raw_discard(struct image *im, uint64_t offset, uint64_t len)
{
	int error;

	error = raw_allocate(im, FALLOC_FL_PUNCH_HOLE, offset, len);
	/* It is a hint: where there are no holes, nothing is to be done. */
	return (error == EOPNOTSUPP ? 0 : error);
}

static int
raw_zero(struct image *im, uint64_t offset, uint64_t len, bool unmap)
{
	static const uint8_t zeros[65536];
	struct iovec iov[16];
	uint64_t n;
	int error, niov;

	error = raw_allocate(im, unmap ? FALLOC_FL_PUNCH_HOLE :
	    FALLOC_FL_ZERO_RANGE, offset, len);
	for (; error == EOPNOTSUPP && len > 0; ) {
		for (n = 0, niov = 0; niov < 16 && n < len; niov++) {
			iov[niov].iov_base = (void *)(uintptr_t)zeros;
			iov[niov].iov_len = len - n < sizeof(zeros) ?
			    (size_t)(len - n) : sizeof(zeros);
			n += iov[niov].iov_len;
		}
		if ((error = raw_write(im, offset, iov, niov)) != 0)
			return (error);
		error = EOPNOTSUPP;	/* go on by hand */
		offset += n;
		len -= n;
	}
	return (error == EOPNOTSUPP ? 0 : error);
}

const struct image_ops raw_ops = {
	.io_name	= "raw",
	.io_read	= raw_read,
	.io_write	= raw_write,
	.io_flush	= raw_flush,
	.io_discard	= raw_discard,
	.io_zero	= raw_zero,
};
