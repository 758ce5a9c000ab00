/*
 * RFLAGS: PUSHF, POPF, CLI, STI, CLAC, STAC, and what follows from a change of
 * TF, RF and AC. SDM vol. 2, vol. 3A 6.8, 20.2.7 (virtual-8086 mode without
 * VME).
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mem.h"
#include "engine/soft/stack.h"

void
cpu_set_rflags(struct cpu *c, uint64_t flags)
{
	uint64_t old = c->c_rflags;

	c->c_rflags = (flags & FL_ALL) | FL_R1;
	if ((old ^ flags) & (FL_AC | FL_VM)) {
		mmu_mode_update(c);
		jit_mode_update(c);
	}
	if (flags & (FL_TF | FL_RF))
		cpu_request(c, REQ_STEP);
	if (flags & FL_IF)
		cpu_if_set(c);
}

/* POPF, PUSHF, CLI, STI... in virtual-8086 mode need IOPL 3. */
static void
flags_v8086(struct cpu *c)
{
	if (c->c_v8086 && cpu_iopl(c) < 3)
		cpu_gp(c, 0);
}

void
insn_pushf(struct cpu *c, const struct insn *i)
{
	uint64_t sp = stack_offset(c, -(int)i->i_osize);

	flags_v8086(c);
	mem_write(c, mem_linear(c, SEG_SS, sp, i->i_osize, ENGINE_WRITE),
	    i->i_osize, cpu_rflags(c) & ~(uint64_t)(FL_VM | FL_RF));
	stack_set(c, sp);
}

void
insn_popf(struct cpu *c, const struct insn *i)
{
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT, image;
	unsigned size = i->i_osize;

	flags_v8086(c);
	image = mem_read(c, mem_linear(c, SEG_SS, stack_offset(c, 0), size,
	    ENGINE_READ), size);
	if (size > 2) {
		mask |= FL_AC | FL_ID | FL_RF;
		image &= ~(uint64_t)FL_RF;
		if (c->c_cpl == 0) {
			mask |= FL_VIF | FL_VIP;
			image &= ~(uint64_t)(FL_VIF | FL_VIP);
		}
	}
	if (c->c_cpl <= cpu_iopl(c))
		mask |= FL_IF;
	if (c->c_cpl == 0)
		mask |= FL_IOPL;
	stack_set(c, stack_offset(c, (int)size));
	cpu_set_rflags(c, (c->c_rflags & ~mask) | (image & mask));
}

void
insn_cli(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_cpl > cpu_iopl(c))
		cpu_gp(c, 0);
	c->c_rflags &= ~(uint64_t)FL_IF;
}

void
insn_sti(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_cpl > cpu_iopl(c))
		cpu_gp(c, 0);
	if (c->c_rflags & FL_IF)
		return;
	c->c_rflags |= FL_IF;
	c->c_shadow_sti = true;
	cpu_request(c, REQ_SHADOW);
	cpu_if_set(c);
}

void
insn_clac(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_cpl != 0)
		cpu_ud(c);
	cpu_set_rflags(c, c->c_rflags & ~(uint64_t)FL_AC);
}

void
insn_stac(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_cpl != 0)
		cpu_ud(c);
	cpu_set_rflags(c, c->c_rflags | FL_AC);
}
