/*
 * The CPUID policy: what the guest's CPU offers. The same for all engines:
 * the host's own features, cut to the list of what the engines implement.
 */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include "engine/engine.h"

struct cpuid_policy {
	uint32_t	cp_ncpus;
	uint32_t	cp_apic_id;
	bool		cp_apic;	/* VM has APICs (VMM_CAP_APIC) */
	bool		cp_apic_enabled; /* APIC_BASE.EN now */
	bool		cp_pvclock;
	uint64_t	cp_tsc_khz;
};

/* Answers one CPUID; any thread. Never executes CPUID itself after the first
 * call (a real one may be a VM exit of the host's own hypervisor). */
void	cpuid_answer(const struct cpuid_policy *, struct engine_cpuid *);
/* The XCR0 bits that the guest may set: 1, 3 or 7. */
uint64_t cpuid_xcr0_mask(void);
/* A feature by CPUID leaf/register/bit, as the guest sees it. */
bool	cpuid_has(uint32_t leaf, uint32_t subleaf, int reg, int bit);

#endif
