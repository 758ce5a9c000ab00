/*
 * What the integer handlers are made of: register operands by size, flags
 * between guest and host, and the macros that make a handler's variants.
 *
 * Sizes go by the assembler's letters: b, w, l, q. A handler computes its
 * result by executing the instruction on the host, so that flags, also those
 * the manuals leave undefined, are the host's.
 */
#ifndef SOFT_OPERAND_H
#define SOFT_OPERAND_H

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"

#define U_b	uint8_t
#define U_w	uint16_t
#define U_l	uint32_t
#define U_q	uint64_t
#define S_b	int8_t
#define S_w	int16_t
#define S_l	int32_t
#define S_q	int64_t
#define BYTES_b	1
#define BYTES_w	2
#define BYTES_l	4
#define BYTES_q	8

/* M(..., letter) for each size, and for all but bytes. */
#define EACH_SIZE(M, ...)						\
	M(__VA_ARGS__, b) M(__VA_ARGS__, w) M(__VA_ARGS__, l) M(__VA_ARGS__, q)
#define EACH_WLQ(M, ...)						\
	M(__VA_ARGS__, w) M(__VA_ARGS__, l) M(__VA_ARGS__, q)

/* The array of variants of name from functions name_r_b, name_m_b, ... */
#define VARIANTS_ALL(name)						\
	insn_fn *const insn_##name[4][2] = {				\
		{ name##_r_b, name##_m_b }, { name##_r_w, name##_m_w },	\
		{ name##_r_l, name##_m_l }, { name##_r_q, name##_m_q },	\
	}
/* No byte form. */
#define VARIANTS_WLQ(name)						\
	insn_fn *const insn_##name[4][2] = {				\
		{ NULL, NULL }, { name##_r_w, name##_m_w },		\
		{ name##_r_l, name##_m_l }, { name##_r_q, name##_m_q },	\
	}
/* Instructions without an r/m operand that could be memory. */
#define VARIANTS_REG(name)						\
	insn_fn *const insn_##name[4][2] = {				\
		{ name##_b }, { name##_w }, { name##_l }, { name##_q },	\
	}

/* --- registers --------------------------------------------------------------- */

/* Without REX byte registers 4..7 are AH, CH, DH, BH. */
static inline bool
reg_high(const struct insn *i, unsigned n)
{
	return (n >= 4 && (i->i_flags & INSN_REX) == 0);
}

static inline uint8_t
reg_get_b(const struct cpu *c, const struct insn *i, unsigned n)
{
	if (reg_high(i, n))
		return ((uint8_t)(c->c_gpr[n - 4] >> 8));
	return ((uint8_t)c->c_gpr[n]);
}

static inline void
reg_set_b(struct cpu *c, const struct insn *i, unsigned n, uint8_t v)
{
	if (reg_high(i, n))
		c->c_gpr[n - 4] = (c->c_gpr[n - 4] & ~UINT64_C(0xff00)) |
		    (uint64_t)v << 8;
	else
		c->c_gpr[n] = (c->c_gpr[n] & ~UINT64_C(0xff)) | v;
}

static inline void
reg_set16(struct cpu *c, unsigned n, uint16_t v)
{
	c->c_gpr[n] = (c->c_gpr[n] & ~UINT64_C(0xffff)) | v;
}

/* The other sizes have no use for i. */
#define reg_get_w(c, i, n)	((void)(i), (uint16_t)(c)->c_gpr[n])
#define reg_get_l(c, i, n)	((void)(i), (uint32_t)(c)->c_gpr[n])
#define reg_get_q(c, i, n)	((void)(i), (c)->c_gpr[n])
#define reg_set_w(c, i, n, v)	((void)(i), reg_set16((c), (n), (v)))
#define reg_set_l(c, i, n, v)						\
	((void)(i), (void)((c)->c_gpr[n] = (uint32_t)(v)))
#define reg_set_q(c, i, n, v)	((void)(i), (void)((c)->c_gpr[n] = (v)))

/* By a size in bytes that is known only now; never byte registers. */
static inline uint64_t
reg_get(const struct cpu *c, unsigned n, unsigned size)
{
	return (size == 8 ? c->c_gpr[n] : size == 4 ? (uint32_t)c->c_gpr[n] :
	    (uint16_t)c->c_gpr[n]);
}

static inline void
reg_set(struct cpu *c, unsigned n, unsigned size, uint64_t v)
{
	if (size == 8)
		c->c_gpr[n] = v;
	else if (size == 4)
		c->c_gpr[n] = (uint32_t)v;
	else
		reg_set16(c, n, (uint16_t)v);
}

/* v cut to size bytes */
static inline uint64_t
truncate_to(uint64_t v, unsigned size)
{
	return (size == 8 ? v : size == 4 ? (uint32_t)v :
	    size == 2 ? (uint16_t)v : (uint8_t)v);
}

/* --- flags ------------------------------------------------------------------- */

/*
 * Host flags travel in AX: SF, ZF, AF, PF, CF in AH as LAHF and SAHF have
 * them, OF in bit 0 of AL. PUSHF would write below the stack pointer, where
 * the compiler may keep data.
 */
#define FLAGS_OUT	"lahf\n\tseto %%al"
#define FLAGS_IN	"addb $0x7f, %%al\n\tsahf\n\t"	/* 1 + 7f overflows */
#define CARRY_IN	"shrb %%ah\n\t"			/* AH[0]: CF */

static inline uint32_t
flags_to_ax(const struct cpu *c)
{
	uint32_t f = (uint32_t)c->c_rflags;

	return ((f & 0xff) << 8 | (f >> 11 & 1));
}

static inline uint32_t
flags_from_ax(uint32_t ax)
{
	return ((ax >> 8 & (FL_ARITH & 0xff)) | (ax & 1) << 11);
}

/* Takes those in mask over from the host's in ax. */
static inline void
flags_set(struct cpu *c, uint32_t ax, uint32_t mask)
{
	c->c_rflags = (c->c_rflags & ~(uint64_t)mask) |
	    (flags_from_ax(ax) & mask);
}

/* --- memory ------------------------------------------------------------------ */

/* Guest memory at any alignment, as an operand of host instructions. */
struct any_b { uint8_t v; } __attribute__((packed, may_alias));
struct any_w { uint16_t v; } __attribute__((packed, may_alias));
struct any_l { uint32_t v; } __attribute__((packed, may_alias));
struct any_q { uint64_t v; } __attribute__((packed, may_alias));

#define mem_get(c, i, z)						\
	((U_##z)mem_read((c), mem_operand((c), (i), BYTES_##z, ENGINE_READ), \
	    BYTES_##z))
#define mem_put(c, i, z, value)						\
	mem_write((c), mem_operand((c), (i), BYTES_##z, ENGINE_WRITE),	\
	    BYTES_##z, (value))
#define mem_operand_rw(c, i, z)						\
	mem_operand((c), (i), BYTES_##z, ENGINE_READ | ENGINE_WRITE)

/* The r/m operand's value, register or memory. */
#define rm_get_r(c, i, z)	reg_get_##z((c), (i), (i)->i_rm)
#define rm_get_m(c, i, z)	mem_get((c), (i), z)

#endif
