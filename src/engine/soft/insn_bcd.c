/*
 * AAA, AAS, AAM, AAD, DAA, DAS (SDM vol. 2). They do not exist in 64-bit code,
 * so the host cannot execute them here; the flags that the manual leaves
 * undefined are those of the CPUs at hand: OF, and for AAM and AAD also AF and
 * CF, are 0; for AAA and AAS SF, ZF, PF follow AL.
 */
#include "engine/soft/operand.h"

static void
set_al_flags(struct cpu *c, uint8_t al, uint32_t more)
{
	uint32_t f = more;

	if (al == 0)
		f |= FL_ZF;
	if (al & 0x80)
		f |= FL_SF;
	if (!__builtin_parity(al))
		f |= FL_PF;
	c->c_rflags = (c->c_rflags & ~(uint64_t)FL_ARITH) | f;
}

static void
set_ax(struct cpu *c, unsigned ah, unsigned al)
{
	reg_set16(c, RAX, (uint16_t)((ah & 0xff) << 8 | (al & 0xff)));
}

/* AAA and AAS: sign is 1 or -1. */
static void
ascii_adjust(struct cpu *c, int sign)
{
	uint16_t ax = (uint16_t)c->c_gpr[RAX];
	uint32_t f = 0;

	if ((ax & 0xf) > 9 || c->c_rflags & FL_AF) {
		ax = (uint16_t)(ax + sign * 0x106);
		f = FL_AF | FL_CF;
	}
	ax &= 0xff0f;
	reg_set16(c, RAX, ax);
	set_al_flags(c, (uint8_t)ax, f);
}

void
insn_aaa(struct cpu *c, const struct insn *i)
{
	(void)i;
	ascii_adjust(c, 1);
}

void
insn_aas(struct cpu *c, const struct insn *i)
{
	(void)i;
	ascii_adjust(c, -1);
}

/* DAA and DAS: sign is 1 or -1. */
static void
decimal_adjust(struct cpu *c, int sign)
{
	uint8_t old = (uint8_t)c->c_gpr[RAX], al = old;
	bool cf = c->c_rflags & FL_CF;
	uint32_t f = 0;

	if ((al & 0xf) > 9 || c->c_rflags & FL_AF) {
		f |= FL_AF;
		/* DAS: a borrow out of AL counts; in DAA the test below says
		 * the same. */
		if (sign < 0 && al < 6)
			f |= FL_CF;
		al = (uint8_t)(al + sign * 6);
	}
	if (old > 0x99 || cf) {
		al = (uint8_t)(al + sign * 0x60);
		f |= FL_CF;
	}
	c->c_gpr[RAX] = (c->c_gpr[RAX] & ~UINT64_C(0xff)) | al;
	set_al_flags(c, al, f);
}

void
insn_daa(struct cpu *c, const struct insn *i)
{
	(void)i;
	decimal_adjust(c, 1);
}

void
insn_das(struct cpu *c, const struct insn *i)
{
	(void)i;
	decimal_adjust(c, -1);
}

void
insn_aam(struct cpu *c, const struct insn *i)
{
	unsigned al = c->c_gpr[RAX] & 0xff, base = i->i_imm & 0xff;

	if (base == 0)
		cpu_fault(c, VMM_EX_DE, 0);
	set_ax(c, al / base, al % base);
	set_al_flags(c, (uint8_t)(al % base), 0);
}

void
insn_aad(struct cpu *c, const struct insn *i)
{
	unsigned al = c->c_gpr[RAX] & 0xff, ah = c->c_gpr[RAX] >> 8 & 0xff;

	al = (al + ah * (i->i_imm & 0xff)) & 0xff;
	set_ax(c, 0, al);
	set_al_flags(c, (uint8_t)al, 0);
}
