/*
 * The clock: gets VCPUs out of the guest when their time has come.
 *
 * 1. While a VCPU is in the guest, it is kicked when its local APIC's timer is
 *    due, and every TICK_NS to look for signals, if its RUN looks for any.
 * 2. clock_next is when the timer will fire, or LOOP_NEVER. It is written
 *    under the lock; whoever needs an earlier time than it says sets the
 *    timer. So a VCPU that enters and leaves the guest pays for one look at
 *    it, and an idle host has no ticks.
 * 3. The handler first says that nothing is planned and then looks at the
 *    VCPUs, while a VCPU first says that it is in the guest and then looks at
 *    clock_next (clock_enter): one of them sees the other.
 *
 * clock_need(), clock_enter(): any thread. clock_fire(): the server's thread.
 */
#include <pthread.h>

#include "base/loop.h"
#include "vmm/monitor.h"

#define TICK_NS		4000000ull

static pthread_mutex_t clock_lock = PTHREAD_MUTEX_INITIALIZER;
static struct loop_timer *clock_timer;	/* clock_lock */
static atomic_uint_fast64_t clock_next = LOOP_NEVER;
static atomic_uint_fast64_t clock_tick;	/* when to look for signals next */

void
clock_need(uint64_t when)
{
	if (when >= atomic_load(&clock_next))
		return;
	pthread_mutex_lock(&clock_lock);
	if (clock_timer != NULL && when < atomic_load(&clock_next)) {
		atomic_store(&clock_next, when);
		loop_timer_set(clock_timer, when);
	}
	pthread_mutex_unlock(&clock_lock);
}

void
clock_enter(uint64_t deadline, bool tick)
{
	clock_need(deadline);
	if (tick && atomic_load(&clock_next) == LOOP_NEVER)
		clock_need(loop_now() + TICK_NS);
}

static void
clock_fork_prepare(void)
{
	pthread_mutex_lock(&clock_lock);
}

static void
clock_fork_parent(void)
{
	pthread_mutex_unlock(&clock_lock);
}

/* The child has no server thread, so no clock until it makes its own. */
static void
clock_fork_child(void)
{
	clock_timer = NULL;
	atomic_store(&clock_next, LOOP_NEVER);
	pthread_mutex_unlock(&clock_lock);
}

void
clock_init(void)
{
	pthread_atfork(clock_fork_prepare, clock_fork_parent,
	    clock_fork_child);
}

static void
clock_fire(void *arg)
{
	uint64_t now = loop_now(), next, tick;
	bool check;

	(void)arg;
	pthread_mutex_lock(&clock_lock);
	atomic_store(&clock_next, LOOP_NEVER);
	pthread_mutex_unlock(&clock_lock);
	tick = atomic_load(&clock_tick);
	check = now >= tick;
	if (check) {
		tick = now + TICK_NS;
		atomic_store(&clock_tick, tick);
	}
	if (vm_tick(now, check, &next) && next > tick)
		next = tick;
	clock_need(next);
}

struct loop_timer *
clock_start(struct loop *loop)
{
	struct loop_timer *timer;

	if ((timer = loop_timer_new(loop, clock_fire, NULL)) == NULL)
		return (NULL);
	pthread_mutex_lock(&clock_lock);
	clock_timer = timer;
	atomic_store(&clock_next, LOOP_NEVER);
	pthread_mutex_unlock(&clock_lock);
	return (timer);
}

void
clock_stop(struct loop_timer *timer)
{
	pthread_mutex_lock(&clock_lock);
	if (clock_timer == timer) {
		clock_timer = NULL;
		atomic_store(&clock_next, LOOP_NEVER);
	}
	pthread_mutex_unlock(&clock_lock);
	loop_timer_free(timer);
}
