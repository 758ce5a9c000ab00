/*
 * machine/ns8250: registers as a 16550A has them, interrupts, and bytes in
 * both directions without loss whatever the other end does.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/fakeclock.h"
#include "machine/ns8250.h"

static struct loop *loop;
static struct loop_timer *step;
static struct bus *ports;
static struct ns8250 *uart;
static struct fakeirq line;
static int in_pipe[2], out_pipe[2];

static void
step_end(void *arg)
{
	loop_stop(arg);
}

/* Lets the loop run a little. */
static void
settle(void)
{
	loop_timer_set(step, loop_now() + 5000000);
	assert_int_equal(loop_run(loop), 0);
}

static size_t
filter(void *arg, uint8_t byte, uint8_t out[2])
{
	(void)arg;
	out[0] = out[1] = byte;
	return (byte == '0' ? 0 : byte == '2' ? 2 : 1);
}

static int
setup(void **state)
{
	struct ns8250_config nc = { .nc_base = 0x3f8,
		.nc_irq = { .i_set = fakeirq_set, .i_arg = &line } };

	(void)state;
	line = (struct fakeirq){ 0 };
	loop = loop_new();
	step = loop_timer_new(loop, step_end, loop);
	ports = bus_new();
	assert_int_equal(pipe(in_pipe), 0);
	assert_int_equal(pipe(out_pipe), 0);
	nc.nc_loop = loop;
	nc.nc_in = in_pipe[0];
	nc.nc_out = out_pipe[1];
	nc.nc_filter = filter;
	uart = ns8250_new(ports, &nc);
	assert_non_null(uart);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	ns8250_free(uart);
	loop_timer_free(step);
	loop_free(loop);
	bus_free(ports);
	close(in_pipe[0]);
	close(in_pipe[1]);
	close(out_pipe[0]);
	close(out_pipe[1]);
	return (0);
}

static uint8_t
get(unsigned reg)
{
	return ((uint8_t)bus_read(ports, 0x3f8 + reg, 1));
}

static void
put(unsigned reg, uint8_t v)
{
	bus_write(ports, 0x3f8 + reg, 1, v);
}

static void
type(const char *s)
{
	assert_int_equal(write(in_pipe[1], s, strlen(s)), strlen(s));
	settle();
}

static void
test_registers(void **state)
{
	(void)state;
	assert_int_equal(get(5), 0x60);
	assert_int_equal(get(6), 0xb0);
	assert_int_equal(get(2), 0x01);
	put(7, 0xa5);
	assert_int_equal(get(7), 0xa5);
	put(3, 0x83);			/* DLAB */
	put(0, 0x01);
	put(1, 0x02);
	assert_int_equal(get(0), 0x01);
	assert_int_equal(get(1), 0x02);
	put(3, 0x03);
	assert_int_equal(get(1), 0x00);
	put(1, 0xff);
	assert_int_equal(get(1), 0x0f);
	put(4, 0xff);
	assert_int_equal(get(4), 0x1f);
	/* a 16550A says so once its FIFOs are on */
	put(2, 0x01);
	assert_int_equal(get(2) & 0xc0, 0xc0);
	put(2, 0x00);
	assert_int_equal(get(2) & 0xc0, 0x00);
}

static void
test_loopback(void **state)
{
	(void)state;
	put(4, 0x10);
	put(2, 0x01);
	put(0, 'x');
	assert_int_equal(get(5) & 0x01, 0x01);
	assert_int_equal(get(0), 'x');
	assert_int_equal(get(5) & 0x01, 0x00);
	/* MCR's outputs come back as MSR's inputs */
	get(6);
	put(4, 0x1a);			/* OUT2, RTS */
	assert_int_equal(get(6) & 0xf0, 0x90);
	put(4, 0x15);			/* OUT1, DTR */
	assert_int_equal(get(6) & 0xf0, 0x60);
	put(4, 0x10);
	assert_int_equal(get(6) & 0x04, 0x04);	/* ring ended */
	/* overrun: 17 bytes into 16 places */
	for (int i = 0; i < 17; i++)
		put(0, (uint8_t)i);
	assert_int_equal(get(5) & 0x02, 0x02);
	assert_int_equal(get(5) & 0x02, 0x00);
	put(2, 0x03);			/* clear */
	assert_int_equal(get(5) & 0x01, 0x00);
	/* nothing reached the wire */
	put(4, 0);
	assert_true(ns8250_drain(uart, 1000));
	fcntl(out_pipe[0], F_SETFL, O_NONBLOCK);
	char c;
	assert_int_equal(read(out_pipe[0], &c, 1), -1);
}

static void
test_transmit_interrupt(void **state)
{
	(void)state;
	put(1, 0x02);
	assert_int_equal(line.fi_level, 0);	/* OUT2 is off */
	put(4, 0x08);
	assert_int_equal(line.fi_level, 1);
	assert_int_equal(get(2), 0x02);
	assert_int_equal(line.fi_level, 0);	/* reading it ends it */
	assert_int_equal(get(2), 0x01);
	line.fi_edges = 0;
	put(0, 'a');
	put(0, 'b');
	assert_int_equal(line.fi_edges, 2);	/* each rises anew */
	put(1, 0);
	assert_int_equal(line.fi_level, 0);
	put(1, 0x02);				/* asked again: empty */
	assert_int_equal(line.fi_level, 1);
}

static void
test_receive(void **state)
{
	(void)state;
	put(4, 0x08);
	put(1, 0x01);
	put(2, 0x81);				/* trigger at 8 */
	type("abc");
	assert_int_equal(line.fi_level, 1);
	assert_int_equal(get(2), 0xcc);		/* timeout */
	assert_int_equal(get(5) & 1, 1);
	assert_int_equal(get(0), 'a');
	type("defghi");
	assert_int_equal(get(2), 0xc4);		/* trigger level */
	for (int c = 'b'; c <= 'i'; c++)
		assert_int_equal(get(0), c);
	assert_int_equal(line.fi_level, 0);
	assert_int_equal(get(5) & 1, 0);
	assert_int_equal(get(0), 0);
	/* no FIFO: one at a time */
	put(2, 0);
	type("xy");
	assert_int_equal(get(2), 0x04);
	assert_int_equal(get(0), 'x');
	assert_int_equal(get(0), 'y');
	/* the filter swallows and doubles */
	type("102");
	assert_int_equal(get(0), '1');
	assert_int_equal(get(0), '2');
	assert_int_equal(get(0), '2');
	assert_int_equal(get(5) & 1, 0);
}

/* More input than fits anywhere waits outside; none is lost. */
static void
test_flow_control(void **state)
{
	static char sent[60000];
	size_t i, n = 0, put_in = 0;
	ssize_t w;

	(void)state;
	put(2, 0x01);
	for (i = 0; i < sizeof(sent); i++)
		sent[i] = (char)('a' + i % 23);
	fcntl(in_pipe[1], F_SETFL, O_NONBLOCK);
	while (n < sizeof(sent)) {
		w = write(in_pipe[1], sent + put_in, sizeof(sent) - put_in);
		if (w > 0)
			put_in += (size_t)w;
		settle();
		while ((get(5) & 1) != 0)
			assert_int_equal(get(0), sent[n++]);
	}
	assert_int_equal(n, sizeof(sent));
	/* the other end hangs up: nothing happens */
	close(in_pipe[1]);
	in_pipe[1] = -1;
	settle();
	assert_int_equal(get(5) & 1, 0);
}

#define MANY	300000

static void *
slow_reader(void *arg)
{
	unsigned char buf[1000];
	size_t *bad = arg, n = 0;
	ssize_t got, i;

	while (n < MANY) {
		usleep(300);
		got = read(out_pipe[0], buf, sizeof(buf));
		for (i = 0; i < got; i++)
			if (buf[i] != (unsigned char)(n++ * 7))
				(*bad)++;
	}
	return (NULL);
}

/* A guest that honours THRE loses nothing to a slow reader. */
static void
test_slow_output(void **state)
{
	size_t bad = 0, i;
	unsigned full = 0;
	pthread_t t = 0;

	(void)state;
	put(4, 0x08);
	put(1, 0x02);
	for (i = 0; i < MANY; i++) {
		while ((get(5) & 0x20) == 0) {
			/* it begins when nothing fits any more */
			if (full++ == 0)
				assert_int_equal(pthread_create(&t, NULL,
				    slow_reader, &bad), 0);
			usleep(100);
		}
		put(0, (uint8_t)(i * 7));
	}
	assert_true(full > 0);
	assert_true(ns8250_drain(uart, 5000));
	pthread_join(t, NULL);
	assert_int_equal(bad, 0);
}

/* Nobody reads, ever: the guest goes on, and so does the end. */
static void
test_stuck_output(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 1000000; i++)
		put(0, 'x');
	assert_int_equal(get(5) & 0x60, 0);
	assert_false(ns8250_drain(uart, 50));
}

/* The reader is gone: output is dropped, the guest sees an empty UART. */
static void
test_broken_output(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	close(out_pipe[0]);
	for (int i = 0; i < 200000; i++)
		put(0, 'x');
	assert_true(ns8250_drain(uart, 5000));
	for (int i = 0; i < 200000; i++)
		put(0, 'x');
	assert_int_equal(get(5) & 0x60, 0x60);
	out_pipe[0] = -1;
}

/* No descriptors at all. */
static void
test_nothing_connected(void **state)
{
	struct ns8250_config nc = { .nc_base = 0x2f8, .nc_loop = loop,
		.nc_irq = { .i_set = fakeirq_set, .i_arg = &line },
		.nc_in = -1, .nc_out = -1 };
	struct ns8250 *n;

	(void)state;
	n = ns8250_new(ports, &nc);
	assert_non_null(n);
	for (int i = 0; i < 100000; i++)
		bus_write(ports, 0x2f8, 1, 'x');
	assert_int_equal(bus_read(ports, 0x2fd, 1), 0x60);
	assert_true(ns8250_drain(n, 1000));
	ns8250_free(n);
	nc.nc_base = 0x3f8;			/* taken */
	assert_null(ns8250_new(ports, &nc));
}

/* Bytes that come one by one leave together, at most once a millisecond. */
static void
test_gathered(void **state)
{
	uint8_t buf[4096];
	size_t total = 0, writes = 0, i;
	uint64_t start, spent;
	ssize_t n;

	(void)state;
	/* each write(2) is then a read(2) of its own */
	assert_int_equal(fcntl(out_pipe[1], F_SETFL, O_DIRECT), 0);
	assert_true(fcntl(out_pipe[1], F_SETPIPE_SZ, 1 << 20) > 0);
	start = loop_now();
	for (i = 0; i < 1000; i++) {
		put(0, (uint8_t)i);
		while (loop_now() < start + (i + 1) * 10000)
			continue;
	}
	assert_true(ns8250_drain(uart, 10000));
	spent = loop_now() - start;
	for (; total < 1000; total += (size_t)n, writes++) {
		n = read(out_pipe[0], buf, sizeof(buf));
		assert_true(n > 0);
		for (i = 0; i < (size_t)n; i++)
			assert_int_equal(buf[i], (uint8_t)(total + i));
	}
	assert_int_equal(total, 1000);
	assert_in_range(writes, 1, spent / 1000000 + 1);
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_registers), T(test_loopback),
		T(test_transmit_interrupt), T(test_receive),
		T(test_flow_control), T(test_slow_output),
		T(test_stuck_output), T(test_broken_output),
		T(test_nothing_connected), T(test_gathered),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
