/*
 * Opening an image: what kind of file it is, whether it is ours alone, which
 * format it has. Every way in which this can go wrong is told with its cure.
 *
 * The lock is one of the open file description (fcntl(2), F_OFD_SETLK): it ends
 * with the process however that dies, and a second image in the same process
 * meets it too.
 */
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <linux/fs.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "storage/image.h"

#define SECTOR	512

static int
image_open_failed(const char *path, bool readonly, struct err *err)
{
	switch (errno) {
	case ENOENT:
		return (err_set(err, "disk %s does not exist: create it with "
		    "truncate -s 1G %s", path, path));
	case EISDIR:
		return (err_set(err, "disk %s is a directory: name an image "
		    "file", path));
	case EACCES:
	case EPERM:
		if (!readonly && access(path, R_OK) == 0)
			return (err_set(err, "disk %s is read-only: make it "
			    "writable with chmod u+w %s", path, path));
		return (err_set(err, "disk %s: permission denied: make it "
		    "readable and writable for this user", path));
	case EROFS:
		return (err_set(err, "disk %s is on a read-only file system: "
		    "copy it to a writable one", path));
	case ETXTBSY:
		return (err_set(err, "disk %s is in use by the host as a "
		    "program or swap file", path));
	default:
		return (err_sys(err, "disk %s", path));
	}
}

static int
image_lock(int fd, const char *path, bool readonly, struct err *err)
{
	struct flock lock = {
		.l_type		= readonly ? F_RDLCK : F_WRLCK,
		.l_whence	= SEEK_SET,
	};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return (0);
	if (errno == EAGAIN || errno == EACCES)
		return (err_set(err, "disk %s is in use by another virtual "
		    "machine or process: stop that one first", path));
	/* A file system without locks is no reason not to run. */
	log_warn("disk %s cannot be locked: %s", path, strerror(errno));
	return (0);
}

static int
image_measure(struct image *im, const char *path, struct err *err)
{
	struct stat st;
	uint64_t size;

	if (fstat(im->im_fd, &st) == -1)
		return (err_sys(err, "disk %s", path));
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return (image_open_failed(path, im->im_readonly, err));
	}
	if (S_ISREG(st.st_mode))
		size = (uint64_t)st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return (err_set(err, "disk %s is neither a file nor a block "
		    "device: name an image file", path));
	else if (ioctl(im->im_fd, BLKGETSIZE64, &size) == -1)
		return (err_sys(err, "disk %s: its size", path));
	if (size == 0)
		return (err_set(err, "disk %s is empty: give it a size with "
		    "truncate -s 1G %s", path, path));
	if (size % SECTOR != 0)
		return (err_set(err, "disk %s has %" PRIu64 " bytes, which is "
		    "no multiple of %d: fix it with truncate -s %%%d %s", path,
		    size, SECTOR, SECTOR, path));
	im->im_size = size;
	return (0);
}

/* Formats that we know but do not read: the guest would find garbage. */
static int
image_format(struct image *im, const char *path, struct err *err)
{
	char magic[4];

	if (pread(im->im_fd, magic, sizeof(magic), 0) != sizeof(magic))
		return (err_sys(err, "disk %s cannot be read", path));
	if (memcmp(magic, "QFI\xfb", 4) == 0)
		return (err_set(err, "disk %s is a qcow2 image: convert it "
		    "with qemu-img convert -O raw %s NEW", path, path));
	im->im_ops = &raw_ops;
	return (0);
}

int
image_open(struct image *im, const char *path, bool readonly, struct err *err)
{
	memset(im, 0, sizeof(*im));
	im->im_readonly = readonly;
	/* O_NONBLOCK: a FIFO must not hold us up; it means nothing to files. */
	im->im_fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC |
	    O_NONBLOCK | O_NOCTTY);
	if (im->im_fd == -1)
		return (image_open_failed(path, readonly, err));
	if (image_measure(im, path, err) == -1 ||
	    image_lock(im->im_fd, path, readonly, err) == -1 ||
	    image_format(im, path, err) == -1) {
		close(im->im_fd);
		return (-1);
	}
	return (0);
}

void
image_close(struct image *im)
{
	close(im->im_fd);
}
