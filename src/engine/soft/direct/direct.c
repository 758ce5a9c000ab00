/*
 * Direct execution (direct.h): when, and the guest's registers there and back.
 *
 * POLICY. A sample a millisecond tells which address space is in user mode;
 * one that was so SAMPLES times running is executed directly from then on,
 * whenever it is entered. All the time spent here is weighed against that in
 * the process, in windows of STOPS stops or WINDOW_NS: had translated code,
 * taken to be GAIN times slower, been faster? Then the space is left alone for
 * a while, twice as long each time. Time in the process is CPU time, so that
 * others' load does not count, without what a stop takes of it. What a stop
 * takes of it and of us was measured once (d_switch): looking at both clocks
 * would make it a tenth dearer. Making mappings is an investment, not counted
 * up to INVEST_NS and the time that was run. A space is left alone, too, if
 * most stops are soon after the last one at code that has to be translated:
 * then most of what is taken for time in the process is what the host takes on
 * a busier day. And so if nearly all of a full window's are one upon the other:
 * system calls, as those of a process that reads a disk, or faults after hardly
 * any time.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#undef REG_RIP		/* ours is insn.h's */

#include "base/log.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"
#include "engine/soft/simd.h"
#include "engine/soft/vm.h"
#include "engine/soft/walk.h"

#define SAMPLES		8
#define STOPS		64
#define WINDOW_NS	10000000
#define CALIBRATE	16	/* stops */
#define SOON		7	/* times what a stop takes */
#define UPON		2	/* the same, before a system call */
#define HARDLY		2	/* a part of it, before a fault */
#define GAIN		4
#define PENALTY_NS	10000000
#define PENALTY_MAX_NS	1280000000
#define PINNED_NS	50000000
#define INVEST_NS	30000000

#define HWCAP2_FSGSBASE	0x2
#define VSYSCALL	UINT64_C(0xffffffffff600000)
#define USER_CS		0x33	/* Linux's */
#define USER_DS		0x2b
#define USER_CS32	0x23
/* What code of CPL 3 can change, and what the process must have as the guest. */
#define FL_USER		(FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID)
#define FL_FIXED	(FL_IF | FL_IOPL | FL_TF | FL_RF | FL_AC | FL_VM | \
	FL_VIF | FL_VIP | FL_ID)

_Static_assert(PROCESS_GUEST == ENGINE_XSTATE_SIZE, "what is read");

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

/* --- making ---------------------------------------------------------------------- */

static uint64_t
host_xcr0(void)
{
	uint32_t low, high;

	if (!__builtin_cpu_supports("avx"))
		return (3);
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return ((uint64_t)high << 32 | low);
}

void
direct_new(struct cpu *c, const struct jit_options *jo)
{
	const struct engine_vm *vm = c->c_vm;
	struct direct *d;
	unsigned n;

	if (!jo->jo_direct && ((jo->jo_tier != 0 && jo->jo_tier < 3) ||
	    jo->jo_exact || jo->jo_nochain || jo->jo_count ||
	    jo->jo_lockstep || jo->jo_insns != 0 || jo->jo_noavx))
		return;
	for (n = 0; n < vm->ev_nranges; n++)
		if (vm->ev_ranges[n].vr_fd == -1)
			return;
	if (c->c_jit == NULL || !vm->ev_writes_reported ||
	    (d = calloc(1, sizeof(*d))) == NULL)
		return;
	/* zeroes are nobody's: a page that is watched was scanned */
	d->d_scanned = calloc(DIRECT_SCANNED, sizeof(*d->d_scanned));
	if (d->d_scanned == NULL) {
		free(d);
		return;
	}
	d->d_forced = jo->jo_direct;
	d->d_cpu = -1;
	d->d_xsave = host_xcr0() == c->c_xcr0_valid;
	d->d_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
	d->d_mode = JM_CPL3 | (unsigned)MMU_USER | JM_64 | JM_SSE | JM_X87 |
	    JM_XM | JM_TSC | (c->c_xcr0_valid & 4 ? JM_AVX : 0);
	c->c_direct = d;
	c->c_direct_on = d->d_forced;
}

static void
unpin(struct direct *d)
{
	if (d->d_cpu == -1)
		return;
	(void)sched_setaffinity(0, sizeof(d->d_affinity), &d->d_affinity);
	d->d_cpu = -1;
}

static void
space_drop(struct direct *d, unsigned n)
{
	if (d->d_space[n] == NULL)
		return;
	space_free(d->d_space[n]);
	free(d->d_space[n]);
	d->d_space[n] = NULL;
}

void
direct_free(struct cpu *c)
{
	struct direct *d = c->c_direct;
	unsigned n;

	if (d == NULL)
		return;
	for (n = 0; n < DIRECT_SPACES; n++)
		space_drop(d, n);
	free(d->d_scanned);
	free(d);
	c->c_direct = NULL;
	c->c_direct_on = false;
}

void
direct_end(struct cpu *c)
{
	if (c->c_direct != NULL)
		unpin(c->c_direct);
}

void
direct_kick(struct cpu *c)
{
	struct direct *d = c->c_direct;
	int pid;

	/* whoever was here last reaped it after d_running: at worst a signal
	 * that means nothing */
	if (d != NULL && (pid = atomic_load(&d->d_running)) != 0)
		kill(pid, SIGURG);
}

/* Us and the process on one CPU: handing over is several times cheaper then. */
static void
pin(struct direct *d, struct space *s, uint64_t at)
{
	cpu_set_t one;
	int cpu;

	if (d->d_cpu != -1 && at - d->d_pinned > PINNED_NS)
		unpin(d);		/* to where there is room by now */
	CPU_ZERO(&one);
	if (d->d_cpu == -1) {
		if ((cpu = sched_getcpu()) == -1 || sched_getaffinity(0,
		    sizeof(d->d_affinity), &d->d_affinity) == -1)
			return;
		CPU_SET((unsigned)cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) == -1)
			return;
		d->d_cpu = cpu;
		d->d_pinned = at;
	}
	if (s->s_cpu != d->d_cpu) {
		CPU_SET((unsigned)d->d_cpu, &one);
		if (sched_setaffinity(s->s_process.p_pid, sizeof(one),
		    &one) == 0)
			s->s_cpu = d->d_cpu;
	}
}

/* --- spaces ------------------------------------------------------------------------ */

#define CR3_TABLE(cr3)	((cr3) & UINT64_C(0x000ffffffffff000))

static struct space *
space_current(const struct cpu *c)
{
	const struct direct *d = c->c_direct;
	unsigned n;

	for (n = 0; n < DIRECT_SPACES; n++)
		if (d->d_space[n] != NULL &&
		    d->d_space[n]->s_table == CR3_TABLE(c->c_cr3))
			return (d->d_space[n]);
	return (NULL);
}

/* How long a stop takes: that at an instruction that is not there. */
static void
calibrate(struct direct *d, struct space *s)
{
	struct process_status ps;
	uint64_t from, own;
	unsigned n;

	s->s_process.p_regs.rip = 0;
	for (n = 0; n < CALIBRATE; n++) {
		from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		process_run(&s->s_process, true, NULL, &ps);
		own = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
		if (d->d_switch == 0 || own + ps.ps_ns < d->d_switch) {
			d->d_switch = own + ps.ps_ns;
			d->d_its = ps.ps_ns;
		}
	}
}

/* That of the tables in CR3, in place of the one not used for longest. */
static struct space *
space_make(struct cpu *c)
{
	struct direct *d = c->c_direct;
	struct space *s;
	unsigned n, oldest = 0;
	int error;

	for (n = 0; n < DIRECT_SPACES; n++) {
		if (d->d_space[n] == NULL) {
			oldest = n;
			break;
		}
		if (d->d_space[n]->s_used < d->d_space[oldest]->s_used)
			oldest = n;
	}
	space_drop(d, oldest);
	if ((s = calloc(1, sizeof(*s))) == NULL)
		error = ENOMEM;
	else
		error = space_new(s, c);
	if (error != 0) {
		free(s);
		d->d_failed = true;
		d->d_why = error;
		c->c_direct_on = false;
		return (NULL);
	}
	d->d_stats.spaces++;
	s->s_cpu = -1;
	s->s_table = CR3_TABLE(c->c_cr3);
	s->s_context = c->c_mmu->m_context;
	s->s_retag = d->d_retag;
	d->d_space[oldest] = s;
	pin(d, s, clock_ns(CLOCK_MONOTONIC));
	if (d->d_switch == 0)
		calibrate(d, s);
	return (s);
}

void
direct_switch(struct cpu *c)
{
	const struct direct *d = c->c_direct;
	const struct space *s;

	if (d->d_forced)
		return;
	s = space_current(c);
	c->c_direct_on = s != NULL && s->s_wanted;
}

void
direct_forget(struct cpu *c, uint64_t linear)
{
	struct space *s = space_current(c);

	if (s != NULL)
		space_forget(s, linear);
}

/* What this gpa's page is mapped for in any space. */
static void
forget_gpa(struct cpu *c, uint64_t gpa, unsigned rights)
{
	const struct direct *d = c->c_direct;
	unsigned n;

	for (n = 0; n < DIRECT_SPACES; n++)
		if (d->d_space[n] != NULL)
			space_forget_gpa(d->d_space[n], gpa, rights);
}

void
direct_forget_write(struct cpu *c, uint64_t gpa)
{
	forget_gpa(c, gpa, ENGINE_WRITE);
}

void
direct_written(struct cpu *c, uint64_t gpa)
{
	atomic_uchar *flags;
	uint8_t *host;

	flags = vm_page(c->c_vm, &c->c_mmu->m_range, gpa, &host);
	if (flags == NULL || (*flags & PAGE_EXEC) == 0)
		return;
	atomic_fetch_and(flags, (unsigned char)~PAGE_EXEC);
	forget_gpa(c, gpa, ENGINE_EXEC);
}

void
direct_written_any(struct cpu *c)
{
	const struct direct *d = c->c_direct;
	const struct extent *e;
	const struct space *s;
	unsigned n;

	for (n = 0; n < DIRECT_SPACES; n++) {
		if ((s = d->d_space[n]) == NULL)
			continue;
		for (e = s->s_extents; e < s->s_extents + s->s_count; e++)
			if (e->e_rights & ENGINE_EXEC)
				direct_written(c, e->e_gpa);
	}
}

/* --- policy ----------------------------------------------------------------------- */

static void
give_up(struct cpu *c, struct space *s, uint64_t at)
{
	struct direct *d = c->c_direct;

	s->s_penalty = s->s_penalty == 0 ? PENALTY_NS : s->s_penalty * 2;
	if (s->s_penalty > PENALTY_MAX_NS)
		s->s_penalty = PENALTY_MAX_NS;
	s->s_not_before = at + s->s_penalty;
	s->s_wanted = false;
	c->c_direct_on = false;
	d->d_samples = 0;
	d->d_stats.given_up++;
	unpin(d);
}

/* So long was spent here for stops stops, ran of it in the process: was it
 * worth that? */
static void
weigh(struct cpu *c, struct space *s, uint64_t spent, uint64_t ran,
    unsigned stops)
{
	struct direct *d = c->c_direct;

	d->d_window.spent += spent;
	d->d_window.ran += ran;
	d->d_window.stops += stops;
	if (d->d_window.stops < STOPS && d->d_window.spent < WINDOW_NS)
		return;
	if (d->d_window.spent <= d->d_window.ran * GAIN &&
	    d->d_window.vain <= d->d_window.stops / 2 &&
	    (d->d_window.stops < STOPS ||
	    d->d_window.upon <= d->d_window.stops / 4 * 3))
		s->s_penalty /= 2;
	else if (!d->d_forced)
		give_up(c, s, clock_ns(CLOCK_MONOTONIC));
	memset(&d->d_window, 0, sizeof(d->d_window));
}

void
direct_sample(struct cpu *c)
{
	struct direct *d = c->c_direct;
	struct space *s;

	if (d->d_failed || d->d_forced || c->c_direct_on)
		return;
	if (c->c_cpl != 3 || c->c_jmode != d->d_mode)
		return;
	if (d->d_table != CR3_TABLE(c->c_cr3)) {
		d->d_table = CR3_TABLE(c->c_cr3);
		d->d_samples = 0;
	}
	if (++d->d_samples < SAMPLES)
		return;
	s = space_current(c);
	if (s != NULL && clock_ns(CLOCK_MONOTONIC) < s->s_not_before)
		return;
	if (s == NULL && (s = space_make(c)) == NULL)
		return;
	s->s_wanted = true;
	c->c_direct_on = true;
	jc_leave(c);
	memset(&d->d_window, 0, sizeof(d->d_window));
}

/* --- registers ---------------------------------------------------------------------- */

/* A selector that a process of the host's can have. */
static bool
data_fits(const struct segment *s)
{
	return (s->s_sel == 0 || s->s_sel == USER_DS);
}

static bool
base_fits(const struct segment *s)
{
	return (s->s_sel == 0 && s->s_base < USER_END);
}

/* Can what is to be executed next be executed by the bare CPU? */
static bool
direct_fits(const struct cpu *c, const struct space *s)
{
	const struct direct *d = c->c_direct;
	const struct segment *seg = c->c_seg;

	return (c->c_jmode == d->d_mode && vm_alone(c->c_vm) &&
	    c->c_paging == PAGING_4LEVEL && c->c_tsc_offset == 0 &&
	    c->c_xcr0 == c->c_xcr0_valid &&
	    (c->c_dr[7] & DR7_ENABLED) == 0 &&
	    ((c->c_cr4 & CR4_FSGSBASE) != 0) == d->d_fsgsbase &&
	    (c->c_rflags & FL_FIXED) == (FL_IF |
	    (s->s_process.p_regs.eflags & FL_ID)) &&
	    c->c_dr6_pending == 0 && c->c_event.e_kind == EVENT_NONE &&
	    !c->c_shadow_sti && !c->c_shadow_ss &&
	    seg[SEG_CS].s_sel == USER_CS && seg[SEG_SS].s_sel == USER_DS &&
	    data_fits(&seg[SEG_DS]) && data_fits(&seg[SEG_ES]) &&
	    base_fits(&seg[SEG_FS]) && base_fits(&seg[SEG_GS]));
}

/* GPRs of the process by our numbers. */
static const size_t reg_at[16] = {
#define AT(r)	offsetof(struct process_regs, r)
	AT(rax), AT(rcx), AT(rdx), AT(rbx), AT(rsp), AT(rbp), AT(rsi),
	AT(rdi), AT(r8), AT(r9), AT(r10), AT(r11), AT(r12), AT(r13), AT(r14),
	AT(r15)
#undef AT
};

static uint64_t *
reg(struct process *p, unsigned n)
{
	return ((uint64_t *)(void *)((char *)&p->p_regs +
	    reg_at[n]));
}

/* The guest's registers into the process; true: its p_xstate changed. */
static bool
state_put(const struct cpu *c, struct space *s)
{
	struct process *p = &s->s_process;
	struct process_regs *r = &p->p_regs;
	_Alignas(64) uint8_t xstate[ENGINE_XSTATE_SIZE];
	unsigned n;

	for (n = 0; n < 16; n++)
		*reg(p, n) = c->c_gpr[n];
	r->rip = c->c_rip;
	r->eflags = cpu_rflags(c);
	r->cs = c->c_seg[SEG_CS].s_sel;
	r->ss = c->c_seg[SEG_SS].s_sel;
	r->ds = c->c_seg[SEG_DS].s_sel;
	r->es = c->c_seg[SEG_ES].s_sel;
	r->fs = r->gs = 0;
	r->fs_base = c->c_seg[SEG_FS].s_base;
	r->gs_base = c->c_seg[SEG_GS].s_base;
	fpu_get_xstate(c, xstate);
	/* MXCSR_MASK, and what the host's kernel has behind the registers */
	memcpy(xstate + 28, p->p_xstate + 28, 4);
	memcpy(xstate + 464, p->p_xstate + 464, 48);
	if (s->s_xstate && memcmp(p->p_xstate, xstate, sizeof(xstate)) == 0)
		return (false);
	memcpy(p->p_xstate, xstate, sizeof(xstate));
	/* all of it: the host would not take MXCSR without XMM registers */
	p->p_xstate[512] = 7;
	return (true);
}

/* A segment register of the process has been loaded: with what the host's
 * kernel has there, which is what made direct_fits() say yes. */
static void
selector_get(struct cpu *c, unsigned n, uint64_t sel)
{
	struct segment *s = &c->c_seg[n];

	if (s->s_sel == (sel & UINT16_MAX))
		return;
	s->s_sel = (uint16_t)sel;
	s->s_base = 0;
	s->s_limit = UINT32_MAX;
	s->s_flat = 0;
	s->s_ar = AR_G | AR_P | AR_S | AR_DPL | AR_WRITABLE | AR_ACCESSED;
	if (sel == USER_CS)
		s->s_ar |= AR_CODE | AR_L;
	else if (sel == USER_CS32)
		s->s_ar |= AR_CODE | AR_DB;
	else
		s->s_ar |= AR_DB;
	if ((sel & ~3u) == 0)
		s->s_ar |= AR_UNUSABLE;
}

/* And back, from where it stopped. */
static void
state_get(struct cpu *c, struct space *s)
{
	struct process *p = &s->s_process;
	const struct process_regs *r = &p->p_regs;
	_Alignas(64) uint8_t xstate[ENGINE_XSTATE_SIZE];
	unsigned n;

	for (n = 0; n < 16; n++)
		c->c_gpr[n] = *reg(p, n);
	c->c_rip = r->rip;
	c->c_repeating = false;
	selector_get(c, SEG_DS, r->ds);
	selector_get(c, SEG_ES, r->es);
	selector_get(c, SEG_FS, r->fs);
	selector_get(c, SEG_GS, r->gs);
	selector_get(c, SEG_SS, r->ss);
	selector_get(c, SEG_CS, r->cs);
	c->c_seg[SEG_FS].s_base = r->fs_base;
	c->c_seg[SEG_GS].s_base = r->gs_base;
	cpu_set_rflags(c, (c->c_rflags & ~(uint64_t)FL_USER) |
	    (r->eflags & FL_USER));
	cpu_mode_update(c);
	/* of all that the process has, what is the guest's */
	memcpy(xstate, p->p_xstate, sizeof(xstate));
	xstate[512] &= 7;
	memset(xstate + 513, 0, 7);
	s->s_xstate = fpu_set_xstate(c, xstate) == 0;
}

/* --- running ----------------------------------------------------------------------- */

/* The space is of no use, and the host is why. */
static void
broken(struct cpu *c, struct space *s, int error)
{
	struct direct *d = c->c_direct;
	unsigned n;

	for (n = 0; d->d_space[n] != s; n++)
		;
	space_drop(d, n);
	d->d_failed = true;
	d->d_why = error;
	c->c_direct_on = false;
	unpin(d);
}

/* A byte of code that was executed, or -1. */
static int
code_byte(struct cpu *c, uint64_t linear)
{
	struct walk w;
	uint8_t *host;

	if (!walk_probe(c, linear, &w) || vm_page(c->c_vm,
	    &c->c_mmu->m_range, w.w_gpa, &host) == NULL)
		return (-1);
	return (*host);
}

/* SIGTRAP: INT3 and INT1 are done already, which is for the interpreter to do;
 * or a step is. */
static void
stop_trap(struct cpu *c, const struct process_status *ps)
{
	int byte = code_byte(c, c->c_rip - 1);

	if (ps->ps_code == TRAP_HWBKPT) {	/* page_break() */
		c->c_alone = true;
		c->c_direct->d_skip = true;
		return;
	}
	if (ps->ps_code == TRAP_TRACE) {
		c->c_dr6_pending |= DR6_BS;
		cpu_request(c, REQ_STEP);
		return;
	}
	/* after INT1, but some hosts' hypervisors make that before it */
	if (ps->ps_code == TRAP_BRKPT)
		c->c_rip -= byte == 0xf1;
	else
		c->c_rip -= byte == 0xcc ? 1 : 2;
	c->c_alone = true;
}

/* What has to be done before the process can go on. */
enum next { NEXT_RUN, NEXT_MAPPED, NEXT_LEAVE, NEXT_TRANSLATE };

static enum next
stop_fault(struct cpu *c, struct space *s, const struct process_status *ps)
{
	uint64_t addr = ps->ps_addr;
	bool fetch = addr - c->c_rip < 15 || (addr ^ c->c_rip) < PAGE_SIZE;
	struct walk w;
	int did;

	c->c_direct->d_stats.faults++;
	if (ps->ps_signal == SIGSEGV &&
	    (ps->ps_code == SEGV_MAPERR || ps->ps_code == SEGV_ACCERR)) {
		did = space_map(s, c, addr, fetch);
		if (did > 0)
			return (NEXT_MAPPED);
		if (did < 0 && (did = -space_clear(s)) < 0) {
			broken(c, s, -did);
			return (NEXT_TRANSLATE);
		}
		if (fetch && walk_probe(c, addr, &w) &&
		    w.w_rights & ENGINE_EXEC)
			return (NEXT_TRANSLATE);
	}
	s->s_fault = addr;
	c->c_alone = true;
	return (NEXT_LEAVE);
}

/*
 * SIGSYS: a call of the host's vsyscall page, the one place of a process that
 * cannot be unmapped. Its kernel has done what it does instead, refused by our
 * filter, and returned; in the guest there may be nothing or the like. RAX,
 * which such a call takes nothing in, is lost.
 */
static void
stop_vsyscall(struct cpu *c, const struct process_status *ps)
{
	if (ps->ps_addr >= VSYSCALL) {
		c->c_rip = ps->ps_addr;
		c->c_gpr[RSP] -= 8;
	}
	c->c_alone = true;
}

static enum next
stop_signal(struct cpu *c, struct space *s, const struct process_status *ps)
{
	switch (ps->ps_signal) {
	case SIGSEGV:
	case SIGBUS:
		return (stop_fault(c, s, ps));
	case SIGFPE:
	case SIGILL:
		c->c_alone = true;
		break;
	case SIGSYS:
		stop_vsyscall(c, ps);
		break;
	case SIGTRAP:
		if (ps->ps_code <= 0 || ps->ps_code > UINT8_MAX)
			return (NEXT_RUN);	/* somebody's kill(2) */
		stop_trap(c, ps);
		break;
	case SIGURG:
		/* interrupted between the elements of a string instruction */
		c->c_repeating = (s->s_process.p_regs.eflags & FL_RF) != 0;
		c->c_direct->d_stats.kicks++;
		return (NEXT_LEAVE);
	default:	/* sent to the whole group, such as SIGINT */
		return (NEXT_RUN);
	}
	c->c_direct->d_stats.traps++;
	return (NEXT_LEAVE);
}

static enum next
stopped(struct cpu *c, struct space *s, const struct process_status *ps)
{
	int error;

	if (ps->ps_stop == STOP_SIGNAL)
		return (stop_signal(c, s, ps));
	if (ps->ps_stop == STOP_FAILED) {
		if ((error = space_clear(s)) == 0)
			return (NEXT_RUN);
		broken(c, s, error);
		return (NEXT_TRANSLATE);
	}
	/* done as by the host; its own RCX and R11 come again */
	c->c_rip -= 2;
	c->c_gpr[RAX] = s->s_process.p_regs.orig_rax;
	c->c_alone = true;
	c->c_direct->d_stats.syscalls++;
	return (NEXT_LEAVE);
}

/* Is there anything to be looked at first? Samples are not for us. */
static bool
requested(struct cpu *c)
{
	return ((atomic_load(&c->c_request) &
	    ~(unsigned)(REQ_SAMPLE | REQ_RESYNC)) != 0);
}

/* The space to run in now, or NULL. */
static struct space *
space_ready(struct cpu *c)
{
	struct direct *d = c->c_direct;
	struct space *s = space_current(c);

	if (s == NULL && d->d_forced && !d->d_failed)
		s = space_make(c);
	if (s == NULL || (!s->s_wanted && !d->d_forced)) {
		c->c_direct_on = false;
		return (NULL);
	}
	if (s->s_process.p_tracer != (pid_t)syscall(SYS_gettid)) {
		broken(c, s, EPERM);	/* another thread runs this VCPU now */
		d->d_failed = false;
		return (NULL);
	}
	if (!direct_fits(c, s)) {
		d->d_stats.unfit++;
		return (NULL);
	}
	return (s);
}

bool
direct_run(struct cpu *c)
{
	struct direct *d = c->c_direct;
	struct space *s;
	struct process_status ps;
	enum next next = NEXT_RUN;
	uint64_t at, last = 0, ran = 0, spent = 0, invested = 0;
	unsigned stops = 0;
	int error;

	if (d->d_skip) {
		d->d_skip = false;
		return (false);
	}
	if (requested(c) || (s = space_ready(c)) == NULL)
		return (false);
	at = clock_ns(CLOCK_MONOTONIC);
	pin(d, s, at);
	if (s->s_fault != 0) {
		/* the guest has most likely seen to it */
		if (space_map(s, c, s->s_fault, false) < 0 &&
		    (error = space_clear(s)) != 0) {
			broken(c, s, error);
			return (false);
		}
		s->s_fault = 0;
		next = NEXT_MAPPED;
	}
	s->s_used = ++d->d_clock;
	do {
		if ((error = space_sync(s, c)) != 0) {
			broken(c, s, error);
			return (stops > 0);
		}
		if (s->s_reborn) {
			s->s_reborn = s->s_wanted = false;
			s->s_penalty = s->s_not_before = 0;
			c->c_direct_on = d->d_forced;
			return (stops > 0);
		}
		atomic_store(&d->d_running, s->s_process.p_pid);
		if (requested(c)) {
			atomic_store(&d->d_running, 0);
			break;
		}
		if (next == NEXT_MAPPED)
			invested += clock_ns(CLOCK_MONOTONIC) - at;
		process_run(&s->s_process, state_put(c, s),
		    s->s_put_off ? &s->s_call : NULL, &ps);
		s->s_put_off = false;
		atomic_store(&d->d_running, 0);
		if (ps.ps_stop == STOP_GONE) {
			/* with the guest's registers */
			log_warn("direct execution: the process of the guest's "
			    "code was killed");
			broken(c, s, ESRCH);
			c->c_run->er_errno = ESRCH;
			cpu_leave(c, ENGINE_EXIT_ERROR, false);
		}
		at = clock_ns(CLOCK_MONOTONIC);
		state_get(c, s);
		stops++;
		last = ps.ps_ns > d->d_its ? ps.ps_ns - d->d_its : 0;
		ran += last;
		spent += d->d_switch + last;
		next = stopped(c, s, &ps);
		if (c->c_direct_on && next == NEXT_MAPPED)
			d->d_stats.mapped++;
	} while (next <= NEXT_MAPPED && direct_fits(c, s));
	d->d_stats.stops += stops;
	d->d_stats.ran += ran;
	if (d->d_failed)
		return (true);
	s->s_ran += ran;
	s->s_invested += invested;
	if (s->s_invested > s->s_ran + INVEST_NS)
		spent += invested;	/* too much of that */
	if (next == NEXT_TRANSLATE) {
		space_in_way(s, c->c_rip);
		d->d_skip = true;
		d->d_window.vain += last < d->d_switch * SOON;
	}
	if (next == NEXT_LEAVE)
		d->d_window.upon += last < (ps.ps_stop == STOP_SYSCALL ?
		    d->d_switch * UPON : d->d_switch / HARDLY);
	weigh(c, s, spent, ran, stops);
	return (true);
}

int
direct_report(const struct cpu *c, char *text, size_t len)
{
	const struct direct *d = c->c_direct;

	return (snprintf(text, len, "direct execution: %s%s\n"
	    "direct milliseconds: %llu\n"
	    "direct stops: %llu\n"
	    "direct system calls: %llu\n"
	    "direct faults: %llu\n"
	    "direct faults mapped: %llu\n"
	    "direct traps: %llu\n"
	    "direct kicks: %llu\n"
	    "direct processes: %llu\n"
	    "direct given up: %llu\n"
	    "direct unfit: %llu\n",
	    d->d_failed ? "no: " : "yes", d->d_failed ? strerror(d->d_why) : "",
	    (unsigned long long)d->d_stats.ran / 1000000,
	    (unsigned long long)d->d_stats.stops,
	    (unsigned long long)d->d_stats.syscalls,
	    (unsigned long long)d->d_stats.faults,
	    (unsigned long long)d->d_stats.mapped,
	    (unsigned long long)d->d_stats.traps,
	    (unsigned long long)d->d_stats.kicks,
	    (unsigned long long)d->d_stats.spaces,
	    (unsigned long long)d->d_stats.given_up,
	    (unsigned long long)d->d_stats.unfit));
}
