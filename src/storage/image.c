/*
 * Opening an image: what kind of file it is, whether it is ours alone, which
 * format it has. Every way in which this can go wrong is told with its cure.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/image.h"

static const struct {
	const char		*f_name;
	enum image_format	 f_format;
} image_formats[] = {
	{ "raw",	IMAGE_RAW },
	{ "qcow2",	IMAGE_QCOW2 },
};
#define NFORMATS	(sizeof(image_formats) / sizeof(image_formats[0]))

/* --- names ---------------------------------------------------------------- */

enum image_format
image_prefix(const char **path)
{
	size_t i, n;

	for (i = 0; i < NFORMATS; i++) {
		n = strlen(image_formats[i].f_name);
		if (strncmp(*path, image_formats[i].f_name, n) != 0 ||
		    (*path)[n] != ':')
			continue;
		*path += n + 1;
		return (image_formats[i].f_format);
	}
	return (IMAGE_BY_CONTENT);
}

bool
image_is_nbd(const char *path)
{
	static const char *const schemes[] = { "nbd:", "nbd+unix:", "nbds:",
	    "nbds+unix:" };
	size_t i;

	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncmp(path, schemes[i], strlen(schemes[i])) == 0)
			return (true);
	return (false);
}

bool
image_is_magic(const void *bytes, size_t len)
{
	return (len >= 4 && memcmp(bytes, "QFI\xfb", 4) == 0);
}

char *
image_beside(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');
	char *path;

	if (name[0] == '/' || slash == NULL || image_is_nbd(name))
		return (strdup(name));
	if (asprintf(&path, "%.*s/%s", (int)(slash - image), image, name) ==
	    -1)
		return (NULL);
	return (path);
}

/* --- the file ------------------------------------------------------------- */

static int
image_open_failed(const char *path, bool readonly, struct err *err)
{
	switch (errno) {
	case ENOENT:
		if (readonly)	/* a CD-ROM, or what an image stands on */
			return (err_set(err, "image %s does not exist: check "
			    "its name", path));
		return (err_set(err, "disk %s does not exist: create it with "
		    "vmctl create -s 10G %s", path, path));
	case EISDIR:
		return (err_set(err, "disk %s is a directory: name an image "
		    "file", path));
	case EACCES:
	case EPERM:
		if (!readonly && access(path, R_OK) == 0)
			return (err_set(err, "disk %s is read-only: make it "
			    "writable with chmod u+w %s", path, path));
		return (err_set(err, "disk %s: permission denied: make it "
		    "readable%s for this user", path,
		    readonly ? "" : " and writable"));
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

/* A base's name is from the image; a loop would go on for ever. */
static int
image_chain_check(const struct image *im, const struct image_chain *above,
    struct image_chain *here, struct err *err)
{
	const struct image_chain *c;
	struct stat st;
	unsigned depth = 0;

	if (fstat(im->im_fd, &st) == -1)
		return (err_sys(err, "disk %s", im->im_path));
	*here = (struct image_chain){ above, st.st_dev, st.st_ino };
	for (c = above; c != NULL; c = c->ic_above) {
		if (c->ic_dev == here->ic_dev && c->ic_ino == here->ic_ino)
			return (err_set(err, "disk %s is its own base: name "
			    "the right one with qemu-img rebase -u",
			    im->im_path));
		if (++depth >= IMAGE_CHAIN_MAX)
			return (err_set(err, "disk %s: more than %d bases "
			    "upon one another: merge some with qemu-img "
			    "commit", im->im_path, IMAGE_CHAIN_MAX));
	}
	return (0);
}

static int
image_kind(const struct image *im, struct err *err)
{
	struct stat st;

	if (fstat(im->im_fd, &st) == -1)
		return (err_sys(err, "disk %s", im->im_path));
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return (image_open_failed(im->im_path, im->im_readonly, err));
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return (err_set(err, "disk %s is neither a file nor a block "
		    "device: name an image file", im->im_path));
	return (0);
}

static int
image_find_format(struct image *im, enum image_format *format,
    struct err *err)
{
	char magic[4];
	ssize_t n;

	if (*format != IMAGE_BY_CONTENT)
		return (0);
	im->im_probed = true;
	if ((n = pread(im->im_fd, magic, sizeof(magic), 0)) == -1)
		return (err_sys(err, "disk %s cannot be read", im->im_path));
	*format = image_is_magic(magic, (size_t)n) ? IMAGE_QCOW2 : IMAGE_RAW;
	return (0);
}

static int
image_open_format(struct image *im, enum image_format format,
    const struct image_chain *above, struct err *err)
{
	struct image_chain here;

	if (image_kind(im, err) == -1 ||
	    image_chain_check(im, above, &here, err) == -1 ||
	    image_lock(im->im_fd, im->im_path, im->im_readonly, err) == -1 ||
	    image_find_format(im, &format, err) == -1)
		return (-1);
	if (format == IMAGE_QCOW2)
		return (qcow2_open(im, &here, err));
	return (raw_open(im, err));
}

/* Takes the path, which is malloc's. */
static int
image_open_path(struct image *im, char *path, enum image_format format,
    bool readonly, const struct image_chain *above, struct err *err)
{
	int ret;

	memset(im, 0, sizeof(*im));
	im->im_fd = -1;
	im->im_readonly = readonly;
	if ((im->im_path = path) == NULL)
		return (err_sys(err, "disk"));
	if (image_is_nbd(path)) {
		if (format == IMAGE_QCOW2)
			ret = err_set(err, "disk qcow2:%s: what a server "
			    "offers is raw; have it read the qcow2 image",
			    path);
		else
			ret = nbd_image_open(im, err);
		if (ret == -1)
			free(im->im_path);
		return (ret);
	}
	/* O_NONBLOCK: a FIFO must not hold us up; it means nothing to files. */
	im->im_fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC |
	    O_NONBLOCK | O_NOCTTY);
	if (im->im_fd == -1)
		ret = image_open_failed(path, readonly, err);
	else
		ret = image_open_format(im, format, above, err);
	if (ret == -1) {
		if (im->im_fd != -1)
			close(im->im_fd);
		free(im->im_path);
	}
	return (ret);
}

int
image_open(struct image *im, const char *path, bool readonly, struct err *err)
{
	enum image_format format = image_prefix(&path);

	return (image_open_path(im, strdup(path), format, readonly, NULL,
	    err));
}

int
image_open_fd(struct image *im, int fd, const char *path,
    enum image_format format, struct err *err)
{
	memset(im, 0, sizeof(*im));
	im->im_fd = fd;
	if ((im->im_path = strdup(path)) == NULL)
		err_sys(err, "disk %s", path);
	else if (image_open_format(im, format, NULL, err) == 0)
		return (0);
	free(im->im_path);
	close(fd);
	return (-1);
}

int
image_open_base(struct image *im, const struct image *above, const char *name,
    const char *format, const struct image_chain *chain, struct err *err)
{
	enum image_format known = IMAGE_BY_CONTENT;
	struct err why;
	size_t i;

	for (i = 0; i < NFORMATS && format[0] != '\0'; i++)
		if (strcmp(format, image_formats[i].f_name) == 0)
			known = image_formats[i].f_format;
	if (format[0] != '\0' && known == IMAGE_BY_CONTENT)
		return (err_set(err, "disk %s: its base %s is neither raw nor "
		    "qcow2: convert it with qemu-img", above->im_path, name));
	if (image_open_path(im, image_beside(above->im_path, name), known,
	    true, chain, &why) == 0)
		return (0);
	/* The image that the user named, and the base that is at fault. */
	if (chain->ic_above != NULL)
		return (err_set(err, "%s", why.e_text));
	return (err_set(err, "disk %s: its base: %s", above->im_path,
	    why.e_text));
}

void
image_close(struct image *im)
{
	if (im->im_ops->io_close != NULL)
		im->im_ops->io_close(im);
	if (im->im_fd != -1)
		close(im->im_fd);
	free(im->im_path);
}
