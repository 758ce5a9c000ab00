/*
 * VCPUs: made and unmade.
 *
 * Any thread, one at a time.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

#define KERNEL_SIGSET	8	/* bytes of the kernel's sigset_t */

int
kvm_signals(int fd)
{
	union {
		struct kvm_signal_mask	mask;
		uint8_t			room[sizeof(struct kvm_signal_mask) +
					    KERNEL_SIGSET];
	} mask;
	uint64_t set = ~(1ull << (KICK_SIGNAL - 1));

	mask.mask.len = KERNEL_SIGSET;
	memcpy(mask.mask.sigset, &set, sizeof(set));
	return (kvm_sys.ks_ioctl(fd, KVM_SET_SIGNAL_MASK, &mask) == -1 ?
	    errno : 0);
}

static int
vcpu_make(struct engine_vcpu *v)
{
	struct engine_vm *vm = v->v_vm;
	int error;

	v->v_fd = kvm_ioctl_number(vm->ev_fd, KVM_CREATE_VCPU, v->v_id);
	if (v->v_fd == -1)
		return (errno);
	v->v_run = kvm_sys.ks_map(v->v_fd, vm->ev_run_size);
	if (v->v_run == NULL)
		return (errno);
	v->v_run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	if ((error = kvm_signals(v->v_fd)) != 0 ||
	    (error = kvm_cpuid_set(v)) != 0)
		return (error);
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_REGS, vcpu_regs(v)) == -1)
		return (errno);
	return (kvm_tsc_set(v, 0));
}

int
kvm_vcpu_new(struct engine_vm *vm, unsigned id, const struct engine_host *host,
    void *arg, struct engine_vcpu **out)
{
	struct engine_vcpu *v;
	int error;

	if ((v = calloc(1, sizeof(*v))) == NULL)
		return (ENOMEM);
	v->v_vm = vm;
	v->v_id = id;
	v->v_fd = -1;
	v->v_host = host;
	v->v_arg = arg;
	if ((error = vcpu_make(v)) != 0) {
		kvm_vcpu_free(v);
		return (error);
	}
	*out = v;
	return (0);
}

void
kvm_vcpu_free(struct engine_vcpu *v)
{
	if (v->v_run != NULL)
		kvm_sys.ks_unmap(v->v_run, v->v_vm->ev_run_size);
	if (v->v_fd != -1)
		(void)kvm_sys.ks_close(v->v_fd);
	free(v);
}
