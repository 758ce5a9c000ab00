/*
 * XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B (SDM vol. 2). XCHG with memory is
 * locked always, the others with LOCK; CMPXCHG writes its operand even when
 * it does not exchange.
 */
#include "engine/soft/operand.h"

#define FN(name, z)							\
	static void							\
	name##_##z(struct cpu *c, const struct insn *i)

#define XCHG(unused, z)							\
FN(xchg_rm_r_r, z)							\
{									\
	U_##z a = rm_get_r(c, i, z), b = reg_get_##z(c, i, i->i_reg);	\
									\
	reg_set_##z(c, i, i->i_rm, b);					\
	reg_set_##z(c, i, i->i_reg, a);					\
}									\
FN(xchg_rm_r_m, z)							\
{									\
	uint64_t value, at = mem_operand_rw(c, i, z);			\
	struct any_##z *p;						\
	U_##z v = reg_get_##z(c, i, i->i_reg);				\
									\
	p = mem_rmw_begin_locked(c, at, BYTES_##z, &value);		\
	if (p != NULL)							\
		__asm__ volatile("xchg" #z " %[v], %[m]"		\
		    : [v] "+r" (v), [m] "+m" (p->v) : : "memory");	\
	else {								\
		mem_rmw_store(c, at, BYTES_##z, v);			\
		v = (U_##z)value;					\
	}								\
	reg_set_##z(c, i, i->i_reg, v);					\
}									\
FN(xchg_a_r, z)								\
{									\
	U_##z a = reg_get_##z(c, i, RAX), b = rm_get_r(c, i, z);	\
									\
	if (i->i_rm == RAX)						\
		return;		/* NOP: EAX keeps its upper half */	\
	reg_set_##z(c, i, i->i_rm, a);					\
	reg_set_##z(c, i, RAX, b);					\
}

EACH_SIZE(XCHG, )
VARIANTS_ALL(xchg_rm_r);
VARIANTS_REG(xchg_a_r);

#define XADD(unused, z)							\
FN(xadd_r, z)								\
{									\
	U_##z a = rm_get_r(c, i, z), b = reg_get_##z(c, i, i->i_reg);	\
	uint32_t ax;							\
									\
	__asm__("xadd" #z " %[b], %[a]\n\t" FLAGS_OUT			\
	    : "=&a" (ax), [a] "+r" (a), [b] "+r" (b) : : "cc");		\
	reg_set_##z(c, i, i->i_reg, b);					\
	reg_set_##z(c, i, i->i_rm, a);					\
	flags_set(c, ax, FL_ARITH);					\
}									\
FN(xadd_m, z)								\
{									\
	uint64_t value, at = mem_operand_rw(c, i, z);			\
	struct any_##z *p = mem_rmw_begin(c, at, BYTES_##z, &value);	\
	U_##z b = reg_get_##z(c, i, i->i_reg), a = (U_##z)value;	\
	uint32_t ax;							\
									\
	if (p != NULL && i->i_flags & INSN_LOCK)			\
		__asm__ volatile("lock; xadd" #z " %[b], %[m]\n\t"	\
		    FLAGS_OUT						\
		    : "=&a" (ax), [m] "+m" (p->v), [b] "+r" (b) :	\
		    : "cc", "memory");					\
	else {								\
		if (p != NULL)						\
			a = p->v;					\
		__asm__("xadd" #z " %[b], %[a]\n\t" FLAGS_OUT		\
		    : "=&a" (ax), [a] "+r" (a), [b] "+r" (b) :		\
		    : "cc");						\
		if (p != NULL)						\
			p->v = a;					\
		else							\
			mem_rmw_store(c, at, BYTES_##z, a);		\
	}								\
	reg_set_##z(c, i, i->i_reg, b);					\
	flags_set(c, ax, FL_ARITH);					\
}

EACH_SIZE(XADD, )
VARIANTS_ALL(xadd);

/*
 * All of RAX and of a register destination take part, so that the upper halves
 * become what the host makes of them.
 */
#define MODIFIER_b	"b"
#define MODIFIER_w	"w"
#define MODIFIER_l	"k"
#define MODIFIER_q	"q"

/* On an lvalue, with the template and constraint for it. */
#define HOST_CMPXCHG(lock, z, operand, constraint, place)		\
	__asm__ volatile(lock "cmpxchg" #z " %[b], " operand "\n\t"	\
	    "movq %%rax, %[r]\n\t" FLAGS_OUT				\
	    : "+&a" (rax), [dst] constraint (place), [r] "=&r" (r)	\
	    : [b] "r" (b) : "cc", "memory")

#define CMPXCHG(unused, z)						\
FN(cmpxchg_r, z)							\
{									\
	U_##z b = reg_get_##z(c, i, i->i_reg);				\
	uint64_t rax = c->c_gpr[RAX], r, a = CMPXCHG_REG_##z(c, i);	\
									\
	HOST_CMPXCHG("", z, "%" MODIFIER_##z "[dst]", "+&r", a);	\
	c->c_gpr[RAX] = r;						\
	CMPXCHG_SET_##z(c, i, a);					\
	flags_set(c, (uint32_t)rax, FL_ARITH);				\
}									\
FN(cmpxchg_m, z)							\
{									\
	uint64_t value, at = mem_operand_rw(c, i, z);			\
	struct any_##z *p = mem_rmw_begin(c, at, BYTES_##z, &value);	\
	U_##z b = reg_get_##z(c, i, i->i_reg);				\
	uint64_t rax = c->c_gpr[RAX], r;				\
									\
	if (p == NULL) {						\
		HOST_CMPXCHG("", z, "%" MODIFIER_##z "[dst]", "+&r",	\
		    value);						\
		mem_rmw_store(c, at, BYTES_##z, (U_##z)value);		\
	} else if (i->i_flags & INSN_LOCK)				\
		HOST_CMPXCHG("lock; ", z, "%[dst]", "+m", p->v);	\
	else								\
		HOST_CMPXCHG("", z, "%[dst]", "+m", p->v);		\
	c->c_gpr[RAX] = r;						\
	flags_set(c, (uint32_t)rax, FL_ARITH);				\
}

/* If the destination is rAX itself it is equal and gets the source. */
#define CMPXCHG_REG_b(c, i)	reg_get_b((c), (i), (i)->i_rm)
#define CMPXCHG_REG_w(c, i)	((c)->c_gpr[(i)->i_rm])
#define CMPXCHG_REG_l(c, i)	((c)->c_gpr[(i)->i_rm])
#define CMPXCHG_REG_q(c, i)	((c)->c_gpr[(i)->i_rm])
#define CMPXCHG_SET_b(c, i, v)	reg_set_b((c), (i), (i)->i_rm, (uint8_t)(v))
#define CMPXCHG_SET_w(c, i, v)	((c)->c_gpr[(i)->i_rm] = (v))
#define CMPXCHG_SET_l(c, i, v)	((c)->c_gpr[(i)->i_rm] = (v))
#define CMPXCHG_SET_q(c, i, v)	((c)->c_gpr[(i)->i_rm] = (v))

EACH_SIZE(CMPXCHG, )
VARIANTS_ALL(cmpxchg);

/* Two words of n bytes: rDX:rAX against memory, rCX:rBX into it. */
static inline bool
compare_pair(struct cpu *c, const uint64_t value[2], unsigned size,
    uint64_t out[2])
{
	bool equal = value[0] == truncate_to(c->c_gpr[RAX], size) &&
	    value[1] == truncate_to(c->c_gpr[RDX], size);

	out[0] = equal ? truncate_to(c->c_gpr[RBX], size) : value[0];
	out[1] = equal ? truncate_to(c->c_gpr[RCX], size) : value[1];
	return (equal);
}

static void
pair_done(struct cpu *c, bool equal, uint64_t low, uint64_t high)
{
	if (equal)
		c->c_rflags |= FL_ZF;
	else {
		c->c_rflags &= ~(uint64_t)FL_ZF;
		c->c_gpr[RAX] = low;
		c->c_gpr[RDX] = high;
	}
}

void
insn_cmpxchg8b(struct cpu *c, const struct insn *i)
{
	uint64_t value, at = mem_operand_rw(c, i, q);
	struct any_q *p = mem_rmw_begin(c, at, 8, &value);
	uint64_t pair[2], next[2];
	uint32_t low = (uint32_t)c->c_gpr[RAX], high = (uint32_t)c->c_gpr[RDX];
	bool equal;

	if (p != NULL && i->i_flags & INSN_LOCK) {
		__asm__ volatile("lock; cmpxchg8b %[m]"
		    : [m] "+m" (p->v), "+a" (low), "+d" (high), "=@ccz" (equal)
		    : "b" ((uint32_t)c->c_gpr[RBX]),
		    "c" ((uint32_t)c->c_gpr[RCX]) : "memory");
		pair_done(c, equal, low, high);
		return;
	}
	if (p != NULL)
		value = p->v;
	pair[0] = (uint32_t)value;
	pair[1] = value >> 32;
	equal = compare_pair(c, pair, 4, next);
	value = next[1] << 32 | next[0];
	if (p != NULL)
		p->v = value;
	else
		mem_rmw_store(c, at, 8, value);
	pair_done(c, equal, pair[0], pair[1]);
}

void
insn_cmpxchg16b(struct cpu *c, const struct insn *i)
{
	uint64_t pair[2], next[2], at, low = c->c_gpr[RAX],
	    high = c->c_gpr[RDX];
	struct { uint64_t v[2]; } __attribute__((may_alias)) *p;
	bool equal;

	/* #GP(0) comes before what else may be wrong with the address. */
	at = mem_ea(c, i);
	if (i->i_seg >= SEG_FS)
		at += c->c_seg[i->i_seg].s_base;
	if (at & 15)
		cpu_gp(c, 0);
	at = mem_operand(c, i, 16, ENGINE_READ | ENGINE_WRITE);
	p = mem_rmw_begin(c, at, 16, pair);
	if (p != NULL) {
		__asm__ volatile("lock; cmpxchg16b %[m]"
		    : [m] "+m" (*p), "+a" (low), "+d" (high), "=@ccz" (equal)
		    : "b" (c->c_gpr[RBX]), "c" (c->c_gpr[RCX]) : "memory");
		pair_done(c, equal, low, high);
		return;
	}
	equal = compare_pair(c, pair, 8, next);
	mem_rmw_store16(c, at, next);
	pair_done(c, equal, pair[0], pair[1]);
}
