/*
 * The interrupt controllers that live beside the VCPU: a local APIC for each
 * VCPU (SDM vol. 3A ch. 11) and an IOAPIC for the VM (82093AA).
 *
 * 1. struct apic_vm holds one lock [m] for all local APICs and the IOAPIC of a
 *    VM. It is a leaf lock but for the callbacks, which are called with it
 *    held: ac_kick must only do eo_kick() and wake a halted VCPU.
 * 2. Nothing here knows engines, ioctls or the client.
 * 3. Time is CLOCK_MONOTONIC in ns except for the TSC deadline, which is in
 *    guest TSC ticks; lapic_next_deadline() gives both as monotonic ns.
 * 4. Functions that take a struct lapic are for the thread of its VCPU (they
 *    may ask for the VCPU's TSC), unless they say "any thread".
 */
#ifndef VMM_APIC_H
#define VMM_APIC_H

#include <stdbool.h>
#include <stdint.h>

#define APIC_DEFAULT_BASE	0xfee00000ul
#define IOAPIC_BASE		0xfec00000ul
#define IOAPIC_PINS		24
#define APIC_TIMER_HZ		1000000000ul	/* bus clock of the timer: 1 GHz */

/* Events for a VCPU, besides vectors. */
#define APIC_EVENT_NMI		0x1
#define APIC_EVENT_INIT		0x2
#define APIC_EVENT_SIPI		0x4	/* vector in lapic_take_events */

struct apic_vm;
struct lapic;
struct state;		/* base/state.h */

struct apic_callbacks {
	/* VCPU id has something to look at (any thread; lock held). */
	void	(*ac_kick)(void *arg, unsigned id);
	/* The guest's TSC now, and its frequency (that VCPU's thread). */
	uint64_t (*ac_tsc)(void *arg, unsigned id);
	uint64_t ac_tsc_khz;
	/* CLOCK_MONOTONIC ns; tests replace it. */
	uint64_t (*ac_now)(void *arg);
	void	*ac_arg;
};

/* NULL without memory. APICs are as lapic_reset(, false) leaves them. */
struct apic_vm	*apic_vm_new(unsigned ncpus, const struct apic_callbacks *);
void		 apic_vm_free(struct apic_vm *);
struct lapic	*apic_lapic(struct apic_vm *, unsigned id);
/* All of them, saved or loaded. No VCPU runs. */
void		 apic_vm_state(struct apic_vm *, struct state *);
/*
 * init_only: what INIT leaves (SDM vol. 3A 11.4.7.3; APIC_BASE stays). Else
 * power-on, with the virtual wire mode that a PC's firmware leaves: on VCPU 0
 * the APIC is enabled, LINT0 is ExtINT and LINT1 is NMI. ioapic_reset() is the
 * IOAPIC's share of a machine reset; input levels stay.
 */
void		 lapic_reset(struct lapic *, bool init_only);
void		 ioapic_reset(struct apic_vm *);

/* MMIO: true if gpa is the local APIC's page of this VCPU (as APIC_BASE has
 * it) or the IOAPIC's, and the access was done. */
bool	apic_mmio_read(struct lapic *, uint64_t gpa, unsigned size, uint64_t *);
bool	apic_mmio_write(struct lapic *, uint64_t gpa, unsigned size, uint64_t);
/* MSRs 0x1B, 0x6E0 and 0x800-0x8FF. 1: done, 0: not an APIC MSR, -1: #GP. */
int	apic_rdmsr(struct lapic *, uint32_t msr, uint64_t *);
int	apic_wrmsr(struct lapic *, uint32_t msr, uint64_t);
uint64_t lapic_read_cr8(struct lapic *);
void	lapic_write_cr8(struct lapic *, uint64_t);
uint32_t lapic_id(const struct lapic *);	/* initial APIC id; any thread */
bool	lapic_enabled(const struct lapic *);	/* CPUID.1:EDX.APIC */

/*
 * The VCPU thread, at an entry: fires a timer that is due; then the highest
 * vector that the processor priority lets through, or -1. lapic_accept() moves
 * it from IRR to ISR and returns it (or the spurious vector if it went away).
 */
int	lapic_pending(struct lapic *);
int	lapic_accept(struct lapic *);
/* Would an ExtINT of the 8259 be taken (APIC off, or LINT0 in ExtINT mode,
 * unmasked)? */
bool	lapic_extint_open(struct lapic *);
/* The level of pin LINT0 or LINT1; ExtINT is the caller's (see above), other
 * delivery modes happen here. Any thread. */
void	lapic_lint(struct lapic *, unsigned pin, bool level);
/* APIC_EVENT_* that wait, cleared by this call; *vector for SIPI. */
unsigned lapic_take_events(struct lapic *, uint8_t *vector);
/* When the timer is due next, CLOCK_MONOTONIC ns; UINT64_MAX if not armed. It
 * changes by the guest's accesses and when a timer fires in lapic_pending(). */
uint64_t lapic_next_deadline(struct lapic *);

/* IOAPIC input pin. Any thread. */
void	ioapic_set(struct apic_vm *, unsigned pin, bool level);
/* What became of the pin's last edge: VMM_IRQ_*. Any thread. */
unsigned ioapic_state(struct apic_vm *, unsigned pin);
/* A message-signalled interrupt (address, data as in PCI MSI). Any thread. */
void	apic_msi(struct apic_vm *, uint64_t address, uint32_t data);

#endif
