/*
 * BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT (SDM vol. 2). Where flags
 * or the destination are undefined the host executes with the guest's.
 */
#include "engine/soft/operand.h"

#define FN(name, z)							\
	static void							\
	name##_##z(struct cpu *c, const struct insn *i)

/* The low bits of a bit offset that select a bit of an operand. */
#define BIT_MASK(z)	(BYTES_##z * 8 - 1)

#define HOST_BT(op, z)							\
static inline U_##z							\
op##_##z(struct cpu *c, U_##z a, U_##z bit, uint32_t *ax)		\
{									\
	uint32_t x = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op #z " %[bit], %[a]\n\t" FLAGS_OUT		\
	    : "+&a" (x), [a] "+r" (a) : [bit] "r" (bit) : "cc");	\
	*ax = x;							\
	return (a);							\
}

/* On memory, atomically. The bit is inside the operand. */
#define HOST_BT_LOCKED(op, z)						\
static inline uint32_t							\
op##_locked_##z(struct cpu *c, void *p, U_##z bit)			\
{									\
	struct any_##z *m = p;						\
	uint32_t x = flags_to_ax(c);					\
									\
	__asm__ volatile(FLAGS_IN "lock; " #op #z " %[bit], %[m]\n\t"	\
	    FLAGS_OUT							\
	    : "+&a" (x), [m] "+m" (m->v) : [bit] "r" (bit)		\
	    : "cc", "memory");						\
	return (x);							\
}

/* A register as bit offset addresses a string of bits around the operand. */
#define BIT_EA(c, i, z)							\
	truncate_to(mem_ea(c, i) + (uint64_t)(int64_t)			\
	    ((S_##z)(c)->c_gpr[(i)->i_reg] >> __builtin_ctz(BYTES_##z * 8)) * \
	    BYTES_##z, (i)->i_asize)
#define BIT_OPERAND(c, i, z, access)					\
	mem_linear(c, (i)->i_seg, BIT_EA(c, i, z), BYTES_##z, (access))

#define BIT_REG(op, z, bit)						\
	uint32_t ax;							\
	U_##z r = op##_##z(c, reg_get_##z(c, i, i->i_rm), (bit), &ax);	\
									\
	reg_set_##z(c, i, i->i_rm, r);					\
	flags_set(c, ax, FL_ARITH)
#define BIT_RMW(op, z, linear, bit)					\
	uint64_t value, at = (linear);					\
	struct any_##z *p = mem_rmw_begin(c, at, BYTES_##z, &value);	\
	U_##z n = (U_##z)((bit) & BIT_MASK(z));				\
	uint32_t ax;							\
									\
	if (p == NULL)							\
		mem_rmw_store(c, at, BYTES_##z,				\
		    op##_##z(c, (U_##z)value, n, &ax));			\
	else if (i->i_flags & INSN_LOCK)				\
		ax = op##_locked_##z(c, p, n);				\
	else								\
		p->v = op##_##z(c, p->v, n, &ax);			\
	flags_set(c, ax, FL_ARITH)
#define BIT_TEST(z, a, bit)						\
	uint32_t ax;							\
									\
	bt_##z(c, (a), (U_##z)(bit), &ax);				\
	flags_set(c, ax, FL_ARITH)

#define BT_FORMS(op, z)							\
HOST_BT(op, z)								\
FN(op##_r_r, z) { BIT_TEST(z, rm_get_r(c, i, z), c->c_gpr[i->i_reg]); }	\
FN(op##_imm_r, z) { BIT_TEST(z, rm_get_r(c, i, z), i->i_imm); }		\
FN(op##_imm_m, z) { BIT_TEST(z, rm_get_m(c, i, z), i->i_imm); }		\
FN(op##_r_m, z)								\
{									\
	U_##z a = (U_##z)mem_read(c, BIT_OPERAND(c, i, z, ENGINE_READ),	\
	    BYTES_##z);							\
									\
	BIT_TEST(z, a, c->c_gpr[i->i_reg]);				\
}
#define BTX_FORMS(op, z)						\
HOST_BT(op, z)								\
HOST_BT_LOCKED(op, z)							\
FN(op##_r_r, z) { BIT_REG(op, z, (U_##z)c->c_gpr[i->i_reg]); }		\
FN(op##_imm_r, z) { BIT_REG(op, z, (U_##z)i->i_imm); }			\
FN(op##_r_m, z)								\
{									\
	BIT_RMW(op, z,							\
	    BIT_OPERAND(c, i, z, ENGINE_READ | ENGINE_WRITE),		\
	    c->c_gpr[i->i_reg]);					\
}									\
FN(op##_imm_m, z) { BIT_RMW(op, z, mem_operand_rw(c, i, z), i->i_imm); }

#define BT_OP(op, FORMS)						\
	EACH_WLQ(FORMS, op)						\
	VARIANTS_WLQ(op##_r);						\
	VARIANTS_WLQ(op##_imm)

BT_OP(bt, BT_FORMS);
BT_OP(bts, BTX_FORMS);
BT_OP(btr, BTX_FORMS);
BT_OP(btc, BTX_FORMS);

/*
 * Bit scans and counts. The whole destination register takes part: BSF and BSR
 * of 0 leave what they leave on the host.
 */
#define SUFFIX_w	"w"
#define SUFFIX_l	"k"
#define SUFFIX_q	"q"
#define SCAN(op, form, z)						\
FN(op##_##form, z)							\
{									\
	U_##z a = rm_get_##form(c, i, z);				\
	uint64_t r = c->c_gpr[i->i_reg];				\
	uint32_t ax = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op " %[a], %" SUFFIX_##z "[r]\n\t" FLAGS_OUT	\
	    : "+&a" (ax), [r] "+&r" (r) : [a] "r" (a) : "cc");		\
	c->c_gpr[i->i_reg] = r;						\
	flags_set(c, ax, FL_ARITH);					\
}
#define SCAN_OP(op)							\
	EACH_WLQ(SCAN, op, r)						\
	EACH_WLQ(SCAN, op, m)						\
	VARIANTS_WLQ(op)

SCAN_OP(bsf);
SCAN_OP(bsr);
SCAN_OP(tzcnt);
SCAN_OP(lzcnt);
SCAN_OP(popcnt);
