/*
 * Rotates and shifts by an immediate, by 1 and by CL; SHLD and SHRD (SDM vol.
 * 2). A count of 0 leaves the flags alone and some flags are undefined: the
 * host executes with the guest's flags and count.
 */
#include "engine/soft/operand.h"

#define FN(name, z)							\
	static void							\
	name##_##z(struct cpu *c, const struct insn *i)

/* AX carries flags, CL the count. */
#define HOST_SHIFT(op, z)						\
static inline U_##z							\
op##_##z(struct cpu *c, U_##z a, uint8_t count, uint32_t *ax)		\
{									\
	uint32_t x = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op #z " %%cl, %[a]\n\t" FLAGS_OUT		\
	    : "+&a" (x), [a] "+r" (a) : "c" (count) : "cc");		\
	*ax = x;							\
	return (a);							\
}									\
static inline U_##z							\
op##1_##z(struct cpu *c, U_##z a, uint32_t *ax)				\
{									\
	uint32_t x = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op #z " $1, %[a]\n\t" FLAGS_OUT		\
	    : "+&a" (x), [a] "+r" (a) : : "cc");			\
	*ax = x;							\
	return (a);							\
}

/* r = what the operation makes of v. */
#define SHIFT_BODY_r(z, operation)					\
	uint32_t ax;							\
	U_##z v = reg_get_##z(c, i, i->i_rm), r;			\
									\
	r = operation;							\
	reg_set_##z(c, i, i->i_rm, r);					\
	flags_set(c, ax, FL_ARITH)
#define SHIFT_BODY_m(z, operation)					\
	uint64_t value, at = mem_operand_rw(c, i, z);			\
	struct any_##z *p = mem_rmw_begin(c, at, BYTES_##z, &value);	\
	uint32_t ax;							\
	U_##z v = p != NULL ? p->v : (U_##z)value, r;			\
									\
	r = operation;							\
	if (p != NULL)							\
		p->v = r;						\
	else								\
		mem_rmw_store(c, at, BYTES_##z, r);			\
	flags_set(c, ax, FL_ARITH)

#define CL(c)	((uint8_t)(c)->c_gpr[RCX])

#define SHIFT_FORMS(op, z)						\
HOST_SHIFT(op, z)							\
FN(op##_imm_r, z) { SHIFT_BODY_r(z, op##_##z(c, v, (uint8_t)i->i_imm, &ax)); } \
FN(op##_imm_m, z) { SHIFT_BODY_m(z, op##_##z(c, v, (uint8_t)i->i_imm, &ax)); } \
FN(op##_1_r, z) { SHIFT_BODY_r(z, op##1_##z(c, v, &ax)); }		\
FN(op##_1_m, z) { SHIFT_BODY_m(z, op##1_##z(c, v, &ax)); }		\
FN(op##_cl_r, z) { SHIFT_BODY_r(z, op##_##z(c, v, CL(c), &ax)); }	\
FN(op##_cl_m, z) { SHIFT_BODY_m(z, op##_##z(c, v, CL(c), &ax)); }

#define SHIFT_OP(op)							\
	EACH_SIZE(SHIFT_FORMS, op)					\
	VARIANTS_ALL(op##_imm);						\
	VARIANTS_ALL(op##_1);						\
	VARIANTS_ALL(op##_cl)

SHIFT_OP(rol);
SHIFT_OP(ror);
SHIFT_OP(rcl);
SHIFT_OP(rcr);
SHIFT_OP(shl);
SHIFT_OP(shr);
SHIFT_OP(sar);

/* Two registers: bits of b come in. */
#define SHXD_FORMS(op, z)						\
static inline U_##z							\
op##_##z(struct cpu *c, U_##z a, U_##z b, uint8_t count, uint32_t *ax)	\
{									\
	uint32_t x = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op #z " %%cl, %[b], %[a]\n\t" FLAGS_OUT	\
	    : "+&a" (x), [a] "+r" (a) : [b] "r" (b), "c" (count) : "cc"); \
	*ax = x;							\
	return (a);							\
}									\
FN(op##_imm_r, z)							\
{									\
	SHIFT_BODY_r(z, op##_##z(c, v, reg_get_##z(c, i, i->i_reg),	\
	    (uint8_t)i->i_imm, &ax));					\
}									\
FN(op##_imm_m, z)							\
{									\
	SHIFT_BODY_m(z, op##_##z(c, v, reg_get_##z(c, i, i->i_reg),	\
	    (uint8_t)i->i_imm, &ax));					\
}									\
FN(op##_cl_r, z)							\
{									\
	SHIFT_BODY_r(z, op##_##z(c, v, reg_get_##z(c, i, i->i_reg),	\
	    CL(c), &ax));						\
}									\
FN(op##_cl_m, z)							\
{									\
	SHIFT_BODY_m(z, op##_##z(c, v, reg_get_##z(c, i, i->i_reg),	\
	    CL(c), &ax));						\
}

#define SHXD_OP(op)							\
	EACH_WLQ(SHXD_FORMS, op)					\
	VARIANTS_WLQ(op##_imm);						\
	VARIANTS_WLQ(op##_cl)

SHXD_OP(shld);
SHXD_OP(shrd);
