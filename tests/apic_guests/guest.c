/*
 * What the test guests share (guest.h). Linked into each of them.
 */
#include "guest.h"

struct frame {
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

extern char vectors[];
void	interrupt(struct frame *);

volatile unsigned counts[256], order[64], norder;
volatile bool no_eoi, pic_eoi;
void (*volatile on_interrupt)(unsigned);
uint64_t recover;		/* start.S */
uint32_t fault_vector;
static bool failed;

static struct {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, zero;
} idt[256];

void
say(const char *s)
{
	for (; *s != '\0'; s++) {
		while (!(inb(0x3fd) & 0x20))
			continue;
		outb(0x3f8, (uint8_t)*s);
	}
}

void
say_number(uint64_t n)
{
	char s[19], *p = s + 18;

	*p = '\0';
	do
		*--p = "0123456789abcdef"[n & 15];
	while ((n >>= 4) != 0);
	*--p = 'x';
	*--p = '0';
	say(p);
}

void
check(bool ok, const char *name)
{
	failed |= !ok;
	say(ok ? "ok " : "not ok ");
	say(name);
	say("\n");
}

void
guest_end(void)
{
	outb(EXIT_PORT, failed ? EXIT_FAILED : EXIT_OK);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void
interrupt(struct frame *f)
{
	unsigned v = (unsigned)f->vector;

	counts[v]++;
	if (norder < sizeof(order) / sizeof(order[0]))
		order[norder++] = v;
	if (v < 32 && v != 2) {
		if (recover == 0) {
			say("not ok unexpected exception ");
			say_number(v);
			say(" at ");
			say_number(f->rip);
			say("\n");
			failed = true;
			guest_end();
		}
		f->rip = recover;
		fault_vector = v;
		recover = 0;
		return;
	}
	if (v < 32)
		return;
	if (on_interrupt != NULL)
		on_interrupt(v);
	if (no_eoi)
		return;
	if (pic_eoi)
		outb(0x20, 0x20);
	else if (rdmsr(MSR_APIC_BASE) & 0x400)
		put2(EOI, 0);
	else
		put(EOI, 0);
}

void
forget(void)
{
	unsigned i;

	for (i = 0; i < 256; i++)
		counts[i] = 0;
	norder = 0;
}

void
breathe(void)
{
	unsigned i;

	__asm__ volatile("sti" : : : "memory");
	for (i = 0; i < 64; i++)
		__asm__ volatile("nop");
	__asm__ volatile("cli" : : : "memory");
}

bool
wait_for(unsigned vector, unsigned n)
{
	uint64_t end = rdtsc() + tsc_khz() * 10000;

	while (counts[vector] < n && rdtsc() < end)
		breathe();
	return (counts[vector] >= n);
}

bool
bit(unsigned reg, unsigned vector)
{
	return ((get(reg + vector / 32 * 16) >> vector % 32 & 1) != 0);
}

void
self_ipi(unsigned vector)
{
	put(ICR, 0x40000 | vector);
}

uint32_t
ioapic_get(unsigned index)
{
	*(volatile uint32_t *)IOAPIC = index;
	return (*(volatile uint32_t *)(IOAPIC + 0x10));
}

void
ioapic_put(unsigned index, uint32_t value)
{
	*(volatile uint32_t *)IOAPIC = index;
	*(volatile uint32_t *)(IOAPIC + 0x10) = value;
}

void
ioapic_entry(unsigned pin, uint32_t low)
{
	ioapic_put(0x11 + 2 * pin, 0);
	ioapic_put(0x10 + 2 * pin, low);
}

void
pic_init(uint16_t mask)
{
	outb(0x20, 0x11);
	outb(0xa0, 0x11);
	outb(0x21, 0x20);
	outb(0xa1, 0x28);
	outb(0x21, 4);
	outb(0xa1, 2);
	outb(0x21, 1);
	outb(0xa1, 1);
	outb(0x21, (uint8_t)~mask);
	outb(0xa1, (uint8_t)(~mask >> 8));
}

void
pit_once(uint16_t ticks)
{
	outb(0x43, 0x30);	/* channel 0, mode 0 */
	outb(0x40, (uint8_t)ticks);
	outb(0x40, (uint8_t)(ticks >> 8));
}

uint64_t
tsc_khz(void)
{
	uint32_t r[4];

	cpuid(0x40000010, r);
	return (r[0]);
}

static void
idt_init(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idtr = { sizeof(idt) - 1, (uint64_t)(uintptr_t)idt };
	uint64_t at = (uint64_t)(uintptr_t)vectors;
	unsigned i;

	for (i = 0; i < 256; i++, at += 16) {
		idt[i].offset0 = (uint16_t)at;
		idt[i].selector = 8;
		idt[i].type = 0x8e;
		idt[i].offset1 = (uint16_t)(at >> 16);
		idt[i].offset2 = (uint32_t)(at >> 32);
	}
	__asm__ volatile("lidt %0" : : "m"(idtr));
}

void
guest_start(void (*body)(void))
{
	idt_init();
	pic_init(0);
	body();
	guest_end();
}
