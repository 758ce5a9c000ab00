/*
 * The ACPI tables (ACPI 6.4 ch. 5): RSDP, RSDT, XSDT, FADT, FACS, MADT, DSDT.
 *
 * They are built without a place: pointers are offsets in the tables, and
 * checksums are not made. Either acpi_write() gives them their place, from
 * 0xE0000 upwards in memory that the memory map calls reserved, or firmware
 * does, by what acpi_loader() writes down for it.
 *
 * Threads: one, while no VCPU runs.
 */
#include "machine/acpi.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "machine/aml.h"
#include "machine/power.h"

#define APIC_BASE	0xfee00000u
#define IOAPIC_BASE	0xfec00000u
#define PCI_MEM_FIRST	0xf0000000u
#define PCI_MEM_LAST	0xfebfffffu
#define CMOS_CENTURY	0x32

/* FADT (5.2.9) */
#define BOOT_LEGACY	0x0001		/* ISA devices: COM1 */
#define BOOT_NO_VGA	0x0004
#define BOOT_NO_MSI	0x0008
#define BOOT_NO_ASPM	0x0010
#define FADT_WBINVD	0x00000001
#define FADT_PROC_C1	0x00000004
#define FADT_NO_SLEEP	0x00000020	/* no fixed sleep button */
#define FADT_NO_FIX_RTC	0x00000040	/* RTC does not wake */
#define FADT_RESET	0x00000400
#define C2_NEVER	101		/* us; more than 100: none */
#define C3_NEVER	1001

/* MADT (5.2.12) */
#define MADT_PCAT	1
#define MADT_ENABLED	1
#define ISO_CONFORM	0x0
#define ISO_HIGH_LEVEL	0xd

struct gas {			/* generic address, 5.2.3.2 */
	uint8_t		space, width, offset, access;
	uint64_t	address;
} __attribute__((packed));

struct header {			/* 5.2.6 */
	char		signature[4];
	uint32_t	length;
	uint8_t		revision, checksum;
	char		oem[6], oem_table[8];
	uint32_t	oem_revision;
	char		creator[4];
	uint32_t	creator_revision;
} __attribute__((packed));

struct rsdp {			/* 5.2.5.3 */
	char		signature[8];
	uint8_t		checksum;
	char		oem[6];
	uint8_t		revision;
	uint32_t	rsdt, length;
	uint64_t	xsdt;
	uint8_t		checksum_all, reserved[3];
} __attribute__((packed));

struct fadt {
	struct header	h;
	uint32_t	facs, dsdt;
	uint8_t		reserved0, profile;
	uint16_t	sci;
	uint32_t	smi_command;
	uint8_t		acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t	pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	uint32_t	pm2_control, pm_timer, gpe0, gpe1;
	uint8_t		pm1_event_len, pm1_control_len, pm2_control_len;
	uint8_t		pm_timer_len, gpe0_len, gpe1_len, gpe1_base, cst;
	uint16_t	c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t		duty_offset, duty_width, day_alarm, month_alarm;
	uint8_t		century;
	uint16_t	boot_arch;
	uint8_t		reserved1;
	uint32_t	flags;
	struct gas	reset;
	uint8_t		reset_value;
	uint16_t	arm_boot_arch;
	uint8_t		minor;
	uint64_t	x_facs, x_dsdt;
	struct gas	x_pm1a_event, x_pm1b_event, x_pm1a_control;
	struct gas	x_pm1b_control, x_pm2_control, x_pm_timer;
	struct gas	x_gpe0, x_gpe1, sleep_control, sleep_status;
	uint64_t	hypervisor;
} __attribute__((packed));

struct facs {
	char		signature[4];
	uint32_t	length, hardware, waking, lock, flags;
	uint64_t	x_waking;
	uint8_t		version, reserved[31];
} __attribute__((packed));

_Static_assert(sizeof(struct header) == 36, "5.2.6");
_Static_assert(sizeof(struct rsdp) == 36, "5.2.5.3");
_Static_assert(sizeof(struct fadt) == 276, "5.2.9");
_Static_assert(sizeof(struct facs) == 64, "5.2.10");

_Static_assert(sizeof(struct rsdp) == ACPI_RSDP_SIZE, "acpi.h");
_Static_assert(offsetof(struct header, checksum) == ACPI_SUM_OFFSET, "acpi.h");

uint8_t
acpi_checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len-- > 0)
		sum = (uint8_t)(sum + *p++);
	return ((uint8_t)-sum);
}

static struct header
header(const char *signature, uint8_t revision)
{
	struct header h = { .revision = revision, .oem_revision = 1,
		.creator_revision = 1 };

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem, "VMM   ", sizeof(h.oem));
	memcpy(h.oem_table, "VMMPC   ", sizeof(h.oem_table));
	memcpy(h.creator, "VMM ", sizeof(h.creator));
	return (h);
}

/* Adds len bytes on a 64-byte boundary; returns their offset. */
static uint32_t
area_add(struct acpi_tables *at, const void *data, size_t len)
{
	size_t offset = (at->at_len + 63) & ~(size_t)63;

	assert(offset + len <= sizeof(at->at_data));
	memcpy(at->at_data + offset, data, len);
	at->at_len = offset + len;
	return ((uint32_t)offset);
}

/* Same for a table that begins with a header, which gets its length. */
static uint32_t
area_add_table(struct acpi_tables *at, void *table, size_t len)
{
	struct header *h = table;
	uint32_t offset;

	h->length = (uint32_t)len;
	h->checksum = 0;
	offset = area_add(at, table, len);
	assert(at->at_nsums < ACPI_SUMS_MAX);
	at->at_sum[at->at_nsums].start = offset;
	at->at_sum[at->at_nsums++].len = (uint32_t)len;
	return (offset);
}

/* The field of size bytes at offset holds the offset of a table. */
static void
area_pointer(struct acpi_tables *at, size_t offset, uint8_t size)
{
	assert(at->at_npointers < ACPI_POINTERS_MAX);
	at->at_pointer[at->at_npointers].offset = (uint32_t)offset;
	at->at_pointer[at->at_npointers++].size = size;
}

/* --- DSDT ---------------------------------------------------------------- */

/* \_SB.name: an ISA device with ports and a line (-1: none). */
static const struct {
	const char *name, *id;
	struct { uint16_t base; uint8_t len; } ports[4];
	int line;
} isa[] = {
	{ "PIC", "PNP0000", { { 0x20, 2 }, { 0xa0, 2 }, { 0x4d0, 2 } }, 2 },
	{ "TMR", "PNP0100", { { 0x40, 4 } }, 0 },
	{ "RTC", "PNP0B00", { { 0x70, 2 } }, 8 },
	{ "COM1", "PNP0501", { { 0x3f8, 8 } }, 4 },
	{ "SYS", "PNP0C02", { { 0x61, 1 }, { 0x80, 1 }, { 0x92, 1 },
	    { ACPI_PM1_EVENT, 16 } }, -1 },
};

static void
dsdt_isa(struct aml *a)
{
	size_t dev, res;
	unsigned i, p;

	for (i = 0; i < sizeof(isa) / sizeof(isa[0]); i++) {
		dev = aml_begin_device(a, isa[i].name);
		aml_name_object(a, "_HID");
		aml_eisaid(a, isa[i].id);
		aml_name_object(a, "_UID");
		aml_integer(a, 1);
		aml_name_object(a, "_CRS");
		res = aml_begin_resources(a);
		for (p = 0; p < 4 && isa[i].ports[p].len > 0; p++)
			aml_io(a, isa[i].ports[p].base, isa[i].ports[p].len);
		if (isa[i].line >= 0)
			aml_irq(a, (unsigned)isa[i].line);
		aml_end_resources(a, res);
		aml_end(a, dev);
	}
}

static void
dsdt_pci(struct aml *a, const struct acpi_config *ac)
{
	size_t dev, res, table, entry;
	unsigned slot;

	dev = aml_begin_device(a, "PCI0");
	aml_name_object(a, "_HID");
	aml_eisaid(a, "PNP0A03");
	aml_name_object(a, "_UID");
	aml_integer(a, 0);
	aml_name_object(a, "_BBN");
	aml_integer(a, 0);
	aml_name_object(a, "_CRS");
	res = aml_begin_resources(a);
	aml_bus_range(a, 0, 0);
	aml_io(a, 0xcf8, 8);
	aml_io_range(a, 0x0000, 0x0cf7);
	aml_io_range(a, 0x0d00, 0xffff);
	aml_memory_range(a, PCI_MEM_FIRST, PCI_MEM_LAST);
	aml_end_resources(a, res);

	/* INTA# of each slot is a global interrupt, with no link between */
	aml_name_object(a, "_PRT");
	table = aml_begin_package(a, (uint8_t)ac->ac_nslots);
	for (slot = 1; slot <= ac->ac_nslots; slot++) {
		entry = aml_begin_package(a, 4);
		aml_integer(a, (uint64_t)slot << 16 | 0xffff);
		aml_integer(a, 0);
		aml_integer(a, 0);
		aml_integer(a, ac->ac_slot_line(slot));
		aml_end(a, entry);
	}
	aml_end(a, table);
	aml_end(a, dev);
}

static uint32_t
dsdt_add(struct acpi_tables *at, const struct acpi_config *ac)
{
	uint8_t buf[4096];
	struct aml a = { .a_data = buf, .a_size = sizeof(buf) };
	struct header h = header("DSDT", 2);
	size_t mark;

	aml_bytes(&a, &h, sizeof(h));
	aml_name_object(&a, "\\_S5");
	mark = aml_begin_package(&a, 4);
	aml_integer(&a, ACPI_SLP_TYP_S5);
	aml_integer(&a, ACPI_SLP_TYP_S5);
	aml_integer(&a, 0);
	aml_integer(&a, 0);
	aml_end(&a, mark);
	mark = aml_begin_scope(&a, "\\_SB");
	dsdt_pci(&a, ac);
	dsdt_isa(&a);
	aml_end(&a, mark);
	return (area_add_table(at, buf, a.a_len));
}

/* --- the other tables ---------------------------------------------------- */

static struct gas
io_gas(uint16_t port, uint8_t bytes)
{
	return ((struct gas){ .space = 1, .width = (uint8_t)(bytes * 8),
	    .access = bytes == 4 ? 3 : bytes, .address = port });
}

static uint32_t
fadt_add(struct acpi_tables *at, const struct acpi_config *ac, uint32_t dsdt)
{
	struct facs facs = { .signature = "FACS", .length = sizeof(facs),
		.version = 2 };
	struct fadt f = {
		.h = header("FACP", 6), .minor = 4,
		.facs = area_add(at, &facs, sizeof(facs)),
		.dsdt = dsdt, .x_dsdt = dsdt,
		.profile = 1,			/* desktop */
		.sci = (uint16_t)ac->ac_sci,
		.pm1a_event = ACPI_PM1_EVENT, .pm1_event_len = 4,
		.pm1a_control = ACPI_PM1_CONTROL, .pm1_control_len = 2,
		.pm_timer = ACPI_PM_TIMER, .pm_timer_len = 4,
		.c2_latency = C2_NEVER, .c3_latency = C3_NEVER,
		.century = CMOS_CENTURY,
		.boot_arch = BOOT_LEGACY | BOOT_NO_VGA | BOOT_NO_MSI |
		    BOOT_NO_ASPM,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP |
		    FADT_NO_FIX_RTC | FADT_RESET,
		.reset = io_gas(RESET_PORT, 1), .reset_value = RESET_VALUE,
		.x_pm1a_event = io_gas(ACPI_PM1_EVENT, 4),
		.x_pm1a_control = io_gas(ACPI_PM1_CONTROL, 2),
		.x_pm_timer = io_gas(ACPI_PM_TIMER, 4)
	};
	uint32_t fadt = area_add_table(at, &f, sizeof(f));

	area_pointer(at, fadt + offsetof(struct fadt, facs), 4);
	area_pointer(at, fadt + offsetof(struct fadt, dsdt), 4);
	area_pointer(at, fadt + offsetof(struct fadt, x_dsdt), 8);
	return (fadt);
}

static void
little(struct aml *a, uint32_t v, unsigned size)
{
	for (; size > 0; size--, v >>= 8)
		aml_byte(a, (uint8_t)v);
}

static void
madt_override(struct aml *a, unsigned irq, unsigned gsi, unsigned flags)
{
	little(a, 2 | 10 << 8, 2);		/* type, length */
	little(a, irq << 8, 2);			/* bus 0, source */
	little(a, gsi, 4);
	little(a, flags, 2);
}

static uint32_t
madt_add(struct acpi_tables *at, const struct acpi_config *ac)
{
	uint8_t buf[1024];
	struct aml a = { .a_data = buf, .a_size = sizeof(buf) };
	struct header h = header("APIC", 5);
	unsigned i;

	aml_bytes(&a, &h, sizeof(h));
	little(&a, APIC_BASE, 4);
	little(&a, MADT_PCAT, 4);
	for (i = 0; i < ac->ac_ncpus; i++) {	/* local APIC */
		little(&a, 0 | 8 << 8, 2);
		little(&a, i | i << 8, 2);	/* UID, APIC id */
		little(&a, MADT_ENABLED, 4);
	}
	little(&a, 1 | 12 << 8, 2);		/* IOAPIC, id after the CPUs' */
	little(&a, ac->ac_ncpus, 2);
	little(&a, IOAPIC_BASE, 4);
	little(&a, 0, 4);			/* GSIs from 0 */
	madt_override(&a, 0, 2, ISO_CONFORM);	/* the timer is on pin 2 */
	madt_override(&a, ac->ac_sci, ac->ac_sci, ISO_HIGH_LEVEL);
	little(&a, 4 | 6 << 8, 2);		/* NMI: LINT1 of all */
	little(&a, 0xff, 1);
	little(&a, 0, 2);
	little(&a, 1, 1);
	return (area_add_table(at, buf, a.a_len));
}

/* RSDT and XSDT differ in the size of their entries. */
static uint32_t
root_add(struct acpi_tables *at, const char *signature, unsigned size,
    const uint32_t *tables, unsigned n)
{
	uint8_t buf[128];
	struct aml a = { .a_data = buf, .a_size = sizeof(buf) };
	struct header h = header(signature, 1);
	uint32_t root;
	unsigned i;

	aml_bytes(&a, &h, sizeof(h));
	for (i = 0; i < n; i++) {
		little(&a, tables[i], 4);
		if (size == 8)
			little(&a, 0, 4);
	}
	root = area_add_table(at, buf, a.a_len);
	for (i = 0; i < n; i++)
		area_pointer(at, root + sizeof(h) + i * size, (uint8_t)size);
	return (root);
}

void
acpi_build(struct acpi_tables *at, const struct acpi_config *ac)
{
	static const char signature[8] = { 'R', 'S', 'D', ' ', 'P', 'T', 'R',
		' ' };
	struct rsdp rsdp = { .revision = 2, .length = sizeof(rsdp) };
	uint32_t tables[2];

	memset(at, 0, sizeof(*at));
	tables[0] = fadt_add(at, ac, dsdt_add(at, ac));
	tables[1] = madt_add(at, ac);
	memcpy(rsdp.signature, signature, sizeof(signature));
	memcpy(rsdp.oem, "VMM   ", sizeof(rsdp.oem));
	rsdp.rsdt = root_add(at, "RSDT", 4, tables, 2);
	rsdp.xsdt = root_add(at, "XSDT", 8, tables, 2);
	memcpy(at->at_rsdp, &rsdp, sizeof(rsdp));
}

/* --- their place --------------------------------------------------------- */

/* Adds base to a little-endian field. */
static void
relocate(uint8_t *field, unsigned size, uint64_t base)
{
	uint64_t v = 0;

	memcpy(&v, field, size);
	v += base;
	memcpy(field, &v, size);
}

uint64_t
acpi_write(const struct acpi_config *ac, const struct guest_memory *gm)
{
	const uint32_t base = ACPI_AREA + ACPI_TABLES;
	struct acpi_tables at;
	struct rsdp rsdp;
	uint8_t *sum;
	unsigned i;

	acpi_build(&at, ac);
	for (i = 0; i < at.at_npointers; i++)
		relocate(at.at_data + at.at_pointer[i].offset,
		    at.at_pointer[i].size, base);
	for (i = 0; i < at.at_nsums; i++) {
		sum = at.at_data + at.at_sum[i].start;
		sum[ACPI_SUM_OFFSET] = acpi_checksum(sum, at.at_sum[i].len);
	}
	memcpy(&rsdp, at.at_rsdp, sizeof(rsdp));
	rsdp.rsdt += base;
	rsdp.xsdt += base;
	rsdp.checksum = acpi_checksum(&rsdp, ACPI_RSDP_PART);
	rsdp.checksum_all = acpi_checksum(&rsdp, sizeof(rsdp));
	if (!gpa_write(gm, base, at.at_data, at.at_len) ||
	    !gpa_write(gm, ACPI_AREA, &rsdp, sizeof(rsdp)))
		return (0);
	return (ACPI_AREA);
}
