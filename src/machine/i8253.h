/*
 * The 8253/8254 interval timer and port 61h; see i8253.c.
 */
#ifndef MACHINE_I8253_H
#define MACHINE_I8253_H

#include "machine/clock.h"
#include "machine/device.h"

#define I8253_HZ	1193182

struct i8253;

/* irq is channel 0's output. The clock is borrowed. */
struct i8253	*i8253_new(struct bus *ports, struct clock *,
		    const struct irq *);
void		 i8253_free(struct i8253 *);
void		 i8253_reset(struct i8253 *);
void		 i8253_state(struct i8253 *, struct state *);

#endif
