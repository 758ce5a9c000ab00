/*
 * Model-specific registers that systems read because of the CPU's vendor and
 * family, not because of a CPUID bit (msr.h): SDM vol. 4, AMD's PPRs.
 *
 * Every row says what is true of our CPU; a register whose absence systems
 * notice without complaint (they read it by a way that survives #GP) has no
 * row.
 */
#include <stdbool.h>
#include <stddef.h>

#include "vmm/cpuid.h"
#include "vmm/msr.h"

#define INTEL	(1 << CPUID_INTEL)
#define AMD	(1 << CPUID_AMD)
#define ANY	CPUID_ANY

/*
 * IA32_ARCH_CAPABILITIES: no workaround is needed for RDCL (0), L1D flush at
 * entry (3), SSB (4), MDS (5), page size MC (6), TAA (8), SBDR, FBSDP, PSDP
 * (13-15), BHI (20), PBRSB (24), GDS (26), RFDS (27), ITS (62); and IBRS may
 * be left on (IBRS_ALL, 1), without which systems turn to retpolines.
 */
#define ARCH_CAPABILITIES						\
	(1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 4 | 1ull << 5 |	\
	    1ull << 6 | 1ull << 8 | 7ull << 13 | 1ull << 20 |		\
	    1ull << 24 | 1ull << 26 | 1ull << 27 | 1ull << 62)

/* IA32_SPEC_CTRL: IBRS; STIBP, as every CPU with IBRS takes it; BHI_DIS_S. */
#define SPEC_CTRL		0x403ull

/* The base ratio of the TSC to a bus of 100 MHz, as maximum and minimum. */
static uint64_t
platform_info(uint64_t tsc_khz)
{
	uint64_t ratio = (tsc_khz + 50000) / 100000 & 0xff;

	return (ratio << 8 | ratio << 40);
}

struct msr_row {
	uint32_t	mr_msr;
	uint8_t		mr_vendors;
	uint64_t	mr_value;
	uint64_t	mr_dropped;	/* bits that may be written, in vain */
	uint64_t	(*mr_read)(uint64_t tsc_khz); /* instead of mr_value */
	uint64_t	mr_kept;	/* bits that are kept in ms_spec_ctrl */
	bool		mr_write_only;
};

static const struct msr_row msr_rows[] = {
	/* IA32_PLATFORM_ID */
	{ 0x17, INTEL, 0, 0, NULL, 0, false },
	/* EBL_CR_POWERON */
	{ 0x2a, INTEL, 0, 0, NULL, 0, false },
	/* IA32_FEATURE_CONTROL: locked, without VMX */
	{ 0x3a, INTEL, 1, 0, NULL, 0, false },
	/* IA32_SPEC_CTRL, IA32_PRED_CMD (IBPB) */
	{ 0x48, INTEL, 0, 0, NULL, SPEC_CTRL, false },
	{ 0x49, INTEL, 0, 0x1, NULL, 0, true },
	/* IA32_BIOS_SIGN_ID, PATCH_LEVEL: the microcode's revision */
	{ 0x8b, INTEL, 1ull << 32, ~0ull, NULL, 0, false },
	{ 0x8b, AMD, 0x01000065, ~0ull, NULL, 0, false },
	/* MSR_PLATFORM_INFO */
	{ 0xce, INTEL, 0, 0, platform_info, 0, false },
	/* IA32_MCG_CAP: no banks; read by systems that forget CPUID's MCA bit */
	{ 0x179, ANY, 0, 0, NULL, 0, false },
	/* IA32_MCG_STATUS */
	{ 0x17a, ANY, 0, 0, NULL, 0, false },
	/* IA32_ARCH_CAPABILITIES */
	{ 0x10a, INTEL, ARCH_CAPABILITIES, 0, NULL, 0, false },
	/* MSR_MISC_FEATURES_ENABLES: none */
	{ 0x140, INTEL, 0, 0, NULL, 0, false },
	/* IA32_DEBUGCTL: LBR and BTF are not there */
	{ 0x1d9, ANY, 0, 0x3, NULL, 0, false },
	/* SYSCFG: no memory encryption, no TOM2 */
	{ 0xc0010010, AMD, 0, ~0ull, NULL, 0, false },
	/* HWCR: TscFreqSel, the TSC runs at the P0 frequency */
	{ 0xc0010015, AMD, 1ull << 24, ~0ull, NULL, 0, false },
	/* NB_CFG1 */
	{ 0xc001001f, AMD, 0, ~0ull, NULL, 0, false },
	/* Interrupt pending message: no C1E */
	{ 0xc0010055, AMD, 0, ~0ull, NULL, 0, false },
	/* MMIO configuration base: disabled */
	{ 0xc0010058, AMD, 0, ~0ull, NULL, 0, false },
	/* DE_CFG: LFENCE is dispatch-serializing */
	{ 0xc0011029, AMD, 1ull << 1, ~0ull, NULL, 0, false },
};

static const struct msr_row *
find(enum cpuid_vendor vendor, uint32_t msr)
{
	const struct msr_row *r, *end;

	end = msr_rows + sizeof(msr_rows) / sizeof(msr_rows[0]);
	for (r = msr_rows; r < end; r++) {
		if (r->mr_msr == msr && (r->mr_vendors & 1 << vendor))
			return (r);
	}
	return (NULL);
}

int
misc_rdmsr(const struct misc_msrs *ms, uint32_t msr, uint64_t *value)
{
	const struct msr_row *r = find(ms->ms_vendor, msr);

	if (r == NULL)
		return (0);
	if (r->mr_write_only)
		return (-1);
	*value = r->mr_kept != 0 ? ms->ms_spec_ctrl :
	    r->mr_read != NULL ? r->mr_read(ms->ms_tsc_khz) : r->mr_value;
	return (1);
}

int
misc_wrmsr(struct misc_msrs *ms, uint32_t msr, uint64_t value)
{
	const struct msr_row *r = find(ms->ms_vendor, msr);

	if (r == NULL)
		return (0);
	if ((value & ~(r->mr_dropped | r->mr_kept)) != 0)
		return (-1);
	if (r->mr_kept != 0)
		ms->ms_spec_ctrl = value;
	return (1);
}
