/*
 * Time and timers as chips see them. The host's clock is clock_host(); tests
 * bring one that stands still until told.
 *
 * A timer's handler runs on the I/O thread without any lock held;
 * clock_timer_set() may be called from any thread, with the chip's lock held.
 */
#ifndef MACHINE_CLOCK_H
#define MACHINE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

struct clock;
struct clock_timer;

struct clock_ops {
	uint64_t (*co_now)(struct clock *);
	uint64_t (*co_wall)(struct clock *);
	struct clock_timer *(*co_timer_new)(struct clock *,
	    void (*fn)(void *), void *arg);
	void	(*co_timer_set)(struct clock_timer *, uint64_t when);
	void	(*co_timer_free)(struct clock_timer *);
};

struct clock {
	const struct clock_ops *c_ops;
	struct loop	*c_loop;	/* the host's clock only */
};

#define NS_PER_SECOND	1000000000ull

/* The host's clock, with its timers on a loop. */
struct clock	clock_host(struct loop *);

/* Nanoseconds that only go forward. */
static inline uint64_t
clock_now(struct clock *c)
{
	return (c->c_ops->co_now(c));
}

/* Nanoseconds since 1970-01-01 00:00 UTC. */
static inline uint64_t
clock_wall(struct clock *c)
{
	return (c->c_ops->co_wall(c));
}

/* ns * hz / 10^9, without overflow for centuries. */
static inline uint64_t
clock_ticks(uint64_t ns, uint32_t hz)
{
	return (ns / NS_PER_SECOND * hz +
	    ns % NS_PER_SECOND * hz / NS_PER_SECOND);
}

/* The first nanosecond at which clock_ticks() is at least ticks. */
static inline uint64_t
clock_ticks_ns(uint64_t ticks, uint32_t hz)
{
	return (ticks / hz * NS_PER_SECOND +
	    (ticks % hz * NS_PER_SECOND + hz - 1) / hz);
}

/* A one-shot timer, as loop_timer_*(). */
static inline struct clock_timer *
clock_timer_new(struct clock *c, void (*fn)(void *), void *arg)
{
	return (c->c_ops->co_timer_new(c, fn, arg));
}

static inline void
clock_timer_set(struct clock *c, struct clock_timer *t, uint64_t when)
{
	c->c_ops->co_timer_set(t, when);
}

static inline void
clock_timer_free(struct clock *c, struct clock_timer *t)
{
	if (t != NULL)
		c->c_ops->co_timer_free(t);
}

#endif
