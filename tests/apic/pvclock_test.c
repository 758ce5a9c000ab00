/*
 * The paravirtual clock, read back as a guest reads it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>
#include <cmocka.h>

#include "vmm/pvclock.h"

/* The ABI's structures, as offsets that a guest would use. */
enum { P_VERSION = 0, P_TSC = 8, P_TIME = 16, P_MULT = 24, P_SHIFT = 28,
    P_FLAGS = 29, P_SIZE = 32, W_SEC = 4, W_NSEC = 8, W_SIZE = 12 };

#define MEMORY	8192
static uint8_t memory[MEMORY];
static struct { uint64_t gpa; unsigned len; uint32_t version; } writes[16];
static unsigned nwrites;

static uint32_t
get32(uint64_t gpa)
{
	uint32_t v;

	memcpy(&v, memory + gpa, sizeof(v));
	return (v);
}

static uint64_t
get64(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, memory + gpa, sizeof(v));
	return (v);
}

static bool
guest_write(void *arg, uint64_t gpa, const void *data, unsigned len)
{
	uint64_t page = *(uint64_t *)arg;

	if (gpa >= MEMORY || MEMORY - gpa < len)
		return (false);
	memcpy(memory + gpa, data, len);
	assert_true(nwrites < 16);
	writes[nwrites].gpa = gpa;
	writes[nwrites].len = len;
	writes[nwrites++].version = get32(page);
	return (true);
}

static uint64_t page;
static const struct pvclock_memory mem = { guest_write, &page };

static int
setup(void **state)
{
	(void)state;
	memset(memory, 0x5a, sizeof(memory));
	nwrites = 0;
	return (0);
}

/* What the guest computes at its TSC. */
static uint64_t
guest_ns(uint64_t gpa, uint64_t tsc)
{
	uint64_t d = tsc - get64(gpa + P_TSC);
	int shift = (int8_t)memory[gpa + P_SHIFT];

	d = shift < 0 ? d >> -shift : d << shift;
	return (get64(gpa + P_TIME) + (uint64_t)((unsigned __int128)d *
	    get32(gpa + P_MULT) >> 32));
}

static void
protocol(void **state)
{
	struct pvclock pc;
	uint64_t v;
	unsigned i;

	(void)state;
	pvclock_init(&pc, 2600000);
	assert_int_equal(pvclock_rdmsr(&pc, MSR_KVM_SYSTEM_TIME_NEW, &v), 1);
	assert_int_equal(v, 0);
	page = 0x100;
	assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_SYSTEM_TIME_NEW, 0x101,
	    &mem, 0), 1);
	/* odd while it changes: first write and those between */
	assert_true(nwrites >= 3);
	for (i = 0; i < nwrites; i++)
		assert_int_equal(writes[i].version & 1, i != nwrites - 1);
	assert_int_equal(writes[0].gpa, 0x100);
	assert_int_equal(writes[0].len, 4);
	assert_int_equal(memory[0x100 + P_FLAGS], 1);
	/* nothing beside it */
	assert_int_equal(memory[0xff], 0x5a);
	assert_int_equal(memory[0x100 + P_SIZE], 0x5a);
	v = get32(0x100);
	nwrites = 0;
	assert_true(pvclock_update(&pc, &mem, 0));
	assert_int_equal(get32(0x100), v + 2);
	/* told once that it was paused */
	pc.pc_paused = true;
	assert_true(pvclock_update(&pc, &mem, 0));
	assert_int_equal(memory[0x100 + P_FLAGS], 3);
	assert_true(pvclock_update(&pc, &mem, 0));
	assert_int_equal(memory[0x100 + P_FLAGS], 1);
	assert_int_equal(pvclock_rdmsr(&pc, MSR_KVM_SYSTEM_TIME, &v), 1);
	assert_int_equal(v, 0x101);
	/* off */
	assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_SYSTEM_TIME, 0x100, &mem,
	    0), 1);
	nwrites = 0;
	assert_true(pvclock_update(&pc, &mem, 0));
	assert_int_equal(nwrites, 0);
}

static void
bad_addresses(void **state)
{
	static const uint64_t bad[] = { MEMORY | 1, (MEMORY - 8) | 1,
	    0xfee00001, ~0ull };
	struct pvclock pc;
	uint64_t v;
	unsigned i;

	(void)state;
	pvclock_init(&pc, 2600000);
	for (i = 0; i < 4; i++) {
		nwrites = 0;
		page = 0;
		assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_SYSTEM_TIME_NEW,
		    bad[i], &mem, 0), -1);
		assert_int_equal(pvclock_rdmsr(&pc, MSR_KVM_SYSTEM_TIME_NEW,
		    &v), 1);
		assert_int_equal(v, 0);
		assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_WALL_CLOCK_NEW,
		    bad[i] & ~1ull, &mem, 0), -1);
	}
	assert_int_equal(pvclock_rdmsr(&pc, 0x10, &v), 0);
	assert_int_equal(pvclock_wrmsr(&pc, 0x4b564d02, 1, &mem, 0), 0);
}

/* For all sorts of frequencies the factor gives 10^6 / kHz. */
static void
factors(void **state)
{
	static const uint64_t khz[] = { 1000, 999999, 1000000, 1000001,
	    1193182, 2000000, 2596146, 3999999, 4000000, 5200000, 10000000 };
	struct pvclock pc;
	uint64_t ns, want;
	unsigned i;

	(void)state;
	page = 0x200;
	for (i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
		nwrites = 0;
		pvclock_init(&pc, khz[i]);
		assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_SYSTEM_TIME_NEW,
		    0x201, &mem, 0), 1);
		/* an hour on */
		ns = guest_ns(0x200, get64(0x200 + P_TSC) +
		    khz[i] * 1000 * 3600) - get64(0x200 + P_TIME);
		want = 3600ull * 1000000000;
		assert_in_range(ns, want - 2000, want);
	}
}

/* Updates never turn time back, and the TSC's offset does not matter. */
static void
monotonic(void **state)
{
	const int64_t offsets[] = { 0, -123456789, 1ll << 60, INT64_MIN };
	struct pvclock pc;
	uint64_t before, after, tsc;
	unsigned i;

	(void)state;
	page = 0x300;
	pvclock_init(&pc, pvclock_tsc_khz());
	assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_SYSTEM_TIME_NEW, 0x301,
	    &mem, 0), 1);
	before = guest_ns(0x300, __rdtsc());
	for (i = 0; i < 2000; i++) {
		nwrites = 0;
		assert_true(pvclock_update(&pc, &mem, offsets[i % 4]));
		tsc = __rdtsc() + (uint64_t)offsets[i % 4];
		after = guest_ns(0x300, tsc);
		assert_true(after >= before);
		before = after;
	}
}

static void
wall(void **state)
{
	struct pvclock pc;
	struct timespec ts;
	uint64_t t, now;

	(void)state;
	page = 0x400;
	pvclock_init(&pc, pvclock_tsc_khz());
	assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_WALL_CLOCK_NEW, 0x400,
	    &mem, 0), 1);
	assert_int_equal(get32(0x400) & 1, 0);
	assert_int_equal(memory[0x400 + W_SIZE], 0x5a);
	assert_true(get32(0x400 + W_NSEC) < 1000000000);
	page = 0x500;
	nwrites = 0;
	assert_int_equal(pvclock_wrmsr(&pc, MSR_KVM_SYSTEM_TIME_NEW, 0x501,
	    &mem, 0), 1);
	/* wall at boot + time since boot = now, to a second */
	t = get32(0x400 + W_SEC) * 1000000000ull + get32(0x400 + W_NSEC) +
	    guest_ns(0x500, __rdtsc());
	clock_gettime(CLOCK_REALTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	assert_in_range(t, now - 1000000000, now + 1000000000);
}

/*
 * The measured frequency against the clock, over a longer time. A busy host may
 * stop us between two lines, but not every time.
 */
static void
frequency(void **state)
{
	struct timespec a, b, wait = { 0, 50000000 };
	uint64_t khz = pvclock_tsc_khz(), t, ns;
	int i;

	(void)state;
	assert_int_equal(pvclock_tsc_khz(), khz);
	for (i = 0; i < 20; i++) {
		clock_gettime(CLOCK_MONOTONIC_RAW, &a);
		t = __rdtsc();
		nanosleep(&wait, NULL);
		clock_gettime(CLOCK_MONOTONIC_RAW, &b);
		t = __rdtsc() - t;
		ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000 +
		    (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
		t = t * 1000000 / ns;
		if (khz > t - t / 1000 && khz < t + t / 1000)
			return;
	}
	fail_msg("%llu kHz measured, %llu now", (unsigned long long)khz,
	    (unsigned long long)t);
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		T(protocol), T(bad_addresses), T(factors), T(monotonic),
		T(wall), T(frequency),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
