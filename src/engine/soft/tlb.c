/*
 * Entries of the software TLB (tlb.h). The VCPU's thread.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/tlb.h"
#include "engine/soft/vm.h"

static inline void
large(uint64_t *bits, unsigned region)
{
	bits[region / 64] |= UINT64_C(1) << (region % 64);
}

void
tlb_enter(struct cpu *c, struct tlb_entry *e, uint64_t linear,
    const struct walk *w)
{
	struct mmu *m = c->c_mmu;

	e->te_page = linear & ~(uint64_t)PAGE_MASK;
	e->te_gpa = w->w_gpa & ~(uint64_t)PAGE_MASK;
	e->te_rights = w->w_rights;
	e->te_context = m->m_context;
	e->te_global = w->w_global ? m->m_global : 0;
	e->te_read = e->te_write = e->te_exec = 0;
	if (w->w_large == 0)
		return;
	large(m->m_large[0], mmu_region(linear, 21));
	if (c->c_paging == PAGING_32)	/* 4 MiB are two regions */
		large(m->m_large[0], mmu_region(linear ^ 1u << 21, 21));
	else if (w->w_large == 2)
		large(m->m_large[1], mmu_region(linear, 30));
}

/* Does a breakpoint watch anything in this page? */
static bool
tlb_watched(const struct mmu *m, uint64_t page)
{
	unsigned n;

	for (n = 0; n < m->m_nwatch; n++)
		if (m->m_watch[n][0] < page + PAGE_SIZE &&
		    m->m_watch[n][1] > page)
			return (true);
	return (false);
}

void
tlb_tags(struct cpu *c, enum mmu_class class, struct tlb_entry *e,
    atomic_uchar *flags)
{
	uint64_t tag = e->te_page | c->c_tlb_gen;
	unsigned f = atomic_load_explicit(flags, memory_order_relaxed);
	unsigned rights = e->te_rights & ~(f >> 4);

	if (rights & ENGINE_WRITE && (f & PAGE_TOUCHED) == 0)
		huge_touch(c->c_vm, e->te_gpa, flags);
	e->te_read = e->te_write = e->te_exec = 0;
	if (rights & ENGINE_EXEC)
		e->te_exec = tag;
	if (c->c_mmu->m_nwatch == 0 || !tlb_watched(c->c_mmu, e->te_page)) {
		if (rights & ENGINE_READ)
			e->te_read = tag;
		if (rights & ENGINE_WRITE && (f & PAGE_WATCHED) == 0) {
			if ((f & PAGE_WMAP) == 0)
				f = atomic_fetch_or(flags, PAGE_WMAP);
			if ((f & PAGE_WATCHED) == 0)
				e->te_write = tag;
		}
	}
	if (c->c_jit != NULL)
		jtlb_set(c, class, e);
}
