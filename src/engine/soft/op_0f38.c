/*
 * Integer and system opcodes of the maps 0F38 and 0F3A, legacy and VEX (SDM
 * vol. 2D, tables ). Everything else there is vectors:
 * optab_simd_0f38 and so on.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"

#define M	O_MODRM
#define CF	FL_CF
#define ALL	FL_ARITH

#define GR	(R_GPR | R_READ)
#define GW	(R_GPR | R_WRITE)
#define GB	(R_GPR | R_RW)

/* Group at 0F38 F0/F1: MOVBE, and CRC32 with F2. */
#define MOVBE(fn, reg, rm)						\
	{ N("movbe"), V(fn), .o_feature = FEAT_MOVBE, RULES(M | O_MEM),	\
	    .o_reg = (reg), .o_rm = (rm), T(tr_copy) }
static const struct opcode pfx_f0[4] = {
	[PFX_NONE] = MOVBE(insn_movbe_r_m, GW, GR),
	[PFX_66] = MOVBE(insn_movbe_r_m, GW, GR),
	[PFX_F2] = { N("crc32"), V(insn_crc32), .o_size = OS_B,
	    .o_feature = FEAT_SSE42, RULES(M), .o_reg = GB,
	    .o_rm = R_BYTE | R_READ, T(tr_copy) },
};
static const struct opcode pfx_f1[4] = {
	[PFX_NONE] = MOVBE(insn_movbe_m_r, GR, GW),
	[PFX_66] = MOVBE(insn_movbe_m_r, GR, GW),
	[PFX_F2] = { N("crc32"), V(insn_crc32), .o_feature = FEAT_SSE42,
	    RULES(M), .o_reg = GB, .o_rm = GR, T(tr_copy) },
};
static const struct opcode pfx_f6[4] = {
	[PFX_66] = { N("adcx"), V(insn_adcx), .o_size = OS_Y,
	    .o_feature = FEAT_ADX, RULES(M), .o_reg = GB, .o_rm = GR,
	    T(tr_copy), FLAGS(CF, CF, 0) },
	[PFX_F3] = { N("adox"), V(insn_adox), .o_size = OS_Y,
	    .o_feature = FEAT_ADX, RULES(M), .o_reg = GB, .o_rm = GR,
	    T(tr_copy), FLAGS(FL_OF, FL_OF, 0) },
};
static const struct opcode pfx_82[4] = {
	[PFX_66] = { N("invpcid"), X(insn_invpcid), .o_size = OS_MODE,
	    .o_feature = FEAT_INVPCID, RULES(M | O_MEM | O_END),
	    .o_msize = 16 },
};

const struct opcode optab_0f38[256] = {
	[0x82] = BY(PREFIX, pfx_82),
	[0xf0] = BY(PREFIX, pfx_f0),
	[0xf1] = BY(PREFIX, pfx_f1),
	[0xf6] = BY(PREFIX, pfx_f6),
};

const struct opcode optab_0f3a[256] = { { .o_kind = OP_NONE } };

/* VEX: general registers in reg, vvvv and r/m; L must be 0. */
#define VEXI(nm, feat, reg, vvvv, rm, fl)				\
	{ N(#nm), V(insn_##nm), .o_size = OS_Y, .o_feature = (feat),	\
	    RULES(M | O_L0), .o_reg = (reg), .o_vvvv = (vvvv),		\
	    .o_rm = (rm), T(tr_copy), fl }
#define NOFLAGS	FLAGS(0, 0, 0)

static const struct opcode vex_f2[4] = {
	[PFX_NONE] = VEXI(andn, FEAT_BMI1, GW, GR, GR,
	    FLAGS(0, ALL, FL_AF | FL_PF)),
};
/* Group 17: the destination is vvvv. */
static const struct opcode grp17[8] = {
	[1] = VEXI(blsr, FEAT_BMI1, R_NONE, GW, GR,
	    FLAGS(0, ALL, FL_AF | FL_PF)),
	[2] = VEXI(blsmsk, FEAT_BMI1, R_NONE, GW, GR,
	    FLAGS(0, ALL, FL_AF | FL_PF)),
	[3] = VEXI(blsi, FEAT_BMI1, R_NONE, GW, GR,
	    FLAGS(0, ALL, FL_AF | FL_PF)),
};
static const struct opcode vex_f3[4] = { [PFX_NONE] = BY(REG, grp17) };
static const struct opcode vex_f5[4] = {
	[PFX_NONE] = VEXI(bzhi, FEAT_BMI2, GW, GR, GR,
	    FLAGS(0, ALL, FL_AF | FL_PF)),
	[PFX_F3] = VEXI(pext, FEAT_BMI2, GW, GR, GR, NOFLAGS),
	[PFX_F2] = VEXI(pdep, FEAT_BMI2, GW, GR, GR, NOFLAGS),
};
static const struct opcode vex_f6[4] = {
	[PFX_F2] = VEXI(mulx, FEAT_BMI2, GW, GW, GR, NOFLAGS),
};
static const struct opcode vex_f7[4] = {
	[PFX_NONE] = VEXI(bextr, FEAT_BMI1, GW, GR, GR,
	    FLAGS(0, ALL, FL_AF | FL_SF | FL_PF)),
	[PFX_66] = VEXI(shlx, FEAT_BMI2, GW, GR, GR, NOFLAGS),
	[PFX_F3] = VEXI(sarx, FEAT_BMI2, GW, GR, GR, NOFLAGS),
	[PFX_F2] = VEXI(shrx, FEAT_BMI2, GW, GR, GR, NOFLAGS),
};

const struct opcode optab_vex_0f38[256] = {
	[0xf2] = BY(PREFIX, vex_f2),
	[0xf3] = BY(PREFIX, vex_f3),
	[0xf5] = BY(PREFIX, vex_f5),
	[0xf6] = BY(PREFIX, vex_f6),
	[0xf7] = BY(PREFIX, vex_f7),
};

static const struct opcode vex_f0[4] = {
	[PFX_F2] = { N("rorx"), V(insn_rorx), .o_size = OS_Y,
	    .o_imm = IMM_B, .o_feature = FEAT_BMI2, RULES(M | O_L0),
	    .o_reg = GW, .o_rm = GR, T(tr_copy) },
};

const struct opcode optab_vex_0f3a[256] = {
	[0xf0] = BY(PREFIX, vex_f0),
};
