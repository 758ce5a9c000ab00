/*
 * Address translation: the software TLB and what is behind it.
 *
 * 1. There is one direct-mapped table an access class. An entry's three tags
 *    (read, write, execute) are each the page's linear address with the
 *    generation c_tlb_gen in its low bits, or 0; equal tag means: this access
 *    is allowed, the memory is RAM, and nothing has to be noticed (A and D are
 *    set, no cached code is overwritten, no breakpoint is near, the VM's own
 *    page rights allow it).
 * 2. Flushing takes a new generation. Entries of an older generation that are
 *    still good architecturally (global, or of the PCID that is current again)
 *    are taken over without a walk: te_context, te_global.
 * 3. Everything here belongs to the VCPU's thread.
 *
 * SDM vol. 3A chapter 4.
 */
#ifndef SOFT_MMU_H
#define SOFT_MMU_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/soft/cpu.h"

#define PAGE_SIZE	4096u
#define PAGE_MASK	4095u
#define TLB_SIZE	1024
#define TLB_GEN_MAX	4095

struct tlb_entry {
	uint64_t	te_read, te_write, te_exec;
	uint64_t	te_addend;	/* host address minus linear address */
	uint64_t	te_gpa;		/* of the page */
	uint64_t	te_page;	/* its linear address */
	uint64_t	te_context;	/* m_context when it was walked */
	uint32_t	te_global;	/* m_global then; 0: not global */
	uint8_t		te_rights;	/* ENGINE_*: which tags it can have */
};

/*
 * Access classes. SMAP makes supervisor accesses to user pages fail unless AC
 * is set; implicit accesses never honour AC (SDM vol. 3A 4.6.1). The last
 * table is never filled: every access under it takes the slow path (alignment
 * checking).
 */
enum mmu_class { MMU_USER, MMU_SUPER, MMU_SMAP, MMU_SLOW, MMU_CLASSES };

#define MMU_REGIONS	4096	/* see m_large; a power of two */

struct mmu {
	struct tlb_entry m_tlb[MMU_CLASSES][TLB_SIZE];
	uint64_t	 m_context;	/* of the current CR3 and PCID */
	uint64_t	 m_counter;	/* the last context given out */
	uint32_t	 m_global;	/* generation of global entries */
	enum mmu_class	 m_class;	/* of explicit accesses now */
	uint64_t	 m_pcid[4096];	/* contexts by PCID; 0: none yet */
	/* Where pieces of large pages were put into the TLB, by mmu_region()
	 * of 2 MiB and of 1 GiB: INVLPG there flushes everything. */
	uint64_t	 m_large[2][MMU_REGIONS / 64];
	uint64_t	 m_watch[4][2];	/* data breakpoints: linear [from, to) */
	unsigned	 m_nwatch;
	unsigned	 m_range;	/* range of the last address */
};

/* Where a linear address leads. */
struct mmu_target {
	uint64_t	 t_gpa;
	uint8_t		*t_host;	/* NULL: not RAM */
	bool		 t_code;	/* stores to it are looked at */
};

struct mmu	*mmu_new(void);
void		 mmu_free(struct mmu *);

/*
 * Translates one access (ENGINE_READ, _WRITE, _EXEC) of a class with all its
 * effects (A, D, TLB). Raises #PF, #GP (not canonical); leaves run() when the
 * VM's page rights forbid it.
 */
void	mmu_translate(struct cpu *, enum mmu_class, uint64_t linear,
	    int access, struct mmu_target *);

/* The classes, from CPL, CR4.SMAP, AC; part of cpu_mode_update(). */
void	mmu_mode_update(struct cpu *);
static inline enum mmu_class
mmu_class_sys(const struct cpu *c)
{
	return (c->c_cr4 & CR4_SMAP ? MMU_SMAP : MMU_SUPER);
}

/* Flushes; each also drops what the jump cache knows. */
void	mmu_flush_all(struct cpu *);		/* global pages too */
void	mmu_flush_context(struct cpu *);	/* the current PCID, not global */
void	mmu_flush_pcid(struct cpu *, unsigned pcid);
void	mmu_flush_pcids(struct cpu *);		/* all, not global */
void	mmu_flush_page(struct cpu *, uint64_t linear);	/* INVLPG */
/* Same contents, all tags to be made anew: rights, code pages, breakpoints. */
void	mmu_retag(struct cpu *);
/* After CR3, CR4.PCIDE, CR0.PG: the context that is current now. */
void	mmu_switch(struct cpu *);
/* The four PDPTEs of PAE paging from CR3; false: reserved bits are set. */
bool	mmu_load_pdptes(struct cpu *, uint64_t cr3, uint64_t pdpte[4]);
/* A page becomes PAGE_CODE or PAGE_EXEC: no write tag leads to it any more. */
void	mmu_watch_page(struct cpu *, uint64_t gpa, unsigned flag);
/* After DR7 or DR0-3 changed. */
void	mmu_watch_update(struct cpu *);

/* Guest-physical memory without translation; NULL: not RAM. Inside a page. */
uint8_t	*mmu_host(struct cpu *, uint64_t gpa);
/* Guest-physical write by the CPU: what cached code it overwrites goes. */
void	mmu_phys_write(struct cpu *, uint64_t gpa, const void *, unsigned len);

/* MMIO of 1, 2, 4 or 8 bytes in one page (mmu_mmio.c). */
uint64_t mmu_mmio_read(struct cpu *, uint64_t gpa, unsigned size);
void	mmu_mmio_write(struct cpu *, uint64_t gpa, unsigned size, uint64_t);
/* The client answered (or did) the access that left run(). */
void	mmu_mmio_complete(struct cpu *, uint64_t data);
void	mmu_mmio_reset(struct cpu *);

/* Regions of 1 << shift bytes by number. The two halves of the address space
 * never meet: INVLPG is mostly of small pages of the lower, large pages are
 * mostly in the upper. */
static inline unsigned
mmu_region(uint64_t linear, unsigned shift)
{
	return ((unsigned)(linear >> shift & (MMU_REGIONS / 2 - 1)) |
	    (linear >> 63 != 0 ? MMU_REGIONS / 2 : 0));
}

static inline struct tlb_entry *
tlb_slot(struct tlb_entry *table, uint64_t linear)
{
	return (&table[(linear >> 12) & (TLB_SIZE - 1)]);
}

/* What a tag must be for [linear, linear + size) inside one page. */
static inline uint64_t
tlb_tag(const struct cpu *c, uint64_t linear, unsigned size)
{
	return (((linear + size - 1) & ~(uint64_t)PAGE_MASK) | c->c_tlb_gen);
}

#endif
