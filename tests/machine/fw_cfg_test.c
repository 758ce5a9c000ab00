/*
 * The firmware configuration device: items, their ends, what is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/fw_cfg.h"

#define MEMORY	0x123456000ull

static struct bus *ports;
static struct fw_cfg *fw;

static int
setup(void **state)
{
	(void)state;
	ports = bus_new();
	fw = fw_cfg_new(ports, MEMORY, 3);
	return (fw == NULL ? -1 : 0);
}

static int
teardown(void **state)
{
	(void)state;
	fw_cfg_free(fw);
	bus_free(ports);
	return (0);
}

static uint64_t
next(unsigned bytes)
{
	uint64_t v = 0;
	unsigned i;

	for (i = 0; i < bytes; i++)
		v |= bus_read(ports, FW_CFG_DATA, 1) << i * 8;
	return (v);
}

static uint64_t
item(uint16_t key, unsigned bytes)
{
	bus_write(ports, FW_CFG_SELECTOR, 2, key);
	return (next(bytes));
}

static void
test_items(void **state)
{
	(void)state;
	assert_int_equal(item(0x00, 4), 0x554d4551);	/* "QEMU" */
	assert_int_equal(item(0x01, 4), 1);
	assert_int_equal(item(0x03, 8), MEMORY);
	assert_int_equal(item(0x04, 2), 1);
	assert_int_equal(item(0x05, 2), 3);
	assert_int_equal(item(0x0f, 2), 3);
	assert_int_equal(item(0x19, 4), 0);
}

static void
test_edges(void **state)
{
	(void)state;
	assert_int_equal(next(4), 0);			/* nothing selected */
	assert_int_equal(item(0x03, 2), MEMORY & 0xffff);
	assert_int_equal(next(6), MEMORY >> 16);	/* goes on */
	assert_int_equal(next(8), 0);			/* past the end */
	assert_int_equal(item(0x03, 1), MEMORY & 0xff);	/* from the start */
	assert_int_equal(item(0xffff, 8), 0);
	assert_int_equal(item(0x02, 8), 0);
	bus_write(ports, FW_CFG_SELECTOR, 2, 0x05);
	bus_write(ports, FW_CFG_DATA, 1, 0x77);		/* read-only */
	bus_write(ports, FW_CFG_SELECTOR, 1, 0x03);	/* 16 bits or nothing */
	assert_int_equal(next(2), 3);
	bus_write(ports, FW_CFG_SELECTOR, 2, 0x05);
	fw_cfg_reset(fw);
	assert_int_equal(next(2), 0);
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_items), T(test_edges) };

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
