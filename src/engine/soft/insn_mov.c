/*
 * MOV, MOVZX, MOVSX, MOVSXD, LEA, BSWAP, MOVBE, CBW and CWD and their wider
 * forms, XLAT (SDM vol. 2). None touches flags.
 */
#include "engine/soft/operand.h"

#define FN(name, z)							\
	static void							\
	name##_##z(struct cpu *c, const struct insn *i)

#define MOV(unused, z)							\
FN(mov_rm_r_r, z) { reg_set_##z(c, i, i->i_rm, reg_get_##z(c, i, i->i_reg)); } \
FN(mov_rm_r_m, z) { mem_put(c, i, z, reg_get_##z(c, i, i->i_reg)); }	\
FN(mov_r_rm_r, z) { reg_set_##z(c, i, i->i_reg, rm_get_r(c, i, z)); }	\
FN(mov_r_rm_m, z) { reg_set_##z(c, i, i->i_reg, rm_get_m(c, i, z)); }	\
FN(mov_rm_imm_r, z) { reg_set_##z(c, i, i->i_rm, (U_##z)i->i_imm); }	\
FN(mov_rm_imm_m, z) { mem_put(c, i, z, (U_##z)i->i_imm); }		\
FN(mov_r_imm, z) { reg_set_##z(c, i, i->i_rm, (U_##z)i->i_imm); }	\
FN(mov_a_moffs, z)							\
{									\
	U_##z v = (U_##z)mem_read(c, mem_linear(c, i->i_seg, i->i_imm,	\
	    BYTES_##z, ENGINE_READ), BYTES_##z);			\
									\
	reg_set_##z(c, i, RAX, v);					\
}									\
FN(mov_moffs_a, z)							\
{									\
	mem_write(c, mem_linear(c, i->i_seg, i->i_imm, BYTES_##z,	\
	    ENGINE_WRITE), BYTES_##z, reg_get_##z(c, i, RAX));		\
}

EACH_SIZE(MOV, )
VARIANTS_ALL(mov_rm_r);
VARIANTS_ALL(mov_r_rm);
VARIANTS_ALL(mov_rm_imm);
VARIANTS_REG(mov_r_imm);
VARIANTS_REG(mov_a_moffs);
VARIANTS_REG(mov_moffs_a);

/* From a narrower operand of letter n; type T extends. */
#define MOVX(name, T, n, z)						\
FN(name##_r, z) { reg_set_##z(c, i, i->i_reg, (U_##z)(T)rm_get_r(c, i, n)); } \
FN(name##_m, z) { reg_set_##z(c, i, i->i_reg, (U_##z)(T)rm_get_m(c, i, n)); }

EACH_WLQ(MOVX, movzx_8, U_b, b)
EACH_WLQ(MOVX, movzx_16, U_w, w)
EACH_WLQ(MOVX, movsx_8, S_b, b)
EACH_WLQ(MOVX, movsx_16, S_w, w)
FN(movsxd_r, w) { reg_set_w(c, i, i->i_reg, rm_get_r(c, i, w)); }
MOVX(movsxd, S_l, l, l)
MOVX(movsxd, S_l, l, q)
VARIANTS_WLQ(movzx_8);
VARIANTS_WLQ(movzx_16);
VARIANTS_WLQ(movsx_8);
VARIANTS_WLQ(movsx_16);

/* To 16 bits: AMD's CPUs read four bytes of memory all the same. */
static void
movsxd_m_w(struct cpu *c, const struct insn *i)
{
	unsigned size = c->c_intel ? 2 : 4;

	reg_set16(c, i->i_reg, (uint16_t)mem_read(c, mem_operand(c, i, size,
	    ENGINE_READ), size));
}
VARIANTS_WLQ(movsxd);

#define LEA(unused, z)							\
FN(lea_m, z) { reg_set_##z(c, i, i->i_reg, (U_##z)mem_ea(c, i)); }
EACH_WLQ(LEA, )
insn_fn *const insn_lea[4][2] = {
	{ NULL }, { NULL, lea_m_w }, { NULL, lea_m_l }, { NULL, lea_m_q },
};

/* Of 16 bits it is undefined: the host's own. */
static void
bswap_w(struct cpu *c, const struct insn *i)
{
	uint32_t v = (uint32_t)c->c_gpr[i->i_rm];

	/* 66 0F C8: BSWAP AX, which assemblers refuse */
	__asm__(".byte 0x66, 0x0f, 0xc8" : "+a" (v));
	reg_set16(c, i->i_rm, (uint16_t)v);
}

static void
bswap_l(struct cpu *c, const struct insn *i)
{
	reg_set_l(c, i, i->i_rm, __builtin_bswap32(reg_get_l(c, i, i->i_rm)));
}

static void
bswap_q(struct cpu *c, const struct insn *i)
{
	reg_set_q(c, i, i->i_rm, __builtin_bswap64(reg_get_q(c, i, i->i_rm)));
}

insn_fn *const insn_bswap[4][2] = {
	{ NULL }, { bswap_w }, { bswap_l }, { bswap_q },
};

#define SWAP_w(v)	__builtin_bswap16(v)
#define SWAP_l(v)	__builtin_bswap32(v)
#define SWAP_q(v)	__builtin_bswap64(v)
#define MOVBE(unused, z)						\
FN(movbe_r_m_m, z) { reg_set_##z(c, i, i->i_reg, SWAP_##z(mem_get(c, i, z))); } \
FN(movbe_m_r_m, z) { mem_put(c, i, z, SWAP_##z(reg_get_##z(c, i, i->i_reg))); }
EACH_WLQ(MOVBE, )
insn_fn *const insn_movbe_r_m[4][2] = {
	{ NULL }, { NULL, movbe_r_m_m_w }, { NULL, movbe_r_m_m_l },
	{ NULL, movbe_r_m_m_q },
};
insn_fn *const insn_movbe_m_r[4][2] = {
	{ NULL }, { NULL, movbe_m_r_m_w }, { NULL, movbe_m_r_m_l },
	{ NULL, movbe_m_r_m_q },
};

/* CBW, CWDE, CDQE: rAX from its lower half of letter n. */
#define CBW(z, n)							\
FN(cbw, z) { reg_set_##z(c, i, RAX, (U_##z)(S_##n)c->c_gpr[RAX]); }
CBW(w, b)
CBW(l, w)
CBW(q, l)
insn_fn *const insn_cbw[4][2] = { { NULL }, { cbw_w }, { cbw_l }, { cbw_q } };

/* CWD, CDQ, CQO: rDX from the sign of rAX. */
#define CWD(unused, z)							\
FN(cwd, z) { reg_set_##z(c, i, RDX, (U_##z)((S_##z)c->c_gpr[RAX] < 0 ? -1 : 0)); }
EACH_WLQ(CWD, )
insn_fn *const insn_cwd[4][2] = { { NULL }, { cwd_w }, { cwd_l }, { cwd_q } };

void
insn_xlat(struct cpu *c, const struct insn *i)
{
	uint64_t ea = truncate_to(c->c_gpr[RBX] + (uint8_t)c->c_gpr[RAX],
	    i->i_asize);

	reg_set_b(c, i, RAX, (uint8_t)mem_read(c, mem_linear(c, i->i_seg, ea,
	    1, ENGINE_READ), 1));
}
