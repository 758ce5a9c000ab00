/*
 * No guest, whatever it does, brings the software engine down: hostile guests
 * (hostile.h) run on it while their client does all that engine/engine.h
 * allows at random times. What must hold:
 *
 * 1. No crash, no assertion, no sanitizer's report; guest memory has unmapped
 *    pages around it.
 * 2. After eo_kick() a run() returns. A watchdog ends the test otherwise.
 * 3. The privilege level is that of the registers; what getregs says, setregs
 *    takes, and getregs says again.
 *
 * "guest_test --forever" goes on; "--seed N" begins with the case that a
 * failure names (but the time of kicks is not the same twice).
 */
#include <sys/mman.h>

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/arguments.h"
#include "../lib/engine_options.h"
#include "base/hostfault.h"
#include "engine/engine.h"
#include "hostile.h"
#include "vmm/cpuid.h"

#define NCPUS		2
#define RUNS		24		/* of a case */
#define SHORT_SECONDS	20
#define HANG_SECONDS	30
#define PAGE		4096u

/* engine/soft/cpu.h does not go together with <signal.h>. */
#define CR0_PE		0x00000001u
#define FL_R1		0x00000002u
#define FL_VM		0x00020000u

#define ONE_IN(h, n)	(hostile_below((h), (n)) == 0)

static const struct engine_ops *const ops = &engine_soft;

struct guest {
	struct hostile	g_h;		/* memory is shared */
	struct engine_vcpu *g_vcpu;
	uint64_t	g_cr8;
	_Atomic uint64_t g_since;	/* run() began then; 0: it is not running */
	unsigned	g_exits[ENGINE_EXIT_ERROR + 1];
	unsigned	g_refused;	/* states */
};

static struct {
	uint64_t	seed;
	bool		forever;
} opt;
static struct engine_vm *vm;
static struct guest guests[NCPUS];
static _Atomic uint64_t current;	/* the case's seed */
static atomic_bool stop;

/* --- what goes wrong says where -------------------------------------------------- */

static void
say_seed(void)
{
	char text[80];
	int n;

	n = snprintf(text, sizeof(text), "# hostile guest: --seed %" PRIu64
	    "\n", atomic_load(&current));
	if (write(STDERR_FILENO, text, (size_t)n) != n)
		_exit(2);
}

static void
on_fatal(int signo)
{
	say_seed();
	signal(signo, SIG_DFL);
	raise(signo);
}

#define MUST(what)							\
	do {								\
		if (!(what)) {						\
			fprintf(stderr, "%s:%d: %s\n", __FILE__,	\
			    __LINE__, #what);				\
			abort();					\
		}							\
	} while (0)

/* Kicks all VCPUs again and again, and sees that they answer. */
static void *
kicker(void *arg)
{
	uint64_t random = 1, since;
	unsigned n;

	(void)arg;
	while (!atomic_load(&stop)) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		usleep((useconds_t)(50 + (random >> 33) % 300));
		for (n = 0; n < NCPUS; n++) {
			since = atomic_load(&guests[n].g_since);
			ops->eo_kick(guests[n].g_vcpu);
			if (since != 0 &&
			    (uint64_t)time(NULL) - since > HANG_SECONDS) {
				fprintf(stderr, "VCPU %u hangs\n", n);
				abort();
			}
		}
	}
	return (NULL);
}

/* --- the monitor's part ---------------------------------------------------------- */

static bool
monitor_read(void *arg, uint64_t gpa, unsigned size, uint64_t *data)
{
	struct guest *g = arg;

	(void)gpa;
	MUST(size == 1 || size == 2 || size == 4 || size == 8);
	*data = hostile_random(&g->g_h);
	return (!ONE_IN(&g->g_h, 3));
}

static bool
monitor_write(void *arg, uint64_t gpa, unsigned size, uint64_t data)
{
	struct guest *g = arg;

	(void)gpa;
	(void)data;
	MUST(size == 1 || size == 2 || size == 4 || size == 8);
	if (ONE_IN(&g->g_h, 16))
		ops->eo_kick(g->g_vcpu);
	return (!ONE_IN(&g->g_h, 3));
}

static bool
monitor_rdmsr(void *arg, uint32_t msr, uint64_t *value)
{
	struct guest *g = arg;

	(void)msr;
	*value = hostile_random(&g->g_h);
	return (ONE_IN(&g->g_h, 2));
}

static bool
monitor_wrmsr(void *arg, uint32_t msr, uint64_t value)
{
	(void)msr;
	(void)value;
	return (ONE_IN(&((struct guest *)arg)->g_h, 2));
}

static uint64_t
monitor_read_cr8(void *arg)
{
	return (((struct guest *)arg)->g_cr8);
}

static void
monitor_write_cr8(void *arg, uint64_t value)
{
	MUST(value < 16);
	((struct guest *)arg)->g_cr8 = value;
}

static void
monitor_cpuid(void *arg, struct engine_cpuid *ec)
{
	struct cpuid_policy policy = { .cp_ncpus = NCPUS,
	    .cp_tsc_khz = 1000000 };

	(void)arg;
	cpuid_answer(&policy, ec);
}

static const struct engine_host monitor = {
	monitor_read, monitor_write, monitor_rdmsr, monitor_wrmsr,
	monitor_read_cr8, monitor_write_cr8, monitor_cpuid
};

/* --- the client's part ----------------------------------------------------------- */

static void
check_regs(struct guest *g)
{
	struct vcpu_reg_state r, again;
	uint8_t cpl;

	memset(&r, 0, sizeof(r));
	memset(&again, 0, sizeof(again));
	MUST(ops->eo_getregs(g->g_vcpu, VM_RWREGS_ALL, &r) == 0);
	cpl = (r.vrs_crs[VCPU_REGS_CR0] & CR0_PE) == 0 ? 0 :
	    r.vrs_gprs[VCPU_REGS_RFLAGS] & FL_VM ? 3 :
	    r.vrs_sregs[VCPU_REGS_SS].vsi_ar >> 5 & 3;
	MUST(ops->eo_cpl(g->g_vcpu) == cpl);
	MUST(r.vrs_gprs[VCPU_REGS_RFLAGS] & FL_R1);
	/* RIP may have run over the edge: that faults with the next fetch */
	if ((r.vrs_gprs[VCPU_REGS_RIP] + 0x800000000000u) >> 48 != 0)
		return;
	MUST(ops->eo_setregs(g->g_vcpu, VM_RWREGS_ALL, &r) == 0);
	MUST(ops->eo_getregs(g->g_vcpu, VM_RWREGS_ALL, &again) == 0);
	MUST(memcmp(&r, &again, sizeof(r)) == 0);
}

static void
new_xstate(struct guest *g)
{
	uint8_t image[ENGINE_XSTATE_SIZE], again[ENGINE_XSTATE_SIZE];
	unsigned n;

	MUST(ops->eo_getxstate(g->g_vcpu, image) == 0);
	for (n = 0; n < 512; n++)
		if (ONE_IN(&g->g_h, 3))
			image[n] = (uint8_t)hostile_random(&g->g_h);
	image[512] = (uint8_t)hostile_below(&g->g_h, 8);
	image[513 + hostile_below(&g->g_h, 63)] = ONE_IN(&g->g_h, 4);
	if (ops->eo_setxstate(g->g_vcpu, image) != 0)
		return;
	MUST(ops->eo_getxstate(g->g_vcpu, again) == 0);
	MUST(ops->eo_setxstate(g->g_vcpu, again) == 0);
}

/* Makes a state that the engine takes. */
static void
new_guest(struct guest *g, bool memory)
{
	struct vcpu_reg_state r;
	unsigned tries = 0;
	bool reset;

	do {
		MUST(ops->eo_getregs(g->g_vcpu, VM_RWREGS_ALL, &r) == 0);
		reset = ONE_IN(&g->g_h, 2);
		if (memory)
			hostile_guest(&g->g_h, &r);
		else
			hostile_registers(&g->g_h, &r, g->g_h.h_mode);
		g->g_refused++;
		MUST(tries++ < 1000);
	} while ((reset ? ops->eo_reset(g->g_vcpu, &r) :
	    ops->eo_setregs(g->g_vcpu, VM_RWREGS_ALL, &r)) != 0);
	g->g_refused--;
	if (ONE_IN(&g->g_h, 3))
		new_xstate(g);
}

/* Rights and memory, while nothing runs. */
static void
client_memory(struct guest *g, bool alone)
{
	static const int prots[] = { PROT_NONE, PROT_READ,
	    PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
	    PROT_READ | PROT_WRITE | PROT_EXEC };
	struct hostile *h = &g->g_h;
	uint64_t gpa = hostile_page(h);

	switch (hostile_below(h, 8)) {
	case 0:
		if (alone)
			MUST(ops->eo_protect(vm, gpa, PAGE,
			    prots[hostile_below(h, 5)]) == 0);
		break;
	case 1:
		if (alone)
			MUST(mprotect(hostile_host(h, gpa), PAGE,
			    prots[hostile_below(h, 3)]) == 0);
		break;
	case 2:
		if (!alone)
			break;
		ops->eo_writes_reported(vm, ONE_IN(h, 2));
		break;
	case 3:
	case 4:
		if (!alone)
			break;
		gpa = hostile_target(h);
		MUST(mprotect(hostile_host(h, gpa & ~(uint64_t)(PAGE - 1)),
		    PAGE, PROT_READ | PROT_WRITE) == 0);
		ops->eo_written(vm, gpa, hostile_scribble(h, gpa));
		break;
	}
}

static void
client_msrs(struct guest *g)
{
	struct hostile *h = &g->g_h;
	uint32_t msr = hostile_msr(h);
	uint64_t value;

	if (ops->eo_getmsr(g->g_vcpu, msr, &value) == 0 && ONE_IN(h, 4))
		(void)ops->eo_setmsr(g->g_vcpu, msr, value);
	if (ONE_IN(h, 8))
		(void)ops->eo_setmsr(g->g_vcpu, msr, hostile_address(h));
}

/* All rights to all memory. */
static void
client_restore(struct guest *g)
{
	struct hostile_range *r;

	for (r = g->g_h.h_range; r < g->g_h.h_range + HOSTILE_RANGES; r++) {
		MUST(mprotect(r->hr_host, r->hr_size,
		    PROT_READ | PROT_WRITE) == 0);
		MUST(ops->eo_protect(vm, r->hr_gpa, r->hr_size,
		    PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
		ops->eo_written(vm, r->hr_gpa, r->hr_size);
	}
}

static void
run_guest(struct guest *g, bool alone)
{
	struct engine_run run = { .er_inject = -1 };
	struct hostile *h = &g->g_h;
	unsigned n;

	for (n = 0; n < RUNS; n++) {
		atomic_store(&g->g_since, (uint64_t)time(NULL));
		MUST(ops->eo_run(g->g_vcpu, &run) == 0);
		atomic_store(&g->g_since, 0);
		MUST(run.er_exit <= ENGINE_EXIT_ERROR);
		MUST(run.er_ready == ops->eo_ready(g->g_vcpu));
		g->g_exits[run.er_exit]++;
		if (ONE_IN(h, 3) && run.er_exit != ENGINE_EXIT_MMIO &&
		    run.er_exit != ENGINE_EXIT_IO)
			check_regs(g);
		if (run.er_exit == ENGINE_EXIT_SHUTDOWN ||
		    run.er_exit == ENGINE_EXIT_ERROR) {
			if (ONE_IN(h, 2))
				break;
			new_guest(g, false);
		}
		if (run.er_exit == ENGINE_EXIT_PROTECT && alone)
			client_restore(g);
		run = (struct engine_run){ .er_inject = -1,
		    .er_complete = !ONE_IN(h, 16),
		    .er_data = hostile_random(h),
		    .er_nmi = ONE_IN(h, 8), .er_window = ONE_IN(h, 4) };
		if (ONE_IN(h, 4) && ops->eo_ready(g->g_vcpu))
			run.er_inject = (int)hostile_below(h, 256);
		if (ONE_IN(h, 4))
			client_memory(g, alone);
		if (ONE_IN(h, 8))
			client_msrs(g);
		if (ONE_IN(h, 40))
			new_xstate(g);
		if (ONE_IN(h, 40))
			new_guest(g, false);
	}
}

static void *
run_other(void *arg)
{
	struct guest *g = arg;

	new_guest(g, false);
	run_guest(g, false);
	return (NULL);
}

/* --- cases -------------------------------------------------------------------------- */

static void
vm_begin(void)
{
	struct engine_range ranges[HOSTILE_RANGES];
	struct engine_vm_config config = { .ev_ranges = ranges,
	    .ev_nranges = HOSTILE_RANGES, .ev_tsc_khz = 1000000,
	    .ev_options = engine_options() };
	unsigned n;

	MUST(hostile_map(&guests[0].g_h));
	for (n = 0; n < HOSTILE_RANGES; n++)
		ranges[n] = (struct engine_range){
		    guests[0].g_h.h_range[n].hr_gpa,
		    guests[0].g_h.h_range[n].hr_host,
		    guests[0].g_h.h_range[n].hr_size };
	MUST(ops->eo_vm_new(&config, &vm) == 0);
	for (n = 0; n < NCPUS; n++)
		MUST(ops->eo_vcpu_new(vm, n, &monitor, &guests[n],
		    &guests[n].g_vcpu) == 0);
}

static void
vm_end(void)
{
	unsigned n;

	for (n = 0; n < NCPUS; n++)
		ops->eo_vcpu_free(guests[n].g_vcpu);
	ops->eo_vm_free(vm);
	hostile_unmap(&guests[0].g_h);
}

static void
one_case(uint64_t seed)
{
	pthread_t other;
	bool alone;

	atomic_store(&current, seed);
	client_restore(&guests[0]);
	guests[0].g_h.h_rng = seed * 0x9e3779b97f4a7c15u | 1;
	guests[1].g_h = guests[0].g_h;
	guests[1].g_h.h_rng ^= 0x5555555555555554u;
	alone = !ONE_IN(&guests[0].g_h, 8);
	new_guest(&guests[0], true);
	guests[1].g_h.h_mode = guests[0].g_h.h_mode;
	if (!alone)
		MUST(pthread_create(&other, NULL, run_other,
		    &guests[1]) == 0);
	run_guest(&guests[0], alone);
	if (!alone)
		MUST(pthread_join(other, NULL) == 0);
}

static void
test_hostile_guests(void **state)
{
	static const char *const names[] = { "kick", "window", "io", "mmio",
	    "hlt", "shutdown", "protect", "error" };
	static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE,
	    SIGILL };
	struct timespec begin, now;
	uint64_t cases = 0;
	pthread_t thread;
	unsigned n;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	vm_begin();
	/* cmocka has its own handlers: away with them */
	for (n = 0; n < sizeof(signals) / sizeof(signals[0]); n++)
		signal(signals[n], on_fatal);
	hostfault_init();
	MUST(pthread_create(&thread, NULL, kicker, NULL) == 0);
	do {
		one_case(opt.seed + cases++);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (opt.forever && cases % 10000 == 0)
			printf("# %" PRIu64 " cases in %lld s, %" PRIu64
			    " instructions\n", cases,
			    (long long)(now.tv_sec - begin.tv_sec),
			    ops->eo_insns(guests[0].g_vcpu));
	} while (opt.forever || now.tv_sec - begin.tv_sec < SHORT_SECONDS);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	printf("# %" PRIu64 " cases, %" PRIu64 " instructions, %u states "
	    "refused; exits:", cases, ops->eo_insns(guests[0].g_vcpu),
	    guests[0].g_refused);
	for (n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		printf(" %u %s", guests[0].g_exits[n], names[n]);
	printf("\n");
	/* they get somewhere; a busy host has time for few */
	for (n = 0; cases > 1000 && n < ENGINE_EXIT_ERROR; n++)
		MUST(guests[0].g_exits[n] > 0);
	vm_end();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_guests),
	};
	const struct argument table[] = {
		{ "seed", .a_u64 = &opt.seed },
		{ "forever", .a_flag = &opt.forever },
		{ .a_name = NULL },
	};

	opt.seed = new_seed();
	arguments(argc, argv, table);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# seed %" PRIu64 "\n", opt.seed);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
