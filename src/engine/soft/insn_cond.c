/*
 * CMOVcc and SETcc (SDM vol. 2). CMOV always reads its source and, with a
 * 32-bit operand, always clears the destination's upper half.
 */
#include "engine/soft/cond.h"
#include "engine/soft/operand.h"

#define CMOV(cc, form, z)						\
static void								\
cmov##cc##_##form##_##z(struct cpu *c, const struct insn *i)		\
{									\
	U_##z v = rm_get_##form(c, i, z);				\
									\
	if (!cond_##cc(c->c_rflags))					\
		v = reg_get_##z(c, i, i->i_reg);			\
	reg_set_##z(c, i, i->i_reg, v);					\
}

#define CMOVCC(cc, unused)						\
	CMOV(cc, r, w) CMOV(cc, r, l) CMOV(cc, r, q)			\
	CMOV(cc, m, w) CMOV(cc, m, l) CMOV(cc, m, q)			\
	VARIANTS_WLQ(cmov##cc);

EACH_CC(CMOVCC, )

#define SETCC(cc, unused)						\
static void								\
set##cc##_r(struct cpu *c, const struct insn *i)			\
{									\
	reg_set_b(c, i, i->i_rm, cond_##cc(c->c_rflags));		\
}									\
static void								\
set##cc##_m(struct cpu *c, const struct insn *i)			\
{									\
	mem_put(c, i, b, cond_##cc(c->c_rflags));			\
}									\
insn_fn *const insn_set##cc[4][2] = { { set##cc##_r, set##cc##_m } };

EACH_CC(SETCC, )
