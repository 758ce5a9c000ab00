/*
 * Pushing to and popping from the guest's stack in the mode at hand (SDM vol.
 * 1, 6.2). stack_read and stack_write leave the stack pointer alone, so that
 * an instruction moves it once, when nothing can fail any more.
 */
#ifndef SOFT_STACK_H
#define SOFT_STACK_H

#include "engine/soft/operand.h"

/* The stack pointer moved by delta, cut to the stack's address size. */
static inline uint64_t
stack_offset(const struct cpu *c, int64_t delta)
{
	return (truncate_to(c->c_gpr[RSP] + (uint64_t)delta, c->c_ssize));
}

static inline void
stack_set(struct cpu *c, uint64_t offset)
{
	reg_set(c, RSP, c->c_ssize, offset);
}

static inline uint64_t
stack_read(struct cpu *c, uint64_t offset, unsigned size)
{
	return (mem_read(c, mem_linear(c, SEG_SS, offset, size, ENGINE_READ),
	    size));
}

static inline void
stack_write(struct cpu *c, uint64_t offset, unsigned size, uint64_t v)
{
	mem_write(c, mem_linear(c, SEG_SS, offset, size, ENGINE_WRITE), size,
	    v);
}

static inline void
stack_push(struct cpu *c, unsigned size, uint64_t v)
{
	uint64_t offset = stack_offset(c, -(int64_t)size);

	stack_write(c, offset, size, v);
	stack_set(c, offset);
}

static inline uint64_t
stack_pop(struct cpu *c, unsigned size)
{
	uint64_t v = stack_read(c, stack_offset(c, 0), size);

	stack_set(c, stack_offset(c, size));
	return (v);
}

#endif
