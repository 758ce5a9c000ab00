/*
 * VCPUs: who has them, how RUN is got at, reset.
 *
 * 1. v_busy is a lock that is held across the guest's execution; vcpu_take()
 *    gets it from RUN by counting itself in v_waiters and waking RUN, which
 *    gives way at its next boundary (vcpu_yield). RUN starts only when nobody
 *    waits, so that a VCPU that never exits cannot starve a command.
 * 2. A wake-up is not lost: whoever wants something of RUN first stores what
 *    it wants, then wakes; RUN declares that it sleeps before it looks.
 * 3. v_state changes under v_lock and is read anywhere.
 *
 * Any thread. Manual: vmm(4), VMM_IOC_INTR, KICK, STATS.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/hostfault.h"
#include "base/loop.h"
#include "vmm/monitor.h"

/* Access rights in VMX form (vmmvar.h). */
#define AR_CODE16	0x9b	/* present, code, readable, accessed */
#define AR_DATA16	0x93	/* present, data, writable, accessed */
#define AR_LDT		0x82
#define AR_TSS		0x8b	/* busy 32-bit TSS */

#define CR0_ET_NW_CD	0x60000010ul

/* IA32_MTRR_DEF_TYPE (SDM vol. 3A 11.11.2.1) */
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLE		0x800ul
#define MTRR_WRITE_BACK		6ul

void
vcpu_power_on(struct vcpu_reg_state *rs)
{
	const struct vcpu_segment_info data = {
		.vsi_limit = 0xffff, .vsi_ar = AR_DATA16,
	};
	unsigned i;

	memset(rs, 0, sizeof(*rs));
	rs->vrs_gprs[VCPU_REGS_RIP] = 0xfff0;
	rs->vrs_gprs[VCPU_REGS_RFLAGS] = 0x2;
	rs->vrs_gprs[VCPU_REGS_RDX] = 0x600;	/* family 6 */
	rs->vrs_crs[VCPU_REGS_CR0] = CR0_ET_NW_CD;
	rs->vrs_crs[VCPU_REGS_XCR0] = 1;
	rs->vrs_drs[VCPU_REGS_DR6] = 0xffff0ff0;
	rs->vrs_drs[VCPU_REGS_DR7] = 0x400;
	for (i = 0; i < VCPU_REGS_NSREGS; i++)
		rs->vrs_sregs[i] = data;
	rs->vrs_sregs[VCPU_REGS_CS] = (struct vcpu_segment_info){
		.vsi_sel = 0xf000, .vsi_limit = 0xffff,
		.vsi_ar = AR_CODE16, .vsi_base = 0xffff0000,
	};
	rs->vrs_sregs[VCPU_REGS_LDTR].vsi_ar = AR_LDT;
	rs->vrs_sregs[VCPU_REGS_TR].vsi_ar = AR_TSS;
	rs->vrs_gdtr.vsi_limit = 0xffff;
	rs->vrs_idtr.vsi_limit = 0xffff;
}

int
vcpu_init(struct vcpu *v, struct vm *vm, unsigned id)
{
	struct vcpu_reg_state rs;
	int error;

	v->v_vm = vm;
	v->v_id = id;
	v->v_state = VCPU_STATE_STOPPED;
	v->v_deadline = LOOP_NEVER;
	if ((v->v_wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) == -1)
		return (ENOMEM);
	pthread_mutex_init(&v->v_lock, NULL);
	pthread_cond_init(&v->v_free, NULL);
	error = vm->vm_ops->eo_vcpu_new(vm->vm_engine, id, &vcpu_host, v,
	    &v->v_engine);
	if (error == 0) {
		vcpu_power_on(&rs);
		error = vcpu_reset(v, &rs);
		if (error != 0)
			vm->vm_ops->eo_vcpu_free(v->v_engine);
	}
	if (error != 0) {
		pthread_cond_destroy(&v->v_free);
		pthread_mutex_destroy(&v->v_lock);
		close(v->v_wakefd);
	}
	return (error);
}

void
vcpu_fini(struct vcpu *v)
{
	v->v_vm->vm_ops->eo_vcpu_free(v->v_engine);
	pthread_cond_destroy(&v->v_free);
	pthread_mutex_destroy(&v->v_lock);
	close(v->v_wakefd);
}

/* --- who has it ---------------------------------------------------------- */

void
vcpu_wake(struct vcpu *v)
{
	const uint64_t one = 1;
	int saved = errno;

	v->v_vm->vm_ops->eo_kick(v->v_engine);
	if (atomic_exchange(&v->v_dead, false))
		atomic_fetch_sub(&v->v_vm->vm_ndead, 1);
	/* Fails only when it is so full that it wakes anyway. */
	if (atomic_load(&v->v_sleeping) &&
	    write(v->v_wakefd, &one, sizeof(one)) == -1)
		errno = saved;
}

void
vcpu_take(struct vcpu *v)
{
	pthread_mutex_lock(&v->v_lock);
	atomic_fetch_add(&v->v_waiters, 1);
	while (v->v_busy) {
		if (atomic_load(&v->v_state) == VCPU_STATE_RUNNING)
			vcpu_wake(v);
		pthread_cond_wait(&v->v_free, &v->v_lock);
	}
	v->v_busy = true;
	atomic_fetch_sub(&v->v_waiters, 1);
	pthread_mutex_unlock(&v->v_lock);
}

void
vcpu_give(struct vcpu *v)
{
	pthread_mutex_lock(&v->v_lock);
	v->v_busy = false;
	pthread_cond_broadcast(&v->v_free);
	pthread_mutex_unlock(&v->v_lock);
}

void
vcpu_yield(struct vcpu *v)
{
	if (atomic_load(&v->v_waiters) == 0)
		return;
	pthread_mutex_lock(&v->v_lock);
	v->v_busy = false;
	pthread_cond_broadcast(&v->v_free);
	while (v->v_busy || atomic_load(&v->v_waiters) != 0)
		pthread_cond_wait(&v->v_free, &v->v_lock);
	v->v_busy = true;
	pthread_mutex_unlock(&v->v_lock);
}

void
vcpu_terminate(struct vcpu *v)
{
	pthread_mutex_lock(&v->v_lock);
	if (atomic_load(&v->v_state) == VCPU_STATE_RUNNING) {
		atomic_store(&v->v_state, VCPU_STATE_REQTERM);
		vcpu_wake(v);
	} else
		atomic_store(&v->v_state, VCPU_STATE_TERMINATED);
	pthread_mutex_unlock(&v->v_lock);
}

/* --- registers ----------------------------------------------------------- */

static void
set_cr8(struct vcpu *v, uint64_t cr8)
{
	v->v_cr8 = cr8 & 0xf;
	if (v->v_vm->vm_apic != NULL)
		lapic_write_cr8(apic_lapic(v->v_vm->vm_apic, v->v_id),
		    v->v_cr8);
}

/*
 * A machine with APICs is a PC that no firmware has prepared: what that would
 * have left behind. The first VCPU's reset is the machine's.
 */
static int
vcpu_reset_pc(struct vcpu *v)
{
	struct vm *vm = v->v_vm;

	lapic_reset(apic_lapic(vm->vm_apic, v->v_id), false);
	if (v->v_id == 0)
		ioapic_reset(vm->vm_apic);
	return (vm->vm_ops->eo_setmsr(v->v_engine, MSR_MTRR_DEF_TYPE,
	    MTRR_ENABLE | MTRR_WRITE_BACK));
}

int
vcpu_reset(struct vcpu *v, const struct vcpu_reg_state *rs)
{
	struct vm *vm = v->v_vm;
	int error;

	if ((error = vm->vm_ops->eo_reset(v->v_engine, rs)) != 0)
		return (error == EINVAL ? EIO : error);
	v->v_owed = OWED_NOTHING;
	v->v_answered = false;
	atomic_store(&v->v_told, false);
	v->v_halted = false;
	v->v_nmi = false;
	v->v_sipi = vm->vm_apic != NULL && v->v_id != 0;
	v->v_tsc_offset = vm->vm_ops->eo_tsc_offset(v->v_engine);
	v->v_pvclock = vm->vm_pvclock;
	v->v_misc = (struct misc_msrs){ .ms_vendor = cpuid_vendor(),
	    .ms_tsc_khz = vm->vm_tsc_khz };
	if (vm->vm_apic != NULL && (error = vcpu_reset_pc(v)) != 0)
		return (error);
	set_cr8(v, rs->vrs_crs[VCPU_REGS_CR8]);
	return (0);
}

int
vcpu_getregs(struct vcpu *v, uint64_t mask, struct vcpu_reg_state *rs)
{
	struct vm *vm = v->v_vm;
	int error;

	error = vm->vm_ops->eo_getregs(v->v_engine, mask, rs);
	if (error == 0 && (mask & VM_RWREGS_CRS) != 0)
		rs->vrs_crs[VCPU_REGS_CR8] = vm->vm_apic == NULL ? v->v_cr8 :
		    lapic_read_cr8(apic_lapic(vm->vm_apic, v->v_id));
	return (error);
}

int
vcpu_setregs(struct vcpu *v, uint64_t mask, const struct vcpu_reg_state *rs)
{
	int error;

	error = v->v_vm->vm_ops->eo_setregs(v->v_engine, mask, rs);
	if (error != 0)
		return (error);
	if ((mask & VM_RWREGS_CRS) != 0)
		set_cr8(v, rs->vrs_crs[VCPU_REGS_CR8]);
	if ((mask & VM_RWREGS_GPRS) != 0) {
		/* Another RIP: the instruction that waited is not resumed. */
		if (v->v_owed == OWED_MMIO_READ || v->v_owed == OWED_MMIO_WRITE)
			v->v_owed = OWED_NOTHING;
		v->v_halted = false;
	}
	return (0);
}

void
vcpu_deadline(struct vcpu *v)
{
	uint64_t when;

	when = lapic_next_deadline(apic_lapic(v->v_vm->vm_apic, v->v_id));
	atomic_store(&v->v_deadline, when);
	clock_need(when);
}

/* --- commands ------------------------------------------------------------ */

int
cmd_intr(struct call *ca, void *arg)
{
	const struct vm_intr_params *vip = arg;
	bool level = vip->vip_intr != 0, news;
	struct vcpu *v;
	struct vm *vm;
	int error;

	(void)ca;
	if ((error = vcpu_get(vip->vip_vm_id, vip->vip_vcpu_id, &v)) != 0)
		return (error);
	vm = v->v_vm;
	/* Only news is worth an exit. The lock keeps the pin's changes in the
	 * order of v_intr's. */
	pthread_mutex_lock(&vm->vm_lock);
	news = atomic_exchange(&v->v_intr, level) != level;
	if (news && vm->vm_apic != NULL && v->v_id == 0)
		lapic_lint(apic_lapic(vm->vm_apic, 0), 0, level);
	pthread_mutex_unlock(&vm->vm_lock);
	if (news && level) {
		atomic_store(&v->v_told, false);
		if (atomic_load(&v->v_state) == VCPU_STATE_RUNNING)
			vcpu_wake(v);
	}
	vm_put(vm);
	return (0);
}

int
cmd_kick(struct call *ca, void *arg)
{
	const struct vmm_kick_params *vk = arg;
	struct vcpu *v;
	int error;

	(void)ca;
	if ((error = vcpu_get(vk->vk_vm_id, vk->vk_vcpu_id, &v)) != 0)
		return (error);
	atomic_store(&v->v_kick, true);
	vcpu_wake(v);
	vm_put(v->v_vm);
	return (0);
}

int
cmd_paused(struct call *ca, void *arg)
{
	const struct vmm_paused_params *vpd = arg;
	struct vcpu *v;
	int error;

	(void)ca;
	if ((error = vcpu_get(vpd->vpd_vm_id, vpd->vpd_vcpu_id, &v)) != 0)
		return (error);
	atomic_store(&v->v_paused, true);
	vm_put(v->v_vm);
	return (0);
}

int
cmd_stats(struct call *ca, void *arg)
{
	struct vmm_stats_params *vst = arg;
	struct vcpu *v;
	char text[8192] = "";
	size_t len;
	int error;

	(void)ca;
	if ((error = vcpu_get(vst->vst_vm_id, vst->vst_vcpu_id, &v)) != 0)
		return (error);
	memset(vst->vst_reserved, 0, sizeof(vst->vst_reserved));
	vst->vst_insns = 0;
	vcpu_take(v);
	if (v->v_vm->vm_ops->eo_insns != NULL)
		vst->vst_insns = v->v_vm->vm_ops->eo_insns(v->v_engine);
	if (vst->vst_text != NULL && vst->vst_textlen > 0 &&
	    v->v_vm->vm_ops->eo_report != NULL)
		v->v_vm->vm_ops->eo_report(v->v_engine, text, sizeof(text));
	vcpu_give(v);
	vst->vst_exits = atomic_load(&v->v_exits);
	vm_put(v->v_vm);
	if (vst->vst_text != NULL && vst->vst_textlen > 0) {
		len = strlen(text);
		if (len >= vst->vst_textlen)
			len = vst->vst_textlen - 1;
		text[len] = '\0';
		if (!hostfault_copy(vst->vst_text, text, len + 1))
			return (EFAULT);
	}
	return (0);
}
