/*
 * Exceptions and interrupts (exception.c).
 */
#ifndef SOFT_EXCEPTION_H
#define SOFT_EXCEPTION_H

#include "engine/soft/cpu.h"

/* Delivers c_event at this boundary and clears it, or raises what goes wrong.
 * A shutdown leaves run(). */
void	event_deliver(struct cpu *);
/* Delivery is given up: if c_event is a software interrupt, its instruction
 * has not been executed. */
void	event_unwind(struct cpu *);

#endif
