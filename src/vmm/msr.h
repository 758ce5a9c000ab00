/*
 * The model-specific registers that belong to nobody else: not the engine's,
 * not an APIC's, not the clock's. All but IA32_SPEC_CTRL hold no state: a
 * constant each, and writes that go nowhere or are refused. A struct misc_msrs
 * belongs to its VCPU's thread.
 */
#ifndef VMM_MSR_H
#define VMM_MSR_H

#include <stdint.h>

#include "vmm/cpuid.h"

struct misc_msrs {
	enum cpuid_vendor ms_vendor;
	uint64_t	ms_tsc_khz;
	uint64_t	ms_spec_ctrl;	/* 0 after reset */
};

/* 1: done, 0: not here, -1: #GP. */
int	misc_rdmsr(const struct misc_msrs *, uint32_t msr, uint64_t *value);
int	misc_wrmsr(struct misc_msrs *, uint32_t msr, uint64_t value);

#endif
