/*
 * Pieces of iovecs. The bytes may be the guest's and change at any time.
 */
#ifndef STORAGE_IOV_H
#define STORAGE_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Cuts `len` bytes (or what there is) after `skip` out of an iovec into `out`,
 * which has room for niov; returns how many of these it took. */
int	iov_cut(const struct iovec *, int niov, uint64_t skip, uint64_t len,
	    struct iovec *out);
/* Zeroes all bytes after `skip`. */
void	iov_zero(const struct iovec *, int niov, uint64_t skip);
/* Copies into or out of a buffer; returns how many bytes. */
size_t	iov_gather(const struct iovec *, int niov, void *buf, size_t len);
size_t	iov_scatter(const struct iovec *, int niov, const void *buf,
	    size_t len);
uint64_t iov_length(const struct iovec *, int niov);

#endif
