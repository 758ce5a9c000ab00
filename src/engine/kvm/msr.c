/*
 * Model-specific registers: which are KVM's, and the two that are ours.
 *
 * 1. KVM answers for msr_owned[] alone; every other RDMSR and WRMSR leaves
 *    KVM_RUN and is the monitor's, KVM's own paravirtual registers with them.
 * 2. The TSC is read by the guest itself. What it writes to the TSC and to
 *    IA32_TSC_ADJUST leaves KVM_RUN too, so that the offset between the two
 *    clocks is known to the tick (SDM vol. 3B 17.17.3).
 *
 * On the VCPU's thread.
 */
#include <errno.h>
#include <string.h>
#include <x86intrin.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

#define MSR_TSC		0x10u
#define MSR_APIC_BASE	0x1bu
#define MSR_TSC_ADJUST	0x3bu
#define PAT_RESET	0x0007040600070406u

#define R	KVM_MSR_FILTER_READ
#define RW	(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)

static const struct msr_range {
	uint32_t	mr_base;
	uint32_t	mr_count;	/* at most 32 */
	uint32_t	mr_bits;	/* which of them */
	uint32_t	mr_flags;
} msr_owned[] = {
	{ MSR_TSC, 1, 1, R },
	{ 0x48, 2, 3, RW },		/* SPEC_CTRL, PRED_CMD */
	{ 0xfe, 1, 1, R },		/* MTRRCAP */
	{ 0x10a, 1, 1, R },		/* ARCH_CAPABILITIES */
	{ 0x174, 3, 7, RW },		/* SYSENTER */
	{ 0x1a0, 1, 1, RW },		/* MISC_ENABLE */
	{ 0x200, 16, 0xffff, RW },	/* MTRRs: variable, */
	{ 0x250, 32, 0xff000301, RW },	/* fixed, */
	{ 0x277, 1, 1, RW },		/* PAT, */
	{ 0x2ff, 1, 1, RW },		/* default type */
	{ 0xc0000080, 5, 0x1f, RW },	/* EFER, STAR to SFMASK */
	{ 0xc0000100, 4, 0xf, RW },	/* FS, GS, kernel GS, TSC_AUX */
};
#define NOWNED	(sizeof(msr_owned) / sizeof(msr_owned[0]))

static bool
msr_is_owned(uint32_t msr)
{
	const struct msr_range *r;

	for (r = msr_owned; r < msr_owned + NOWNED; r++)
		if (msr - r->mr_base < r->mr_count &&
		    (r->mr_bits >> (msr - r->mr_base) & 1) != 0)
			return (true);
	return (false);
}

int
kvm_msr_filter(struct engine_vm *vm)
{
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };
	uint32_t bits[NOWNED];
	size_t n;

	_Static_assert(NOWNED <= KVM_MSR_FILTER_MAX_RANGES, "a filter's size");
	for (n = 0; n < NOWNED; n++) {
		bits[n] = msr_owned[n].mr_bits;
		filter.ranges[n] = (struct kvm_msr_filter_range){
			.flags = msr_owned[n].mr_flags,
			.nmsrs = msr_owned[n].mr_count,
			.base = msr_owned[n].mr_base,
			.bitmap = (uint8_t *)&bits[n],
		};
	}
	return (kvm_sys.ks_ioctl(vm->ev_fd, KVM_X86_SET_MSR_FILTER, &filter) ==
	    -1 ? errno : 0);
}

/* KVM's structure for several, with room for one. */
union one_msr {
	struct kvm_msrs	om_msrs;
	uint8_t		om_room[sizeof(struct kvm_msrs) +
			    sizeof(struct kvm_msr_entry)];
};

static int
msr_call(struct engine_vcpu *v, unsigned long request, uint32_t msr,
    uint64_t *value)
{
	union one_msr m = { .om_room = { 0 } };
	int n;

	m.om_msrs.nmsrs = 1;
	m.om_msrs.entries[0].index = msr;
	m.om_msrs.entries[0].data = *value;
	n = kvm_sys.ks_ioctl(v->v_fd, request, &m);
	*value = m.om_msrs.entries[0].data;
	return (n == 1 ? 0 : n == -1 ? errno : EINVAL);
}

int
kvm_msr_get(struct engine_vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = 0;
	return (msr_call(v, KVM_GET_MSRS, msr, value));
}

int
kvm_msr_set(struct engine_vcpu *v, uint32_t msr, uint64_t value)
{
	return (msr_call(v, KVM_SET_MSRS, msr, &value));
}

int
kvm_msr_reset(struct engine_vcpu *v)
{
	static const uint32_t zero[] = { 0x174, 0x175, 0x176, 0x2ff,
	    0x250, 0x258, 0x259, 0xc0000103 };
	uint32_t msr;
	size_t n;
	int error = kvm_msr_set(v, 0x277, PAT_RESET);

	for (n = 0; error == 0 && n < sizeof(zero) / sizeof(zero[0]); n++)
		error = kvm_msr_set(v, zero[n], 0);
	for (msr = 0x268; error == 0 && msr < 0x270; msr++)
		error = kvm_msr_set(v, msr, 0);
	for (msr = 0x200; error == 0 && msr < 0x210; msr++)
		error = kvm_msr_set(v, msr, 0);
	/* where there is no such register there is nothing to reset */
	(void)kvm_msr_set(v, 0x48, 0);
	return (error);
}

/* --- the TSC ---------------------------------------------------------------- */

int
kvm_tsc_set(struct engine_vcpu *v, int64_t offset)
{
	uint64_t value = (uint64_t)offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&value,
	};

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_DEVICE_ATTR, &attr) == -1)
		return (errno);
	v->v_tsc_offset = offset;
	return (0);
}

static int
tsc_write(struct engine_vcpu *v, uint32_t msr, uint64_t value)
{
	uint64_t offset = (uint64_t)v->v_tsc_offset;
	uint64_t delta = value - (msr == MSR_TSC_ADJUST ? v->v_tsc_adjust :
	    __rdtsc() + offset);
	int error = kvm_tsc_set(v, (int64_t)(offset + delta));

	if (error == 0)
		v->v_tsc_adjust += delta;
	return (error);
}

/* --- by number ---------------------------------------------------------------- */

int
kvm_getmsr(struct engine_vcpu *v, uint32_t msr, uint64_t *value)
{
	if (msr == MSR_TSC)
		*value = __rdtsc() + (uint64_t)v->v_tsc_offset;
	else if (msr == MSR_TSC_ADJUST)
		*value = v->v_tsc_adjust;
	else
		return (msr_is_owned(msr) ? kvm_msr_get(v, msr, value) :
		    EINVAL);
	return (0);
}

int
kvm_setmsr(struct engine_vcpu *v, uint32_t msr, uint64_t value)
{
	if (msr == MSR_TSC || msr == MSR_TSC_ADJUST)
		return (tsc_write(v, msr, value));
	return (msr_is_owned(msr) ? kvm_msr_set(v, msr, value) : EINVAL);
}

void
kvm_msr_exit(struct engine_vcpu *v)
{
	struct kvm_run *run = v->v_run;
	uint32_t msr = run->msr.index;
	bool write = run->exit_reason == KVM_EXIT_X86_WRMSR, done;
	uint64_t value = run->msr.data;

	if (msr == MSR_TSC_ADJUST || (write && msr == MSR_TSC))
		done = (write ? kvm_setmsr(v, msr, value) :
		    kvm_getmsr(v, msr, &value)) == 0;
	else if (msr_is_owned(msr))
		done = false;		/* KVM has refused it */
	else if (write)
		done = v->v_host->eh_wrmsr(v->v_arg, msr, value);
	else
		done = v->v_host->eh_rdmsr(v->v_arg, msr, &value);
	if (write && done && msr == MSR_APIC_BASE)
		done = kvm_cpuid_apic(v) == 0;
	run->msr.data = value;
	run->msr.error = !done;
}
