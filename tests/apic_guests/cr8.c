/* CR8 is the task priority, in both modes. */
#include "guest.h"

static void
blocks(const char *name)
{
	forget();
	write_cr8(4);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE));
	if (rdmsr(MSR_APIC_BASE) & 0x400) {
		put2(ICR, 0x4004f);
		put2(ICR, 0x40050);
	} else {
		self_ipi(0x4f);
		self_ipi(0x50);
	}
	breathe();
	check(counts[0x4f] == 0 && counts[0x50] == 1, name);
	/* the very next boundary takes it */
	__asm__ volatile("sti; nop" : : : "memory");
	write_cr8(3);
	__asm__ volatile("nop; cli" : : : "memory");
	check(counts[0x4f] == 1, "lowering CR8 lets it in at once");
	write_cr8(0);
}

GUEST
{
	put(SVR, 0x1ff);
	put(TPR, 0xa7);
	check(read_cr8() == 0xa, "CR8 reads TPR's class");
	write_cr8(5);
	check(get(TPR) == 0x50, "writing CR8 clears TPR's low bits");
	check(get(PPR) == 0x50, "PPR follows");
	write_cr8(15);
	self_ipi(0xfe);
	breathe();
	check(counts[0xfe] == 0, "15 holds back everything");
	write_cr8(0);
	breathe();
	check(counts[0xfe] == 1, "0 nothing");
	blocks("CR8 in xAPIC mode");
	wrmsr(MSR_APIC_BASE, APIC | 0xd00);
	write_cr8(9);
	check(get2(TPR) == 0x90 && read_cr8() == 9, "CR8 in x2APIC mode");
	blocks("CR8 holds back in x2APIC mode");
}
