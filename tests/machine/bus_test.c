/*
 * machine/bus and machine/gpa: decoding of accesses, and addresses a guest
 * chose.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "machine/device.h"

struct trace {
	unsigned	 count;
	uint64_t	 offset[8], value[8];
	unsigned	 size[8];
};

static uint64_t
trace_read(void *arg, uint64_t offset, unsigned size)
{
	struct trace *t = arg;

	t->offset[t->count] = offset;
	t->size[t->count++] = size;
	return (0x8877665544332200 + offset);	/* dirty above the size */
}

static void
trace_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct trace *t = arg;

	t->offset[t->count] = offset;
	t->size[t->count] = size;
	t->value[t->count++] = value;
}

static struct window
window(struct trace *t, uint64_t base, uint64_t size, uint8_t width)
{
	return ((struct window){ .w_base = base, .w_size = size,
	    .w_read = trace_read, .w_write = trace_write, .w_arg = t,
	    .w_width = width, .w_name = "trace" });
}

static void
test_empty(void **state)
{
	struct bus *b = bus_new();

	(void)state;
	assert_true(bus_read(b, 0, 1) == 0xff);
	assert_true(bus_read(b, 0xffff, 4) == 0xffffffff);
	assert_true(bus_read(b, UINT64_MAX, 8) == UINT64_MAX);
	bus_write(b, UINT64_MAX, 8, 0);
	bus_free(b);
}

static void
test_overlap(void **state)
{
	struct bus *b = bus_new();
	struct trace t = { 0 };
	struct window a = window(&t, 0x100, 0x10, 0);
	struct window before = window(&t, 0xf0, 0x10, 0);
	struct window after = window(&t, 0x110, 0x10, 0);
	struct window inside = window(&t, 0x10f, 1, 0);
	struct window around = window(&t, 0xff, 0x100, 0);
	struct window empty = window(&t, 0x10, 0, 0);
	struct window wraps = window(&t, UINT64_MAX, 2, 0);
	struct window top = window(&t, UINT64_MAX, 1, 0);

	(void)state;
	assert_int_equal(bus_add(b, &a), 0);
	assert_int_equal(bus_add(b, &inside), EBUSY);
	assert_int_equal(bus_add(b, &around), EBUSY);
	assert_int_equal(bus_add(b, &after), 0);
	assert_int_equal(bus_add(b, &before), 0);
	assert_int_equal(bus_add(b, &empty), EINVAL);
	assert_int_equal(bus_add(b, &wraps), EINVAL);
	assert_int_equal(bus_add(b, &top), 0);
	bus_read(b, UINT64_MAX, 1);
	assert_int_equal(t.count, 1);
	bus_remove(b, &a);
	assert_true(bus_read(b, 0x100, 1) == 0xff);
	assert_int_equal(bus_add(b, &inside), 0);
	bus_remove(b, &around);		/* not there: harmless */
	bus_free(b);
}

static void
test_access(void **state)
{
	struct bus *b = bus_new();
	struct trace t = { 0 };
	struct window wide = window(&t, 0x100, 0x10, 0);
	struct window narrow = window(&t, 0x110, 0x10, 1);

	(void)state;
	bus_add(b, &wide);
	bus_add(b, &narrow);
	assert_true(bus_read(b, 0x102, 4) == 0x44332202);
	assert_int_equal(t.count, 1);
	assert_int_equal(t.offset[0], 2);
	assert_int_equal(t.size[0], 4);

	/* too wide: bytes, in order */
	memset(&t, 0, sizeof(t));
	bus_write(b, 0x112, 4, 0xddccbbaa);
	assert_int_equal(t.count, 4);
	assert_int_equal(t.offset[3], 5);
	assert_int_equal(t.size[3], 1);
	assert_int_equal(t.value[0], 0xaa);
	assert_int_equal(t.value[3], 0xdd);

	/* across two windows, and off either end of both */
	memset(&t, 0, sizeof(t));
	assert_true(bus_read(b, 0x10f, 2) == 0x000f);
	assert_int_equal(t.count, 2);
	assert_true(bus_read(b, 0xff, 2) == 0x00ff);
	assert_true(bus_read(b, 0x11f, 2) == 0xff0f);
	bus_free(b);
}

static unsigned written;

static void
on_written(void *arg, uint64_t gpa, size_t len)
{
	(void)arg;
	assert_int_equal(gpa, 0x1000);
	written += (unsigned)len;
}

static void
test_gpa(void **state)
{
	uint8_t low[0x100], high[0x200], buf[4] = { 1, 2, 3, 4 };
	struct guest_memory gm = {
		.gm_range = { { 0x1000, low, sizeof(low) },
		    { 0x100000000, high, sizeof(high) } },
		.gm_nranges = 2, .gm_written = on_written
	};

	(void)state;
	assert_ptr_equal(gpa_host(&gm, 0x1000, 0x100), low);
	assert_ptr_equal(gpa_host(&gm, 0x10ff, 1), low + 0xff);
	assert_null(gpa_host(&gm, 0x10ff, 2));
	assert_null(gpa_host(&gm, 0xfff, 1));
	assert_null(gpa_host(&gm, 0x1100, 0));
	assert_null(gpa_host(&gm, 0x1000, SIZE_MAX));
	assert_null(gpa_host(&gm, UINT64_MAX, 2));
	assert_null(gpa_host(&gm, 0x1001, SIZE_MAX));
	assert_ptr_equal(gpa_host(&gm, 0x100000010, 0x1f0), high + 0x10);
	assert_true(gpa_write(&gm, 0x1000, buf, sizeof(buf)));
	assert_int_equal(written, 4);
	assert_false(gpa_write(&gm, 0x10fe, buf, sizeof(buf)));
	memset(buf, 0, sizeof(buf));
	assert_true(gpa_read(&gm, 0x1001, buf, 2));
	assert_int_equal(buf[0], 2);
	assert_false(gpa_read(&gm, 0, buf, 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_gpa),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
