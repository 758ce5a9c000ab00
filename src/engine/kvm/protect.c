/*
 * Rights of guest memory, and what follows when KVM_RUN meets memory that it
 * cannot reach.
 *
 * KVM has memory that is there, and memory that is read-only: a write to the
 * latter is handed over when the instruction is half done. vmm(4) wants RIP on
 * the instruction. So a slot without all rights shows KVM address space that
 * nobody may access: every access to it ends KVM_RUN with EFAULT before
 * anything has happened, as one to memory does that the client has protected.
 * Then
 *
 *    - it is told whether the instruction itself may be fetched there;
 *    - else the instruction is tried alone (a single step), with the slots
 *      shown read-only or whole as their rights are; if it writes where it may
 *      not, its registers are put back, and that is the exit.
 *
 * Memory with all rights costs nothing. Each access to a page that lacks one
 * costs two entries of the guest and four changes of each limited slot.
 *
 * eo_protect(): no VCPU runs. kvm_fault(): on the VCPU's thread, as the VM's
 * only one that runs.
 */
#include <sys/mman.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

#define PROT_ALL	(PROT_READ | PROT_WRITE | PROT_EXEC)

/* --- eo_protect() --------------------------------------------------------------- */

struct slots {
	struct slot	*ss_slot;
	size_t		 ss_count, ss_room;
};

/* Appends; what continues the last slot with the same rights joins it. */
static bool
append(struct slots *ss, uint64_t gpa, uint64_t end, uint8_t *host, int prot)
{
	struct slot *last = &ss->ss_slot[ss->ss_count], *more;

	if (gpa >= end)
		return (true);
	if (ss->ss_count > 0 && (--last)->s_prot == prot &&
	    last->s_gpa + last->s_size == gpa &&
	    last->s_host + last->s_size == host) {
		last->s_size += end - gpa;
		return (true);
	}
	if (ss->ss_count == ss->ss_room) {
		more = realloc(ss->ss_slot,
		    (ss->ss_room * 2 + 4) * sizeof(*more));
		if (more == NULL)
			return (false);
		ss->ss_slot = more;
		ss->ss_room = ss->ss_room * 2 + 4;
	}
	ss->ss_slot[ss->ss_count++] = (struct slot){ .s_gpa = gpa,
	    .s_size = end - gpa, .s_host = host, .s_prot = prot };
	return (true);
}

/* The slots with [gpa, end) having other rights. */
static bool
split(const struct engine_vm *vm, uint64_t gpa, uint64_t end, int prot,
    struct slots *ss)
{
	const struct slot *s;
	uint64_t from, to, last;

	for (s = vm->ev_slots; s < vm->ev_slots + vm->ev_nslots; s++) {
		last = s->s_gpa + s->s_size;
		from = gpa < s->s_gpa ? s->s_gpa : gpa > last ? last : gpa;
		to = end < from ? from : end > last ? last : end;
		if (!append(ss, s->s_gpa, from, s->s_host, s->s_prot) ||
		    !append(ss, from, to, s->s_host + (from - s->s_gpa),
		    prot) ||
		    !append(ss, to, last, s->s_host + (to - s->s_gpa),
		    s->s_prot))
			return (false);
	}
	return (true);
}

/* Makes the address space without rights as large as the largest such slot. */
static int
nothing_fit(struct engine_vm *vm, const struct slots *ss)
{
	size_t n, need = 0;
	void *p;

	for (n = 0; n < ss->ss_count; n++)
		if (ss->ss_slot[n].s_prot != PROT_ALL &&
		    ss->ss_slot[n].s_size > need)
			need = ss->ss_slot[n].s_size;
	if (need <= vm->ev_nothing_size)
		return (0);
	if ((p = kvm_sys.ks_map(-1, need)) == NULL)
		return (errno);
	/* KVM's slots that show the old one are about to be replaced */
	if (vm->ev_nothing != NULL)
		kvm_sys.ks_unmap(vm->ev_nothing, vm->ev_nothing_size);
	vm->ev_nothing = p;
	vm->ev_nothing_size = need;
	return (0);
}

/* Puts the slots into place of those that there are. 0 or errno. */
static int
replace(struct engine_vm *vm, struct slots *ss)
{
	size_t n;
	int error = 0;

	for (n = 0; error == 0 && n < vm->ev_nslots; n++)
		error = kvm_slot_show(vm, n, SLOT_NONE);
	if (error != 0)
		return (error);
	free(vm->ev_slots);
	vm->ev_slots = ss->ss_slot;
	vm->ev_nslots = ss->ss_count;
	ss->ss_slot = NULL;
	vm->ev_nlimited = 0;
	for (n = 0; n < vm->ev_nslots; n++) {
		vm->ev_nlimited += vm->ev_slots[n].s_prot != PROT_ALL;
		if (error == 0)
			error = kvm_slot_show(vm, n, SLOT_OWN);
	}
	return (error);
}

int
kvm_protect(struct engine_vm *vm, uint64_t gpa, size_t size, int prot)
{
	struct slots ss = { .ss_room = vm->ev_nslots + 2 };
	const struct slot *s;
	uint64_t at;
	int error;

	for (at = gpa; at - gpa < size; at = s->s_gpa + s->s_size)
		if ((s = kvm_slot_find(vm, at)) == NULL)
			return (EFAULT);
	ss.ss_slot = calloc(ss.ss_room, sizeof(ss.ss_slot[0]));
	if (ss.ss_slot == NULL || !split(vm, gpa, gpa + size, prot, &ss))
		error = ENOMEM;
	else if ((error = nothing_fit(vm, &ss)) == 0)
		error = replace(vm, &ss);
	free(ss.ss_slot);
	return (error);
}

/* --- an instruction by itself ------------------------------------------------------ */

struct before {
	struct kvm_regs		b_regs;
	struct kvm_sregs2	b_sregs;
	struct kvm_vcpu_events	b_events;
};

static bool
before_save(struct engine_vcpu *v, struct before *b)
{
	b->b_regs = *vcpu_regs(v);
	return (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_SREGS2, &b->b_sregs) != -1 &&
	    kvm_sys.ks_ioctl(v->v_fd, KVM_GET_VCPU_EVENTS, &b->b_events) != -1);
}

static bool
before_restore(struct engine_vcpu *v, struct before *b)
{
	b->b_events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_SREGS2, &b->b_sregs) == -1 ||
	    kvm_sys.ks_ioctl(v->v_fd, KVM_SET_REGS, &b->b_regs) == -1 ||
	    kvm_sys.ks_ioctl(v->v_fd, KVM_SET_VCPU_EVENTS, &b->b_events) == -1)
		return (false);
	*vcpu_regs(v) = b->b_regs;
	return (true);
}

/* Shows the limited slots as their rights are, or (open false) not at all. */
static bool
step_show(struct engine_vm *vm, uint64_t rip, bool open)
{
	const struct slot *s;
	enum slot_show show;
	size_t n;

	for (n = 0; n < vm->ev_nslots; n++) {
		s = &vm->ev_slots[n];
		if (s->s_prot == PROT_ALL)
			continue;
		show = (s->s_prot & PROT_WRITE) != 0 ? SLOT_ALL :
		    (s->s_prot & PROT_READ) != 0 ||
		    rip - s->s_gpa < s->s_size ? SLOT_READ : SLOT_OWN;
		if (show == SLOT_OWN)
			continue;
		/* a slot that is there can only be moved or deleted */
		if (kvm_slot_show(vm, n, SLOT_NONE) != 0 ||
		    kvm_slot_show(vm, n, open ? show : SLOT_OWN) != 0)
			return (false);
	}
	return (true);
}

static bool
step_debug(struct engine_vcpu *v, bool on)
{
	struct kvm_guest_debug debug = { .control = on ?
	    KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0 };

	return (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_GUEST_DEBUG, &debug) != -1);
}

/* --- faults ------------------------------------------------------------------------- */

static bool
fault_leave(struct engine_run *er, uint64_t gpa, enum engine_access access)
{
	er->er_exit = ENGINE_EXIT_PROTECT;
	er->er_protect.gpa = gpa;
	er->er_protect.access = access;
	return (true);
}

static bool
fault_error(struct engine_run *er, int error)
{
	er->er_exit = ENGINE_EXIT_ERROR;
	er->er_errno = error;
	return (true);
}

/*
 * What the step has come to: true with an exit in *er, or false, the guest
 * goes on or v_run has an exit for the run loop.
 */
static bool
step_judge(struct engine_vcpu *v, struct engine_run *er, int error,
    struct before *before)
{
	struct kvm_run *run = v->v_run;
	const struct slot *s = NULL;
	uint64_t gpa = GPA_UNKNOWN;

	if (error == EINTR)
		return (false);
	if (error == EFAULT)
		return (fault_leave(er, GPA_UNKNOWN, ENGINE_READ));
	if (error != 0)
		return (fault_error(er, error));
	switch (run->exit_reason) {
	case KVM_EXIT_DEBUG:
		return (false);
	case KVM_EXIT_MMIO:
		gpa = run->mmio.phys_addr;
		s = kvm_slot_find(v->v_vm, gpa);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		/* A write to read-only memory that KVM cannot do itself. */
		break;
	default:
		break;
	}
	if (run->exit_reason != KVM_EXIT_INTERNAL_ERROR && (s == NULL ||
	    !run->mmio.is_write || (s->s_prot & PROT_WRITE) != 0)) {
		v->v_stashed = true;
		return (false);
	}
	if (run->exit_reason == KVM_EXIT_MMIO) {
		/* half done: to its end, the writes going nowhere */
		kvm_access_begin(v);
		if ((error = kvm_settle(v)) != 0)
			return (fault_error(er, error));
		v->v_stashed = false;
	}
	if (!before_restore(v, before))
		return (fault_error(er, errno));
	return (fault_leave(er, gpa, ENGINE_WRITE));
}

static bool
step(struct engine_vcpu *v, struct engine_run *er, uint64_t rip)
{
	struct before before;
	bool leaves;
	int error;

	v->v_count[COUNT_STEP]++;
	if (!before_save(v, &before) || !step_debug(v, true))
		return (fault_error(er, errno));
	if (step_show(v->v_vm, rip, true)) {
		error = kvm_enter(v, false, false);
		leaves = step_judge(v, er, error, &before);
	} else
		leaves = fault_error(er, EIO);
	if (!step_show(v->v_vm, rip, false) || !step_debug(v, false))
		return (fault_error(er, EIO));
	return (leaves);
}

bool
kvm_fault(struct engine_vcpu *v, struct engine_run *er)
{
	const struct engine_vm *vm = v->v_vm;
	const struct kvm_run *run = v->v_run;
	struct kvm_memory_fault info;
	const struct slot *s = NULL, *at;
	uint64_t gpa = GPA_UNKNOWN, linear, rip = GPA_UNKNOWN;

	v->v_count[COUNT_FAULT]++;
	if (vm->ev_fault_info && run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
		memcpy(&info, run->padding, sizeof(info));
		gpa = info.gpa;
		s = kvm_slot_find(vm, gpa);
	}
	if (kvm_linear_rip(v, &linear) && kvm_translate(v, linear, &rip) &&
	    (at = kvm_slot_find(vm, rip)) != NULL &&
	    (at->s_prot & PROT_EXEC) == 0)
		return (fault_leave(er, rip, ENGINE_EXEC));
	/* the client's own protection, or what is forbidden whatever it is */
	if (vm->ev_nlimited == 0 || (s != NULL && s->s_prot == PROT_ALL))
		return (fault_leave(er, gpa,
		    gpa - (rip & ~(KVM_PAGE - 1)) < KVM_PAGE ? ENGINE_EXEC :
		    ENGINE_READ));
	return (step(v, er, rip));
}
