/*
 * APICs with a clock and a TSC that the test turns by hand, for tests/apic.
 */
#ifndef APIC_FIXTURE_H
#define APIC_FIXTURE_H

#include <stdatomic.h>

#include "vmm/apic.h"

#define FIXTURE_CPUS	4
#define FIXTURE_TSC_KHZ	2000000		/* 2 ticks a ns */

struct apic_fixture {
	struct apic_vm	*af_vm;
	struct lapic	*af_lapic[FIXTURE_CPUS];
	uint64_t	 af_now;	/* ns */
	int64_t		 af_tsc_offset;
	atomic_uint	 af_kicks[FIXTURE_CPUS];
};

void	apic_fixture_start(struct apic_fixture *);
void	apic_fixture_end(struct apic_fixture *);

/* xAPIC registers by offset, IOAPIC registers by index; asserts the access. */
uint32_t lapic_get(struct lapic *, unsigned offset);
void	lapic_put(struct lapic *, unsigned offset, uint32_t value);
uint32_t ioapic_get(struct lapic *, unsigned index);
void	ioapic_put(struct lapic *, unsigned index, uint32_t value);
/* Both halves of a redirection entry, the low one last. */
void	ioapic_put_entry(struct lapic *, unsigned pin, uint64_t entry);
/* Software-enables the APIC of a CPU (SVR 0x1ff). */
void	lapic_turn_on(struct lapic *);
/* To x2APIC mode. */
void	lapic_to_x2(struct lapic *);

#endif
