/*
 * An image file and its format, below disk.h: blocking calls, one table of
 * them a format.
 *
 * 1. The calls return 0 or an errno. Any number of threads may be in them at
 *    once; offsets and lengths were checked against im_size.
 * 2. io_read and io_write move all of the iovec's bytes or fail, and leave the
 *    iovec as it is.
 */
#ifndef STORAGE_IMAGE_H
#define STORAGE_IMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct image;

struct image_ops {
	const char	*io_name;
	int	(*io_read)(struct image *, uint64_t offset,
		    const struct iovec *, int niov);
	int	(*io_write)(struct image *, uint64_t offset,
		    const struct iovec *, int niov);
	int	(*io_flush)(struct image *);
	/* The bytes' content is of no interest any more. */
	int	(*io_discard)(struct image *, uint64_t offset, uint64_t len);
	/* They read as zero; unmap: may give their space back. */
	int	(*io_zero)(struct image *, uint64_t offset, uint64_t len,
		    bool unmap);
};

struct image {
	const struct image_ops *im_ops;	/* [I] */
	int		 im_fd;		/* [I] locked; closed by image_close() */
	uint64_t	 im_size;	/* [I] as the guest sees it, bytes */
	bool		 im_readonly;	/* [I] */
	/* fallocate(2) modes that the file system refused: not asked again */
	atomic_int	 im_refused;	/* [a] */
};

/*
 * Opens and locks a file or block device and finds out its format. -1 with a
 * line that names the file and the cure.
 */
int	image_open(struct image *, const char *path, bool readonly,
	    struct err *);
void	image_close(struct image *);

extern const struct image_ops raw_ops;

#endif
