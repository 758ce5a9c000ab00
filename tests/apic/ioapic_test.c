/*
 * The IOAPIC and message-signalled interrupts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <vmm.h>

#include "../lib/apic_fixture.h"

#define LEVEL		0x08000u
#define MASKED		0x10000u
#define REMOTE_IRR	0x04000u
#define LOGICAL		0x00800u
#define TO(cpu)		((uint64_t)(cpu) << 56)

enum { TPR = 0x80, EOI = 0xb0, LDR = 0xd0, SVR = 0xf0, TMR = 0x180 };

static struct apic_fixture fix;
static struct lapic *cpu0;

static int
setup(void **state)
{
	unsigned i;

	(void)state;
	apic_fixture_start(&fix);
	cpu0 = fix.af_lapic[0];
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

static int
take(unsigned cpu)
{
	return (lapic_pending(fix.af_lapic[cpu]) < 0 ? -1 :
	    lapic_accept(fix.af_lapic[cpu]));
}

static void
eoi(unsigned cpu)
{
	lapic_put(fix.af_lapic[cpu], EOI, 0);
}

static uint32_t
entry_low(unsigned pin)
{
	return (ioapic_get(cpu0, 0x10 + 2 * pin));
}

static void
registers(void **state)
{
	unsigned i;
	uint64_t v;

	(void)state;
	assert_int_equal(ioapic_get(cpu0, 1), 0x00170020);
	assert_int_equal(ioapic_get(cpu0, 0), 0);
	ioapic_put(cpu0, 0, 0xffffffff);
	assert_int_equal(ioapic_get(cpu0, 0), 0x0f000000);
	assert_int_equal(ioapic_get(cpu0, 2), 0x0f000000);
	ioapic_put(cpu0, 1, 0);
	assert_int_equal(ioapic_get(cpu0, 1), 0x00170020);
	for (i = 0; i < IOAPIC_PINS; i++) {
		assert_int_equal(entry_low(i), MASKED);
		assert_int_equal(ioapic_get(cpu0, 0x11 + 2 * i), 0);
		ioapic_put_entry(cpu0, i, ~0ull);
		assert_int_equal(entry_low(i), 0x1afff);
		assert_int_equal(ioapic_get(cpu0, 0x11 + 2 * i), 0xff000000);
	}
	ioapic_put(cpu0, 0x40, 0x12345678);
	assert_int_equal(ioapic_get(cpu0, 0x40), 0);
	assert_int_equal(ioapic_get(cpu0, 0xff), 0);
	/* a byte write selects; the window wants 32 bits */
	assert_true(apic_mmio_write(cpu0, IOAPIC_BASE, 1, 0));
	assert_true(apic_mmio_write(cpu0, IOAPIC_BASE + 0x10, 1, 0));
	assert_true(apic_mmio_read(cpu0, IOAPIC_BASE + 0x13, 1, &v));
	assert_int_equal(v, 0x0f);
	assert_true(apic_mmio_read(cpu0, IOAPIC_BASE, 4, &v));
	assert_int_equal(v, 0);
	assert_true(apic_mmio_read(cpu0, IOAPIC_BASE + 0x20, 8, &v));
	assert_int_equal(v, 0);
	assert_false(apic_mmio_read(cpu0, IOAPIC_BASE + 0x1000, 4, &v));
	ioapic_reset(fix.af_vm);
	assert_int_equal(entry_low(5), MASKED);
	assert_int_equal(ioapic_get(cpu0, 0), 0);
}

static void
edge(void **state)
{
	struct apic_vm *vm = fix.af_vm;

	(void)state;
	ioapic_put_entry(cpu0, 3, TO(1) | 0x33);
	ioapic_set(vm, 3, true);
	ioapic_set(vm, 3, true);
	assert_int_equal(take(0), -1);
	assert_int_equal(take(1), 0x33);
	assert_int_equal(lapic_get(fix.af_lapic[1], TMR + 0x10), 0);
	eoi(1);
	assert_int_equal(take(1), -1);
	ioapic_set(vm, 3, false);
	assert_int_equal(take(1), -1);
	ioapic_set(vm, 3, true);
	assert_int_equal(take(1), 0x33);
	eoi(1);
	ioapic_set(vm, 3, false);
	/* behind the mask it is lost, even if it is still high after it */
	ioapic_put_entry(cpu0, 3, TO(1) | MASKED | 0x33);
	ioapic_set(vm, 3, true);
	ioapic_put_entry(cpu0, 3, TO(1) | 0x33);
	assert_int_equal(take(1), -1);
	/* no such pin */
	ioapic_set(vm, IOAPIC_PINS, true);
	ioapic_set(vm, 99, true);
	/* polarity changes nothing */
	ioapic_put_entry(cpu0, 4, TO(2) | 0x2044);
	assert_int_equal(take(2), -1);
	ioapic_set(vm, 4, true);
	assert_int_equal(take(2), 0x44);
	assert_int_equal(entry_low(4), 0x2044);
}

static void
level(void **state)
{
	struct apic_vm *vm = fix.af_vm;

	(void)state;
	ioapic_put_entry(cpu0, 9, LEVEL | 0x59);
	ioapic_set(vm, 9, true);
	assert_int_equal(entry_low(9), LEVEL | REMOTE_IRR | 0x59);
	ioapic_set(vm, 9, true);
	assert_int_equal(take(0), 0x59);
	assert_int_equal(lapic_get(cpu0, TMR + 0x20), 1u << (0x59 - 0x40));
	assert_int_equal(take(0), -1);
	eoi(0);			/* still asserted */
	assert_int_equal(take(0), 0x59);
	ioapic_set(vm, 9, false);
	assert_int_equal(entry_low(9), LEVEL | REMOTE_IRR | 0x59);
	eoi(0);
	assert_int_equal(entry_low(9), LEVEL | 0x59);
	assert_int_equal(take(0), -1);
	/* gone again before it was taken: it was sent, it comes */
	ioapic_set(vm, 9, true);
	ioapic_set(vm, 9, false);
	assert_int_equal(take(0), 0x59);
	eoi(0);
	assert_int_equal(take(0), -1);
	/* asserted behind the mask: comes with the unmasking, once */
	ioapic_put(cpu0, 0x10 + 18, LEVEL | MASKED | 0x59);
	ioapic_set(vm, 9, true);
	assert_int_equal(take(0), -1);
	ioapic_put(cpu0, 0x10 + 18, LEVEL | 0x59);
	assert_int_equal(take(0), 0x59);
	ioapic_put(cpu0, 0x10 + 18, LEVEL | MASKED | 0x59);
	ioapic_put(cpu0, 0x10 + 18, LEVEL | 0x59);
	assert_int_equal(take(0), -1);	/* in service */
	/* systems without the EOI register: edge and back */
	ioapic_put(cpu0, 0x10 + 18, MASKED | 0x59);
	assert_int_equal(entry_low(9), MASKED | 0x59);
	ioapic_put(cpu0, 0x10 + 18, LEVEL | 0x59);
	assert_int_equal(entry_low(9), LEVEL | REMOTE_IRR | 0x59);
}

/* An edge-triggered vector's EOI is not broadcast; two pins may share one. */
static void
eoi_broadcast(void **state)
{
	struct apic_vm *vm = fix.af_vm;

	(void)state;
	ioapic_put_entry(cpu0, 10, LEVEL | 0x60);
	ioapic_put_entry(cpu0, 11, LEVEL | 0x60);
	ioapic_set(vm, 10, true);
	ioapic_set(vm, 11, true);
	assert_int_equal(take(0), 0x60);
	ioapic_set(vm, 10, false);
	eoi(0);
	assert_int_equal(entry_low(10), LEVEL | 0x60);
	assert_int_equal(take(0), 0x60);	/* for pin 11 */
	ioapic_set(vm, 11, false);
	/* suppressed: the IOAPIC's own register ends it */
	lapic_put(cpu0, SVR, 0x11ff);
	eoi(0);
	assert_int_equal(entry_low(11), LEVEL | REMOTE_IRR | 0x60);
	assert_true(apic_mmio_write(cpu0, IOAPIC_BASE + 0x40, 4, 0x61));
	assert_int_equal(entry_low(11), LEVEL | REMOTE_IRR | 0x60);
	assert_true(apic_mmio_write(cpu0, IOAPIC_BASE + 0x40, 4, 0x60));
	assert_int_equal(entry_low(11), LEVEL | 0x60);
}

static void
destinations(void **state)
{
	struct apic_vm *vm = fix.af_vm;
	uint8_t vector;
	unsigned i;

	(void)state;
	for (i = 0; i < FIXTURE_CPUS; i++)
		lapic_put(fix.af_lapic[i], LDR, 1u << (24 + i));
	ioapic_put_entry(cpu0, 0, TO(0x6) | LOGICAL | 0x70);
	ioapic_set(vm, 0, true);
	assert_int_equal(take(0), -1);
	assert_int_equal(take(1), 0x70);
	assert_int_equal(take(2), 0x70);
	assert_int_equal(take(3), -1);
	/* lowest priority */
	lapic_put(fix.af_lapic[3], TPR, 0x20);
	ioapic_put_entry(cpu0, 1, TO(0xc) | LOGICAL | 0x100 | 0x71);
	ioapic_set(vm, 1, true);
	assert_int_equal(take(2), -1);		/* 0x70 is in service there */
	assert_int_equal(take(3), 0x71);
	/* NMI and the rest */
	ioapic_put_entry(cpu0, 2, TO(3) | 0x400);
	ioapic_set(vm, 2, true);
	assert_int_equal(lapic_take_events(fix.af_lapic[3], &vector),
	    APIC_EVENT_NMI);
	ioapic_put_entry(cpu0, 2, TO(3) | 0x700);	/* ExtINT */
	ioapic_set(vm, 2, false);
	ioapic_set(vm, 2, true);
	assert_int_equal(lapic_take_events(fix.af_lapic[3], &vector), 0);
	/* everyone; x2APIC mode too */
	lapic_to_x2(fix.af_lapic[2]);
	ioapic_put_entry(cpu0, 5, TO(0xff) | 0x85);
	ioapic_set(vm, 5, true);
	for (i = 0; i < FIXTURE_CPUS; i++)
		assert_int_equal(take(i), 0x85);
	/* an 8-bit logical destination of CPU 2 in x2APIC mode: cluster 0 */
	ioapic_put_entry(cpu0, 6, TO(0x4) | LOGICAL | 0x95);
	ioapic_set(vm, 6, true);
	assert_int_equal(take(2), 0x95);
}

/* A level that nobody took is tried again when somebody can take it. */
static void
nobody(void **state)
{
	(void)state;
	lapic_put(fix.af_lapic[1], SVR, 0xff);
	ioapic_put_entry(cpu0, 7, TO(1) | LEVEL | 0x77);
	ioapic_set(fix.af_vm, 7, true);
	assert_int_equal(entry_low(7), LEVEL | 0x77);
	lapic_put(fix.af_lapic[1], SVR, 0x1ff);
	assert_int_equal(take(1), 0x77);
	assert_int_equal(entry_low(7), LEVEL | REMOTE_IRR | 0x77);
}

static void
msi(void **state)
{
	struct apic_vm *vm = fix.af_vm;
	unsigned i;

	(void)state;
	apic_msi(vm, 0xfee02000, 0x0041);
	assert_int_equal(take(2), 0x41);
	eoi(2);
	apic_msi(vm, 0xfeeff000, 0x4042);
	for (i = 0; i < FIXTURE_CPUS; i++)
		assert_int_equal(take(i), 0x42);
	lapic_put(fix.af_lapic[3], LDR, 0x08000000);
	apic_msi(vm, 0xfee0800c, 0x0153);	/* logical, lowest priority */
	assert_int_equal(take(3), 0x53);
	/* not the interrupt window */
	apic_msi(vm, 0xfec00000, 0x0081);
	apic_msi(vm, 0x1fee00000, 0x0081);
	apic_msi(vm, 0, 0x0081);
	for (i = 0; i < FIXTURE_CPUS; i++)
		assert_int_equal(take(i), -1);
}

/* What became of an edge: a timer that is late wants to know. */
static void
state_of_edge(void **state)
{
	struct apic_vm *vm = fix.af_vm;

	(void)state;
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_CLOSED);
	ioapic_put_entry(cpu0, 2, TO(1) | 0x33);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_TAKEN);
	ioapic_set(vm, 2, true);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_WAITING);
	ioapic_set(vm, 2, false);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_WAITING);
	assert_int_equal(take(1), 0x33);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_TAKEN);
	/* the next one waits for the end of this one */
	ioapic_set(vm, 2, true);
	assert_int_equal(take(1), -1);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_WAITING);
	eoi(1);
	assert_int_equal(take(1), 0x33);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_TAKEN);
	eoi(1);
	/* masked, or the 8259's: another knows */
	ioapic_put_entry(cpu0, 2, TO(1) | MASKED | 0x33);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_CLOSED);
	ioapic_put_entry(cpu0, 2, TO(1) | 0x733);
	assert_int_equal(ioapic_state(vm, 2), VMM_IRQ_CLOSED);
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(registers), T(edge), T(level), T(eoi_broadcast),
		T(destinations), T(nobody), T(msi), T(state_of_edge),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
