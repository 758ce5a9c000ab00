/*
 * PUSH, POP, PUSHA, POPA, ENTER, LEAVE, but for segment registers and flags
 * (SDM vol. 2).
 */
#include "engine/soft/stack.h"

#define PUSH_POP(unused, z)						\
static void								\
push_r_##z(struct cpu *c, const struct insn *i)				\
{									\
	stack_push(c, BYTES_##z, reg_get_##z(c, i, i->i_rm));		\
}									\
static void								\
pop_r_##z(struct cpu *c, const struct insn *i)				\
{									\
	U_##z v = (U_##z)stack_pop(c, BYTES_##z);			\
									\
	reg_set_##z(c, i, i->i_rm, v);					\
}

EACH_WLQ(PUSH_POP, )

insn_fn *const insn_push_r[4][2] = {
	{ NULL }, { push_r_w }, { push_r_l }, { push_r_q },
};
insn_fn *const insn_pop_r[4][2] = {
	{ NULL }, { pop_r_w }, { pop_r_l }, { pop_r_q },
};

void
insn_push_rm(struct cpu *c, const struct insn *i)
{
	uint64_t v;

	if (i->i_flags & INSN_MEM)
		v = mem_read(c, mem_operand(c, i, i->i_osize, ENGINE_READ),
		    i->i_osize);
	else
		v = reg_get(c, i->i_rm, i->i_osize);
	stack_push(c, i->i_osize, v);
}

/* An address by RSP is that of the stack pointer already moved. */
void
insn_pop_rm(struct cpu *c, const struct insn *i)
{
	uint64_t v, ea, next, rsp;

	v = stack_read(c, stack_offset(c, 0), i->i_osize);
	next = stack_offset(c, i->i_osize);
	if (i->i_flags & INSN_MEM) {
		ea = mem_ea(c, i);
		if (i->i_base == RSP) {
			rsp = c->c_ssize == 2 ?
			    (c->c_gpr[RSP] & ~UINT64_C(0xffff)) | next : next;
			ea = truncate_to(ea + rsp - c->c_gpr[RSP], i->i_asize);
		}
		mem_write(c, mem_linear(c, i->i_seg, ea, i->i_osize,
		    ENGINE_WRITE), i->i_osize, v);
		stack_set(c, next);
	} else {
		stack_set(c, next);
		reg_set(c, i->i_rm, i->i_osize, v);
	}
}

void
insn_push_imm(struct cpu *c, const struct insn *i)
{
	stack_push(c, i->i_osize, truncate_to(i->i_imm, i->i_osize));
}

void
insn_pusha(struct cpu *c, const struct insn *i)
{
	unsigned n, size = i->i_osize;

	/* The lowest first: what must fail fails before memory changes. */
	for (n = 8; n-- > 0;)
		stack_write(c, stack_offset(c, -(int64_t)(size * (n + 1))),
		    size, reg_get(c, n, size));
	stack_set(c, stack_offset(c, -(int64_t)(size * 8)));
}

void
insn_popa(struct cpu *c, const struct insn *i)
{
	unsigned n, size = i->i_osize;
	uint64_t v[8];

	for (n = 0; n < 8; n++)
		v[7 - n] = stack_read(c, stack_offset(c, size * n), size);
	stack_set(c, stack_offset(c, size * 8));
	for (n = 0; n < 8; n++) {
		if (n != RSP)
			reg_set(c, n, size, v[n]);
	}
}

void
insn_enter(struct cpu *c, const struct insn *i)
{
	unsigned n, size = i->i_osize, level = i->i_imm2 & 31;
	int64_t depth = size;
	uint64_t frame, outer, link, end;

	frame = stack_offset(c, -depth);
	stack_write(c, frame, size, reg_get(c, RBP, size));
	/* The display: level - 1 links of the outer frame and our own. */
	for (n = 1; n < level; n++) {
		outer = truncate_to(c->c_gpr[RBP] - (uint64_t)size * n,
		    c->c_ssize);
		link = stack_read(c, outer, size);
		depth += size;
		stack_write(c, stack_offset(c, -depth), size, link);
	}
	if (level > 0) {
		depth += size;
		stack_write(c, stack_offset(c, -depth), size, frame);
	}
	/* A write at the new top must be possible (SDM vol. 2A, ENTER). */
	end = stack_offset(c, -depth - (int64_t)i->i_imm);
	mem_check_write(c, mem_linear(c, SEG_SS, end, size, ENGINE_WRITE),
	    size);
	reg_set(c, RBP, size, size == 2 ? frame :
	    c->c_ssize == 2 ? (c->c_gpr[RSP] & 0xffff0000) | frame : frame);
	stack_set(c, end);
}

void
insn_leave(struct cpu *c, const struct insn *i)
{
	unsigned size = i->i_osize;
	uint64_t offset = truncate_to(c->c_gpr[RBP], c->c_ssize);
	uint64_t v = stack_read(c, offset, size);

	stack_set(c, truncate_to(offset + size, c->c_ssize));
	reg_set(c, RBP, size, v);
}
