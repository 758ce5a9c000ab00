/*
 * Huge pages of the host for guest memory that is a shared file mapping
 * (eo_share). To anonymous memory the host gives them at the first touch; a
 * file in memory has small ones unless somebody asks for each huge page, and
 * random access to many MiB then costs the guest half as much again
 * (bench/run: chase-64m). So a VCPU's first store to each 2 MiB asks.
 *
 * 1. A huge page is a wish: nothing depends on whether the host has one.
 * 2. What the guest never stored to takes no memory but for the rest of such
 *    2 MiB, as with anonymous memory.
 *
 * Light (jit/jit.h). A VCPU's thread, others running or not; huge_share():
 * before any runs.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/soft/ahead.h"
#include "engine/soft/mmu.h"
#include "engine/soft/vm.h"

#define HUGE_SIZE	((uintptr_t)2 << 20)
#ifndef MADV_COLLAPSE		/* Linux 6.1 */
#define MADV_COLLAPSE		25
#endif

/* The first address in the range where a huge page may begin. */
static uintptr_t
huge_first(const struct vm_range *r)
{
	return (((uintptr_t)r->vr_host + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
}

/* How many of them are in the range, whole. */
static size_t
huge_count(const struct vm_range *r)
{
	uintptr_t skip = huge_first(r) - (uintptr_t)r->vr_host;

	/* the file has to have them at the same places */
	if (((uintptr_t)r->vr_host - r->vr_offset) % HUGE_SIZE != 0 ||
	    skip >= r->vr_size)
		return (0);
	return ((r->vr_size - skip) / HUGE_SIZE);
}

void
huge_share(struct vm_range *r)
{
	size_t n = huge_count(r);

	free((void *)r->vr_asked);
	r->vr_asked = n != 0 ? calloc(n, 1) : NULL;	/* NULL: never asks */
}

void
huge_forget(struct engine_vm *vm)
{
	const struct vm_range *r;
	size_t i, n;

	for (r = vm->ev_ranges; r < vm->ev_ranges + vm->ev_nranges; r++) {
		if (r->vr_asked == NULL)
			continue;
		n = huge_count(r);
		for (i = 0; i < n; i++)
			atomic_store_explicit(&r->vr_asked[i], 0,
			    memory_order_relaxed);
		for (i = 0; i < r->vr_size >> 12; i++)
			atomic_fetch_and(&vm->ev_pages[r->vr_page + i],
			    (unsigned char)~PAGE_TOUCHED);
	}
}

void
huge_touch(struct engine_vm *vm, uint64_t gpa, atomic_uchar *flags)
{
	const struct vm_range *r = vm->ev_ranges;
	uintptr_t page, first;
	size_t n;

	atomic_fetch_or(flags, PAGE_TOUCHED);
	while (gpa - r->vr_gpa >= r->vr_size)
		if (++r == vm->ev_ranges + vm->ev_nranges)
			return;
	if (r->vr_asked == NULL)
		return;
	page = ((uintptr_t)r->vr_host + (gpa - r->vr_gpa)) &
	    ~(uintptr_t)PAGE_MASK;
	first = huge_first(r);
	n = (page - first) / HUGE_SIZE;
	if (page < first || n >= huge_count(r) ||
	    atomic_exchange(&r->vr_asked[n], 1) != 0)
		return;
	/* what is to become a huge page must have a small one */
	if (madvise((void *)page, PAGE_SIZE, MADV_POPULATE_WRITE) == 0)
		(void)madvise((void *)(first + n * HUGE_SIZE), HUGE_SIZE,
		    MADV_COLLAPSE);
}
