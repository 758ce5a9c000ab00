/*
 * The run loop around KVM_RUN (Documentation/virt/kvm/api.rst, 4.10 and 5).
 *
 * 1. What was begun is finished before anything new: first the pieces of an
 *    access, then, at the next KVM_RUN, the instruction that made it.
 * 2. A vector is handed to KVM only when kvm_ready() said so, which it does
 *    between two instructions or at a port instruction: that cannot fault any
 *    more, so KVM finishes it and then delivers.
 * 3. CR8 is the monitor's; KVM has a copy while the guest runs.
 *
 * On the VCPU's thread.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

/* An instruction that is finished may make another access, but few. */
#define SETTLE_MAX	64

int
kvm_enter(struct engine_vcpu *v, bool window, bool immediate)
{
	struct kvm_run *run = v->v_run;
	uint64_t cr8 = v->v_host->eh_read_cr8(v->v_arg);
	int error = 0;

	run->request_interrupt_window = window;
	run->cr8 = cr8;
	if (immediate)
		__atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	else if (!kick_enter(v)) {
		kick_leave(v);
		return (EINTR);
	}
	v->v_pending = v->v_cpl_known = false;
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_RUN, NULL) == -1)
		error = errno;
	if (!immediate)
		kick_leave(v);
	if (run->cr8 != cr8)
		v->v_host->eh_write_cr8(v->v_arg, run->cr8 & 0xf);
	return (error);
}

bool
kvm_ready(struct engine_vcpu *v)
{
	const struct kvm_run *run = v->v_run;

	if (v->v_stashed || (v->v_pending && !v->v_plain))
		return (false);
	return (run->if_flag != 0 && run->ready_for_interrupt_injection != 0);
}

int
kvm_settle(struct engine_vcpu *v)
{
	struct kvm_regs *regs = vcpu_regs(v);
	uint64_t rax;
	unsigned n;
	int error;

	for (n = 0; v->v_pending; n++) {
		if (n == SETTLE_MAX)
			return (EIO);
		kvm_access_drop(v);
		rax = regs->rax;
		v->v_count[COUNT_SETTLE]++;
		error = kvm_enter(v, false, true);
		if (error == EINTR) {
			/* IN of 32 bits: not before its answer is there */
			if (v->v_in_size == 0 || regs->rax == rax)
				continue;
			regs->rax = rax;
			error = kvm_sys.ks_ioctl(v->v_fd, KVM_SET_REGS,
			    regs) == -1 ? errno : 0;
			if (error == 0)
				continue;
		}
		if (error != 0)
			return (error);
		if (v->v_run->exit_reason == KVM_EXIT_IO ||
		    v->v_run->exit_reason == KVM_EXIT_MMIO)
			kvm_access_begin(v);
		else
			v->v_stashed = true;
	}
	return (0);
}

bool
kvm_translate(struct engine_vcpu *v, uint64_t linear, uint64_t *gpa)
{
	struct kvm_translation t = { .linear_address = linear };

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_TRANSLATE, &t) == -1 || !t.valid)
		return (false);
	*gpa = t.physical_address;
	return (true);
}

bool
kvm_linear_rip(struct engine_vcpu *v, uint64_t *linear)
{
	struct kvm_sregs2 s;

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_SREGS2, &s) == -1)
		return (false);
	*linear = vcpu_regs(v)->rip;
	if ((s.efer & 0x400) == 0 || !s.cs.l)	/* not in 64-bit code */
		*linear = (uint32_t)(*linear + s.cs.base);
	return (true);
}

/* --- exits ----------------------------------------------------------------- */

enum next { LEAVE, GO_ON };

static enum next
leave(struct engine_run *er, enum engine_exit reason)
{
	er->er_exit = reason;
	return (LEAVE);
}

static enum next
exit_access(struct engine_vcpu *v, struct engine_run *er)
{
	(void)er;
	kvm_access_begin(v);
	return (GO_ON);
}

static enum next
exit_hlt(struct engine_vcpu *v, struct engine_run *er)
{
	v->v_count[COUNT_HLT]++;
	return (leave(er, ENGINE_EXIT_HLT));
}

static enum next
exit_window(struct engine_vcpu *v, struct engine_run *er)
{
	v->v_count[COUNT_WINDOW]++;
	return (er->er_window ? leave(er, ENGINE_EXIT_WINDOW) : GO_ON);
}

static enum next
exit_shutdown(struct engine_vcpu *v, struct engine_run *er)
{
	(void)v;
	return (leave(er, ENGINE_EXIT_SHUTDOWN));
}

static enum next
exit_msr(struct engine_vcpu *v, struct engine_run *er)
{
	(void)er;
	v->v_count[COUNT_MSR]++;
	kvm_msr_exit(v);
	v->v_pending = true;
	v->v_plain = false;
	return (GO_ON);
}

/* The monitor was told by kvm_enter(). */
static enum next
exit_cr8(struct engine_vcpu *v, struct engine_run *er)
{
	(void)er;
	v->v_count[COUNT_CR8]++;
	return (GO_ON);
}

static enum next
exit_debug(struct engine_vcpu *v, struct engine_run *er)
{
	(void)v;
	(void)er;
	return (GO_ON);
}

static enum next
exit_fail(struct engine_vcpu *v, struct engine_run *er)
{
	const struct kvm_run *run = v->v_run;
	unsigned long long more = 0;

	if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		more = run->fail_entry.hardware_entry_failure_reason;
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		more = run->internal.suberror;
	LOG_GUEST("KVM cannot go on at RIP %#llx: exit %u, %#llx",
	    (unsigned long long)vcpu_regs(v)->rip, run->exit_reason, more);
	er->er_errno = EIO;
	return (leave(er, ENGINE_EXIT_ERROR));
}

static enum next (*const exits[])(struct engine_vcpu *, struct engine_run *) = {
	[KVM_EXIT_IO]			= exit_access,
	[KVM_EXIT_MMIO]			= exit_access,
	[KVM_EXIT_HLT]			= exit_hlt,
	[KVM_EXIT_IRQ_WINDOW_OPEN]	= exit_window,
	[KVM_EXIT_SHUTDOWN]		= exit_shutdown,
	[KVM_EXIT_X86_RDMSR]		= exit_msr,
	[KVM_EXIT_X86_WRMSR]		= exit_msr,
	[KVM_EXIT_SET_TPR]		= exit_cr8,
	[KVM_EXIT_DEBUG]		= exit_debug,
	[KVM_EXIT_FAIL_ENTRY]		= exit_fail,
	[KVM_EXIT_INTERNAL_ERROR]	= exit_fail,
};

static enum next
run_exit(struct engine_vcpu *v, struct engine_run *er)
{
	uint32_t reason = v->v_run->exit_reason;

	if (reason >= sizeof(exits) / sizeof(exits[0]) || exits[reason] == NULL)
		return (exit_fail(v, er));
	return (exits[reason](v, er));
}

/* --- the loop --------------------------------------------------------------- */

/* What the caller hands in. 0 or errno. */
static int
run_begin(struct engine_vcpu *v, struct engine_run *er)
{
	struct kvm_interrupt irq = { .irq = (uint32_t)er->er_inject };
	struct kvm_regs *regs = vcpu_regs(v);
	uint64_t mask;
	int error;

	if (!v->v_ran) {
		if ((error = kvm_cpuid_set(v)) != 0)
			return (error);
		v->v_ran = true;
	}
	if (v->v_in_size != 0 && er->er_complete) {
		/* as the CPU does: 32 bits are zero-extended */
		mask = v->v_in_size == 1 ? UINT8_MAX :
		    v->v_in_size == 2 ? UINT16_MAX : UINT64_MAX;
		regs->rax = (regs->rax & ~mask) |
		    (er->er_data & mask & UINT32_MAX);
		if (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_REGS, regs) == -1)
			return (errno);
	}
	v->v_in_size = 0;
	kvm_access_answer(v, er->er_complete ? &er->er_data : NULL);
	if (er->er_nmi && kvm_ioctl_number(v->v_fd, KVM_NMI, 0) == -1)
		return (errno);
	if (er->er_inject >= 0) {
		if (kvm_sys.ks_ioctl(v->v_fd, KVM_INTERRUPT, &irq) == -1)
			return (errno);
		v->v_run->ready_for_interrupt_injection = 0;
	}
	return (0);
}

static int
run_loop(struct engine_vcpu *v, struct engine_run *er)
{
	bool kicked;
	int error;

	for (;;) {
		kicked = atomic_load(&v->v_kick);
		if (kicked && !v->v_stashed && (!v->v_pending ||
		    v->v_access.a_kind != ACCESS_NONE))
			error = EINTR;
		else if (kvm_access_next(v, er))
			return (0);
		else if (v->v_stashed) {
			v->v_stashed = false;
			error = 0;
		} else if (er->er_window && !kicked && kvm_ready(v)) {
			er->er_exit = ENGINE_EXIT_WINDOW;
			return (0);
		} else
			error = kvm_enter(v, er->er_window, kicked);
		if (error == EINTR) {
			if (!atomic_exchange(&v->v_kick, false))
				continue;
			v->v_count[COUNT_KICK]++;
			er->er_exit = ENGINE_EXIT_KICK;
			return (0);
		}
		if (error == EFAULT) {
			if (kvm_fault(v, er))
				return (0);
			continue;
		}
		if (error != 0)
			return (error);
		if (run_exit(v, er) == LEAVE)
			return (0);
	}
}

int
kvm_vcpu_run(struct engine_vcpu *v, struct engine_run *er)
{
	int error;

	if ((error = run_begin(v, er)) == 0)
		error = run_loop(v, er);
	er->er_ready = kvm_ready(v);
	return (error);
}
