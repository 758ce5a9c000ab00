/*
 * The IOAPIC (82093AA; version 0x20 with its EOI register, as in the ICH).
 *
 * 1. Inputs are levels as their sources mean them: asserted or not. The
 *    polarity bit is stored and changes nothing.
 * 2. An edge on a masked pin is lost (82093AA 3.2.4, "interrupt mask"). A level
 *    is looked at again when the pin is unmasked or its interrupt has ended.
 *
 * Called with the lock held but for ioapic_set() and ioapic_reset().
 */
#include <string.h>

#include <vmm.h>

#include "vmm/apic_impl.h"

/* MMIO offsets */
#define IOREGSEL	0x00
#define IOWIN		0x10
#define IOEOI		0x40
/* registers behind IOREGSEL */
#define REG_ID		0x00
#define REG_VERSION	0x01
#define REG_ARBITRATION	0x02
#define REG_ENTRY	0x10

#define VERSION		(0x20 | (IOAPIC_PINS - 1) << 16)

/* A redirection entry */
#define E_VECTOR(e)	((uint8_t)(e))
#define E_MODE(e)	((enum apic_mode)((e) >> 8 & 7))
#define E_LOGICAL	0x0000000000000800ull
#define E_REMOTE_IRR	0x0000000000004000ull
#define E_LEVEL		0x0000000000008000ull
#define E_MASKED	0x0000000000010000ull
#define E_DEST(e)	((uint32_t)((e) >> 56))
#define E_WRITABLE	0xff0000000001afffull

void
ioapic_init(struct ioapic *io)
{
	unsigned pin;

	io->io_select = 0;
	io->io_id = 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		io->io_entry[pin] = E_MASKED;
}

void
ioapic_reset(struct apic_vm *vm)
{
	apic_lock(vm);
	ioapic_init(&vm->av_ioapic);
	apic_unlock(vm);
}

static struct apic_message
message(uint64_t e)
{
	return ((struct apic_message){
		.am_to = APIC_TO_ADDRESS,
		.am_dest = E_DEST(e),
		.am_dest8 = true,
		.am_logical = (e & E_LOGICAL) != 0,
		.am_mode = E_MODE(e),
		.am_vector = E_VECTOR(e),
		.am_level = (e & E_LEVEL) != 0,
	});
}

/* Sends the pin's message. */
static void
fire(struct apic_vm *vm, unsigned pin)
{
	uint64_t *e = &vm->av_ioapic.io_entry[pin];
	struct apic_message m = message(*e);

	if (!apic_deliver(vm, &m))
		return;
	/* Only these are ended by an EOI. */
	if (m.am_level && (m.am_mode == APIC_FIXED || m.am_mode == APIC_LOWEST))
		*e |= E_REMOTE_IRR;
}

/* Fires a level-triggered pin that is asserted, open and not in service. */
static void
look(struct apic_vm *vm, unsigned pin)
{
	uint64_t e = vm->av_ioapic.io_entry[pin];

	if ((e & E_LEVEL) && !(e & (E_MASKED | E_REMOTE_IRR)) &&
	    (vm->av_ioapic.io_level >> pin & 1))
		fire(vm, pin);
}

void
ioapic_set(struct apic_vm *vm, unsigned pin, bool level)
{
	struct ioapic *io = &vm->av_ioapic;
	uint32_t bit;
	bool rose;

	if (pin >= IOAPIC_PINS)
		return;
	bit = 1u << pin;
	apic_lock(vm);
	rose = level && !(io->io_level & bit);
	io->io_level = level ? io->io_level | bit : io->io_level & ~bit;
	if (io->io_entry[pin] & E_LEVEL)
		look(vm, pin);
	else if (rose && !(io->io_entry[pin] & E_MASKED))
		fire(vm, pin);
	apic_unlock(vm);
}

unsigned
ioapic_state(struct apic_vm *vm, unsigned pin)
{
	struct apic_message m;
	unsigned state = VMM_IRQ_CLOSED;
	uint64_t e;

	apic_lock(vm);
	e = vm->av_ioapic.io_entry[pin];
	m = message(e);
	if (!(e & E_MASKED) &&
	    (m.am_mode == APIC_FIXED || m.am_mode == APIC_LOWEST))
		state = apic_waits(vm, &m) ? VMM_IRQ_WAITING : VMM_IRQ_TAKEN;
	apic_unlock(vm);
	return (state);
}

void
ioapic_eoi(struct apic_vm *vm, uint8_t vector)
{
	struct ioapic *io = &vm->av_ioapic;
	unsigned pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(io->io_entry[pin] & E_LEVEL) ||
		    E_VECTOR(io->io_entry[pin]) != vector)
			continue;
		io->io_entry[pin] &= ~E_REMOTE_IRR;
		look(vm, pin);
	}
}

void
ioapic_retry(struct apic_vm *vm)
{
	unsigned pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++)
		look(vm, pin);
}

static uint32_t
read_register(struct ioapic *io)
{
	uint32_t r = io->io_select;
	uint64_t e;

	switch (r) {
	case REG_ID:
	case REG_ARBITRATION:
		return (io->io_id);
	case REG_VERSION:
		return (VERSION);
	}
	if (r < REG_ENTRY || r >= REG_ENTRY + 2 * IOAPIC_PINS)
		return (0);
	e = io->io_entry[(r - REG_ENTRY) / 2];
	return ((uint32_t)(r & 1 ? e >> 32 : e));
}

static void
write_register(struct apic_vm *vm, uint32_t value)
{
	struct ioapic *io = &vm->av_ioapic;
	uint32_t r = io->io_select;
	uint64_t *e, v;

	if (r == REG_ID)
		io->io_id = value & 0x0f000000;
	if (r < REG_ENTRY || r >= REG_ENTRY + 2 * IOAPIC_PINS)
		return;
	e = &io->io_entry[(r - REG_ENTRY) / 2];
	if (r & 1)
		v = (uint32_t)*e | (uint64_t)value << 32;
	else
		v = (*e & ~0xffffffffull) | value;
	*e = (v & E_WRITABLE) | (*e & E_REMOTE_IRR);
	/* An edge-triggered interrupt is not in service here: systems without
	 * the EOI register end a level-triggered one by this. */
	if (!(*e & E_LEVEL))
		*e &= ~E_REMOTE_IRR;
	look(vm, (r - REG_ENTRY) / 2);
}

uint32_t
ioapic_mmio_read(struct apic_vm *vm, unsigned offset, unsigned size)
{
	struct ioapic *io = &vm->av_ioapic;
	uint32_t value = 0;

	switch (offset & ~3u) {
	case IOREGSEL:
		value = io->io_select;
		break;
	case IOWIN:
		value = read_register(io);
		break;
	}
	value >>= (offset & 3) * 8;
	return (size < 4 ? value & ((1u << size * 8) - 1) : value);
}

void
ioapic_mmio_write(struct apic_vm *vm, unsigned offset, unsigned size,
    uint32_t value)
{
	switch (offset) {
	case IOREGSEL:
		vm->av_ioapic.io_select = value & 0xff;
		break;
	case IOWIN:
		if (size >= 4)
			write_register(vm, value);
		break;
	case IOEOI:
		ioapic_eoi(vm, (uint8_t)value);
		break;
	}
}

bool
ioapic_valid(const struct ioapic *io)
{
	unsigned pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if ((io->io_entry[pin] & ~(E_WRITABLE | E_REMOTE_IRR)) != 0)
			return (false);
	return ((io->io_id & ~0x0f000000u) == 0);
}
