/*
 * Control and debug registers: SDM vol. 3A 2.5, 4.1, 4.10.4 (what is flushed
 * by what), vol. 3B 17.2.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/stack.h"
#include "engine/soft/segment.h"
#include "engine/soft/sys.h"

#define CR0_KNOWN	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | \
    CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR3_NOFLUSH	0x8000000000000000u

/* --- what is possible ---------------------------------------------------------- */

/* CR4 bits that come with a CPUID bit: leaf, register (0 EAX ... 3 EDX), bit. */
static const struct {
	uint32_t	cr4;
	uint32_t	leaf;
	uint8_t		reg, bit;
} cr4_bits[] = {
	{ CR4_VME | CR4_PVI, 1, 3, 1 },
	{ CR4_DE, 1, 3, 2 },
	{ CR4_PSE, 1, 3, 3 },
	{ CR4_TSD, 1, 3, 4 },
	{ CR4_PAE, 1, 3, 6 },
	{ CR4_MCE, 1, 3, 7 },
	{ CR4_PGE, 1, 3, 13 },
	{ CR4_OSFXSR, 1, 3, 24 },
	{ CR4_OSXMMEXCPT, 1, 3, 25 },
	{ CR4_PCIDE, 1, 2, 17 },
	{ CR4_OSXSAVE, 1, 2, 26 },
	{ CR4_FSGSBASE, 7, 1, 0 },
	{ CR4_SMEP, 7, 1, 7 },
	{ CR4_SMAP, 7, 1, 20 },
	{ CR4_UMIP, 7, 2, 2 },
};
/* The same of EFER. */
static const struct {
	uint32_t	efer;
	uint32_t	leaf;
	uint8_t		reg, bit;
} efer_bits[] = {
	{ EFER_SCE, 0x80000001, 3, 11 },
	{ EFER_NXE, 0x80000001, 3, 20 },
	{ EFER_FFXSR, 0x80000001, 3, 25 },
	{ EFER_LME | EFER_LMA, 0x80000001, 3, 29 },
	{ EFER_AIBRSE, 0x80000021, 0, 8 },
};

static void
cr_cpuid(struct cpu *c, uint32_t leaf, uint32_t out[4])
{
	struct engine_cpuid ec = { .ec_leaf = leaf };

	c->c_host->eh_cpuid(c->c_hostarg, &ec);
	out[0] = ec.ec_eax;
	out[1] = ec.ec_ebx;
	out[2] = ec.ec_ecx;
	out[3] = ec.ec_edx;
}

void
cr_features(struct cpu *c)
{
	uint32_t out[4], basic, extended;
	unsigned n;

	cr_cpuid(c, 0, out);
	basic = out[0];
	cr_cpuid(c, 0x80000000, out);
	extended = out[0];
	c->c_cr4_valid = CR4_PCE;
	for (n = 0; n < sizeof(cr4_bits) / sizeof(cr4_bits[0]); n++) {
		if (cr4_bits[n].leaf > basic)
			continue;
		cr_cpuid(c, cr4_bits[n].leaf, out);
		if (out[cr4_bits[n].reg] >> cr4_bits[n].bit & 1)
			c->c_cr4_valid |= cr4_bits[n].cr4;
	}
	c->c_efer_valid = 0;
	c->c_maxphyaddr = 36;
	for (n = 0; n < sizeof(efer_bits) / sizeof(efer_bits[0]); n++) {
		if (efer_bits[n].leaf > extended)
			continue;
		cr_cpuid(c, efer_bits[n].leaf, out);
		if (out[efer_bits[n].reg] >> efer_bits[n].bit & 1)
			c->c_efer_valid |= efer_bits[n].efer;
	}
	if (extended >= 0x80000008) {
		cr_cpuid(c, 0x80000008, out);
		if ((out[0] & 0xff) >= 32 && (out[0] & 0xff) <= 52)
			c->c_maxphyaddr = (uint8_t)out[0];
	}
	c->c_xcr0_valid = 1;
	if (basic >= 0xd && c->c_cr4_valid & CR4_OSXSAVE) {
		cr_cpuid(c, 0xd, out);
		c->c_xcr0_valid = out[0] | (uint64_t)out[3] << 32;
	}
}

static uint64_t
cr3_reserved(const struct cpu *c)
{
	return (~((1ul << c->c_maxphyaddr) - 1));
}

bool
cr_consistent(const struct cpu *c, uint64_t cr0, uint64_t cr3, uint64_t cr4,
    uint64_t efer)
{
	bool longmode = efer & EFER_LME && cr0 & CR0_PG;

	if (cr0 >> 32 != 0 || (cr0 & (CR0_PG | CR0_PE)) == CR0_PG ||
	    (cr0 & (CR0_NW | CR0_CD)) == CR0_NW)
		return (false);
	if (cr4 & ~c->c_cr4_valid || efer & ~c->c_efer_valid)
		return (false);
	if (longmode && (cr4 & CR4_PAE) == 0)
		return (false);
	if (!longmode && cr4 & CR4_PCIDE)
		return (false);
	return ((cr3 & cr3_reserved(c)) == 0);
}

/* --- CR0 ---------------------------------------------------------------------------- */

static void
cr0_write(struct cpu *c, uint64_t value)
{
	uint64_t old = c->c_cr0, changed, pdpte[4];
	bool pae_load = false;
	unsigned n;

	if (value >> 32 != 0)
		cpu_gp(c, 0);
	value = (value & CR0_KNOWN) | CR0_ET;
	changed = old ^ value;
	if ((value & (CR0_NW | CR0_CD)) == CR0_NW ||
	    (value & (CR0_PG | CR0_PE)) == CR0_PG)
		cpu_gp(c, 0);
	if (changed & value & CR0_PG && c->c_efer & EFER_LME) {
		if ((c->c_cr4 & CR4_PAE) == 0 || c->c_seg[SEG_CS].s_ar & AR_L ||
		    (c->c_seg[SEG_TR].s_ar & (AR_UNUSABLE | 8)) == 0)
			cpu_gp(c, 0);
	} else if (value & CR0_PG && c->c_cr4 & CR4_PAE && !c->c_long)
		pae_load = (changed & (CR0_PG | CR0_CD | CR0_NW)) != 0;
	if (changed & old & CR0_PG && (c->c_code64 || c->c_cr4 & CR4_PCIDE))
		cpu_gp(c, 0);
	if (pae_load && !mmu_load_pdptes(c, c->c_cr3, pdpte))
		cpu_gp(c, 0);

	for (n = 0; n < 4 && pae_load; n++)
		c->c_pdpte[n] = pdpte[n];
	c->c_cr0 = value;
	if (changed & CR0_PG) {
		if (value & CR0_PG && c->c_efer & EFER_LME)
			c->c_efer |= EFER_LMA;
		else
			c->c_efer &= ~(uint64_t)EFER_LMA;
	}
	/* WP is in the rights that the TLB keeps */
	if (changed & (CR0_PG | CR0_PE | CR0_WP))
		mmu_flush_all(c);
	cpu_mode_update(c);
}

void
insn_clts(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	c->c_cr0 &= ~(uint64_t)CR0_TS;
	cpu_request(c, REQ_RESYNC);
}

void
insn_smsw(struct cpu *c, const struct insn *i)
{
	if (c->c_cr4 & CR4_UMIP && c->c_cpl != 0)
		cpu_gp(c, 0);
	if (i->i_flags & INSN_MEM)
		mem_write(c, mem_operand(c, i, 2, ENGINE_WRITE), 2,
		    c->c_cr0 & UINT16_MAX);
	else
		reg_set(c, i->i_rm, i->i_osize, c->c_cr0);
}

void
insn_lmsw(struct cpu *c, const struct insn *i)
{
	uint64_t value;

	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	if (i->i_flags & INSN_MEM)
		value = mem_read(c, mem_operand(c, i, 2, ENGINE_READ), 2);
	else
		value = c->c_gpr[i->i_rm];
	/* PE can be set by it, not cleared */
	cr0_write(c, (c->c_cr0 & ~0xeul) | (value & 0xf));
}

/* --- CR3, CR4 ------------------------------------------------------------------------ */

static void
cr3_write(struct cpu *c, uint64_t value)
{
	uint64_t pdpte[4];
	bool flush = true;
	unsigned n;

	if (c->c_cr4 & CR4_PCIDE && value & CR3_NOFLUSH) {
		flush = false;
		value &= ~CR3_NOFLUSH;
	}
	if (c->c_long && value & cr3_reserved(c))
		cpu_gp(c, 0);
	if (c->c_paging == PAGING_PAE) {
		if (!mmu_load_pdptes(c, value, pdpte))
			cpu_gp(c, 0);
		for (n = 0; n < 4; n++)
			c->c_pdpte[n] = pdpte[n];
	}
	c->c_cr3 = value;
	if (flush)
		mmu_flush_context(c);
	else
		mmu_switch(c);
}

static void
cr4_write(struct cpu *c, uint64_t value)
{
	uint64_t changed = c->c_cr4 ^ value, pdpte[4];
	unsigned n;

	if (value & ~c->c_cr4_valid)
		cpu_gp(c, 0);
	if (c->c_long && changed & CR4_PAE)
		cpu_gp(c, 0);
	if (changed & value & CR4_PCIDE && (!c->c_long || c->c_cr3 & 0xfff))
		cpu_gp(c, 0);
	if (c->c_cr0 & CR0_PG && !c->c_long && value & CR4_PAE &&
	    changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) {
		if (!mmu_load_pdptes(c, c->c_cr3, pdpte))
			cpu_gp(c, 0);
		for (n = 0; n < 4; n++)
			c->c_pdpte[n] = pdpte[n];
	}
	c->c_cr4 = value;
	if (changed & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP |
	    CR4_SMAP))
		mmu_flush_all(c);
	cpu_mode_update(c);
}

void
insn_mov_r_cr(struct cpu *c, const struct insn *i)
{
	uint64_t value;

	switch (i->i_reg) {
	case 0:
		value = c->c_cr0;
		break;
	case 2:
		value = c->c_cr2;
		break;
	case 3:
		value = c->c_cr3;
		break;
	case 4:
		value = c->c_cr4;
		break;
	case 8:
		value = 0;
		break;
	default:
		cpu_ud(c);
	}
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	if (i->i_reg == 8)
		value = c->c_host->eh_read_cr8(c->c_hostarg);
	reg_set(c, i->i_rm, i->i_osize, value);
}

void
insn_mov_cr_r(struct cpu *c, const struct insn *i)
{
	uint64_t value = c->c_gpr[i->i_rm] & size_mask(i->i_osize);

	switch (i->i_reg) {
	case 0: case 2: case 3: case 4: case 8:
		break;
	default:
		cpu_ud(c);
	}
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	switch (i->i_reg) {
	case 0:
		cr0_write(c, value);
		break;
	case 2:
		c->c_cr2 = value;
		break;
	case 3:
		cr3_write(c, value);
		break;
	case 4:
		cr4_write(c, value);
		break;
	default:
		if (value > 15)
			cpu_gp(c, 0);
		c->c_host->eh_write_cr8(c->c_hostarg, value);
		break;
	}
}

/* --- debug registers -------------------------------------------------------------------- */

/* The checks that both directions share; returns the register's number. */
static unsigned
dr_number(struct cpu *c, const struct insn *i)
{
	unsigned n = i->i_reg;

	if (n > 7 || ((n == 4 || n == 5) && c->c_cr4 & CR4_DE))
		cpu_ud(c);
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	if (c->c_dr[7] & DR7_GD)
		cpu_debug_fault(c, DR6_BD);
	return (n == 4 || n == 5 ? n + 2 : n);
}

void
insn_mov_r_dr(struct cpu *c, const struct insn *i)
{
	reg_set(c, i->i_rm, i->i_osize, c->c_dr[dr_number(c, i)]);
}

void
insn_mov_dr_r(struct cpu *c, const struct insn *i)
{
	unsigned n = dr_number(c, i);
	uint64_t value = c->c_gpr[i->i_rm] & size_mask(i->i_osize);

	if (n >= 6 && value >> 32 != 0)
		cpu_gp(c, 0);
	if (n == 6) {
		c->c_dr[6] = dr6_fixed(value);
		return;
	}
	c->c_dr[n] = n == 7 ? dr7_fixed(value) : value;
	mmu_watch_update(c);
	cpu_request(c, REQ_STEP);
}

/* --- translations ---------------------------------------------------------------------------- */

void
insn_invlpg(struct cpu *c, const struct insn *i)
{
	uint64_t linear = mem_ea(c, i);

	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	if (!c->c_code64)
		linear = (uint32_t)(linear + c->c_seg[i->i_seg].s_base);
	else if (i->i_seg >= SEG_FS)
		linear += c->c_seg[i->i_seg].s_base;
	if (cpu_canonical(linear))
		mmu_flush_page(c, linear);
}

void
insn_invpcid(struct cpu *c, const struct insn *i)
{
	uint64_t type, linear, pcid, address;

	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	type = c->c_gpr[i->i_reg] & size_mask(c->c_code64 ? 8 : 4);
	linear = mem_operand(c, i, 16, ENGINE_READ);
	pcid = mem_read(c, linear, 8);
	address = mem_read(c, linear + 8, 8);
	if (type > 3 || pcid > 0xfff ||
	    (type < 2 && pcid != 0 && (c->c_cr4 & CR4_PCIDE) == 0) ||
	    (type == 0 && !cpu_canonical(address)))
		cpu_gp(c, 0);
	switch (type) {
	case 0:
		mmu_flush_page(c, address);
		break;
	case 1:
		mmu_flush_pcid(c, (unsigned)pcid);
		break;
	case 2:
		mmu_flush_all(c);
		break;
	default:
		mmu_flush_pcids(c);
		break;
	}
	cpu_request(c, REQ_RESYNC);
}

void
insn_wbinvd(struct cpu *c, const struct insn *i)
{
	(void)i;
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
}
