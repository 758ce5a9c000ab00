/*
 * Looking into the tables of translated code (jit.h: THE TLB, THE JUMP CACHE)
 * from C. Light. VCPU thread.
 */
#ifndef SOFT_JIT_TABLES_H
#define SOFT_JIT_TABLES_H

#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"

/* Entry i of the table at an offset of asm.h. */
static inline uint64_t
table_entry(const struct cpu *c, size_t offset, uint64_t i)
{
	return (((const uint64_t *)(const void *)((const char *)c + offset))[i &
	    0xffff]);
}

/* The host's address of [linear, linear + size) if the TLB has it in class for
 * reading, or for writing; else NULL. */
static inline uint8_t *
jtlb_look(const struct cpu *c, unsigned class, uint64_t linear, unsigned size,
    int access)
{
	uint64_t off = linear + table_entry(c, access & ENGINE_WRITE ?
	    JT_NEGW(class) : JT_NEGR(class), linear >> 12);

	if (off > PAGE_SIZE - size)
		return (NULL);
	return ((uint8_t *)(uintptr_t)(table_entry(c, JT_HOST(class),
	    linear >> 12) + off));
}

/* Where the jump cache leads from linear in the current mode, or NULL. */
static inline uint8_t *
jc_look(struct cpu *c, uint64_t linear)
{
	if (table_entry(c, JC_KEY, linear) + linear + c->c_jmode != 0)
		return (jc_again(c, linear));
	return ((uint8_t *)(uintptr_t)table_entry(c, JC_HOST, linear));
}

#endif
