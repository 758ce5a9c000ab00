/*
 * Hardware tasks: SDM vol. 3A chapter 7.
 *
 * A switch reads the whole new TSS and checks it before the old one is
 * written, and loads the segment registers last: what fails there is a fault of
 * the new task (7.3, step 13 on), with its registers already in place.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/mem.h"
#include "engine/soft/stack.h"
#include "engine/soft/segment.h"
#include "engine/soft/task.h"

/* Offsets in a 32-bit TSS (figure 7-2) and in a 16-bit TSS (figure 7-10). */
#define TSS_ESP0	4
#define TSS_CR3		28
#define TSS_EIP		32
#define TSS_EFLAGS	36
#define TSS_GPRS	40
#define TSS_SEGS	72	/* ES CS SS DS FS GS */
#define TSS_LDT		96
#define TSS_TRAP	100
#define TSS_LIMIT	103
#define TSS16_SP0	2
#define TSS16_IP	14
#define TSS16_FLAGS	16
#define TSS16_GPRS	18
#define TSS16_SEGS	34	/* ES CS SS DS */
#define TSS16_LDT	42
#define TSS16_LIMIT	43

void
task_stack(struct cpu *c, unsigned cpl, uint32_t ext, uint16_t *ss,
    uint32_t *esp)
{
	const struct segment *tr = &c->c_seg[SEG_TR];
	uint64_t linear;
	unsigned off;

	if (tr->s_ar & 8) {		/* 32-bit */
		off = TSS_ESP0 + cpl * 8;
		if (off + 5 > tr->s_limit)
			seg_fault(c, VMM_EX_TS, tr->s_sel, ext);
		linear = tr->s_base + off;
		*esp = (uint32_t)mem_sys_read(c, (uint32_t)linear, 4);
		*ss = (uint16_t)mem_sys_read(c, (uint32_t)(linear + 4), 2);
	} else {
		off = TSS16_SP0 + cpl * 4;
		if (off + 3 > tr->s_limit)
			seg_fault(c, VMM_EX_TS, tr->s_sel, ext);
		linear = tr->s_base + off;
		*esp = (uint16_t)mem_sys_read(c, (uint32_t)linear, 2);
		*ss = (uint16_t)mem_sys_read(c, (uint32_t)(linear + 2), 2);
	}
}

uint64_t
task_stack64(struct cpu *c, unsigned cpl, unsigned ist, uint32_t ext)
{
	const struct segment *tr = &c->c_seg[SEG_TR];
	unsigned off = ist != 0 ? 28 + ist * 8 : 4 + cpl * 8;
	uint64_t sp;

	if (off + 7 > tr->s_limit)
		seg_fault(c, VMM_EX_TS, tr->s_sel, ext);
	sp = mem_sys_read(c, tr->s_base + off, 8);
	if (!cpu_canonical(sp))
		cpu_fault(c, VMM_EX_SS, ext);
	return (sp);
}

/* What a TSS holds. */
struct task {
	uint32_t	 t_cr3, t_eip, t_eflags, t_gpr[8];
	uint16_t	 t_seg[6], t_ldt;	/* in SEG_* order */
	bool		 t_trap;
};

static uint32_t
tss_get(struct cpu *c, uint64_t base, unsigned off, unsigned size)
{
	return ((uint32_t)mem_sys_read(c, (uint32_t)(base + off), size));
}

static void
tss_put(struct cpu *c, uint64_t base, unsigned off, unsigned size,
    uint32_t value)
{
	mem_sys_write(c, (uint32_t)(base + off), size, value);
}

static void
task_read(struct cpu *c, uint64_t base, bool wide, struct task *t)
{
	unsigned n;

	if (wide) {
		t->t_cr3 = tss_get(c, base, TSS_CR3, 4);
		t->t_eip = tss_get(c, base, TSS_EIP, 4);
		t->t_eflags = tss_get(c, base, TSS_EFLAGS, 4);
		for (n = 0; n < 8; n++)
			t->t_gpr[n] = tss_get(c, base, TSS_GPRS + n * 4, 4);
		for (n = 0; n < 6; n++)
			t->t_seg[n] = (uint16_t)tss_get(c, base,
			    TSS_SEGS + n * 4, 2);
		t->t_ldt = (uint16_t)tss_get(c, base, TSS_LDT, 2);
		t->t_trap = tss_get(c, base, TSS_TRAP, 2) & 1;
	} else {
		t->t_cr3 = 0;
		t->t_eip = tss_get(c, base, TSS16_IP, 2);
		t->t_eflags = tss_get(c, base, TSS16_FLAGS, 2);
		for (n = 0; n < 8; n++)
			t->t_gpr[n] = tss_get(c, base, TSS16_GPRS + n * 2, 2) |
			    0xffff0000;
		for (n = 0; n < 4; n++)
			t->t_seg[n] = (uint16_t)tss_get(c, base,
			    TSS16_SEGS + n * 2, 2);
		t->t_seg[SEG_FS] = t->t_seg[SEG_GS] = 0;
		t->t_ldt = (uint16_t)tss_get(c, base, TSS16_LDT, 2);
		t->t_trap = false;
	}
}

/* The dynamic fields of the task that is left. */
static void
task_save(struct cpu *c, uint64_t base, bool wide, uint32_t eflags)
{
	unsigned n;

	if (wide) {
		tss_put(c, base, TSS_EIP, 4, (uint32_t)c->c_rip);
		tss_put(c, base, TSS_EFLAGS, 4, eflags);
		for (n = 0; n < 8; n++)
			tss_put(c, base, TSS_GPRS + n * 4, 4,
			    (uint32_t)c->c_gpr[n]);
		for (n = 0; n < 6; n++)
			tss_put(c, base, TSS_SEGS + n * 4, 2,
			    c->c_seg[n].s_sel);
	} else {
		tss_put(c, base, TSS16_IP, 2, (uint32_t)c->c_rip);
		tss_put(c, base, TSS16_FLAGS, 2, eflags);
		for (n = 0; n < 8; n++)
			tss_put(c, base, TSS16_GPRS + n * 2, 2,
			    (uint32_t)c->c_gpr[n]);
		for (n = 0; n < 4; n++)
			tss_put(c, base, TSS16_SEGS + n * 2, 2,
			    c->c_seg[n].s_sel);
	}
}

/* --- the new task's segments ------------------------------------------------------- */

static void
task_load_ldt(struct cpu *c, uint16_t sel, uint32_t ext)
{
	struct segment *ldtr = &c->c_seg[SEG_LDTR];
	struct descriptor d;

	seg_set_null(ldtr, sel);
	if (SEL_NULL(sel))
		return;
	if (sel & SEL_LDT)
		seg_fault(c, VMM_EX_TS, sel, ext);
	desc_read(c, sel, &d, VMM_EX_TS, ext);
	if ((desc_ar(&d) & (AR_S | AR_TYPE)) != TYPE_LDT ||
	    (desc_ar(&d) & AR_P) == 0)
		seg_fault(c, VMM_EX_TS, sel, ext);
	seg_from_desc(ldtr, sel, &d);
}

static void
task_load_cs(struct cpu *c, uint16_t sel, uint32_t ext)
{
	struct descriptor d;
	uint32_t ar;
	unsigned rpl = SEL_RPL(sel);

	if (SEL_NULL(sel))
		cpu_fault(c, VMM_EX_TS, ext);
	desc_read(c, sel, &d, VMM_EX_TS, ext);
	ar = desc_ar(&d);
	if ((ar & (AR_S | AR_CODE)) != (AR_S | AR_CODE) ||
	    (ar & AR_CONFORMING ? AR_DPL_OF(ar) > rpl : AR_DPL_OF(ar) != rpl))
		seg_fault(c, VMM_EX_TS, sel, ext);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, ext);
	desc_accessed(c, &d);
	seg_from_desc(&c->c_seg[SEG_CS], sel, &d);
}

static void
task_load_data(struct cpu *c, unsigned seg, uint16_t sel, uint32_t ext)
{
	struct descriptor d;
	uint32_t ar;

	if (SEL_NULL(sel))
		return;
	desc_read(c, sel, &d, VMM_EX_TS, ext);
	ar = desc_ar(&d);
	if ((ar & AR_S) == 0 || (ar & (AR_CODE | AR_READABLE)) == AR_CODE ||
	    ((ar & (AR_CODE | AR_CONFORMING)) != (AR_CODE | AR_CONFORMING) &&
	    (SEL_RPL(sel) > AR_DPL_OF(ar) || c->c_cpl > AR_DPL_OF(ar))))
		seg_fault(c, VMM_EX_TS, sel, ext);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, ext);
	desc_accessed(c, &d);
	seg_from_desc(&c->c_seg[seg], sel, &d);
}

/* SS before the others: it says what the CPL is. */
static void
task_load_segments(struct cpu *c, const struct task *t, uint32_t ext)
{
	static const uint8_t data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	struct segment ss;
	unsigned n;

	task_load_ldt(c, t->t_ldt, ext);
	task_load_cs(c, t->t_seg[SEG_CS], ext);
	seg_check_stack(c, t->t_seg[SEG_SS], SEL_RPL(t->t_seg[SEG_CS]),
	    VMM_EX_TS, ext, &ss);
	c->c_seg[SEG_SS] = ss;
	cpu_mode_update(c);
	for (n = 0; n < sizeof(data); n++)
		task_load_data(c, data[n], t->t_seg[data[n]], ext);
}

/* --- the switch ----------------------------------------------------------------------- */

/* Descriptor of the task to switch to, checked; true: it is a 32-bit one. */
static bool
task_target(struct cpu *c, uint16_t sel, enum task_reason why, uint32_t ext,
    struct descriptor *d)
{
	int vector = why == TASK_IRET ? VMM_EX_TS : VMM_EX_GP;
	uint32_t type;
	bool busy;

	if (SEL_NULL(sel) || sel & SEL_LDT)
		seg_fault(c, vector, sel, ext);
	desc_read(c, sel, d, vector, ext);
	type = desc_ar(d) & (AR_S | AR_TYPE);
	busy = why == TASK_IRET;
	if ((type & ~(8u | TYPE_BUSY)) != TYPE_TSS16 ||
	    ((type & TYPE_BUSY) != 0) != busy)
		seg_fault(c, vector, sel, ext);
	if ((desc_ar(d) & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, ext);
	if (desc_limit(d) < (type & 8 ? TSS_LIMIT : TSS16_LIMIT))
		seg_fault(c, VMM_EX_TS, sel, ext);
	return ((type & 8) != 0);
}

void
task_switch(struct cpu *c, uint16_t sel, enum task_reason why,
    bool push_error, uint32_t error, uint32_t ext)
{
	struct segment *tr = &c->c_seg[SEG_TR];
	struct segment old = *tr;
	struct descriptor d;
	struct task t;
	uint64_t base, sp, linear, pdpte[4];
	uint32_t flags = (uint32_t)cpu_rflags(c);
	unsigned n, size;
	bool wide, old_wide = (old.s_ar & 8) != 0;

	wide = task_target(c, sel, why, ext, &d);
	base = desc_base(&d);
	task_read(c, base, wide, &t);
	if (wide && c->c_paging == PAGING_PAE &&
	    !mmu_load_pdptes(c, t.t_cr3, pdpte))
		cpu_gp(c, 0);

	/* everything that is written must be writable before anything is */
	mem_sys_check_write(c, (uint32_t)old.s_base,
	    old_wide ? TSS_LIMIT + 1 : TSS16_LIMIT + 1);
	mem_sys_check_write(c, (uint32_t)base, 4);
	mem_sys_check_write(c, d.d_linear, 8);
	if (why == TASK_IRET)
		flags &= ~FL_NT;
	else if (why == TASK_EVENT && c->c_event.e_kind == EVENT_FAULT)
		flags |= FL_RF;
	if (why == TASK_JMP || why == TASK_IRET)
		mem_sys_and8(c, c->c_gdtr.s_base + (old.s_sel & 0xfff8u) + 5,
		    (uint8_t)~TYPE_BUSY);
	task_save(c, old.s_base, old_wide, flags);
	if (why == TASK_CALL || why == TASK_EVENT) {
		tss_put(c, base, 0, 2, old.s_sel);
		t.t_eflags |= FL_NT;
	}
	if (why != TASK_IRET)
		mem_sys_or8(c, d.d_linear + 5, TYPE_BUSY);

	/* 7.3, step 10: from here on we are the new task */
	c->c_insn = NULL;
	if (why == TASK_IRET)
		cpu_nmi_unblock(c);
	seg_from_desc(tr, (uint16_t)(sel & ~3u), &d);
	tr->s_ar |= TYPE_BUSY;
	c->c_cr0 |= CR0_TS;
	c->c_dr[7] &= ~0x155ul;		/* local breakpoints */
	if (wide && c->c_paging != PAGING_NONE) {
		c->c_cr3 = t.t_cr3;
		if (c->c_paging == PAGING_PAE)
			for (n = 0; n < 4; n++)
				c->c_pdpte[n] = pdpte[n];
		mmu_flush_context(c);
	}
	mmu_watch_update(c);
	c->c_rip = t.t_eip;
	for (n = 0; n < 8; n++)
		c->c_gpr[n] = t.t_gpr[n];
	if (t.t_trap)
		c->c_dr6_pending |= DR6_BT;
	cpu_set_rflags(c, (t.t_eflags & FL_ALL & ~FL_VM) |
	    (wide ? t.t_eflags & FL_VM : 0));
	cpu_request(c, REQ_STEP);
	if (t.t_eflags & FL_VM && wide) {
		for (n = 0; n < 6; n++)
			seg_set_v8086(&c->c_seg[n], t.t_seg[n]);
		cpu_mode_update(c);
		task_load_ldt(c, t.t_ldt, ext);
	} else {
		for (n = 0; n < 6; n++) {
			seg_set_null(&c->c_seg[n], t.t_seg[n]);
			c->c_seg[n].s_ar |= SEL_RPL(t.t_seg[SEG_CS]) << 5;
		}
		cpu_mode_update(c);
		task_load_segments(c, &t, ext);
	}
	if (push_error) {
		size = wide ? 4 : 2;
		sp = stack_offset(c, -(int)size);
		linear = mem_linear(c, SEG_SS, sp, size, ENGINE_WRITE);
		mem_write(c, linear, size, error);
		stack_set(c, sp);
	}
	if (c->c_rip > c->c_seg[SEG_CS].s_limit)
		cpu_gp(c, ext);
	if (why != TASK_EVENT)
		cpu_next(c);
}
