/*
 * The MC146818 real-time clock with its non-volatile memory; see mc146818.c.
 */
#ifndef MACHINE_MC146818_H
#define MACHINE_MC146818_H

#include "machine/clock.h"
#include "machine/device.h"

struct mc146818;

/* low and high: bytes of memory below and above 4 GiB, for the memory sizes
 * that firmware leaves there. The clock is borrowed. NULL and errno. */
struct mc146818	*mc146818_new(struct bus *ports, struct clock *,
		    const struct irq *, uint64_t low, uint64_t high);
void		 mc146818_free(struct mc146818 *);
/* The time and the memory outlive it. */
void		 mc146818_reset(struct mc146818 *);
void		 mc146818_state(struct mc146818 *, struct state *);

#endif
