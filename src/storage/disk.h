/*
 * Disk images: what a disk device of any bus needs. Knows no virtio.
 *
 * 1. disk_submit() takes ownership of the request until dr_done is called,
 *    exactly once, on a thread of the disk's own (never inside disk_submit).
 * 2. Requests may complete in any order. A flush covers the requests that
 *    completed before it was submitted.
 * 3. Offsets and lengths are in bytes, multiples of 512, and are checked
 *    against the size here: EINVAL through dr_done.
 */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct disk;

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD,
    DISK_WRITE_ZEROES };

/* What is carried out at once may have no more bytes than this. */
#define DISK_NOW_BYTES	(128U << 10)

struct disk_req {
	enum disk_op	 dr_op;
	uint64_t	 dr_offset;
	uint64_t	 dr_length;	/* = the iovec's sum for READ, WRITE */
	bool		 dr_unmap;	/* WRITE_ZEROES may deallocate */
	struct iovec	*dr_iov;	/* borrowed until dr_done */
	int		 dr_niov;
	void		(*dr_done)(struct disk_req *, int error); /* errno */
	void		*dr_arg;
	struct disk_req	*dr_next;	/* the disk's */
};

#define DISK_RDONLY	0x1

/*
 * Opens an image exclusively (readers may share a read-only one): a path, with
 * the format in front if it is not to be found out by the content
 * ("raw:disk.img", "qcow2:disk.img"). -1 with a line in err naming the file and
 * the cure.
 */
int	disk_open(struct disk **, const char *path, int flags, struct err *);
/* Waits for what is under way, then closes. */
void	disk_close(struct disk *);
uint64_t disk_size(const struct disk *);	/* bytes */
bool	disk_readonly(const struct disk *);
void	disk_submit(struct disk *, struct disk_req *);
/*
 * Carries a request out on the caller's thread if that is expected not to wait:
 * a read of what is in the host's page cache; a write into it while nothing
 * else is under way and the last ones were quick. True: it is done, dr_done is
 * not called. False: nothing is known of it, and it is to be submitted.
 */
bool	disk_now(struct disk *, struct disk_req *);
/* A stable identity of at most 20 bytes for the serial number. */
void	disk_serial(const struct disk *, char serial[20]);

#endif
