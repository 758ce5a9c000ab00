/*
 * What is left of the unprivileged integer instructions: single flags, BOUND,
 * random numbers, NOPs, fences, cache lines, UD (SDM vol. 2).
 */
#include "engine/soft/operand.h"

void
insn_lahf(struct cpu *c, const struct insn *i)
{
	uint64_t ah = (c->c_rflags & (FL_ARITH & 0xff)) | FL_R1;

	(void)i;
	c->c_gpr[RAX] = (c->c_gpr[RAX] & ~UINT64_C(0xff00)) | ah << 8;
}

void
insn_sahf(struct cpu *c, const struct insn *i)
{
	(void)i;
	c->c_rflags = (c->c_rflags & ~(uint64_t)(FL_ARITH & 0xff)) |
	    (c->c_gpr[RAX] >> 8 & FL_ARITH & 0xff);
}

void
insn_clc(struct cpu *c, const struct insn *i)
{
	(void)i;
	c->c_rflags &= ~(uint64_t)FL_CF;
}

void
insn_stc(struct cpu *c, const struct insn *i)
{
	(void)i;
	c->c_rflags |= FL_CF;
}

void
insn_cmc(struct cpu *c, const struct insn *i)
{
	(void)i;
	c->c_rflags ^= FL_CF;
}

void
insn_cld(struct cpu *c, const struct insn *i)
{
	(void)i;
	c->c_rflags &= ~(uint64_t)FL_DF;
}

void
insn_std(struct cpu *c, const struct insn *i)
{
	(void)i;
	c->c_rflags |= FL_DF;
}

/* AL by CF: not in the manuals, but in every CPU outside 64-bit code. */
void
insn_salc(struct cpu *c, const struct insn *i)
{
	reg_set_b(c, i, RAX, c->c_rflags & FL_CF ? 0xff : 0);
}

/* A signed index against the two signed bounds in memory. */
void
insn_bound(struct cpu *c, const struct insn *i)
{
	unsigned size = i->i_osize;
	uint64_t at = mem_operand(c, i, size * 2, ENGINE_READ);
	uint64_t low = mem_read(c, at, size);
	uint64_t high = mem_read(c, (uint32_t)(at + size), size);
	uint64_t index = c->c_gpr[i->i_reg];
	bool inside;

	if (size == 2)
		inside = (int16_t)index >= (int16_t)low &&
		    (int16_t)index <= (int16_t)high;
	else
		inside = (int32_t)index >= (int32_t)low &&
		    (int32_t)index <= (int32_t)high;
	if (!inside)
		cpu_fault(c, VMM_EX_BR, 0);
}

#define RANDOM(op, z)							\
static void								\
op##_##z(struct cpu *c, const struct insn *i)				\
{									\
	uint32_t ax = flags_to_ax(c);					\
	U_##z r;							\
									\
	__asm__ volatile(FLAGS_IN #op " %[r]\n\t" FLAGS_OUT		\
	    : "+&a" (ax), [r] "=&r" (r) : : "cc");			\
	reg_set_##z(c, i, i->i_rm, r);					\
	flags_set(c, ax, FL_ARITH);					\
}

EACH_WLQ(RANDOM, rdrand)
EACH_WLQ(RANDOM, rdseed)
insn_fn *const insn_rdrand[4][2] = {
	{ NULL }, { rdrand_w }, { rdrand_l }, { rdrand_q },
};
insn_fn *const insn_rdseed[4][2] = {
	{ NULL }, { rdseed_w }, { rdseed_l }, { rdseed_q },
};

/* A NOP's memory operand is not accessed; the same of a prefetch. */
void
insn_nop(struct cpu *c, const struct insn *i)
{
	(void)c;
	(void)i;
}

/* MFENCE, SFENCE: guest accesses are host accesses. LFENCE orders loads, which
 * are in order anyway, and is a NOP here. */
void
insn_fence(struct cpu *c, const struct insn *i)
{
	(void)c;
	(void)i;
	__builtin_ia32_mfence();
}

/*
 * CLFLUSH, CLFLUSHOPT, CLWB: the byte must be readable. All memory is
 * coherent, there is nothing to write back.
 */
void
insn_clflush(struct cpu *c, const struct insn *i)
{
	mem_check_read(c, mem_operand(c, i, 1, ENGINE_READ), 1);
}

void
insn_ud(struct cpu *c, const struct insn *i)
{
	(void)i;
	cpu_ud(c);
}
