/*
 * The two-byte opcodes, 0F xx (SDM vol. 2D, table A-3), but for vectors and
 * EMMS, which are in optab_simd_0f.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"

#define M	O_MODRM
#define CF	FL_CF
#define ZF	FL_ZF
#define AF	FL_AF
#define ALL	FL_ARITH

/* How a row is copied by the translator: what is done to reg, to r/m. */
#define COPY	T(tr_copy)
#define B(what)	(R_BYTE | (what))
#define G(what)	(R_GPR | (what))
#define OPS(reg, rm)	.o_reg = (reg), .o_rm = (rm), COPY

/* Group 6 */
static const struct opcode grp6[8] = {
	[0] = { N("sldt"), X(insn_sldt), RULES(M | O_PROT) },
	[1] = { N("str"), X(insn_str), RULES(M | O_PROT) },
	[2] = { N("lldt"), X(insn_lldt), .o_size = OS_W, RULES(M | O_PROT) },
	[3] = { N("ltr"), X(insn_ltr), .o_size = OS_W, RULES(M | O_PROT) },
	[4] = { N("verr"), X(insn_verr), .o_size = OS_W, RULES(M | O_PROT),
	    FLAGS(ALL, ZF, 0) },
	[5] = { N("verw"), X(insn_verw), .o_size = OS_W, RULES(M | O_PROT),
	    FLAGS(ALL, ZF, 0) },
};

/* Group 7: memory forms, then what mod 3 makes of them. */
static const struct opcode grp7_mem[8] = {
	[0] = { N("sgdt"), X(insn_sgdt), .o_size = OS_MODE, RULES(M) },
	[1] = { N("sidt"), X(insn_sidt), .o_size = OS_MODE, RULES(M) },
	[2] = { N("lgdt"), X(insn_lgdt), .o_size = OS_F64, RULES(M) },
	[3] = { N("lidt"), X(insn_lidt), .o_size = OS_F64, RULES(M) },
	[4] = { N("smsw"), X(insn_smsw), RULES(M) },
	[6] = { N("lmsw"), X(insn_lmsw), .o_size = OS_W, RULES(M | O_END) },
	[7] = { N("invlpg"), X(insn_invlpg), .o_size = OS_B,
	    RULES(M | O_END) },
};
static const struct opcode grp7_xgetbv[4] = {
	[PFX_NONE] = { N("xgetbv"), X(insn_xgetbv), .o_feature = FEAT_XSAVE,
	    RULES(M) },
};
static const struct opcode grp7_xsetbv[4] = {
	[PFX_NONE] = { N("xsetbv"), X(insn_xsetbv), .o_feature = FEAT_XSAVE,
	    RULES(M | O_END) },
};
static const struct opcode grp7_clac[4] = {
	[PFX_NONE] = { N("clac"), X(insn_clac), .o_feature = FEAT_SMAP,
	    RULES(M | O_END),
	    T(tr_sys) },
};
static const struct opcode grp7_stac[4] = {
	[PFX_NONE] = { N("stac"), X(insn_stac), .o_feature = FEAT_SMAP,
	    RULES(M | O_END),
	    T(tr_sys) },
};
static const struct opcode grp7_reg1[8] = {
	[2] = BY(PREFIX, grp7_clac), [3] = BY(PREFIX, grp7_stac),
};
static const struct opcode grp7_reg2[8] = {
	[0] = BY(PREFIX, grp7_xgetbv), [1] = BY(PREFIX, grp7_xsetbv),
};
static const struct opcode grp7_reg7[8] = {
	[0] = { N("swapgs"), X(insn_swapgs), RULES(M | O_ONLY64),
	    T(tr_sys) },
	[1] = { N("rdtscp"), X(insn_rdtscp), .o_feature = FEAT_RDTSCP,
	    RULES(M),
	    T(tr_sys) },
};
static const struct opcode grp7_reg[8] = {
	[1] = BY(RM, grp7_reg1),
	[2] = BY(RM, grp7_reg2),
	[4] = { N("smsw"), X(insn_smsw), RULES(M) },
	[6] = { N("lmsw"), X(insn_lmsw), .o_size = OS_W, RULES(M | O_END) },
	[7] = BY(RM, grp7_reg7),
};
static const struct opcode grp7[2] = {
	BY(REG, grp7_mem), BY(REG, grp7_reg),
};

/* Group 8: BT family with an immediate. */
#define BT(at, nm, rw, lock)						\
	[at] = { N(#nm), V(insn_##nm##_imm), .o_imm = IMM_B,		\
	    RULES(M | (lock)), .o_rm = G(rw), COPY,			\
	    FLAGS(ALL, ALL & ~ZF, ALL & ~(ZF | CF)) }
static const struct opcode grp8[8] = {
	BT(4, bt, R_READ, 0), BT(5, bts, R_RW, O_LOCK),
	BT(6, btr, R_RW, O_LOCK), BT(7, btc, R_RW, O_LOCK),
};

/* Group 9 */
static const struct opcode cmpxchg8b[2] = {
	{ N("cmpxchg8b"), X(insn_cmpxchg8b), .o_size = OS_Q,
	    RULES(M | O_LOCK), .o_msize = 8, T(tr_cmpxchg), FLAGS(ALL, ZF, 0) },
	{ N("cmpxchg16b"), X(insn_cmpxchg16b), .o_size = OS_Q,
	    .o_feature = FEAT_CX16, RULES(M | O_LOCK | O_ALIGN), .o_msize = 16,
	    T(tr_cmpxchg), FLAGS(ALL, ZF, 0) },
};
static const struct opcode grp9_xrstors[4] = {
	[PFX_NONE] = { N("xrstors"), X(insn_xrstors), .o_size = OS_Y,
	    .o_feature = FEAT_XSAVES, RULES(M) },
};
static const struct opcode grp9_xsavec[4] = {
	[PFX_NONE] = { N("xsavec"), X(insn_xsavec), .o_size = OS_Y,
	    .o_feature = FEAT_XSAVEC, RULES(M) },
};
static const struct opcode grp9_xsaves[4] = {
	[PFX_NONE] = { N("xsaves"), X(insn_xsaves), .o_size = OS_Y,
	    .o_feature = FEAT_XSAVES, RULES(M) },
};
static const struct opcode grp9_mem[8] = {
	[1] = BY(W, cmpxchg8b),
	[3] = BY(PREFIX, grp9_xrstors),
	[4] = BY(PREFIX, grp9_xsavec),
	[5] = BY(PREFIX, grp9_xsaves),
};
#define RDRAND	{ N("rdrand"), V(insn_rdrand), .o_feature = FEAT_RDRAND, \
		    RULES(M), .o_rm = G(R_WRITE), COPY, FLAGS(0, ALL, 0) }
#define RDSEED	{ N("rdseed"), V(insn_rdseed), .o_feature = FEAT_RDSEED, \
		    RULES(M), .o_rm = G(R_WRITE), COPY, FLAGS(0, ALL, 0) }
static const struct opcode grp9_rdrand[4] = {
	[PFX_NONE] = RDRAND, [PFX_66] = RDRAND,
};
static const struct opcode grp9_rdseed[4] = {
	[PFX_NONE] = RDSEED, [PFX_66] = RDSEED,
	[PFX_F3] = { N("rdpid"), X(insn_rdpid), .o_size = OS_MODE,
	    .o_feature = FEAT_RDPID, RULES(M) },
};
static const struct opcode grp9_reg[8] = {
	[6] = BY(PREFIX, grp9_rdrand),
	[7] = BY(PREFIX, grp9_rdseed),
};
static const struct opcode grp9[2] = {
	BY(REG, grp9_mem), BY(REG, grp9_reg),
};

/* Group 15 */
#define XS(nm, feat)							\
	{ N(#nm), X(insn_##nm), .o_size = OS_Y, .o_feature = (feat), RULES(M) }
static const struct opcode grp15_fxsave[4] = { XS(fxsave, FEAT_NONE) };
static const struct opcode grp15_fxrstor[4] = { XS(fxrstor, FEAT_NONE) };
static const struct opcode grp15_ldmxcsr[4] = {
	{ N("ldmxcsr"), X(insn_ldmxcsr), T(tr_mxcsr), .o_size = OS_D,
	    RULES(M) },
};
static const struct opcode grp15_stmxcsr[4] = {
	{ N("stmxcsr"), X(insn_stmxcsr), T(tr_mxcsr), .o_size = OS_D,
	    RULES(M) },
};
static const struct opcode grp15_xsave[4] = { XS(xsave, FEAT_XSAVE) };
static const struct opcode grp15_xrstor[4] = { XS(xrstor, FEAT_XSAVE) };
static const struct opcode grp15_xsaveopt[4] = {
	[PFX_NONE] = XS(xsaveopt, FEAT_XSAVEOPT),
	[PFX_66] = { N("clwb"), X(insn_clflush), .o_size = OS_B,
	    .o_feature = FEAT_CLWB, RULES(M) },
};
static const struct opcode grp15_clflush[4] = {
	[PFX_NONE] = { N("clflush"), X(insn_clflush), .o_size = OS_B,
	    RULES(M) },
	[PFX_66] = { N("clflushopt"), X(insn_clflush), .o_size = OS_B,
	    .o_feature = FEAT_CLFLUSHOPT, RULES(M) },
};
static const struct opcode grp15_mem[8] = {
	BY(PREFIX, grp15_fxsave), BY(PREFIX, grp15_fxrstor),
	BY(PREFIX, grp15_ldmxcsr), BY(PREFIX, grp15_stmxcsr),
	BY(PREFIX, grp15_xsave), BY(PREFIX, grp15_xrstor),
	BY(PREFIX, grp15_xsaveopt), BY(PREFIX, grp15_clflush),
};
#define FSGS(nm)							\
	{ [PFX_F3] = { N(#nm), X(insn_##nm), .o_size = OS_Y,		\
	    .o_feature = FEAT_FSGSBASE, RULES(M | O_ONLY64) } }
static const struct opcode grp15_rdfsbase[4] = FSGS(rdfsbase);
static const struct opcode grp15_rdgsbase[4] = FSGS(rdgsbase);
static const struct opcode grp15_wrfsbase[4] = FSGS(wrfsbase);
static const struct opcode grp15_wrgsbase[4] = FSGS(wrgsbase);
static const struct opcode grp15_lfence[4] = {
	{ N("lfence"), X(insn_nop), RULES(M), T(tr_nop) },
};
static const struct opcode grp15_mfence[4] = {
	{ N("mfence"), X(insn_fence), RULES(M), T(tr_nop) },
};
static const struct opcode grp15_sfence[4] = {
	{ N("sfence"), X(insn_fence), RULES(M), T(tr_nop) },
};
static const struct opcode grp15_reg[8] = {
	BY(PREFIX, grp15_rdfsbase), BY(PREFIX, grp15_rdgsbase),
	BY(PREFIX, grp15_wrfsbase), BY(PREFIX, grp15_wrgsbase),
	[5] = BY(PREFIX, grp15_lfence), BY(PREFIX, grp15_mfence),
	BY(PREFIX, grp15_sfence),
};
static const struct opcode grp15[2] = {
	BY(REG, grp15_mem), BY(REG, grp15_reg),
};

/* The bit counts: F3 makes another instruction, or none if not offered. */
#define BSX(nm)		{ N(#nm), V(insn_##nm), RULES(M),		\
			    OPS(G(R_RW), G(R_READ)),			\
			    FLAGS(ALL, ALL, ALL & ~ZF) }
#define XZCNT(nm, feat)	{ N(#nm), V(insn_##nm), .o_feature = (feat),	\
			    RULES(M | O_FALLBACK),			\
			    OPS(G(R_WRITE), G(R_READ)), FLAGS(0, ALL,	\
			    FL_OF | FL_SF | FL_PF | AF) }
static const struct opcode pfx_b8[4] = {
	[PFX_F3] = { N("popcnt"), V(insn_popcnt), .o_feature = FEAT_POPCNT,
	    RULES(M), OPS(G(R_WRITE), G(R_READ)), FLAGS(0, ALL, 0) },
};
static const struct opcode pfx_bc[4] = {
	[PFX_NONE] = BSX(bsf), [PFX_66] = BSX(bsf),
	[PFX_F3] = XZCNT(tzcnt, FEAT_BMI1), [PFX_F2] = BSX(bsf),
};
static const struct opcode pfx_bd[4] = {
	[PFX_NONE] = BSX(bsr), [PFX_66] = BSX(bsr),
	[PFX_F3] = XZCNT(lzcnt, FEAT_LZCNT), [PFX_F2] = BSX(bsr),
};
static const struct opcode pfx_c3[4] = {
	[PFX_NONE] = { N("movnti"), V(insn_mov_rm_r), .o_size = OS_Y,
	    RULES(M | O_MEM), OPS(G(R_READ), G(R_WRITE)) },
};

/* Moves to and from control and debug registers: always registers. */
#define CRDR	(M | O_MODREG)

#define NOP(at)								\
	[at] = { N("nop"), X(insn_nop), RULES(M), T(tr_nop) }
#define CMOV(at, cc, in)						\
	[at] = { N("cmov" #cc), V(insn_cmov##cc), RULES(M),		\
	    OPS(G(R_RW), G(R_READ)), FLAGS(in, 0, 0) }
#define JCC(at, cc, in)							\
	[at] = { N("j" #cc), X(insn_j##cc), .o_size = OS_BRANCH,	\
	    .o_imm = IMM_RELZ, RULES(O_END), FLAGS(in, 0, 0), T(tr_jcc) }
#define SET(at, cc, in)							\
	[at] = { N("set" #cc), V(insn_set##cc), .o_size = OS_B, RULES(M), \
	    .o_rm = B(R_WRITE), COPY, FLAGS(in, 0, 0) }
#define CC16(row, at)							\
	row((at) + 0, o, FL_OF), row((at) + 1, no, FL_OF),		\
	row((at) + 2, b, CF), row((at) + 3, ae, CF),			\
	row((at) + 4, e, ZF), row((at) + 5, ne, ZF),			\
	row((at) + 6, be, CF | ZF), row((at) + 7, a, CF | ZF),		\
	row((at) + 8, s, FL_SF), row((at) + 9, ns, FL_SF),		\
	row((at) + 10, p, FL_PF), row((at) + 11, np, FL_PF),		\
	row((at) + 12, l, FL_SF | FL_OF), row((at) + 13, ge, FL_SF | FL_OF), \
	row((at) + 14, le, ZF | FL_SF | FL_OF),				\
	row((at) + 15, g, ZF | FL_SF | FL_OF)
#define BSWAP(at)							\
	[at] = { N("bswap"), V(insn_bswap), .o_rm = G(R_RW), COPY }
#define SHXD(at, nm, how, imm, rule)					\
	[at] = { N(#nm), V(insn_##nm##_##how), .o_imm = (imm), RULES(M), \
	    .o_reg = G(R_READ), .o_rm = G(R_RW), T(rule),		\
	    FLAGS(ALL, ALL, FL_OF | AF) }
#define BT_R(at, nm, rw, lock)						\
	[at] = { N(#nm), V(insn_##nm##_r), RULES(M | (lock)),		\
	    .o_reg = G(R_READ), .o_rm = G(rw), T(tr_bt),		\
	    FLAGS(ALL, ALL & ~ZF, ALL & ~(ZF | CF)) }
#define MOVX(at, nm, from, class)					\
	[at] = { N(#nm), V(insn_##nm##_##from), RULES(M),		\
	    .o_msize = (from) / 8, OPS(G(R_WRITE), class | R_READ) }

const struct opcode optab_0f[256] = {
	[0x00] = BY(REG, grp6),
	[0x01] = BY(MOD, grp7),
	[0x02] = { N("lar"), X(insn_lar), RULES(M | O_PROT),
	    FLAGS(ALL, ZF, 0) },
	[0x03] = { N("lsl"), X(insn_lsl), RULES(M | O_PROT),
	    FLAGS(ALL, ZF, 0) },
	[0x05] = { N("syscall"), X(insn_syscall), .o_feature = FEAT_SYSCALL,
	    RULES(O_END), FLAGS(ALL, ALL, 0),
	    T(tr_sys) },
	[0x06] = { N("clts"), X(insn_clts), RULES(O_END) },
	[0x07] = { N("sysret"), X(insn_sysret), .o_feature = FEAT_SYSCALL,
	    RULES(O_END), FLAGS(0, ALL, 0),
	    T(tr_sys) },
	[0x08] = { N("invd"), X(insn_wbinvd) },
	[0x09] = { N("wbinvd"), X(insn_wbinvd) },
	[0x0b] = { N("ud2"), X(insn_ud) },
	[0x0d] = { N("prefetchw"), X(insn_nop), RULES(M | O_MEM),
	    T(tr_nop) },
	NOP(0x18), NOP(0x19), NOP(0x1a), NOP(0x1b),
	NOP(0x1c), NOP(0x1d), NOP(0x1e), NOP(0x1f),
	[0x20] = { N("mov"), X(insn_mov_r_cr), .o_size = OS_MODE,
	    RULES(CRDR),
	    T(tr_sys) },
	[0x21] = { N("mov"), X(insn_mov_r_dr), .o_size = OS_MODE,
	    RULES(CRDR) },
	[0x22] = { N("mov"), X(insn_mov_cr_r), .o_size = OS_MODE,
	    RULES(CRDR | O_END) },
	[0x23] = { N("mov"), X(insn_mov_dr_r), .o_size = OS_MODE,
	    RULES(CRDR | O_END) },
	[0x30] = { N("wrmsr"), X(insn_wrmsr), RULES(O_END) },
	[0x31] = { N("rdtsc"), X(insn_rdtsc),
	    T(tr_sys) },
	[0x32] = { N("rdmsr"), X(insn_rdmsr) },
	[0x33] = { N("rdpmc"), X(insn_rdpmc) },
	[0x34] = { N("sysenter"), X(insn_sysenter), .o_feature = FEAT_SEP,
	    RULES(O_END) },
	[0x35] = { N("sysexit"), X(insn_sysexit), .o_feature = FEAT_SEP,
	    RULES(O_END) },
	CC16(CMOV, 0x40),
	CC16(JCC, 0x80),
	CC16(SET, 0x90),
	[0xa0] = { N("push"), X(insn_push_sreg), .o_size = OS_D64 },
	[0xa1] = { N("pop"), X(insn_pop_sreg), .o_size = OS_D64,
	    RULES(O_END) },
	[0xa2] = { N("cpuid"), X(insn_cpuid) },
	BT_R(0xa3, bt, R_READ, 0),
	SHXD(0xa4, shld, imm, IMM_B, tr_copy),
	SHXD(0xa5, shld, cl, IMM_NONE, tr_shift_cl),
	[0xa8] = { N("push"), X(insn_push_sreg), .o_size = OS_D64 },
	[0xa9] = { N("pop"), X(insn_pop_sreg), .o_size = OS_D64,
	    RULES(O_END) },
	BT_R(0xab, bts, R_RW, O_LOCK),
	SHXD(0xac, shrd, imm, IMM_B, tr_copy),
	SHXD(0xad, shrd, cl, IMM_NONE, tr_shift_cl),
	[0xae] = BY(MOD, grp15),
	[0xaf] = { N("imul"), V(insn_imul_r_rm), RULES(M),
	    OPS(G(R_RW), G(R_READ)), FLAGS(0, ALL, FL_SF | ZF | AF | FL_PF) },
	[0xb0] = { N("cmpxchg"), V(insn_cmpxchg), .o_size = OS_B,
	    RULES(M | O_LOCK), OPS(B(R_READ), B(R_RW)), FLAGS(0, ALL, 0) },
	[0xb1] = { N("cmpxchg"), V(insn_cmpxchg), RULES(M | O_LOCK),
	    OPS(G(R_READ), G(R_RW)), FLAGS(0, ALL, 0) },
	[0xb2] = { N("lss"), X(insn_lss), .o_size = OS_FAR,
	    RULES(M | O_MEM | O_END) },
	BT_R(0xb3, btr, R_RW, O_LOCK),
	[0xb4] = { N("lfs"), X(insn_lfs), .o_size = OS_FAR,
	    RULES(M | O_MEM | O_END) },
	[0xb5] = { N("lgs"), X(insn_lgs), .o_size = OS_FAR,
	    RULES(M | O_MEM | O_END) },
	MOVX(0xb6, movzx, 8, R_BYTE), MOVX(0xb7, movzx, 16, R_GPR),
	[0xb8] = BY(PREFIX, pfx_b8),
	[0xb9] = { N("ud1"), X(insn_ud), RULES(M) },
	[0xba] = BY(REG, grp8),
	BT_R(0xbb, btc, R_RW, O_LOCK),
	[0xbc] = BY(PREFIX, pfx_bc), [0xbd] = BY(PREFIX, pfx_bd),
	MOVX(0xbe, movsx, 8, R_BYTE), MOVX(0xbf, movsx, 16, R_GPR),
	[0xc0] = { N("xadd"), V(insn_xadd), .o_size = OS_B,
	    RULES(M | O_LOCK), OPS(B(R_RW), B(R_RW)), FLAGS(0, ALL, 0) },
	[0xc1] = { N("xadd"), V(insn_xadd), RULES(M | O_LOCK),
	    OPS(G(R_RW), G(R_RW)), FLAGS(0, ALL, 0) },
	[0xc3] = BY(PREFIX, pfx_c3),
	[0xc7] = BY(MOD, grp9),
	BSWAP(0xc8), BSWAP(0xc9), BSWAP(0xca), BSWAP(0xcb),
	BSWAP(0xcc), BSWAP(0xcd), BSWAP(0xce), BSWAP(0xcf),
	[0xff] = { N("ud0"), X(insn_ud), RULES(M) },
};
