/*
 * The local APIC's timer, on a clock that the test turns by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "../lib/apic_fixture.h"

enum { EOI = 0xb0, LVTT = 0x320, TMICT = 0x380, TMCCT = 0x390, TDCR = 0x3e0,
    SVR = 0xf0 };
#define MSR_DEADLINE	0x6e0
#define ONESHOT		0x00000u
#define PERIODIC	0x20000u
#define DEADLINE	0x40000u
#define MASKED		0x10000u
#define VECTOR		0xec

static struct apic_fixture fix;

static int
setup(void **state)
{
	(void)state;
	apic_fixture_start(&fix);
	lapic_put(fix.af_lapic[0], TDCR, 0xb);	/* divide by 1 */
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	apic_fixture_end(&fix);
	return (0);
}

/* Did the timer fire? */
static bool
fired(void)
{
	struct lapic *l = fix.af_lapic[0];

	if (lapic_pending(l) < 0)
		return (false);
	assert_int_equal(lapic_accept(l), VECTOR);
	lapic_put(l, EOI, 0);
	return (true);
}

static void
one_shot(void **state)
{
	struct lapic *l = fix.af_lapic[0];

	(void)state;
	lapic_put(l, LVTT, ONESHOT | VECTOR);
	assert_int_equal(lapic_next_deadline(l), UINT64_MAX);
	lapic_put(l, TMICT, 1000);
	assert_int_equal(lapic_next_deadline(l), fix.af_now + 1000);
	assert_int_equal(lapic_get(l, TMCCT), 1000);
	fix.af_now += 1;
	assert_int_equal(lapic_get(l, TMCCT), 999);
	fix.af_now += 998;
	assert_int_equal(lapic_get(l, TMCCT), 1);
	assert_false(fired());
	fix.af_now += 1;
	assert_int_equal(lapic_get(l, TMCCT), 0);
	assert_true(fired());
	assert_int_equal(lapic_get(l, TMICT), 1000);
	fix.af_now += 5000;
	assert_false(fired());
	assert_int_equal(lapic_next_deadline(l), UINT64_MAX);
	/* 0 stops it */
	lapic_put(l, TMICT, 1000);
	lapic_put(l, TMICT, 0);
	fix.af_now += 5000;
	assert_false(fired());
}

static void
dividers(void **state)
{
	/* divide configuration, divisor: SDM figure 11-10 */
	static const unsigned rows[][2] = {
		{ 0x0, 2 }, { 0x1, 4 }, { 0x2, 8 }, { 0x3, 16 },
		{ 0x8, 32 }, { 0x9, 64 }, { 0xa, 128 }, { 0xb, 1 },
	};
	struct lapic *l = fix.af_lapic[0];
	unsigned i;

	(void)state;
	lapic_put(l, LVTT, ONESHOT | VECTOR);
	for (i = 0; i < 8; i++) {
		lapic_put(l, TDCR, rows[i][0]);
		lapic_put(l, TMICT, 100);
		fix.af_now += rows[i][1] * 60;
		assert_int_equal(lapic_get(l, TMCCT), 40);
		fix.af_now += rows[i][1] * 40 - 1;
		assert_false(fired());
		fix.af_now += 1;
		assert_true(fired());
	}
	/* the count goes on at another pace */
	lapic_put(l, TDCR, 0xb);
	lapic_put(l, TMICT, 1000);
	fix.af_now += 400;
	lapic_put(l, TDCR, 0x3);
	assert_int_equal(lapic_get(l, TMCCT), 600);
	fix.af_now += 160;
	assert_int_equal(lapic_get(l, TMCCT), 590);
	/* the largest count does not overflow */
	lapic_put(l, TDCR, 0xa);
	lapic_put(l, TMICT, 0xffffffff);
	assert_int_equal(lapic_get(l, TMCCT), 0xffffffff);
	fix.af_now += 0xffffffffull * 128 - 1;
	assert_false(fired());
	fix.af_now += 1;
	assert_true(fired());
}

static void
periodic(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	uint64_t start = fix.af_now;
	unsigned i;

	(void)state;
	lapic_put(l, LVTT, PERIODIC | VECTOR);
	lapic_put(l, TMICT, 50000);
	for (i = 1; i <= 10; i++) {
		fix.af_now = start + i * 50000 - 1;
		assert_false(fired());
		/* late by an odd amount: the pace is kept */
		fix.af_now = start + i * 50000 + i;
		assert_int_equal(lapic_get(l, TMCCT), 50000 - i);
		assert_true(fired());
		assert_int_equal(lapic_next_deadline(l),
		    start + (i + 1) * 50000);
	}
	/* many periods unseen are one interrupt */
	fix.af_now = start + 1000 * 50000ull + 7;
	assert_true(fired());
	assert_false(fired());
	assert_int_equal(lapic_next_deadline(l), start + 1001 * 50000ull);
	/* one-shot from the next expiry on */
	lapic_put(l, LVTT, ONESHOT | VECTOR);
	fix.af_now += 50000;
	assert_true(fired());
	fix.af_now += 500000;
	assert_false(fired());
	/* a period of a few ns does not eat the host */
	lapic_put(l, LVTT, PERIODIC | VECTOR);
	lapic_put(l, TMICT, 1);
	assert_true(lapic_next_deadline(l) - fix.af_now >= 10000);
	assert_int_equal(lapic_get(l, TMCCT), 1);
}

static void
masked(void **state)
{
	struct lapic *l = fix.af_lapic[0];

	(void)state;
	lapic_put(l, LVTT, ONESHOT | MASKED | VECTOR);
	lapic_put(l, TMICT, 1000);
	assert_int_equal(lapic_next_deadline(l), UINT64_MAX);
	fix.af_now += 400;
	assert_int_equal(lapic_get(l, TMCCT), 600);
	lapic_put(l, LVTT, ONESHOT | VECTOR);
	assert_int_equal(lapic_next_deadline(l), fix.af_now + 600);
	lapic_put(l, LVTT, ONESHOT | MASKED | VECTOR);
	fix.af_now += 700;
	/* it expired behind the mask: too late */
	lapic_put(l, LVTT, ONESHOT | VECTOR);
	assert_false(fired());
	/* switched off with the APIC */
	lapic_put(l, TMICT, 1000);
	lapic_put(l, SVR, 0xff);
	fix.af_now += 2000;
	assert_false(fired());
}

static void
tsc_deadline(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	uint64_t tsc = fix.af_now * 2, v;

	(void)state;
	/* not in another mode */
	lapic_put(l, LVTT, ONESHOT | VECTOR);
	assert_int_equal(apic_wrmsr(l, MSR_DEADLINE, tsc + 1000), 1);
	assert_int_equal(apic_rdmsr(l, MSR_DEADLINE, &v), 1);
	assert_int_equal(v, 0);
	fix.af_now += 1000;
	assert_false(fired());

	tsc = fix.af_now * 2;
	lapic_put(l, LVTT, DEADLINE | VECTOR);
	assert_int_equal(apic_wrmsr(l, MSR_DEADLINE, tsc + 1001), 1);
	assert_int_equal(apic_rdmsr(l, MSR_DEADLINE, &v), 1);
	assert_int_equal(v, tsc + 1001);
	/* not sooner than the deadline, nor much later */
	assert_in_range(lapic_next_deadline(l), fix.af_now + 501,
	    fix.af_now + 502);
	fix.af_now += 500;
	assert_false(fired());
	fix.af_now += 1;
	assert_true(fired());
	assert_int_equal(apic_rdmsr(l, MSR_DEADLINE, &v), 1);
	assert_int_equal(v, 0);
	/* the countdown's registers are dead */
	lapic_put(l, TMICT, 100);
	assert_int_equal(lapic_get(l, TMICT), 0);
	assert_int_equal(lapic_get(l, TMCCT), 0);
	fix.af_now += 200;
	assert_false(fired());
	/* the past is now: nothing is left to wait for; 0 disarms */
	assert_int_equal(apic_wrmsr(l, MSR_DEADLINE, 1), 1);
	assert_int_equal(lapic_next_deadline(l), UINT64_MAX);
	assert_true(fired());
	assert_int_equal(apic_wrmsr(l, MSR_DEADLINE, UINT64_MAX), 1);
	assert_true(lapic_next_deadline(l) > fix.af_now + 1000000000);
	assert_int_equal(apic_wrmsr(l, MSR_DEADLINE, 0), 1);
	assert_int_equal(lapic_next_deadline(l), UINT64_MAX);
	/* the guest sets its TSC forward past it */
	assert_int_equal(apic_wrmsr(l, MSR_DEADLINE, fix.af_now * 2 + 5000),
	    1);
	assert_false(fired());
	fix.af_tsc_offset = 5000;
	assert_true(fired());
	/* changing the mode disarms, both ways */
	assert_int_equal(apic_wrmsr(l, MSR_DEADLINE, fix.af_now * 2 + 6000),
	    1);
	lapic_put(l, LVTT, PERIODIC | VECTOR);
	lapic_put(l, LVTT, DEADLINE | VECTOR);
	fix.af_now += 100000;
	assert_false(fired());
	lapic_put(l, LVTT, PERIODIC | VECTOR);
	lapic_put(l, TMICT, 50000);
	lapic_put(l, LVTT, DEADLINE | VECTOR);
	lapic_put(l, LVTT, PERIODIC | VECTOR);
	fix.af_now += 100000;
	assert_false(fired());
}

/* Random writes and steps: what next_deadline promises is what happens. */
static void
promises(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	unsigned seed = (unsigned)time(NULL), i;
	uint64_t next, step;

	(void)state;
	if (getenv("SEED") != NULL)
		seed = (unsigned)strtoul(getenv("SEED"), NULL, 0);
	print_message("# seed %u\n", seed);
	srandom(seed);
	for (i = 0; i < 50000; i++) {
		switch (random() % 6) {
		case 0:
			lapic_put(l, LVTT, (unsigned)(random() % 6) << 16 |
			    VECTOR);
			break;
		case 1:
			lapic_put(l, TDCR, (unsigned)random() & 0xf);
			break;
		case 2:
			lapic_put(l, TMICT, (unsigned)random() % 200000);
			break;
		case 3:
			assert_int_equal(apic_wrmsr(l, MSR_DEADLINE,
			    fix.af_now * 2 + (unsigned)random() % 200000), 1);
			break;
		}
		fired();
		next = lapic_next_deadline(l);
		assert_true(next >= fix.af_now);
		step = (uint64_t)random() % 100000;
		if (next == UINT64_MAX) {
			fix.af_now += step;
			assert_false(fired());
		} else if (fix.af_now + step + 1 < next) {
			/* a TSC deadline's ns are rounded up */
			fix.af_now += step;
			assert_false(fired());
		} else {
			fix.af_now = next;
			assert_true(fired());
		}
	}
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(one_shot), T(dividers), T(periodic), T(masked),
		T(tsc_deadline), T(promises),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
