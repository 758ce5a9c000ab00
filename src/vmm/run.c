/*
 * VMM_IOC_RUN: the loop around the engine.
 *
 * A pass of the loop (run_pass) decides what the guest is given - a vector, an
 * NMI, the answer to its last exit - and what RUN waits for, enters the
 * engine, and hands the exit to its row of exits[]. A row either says AGAIN or
 * ends RUN with a reason or an error.
 *
 * 1. The first pass always enters the engine, unless the VCPU is halted: an
 *    answer or a vector that the client handed in is never dropped because a
 *    kick came first (engine.h says what the engine does then).
 * 2. RUN has the VCPU (v_busy) but for the waits of a halted one and the
 *    moments in which others want it.
 * 3. A halted VCPU declares that it sleeps before it looks for something to
 *    do, and whoever gives it something looks whether it sleeps afterwards.
 *
 * On the thread that calls RUN, with its signals blocked. Manual: vmm(4).
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hostfault.h"
#include "base/loop.h"
#include "vmm/monitor.h"

#define FL_IF		0x200ul
#define NO_IRQ		0xffff

enum { AGAIN = -1 };	/* besides errno values, 0 being r_reason */

struct run {
	struct call	*r_call;
	struct vcpu	*r_vcpu;
	struct vm	*r_vm;
	struct lapic	*r_lapic;	/* NULL without VMM_CAP_APIC */
	int		 r_irq;		/* the client's vector, or -1 */
	uint16_t	 r_reason;
	bool		 r_fatal;	/* the VCPU is done for */
	bool		 r_ready;	/* at the end: vrp_irqready */
	int		 r_sigfd;	/* while halted; -1 until needed */
	struct engine_run r_engine;
};

static int
leave(struct run *r, uint16_t reason)
{
	r->r_reason = reason;
	return (0);
}

/* Can the guest take an interrupt from the client's interrupt controller? */
static bool
extint_open(const struct run *r)
{
	return (r->r_lapic == NULL || lapic_extint_open(r->r_lapic));
}

/* --- the exits ----------------------------------------------------------- */

static int
exit_kick(struct run *r)
{
	struct vcpu *v = r->r_vcpu;

	if (atomic_exchange(&v->v_kick, false))
		return (leave(r, VM_EXIT_NONE));
	if (atomic_exchange(&v->v_check, false) && call_interrupted(r->r_call))
		return (leave(r, VM_EXIT_NONE));
	return (AGAIN);
}

static int
exit_window(struct run *r)
{
	(void)r;
	return (AGAIN);		/* the next pass sees what can be done */
}

static int
exit_io(struct run *r)
{
	const struct vm_exit_inout *io = &r->r_engine.er_io;
	struct vcpu *v = r->r_vcpu;

	v->v_owed = io->vei_dir == VEI_DIR_IN ? OWED_IN : OWED_OUT;
	v->v_owed_size = io->vei_size;
	if ((r->r_vm->vm_caps & VMM_CAP_ALL_PORTS) == 0 &&
	    !port_forwarded(io->vei_port)) {
		/* Nobody there: reads all ones, drops writes. */
		v->v_owed = OWED_NOTHING;
		v->v_answered = true;
		v->v_answer = UINT64_MAX;
		return (AGAIN);
	}
	v->v_exit.vx_exit.vei = *io;
	return (leave(r, VMX_EXIT_IO));
}

static int
exit_mmio(struct run *r)
{
	struct vcpu *v = r->r_vcpu;

	if ((r->r_vm->vm_caps & VMM_CAP_MMIO) == 0)
		return (EINVAL);
	v->v_owed = r->r_engine.er_mmio.write ? OWED_MMIO_WRITE :
	    OWED_MMIO_READ;
	v->v_exit.vx_exit.vee.vee_fault_type = VEE_FAULT_MMIO;
	v->v_exit.vx_mmio_gpa = r->r_engine.er_mmio.gpa;
	v->v_exit.vx_mmio_data = r->r_engine.er_mmio.write ?
	    r->r_engine.er_mmio.data : 0;
	v->v_exit.vx_mmio_size = r->r_engine.er_mmio.size;
	v->v_exit.vx_mmio_dir = r->r_engine.er_mmio.write ? VEI_DIR_OUT :
	    VEI_DIR_IN;
	return (leave(r, VMX_EXIT_EPT_VIOLATION));
}

static int
exit_hlt(struct run *r)
{
	struct vcpu *v = r->r_vcpu;
	struct vcpu_reg_state *rs = &v->v_exit.vx_exit.vrs;
	int error;

	if (r->r_lapic != NULL) {
		v->v_halted = true;
		return (AGAIN);
	}
	error = vcpu_getregs(v, VM_RWREGS_GPRS, rs);
	if (error == 0 && (rs->vrs_gprs[VCPU_REGS_RFLAGS] & FL_IF) == 0) {
		r->r_fatal = true;	/* nothing could ever wake it */
		error = EIO;
	}
	return (error != 0 ? error : leave(r, VMX_EXIT_HLT));
}

static int
exit_shutdown(struct run *r)
{
	return (leave(r, VMX_EXIT_TRIPLE_FAULT));
}

static int
exit_protect(struct run *r)
{
	r->r_vcpu->v_exit.vx_exit.vee.vee_fault_type = VEE_FAULT_PROTECT;
	r->r_vcpu->v_exit.vx_mmio_gpa = r->r_engine.er_protect.gpa;
	return (leave(r, VMX_EXIT_EPT_VIOLATION));
}

static int
exit_error(struct run *r)
{
	r->r_fatal = true;
	return (r->r_engine.er_errno == EINVAL ? EINVAL : EIO);
}

static int	(*const exits[])(struct run *) = {
	[ENGINE_EXIT_KICK]	= exit_kick,
	[ENGINE_EXIT_WINDOW]	= exit_window,
	[ENGINE_EXIT_IO]	= exit_io,
	[ENGINE_EXIT_MMIO]	= exit_mmio,
	[ENGINE_EXIT_HLT]	= exit_hlt,
	[ENGINE_EXIT_SHUTDOWN]	= exit_shutdown,
	[ENGINE_EXIT_PROTECT]	= exit_protect,
	[ENGINE_EXIT_ERROR]	= exit_error,
};

/* --- a halted VCPU ------------------------------------------------------- */

/*
 * INIT and SIPI of other VCPUs, NMIs of anybody (SDM vol. 3A 8.4). 0 or errno.
 */
static int
run_events(struct run *r)
{
	struct vcpu *v = r->r_vcpu;
	struct vcpu_reg_state rs;
	uint8_t vector;
	unsigned events;
	int error;

	events = lapic_take_events(r->r_lapic, &vector);
	if ((events & APIC_EVENT_INIT) != 0) {
		vcpu_power_on(&rs);
		error = r->r_vm->vm_ops->eo_reset(v->v_engine, &rs);
		if (error != 0)
			return (EIO);
		lapic_reset(r->r_lapic, true);
		v->v_owed = OWED_NOTHING;
		v->v_answered = false;
		v->v_halted = false;
		v->v_nmi = false;
		v->v_sipi = v->v_id != 0;
	}
	if ((events & APIC_EVENT_SIPI) != 0 && v->v_sipi) {
		vcpu_power_on(&rs);
		rs.vrs_gprs[VCPU_REGS_RIP] = 0;
		rs.vrs_sregs[VCPU_REGS_CS].vsi_sel = (uint16_t)(vector << 8);
		rs.vrs_sregs[VCPU_REGS_CS].vsi_base = (uint64_t)vector << 12;
		error = r->r_vm->vm_ops->eo_reset(v->v_engine, &rs);
		if (error != 0)
			return (EIO);
		v->v_sipi = false;
	}
	if ((events & APIC_EVENT_NMI) != 0)
		v->v_nmi = true;
	return (0);
}

/* Sleeps until woken, a signal comes, or when. */
static void
run_sleep(struct run *r, uint64_t when)
{
	struct vcpu *v = r->r_vcpu;
	struct pollfd pfd[2];
	struct timespec ts, *timeout = NULL;
	uint64_t now, count;

	if (r->r_sigfd == -1 && atomic_load(&v->v_looks))
		r->r_sigfd = call_signalfd(r->r_call);
	pfd[0] = (struct pollfd){ .fd = v->v_wakefd, .events = POLLIN };
	pfd[1] = (struct pollfd){ .fd = r->r_sigfd, .events = POLLIN };
	if (when != LOOP_NEVER) {
		now = loop_now();
		when = when > now ? when - now : 0;
		ts.tv_sec = (time_t)(when / 1000000000);
		ts.tv_nsec = (long)(when % 1000000000);
		timeout = &ts;
	}
	vcpu_give(v);
	if (ppoll(pfd, 2, timeout, NULL) > 0) {
		if (pfd[0].revents != 0 &&
		    read(v->v_wakefd, &count, sizeof(count)) == -1)
			count = 0;	/* somebody else's wake-up: as good */
		if (pfd[1].revents != 0)
			atomic_store(&v->v_check, true);
	}
	vcpu_take(v);
}

/*
 * The VCPU is in HLT or waits for a SIPI: waits for something to do, or ends
 * RUN. AGAIN when it may have something to do.
 */
static int
run_halted(struct run *r)
{
	struct vcpu *v = r->r_vcpu;
	struct vm *vm = r->r_vm;
	bool ready;
	int error, vector = -1;

	atomic_store(&v->v_sleeping, true);
	error = run_events(r);
	ready = !v->v_sipi && vm->vm_ops->eo_ready(v->v_engine);
	if (error == 0 && v->v_halted)
		vector = lapic_pending(r->r_lapic);
	if (error != 0)
		;
	else if (atomic_load(&v->v_state) != VCPU_STATE_RUNNING)
		error = leave(r, VM_EXIT_TERMINATED);
	else if (v->v_nmi && !v->v_sipi) {
		v->v_halted = false;
		error = AGAIN;
	} else if (!v->v_halted && !v->v_sipi)
		error = AGAIN;		/* INIT or SIPI made it run */
	else if (ready && (vector >= 0 || (r->r_irq >= 0 && extint_open(r)))) {
		v->v_halted = false;
		error = AGAIN;
	} else if (ready && atomic_load(&v->v_intr) && extint_open(r))
		error = leave(r, VMX_EXIT_INT_WINDOW);
	else if (exit_kick(r) == 0)
		error = 0;
	else if (!ready && !atomic_exchange(&v->v_dead, true) &&
	    atomic_fetch_add(&vm->vm_ndead, 1) + 1 == vm->vm_ncpus) {
		if (atomic_exchange(&v->v_dead, false))
			atomic_fetch_sub(&vm->vm_ndead, 1);
		error = leave(r, VMX_EXIT_HLT);
	} else {
		run_sleep(r, ready ? lapic_next_deadline(r->r_lapic) :
		    LOOP_NEVER);
		error = AGAIN;
	}
	if (atomic_exchange(&v->v_dead, false))
		atomic_fetch_sub(&vm->vm_ndead, 1);
	atomic_store(&v->v_sleeping, false);
	return (error);
}

/* --- the loop ------------------------------------------------------------ */

/* Chooses what to inject and whether to ask for the interrupt window. */
static void
run_interrupts(struct run *r)
{
	struct engine_run *er = &r->r_engine;
	struct vcpu *v = r->r_vcpu;
	bool ready = r->r_vm->vm_ops->eo_ready(v->v_engine);
	bool open = extint_open(r);
	int vector = r->r_lapic != NULL ? lapic_pending(r->r_lapic) : -1;

	er->er_inject = -1;
	er->er_nmi = v->v_nmi;
	v->v_nmi = false;
	if (ready && r->r_irq >= 0 && open) {
		er->er_inject = r->r_irq;
		r->r_irq = -1;
	} else if (ready && vector >= 0) {
		er->er_inject = lapic_accept(r->r_lapic);
		vector = lapic_pending(r->r_lapic);
	}
	if (er->er_inject >= 0)
		atomic_store(&v->v_told, false);

	/* A client that was told already gets the next exit of any kind. */
	er->er_window = vector >= 0 || (open && (r->r_irq >= 0 ||
	    (atomic_load(&v->v_intr) &&
	    !(ready && atomic_load(&v->v_told)))));
}

/* The guest may have moved its TSC, or been paused: the clock page follows. */
static void
run_clock_page(struct run *r)
{
	struct vcpu *v = r->r_vcpu;
	struct pvclock_memory memory;
	int64_t offset = r->r_vm->vm_ops->eo_tsc_offset(v->v_engine);
	bool paused = atomic_load_explicit(&v->v_paused,
	    memory_order_relaxed) && atomic_exchange(&v->v_paused, false);

	if (offset == v->v_tsc_offset && !paused)
		return;
	v->v_tsc_offset = offset;
	v->v_pvclock.pc_paused |= paused;
	host_pvclock_memory(v, &memory);
	(void)pvclock_update(&v->v_pvclock, &memory, offset);
}

static int
run_pass(struct run *r)
{
	struct engine_run *er = &r->r_engine;
	struct vcpu *v = r->r_vcpu;
	int error;

	if (atomic_load(&v->v_state) != VCPU_STATE_RUNNING)
		return (leave(r, VM_EXIT_TERMINATED));
	if (r->r_lapic != NULL) {
		if (v->v_halted || v->v_sipi)
			return (run_halted(r));
		if ((error = run_events(r)) != 0)
			return (error);
		if (v->v_sipi)
			return (AGAIN);
	}
	run_interrupts(r);
	/* After a timer that is due has fired: its next time counts. */
	if (r->r_lapic != NULL)
		vcpu_deadline(v);
	er->er_complete = v->v_answered;
	er->er_data = v->v_answer;
	v->v_answered = false;

	atomic_store(&v->v_entered, true);
	clock_enter(atomic_load(&v->v_deadline), atomic_load(&v->v_looks));
	error = r->r_vm->vm_ops->eo_run(v->v_engine, er);
	atomic_store(&v->v_entered, false);
	if (error != 0)
		return (EIO);
	run_clock_page(r);
	error = exits[er->er_exit](r);
	/* With INTR noted, the next exit of any kind is the client's. */
	if (error == AGAIN && !v->v_halted && !v->v_answered &&
	    r->r_irq < 0 && atomic_load(&v->v_intr) && extint_open(r) &&
	    r->r_vm->vm_ops->eo_ready(v->v_engine))
		error = leave(r, VMX_EXIT_INT_WINDOW);
	return (error);
}

/* --- the command --------------------------------------------------------- */

/* Takes the client's answer to the last exit. 0 or EFAULT. */
static int
run_answer(struct vcpu *v, const struct vm_run_params *vrp, uint32_t caps)
{
	struct vmm_exit answer;
	size_t size = (caps & VMM_CAP_MMIO) != 0 ? sizeof(answer) :
	    sizeof(answer.vx_exit);
	enum vcpu_owed owed = v->v_owed;

	if (vrp->vrp_continue != 0) {
		if (!hostfault_copy(&answer, vrp->vrp_exit, size))
			return (EFAULT);
		if (owed == OWED_IN) {
			v->v_answer = answer.vx_exit.vei.vei_data;
			v->v_answered = true;
		} else if (owed == OWED_MMIO_READ) {
			v->v_answer = answer.vx_mmio_data;
			v->v_answered = true;
		}
	}
	/* Writes are done by having been told of them. */
	if (owed == OWED_OUT || owed == OWED_MMIO_WRITE)
		v->v_answered = true;
	v->v_owed = OWED_NOTHING;
	return (0);
}

/* Writes the exit to the client. 0 or an errno value. */
static int
run_report(struct run *r, struct vm_run_params *vrp)
{
	struct vcpu *v = r->r_vcpu;
	struct vmm_exit *vx = &v->v_exit;
	uint8_t *to = (uint8_t *)vrp->vrp_exit;
	const size_t regs = offsetof(struct vm_exit, vrs);
	const size_t past = offsetof(struct vm_exit, cpl);
	size_t size = (r->r_vm->vm_caps & VMM_CAP_MMIO) != 0 ? sizeof(*vx) :
	    sizeof(vx->vx_exit);
	int error;

	vrp->vrp_exit_reason = r->r_reason;
	vrp->vrp_irqready = r->r_ready;
	if ((r->r_vm->vm_caps & VMM_CAP_NOREGS) != 0)
		return (hostfault_copy(to, vx, regs) && hostfault_copy(
		    to + past, (const uint8_t *)vx + past, size - past) ?
		    0 : EFAULT);
	error = vcpu_getregs(v, VM_RWREGS_ALL, &vx->vx_exit.vrs);
	vx->vx_exit.cpl = r->r_vm->vm_ops->eo_cpl(v->v_engine);
	if (error == 0 && !hostfault_copy(to, vx, size))
		error = EFAULT;
	return (error);
}

static int
run_vcpu(struct call *ca, struct vcpu *v, struct vm_run_params *vrp)
{
	struct run r = {
		.r_call = ca,
		.r_vcpu = v,
		.r_vm = v->v_vm,
		.r_irq = vrp->vrp_irq == NO_IRQ ? -1 : vrp->vrp_irq,
		.r_sigfd = -1,
	};
	int error;

	if (r.r_vm->vm_apic != NULL)
		r.r_lapic = apic_lapic(r.r_vm->vm_apic, v->v_id);
	if ((error = run_answer(v, vrp, r.r_vm->vm_caps)) != 0)
		return (error);
	memset(&v->v_exit, 0, offsetof(struct vm_exit, vrs));
	memset(&v->v_exit.vx_mmio_gpa, 0,
	    sizeof(v->v_exit) - offsetof(struct vmm_exit, vx_mmio_gpa));
	do {
		vcpu_yield(v);
		error = run_pass(&r);
	} while (error == AGAIN);
	if (r.r_sigfd != -1)
		close(r.r_sigfd);

	pthread_mutex_lock(&v->v_lock);
	if (atomic_load(&v->v_state) == VCPU_STATE_REQTERM) {
		error = leave(&r, VM_EXIT_TERMINATED);
		r.r_fatal = true;
	}
	pthread_mutex_unlock(&v->v_lock);
	r.r_ready = extint_open(&r) &&
	    r.r_vm->vm_ops->eo_ready(v->v_engine);
	atomic_store(&v->v_told, r.r_ready && atomic_load(&v->v_intr));
	if (error == 0)
		error = run_report(&r, vrp);
	atomic_fetch_add(&v->v_exits, 1);
	if (r.r_fatal) {
		pthread_mutex_lock(&v->v_lock);
		atomic_store(&v->v_state, VCPU_STATE_TERMINATED);
		pthread_mutex_unlock(&v->v_lock);
	}
	return (error);
}

int
cmd_run(struct call *ca, void *arg)
{
	struct vm_run_params *vrp = arg;
	struct vcpu *v;
	struct vm *vm;
	int error;

	error = vcpu_get(vrp->vrp_vm_id, vrp->vrp_vcpu_id, &v);
	if (error != 0)
		return (error);
	vm = v->v_vm;
	if (vrp->vrp_irq > 0xff && vrp->vrp_irq != NO_IRQ) {
		vm_put(vm);
		return (EINVAL);
	}
	/* Capabilities are settled with the first RUN. */
	if (!atomic_load(&vm->vm_ran)) {
		pthread_mutex_lock(&vm->vm_lock);
		atomic_store(&vm->vm_ran, true);
		pthread_mutex_unlock(&vm->vm_lock);
	}
	pthread_mutex_lock(&v->v_lock);
	if (atomic_load(&v->v_state) == VCPU_STATE_STOPPED)
		atomic_store(&v->v_state, VCPU_STATE_RUNNING);
	else
		error = EBUSY;
	pthread_mutex_unlock(&v->v_lock);
	if (error == 0) {
		vcpu_take(v);
		atomic_store(&v->v_looks, !ca->ca_trusted);
		error = run_vcpu(ca, v, vrp);
		/* Stopped before it is given away: RESETCPU may wait for it. */
		pthread_mutex_lock(&v->v_lock);
		if (atomic_load(&v->v_state) == VCPU_STATE_RUNNING)
			atomic_store(&v->v_state, VCPU_STATE_STOPPED);
		else
			atomic_store(&v->v_state, VCPU_STATE_TERMINATED);
		pthread_mutex_unlock(&v->v_lock);
		vcpu_give(v);
	}
	vm_put(vm);
	return (error);
}
