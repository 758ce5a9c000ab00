/*
 * The page walk (SDM vol. 3A 4.3 to 4.8).
 *
 * 1. An entry that is changed under us makes the walk start anew: A and D are
 *    set by compare-and-exchange, so that neither our bits nor another CPU's
 *    get lost.
 * 2. A bits are set only once the whole access is known to be allowed.
 * 3. Tables outside guest memory read as all ones, as an empty bus does.
 */
#include <stdatomic.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/vm.h"
#include "engine/soft/walk.h"

/* Page-fault error code (4.7) */
#define PF_P		0x01u
#define PF_W		0x02u
#define PF_U		0x04u
#define PF_RSVD		0x08u
#define PF_I		0x10u

typedef uint32_t __attribute__((may_alias)) pte32;

/* One entry on the way: where it is and what it held. */
struct step {
	uint8_t		*s_host;
	atomic_uchar	*s_flags;	/* of its page */
	uint64_t	 s_gpa;
	uint64_t	 s_old;
};

static _Noreturn void
walk_denied(struct cpu *c, uint64_t gpa, enum engine_access access)
{
	c->c_run->er_protect.gpa = gpa;
	c->c_run->er_protect.access = access;
	cpu_leave(c, ENGINE_EXIT_PROTECT, true);
}

static uint64_t
step_read(struct cpu *c, struct step *s, uint64_t gpa, unsigned size)
{
	atomic_uchar *flags;

	s->s_gpa = gpa;
	flags = vm_page(c->c_vm, &c->c_mmu->m_range, gpa, &s->s_host);
	s->s_flags = flags;
	if (flags == NULL) {
		s->s_host = NULL;
		s->s_old = size == 8 ? UINT64_MAX : UINT32_MAX;
		return (s->s_old);
	}
	if (*flags & PAGE_DENY(ENGINE_READ))
		walk_denied(c, gpa, ENGINE_READ);
	if (size == 8)
		s->s_old = __atomic_load_n((pte64 *)(void *)s->s_host,
		    __ATOMIC_RELAXED);
	else
		s->s_old = __atomic_load_n((pte32 *)(void *)s->s_host,
		    __ATOMIC_RELAXED);
	return (s->s_old);
}

/* Sets bits in an entry; false if it is no longer what was read. */
static bool
step_mark(struct cpu *c, const struct step *s, uint64_t bits, unsigned size)
{
	atomic_uchar *flags;
	uint64_t old = s->s_old;
	uint32_t old32 = (uint32_t)old;
	bool done;

	if ((old & bits) == bits || s->s_host == NULL)
		return (true);
	flags = s->s_flags;
	if (*flags & PAGE_DENY(ENGINE_WRITE))
		walk_denied(c, s->s_gpa, ENGINE_WRITE);
	if (size == 8)
		done = __atomic_compare_exchange_n(
		    (pte64 *)(void *)s->s_host, &old,
		    old | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		done = __atomic_compare_exchange_n((pte32 *)(void *)s->s_host,
		    &old32, old32 | (uint32_t)bits, false, __ATOMIC_SEQ_CST,
		    __ATOMIC_SEQ_CST);
	if (done && *flags & PAGE_WATCHED)
		block_written(c, s->s_gpa, size);
	return (done);
}

/* The walk as it goes. */
struct state {
	struct step	 steps[4];
	unsigned	 nsteps;
	unsigned	 size;		/* of an entry */
	uint32_t	 error;		/* W, U and I of a fault */
	bool		 user, write, nx;	/* of all levels together */
};

/* Reads the next entry; raises #PF if absent or reserved bits are set. */
static uint64_t
walk_entry(struct cpu *c, struct state *st, uint64_t linear, uint64_t gpa,
    uint64_t reserved)
{
	uint64_t pte;

	pte = step_read(c, &st->steps[st->nsteps++], gpa, st->size);
	if ((pte & PTE_P) == 0)
		cpu_page_fault(c, linear, st->error);
	if (pte & reserved)
		cpu_page_fault(c, linear, st->error | PF_P | PF_RSVD);
	if ((pte & PTE_U) == 0)
		st->user = false;
	if ((pte & PTE_W) == 0)
		st->write = false;
	if (pte & PTE_NX)	/* reserved where it means nothing */
		st->nx = true;
	return (pte);
}

static void
walk_large_reserved(struct cpu *c, struct state *st, uint64_t linear,
    uint64_t pte, uint64_t reserved)
{
	if (pte & reserved)
		cpu_page_fault(c, linear, st->error | PF_P | PF_RSVD);
}

/* 4.3: 32-bit paging. Returns the leaf. */
static uint64_t
walk_32(struct cpu *c, struct state *st, uint64_t linear, struct walk *w)
{
	uint64_t pte, high;

	st->size = 4;
	pte = walk_entry(c, st, linear, (c->c_cr3 & 0xfffff000) |
	    (linear >> 20 & 0xffc), 0);
	if (pte & PTE_PS && c->c_cr4 & CR4_PSE) {
		/* bits 20:13 are 39:32 of the address (PSE-36) */
		high = (pte >> 13 & 0xff) << 32;
		walk_large_reserved(c, st, linear, pte, 1u << 21);
		walk_large_reserved(c, st, linear, high,
		    ~((1ul << c->c_maxphyaddr) - 1));
		w->w_large = 1;
		w->w_gpa = high | (pte & 0xffc00000) | (linear & 0x3fffff);
		return (pte);
	}
	pte = walk_entry(c, st, linear, (pte & 0xfffff000) |
	    (linear >> 10 & 0xffc), 0);
	w->w_gpa = (pte & 0xfffff000) | (linear & PAGE_MASK);
	return (pte);
}

/* 4.4 and 4.5: 8-byte entries, from the given level down. */
static uint64_t
walk_64(struct cpu *c, struct state *st, uint64_t linear, struct walk *w)
{
	uint64_t address = (1ul << c->c_maxphyaddr) - 4096, reserved, table;
	uint64_t pte = 0, offset;
	unsigned level, shift;

	st->size = 8;
	reserved = 0x000ffffffffff000u & ~address;
	if ((c->c_efer & EFER_NXE) == 0)
		reserved |= PTE_NX;
	if (c->c_paging == PAGING_PAE) {
		reserved |= 0x7ff0000000000000u;
		table = c->c_pdpte[linear >> 30 & 3];
		if ((table & PTE_P) == 0)
			cpu_page_fault(c, linear, st->error);
		table &= address;
		level = 2;
	} else {
		table = c->c_cr3 & address;
		level = 4;
	}
	for (; level >= 1; level--) {
		shift = 3 + 9 * level;
		pte = walk_entry(c, st, linear,
		    table | ((linear >> shift & 0x1ff) << 3),
		    reserved | (level == 4 ? PTE_PS : 0));
		offset = (1ul << shift) - 1;
		if (level == 1 || (pte & PTE_PS && level <= 3)) {
			/* 4 KiB: nothing; else 12 (PAT) down to 13 */
			walk_large_reserved(c, st, linear, pte,
			    level == 1 ? 0 : offset & ~0x1ffful);
			w->w_large = (uint8_t)(level - 1);
			w->w_gpa = (pte & address & ~offset) |
			    (linear & offset);
			return (pte);
		}
		table = pte & address;
	}
	return (pte);
}

void
walk_page(struct cpu *c, enum mmu_class class, uint64_t linear, int access,
    struct walk *w)
{
	struct state st;
	uint64_t leaf, mark;
	unsigned n;
	bool user = class == MMU_USER, smep = (c->c_cr4 & CR4_SMEP) != 0;
	bool allowed, again;

	w->w_large = 0;
	w->w_global = false;
	if (c->c_paging == PAGING_NONE) {
		w->w_gpa = linear;
		w->w_rights = ENGINE_READ | ENGINE_WRITE | ENGINE_EXEC;
		return;
	}
	do {
		st.nsteps = 0;
		st.user = st.write = true;
		st.nx = false;
		st.error = (access == ENGINE_WRITE ? PF_W : 0) |
		    (user ? PF_U : 0);
		if (access == ENGINE_EXEC && (smep ||
		    (c->c_efer & EFER_NXE && c->c_cr4 & CR4_PAE)))
			st.error |= PF_I;
		leaf = c->c_paging == PAGING_32 ?
		    walk_32(c, &st, linear, w) : walk_64(c, &st, linear, w);

		/* 4.6: what this class may do here */
		w->w_rights = 0;
		if (user ? st.user : !(class == MMU_SMAP && st.user)) {
			w->w_rights |= ENGINE_READ;
			if (st.write || (!user && (c->c_cr0 & CR0_WP) == 0))
				w->w_rights |= ENGINE_WRITE;
		}
		if (!st.nx && (user ? st.user : !(smep && st.user)))
			w->w_rights |= ENGINE_EXEC;
		allowed = (w->w_rights & access) != 0;
		if (!allowed)
			cpu_page_fault(c, linear, st.error | PF_P);

		again = false;
		for (n = 0; n < st.nsteps && !again; n++) {
			mark = PTE_A;
			if (n == st.nsteps - 1 && access == ENGINE_WRITE)
				mark |= PTE_D;
			again = !step_mark(c, &st.steps[n], mark, st.size);
		}
	} while (again);
	/* a clean page must be walked again for its first write */
	if ((leaf & PTE_D) == 0 && access != ENGINE_WRITE)
		w->w_rights &= (uint8_t)~ENGINE_WRITE;
	w->w_global = leaf & PTE_G && c->c_cr4 & CR4_PGE;
}

bool
walk_probe(struct cpu *c, uint64_t linear, struct walk *w)
{
	const uint64_t address = (1ul << c->c_maxphyaddr) - PAGE_SIZE;
	uint64_t table = c->c_cr3 & address, pte = 0, offset;
	uint64_t all = UINT64_MAX, any = 0;
	unsigned level, shift = 0, range = c->c_mmu->m_range;
	uint8_t *host;

	if (c->c_paging != PAGING_4LEVEL || !cpu_canonical(linear))
		return (false);
	for (level = 4; level >= 1; level--) {
		shift = 3 + 9 * level;
		if (vm_page(c->c_vm, &range, table |
		    ((linear >> shift & 0x1ff) << 3), &host) == NULL)
			return (false);
		pte = __atomic_load_n((pte64 *)(void *)host,
		    __ATOMIC_RELAXED);
		all &= pte;
		any |= pte;
		if ((pte & (PTE_P | PTE_A)) != (PTE_P | PTE_A))
			return (false);
		if (level == 1 || (pte & PTE_PS && level <= 3))
			break;
		table = pte & address;
	}
	offset = (1ul << shift) - 1;
	/* reserved: beyond MAXPHYADDR, between PAT and a large page's address,
	 * PS at the top, NX without EFER.NXE */
	if (any & 0x000ffffffffff000u & ~address ||
	    (level > 1 && pte & offset & ~0x1ffful) ||
	    (any & PTE_NX && (c->c_efer & EFER_NXE) == 0) ||
	    level == 4 || (all & PTE_U) == 0)
		return (false);
	w->w_gpa = (pte & address & ~offset) | (linear & offset);
	w->w_large = (uint8_t)(level - 1);
	w->w_global = pte & PTE_G && c->c_cr4 & CR4_PGE;
	w->w_rights = ENGINE_READ;
	if (all & PTE_W && pte & PTE_D)
		w->w_rights |= ENGINE_WRITE;
	if ((any & PTE_NX) == 0)
		w->w_rights |= ENGINE_EXEC;
	return (true);
}

bool
mmu_load_pdptes(struct cpu *c, uint64_t cr3, uint64_t pdpte[4])
{
	/* 4.4.1, table 4-8: bits 2:1, 8:5 and above MAXPHYADDR */
	uint64_t reserved = 0x1e6u | ~((1ul << c->c_maxphyaddr) - 1);
	struct step s;
	unsigned n;

	for (n = 0; n < 4; n++) {
		pdpte[n] = step_read(c, &s, (cr3 & 0xffffffe0) + n * 8, 8);
		if (pdpte[n] & PTE_P && pdpte[n] & reserved)
			return (false);
	}
	return (true);
}
