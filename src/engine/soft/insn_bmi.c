/*
 * BMI1, BMI2, ADX and CRC32 (SDM vol. 2). The guest is offered only what the
 * host has, so that the host can execute them.
 */
#include "engine/soft/operand.h"

#define FN(name, z)							\
	static void							\
	name##_##z(struct cpu *c, const struct insn *i)

/* 4 and 8 bytes only. */
#define EACH_LQ(M, ...)		M(__VA_ARGS__, l) M(__VA_ARGS__, q)
#define VARIANTS_LQ(name)						\
	insn_fn *const insn_##name[4][2] = {				\
		{ NULL, NULL }, { NULL, NULL },				\
		{ name##_r_l, name##_m_l }, { name##_r_q, name##_m_q },	\
	}

/* reg = vvvv op r/m, with flags. */
#define ANDN(form, z)							\
FN(andn_##form, z)							\
{									\
	U_##z b = rm_get_##form(c, i, z), r;				\
	uint32_t ax = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN "andn" #z " %[b], %[a], %[r]\n\t" FLAGS_OUT	\
	    : "+&a" (ax), [r] "=r" (r)					\
	    : [a] "r" (reg_get_##z(c, i, i->i_vvvv)), [b] "r" (b)	\
	    : "cc");							\
	reg_set_##z(c, i, i->i_reg, r);					\
	flags_set(c, ax, FL_ARITH);					\
}
EACH_LQ(ANDN, r)
EACH_LQ(ANDN, m)
VARIANTS_LQ(andn);

/* vvvv = op r/m, with flags. */
#define BLS(op, form, z)						\
FN(op##_##form, z)							\
{									\
	U_##z a = rm_get_##form(c, i, z), r;				\
	uint32_t ax = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op #z " %[a], %[r]\n\t" FLAGS_OUT		\
	    : "+&a" (ax), [r] "=r" (r) : [a] "r" (a) : "cc");		\
	reg_set_##z(c, i, i->i_vvvv, r);				\
	flags_set(c, ax, FL_ARITH);					\
}
#define BLS_OP(op)							\
	EACH_LQ(BLS, op, r)						\
	EACH_LQ(BLS, op, m)						\
	VARIANTS_LQ(op)
BLS_OP(blsr);
BLS_OP(blsmsk);
BLS_OP(blsi);

/* reg = r/m op vvvv; the flags in mask. */
#define BY_VVVV(op, mask, form, z)					\
FN(op##_##form, z)							\
{									\
	U_##z a = rm_get_##form(c, i, z), r;				\
	uint32_t ax = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op #z " %[b], %[a], %[r]\n\t" FLAGS_OUT	\
	    : "+&a" (ax), [r] "=r" (r)					\
	    : [a] "r" (a), [b] "r" (reg_get_##z(c, i, i->i_vvvv))	\
	    : "cc");							\
	reg_set_##z(c, i, i->i_reg, r);					\
	flags_set(c, ax, (mask));					\
}
#define BY_VVVV_OP(op, mask)						\
	EACH_LQ(BY_VVVV, op, mask, r)					\
	EACH_LQ(BY_VVVV, op, mask, m)					\
	VARIANTS_LQ(op)
BY_VVVV_OP(bzhi, FL_ARITH);
BY_VVVV_OP(bextr, FL_ARITH);
BY_VVVV_OP(shlx, 0);
BY_VVVV_OP(shrx, 0);
BY_VVVV_OP(sarx, 0);

/* reg = vvvv op r/m, no flags. */
#define DEPOSIT(op, form, z)						\
FN(op##_##form, z)							\
{									\
	U_##z b = rm_get_##form(c, i, z), r;				\
									\
	__asm__(#op #z " %[b], %[a], %[r]"				\
	    : [r] "=r" (r)						\
	    : [a] "r" (reg_get_##z(c, i, i->i_vvvv)), [b] "r" (b));	\
	reg_set_##z(c, i, i->i_reg, r);					\
}
#define DEPOSIT_OP(op)							\
	EACH_LQ(DEPOSIT, op, r)						\
	EACH_LQ(DEPOSIT, op, m)						\
	VARIANTS_LQ(op)
DEPOSIT_OP(pext);
DEPOSIT_OP(pdep);

/* reg:vvvv = rDX * r/m; if they are the same register, it is the upper half. */
#define WIDE_l	uint64_t
#define WIDE_q	unsigned __int128
#define MULX(form, z)							\
FN(mulx_##form, z)							\
{									\
	WIDE_##z r = (WIDE_##z)rm_get_##form(c, i, z) *			\
	    reg_get_##z(c, i, RDX);					\
									\
	reg_set_##z(c, i, i->i_vvvv, (U_##z)r);				\
	reg_set_##z(c, i, i->i_reg, (U_##z)(r >> (BYTES_##z * 8)));	\
}
EACH_LQ(MULX, r)
EACH_LQ(MULX, m)
VARIANTS_LQ(mulx);

#define RORX(form, z)							\
FN(rorx_##form, z)							\
{									\
	U_##z a = rm_get_##form(c, i, z);				\
	unsigned n = i->i_imm & (BYTES_##z * 8 - 1);			\
									\
	if (n != 0)							\
		a = a >> n | a << (BYTES_##z * 8 - n);			\
	reg_set_##z(c, i, i->i_reg, a);					\
}
EACH_LQ(RORX, r)
EACH_LQ(RORX, m)
VARIANTS_LQ(rorx);

/* reg += r/m + one flag, which is all that changes. */
#define ADX(op, mask, form, z)						\
FN(op##_##form, z)							\
{									\
	U_##z b = rm_get_##form(c, i, z);				\
	U_##z r = reg_get_##z(c, i, i->i_reg);				\
	uint32_t ax = flags_to_ax(c);					\
									\
	__asm__(FLAGS_IN #op #z " %[b], %[r]\n\t" FLAGS_OUT		\
	    : "+&a" (ax), [r] "+r" (r) : [b] "r" (b) : "cc");		\
	reg_set_##z(c, i, i->i_reg, r);					\
	flags_set(c, ax, (mask));					\
}
#define ADX_OP(op, mask)						\
	EACH_LQ(ADX, op, mask, r)					\
	EACH_LQ(ADX, op, mask, m)					\
	VARIANTS_LQ(op)
ADX_OP(adcx, FL_CF);
ADX_OP(adox, FL_OF);

/* The operand size is the source's; the result has 32 bits. */
#define CRC32(form, z)							\
FN(crc32_##form, z)							\
{									\
	U_##z a = rm_get_##form(c, i, z);				\
	uint64_t r = (uint32_t)c->c_gpr[i->i_reg];			\
									\
	__asm__("crc32" #z " %[a], %q[r]" : [r] "+r" (r) : [a] "r" (a)); \
	c->c_gpr[i->i_reg] = (uint32_t)r;				\
}
#define CRC32_NARROW(form, z)						\
FN(crc32_##form, z)							\
{									\
	U_##z a = rm_get_##form(c, i, z);				\
	uint32_t r = (uint32_t)c->c_gpr[i->i_reg];			\
									\
	__asm__("crc32" #z " %[a], %k[r]" : [r] "+r" (r) : [a] "r" (a)); \
	c->c_gpr[i->i_reg] = r;						\
}
CRC32_NARROW(r, b)
CRC32_NARROW(r, w)
CRC32_NARROW(r, l)
CRC32(r, q)
CRC32_NARROW(m, b)
CRC32_NARROW(m, w)
CRC32_NARROW(m, l)
CRC32(m, q)
VARIANTS_ALL(crc32);
