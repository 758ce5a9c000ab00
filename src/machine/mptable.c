/*
 * The CPUs, and how interrupt lines run, for systems that know no ACPI or are
 * told not to use it (MultiProcessor Specification 1.4, ch. 4). Without it they
 * do not find the IOAPIC and have the i8259 alone.
 *
 * It is for what is booted without firmware; that makes its own.
 *
 * Threads: one, while no VCPU runs.
 */
#include "machine/mptable.h"

#include <assert.h>
#include <cpuid.h>
#include <stddef.h>
#include <string.h>

#define APIC_BASE	0xfee00000u
#define IOAPIC_BASE	0xfec00000u
#define SPECIFICATION	4		/* 1.4 */
#define TABLE_OFFSET	16		/* behind the pointer */
#define BUS_PCI		0		/* its number is PCI's own, too */
#define BUS_ISA		1
#define ISA_LINES	16
#define LINE_TIMER	0
#define LINE_CASCADE	2
#define ALL_APICS	0xff

enum { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_IRQ, ENTRY_LOCAL };

#define CPU_ENABLED	0x01
#define CPU_BOOTS	0x02
#define CPU_APIC_VERSION 0x14
#define IOAPIC_VERSION	0x20
#define IOAPIC_ENABLED	0x01
#define IRQ_VECTORED	0
#define IRQ_NMI		1
#define IRQ_EXTINT	3
#define CONFORM		0x0		/* as the bus has it */
#define LEVEL_HIGH	0xd

struct pointer {			/* 4.1 */
	char		signature[4];
	uint32_t	table;
	uint8_t		length, revision, checksum, features[5];
} __attribute__((packed));

struct header {				/* 4.2 */
	char		signature[4];
	uint16_t	length;
	uint8_t		revision, checksum;
	char		oem[8], product[12];
	uint32_t	oem_table;
	uint16_t	oem_size, entries;
	uint32_t	apic;
	uint16_t	extended_length;
	uint8_t		extended_checksum, reserved;
} __attribute__((packed));

struct cpu {				/* 4.3.1 */
	uint8_t		type, apic, version, flags;
	uint32_t	signature, features, reserved[2];
} __attribute__((packed));

struct ioapic {				/* 4.3.3 */
	uint8_t		type, id, version, flags;
	uint32_t	address;
} __attribute__((packed));

struct interrupt {			/* 4.3.4, 4.3.5 */
	uint8_t		type, kind;
	uint16_t	flags;
	uint8_t		bus, line, apic, pin;
} __attribute__((packed));

struct bus_entry {			/* 4.3.2 */
	uint8_t		type, id;
	char		name[6];
} __attribute__((packed));

_Static_assert(sizeof(struct pointer) == TABLE_OFFSET, "4.1");
_Static_assert(sizeof(struct header) == 44, "4.2");
_Static_assert(sizeof(struct cpu) == 20, "4.3.1");
_Static_assert(sizeof(struct bus_entry) == 8, "4.3.2");
_Static_assert(sizeof(struct ioapic) == 8, "4.3.3");
_Static_assert(sizeof(struct interrupt) == 8, "4.3.4");

/* A table that grows. */
struct table {
	uint8_t		t_data[MPTABLE_SIZE - TABLE_OFFSET];
	size_t		t_len;
	unsigned	t_entries;
};

static void
add(struct table *t, const void *entry, size_t len)
{
	assert(len <= sizeof(t->t_data) - t->t_len);
	memcpy(t->t_data + t->t_len, entry, len);
	t->t_len += len;
	t->t_entries++;
}

static void
add_cpus(struct table *t, unsigned n)
{
	struct cpu c = { .type = ENTRY_CPU, .version = CPU_APIC_VERSION };
	unsigned eax = 0, ebx, ecx, edx = 0, i;

	/* stepping, model and family of the guest's CPU are the host's */
	(void)__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	c.signature = eax & 0xfff;
	c.features = edx;
	for (i = 0; i < n; i++) {
		c.apic = (uint8_t)i;
		c.flags = i == 0 ? CPU_ENABLED | CPU_BOOTS : CPU_ENABLED;
		add(t, &c, sizeof(c));
	}
}

static void
add_bus(struct table *t, uint8_t id, const char *name)
{
	struct bus_entry b = { .type = ENTRY_BUS, .id = id };

	memset(b.name, ' ', sizeof(b.name));
	memcpy(b.name, name, strlen(name));
	add(t, &b, sizeof(b));
}

/* Lines of ISA that are not PCI's, then INTA# of each slot. */
static void
add_lines(struct table *t, const struct acpi_config *ac)
{
	struct interrupt in = { .type = ENTRY_IRQ, .kind = IRQ_VECTORED,
		.apic = (uint8_t)ac->ac_ncpus };
	unsigned slot, line, pci = 0;

	for (slot = 1; slot <= ac->ac_nslots; slot++)
		pci |= 1u << ac->ac_slot_line(slot);
	in.bus = BUS_ISA;
	for (line = 0; line < ISA_LINES; line++) {
		if (line == LINE_CASCADE || (pci & 1u << line) != 0)
			continue;
		in.flags = line == ac->ac_sci ? LEVEL_HIGH : CONFORM;
		in.line = (uint8_t)line;
		in.pin = line == LINE_TIMER ? 2 : (uint8_t)line;
		add(t, &in, sizeof(in));
	}
	in.bus = BUS_PCI;
	in.flags = CONFORM;
	for (slot = 1; slot <= ac->ac_nslots; slot++) {
		in.line = (uint8_t)(slot << 2);		/* INTA# */
		in.pin = (uint8_t)ac->ac_slot_line(slot);
		add(t, &in, sizeof(in));
	}
}

/* The i8259 is on the first CPU's LINT0, NMI on LINT1 of all. */
static void
add_local(struct table *t)
{
	struct interrupt in = { .type = ENTRY_LOCAL, .kind = IRQ_EXTINT,
		.bus = BUS_ISA, .apic = 0, .pin = 0 };

	add(t, &in, sizeof(in));
	in.kind = IRQ_NMI;
	in.apic = ALL_APICS;
	in.pin = 1;
	add(t, &in, sizeof(in));
}

bool
mptable_write(const struct acpi_config *ac, const struct guest_memory *gm)
{
	const struct ioapic io = { .type = ENTRY_IOAPIC,
		.id = (uint8_t)ac->ac_ncpus, .version = IOAPIC_VERSION,
		.flags = IOAPIC_ENABLED, .address = IOAPIC_BASE };
	struct pointer p = { .signature = { '_', 'M', 'P', '_' },
		.table = MPTABLE_AREA + TABLE_OFFSET, .length = 1,
		.revision = SPECIFICATION };
	struct header h = { .signature = { 'P', 'C', 'M', 'P' },
		.revision = SPECIFICATION,
		.oem = { 'V', 'M', 'M', ' ', ' ', ' ', ' ', ' ' },
		.product = { 'V', 'M', 'M', 'P', 'C', ' ', ' ', ' ', ' ', ' ',
		    ' ', ' ' },
		.apic = APIC_BASE };
	struct table t = { .t_len = sizeof(h) };

	/* by type, as 4.3 wants them */
	add_cpus(&t, ac->ac_ncpus);
	add_bus(&t, BUS_PCI, "PCI");
	add_bus(&t, BUS_ISA, "ISA");
	add(&t, &io, sizeof(io));
	add_lines(&t, ac);
	add_local(&t);
	h.length = (uint16_t)t.t_len;
	h.entries = (uint16_t)t.t_entries;
	memcpy(t.t_data, &h, sizeof(h));
	h.checksum = acpi_checksum(t.t_data, t.t_len);
	memcpy(t.t_data, &h, sizeof(h));
	p.checksum = acpi_checksum(&p, sizeof(p));
	return (gpa_write(gm, MPTABLE_AREA, &p, sizeof(p)) &&
	    gpa_write(gm, MPTABLE_AREA + TABLE_OFFSET, t.t_data, t.t_len));
}
