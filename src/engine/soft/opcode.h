/*
 * The rows of the opcode tables.
 *
 * A table has 256 rows, one an opcode byte of a map (SDM vol. 2D, appendix A).
 * A row is either an instruction (OP_INSN), a choice among further rows by
 * some property of the encoding (OP_BY_*), or empty: #UD. The rows are the
 * whole truth about an encoding: the decoder has no opcode's special case in
 * its code, and what a translator must know of an instruction's flags is here
 * as well.
 *
 * Each map has two tables, one for integer and system instructions and one
 * for x87 and vector instructions (optab_simd*.c); a row that is empty in the
 * first is looked up in the second.
 */
#ifndef SOFT_OPCODE_H
#define SOFT_OPCODE_H

#include <stdint.h>

#include "engine/soft/insn.h"
#include "engine/soft/jit/rules.h"

/* o_kind: what the row is, or by what its o_sub is indexed. */
enum op_kind {
	OP_NONE,	/* #UD */
	OP_INSN,
	OP_BY_REG,	/* [8]  ModRM.reg */
	OP_BY_MOD,	/* [2]  0: memory, 1: register */
	OP_BY_RM,	/* [8]  ModRM.rm */
	OP_BY_PREFIX,	/* [4]  mandatory prefix: PFX_* */
	OP_BY_MODE,	/* [2]  1: 64-bit code */
	OP_BY_W,	/* [2]  REX.W or VEX.W. For VEX also outside 64-bit
			   code, where W still selects among vectors but says
			   nothing about a GPR's size: that is OS_Y */
	OP_BY_L		/* [2]  VEX.L */
};

/* Index of OP_BY_PREFIX. F2/F3 (the last of them) go before 66. */
enum { PFX_NONE, PFX_66, PFX_F3, PFX_F2 };

/* o_imm: what follows ModRM and displacement. */
enum op_imm {
	IMM_NONE,
	IMM_B,		/* ib, zero-extended */
	IMM_BS,		/* ib, sign-extended */
	IMM_W,		/* iw, zero-extended */
	IMM_Z,		/* iw or id by operand size, id sign-extended */
	IMM_V,		/* iw, id or iq by operand size */
	IMM_WB,		/* ENTER: iw in i_imm, ib in i_imm2 */
	IMM_FAR,	/* offset by operand size in i_imm, selector in i_imm2 */
	IMM_MOFFS,	/* offset by address size; makes i_seg valid */
	IMM_RELB,	/* branch displacement, sign-extended */
	IMM_RELZ
};

/* o_size: how i_osize comes about. */
enum op_size {
	OS_V,		/* 2, 4, 8 by mode, 66 and REX.W */
	OS_B,		/* 1 */
	OS_W,		/* 2 */
	OS_D,		/* 4 */
	OS_Q,		/* 8 */
	OS_Z,		/* as V, but never 8 */
	OS_Y,		/* 4, in 64-bit code with W 8; 66 says nothing */
	OS_D64,		/* as V, but 8 for 4 in 64-bit code */
	OS_BRANCH,	/* near branch: as D64; on Intel 66 is ignored in 64-bit
			   code */
	OS_FAR,		/* as V, but on AMD never 8 (far pointers) */
	OS_F64,		/* as V, but always 8 in 64-bit code */
	OS_MODE,	/* 8 in 64-bit code, else 4 */
	OS_X		/* vector: 32 with VEX.L, else 16 */
};

/* o_rules */
#define O_MODRM		0x00000001u	/* has a ModRM byte */
#define O_MEM		0x00000002u	/* its r/m must be memory */
#define O_REG		0x00000004u	/* its r/m must be a register */
#define O_MODREG	0x00000008u	/* register whatever mod says (MOV CR) */
#define O_NO64		0x00000010u	/* #UD in 64-bit code */
#define O_ONLY64	0x00000020u	/* #UD elsewhere */
#define O_PROT		0x00000040u	/* #UD in real and virtual-8086 mode */
#define O_LOCK		0x00000080u	/* LOCK allowed if r/m is memory */
#define O_END		0x00000100u	/* sets INSN_END */
#define O_IO		0x00000200u	/* sets INSN_IO (and ends a block) */
#define O_FALLBACK	0x00000400u	/* without its feature: [PFX_NONE] of the
					   table that it is in */
#define O_REX_R		0x00000800u	/* REX.R (VEX.R) is ignored in i_reg */
#define O_STRING	0x00001000u	/* may be repeated by F2/F3 */
/* vectors */
#define O_W0		0x00010000u	/* VEX.W must be 0 */
#define O_W1		0x00020000u	/* VEX.W must be 1 */
#define O_L0		0x00040000u	/* VEX.L must be 0 */
#define O_L1		0x00080000u	/* VEX.L must be 1 */
#define O_VSIB		0x00100000u	/* SIB with a vector index; reg, index and
					   vvvv must differ */
#define O_ALIGN		0x00200000u	/* memory aligned to its size, else #GP */
#define O_MXCSR		0x00400000u	/* reads MXCSR; may raise #XM */
#define O_X87		0x00800000u	/* x87 state; waits for #MF */
#define O_IS4		0x01000000u	/* imm[7:4] is a vector register */
#define O_XMM0		0x04000000u	/* also reads XMM0 */
#define O_PCMPSTR	0x08000000u	/* PCMPxSTRx: also reads rAX, rDX (unless
					   opcode bit 1), writes rCX (opcode
					   bit 0) or XMM0 */

/* o_reg, o_vvvv, o_rm: what the operand is and what is done to it. */
#define R_NONE		0x00
#define R_GPR		0x01
#define R_MM		0x02
#define R_XMM		0x03	/* 128 bits of it, or less */
#define R_VEC		0x04	/* XMM, with VEX.L YMM */
#define R_YMM		0x05	/* 256 bits */
#define R_ST		0x06
#define R_BYTE		0x07	/* a GPR's low byte, or AH..BH */
#define R_CLASS		0x0f
#define R_READ		0x10
#define R_WRITE		0x20
#define R_RW		(R_READ | R_WRITE)

/* o_msize: bytes of a memory operand; 0: i_osize. */
#define MS_VL		0x8000u	/* 16, with VEX.L 32 */
#define MS_VL_2		0x8001u	/* half of that */
#define MS_VL_4		0x8002u
#define MS_VL_8		0x8003u

/*
 * Features of the guest's CPU that decide whether an encoding exists. Bit n of
 * the bitmap in struct decode_mode. Bits of CPUID: features.c.
 */
enum feature {
	FEAT_NONE,	/* always there on amd64 */
	FEAT_SSE3, FEAT_PCLMUL, FEAT_SSSE3, FEAT_FMA, FEAT_CX16, FEAT_SSE41,
	FEAT_SSE42, FEAT_MOVBE, FEAT_POPCNT, FEAT_AES, FEAT_XSAVE, FEAT_AVX,
	FEAT_F16C, FEAT_RDRAND,
	FEAT_FSGSBASE, FEAT_BMI1, FEAT_AVX2, FEAT_BMI2, FEAT_INVPCID,
	FEAT_RDSEED, FEAT_ADX, FEAT_SMAP, FEAT_CLFLUSHOPT, FEAT_CLWB, FEAT_SHA,
	FEAT_RDPID,
	FEAT_XSAVEOPT, FEAT_XSAVEC, FEAT_XSAVES,
	FEAT_LAHF64, FEAT_LZCNT, FEAT_SYSCALL,
	FEAT_RDTSCP, FEAT_SEP,
	FEAT_COUNT
};

struct opcode {
	const char	*o_name;
	/* The handler. With o_variants the decoder takes from there the one
	 * for [log2 i_osize][r/m is memory]. */
	insn_fn		*o_exec;
	insn_fn		*const (*o_variants)[2];
	tr_rule		*o_rule;	/* how it is translated, or NULL */
	const struct opcode *o_sub;	/* OP_BY_* */
	uint8_t		 o_kind;
	uint8_t		 o_imm;
	uint8_t		 o_size;
	uint8_t		 o_feature;
	uint32_t	 o_rules;
	/* arithmetic flags: read, written, left undefined (also in o_out) */
	uint16_t	 o_in, o_out, o_undef;
	/* vectors */
	uint16_t	 o_msize;
	uint8_t		 o_reg, o_vvvv, o_rm;	/* o_vvvv R_NONE: 1111b */
};

/* For writing rows: { N("add"), V(insn_add_rm_r), .o_size = OS_B, ... } */
#define N(name)		.o_kind = OP_INSN, .o_name = (name)
#define X(fn)		.o_exec = (fn)
#define T(rule)	.o_rule = (rule)
#define V(table)	.o_variants = (table)
#define BY(what, table)	{ .o_kind = OP_BY_##what, .o_sub = (table) }
#define RULES(r)	.o_rules = (r)
#define FLAGS(in, out, undef)						\
	.o_in = (in), .o_out = (out), .o_undef = (undef)

/* Maps: 0 one byte, 1 0F, 2 0F38, 3 0F3A. VEX has its own, from 1. */
#define OPTAB_MAPS	4

extern const struct opcode optab_onebyte[256], optab_0f[256], optab_0f38[256],
    optab_0f3a[256];
extern const struct opcode optab_vex_0f38[256], optab_vex_0f3a[256];
extern const struct opcode optab_simd_onebyte[256], optab_simd_0f[256],
    optab_simd_0f38[256], optab_simd_0f3a[256];
extern const struct opcode optab_simd_vex_0f[256], optab_simd_vex_0f38[256],
    optab_simd_vex_0f3a[256];

#endif
