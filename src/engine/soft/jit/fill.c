/*
 * What the inline checks of translated code did not find in its TLB: from
 * mmu.h's TLB or from a walk of 4-level paging that raises nothing (SDM vol.
 * 3A 4.5). Whatever is out of the ordinary is the interpreter's: it executes
 * the instruction again, with all its faults and exits.
 *
 * Light (jit.h). The VCPU's thread.
 */
#include <stdatomic.h>
#include <stddef.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"
#include "engine/soft/tlb.h"
#include "engine/soft/vm.h"
#include "engine/soft/walk.h"

/* An entry of the tables whose A or D bit has to be set. */
struct step {
	pte64		*s_pte;
	atomic_uchar	*s_flags;
	uint64_t	 s_old, s_mark;
};

/* walk_page() for the ordinary case; false: it is for walk_page(). */
static bool
probe(struct cpu *c, enum mmu_class class, uint64_t linear, unsigned need,
    struct walk *w)
{
	uint64_t address = (UINT64_C(1) << c->c_maxphyaddr) - PAGE_SIZE;
	uint64_t reserved = 0x000ffffffffff000u & ~address;
	uint64_t pte, table = c->c_cr3 & address, all = PTE_U | PTE_W, offset;
	uint64_t nx = 0;
	struct step steps[4], *s = steps;
	atomic_uchar *flags;
	unsigned shift;
	uint8_t *host;
	bool user = class == MMU_USER;

	if ((c->c_efer & EFER_NXE) == 0)
		reserved |= PTE_NX;
	for (shift = 39;; shift -= 9) {
		flags = vm_page(c->c_vm, &c->c_mmu->m_range,
		    table | ((linear >> shift & 0x1ff) << 3), &host);
		if (flags == NULL || *flags & PAGE_DENY(ENGINE_READ))
			return (false);
		pte = __atomic_load_n((pte64 *)(void *)host,
		    __ATOMIC_RELAXED);
		if ((pte & PTE_P) == 0 || pte & reserved)
			return (false);
		all &= pte;
		nx |= pte;
		s->s_mark = PTE_A;
		if (shift == 12 || pte & PTE_PS) {
			if (need == ENGINE_WRITE)
				s->s_mark |= PTE_D;
		}
		if (s->s_mark & ~pte) {
			s->s_pte = (pte64 *)(void *)host;
			s->s_flags = flags;
			s->s_old = pte;
			s++;
		}
		offset = (UINT64_C(1) << shift) - 1;
		if (shift == 12)
			break;
		if (pte & PTE_PS) {
			/* bit 12 is PAT; 13 and up are reserved (4.5.4) */
			if (shift == 39 || pte & address & offset & ~0x1fffu)
				return (false);
			break;
		}
		table = pte & address;
	}
	w->w_gpa = (pte & address & ~offset) | (linear & offset);
	w->w_large = (uint8_t)((shift - 12) / 9);
	w->w_global = pte & PTE_G && c->c_cr4 & CR4_PGE;

	/* 4.6, as walk_page() has it */
	w->w_rights = 0;
	if (user ? (all & PTE_U) != 0 :
	    !(class == MMU_SMAP && (all & PTE_U) != 0)) {
		w->w_rights = ENGINE_READ;
		if (all & PTE_W || (!user && (c->c_cr0 & CR0_WP) == 0))
			w->w_rights |= ENGINE_WRITE;
	}
	if ((nx & PTE_NX) == 0 && (user ? (all & PTE_U) != 0 :
	    !(c->c_cr4 & CR4_SMEP && (all & PTE_U) != 0)))
		w->w_rights |= ENGINE_EXEC;
	if ((w->w_rights & need) == 0)
		return (false);

	while (s-- > steps) {
		if (*s->s_flags & (PAGE_WATCHED | PAGE_DENY(ENGINE_WRITE)) ||
		    !__atomic_compare_exchange_n(s->s_pte, &s->s_old,
		    s->s_old | s->s_mark, false, __ATOMIC_SEQ_CST,
		    __ATOMIC_SEQ_CST))
			return (false);
	}
	/* a clean page must be walked again for its first write */
	if ((pte & PTE_D) == 0 && need != ENGINE_WRITE)
		w->w_rights &= (uint8_t)~ENGINE_WRITE;
	return (true);
}

/*
 * The entry of linear's page with its tags, for an access (one of ENGINE_*)
 * that must be inside the page; its host address.
 */
static struct tlb_entry *
entry(struct cpu *c, uint64_t linear, unsigned need, unsigned access,
    uint8_t **host)
{
	struct mmu *m = c->c_mmu;
	enum mmu_class class = m->m_class;
	struct tlb_entry *e;
	atomic_uchar *flags;
	struct walk w;

	if (!c->c_long)
		linear = (uint32_t)linear;
	else if (!cpu_canonical(linear))
		return (NULL);
	e = tlb_slot(m->m_tlb[class], linear);
	if (e->te_page != (linear & ~(uint64_t)PAGE_MASK) ||
	    (e->te_rights & need) == 0 || !tlb_current(m, e)) {
		if (c->c_paging != PAGING_4LEVEL ||
		    !probe(c, class, linear, need, &w))
			return (NULL);
		tlb_enter(c, e, linear, &w);
	}
	flags = vm_page(c->c_vm, &m->m_range,
	    e->te_gpa | (linear & PAGE_MASK), host);
	if (flags == NULL || atomic_load_explicit(flags,
	    memory_order_relaxed) & PAGE_DENY(access))
		return (NULL);
	e->te_addend = (uint64_t)(uintptr_t)*host - linear;
	tlb_tags(c, class, e, flags);
	return (e);
}

const struct tlb_entry *
jit_fetch(struct cpu *c, uint64_t linear)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);
	uint8_t *host;

	if (e->te_exec == tlb_tag(c, linear, 1))
		return (e);
	return (entry(c, linear, ENGINE_EXEC, ENGINE_EXEC, &host));
}

uint8_t *
jit_fill(struct cpu *c, uint64_t linear, unsigned what)
{
	struct mmu *m = c->c_mmu;
	unsigned size = what & 0xff, access = what >> 8;
	const struct tlb_entry *e;
	uint8_t *host, *page;

	if ((linear & PAGE_MASK) + size > PAGE_SIZE)
		return (NULL);
	e = entry(c, linear, access & ENGINE_WRITE ? ENGINE_WRITE :
	    ENGINE_READ, access, &host);
	if (e == NULL)
		return (NULL);
	if (access & ENGINE_READ && e->te_read == 0)
		return (NULL);
	if (access & ENGINE_WRITE && e->te_write == 0) {
		/* beside this VCPU's code, and there is no other's */
		if (m->m_nwatch != 0 || !vm_alone(c->c_vm) ||
		    *vm_page(c->c_vm, &m->m_range, e->te_gpa, &page) &
		    PAGE_EXEC || !block_is_beside(c->c_blocks, e->te_gpa |
		    (linear & PAGE_MASK), size))
			return (NULL);
	}
	if (access & ENGINE_WRITE)
		c->c_jit->j_stats.js_fill_write++;
	else
		c->c_jit->j_stats.js_fill_read++;
	return (host);
}

/*
 * An operand across the end of a page. Where both pages are neighbours in the
 * host's memory as well it is in place. Else what is only read is put together
 * in c_across, with the alignment that it has: instructions that want one have
 * to find that missing. Nothing is atomic here: locked instructions are the
 * interpreter's.
 */
static uint8_t *
fill_across(struct cpu *c, uint64_t linear, unsigned size, unsigned access)
{
	unsigned first = PAGE_SIZE - (unsigned)(linear & PAGE_MASK), n;
	const uint8_t *end;
	uint8_t *low, *high;
	uint64_t q;

	if (access == (ENGINE_READ | ENGINE_WRITE) || size > ACROSS_MAX ||
	    (!c->c_code64 && (uint32_t)linear > UINT32_MAX - size))
		return (NULL);
	low = jit_fill(c, linear, first | access << 8);
	if (low == NULL)
		return (NULL);
	high = jit_fill(c, linear + first, (size - first) | access << 8);
	if (high == NULL)
		return (NULL);
	end = low + first;
	if (high == end)
		return (low);
	if (access != ENGINE_READ)
		return (NULL);
	/* more than is asked for, but still in both pages */
	for (n = 0; n < ACROSS_MAX; n += sizeof(q)) {
		__builtin_memcpy(&q, end - ACROSS_MAX + n, sizeof(q));
		__builtin_memcpy(c->c_across + n, &q, sizeof(q));
		__builtin_memcpy(&q, high + n, sizeof(q));
		__builtin_memcpy(c->c_across + ACROSS_MAX + n, &q, sizeof(q));
	}
	return (c->c_across + ACROSS_MAX - first);
}

uint8_t *
jit_fill_operand(struct cpu *c, uint64_t linear, unsigned what)
{
	unsigned size = what & 0xff;

	if (__builtin_expect((linear & PAGE_MASK) + size > PAGE_SIZE, 0))
		return (fill_across(c, linear, size, what >> 8));
	return (jit_fill(c, linear, what));
}
