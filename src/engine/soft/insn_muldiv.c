/*
 * MUL, IMUL, DIV, IDIV (SDM vol. 2). Most flags are undefined: the host
 * executes with the guest's. A quotient that does not fit is #DE and is found
 * out before the host would fault.
 */
#include "engine/soft/operand.h"

#define FN(name, z)							\
	static void							\
	name##_##z(struct cpu *c, const struct insn *i)

/* RAX is an operand, so AX cannot hold the flags throughout. */
#define WITH_FLAGS(insn)						\
	"movl %[f], %%eax\n\t" FLAGS_IN "movq %[lo], %%rax\n\t"		\
	insn "\n\tmovq %%rax, %[lo]\n\t" FLAGS_OUT "\n\tmovl %%eax, %[f]"

/* One-operand MUL, IMUL, DIV, IDIV on RDX:RAX with all their quirks. */
#define HOST_ONE(op, z)							\
static inline void							\
op##_##z(struct cpu *c, U_##z b)					\
{									\
	uint64_t lo = c->c_gpr[RAX], hi = c->c_gpr[RDX];		\
	uint32_t f = flags_to_ax(c);					\
									\
	__asm__(WITH_FLAGS(#op #z " %[b]")				\
	    : [lo] "+&r" (lo), "+&d" (hi), [f] "+&r" (f)		\
	    : [b] "r" (b) : "rax", "cc");				\
	c->c_gpr[RAX] = lo;						\
	c->c_gpr[RDX] = hi;						\
	flags_set(c, f, FL_ARITH);					\
}

#define ONE_FORMS(op, z)						\
HOST_ONE(op, z)								\
FN(op##_r, z) { op##_##z(c, rm_get_r(c, i, z)); }			\
FN(op##_m, z) { op##_##z(c, rm_get_m(c, i, z)); }

EACH_SIZE(ONE_FORMS, mul)
EACH_SIZE(ONE_FORMS, imul)
VARIANTS_ALL(mul);
VARIANTS_ALL(imul);

/* --- division ------------------------------------------------------------------ */

/* Upper and lower half of the dividend. */
#define HIGH_b(c)	((U_b)((c)->c_gpr[RAX] >> 8))
#define HIGH_w(c)	((U_w)(c)->c_gpr[RDX])
#define HIGH_l(c)	((U_l)(c)->c_gpr[RDX])
#define HIGH_q(c)	((c)->c_gpr[RDX])
#define LOW(c, z)	((U_##z)(c)->c_gpr[RAX])

static inline bool
div_fits(uint64_t high, uint64_t divisor)
{
	return (high < divisor);
}

/*
 * Does high:low / divisor, each of bits, fit in a signed quotient? All are
 * sign-extended.
 */
static bool
idiv_fits(int64_t high, uint64_t low, int64_t divisor, unsigned bits)
{
	unsigned __int128 dividend, quotient, limit;
	bool negative = (high < 0) != (divisor < 0);
	uint64_t by;

	if (divisor == 0)
		return (false);
	dividend = (unsigned __int128)(__int128)high << bits | low;
	if (high < 0)
		dividend = -dividend;
	by = divisor < 0 ? -(uint64_t)divisor : (uint64_t)divisor;
	quotient = dividend / by;
	limit = (unsigned __int128)1 << (bits - 1);
	return (negative ? quotient <= limit : quotient < limit);
}

#define DIV_FITS(c, b, z)	div_fits(HIGH_##z(c), (b))
/* The common case first: a dividend that was sign-extended. */
#define IDIV_FITS(c, b, z)						\
	(((S_##z)HIGH_##z(c) == ((S_##z)LOW(c, z) < 0 ? -1 : 0) &&	\
	(S_##z)(b) > 0) || idiv_fits((S_##z)HIGH_##z(c), LOW(c, z),	\
	(S_##z)(b), BYTES_##z * 8))

#define DIVIDE(op, fits, b, z)						\
	U_##z by = (b);							\
									\
	if (!fits(c, by, z))						\
		cpu_fault(c, VMM_EX_DE, 0);				\
	op##_##z(c, by)

#define DIV_FORMS(op, fits, z)						\
HOST_ONE(op, z)								\
FN(op##_r, z) { DIVIDE(op, fits, rm_get_r(c, i, z), z); }		\
FN(op##_m, z) { DIVIDE(op, fits, rm_get_m(c, i, z), z); }

EACH_SIZE(DIV_FORMS, div, DIV_FITS)
EACH_SIZE(DIV_FORMS, idiv, IDIV_FITS)
VARIANTS_ALL(div);
VARIANTS_ALL(idiv);

/* --- IMUL with two and three operands -------------------------------------------- */

#define IMUL2(c, a, src, z)						\
	uint32_t ax = flags_to_ax(c);					\
	U_##z r = (a);							\
									\
	__asm__(FLAGS_IN "imul" #z " %[b], %[r]\n\t" FLAGS_OUT		\
	    : "+&a" (ax), [r] "+r" (r) : [b] "r" ((U_##z)(src)) : "cc"); \
	reg_set_##z(c, i, i->i_reg, r);					\
	flags_set(c, ax, FL_ARITH)

#define IMUL2_FORMS(form, z)						\
FN(imul_r_rm_##form, z)							\
{									\
	IMUL2(c, rm_get_##form(c, i, z), reg_get_##z(c, i, i->i_reg), z); \
}									\
FN(imul_r_rm_imm_##form, z)						\
{									\
	IMUL2(c, rm_get_##form(c, i, z), i->i_imm, z);			\
}

EACH_WLQ(IMUL2_FORMS, r)
EACH_WLQ(IMUL2_FORMS, m)
VARIANTS_WLQ(imul_r_rm);
VARIANTS_WLQ(imul_r_rm_imm);
