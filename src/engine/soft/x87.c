/*
 * x87 instructions, by stubs on the FXSAVE image (stub.h).
 *
 * The image that a stub leaves has the host's instruction and operand pointers
 * where the instruction set them; they are replaced by the guest's. Whether
 * they are set at all, and by which instructions, is up to the host's CPU.
 * CR0.NE 0 is treated as 1: there is no FERR# pin.
 *
 * VCPU thread. SDM vol. 1 chapter 8.
 */
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/opcode.h"
#include "engine/soft/simd.h"
#include "engine/soft/stub.h"

uint16_t
x87_fsw(const struct cpu *c)
{
	uint16_t fsw;

	memcpy(&fsw, c->c_fpu.f_fx + FX_FSW, sizeof(fsw));
	return (fsw);
}

void
x87_check(struct cpu *c)
{
	if (__builtin_expect(c->c_cr0 & (CR0_EM | CR0_TS), 0))
		cpu_fault(c, VMM_EX_NM, 0);
}

void
x87_check_pending(struct cpu *c)
{
	if (__builtin_expect(x87_fsw(c) & FSW_ES, 0))
		cpu_fault(c, VMM_EX_MF, 0);
}

/* The pointers that i's stub left, as the guest knows them. */
static void
x87_pointers(struct cpu *c, const struct insn *i)
{
	uint8_t *fx = c->c_fpu.f_fx;
	uint64_t fip, ea;
	uint16_t fop;

	memcpy(&fip, fx + FX_FIP, sizeof(fip));
	if (!stub_contains(c, fip))
		return;
	fip = c->c_rip - i->i_len;
	memcpy(fx + FX_FIP, &fip, sizeof(fip));
	c->c_fpu.f_fcs = c->c_seg[SEG_CS].s_sel;
	memcpy(&fop, fx + FX_FOP, sizeof(fop));
	if (fop != 0) {
		fop = (uint16_t)((i->i_opcode & 7) << 8 | i->i_modrm);
		memcpy(fx + FX_FOP, &fop, sizeof(fop));
	}
	if (i->i_flags & INSN_MEM) {
		ea = mem_ea(c, i);
		memcpy(fx + FX_FDP, &ea, sizeof(ea));
		c->c_fpu.f_fds = c->c_seg[i->i_seg].s_sel;
	}
}

void
insn_x87(struct cpu *c, const struct insn *i)
{
	x87_check(c);
	x87_check_pending(c);
	simd_execute(c, i);
	x87_pointers(c, i);
}

void
insn_x87_nowait(struct cpu *c, const struct insn *i)
{
	x87_check(c);
	simd_execute(c, i);
}

void
insn_fnstsw_ax(struct cpu *c, const struct insn *i)
{
	(void)i;
	x87_check(c);
	c->c_gpr[RAX] = (c->c_gpr[RAX] & ~(uint64_t)0xffff) | x87_fsw(c);
}

void
insn_fwait(struct cpu *c, const struct insn *i)
{
	(void)i;
	if ((c->c_cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		cpu_fault(c, VMM_EX_NM, 0);
	x87_check_pending(c);
}
