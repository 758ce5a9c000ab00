/*
 * A VM's memory and what its VCPUs tell each other (vm.h).
 *
 * Any thread may call vm_written(). The rest is called while no VCPU runs, or
 * by the VCPU's own thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/jit/sample.h"
#include "engine/soft/mmu.h"
#include "engine/soft/vm.h"

struct engine_vm *
vm_new(const struct engine_vm_config *config, const struct jit_options *jo)
{
	const struct engine_range *er = config->ev_ranges;
	struct engine_vm *vm;
	struct vm_range *r;
	size_t n;

	if ((vm = calloc(1, sizeof(*vm))) == NULL)
		return (NULL);
	pthread_mutex_init(&vm->ev_split, NULL);
	pthread_mutex_init(&vm->ev_lock, NULL);
	vm->ev_writes_reported = config->ev_writes_reported;
	vm->ev_tsc_khz = config->ev_tsc_khz;
	vm->ev_jit = *jo;
	vm->ev_nranges = (unsigned)config->ev_nranges;
	/* one more, so that a hint of 0 is always valid */
	vm->ev_ranges = calloc(config->ev_nranges + 1, sizeof(*r));
	if (vm->ev_ranges == NULL) {
		vm_free(vm);
		return (NULL);
	}
	for (n = 0; n < config->ev_nranges; n++) {
		r = &vm->ev_ranges[n];
		r->vr_gpa = er[n].er_gpa;
		r->vr_size = er[n].er_size;
		r->vr_host = er[n].er_host;
		r->vr_page = vm->ev_npages;
		r->vr_fd = -1;
		vm->ev_npages += er[n].er_size >> 12;
	}
	vm->ev_pages = calloc(vm->ev_npages + 1, 1);
	if (vm->ev_pages == NULL) {
		vm_free(vm);
		return (NULL);
	}
	return (vm);
}

void
vm_free(struct engine_vm *vm)
{
	unsigned n;

	sampler_free(vm->ev_sampler);
	pthread_mutex_destroy(&vm->ev_split);
	pthread_mutex_destroy(&vm->ev_lock);
	for (n = 0; vm->ev_ranges != NULL && n < vm->ev_nranges; n++) {
		if (vm->ev_ranges[n].vr_fd != -1)
			close(vm->ev_ranges[n].vr_fd);
		free((void *)vm->ev_ranges[n].vr_asked);
	}
	free(vm->ev_ranges);
	free((void *)vm->ev_pages);
	free(vm);
}

int
vm_protect(struct engine_vm *vm, uint64_t gpa, size_t size, int prot)
{
	atomic_uchar *flags;
	uint64_t at;
	uint8_t *host;
	unsigned hint = 0, deny;

	deny = (prot & PROT_READ ? 0 : ENGINE_READ) |
	    (prot & PROT_WRITE ? 0 : ENGINE_WRITE) |
	    (prot & PROT_EXEC ? 0 : ENGINE_EXEC);
	for (at = gpa; at - gpa < size; at += PAGE_SIZE)
		if (vm_page(vm, &hint, at, &host) == NULL)
			return (EFAULT);
	for (at = gpa; at - gpa < size; at += PAGE_SIZE) {
		flags = vm_page(vm, &hint, at, &host);
		atomic_fetch_or(flags, (unsigned char)PAGE_DENY(7u));
		atomic_fetch_and(flags,
		    (unsigned char)~PAGE_DENY(~deny & 7u));
	}
	atomic_fetch_add(&vm->ev_rights_gen, 1);
	return (0);
}

int
vm_share(struct engine_vm *vm, const void *host, size_t size, int fd,
    uint64_t offset)
{
	struct vm_range *r;
	unsigned n;
	int copy;

	for (n = 0; n < vm->ev_nranges; n++) {
		r = &vm->ev_ranges[n];
		if (r->vr_host != host || r->vr_size != size)
			continue;
		if ((copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
			return (errno);
		if (r->vr_fd != -1)
			close(r->vr_fd);
		r->vr_fd = copy;
		r->vr_offset = offset;
		huge_share(r);
	}
	return (0);
}

void
vm_join(struct engine_vm *vm, struct cpu *c)
{
	pthread_mutex_lock(&vm->ev_lock);
	c->c_next = vm->ev_cpus;
	vm->ev_cpus = c;
	atomic_fetch_add(&vm->ev_ncpus, 1);
	pthread_mutex_unlock(&vm->ev_lock);
}

void
vm_leave(struct engine_vm *vm, struct cpu *c)
{
	struct cpu **cp;

	pthread_mutex_lock(&vm->ev_lock);
	for (cp = &vm->ev_cpus; *cp != c; cp = &(*cp)->c_next)
		;
	*cp = c->c_next;
	atomic_fetch_sub(&vm->ev_ncpus, 1);
	pthread_mutex_unlock(&vm->ev_lock);
}

void
vm_written(struct engine_vm *vm, struct cpu *from, uint64_t gpa, size_t size)
{
	struct vm_written_list *l;
	atomic_uchar *flags;
	struct cpu *c;
	uint64_t page, end;
	uint8_t *host;
	unsigned hint = 0;

	if (size == 0 || (from != NULL && vm_alone(vm)))
		return;
	if (__builtin_add_overflow(gpa, size, &end))
		end = UINT64_MAX;
	for (page = gpa & ~(uint64_t)PAGE_MASK; page < end;
	    page += PAGE_SIZE) {
		if ((flags = vm_page(vm, &hint, page, &host)) == NULL)
			return;
		if ((atomic_load(flags) & PAGE_WATCHED) == 0)
			continue;
		pthread_mutex_lock(&vm->ev_lock);
		for (c = vm->ev_cpus; c != NULL; c = c->c_next) {
			if (c == from)
				continue;
			l = c->c_written;
			if (l->wl_count == VM_WRITTEN_MAX)
				l->wl_overflow = true;
			else if (l->wl_count == 0 ||
			    l->wl_page[l->wl_count - 1] != page)
				l->wl_page[l->wl_count++] = page;
			cpu_request(c, REQ_FLUSH);
		}
		pthread_mutex_unlock(&vm->ev_lock);
	}
}

void
vm_flush_others(struct cpu *self)
{
	struct engine_vm *vm = self->c_vm;
	struct cpu *c;

	if (vm_alone(vm))
		return;
	pthread_mutex_lock(&vm->ev_lock);
	for (c = vm->ev_cpus; c != NULL; c = c->c_next)
		if (c != self)
			cpu_request(c, REQ_FLUSH);
	pthread_mutex_unlock(&vm->ev_lock);
}

void
vm_flush_process(struct cpu *c)
{
	struct engine_vm *vm = c->c_vm;
	struct vm_written_list l;
	unsigned n;

	pthread_mutex_lock(&vm->ev_lock);
	l = *c->c_written;
	c->c_written->wl_count = 0;
	c->c_written->wl_overflow = false;
	pthread_mutex_unlock(&vm->ev_lock);
	if (l.wl_overflow) {
		block_flush(c);
		if (c->c_direct != NULL)
			direct_written_any(c);
	} else
		for (n = 0; n < l.wl_count; n++)
			block_forget(c, l.wl_page[n], PAGE_SIZE);
	mmu_retag(c);
}
