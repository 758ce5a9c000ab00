/*
 * The host's clock for chips: CLOCK_MONOTONIC, CLOCK_REALTIME and the loop's
 * timers. A struct clock_timer is a struct loop_timer here.
 */
#include "machine/clock.h"

#include <time.h>

static uint64_t
host_now(struct clock *c)
{
	(void)c;
	return (loop_now());
}

static uint64_t
host_wall(struct clock *c)
{
	struct timespec ts;

	(void)c;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ((uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec);
}

static struct clock_timer *
host_timer_new(struct clock *c, void (*fn)(void *), void *arg)
{
	return ((struct clock_timer *)loop_timer_new(c->c_loop, fn, arg));
}

static void
host_timer_set(struct clock_timer *t, uint64_t when)
{
	loop_timer_set((struct loop_timer *)t, when);
}

static void
host_timer_free(struct clock_timer *t)
{
	loop_timer_free((struct loop_timer *)t);
}

static const struct clock_ops host_ops = {
	.co_now = host_now,
	.co_wall = host_wall,
	.co_timer_new = host_timer_new,
	.co_timer_set = host_timer_set,
	.co_timer_free = host_timer_free
};

struct clock
clock_host(struct loop *l)
{
	return ((struct clock){ .c_ops = &host_ops, .c_loop = l });
}
