/* The IOAPIC: registers; edges and levels of COM1's and the 8253's lines. */
#include "guest.h"

#define PIN_PIT		2	/* IRQ 0, as the MADT says */
#define PIN_COM1	4
#define MASKED		0x10000u
#define LEVEL		0x08000u
#define REMOTE_IRR	0x04000u

static void
registers(void)
{
	unsigned i;
	bool good = true;

	check((ioapic_get(1) & 0xff) == 0x20 && ioapic_get(1) >> 16 == 23,
	    "version, 24 pins");
	for (i = 0; i < 24; i++)
		good &= (ioapic_get(0x10 + 2 * i) & MASKED) != 0;
	check(good, "all pins are masked");
	ioapic_put(0x12, ~0u);
	check(ioapic_get(0x12) == 0x1afff, "status bits cannot be written");
	ioapic_put(0x12, MASKED);
}

static volatile unsigned last;

/* COM1: "transmitter empty" is asserted from IER on until IIR is read. */
static void
com1_assert(void)
{
	outb(0x3fc, 0x0b);	/* OUT2 */
	outb(0x3f9, 0x02);
}

static void
com1_release(void)
{
	outb(0x3f9, 0x00);
}

static void
release_third(unsigned vector)
{
	last = vector;
	if (counts[vector] == 3)
		com1_release();
}

static void
levels(void)
{
	forget();
	ioapic_entry(PIN_COM1, LEVEL | 0x54);
	com1_assert();
	check(bit(IRR, 0x54) && bit(TMR, 0x54),
	    "a level waits, TMR says level");
	check(ioapic_get(0x18) == (LEVEL | REMOTE_IRR | 0x54),
	    "remote IRR is set");
	on_interrupt = release_third;
	breathe();
	on_interrupt = NULL;
	check(wait_for(0x54, 3), "it comes again after each EOI");
	breathe();
	check(counts[0x54] == 3, "until it is released");
	check(ioapic_get(0x18) == (LEVEL | 0x54), "remote IRR is clear");
	ioapic_entry(PIN_COM1, MASKED | LEVEL | 0x54);
	com1_assert();
	breathe();
	check(counts[0x54] == 3, "masked, it does not come");
	no_eoi = true;
	ioapic_entry(PIN_COM1, LEVEL | 0x54);
	breathe();
	no_eoi = false;
	check(counts[0x54] == 4, "unmasked, it comes, being a level");
	com1_release();
	check(ioapic_get(0x18) == (LEVEL | REMOTE_IRR | 0x54),
	    "in service until the EOI");
	put(EOI, 0);
	check(ioapic_get(0x18) == (LEVEL | 0x54), "which is broadcast");
	/* the EOI register */
	put(SVR, 0x11ff);
	com1_assert();
	on_interrupt = release_third;
	counts[0x54] = 2;
	breathe();
	on_interrupt = NULL;
	check(ioapic_get(0x18) == (LEVEL | REMOTE_IRR | 0x54),
	    "no broadcast where SVR forbids it");
	*(volatile uint32_t *)(IOAPIC + 0x40) = 0x54;
	check(ioapic_get(0x18) == (LEVEL | 0x54), "the IOAPIC's EOI register");
	put(SVR, 0x1ff);
	ioapic_entry(PIN_COM1, MASKED);
}

static void
edges(void)
{
	unsigned first, again, second, behind;
	bool level;

	/* Nothing may be said meanwhile: the console is the device. */
	forget();
	ioapic_entry(PIN_COM1, 0x64);
	com1_assert();
	breathe();
	first = counts[0x64];
	breathe();
	again = counts[0x64];
	level = bit(TMR, 0x64);
	com1_release();
	com1_assert();
	breathe();
	second = counts[0x64];
	com1_release();
	ioapic_entry(PIN_COM1, MASKED | 0x64);
	com1_assert();
	ioapic_entry(PIN_COM1, 0x64);
	breathe();
	behind = counts[0x64];
	com1_release();
	ioapic_entry(PIN_COM1, MASKED);
	check(first == 1, "an edge comes once");
	check(again == 1 && !level, "though its line stays up");
	check(second == 2, "the next edge comes");
	check(behind == 2, "an edge behind the mask is lost");

	ioapic_entry(PIN_PIT, 0x65);
	pit_once(2000);
	check(wait_for(0x65, 1), "the 8253 through the IOAPIC");
	pit_once(20000);
	halt();
	check(counts[0x65] == 2, "wakes HLT");
	/* as NMI */
	ioapic_entry(PIN_PIT, 0x400);
	pit_once(2000);
	check(wait_for(2, 1), "the 8253 as NMI");
	/* logical destination */
	put(LDR, 0x02000000);
	ioapic_put(0x11 + 2 * PIN_PIT, 0x02000000);
	ioapic_put(0x10 + 2 * PIN_PIT, 0x0866);
	pit_once(2000);
	check(wait_for(0x66, 1), "a logical destination");
	ioapic_entry(PIN_PIT, MASKED);
}

GUEST
{
	put(SVR, 0x1ff);
	registers();
	levels();
	edges();
}
