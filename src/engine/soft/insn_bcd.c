/*
 * AAA, AAS, AAM, AAD, DAA, DAS (SDM vol. 2). They do not exist in 64-bit code,
 * so the host cannot execute them here. Each is at heart an addition or
 * subtraction of a correction: flags that the manual leaves undefined are
 * those of that operation, as on AMD's CPUs.
 */
#include "engine/soft/operand.h"

/* AL = AL + b, or - b; all flags are that operation's. */
static uint8_t
add_al(struct cpu *c, uint8_t b)
{
	uint8_t al = (uint8_t)c->c_gpr[RAX];
	uint32_t ax;

	__asm__("addb %[b], %[al]\n\t" FLAGS_OUT
	    : "=&a" (ax), [al] "+r" (al) : [b] "r" (b) : "cc");
	flags_set(c, ax, FL_ARITH);
	return (al);
}

static uint8_t
sub_al(struct cpu *c, uint8_t b)
{
	uint8_t al = (uint8_t)c->c_gpr[RAX];
	uint32_t ax;

	__asm__("subb %[b], %[al]\n\t" FLAGS_OUT
	    : "=&a" (ax), [al] "+r" (al) : [b] "r" (b) : "cc");
	flags_set(c, ax, FL_ARITH);
	return (al);
}

static void
set_flag(struct cpu *c, uint32_t flag, bool on)
{
	c->c_rflags = (c->c_rflags & ~(uint64_t)flag) | (on ? flag : 0);
}

/* Is the low digit of AL to be corrected? */
static bool
low_digit(const struct cpu *c)
{
	return ((c->c_gpr[RAX] & 0xf) > 9 || c->c_rflags & FL_AF);
}

/* AAA and AAS: the correction is of all of AX. */
static void
ascii_adjust(struct cpu *c, bool add)
{
	uint16_t ax = (uint16_t)c->c_gpr[RAX];
	bool correct = low_digit(c);
	uint16_t by = correct ? 0x106 : 0;
	uint32_t f;

	if (add)
		__asm__("addw %[by], %[ax]\n\t" FLAGS_OUT
		    : "=&a" (f), [ax] "+r" (ax) : [by] "r" (by) : "cc");
	else
		__asm__("subw %[by], %[ax]\n\t" FLAGS_OUT
		    : "=&a" (f), [ax] "+r" (ax) : [by] "r" (by) : "cc");
	flags_set(c, f, FL_ARITH);
	set_flag(c, FL_AF | FL_CF, correct);
	reg_set16(c, RAX, ax & 0xff0f);
}

void
insn_aaa(struct cpu *c, const struct insn *i)
{
	(void)i;
	ascii_adjust(c, true);
}

void
insn_aas(struct cpu *c, const struct insn *i)
{
	(void)i;
	ascii_adjust(c, false);
}

static void
decimal_adjust(struct cpu *c, bool add)
{
	uint8_t al = (uint8_t)c->c_gpr[RAX], by = 0;
	bool low = low_digit(c), high = al > 0x99 || c->c_rflags & FL_CF;
	bool carry = high;

	if (low)
		by += 6;
	if (high)
		by += 0x60;
	/* Correcting the low digit may borrow; in DAA it carries only from
	 * above 99. */
	if (low && !add && al < 6)
		carry = true;
	al = add ? add_al(c, by) : sub_al(c, by);
	set_flag(c, FL_AF, low);
	set_flag(c, FL_CF, carry);
	c->c_gpr[RAX] = (c->c_gpr[RAX] & ~UINT64_C(0xff)) | al;
}

void
insn_daa(struct cpu *c, const struct insn *i)
{
	(void)i;
	decimal_adjust(c, true);
}

void
insn_das(struct cpu *c, const struct insn *i)
{
	(void)i;
	decimal_adjust(c, false);
}

void
insn_aam(struct cpu *c, const struct insn *i)
{
	unsigned al = c->c_gpr[RAX] & 0xff, base = i->i_imm & 0xff;

	if (base == 0)
		cpu_fault(c, VMM_EX_DE, 0);
	reg_set16(c, RAX, (uint16_t)(al / base << 8 | al % base));
	add_al(c, 0);
}

void
insn_aad(struct cpu *c, const struct insn *i)
{
	unsigned ah = c->c_gpr[RAX] >> 8 & 0xff;

	reg_set16(c, RAX, add_al(c, (uint8_t)(ah * (i->i_imm & 0xff))));
}
