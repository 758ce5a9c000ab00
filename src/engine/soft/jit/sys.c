/*
 * System instructions in translated code: what an operating system executes
 * all the time, in place or by a light helper, as far as it is ordinary. The
 * rest, and all faults, are the interpreter's.
 *
 * 1. c_rflags has no arithmetic flags while translated code runs: they are the
 *    host's, or in c_jflags.
 * 2. Interrupts may be open behind STI only once its successor has begun: no
 *    poll comes before that, and the dispatcher enters it whatever is
 *    requested (jit.c).
 * 3. RF that IRET loads is not kept while no breakpoint is armed: then it says
 *    nothing.
 *
 * SDM vol. 2; vol. 3A 5.8.8, 6.14. The VCPU's thread; jit_sys() is light
 * (jit.h).
 */
#include <stdatomic.h>
#include <stddef.h>

#include "engine/soft/handlers.h"
#include "engine/soft/jit/emit.h"
#include "engine/soft/jit/tables.h"
#include "engine/soft/mmu.h"
#include "engine/soft/operand.h"
#include "engine/soft/segment.h"

#define LOAD		0x8b
#define STORE		0x89
#define LEA		0x8d
#define FL_IF_BIT	9
#define FL_DF_BIT	10

/* --- in place ------------------------------------------------------------ */

/* Bit n of ecx is cleared; r11 goes. No flags, with BMI2. */
static void
clear_bit(struct tr *x, unsigned n)
{
	E_CODE(x, 0xc4, 0xe3, 0x7b, 0xf0, 0xc9);		/* rorx $n+1,ecx,ecx */
	e_byte(x, n + 1);
	e_mov_imm(x, H_T1, 1);
	E_CODE(x, 0xc4, 0xe2, 0x21, 0xf7, 0xc9);		/* shlx r11d,ecx,ecx */
	E_CODE(x, 0xc4, 0xe2, 0x23, 0xf7, 0xc9);		/* shrx r11d,ecx,ecx */
	E_CODE(x, 0xc4, 0xe3, 0x7b, 0xf0, 0xc9);		/* rorx $31-n,... */
	e_byte(x, 31 - n);
}

static bool
emit_cli(struct tr *x, const struct insn *i)
{
	(void)i;
	if ((x->x_mode & JM_CPL0) == 0 || !x->x_jit->j_bmi2)
		return (false);
	e_gs(x, LOAD, 4, H_T0, C_RFLAGS);
	clear_bit(x, FL_IF_BIT);
	e_gs(x, STORE, 4, H_T0, C_RFLAGS);
	return (true);
}

static bool
emit_sti(struct tr *x, const struct insn *i)
{
	uint8_t *idle;

	/* what is entered by the jump cache polls first */
	if ((x->x_mode & JM_CPL0) == 0 || !x->x_jit->j_bmi2 ||
	    x->x_off + i->i_len > PAGE_SIZE - INSN_MAXLEN)
		return (false);
	/* neither a request nor a window that waits for IF */
	e_gs(x, LOAD, 4, H_T0, C_REQUEST);
	e_gs(x, LOAD, 4, H_T1, (uint32_t)offsetof(struct cpu, c_window));
	e_rm(x, LEA, 4, H_T0, H_T0, H_T1, 0, 0);
	idle = e_jump8(x, E_JRCXZ);
	e_call_thunk(x, THUNK_INTERP);		/* it does not come back */
	e_patch8(x, idle);
	e_gs(x, LOAD, 4, H_T0, C_RFLAGS);
	clear_bit(x, FL_IF_BIT);
	e_rm(x, LEA, 4, H_T0, H_T0, REG_NONE, 0, FL_IF);
	e_gs(x, STORE, 4, H_T0, C_RFLAGS);
	return (true);
}

/* Every entry of a kernel's has one. */
static bool
emit_cld(struct tr *x, const struct insn *i)
{
	(void)i;
	if (!x->x_jit->j_bmi2)
		return (false);
	e_gs(x, LOAD, 4, H_T0, C_RFLAGS);
	clear_bit(x, FL_DF_BIT);
	e_gs(x, STORE, 4, H_T0, C_RFLAGS);
	return (true);
}

static bool
emit_pushf(struct tr *x, const struct insn *i)
{
	unsigned size = i->i_osize;

	if (size != (x->x_64 ? 8 : 4) || !x->x_jit->j_bmi2)
		return (false);
	e_stack(x, -(int32_t)size, size, ENGINE_WRITE);
	e_rm(x, LEA, 8, H_T1, H_T0, H_T1, 0, 0);
	e_gs(x, STORE, 8, H_RAX, C_TMP);
	E_CODE(x, 0x9f, 0x0f, 0x90, 0xc0);		/* lahf; seto al */
	E_CODE(x, 0x0f, 0xb6, 0xcc);			/* movzx ah,ecx */
	E_CODE(x, 0x0f, 0xb6, 0xc0);			/* movzx al,eax */
	E_CODE(x, 0xc4, 0xe3, 0x7b, 0xf0, 0xc0, 32 - 11);	/* rorx ..,eax,eax */
	/* bit 1 is in both: once too often */
	e_rm(x, LEA, 4, H_T0, H_T0, H_RAX, 0, -(int32_t)FL_R1);
	e_gs(x, LOAD, 4, H_RAX, C_RFLAGS);
	e_rm(x, LEA, 4, H_T0, H_T0, H_RAX, 0, 0);
	e_gs(x, LOAD, 8, H_RAX, C_TMP);
	e_rm(x, STORE, size, H_T0, H_T1, REG_NONE, 0, 0);
	e_stack_move(x, -(int32_t)size);
	return (true);
}

static uint32_t
gs_base(void)
{
	return ((uint32_t)(offsetof(struct cpu, c_seg) +
	    SEG_GS * sizeof(struct segment) +
	    offsetof(struct segment, s_base)));
}

static bool
emit_swapgs(struct tr *x, const struct insn *i)
{
	(void)i;
	if ((x->x_mode & JM_CPL0) == 0 || !x->x_64)
		return (false);
	e_gs(x, LOAD, 8, H_T0, gs_base());
	e_gs(x, LOAD, 8, H_T1, offsetof(struct cpu, c_kgsbase));
	e_gs(x, STORE, 8, H_T1, gs_base());
	e_gs(x, STORE, 8, H_T0, offsetof(struct cpu, c_kgsbase));
	return (true);
}

static bool
emit_rdtsc(struct tr *x, const struct insn *i)
{
	(void)i;
	if ((x->x_mode & JM_TSC) == 0 || !x->x_jit->j_bmi2)
		return (false);
	E_CODE(x, 0x0f, 0x31);
	E_CODE(x, 0xc4, 0xe3, 0xfb, 0xf0, 0xd2, 32);	/* rorx ..,rdx,rdx */
	e_rm(x, LEA, 8, H_RAX, H_RAX, H_RDX, 0, 0);
	e_gs(x, LOAD, 8, H_T0, offsetof(struct cpu, c_tsc_offset));
	e_rm(x, LEA, 8, H_RAX, H_RAX, H_T0, 0, 0);
	E_CODE(x, 0xc4, 0xe3, 0xfb, 0xf0, 0xd0, 32);	/* rorx ..,rax,rdx */
	e_rr(x, LOAD, 4, H_RDX, H_RDX);
	e_rr(x, LOAD, 4, H_RAX, H_RAX);
	return (true);
}

static bool
emit_rdtscp(struct tr *x, const struct insn *i)
{
	if ((x->x_mode & JM_TSC) == 0 || !x->x_jit->j_bmi2)
		return (false);
	E_CODE(x, 0x0f, 0xae, 0xe8);			/* lfence */
	emit_rdtsc(x, i);
	e_gs(x, LOAD, 4, H_RCX, offsetof(struct cpu, c_tsc_aux));
	return (true);
}

static bool
emit_mov_r_cr(struct tr *x, const struct insn *i)
{
	static const uint16_t at[8] = {
		[0] = offsetof(struct cpu, c_cr0),
		[2] = offsetof(struct cpu, c_cr2),
		[3] = offsetof(struct cpu, c_cr3),
		[4] = offsetof(struct cpu, c_cr4),
	};

	if ((x->x_mode & JM_CPL0) == 0 || !x->x_64 || i->i_reg > 4 ||
	    at[i->i_reg] == 0)
		return (false);
	e_gs(x, LOAD, 8, H_T0, at[i->i_reg]);
	if (tr_host[i->i_rm] == H_SLOT)
		e_put(x, i->i_rm, H_T0);
	else
		e_mov(x, tr_host[i->i_rm], H_T0);
	return (true);
}

/* --- by the helper ------------------------------------------------------- */

static uint64_t
flags_all(const struct cpu *c)
{
	return ((c->c_rflags & ~(uint64_t)FL_ARITH) |
	    flags_from_ax((uint32_t)c->c_jflags) | FL_R1);
}

static void
flags_set_all(struct cpu *c, uint64_t flags)
{
	c->c_rflags = flags;
	c->c_jflags = flags_to_ax(c);
	c->c_rflags = (flags & (FL_ALL & ~FL_ARITH)) | FL_R1;
	if (flags & FL_IF)
		cpu_if_set(c);
}

/* CPL or AC changed, from 64-bit code to 64-bit code. */
static void
mode_change(struct cpu *c, unsigned cpl)
{
	unsigned mode = c->c_jmode & ~(unsigned)(JM_CLASS | JM_CPL3 | JM_CPL0 |
	    JM_TSC);

	c->c_cpl = (uint8_t)cpl;
	mmu_mode_update(c);
	block_mode_update(c);
	mode |= c->c_mmu->m_class | (cpl == 3 ? JM_CPL3 : JM_CPL0);
	if (cpl == 0 || (c->c_cr4 & CR4_TSD) == 0)
		mode |= JM_TSC;
	c->c_jmode = (uint16_t)mode;
}

/* Goes on at c_rip, by the jump cache; or leaves. */
static unsigned
jump(struct cpu *c)
{
	const uint8_t *to;

	if (c->c_cpl == 3 && c->c_direct_on)
		return (SYS_LEAVE);
	if ((to = jc_look(c, c->c_rip)) == NULL)
		return (SYS_LEAVE);
	jit_returns_select(c);
	c->c_exit[1] = (uintptr_t)to;
	return (SYS_GO);
}

static void
segment_set(struct segment *s, unsigned sel, uint32_t ar, unsigned flat)
{
	s->s_base = 0;
	s->s_limit = UINT32_MAX;
	s->s_sel = (uint16_t)sel;
	s->s_flat = (uint8_t)flat;
	s->s_ar = ar;
}

#define AR_FLAT	(AR_G | AR_P | AR_S | AR_WRITABLE | AR_ACCESSED)

static unsigned
sys_syscall(struct cpu *c, uint64_t next)
{
	unsigned cs = (unsigned)(c->c_star >> 32 & 0xfffc);
	uint64_t flags = flags_all(c);

	if ((c->c_efer & EFER_SCE) == 0)
		return (SYS_INTERPRET);
	c->c_gpr[RCX] = next;
	c->c_gpr[R11] = flags & ~(uint64_t)FL_RF;
	c->c_rip = c->c_lstar;
	segment_set(&c->c_seg[SEG_CS], cs, AR_FLAT | AR_CODE | AR_L,
	    ENGINE_READ);
	segment_set(&c->c_seg[SEG_SS], (cs + 8) & UINT16_MAX, AR_FLAT | AR_DB,
	    ENGINE_READ | ENGINE_WRITE);
	flags_set_all(c, flags & ~(c->c_sfmask | FL_RF));
	mode_change(c, 0);
	return (jump(c));
}

static unsigned
sys_sysret(struct cpu *c, uint64_t next)
{
	unsigned base = (unsigned)(c->c_star >> 48);
	uint64_t flags = c->c_gpr[R11] & 0x3c7fd7;
	struct segment *ss = &c->c_seg[SEG_SS];

	(void)next;
	if ((c->c_efer & EFER_SCE) == 0 || !cpu_canonical(c->c_gpr[RCX]) ||
	    flags & (FL_TF | FL_RF | FL_AC))
		return (SYS_INTERPRET);
	c->c_rip = c->c_gpr[RCX];
	segment_set(&c->c_seg[SEG_CS], ((base + 16) | 3) & UINT16_MAX,
	    AR_FLAT | AR_CODE | AR_L | AR_DPL, ENGINE_READ);
	if (c->c_intel) {
		segment_set(ss, ((base + 8) | 3) & UINT16_MAX,
		    AR_FLAT | AR_DB | AR_DPL, ENGINE_READ | ENGINE_WRITE);
	} else {
		ss->s_sel = (uint16_t)((base + 8) | 3);
		ss->s_ar |= AR_DPL;
	}
	flags_set_all(c, flags);
	mode_change(c, 3);
	return (jump(c));
}

static unsigned
sys_ac(struct cpu *c, uint64_t next, uint64_t ac)
{
	c->c_rflags = (c->c_rflags & ~(uint64_t)FL_AC) | ac;
	c->c_rip = next;
	mode_change(c, 0);
	return (jump(c));
}

static unsigned
sys_clac(struct cpu *c, uint64_t next)
{
	return (sys_ac(c, next, 0));
}

static unsigned
sys_stac(struct cpu *c, uint64_t next)
{
	return (sys_ac(c, next, FL_AC));
}

/* Guest memory, at any alignment. */
typedef const uint64_t __attribute__((may_alias, aligned(1))) quad;

/* A descriptor of the GDT, read without more; false otherwise. */
static bool
descriptor(struct cpu *c, uint64_t sel, struct descriptor *d)
{
	uint64_t linear = c->c_gdtr.s_base + (sel & 0xfff8);
	quad *raw;

	if (sel & SEL_LDT || (sel | 7) > c->c_gdtr.s_limit || (sel & ~3u) == 0)
		return (false);
	raw = (quad *)jtlb_look(c, mmu_class_sys(c), linear, 8, ENGINE_READ);
	if (raw == NULL) {
		if (mmu_class_sys(c) != c->c_mmu->m_class ||
		    (raw = (quad *)jit_fill(c, linear,
		    8 | ENGINE_READ << 8)) == NULL)
			return (false);
	}
	d->d_raw = *(const volatile quad *)raw;
	return (true);
}

static unsigned
sys_iret(struct cpu *c, uint64_t next)
{
	uint64_t rip, cs, flags, rsp, sel;
	struct descriptor code, stack;
	struct segment ss, *s;
	quad *frame;
	unsigned cpl, n;

	(void)next;
	if (c->c_rflags & FL_NT || c->c_nmi_blocked)
		return (SYS_INTERPRET);
	frame = (quad *)jit_fill(c, c->c_gpr[RSP], 40 | ENGINE_READ << 8);
	if (frame == NULL)
		return (SYS_INTERPRET);
	rip = frame[0];
	cs = frame[1] & UINT16_MAX;
	flags = frame[2];
	rsp = frame[3];
	sel = frame[4] & UINT16_MAX;
	cpl = cs & 3;
	if (!cpu_canonical(rip) || flags & (FL_TF | FL_NT | FL_VM) ||
	    (flags & FL_RF && c->c_dr[7] & DR7_ENABLED) ||
	    (cpl != 0 && (cpl != 3 || flags & FL_AC)) ||
	    !descriptor(c, cs, &code))
		return (SYS_INTERPRET);
	/* present, 64-bit, accessed, not conforming */
	if ((desc_ar(&code) & (AR_P | AR_S | AR_CODE | AR_CONFORMING | AR_L |
	    AR_DB | AR_ACCESSED | AR_DPL)) != (AR_P | AR_S | AR_CODE | AR_L |
	    AR_ACCESSED | cpl << 5))
		return (SYS_INTERPRET);
	if (sel == 0 && cpl == 0) {
		segment_set(&ss, 0, AR_UNUSABLE | AR_P | AR_S | AR_DB | AR_G |
		    AR_WRITABLE | AR_ACCESSED, 0);
	} else {
		if ((sel & 3) != cpl || !descriptor(c, sel, &stack) ||
		    (desc_ar(&stack) & (AR_P | AR_S | AR_CODE | AR_DOWN |
		    AR_WRITABLE | AR_ACCESSED | AR_DPL)) != (AR_P | AR_S |
		    AR_WRITABLE | AR_ACCESSED | cpl << 5))
			return (SYS_INTERPRET);
		ss.s_sel = (uint16_t)sel;
		ss.s_base = desc_base(&stack);
		ss.s_limit = desc_limit(&stack);
		ss.s_ar = desc_ar(&stack);
		ss.s_flat = ss.s_base == 0 && ss.s_limit == UINT32_MAX ?
		    ENGINE_READ | ENGINE_WRITE : 0;
	}
	for (n = SEG_ES; cpl == 3 && n <= SEG_GS; n++)
		if (n != SEG_CS && n != SEG_SS &&
		    (c->c_seg[n].s_ar & AR_UNUSABLE) == 0 &&
		    AR_DPL_OF(c->c_seg[n].s_ar) != 3)
			return (SYS_INTERPRET);

	for (n = SEG_ES; cpl == 3 && n <= SEG_GS; n++)
		if (n != SEG_CS && n != SEG_SS &&
		    c->c_seg[n].s_ar & AR_UNUSABLE)
			c->c_seg[n].s_sel = 0;	/* as seg_drop_inner() */
	c->c_seg[SEG_SS] = ss;
	s = &c->c_seg[SEG_CS];
	s->s_sel = (uint16_t)cs;
	s->s_base = desc_base(&code);
	s->s_limit = desc_limit(&code);
	s->s_ar = desc_ar(&code);
	s->s_flat = s->s_base == 0 && s->s_limit == UINT32_MAX &&
	    s->s_ar & AR_READABLE ? ENGINE_READ : 0;
	c->c_gpr[RSP] = rsp;
	c->c_rip = rip;
	flags_set_all(c, flags & ~(uint64_t)FL_RF);
	mode_change(c, cpl);
	return (jump(c));
}

static const struct {
	insn_fn		*exec;
	unsigned	(*light)(struct cpu *, uint64_t next);
	uint16_t	 mode;		/* where: JM_* */
} light[] = {
	{ insn_syscall,	sys_syscall,	JM_64 | JM_CPL3 },
	{ insn_sysret,	sys_sysret,	JM_64 | JM_CPL0 },
	{ insn_clac,	sys_clac,	JM_64 | JM_CPL0 },
	{ insn_stac,	sys_stac,	JM_64 | JM_CPL0 },
	{ insn_iret,	sys_iret,	JM_64 | JM_CPL0 },
};

unsigned
jit_sys(struct cpu *c, unsigned which, uint64_t next)
{
	/* the x87 pointers take their selectors when they are stored (fpu.c) */
	if (__builtin_expect(c->c_x87_live && c->c_fpu.f_last_op != 0, 0))
		return (SYS_INTERPRET);
	return (light[which].light(c, next));
}

static bool
emit_light(struct tr *x, const struct insn *i)
{
	unsigned n;

	for (n = 0; n < sizeof(light) / sizeof(light[0]); n++)
		if (i->i_exec == light[n].exec)
			break;
	if (n == sizeof(light) / sizeof(light[0]) ||
	    (x->x_mode & light[n].mode) != light[n].mode ||
	    x->x_jit->j_opt.jo_nochain ||
	    (i->i_osize != 8 && (i->i_exec == insn_sysret ||
	    i->i_exec == insn_iret)))
		return (false);
	e_code_va(x, H_T0, (int32_t)(x->x_off + i->i_len));
	e_mov_imm(x, H_T1, n);
	e_call_thunk(x, THUNK_SYS);
	x->x_ended = true;
	return (true);
}

/* --- the rule ------------------------------------------------------------ */

bool
tr_sys(struct tr *x, const struct insn *i)
{
	static const struct {
		insn_fn	*exec;
		tr_rule	*rule;
	} rules[] = {
		{ insn_cli, emit_cli },
		{ insn_sti, emit_sti },
		{ insn_cld, emit_cld },
		{ insn_pushf, emit_pushf },
		{ insn_swapgs, emit_swapgs },
		{ insn_rdtsc, emit_rdtsc },
		{ insn_rdtscp, emit_rdtscp },
		{ insn_mov_r_cr, emit_mov_r_cr },
	};
	unsigned n;

	for (n = 0; n < sizeof(rules) / sizeof(rules[0]); n++)
		if (i->i_exec == rules[n].exec)
			return (rules[n].rule(x, i));
	return (emit_light(x, i));
}
