/* What an instruction gives the APIC to do is there at the next boundary. */
#include "guest.h"

#define VECTOR	0x61

/* One instruction and a NOP with interrupts open, all in one straight line. */
#define AT_ONCE(name, insn, ...) do {					\
	unsigned after;							\
	forget();							\
	__asm__ volatile("sti; nop; nop\n\t" insn "\n\tnop\n\t"	\
	    "movl %[count], %[after]; cli"				\
	    : [after] "=&r"(after) : [count] "m"(counts[VECTOR]),	\
	    __VA_ARGS__ : "rax", "rcx", "rdx", "memory");			\
	check(after == 1, name);					\
} while (0)

#define WRMSR	"movl %[m], %%ecx; movl %[v], %%eax; xorl %%edx, %%edx; wrmsr"

static void
xapic(void)
{
	put(ICR2, 0);
	AT_ONCE("self IPI by shorthand", "movl %[v], (%[p])",
	    [v] "r"(0x44000 | VECTOR), [p] "r"(APIC + ICR));
	AT_ONCE("self IPI by id", "movl %[v], (%[p])",
	    [v] "r"(0x4000 | VECTOR), [p] "r"(APIC + ICR));
	AT_ONCE("to all", "movl %[v], (%[p])",
	    [v] "r"(0x84000 | VECTOR), [p] "r"(APIC + ICR));
	put(TPR, 0xf0);
	self_ipi(VECTOR);
	AT_ONCE("TPR lowered", "movl %[v], (%[p])",
	    [v] "r"(0), [p] "r"(APIC + TPR));
	put(LVTT, 0x40000 | VECTOR);
	AT_ONCE("a deadline in the past", WRMSR, [m] "i"(MSR_DEADLINE),
	    [v] "i"(1));
	check(rdmsr(MSR_DEADLINE) == 0, "it has gone");
	AT_ONCE("a deadline of now", "movl %[m], %%ecx; rdtsc; wrmsr",
	    [m] "i"(MSR_DEADLINE));
	put(LVTT, 0x10000);
}

static void
x2apic(void)
{
	wrmsr(MSR_APIC_BASE, APIC | 0xd00);
	AT_ONCE("x2APIC: self IPI by ICR", WRMSR, [m] "i"(0x830),
	    [v] "i"(0x44000 | VECTOR));
	AT_ONCE("x2APIC: self IPI register", WRMSR, [m] "i"(0x83f),
	    [v] "i"(VECTOR));
	put2(LVTT, 0x40000 | VECTOR);
	AT_ONCE("x2APIC: a deadline in the past", WRMSR,
	    [m] "i"(MSR_DEADLINE), [v] "i"(1));
	put2(LVTT, 0x10000);
	wrmsr(MSR_APIC_BASE, APIC | 0x100);
}

/* Without an APIC there is nothing at its address. */
static void
nothing(void)
{
	check(get(VERSION) == ~0u && get(TPR) == ~0u,
	    "a disabled APIC's page reads all ones");
	write_cr8(5);
	check(read_cr8() == 5, "CR8 is there without an APIC");
	write_cr8(0);
	wrmsr(MSR_APIC_BASE, APIC | 0x900);
	wrmsr(MSR_APIC_BASE, APIC | 0xd00);
	check(get(VERSION) == ~0u, "as it does in x2APIC mode");
}

GUEST
{
	put(SVR, 0x1ff);
	xapic();
	x2apic();
	nothing();
}
