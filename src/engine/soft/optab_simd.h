/*
 * Shorthands for the rows of vector instructions (opcode.h), used by
 * optab_simd*.c and optab_vex*.c only.
 *
 * A row's line reads: name, feature, then reg, vvvv and r/m as role letters,
 * then the bytes of a memory operand:
 *
 *	V vector	X 128 bits or less	M MMX		G general
 *	R read		W written		B both
 *
 * A register that a legacy instruction changes in part is B or W alike: stubs
 * load it in any case.
 */
#ifndef SOFT_OPTAB_SIMD_H
#define SOFT_OPTAB_SIMD_H

#include <stddef.h>

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"

#define __	R_NONE
#define VR	(R_VEC | R_READ)
#define VW	(R_VEC | R_WRITE)
#define VB	(R_VEC | R_RW)
#define XR	(R_XMM | R_READ)
#define XW	(R_XMM | R_WRITE)
#define XB	(R_XMM | R_RW)
#define MR	(R_MM | R_READ)
#define MW	(R_MM | R_WRITE)
#define MB	(R_MM | R_RW)
#define GR	(R_GPR | R_READ)
#define GW	(R_GPR | R_WRITE)

#define VL	MS_VL
#define VL_2	MS_VL_2
#define VL_4	MS_VL_4
#define VL_8	MS_VL_8

#define ALIGN	O_ALIGN
#define FP	O_MXCSR
#define REG	O_REG
#define MEM	O_MEM

/* SIMD(name, handler, feature, rules, size, reg, vvvv, rm, bytes, more) */
#define SIMD(nm, fn, feat, rules, size, reg, vvvv, rm, bytes, ...)	\
	SIMD_T(nm, fn, T(tr_vector), feat, rules, size, reg, vvvv, rm, bytes, \
	    __VA_ARGS__)
/* The same with a T() of its own, or none. */
#define SIMD_T(nm, fn, rule, feat, rules, size, reg, vvvv, rm, bytes, ...) \
	{ N(#nm), X(fn), rule, .o_feature = FEAT_##feat, .o_size = (size), \
	    RULES(O_MODRM | (rules)), .o_reg = (reg), .o_vvvv = (vvvv),	\
	    .o_rm = (rm), .o_msize = (bytes), __VA_ARGS__ }
#define NO_RULE	T(NULL)

#define IB	.o_imm = IMM_B
/* COMISS and its like, PTEST, PCMPxSTRx: all arithmetic flags are written */
#define FLW	.o_out = FL_ARITH

#define SSE(nm, feat, rules, reg, rm, bytes, ...)			\
	SIMD(nm, insn_sse, feat, rules, OS_X, reg, __, rm, bytes, __VA_ARGS__)
#define MMX(nm, feat, rules, reg, rm, bytes, ...)			\
	SIMD(nm, insn_mmx, feat, rules, OS_X, reg, __, rm, bytes, __VA_ARGS__)
#define AVX(nm, feat, rules, reg, vvvv, rm, bytes, ...)			\
	SIMD(nm, insn_avx, feat, rules, OS_X, reg, vvvv, rm, bytes,	\
	    __VA_ARGS__)

#define EMPTY	{ .o_kind = OP_NONE }
/* Choices; arguments are rows in braces. */
#define ROWS(n, ...)	((const struct opcode[n]) { __VA_ARGS__ })
/* By mandatory prefix: none, 66, F3, F2. */
#define P4(...)		BY(PREFIX, ROWS(4, __VA_ARGS__))
#define P66(...)	P4(EMPTY, __VA_ARGS__, EMPTY, EMPTY)
#define PNONE(...)	P4(__VA_ARGS__, EMPTY, EMPTY, EMPTY)
/* By ModRM.mod: memory, register. */
#define MOD(...)	BY(MOD, ROWS(2, __VA_ARGS__))
#define W2(...)		BY(W, ROWS(2, __VA_ARGS__))
#define L2(...)		BY(L, ROWS(2, __VA_ARGS__))

#endif
