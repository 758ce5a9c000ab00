/*
 * What the test guests share: a console, checks, interrupts, the APICs'
 * registers, time. A guest is one C file with guest_main() and its checks in
 * it; it says "ok name" or "not ok name" for each on COM1 and ends with the
 * exit port.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXIT_PORT	0xf4
#define EXIT_OK		0x10	/* status 33 */
#define EXIT_FAILED	0x11	/* status 35 */

#define MSR_APIC_BASE	0x1b
#define MSR_DEADLINE	0x6e0
#define APIC		0xfee00000ul
#define IOAPIC		0xfec00000ul

/* local APIC registers, as offsets in the page */
enum { ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0,
    LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100, TMR = 0x180, IRR = 0x200,
    ESR = 0x280, ICR = 0x300, ICR2 = 0x310, LVTT = 0x320, LVT0 = 0x350,
    LVT1 = 0x360, LVTE = 0x370, TMICT = 0x380, TMCCT = 0x390, TDCR = 0x3e0 };

/* Each guest: GUEST { checks }, then it ends. */
void	guest_main(void);
void	guest_start(void (*)(void));
#define GUEST								\
	static void guest_body(void);					\
	void guest_main(void) { guest_start(guest_body); }		\
	static void guest_body(void)
_Noreturn void	guest_end(void);
void	check(bool, const char *name);
void	say(const char *);
void	say_number(uint64_t);

/* --- interrupts: each vector is counted, and ended if it came by an APIC ---- */

extern volatile unsigned counts[256];	/* by vector */
extern volatile unsigned order[64];	/* vectors as they came */
extern volatile unsigned norder;
extern volatile bool no_eoi;	/* leave the EOI to the guest */
extern volatile bool pic_eoi;	/* it is the 8259's */
/* Called for every vector above 31, if not NULL. */
extern void (*volatile on_interrupt)(unsigned vector);

void	forget(void);		/* zero the counts and the order */
/* Opens interrupts for some instructions. */
void	breathe(void);
/* With interrupts open, waits until counts[vector] >= n; false after 10 s. */
bool	wait_for(unsigned vector, unsigned n);

/* --- instructions ------------------------------------------------------------ */

int	try_rdmsr(uint32_t msr, uint64_t *value);
int	try_wrmsr(uint32_t msr, uint64_t value);

static inline uint64_t
rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return ((uint64_t)hi << 32 | lo);
}

static inline void
wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value),
	    "d"((uint32_t)(value >> 32)) : "memory");
}

static inline void
cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]),
	    "=d"(r[3]) : "a"(leaf), "c"(0));
}

static inline uint64_t
rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return ((uint64_t)hi << 32 | lo);
}

static inline uint8_t
inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return (value);
}

static inline void
outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint64_t
read_cr8(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr8, %0" : "=r"(value));
	return (value);
}

static inline void
write_cr8(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr8" : : "r"(value) : "memory");
}

/* HLT with interrupts open, from its first moment on. */
static inline void
halt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* --- the APICs ---------------------------------------------------------------- */

static inline uint32_t
get(unsigned reg)
{
	return (*(volatile uint32_t *)(APIC + reg));
}

static inline void
put(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(APIC + reg) = value;
}

/* The same by MSRs. */
static inline uint64_t
get2(unsigned reg)
{
	return (rdmsr(0x800 + reg / 16));
}

static inline void
put2(unsigned reg, uint64_t value)
{
	wrmsr(0x800 + reg / 16, value);
}

bool	bit(unsigned reg, unsigned vector);	/* in ISR, TMR or IRR */
void	self_ipi(unsigned vector);
uint32_t ioapic_get(unsigned index);
void	ioapic_put(unsigned index, uint32_t value);
void	ioapic_entry(unsigned pin, uint32_t low);	/* to APIC 0 */
/* Both 8259s: vectors from 0x20, everything masked but what mask says. */
void	pic_init(uint16_t mask);
/* Channel 0 of the 8253: one edge after so many ticks of 1.19 MHz. */
void	pit_once(uint16_t ticks);
/* kHz of the TSC, from the hypervisor's leaf. */
uint64_t tsc_khz(void);

#endif
