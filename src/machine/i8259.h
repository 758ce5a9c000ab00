/*
 * The pair of 8259A interrupt controllers with ELCR; see i8259.c.
 */
#ifndef MACHINE_I8259_H
#define MACHINE_I8259_H

#include "machine/device.h"

#define I8259_LINES	16

struct i8259;

/* intr: the master's INT output changed. Called with the chip's lock held. */
struct i8259	*i8259_new(struct bus *ports, void (*intr)(void *, int level),
		    void *arg);
void		 i8259_free(struct i8259 *);
void		 i8259_reset(struct i8259 *);
void		 i8259_state(struct i8259 *, struct state *);
/* Level of an input 0..15. Any thread. */
void		 i8259_set(struct i8259 *, unsigned line, int level);
/* Does a rising edge of this input wait, unmasked? Any thread. */
bool		 i8259_waits(struct i8259 *, unsigned line);
/* Makes these lines level-triggered, as firmware does through the ELCR. */
void		 i8259_set_elcr(struct i8259 *, uint16_t lines);
/* Is INT asserted? Any thread. */
bool		 i8259_pending(struct i8259 *);
/* The INTA cycles: the vector, spurious ones (IRQ7, IRQ15) included. */
uint8_t		 i8259_ack(struct i8259 *);

#endif
