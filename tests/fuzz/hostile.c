/*
 * Memory and registers of hostile guests (hostile.h). Their code: code.c.
 *
 * What there is in the first range: code, and tables of every kind at fixed
 * places, so that selectors, gates and page tables mostly lead somewhere.
 */
#include "hostile.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/soft/cpu.h"

#define PAGE		4096u
#define CODE		0x1000u
#define CODE_SIZE	0x4000u
#define GDT		0x5000u
#define IDT		0x6000u
#define TSS		0x7000u
#define LDT		0x8000u
#define TABLES		0x9000u		/* four levels, the highest first */
#define STACK		0x10000u

#define ONE_IN(h, n)	(hostile_below((h), (n)) == 0)
#define PICK(h, table)							\
	((table)[hostile_below((h), sizeof(table) / sizeof((table)[0]))])

enum mode {
	MODE_REAL, MODE_V86, MODE_PROT16, MODE_PROT32, MODE_PAGED, MODE_PAE,
	MODE_COMPAT, MODE_LONG, MODE_ANY, MODE_COUNT
};

static const struct hostile_range layout[HOSTILE_RANGES] = {
	{ 0, 0x40000, NULL },
	{ 0x100000, 0x20000, NULL },
	{ 0x100000000, 0x8000, NULL }
};

/* --- random things ---------------------------------------------------------------- */

uint64_t
hostile_random(struct hostile *h)
{
	h->h_rng ^= h->h_rng >> 12;
	h->h_rng ^= h->h_rng << 25;
	h->h_rng ^= h->h_rng >> 27;
	return (h->h_rng * 0x2545f4914f6cdd1du);
}

unsigned
hostile_below(struct hostile *h, unsigned n)
{
	return ((unsigned)((hostile_random(h) >> 32) * n >> 32));
}

uint64_t
hostile_page(struct hostile *h)
{
	const struct hostile_range *r = &layout[
	    ONE_IN(h, 3) ? 1 + hostile_below(h, HOSTILE_RANGES - 1) : 0];

	return (r->hr_gpa + hostile_below(h, (unsigned)(r->hr_size / PAGE)) *
	    PAGE);
}

uint8_t *
hostile_host(struct hostile *h, uint64_t gpa)
{
	struct hostile_range *r;

	for (r = h->h_range; r < h->h_range + HOSTILE_RANGES; r++)
		if (gpa - r->hr_gpa < r->hr_size)
			return (r->hr_host + (gpa - r->hr_gpa));
	abort();
}

uint64_t
hostile_address(struct hostile *h)
{
	static const uint64_t edges[] = {
		0, 0x3fff0, 0x40000, 0xa0000, 0xffff0, 0x120000, 0xfec00000,
		0xfee00000, 0xfffffff0, 0x100000000, 0x100008000,
		0x7fffffffffff, 0x800000000000, 0xffff800000000000,
		0xffffffffffffffff, 0xffffffff80000000, 0x80000000,
		CODE, CODE + CODE_SIZE - 8, GDT, IDT, TSS, LDT, TABLES,
		TABLES + 0x1000, TABLES + 0x2000, TABLES + 0x3000
	};

	switch (hostile_below(h, 8)) {
	case 0:
		return (hostile_random(h));
	case 1:
		return ((uint32_t)hostile_random(h));
	case 2:
	case 3:
		return (PICK(h, edges) + hostile_below(h, 64) - 32);
	case 4:
		return (hostile_page(h) + PAGE - hostile_below(h, 40));
	default:
		return (hostile_page(h) + hostile_below(h, PAGE));
	}
}

uint32_t
hostile_msr(struct hostile *h)
{
	static const uint32_t msrs[] = {
		0x10, 0x1b, 0x8b, 0xfe, 0x174, 0x175, 0x176, 0x179, 0x17a,
		0x1a0, 0x1d9, 0x200, 0x20f, 0x250, 0x268, 0x277, 0x2ff, 0x3b,
		0x48, 0x49, 0x6e0, 0x802, 0x808, 0x80b, 0x80f, 0x828, 0x830,
		0x832, 0x838, 0x83e, 0xda0, 0x40000000, 0x4b564d00, 0x4b564d01,
		0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
		0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010015,
		0xc0010117, 0x10a, 0x11, 0x12, 0xe7, 0xe8, 0x277
	};

	return (ONE_IN(h, 6) ? (uint32_t)hostile_random(h) :
	    PICK(h, msrs) + (ONE_IN(h, 8) ? hostile_below(h, 16) : 0));
}

/* --- memory ------------------------------------------------------------------------- */

bool
hostile_map(struct hostile *h)
{
	struct hostile_range *r;
	uint8_t *p;

	memcpy(h->h_range, layout, sizeof(layout));
	for (r = h->h_range; r < h->h_range + HOSTILE_RANGES; r++) {
		p = mmap(NULL, r->hr_size + 2 * PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || mprotect(p + PAGE, r->hr_size,
		    PROT_READ | PROT_WRITE) != 0)
			return (false);
		r->hr_host = p + PAGE;
	}
	return (true);
}

void
hostile_unmap(struct hostile *h)
{
	struct hostile_range *r;

	for (r = h->h_range; r < h->h_range + HOSTILE_RANGES; r++)
		munmap(r->hr_host - PAGE, r->hr_size + 2 * PAGE);
}

static void
put64(struct hostile *h, uint64_t gpa, uint64_t value)
{
	memcpy(hostile_host(h, gpa), &value, sizeof(value));
}

static uint64_t
descriptor(uint32_t base, uint32_t limit, uint32_t ar)
{
	return ((limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	    (uint64_t)(ar & 0xf0ff) << 40 |
	    (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(base >> 24) << 56);
}

static uint16_t
selector(struct hostile *h)
{
	if (ONE_IN(h, 8))
		return ((uint16_t)hostile_random(h));
	return ((uint16_t)(hostile_below(h, ONE_IN(h, 3) ? 64 : 14) << 3 |
	    (ONE_IN(h, 4) ? 4 : 0) | (ONE_IN(h, 2) ? 3 : 0)));
}

static uint64_t
gate(struct hostile *h, uint32_t type, uint16_t sel)
{
	uint32_t offset = CODE + hostile_below(h, CODE_SIZE);

	if (ONE_IN(h, 10))
		offset = (uint32_t)hostile_address(h);
	return ((offset & 0xffff) | (uint64_t)sel << 16 |
	    (uint64_t)(hostile_random(h) & 7) << 32 | (uint64_t)(type |
	    (ONE_IN(h, 3) ? 0 : 0x60) | (ONE_IN(h, 12) ? 0 : 0x80)) << 40 |
	    (uint64_t)(offset >> 16) << 48);
}

/* Segments, gates and system segments. */
static void
descriptors(struct hostile *h, uint64_t gpa)
{
	static const uint64_t usual[] = {
		0,
		0x00cf9b000000ffff, 0x00cf93000000ffff,	/* 32 bits, ring 0 */
		0x00cffb000000ffff, 0x00cff3000000ffff,	/* and 3 */
		0x00af9b000000ffff, 0x00affb000000ffff,	/* 64 bits */
		0x0000890070000067, 0,			/* TSS */
		0x0000820080000fff, 0,			/* LDT */
		0x00009b000000ffff, 0x000093000000ffff,	/* 16 bits */
		0x0000830071000067			/* 286 TSS, busy */
	};
	uint32_t base, limit, ar;
	unsigned n;

	for (n = 0; n < PAGE / 8; n++) {
		base = ONE_IN(h, 2) ? 0 : (uint32_t)hostile_address(h);
		limit = ONE_IN(h, 2) ? 0xfffff : (uint32_t)hostile_random(h);
		ar = (uint32_t)hostile_random(h) & 0xf06f;
		if (!ONE_IN(h, 10))
			ar |= 0x80;
		if (!ONE_IN(h, 3))
			ar |= 0x10;
		if ((ar & 0x15) == 4)
			put64(h, gpa + n * 8, gate(h, ar & 0xf, selector(h)));
		else
			put64(h, gpa + n * 8, descriptor(base, limit, ar));
	}
	if (!ONE_IN(h, 10))
		memcpy(hostile_host(h, gpa), usual, sizeof(usual));
}

static void
interrupt_table(struct hostile *h, bool wide)
{
	static const uint8_t types[] = { 0xe, 0xf, 0xe, 0x6, 0x7, 0x5 };
	static const uint16_t flat[] = { 8, 0x28, 0x58, 0x18, 0x38 };
	uint64_t g;
	unsigned n;

	for (n = 0; n < PAGE / 8; n++) {
		g = gate(h, ONE_IN(h, 12) ? hostile_below(h, 16) :
		    wide ? 0xe : PICK(h, types), ONE_IN(h, 8) ? selector(h) :
		    wide ? 0x28 : PICK(h, flat));
		put64(h, IDT + n * 8, g);
		if (wide)
			put64(h, IDT + ++n * 8, ONE_IN(h, 20) ?
			    hostile_random(h) : 0);
	}
	/* real mode's, at 0 */
	for (n = 0; ONE_IN(h, 2) && n < 256; n++)
		put64(h, n * 4, CODE + hostile_below(h, CODE_SIZE));
}

/* An entry at a level (1: of pages) that leads to a page or a table. */
static uint64_t
entry(struct hostile *h, unsigned level, uint64_t target)
{
	uint64_t e = target | 7;

	if (level > 1 && ONE_IN(h, 100))
		e |= 0x80;
	switch (hostile_below(h, 40)) {
	case 0:
		return (hostile_random(h));
	case 1:
		return (e & ~(uint64_t)(hostile_random(h) & 7));
	case 2:
		return (e | (hostile_random(h) & 0xfff));
	case 3:
		return (e | (hostile_random(h) & 0xfff0000000000000));
	case 4:
		return ((hostile_address(h) & ~0xffful) | 7);
	case 5:
		return ((TABLES + hostile_below(h, 4) * PAGE) | 7);
	case 6:
		return (e | 1ul << hostile_below(h, 52));
	default:
		return (e | (hostile_random(h) & 0x60));
	}
}

static void
page_tables(struct hostile *h, bool legacy)
{
	unsigned level, n;
	uint64_t at, e;
	uint32_t half;
	bool big = ONE_IN(h, 4);

	for (level = 4; level > 0; level--) {
		at = TABLES + (4 - level) * PAGE;
		for (n = 0; n < (legacy ? PAGE / 4 : PAGE / 8); n++) {
			if (level == 1)
				e = n < 0x40 || ONE_IN(h, 2) ?
				    (uint64_t)n << 12 : hostile_page(h);
			else if (level == 2 && big)
				e = (uint64_t)n << (legacy ? 22 : 21) | 0x80;
			else
				e = at + PAGE;
			e = entry(h, level, e);
			half = (uint32_t)e;
			if (legacy)
				memcpy(hostile_host(h, at + n * 4), &half, 4);
			else
				put64(h, at + n * 8, e);
		}
	}
}

static void
task_state(struct hostile *h)
{
	unsigned n;

	for (n = 0; n < PAGE; n += 4)
		put64(h, TSS + n % (PAGE - 4), ONE_IN(h, 2) ? selector(h) :
		    ONE_IN(h, 2) ? STACK + hostile_below(h, 0x1000) :
		    hostile_address(h));
	/* a back link and the I/O map's base that are not always absurd */
	if (ONE_IN(h, 2))
		put64(h, TSS + 0x64, 0x00680000);
}

uint64_t
hostile_target(struct hostile *h)
{
	return (ONE_IN(h, 2) ? CODE + hostile_below(h, CODE_SIZE) :
	    ONE_IN(h, 2) ? TABLES + hostile_below(h, 4 * PAGE) :
	    hostile_page(h) + hostile_below(h, PAGE));
}

size_t
hostile_scribble(struct hostile *h, uint64_t gpa)
{
	uint8_t *p = hostile_host(h, gpa);
	size_t size = 1 + hostile_below(h, 32), n;

	if (size > PAGE - gpa % PAGE)
		size = PAGE - gpa % PAGE;
	if (ONE_IN(h, 2))
		hostile_code(h, p, size);
	else
		for (n = 0; n < size; n++)
			p[n] = (uint8_t)hostile_random(h);
	return (size);
}

/* --- registers ---------------------------------------------------------------------- */

static void
segment(struct hostile *h, struct vcpu_segment_info *s, uint16_t sel,
    uint32_t limit, uint32_t ar)
{
	s->vsi_sel = sel;
	s->vsi_base = 0;
	s->vsi_limit = limit;
	s->vsi_ar = ar;
	if (ONE_IN(h, 24))
		s->vsi_sel = selector(h);
	if (ONE_IN(h, 24))
		s->vsi_base = hostile_address(h);
	if (ONE_IN(h, 24))
		s->vsi_limit = (uint32_t)hostile_random(h);
	if (ONE_IN(h, 24))
		s->vsi_ar ^= 1u << hostile_below(h, 17);
	if (ONE_IN(h, 100))
		s->vsi_ar = (uint32_t)hostile_random(h);
}

static void
segments(struct hostile *h, struct vcpu_reg_state *r, unsigned mode)
{
	static const struct {
		uint16_t cs, ss;
		uint32_t limit, code, data;
	} flat[MODE_COUNT] = {
		[MODE_REAL] = { 0, 0, 0xffff, 0x9b, 0x93 },
		[MODE_V86] = { 0, 0, 0xffff, 0xf3, 0xf3 },
		[MODE_PROT16] = { 0x58, 0x60, 0xffff, 0x9b, 0x93 },
		[MODE_PROT32] = { 8, 0x10, UINT32_MAX, 0xc09b, 0xc093 },
		[MODE_PAGED] = { 8, 0x10, UINT32_MAX, 0xc09b, 0xc093 },
		[MODE_PAE] = { 8, 0x10, UINT32_MAX, 0xc09b, 0xc093 },
		[MODE_COMPAT] = { 8, 0x10, UINT32_MAX, 0xc09b, 0xc093 },
		[MODE_LONG] = { 0x28, 0x10, UINT32_MAX, 0xa09b, 0xc093 },
		[MODE_ANY] = { 0x28, 0x10, UINT32_MAX, 0xa09b, 0xc093 }
	};
	uint32_t user = mode > MODE_V86 && ONE_IN(h, 3) ? 0x60 : 0;
	unsigned n;

	for (n = 0; n < VCPU_REGS_NSREGS; n++)
		segment(h, &r->vrs_sregs[n], flat[mode].ss | user >> 5,
		    flat[mode].limit, flat[mode].data | user);
	segment(h, &r->vrs_sregs[VCPU_REGS_CS], flat[mode].cs | user >> 5,
	    flat[mode].limit, (mode == MODE_V86 ? flat[mode].data :
	    flat[mode].code) | user);
	segment(h, &r->vrs_sregs[VCPU_REGS_TR], 0x38, 0xfff, 0x8b);
	r->vrs_sregs[VCPU_REGS_TR].vsi_base = ONE_IN(h, 20) ?
	    hostile_address(h) : TSS;
	segment(h, &r->vrs_sregs[VCPU_REGS_LDTR], 0x48, 0xfff, 0x82);
	r->vrs_sregs[VCPU_REGS_LDTR].vsi_base = LDT;
	segment(h, &r->vrs_gdtr, 0, 0xfff, 0);
	r->vrs_gdtr.vsi_base = ONE_IN(h, 20) ? hostile_address(h) : GDT;
	segment(h, &r->vrs_idtr, 0, 0xfff, 0);
	r->vrs_idtr.vsi_base = ONE_IN(h, 20) ? hostile_address(h) :
	    mode == MODE_REAL ? 0 : IDT;
}

static void
control(struct hostile *h, struct vcpu_reg_state *r, unsigned mode)
{
	uint64_t cr0 = CR0_PE | CR0_ET | CR0_NE;
	uint64_t cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PSE;
	uint64_t efer = EFER_SCE | EFER_NXE, rflags = FL_R1;
	unsigned n;

	if (mode == MODE_REAL)
		cr0 &= ~(uint64_t)CR0_PE;
	if (mode >= MODE_PAGED || (mode == MODE_V86 && ONE_IN(h, 2)))
		cr0 |= CR0_PG;
	if (mode >= MODE_PAE)
		cr4 |= CR4_PAE;
	if (mode >= MODE_COMPAT)
		efer |= EFER_LME | EFER_LMA;
	if (mode == MODE_V86)
		rflags |= FL_VM;
	r->vrs_crs[VCPU_REGS_CR3] = TABLES + (mode >= MODE_COMPAT ? 0 :
	    mode == MODE_PAE ? 1 : 2) * PAGE;
	if (mode == MODE_ANY) {
		cr0 = (cr0 ^ (hostile_random(h) & hostile_random(h))) &
		    UINT32_MAX;
		cr4 ^= hostile_random(h) & hostile_random(h);
		efer ^= hostile_random(h) & hostile_random(h) & 0x501;
		rflags ^= hostile_random(h) & FL_VM;
	}
	if (ONE_IN(h, 4))
		cr0 ^= hostile_random(h) & (CR0_WP | CR0_AM | CR0_TS | CR0_EM |
		    CR0_MP | CR0_NE | CR0_CD);
	if (ONE_IN(h, 4))
		cr4 ^= hostile_random(h) & (CR4_VME | CR4_PVI | CR4_TSD |
		    CR4_DE | CR4_PGE | CR4_PCE | CR4_OSXSAVE | CR4_SMEP |
		    CR4_SMAP | CR4_UMIP | CR4_FSGSBASE | CR4_OSFXSR);
	if (mode >= MODE_COMPAT && ONE_IN(h, 4))
		cr4 |= CR4_PCIDE;
	if (ONE_IN(h, 20))
		r->vrs_crs[VCPU_REGS_CR3] = hostile_address(h);
	rflags |= hostile_random(h) & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF |
	    FL_OF | FL_DF);
	if (ONE_IN(h, 2))
		rflags |= FL_IF;
	if (ONE_IN(h, 4))
		rflags ^= hostile_random(h) & 0x3f7300;
	r->vrs_gprs[VCPU_REGS_RFLAGS] = rflags &
	    ~(uint64_t)(mode == MODE_V86 || mode == MODE_ANY ? 0 : FL_VM);
	r->vrs_crs[VCPU_REGS_CR0] = cr0;
	r->vrs_crs[VCPU_REGS_CR4] = cr4;
	r->vrs_crs[VCPU_REGS_XCR0] = ONE_IN(h, 3) ? 1 : 7;
	r->vrs_msrs[VCPU_REGS_EFER] = efer;
	r->vrs_msrs[VCPU_REGS_STAR] = 0x0018000800000000;
	r->vrs_msrs[VCPU_REGS_LSTAR] = CODE + 0x100;
	r->vrs_msrs[VCPU_REGS_CSTAR] = CODE + 0x200;
	for (n = 0; n < 4; n++)
		r->vrs_crs[VCPU_REGS_PDPTE0 + n] = mode == MODE_PAE ?
		    (TABLES + 2 * PAGE) | 1 : 0;
	if (ONE_IN(h, 5)) {
		for (n = 0; n < 4; n++)
			r->vrs_drs[n] = ONE_IN(h, 2) ? CODE +
			    hostile_below(h, CODE_SIZE) : hostile_address(h);
		r->vrs_drs[VCPU_REGS_DR7] = (uint32_t)hostile_random(h);
	}
}

void
hostile_guest(struct hostile *h, struct vcpu_reg_state *r)
{
	struct hostile_range *range;
	unsigned mode = h->h_mode = hostile_below(h, MODE_COUNT);

	for (range = h->h_range; range < h->h_range + HOSTILE_RANGES; range++)
		memset(range->hr_host, ONE_IN(h, 4) ?
		    (int)(hostile_random(h) & 0xff) : 0, range->hr_size);
	hostile_code(h, hostile_host(h, CODE), CODE_SIZE);
	hostile_code(h, hostile_host(h, 0x3f000), PAGE);
	hostile_code(h, hostile_host(h, 0x100007000), PAGE);
	descriptors(h, GDT);
	descriptors(h, LDT);
	interrupt_table(h, mode >= MODE_COMPAT);
	task_state(h);
	page_tables(h, mode < MODE_PAE);
	hostile_registers(h, r, mode);
	if (ONE_IN(h, 10))	/* code over the page tables */
		hostile_code(h, hostile_host(h, TABLES + hostile_below(h, 4) *
		    PAGE + hostile_below(h, PAGE - 64)), 64);
}

void
hostile_registers(struct hostile *h, struct vcpu_reg_state *r, unsigned mode)
{
	unsigned n;

	segments(h, r, mode);
	control(h, r, mode);
	for (n = VCPU_REGS_RAX; n < VCPU_REGS_NGPRS; n++)
		if (n != VCPU_REGS_RIP && n != VCPU_REGS_RFLAGS)
			r->vrs_gprs[n] = hostile_address(h);
	r->vrs_gprs[VCPU_REGS_RSP] = ONE_IN(h, 8) ? hostile_address(h) :
	    STACK + hostile_below(h, 0x1000);
	if (mode < MODE_PROT16)
		r->vrs_gprs[VCPU_REGS_RSP] &= 0xffff;
	r->vrs_gprs[VCPU_REGS_RIP] = ONE_IN(h, 20) ? hostile_address(h) :
	    CODE + hostile_below(h, CODE_SIZE);
}
