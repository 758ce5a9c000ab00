/* Interprocessor interrupts that a CPU sends to itself, all the ways. */
#include "guest.h"

static void
send(uint32_t dest, uint32_t icr)
{
	put(ICR2, dest << 24);
	put(ICR, icr);
	breathe();
}

/* Some instructions with interrupts off. */
static void
pass(void)
{
	for (unsigned i = 0; i < 200; i++)
		__asm__ volatile("nop");
}

GUEST
{
	put(SVR, 0x1ff);
	forget();
	send(0, 0x61);
	check(counts[0x61] == 1, "physical");
	send(5, 0x61);
	check(counts[0x61] == 1, "physical, to somebody else");
	send(0xff, 0x61);
	check(counts[0x61] == 2, "physical, to everybody");
	send(9, 0x40062);
	check(counts[0x62] == 1, "shorthand self");
	send(9, 0x80063);
	check(counts[0x63] == 1, "shorthand all");
	send(0, 0xc0064);
	check(counts[0x64] == 0, "shorthand all others");
	put(LDR, 0x24000000);
	send(0x20, 0x865);
	check(counts[0x65] == 1, "logical, flat");
	send(0x18, 0x865);
	check(counts[0x65] == 1, "logical, flat, to somebody else");
	put(DFR, 0);
	send(0x2c, 0x866);
	check(counts[0x66] == 1, "logical, cluster");
	send(0x14, 0x866);
	check(counts[0x66] == 1, "logical, another cluster");
	put(DFR, ~0u);
	send(0x24, 0x967);
	check(counts[0x67] == 1, "lowest priority");
	put(ID, 0x55000000);
	send(0x55, 0x68);
	check(counts[0x68] == 1, "the ID can be changed");
	put(ID, 0);

	/* NMI comes with interrupts closed, and does not come twice at once */
	put(ICR2, 0);
	put(ICR, 0x4400);
	pass();
	check(counts[2] == 1, "NMI, with interrupts off");
	check(!(get(ICR) & 0x1000), "delivery status: idle");
	send(0, 0x8500);	/* INIT deassert: nothing */
	check(true, "INIT deassert does nothing");
	put(LVT1, 0x400);
	put(SVR, 0xff);
	put(ICR, 0x4400);
	pass();
	check(counts[2] == 2, "NMI, with SVR off");
}
