/* A machine reset leaves the APICs and the MTRRs as power-on did. */
#include "guest.h"

#define MSR_MTRR_DEF	0x2ff
#define CMOS_MARK	0x60	/* memory that outlives a reset */

static uint8_t
cmos_read(uint8_t at)
{
	outb(0x70, at);
	return (inb(0x71));
}

static void
cmos_write(uint8_t at, uint8_t value)
{
	outb(0x70, at);
	outb(0x71, value);
}

GUEST
{
	bool again = cmos_read(CMOS_MARK) == 0xa5;

	check(rdmsr(MSR_APIC_BASE) == (APIC | 0x900), again ?
	    "APIC_BASE after a reset" : "APIC_BASE at power-on");
	check(get(SVR) == 0x1ff && get(LVT0) == 0x700 && get(LVT1) == 0x400,
	    "virtual wire mode");
	check(get(TPR) == 0 && get(LVTT) == 0x10000 && get(TMICT) == 0,
	    "nothing set");
	check(ioapic_get(0x10) == 0x10000 && ioapic_get(0x15) == 0 &&
	    ioapic_get(0x10 + 2 * 9) == 0x10000, "the IOAPIC is masked");
	check(rdmsr(MSR_MTRR_DEF) == 0x806, "memory is write-back");
	breathe();
	check(norder == 0, "no interrupt waits");
	if (again) {
		cmos_write(CMOS_MARK, 0);
		return;
	}
	cmos_write(CMOS_MARK, 0xa5);
	put(TPR, 0x20);
	put(TMICT, 1000);
	put(LVT0, 0x10000);
	self_ipi(0x55);
	ioapic_entry(2, 0x66);
	ioapic_entry(9, 0x8077);
	wrmsr(MSR_MTRR_DEF, 0);
	put(TPR, 0);
	wrmsr(MSR_APIC_BASE, APIC | 0xd00);
	outb(0xcf9, 0x06);
	for (;;)
		__asm__ volatile("cli; hlt");
}
