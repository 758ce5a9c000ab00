/*
 * What apic.c, lapic.c, lapic_timer.c and ioapic.c share; nobody else includes
 * this. Functions declared here are called with the VM's lock held.
 */
#ifndef VMM_APIC_IMPL_H
#define VMM_APIC_IMPL_H

#include <pthread.h>

#include "vmm/apic.h"

#define PAGE_OF(gpa)	((gpa) & ~0xfffull)

/* --- messages ---------------------------------------------------------------- */

/* Delivery modes: ICR, LVT, IOAPIC and MSI agree (SDM vol. 3A 11.6.1). */
enum apic_mode {
	APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_RESERVED, APIC_NMI, APIC_INIT,
	APIC_SIPI, APIC_EXTINT
};

/* Destination kinds: by address, or an ICR shorthand (SDM 11.6.1). */
enum apic_to { APIC_TO_ADDRESS, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS };

struct apic_message {
	enum apic_to	am_to;
	uint32_t	am_dest;	/* APIC_TO_ADDRESS */
	bool		am_dest8;	/* only 8 bits of it: 0xff is all */
	bool		am_logical;
	enum apic_mode	am_mode;
	uint8_t		am_vector;
	bool		am_level;
	const struct lapic *am_from;	/* NULL from the IOAPIC or a device */
};

/* True if some local APIC took it. */
bool	apic_deliver(struct apic_vm *, const struct apic_message *);
/* Does the message's vector wait at a VCPU that it is for? */
bool	apic_waits(struct apic_vm *, const struct apic_message *);

/* --- the local APIC ------------------------------------------------------------ */

/* Register numbers: xAPIC offset >> 4, x2APIC MSR - 0x800. */
enum {
	LAPIC_ID = 0x02, LAPIC_VERSION = 0x03, LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09, LAPIC_PPR = 0x0a, LAPIC_EOI = 0x0b, LAPIC_RRD = 0x0c,
	LAPIC_LDR = 0x0d, LAPIC_DFR = 0x0e, LAPIC_SVR = 0x0f, LAPIC_ISR = 0x10,
	LAPIC_TMR = 0x18, LAPIC_IRR = 0x20, LAPIC_ESR = 0x28, LAPIC_ICR = 0x30,
	LAPIC_ICR_HIGH = 0x31, LAPIC_LVT_TIMER = 0x32, LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_PERF = 0x34, LAPIC_LVT_LINT0 = 0x35, LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37, LAPIC_TMICT = 0x38, LAPIC_TMCCT = 0x39,
	LAPIC_TDCR = 0x3e, LAPIC_SELF_IPI = 0x3f, LAPIC_NREGS = 0x40
};

/* IA32_APIC_BASE (SDM vol. 3A 11.4.4, 11.12.1) */
#define APIC_BASE_BSP		0x00000100ull
#define APIC_BASE_X2		0x00000400ull
#define APIC_BASE_ENABLE	0x00000800ull
/* SVR (11.9) */
#define SVR_ENABLE		0x00000100u
#define SVR_NO_BROADCAST	0x00001000u
/* LVT (11.5.1) */
#define LVT_MODE(lvt)		((enum apic_mode)((lvt) >> 8 & 7))
#define LVT_REMOTE_IRR		0x00004000u
#define LVT_LEVEL		0x00008000u
#define LVT_MASKED		0x00010000u
#define LVT_TIMER_MODE(lvt)	((lvt) >> 17 & 3)
enum { TIMER_ONESHOT, TIMER_PERIODIC, TIMER_DEADLINE, TIMER_RESERVED };
/* ESR (11.5.3) */
#define ESR_SEND_VECTOR		0x20u
#define ESR_RECEIVE_VECTOR	0x40u
#define ESR_REGISTER		0x80u

#define TIMER_NEVER		UINT64_MAX

struct lapic {
	struct apic_vm	*l_vm;		/* [I] */
	uint32_t	 l_id;		/* [I] */
	uint64_t	 l_base;	/* [m] IA32_APIC_BASE */
	uint32_t	 l_reg[LAPIC_NREGS]; /* [m] those that are plain values */
	uint32_t	 l_irr[8], l_isr[8], l_tmr[8];	/* [m] */
	uint32_t	 l_errors;	/* [m] since the last write of ESR */
	unsigned	 l_events;	/* [m] APIC_EVENT_* */
	uint8_t		 l_sipi;	/* [m] vector of the last SIPI */
	bool		 l_lint[2];	/* [m] levels of the pins */
	bool		 l_asked;	/* [m] for a vector, by its VCPU: it
					   needs no kick for it */
	/* the timer; only its VCPU's thread, lapic_timer.c */
	uint64_t	 l_expiry;	/* when the count reaches 0, ns */
	uint64_t	 l_deadline;	/* IA32_TSC_DEADLINE */
};

/* Hands a message's content to l; false if it does not take it. */
bool	lapic_receive(struct lapic *, enum apic_mode, uint8_t vector,
	    bool level);
bool	lapic_matches(const struct lapic *, const struct apic_message *);
/* Takes fixed interrupts: enabled by APIC_BASE and SVR. */
bool	lapic_takes_vectors(const struct lapic *);
/* Is the vector in IRR? */
bool	lapic_waits(const struct lapic *, uint8_t vector);
uint32_t lapic_ppr(const struct lapic *);
/* An event of the local vector table, if it is not masked. */
void	lapic_lvt_fire(struct lapic *, unsigned lvt);
bool	lapic_mmio_here(const struct lapic *, uint64_t gpa);
uint32_t lapic_mmio_read(struct lapic *, unsigned offset, unsigned size);
void	lapic_mmio_write(struct lapic *, unsigned offset, unsigned size,
	    uint32_t value);

/* Could writes have left these registers? */
bool	lapic_registers_valid(const struct lapic *);

/* lapic_timer.c */
void	lapic_timer_stop(struct lapic *);
void	lapic_timer_update(struct lapic *);
uint32_t lapic_timer_count(struct lapic *);
void	lapic_timer_start(struct lapic *, uint32_t count);
void	lapic_timer_divide(struct lapic *, uint32_t tdcr);
void	lapic_timer_lvt(struct lapic *, uint32_t lvt);
uint64_t lapic_timer_deadline(struct lapic *);
void	lapic_timer_set_deadline(struct lapic *, uint64_t tsc);

/* --- the IOAPIC ---------------------------------------------------------------- */

struct ioapic {			/* all [m] */
	uint32_t	io_select;	/* IOREGSEL */
	uint32_t	io_id;
	uint64_t	io_entry[IOAPIC_PINS];
	uint32_t	io_level;	/* asserted inputs, a bit each */
};

uint32_t ioapic_mmio_read(struct apic_vm *, unsigned offset, unsigned size);
void	ioapic_mmio_write(struct apic_vm *, unsigned offset, unsigned size,
	    uint32_t value);
/* A local APIC ended a level-triggered interrupt. */
void	ioapic_eoi(struct apic_vm *, uint8_t vector);
/* A local APIC began to take interrupts: level-triggered ones try again. */
void	ioapic_retry(struct apic_vm *);
void	ioapic_init(struct ioapic *);
/* Could writes have left these registers? */
bool	ioapic_valid(const struct ioapic *);

/* --- the VM ---------------------------------------------------------------------- */

struct apic_vm {
	pthread_mutex_t	 av_lock;
	struct apic_callbacks av_call;	/* [I] */
	unsigned	 av_ncpus;	/* [I] */
	unsigned	 av_rotor;	/* [m] where lowest priority looks first */
	struct ioapic	 av_ioapic;	/* [m] */
	struct lapic	 av_lapic[];	/* [m] see there */
};

static inline void
apic_lock(struct apic_vm *vm)
{
	pthread_mutex_lock(&vm->av_lock);
}

static inline void
apic_unlock(struct apic_vm *vm)
{
	pthread_mutex_unlock(&vm->av_lock);
}

#endif
