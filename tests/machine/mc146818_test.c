/*
 * machine/mc146818: the time in all formats, setting it, interrupts, memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/fakeclock.h"
#include "machine/mc146818.h"

/* 2026-11-22 15:34:56 UTC, a Sunday */
#define WALL	(1795361696ull * NS_PER_SECOND)
#define MS	1000000ull

static struct fakeclock clk;
static struct fakeirq line;
static struct bus *ports;
static struct mc146818 *rtc;

static int
setup(void **state)
{
	struct irq irq = { .i_set = fakeirq_set, .i_arg = &line };

	(void)state;
	line = (struct fakeirq){ 0 };
	fakeclock_init(&clk, 777, WALL);
	ports = bus_new();
	rtc = mc146818_new(ports, &clk.fc_clock, &irq, 0xf0000000,
	    0x10000000);
	assert_non_null(rtc);
	mc146818_reset(rtc);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	mc146818_free(rtc);
	bus_free(ports);
	return (0);
}

static uint8_t
get(uint8_t reg)
{
	bus_write(ports, 0x70, 1, reg);
	return ((uint8_t)bus_read(ports, 0x71, 1));
}

static void
put(uint8_t reg, uint8_t v)
{
	bus_write(ports, 0x70, 1, reg);
	bus_write(ports, 0x71, 1, v);
}

static void
test_time(void **state)
{
	(void)state;
	assert_int_equal(get(0x00), 0x56);
	assert_int_equal(get(0x02), 0x34);
	assert_int_equal(get(0x04), 0x15);
	assert_int_equal(get(0x06), 0x01);	/* Sunday */
	assert_int_equal(get(0x07), 0x22);
	assert_int_equal(get(0x08), 0x11);
	assert_int_equal(get(0x09), 0x26);
	assert_int_equal(get(0x32), 0x20);
	assert_int_equal(get(0x0d), 0x80);
	put(0x0b, 0x00);			/* 12 hours */
	assert_int_equal(get(0x04), 0x83);
	put(0x0b, 0x06);			/* binary */
	assert_int_equal(get(0x04), 15);
	assert_int_equal(get(0x00), 56);
	assert_int_equal(get(0x09), 26);
	fakeclock_run(&clk, 9 * 3600 * NS_PER_SECOND);	/* past midnight */
	assert_int_equal(get(0x04), 0);
	assert_int_equal(get(0x07), 23);
	assert_int_equal(get(0x06), 2);
	put(0x0b, 0x04);
	assert_int_equal(get(0x04), 12);	/* 12 AM */
	fakeclock_run(&clk, 12 * 3600 * NS_PER_SECOND);
	assert_int_equal(get(0x04), 0x80 | 12);	/* 12 PM */
}

static void
test_set(void **state)
{
	(void)state;
	put(0x0b, 0x82);			/* hold */
	fakeclock_run(&clk, 5 * NS_PER_SECOND);
	assert_int_equal(get(0x00), 0x56);
	put(0x00, 0x01);
	put(0x02, 0x02);
	put(0x04, 0x23);
	put(0x07, 0x29);
	put(0x08, 0x02);
	put(0x09, 0x28);			/* 2028-02-29 */
	assert_int_equal(get(0x00), 0x01);
	put(0x0b, 0x02);
	fakeclock_run(&clk, 2 * NS_PER_SECOND);
	assert_int_equal(get(0x00), 0x03);
	fakeclock_run(&clk, 3600 * NS_PER_SECOND);
	assert_int_equal(get(0x04), 0x00);
	assert_int_equal(get(0x07), 0x01);
	assert_int_equal(get(0x08), 0x03);
	assert_int_equal(get(0x06), 4);		/* a Wednesday */
	/* without holding it */
	put(0x02, 0x59);
	assert_int_equal(get(0x02), 0x59);
	/* the time outlives a reset */
	mc146818_reset(rtc);
	assert_int_equal(get(0x02), 0x59);
	assert_int_equal(get(0x09), 0x28);
}

/* As Linux sets it: SET, the divider in reset, then both back. */
static void
test_set_divider(void **state)
{
	(void)state;
	put(0x0b, 0x82);
	put(0x0a, 0x76);
	put(0x00, 0x10);
	put(0x0b, 0x02);
	fakeclock_run(&clk, 3 * NS_PER_SECOND);
	assert_int_equal(get(0x00), 0x10);	/* still held */
	put(0x0a, 0x26);
	fakeclock_run(&clk, 499 * MS);
	assert_int_equal(get(0x00), 0x10);
	fakeclock_run(&clk, 2 * MS);
	assert_int_equal(get(0x00), 0x11);
}

static void
test_update_in_progress(void **state)
{
	(void)state;
	assert_int_equal(get(0x0a), 0x26);
	fakeclock_run(&clk, NS_PER_SECOND - 245000);
	assert_int_equal(get(0x0a), 0x26);
	fakeclock_run(&clk, 2000);
	assert_int_equal(get(0x0a), 0xa6);
	fakeclock_run(&clk, 244000);
	assert_int_equal(get(0x0a), 0x26);
}

static void
test_update_interrupt(void **state)
{
	(void)state;
	assert_int_equal(fakeclock_armed(&clk), 0);
	fakeclock_run(&clk, NS_PER_SECOND);
	assert_int_equal(line.fi_edges, 0);
	assert_int_equal(get(0x0c) & 0x90, 0x10);	/* flag, no interrupt */
	put(0x0b, 0x12);
	fakeclock_run(&clk, NS_PER_SECOND);
	assert_int_equal(line.fi_level, 1);
	assert_int_equal(get(0x0c) & 0x90, 0x90);
	assert_int_equal(line.fi_level, 0);
	assert_int_equal(get(0x0c), 0);
	/* not read: one interrupt, no timer */
	fakeclock_run(&clk, 100 * NS_PER_SECOND);
	assert_int_equal(line.fi_edges, 2);
	assert_int_equal(fakeclock_armed(&clk), 0);
	put(0x0b, 0x92);				/* SET clears UIE */
	assert_int_equal(get(0x0b), 0x82);
}

static void
test_periodic_interrupt(void **state)
{
	unsigned i, n = 0;

	(void)state;
	put(0x0b, 0x42);
	for (i = 0; i < 5000; i++) {
		fakeclock_run(&clk, MS / 5);
		if (line.fi_level) {
			assert_int_equal(get(0x0c) & 0xc0, 0xc0);
			n++;
		}
	}
	assert_in_range(n, 1022, 1025);
	put(0x0a, 0x2f);			/* 2 Hz */
	get(0x0c);
	line.fi_edges = 0;
	for (i = 0; i < 100; i++) {
		fakeclock_run(&clk, 100 * MS);
		get(0x0c);
	}
	assert_in_range(line.fi_edges, 19, 21);
	put(0x0a, 0x20);			/* none */
	get(0x0c);
	assert_int_equal(fakeclock_armed(&clk), 0);
}

static void
test_alarm(void **state)
{
	unsigned i;

	(void)state;
	put(0x01, 0x00);
	put(0x03, 0x36);
	put(0x05, 0x15);			/* 15:36:00, 64 s from now */
	put(0x0b, 0x22);
	fakeclock_run(&clk, 63 * NS_PER_SECOND + 900 * MS);
	assert_int_equal(line.fi_level, 0);
	fakeclock_run(&clk, 200 * MS);
	assert_int_equal(line.fi_level, 1);
	assert_int_equal(get(0x0c) & 0xa0, 0xa0);
	/* the next one is a day later */
	fakeclock_run(&clk, 86399 * NS_PER_SECOND);
	assert_int_equal(line.fi_level, 0);
	fakeclock_run(&clk, NS_PER_SECOND);
	assert_int_equal(line.fi_level, 1);
	get(0x0c);
	/* any minute, any hour */
	put(0x03, 0xff);
	put(0x05, 0xc0);
	line.fi_edges = 0;
	for (i = 0; i < 600; i++) {
		fakeclock_run(&clk, NS_PER_SECOND);
		get(0x0c);
	}
	assert_int_equal(line.fi_edges, 10);
	/* polled, without being enabled */
	put(0x0b, 0x02);
	get(0x0c);
	fakeclock_skip(&clk, 40 * 86400 * NS_PER_SECOND);
	assert_int_equal(get(0x0c) & 0xb0, 0x30);
}

static void
test_memory(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(get(0x15) | get(0x16) << 8, 640);
	assert_int_equal(get(0x17) | get(0x18) << 8, 0xffff);
	assert_int_equal(get(0x34) | get(0x35) << 8, 0xef00);
	assert_int_equal(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16,
	    0x1000);
	for (i = 0x60; i < 0x80; i++)
		put((uint8_t)i, (uint8_t)~i);
	put(0x8e, 0x77);			/* bit 7 is the NMI mask */
	mc146818_reset(rtc);
	for (i = 0x60; i < 0x80; i++)
		assert_int_equal(get((uint8_t)i), (uint8_t)~i);
	assert_int_equal(get(0x0e), 0x77);
}

/* The host's clock jumps, the guest writes anything. */
static void
test_nonsense(void **state)
{
	unsigned seed = 99, n;

	(void)state;
	print_message("# seed %u\n", seed);
	for (n = 0; n < 100000; n++) {
		put((uint8_t)(rand_r(&seed) & 0x3f), (uint8_t)rand_r(&seed));
		get((uint8_t)(rand_r(&seed) & 0x3f));
		fakeclock_skip(&clk, (uint64_t)rand_r(&seed) % NS_PER_SECOND);
		if (n % 64 == 0)
			fakeclock_run(&clk, (uint64_t)rand_r(&seed) % 1000000);
		if (n % 1000 == 0)
			clk.fc_wall_offset -= (int64_t)rand_r(&seed) * 1000;
	}
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_time), T(test_set), T(test_set_divider),
		T(test_update_in_progress), T(test_update_interrupt),
		T(test_periodic_interrupt), T(test_alarm), T(test_memory),
		T(test_nonsense),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
