/*
 * A VM of the software engine: its memory, and what its VCPUs share.
 *
 * [I] immutable after eo_vm_new, [a] atomic, [m] ev_lock.
 */
#ifndef SOFT_VM_H
#define SOFT_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/soft/jit/jit.h"

struct cpu;
struct sampler;

/* ev_pages: one byte a page of guest memory. */
#define PAGE_CODE	0x01	/* cached blocks were made from it */
#define PAGE_WMAP	0x02	/* some TLB may have a write tag for it */
#define PAGE_DIRECT	0x04	/* with PAGE_WMAP: so may direct/ */
#define PAGE_EXEC	0x08	/* direct/ maps it for executing */
#define PAGE_WATCHED	(PAGE_CODE | PAGE_EXEC)	/* stores are looked at */
#define PAGE_DENY(a)	((a) << 4)	/* eo_protect() took ENGINE_* away */
#define PAGE_TOUCHED	0x80	/* huge_touch() knows of it */

struct vm_range {
	uint64_t	 vr_gpa;
	uint64_t	 vr_size;
	uint8_t		*vr_host;
	size_t		 vr_page;	/* index of its first page */
	int		 vr_fd;		/* vr_host maps it shared, or -1 */
	uint64_t	 vr_offset;	/* from here on */
	atomic_uchar	*vr_asked;	/* [a] huge.c: one a huge page, or NULL */
};

struct engine_vm {
	struct vm_range	*ev_ranges;		/* [I] ascending; vr_fd and
						   vr_offset by vm_share() */
	unsigned	 ev_nranges;		/* [I] */
	atomic_uchar	*ev_pages;		/* [a] */
	size_t		 ev_npages;		/* [I] */
	bool		 ev_writes_reported;	/* [I] */
	uint64_t	 ev_tsc_khz;		/* [I] */
	struct jit_options ev_jit;		/* [I] */
	atomic_uint	 ev_rights_gen;		/* [a] counts eo_protect() */
	pthread_mutex_t	 ev_split;	/* held by a locked access that the
					   host cannot do atomically */
	pthread_mutex_t	 ev_lock;
	struct cpu	*ev_cpus;		/* [m] by c_next */
	atomic_uint	 ev_ncpus;		/* [a] */
	struct sampler	*ev_sampler;	/* [I] jit/sample.h, or NULL */
};

/* Writes by others to pages with code that a VCPU has yet to look at; under
 * ev_lock. */
#define VM_WRITTEN_MAX	32
struct vm_written_list {
	unsigned	 wl_count;
	bool		 wl_overflow;
	uint64_t	 wl_page[VM_WRITTEN_MAX];
};

struct engine_vm *vm_new(const struct engine_vm_config *,
	    const struct jit_options *);	/* or NULL */
void	vm_free(struct engine_vm *);
int	vm_protect(struct engine_vm *, uint64_t gpa, size_t size, int prot);
/* eo_share(): fills vr_fd and vr_offset, before any VCPU runs. */
int	vm_share(struct engine_vm *, const void *host, size_t size, int fd,
	    uint64_t offset);
/* Guest memory was written by the client (c NULL) or by the VCPU c: the other
 * VCPUs' cached code must go. Any thread. */
void	vm_written(struct engine_vm *, struct cpu *c, uint64_t gpa,
	    size_t size);
/* huge.c: a range has become a shared one. The client may have given memory
 * back to the host. The first use of a page that can be stored to. */
void	huge_share(struct vm_range *);
void	huge_forget(struct engine_vm *);
void	huge_touch(struct engine_vm *, uint64_t gpa, atomic_uchar *flags);
void	vm_join(struct engine_vm *, struct cpu *);
void	vm_leave(struct engine_vm *, struct cpu *);
/* The other VCPUs make their TLB's tags anew at their next boundary. */
void	vm_flush_others(struct cpu *);
/* Does what others asked this VCPU for. */
void	vm_flush_process(struct cpu *);

/* Is there one VCPU only? */
static inline bool
vm_alone(struct engine_vm *vm)
{
	return (atomic_load_explicit(&vm->ev_ncpus, memory_order_relaxed) <= 1);
}

/*
 * The page at gpa: its flags and (in *host) the byte's address; NULL when gpa
 * is outside all ranges. *hint is the range that was right last time.
 */
static inline atomic_uchar *
vm_page(const struct engine_vm *vm, unsigned *hint, uint64_t gpa,
    uint8_t **host)
{
	const struct vm_range *r = &vm->ev_ranges[*hint];
	unsigned n;

	if (gpa - r->vr_gpa >= r->vr_size) {
		for (n = 0; n < vm->ev_nranges; n++) {
			r = &vm->ev_ranges[n];
			if (gpa - r->vr_gpa < r->vr_size)
				break;
		}
		if (n == vm->ev_nranges)
			return (NULL);
		*hint = n;
	}
	*host = r->vr_host + (gpa - r->vr_gpa);
	return (&vm->ev_pages[r->vr_page + ((gpa - r->vr_gpa) >> 12)]);
}

#endif
