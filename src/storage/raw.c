/*
 * Raw images: byte n of the file is byte n of the disk. A regular file may have
 * holes; a block device is its own.
 *
 * Invariants: image.h. Any thread.
 */
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <linux/fs.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "storage/image.h"
#include "storage/iov.h"

#define RAW_SECTOR	512u

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
    const struct iovec *iov, int niov, bool past_end)
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
		if (n == 0 && past_end) {
			iov_zero(iov, niov, done);
			return (0);
		}
		if (n == 0)
			return (EIO);	/* someone cut the file short */
		offset += (uint64_t)n;
		for (done += (size_t)n; niov > 0 && done >= iov->iov_len;
		    niov--)
			done -= iov++->iov_len;
	}
	return (0);
}

int
raw_preadv(int fd, uint64_t offset, const struct iovec *iov, int niov,
    bool past_end)
{
	return (raw_move(fd, &raw_reader, offset, iov, niov, past_end));
}

int
raw_preadv_now(int fd, uint64_t offset, const struct iovec *iov, int niov)
{
	ssize_t n;

	if (niov > IOV_MAX)
		return (EAGAIN);
	n = preadv2(fd, iov, niov, (off_t)offset, RWF_NOWAIT);
	return (n >= 0 && (uint64_t)n == iov_length(iov, niov) ? 0 : EAGAIN);
}

int
raw_pwritev(int fd, uint64_t offset, const struct iovec *iov, int niov)
{
	return (raw_move(fd, &raw_writer, offset, iov, niov, false));
}

int
raw_sync(int fd)
{
	int error;

	do {
		error = fdatasync(fd) == -1 ? errno : 0;
	} while (error == EINTR);
	return (error);
}

int
raw_allocate(int fd, atomic_int *refused, int mode, uint64_t offset,
    uint64_t len)
{
	int error;

	if (atomic_load(refused) & mode)
		return (EOPNOTSUPP);
	do {
		error = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE,
		    (off_t)offset, (off_t)len) == -1 ? errno : 0;
	} while (error == EINTR);
	if (error == EOPNOTSUPP || error == ENOSYS || error == ENODEV) {
		atomic_fetch_or(refused, mode);
		return (EOPNOTSUPP);
	}
	/* A device that wants its own alignment, this time. */
	return (error == EINVAL ? EOPNOTSUPP : error);
}

static int
raw_read(struct image *im, uint64_t offset, const struct iovec *iov, int niov)
{
	return (raw_preadv(im->im_fd, offset, iov, niov, false));
}

static int
raw_read_now(struct image *im, uint64_t offset, const struct iovec *iov,
    int niov)
{
	return (raw_preadv_now(im->im_fd, offset, iov, niov));
}

/*
 * The guest owns every byte of a raw image, the first ones too, by which the
 * next opening would know another format, and with it a base of the guest's
 * choice. Where nobody said that the image is raw, it may not write those. Its
 * memory changes under us, so what is looked at is what is written.
 */
static int
raw_write_first(struct image *im, const struct iovec *iov, int niov)
{
	struct iovec first = { NULL, RAW_SECTOR }, *rest;
	uint8_t sector[RAW_SECTOR];
	uint64_t len;
	int error;

	if ((rest = malloc((size_t)niov * sizeof(*rest))) == NULL)
		return (ENOMEM);
	len = iov_gather(iov, niov, sector, sizeof(sector));
	first.iov_base = sector;
	first.iov_len = len;
	if (image_is_magic(sector, len)) {
		LOG_GUEST("disk %s: the guest wrote the beginning of a qcow2 "
		    "image: refused, because the disk's format was found "
		    "out by its content: say raw:%s", im->im_path,
		    im->im_path);
		error = EPERM;
	} else
		error = raw_pwritev(im->im_fd, 0, &first, 1);
	if (error == 0) {
		niov = iov_cut(iov, niov, len, UINT64_MAX, rest);
		error = raw_pwritev(im->im_fd, len, rest, niov);
	}
	free(rest);
	return (error);
}

static int
raw_write(struct image *im, uint64_t offset, const struct iovec *iov, int niov)
{
	if (offset < RAW_SECTOR && im->im_probed)
		return (raw_write_first(im, iov, niov));
	return (raw_pwritev(im->im_fd, offset, iov, niov));
}

static int
raw_flush(struct image *im)
{
	return (raw_sync(im->im_fd));
}

static int
raw_discard(struct image *im, uint64_t offset, uint64_t len)
{
	int error;

	error = raw_allocate(im->im_fd, &im->im_refused, FALLOC_FL_PUNCH_HOLE,
	    offset, len);
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

	error = raw_allocate(im->im_fd, &im->im_refused, unmap ?
	    FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE, offset, len);
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

static uint64_t
raw_zeroes(struct image *im, uint64_t offset, uint64_t len)
{
	off_t data = lseek(im->im_fd, (off_t)offset, SEEK_DATA);

	if (data == -1)
		return (errno == ENXIO ? len : 0);
	return ((uint64_t)data - offset < len ? (uint64_t)data - offset : len);
}

static const struct image_ops raw_ops = {
	.io_name	= "raw",
	.io_read	= raw_read,
	.io_read_now	= raw_read_now,
	.io_write	= raw_write,
	.io_flush	= raw_flush,
	.io_discard	= raw_discard,
	.io_zero	= raw_zero,
	.io_zeroes	= raw_zeroes,
};

int
raw_open(struct image *im, struct err *err)
{
	const char *path = im->im_path;
	struct stat st;
	uint64_t size;

	if (fstat(im->im_fd, &st) == -1)
		return (err_sys(err, "disk %s", path));
	if (S_ISREG(st.st_mode))
		size = (uint64_t)st.st_size;
	else if (ioctl(im->im_fd, BLKGETSIZE64, &size) == -1)
		return (err_sys(err, "disk %s: its size", path));
	if (size == 0)
		return (err_set(err, "disk %s is empty: give it a size with "
		    "truncate -s 1G %s", path, path));
	if (size % RAW_SECTOR != 0)
		return (err_set(err, "disk %s has %" PRIu64 " bytes, which is "
		    "no multiple of %u: fix it with truncate -s %%%u %s", path,
		    size, RAW_SECTOR, RAW_SECTOR, path));
	im->im_size = size;
	im->im_ops = &raw_ops;
	return (0);
}
