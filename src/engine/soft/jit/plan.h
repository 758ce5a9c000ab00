/*
 * Grouping the accesses of a trace (plan.c); trace.c's.
 */
#ifndef SOFT_JIT_PLAN_H
#define SOFT_JIT_PLAN_H

#include "engine/soft/jit/trace.h"

#define PLAN_SYM_RIP	0x7fff	/* linear address of the head's page */

/* Registers hold what they held at the trace's start. */
void	plan_begin(struct trace *);
/* They hold what they hold after this instruction. */
void	plan_effects(struct trace *, const struct trace_insn *, bool code64);

/* The dry pass: an access that the rule at hand makes. */
void	plan_operand(struct tr *, const struct insn *, unsigned size,
	    int access);
void	plan_stack(struct tr *, int32_t disp, unsigned size, int access);
void	plan_other(struct tr *, unsigned size, int access);
/* After it: who shares a guard, which of them stand before the loop. */
void	plan_groups(struct trace *);

#endif
