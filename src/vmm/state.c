/*
 * VMM_IOC_STATE: what a VM has besides memory, saved or loaded (base/state.h):
 * its VCPUs, their clocks and the interrupt controllers.
 *
 * 1. No VCPU runs, and each is held meanwhile. A VCPU whose last exit was not
 *    yet answered is in the middle of an instruction: EBUSY.
 * 2. Loading begins with a reset of the engine's VCPUs, so that what a state
 *    does not say is what it is after one. Controllers come before VCPUs, as
 *    CR8 is theirs.
 *
 * Any thread. Manual: vmm(4), VMM_IOC_STATE.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hostfault.h"
#include "base/state.h"
#include "vmm/monitor.h"

#define STATE_SIZE_MAX	(1u << 20)	/* what is loaded, at most */

/* The engine's MSRs that are not among the registers. */
static const struct msr_range {
	uint32_t first, count;
} msrs[] = {
	{ 0x48, 1 },			/* SPEC_CTRL */
	{ 0x174, 3 },			/* SYSENTER */
	{ 0x200, 16 },			/* MTRRs: variable, */
	{ 0x250, 1 }, { 0x258, 2 }, { 0x268, 8 },	/* fixed */
	{ 0x277, 1 },			/* PAT */
	{ 0x2ff, 1 },			/* MTRRs' default type */
	{ 0xc0000103, 1 },		/* TSC_AUX */
};

/* One that this engine's CPU does not have is said so. */
static void
msr_state(struct vcpu *v, struct state *s, uint32_t msr)
{
	const struct engine_ops *ops = v->v_vm->vm_ops;
	uint64_t value = 0;
	bool there = true;

	if (!s->s_loading)
		there = ops->eo_getmsr(v->v_engine, msr, &value) == 0;
	state_bool(s, &there);
	state_u64(s, &value);
	if (state_loaded(s) && there &&
	    ops->eo_setmsr(v->v_engine, msr, value) != 0)
		state_bad(s, "an MSR does not take its value");
}

static void
words(struct state *s, uint64_t *w, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		state_u64(s, &w[i]);
}

static void
segment_state(struct state *s, struct vcpu_segment_info *vsi)
{
	state_u16(s, &vsi->vsi_sel);
	state_u32(s, &vsi->vsi_limit);
	state_u32(s, &vsi->vsi_ar);
	state_u64(s, &vsi->vsi_base);
}

static void
registers_state(struct vcpu *v, struct state *s)
{
	const struct engine_ops *ops = v->v_vm->vm_ops;
	struct vcpu_reg_state rs;
	unsigned i;

	memset(&rs, 0, sizeof(rs));
	if (!s->s_loading && vcpu_getregs(v, VM_RWREGS_ALL, &rs) != 0)
		state_fail(s, EIO, "the engine does not tell its registers");
	words(s, rs.vrs_gprs, VCPU_REGS_NGPRS);
	words(s, rs.vrs_crs, VCPU_REGS_NCRS);
	words(s, rs.vrs_msrs, VCPU_REGS_NMSRS);
	words(s, rs.vrs_drs, VCPU_REGS_NDRS);
	for (i = 0; i < VCPU_REGS_NSREGS; i++)
		segment_state(s, &rs.vrs_sregs[i]);
	segment_state(s, &rs.vrs_gdtr);
	segment_state(s, &rs.vrs_idtr);
	if (state_loaded(s) &&
	    ops->eo_setregs(v->v_engine, VM_RWREGS_ALL, &rs) != 0)
		state_bad(s, "the CPU does not take these registers");
	if (state_loaded(s))
		v->v_cr8 = rs.vrs_crs[VCPU_REGS_CR8] & 0xf;
}

static void
vector_state(struct vcpu *v, struct state *s)
{
	const struct engine_ops *ops = v->v_vm->vm_ops;
	_Alignas(64) uint8_t image[ENGINE_XSTATE_SIZE] = { 0 };

	if (!s->s_loading && ops->eo_getxstate(v->v_engine, image) != 0)
		state_fail(s, EIO, "the engine does not tell its FPU");
	state_bytes(s, image, sizeof(image));
	if (state_loaded(s) && ops->eo_setxstate(v->v_engine, image) != 0)
		state_bad(s, "the FPU does not take its registers");
}

static void
pvclock_state(struct pvclock *pc, struct state *s)
{
	state_begin(s, "pvclock", 0, 1);
	state_same(s, "TSC's kHz", pc->pc_tsc_khz);
	state_u64(s, &pc->pc_msr);
	state_u64(s, &pc->pc_wall);
	state_u32(s, &pc->pc_version);
	state_u64(s, &pc->pc_boot_tsc);
	state_bool(s, &pc->pc_paused);
	if ((pc->pc_version & 1) != 0) {
		pc->pc_version++;
		state_bad(s, "its version is odd");
	}
	state_end(s);
}

static void
vcpu_state(struct vcpu *v, struct state *s)
{
	bool intr = atomic_load(&v->v_intr);
	uint32_t i, n;

	state_begin(s, "VCPU", v->v_id, 1);
	registers_state(v, s);
	for (i = 0; i < ARRAY_LEN(msrs); i++)
		for (n = 0; n < msrs[i].count; n++)
			msr_state(v, s, msrs[i].first + n);
	vector_state(v, s);
	state_bool(s, &v->v_halted);
	state_bool(s, &v->v_sipi);
	state_bool(s, &v->v_nmi);
	state_bool(s, &intr);
	state_u64(s, &v->v_misc.ms_spec_ctrl);
	pvclock_state(&v->v_pvclock, s);
	v->v_vm->vm_ops->eo_state(v->v_engine, s);
	if (s->s_loading) {
		v->v_owed = OWED_NOTHING;
		v->v_answered = false;
		v->v_tsc_offset = v->v_vm->vm_ops->eo_tsc_offset(v->v_engine);
		atomic_store(&v->v_intr, intr);
		atomic_store(&v->v_told, false);
	}
	state_end(s);
}

/* Halting wants a local APIC, and a SIPI other VCPUs. */
static void
vcpu_check(struct vcpu *v, struct state *s)
{
	if (v->v_vm->vm_apic != NULL || (!v->v_halted && !v->v_sipi))
		return;
	v->v_halted = v->v_sipi = false;
	state_bad(s, "a VCPU waits for an APIC that there is not");
}

/* The VCPUs are held, and so is the lock. */
static void
vm_state(struct vm *vm, struct state *s)
{
	struct vcpu_reg_state rs;
	unsigned i;

	for (i = 0; i < vm->vm_ncpus; i++)
		if (!s->s_loading && (vm->vm_vcpu[i].v_owed != OWED_NOTHING ||
		    vm->vm_vcpu[i].v_answered ||
		    vm->vm_ops->eo_midway(vm->vm_vcpu[i].v_engine)))
			state_fail(s, EBUSY, "a VCPU waits for an answer");
	state_begin(s, "VM", 0, 1);
	state_same_text(s, "engine", vm->vm_ops->eo_name);
	state_same(s, "number of VCPUs", vm->vm_ncpus);
	state_same(s, "memory in bytes", vm->vm_size);
	state_same(s, "set of capabilities", vm->vm_caps);
	vcpu_power_on(&rs);
	for (i = 0; state_loaded(s) && i < vm->vm_ncpus; i++)
		if (vm->vm_ops->eo_reset(vm->vm_vcpu[i].v_engine, &rs) != 0)
			state_fail(s, EIO, "the engine cannot be reset");
	if (vm->vm_apic != NULL)
		apic_vm_state(vm->vm_apic, s);
	for (i = 0; i < vm->vm_ncpus; i++) {
		vcpu_state(&vm->vm_vcpu[i], s);
		vcpu_check(&vm->vm_vcpu[i], s);
	}
	state_end(s);
	state_finish(s);
}

/* Saves to the client's memory, or loads from a copy of it. 0 or errno. */
static int
save(struct vm *vm, struct vmm_state_params *vsp, struct state *s)
{
	state_save(s);
	pthread_mutex_lock(&vm->vm_lock);
	vm_state(vm, s);
	pthread_mutex_unlock(&vm->vm_lock);
	if (!state_ok(s))
		return (s->s_error);
	if (s->s_size > vsp->vsp_size) {
		vsp->vsp_size = s->s_size;
		return (ENOSPC);
	}
	vsp->vsp_size = s->s_size;
	return (hostfault_copy(vsp->vsp_data, s->s_data, s->s_size) ? 0 :
	    EFAULT);
}

static int
load(struct vm *vm, const struct vmm_state_params *vsp, struct state *s)
{
	void *copy;
	int error = 0;

	memset(s, 0, sizeof(*s));
	if (vsp->vsp_size > STATE_SIZE_MAX)
		return (EINVAL);
	if ((copy = malloc(vsp->vsp_size + 1)) == NULL)
		return (ENOMEM);
	if (!hostfault_copy(copy, vsp->vsp_data, vsp->vsp_size))
		error = EFAULT;
	else {
		state_load(s, copy, vsp->vsp_size);
		pthread_mutex_lock(&vm->vm_lock);
		vm_state(vm, s);
		pthread_mutex_unlock(&vm->vm_lock);
		error = s->s_error;
	}
	free(copy);
	return (error);
}

int
cmd_state(struct call *ca, void *arg)
{
	struct vmm_state_params *vsp = arg;
	struct state s;
	struct vm *vm;
	unsigned i;
	int error;

	(void)ca;
	memset(vsp->vsp_why, 0, sizeof(vsp->vsp_why));
	if ((error = vm_get(vsp->vsp_vm_id, &vm)) != 0)
		return (error);
	for (i = 0; i < vm->vm_ncpus; i++) {
		vcpu_take(&vm->vm_vcpu[i]);
		if (atomic_load(&vm->vm_vcpu[i].v_state) !=
		    VCPU_STATE_STOPPED)
			error = EBUSY;
	}
	if (vm->vm_ops->eo_state == NULL)
		error = EOPNOTSUPP;
	if (error == 0) {
		error = vsp->vsp_load ? load(vm, vsp, &s) :
		    save(vm, vsp, &s);
		snprintf(vsp->vsp_why, sizeof(vsp->vsp_why), "%.*s",
		    (int)sizeof(vsp->vsp_why) - 1, s.s_err.e_text);
		if (!vsp->vsp_load)
			state_free(&s);
	}
	for (i = 0; i < vm->vm_ncpus; i++)
		vcpu_give(&vm->vm_vcpu[i]);
	vm_put(vm);
	return (error);
}
