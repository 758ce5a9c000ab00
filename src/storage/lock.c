/*
 * Locks of images: locks of the open file description on single bytes
 * (fcntl(2), F_OFD_SETLK), by the same convention as QEMU's, so that its
 * programs and ours refuse each other what would destroy an image. They end
 * with the process however that dies, and a second image in the same process
 * meets them too.
 *
 * A byte stands for what its holder does, another for what it does not suffer
 * others to do. All locks are read locks, so any number may hold them; who
 * opens an image takes his own and then looks for those that exclude him. Two
 * at the same time may both give up, but never both succeed.
 *
 *	100 + n		does n
 *	200 + n		nobody else may do n
 *	n		0: reads, 1: writes, 3: changes the size
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "storage/image.h"

#define DOES(n)		(100 + (n))
#define FORBIDS(n)	(200 + (n))
enum { READS = 0, WRITES = 1, RESIZES = 3 };

struct lock_rule {
	size_t		lr_ntakes, lr_nlooks;
	int		lr_take[5];	/* bytes that we lock */
	int		lr_look[5];	/* bytes that nobody may have locked */
};

static const struct lock_rule lock_reader = {
	3, 3, { DOES(READS), FORBIDS(WRITES), FORBIDS(RESIZES) },
	{ FORBIDS(READS), DOES(WRITES), DOES(RESIZES) },
};
static const struct lock_rule lock_writer = {
	5, 5, { DOES(READS), DOES(WRITES), DOES(RESIZES), FORBIDS(WRITES),
	    FORBIDS(RESIZES) },
	{ FORBIDS(READS), FORBIDS(WRITES), FORBIDS(RESIZES), DOES(WRITES),
	    DOES(RESIZES) },
};

int
image_lock(int fd, const char *path, bool readonly, struct err *err)
{
	const struct lock_rule *rule = readonly ? &lock_reader : &lock_writer;
	struct flock lock;
	size_t i;

	for (i = 0; i < rule->lr_ntakes; i++) {
		lock = (struct flock){ .l_type = F_RDLCK, .l_len = 1,
		    .l_start = rule->lr_take[i] };
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			continue;
		if (errno == EAGAIN || errno == EACCES)
			goto used;
		goto unable;
	}
	for (i = 0; i < rule->lr_nlooks; i++) {
		lock = (struct flock){ .l_type = F_WRLCK, .l_len = 1,
		    .l_start = rule->lr_look[i] };
		if (fcntl(fd, F_OFD_GETLK, &lock) == -1)
			goto unable;
		if (lock.l_type != F_UNLCK)
			goto used;
	}
	return (0);
used:
	return (err_set(err, "disk %s is in use by another virtual machine or "
	    "process: stop that one first", path));
unable:
	/* A file system without locks is no reason not to run. */
	log_warn("disk %s cannot be locked: %s", path, strerror(errno));
	return (0);
}
