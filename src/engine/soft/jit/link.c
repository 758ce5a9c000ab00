/*
 * Links between translations, and what branches need from C (jit.h: LINKS).
 *
 * 1. A link's site is a rel32 that leads to one of three places: its exit stub
 *    (l_to NULL), its target, or for good the probe behind its stub (l_to NULL
 *    as well; whatever changes, the probe finds out).
 *    A guarded one (l_guarded) leads to its target until it is linked anew: its
 *    guard is what is patched, to a slot that is always empty.
 * 2. l is in l_to's t_incoming exactly while l_to is not NULL, and in j_cross
 *    besides if l_cross and it has no guard.
 * 3. What is patched may be running, up to the helper that has called: it never
 *    comes back into the patched bytes before it has left them.
 *
 * The VCPU's thread alone executes and patches its code, so a patch need not be
 * seen at once as a whole.
 */
#include <assert.h>
#include <string.h>

#include "engine/soft/handlers.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"

static void
patch(struct jit *j, uint32_t site, uint32_t to)
{
	int32_t rel = (int32_t)(to - (site + 4));

	memcpy(CODE_RW(j, site), &rel, sizeof(rel));
}

/* l's guard asks slot n. */
static void
patch_guard(struct jit *j, const struct jit_link *l, uint32_t n)
{
	uint32_t offset = JT_CODES + n * 8;

	memcpy(CODE_RW(j, l->l_stub), &offset, sizeof(offset));
}

/* Where the links across pages to this page are. */
static struct jit_link **
link_cross(struct jit *j, uint64_t page)
{
	return (&j->j_cross[(page >> 12 ^ page >> 22) % JIT_CROSS]);
}

struct jit_link *
jit_link_failed(struct tblock *t, unsigned k)
{
	struct jit_link *l = &t->t_link[1];

	if (t->t_map != NULL)
		return (NULL);
	/* a branch that is taken, or not; JMP has the first one */
	if ((k & MISS_AGAIN) == 0 && (k == t->t_count || !l->l_guarded))
		l = &t->t_link[0];
	return (l->l_guarded ? l : NULL);
}

uint64_t
jit_link_linear(const struct cpu *c, const struct jit_link *l)
{
	const struct tblock *t = jit_link_from(l);
	uint64_t linear = t->t_va != NO_VA ? t->t_va : c->c_pageva;

	linear += (uint64_t)(int64_t)l->l_target;
	return (t->t_mode & JM_64 ? linear : (uint32_t)linear);
}

/*
 * Is linear's page a global one, at gpa? What maps it was asked for a moment
 * ago, so this asks again only if that was pushed out of the TLB.
 */
static bool
link_global(struct cpu *c, uint64_t linear, uint64_t gpa)
{
	const struct mmu *m = c->c_mmu;
	const struct tlb_entry *e = tlb_slot(c->c_mmu->m_tlb[m->m_class],
	    linear);
	uint64_t page = linear & ~(uint64_t)PAGE_MASK;
	struct mmu_target target;

	if (e->te_page != page || e->te_global != m->m_global) {
		c->c_fetching = true;
		mmu_translate(c, m->m_class, linear, ENGINE_EXEC, &target);
		c->c_fetching = false;
	}
	return (e->te_page == page && e->te_global == m->m_global &&
	    e->te_gpa == (gpa & ~(uint64_t)PAGE_MASK));
}

void
jit_link_found(struct cpu *c, uint64_t linear, uint64_t gpa)
{
	jc_found(c, linear, gpa, link_global(c, linear, gpa));
}

/* l leads to to if that is where its target's page is; false: it must not. */
static bool
link_guard(struct cpu *c, struct jit_link *l, const struct block *to)
{
	uint32_t slot = jc_slot(c, to->b_gpa, true, true);

	l->l_refused = slot == 0 || to->b_gpa2 != NO_PAGE;
	if (l->l_refused)
		return (false);
	jit_link_found(c, jit_link_linear(c, l), to->b_gpa);
	patch_guard(c->c_jit, l, slot);
	return (true);
}

/*
 * Where l enters t. A trace may lead back to where a cycle of branches that go
 * forward comes from, so it is polled in any case; but behind STI, which is
 * known to go on.
 */
static uint32_t
link_entry(const struct cpu *c, const struct jit_link *l,
    const struct tblock *t)
{
	struct block *from = jit_link_from(l)->t_block;
	bool poll = l->l_entry == LINK_POLL || (t->t_map != NULL &&
	    block_insns(c, from)[from->b_count - 1].i_exec != insn_sti);

	return (t->t_code + (poll ? t->t_poll : t->t_body));
}

/*
 * jit_link:
 *	the branch l was taken and t is the translation of where it leads now.
 */
void
jit_link(struct cpu *c, struct jit_link *l, struct tblock *t)
{
	struct jit *j = c->c_jit;
	const struct block *from = jit_link_from(l)->t_block, *to = t->t_block;

	assert(t->t_mode == jit_link_from(l)->t_mode);
	if (j->j_opt.jo_nochain || t->t_dead || l->l_to == t)
		return;
	jit_unlink(c, l);
	if (l->l_guarded) {
		if (!link_guard(c, l, to))
			return;
	} else if (to->b_gpa2 != NO_PAGE || (l->l_cross &&
	    !link_global(c, jit_link_linear(c, l), to->b_gpa))) {
		if (l->l_probe)
			patch(j, l->l_site, l->l_stub + LINK_STUB_SIZE);
		return;
	} else if (l->l_cross) {
		jc_found(c, jit_link_linear(c, l), to->b_gpa, true);
		l->l_xprev = link_cross(j, t->t_va);
		if ((l->l_xnext = *l->l_xprev) != NULL)
			l->l_xnext->l_xprev = &l->l_xnext;
		*l->l_xprev = l;
	} else if (((from->b_gpa ^ to->b_gpa) & ~(uint64_t)PAGE_MASK) != 0) {
		/* the mapping was changed under code that runs there: which of
		 * the two holds for how long is not said */
		return;
	}
	l->l_to = t;
	l->l_prev = &t->t_incoming;
	if ((l->l_next = t->t_incoming) != NULL)
		l->l_next->l_prev = &l->l_next;
	t->t_incoming = l;
	patch(j, l->l_site, link_entry(c, l, t));
	j->j_stats.js_links++;
}

void
jit_unlink(struct cpu *c, struct jit_link *l)
{
	struct jit *j = c->c_jit;

	if (l->l_to == NULL)
		return;
	if (l->l_guarded)
		patch_guard(j, l, 0);
	else
		patch(j, l->l_site, l->l_stub);
	if ((*l->l_prev = l->l_next) != NULL)
		l->l_next->l_prev = l->l_prev;
	if (l->l_cross && !l->l_guarded &&
	    (*l->l_xprev = l->l_xnext) != NULL)
		l->l_xnext->l_xprev = l->l_xprev;
	l->l_to = NULL;
	j->j_stats.js_unlinks++;
}

void
jit_unlink_incoming(struct cpu *c, struct tblock *t)
{
	while (t->t_incoming != NULL)
		jit_unlink(c, t->t_incoming);
}

void
jit_unlink_cross(struct cpu *c)
{
	struct jit *j = c->c_jit;
	unsigned n;

	for (n = 0; n < JIT_CROSS; n++)
		while (j->j_cross[n] != NULL)
			jit_unlink(c, j->j_cross[n]);
}

void
jit_unlink_page(struct cpu *c, uint64_t page)
{
	struct jit_link *l, *next;

	for (l = *link_cross(c->c_jit, page); l != NULL; l = next) {
		next = l->l_xnext;
		/* one that straddles pages is not linked to */
		if (l->l_to->t_va == page)
			jit_unlink(c, l);
	}
}

/*
 * jit_miss:
 *	a branch's target is not in the jump cache. A call has not begun yet: it
 *	probes before its first effect. A return has moved the stack pointer,
 *	which is taken back if it may not go there.
 */
bool
jit_miss(struct cpu *c, const struct tblock *t, unsigned k, uint64_t target)
{
	const struct insn *i;

	if (k < t->t_count) {
		i = &block_insns(c, t->t_block)[k];
		if (i->i_exec == insn_call_rel || i->i_exec == insn_call_rm)
			return (false);
		if ((t->t_mode & JM_64) != 0 && !cpu_canonical(target)) {
			if (i->i_exec == insn_ret)
				c->c_gpr[RSP] -= i->i_osize + i->i_imm;
			return (false);
		}
	}
	c->c_rip = target;
	return (true);
}
