/*
 * What a VCPU has besides its registers, saved and loaded: KVM's events
 * (Documentation/virt/kvm/api.rst, 4.31) and the clock.
 *
 * On the VCPU's thread.
 */
#include <errno.h>
#include <string.h>

#include "base/state.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

bool
kvm_midway(struct engine_vcpu *v)
{
	return (v->v_access.a_kind != ACCESS_NONE || v->v_stashed ||
	    v->v_in_size != 0);
}

static void
events_state(struct kvm_vcpu_events *e, struct state *s)
{
	uint64_t payload = e->exception_payload;

	state_u8_max(s, &e->exception.injected, 1);
	state_u8_max(s, &e->exception.nr, 31);
	state_u8_max(s, &e->exception.has_error_code, 1);
	state_u8_max(s, &e->exception.pending, 1);
	state_u32(s, &e->exception.error_code);
	state_u8_max(s, &e->exception_has_payload, 1);
	state_u64(s, &payload);
	e->exception_payload = payload;
	state_u8_max(s, &e->interrupt.injected, 1);
	state_u8(s, &e->interrupt.nr);
	state_u8_max(s, &e->interrupt.soft, 1);
	state_u8_max(s, &e->interrupt.shadow,
	    KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI);
	state_u8_max(s, &e->nmi.injected, 1);
	state_u8_max(s, &e->nmi.pending, 1);
	state_u8_max(s, &e->nmi.masked, 1);
}

/* Puts to work what was loaded. 0 or errno. */
static int
load(struct engine_vcpu *v, struct kvm_vcpu_events *e, int64_t offset,
    uint64_t adjust)
{
	int error;

	e->flags &= KVM_VCPUEVENT_VALID_NMI_PENDING |
	    KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_PAYLOAD;
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_VCPU_EVENTS, e) == -1)
		return (errno);
	if ((error = kvm_tsc_set(v, offset)) != 0 ||
	    (error = kvm_cpuid_apic(v)) != 0)
		return (error);
	v->v_tsc_adjust = adjust;
	return (kvm_regs_ready(v));
}

void
kvm_state(struct engine_vcpu *v, struct state *s)
{
	int64_t offset = v->v_tsc_offset;
	uint64_t adjust = v->v_tsc_adjust;
	struct kvm_vcpu_events e;
	int error;

	state_begin(s, "kvm", v->v_id, 1);
	memset(&e, 0, sizeof(e));
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_VCPU_EVENTS, &e) == -1)
		state_fail(s, errno, "KVM does not tell its events");
	if (!s->s_loading && kvm_midway(v))
		state_fail(s, EBUSY, "an exit waits to be looked at");
	events_state(&e, s);
	state_i64(s, &offset);
	state_u64(s, &adjust);
	if (state_loaded(s) && (error = load(v, &e, offset, adjust)) != 0)
		state_fail(s, error, "KVM does not take its events");
	state_end(s);
}
