/*
 * VMs: their memory as KVM's slots.
 *
 * 1. Slot number n of KVM is ev_slots[n]; the slots are ascending and cover
 *    the VM's ranges exactly.
 * 2. A slot without all rights shows KVM inaccessible address space, so that
 *    each access to it ends KVM_RUN with EFAULT before anything has happened
 *    (protect.c).
 *
 * kvm_mem_*(): any thread.
 */
#include <sys/mman.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hostfault.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

#define PROT_ALL	(PROT_READ | PROT_WRITE | PROT_EXEC)

const struct slot *
kvm_slot_find(const struct engine_vm *vm, uint64_t gpa)
{
	size_t n;

	for (n = 0; n < vm->ev_nslots; n++)
		if (gpa - vm->ev_slots[n].s_gpa < vm->ev_slots[n].s_size)
			return (&vm->ev_slots[n]);
	return (NULL);
}

int
kvm_slot_show(const struct engine_vm *vm, size_t n, enum slot_show show)
{
	const struct slot *s = &vm->ev_slots[n];
	struct kvm_userspace_memory_region r = {
		.slot = (uint32_t)n, .guest_phys_addr = s->s_gpa,
	};

	if (show == SLOT_OWN && s->s_prot != PROT_ALL)
		r.userspace_addr = (uintptr_t)vm->ev_nothing;
	else
		r.userspace_addr = (uintptr_t)s->s_host;
	if (show == SLOT_READ)
		r.flags = KVM_MEM_READONLY;
	if (show != SLOT_NONE)
		r.memory_size = s->s_size;
	return (kvm_sys.ks_ioctl(vm->ev_fd, KVM_SET_USER_MEMORY_REGION, &r) ==
	    -1 ? errno : 0);
}

/* The part of [gpa, gpa + size) that is one piece of host memory, or NULL. */
static uint8_t *
mem_host(const struct engine_vm *vm, uint64_t gpa, size_t size, size_t *part)
{
	const struct slot *s = kvm_slot_find(vm, gpa);

	if (s == NULL)
		return (NULL);
	*part = s->s_size - (gpa - s->s_gpa);
	if (*part > size)
		*part = size;
	return (s->s_host + (gpa - s->s_gpa));
}

bool
kvm_mem_read(const struct engine_vm *vm, uint64_t gpa, void *data, size_t size)
{
	uint8_t *p = data, *host;
	size_t part;

	for (; size != 0; gpa += part, p += part, size -= part) {
		host = mem_host(vm, gpa, size, &part);
		if (host == NULL || !hostfault_copy(p, host, part))
			return (false);
	}
	return (true);
}

bool
kvm_mem_write(const struct engine_vm *vm, uint64_t gpa, const void *data,
    size_t size)
{
	const uint8_t *p = data;
	uint8_t *host;
	size_t part;

	for (; size != 0; gpa += part, p += part, size -= part) {
		host = mem_host(vm, gpa, size, &part);
		if (host == NULL || !hostfault_copy(host, p, part))
			return (false);
	}
	return (true);
}

/* Exits that KVM makes when asked, and habits that it drops. */
static int
vm_enable(struct engine_vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR };
	const uint64_t quirks = KVM_X86_QUIRK_OUT_7E_INC_RIP |
	    KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT |
	    KVM_X86_QUIRK_FIX_HYPERCALL_INSN | 1 << 6 /* MWAIT is #UD */;
	int has;

	cap.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
	    KVM_MSR_EXIT_REASON_FILTER;
	if (kvm_sys.ks_ioctl(vm->ev_fd, KVM_ENABLE_CAP, &cap) == -1)
		return (errno);
	has = kvm_ioctl_number(vm->ev_dev, KVM_CHECK_EXTENSION,
	    KVM_CAP_DISABLE_QUIRKS2);
	cap = (struct kvm_enable_cap){ .cap = KVM_CAP_DISABLE_QUIRKS2 };
	cap.args[0] = has > 0 ? quirks & (uint64_t)has : 0;
	if (cap.args[0] != 0 &&
	    kvm_sys.ks_ioctl(vm->ev_fd, KVM_ENABLE_CAP, &cap) == -1)
		return (errno);
	vm->ev_fault_info = kvm_ioctl_number(vm->ev_dev, KVM_CHECK_EXTENSION,
	    KVM_CAP_MEMORY_FAULT_INFO) > 0;
	return (kvm_msr_filter(vm));
}

static int
vm_memory(struct engine_vm *vm, const struct engine_vm_config *config)
{
	const struct engine_range *er;
	size_t n;
	int error;

	vm->ev_slots = calloc(config->ev_nranges, sizeof(vm->ev_slots[0]));
	if (vm->ev_slots == NULL)
		return (ENOMEM);
	for (n = 0; n < config->ev_nranges; n++) {
		er = &config->ev_ranges[n];
		vm->ev_slots[n] = (struct slot){ .s_gpa = er->er_gpa,
		    .s_size = er->er_size, .s_host = er->er_host,
		    .s_prot = PROT_ALL };
		vm->ev_nslots++;
		if ((error = kvm_slot_show(vm, n, SLOT_OWN)) != 0)
			return (error);
	}
	return (0);
}

int
kvm_vm_new(const struct engine_vm_config *config, struct engine_vm **out)
{
	struct engine_vm *vm;
	int error = 0, size;

	hostfault_init();
	kick_init();
	if ((vm = calloc(1, sizeof(*vm))) == NULL)
		return (ENOMEM);
	vm->ev_fd = -1;
	if ((vm->ev_dev = kvm_sys.ks_open("/dev/kvm")) == -1)
		error = errno;
	else if ((size = kvm_ioctl_number(vm->ev_dev, KVM_GET_VCPU_MMAP_SIZE,
	    0)) == -1)
		error = errno;
	else if ((size_t)size < sizeof(struct kvm_run))
		error = EIO;
	else {
		vm->ev_run_size = (size_t)size;
		do {	/* a signal may interrupt it */
			vm->ev_fd = kvm_ioctl_number(vm->ev_dev, KVM_CREATE_VM,
			    0);
		} while (vm->ev_fd == -1 && errno == EINTR);
		error = vm->ev_fd == -1 ? errno : vm_enable(vm);
	}
	if (error == 0)
		error = vm_memory(vm, config);
	if (error != 0) {
		kvm_vm_free(vm);
		return (error);
	}
	*out = vm;
	return (0);
}

void
kvm_vm_free(struct engine_vm *vm)
{
	if (vm->ev_fd != -1)
		(void)kvm_sys.ks_close(vm->ev_fd);
	if (vm->ev_dev != -1)
		(void)kvm_sys.ks_close(vm->ev_dev);
	if (vm->ev_nothing != NULL)
		kvm_sys.ks_unmap(vm->ev_nothing, vm->ev_nothing_size);
	free(vm->ev_slots);
	free(vm);
}
