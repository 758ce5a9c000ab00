/*
 * Pieces of iovecs.
 *
 * Threads: any; pure functions of their arguments.
 */
#include <string.h>

#include "storage/iov.h"

int
iov_cut(const struct iovec *iov, int niov, uint64_t skip, uint64_t len,
    struct iovec *out)
{
	int n = 0;

	for (; niov > 0 && len > 0; iov++, niov--) {
		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		out[n].iov_base = (uint8_t *)iov->iov_base + skip;
		out[n].iov_len = iov->iov_len - (size_t)skip;
		if (out[n].iov_len > len)
			out[n].iov_len = (size_t)len;
		len -= out[n].iov_len;
		skip = 0;
		n++;
	}
	return (n);
}

void
iov_zero(const struct iovec *iov, int niov, uint64_t skip)
{
	for (; niov > 0; iov++, niov--) {
		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		memset((uint8_t *)iov->iov_base + skip, 0,
		    iov->iov_len - (size_t)skip);
		skip = 0;
	}
}

size_t
iov_gather(const struct iovec *iov, int niov, void *buf, size_t len)
{
	size_t n, done = 0;

	for (; niov > 0 && done < len; iov++, niov--, done += n) {
		n = iov->iov_len < len - done ? iov->iov_len : len - done;
		memcpy((uint8_t *)buf + done, iov->iov_base, n);
	}
	return (done);
}

size_t
iov_scatter(const struct iovec *iov, int niov, const void *buf, size_t len)
{
	size_t n, done = 0;

	for (; niov > 0 && done < len; iov++, niov--, done += n) {
		n = iov->iov_len < len - done ? iov->iov_len : len - done;
		memcpy(iov->iov_base, (const uint8_t *)buf + done, n);
	}
	return (done);
}

uint64_t
iov_length(const struct iovec *iov, int niov)
{
	uint64_t sum = 0;

	for (; niov > 0; iov++, niov--)
		sum += iov->iov_len;
	return (sum);
}
