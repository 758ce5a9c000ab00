/*
 * What the CPU asks of the monitor while the guest runs: the APICs' registers,
 * the MSRs that are not the CPU's own, CR8, CPUID.
 *
 * Called on the thread that has the VCPU, from inside eo_run(); nothing here
 * blocks. After an access to the local APIC, RUN looks again at what there is
 * to deliver, and the clock learns of the timer.
 */
#include "vmm/monitor.h"

static struct lapic *
host_lapic(struct vcpu *v)
{
	return (apic_lapic(v->v_vm->vm_apic, v->v_id));
}

/* The guest touched its local APIC or the IOAPIC. */
static void
host_apic_changed(struct vcpu *v)
{
	vcpu_deadline(v);
	if (lapic_pending(host_lapic(v)) >= 0 || atomic_load(&v->v_intr))
		v->v_vm->vm_ops->eo_kick(v->v_engine);
}

static bool
host_mmio_read(void *arg, uint64_t gpa, unsigned size, uint64_t *data)
{
	struct vcpu *v = arg;

	return (v->v_vm->vm_apic != NULL &&
	    apic_mmio_read(host_lapic(v), gpa, size, data));
}

static bool
host_mmio_write(void *arg, uint64_t gpa, unsigned size, uint64_t data)
{
	struct vcpu *v = arg;

	if (v->v_vm->vm_apic == NULL ||
	    !apic_mmio_write(host_lapic(v), gpa, size, data))
		return (false);
	host_apic_changed(v);
	return (true);
}

static bool
host_rdmsr(void *arg, uint32_t msr, uint64_t *value)
{
	struct vcpu *v = arg;
	int done = 0;

	if (v->v_vm->vm_apic != NULL)
		done = apic_rdmsr(host_lapic(v), msr, value);
	if (done == 0)
		done = pvclock_rdmsr(&v->v_pvclock, msr, value);
	if (done == 0)
		done = misc_rdmsr(&v->v_misc, msr, value);
	if (done == 0 && (v->v_vm->vm_caps & VMM_CAP_IGNORE_MSRS) != 0) {
		*value = 0;
		done = 1;
	}
	return (done == 1);
}

static bool
host_wrmsr(void *arg, uint32_t msr, uint64_t value)
{
	struct vcpu *v = arg;
	struct pvclock_memory memory;
	int done = 0;

	if (v->v_vm->vm_apic != NULL) {
		done = apic_wrmsr(host_lapic(v), msr, value);
		if (done == 1)
			host_apic_changed(v);
	}
	if (done == 0) {
		host_pvclock_memory(v, &memory);
		done = pvclock_wrmsr(&v->v_pvclock, msr, value, &memory,
		    v->v_vm->vm_ops->eo_tsc_offset(v->v_engine));
	}
	if (done == 0)
		done = misc_wrmsr(&v->v_misc, msr, value);
	if (done == 0 && (v->v_vm->vm_caps & VMM_CAP_IGNORE_MSRS) != 0)
		done = 1;
	return (done == 1);
}

static uint64_t
host_read_cr8(void *arg)
{
	struct vcpu *v = arg;

	return (v->v_vm->vm_apic == NULL ? v->v_cr8 :
	    lapic_read_cr8(host_lapic(v)));
}

static void
host_write_cr8(void *arg, uint64_t value)
{
	struct vcpu *v = arg;

	v->v_cr8 = value & 0xf;
	if (v->v_vm->vm_apic != NULL) {
		lapic_write_cr8(host_lapic(v), value);
		host_apic_changed(v);
	}
}

static void
host_cpuid(void *arg, struct engine_cpuid *ec)
{
	struct vcpu *v = arg;
	struct cpuid_policy policy = {
		.cp_ncpus = v->v_vm->vm_ncpus,
		.cp_apic_id = v->v_id,
		.cp_pvclock = true,
		.cp_tsc_khz = v->v_vm->vm_tsc_khz,
	};

	if (v->v_vm->vm_apic != NULL) {
		policy.cp_apic = true;
		policy.cp_apic_id = lapic_id(host_lapic(v));
		policy.cp_apic_enabled = lapic_enabled(host_lapic(v));
	}
	cpuid_answer(&policy, ec);
}

const struct engine_host vcpu_host = {
	.eh_mmio_read = host_mmio_read,
	.eh_mmio_write = host_mmio_write,
	.eh_rdmsr = host_rdmsr,
	.eh_wrmsr = host_wrmsr,
	.eh_read_cr8 = host_read_cr8,
	.eh_write_cr8 = host_write_cr8,
	.eh_cpuid = host_cpuid,
};

static bool
pvclock_store(void *arg, uint64_t gpa, const void *data, unsigned len)
{
	return (mem_store(arg, gpa, data, len));
}

void
host_pvclock_memory(struct vcpu *v, struct pvclock_memory *pm)
{
	pm->pm_write = pvclock_store;
	pm->pm_arg = v->v_vm;
}
