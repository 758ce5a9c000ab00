/*
 * The firmware configuration device: items, their ends, what is not there;
 * files; DMA, also by guests that do it wrong.
 */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "machine/fw_cfg.h"

#define MEMORY	0x123456000ull

static struct bus *ports;
static uint8_t ram[4096];
static const struct guest_memory gm = {
	.gm_range = { { .gpa = 0x1000, .host = ram, .size = sizeof(ram) } },
	.gm_nranges = 1
};
static struct fw_cfg *fw;

static int
setup(void **state)
{
	(void)state;
	ports = bus_new();
	fw = fw_cfg_new(ports, &gm, MEMORY, 3);
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
	assert_int_equal(item(0x01, 4), 3);
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

/* --- files --------------------------------------------------------------- */

static void
test_files(void **state)
{
	char name[56];
	unsigned i;

	(void)state;
	assert_int_equal(fw_cfg_add(fw, "etc/one", "1", 1), 0);
	assert_int_equal(fw_cfg_add(fw, "two", "zwei", 4), 0);
	assert_int_equal(be32toh((uint32_t)item(0x19, 4)), 2);
	assert_int_equal(be32toh((uint32_t)next(4)), 1);
	assert_int_equal(be16toh((uint16_t)next(2)), 0x20);
	next(2);
	for (i = 0; i < sizeof(name); i++)
		name[i] = (char)next(1);
	assert_string_equal(name, "etc/one");
	assert_int_equal(be32toh((uint32_t)next(4)), 4);
	assert_int_equal(be16toh((uint16_t)next(2)), 0x21);
	next(2);
	for (i = 0; i < sizeof(name); i++)
		name[i] = (char)next(1);
	assert_string_equal(name, "two");
	assert_int_equal(next(8), 0);		/* no third */
	assert_int_equal(item(0x20, 4), '1');
	assert_int_equal(item(0x21, 8), 0x6965777a);	/* "zwei" */
	assert_int_equal(item(0x22, 8), 0);
	for (i = 2; i < FW_CFG_FILES_MAX; i++)
		assert_int_equal(fw_cfg_add(fw, "x", NULL, 0), 0);
	assert_int_equal(fw_cfg_add(fw, "x", NULL, 0), ENOSPC);
}

/* --- DMA ----------------------------------------------------------------- */

#define READ	0x02u
#define SKIP	0x04u
#define SELECT	0x08u
#define WRITE	0x10u
#define BASE	0x1000u			/* of the RAM */
#define PLACE	0x40u			/* of the structure in it */
#define DATA	0x100u

/* What the device made of the control word. */
static uint32_t
dma(uint32_t control, uint32_t len, uint64_t address)
{
	struct { uint32_t control, len; uint64_t address; } d = {
		htobe32(control), htobe32(len), htobe64(address) };
	uint32_t answer;

	memcpy(ram + PLACE, &d, sizeof(d));
	bus_write(ports, FW_CFG_DMA, 4, 0);
	bus_write(ports, FW_CFG_DMA + 4, 4, htobe32(BASE + PLACE));
	memcpy(&answer, ram + PLACE, sizeof(answer));
	return (be32toh(answer));
}

static void
test_dma(void **state)
{
	(void)state;
	assert_int_equal(bus_read(ports, FW_CFG_DMA, 4), 0x554d4551);
	assert_int_equal(bus_read(ports, FW_CFG_DMA + 4, 4), 0x47464320);
	assert_int_equal(bus_read(ports, FW_CFG_DMA + 7, 1), 'G');
	fw_cfg_add(fw, "f", "0123456789", 10);

	memset(ram, 0xee, sizeof(ram));
	assert_int_equal(dma(0x20u << 16 | SELECT | READ, 4, BASE + DATA), 0);
	assert_memory_equal(ram + DATA, "0123\xee", 5);
	assert_int_equal(dma(SKIP, 2, 0), 0);
	assert_int_equal(dma(READ, 2, BASE + DATA), 0);	/* goes on */
	assert_memory_equal(ram + DATA, "6723\xee", 5);
	assert_int_equal(next(1), '8');			/* and so do bytes */
	assert_int_equal(dma(READ, 4, BASE + DATA), 0);	/* past the end */
	assert_memory_equal(ram + DATA, "9\0\0\0\xee", 5);
	assert_int_equal(dma(0x20u << 16 | SELECT, 0, 0), 0);
	assert_int_equal(next(1), '0');
}

static void
test_dma_wrong(void **state)
{
	uint32_t word;

	(void)state;
	fw_cfg_add(fw, "f", "0123456789", 10);
	/* outside RAM, across its end, across the end of everything */
	assert_int_equal(dma(0x20u << 16 | SELECT | READ, 4, 0), 1);
	assert_int_equal(dma(READ, 4, BASE + sizeof(ram) - 3), 1);
	assert_int_equal(dma(READ, UINT32_MAX, BASE), 1);
	assert_int_equal(dma(READ, 4, UINT64_MAX - 1), 1);
	assert_int_equal(dma(WRITE, 4, BASE + DATA), 1);
	assert_int_equal(dma(READ, 0, 0), 0);
	/* far beyond the item, and never back to its start */
	assert_int_equal(dma(0x20u << 16 | SELECT | SKIP, UINT32_MAX, 0), 0);
	assert_int_equal(dma(SKIP, UINT32_MAX, 0), 0);
	assert_int_equal(next(1), 0);
	assert_int_equal(dma(READ, 4, BASE + DATA), 0);
	assert_memory_equal(ram + DATA, "\0\0\0\0", 4);
	/* a structure that is not in RAM, or only its low half is told */
	bus_write(ports, FW_CFG_DMA + 4, 4, htobe32(BASE + sizeof(ram) - 8));
	word = htobe32(0x20u << 16 | SELECT | READ);
	memcpy(ram + PLACE, &word, sizeof(word));
	bus_write(ports, FW_CFG_DMA, 4, htobe32(1));
	bus_write(ports, FW_CFG_DMA + 4, 4, htobe32(BASE + PLACE));
	bus_write(ports, FW_CFG_DMA + 4, 2, 0);
	bus_write(ports, FW_CFG_DMA + 6, 2, htobe16(BASE + PLACE));
	assert_memory_equal(ram + PLACE, &word, sizeof(word));
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_items), T(test_edges),
	    T(test_files), T(test_dma), T(test_dma_wrong) };

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
