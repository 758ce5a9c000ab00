/*
 * Entries of the software TLB (mmu.h): filled from a walk, given their tags.
 *
 * Light (jit/jit.h): translated code's misses come here without the vector
 * registers being saved.
 */
#ifndef SOFT_TLB_H
#define SOFT_TLB_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/soft/mmu.h"
#include "engine/soft/walk.h"

/* Is what the entry was walked for still what is there? */
static inline bool
tlb_current(const struct mmu *m, const struct tlb_entry *e)
{
	return (e->te_context == m->m_context ||
	    (e->te_global != 0 && e->te_global == m->m_global));
}

/* What a walk for linear found; no tags yet. */
void	tlb_enter(struct cpu *, struct tlb_entry *, uint64_t linear,
	    const struct walk *);
/* The tags that the entry may have, from its rights and its page's flags. */
void	tlb_tags(struct cpu *, enum mmu_class, struct tlb_entry *,
	    atomic_uchar *flags);

#endif
