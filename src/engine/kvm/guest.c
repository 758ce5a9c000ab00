/*
 * The probe's test guest: supervisor code in long mode with paging, SSE, a
 * string instruction and interrupts, which must come out right and at the
 * speed of hardware.
 *
 * There are KVMs on which every call succeeds, real mode and user mode work,
 * and this code alone is emulated at a microsecond an instruction, or not at
 * all. Its result tells, the thread's CPU time tells, and so does the number
 * of instructions that KVM says it has emulated.
 *
 * 1. The best of TRIES counts, in CPU time: a busy host does not matter.
 * 2. A timer's signals end what does not end by itself.
 *
 * Any thread, one at a time (probe.c).
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

#define TRIES		3
#define TURNS		20000
#define FAST_NS		5000000ull
#define LIMIT_S		1		/* for all of it */
#define MEMORY		0x10000u
#define VECTOR		0x30
#define PORT		0x5a
#define RESULT		(2u << 8 | 12)

/* Where things are in the guest's memory; the code knows the last three. */
#define GDT		0x0800u
#define IDT		0x1000u
#define PML4		0x2000u
#define PDPT		0x3000u
#define PD		0x4000u
#define CODE		0x5000u
#define SOURCE		0x6000u
#define COPY		0x7000u
#define COUNTER		0x8000u
#define STACK		0xf000u

/* guest_code.S */
extern const uint8_t kvm_guest_code[];
extern const uint32_t kvm_guest_handler, kvm_guest_size;

struct guest {
	int		 g_dev, g_vm, g_vcpu, g_stats;
	struct kvm_run	*g_run;
	size_t		 g_run_size;
	uint8_t		*g_mem;
	timer_t		 g_timer;
	bool		 g_timed;
	uint64_t	 g_emulated;	/* where the statistic is; 0: nowhere */
	char		*g_why;
	size_t		 g_whylen;
};

static int __attribute__((format(printf, 2, 3)))
fail(struct guest *g, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->g_why, g->g_whylen, fmt, ap);
	va_end(ap);
	return (ENODEV);
}

static int
fail_call(struct guest *g, const char *what)
{
	return (fail(g, "%s: %s", what, strerror(errno)));
}

static uint64_t
clock_ns(clockid_t id)
{
	struct timespec ts = { 0, 0 };

	(void)clock_gettime(id, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

/* --- making it --------------------------------------------------------------------- */

static void
put64(struct guest *g, uint32_t at, uint64_t value)
{
	memcpy(g->g_mem + at, &value, sizeof(value));
}

static void
make_memory(struct guest *g)
{
	uint64_t handler = CODE + kvm_guest_handler;
	unsigned n;

	put64(g, GDT + 8, 0x00af9b000000ffff);		/* 64-bit code */
	put64(g, GDT + 16, 0x00cf93000000ffff);		/* data */
	put64(g, IDT + VECTOR * 16, (handler & 0xffff) | 8 << 16 |
	    0x8eul << 40 | (handler & 0xffff0000) << 32);
	put64(g, PML4, PDPT | 3);
	put64(g, PDPT, PD | 3);
	put64(g, PD, 0x83);				/* 2 MiB at 0 */
	memcpy(g->g_mem + CODE, kvm_guest_code, kvm_guest_size);
	for (n = 0; n < 4096; n++)
		g->g_mem[SOURCE + n] = (uint8_t)(n * 7 + (n >> 8));
}

static int
make_registers(struct guest *g)
{
	struct kvm_segment data = { .limit = UINT32_MAX, .selector = 16,
	    .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };
	struct kvm_sregs s;

	if (kvm_sys.ks_ioctl(g->g_vcpu, KVM_GET_SREGS, &s) == -1)
		return (fail_call(g, "KVM_GET_SREGS"));
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cs.db = 0;
	s.cs.l = 1;
	s.gdt.base = GDT;
	s.gdt.limit = 23;
	s.idt.base = IDT;
	s.idt.limit = 0xfff;
	s.cr0 = 0x80000033;		/* PG, NE, ET, MP, PE */
	s.cr3 = PML4;
	s.cr4 = 0x620;			/* OSXMMEXCPT, OSFXSR, PAE */
	s.efer = 0x500;			/* LMA, LME */
	if (kvm_sys.ks_ioctl(g->g_vcpu, KVM_SET_SREGS, &s) == -1)
		return (fail_call(g, "KVM_SET_SREGS"));
	if (kvm_sys.ks_ioctl(g->g_vcpu, KVM_SET_REGS, &regs) == -1)
		return (fail_call(g, "KVM_SET_REGS"));
	return (0);
}

/* The CPUID that KVM supports, as it is: long mode and SSE must be in it. */
static int
make_cpuid(struct guest *g)
{
	const unsigned room = 256;
	struct kvm_cpuid2 *c;
	int error = 0;

	c = calloc(1, sizeof(*c) + room * sizeof(c->entries[0]));
	if (c == NULL)
		return (fail_call(g, "the test guest"));
	c->nent = room;
	if (kvm_sys.ks_ioctl(g->g_dev, KVM_GET_SUPPORTED_CPUID, c) == -1)
		error = fail_call(g, "KVM_GET_SUPPORTED_CPUID");
	else if (kvm_sys.ks_ioctl(g->g_vcpu, KVM_SET_CPUID2, c) == -1)
		error = fail_call(g, "KVM_SET_CPUID2");
	free(c);
	return (error);
}

static int
make_signals(struct guest *g)
{
	struct sigevent sev;
	struct itimerspec its;

	memset(&sev, 0, sizeof(sev));
	sev.sigev_notify = SIGEV_THREAD_ID;
	sev.sigev_signo = KICK_SIGNAL;
	sev._sigev_un._tid = (int)syscall(SYS_gettid);
	/* again and again: one may come just before KVM_RUN */
	its.it_value = (struct timespec){ .tv_sec = LIMIT_S };
	its.it_interval = (struct timespec){ .tv_nsec = 10000000 };
	kick_init();
	if (timer_create(CLOCK_MONOTONIC, &sev, &g->g_timer) == -1)
		return (fail_call(g, "the test guest's timer"));
	g->g_timed = true;
	return (timer_settime(g->g_timer, 0, &its, NULL) == -1 ?
	    fail_call(g, "the test guest's timer") : 0);
}

static int
make(struct guest *g)
{
	struct kvm_userspace_memory_region r = { .memory_size = MEMORY };
	int size;

	do {
		g->g_vm = kvm_ioctl_number(g->g_dev, KVM_CREATE_VM, 0);
	} while (g->g_vm == -1 && errno == EINTR);
	if (g->g_vm == -1)
		return (fail_call(g, "KVM_CREATE_VM"));
	g->g_mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);
	if (g->g_mem == MAP_FAILED) {
		g->g_mem = NULL;
		return (fail_call(g, "the test guest's memory"));
	}
	r.userspace_addr = (uintptr_t)g->g_mem;
	if (kvm_sys.ks_ioctl(g->g_vm, KVM_SET_USER_MEMORY_REGION, &r) == -1)
		return (fail_call(g, "KVM_SET_USER_MEMORY_REGION"));
	g->g_vcpu = kvm_ioctl_number(g->g_vm, KVM_CREATE_VCPU, 0);
	if (g->g_vcpu == -1)
		return (fail_call(g, "KVM_CREATE_VCPU"));
	/* the thread may block the timer's */
	if (kvm_signals(g->g_vcpu) != 0)
		return (fail_call(g, "KVM_SET_SIGNAL_MASK"));
	size = kvm_ioctl_number(g->g_dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return (fail_call(g, "KVM_GET_VCPU_MMAP_SIZE"));
	g->g_run_size = (size_t)size;
	if ((g->g_run = kvm_sys.ks_map(g->g_vcpu, g->g_run_size)) == NULL)
		return (fail_call(g, "a VCPU's memory"));
	return (make_cpuid(g));
}

static void
unmake(struct guest *g)
{
	const struct timespec now = { 0, 0 };
	sigset_t set;

	if (g->g_timed) {
		(void)timer_delete(g->g_timer);
		/* where it is blocked, the last one still waits */
		sigemptyset(&set);
		sigaddset(&set, KICK_SIGNAL);
		(void)sigtimedwait(&set, NULL, &now);
	}
	if (g->g_run != NULL)
		kvm_sys.ks_unmap(g->g_run, g->g_run_size);
	if (g->g_stats != -1)
		(void)kvm_sys.ks_close(g->g_stats);
	if (g->g_vcpu != -1)
		(void)kvm_sys.ks_close(g->g_vcpu);
	if (g->g_vm != -1)
		(void)kvm_sys.ks_close(g->g_vm);
	if (g->g_mem != NULL)
		(void)munmap(g->g_mem, MEMORY);
}

/* --- KVM's statistics (api.rst, 4.133) ------------------------------------------------ */

static bool
read_at(int fd, void *buf, size_t len, uint64_t at)
{
	return (pread(fd, buf, len, (off_t)at) == (ssize_t)len);
}

/* Looks for the count of emulated instructions; none is no error. */
static void
stats_open(struct guest *g)
{
	struct kvm_stats_header h;
	struct kvm_stats_desc d;
	char name[64];
	uint64_t at;
	uint32_t n;

	g->g_stats = kvm_ioctl_number(g->g_vcpu, KVM_GET_STATS_FD, 0);
	if (g->g_stats == -1 || !read_at(g->g_stats, &h, sizeof(h), 0) ||
	    h.name_size > sizeof(name) || h.name_size == 0)
		return;
	for (n = 0; n < h.num_desc; n++) {
		at = h.desc_offset + (uint64_t)n * (sizeof(d) + h.name_size);
		if (!read_at(g->g_stats, &d, sizeof(d), at) ||
		    !read_at(g->g_stats, name, h.name_size, at + sizeof(d)))
			return;
		name[h.name_size - 1] = '\0';
		if (strcmp(name, "insn_emulation") == 0)
			g->g_emulated = h.data_offset + d.offset;
	}
}

static uint64_t
stats_emulated(const struct guest *g)
{
	uint64_t n;

	return (g->g_emulated != 0 && read_at(g->g_stats, &n, sizeof(n),
	    g->g_emulated) ? n : 0);
}

/* --- running it ------------------------------------------------------------------------- */

static int
enter(struct guest *g, uint32_t reason)
{
	if (kvm_sys.ks_ioctl(g->g_vcpu, KVM_RUN, NULL) == -1)
		return (errno == EINTR ? fail(g, "the test guest does not end "
		    "by itself") : fail_call(g, "KVM_RUN"));
	if (g->g_run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		return (fail(g, "it cannot run supervisor code in long mode"));
	if (g->g_run->exit_reason != reason)
		return (fail(g, "the test guest ended with exit %u in place "
		    "of %u", g->g_run->exit_reason, reason));
	return (0);
}

/* One try. 0 and how long it took, or ENODEV. */
static int
try(struct guest *g, uint64_t *ns)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct kvm_run *run = g->g_run;
	const uint8_t *data;
	uint64_t before;
	uint32_t result;
	int error;

	memset(g->g_mem + COPY, 0, 4096);
	memset(g->g_mem + COUNTER, 0, 4);
	if ((error = make_registers(g)) != 0)
		return (error);
	before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	run->request_interrupt_window = 1;
	if ((error = enter(g, KVM_EXIT_IRQ_WINDOW_OPEN)) != 0)
		return (error);
	run->request_interrupt_window = 0;
	if (kvm_sys.ks_ioctl(g->g_vcpu, KVM_INTERRUPT, &irq) == -1)
		return (fail_call(g, "KVM_INTERRUPT"));
	if ((error = enter(g, KVM_EXIT_IO)) != 0)
		return (error);
	*ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
	data = (const uint8_t *)run + run->io.data_offset;
	if (run->io.port != PORT || run->io.size != sizeof(result) ||
	    run->io.data_offset > g->g_run_size - sizeof(result))
		return (fail(g, "the test guest wrote to a wrong port"));
	memcpy(&result, data, sizeof(result));
	if (result != RESULT)
		return (fail(g, "the test guest computed %#x in place of %#x",
		    result, RESULT));
	if (memcmp(g->g_mem + SOURCE, g->g_mem + COPY, 4096) != 0)
		return (fail(g, "the test guest copied memory wrongly"));
	return (0);
}

static int
run(struct guest *g)
{
	uint64_t best = UINT64_MAX, ns = 0, emulated;
	int n, error;

	if ((error = make_signals(g)) != 0)
		return (error);
	stats_open(g);
	make_memory(g);
	emulated = stats_emulated(g);
	for (n = 0; n < TRIES && best > FAST_NS; n++) {
		if ((error = try(g, &ns)) != 0)
			return (error);
		if (ns < best)
			best = ns;
	}
	emulated = stats_emulated(g) - emulated;
	if (emulated > (uint64_t)n * TURNS / 10)
		return (fail(g, "it emulates supervisor code (%llu of some %u "
		    "instructions)", (unsigned long long)emulated, n * TURNS));
	if (best > FAST_NS)
		return (fail(g, "it runs supervisor code too slowly (%u us for "
		    "%u turns of a loop)", (unsigned)(best / 1000), TURNS));
	return (0);
}

int
kvm_guest_test(int dev, char *why, size_t whylen)
{
	struct guest g = { .g_dev = dev, .g_vm = -1, .g_vcpu = -1,
	    .g_stats = -1, .g_why = why, .g_whylen = whylen };
	int error = make(&g);

	if (error == 0)
		error = run(&g);
	unmake(&g);
	return (error);
}
