/*
 * ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT (SDM vol.
 * 2). With LOCK the host's own locked instruction works on guest memory.
 */
#include "engine/soft/operand.h"

/*
 * Each operation as one host instruction, on a value in a register and on
 * memory. ax_in and its constraint: what AX brings along, if anything, and
 * BEFORE makes the carry of it.
 */
#define HOST_OP(op, BEFORE, ax_in, ax_constraint, z)			\
static inline U_##z							\
op##_##z(struct cpu *c, U_##z a, U_##z b, uint32_t *ax)			\
{									\
	uint32_t x = ax_in;						\
									\
	(void)c;							\
	__asm__(BEFORE #op #z " %[b], %[a]\n\t" FLAGS_OUT		\
	    : ax_constraint (x), [a] "+r" (a) : [b] "r" (b) : "cc");	\
	*ax = x;							\
	return (a);							\
}									\
static inline uint32_t							\
op##_at_##z(struct cpu *c, void *p, U_##z b, bool lock)			\
{									\
	struct any_##z *m = p;						\
	uint32_t x = ax_in;						\
									\
	(void)c;							\
	if (lock)							\
		__asm__ volatile(BEFORE "lock; " #op #z			\
		    " %[b], %[m]\n\t" FLAGS_OUT				\
		    : ax_constraint (x), [m] "+m" (m->v) : [b] "r" (b)	\
		    : "cc", "memory");					\
	else								\
		__asm__ volatile(BEFORE #op #z " %[b], %[m]\n\t"	\
		    FLAGS_OUT						\
		    : ax_constraint (x), [m] "+m" (m->v) : [b] "r" (b)	\
		    : "cc");						\
	return (x);							\
}
#define HOST_OP_PLAIN(op, z)	HOST_OP(op, "", 0, "=&a", z)
#define HOST_OP_CARRY(op, z)						\
	HOST_OP(op, CARRY_IN, flags_to_ax(c), "+&a", z)

/* Destination r/m, memory: source b. */
#define RMW(op, z, b)							\
	uint64_t value, at = mem_operand_rw(c, i, z);			\
	void *p = mem_rmw_begin(c, at, BYTES_##z, &value);		\
	uint32_t ax;							\
									\
	if (p != NULL)							\
		ax = op##_at_##z(c, p, (b), i->i_flags & INSN_LOCK);	\
	else								\
		mem_rmw_store(c, at, BYTES_##z,				\
		    op##_##z(c, (U_##z)value, (b), &ax));		\
	flags_set(c, ax, FL_ARITH)

/* Destination register n, sources a and b. */
#define TO_REG(op, z, n, b)						\
	uint32_t ax;							\
	U_##z r = op##_##z(c, reg_get_##z(c, i, (n)), (b), &ax);	\
									\
	reg_set_##z(c, i, (n), r);					\
	flags_set(c, ax, FL_ARITH)

/* No destination. */
#define COMPARE(op, z, a, b)						\
	uint32_t ax;							\
									\
	op##_##z(c, (a), (b), &ax);					\
	flags_set(c, ax, FL_ARITH)

#define FN(name, z)							\
	static void							\
	name##_##z(struct cpu *c, const struct insn *i)

#define ALU_FORMS(op, HOST, z)						\
HOST(op, z)								\
FN(op##_rm_r_r, z) { TO_REG(op, z, i->i_rm, reg_get_##z(c, i, i->i_reg)); } \
FN(op##_rm_r_m, z) { RMW(op, z, reg_get_##z(c, i, i->i_reg)); }		\
FN(op##_r_rm_r, z) { TO_REG(op, z, i->i_reg, rm_get_r(c, i, z)); }	\
FN(op##_r_rm_m, z) { TO_REG(op, z, i->i_reg, rm_get_m(c, i, z)); }	\
FN(op##_rm_imm_r, z) { TO_REG(op, z, i->i_rm, (U_##z)i->i_imm); }	\
FN(op##_rm_imm_m, z) { RMW(op, z, (U_##z)i->i_imm); }			\
FN(op##_a_imm, z) { TO_REG(op, z, RAX, (U_##z)i->i_imm); }

#define ALU_OP(op, HOST)						\
	EACH_SIZE(ALU_FORMS, op, HOST)					\
	VARIANTS_ALL(op##_rm_r);					\
	VARIANTS_ALL(op##_r_rm);					\
	VARIANTS_ALL(op##_rm_imm);					\
	VARIANTS_REG(op##_a_imm)

ALU_OP(add, HOST_OP_PLAIN);
ALU_OP(or, HOST_OP_PLAIN);
ALU_OP(adc, HOST_OP_CARRY);
ALU_OP(sbb, HOST_OP_CARRY);
ALU_OP(and, HOST_OP_PLAIN);
ALU_OP(sub, HOST_OP_PLAIN);
ALU_OP(xor, HOST_OP_PLAIN);

#define CMP_HOST(op, z)							\
static inline void							\
op##_##z(struct cpu *c, U_##z a, U_##z b, uint32_t *ax)			\
{									\
	(void)c;							\
	__asm__(#op #z " %[b], %[a]\n\t" FLAGS_OUT			\
	    : "=a" (*ax) : [a] "r" (a), [b] "r" (b) : "cc");		\
}

#define CMP_FORMS(op, z)						\
CMP_HOST(op, z)								\
FN(op##_rm_r_r, z)							\
{ COMPARE(op, z, rm_get_r(c, i, z), reg_get_##z(c, i, i->i_reg)); }	\
FN(op##_rm_r_m, z)							\
{ COMPARE(op, z, rm_get_m(c, i, z), reg_get_##z(c, i, i->i_reg)); }	\
FN(op##_rm_imm_r, z)							\
{ COMPARE(op, z, rm_get_r(c, i, z), (U_##z)i->i_imm); }			\
FN(op##_rm_imm_m, z)							\
{ COMPARE(op, z, rm_get_m(c, i, z), (U_##z)i->i_imm); }			\
FN(op##_a_imm, z)							\
{ COMPARE(op, z, reg_get_##z(c, i, RAX), (U_##z)i->i_imm); }

#define CMP_R_RM(op, z)							\
FN(op##_r_rm_r, z)							\
{ COMPARE(op, z, reg_get_##z(c, i, i->i_reg), rm_get_r(c, i, z)); }	\
FN(op##_r_rm_m, z)							\
{ COMPARE(op, z, reg_get_##z(c, i, i->i_reg), rm_get_m(c, i, z)); }

EACH_SIZE(CMP_FORMS, cmp)
EACH_SIZE(CMP_R_RM, cmp)
VARIANTS_ALL(cmp_rm_r);
VARIANTS_ALL(cmp_r_rm);
VARIANTS_ALL(cmp_rm_imm);
VARIANTS_REG(cmp_a_imm);

EACH_SIZE(CMP_FORMS, test)
VARIANTS_ALL(test_rm_r);
VARIANTS_ALL(test_rm_imm);
VARIANTS_REG(test_a_imm);

/* One operand; mask: the flags that it writes. */
#define UNARY_FORMS(op, mask, z)					\
static inline U_##z							\
op##_##z(U_##z a, uint32_t *ax)						\
{									\
	__asm__(#op #z " %[a]\n\t" FLAGS_OUT				\
	    : "=&a" (*ax), [a] "+r" (a) : : "cc");			\
	return (a);							\
}									\
static inline uint32_t							\
op##_at_##z(void *p, bool lock)						\
{									\
	struct any_##z *m = p;						\
	uint32_t ax;							\
									\
	if (lock)							\
		__asm__ volatile("lock; " #op #z " %[m]\n\t" FLAGS_OUT	\
		    : "=&a" (ax), [m] "+m" (m->v) : : "cc", "memory");	\
	else								\
		__asm__ volatile(#op #z " %[m]\n\t" FLAGS_OUT		\
		    : "=&a" (ax), [m] "+m" (m->v) : : "cc");		\
	return (ax);							\
}									\
FN(op##_r, z)								\
{									\
	uint32_t ax;							\
									\
	reg_set_##z(c, i, i->i_rm,					\
	    op##_##z(reg_get_##z(c, i, i->i_rm), &ax));			\
	flags_set(c, ax, (mask));					\
}									\
FN(op##_m, z)								\
{									\
	uint64_t value, at = mem_operand_rw(c, i, z);			\
	void *p = mem_rmw_begin(c, at, BYTES_##z, &value);		\
	uint32_t ax;							\
									\
	if (p != NULL)							\
		ax = op##_at_##z(p, i->i_flags & INSN_LOCK);		\
	else								\
		mem_rmw_store(c, at, BYTES_##z,				\
		    op##_##z((U_##z)value, &ax));			\
	flags_set(c, ax, (mask));					\
}

EACH_SIZE(UNARY_FORMS, inc, FL_ARITH & ~FL_CF)
EACH_SIZE(UNARY_FORMS, dec, FL_ARITH & ~FL_CF)
EACH_SIZE(UNARY_FORMS, neg, FL_ARITH)
EACH_SIZE(UNARY_FORMS, not, 0)
VARIANTS_ALL(inc);
VARIANTS_ALL(dec);
VARIANTS_ALL(neg);
VARIANTS_ALL(not);
