/*
 * The local APIC's timer (SDM vol. 3A 11.5.4): one-shot and periodic countdown
 * of the bus clock (APIC_TIMER_HZ through the divider), or a TSC deadline.
 *
 * A countdown is kept as the moment at which it reaches zero; the count is
 * computed from it when somebody reads it. Only the VCPU's thread comes here,
 * with the lock held.
 */
#include "vmm/apic_impl.h"

/* A guest that asks for less gets this: each expiry costs the host a wake-up. */
#define PERIOD_MIN_NS	20000

static uint64_t
now(const struct lapic *l)
{
	const struct apic_callbacks *call = &l->l_vm->av_call;

	return (call->ac_now(call->ac_arg));
}

static uint64_t
guest_tsc(const struct lapic *l)
{
	const struct apic_callbacks *call = &l->l_vm->av_call;

	return (call->ac_tsc(call->ac_arg, l->l_id));
}

/* ns for one count: divide configuration bits 3, 1:0 (SDM figure 11-10). */
static uint64_t
tick_ns(uint32_t tdcr)
{
	unsigned x = (tdcr & 3) | (tdcr >> 1 & 4);

	_Static_assert(APIC_TIMER_HZ == 1000000000, "one ns a bus clock");
	return (1ull << ((x + 1) & 7));
}

static unsigned
mode(const struct lapic *l)
{
	return (LVT_TIMER_MODE(l->l_reg[LAPIC_LVT_TIMER]));
}

static uint64_t
period(const struct lapic *l)
{
	uint64_t ns = l->l_reg[LAPIC_TMICT] * tick_ns(l->l_reg[LAPIC_TDCR]);

	return (ns < PERIOD_MIN_NS ? PERIOD_MIN_NS : ns);
}

void
lapic_timer_stop(struct lapic *l)
{
	l->l_expiry = TIMER_NEVER;
	l->l_deadline = 0;
}

/*
 * Lets what is due happen. A period that passed unseen is one interrupt: that
 * is all that IRR could have held.
 */
void
lapic_timer_update(struct lapic *l)
{
	uint64_t t, p;

	if (mode(l) == TIMER_DEADLINE) {
		if (l->l_deadline == 0 || guest_tsc(l) < l->l_deadline)
			return;
		l->l_deadline = 0;
	} else {
		if (l->l_expiry == TIMER_NEVER || (t = now(l)) < l->l_expiry)
			return;
		if (mode(l) == TIMER_PERIODIC) {
			p = period(l);
			l->l_expiry += ((t - l->l_expiry) / p + 1) * p;
		} else
			l->l_expiry = TIMER_NEVER;
	}
	lapic_lvt_fire(l, LAPIC_LVT_TIMER);
}

/* The current count at time t. */
static uint32_t
count_at(const struct lapic *l, uint64_t t)
{
	uint64_t tick = tick_ns(l->l_reg[LAPIC_TDCR]), n;

	if (l->l_expiry == TIMER_NEVER || l->l_expiry <= t)
		return (0);
	n = (l->l_expiry - t + tick - 1) / tick;
	/* PERIOD_MIN_NS may have stretched it */
	return (n > l->l_reg[LAPIC_TMICT] ? l->l_reg[LAPIC_TMICT] :
	    (uint32_t)n);
}

uint32_t
lapic_timer_count(struct lapic *l)
{
	lapic_timer_update(l);
	return (mode(l) == TIMER_DEADLINE ? 0 : count_at(l, now(l)));
}

/* A write of the initial count: starts, or stops with 0. */
void
lapic_timer_start(struct lapic *l, uint32_t count)
{
	if (mode(l) == TIMER_DEADLINE)
		return;
	lapic_timer_update(l);
	l->l_reg[LAPIC_TMICT] = count;
	if (count == 0)
		l->l_expiry = TIMER_NEVER;
	else if (mode(l) == TIMER_PERIODIC)
		l->l_expiry = now(l) + period(l);
	else
		l->l_expiry = now(l) +
		    count * tick_ns(l->l_reg[LAPIC_TDCR]);
}

/* A write of the divide configuration: the count goes on at the new pace. */
void
lapic_timer_divide(struct lapic *l, uint32_t tdcr)
{
	uint64_t t;
	uint32_t count;

	lapic_timer_update(l);
	t = now(l);
	count = count_at(l, t);
	l->l_reg[LAPIC_TDCR] = tdcr;
	if (l->l_expiry != TIMER_NEVER)
		l->l_expiry = t + count * tick_ns(tdcr);
}

/* A write of the timer's LVT. Entering or leaving TSC-deadline mode disarms. */
void
lapic_timer_lvt(struct lapic *l, uint32_t lvt)
{
	lapic_timer_update(l);
	if ((mode(l) == TIMER_DEADLINE) !=
	    (LVT_TIMER_MODE(lvt) == TIMER_DEADLINE)) {
		lapic_timer_stop(l);
		l->l_reg[LAPIC_TMICT] = 0;
	}
	l->l_reg[LAPIC_LVT_TIMER] = lvt;
}

/* IA32_TSC_DEADLINE: reads 0 and ignores writes in the other modes. */
uint64_t
lapic_timer_deadline(struct lapic *l)
{
	lapic_timer_update(l);
	return (mode(l) == TIMER_DEADLINE ? l->l_deadline : 0);
}

void
lapic_timer_set_deadline(struct lapic *l, uint64_t tsc)
{
	if (mode(l) != TIMER_DEADLINE)
		return;
	l->l_deadline = tsc;
	lapic_timer_update(l);	/* one in the past is due at once */
}

uint64_t
lapic_next_deadline(struct lapic *l)
{
	uint64_t t, tsc, ns = TIMER_NEVER;
	unsigned __int128 wait;

	apic_lock(l->l_vm);
	if (l->l_reg[LAPIC_LVT_TIMER] & LVT_MASKED) {
		apic_unlock(l->l_vm);
		return (TIMER_NEVER);
	}
	if (mode(l) != TIMER_DEADLINE)
		ns = l->l_expiry;
	else if (l->l_deadline != 0) {
		t = now(l);
		tsc = guest_tsc(l);
		if (tsc >= l->l_deadline)
			ns = t;
		else {
			/* rounded up: not to come back a moment too soon */
			wait = (unsigned __int128)(l->l_deadline - tsc) *
			    1000000 / l->l_vm->av_call.ac_tsc_khz + 1;
			if (wait < TIMER_NEVER - t)
				ns = t + (uint64_t)wait;
		}
	}
	apic_unlock(l->l_vm);
	return (ns);
}
