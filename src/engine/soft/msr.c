/*
 * Model-specific registers that are the CPU's own (SDM vol. 4, vol. 3A 11.11,
 * 11.12); the monitor has the others (eh_rdmsr, eh_wrmsr).
 */
#include <x86intrin.h>

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mmu.h"
#include "engine/soft/segment.h"
#include "engine/soft/stack.h"
#include "engine/soft/sys.h"

/* 8 variable ranges, fixed ranges, write combining (figure 11-5). */
#define MTRRCAP		0x508u
#define PAT_RESET	0x0007040600070406u
#define MTRR_TYPES	0x73u	/* 0, 1, 4, 5, 6 */
#define PAT_TYPES	0xf3u	/* and 7 */

uint64_t
cpu_tsc(const struct cpu *c)
{
	return (__rdtsc() + (uint64_t)c->c_tsc_offset);
}

void
msr_reset(struct cpu *c)
{
	unsigned n;

	c->c_star = c->c_lstar = c->c_cstar = c->c_sfmask = c->c_kgsbase = 0;
	c->c_sysenter_cs = c->c_sysenter_esp = c->c_sysenter_eip = 0;
	c->c_misc_enable = 1;		/* fast strings */
	c->c_pat = PAT_RESET;
	c->c_tsc_aux = 0;
	c->c_mtrr_def = 0;
	for (n = 0; n < 11; n++)
		c->c_mtrr_fix[n] = 0;
	for (n = 0; n < 8; n++)
		c->c_mtrr_var[n][0] = c->c_mtrr_var[n][1] = 0;
}

/* --- what a value must be -------------------------------------------------------- */

static bool
msr_any(const struct cpu *c, uint64_t value)
{
	(void)c;
	(void)value;
	return (true);
}

static bool
msr_is_canonical(const struct cpu *c, uint64_t value)
{
	(void)c;
	return (cpu_canonical(value));
}

static bool
msr_is_32(const struct cpu *c, uint64_t value)
{
	(void)c;
	return (value >> 32 == 0);
}

/* Eight memory types, one a byte. */
static bool
msr_types(uint64_t value, unsigned types)
{
	unsigned n;

	for (n = 0; n < 64; n += 8)
		if ((value >> n & 0xff) > 7 ||
		    (types >> (value >> n & 7) & 1) == 0)
			return (false);
	return (true);
}

static bool
msr_is_pat(const struct cpu *c, uint64_t value)
{
	(void)c;
	return (msr_types(value, PAT_TYPES));
}

static bool
msr_is_mtrr_def(const struct cpu *c, uint64_t value)
{
	(void)c;
	return ((value & ~0xcfful) == 0 && (value & 0xff) <= 7 &&
	    MTRR_TYPES >> (value & 7) & 1);
}

/* --- the table ----------------------------------------------------------------------- */

#define FIELD(f)	offsetof(struct cpu, f)
static const struct msr {
	uint32_t	m_msr;
	uint32_t	m_offset;
	bool		(*m_valid)(const struct cpu *, uint64_t);
} msrs[] = {
	{ MSR_SYSENTER_CS, FIELD(c_sysenter_cs), msr_is_32 },
	{ MSR_SYSENTER_ESP, FIELD(c_sysenter_esp), msr_is_canonical },
	{ MSR_SYSENTER_EIP, FIELD(c_sysenter_eip), msr_is_canonical },
	{ MSR_MISC_ENABLE, FIELD(c_misc_enable), msr_any },
	{ MSR_PAT, FIELD(c_pat), msr_is_pat },
	{ MSR_MTRR_DEF, FIELD(c_mtrr_def), msr_is_mtrr_def },
	{ MSR_STAR, FIELD(c_star), msr_any },
	{ MSR_LSTAR, FIELD(c_lstar), msr_is_canonical },
	{ MSR_CSTAR, FIELD(c_cstar), msr_is_canonical },
	{ MSR_SFMASK, FIELD(c_sfmask), msr_is_32 },
	{ MSR_FSBASE, FIELD(c_seg[SEG_FS].s_base), msr_is_canonical },
	{ MSR_GSBASE, FIELD(c_seg[SEG_GS].s_base), msr_is_canonical },
	{ MSR_KGSBASE, FIELD(c_kgsbase), msr_is_canonical },
	{ MSR_TSC_AUX, FIELD(c_tsc_aux), msr_is_32 },
};

static const struct msr *
msr_find(uint32_t msr)
{
	unsigned n;

	for (n = 0; n < sizeof(msrs) / sizeof(msrs[0]); n++)
		if (msrs[n].m_msr == msr)
			return (&msrs[n]);
	return (NULL);
}

static uint64_t *
msr_field(struct cpu *c, const struct msr *m)
{
	return ((uint64_t *)(void *)((uint8_t *)c + m->m_offset));
}

/* Index into c_mtrr_fix, or -1. */
static int
mtrr_fixed(uint32_t msr)
{
	if (msr == MSR_MTRR_FIX64K)
		return (0);
	if (msr - MSR_MTRR_FIX16K < 2)
		return ((int)(msr - MSR_MTRR_FIX16K) + 1);
	if (msr - MSR_MTRR_FIX4K < 8)
		return ((int)(msr - MSR_MTRR_FIX4K) + 3);
	return (-1);
}

static bool
mtrr_var_valid(const struct cpu *c, unsigned which, uint64_t value)
{
	uint64_t address = (1ul << c->c_maxphyaddr) - 4096;

	if (which == 0)		/* base */
		return ((value & ~(address | 0xff)) == 0 &&
		    (value & 0xff) <= 7 && MTRR_TYPES >> (value & 7) & 1);
	return ((value & ~(address | 0x800)) == 0);
}

enum msr_result
msr_read(struct cpu *c, uint32_t msr, uint64_t *value)
{
	const struct msr *m = msr_find(msr);
	int n = mtrr_fixed(msr);

	if (m != NULL)
		*value = *msr_field(c, m);
	else if (n >= 0)
		*value = c->c_mtrr_fix[n];
	else if (msr - MSR_MTRR_VAR < 16)
		*value = c->c_mtrr_var[(msr - MSR_MTRR_VAR) / 2][msr & 1];
	else if (msr == MSR_MTRRCAP)
		*value = MTRRCAP;
	else if (msr == MSR_TSC)
		*value = cpu_tsc(c);
	else if (msr == MSR_TSC_ADJUST)
		*value = c->c_tsc_adjust;
	else if (msr == MSR_EFER)
		*value = c->c_efer;
	else
		return (MSR_UNKNOWN);
	return (MSR_OK);
}

static enum msr_result
efer_write(struct cpu *c, uint64_t value)
{
	uint64_t changed;

	if (value & ~c->c_efer_valid)
		return (MSR_BAD_VALUE);
	value = (value & ~(uint64_t)EFER_LMA) | (c->c_efer & EFER_LMA);
	changed = c->c_efer ^ value;
	if (changed & EFER_LME && c->c_cr0 & CR0_PG)
		return (MSR_BAD_VALUE);
	c->c_efer = value;
	if (changed & EFER_NXE)
		mmu_flush_all(c);
	return (MSR_OK);
}

enum msr_result
msr_write(struct cpu *c, uint32_t msr, uint64_t value)
{
	const struct msr *m = msr_find(msr);
	int n = mtrr_fixed(msr);
	uint64_t delta;

	if (m != NULL) {
		if (!m->m_valid(c, value))
			return (MSR_BAD_VALUE);
		*msr_field(c, m) = value;
		return (MSR_OK);
	}
	if (n >= 0) {
		if (!msr_types(value, MTRR_TYPES))
			return (MSR_BAD_VALUE);
		c->c_mtrr_fix[n] = value;
		return (MSR_OK);
	}
	if (msr - MSR_MTRR_VAR < 16) {
		if (!mtrr_var_valid(c, msr & 1, value))
			return (MSR_BAD_VALUE);
		c->c_mtrr_var[(msr - MSR_MTRR_VAR) / 2][msr & 1] = value;
		return (MSR_OK);
	}
	switch (msr) {
	case MSR_MTRRCAP:
		return (MSR_BAD_VALUE);
	case MSR_TSC:
		delta = value - cpu_tsc(c);
		c->c_tsc_offset = (int64_t)((uint64_t)c->c_tsc_offset + delta);
		c->c_tsc_adjust += delta;
		return (MSR_OK);
	case MSR_TSC_ADJUST:
		delta = value - c->c_tsc_adjust;
		c->c_tsc_offset = (int64_t)((uint64_t)c->c_tsc_offset + delta);
		c->c_tsc_adjust = value;
		return (MSR_OK);
	case MSR_EFER:
		return (efer_write(c, value));
	default:
		return (MSR_UNKNOWN);
	}
}

/* --- instructions ------------------------------------------------------------------------ */

void
insn_rdmsr(struct cpu *c, const struct insn *i)
{
	uint32_t msr = (uint32_t)c->c_gpr[RCX];
	uint64_t value;

	(void)i;
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	if (msr_read(c, msr, &value) != MSR_OK &&
	    !c->c_host->eh_rdmsr(c->c_hostarg, msr, &value))
		cpu_gp(c, 0);
	c->c_gpr[RAX] = (uint32_t)value;
	c->c_gpr[RDX] = value >> 32;
}

void
insn_wrmsr(struct cpu *c, const struct insn *i)
{
	uint32_t msr = (uint32_t)c->c_gpr[RCX];
	uint64_t value = (uint32_t)c->c_gpr[RAX] | c->c_gpr[RDX] << 32;

	(void)i;
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	switch (msr_write(c, msr, value)) {
	case MSR_OK:
		break;
	case MSR_BAD_VALUE:
		cpu_gp(c, 0);
	case MSR_UNKNOWN:
		if (!c->c_host->eh_wrmsr(c->c_hostarg, msr, value))
			cpu_gp(c, 0);
		break;
	}
	if (msr == MSR_FSBASE || msr == MSR_GSBASE || msr == MSR_EFER)
		cpu_mode_update(c);
}

static void
tsc_allowed(struct cpu *c)
{
	if (c->c_cr4 & CR4_TSD && c->c_cpl != 0)
		cpu_gp(c, 0);
}

void
insn_rdtsc(struct cpu *c, const struct insn *i)
{
	uint64_t tsc;

	(void)i;
	tsc_allowed(c);
	tsc = cpu_tsc(c);
	c->c_gpr[RAX] = (uint32_t)tsc;
	c->c_gpr[RDX] = tsc >> 32;
}

void
insn_rdtscp(struct cpu *c, const struct insn *i)
{
	insn_rdtsc(c, i);
	c->c_gpr[RCX] = (uint32_t)c->c_tsc_aux;
}

void
insn_rdpid(struct cpu *c, const struct insn *i)
{
	reg_set(c, i->i_rm, i->i_osize, (uint32_t)c->c_tsc_aux);
}

/* There are no counters, whatever CR4.PCE says. */
void
insn_rdpmc(struct cpu *c, const struct insn *i)
{
	(void)i;
	cpu_gp(c, 0);
}

void
insn_cpuid(struct cpu *c, const struct insn *i)
{
	struct engine_cpuid ec = {
		.ec_leaf = (uint32_t)c->c_gpr[RAX],
		.ec_subleaf = (uint32_t)c->c_gpr[RCX],
		.ec_cr4 = c->c_cr4, .ec_xcr0 = c->c_xcr0
	};

	(void)i;
	c->c_host->eh_cpuid(c->c_hostarg, &ec);
	c->c_gpr[RAX] = ec.ec_eax;
	c->c_gpr[RBX] = ec.ec_ebx;
	c->c_gpr[RCX] = ec.ec_ecx;
	c->c_gpr[RDX] = ec.ec_edx;
}

/* --- FS and GS bases ----------------------------------------------------------------------- */

void
insn_swapgs(struct cpu *c, const struct insn *i)
{
	uint64_t base = c->c_seg[SEG_GS].s_base;

	(void)i;
	if (c->c_cpl != 0)
		cpu_gp(c, 0);
	c->c_seg[SEG_GS].s_base = c->c_kgsbase;
	c->c_kgsbase = base;
}

static void
base_read(struct cpu *c, const struct insn *i, unsigned seg)
{
	if ((c->c_cr4 & CR4_FSGSBASE) == 0)
		cpu_ud(c);
	reg_set(c, i->i_rm, i->i_osize, c->c_seg[seg].s_base);
}

static void
base_write(struct cpu *c, const struct insn *i, unsigned seg)
{
	uint64_t base = c->c_gpr[i->i_rm] & size_mask(i->i_osize);

	if ((c->c_cr4 & CR4_FSGSBASE) == 0)
		cpu_ud(c);
	if (!cpu_canonical(base))
		cpu_gp(c, 0);
	c->c_seg[seg].s_base = base;
	c->c_seg[seg].s_flat = 0;
}

void
insn_rdfsbase(struct cpu *c, const struct insn *i)
{
	base_read(c, i, SEG_FS);
}

void
insn_rdgsbase(struct cpu *c, const struct insn *i)
{
	base_read(c, i, SEG_GS);
}

void
insn_wrfsbase(struct cpu *c, const struct insn *i)
{
	base_write(c, i, SEG_FS);
}

void
insn_wrgsbase(struct cpu *c, const struct insn *i)
{
	base_write(c, i, SEG_GS);
}
