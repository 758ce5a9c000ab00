/* x2APIC mode: how it is entered and left, its MSRs, their #GPs. */
#include "guest.h"

static void
mode(void)
{
	uint32_t r[4];
	uint64_t v;

	cpuid(1, r);
	check(r[2] >> 21 & 1, "CPUID offers x2APIC");
	check(try_rdmsr(0x802, &v) == 13, "#GP for its MSRs in xAPIC mode");
	check(try_wrmsr(MSR_APIC_BASE, APIC | 0x500) == 13,
	    "#GP for EXTD without EN");
	put(TPR, 0x20);
	wrmsr(MSR_APIC_BASE, APIC | 0xd00);
	check(get2(TPR) == 0x20, "registers are kept");
	check(get2(ID) == 0 && get2(LDR) == 1, "ID and LDR");
	check((get2(VERSION) & 0xff) == 0x14, "version");
	check(get(VERSION) != 0x01050014, "the page is gone");
	check(try_wrmsr(MSR_APIC_BASE, APIC | 0x900) == 13,
	    "#GP for going back to xAPIC mode");
	put2(TPR, 0);
	cpuid(0xb, r);
	check(r[3] == 0 && r[1] == 1, "CPUID leaf 0xB");
}

static void
faults(void)
{
	static const struct {
		uint32_t msr;
		uint64_t value;
		bool fault;
	} rows[] = {
		{ 0x802, 0, true }, { 0x803, 0, true }, { 0x808, 0xff, false },
		{ 0x808, 0x100, true }, { 0x80a, 0, true }, { 0x80b, 0, false },
		{ 0x80b, 1, true }, { 0x80d, 0, true }, { 0x80e, 0, true },
		{ 0x80f, 0x11ff, false }, { 0x80f, 0x3ff, true },
		{ 0x810, 0, true }, { 0x820, 0, true }, { 0x828, 0, false },
		{ 0x828, 1, true }, { 0x830, 1ull << 20, true },
		{ 0x831, 0, true }, { 0x832, 0x500ff, false },
		{ 0x832, 0x800ff, true }, { 0x835, 0x10700, false },
		{ 0x835, 0x30700, true }, { 0x838, 0, false },
		{ 0x838, 1ull << 32, true }, { 0x839, 0, true },
		{ 0x83e, 0xb, false }, { 0x83e, 0x4, true },
		{ 0x83f, 0x100, true }, { 0x840, 0, true }, { 0x8ff, 0, true },
	};
	static const uint32_t unreadable[] = { 0x800, 0x80b, 0x80e, 0x831,
	    0x83f, 0x840, 0x8ff };
	bool good = true;
	uint64_t v;
	unsigned i;
	int got;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		got = try_wrmsr(rows[i].msr, rows[i].value);
		if (got != (rows[i].fault ? 13 : 0)) {
			say("# MSR ");
			say_number(rows[i].msr);
			say(" value ");
			say_number(rows[i].value);
			say("\n");
			good = false;
		}
	}
	check(good, "#GP for writes of reserved bits and registers");
	good = true;
	for (i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++)
		good &= try_rdmsr(unreadable[i], &v) == 13;
	check(good, "#GP for reads of what cannot be read");
	put2(TPR, 0);
	put2(SVR, 0x1ff);
}

static void
interrupts(void)
{
	forget();
	wrmsr(0x83f, 0x61);		/* SELF IPI */
	put2(ICR, 0x62);		/* physical, to 0 */
	put2(ICR, 1ull << 32 | 0x863);	/* logical, cluster 0 bit 0 */
	put2(ICR, 0xffffffff00000064);	/* broadcast */
	put2(ICR, 7ull << 32 | 0x65);	/* nobody */
	check((rdmsr(0x823) & 0x3e) == 0x1e, "IRR of what was sent");
	breathe();
	check(norder == 4 && order[0] == 0x64 && order[3] == 0x61,
	    "each arrives, the highest first");
	check(get2(ICR) == (7ull << 32 | 0x65), "ICR reads back");
	forget();
	put2(LVTT, 0x400ee);		/* TSC deadline */
	wrmsr(MSR_DEADLINE, rdtsc() + 1000);
	check(wait_for(0xee, 1), "a TSC deadline");
	wrmsr(MSR_APIC_BASE, APIC | 0x100);
	check(try_wrmsr(MSR_APIC_BASE, APIC | 0xd00) == 13,
	    "#GP for entering it from off");
	wrmsr(MSR_APIC_BASE, APIC | 0x900);
	check(get(SVR) == 0xff, "off and on: as after reset");
}

GUEST
{
	put(SVR, 0x1ff);
	mode();
	faults();
	interrupts();
}
