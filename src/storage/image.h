/*
 * An image and its format, below disk.h: blocking calls, one table of them a
 * format.
 *
 * 1. The calls return 0 or an errno. Any number of threads may be in them at
 *    once; offsets and lengths were checked against im_size.
 * 2. io_read and io_write move all of the iovec's bytes or fail, and leave the
 *    iovec as it is.
 * 3. An image that is written is locked against everybody else, one that is
 *    only read against writers; QEMU knows the same locks.
 */
#ifndef STORAGE_IMAGE_H
#define STORAGE_IMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

struct image;

struct image_ops {
	const char	*io_name;
	int	(*io_read)(struct image *, uint64_t offset,
		    const struct iovec *, int niov);
	/* The same, but EAGAIN, with some bytes moved or none, if it would
	 * have to wait. NULL: always. */
	int	(*io_read_now)(struct image *, uint64_t offset,
		    const struct iovec *, int niov);
	int	(*io_write)(struct image *, uint64_t offset,
		    const struct iovec *, int niov);
	int	(*io_flush)(struct image *);
	/* The bytes' content is of no interest any more. */
	int	(*io_discard)(struct image *, uint64_t offset, uint64_t len);
	/* They read as zero; unmap: may give their space back. */
	int	(*io_zero)(struct image *, uint64_t offset, uint64_t len,
		    bool unmap);
	/* How many of these bytes read as zero, as far as that is known
	 * without reading them. NULL: nothing is known. */
	uint64_t (*io_zeroes)(struct image *, uint64_t offset, uint64_t len);
	/* Puts all in order; nothing is under way. The file stays open. */
	void	(*io_close)(struct image *);
};

enum image_format { IMAGE_BY_CONTENT, IMAGE_RAW, IMAGE_QCOW2 };

/* An image, and those that have it as their base: while they are opened. */
struct image_chain {
	const struct image_chain *ic_above;
	dev_t		 ic_dev;
	ino_t		 ic_ino;
};
#define IMAGE_CHAIN_MAX	64	/* images above one another */

struct image {
	const struct image_ops *im_ops;	/* [I] */
	char		*im_path;	/* [I] without the format in front */
	int		 im_fd;		/* [I] locked, closed by image_close();
					   -1: the image is no file */
	uint64_t	 im_size;	/* [I] as the guest sees it, bytes */
	bool		 im_readonly;	/* [I] */
	bool		 im_probed;	/* [I] nobody said which format */
	bool		 im_abandoned;	/* its content is not wanted */
	void		*im_private;	/* [I] the format's */
	/* fallocate(2) modes that the file system refused: not asked again */
	atomic_int	 im_refused;	/* [a] */
};

/*
 * Opens and locks a file, a block device or what a server offers: a path, of
 * which the content tells the format, or one with the format in front
 * (raw:path, qcow2:path), or an NBD URI. -1 with a line that names the file and
 * the cure.
 */
int	image_open(struct image *, const char *path, bool readonly,
	    struct err *);
/* The base of an image, by the name that the image has for it. */
int	image_open_base(struct image *, const struct image *above,
	    const char *name, const char *format,
	    const struct image_chain *, struct err *);
/* A descriptor, which is taken over, as an image of a known format. */
int	image_open_fd(struct image *, int fd, const char *path,
	    enum image_format, struct err *);
void	image_close(struct image *);

/* The format that a path begins with, which is skipped; or BY_CONTENT. */
enum image_format image_prefix(const char **path);
/* Is it an NBD URI? */
bool	image_is_nbd(const char *path);
/* Do a file's first bytes say that it is of a format with a header? */
bool	image_is_magic(const void *bytes, size_t len);
/* Where a base is that an image calls `name`: next to that image. malloc. */
char	*image_beside(const char *image, const char *name);

/* Locks a descriptor as image_open() does; -1 with a line in err. */
int	image_lock(int fd, const char *path, bool readonly, struct err *);

/* The formats: from a descriptor that is open and locked. */
int	raw_open(struct image *, struct err *);
int	qcow2_open(struct image *, const struct image_chain *, struct err *);
/* What a server offers, by its URI. */
int	nbd_image_open(struct image *, struct err *);

/*
 * raw.c: a file's bytes, for all formats; an errno.
 */

/* past_end: what is behind the file's end reads as zero, else it is EIO. */
int	raw_preadv(int fd, uint64_t offset, const struct iovec *, int niov,
	    bool past_end);
int	raw_pwritev(int fd, uint64_t offset, const struct iovec *, int niov);
/* What is in the host's page cache; else EAGAIN. */
int	raw_preadv_now(int fd, uint64_t offset, const struct iovec *, int niov);
int	raw_sync(int fd);
/* fallocate(2) that keeps the size; EOPNOTSUPP for all ways of saying so,
 * which `refused` keeps in mind. */
int	raw_allocate(int fd, atomic_int *refused, int mode, uint64_t offset,
	    uint64_t len);

#endif
