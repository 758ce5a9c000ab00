/*
 * machine/pci: configuration mechanism 1, BARs that move, INTA#, capabilities.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/pci.h"

static int level;
static uint64_t reset_value;

static void
wire(void *arg, unsigned line, int on)
{
	(void)arg;
	assert_int_equal(line, 11);
	level = on;
}

static uint64_t
reg_read(void *arg, uint64_t offset, unsigned size)
{
	(void)size;
	return (*(uint8_t *)arg + offset);
}

static void
reg_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)offset;
	(void)size;
	*(uint8_t *)arg = (uint8_t)value;
}

static void
on_reset(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)arg;
	(void)offset;
	(void)size;
	reset_value = value;
}

static uint64_t
reset_read(void *arg, uint64_t offset, unsigned size)
{
	(void)arg;
	(void)offset;
	(void)size;
	return (0x5a);
}

struct pc {
	struct bus	*ports, *memory;
	struct pci	*pci;
	struct pci_function pf[2];
	uint8_t		 reg[2][2];
};

static const struct irq irq11 = { .i_set = wire, .i_line = 11 };

static int
setup(void **state)
{
	struct pc *pc = calloc(1, sizeof(*pc));
	int i, bar;

	pc->ports = bus_new();
	pc->memory = bus_new();
	pc->pci = pci_new(pc->ports, pc->memory);
	assert_non_null(pc->pci);
	for (i = 0; i < 2; i++) {
		pc->pf[i] = (struct pci_function){ .pf_name = "test",
			.pf_vendor = 0x1af4,
			.pf_device = (uint16_t)(0x1000 + i),
			.pf_class = 2, .pf_intx = true };
		for (bar = 0; bar < 2; bar++) {
			pc->reg[i][bar] = (uint8_t)(0x10 * (i + 1) + 4 * bar);
			pc->pf[i].pf_bar[bar].size = bar == 0 ? 0x40 : 0x4000;
			pc->pf[i].pf_bar[bar].io = bar == 0;
			pc->pf[i].pf_bar[bar].window = (struct window){
				.w_read = reg_read, .w_write = reg_write,
				.w_arg = &pc->reg[i][bar] };
		}
		assert_int_equal(pci_add(pc->pci, &pc->pf[i], &irq11), 0);
	}
	level = 0;
	*state = pc;
	return (0);
}

static int
teardown(void **state)
{
	struct pc *pc = *state;

	pci_free(pc->pci);
	bus_free(pc->ports);
	bus_free(pc->memory);
	free(pc);
	return (0);
}

static uint32_t
cfg(struct pc *pc, unsigned slot, unsigned reg, unsigned size)
{
	bus_write(pc->ports, 0xcf8, 4, 0x80000000 | slot << 11 | (reg & 0xfc));
	return ((uint32_t)bus_read(pc->ports, 0xcfc + (reg & 3), size));
}

static void
cfg_set(struct pc *pc, unsigned slot, unsigned reg, unsigned size, uint32_t v)
{
	bus_write(pc->ports, 0xcf8, 4, 0x80000000 | slot << 11 | (reg & 0xfc));
	bus_write(pc->ports, 0xcfc + (reg & 3), size, v);
}

static void
test_identity(void **state)
{
	struct pc *pc = *state;

	assert_int_equal(cfg(pc, 0, 0, 4), 0x06660b5d);
	assert_int_equal(cfg(pc, 0, 0x0b, 1), 6);
	assert_int_equal(cfg(pc, 1, 0, 4), 0x10001af4);
	assert_int_equal(cfg(pc, 2, 2, 2), 0x1001);
	assert_int_equal(cfg(pc, 2, 0x3d, 1), 1);
	assert_int_equal(cfg(pc, 3, 0, 4), 0xffffffff);
	/* identity cannot be written */
	cfg_set(pc, 1, 0, 4, 0);
	assert_int_equal(cfg(pc, 1, 0, 4), 0x10001af4);
	/* enable bit off, other bus, other function: nobody answers */
	bus_write(pc->ports, 0xcf8, 4, 0x00000800);
	assert_true(bus_read(pc->ports, 0xcfc, 4) == 0xffffffff);
	bus_write(pc->ports, 0xcf8, 4, 0x80010800);
	assert_true(bus_read(pc->ports, 0xcfc, 4) == 0xffffffff);
	bus_write(pc->ports, 0xcf8, 4, 0x80000900);
	assert_true(bus_read(pc->ports, 0xcfc, 4) == 0xffffffff);
	assert_true(bus_read(pc->ports, 0xcf8, 4) == 0x80000900);
}

static void
test_reset_port(void **state)
{
	struct pc *pc = *state;
	struct window w = { .w_base = 0xcf9, .w_size = 1,
		.w_read = reset_read, .w_write = on_reset };

	bus_write(pc->ports, 0xcf8, 4, 0x80000800);
	bus_write(pc->ports, 0xcf9, 1, 6);		/* nobody there yet */
	pci_set_reset(pc->pci, &w);
	bus_write(pc->ports, 0xcf9, 1, 6);
	assert_int_equal(reset_value, 6);
	assert_int_equal(bus_read(pc->ports, 0xcf9, 1), 0x5a);
	assert_int_equal(bus_read(pc->ports, 0xcf8, 4), 0x80000800);
}

static void
test_bars(void **state)
{
	struct pc *pc = *state;

	/* sizing, as the specification has it */
	cfg_set(pc, 1, 0x10, 4, 0xffffffff);
	assert_int_equal(cfg(pc, 1, 0x10, 4), 0xffffffc1);
	cfg_set(pc, 1, 0x14, 4, 0xffffffff);
	assert_int_equal(cfg(pc, 1, 0x14, 4), 0xffffc000);
	cfg_set(pc, 1, 0x18, 4, 0xffffffff);
	assert_int_equal(cfg(pc, 1, 0x18, 4), 0);

	pci_assign(pc->pci);
	assert_int_equal(cfg(pc, 1, 0x10, 4), 0x1001);
	assert_int_equal(cfg(pc, 2, 0x10, 4), 0x2001);
	assert_int_equal(cfg(pc, 1, 0x14, 4), 0xf0000000);
	assert_int_equal(cfg(pc, 2, 0x14, 4), 0xf0010000);
	assert_int_equal(cfg(pc, 1, 0x3c, 1), 11);
	assert_int_equal(bus_read(pc->ports, 0x1001, 1), 0x11);
	assert_int_equal(bus_read(pc->ports, 0x2002, 1), 0x22);
	assert_int_equal(bus_read(pc->memory, 0xf0000003, 1), 0x17);
	assert_int_equal(bus_read(pc->memory, 0xf0010000, 4), 0x24);

	/* decoding off and on */
	cfg_set(pc, 1, 4, 2, 2);
	assert_int_equal(bus_read(pc->ports, 0x1001, 1), 0xff);
	assert_int_equal(bus_read(pc->memory, 0xf0000003, 1), 0x17);
	cfg_set(pc, 1, 4, 2, 7);
	assert_int_equal(bus_read(pc->ports, 0x1001, 1), 0x11);

	/* one moves onto the other, then the other away: the place is taken */
	cfg_set(pc, 1, 0x10, 4, 0x2000);
	assert_int_equal(bus_read(pc->ports, 0x1001, 1), 0xff);
	assert_int_equal(bus_read(pc->ports, 0x2002, 1), 0x22);
	cfg_set(pc, 2, 0x10, 4, 0x3000);
	assert_int_equal(bus_read(pc->ports, 0x2002, 1), 0x12);
	assert_int_equal(bus_read(pc->ports, 0x3000, 1), 0x20);

	/* an I/O BAR beyond the ports, or at 0, is nowhere; nor on the bridge's
	 * own ports */
	cfg_set(pc, 1, 0x10, 4, 0xffff0000);
	assert_int_equal(bus_read(pc->ports, 0x2002, 1), 0xff);
	cfg_set(pc, 1, 0x10, 4, 0xcc0);
	assert_int_equal(cfg(pc, 1, 0, 4), 0x10001af4);

	pci_reset(pc->pci);
	assert_int_equal(cfg(pc, 2, 0x10, 4), 1);
	assert_int_equal(cfg(pc, 2, 4, 2), 0);
	assert_int_equal(bus_read(pc->ports, 0x3000, 1), 0xff);
}

static void
test_intx(void **state)
{
	struct pc *pc = *state;

	irq_set(&pc->pf[0].pf_irq, 1);
	assert_int_equal(level, 1);
	assert_int_equal(cfg(pc, 1, 6, 2) & 8, 8);
	assert_int_equal(cfg(pc, 1, 4, 4) >> 16 & 8, 8);
	cfg_set(pc, 1, 4, 2, 0x400);
	assert_int_equal(level, 0);
	assert_int_equal(cfg(pc, 1, 6, 2) & 8, 8);
	cfg_set(pc, 1, 4, 2, 0);
	assert_int_equal(level, 1);
	irq_set(&pc->pf[0].pf_irq, 0);
	assert_int_equal(level, 0);
	assert_int_equal(cfg(pc, 1, 6, 2) & 8, 0);
}

static void
test_capabilities(void **state)
{
	struct pc *pc = *state;
	struct pci_function *pf = &pc->pf[0];
	unsigned n = 0, at;
	uint8_t c;

	assert_int_equal(cfg(pc, 1, 6, 2) & 0x10, 0);
	assert_int_equal(pci_capability(pf, 9, 16), 0x40);
	assert_int_equal(pci_capability(pf, 9, 17), 0x50);
	assert_int_equal(pci_capability(pf, 5, 2), 0x64);
	while ((c = pci_capability(pf, 9, 20)) != 0)
		n++;
	assert_int_equal(n, (256 - 0x68) / 20);
	assert_int_equal(cfg(pc, 1, 6, 2) & 0x10, 0x10);
	for (n = 0, at = cfg(pc, 1, 0x34, 1); at != 0; n++)
		at = cfg(pc, 1, at + 1, 1);
	assert_int_equal(n, 3 + (256 - 0x68) / 20);
	pci_reset(pc->pci);
	assert_int_equal(cfg(pc, 1, 0x34, 1), 0x40);
}

static void
test_full(void **state)
{
	struct pc *pc = *state;
	struct pci_function *pf = calloc(30, sizeof(*pf));
	int i;

	for (i = 0; i < 29; i++)
		assert_int_equal(pci_add(pc->pci, &pf[i], &irq11), 0);
	assert_int_equal(pci_add(pc->pci, &pf[29], &irq11), ENOSPC);
	pci_free(pc->pci);
	pc->pci = NULL;
	free(pf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_reset_port, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_bars, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_capabilities, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
