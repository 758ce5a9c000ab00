/*
 * machine/i8259: initialisation, priorities, end of interrupt in all its
 * forms, masks, polling, level triggering, spurious interrupts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "machine/i8259.h"

static struct bus *ports;
static struct i8259 *pic;
static int intr;

static void
on_intr(void *arg, int level)
{
	(void)arg;
	assert_int_not_equal(level, intr);	/* changes only */
	intr = level;
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

static void
init(uint8_t icw4)
{
	out(0x20, 0x11);
	out(0x21, 0x20);
	out(0x21, 0x04);
	out(0x21, icw4);
	out(0xa0, 0x11);
	out(0xa1, 0x28);
	out(0xa1, 0x02);
	out(0xa1, icw4);
}

static int
setup(void **state)
{
	(void)state;
	intr = 0;
	ports = bus_new();
	pic = i8259_new(ports, on_intr, NULL);
	assert_non_null(pic);
	init(0x01);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	i8259_free(pic);
	bus_free(ports);
	return (0);
}

static void
pulse(unsigned line)
{
	i8259_set(pic, line, 1);
	i8259_set(pic, line, 0);
}

static void
test_edge(void **state)
{
	(void)state;
	assert_false(i8259_pending(pic));
	i8259_set(pic, 4, 1);
	assert_true(i8259_pending(pic));
	assert_int_equal(intr, 1);
	assert_int_equal(in(0x20), 0x10);		/* IRR */
	assert_int_equal(i8259_ack(pic), 0x24);
	assert_int_equal(intr, 0);
	out(0x20, 0x0b);
	assert_int_equal(in(0x20), 0x10);		/* ISR */
	out(0x20, 0x0a);
	assert_int_equal(in(0x20), 0x00);
	/* the line is still high: no new edge, no new interrupt */
	out(0x20, 0x20);
	assert_int_equal(intr, 0);
	i8259_set(pic, 4, 0);
	i8259_set(pic, 4, 1);
	assert_int_equal(intr, 1);
}

static void
test_priority_and_eoi(void **state)
{
	(void)state;
	pulse(5);
	pulse(3);
	assert_int_equal(i8259_ack(pic), 0x23);
	assert_int_equal(intr, 0);		/* 5 waits for 3 */
	pulse(1);
	assert_int_equal(i8259_ack(pic), 0x21);	/* 1 nests */
	out(0x20, 0x20);			/* ends 1, not 3 */
	out(0x20, 0x0b);
	assert_int_equal(in(0x20), 0x08);
	assert_int_equal(intr, 0);
	out(0x20, 0x63);			/* specific */
	assert_int_equal(intr, 1);
	assert_int_equal(i8259_ack(pic), 0x25);
	out(0x20, 0x64);			/* not in service: nothing */
	assert_int_equal(in(0x20), 0x20);
	out(0x20, 0x20);
	out(0x20, 0x20);			/* nothing to end: harmless */
	assert_int_equal(in(0x20), 0);
}

static void
test_mask(void **state)
{
	(void)state;
	out(0x21, 0xff);
	pulse(6);
	assert_int_equal(intr, 0);
	assert_int_equal(in(0x21), 0xff);
	out(0x21, 0xbf);
	assert_int_equal(intr, 1);
	out(0x21, 0xff);
	assert_int_equal(intr, 0);
	/* acknowledged all the same: spurious, nothing in service */
	assert_int_equal(i8259_ack(pic), 0x27);
	out(0x20, 0x0b);
	assert_int_equal(in(0x20), 0);
}

static void
test_slave(void **state)
{
	(void)state;
	pulse(14);
	pulse(8);
	assert_int_equal(intr, 1);
	assert_int_equal(i8259_ack(pic), 0x28);
	assert_int_equal(intr, 0);
	out(0xa0, 0x20);
	assert_int_equal(intr, 0);		/* master still serves IR2 */
	out(0x20, 0x20);
	assert_int_equal(intr, 1);
	assert_int_equal(i8259_ack(pic), 0x2e);
	out(0x20, 0x20);
	out(0xa0, 0x20);
	assert_int_equal(intr, 0);
	/* masked at the master */
	out(0x21, 0x04);
	pulse(12);
	assert_int_equal(intr, 0);
	out(0x21, 0);
	assert_int_equal(intr, 1);
	/* the request goes away at the slave */
	out(0xa1, 0xff);
	assert_int_equal(intr, 0);
	/* IR2 of the master is no line of the board */
	i8259_set(pic, 2, 1);
	i8259_set(pic, 99, 1);
	assert_int_equal(intr, 0);
}

static void
test_fully_nested_slave(void **state)
{
	(void)state;
	pulse(12);
	assert_int_equal(i8259_ack(pic), 0x2c);
	pulse(8);
	assert_int_equal(intr, 0);		/* IR2 in service blocks IR2 */
	init(0x11);				/* SFNM */
	pulse(12);
	assert_int_equal(i8259_ack(pic), 0x2c);
	pulse(8);
	assert_int_equal(intr, 1);
	assert_int_equal(i8259_ack(pic), 0x28);
}

static void
test_level(void **state)
{
	(void)state;
	out(0x4d0, 0xff);
	out(0x4d1, 0xff);
	assert_int_equal(in(0x4d0), 0xf8);
	assert_int_equal(in(0x4d1), 0xde);
	i8259_set(pic, 11, 1);
	assert_int_equal(i8259_ack(pic), 0x2b);
	out(0xa0, 0x20);
	out(0x20, 0x20);
	assert_int_equal(intr, 1);		/* still asserted */
	i8259_set(pic, 11, 0);
	assert_int_equal(intr, 0);
	i8259_set(pic, 5, 1);
	i8259_set(pic, 5, 0);
	assert_int_equal(i8259_ack(pic), 0x27);	/* spurious */
	i8259_set_elcr(pic, 0x0e20);
	assert_int_equal(in(0x4d0), 0x20);
	assert_int_equal(in(0x4d1), 0x0e);
	i8259_reset(pic);
	assert_int_equal(in(0x4d1), 0);
}

static void
test_rotation(void **state)
{
	(void)state;
	out(0x20, 0xc3);			/* 3 lowest: 4 highest */
	pulse(0);
	pulse(4);
	pulse(3);
	assert_int_equal(i8259_ack(pic), 0x24);
	out(0x20, 0xa0);			/* rotate on EOI: 4 lowest */
	assert_int_equal(i8259_ack(pic), 0x20);
	out(0x20, 0xe0);			/* rotate on specific EOI of 0 */
	pulse(1);
	assert_int_equal(i8259_ack(pic), 0x21);
	out(0x20, 0x20);
	assert_int_equal(i8259_ack(pic), 0x23);
}

static void
test_auto_eoi(void **state)
{
	(void)state;
	init(0x03);
	out(0x20, 0x80);			/* rotate in AEOI mode */
	pulse(0);
	pulse(1);
	assert_int_equal(i8259_ack(pic), 0x20);
	out(0x20, 0x0b);
	assert_int_equal(in(0x20), 0);
	pulse(0);				/* now the lowest */
	assert_int_equal(i8259_ack(pic), 0x21);
	out(0x20, 0x00);
	assert_int_equal(i8259_ack(pic), 0x20);
}

static void
test_special_mask(void **state)
{
	(void)state;
	pulse(1);
	assert_int_equal(i8259_ack(pic), 0x21);
	pulse(6);
	assert_int_equal(intr, 0);
	out(0x21, 0x02);
	assert_int_equal(intr, 0);
	out(0x20, 0x68);			/* SMM on */
	assert_int_equal(intr, 1);
	assert_int_equal(i8259_ack(pic), 0x26);
	out(0x20, 0x20);			/* ends 6, not the masked 1 */
	out(0x20, 0x0b);
	assert_int_equal(in(0x20), 0x02);
	out(0x20, 0x48);			/* SMM off */
	out(0x20, 0x20);
	assert_int_equal(in(0x20), 0);
}

static void
test_poll(void **state)
{
	(void)state;
	out(0x20, 0x0c);
	assert_int_equal(in(0x20), 0);
	pulse(3);
	out(0x20, 0x0c);
	assert_int_equal(in(0x20), 0x83);
	assert_int_equal(intr, 0);
	assert_int_equal(in(0x20), 0);		/* IRR again */
	out(0x20, 0x20);
	pulse(9);
	pulse(10);
	out(0x20, 0x0c);
	assert_int_equal(in(0x20), 0x82);
	out(0xa0, 0x0c);
	assert_int_equal(in(0xa0), 0x81);
	out(0xa0, 0x20);
	out(0x20, 0x20);
	assert_int_equal(i8259_ack(pic), 0x2a);
}

/* Any bytes at all, any time: the chip answers and does not break. */
static void
test_nonsense(void **state)
{
	unsigned seed = 42, n;

	(void)state;
	print_message("# seed %u\n", seed);
	for (n = 0; n < 200000; n++) {
		switch (rand_r(&seed) % 6) {
		case 0:
			i8259_set(pic, (unsigned)rand_r(&seed) % 20,
			    rand_r(&seed) & 1);
			break;
		case 1:
			i8259_ack(pic);
			break;
		case 2:
			in((uint16_t)(rand_r(&seed) & 1 ? 0x20 : 0xa1));
			break;
		default:
			out((uint16_t)((rand_r(&seed) & 1 ? 0x20 : 0xa0) |
			    (rand_r(&seed) & 1)), (uint8_t)rand_r(&seed));
			break;
		}
		assert_int_equal(i8259_pending(pic), intr);
	}
}

/* An edge waits from its rise to its acknowledgement, if it is unmasked. */
static void
test_waits(void **state)
{
	(void)state;
	assert_false(i8259_waits(pic, 0));
	i8259_set(pic, 0, 1);
	assert_true(i8259_waits(pic, 0));
	assert_false(i8259_waits(pic, 1));
	assert_false(i8259_waits(pic, 8));
	out(0x21, 0x01);
	assert_false(i8259_waits(pic, 0));
	out(0x21, 0x00);
	assert_int_equal(i8259_ack(pic), 0x20);
	assert_false(i8259_waits(pic, 0));
	i8259_set(pic, 0, 0);
	i8259_set(pic, 0, 1);
	assert_true(i8259_waits(pic, 0));
	i8259_set(pic, 8, 1);
	assert_true(i8259_waits(pic, 8));
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_edge), T(test_priority_and_eoi), T(test_mask),
		T(test_slave), T(test_fully_nested_slave), T(test_level),
		T(test_rotation), T(test_auto_eoi), T(test_special_mask),
		T(test_poll), T(test_nonsense),
		T(test_waits),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
