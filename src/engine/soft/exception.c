/*
 * Exceptions and interrupts: from the event to the first instruction of its
 * handler. SDM vol. 3A chapter 6, 20.3 (virtual-8086 mode), vol. 2A INT n.
 *
 * 1. event_deliver() changes nothing but memory on the stack until all its
 *    checks and accesses are done; a fault on the way is combined with the
 *    event by the rules for double faults (table 6-5).
 * 2. While c_delivering, c_insn is NULL and RIP is where the frame says.
 */
#include <assert.h>
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/exception.h"
#include "engine/soft/mem.h"
#include "engine/soft/stack.h"
#include "engine/soft/run.h"
#include "engine/soft/segment.h"
#include "engine/soft/task.h"

/* Vectors that push an error code: 8, 10-14, 17, 21 (table 6-1). */
#define HAS_ERROR	0x00227d00u
/* Contributory exceptions: 0, 10-13, 21 (6.15, Interrupt 8). */
#define CONTRIBUTORY	0x00203c01u

/* --- raising -------------------------------------------------------------------- */

/* A software interrupt that cannot be delivered: back onto its instruction. */
void
event_unwind(struct cpu *c)
{
	switch (c->c_event.e_kind) {
	case EVENT_SOFT_INT:
	case EVENT_SOFT_TRAP:
	case EVENT_ICEBP:
		c->c_rip -= c->c_soft_len;
		c->c_event.e_kind = EVENT_NONE;
		break;
	default:
		break;
	}
}

/* What a fault during the delivery of an event becomes. */
static void
event_combine(struct cpu *c, const struct event *second)
{
	const struct event *first = &c->c_event;
	bool first_fault = first->e_kind == EVENT_FAULT;
	bool serious, contributory;

	if (second->e_vector == VMM_EX_PF)
		c->c_cr2 = second->e_cr2;
	contributory = CONTRIBUTORY >> second->e_vector & 1;
	serious = contributory || second->e_vector == VMM_EX_PF;
	if (first_fault && first->e_vector == VMM_EX_DF && serious) {
		/* the third: c_event stays, so that it is seen by nobody */
		c->c_event.e_kind = EVENT_NONE;
		c->c_delivering = false;
		cpu_leave(c, ENGINE_EXIT_SHUTDOWN, false);
	}
	if (first_fault && ((CONTRIBUTORY >> first->e_vector & 1 &&
	    contributory) || (first->e_vector == VMM_EX_PF && serious))) {
		memset(&c->c_event, 0, sizeof(c->c_event));
		c->c_event.e_kind = EVENT_FAULT;
		c->c_event.e_vector = VMM_EX_DF;
		return;
	}
	c->c_event = *second;
}

static _Noreturn void
event_raise(struct cpu *c, const struct event *e)
{
	if (c->c_delivering) {
		event_unwind(c);
		event_combine(c, e);
	} else
		c->c_event = *e;
	c->c_delivering = false;
	run_fault(c);
}

void
cpu_fault(struct cpu *c, int vector, uint32_t err)
{
	struct event e = { .e_kind = EVENT_FAULT, .e_vector = (uint8_t)vector,
	    .e_error = err };

	event_raise(c, &e);
}

void
cpu_page_fault(struct cpu *c, uint64_t linear, uint32_t err)
{
	struct event e = { .e_kind = EVENT_FAULT, .e_vector = VMM_EX_PF,
	    .e_error = err, .e_cr2 = linear };

	event_raise(c, &e);
}

void
cpu_debug_fault(struct cpu *c, uint64_t dr6)
{
	struct event e = { .e_kind = EVENT_FAULT, .e_vector = VMM_EX_DB,
	    .e_dr6 = dr6 };

	event_raise(c, &e);
}

void
cpu_soft_interrupt(struct cpu *c, int vector, int kind)
{
	memset(&c->c_event, 0, sizeof(c->c_event));
	c->c_event.e_vector = (uint8_t)vector;
	c->c_event.e_kind = kind == SOFT_INT_N ? EVENT_SOFT_INT :
	    kind == SOFT_INT1 ? EVENT_ICEBP : EVENT_SOFT_TRAP;
	c->c_soft_len = c->c_insn->i_len;
	c->c_step = false;	/* TF is cleared before it could trap */
	cpu_next(c);
}

/* --- frames ---------------------------------------------------------------------------- */

/* A stack that is being pushed to. */
struct frame {
	struct segment	 f_ss;
	uint64_t	 f_sp;
	uint64_t	 f_mask;	/* by the stack's size */
	unsigned	 f_size;	/* of a slot */
	bool		 f_user;	/* accessed as CPL 3 */
	bool		 f_long;	/* SS does not matter */
	uint32_t	 f_fault;	/* error code of #SS */
};

static void
frame_push(struct cpu *c, struct frame *f, uint64_t value)
{
	const struct segment *s = &f->f_ss;
	uint64_t sp = (f->f_sp - f->f_size) & f->f_mask, linear, last, top;

	if (f->f_long) {
		linear = sp;
		if (!cpu_canonical(linear) ||
		    !cpu_canonical(linear + f->f_size - 1))
			cpu_fault(c, VMM_EX_SS, f->f_fault);
	} else {
		last = sp + f->f_size - 1;
		top = s->s_ar & AR_DB ? UINT32_MAX : UINT16_MAX;
		if (s->s_ar & AR_DOWN ? sp <= s->s_limit || last > top :
		    last > s->s_limit)
			cpu_fault(c, VMM_EX_SS, f->f_fault);
		linear = (uint32_t)(s->s_base + sp);
	}
	mem_write_as(c, f->f_user, linear, f->f_size, value);
	f->f_sp = sp;
}

/* RFLAGS as the frame shows them (SDM vol. 3B 17.3.1.1 for RF). */
static uint64_t
event_rflags(const struct cpu *c, const struct event *e)
{
	uint64_t flags = cpu_rflags(c);

	if (e->e_kind == EVENT_FAULT ? e->e_vector != VMM_EX_DF :
	    c->c_repeating)
		flags |= FL_RF;
	return (flags);
}

static bool
event_has_error(const struct event *e)
{
	return (e->e_kind == EVENT_FAULT && HAS_ERROR >> e->e_vector & 1);
}

/* EXT: set unless the event is a software interrupt. */
static uint32_t
event_ext(const struct event *e)
{
	return (e->e_kind != EVENT_SOFT_INT && e->e_kind != EVENT_SOFT_TRAP);
}

/* --- real-address mode -------------------------------------------------------------------- */

static void
deliver_real(struct cpu *c, const struct event *e)
{
	struct frame f = { .f_ss = c->c_seg[SEG_SS], .f_sp = c->c_gpr[RSP],
	    .f_mask = size_mask(c->c_ssize), .f_size = 2 };
	uint32_t entry;

	if (e->e_vector * 4u + 3 > c->c_idtr.s_limit)
		cpu_gp(c, 0);
	entry = (uint32_t)mem_sys_read(c, c->c_idtr.s_base + e->e_vector * 4u,
	    4);
	frame_push(c, &f, cpu_rflags(c) & 0xffff);
	frame_push(c, &f, c->c_seg[SEG_CS].s_sel);
	frame_push(c, &f, c->c_rip & 0xffff);

	stack_set(c, f.f_sp);
	c->c_rip = entry & 0xffff;
	seg_set_real(&c->c_seg[SEG_CS], (uint16_t)(entry >> 16));
	cpu_set_rflags(c, c->c_rflags &
	    ~(uint64_t)(FL_IF | FL_TF | FL_AC | FL_RF));
	cpu_mode_update(c);
}

/* --- protected mode ------------------------------------------------------------------------- */

static _Noreturn void
gate_fault(struct cpu *c, const struct event *e, int vector)
{
	/* IDT bit and EXT */
	cpu_fault(c, vector, e->e_vector * 8u | 2 | event_ext(e));
}

/* The checks that all gates have in common. */
static void
gate_check(struct cpu *c, const struct event *e, const struct descriptor *g,
    unsigned types)
{
	uint32_t ar = desc_ar(g);

	if (ar & AR_S || (types >> (ar & AR_TYPE) & 1) == 0)
		gate_fault(c, e, VMM_EX_GP);
	if ((e->e_kind == EVENT_SOFT_INT || e->e_kind == EVENT_SOFT_TRAP) &&
	    AR_DPL_OF(ar) < c->c_cpl)
		gate_fault(c, e, VMM_EX_GP);
	if ((ar & AR_P) == 0)
		gate_fault(c, e, VMM_EX_NP);
}

/* The code segment that a gate leads to; returns the new CPL. */
static unsigned
gate_code(struct cpu *c, const struct event *e, uint16_t sel,
    struct descriptor *d)
{
	uint32_t ext = event_ext(e), ar;
	bool inner;

	if (SEL_NULL(sel))
		cpu_gp(c, ext);
	desc_read(c, sel, d, VMM_EX_GP, ext);
	ar = desc_ar(d);
	if ((ar & (AR_S | AR_CODE)) != (AR_S | AR_CODE) ||
	    AR_DPL_OF(ar) > c->c_cpl)
		seg_fault(c, VMM_EX_GP, sel, ext);
	if (c->c_long && (ar & (AR_L | AR_DB)) != AR_L)
		seg_fault(c, VMM_EX_GP, sel, ext);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, ext);
	inner = (ar & AR_CONFORMING) == 0 && AR_DPL_OF(ar) < c->c_cpl;
	/* out of virtual-8086 mode only to level 0 */
	if (c->c_v8086 && (!inner || AR_DPL_OF(ar) != 0))
		seg_fault(c, VMM_EX_GP, sel, ext);
	return (inner ? AR_DPL_OF(ar) : c->c_cpl);
}

/* All is pushed: go. */
static void
gate_enter(struct cpu *c, const struct descriptor *cs, uint16_t sel,
    unsigned cpl, uint64_t rip, bool interrupt)
{
	uint64_t flags = c->c_rflags &
	    ~(uint64_t)(FL_TF | FL_VM | FL_RF | FL_NT);

	if (interrupt)
		flags &= ~(uint64_t)FL_IF;
	seg_from_desc(&c->c_seg[SEG_CS], (uint16_t)((sel & ~3u) | cpl), cs);
	c->c_rip = rip;
	cpu_set_rflags(c, flags);
	cpu_mode_update(c);
}

static void
deliver_protected(struct cpu *c, const struct event *e)
{
	static const uint8_t data[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
	struct descriptor g = { .d_sel = 0 }, cs;
	struct frame f;
	uint32_t esp, ext = event_ext(e), rip, type;
	uint16_t ss, sel;
	unsigned cpl, n;
	bool v8086 = c->c_v8086, inner;

	if (e->e_vector * 8u + 7 > c->c_idtr.s_limit)
		gate_fault(c, e, VMM_EX_GP);
	g.d_raw = mem_sys_read(c, (uint32_t)(c->c_idtr.s_base +
	    e->e_vector * 8u), 8);
	gate_check(c, e, &g, 1u << TYPE_TASK | 1u << TYPE_INT16 |
	    1u << TYPE_TRAP16 | 1u << TYPE_INT | 1u << TYPE_TRAP);
	type = desc_ar(&g) & AR_TYPE;
	sel = gate_selector(&g);
	if (type == TYPE_TASK) {
		task_switch(c, sel, TASK_EVENT, event_has_error(e), e->e_error,
		    ext);
		return;
	}
	rip = gate_offset(&g);
	if ((type & 8) == 0)
		rip &= 0xffff;
	cpl = gate_code(c, e, sel, &cs);
	inner = cpl != c->c_cpl;

	memset(&f, 0, sizeof(f));
	f.f_size = type & 8 ? 4 : 2;
	f.f_user = cpl == 3;
	if (inner) {
		task_stack(c, cpl, ext, &ss, &esp);
		seg_check_stack(c, ss, cpl, VMM_EX_TS, ext, &f.f_ss);
		f.f_sp = esp;
		f.f_fault = (ss & 0xfffcu) | ext;
		f.f_mask = f.f_ss.s_ar & AR_DB ? UINT32_MAX : UINT16_MAX;
		if (v8086)
			for (n = 0; n < sizeof(data); n++)
				frame_push(c, &f, c->c_seg[data[n]].s_sel);
		frame_push(c, &f, c->c_seg[SEG_SS].s_sel);
		frame_push(c, &f, c->c_gpr[RSP]);
	} else {
		f.f_ss = c->c_seg[SEG_SS];
		f.f_sp = c->c_gpr[RSP];
		f.f_fault = ext;
		f.f_mask = size_mask(c->c_ssize);
	}
	frame_push(c, &f, event_rflags(c, e));
	frame_push(c, &f, c->c_seg[SEG_CS].s_sel);
	frame_push(c, &f, c->c_rip);
	if (event_has_error(e))
		frame_push(c, &f, e->e_error);
	desc_accessed(c, &cs);
	if (rip > desc_limit(&cs))
		cpu_gp(c, ext);

	if (v8086)
		for (n = 0; n < sizeof(data); n++)
			seg_set_null(&c->c_seg[data[n]], 0);
	if (inner) {
		c->c_seg[SEG_SS] = f.f_ss;
		c->c_ssize = f.f_ss.s_ar & AR_DB ? 4 : 2;
	}
	stack_set(c, f.f_sp);
	gate_enter(c, &cs, sel, cpl, rip, (type & 1) == 0);
}

/* --- long mode ----------------------------------------------------------- */

static void
deliver_long(struct cpu *c, const struct event *e)
{
	struct descriptor g = { .d_sel = 0 }, cs;
	struct frame f;
	uint64_t rip, linear;
	uint32_t ext = event_ext(e);
	uint16_t sel;
	unsigned cpl, ist;
	bool inner;

	if (e->e_vector * 16u + 15 > c->c_idtr.s_limit)
		gate_fault(c, e, VMM_EX_GP);
	linear = c->c_idtr.s_base + e->e_vector * 16u;
	g.d_raw = mem_sys_read(c, linear, 8);
	g.d_high = mem_sys_read(c, linear + 8, 8);
	gate_check(c, e, &g, 1u << TYPE_INT | 1u << TYPE_TRAP);
	sel = gate_selector(&g);
	rip = gate_offset(&g) | g.d_high << 32;
	ist = g.d_raw >> 32 & 7;
	cpl = gate_code(c, e, sel, &cs);
	inner = cpl != c->c_cpl;

	memset(&f, 0, sizeof(f));
	f.f_size = 8;
	f.f_mask = UINT64_MAX;
	f.f_long = true;
	f.f_user = cpl == 3;
	f.f_fault = ext;
	f.f_sp = ist != 0 || inner ? task_stack64(c, cpl, ist, ext) :
	    c->c_gpr[RSP];
	f.f_sp &= ~15ul;
	frame_push(c, &f, c->c_seg[SEG_SS].s_sel);
	frame_push(c, &f, c->c_gpr[RSP]);
	frame_push(c, &f, event_rflags(c, e));
	frame_push(c, &f, c->c_seg[SEG_CS].s_sel);
	frame_push(c, &f, c->c_rip);
	if (event_has_error(e))
		frame_push(c, &f, e->e_error);
	desc_accessed(c, &cs);
	if (!cpu_canonical(rip))
		cpu_gp(c, ext);

	if (inner)
		seg_set_null_stack(&c->c_seg[SEG_SS], (uint16_t)cpl, cpl);
	c->c_gpr[RSP] = f.f_sp;
	gate_enter(c, &cs, sel, cpl, rip,
	    (desc_ar(&g) & AR_TYPE) == TYPE_INT);
}

/* --- delivery ------------------------------------------------------------ */

void
event_deliver(struct cpu *c)
{
	const struct event *e = &c->c_event;
	uint64_t dr6 = e->e_dr6;

	assert(c->c_insn == NULL);
	c->c_delivering = true;
	if (e->e_kind == EVENT_FAULT && e->e_vector == VMM_EX_PF)
		c->c_cr2 = e->e_cr2;
	if (!c->c_protected)
		deliver_real(c, e);
	else if (c->c_long)
		deliver_long(c, e);
	else
		deliver_protected(c, e);

	if (e->e_vector == VMM_EX_DB && e->e_kind != EVENT_SOFT_INT) {
		/* what MOV SS held back is told with this #DB, not after it */
		dr6 |= c->c_dr6_pending;
		c->c_dr6_pending = 0;
	}
	if (dr6 != 0) {
		/* B0-B3 say what was hit now; the others stay until cleared */
		c->c_dr[6] = (c->c_dr[6] & ~(uint64_t)DR6_B) | dr6;
	}
	if (e->e_vector == VMM_EX_DB && e->e_kind != EVENT_SOFT_INT)
		c->c_dr[7] &= ~(uint64_t)DR7_GD;
	if (e->e_kind == EVENT_NMI)
		c->c_nmi_blocked = true;
	c->c_shadow_sti = c->c_shadow_ss = false;
	c->c_repeating = false;
	c->c_event.e_kind = EVENT_NONE;
	c->c_delivering = false;
}
