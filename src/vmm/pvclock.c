/*
 * The paravirtual clock (pvclock.h). The page's layout and its rules are KVM's
 * pvclock ABI, which OpenBSD's pvclock(4) and Linux's kvm-clock read.
 *
 * 1. The page's version is odd while its other fields change, and even and
 *    different afterwards: other VCPUs read it meanwhile.
 * 2. Time is a function of the host's TSC alone, by the same factor that the
 *    guest uses. Updating a page therefore never turns time back; the price is
 *    that the clock runs as exactly as the TSC's frequency is known, as any
 *    computer's clock does.
 *
 * A struct pvclock belongs to its VCPU's thread.
 */
#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <x86intrin.h>

#include "vmm/pvclock.h"

#define NSEC	1000000000ull

/* struct pvclock_vcpu_time_info and pvclock_wall_clock of the ABI */
struct pvclock_page {
	uint32_t	pp_version;
	uint32_t	pp_pad;
	uint64_t	pp_tsc;		/* guest TSC at pp_time */
	uint64_t	pp_time;	/* ns */
	uint32_t	pp_mult;	/* ns = ticks * 2^shift * mult / 2^32 */
	int8_t		pp_shift;
	uint8_t		pp_flags;
	uint8_t		pp_pad2[2];
};
_Static_assert(sizeof(struct pvclock_page) == 32, "pvclock ABI");
#define PVCLOCK_TSC_STABLE	0x01	/* all VCPUs agree */
#define PVCLOCK_GUEST_STOPPED	0x02	/* it was paused; the guest clears it */

struct pvclock_wall {
	uint32_t	pw_version;
	uint32_t	pw_sec;
	uint32_t	pw_nsec;
};
_Static_assert(sizeof(struct pvclock_wall) == 12, "pvclock ABI");

struct scale {
	uint32_t	mult;
	int8_t		shift;
};

/* ticks * 10^6 / khz as mult in [2^31, 2^32) and a shift. */
static struct scale
tsc_scale(uint64_t khz)
{
	uint64_t num = 1000000, den = khz;
	struct scale s = { 0, 0 };

	while (num >= den) {
		den <<= 1;
		s.shift++;
	}
	while (num * 2 < den) {
		num <<= 1;
		s.shift--;
	}
	s.mult = (uint32_t)((num << 32) / den);
	return (s);
}

static uint64_t
scale_ticks(struct scale s, uint64_t ticks)
{
	ticks = s.shift < 0 ? ticks >> -s.shift : ticks << s.shift;
	return ((uint64_t)((unsigned __int128)ticks * s.mult >> 32));
}

static uint64_t
clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ((uint64_t)ts.tv_sec * NSEC + (uint64_t)ts.tv_nsec);
}

void
pvclock_init(struct pvclock *pc, uint64_t tsc_khz)
{
	*pc = (struct pvclock){
		.pc_tsc_khz = tsc_khz, .pc_boot_tsc = __rdtsc()
	};
}

/*
 * Writes a structure that begins with its version: odd version, body, even
 * version. *version is the last even one.
 */
static bool
write_versioned(const struct pvclock_memory *m, uint64_t gpa, uint32_t *version,
    void *body, unsigned len)
{
	uint32_t odd = *version + 1, even = *version + 2;
	const unsigned v = sizeof(uint32_t);

	if (!m->pm_write(m->pm_arg, gpa, &odd, v))
		return (false);
	atomic_thread_fence(memory_order_release);
	if (!m->pm_write(m->pm_arg, gpa + v, (char *)body + v, len - v))
		return (false);
	atomic_thread_fence(memory_order_release);
	if (!m->pm_write(m->pm_arg, gpa, &even, v))
		return (false);
	*version = even;
	return (true);
}

bool
pvclock_update(struct pvclock *pc, const struct pvclock_memory *m,
    int64_t tsc_offset)
{
	struct scale s = tsc_scale(pc->pc_tsc_khz);
	struct pvclock_page page = { 0 };
	uint64_t tsc;

	if (!(pc->pc_msr & 1))
		return (true);
	tsc = __rdtsc();
	page.pp_tsc = tsc + (uint64_t)tsc_offset;
	page.pp_time = scale_ticks(s, tsc - pc->pc_boot_tsc);
	page.pp_mult = s.mult;
	page.pp_shift = s.shift;
	page.pp_flags = PVCLOCK_TSC_STABLE;
	if (pc->pc_paused)
		page.pp_flags |= PVCLOCK_GUEST_STOPPED;
	pc->pc_paused = false;
	return (write_versioned(m, pc->pc_msr & ~1ull, &pc->pc_version, &page,
	    sizeof(page)));
}

/* The wall clock at time 0. */
static bool
wall_write(struct pvclock *pc, const struct pvclock_memory *m)
{
	struct scale s = tsc_scale(pc->pc_tsc_khz);
	struct pvclock_wall wall = { 0 };
	uint32_t version = 0;
	uint64_t ns;

	ns = clock_ns(CLOCK_REALTIME) -
	    scale_ticks(s, __rdtsc() - pc->pc_boot_tsc);
	wall.pw_sec = (uint32_t)(ns / NSEC);
	wall.pw_nsec = (uint32_t)(ns % NSEC);
	return (write_versioned(m, pc->pc_wall, &version, &wall,
	    sizeof(wall)));
}

int
pvclock_rdmsr(struct pvclock *pc, uint32_t msr, uint64_t *value)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		*value = pc->pc_wall;
		return (1);
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		*value = pc->pc_msr;
		return (1);
	default:
		return (0);
	}
}

int
pvclock_wrmsr(struct pvclock *pc, uint32_t msr, uint64_t value,
    const struct pvclock_memory *m, int64_t tsc_offset)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		pc->pc_wall = value;
		return (wall_write(pc, m) ? 1 : -1);
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		pc->pc_msr = value;
		if (pvclock_update(pc, m, tsc_offset))
			return (1);
		pc->pc_msr = 0;
		return (-1);
	default:
		return (0);
	}
}

/* --- the TSC's frequency ---------------------------------------------------- */

#define CALIBRATE_MS	2	/* known to some 5 ppm then, as clocks are */
#define CALIBRATE_TRIES	64

/* Reads both clocks at one moment, as nearly as a few tries allow. */
static void
read_clocks(uint64_t *tsc, uint64_t *ns)
{
	uint64_t t0, t1, n, best = UINT64_MAX;
	int i;

	for (i = 0; i < CALIBRATE_TRIES; i++) {
		t0 = __rdtsc();
		n = clock_ns(CLOCK_MONOTONIC_RAW);
		t1 = __rdtsc();
		if (t1 - t0 < best) {
			best = t1 - t0;
			*tsc = t0 + (t1 - t0) / 2;
			*ns = n;
		}
	}
}

/* The TSC's kHz as they are seen to be. */
static uint64_t
tsc_calibrate(void)
{
	struct timespec wait = { 0, CALIBRATE_MS * 1000000 };
	uint64_t t0 = 0, t1 = 0, n0 = 0, n1 = 0;

	read_clocks(&t0, &n0);
	nanosleep(&wait, NULL);
	read_clocks(&t1, &n1);
	if (n1 <= n0)
		return (0);
	return ((uint64_t)((unsigned __int128)(t1 - t0) * 1000000 /
	    (n1 - n0)));
}

/* What the CPU, or the host's own hypervisor, says; 0 if nothing. */
static uint64_t
tsc_documented(void)
{
	unsigned a, b, c, d;

	/* SDM vol. 3B 18.7.3: crystal * EBX / EAX */
	if (__get_cpuid_count(0x15, 0, &a, &b, &c, &d) && a != 0 && b != 0 &&
	    c != 0)
		return ((uint64_t)c * b / a / 1000);
	__cpuid(1, a, b, c, d);
	if (!(c & 1u << 31))
		return (0);
	__cpuid(0x40000000, a, b, c, d);
	if (a < 0x40000010 || a > 0x40010000)
		return (0);
	__cpuid(0x40000010, a, b, c, d);
	return (a);
}

static uint64_t tsc_khz;
static pthread_once_t tsc_once = PTHREAD_ONCE_INIT;

static void
tsc_measure(void)
{
	uint64_t said = tsc_documented(), seen = tsc_calibrate();

	/* A hypervisor may pass on another machine's figure. */
	tsc_khz = said > seen - seen / 200 && said < seen + seen / 200 ?
	    said : seen;
	if (tsc_khz == 0)	/* the clock stands still: anything is right */
		tsc_khz = 1000000;
}

uint64_t
pvclock_tsc_khz(void)
{
	pthread_once(&tsc_once, tsc_measure);
	return (tsc_khz);
}
