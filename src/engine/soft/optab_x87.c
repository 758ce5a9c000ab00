/*
 * x87 opcodes D8..DF and FWAIT (SDM vol. 2D, A.5.2), with the encodings that
 * the manual lists only as reserved aliases (APM vol. 3, appendix A.1).
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"

#define M	(O_MODRM | O_X87)
#define LD	(R_ST | R_READ)
#define ST	(R_ST | R_WRITE)

/* Memory operand of so many bytes; register operand; none. */
#define FM(nm, role, bytes)						\
	{ N(#nm), X(insn_x87), T(tr_x87), RULES(M), .o_rm = (role),	\
	    .o_msize = (bytes) }
#define FR(nm, ...)							\
	{ N(#nm), X(insn_x87), T(tr_x87), RULES(M), __VA_ARGS__ }
#define FISTTP(bytes)							\
	{ N("fisttp"), X(insn_x87), T(tr_x87), RULES(M), .o_rm = ST,	\
	    .o_msize = (bytes), .o_feature = FEAT_SSE3 }
/* Control instructions that do not wait for exceptions. */
#define FNM(nm, role, bytes)						\
	{ N(#nm), X(insn_x87_nowait), T(tr_x87), RULES(M),		\
	    .o_rm = (role), .o_msize = (bytes) }
#define FNR(nm)		{ N(#nm), X(insn_x87_nowait), T(tr_x87), RULES(M) }
/* The environment and all of the state: size and layout by mode (x87_env.c). */
#define FENV(nm, role)							\
	{ N(#nm), X(insn_x87_env), .o_size = OS_Z, RULES(M), .o_rm = (role) }
#define FLW	.o_out = FL_ARITH
#define FLR	.o_in = FL_ARITH

#define ROWS(...)	((const struct opcode[8]) { __VA_ARGS__ })
#define ESCAPE(memory, registers)					\
	BY(MOD, ((const struct opcode[2]) { BY(REG, memory),		\
	    BY(REG, registers) }))

#define ARITH(p, role, bytes)						\
	FM(f##p##add, role, bytes), FM(f##p##mul, role, bytes),		\
	FM(f##p##com, role, bytes), FM(f##p##comp, role, bytes),	\
	FM(f##p##sub, role, bytes), FM(f##p##subr, role, bytes),	\
	FM(f##p##div, role, bytes), FM(f##p##divr, role, bytes)

static const struct opcode d8_mem[8] = { ARITH(, LD, 4) };
static const struct opcode d8_reg[8] = {
	FR(fadd), FR(fmul), FR(fcom), FR(fcomp), FR(fsub), FR(fsubr), FR(fdiv),
	FR(fdivr),
};
static const struct opcode d9_mem[8] = {
	[0] = FM(fld, LD, 4), [2] = FM(fst, ST, 4), [3] = FM(fstp, ST, 4),
	[4] = FENV(fldenv, LD),
	[5] = { N("fldcw"), X(insn_x87_control), T(tr_x87), RULES(M),
	    .o_rm = LD, .o_msize = 2 },
	[6] = FENV(fnstenv, ST), [7] = FNM(fnstcw, ST, 2),
};
static const struct opcode d9_reg[8] = {
	[0] = FR(fld), [1] = FR(fxch),
	[2] = BY(RM, ROWS([0] = FR(fnop))),
	[3] = FR(fstp),
	[4] = BY(RM, ROWS([0] = FR(fchs), [1] = FR(fabs), [4] = FR(ftst),
	    [5] = FR(fxam))),
	[5] = BY(RM, ROWS(FR(fld1), FR(fldl2t), FR(fldl2e), FR(fldpi),
	    FR(fldlg2), FR(fldln2), FR(fldz))),
	[6] = BY(RM, ROWS(FR(f2xm1), FR(fyl2x), FR(fptan), FR(fpatan),
	    FR(fxtract), FR(fprem1), FR(fdecstp), FR(fincstp))),
	[7] = BY(RM, ROWS(FR(fprem), FR(fyl2xp1), FR(fsqrt), FR(fsincos),
	    FR(frndint), FR(fscale), FR(fsin), FR(fcos))),
};
static const struct opcode da_mem[8] = { ARITH(i, LD, 4) };
static const struct opcode da_reg[8] = {
	FR(fcmovb, FLR), FR(fcmove, FLR), FR(fcmovbe, FLR), FR(fcmovu, FLR),
	[5] = BY(RM, ROWS([1] = FR(fucompp))),
};
static const struct opcode db_mem[8] = {
	[0] = FM(fild, LD, 4),
	[1] = FISTTP(4),
	[2] = FM(fist, ST, 4), [3] = FM(fistp, ST, 4),
	[5] = FM(fld, LD, 10), [7] = FM(fstp, ST, 10),
};
static const struct opcode db_reg[8] = {
	FR(fcmovnb, FLR), FR(fcmovne, FLR), FR(fcmovnbe, FLR),
	FR(fcmovnu, FLR),
	/* FENI, FDISI and FSETPM of old do nothing. FNINIT alone of those that
	 * do not wait changes the pointers. */
	[4] = BY(RM, ROWS(FNR(fneni), FNR(fndisi), FNR(fnclex),
	    { N("fninit"), X(insn_x87_nowait), RULES(M) }, FNR(fnsetpm))),
	[5] = FR(fucomi, FLW), [6] = FR(fcomi, FLW),
};
static const struct opcode dc_mem[8] = { ARITH(, LD, 8) };
static const struct opcode dc_reg[8] = {
	FR(fadd), FR(fmul), FR(fcom), FR(fcomp), FR(fsubr), FR(fsub),
	FR(fdivr), FR(fdiv),
};
static const struct opcode dd_mem[8] = {
	[0] = FM(fld, LD, 8),
	[1] = FISTTP(8),
	[2] = FM(fst, ST, 8), [3] = FM(fstp, ST, 8),
	[4] = FENV(frstor, LD), [6] = FENV(fnsave, ST),
	[7] = FNM(fnstsw, ST, 2),
};
static const struct opcode dd_reg[8] = {
	FR(ffree), FR(fxch), FR(fst), FR(fstp), FR(fucom), FR(fucomp),
};
static const struct opcode de_mem[8] = { ARITH(i, LD, 2) };
static const struct opcode de_reg[8] = {
	FR(faddp), FR(fmulp), FR(fcomp),
	BY(RM, ROWS([1] = FR(fcompp))),
	FR(fsubrp), FR(fsubp), FR(fdivrp), FR(fdivp),
};
static const struct opcode df_mem[8] = {
	[0] = FM(fild, LD, 2),
	[1] = FISTTP(2),
	[2] = FM(fist, ST, 2), [3] = FM(fistp, ST, 2),
	[4] = FM(fbld, LD, 10), [5] = FM(fild, LD, 8),
	[6] = FM(fbstp, ST, 10), [7] = FM(fistp, ST, 8),
};
static const struct opcode df_reg[8] = {
	FR(ffreep), FR(fxch), FR(fstp), FR(fstp),
	BY(RM, ROWS([0] = { N("fnstsw"), X(insn_fnstsw_ax), T(tr_x87),
	    RULES(M) })),
	FR(fucomip, FLW), FR(fcomip, FLW),
};

const struct opcode optab_simd_onebyte[256] = {
	[0x9b] = { N("fwait"), X(insn_fwait), T(tr_x87) },
	[0xd8] = ESCAPE(d8_mem, d8_reg),
	[0xd9] = ESCAPE(d9_mem, d9_reg),
	[0xda] = ESCAPE(da_mem, da_reg),
	[0xdb] = ESCAPE(db_mem, db_reg),
	[0xdc] = ESCAPE(dc_mem, dc_reg),
	[0xdd] = ESCAPE(dd_mem, dd_reg),
	[0xde] = ESCAPE(de_mem, de_reg),
	[0xdf] = ESCAPE(df_mem, df_reg),
};
