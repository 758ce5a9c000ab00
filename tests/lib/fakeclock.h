/*
 * A clock that stands still until fakeclock_run() moves it; due timers fire in
 * order, each at its own time.
 */
#ifndef TESTS_FAKECLOCK_H
#define TESTS_FAKECLOCK_H

#include "machine/clock.h"

#define FAKECLOCK_TIMERS	8

struct fakeclock {
	struct clock	 fc_clock;	/* first: a struct clock is a fakeclock */
	uint64_t	 fc_now;
	int64_t		 fc_wall_offset;	/* wall = now + offset */
	struct clock_timer {
		void	(*fn)(void *);
		void	*arg;
		uint64_t when;
	}		 fc_timer[FAKECLOCK_TIMERS];
};

void	fakeclock_init(struct fakeclock *, uint64_t now, uint64_t wall);
/* Moves time forward, firing what falls due. */
void	fakeclock_run(struct fakeclock *, uint64_t ns);
/* Moves time without firing: a host that was late. */
void	fakeclock_skip(struct fakeclock *, uint64_t ns);
/* Timers armed. */
unsigned fakeclock_armed(const struct fakeclock *);

/* An interrupt line that counts its rising edges. */
struct fakeirq {
	int		 fi_level;
	unsigned	 fi_edges;
	bool		 fi_waits;	/* the guest does not take the last */
};

void	fakeirq_set(void *, unsigned, int);
bool	fakeirq_waits(void *, unsigned);

#endif
