/*
 * Making images. The file gets its name at the end (O_TMPFILE and linkat(2)),
 * so that whoever is killed leaves nothing; where the file system cannot do
 * that it has it from the beginning, and is removed if it cannot be finished.
 *
 * Threads: any.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/create.h"

#define MIB		(1ULL << 20)
#define COPY_BYTES	(2u << 20)	/* at a time */
#define COPY_UNIT	4096u		/* that is skipped if it is zero */

enum image_format
image_format_of_name(const char **path)
{
	enum image_format format = image_prefix(path);
	const char *dot = strrchr(*path, '.');

	if (format != IMAGE_BY_CONTENT)
		return (format);
	if (dot != NULL && strchr(dot, '/') == NULL &&
	    (strcasecmp(dot, ".qcow2") == 0 || strcasecmp(dot, ".qc2") == 0))
		return (IMAGE_QCOW2);
	return (IMAGE_RAW);
}

const char *
image_format_name(enum image_format format)
{
	return (format == IMAGE_QCOW2 ? "qcow2" : "raw");
}

/* --- the file ------------------------------------------------------------- */

static int
create_exists(const char *path, struct err *err)
{
	err_set(err, "disk %s exists: remove it, or choose another name",
	    path);
	errno = EEXIST;
	return (-1);
}

/* A descriptor; *named: it has its name already. */
static int
create_file(const char *path, bool *named, struct err *err)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	char *folder;
	int fd;

	*named = false;
	if (lstat(path, &st) == 0)
		return (create_exists(path, err));
	folder = slash == NULL ? strdup(".") : slash == path ? strdup("/") :
	    strndup(path, (size_t)(slash - path));
	if (folder == NULL)
		return (err_sys(err, "disk %s", path));
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	free(folder);
	if (fd != -1)
		return (fd);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1 && errno == EEXIST)
		return (create_exists(path, err));
	if (fd == -1)
		return (err_sys(err, "disk %s", path));
	*named = true;
	return (fd);
}

static int
create_name(int fd, const char *path, struct err *err)
{
	char proc[64];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
		return (0);
	if (errno == EEXIST)
		return (create_exists(path, err));
	return (err_sys(err, "disk %s", path));
}

/* --- the content ---------------------------------------------------------- */

static bool
all_zero(const uint8_t *buf, size_t len)
{
	const uint64_t *p = (const void *)buf;
	uint64_t any = 0;
	size_t i;

	for (i = 0; i < len / 8; i++)
		any |= p[i];
	return (any == 0);
}

/* Writes what is not zero of a buffer, in pieces as large as possible. */
static int
copy_out(struct image *out, uint64_t offset, uint8_t *buf, size_t len)
{
	struct iovec iov;
	size_t at, end, n;
	int error;

	for (at = 0; at < len; at = end) {
		n = len - at < COPY_UNIT ? len - at : COPY_UNIT;
		end = at + n;
		if (all_zero(buf + at, n))
			continue;
		for (; end < len; end += n) {
			n = len - end < COPY_UNIT ? len - end : COPY_UNIT;
			if (all_zero(buf + end, n))
				break;
		}
		iov.iov_base = buf + at;
		iov.iov_len = end - at;
		error = out->im_ops->io_write(out, offset + at, &iov, 1);
		if (error != 0)
			return (error);
	}
	return (0);
}

/* How much from an offset on reads as zero, without looking. */
static uint64_t
copy_skip(struct image *in, uint64_t offset)
{
	if (in->im_ops->io_zeroes == NULL)
		return (0);
	return (in->im_ops->io_zeroes(in, offset, in->im_size - offset));
}

static int
copy_image(const struct image_create *c, struct image *in, struct image *out,
    struct err *err)
{
	struct iovec iov;
	uint64_t at, n;
	int error = 0;

	if ((iov.iov_base = malloc(COPY_BYTES)) == NULL)
		return (err_sys(err, "disk %s", c->ic_path));
	for (at = 0; at < in->im_size && error == 0; at += n) {
		if (c->ic_progress != NULL &&
		    !c->ic_progress(c->ic_arg, at, in->im_size)) {
			free(iov.iov_base);
			return (err_set(err, "disk %s: interrupted, not made",
			    c->ic_path));
		}
		if ((n = copy_skip(in, at)) > 0)
			continue;
		n = in->im_size - at;
		iov.iov_len = n = n < COPY_BYTES ? n : COPY_BYTES;
		error = in->im_ops->io_read(in, at, &iov, 1);
		if (error != 0) {
			errno = error;
			err_sys(err, "disk %s: at byte %" PRIu64,
			    in->im_path, at);
			free(iov.iov_base);
			return (-1);
		}
		error = copy_out(out, at, iov.iov_base, n);
	}
	free(iov.iov_base);
	if (error == 0)
		error = out->im_ops->io_flush(out);
	if (error == 0) {
		if (c->ic_progress != NULL)
			(void)c->ic_progress(c->ic_arg, at, in->im_size);
		return (0);
	}
	errno = error;
	return (err_sys(err, "disk %s", c->ic_path));
}

static int
create_content(const struct image_create *c, int fd, struct image *in,
    struct err *err)
{
	struct image out;
	int copy, ret;

	if (in == NULL)
		return (0);
	if ((copy = fcntl(fd, F_DUPFD_CLOEXEC, 3)) == -1)
		return (err_sys(err, "disk %s", c->ic_path));
	if (image_open_fd(&out, copy, c->ic_path, c->ic_format, err) == -1)
		return (-1);
	ret = copy_image(c, in, &out, err);
	out.im_abandoned = ret == -1;
	image_close(&out);
	return (ret);
}

/* --- images --------------------------------------------------------------- */

/*
 * The name by which an image finds its base: relative to the image. What the
 * user says is relative to where he is. malloc.
 */
static char *
create_base_name(const char *path, const char *base)
{
	if (base[0] == '/' || strchr(path, '/') == NULL || image_is_nbd(base))
		return (strdup(base));
	return (realpath(base, NULL));
}

static int
create_format(const struct image_create *c, int fd, const struct image *base,
    struct err *err)
{
	char *name;
	int ret;

	if (c->ic_format == IMAGE_RAW) {
		if (ftruncate(fd, (off_t)c->ic_made) == 0)
			return (0);
		return (err_sys(err, "disk %s: %" PRIu64 " bytes", c->ic_path,
		    c->ic_made));
	}
	if (base == NULL)
		return (qcow2_create(fd, c->ic_path, c->ic_made, "", "",
		    err));
	name = create_base_name(c->ic_path, base->im_path);
	if (name == NULL)
		return (err_sys(err, "disk %s", base->im_path));
	ret = qcow2_create(fd, c->ic_path, c->ic_made, name,
	    image_is_nbd(name) ? "raw" : base->im_ops->io_name, err);
	free(name);
	return (ret);
}

/* The size: that of the other image, or more. */
static int
create_size(struct image_create *c, const struct image *other,
    struct err *err)
{
	c->ic_made = c->ic_size;
	if (c->ic_made == 0 && other != NULL)
		c->ic_made = (other->im_size + MIB - 1) & ~(MIB - 1);
	if (c->ic_made == 0)
		return (err_set(err, "disk %s needs a size", c->ic_path));
	if (other != NULL && c->ic_made < other->im_size)
		return (err_set(err, "disk %s: %" PRIu64 " bytes are less "
		    "than the %" PRIu64 " of %s", c->ic_path, c->ic_made,
		    other->im_size, other->im_path));
	return (0);
}

static int
create_from(struct image_create *c, struct image *base, struct image *in,
    struct err *err)
{
	bool named;
	int fd, saved;

	if (create_size(c, in != NULL ? in : base, err) == -1 ||
	    (fd = create_file(c->ic_path, &named, err)) == -1)
		return (-1);
	if (create_format(c, fd, base, err) == -1 ||
	    create_content(c, fd, in, err) == -1 ||
	    (!named && create_name(fd, c->ic_path, err) == -1)) {
		saved = errno;
		if (named)
			unlink(c->ic_path);
		close(fd);
		errno = saved;
		return (-1);
	}
	if (close(fd) == -1)
		return (err_sys(err, "disk %s", c->ic_path));
	return (0);
}

int
image_create(struct image_create *c, struct err *err)
{
	const char *other = c->ic_input != NULL ? c->ic_input : c->ic_base;
	struct image im;
	int ret, saved;

	if (c->ic_base != NULL && (c->ic_input != NULL ||
	    c->ic_format != IMAGE_QCOW2))
		return (err_set(err, "disk %s: only a qcow2 image can have a "
		    "base, and no other content", c->ic_path));
	if (other == NULL)
		return (create_from(c, NULL, NULL, err));
	if (image_open(&im, other, true, err) == -1)
		return (-1);
	ret = create_from(c, c->ic_base != NULL ? &im : NULL,
	    c->ic_input != NULL ? &im : NULL, err);
	saved = errno;
	image_close(&im);
	errno = saved;
	return (ret);
}
