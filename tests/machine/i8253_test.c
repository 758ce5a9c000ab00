/*
 * machine/i8253: all modes as functions of time, latches, BCD, the interrupt
 * of channel 0 with nothing lost, port 61h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/fakeclock.h"
#include "machine/i8253.h"

static struct fakeclock clk;
static struct fakeirq line;
static struct bus *ports;
static struct i8253 *pit;
static uint64_t tick0;

static int
setup(void **state)
{
	struct irq irq = { .i_set = fakeirq_set, .i_waits = fakeirq_waits,
		.i_arg = &line };

	(void)state;
	line = (struct fakeirq){ 0 };
	fakeclock_init(&clk, 5000000000, 0);
	ports = bus_new();
	pit = i8253_new(ports, &clk.fc_clock, &irq);
	assert_non_null(pit);
	tick0 = clk.fc_now;
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	i8253_free(pit);
	bus_free(ports);
	return (0);
}

static void
out(uint16_t port, uint8_t v)
{
	bus_write(ports, port, 1, v);
}

static uint8_t
in(uint16_t port)
{
	return ((uint8_t)bus_read(ports, port, 1));
}

/* Moves time to exactly n ticks after power-on. */
static void
at(uint64_t n)
{
	fakeclock_run(&clk, tick0 + clock_ticks_ns(n, I8253_HZ) - clk.fc_now);
}

static unsigned
read16(uint16_t port)
{
	unsigned v = in(port);

	return (v | (unsigned)in(port) << 8);
}

static void
load(int channel, uint8_t mode, uint16_t count)
{
	out(0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	out((uint16_t)(0x40 + channel), (uint8_t)count);
	out((uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static bool
out2(void)
{
	return ((in(0x61) & 0x20) != 0);
}

static void
test_mode0(void **state)
{
	(void)state;
	out(0x61, 1);
	load(2, 0, 100);
	assert_false(out2());
	at(1);
	assert_int_equal(read16(0x42), 100);
	at(41);
	assert_int_equal(read16(0x42), 60);
	out(0x61, 0);			/* gate low: it stands */
	at(60);
	assert_int_equal(read16(0x42), 60);
	out(0x61, 1);
	at(119);
	assert_false(out2());
	at(120);
	assert_true(out2());
	at(121);
	assert_int_equal(read16(0x42), 0xffff);	/* runs on */
	assert_true(out2());
	/* the first byte of a new count stops it and lowers the output */
	out(0x42, 10);
	assert_false(out2());
	at(1000);
	assert_false(out2());
	out(0x42, 0);
	at(1011);
	assert_true(out2());
}

static void
test_mode1(void **state)
{
	(void)state;
	load(2, 1, 50);
	at(100);
	assert_true(out2());		/* not triggered yet */
	out(0x61, 1);
	at(102);
	assert_false(out2());
	out(0x61, 0);			/* gate low does not matter */
	at(150);
	assert_false(out2());
	at(151);
	assert_true(out2());
	out(0x61, 1);			/* retrigger */
	at(170);
	out(0x61, 0);
	out(0x61, 1);
	at(210);
	assert_false(out2());
	at(221);
	assert_true(out2());
}

static void
test_mode2(void **state)
{
	(void)state;
	out(0x61, 1);
	load(2, 2, 10);
	at(1);
	assert_int_equal(read16(0x42), 10);
	at(9);
	assert_true(out2());
	assert_int_equal(read16(0x42), 2);
	at(10);
	assert_false(out2());
	assert_int_equal(read16(0x42), 1);
	at(11);
	assert_true(out2());
	assert_int_equal(read16(0x42), 10);
	/* a new count waits for the end of the period */
	at(13);
	out(0x42, 4);
	out(0x42, 0);
	assert_int_equal(read16(0x42), 8);
	at(21);
	assert_int_equal(read16(0x42), 4);
	at(24);
	assert_false(out2());
	out(0x61, 0);
	assert_true(out2());
	at(100);
	out(0x61, 1);			/* starts anew */
	at(102);
	assert_int_equal(read16(0x42), 3);
}

static void
test_mode3(void **state)
{
	(void)state;
	out(0x61, 1);
	load(2, 3, 11);			/* 6 high, 5 low */
	at(1);
	assert_int_equal(read16(0x42), 10);
	at(6);
	assert_true(out2());
	at(7);
	assert_false(out2());
	at(8);
	assert_int_equal(read16(0x42), 8);
	at(11);
	assert_false(out2());
	at(12);
	assert_true(out2());
	/* a new count at the end of the half period */
	out(0x42, 4);
	out(0x42, 0);
	at(17);
	assert_true(out2());
	at(18);
	assert_false(out2());
	at(19);
	assert_false(out2());
	at(20);
	assert_true(out2());
	at(22);
	assert_false(out2());
}

static void
test_modes45(void **state)
{
	(void)state;
	out(0x61, 1);
	load(2, 4, 5);
	at(5);
	assert_true(out2());
	at(6);
	assert_false(out2());
	at(7);
	assert_true(out2());
	at(10);
	load(2, 5, 5);
	at(20);
	assert_true(out2());
	out(0x61, 0);
	out(0x61, 1);
	at(26);
	assert_false(out2());
	at(27);
	assert_true(out2());
}

static void
test_bcd(void **state)
{
	(void)state;
	out(0x61, 1);
	out(0x43, 0xb1);		/* channel 2, both bytes, mode 0, BCD */
	out(0x42, 0x00);
	out(0x42, 0x10);		/* 1000 */
	at(2);
	assert_int_equal(read16(0x42), 0x0999);
	at(1001);
	assert_true(out2());
	at(1002);
	assert_int_equal(read16(0x42), 0x9999);
	out(0x43, 0xb1);
	out(0x42, 0);
	out(0x42, 0);			/* 10000 */
	at(11002);
	assert_false(out2());
	at(11003);
	assert_true(out2());
}

static void
test_access_and_latch(void **state)
{
	(void)state;
	out(0x61, 1);
	load(2, 0, 0x1234);
	at(1);
	out(0x43, 0x80);		/* latch */
	at(0x101);
	out(0x43, 0x80);		/* does not latch again */
	assert_int_equal(read16(0x42), 0x1234);
	assert_int_equal(read16(0x42), 0x1134);
	/* read-back: status, then the count */
	out(0x43, 0xc8);
	at(0x102);
	assert_int_equal(in(0x42), 0x30);	/* out low, both, mode 0 */
	assert_int_equal(read16(0x42), 0x1134);
	out(0x43, 0xe0);		/* no count, no status: nothing */
	out(0x43, 0xb4);		/* mode 2: no count yet */
	out(0x43, 0xe8);
	assert_int_equal(in(0x42), 0xf4);
	/* one byte only */
	out(0x43, 0x94);		/* low byte */
	out(0x42, 20);
	at(0x103);
	assert_int_equal(in(0x42), 20);
	assert_int_equal(in(0x42), 20);
	out(0x43, 0xa4);		/* high byte */
	out(0x42, 2);
	at(0x104);
	assert_int_equal(in(0x42), 2);
	assert_int_equal(in(0x43), 0xff);
	/* modes 6 and 7 are 2 and 3 */
	out(0x43, 0xbe);
	out(0x43, 0xe8);
	assert_int_equal(in(0x42) & 0x0e, 0x06);
}

static void
test_irq0_periodic(void **state)
{
	uint64_t second = NS_PER_SECOND;

	(void)state;
	assert_int_equal(fakeclock_armed(&clk), 0);
	load(0, 2, 11932);		/* 100 Hz */
	fakeclock_run(&clk, second + second / 1000);
	assert_int_equal(line.fi_edges, 100);
	fakeclock_run(&clk, 9 * second);
	assert_in_range(line.fi_edges, 999, 1000);
	load(0, 3, 11932);
	line.fi_edges = 0;
	fakeclock_run(&clk, second + second / 1000);
	assert_int_equal(line.fi_edges, 100);
	/* a new rate without a new control word */
	out(0x40, 0x4e);
	out(0x40, 0x17);		/* 5966: 200 Hz */
	line.fi_edges = 0;
	fakeclock_run(&clk, second);
	assert_in_range(line.fi_edges, 198, 201);
	/* 0 is 65536: 18.2 Hz */
	load(0, 2, 0);
	line.fi_edges = 0;
	fakeclock_run(&clk, 10 * second);
	assert_int_equal(line.fi_edges, 182);
	i8253_reset(pit);
	assert_int_equal(fakeclock_armed(&clk), 0);
}

static void
test_irq0_once(void **state)
{
	(void)state;
	load(0, 0, 1193);
	assert_int_equal(line.fi_level, 0);
	fakeclock_run(&clk, 900000);
	assert_int_equal(line.fi_edges, 0);
	fakeclock_run(&clk, 200000);
	assert_int_equal(line.fi_edges, 1);
	assert_int_equal(line.fi_level, 1);
	assert_int_equal(fakeclock_armed(&clk), 0);
	/* writing a count again is enough */
	out(0x40, 0xa9);
	assert_int_equal(line.fi_level, 0);
	out(0x40, 0x04);
	fakeclock_run(&clk, 1100000);
	assert_int_equal(line.fi_edges, 2);
	load(0, 4, 1193);
	line.fi_edges = 0;
	fakeclock_run(&clk, 1100000);
	assert_int_equal(line.fi_edges, 1);
	load(0, 1, 1193);		/* its gate never rises */
	line.fi_edges = 0;
	fakeclock_run(&clk, 100000000);
	assert_int_equal(line.fi_edges, 0);
}

static void
test_irq0_late_host(void **state)
{
	(void)state;
	load(0, 2, 11932);
	fakeclock_skip(&clk, NS_PER_SECOND / 2 + 1000000);	/* 50 ticks */
	assert_int_equal(line.fi_edges, 0);
	fakeclock_run(&clk, NS_PER_SECOND / 2);
	assert_in_range(line.fi_edges, 100, 101);
	/* stopped for 13 s: not one is lost */
	line.fi_edges = 0;
	fakeclock_skip(&clk, 13 * NS_PER_SECOND);
	fakeclock_run(&clk, 7 * NS_PER_SECOND);
	assert_in_range(line.fi_edges, 1999, 2001);
	/* an hour asleep: bounded */
	line.fi_edges = 0;
	fakeclock_skip(&clk, 3600 * NS_PER_SECOND);
	fakeclock_run(&clk, 20 * NS_PER_SECOND);
	assert_in_range(line.fi_edges, 4990, 5010);
	/* a megahertz: the host is not asked for it */
	load(0, 2, 2);
	line.fi_edges = 0;
	fakeclock_run(&clk, NS_PER_SECOND / 10);
	assert_in_range(line.fi_edges, 1000, 2100);
}

/* A guest that takes no interrupt for a while gets them all afterwards. */
static void
test_irq0_late_guest(void **state)
{
	(void)state;
	load(0, 2, 11932);
	fakeclock_run(&clk, NS_PER_SECOND / 2);
	assert_in_range(line.fi_edges, 49, 50);
	line.fi_waits = true;
	fakeclock_run(&clk, 2 * NS_PER_SECOND);
	assert_in_range(line.fi_edges, 49, 50);
	line.fi_waits = false;
	fakeclock_run(&clk, NS_PER_SECOND + NS_PER_SECOND / 2);
	assert_in_range(line.fi_edges, 399, 401);
	/* what a new mode begins owes nothing */
	line.fi_waits = true;
	fakeclock_run(&clk, NS_PER_SECOND);
	load(0, 2, 11932);
	line.fi_waits = false;
	line.fi_edges = 0;
	fakeclock_run(&clk, NS_PER_SECOND + 1000000);
	assert_in_range(line.fi_edges, 99, 101);
	/* nor is the single edge of mode 0 lost */
	load(0, 0, 1193);
	line.fi_edges = 0;
	line.fi_waits = true;
	fakeclock_run(&clk, NS_PER_SECOND);
	assert_int_equal(line.fi_edges, 0);
	line.fi_waits = false;
	fakeclock_run(&clk, NS_PER_SECOND / 100);
	assert_int_equal(line.fi_edges, 1);
	assert_int_equal(fakeclock_armed(&clk), 0);
}

static void
test_portb(void **state)
{
	uint8_t before;

	(void)state;
	out(0x61, 0xff);
	assert_int_equal(in(0x61) & 0xcf, 0x0f);
	before = in(0x61) & 0x10;
	fakeclock_run(&clk, 15085);
	assert_int_not_equal(in(0x61) & 0x10, before);
}

static void
test_nonsense(void **state)
{
	unsigned seed = 7, n;

	(void)state;
	print_message("# seed %u\n", seed);
	for (n = 0; n < 200000; n++) {
		fakeclock_run(&clk, (uint64_t)rand_r(&seed) % 20000);
		if (rand_r(&seed) & 1)
			out((uint16_t)(0x40 + (rand_r(&seed) & 3)),
			    (uint8_t)rand_r(&seed));
		else
			in((uint16_t)(0x40 + (rand_r(&seed) & 3)));
		if ((rand_r(&seed) & 15) == 0)
			out(0x61, (uint8_t)rand_r(&seed));
		out2();
	}
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_mode0), T(test_mode1), T(test_mode2), T(test_mode3),
		T(test_modes45), T(test_bcd), T(test_access_and_latch),
		T(test_irq0_periodic), T(test_irq0_once),
		T(test_irq0_late_host), T(test_irq0_late_guest), T(test_portb), T(test_nonsense),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
