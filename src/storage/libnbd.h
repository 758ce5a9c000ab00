/*
 * libnbd, loaded when the first disk on a server is opened: it brings a dozen
 * other libraries and 5 MiB of resident memory, which VMs without such a disk
 * are spared.
 */
#ifndef STORAGE_LIBNBD_H
#define STORAGE_LIBNBD_H

#include <libnbd.h>

#include "base/err.h"

#define LIBNBD_CALLS(X)							\
	X(nbd_aio_connect_uri) X(nbd_aio_disconnect) X(nbd_aio_flush)	\
	X(nbd_aio_get_direction) X(nbd_aio_get_fd) X(nbd_aio_is_closed)	\
	X(nbd_aio_is_connecting) X(nbd_aio_is_dead)			\
	X(nbd_aio_is_processing) X(nbd_aio_is_ready)			\
	X(nbd_aio_notify_read) X(nbd_aio_notify_write)			\
	X(nbd_aio_pread) X(nbd_aio_pwrite) X(nbd_aio_trim)		\
	X(nbd_aio_zero) X(nbd_can_flush) X(nbd_can_trim)		\
	X(nbd_can_zero) X(nbd_close) X(nbd_connect_uri) X(nbd_create)	\
	X(nbd_get_block_size) X(nbd_get_errno) X(nbd_get_error)		\
	X(nbd_get_size) X(nbd_is_read_only)

struct libnbd {
#define X(f)	__typeof__(&(f)) f;
	LIBNBD_CALLS(X)
#undef X
};

/* The library's functions, for the process's life; -1 with a line in err. */
int	libnbd_load(struct libnbd *, struct err *);

#endif
