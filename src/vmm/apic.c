/*
 * The interrupt controllers of a VM as one: their lock, the messages between
 * them, and which of them an address belongs to (SDM vol. 3A 11.6.2, 11.11).
 *
 * Everything that apic.h declares takes the lock; everything in apic_impl.h
 * expects it held.
 */
#include <stdlib.h>

#include "vmm/apic.h"
#include "vmm/apic_impl.h"

struct apic_vm *
apic_vm_new(unsigned ncpus, const struct apic_callbacks *call)
{
	struct apic_vm *vm;
	unsigned i;

	vm = calloc(1, sizeof(*vm) + ncpus * sizeof(vm->av_lapic[0]));
	if (vm == NULL)
		return (NULL);
	pthread_mutex_init(&vm->av_lock, NULL);
	vm->av_call = *call;
	vm->av_ncpus = ncpus;
	ioapic_init(&vm->av_ioapic);
	for (i = 0; i < ncpus; i++) {
		vm->av_lapic[i].l_vm = vm;
		vm->av_lapic[i].l_id = i;
		lapic_reset(&vm->av_lapic[i], false);
	}
	return (vm);
}

void
apic_vm_free(struct apic_vm *vm)
{
	if (vm == NULL)
		return;
	pthread_mutex_destroy(&vm->av_lock);
	free(vm);
}

struct lapic *
apic_lapic(struct apic_vm *vm, unsigned id)
{
	return (&vm->av_lapic[id]);
}

static bool
is_destination(const struct lapic *l, const struct apic_message *m)
{
	switch (m->am_to) {
	case APIC_TO_SELF:
		return (l == m->am_from);
	case APIC_TO_ALL:
		return (true);
	case APIC_TO_OTHERS:
		return (l != m->am_from);
	case APIC_TO_ADDRESS:
		break;
	}
	return (lapic_matches(l, m));
}

/* The destination with the lowest processor priority; ties go round. */
static struct lapic *
lowest_priority(struct apic_vm *vm, const struct apic_message *m)
{
	struct lapic *best = NULL, *l;
	unsigned i;

	for (i = 0; i < vm->av_ncpus; i++) {
		l = &vm->av_lapic[(vm->av_rotor + i) % vm->av_ncpus];
		if (!lapic_takes_vectors(l) || !is_destination(l, m))
			continue;
		if (best == NULL || lapic_ppr(l) < lapic_ppr(best))
			best = l;
	}
	if (best != NULL)
		vm->av_rotor = best->l_id + 1;
	return (best);
}

bool
apic_deliver(struct apic_vm *vm, const struct apic_message *m)
{
	struct lapic *l;
	bool taken = false;
	unsigned i;

	if (m->am_mode == APIC_LOWEST) {
		l = lowest_priority(vm, m);
		return (l != NULL && lapic_receive(l, APIC_FIXED,
		    m->am_vector, m->am_level));
	}
	for (i = 0; i < vm->av_ncpus; i++) {
		l = &vm->av_lapic[i];
		if (is_destination(l, m) && lapic_receive(l, m->am_mode,
		    m->am_vector, m->am_level))
			taken = true;
	}
	return (taken);
}

bool
apic_waits(struct apic_vm *vm, const struct apic_message *m)
{
	struct lapic *l;
	unsigned i;

	for (i = 0; i < vm->av_ncpus; i++) {
		l = &vm->av_lapic[i];
		if (is_destination(l, m) &&
		    lapic_waits(l, m->am_vector))
			return (true);
	}
	return (false);
}

void
apic_msi(struct apic_vm *vm, uint64_t address, uint32_t data)
{
	struct apic_message m = {
		.am_to = APIC_TO_ADDRESS,
		.am_dest = address >> 12 & 0xff,
		.am_dest8 = true,
		.am_logical = (address & 4) != 0,
		.am_mode = (enum apic_mode)(data >> 8 & 7),
		.am_vector = data & 0xff,
		.am_level = (data & 0x8000) != 0,
	};

	/* A device may write anywhere; only this window is interrupts. */
	if ((address & ~0xfffffull) != APIC_DEFAULT_BASE)
		return;
	apic_lock(vm);
	apic_deliver(vm, &m);
	apic_unlock(vm);
}

bool
apic_mmio_read(struct lapic *l, uint64_t gpa, unsigned size, uint64_t *data)
{
	struct apic_vm *vm = l->l_vm;
	bool done = true;

	apic_lock(vm);
	if (lapic_mmio_here(l, gpa))
		*data = lapic_mmio_read(l, gpa & 0xfff, size);
	else if (PAGE_OF(gpa) == IOAPIC_BASE)
		*data = ioapic_mmio_read(vm, gpa & 0xfff, size);
	else
		done = false;
	apic_unlock(vm);
	return (done);
}

bool
apic_mmio_write(struct lapic *l, uint64_t gpa, unsigned size, uint64_t data)
{
	struct apic_vm *vm = l->l_vm;
	bool done = true;

	apic_lock(vm);
	if (lapic_mmio_here(l, gpa))
		lapic_mmio_write(l, gpa & 0xfff, size, (uint32_t)data);
	else if (PAGE_OF(gpa) == IOAPIC_BASE)
		ioapic_mmio_write(vm, gpa & 0xfff, size, (uint32_t)data);
	else
		done = false;
	apic_unlock(vm);
	return (done);
}
