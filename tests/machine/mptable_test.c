/*
 * machine/mptable: lengths, checksums and counts, the order of entries, and
 * that lines end where the board has them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/mptable.h"

#define SLOTS	5
#define SCI	9
#define ISA	1	/* its bus */

static uint8_t *ram;
static struct guest_memory gm;

static unsigned
slot_line(unsigned slot)
{
	static const uint8_t line[SLOTS] = { 10, 11, 5, 3, 10 };

	return (line[slot - 1]);
}

static const struct acpi_config config = {
	.ac_ncpus = 3, .ac_nslots = SLOTS, .ac_slot_line = slot_line,
	.ac_sci = SCI
};

static uint32_t
le(const uint8_t *p, unsigned size)
{
	uint32_t v = 0;

	while (size-- > 0)
		v = v << 8 | p[size];
	return (v);
}

static uint8_t
sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len-- > 0)
		s = (uint8_t)(s + *p++);
	return (s);
}

static int
setup(void **state)
{
	(void)state;
	ram = calloc(1, 1 << 20);
	gm = (struct guest_memory){ .gm_nranges = 1,
		.gm_range = { { 0, ram, 1 << 20 } } };
	return (ram == NULL ? -1 : 0);
}

static int
teardown(void **state)
{
	(void)state;
	free(ram);
	return (0);
}

/* The table behind the pointer, both checked. */
static const uint8_t *
table(void)
{
	const uint8_t *p = ram + MPTABLE_AREA, *t;

	assert_true(mptable_write(&config, &gm));
	assert_memory_equal(p, "_MP_", 4);
	assert_int_equal(p[8], 1);		/* of 16 bytes */
	assert_int_equal(p[9], 4);
	assert_int_equal(sum(p, 16), 0);
	assert_int_equal(p[11], 0);		/* there is a table */
	assert_int_equal(p[12], 0);		/* virtual wire mode */
	assert_int_equal(le(p + 4, 4), MPTABLE_AREA + 16);
	t = ram + le(p + 4, 4);
	assert_memory_equal(t, "PCMP", 4);
	assert_in_range(le(t + 4, 2), 44, MPTABLE_SIZE - 16);
	assert_int_equal(t[6], 4);
	assert_int_equal(sum(t, le(t + 4, 2)), 0);
	assert_int_equal(le(t + 36, 4), 0xfee00000);
	return (t);
}

static void
test_entries(void **state)
{
	const uint8_t *t = table(), *p = t + 44;
	unsigned count[5] = { 0 }, i, type = 0;

	(void)state;
	for (i = 0; i < le(t + 34, 2); i++) {
		assert_in_range(p[0], type, 4);		/* ascending */
		type = p[0];
		switch (type) {
		case 0:
			assert_int_equal(p[1], count[0]);
			assert_int_equal(p[3], count[0] == 0 ? 3 : 1);
			break;
		case 1:
			assert_int_equal(p[1], count[1]);
			assert_memory_equal(p + 2, count[1] == ISA ?
			    "ISA   " : "PCI   ", 6);
			break;
		case 2:
			assert_int_equal(p[1], 3);	/* no CPU's id */
			assert_int_equal(p[3], 1);
			assert_int_equal(le(p + 4, 4), 0xfec00000);
			break;
		case 4:
			/* ExtINT: the first CPU's LINT0; NMI: all LINT1 */
			assert_int_equal(p[1], count[4] == 0 ? 3 : 1);
			assert_int_equal(p[6], count[4] == 0 ? 0 : 0xff);
			assert_int_equal(p[7], count[4]);
			break;
		}
		count[type]++;
		p += type == 0 ? 20 : 8;
	}
	assert_int_equal(p - t, le(t + 4, 2));
	assert_int_equal(count[0], 3);
	assert_int_equal(count[1], 2);
	assert_int_equal(count[2], 1);
	assert_int_equal(count[4], 2);
}

/* Each pin has one line of ISA or slots of PCI, and each line a pin. */
static void
test_lines(void **state)
{
	static const uint8_t isa[] = { 0, 1, 4, 6, 7, 8, 9, 12, 13, 14, 15 };
	const uint8_t *t = table(), *p = t + 44 + 3 * 20 + 3 * 8;
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(isa); i++, p += 8) {
		assert_int_equal(p[0], 3);
		assert_int_equal(p[1], 0);
		assert_int_equal(le(p + 2, 2), isa[i] == SCI ? 0xd : 0);
		assert_int_equal(p[4], ISA);
		assert_int_equal(p[5], isa[i]);
		assert_int_equal(p[6], 3);
		assert_int_equal(p[7], isa[i] == 0 ? 2 : isa[i]);
	}
	for (i = 1; i <= SLOTS; i++, p += 8) {
		assert_int_equal(p[0], 3);
		assert_int_equal(le(p + 2, 2), 0);
		assert_int_equal(p[4], 0);
		assert_int_equal(p[5], i << 2);
		assert_int_equal(p[6], 3);
		assert_int_equal(p[7], slot_line(i));
	}
	assert_int_equal(p[0], 4);
}

static void
test_no_memory(void **state)
{
	(void)state;
	gm.gm_range[0].size = MPTABLE_AREA;
	assert_false(mptable_write(&config, &gm));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup,
		    teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
