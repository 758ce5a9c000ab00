/*
 * x87 instructions, by stubs on the FXSAVE image (stub.h).
 *
 * The image that a stub leaves has the host's instruction and operand pointers
 * where the instruction set them; they are replaced by the guest's. Whether
 * they are set at all, and by which instructions, is up to the host's CPU. One
 * that shows them only while an exception is pending (AMD; APM vol. 2, 11.4.4)
 * sets them by every instruction but the control ones; f_fx then holds them at
 * all times and x87_save() hides them.
 *
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

void
x87_pointers_get(const struct cpu *c, struct x87_pointers *xp)
{
	memcpy(xp->xp_fop, c->c_fpu.f_fx + FX_FOP, sizeof(xp->xp_fop));
	memcpy(xp->xp_fip_fdp, c->c_fpu.f_fx + FX_FIP,
	    sizeof(xp->xp_fip_fdp));
}

/* On hosts that hide the pointers: they are as before the stub. */
void
x87_pointers_put(struct cpu *c, const struct x87_pointers *xp)
{
	if (!c->c_fpu.f_hides)
		return;
	memcpy(c->c_fpu.f_fx + FX_FOP, xp->xp_fop, sizeof(xp->xp_fop));
	memcpy(c->c_fpu.f_fx + FX_FIP, xp->xp_fip_fdp,
	    sizeof(xp->xp_fip_fdp));
}

/* The pointers after i, as the guest knows them. */
static void
x87_pointers_update(struct cpu *c, const struct insn *i)
{
	uint8_t *fx = c->c_fpu.f_fx;
	uint64_t fip, ea;
	uint16_t fop;

	memcpy(&fip, fx + FX_FIP, sizeof(fip));
	if (!c->c_fpu.f_hides && !stub_contains(c, fip))
		return;
	fip = c->c_rip - i->i_len;
	memcpy(fx + FX_FIP, &fip, sizeof(fip));
	c->c_fpu.f_fcs = c->c_seg[SEG_CS].s_sel;
	memcpy(&fop, fx + FX_FOP, sizeof(fop));
	if (c->c_fpu.f_hides || fop != 0) {
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
	struct x87_pointers xp;

	x87_check(c);
	x87_check_pending(c);
	x87_pointers_get(c, &xp);
	simd_execute(c, i);
	x87_pointers_put(c, &xp);
	x87_pointers_update(c, i);
}

/* Control instructions that wait: FLDCW. */
void
insn_x87_control(struct cpu *c, const struct insn *i)
{
	x87_check(c);
	x87_check_pending(c);
	insn_x87_nowait(c, i);
}

void
insn_x87_nowait(struct cpu *c, const struct insn *i)
{
	struct x87_pointers xp;

	x87_check(c);
	x87_pointers_get(c, &xp);
	simd_execute(c, i);
	/* FNINIT clears them. */
	if (i->i_opcode != 0xdb || i->i_modrm != 0xe3)
		x87_pointers_put(c, &xp);
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
