/*
 * The local APIC: registers, priorities and what the VCPU sees of it (SDM vol.
 * 3A ch. 11; x2APIC: 11.12). The timer is lapic_timer.c.
 *
 * 1. One table describes the registers for both faces, the xAPIC page and the
 *    x2APIC MSRs: what may be read, what may be written and which bits are
 *    reserved. The page ignores reserved bits, the MSRs raise #GP.
 * 2. IRR and ISR never hold a vector below 16.
 * 3. While SVR says disabled, every LVT is masked.
 *
 * Public functions take the VM's lock; static ones and those of apic_impl.h
 * expect it held.
 */
#include <string.h>

#include "vmm/apic_impl.h"
#include "vmm/cpuid.h"

#define MSR_APIC_BASE		0x1b
#define MSR_TSC_DEADLINE	0x6e0
#define MSR_X2APIC_FIRST	0x800
#define MSR_X2APIC_LAST		0x8ff

/* Version 0x14, 6 LVT entries, EOI broadcasts can be suppressed (11.4.8). */
#define VERSION			0x01050014u

/* ICR (11.6.1) */
#define ICR_LOGICAL		0x00000800u
#define ICR_LEVEL_DEASSERT(i)	(((i) & 0xc000u) == 0x8000u)
#define ICR_TO(i)		((enum apic_to)((i) >> 18 & 3))

static bool
is_enabled(const struct lapic *l)
{
	return ((l->l_base & APIC_BASE_ENABLE) != 0);
}

static bool
is_x2(const struct lapic *l)
{
	return ((l->l_base & APIC_BASE_X2) != 0);
}

bool
lapic_takes_vectors(const struct lapic *l)
{
	return (is_enabled(l) && (l->l_reg[LAPIC_SVR] & SVR_ENABLE));
}

/* --- vectors ----------------------------------------------------------------- */

static void
vector_set(uint32_t *map, unsigned v)
{
	map[v / 32] |= 1u << v % 32;
}

static void
vector_clear(uint32_t *map, unsigned v)
{
	map[v / 32] &= ~(1u << v % 32);
}

static bool
vector_test(const uint32_t *map, unsigned v)
{
	return ((map[v / 32] >> v % 32 & 1) != 0);
}

/* The highest vector in the map, or -1. */
static int
vector_highest(const uint32_t *map)
{
	int i;

	for (i = 7; i >= 0; i--) {
		if (map[i] != 0)
			return (i * 32 + 31 - __builtin_clz(map[i]));
	}
	return (-1);
}

/* 11.8.3.1 */
uint32_t
lapic_ppr(const struct lapic *l)
{
	uint32_t tpr = l->l_reg[LAPIC_TPR];
	int v = vector_highest(l->l_isr);
	uint32_t isrv = v < 0 ? 0 : (uint32_t)v;

	return ((tpr & 0xf0) >= (isrv & 0xf0) ? tpr : isrv & 0xf0);
}

/* The vector that the CPU would get now, or -1. */
static int
deliverable(const struct lapic *l)
{
	int v = vector_highest(l->l_irr);

	if (v < 0 || !is_enabled(l) ||
	    ((uint32_t)v & 0xf0) <= (lapic_ppr(l) & 0xf0))
		return (-1);
	return (v);
}

static void
kick(const struct lapic *l)
{
	const struct apic_callbacks *call = &l->l_vm->av_call;

	call->ac_kick(call->ac_arg, l->l_id);
}

static void
kick_if_deliverable(const struct lapic *l)
{
	if (deliverable(l) >= 0 && !l->l_asked)
		kick(l);
}

static void
event(struct lapic *l, unsigned bit)
{
	l->l_events |= bit;
	kick(l);
}

/* 11.5.3; the error interrupt comes once for what ESR collects. */
static void
error(struct lapic *l, uint32_t bit)
{
	bool news = !(l->l_errors & bit);

	l->l_errors |= bit;
	if (news)
		lapic_lvt_fire(l, LAPIC_LVT_ERROR);
}

/* A vector arrives; false if it is none. */
static bool
accept_vector(struct lapic *l, uint8_t vector, bool level)
{
	if (vector < 16) {
		error(l, ESR_RECEIVE_VECTOR);
		return (false);
	}
	vector_set(l->l_irr, vector);
	if (level)
		vector_set(l->l_tmr, vector);
	else
		vector_clear(l->l_tmr, vector);
	kick_if_deliverable(l);
	return (true);
}

bool
lapic_waits(const struct lapic *l, uint8_t vector)
{
	return (vector_test(l->l_irr, vector));
}

bool
lapic_receive(struct lapic *l, enum apic_mode mode, uint8_t vector, bool level)
{
	if (!is_enabled(l))
		return (false);
	switch (mode) {
	case APIC_FIXED:
	case APIC_LOWEST:
		return (lapic_takes_vectors(l) &&
		    accept_vector(l, vector, level));
	case APIC_NMI:
		event(l, APIC_EVENT_NMI);
		return (true);
	case APIC_INIT:
		l->l_events &= ~(unsigned)APIC_EVENT_SIPI;
		event(l, APIC_EVENT_INIT);
		return (true);
	case APIC_SIPI:
		l->l_sipi = vector;
		event(l, APIC_EVENT_SIPI);
		return (true);
	case APIC_SMI:		/* there is no SMM */
	case APIC_EXTINT:	/* the 8259 is on LINT0 only */
	case APIC_RESERVED:
		break;
	}
	return (false);
}

/*
 * Is l addressed by the message (11.6.2)? An APIC in x2APIC mode compares 32
 * bits, in xAPIC mode 8; messages of devices carry 8, where 0xff is everyone.
 */
bool
lapic_matches(const struct lapic *l, const struct apic_message *m)
{
	uint32_t dest = m->am_dest, ldr = l->l_reg[LAPIC_LDR];

	if (dest == (m->am_dest8 ? 0xff : UINT32_MAX))
		return (true);
	if (is_x2(l)) {
		if (!m->am_logical)
			return (dest == l->l_id);
		return (dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff) != 0);
	}
	if (dest > 0xff)
		return (false);
	if (!m->am_logical)
		return (dest == l->l_reg[LAPIC_ID] >> 24);
	ldr >>= 24;
	if (l->l_reg[LAPIC_DFR] >> 28 == 0xf)	/* flat model */
		return ((dest & ldr) != 0);
	return (dest >> 4 == ldr >> 4 && (dest & ldr & 0xf) != 0);
}

void
lapic_lvt_fire(struct lapic *l, unsigned n)
{
	uint32_t lvt = l->l_reg[n];
	bool level = n == LAPIC_LVT_LINT0 && (lvt & LVT_LEVEL);
	enum apic_mode mode = LVT_MODE(lvt);

	if (lvt & LVT_MASKED)
		return;
	if (n == LAPIC_LVT_TIMER || n == LAPIC_LVT_ERROR)
		mode = APIC_FIXED;	/* they have no such field */
	switch (mode) {
	case APIC_FIXED:
		if (accept_vector(l, (uint8_t)lvt, level) && level)
			l->l_reg[n] |= LVT_REMOTE_IRR;
		break;
	case APIC_NMI:
	case APIC_INIT:
		lapic_receive(l, mode, 0, false);
		break;
	default:	/* ExtINT: lapic_extint_open() */
		break;
	}
}

/* LINT0 as a level-triggered, fixed interrupt: asserted and not in service? */
static void
look_at_lint0(struct lapic *l)
{
	uint32_t lvt = l->l_reg[LAPIC_LVT_LINT0];

	if (l->l_lint[0] && (lvt & LVT_LEVEL) && LVT_MODE(lvt) == APIC_FIXED &&
	    !(lvt & LVT_REMOTE_IRR))
		lapic_lvt_fire(l, LAPIC_LVT_LINT0);
}

void
lapic_lint(struct lapic *l, unsigned pin, bool level)
{
	bool rose;

	apic_lock(l->l_vm);
	rose = level && !l->l_lint[pin];
	l->l_lint[pin] = level;
	if (!is_enabled(l)) {
		/* The pins are the CPU's INTR (the caller's) and NMI. */
		if (pin == 1 && rose)
			event(l, APIC_EVENT_NMI);
	} else if (pin == 0 && (l->l_reg[LAPIC_LVT_LINT0] & LVT_LEVEL) &&
	    LVT_MODE(l->l_reg[LAPIC_LVT_LINT0]) == APIC_FIXED)
		look_at_lint0(l);
	else if (rose)
		lapic_lvt_fire(l, LAPIC_LVT_LINT0 + pin);
	apic_unlock(l->l_vm);
}

static void
end_of_interrupt(struct lapic *l)
{
	int v = vector_highest(l->l_isr);
	uint32_t *lint0 = &l->l_reg[LAPIC_LVT_LINT0];

	if (v < 0)
		return;
	vector_clear(l->l_isr, (unsigned)v);
	if (vector_test(l->l_tmr, (unsigned)v)) {
		if ((*lint0 & LVT_REMOTE_IRR) &&
		    (*lint0 & 0xff) == (uint32_t)v) {
			*lint0 &= ~LVT_REMOTE_IRR;
			look_at_lint0(l);
		}
		if (!(l->l_reg[LAPIC_SVR] & SVR_NO_BROADCAST))
			ioapic_eoi(l->l_vm, (uint8_t)v);
	}
	kick_if_deliverable(l);
}

/* --- interprocessor interrupts (11.6.1) -------------------------------------- */

static void
send_ipi(struct lapic *l, uint32_t icr, uint32_t dest)
{
	struct apic_message m = {
		.am_to = ICR_TO(icr),
		.am_dest = dest,
		.am_dest8 = !is_x2(l),
		.am_logical = (icr & ICR_LOGICAL) != 0,
		.am_mode = LVT_MODE(icr),
		.am_vector = (uint8_t)icr,
		.am_level = false,	/* a fixed IPI is an edge */
		.am_from = l,
	};

	switch (m.am_mode) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (m.am_vector < 16) {
			error(l, ESR_SEND_VECTOR);
			return;
		}
		break;
	case APIC_INIT:
		/* The deassert message only set arbitration ids, once. */
		if (ICR_LEVEL_DEASSERT(icr))
			return;
		break;
	case APIC_NMI:
	case APIC_SIPI:
		break;
	default:	/* SMI: no SMM; ExtINT and 3 are reserved here */
		return;
	}
	apic_deliver(l->l_vm, &m);
}

/* --- registers ---------------------------------------------------------------- */

#define R	0x01		/* may be read */
#define W	0x02		/* may be written */
#define XAPIC	0x04		/* not an x2APIC MSR */
#define X2	0x08		/* not in the xAPIC page */

struct lapic_register {
	uint8_t		lr_access;
	uint32_t	lr_writable;	/* bits that a write changes */
	uint32_t	lr_defined;	/* bits that are not reserved */
	/* NULL: the plain value in l_reg */
	uint32_t	(*lr_read)(struct lapic *, unsigned n);
	void		(*lr_write)(struct lapic *, unsigned n, uint32_t);
};

static uint32_t
read_version(struct lapic *l, unsigned n)
{
	(void)l;
	(void)n;
	return (VERSION);
}

static uint32_t
read_zero(struct lapic *l, unsigned n)
{
	(void)l;
	(void)n;
	return (0);
}

static uint32_t
read_ppr(struct lapic *l, unsigned n)
{
	(void)n;
	return (lapic_ppr(l));
}

static uint32_t
read_isr(struct lapic *l, unsigned n)
{
	return (l->l_isr[n - LAPIC_ISR]);
}

static uint32_t
read_tmr(struct lapic *l, unsigned n)
{
	return (l->l_tmr[n - LAPIC_TMR]);
}

static uint32_t
read_irr(struct lapic *l, unsigned n)
{
	return (l->l_irr[n - LAPIC_IRR]);
}

static uint32_t
read_count(struct lapic *l, unsigned n)
{
	(void)n;
	return (lapic_timer_count(l));
}

static void
write_tpr(struct lapic *l, unsigned n, uint32_t value)
{
	l->l_reg[n] = value;
	kick_if_deliverable(l);
}

static void
write_eoi(struct lapic *l, unsigned n, uint32_t value)
{
	(void)n;
	(void)value;
	end_of_interrupt(l);
}

static void
write_dfr(struct lapic *l, unsigned n, uint32_t value)
{
	l->l_reg[n] = value | 0x0fffffff;
}

static void
write_svr(struct lapic *l, unsigned n, uint32_t value)
{
	bool was = lapic_takes_vectors(l);
	unsigned lvt;

	l->l_reg[n] = value;
	if (!(value & SVR_ENABLE)) {
		lapic_timer_update(l);
		for (lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt++)
			l->l_reg[lvt] |= LVT_MASKED;
	} else if (!was)
		ioapic_retry(l->l_vm);
}

static void
write_esr(struct lapic *l, unsigned n, uint32_t value)
{
	(void)value;
	l->l_reg[n] = l->l_errors;
	l->l_errors = 0;
}

static void
write_icr(struct lapic *l, unsigned n, uint32_t value)
{
	l->l_reg[n] = value;
	send_ipi(l, value, l->l_reg[LAPIC_ICR_HIGH] >> 24);
}

static void
write_self_ipi(struct lapic *l, unsigned n, uint32_t value)
{
	(void)n;
	send_ipi(l, APIC_TO_SELF << 18 | value, 0);
}

static void
write_lvt(struct lapic *l, unsigned n, uint32_t value)
{
	if (!(l->l_reg[LAPIC_SVR] & SVR_ENABLE))
		value |= LVT_MASKED;
	if (n == LAPIC_LVT_TIMER) {
		lapic_timer_lvt(l, value);
		return;
	}
	if (n == LAPIC_LVT_LINT0 && (value & LVT_LEVEL))
		value |= l->l_reg[n] & LVT_REMOTE_IRR;
	l->l_reg[n] = value;
	if (n == LAPIC_LVT_LINT0) {
		look_at_lint0(l);
		if (!(value & LVT_MASKED) && LVT_MODE(value) == APIC_EXTINT)
			kick(l);	/* the 8259 may be waiting */
	}
}

static void
write_count(struct lapic *l, unsigned n, uint32_t value)
{
	(void)n;
	lapic_timer_start(l, value);
}

static void
write_divide(struct lapic *l, unsigned n, uint32_t value)
{
	(void)n;
	lapic_timer_divide(l, value);
}

static const struct lapic_register registers[LAPIC_NREGS] = {
	/*			access	writable	defined */
	[LAPIC_ID] =		{ R | W, 0xff000000, 0xff000000, NULL, NULL },
	[LAPIC_VERSION] =	{ R, 0, 0, read_version, NULL },
	[LAPIC_TPR] =		{ R | W, 0xff, 0xff, NULL, write_tpr },
	[LAPIC_APR] =		{ R | XAPIC, 0, 0, read_zero, NULL },
	[LAPIC_PPR] =		{ R, 0, 0, read_ppr, NULL },
	[LAPIC_EOI] =		{ W, 0, 0, NULL, write_eoi },
	[LAPIC_RRD] =		{ R | XAPIC, 0, 0, read_zero, NULL },
	[LAPIC_LDR] =		{ R | W, 0xff000000, 0xff000000, NULL, NULL },
	[LAPIC_DFR] =		{ R | W | XAPIC, 0xf0000000, 0xf0000000, NULL,
				  write_dfr },
	[LAPIC_SVR] =		{ R | W, 0x11ff, 0x11ff, NULL, write_svr },
	[LAPIC_ISR ... LAPIC_ISR + 7] = { R, 0, 0, read_isr, NULL },
	[LAPIC_TMR ... LAPIC_TMR + 7] = { R, 0, 0, read_tmr, NULL },
	[LAPIC_IRR ... LAPIC_IRR + 7] = { R, 0, 0, read_irr, NULL },
	[LAPIC_ESR] =		{ R | W, 0, 0, NULL, write_esr },
	[LAPIC_ICR] =		{ R | W, 0x000ccfff, 0x000cdfff, NULL,
				  write_icr },
	[LAPIC_ICR_HIGH] =	{ R | W | XAPIC, 0xff000000, 0xff000000, NULL,
				  NULL },
	/* defined but not writable: delivery status, remote IRR */
	[LAPIC_LVT_TIMER] =	{ R | W, 0x700ff, 0x710ff, NULL, write_lvt },
	[LAPIC_LVT_THERMAL] =	{ R | W, 0x107ff, 0x117ff, NULL, write_lvt },
	[LAPIC_LVT_PERF] =	{ R | W, 0x107ff, 0x117ff, NULL, write_lvt },
	[LAPIC_LVT_LINT0] =	{ R | W, 0x1a7ff, 0x1f7ff, NULL, write_lvt },
	[LAPIC_LVT_LINT1] =	{ R | W, 0x1a7ff, 0x1f7ff, NULL, write_lvt },
	[LAPIC_LVT_ERROR] =	{ R | W, 0x100ff, 0x110ff, NULL, write_lvt },
	[LAPIC_TMICT] =		{ R | W, 0xffffffff, 0xffffffff, NULL,
				  write_count },
	[LAPIC_TMCCT] =		{ R, 0, 0, read_count, NULL },
	[LAPIC_TDCR] =		{ R | W, 0xb, 0xb, NULL, write_divide },
	[LAPIC_SELF_IPI] =	{ W | X2, 0xff, 0xff, NULL, write_self_ipi },
};

static uint32_t
register_read(struct lapic *l, unsigned n)
{
	return (registers[n].lr_read != NULL ? registers[n].lr_read(l, n) :
	    l->l_reg[n]);
}

static void
register_write(struct lapic *l, unsigned n, uint32_t value)
{
	value &= registers[n].lr_writable;
	if (registers[n].lr_write != NULL)
		registers[n].lr_write(l, n, value);
	else
		l->l_reg[n] = value;
}

bool
lapic_registers_valid(const struct lapic *l)
{
	uint32_t may;
	unsigned n;

	for (n = 0; n < LAPIC_NREGS; n++) {
		may = registers[n].lr_writable | registers[n].lr_defined;
		if (n == LAPIC_ID || n == LAPIC_LDR || n == LAPIC_DFR ||
		    n == LAPIC_ICR_HIGH)
			may = UINT32_MAX;	/* x2APIC's are wider */
		else if (n == LAPIC_ESR)
			may = 0xff;
		if ((l->l_reg[n] & ~may) != 0)
			return (false);
	}
	return (true);
}

/* --- the xAPIC page (11.4.1) --------------------------------------------------- */

bool
lapic_mmio_here(const struct lapic *l, uint64_t gpa)
{
	return (is_enabled(l) && !is_x2(l) &&
	    PAGE_OF(gpa) == PAGE_OF(l->l_base));
}

/* The register at offset, or NULL after noting the error. */
static const struct lapic_register *
xapic_register(struct lapic *l, unsigned offset)
{
	const struct lapic_register *r;

	if (offset < LAPIC_NREGS << 4) {
		r = &registers[offset >> 4];
		if (r->lr_access != 0 && !(r->lr_access & X2))
			return (r);
	}
	error(l, ESR_REGISTER);
	return (NULL);
}

/*
 * A register is 32 bits at the start of 16 bytes and is meant to be accessed
 * just so. Parts of it can be read; beyond it there are zeros.
 */
uint32_t
lapic_mmio_read(struct lapic *l, unsigned offset, unsigned size)
{
	const struct lapic_register *r = xapic_register(l, offset);
	unsigned byte = offset & 0xf;
	uint32_t value;

	if (r == NULL || !(r->lr_access & R) || byte >= 4)
		return (0);
	value = register_read(l, offset >> 4) >> byte * 8;
	return (size < 4 ? value & ((1u << size * 8) - 1) : value);
}

void
lapic_mmio_write(struct lapic *l, unsigned offset, unsigned size,
    uint32_t value)
{
	const struct lapic_register *r = xapic_register(l, offset);

	if (r == NULL || !(r->lr_access & W) || size < 4 || (offset & 0xf))
		return;
	register_write(l, offset >> 4, value);
}

/* --- MSRs (11.12) --------------------------------------------------------------- */

static int
x2apic_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
	unsigned n = msr - MSR_X2APIC_FIRST;

	if (!is_x2(l) || n >= LAPIC_NREGS ||
	    (registers[n].lr_access & (R | XAPIC)) != R)
		return (-1);
	*value = register_read(l, n);
	if (n == LAPIC_ICR)
		*value |= (uint64_t)l->l_reg[LAPIC_ICR_HIGH] << 32;
	return (1);
}

static int
x2apic_write(struct lapic *l, uint32_t msr, uint64_t value)
{
	unsigned n = msr - MSR_X2APIC_FIRST;

	if (!is_x2(l) || n >= LAPIC_NREGS ||
	    (registers[n].lr_access & (W | XAPIC)) != W ||
	    n == LAPIC_ID || n == LAPIC_LDR)	/* derived, read-only here */
		return (-1);
	if ((uint32_t)value & ~registers[n].lr_defined)
		return (-1);
	if (n == LAPIC_ICR) {
		l->l_reg[LAPIC_ICR_HIGH] = (uint32_t)(value >> 32);
		l->l_reg[LAPIC_ICR] = (uint32_t)value &
		    registers[n].lr_writable;
		send_ipi(l, l->l_reg[LAPIC_ICR], l->l_reg[LAPIC_ICR_HIGH]);
		return (1);
	}
	if (value >> 32 != 0)
		return (-1);
	register_write(l, n, (uint32_t)value);
	return (1);
}

/* The id and what follows from it. */
static void
reset_id(struct lapic *l)
{
	if (is_x2(l)) {
		l->l_reg[LAPIC_ID] = l->l_id;
		l->l_reg[LAPIC_LDR] = l->l_id >> 4 << 16 | 1u << (l->l_id & 15);
	} else {
		l->l_reg[LAPIC_ID] = l->l_id << 24;
		l->l_reg[LAPIC_LDR] = 0;
	}
}

/* What INIT leaves (11.4.7.3). */
static void
reset_registers(struct lapic *l)
{
	unsigned lvt;

	memset(l->l_reg, 0, sizeof(l->l_reg));
	memset(l->l_irr, 0, sizeof(l->l_irr));
	memset(l->l_isr, 0, sizeof(l->l_isr));
	memset(l->l_tmr, 0, sizeof(l->l_tmr));
	l->l_errors = 0;
	lapic_timer_stop(l);
	l->l_reg[LAPIC_DFR] = 0xffffffff;
	l->l_reg[LAPIC_SVR] = 0xff;
	for (lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt++)
		l->l_reg[lvt] = LVT_MASKED;
	reset_id(l);
}

void
lapic_reset(struct lapic *l, bool init_only)
{
	apic_lock(l->l_vm);
	if (!init_only) {
		l->l_base = APIC_DEFAULT_BASE | APIC_BASE_ENABLE |
		    (l->l_id == 0 ? APIC_BASE_BSP : 0);
		l->l_events = 0;
	}
	reset_registers(l);
	if (!init_only && l->l_id == 0) {
		l->l_reg[LAPIC_SVR] |= SVR_ENABLE;
		l->l_reg[LAPIC_LVT_LINT0] = APIC_EXTINT << 8;
		l->l_reg[LAPIC_LVT_LINT1] = APIC_NMI << 8;
	}
	apic_unlock(l->l_vm);
}

/* The mode transitions of 11.12.5 (figure 11-27). */
static int
write_base(struct lapic *l, uint64_t value)
{
	const uint64_t mode = APIC_BASE_ENABLE | APIC_BASE_X2;
	uint64_t defined = ((1ull << cpuid_physical_bits()) - 1) & ~0xfffull;
	uint64_t was = l->l_base & mode, is = value & mode;

	defined |= mode | APIC_BASE_BSP;
	if ((value & ~defined) || is == APIC_BASE_X2 ||
	    (was == mode && is == APIC_BASE_ENABLE) ||
	    (was == 0 && is == mode))
		return (-1);
	l->l_base = value;
	if (is == was)
		return (1);
	if (is == 0)
		reset_registers(l);
	else
		reset_id(l);
	if (is == mode)
		l->l_reg[LAPIC_ICR_HIGH] = 0;
	kick(l);	/* CPUID, the pins and what IRR holds look different */
	return (1);
}

int
apic_rdmsr(struct lapic *l, uint32_t msr, uint64_t *value)
{
	int done = 1;

	apic_lock(l->l_vm);
	if (msr == MSR_APIC_BASE)
		*value = l->l_base;
	else if (msr == MSR_TSC_DEADLINE)
		*value = lapic_timer_deadline(l);
	else if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		done = x2apic_read(l, msr, value);
	else
		done = 0;
	apic_unlock(l->l_vm);
	return (done);
}

int
apic_wrmsr(struct lapic *l, uint32_t msr, uint64_t value)
{
	int done = 1;

	apic_lock(l->l_vm);
	if (msr == MSR_APIC_BASE)
		done = write_base(l, value);
	else if (msr == MSR_TSC_DEADLINE)
		lapic_timer_set_deadline(l, value);
	else if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		done = x2apic_write(l, msr, value);
	else
		done = 0;
	apic_unlock(l->l_vm);
	return (done);
}

uint64_t
lapic_read_cr8(struct lapic *l)
{
	uint64_t value;

	apic_lock(l->l_vm);
	value = l->l_reg[LAPIC_TPR] >> 4;
	apic_unlock(l->l_vm);
	return (value);
}

void
lapic_write_cr8(struct lapic *l, uint64_t value)
{
	apic_lock(l->l_vm);
	write_tpr(l, LAPIC_TPR, (uint32_t)(value & 15) << 4);
	apic_unlock(l->l_vm);
}

/* --- for the VCPU --------------------------------------------------------------- */

uint32_t
lapic_id(const struct lapic *l)
{
	return (l->l_id);
}

bool
lapic_enabled(const struct lapic *l)
{
	bool enabled;

	apic_lock(l->l_vm);
	enabled = is_enabled(l);
	apic_unlock(l->l_vm);
	return (enabled);
}

int
lapic_pending(struct lapic *l)
{
	int v;

	apic_lock(l->l_vm);
	l->l_asked = true;
	lapic_timer_update(l);
	l->l_asked = false;
	v = deliverable(l);
	apic_unlock(l->l_vm);
	return (v);
}

int
lapic_accept(struct lapic *l)
{
	int v;

	apic_lock(l->l_vm);
	v = deliverable(l);
	if (v >= 0) {
		vector_clear(l->l_irr, (unsigned)v);
		vector_set(l->l_isr, (unsigned)v);
	} else
		v = l->l_reg[LAPIC_SVR] & 0xff;
	apic_unlock(l->l_vm);
	return (v);
}

bool
lapic_extint_open(struct lapic *l)
{
	uint32_t lvt;
	bool open;

	apic_lock(l->l_vm);
	lvt = l->l_reg[LAPIC_LVT_LINT0];
	open = !is_enabled(l) ||
	    (LVT_MODE(lvt) == APIC_EXTINT && !(lvt & LVT_MASKED));
	apic_unlock(l->l_vm);
	return (open);
}

unsigned
lapic_take_events(struct lapic *l, uint8_t *vector)
{
	unsigned events;

	apic_lock(l->l_vm);
	events = l->l_events;
	l->l_events = 0;
	*vector = l->l_sipi;
	apic_unlock(l->l_vm);
	return (events);
}
