/*
 * The interrupt controllers' state, saved and loaded (base/state.h).
 *
 * A register is loaded with no more bits than a write could have left there;
 * IRR and ISR hold no vector below 16.
 */
#include <string.h>

#include "base/state.h"
#include "vmm/apic_impl.h"
#include "vmm/cpuid.h"

static bool
base_valid(uint64_t base)
{
	const uint64_t mode = base & (APIC_BASE_ENABLE | APIC_BASE_X2);
	const uint64_t defined = (((1ull << cpuid_physical_bits()) - 1) &
	    ~0xfffull) | APIC_BASE_BSP | APIC_BASE_ENABLE | APIC_BASE_X2;

	return ((base & ~defined) == 0 && mode != APIC_BASE_X2);
}

static void
words(struct state *s, uint32_t *w, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		state_u32(s, &w[i]);
}

static void
lapic_state(struct lapic *live, struct state *s)
{
	struct lapic l = *live;
	uint8_t events = (uint8_t)l.l_events;

	state_begin(s, "local APIC", l.l_id, 1);
	state_u64(s, &l.l_base);
	words(s, l.l_reg, LAPIC_NREGS);
	words(s, l.l_irr, 8);
	words(s, l.l_isr, 8);
	words(s, l.l_tmr, 8);
	state_u32_max(s, &l.l_errors, 0xff);
	state_u8_bits(s, &events, APIC_EVENT_NMI | APIC_EVENT_INIT |
	    APIC_EVENT_SIPI);
	state_u8(s, &l.l_sipi);
	state_bool(s, &l.l_lint[0]);
	state_bool(s, &l.l_lint[1]);
	state_u64(s, &l.l_expiry);
	state_u64(s, &l.l_deadline);
	if (state_loaded(s) && !base_valid(l.l_base))
		state_bad(s, "its base address is none");
	if (state_loaded(s) && !lapic_registers_valid(&l))
		state_bad(s, "a register has bits that it cannot have");
	if (((l.l_irr[0] | l.l_isr[0]) & 0xffff) != 0)
		state_bad(s, "it serves a vector that there is not");
	if (state_loaded(s)) {
		l.l_events = events;
		*live = l;
	}
	state_end(s);
}

void
apic_vm_state(struct apic_vm *vm, struct state *s)
{
	struct ioapic io;
	uint32_t rotor;
	unsigned i;

	apic_lock(vm);
	io = vm->av_ioapic;
	rotor = vm->av_rotor;
	state_begin(s, "IOAPIC", 0, 1);
	state_u32_max(s, &io.io_select, 0xff);
	state_u32(s, &io.io_id);
	for (i = 0; i < IOAPIC_PINS; i++)
		state_u64(s, &io.io_entry[i]);
	state_u32_bits(s, &io.io_level, (1u << IOAPIC_PINS) - 1);
	state_u32_max(s, &rotor, vm->av_ncpus);
	if (state_loaded(s) && !ioapic_valid(&io))
		state_bad(s, "a register has bits that it cannot have");
	if (state_loaded(s)) {
		vm->av_ioapic = io;
		vm->av_rotor = rotor;
	}
	state_end(s);
	for (i = 0; i < vm->av_ncpus; i++)
		lapic_state(&vm->av_lapic[i], s);
	apic_unlock(vm);
}
