/* The 8259 through LINT0: ExtINT, fixed, and with the APIC off. */
#include "guest.h"

#define MASKED	0x10000u

/* Not a single tick in 5 ms. */
static bool
silence(unsigned vector)
{
	unsigned n = counts[vector];
	uint64_t end = rdtsc() + tsc_khz() * 5;

	while (rdtsc() < end)
		breathe();
	return (counts[vector] == n);
}

GUEST
{
	check(get(LVT0) == 0x700, "LINT0 is ExtINT at power-on");
	pic_init(1);
	pic_eoi = true;
	forget();
	pit_once(1000);
	check(wait_for(0x20, 1), "an interrupt of the 8259");
	pit_once(20000);
	halt();
	check(counts[0x20] == 2, "wakes HLT");
	put(TPR, 0xf0);
	pit_once(1000);
	check(wait_for(0x20, 3), "ExtINT does not ask the task priority");
	put(TPR, 0);
	put(LVT0, MASKED | 0x700);
	pit_once(1000);
	check(silence(0x20), "masked in the LVT, it waits");
	put(LVT0, 0x700);
	check(wait_for(0x20, 4), "and comes when it is open again");
	/* as a vector of the local APIC: the 8259 is never asked */
	put(LVT0, 0x77);
	pic_eoi = false;
	pit_once(1000);
	check(wait_for(0x77, 1), "LINT0 as a fixed vector");
	check(counts[0x20] == 4, "instead of the 8259's");
	put(LVT0, MASKED);
	pic_init(1);		/* forget that request */
	/* no APIC: the 8259 is on the CPU's own pin */
	wrmsr(MSR_APIC_BASE, APIC | 0x100);
	pic_eoi = true;
	pit_once(1000);
	check(wait_for(0x20, 5), "with the APIC off");
	pit_once(20000);
	halt();
	check(counts[0x20] == 6, "it wakes HLT");
	__asm__ volatile("cli");
	pit_once(100);
	no_eoi = true;
	for (unsigned i = 0; i < 100; i++)
		inb(0x61);
	check(counts[0x20] == 6, "not with interrupts off");
}
