/*
 * The least monitor that the software engine can run under, and the least guest
 * that takes interrupts, for tests of the engine alone.
 */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct bare {
	uint64_t b_cr8;
	/* one device register that is answered at once; 0: none */
	uint64_t b_gpa;
	unsigned b_reads, b_writes;	/* of it */
	uint64_t b_value;		/* what it reads, and was written */
};

/* Its argument is a struct bare. CPUID is the monitor's; no MSRs. */
extern const struct engine_host bare_host;
/* Those of its functions that have no use for their argument, for others. */
bool	bare_rdmsr(void *, uint32_t msr, uint64_t *value);
bool	bare_wrmsr(void *, uint32_t msr, uint64_t value);
void	bare_cpuid(void *, struct engine_cpuid *);

/* VCPU_REGS_* of a register by its number in instructions. */
extern const uint8_t bare_gpr[16];
/* Base 0, limit 4 GiB. */
void	bare_segment(struct vcpu_segment_info *, uint16_t sel, uint32_t ar);

/* Flat 32-bit protected mode without paging: tables in the guest's memory, and
 * the registers that say so. The handler of a vector is HLT, IRET. */
#define BARE_GDT	0x2000u
#define BARE_IDT	0x2100u
#define BARE_VECTORS	64u
#define BARE_HANDLER	0x3000u		/* of vector n: n * 16 bytes on */
void	bare_flat(uint8_t *mem, struct vcpu_reg_state *);

#endif
