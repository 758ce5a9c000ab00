/*
 * The one-byte opcodes (SDM vol. 2D, table A-2). x87 (D8-DF) and WAIT (9B) are
 * in optab_simd_onebyte. Prefixes never get here.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"

#define M	O_MODRM
#define CF	FL_CF
#define ZF	FL_ZF
#define AF	FL_AF
#define ALL	FL_ARITH

/* Flags of the eight operations of 00-3F and group 1. */
#define ALU_IN(op)	ALU_IN_##op
#define ALU_IN_add	0
#define ALU_IN_or	0
#define ALU_IN_adc	CF
#define ALU_IN_sbb	CF
#define ALU_IN_and	0
#define ALU_IN_sub	0
#define ALU_IN_xor	0
#define ALU_IN_cmp	0
#define ALU_UN_add	0
#define ALU_UN_or	AF
#define ALU_UN_adc	0
#define ALU_UN_sbb	0
#define ALU_UN_and	AF
#define ALU_UN_sub	0
#define ALU_UN_xor	AF
#define ALU_UN_cmp	0
/* What is done to the destination. */
#define ALU_RW_add	R_RW
#define ALU_RW_or	R_RW
#define ALU_RW_adc	R_RW
#define ALU_RW_sbb	R_RW
#define ALU_RW_and	R_RW
#define ALU_RW_sub	R_RW
#define ALU_RW_xor	R_RW
#define ALU_RW_cmp	R_READ
/* CMP writes nothing that a LOCK could make atomic. */
#define ALU_LK_add	O_LOCK
#define ALU_LK_or	O_LOCK
#define ALU_LK_adc	O_LOCK
#define ALU_LK_sbb	O_LOCK
#define ALU_LK_and	O_LOCK
#define ALU_LK_sub	O_LOCK
#define ALU_LK_xor	O_LOCK
#define ALU_LK_cmp	0

/* How a row is copied by the translator: what is done to reg, to r/m. */
#define COPY	T(tr_copy)
#define B(what)	(R_BYTE | (what))
#define G(what)	(R_GPR | (what))
#define OPS(reg, rm)	.o_reg = (reg), .o_rm = (rm), COPY

#define ALU(at, op)							\
	[(at) + 0] = { N(#op), V(insn_##op##_rm_r), .o_size = OS_B,	\
	    RULES(M | ALU_LK_##op), OPS(B(R_READ), B(ALU_RW_##op)),	\
	    FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) },			\
	[(at) + 1] = { N(#op), V(insn_##op##_rm_r),			\
	    RULES(M | ALU_LK_##op), OPS(G(R_READ), G(ALU_RW_##op)),	\
	    FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) },			\
	[(at) + 2] = { N(#op), V(insn_##op##_r_rm), .o_size = OS_B,	\
	    RULES(M), OPS(B(ALU_RW_##op), B(R_READ)),			\
	    FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) },			\
	[(at) + 3] = { N(#op), V(insn_##op##_r_rm),			\
	    RULES(M), OPS(G(ALU_RW_##op), G(R_READ)),			\
	    FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) },			\
	[(at) + 4] = { N(#op), V(insn_##op##_a_imm), .o_size = OS_B,	\
	    .o_imm = IMM_BS, COPY, FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) }, \
	[(at) + 5] = { N(#op), V(insn_##op##_a_imm),			\
	    .o_imm = IMM_Z, COPY, FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) }

/* The class of r/m by size. */
#define CLASS_OS_B	R_BYTE
#define CLASS_OS_V	R_GPR
#define GRP1(at, op, size, imm)						\
	[at] = { N(#op), V(insn_##op##_rm_imm), .o_size = (size),	\
	    .o_imm = (imm), RULES(M | ALU_LK_##op),			\
	    .o_rm = CLASS_##size | ALU_RW_##op, COPY,			\
	    FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) }
#define GROUP1(size, imm) {						\
	GRP1(0, add, size, imm), GRP1(1, or, size, imm),		\
	GRP1(2, adc, size, imm), GRP1(3, sbb, size, imm),		\
	GRP1(4, and, size, imm), GRP1(5, sub, size, imm),		\
	GRP1(6, xor, size, imm), GRP1(7, cmp, size, imm),		\
}

static const struct opcode grp1_80[8] = GROUP1(OS_B, IMM_BS);
static const struct opcode grp1_81[8] = GROUP1(OS_V, IMM_Z);
static const struct opcode grp1_82[8] = {
#define GRP1_82(at, op)							\
	[at] = { N(#op), V(insn_##op##_rm_imm), .o_size = OS_B,		\
	    .o_imm = IMM_BS, RULES(M | O_NO64 | ALU_LK_##op),		\
	    .o_rm = B(ALU_RW_##op), COPY,				\
	    FLAGS(ALU_IN_##op, ALL, ALU_UN_##op) }
	GRP1_82(0, add), GRP1_82(1, or), GRP1_82(2, adc), GRP1_82(3, sbb),
	GRP1_82(4, and), GRP1_82(5, sub), GRP1_82(6, xor), GRP1_82(7, cmp),
};
static const struct opcode grp1_83[8] = GROUP1(OS_V, IMM_BS);

static const struct opcode grp1a[8] = {
	[0] = { N("pop"), X(insn_pop_rm), .o_size = OS_D64, RULES(M),
	    T(tr_pop_rm) },
};

/* Shifts and rotates. A count of zero leaves all flags: they are read. */
#define GRP2(at, nm, fn, size, imm, rule, out, undef)			\
	[at] = { N(nm), V(fn), .o_size = (size), .o_imm = (imm),	\
	    RULES(M), .o_rm = CLASS_##size | R_RW, T(rule),		\
	    FLAGS(ALL, out, undef) }
#define GROUP2(how, size, imm, rule) {					\
	GRP2(0, "rol", insn_rol_##how, size, imm, rule, CF | FL_OF, FL_OF), \
	GRP2(1, "ror", insn_ror_##how, size, imm, rule, CF | FL_OF, FL_OF), \
	GRP2(2, "rcl", insn_rcl_##how, size, imm, rule, CF | FL_OF, FL_OF), \
	GRP2(3, "rcr", insn_rcr_##how, size, imm, rule, CF | FL_OF, FL_OF), \
	GRP2(4, "shl", insn_shl_##how, size, imm, rule, ALL, FL_OF | AF | CF), \
	GRP2(5, "shr", insn_shr_##how, size, imm, rule, ALL, FL_OF | AF | CF), \
	GRP2(6, "shl", insn_shl_##how, size, imm, rule, ALL, FL_OF | AF | CF), \
	GRP2(7, "sar", insn_sar_##how, size, imm, rule, ALL, FL_OF | AF | CF), \
}
static const struct opcode grp2_c0[8] = GROUP2(imm, OS_B, IMM_B, tr_copy);
static const struct opcode grp2_c1[8] = GROUP2(imm, OS_V, IMM_B, tr_copy);
static const struct opcode grp2_d0[8] = GROUP2(1, OS_B, IMM_NONE, tr_copy);
static const struct opcode grp2_d1[8] = GROUP2(1, OS_V, IMM_NONE, tr_copy);
static const struct opcode grp2_d2[8] =
    GROUP2(cl, OS_B, IMM_NONE, tr_shift_cl);
static const struct opcode grp2_d3[8] =
    GROUP2(cl, OS_V, IMM_NONE, tr_shift_cl);

#define GROUP3(size, imm) {						\
	[0] = { N("test"), V(insn_test_rm_imm), .o_size = (size),	\
	    .o_imm = (imm), RULES(M), .o_rm = CLASS_##size | R_READ,	\
	    COPY, FLAGS(0, ALL, AF) },					\
	[1] = { N("test"), V(insn_test_rm_imm), .o_size = (size),	\
	    .o_imm = (imm), RULES(M), .o_rm = CLASS_##size | R_READ,	\
	    COPY, FLAGS(0, ALL, AF) },					\
	[2] = { N("not"), V(insn_not), .o_size = (size),		\
	    RULES(M | O_LOCK), .o_rm = CLASS_##size | R_RW, COPY },	\
	[3] = { N("neg"), V(insn_neg), .o_size = (size),		\
	    RULES(M | O_LOCK), .o_rm = CLASS_##size | R_RW,		\
	    COPY, FLAGS(0, ALL, 0) },					\
	[4] = { N("mul"), V(insn_mul), .o_size = (size),		\
	    RULES(M), .o_rm = CLASS_##size | R_READ,			\
	    COPY, FLAGS(0, ALL, FL_SF | ZF | AF | FL_PF) },		\
	[5] = { N("imul"), V(insn_imul), .o_size = (size),		\
	    RULES(M), .o_rm = CLASS_##size | R_READ,			\
	    COPY, FLAGS(0, ALL, FL_SF | ZF | AF | FL_PF) },		\
	[6] = { N("div"), V(insn_div), .o_size = (size),		\
	    RULES(M), .o_rm = CLASS_##size | R_READ,			\
	    COPY, FLAGS(ALL, ALL, ALL) },				\
	[7] = { N("idiv"), V(insn_idiv), .o_size = (size),		\
	    RULES(M), .o_rm = CLASS_##size | R_READ,			\
	    COPY, FLAGS(ALL, ALL, ALL) },				\
}
static const struct opcode grp3_f6[8] = GROUP3(OS_B, IMM_BS);
static const struct opcode grp3_f7[8] = GROUP3(OS_V, IMM_Z);

/* INC and DEC keep CF. */
static const struct opcode grp4[8] = {
	[0] = { N("inc"), V(insn_inc), .o_size = OS_B, RULES(M | O_LOCK),
	    .o_rm = B(R_RW), COPY, FLAGS(0, ALL & ~CF, 0) },
	[1] = { N("dec"), V(insn_dec), .o_size = OS_B, RULES(M | O_LOCK),
	    .o_rm = B(R_RW), COPY, FLAGS(0, ALL & ~CF, 0) },
};
static const struct opcode grp5[8] = {
	[0] = { N("inc"), V(insn_inc), RULES(M | O_LOCK),
	    .o_rm = G(R_RW), COPY, FLAGS(0, ALL & ~CF, 0) },
	[1] = { N("dec"), V(insn_dec), RULES(M | O_LOCK),
	    .o_rm = G(R_RW), COPY, FLAGS(0, ALL & ~CF, 0) },
	[2] = { N("call"), X(insn_call_rm), .o_size = OS_BRANCH,
	    RULES(M | O_END), T(tr_call_rm) },
	[3] = { N("call far"), X(insn_call_far_mem), .o_size = OS_FAR,
	    RULES(M | O_MEM | O_END) },
	[4] = { N("jmp"), X(insn_jmp_rm), .o_size = OS_BRANCH,
	    RULES(M | O_END), T(tr_jmp_rm) },
	[5] = { N("jmp far"), X(insn_jmp_far_mem), .o_size = OS_FAR,
	    RULES(M | O_MEM | O_END) },
	[6] = { N("push"), X(insn_push_rm), .o_size = OS_D64, RULES(M),
	    T(tr_push_rm) },
};

static const struct opcode grp11_c6[8] = {
	[0] = { N("mov"), V(insn_mov_rm_imm), .o_size = OS_B, .o_imm = IMM_BS,
	    RULES(M), .o_rm = B(R_WRITE), COPY },
};
static const struct opcode grp11_c7[8] = {
	[0] = { N("mov"), V(insn_mov_rm_imm), .o_imm = IMM_Z, RULES(M),
	    .o_rm = G(R_WRITE), COPY },
};

static const struct opcode mode_63[2] = {
	{ N("arpl"), X(insn_arpl), .o_size = OS_W, RULES(M | O_PROT),
	    FLAGS(ALL, ZF, 0) },
	{ N("movsxd"), V(insn_movsxd), RULES(M), .o_msize = 4,
	    OPS(G(R_WRITE), G(R_READ)) },
};
/* Early 64-bit CPUs lacked these in 64-bit code. */
#define SAHF(feat)							\
	{ N("sahf"), X(insn_sahf), .o_feature = (feat), COPY,		\
	    FLAGS(0, ALL & ~FL_OF, 0) }
#define LAHF(feat)							\
	{ N("lahf"), X(insn_lahf), .o_feature = (feat), COPY,		\
	    FLAGS(ALL, 0, 0) }
static const struct opcode mode_9e[2] = { SAHF(FEAT_NONE), SAHF(FEAT_LAHF64) };
static const struct opcode mode_9f[2] = { LAHF(FEAT_NONE), LAHF(FEAT_LAHF64) };
/* Segment registers; CS cannot be loaded. */
#define MOV_FROM { N("mov"), X(insn_mov_rm_sreg), RULES(M | O_REX_R),	\
		    T(tr_mov_sreg) }
static const struct opcode sreg_8c[8] = {
	MOV_FROM, MOV_FROM, MOV_FROM, MOV_FROM, MOV_FROM, MOV_FROM,
};
#define MOV_TO	{ N("mov"), X(insn_mov_sreg_rm), .o_size = OS_W,	\
		    RULES(M | O_REX_R | O_END) }
static const struct opcode sreg_8e[8] = {
	MOV_TO, [2] = MOV_TO, MOV_TO, MOV_TO, MOV_TO,
};

/* 90 exchanges rAX with itself, which does nothing: NOP, and PAUSE with F3.
 * With REX.B it is XCHG, F3 or not. */
#define XCHG_A	.o_rm = G(R_RW), T(tr_xchg_a)
static const struct opcode pfx_90[4] = {
	[PFX_NONE] = { N("xchg"), V(insn_xchg_a_r), XCHG_A },
	[PFX_66] = { N("xchg"), V(insn_xchg_a_r), XCHG_A },
	[PFX_F3] = { N("pause"), V(insn_xchg_a_r), XCHG_A },
	[PFX_F2] = { N("xchg"), V(insn_xchg_a_r), XCHG_A },
};

#define JCC(at, cc, in)							\
	[at] = { N("j" #cc), X(insn_j##cc), .o_size = OS_BRANCH,	\
	    .o_imm = IMM_RELB, RULES(O_END), FLAGS(in, 0, 0), T(tr_jcc) }
#define INC_R(at)							\
	[at] = { N("inc"), V(insn_inc), RULES(O_NO64), .o_rm = G(R_RW),	\
	    COPY, FLAGS(0, ALL & ~CF, 0) }
#define DEC_R(at)							\
	[at] = { N("dec"), V(insn_dec), RULES(O_NO64), .o_rm = G(R_RW),	\
	    COPY, FLAGS(0, ALL & ~CF, 0) }
#define PUSH_R(at)							\
	[at] = { N("push"), V(insn_push_r), .o_size = OS_D64,		\
	    T(tr_push_r) }
#define POP_R(at)							\
	[at] = { N("pop"), V(insn_pop_r), .o_size = OS_D64,		\
	    T(tr_pop_r) }
#define XCHG_R(at)							\
	[at] = { N("xchg"), V(insn_xchg_a_r), XCHG_A }
#define MOV_R_IB(at)							\
	[at] = { N("mov"), V(insn_mov_r_imm), .o_size = OS_B,		\
	    .o_imm = IMM_BS, .o_rm = B(R_WRITE), COPY }
#define MOV_R_IV(at)							\
	[at] = { N("mov"), V(insn_mov_r_imm), .o_imm = IMM_V,		\
	    .o_rm = G(R_WRITE), COPY }
#define PUSH_SREG(at)							\
	[at] = { N("push"), X(insn_push_sreg), RULES(O_NO64) }
#define POP_SREG(at)							\
	[at] = { N("pop"), X(insn_pop_sreg), RULES(O_NO64 | O_END) }

const struct opcode optab_onebyte[256] = {
	ALU(0x00, add), PUSH_SREG(0x06), POP_SREG(0x07),
	ALU(0x08, or), PUSH_SREG(0x0e),
	ALU(0x10, adc), PUSH_SREG(0x16), POP_SREG(0x17),
	ALU(0x18, sbb), PUSH_SREG(0x1e), POP_SREG(0x1f),
	ALU(0x20, and),
	[0x27] = { N("daa"), X(insn_daa), RULES(O_NO64),
	    FLAGS(CF | AF, ALL, FL_OF) },
	ALU(0x28, sub),
	[0x2f] = { N("das"), X(insn_das), RULES(O_NO64),
	    FLAGS(CF | AF, ALL, FL_OF) },
	ALU(0x30, xor),
	[0x37] = { N("aaa"), X(insn_aaa), RULES(O_NO64),
	    FLAGS(AF, ALL, FL_OF | FL_SF | ZF | FL_PF) },
	ALU(0x38, cmp),
	[0x3f] = { N("aas"), X(insn_aas), RULES(O_NO64),
	    FLAGS(AF, ALL, FL_OF | FL_SF | ZF | FL_PF) },

	/* 40-4F are REX in 64-bit code and do not get here. */
	INC_R(0x40), INC_R(0x41), INC_R(0x42), INC_R(0x43),
	INC_R(0x44), INC_R(0x45), INC_R(0x46), INC_R(0x47),
	DEC_R(0x48), DEC_R(0x49), DEC_R(0x4a), DEC_R(0x4b),
	DEC_R(0x4c), DEC_R(0x4d), DEC_R(0x4e), DEC_R(0x4f),
	PUSH_R(0x50), PUSH_R(0x51), PUSH_R(0x52), PUSH_R(0x53),
	PUSH_R(0x54), PUSH_R(0x55), PUSH_R(0x56), PUSH_R(0x57),
	POP_R(0x58), POP_R(0x59), POP_R(0x5a), POP_R(0x5b),
	POP_R(0x5c), POP_R(0x5d), POP_R(0x5e), POP_R(0x5f),

	[0x60] = { N("pusha"), X(insn_pusha), RULES(O_NO64) },
	[0x61] = { N("popa"), X(insn_popa), RULES(O_NO64) },
	[0x62] = { N("bound"), X(insn_bound), RULES(M | O_MEM | O_NO64) },
	[0x63] = BY(MODE, mode_63),
	[0x68] = { N("push"), X(insn_push_imm), .o_size = OS_D64,
	    .o_imm = IMM_Z, T(tr_push_imm) },
	[0x69] = { N("imul"), V(insn_imul_r_rm_imm), .o_imm = IMM_Z, RULES(M),
	    OPS(G(R_WRITE), G(R_READ)),
	    FLAGS(0, ALL, FL_SF | ZF | AF | FL_PF) },
	[0x6a] = { N("push"), X(insn_push_imm), .o_size = OS_D64,
	    .o_imm = IMM_BS, T(tr_push_imm) },
	[0x6b] = { N("imul"), V(insn_imul_r_rm_imm), .o_imm = IMM_BS, RULES(M),
	    OPS(G(R_WRITE), G(R_READ)),
	    FLAGS(0, ALL, FL_SF | ZF | AF | FL_PF) },
	[0x6c] = { N("ins"), X(insn_ins), .o_size = OS_B,
	    RULES(O_STRING | O_IO) },
	[0x6d] = { N("ins"), X(insn_ins), .o_size = OS_Z,
	    RULES(O_STRING | O_IO) },
	[0x6e] = { N("outs"), X(insn_outs), .o_size = OS_B,
	    RULES(O_STRING | O_IO) },
	[0x6f] = { N("outs"), X(insn_outs), .o_size = OS_Z,
	    RULES(O_STRING | O_IO) },

	JCC(0x70, o, FL_OF), JCC(0x71, no, FL_OF),
	JCC(0x72, b, CF), JCC(0x73, ae, CF),
	JCC(0x74, e, ZF), JCC(0x75, ne, ZF),
	JCC(0x76, be, CF | ZF), JCC(0x77, a, CF | ZF),
	JCC(0x78, s, FL_SF), JCC(0x79, ns, FL_SF),
	JCC(0x7a, p, FL_PF), JCC(0x7b, np, FL_PF),
	JCC(0x7c, l, FL_SF | FL_OF), JCC(0x7d, ge, FL_SF | FL_OF),
	JCC(0x7e, le, ZF | FL_SF | FL_OF), JCC(0x7f, g, ZF | FL_SF | FL_OF),

	[0x80] = BY(REG, grp1_80), [0x81] = BY(REG, grp1_81),
	[0x82] = BY(REG, grp1_82), [0x83] = BY(REG, grp1_83),
	[0x84] = { N("test"), V(insn_test_rm_r), .o_size = OS_B, RULES(M),
	    OPS(B(R_READ), B(R_READ)), FLAGS(0, ALL, AF) },
	[0x85] = { N("test"), V(insn_test_rm_r), RULES(M),
	    OPS(G(R_READ), G(R_READ)), FLAGS(0, ALL, AF) },
	[0x86] = { N("xchg"), V(insn_xchg_rm_r), .o_size = OS_B,
	    RULES(M | O_LOCK), OPS(B(R_RW), B(R_RW)) },
	[0x87] = { N("xchg"), V(insn_xchg_rm_r), RULES(M | O_LOCK),
	    OPS(G(R_RW), G(R_RW)) },
	[0x88] = { N("mov"), V(insn_mov_rm_r), .o_size = OS_B, RULES(M),
	    OPS(B(R_READ), B(R_WRITE)) },
	[0x89] = { N("mov"), V(insn_mov_rm_r), RULES(M),
	    OPS(G(R_READ), G(R_WRITE)) },
	[0x8a] = { N("mov"), V(insn_mov_r_rm), .o_size = OS_B, RULES(M),
	    OPS(B(R_WRITE), B(R_READ)) },
	[0x8b] = { N("mov"), V(insn_mov_r_rm), RULES(M),
	    OPS(G(R_WRITE), G(R_READ)) },
	[0x8c] = BY(REG, sreg_8c),
	[0x8d] = { N("lea"), V(insn_lea), RULES(M | O_MEM), T(tr_lea) },
	[0x8e] = BY(REG, sreg_8e),
	[0x8f] = BY(REG, grp1a),

	[0x90] = BY(PREFIX, pfx_90),
	XCHG_R(0x91), XCHG_R(0x92), XCHG_R(0x93),
	XCHG_R(0x94), XCHG_R(0x95), XCHG_R(0x96), XCHG_R(0x97),
	[0x98] = { N("cbw"), V(insn_cbw), COPY },
	[0x99] = { N("cwd"), V(insn_cwd), COPY },
	[0x9a] = { N("call far"), X(insn_call_far), .o_imm = IMM_FAR,
	    RULES(O_NO64 | O_END) },
	[0x9c] = { N("pushf"), X(insn_pushf), .o_size = OS_D64,
	    FLAGS(ALL, 0, 0),
	    T(tr_sys) },
	[0x9d] = { N("popf"), X(insn_popf), .o_size = OS_D64, RULES(O_END),
	    FLAGS(0, ALL, 0) },
	[0x9e] = BY(MODE, mode_9e),
	[0x9f] = BY(MODE, mode_9f),

	[0xa0] = { N("mov"), V(insn_mov_a_moffs), .o_size = OS_B,
	    .o_imm = IMM_MOFFS, T(tr_moffs) },
	[0xa1] = { N("mov"), V(insn_mov_a_moffs), .o_imm = IMM_MOFFS,
	    T(tr_moffs) },
	[0xa2] = { N("mov"), V(insn_mov_moffs_a), .o_size = OS_B,
	    .o_imm = IMM_MOFFS, T(tr_moffs) },
	[0xa3] = { N("mov"), V(insn_mov_moffs_a), .o_imm = IMM_MOFFS,
	    T(tr_moffs) },
	[0xa4] = { N("movs"), V(insn_movs), .o_size = OS_B, RULES(O_STRING),
	    T(tr_string) },
	[0xa5] = { N("movs"), V(insn_movs), RULES(O_STRING),
	    T(tr_string) },
	[0xa6] = { N("cmps"), V(insn_cmps), .o_size = OS_B, RULES(O_STRING),
	    T(tr_string), FLAGS(ALL, ALL, 0) },
	[0xa7] = { N("cmps"), V(insn_cmps), RULES(O_STRING),
	    T(tr_string), FLAGS(ALL, ALL, 0) },
	[0xa8] = { N("test"), V(insn_test_a_imm), .o_size = OS_B,
	    .o_imm = IMM_BS, COPY, FLAGS(0, ALL, AF) },
	[0xa9] = { N("test"), V(insn_test_a_imm), .o_imm = IMM_Z,
	    COPY, FLAGS(0, ALL, AF) },
	[0xaa] = { N("stos"), V(insn_stos), .o_size = OS_B, RULES(O_STRING),
	    T(tr_string) },
	[0xab] = { N("stos"), V(insn_stos), RULES(O_STRING),
	    T(tr_string) },
	[0xac] = { N("lods"), V(insn_lods), .o_size = OS_B, RULES(O_STRING),
	    T(tr_string) },
	[0xad] = { N("lods"), V(insn_lods), RULES(O_STRING),
	    T(tr_string) },
	[0xae] = { N("scas"), V(insn_scas), .o_size = OS_B, RULES(O_STRING),
	    T(tr_string), FLAGS(ALL, ALL, 0) },
	[0xaf] = { N("scas"), V(insn_scas), RULES(O_STRING),
	    T(tr_string), FLAGS(ALL, ALL, 0) },

	MOV_R_IB(0xb0), MOV_R_IB(0xb1), MOV_R_IB(0xb2), MOV_R_IB(0xb3),
	MOV_R_IB(0xb4), MOV_R_IB(0xb5), MOV_R_IB(0xb6), MOV_R_IB(0xb7),
	MOV_R_IV(0xb8), MOV_R_IV(0xb9), MOV_R_IV(0xba), MOV_R_IV(0xbb),
	MOV_R_IV(0xbc), MOV_R_IV(0xbd), MOV_R_IV(0xbe), MOV_R_IV(0xbf),

	[0xc0] = BY(REG, grp2_c0), [0xc1] = BY(REG, grp2_c1),
	[0xc2] = { N("ret"), X(insn_ret), .o_size = OS_BRANCH,
	    .o_imm = IMM_W, RULES(O_END), T(tr_ret) },
	[0xc3] = { N("ret"), X(insn_ret), .o_size = OS_BRANCH, RULES(O_END),
	    T(tr_ret) },
	[0xc4] = { N("les"), X(insn_les), RULES(M | O_MEM | O_NO64 | O_END) },
	[0xc5] = { N("lds"), X(insn_lds), RULES(M | O_MEM | O_NO64 | O_END) },
	[0xc6] = BY(REG, grp11_c6), [0xc7] = BY(REG, grp11_c7),
	[0xc8] = { N("enter"), X(insn_enter), .o_size = OS_D64,
	    .o_imm = IMM_WB },
	[0xc9] = { N("leave"), X(insn_leave), .o_size = OS_D64, T(tr_leave) },
	[0xca] = { N("retf"), X(insn_ret_far), .o_imm = IMM_W, RULES(O_END) },
	[0xcb] = { N("retf"), X(insn_ret_far), RULES(O_END) },
	[0xcc] = { N("int3"), X(insn_int3), RULES(O_END) },
	[0xcd] = { N("int"), X(insn_int), .o_imm = IMM_B, RULES(O_END) },
	[0xce] = { N("into"), X(insn_into), RULES(O_NO64 | O_END),
	    FLAGS(FL_OF, 0, 0) },
	[0xcf] = { N("iret"), X(insn_iret), RULES(O_END), FLAGS(0, ALL, 0),
	    T(tr_sys) },

	[0xd0] = BY(REG, grp2_d0), [0xd1] = BY(REG, grp2_d1),
	[0xd2] = BY(REG, grp2_d2), [0xd3] = BY(REG, grp2_d3),
	[0xd4] = { N("aam"), X(insn_aam), .o_imm = IMM_B, RULES(O_NO64),
	    FLAGS(0, ALL, FL_OF | AF | CF) },
	[0xd5] = { N("aad"), X(insn_aad), .o_imm = IMM_B, RULES(O_NO64),
	    FLAGS(0, ALL, FL_OF | AF | CF) },
	[0xd6] = { N("salc"), X(insn_salc), RULES(O_NO64), FLAGS(CF, 0, 0) },
	[0xd7] = { N("xlat"), X(insn_xlat), .o_size = OS_B },

	[0xe0] = { N("loopne"), X(insn_loopne), .o_size = OS_BRANCH,
	    .o_imm = IMM_RELB, RULES(O_END), FLAGS(ZF, 0, 0), T(tr_loop) },
	[0xe1] = { N("loope"), X(insn_loope), .o_size = OS_BRANCH,
	    .o_imm = IMM_RELB, RULES(O_END), FLAGS(ZF, 0, 0), T(tr_loop) },
	[0xe2] = { N("loop"), X(insn_loop), .o_size = OS_BRANCH,
	    .o_imm = IMM_RELB, RULES(O_END), T(tr_loop) },
	[0xe3] = { N("jcxz"), X(insn_jcxz), .o_size = OS_BRANCH,
	    .o_imm = IMM_RELB, RULES(O_END), T(tr_jcxz) },
	[0xe4] = { N("in"), X(insn_in), .o_size = OS_B, .o_imm = IMM_B,
	    RULES(O_IO) },
	[0xe5] = { N("in"), X(insn_in), .o_size = OS_Z, .o_imm = IMM_B,
	    RULES(O_IO) },
	[0xe6] = { N("out"), X(insn_out), .o_size = OS_B, .o_imm = IMM_B,
	    RULES(O_IO) },
	[0xe7] = { N("out"), X(insn_out), .o_size = OS_Z, .o_imm = IMM_B,
	    RULES(O_IO) },
	[0xe8] = { N("call"), X(insn_call_rel), .o_size = OS_BRANCH,
	    .o_imm = IMM_RELZ, RULES(O_END), T(tr_call) },
	[0xe9] = { N("jmp"), X(insn_jmp_rel), .o_size = OS_BRANCH,
	    .o_imm = IMM_RELZ, RULES(O_END), T(tr_jmp) },
	[0xea] = { N("jmp far"), X(insn_jmp_far), .o_imm = IMM_FAR,
	    RULES(O_NO64 | O_END) },
	[0xeb] = { N("jmp"), X(insn_jmp_rel), .o_size = OS_BRANCH,
	    .o_imm = IMM_RELB, RULES(O_END), T(tr_jmp) },
	[0xec] = { N("in"), X(insn_in_dx), .o_size = OS_B, RULES(O_IO) },
	[0xed] = { N("in"), X(insn_in_dx), .o_size = OS_Z, RULES(O_IO) },
	[0xee] = { N("out"), X(insn_out_dx), .o_size = OS_B, RULES(O_IO) },
	[0xef] = { N("out"), X(insn_out_dx), .o_size = OS_Z, RULES(O_IO) },

	[0xf1] = { N("int1"), X(insn_int1), RULES(O_END) },
	[0xf4] = { N("hlt"), X(insn_hlt), RULES(O_END) },
	[0xf5] = { N("cmc"), X(insn_cmc), COPY, FLAGS(CF, CF, 0) },
	[0xf6] = BY(REG, grp3_f6), [0xf7] = BY(REG, grp3_f7),
	[0xf8] = { N("clc"), X(insn_clc), COPY, FLAGS(0, CF, 0) },
	[0xf9] = { N("stc"), X(insn_stc), COPY, FLAGS(0, CF, 0) },
	[0xfa] = { N("cli"), X(insn_cli), RULES(O_END),
	    T(tr_sys) },
	[0xfb] = { N("sti"), X(insn_sti), RULES(O_END),
	    T(tr_sys) },
	[0xfc] = { N("cld"), X(insn_cld), T(tr_sys) },
	[0xfd] = { N("std"), X(insn_std) },
	[0xfe] = BY(REG, grp4), [0xff] = BY(REG, grp5),
};
