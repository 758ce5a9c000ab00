/*
 * Far transfers: JMP, CALL, RET, IRET, gates, software interrupts (SDM vol. 2
 * for each, vol. 3A 5.8, 6.12 to 6.14, 20.2).
 *
 * Everything that may fault (stack reads and writes, descriptors, limits) comes
 * before the first change of a register.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/stack.h"
#include "engine/soft/segment.h"
#include "engine/soft/task.h"

/* --- stacks ----------------------------------------------------------------------- */

/* Reads the value at the stack pointer *sp and moves it up. */
static uint64_t
far_pop(struct cpu *c, uint64_t *sp, unsigned size)
{
	uint64_t value;

	value = mem_read(c, mem_linear(c, SEG_SS, *sp & size_mask(c->c_ssize),
	    size, ENGINE_READ), size);
	*sp += size;
	return (value);
}

/* Pushes onto the current stack; *sp moves down. */
static void
far_push(struct cpu *c, uint64_t *sp, unsigned size, uint64_t value)
{
	*sp = (*sp - size) & size_mask(c->c_ssize);
	mem_write(c, mem_linear(c, SEG_SS, *sp, size, ENGINE_WRITE), size,
	    value);
}

/* Pushes onto a stack that is being switched to. */
static void
far_push_new(struct cpu *c, const struct segment *ss, uint64_t *sp,
    unsigned size, uint64_t value, bool user)
{
	uint64_t linear, last;
	uint32_t top;

	*sp -= size;
	if (ss == NULL) {		/* 64-bit */
		if (!cpu_canonical(*sp) || !cpu_canonical(*sp + size - 1))
			cpu_fault(c, VMM_EX_SS, 0);
		mem_write_as(c, user, *sp, size, value);
		return;
	}
	*sp &= ss->s_ar & AR_DB ? UINT32_MAX : UINT16_MAX;
	last = *sp + size - 1;
	top = ss->s_ar & AR_DB ? UINT32_MAX : UINT16_MAX;
	if (ss->s_ar & AR_DOWN ? *sp <= ss->s_limit || last > top :
	    last > ss->s_limit)
		seg_fault(c, VMM_EX_SS, ss->s_sel, 0);
	linear = (uint32_t)(ss->s_base + *sp);
	mem_write_as(c, user, linear, size, value);
}

/* --- destinations -------------------------------------------------------------------- */

/* Is the offset inside the code segment (or canonical)? Else #GP(0). */
static void
far_check_offset(struct cpu *c, const struct descriptor *cs, uint64_t offset)
{
	if (c->c_long && desc_ar(cs) & AR_L) {
		if (!cpu_canonical(offset))
			cpu_gp(c, 0);
	} else if ((uint32_t)offset > desc_limit(cs))
		cpu_gp(c, 0);
}

/* CS and RIP; the CPL that goes into the selector is cpl. */
static void
far_enter(struct cpu *c, const struct descriptor *cs, unsigned cpl,
    uint64_t offset)
{
	seg_from_desc(&c->c_seg[SEG_CS],
	    (uint16_t)((cs->d_sel & ~3u) | cpl), cs);
	if (!(c->c_long && desc_ar(cs) & AR_L))
		offset = (uint32_t)offset;
	c->c_rip = offset;
	cpu_mode_update(c);
}

/* L and D together are reserved in long mode. */
static bool
far_code_bad(const struct cpu *c, uint32_t ar)
{
	return ((ar & (AR_S | AR_CODE)) != (AR_S | AR_CODE) ||
	    (c->c_long && (ar & (AR_L | AR_DB)) == (AR_L | AR_DB)));
}

/* A code segment that JMP or CALL names directly. */
static void
far_check_code(struct cpu *c, const struct descriptor *d)
{
	uint32_t ar = desc_ar(d);

	if (far_code_bad(c, ar))
		seg_fault(c, VMM_EX_GP, d->d_sel, 0);
	if (ar & AR_CONFORMING) {
		if (AR_DPL_OF(ar) > c->c_cpl)
			seg_fault(c, VMM_EX_GP, d->d_sel, 0);
	} else if (SEL_RPL(d->d_sel) > c->c_cpl ||
	    AR_DPL_OF(ar) != c->c_cpl)
		seg_fault(c, VMM_EX_GP, d->d_sel, 0);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, d->d_sel, 0);
}

/* A gate, TSS or task gate: its DPL against CPL and RPL, then presence. */
static void
far_check_gate(struct cpu *c, const struct descriptor *g)
{
	uint32_t ar = desc_ar(g);

	if (AR_DPL_OF(ar) < c->c_cpl || AR_DPL_OF(ar) < SEL_RPL(g->d_sel))
		seg_fault(c, VMM_EX_GP, g->d_sel, 0);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, g->d_sel, 0);
}

/* --- call gates --------------------------------------------------------------------------- */

struct gate {
	struct descriptor g_cs;
	uint64_t	 g_offset;
	unsigned	 g_size;	/* of pushes: 2, 4, 8 */
	unsigned	 g_params;
	unsigned	 g_cpl;		/* of the target */
};

static void
gate_read(struct cpu *c, struct descriptor *g, bool call, struct gate *out)
{
	uint16_t sel = gate_selector(g);
	uint32_t ar;

	far_check_gate(c, g);
	out->g_offset = gate_offset(g);
	out->g_params = g->d_raw >> 32 & 0x1f;
	out->g_size = (desc_ar(g) & AR_TYPE) == TYPE_CALL ? 4 : 2;
	if (out->g_size == 2)
		out->g_offset &= 0xffff;
	if (c->c_long) {
		desc_read_high(c, g, VMM_EX_GP, 0);
		if (g->d_high >> 40 & 0x1f)	/* the second type field */
			seg_fault(c, VMM_EX_GP, g->d_sel, 0);
		out->g_offset |= g->d_high << 32;
		out->g_params = 0;
		out->g_size = 8;
	}
	if (SEL_NULL(sel))
		cpu_gp(c, 0);
	desc_read(c, sel, &out->g_cs, VMM_EX_GP, 0);
	ar = desc_ar(&out->g_cs);
	if (far_code_bad(c, ar) || AR_DPL_OF(ar) > c->c_cpl ||
	    (c->c_long && (ar & AR_L) == 0))
		seg_fault(c, VMM_EX_GP, sel, 0);
	if (!call && (ar & AR_CONFORMING) == 0 && AR_DPL_OF(ar) != c->c_cpl)
		seg_fault(c, VMM_EX_GP, sel, 0);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, 0);
	out->g_cpl = (ar & AR_CONFORMING) == 0 ? AR_DPL_OF(ar) : c->c_cpl;
}

/* CALL through a gate to an inner level. */
static void
gate_call_inner(struct cpu *c, struct gate *g)
{
	struct segment ss, *ssp = NULL;
	uint64_t sp, old = c->c_gpr[RSP], from;
	uint32_t params[32], esp;
	uint16_t sel;
	unsigned n, size = g->g_size < 8 ? g->g_size : 4;
	bool user = g->g_cpl == 3;

	if (c->c_long)
		sp = task_stack64(c, g->g_cpl, 0, 0);
	else {
		task_stack(c, g->g_cpl, 0, &sel, &esp);
		seg_check_stack(c, sel, g->g_cpl, VMM_EX_TS, 0, &ss);
		ssp = &ss;
		sp = esp;
	}
	from = old;
	for (n = 0; n < g->g_params; n++)
		params[n] = (uint32_t)far_pop(c, &from, size);
	far_push_new(c, ssp, &sp, g->g_size, c->c_seg[SEG_SS].s_sel, user);
	far_push_new(c, ssp, &sp, g->g_size, old, user);
	while (n > 0)
		far_push_new(c, ssp, &sp, g->g_size, params[--n], user);
	far_push_new(c, ssp, &sp, g->g_size, c->c_seg[SEG_CS].s_sel, user);
	far_push_new(c, ssp, &sp, g->g_size, c->c_rip, user);
	far_check_offset(c, &g->g_cs, g->g_offset);
	desc_accessed(c, &g->g_cs);

	if (ssp != NULL) {
		c->c_seg[SEG_SS] = ss;
		reg_set(c, RSP, ss.s_ar & AR_DB ? 4 : 2, sp);
	} else {
		seg_set_null_stack(&c->c_seg[SEG_SS], (uint16_t)g->g_cpl,
		    g->g_cpl);
		c->c_gpr[RSP] = sp;
	}
	far_enter(c, &g->g_cs, g->g_cpl, g->g_offset);
}

/* --- JMP and CALL --------------------------------------------------------------------------- */

static void
far_system(struct cpu *c, struct descriptor *d, bool call)
{
	struct gate g;
	uint64_t sp = c->c_gpr[RSP];
	uint32_t type = desc_ar(d) & AR_TYPE;

	if (c->c_long && type != TYPE_CALL)
		seg_fault(c, VMM_EX_GP, d->d_sel, 0);
	switch (type) {
	case TYPE_TSS:
	case TYPE_TSS16:
		far_check_gate(c, d);
		task_switch(c, d->d_sel, call ? TASK_CALL : TASK_JMP, false, 0,
		    0);
		return;
	case TYPE_TASK:
		far_check_gate(c, d);
		task_switch(c, gate_selector(d), call ? TASK_CALL : TASK_JMP,
		    false, 0, 0);
		return;
	case TYPE_CALL:
	case TYPE_CALL16:
		break;
	default:
		seg_fault(c, VMM_EX_GP, d->d_sel, 0);
	}
	gate_read(c, d, call, &g);
	if (call && g.g_cpl < c->c_cpl) {
		gate_call_inner(c, &g);
		return;
	}
	if (call) {
		far_push(c, &sp, g.g_size, c->c_seg[SEG_CS].s_sel);
		far_push(c, &sp, g.g_size, c->c_rip);
	}
	far_check_offset(c, &g.g_cs, g.g_offset);
	desc_accessed(c, &g.g_cs);
	if (call)
		stack_set(c, sp);
	far_enter(c, &g.g_cs, c->c_cpl, g.g_offset);
}

static void
far_transfer(struct cpu *c, const struct insn *i, uint16_t sel,
    uint64_t offset, bool call)
{
	struct descriptor d;
	struct segment *cs = &c->c_seg[SEG_CS];
	uint64_t sp = c->c_gpr[RSP];
	/* AMD's REX.W widens what is pushed, if not the pointer. */
	unsigned size = i->i_flags & INSN_REXW ? 8 : i->i_osize;

	if (!c->c_protected || c->c_v8086) {
		if (call) {
			far_push(c, &sp, size, cs->s_sel);
			far_push(c, &sp, size, c->c_rip);
		}
		if (offset > cs->s_limit)
			cpu_gp(c, 0);
		if (call)
			stack_set(c, sp);
		if (c->c_v8086)
			seg_set_v8086(cs, sel);
		else
			seg_set_real(cs, sel);
		c->c_rip = offset;
		cpu_mode_update(c);
		return;
	}
	if (SEL_NULL(sel))
		cpu_gp(c, 0);
	desc_read(c, sel, &d, VMM_EX_GP, 0);
	if ((desc_ar(&d) & AR_S) == 0) {
		far_system(c, &d, call);
		return;
	}
	far_check_code(c, &d);
	if (call) {
		far_push(c, &sp, size, cs->s_sel);
		far_push(c, &sp, size, c->c_rip);
	}
	far_check_offset(c, &d, offset);
	desc_accessed(c, &d);
	if (call)
		stack_set(c, sp);
	far_enter(c, &d, c->c_cpl, offset);
}

static void
far_transfer_mem(struct cpu *c, const struct insn *i, bool call)
{
	uint64_t linear, offset;
	uint16_t sel;

	linear = mem_operand(c, i, i->i_osize + 2u, ENGINE_READ);
	offset = mem_read(c, linear, i->i_osize);
	sel = (uint16_t)mem_read(c, linear + i->i_osize, 2);
	far_transfer(c, i, sel, offset, call);
}

void
insn_jmp_far(struct cpu *c, const struct insn *i)
{
	far_transfer(c, i, i->i_imm2, i->i_imm & size_mask(i->i_osize), false);
}

void
insn_jmp_far_mem(struct cpu *c, const struct insn *i)
{
	far_transfer_mem(c, i, false);
}

void
insn_call_far(struct cpu *c, const struct insn *i)
{
	far_transfer(c, i, i->i_imm2, i->i_imm & size_mask(i->i_osize), true);
}

void
insn_call_far_mem(struct cpu *c, const struct insn *i)
{
	far_transfer_mem(c, i, true);
}

/* --- RET and IRET -------------------------------------------------------- */

/* The code segment that a return goes to. */
static void
far_check_return(struct cpu *c, uint16_t sel, struct descriptor *d)
{
	uint32_t ar;

	if (SEL_NULL(sel))
		cpu_gp(c, 0);
	desc_read(c, sel, d, VMM_EX_GP, 0);
	ar = desc_ar(d);
	if (far_code_bad(c, ar) || SEL_RPL(sel) < c->c_cpl)
		seg_fault(c, VMM_EX_GP, sel, 0);
	if (ar & AR_CONFORMING ? AR_DPL_OF(ar) > SEL_RPL(sel) :
	    AR_DPL_OF(ar) != SEL_RPL(sel))
		seg_fault(c, VMM_EX_GP, sel, 0);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, 0);
}

/* The stack segment that a return to level cpl goes to. */
static void
far_check_return_stack(struct cpu *c, uint16_t sel, unsigned cpl,
    const struct descriptor *cs, struct segment *ss)
{
	if (SEL_NULL(sel)) {
		if (!c->c_long || (desc_ar(cs) & AR_L) == 0 || cpl == 3 ||
		    SEL_RPL(sel) != cpl)
			cpu_gp(c, 0);
		seg_set_null_stack(ss, sel, cpl);
		return;
	}
	seg_check_stack(c, sel, cpl, VMM_EX_GP, 0, ss);
}

/* Loads CS:RIP and, if ss is given, SS:RSP of the outer level cpl. */
static void
far_return(struct cpu *c, const struct descriptor *cs, unsigned cpl,
    uint64_t offset, const struct segment *ss, uint64_t sp)
{
	bool outer = cpl != c->c_cpl;

	if (ss != NULL) {
		c->c_seg[SEG_SS] = *ss;
		if (c->c_long && desc_ar(cs) & AR_L)
			c->c_gpr[RSP] = sp;
		else
			reg_set(c, RSP, ss->s_ar & AR_DB ? 4 : 2, sp);
	} else
		stack_set(c, sp);
	far_enter(c, cs, cpl, offset);
	if (outer)
		seg_drop_inner(c);
}

void
insn_ret_far(struct cpu *c, const struct insn *i)
{
	unsigned size = i->i_osize, cpl;
	struct segment ss, *cs = &c->c_seg[SEG_CS];
	struct descriptor d;
	uint64_t sp = c->c_gpr[RSP], offset, newsp;
	uint16_t sel, sssel;

	offset = far_pop(c, &sp, size);
	sel = (uint16_t)far_pop(c, &sp, size);
	sp += i->i_imm;
	if (!c->c_protected || c->c_v8086) {
		if (offset > cs->s_limit)
			cpu_gp(c, 0);
		stack_set(c, sp);
		if (c->c_v8086)
			seg_set_v8086(cs, sel);
		else
			seg_set_real(cs, sel);
		c->c_rip = offset;
		cpu_mode_update(c);
		return;
	}
	far_check_return(c, sel, &d);
	cpl = SEL_RPL(sel);
	if (cpl == c->c_cpl) {
		far_check_offset(c, &d, offset);
		desc_accessed(c, &d);
		far_return(c, &d, cpl, offset, NULL, sp);
		return;
	}
	newsp = far_pop(c, &sp, size);
	sssel = (uint16_t)far_pop(c, &sp, size);
	far_check_return_stack(c, sssel, cpl, &d, &ss);
	far_check_offset(c, &d, offset);
	desc_accessed(c, &d);
	far_return(c, &d, cpl, offset, &ss, newsp + i->i_imm);
}

/* RFLAGS that IRET loads at CPL: the bits that may change. */
static uint64_t
iret_flags(const struct cpu *c, uint64_t image, unsigned size)
{
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if (size > 2)
		mask |= FL_RF | FL_AC | FL_ID;
	if (c->c_cpl <= cpu_iopl(c))
		mask |= FL_IF;
	if (c->c_cpl == 0) {
		mask |= FL_IOPL;
		if (size > 2)
			mask |= FL_VIF | FL_VIP;
	}
	return ((c->c_rflags & ~mask) | (image & mask));
}

static void
iret_real(struct cpu *c, const struct insn *i)
{
	struct segment *cs = &c->c_seg[SEG_CS];
	unsigned size = i->i_osize;
	uint64_t sp = c->c_gpr[RSP], offset, flags;
	uint16_t sel;

	if (c->c_v8086 && cpu_iopl(c) < 3)
		cpu_gp(c, 0);
	offset = far_pop(c, &sp, size);
	sel = (uint16_t)far_pop(c, &sp, size);
	flags = far_pop(c, &sp, size);
	if (offset > cs->s_limit)
		cpu_gp(c, 0);
	flags = iret_flags(c, flags, size);
	stack_set(c, sp);
	if (c->c_v8086)
		seg_set_v8086(cs, sel);
	else
		seg_set_real(cs, sel);
	c->c_rip = offset;
	cpu_set_rflags(c, flags);
	cpu_mode_update(c);
	cpu_nmi_unblock(c);
}

/* From level 0 to virtual-8086 mode. sp: past EFLAGS. */
static void
iret_to_v8086(struct cpu *c, uint64_t sp, uint64_t offset, uint16_t cs,
    uint64_t flags)
{
	static const uint8_t order[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS,
	    SEG_GS };
	uint16_t sel[sizeof(order)];
	uint64_t esp;
	unsigned n;

	esp = far_pop(c, &sp, 4);
	for (n = 0; n < sizeof(order); n++)
		sel[n] = (uint16_t)far_pop(c, &sp, 4);
	if (offset > UINT16_MAX)
		cpu_gp(c, 0);
	seg_set_v8086(&c->c_seg[SEG_CS], cs);
	for (n = 0; n < sizeof(order); n++)
		seg_set_v8086(&c->c_seg[order[n]], sel[n]);
	c->c_gpr[RSP] = (uint32_t)esp;
	c->c_rip = offset;
	cpu_set_rflags(c, (flags & FL_ALL) | FL_VM);
	cpu_mode_update(c);
	cpu_nmi_unblock(c);
}

void
insn_iret(struct cpu *c, const struct insn *i)
{
	unsigned size = i->i_osize, cpl;
	struct descriptor d;
	struct segment ss;
	uint64_t sp = c->c_gpr[RSP], offset, flags, newsp;
	uint16_t sel, sssel;

	if (!c->c_protected || c->c_v8086) {
		iret_real(c, i);
		return;
	}
	if (c->c_rflags & FL_NT) {
		if (c->c_long)
			cpu_gp(c, 0);
		task_switch(c, (uint16_t)mem_sys_read(c,
		    (uint32_t)c->c_seg[SEG_TR].s_base, 2), TASK_IRET, false, 0,
		    0);
		return;
	}
	offset = far_pop(c, &sp, size);
	sel = (uint16_t)far_pop(c, &sp, size);
	flags = far_pop(c, &sp, size);
	if (flags & FL_VM && size == 4 && !c->c_long && c->c_cpl == 0) {
		iret_to_v8086(c, sp, offset, sel, flags);
		return;
	}
	far_check_return(c, sel, &d);
	cpl = SEL_RPL(sel);
	if (c->c_code64 || cpl != c->c_cpl) {
		newsp = far_pop(c, &sp, size);
		sssel = (uint16_t)far_pop(c, &sp, size);
		far_check_return_stack(c, sssel, cpl, &d, &ss);
		far_check_offset(c, &d, offset);
		desc_accessed(c, &d);
		flags = iret_flags(c, flags, size);
		far_return(c, &d, cpl, offset, &ss, newsp);
	} else {
		far_check_offset(c, &d, offset);
		desc_accessed(c, &d);
		flags = iret_flags(c, flags, size);
		far_return(c, &d, cpl, offset, NULL, sp);
	}
	cpu_set_rflags(c, flags);
	cpu_nmi_unblock(c);
}

/* --- software interrupts ---------------------------------------------------------------------- */

void
insn_int(struct cpu *c, const struct insn *i)
{
	if (c->c_v8086 && cpu_iopl(c) < 3)
		cpu_gp(c, 0);
	cpu_soft_interrupt(c, (uint8_t)i->i_imm, SOFT_INT_N);
}

void
insn_int3(struct cpu *c, const struct insn *i)
{
	(void)i;
	cpu_soft_interrupt(c, VMM_EX_BP, SOFT_INT3);
}

void
insn_into(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_rflags & FL_OF)
		cpu_soft_interrupt(c, VMM_EX_OF, SOFT_INTO);
}

void
insn_int1(struct cpu *c, const struct insn *i)
{
	(void)i;
	cpu_soft_interrupt(c, VMM_EX_DB, SOFT_INT1);
}
