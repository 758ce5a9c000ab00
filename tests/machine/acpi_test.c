/*
 * machine/acpi and machine/aml: every table's length and checksum, the tree
 * from the root pointer, numbers that must agree with the chips; iasl's
 * opinion of the AML where it is installed. Also the chips behind the tables:
 * ACPI's registers, the reset ports, the keyboard controller.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/fakeclock.h"
#include "machine/acpi.h"
#include "machine/aml.h"
#include "machine/power.h"

static uint8_t *ram;
static struct guest_memory gm;

static unsigned
slot_line(unsigned slot)
{
	return (slot + 9);
}

static const struct acpi_config config = {
	.ac_ncpus = 3, .ac_nslots = 9, .ac_slot_line = slot_line, .ac_sci = 9
};

static uint64_t
le(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

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

/* The table at an address, with its signature, length and checksum checked. */
static const uint8_t *
table(uint64_t at, const char *signature)
{
	const uint8_t *p = ram + at;
	size_t len = le(p + 4, 4);

	assert_in_range(at, ACPI_AREA, ACPI_AREA + ACPI_AREA_USED - 1);
	assert_memory_equal(p, signature, 4);
	assert_true(at + len <= ACPI_AREA + ACPI_AREA_USED);
	assert_true(len >= 36);
	assert_int_equal(sum(p, len), 0);
	return (p);
}

static int
setup(void **state)
{
	(void)state;
	ram = calloc(1, 1 << 20);
	gm = (struct guest_memory){ .gm_nranges = 1,
		.gm_range = { { 0, ram, 1 << 20 } } };
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	free(ram);
	return (0);
}

static void
test_tree(void **state)
{
	const uint8_t *rsdp, *xsdt, *rsdt, *fadt, *madt, *dsdt, *facs;
	uint64_t at = acpi_write(&config, &gm);

	(void)state;
	assert_int_equal(at, 0xe0000);
	rsdp = ram + at;
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(le(rsdp + 20, 4), 36);
	assert_int_equal(sum(rsdp, 36), 0);
	xsdt = table(le(rsdp + 24, 8), "XSDT");
	rsdt = table(le(rsdp + 16, 4), "RSDT");
	assert_int_equal(le(xsdt + 4, 4), 36 + 16);
	assert_int_equal(le(rsdt + 4, 4), 36 + 8);
	assert_int_equal(le(xsdt + 36, 8), le(rsdt + 36, 4));
	assert_int_equal(le(xsdt + 44, 8), le(rsdt + 40, 4));
	fadt = table(le(xsdt + 36, 8), "FACP");
	madt = table(le(xsdt + 44, 8), "APIC");
	assert_int_equal(le(fadt + 4, 4), 276);
	assert_int_equal(fadt[8], 6);
	dsdt = table(le(fadt + 140, 8), "DSDT");
	assert_int_equal(le(fadt + 140, 8), le(fadt + 40, 4));
	assert_int_equal(dsdt[8], 2);
	facs = ram + le(fadt + 36, 4);
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(le(fadt + 36, 4) % 64, 0);
	assert_int_equal(le(facs + 4, 4), 64);
	/* the chips' places */
	assert_int_equal(le(fadt + 46, 2), 9);
	assert_int_equal(le(fadt + 48, 4), 0);
	assert_int_equal(le(fadt + 56, 4), ACPI_PM1_EVENT);
	assert_int_equal(le(fadt + 64, 4), ACPI_PM1_CONTROL);
	assert_int_equal(le(fadt + 76, 4), ACPI_PM_TIMER);
	assert_int_equal(le(fadt + 148 + 4, 8), ACPI_PM1_EVENT);
	assert_int_equal(le(fadt + 172 + 4, 8), ACPI_PM1_CONTROL);
	assert_int_equal(le(fadt + 208 + 4, 8), ACPI_PM_TIMER);
	assert_int_equal(le(fadt + 112, 4) & 0x400, 0x400);
	assert_int_equal(fadt[116], 1);
	assert_int_equal(le(fadt + 120, 8), 0xcf9);
	assert_int_equal(fadt[128], 6);
	assert_int_equal(le(fadt + 109, 2) & 0x6, 0x4);	/* no VGA, no 8042 */
	assert_int_equal(le(madt + 36, 4), 0xfee00000);
}

static void
test_madt(void **state)
{
	const uint8_t *madt, *p;
	unsigned cpus = 0, ioapics = 0, overrides = 0, nmis = 0;

	(void)state;
	acpi_write(&config, &gm);
	madt = ram + le(ram + le(ram + 0xe0000 + 24, 8) + 44, 8);
	for (p = madt + 44; p < madt + le(madt + 4, 4); p += p[1]) {
		assert_true(p[1] >= 2);
		switch (p[0]) {
		case 0:
			assert_int_equal(p[3], cpus);
			assert_int_equal(le(p + 4, 4), 1);
			cpus++;
			break;
		case 1:
			assert_int_equal(p[2], 3);
			assert_int_equal(le(p + 4, 4), 0xfec00000);
			assert_int_equal(le(p + 8, 4), 0);
			ioapics++;
			break;
		case 2:
			if (p[3] == 0)
				assert_int_equal(le(p + 4, 4), 2);
			else
				assert_int_equal(le(p + 8, 2), 0xd);
			overrides++;
			break;
		case 4:
			assert_int_equal(p[5], 1);
			nmis++;
			break;
		default:
			fail();
		}
	}
	assert_ptr_equal(p, madt + le(madt + 4, 4));
	assert_int_equal(cpus, 3);
	assert_int_equal(ioapics, 1);
	assert_int_equal(overrides, 2);
	assert_int_equal(nmis, 1);
}

/*
 * What firmware does by the script, with the files where acpi_write() puts the
 * tables: the result is the same, byte by byte.
 */
static void
test_loader(void **state)
{
	static uint8_t script[ACPI_LOADER_MAX * ACPI_LOADER_STEP];
	static struct acpi_tables at;
	const uint64_t base = ACPI_AREA + ACPI_TABLES;
	size_t len, i, k, allocated = 0;
	uint32_t offset, start, count;
	uint8_t *p, *file, sum;
	uint64_t v;

	(void)state;
	acpi_build(&at, &config);
	len = acpi_loader(&at, script);
	assert_int_equal(len % ACPI_LOADER_STEP, 0);
	assert_true(len <= sizeof(script));
	for (i = 0; i < len; i += ACPI_LOADER_STEP) {
		p = script + i;
		file = strcmp((char *)p + 4, ACPI_FILE_RSDP) == 0 ?
		    at.at_rsdp : at.at_data;
		if (file == at.at_data)
			assert_string_equal(p + 4, ACPI_FILE_TABLES);
		switch (le(p, 4)) {
		case 1:
			assert_int_equal(le(p + 60, 4),
			    file == at.at_rsdp ? 16 : 64);
			assert_int_equal(p[64], file == at.at_rsdp ? 2 : 1);
			allocated++;
			break;
		case 2:
			assert_int_equal(allocated, 2);
			assert_string_equal(p + 60, ACPI_FILE_TABLES);
			offset = (uint32_t)le(p + 116, 4);
			v = le(file + offset, p[120]) + base;
			memcpy(file + offset, &v, p[120]);
			break;
		case 3:
			offset = (uint32_t)le(p + 60, 4);
			start = (uint32_t)le(p + 64, 4);
			count = (uint32_t)le(p + 68, 4);
			for (sum = 0, k = start; k < start + count; k++)
				sum = (uint8_t)(sum + file[k]);
			file[offset] = (uint8_t)(file[offset] - sum);
			break;
		default:
			fail();
		}
	}
	assert_int_equal(acpi_write(&config, &gm), ACPI_AREA);
	assert_memory_equal(gpa_host(&gm, ACPI_AREA, ACPI_RSDP_SIZE),
	    at.at_rsdp, ACPI_RSDP_SIZE);
	assert_memory_equal(gpa_host(&gm, base, at.at_len), at.at_data,
	    at.at_len);
}

static void
test_no_memory(void **state)
{
	(void)state;
	gm.gm_range[0].size = ACPI_AREA;
	assert_int_equal(acpi_write(&config, &gm), 0);
}

/* PkgLength at its boundaries: 1, 2 and 3 bytes of it. */
static void
test_package_length(void **state)
{
	static const struct {
		size_t content;
		uint8_t bytes[3];
		unsigned n;
	} cases[] = {
		{ 57, { 0x3f }, 1 },
		{ 58, { 0x41, 0x04 }, 2 },
		{ 4088, { 0x4f, 0xff }, 2 },
		{ 4089, { 0x81, 0x00, 0x01 }, 3 },
	};
	static uint8_t buf[8192], zero[8192];
	struct aml a;
	unsigned i, j;
	size_t mark;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		a = (struct aml){ .a_data = buf, .a_size = sizeof(buf) };
		mark = aml_begin_scope(&a, "\\_SB");
		aml_bytes(&a, zero, cases[i].content);
		aml_end(&a, mark);
		assert_int_equal(a.a_len, 1 + cases[i].n + 5 +
		    cases[i].content);
		assert_int_equal(buf[0], 0x10);
		for (j = 0; j < cases[i].n; j++)
			assert_int_equal(buf[1 + j], cases[i].bytes[j]);
		assert_memory_equal(buf + 1 + cases[i].n, "\\_SB_", 5);
	}
}

static void
test_terms(void **state)
{
	static const uint8_t want[] = {
		0x00, 0x01, 0x0a, 0x02, 0x0b, 0x00, 0x01,
		0x0c, 0x00, 0x00, 0x01, 0x00,
		0x0e, 0, 0, 0, 0, 1, 0, 0, 0,
		0x0c, 0x41, 0xd0, 0x05, 0x01,		/* PNP0501 */
		0x0d, 'o', 'k', 0,
		0x08, '\\', 0x2e, '_', 'S', 'B', '_', 'C', 'O', 'M', '1',
	};
	uint8_t buf[100];
	struct aml a = { .a_data = buf, .a_size = sizeof(buf) };

	(void)state;
	aml_integer(&a, 0);
	aml_integer(&a, 1);
	aml_integer(&a, 2);
	aml_integer(&a, 0x100);
	aml_integer(&a, 0x10000);
	aml_integer(&a, 0x100000000);
	aml_eisaid(&a, "PNP0501");
	aml_string(&a, "ok");
	aml_name_object(&a, "\\_SB.COM1");
	assert_int_equal(a.a_len, sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
}

/* What iasl makes of the DSDT: no errors, and the devices are in it. */
static void
test_iasl(void **state)
{
	static const char *const words[] = { "PNP0A03", "PNP0501", "_PRT",
		"_S5", "0x03F8", "0x0009FFFF", "WordBusNumber",
		"0xF0000000", "PNP0B00" };
	char dir[] = "/tmp/acpi_test.XXXXXX", path[64], cmd[256];
	char *text;
	const uint8_t *dsdt;
	FILE *fp;
	size_t n;
	unsigned i;

	(void)state;
	if (system("command -v iasl >/dev/null") != 0) {
		print_message("# skipped: no iasl here\n");
		return;
	}
	acpi_write(&config, &gm);
	dsdt = ram + le(ram + le(ram + le(ram + 0xe0000 + 24, 8) + 36, 8) +
	    140, 8);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
	fp = fopen(path, "w");
	assert_int_equal(fwrite(dsdt, 1, le(dsdt + 4, 4), fp),
	    le(dsdt + 4, 4));
	fclose(fp);
	/* disassemble, then compile what came out: 0 errors, 0 warnings */
	snprintf(cmd, sizeof(cmd), "cd %s && iasl -d dsdt.aml >log 2>&1 && "
	    "iasl dsdt.dsl >log2 2>&1 && grep -q ' 0 Errors, 0 Warnings' log2",
	    dir);
	if (system(cmd) != 0) {
		snprintf(cmd, sizeof(cmd), "sed 's/^/# /' %s/log*", dir);
		(void)!system(cmd);
		fail();
	}
	snprintf(path, sizeof(path), "%s/dsdt.dsl", dir);
	fp = fopen(path, "r");
	text = calloc(1, 1 << 20);
	n = fread(text, 1, (1 << 20) - 1, fp);
	assert_true(n > 0);
	fclose(fp);
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(text, words[i]) == NULL)
			fail_msg("no %s in the DSDT", words[i]);
	free(text);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* --- the chips ----------------------------------------------------------- */

static unsigned resets, offs;

static void
on_reset(void *arg)
{
	(void)arg;
	resets++;
}

static void
on_off(void *arg)
{
	(void)arg;
	offs++;
}

static const struct power power = { on_reset, on_off, NULL };

static void
test_pm(void **state)
{
	struct fakeclock clk;
	struct fakeirq line = { 0 };
	struct irq sci = { .i_set = fakeirq_set, .i_arg = &line };
	struct bus *ports = bus_new();
	struct acpi_pm *pm;

	(void)state;
	offs = 0;
	fakeclock_init(&clk, 5, 0);
	pm = acpi_pm_new(ports, &clk.fc_clock, &sci, &power);
	assert_non_null(pm);
	acpi_pm_reset(pm);
	/* ACPI mode from the start */
	assert_int_equal(bus_read(ports, 0x604, 2), 0x0001);
	assert_int_equal(bus_read(ports, 0x600, 4), 0);
	/* the timer */
	fakeclock_run(&clk, NS_PER_SECOND);
	assert_int_equal(bus_read(ports, 0x608, 4), 3579545);
	fakeclock_run(&clk, 10 * NS_PER_SECOND);
	assert_int_equal(bus_read(ports, 0x608, 4),
	    11ull * 3579545 & 0xffffff);
	bus_write(ports, 0x608, 4, 0);
	/* its top bit has changed, four times by now */
	assert_int_equal(bus_read(ports, 0x600, 2), 0x0001);
	bus_write(ports, 0x600, 2, 0x0001);
	assert_int_equal(bus_read(ports, 0x600, 2), 0);
	bus_write(ports, 0x602, 2, 0x0001);
	assert_int_equal(line.fi_level, 0);
	fakeclock_run(&clk, 2400000000);
	assert_int_equal(line.fi_level, 1);
	bus_write(ports, 0x600, 4, 0x00010001);
	assert_int_equal(line.fi_level, 0);
	assert_int_equal(bus_read(ports, 0x602, 2), 1);
	bus_write(ports, 0x602, 1, 0);
	assert_int_equal(fakeclock_armed(&clk), 0);
	/* the button */
	assert_int_equal(acpi_pm_button_state(pm), ACPI_BUTTON_OFF);
	acpi_pm_button(pm);
	assert_int_equal(line.fi_level, 0);
	assert_int_equal(acpi_pm_button_state(pm), ACPI_BUTTON_OFF);
	assert_int_equal(bus_read(ports, 0x600, 2) & 0x100, 0x100);
	bus_write(ports, 0x603, 1, 0x01);	/* PWRBTN_EN, as a byte */
	assert_int_equal(line.fi_level, 1);
	assert_int_equal(acpi_pm_button_state(pm), ACPI_BUTTON_WAITS);
	bus_write(ports, 0x601, 1, 0x01);
	assert_int_equal(line.fi_level, 0);
	assert_int_equal(acpi_pm_button_state(pm), ACPI_BUTTON_SEEN);
	bus_write(ports, 0x603, 1, 0x00);	/* as who shuts down does */
	assert_int_equal(acpi_pm_button_state(pm), ACPI_BUTTON_SEEN);
	/* soft off: the right sleep type, and only with SLP_EN */
	bus_write(ports, 0x604, 2, 5 << 10);
	assert_int_equal(offs, 0);
	bus_write(ports, 0x604, 2, 1 << 10 | 1 << 13);
	assert_int_equal(offs, 0);
	bus_write(ports, 0x604, 2, 5 << 10 | 1 << 13);
	assert_int_equal(offs, 1);
	assert_int_equal(bus_read(ports, 0x604, 2), 5 << 10 | 1);
	bus_write(ports, 0x605, 1, 0x34);	/* the same in its byte */
	assert_int_equal(offs, 2);
	/* what was pressed before a reset is forgotten */
	acpi_pm_reset(pm);
	assert_int_equal(acpi_pm_button_state(pm), ACPI_BUTTON_OFF);
	bus_write(ports, 0x602, 2, 0x100);
	bus_write(ports, 0x600, 2, 0x100);
	assert_int_equal(acpi_pm_button_state(pm), ACPI_BUTTON_WAITS);
	acpi_pm_free(pm);
	bus_free(ports);
}

static void
test_reset_ports(void **state)
{
	struct bus *ports = bus_new();
	struct reset *r = reset_new(ports, &power);
	const struct window *w = reset_window(r);

	(void)state;
	resets = 0;
	assert_int_equal(bus_read(ports, 0x92, 1), 2);
	bus_write(ports, 0x92, 1, 0);		/* A20 stays open */
	assert_int_equal(bus_read(ports, 0x92, 1), 2);
	assert_int_equal(resets, 0);
	bus_write(ports, 0x92, 1, 3);
	assert_int_equal(resets, 1);
	bus_write(ports, 0x92, 1, 3);		/* no new edge */
	assert_int_equal(resets, 1);
	w->w_write(w->w_arg, 0, 1, 0x02);
	assert_int_equal(resets, 1);
	w->w_write(w->w_arg, 0, 1, 0x06);
	assert_int_equal(resets, 2);
	assert_int_equal(w->w_read(w->w_arg, 0, 1), 0x06);
	reset_reset(r);
	assert_int_equal(w->w_read(w->w_arg, 0, 1), 0);
	w->w_write(w->w_arg, 0, 1, 0x0e);
	assert_int_equal(resets, 3);
	bus_write(ports, 0x80, 1, 0x42);
	assert_int_equal(bus_read(ports, 0x80, 1), 0x42);
	reset_free(r);
	bus_free(ports);
}

static void
test_i8042(void **state)
{
	struct bus *ports = bus_new();
	struct i8042 *k = i8042_new(ports, &power);

	(void)state;
	resets = 0;
	assert_int_equal(bus_read(ports, 0x64, 1) & 0x03, 0);
	bus_write(ports, 0x64, 1, 0xaa);
	assert_int_equal(bus_read(ports, 0x64, 1) & 0x01, 1);
	assert_int_equal(bus_read(ports, 0x60, 1), 0x55);
	assert_int_equal(bus_read(ports, 0x64, 1) & 0x01, 0);
	bus_write(ports, 0x64, 1, 0x60);
	bus_write(ports, 0x60, 1, 0x47);
	bus_write(ports, 0x64, 1, 0x20);
	assert_int_equal(bus_read(ports, 0x60, 1), 0x47);
	bus_write(ports, 0x60, 1, 0xff);	/* to a keyboard: silence */
	assert_int_equal(bus_read(ports, 0x64, 1) & 0x01, 0);
	bus_write(ports, 0x64, 1, 0xff);	/* pulses nothing */
	assert_int_equal(resets, 0);
	bus_write(ports, 0x64, 1, 0xfe);
	assert_int_equal(resets, 1);
	bus_write(ports, 0x64, 1, 0xd1);
	bus_write(ports, 0x60, 1, 0xdf);
	assert_int_equal(resets, 1);
	bus_write(ports, 0x64, 1, 0xd1);
	bus_write(ports, 0x60, 1, 0xde);
	assert_int_equal(resets, 2);
	i8042_free(k);
	bus_free(ports);
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_tree), T(test_madt), T(test_loader), T(test_no_memory),
		T(test_package_length), T(test_terms), T(test_iasl),
		T(test_pm), T(test_reset_ports), T(test_i8042),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
