/*
 * The commands on a VCPU's registers and on the VM's parameters.
 *
 * READREGS and WRITEREGS work on a running VCPU too: it steps out of the guest
 * for a moment. RESETCPU wants it stopped.
 *
 * Any thread. Manual: vmm(4), VMM_IOC_RESETCPU, READREGS, WRITEREGS,
 * READVMPARAMS, WRITEVMPARAMS.
 */
#include <errno.h>

#include "vmm/monitor.h"

int
cmd_resetcpu(struct call *ca, void *arg)
{
	const struct vm_resetcpu_params *vrp = arg;
	struct vcpu *v;
	int error;

	(void)ca;
	if ((error = vcpu_get(vrp->vrp_vm_id, vrp->vrp_vcpu_id, &v)) != 0)
		return (error);
	if (atomic_load(&v->v_state) != VCPU_STATE_STOPPED)
		error = EBUSY;
	else {
		vcpu_take(v);
		if (atomic_load(&v->v_state) != VCPU_STATE_STOPPED)
			error = EBUSY;
		else
			error = vcpu_reset(v, &vrp->vrp_init_state);
		vcpu_give(v);
	}
	vm_put(v->v_vm);
	return (error);
}

int
cmd_readregs(struct call *ca, void *arg)
{
	struct vm_rwregs_params *vrwp = arg;
	struct vcpu *v;
	int error;

	(void)ca;
	if ((error = vcpu_get(vrwp->vrwp_vm_id, vrwp->vrwp_vcpu_id, &v)) != 0)
		return (error);
	if ((vrwp->vrwp_mask & ~(uint64_t)VM_RWREGS_ALL) != 0)
		error = EINVAL;
	else {
		vcpu_take(v);
		error = vcpu_getregs(v, vrwp->vrwp_mask, &vrwp->vrwp_regs);
		vcpu_give(v);
	}
	vm_put(v->v_vm);
	return (error);
}

int
cmd_writeregs(struct call *ca, void *arg)
{
	const struct vm_rwregs_params *vrwp = arg;
	struct vcpu *v;
	int error;

	(void)ca;
	if ((error = vcpu_get(vrwp->vrwp_vm_id, vrwp->vrwp_vcpu_id, &v)) != 0)
		return (error);
	vcpu_take(v);
	error = vcpu_setregs(v, vrwp->vrwp_mask & VM_RWREGS_ALL,
	    &vrwp->vrwp_regs);
	vcpu_give(v);
	/* A RUN that sleeps in HLT looks at the new registers. */
	if (atomic_load(&v->v_state) == VCPU_STATE_RUNNING)
		vcpu_wake(v);
	vm_put(v->v_vm);
	return (error);
}

int
cmd_readvmparams(struct call *ca, void *arg)
{
	struct vm_rwvmparams_params *vpp = arg;
	struct vcpu *v;
	int error;

	(void)ca;
	if ((error = vcpu_get(vpp->vpp_vm_id, vpp->vpp_vcpu_id, &v)) != 0)
		return (error);
	vcpu_take(v);
	if ((vpp->vpp_mask & VM_RWVMPARAMS_PVCLOCK_SYSTEM_GPA) != 0)
		vpp->vpp_pvclock_system_gpa = v->v_pvclock.pc_msr;
	if ((vpp->vpp_mask & VM_RWVMPARAMS_PVCLOCK_VERSION) != 0)
		vpp->vpp_pvclock_version = v->v_pvclock.pc_version;
	vcpu_give(v);
	vm_put(v->v_vm);
	return (0);
}

int
cmd_writevmparams(struct call *ca, void *arg)
{
	const struct vm_rwvmparams_params *vpp = arg;
	struct pvclock_memory memory;
	struct vcpu *v;
	int error;

	(void)ca;
	if ((error = vcpu_get(vpp->vpp_vm_id, vpp->vpp_vcpu_id, &v)) != 0)
		return (error);
	host_pvclock_memory(v, &memory);
	vcpu_take(v);
	/* The version first: starting the clock counts on from it. */
	if ((vpp->vpp_mask & VM_RWVMPARAMS_PVCLOCK_VERSION) != 0)
		v->v_pvclock.pc_version = vpp->vpp_pvclock_version;
	if ((vpp->vpp_mask & VM_RWVMPARAMS_PVCLOCK_SYSTEM_GPA) != 0 &&
	    pvclock_wrmsr(&v->v_pvclock, MSR_KVM_SYSTEM_TIME_NEW,
	    vpp->vpp_pvclock_system_gpa, &memory,
	    v->v_vm->vm_ops->eo_tsc_offset(v->v_engine)) != 1)
		error = EINVAL;
	vcpu_give(v);
	vm_put(v->v_vm);
	return (error);
}
