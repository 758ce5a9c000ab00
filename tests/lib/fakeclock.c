/*
 * A clock under a test's control; see fakeclock.h.
 */
#include "fakeclock.h"

#include <stdlib.h>

static struct fakeclock *
fake(struct clock *c)
{
	return ((struct fakeclock *)(void *)c);
}

static uint64_t
fake_now(struct clock *c)
{
	return (fake(c)->fc_now);
}

static uint64_t
fake_wall(struct clock *c)
{
	return (fake(c)->fc_now + (uint64_t)fake(c)->fc_wall_offset);
}

static struct clock_timer *
fake_timer_new(struct clock *c, void (*fn)(void *), void *arg)
{
	struct fakeclock *fc = fake(c);
	int i;

	for (i = 0; i < FAKECLOCK_TIMERS; i++)
		if (fc->fc_timer[i].fn == NULL) {
			fc->fc_timer[i].fn = fn;
			fc->fc_timer[i].arg = arg;
			fc->fc_timer[i].when = LOOP_NEVER;
			return (&fc->fc_timer[i]);
		}
	abort();
}

static void
fake_timer_set(struct clock_timer *t, uint64_t when)
{
	t->when = when;
}

static void
fake_timer_free(struct clock_timer *t)
{
	t->fn = NULL;
}

static const struct clock_ops fake_ops = {
	.co_now = fake_now,
	.co_wall = fake_wall,
	.co_timer_new = fake_timer_new,
	.co_timer_set = fake_timer_set,
	.co_timer_free = fake_timer_free
};

void
fakeclock_init(struct fakeclock *fc, uint64_t now, uint64_t wall)
{
	*fc = (struct fakeclock){ .fc_now = now };
	fc->fc_clock.c_ops = &fake_ops;
	fc->fc_wall_offset = (int64_t)(wall - now);
}

void
fakeclock_run(struct fakeclock *fc, uint64_t ns)
{
	uint64_t end = fc->fc_now + ns;
	struct clock_timer *first;
	int i;

	for (;;) {
		first = NULL;
		for (i = 0; i < FAKECLOCK_TIMERS; i++)
			if (fc->fc_timer[i].fn != NULL &&
			    fc->fc_timer[i].when <= end && (first == NULL ||
			    fc->fc_timer[i].when < first->when))
				first = &fc->fc_timer[i];
		if (first == NULL)
			break;
		if (first->when > fc->fc_now)
			fc->fc_now = first->when;
		first->when = LOOP_NEVER;
		first->fn(first->arg);
	}
	fc->fc_now = end;
}

void
fakeclock_skip(struct fakeclock *fc, uint64_t ns)
{
	fc->fc_now += ns;
}

unsigned
fakeclock_armed(const struct fakeclock *fc)
{
	unsigned n = 0;
	int i;

	for (i = 0; i < FAKECLOCK_TIMERS; i++)
		if (fc->fc_timer[i].fn != NULL &&
		    fc->fc_timer[i].when != LOOP_NEVER)
			n++;
	return (n);
}

void
fakeirq_set(void *arg, unsigned line, int level)
{
	struct fakeirq *f = arg;

	(void)line;
	if (level && !f->fi_level)
		f->fi_edges++;
	f->fi_level = level;
}

bool
fakeirq_waits(void *arg, unsigned line)
{
	const struct fakeirq *f = arg;

	(void)line;
	return (f->fi_waits);
}
