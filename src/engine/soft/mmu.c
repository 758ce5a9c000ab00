/*
 * The software TLB: filling, flushing, and what keeps tags away from pages
 * that need to be looked at (mmu.h). The walk itself is in walk.c.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"
#include "engine/soft/tlb.h"
#include "engine/soft/vm.h"
#include "engine/soft/walk.h"

struct mmu *
mmu_new(void)
{
	struct mmu *m;

	if ((m = calloc(1, sizeof(*m))) == NULL)
		return (NULL);
	m->m_global = 1;
	m->m_counter = m->m_context = 1;
	return (m);
}

void
mmu_free(struct mmu *m)
{
	free(m);
}

uint8_t *
mmu_host(struct cpu *c, uint64_t gpa)
{
	uint8_t *host;

	if (vm_page(c->c_vm, &c->c_mmu->m_range, gpa, &host) == NULL)
		return (NULL);
	return (host);
}

/* Leaves run(): the VM's rights do not allow this access. */
static _Noreturn void
mmu_denied(struct cpu *c, uint64_t gpa, int access)
{
	c->c_run->er_protect.gpa = gpa;
	c->c_run->er_protect.access = (enum engine_access)(
	    access & ENGINE_WRITE ? ENGINE_WRITE : access);
	cpu_leave(c, ENGINE_EXIT_PROTECT, true);
}

void
mmu_translate(struct cpu *c, enum mmu_class class, uint64_t linear,
    int access, struct mmu_target *t)
{
	struct mmu *m = c->c_mmu;
	struct tlb_entry *e;
	struct walk w;
	atomic_uchar *flags;
	uint8_t *host;
	unsigned f;
	int need;

	if (!c->c_long)
		linear = (uint32_t)linear;
	else if (!cpu_canonical(linear))
		cpu_gp(c, 0);

	/* a write is never allowed where a read is not */
	need = access & ENGINE_WRITE ? ENGINE_WRITE : access;
	e = tlb_slot(m->m_tlb[class], linear);
	if (e->te_page != (linear & ~(uint64_t)PAGE_MASK) ||
	    (e->te_rights & need) == 0 ||
	    !tlb_current(m, e)) {
		walk_page(c, class, linear, need, &w);
		tlb_enter(c, e, linear, &w);
	}

	t->t_gpa = e->te_gpa | (linear & PAGE_MASK);
	flags = vm_page(c->c_vm, &m->m_range, t->t_gpa, &host);
	if (flags == NULL) {
		t->t_host = NULL;
		t->t_code = false;
		return;
	}
	f = atomic_load_explicit(flags, memory_order_relaxed);
	if (f & PAGE_DENY((unsigned)access))
		mmu_denied(c, t->t_gpa, access & (int)(f >> 4));
	t->t_host = host;
	t->t_code = (f & PAGE_WATCHED) != 0;
	e->te_addend = (uint64_t)(uintptr_t)host - linear;
	tlb_tags(c, class, e, flags);
}

/* --- flushing ------------------------------------------------------------------ */

/* All tags are of the past. */
static void
mmu_generation(struct cpu *c)
{
	struct mmu *m = c->c_mmu;
	unsigned n, k;

	if (++c->c_tlb_gen > TLB_GEN_MAX) {
		for (k = 0; k < MMU_CLASSES; k++)
			for (n = 0; n < TLB_SIZE; n++) {
				m->m_tlb[k][n].te_read = 0;
				m->m_tlb[k][n].te_write = 0;
				m->m_tlb[k][n].te_exec = 0;
			}
		c->c_tlb_gen = 1;
	}
	block_jumps_flush(c);
}

void
mmu_retag(struct cpu *c)
{
	if (c->c_jit != NULL)
		jtlb_flush(c, true);
	if (c->c_direct != NULL)
		c->c_direct->d_retag++;
	mmu_generation(c);
}

static unsigned
mmu_pcid(const struct cpu *c)
{
	return (c->c_cr4 & CR4_PCIDE ? c->c_cr3 & 0xfff : 0);
}

void
mmu_switch(struct cpu *c)
{
	struct mmu *m = c->c_mmu;
	uint64_t *context = &m->m_pcid[mmu_pcid(c)];

	if (*context == 0)
		*context = ++m->m_counter;
	if (c->c_direct != NULL)
		direct_switch(c);
	if (*context == m->m_context)
		return;		/* the same, and nothing of it was flushed */
	m->m_context = *context;
	if (c->c_jit != NULL)
		jtlb_flush(c, false);
	mmu_generation(c);
}

void
mmu_flush_pcid(struct cpu *c, unsigned pcid)
{
	c->c_mmu->m_pcid[pcid] = 0;
	mmu_switch(c);
}

void
mmu_flush_context(struct cpu *c)
{
	mmu_flush_pcid(c, mmu_pcid(c));
}

void
mmu_flush_pcids(struct cpu *c)
{
	memset(c->c_mmu->m_pcid, 0, sizeof(c->c_mmu->m_pcid));
	mmu_switch(c);
}

void
mmu_flush_all(struct cpu *c)
{
	struct mmu *m = c->c_mmu;

	if (++m->m_global == 0)
		m->m_global = 1;
	memset(m->m_large, 0, sizeof(m->m_large));
	if (c->c_jit != NULL)
		jtlb_flush(c, true);
	mmu_flush_pcids(c);
}

void
mmu_flush_page(struct cpu *c, uint64_t linear)
{
	struct mmu *m = c->c_mmu;
	struct tlb_entry *e;
	unsigned small = mmu_region(linear, 21), big = mmu_region(linear, 30);
	unsigned k;

	if (m->m_large[0][small / 64] >> (small % 64) & 1 ||
	    m->m_large[1][big / 64] >> (big % 64) & 1) {
		mmu_flush_all(c);
		return;
	}
	for (k = 0; k < MMU_CLASSES; k++) {
		e = tlb_slot(m->m_tlb[k], linear);
		if (e->te_page == (linear & ~(uint64_t)PAGE_MASK)) {
			e->te_read = e->te_write = e->te_exec = 0;
			e->te_rights = 0;
		}
	}
	if (c->c_jit != NULL)
		jtlb_forget(c, linear);
	if (c->c_direct != NULL)
		direct_forget(c, linear);
	block_jumps_forget(c, linear);
}

/* --- what keeps tags away --------------------------------------------------------- */

void
mmu_watch_page(struct cpu *c, uint64_t gpa, unsigned flag)
{
	struct mmu *m = c->c_mmu;
	atomic_uchar *flags;
	uint8_t *host;
	unsigned f, n, k;

	gpa &= ~(uint64_t)PAGE_MASK;
	flags = vm_page(c->c_vm, &m->m_range, gpa, &host);
	assert(flags != NULL);
	f = atomic_fetch_or(flags, (unsigned char)flag);
	if ((f & PAGE_WATCHED) != 0 || (f & PAGE_WMAP) == 0)
		return;
	atomic_fetch_and(flags, (unsigned char)~(PAGE_WMAP | PAGE_DIRECT));
	if (f & PAGE_DIRECT && c->c_direct != NULL)
		direct_forget_write(c, gpa);
	for (k = 0; k < MMU_SLOW; k++)
		for (n = 0; n < TLB_SIZE; n++)
			if (m->m_tlb[k][n].te_gpa == gpa)
				m->m_tlb[k][n].te_write = 0;
	if (c->c_jit != NULL)
		jtlb_forget_write(c, host);
	vm_flush_others(c);
}

void
mmu_phys_write(struct cpu *c, uint64_t gpa, const void *data, unsigned len)
{
	atomic_uchar *flags;
	uint8_t *host;

	flags = vm_page(c->c_vm, &c->c_mmu->m_range, gpa, &host);
	if (flags == NULL)
		return;
	if (*flags & PAGE_DENY(ENGINE_WRITE))
		mmu_denied(c, gpa, ENGINE_WRITE);
	memcpy(host, data, len);
	if (*flags & PAGE_WATCHED)
		block_written(c, gpa, len);
}

void
mmu_watch_update(struct cpu *c)
{
	struct mmu *m = c->c_mmu;
	uint64_t dr7 = c->c_dr[7], from, len;
	unsigned n, rw;

	m->m_nwatch = 0;
	for (n = 0; n < 4; n++) {
		rw = dr7 >> (16 + n * 4) & 3;
		if ((dr7 >> (n * 2) & 3) == 0 || (rw & 1) == 0)
			continue;
		/* LEN: 0 one byte, 1 two, 2 eight, 3 four */
		len = "\1\2\10\4"[dr7 >> (18 + n * 4) & 3];
		from = c->c_dr[n] & ~(len - 1);
		m->m_watch[m->m_nwatch][0] = from;
		m->m_watch[m->m_nwatch][1] = from + len;
		m->m_nwatch++;
	}
	mmu_retag(c);
}

void
mmu_mode_update(struct cpu *c)
{
	struct mmu *m = c->c_mmu;

	if (c->c_cpl == 3)
		m->m_class = MMU_USER;
	else if (c->c_cr4 & CR4_SMAP && (c->c_rflags & FL_AC) == 0)
		m->m_class = MMU_SMAP;
	else
		m->m_class = MMU_SUPER;
	c->c_tlb = m->m_tlb[m->m_class];
	if (c->c_cpl == 3 && c->c_rflags & FL_AC && c->c_cr0 & CR0_AM)
		c->c_tlb = m->m_tlb[MMU_SLOW];
	c->c_tlb_sys = m->m_tlb[mmu_class_sys(c)];
}
