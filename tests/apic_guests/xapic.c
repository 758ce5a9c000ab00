/* The local APIC's page: registers, priorities, self IPIs, errors, SVR. */
#include "guest.h"

static void
nested(unsigned vector)
{
	if (vector == 0x31) {
		/* a higher class comes in between, its own class waits */
		self_ipi(0x32);
		self_ipi(0x41);
		breathe();
		check(counts[0x41] == 1 && counts[0x32] == 0,
		    "a higher class interrupts, the same class waits");
		check(bit(ISR, 0x31) && bit(IRR, 0x32), "ISR and IRR say so");
		check(get(PPR) == 0x30, "PPR is the class in service");
	}
}

static void
registers(void)
{
	uint32_t r[4];

	cpuid(1, r);
	check((r[3] >> 9 & 1) && (r[1] >> 24) == 0, "CPUID offers an APIC");
	check((rdmsr(MSR_APIC_BASE) & ~0xffull) == (APIC | 0x900),
	    "APIC_BASE: enabled, bootstrap processor");
	check(get(ID) == 0, "ID");
	check((get(VERSION) & 0xff) == 0x14 && (get(VERSION) >> 16 & 0xff) == 5,
	    "version and number of LVT entries");
	put(TPR, 0x1ab);
	check(get(TPR) == 0xab, "TPR has 8 bits");
	put(TPR, 0);
	put(LVTE, ~0u);
	check(get(LVTE) == 0x100ff, "LVT error has no other bits");
	put(DFR, 0);
	check(get(DFR) == 0x0fffffff, "DFR's low bits are ones");
	put(DFR, ~0u);
}

static void
priorities(void)
{
	self_ipi(0x31);
	self_ipi(0x51);
	self_ipi(0x52);
	check(bit(IRR, 0x31) && bit(IRR, 0x51) && bit(IRR, 0x52),
	    "IRR holds what waits");
	forget();
	breathe();
	check(norder == 3 && order[0] == 0x52 && order[1] == 0x51 &&
	    order[2] == 0x31, "the highest vector comes first");
	forget();
	put(TPR, 0x50);
	self_ipi(0x5f);
	self_ipi(0x60);
	breathe();
	check(counts[0x60] == 1 && counts[0x5f] == 0, "TPR holds back");
	put(TPR, 0x4f);
	breathe();
	check(counts[0x5f] == 1, "and lets go");
	put(TPR, 0);
	forget();
	on_interrupt = nested;
	self_ipi(0x31);
	breathe();
	on_interrupt = NULL;
	check(norder == 3 && order[0] == 0x31 && order[1] == 0x41 &&
	    order[2] == 0x32, "the order of nested interrupts");
}

static void
errors(void)
{
	forget();
	put(ESR, 0);
	put(LVTE, 0x70);
	self_ipi(5);
	breathe();
	check(counts[0x70] == 1,
	    "an illegal vector raises the error interrupt");
	put(ESR, 0);
	check(get(ESR) == 0x20, "ESR: send illegal vector");
	get(0x3b0);
	put(ESR, 0);
	check(get(ESR) == 0x80, "ESR: illegal register address");
	put(ESR, 0);
	check(get(ESR) == 0, "ESR is empty again");
	put(LVTE, 0x10070);
}

static void
disable(void)
{
	uint32_t r[4];

	forget();
	put(LVTE, 0x70);
	put(SVR, 0xff);
	check(get(LVTE) == 0x10070, "SVR off masks the LVT");
	put(LVTE, 0x70);
	check(get(LVTE) == 0x10070, "for as long as it is off");
	self_ipi(0x44);
	breathe();
	check(counts[0x44] == 0, "SVR off takes no interrupts");
	put(SVR, 0x1ff);
	self_ipi(0x44);
	breathe();
	check(counts[0x44] == 1, "SVR on does");

	wrmsr(MSR_APIC_BASE, 0x80000900);
	check(*(volatile uint32_t *)(0x80000000ul + VERSION) == 0x01050014,
	    "the page moves with APIC_BASE");
	check(get(VERSION) != 0x01050014, "and is no longer where it was");
	wrmsr(MSR_APIC_BASE, APIC | 0x900);
	check(try_wrmsr(MSR_APIC_BASE, APIC | 0x901) == 13 &&
	    try_wrmsr(MSR_APIC_BASE, 1ull << 60 | APIC | 0x900) == 13,
	    "#GP for APIC_BASE's reserved bits");
	put(TPR, 0x33);
	wrmsr(MSR_APIC_BASE, APIC | 0x100);
	cpuid(1, r);
	check(!(r[3] >> 9 & 1), "switched off, CPUID offers none");
	wrmsr(MSR_APIC_BASE, APIC | 0x900);
	check(get(TPR) == 0 && get(SVR) == 0xff,
	    "on again it is as after reset");
}

GUEST
{
	put(SVR, 0x1ff);
	registers();
	priorities();
	errors();
	disable();
}
