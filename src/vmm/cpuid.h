/*
 * The CPUID policy: what the guest's CPU offers. The same for all engines:
 * the host's own features, cut to the list of what the engines implement, and
 * what the engines and the monitor do themselves whatever the host has.
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

/* Registers of an answer. */
enum { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

enum cpuid_vendor { CPUID_INTEL, CPUID_AMD, CPUID_OTHER };

/* Answers one CPUID; any thread. Never executes CPUID itself after the first
 * call (a real one may be a VM exit of the host's own hypervisor). */
void	cpuid_answer(const struct cpuid_policy *, struct engine_cpuid *);
/* The XCR0 bits that the guest may set: 1, 3 or 7; 0 without XSAVE. */
uint64_t cpuid_xcr0_mask(void);
/* A feature by CPUID leaf/register/bit, as the guest sees it; those that
 * depend on the VCPU's state (APIC, OSXSAVE) count when they can be had. */
bool	cpuid_has(uint32_t leaf, uint32_t subleaf, int reg, int bit);
/* MAXPHYADDR and whose rules the guest's CPU follows (SYSRET, MSRs). */
unsigned cpuid_physical_bits(void);
enum cpuid_vendor cpuid_vendor(void);

/*
 * The list of features that a guest may ever see, for those who check it.
 */
enum cpuid_rule {
	CPUID_IF_HOST,		/* if the host has it: the host executes it */
	CPUID_ALWAYS,		/* ours: the software does it everywhere */
	CPUID_DYNAMIC		/* ours: depends on the VM or VCPU, see answer */
};

struct cpuid_feature {
	uint32_t	cf_leaf;
	uint8_t		cf_subleaf;
	uint8_t		cf_reg;		/* CPUID_EAX.. */
	uint8_t		cf_bit;
	uint8_t		cf_rule;	/* enum cpuid_rule */
	uint8_t		cf_vendors;	/* 1 << enum cpuid_vendor, or CPUID_ANY */
	uint8_t		cf_xcr0;	/* needs these bits of cpuid_xcr0_mask() */
	const char	*cf_name;
};
#define CPUID_ANY	((1 << CPUID_INTEL) | (1 << CPUID_AMD) | \
			    (1 << CPUID_OTHER))

const struct cpuid_feature *cpuid_features(size_t *count);

/*
 * The same policy on another CPU: cpuid answers as that CPU's instruction, and
 * zeros beyond its last leaf. For tests.
 */
typedef void	cpuid_fn(uint32_t leaf, uint32_t subleaf, uint32_t reg[4]);
void	cpuid_answer_as(cpuid_fn *, uint64_t xcr0, const struct cpuid_policy *,
	    struct engine_cpuid *);

#endif
