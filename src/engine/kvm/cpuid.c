/*
 * The guest's CPUID: the monitor's answers (eh_cpuid) as KVM's table.
 *
 * 1. The guest's instructions are the CPU's own here. What the monitor offers
 *    because software can do it anywhere, or because software needs no cure
 *    for the CPU's faults, counts only as far as this CPU has it: feature
 *    words are cut to what KVM supports, but for the bits of cpuid_ours[].
 * 2. KVM itself keeps the bits that follow the VCPU's state: OSXSAVE, APIC
 *    (from the APIC base, see kvm_cpuid_apic()), the XSAVE sizes.
 * 3. KVM takes a table once; a second one after the first KVM_RUN must be the
 *    same. What the monitor answers is settled by then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

#define ENTRIES		256
#define SUBLEAVES	8
#define APIC_DEFAULT	0xfee00000ul
#define APIC_ENABLE	0x800ul
#define APIC_BSP	0x100ul

/* A table of KVM's has room for so many bytes. */
#define TABLE_SIZE	(sizeof(struct kvm_cpuid2) +	\
			    ENTRIES * sizeof(struct kvm_cpuid_entry2))

/* Feature words, and which of their bits are the monitor's business or say
 * what the CPU does in any case. EAX, EBX, ECX, EDX. */
static const struct {
	uint32_t	leaf, subleaf;
	uint32_t	ours[4];
} cpuid_ours[] = {
	/* x2APIC, TSC-deadline, OSXSAVE, hypervisor; APIC, HTT; the APIC id */
	{ 1, 0, { ~0u, ~0u, 1u << 21 | 1u << 24 | 1u << 27 | 1u << 31,
	    1u << 9 | 1u << 28 } },
	/* FDP_EXCPTN_ONLY, ZERO_FCS_FDS */
	{ 7, 0, { ~0u, 1u << 6 | 1u << 13, 0, 0 } },
	{ 7, 2, { ~0u, ~0u, ~0u, 0 } },
	/* the size */
	{ 0xd, 1, { 0, ~0u, ~0u, ~0u } },
	/* CMP_LEGACY, TOPOEXT; APIC */
	{ 0x80000001, 0, { ~0u, ~0u, 1u << 1 | 1u << 22, 1u << 9 } },
	/* sizes of addresses, number of VCPUs */
	{ 0x80000008, 0, { ~0u, 0, ~0u, ~0u } },
	{ 0x80000021, 0, { 0, ~0u, 0, ~0u } },
};
#define NOURS	(sizeof(cpuid_ours) / sizeof(cpuid_ours[0]))

static bool
has_subleaves(uint32_t leaf)
{
	return (leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd ||
	    leaf == 0x8000001d);
}

static const struct kvm_cpuid_entry2 *
find(const struct kvm_cpuid2 *t, uint32_t leaf, uint32_t subleaf)
{
	const struct kvm_cpuid_entry2 *e;

	for (e = t->entries; e < t->entries + t->nent; e++)
		if (e->function == leaf && (e->index == subleaf ||
		    (e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == 0))
			return (e);
	return (NULL);
}

/* Cuts an answer to what this CPU has; the bits that were lost in lost[]. */
static void
cut(const struct kvm_cpuid2 *supported, struct engine_cpuid *ec,
    uint32_t lost[4])
{
	static const struct kvm_cpuid_entry2 nothing;
	const struct kvm_cpuid_entry2 *e;
	const uint32_t *ours;
	uint32_t bits;
	size_t n;

	memset(lost, 0, 4 * sizeof(lost[0]));
	for (n = 0; n < NOURS; n++)
		if (cpuid_ours[n].leaf == ec->ec_leaf &&
		    cpuid_ours[n].subleaf == ec->ec_subleaf)
			break;
	if (n == NOURS)
		return;
	ours = cpuid_ours[n].ours;
	if ((e = find(supported, ec->ec_leaf, ec->ec_subleaf)) == NULL)
		e = &nothing;
	lost[0] = ec->ec_eax & ~(ours[0] | e->eax);
	lost[1] = ec->ec_ebx & ~(ours[1] | e->ebx);
	lost[2] = ec->ec_ecx & ~(ours[2] | e->ecx);
	lost[3] = ec->ec_edx & ~(ours[3] | e->edx);
	ec->ec_eax &= ~lost[0];
	ec->ec_ebx &= ~lost[1];
	ec->ec_ecx &= ~lost[2];
	ec->ec_edx &= ~lost[3];
	/* no more physical address bits than KVM can map */
	bits = e->eax & 0xff;
	if (ec->ec_leaf == 0x80000008 && bits != 0 &&
	    bits < (ec->ec_eax & 0xff))
		ec->ec_eax = (ec->ec_eax & ~0xffu) | bits;
}

static int
ask_supported(int dev, struct kvm_cpuid2 *t)
{
	memset(t, 0, TABLE_SIZE);
	t->nent = ENTRIES;
	return (kvm_sys.ks_ioctl(dev, KVM_GET_SUPPORTED_CPUID, t) == -1 ?
	    errno : 0);
}

/* --- a VCPU's table ------------------------------------------------------------ */

struct making {
	struct engine_vcpu *m_vcpu;
	const struct kvm_cpuid2 *m_supported;
	struct kvm_cpuid2 *m_table;
};

static struct kvm_cpuid_entry2 *
add(struct making *m, uint32_t leaf, uint32_t subleaf)
{
	struct engine_cpuid ec = { .ec_leaf = leaf, .ec_subleaf = subleaf,
	    .ec_cr4 = 1u << 18, .ec_xcr0 = 7 };
	struct kvm_cpuid_entry2 *e;
	uint32_t lost[4];

	if (m->m_table->nent == ENTRIES)
		return (NULL);
	m->m_vcpu->v_host->eh_cpuid(m->m_vcpu->v_arg, &ec);
	cut(m->m_supported, &ec, lost);
	e = &m->m_table->entries[m->m_table->nent++];
	e->function = leaf;
	e->index = subleaf;
	if (has_subleaves(leaf))
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	e->eax = ec.ec_eax;
	e->ebx = ec.ec_ebx;
	e->ecx = ec.ec_ecx;
	e->edx = ec.ec_edx;
	return (e);
}

/* The leaves from base to the one that base's EAX says, in bounds. */
static void
add_class(struct making *m, uint32_t base, uint32_t most)
{
	const struct kvm_cpuid_entry2 *e;
	uint32_t leaf, sub, last;

	if ((e = add(m, base, 0)) == NULL)
		return;
	last = e->eax - base > most ? base + most : e->eax;
	for (leaf = base + 1; leaf <= last; leaf++)
		for (sub = 0; sub < (has_subleaves(leaf) ? SUBLEAVES : 1u);
		    sub++)
			(void)add(m, leaf, sub);
}

int
kvm_cpuid_set(struct engine_vcpu *v)
{
	struct kvm_cpuid2 *supported = calloc(1, TABLE_SIZE);
	struct making m = { .m_vcpu = v, .m_supported = supported,
	    .m_table = calloc(1, TABLE_SIZE) };
	int error = ENOMEM;

	if (supported != NULL && m.m_table != NULL &&
	    (error = ask_supported(v->v_vm->ev_dev, supported)) == 0) {
		add_class(&m, 0, 0x20);
		add_class(&m, 0x40000000, 0x20);
		add_class(&m, 0x40000100, 0x10);
		add_class(&m, 0x80000000, 0x30);
		if (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_CPUID2, m.m_table) == -1)
			error = errno;
	}
	free(supported);
	free(m.m_table);
	return (error != 0 ? error : kvm_cpuid_apic(v));
}

int
kvm_cpuid_apic(struct engine_vcpu *v)
{
	struct engine_cpuid ec = { .ec_leaf = 1 };
	struct kvm_sregs2 s;
	uint64_t base = APIC_DEFAULT | (v->v_id == 0 ? APIC_BSP : 0);

	v->v_host->eh_cpuid(v->v_arg, &ec);
	if ((ec.ec_edx & 1u << 9) != 0)
		base |= APIC_ENABLE;
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_SREGS2, &s) == -1)
		return (errno);
	if (s.apic_base == base)
		return (0);
	s.apic_base = base;
	return (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_SREGS2, &s) == -1 ? errno :
	    0);
}
