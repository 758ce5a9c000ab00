/*
 * The paravirtual clock (pvclock ABI, MSRs 0x4b564d00 and 0x4b564d01): one
 * page in guest memory from which the guest computes time from its TSC.
 */
#ifndef VMM_PVCLOCK_H
#define VMM_PVCLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define MSR_KVM_WALL_CLOCK_NEW	0x4b564d00
#define MSR_KVM_SYSTEM_TIME_NEW	0x4b564d01
#define MSR_KVM_WALL_CLOCK	0x11
#define MSR_KVM_SYSTEM_TIME	0x12

struct pvclock {		/* per VCPU, [c] */
	uint64_t	pc_msr;		/* as written: gpa | 1 */
	uint64_t	pc_wall;
	uint32_t	pc_version;	/* even */
	uint64_t	pc_tsc_khz;
	uint64_t	pc_boot_tsc;	/* host TSC at time 0 of the clock */
	bool		pc_paused;	/* to be told with the next update */
};

/* Guest memory access that fails instead of faulting. */
struct pvclock_memory {
	bool	(*pm_write)(void *, uint64_t gpa, const void *, unsigned len);
	void	*pm_arg;
};

/* Time starts now. The VCPUs of a VM must agree: initialise one clock and copy
 * it to the others. */
void	pvclock_init(struct pvclock *, uint64_t tsc_khz);
/* 1: done, 0: not ours, -1: #GP. tsc_offset: guest TSC minus host TSC. */
int	pvclock_rdmsr(struct pvclock *, uint32_t msr, uint64_t *);
int	pvclock_wrmsr(struct pvclock *, uint32_t msr, uint64_t,
	    const struct pvclock_memory *, int64_t tsc_offset);
/* Writes the page anew (to be done when tsc_offset changes); false if the
 * guest's address is bad. Without an address: nothing to do, true. */
bool	pvclock_update(struct pvclock *, const struct pvclock_memory *,
	    int64_t tsc_offset);
/* The host TSC's frequency in kHz, measured once a process. */
uint64_t pvclock_tsc_khz(void);

#endif
