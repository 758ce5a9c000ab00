/*
 * What the APIC tests share; see apic_fixture.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "apic_fixture.h"

static void
kick(void *arg, unsigned id)
{
	struct apic_fixture *f = arg;

	atomic_fetch_add(&f->af_kicks[id], 1);
}

static uint64_t
tsc(void *arg, unsigned id)
{
	struct apic_fixture *f = arg;

	(void)id;
	return (f->af_now * 2 + (uint64_t)f->af_tsc_offset);
}

static uint64_t
now(void *arg)
{
	struct apic_fixture *f = arg;

	return (f->af_now);
}

void
apic_fixture_start(struct apic_fixture *f)
{
	struct apic_callbacks call = {
		.ac_kick = kick, .ac_tsc = tsc, .ac_tsc_khz = FIXTURE_TSC_KHZ,
		.ac_now = now, .ac_arg = f
	};
	unsigned i;

	f->af_now = 1000000;
	f->af_tsc_offset = 0;
	f->af_vm = apic_vm_new(FIXTURE_CPUS, &call);
	assert_non_null(f->af_vm);
	for (i = 0; i < FIXTURE_CPUS; i++) {
		f->af_lapic[i] = apic_lapic(f->af_vm, i);
		atomic_store(&f->af_kicks[i], 0);
	}
}

void
apic_fixture_end(struct apic_fixture *f)
{
	apic_vm_free(f->af_vm);
}

uint32_t
lapic_get(struct lapic *l, unsigned offset)
{
	uint64_t value = ~0ull;

	assert_true(apic_mmio_read(l, APIC_DEFAULT_BASE + offset, 4, &value));
	assert_int_equal(value >> 32, 0);
	return ((uint32_t)value);
}

void
lapic_put(struct lapic *l, unsigned offset, uint32_t value)
{
	assert_true(apic_mmio_write(l, APIC_DEFAULT_BASE + offset, 4, value));
}

uint32_t
ioapic_get(struct lapic *l, unsigned index)
{
	uint64_t value = ~0ull;

	assert_true(apic_mmio_write(l, IOAPIC_BASE, 4, index));
	assert_true(apic_mmio_read(l, IOAPIC_BASE + 0x10, 4, &value));
	return ((uint32_t)value);
}

void
ioapic_put(struct lapic *l, unsigned index, uint32_t value)
{
	assert_true(apic_mmio_write(l, IOAPIC_BASE, 4, index));
	assert_true(apic_mmio_write(l, IOAPIC_BASE + 0x10, 4, value));
}

void
ioapic_put_entry(struct lapic *l, unsigned pin, uint64_t entry)
{
	ioapic_put(l, 0x11 + 2 * pin, (uint32_t)(entry >> 32));
	ioapic_put(l, 0x10 + 2 * pin, (uint32_t)entry);
}

void
lapic_turn_on(struct lapic *l)
{
	lapic_put(l, 0xf0, 0x1ff);
}

void
lapic_to_x2(struct lapic *l)
{
	uint64_t base;

	assert_int_equal(apic_rdmsr(l, 0x1b, &base), 1);
	assert_int_equal(apic_wrmsr(l, 0x1b, base | 0x400), 1);
}
