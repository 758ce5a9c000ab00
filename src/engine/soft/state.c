/*
 * What a VCPU has besides its registers, saved and loaded: what waits at the
 * boundary between two instructions, and its clock.
 */
#include "base/state.h"
#include "engine/soft/cpu.h"
#include "engine/soft/state.h"

#define DR6_PENDING	(DR6_B | DR6_BD | DR6_BS | DR6_BT)
#define NO_INTR		0x100

bool
state_midway(const struct cpu *c)
{
	return (c->c_in.wanted || c->c_in.arrived || c->c_mmio.ml_wanted ||
	    c->c_mmio.ml_count > 0 || c->c_event.e_kind != EVENT_NONE);
}

void
state_cpu(struct cpu *c, struct state *s)
{
	uint16_t intr = c->c_intr < 0 ? NO_INTR : (uint16_t)c->c_intr;

	state_begin(s, "soft", c->c_id, 1);
	state_bool(s, &c->c_shadow_sti);
	state_bool(s, &c->c_shadow_ss);
	state_bool(s, &c->c_nmi_blocked);
	state_bool(s, &c->c_nmi_pending);
	state_bool(s, &c->c_repeating);
	state_u16_max(s, &intr, NO_INTR);
	state_u64(s, &c->c_dr6_pending);
	state_u64(s, &c->c_tsc_adjust);
	state_i64(s, &c->c_tsc_offset);
	if (s->s_loading) {	/* also after an error */
		c->c_intr = intr == NO_INTR ? -1 : intr;
		c->c_dr6_pending &= DR6_PENDING;
		cpu_mode_update(c);
		cpu_request(c, REQ_STEP | REQ_SHADOW | REQ_EVENT | REQ_NMI);
	}
	state_end(s);
}
