/*
 * Address decoding: which window an access to a port or to a guest-physical
 * address falls into.
 *
 * 1. The windows are sorted by address and do not overlap.
 * 2. Any thread may call anything. The lock covers the search only: a handler
 *    runs without it, so that a handler may move windows (PCI BARs). A handler
 *    may thus be called once more just after its window was removed, which is
 *    what hardware does with a transaction under way; windows go away for good
 *    only when no VCPU runs.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "machine/device.h"

struct bus {
	pthread_rwlock_t b_lock;
	struct window	*b_first;	/* [m] */
};

struct bus *
bus_new(void)
{
	struct bus *b;

	if ((b = calloc(1, sizeof(*b))) != NULL)
		pthread_rwlock_init(&b->b_lock, NULL);
	return (b);
}

void
bus_free(struct bus *b)
{
	if (b == NULL)
		return;
	pthread_rwlock_destroy(&b->b_lock);
	free(b);
}

/* The last address of a window; a window may end at the top of the space. */
static uint64_t
window_last(const struct window *w)
{
	return (w->w_base + (w->w_size - 1));
}

int
bus_add(struct bus *b, struct window *w)
{
	struct window **p;
	int error = 0;

	if (w->w_size == 0 || window_last(w) < w->w_base)
		return (EINVAL);
	pthread_rwlock_wrlock(&b->b_lock);
	for (p = &b->b_first; *p != NULL; p = &(*p)->w_next)
		if (window_last(*p) >= w->w_base)
			break;
	if (*p != NULL && (*p)->w_base <= window_last(w))
		error = EBUSY;
	else {
		w->w_next = *p;
		*p = w;
	}
	pthread_rwlock_unlock(&b->b_lock);
	return (error);
}

void
bus_remove(struct bus *b, struct window *w)
{
	struct window **p;

	pthread_rwlock_wrlock(&b->b_lock);
	for (p = &b->b_first; *p != NULL && *p != w; p = &(*p)->w_next)
		continue;
	if (*p == w)
		*p = w->w_next;
	w->w_next = NULL;
	pthread_rwlock_unlock(&b->b_lock);
}

/* Copies the window that holds addr; false if none does. */
static bool
bus_find(struct bus *b, uint64_t addr, struct window *copy)
{
	const struct window *w;

	pthread_rwlock_rdlock(&b->b_lock);
	for (w = b->b_first; w != NULL && window_last(w) < addr;)
		w = w->w_next;
	if (w != NULL && w->w_base <= addr)
		*copy = *w;
	else
		w = NULL;
	pthread_rwlock_unlock(&b->b_lock);
	return (w != NULL);
}

static bool
window_takes(const struct window *w, uint64_t addr, unsigned size)
{
	return (size <= window_last(w) - addr + 1 &&
	    (w->w_width == 0 || size <= w->w_width));
}

static uint64_t
size_mask(unsigned size)
{
	return (size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1);
}

uint64_t
bus_read(struct bus *b, uint64_t addr, unsigned size)
{
	struct window w;
	uint64_t value = 0;
	unsigned i;

	if (!bus_find(b, addr, &w)) {
		/* The access may still end in a window. */
		if (size == 1 || !bus_find(b, addr + size - 1, &w))
			return (size_mask(size));
	} else if (window_takes(&w, addr, size))
		return (w.w_read(w.w_arg, addr - w.w_base, size) &
		    size_mask(size));
	for (i = 0; i < size; i++)
		value |= bus_read(b, addr + i, 1) << (i * 8);
	return (value);
}

void
bus_write(struct bus *b, uint64_t addr, unsigned size, uint64_t value)
{
	struct window w;
	unsigned i;

	if (!bus_find(b, addr, &w)) {
		if (size == 1 || !bus_find(b, addr + size - 1, &w))
			return;
	} else if (window_takes(&w, addr, size)) {
		w.w_write(w.w_arg, addr - w.w_base, size,
		    value & size_mask(size));
		return;
	}
	for (i = 0; i < size; i++)
		bus_write(b, addr + i, 1, (value >> (i * 8)) & 0xff);
}
