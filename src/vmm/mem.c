/*
 * Guest memory: which ranges a VM may have, what is resident, its rights.
 *
 * 1. The memory is the client's: it may change, lose its protection or be
 *    unmapped at any time. The monitor itself touches it through mem_store()
 *    alone, which fails instead of faulting.
 * 2. The ranges are ascending and do not overlap, so that what lies between
 *    two addresses is found by walking them once.
 *
 * Any thread. Manual: vmm(4), VMM_IOC_CREATE, MPROTECT_EPT, WRITTEN,
 * SHARE.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/hostfault.h"
#include "vmm/monitor.h"

/* The end of user space on a host with 4-level paging. */
#define USER_END	0x7ffffffff000ul
/* What one page-map entry of level 4 maps: MPROTECT_EPT's limit. */
#define EPT_SIZE_MAX	(512ul << 30)

/* Does [gpa, gpa + size) touch the window of PCI BARs? Sum checked before. */
static bool
in_mmio_window(uint64_t gpa, uint64_t size)
{
	return (gpa <= VMM_PCI_MMIO_BAR_END &&
	    gpa + size > VMM_PCI_MMIO_BAR_BASE);
}

static bool
range_valid(const struct vm_mem_range *vmr, uint64_t floor)
{
	const uint64_t limit = (uint64_t)VMM_MAX_VM_MEM_SIZE << 20;

	if ((vmr->vmr_gpa | vmr->vmr_va | vmr->vmr_size) % PAGE_SIZE != 0 ||
	    vmr->vmr_size == 0)
		return (false);
	if (vmr->vmr_size > limit || vmr->vmr_gpa > limit - vmr->vmr_size)
		return (false);
	if (vmr->vmr_size > USER_END || vmr->vmr_va > USER_END - vmr->vmr_size)
		return (false);
	return (!in_mmio_window(vmr->vmr_gpa, vmr->vmr_size) &&
	    vmr->vmr_gpa >= floor);
}

int
mem_adopt(struct vm *vm, const struct vm_create_params *vcp)
{
	const struct vm_mem_range *vmr;
	uint64_t floor = 0;
	size_t i;

	if (vcp->vcp_nmemranges < 1 ||
	    vcp->vcp_nmemranges > VMM_MAX_MEM_RANGES)
		return (EINVAL);
	for (i = 0; i < vcp->vcp_nmemranges; i++) {
		vmr = &vcp->vcp_memranges[i];
		if (!range_valid(vmr, floor))
			return (EINVAL);
		floor = vmr->vmr_gpa + vmr->vmr_size;
		vm->vm_ranges[i] = (struct engine_range){
			.er_gpa = vmr->vmr_gpa,
			.er_host = (uint8_t *)vmr->vmr_va,
			.er_size = vmr->vmr_size,
		};
		vm->vm_size += vmr->vmr_size;
	}
	vm->vm_nranges = vcp->vcp_nmemranges;
	if (vm->vm_size % (1 << 20) != 0)
		return (EINVAL);
	/* MS_ASYNC does nothing but to say whether all of it is mapped. */
	for (i = 0; i < vm->vm_nranges; i++)
		if (msync(vm->vm_ranges[i].er_host, vm->vm_ranges[i].er_size,
		    MS_ASYNC) == -1)
			return (ENOMEM);
	return (0);
}

size_t
mem_resident(const struct vm *vm)
{
	const struct engine_range *er;
	unsigned char present[4096];
	size_t i, j, at, len, pages = 0;

	for (i = 0; i < vm->vm_nranges; i++) {
		er = &vm->vm_ranges[i];
		for (at = 0; at < er->er_size; at += len) {
			len = er->er_size - at;
			if (len > sizeof(present) * PAGE_SIZE)
				len = sizeof(present) * PAGE_SIZE;
			if (mincore(er->er_host + at, len, present) == -1)
				continue;	/* unmapped by the client */
			for (j = 0; j < len / PAGE_SIZE; j++)
				pages += present[j] & 1;
		}
	}
	return (pages * PAGE_SIZE);
}

/* The range that holds gpa, or NULL. */
static const struct engine_range *
range_of(const struct vm *vm, uint64_t gpa)
{
	size_t i;

	for (i = 0; i < vm->vm_nranges; i++)
		if (gpa >= vm->vm_ranges[i].er_gpa &&
		    gpa - vm->vm_ranges[i].er_gpa < vm->vm_ranges[i].er_size)
			return (&vm->vm_ranges[i]);
	return (NULL);
}

bool
mem_covers(const struct vm *vm, uint64_t gpa, uint64_t size)
{
	const struct engine_range *er;
	uint64_t part;

	for (; size != 0; gpa += part, size -= part) {
		if ((er = range_of(vm, gpa)) == NULL)
			return (false);
		part = er->er_size - (gpa - er->er_gpa);
		if (part > size)
			part = size;
	}
	return (true);
}

bool
mem_store(struct vm *vm, uint64_t gpa, const void *data, size_t size)
{
	const struct engine_range *er = range_of(vm, gpa);

	if (er == NULL || size > er->er_size - (gpa - er->er_gpa) ||
	    !hostfault_copy(er->er_host + (gpa - er->er_gpa), data, size))
		return (false);
	vm->vm_ops->eo_written(vm->vm_engine, gpa, size);
	return (true);
}

/* MPROTECT_EPT's rules for its numbers: 0, EINVAL or EFAULT. */
static int
protect_check(const struct vm *vm, const struct vm_mprotect_ept_params *vmep)
{
	const int rights = PROT_READ | PROT_WRITE | PROT_EXEC;
	uint64_t gpa = vmep->vmep_sgpa, size = vmep->vmep_size, end;
	int prot = vmep->vmep_prot;

	if (prot == 0 || (prot & ~rights) != 0 ||
	    (prot & (PROT_READ | PROT_WRITE)) == PROT_WRITE)
		return (EINVAL);
	if ((gpa | size) % PAGE_SIZE != 0 || size == 0 ||
	    size >= EPT_SIZE_MAX || __builtin_add_overflow(gpa, size, &end))
		return (EINVAL);
	if (in_mmio_window(gpa, size) || range_of(vm, gpa) == NULL)
		return (EINVAL);
	return (mem_covers(vm, gpa, size) ? 0 : EFAULT);
}

int
cmd_mprotect_ept(struct call *ca, void *arg)
{
	const struct vm_mprotect_ept_params *vmep = arg;
	struct vcpu *v;
	struct vm *vm;
	unsigned i;
	int error;

	(void)ca;
	error = vcpu_get(vmep->vmep_vm_id, vmep->vmep_vcpu_id, &v);
	if (error != 0)
		return (error);
	vm = v->v_vm;
	if (atomic_load(&v->v_state) != VCPU_STATE_STOPPED)
		error = EBUSY;
	else
		error = protect_check(vm, vmep);
	if (error == 0) {
		/* The engine wants no VCPU in the guest: hold them all. */
		for (i = 0; i < vm->vm_ncpus; i++)
			vcpu_take(&vm->vm_vcpu[i]);
		if (atomic_load(&v->v_state) != VCPU_STATE_STOPPED)
			error = EBUSY;
		else
			error = vm->vm_ops->eo_protect(vm->vm_engine,
			    vmep->vmep_sgpa, vmep->vmep_size, vmep->vmep_prot);
		for (i = vm->vm_ncpus; i-- > 0; )
			vcpu_give(&vm->vm_vcpu[i]);
	}
	vm_put(vm);
	return (error);
}

int
cmd_irqline(struct call *ca, void *arg)
{
	const struct vmm_irqline_params *vil = arg;
	struct vm *vm;
	int error;

	(void)ca;
	if ((error = vm_get(vil->vil_vm_id, &vm)) != 0)
		return (error);
	if (vm->vm_apic == NULL || vil->vil_line >= IOAPIC_PINS ||
	    vil->vil_level > 1)
		error = EINVAL;
	else
		ioapic_set(vm->vm_apic, vil->vil_line, vil->vil_level != 0);
	vm_put(vm);
	return (error);
}

int
cmd_irqstate(struct call *ca, void *arg)
{
	struct vmm_irqstate_params *vis = arg;
	struct vm *vm;
	int error;

	(void)ca;
	if ((error = vm_get(vis->vis_vm_id, &vm)) != 0)
		return (error);
	if (vm->vm_apic == NULL || vis->vis_line >= IOAPIC_PINS)
		error = EINVAL;
	else
		vis->vis_state = ioapic_state(vm->vm_apic, vis->vis_line);
	vm_put(vm);
	return (error);
}

int
cmd_written(struct call *ca, void *arg)
{
	const struct vmm_written_params *vwr = arg;
	struct vm *vm;
	uint64_t end;
	int error;

	(void)ca;
	if ((error = vm_get(vwr->vwr_vm_id, &vm)) != 0)
		return (error);
	if (__builtin_add_overflow(vwr->vwr_gpa, vwr->vwr_size, &end) ||
	    !mem_covers(vm, vwr->vwr_gpa, vwr->vwr_size))
		error = EINVAL;
	else if (vwr->vwr_size != 0)
		vm->vm_ops->eo_written(vm->vm_engine, vwr->vwr_gpa,
		    vwr->vwr_size);
	vm_put(vm);
	return (error);
}

/* SHARE's rules: 0, EINVAL or EBADF. */
static int
share_check(const struct vm *vm, const struct vmm_share_params *vsh)
{
	uint64_t end;
	size_t i;

	if (vsh->vsh_offset % PAGE_SIZE != 0 ||
	    __builtin_add_overflow(vsh->vsh_offset, vsh->vsh_size, &end) ||
	    end > INT64_MAX)
		return (EINVAL);
	for (i = 0; i < vm->vm_nranges; i++)
		if (vsh->vsh_va == (vaddr_t)vm->vm_ranges[i].er_host &&
		    vsh->vsh_size == vm->vm_ranges[i].er_size)
			break;
	if (i == vm->vm_nranges)
		return (EINVAL);
	return (fcntl(vsh->vsh_fd, F_GETFD) == -1 ? EBADF : 0);
}

int
cmd_share(struct call *ca, void *arg)
{
	const struct vmm_share_params *vsh = arg;
	struct vm *vm;
	int error;

	(void)ca;
	if ((error = vm_get(vsh->vsh_vm_id, &vm)) != 0)
		return (error);
	pthread_mutex_lock(&vm->vm_lock);
	if (atomic_load(&vm->vm_ran))
		error = EBUSY;
	else
		error = share_check(vm, vsh);
	if (error == 0 && vm->vm_ops->eo_share != NULL)
		error = vm->vm_ops->eo_share(vm->vm_engine,
		    (const void *)vsh->vsh_va, vsh->vsh_size, vsh->vsh_fd,
		    vsh->vsh_offset);
	pthread_mutex_unlock(&vm->vm_lock);
	vm_put(vm);
	return (error);
}
