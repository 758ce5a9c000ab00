/*
 * Segment registers and descriptor tables: SDM vol. 3A chapters 3 and 5,
 * vol. 2 for the instructions.
 *
 * 1. A descriptor is read whole before anything is checked; its accessed bit
 *    is set by a locked OR after all checks, before the register changes.
 * 2. Descriptor tables are read as supervisor.
 */
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/stack.h"
#include "engine/soft/segment.h"

/* --- the mode ------------------------------------------------------------------ */

void
seg_derive(const struct cpu *c, struct segment *s)
{
	uint32_t ar = s->s_ar;

	s->s_flat = 0;
	if (s->s_base != 0 || s->s_limit != UINT32_MAX || ar & AR_UNUSABLE ||
	    (ar & (AR_CODE | AR_DOWN)) == AR_DOWN)
		return;
	if ((ar & AR_CODE) == 0)
		s->s_flat = ENGINE_READ |
		    (ar & AR_WRITABLE ? ENGINE_WRITE : 0);
	else if (ar & AR_READABLE || !c->c_protected)
		s->s_flat = ENGINE_READ |
		    (c->c_protected ? 0 : ENGINE_WRITE);
}

void
cpu_mode_update(struct cpu *c)
{
	const struct segment *cs = &c->c_seg[SEG_CS];
	unsigned seg;

	c->c_protected = (c->c_cr0 & CR0_PE) != 0;
	c->c_v8086 = c->c_protected && c->c_rflags & FL_VM;
	c->c_long = (c->c_efer & EFER_LMA) != 0;
	c->c_code64 = c->c_long && cs->s_ar & AR_L;
	c->c_code32 = !c->c_code64 && cs->s_ar & AR_DB;
	c->c_cpl = !c->c_protected ? 0 : c->c_v8086 ? 3 :
	    (uint8_t)AR_DPL_OF(c->c_seg[SEG_SS].s_ar);
	c->c_ssize = c->c_code64 ? 8 :
	    c->c_seg[SEG_SS].s_ar & AR_DB ? 4 : 2;
	c->c_flat_code = c->c_code64 ||
	    (cs->s_base == 0 && cs->s_limit == UINT32_MAX);
	if ((c->c_cr0 & CR0_PG) == 0)
		c->c_paging = PAGING_NONE;
	else if ((c->c_cr4 & CR4_PAE) == 0)
		c->c_paging = PAGING_32;
	else
		c->c_paging = c->c_long ? PAGING_4LEVEL : PAGING_PAE;
	for (seg = SEG_ES; seg <= SEG_GS; seg++)
		seg_derive(c, &c->c_seg[seg]);
	mmu_mode_update(c);
	block_mode_update(c);
	jit_mode_update(c);
	cpu_request(c, REQ_RESYNC);
}

/* --- descriptors ------------------------------------------------------------------ */

void
seg_fault(struct cpu *c, int vector, uint16_t sel, uint32_t ext)
{
	cpu_fault(c, vector, (sel & 0xfffcu) | ext);
}

bool
desc_fetch(struct cpu *c, uint16_t sel, struct descriptor *d)
{
	const struct segment *table = sel & SEL_LDT ? &c->c_seg[SEG_LDTR] :
	    &c->c_gdtr;
	unsigned off = sel & 0xfff8u;

	if (sel & SEL_LDT && table->s_ar & AR_UNUSABLE)
		return (false);
	if (off + 7 > table->s_limit)
		return (false);
	d->d_sel = sel;
	d->d_linear = table->s_base + off;
	if (!c->c_long)
		d->d_linear = (uint32_t)d->d_linear;
	d->d_raw = mem_sys_read(c, d->d_linear, 8);
	d->d_high = 0;
	return (true);
}

void
desc_read(struct cpu *c, uint16_t sel, struct descriptor *d, int vector,
    uint32_t ext)
{
	if (!desc_fetch(c, sel, d))
		seg_fault(c, vector, sel, ext);
}

void
desc_read_high(struct cpu *c, struct descriptor *d, int vector, uint32_t ext)
{
	const struct segment *table = d->d_sel & SEL_LDT ?
	    &c->c_seg[SEG_LDTR] : &c->c_gdtr;

	if ((d->d_sel & 0xfff8u) + 15 > table->s_limit)
		seg_fault(c, vector, d->d_sel, ext);
	d->d_high = mem_sys_read(c, d->d_linear + 8, 8);
}

void
desc_accessed(struct cpu *c, struct descriptor *d)
{
	if (d->d_raw >> 40 & AR_ACCESSED)
		return;
	mem_sys_or8(c, d->d_linear + 5, AR_ACCESSED);
	d->d_raw |= (uint64_t)AR_ACCESSED << 40;
}

void
seg_from_desc(struct segment *s, uint16_t sel, const struct descriptor *d)
{
	s->s_sel = sel;
	s->s_base = desc_base(d);
	s->s_limit = desc_limit(d);
	s->s_ar = desc_ar(d);
	s->s_flat = 0;
}

void
seg_set_null(struct segment *s, uint16_t sel)
{
	s->s_sel = sel;
	s->s_base = 0;
	s->s_limit = 0;
	s->s_ar = AR_UNUSABLE;
	s->s_flat = 0;
}

void
seg_set_null_stack(struct segment *s, uint16_t sel, unsigned cpl)
{
	s->s_sel = sel;
	s->s_base = 0;
	s->s_limit = UINT32_MAX;
	s->s_ar = AR_UNUSABLE | cpl << 5 | AR_P | AR_S | AR_DB | AR_G | 3;
	s->s_flat = 0;
}

void
seg_set_real(struct segment *s, uint16_t sel)
{
	s->s_sel = sel;
	s->s_base = (uint32_t)sel << 4;
	/* what protected mode left of the limit stays: "unreal mode" */
	if (s->s_ar & AR_UNUSABLE) {
		s->s_limit = 0xffff;
		s->s_ar = AR_P | AR_S | AR_WRITABLE | AR_ACCESSED;
	}
}

void
seg_set_v8086(struct segment *s, uint16_t sel)
{
	s->s_sel = sel;
	s->s_base = (uint32_t)sel << 4;
	s->s_limit = 0xffff;
	s->s_ar = AR_P | AR_S | AR_DPL | AR_WRITABLE | AR_ACCESSED;
}

/* --- loading ------------------------------------------------------------------------ */

void
seg_check_stack(struct cpu *c, uint16_t sel, unsigned cpl, int vector,
    uint32_t ext, struct segment *s)
{
	struct descriptor d;
	uint32_t ar;

	if (SEL_NULL(sel))
		cpu_fault(c, vector, ext);
	desc_read(c, sel, &d, vector, ext);
	ar = desc_ar(&d);
	if (SEL_RPL(sel) != cpl || AR_DPL_OF(ar) != cpl ||
	    (ar & (AR_S | AR_CODE | AR_WRITABLE)) != (AR_S | AR_WRITABLE))
		seg_fault(c, vector, sel, ext);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_SS, sel, ext);
	desc_accessed(c, &d);
	seg_from_desc(s, sel, &d);
}

void
seg_check(struct cpu *c, unsigned seg, uint16_t sel, struct segment *s)
{
	struct descriptor d;
	uint32_t ar;

	*s = c->c_seg[seg];
	if (!c->c_protected) {
		seg_set_real(s, sel);
		return;
	}
	if (c->c_v8086) {
		seg_set_v8086(s, sel);
		return;
	}
	if (SEL_NULL(sel)) {
		if (seg != SEG_SS) {
			seg_set_null(s, sel);
			return;
		}
		if (!c->c_code64 || c->c_cpl == 3 || SEL_RPL(sel) != c->c_cpl)
			cpu_gp(c, 0);
		seg_set_null_stack(s, sel, c->c_cpl);
		return;
	}
	if (seg == SEG_SS) {
		seg_check_stack(c, sel, c->c_cpl, VMM_EX_GP, 0, s);
		return;
	}
	desc_read(c, sel, &d, VMM_EX_GP, 0);
	ar = desc_ar(&d);
	if ((ar & AR_S) == 0 || (ar & (AR_CODE | AR_READABLE)) == AR_CODE)
		seg_fault(c, VMM_EX_GP, sel, 0);
	if ((ar & (AR_CODE | AR_CONFORMING)) != (AR_CODE | AR_CONFORMING) &&
	    (SEL_RPL(sel) > AR_DPL_OF(ar) || c->c_cpl > AR_DPL_OF(ar)))
		seg_fault(c, VMM_EX_GP, sel, 0);
	if ((ar & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, 0);
	desc_accessed(c, &d);
	seg_from_desc(s, sel, &d);
}

static void
seg_commit(struct cpu *c, unsigned seg, const struct segment *s)
{
	c->c_seg[seg] = *s;
	seg_derive(c, &c->c_seg[seg]);
	if (seg == SEG_SS)
		cpu_mode_update(c);	/* stack size */
	else if (!c->c_code64)
		jit_mode_update(c);	/* is it flat? */
}

void
seg_load(struct cpu *c, unsigned seg, uint16_t sel)
{
	struct segment s;

	seg_check(c, seg, sel, &s);
	seg_commit(c, seg, &s);
}

void
seg_drop_inner(struct cpu *c)
{
	static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	struct segment *s;
	unsigned n;

	for (n = 0; n < sizeof(data); n++) {
		s = &c->c_seg[data[n]];
		if (s->s_ar & AR_UNUSABLE) {
			/* Its RPL goes; FS and GS keep their bases. */
			s->s_sel = 0;
			continue;
		}
		if (AR_DPL_OF(s->s_ar) >= c->c_cpl ||
		    (s->s_ar & (AR_CODE | AR_CONFORMING)) ==
		    (AR_CODE | AR_CONFORMING))
			continue;
		seg_set_null(s, 0);
	}
	if (!c->c_code64)
		jit_mode_update(c);
}

/* --- MOV, PUSH, POP, LDS... -------------------------------------------------------------- */

void
insn_mov_rm_sreg(struct cpu *c, const struct insn *i)
{
	uint16_t sel = c->c_seg[i->i_reg].s_sel;

	if (i->i_flags & INSN_MEM)
		mem_write(c, mem_operand(c, i, 2, ENGINE_WRITE), 2, sel);
	else
		reg_set(c, i->i_rm, i->i_osize, sel);
}

/* MOV SS and POP SS hold off interrupts and debug traps for one instruction. */
static void
seg_shadow(struct cpu *c)
{
	c->c_shadow_ss = true;
	cpu_request(c, REQ_SHADOW);
}

void
insn_mov_sreg_rm(struct cpu *c, const struct insn *i)
{
	uint16_t sel;

	if (i->i_flags & INSN_MEM)
		sel = (uint16_t)mem_read(c, mem_operand(c, i, 2,
		    ENGINE_READ), 2);
	else
		sel = (uint16_t)c->c_gpr[i->i_rm];
	seg_load(c, i->i_reg, sel);
	if (i->i_reg == SEG_SS)
		seg_shadow(c);
}

/* The segment register of PUSH/POP: 06, 0E, 16, 1E, 0F A0/A1, 0F A8/A9. */
static unsigned
seg_of_opcode(const struct insn *i)
{
	return (i->i_opcode >> 3 & 7);
}

void
insn_push_sreg(struct cpu *c, const struct insn *i)
{
	uint16_t sel = c->c_seg[seg_of_opcode(i)].s_sel;
	uint64_t sp = stack_offset(c, -(int)i->i_osize);
	unsigned size = i->i_osize;

	/* of a 32-bit slot Intel's CPUs write the lower half only */
	if (size == 4 && c->c_intel)
		size = 2;
	mem_write(c, mem_linear(c, SEG_SS, sp, size, ENGINE_WRITE), size, sel);
	stack_set(c, sp);
}

void
insn_pop_sreg(struct cpu *c, const struct insn *i)
{
	unsigned seg = seg_of_opcode(i);
	uint64_t sp = stack_offset(c, 0);
	uint16_t sel;

	sel = (uint16_t)mem_read(c, mem_linear(c, SEG_SS, sp, 2,
	    ENGINE_READ), 2);
	sp = stack_offset(c, i->i_osize);
	if (seg == SEG_SS) {
		unsigned ssize = c->c_ssize;

		seg_load(c, seg, sel);
		/* the size of the old stack segment counts */
		reg_set(c, RSP, ssize, sp);
		seg_shadow(c);
		return;
	}
	seg_load(c, seg, sel);
	stack_set(c, sp);
}

static void
seg_load_far(struct cpu *c, const struct insn *i, unsigned seg)
{
	uint64_t linear, off;
	uint16_t sel;

	linear = mem_operand(c, i, i->i_osize + 2u, ENGINE_READ);
	off = mem_read(c, linear, i->i_osize);
	sel = (uint16_t)mem_read(c, linear + i->i_osize, 2);
	seg_load(c, seg, sel);
	reg_set(c, i->i_reg, i->i_osize, off);
	if (seg == SEG_SS)
		cpu_request(c, REQ_RESYNC);
}

void
insn_les(struct cpu *c, const struct insn *i)
{
	seg_load_far(c, i, SEG_ES);
}

void
insn_lds(struct cpu *c, const struct insn *i)
{
	seg_load_far(c, i, SEG_DS);
}

void
insn_lss(struct cpu *c, const struct insn *i)
{
	seg_load_far(c, i, SEG_SS);
}

void
insn_lfs(struct cpu *c, const struct insn *i)
{
	seg_load_far(c, i, SEG_FS);
}

void
insn_lgs(struct cpu *c, const struct insn *i)
{
	seg_load_far(c, i, SEG_GS);
}

/* --- LAR, LSL, VERR, VERW, ARPL -------------------------------------------------------------- */

static void
seg_set_zf(struct cpu *c, bool on)
{
	c->c_rflags = (c->c_rflags & ~(uint64_t)FL_ZF) | (on ? FL_ZF : 0);
}

static uint16_t
seg_operand(struct cpu *c, const struct insn *i)
{
	if (i->i_flags & INSN_MEM)
		return ((uint16_t)mem_read(c, mem_operand(c, i, 2,
		    ENGINE_READ), 2));
	return ((uint16_t)c->c_gpr[i->i_rm]);
}

/* Is the descriptor visible at CPL and RPL? */
static bool
seg_visible(const struct cpu *c, uint16_t sel, uint32_t ar)
{
	if ((ar & (AR_S | AR_CODE | AR_CONFORMING)) ==
	    (AR_S | AR_CODE | AR_CONFORMING))
		return (true);
	return (AR_DPL_OF(ar) >= c->c_cpl && AR_DPL_OF(ar) >= SEL_RPL(sel));
}

/* System descriptors that LAR and LSL accept: bit n is type n. */
#define LAR_LEGACY	0x1a3eu	/* 1-5, 9, 11, 12 */
#define LAR_LONG	0x1a04u	/* 2, 9, 11, 12 */
#define LSL_LEGACY	0x0a0eu	/* 1-3, 9, 11 */
#define LSL_LONG	0x0a04u	/* 2, 9, 11 */

static bool
seg_examine(struct cpu *c, uint16_t sel, struct descriptor *d,
    unsigned legacy, unsigned longmode)
{
	uint32_t ar;

	if (SEL_NULL(sel) || !desc_fetch(c, sel, d))
		return (false);
	ar = desc_ar(d);
	if ((ar & AR_S) == 0 && ((c->c_long ? longmode : legacy) >>
	    (ar & AR_TYPE) & 1) == 0)
		return (false);
	return (seg_visible(c, sel, ar));
}

void
insn_lar(struct cpu *c, const struct insn *i)
{
	struct descriptor d;
	bool good;

	good = seg_examine(c, seg_operand(c, i), &d, LAR_LEGACY, LAR_LONG);
	if (good)
		reg_set(c, i->i_reg, i->i_osize, d.d_raw >> 32 & 0x00ffff00);
	seg_set_zf(c, good);
}

void
insn_lsl(struct cpu *c, const struct insn *i)
{
	struct descriptor d;
	bool good;

	good = seg_examine(c, seg_operand(c, i), &d, LSL_LEGACY, LSL_LONG);
	if (good)
		reg_set(c, i->i_reg, i->i_osize, desc_limit(&d));
	seg_set_zf(c, good);
}

void
insn_verr(struct cpu *c, const struct insn *i)
{
	struct descriptor d;
	uint32_t ar;

	if (!seg_examine(c, seg_operand(c, i), &d, 0, 0)) {
		seg_set_zf(c, false);
		return;
	}
	ar = desc_ar(&d);
	seg_set_zf(c, (ar & (AR_CODE | AR_READABLE)) != AR_CODE);
}

void
insn_verw(struct cpu *c, const struct insn *i)
{
	struct descriptor d;

	if (!seg_examine(c, seg_operand(c, i), &d, 0, 0)) {
		seg_set_zf(c, false);
		return;
	}
	seg_set_zf(c, (desc_ar(&d) & (AR_CODE | AR_WRITABLE)) == AR_WRITABLE);
}

void
insn_arpl(struct cpu *c, const struct insn *i)
{
	uint64_t value = 0, linear = 0;
	uint16_t rpl = c->c_gpr[i->i_reg] & 3;
	uint16_t old, new;
	void *p = NULL;

	if (i->i_flags & INSN_MEM) {
		linear = mem_operand(c, i, 2, ENGINE_READ | ENGINE_WRITE);
		p = mem_rmw_begin(c, linear, 2, &value);
		if (p != NULL)
			value = mem_load(p, 2);
	} else
		value = c->c_gpr[i->i_rm];
	old = (uint16_t)value;
	new = (old & 3) < rpl ? (uint16_t)((old & ~3) | rpl) : old;
	if (p != NULL)
		mem_store(p, 2, new);
	else if (i->i_flags & INSN_MEM)
		mem_rmw_store(c, linear, 2, new);
	else
		reg_set(c, i->i_rm, 2, new);
	seg_set_zf(c, new != old);
}

/* --- table registers ----------------------------------------------------- */

static void
table_privileged(struct cpu *c)
{
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
}

/* SGDT, SIDT, SLDT, STR, SMSW at CPL > 0 (SDM vol. 3A 2.5, CR4.UMIP). */
static void
table_umip(struct cpu *c)
{
	if (c->c_cr4 & CR4_UMIP && c->c_cpl != 0)
		cpu_gp(c, 0);
}

static void
table_store(struct cpu *c, const struct insn *i, const struct segment *t)
{
	uint8_t image[10];
	unsigned len = c->c_code64 ? 10 : 6;

	table_umip(c);
	mem_store(image, 2, t->s_limit);
	mem_store(image + 2, 8, t->s_base);
	mem_write_buf(c, mem_operand(c, i, len, ENGINE_WRITE), image, len);
}

static void
table_load(struct cpu *c, const struct insn *i, struct segment *t)
{
	uint64_t linear, base;
	uint32_t limit;

	table_privileged(c);
	linear = mem_operand(c, i, c->c_code64 ? 10 : 6, ENGINE_READ);
	limit = (uint32_t)mem_read(c, linear, 2);
	base = mem_read(c, linear + 2, c->c_code64 ? 8 : 4);
	if (c->c_code64) {
		if (!cpu_canonical(base))
			cpu_gp(c, 0);
	} else if (i->i_osize == 2)
		base &= 0xffffff;
	t->s_base = base;
	t->s_limit = limit;
}

void
insn_sgdt(struct cpu *c, const struct insn *i)
{
	table_store(c, i, &c->c_gdtr);
}

void
insn_sidt(struct cpu *c, const struct insn *i)
{
	table_store(c, i, &c->c_idtr);
}

void
insn_lgdt(struct cpu *c, const struct insn *i)
{
	table_load(c, i, &c->c_gdtr);
}

void
insn_lidt(struct cpu *c, const struct insn *i)
{
	table_load(c, i, &c->c_idtr);
}

static void
table_store_selector(struct cpu *c, const struct insn *i, uint16_t sel)
{
	table_umip(c);
	if (i->i_flags & INSN_MEM)
		mem_write(c, mem_operand(c, i, 2, ENGINE_WRITE), 2, sel);
	else
		reg_set(c, i->i_rm, i->i_osize, sel);
}

void
insn_sldt(struct cpu *c, const struct insn *i)
{
	table_store_selector(c, i, c->c_seg[SEG_LDTR].s_sel);
}

void
insn_str(struct cpu *c, const struct insn *i)
{
	table_store_selector(c, i, c->c_seg[SEG_TR].s_sel);
}

/* The base of an LDT or TSS: 64 bits in long mode. */
static void
table_from_desc(struct cpu *c, struct segment *s, uint16_t sel,
    const struct descriptor *d)
{
	seg_from_desc(s, sel, d);
	if (c->c_long) {
		s->s_base |= d->d_high << 32;
		if (!cpu_canonical(s->s_base))
			seg_fault(c, VMM_EX_GP, sel, 0);
	}
}

void
insn_lldt(struct cpu *c, const struct insn *i)
{
	struct descriptor d;
	struct segment s;
	uint16_t sel;

	table_privileged(c);
	sel = seg_operand(c, i);
	if (SEL_NULL(sel)) {
		seg_set_null(&c->c_seg[SEG_LDTR], sel);
		return;
	}
	if (sel & SEL_LDT)
		seg_fault(c, VMM_EX_GP, sel, 0);
	desc_read(c, sel, &d, VMM_EX_GP, 0);
	if (c->c_long)
		desc_read_high(c, &d, VMM_EX_GP, 0);
	if ((desc_ar(&d) & (AR_S | AR_TYPE)) != TYPE_LDT)
		seg_fault(c, VMM_EX_GP, sel, 0);
	if ((desc_ar(&d) & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, 0);
	table_from_desc(c, &s, sel, &d);
	c->c_seg[SEG_LDTR] = s;
}

void
insn_ltr(struct cpu *c, const struct insn *i)
{
	struct descriptor d;
	struct segment s;
	uint16_t sel;
	uint32_t type;

	table_privileged(c);
	sel = seg_operand(c, i);
	if (SEL_NULL(sel))
		cpu_gp(c, 0);
	if (sel & SEL_LDT)
		seg_fault(c, VMM_EX_GP, sel, 0);
	desc_read(c, sel, &d, VMM_EX_GP, 0);
	if (c->c_long)
		desc_read_high(c, &d, VMM_EX_GP, 0);
	type = desc_ar(&d) & (AR_S | AR_TYPE);
	if (type != TYPE_TSS && (type != TYPE_TSS16 || c->c_long))
		seg_fault(c, VMM_EX_GP, sel, 0);
	if ((desc_ar(&d) & AR_P) == 0)
		seg_fault(c, VMM_EX_NP, sel, 0);
	table_from_desc(c, &s, sel, &d);
	mem_sys_or8(c, d.d_linear + 5, TYPE_BUSY);
	s.s_ar |= TYPE_BUSY;
	c->c_seg[SEG_TR] = s;
}
