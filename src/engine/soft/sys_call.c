/*
 * Fast system calls, and HLT: SDM vol. 2 (SYSCALL, SYSRET, SYSENTER,
 * SYSEXIT), vol. 3A 5.8.7, 5.8.8; AMD APM vol. 3 where AMD's differ: SYSCALL
 * and SYSRET work outside 64-bit code too, SYSENTER and SYSEXIT only outside
 * long mode.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/stack.h"
#include "engine/soft/segment.h"

#define AR_FLAT		(AR_G | AR_P | AR_S | AR_WRITABLE | AR_ACCESSED)

/* The fixed segments that these instructions load. */
static void
call_segments(struct cpu *c, uint16_t cs, uint16_t ss, unsigned cpl,
    bool code64)
{
	struct segment *s = &c->c_seg[SEG_CS];

	s->s_sel = cs;
	s->s_base = 0;
	s->s_limit = UINT32_MAX;
	s->s_ar = AR_FLAT | AR_CODE | cpl << 5 | (code64 ? AR_L : AR_DB);
	s = &c->c_seg[SEG_SS];
	s->s_sel = ss;
	s->s_base = 0;
	s->s_limit = UINT32_MAX;
	s->s_ar = AR_FLAT | AR_DB | cpl << 5;
}

/* Here the TF that is loaded traps at once, the one before does not. */
static void
call_step(struct cpu *c)
{
	c->c_step = false;
	if (c->c_rflags & FL_TF) {
		c->c_dr6_pending |= DR6_BS;
		cpu_request(c, REQ_STEP);
	}
}

void
insn_syscall(struct cpu *c, const struct insn *i)
{
	uint16_t cs = (uint16_t)(c->c_star >> 32 & 0xfffc);
	uint64_t flags = cpu_rflags(c);

	(void)i;
	if ((c->c_efer & EFER_SCE) == 0 || !c->c_protected ||
	    (c->c_intel && !c->c_code64))
		cpu_ud(c);
	if (c->c_long) {
		c->c_gpr[RCX] = c->c_rip;
		c->c_gpr[R11] = flags & ~(uint64_t)FL_RF;
		c->c_rip = c->c_code64 ? c->c_lstar : c->c_cstar;
		flags &= ~(c->c_sfmask | FL_RF);
	} else {
		c->c_gpr[RCX] = (uint32_t)c->c_rip;
		c->c_rip = (uint32_t)c->c_star;
		flags &= ~(uint64_t)(FL_IF | FL_VM | FL_RF);
	}
	call_segments(c, cs, (uint16_t)(cs + 8), 0, c->c_long);
	cpu_set_rflags(c, flags);
	cpu_mode_update(c);
	call_step(c);
}

void
insn_sysret(struct cpu *c, const struct insn *i)
{
	uint16_t base = (uint16_t)(c->c_star >> 48);
	bool wide = i->i_osize == 8;
	uint64_t rip = c->c_gpr[RCX], flags;
	struct segment ss;

	if ((c->c_efer & EFER_SCE) == 0 || (c->c_intel && !c->c_code64))
		cpu_ud(c);
	if (!c->c_protected || c->c_cpl != 0)
		cpu_gp(c, 0);
	/* AMD's fault comes at the target, at CPL 3 */
	if (wide && c->c_intel && !cpu_canonical(rip))
		cpu_gp(c, 0);
	if (c->c_long)
		flags = c->c_gpr[R11] & 0x3c7fd7;
	else
		flags = cpu_rflags(c) | FL_IF;
	c->c_rip = wide ? rip : (uint32_t)rip;
	ss = c->c_seg[SEG_SS];
	call_segments(c, (uint16_t)((wide ? base + 16 : base) | 3),
	    (uint16_t)((base + 8) | 3), 3, wide);
	if (!c->c_intel) {
		/* AMD's loads no more of SS than its selector (APM vol. 3,
		 * SYSRET); our CPL is its DPL. */
		ss.s_sel = c->c_seg[SEG_SS].s_sel;
		ss.s_ar |= AR_DPL;
		c->c_seg[SEG_SS] = ss;
	}
	cpu_set_rflags(c, flags);
	cpu_mode_update(c);
	call_step(c);
}

void
insn_sysenter(struct cpu *c, const struct insn *i)
{
	uint16_t cs = (uint16_t)(c->c_sysenter_cs & 0xfffc);

	(void)i;
	if (!c->c_intel && c->c_long)
		cpu_ud(c);
	if (!c->c_protected || cs == 0)
		cpu_gp(c, 0);
	call_segments(c, cs, (uint16_t)(cs + 8), 0, c->c_long);
	c->c_gpr[RSP] = c->c_long ? c->c_sysenter_esp :
	    (uint32_t)c->c_sysenter_esp;
	c->c_rip = c->c_long ? c->c_sysenter_eip :
	    (uint32_t)c->c_sysenter_eip;
	cpu_set_rflags(c, c->c_rflags & ~(uint64_t)(FL_VM | FL_IF | FL_RF));
	cpu_mode_update(c);
}

void
insn_sysexit(struct cpu *c, const struct insn *i)
{
	uint16_t cs = (uint16_t)(c->c_sysenter_cs & 0xfffc);
	uint64_t rip = c->c_gpr[RDX], rsp = c->c_gpr[RCX];
	bool wide = i->i_osize == 8;

	if (!c->c_intel && c->c_long)
		cpu_ud(c);
	if (!c->c_protected || c->c_cpl != 0 || cs == 0)
		cpu_gp(c, 0);
	if (wide && (!cpu_canonical(rip) || !cpu_canonical(rsp)))
		cpu_gp(c, 0);
	cs = (uint16_t)(cs + (wide ? 32 : 16));
	call_segments(c, cs | 3, (uint16_t)((cs + 8) | 3), 3, wide);
	c->c_gpr[RSP] = wide ? rsp : (uint32_t)rsp;
	c->c_rip = wide ? rip : (uint32_t)rip;
	cpu_mode_update(c);
}

void
insn_hlt(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	cpu_leave(c, ENGINE_EXIT_HLT, false);
}
