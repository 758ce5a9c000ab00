/*
 * The local APIC: registers of both faces, priorities, errors, pins, messages.
 * The timer is in lapic_timer_test.c.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../lib/apic_fixture.h"
#include "vmm/cpuid.h"

#define ARRAY(a)	(sizeof(a) / sizeof((a)[0]))

enum { ID = 0x20, VERSION = 0x30, TPR = 0x80, APR = 0x90, PPR = 0xa0,
    EOI = 0xb0, RRD = 0xc0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100,
    TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310,
    LVTT = 0x320, LVTTH = 0x330, LVTPC = 0x340, LVT0 = 0x350, LVT1 = 0x360,
    LVTE = 0x370, TMICT = 0x380, TMCCT = 0x390, TDCR = 0x3e0 };

#define ICR_TO_SELF	0x40000u
#define ICR_TO_ALL	0x80000u
#define ICR_TO_OTHERS	0xc0000u
#define ICR_LOGICAL	0x00800u
#define ICR_ASSERT	0x04000u

static struct apic_fixture fix;

static int
setup(void **state)
{
	unsigned i;

	(void)state;
	apic_fixture_start(&fix);
	for (i = 1; i < FIXTURE_CPUS; i++)
		lapic_turn_on(fix.af_lapic[i]);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	apic_fixture_end(&fix);
	return (0);
}

static void
self_ipi(struct lapic *l, unsigned vector)
{
	lapic_put(l, ICR, ICR_TO_SELF | vector);
}

static bool
bit(struct lapic *l, unsigned base, unsigned vector)
{
	return ((lapic_get(l, base + vector / 32 * 0x10) >> vector % 32 & 1) !=
	    0);
}

/* Takes the vector that waits, or -1, and ends it. */
static int
take(struct lapic *l)
{
	if (lapic_pending(l) < 0)
		return (-1);
	return (lapic_accept(l));
}

static void
power_on(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	unsigned i;

	(void)state;
	assert_int_equal(lapic_get(l, ID), 0);
	assert_int_equal(lapic_get(l, VERSION), 0x01050014);
	assert_int_equal(lapic_get(l, SVR), 0x1ff);
	assert_int_equal(lapic_get(l, LVT0), 0x700);
	assert_int_equal(lapic_get(l, LVT1), 0x400);
	assert_int_equal(lapic_get(l, LVTT), 0x10000);
	assert_int_equal(lapic_get(l, DFR), 0xffffffff);
	assert_int_equal(lapic_get(l, LDR), 0);
	for (i = 0; i < 8; i++) {
		assert_int_equal(lapic_get(l, IRR + i * 0x10), 0);
		assert_int_equal(lapic_get(l, ISR + i * 0x10), 0);
		assert_int_equal(lapic_get(l, TMR + i * 0x10), 0);
	}
	assert_int_equal(lapic_pending(l), -1);
	assert_true(lapic_extint_open(l));

	l = fix.af_lapic[3];
	lapic_reset(l, false);
	assert_int_equal(lapic_get(l, ID), 0x03000000);
	assert_int_equal(lapic_get(l, SVR), 0xff);
	assert_int_equal(lapic_get(l, LVT0), 0x10000);
	assert_false(lapic_extint_open(l));
	assert_int_equal(lapic_id(l), 3);
	assert_true(lapic_enabled(l));
}

/* What sticks of all ones and of all zeros written to each register. */
static void
xapic_bits(void **state)
{
	static const struct {
		unsigned reg;
		uint32_t ones, zeros;
	} rows[] = {
		{ ID, 0xff000000, 0 }, { VERSION, 0x01050014, 0x01050014 },
		{ TPR, 0xff, 0 }, { APR, 0, 0 }, { RRD, 0, 0 }, { EOI, 0, 0 },
		{ LDR, 0xff000000, 0 }, { DFR, 0xffffffff, 0x0fffffff },
		{ SVR, 0x11ff, 0 }, { ISR, 0, 0 }, { TMR + 0x70, 0, 0 },
		{ IRR + 0x30, 0, 0 }, { ICR2, 0xff000000, 0 },
		{ LVTTH, 0x107ff, 0 }, { LVTPC, 0x107ff, 0 },
		{ LVT0, 0x1a7ff, 0 }, { LVT1, 0x1a7ff, 0 },
		{ LVTE, 0x100ff, 0 }, { LVTT, 0x700ff, 0 },
		{ TDCR, 0xb, 0 },
	};
	struct lapic *l = fix.af_lapic[1];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY(rows); i++) {
		lapic_reset(l, false);
		lapic_turn_on(l);
		lapic_put(l, rows[i].reg, 0xffffffff);
		assert_int_equal(lapic_get(l, rows[i].reg), rows[i].ones);
		lapic_put(l, rows[i].reg, 0);
		assert_int_equal(lapic_get(l, rows[i].reg), rows[i].zeros);
	}
}

/* Only aligned 32-bit writes count; reads see parts. */
static void
xapic_sizes(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	uint64_t base = APIC_DEFAULT_BASE, v;

	(void)state;
	lapic_put(l, TPR, 0x55);
	assert_true(apic_mmio_write(l, base + TPR, 1, 0x11));
	assert_true(apic_mmio_write(l, base + TPR, 2, 0x11));
	assert_true(apic_mmio_write(l, base + TPR + 4, 4, 0x11));
	assert_int_equal(lapic_get(l, TPR), 0x55);
	assert_true(apic_mmio_read(l, base + VERSION, 1, &v));
	assert_int_equal(v, 0x14);
	assert_true(apic_mmio_read(l, base + VERSION + 2, 2, &v));
	assert_int_equal(v, 0x0105);
	assert_true(apic_mmio_read(l, base + VERSION, 8, &v));
	assert_int_equal(v, 0x01050014);
	assert_true(apic_mmio_read(l, base + VERSION + 8, 4, &v));
	assert_int_equal(v, 0);
	assert_false(apic_mmio_read(l, base + 0x1000, 4, &v));
	assert_false(apic_mmio_write(l, base - 0x1000, 4, 0));
}

/* Each bit of each MSR: #GP exactly for what SDM table 11-6 reserves. */
static void
x2apic_bits(void **state)
{
	static const struct {
		uint32_t first, last;
		bool read, write;
		uint64_t defined;
	} rows[] = {
		{ 0x800, 0x801, false, false, 0 },
		{ 0x802, 0x803, true, false, 0 },
		{ 0x804, 0x807, false, false, 0 },
		{ 0x808, 0x808, true, true, 0xff },
		{ 0x809, 0x809, false, false, 0 },
		{ 0x80a, 0x80a, true, false, 0 },
		{ 0x80b, 0x80b, false, true, 0 },
		{ 0x80c, 0x80c, false, false, 0 },
		{ 0x80d, 0x80d, true, false, 0 },
		{ 0x80e, 0x80e, false, false, 0 },
		{ 0x80f, 0x80f, true, true, 0x11ff },
		{ 0x810, 0x827, true, false, 0 },
		{ 0x828, 0x828, true, true, 0 },
		{ 0x829, 0x82f, false, false, 0 },
		{ 0x830, 0x830, true, true, 0xffffffff000cdfff },
		{ 0x831, 0x831, false, false, 0 },
		{ 0x832, 0x832, true, true, 0x710ff },
		{ 0x833, 0x834, true, true, 0x117ff },
		{ 0x835, 0x836, true, true, 0x1f7ff },
		{ 0x837, 0x837, true, true, 0x110ff },
		{ 0x838, 0x838, true, true, 0xffffffff },
		{ 0x839, 0x839, true, false, 0 },
		{ 0x83a, 0x83d, false, false, 0 },
		{ 0x83e, 0x83e, true, true, 0xb },
		{ 0x83f, 0x83f, false, true, 0xff },
		{ 0x840, 0x8ff, false, false, 0 },
	};
	struct lapic *l = fix.af_lapic[0];
	uint64_t v;
	uint32_t msr, next = 0x800;
	unsigned b;
	size_t i;
	bool ok;

	(void)state;
	/* not in xAPIC mode */
	for (msr = 0x800; msr < 0x900; msr++) {
		assert_int_equal(apic_rdmsr(l, msr, &v), -1);
		assert_int_equal(apic_wrmsr(l, msr, 0), -1);
	}
	lapic_to_x2(l);
	assert_false(apic_mmio_read(l, APIC_DEFAULT_BASE, 4, &v));
	for (i = 0; i < ARRAY(rows); i++) {
		assert_int_equal(rows[i].first, next);
		next = rows[i].last + 1;
		for (msr = rows[i].first; msr <= rows[i].last; msr++) {
			assert_int_equal(apic_rdmsr(l, msr, &v),
			    rows[i].read ? 1 : -1);
			assert_int_equal(apic_wrmsr(l, msr, 0),
			    rows[i].write ? 1 : -1);
			for (b = 0; b < 64; b++) {
				ok = rows[i].write &&
				    (rows[i].defined >> b & 1);
				assert_int_equal(apic_wrmsr(l, msr, 1ull << b),
				    ok ? 1 : -1);
			}
		}
	}
	assert_int_equal(next, 0x900);
	assert_int_equal(apic_rdmsr(l, 0x900, &v), 0);
	assert_int_equal(apic_wrmsr(l, 0x7ff, 0), 0);
}

/* The transitions of SDM figure 11-27. */
static void
base_modes(void **state)
{
	enum { OFF = 0, BAD = 0x400, XAPIC = 0x800, X2 = 0xc00 };
	static const struct {
		uint32_t from, to;
		int result;
	} rows[] = {
		{ OFF, OFF, 1 }, { OFF, BAD, -1 }, { OFF, XAPIC, 1 },
		{ OFF, X2, -1 }, { XAPIC, OFF, 1 }, { XAPIC, BAD, -1 },
		{ XAPIC, XAPIC, 1 }, { XAPIC, X2, 1 }, { X2, OFF, 1 },
		{ X2, BAD, -1 }, { X2, XAPIC, -1 }, { X2, X2, 1 },
	};
	const uint64_t base = APIC_DEFAULT_BASE;
	struct lapic *l = fix.af_lapic[2];
	uint64_t v;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY(rows); i++) {
		lapic_reset(l, false);
		if (rows[i].from != XAPIC)
			assert_int_equal(apic_wrmsr(l, 0x1b,
			    base | rows[i].from), 1);
		assert_int_equal(apic_wrmsr(l, 0x1b, base | rows[i].to),
		    rows[i].result);
		assert_int_equal(apic_rdmsr(l, 0x1b, &v), 1);
		assert_int_equal(v, base |
		    (rows[i].result < 0 ? rows[i].from : rows[i].to));
		assert_int_equal(lapic_enabled(l), (v & 0x800) != 0);
	}
}

static void
base_bits(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	unsigned width = cpuid_physical_bits(), b;
	uint64_t v, base = APIC_DEFAULT_BASE | 0x900;
	bool ok;

	(void)state;
	assert_int_equal(apic_rdmsr(l, 0x1b, &v), 1);
	assert_int_equal(v, base);
	for (b = 0; b < 64; b++) {
		if (b == 10 || b == 11)		/* see base_modes */
			continue;
		ok = b == 8 || (b >= 12 && b < width);
		assert_int_equal(apic_wrmsr(l, 0x1b, base ^ 1ull << b),
		    ok ? 1 : -1);
	}
	/* the page moves with it */
	assert_int_equal(apic_wrmsr(l, 0x1b, 0x80000900), 1);
	assert_false(apic_mmio_read(l, APIC_DEFAULT_BASE + VERSION, 4, &v));
	assert_true(apic_mmio_read(l, 0x80000000 + VERSION, 4, &v));
	assert_int_equal(v, 0x01050014);
	/* and the other CPU's does not */
	assert_int_equal(lapic_get(fix.af_lapic[1], VERSION), 0x01050014);
}

static void
x2apic_id(void **state)
{
	struct lapic *l = fix.af_lapic[3];
	uint64_t v;

	(void)state;
	lapic_put(l, ID, 0x77000000);
	lapic_put(l, ICR2, 0x11000000);
	lapic_put(l, TPR, 0x20);
	lapic_to_x2(l);
	assert_int_equal(apic_rdmsr(l, 0x802, &v), 1);
	assert_int_equal(v, 3);
	assert_int_equal(apic_rdmsr(l, 0x80d, &v), 1);
	assert_int_equal(v, 8);
	assert_int_equal(apic_rdmsr(l, 0x830, &v), 1);
	assert_int_equal(v, 0);
	assert_int_equal(apic_rdmsr(l, 0x808, &v), 1);
	assert_int_equal(v, 0x20);
	/* off and on again: as after reset */
	assert_int_equal(apic_wrmsr(l, 0x1b, APIC_DEFAULT_BASE), 1);
	assert_int_equal(apic_wrmsr(l, 0x1b, APIC_DEFAULT_BASE | 0x800), 1);
	assert_int_equal(lapic_get(l, ID), 0x03000000);
	assert_int_equal(lapic_get(l, TPR), 0);
	assert_int_equal(lapic_get(l, SVR), 0xff);
}

static void
init_keeps_base(void **state)
{
	struct lapic *l = fix.af_lapic[1];
	uint64_t v;

	(void)state;
	lapic_to_x2(l);
	assert_int_equal(apic_wrmsr(l, 0x808, 0x70), 1);
	assert_int_equal(apic_wrmsr(l, 0x83f, 0x80), 1);
	lapic_reset(l, true);
	assert_int_equal(apic_rdmsr(l, 0x1b, &v), 1);
	assert_int_equal(v, APIC_DEFAULT_BASE | 0xc00);
	assert_int_equal(apic_rdmsr(l, 0x808, &v), 1);
	assert_int_equal(v, 0);
	assert_int_equal(apic_rdmsr(l, 0x80f, &v), 1);
	assert_int_equal(v, 0xff);
	assert_int_equal(apic_rdmsr(l, 0x802, &v), 1);
	assert_int_equal(v, 1);
	assert_int_equal(lapic_pending(l), -1);
}

static void
priorities(void **state)
{
	struct lapic *l = fix.af_lapic[0];

	(void)state;
	self_ipi(l, 0x35);
	self_ipi(l, 0x61);
	self_ipi(l, 0x62);
	assert_true(bit(l, IRR, 0x35) && bit(l, IRR, 0x61) &&
	    bit(l, IRR, 0x62));
	assert_int_equal(take(l), 0x62);
	assert_false(bit(l, IRR, 0x62));
	assert_true(bit(l, ISR, 0x62));
	assert_int_equal(lapic_get(l, PPR), 0x60);
	/* the same class waits, a higher one does not */
	assert_int_equal(take(l), -1);
	self_ipi(l, 0x70);
	assert_int_equal(take(l), 0x70);
	assert_int_equal(lapic_get(l, PPR), 0x70);
	lapic_put(l, EOI, 0);
	assert_int_equal(lapic_get(l, PPR), 0x60);
	lapic_put(l, EOI, 0);
	assert_int_equal(lapic_get(l, PPR), 0);
	/* task priority: its class blocks, its low bits show in PPR only */
	lapic_put(l, TPR, 0x6f);
	assert_int_equal(lapic_get(l, PPR), 0x6f);
	assert_int_equal(lapic_read_cr8(l), 6);
	assert_int_equal(take(l), -1);
	lapic_write_cr8(l, 5);
	assert_int_equal(lapic_get(l, TPR), 0x50);
	assert_int_equal(take(l), 0x61);
	lapic_put(l, EOI, 0);
	assert_int_equal(take(l), -1);
	lapic_write_cr8(l, 0);
	assert_int_equal(take(l), 0x35);
	lapic_put(l, EOI, 0);
	/* one more EOI than there are interrupts */
	lapic_put(l, EOI, 0);
	assert_int_equal(lapic_get(l, PPR), 0);
	/* every vector there is */
	for (int v = 16; v < 256; v++) {
		self_ipi(l, (unsigned)v);
		assert_int_equal(take(l), v);
		lapic_put(l, EOI, 0);
	}
}

/* A kick for each change that opens a way for a vector, none for others. */
static void
kicks(void **state)
{
	struct lapic *l = fix.af_lapic[1];
	atomic_uint *n = &fix.af_kicks[1];

	(void)state;
	atomic_store(n, 0);
	lapic_put(l, TPR, 0xf0);
	self_ipi(l, 0x41);
	assert_int_equal(atomic_load(n), 0);
	lapic_put(l, TPR, 0x40);
	assert_int_equal(atomic_load(n), 0);
	lapic_write_cr8(l, 3);
	assert_int_equal(atomic_load(n), 1);
	assert_int_equal(take(l), 0x41);
	self_ipi(l, 0x42);
	assert_int_equal(atomic_load(n), 1);
	lapic_put(l, EOI, 0);
	assert_int_equal(atomic_load(n), 2);
	assert_int_equal(take(l), 0x42);
	lapic_put(l, EOI, 0);
	assert_int_equal(atomic_load(n), 2);
	lapic_put(l, LVT0, 0x700);
	assert_int_equal(atomic_load(n), 3);
	assert_int_equal(atomic_load(&fix.af_kicks[2]), 0);
}

static void
spurious(void **state)
{
	struct lapic *l = fix.af_lapic[0];

	(void)state;
	lapic_put(l, SVR, 0x1ef);
	self_ipi(l, 0x41);
	assert_int_equal(lapic_pending(l), 0x41);
	lapic_put(l, TPR, 0x40);	/* too late */
	assert_int_equal(lapic_accept(l), 0xef);
	assert_false(bit(l, ISR, 0xef));
	assert_true(bit(l, IRR, 0x41));
}

static void
errors(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	uint64_t v;

	(void)state;
	lapic_put(l, LVTE, 0x51);
	self_ipi(l, 0x0f);		/* send illegal vector */
	assert_int_equal(take(l), 0x51);
	lapic_put(l, EOI, 0);
	assert_int_equal(lapic_get(l, ESR), 0);	/* not before a write */
	self_ipi(l, 0x0f);		/* known already: no more interrupts */
	assert_int_equal(take(l), -1);
	lapic_put(l, ESR, 0);
	assert_int_equal(lapic_get(l, ESR), 0x20);
	lapic_put(l, ESR, 0);
	assert_int_equal(lapic_get(l, ESR), 0);

	apic_msi(fix.af_vm, APIC_DEFAULT_BASE, 0x05); /* receive illegal */
	lapic_get(l, 0x40);		/* illegal register */
	assert_int_equal(take(l), 0x51);
	lapic_put(l, EOI, 0);
	lapic_put(l, ESR, 0);
	assert_int_equal(lapic_get(l, ESR), 0xc0);
	assert_true(apic_mmio_read(l, APIC_DEFAULT_BASE + 0xff0, 4, &v));
	assert_int_equal(v, 0);
	assert_int_equal(take(l), 0x51);
	lapic_put(l, EOI, 0);
	lapic_put(l, ESR, 0);
	assert_int_equal(lapic_get(l, ESR), 0x80);

	/* the error's own vector is illegal */
	lapic_put(l, LVTE, 0x01);
	self_ipi(l, 0);
	lapic_put(l, ESR, 0);
	assert_int_equal(lapic_get(l, ESR), 0x60);
	assert_int_equal(lapic_pending(l), -1);
}

static void
software_disable(void **state)
{
	struct lapic *l = fix.af_lapic[1];
	uint8_t vector;

	(void)state;
	lapic_put(l, LVTT, 0x40);
	lapic_put(l, LVT0, 0x700);
	self_ipi(l, 0x90);
	lapic_put(l, SVR, 0xff);
	for (unsigned reg = LVTT; reg <= LVTE; reg += 0x10)
		assert_true(lapic_get(l, reg) & 0x10000);
	lapic_put(l, LVT0, 0x700);	/* cannot be unmasked now */
	assert_int_equal(lapic_get(l, LVT0), 0x10700);
	assert_false(lapic_extint_open(l));
	/* what waits stays; nothing new comes; NMI and INIT do */
	assert_int_equal(take(l), 0x90);
	lapic_put(l, EOI, 0);
	self_ipi(l, 0x91);
	assert_int_equal(take(l), -1);
	lapic_put(fix.af_lapic[0], ICR2, 1 << 24);
	lapic_put(fix.af_lapic[0], ICR, 0x400);
	assert_int_equal(lapic_take_events(l, &vector), APIC_EVENT_NMI);
	/* the masks stay when it is enabled again */
	lapic_put(l, SVR, 0x1ff);
	assert_int_equal(lapic_get(l, LVT0), 0x10700);
}

/* Who gets a fixed IPI of CPU 0, as a bit for each CPU. */
static unsigned
receivers(uint32_t icr, uint32_t dest)
{
	unsigned i, who = 0;

	lapic_put(fix.af_lapic[0], ICR2, dest << 24);
	lapic_put(fix.af_lapic[0], ICR, icr | 0x80);
	for (i = 0; i < FIXTURE_CPUS; i++) {
		if (take(fix.af_lapic[i]) == 0x80) {
			who |= 1u << i;
			lapic_put(fix.af_lapic[i], EOI, 0);
		}
	}
	return (who);
}

static void
ipi_physical(void **state)
{
	(void)state;
	assert_int_equal(receivers(0, 0), 0x1);
	assert_int_equal(receivers(0, 2), 0x4);
	assert_int_equal(receivers(0, 4), 0x0);
	assert_int_equal(receivers(0, 0xff), 0xf);
	assert_int_equal(receivers(ICR_TO_SELF, 2), 0x1);
	assert_int_equal(receivers(ICR_TO_ALL, 2), 0xf);
	assert_int_equal(receivers(ICR_TO_OTHERS, 2), 0xe);
	lapic_put(fix.af_lapic[2], ID, 0x40000000);
	assert_int_equal(receivers(0, 2), 0x0);
	assert_int_equal(receivers(0, 0x40), 0x4);
	assert_int_equal(apic_wrmsr(fix.af_lapic[3], 0x1b, 0), 1); /* off */
	fix.af_kicks[3] = 0;
	lapic_put(fix.af_lapic[0], ICR, ICR_TO_ALL | 0x80);
	assert_int_equal(fix.af_kicks[3], 0);
}

static void
ipi_logical(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < FIXTURE_CPUS; i++)
		lapic_put(fix.af_lapic[i], LDR, 1u << (24 + i));
	assert_int_equal(receivers(ICR_LOGICAL, 0x1), 0x1);
	assert_int_equal(receivers(ICR_LOGICAL, 0x6), 0x6);
	assert_int_equal(receivers(ICR_LOGICAL, 0x30), 0x0);
	assert_int_equal(receivers(ICR_LOGICAL, 0xff), 0xf);
	/* clusters 0 and 1 of two each */
	for (i = 0; i < FIXTURE_CPUS; i++) {
		lapic_put(fix.af_lapic[i], DFR, 0);
		lapic_put(fix.af_lapic[i], LDR,
		    (i / 2 << 4 | 1u << i % 2) << 24);
	}
	assert_int_equal(receivers(ICR_LOGICAL, 0x03), 0x3);
	assert_int_equal(receivers(ICR_LOGICAL, 0x12), 0x8);
	assert_int_equal(receivers(ICR_LOGICAL, 0x1f), 0xc);
	assert_int_equal(receivers(ICR_LOGICAL, 0x2f), 0x0);
	assert_int_equal(receivers(ICR_LOGICAL, 0xff), 0xf);
}

/* Each delivery to CPUs 2 and 3 in x2APIC mode; 0 and 1 stay in xAPIC mode. */
static void
ipi_x2(void **state)
{
	static const struct {
		uint64_t icr;
		unsigned who;
	} rows[] = {
		{ 0x0000000200000080, 0x4 }, { 0x0000000100000080, 0x2 },
		{ 0xffffffff00000080, 0xf }, { 0x000000ff00000080, 0x0 },
		{ 0x0000000c00000880, 0xc }, { 0x0000000800000880, 0x8 },
		{ 0x0001000c00000880, 0x0 }, { 0xffffffff00000880, 0xf },
		{ 0x0000010100000080, 0x0 }, { 0x0000000000040080, 0x8 },
		{ 0x00000000000c0080, 0x7 },
	};
	unsigned i, who;
	size_t r;

	(void)state;
	lapic_to_x2(fix.af_lapic[2]);
	lapic_to_x2(fix.af_lapic[3]);
	for (r = 0; r < ARRAY(rows); r++) {
		assert_int_equal(apic_wrmsr(fix.af_lapic[3], 0x830,
		    rows[r].icr), 1);
		for (i = who = 0; i < FIXTURE_CPUS; i++) {
			if (take(fix.af_lapic[i]) != 0x80)
				continue;
			who |= 1u << i;
			if (i < 2)
				lapic_put(fix.af_lapic[i], EOI, 0);
			else
				assert_int_equal(apic_wrmsr(fix.af_lapic[i],
				    0x80b, 0), 1);
		}
		assert_int_equal(who, rows[r].who);
	}
	assert_int_equal(apic_wrmsr(fix.af_lapic[2], 0x83f, 0x99), 1);
	assert_int_equal(take(fix.af_lapic[2]), 0x99);
}

static void
ipi_lowest(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < FIXTURE_CPUS; i++) {
		lapic_put(fix.af_lapic[i], LDR, 1u << (24 + i));
		lapic_put(fix.af_lapic[i], TPR, 0x50 - (i << 4));
	}
	assert_int_equal(receivers(ICR_LOGICAL | 0x100, 0xf), 0x8);
	assert_int_equal(receivers(ICR_LOGICAL | 0x100, 0x7), 0x4);
	lapic_put(fix.af_lapic[2], SVR, 0xff);
	assert_int_equal(receivers(ICR_LOGICAL | 0x100, 0x7), 0x2);
	assert_int_equal(receivers(ICR_LOGICAL | 0x100, 0x30), 0x0);
	/* equals take turns */
	for (i = 0; i < FIXTURE_CPUS; i++)
		lapic_put(fix.af_lapic[i], TPR, 0);
	assert_int_equal(receivers(0x100, 0xff) | receivers(0x100, 0xff) |
	    receivers(0x100, 0xff), 0xb);
}

static void
ipi_events(void **state)
{
	struct lapic *from = fix.af_lapic[0], *to = fix.af_lapic[1];
	uint8_t vector;

	(void)state;
	lapic_put(from, ICR2, 1 << 24);
	lapic_put(from, ICR, 0x500 | ICR_ASSERT);	/* INIT */
	assert_int_equal(fix.af_kicks[1], 1);
	assert_int_equal(lapic_take_events(to, &vector), APIC_EVENT_INIT);
	assert_int_equal(lapic_take_events(to, &vector), 0);
	lapic_put(from, ICR, 0x500 | 0x8000);		/* its deassert */
	assert_int_equal(lapic_take_events(to, &vector), 0);
	lapic_put(from, ICR, 0x600 | ICR_ASSERT | 0x9a); /* SIPI */
	assert_int_equal(lapic_take_events(to, &vector), APIC_EVENT_SIPI);
	assert_int_equal(vector, 0x9a);
	lapic_put(from, ICR, 0x400 | ICR_ASSERT);	/* NMI */
	assert_int_equal(lapic_take_events(to, &vector), APIC_EVENT_NMI);
	lapic_put(from, ICR, 0x200 | ICR_ASSERT);	/* SMI */
	lapic_put(from, ICR, 0x300 | ICR_ASSERT);	/* reserved */
	lapic_put(from, ICR, 0x700 | ICR_ASSERT);	/* ExtINT */
	assert_int_equal(lapic_take_events(to, &vector), 0);
	/* an INIT makes an older SIPI void */
	lapic_put(from, ICR, 0x600 | 0x10);
	lapic_put(from, ICR, 0x500 | ICR_ASSERT);
	assert_int_equal(lapic_take_events(to, &vector), APIC_EVENT_INIT);
	assert_int_equal(lapic_get(from, ICR), 0x500 | ICR_ASSERT);
}

static void
pins(void **state)
{
	struct lapic *l = fix.af_lapic[0];
	uint8_t vector;

	(void)state;
	/* LINT1: NMI, once an edge */
	lapic_lint(l, 1, true);
	lapic_lint(l, 1, true);
	assert_int_equal(lapic_take_events(l, &vector), APIC_EVENT_NMI);
	assert_int_equal(lapic_take_events(l, &vector), 0);
	lapic_lint(l, 1, false);
	lapic_put(l, LVT1, 0x10400);
	lapic_lint(l, 1, true);
	assert_int_equal(lapic_take_events(l, &vector), 0);
	lapic_lint(l, 1, false);

	/* LINT0: ExtINT is not a vector of ours */
	lapic_lint(l, 0, true);
	assert_int_equal(take(l), -1);
	assert_true(lapic_extint_open(l));
	lapic_lint(l, 0, false);
	lapic_put(l, LVT0, 0x10700);
	assert_false(lapic_extint_open(l));
	/* as a fixed edge */
	lapic_put(l, LVT0, 0x45);
	assert_false(lapic_extint_open(l));
	lapic_lint(l, 0, true);
	assert_int_equal(take(l), 0x45);
	lapic_put(l, EOI, 0);
	lapic_lint(l, 0, true);
	assert_int_equal(take(l), -1);
	lapic_lint(l, 0, false);
	/* as a fixed level: again until it goes away */
	lapic_put(l, LVT0, 0x8045);
	lapic_lint(l, 0, true);
	assert_int_equal(lapic_get(l, LVT0), 0xc045);
	assert_int_equal(take(l), 0x45);
	assert_int_equal(take(l), -1);
	lapic_put(l, EOI, 0);
	assert_int_equal(take(l), 0x45);
	lapic_lint(l, 0, false);
	lapic_put(l, EOI, 0);
	assert_int_equal(take(l), -1);
	assert_int_equal(lapic_get(l, LVT0), 0x8045);
	/* a level that was there before the pin was unmasked */
	lapic_put(l, LVT0, 0x18046);
	lapic_lint(l, 0, true);
	assert_int_equal(take(l), -1);
	lapic_put(l, LVT0, 0x8046);
	assert_int_equal(take(l), 0x46);
	lapic_lint(l, 0, false);

	/* APIC off: the pins are INTR and NMI */
	assert_int_equal(apic_wrmsr(l, 0x1b, APIC_DEFAULT_BASE), 1);
	assert_true(lapic_extint_open(l));
	lapic_lint(l, 1, true);
	assert_int_equal(lapic_take_events(l, &vector), APIC_EVENT_NMI);
	assert_int_equal(lapic_pending(l), -1);
}

/* Many threads: every message arrives, whatever happens at the same time. */
#define ROUNDS	20000

static void *
sender(void *arg)
{
	struct lapic *l = arg;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		ioapic_set(fix.af_vm, i % 8, i & 1);
		apic_mmio_write(l, APIC_DEFAULT_BASE + ICR, 4,
		    ICR_TO_OTHERS | (0x40 + lapic_id(l)));
		lapic_pending(l);
	}
	return (NULL);
}

static void
threads(void **state)
{
	pthread_t thread[FIXTURE_CPUS];
	struct lapic *l = fix.af_lapic[0];
	unsigned i, last, seen = 0;

	(void)state;
	for (i = 1; i < FIXTURE_CPUS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, sender,
		    fix.af_lapic[i]), 0);
	for (last = 0; last < ROUNDS; last++) {
		int v = take(l);

		if (v >= 0) {
			assert_in_range(v, 0x41, 0x43);
			seen |= 1u << (v - 0x40);
			lapic_put(l, EOI, 0);
		}
	}
	for (i = 1; i < FIXTURE_CPUS; i++)
		pthread_join(thread[i], NULL);
	while ((i = (unsigned)take(l)) != (unsigned)-1) {
		seen |= 1u << (i - 0x40);
		lapic_put(l, EOI, 0);
	}
	assert_int_equal(seen, 0xe);
	assert_int_not_equal(fix.af_kicks[0], 0);
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(power_on), T(xapic_bits), T(xapic_sizes), T(x2apic_bits),
		T(base_modes), T(base_bits), T(x2apic_id), T(init_keeps_base),
		T(priorities), T(kicks), T(spurious), T(errors),
		T(software_disable), T(ipi_physical), T(ipi_logical),
		T(ipi_x2), T(ipi_lowest), T(ipi_events), T(pins), T(threads),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
