/*
 * Control registers and MSRs: what is checked and stored (sys_cr.c, msr.c).
 */
#ifndef SOFT_SYS_H
#define SOFT_SYS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/cpu.h"

enum {
	MSR_TSC = 0x10, MSR_TSC_ADJUST = 0x3b, MSR_MTRRCAP = 0xfe,
	MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
	MSR_MISC_ENABLE = 0x1a0, MSR_MTRR_VAR = 0x200, MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K = 0x258, MSR_MTRR_FIX4K = 0x268, MSR_PAT = 0x277,
	MSR_MTRR_DEF = 0x2ff
};
#define MSR_EFER		0xc0000080u
#define MSR_STAR		0xc0000081u
#define MSR_LSTAR		0xc0000082u
#define MSR_CSTAR		0xc0000083u
#define MSR_SFMASK		0xc0000084u
#define MSR_FSBASE		0xc0000100u
#define MSR_GSBASE		0xc0000101u
#define MSR_KGSBASE		0xc0000102u
#define MSR_TSC_AUX		0xc0000103u

/* The engine's own MSRs. */
enum msr_result { MSR_OK, MSR_BAD_VALUE, MSR_UNKNOWN };
enum msr_result	msr_read(struct cpu *, uint32_t msr, uint64_t *);
enum msr_result	msr_write(struct cpu *, uint32_t msr, uint64_t);
void		msr_reset(struct cpu *);
uint64_t	cpu_tsc(const struct cpu *);

/* Are these values of CR0, CR3, CR4, EFER (without LMA) possible together? */
bool	cr_consistent(const struct cpu *, uint64_t cr0, uint64_t cr3,
	    uint64_t cr4, uint64_t efer);
/* Which bits CR4, EFER and XCR0 may have, from CPUID. */
void	cr_features(struct cpu *);

/* DR6 and DR7 as stored: fixed bits in place. */
static inline uint64_t
dr6_fixed(uint64_t value)
{
	return ((value & (DR6_B | DR6_BD | DR6_BS | DR6_BT)) | DR6_ONES);
}

static inline uint64_t
dr7_fixed(uint64_t value)
{
	return ((value & 0xffff23ffu) | DR7_ONES);
}

#endif
