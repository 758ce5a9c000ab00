/*
 * Caches that grow from their start on: their memory is asked of the host in
 * pieces, just before it is used. A page fault for each page takes the host
 * half as long again.
 *
 * A wish: nothing depends on whether the host has it. The VCPU's thread.
 */
#ifndef SOFT_AHEAD_H
#define SOFT_AHEAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE	/* Linux 5.14 */
#define MADV_POPULATE_WRITE	23
#endif
#define AHEAD_PIECE	((size_t)64 << 10)

/*
 * Of size bytes at base, whole pages, the first need are about to be used, and
 * the first *have were asked for already.
 */
static inline void
ahead(uint8_t *base, size_t size, size_t need, size_t *have)
{
	size_t to;

	if (__builtin_expect(need <= *have, 1))
		return;
	to = (need + AHEAD_PIECE - 1) & ~(AHEAD_PIECE - 1);
	if (to > size)
		to = size;
	(void)madvise(base + *have, to - *have, MADV_POPULATE_WRITE);
	*have = to;
}

#endif
