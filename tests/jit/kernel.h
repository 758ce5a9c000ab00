/*
 * What programs run on (kernel.c).
 */
#ifndef JIT_KERNEL_H
#define JIT_KERNEL_H

#include <stdint.h>

#include "side.h"

/* From here on, vectors are interrupts that leave no trace but k_irqs. */
#define INTR_VECTOR	0x70
/* INT with these comes back, with a trace. */
#define INT_VECTOR	0x30

struct kernel_data {
	uint64_t	k_trace;	/* of all faults and traps */
	uint64_t	k_stack;	/* RSP after a fault */
	uint64_t	k_saved;
	uint64_t	k_irqs;
	uint64_t	k_flags;	/* RFLAGS that are part of k_trace */
	int32_t		k_budget;	/* faults and traps, then it ends */
	int32_t		k_steps;
	uint32_t	k_calls, k_pad;
	/* SYSCALL with EAX: bit 0 says which of these changes frames, bits
	 * 1, 2 how the TLB learns of it */
	struct {
		uint64_t pte;		/* linear address of the entry */
		uint64_t frame[2];	/* entries; [0] is current */
		uint64_t page;		/* linear address of the page */
	} k_remap[2];
	uint64_t	k_labels[64];	/* where faults may lead */
};

/* Puts it into sd's memory; its data there. */
struct kernel_data *kernel_put(struct side *);

#endif
