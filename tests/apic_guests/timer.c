/* The timer: one-shot, periodic, TSC deadline; counts, dividers, HLT. */
#include "guest.h"

#define VECTOR	0xec

/* TSC ticks of so many of the timer's at 1 GHz. */
static uint64_t
ticks(uint64_t ns)
{
	return (ns * tsc_khz() / 1000000);
}

static void
one_shot(void)
{
	uint64_t start, passed;
	uint32_t a, b;

	put(TDCR, 0xb);
	put(LVTT, VECTOR);
	put(TMICT, 2000000000);
	a = get(TMCCT);
	b = get(TMCCT);
	check(a <= 2000000000 && b < a && b != 0, "the count goes down");
	check(get(TMICT) == 2000000000, "the initial count stays");
	put(TMICT, 0);
	check(get(TMCCT) == 0, "an initial count of 0 stops it");

	forget();
	start = rdtsc();
	put(TMICT, 3000000);
	check(wait_for(VECTOR, 1), "one-shot: it comes");
	passed = rdtsc() - start;
	/* 1 in 1000: the two clocks are not the same oscillator's */
	check(passed >= ticks(3000000) - ticks(3000), "not too early");
	check(get(TMCCT) == 0, "the count is 0");
	start = rdtsc();
	while (rdtsc() - start < ticks(10000000))
		breathe();
	check(counts[VECTOR] == 1, "and only once");
	put(TDCR, 0x3);			/* by 16 */
	start = rdtsc();
	put(TMICT, 500000);
	check(wait_for(VECTOR, 2), "divided by 16: it comes");
	check(rdtsc() - start >= ticks(8000000) - ticks(8000),
	    "divided by 16: not too early");
	put(TDCR, 0xb);
	/* masked */
	put(LVTT, 0x10000 | VECTOR);
	put(TMICT, 1000000);
	start = rdtsc();
	while (get(TMCCT) != 0)
		breathe();
	put(LVTT, VECTOR);
	breathe();
	check(counts[VECTOR] == 2, "what expires behind the mask is gone");
}

static void
periodic(void)
{
	uint64_t start = rdtsc();
	unsigned n;

	forget();
	put(LVTT, 0x20000 | VECTOR);
	put(TMICT, 2000000);
	check(wait_for(VECTOR, 5), "periodic: again and again");
	check(rdtsc() - start >= ticks(10000000) - ticks(10000),
	    "five periods are not shorter than five times one");
	put(TMICT, 0);
	n = counts[VECTOR];
	start = rdtsc();
	while (rdtsc() - start < ticks(8000000))
		breathe();
	/* one may have been on its way */
	check(counts[VECTOR] <= n + 1, "until it is stopped");
}

static void
deadline(void)
{
	uint64_t start, when;

	forget();
	wrmsr(MSR_DEADLINE, rdtsc() + 1000);
	check(rdmsr(MSR_DEADLINE) == 0, "no deadline in another mode");
	put(LVTT, 0x40000 | VECTOR);
	when = rdtsc() + ticks(3000000);
	wrmsr(MSR_DEADLINE, when);
	check(rdmsr(MSR_DEADLINE) == when, "the deadline reads back");
	check(wait_for(VECTOR, 1), "TSC deadline: it comes");
	check(rdtsc() >= when, "not before the deadline");
	check(rdmsr(MSR_DEADLINE) == 0, "the deadline is 0 afterwards");
	wrmsr(MSR_DEADLINE, 1);
	check(wait_for(VECTOR, 2), "a deadline in the past comes at once");
	wrmsr(MSR_DEADLINE, rdtsc() + ticks(2000000));
	wrmsr(MSR_DEADLINE, 0);
	start = rdtsc();
	while (rdtsc() - start < ticks(6000000))
		breathe();
	check(counts[VECTOR] == 2, "0 disarms it");
	put(TMICT, 1000);
	check(get(TMICT) == 0 && get(TMCCT) == 0, "the counters are dead");
}

static void
halted(void)
{
	uint64_t when;

	forget();
	when = rdtsc() + ticks(20000000);
	wrmsr(MSR_DEADLINE, when);
	halt();
	check(counts[VECTOR] == 1 && rdtsc() >= when,
	    "HLT sleeps until the deadline");
	put(LVTT, VECTOR);
	put(TMICT, 20000000);
	halt();
	check(counts[VECTOR] == 2, "HLT sleeps until a one-shot");
}

GUEST
{
	uint32_t r[4];

	put(SVR, 0x1ff);
	cpuid(1, r);
	check(r[2] >> 24 & 1, "CPUID offers TSC deadline");
	one_shot();
	periodic();
	deadline();
	halted();
}
