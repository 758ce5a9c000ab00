/*
 * Near branches: Jcc, JMP, CALL, RET, LOOP, JCXZ (SDM vol. 2). The target is
 * cut to the operand size and must be canonical or inside the code segment:
 * #GP(0) on the branch itself.
 */
#include "engine/soft/cond.h"
#include "engine/soft/stack.h"

/* The target after its checks. */
static inline uint64_t
target(struct cpu *c, const struct insn *i, uint64_t rip)
{
	if (__builtin_expect(i->i_osize == 8, 1)) {
		if (__builtin_expect(!cpu_canonical(rip), 0))
			cpu_gp(c, 0);
		return (rip);
	}
	rip = i->i_osize == 4 ? (uint32_t)rip : (uint16_t)rip;
	if (__builtin_expect(!c->c_flat_code, 0) && !c->c_code64 &&
	    rip > c->c_seg[SEG_CS].s_limit)
		cpu_gp(c, 0);
	return (rip);
}

static inline void
branch(struct cpu *c, const struct insn *i)
{
	c->c_rip = target(c, i, c->c_rip + i->i_imm);
}

#define JCC(cc, unused)							\
void									\
insn_j##cc(struct cpu *c, const struct insn *i)				\
{									\
	if (cond_##cc(c->c_rflags))					\
		branch(c, i);						\
}
EACH_CC(JCC, )

void
insn_jmp_rel(struct cpu *c, const struct insn *i)
{
	branch(c, i);
}

/* The r/m operand of an indirect branch. */
static inline uint64_t
rm_target(struct cpu *c, const struct insn *i)
{
	uint64_t rip;

	if (i->i_flags & INSN_MEM)
		rip = mem_read(c, mem_operand(c, i, i->i_osize, ENGINE_READ),
		    i->i_osize);
	else
		rip = c->c_gpr[i->i_rm];
	return (target(c, i, rip));
}

void
insn_jmp_rm(struct cpu *c, const struct insn *i)
{
	c->c_rip = rm_target(c, i);
}

void
insn_call_rel(struct cpu *c, const struct insn *i)
{
	uint64_t rip = target(c, i, c->c_rip + i->i_imm);

	stack_push(c, i->i_osize, c->c_rip);
	c->c_rip = rip;
}

void
insn_call_rm(struct cpu *c, const struct insn *i)
{
	uint64_t rip = rm_target(c, i);

	stack_push(c, i->i_osize, c->c_rip);
	c->c_rip = rip;
}

void
insn_ret(struct cpu *c, const struct insn *i)
{
	uint64_t rip = stack_read(c, stack_offset(c, 0), i->i_osize);

	rip = target(c, i, rip);
	stack_set(c, stack_offset(c, (int64_t)(i->i_osize + i->i_imm)));
	c->c_rip = rip;
}

/* LOOP: rCX by address size goes down; jumps unless it is 0 and if also. */
static inline void
loop(struct cpu *c, const struct insn *i, bool also)
{
	uint64_t count = truncate_to(c->c_gpr[RCX] - 1, i->i_asize);
	uint64_t rip = c->c_rip;

	if (count != 0 && also)
		rip = target(c, i, rip + i->i_imm);
	reg_set(c, RCX, i->i_asize, count);
	c->c_rip = rip;
}

void
insn_loop(struct cpu *c, const struct insn *i)
{
	loop(c, i, true);
}

void
insn_loope(struct cpu *c, const struct insn *i)
{
	loop(c, i, c->c_rflags & FL_ZF);
}

void
insn_loopne(struct cpu *c, const struct insn *i)
{
	loop(c, i, !(c->c_rflags & FL_ZF));
}

void
insn_jcxz(struct cpu *c, const struct insn *i)
{
	if (truncate_to(c->c_gpr[RCX], i->i_asize) == 0)
		branch(c, i);
}
